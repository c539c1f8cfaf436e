//! Constants: numbers, texts, typed literals, intervals.

use sqlparser::ast::{self, DateTimeField, Expr as Ast, Value};

use super::{Bind, Session};
use crate::expr::{CastMode, Expr, typing};
use crate::plan::walk;
use crate::record::{DataType, Decimal, FieldValue};

/// A number as SQL types it: integer, else DECIMAL, with an exponent DOUBLE.
fn number(text: &str) -> Option<FieldValue> {
    let text = text.replace('_', "");
    if text.contains(['e', 'E']) {
        return text.parse().ok().filter(|f: &f64| f.is_finite()).map(FieldValue::Float);
    }
    if !text.contains('.')
        && let Ok(integer) = text.parse()
    {
        return Some(FieldValue::Integer(integer));
    }
    let digits = text.bytes().filter(u8::is_ascii_digit).collect::<Vec<_>>();
    let significant = digits.iter().skip_while(|d| **d == b'0').count();
    if significant > 28 {
        return None;
    }
    // `.5` and `5.` are numbers too.
    let text = if text.starts_with('.') { format!("0{text}") } else { text.replace("-.", "-0.") };
    text.trim_end_matches('.').parse::<Decimal>().ok().map(FieldValue::Decimal)
}

impl Session<'_, '_> {
    pub(super) fn value(&mut self, value: &Value) -> Bind<Expr> {
        let at = self.here;
        let value = match value {
            Value::Number(text, _) => return self.number(text),
            Value::SingleQuotedString(s)
            | Value::EscapedStringLiteral(s)
            | Value::UnicodeStringLiteral(s)
            | Value::NationalStringLiteral(s)
            | Value::TripleSingleQuotedString(s)
            | Value::SingleQuotedRawStringLiteral(s)
            | Value::TripleSingleQuotedRawStringLiteral(s) => FieldValue::from(s.as_str()),
            Value::DollarQuotedString(s) => FieldValue::from(s.value.as_str()),
            Value::QuoteDelimitedStringLiteral(s) | Value::NationalQuoteDelimitedStringLiteral(s) => {
                FieldValue::from(s.value.as_str())
            }
            Value::Boolean(b) => FieldValue::Boolean(*b),
            Value::Null => FieldValue::Null,
            Value::HexStringLiteral(hex) => match bytes_of_hex(hex) {
                Some(bytes) => FieldValue::from(bytes.as_slice()),
                None => return self.fail("X'…' takes pairs of hexadecimal digits", at),
            },
            Value::DoubleQuotedString(_)
            | Value::TripleDoubleQuotedString(_)
            | Value::DoubleQuotedRawStringLiteral(_)
            | Value::TripleDoubleQuotedRawStringLiteral(_) => {
                return self.fail("text is written in single quotes", at);
            }
            Value::SingleQuotedByteStringLiteral(_)
            | Value::DoubleQuotedByteStringLiteral(_)
            | Value::TripleSingleQuotedByteStringLiteral(_)
            | Value::TripleDoubleQuotedByteStringLiteral(_) => {
                return self.unsupported("a bit string literal", at);
            }
            Value::Placeholder(name) => return self.unsupported(&format!("the parameter {name}"), at),
        };
        Ok(typing::literal(value))
    }

    fn number(&mut self, text: &str) -> Bind<Expr> {
        match number(text) {
            Some(value) => Ok(typing::literal(value)),
            None => self.fail(format!("the number {text} is out of range"), self.here),
        }
    }

    /// `-9223372036854775808` is an integer although its digits alone are none.
    pub(super) fn negative_number(&mut self, expr: &Ast) -> Option<Bind<Expr>> {
        match expr {
            Ast::Value(ast::ValueWithSpan { value: Value::Number(text, _), span: _ }) => {
                Some(self.number(&format!("-{text}")))
            }
            _ => None,
        }
    }

    /// `DATE '2026-01-01'`.
    pub(super) fn typed_string(&mut self, typed: &ast::TypedString) -> Bind<Expr> {
        let ast::TypedString { data_type, value, uses_odbc_syntax: _ } = typed;
        let to = self.data_type(data_type)?;
        let text = self.value(&value.value)?;
        self.constant_cast(text, to)
    }

