//! Follows files that grow, are rotated, truncated, and join a directory or pattern.
//!
//! All files are polled; one at a time is decoded, until it has nothing new. A line is given when its line feed is there.
//! - *Rotated* (its name now belongs to another file, or to none): the old file is read on for `rotate_wait`, then taken
//!   for complete, so that its last line counts without line feed too. Only then the new one is read, from its start.
//! - *Renamed* within the pattern: still the same file, known by its inode.
//! - *Truncated*: read again from its start, with a warning; a line that had come in part is rejected, so that it is on record.
//!   A file that was truncated and has outgrown its former length before the next poll can't be told from one that grew.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::compression::{Compression, read_error};
use super::input::{FileId, OpenInput};
use super::natural::{is_set, parent, resolve};
use super::position::{FilePosition, FileProgress};
use super::source::FileSourceConfig;
use super::stamp_topic;
use crate::codec::{Decoder, Input, Origin};
use crate::connector::decode_buffer::{DecodeBuffer, FILLS_A_CALL, Fill};
use crate::io::{Boundedness, DataReader, IoError, Read, Scan};
use crate::record::{BatchBuilder, ErrorCode, Position, RecordError, Reject, Schema};

/// Every followed file is kept open, since a rotated one has no name any more.
const MAX_FILES: usize = 512;
const START: Origin = Origin { offset: 0, line: 1 };

/// A followed file.
struct Tail {
    path: PathBuf,
    id: FileId,
    input: OpenInput,
    /// Where decoding goes on, unless it is the loaded one: then the buffer knows.
    at: Origin,
    /// Since when no name of ours leads to it.
    lost_since: Option<Duration>,
    /// It is complete: read to its end, then let it go.
    finishing: bool,
}

pub(crate) struct FollowReader {
    config: FileSourceConfig,
    schema: Arc<Schema>,
    wants_topic: bool,
    tails: Vec<Tail>,
    /// The tail whose bytes are in the buffer.
    loaded: Option<usize>,
    /// The tail to look at next.
    next: usize,
    buffer: DecodeBuffer,
    /// Bytes read of files that are gone or were truncated, so that positions only grow.
    finished: u64,
}

enum Pumped {
    /// `out` is full, or the call has gone on for long enough.
    Full,
    Drained,
    Gone,
}

impl FollowReader {
    pub(crate) fn open(
        config: FileSourceConfig,
        scan: &Scan,
        decoder: Box<dyn Decoder>,
    ) -> Result<Self, IoError> {
        let buffer = DecodeBuffer::new(decoder, config.max_record_bytes);
        let mut reader = Self {
            config,
            schema: scan.schema.clone(),
            wants_topic: scan.system.topic,
            tails: Vec::new(),
            loaded: None,
            next: 0,
            buffer,
            finished: 0,
        };
        if !is_set(&reader.config.path) {
            // A file that is not there is a typo rather than one that will come.
            resolve(&reader.config.path)?;
        }
        reader.scan()?;
        Ok(reader)
    }

    fn open_tail(&self, path: PathBuf, at: Origin) -> Result<Tail, IoError> {
        if self.config.compression_of(&path) != Compression::None {
            return Err(IoError::unsupported(format!(
                "'{}' is compressed: only plain files can be followed",
                path.display()
            )));
        }
        let input = OpenInput::open(&path, Compression::None)?;
        if input.is_pipe() {
            return Err(IoError::unsupported(format!(
                "'{}' is not a regular file: read it without follow, it ends with its last writer",
                path.display()
            )));
        }
        let (id, _) = input.id_and_len()?;
        Ok(Tail { path, id, input, at, lost_since: None, finishing: false })
    }

