//! The state of an aggregation in a snapshot: every group has its key, so that any number of shards reads it.

use super::panes::Panes;
use super::sessions::{read_sessions, write_sessions};
use super::shape::{Groups, Shape};
use super::windows::Span;
use super::{AggregateOp, State};
use crate::expr::Accumulator;
use crate::record::FieldValue;
use crate::state::{StateError, StateReader, StateWriter, read_groups, write_groups};

const VERSION: u8 = 2;

fn write_cell(cell: &Accumulator, to: &mut StateWriter) {
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

/// The cell of call number `at` from its values.
pub(super) fn cell(shape: &Shape, at: usize, values: &[FieldValue]) -> Result<Accumulator, StateError> {
    if at == shape.calls.len() && shape.ttl.is_some() {
        return Accumulator::restored_clock(values).map_err(StateError);
    }
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

impl AggregateOp {
    pub(super) fn write(&mut self, to: &mut StateWriter) {
        to.u8(VERSION);
        to.u64(self.seq);
        to.i64(self.fired);
        match &mut self.state {
            State::Groups(shards) => write_shards(to, shards.iter_mut().map(|s| &mut s.groups)),
            State::Panes(_, shards) => write_panes(to, &mut shards.iter_mut().collect::<Vec<_>>()),
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
            State::Sessions(windows, gap, shards) => {
                self.next_fire = read_sessions(from, shape, windows, *gap, shards)?;
            }
        }
        Ok(())
    }
}
