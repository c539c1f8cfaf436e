//! Sorting more than fits into memory by a number: sorted runs in files, merged as they are read.
//!
//! After Knuth, The Art of Computer Programming, volume 3, 5.4. The files have no name any more when they are written, so that
//! nothing of them stays behind when the process ends, however it does; a name that comes back with the power is removed when the
//! state directory is opened, as its ending is that of what is not finished.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Medium, StateError};

/// Buffer of a file.
const BUFFER: usize = 64 << 10;
/// Runs become as long as this if there are many of them, so that they are not too many files.
const LEAST: usize = 256 << 10;
/// After so many files runs are twice as long.
const MANY: usize = 16;
/// Bytes of an entry besides its content, where it waits to be sorted.
const PLACE: usize = size_of::<Place>();

type Place = (u64, u32, u32);

/// Takes entries in any order.
pub struct Runs {
    medium: Arc<dyn Medium>,
    path: PathBuf,
    /// Bytes that may wait in memory.
    limit: usize,
    content: Vec<u8>,
    places: Vec<Place>,
    files: Vec<Box<dyn Read + Send>>,
}

/// Gives entries in order.
pub struct Sorted {
    path: PathBuf,
    runs: Vec<Run>,
    /// The number of each run's next entry.
    next: BinaryHeap<Reverse<(u64, usize)>>,
}

enum Run {
    File(BufReader<Box<dyn Read + Send>>),
    Memory { content: Vec<u8>, places: std::vec::IntoIter<Place> },
}

impl fmt::Debug for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runs").field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for Sorted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sorted").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Runs {
    /// No entries; files are made in `dir`, and about `limit` bytes are in memory at a time, or more if that makes too many files.
    pub fn new(medium: Arc<dyn Medium>, dir: &Path, limit: usize) -> Self {
        let path = dir.join("sorting.tmp");
        let limit = limit.min(1 << 31);
        Self { medium, path, limit, content: Vec::new(), places: Vec::new(), files: Vec::new() }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// If a file can't be written.
    pub fn push(&mut self, number: u64, content: &[u8]) -> Result<(), StateError> {
        let held = self.content.len() + content.len() + (self.places.len() + 1) * PLACE;
        if held > self.limit && !self.places.is_empty() {
            self.write_run().map_err(|e| failed("write", &self.path, &e))?;
        }
        self.places.push((number, self.content.len() as u32, content.len() as u32));
        self.content.extend_from_slice(content);
        Ok(())
    }

    fn write_run(&mut self) -> io::Result<()> {
        self.places.sort_unstable();
        let file = self.medium.create(&self.path)?;
        let reader = self.medium.open(&self.path)?;
        self.medium.remove(&self.path)?;
        let mut to = BufWriter::with_capacity(BUFFER, file);
        for (number, at, len) in self.places.drain(..) {
            to.write_all(&number.to_le_bytes())?;
            to.write_all(&len.to_le_bytes())?;
            to.write_all(slice(&self.content, at, len))?;
        }
        self.content.clear();
        to.flush()?;
        self.files.push(reader);
        if self.limit < LEAST && self.files.len().is_multiple_of(MANY) {
            self.limit = (self.limit * 2).max(PLACE);
        }
        Ok(())
    }

    /// All entries by number.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn sorted(mut self) -> Result<Sorted, StateError> {
        self.places.sort_unstable();
        let files = self.files.into_iter().map(|f| Run::File(BufReader::with_capacity(BUFFER, f)));
        let rest = Run::Memory { content: self.content, places: self.places.into_iter() };
        let runs: Vec<Run> = files.chain([rest]).collect();
        let mut sorted = Sorted { path: self.path, next: BinaryHeap::with_capacity(runs.len()), runs };
        (0..sorted.runs.len()).try_for_each(|run| sorted.look(run))?;
        Ok(sorted)
    }
}

impl Sorted {
    /// The next entry, put into `content` in place of what is there; gives its number.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn next(&mut self, content: &mut Vec<u8>) -> Result<Option<u64>, StateError> {
        let Some(Reverse((number, at))) = self.next.pop() else { return Ok(None) };
        content.clear();
        match self.runs.get_mut(at) {
            Some(Run::File(file)) => {
                let mut len = [0; 4];
                let read = file.read_exact(&mut len).and_then(|()| {
                    content.resize(u32::from_le_bytes(len) as usize, 0);
                    file.read_exact(content)
                });
                read.map_err(|e| failed("read", &self.path, &e))?;
            }
            Some(Run::Memory { content: from, places }) => {
                if let Some((_, at, len)) = places.next() {
                    content.extend_from_slice(slice(from, at, len));
                }
            }
            None => {}
        }
        self.look(at)?;
        Ok(Some(number))
    }

    /// Looks at the number of a run's next entry.
    fn look(&mut self, at: usize) -> Result<(), StateError> {
        let number = match self.runs.get_mut(at) {
            Some(Run::File(file)) => {
                let mut number = [0; 8];
                match file.read_exact(&mut number) {
                    Ok(()) => Some(u64::from_le_bytes(number)),
                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => None,
                    Err(e) => return Err(failed("read", &self.path, &e)),
                }
            }
            Some(Run::Memory { places, .. }) => places.as_slice().first().map(|(number, ..)| *number),
            None => None,
        };
        self.next.extend(number.map(|n| Reverse((n, at))));
        Ok(())
    }
}

fn slice(content: &[u8], at: u32, len: u32) -> &[u8] {
    content.get(at as usize..at as usize + len as usize).unwrap_or_default()
}

fn failed(what: &str, path: &Path, e: &io::Error) -> StateError {
    StateError(format!("can't {what} {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Disk;

    #[test]
    fn entries_come_in_order_whether_they_fit_into_memory_or_not() {
        let dir = tempfile::tempdir().unwrap();
        for (count, limit) in [(0, 100), (1, 0), (50, 1 << 20), (1000, 4000), (1000, 0)] {
            let mut runs = Runs::new(Arc::new(Disk), dir.path(), limit);
            for n in 0..count {
                let number = n * 7919 % 1009;
                runs.push(number, &vec![number as u8; number as usize % 50]).unwrap();
            }
            let files = runs.files.len();
            assert_eq!(files > 0, count > 1 && limit < 1 << 20, "{files} files");
            assert!(files < 200, "{files} files");
            let (mut sorted, mut content, mut got) = (runs.sorted().unwrap(), Vec::new(), Vec::new());
            while let Some(number) = sorted.next(&mut content).unwrap() {
                assert_eq!(content, vec![number as u8; number as usize % 50]);
                got.push(number);
            }
            let mut expected: Vec<u64> = (0..count).map(|n| n * 7919 % 1009).collect();
            expected.sort_unstable();
            assert_eq!(got, expected);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no file stays");
        }
    }
}
