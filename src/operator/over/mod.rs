//! Calls OVER: one row for each row, with results over the frame around it.
//!
//! Streaming, rows wait until the watermark has passed them and then come out in the order of time; over input without a watermark, or in
//! another order, they all wait for its end and come out in the order in which they came in. Frames slide: a row is added to an accumulator once and taken
//! back once, whatever the length of the frame.

mod function;
mod line;
mod waiting;

use std::sync::Arc;

use self::function::Calls;
use self::line::{Line, OverRow};
use self::waiting::{Queue, Waiting};
use super::kept::{
    Keys, MAX_ROWS, PartitionKey, Partitions, SortOrder, blank, emit_made, for_each_record, read_version,
    take_record, write_version,
};
use super::{InputId, Operator, Output, Rejected, StateContract, StateError, StateReader, StateWriter};
use crate::expr::{Accumulator, EvalResult};
use crate::plan::{Frame, FrameBound, OverSpec, Streaming};
use crate::record::{Batch, ErrorCode, FieldValue, RecordError, RowKind, Schema, StreamRecord};
use crate::state::{Places, read_places};

/// Bytes that accumulators may hold before they are counted.
const COUNT_FROM: usize = 1 << 20;

/// Records that are kept no more, to take the places of those that come: a stream whose frames slide allocates none.
#[derive(Debug)]
struct Spare {
    records: Vec<(Arc<StreamRecord>, usize)>,
    bytes: usize,
    blank: Arc<StreamRecord>,
}

impl Spare {
    /// Of any operator, at the most.
    const MAX_BYTES: usize = 1 << 20;

    fn new() -> Self {
        Self { records: Vec::new(), bytes: 0, blank: blank() }
    }
    fn give(&mut self, row: OverRow) {
        // Those that somebody else still reads can't be filled again.
        if self.bytes + row.bytes <= Self::MAX_BYTES && Arc::strong_count(&row.record) == 1 {
            self.bytes += row.bytes;
            self.records.push((row.record, row.bytes));
        }
    }
    /// Takes a record out of its batch for keeps.
    fn exchange(&mut self, slot: &mut Arc<StreamRecord>) -> Arc<StreamRecord> {
        let Some((spare, bytes)) = self.records.pop() else { return take_record(slot, &self.blank) };
        self.bytes -= bytes;
        std::mem::replace(slot, spare)
    }
}

/// Running form of [`OverSpec`].
#[derive(Debug)]
pub struct OverOp {
    partition: PartitionKey,
    order: SortOrder,
    frame: Frame,
    calls: Calls,
    streaming: Option<Streaming>,
    schema: Arc<Schema>,
    input: Arc<Schema>,
    lines: Partitions<Line>,
    waiting: Queue,
    /// Over input that ends: all rows as they came, and what of them snapshots have.
    kept: Vec<Waiting>,
    changes: Places,
    arrivals: u64,
    /// Rows before this time have been emitted; rows emitted later carry it as their watermark.
    fired: i64,
    /// Rows fired since partitions that are over were last looked for.
    since_sweep: usize,
    bytes: usize,
    /// What accumulators held beyond themselves when that was counted, and what rows may have added since, in bytes.
    cells_held: usize,
    cells_grown: usize,
    results: Vec<FieldValue>,
    /// Where rows that fired together ended up: partition and position in its line.
    peers: Vec<(usize, u64)>,
    /// Rows that the batch in hand has fired so far.
    made: Option<Batch>,
    spare: Spare,
}

impl OverOp {
    /// Compiles the expressions.
    ///
    /// # Errors
    /// If rows can't be emitted as the watermark passes them although the plan says so.
    pub fn new(spec: &OverSpec) -> Result<Self, String> {
        let calls = Calls::new(spec);
        if spec.streaming.is_some() && spec.looks_ahead().is_some() {
            return Err("a call OVER that looks at rows to come needs bounded input".into());
        }
        let order = SortOrder::new(&spec.order_by);
        Ok(Self {
            partition: PartitionKey::new(&spec.partition_by),
            waiting: Queue::new(order.directions()),
            order,
            frame: spec.frame,
            calls,
            streaming: spec.streaming,
            schema: spec.schema.clone(),
            input: spec.input.clone(),
            lines: Partitions::default(),
            kept: Vec::new(),
            changes: Places::default(),
            arrivals: 0,
            fired: i64::MIN,
            since_sweep: 0,
            bytes: 0,
            cells_held: 0,
            cells_grown: 0,
            results: Vec::new(),
            peers: Vec::new(),
            made: None,
            spare: Spare::new(),
        })
    }

