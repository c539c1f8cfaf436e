//! The MANIFEST of a transactional job: which epoch is committed, and whether its files have got their names.
//!
//! ```text
//! file    = magic version record*
//! record  = mark:u32 length:u32 crc:u32 content      crc over the content
//! content = 1 commit | 2 epoch                       2: the files of that epoch have their names
//! ```
//! Appending a commit and syncing it is the commit point of a job. A record that is cut off or damaged at the end is what a crash in
//! the middle of an append leaves: it is cut off. One before a good one can't have come about that way: the file is refused.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Medium, MediumFile, StateError, StateReader, StateWriter};
use crate::record::Position;

const MAGIC: &[u8; 8] = b"MSMANIF\n";
const VERSION: u32 = 1;
const MARK: &[u8; 4] = b"\xc5MSr";
const HEAD: usize = MAGIC.len() + 4;
/// Longer than any file that is compacted in time.
const MAX_FILE: u64 = 1 << 32;
/// Beyond so many records the file is written anew with the last ones.
const COMPACT: usize = 1000;

/// A committed epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Its number.
    pub epoch: u64,
    /// The job has ended with it.
    pub finished: bool,
    /// Where the sources stand.
    pub sources: Vec<(String, Position)>,
    /// Where the sinks stand, with the files that they staged for it.
    pub sinks: Vec<(String, Position)>,
}

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The last commit.
    pub last: Option<Commit>,
    /// Whether its files have their names.
    pub published: bool,
    /// Number of records.
    pub records: usize,
    /// Length up to the end of the last good record.
    pub good: u64,
}

/// An open MANIFEST.
pub struct Manifest {
    path: PathBuf,
    medium: Arc<dyn Medium>,
    file: Box<dyn MediumFile>,
    state: Committed,
}

impl std::fmt::Debug for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manifest")
            .field("path", &self.path)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Manifest {
    /// Opens the MANIFEST of a job's state directory, or creates it; cuts off a torn tail.
    ///
    /// # Errors
    /// If it can't be read or written, or is damaged before its last record.
    pub fn open(medium: Arc<dyn Medium>, dir: &Path) -> Result<Self, StateError> {
        let path = dir.join("MANIFEST");
        let failed =
            |what: &str, e: std::io::Error| StateError(format!("can't {what} {}: {e}", path.display()));
        let bytes = match medium.read(&path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(failed("read", e)),
        };
        let state = scan(&bytes).map_err(|e| StateError(format!("{}: {e}", path.display())))?;
        if state.good < bytes.len() as u64 {
            let torn = bytes.len() as u64 - state.good;
            log::info!(
                "{}: cutting off {torn} bytes of a record that was not written to its end",
                path.display()
            );
            medium.truncate(&path, state.good).map_err(|e| failed("cut off", e))?;
        }
        let mut file = medium.append(&path).map_err(|e| failed("open", e))?;
        if state.good == 0 {
            file.write_all(&head()).and_then(|()| file.sync()).map_err(|e| failed("write", e))?;
            medium.sync_dir(dir).map_err(|e| failed("make durable the name of", e))?;
        }
        Ok(Self { path, medium, file, state })
    }

    /// The last commit, and whether its files have their names.
    pub fn last(&self) -> Option<(&Commit, bool)> {
        self.state.last.as_ref().map(|c| (c, self.state.published))
    }

    /// Commits an epoch: when this returns, it counts.
    ///
    /// # Errors
    /// Whether it counts is then known only when the file is opened again.
    pub fn commit(&mut self, commit: Commit) -> Result<(), StateError> {
        if self.state.records >= COMPACT && self.state.published {
            self.compact()?;
        }
        self.append(&content_of(&commit))?;
        (self.state.last, self.state.published) = (Some(commit), false);
        Ok(())
    }

    /// The files of the last commit have their names.
    ///
    /// # Errors
    /// If it can't be written; the names are then looked after at the next start.
    pub fn published(&mut self) -> Result<(), StateError> {
        let Some(epoch) = self.state.last.as_ref().map(|c| c.epoch) else { return Ok(()) };
        self.append(&published_content(epoch))?;
        self.state.published = true;
        Ok(())
    }

    fn append(&mut self, content: &[u8]) -> Result<(), StateError> {
        let mut bytes = Vec::with_capacity(content.len() + 12);
        record(content, &mut bytes);
        self.file
            .write_all(&bytes)
            .and_then(|()| self.file.sync())
            .map_err(|e| StateError(format!("can't write {}: {e}", self.path.display())))?;
        self.state.records += 1;
        Ok(())
    }

    /// Writes the file anew with the last commit alone.
    fn compact(&mut self) -> Result<(), StateError> {
        let failed = |what: &str, e: std::io::Error| {
            StateError(format!("can't {what} the shortened {}: {e}", self.path.display()))
        };
        let Some(last) = &self.state.last else { return Ok(()) };
        let mut bytes = head();
        record(&content_of(last), &mut bytes);
        record(&published_content(last.epoch), &mut bytes);
        let temporary = self.path.with_extension("new");
        let mut file = self.medium.create(&temporary).map_err(|e| failed("create", e))?;
        file.write_all(&bytes).and_then(|()| file.sync()).map_err(|e| failed("write", e))?;
        drop(file);
        self.medium.rename(&temporary, &self.path).map_err(|e| failed("rename", e))?;
        let dir = self.path.parent().unwrap_or(Path::new("."));
        self.medium.sync_dir(dir).map_err(|e| failed("make durable", e))?;
        self.file = self.medium.append(&self.path).map_err(|e| failed("open", e))?;
        self.state.records = 2;
        Ok(())
    }
}

