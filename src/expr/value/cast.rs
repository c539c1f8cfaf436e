//! Casts of single values between all types.

use std::sync::Arc;

use super::failure::invalid_cast;
use super::text::write_typed;
use super::{bytes, decimal, json, to_text};
use crate::expr::EvalResult;
use crate::record::text::{self, MICROS_PER_DAY};
use crate::record::{CompactString, DataType, FieldValue, Interval, StructValue};

/// A value as that type.
///
/// # Errors
/// [`InvalidCast`](crate::record::ErrorCode::InvalidCast) if there is no such value.
pub fn cast_value(value: &FieldValue, to: &DataType) -> EvalResult<FieldValue> {
    cast_value_from(value, &DataType::Null, to)
}

/// The same for a value of known type; only REAL makes a difference, whose values have fewer digits than a DOUBLE.
///
/// # Errors
/// As [`cast_value`].
pub fn cast_value_from(value: &FieldValue, from: &DataType, to: &DataType) -> EvalResult<FieldValue> {
    use DataType as T;
    use FieldValue as V;
    let cast = match (value, to) {
        (V::Null, _) => Some(V::Null),
        (_, T::Null) => Some(value.clone()),
        (V::Json(j), t) if j.trim_ascii() == "null" && !matches!(t, T::Json | T::Varchar) => Some(V::Null),
        (_, T::Boolean) => to_boolean(value).map(V::Boolean),
        (_, T::SmallInt) => to_integer(value).filter(|i| i16::try_from(*i).is_ok()).map(V::Integer),
        (_, T::Integer) => to_integer(value).filter(|i| i32::try_from(*i).is_ok()).map(V::Integer),
        (_, T::BigInt) => to_integer(value).map(V::Integer),
        (_, T::Real) => to_float(value).and_then(real).map(V::Float),
        (_, T::Double) => to_float(value).map(V::Float),
        (_, T::Decimal { precision, scale }) => to_decimal(value, from, *precision, *scale),
        (V::String(_), T::Varchar) => Some(value.clone()),
        (_, T::Varchar) => Some(to_varchar(value, from)),
        (_, T::Bytes) => to_bytes(value),
        (_, T::Date) => to_date(value).map(V::Date),
        (_, T::Time) => to_time(value).map(V::Time),
        (_, T::Timestamp) => to_timestamp(value).map(V::Timestamp),
        (_, T::Interval) => to_interval(value).map(V::Interval),
        (_, T::Json) => to_json(value, from),
        (_, T::Array(item)) => return to_array(value, from, item, to),
        (_, T::Map(key, item)) => return to_map(value, key, item, to),
        (_, T::Struct(fields)) => return to_struct(value, from, fields, to),
    };
    cast.ok_or_else(|| invalid_cast(&to_text(value), to))
}

/// Reads a BOOLEAN as PostgreSQL does: `true`, `yes`, `on`, `1` and their opposites, in any case, also cut short where
/// that is unambiguous.
pub fn parse_bool(text: &str) -> Option<bool> {
    let text = text.trim_ascii();
    let starts = |word: &str, least: usize| {
        text.len() >= least && word.get(..text.len()).is_some_and(|w| w.eq_ignore_ascii_case(text))
    };
    if starts("true", 1) || starts("yes", 1) || starts("on", 2) || text == "1" {
        Some(true)
    } else if starts("false", 1) || starts("no", 1) || starts("off", 2) || text == "0" {
        Some(false)
    } else {
        None
    }
}

/// A JSON scalar as text: numbers and words as they stand, strings without their quotes.
fn scalar(j: &str) -> Option<String> {
    match json::string(j) {
        Some(s) => Some(s.into_owned()),
        None => (!j.starts_with(['{', '['])).then(|| j.to_owned()),
    }
}

fn to_boolean(value: &FieldValue) -> Option<bool> {
    match value {
        FieldValue::Boolean(b) => Some(*b),
        FieldValue::Integer(i) => Some(*i != 0),
        FieldValue::String(s) => parse_bool(s),
        FieldValue::Json(j) => j.trim_ascii().parse().ok(),
        _ => None,
    }
}

