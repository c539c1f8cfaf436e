//! The text of a field as a value of its column's type.

use rust_decimal::{Decimal, RoundingStrategy};

use super::dialect::CsvOptions;
use crate::codec::json::JsonTextReader;
use crate::codec::{BytesFormat, TimestampFormat};
use crate::record::{CompactString, DataType, ErrorCode, Field, FieldValue, RecordError, text};

/// A wanted column, ready to convert its fields.
#[derive(Clone, Debug)]
pub(super) struct Column {
    name: CompactString,
    data_type: DataType,
    kind: Kind,
    not_null: bool,
    /// The usual words for NULL mean NULL here.
    null_tokens: bool,
}

/// What conversion a column needs.
#[derive(Clone, Debug)]
enum Kind {
    Text,
    Integer {
        min: i64,
        max: i64,
    },
    Double,
    Real,
    Boolean,
    Decimal {
        precision: u8,
        scale: u8,
    },
    Date,
    Time,
    Timestamp(TimestampFormat),
    Interval,
    Bytes(BytesFormat),
    /// ARRAY, MAP, STRUCT, JSON.
    Json(Box<JsonTextReader>),
    Null,
}

/// Words that mean NULL in numeric and temporal columns of an inferred schema.
#[inline]
pub(crate) fn is_null_token(text: &str) -> bool {
    matches!(text, "NA" | "N/A" | "NULL" | "null" | "\\N")
}

/// What all columns share.
#[derive(Clone, Debug)]
pub(super) struct Nulls {
    texts: Vec<String>,
    empty: bool,
}

impl Nulls {
    pub(super) fn new(options: &CsvOptions) -> Self {
        Self { texts: options.null_values.clone(), empty: options.empty_as_null }
    }
}

impl Column {
    pub(super) fn new(field: &Field, options: &CsvOptions) -> Self {
        let kind = match &field.data_type {
            DataType::Varchar => Kind::Text,
            DataType::SmallInt => Kind::Integer { min: i16::MIN.into(), max: i16::MAX.into() },
            DataType::Integer => Kind::Integer { min: i32::MIN.into(), max: i32::MAX.into() },
            DataType::BigInt => Kind::Integer { min: i64::MIN, max: i64::MAX },
            DataType::Double => Kind::Double,
            DataType::Real => Kind::Real,
            DataType::Boolean => Kind::Boolean,
            DataType::Decimal { precision, scale } => Kind::Decimal { precision: *precision, scale: *scale },
            DataType::Date => Kind::Date,
            DataType::Time => Kind::Time,
            DataType::Timestamp => Kind::Timestamp(options.timestamp_format.clone()),
            DataType::Interval => Kind::Interval,
            DataType::Bytes => Kind::Bytes(options.bytes_format),
            DataType::Null => Kind::Null,
            DataType::Json | DataType::Array(_) | DataType::Map(..) | DataType::Struct(_) => {
                let (timestamps, bytes) = (&options.timestamp_format, options.bytes_format);
                Kind::Json(Box::new(JsonTextReader::new(&field.data_type, timestamps, bytes)))
            }
        };
        let null_tokens = options.inferred && (field.data_type.is_numeric() || field.data_type.is_temporal());
        Self {
            name: field.name.clone(),
            data_type: field.data_type.clone(),
            kind,
            not_null: !field.nullable,
            null_tokens,
        }
    }

    /// Overwrites `slot` with the value of `field`, which has no escapes left.
    #[inline]
    pub(super) fn read(
        &mut self,
        field: &str,
        quoted: bool,
        nulls: &Nulls,
        slot: &mut FieldValue,
    ) -> Result<(), Misfit> {
        if !quoted && self.is_null(field, nulls) {
            *slot = FieldValue::Null;
            return if self.not_null { Err(Misfit::Null) } else { Ok(()) };
        }
        let value = match &mut self.kind {
            Kind::Json(reader) => {
                let read = reader.read(field, slot);
                return match slot {
                    _ if !read => Err(Misfit::Type),
                    FieldValue::Null if self.not_null => Err(Misfit::Null),
                    _ => Ok(()),
                };
            }
            Kind::Text => {
                slot.set_str(field);
                return Ok(());
            }
            Kind::Integer { min, max } => {
                integer(field).filter(|n| (*min..=*max).contains(n)).map(FieldValue::Integer)
            }
            Kind::Double => text::parse_f64(field).map(FieldValue::Float),
            Kind::Real => real(field).map(FieldValue::Float),
            Kind::Boolean => boolean(field).map(FieldValue::Boolean),
            Kind::Decimal { precision, scale } => decimal(field, *precision, *scale).map(FieldValue::Decimal),
            Kind::Timestamp(format) => format.parse(field).map(FieldValue::Timestamp),
            Kind::Date => text::parse_date(field).map(FieldValue::Date),
            Kind::Time => text::parse_time(field).map(FieldValue::Time),
            Kind::Interval => text::parse_interval(field).map(FieldValue::Interval),
            Kind::Bytes(format) => format.parse(field).map(|b| FieldValue::Bytes(b.into())),
            Kind::Null => None,
        };
        *slot = value.ok_or(Misfit::Type)?;
        Ok(())
    }

