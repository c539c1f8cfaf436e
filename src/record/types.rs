//! SQL types as records see them.

use std::fmt;

use super::Field;

/// A SQL type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// The type of a bare `NULL`: fits every other type.
    Null,
    /// BOOLEAN.
    Boolean,
    /// SMALLINT, 16 bits; range checked at CAST and at sinks.
    SmallInt,
    /// INT / INTEGER, 32 bits; range checked at CAST and at sinks.
    Integer,
    /// BIGINT, 64 bits.
    BigInt,
    /// REAL: a DOUBLE inside, rounded to 32 bits at CAST.
    Real,
    /// DOUBLE PRECISION.
    Double,
    /// DECIMAL(precision, scale), `scale <= precision <= 28`.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// VARCHAR, TEXT, STRING; no length limit.
    Varchar,
    /// BYTEA, BYTES.
    Bytes,
    /// DATE.
    Date,
    /// TIME.
    Time,
    /// TIMESTAMP, microseconds, UTC.
    Timestamp,
    /// INTERVAL.
    Interval,
    /// `ARRAY<T>`.
    Array(Box<DataType>),
    /// `MAP<K, V>`.
    Map(Box<DataType>, Box<DataType>),
    /// `STRUCT<name type, …>`, also `ROW(…)`.
    Struct(Vec<Field>),
    /// JSON text.
    Json,
}

impl DataType {
    /// `ARRAY<item>`.
    pub fn array(item: DataType) -> Self {
        DataType::Array(Box::new(item))
    }
    /// `MAP<key, value>`.
    pub fn map(key: DataType, value: DataType) -> Self {
        DataType::Map(Box::new(key), Box::new(value))
    }
    /// SMALLINT, INT or BIGINT.
    pub fn is_integer(&self) -> bool {
        matches!(self, DataType::SmallInt | DataType::Integer | DataType::BigInt)
    }
    /// REAL or DOUBLE.
    pub fn is_float(&self) -> bool {
        matches!(self, DataType::Real | DataType::Double)
    }
    /// Integer, float or DECIMAL.
    pub fn is_numeric(&self) -> bool {
        self.is_integer() || self.is_float() || matches!(self, DataType::Decimal { .. })
    }
    /// DATE, TIME or TIMESTAMP.
    pub fn is_temporal(&self) -> bool {
        matches!(self, DataType::Date | DataType::Time | DataType::Timestamp)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataType::Null => f.write_str("NULL"),
            DataType::Boolean => f.write_str("BOOLEAN"),
            DataType::SmallInt => f.write_str("SMALLINT"),
            DataType::Integer => f.write_str("INT"),
            DataType::BigInt => f.write_str("BIGINT"),
            DataType::Real => f.write_str("REAL"),
            DataType::Double => f.write_str("DOUBLE"),
            DataType::Decimal { precision, scale } => write!(f, "DECIMAL({precision},{scale})"),
            DataType::Varchar => f.write_str("VARCHAR"),
            DataType::Bytes => f.write_str("BYTES"),
            DataType::Date => f.write_str("DATE"),
            DataType::Time => f.write_str("TIME"),
            DataType::Timestamp => f.write_str("TIMESTAMP"),
            DataType::Interval => f.write_str("INTERVAL"),
            DataType::Array(t) => write!(f, "ARRAY<{t}>"),
            DataType::Map(k, v) => write!(f, "MAP<{k}, {v}>"),
            DataType::Struct(fields) => {
                f.write_str("STRUCT<")?;
                for (i, field) in fields.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{} {}", field.name, field.data_type)?;
                }
                f.write_str(">")
            }
            DataType::Json => f.write_str("JSON"),
        }
    }
}
