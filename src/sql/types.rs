//! The names of types: SQL text ↔ [`DataType`].

use sqlparser::ast;
use sqlparser::tokenizer::Token;

use super::parse::cursor::Cursor;
use super::parse::lexer::lex;
use super::{Diagnostic, Span};
use crate::catalog::nearest;
use crate::record::{DataType, Field};

/// DECIMAL written without arguments.
const PLAIN_DECIMAL: DataType = DataType::Decimal { precision: MAX_PRECISION, scale: 10 };
/// Digits that a DECIMAL holds exactly.
const MAX_PRECISION: u8 = 28;
/// Types within types.
const MAX_DEPTH: usize = 32;

const NAMES: &[&str] = &[
    "BOOLEAN",
    "SMALLINT",
    "INT",
    "BIGINT",
    "REAL",
    "DOUBLE",
    "DECIMAL",
    "NUMERIC",
    "VARCHAR",
    "TEXT",
    "STRING",
    "BYTES",
    "BYTEA",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "INTERVAL",
    "ARRAY",
    "MAP",
    "STRUCT",
    "ROW",
    "JSON",
];

/// Whether a type begins with this word.
pub(super) fn is_name(word: &str) -> bool {
    const MORE: &[&str] = &[
        "BOOL",
        "INTEGER",
        "INT2",
        "INT4",
        "INT8",
        "TINYINT",
        "FLOAT",
        "FLOAT4",
        "FLOAT8",
        "DEC",
        "CHAR",
        "CHARACTER",
        "BLOB",
        "VARBINARY",
        "BINARY",
        "TIMESTAMPTZ",
        "DATETIME",
        "JSONB",
        "UUID",
        "TIMETZ",
    ];
    NAMES.iter().chain(MORE).any(|n| n.eq_ignore_ascii_case(word))
}

/// The type that `text` names.
///
/// `DECIMAL` alone is `DECIMAL(28,10)`, `DECIMAL(p)` has scale 0. The length in `VARCHAR(n)` is accepted and not
/// enforced: VARCHAR has no limit. TIMESTAMP holds microseconds in UTC, with or without `WITH TIME ZONE`.
///
/// # Errors
/// If there is no such type; the message names the nearest.
///
/// ```
/// use millstream::{DataType, sql::parse_data_type};
/// assert_eq!(parse_data_type("varchar(20)[]").unwrap(), DataType::array(DataType::Varchar));
/// ```
pub fn parse_data_type(text: &str) -> Result<DataType, Diagnostic> {
    let pieces = lex(text);
    let [piece] = pieces.as_slice() else {
        return Err(Diagnostic::new("expected one type", Span { start: 0, end: text.len() }));
    };
    if let Some(error) = &piece.error {
        return Err(error.clone());
    }
    let mut cursor = Cursor::new(text, &piece.tokens);
    let data_type = read(&mut cursor)?;
    cursor.expect_end()?;
    Ok(data_type)
}

/// The type that a parsed CAST or typed literal names.
///
/// # Errors
/// If there is no such type. Types in statements that came through [`parse`](super::parse()) have been checked.
pub fn data_type(parsed: &ast::DataType) -> Result<DataType, Diagnostic> {
    if let ast::DataType::Custom(ast::ObjectName(parts), modifiers) = parsed
        && let ([ast::ObjectNamePart::Identifier(name)], []) = (parts.as_slice(), modifiers.as_slice())
    {
        return parse_data_type(&name.value);
    }
    parse_data_type(&parsed.to_string())
}

/// Reads a type at the cursor.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<DataType, Diagnostic> {
    let data_type = nested(cursor, MAX_DEPTH)?;
    if cursor.split_gt() {
        return Err(cursor.error("there is a '>' too many in this type"));
    }
    Ok(data_type)
}

