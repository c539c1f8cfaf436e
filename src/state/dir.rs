//! The state directory of a job: one checkpoint file per epoch, the newest three kept, and a lock.
//!
//! A checkpoint is written to a temporary name, fsynced, renamed, and its directory fsynced: a file that has its final name is
//! complete.

use std::any::Any;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    Checkpoint, CheckpointWriter, FileId, Manifest, Medium, MediumFile, Piece, StateError, create_dir_durably,
};

/// Checkpoints that stay.
const KEEP: usize = 3;
/// A bound against files that are none of ours; a sound one is checked piece by piece.
const MAX_FILE: u64 = 64 << 30;

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
    _lock: Box<dyn Any + Send + Sync>,
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
                Ok(Self { path, medium, _lock: lock })
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
            match Checkpoint::decode(&read_file(&*self.medium, &file)?) {
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
        Ok(Snapshot { file, temporary })
    }

    /// Ends the file, makes it durable, gives it its name, and deletes old ones. From then on the checkpoint counts.
    ///
    /// # Errors
    /// If any step fails; the checkpoint then does not count.
    pub fn finish(&self, snapshot: Snapshot, checkpoint: &Checkpoint) -> Result<Saved, StateError> {
        let Snapshot { file, temporary } = snapshot;
        let (mut file, bytes, id) = file.end(checkpoint).map_err(|e| self.failed("write", &e))?;
        file.flush().map_err(|e| self.failed("write", &e))?;
        file.get_mut().sync().map_err(|e| self.failed("sync", &e))?;
        drop(file);
        let saved = Saved { file: FileId { epoch: checkpoint.epoch, id }, bytes };
        let path = self.path.join(file_name(checkpoint.epoch));
        self.medium.rename(&temporary, &path).map_err(|e| self.failed("rename", &e))?;
        #[cfg(seeded_bugs)]
        if crate::record::seeded::is(crate::record::seeded::Bug::NoDirectorySync) {
            return Ok(saved);
        }
        self.medium.sync_dir(&self.path).map_err(|e| self.failed("sync the directory of", &e))?;
        let files = checkpoint_files(&*self.medium, &self.path)?;
        for (_, old) in files.iter().rev().skip(KEEP) {
            // A file that stays behind is deleted after the next commit.
            let _ = self.medium.remove(old);
        }
        Ok(saved)
    }

    fn failed(&self, what: &str, e: &io::Error) -> StateError {
        StateError(format!("can't {what} a checkpoint in {}: {e}", self.path.display()))
    }
}

/// The file of a checkpoint that is being written. Dropped before it is finished it leaves a file that counts for nothing.
pub struct Snapshot {
    file: CheckpointWriter<BufWriter<Box<dyn MediumFile>>>,
    temporary: PathBuf,
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
}

fn file_name(epoch: u64) -> String {
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
    files.sort();
    Ok(files)
}

/// Reads a checkpoint file.
///
/// # Errors
/// If it can't be read or is damaged; names it.
pub fn read_checkpoint(medium: &dyn Medium, file: &Path) -> Result<Checkpoint, StateError> {
    let bytes = read_file(medium, file)?;
    Checkpoint::decode(&bytes).map_err(|e| StateError(format!("{}: {e}", file.display())))
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
mod tests {
    use super::*;
    use crate::state::Disk;

    #[test]
    fn three_are_kept_a_damaged_newest_falls_back_and_two_instances_exclude_each_other() {
        let root = tempfile::tempdir().unwrap();
        let open = || StateDir::open(Arc::new(Disk), root.path(), "a/b");
        let sample = |epoch| Checkpoint { job: "a/b".into(), epoch, ..Checkpoint::default() };
        let dir = open().unwrap();
        assert_eq!(dir.load().unwrap(), None);
        assert!((1..=5).all(|e| dir.save(&sample(e)).unwrap().bytes > 50));
        let files = checkpoint_files(&Disk, dir.path()).unwrap();
        assert_eq!(files.iter().map(|f| f.0).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(dir.load().unwrap().unwrap().epoch, 5);
        std::fs::write(&files[2].1, b"MSCKPT").unwrap();
        assert_eq!(dir.load().unwrap().unwrap().epoch, 4);
        assert!(matches!(open(), Err(StateDirError::Locked(_))));
        drop(dir);
        assert!(open().is_ok());
    }
}
