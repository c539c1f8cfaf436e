//! The encoder: objects on lines, or in one array.

use std::sync::Arc;

use super::lex::special_mask;
use super::options::{DecimalFormat, JsonOptions, Layout};
use crate::codec::{BytesFormat, Encoder, TimestampFormat};
use crate::record::{DataType, ErrorCode, FieldValue, RecordError, Schema, StreamRecord, text};

/// Writes records as JSON objects. NULL is written as `null`; nothing of a record is left out.
#[derive(Clone, Debug)]
pub struct JsonEncoder {
    columns: Vec<Column>,
    forms: Forms,
    array: bool,
    /// Nothing was written into the array yet.
    first: bool,
}

#[derive(Clone, Debug)]
struct Column {
    /// All that stands before the value: `{"a":` or `,"b":`.
    prefix: Box<[u8]>,
    /// Bounds of a narrow integer type.
    range: Option<(i64, i64)>,
    is_real: bool,
    name: String,
    type_name: String,
}

/// How values look.
#[derive(Clone, Debug)]
pub(super) struct Forms {
    timestamp: TimestampFormat,
    bytes: BytesFormat,
    decimal_text: bool,
}

impl JsonEncoder {
    /// An encoder for records of this shape.
    pub fn new(schema: Arc<Schema>, options: JsonOptions) -> Self {
        let column = |(i, f): (usize, &crate::record::Field)| {
            let mut prefix = vec![if i == 0 { b'{' } else { b',' }];
            write_string(&f.name, &mut prefix);
            prefix.push(b':');
            Column {
                prefix: prefix.into(),
                range: match f.data_type {
                    DataType::SmallInt => Some((i16::MIN.into(), i16::MAX.into())),
                    DataType::Integer => Some((i32::MIN.into(), i32::MAX.into())),
                    _ => None,
                },
                is_real: f.data_type == DataType::Real,
                name: f.name.to_string(),
                type_name: f.data_type.to_string(),
            }
        };
        Self {
            columns: schema.fields().iter().enumerate().map(column).collect(),
            forms: Forms::new(&options),
            array: options.layout == Layout::Array,
            first: true,
        }
    }

    /// Appends one record as an object.
    #[inline]
    pub(super) fn object(&self, record: &StreamRecord, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let values = record.values();
        for (i, column) in self.columns.iter().enumerate() {
            out.extend_from_slice(&column.prefix);
            let value = values.get(i).unwrap_or(&FieldValue::Null);
            match value {
                FieldValue::String(s) => write_string(s, out),
                FieldValue::Integer(n) => {
                    if column.range.is_some_and(|(min, max)| *n < min || *n > max) {
                        let message = format!("{n} does not fit {}", column.type_name);
                        return Err(RecordError::new(ErrorCode::Overflow, message).in_column(&column.name));
                    }
                    text::write_i64(*n, out);
                }
                FieldValue::Float(v) if column.is_real && v.is_finite() => text::write_f32(*v, out),
                other => self.forms.write(other, out).map_err(|e| e.in_column(&column.name))?,
            }
        }
        out.extend_from_slice(if self.columns.is_empty() { b"{}" } else { b"}" });
        Ok(())
    }
}

impl Encoder for JsonEncoder {
    fn start(&mut self, out: &mut Vec<u8>) {
        if self.array {
            out.push(b'[');
            self.first = true;
        }
    }

    fn record(&mut self, record: &StreamRecord, out: &mut Vec<u8>) -> Result<(), RecordError> {
        if self.array {
            out.extend_from_slice(if self.first { b"\n" } else { b",\n" });
        }
        self.object(record, out)?;
        if self.array {
            self.first = false;
        } else {
            out.push(b'\n');
        }
        Ok(())
    }

    fn fork(&self) -> Option<Box<dyn Encoder>> {
        (!self.array).then(|| Box::new(self.clone()) as Box<dyn Encoder>)
    }

    fn resume(&mut self) {
        self.first = false;
    }

    fn can_append(&self) -> bool {
        !self.array
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.array {
            out.extend_from_slice(b"\n]\n");
        }
    }
}

impl Forms {
    pub(super) fn new(options: &JsonOptions) -> Self {
        Self {
            timestamp: options.timestamp_format.clone(),
            bytes: options.bytes_format,
            decimal_text: options.decimal_format == DecimalFormat::String,
        }
    }

