//! Groups whose overlapping windows share slices: a row changes one slice of its group, and the state of the window that fires next
//! is held beside the slices and moves along with it.
//!
//! Slices *enter* when the first window that holds them fires, and leave when the next window begins behind them. How a call's states
//! are combined ([`Combine`]): a running state adds what enters and takes back what leaves. States that can't be taken back form two
//! stacks: those of the *front* slices are in place of each replaced by the merged states of it and all front slices behind it,
//! those of the others are merged in one, the *back*; so a window is one merge. When a front slice has to leave and there is none, most
//! of the back becomes the front. What is large is merged when a window fires.

use std::collections::{BTreeMap, VecDeque};

use super::shape::{Groups, Row, Shape};
use super::slab::Slab;
use crate::expr::{Accumulator, Combine, EvalResult};
use crate::record::FieldValue;
use crate::state::Widths;

/// A slice of one group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    pub(super) number: i64,
    /// Position of its first record; in the front of all front slices from it on.
    pub(super) first: u64,
    /// Its accumulators.
    pub(super) at: u32,
}

/// The slices of one group, in the order of time: first the front, then the back, then those that have not entered.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) slices: VecDeque<Slice>,
    /// How many are in the front.
    pub(super) front: usize,
    /// How many have entered, the front included.
    pub(super) entered: usize,
    /// Position of the first record of the back.
    pub(super) back_first: u64,
    /// It has rows in the window that fired last.
    pub(super) active: bool,
}

impl Default for Track {
    fn default() -> Self {
        Self { slices: VecDeque::new(), front: 0, entered: 0, back_first: u64::MAX, active: false }
    }
}

impl Track {
    /// Position of the first record of the window.
    fn first(&self) -> u64 {
        let front = if self.front > 0 { self.slices.front() } else { None };
        front.map_or(u64::MAX, |s| s.first).min(self.back_first)
    }

    /// Where that slice is or belongs, and whether it is there.
    fn find(&self, number: i64) -> (usize, bool) {
        if self.slices.back().is_none_or(|last| last.number < number) {
            // As most that are new.
            return (self.slices.len(), false);
        }
        let at = self.slices.partition_point(|s| s.number < number);
        (at, self.slices.get(at).is_some_and(|s| s.number == number))
    }
}

/// The groups of one shard.
#[derive(Debug)]
pub(super) struct Slices {
    /// Their cells are those of the window: running states, or those of the back.
    pub(super) groups: Groups,
    /// By slot.
    pub(super) tracks: Vec<Track>,
    pub(super) slab: Slab,
    /// Windows grow from one start ([`Slicing::grows`](super::slicing::Slicing::grows)): what has entered need not be kept apart.
    grows: bool,
    /// Slots of the groups with rows in the window that fired last.
    pub(super) active: Vec<u32>,
    /// Slots of the groups that have a slice of that number, which has not entered.
    pub(super) pending: BTreeMap<i64, Vec<u32>>,
    /// Emptied lists, for the next slices.
    spare: Vec<Vec<u32>>,
    /// Slices held.
    held: usize,
}

impl Slices {
    pub(super) fn new(shape: &Shape, grows: bool) -> Self {
        Self {
            groups: Groups::new(Widths { shown: 0, ..shape.widths() }),
            tracks: Vec::new(),
            slab: Slab::new(shape.calls.len()),
            grows,
            active: Vec::new(),
            pending: BTreeMap::new(),
            spare: Vec::new(),
            held: 0,
        }
    }

    /// The earliest slice that has not entered.
    pub(super) fn first_pending(&self) -> Option<i64> {
        self.pending.keys().next().copied()
    }

    /// Takes a row into slice `number` of its group. `entered`: slices before that one have. Tells whether the slice is new.
    #[inline]
    pub(super) fn take(&mut self, shape: &Shape, row: &Row<'_>, number: i64, entered: i64) -> bool {
        let slot = shape.slot(&mut self.groups, row);
        if self.tracks.len() <= slot {
            self.tracks.resize_with(slot + 1, Track::default);
        }
        if let Some(last) = self.tracks.get(slot).and_then(|t| t.slices.back())
            && last.number == number
            && number >= entered
        {
            shape.feed(self.slab.get_mut(last.at), row);
            return false;
        }
        if number >= entered {
            self.take_pending(shape, row, slot, number)
        } else {
            self.take_entered(shape, row, slot, number);
            true
        }
    }

    /// A row of a slice that is new, or not the group's last.
    fn take_pending(&mut self, shape: &Shape, row: &Row<'_>, slot: usize, number: i64) -> bool {
        let Some(track) = self.tracks.get_mut(slot) else { return false };
        let (place, known) = track.find(number);
        if !known {
            let at = self.slab.take(&shape.calls);
            self.held += 1;
            track.slices.insert(place, Slice { number, first: row.seq, at });
            let spare = &mut self.spare;
            let list = self.pending.entry(number).or_insert_with(|| spare.pop().unwrap_or_default());
            list.push(slot as u32);
        }
        if let Some(slice) = track.slices.get(place) {
            shape.feed(self.slab.get_mut(slice.at), row);
        }
        !known
    }

