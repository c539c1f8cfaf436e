//! Groups by key: a hash table whose groups lie in rows, with what an aggregate keeps for each.
//!
//! A group is a *slot*. Its key, its cells (accumulators) and the values last shown to the outside stand in arrays with a fixed
//! stride, so a lookup allocates nothing and a table that is cleared keeps its memory. Lookups borrow their key; hashes
//! are stored, so that growing and moving need no expressions. Key groups make snapshots independent of the number of
//! shards: the hash of a key gives one of [`KEY_GROUPS`], and a shard is a range of them.

use std::hint::black_box;

use super::index::SlotIndex;
use super::{StateError, StateReader, StateWriter};
use crate::record::{FieldValue, group_hash};

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
        let head = GroupHead { hash, first, live: true, ..GroupHead::default() };
        let Widths { key: k, cells: c, shown: s } = self.widths;
        let mut heap = 0;
        let key = key.into_iter().inspect(|v| heap += v.heap_bytes());
        let slot = match self.free.pop() {
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
                self.heads.len() as u32 - 1
            }
        };
        self.heap += heap;
        self.index.insert(hash, slot);
        slot as usize
    }

    /// Forgets a group. Its cells stay in place until the slot is used again.
    pub fn remove(&mut self, slot: usize) {
        let Some(head) = self.heads.get_mut(slot).filter(|h| h.live) else { return };
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
    /// Number of slots, used or free.
    pub fn slots(&self) -> usize {
        self.heads.len()
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
        let w = self.widths.shown;
        self.shown.get_mut(slot * w..slot * w + w).unwrap_or_default()
    }
    /// Memory of its arrays and keys, in bytes; not what cells hold beyond themselves.
    pub fn bytes(&self) -> usize {
        self.index.bytes()
            + self.heads.capacity() * size_of::<GroupHead>()
            + (self.keys.capacity() + self.shown.capacity()) * size_of::<FieldValue>()
            + self.cells.capacity() * size_of::<C>()
            + self.heap
    }
}

/// Writes the groups of several tables (the shards of one) by key group, then in order of arrival: the bytes do not depend on how
/// many there are.
pub fn write_groups<'a, C: 'a>(
    to: &mut StateWriter,
    tables: impl IntoIterator<Item = &'a GroupTable<C>>,
    values_of: impl Fn(&C) -> Vec<FieldValue>,
) {
    let mut groups: Vec<(usize, u64, usize, &GroupTable<C>)> = tables
        .into_iter()
        .flat_map(|t| {
            t.live().map(move |slot| {
                let head = t.head(slot);
                (key_group(head.hash), head.first, slot, t)
            })
        })
        .collect();
    groups.sort_by_key(|(group, first, ..)| (*group, *first));
    to.u64(groups.len() as u64);
    for (_, first, slot, table) in groups {
        let head = table.head(slot);
        to.u64(first);
        to.u64(head.rows as u64);
        to.u8(u8::from(head.shown));
        to.values(table.key(slot));
        to.values(table.shown(slot));
        for cell in table.cells(slot) {
            to.values(&values_of(cell));
        }
    }
}

/// Reads what [`write_groups`] wrote, each group into the table that `place` gives for its hash.
///
/// # Errors
/// If the state is damaged or of another shape.
pub fn read_groups<C>(
    from: &mut StateReader<'_>,
    tables: &mut [GroupTable<C>],
    mut cell_of: impl FnMut(usize, &[FieldValue]) -> Result<C, StateError>,
) -> Result<(), StateError> {
    let count = from.u64()?;
    let shards = tables.len();
    for _ in 0..count {
        let (first, rows, shown) = (from.u64()?, from.u64()? as i64, from.u8()? != 0);
        let (key, values) = (from.values()?, from.values()?);
        let hash = group_hash(&key);
        let Some(table) = tables.get_mut(shard_of(hash, shards)) else { continue };
        if key.len() != table.widths.key || values.len() != table.widths.shown {
            return Err(StateError("a group in the state has another shape than the plan's".into()));
        }
        let mut cells = Vec::with_capacity(table.widths.cells);
        for at in 0..table.widths.cells {
            cells.push(cell_of(at, &from.values()?)?);
        }
        let slot = table.insert(hash, first, key, cells);
        if let Some(head) = table.head_mut(slot) {
            (head.rows, head.shown) = (rows, shown);
        }
        for (to, from) in table.shown_mut(slot).iter_mut().zip(values) {
            *to = from;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::same_group;

    fn widths() -> Widths {
        Widths { key: 1, cells: 1, shown: 0 }
    }

    fn add(table: &mut GroupTable<i64>, key: &FieldValue, seq: u64) -> usize {
        let hash = group_hash([key]);
        match table.find(hash, |k| same_group(&k[0], key)) {
            Some(slot) => {
                table.cells_mut(slot)[0] += 1;
                slot
            }
            None => table.insert(hash, seq, [key.clone()], [1]),
        }
    }

    #[test]
    fn groups_are_found_by_value_and_slots_are_used_again() {
        let mut table = GroupTable::new(widths());
        for n in 0..1000i64 {
            add(&mut table, &(n % 100).into(), n as u64);
        }
        assert_eq!((table.len(), table.slots()), (100, 100));
        assert!(table.live().all(|s| table.cells(s) == [10]));
        let null = add(&mut table, &FieldValue::Null, 1000);
        assert_eq!(add(&mut table, &FieldValue::Null, 1001), null);
        table.remove(null);
        assert_eq!(table.len(), 100);
        assert_eq!(add(&mut table, &"long enough to be on the heap for sure".into(), 1002), null);
        assert_eq!(table.cells(null), [1]);
        table.clear();
        assert!(table.is_empty() && table.live().next().is_none());
    }

    #[test]
    fn a_snapshot_is_the_same_for_any_number_of_shards() {
        let fill = |shards: usize| {
            let mut tables: Vec<GroupTable<i64>> = (0..shards).map(|_| GroupTable::new(widths())).collect();
            for n in 0..500i64 {
                let key = FieldValue::Integer(n * 7 % 93);
                add(&mut tables[shard_of(group_hash([&key]), shards)], &key, n as u64);
            }
            let mut to = StateWriter::new();
            write_groups(&mut to, &tables, |c| vec![(*c).into()]);
            to.into_bytes()
        };
        let bytes = fill(1);
        for shards in [2, 3, 8] {
            assert_eq!(fill(shards), bytes, "{shards} shards");
        }
        let mut tables: Vec<GroupTable<i64>> = (0..5).map(|_| GroupTable::new(widths())).collect();
        let cell = |_: usize, v: &[FieldValue]| Ok(v[0].as_i64().unwrap());
        read_groups(&mut StateReader::new(&bytes), &mut tables, cell).unwrap();
        let mut to = StateWriter::new();
        write_groups(&mut to, &tables, |c| vec![(*c).into()]);
        assert_eq!(to.into_bytes(), bytes);
        for cut in 0..bytes.len() {
            let mut tables = [GroupTable::new(widths())];
            assert!(read_groups(&mut StateReader::new(&bytes[..cut]), &mut tables, cell).is_err());
        }
    }
}
