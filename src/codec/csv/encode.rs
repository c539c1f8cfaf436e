//! The encoder: quotes only what would not be read back otherwise.

use std::sync::Arc;

use super::dialect::{CsvOptions, HeaderMode};
use crate::catalog::OptionError;
use crate::codec::json::JsonTextWriter;
use crate::codec::{BytesFormat, Encoder, TimestampFormat};
use crate::record::{DataType, ErrorCode, FieldValue, RecordError, Schema, StreamRecord, text};

/// Encodes CSV.
///
/// A text is quoted if it is empty (an unquoted empty field is NULL), holds the delimiter, a quote or a line end, begins or
/// ends with a blank, begins like a comment or a file (with a byte order mark), or reads like NULL.
#[derive(Clone, Debug)]
pub struct CsvEncoder {
    schema: Arc<Schema>,
    header: bool,
    delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    comment: Option<u8>,
    null_text: String,
    null_values: Vec<String>,
    line_end: &'static [u8],
    timestamps: TimestampFormat,
    bytes: BytesFormat,
    /// Bounds of narrow integer columns.
    ranges: Vec<Option<(i64, i64)>>,
    /// Which columns are REAL.
    reals: Vec<bool>,
    json: JsonTextWriter,
    scratch: Vec<u8>,
    text: String,
}

impl CsvEncoder {
    /// An encoder of records of that shape.
    ///
    /// # Errors
    /// A column name that can't be written without quotes.
    pub fn new(schema: Arc<Schema>, options: &CsvOptions) -> Result<Self, OptionError> {
        let encoder = Self {
            header: options.header != HeaderMode::Absent,
            delimiter: options.separator(),
            quote: options.quote,
            escape: options.escape,
            comment: options.comment,
            null_text: options.null_text.clone(),
            null_values: options.null_values.clone(),
            line_end: if options.crlf { b"\r\n" } else { b"\n" },
            timestamps: options.timestamp_format.clone(),
            bytes: options.bytes_format,
            reals: schema.fields().iter().map(|f| f.data_type == DataType::Real).collect(),
            ranges: schema
                .fields()
                .iter()
                .map(|f| match f.data_type {
                    DataType::SmallInt => Some((i16::MIN.into(), i16::MAX.into())),
                    DataType::Integer => Some((i32::MIN.into(), i32::MAX.into())),
                    _ => None,
                })
                .collect(),
            json: JsonTextWriter::new(&options.timestamp_format, options.bytes_format),
            scratch: Vec::new(),
            text: String::new(),
            schema,
        };
        encoder
            .write_header(&mut Vec::new())
            .map_err(|e| OptionError { name: "quote".into(), message: e.message })?;
        Ok(encoder)
    }

    fn write_header(&self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        if !self.header {
            return Ok(());
        }
        for (i, name) in self.schema.names().enumerate() {
            if i > 0 {
                out.push(self.delimiter);
            }
            self.text(name, out)?;
        }
        out.extend_from_slice(self.line_end);
        Ok(())
    }

    fn row(&mut self, record: &StreamRecord, out: &mut Vec<u8>) -> Result<(), RecordError> {
        for (i, value) in record.values().iter().enumerate() {
            if i > 0 {
                out.push(self.delimiter);
            }
            let fits = match (value, self.ranges.get(i)) {
                (FieldValue::Integer(n), Some(Some((min, max)))) if n < min || n > max => {
                    Err(RecordError::new(ErrorCode::Overflow, format!("{n} does not fit the column's type")))
                }
                (FieldValue::Float(v), _) if self.reals.get(i) == Some(&true) && !self.is_odd_delimiter() => {
                    text::write_f32(*v, out);
                    Ok(())
                }
                _ => self.field(value, out),
            };
            fits.map_err(|e| match record.schema().fields().get(i) {
                Some(field) => e.in_column(&field.name),
                None => e,
            })?;
        }
        out.extend_from_slice(self.line_end);
        Ok(())
    }

    /// Whether the delimiter may be part of a number or a date.
    fn is_odd_delimiter(&self) -> bool {
        self.delimiter.is_ascii_alphanumeric() || b"+-.:".contains(&self.delimiter)
    }

