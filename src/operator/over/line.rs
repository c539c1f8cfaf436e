//! The rows of one partition in their order, and the frame that slides over them.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::function::{Brought, Calls};
use crate::expr::{Accumulator, compare};
use crate::operator::kept::{Direction, Kept, Keys, compare_keys};
use crate::plan::{Frame, FrameBound};
use crate::record::{Decimal, FieldValue, StreamRecord};
use crate::state::{StateError, StateReader, StateWriter};

/// A row with everything that was evaluated for it.
#[derive(Debug)]
pub(super) struct OverRow {
    pub(super) keys: Keys,
    pub(super) arrival: u64,
    pub(super) record: Arc<StreamRecord>,
    pub(super) brought: Option<Box<Brought>>,
    /// Bytes that it takes (estimate).
    pub(super) bytes: usize,
}

impl OverRow {
    pub(super) fn new(
        keys: Keys,
        arrival: u64,
        record: Arc<StreamRecord>,
        brought: Option<Box<Brought>>,
    ) -> Self {
        // Rings are at most twice as long as what they hold.
        let brought_bytes = brought.as_ref().map_or(0, |b| b.footprint());
        let bytes = 2 * size_of::<Self>() + keys.heap_bytes() + record.footprint() + brought_bytes;
        Self { keys, arrival, record, brought, bytes }
    }
    pub(super) fn snapshot(&self, to: &mut StateWriter) {
        self.keys.snapshot(to);
        to.u64(self.arrival);
        to.record(&self.record);
    }
}

/// Frame and peers of a row: positions in its line.
#[derive(Clone, Debug, Default)]
pub(super) struct Span {
    pub(super) start: u64,
    /// Behind the last row; an empty frame has `end <= start`.
    pub(super) end: u64,
    pub(super) peers: Range<u64>,
    pub(super) dense_rank: u64,
}

/// The rows of a partition, from 0; those that nothing needs any more are gone.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The first rows, where an unbounded frame needs them and they have left `rows`.
    head: Vec<OverRow>,
    rows: VecDeque<OverRow>,
    /// Position of the first of `rows`.
    base: u64,
    pub(super) accumulators: Vec<Accumulator>,
    /// Rows that the accumulators hold.
    added: Range<u64>,
    /// Where frames begin and end: only forward.
    start: u64,
    end: u64,
    /// The peers of the last row that was looked at.
    peers: Range<u64>,
    dense_rank: u64,
    /// The time of the last row.
    last: Option<i64>,
}

impl Line {
    pub(super) fn new(calls: &Calls) -> Self {
        Self { accumulators: calls.aggregates.iter().map(|a| a.new_state()).collect(), ..Self::default() }
    }
    /// Behind the last row.
    pub(super) fn end(&self) -> u64 {
        self.base + self.rows.len() as u64
    }
    pub(super) fn row(&self, at: u64) -> Option<&OverRow> {
        match at.checked_sub(self.base) {
            Some(i) => self.rows.get(usize::try_from(i).ok()?),
            None => self.head.get(usize::try_from(at).ok()?),
        }
    }
    pub(super) fn push(&mut self, row: OverRow) {
        self.rows.push_back(row);
    }
    /// Notes the time of the row that comes next; tells whether it is more than `ttl` behind the last one.
    pub(super) fn is_stale(&mut self, time: i64, ttl: i64) -> bool {
        self.last.replace(time).is_some_and(|last| time.saturating_sub(last) > ttl)
    }
    /// Whether no row that comes from now on may be at most `ttl` behind the last one.
    pub(super) fn has_expired(&self, watermark: i64, ttl: i64) -> bool {
        self.last.is_some_and(|last| last.saturating_add(ttl) < watermark)
    }
    /// Becomes empty; `take` is handed its rows.
    pub(super) fn restart(&mut self, calls: &Calls, take: impl FnMut(OverRow)) {
        let Self { head, rows, last, .. } = std::mem::take(self);
        head.into_iter().chain(rows).for_each(take);
        *self = Self { last, ..Self::new(calls) };
    }

    /// Frame and peers of row `at`, and the accumulators filled with the frame. Rows are to be asked for in order.
    pub(super) fn advance(
        &mut self,
        at: u64,
        frame: &Frame,
        directions: &[Direction],
        calls: &Calls,
    ) -> Span {
        if at >= self.peers.end {
            self.peers = at..at + 1;
            self.dense_rank += 1;
        }
        // More peers may have come since.
        while self.is_peer(at, self.peers.end, directions) {
            self.peers.end += 1;
        }
        let (start, end) =
            (self.bound(at, frame, true, directions), self.bound(at, frame, false, directions));
        (self.start, self.end) = (start, end);
        self.add_up(start, end, calls);
        Span { start, end, peers: self.peers.clone(), dense_rank: self.dense_rank }
    }