fn nested(cursor: &mut Cursor<'_>, depth: usize) -> Result<DataType, Diagnostic> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(cursor.error(format!("types may be nested {MAX_DEPTH} deep")));
    };
    let mut data_type = base(cursor, depth)?;
    let mut dimensions = 0;
    while !cursor.split_gt() {
        if cursor.accept(&Token::LBracket) {
            if matches!(cursor.peek(), Some(Token::Number(..))) {
                cursor.advance();
            }
            cursor.expect(&Token::RBracket, "']'")?;
        } else if !cursor.accept_word("ARRAY") {
            break;
        }
        dimensions += 1;
        if dimensions > depth {
            return Err(cursor.error(format!("types may be nested {MAX_DEPTH} deep")));
        }
        data_type = DataType::array(data_type);
    }
    Ok(data_type)
}

fn base(cursor: &mut Cursor<'_>, depth: usize) -> Result<DataType, Diagnostic> {
    let Some(Token::Word(name)) = cursor.peek() else { return Err(cursor.expected("a type")) };
    let at = cursor.span();
    let upper = name.value.to_ascii_uppercase();
    cursor.advance();
    Ok(match upper.as_str() {
        "BOOLEAN" | "BOOL" => DataType::Boolean,
        "SMALLINT" | "INT2" | "TINYINT" => DataType::SmallInt,
        "INT" | "INTEGER" | "INT4" => DataType::Integer,
        "BIGINT" | "INT8" => DataType::BigInt,
        "REAL" | "FLOAT4" => DataType::Real,
        "FLOAT8" => DataType::Double,
        "DOUBLE" => {
            cursor.accept_word("PRECISION");
            DataType::Double
        }
        "FLOAT" => match number(cursor)? {
            Some((1..=24, _)) => DataType::Real,
            None | Some((25..=53, _)) => DataType::Double,
            Some((_, at)) => return Err(Diagnostic::new("FLOAT(n) takes 1 to 53 binary digits", at)),
        },
        "DECIMAL" | "NUMERIC" | "DEC" => decimal(cursor)?,
        "VARCHAR" | "TEXT" | "STRING" => {
            number(cursor)?;
            DataType::Varchar
        }
        "CHARACTER" | "CHAR" if cursor.accept_word("VARYING") => {
            number(cursor)?;
            DataType::Varchar
        }
        "BYTEA" | "BYTES" | "BLOB" | "VARBINARY" => {
            number(cursor)?;
            DataType::Bytes
        }
        "DATE" => DataType::Date,
        "TIME" => {
            fraction(cursor, "TIME")?;
            if zone(cursor)? {
                return Err(Diagnostic::new("TIME WITH TIME ZONE is not supported", cursor.span_from(at))
                    .with_hint("use TIME or TIMESTAMP"));
            }
            DataType::Time
        }
        "TIMESTAMP" => {
            fraction(cursor, "TIMESTAMP")?;
            zone(cursor)?;
            DataType::Timestamp
        }
        "TIMESTAMPTZ" | "TIMESTAMP_LTZ" | "DATETIME" => {
            fraction(cursor, &upper)?;
            DataType::Timestamp
        }
        "INTERVAL" => DataType::Interval,
        "JSON" | "JSONB" => DataType::Json,
        "ARRAY" => DataType::array(inner(cursor, &Token::Lt, "'<' and the type of the elements", depth)?),
        "MAP" => map(cursor, depth)?,
        "STRUCT" | "ROW" => structure(cursor, depth)?,
        _ => return Err(unknown(&name.value, &upper, at)),
    })
}

fn unknown(name: &str, upper: &str, at: Span) -> Diagnostic {
    let error = Diagnostic::new(format!("there is no type '{name}'"), at);
    match upper {
        "CHAR" | "CHARACTER" | "BPCHAR" | "UUID" | "NCHAR" | "NVARCHAR" | "XML" | "ENUM" => {
            error.with_hint("use VARCHAR")
        }
        "TIMETZ" => error.with_hint("use TIME or TIMESTAMP"),
        "BINARY" | "BIT" => error.with_hint("use BYTES"),
        "UBIGINT" | "UINT64" | "HUGEINT" | "UHUGEINT" => error.with_hint("use BIGINT or DECIMAL(20,0)"),
        "SERIAL" | "LONG" | "UINTEGER" | "INT64" => error.with_hint("use BIGINT"),
        "MONEY" => error.with_hint("use DECIMAL(18,2)"),
        _ => match nearest(name, NAMES.iter().copied()).as_slice() {
            [] => error.with_hint(format!("known types: {}", NAMES.join(", "))),
            near => error.with_hint(format!("did you mean {}?", near.join(" or "))),
        },
    }
}

