//! SESSION in FROM: rows are kept until their session is over, and then emitted with its bounds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::kept::{
    Kept, PartitionKey, Partitions, blank, emit_kept, for_each_record, read_version, take_record,
    write_version,
};
use super::{InputId, Operator, Output, StateContract, StateError, StateReader, StateWriter};
use crate::expr::{EvalContext, EvalResult, Program};
use crate::plan::{LatePolicy, WindowSpec, WindowTableSpec};
use crate::record::{Batch, ErrorCode, FieldValue, RecordError, Schema, StreamRecord};

/// One session of a partition.
#[derive(Debug)]
struct Open {
    number: u64,
    start: i64,
    /// The time of its last row.
    last: i64,
    /// Rows by arrival.
    rows: Vec<(u64, Arc<StreamRecord>)>,
}

impl Kept for Vec<Open> {
    fn write(&self, to: &mut StateWriter) {
        to.varint(self.len() as u64);
        for s in self {
            to.i64(s.start);
            to.i64(s.last);
            to.varint(s.rows.len() as u64);
            for (arrival, row) in &s.rows {
                to.varint(*arrival);
                to.record(row);
            }
        }
    }
}

/// The running form of a [`WindowTableSpec`] for sessions. Whatever the late policy, rows are emitted once, at the end of their
/// session and its lateness.
#[derive(Debug)]
pub struct SessionTableOp {
    gap: i64,
    time: Program,
    lateness: i64,
    late: LatePolicy,
    has_watermark: bool,
    partition: PartitionKey,
    sessions: Partitions<Vec<Open>>,
    /// When a session may be over, its partition's place, its number.
    alarms: BinaryHeap<Reverse<(i64, usize, u64)>>,
    /// Partitions that may have no session left.
    vacated: usize,
    numbers: u64,
    arrivals: u64,
    bytes: usize,
    /// The watermark of the last firing: rows emitted later carry it.
    fired: i64,
    schema: Arc<Schema>,
    blank: Arc<StreamRecord>,
}

impl SessionTableOp {
    /// Compiles the expressions; `gap` is that of the window.
    pub fn new(spec: &WindowTableSpec, gap: i64) -> Self {
        let WindowSpec { time, lateness, late, has_watermark, .. } = &spec.window;
        Self {
            gap: gap.max(1),
            time: Program::compile(time),
            lateness: (*lateness).max(0),
            late: *late,
            has_watermark: *has_watermark,
            partition: PartitionKey::new(&spec.partition_by),
            sessions: Partitions::default(),
            alarms: BinaryHeap::new(),
            vacated: 0,
            numbers: 0,
            arrivals: 0,
            bytes: 0,
            fired: i64::MIN,
            schema: spec.schema.clone(),
            blank: blank(),
        }
    }

    fn effective(&self, watermark: i64) -> i64 {
        if self.has_watermark || watermark == i64::MAX { watermark } else { i64::MIN }
    }

    fn expiry(&self, last: i64) -> i64 {
        last.saturating_add(self.gap).saturating_add(self.lateness)
    }

    fn take(&mut self, slot: &mut Arc<StreamRecord>, out: &mut Output<'_>) -> EvalResult<()> {
        let ctx = EvalContext { record: slot, now: out.now };
        let time = match *self.time.eval(&ctx)? {
            FieldValue::Timestamp(t) => t,
            _ => {
                return Err(Box::new(RecordError::new(ErrorCode::NotNull, "the time of the window is NULL")));
            }
        };
        let watermark = self.effective(slot.watermark());
        let place = {
            let key = self.partition.of(slot, out.now)?;
            self.sessions.place(key, Vec::new)
        };
        if self.alarms.peek().is_some_and(|Reverse((when, ..))| *when <= watermark) {
            self.fire(watermark, out);
        }
        let (gap, end) = (self.gap, time.saturating_add(self.gap));
        let expiry = self.expiry(time);
        let Some(chain) = self.sessions.get_mut(place) else { return Ok(()) };
        let meets = |s: &Open| s.start < end && time < s.last.saturating_add(gap);
        let (mut hits, rest): (Vec<Open>, Vec<Open>) = std::mem::take(chain).into_iter().partition(meets);
        *chain = rest;
        if hits.is_empty() && expiry <= watermark {
            self.vacated += 1;
            out.late(slot, self.late);
            return Ok(());
        }
        out.counters.absorbed += 1;
        self.arrivals += 1;
        self.bytes += slot.footprint() + size_of::<(u64, Arc<StreamRecord>)>();
        let row = (self.arrivals, take_record(slot, &self.blank));
        let mut kept = match hits.is_empty() {
            true => {
                self.numbers += 1;
                self.alarms.push(Reverse((expiry, place, self.numbers)));
                Open { number: self.numbers, start: time, last: time, rows: Vec::new() }
            }
            false => hits.swap_remove(0),
        };
        for other in hits {
            (kept.start, kept.last) = (kept.start.min(other.start), kept.last.max(other.last));
            kept.rows.extend(other.rows);
            kept.rows.sort_unstable_by_key(|(arrival, _)| *arrival);
        }
        (kept.start, kept.last) = (kept.start.min(time), kept.last.max(time));
        kept.rows.push(row);
        if let Some(chain) = self.sessions.get_mut(place) {
            chain.push(kept);
        }
        Ok(())
    }