fn to_integer(value: &FieldValue) -> Option<i64> {
    match value {
        FieldValue::Integer(i) => Some(*i),
        FieldValue::Boolean(b) => Some(i64::from(*b)),
        // PostgreSQL rounds a double half to even, a decimal half away from zero.
        FieldValue::Float(x) => {
            let x = x.round_ties_even();
            (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&x).then_some(x as i64)
        }
        FieldValue::Decimal(d) => decimal::to_i64(d),
        FieldValue::String(s) => text::parse_i64(s.trim_ascii()),
        FieldValue::Json(j) => {
            let j = j.trim_ascii();
            text::parse_i64(j).or_else(|| text::parse_decimal(j).and_then(|d| decimal::to_i64(&d)))
        }
        _ => None,
    }
}

fn to_float(value: &FieldValue) -> Option<f64> {
    match value {
        FieldValue::Float(x) => Some(*x),
        FieldValue::Integer(i) => Some(*i as f64),
        FieldValue::Decimal(d) => Some(decimal::decimal_to_f64(d)),
        FieldValue::String(s) => text::parse_f64(s.trim_ascii()),
        FieldValue::Json(j) => {
            let j = j.trim_ascii();
            text::parse_f64(json::string(j).as_deref().unwrap_or(j))
        }
        _ => None,
    }
}

/// Rounded to 32 bits, unless that makes it infinite.
fn real(x: f64) -> Option<f64> {
    let rounded = f64::from(x as f32);
    (rounded.is_finite() || !x.is_finite()).then_some(rounded)
}

fn to_decimal(value: &FieldValue, from: &DataType, precision: u8, scale: u8) -> Option<FieldValue> {
    let exact = match value {
        FieldValue::Integer(i) => (*i).into(),
        FieldValue::Decimal(d) => *d,
        FieldValue::String(s) => text::parse_decimal(s.trim_ascii())?,
        FieldValue::Json(j) => {
            text::parse_decimal(json::string(j.trim_ascii()).as_deref().unwrap_or(j.trim_ascii()))?
        }
        FieldValue::Float(x) if x.is_finite() => {
            let digits = if *from == DataType::Real { 6 } else { 15 };
            return decimal::from_f64(*x, digits, precision, scale).map(FieldValue::Decimal);
        }
        _ => return None,
    };
    decimal::fit(&exact, precision, scale).map(FieldValue::Decimal)
}

fn to_varchar(value: &FieldValue, from: &DataType) -> FieldValue {
    let mut out = Vec::new();
    write_typed(value, from, &mut out);
    FieldValue::String(CompactString::from_utf8(out).unwrap_or_default())
}

fn to_bytes(value: &FieldValue) -> Option<FieldValue> {
    match value {
        FieldValue::Bytes(_) => Some(value.clone()),
        FieldValue::String(s) => bytes::parse(s).map(|b| FieldValue::Bytes(b.into())),
        _ => None,
    }
}

fn to_date(value: &FieldValue) -> Option<i32> {
    let day = |t: i64| i32::try_from(t.div_euclid(MICROS_PER_DAY)).ok();
    match value {
        FieldValue::Date(d) => Some(*d),
        FieldValue::Timestamp(t) => day(*t),
        FieldValue::String(s) => text::parse_date(s).or_else(|| text::parse_timestamp(s).and_then(day)),
        FieldValue::Json(j) => text::parse_date(&json::string(j.trim_ascii())?),
        _ => None,
    }
}

fn to_time(value: &FieldValue) -> Option<i64> {
    let of_day = |t: i64| t.rem_euclid(MICROS_PER_DAY);
    match value {
        FieldValue::Time(t) => Some(*t),
        FieldValue::Timestamp(t) => Some(of_day(*t)),
        FieldValue::Interval(i) => Some(of_day(i.micros)),
        FieldValue::String(s) => text::parse_time(s).or_else(|| text::parse_timestamp(s).map(of_day)),
        FieldValue::Json(j) => text::parse_time(&json::string(j.trim_ascii())?),
        _ => None,
    }
}

fn to_timestamp(value: &FieldValue) -> Option<i64> {
    match value {
        FieldValue::Timestamp(t) => Some(*t),
        FieldValue::Date(d) => i64::from(*d).checked_mul(MICROS_PER_DAY),
        FieldValue::String(s) => text::parse_timestamp(s),
        FieldValue::Json(j) => text::parse_timestamp(&json::string(j.trim_ascii())?),
        _ => None,
    }
}

