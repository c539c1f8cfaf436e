//! From hashes to slots: open addressing in one array. Finding a group costs one cache miss, and those of many can be waited for
//! at once, which a table behind an interface does not allow.

use super::prefetch;

/// A slot under the low half of its group's hash.
#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u32,
    slot: u32,
}

const NO_SLOT: u32 = u32::MAX;
const FREE: Entry = Entry { tag: 0, slot: NO_SLOT };
/// Places of the smallest table.
const LEAST: usize = 16;

/// Slots by hash; several may have the same one.
#[derive(Debug, Default)]
pub(super) struct SlotIndex {
    /// As many as a power of two says; at most three quarters are taken. A slot stands at the place that its tag names or behind it,
    /// with no free place in between.
    entries: Vec<Entry>,
    len: usize,
}

#[inline]
fn tag(hash: u64) -> u32 {
    hash as u32
}

impl SlotIndex {
    #[inline]
    fn mask(&self) -> usize {
        self.entries.len().wrapping_sub(1)
    }

    /// The place of the first entry with the hash's tag for which `is` says so.
    #[inline]
    fn place(&self, hash: u64, mut is: impl FnMut(usize) -> bool) -> Option<usize> {
        let (tag, mask) = (tag(hash), self.mask());
        let mut at = tag as usize & mask;
        loop {
            let entry = self.entries.get(at)?;
            if entry.slot == NO_SLOT {
                return None;
            }
            if entry.tag == tag && is(entry.slot as usize) {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    /// The first slot under the hash for which `is` says so.
    #[inline]
    pub(super) fn find(&self, hash: u64, is: impl FnMut(usize) -> bool) -> Option<usize> {
        self.place(hash, is).and_then(|at| self.entries.get(at)).map(|e| e.slot as usize)
    }

    /// Fetches the place where the search for a hash begins.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        if let Some(entry) = self.entries.get(tag(hash) as usize & self.mask()) {
            prefetch(entry);
        }
    }

    /// Puts a slot in.
    pub(super) fn insert(&mut self, hash: u64, slot: u32) {
        if (self.len + 1) * 4 > self.entries.len() * 3 {
            let larger = (self.entries.len() * 2).max(LEAST);
            let old = std::mem::replace(&mut self.entries, vec![FREE; larger]);
            old.into_iter().filter(|e| e.slot != NO_SLOT).for_each(|e| self.put(e));
        }
        self.put(Entry { tag: tag(hash), slot });
        self.len += 1;
    }

    #[inline]
    fn put(&mut self, entry: Entry) {
        let mask = self.mask();
        let mut at = entry.tag as usize & mask;
        while let Some(place) = self.entries.get_mut(at) {
            if place.slot == NO_SLOT {
                *place = entry;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    /// Takes a slot out.
    pub(super) fn remove(&mut self, hash: u64, slot: u32) {
        let Some(mut hole) = self.place(hash, |s| s == slot as usize) else { return };
        let mask = self.mask();
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let Some(entry) = self.entries.get(at).copied().filter(|e| e.slot != NO_SLOT) else { break };
            // It may move up unless it stands between the hole and the place that its tag names.
            let from_home = at.wrapping_sub(entry.tag as usize) & mask;
            if from_home >= at.wrapping_sub(hole) & mask {
                if let Some(place) = self.entries.get_mut(hole) {
                    *place = entry;
                }
                hole = at;
            }
        }
        if let Some(place) = self.entries.get_mut(hole) {
            *place = FREE;
        }
        self.len -= 1;
    }

    /// Forgets all slots and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.entries.fill(FREE);
        self.len = 0;
    }

    /// Number of slots.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that it takes more while so many slots are put in.
    pub(super) fn growth(&self, slots: usize) -> usize {
        let needed = ((self.len + slots) * 4).div_ceil(3);
        // The old array is there until all has moved.
        if needed > self.entries.len() { needed.next_power_of_two() * size_of::<Entry>() } else { 0 }
    }

    /// Memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// splitmix64
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            (x ^ x >> 31) % n
        }
    }

    #[test]
    fn it_finds_what_a_map_finds() {
        for seed in 0..40 {
            let mut random = Random(seed);
            // Few tags, so that there are long runs, and tags at the end of the table, so that runs go round.
            let spread = 1 + random.below(60);
            let mut index = SlotIndex::default();
            let mut known: BTreeMap<u32, u64> = BTreeMap::new();
            for slot in 0..600u32 {
                let tag = random.below(spread) + if random.below(2) == 0 { 0 } else { 0xffff_ffe0 };
                let hash = tag | random.below(8) << 40;
                index.insert(hash, slot);
                known.insert(slot, hash);
                if random.below(3) > 0 {
                    let gone = random.below(u64::from(slot) + 1) as u32;
                    if let Some(hash) = known.remove(&gone) {
                        index.remove(hash, gone);
                    }
                }
                if random.below(200) == 0 {
                    index.clear();
                    known.clear();
                }
                assert_eq!(index.len(), known.len(), "seed {seed}");
            }
            for slot in 0..600u32 {
                let hash = known.get(&slot);
                for probe in 0..spread {
                    let found = index.find(probe, |s| s == slot as usize);
                    let expected = hash.is_some_and(|h| *h as u32 == probe as u32);
                    assert_eq!(found, expected.then_some(slot as usize), "seed {seed}");
                }
                let found = hash.and_then(|h| index.find(*h, |s| s == slot as usize));
                assert_eq!(found, hash.map(|_| slot as usize), "seed {seed}");
            }
        }
    }
}