    /// Takes one record in.
    fn take(&mut self, slot: &mut Arc<StreamRecord>, out: &mut Output<'_>) -> EvalResult<()> {
        let now = out.now;
        if !matches!(slot.kind(), RowKind::Insert) {
            return Err(Box::new(RecordError::new(
                ErrorCode::InvalidArgument,
                "a changed row came to a call OVER, which takes new rows only",
            )));
        }
        let keys = self.order.keys(slot, now)?;
        if let Some(streaming) = self.streaming {
            match keys.first() {
                Some(FieldValue::Timestamp(time)) if *time < streaming.passed(slot.watermark()) => {
                    out.late(slot, streaming.late);
                    return Ok(());
                }
                Some(FieldValue::Timestamp(_)) => {}
                _ => {
                    let null = "the time that the rows are ordered by is NULL";
                    return Err(Box::new(RecordError::new(ErrorCode::NotNull, null)));
                }
            }
        }
        let brought = self.calls.evaluate(slot, now)?;
        let calls = &self.calls;
        let place = self.lines.place(self.partition.of(slot, now)?, || Line::new(calls));
        let row = OverRow::new(keys, self.arrivals, self.spare.exchange(slot), brought);
        self.arrivals += 1;
        self.bytes += row.bytes;
        let (calls, bytes) = self.calls.growing;
        self.cells_grown += calls * row.bytes + bytes;
        match self.streaming {
            Some(_) => self.waiting.push(Waiting { place, row }),
            None => self.kept.push(Waiting { place, row }),
        }
        out.counters.absorbed += 1;
        Ok(())
    }

    /// Emits the rows that the watermark has passed, with what is allowed for late ones.
    fn fire(&mut self, watermark: i64, out: &mut Output<'_>) {
        let Some(watermark) = self.streaming.map(|s| s.passed(watermark)) else { return };
        let mut fires = self.waiting.has_passed(watermark);
        if !fires {
            return;
        }
        while fires {
            // All rows of one time and place in the order come at once: frames end behind the last of them.
            self.peers.clear();
            while let Some(Waiting { place, row }) = self.waiting.pop() {
                let last = !self.waiting.next_is_peer(&row.keys);
                if let Some(line) = self.lines.get_mut(place) {
                    if let (Some(ttl), Some(FieldValue::Timestamp(time))) = (self.calls.ttl, row.keys.first())
                        && line.is_stale(*time, ttl)
                    {
                        let bytes = &mut self.bytes;
                        line.restart(&self.calls, |row| *bytes = bytes.saturating_sub(row.bytes));
                        out.counters.expired += 1;
                    }
                    self.peers.push((place, line.end()));
                    line.push(row);
                }
                if last {
                    break;
                }
            }
            self.emit_peers(out);
            fires = self.waiting.has_passed(watermark);
        }
        if watermark != i64::MAX {
            self.fired = watermark;
        }
        self.sweep(watermark, out);
    }

    /// Makes the results of rows that were just added to the ends of their lines.
    fn emit_peers(&mut self, out: &mut Output<'_>) {
        let made = self.made.get_or_insert_with(|| out.pools.take(out.home));
        for (place, at) in self.peers.drain(..) {
            let Some(line) = self.lines.get_mut(place) else { continue };
            let span = line.advance(at, &self.frame, self.order.directions(), &self.calls);
            let results = self.calls.results(line, at, &span, &mut self.results);
            if let Some(row) = line.row(at) {
                if made.len() == MAX_ROWS {
                    let next = out.pools.take(out.home);
                    emit_made(std::mem::replace(made, next), out);
                }
                put(made, &row.record, results, &mut self.results, &self.schema, self.fired, out);
            }
            let (bytes, spare) = (&mut self.bytes, &mut self.spare);
            line.forget(at, &self.frame, &self.calls, |row| {
                *bytes = bytes.saturating_sub(row.bytes);
                spare.give(row);
            });
            self.since_sweep += 1;
        }
    }

    /// Emits the rows made so far.
    fn emit(&mut self, out: &mut Output<'_>) {
        if let Some(made) = self.made.take() {
            emit_made(made, out);
        }
    }

