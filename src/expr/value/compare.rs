//! The order of values: exact across number types, NaN above all numbers, NULL comparable with nothing.

use std::cmp::Ordering;

use super::decimal_to_f64;
use crate::record::{Decimal, FieldValue, Interval, sorted};

/// SQL comparison: `None` if either side is NULL, or the types are not comparable (which typing rules out).
///
/// Numbers compare by value whatever their types, except that DECIMAL meets DOUBLE as DOUBLE. NaN equals NaN and is
/// above all other numbers. Strings compare by code point. Inside ARRAY, MAP and STRUCT, NULL equals NULL and is
/// above everything, as in PostgreSQL's arrays.
#[inline]
pub fn compare(a: &FieldValue, b: &FieldValue) -> Option<Ordering> {
    use FieldValue as V;
    Some(match (a, b) {
        (V::Integer(x), V::Integer(y)) => x.cmp(y),
        (V::Float(x), V::Float(y)) => compare_floats(*x, *y),
        (V::String(x), V::String(y)) => x.as_str().cmp(y.as_str()),
        (V::Decimal(x), V::Decimal(y)) => x.cmp(y),
        (V::Timestamp(x), V::Timestamp(y)) | (V::Time(x), V::Time(y)) => x.cmp(y),
        (V::Date(x), V::Date(y)) => x.cmp(y),
        (V::Boolean(x), V::Boolean(y)) => x.cmp(y),
        _ => return compare_rest(a, b),
    })
}

fn compare_rest(a: &FieldValue, b: &FieldValue) -> Option<Ordering> {
    use FieldValue as V;
    Some(match (a, b) {
        (V::Null, _) | (_, V::Null) => return None,
        (V::Integer(x), V::Float(y)) => compare_integer_float(*x, *y),
        (V::Float(x), V::Integer(y)) => compare_integer_float(*y, *x).reverse(),
        (V::Integer(x), V::Decimal(y)) => Decimal::from(*x).cmp(y),
        (V::Decimal(x), V::Integer(y)) => x.cmp(&Decimal::from(*y)),
        (V::Decimal(x), V::Float(y)) => compare_floats(decimal_to_f64(x), *y),
        (V::Float(x), V::Decimal(y)) => compare_floats(*x, decimal_to_f64(y)),
        (V::Bytes(x), V::Bytes(y)) => x.cmp(y),
        (V::Interval(x), V::Interval(y)) => interval_micros(x).cmp(&interval_micros(y)),
        (V::Array(x), V::Array(y)) => compare_lists(x.iter(), y.iter()),
        (V::Struct(x), V::Struct(y)) => compare_lists(x.values.iter(), y.values.iter()),
        (V::Map(x), V::Map(y)) => compare_maps(x, y),
        (V::Json(x), V::Json(y)) => x.cmp(y),
        _ => return None,
    })
}

/// A total order for sorting and for what stands inside nested values: NULL equals NULL and is above everything.
pub fn compare_nulls_last(a: &FieldValue, b: &FieldValue) -> Ordering {
    match (a.is_null(), b.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => compare(a, b).unwrap_or(Ordering::Equal),
    }
}

#[inline]
pub(in crate::expr) fn compare_floats(x: f64, y: f64) -> Ordering {
    x.partial_cmp(&y).unwrap_or_else(|| x.is_nan().cmp(&y.is_nan()))
}

/// Exact, also where the integer has more than 53 bits.
fn compare_integer_float(x: i64, y: f64) -> Ordering {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if y.is_nan() || y >= LIMIT {
        return Ordering::Less;
    }
    if y < -LIMIT {
        return Ordering::Greater;
    }
    let whole = y.trunc();
    x.cmp(&(whole as i64)).then_with(|| 0.0_f64.partial_cmp(&(y - whole)).unwrap_or(Ordering::Equal))
}

/// As PostgreSQL compares: a month has 30 days, a day 24 hours.
fn interval_micros(i: &Interval) -> i128 {
    let days = i128::from(i.months) * 30 + i128::from(i.days);
    days * i128::from(crate::record::text::MICROS_PER_DAY) + i128::from(i.micros)
}

fn compare_lists<'a>(
    mut x: impl Iterator<Item = &'a FieldValue>,
    mut y: impl Iterator<Item = &'a FieldValue>,
) -> Ordering {
    loop {
        match (x.next(), y.next()) {
            (Some(a), Some(b)) => match compare_nulls_last(a, b) {
                Ordering::Equal => {}
                different => return different,
            },
            (a, b) => return a.is_some().cmp(&b.is_some()),
        }
    }
}

/// Maps are equal if they have equal entries in whatever order.
fn compare_maps(x: &[(FieldValue, FieldValue)], y: &[(FieldValue, FieldValue)]) -> Ordering {
    fn sorted(m: &[(FieldValue, FieldValue)]) -> Vec<&(FieldValue, FieldValue)> {
        let mut entries: Vec<_> = m.iter().collect();
        sorted::sort_by(&mut entries, |a, b| compare_nulls_last(&a.0, &b.0));
        entries
    }
    let (x, y) = (sorted(x), sorted(y));
    compare_lists(x.iter().flat_map(|e| [&e.0, &e.1]), y.iter().flat_map(|e| [&e.0, &e.1]))
}
