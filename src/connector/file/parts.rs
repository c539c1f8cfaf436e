//! A directory of part files for transactional jobs: each appears whole, when its epoch is committed, or not at all.
//!
//! A part is written to `.stage/part-<job>-<epoch>-<n>.<ext>.tmp`, synced with its name, and – after the commit – renamed into the
//! directory, whose names are then synced. The position of the sink after an epoch lists the files that were staged for it, with
//! length and checksum: what a restart finds staged and committed it renames, and what it finds staged otherwise it deletes.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compression::Compression;
use super::natural::parent;
use super::output::{Output, RawFile};
use super::sink::FileMode;
use crate::codec::Encoder;
use crate::connector::MakeEncoder;
use crate::io::{DataSink, DataWriter, IoError, SinkStart, Transactions};
use crate::record::{Position, Schema, StreamRecord};
use crate::state::{Medium, StateError, StateReader, StateWriter};

/// Bytes that are collected before they are written.
const BUFFER_BYTES: usize = 256 << 10;
/// Where parts are written; readers of the directory leave names with a dot alone.
const STAGE: &str = ".stage";
/// Longer than any part can be.
const MAX_PART: u64 = 1 << 40;

/// A directory that a job writes parts into.
#[derive(Clone)]
pub struct PartsSink {
    pub(crate) dir: PathBuf,
    pub(crate) job: String,
    pub(crate) mode: FileMode,
    pub(crate) compression: Compression,
    /// With its dot; empty if the format has none.
    pub(crate) extension: String,
    pub(crate) encoder: MakeEncoder,
    pub(crate) medium: Arc<dyn Medium>,
}

/// A file that was staged.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    name: String,
    len: u64,
    crc: u32,
}

/// The files of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Staged {
    epoch: u64,
    parts: Vec<Part>,
}

impl Staged {
    fn encode(&self) -> Position {
        let mut to = StateWriter::new();
        to.u64(self.epoch);
        to.u64(self.parts.len() as u64);
        for part in &self.parts {
            to.bytes(part.name.as_bytes());
            to.u64(part.len);
            to.u64(u64::from(part.crc));
        }
        let names: Vec<String> = self.parts.iter().map(|p| format!("{} ({} bytes)", p.name, p.len)).collect();
        let display = if names.is_empty() { "no file".to_owned() } else { names.join(", ") };
        Position::new(to.into_bytes(), format!("epoch {}: {display}", self.epoch))
    }

    fn decode(position: &Position) -> Result<Self, StateError> {
        let mut from = StateReader::new(position.bytes());
        let mut staged = Self { epoch: from.u64()?, parts: Vec::new() };
        for _ in 0..from.u64()? {
            let name = String::from_utf8_lossy(from.bytes()?).into_owned();
            if name.contains('/') || !name.starts_with("part-") {
                return Err(StateError(format!("'{name}' is no name of a part")));
            }
            staged.parts.push(Part { name, len: from.u64()?, crc: from.u64()? as u32 });
        }
        match from.is_empty() {
            true => Ok(staged),
            false => Err(StateError("there is more than its parts".into())),
        }
    }
}

impl PartsSink {
    fn stage(&self) -> PathBuf {
        self.dir.join(STAGE)
    }
    fn staged_path(&self, name: &str) -> PathBuf {
        self.stage().join(format!("{name}.tmp"))
    }
    fn failed(&self, what: &str, path: &Path, e: std::io::Error) -> IoError {
        IoError::os(format!("can't {what} '{}'", path.display()), e)
    }

    /// The epoch of a part of this job.
    fn epoch_of(&self, path: &Path) -> Option<u64> {
        let rest = path.file_name()?.to_str()?.strip_prefix("part-")?.strip_prefix(self.job.as_str())?;
        let (epoch, rest) = rest.strip_prefix('-')?.split_once('-')?;
        rest.starts_with(|c: char| c.is_ascii_digit()).then(|| epoch.parse().ok())?
    }

    /// This job's files in a directory, with their epochs.
    fn mine(&self, dir: &Path) -> Result<Vec<(u64, PathBuf)>, IoError> {
        let names = self.medium.list(dir).map_err(|e| self.failed("list", dir, e))?;
        Ok(names.into_iter().filter_map(|p| Some((self.epoch_of(&p)?, p))).collect())
    }

    fn remove(&self, files: impl IntoIterator<Item = PathBuf>) -> Result<(), IoError> {
        files.into_iter().try_for_each(|p| self.medium.remove(&p).map_err(|e| self.failed("remove", &p, e)))
    }

