//! Bytes ⇄ records: framing × format.
//!
//! A decoder finds whole records in a piece of input and writes them straight into the recycled records of a
//! [`BatchBuilder`]; an encoder appends to a byte buffer. Neither knows where bytes come from or go to.

pub mod csv;
mod format;
mod forms;
mod framing;
mod infer;
pub mod json;
pub mod raw;
pub mod text;

pub use format::{FORMATS, Format, FormatSpec};
pub use forms::{BYTES_FORMAT, BytesFormat, TIMESTAMP_FORMAT, TimestampFormat};
pub use infer::{Fed, Inference, Inferred};

use std::sync::Arc;

use crate::record::{BatchBuilder, RecordError, StreamRecord};

/// Where a piece of input begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Byte offset of its first byte in the (uncompressed) source.
    pub offset: u64,
    /// Line number of its first byte, from 1.
    pub line: u64,
}

/// How far a call of [`Decoder::decode`] came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes consumed from the front of the input; the next call's input starts behind them.
    pub consumed: usize,
    /// Lines consumed (line feeds among the consumed bytes).
    pub lines: u64,
}

/// Whether more bytes can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// More may follow: an incomplete record at the end is left alone.
    Partial,
    /// This is all there is: the rest counts as a record even without a terminator.
    Complete,
}

/// Decodes the records of one stream of bytes.
pub trait Decoder: Send {
    /// Decodes whole records from the front of `bytes` into `out`, until `out` is full or no whole
    /// record is left. `_offset` of each record is the byte offset of its first byte. A record
    /// that can't be decoded goes to `out.reject` and its neighbours are unaffected.
    ///
    /// Returning without consuming anything while `out` has room means that more bytes are needed. A record longer
    /// than `max_record_bytes` is consumed piece by piece and rejected, never held.
    fn decode(&mut self, bytes: &[u8], input: Input, origin: Origin, out: &mut BatchBuilder) -> Decoded;

    /// Forgets everything: the next input is the start of another file. `at_start` is false when a file is
    /// entered in the middle (a position is sought): then no header is expected.
    fn reset(&mut self, at_start: bool);

    /// Reads what the head of a file says about the rest (a CSV header) without giving records. A reader that enters
    /// a file in the middle hands over its first bytes (64 KiB are enough) before it calls `reset(false)`.
    fn read_head(&mut self, head: &[u8]) {
        let _ = head;
    }

    /// Why nothing of this input can be decoded, e.g. a declared column that the CSV header lacks. A reader asks
    /// after its first `decode` and makes an error of its stage of it; until the next `reset` no record comes.
    fn failure(&self) -> Option<&str> {
        None
    }

    /// Where the record began that was consumed in part and is not reported yet (one longer than `max_record_bytes`, or a broken
    /// element of an array, whose end is looked for), or the last byte of an element, where it says what must follow: a position to
    /// resume from must not lie behind it.
    fn unfinished(&self) -> Option<Origin> {
        None
    }

    /// Another decoder of the same stream, which begins at a record's start behind its head: parts of the stream can then
    /// be decoded at the same time. `None` if this one is before the first record or within one, or the stream can't be divided.
    fn fork(&self) -> Option<Box<dyn Decoder>> {
        None
    }

    /// In bytes that begin with a record: behind the last record that is certainly whole, found without decoding. `None` if
    /// there is none, or if only decoding can tell. Asked of decoders that [`fork`](Self::fork).
    fn boundary(&self, bytes: &[u8]) -> Option<usize> {
        let _ = bytes;
        None
    }
}

/// Encodes records into bytes.
pub trait Encoder: Send {
    /// What comes before the first record (a CSV header).
    fn start(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }
    /// Appends one record. What is there on `Err` does not matter: [`encode`](Self::encode) cuts it off.
    ///
    /// # Errors
    /// If the record can't be written in this format; the others still can.
    fn record(&mut self, record: &StreamRecord, out: &mut Vec<u8>) -> Result<(), RecordError>;
    /// Appends records; called once a batch, on the thread of the sink.
    ///
    /// # Errors
    /// The index of the first record that can't be encoded, and why; `out` then holds exactly the records before it.
    fn encode(
        &mut self,
        records: &[Arc<StreamRecord>],
        out: &mut Vec<u8>,
    ) -> Result<(), (usize, RecordError)> {
        for (i, record) in records.iter().enumerate() {
            let before = out.len();
            if let Err(error) = self.record(record, out) {
                out.truncate(before);
                return Err((i, error));
            }
        }
        Ok(())
    }
    /// Another one, for records that others encode: what it makes of a batch is what this one would. `None` if what is written of a record
    /// depends on those before it.
    fn fork(&self) -> Option<Box<dyn Encoder>> {
        None
    }
    /// Instead of [`start`](Self::start), when the output already holds records of a run that did not finish.
    fn resume(&mut self) {}
    /// Whether more records may follow a finished output: not if it ends with a footer.
    fn can_append(&self) -> bool {
        true
    }
    /// What comes after the last record (the `]` of a JSON array).
    fn finish(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }
}
