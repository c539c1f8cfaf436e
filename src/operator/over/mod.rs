//! Calls OVER: one row for each row, with results over the frame around it.
//!
//! Streaming, rows wait until the watermark has passed them and then come out in the order of time; over bounded input they all wait
//! for its end and come out in the order in which they came in. Frames slide: a row is added to an accumulator once and taken
//! back once, whatever the length of the frame.

mod function;
mod line;
mod waiting;

use std::sync::Arc;

use self::function::Calls;
use self::line::{Line, OverRow};
use self::waiting::{Queue, Waiting};
use super::kept::{
    Keys, MAX_ROWS, PartitionKey, Partitions, SortOrder, blank, copy_row, emit_made, for_each_record,
    take_record,
};
use super::{InputId, Operator, Output, Rejected, StateContract, StateError, StateReader, StateWriter};
use crate::expr::EvalResult;
use crate::plan::{Frame, FrameBound, OverSpec, Streaming};
use crate::record::{Batch, ErrorCode, FieldValue, RecordError, RowKind, Schema, StreamRecord};

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
    arrivals: u64,
    /// Rows before this time have been emitted; rows emitted later carry it as their watermark.
    fired: i64,
    /// Rows fired since partitions that are over were last looked for.
    since_sweep: usize,
    bytes: usize,
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
        let columns = spec.schema.len().saturating_sub(spec.calls.len());
        let order = SortOrder::new(&spec.order_by);
        Ok(Self {
            partition: PartitionKey::new(&spec.partition_by),
            waiting: Queue::new(order.directions()),
            order,
            frame: spec.frame,
            calls,
            streaming: spec.streaming,
            schema: spec.schema.clone(),
            input: Schema::new(spec.schema.fields().iter().take(columns).cloned()),
            lines: Partitions::default(),
            arrivals: 0,
            fired: i64::MIN,
            since_sweep: 0,
            bytes: 0,
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
        self.waiting.push(Waiting { place, row });
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
        self.sweep(watermark);
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

    /// Forgets partitions to which no frame reaches any more.
    fn sweep(&mut self, watermark: i64) {
        let length = match self.frame.start {
            FrameBound::Preceding(n) if !self.frame.rows && self.calls.only_frames => n,
            FrameBound::CurrentRow if !self.frame.rows && self.calls.only_frames => 0,
            _ => return,
        };
        if self.since_sweep <= self.lines.len() + 1024 {
            return;
        }
        self.since_sweep = 0;
        let mut waits = vec![false; 0];
        for w in self.waiting.iter() {
            if waits.len() <= w.place {
                waits.resize(w.place + 1, false);
            }
            if let Some(slot) = waits.get_mut(w.place) {
                *slot = true;
            }
        }
        let over = |place: usize, line: &Line| {
            !waits.get(place).copied().unwrap_or(false) && line.is_over(watermark, length)
        };
        for line in self.lines.take_if(over) {
            self.bytes = self.bytes.saturating_sub(line.footprint());
        }
    }

    /// Bounded input: everything, in the order of arrival.
    fn finish(&mut self, out: &mut Output<'_>) {
        let waiting = self.waiting.take_sorted();
        let mut order: Vec<(u64, usize, u64)> = Vec::with_capacity(waiting.len());
        for Waiting { place, row } in waiting {
            if let Some(line) = self.lines.get_mut(place) {
                order.push((row.arrival, place, line.end()));
                line.push(row);
            }
        }
        // Frames slide along each line; rows come out as they came in, so that results wait in between.
        let width = self.results_per_row();
        let mut results: Vec<Option<EvalResult<Box<[FieldValue]>>>> = Vec::new();
        results.resize_with(order.len(), || None);
        for (arrival, place, at) in &order {
            let Some(line) = self.lines.get_mut(*place) else { continue };
            let span = line.advance(*at, &self.frame, self.order.directions(), &self.calls);
            let result = self.calls.results(line, *at, &span, &mut self.results);
            let values: Box<[FieldValue]> = self.results.drain(..).take(width).collect();
            let index = usize::try_from(*arrival).unwrap_or(usize::MAX);
            if let Some(slot) = results.get_mut(index) {
                *slot = Some(result.map(|()| values));
            }
        }
        order.sort_unstable();
        let mut made = out.pools.take(out.home);
        for ((_, place, at), result) in order.into_iter().zip(results) {
            let Some(line) = self.lines.get_mut(place) else { continue };
            let (Some(row), Some(result)) = (line.row(at), result) else { continue };
            if made.len() == MAX_ROWS {
                let next = out.pools.take(out.home);
                emit_made(std::mem::replace(&mut made, next), out);
            }
            let mut values = Vec::new();
            let result = result.map(|r| values = r.into_vec());
            put(&mut made, &row.record, result, &mut values, &self.schema, i64::MIN, out);
        }
        emit_made(made, out);
        self.lines = Partitions::default();
        self.bytes = 0;
    }

    fn results_per_row(&self) -> usize {
        self.schema.len().saturating_sub(self.input.len())
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
    let width = schema.len().saturating_sub(values.len());
    let record = copy_row(made, row, schema);
    record.set_watermark(watermark);
    for (slot, value) in record.values_mut().iter_mut().skip(width).zip(values.drain(..)) {
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
        self.bytes + self.lines.len() * 256
    }

    fn snapshot(&mut self, to: &mut StateWriter) -> Result<(), StateError> {
        to.u64(self.arrivals);
        to.i64(self.fired);
        let lines = self.lines.entries();
        to.u64(lines.len() as u64);
        for (key, line) in lines {
            to.bytes(key);
            line.snapshot(to);
        }
        let waiting = self.waiting.sorted();
        to.u64(waiting.len() as u64);
        waiting.iter().for_each(|w| w.row.snapshot(to));
        Ok(())
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.arrivals = from.u64()?;
        self.fired = from.i64()?;
        for _ in 0..from.count()? {
            let key: Box<[u8]> = from.bytes()?.into();
            let line = Line::restore(from, &self.calls, |from| self.read_row(from))?;
            self.bytes += line.footprint();
            self.lines.place(&key, || line);
        }
        for _ in 0..from.count()? {
            let row = self.read_row(from)?;
            let key = self.partition.of(&row.record, 0).map_err(|e| StateError(e.to_string()))?;
            let calls = &self.calls;
            let place = self.lines.place(key, || Line::new(calls));
            self.bytes += row.bytes;
            self.waiting.push(Waiting { place, row });
        }
        Ok(())
    }

    fn state_contract(&self) -> StateContract {
        let (what, until) = match (self.streaming.is_some(), self.frame.start) {
            (false, _) => ("all rows", "until the end of the input"),
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