    #[inline]
    fn is_null(&self, field: &str, nulls: &Nulls) -> bool {
        if field.is_empty() {
            return nulls.empty || nulls.texts.iter().any(String::is_empty);
        }
        (self.null_tokens
            && matches!(field.as_bytes().first(), Some(b'N' | b'n' | b'\\'))
            && is_null_token(field))
            || (!nulls.texts.is_empty() && nulls.texts.iter().any(|t| t == field))
    }

    /// The value of a field that is not there.
    pub(super) fn missing(&self, slot: &mut FieldValue) -> Result<(), Misfit> {
        *slot = FieldValue::Null;
        if self.not_null { Err(Misfit::Null) } else { Ok(()) }
    }

    /// The error for a field that did not fit.
    #[cold]
    pub(super) fn error(&self, misfit: Misfit, field: &str) -> RecordError {
        let (code, message) = match misfit {
            Misfit::Null => (ErrorCode::NotNull, "NULL in a NOT NULL column".to_owned()),
            Misfit::Type => {
                let hint = if field.trim() != field {
                    "; blanks around it count, see trim"
                } else if is_null_token(field) {
                    "; see null_values"
                } else {
                    ""
                };
                (ErrorCode::TypeMismatch, format!("{} is not a {}{hint}", shown(field), self.data_type))
            }
        };
        RecordError::new(code, message).in_column(&self.name)
    }
}

/// Why a field is no value of its column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Misfit {
    Null,
    Type,
}

/// A field in quotes, cut to a readable length.
fn shown(field: &str) -> String {
    const MOST: usize = 60;
    match field.char_indices().nth(MOST) {
        Some((cut, _)) => format!("'{}…'", field.get(..cut).unwrap_or_default()),
        None => format!("'{field}'"),
    }
}

/// `7`, `-7`, `+7`, `007`, also `7.0` and `7e2`, but not `7.5`.
#[inline]
fn integer(field: &str) -> Option<i64> {
    text::parse_i64(field).or_else(|| whole(field))
}

#[cold]
fn whole(field: &str) -> Option<i64> {
    let d = text::parse_decimal(field)?.normalize();
    if d.scale() == 0 { i64::try_from(d.mantissa()).ok() } else { None }
}

fn real(field: &str) -> Option<f64> {
    let v = text::parse_f64(field)?;
    let rounded = f64::from(v as f32);
    (rounded.is_finite() || !v.is_finite()).then_some(rounded)
}

fn boolean(field: &str) -> Option<bool> {
    if field.len() > 5 {
        return None;
    }
    let is = |word: &str| field.eq_ignore_ascii_case(word);
    if is("true") || is("t") || is("1") || is("yes") {
        Some(true)
    } else if is("false") || is("f") || is("0") || is("no") {
        Some(false)
    } else {
        None
    }
}

/// Powers of ten.
const POWERS: [u64; 17] = {
    let (mut powers, mut at) = ([1; 17], 1);
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// Rounded half away from zero to the declared scale, as PostgreSQL does; too many digits before the point don't fit.
#[inline]
fn decimal(field: &str, precision: u8, scale: u8) -> Option<Decimal> {
    if let Some(n) = text::short_number(field.as_bytes())
        && let Some(missing) = u32::from(scale).checked_sub(n.fraction).filter(|missing| *missing <= 8)
        && let Some(power) = POWERS.get(missing as usize)
    {
        // At most 10^8 times 10^8.
        let digits = u64::from(n.digits) * power;
        let fits = POWERS.get(usize::from(precision)).is_none_or(|limit| digits < *limit);
        let (low, high) = (digits as u32, (digits >> 32) as u32);
        return fits.then(|| Decimal::from_parts(low, high, 0, n.negative && digits != 0, scale.into()));
    }
    long_decimal(field, precision, scale)
}

fn long_decimal(field: &str, precision: u8, scale: u8) -> Option<Decimal> {
    let mut d = text::parse_decimal(field)?;
    if d.scale() > u32::from(scale) {
        d = d.round_dp_with_strategy(scale.into(), RoundingStrategy::MidpointAwayFromZero);
    }
    d.rescale(scale.into());
    let fits = d.scale() == u32::from(scale)
        && 10u128.checked_pow(precision.into()).is_some_and(|limit| d.mantissa().unsigned_abs() < limit);
    fits.then_some(d)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn short_decimals_are_read_as_long_ones(text in "[+-]?[0-9]{0,6}(\\.[0-9]{0,4})?", precision in 1u8..=28, scale in 0u8..=12) {
            let parts = |d: Option<Decimal>| d.map(|d| d.serialize());
            let scale = scale.min(precision);
            prop_assert_eq!(parts(decimal(&text, precision, scale)), parts(long_decimal(&text, precision, scale)));
        }
    }
}