    fn field(&mut self, value: &FieldValue, out: &mut Vec<u8>) -> Result<(), RecordError> {
        match value {
            FieldValue::Null => out.extend_from_slice(self.null_text.as_bytes()),
            FieldValue::String(s) => return self.text(s, out),
            FieldValue::Json(j) => return self.text(j, out),
            // No delimiter can be part of these unless it is a strange one: then they are quoted like texts.
            _ if self.is_odd_delimiter() => {
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.clear();
                let result = self.scalar(value, &mut scratch);
                let written = match std::str::from_utf8(&scratch) {
                    Ok(t) => self.text(t, out),
                    Err(_) => Err(unwritable("not UTF-8")),
                };
                self.scratch = scratch;
                return result.and(written);
            }
            _ => return self.scalar(value, out),
        }
        Ok(())
    }

    fn scalar(&mut self, value: &FieldValue, out: &mut Vec<u8>) -> Result<(), RecordError> {
        match value {
            FieldValue::Boolean(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
            FieldValue::Integer(i) => text::write_i64(*i, out),
            FieldValue::Float(f) => text::write_f64(*f, out),
            FieldValue::Decimal(d) => text::write_decimal(d, out),
            FieldValue::Date(d) => text::write_date(*d, out),
            FieldValue::Time(t) => text::write_time(*t, out),
            FieldValue::Interval(i) => text::write_interval(i, out),
            FieldValue::Timestamp(t) if matches!(self.timestamps, TimestampFormat::Pattern(_)) => {
                let mut scratch = Vec::new();
                self.timestamps.write(*t, &mut scratch);
                let written = std::str::from_utf8(&scratch).map_err(|_| unwritable("not UTF-8"))?;
                return self.text(written, out);
            }
            FieldValue::Timestamp(t) => self.timestamps.write(*t, out),
            FieldValue::Bytes(b) => {
                let mut written = std::mem::take(&mut self.text);
                written.clear();
                let result = match self.bytes.write(b, &mut written) {
                    Some(()) => self.text(&written, out),
                    None => Err(unwritable("bytes that are not UTF-8, under bytes_format = 'utf8'")),
                };
                self.text = written;
                return result;
            }
            FieldValue::Null | FieldValue::String(_) | FieldValue::Json(_) => {}
            FieldValue::Array(_) | FieldValue::Map(_) | FieldValue::Struct(_) => {
                let mut scratch = Vec::new();
                self.json.write(value, &mut scratch)?;
                let written = std::str::from_utf8(&scratch).map_err(|_| unwritable("not UTF-8"))?;
                return self.text(written, out);
            }
        }
        Ok(())
    }

    /// A text, in quotes if it needs them.
    fn text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let bytes = text.as_bytes();
        if !self.needs_quotes(text) {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        let Some(quote) = self.quote else {
            if bytes.iter().any(|b| *b == self.delimiter || matches!(b, b'\n' | b'\r')) {
                return Err(unwritable("a text that holds a delimiter or a line end, under quote = 'none'"));
            }
            out.extend_from_slice(bytes);
            return Ok(());
        };
        out.push(quote);
        let escape = self.escape.unwrap_or(quote);
        let mut rest = bytes;
        while let Some(at) = memchr::memchr2(quote, escape, rest) {
            let (before, tail) = rest.split_at(at);
            out.extend_from_slice(before);
            out.push(escape);
            out.extend(tail.first());
            rest = tail.get(1..).unwrap_or_default();
        }
        out.extend_from_slice(rest);
        out.push(quote);
        Ok(())
    }

    fn needs_quotes(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return true };
        let blank = |b: &u8| matches!(b, b' ' | b'\t');
        blank(first)
            || blank(last)
            || text.starts_with(BYTE_ORDER_MARK)
            || Some(*first) == self.comment
            || bytes.iter().any(|b| {
                *b == self.delimiter
                    || Some(*b) == self.quote
                    || Some(*b) == self.escape
                    || matches!(b, b'\n' | b'\r')
            })
            || text == self.null_text
            || self.null_values.iter().any(|n| n == text)
    }
}

/// Dropped by readers where a file begins with it.
const BYTE_ORDER_MARK: char = '\u{FEFF}';

fn unwritable(what: &str) -> RecordError {
    RecordError::new(ErrorCode::SinkRejected, format!("can't write {what}"))
}

impl Encoder for CsvEncoder {
    fn start(&mut self, out: &mut Vec<u8>) {
        let before = out.len();
        if self.write_header(out).is_err() {
            // Not reached: `new` has tried it.
            out.truncate(before);
        }
    }

    fn record(&mut self, record: &StreamRecord, out: &mut Vec<u8>) -> Result<(), RecordError> {
        self.row(record, out)
    }

    fn fork(&self) -> Option<Box<dyn Encoder>> {
        Some(Box::new(self.clone()))
    }
}
