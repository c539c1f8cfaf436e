//! Taking down what lies in numbered places, such as sessions, partitions or rows that are kept, while it goes on changing: what `keyed/frozen.rs`
//! does for tables of groups, for any owner.
//!
//! The owner calls [`Places::touch`] before what is in a place changes, comes or goes. At a barrier ([`Places::snapshot`]) the places
//! become *due*: all of them, or those that changed since the barrier before. What is due is encoded before it changes for the
//! first time, the rest in slices ([`Places::take_down`]). In files it looks as tables of groups do (`keyed/snapshot.rs`):
//!
//! ```text
//! places = 0 count (length content)*    in the section itself
//!        | 1 number                     apart, in pieces: entry*
//! entry  = place length content         length 0: there is nothing any more
//! ```
//! Rows that only come until all of them go at once ([`Places::snapshot_log`]) need no touch.

use super::{Frozen, Piece, StateError, StateReader, StateWriter, TableState};

/// Bytes of a piece: enough to be worth handing on.
const PIECE: usize = 64 << 10;
/// What looking at a place costs at least, in bytes of a slice.
const LOOK: usize = 16;
const WITHIN: u8 = 0;
const APART: u8 = 1;

/// What changed, and what of it is still to be taken down.
#[derive(Debug, Default)]
pub struct Places {
    /// What places carry that changed since the last barrier: 1 and 2 by turns; 0 before the first, when nothing is noted.
    now: u8,
    /// By place; those beyond its end have not changed.
    changed: Vec<u8>,
    /// Those that changed since the last barrier.
    list: Vec<u32>,
    /// Of rows that only come: so many are in the last snapshot.
    logged: usize,
    /// The number in the last snapshot that took down all; 0: none did.
    number: u64,
    freeze: Option<Box<Freeze>>,
}

#[derive(Debug)]
struct Freeze {
    to: Frozen,
    operator: u32,
    /// Places that had changed; `None`: all up to the end are due.
    list: Option<Vec<u32>>,
    end: usize,
    at: usize,
    bytes: StateWriter,
    content: StateWriter,
}

impl Places {
    /// To be called before what is in a place changes; `write` writes what is there, and nothing if nothing is.
    #[inline]
    pub fn touch(&mut self, place: usize, write: impl FnOnce(&mut StateWriter)) {
        if self.now != 0 && self.changed.get(place) != Some(&self.now) {
            self.first_touch(place, write);
        }
    }

    #[inline(never)]
    fn first_touch(&mut self, place: usize, write: impl FnOnce(&mut StateWriter)) {
        if self.changed.len() <= place {
            self.changed.resize(place + 1, 0);
        }
        let Some(changed) = self.changed.get_mut(place) else { return };
        let before = std::mem::replace(changed, self.now);
        self.list.push(place as u32);
        if let Some(freeze) = &mut self.freeze {
            let due = match freeze.list {
                None => (freeze.at..freeze.end).contains(&place),
                Some(_) => before != 0,
            };
            if due {
                freeze.encode(place, self.number, write);
            }
        }
    }

    /// Writes what is in `places` places, `held` of which hold something: into the section, or, where the writer lets it be taken down bit
    /// by bit, it is due from now on. `write` writes what is in a place, and nothing if nothing is.
    pub fn snapshot(
        &mut self,
        to: &mut StateWriter,
        (places, held): (usize, usize),
        mut write: impl FnMut(usize, &mut StateWriter),
    ) {
        let Some((frozen, operator)) = to.frozen.clone() else {
            return within(to, places, held, write);
        };
        self.settle(&mut write);
        let list = std::mem::take(&mut self.list);
        // Where most has changed a list of it is no shorter.
        let whole = frozen.is_whole() || self.number == 0 || list.len() > held / 2;
        self.now = if self.now == 1 { 2 } else { 1 };
        let end = if whole { places } else { list.len() };
        self.freeze(to, (frozen, operator), whole, (!whole).then_some(list), 0..end);
    }

    /// The same for rows that only come until all of them go: `rows` of them.
    pub fn snapshot_log(
        &mut self,
        to: &mut StateWriter,
        rows: usize,
        mut write: impl FnMut(usize, &mut StateWriter),
    ) {
        let Some((frozen, operator)) = to.frozen.clone() else {
            return within(to, rows, rows, write);
        };
        self.settle(&mut write);
        let whole = frozen.is_whole() || self.number == 0 || rows < self.logged;
        let from = if whole { 0 } else { self.logged };
        self.logged = rows;
        self.freeze(to, (frozen, operator), whole, None, from..rows);
    }

