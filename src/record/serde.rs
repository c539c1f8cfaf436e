//! Records and serde: a record is serialized as a map of its columns.

use std::str;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::{FieldValue, StreamRecord, text};

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