    /// Forgets partitions to which no frame reaches any more, or for which `state_ttl` is over.
    fn sweep(&mut self, watermark: i64, out: &mut Output<'_>) {
        let length = match self.frame.start {
            FrameBound::Preceding(n) if !self.frame.rows && self.calls.only_frames => Some(n),
            FrameBound::CurrentRow if !self.frame.rows && self.calls.only_frames => Some(0),
            _ => None,
        };
        let ttl = self.calls.ttl;
        if (length.is_none() && ttl.is_none()) || self.since_sweep <= self.lines.len() + 1024 {
            return;
        }
        self.since_sweep = 0;
        let mut waits = Vec::new();
        for w in self.waiting.iter() {
            if waits.len() <= w.place {
                waits.resize(w.place + 1, false);
            }
            if let Some(slot) = waits.get_mut(w.place) {
                *slot = true;
            }
        }
        let idle = |place: usize| !waits.get(place).copied().unwrap_or(false);
        if let Some(length) = length {
            for line in self.lines.take_if(|place, line| idle(place) && line.is_over(watermark, length)) {
                self.bytes = self.bytes.saturating_sub(line.footprint());
            }
        }
        if let Some(ttl) = ttl {
            for line in self.lines.take_if(|place, line| idle(place) && line.has_expired(watermark, ttl)) {
                self.bytes = self.bytes.saturating_sub(line.footprint());
                out.counters.expired += 1;
            }
        }
    }

    /// Bounded input: everything, in the order of arrival.
    fn finish(&mut self, out: &mut Output<'_>) {
        self.changes.forget(|at, to| write_row(&self.kept, at, to));
        let mut waiting = std::mem::take(&mut self.kept);
        self.waiting.sort(&mut waiting);
        let mut order: Vec<(u64, usize, u64)> = Vec::with_capacity(waiting.len());
        for Waiting { place, row } in waiting {
            if let Some(line) = self.lines.get_mut(place) {
                order.push((row.arrival, place, line.end()));
                line.push(row);
            }
        }
        // Frames slide along each line; rows come out as they came in, so that results wait in between.
        let width = self.calls.len();
        let mut results = vec![FieldValue::Null; order.len().saturating_mul(width)];
        let mut failed: Vec<(u64, Box<RecordError>)> = Vec::new();
        for (arrival, place, at) in &order {
            let Some(line) = self.lines.get_mut(*place) else { continue };
            let span = line.advance(*at, &self.frame, self.order.directions(), &self.calls);
            match self.calls.results(line, *at, &span, &mut self.results) {
                Ok(()) => {
                    let from = usize::try_from(*arrival).unwrap_or(usize::MAX).saturating_mul(width);
                    for (slot, value) in results.iter_mut().skip(from).zip(self.results.drain(..)) {
                        *slot = value;
                    }
                }
                Err(error) => failed.push((*arrival, error)),
            }
        }
        order.sort_unstable();
        failed.sort_unstable_by_key(|(arrival, _)| *arrival);
        let mut failed = failed.into_iter().peekable();
        let mut made = out.pools.take(out.home);
        let mut results = results.into_iter();
        for (arrival, place, at) in order {
            self.results.clear();
            self.results.extend(results.by_ref().take(width));
            let Some(row) = self.lines.get_mut(place).and_then(|line| line.row(at)) else { continue };
            if made.len() == MAX_ROWS {
                let next = out.pools.take(out.home);
                emit_made(std::mem::replace(&mut made, next), out);
            }
            let result = failed.next_if(|(failed, _)| *failed == arrival).map_or(Ok(()), |(_, e)| Err(e));
            put(&mut made, &row.record, result, &mut self.results, &self.schema, i64::MIN, out);
        }
        emit_made(made, out);
        self.lines.clear();
        self.bytes = 0;
        self.recount();
    }

    /// A row from a snapshot.
    fn read_row(&self, from: &mut StateReader<'_>) -> Result<OverRow, StateError> {
        let keys = Keys::restore(self.order.directions(), from)?;
        let arrival = from.u64()?;
        let record = from.record(&self.input)?;
        let brought = self.calls.evaluate(&record, 0).map_err(|e| StateError(e.to_string()))?;
        Ok(OverRow::new(keys, arrival, Arc::new(record), brought))
    }
}

fn write_row(kept: &[Waiting], at: usize, to: &mut StateWriter) {
    if let Some(waiting) = kept.get(at) {
        waiting.row.snapshot(to);
    }
}

