//! Typed access to arguments, and the errors and limits that all families share.

use std::sync::Arc;

use crate::expr::{Datum, EvalResult};
use crate::record::{Decimal, ErrorCode, FieldValue, RecordError};
use rust_decimal::prelude::ToPrimitive;

/// Longest text that a function makes out of a short one (`repeat`, `lpad`), in bytes.
pub(super) const MAX_TEXT: usize = 16 << 20;

/// An argument outside the function's domain.
#[cold]
pub(super) fn invalid(message: impl Into<String>) -> Box<RecordError> {
    Box::new(RecordError::new(ErrorCode::InvalidArgument, message))
}
/// A result beyond the range of its type.
#[cold]
pub(super) fn overflow(message: impl Into<String>) -> Box<RecordError> {
    Box::new(RecordError::new(ErrorCode::Overflow, message))
}
#[cold]
fn unexpected(at: usize, wanted: &str, found: Option<&FieldValue>) -> Box<RecordError> {
    match found {
        Some(v) => invalid(format!("argument {} must be {wanted}, not {}", at + 1, v.data_type())),
        None => invalid(format!("argument {} is missing: it must be {wanted}", at + 1)),
    }
}

/// Argument `at`, NULL if there is none.
pub(super) fn any<'v>(args: &'v [Datum<'_>], at: usize) -> &'v FieldValue {
    static NULL: FieldValue = FieldValue::Null;
    args.get(at).map_or(&NULL, |v| v)
}
/// VARCHAR or JSON.
#[inline]
pub(super) fn text<'v>(args: &'v [Datum<'_>], at: usize) -> EvalResult<&'v str> {
    match args.get(at).map(|v| &**v) {
        Some(FieldValue::String(s)) => Ok(s),
        Some(FieldValue::Json(s)) => Ok(s),
        other => Err(unexpected(at, "VARCHAR", other)),
    }
}
/// An integer.
#[inline]
pub(super) fn int(args: &[Datum<'_>], at: usize) -> EvalResult<i64> {
    match args.get(at).map(|v| &**v) {
        Some(FieldValue::Integer(i)) => Ok(*i),
        other => Err(unexpected(at, "an integer", other)),
    }
}
/// An integer that may be left out.
pub(super) fn int_or(args: &[Datum<'_>], at: usize, default: i64) -> EvalResult<i64> {
    if args.len() > at { int(args, at) } else { Ok(default) }
}
/// A number as DOUBLE.
#[inline]
pub(super) fn float(args: &[Datum<'_>], at: usize) -> EvalResult<f64> {
    match args.get(at).map(|v| &**v) {
        Some(FieldValue::Float(f)) => Ok(*f),
        Some(FieldValue::Integer(i)) => Ok(*i as f64),
        Some(FieldValue::Decimal(d)) => decimal_to_f64(d),
        other => Err(unexpected(at, "a number", other)),
    }
}
/// A DECIMAL as DOUBLE.
pub(super) fn decimal_to_f64(d: &Decimal) -> EvalResult<f64> {
    d.to_f64().ok_or_else(|| overflow("DECIMAL does not fit DOUBLE"))
}
/// BYTES, or VARCHAR as its UTF-8.
pub(super) fn bytes<'v>(args: &'v [Datum<'_>], at: usize) -> EvalResult<&'v [u8]> {
    match args.get(at).map(|v| &**v) {
        Some(FieldValue::Bytes(b)) => Ok(b),
        Some(FieldValue::String(s)) => Ok(s.as_bytes()),
        Some(FieldValue::Json(s)) => Ok(s.as_bytes()),
        other => Err(unexpected(at, "BYTES or VARCHAR", other)),
    }
}
/// An ARRAY.
pub(super) fn array<'v>(args: &'v [Datum<'_>], at: usize) -> EvalResult<&'v Arc<Vec<FieldValue>>> {
    match args.get(at).map(|v| &**v) {
        Some(FieldValue::Array(items)) => Ok(items),
        other => Err(unexpected(at, "an ARRAY", other)),
    }
}
/// A MAP.
pub(super) fn map<'v>(
    args: &'v [Datum<'_>],
    at: usize,
) -> EvalResult<&'v Arc<Vec<(FieldValue, FieldValue)>>> {
    match args.get(at).map(|v| &**v) {
        Some(FieldValue::Map(entries)) => Ok(entries),
        other => Err(unexpected(at, "a MAP", other)),
    }
}

/// Fails if a text of `len` bytes would be beyond [`MAX_TEXT`].
pub(super) fn within_limit(len: usize) -> EvalResult<()> {
    if len > MAX_TEXT {
        return Err(overflow(format!("result of {len} bytes is longer than the limit of {MAX_TEXT}")));
    }
    Ok(())
}
/// An integer result from a count.
pub(super) fn count(n: usize) -> EvalResult<FieldValue> {
    Ok(FieldValue::Integer(n as i64))
}
