//! The description of a file sink: how it is opened at first, and after a restart.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compression::Compression;
use super::natural::parent;
use super::output::{Output, RawFile};
use super::parts::{PartsSink, PathTemplate, Rotation, Showing};
use super::writer::{FileWriter, SinkPosition};
use crate::connector::MakeEncoder;
use crate::io::{DataSink, DataWriter, IoError, IoErrorKind, SinkStart};
use crate::record::Schema;
use crate::state::{Disk, Medium};

/// What happens to a file that is there when a job starts for the first time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileMode {
    /// Its content is replaced.
    #[default]
    Overwrite,
    /// It grows. A last line without line feed gets one first.
    Append,
}

/// One file, or many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileLayout {
    /// Parts in a transactional job, if files are rotated or the path depends on the rows; else one file.
    #[default]
    Auto,
    /// One file; a restart cuts it back.
    Single,
    /// A directory of parts: [`PartsSink`].
    Parts,
}

/// One file that records are written to.
///
/// A commit ends the compressed frame, if there is one, and syncs; its position is the length of the file. A restart cuts the
/// file back to it, so that a reader of a growing file may see lines that vanish and come again. Directories are
/// not created.
pub struct FileSink {
    path: PathBuf,
    mode: FileMode,
    compression: Compression,
    encoder: MakeEncoder,
    layout: FileLayout,
    /// Extension of parts, with its dot.
    extension: String,
    /// What the path means for parts.
    template: PathTemplate,
    rotation: Rotation,
    max_open: usize,
}

/// Files that a sink of parts writes to at the same time, unless told otherwise.
const MAX_OPEN: usize = 100;

impl FileSink {
    /// A sink; `compression` `None` means by extension.
    pub fn new(
        path: impl Into<PathBuf>,
        mode: FileMode,
        compression: Option<Compression>,
        encoder: MakeEncoder,
    ) -> Self {
        let path = path.into();
        let compression = compression.unwrap_or_else(|| Compression::of_path(&path));
        let template = PathTemplate::fixed(&path);
        Self {
            path,
            mode,
            compression,
            encoder,
            layout: FileLayout::Auto,
            extension: String::new(),
            template,
            rotation: Rotation::default(),
            max_open: MAX_OPEN,
        }
    }

    /// Takes the path as a template: `{column}` is the value of a column of the row, as a name that can't lead elsewhere; `%Y`, `%m`,
    /// `%d`, `%H` … are fields of its event time, in UTC, without one of the time when it is written. Each path is a directory of parts.
    ///
    /// # Errors
    /// A template that makes no path.
    pub fn by_row(self) -> Result<Self, IoError> {
        let template = PathTemplate::parse(&self.path.to_string_lossy())?;
        // Doubled characters have become single ones.
        let path = if template.depth() == 0 { template.root.clone() } else { self.path };
        Ok(Self { template, path, ..self })
    }

    /// Ends parts by size or time, when a commit is made.
    pub fn with_rotation(self, rotation: Rotation) -> Self {
        Self { rotation, ..self }
    }

    /// At most so many files are open at the same time; beyond, the one that was not written to for longest is ended.
    pub fn with_max_open(self, files: usize) -> Self {
        Self { max_open: files, ..self }
    }

    /// Says whether it is one file or a directory of parts, whose names end with `extension`.
    pub fn with_layout(self, layout: FileLayout, extension: impl Into<String>) -> Self {
        Self { layout, extension: extension.into(), ..self }
    }

    /// The same as parts of a transactional job, whose names hold that of the job.
    pub fn parts(&self, job: &str, medium: Arc<dyn Medium>) -> PartsSink {
        self.parts_shown(job, medium, Showing::WithCommit)
    }

    fn parts_shown(&self, job: &str, medium: Arc<dyn Medium>, showing: Showing) -> PartsSink {
        PartsSink {
            path: self.template.clone(),
            job: file_name_of(job),
            mode: self.mode,
            compression: self.compression,
            extension: self.extension.clone(),
            encoder: self.encoder.clone(),
            medium,
            rotation: self.rotation,
            max_open: self.max_open,
            showing,
        }
    }

    /// Whether there are parts in a simple job too.
    pub(super) fn has_parts(&self) -> bool {
        self.layout == FileLayout::Parts || self.rotation.is_set() || self.template.depth() > 0
    }

    fn open_file(&self, truncate: bool, create: bool) -> Result<File, IoError> {
        OpenOptions::new()
            .read(!is_special(&self.path))
            .write(true)
            .create(create)
            .truncate(truncate)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open(&self.path)
            .map_err(|e| self.cannot_open(e))
    }

    fn cannot_open(&self, error: io::Error) -> IoError {
        let path = self.path.display();
        let dir = parent(&self.path);
        match error.kind() {
            io::ErrorKind::IsADirectory => {
                IoError::config(format!("can't write to '{path}': it is a directory"))
            }
            io::ErrorKind::NotFound if !dir.exists() => IoError::new(
                IoErrorKind::Os(error),
                format!("can't create '{path}' (there is no directory '{}')", dir.display()),
            ),
            // ENXIO of a FIFO opened for writing.
            _ if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {
                IoError::new(IoErrorKind::Unavailable, format!("nobody reads the FIFO '{path}'"))
            }
            _ => IoError::os(format!("can't open '{path}' for writing"), error),
        }
    }

