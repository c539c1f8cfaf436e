//! Reads files one after the other, each to its end.

use std::path::PathBuf;
use std::sync::Arc;

use super::ahead::{Ahead, Next};
use super::compression::read_error;
use super::input::{FileId, OpenInput};
use super::position::{FilePosition, FileProgress};
use super::source::FileSourceConfig;
use super::stamp_topic;
use crate::codec::{Decoder, Input, Origin};
use crate::connector::decode_buffer::{DecodeBuffer, FILLS_A_CALL, Fill};
use crate::io::{Boundedness, DataReader, IoError, Read, Scan};
use crate::record::{BatchBuilder, Position, Schema};

pub(crate) struct FileReader {
    config: FileSourceConfig,
    schema: Arc<Schema>,
    files: Vec<PathBuf>,
    /// The file being read; `files.len()` when all are read.
    current: usize,
    input: Option<OpenInput>,
    id: FileId,
    buffer: DecodeBuffer,
    /// The end of the current file has been seen.
    at_eof: bool,
    /// Uncompressed length of the files before the current one.
    before: u64,
    /// The name of the current file, if the plan reads `_topic`.
    topic: Option<Arc<str>>,
    wants_topic: bool,
    /// The name of the current file, for messages.
    name: Arc<str>,
    /// No pipe was among the files so far.
    can_replay: bool,
    ahead: Ahead,
    /// The current file is decoded ahead from this offset on, if there are helpers.
    pub(super) ahead_from: u64,
    /// Smaller files are not decoded ahead, in bytes.
    pub(super) large: u64,
}

/// Smaller files are not worth a helper, in bytes.
const LARGE: u64 = 4 << 20;
/// How far a file is read without helpers after a stretch where only decoding could tell where records end.
const STRETCH: u64 = 4 << 20;

impl FileReader {
    /// Opens the first file, so that a missing one is found before the job starts.
    pub(crate) fn open(
        config: FileSourceConfig,
        files: Vec<PathBuf>,
        scan: &Scan,
        decoder: Box<dyn Decoder>,
    ) -> Result<Self, IoError> {
        let mut reader = Self::new(config, files, scan, decoder);
        reader.open_current(Origin { offset: 0, line: 1 })?;
        Ok(reader)
    }

    fn new(config: FileSourceConfig, files: Vec<PathBuf>, scan: &Scan, decoder: Box<dyn Decoder>) -> Self {
        let buffer = DecodeBuffer::new(decoder, config.max_record_bytes);
        Self {
            config,
            schema: scan.schema.clone(),
            files,
            current: 0,
            input: None,
            id: FileId::default(),
            buffer,
            at_eof: false,
            before: 0,
            topic: None,
            wants_topic: scan.system.topic,
            name: Arc::default(),
            can_replay: true,
            ahead: Ahead::new(),
            ahead_from: u64::MAX,
            large: LARGE,
        }
    }

    /// Reads an open stream, whose first bytes are `sample`.
    pub(crate) fn of_stream(
        config: FileSourceConfig,
        input: OpenInput,
        sample: &[u8],
        scan: &Scan,
        decoder: Box<dyn Decoder>,
    ) -> Self {
        let mut reader = Self::new(config, vec![PathBuf::from(input.name())], scan, decoder);
        reader.name = input.name().into();
        reader.topic = reader.wants_topic.then(|| reader.name.clone());
        reader.input = Some(input);
        reader.can_replay = false;
        reader.buffer.preload(sample);
        reader
    }

    /// Opens the current file, if there is one, at `at`.
    fn open_current(&mut self, at: Origin) -> Result<(), IoError> {
        let Some(path) = self.files.get(self.current) else { return Ok(()) };
        let mut input = OpenInput::open(path, self.config.compression_of(path))?;
        let head = if at.offset > 0 { input.seek(at.offset)? } else { Vec::new() };
        let (id, len) = input.id_and_len()?;
        self.id = id;
        self.ahead_from = if input.is_pipe() || len < self.large { u64::MAX } else { 0 };
        self.can_replay &= !input.is_pipe();
        self.name = path.to_string_lossy().into();
        self.topic = self.wants_topic.then(|| self.name.clone());
        self.input = Some(input);
        self.buffer.restart(at, &head);
        self.at_eof = false;
        Ok(())
    }

    /// Leaves a file whose end was decoded.
    fn close_current(&mut self) -> Result<(), IoError> {
        if !self.buffer.pending().is_empty() {
            let name = self.input.as_ref().map_or("the file", OpenInput::name);
            return Err(IoError::data(format!(
                "the last {} bytes of {name} were not decoded",
                self.buffer.pending().len()
            )));
        }
        if self.current + 1 < self.files.len() {
            self.before += self.read_offset();
            // The next file is opened by the next fill: its failure must not undo what this one gave.
            self.buffer.restart(Origin { offset: 0, line: 1 }, &[]);
        }
        self.current += 1;
        self.input = None;
        self.at_eof = false;
        Ok(())
    }

