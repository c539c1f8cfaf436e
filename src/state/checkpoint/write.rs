//! Writing a checkpoint file, section by section.

use std::io::{self, Write};

use super::{Checkpoint, END, MAGIC, OperatorState, VERSION, kind};
use crate::state::{Piece, StateWriter};

/// A file under way: header and operators are written, pieces follow, the ending comes last.
#[derive(Debug)]
pub struct CheckpointWriter<W> {
    to: W,
    crc: crc32fast::Hasher,
    len: u64,
}

impl<W: Write> CheckpointWriter<W> {
    /// Writes all of a checkpoint that is known at its barrier: not its ending, and no pieces.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn begin(to: W, checkpoint: &Checkpoint) -> io::Result<Self> {
        let mut file = Self { to, crc: crc32fast::Hasher::new(), len: 0 };
        file.put(MAGIC)?;
        file.put(&VERSION.to_le_bytes())?;
        file.section(&[&[kind::HEADER], &header(checkpoint)])?;
        for operator in &checkpoint.operators {
            let (front, back) = operator_parts(operator);
            file.section(&[&[kind::OPERATOR], &front, &operator.state, &back])?;
        }
        Ok(file)
    }

    /// Writes groups of a table.
    ///
    /// # Errors
    /// Those of the target.
    pub fn piece(&mut self, piece: &Piece) -> io::Result<()> {
        self.groups(u64::from(piece.operator), piece.table, &piece.bytes)
    }

    fn groups(&mut self, operator: u64, table: u64, bytes: &[u8]) -> io::Result<()> {
        self.section(&[&[kind::PIECE], &operator.to_le_bytes(), &table.to_le_bytes(), bytes])
    }

    /// Writes where sources and sinks stand, and the end. Gives the target, the file's length and its id, which is the
    /// checkpoint's if that has one.
    ///
    /// # Errors
    /// Those of the target.
    pub fn end(mut self, checkpoint: &Checkpoint) -> io::Result<(W, u64, u64)> {
        let made = self.len << 32 | u64::from(self.crc.clone().finalize());
        let id = if checkpoint.id == 0 { made.max(1) } else { checkpoint.id };
        self.section(&[&[kind::ENDING], &ending(checkpoint, id)])?;
        let total = self.len + 8 + 4 + END.len() as u64;
        self.put(&total.to_le_bytes())?;
        let crc = self.crc.clone().finalize();
        self.put(&crc.to_le_bytes())?;
        self.put(END)?;
        Ok((self.to, self.len, id))
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.len += bytes.len() as u64;
        self.to.write_all(bytes)
    }
    fn section(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let mut crc = crc32fast::Hasher::new();
        parts.iter().for_each(|p| crc.update(p));
        let len: usize = parts.iter().map(|p| p.len()).sum();
        self.put(&(len as u64).to_le_bytes())?;
        self.put(&crc.finalize().to_le_bytes())?;
        parts.iter().try_for_each(|p| self.put(p))
    }
}

impl Checkpoint {
    /// Writes the file as a whole; gives its length and its id.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write(&self, to: &mut dyn Write) -> io::Result<(u64, u64)> {
        let mut file = CheckpointWriter::begin(to, self)?;
        for (operator, state) in self.operators.iter().enumerate() {
            for table in &state.tables {
                for piece in &table.pieces {
                    file.groups(operator as u64, table.id, piece)?;
                }
            }
        }
        let (_, len, id) = file.end(self)?;
        Ok((len, id))
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A vector takes everything.
        let _ = self.write(&mut bytes);
        bytes
    }
}

fn header(checkpoint: &Checkpoint) -> Vec<u8> {
    let mut header = StateWriter::new();
    header.bytes(checkpoint.job.as_bytes());
    header.u64(u64::from(checkpoint.plan));
    header.bytes(checkpoint.engine.as_bytes());
    header.u64(checkpoint.epoch);
    let before = checkpoint.before.unwrap_or_default();
    header.u64(before.epoch);
    header.u64(before.id);
    header.u64(checkpoint.operators.len() as u64);
    header.into_bytes()
}

/// What stands before and behind an operator's state.
fn operator_parts(operator: &OperatorState) -> (Vec<u8>, Vec<u8>) {
    let mut front = StateWriter::new();
    front.bytes(operator.id.as_bytes());
    front.u64(u64::from(operator.spec));
    front.u8(u8::from(operator.stateful));
    front.u64(operator.inputs.len() as u64);
    for input in &operator.inputs {
        front.i64(input.watermark);
        front.u8(u8::from(input.ended) | u8::from(input.idle) << 1);
    }
    front.i64(operator.watermark);
    front.u64(operator.state.len() as u64);
    let mut back = StateWriter::new();
    back.u64(operator.tables.len() as u64);
    for table in &operator.tables {
        back.u64(table.id);
        back.u8(u8::from(table.whole));
    }
    (front.into_bytes(), back.into_bytes())
}

fn ending(checkpoint: &Checkpoint, id: u64) -> Vec<u8> {
    let mut ending = StateWriter::new();
    ending.u64(id);
    ending.u8(u8::from(checkpoint.finished));
    ending.u64(checkpoint.sources.len() as u64);
    for source in &checkpoint.sources {
        ending.bytes(source.name.as_bytes());
        ending.position(&source.position);
        ending.u8(u8::from(source.ended));
    }
    ending.u64(checkpoint.sinks.len() as u64);
    for (name, position) in &checkpoint.sinks {
        ending.bytes(name.as_bytes());
        ending.position(position);
    }
    ending.into_bytes()
}
