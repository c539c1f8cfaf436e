//! Records and serde: a record is serialized as a map of its columns; Rust structs become records and
//! records Rust structs. Made for the edges of a program, not for the data path.

use std::str;
use std::sync::Arc;

use serde::Deserializer;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::{DataType, FieldValue, Schema, StreamRecord, StructValue, text};

/// The text form of a value that serde has no type for.
fn as_text<S: Serializer>(s: S, write: impl FnOnce(&mut Vec<u8>)) -> Result<S::Ok, S::Error> {
    let mut buffer = Vec::with_capacity(32);
    write(&mut buffer);
    s.serialize_str(str::from_utf8(&buffer).unwrap_or(""))
}

impl Serialize for FieldValue {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            FieldValue::Null => s.serialize_none(),
            FieldValue::Boolean(b) => s.serialize_bool(*b),
            FieldValue::Integer(i) => s.serialize_i64(*i),
            FieldValue::Float(f) => s.serialize_f64(*f),
            FieldValue::Decimal(d) => as_text(s, |out| text::write_decimal(d, out)),
            FieldValue::String(t) => s.serialize_str(t),
            FieldValue::Bytes(b) => s.serialize_bytes(b),
            FieldValue::Date(d) => as_text(s, |out| text::write_date(*d, out)),
            FieldValue::Time(t) => as_text(s, |out| text::write_time(*t, out)),
            FieldValue::Timestamp(t) => as_text(s, |out| text::write_timestamp(*t, out)),
            FieldValue::Interval(i) => as_text(s, |out| text::write_interval(i, out)),
            FieldValue::Array(items) => {
                let mut seq = s.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|v| seq.serialize_element(v))?;
                seq.end()
            }
            FieldValue::Map(entries) => {
                let mut map = s.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(k, v)| map.serialize_entry(k, v))?;
                map.end()
            }
            FieldValue::Struct(fields) => {
                let mut map = s.serialize_map(Some(fields.values.len()))?;
                fields
                    .names
                    .iter()
                    .zip(&fields.values)
                    .try_for_each(|(k, v)| map.serialize_entry(k.as_str(), v))?;
                map.end()
            }
            FieldValue::Json(j) => s.serialize_str(j),
        }
    }
}

impl Serialize for StreamRecord {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(self.values().len()))?;
        for (name, value) in self.schema().names().zip(self.values()) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Why a record and a Rust value do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConvertError(String);

impl serde::de::Error for ConvertError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl StreamRecord {
    /// A Rust value from the columns of the same names. TIMESTAMP and the like arrive as text, or as
    /// microseconds where an integer is wanted; DECIMAL as text, or as a number where a float is wanted.
    ///
    /// # Errors
    /// If a field is missing or a value does not fit; the message names what serde expected.
    ///
    /// ```
    /// use millstream::{DataType, Schema, StreamRecord};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    /// struct Order { id: i64, customer: String, paid: Option<bool> }
    ///
    /// let schema = Schema::of([
    ///     ("id", DataType::BigInt), ("customer", DataType::Varchar), ("paid", DataType::Boolean)]);
    /// let order = Order { id: 1, customer: "Ada".into(), paid: None };
    /// let record = StreamRecord::from_struct(&schema, &order)?;
    /// assert_eq!(record.to_struct::<Order>()?, order);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_struct<T: DeserializeOwned>(&self) -> Result<T, ConvertError> {
        let names = self.schema().names();
        T::deserialize(MapDeserializer::new(names.zip(self.values())))
    }

    /// A record of `schema` from the fields of the same names of a Rust value; missing ones are NULL. Text is read as the column's
    /// type where it is not VARCHAR.
    ///
    /// # Errors
    /// If the value is no struct or map, or a field does not fit its column.
    pub fn from_struct<T: Serialize>(schema: &Arc<Schema>, value: &T) -> Result<Self, ConvertError> {
        let json = serde_json::to_value(value).map_err(|e| ConvertError(e.to_string()))?;
        let serde_json::Value::Object(mut fields) = json else {
            return Err(ConvertError("only a struct or a map with text keys can become a record".into()));
        };
        let mut record = StreamRecord::new(schema.clone());
        for (slot, field) in record.values_mut().iter_mut().zip(schema.fields()) {
            if let Some(value) = fields.remove(field.name.as_str()) {
                *slot = from_json(value, &field.data_type).ok_or_else(|| {
                    ConvertError(format!("field '{}' does not fit {}", field.name, field.data_type))
                })?;
            }
        }
        Ok(record)
    }
}

