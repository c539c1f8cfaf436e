//! Values as text: what CAST to VARCHAR, `||` and `concat` give.

use super::{bytes, json};
use crate::record::{DataType, FieldValue, text};

/// The text of a value, as CAST to VARCHAR gives it; NULL is empty.
pub fn to_text(value: &FieldValue) -> String {
    let mut out = Vec::new();
    write_text(value, &mut out);
    // Everything that is written is UTF-8.
    String::from_utf8(out).unwrap_or_default()
}

/// Appends what [`to_text`] gives.
pub fn write_text(value: &FieldValue, out: &mut Vec<u8>) {
    match value {
        FieldValue::Null => {}
        FieldValue::Boolean(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        FieldValue::Integer(i) => text::write_i64(*i, out),
        FieldValue::Float(x) => write_float(*x, out),
        FieldValue::Decimal(d) => text::write_decimal(d, out),
        FieldValue::String(s) => out.extend_from_slice(s.as_bytes()),
        FieldValue::Bytes(b) => bytes::write_hex(b, out),
        FieldValue::Date(d) => text::write_date(*d, out),
        FieldValue::Time(t) => text::write_time(*t, out),
        FieldValue::Timestamp(t) => text::write_timestamp(*t, out),
        FieldValue::Interval(i) => text::write_interval(i, out),
        FieldValue::Array(_) | FieldValue::Map(_) | FieldValue::Struct(_) => json::write(value, out),
        FieldValue::Json(j) => out.extend_from_slice(j.as_bytes()),
    }
}

/// The same for a value of known type: REAL shows only the digits that its 32 bits have.
pub(super) fn write_typed(value: &FieldValue, from: &DataType, out: &mut Vec<u8>) {
    match value {
        FieldValue::Float(x) if *from == DataType::Real => {
            write_shortest(&format!("{:e}", *x as f32), *x, 6, out)
        }
        _ => write_text(value, out),
    }
}

/// PostgreSQL's form: `1`, `0.1`, `1e+21`, `1e-05`, `NaN`, `Infinity`.
fn write_float(x: f64, out: &mut Vec<u8>) {
    write_shortest(&format!("{x:e}"), x, 15, out);
}

/// Lays out the shortest digits that round-trip: exponents below -4 and from `limit` on are written as such.
fn write_shortest(scientific: &str, x: f64, limit: i32, out: &mut Vec<u8>) {
    let Some((number, exponent)) = scientific.split_once('e') else { return text::write_f64(x, out) };
    let Ok(exponent) = exponent.parse::<i32>() else { return };
    let (sign, number) = match number.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", number),
    };
    out.extend_from_slice(sign.as_bytes());
    if exponent < -4 || exponent >= limit {
        let sign = if exponent < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("{number}e{sign}{:02}", exponent.unsigned_abs()).as_bytes());
        return;
    }
    let digits: Vec<u8> = number.bytes().filter(|b| *b != b'.').collect();
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + exponent.unsigned_abs() as usize - 1, b'0');
        out.extend_from_slice(&digits);
        return;
    }
    let whole = exponent as usize + 1;
    for i in 0..whole.max(digits.len()) {
        if i == whole {
            out.push(b'.');
        }
        out.push(digits.get(i).copied().unwrap_or(b'0'));
    }
}