    fn prepare_directories(&self) -> Result<(), IoError> {
        let stage = self.stage();
        if self.dir.is_file() {
            return Err(IoError::config(format!(
                "'{}' is a file, but a transactional job writes part files into a directory of that name; layout = 'single' \
                 writes one file",
                self.dir.display()
            )));
        }
        self.medium.create_dir(&stage).map_err(|e| self.failed("create the directory", &stage, e))?;
        for dir in [self.dir.as_path(), parent(&self.dir)] {
            self.medium.sync_dir(dir).map_err(|e| self.failed("make durable the directory", dir, e))?;
        }
        match self.medium.same_filesystem(&self.dir, &stage) {
            Ok(true) => Ok(()),
            Ok(false) => Err(IoError::config(format!(
                "'{}' is on another file system than '{}', so parts can't be renamed into place",
                stage.display(),
                self.dir.display()
            ))),
            Err(e) => Err(self.failed("look at", &stage, e)),
        }
    }

    /// The job starts for the first time.
    fn start_fresh(&self) -> Result<(), IoError> {
        let old = self.mine(&self.dir)?;
        if self.mode == FileMode::Append
            && let Some((_, one)) = old.first()
        {
            return Err(IoError::config(format!(
                "'{}' is there from a run of job {} whose state is gone: its parts would be mixed up; use another job_name, or \
                 mode = 'overwrite'",
                one.display(),
                self.job
            )));
        }
        self.remove(old.into_iter().map(|(_, p)| p))?;
        self.remove(self.mine(&self.stage())?.into_iter().map(|(_, p)| p))
    }

    /// Gives the parts of the last commit their names, unless they have them, and deletes what was never committed.
    fn roll_forward(&self, staged: &Staged, published: bool) -> Result<(), IoError> {
        for (epoch, part) in self.mine(&self.dir)? {
            if epoch > staged.epoch {
                return Err(IoError::data(format!(
                    "'{}' was written after the last commit (epoch {}): the state directory is older than the output; restore \
                     the newer state, or remove the parts that came after it",
                    part.display(),
                    staged.epoch
                )));
            }
        }
        let mut renamed = false;
        for part in &staged.parts {
            let (from, to) = (self.staged_path(&part.name), self.dir.join(&part.name));
            match self.medium.len(&to) {
                Ok(len) if len == part.len => continue,
                Ok(len) => {
                    return Err(IoError::data(format!(
                        "'{}' has {len} bytes, but {} were committed",
                        to.display(),
                        part.len
                    )));
                }
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(self.failed("look at", &to, e)),
            }
            match self.medium.read(&from, MAX_PART) {
                Ok(bytes) => {
                    if bytes.len() as u64 != part.len || crc32fast::hash(&bytes) != part.crc {
                        return Err(IoError::data(format!(
                            "'{}' is not what was committed: its length or checksum is another",
                            from.display()
                        )));
                    }
                    self.medium.rename(&from, &to).map_err(|e| self.failed("rename", &from, e))?;
                    renamed = true;
                }
                // It had its name; whoever reads the parts has moved it away.
                Err(e) if e.kind() == ErrorKind::NotFound && published => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    return Err(IoError::data(format!(
                        "'{}' was committed with epoch {} and is gone, and it is not staged either: its rows are lost",
                        to.display(),
                        staged.epoch
                    )));
                }
                Err(e) => return Err(self.failed("read", &from, e)),
            }
        }
        if renamed {
            self.medium.sync_dir(&self.dir).map_err(|e| self.failed("make durable", &self.dir, e))?;
        }
        self.remove(self.mine(&self.stage())?.into_iter().map(|(_, p)| p))
    }
}

impl DataSink for PartsSink {
    fn open(&self, schema: Arc<Schema>, start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        self.compression.check_built()?;
        let _ = (self.encoder)(&schema)?;
        self.prepare_directories()?;
        match start {
            SinkStart::Fresh => self.start_fresh()?,
            // What was committed has its names; what is staged beyond it never was.
            SinkStart::Resume(position) => self.resume(position, true)?,
        }
        Ok(Box::new(PartsWriter {
            sink: self.clone(),
            schema,
            epoch: 0,
            current: None,
            prepared: Vec::new(),
            broken: false,
        }))
    }
    fn can_resume(&self) -> bool {
        true
    }
    fn transactions(&self) -> Transactions {
        Transactions::Staged
    }
    fn recover(&self, position: &Position, published: bool) -> Result<(), IoError> {
        self.prepare_directories()?;
        self.resume(position, published)
    }
    fn files(&self) -> Vec<PathBuf> {
        vec![self.dir.clone()]
    }
}

