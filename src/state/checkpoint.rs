//! The state directory of a job: one checkpoint file per epoch, the newest three kept, a lock, a finished mark.
//!
//! File: magic, version, header with length and CRC-32, sections each with length and CRC-32, total length and end mark.
//! Written to a temporary name, fsynced, renamed, directory fsynced: a file that has its final name is complete.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{StateError, StateReader, StateWriter};
use crate::record::Position;

const MAGIC: &[u8; 8] = b"MSCKPT\r\n";
const END: &[u8; 8] = b"MSCKEND\n";
const VERSION: u32 = 1;
const KEEP: usize = 3;
/// No checkpoint of a job without keyed state comes near this.
const MAX_FILE: u64 = 256 << 20;

/// Everything that a commit holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the job.
    pub job: String,
    /// Fingerprint of the plan.
    pub plan: u32,
    /// Version of the engine that wrote it.
    pub engine: String,
    /// Epoch, from 1.
    pub epoch: u64,
    /// The job has ended: running it again does nothing.
    pub finished: bool,
    /// Position of each source, by name.
    pub sources: Vec<(String, Position)>,
    /// Position of each sink, by name.
    pub sinks: Vec<(String, Position)>,
    /// State of each operator, by id.
    pub operators: Vec<(String, Vec<u8>)>,
}

impl Checkpoint {
    /// The position of a source.
    pub fn source(&self, name: &str) -> Option<&Position> {
        self.sources.iter().find(|(n, _)| n == name).map(|(_, p)| p)
    }
    /// The position of a sink.
    pub fn sink(&self, name: &str) -> Option<&Position> {
        self.sinks.iter().find(|(n, _)| n == name).map(|(_, p)| p)
    }
    /// The state of an operator.
    pub fn operator(&self, id: &str) -> Option<&[u8]> {
        self.operators.iter().find(|(n, _)| n == id).map(|(_, s)| s.as_slice())
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut header = StateWriter::new();
        header.bytes(self.job.as_bytes());
        header.u64(u64::from(self.plan));
        header.bytes(self.engine.as_bytes());
        header.u64(self.epoch);
        header.u64(u64::from(self.finished));
        for list in [&self.sources, &self.sinks] {
            header.u64(list.len() as u64);
            for (name, position) in list {
                header.bytes(name.as_bytes());
                header.bytes(position.bytes());
                header.bytes(position.to_string().as_bytes());
            }
        }
        header.u64(self.operators.len() as u64);
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        section(&header.into_bytes(), &mut out);
        for (id, state) in &self.operators {
            let mut s = StateWriter::new();
            s.bytes(id.as_bytes());
            s.bytes(state);
            section(&s.into_bytes(), &mut out);
        }
        let total = out.len() as u64 + 16;
        out.extend_from_slice(&total.to_le_bytes());
        out.extend_from_slice(END);
        out
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// If anything is cut off, changed, too long, or of a newer version.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let bad = |what: &str| StateError(format!("the checkpoint is damaged: {what}"));
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| bad("no magic number at its start"))?;
        let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(|| bad("it ends too early"))?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(StateError(format!(
                "the checkpoint has format version {version}; this program reads version {VERSION}"
            )));
        }
        let body = rest.strip_suffix(END).ok_or_else(|| bad("no end mark"))?;
        let (mut body, total) = body.split_last_chunk::<8>().ok_or_else(|| bad("it ends too early"))?;
        if u64::from_le_bytes(*total) != bytes.len() as u64 {
            return Err(bad("its length is not what it was"));
        }
        let header = take_section(&mut body).ok_or_else(|| bad("the header's checksum is wrong"))?;
        let mut r = StateReader::new(header);
        let mut checkpoint = Self {
            job: text(r.bytes()?),
            plan: r.u64()? as u32,
            engine: text(r.bytes()?),
            epoch: r.u64()?,
            finished: r.u64()? != 0,
            sources: positions(&mut r)?,
            sinks: positions(&mut r)?,
            operators: Vec::new(),
        };
        for _ in 0..r.u64()? {
            let section = take_section(&mut body).ok_or_else(|| bad("a section's checksum is wrong"))?;
            let mut s = StateReader::new(section);
            checkpoint.operators.push((text(s.bytes()?), s.bytes()?.to_vec()));
        }
        if !r.is_empty() || !body.is_empty() {
            return Err(bad("there is more in it than its header says"));
        }
        Ok(checkpoint)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn positions(r: &mut StateReader<'_>) -> Result<Vec<(String, Position)>, StateError> {
    let count = r.u64()?;
    let mut list = Vec::new();
    for _ in 0..count {
        let (name, bytes, display) = (r.bytes()?, r.bytes()?, r.bytes()?);
        list.push((text(name), Position::new(bytes, text(display))));
    }
    Ok(list)
}

fn section(content: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(content.len() as u64).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(content).to_le_bytes());
    out.extend_from_slice(content);
}

fn take_section<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = body.split_first_chunk::<8>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let content = rest.get(..length)?;
    *body = rest.get(length..)?;
    (crc32fast::hash(content) == u32::from_le_bytes(*crc)).then_some(content)
}

/// Why the state directory can't be used.
#[derive(Debug)]
pub enum StateDirError {
    /// Another instance holds it.
    Locked(String),
    /// Anything else.
    Failed(String),
}

