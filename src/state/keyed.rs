//! Groups by key: a hash table whose groups lie in rows, with what an aggregate keeps for each.
//!
//! A group is a *slot*. Its key, its cells (accumulators) and the values last shown to the outside stand in arrays with a fixed
//! stride, so a lookup allocates nothing and a table that is cleared keeps its memory. Lookups borrow their key; hashes
//! are stored, so that growing and moving need no expressions. Key groups make snapshots independent of the number of
//! shards: the hash of a key gives one of [`KEY_GROUPS`], and a shard is a range of them.
//!
//! A table knows which of its groups changed since the last barrier, and can be taken down while it goes on changing
//! (`frozen`, `snapshot`): whatever changes a group calls [`GroupTable::touch`] first.

mod frozen;
mod snapshot;
#[cfg(test)]
mod tests;

use std::hint::black_box;

use super::index::SlotIndex;
use crate::record::FieldValue;
use frozen::Changes;
pub use snapshot::{each_group, keep_others, read_groups, write_groups};

/// Number of key groups.
pub const KEY_GROUPS: usize = 128;

/// The key group of a hash.
#[inline]
pub fn key_group(hash: u64) -> usize {
    (hash >> 32) as usize % KEY_GROUPS
}

/// Which of `shards` holds the groups of a hash.
#[inline]
pub fn shard_of(hash: u64, shards: usize) -> usize {
    if shards <= 1 { 0 } else { key_group(hash) * shards / KEY_GROUPS }
}

/// What is known of a group besides key and cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupHead {
    /// Hash of the key.
    pub hash: u64,
    /// Position of its first record in the operator's input: the order in which groups are emitted.
    pub first: u64,
    /// Records in it: added less taken back.
    pub rows: i64,
    /// Anything its owner wants to remember, e.g. that it was touched; not in snapshots.
    pub mark: u32,
    /// Whether its shown values are what the outside knows of it.
    pub shown: bool,
    live: bool,
    /// When it changed last, as [`Changes`] counts barriers.
    changed: u8,
}

/// How many values and cells each group has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Widths {
    /// Values of a key.
    pub key: usize,
    /// Cells.
    pub cells: usize,
    /// Shown values; 0 where none are kept.
    pub shown: usize,
}

/// Groups by key.
#[derive(Debug)]
pub struct GroupTable<C> {
    widths: Widths,
    index: SlotIndex,
    heads: Vec<GroupHead>,
    keys: Vec<FieldValue>,
    cells: Vec<C>,
    shown: Vec<FieldValue>,
    free: Vec<u32>,
    /// Heap of the keys, in bytes.
    heap: usize,
    changes: Changes<C>,
}

/// Slots from which on a table no longer lies in the nearest caches, so that it pays to ask for many groups at once.
const LARGE: usize = 512;

impl<C> GroupTable<C> {
    /// An empty table.
    pub fn new(widths: Widths) -> Self {
        Self {
            widths,
            index: SlotIndex::default(),
            heads: Vec::new(),
            keys: Vec::new(),
            cells: Vec::new(),
            shown: Vec::new(),
            free: Vec::new(),
            heap: 0,
            changes: Changes::default(),
        }
    }

    /// The slot of the group with that hash for whose key `same` says so.
    #[inline]
    pub fn find(&self, hash: u64, same: impl Fn(&[FieldValue]) -> bool) -> Option<usize> {
        self.index.find(hash, |slot| same(self.key(slot)))
    }

    /// Whether it lies beyond the nearest caches.
    #[inline]
    pub fn is_large(&self) -> bool {
        self.heads.len() >= LARGE
    }

    /// Touches what finding and feeding the groups of these hashes will need, so that the waits for memory overlap: a few dozen
    /// at a time. `look` reads something of a cell.
    #[inline]
    pub fn warm(&self, hashes: &[u64], look: impl Fn(&C) -> bool) {
        if !self.is_large() {
            return;
        }
        let mut seen = 0;
        for hash in hashes {
            seen ^= self.index.touch(*hash);
        }
        // Each loop ends before the next begins: what the first has fetched tells the second where to look.
        seen = black_box(seen);
        for hash in hashes {
            let Some(slot) = self.index.find(*hash, |_| true) else { continue };
            seen ^= self.heads.get(slot).map_or(0, |h| h.mark);
            self.key(slot).iter().for_each(|v| seen ^= u32::from(v.is_null()));
            self.cells(slot).iter().for_each(|c| seen ^= u32::from(look(c)));
            self.shown(slot).iter().for_each(|v| seen ^= u32::from(v.is_null()));
        }
        black_box(seen);
    }