impl PartsSink {
    fn resume(&self, position: &Position, published: bool) -> Result<(), IoError> {
        let staged = Staged::decode(position)
            .map_err(|e| IoError::data(format!("the stored position is not that of part files: {e}")))?;
        self.roll_forward(&staged, published)
    }
}

/// A part that is being written.
struct Open {
    name: String,
    output: Output,
    encoder: Box<dyn Encoder>,
    buffer: Vec<u8>,
}

struct PartsWriter {
    sink: PartsSink,
    schema: Arc<Schema>,
    /// The epoch that is being written.
    epoch: u64,
    current: Option<Open>,
    /// Staged and not yet renamed.
    prepared: Vec<Part>,
    /// An fsync or write failed: nothing more can be promised.
    broken: bool,
}

impl PartsWriter {
    fn check(&self) -> Result<(), IoError> {
        match self.broken {
            true => Err(IoError::data(format!(
                "the parts of '{}' are unusable: an earlier write or fsync failed",
                self.sink.dir.display()
            ))),
            false => Ok(()),
        }
    }

    fn open_part(&mut self) -> Result<&mut Open, IoError> {
        if self.current.is_none() {
            let sink = &self.sink;
            let name = format!("part-{}-{:08}-0{}", sink.job, self.epoch, sink.extension);
            let path = sink.staged_path(&name);
            let file = sink.medium.create(&path).map_err(|e| sink.failed("create", &path, e))?;
            let mut encoder = (sink.encoder)(&self.schema)?;
            let mut buffer = Vec::with_capacity(BUFFER_BYTES);
            encoder.start(&mut buffer);
            let output = Output::Plain(RawFile::on_medium(file), sink.compression);
            self.current = Some(Open { name, output, encoder, buffer });
        }
        self.current.as_mut().ok_or_else(|| IoError::data("there is no part"))
    }

    /// Ends the part and makes it durable under its staged name.
    fn close(&self, mut open: Open) -> std::io::Result<Part> {
        open.encoder.finish(&mut open.buffer);
        open.output.drain(&mut open.buffer)?;
        open.output.end_frame()?;
        let raw = open.output.raw()?;
        raw.sync()?;
        Ok(Part { name: open.name, len: raw.len(), crc: raw.crc() })
    }
}

impl DataWriter for PartsWriter {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        self.check()?;
        let dir = self.sink.dir.clone();
        let open = self.open_part()?;
        if open.buffer.len() >= BUFFER_BYTES
            && let Err(e) = open.output.drain(&mut open.buffer)
        {
            self.broken = true;
            return Err(IoError::os(format!("can't write a part of '{}'", dir.display()), e));
        }
        open.encoder.encode(batch, &mut open.buffer).map_err(|(at, error)| IoError::rejected(at, error))
    }

    fn flush(&mut self) -> Result<(), IoError> {
        // Nobody sees a part before its commit.
        Ok(())
    }

    fn begin(&mut self, epoch: u64) -> Result<(), IoError> {
        self.epoch = epoch;
        Ok(())
    }

    fn prepare(&mut self, epoch: u64) -> Result<Position, IoError> {
        self.check()?;
        if let Some(open) = self.current.take() {
            let path = self.sink.staged_path(&open.name);
            let stage = self.sink.stage();
            let part = self.close(open).and_then(|part| self.sink.medium.sync_dir(&stage).map(|()| part));
            match part {
                Ok(part) => self.prepared.push(part),
                Err(e) => {
                    self.broken = true;
                    return Err(self.sink.failed("make durable", &path, e));
                }
            }
        }
        Ok(Staged { epoch, parts: self.prepared.clone() }.encode())
    }

    fn commit(&mut self, _: u64) -> Result<(), IoError> {
        self.check()?;
        if self.prepared.is_empty() {
            return Ok(());
        }
        // On failure the names are looked after at the next start.
        self.broken = true;
        for part in std::mem::take(&mut self.prepared) {
            let (from, to) = (self.sink.staged_path(&part.name), self.sink.dir.join(&part.name));
            self.sink.medium.rename(&from, &to).map_err(|e| self.sink.failed("rename", &from, e))?;
        }
        let dir = &self.sink.dir;
        self.sink.medium.sync_dir(dir).map_err(|e| self.sink.failed("make durable", dir, e))?;
        self.broken = false;
        Ok(())
    }

    fn abort(&mut self, _: u64) -> Result<(), IoError> {
        self.current = None;
        self.prepared.clear();
        self.sink.remove(self.sink.mine(&self.sink.stage())?.into_iter().map(|(_, p)| p))
    }
}