    /// Forgets partitions without sessions, once they are many.
    fn forget_empty(&mut self) {
        if self.vacated > 64 && self.vacated > self.sessions.len() / 2 {
            self.sessions.take_if(|_, chain| chain.is_empty());
            self.vacated = 0;
        }
    }

    /// Emits the sessions that are over.
    fn fire(&mut self, watermark: i64, out: &mut Output<'_>) {
        let mut over: Vec<Open> = Vec::new();
        while let Some(Reverse((when, place, number))) = self.alarms.peek().copied() {
            if when > watermark {
                break;
            }
            self.alarms.pop();
            let (gap, lateness) = (self.gap, self.lateness);
            let Some(chain) = self.sessions.get_mut(place) else { continue };
            let Some(at) = chain.iter().position(|s| s.number == number) else { continue };
            let expiry =
                chain.get(at).map_or(i64::MAX, |s| s.last.saturating_add(gap).saturating_add(lateness));
            if expiry > watermark {
                // It has grown since.
                self.alarms.push(Reverse((expiry, place, number)));
            } else {
                over.push(chain.swap_remove(at));
                self.vacated += usize::from(chain.is_empty());
            }
        }
        if over.is_empty() {
            return;
        }
        let first = |s: &Open| s.rows.first().map_or(0, |(arrival, _)| *arrival);
        over.sort_unstable_by_key(|s| (s.last, s.start, first(s)));
        let (schema, before, gap) = (self.schema.clone(), self.fired, self.gap);
        let mut freed = 0;
        let rows = over.into_iter().flat_map(|s| {
            let span = (s.start, s.last.saturating_add(gap));
            s.rows.into_iter().map(move |(_, row)| (span, row))
        });
        let rows = rows.map(|(span, row)| {
            freed += row.footprint() + size_of::<(u64, Arc<StreamRecord>)>();
            with_window(row, &schema, span, before)
        });
        emit_kept(rows.collect::<Vec<_>>(), out);
        self.bytes = self.bytes.saturating_sub(freed);
        if watermark != i64::MAX {
            self.fired = watermark;
        }
    }
}

/// The row under the wider shape.
fn with_window(
    mut row: Arc<StreamRecord>,
    schema: &Arc<Schema>,
    (start, end): (i64, i64),
    watermark: i64,
) -> Arc<StreamRecord> {
    let width = schema.len().saturating_sub(2);
    let set = |record: &mut StreamRecord| {
        record.set(width, FieldValue::Timestamp(start));
        record.set(width + 1, FieldValue::Timestamp(end));
        record.set_watermark(watermark);
    };
    if let Some(record) = Arc::get_mut(&mut row) {
        record.reshape(schema);
        set(record);
        return row;
    }
    let mut fresh = StreamRecord::new(schema.clone());
    fresh.copy_metadata(&row);
    for (slot, value) in fresh.values_mut().iter_mut().zip(row.values()) {
        slot.assign(value);
    }
    set(&mut fresh);
    Arc::new(fresh)
}

