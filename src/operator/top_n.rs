//! The first rows by rank, for each partition: `ROW_NUMBER() OVER (…) <= n`, ORDER BY … LIMIT.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use super::kept::{
    Kept, MAX_ROWS, PartitionKey, Partitions, Rank, SortOrder, blank, copy_row, emit_made, for_each_record,
    read_version, take_record, write_version,
};
use super::{InputId, Operator, Output, StateContract, StateError, StateReader, StateWriter};
use crate::expr::{EvalContext, Program};
use crate::plan::{Emit, TopNSpec, Ttl};
use crate::record::{Batch, FieldValue, RowKind, Schema, StreamRecord, sorted};

/// One partition.
#[derive(Debug)]
struct Top {
    /// Position of its first row in the input.
    first: u64,
    /// End of its window; `i64::MAX` where there is none.
    end: i64,
    rows: BTreeMap<Rank, Arc<StreamRecord>>,
    /// The rows that were visible when the batch began, if it has touched the partition.
    before: Option<Vec<Arc<StreamRecord>>>,
    /// Under `state_ttl`: when a row came last.
    touched: i64,
}

impl Kept for Top {
    fn write(&self, to: &mut StateWriter) {
        to.varint(self.first);
        to.i64(self.end);
        to.i64(self.touched);
        to.varint(self.rows.len() as u64);
        for (rank, row) in &self.rows {
            rank.snapshot(to);
            to.record(row);
        }
    }
}

/// Running form of [`TopNSpec`].
#[derive(Debug)]
pub struct TopNOp {
    partition: PartitionKey,
    order: SortOrder,
    window_end: Option<Program>,
    skip: usize,
    take: usize,
    with_rank: bool,
    emit: Emit,
    retracts: bool,
    /// Shape of kept rows, once one is known; snapshots need it.
    input: Option<Arc<Schema>>,
    schema: Arc<Schema>,
    partitions: Partitions<Top>,
    arrivals: u64,
    /// Partitions that the batch has touched, in that order.
    touched: Vec<usize>,
    bytes: usize,
    /// The earliest end of a window.
    next_end: i64,
    /// The last watermark at which windows fired: rows emitted later carry it.
    fired: i64,
    blank: Arc<StreamRecord>,
    ttl: Option<Ttl>,
    /// When a partition may be due, the position of its first row, its place.
    alarms: BinaryHeap<Reverse<(i64, u64, usize)>>,
}

impl TopNOp {
    /// Compiles the expressions.
    pub fn new(spec: &TopNSpec) -> Self {
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Self {
            partition: PartitionKey::new(&spec.partition_by),
            order: SortOrder::new(&spec.order_by),
            window_end: spec.window_end.as_ref().filter(|_| spec.emit == Emit::Final).map(Program::compile),
            skip: count(spec.offset),
            take: count(spec.limit),
            with_rank: spec.with_rank,
            emit: spec.emit,
            retracts: spec.retracts,
            input: None,
            schema: spec.schema.clone(),
            partitions: Partitions::default(),
            arrivals: 0,
            touched: Vec::new(),
            bytes: 0,
            next_end: i64::MAX,
            fired: i64::MIN,
            blank: blank(),
            ttl: spec.expiry(),
            alarms: BinaryHeap::new(),
        }
    }

    /// Rows that a partition keeps: with retractions all, as any of them may move up.
    fn capacity(&self) -> usize {
        if self.retracts { usize::MAX } else { self.skip.saturating_add(self.take) }
    }

