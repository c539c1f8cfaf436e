//! Rust types that a closure may give.

use rust_decimal::RoundingStrategy;

use super::Timestamp;
use crate::expr::EvalResult;
use crate::expr::value::{failed, overflow};
use crate::record::{DataType, Decimal, ErrorCode, FieldValue};

/// Digits after the point of a DECIMAL result.
const SCALE: u8 = 6;
/// Digits of a DECIMAL.
const PRECISION: u8 = 28;

/// A Rust type that a user function can give: the types of [`SqlArg`](super::SqlArg) but for borrowed text, `Option` for NULL and
/// `Result` for a record error with the error's text.
///
/// A DECIMAL result is DECIMAL(28, 6), rounded half away from zero.
pub trait SqlResult {
    /// What SQL sees.
    fn data_type() -> DataType;
    /// The value of that type.
    ///
    /// # Errors
    /// The closure's own error, or a result beyond its type.
    fn into_value(self) -> EvalResult<FieldValue>;
}

macro_rules! results {
    ($($rust:ty, $sql:expr, $x:ident => $value:expr;)*) => {$(
        impl SqlResult for $rust {
            fn data_type() -> DataType {
                $sql
            }
            #[inline]
            fn into_value(self) -> EvalResult<FieldValue> {
                let $x = self;
                Ok($value)
            }
        }
    )*};
}

results! {
    i64, DataType::BigInt, x => FieldValue::Integer(x);
    f64, DataType::Double, x => FieldValue::Float(x);
    bool, DataType::Boolean, x => FieldValue::Boolean(x);
    String, DataType::Varchar, x => FieldValue::String(x.into());
    &'static str, DataType::Varchar, x => FieldValue::String(x.into());
    Timestamp, DataType::Timestamp, x => FieldValue::Timestamp(x.0);
}

impl SqlResult for Decimal {
    fn data_type() -> DataType {
        DataType::Decimal { precision: PRECISION, scale: SCALE }
    }
    fn into_value(self) -> EvalResult<FieldValue> {
        let scale = u32::from(SCALE);
        let mut d = self.round_dp_with_strategy(scale, RoundingStrategy::MidpointAwayFromZero);
        d.rescale(scale);
        let digits = d.mantissa().unsigned_abs().checked_ilog10().map_or(1, |n| n + 1);
        if d.scale() != scale || digits > u32::from(PRECISION) {
            return Err(overflow("DECIMAL(28,6)"));
        }
        Ok(FieldValue::Decimal(d))
    }
}

impl<T: SqlResult> SqlResult for Option<T> {
    fn data_type() -> DataType {
        T::data_type()
    }
    #[inline]
    fn into_value(self) -> EvalResult<FieldValue> {
        self.map_or(Ok(FieldValue::Null), |x| x.into_value())
    }
}

impl<T: SqlResult, E: std::fmt::Display> SqlResult for Result<T, E> {
    fn data_type() -> DataType {
        T::data_type()
    }
    fn into_value(self) -> EvalResult<FieldValue> {
        match self {
            Ok(x) => x.into_value(),
            Err(e) => Err(failed(ErrorCode::InvalidArgument, e.to_string())),
        }
    }
}