    /// A row of a slice that has entered: later than the watermark, but in time for windows to come.
    fn take_entered(&mut self, shape: &Shape, row: &Row<'_>, slot: usize, number: i64) {
        let Self { groups, tracks, slab, active, .. } = self;
        let Some(track) = tracks.get_mut(slot) else { return };
        if !track.active {
            track.active = true;
            active.push(slot as u32);
        }
        if self.grows {
            shape.feed(groups.cells_mut(slot), row);
            track.back_first = track.back_first.min(row.seq);
            return;
        }
        let (place, known) = track.find(number);
        if !known {
            let at = slab.take(&shape.calls);
            self.held += 1;
            let behind = track.slices.get(place).copied().filter(|_| place < track.front);
            track.slices.insert(place, Slice { number, first: behind.map_or(row.seq, |b| b.first), at });
            track.entered += 1;
            if let Some(behind) = behind {
                track.front += 1;
                for (call, _) in shape.combines(Combine::Merge) {
                    let state = slab.get(behind.at).get(call).cloned();
                    if let (Some(cell), Some(state)) = (slab.get_mut(at).get_mut(call), state) {
                        *cell = state;
                    }
                }
            }
        }
        let in_front = place < track.front;
        for (call, combine) in shape.combine.iter().copied().enumerate() {
            let slices = match combine {
                Combine::Merge if in_front => 0..place + 1,
                _ => place..place + 1,
            };
            for slice in track.slices.range(slices) {
                shape.feed_one(call, slab.get_mut(slice.at), row);
            }
            if combine == Combine::Running || (combine == Combine::Merge && !in_front) {
                shape.feed_one(call, groups.cells_mut(slot), row);
            }
        }
        let firsts = if in_front { 0..place + 1 } else { place..place + 1 };
        track.slices.range_mut(firsts).for_each(|s| s.first = s.first.min(row.seq));
        if !in_front {
            track.back_first = track.back_first.min(row.seq);
        }
    }

    /// Moves on to the window of the slices `from..to`.
    pub(super) fn advance(&mut self, shape: &Shape, from: i64, to: i64, begins: bool) {
        if !self.grows {
            self.leave(shape, from);
        } else if begins {
            self.leave_all(shape);
        }
        while let Some(entry) = self.pending.first_entry().filter(|e| *e.key() < to) {
            let mut slots = entry.remove();
            for slot in slots.drain(..) {
                self.enter(shape, slot);
            }
            self.spare.push(slots);
        }
    }

    /// The first slice of a group that has not entered does.
    fn enter(&mut self, shape: &Shape, slot: u32) {
        let Self { groups, tracks, slab, active, .. } = self;
        let Some(track) = tracks.get_mut(slot as usize) else { return };
        let Some(slice) = track.slices.get(track.entered).copied() else { return };
        let cells = groups.cells_mut(slot as usize).iter_mut().zip(slab.get(slice.at));
        for ((call, combine), (cell, state)) in shape.calls.iter().zip(&shape.combine).zip(cells) {
            if self.grows || *combine != Combine::Gather {
                call.merge(cell, state);
            }
        }
        track.back_first = track.back_first.min(slice.first);
        if self.grows {
            track.slices.pop_front();
            slab.give(slice.at, &shape.calls);
            self.held -= 1;
        } else {
            track.entered += 1;
        }
        if !track.active {
            track.active = true;
            active.push(slot);
        }
    }

    /// Slices before `from` leave.
    fn leave(&mut self, shape: &Shape, from: i64) {
        let mut active = std::mem::take(&mut self.active);
        active.retain(|slot| {
            let slot = *slot as usize;
            let Self { groups, tracks, slab, .. } = self;
            let Some(track) = tracks.get_mut(slot) else { return false };
            let mut broken = false;
            while let Some(slice) = track.slices.front().copied().filter(|s| s.number < from) {
                if track.entered == 0 {
                    break;
                }
                track.slices.pop_front();
                track.entered -= 1;
                broken |= track.front == 0;
                track.front = track.front.saturating_sub(1);
                if track.entered > 0 {
                    for (call, _) in shape.combines(Combine::Running) {
                        shape.unmerge(call, groups.cells_mut(slot), slab.get(slice.at));
                    }
                }
                slab.give(slice.at, &shape.calls);
                self.held -= 1;
            }
            if track.entered == 0 {
                self.empty(shape, slot);
                return false;
            }
            if broken {
                turn(shape, track, groups.cells_mut(slot), slab);
            }
            true
        });
        self.active = active;
    }

