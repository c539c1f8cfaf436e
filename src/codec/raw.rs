//! Raw bytes: a whole input is one record of one column.

use std::sync::Arc;

use super::framing::{KEPT_OF_LONG, Skipped, reject, too_long};
use super::text::TextOptions;
use super::{Decoded, Decoder, Encoder, Input, Origin};
use crate::catalog::OptionError;
use crate::record::{
    BatchBuilder, CompactString, DataType, ErrorCode, FieldValue, RecordError, Schema, StreamRecord,
};

/// What the one column of a record without structure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// VARCHAR: must be UTF-8.
    Text,
    /// BYTES: anything.
    Bytes,
}

impl Content {
    /// The one column that is wanted, `None` if it is not.
    pub(super) fn of(format: &str, wanted: &Schema, declared: usize) -> Result<Option<Self>, OptionError> {
        if declared > 1 {
            return Err(Self::misfit(format));
        }
        if wanted.is_empty() { Ok(None) } else { Self::only(format, wanted).map(Some) }
    }
    /// The only column.
    pub(super) fn only(format: &str, schema: &Schema) -> Result<Self, OptionError> {
        match schema.fields() {
            [field] if field.data_type == DataType::Varchar => Ok(Self::Text),
            [field] if field.data_type == DataType::Bytes => Ok(Self::Bytes),
            _ => Err(Self::misfit(format)),
        }
    }
    fn misfit(format: &str) -> OptionError {
        let message = format!("format '{format}' holds one column of type VARCHAR or BYTES");
        OptionError { name: "format".into(), message }
    }
    /// Adds a record that holds `bytes`.
    pub(super) fn read(
        this: Option<Self>,
        bytes: &[u8],
        offset: u64,
        out: &mut BatchBuilder,
    ) -> Result<(), RecordError> {
        let text = match this {
            Some(Self::Text) => match simdutf8::compat::from_utf8(bytes) {
                Ok(text) => text,
                Err(e) => {
                    let error = RecordError::new(ErrorCode::Encoding, "not valid UTF-8");
                    return Err(error.at_byte(e.valid_up_to()));
                }
            },
            _ => "",
        };
        let record = out.recycled_record();
        if let Some(slot) = record.values_mut().first_mut() {
            match this {
                Some(Self::Bytes) => *slot = FieldValue::Bytes(bytes.into()),
                _ => slot.set_str(text),
            }
        }
        record.set_offset(Some(offset as i64));
        out.add_bytes(bytes.len() + 1);
        Ok(())
    }
    /// The content of a record; nothing if it is NULL.
    pub(super) fn bytes(record: &StreamRecord) -> Result<&[u8], RecordError> {
        match record.values().first() {
            Some(FieldValue::String(s)) => Ok(s.as_bytes()),
            Some(FieldValue::Bytes(b)) => Ok(b),
            None | Some(FieldValue::Null) => Ok(&[]),
            Some(_) => Err(RecordError::new(ErrorCode::TypeMismatch, "neither VARCHAR nor BYTES")),
        }
    }
}

/// Reads a whole input as one record, if it is not longer than `max_record_bytes`. An empty input holds no record.
#[derive(Debug)]
pub struct RawDecoder {
    content: Option<Content>,
    max: usize,
    skipped: Option<Skipped>,
}

impl RawDecoder {
    /// A decoder for records of this shape, one column or (if the content itself is not wanted) none.
    ///
    /// # Errors
    /// More than one column, or one that is neither VARCHAR nor BYTES.
    pub fn new(
        wanted: Arc<Schema>,
        declared: &[CompactString],
        options: TextOptions,
    ) -> Result<Self, OptionError> {
        let content = Content::of("raw", &wanted, declared.len())?;
        Ok(Self { content, max: options.max_record_bytes, skipped: None })
    }
}

impl Decoder for RawDecoder {
    fn decode(&mut self, bytes: &[u8], input: Input, origin: Origin, out: &mut BatchBuilder) -> Decoded {
        let all = Decoded { consumed: bytes.len(), lines: memchr::memchr_iter(b'\n', bytes).count() as u64 };
        if out.is_full() {
            return Decoded::default();
        }
        if self.skipped.is_none() && bytes.len() > self.max {
            self.skipped = Some(Skipped::new(origin, KEPT_OF_LONG.min(self.max), too_long(self.max)).exact());
        }
        if let Some(mut skipped) = self.skipped.take() {
            skipped.extend(bytes);
            match input {
                Input::Complete => skipped.finish(out),
                Input::Partial => self.skipped = Some(skipped),
            }
            return all;
        }
        match input {
            Input::Partial => return Decoded::default(),
            Input::Complete if bytes.is_empty() => {}
            Input::Complete => {
                if let Err(error) = Content::read(self.content, bytes, origin.offset, out) {
                    reject(out, origin, bytes, self.max, error);
                }
            }
        }
        all
    }
    fn reset(&mut self, _at_start: bool) {
        self.skipped = None;
    }
}

/// Writes the one column of each record, with nothing between them.
#[derive(Debug)]
pub struct RawEncoder(());

impl RawEncoder {
    /// An encoder for records of this shape.
    ///
    /// # Errors
    /// Not exactly one column, or one that is neither VARCHAR nor BYTES.
    pub fn new(schema: &Schema) -> Result<Self, OptionError> {
        Content::only("raw", schema).map(|_| Self(()))
    }
}

impl Encoder for RawEncoder {
    fn record(&mut self, record: &StreamRecord, out: &mut Vec<u8>) -> Result<(), RecordError> {
        out.extend_from_slice(Content::bytes(record)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_one_record_unless_it_is_too_long() {
        let schema = Schema::of([("content", DataType::Bytes)]);
        let options = TextOptions { max_record_bytes: 10 };
        let mut decoder = RawDecoder::new(schema.clone(), &["content".into()], options).unwrap();
        let mut out = BatchBuilder::new(schema);
        let start = Origin { offset: 0, line: 1 };
        assert_eq!(decoder.decode(b"a\nb", Input::Partial, start, &mut out), Decoded::default());
        assert_eq!(
            decoder.decode(b"a\nb\r", Input::Complete, start, &mut out),
            Decoded { consumed: 4, lines: 1 }
        );
        assert_eq!(out.records()[0].values()[0], FieldValue::Bytes((*b"a\nb\r").into()));

        decoder.reset(true);
        assert_eq!(decoder.decode(&[b'x'; 11], Input::Partial, start, &mut out).consumed, 11);
        decoder.decode(b"\r", Input::Complete, Origin { offset: 11, line: 1 }, &mut out);
        let [reject] = out.rejects() else { panic!() };
        assert_eq!((reject.raw_len, reject.raw.len(), reject.error.code), (12, 10, ErrorCode::TooLarge));

        decoder.reset(true);
        decoder.decode(b"", Input::Complete, start, &mut out);
        assert_eq!((out.len(), out.rejects().len()), (1, 1));
    }
}
