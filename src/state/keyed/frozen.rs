//! Taking a table down while it goes on changing.
//!
//! [`GroupTable::freeze`] does nothing but remember which groups are *due*: all, or those that changed since the last barrier. A due
//! group is encoded before it changes for the first time, the others in slices ([`GroupTable::take_down`]). So a barrier costs no
//! copy of the table, and what is written is what was there at the barrier.

use super::{GroupTable, Line};
use crate::state::{Frozen, Piece, StateWriter};

/// Bytes of a piece: enough to be worth handing on.
const PIECE: usize = 64 << 10;
/// What looking at a group costs at least, in bytes of a slice.
const LOOK: usize = 16;

/// How the cells of a table are encoded.
pub(super) type Encode<C> = fn(&C, &mut StateWriter);

/// What changed in a table, and what of it is still to be taken down.
#[derive(Debug)]
pub(super) struct Changes<C> {
    /// What heads of groups carry that changed since the last barrier: 1 and 2 by turns; 0 before the first, when nothing is noted.
    pub(super) now: u8,
    /// Those groups.
    slots: Vec<u32>,
    /// The table's number in the last snapshot that took it down as a whole; 0: none did.
    number: u64,
    freeze: Option<Box<Freeze<C>>>,
}

#[derive(Debug)]
struct Freeze<C> {
    to: Frozen,
    operator: u32,
    encode: Encode<C>,
    /// Groups that had changed; `None`: all are due.
    list: Option<Vec<u32>>,
    /// So many of the list, or slots.
    end: usize,
    at: usize,
    bytes: StateWriter,
}

impl<C> Default for Changes<C> {
    fn default() -> Self {
        Self { now: 0, slots: Vec::new(), number: 0, freeze: None }
    }
}

impl<C> Changes<C> {
    /// A new slot.
    #[inline]
    pub(super) fn note(&mut self, slot: u32) {
        if self.now != 0 {
            self.slots.push(slot);
        }
    }
    pub(super) fn bytes(&self) -> usize {
        let frozen = self.freeze.as_ref().and_then(|f| f.list.as_ref()).map_or(0, Vec::capacity);
        (self.slots.capacity() + frozen) * size_of::<u32>()
    }
}

impl<C> GroupTable<C> {
    /// To be called before a group changes.
    #[inline]
    pub(super) fn touch(&mut self, slot: usize) {
        if self.changes.now != 0 && self.lines.first(slot).is_some_and(|l| l.head.changed != self.changes.now)
        {
            self.first_touch(slot);
        }
    }

    /// The first change of a group since the last barrier.
    #[inline(never)]
    fn first_touch(&mut self, slot: usize) {
        if let Some(mut freeze) = self.changes.freeze.take() {
            let due = match &freeze.list {
                None => (freeze.at..freeze.end).contains(&slot),
                Some(_) => self.lines.first(slot).is_some_and(|l| l.head.changed != 0),
            };
            if due {
                self.encode(slot, &mut freeze);
            }
            self.changes.freeze = Some(freeze);
        }
        if let Some(Line { head, .. }) = self.lines.first_mut(slot) {
            head.changed = self.changes.now;
            self.changes.slots.push(slot as u32);
        }
    }

    /// From now on what the table holds is due. Gives the number under which it goes into the snapshot, and whether as a whole.
    pub(in crate::state) fn freeze(&mut self, to: &Frozen, operator: u32, encode: Encode<C>) -> (u64, bool) {
        // One snapshot at a time; an earlier one that nobody waits for any more may be there.
        self.settle();
        let slots = std::mem::take(&mut self.changes.slots);
        // Where most has changed a list of it is no shorter.
        let whole = to.is_whole() || self.changes.number == 0 || slots.len() > self.len() / 2;
        if whole {
            self.changes.number = to.number();
        }
        self.changes.now = if self.changes.now == 1 { 2 } else { 1 };
        let list = (!whole).then_some(slots);
        let end = list.as_ref().map_or(self.slots, Vec::len);
        if end > 0 {
            to.begin();
            let (to, bytes) = (to.clone(), StateWriter::new());
            self.changes.freeze = Some(Box::new(Freeze { to, operator, encode, list, end, at: 0, bytes }));
        }
        (self.changes.number, whole)
    }

    /// Takes down groups that are due, about `budget` bytes of them, and lowers it by what was taken.
    pub fn take_down(&mut self, budget: &mut usize) {
        let Some(mut freeze) = self.changes.freeze.take() else { return };
        while freeze.at < freeze.end {
            if *budget == 0 {
                self.changes.freeze = Some(freeze);
                return;
            }
            let slot = match &freeze.list {
                None => freeze.at,
                Some(list) => list.get(freeze.at).map_or(0, |s| *s as usize),
            };
            freeze.at += 1;
            let mut cost = LOOK;
            // One that changed since then has been taken down.
            if self.lines.first(slot).is_some_and(|l| l.head.changed != self.changes.now) {
                cost += self.encode(slot, &mut freeze);
                if let Some(Line { head, .. }) = self.lines.first_mut(slot) {
                    head.changed = 0;
                }
            }
            *budget = budget.saturating_sub(cost);
        }
        freeze.hand_on(self.changes.number);
        freeze.to.end();
    }

    /// Takes down what is due at once.
    fn settle(&mut self) {
        let mut everything = usize::MAX;
        self.take_down(&mut everything);
    }

    /// It is another table from now on.
    pub(super) fn forget_changes(&mut self) {
        self.settle();
        self.changes.slots.clear();
        (self.changes.now, self.changes.number) = (0, 0);
    }

    /// Encodes a group, or that there is none; gives the bytes that it took.
    fn encode(&self, slot: usize, freeze: &mut Freeze<C>) -> usize {
        let live = self.is_live(slot);
        if !live && freeze.list.is_none() {
            return 0;
        }
        let before = freeze.bytes.bytes.len();
        freeze.bytes.varint(slot as u64);
        match live {
            true => self.write_entry(slot, freeze.encode, &mut freeze.bytes),
            false => freeze.bytes.varint(0),
        }
        let took = freeze.bytes.bytes.len() - before;
        if freeze.bytes.bytes.len() >= PIECE {
            freeze.hand_on(self.changes.number);
            freeze.bytes.bytes.reserve(PIECE + PIECE / 8);
        }
        took
    }
}

impl<C> Freeze<C> {
    fn hand_on(&mut self, table: u64) {
        if !self.bytes.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.bytes.bytes);
            self.to.put(Piece { operator: self.operator, table, bytes });
        }
    }
}

impl<C> Drop for GroupTable<C> {
    fn drop(&mut self) {
        if self.changes.freeze.as_ref().is_some_and(|f| !f.to.is_abandoned()) {
            self.settle();
        }
    }
}