/// A job's state directory, locked as long as this lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Opens (creates) `root/job` and locks it.
    ///
    /// # Errors
    /// If another process holds the lock, or the directory can't be made.
    pub fn open(root: &Path, job: &str) -> Result<Self, StateDirError> {
        let path = root.join(safe_name(job));
        let failed = |what: &str, e: std::io::Error| {
            StateDirError::Failed(format!("can't {what} {}: {e}", path.display()))
        };
        fs::create_dir_all(&path).map_err(|e| failed("create the state directory", e))?;
        let lock = File::create(path.join("LOCK")).map_err(|e| failed("create the lock in", e))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateDirError::Locked(format!(
                "another instance of job {job} is using {}",
                path.display()
            ))),
            Err(e) => Err(failed("lock", e.into())),
        }
    }

    /// The newest sound checkpoint. A damaged newest one falls back to the one before, with a warning.
    ///
    /// # Errors
    /// If there are checkpoints, but none can be read.
    pub fn load(&self) -> Result<Option<Checkpoint>, StateError> {
        let mut last_error = None;
        for (_, file) in self.files()?.into_iter().rev() {
            match read_bounded(&file).and_then(|bytes| Checkpoint::decode(&bytes)) {
                Ok(checkpoint) => {
                    if let Some(e) = last_error {
                        log::warn!("{e}; going on from epoch {}", checkpoint.epoch);
                    }
                    return Ok(Some(checkpoint));
                }
                Err(e) => last_error = Some(StateError(format!("{}: {e}", file.display()))),
            }
        }
        last_error.map_or(Ok(None), Err)
    }

    /// Writes a checkpoint durably and deletes old ones.
    ///
    /// # Errors
    /// If any step fails; the checkpoint then does not count.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<(), StateError> {
        let failed = |what: &str, e: std::io::Error| {
            StateError(format!("can't {what} a checkpoint in {}: {e}", self.path.display()))
        };
        let name = format!("epoch-{:020}.ckpt", checkpoint.epoch);
        let temporary = self.path.join(format!("{name}.tmp"));
        let mut file = File::create(&temporary).map_err(|e| failed("create", e))?;
        file.write_all(&checkpoint.encode()).map_err(|e| failed("write", e))?;
        file.sync_all().map_err(|e| failed("sync", e))?;
        fs::rename(&temporary, self.path.join(name)).map_err(|e| failed("rename", e))?;
        let directory = File::open(&self.path).map_err(|e| failed("open the directory of", e))?;
        directory.sync_all().map_err(|e| failed("sync the directory of", e))?;
        let files = self.files()?;
        for (_, old) in files.iter().rev().skip(KEEP) {
            // A file that stays behind is deleted after the next commit.
            let _ = fs::remove_file(old);
        }
        Ok(())
    }

    /// Checkpoint files by epoch, oldest first.
    fn files(&self) -> Result<Vec<(u64, PathBuf)>, StateError> {
        let failed = |e: std::io::Error| StateError(format!("can't list {}: {e}", self.path.display()));
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let epoch = path
                .file_name()
                .and_then(|n| n.to_str())
                .and_then(|n| n.strip_prefix("epoch-")?.strip_suffix(".ckpt")?.parse().ok());
            if let Some(epoch) = epoch {
                files.push((epoch, path));
            }
        }
        files.sort();
        Ok(files)
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, StateError> {
    let failed = |e: std::io::Error| StateError(format!("can't read it: {e}"));
    let file = match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(StateError("it is gone".into())),
        other => other.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// A job's name as a directory name: anything but letters, digits, `-`, `_` and `.` becomes `_`.
fn safe_name(job: &str) -> String {
    let name: String =
        job.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    if name.trim_matches('.').is_empty() { "job".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(epoch: u64) -> Checkpoint {
        Checkpoint {
            job: "flights".into(),
            plan: 7,
            engine: "0.1.0".into(),
            epoch,
            finished: false,
            sources: vec![("in".into(), Position::new([1, 2, 3], "byte 3"))],
            sinks: vec![("out".into(), Position::new([9], "9 bytes")), ("dlq".into(), Position::default())],
            operators: vec![("out/0.limit".into(), vec![5; 40])],
        }
    }

    #[test]
    fn round_trip_and_every_cut_and_every_flipped_bit_is_found() {
        let bytes = sample(1).encode();
        assert_eq!(Checkpoint::decode(&bytes), Ok(sample(1)));
        for cut in 0..bytes.len() {
            assert!(Checkpoint::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Checkpoint::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn three_are_kept_a_damaged_newest_falls_back_and_two_instances_exclude_each_other() {
        let root = tempfile::tempdir().unwrap();
        let dir = StateDir::open(root.path(), "a/b").unwrap();
        assert_eq!(dir.load().unwrap(), None);
        (1..=5).for_each(|e| dir.save(&sample(e)).unwrap());
        assert_eq!(dir.files().unwrap().iter().map(|f| f.0).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(dir.load().unwrap().unwrap().epoch, 5);
        fs::write(&dir.files().unwrap()[2].1, b"MSCKPT").unwrap();
        assert_eq!(dir.load().unwrap().unwrap().epoch, 4);
        assert!(matches!(StateDir::open(root.path(), "a/b"), Err(StateDirError::Locked(_))));
        drop(dir);
        assert!(StateDir::open(root.path(), "a/b").is_ok());
    }
}
