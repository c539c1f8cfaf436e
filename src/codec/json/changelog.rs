//! Rows that change, as JSON: Debezium's envelope, and upserts.

use std::sync::Arc;

use super::encoder::JsonEncoder;
use super::options::JsonOptions;
use crate::catalog::{OptionError, nearest};
use crate::codec::Encoder;
use crate::record::{DataType, Field, FieldValue, RecordError, RowKind, Schema, StreamRecord};

/// Writes `{"before":…,"after":…,"op":"c|u|d"}` a line; both sides of an update are one message.
///
/// An update-before waits for its update-after, which operators emit right behind it; one that is followed by something
/// else is a delete.
#[derive(Debug)]
pub struct DebeziumEncoder {
    row: JsonEncoder,
    /// The update-before that came last, as text.
    before: Option<Vec<u8>>,
}

impl DebeziumEncoder {
    /// An encoder for records of this shape.
    pub fn new(schema: Arc<Schema>, options: JsonOptions) -> Self {
        Self { row: JsonEncoder::new(schema, options), before: None }
    }

    fn message(&mut self, record: &StreamRecord, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let mut row = Vec::new();
        self.row.object(record, &mut row)?;
        match record.kind() {
            RowKind::Insert => {
                self.release(out);
                write(None, Some(&row), b"c", out);
            }
            RowKind::UpdateBefore => {
                self.release(out);
                self.before = Some(row);
            }
            RowKind::UpdateAfter => write(self.before.take().as_deref(), Some(&row), b"u", out),
            RowKind::Delete => {
                self.release(out);
                write(Some(&row), None, b"d", out);
            }
        }
        Ok(())
    }

    /// What waits for an update-after that does not come is a delete.
    fn release(&mut self, out: &mut Vec<u8>) {
        if let Some(before) = self.before.take() {
            write(Some(&before), None, b"d", out);
        }
    }
}

fn write(before: Option<&[u8]>, after: Option<&[u8]>, op: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"before\":");
    out.extend_from_slice(before.unwrap_or(b"null"));
    out.extend_from_slice(b",\"after\":");
    out.extend_from_slice(after.unwrap_or(b"null"));
    out.extend_from_slice(b",\"op\":\"");
    out.extend_from_slice(op);
    out.extend_from_slice(b"\"}\n");
}

impl Encoder for DebeziumEncoder {
    fn record(&mut self, record: &StreamRecord, out: &mut Vec<u8>) -> Result<(), RecordError> {
        self.message(record, out)
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.release(out);
    }
}

/// Writes `{"key":{…},"value":{…}}` a line: the latest row of a key, or `null` where the row is gone (a tombstone). Rows before
/// an update are left out.
#[derive(Debug)]
pub struct UpsertEncoder {
    row: JsonEncoder,
    key: JsonEncoder,
    /// Where the key's columns stand.
    positions: Vec<usize>,
    /// The key's columns of the record at hand.
    scratch: StreamRecord,
}

impl UpsertEncoder {
    /// An encoder for records of this shape; `key` are the columns that tell rows apart.
    ///
    /// # Errors
    /// No key, or a column that is not there.
    pub fn new(schema: Arc<Schema>, options: JsonOptions, key: &[String]) -> Result<Self, OptionError> {
        let wrong = |message: String| OptionError { name: "key_columns".into(), message };
        if key.is_empty() {
            return Err(wrong(
                "changelog = 'upsert' needs the columns that tell rows apart: add key_columns = 'a, b' or a PRIMARY KEY".into(),
            ));
        }
        let mut positions = Vec::new();
        for name in key {
            positions.push(schema.find(name).ok_or_else(|| {
                let near = nearest(name, schema.names());
                let hint = if near.is_empty() {
                    String::new()
                } else {
                    format!("; did you mean {}?", near.join(" or "))
                };
                wrong(format!("key_columns: there is no column '{name}'{hint}"))
            })?);
        }
        let field =
            |i: &usize| schema.fields().get(*i).cloned().unwrap_or_else(|| Field::new("", DataType::Null));
        let keys = Schema::new(positions.iter().map(field));
        Ok(Self {
            row: JsonEncoder::new(schema, options.clone()),
            key: JsonEncoder::new(keys.clone(), options),
            positions,
            scratch: StreamRecord::new(keys),
        })
    }