/// A JSON value as a value of that type; `None` if it does not fit.
fn from_json(value: serde_json::Value, to: &DataType) -> Option<FieldValue> {
    use serde_json::Value;
    Some(match (to, value) {
        (_, Value::Null) => FieldValue::Null,
        (DataType::Json, value) => FieldValue::Json(value.to_string().into()),
        (DataType::Boolean, Value::Bool(b)) => FieldValue::Boolean(b),
        (DataType::SmallInt | DataType::Integer | DataType::BigInt, Value::Number(n)) => {
            FieldValue::Integer(n.as_i64()?)
        }
        (DataType::Real | DataType::Double, Value::Number(n)) => FieldValue::Float(n.as_f64()?),
        (DataType::Decimal { .. }, Value::Number(n)) => {
            FieldValue::Decimal(text::parse_decimal(&n.to_string())?)
        }
        (DataType::Decimal { .. }, Value::String(s)) => FieldValue::Decimal(text::parse_decimal(&s)?),
        (DataType::Varchar, Value::String(s)) => FieldValue::String(s.into()),
        (DataType::Bytes, Value::Array(bytes)) => {
            let bytes: Option<Vec<u8>> =
                bytes.iter().map(|b| b.as_u64().and_then(|b| u8::try_from(b).ok())).collect();
            FieldValue::Bytes(bytes?.into())
        }
        (DataType::Bytes, Value::String(s)) => FieldValue::Bytes(s.into_bytes().into()),
        (DataType::Date, Value::String(s)) => FieldValue::Date(text::parse_date(&s)?),
        (DataType::Time, Value::String(s)) => FieldValue::Time(text::parse_time(&s)?),
        (DataType::Timestamp, Value::String(s)) => FieldValue::Timestamp(text::parse_timestamp(&s)?),
        (DataType::Timestamp, Value::Number(n)) => FieldValue::Timestamp(n.as_i64()?),
        (DataType::Interval, Value::String(s)) => FieldValue::Interval(text::parse_interval(&s)?),
        (DataType::Array(item), Value::Array(items)) => {
            let items: Option<Vec<_>> = items.into_iter().map(|v| from_json(v, item)).collect();
            FieldValue::Array(Arc::new(items?))
        }
        (DataType::Map(key, item), Value::Object(entries)) if **key == DataType::Varchar => {
            let entries: Option<Vec<_>> =
                entries.into_iter().map(|(k, v)| Some((FieldValue::from(k), from_json(v, item)?))).collect();
            FieldValue::Map(Arc::new(entries?))
        }
        (DataType::Struct(fields), Value::Object(mut entries)) => {
            let values: Option<Vec<_>> = fields
                .iter()
                .map(|f| {
                    entries
                        .remove(f.name.as_str())
                        .map_or(Some(FieldValue::Null), |v| from_json(v, &f.data_type))
                })
                .collect();
            let names = fields.iter().map(|f| f.name.clone()).collect();
            FieldValue::Struct(Arc::new(StructValue { names, values: values? }))
        }
        _ => return None,
    })
}

impl<'de> IntoDeserializer<'de, ConvertError> for &'de FieldValue {
    type Deserializer = ValueDeserializer<'de>;
    fn into_deserializer(self) -> ValueDeserializer<'de> {
        ValueDeserializer(self)
    }
}

/// Reads one value into whatever serde wants of it.
#[derive(Clone, Copy, Debug)]
pub struct ValueDeserializer<'de>(&'de FieldValue);

fn text_of(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut buffer = Vec::with_capacity(32);
    write(&mut buffer);
    String::from_utf8(buffer).unwrap_or_default()
}

