//! Writes parts: finds the file of each row, ends files when a commit is made.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::position::{Growing, Part, Standing};
use super::template::RowPath;
use super::{PartsSink, Rotation, Showing, above};
use crate::codec::Encoder;
use crate::connector::file::output::{Output, RawFile};
use crate::connector::file::writer::Forked;
use crate::io::{BatchEncoder, DataWriter, IoError};
use crate::record::{Clock, Position, Schema, StreamRecord};

/// Bytes that are collected before they are written, if there is one file.
const BUFFER_BYTES: usize = 256 << 10;
/// The same for each of several.
const SMALL_BUFFER_BYTES: usize = 64 << 10;
/// A buffer that one huge batch has stretched beyond this is given back.
const KEEP_BYTES: usize = 4 << 20;
/// Files of one epoch: each is in the position, which is held in memory and in the state directory.
const MAX_PARTS: usize = 100_000;
/// Directories that are remembered to exist.
const MAX_KNOWN: usize = 10_000;

/// A part that is being written.
struct Open {
    dir: Box<str>,
    name: String,
    path: PathBuf,
    output: Output,
    encoder: Box<dyn Encoder>,
    buffer: Vec<u8>,
    /// When it was begun, µs.
    opened: i64,
    /// When it was last written to, in runs of rows.
    used: u64,
    /// It holds what is not synced.
    dirty: bool,
}

/// An open directory of parts.
pub(super) struct PartsWriter {
    sink: PartsSink,
    schema: Arc<Schema>,
    clock: Clock,
    row: RowPath,
    /// The directory of the row at hand, reused.
    dir: String,
    /// The epoch that is being written.
    epoch: u64,
    /// Number of the next part of this epoch.
    next: u64,
    open: Vec<Open>,
    /// Where in `open` the file of a directory is.
    places: HashMap<Box<str>, usize>,
    runs: u64,
    /// Ended since the last barrier.
    ended: Vec<Part>,
    /// Ended before it, and shown with its commit. Meanwhile files of the next epoch may be ended.
    prepared: Vec<Part>,
    known: HashSet<Box<str>>,
    /// Directories with names that are not durable.
    unsynced: BTreeSet<Box<str>>,
    /// Files were created in the stage since its names were made durable.
    stage_changed: bool,
    /// Why nothing more can be promised: a write or fsync failed.
    broken: Option<String>,
}

impl PartsWriter {
    /// Goes on behind a commit.
    pub(super) fn open(sink: PartsSink, schema: Arc<Schema>, standing: Standing) -> Result<Self, IoError> {
        let row = sink.path.bind(&schema)?;
        let mut writer = Self {
            sink,
            schema,
            clock: Clock::System,
            row,
            dir: String::new(),
            epoch: standing.epoch + 1,
            next: 0,
            open: Vec::new(),
            places: HashMap::new(),
            runs: 0,
            ended: Vec::new(),
            prepared: Vec::new(),
            known: HashSet::new(),
            unsynced: BTreeSet::new(),
            stage_changed: false,
            broken: None,
        };
        standing.growing.into_iter().try_for_each(|growing| writer.reopen(growing))?;
        Ok(writer)
    }

    fn reopen(&mut self, Growing { part, opened }: Growing) -> Result<(), IoError> {
        let path = self.sink.written_path(&part.dir, &part.name);
        let file = self.sink.medium.append(&path).map_err(|e| self.sink.failed("open", &path, e))?;
        let raw = RawFile::on_medium(file, part.len, part.crc);
        self.add(part.dir.into(), part.name, path, raw, opened)?;
        Ok(())
    }

    fn add(
        &mut self,
        dir: Box<str>,
        name: String,
        path: PathBuf,
        raw: RawFile,
        opened: i64,
    ) -> Result<usize, IoError> {
        let mut encoder = (self.sink.encoder)(&self.schema)?;
        let mut buffer = Vec::with_capacity(if self.row.is_fixed() { BUFFER_BYTES } else { 0 });
        match raw.len() {
            0 => encoder.start(&mut buffer),
            _ => encoder.resume(),
        }
        let output = Output::Plain(raw, self.sink.compression);
        self.places.insert(dir.clone(), self.open.len());
        self.open.push(Open {
            dir,
            name,
            path,
            output,
            encoder,
            buffer,
            opened,
            used: self.runs,
            dirty: false,
        });
        Ok(self.open.len() - 1)
    }

    fn check(&self) -> Result<(), IoError> {
        match &self.broken {
            Some(why) => Err(IoError::data(format!(
                "the parts of '{}' are unusable, as an earlier call failed: {why}",
                self.sink.root().display()
            ))),
            None => Ok(()),
        }
    }

    /// Whatever failed, what was written can't be told any more.
    fn guard<T>(&mut self, result: Result<T, IoError>) -> Result<T, IoError> {
        if let Err(e) = &result {
            self.broken = Some(e.to_string());
        }
        result
    }