    /// Opens the file as `start` says; gives it with its length.
    fn start(&self, start: &SinkStart, can_append: bool) -> Result<(File, u64), IoError> {
        let failed = |e| IoError::os(format!("can't prepare '{}'", self.path.display()), e);
        let (mut file, len) = match start {
            SinkStart::Fresh if self.mode == FileMode::Overwrite => (self.open_file(true, true)?, 0),
            SinkStart::Fresh => {
                let mut file = self.open_file(false, true)?;
                self.check_append(&file, can_append)?;
                let len = self.end_last_line(&mut file).map_err(failed)?;
                (file, len)
            }
            SinkStart::Resume(position) if position.is_start() => {
                let file = self.open_file(false, true)?;
                self.check_append(&file, can_append)?;
                if self.compression != Compression::None {
                    return Err(IoError::unsupported(format!(
                        "can't go on writing '{}': no commit says where its last whole compressed frame ends; remove it",
                        self.path.display()
                    )));
                }
                let len = complete_lines(&file).map_err(failed)?;
                (file, len)
            }
            SinkStart::Resume(position) => {
                let SinkPosition { len } = SinkPosition::decode(position)?;
                (self.open_file(false, false)?, len)
            }
        };
        if is_special(&self.path) {
            return Ok((file, 0));
        }
        let there = file.metadata().map_err(failed)?.len();
        if there < len {
            return Err(IoError::data(format!(
                "can't go on writing '{}': the last commit left {len} bytes, now there are {there}",
                self.path.display()
            )));
        }
        if there > len {
            log::info!("cutting '{}' back from {there} to {len} bytes", self.path.display());
            file.set_len(len).map_err(failed)?;
        }
        file.seek(SeekFrom::Start(len)).map_err(failed)?;
        Ok((file, len))
    }

    fn check_append(&self, file: &File, can_append: bool) -> Result<(), IoError> {
        let len = file.metadata().map_or(0, |m| m.len());
        if can_append || len == 0 {
            return Ok(());
        }
        Err(IoError::unsupported(format!(
            "can't add records to '{}': in this format a file ends with its footer",
            self.path.display()
        )))
    }

    /// Ends a last line that has no line feed, so that no record is glued to it; gives the length.
    fn end_last_line(&self, file: &mut File) -> io::Result<u64> {
        let len = file.metadata()?.len();
        if len == 0 || self.compression != Compression::None || is_special(&self.path) {
            return Ok(len);
        }
        let mut last = [0];
        file.read_exact_at(&mut last, len - 1)?;
        if last == *b"\n" {
            return Ok(len);
        }
        file.seek(SeekFrom::End(0))?;
        file.write_all(b"\n")?;
        Ok(len + 1)
    }
}

impl DataSink for FileSink {
    fn open(&self, schema: Arc<Schema>, start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        self.compression.check_built()?;
        if self.has_parts() {
            return Err(IoError::config(format!(
                "'{}' is a directory of parts, whose names hold that of their job: open what DataSink::named gives",
                self.path.display()
            )));
        }
        let encoder = (self.encoder)(&schema)?;
        let (file, len) = self.start(start, encoder.can_append())?;
        let path = (!is_special(&self.path)).then_some(self.path.as_path());
        let output = Output::Plain(RawFile::new(file, len), self.compression);
        let name = format!("'{}'", self.path.display());
        Ok(Box::new(FileWriter::new(name, path, output, encoder, len == 0)))
    }
    fn can_resume(&self) -> bool {
        !is_special(&self.path)
    }
    fn named(&self, job: &str) -> Option<Arc<dyn DataSink>> {
        self.has_parts().then(|| Arc::new(self.parts_shown(job, Arc::new(Disk), Showing::AtOnce)) as _)
    }
    fn staged(&self, job: &str, instance: Option<&str>) -> Option<Arc<dyn DataSink>> {
        if self.layout == FileLayout::Single || is_special(&self.path) {
            return None;
        }
        let name = instance.map(|i| format!("{job}.{i}"));
        Some(Arc::new(self.parts(name.as_deref().unwrap_or(job), Arc::new(Disk))))
    }
    fn describe(&self) -> Vec<(&'static str, String)> {
        let mut said = vec![("path", self.path.display().to_string())];
        if !is_special(&self.path) {
            said.push((
                "shown",
                "as it grows; with --state a restart cuts it back to its last commit".into(),
            ));
        }
        said
    }
    fn files(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }
}

/// A job's name as a part of a file name.
fn file_name_of(job: &str) -> String {
    job.chars().map(|c| if c.is_alphanumeric() || "_.".contains(c) { c } else { '_' }).collect()
}

/// There, and not a regular file: a FIFO, a terminal, `/dev/null`.
fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir())
}

/// Length of the lines that end with a line feed.
fn complete_lines(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut piece = vec![0; 64 << 10];
    while end > 0 {
        let len = end.min(piece.len() as u64);
        let part = piece.get_mut(..len as usize).unwrap_or_default();
        file.read_exact_at(part, end - len)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return Ok(end - len + at as u64 + 1);
        }
        end -= len;
    }
    Ok(0)
}
