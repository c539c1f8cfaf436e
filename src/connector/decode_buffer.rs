//! The piece of input between read(2) and a decoder: one buffer, filled and emptied in place.

use std::io;
use std::ops::ControlFlow;

use crate::codec::{Decoder, Input, Origin};
use crate::record::BatchBuilder;

/// Size of the buffer at the start; it grows only for a record that does not fit.
pub(crate) const START_BYTES: usize = 256 << 10;
/// Room beyond `max_record_bytes`, so that a decoder sees that a record is too long.
const SLACK_BYTES: usize = 64 << 10;

/// How often a reader fills the buffer in one call without coming to an end: input that gives no records (blank lines, an
/// endless line) must not keep it from hearing of a stop.
pub(crate) const FILLS_A_CALL: usize = 16;

/// What filling the buffer brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// That many bytes more.
    Bytes(usize),
    /// Nothing at the moment.
    WouldBlock,
    /// No more bytes (for the time being, where a file may grow).
    Eof,
}

/// Bytes of one stream that wait to be decoded.
///
/// Invariant: `buf[start..end]` are the bytes from `at.offset` on that no decoder has consumed.
pub(crate) struct DecodeBuffer {
    decoder: Box<dyn Decoder>,
    buf: Vec<u8>,
    start: usize,
    end: usize,
    /// Place of `buf[start]` in the uncompressed stream.
    at: Origin,
    /// The decoder has seen all of it and wants more.
    hungry: bool,
    max_bytes: usize,
}

impl DecodeBuffer {
    pub(crate) fn new(decoder: Box<dyn Decoder>, max_record_bytes: usize) -> Self {
        let max_bytes = max_record_bytes.saturating_add(SLACK_BYTES).max(START_BYTES);
        Self {
            decoder,
            buf: Vec::new(),
            start: 0,
            end: 0,
            at: Origin { offset: 0, line: 1 },
            hungry: true,
            max_bytes,
        }
    }

    /// Starts another stream, or the same one at another place: then `head` is its first bytes.
    pub(crate) fn restart(&mut self, at: Origin, head: &[u8]) {
        if at.offset > 0 {
            self.decoder.read_head(head);
        }
        self.start = 0;
        self.end = 0;
        self.at = at;
        self.hungry = true;
        self.decoder.reset(at.offset == 0);
    }

    /// Puts bytes in that were read before the stream was opened (a sample). Only while it is empty.
    pub(crate) fn preload(&mut self, bytes: &[u8]) {
        self.buf.clear();
        self.buf.extend_from_slice(bytes);
        self.start = 0;
        self.end = bytes.len();
        self.hungry = bytes.is_empty();
    }

    /// Where a later reader must start to give exactly the records after those given so far.
    pub(crate) fn resume_at(&self) -> Origin {
        self.decoder.unfinished().unwrap_or(self.at)
    }