    /// Where in `open` the file for `self.dir` is; begun if there is none.
    fn place(&mut self) -> Result<usize, IoError> {
        self.runs += 1;
        let at = match self.places.get(self.dir.as_str()) {
            Some(at) => *at,
            None => self.begin_part()?,
        };
        if let Some(open) = self.open.get_mut(at) {
            (open.used, open.dirty) = (self.runs, true);
        }
        Ok(at)
    }

    fn begin_part(&mut self) -> Result<usize, IoError> {
        while self.open.len() >= self.sink.max_open.max(1) {
            let oldest = (0..self.open.len()).min_by_key(|&i| self.open.get(i).map_or(0, |o| o.used));
            self.end(oldest.unwrap_or(0))?;
        }
        self.make_dir()?;
        let sink = &self.sink;
        let name = format!("part-{}-{:08}-{}{}", sink.job, self.epoch, self.next, sink.extension);
        self.next += 1;
        let path = sink.written_path(&self.dir, &name);
        let file = sink.medium.create(&path).map_err(|e| sink.failed("create", &path, e))?;
        match sink.showing {
            Showing::WithCommit => self.stage_changed = true,
            Showing::AtOnce => drop(self.unsynced.insert(self.dir.as_str().into())),
        }
        let opened = self.clock.now_micros();
        self.add(self.dir.as_str().into(), name, path, RawFile::on_medium(file, 0, 0), opened)
    }

    fn make_dir(&mut self) -> Result<(), IoError> {
        if self.dir.is_empty() || self.known.contains(self.dir.as_str()) {
            return Ok(());
        }
        let path = self.sink.root().join(&self.dir);
        self.sink.medium.create_dir(&path).map_err(|e| self.sink.failed("create the directory", &path, e))?;
        self.unsynced.extend(above(&self.dir).map(Into::into));
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(self.dir.as_str().into());
        Ok(())
    }

    /// Ends a file and makes it durable; it is shown with the next commit.
    fn end(&mut self, at: usize) -> Result<(), IoError> {
        let mut open = self.open.swap_remove(at);
        self.places.remove(&open.dir);
        if let Some(moved) = self.open.get(at) {
            self.places.insert(moved.dir.clone(), at);
        }
        let mut end = || -> std::io::Result<(u64, u32)> {
            open.encoder.finish(&mut open.buffer);
            open.output.drain(&mut open.buffer)?;
            open.output.end_frame()?;
            let raw = open.output.raw()?;
            raw.sync()?;
            Ok((raw.len(), raw.crc()))
        };
        let (len, crc) = end().map_err(|e| self.sink.failed("write", &open.path, e))?;
        if self.sink.showing == Showing::AtOnce {
            return Ok(());
        }
        if self.ended.len() >= MAX_PARTS {
            return Err(IoError::data(format!(
                "more than {MAX_PARTS} files of '{}' would be committed at once: its path depends on too many values; commit more \
                 often, or name a column with fewer",
                self.sink.root().display()
            )));
        }
        self.ended.push(Part { dir: open.dir.into(), name: open.name, len, crc });
        Ok(())
    }

    /// Whether a file, whose bytes are all written, is to be ended now.
    fn is_full(&self, len: u64, opened: i64) -> bool {
        let Rotation { size, interval } = self.sink.rotation;
        if !self.sink.rotation.is_set() {
            return self.sink.showing == Showing::WithCommit;
        }
        let age = self.clock.now_micros().saturating_sub(opened);
        size.is_some_and(|size| len >= size) || interval.is_some_and(|t| age.max(0) as u128 >= t.as_micros())
    }

    /// Makes everything durable, ends the files that are full, and says where the sink stands.
    fn stand(&mut self, epoch: u64) -> Result<Position, IoError> {
        let mut growing = Vec::new();
        let mut at = 0;
        while let Some(open) = self.open.get_mut(at) {
            let failed = |e| self.sink.failed("write", &open.path, e);
            open.output.drain(&mut open.buffer).and_then(|()| open.output.end_frame()).map_err(failed)?;
            let len = open.output.raw().map_err(failed)?.len();
            let opened = open.opened;
            if self.is_full(len, opened) {
                // Another file takes its place.
                self.end(at)?;
                continue;
            }
            let Some(open) = self.open.get_mut(at) else { break };
            let failed = |e| self.sink.failed("make durable", &open.path, e);
            let raw = open.output.raw().map_err(failed)?;
            if open.dirty {
                raw.sync().map_err(failed)?;
                open.dirty = false;
            }
            let part = Part { dir: open.dir.to_string(), name: open.name.clone(), len, crc: raw.crc() };
            growing.push(Growing { part, opened });
            at += 1;
        }
        self.sink.sync_dirs(self.unsynced.iter().map(|d| &**d))?;
        self.unsynced.clear();
        if self.stage_changed {
            let stage = self.sink.stage();
            self.sink
                .medium
                .sync_dir(&stage)
                .map_err(|e| self.sink.failed("make durable the directory", &stage, e))?;
            self.stage_changed = false;
        }
        self.prepared.append(&mut self.ended);
        Ok(Standing { epoch, ended: self.prepared.clone(), growing }.encode())
    }