    /// All that has entered leaves.
    fn leave_all(&mut self, shape: &Shape) {
        let mut active = std::mem::take(&mut self.active);
        active.drain(..).for_each(|slot| self.empty(shape, slot as usize));
        self.active = active;
    }

    /// A group has nothing left in the window.
    fn empty(&mut self, shape: &Shape, slot: usize) {
        let Some(track) = self.tracks.get_mut(slot) else { return };
        (track.active, track.front, track.back_first) = (false, 0, u64::MAX);
        if track.slices.is_empty() {
            self.groups.remove(slot);
            return;
        }
        for (cell, call) in self.groups.cells_mut(slot).iter_mut().zip(&shape.calls) {
            *cell = call.new_state();
        }
    }

    /// The groups of the window: position of the first record, shard, slot.
    pub(super) fn list(&self, shard: usize, to: &mut Vec<(u64, usize, usize)>) {
        let first = |slot: usize| self.tracks.get(slot).map_or(0, Track::first);
        to.extend(self.active.iter().map(|slot| (first(*slot as usize), shard, *slot as usize)));
    }

    /// The results of a group in the window.
    ///
    /// # Errors
    /// What is only known at output, e.g. a SUM beyond BIGINT.
    pub(super) fn finish(&self, shape: &Shape, slot: usize, to: &mut Vec<FieldValue>) -> EvalResult<()> {
        to.clear();
        for (at, call) in shape.calls.iter().enumerate() {
            to.push(match self.combined(shape, slot, at) {
                Some(state) => call.finish(&state)?,
                None => self.groups.cells(slot).get(at).map_or(Ok(FieldValue::Null), |c| call.finish(c))?,
            });
        }
        Ok(())
    }

    /// The states of a group in the window.
    pub(super) fn cells(&self, shape: &Shape, slot: usize) -> Vec<Accumulator> {
        let cells = self.groups.cells(slot).iter().enumerate();
        cells.map(|(at, cell)| self.combined(shape, slot, at).unwrap_or_else(|| cell.clone())).collect()
    }

    /// The state of a call, unless it is the cell of the group.
    fn combined(&self, shape: &Shape, slot: usize, at: usize) -> Option<Accumulator> {
        let (call, track) = (shape.calls.get(at)?, self.tracks.get(slot)?);
        let state = |slice: &Slice| self.slab.get(slice.at).get(at);
        match shape.combine.get(at)? {
            Combine::Merge if track.front > 0 => {
                let mut whole = state(track.slices.front()?)?.clone();
                call.merge(&mut whole, self.groups.cells(slot).get(at)?);
                Some(whole)
            }
            Combine::Gather if !self.grows => {
                let mut whole = call.new_state();
                for slice in track.slices.range(..track.entered) {
                    call.merge(&mut whole, state(slice)?);
                }
                Some(whole)
            }
            _ => None,
        }
    }

    /// Puts a slice that was read from a snapshot behind the others of its group.
    pub(super) fn restore(&mut self, slot: usize, slice: Slice, pending: bool) {
        self.held += 1;
        if self.tracks.len() <= slot {
            self.tracks.resize_with(slot + 1, Track::default);
        }
        if let Some(track) = self.tracks.get_mut(slot) {
            track.slices.push_back(slice);
        }
        if pending {
            self.pending.entry(slice.number).or_default().push(slot as u32);
        }
    }

    /// What accumulators hold beyond themselves, in bytes.
    pub(super) fn heap_of_cells(&self) -> usize {
        self.groups.heap_of_cells(Accumulator::heap_bytes) + self.slab.heap_of_cells()
    }

    /// Memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.groups.bytes()
            + self.slab.bytes()
            + self.tracks.capacity() * size_of::<Track>()
            + self.held * (size_of::<Slice>() + size_of::<u32>())
    }
}

/// Most of what has entered becomes the front. The latest quarter stays in the back: rows that are somewhat late change one state there,
/// but many in the front.
fn turn(shape: &Shape, track: &mut Track, cells: &mut [Accumulator], slab: &mut Slab) {
    let front = track.entered - track.entered / 4;
    track.front = front;
    let mut first = u64::MAX;
    for slice in track.slices.range_mut(..front).rev() {
        first = first.min(slice.first);
        slice.first = first;
    }
    track.back_first = track.slices.range(front..track.entered).map(|s| s.first).min().unwrap_or(u64::MAX);
    for (at, call) in shape.combines(Combine::Merge) {
        let mut behind: Option<Accumulator> = None;
        for slice in track.slices.range(..front).rev() {
            let Some(cell) = slab.get_mut(slice.at).get_mut(at) else { continue };
            if let Some(behind) = &behind {
                call.merge(cell, behind);
            }
            behind = Some(cell.clone());
        }
        let Some(back) = cells.get_mut(at) else { continue };
        *back = call.new_state();
        for slice in track.slices.range(front..track.entered) {
            if let Some(state) = slab.get(slice.at).get(at) {
                call.merge(back, state);
            }
        }
    }
}