impl Operator for SessionTableOp {
    fn process(&mut self, _: InputId, mut batch: Batch, out: &mut Output<'_>) {
        for_each_record(&mut batch, out, |slot, out| self.take(slot, out));
        out.pools.give(batch);
    }

    fn on_watermark(&mut self, _: InputId, micros: i64, out: &mut Output<'_>) {
        let watermark = self.effective(micros);
        if watermark > i64::MIN {
            self.fire(watermark, out);
            self.forget_empty();
        }
    }

    fn state_bytes(&self) -> usize {
        self.bytes + self.sessions.len() * (size_of::<Open>() + 64) + self.sessions.bytes()
    }

    fn snapshot(&mut self, to: &mut StateWriter) -> Result<(), StateError> {
        write_version(to);
        to.u64(self.arrivals);
        to.i64(self.fired);
        self.sessions.snapshot(to);
        Ok(())
    }

    fn take_down(&mut self, budget: &mut usize) {
        self.sessions.take_down(budget);
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let width = self.schema.len().saturating_sub(2);
        let input = Schema::new(self.schema.fields().iter().take(width).cloned());
        read_version(from)?;
        self.arrivals = from.u64()?;
        self.fired = from.i64()?;
        let Self { sessions, gap, lateness, numbers, alarms, bytes, vacated, .. } = self;
        sessions.restore(from, |from, place| {
            let mut chain = Vec::new();
            for _ in 0..from.varint()? {
                let (start, last) = (from.i64()?, from.i64()?);
                let mut rows = Vec::new();
                for _ in 0..from.varint()? {
                    let arrival = from.varint()?;
                    let row = Arc::new(from.record(&input)?);
                    *bytes += row.footprint() + size_of::<(u64, Arc<StreamRecord>)>();
                    rows.push((arrival, row));
                }
                *numbers += 1;
                let expiry = last.saturating_add(*gap).saturating_add(*lateness);
                alarms.push(Reverse((expiry, place, *numbers)));
                chain.push(Open { number: *numbers, start, last, rows });
            }
            *vacated += usize::from(chain.is_empty());
            Ok(chain)
        })
    }

