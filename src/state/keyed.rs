//! Groups by key: a hash table whose groups lie in rows, with what an aggregate keeps for each.
//!
//! A group is a *slot*. What a row changes of it – its head and up to [`WORDS`] words of accumulators – lies in one cache line; further
//! words, cells (accumulators that are more than words), its key and the values last shown to the outside stand in arrays with
//! a fixed stride. All of them come in segments: a lookup allocates nothing, growing moves nothing, and a table that is cleared keeps
//! its memory. Lookups borrow their key. Key groups make snapshots independent of the number of shards: the hash of a
//! key gives one of [`KEY_GROUPS`], and a shard is a range of them.
//!
//! A table knows which of its groups changed since the last barrier, and can be taken down while it goes on changing
//! (`frozen`, `snapshot`): whatever changes a group calls [`GroupTable::touch`] first.

mod frozen;
mod snapshot;
#[cfg(test)]
mod tests;

use super::index::SlotIndex;
use super::prefetch;
use super::segments::Segments;
use crate::record::{FieldValue, group_hash};
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

/// Words that lie beside the head of a group.
pub const WORDS: usize = 5;
/// No slot.
pub const NO_SLOT: u32 = u32::MAX;

/// What is known of a group besides key, words and cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupHead {
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

/// What a row changes of most groups.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line {
    head: GroupHead,
    words: [u64; WORDS],
}

const _: () = assert!(size_of::<Line>() == 64);

/// What a row changes of a group.
#[derive(Debug)]
pub struct GroupMut<'g, C> {
    /// What is known of it.
    pub head: &'g mut GroupHead,
    /// Words of accumulators, 0 in a new group.
    pub words: &'g mut [u64; WORDS],
    /// Further words.
    pub more: &'g mut [u64],
    /// Cells.
    pub cells: &'g mut [C],
}

/// The words of a group: beside its head, and further ones.
pub type Words<'g> = (&'g [u64; WORDS], &'g [u64]);

/// How many values, words and cells each group has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Widths {
    /// Values of a key.
    pub key: usize,
    /// Words beside the head, at most [`WORDS`].
    pub words: usize,
    /// Further words.
    pub more: usize,
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
    /// Slots, used or free.
    slots: usize,
    lines: Segments<Line>,
    more: Segments<u64>,
    keys: Segments<FieldValue>,
    cells: Segments<C>,
    shown: Segments<FieldValue>,
    free: Vec<u32>,
    /// Heap of the keys, in bytes.
    heap: usize,
    changes: Changes<C>,
}

/// Slots from which on a table no longer lies in the nearest caches, so that it pays to ask for many groups at once.
const LARGE: usize = 4096;

impl<C> GroupTable<C> {
    /// An empty table.
    pub fn new(widths: Widths) -> Self {
        Self {
            index: SlotIndex::default(),
            slots: 0,
            lines: Segments::new(1),
            more: Segments::new(widths.more),
            keys: Segments::new(widths.key),
            cells: Segments::new(widths.cells),
            shown: Segments::new(widths.shown),
            free: Vec::new(),
            heap: 0,
            changes: Changes::default(),
            widths,
        }
    }

    /// The slot of the group with that hash for whose key `same` says so.
    #[inline]
    pub fn find(&self, hash: u64, same: impl Fn(&[FieldValue]) -> bool) -> Option<usize> {
        self.index.find(hash, |slot| same(self.key(slot)))
    }

    /// The same where [`locate`](Self::locate) has said where it may be. The table may have changed since.
    #[inline]
    pub fn find_at(&self, hint: u32, hash: u64, same: impl Fn(&[FieldValue]) -> bool) -> Option<usize> {
        let slot = hint as usize;
        if hint != NO_SLOT && self.is_live(slot) && same(self.key(slot)) {
            return Some(slot);
        }
        self.find(hash, same)
    }

    /// Whether it lies beyond the nearest caches.
    #[inline]
    pub fn is_large(&self) -> bool {
        self.slots >= LARGE
    }

    /// To be called some time before [`locate`](Self::locate): fetches what that will need.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Says where the group of a hash may be, and fetches what finding and feeding it will need, so that nobody waits for memory who
    /// asks some dozens of groups ahead.
    #[inline]
    pub fn locate(&self, hash: u64) -> u32 {
        if !self.is_large() {
            return NO_SLOT;
        }
        let Some(at) = self.index.find(hash, |_| true) else { return NO_SLOT };
        self.lines.first(at).into_iter().for_each(prefetch);
        self.keys.prefetch(at);
        if self.widths.more + self.widths.cells + self.widths.shown > 0 {
            self.more.row(at).iter().step_by(8).for_each(prefetch);
            self.cells(at).iter().for_each(prefetch);
            self.shown(at).iter().step_by(2).for_each(prefetch);
        }
        at as u32
    }