    /// Looks for new, renamed, lost and truncated files. Tells whether there may be something to read that was not.
    fn scan(&mut self) -> Result<bool, IoError> {
        let now = self.config.clock.monotonic();
        // None there at the moment; any other trouble shows when a file is opened.
        let paths = resolve(&self.config.path).unwrap_or_default();
        let mut seen = vec![false; self.tails.len()];
        let mut news = Vec::new();
        for path in paths {
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            let id = FileId::of(&meta);
            match self.tails.iter().position(|t| t.id == id) {
                Some(i) => {
                    seen.get_mut(i).into_iter().for_each(|s| *s = true);
                    self.tails.get_mut(i).into_iter().for_each(|t| t.path = path.clone());
                }
                None => news.push(path),
            }
        }
        let mut changed = !news.is_empty();
        for (tail, seen) in self.tails.iter_mut().zip(seen) {
            if seen {
                tail.lost_since = None;
                continue;
            }
            let since = *tail.lost_since.get_or_insert(now);
            if !tail.finishing && now.saturating_sub(since) >= self.config.rotate_wait {
                tail.finishing = true;
                changed = true;
            }
        }
        for path in news {
            if self.tails.len() == MAX_FILES {
                return Err(IoError::unsupported(format!(
                    "'{}' means more than {MAX_FILES} files: too many to follow",
                    self.config.path
                )));
            }
            self.tails.push(self.open_tail(path, START)?);
        }
        Ok(changed)
    }

    /// Whether tail `i` must wait: the file that had its name before is not finished.
    fn waits(&self, i: usize) -> bool {
        let Some(tail) = self.tails.get(i) else { return true };
        self.tails.iter().take(i).any(|t| t.lost_since.is_some() && t.path == tail.path)
    }

    fn load(&mut self, i: usize) -> Result<(), IoError> {
        if self.loaded == Some(i) {
            return Ok(());
        }
        self.unload();
        if let Some(tail) = self.tails.get_mut(i) {
            let head = tail.input.seek(tail.at.offset)?;
            self.buffer.restart(tail.at, &head);
            self.loaded = Some(i);
        }
        Ok(())
    }

    /// Drops what is in the buffer beyond the last record; it is read again later.
    fn unload(&mut self) {
        if let Some(tail) = self.loaded.take().and_then(|i| self.tails.get_mut(i)) {
            tail.at = self.buffer.resume_at();
        }
    }

    /// Reads what tail `i` has.
    fn pump(&mut self, i: usize, out: &mut BatchBuilder) -> Result<Pumped, IoError> {
        self.start_over_if_truncated(i, out)?;
        self.load(i)?;
        let mut fills = 0;
        loop {
            if self.decode(i, Input::Partial, out)? {
                return Ok(Pumped::Full);
            }
            let Some(tail) = self.tails.get_mut(i) else { return Ok(Pumped::Drained) };
            match self.buffer.fill(&mut tail.input).map_err(|e| read_error(tail.input.name(), e))? {
                Fill::Bytes(_) if fills == FILLS_A_CALL => return Ok(Pumped::Full),
                Fill::Bytes(_) => fills += 1,
                Fill::Eof | Fill::WouldBlock if tail.finishing => break,
                Fill::Eof | Fill::WouldBlock => return Ok(Pumped::Drained),
            }
        }
        if self.decode(i, Input::Complete, out)? {
            return Ok(Pumped::Full);
        }
        self.let_go(i);
        Ok(Pumped::Gone)
    }

    /// Decodes what is in the buffer; tells whether `out` is full.
    fn decode(&mut self, i: usize, input: Input, out: &mut BatchBuilder) -> Result<bool, IoError> {
        let first = out.len();
        let name: Option<Arc<str>> = self.tails.get(i).map(|t| t.path.to_string_lossy().into());
        out.set_origin(name.clone());
        let full = self.buffer.decode(input, out).is_break();
        let (Some(tail), Some(name)) = (self.tails.get(i), name) else { return Ok(full) };
        if self.wants_topic {
            stamp_topic(&name, first, out);
        }
        match self.buffer.failure() {
            Some(why) => Err(IoError::data(format!("{}: {why}", tail.input.name()))),
            None => Ok(full),
        }
    }

    fn let_go(&mut self, i: usize) {
        self.finished += self.buffer.read_offset() + 1;
        self.loaded = None;
        let tail = self.tails.remove(i);
        log::info!("'{}' was rotated or removed: its rest has been read", tail.path.display());
    }

    fn start_over_if_truncated(&mut self, i: usize, out: &mut BatchBuilder) -> Result<(), IoError> {
        let is_loaded = self.loaded == Some(i);
        let Some(tail) = self.tails.get_mut(i) else { return Ok(()) };
        let read = if is_loaded { self.buffer.read_offset() } else { tail.at.offset };
        let (_, len) = tail.input.id_and_len()?;
        if len >= read {
            return Ok(());
        }
        log::warn!(
            "{} was truncated from {read} to {len} bytes: reading it again from its start",
            tail.input.name()
        );
        if is_loaded {
            let at = self.buffer.resume_at();
            if at.offset < read {
                out.reject(cut_line(self.buffer.pending(), at, read - at.offset));
            }
            self.loaded = None;
        }
        self.finished += read + 1;
        tail.at = START;
        Ok(())
    }

