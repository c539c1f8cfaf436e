//! The state directory of a job: one checkpoint file per epoch, the newest three kept with those that they build on, and a lock.
//!
//! A checkpoint is written to a temporary name, fsynced, renamed, and its directory fsynced: a file that has its final name is
//! complete. A chain of files that has become long is cut by writing an epoch's file anew with everything, under its old name: it
//! says the same as before, so that a crash on the way does no harm.

use crate::record::sorted;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::chain::{Chain, Incomplete, Link, complete, measure, walk};
use super::{
    Checkpoint, CheckpointWriter, FileId, Manifest, Medium, MediumFile, Piece, StateError, create_dir_durably,
};

/// Checkpoints that stay.
pub(super) const KEEP: usize = 3;
/// A bound against files that are none of ours; a sound one is checked piece by piece.
pub(super) const MAX_FILE: u64 = 64 << 30;
/// The header of a file and what is before it.
const MAX_HEADER: u64 = 64 << 10;
/// So many files with changes make a chain long.
const LONG: usize = 48;

/// Why the state directory can't be used.
#[derive(Debug)]
pub enum StateDirError {
    /// Another instance holds it.
    Locked(String),
    /// Anything else.
    Failed(String),
}

/// A job's state directory, locked as long as this lives.
pub struct StateDir {
    path: PathBuf,
    medium: Arc<dyn Medium>,
    links: Mutex<Links>,
    _lock: Box<dyn Any + Send + Sync>,
}

/// How the files build on each other.
#[derive(Debug, Default)]
struct Links {
    known: BTreeMap<u64, Link>,
    /// The epoch whose file is being written anew: until that is done no file is deleted.
    compacting: Option<u64>,
}

impl std::fmt::Debug for StateDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateDir").field("path", &self.path).finish_non_exhaustive()
    }
}

impl StateDir {
    /// Opens (creates) `root/job` and locks it.
    ///
    /// # Errors
    /// If another process holds the lock, or the directory can't be made.
    pub fn open(medium: Arc<dyn Medium>, root: &Path, job: &str) -> Result<Self, StateDirError> {
        let path = root.join(safe_name(job));
        let failed = |what: &str, e: std::io::Error| {
            StateDirError::Failed(format!("can't {what} {}: {e}", path.display()))
        };
        create_dir_durably(&*medium, &path).map_err(|e| failed("create the state directory", e))?;
        match medium.lock(&path.join("LOCK")).map_err(|e| failed("lock", e))? {
            Some(lock) => {
                let files = medium.list(&path).map_err(|e| failed("list", e))?;
                for stray in files.iter().filter(|f| f.extension().is_some_and(|e| e == "tmp")) {
                    // What a crash left of a checkpoint; one that stays is written anew.
                    let _ = medium.remove(stray);
                }
                Ok(Self { path, medium, links: Mutex::default(), _lock: lock })
            }
            None => Err(StateDirError::Locked(format!(
                "another instance of job {job} is using {}",
                path.display()
            ))),
        }
    }

    /// The job's own directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The newest sound checkpoint. A damaged newest one falls back to the one before, with a warning.
    ///
    /// # Errors
    /// If there are checkpoints, but none is sound; if the disk can't give one: it may be sound for all we know.
    pub fn load(&self) -> Result<Option<Checkpoint>, StateError> {
        let mut last_error = None;
        for (_, file) in checkpoint_files(&*self.medium, &self.path)?.into_iter().rev() {
            let bytes = read_file(&*self.medium, &file)?;
            let alone = Checkpoint::decode(&bytes).map_err(Incomplete::Broken);
            match alone.and_then(|c| complete(&*self.medium, &self.path, c)) {
                Ok(checkpoint) => {
                    if let Some(e) = last_error {
                        log::warn!("{e}; going on from epoch {}", checkpoint.epoch);
                    }
                    return Ok(Some(checkpoint));
                }
                Err(Incomplete::Unread(e)) => return Err(e),
                Err(Incomplete::Broken(e)) => {
                    last_error = Some(StateError(format!("{}: {e}", file.display())));
                }
            }
        }
        last_error.map_or(Ok(None), Err)
    }

    /// The checkpoint of an epoch, and no other.
    ///
    /// # Errors
    /// If it is not there, can't be read, or is damaged.
    pub fn load_epoch(&self, epoch: u64) -> Result<Checkpoint, StateError> {
        read_checkpoint(&*self.medium, &self.path.join(file_name(epoch)))
    }

    /// The newest epoch that has a checkpoint file, sound or not.
    ///
    /// # Errors
    /// If the directory can't be listed.
    pub fn newest(&self) -> Result<Option<u64>, StateError> {
        Ok(checkpoint_files(&*self.medium, &self.path)?.last().map(|(epoch, _)| *epoch))
    }

    /// Whether a transactional job has committed here.
    pub fn has_manifest(&self) -> bool {
        self.medium.len(&self.path.join("MANIFEST")).is_ok()
    }