/// Writes one row of the output, or rejects the row whose result is an error.
fn put(
    made: &mut Batch,
    row: &Arc<StreamRecord>,
    results: EvalResult<()>,
    values: &mut Vec<FieldValue>,
    schema: &Arc<Schema>,
    watermark: i64,
    out: &mut Output<'_>,
) {
    if let Err(error) = results {
        // It was taken in, and now turns out to be an error.
        out.counters.absorbed = out.counters.absorbed.saturating_sub(1);
        out.counters.rejected += 1;
        out.rejects.push(Rejected { record: row.clone(), error: *error });
        return;
    }
    let handed = schema.len().saturating_sub(values.len());
    let (record, _) = made.next_slot(schema);
    record.copy_metadata(row);
    record.set_watermark(watermark);
    let (columns, results) = record.values_mut().split_at_mut(handed);
    for (slot, value) in columns.iter_mut().zip(row.values()) {
        slot.assign(value);
    }
    for (slot, value) in results.iter_mut().zip(values.drain(..)) {
        *slot = value;
    }
}

impl Operator for OverOp {
    fn process(&mut self, _: InputId, mut batch: Batch, out: &mut Output<'_>) {
        for_each_record(&mut batch, out, |slot, out| {
            self.fire(slot.watermark(), out);
            self.take(slot, out)
        });
        self.emit(out);
        out.pools.give(batch);
        if self.cells_grown > self.cells_held.max(COUNT_FROM) {
            self.recount();
        }
    }

    fn on_watermark(&mut self, _: InputId, micros: i64, out: &mut Output<'_>) {
        self.fire(micros, out);
        self.emit(out);
    }

    fn on_end(&mut self, _: InputId, out: &mut Output<'_>) {
        if self.streaming.is_none() {
            self.finish(out);
        }
    }

    fn state_bytes(&self) -> usize {
        let line = 256 + self.calls.aggregates.len() * size_of::<Accumulator>();
        self.bytes + self.lines.len() * line + self.lines.bytes() + self.cells_held + self.cells_grown
    }

    fn recount(&mut self) {
        self.cells_grown = 0;
        self.cells_held = self.lines.iter().map(Line::heap_of_cells).sum();
    }

    fn snapshot(&mut self, to: &mut StateWriter) -> Result<(), StateError> {
        write_version(to);
        to.u64(self.arrivals);
        to.i64(self.fired);
        if self.streaming.is_none() {
            // Partitions are empty before the end: rows tell which there are.
            let kept = &self.kept;
            self.changes.snapshot_log(to, kept.len(), |at, to| write_row(kept, at, to));
            return Ok(());
        }
        self.lines.snapshot(to);
        let waiting = self.waiting.sorted();
        to.varint(waiting.len() as u64);
        waiting.iter().for_each(|w| w.row.snapshot(to));
        Ok(())
    }

    fn take_down(&mut self, budget: &mut usize) {
        self.lines.take_down(budget);
        self.changes.take_down(budget, |at, to| write_row(&self.kept, at, to));
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        read_version(from)?;
        self.arrivals = from.u64()?;
        self.fired = from.i64()?;
        let mut rows = Vec::new();
        if self.streaming.is_none() {
            read_places(from, |from| {
                rows.push(self.read_row(from)?);
                Ok(())
            })?;
        } else {
            let mut lines = std::mem::take(&mut self.lines);
            lines.restore(from, |from, _| {
                let line = Line::restore(from, &self.calls, |from| self.read_row(from))?;
                self.bytes += line.footprint();
                Ok(line)
            })?;
            self.lines = lines;
            for _ in 0..from.varint()? {
                rows.push(self.read_row(from)?);
            }
        }
        for row in rows {
            let key = self.partition.of(&row.record, 0).map_err(|e| StateError(e.to_string()))?;
            let calls = &self.calls;
            let place = self.lines.place(key, || Line::new(calls));
            self.bytes += row.bytes;
            match self.streaming {
                Some(_) => self.waiting.push(Waiting { place, row }),
                None => self.kept.push(Waiting { place, row }),
            }
        }
        self.recount();
        Ok(())
    }

    fn state_contract(&self) -> StateContract {
        let (what, until) = match (self.streaming.is_some(), self.frame.start) {
            (false, _) => ("all rows", "until the end of the input"),
            (true, _) if self.calls.ttl.is_some() => (
                "rows ahead of the watermark, and what frames need of each partition",
                "until state_ttl is over",
            ),
            (true, FrameBound::UnboundedPreceding) => {
                ("rows ahead of the watermark, and totals of each partition", "for the job's life")
            }
            (true, _) => (
                "rows ahead of the watermark, and those that a frame may still reach",
                "until no frame reaches them",
            ),
        };
        StateContract::Kept { what: what.into(), until }
    }
}

#[cfg(test)]
mod tests;
