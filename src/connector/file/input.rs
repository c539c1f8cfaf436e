//! An open file, pipe or terminal, read without ever blocking on one that has nothing to give.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::compression::{Compression, read_error};
use super::natural::cannot_open;
use crate::io::IoError;

/// How much of a file's head a decoder is shown when the file is entered in the middle.
const HEAD_BYTES: u64 = 64 << 10;

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
}

impl FileId {
    pub(crate) fn of(meta: &std::fs::Metadata) -> Self {
        Self { dev: meta.dev(), ino: meta.ino() }
    }
}

/// An open byte stream.
pub(crate) struct OpenInput {
    file: Arc<File>,
    content: Box<dyn Read + Send>,
    compression: Compression,
    /// Not a regular file: it can't be sought, and reading it may block.
    is_pipe: bool,
    name: String,
    /// The compressed content is bad. Decompressors forget that they failed and would say "end" next time.
    broken: Option<(io::ErrorKind, String)>,
}

impl OpenInput {
    /// Opens `path`. Never blocks on a FIFO without a writer.
    ///
    /// # Errors
    /// If it can't be opened, is a directory, or this build can't uncompress it.
    pub(crate) fn open(path: &Path, compression: Compression) -> Result<Self, IoError> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open(path)
            .map_err(|e| cannot_open(path, e))?;
        Self::from_file(file, format!("'{}'", path.display()), compression)
    }

    /// Takes an open file; `name` is how messages call it.
    ///
    /// # Errors
    /// If it is a directory, or this build can't uncompress it.
    pub(crate) fn from_file(file: File, name: String, compression: Compression) -> Result<Self, IoError> {
        let kind = file.metadata().map_err(|e| IoError::os(format!("can't examine {name}"), e))?.file_type();
        if kind.is_dir() {
            return Err(IoError::config(format!("{name} is a directory, not a file")));
        }
        let is_pipe = kind.is_fifo() || kind.is_char_device() || kind.is_socket();
        let file = Arc::new(file);
        let content = Self::content(&file, is_pipe, compression)?;
        Ok(Self { file, content, compression, is_pipe, name, broken: None })
    }

    fn content(
        file: &Arc<File>,
        is_pipe: bool,
        compression: Compression,
    ) -> Result<Box<dyn Read + Send>, IoError> {
        match is_pipe {
            true => compression.reader(Polled(file.clone())),
            false => compression.reader(file.clone()),
        }
    }

    /// Whether it can't be sought and read again.
    pub(crate) fn is_pipe(&self) -> bool {
        self.is_pipe
    }

    /// How messages call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Which file it is.
    ///
    /// # Errors
    /// As fstat(2).
    pub(crate) fn id_and_len(&self) -> Result<(FileId, u64), IoError> {
        let meta =
            self.file.metadata().map_err(|e| IoError::os(format!("can't examine {}", self.name), e))?;
        Ok((FileId::of(&meta), meta.len()))
    }

    /// Goes to `offset` of the uncompressed content: by lseek(2) in a plain file, else by reading again from the start. Gives
    /// the first bytes of the content, which may hold a header.
    ///
    /// # Errors
    /// If the content is shorter.
    pub(crate) fn seek(&mut self, offset: u64) -> Result<Vec<u8>, IoError> {
        if self.is_pipe {
            return Err(IoError::unsupported(format!("{} can't be read again from a position", self.name)));
        }
        let failed = |e| IoError::os(format!("can't seek in {}", self.name), e);
        (&*self.file).rewind().map_err(failed)?;
        let mut content = Self::content(&self.file, false, self.compression)?;
        let mut head = Vec::new();
        content
            .by_ref()
            .take(offset.min(HEAD_BYTES))
            .read_to_end(&mut head)
            .map_err(|e| read_error(&self.name, e))?;
        let reached = if self.compression == Compression::None {
            let len = self.file.metadata().map_err(failed)?.len();
            (&*self.file).seek(SeekFrom::Start(offset.min(len))).map_err(failed)?;
            len.min(offset)
        } else {
            let mut rest = content.by_ref().take(offset - head.len() as u64);
            head.len() as u64 + io::copy(&mut rest, &mut io::sink()).map_err(|e| read_error(&self.name, e))?
        };
        if reached < offset {
            return Err(IoError::data(format!(
                "{} has shrunk: it holds {reached} bytes, but byte {offset} was read before",
                self.name
            )));
        }
        self.content = content;
        self.broken = None;
        Ok(head)
    }

    /// Waits until there is something to read, at most for `timeout`; tells whether there is.
    ///
    /// # Errors
    /// As poll(2).
    pub(crate) fn wait(&self, timeout: Duration) -> Result<bool, IoError> {
        readable(&*self.file, timeout).map_err(|e| IoError::os(format!("can't wait for {}", self.name), e))
    }
}

impl Read for OpenInput {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some((kind, message)) = &self.broken {
            return Err(io::Error::new(*kind, message.clone()));
        }
        let result = self.content.read(buf);
        if let Err(e) = &result {
            let passing = matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock);
            if !passing && e.raw_os_error().is_none() {
                self.broken = Some((e.kind(), e.to_string()));
            }
        }
        result
    }
}

/// Reads only what is there: `WouldBlock` otherwise. The descriptor itself may be a blocking one that other
/// processes share (standard input), so its flags are left alone.
struct Polled(Arc<File>);

impl Read for Polled {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !readable(&*self.0, Duration::ZERO)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        (&*self.0).read(buf)
    }
}

/// Whether a read would return at once, be it with the end; waits at most for `timeout`. A FIFO that nobody has opened for
/// writing yet is not readable.
fn readable(fd: impl AsFd, timeout: Duration) -> io::Result<bool> {
    let timeout = Timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos() as _ };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    match poll(&mut fds, Some(&timeout)) {
        Ok(n) => Ok(n > 0),
        // A signal: the caller looks whether it shall stop.
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}
