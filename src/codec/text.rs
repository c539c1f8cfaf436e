//! Text lines: one column, one line a record; nothing is skipped, a blank line is an empty text.

use std::sync::Arc;

use memchr::memchr;

use super::framing::{LineSink, Lines, last_line_end, reject, too_long, without_cr};
use super::raw::Content;
use super::{Decoded, Decoder, Encoder, Input, Origin};
use crate::catalog::{OptionError, OptionKind, OptionSpec, OptionValue, Options};
use crate::record::{BatchBuilder, CompactString, ErrorCode, RecordError, Schema, StreamRecord};

pub(super) const MAX_RECORD_BYTES: OptionSpec = OptionSpec::new(
    "max_record_bytes",
    OptionKind::Bytes,
    "1 MiB",
    "longest record that is read; a longer one is rejected without being held in memory",
);

/// What a source or sink of text lines or raw bytes may say in its WITH clause.
pub const OPTIONS: &[OptionSpec] = &[MAX_RECORD_BYTES];

/// Checked options of text lines and raw bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextOptions {
    /// Longest record that is read; larger needs more memory when such records come.
    pub max_record_bytes: usize,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self { max_record_bytes: 1 << 20 }
    }
}

impl TextOptions {
    /// Takes what concerns these formats from a WITH clause; other options are left to others.
    ///
    /// # Errors
    /// The first option whose value does not fit.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        match options.value(&MAX_RECORD_BYTES)? {
            Some(OptionValue::Bytes(n)) => {
                let max_record_bytes = usize::try_from(n).unwrap_or(usize::MAX >> 1).max(2);
                Ok(Self { max_record_bytes })
            }
            _ => Ok(Self::default()),
        }
    }
}

/// Reads lines, ended by LF or CRLF, into the one column that is declared: VARCHAR (then they must be UTF-8) or BYTES.
#[derive(Clone, Debug)]
pub struct TextDecoder {
    lines: Lines,
    sink: TextLines,
}

#[derive(Clone, Debug)]
struct TextLines {
    content: Option<Content>,
    max: usize,
}

impl TextDecoder {
    /// A decoder for records of this shape, one column or (if the line itself is not wanted) none.
    ///
    /// # Errors
    /// More than one column, or one that is neither VARCHAR nor BYTES.
    pub fn new(
        wanted: Arc<Schema>,
        declared: &[CompactString],
        options: TextOptions,
    ) -> Result<Self, OptionError> {
        let max = options.max_record_bytes;
        let content = Content::of("text", &wanted, declared.len())?;
        Ok(Self { lines: Lines::new(max), sink: TextLines { content, max } })
    }
}

impl Decoder for TextDecoder {
    fn decode(&mut self, bytes: &[u8], input: Input, origin: Origin, out: &mut BatchBuilder) -> Decoded {
        self.lines.decode(bytes, input, origin, out, &mut self.sink)
    }
    fn reset(&mut self, _at_start: bool) {
        self.lines.reset();
    }
    fn unfinished(&self) -> Option<Origin> {
        self.lines.unfinished()
    }
    fn fork(&self) -> Option<Box<dyn Decoder>> {
        self.lines.unfinished().is_none().then(|| Box::new(self.clone()) as _)
    }
    fn boundary(&self, bytes: &[u8]) -> Option<usize> {
        last_line_end(bytes)
    }
}

impl LineSink for TextLines {
    fn window(&mut self, window: &[u8], origin: Origin, out: &mut BatchBuilder) -> Decoded {
        let mut done = Decoded::default();
        while done.consumed < window.len() && !out.is_full() {
            let rest = window.get(done.consumed..).unwrap_or(&[]);
            let end = memchr(b'\n', rest);
            let line = without_cr(rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest));
            let here =
                Origin { offset: origin.offset + done.consumed as u64, line: origin.line + done.lines };
            done.consumed += end.map_or(rest.len(), |e| e + 1);
            done.lines += u64::from(end.is_some());
            if line.len() > self.max {
                reject(out, here, line, self.max, too_long(self.max));
            } else if let Err(error) = Content::read(self.content, line, here.offset, out) {
                reject(out, here, line, self.max, error);
            }
        }
        done
    }
}