    /// Takes one record into its partition, or out of it.
    fn apply(&mut self, slot: &mut Arc<StreamRecord>, out: &mut Output<'_>) -> crate::expr::EvalResult<()> {
        let keys = self.order.keys(slot, out.now)?;
        let ctx = EvalContext { record: slot, now: out.now };
        let end = match self.window_end.as_ref().map(|p| p.eval(&ctx)).transpose()?.as_deref() {
            Some(FieldValue::Timestamp(t)) => *t,
            _ => i64::MAX,
        };
        if end <= slot.watermark() {
            // Its window has been emitted.
            out.late(slot, crate::plan::LatePolicy::Drop);
            return Ok(());
        }
        let key = self.partition.of(slot, out.now)?;
        let first = self.arrivals;
        let touched = match self.ttl {
            Some(Ttl { event_time: true, .. }) => slot.watermark(),
            _ => out.now,
        };
        let (ttl, alarms) = (self.ttl, &mut self.alarms);
        let mut fresh = false;
        let place = self.partitions.place(key, || {
            fresh = ttl.is_some();
            Top { first, end, rows: BTreeMap::new(), before: None, touched }
        });
        if fresh {
            alarms.push(Reverse((due(ttl, touched), first, place)));
        }
        let capacity = self.capacity();
        let (skip, take) = (self.skip, self.take);
        let changes = self.emit != Emit::Final;
        self.next_end = self.next_end.min(end);
        out.counters.absorbed += 1;
        let rank = Rank::new(self.order.directions(), keys, self.arrivals);
        self.arrivals += 1;
        let adds = matches!(slot.kind(), RowKind::Insert | RowKind::UpdateAfter);
        let behind_all = |top: &Top| {
            let is_last = || top.rows.last_key_value().is_none_or(|(last, _)| rank > *last);
            adds && top.rows.len() >= capacity && is_last()
        };
        let passes_by = self.partitions.get(place).is_none_or(behind_all);
        if passes_by && self.ttl.is_none() {
            return Ok(());
        }
        let Some(top) = self.partitions.get_mut(place) else { return Ok(()) };
        top.touched = top.touched.max(touched);
        if passes_by {
            return Ok(());
        }
        if changes && top.before.is_none() {
            top.before = Some(top.rows.values().skip(skip).take(take).cloned().collect());
            self.touched.push(place);
        }
        if adds {
            self.input.get_or_insert_with(|| slot.schema().clone());
            let row = take_record(slot, &self.blank);
            self.bytes += rank.footprint() + row.footprint();
            top.rows.insert(rank, row);
            if top.rows.len() > capacity
                && let Some((rank, row)) = top.rows.pop_last()
            {
                self.bytes = self.bytes.saturating_sub(rank.footprint() + row.footprint());
            }
        } else {
            // The row that leaves: the first with its keys and values.
            let mut from = rank.clone();
            from.arrival = 0;
            let peers = top.rows.range(from..).take_while(|(r, _)| r.is_peer(&rank));
            let found = peers.into_iter().find(|(_, row)| row.values() == slot.values());
            if let Some(rank) = found.map(|(r, _)| r.clone())
                && let Some(row) = top.rows.remove(&rank)
            {
                self.bytes = self.bytes.saturating_sub(rank.footprint() + row.footprint());
            }
        }
        Ok(())
    }

    /// Emits what has changed in the touched partitions.
    fn flush(&mut self, out: &mut Output<'_>) {
        if self.touched.is_empty() {
            return;
        }
        let mut to = Emitter::new(out, self.schema.clone(), self.with_rank, self.fired);
        for place in std::mem::take(&mut self.touched) {
            let Some(top) = self.partitions.get_mut(place) else { continue };
            let Some(before) = top.before.take() else { continue };
            let after = top.rows.values().skip(self.skip).take(self.take);
            if self.with_rank {
                to.ranked_changes(self.skip, &before, after);
            } else {
                to.changes(&before, after);
            }
        }
        to.finish();
    }

    /// `state_ttl`: forgets the partitions that are due, in the order in which they fall due.
    fn expire(&mut self, now: i64, out: &mut Output<'_>) {
        let over = |alarms: &BinaryHeap<Reverse<(i64, u64, usize)>>| {
            alarms.peek().is_some_and(|Reverse((at, ..))| *at <= now)
        };
        if now == i64::MIN || now == i64::MAX || !over(&self.alarms) {
            return;
        }
        let mut gone: Vec<(i64, u64, usize)> = Vec::new();
        while over(&self.alarms) {
            let Some(Reverse((_, first, place))) = self.alarms.pop() else { break };
            let Some(top) = self.partitions.get_mut(place).filter(|top| top.first == first) else { continue };
            if top.touched == i64::MIN {
                // Touched before time was known: it begins now.
                top.touched = now;
            }
            match due(self.ttl, top.touched) {
                at if at > now => self.alarms.push(Reverse((at, first, place))),
                at => gone.push((at, first, place)),
            }
        }
        if gone.is_empty() {
            return;
        }
        // What rows before this moment changed comes first.
        self.flush(out);
        gone.sort_unstable();
        // The first rows to come are told for good where there is no order.
        let silent = self.order.directions().is_empty() && !self.retracts;
        let mut to = Emitter::new(out, self.schema.clone(), self.with_rank, self.fired);
        for (_, _, place) in gone {
            let Some(top) = self.partitions.remove(place) else { continue };
            to.out.counters.expired += 1;
            let size = top.rows.iter().map(|(rank, row)| rank.footprint() + row.footprint()).sum();
            self.bytes = self.bytes.saturating_sub(size);
            if !silent {
                for (i, row) in top.rows.values().enumerate().skip(self.skip).take(self.take) {
                    to.put(row, RowKind::Delete, i);
                }
            }
        }
        to.finish();
    }

