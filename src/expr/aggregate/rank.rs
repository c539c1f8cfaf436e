//! What is read out of sorted, counted values: percentiles, the most frequent value, a histogram.

use std::sync::Arc;

use super::extreme::Multiset;
use super::moments::as_double;
use crate::expr::EvalResult;
use crate::expr::value::failed;
use crate::record::{ErrorCode, FieldValue};

/// The constants of a percentile: a fraction or an ARRAY of them, and whether the order is descending.
fn each(
    values: &Multiset,
    constants: &[FieldValue],
    one: fn(&Multiset, f64, bool) -> FieldValue,
) -> EvalResult<FieldValue> {
    let (fraction, descending) = match constants {
        [fraction, descending, ..] => (fraction, *descending == FieldValue::Boolean(true)),
        _ => return Ok(FieldValue::Null),
    };
    let at = |fraction: &FieldValue| {
        let Some(f) = as_double(fraction) else { return Ok(FieldValue::Null) };
        if !(0.0..=1.0).contains(&f) {
            let message = format!("percentile value {f} is not between 0 and 1");
            return Err(failed(ErrorCode::InvalidArgument, message));
        }
        Ok(if values.len() == 0 { FieldValue::Null } else { one(values, f, descending) })
    };
    match fraction {
        FieldValue::Array(_) if values.len() == 0 => Ok(FieldValue::Null),
        FieldValue::Array(fractions) => {
            Ok(FieldValue::Array(Arc::new(fractions.iter().map(at).collect::<EvalResult<_>>()?)))
        }
        one => at(one),
    }
}

fn nth(values: &Multiset, at: u64, descending: bool) -> Option<&FieldValue> {
    values.nth(if descending { values.len() - 1 - at } else { at })
}

/// Between two values the result is between them, in proportion.
pub(super) fn continuous(values: &Multiset, constants: &[FieldValue]) -> EvalResult<FieldValue> {
    each(values, constants, |values, fraction, descending| {
        let place = fraction * (values.len() - 1) as f64;
        let number = |at: f64| nth(values, at as u64, descending).and_then(as_double).unwrap_or(f64::NAN);
        let low = number(place.floor());
        if place.floor() == place.ceil() {
            return low.into();
        }
        let high = number(place.ceil());
        (low + (place - place.floor()) * (high - low)).into()
    })
}

/// The first value at or beyond the fraction.
pub(super) fn discrete(values: &Multiset, constants: &[FieldValue]) -> EvalResult<FieldValue> {
    each(values, constants, |values, fraction, descending| {
        let row = (fraction * values.len() as f64).ceil().max(1.0) as u64;
        nth(values, row - 1, descending).cloned().unwrap_or_default()
    })
}

/// The most frequent value; of several the first in the order.
pub(super) fn most_frequent(values: &Multiset, constants: &[FieldValue]) -> EvalResult<FieldValue> {
    let mut best: Option<(&FieldValue, u64)> = None;
    for (value, n) in values.iter() {
        let descending = constants.last() == Some(&FieldValue::Boolean(true));
        if best.is_none_or(|(_, most)| n > most || (descending && n == most)) {
            best = Some((value, n));
        }
    }
    Ok(best.map_or(FieldValue::Null, |(v, _)| v.clone()))
}

/// MAP of value and count, in order of the values.
pub(super) fn histogram(values: &Multiset, _: &[FieldValue]) -> EvalResult<FieldValue> {
    if values.len() == 0 {
        return Ok(FieldValue::Null);
    }
    let entries = values.iter().map(|(v, n)| (v.clone(), FieldValue::Integer(n as i64)));
    Ok(FieldValue::Map(Arc::new(entries.collect())))
}