    pub(super) fn write(&self, value: &FieldValue, out: &mut Vec<u8>) -> Result<(), RecordError> {
        match value {
            FieldValue::Null => out.extend_from_slice(b"null"),
            FieldValue::Boolean(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
            FieldValue::Integer(n) => text::write_i64(*n, out),
            FieldValue::Float(v) if v.is_finite() => text::write_f64(*v, out),
            FieldValue::Float(v) => quoted(out, |out| text::write_f64(*v, out)),
            FieldValue::Decimal(d) if self.decimal_text => quoted(out, |out| text::write_decimal(d, out)),
            FieldValue::Decimal(d) => text::write_decimal(d, out),
            FieldValue::String(s) => write_string(s, out),
            FieldValue::Bytes(b) => self.write_bytes(b, out)?,
            FieldValue::Date(d) => quoted(out, |out| text::write_date(*d, out)),
            FieldValue::Time(t) => quoted(out, |out| text::write_time(*t, out)),
            FieldValue::Timestamp(t) => match &self.timestamp {
                TimestampFormat::Iso => quoted(out, |out| text::write_timestamp(*t, out)),
                TimestampFormat::Epoch(_) => self.timestamp.write(*t, out),
                TimestampFormat::Pattern(_) => {
                    let mut written = Vec::new();
                    self.timestamp.write(*t, &mut written);
                    write_string(&String::from_utf8_lossy(&written), out);
                }
            },
            FieldValue::Interval(i) => quoted(out, |out| text::write_interval(i, out)),
            FieldValue::Array(items) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    separate(i, out);
                    self.write(item, out)?;
                }
                out.push(b']');
            }
            FieldValue::Map(entries) => {
                out.push(b'{');
                for (i, (key, value)) in entries.iter().enumerate() {
                    separate(i, out);
                    self.write_key(key, out)?;
                    out.push(b':');
                    self.write(value, out)?;
                }
                out.push(b'}');
            }
            FieldValue::Struct(s) => {
                out.push(b'{');
                for (i, (name, value)) in s.names.iter().zip(&s.values).enumerate() {
                    separate(i, out);
                    write_string(name, out);
                    out.push(b':');
                    self.write(value, out)?;
                }
                out.push(b'}');
            }
            FieldValue::Json(json) => {
                let from = out.len();
                out.extend_from_slice(json.as_bytes());
                // Line feeds in valid JSON are whitespace, but here they would end the record.
                if let Some(written) = out.get_mut(from..) {
                    written.iter_mut().filter(|b| matches!(b, b'\n' | b'\r')).for_each(|b| *b = b' ');
                }
            }
        }
        Ok(())
    }

    fn write_bytes(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
        let mut written = String::new();
        match self.bytes.write(bytes, &mut written) {
            Some(()) => write_string(&written, out),
            None => {
                let message = "bytes that are not UTF-8 can't be written with bytes_format = 'utf8'";
                return Err(RecordError::new(ErrorCode::TypeMismatch, message));
            }
        }
        Ok(())
    }

    /// A key of a MAP: a string whatever its type.
    fn write_key(&self, key: &FieldValue, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let from = out.len();
        self.write(key, out)?;
        if out.get(from) != Some(&b'"') {
            let text = String::from_utf8_lossy(out.get(from..).unwrap_or(&[])).into_owned();
            out.truncate(from);
            write_string(&text, out);
        }
        Ok(())
    }
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// Writes a JSON string: quotes, backslashes and control characters escaped, all else as it is.
#[inline]
fn write_string(s: &str, out: &mut Vec<u8>) {
    out.reserve(s.len() + 2);
    out.push(b'"');
    let mut rest = s.as_bytes();
    while let Some((block, tail)) = rest.split_first_chunk::<8>() {
        if special_mask(*block) != 0 {
            break;
        }
        out.extend_from_slice(block);
        rest = tail;
    }
    if rest.iter().any(|b| matches!(b, b'"' | b'\\' | ..0x20)) {
        write_escaped(rest, out);
    } else {
        out.extend_from_slice(rest);
    }
    out.push(b'"');
}

#[cold]
fn write_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &b in bytes {
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x8 => out.extend_from_slice(b"\\b"),
            0xc => out.extend_from_slice(b"\\f"),
            ..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.push(DIGITS[usize::from(b >> 4)]);
                out.push(DIGITS[usize::from(b & 15)]);
            }
            _ => out.push(b),
        }
    }
}
