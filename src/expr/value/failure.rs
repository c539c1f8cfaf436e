//! Record errors of evaluation, built out of line so that the good path stays small.

use crate::record::{ErrorCode, RecordError};

#[cold]
#[inline(never)]
pub(in crate::expr) fn failed(code: ErrorCode, message: impl Into<String>) -> Box<RecordError> {
    Box::new(RecordError::new(code, message))
}

#[cold]
#[inline(never)]
pub(in crate::expr) fn overflow(what: &str) -> Box<RecordError> {
    failed(ErrorCode::Overflow, format!("{what} out of range"))
}

#[cold]
#[inline(never)]
pub(in crate::expr) fn division_by_zero() -> Box<RecordError> {
    failed(ErrorCode::DivisionByZero, "division by zero")
}

/// A failed cast; long values are cut short.
#[cold]
#[inline(never)]
pub(super) fn invalid_cast(value: &str, to: &dyn std::fmt::Display) -> Box<RecordError> {
    const SHOWN: usize = 40;
    let message = match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("'{}…' is not a valid {to}", value.get(..end).unwrap_or_default()),
        None => format!("'{value}' is not a valid {to}"),
    };
    failed(ErrorCode::InvalidCast, message)
}
