//! The state of an aggregation in a snapshot: cut by key group, so that any number of shards reads it.

use super::panes::Panes;
use super::sessions::{read_sessions, write_sessions};
use super::shape::{Groups, Shape};
use super::windows::Span;
use super::{AggregateOp, State};
use crate::expr::Accumulator;
use crate::record::FieldValue;
use crate::state::{GroupTable, StateError, StateReader, StateWriter, read_groups, write_groups};

const VERSION: u8 = 1;

/// The cell of call number `at` from its values.
pub(super) fn cell(shape: &Shape, at: usize, values: &[FieldValue]) -> Result<Accumulator, StateError> {
    let call =
        shape.calls.get(at).ok_or_else(|| StateError("more aggregates in the state than calls".into()))?;
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
pub(super) fn write_panes(to: &mut StateWriter, shards: &[&Panes]) {
    let mut spans: Vec<Span> = shards.iter().flat_map(|p| p.spans()).collect();
    spans.sort_unstable();
    spans.dedup();
    to.u64(spans.len() as u64);
    for span in spans {
        write_span(to, span);
        let panes = || shards.iter().filter_map(|p| p.get(span));
        to.u8(u8::from(panes().any(|p| p.fired)));
        write_groups(to, panes().map(|p| &p.groups), Accumulator::to_values);
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
        let mut tables: Vec<Groups> = shards.iter().map(|_| shape.groups()).collect();
        read_groups(from, &mut tables, |at, values| cell(shape, at, values))?;
        for (panes, groups) in shards.iter_mut().zip(tables) {
            panes.open(shape, span, fired);
            if let Some(pane) = panes.get_mut(span) {
                pane.groups = groups;
            }
        }
    }
    Ok(())
}

impl AggregateOp {
    pub(super) fn write(&self, to: &mut StateWriter) {
        to.u8(VERSION);
        to.u64(self.seq);
        to.i64(self.fired);
        match &self.state {
            State::Groups(shards) => {
                write_groups(to, shards.iter().map(|s| &s.groups), Accumulator::to_values);
            }
            State::Panes(_, shards) => write_panes(to, &shards.iter().collect::<Vec<_>>()),
            State::Sessions(_, _, shards) => write_sessions(to, shards),
        }
    }

    pub(super) fn read(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let version = from.u8()?;
        if version != VERSION {
            return Err(StateError(format!(
                "the state of an aggregation has version {version}; this program reads version {VERSION}"
            )));
        }
        self.seq = from.u64()?;
        self.fired = from.i64()?;
        let shape = &self.shape;
        match &mut self.state {
            State::Groups(shards) => {
                let mut tables: Vec<Groups> =
                    shards.iter().map(|_| GroupTable::new(shape.widths())).collect();
                read_groups(from, &mut tables, |at, values| cell(shape, at, values))?;
                for (shard, groups) in shards.iter_mut().zip(tables) {
                    shard.groups = groups;
                }
            }
            State::Panes(windows, shards) => {
                read_panes(from, shape, &mut shards.iter_mut().collect::<Vec<_>>())?;
                let next = shards.iter().filter_map(|p| p.next_due(windows, self.fired)).min();
                self.next_fire = next.unwrap_or(i64::MAX);
            }
            State::Sessions(windows, gap, shards) => {
                self.next_fire = read_sessions(from, shape, windows, *gap, shards)?;
            }
        }
        Ok(())
    }
}
