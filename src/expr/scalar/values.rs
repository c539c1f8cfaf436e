//! Comparison and text form of values of any type, as the operators and CAST have them.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::args::invalid;
use crate::expr::{EvalResult, compare};
use crate::record::{FieldValue, text};

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
/// The text of a value, as `CAST(… AS VARCHAR)` gives it.
pub(super) fn to_text(v: &FieldValue) -> EvalResult<Cow<'_, str>> {
    Ok(match v {
        FieldValue::String(s) => Cow::Borrowed(s.as_str()),
        FieldValue::Json(s) => Cow::Borrowed(s),
        FieldValue::Boolean(b) => Cow::Borrowed(if *b { "true" } else { "false" }),
        FieldValue::Null => Cow::Borrowed(""),
        FieldValue::Integer(i) => Cow::Owned(i.to_string()),
        FieldValue::Decimal(d) => Cow::Owned(d.to_string()),
        FieldValue::Float(d) => {
            let mut out = Vec::new();
            text::write_f64(*d, &mut out);
            Cow::Owned(String::from_utf8(out).unwrap_or_default())
        }
        other => return Err(invalid(format!("no text form of {} yet", other.data_type()))),
    })
}