impl<'de> Deserializer<'de> for ValueDeserializer<'de> {
    type Error = ConvertError;

    fn deserialize_any<V: Visitor<'de>>(self, v: V) -> Result<V::Value, ConvertError> {
        match self.0 {
            FieldValue::Null => v.visit_unit(),
            FieldValue::Boolean(b) => v.visit_bool(*b),
            FieldValue::Integer(i) => v.visit_i64(*i),
            FieldValue::Float(f) => v.visit_f64(*f),
            FieldValue::Decimal(d) => v.visit_string(text_of(|out| text::write_decimal(d, out))),
            FieldValue::String(s) => v.visit_borrowed_str(s),
            FieldValue::Bytes(b) => v.visit_borrowed_bytes(b),
            FieldValue::Date(d) => v.visit_string(text_of(|out| text::write_date(*d, out))),
            FieldValue::Time(t) => v.visit_string(text_of(|out| text::write_time(*t, out))),
            FieldValue::Timestamp(t) => v.visit_string(text_of(|out| text::write_timestamp(*t, out))),
            FieldValue::Interval(i) => v.visit_string(text_of(|out| text::write_interval(i, out))),
            FieldValue::Array(items) => v.visit_seq(SeqDeserializer::new(items.iter())),
            FieldValue::Map(entries) => {
                v.visit_map(MapDeserializer::new(entries.iter().map(|(k, x)| (k, x))))
            }
            FieldValue::Struct(s) => {
                v.visit_map(MapDeserializer::new(s.names.iter().map(|n| n.as_str()).zip(&s.values)))
            }
            FieldValue::Json(j) => v.visit_borrowed_str(j),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, v: V) -> Result<V::Value, ConvertError> {
        if self.0.is_null() { v.visit_none() } else { v.visit_some(self) }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, v: V) -> Result<V::Value, ConvertError> {
        match self.0 {
            FieldValue::Timestamp(t) | FieldValue::Time(t) => v.visit_i64(*t),
            FieldValue::Date(d) => v.visit_i64(i64::from(*d)),
            _ => self.deserialize_any(v),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, v: V) -> Result<V::Value, ConvertError> {
        match self.0 {
            FieldValue::Decimal(d) => {
                let text = text_of(|out| text::write_decimal(d, out));
                v.visit_f64(text.parse().map_err(|_| ConvertError(format!("{text} is no number")))?)
            }
            _ => self.deserialize_any(v),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        v: V,
    ) -> Result<V::Value, ConvertError> {
        v.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        v: V,
    ) -> Result<V::Value, ConvertError> {
        match self.0 {
            FieldValue::String(s) => v.visit_enum(s.as_str().into_deserializer()),
            other => Err(ConvertError(format!("an enum is read from text, not from {}", other.data_type()))),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct
        map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Side {
        Buy,
        Sell,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Order {
        id: i64,
        symbol: String,
        amount: f64,
        at: String,
        side: Side,
        tags: Vec<String>,
        note: Option<String>,
    }

    fn schema() -> Arc<Schema> {
        Schema::of([
            ("id", DataType::BigInt),
            ("symbol", DataType::Varchar),
            ("amount", DataType::Decimal { precision: 10, scale: 2 }),
            ("at", DataType::Timestamp),
            ("side", DataType::Varchar),
            ("tags", DataType::array(DataType::Varchar)),
            ("note", DataType::Varchar),
            ("unmatched", DataType::Varchar),
        ])
    }

    #[test]
    fn a_struct_survives_the_round_trip_through_a_record() {
        let order = Order {
            id: 7,
            symbol: "ACME".into(),
            amount: 10.5,
            at: "2026-01-01T00:00:00Z".into(),
            side: Side::Sell,
            tags: vec!["a".into()],
            note: None,
        };
        let record = StreamRecord::from_struct(&schema(), &order).unwrap();
        assert_eq!(record.get("at"), Some(&FieldValue::Timestamp(1_767_225_600_000_000)));
        assert!(matches!(record.get("amount"), Some(FieldValue::Decimal(_))));
        assert_eq!(record.to_struct::<Order>().unwrap(), order);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        #[derive(Serialize)]
        struct Wrong {
            id: &'static str,
        }
        let e = StreamRecord::from_struct(&schema(), &Wrong { id: "seven" }).unwrap_err();
        assert_eq!(e.to_string(), "field 'id' does not fit BIGINT");
        let record = StreamRecord::new(schema());
        assert!(record.to_struct::<Order>().is_err(), "NULL is no i64");
        assert!(StreamRecord::from_struct(&schema(), &5).is_err());
    }

    #[test]
    fn timestamps_can_be_read_as_microseconds() {
        #[derive(Deserialize)]
        struct At {
            at: i64,
        }
        let mut record = StreamRecord::new(schema());
        record.values_mut()[3] = FieldValue::Timestamp(5);
        assert_eq!(record.to_struct::<At>().unwrap().at, 5);
    }
}
