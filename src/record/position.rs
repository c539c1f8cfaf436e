//! Where a reader stands, as opaque bytes that snapshots hold.

use std::fmt;

/// A place in one partition of a source: opaque to all but the reader that made it.
///
/// Ordered within a partition: a later position compares greater (readers encode their numbers
/// big-endian). The printable form is for people: it is never parsed and never compared.
#[derive(Clone, Debug, Default)]
pub struct Position {
    bytes: Vec<u8>,
    display: String,
}

impl Position {
    /// A position from its bytes and its printable form.
    pub fn new(bytes: impl Into<Vec<u8>>, display: impl Into<String>) -> Self {
        Self { bytes: bytes.into(), display: display.into() }
    }
    /// The reader's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// Whether this is the position of a reader that has not read anything or cannot say.
    pub fn is_start(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl PartialEq for Position {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}
impl Eq for Position {}
impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Position {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_start() { "start" } else { &self.display })
    }
}
