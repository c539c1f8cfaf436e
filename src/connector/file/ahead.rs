//! Decoding ahead: while batches of a file are processed, helpers decode the next ones.
//!
//! The file is cut into chunks of whole records. Chunks wait in one queue; helpers of the job's pool take them from there, and so does
//! the reader's own thread whenever the chunk that it wants next is not ready: so the work divides itself, whatever the shares of
//! reading and processing are. Whoever decodes a batch also does what can be done ahead ([`Preparer`]), while its records are in the
//! caches of that core. Batches leave in the order of the file. All hand-overs go through channels; a helper takes no lock.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::codec::{Decoder, Input, Origin};
use crate::record::{Batch, BatchBuilder, Crew, Preparer, Reject};

/// Bounds of a chunk, in bytes.
const CHUNK: std::ops::RangeInclusive<usize> = 64 << 10..=1 << 20;
/// A chunk holds a little less than a batch, so that it seldom needs a second one.
const FILLED: f64 = 0.97;

/// Whole records of a file, and what became of them.
struct Chunk {
    number: u64,
    bytes: Vec<u8>,
    /// Length of the records in `bytes`; the rest is room.
    len: usize,
    offset: u64,
    decoder: Box<dyn Decoder>,
    preparer: Option<Box<dyn Preparer>>,
    builder: BatchBuilder,
    allocated: u64,
    pieces: VecDeque<Piece>,
    panic: Option<Box<dyn std::any::Any + Send>>,
}

/// A decoded batch.
struct Piece {
    batch: Batch,
    rejects: Vec<Reject>,
    allocated: u64,
    /// Where it ends in its chunk: bytes and lines.
    end: usize,
    lines: u64,
}

impl Chunk {
    /// Decodes everything. A panic is kept for the reader's thread.
    fn decode(&mut self, crew: &Crew) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.decode_all(crew)));
        self.panic = outcome.err();
    }

    fn decode_all(&mut self, crew: &Crew) {
        let (mut at, mut lines) = (0, 0);
        while at < self.len {
            self.builder.supply(|| crew.spare());
            let bytes = self.bytes.get(at..self.len).unwrap_or_default();
            let before = self.builder.len() + self.builder.rejects().len();
            let origin = Origin { offset: self.offset + at as u64, line: lines };
            let done = self.decoder.decode(bytes, Input::Complete, origin, &mut self.builder);
            at += done.consumed.min(bytes.len());
            lines += done.lines;
            let stuck = done.consumed == 0 && self.builder.len() + self.builder.rejects().len() == before;
            if at == self.len || stuck || self.builder.is_full() {
                let rejects = self.builder.take_rejects();
                let allocated = self.builder.allocated() - self.allocated;
                self.allocated += allocated;
                let mut batch = self.builder.take(Batch::default());
                batch.filled_here();
                if let Some(preparer) = &mut self.preparer {
                    batch.prepare(&mut **preparer);
                }
                self.pieces.push_back(Piece { batch, rejects, allocated, end: at, lines });
            }
            if stuck {
                return;
            }
        }
    }
}

/// What [`Ahead::next`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It gave a batch.
    Given,
    /// Everything that was cut has been given.
    Over,
}

/// Chunks of one file between reading and processing.
pub(super) struct Ahead {
    queue: (Sender<Chunk>, Receiver<Chunk>),
    done: (Sender<Chunk>, Receiver<Chunk>),
    /// Decoded chunks by number, from `first` on; those under way are missing.
    ready: VecDeque<Option<Chunk>>,
    first: u64,
    /// Helpers at work.
    helping: Arc<AtomicUsize>,
    spare: Vec<Chunk>,
    /// Bytes behind the last chunk.
    rest: Vec<u8>,
    /// Place of the next record that will be given.
    at: Origin,
    /// Lines of the chunk at the front that were given.
    given_lines: u64,
    /// Offset of `rest`.
    cut_at: u64,
    /// Bytes of an average record.
    record_bytes: f64,
    /// No more chunks can be cut here.
    dry: bool,
}

impl Ahead {
    /// Begins with nothing.
    pub(super) fn new() -> Self {
        Self {
            queue: unbounded(),
            done: unbounded(),
            ready: VecDeque::new(),
            first: 0,
            helping: Arc::default(),
            spare: Vec::new(),
            rest: Vec::new(),
            at: Origin::default(),
            given_lines: 0,
            cut_at: 0,
            record_bytes: 200.0,
            dry: true,
        }
    }

    /// Whether chunks are under way, or may be cut.
    pub(super) fn is_active(&self) -> bool {
        !self.dry || !self.ready.is_empty()
    }

    /// Begins at `at`, a record's start; `rest` takes the bytes that were read already.
    pub(super) fn begin(&mut self, start: impl FnOnce(&mut Vec<u8>) -> Origin) {
        self.at = start(&mut self.rest);
        self.cut_at = self.at.offset;
        self.given_lines = 0;
        self.dry = false;
    }

    /// Place of the next record that will be given.
    pub(super) fn at(&self) -> Origin {
        self.at
    }

    /// When [`Next::Over`] was said: bytes that were read, but belong to no chunk.
    pub(super) fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// Offset behind everything that was read.
    pub(super) fn read_offset(&self) -> u64 {
        self.cut_at + self.rest.len() as u64
    }

