//! `state_backend = 'disk'`: groups that do not fit into memory lie in the job's store.
//!
//! The table of groups is a cache that is written back. A row whose group is not there has it fetched; when the table is full it is
//! written to the store as a whole and begins anew, so what is used often comes back at once. The table is always right: what the
//! store has of a group that is in the table is older. A checkpoint holds the table as ever, and the number of the store's version.
//!
//! Final results come in the order of the groups' first rows: at the end of the input everything is written to the store, read back
//! once, sorted in runs, and emitted bit by bit.

use super::GroupShard;
use super::emit::Emitter;
use super::shape::{Groups, Row, Shape};
use super::snapshot::{cell, write_cell};
use crate::operator::Output;
use crate::record::FieldValue;
use crate::state::{Sorted, Space, StateError, StateReader, StateWriter, each_group, keep_others};

/// Groups emitted at a time.
const SLICE: usize = 4096;

/// The store, as one shard uses it.
#[derive(Debug)]
pub(super) struct Cold {
    space: Space,
    /// What went wrong, until the operator asks: then the job ends, and nothing is committed.
    failed: Option<StateError>,
    /// Keys to be looked up; empty between calls.
    wanted: Vec<u128>,
}

/// The store, as the operator uses it.
#[derive(Debug)]
pub(super) struct Backing {
    pub(super) space: Space,
    /// Bytes that the tables may take together.
    budget: usize,
    drain: Option<Box<Drain>>,
}

/// Groups on their way out.
#[derive(Debug)]
struct Drain {
    sorted: Sorted,
    content: Vec<u8>,
    groups: Groups,
}

/// Where a group lies in the store: groups whose keys are near are near there, where the first value of the key is a number or a text.
/// Two groups may have the same place.
fn place(hash: u64, first: Option<&FieldValue>) -> u128 {
    let near = match first {
        Some(FieldValue::Integer(i) | FieldValue::Timestamp(i)) => (*i as u64) ^ (1 << 63),
        Some(FieldValue::String(s)) => {
            let mut front = [0; 8];
            front.iter_mut().zip(s.as_bytes()).for_each(|(to, from)| *to = *from);
            u64::from_be_bytes(front)
        }
        _ => 0,
    };
    u128::from(near) << 64 | u128::from(hash)
}

impl Cold {
    /// Remembers that a row's group will be looked up.
    pub(super) fn want(&mut self, shape: &Shape, row: &Row<'_>) {
        self.wanted.push(place(row.hash, shape.first_key(row)));
    }

    /// Fetches what is wanted, as far as the store has it.
    pub(super) fn fetch(&mut self, shape: &Shape, groups: &mut Groups) {
        if self.wanted.is_empty() {
            return;
        }
        self.wanted.sort_unstable();
        self.wanted.dedup();
        let mut values = Vec::new();
        let mut cell_of = |at: usize, from: &mut StateReader<'_>| {
            values.clear();
            from.shorts(&mut values)?;
            cell(shape, at, &values)
        };
        let got = self.space.get(&self.wanted, |found| groups.decode_groups(found, &mut cell_of));
        self.note(got);
        self.wanted.clear();
    }

    fn note(&mut self, result: Result<(), StateError>) {
        if let Err(e) = result {
            self.failed.get_or_insert(e);
        }
    }

    /// Writes all groups to the store.
    fn spill(&mut self, groups: &mut Groups) {
        let key_width = groups.widths().key;
        // Halves of the place instead of the whole, which would be aligned to 16 bytes: it is as long as the table.
        let mut order: Vec<(u64, u64, u32)> = Vec::with_capacity(groups.len());
        order.extend(groups.live().map(|slot| {
            let place = place(groups.hash(slot), groups.key(slot).first());
            ((place >> 64) as u64, place as u64, slot as u32)
        }));
        order.sort_unstable();
        let mut at = 0;
        let next = |to: &mut Vec<u8>| {
            let (near, hash, _) = *order.get(at)?;
            let mut writer = StateWriter::onto(std::mem::take(to));
            while let Some((.., slot)) = order.get(at).filter(|(n, h, _)| (*n, *h) == (near, hash)) {
                groups.encode_group(*slot as usize, write_cell, &mut writer);
                at += 1;
            }
            *to = writer.into_bytes();
            Some(u128::from(near) << 64 | u128::from(hash))
        };
        let done = self.space.put(next, |old, new| keep_others(old, new, key_width));
        self.note(done);
        groups.clear();
    }
}

impl GroupShard {
    /// The slot of a row's group: in the table, in the store, or new.
    #[inline]
    pub(super) fn slot(&mut self, shape: &Shape, row: &Row<'_>) -> usize {
        if let Some(slot) = shape.find(&self.groups, row) {
            return slot;
        }
        self.cold_slot(shape, row).unwrap_or_else(|| shape.add(&mut self.groups, row))
    }

    fn cold_slot(&mut self, shape: &Shape, row: &Row<'_>) -> Option<usize> {
        let cold = self.cold.as_mut().filter(|c| !c.space.is_unused())?;
        cold.want(shape, row);
        cold.fetch(shape, &mut self.groups);
        shape.find(&self.groups, row)
    }