    fn is_peer(&self, at: u64, other: u64, directions: &[Direction]) -> bool {
        match (self.row(other), self.row(at)) {
            (Some(a), Some(b)) => compare_keys(directions, &a.keys, &b.keys).is_eq(),
            _ => false,
        }
    }

    fn bound(&self, at: u64, frame: &Frame, is_start: bool, directions: &[Direction]) -> u64 {
        let bound = if is_start { frame.start } else { frame.end };
        let offset = match bound {
            FrameBound::UnboundedPreceding => return 0,
            FrameBound::UnboundedFollowing => return self.end(),
            FrameBound::CurrentRow if frame.rows => return if is_start { at } else { at + 1 },
            FrameBound::CurrentRow => return if is_start { self.peers.start } else { self.peers.end },
            FrameBound::Preceding(n) => n.saturating_neg(),
            FrameBound::Following(n) => n,
        };
        if frame.rows {
            let row = at.saturating_add_signed(offset).min(self.end());
            let before_all = at.checked_add_signed(offset).is_none();
            return match is_start {
                true => row,
                false if before_all => 0,
                false => (row + 1).min(self.end()),
            };
        }
        let (Some(direction), Some(current)) = (directions.first(), self.row(at)) else { return at };
        let mut to = if is_start { self.start } else { self.end };
        while let Some(row) = self.row(to) {
            let order = distance(&row.keys, &current.keys, (offset, frame.scale), *direction);
            if order == Ordering::Less || (order == Ordering::Equal && !is_start) { to += 1 } else { break }
        }
        to
    }

    fn add_up(&mut self, start: u64, end: u64, calls: &Calls) {
        if calls.aggregates.is_empty() {
            self.added = start.max(end)..start.max(end);
            return;
        }
        if start >= end {
            self.accumulators = calls.aggregates.iter().map(|a| a.new_state()).collect();
            self.added = start.max(end)..start.max(end);
            return;
        }
        let mut added = self.added.clone();
        if added.end <= start {
            // Nothing that was added is left.
            if !added.is_empty() {
                self.accumulators = calls.aggregates.iter().map(|a| a.new_state()).collect();
            }
            added = start..start;
        }
        let Self { accumulators, rows, head, base, .. } = self;
        let row = |at: u64| match at.checked_sub(*base) {
            Some(i) => rows.get(i as usize),
            None => head.get(at as usize),
        };
        for (i, (program, state)) in calls.aggregates.iter().zip(accumulators.iter_mut()).enumerate() {
            let takes_back = calls.takes_back.get(i).copied().unwrap_or(false);
            let mut add = added.end..end;
            if added.start < start && !takes_back {
                *state = program.new_state();
                add = start..end;
            }
            for at in add {
                if let Some(row) = row(at)
                    && let Some(input) = calls.input(row, i)
                {
                    program.update(state, &row.record, input);
                }
            }
            if takes_back {
                for at in added.start..start {
                    if let Some(row) = row(at)
                        && let Some(input) = calls.input(row, i)
                    {
                        program.retract(state, &row.record, input);
                    }
                }
            }
        }
        self.added = start..end;
    }

    /// Hands over what no later row needs; `at` was the last row that was looked at.
    pub(super) fn forget(&mut self, at: u64, frame: &Frame, calls: &Calls, mut take: impl FnMut(OverRow)) {
        let Some(reach) = calls.reach else { return };
        let unbounded = frame.start == FrameBound::UnboundedPreceding;
        if unbounded && calls.head == u64::MAX {
            return;
        }
        // What LAG, the rows still to be added, the last row of the frame, and its first one need.
        let mut keep = (at + 1).saturating_sub(reach).min(self.added.end).min(self.end.saturating_sub(1));
        if !unbounded {
            keep = keep.min(self.start);
        }
        while self.base < keep {
            let Some(row) = self.rows.pop_front() else { break };
            if unbounded && self.base < calls.head {
                self.head.push(row);
            } else {
                take(row);
            }
            self.base += 1;
        }
    }