    fn freeze(
        &mut self,
        to: &mut StateWriter,
        (frozen, operator): (Frozen, u32),
        whole: bool,
        list: Option<Vec<u32>>,
        due: std::ops::Range<usize>,
    ) {
        if whole {
            self.number = frozen.number();
        }
        to.u8(APART);
        to.varint(self.number);
        to.tables.push(TableState { id: self.number, whole, pieces: Vec::new() });
        if !due.is_empty() {
            frozen.begin();
            let (bytes, content) = (StateWriter::new(), StateWriter::new());
            let (to, at, end) = (frozen, due.start, due.end);
            self.freeze = Some(Box::new(Freeze { to, operator, list, end, at, bytes, content }));
        }
    }

    /// Takes down what is due, about `budget` bytes of it, and lowers it by what was taken.
    pub fn take_down(&mut self, budget: &mut usize, mut write: impl FnMut(usize, &mut StateWriter)) {
        let Some(mut freeze) = self.freeze.take() else { return };
        while freeze.at < freeze.end {
            if *budget == 0 {
                self.freeze = Some(freeze);
                return;
            }
            let place = match &freeze.list {
                None => freeze.at,
                Some(list) => list.get(freeze.at).map_or(0, |p| *p as usize),
            };
            freeze.at += 1;
            let mut cost = LOOK;
            // One that changed since then has been taken down.
            let changed = self.changed.get_mut(place);
            if self.now == 0 || changed.as_deref() != Some(&self.now) {
                if let Some(changed) = changed {
                    *changed = 0;
                }
                cost += freeze.encode(place, self.number, |to| write(place, to));
            }
            *budget = budget.saturating_sub(cost);
        }
        freeze.hand_on(self.number);
        freeze.to.end();
    }

    /// Takes down what is due at once.
    pub fn settle(&mut self, write: impl FnMut(usize, &mut StateWriter)) {
        if self.freeze.as_ref().is_some_and(|f| f.to.is_abandoned()) {
            self.freeze = None;
        }
        let mut everything = usize::MAX;
        self.take_down(&mut everything, write);
    }

    /// Other things lie in the places from now on: takes down what is due, and forgets what was noted.
    pub fn forget(&mut self, write: impl FnMut(usize, &mut StateWriter)) {
        self.settle(write);
        *self = Self::default();
    }

    /// Memory, in bytes.
    pub fn bytes(&self) -> usize {
        let frozen = self.freeze.as_ref().and_then(|f| f.list.as_ref()).map_or(0, Vec::capacity);
        self.changed.capacity() + (self.list.capacity() + frozen) * size_of::<u32>()
    }
}

impl Freeze {
    /// Encodes what is in a place, or that there is nothing; gives the bytes that it took.
    fn encode(&mut self, place: usize, number: u64, write: impl FnOnce(&mut StateWriter)) -> usize {
        self.content.bytes.clear();
        write(&mut self.content);
        let content = &self.content.bytes;
        if content.is_empty() && self.list.is_none() {
            return 0;
        }
        self.bytes.varint(place as u64);
        self.bytes.varint(content.len() as u64);
        self.bytes.raw(content);
        let took = content.len();
        if self.bytes.bytes.len() >= PIECE {
            self.hand_on(number);
            self.bytes.bytes.reserve(PIECE + PIECE / 8);
        }
        took
    }

    fn hand_on(&mut self, table: u64) {
        if !self.bytes.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.bytes.bytes);
            self.to.put(Piece { operator: self.operator, table, bytes });
        }
    }
}

fn within(to: &mut StateWriter, places: usize, held: usize, mut write: impl FnMut(usize, &mut StateWriter)) {
    to.u8(WITHIN);
    to.varint(held as u64);
    let mut content = StateWriter::new();
    for place in 0..places {
        content.bytes.clear();
        write(place, &mut content);
        if !content.bytes.is_empty() {
            to.varint(content.bytes.len() as u64);
            to.raw(&content.bytes);
        }
    }
}

/// Reads what [`Places::snapshot`] wrote, place by place: `each` must read all of what it is given.
///
/// # Errors
/// If the state is damaged, or those of `each`.
pub fn read_places(
    from: &mut StateReader<'_>,
    mut each: impl FnMut(&mut StateReader<'_>) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let mut read = |content: &[u8]| {
        let mut content = StateReader::new(content);
        each(&mut content)?;
        match content.is_empty() {
            true => Ok(()),
            false => Err(StateError("a part of the state has another shape than the plan's".into())),
        }
    };
    match from.u8()? {
        WITHIN => {
            for _ in 0..from.varint()? {
                let length = from.varint()?;
                read(from.take(length)?)?;
            }
        }
        APART => {
            let id = from.varint()?;
            let table = from.tables.iter().find(|t| t.id == id);
            let table = table.ok_or_else(|| StateError(format!("table {id} of the state is not there")))?;
            for piece in &table.pieces {
                let mut entries = StateReader::new(piece);
                while !entries.is_empty() {
                    entries.varint()?;
                    let length = entries.varint()?;
                    let content = entries.take(length)?;
                    if length > 0 {
                        read(content)?;
                    }
                }
            }
        }
        other => return Err(StateError(format!("the state has places of unknown kind {other}"))),
    }
    Ok(())
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