    /// Reads all tails once around, or until `out` is full; tells whether it came round.
    fn round(&mut self, out: &mut BatchBuilder) -> Result<bool, IoError> {
        let mut left = self.tails.len();
        while left > 0 && !self.tails.is_empty() {
            self.next %= self.tails.len();
            if !self.waits(self.next) {
                match self.pump(self.next, out)? {
                    Pumped::Full => return Ok(false),
                    // The one behind it has moved up, and its successor need not wait any more.
                    Pumped::Gone => {
                        left = self.tails.len();
                        continue;
                    }
                    Pumped::Drained => {}
                }
            }
            left -= 1;
            self.next += 1;
        }
        Ok(true)
    }

    /// Finds the file of a stored position, also under another name in its directory.
    fn find_again(&self, stored: &FileProgress) -> Option<PathBuf> {
        let is_it = |p: &Path| std::fs::metadata(p).is_ok_and(|m| m.is_file() && FileId::of(&m) == stored.id);
        if is_it(&stored.path) {
            return Some(stored.path.clone());
        }
        let entries = std::fs::read_dir(parent(&stored.path)).ok()?;
        entries.filter_map(|e| e.ok().map(|e| e.path())).find(|p| is_it(p))
    }
}

/// A line whose rest was truncated away.
fn cut_line(bytes: &[u8], at: Origin, raw_len: u64) -> Reject {
    const KEPT: usize = 1024;
    let error = RecordError::new(ErrorCode::Malformed, "the file was truncated in the middle of this line");
    let raw = bytes.get(..KEPT.min(bytes.len())).unwrap_or(bytes).to_vec();
    Reject { at: 0, offset: at.offset as i64, line: Some(at.line), raw, raw_len, error }
}

impl DataReader for FollowReader {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }

    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        let mut waited = false;
        loop {
            let result = match self.round(out) {
                Ok(true) if out.is_empty() => self.scan(),
                Ok(_) => return Ok(Read::More),
                Err(e) => Err(e),
            };
            match result {
                Ok(true) => {}
                Ok(false) if waited || out.max_wait().is_zero() => return Ok(Read::Idle),
                Ok(false) => {
                    std::thread::park_timeout(out.max_wait().min(self.config.poll_interval));
                    waited = true;
                }
                // What was decoded before it counts; the next call meets the error again.
                Err(_) if !out.is_empty() => return Ok(Read::More),
                Err(e) => return Err(e),
            }
        }
    }

    fn position(&self) -> Position {
        let progress = |(i, tail): (usize, &Tail)| {
            let at = if self.loaded == Some(i) { self.buffer.resume_at() } else { tail.at };
            FileProgress { path: tail.path.clone(), id: tail.id, at }
        };
        let files: Vec<FileProgress> = self.tails.iter().enumerate().map(progress).collect();
        let total = self.finished + files.iter().map(|f| f.at.offset).sum::<u64>();
        FilePosition { total, index: 0, files }.encode()
    }

    fn seek(&mut self, position: &Position) -> Result<(), IoError> {
        if position.is_start() {
            return Ok(());
        }
        let stored = FilePosition::decode(position)?;
        self.loaded = None;
        let mut tails = Vec::new();
        let mut known = 0;
        for file in &stored.files {
            known += file.at.offset;
            let Some(path) = self.find_again(file) else {
                if file.at.offset > 0 {
                    log::error!(
                        "'{}' is gone: what was added to it after byte {} and before it was removed is lost",
                        file.path.display(),
                        file.at.offset
                    );
                }
                continue;
            };
            let mut tail = self.open_tail(path, file.at)?;
            // Under its old name until the next scan, so that its successor waits.
            tail.path.clone_from(&file.path);
            tails.push(tail);
        }
        let fresh: Vec<Tail> =
            self.tails.drain(..).filter(|t| tails.iter().all(|known| known.id != t.id)).collect();
        tails.extend(fresh);
        self.tails = tails;
        self.next = 0;
        self.finished = stored.total.saturating_sub(known);
        self.scan().map(drop)
    }
}
