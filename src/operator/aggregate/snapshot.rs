//! The state of an aggregation in a snapshot: every group has its key, so that any number of shards reads it.

use super::cold::Backing;
use super::overlapping::Overlapping;
use super::panes::Panes;
use super::sessions::{read_sessions, write_sessions};
use super::shape::{Groups, Shape};
use super::slices::{Slice, Slices, Track};
use super::windows::Span;
use super::{AggregateOp, State};
use crate::expr::Accumulator;
use crate::record::{FieldValue, group_hash};
use crate::state::{StateError, StateReader, StateWriter, key_group, read_groups, shard_of, write_groups};

const VERSION: u8 = 5;
/// The same behind the number of the store's version that has the groups which are not in the section.
const WITH_STORE: u8 = 6;
/// Of sessions.
const SESSIONS: u8 = 7;

pub(super) fn write_cell(cell: &Accumulator, to: &mut StateWriter) {
    cell.with_values(|values| to.shorts(values));
}

/// Writes the tables of all shards, those that there are.
fn write_shards<'t>(to: &mut StateWriter, tables: impl Iterator<Item = &'t mut Groups>) {
    for table in tables {
        to.u8(1);
        write_groups(to, table, write_cell);
    }
    to.u8(0);
}

/// Reads them into any number of shards.
fn read_shards(from: &mut StateReader<'_>, shape: &Shape, shards: usize) -> Result<Vec<Groups>, StateError> {
    let mut tables: Vec<Groups> = (0..shards).map(|_| shape.groups()).collect();
    let mut values = Vec::new();
    while from.u8()? != 0 {
        read_groups(from, &mut tables, |at, from| {
            values.clear();
            from.shorts(&mut values)?;
            cell(shape, at, &values)
        })?;
    }
    Ok(tables)
}

/// Cell number `at` of a group from its values.
pub(super) fn cell(shape: &Shape, at: usize, values: &[FieldValue]) -> Result<Accumulator, StateError> {
    if shape.is_clock(at) {
        return Accumulator::restored_clock(values).map_err(StateError);
    }
    let call =
        shape.call_of_cell(at).ok_or_else(|| StateError("more aggregates in the state than calls".into()))?;
    call.restore(values).map_err(StateError)
}

pub(super) fn write_span(to: &mut StateWriter, span: Span) {
    to.i64(span.start);
    to.i64(span.end);
}

pub(super) fn read_span(from: &mut StateReader<'_>) -> Result<Span, StateError> {
    let start = from.i64()?;
    Ok(Span { start, end: from.i64()? })
}

/// Writes the windows of all shards.
pub(super) fn write_panes(to: &mut StateWriter, shards: &mut [&mut Panes]) {
    let mut spans: Vec<Span> = shards.iter().flat_map(|p| p.spans()).collect();
    spans.sort_unstable();
    spans.dedup();
    to.u64(spans.len() as u64);
    for span in spans {
        write_span(to, span);
        to.u8(u8::from(shards.iter().filter_map(|p| p.get(span)).any(|p| p.fired)));
        write_shards(to, shards.iter_mut().filter_map(|p| p.get_mut(span)).map(|p| &mut p.groups));
    }
}

/// Reads them; every shard gets every window.
pub(super) fn read_panes(
    from: &mut StateReader<'_>,
    shape: &Shape,
    shards: &mut [&mut Panes],
) -> Result<(), StateError> {
    for _ in 0..from.u64()? {
        let span = read_span(from)?;
        let fired = from.u8()? != 0;
        let tables = read_shards(from, shape, shards.len())?;
        for (panes, groups) in shards.iter_mut().zip(tables) {
            panes.open(shape, span, fired);
            if let Some(pane) = panes.get_mut(span) {
                pane.groups = groups;
            }
        }
    }
    Ok(())
}

/// Writes windows that share slices: the groups of all shards by key group, then in order of arrival.
fn write_slices(to: &mut StateWriter, overlapping: &mut Overlapping) {
    write_span(to, overlapping.last);
    to.i64(overlapping.entered);
    to.i64(overlapping.closed);
    let mut all: Vec<(usize, u64, usize, &Slices)> = overlapping
        .shards
        .iter()
        .flat_map(|slices| {
            let groups = &slices.groups;
            groups
                .live()
                .map(move |slot| (key_group(groups.hash(slot)), groups.head(slot).first, slot, slices))
        })
        .collect();
    all.sort_by_key(|(group, first, ..)| (*group, *first));
    to.u64(all.len() as u64);
    for (_, first, slot, slices) in all {
        let Some(track) = slices.tracks.get(slot) else { continue };
        to.values(slices.groups.key(slot));
        to.u64(first);
        to.u8(u8::from(track.active));
        to.u64(track.back_first);
        slices.groups.cells(slot).iter().for_each(|c| write_cell(c, to));
        for n in [track.front, track.entered, track.slices.len()] {
            to.u64(n as u64);
        }
        for slice in &track.slices {
            to.i64(slice.number);
            to.u64(slice.first);
            slices.slab.get(slice.at).iter().for_each(|c| write_cell(c, to));
        }
    }
    write_panes(to, &mut overlapping.fired.iter_mut().collect::<Vec<_>>());
}