/// `<T>` behind ARRAY.
fn inner(cursor: &mut Cursor<'_>, open: &Token, what: &str, depth: usize) -> Result<DataType, Diagnostic> {
    cursor.expect(open, what)?;
    let item = nested(cursor, depth)?;
    close(cursor, open)?;
    Ok(item)
}

/// `<K, V>` or `(K, V)` behind MAP.
fn map(cursor: &mut Cursor<'_>, depth: usize) -> Result<DataType, Diagnostic> {
    let open = open(cursor, "'<' and the types of key and value")?;
    let key = nested(cursor, depth)?;
    cursor.expect(&Token::Comma, "',' and the type of the values")?;
    let value = nested(cursor, depth)?;
    close(cursor, &open)?;
    Ok(DataType::map(key, value))
}

/// `<name type, …>` or `(name type, …)` behind STRUCT or ROW.
fn structure(cursor: &mut Cursor<'_>, depth: usize) -> Result<DataType, Diagnostic> {
    let open = open(cursor, "'<' and the fields, each with name and type")?;
    let mut fields: Vec<Field> = Vec::new();
    loop {
        let (name, at) = cursor.name("the name of a field")?;
        if fields.iter().any(|f| f.name == name) {
            return Err(Diagnostic::new(format!("the field '{name}' occurs twice"), at));
        }
        cursor.accept(&Token::Colon);
        let mut field = Field::new(name, nested(cursor, depth)?);
        if cursor.accept_words(&["NOT", "NULL"]) {
            field = field.not_null();
        }
        fields.push(field);
        if cursor.split_gt() || !cursor.accept(&Token::Comma) {
            break;
        }
    }
    close(cursor, &open)?;
    Ok(DataType::Struct(fields))
}

fn open(cursor: &mut Cursor<'_>, what: &str) -> Result<Token, Diagnostic> {
    if cursor.accept(&Token::LParen) {
        return Ok(Token::LParen);
    }
    cursor.expect(&Token::Lt, what)?;
    Ok(Token::Lt)
}

fn close(cursor: &mut Cursor<'_>, open: &Token) -> Result<(), Diagnostic> {
    if *open == Token::LParen {
        if cursor.split_gt() {
            return Err(cursor.error("there is a '>' too many in this type"));
        }
        return cursor.expect(&Token::RParen, "',' or ')'");
    }
    if cursor.accept_gt() { Ok(()) } else { Err(cursor.expected("',' or '>'")) }
}

/// `(n)`, if it is there.
fn number(cursor: &mut Cursor<'_>) -> Result<Option<(u64, Span)>, Diagnostic> {
    if !cursor.accept(&Token::LParen) {
        return Ok(None);
    }
    let value = digits(cursor)?;
    cursor.expect(&Token::RParen, "')'")?;
    Ok(Some(value))
}

fn digits(cursor: &mut Cursor<'_>) -> Result<(u64, Span), Diagnostic> {
    let at = cursor.span();
    let value = match cursor.peek() {
        Some(Token::Number(text, false)) => text.parse().ok(),
        _ => None,
    };
    let Some(value) = value else { return Err(cursor.expected("a whole number")) };
    cursor.advance();
    Ok((value, at))
}

/// The digits of a second's fraction: six are held.
fn fraction(cursor: &mut Cursor<'_>, name: &str) -> Result<(), Diagnostic> {
    match number(cursor)? {
        Some((7.., at)) => Err(Diagnostic::new(format!("{name} holds microseconds: at most 6 digits"), at)),
        _ => Ok(()),
    }
}

/// `WITH | WITHOUT [LOCAL] TIME ZONE`: whether there is a zone.
fn zone(cursor: &mut Cursor<'_>) -> Result<bool, Diagnostic> {
    if cursor.accept_words(&["WITHOUT", "TIME", "ZONE"]) {
        return Ok(false);
    }
    Ok(cursor.accept_words(&["WITH", "TIME", "ZONE"])
        || cursor.accept_words(&["WITH", "LOCAL", "TIME", "ZONE"]))
}