    /// Gives the next batch to `out`, which is empty. Once nothing more can be cut – the file ends, only decoding
    /// tells where records end, nobody helps, reading failed – everything cut is given, then `Over` said.
    pub(super) fn next(
        &mut self,
        input: &mut dyn io::Read,
        decoder: &dyn Decoder,
        out: &mut BatchBuilder,
        crew: &Crew,
    ) -> Next {
        let helpers = crew.helpers();
        if helpers == 0 {
            self.dry = true;
        }
        loop {
            while !self.dry && self.ready.len() < 2 * helpers + 2 {
                self.cut(input, decoder, out, crew);
                self.call_helpers(crew, helpers);
            }
            while let Ok(chunk) = self.done.1.try_recv() {
                self.put(chunk);
            }
            match self.ready.front_mut() {
                None => return Next::Over,
                Some(Some(_)) => {
                    if self.give(out, crew) {
                        return Next::Given;
                    }
                }
                // Not ready: work instead of waiting, if there is work.
                Some(None) => match self.queue.1.try_recv() {
                    Ok(mut chunk) => {
                        chunk.decode(crew);
                        self.put(chunk);
                    }
                    Err(_) => {
                        if let Ok(chunk) = self.done.1.recv() {
                            self.put(chunk);
                        }
                    }
                },
            }
        }
    }

    fn put(&mut self, chunk: Chunk) {
        let at = (chunk.number - self.first) as usize;
        if let Some(place) = self.ready.get_mut(at) {
            *place = Some(chunk);
        }
    }

    /// Reads bytes and queues those that are whole records.
    fn cut(&mut self, input: &mut dyn io::Read, decoder: &dyn Decoder, out: &BatchBuilder, crew: &Crew) {
        let (rows, max_bytes) = out.limits();
        let target = (self.record_bytes * rows as f64 * FILLED) as usize;
        let target = target.min(max_bytes).clamp(*CHUNK.start(), *CHUNK.end()).max(self.rest.len());
        let Some(mut chunk) = self.spare.pop().or_else(|| self.new_chunk(decoder, out, crew)) else {
            self.dry = true;
            return;
        };
        if chunk.bytes.len() < target {
            chunk.bytes.resize(target, 0);
        }
        if let Some(front) = chunk.bytes.get_mut(..self.rest.len()) {
            front.copy_from_slice(&self.rest);
        }
        let mut filled = self.rest.len();
        while let Some(room) = chunk.bytes.get_mut(filled..target).filter(|room| !room.is_empty()) {
            match input.read(room) {
                Ok(n) if n > 0 => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // The end, or an error: who reads on without helpers meets it again.
                Ok(_) | Err(_) => {
                    self.dry = true;
                    break;
                }
            }
        }
        let bytes = chunk.bytes.get(..filled).unwrap_or_default();
        let len = decoder.boundary(bytes).unwrap_or(0);
        self.rest.clear();
        self.rest.extend_from_slice(bytes.get(len..).unwrap_or_default());
        if len == 0 {
            self.dry = true;
            self.spare.push(chunk);
            return;
        }
        (chunk.len, chunk.offset) = (len, self.cut_at);
        chunk.number = self.first + self.ready.len() as u64;
        chunk.builder.set_limits(rows, max_bytes);
        self.cut_at += len as u64;
        self.ready.push_back(None);
        // Never fails: this side holds a receiver.
        let _ = self.queue.0.send(chunk);
    }

    fn new_chunk(&self, decoder: &dyn Decoder, out: &BatchBuilder, crew: &Crew) -> Option<Chunk> {
        Some(Chunk {
            number: 0,
            bytes: Vec::new(),
            len: 0,
            offset: 0,
            decoder: decoder.fork()?,
            preparer: crew.preparer(),
            builder: BatchBuilder::new(out.schema().clone()),
            allocated: 0,
            pieces: VecDeque::new(),
            panic: None,
        })
    }

    /// Starts as many helpers as may work and are not at it.
    fn call_helpers(&self, crew: &Crew, helpers: usize) {
        if self.queue.1.is_empty() || self.helping.load(Ordering::Acquire) >= helpers {
            return;
        }
        let Some(pool) = crew.pool() else { return };
        self.helping.fetch_add(1, Ordering::AcqRel);
        let (queue, done) = (self.queue.1.clone(), self.done.0.clone());
        let (helping, mine) = (self.helping.clone(), crew.clone());
        crew.call(pool, move || {
            while let Ok(mut chunk) = queue.try_recv() {
                mine.help(|| chunk.decode(&mine));
                if done.send(chunk).is_err() {
                    break;
                }
            }
            helping.fetch_sub(1, Ordering::AcqRel);
        });
    }

    /// Gives the next batch of the chunk at the front; `false` if it has none left and was put aside.
    fn give(&mut self, out: &mut BatchBuilder, crew: &Crew) -> bool {
        let Some(Some(chunk)) = self.ready.front_mut() else { return false };
        if let Some(panic) = chunk.panic.take() {
            resume_unwind(panic);
        }
        let Some(mut piece) = chunk.pieces.pop_front() else {
            if let Some(Some(chunk)) = self.ready.pop_front() {
                self.spare.push(chunk);
            }
            self.first += 1;
            self.given_lines = 0;
            return false;
        };
        for reject in &mut piece.rejects {
            // Lines were counted from the start of the chunk.
            reject.line = reject.line.map(|line| self.at.line + line - self.given_lines);
        }
        let rows = piece.batch.came() + piece.rejects.len();
        if rows > 0 {
            self.record_bytes = 0.5 * self.record_bytes + 0.5 * piece.batch.came_bytes() as f64 / rows as f64;
        }
        self.at.offset = chunk.offset + piece.end as u64;
        self.at.line += piece.lines - self.given_lines;
        self.given_lines = piece.lines;
        crew.give(out.replace(piece.batch, piece.rejects, piece.allocated));
        !out.is_empty()
    }
}