    fn state_contract(&self) -> StateContract {
        let until = if self.has_watermark {
            "until the watermark has passed their session"
        } else {
            "until the input ends"
        };
        StateContract::Kept { what: "the rows of open sessions".into(), until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::typing;
    use crate::operator::crash_kit;
    use crate::operator::test_kit::Bench;
    use crate::plan::WindowKind;
    use crate::record::{DataType, Field};

    const GAP: i64 = 10;

    fn spec(lateness: i64) -> WindowTableSpec {
        let input = input();
        let added = ["window_start", "window_end"].map(|n| Field::new(n, DataType::Timestamp));
        WindowTableSpec {
            window: WindowSpec {
                kind: WindowKind::Session { gap: GAP },
                time: typing::column(&input, 0).unwrap(),
                start: None,
                lateness,
                late: LatePolicy::DeadLetter,
                has_watermark: true,
            },
            partition_by: vec![typing::column(&input, 1).unwrap()],
            judges_lateness: false,
            schema: Schema::new(input.fields().iter().cloned().chain(added)),
        }
    }

    fn input() -> Arc<Schema> {
        Schema::of([("t", DataType::Timestamp), ("k", DataType::BigInt), ("n", DataType::BigInt)])
    }

    /// Time, key, number of the row.
    type Event = (i64, i64, i64);

    fn events(seed: i64) -> Vec<Event> {
        let mess = |i: i64| (i * 7919 + seed * 104_729) % 23;
        (0..200).map(|i| (i * 2 + (i / 50) * 40 - mess(i), mess(i + 3) % 3, i)).collect()
    }

    /// Rows with their windows in the order of emission, and the late rows.
    fn reference(events: &[Event], lateness: i64) -> (Vec<(i64, i64, i64)>, u64) {
        let mut open: Vec<Vec<Event>> = Vec::new();
        let (mut out, mut late, mut mark) = (Vec::new(), 0, i64::MIN);
        let end = |s: &Vec<Event>| s.iter().map(|e| e.0).max().unwrap() + GAP;
        let start = |s: &Vec<Event>| s.iter().map(|e| e.0).min().unwrap();
        let fire = |open: &mut Vec<Vec<Event>>, mark: i64, out: &mut Vec<(i64, i64, i64)>| {
            open.sort_by_key(|s| (end(s), start(s), s.iter().map(|e| e.2).min()));
            for s in open.iter().filter(|s| end(s) + lateness <= mark) {
                let mut rows = s.clone();
                rows.sort_by_key(|e| e.2);
                out.extend(rows.iter().map(|e| (e.2, start(s), end(s))));
            }
            open.retain(|s| end(s) + lateness > mark);
        };
        for e in events {
            fire(&mut open, mark, &mut out);
            let meets = |s: &Vec<Event>| s[0].1 == e.1 && start(s) < e.0 + GAP && e.0 < end(s);
            let (met, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(meets);
            open = rest;
            if met.is_empty() && e.0 + GAP + lateness <= mark {
                late += 1;
            } else {
                open.push(met.into_iter().flatten().chain([*e]).collect());
            }
            mark = mark.max(e.0 - 3);
        }
        fire(&mut open, i64::MAX, &mut out);
        (out, late)
    }

    #[test]
    fn rows_come_with_the_bounds_of_their_session_for_any_batch_and_over_a_restart() {
        for (seed, lateness) in (0..40).map(|seed| (seed, seed % 3 * 15)) {
            let events = events(seed);
            let (expected, late) = reference(&events, lateness);
            for (batch, cut) in [(1, 70), (7, 140), (1000, 1000)] {
                let (mut op, mut bench) = (SessionTableOp::new(&spec(lateness), GAP), Bench::new());
                let (mut mark, mut done) = (i64::MIN, 0);
                for chunk in events.chunks(batch) {
                    let rows = chunk.iter().map(|(t, k, n)| {
                        let values = [FieldValue::Timestamp(*t), (*k).into(), (*n).into()];
                        let mut r = StreamRecord::with_values(input(), values);
                        r.set_watermark(mark);
                        mark = mark.max(t - 3);
                        Arc::new(r)
                    });
                    bench.process(&mut op, Batch::new(rows.collect()));
                    bench.watermark(&mut op, InputId(0), mark);
                    done += chunk.len();
                    if done >= cut && done - chunk.len() < cut {
                        let mut to = StateWriter::new();
                        op.snapshot(&mut to).unwrap();
                        let bytes = to.into_bytes();
                        op = SessionTableOp::new(&spec(lateness), GAP);
                        op.restore(&mut StateReader::new(&bytes)).unwrap();
                        let mut again = StateWriter::new();
                        op.snapshot(&mut again).unwrap();
                        assert_eq!(again.into_bytes(), bytes);
                    }
                }
                bench.end(&mut op);
                let time = |r: &StreamRecord, i: usize| match r.values()[i] {
                    FieldValue::Timestamp(t) => t,
                    ref other => panic!("{other:?}"),
                };
                let number = |r: &StreamRecord| r.values()[2].as_i64().unwrap();
                let got: Vec<_> = bench.records().map(|r| (number(r), time(r, 3), time(r, 4))).collect();
                assert_eq!(got, expected, "seed {seed}, lateness {lateness}, batches of {batch}");
                assert_eq!((bench.counters.late, bench.rejects.len() as u64), (late, late));
                let empty = op.sessions.len() * (size_of::<Open>() + 64) + op.sessions.bytes();
                assert_eq!(op.state_bytes(), empty);
                bench.check_ledger();
            }
        }
    }

    #[test]
    fn changes_alone_are_in_a_snapshot_and_bring_it_back() {
        let events = events(7);
        let batch = |at: usize| {
            let mut mark = events.iter().take(at * 4).map(|(t, ..)| t - 3).max().unwrap_or(i64::MIN);
            let rows = events.iter().skip(at * 4).take(4).map(|(t, k, n)| {
                let values = [FieldValue::Timestamp(*t), (*k * 10 + *n % 9).into(), (*n).into()];
                let mut r = StreamRecord::with_values(input(), values);
                r.set_watermark(mark);
                mark = mark.max(t - 3);
                Arc::new(r)
            });
            let batch = Batch::new(rows.collect());
            (batch, mark)
        };
        crash_kit::check(60, &|_| Box::new(SessionTableOp::new(&spec(15), GAP)), 50, &batch);
    }
}