    /// Opens the MANIFEST of a transactional job.
    ///
    /// # Errors
    /// As [`Manifest::open`].
    pub fn manifest(&self) -> Result<Manifest, StateError> {
        Manifest::open(self.medium.clone(), &self.path)
    }

    /// Writes a checkpoint durably and deletes old ones.
    ///
    /// # Errors
    /// If any step fails; the checkpoint then does not count.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<Saved, StateError> {
        let mut snapshot = self.begin(checkpoint)?;
        for (operator, state) in (0..).zip(&checkpoint.operators) {
            for table in &state.tables {
                for bytes in &table.pieces {
                    let piece = Piece { operator, table: table.id, bytes: bytes.clone() };
                    snapshot.put(&piece)?;
                }
            }
        }
        self.finish(snapshot, checkpoint)
    }

    /// Begins the file of a checkpoint: with what is known at its barrier.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn begin(&self, checkpoint: &Checkpoint) -> Result<Snapshot, StateError> {
        let temporary = self.path.join(format!("{}.tmp", file_name(checkpoint.epoch)));
        let file = self.medium.create(&temporary).map_err(|e| self.failed("create", &e))?;
        let file = BufWriter::with_capacity(1 << 16, file);
        let file = CheckpointWriter::begin(file, checkpoint).map_err(|e| self.failed("write", &e))?;
        Ok(Snapshot { file, temporary, before: checkpoint.before })
    }

    /// Ends the file, makes it durable, gives it its name, and deletes old ones. From then on the checkpoint counts.
    ///
    /// # Errors
    /// If any step fails; the checkpoint then does not count.
    pub fn finish(&self, snapshot: Snapshot, checkpoint: &Checkpoint) -> Result<Saved, StateError> {
        let Snapshot { file, temporary, before } = snapshot;
        let (mut target, bytes, id) = file.end(checkpoint).map_err(|e| self.failed("write", &e))?;
        target.flush().map_err(|e| self.failed("write", &e))?;
        target.get_mut().sync().map_err(|e| self.failed("sync", &e))?;
        drop(target);
        let file = FileId { epoch: checkpoint.epoch, id };
        let path = self.path.join(file_name(checkpoint.epoch));
        self.medium.rename(&temporary, &path).map_err(|e| self.failed("rename", &e))?;
        let link = Link { before: before.map(|b| b.epoch), bytes };
        let chain = {
            let mut links = self.links.lock();
            links.known.insert(checkpoint.epoch, link);
            measure(&links.known, checkpoint.epoch)
        };
        let saved = Saved { file, bytes, chain };
        #[cfg(seeded_bugs)]
        if crate::record::seeded::is(crate::record::seeded::Bug::NoDirectorySync) {
            return Ok(saved);
        }
        self.medium.sync_dir(&self.path).map_err(|e| self.failed("sync the directory of", &e))?;
        if self.links.lock().compacting.is_none() {
            self.delete_old()?;
        }
        Ok(saved)
    }

    /// Deletes what none of the newest epochs needs. A file that stays behind is deleted another time.
    fn delete_old(&self) -> Result<(), StateError> {
        let files = checkpoint_files(&*self.medium, &self.path)?;
        let mut links = self.links.lock();
        for (epoch, file) in &files {
            if !links.known.contains_key(epoch) {
                // As long as it is not known what a file builds on, everything stays.
                let Ok(link) = read_link(&*self.medium, file) else { return Ok(()) };
                links.known.insert(*epoch, link);
            }
        }
        let newest = files.iter().rev().take(KEEP);
        let needed: BTreeSet<u64> =
            newest.flat_map(|(epoch, _)| walk(&links.known, *epoch).map(|(e, _)| e)).collect();
        links.known.retain(|epoch, _| needed.contains(epoch));
        drop(links);
        for (_, old) in files.iter().filter(|(epoch, _)| !needed.contains(epoch)) {
            let _ = self.medium.remove(old);
        }
        Ok(())
    }

    /// The epoch whose file should be written anew with everything, as the chain has become long: the oldest that stays. Whoever
    /// asks has to [`compact`](Self::compact) it; until then no file is deleted.
    pub fn take_long(&self, saved: &Saved) -> Option<u64> {
        let Chain { changes, change_bytes, base_bytes } = saved.chain;
        let long = changes >= LONG || changes > KEEP && change_bytes > base_bytes / 2;
        let mut links = self.links.lock();
        if !long || links.compacting.is_some() {
            return None;
        }
        let (epoch, link) = walk(&links.known, saved.file.epoch).nth(KEEP - 1)?;
        link.before?;
        links.compacting = Some(epoch);
        Some(epoch)
    }

    /// Writes the file of an epoch anew with everything, and deletes those that are then no longer needed.
    ///
    /// # Errors
    /// If that fails; the old files stay, and everything is as it was.
    pub fn compact(&self, epoch: u64) -> Result<(), StateError> {
        let done = self.rewrite(epoch);
        let deleted = match &done {
            Ok(()) => self.delete_old(),
            Err(_) => Ok(()),
        };
        self.links.lock().compacting = None;
        done.and(deleted)
    }

    fn rewrite(&self, epoch: u64) -> Result<(), StateError> {
        let mut checkpoint = self.load_epoch(epoch)?;
        checkpoint.before = None;
        let failed = |what: &str, e: io::Error| {
            StateError(format!("can't {what} the compacted checkpoint in {}: {e}", self.path.display()))
        };
        let name = file_name(epoch);
        let temporary = self.path.join(format!("{name}.whole.tmp"));
        let file = self.medium.create(&temporary).map_err(|e| failed("create", e))?;
        let mut file = BufWriter::with_capacity(1 << 16, file);
        let (bytes, _) = checkpoint.write(&mut file).map_err(|e| failed("write", e))?;
        file.flush().map_err(|e| failed("write", e))?;
        file.get_mut().sync().map_err(|e| failed("sync", e))?;
        drop(file);
        self.medium.rename(&temporary, &self.path.join(name)).map_err(|e| failed("rename", e))?;
        self.medium.sync_dir(&self.path).map_err(|e| failed("sync the directory of", e))?;
        self.links.lock().known.insert(epoch, Link { before: None, bytes });
        Ok(())
    }

    fn failed(&self, what: &str, e: &io::Error) -> StateError {
        StateError(format!("can't {what} a checkpoint in {}: {e}", self.path.display()))
    }
}

