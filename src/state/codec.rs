//! The little binary encoding of snapshots: fixed little-endian numbers and length-prefixed bytes.
//! A reader bounds every length by what is left before it allocates.

use std::fmt;

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
    bytes: Vec<u8>,
}

impl StateWriter {
    /// An empty section.
    pub fn new() -> Self {
        Self::default()
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
}

/// Reads values back in the order in which they were written.
#[derive(Debug)]
pub struct StateReader<'a> {
    rest: &'a [u8],
}

impl<'a> StateReader<'a> {
    /// Reads a section.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
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
    /// Bytes not read yet.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }
    /// Length-prefixed bytes.
    ///
    /// # Errors
    /// If the length exceeds what is left.
    pub fn bytes(&mut self) -> Result<&'a [u8], StateError> {
        let n = self.u64()?;
        let n = usize::try_from(n).ok().filter(|&n| n <= self.rest.len());
        let n = n.ok_or_else(|| StateError("a length in the state exceeds its size".into()))?;
        let (head, rest) = self.rest.split_at(n);
        self.rest = rest;
        Ok(head)
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
