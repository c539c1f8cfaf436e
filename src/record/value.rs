//! One value of a record: 24 bytes, short strings inline, cheap to overwrite.

use std::sync::Arc;

use compact_str::CompactString;
use rust_decimal::Decimal;

use super::DataType;

/// A dynamically typed value.
///
/// Integers of all SQL widths are `i64` inside; the declared type lives in the
/// [`Schema`](super::Schema). Strings of up to 24 bytes are stored inline. Nested values
/// are shared by `Arc`, so that a clone never copies them.
///
/// `PartialEq` is *representation* equality (`NULL == NULL`, `1 != 1.0`), meant for tests and
/// for finding changes. SQL comparison lives in `expr`.
///
/// ```
/// use millstream::FieldValue;
///
/// let values: [FieldValue; 3] = [42i64.into(), "text".into(), FieldValue::Null];
/// assert_eq!(values[0].as_i64(), Some(42));
/// assert!(values[2].is_null());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum FieldValue {
    /// SQL NULL of any type.
    #[default]
    Null,
    /// BOOLEAN.
    Boolean(bool),
    /// SMALLINT, INT, BIGINT.
    Integer(i64),
    /// REAL, DOUBLE.
    Float(f64),
    /// DECIMAL(p, s): at most 28 digits, scale kept.
    Decimal(Decimal),
    /// VARCHAR.
    String(CompactString),
    /// BYTES.
    Bytes(Arc<[u8]>),
    /// DATE: days since 1970-01-01.
    Date(i32),
    /// TIME: microseconds since midnight.
    Time(i64),
    /// TIMESTAMP: microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// INTERVAL.
    Interval(Interval),
    /// ARRAY.
    Array(Arc<Vec<FieldValue>>),
    /// MAP, in insertion order, keys unique.
    Map(Arc<Vec<(FieldValue, FieldValue)>>),
    /// STRUCT/ROW: carries its field names.
    Struct(Arc<StructValue>),
    /// JSON: the text of one valid JSON value.
    Json(Arc<str>),
}

const _: () = assert!(size_of::<FieldValue>() == 24);

/// The value of an INTERVAL: three parts that do not convert into each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interval {
    /// Calendar months (a year is 12).
    pub months: i32,
    /// Calendar days.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

/// The value of a STRUCT.
#[derive(Clone, Debug, PartialEq)]
pub struct StructValue {
    /// Field names, in order; shared between values of the same type.
    pub names: Arc<[CompactString]>,
    /// As many values as there are names.
    pub values: Vec<FieldValue>,
}

impl StructValue {
    /// The field called `name`, matched exactly.
    pub fn get(&self, name: &str) -> Option<&FieldValue> {
        self.names.iter().position(|n| n == name).and_then(|i| self.values.get(i))
    }
}

impl FieldValue {
    /// Whether this is SQL NULL.
    #[inline]
    pub fn is_null(&self) -> bool {
        matches!(self, FieldValue::Null)
    }

