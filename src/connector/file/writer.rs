//! Writes one file: encode, buffer, write, make durable.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::natural::parent;
use super::output::{Output, RawFile};
use crate::codec::Encoder;
use crate::io::{BatchEncoder, DataWriter, IoError};
use crate::record::{Position, StreamRecord};

/// Bytes that are collected before they are written.
const BUFFER_BYTES: usize = 256 << 10;
/// A buffer that one huge batch has stretched beyond this is given back.
const KEEP_BYTES: usize = 4 << 20;

/// An open file sink.
pub(crate) struct FileWriter {
    name: String,
    /// The file's path, where it has one whose directory entry must be made durable.
    directory_of: Option<PathBuf>,
    output: Output,
    encoder: Box<dyn Encoder>,
    /// Encoded and not yet handed to `output`.
    buffer: Vec<u8>,
    /// A regular file: fsync means something.
    durable: bool,
    /// The file holds a record. Without one a restart begins from nothing, header included.
    any_record: bool,
    footer_written: bool,
    /// fsync failed: the kernel may have dropped dirty pages, so that trying again would lie.
    fsync_failed: bool,
}

impl FileWriter {
    /// A writer on `output`, which holds `len` bytes already. `path` for a regular file.
    pub(crate) fn new(
        name: String,
        path: Option<&Path>,
        output: Output,
        mut encoder: Box<dyn Encoder>,
        empty: bool,
    ) -> Self {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        match empty {
            true => encoder.start(&mut buffer),
            false => encoder.resume(),
        }
        Self {
            name,
            directory_of: path.map(Path::to_owned),
            output,
            encoder,
            buffer,
            durable: path.is_some(),
            any_record: !empty,
            footer_written: false,
            fsync_failed: false,
        }
    }

    fn write_out(&mut self) -> Result<(), IoError> {
        let result = self.output.drain(&mut self.buffer).map_err(|e| self.failed("write to", e));
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP_BYTES {
            self.buffer = Vec::with_capacity(BUFFER_BYTES);
        }
        result
    }

    /// Before a batch is taken, so that a failure concerns earlier ones only and this one can come again.
    fn make_room(&mut self) -> Result<(), IoError> {
        self.check_usable()?;
        match self.buffer.len() >= BUFFER_BYTES {
            true => self.write_out(),
            false => Ok(()),
        }
    }

    fn failed(&self, what: &str, error: io::Error) -> IoError {
        IoError::os(format!("can't {what} {}", self.name), error)
    }

    fn make_durable(&mut self) -> Result<(), IoError> {
        if !self.durable {
            return Ok(());
        }
        let synced = self.output.raw().and_then(RawFile::sync);
        if let Err(e) = synced {
            self.fsync_failed = true;
            return Err(self.failed("make durable", e));
        }
        // Once is enough: the name of the file does not change.
        if let Some(path) = self.directory_of.take() {
            let dir = parent(&path);
            if let Err(e) = File::open(dir).and_then(|d| d.sync_all()) {
                self.fsync_failed = true;
                return Err(IoError::os(format!("can't make the directory '{}' durable", dir.display()), e));
            }
        }
        Ok(())
    }

    fn check_usable(&self) -> Result<(), IoError> {
        match self.fsync_failed {
            true => Err(IoError::data(format!("{} is unusable: an earlier fsync failed", self.name))),
            false => Ok(()),
        }
    }
}

impl DataWriter for FileWriter {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        self.make_room()?;
        let result = self.encoder.encode(batch, &mut self.buffer);
        let taken = result.as_ref().map_or_else(|(at, _)| *at, |()| batch.len());
        self.any_record |= taken > 0;
        result.map_err(|(at, error)| IoError::rejected(at, error))
    }

    fn encoder(&self) -> Option<Box<dyn BatchEncoder>> {
        Forked::of(&*self.encoder)
    }

    fn write_encoded(&mut self, batch: &[Arc<StreamRecord>], encoded: &[u8]) -> Result<(), IoError> {
        self.make_room()?;
        self.buffer.extend_from_slice(encoded);
        self.any_record |= !batch.is_empty();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), IoError> {
        self.check_usable()?;
        self.write_out()?;
        self.output.flush().map_err(|e| self.failed("write to", e))
    }

    fn sync(&mut self) -> Result<Position, IoError> {
        self.check_usable()?;
        self.write_out()?;
        self.output.end_frame().map_err(|e| self.failed("write to", e))?;
        self.make_durable()?;
        let len = match self.output.raw() {
            Ok(raw) => raw.len(),
            Err(e) => return Err(self.failed("write to", e)),
        };
        Ok(SinkPosition { len: if self.any_record { len } else { 0 } }.encode())
    }

    fn finish(&mut self) -> Result<(), IoError> {
        self.check_usable()?;
        if !self.footer_written {
            self.footer_written = true;
            self.encoder.finish(&mut self.buffer);
        }
        self.write_out()?;
        self.output.end_frame().map_err(|e| self.failed("write to", e))
    }
}

/// An encoder that works for a file's writer elsewhere.
pub(super) struct Forked(Box<dyn Encoder>);

impl Forked {
    /// One that writes as `encoder` does, if it can be shared.
    pub(super) fn of(encoder: &dyn Encoder) -> Option<Box<dyn BatchEncoder>> {
        encoder.fork().map(|e| Box::new(Self(e)) as Box<dyn BatchEncoder>)
    }
}

impl BatchEncoder for Forked {
    fn encode(&mut self, batch: &[Arc<StreamRecord>], out: &mut Vec<u8>) -> bool {
        self.0.encode(batch, out).is_ok()
    }

    fn fork(&self) -> Option<Box<dyn BatchEncoder>> {
        Self::of(&*self.0)
    }
}

/// The length of a file sink after a commit; 0 while it holds no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SinkPosition {
    pub(crate) len: u64,
}

impl SinkPosition {
    pub(crate) fn encode(self) -> Position {
        Position::new(self.len.to_be_bytes(), format!("{} bytes", self.len))
    }
    /// # Errors
    /// If these are not the bytes of such a position.
    pub(crate) fn decode(position: &Position) -> Result<Self, IoError> {
        let bytes = position.bytes().try_into();
        let bytes = bytes.map_err(|_| IoError::data("the stored position is not that of a file sink"))?;
        Ok(Self { len: u64::from_be_bytes(bytes) })
    }
}