    /// Offset behind what was read of the current file.
    fn read_offset(&self) -> u64 {
        if self.ahead.is_active() { self.ahead.read_offset() } else { self.buffer.read_offset() }
    }

    /// Gives a batch that helpers decoded, or that this thread decoded in their stead. `None`: go on without.
    fn read_ahead(&mut self, out: &mut BatchBuilder) -> Option<Read> {
        if !self.ahead.is_active() {
            let from = self.buffer.resume_at().offset;
            if self.at_eof
                || from < self.ahead_from
                || out.crew().is_none()
                || self.buffer.divisible().is_none()
            {
                return None;
            }
            self.ahead.begin(|bytes| self.buffer.hand_over(bytes));
        }
        if !out.is_empty() {
            out.seal();
            return Some(Read::More);
        }
        let input = self.input.as_mut()?;
        let crew = out.any_crew()?.clone();
        match self.ahead.next(input, self.buffer.decoder(), out, &crew) {
            Next::Given => {
                if let Some(topic) = &self.topic {
                    stamp_topic(topic, 0, out);
                }
                Some(Read::More)
            }
            Next::Over => {
                self.buffer.take_back(self.ahead.at(), self.ahead.rest());
                self.ahead_from = self.ahead.at().offset + STRETCH;
                None
            }
        }
    }

    fn fill(&mut self) -> Result<Fill, IoError> {
        if self.input.is_none() {
            self.open_current(Origin { offset: 0, line: 1 })?;
        }
        match &mut self.input {
            Some(input) => self.buffer.fill(input).map_err(|e| read_error(input.name(), e)),
            None => Ok(Fill::Eof),
        }
    }
}

impl DataReader for FileReader {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        let mut waited = false;
        let mut fills = 0;
        loop {
            if self.current >= self.files.len() {
                return Ok(if out.is_empty() { Read::End } else { Read::More });
            }
            let first = out.len();
            out.set_origin(Some(self.name.clone()));
            if let Some(read) = self.read_ahead(out) {
                return Ok(read);
            }
            let input = if self.at_eof { Input::Complete } else { Input::Partial };
            let full = self.buffer.decode(input, out).is_break();
            if let Some(topic) = &self.topic {
                stamp_topic(topic, first, out);
            }
            if let Some(why) = self.buffer.failure() {
                let name = self.input.as_ref().map_or("the file", OpenInput::name);
                return if out.is_empty() {
                    Err(IoError::data(format!("{name}: {why}")))
                } else {
                    Ok(Read::More)
                };
            }
            if full {
                return Ok(Read::More);
            }
            let step = match self.at_eof {
                true => self.close_current().map(|()| Fill::Bytes(0)),
                false => self.fill(),
            };
            match step {
                Ok(Fill::Bytes(_)) => {
                    fills += 1;
                    if fills == FILLS_A_CALL {
                        return Ok(Read::More);
                    }
                }
                Ok(Fill::Eof) => self.at_eof = true,
                Ok(Fill::WouldBlock) if !out.is_empty() => return Ok(Read::More),
                Ok(Fill::WouldBlock) if waited => return Ok(Read::Idle),
                Ok(Fill::WouldBlock) => {
                    waited = true;
                    match self.input.as_ref().map_or(Ok(false), |i| i.wait(out.max_wait())) {
                        Ok(true) => {}
                        Ok(false) => return Ok(Read::Idle),
                        Err(e) => return Err(e),
                    }
                }
                // What was decoded before it counts; the next call meets the error again.
                Err(_) if !out.is_empty() => return Ok(Read::More),
                Err(e) => return Err(e),
            }
        }
    }

    fn position(&self) -> Position {
        if !self.can_replay {
            return Position::default();
        }
        let at = if self.ahead.is_active() { self.ahead.at() } else { self.buffer.resume_at() };
        let index = self.current.min(self.files.len().saturating_sub(1));
        let Some(path) = self.files.get(index) else { return Position::default() };
        let files = vec![FileProgress { path: path.clone(), id: self.id, at }];
        FilePosition { total: self.before + at.offset, index: index as u32, files }.encode()
    }

    fn seek(&mut self, position: &Position) -> Result<(), IoError> {
        if position.is_start() {
            return Ok(());
        }
        if !self.can_replay {
            return Err(IoError::unsupported(format!(
                "{} can't be read again from a position",
                self.config.path
            )));
        }
        let stored = FilePosition::decode(position)?;
        let [at] = stored.files.as_slice() else {
            return Err(IoError::data("the stored position is that of a followed source"));
        };
        let Some(index) = self.files.iter().position(|f| *f == at.path) else {
            return Err(IoError::data(format!(
                "can't go on reading at {position}: '{}' is not among the files of '{}' any more",
                at.path.display(),
                self.config.path
            )));
        };
        if index > stored.index as usize {
            return Err(IoError::data(format!(
                "can't go on reading at {position}: {} files that were not there before now come ahead of it and would be left out",
                index - stored.index as usize
            )));
        }
        self.current = index;
        self.before = stored.total.saturating_sub(at.at.offset);
        self.open_current(at.at)
    }
}