    /// Why the stream as a whole can't be decoded.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.decoder.failure()
    }

    /// Offset of the next byte that will be read from the stream.
    pub(crate) fn read_offset(&self) -> u64 {
        self.at.offset + (self.end - self.start) as u64
    }

    /// Bytes that wait for the rest of their record.
    pub(crate) fn pending(&self) -> &[u8] {
        self.buf.get(self.start..self.end).unwrap_or(&[])
    }

    /// The decoder, if what waits begins with a record and parts of the stream may be decoded elsewhere.
    pub(crate) fn divisible(&self) -> Option<&dyn Decoder> {
        self.decoder.fork().is_some().then_some(&*self.decoder)
    }

    /// The decoder of the stream.
    pub(crate) fn decoder(&self) -> &dyn Decoder {
        &*self.decoder
    }

    /// Hands over the bytes that wait, with their place: others decode them.
    pub(crate) fn hand_over(&mut self, to: &mut Vec<u8>) -> Origin {
        to.clear();
        to.extend_from_slice(self.pending());
        self.start = 0;
        self.end = 0;
        self.hungry = true;
        self.at
    }

    /// Goes on at `at`, a record's start, with bytes that were read but not decoded.
    pub(crate) fn take_back(&mut self, at: Origin, bytes: &[u8]) {
        self.at = at;
        self.preload(bytes);
    }

    /// Decodes into `out` until it is full (`Break`) or the decoder wants more bytes (`Continue`). With
    /// [`Input::Complete`], `Continue` means that the stream is used up.
    pub(crate) fn decode(&mut self, input: Input, out: &mut BatchBuilder) -> ControlFlow<()> {
        if self.hungry && input == Input::Partial {
            return if out.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        }
        loop {
            if out.is_full() {
                return ControlFlow::Break(());
            }
            let bytes = self.buf.get(self.start..self.end).unwrap_or(&[]);
            let before = out.len() + out.rejects().len();
            let done = self.decoder.decode(bytes, input, self.at, out);
            let consumed = done.consumed.min(bytes.len());
            self.start += consumed;
            self.at.offset += consumed as u64;
            self.at.line += done.lines;
            if consumed == 0 && out.len() + out.rejects().len() == before {
                self.hungry = true;
                return ControlFlow::Continue(());
            }
        }
    }

    /// Reads once from `input`. Called when the decoder wants more.
    ///
    /// # Errors
    /// As `input` says, after which the buffer is as before; `InvalidData` if the decoder wants a longer
    /// record than it may.
    pub(crate) fn fill(&mut self, input: &mut dyn io::Read) -> io::Result<Fill> {
        if self.start > 0 {
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buf.len() {
            let size = (self.buf.len() * 2).max(START_BYTES).min(self.max_bytes).max(self.end);
            if size == self.buf.len() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the decoder asks for more than max_record_bytes",
                ));
            }
            self.buf.resize(size, 0);
        }
        let free = self.buf.get_mut(self.end..).unwrap_or_default();
        let fill = loop {
            match input.read(free) {
                Ok(0) => break Fill::Eof,
                Ok(n) => break Fill::Bytes(n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break Fill::WouldBlock,
                Err(e) => return Err(e),
            }
        };
        if let Fill::Bytes(n) = fill {
            self.end += n;
            self.hungry = false;
        }
        Ok(fill)
    }

    /// Memory held, in bytes.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.buf.capacity()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::connector::testing::{line_decoder, line_schema, scan, texts};
    use crate::io::contract::{Item, items};

    /// Gives its bytes in pieces of these sizes; 0 means: nothing at the moment, or interrupted.
    struct Pieces {
        bytes: VecDeque<u8>,
        sizes: Vec<usize>,
        call: usize,
    }

    impl io::Read for Pieces {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let size = self.sizes[self.call % self.sizes.len()];
            self.call += 1;
            match size {
                0 if self.call.is_multiple_of(2) => Err(io::ErrorKind::WouldBlock.into()),
                0 => Err(io::ErrorKind::Interrupted.into()),
                n => {
                    let n = n.min(buf.len());
                    io::Read::read(&mut self.bytes, &mut buf[..n])
                }
            }
        }
    }

    fn all(content: &[u8], sizes: Vec<usize>, rows: usize) -> Vec<Item> {
        let mut buffer = DecodeBuffer::new(line_decoder(40)(&scan()).unwrap(), 40);
        let mut input = Pieces { bytes: content.to_vec().into(), sizes, call: 0 };
        let mut all = Vec::new();
        let mut kind = Input::Partial;
        loop {
            let mut out = BatchBuilder::new(line_schema());
            out.set_limits(rows, 1 << 20);
            while buffer.decode(kind, &mut out).is_continue() {
                if kind == Input::Complete {
                    all.extend(items(&mut out));
                    assert!(buffer.pending().is_empty());
                    return all;
                }
                if buffer.fill(&mut input).unwrap() == Fill::Eof {
                    kind = Input::Complete;
                }
            }
            all.extend(items(&mut out));
        }
    }

    /// What the lines of `content` must give.
    fn expected(content: &str) -> Vec<String> {
        let mut lines: Vec<&str> = content.split('\n').collect();
        if lines.last() == Some(&"") {
            lines.pop();
        }
        let text = |line: &str| match line {
            "bad" => "!malformed".to_owned(),
            long if long.len() > 40 => "!too_large".to_owned(),
            other => other.to_owned(),
        };
        lines.into_iter().map(text).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn pieces_and_batches_of_any_size_give_the_same(
            content in "([a-c]{0,6}\n|bad\n|\n|[d-f]{30,90}\n){0,12}[a-f]{0,50}",
            mut sizes in prop::collection::vec(0usize..20, 1..6),
            rows in 1usize..5,
        ) {
            sizes.push(3);
            let got = all(content.as_bytes(), sizes, rows);
            prop_assert_eq!(texts(&got), expected(&content));
            prop_assert_eq!(&got, &all(content.as_bytes(), vec![1 << 20], 1000));
        }
    }
}
