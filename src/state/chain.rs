//! Epochs that build on each other: a file that has only what changed, and the files before it that have the rest.

use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;

use super::dir::{MAX_FILE, file_name};
use super::{Checkpoint, FileId, Medium, StateError, StateReader, StateWriter, TableState};

/// What a file says of its place among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The epoch that it builds on.
    pub(super) before: Option<u64>,
    /// Its length.
    pub(super) bytes: u64,
}

/// The chain of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Files that have only changes.
    pub changes: usize,
    /// Their length together.
    pub change_bytes: u64,
    /// Length of the file at its beginning, which has everything.
    pub base_bytes: u64,
}

/// The epochs that one needs, itself first.
pub(super) fn walk(links: &BTreeMap<u64, Link>, epoch: u64) -> impl Iterator<Item = (u64, Link)> + '_ {
    let get = |epoch: u64| links.get(&epoch).map(|link| (epoch, *link));
    // An epoch builds on an earlier one; what says otherwise is damaged, and found out when it is read.
    std::iter::successors(get(epoch), move |(at, link)| get(link.before.filter(|b| b < at)?))
}

pub(super) fn measure(links: &BTreeMap<u64, Link>, epoch: u64) -> Chain {
    let mut chain = Chain::default();
    for (_, link) in walk(links, epoch) {
        match link.before {
            Some(_) => {
                chain.changes += 1;
                chain.change_bytes += link.bytes;
            }
            None => chain.base_bytes = link.bytes,
        }
    }
    chain
}

/// Why a checkpoint can't be completed.
#[derive(Debug)]
pub(super) enum Incomplete {
    /// A file could not be read: it may be sound for all we know.
    Unread(StateError),
    /// A file is not there, damaged, or not the one that was built on.
    Broken(StateError),
}

impl From<StateError> for Incomplete {
    fn from(e: StateError) -> Self {
        Self::Broken(e)
    }
}

impl Incomplete {
    pub(super) fn into_error(self) -> StateError {
        match self {
            Self::Unread(e) | Self::Broken(e) => e,
        }
    }
}

/// Completes a checkpoint from the files that it builds on.
///
/// # Errors
/// If one of them can't be used.
pub(super) fn complete(
    medium: &dyn Medium,
    dir: &Path,
    newest: Checkpoint,
) -> Result<Checkpoint, Incomplete> {
    let wanted = newest.epoch;
    complete_from(newest, |file| {
        let path = dir.join(file_name(file.epoch));
        let why = |e: &str| {
            StateError(format!(
                "epoch {wanted} has only what changed since epoch {}, whose file {} can't be used: {e}",
                file.epoch,
                path.display()
            ))
        };
        let bytes = medium.read(&path, MAX_FILE).map_err(|e| match e.kind() {
            ErrorKind::NotFound => Incomplete::Broken(why(&e.to_string())),
            _ => Incomplete::Unread(why(&e.to_string())),
        })?;
        let older = Checkpoint::decode(&bytes).map_err(|e| why(&e.0))?;
        Ok((older, why("it is another one than the one that it was built on")))
    })
}

/// Completes a checkpoint from those before it, newest first, wherever they are.
///
/// # Errors
/// If one of them can't be used.
pub fn complete_chain(
    newest: Checkpoint,
    mut older: impl FnMut(FileId) -> Result<Checkpoint, StateError>,
) -> Result<Checkpoint, StateError> {
    let wanted = newest.epoch;
    let done = complete_from(newest, |file| {
        let why = |e: &str| {
            let before = file.epoch;
            StateError(format!(
                "number {wanted} has only what changed since number {before}, which can't be used: {e}"
            ))
        };
        let older = older(file).map_err(|e| why(&e.0))?;
        Ok((older, why("it is another one than the one that it was built on")))
    });
    done.map_err(Incomplete::into_error)
}

/// `read` gives a checkpoint, and the error if it is not the right one.
fn complete_from(
    mut newest: Checkpoint,
    mut read: impl FnMut(FileId) -> Result<(Checkpoint, StateError), Incomplete>,
) -> Result<Checkpoint, Incomplete> {
    let mut open = Open::new(&mut newest)?;
    let mut before = newest.before;
    let (mut epoch, wanted) = (newest.epoch, newest.epoch);
    while let Some(file) = before.filter(|_| !open.tables.is_empty()) {
        let (older, wrong) = read(file)?;
        if file.epoch >= epoch || (older.epoch, older.id) != (file.epoch, file.id) || older.job != newest.job
        {
            return Err(wrong.into());
        }
        epoch = file.epoch;
        before = older.before;
        open.add(&older, &mut newest)?;
    }
    match open.tables.is_empty() {
        true => Ok(newest),
        false => {
            Err(StateError(format!("epoch {wanted} has only changes of a table that is nowhere whole"))
                .into())
        }
    }
}

/// Tables of which only changes are known so far.
struct Open {
    tables: Vec<OpenTable>,
}

struct OpenTable {
    operator: usize,
    table: usize,
    id: u64,
    /// Slots whose last entry has been found.
    seen: HashSet<u64>,
}

impl Open {
    fn new(newest: &mut Checkpoint) -> Result<Self, StateError> {
        let mut tables = Vec::new();
        for (operator, state) in newest.operators.iter_mut().enumerate() {
            for (table, state) in state.tables.iter_mut().enumerate().filter(|(_, t)| !t.whole) {
                let mut open = OpenTable { operator, table, id: state.id, seen: HashSet::new() };
                let pieces = std::mem::take(&mut state.pieces);
                for piece in &pieces {
                    state.pieces.push(open.unseen(piece, true)?);
                }
                tables.push(open);
            }
        }
        Ok(Self { tables })
    }

    /// Adds what an older file has of the tables, as far as no newer one has it.
    fn add(&mut self, older: &Checkpoint, newest: &mut Checkpoint) -> Result<(), StateError> {
        let mut found = Ok(());
        self.tables.retain_mut(|open| {
            let Some(state) = newest.operators.get_mut(open.operator) else { return false };
            let same = older.operators.iter().find(|o| o.id == state.id && o.spec == state.spec);
            let Some(part) = same.and_then(|o| o.tables.iter().find(|t| t.id == open.id)) else {
                found = Err(StateError(format!(
                    "epoch {} does not have a table of operator {} that a later one has changes of",
                    older.epoch, state.id
                )));
                return false;
            };
            let Some(table) = state.tables.get_mut(open.table) else { return false };
            match open.gather(part, table) {
                Ok(()) => !part.whole,
                Err(e) => {
                    found = Err(e);
                    false
                }
            }
        });
        found
    }
}

impl OpenTable {
    fn gather(&mut self, part: &TableState, to: &mut TableState) -> Result<(), StateError> {
        for piece in &part.pieces {
            // Behind a file that has everything no other is asked.
            let unseen = self.unseen(piece, !part.whole)?;
            if !unseen.is_empty() {
                to.pieces.push(unseen);
            }
        }
        to.whole |= part.whole;
        Ok(())
    }

    /// The groups of a piece that no newer file told of; those that are gone are left out.
    fn unseen(&mut self, piece: &[u8], remember: bool) -> Result<Vec<u8>, StateError> {
        let mut from = StateReader::new(piece);
        let mut to = StateWriter::new();
        while !from.is_empty() {
            let (slot, length) = (from.varint()?, from.varint()?);
            let content = from.take(length)?;
            if self.seen.contains(&slot) {
                continue;
            }
            if remember {
                self.seen.insert(slot);
            }
            if length > 0 {
                to.varint(slot);
                to.varint(length);
                to.raw(content);
            }
        }
        Ok(to.into_bytes())
    }
}