fn decimal(cursor: &mut Cursor<'_>) -> Result<DataType, Diagnostic> {
    if !cursor.accept(&Token::LParen) {
        return Ok(PLAIN_DECIMAL);
    }
    let (precision, at) = digits(cursor)?;
    let scale = if cursor.accept(&Token::Comma) { Some(digits(cursor)?) } else { None };
    cursor.expect(&Token::RParen, "')'")?;
    if precision == 0 || precision > u64::from(MAX_PRECISION) {
        let message =
            format!("DECIMAL({precision}) is out of range: a DECIMAL has 1 to {MAX_PRECISION} digits");
        return Err(Diagnostic::new(message, at));
    }
    match scale {
        Some((scale, at)) if scale > precision => {
            let message = format!("the scale {scale} is greater than the precision {precision}");
            Err(Diagnostic::new(message, at))
        }
        scale => {
            Ok(DataType::Decimal { precision: precision as u8, scale: scale.map_or(0, |(s, _)| s as u8) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_types_are_those_of_postgresql_flink_and_duckdb() {
        for (text, expected) in [
            ("bool", "BOOLEAN"),
            ("int2", "SMALLINT"),
            ("Integer", "INT"),
            ("INT8", "BIGINT"),
            ("float4", "REAL"),
            ("FLOAT(24)", "REAL"),
            ("FLOAT", "DOUBLE"),
            ("double precision", "DOUBLE"),
            ("DECIMAL(28)", "DECIMAL(28,0)"),
            ("numeric(10, 2)", "DECIMAL(10,2)"),
            ("DEC", "DECIMAL(28,10)"),
            ("character varying(5)", "VARCHAR"),
            ("STRING", "VARCHAR"),
            ("blob", "BYTES"),
            ("VARBINARY(10)", "BYTES"),
            ("time(3) without time zone", "TIME"),
            ("TIMESTAMP WITH LOCAL TIME ZONE", "TIMESTAMP"),
            ("TIMESTAMP_LTZ(3)", "TIMESTAMP"),
            ("datetime", "TIMESTAMP"),
            ("jsonb", "JSON"),
            ("INT[][3]", "ARRAY<ARRAY<INT>>"),
            ("INT ARRAY", "ARRAY<INT>"),
            ("map(varchar, int[])", "MAP<VARCHAR, ARRAY<INT>>"),
            (
                "ROW<a: INT, `b c` STRUCT<d MAP<INT,ARRAY<INT>>>>",
                "STRUCT<a INT, b c STRUCT<d MAP<INT, ARRAY<INT>>>>",
            ),
        ] {
            assert_eq!(parse_data_type(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_type_says_why() {
        for (text, message) in [
            ("", "expected one type"),
            ("INT INT", "expected the end of the statement, found 'INT'"),
            ("VARCHR", "there is no type 'VARCHR'"),
            ("DECIMAL(29,2)", "DECIMAL(29) is out of range: a DECIMAL has 1 to 28 digits"),
            ("DECIMAL(0)", "DECIMAL(0) is out of range: a DECIMAL has 1 to 28 digits"),
            ("DECIMAL(5,6)", "the scale 6 is greater than the precision 5"),
            ("ARRAY<INT", "expected ',' or '>', found the end of the statement"),
            ("MAP<INT, INT>>", "there is a '>' too many in this type"),
            ("STRUCT(a INT, a INT)", "the field 'a' occurs twice"),
            ("TIMETZ", "there is no type 'TIMETZ'"),
            ("TIME WITH TIME ZONE", "TIME WITH TIME ZONE is not supported"),
            ("TIMESTAMP(9)", "TIMESTAMP holds microseconds: at most 6 digits"),
            ("FLOAT(99)", "FLOAT(n) takes 1 to 53 binary digits"),
        ] {
            assert_eq!(parse_data_type(text).unwrap_err().message, message, "{text}");
        }
        assert!(parse_data_type(&"ARRAY<".repeat(100_000)).is_err());
        assert!(parse_data_type(&format!("INT{}", "[]".repeat(100_000))).is_err());
    }
}