    /// Fetches the groups of rows that are to come, those that are in the store and not in the table.
    pub(super) fn fetch<'r>(&mut self, shape: &Shape, rows: impl Iterator<Item = Row<'r>>) {
        let Some(cold) = self.cold.as_mut().filter(|c| !c.space.is_unused()) else { return };
        for row in rows {
            if shape.find(&self.groups, &row).is_none() {
                cold.want(shape, &row);
            }
        }
        cold.fetch(shape, &mut self.groups);
    }

    /// Whether there is a group of that key.
    pub(super) fn holds(&mut self, shape: &Shape, hash: u64, key: &[FieldValue]) -> bool {
        let found = |groups: &Groups| groups.find(hash, |k| k == key).is_some();
        if found(&self.groups) {
            return true;
        }
        let Some(cold) = self.cold.as_mut().filter(|c| !c.space.is_unused()) else { return false };
        cold.wanted.push(place(hash, key.first()));
        cold.fetch(shape, &mut self.groups);
        found(&self.groups)
    }

    /// Forgets a group, in the store too.
    pub(super) fn forget(&mut self, slot: usize) {
        if let Some(cold) = self.cold.as_mut().filter(|c| !c.space.is_unused()) {
            let key = self.groups.key(slot);
            let place = place(self.groups.hash(slot), key.first());
            let mut own = StateWriter::new();
            self.groups.encode_group(slot, write_cell, &mut own);
            let (own, width) = (own.into_bytes(), key.len());
            let done = cold.space.change(place, |old, new| {
                new.extend_from_slice(&own);
                keep_others(old, new, width)?;
                new.drain(..own.len());
                Ok(())
            });
            cold.note(done);
        }
        self.groups.remove(slot);
    }
}

impl Backing {
    pub(super) fn new(space: Space, budget: usize, shards: &mut [GroupShard]) -> Self {
        for shard in shards {
            shard.cold = Some(Cold { space: space.clone(), failed: None, wanted: Vec::new() });
        }
        Self { space, budget, drain: None }
    }

    /// Before rows are taken that may add so many groups: makes room if there may be too little. `held`: what the state takes.
    pub(super) fn make_room(
        &self,
        shape: &Shape,
        shards: &mut [GroupShard],
        rows: usize,
        held: usize,
    ) -> bool {
        let grows: usize = shards.iter().map(|s| s.groups.growth(rows)).sum();
        if held.saturating_add(grows) <= self.budget || shards.iter().all(|s| s.groups.is_empty()) {
            return false;
        }
        let share = self.budget / shards.len().max(1);
        for shard in shards {
            if let Some(cold) = &mut shard.cold {
                cold.spill(&mut shard.groups);
            }
            // A table that came from a checkpoint may be larger than it may become here.
            if shard.groups.bytes() > share {
                shard.groups = shape.groups();
            }
        }
        true
    }

    /// What went wrong.
    pub(super) fn failure(shards: &mut [GroupShard]) -> Option<StateError> {
        shards.iter_mut().find_map(|s| s.cold.as_mut()?.failed.take())
    }

    /// At the end of the input: brings all groups into the order in which they are emitted. Gives whether there are any in the store.
    ///
    /// # Errors
    /// If the store can't be read, or files not be written.
    pub(super) fn begin_drain(
        &mut self,
        shape: &Shape,
        shards: &mut [GroupShard],
    ) -> Result<bool, StateError> {
        if self.space.is_unused() {
            return Ok(false);
        }
        for shard in &mut *shards {
            if let Some(cold) = &mut shard.cold {
                cold.spill(&mut shard.groups);
            }
            shard.groups = shape.groups();
        }
        if let Some(e) = Self::failure(shards) {
            return Err(e);
        }
        let mut runs = self.space.store().runs(self.budget / 8);
        self.space.scan(|value| each_group(value, |first, group| runs.push(first, group)))?;
        let (sorted, content, groups) = (runs.sorted()?, Vec::new(), shape.groups());
        self.drain = Some(Box::new(Drain { sorted, content, groups }));
        Ok(true)
    }

    /// Whether there is still something to emit.
    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Emits some groups; the last call empties the store.
    ///
    /// # Errors
    /// If files or the store can't be read.
    pub(super) fn emit(&mut self, shape: &Shape, out: &mut Output<'_>) -> Result<(), StateError> {
        let Some(drain) = &mut self.drain else { return Ok(()) };
        let Drain { sorted, content, groups } = &mut **drain;
        let mut values = Vec::new();
        let mut more = true;
        let mut to = Emitter::new(shape, out, i64::MIN);
        for _ in 0..SLICE {
            more = sorted.next(content)?.is_some();
            if !more {
                break;
            }
            groups.clear();
            groups.decode_groups(content, |at, from| {
                values.clear();
                from.shorts(&mut values)?;
                cell(shape, at, &values)
            })?;
            if let Some(slot) = groups.live().next() {
                to.insert_group(groups, slot, None);
            }
        }
        to.finish();
        if !more {
            self.drain = None;
            self.space.clear()?;
        }
        Ok(())
    }
}
