//! Framing by lines: where a record ends, and what happens to one that is too long.
//!
//! A line ends with LF or CRLF; the last one may lack it. A line longer than `max_record_bytes` (without its terminator)
//! is consumed piece by piece and rejected with its first KiB, so that memory stays bounded whatever comes.

use memchr::{memchr, memrchr};

use super::{Decoded, Input, Origin};
use crate::record::{BatchBuilder, ErrorCode, RecordError, Reject};

/// How much of an over-long record a reject keeps.
pub(crate) const KEPT_OF_LONG: usize = 1024;

/// Bytes of whole lines that are handled at once: they stay in the cache between passes.
pub(crate) const WINDOW: usize = 16 << 10;
/// The least of it, where few records are wanted: what is looked at beyond them is looked at again by the next call.
const SMALL_WINDOW: usize = 512;

/// A record that is too long (or lost its frame) and is being consumed piece by piece.
#[derive(Clone, Debug)]
pub(crate) struct Skipped {
    pub(crate) offset: u64,
    pub(crate) line: u64,
    pub(crate) error: RecordError,
    raw: Vec<u8>,
    len: u64,
    keep: usize,
    last: Option<u8>,
    /// It is a line, which may end with CR LF.
    lines: bool,
}

impl Skipped {
    /// Begins at `origin`; keeps up to `keep` bytes, but only [`KEPT_OF_LONG`] if there are more.
    pub(crate) fn new(origin: Origin, keep: usize, error: RecordError) -> Self {
        let (raw, len) = (Vec::new(), 0);
        Self { offset: origin.offset, line: origin.line, error, raw, len, keep, last: None, lines: true }
    }
    /// A CR at the end belongs to the record.
    pub(crate) fn exact(mut self) -> Self {
        self.lines = false;
        self
    }
    /// Takes more bytes.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let room = self.keep.saturating_sub(self.raw.len());
        self.raw.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        self.len += bytes.len() as u64;
        self.last = bytes.last().copied().or(self.last);
    }
    /// Reports it.
    pub(crate) fn finish(mut self, out: &mut BatchBuilder) {
        if self.lines && self.last == Some(b'\r') {
            self.len -= 1;
            self.raw.truncate(usize::try_from(self.len).unwrap_or(usize::MAX));
        }
        if self.len > self.keep as u64 {
            self.raw.truncate(KEPT_OF_LONG.min(self.keep));
        }
        out.add_bytes(self.raw.len());
        out.reject(Reject {
            at: 0,
            offset: self.offset as i64,
            line: Some(self.line),
            raw: self.raw,
            raw_len: self.len,
            error: self.error,
        });
    }
}

/// The error of a record longer than `max` bytes.
pub(crate) fn too_long(max: usize) -> RecordError {
    RecordError::new(ErrorCode::TooLarge, format!("a record longer than max_record_bytes ({max})"))
}

/// Reports a record that was whole in memory.
pub(crate) fn reject(out: &mut BatchBuilder, origin: Origin, raw: &[u8], max: usize, error: RecordError) {
    let (kept, error) = if raw.len() > max {
        (raw.get(..KEPT_OF_LONG.min(max)).unwrap_or(raw), too_long(max))
    } else {
        (raw, error)
    };
    out.add_bytes(kept.len());
    out.reject(Reject {
        at: 0,
        offset: origin.offset as i64,
        line: Some(origin.line),
        raw: kept.to_vec(),
        raw_len: raw.len() as u64,
        error,
    });
}

/// Behind the last whole line.
pub(crate) fn last_line_end(bytes: &[u8]) -> Option<usize> {
    memrchr(b'\n', bytes).map(|at| at + 1)
}

/// The content of a line without its CR.
#[inline]
pub(crate) fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What a format does with lines.
pub(crate) trait LineSink {
    /// Takes lines from the front of `window` – whole lines, the last one perhaps without LF at the end of the
    /// input – until `out` is full; answers how far it came. At least one line is taken.
    fn window(&mut self, window: &[u8], origin: Origin, out: &mut BatchBuilder) -> Decoded;
}

/// Cuts input into windows of whole lines.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    max: usize,
    skipped: Option<Skipped>,
    /// Bytes of a line, as they were.
    line: usize,
}

impl Lines {
    pub(crate) fn new(max_record_bytes: usize) -> Self {
        Self { max: max_record_bytes, skipped: None, line: WINDOW }
    }
    /// How much to look at for so many records: a little more than they took last time.
    fn window(&self, records: usize) -> usize {
        records.saturating_mul(self.line + self.line / 4).clamp(SMALL_WINDOW, WINDOW)
    }
    pub(crate) fn reset(&mut self) {
        self.skipped = None;
    }
    /// Where the line began that is being consumed piece by piece; `None` if the next byte begins a line.
    pub(crate) fn unfinished(&self) -> Option<Origin> {
        self.skipped.as_ref().map(|s| Origin { offset: s.offset, line: s.line })
    }
    /// The implementation of [`Decoder::decode`](super::Decoder::decode) for formats whose records are lines.
    pub(crate) fn decode(
        &mut self,
        bytes: &[u8],
        input: Input,
        origin: Origin,
        out: &mut BatchBuilder,
        sink: &mut impl LineSink,
    ) -> Decoded {
        let mut done = Decoded::default();
        while !out.is_full() {
            let rest = bytes.get(done.consumed..).unwrap_or(&[]);
            let here =
                Origin { offset: origin.offset + done.consumed as u64, line: origin.line + done.lines };
            if let Some(mut skipped) = self.skipped.take() {
                let end = memchr(b'\n', rest);
                skipped.extend(rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest));
                done.consumed += end.map_or(rest.len(), |e| e + 1);
                done.lines += u64::from(end.is_some());
                if end.is_some() || input == Input::Complete {
                    skipped.finish(out);
                    continue;
                }
                self.skipped = Some(skipped);
                break;
            }
            if rest.is_empty() {
                break;
            }
            let first = rest.get(..self.window(out.room())).unwrap_or(rest);
            let end = memrchr(b'\n', first)
                .or_else(|| memchr(b'\n', rest.get(first.len()..).unwrap_or(&[])).map(|e| first.len() + e));
            let window = match end {
                Some(end) => rest.get(..=end).unwrap_or(rest),
                // One more than the limit may still be a CR.
                None if rest.len() > self.max + 1 => {
                    self.skipped = Some(Skipped::new(here, KEPT_OF_LONG.min(self.max), too_long(self.max)));
                    continue;
                }
                None if input == Input::Complete => rest,
                None => break,
            };
            let taken = sink.window(window, here, out);
            done.consumed += taken.consumed;
            done.lines += taken.lines;
            if let Some(line) = usize::try_from(taken.lines).ok().and_then(|n| taken.consumed.checked_div(n))
            {
                self.line = line;
            }
        }
        done
    }
}