/// Reads them into any number of shards.
fn read_slices(
    from: &mut StateReader<'_>,
    shape: &Shape,
    overlapping: &mut Overlapping,
) -> Result<(), StateError> {
    overlapping.last = read_span(from)?;
    overlapping.entered = from.i64()?;
    overlapping.closed = from.i64()?;
    let mut values = Vec::new();
    let mut cells = |from: &mut StateReader<'_>| -> Result<Vec<Accumulator>, StateError> {
        let one = |at| {
            values.clear();
            from.shorts(&mut values)?;
            cell(shape, at, &values)
        };
        (0..shape.calls.len()).map(one).collect()
    };
    for _ in 0..from.u64()? {
        let key = from.values()?;
        if key.len() != shape.widths().key {
            return Err(StateError("a group in the state has another key than the plan's".into()));
        }
        let (first, active, back_first) = (from.u64()?, from.u8()? != 0, from.u64()?);
        let window = cells(from)?;
        let (front, entered, count) = (from.u64()? as usize, from.u64()? as usize, from.u64()? as usize);
        if front > entered || entered > count {
            return Err(StateError("a group in the state has fewer slices than it says".into()));
        }
        let hash = group_hash(&key);
        let at = shard_of(hash, overlapping.shards.len());
        let Some(slices) = overlapping.shards.get_mut(at) else { continue };
        let slot = slices.groups.insert(hash, first, key, window);
        for n in 0..count {
            let (number, first) = (from.i64()?, from.u64()?);
            let at = slices.slab.take(&shape.calls);
            for (to, from) in slices.slab.get_mut(at).iter_mut().zip(cells(from)?) {
                *to = from;
            }
            slices.restore(slot, Slice { number, first, at }, n >= entered);
        }
        if slices.tracks.len() <= slot {
            slices.tracks.resize_with(slot + 1, Track::default);
        }
        if let Some(track) = slices.tracks.get_mut(slot) {
            (track.front, track.entered) = (front, entered);
            (track.active, track.back_first) = (active, back_first);
        }
        if active {
            slices.active.push(slot as u32);
        }
    }
    read_panes(from, shape, &mut overlapping.fired.iter_mut().collect::<Vec<_>>())
}

impl AggregateOp {
    fn version(&self) -> u8 {
        if matches!(self.state, State::Sessions(..)) { SESSIONS } else { VERSION }
    }

    /// # Errors
    /// If the store can't be written.
    pub(super) fn write(&mut self, to: &mut StateWriter) -> Result<(), StateError> {
        if let Some(backing) = &self.backing {
            if let State::Groups(shards) = &mut self.state
                && let Some(e) = Backing::failure(shards)
            {
                return Err(e);
            }
            to.u8(WITH_STORE);
            to.u64(backing.space.store().save()?);
        } else {
            to.u8(self.version());
        }
        to.u64(self.seq);
        to.i64(self.fired);
        match &mut self.state {
            State::Groups(shards) => write_shards(to, shards.iter_mut().map(|s| &mut s.groups)),
            State::Panes(_, shards) => write_panes(to, &mut shards.iter_mut().collect::<Vec<_>>()),
            State::Slices(overlapping) => write_slices(to, overlapping),
            State::Sessions(_, _, shards) => write_sessions(to, shards),
        }
        Ok(())
    }

    pub(super) fn read(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let version = from.u8()?;
        let stored = if version == WITH_STORE { from.u64()? } else { 0 };
        match &self.backing {
            Some(backing) if stored > 0 => backing.space.store().restore(stored)?,
            None if stored > 0 => {
                return Err(StateError(
                    "a part of its groups is in a store on disk: SET state_backend = 'disk'".into(),
                ));
            }
            _ => {}
        }
        let wanted = self.version();
        if version != wanted && (version, wanted) != (WITH_STORE, VERSION) {
            return Err(StateError(format!(
                "the state of an aggregation has version {version}; this program reads version {wanted}"
            )));
        }
        self.seq = from.u64()?;
        self.fired = from.i64()?;
        let shape = &self.shape;
        match &mut self.state {
            State::Groups(shards) => {
                let tables = read_shards(from, shape, shards.len())?;
                for (shard, groups) in shards.iter_mut().zip(tables) {
                    shard.groups = groups;
                    if shape.ttl.is_some() {
                        shard.set_alarms(shape);
                    }
                }
            }
            State::Panes(windows, shards) => {
                read_panes(from, shape, &mut shards.iter_mut().collect::<Vec<_>>())?;
                let next = shards.iter().filter_map(|p| p.next_due(windows, self.fired)).min();
                self.next_fire = next.unwrap_or(i64::MAX);
            }
            State::Slices(overlapping) => {
                read_slices(from, shape, overlapping)?;
                self.next_fire = overlapping.next_due(self.fired);
            }
            State::Sessions(windows, gap, shards) => {
                self.next_fire = read_sessions(from, shape, windows, *gap, shards)?;
            }
        }
        Ok(())
    }
}