/// The file of a checkpoint that is being written. Dropped before it is finished it leaves a file that counts for nothing.
pub struct Snapshot {
    file: CheckpointWriter<BufWriter<Box<dyn MediumFile>>>,
    temporary: PathBuf,
    before: Option<FileId>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("temporary", &self.temporary).finish_non_exhaustive()
    }
}

impl Snapshot {
    /// Writes groups of a table.
    ///
    /// # Errors
    /// If that fails; the checkpoint then can't be finished.
    pub fn put(&mut self, piece: &Piece) -> Result<(), StateError> {
        let failed = |e| StateError(format!("can't write {}: {e}", self.temporary.display()));
        self.file.piece(piece).map_err(failed)
    }
}

/// A checkpoint that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Its file.
    pub file: FileId,
    /// Its length.
    pub bytes: u64,
    /// The files that it builds on.
    pub chain: Chain,
}

pub(super) fn file_name(epoch: u64) -> String {
    format!("epoch-{epoch:020}.ckpt")
}

/// Checkpoint files of a job's directory by epoch, oldest first.
///
/// # Errors
/// If the directory can't be listed.
pub fn checkpoint_files(medium: &dyn Medium, dir: &Path) -> Result<Vec<(u64, PathBuf)>, StateError> {
    let names = medium.list(dir).map_err(|e| StateError(format!("can't list {}: {e}", dir.display())))?;
    let epoch = |path: &PathBuf| {
        path.file_name()?.to_str()?.strip_prefix("epoch-")?.strip_suffix(".ckpt")?.parse::<u64>().ok()
    };
    let mut files: Vec<_> = names.into_iter().filter_map(|path| Some((epoch(&path)?, path))).collect();
    sorted::sort_by(&mut files, Ord::cmp);
    Ok(files)
}

/// Reads the checkpoint of a file, and what it builds on from the files beside it.
///
/// # Errors
/// If one can't be read or is damaged; names it.
pub fn read_checkpoint(medium: &dyn Medium, file: &Path) -> Result<Checkpoint, StateError> {
    let checkpoint = read_alone(medium, file)?;
    let dir = file.parent().unwrap_or(Path::new("."));
    complete(medium, dir, checkpoint)
        .map_err(|e| StateError(format!("{}: {}", file.display(), e.into_error())))
}

/// Reads what is in a checkpoint file, perhaps only changes.
///
/// # Errors
/// If it can't be read or is damaged; names it.
pub fn read_alone(medium: &dyn Medium, file: &Path) -> Result<Checkpoint, StateError> {
    let bytes = read_file(medium, file)?;
    Checkpoint::decode(&bytes).map_err(|e| StateError(format!("{}: {e}", file.display())))
}

/// What a file that another run has written builds on. A damaged one builds on nothing.
fn read_link(medium: &dyn Medium, file: &Path) -> io::Result<Link> {
    let before = Checkpoint::before_of(&medium.read(file, MAX_HEADER)?).flatten();
    Ok(Link { before: before.map(|b| b.epoch), bytes: medium.len(file)? })
}

fn read_file(medium: &dyn Medium, file: &Path) -> Result<Vec<u8>, StateError> {
    medium.read(file, MAX_FILE).map_err(|e| StateError(format!("can't read {}: {e}", file.display())))
}

/// A job's name as a directory name: anything but letters, digits, `-`, `_` and `.` becomes `_`.
fn safe_name(job: &str) -> String {
    let name: String =
        job.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    if name.trim_matches('.').is_empty() { "job".into() } else { name }
}

#[cfg(test)]
#[path = "dir_tests.rs"]
mod tests;
