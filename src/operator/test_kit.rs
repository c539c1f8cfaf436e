//! Runs one operator by hand, for its tests.

use std::sync::Arc;

use super::{Fatal, InputId, Operator, OperatorCounters, Output, Rejected, Workers};
use crate::record::{Batch, DataType, ErrorCode, Pool, Pools, Schema, StreamRecord};

/// A batch of one BIGINT column `n`.
pub(super) fn numbers(values: &[i64]) -> Batch {
    let schema = Schema::of([("n", DataType::BigInt)]);
    Batch::new(
        values.iter().map(|n| Arc::new(StreamRecord::with_values(schema.clone(), [(*n).into()]))).collect(),
    )
}

/// What an operator has made so far.
pub(super) struct Bench {
    pub(super) batches: Vec<Batch>,
    pub(super) rejects: Vec<Rejected>,
    pub(super) counters: OperatorCounters,
    pub(super) done: bool,
    /// Each watermark that the operator handed on.
    pub(super) watermarks: Vec<i64>,
    pub(super) fatal: Option<Fatal>,
    pub(super) idle: bool,
    /// What the job's clock shows.
    pub(super) now: i64,
    pub(super) workers: Workers,
    pools: Pools,
}

impl Bench {
    pub(super) fn new() -> Self {
        let pools = Pools::new(vec![Pool::new(4, usize::MAX)]);
        Self {
            batches: Vec::new(),
            rejects: Vec::new(),
            counters: OperatorCounters::default(),
            done: false,
            watermarks: Vec::new(),
            fatal: None,
            idle: false,
            now: 0,
            workers: Workers::default(),
            pools,
        }
    }

    pub(super) fn run(&mut self, work: impl FnOnce(&mut Output<'_>)) {
        let mut out = Output {
            workers: &self.workers,
            batches: &mut self.batches,
            rejects: &mut self.rejects,
            counters: &mut self.counters,
            pools: &self.pools,
            home: 0,
            now: self.now,
            done: self.done,
            watermark: None,
            idle: None,
            fatal: None,
            decision: None,
        };
        work(&mut out);
        self.done = out.done;
        self.fatal = out.fatal.or(self.fatal.take());
        self.watermarks.extend(out.watermark);
        self.idle = out.idle.unwrap_or(self.idle);
    }

    pub(super) fn process(&mut self, op: &mut dyn Operator, batch: Batch) {
        self.run(|out| op.process(InputId(0), batch, out));
    }

    pub(super) fn process_at(&mut self, op: &mut dyn Operator, input: InputId, batch: Batch) {
        self.run(|out| op.process(input, batch, out));
    }

    pub(super) fn process_shared(&mut self, op: &mut dyn Operator, batch: &Batch) {
        self.run(|out| op.process_shared(InputId(0), batch, out));
    }

    pub(super) fn watermark(&mut self, op: &mut dyn Operator, input: InputId, micros: i64) {
        self.run(|out| op.on_watermark(input, micros, out));
    }

    /// The end of the only input.
    pub(super) fn end(&mut self, op: &mut dyn Operator) {
        self.run(|out| op.on_watermark(InputId(0), i64::MAX, out));
        self.run(|out| op.on_end(InputId(0), out));
        let mut more = true;
        while more {
            self.run(|out| more = op.emit_more(out));
        }
    }

    /// Moves the clock; the operator's timers that are due come first.
    pub(super) fn advance_clock(&mut self, op: &mut dyn Operator, now: i64) {
        self.now = now;
        if op.next_timer().is_some_and(|t| t <= now) {
            self.run(|out| op.on_timer(now, out));
        }
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Arc<StreamRecord>> {
        self.batches.iter().flat_map(|b| b.records())
    }

    pub(super) fn integers(&self, column: usize) -> Vec<i64> {
        self.records().filter_map(|r| r.values().get(column)?.as_i64()).collect()
    }

    /// Gives everything back to the pools.
    pub(super) fn recycle(&mut self) {
        self.batches.drain(..).for_each(|b| self.pools.give(b));
    }

    /// `in = forwarded + filtered + absorbed + late + rejected`, and what came out is what was counted.
    pub(super) fn check_ledger(&self) {
        let c = &self.counters;
        assert_eq!(c.input, c.forwarded + c.filtered + c.absorbed + c.late + c.rejected);
        assert_eq!(self.records().count() as u64, c.forwarded + c.fanned_out + c.produced);
        let (late, rejected): (Vec<_>, Vec<_>) =
            self.rejects.iter().partition(|r| r.error.code == ErrorCode::Late);
        assert_eq!(rejected.len() as u64, c.rejected);
        assert!(late.is_empty() || late.len() as u64 == c.late);
    }
}
