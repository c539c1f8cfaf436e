//! The little binary encoding of snapshots: fixed little-endian numbers and length-prefixed bytes.
//! A reader bounds every length by what is left before it allocates.

use std::fmt;

use super::{Frozen, TableState};
use crate::record::Position;

/// Why a snapshot could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateError(pub String);

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for StateError {}

/// Appends values to a snapshot section.
#[derive(Debug, Default)]
pub struct StateWriter {
    pub(super) bytes: Vec<u8>,
    /// Where tables of groups are put; without it they go into the section.
    pub(super) frozen: Option<(Frozen, u32)>,
    /// The tables that were put there.
    pub(super) tables: Vec<TableState>,
}

impl StateWriter {
    /// An empty section.
    pub fn new() -> Self {
        Self::default()
    }
    /// A section that goes on behind those bytes.
    pub fn onto(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }
    /// A section of the operator with that number, whose tables of groups are taken down bit by bit, into `frozen`.
    pub fn freezing(frozen: &Frozen, operator: u32) -> Self {
        Self { frozen: Some((frozen.clone(), operator)), ..Self::default() }
    }
    /// A number in as few bytes as it takes, at most 10.
    #[inline]
    pub fn varint(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.bytes.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.bytes.push(v as u8);
    }
    /// A signed number in as few bytes as it takes.
    #[inline]
    pub fn zigzag(&mut self, v: i64) {
        self.varint((v << 1 ^ v >> 63) as u64);
    }
    /// A number, 8 bytes.
    pub fn u64(&mut self, v: u64) {
        self.bytes.extend_from_slice(&v.to_le_bytes());
    }
    /// One byte.
    pub fn u8(&mut self, v: u8) {
        self.bytes.push(v);
    }
    /// Bytes whose number the reader knows.
    pub(super) fn raw(&mut self, v: &[u8]) {
        self.bytes.extend_from_slice(v);
    }
    /// Bytes with their length in front.
    pub fn bytes(&mut self, v: &[u8]) {
        self.u64(v.len() as u64);
        self.bytes.extend_from_slice(v);
    }
    /// A position, with its printable form.
    pub fn position(&mut self, position: &Position) {
        self.bytes(position.bytes());
        self.bytes(position.to_string().as_bytes());
    }
    /// The finished section.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
    /// The finished section, and the tables that are taken down apart from it.
    pub fn into_parts(self) -> (Vec<u8>, Vec<TableState>) {
        (self.bytes, self.tables)
    }
}

/// Reads values back in the order in which they were written.
#[derive(Debug)]
pub struct StateReader<'a> {
    rest: &'a [u8],
    pub(super) tables: &'a [TableState],
}

impl<'a> StateReader<'a> {
    /// Reads a section.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, tables: &[] }
    }
    /// Reads a section whose tables of groups lie apart.
    pub fn with_tables(bytes: &'a [u8], tables: &'a [TableState]) -> Self {
        Self { rest: bytes, tables }
    }
    /// A number from [`StateWriter::varint`].
    ///
    /// # Errors
    /// If the section ends before, or it is none.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, StateError> {
        let mut v = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            v |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(v);
            }
        }
        Err(StateError("a number in the state is too long".into()))
    }
    /// A number from [`StateWriter::zigzag`].
    ///
    /// # Errors
    /// As [`varint`](Self::varint).
    #[inline]
    pub fn zigzag(&mut self) -> Result<i64, StateError> {
        let v = self.varint()?;
        Ok((v >> 1) as i64 ^ -((v & 1) as i64))
    }
    /// So many bytes, if there are.
    pub(super) fn take(&mut self, n: u64) -> Result<&'a [u8], StateError> {
        let n = usize::try_from(n).ok().filter(|&n| n <= self.rest.len());
        let n = n.ok_or_else(|| StateError("a length in the state exceeds its size".into()))?;
        let (head, rest) = self.rest.split_at(n);
        self.rest = rest;
        Ok(head)
    }
    /// A number.
    ///
    /// # Errors
    /// If the section ends before.
    pub fn u64(&mut self) -> Result<u64, StateError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<8>()
            .ok_or_else(|| StateError("the state ends too early".into()))?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*head))
    }
    /// One byte.
    ///
    /// # Errors
    /// If the section ends before.
    pub fn u8(&mut self) -> Result<u8, StateError> {
        Ok(u8::from_le_bytes(self.raw()?))
    }
    /// So many bytes.
    pub(super) fn raw<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| StateError("the state ends too early".into()))?;
        self.rest = rest;
        Ok(*head)
    }
    /// The bytes not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
    /// Number of bytes not read yet.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }
    /// Length-prefixed bytes.
    ///
    /// # Errors
    /// If the length exceeds what is left.
    pub fn bytes(&mut self) -> Result<&'a [u8], StateError> {
        let n = self.u64()?;
        self.take(n)
    }
    /// A position.
    ///
    /// # Errors
    /// If the section ends before.
    pub fn position(&mut self) -> Result<Position, StateError> {
        let (bytes, display) = (self.bytes()?, self.bytes()?);
        Ok(Position::new(bytes, String::from_utf8_lossy(display)))
    }
    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_come_back_and_take_few_bytes() {
        for (v, length) in [(0, 1), (-1, 1), (63, 1), (-64, 1), (64, 2), (i64::MAX, 10), (i64::MIN, 10)] {
            let mut w = StateWriter::new();
            w.zigzag(v);
            let bytes = w.into_bytes();
            assert_eq!(bytes.len(), length, "{v}");
            let mut r = StateReader::new(&bytes);
            assert_eq!((r.zigzag(), r.is_empty()), (Ok(v), true));
            assert!(StateReader::new(&bytes[..length - 1]).zigzag().is_err());
        }
        assert!(StateReader::new(&[0xFF; 20]).varint().is_err());
    }

    #[test]
    fn round_trip_and_every_cut_is_an_error() {
        let mut w = StateWriter::new();
        w.u64(7);
        w.bytes(b"hello");
        let bytes = w.into_bytes();
        let mut r = StateReader::new(&bytes);
        assert_eq!((r.u64(), r.bytes(), r.is_empty()), (Ok(7), Ok(&b"hello"[..]), true));
        for cut in 0..bytes.len() {
            let mut r = StateReader::new(&bytes[..cut]);
            assert!(r.u64().is_err() || r.bytes().is_err());
        }
    }
}
