//! Directories of part files: in transactional jobs each appears whole, when its epoch is committed, or not at all.
//!
//! A part is written to `.stage/part-<job>-<epoch>-<n>.<ext>.tmp`, synced with its name, and – after the commit – renamed to its place,
//! whose names are then synced. The position of the sink after an epoch lists the files that were ended for it, with length and
//! checksum: what a restart finds staged and committed it renames. A file that goes on growing – `rotate_size`, `rotate_interval` –
//! is in the position too, and is cut back to its length; what is staged otherwise is deleted. In simple jobs parts grow in their
//! place ([`Showing::AtOnce`]), and a restart cuts back or removes what came after the last commit.
//!
//! Where a part belongs may depend on its rows ([`template`]). Files are ended at barriers only, except that beyond `max_open_files`
//! the one that was not written to for longest is ended at once; nobody sees that before the commit.

mod position;
mod template;
mod writer;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::position::{Part, Standing};
pub(crate) use self::template::PathTemplate;
use self::writer::PartsWriter;
use super::compression::Compression;
use super::sink::FileMode;
use crate::connector::MakeEncoder;
use crate::io::{CommitNeeds, DataSink, DataWriter, IoError, SinkStart, Transactions};
use crate::record::{Position, Schema};
use crate::state::{Medium, create_dir_durably};

/// Where parts are written; readers of the directory leave names with a dot alone.
const STAGE: &str = ".stage";
/// Bytes that are read at once to sum them up.
const PIECE: usize = 64 << 10;

/// When a part is ended and another begun: looked at when a commit is made, not between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes in the file, compressed if it is. Larger: fewer files, seen later.
    pub size: Option<u64>,
    /// Time since the file was begun. Longer: fewer files, seen later.
    pub interval: Option<Duration>,
}

impl Rotation {
    /// Whether files are ended by size or time at all.
    pub fn is_set(self) -> bool {
        self.size.is_some() || self.interval.is_some()
    }
}

impl fmt::Display for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.size, self.interval) {
            (None, None) => write!(f, "a part each commit"),
            (Some(size), None) => write!(f, "at the first commit from {size} bytes on"),
            (None, Some(time)) => write!(f, "at the first commit after {time:?}"),
            (Some(size), Some(time)) => {
                write!(f, "at the first commit from {size} bytes on or after {time:?}")
            }
        }
    }
}

/// When others may see a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Showing {
    /// When it is committed, whole.
    WithCommit,
    /// While it grows.
    AtOnce,
}

/// A directory that a job writes parts into.
#[derive(Clone)]
pub struct PartsSink {
    pub(crate) path: PathTemplate,
    pub(crate) job: String,
    pub(crate) mode: FileMode,
    pub(crate) compression: Compression,
    /// With its dot; empty if the format has none.
    pub(crate) extension: String,
    pub(crate) encoder: MakeEncoder,
    pub(crate) medium: Arc<dyn Medium>,
    pub(crate) rotation: Rotation,
    /// Files that are written to at the same time.
    pub(crate) max_open: usize,
    pub(crate) showing: Showing,
}