fn to_interval(value: &FieldValue) -> Option<Interval> {
    match value {
        FieldValue::Interval(i) => Some(*i),
        FieldValue::Time(t) => Some(Interval { months: 0, days: 0, micros: *t }),
        FieldValue::String(s) => text::parse_interval(s),
        FieldValue::Json(j) => text::parse_interval(&json::string(j.trim_ascii())?),
        _ => None,
    }
}

fn to_json(value: &FieldValue, from: &DataType) -> Option<FieldValue> {
    match value {
        FieldValue::Float(x) if x.is_finite() && *from == DataType::Real => {
            Some(FieldValue::Json(format!("{}", *x as f32).into()))
        }
        FieldValue::Json(_) => Some(value.clone()),
        FieldValue::String(s) => json::is_valid(s).then(|| FieldValue::Json(s.as_str().into())),
        _ => {
            let mut out = Vec::new();
            json::write(value, &mut out);
            String::from_utf8(out).ok().map(|s| FieldValue::Json(s.into()))
        }
    }
}

/// A value inside JSON: `null` is NULL, a string is its content.
fn from_json(j: &str, to: &DataType) -> EvalResult<FieldValue> {
    match (j, to) {
        ("null", _) => Ok(FieldValue::Null),
        (_, DataType::Json) => Ok(FieldValue::Json(j.into())),
        (_, DataType::Varchar) => Ok(FieldValue::String(scalar(j).unwrap_or_else(|| j.to_owned()).into())),
        _ => cast_value(&FieldValue::Json(j.into()), to),
    }
}

/// JSON text in a VARCHAR that is cast to a nested type.
fn json_text(value: &FieldValue) -> Option<&str> {
    match value {
        FieldValue::Json(j) => Some(j),
        FieldValue::String(s) if json::is_valid(s) => Some(s),
        _ => None,
    }
}

fn to_array(value: &FieldValue, from: &DataType, item: &DataType, to: &DataType) -> EvalResult<FieldValue> {
    let from_item = if let DataType::Array(t) = from { t } else { &DataType::Null };
    let items = match (value, json_text(value).and_then(json::Elements::of)) {
        (FieldValue::Array(items), _) => {
            items.iter().map(|v| cast_value_from(v, from_item, item)).collect::<EvalResult<Vec<_>>>()?
        }
        (_, Some(elements)) => elements.map(|j| from_json(j, item)).collect::<EvalResult<Vec<_>>>()?,
        _ => return Err(invalid_cast(&to_text(value), to)),
    };
    Ok(FieldValue::Array(Arc::new(items)))
}

fn to_map(value: &FieldValue, key: &DataType, item: &DataType, to: &DataType) -> EvalResult<FieldValue> {
    let entries = match (value, json_text(value).and_then(json::Members::of)) {
        (FieldValue::Map(entries), _) => entries
            .iter()
            .map(|(k, v)| Ok((cast_value(k, key)?, cast_value(v, item)?)))
            .collect::<EvalResult<Vec<_>>>()?,
        (_, Some(members)) => members
            .map(|(k, j)| Ok((cast_value(&FieldValue::from(&*k), key)?, from_json(j, item)?)))
            .collect::<EvalResult<Vec<_>>>()?,
        _ => return Err(invalid_cast(&to_text(value), to)),
    };
    Ok(FieldValue::Map(Arc::new(entries)))
}

fn to_struct(
    value: &FieldValue,
    from: &DataType,
    fields: &[crate::record::Field],
    to: &DataType,
) -> EvalResult<FieldValue> {
    let from_field = |i: usize| match from {
        DataType::Struct(fields) => fields.get(i).map_or(&DataType::Null, |f| &f.data_type),
        _ => &DataType::Null,
    };
    let values = match (value, json_text(value)) {
        (FieldValue::Struct(s), _) if s.values.len() == fields.len() => s
            .values
            .iter()
            .zip(fields)
            .enumerate()
            .map(|(i, (v, f))| cast_value_from(v, from_field(i), &f.data_type))
            .collect::<EvalResult<Vec<_>>>()?,
        (_, Some(j)) if json::Members::of(j).is_some() => fields
            .iter()
            .map(|f| json::member(j, &f.name).map_or(Ok(FieldValue::Null), |j| from_json(j, &f.data_type)))
            .collect::<EvalResult<Vec<_>>>()?,
        _ => return Err(invalid_cast(&to_text(value), to)),
    };
    let names = fields.iter().map(|f| f.name.clone()).collect();
    Ok(FieldValue::Struct(Arc::new(StructValue { names, values })))
}