/// Writes one column as lines. NULL is an empty line; a text that holds a line feed is refused.
#[derive(Debug)]
pub struct TextEncoder(());

impl TextEncoder {
    /// An encoder for records of this shape.
    ///
    /// # Errors
    /// Not exactly one column, or one that is neither VARCHAR nor BYTES.
    pub fn new(schema: &Schema) -> Result<Self, OptionError> {
        Content::only("text", schema).map(|_| Self(()))
    }
}

impl Encoder for TextEncoder {
    fn record(&mut self, record: &StreamRecord, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let bytes = Content::bytes(record)?;
        if memchr(b'\n', bytes).is_some() {
            let message = "a text with a line feed can't be written as one line";
            return Err(RecordError::new(ErrorCode::TypeMismatch, message));
        }
        out.extend_from_slice(bytes);
        out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{DataType, FieldValue};

    fn decode(data_type: DataType, input: &[u8], piece: usize) -> (Vec<FieldValue>, Vec<(i64, ErrorCode)>) {
        let schema = Schema::of([("line", data_type)]);
        let options = TextOptions { max_record_bytes: 8 };
        let mut decoder = TextDecoder::new(schema.clone(), &["line".into()], options).unwrap();
        let mut out = BatchBuilder::new(schema);
        let (mut start, mut line) = (0, 1);
        for end in (0..input.len()).step_by(piece).skip(1).chain([input.len()]) {
            let mode = if end == input.len() { Input::Complete } else { Input::Partial };
            let done =
                decoder.decode(&input[start..end], mode, Origin { offset: start as u64, line }, &mut out);
            start += done.consumed;
            line += done.lines;
        }
        assert_eq!(start, input.len());
        let values = out.records().iter().map(|r| r.values()[0].clone()).collect();
        (values, out.rejects().iter().map(|r| (r.offset, r.error.code)).collect())
    }

    #[test]
    fn every_line_is_a_record_also_a_blank_one() {
        let input = "one\n\r\ntwö\r\n123456789\n\nlast".as_bytes();
        for piece in [1, 2, 5, 100] {
            let (values, rejects) = decode(DataType::Varchar, input, piece);
            assert_eq!(values, ["one".into(), "".into(), "twö".into(), "".into(), "last".into()]);
            assert_eq!(rejects, [(12, ErrorCode::TooLarge)]);
        }
    }

    #[test]
    fn only_bytes_may_be_anything() {
        let (values, rejects) = decode(DataType::Varchar, b"a\n\xff\nb\n", 100);
        assert_eq!((values.len(), rejects), (2, vec![(2, ErrorCode::Encoding)]));
        let (values, rejects) = decode(DataType::Bytes, b"a\n\xff\nb\n", 100);
        assert_eq!((values[1].clone(), rejects), (FieldValue::Bytes([255].into()), vec![]));
    }

    #[test]
    fn lines_are_written_and_a_line_feed_inside_is_refused() {
        let schema = Schema::of([("line", DataType::Varchar)]);
        let record = |v: FieldValue| Arc::new(StreamRecord::with_values(schema.clone(), [v]));
        let mut out = Vec::new();
        let records = [record("a".into()), record(FieldValue::Null), record("b\nc".into())];
        let (at, error) = TextEncoder::new(&schema).unwrap().encode(&records, &mut out).unwrap_err();
        assert_eq!((at, error.code, &out[..]), (2, ErrorCode::TypeMismatch, &b"a\n\n"[..]));
    }

    #[test]
    fn other_shapes_are_refused() {
        for schema in [
            Schema::of([("n", DataType::BigInt)]),
            Schema::of([("a", DataType::Varchar), ("b", DataType::Varchar)]),
        ] {
            assert!(TextEncoder::new(&schema).is_err());
            let names: Vec<_> = schema.names().map(CompactString::new).collect();
            assert!(TextDecoder::new(schema, &names, TextOptions::default()).is_err());
        }
    }
}
