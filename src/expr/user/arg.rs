//! Rust types that a closure may take.

use super::{Parameter, Timestamp};
use crate::record::{DataType, Decimal, FieldValue};

/// A Rust type that a parameter of a user function can have.
///
/// | Rust | SQL |
/// |---|---|
/// | `i64` | BIGINT |
/// | `f64` | DOUBLE |
/// | `bool` | BOOLEAN |
/// | `&str`, `String` | VARCHAR |
/// | `Decimal` | DECIMAL of any scale, or an integer |
/// | [`Timestamp`] | TIMESTAMP |
/// | `Option<T>` | the same; NULL arrives as `None` |
///
/// Arguments are cast implicitly where SQL does. Without `Option`, a NULL argument makes the result NULL without a call (an
/// aggregate passes the row over).
pub trait SqlArg {
    /// The type with the lifetime of one call.
    type Item<'v>;
    /// What SQL sees.
    fn parameter() -> Parameter;
    /// The value for the closure; `None` where it must not be called.
    fn of(value: &FieldValue) -> Option<Self::Item<'_>>;
}

macro_rules! args {
    ($($rust:ty, $item:ty, $sql:expr, $pattern:pat => $value:expr;)*) => {$(
        impl SqlArg for $rust {
            type Item<'v> = $item;
            fn parameter() -> Parameter {
                Parameter { data_type: $sql, nullable: false }
            }
            #[inline]
            fn of(value: &FieldValue) -> Option<Self::Item<'_>> {
                match value {
                    $pattern => Some($value),
                    _ => None,
                }
            }
        }
    )*};
}

args! {
    i64, i64, Some(DataType::BigInt), FieldValue::Integer(x) => *x;
    f64, f64, Some(DataType::Double), FieldValue::Float(x) => *x;
    bool, bool, Some(DataType::Boolean), FieldValue::Boolean(x) => *x;
    String, String, Some(DataType::Varchar), FieldValue::String(x) => x.to_string();
    Timestamp, Timestamp, Some(DataType::Timestamp), FieldValue::Timestamp(x) => Timestamp(*x);
}

impl SqlArg for &str {
    type Item<'v> = &'v str;
    fn parameter() -> Parameter {
        Parameter { data_type: Some(DataType::Varchar), nullable: false }
    }
    #[inline]
    fn of(value: &FieldValue) -> Option<&str> {
        value.as_str()
    }
}

impl SqlArg for Decimal {
    type Item<'v> = Decimal;
    fn parameter() -> Parameter {
        Parameter { data_type: None, nullable: false }
    }
    fn of(value: &FieldValue) -> Option<Decimal> {
        match value {
            FieldValue::Decimal(d) => Some(*d),
            FieldValue::Integer(i) => Some(Decimal::from(*i)),
            _ => None,
        }
    }
}

impl<T: SqlArg> SqlArg for Option<T> {
    type Item<'v> = Option<T::Item<'v>>;
    fn parameter() -> Parameter {
        Parameter { nullable: true, ..T::parameter() }
    }
    #[inline]
    fn of(value: &FieldValue) -> Option<Self::Item<'_>> {
        if value.is_null() { Some(None) } else { T::of(value).map(Some) }
    }
}
