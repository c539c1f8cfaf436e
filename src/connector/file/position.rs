//! Where a file reader stands, as bytes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::input::FileId;
use crate::codec::Origin;
use crate::io::IoError;
use crate::record::Position;

const VERSION: u8 = 1;

/// How far one file has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileProgress {
    pub(crate) path: PathBuf,
    pub(crate) id: FileId,
    pub(crate) at: Origin,
}

/// How far a source has been read.
///
/// Encoded with the bytes read in all first, big-endian, so that later positions compare greater.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FilePosition {
    /// Uncompressed bytes read from all files.
    pub(crate) total: u64,
    /// How many files come before the first of `files`.
    pub(crate) index: u32,
    /// The file being read; while following, every known file.
    pub(crate) files: Vec<FileProgress>,
}

impl FilePosition {
    pub(crate) fn encode(&self) -> Position {
        let mut out = vec![VERSION];
        out.extend(self.total.to_be_bytes());
        out.extend(self.index.to_be_bytes());
        out.extend((self.files.len() as u32).to_be_bytes());
        for f in &self.files {
            for n in [f.at.offset, f.at.line, f.id.dev, f.id.ino] {
                out.extend(n.to_be_bytes());
            }
            let path = f.path.as_os_str().as_bytes();
            out.extend((path.len() as u32).to_be_bytes());
            out.extend(path);
        }
        let display = match self.files.as_slice() {
            [one] => format!("{} byte {} (line {})", one.path.display(), one.at.offset, one.at.line),
            files => format!("{} files, {} bytes", files.len(), self.total),
        };
        Position::new(out, display)
    }

    /// # Errors
    /// If these are not the bytes of a file position.
    pub(crate) fn decode(position: &Position) -> Result<Self, IoError> {
        Self::parse(position.bytes())
            .ok_or_else(|| IoError::data("the stored position is not that of a file source"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (version, mut rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        let total = take_u64(&mut rest)?;
        let index = take_u32(&mut rest)?;
        let count = take_u32(&mut rest)?;
        let mut files = Vec::new();
        for _ in 0..count {
            let at = Origin { offset: take_u64(&mut rest)?, line: take_u64(&mut rest)? };
            let id = FileId { dev: take_u64(&mut rest)?, ino: take_u64(&mut rest)? };
            let len = take_u32(&mut rest)? as usize;
            let (path, tail) = rest.split_at_checked(len)?;
            rest = tail;
            files.push(FileProgress { path: OsStr::from_bytes(path).into(), id, at });
        }
        rest.is_empty().then_some(Self { total, index, files })
    }
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(u64::from_be_bytes(*head))
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(u32::from_be_bytes(*head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(total: u64, files: usize) -> FilePosition {
        let file = |i: usize| FileProgress {
            path: format!("dir/f{i}.csv").into(),
            id: FileId { dev: 1, ino: i as u64 },
            at: Origin { offset: total, line: 3 },
        };
        FilePosition { total, index: 2, files: (0..files).map(file).collect() }
    }

    #[test]
    fn round_trips_and_orders_by_bytes_read() {
        for n in 0..4 {
            let p = position(1 << 40, n);
            assert_eq!(FilePosition::decode(&p.encode()).unwrap(), p);
        }
        assert!(position(255, 3).encode() < position(256, 1).encode());
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let good = position(77, 2).encode();
        for cut in 0..good.bytes().len() {
            let bad = Position::new(good.bytes()[..cut].to_vec(), "");
            assert!(FilePosition::decode(&bad).is_err(), "cut at {cut}");
        }
        let mut long = good.bytes().to_vec();
        long.push(0);
        assert!(FilePosition::decode(&Position::new(long, "")).is_err());
    }
}