/// Reads what a MANIFEST says; `good` tells where a torn tail begins.
///
/// # Errors
/// If it is none, of another version, or damaged before its last record.
pub fn scan(bytes: &[u8]) -> Result<Committed, StateError> {
    if head().starts_with(bytes) && bytes.len() < HEAD {
        // The crash came before its first bytes were durable.
        return Ok(Committed::default());
    }
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| StateError("it is no MANIFEST".into()))?;
    let version = rest.first_chunk::<4>().map(|v| u32::from_le_bytes(*v));
    if version != Some(VERSION) {
        return Err(StateError(format!(
            "it has format version {}; this program reads version {VERSION}",
            version.unwrap_or_default()
        )));
    }
    let mut state = Committed { good: HEAD as u64, ..Committed::default() };
    let mut at = HEAD;
    while let Some(rest) = bytes.get(at..).filter(|r| !r.is_empty()) {
        let Some(content) = take_record(rest) else {
            let later = (1..rest.len()).any(|skip| rest.get(skip..).and_then(take_record).is_some());
            if later {
                return Err(StateError(format!("it is damaged at byte {at}, before a good record")));
            }
            break;
        };
        apply(content, &mut state)?;
        at += 12 + content.len();
        state.good = at as u64;
        state.records += 1;
    }
    Ok(state)
}

fn head() -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes
}

fn record(content: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(MARK);
    to.extend_from_slice(&(content.len() as u32).to_le_bytes());
    to.extend_from_slice(&crc32fast::hash(content).to_le_bytes());
    to.extend_from_slice(content);
}

/// The content of the record that begins here, if it is a good one.
fn take_record(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(MARK)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let content = rest.get(..u32::from_le_bytes(*length) as usize)?;
    super::checkpoint::sum_fits(content, *crc).then_some(content)
}

fn content_of(commit: &Commit) -> Vec<u8> {
    let mut to = StateWriter::new();
    to.u8(1);
    to.u64(commit.epoch);
    to.u8(u8::from(commit.finished));
    for list in [&commit.sources, &commit.sinks] {
        to.u64(list.len() as u64);
        for (name, position) in list {
            to.bytes(name.as_bytes());
            to.position(position);
        }
    }
    to.into_bytes()
}

fn published_content(epoch: u64) -> Vec<u8> {
    let mut to = StateWriter::new();
    to.u8(2);
    to.u64(epoch);
    to.into_bytes()
}