    /// Emits the partitions whose window has ended, and forgets them.
    fn fire(&mut self, watermark: i64, out: &mut Output<'_>) {
        if self.window_end.is_none() || watermark < self.next_end || self.emit != Emit::Final {
            return;
        }
        let mut ended = self.partitions.take_if(|_, top| top.end <= watermark);
        sorted::sort_by_key(&mut ended, |top| (top.end, top.first));
        self.next_end = self.partitions.iter().map(|top| top.end).min().unwrap_or(i64::MAX);
        self.emit_final(ended, out);
        if watermark != i64::MAX {
            self.fired = watermark;
        }
    }

    fn emit_final(&mut self, tops: Vec<Top>, out: &mut Output<'_>) {
        let mut to = Emitter::new(out, self.schema.clone(), self.with_rank, self.fired);
        for top in tops {
            let gone = top.rows.iter().map(|(rank, row)| rank.footprint() + row.footprint()).sum();
            self.bytes = self.bytes.saturating_sub(gone);
            for (i, row) in top.rows.values().enumerate().skip(self.skip).take(self.take) {
                to.put(row, RowKind::Insert, i);
            }
        }
        to.finish();
    }
}

/// When a partition touched at that time is due; before the first watermark nobody knows.
fn due(ttl: Option<Ttl>, touched: i64) -> i64 {
    match ttl {
        Some(ttl) if touched > i64::MIN => touched.saturating_add(ttl.micros),
        _ => touched,
    }
}

/// Writes rows made from state into batches.
struct Emitter<'a, 'b> {
    out: &'a mut Output<'b>,
    made: Batch,
    schema: Arc<Schema>,
    with_rank: bool,
    watermark: i64,
}

impl<'a, 'b> Emitter<'a, 'b> {
    fn new(out: &'a mut Output<'b>, schema: Arc<Schema>, with_rank: bool, watermark: i64) -> Self {
        let made = out.pools.take(out.home);
        Self { out, made, schema, with_rank, watermark }
    }

    fn put(&mut self, row: &StreamRecord, kind: RowKind, rank: usize) {
        // The two rows of an update stay together.
        let room = if kind == RowKind::UpdateBefore { 2 } else { 1 };
        if self.made.len() + room > MAX_ROWS {
            let next = self.out.pools.take(self.out.home);
            emit_made(std::mem::replace(&mut self.made, next), self.out);
        }
        let record = copy_row(&mut self.made, row, &self.schema);
        record.set_kind(kind);
        record.set_watermark(self.watermark);
        if self.with_rank {
            record.set(self.schema.len().saturating_sub(1), rank as i64 + 1);
        }
    }

    /// Rank by rank: what stands there now against what stood there.
    fn ranked_changes<'r>(
        &mut self,
        skip: usize,
        before: &[Arc<StreamRecord>],
        after: impl Iterator<Item = &'r Arc<StreamRecord>>,
    ) {
        let mut after = after.fuse();
        let mut old = before.iter();
        for rank in skip.. {
            match (old.next(), after.next()) {
                (Some(a), Some(b)) if a.values() == b.values() => {}
                (Some(a), Some(b)) => {
                    self.put(a, RowKind::UpdateBefore, rank);
                    self.put(b, RowKind::UpdateAfter, rank);
                }
                (Some(a), None) => self.put(a, RowKind::Delete, rank),
                (None, Some(b)) => self.put(b, RowKind::Insert, rank),
                (None, None) => break,
            }
        }
    }

    /// Rows that left, then rows that came.
    fn changes<'r>(
        &mut self,
        before: &[Arc<StreamRecord>],
        after: impl Iterator<Item = &'r Arc<StreamRecord>>,
    ) {
        let mut came: Vec<&Arc<StreamRecord>> = after.collect();
        // Rows are few; each is held by the state, so that the same row is the same allocation.
        let mut left = Vec::new();
        for row in before {
            match came.iter().position(|r| Arc::ptr_eq(r, row)) {
                Some(at) => drop(came.remove(at)),
                None => left.push(row),
            }
        }
        left.retain(|row| match came.iter().position(|r| r.values() == row.values()) {
            Some(at) => {
                came.remove(at);
                false
            }
            None => true,
        });
        left.into_iter().for_each(|row| self.put(row, RowKind::Delete, 0));
        came.into_iter().for_each(|row| self.put(row, RowKind::Insert, 0));
    }

    fn finish(self) {
        emit_made(self.made, self.out);
    }
}