    pub(super) fn data_type(&mut self, data_type: &ast::DataType) -> Bind<DataType> {
        let at = self.here;
        // The error's own place is within the type's text alone.
        crate::sql::data_type(data_type).map_err(|mut error| {
            error.span = at;
            self.report(error)
        })
    }

    /// Casts a constant now: what is wrong with it is wrong with the statement.
    fn constant_cast(&mut self, text: Expr, to: DataType) -> Bind<Expr> {
        let made = typing::cast(text, to, CastMode::Strict);
        let cast = self.typed(made, self.here)?;
        match walk::constant(&cast) {
            Some(Ok(value)) => Ok(Expr::Literal { value, data_type: cast.data_type() }),
            Some(Err(error)) => self.fail(error.message, self.here),
            None => Ok(cast),
        }
    }

    /// `INTERVAL '5' SECOND`, `INTERVAL 5 MINUTE`, `INTERVAL '1 day 2 hours'`, `INTERVAL '1:30' HOUR TO MINUTE`.
    pub(super) fn interval(&mut self, interval: &ast::Interval) -> Bind<Expr> {
        let ast::Interval {
            value,
            leading_field,
            leading_precision,
            last_field,
            fractional_seconds_precision,
        } = interval;
        if leading_precision.is_some() || fractional_seconds_precision.is_some() {
            return self.unsupported("INTERVAL with a precision", self.here);
        }
        let (text, at) = match &**value {
            Ast::Value(v) => match &v.value {
                Value::SingleQuotedString(s) => (s.trim().to_owned(), self.place(v)),
                Value::Number(n, _) => (n.clone(), self.place(v)),
                _ => return self.fail("INTERVAL takes a text or a number", self.here),
            },
            other => {
                let at = self.place(other);
                let error = crate::sql::Diagnostic::new("INTERVAL takes a constant", at);
                let unit = leading_field.as_ref().map_or("SECOND".to_owned(), ToString::to_string);
                return Err(self.report(error.with_hint(format!("write x * INTERVAL '1' {unit}"))));
            }
        };
        let text = match (leading_field, last_field) {
            (None, None) => text,
            (Some(unit), None) if text.parse::<f64>().is_ok() => format!("{text} {}", unit_name(unit)),
            (Some(_), None) => text,
            // `MM:SS` alone would be read as hours and minutes.
            (Some(DateTimeField::Minute | DateTimeField::Minutes), Some(_)) => match text.strip_prefix('-') {
                Some(rest) => format!("-00:{rest}"),
                None => format!("00:{text}"),
            },
            _ => text,
        };
        let text = typing::literal(FieldValue::from(text));
        self.within(at, |s| s.constant_cast(text, DataType::Interval))
    }
}

fn unit_name(unit: &DateTimeField) -> String {
    let name = unit.to_string().to_lowercase();
    if name.ends_with('s') { name } else { format!("{name}s") }
}

fn bytes_of_hex(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = hex.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs
        .remainder()
        .is_empty()
        .then(|| pairs.map(|pair| pair.iter().fold(0u32, |sum, d| sum * 16 + d) as u8).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_type_that_their_form_says() {
        let d = |s: &str| Some(FieldValue::Decimal(s.parse().unwrap()));
        assert_eq!(number("42"), Some(FieldValue::Integer(42)));
        assert_eq!(number("1_000"), Some(FieldValue::Integer(1000)));
        assert_eq!(number("-9223372036854775808"), Some(FieldValue::Integer(i64::MIN)));
        assert_eq!(number("9223372036854775808"), d("9223372036854775808"));
        assert_eq!(number("1.50"), d("1.50"));
        assert_eq!(number(".5"), d("0.5"));
        assert_eq!(number("-.5"), d("-0.5"));
        assert_eq!(number("5."), d("5"));
        assert_eq!(number("1e3"), Some(FieldValue::Float(1000.0)));
        assert_eq!(number("1e999"), None);
        assert_eq!(number("12345678901234567890123456789"), None);
        assert_eq!(bytes_of_hex("0aFF"), Some(vec![10, 255]));
        assert_eq!(bytes_of_hex("0a1"), None);
    }
}