    /// Whether no row of it reaches to `time` with a RANGE frame of that length.
    pub(super) fn is_over(&self, time: i64, length: i64) -> bool {
        match self.rows.back().and_then(|r| r.keys.first()) {
            Some(FieldValue::Timestamp(last)) => last.saturating_add(length) < time,
            _ => false,
        }
    }
    /// What its accumulators hold beyond themselves, in bytes.
    pub(super) fn heap_of_cells(&self) -> usize {
        self.accumulators.iter().map(Accumulator::heap_bytes).sum()
    }
    /// What its rows take, in bytes.
    pub(super) fn footprint(&self) -> usize {
        self.rows.iter().chain(&self.head).map(|r| r.bytes).sum()
    }

    pub(super) fn restore(
        from: &mut StateReader<'_>,
        calls: &Calls,
        read: impl Fn(&mut StateReader<'_>) -> Result<OverRow, StateError>,
    ) -> Result<Self, StateError> {
        let mut numbers = [0; 8];
        for n in &mut numbers {
            *n = from.varint()?;
        }
        let [base, added_start, added_end, start, end, peers_start, peers_end, dense_rank] = numbers;
        let mut line = Self {
            base,
            added: added_start..added_end,
            start,
            end,
            peers: peers_start..peers_end,
            dense_rank,
            ..Self::default()
        };
        for _ in 0..from.varint()? {
            line.head.push(read(from)?);
        }
        for _ in 0..from.varint()? {
            line.rows.push_back(read(from)?);
        }
        let mut values = Vec::new();
        for program in &calls.aggregates {
            values.clear();
            from.shorts(&mut values)?;
            line.accumulators.push(program.restore(&values).map_err(StateError)?);
        }
        if let FieldValue::Timestamp(last) = from.value()? {
            line.last = Some(last);
        }
        Ok(line)
    }
}

impl Kept for Line {
    fn write(&self, to: &mut StateWriter) {
        let numbers = [
            self.base,
            self.added.start,
            self.added.end,
            self.start,
            self.end,
            self.peers.start,
            self.peers.end,
            self.dense_rank,
        ];
        numbers.into_iter().for_each(|n| to.varint(n));
        to.varint(self.head.len() as u64);
        self.head.iter().for_each(|row| row.snapshot(to));
        to.varint(self.rows.len() as u64);
        self.rows.iter().for_each(|row| row.snapshot(to));
        for state in &self.accumulators {
            state.with_values(|values| to.shorts(values));
        }
        to.value(&self.last.map_or(FieldValue::Null, FieldValue::Timestamp));
    }
}

/// Where the first key of `row` stands relative to that of `current` plus `offset`, which has so many digits behind the point, in the
/// direction of the order.
fn distance(row: &Keys, current: &Keys, (offset, scale): (i64, u8), direction: Direction) -> Ordering {
    let (Some(row), Some(current)) = (row.first(), current.first()) else { return Ordering::Equal };
    match (row.is_null(), current.is_null()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return if direction.nulls_first { Ordering::Less } else { Ordering::Greater },
        (false, true) => return if direction.nulls_first { Ordering::Greater } else { Ordering::Less },
        (false, false) => {}
    }
    let signed = if direction.descending { offset.saturating_neg() } else { offset };
    let order = match (micros(row), micros(current)) {
        (Some(row), Some(current)) => row.cmp(&(current + i128::from(signed))),
        _ => match current {
            FieldValue::Float(x) => {
                // Rounded once: both are exact.
                let offset = signed as f64 / 10f64.powi(i32::from(scale));
                compare(row, &FieldValue::Float(x + offset)).unwrap_or(Ordering::Equal)
            }
            FieldValue::Decimal(x) => match (row, x.checked_add(Decimal::new(signed, u32::from(scale)))) {
                (FieldValue::Decimal(row), Some(to)) => row.cmp(&to),
                // Beyond all values that there are.
                _ if signed > 0 => Ordering::Less,
                _ => Ordering::Greater,
            },
            _ => compare(row, current).unwrap_or(Ordering::Equal),
        },
    };
    if direction.descending { order.reverse() } else { order }
}

/// Integers as they are, times and dates in µs.
fn micros(value: &FieldValue) -> Option<i128> {
    match value {
        FieldValue::Integer(n) | FieldValue::Timestamp(n) | FieldValue::Time(n) => Some(i128::from(*n)),
        FieldValue::Date(d) => Some(i128::from(*d) * i128::from(crate::record::text::MICROS_PER_DAY)),
        _ => None,
    }
}