    /// Adds a group that [`find`](Self::find) does not find; its values and cells come from the iterators, as many as the
    /// widths say. `hash` is that of the key as [`group_hash`] has it.
    pub fn insert(
        &mut self,
        hash: u64,
        first: u64,
        key: impl IntoIterator<Item = FieldValue>,
        cells: impl IntoIterator<Item = C>,
    ) -> usize {
        // What the slot was may have to be taken down.
        let reused = self.free.pop().map(|slot| slot as usize).inspect(|slot| self.touch(*slot));
        let changed = self.changes.now;
        let head = GroupHead { first, live: true, changed, ..GroupHead::default() };
        let line = Line { head, words: [0; WORDS] };
        let mut heap = 0;
        let key = key.into_iter().inspect(|v| heap += v.heap_bytes());
        let slot = match reused {
            Some(at) => {
                self.keys.row_mut(at).iter_mut().zip(key).for_each(|(to, from)| *to = from);
                self.cells.row_mut(at).iter_mut().zip(cells).for_each(|(to, from)| *to = from);
                self.more.row_mut(at).fill(0);
                if let Some(to) = self.lines.first_mut(at) {
                    *to = line;
                }
                at
            }
            None => {
                let at = self.slots;
                self.lines.push(at, [line]);
                self.keys.push(at, key);
                self.more.push(at, std::iter::repeat(0));
                self.cells.push(at, cells);
                self.shown.push(at, std::iter::repeat_with(FieldValue::default));
                self.slots += 1;
                self.changes.note(at as u32);
                at
            }
        };
        self.heap += heap;
        self.index.insert(hash, slot as u32);
        slot
    }

    /// Forgets a group. Its cells stay in place until the slot is used again.
    pub fn remove(&mut self, slot: usize) {
        if !self.is_live(slot) {
            return;
        }
        self.touch(slot);
        let hash = self.hash(slot);
        let Some(Line { head, .. }) = self.lines.first_mut(slot) else { return };
        head.live = false;
        head.shown = false;
        self.index.remove(hash, slot as u32);
        for value in self.keys.row_mut(slot) {
            self.heap = self.heap.saturating_sub(value.heap_bytes());
            *value = FieldValue::Null;
        }
        self.free.push(slot as u32);
    }

    /// Forgets all groups and keeps the memory.
    pub fn clear(&mut self) {
        self.forget_changes();
        self.index.clear();
        self.slots = 0;
        self.lines.clear();
        self.more.clear();
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
    #[inline]
    pub fn is_live(&self, slot: usize) -> bool {
        self.lines.first(slot).is_some_and(|l| l.head.live)
    }
    /// Number of slots, used or free.
    pub fn slots(&self) -> usize {
        self.slots
    }
    /// How many values and cells each group has.
    pub fn widths(&self) -> Widths {
        self.widths
    }
    /// Bytes that it takes more, at most, once so many groups are added.
    pub fn growth(&self, groups: usize) -> usize {
        let rows = self.slots + groups.saturating_sub(self.free.len());
        self.index.growth(groups)
            + self.lines.growth(rows)
            + self.more.growth(rows)
            + self.keys.growth(rows)
            + self.cells.growth(rows)
            + self.shown.growth(rows)
    }
    /// The slots of all groups; in order of arrival unless groups were removed.
    pub fn live(&self) -> impl Iterator<Item = usize> + '_ {
        self.lines.iter().enumerate().filter(|(_, l)| l.head.live).map(|(slot, _)| slot)
    }
    /// A group's key.
    #[inline]
    pub fn key(&self, slot: usize) -> &[FieldValue] {
        self.keys.row(slot)
    }
    /// The hash of a group's key.
    pub fn hash(&self, slot: usize) -> u64 {
        group_hash(self.key(slot))
    }
    /// A group's words.
    #[inline]
    pub fn words(&self, slot: usize) -> Words<'_> {
        (self.lines.first(slot).map_or(&[0; WORDS], |l| &l.words), self.more.row(slot))
    }
    /// A group's cells.
    #[inline]
    pub fn cells(&self, slot: usize) -> &[C] {
        self.cells.row(slot)
    }
    /// A group's cells, to be changed.
    #[inline]
    pub fn cells_mut(&mut self, slot: usize) -> &mut [C] {
        self.touch(slot);
        self.cells.row_mut(slot)
    }
    /// All of a group that a row changes.
    #[inline]
    pub fn group_mut(&mut self, slot: usize) -> Option<GroupMut<'_, C>> {
        self.touch(slot);
        let Line { head, words } = self.lines.first_mut(slot)?;
        Some(GroupMut { head, words, more: self.more.row_mut(slot), cells: self.cells.row_mut(slot) })
    }
    /// What is known of a group.
    #[inline]
    pub fn head(&self, slot: usize) -> GroupHead {
        self.lines.first(slot).map_or_else(GroupHead::default, |l| l.head)
    }
    /// What is known of a group, to be changed.
    #[inline]
    pub fn head_mut(&mut self, slot: usize) -> Option<&mut GroupHead> {
        self.touch(slot);
        self.lines.first_mut(slot).map(|l| &mut l.head)
    }
    /// The values last shown.
    #[inline]
    pub fn shown(&self, slot: usize) -> &[FieldValue] {
        self.shown.row(slot)
    }
    /// The values last shown, to be changed.
    #[inline]
    pub fn shown_mut(&mut self, slot: usize) -> &mut [FieldValue] {
        self.touch(slot);
        self.shown.row_mut(slot)
    }
    /// What all cells hold beyond themselves, those of free slots too; `of` tells it of one.
    pub fn heap_of_cells(&self, of: impl Fn(&C) -> usize) -> usize {
        self.cells.iter().map(of).sum()
    }
    /// Memory of its arrays and keys, in bytes; not what cells hold beyond themselves.
    pub fn bytes(&self) -> usize {
        self.index.bytes()
            + self.lines.bytes()
            + self.more.bytes()
            + self.keys.bytes()
            + self.cells.bytes()
            + self.shown.bytes()
            + self.free.capacity() * size_of::<u32>()
            + self.heap
            + self.changes.bytes()
    }
}