impl Operator for TopNOp {
    fn process(&mut self, _: InputId, mut batch: Batch, out: &mut Output<'_>) {
        for_each_record(&mut batch, out, |slot, out| {
            self.fire(slot.watermark(), out);
            if self.ttl.is_some_and(|ttl| ttl.event_time) {
                self.expire(slot.watermark(), out);
            }
            self.apply(slot, out)?;
            if self.emit == Emit::EveryChange {
                self.flush(out);
            }
            Ok(())
        });
        self.flush(out);
        out.pools.give(batch);
    }

    fn on_watermark(&mut self, _: InputId, micros: i64, out: &mut Output<'_>) {
        self.fire(micros, out);
        if self.ttl.is_some_and(|ttl| ttl.event_time) {
            self.expire(micros, out);
        }
    }

    fn next_timer(&self) -> Option<i64> {
        let alarm = self.alarms.peek().map(|Reverse((at, ..))| *at);
        alarm.filter(|_| self.ttl.is_some_and(|ttl| !ttl.event_time))
    }

    fn on_timer(&mut self, now: i64, out: &mut Output<'_>) {
        self.expire(now, out);
    }

    fn on_end(&mut self, _: InputId, out: &mut Output<'_>) {
        if self.emit == Emit::Final {
            let mut tops = self.partitions.take_if(|_, _| true);
            tops.sort_by_key(|top| (top.end, top.first));
            self.emit_final(tops, out);
        }
    }

    fn state_bytes(&self) -> usize {
        self.bytes + self.partitions.len() * 128 + self.partitions.bytes()
    }

    fn snapshot(&mut self, to: &mut StateWriter) -> Result<(), StateError> {
        write_version(to);
        to.u64(self.arrivals);
        to.i64(self.fired);
        self.partitions.snapshot(to);
        Ok(())
    }

    fn take_down(&mut self, budget: &mut usize) {
        self.partitions.take_down(budget);
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        // Kept rows have the columns of the input: those of the output without the rank.
        let columns = self.schema.len().saturating_sub(usize::from(self.with_rank));
        let input = match &self.input {
            Some(schema) => schema.clone(),
            None if self.with_rank => Schema::new(self.schema.fields().iter().take(columns).cloned()),
            None => self.schema.clone(),
        };
        read_version(from)?;
        self.arrivals = from.u64()?;
        self.fired = from.i64()?;
        let Self { partitions, order, alarms, bytes, next_end, ttl, .. } = self;
        partitions.restore(from, |from, place| {
            let (first, end, touched) = (from.varint()?, from.i64()?, from.i64()?);
            let mut rows = BTreeMap::new();
            for _ in 0..from.varint()? {
                let rank = Rank::restore(order.directions(), from)?;
                let row = Arc::new(from.record(&input)?);
                *bytes += rank.footprint() + row.footprint();
                rows.insert(rank, row);
            }
            *next_end = (*next_end).min(end);
            if ttl.is_some() {
                alarms.push(Reverse((due(*ttl, touched), first, place)));
            }
            Ok(Top { first, end, rows, before: None, touched })
        })
    }

    fn state_contract(&self) -> StateContract {
        let what = match self.retracts {
            true => "all rows of each partition".to_owned(),
            false => format!("the first {} rows of each partition", self.capacity()),
        };
        let until = match self.window_end {
            Some(_) => "until the watermark reaches the end of the window",
            None if self.emit == Emit::Final => "until the end of the input",
            None if self.ttl.is_some() => "until no row has come to it for state_ttl",
            None => "for the job's life",
        };
        StateContract::Kept { what, until }
    }
}

#[cfg(test)]
#[path = "top_n_tests.rs"]
mod tests;