    /// Encodes rows that belong together.
    fn encode(&mut self, at: usize, batch: &[Arc<StreamRecord>], first: usize) -> Result<(), IoError> {
        let open = self.with_room(at)?;
        let encoded = open.encoder.encode(batch, &mut open.buffer);
        encoded.map_err(|(at, error)| IoError::rejected(first + at, error))
    }

    /// An open part; its buffer is written out if it is full.
    fn with_room(&mut self, at: usize) -> Result<&mut Open, IoError> {
        let limit = if self.row.is_fixed() { BUFFER_BYTES } else { SMALL_BUFFER_BYTES };
        let Some(open) = self.open.get_mut(at) else { return Err(IoError::data("there is no part")) };
        if open.buffer.len() >= limit {
            let drained = open.output.drain(&mut open.buffer);
            if open.buffer.is_empty() && open.buffer.capacity() > KEEP_BYTES {
                open.buffer = Vec::with_capacity(limit);
            }
            if let Err(e) = drained {
                let error = self.sink.failed("write", &open.path, e);
                return self.guard(Err(error));
            }
        }
        self.open.get_mut(at).ok_or_else(|| IoError::data("there is no part"))
    }

    fn write_by_row(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        // The run of rows in hand, and the file that they belong to.
        let mut run: Option<(usize, usize)> = None;
        for (i, record) in batch.iter().enumerate() {
            let clock = &self.clock;
            self.row.of(record, || clock.now_micros(), &mut self.dir);
            if let Some((first, at)) = run {
                if self.open.get(at).is_some_and(|o| *o.dir == *self.dir) {
                    continue;
                }
                // Before another file is begun, which may end this one.
                self.encode(at, batch.get(first..i).unwrap_or_default(), first)?;
            }
            let at = self.place();
            run = Some((i, self.guard(at)?));
        }
        match run {
            Some((first, at)) => self.encode(at, batch.get(first..).unwrap_or_default(), first),
            None => Ok(()),
        }
    }
}

impl DataWriter for PartsWriter {
    fn use_clock(&mut self, clock: &Clock) {
        self.clock = clock.clone();
    }

    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        self.check()?;
        if !self.row.is_fixed() {
            return self.write_by_row(batch);
        }
        let at = self.place();
        let at = self.guard(at)?;
        self.encode(at, batch, 0)
    }

    fn encoder(&self) -> Option<Box<dyn BatchEncoder>> {
        // Elsewhere the rows of a batch belong to several files.
        if !self.row.is_fixed() {
            return None;
        }
        (self.sink.encoder)(&self.schema).ok().and_then(|e| Forked::of(&*e))
    }

    fn write_encoded(&mut self, _: &[Arc<StreamRecord>], encoded: &[u8]) -> Result<(), IoError> {
        self.check()?;
        let at = self.place();
        let at = self.guard(at)?;
        self.with_room(at)?.buffer.extend_from_slice(encoded);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), IoError> {
        if self.sink.showing == Showing::WithCommit {
            // Nobody sees a part before its commit.
            return Ok(());
        }
        self.check()?;
        for at in 0..self.open.len() {
            let Some(open) = self.open.get_mut(at).filter(|o| o.dirty) else { continue };
            let flushed = open.output.drain(&mut open.buffer).and_then(|()| open.output.flush());
            let flushed = flushed.map_err(|e| self.sink.failed("write", &open.path, e));
            self.guard(flushed)?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<Position, IoError> {
        self.check()?;
        let standing = self.stand(self.epoch);
        let standing = self.guard(standing)?;
        (self.epoch, self.next) = (self.epoch + 1, 0);
        Ok(standing)
    }

    fn finish(&mut self) -> Result<(), IoError> {
        self.check()?;
        while !self.open.is_empty() {
            let ended = self.end(0);
            self.guard(ended)?;
        }
        Ok(())
    }

    fn begin(&mut self, epoch: u64) -> Result<(), IoError> {
        (self.epoch, self.next) = (epoch, 0);
        Ok(())
    }

    fn prepare(&mut self, epoch: u64) -> Result<Position, IoError> {
        self.check()?;
        let standing = self.stand(epoch);
        self.guard(standing)
    }

    fn commit(&mut self, _: u64) -> Result<(), IoError> {
        self.check()?;
        let ended = std::mem::take(&mut self.prepared);
        // On failure the names are looked after at the next start.
        let shown = ended.iter().try_for_each(|part| self.sink.show(part));
        let shown = shown.and_then(|()| self.sink.sync_dirs(ended.iter().map(|p| p.dir.as_str())));
        self.guard(shown)
    }

    fn abort(&mut self, _: u64) -> Result<(), IoError> {
        self.open.clear();
        self.places.clear();
        self.ended.clear();
        self.prepared.clear();
        self.sink.remove(self.sink.mine(&self.sink.stage())?.into_iter().map(|(_, p)| p))
    }
}