impl PartsSink {
    fn root(&self) -> &Path {
        &self.path.root
    }
    fn stage(&self) -> PathBuf {
        self.root().join(STAGE)
    }
    /// Where a part is while it is not shown.
    fn written_path(&self, dir: &str, name: &str) -> PathBuf {
        match self.showing {
            Showing::WithCommit => self.stage().join(format!("{name}.tmp")),
            Showing::AtOnce => self.root().join(dir).join(name),
        }
    }
    fn shown_path(&self, part: &Part) -> PathBuf {
        self.root().join(&part.dir).join(&part.name)
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

    /// This job's files in all directories that the path can lead to.
    fn shown(&self) -> Result<Vec<(u64, PathBuf)>, IoError> {
        let depth = self.path.depth();
        let mut dirs = vec![self.root().to_owned()];
        for level in 0..depth {
            let mut below = Vec::new();
            for dir in dirs {
                match self.medium.list(&dir) {
                    Ok(names) => below.extend(names.into_iter().filter(|p| !is_hidden(p))),
                    // A file, or a directory that was taken away meanwhile.
                    Err(e) if level > 0 && is_gone(&e) => {}
                    Err(e) => return Err(self.failed("list", &dir, e)),
                }
            }
            dirs = below;
        }
        let mut shown = Vec::new();
        for dir in dirs {
            match self.medium.list(&dir) {
                Ok(names) => shown.extend(names.into_iter().filter_map(|p| Some((self.epoch_of(&p)?, p)))),
                Err(e) if depth > 0 && is_gone(&e) => {}
                Err(e) => return Err(self.failed("list", &dir, e)),
            }
        }
        Ok(shown)
    }

    fn remove(&self, files: impl IntoIterator<Item = PathBuf>) -> Result<(), IoError> {
        files.into_iter().try_for_each(|p| self.medium.remove(&p).map_err(|e| self.failed("remove", &p, e)))
    }

    fn prepare_directories(&self) -> Result<(), IoError> {
        let (root, stage) = (self.root(), self.stage());
        if root.is_file() {
            return Err(IoError::config(format!(
                "'{}' is a file, but part files are written into a directory of that name; layout = 'single' writes one file",
                root.display()
            )));
        }
        let staged = self.showing == Showing::WithCommit;
        let made = if staged { stage.as_path() } else { root };
        create_dir_durably(&*self.medium, made).map_err(|e| self.failed("create the directory", made, e))?;
        if !staged {
            return Ok(());
        }
        match self.medium.same_filesystem(root, &stage) {
            Ok(true) => Ok(()),
            Ok(false) => Err(IoError::config(format!(
                "'{}' is on another file system than '{}', so parts can't be renamed into place",
                stage.display(),
                root.display()
            ))),
            Err(e) => Err(self.failed("look at", &stage, e)),
        }
    }

    /// The job starts for the first time. Gives the epoch to go on after.
    fn start_fresh(&self) -> Result<u64, IoError> {
        let old = self.shown()?;
        match (self.mode, self.showing) {
            (FileMode::Overwrite, _) => self.remove(old.into_iter().map(|(_, p)| p))?,
            (FileMode::Append, Showing::AtOnce) => return Ok(old.iter().map(|(e, _)| *e).max().unwrap_or(0)),
            (FileMode::Append, Showing::WithCommit) => {
                if let Some((_, one)) = old.first() {
                    return Err(IoError::config(format!(
                        "'{}' is there from a run of job {} whose state is gone: its parts would be mixed up; use another \
                         job_name, or mode = 'overwrite'",
                        one.display(),
                        self.job
                    )));
                }
            }
        }
        if self.showing == Showing::WithCommit {
            self.remove(self.mine(&self.stage())?.into_iter().map(|(_, p)| p))?;
        }
        Ok(0)
    }

    /// Goes back to a commit.
    fn resume(&self, position: &Position, published: bool) -> Result<Standing, IoError> {
        let standing = Standing::decode(position)
            .map_err(|e| IoError::data(format!("the stored position is not that of part files: {e}")))?;
        match self.showing {
            Showing::WithCommit => self.roll_forward(&standing, published)?,
            Showing::AtOnce => {
                let later = self.shown()?.into_iter().filter(|(epoch, _)| *epoch > standing.epoch);
                self.remove(later.map(|(_, p)| p))?;
            }
        }
        standing.growing.iter().try_for_each(|g| self.cut_back(&g.part))?;
        if self.showing == Showing::WithCommit {
            let grows = |p: &PathBuf| {
                standing.growing.iter().any(|g| self.written_path(&g.part.dir, &g.part.name) == *p)
            };
            let staged = self.mine(&self.stage())?.into_iter().map(|(_, p)| p);
            self.remove(staged.filter(|p| !grows(p)))?;
        }
        Ok(standing)
    }

    /// Gives the parts of the last commit their names, unless they have them.
    fn roll_forward(&self, standing: &Standing, published: bool) -> Result<(), IoError> {
        for (epoch, part) in self.shown()? {
            if epoch > standing.epoch {
                return Err(IoError::data(format!(
                    "'{}' was written after the last commit (epoch {}): the state directory is older than the output; restore \
                     the newer state, or remove the parts that came after it",
                    part.display(),
                    standing.epoch
                )));
            }
        }
        let mut renamed = Vec::new();
        for part in &standing.ended {
            let (from, to) = (self.written_path(&part.dir, &part.name), self.shown_path(part));
            match self.medium.len(&to) {
                Ok(len) if len == part.len => continue,
                Ok(len) => {
                    return Err(IoError::data(format!(
                        "'{}' has {len} bytes, but {} were committed",
                        to.display(),
                        part.len
                    )));
                }
                Err(e) if is_gone(&e) => {}
                Err(e) => return Err(self.failed("look at", &to, e)),
            }
            match self.medium.len(&from) {
                Ok(len) => {
                    if len != part.len || self.checksum(&from, len)? != part.crc {
                        return Err(self.is_another(&from));
                    }
                    self.show(part)?;
                    renamed.push(part.dir.as_str());
                }
                // It had its name; whoever reads the parts has moved it away.
                Err(e) if e.kind() == ErrorKind::NotFound && published => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    return Err(IoError::data(format!(
                        "'{}' was committed with epoch {} and is gone, and it is not staged either: its rows are lost",
                        to.display(),
                        standing.epoch
                    )));
                }
                Err(e) => return Err(self.failed("read", &from, e)),
            }
        }
        self.sync_dirs(renamed)
    }

    /// Gives a staged part its name. Its directory is made again if a reader has taken it away.
    fn show(&self, part: &Part) -> Result<(), IoError> {
        let (from, to) = (self.written_path(&part.dir, &part.name), self.shown_path(part));
        let mut renamed = self.medium.rename(&from, &to);
        if renamed.as_ref().is_err_and(|e| e.kind() == ErrorKind::NotFound) && !part.dir.is_empty() {
            let dir = self.root().join(&part.dir);
            self.medium.create_dir(&dir).map_err(|e| self.failed("create the directory", &dir, e))?;
            self.sync_dirs(above(&part.dir))?;
            renamed = self.medium.rename(&from, &to);
        }
        renamed
            .map_err(|e| IoError::os(format!("can't rename '{}' to '{}'", from.display(), to.display()), e))
    }