fn apply(content: &[u8], state: &mut Committed) -> Result<(), StateError> {
    let mut from = StateReader::new(content);
    let kind = from.u8()?;
    let epoch = from.u64()?;
    match kind {
        1 => {
            let mut commit = Commit { epoch, finished: from.u8()? != 0, ..Commit::default() };
            for list in [&mut commit.sources, &mut commit.sinks] {
                for _ in 0..from.u64()? {
                    let name = String::from_utf8_lossy(from.bytes()?).into_owned();
                    list.push((name, from.position()?));
                }
            }
            (state.last, state.published) = (Some(commit), false);
        }
        2 => state.published |= state.last.as_ref().is_some_and(|c| c.epoch == epoch),
        other => {
            return Err(StateError(format!(
                "it has a record of kind {other}, which this program does not know"
            )));
        }
    }
    match from.is_empty() {
        true => Ok(()),
        false => Err(StateError("a record is longer than it should be".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Disk;

    fn sample(epoch: u64) -> Commit {
        Commit {
            epoch,
            finished: epoch == 3,
            sources: vec![("in".into(), Position::new([epoch as u8], "byte"))],
            sinks: vec![("out".into(), Position::new([7; 20], "one file"))],
        }
    }

    /// Three epochs, the last not published; and where each record ends.
    fn written() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = head();
        let mut ends = vec![bytes.len()];
        for epoch in 1..=3 {
            record(&content_of(&sample(epoch)), &mut bytes);
            ends.push(bytes.len());
            if epoch < 3 {
                record(&published_content(epoch), &mut bytes);
                ends.push(bytes.len());
            }
        }
        (bytes, ends)
    }

    #[test]
    fn a_cut_anywhere_leaves_the_records_before_it() {
        let (bytes, ends) = written();
        for cut in 0..=bytes.len() {
            let state = scan(&bytes[..cut]).unwrap();
            let whole = ends.iter().filter(|e| **e <= cut).count().saturating_sub(1);
            assert_eq!(state.records, whole, "cut at {cut}");
            let (epoch, published) =
                [(0, false), (1, false), (1, true), (2, false), (2, true), (3, false)][whole];
            assert_eq!(state.last, (epoch > 0).then(|| sample(epoch)), "cut at {cut}");
            assert_eq!(state.published, published, "cut at {cut}");
            assert_eq!(state.good, if cut < HEAD { 0 } else { ends[whole] as u64 });
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_before_a_good_record_and_cut_off_in_the_last() {
        let (bytes, ends) = written();
        let last = ends[ends.len() - 2];
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            match scan(&changed) {
                Err(_) => assert!(bit / 8 < last, "bit {bit}"),
                Ok(state) => {
                    assert!(bit / 8 >= last, "bit {bit}: {state:?}");
                    assert_eq!((state.records, state.good), (4, last as u64));
                }
            }
        }
    }

    #[test]
    fn it_is_the_same_after_it_was_opened_again_and_stays_short() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Manifest::open(Arc::new(Disk), dir.path()).unwrap();
        let path = dir.path().join("MANIFEST");
        assert_eq!(open().last(), None);
        for epoch in 1..=1300 {
            let mut manifest = open();
            manifest.commit(sample(epoch)).unwrap();
            if epoch % 100 == 0 {
                // What a crash in the middle of an append leaves.
                let mut bytes = std::fs::read(&path).unwrap();
                bytes.extend_from_slice(b"\xc5MSr\x10\0\0\0torn");
                std::fs::write(&path, bytes).unwrap();
                manifest = open();
            }
            manifest.published().unwrap();
        }
        assert_eq!(open().last(), Some((&sample(1300), true)));
        assert!(std::fs::metadata(&path).unwrap().len() < 200 * COMPACT as u64);
        assert!(!dir.path().join("MANIFEST.new").exists());
    }

    #[test]
    fn what_is_none_or_newer_is_refused() {
        let (bytes, _) = written();
        assert!(scan(b"something else that is long enough").is_err());
        let mut newer = bytes.clone();
        newer[MAGIC.len()] = 2;
        assert!(scan(&newer).unwrap_err().to_string().contains("version 2"));
        let mut unknown = head();
        record(&[9; 9], &mut unknown);
        assert!(scan(&unknown).is_err());
    }
}