    /// The string inside, if it is a VARCHAR.
    #[inline]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            FieldValue::String(s) => Some(s),
            _ => None,
        }
    }

    /// The integer inside, if it is one.
    #[inline]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            FieldValue::Integer(i) => Some(*i),
            _ => None,
        }
    }

    /// Overwrites with a string; a heap buffer that is already here is kept and reused.
    #[inline]
    pub fn set_str(&mut self, s: &str) {
        if let FieldValue::String(old) = self {
            if old.is_heap_allocated() && s.len() <= old.capacity() {
                old.clear();
                old.push_str(s);
            } else {
                *old = CompactString::new(s);
            }
        } else {
            *self = FieldValue::String(CompactString::new(s));
        }
    }

    /// Overwrites with a copy of `other`; a string buffer that is already here is reused.
    #[inline]
    pub fn assign(&mut self, other: &FieldValue) {
        match other {
            FieldValue::String(s) => self.set_str(s),
            other => *self = other.clone(),
        }
    }

    /// Bytes held on the heap by this value alone (estimate; shared parts count in full).
    pub fn heap_bytes(&self) -> usize {
        match self {
            FieldValue::String(s) if s.is_heap_allocated() => s.capacity(),
            FieldValue::Bytes(b) => b.len(),
            FieldValue::Json(j) => j.len(),
            FieldValue::Array(a) => a.iter().map(|v| 24 + v.heap_bytes()).sum(),
            FieldValue::Map(m) => m.iter().map(|(k, v)| 48 + k.heap_bytes() + v.heap_bytes()).sum(),
            FieldValue::Struct(s) => s.values.iter().map(|v| 24 + v.heap_bytes()).sum(),
            _ => 0,
        }
    }

    /// The natural SQL type of this value, as a literal would have it.
    pub fn data_type(&self) -> DataType {
        match self {
            FieldValue::Null => DataType::Null,
            FieldValue::Boolean(_) => DataType::Boolean,
            FieldValue::Integer(_) => DataType::BigInt,
            FieldValue::Float(_) => DataType::Double,
            FieldValue::Decimal(d) => {
                let digits = d.mantissa().unsigned_abs().checked_ilog10().map_or(1, |n| n as u8 + 1);
                DataType::Decimal { precision: digits.max(d.scale() as u8), scale: d.scale() as u8 }
            }
            FieldValue::String(_) => DataType::Varchar,
            FieldValue::Bytes(_) => DataType::Bytes,
            FieldValue::Date(_) => DataType::Date,
            FieldValue::Time(_) => DataType::Time,
            FieldValue::Timestamp(_) => DataType::Timestamp,
            FieldValue::Interval(_) => DataType::Interval,
            FieldValue::Array(a) => {
                DataType::array(a.iter().find(|v| !v.is_null()).map_or(DataType::Null, |v| v.data_type()))
            }
            FieldValue::Map(m) => match m.first() {
                Some((k, v)) => DataType::map(k.data_type(), v.data_type()),
                None => DataType::map(DataType::Varchar, DataType::Null),
            },
            FieldValue::Struct(s) => DataType::Struct(
                s.names.iter().zip(&s.values).map(|(n, v)| super::Field::new(n, v.data_type())).collect(),
            ),
            FieldValue::Json(_) => DataType::Json,
        }
    }
}

macro_rules! from_value {
    ($($from:ty => $v:ident => $e:expr),* $(,)?) => {$(
        impl From<$from> for FieldValue {
            fn from($v: $from) -> Self { $e }
        }
    )*};
}
from_value! {
    bool => v => FieldValue::Boolean(v),
    i16 => v => FieldValue::Integer(v.into()),
    i32 => v => FieldValue::Integer(v.into()),
    u32 => v => FieldValue::Integer(v.into()),
    i64 => v => FieldValue::Integer(v),
    f32 => v => FieldValue::Float(v.into()),
    f64 => v => FieldValue::Float(v),
    Decimal => v => FieldValue::Decimal(v),
    &str => v => FieldValue::String(v.into()),
    String => v => FieldValue::String(v.into()),
    CompactString => v => FieldValue::String(v),
    Interval => v => FieldValue::Interval(v),
    &[u8] => v => FieldValue::Bytes(v.into()),
}

impl<T: Into<FieldValue>> From<Option<T>> for FieldValue {
    fn from(v: Option<T>) -> Self {
        v.map_or(FieldValue::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_string_keeps_its_buffer_when_overwritten() {
        let mut v = FieldValue::from("a string that is longer than twenty-four bytes");
        let FieldValue::String(s) = &v else { panic!() };
        let (ptr, cap) = (s.as_ptr(), s.capacity());
        v.set_str("short");
        v.set_str("again a string of more than twenty-four");
        let FieldValue::String(s) = &v else { panic!() };
        assert_eq!((s.as_ptr(), s.capacity()), (ptr, cap));
    }
}