    /// Adds a group that [`find`](Self::find) does not find; its values and cells come from the iterators, as many as the
    /// widths say.
    pub fn insert(
        &mut self,
        hash: u64,
        first: u64,
        key: impl IntoIterator<Item = FieldValue>,
        cells: impl IntoIterator<Item = C>,
    ) -> usize {
        // What the slot was may have to be taken down.
        let reused = self.free.pop().inspect(|slot| self.touch(*slot as usize));
        let changed = self.changes.now;
        let head = GroupHead { hash, first, live: true, changed, ..GroupHead::default() };
        let Widths { key: k, cells: c, shown: s } = self.widths;
        let mut heap = 0;
        let key = key.into_iter().inspect(|v| heap += v.heap_bytes());
        let slot = match reused {
            Some(slot) => {
                let at = slot as usize;
                for (to, from) in self.keys.iter_mut().skip(at * k).take(k).zip(key) {
                    *to = from;
                }
                for (to, from) in self.cells.iter_mut().skip(at * c).take(c).zip(cells) {
                    *to = from;
                }
                if let Some(to) = self.heads.get_mut(at) {
                    *to = head;
                }
                slot
            }
            None => {
                self.keys.extend(key.take(k));
                self.cells.extend(cells.into_iter().take(c));
                self.shown.resize(self.shown.len() + s, FieldValue::Null);
                self.heads.push(head);
                let slot = self.heads.len() as u32 - 1;
                self.changes.note(slot);
                slot
            }
        };
        self.heap += heap;
        self.index.insert(hash, slot);
        slot as usize
    }

    /// Forgets a group. Its cells stay in place until the slot is used again.
    pub fn remove(&mut self, slot: usize) {
        if !self.heads.get(slot).is_some_and(|h| h.live) {
            return;
        }
        self.touch(slot);
        let Some(head) = self.heads.get_mut(slot) else { return };
        head.live = false;
        head.shown = false;
        let hash = head.hash;
        self.index.remove(hash, slot as u32);
        for value in self.keys.iter_mut().skip(slot * self.widths.key).take(self.widths.key) {
            self.heap = self.heap.saturating_sub(value.heap_bytes());
            *value = FieldValue::Null;
        }
        self.free.push(slot as u32);
    }

    /// Forgets all groups and keeps the memory.
    pub fn clear(&mut self) {
        self.forget_changes();
        self.index.clear();
        self.heads.clear();
        self.keys.clear();
        self.cells.clear();
        self.shown.clear();
        self.free.clear();
        self.heap = 0;
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.index.len()
    }
    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.index.len() == 0
    }
    /// Whether a slot holds a group.
    pub fn is_live(&self, slot: usize) -> bool {
        self.heads.get(slot).is_some_and(|h| h.live)
    }
    /// Number of slots, used or free.
    pub fn slots(&self) -> usize {
        self.heads.len()
    }
    /// How many values and cells each group has.
    pub fn widths(&self) -> Widths {
        self.widths
    }
    /// How many groups can be added before its arrays grow.
    pub fn room(&self) -> usize {
        self.free.len() + self.heads.capacity() - self.heads.len()
    }
    /// The slots of all groups; in order of arrival unless groups were removed.
    pub fn live(&self) -> impl Iterator<Item = usize> + '_ {
        self.heads.iter().enumerate().filter(|(_, h)| h.live).map(|(slot, _)| slot)
    }
    /// A group's key.
    #[inline]
    pub fn key(&self, slot: usize) -> &[FieldValue] {
        let w = self.widths.key;
        self.keys.get(slot * w..slot * w + w).unwrap_or(&[])
    }
    /// A group's cells.
    #[inline]
    pub fn cells(&self, slot: usize) -> &[C] {
        let w = self.widths.cells;
        self.cells.get(slot * w..slot * w + w).unwrap_or(&[])
    }
    /// A group's cells, to be changed.
    #[inline]
    pub fn cells_mut(&mut self, slot: usize) -> &mut [C] {
        self.touch(slot);
        let w = self.widths.cells;
        self.cells.get_mut(slot * w..slot * w + w).unwrap_or_default()
    }
    /// What is known of a group.
    #[inline]
    pub fn head(&self, slot: usize) -> GroupHead {
        self.heads.get(slot).copied().unwrap_or_default()
    }
    /// What is known of a group, to be changed; the hash must stay.
    #[inline]
    pub fn head_mut(&mut self, slot: usize) -> Option<&mut GroupHead> {
        self.touch(slot);
        self.heads.get_mut(slot)
    }
    /// The values last shown.
    #[inline]
    pub fn shown(&self, slot: usize) -> &[FieldValue] {
        let w = self.widths.shown;
        self.shown.get(slot * w..slot * w + w).unwrap_or(&[])
    }
    /// The values last shown, to be changed.
    #[inline]
    pub fn shown_mut(&mut self, slot: usize) -> &mut [FieldValue] {
        self.touch(slot);
        let w = self.widths.shown;
        self.shown.get_mut(slot * w..slot * w + w).unwrap_or_default()
    }
    /// What all cells hold beyond themselves, those of free slots too; `of` tells it of one.
    pub fn heap_of_cells(&self, of: impl Fn(&C) -> usize) -> usize {
        self.cells.iter().map(of).sum()
    }
    /// Memory of its arrays and keys, in bytes; not what cells hold beyond themselves.
    pub fn bytes(&self) -> usize {
        self.index.bytes()
            + self.heads.capacity() * size_of::<GroupHead>()
            + (self.keys.capacity() + self.shown.capacity()) * size_of::<FieldValue>()
            + self.cells.capacity() * size_of::<C>()
            + self.heap
            + self.changes.bytes()
    }
}
