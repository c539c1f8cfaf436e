//! Comparison and text form of values of any type, as the operators and CAST have them.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::args::invalid;
use crate::expr::{EvalResult, compare};
use crate::record::FieldValue;

/// How two values that are not NULL compare.
pub(super) fn order(a: &FieldValue, b: &FieldValue) -> EvalResult<Ordering> {
    compare(a, b)
        .ok_or_else(|| invalid(format!("{} and {} are not comparable", a.data_type(), b.data_type())))
}
/// Whether two values are equal; NULL equals NULL.
pub(super) fn same(a: &FieldValue, b: &FieldValue) -> bool {
    if a.is_null() || b.is_null() {
        a.is_null() && b.is_null()
    } else {
        compare(a, b) == Some(Ordering::Equal)
    }
}
/// The text of a value, as `CAST(… AS VARCHAR)` gives it; borrowed if it is text already.
pub(super) fn to_text(v: &FieldValue) -> Cow<'_, str> {
    match v {
        FieldValue::String(s) => Cow::Borrowed(s),
        FieldValue::Json(s) => Cow::Borrowed(s),
        other => Cow::Owned(crate::expr::to_text(other)),
    }
}