    fn message(&mut self, record: &StreamRecord, out: &mut Vec<u8>) -> Result<(), RecordError> {
        for (slot, at) in self.scratch.values_mut().iter_mut().zip(&self.positions) {
            slot.assign(record.values().get(*at).unwrap_or(&FieldValue::Null));
        }
        out.extend_from_slice(b"{\"key\":");
        self.key.object(&self.scratch, out)?;
        out.extend_from_slice(b",\"value\":");
        match record.kind() {
            RowKind::Delete => out.extend_from_slice(b"null"),
            _ => self.row.object(record, out)?,
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

impl Encoder for UpsertEncoder {
    fn record(&mut self, record: &StreamRecord, out: &mut Vec<u8>) -> Result<(), RecordError> {
        if record.kind() == RowKind::UpdateBefore {
            return Ok(());
        }
        self.message(record, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Arc<Schema> {
        Schema::of([("k", DataType::Varchar), ("n", DataType::Integer)])
    }

    fn rows(changes: &[(RowKind, &str, i64)]) -> Vec<Arc<StreamRecord>> {
        let row = |(kind, k, n): &(RowKind, &str, i64)| {
            let mut r = StreamRecord::with_values(schema(), [(*k).into(), (*n).into()]);
            r.set_kind(*kind);
            Arc::new(r)
        };
        changes.iter().map(row).collect()
    }

    use RowKind::{Delete as D, Insert as I, UpdateAfter as A, UpdateBefore as B};

    fn text(encoder: &mut dyn Encoder, rows: &[Arc<StreamRecord>], size: usize) -> String {
        let mut out = Vec::new();
        encoder.start(&mut out);
        rows.chunks(size).for_each(|chunk| encoder.encode(chunk, &mut out).unwrap());
        encoder.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn both_sides_of_an_update_are_one_debezium_message_whatever_the_batches() {
        let rows = rows(&[(I, "a", 1), (B, "a", 1), (A, "a", 2), (D, "a", 2), (A, "b", 3), (B, "b", 3)]);
        let expected = concat!(
            "{\"before\":null,\"after\":{\"k\":\"a\",\"n\":1},\"op\":\"c\"}\n",
            "{\"before\":{\"k\":\"a\",\"n\":1},\"after\":{\"k\":\"a\",\"n\":2},\"op\":\"u\"}\n",
            "{\"before\":{\"k\":\"a\",\"n\":2},\"after\":null,\"op\":\"d\"}\n",
            "{\"before\":null,\"after\":{\"k\":\"b\",\"n\":3},\"op\":\"u\"}\n",
            "{\"before\":{\"k\":\"b\",\"n\":3},\"after\":null,\"op\":\"d\"}\n",
        );
        for size in 1..=rows.len() {
            let mut encoder = DebeziumEncoder::new(schema(), JsonOptions::default());
            assert_eq!(text(&mut encoder, &rows, size), expected);
        }
    }

    #[test]
    fn an_upsert_has_the_key_and_the_latest_row_or_null() {
        let rows = rows(&[(I, "a", 1), (B, "a", 1), (A, "a", 2), (D, "a", 2)]);
        let mut encoder = UpsertEncoder::new(schema(), JsonOptions::default(), &["k".into()]).unwrap();
        assert_eq!(
            text(&mut encoder, &rows, 2),
            concat!(
                "{\"key\":{\"k\":\"a\"},\"value\":{\"k\":\"a\",\"n\":1}}\n",
                "{\"key\":{\"k\":\"a\"},\"value\":{\"k\":\"a\",\"n\":2}}\n",
                "{\"key\":{\"k\":\"a\"},\"value\":null}\n",
            )
        );
        let refused =
            |key: &[String]| UpsertEncoder::new(schema(), JsonOptions::default(), key).err().unwrap().message;
        assert!(refused(&[]).contains("PRIMARY KEY"));
        assert!(refused(&["K2".into()]).contains("there is no column 'K2'"));
    }

    #[test]
    fn a_row_that_does_not_fit_leaves_no_trace() {
        let rows = rows(&[(I, "a", 1), (I, "b", i64::MAX)]);
        let encoders: [Box<dyn Encoder>; 2] = [
            Box::new(DebeziumEncoder::new(schema(), JsonOptions::default())),
            Box::new(UpsertEncoder::new(schema(), JsonOptions::default(), &["k".into()]).unwrap()),
        ];
        for mut encoder in encoders {
            let mut out = Vec::new();
            assert_eq!(encoder.encode(&rows, &mut out).unwrap_err().0, 1);
            assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
        }
    }
}