    /// Makes the names in these directories durable, each once.
    fn sync_dirs<'a>(&self, dirs: impl IntoIterator<Item = &'a str>) -> Result<(), IoError> {
        let mut dirs: Vec<&str> = dirs.into_iter().collect();
        dirs.sort_unstable();
        dirs.dedup();
        dirs.into_iter().try_for_each(|dir| {
            let path = if dir.is_empty() { self.root().to_owned() } else { self.root().join(dir) };
            self.medium.sync_dir(&path).map_err(|e| self.failed("make durable the directory", &path, e))
        })
    }

    /// Cuts a file that goes on growing back to what was committed.
    fn cut_back(&self, part: &Part) -> Result<(), IoError> {
        let path = self.written_path(&part.dir, &part.name);
        let len = match self.medium.len(&path) {
            Ok(len) => len,
            Err(e) if is_gone(&e) => {
                return Err(IoError::data(format!(
                    "'{}' is gone, which was to grow on from {} bytes: either it was taken away and its rows are lost, or the state \
                     directory is older than the output",
                    path.display(),
                    part.len
                )));
            }
            Err(e) => return Err(self.failed("look at", &path, e)),
        };
        if len < part.len || self.checksum(&path, part.len)? != part.crc {
            return Err(self.is_another(&path));
        }
        if len > part.len {
            log::info!("cutting '{}' back from {len} to {} bytes", path.display(), part.len);
            self.medium.truncate(&path, part.len).map_err(|e| self.failed("cut off", &path, e))?;
        }
        Ok(())
    }

    fn is_another(&self, path: &Path) -> IoError {
        IoError::data(format!(
            "'{}' is not what was committed: its length or checksum is another",
            path.display()
        ))
    }

    /// The checksum of the first `len` bytes of a file.
    fn checksum(&self, path: &Path, len: u64) -> Result<u32, IoError> {
        let sum = || -> std::io::Result<u32> {
            let mut file = self.medium.open(path)?;
            let mut piece = vec![0; PIECE];
            let mut crc = crc32fast::Hasher::new();
            let mut left = len;
            while left > 0 {
                let most = left.min(PIECE as u64) as usize;
                match file.read(piece.get_mut(..most).unwrap_or_default()) {
                    Ok(0) => break,
                    Ok(n) => {
                        crc.update(piece.get(..n).unwrap_or_default());
                        left -= n as u64;
                    }
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(crc.finalize())
        };
        sum().map_err(|e| self.failed("read", path, e))
    }
}

impl DataSink for PartsSink {
    fn check(&self, schema: &Arc<Schema>) -> Result<(), IoError> {
        self.compression.check_built()?;
        self.path.bind(schema)?;
        (self.encoder)(schema).map(drop)
    }
    fn open(&self, schema: Arc<Schema>, start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        self.check(&schema)?;
        self.prepare_directories()?;
        let standing = match start {
            SinkStart::Fresh => Standing { epoch: self.start_fresh()?, ..Standing::default() },
            // What was committed has its names; what is staged beyond it never was.
            SinkStart::Resume(position) => self.resume(position, true)?,
        };
        Ok(Box::new(PartsWriter::open(self.clone(), schema, standing)?))
    }
    fn can_resume(&self) -> bool {
        true
    }
    fn transactions(&self) -> Transactions {
        match self.showing {
            Showing::WithCommit => Transactions::Staged,
            Showing::AtOnce => Transactions::CutsBack,
        }
    }
    fn commit_needs(&self) -> CommitNeeds {
        let rotates = "files are ended by rotate_size and rotate_interval when a commit is made";
        CommitNeeds {
            because: self.rotation.is_set().then_some(rotates),
            quiet_after: self.rotation.interval,
        }
    }
    fn recover(&self, position: &Position, published: bool) -> Result<(), IoError> {
        self.prepare_directories()?;
        self.resume(position, published).map(drop)
    }
    fn describe(&self) -> Vec<(&'static str, String)> {
        let shown = match self.showing {
            Showing::WithCommit => format!("whole, when committed; until then in {}", self.stage().display()),
            Showing::AtOnce => "as they grow; a restart cuts them back to their last commit".into(),
        };
        vec![
            ("parts", format!("{}/part-{}-<epoch>-<n>{}", self.path, self.job, self.extension)),
            ("rotation", self.rotation.to_string()),
            ("shown", shown),
        ]
    }
    fn files(&self) -> Vec<PathBuf> {
        vec![self.root().to_owned()]
    }
}

/// The directories above one, up to the sink's own, which is empty.
fn above(dir: &str) -> impl Iterator<Item = &str> {
    dir.match_indices('/').filter_map(|(at, _)| dir.get(..at)).chain([""])
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'))
}

/// There is no such file, or something else is where a directory of it would be.
fn is_gone(e: &std::io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
