//! The writing end of a file: write(2) with short writes, and compression whose frames end where a commit does.

use std::fs::File;
use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, poll};

use super::compression::Compression;
use crate::state::MediumFile;

/// Where the bytes of a file go.
enum Place {
    File(File),
    /// A part file, with the checksum of what was written.
    Medium(Box<dyn MediumFile>, crc32fast::Hasher),
}

/// An open file and its length.
pub(crate) struct RawFile {
    place: Place,
    /// Bytes in the file: where the next write goes.
    len: u64,
}

impl RawFile {
    pub(crate) fn new(file: File, len: u64) -> Self {
        Self { place: Place::File(file), len }
    }
    /// A file that sums up what is written, behind `len` bytes whose checksum is `crc`.
    pub(super) fn on_medium(file: Box<dyn MediumFile>, len: u64, crc: u32) -> Self {
        Self { place: Place::Medium(file, crc32fast::Hasher::new_with_initial_len(crc, len)), len }
    }
    pub(super) fn len(&self) -> u64 {
        self.len
    }
    /// Checksum of all that was written, if it is summed up.
    pub(super) fn crc(&self) -> u32 {
        match &self.place {
            Place::File(_) => 0,
            Place::Medium(_, crc) => crc.clone().finalize(),
        }
    }
    /// Makes the content durable.
    ///
    /// # Errors
    /// As fsync(2): never to be retried.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        match &mut self.place {
            Place::File(file) => file.sync_data(),
            Place::Medium(file, _) => file.sync(),
        }
    }
    /// One write; waits where the descriptor is a full pipe that is not blocking.
    fn write_some(&mut self, buf: &[u8]) -> io::Result<usize> {
        let file = match &mut self.place {
            Place::File(file) => file,
            Place::Medium(file, crc) => {
                let n = file.write(buf)?;
                crc.update(buf.get(..n).unwrap_or(buf));
                return Ok(n);
            }
        };
        match file.write(buf) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                match poll(&mut [PollFd::new(file, PollFlags::OUT)], None) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => Err(io::ErrorKind::Interrupted.into()),
                    Err(e) => Err(e.into()),
                }
            }
            other => other,
        }
    }
}

impl Write for RawFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        loop {
            match self.write_some(buf) {
                Ok(n) => {
                    self.len += n as u64;
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where encoded bytes go.
pub(crate) enum Output {
    /// Uncompressed, or between two frames of `Compression`.
    Plain(RawFile, #[cfg_attr(not(any(feature = "gzip", feature = "zstd")), allow(dead_code))] Compression),
    /// Inside a gzip member.
    #[cfg(feature = "gzip")]
    Gzip(Box<flate2::write::GzEncoder<RawFile>>),
    /// Inside a Zstandard frame.
    #[cfg(feature = "zstd")]
    Zstd(Box<zstd::stream::write::Encoder<'static, RawFile>>),
    /// A compressed stream failed half way: nobody knows how much of it is in the file.
    Broken,
}

/// Compression level of zstd: its default.
#[cfg(feature = "zstd")]
const ZSTD_LEVEL: i32 = 3;

impl Output {
    /// Writes `bytes` from the front and removes what was written, also when it fails.
    ///
    /// # Errors
    /// As write(2). After an error of a compressed file every further call fails.
    pub(crate) fn drain(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.begin_frame()?;
        let mut done = 0;
        let result = loop {
            let rest = bytes.get(done..).unwrap_or(&[]);
            if rest.is_empty() {
                break Ok(());
            }
            match self.writer().and_then(|w| w.write(rest)) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(e) => break Err(e),
            }
        };
        bytes.drain(..done);
        if result.is_err() && !matches!(self, Output::Plain(..)) {
            *self = Output::Broken;
        }
        result
    }

    fn writer(&mut self) -> io::Result<&mut dyn Write> {
        match self {
            Output::Plain(raw, _) => Ok(raw),
            #[cfg(feature = "gzip")]
            Output::Gzip(w) => Ok(w.as_mut()),
            #[cfg(feature = "zstd")]
            Output::Zstd(w) => Ok(w.as_mut()),
            Output::Broken => Err(broken()),
        }
    }

    /// Starts a frame if the file is compressed and stands between two.
    fn begin_frame(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Output::Broken) {
            #[cfg(feature = "gzip")]
            Output::Plain(raw, Compression::Gzip) => {
                let level = flate2::Compression::default();
                Output::Gzip(Box::new(flate2::write::GzEncoder::new(raw, level)))
            }
            #[cfg(feature = "zstd")]
            Output::Plain(raw, Compression::Zstd) => {
                Output::Zstd(Box::new(zstd::stream::write::Encoder::new(raw, ZSTD_LEVEL)?))
            }
            other => other,
        };
        Ok(())
    }

    /// Ends the frame, if one is open, so that the file is whole and another frame may follow.
    ///
    /// # Errors
    /// As write(2); the file is then unusable.
    pub(crate) fn end_frame(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Output::Broken) {
            #[cfg(feature = "gzip")]
            Output::Gzip(w) => Output::Plain(w.finish()?, Compression::Gzip),
            #[cfg(feature = "zstd")]
            Output::Zstd(w) => Output::Plain(w.finish()?, Compression::Zstd),
            Output::Broken => return Err(broken()),
            plain => plain,
        };
        Ok(())
    }

    /// Hands what the compressor holds to the file.
    ///
    /// # Errors
    /// As write(2); a compressed file is then unusable.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let result = self.writer().and_then(|w| w.flush());
        if result.is_err() && !matches!(self, Output::Plain(..)) {
            *self = Output::Broken;
        }
        result
    }

    /// The file, between two frames.
    ///
    /// # Errors
    /// Inside a frame or after a failure.
    pub(super) fn raw(&mut self) -> io::Result<&mut RawFile> {
        match self {
            Output::Plain(raw, _) => Ok(raw),
            _ => Err(broken()),
        }
    }
}

fn broken() -> io::Error {
    io::Error::other("an earlier write failed half way")
}
