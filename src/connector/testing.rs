//! A trivial line codec for the connectors' own tests: each line is one VARCHAR; a line `bad` is rejected.

use std::sync::Arc;

use super::{MakeDecoder, MakeEncoder};
use crate::codec::{Decoded, Decoder, Encoder, Input, Origin};
use crate::io::contract::Item;
use crate::io::{Scan, SystemColumns};
use crate::record::{
    BatchBuilder, DataType, ErrorCode, FieldValue, RecordError, Reject, Schema, StreamRecord,
};

pub(crate) fn line_schema() -> Arc<Schema> {
    Schema::of([("line", DataType::Varchar)])
}

pub(crate) fn scan() -> Scan {
    Scan { schema: line_schema(), system: SystemColumns::default(), clock: None, kept: false }
}

pub(crate) fn line_decoder(max: usize) -> MakeDecoder {
    Arc::new(move |_| Ok(Box::new(Lines { max, long: None }) as Box<dyn Decoder>))
}

pub(crate) fn line_encoder() -> MakeEncoder {
    Arc::new(|_| Ok(Box::new(LineEncoder) as Box<dyn Encoder>))
}

struct Lines {
    max: usize,
    /// A line that is too long: where it began, and its length so far.
    long: Option<(Origin, u64)>,
}

impl Lines {
    fn too_long(&mut self, extra: u64, out: &mut BatchBuilder) {
        if let Some((at, len)) = self.long.take() {
            let error = RecordError::new(ErrorCode::TooLarge, "line too long");
            let (offset, line) = (at.offset as i64, Some(at.line));
            out.reject(Reject { at: 0, offset, line, raw: Vec::new(), raw_len: len + extra, error });
        }
    }
    fn line(text: &[u8], at: Origin, out: &mut BatchBuilder) {
        if text == b"bad" {
            let error = RecordError::new(ErrorCode::Malformed, "bad line");
            let (offset, line) = (at.offset as i64, Some(at.line));
            out.reject(Reject { at: 0, offset, line, raw: text.to_vec(), raw_len: text.len() as u64, error });
        } else {
            let record = out.recycled_record();
            record.set_offset(Some(at.offset as i64));
            record.values_mut()[0].set_str(&String::from_utf8_lossy(text));
            out.add_bytes(text.len() + 1);
        }
    }
}

impl Decoder for Lines {
    fn decode(&mut self, bytes: &[u8], input: Input, origin: Origin, out: &mut BatchBuilder) -> Decoded {
        let mut done = Decoded::default();
        while !out.is_full() {
            let rest = &bytes[done.consumed..];
            let at = Origin { offset: origin.offset + done.consumed as u64, line: origin.line + done.lines };
            let (len, step) = match memchr::memchr(b'\n', rest) {
                Some(n) => (n, n + 1),
                None if input == Input::Complete && (!rest.is_empty() || self.long.is_some()) => {
                    (rest.len(), rest.len())
                }
                None if self.long.is_some() || rest.len() > self.max => {
                    self.long.get_or_insert((at, 0)).1 += rest.len() as u64;
                    done.consumed = bytes.len();
                    return done;
                }
                None => return done,
            };
            if self.long.is_some() {
                self.too_long(len as u64, out);
            } else if len > self.max {
                self.long = Some((at, 0));
                self.too_long(len as u64, out);
            } else {
                Self::line(&rest[..len], at, out);
            }
            done.consumed += step;
            done.lines += u64::from(step > len);
        }
        done
    }
    fn reset(&mut self, _at_start: bool) {
        self.long = None;
    }
    fn unfinished(&self) -> Option<Origin> {
        self.long.map(|(at, _)| at)
    }
}

struct LineEncoder;

impl Encoder for LineEncoder {
    fn record(&mut self, record: &StreamRecord, out: &mut Vec<u8>) -> Result<(), RecordError> {
        match record.values().first() {
            Some(FieldValue::String(s)) if s != "refused" => {
                out.extend_from_slice(s.as_bytes());
                out.push(b'\n');
                Ok(())
            }
            _ => Err(RecordError::new(ErrorCode::SinkRejected, "refused")),
        }
    }
}

pub(crate) fn record(text: &str) -> Arc<StreamRecord> {
    Arc::new(StreamRecord::with_values(line_schema(), [text.into()]))
}

/// Items as short texts: a record is its line, a reject `!` and its code.
pub(crate) fn texts(items: &[Item]) -> Vec<String> {
    items
        .iter()
        .map(|item| match item {
            Item::Record(r) => r.values()[0].as_str().unwrap_or("NULL").to_owned(),
            Item::Reject(r) => format!("!{}", r.error.code.label()),
        })
        .collect()
}
