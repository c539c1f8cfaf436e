//! WHERE and SELECT list in one pass, in place.
//!
//! A record that nobody else holds is rewritten where it stands: a column that keeps its position is not touched, one that
//! moves is swapped so that no buffer is lost, and the record's surplus slots stay with it for the reader to use again. A
//! shared record is left alone and a new one is built.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::{InputId, Operator, Output, Rejected, StateContract, StateError, StateReader, StateWriter};
use crate::expr::{EvalContext, EvalResult, Program, SystemColumn};
use crate::plan::{FilterProjectSpec, ProjectColumn};
use crate::record::{Batch, ErrorCode, FieldValue, RecordError, Schema, StreamRecord};

/// Where an output column comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Origin {
    /// Input column; `last` = no later output column wants it too.
    Input { index: usize, last: bool },
    /// Result of that computed expression.
    Computed(usize),
}

/// How the values of a record are arranged.
#[derive(Debug)]
enum Arrangement {
    /// The record goes on as it is.
    Unchanged,
    /// Every taken column stays at its position; computed ones are put in: `(output, computed)`.
    InPlace(Vec<(usize, usize)>),
    /// Anything else.
    Shuffle(Vec<Origin>),
}

/// What became of one record.
enum Fate {
    Keep,
    Drop,
}

/// Running form of [`FilterProjectSpec`].
#[derive(Debug)]
pub struct FilterProjectOp {
    predicate: Option<Program>,
    computed: Vec<Program>,
    system: Vec<(SystemColumn, Program)>,
    arrangement: Arrangement,
    origins: Vec<Origin>,
    schema: Arc<Schema>,
    scratch: Scratch,
    batches: u64,
    /// What a record costs here, measured now and then on this thread alone.
    ns_per_record: f64,
}

/// Every so many batches the cost of a record is measured.
const MEASURE_EVERY: u64 = 64;
/// Batches with fewer records are not worth a measurement, let alone sharing.
const SMALLEST_PART: usize = 64;
/// Work of a batch that is worth waking other threads for: some ten times what that costs.
const WORTH_SHARING_NS: f64 = 200_000.0;

/// Results of one record before it is changed; their buffers are reused for the next.
#[derive(Debug, Default)]
struct Scratch {
    computed: Vec<FieldValue>,
    system: Vec<FieldValue>,
    arranged: Vec<FieldValue>,
}

impl Scratch {
    /// Another one of the same size.
    fn like(&self) -> Self {
        Self {
            computed: vec![FieldValue::Null; self.computed.len()],
            system: vec![FieldValue::Null; self.system.len()],
            arranged: vec![FieldValue::Null; self.arranged.len()],
        }
    }
}

impl FilterProjectOp {
    /// Compiles the expressions.
    pub fn new(spec: &FilterProjectSpec) -> Self {
        let mut computed = Vec::new();
        let mut origins: Vec<Origin> = Vec::new();
        for column in spec.project.iter().flatten() {
            origins.push(match column {
                ProjectColumn::Take(index) => Origin::Input { index: *index, last: true },
                ProjectColumn::Compute(expr) => {
                    computed.push(Program::compile(expr));
                    Origin::Computed(computed.len() - 1)
                }
            });
        }
        let mut seen = Vec::new();
        for origin in origins.iter_mut().rev() {
            if let Origin::Input { index, last } = origin {
                *last = !seen.contains(index);
                seen.push(*index);
            }
        }
        let stays = |(i, o): (usize, &Origin)| match o {
            Origin::Input { index, .. } => *index == i,
            Origin::Computed(_) => true,
        };
        let arrangement = match &spec.project {
            None => Arrangement::Unchanged,
            Some(_) if origins.iter().enumerate().all(stays) => Arrangement::InPlace(
                origins
                    .iter()
                    .enumerate()
                    .filter_map(|(i, o)| match o {
                        Origin::Computed(c) => Some((i, *c)),
                        Origin::Input { .. } => None,
                    })
                    .collect(),
            ),
            Some(_) => Arrangement::Shuffle(origins.clone()),
        };
        let scratch = Scratch {
            computed: vec![FieldValue::Null; computed.len()],
            system: vec![FieldValue::Null; spec.system.len()],
            arranged: vec![FieldValue::Null; origins.len()],
        };
        Self {
            predicate: spec.predicate.as_ref().map(Program::compile),
            computed,
            system: spec.system.iter().map(|(c, e)| (*c, Program::compile(e))).collect(),
            arrangement,
            origins,
            schema: spec.schema.clone(),
            scratch,
            batches: 0,
            ns_per_record: 0.0,
        }
    }

    /// Evaluates everything that one record needs, before anything of it is changed.
    #[inline]
    fn evaluate(&self, scratch: &mut Scratch, record: &StreamRecord, now: i64) -> EvalResult<Fate> {
        let ctx = EvalContext { record, now };
        if let Some(predicate) = &self.predicate
            && predicate.eval_bool(&ctx)? != Some(true)
        {
            return Ok(Fate::Drop);
        }
        for (program, slot) in self.computed.iter().zip(&mut scratch.computed) {
            match program.eval(&ctx)? {
                crate::expr::Datum::Ref(v) => slot.assign(v),
                crate::expr::Datum::Own(v) => *slot = v,
            }
        }
        for ((_, program), slot) in self.system.iter().zip(&mut scratch.system) {
            *slot = program.eval(&ctx)?.into_owned();
        }
        Ok(Fate::Keep)
    }

    /// Rewrites a record that nobody else holds.
    #[inline]
    fn rewrite(&self, scratch: &mut Scratch, record: &mut StreamRecord) {
        let Scratch { computed, arranged, .. } = &mut *scratch;
        match &self.arrangement {
            Arrangement::Unchanged => {}
            Arrangement::InPlace(puts) => {
                record.reshape(&self.schema);
                let values = record.values_mut();
                for &(to, from) in puts {
                    if let (Some(value), Some(result)) = (values.get_mut(to), computed.get_mut(from)) {
                        std::mem::swap(value, result);
                    }
                }
            }
            Arrangement::Shuffle(origins) => {
                let values = record.values_mut();
                for (origin, slot) in origins.iter().zip(arranged.iter_mut()) {
                    match *origin {
                        Origin::Input { index, last } => match values.get_mut(index) {
                            Some(value) if last => std::mem::swap(slot, value),
                            Some(value) => slot.assign(value),
                            None => *slot = FieldValue::Null,
                        },
                        Origin::Computed(c) => {
                            if let Some(result) = computed.get_mut(c) {
                                std::mem::swap(slot, result);
                            }
                        }
                    }
                }
                record.reshape(&self.schema);
                for (value, slot) in record.values_mut().iter_mut().zip(arranged.iter_mut()) {
                    std::mem::swap(value, slot);
                }
            }
        }
        self.set_system(scratch, record);
    }

    /// Builds the output in another record, whose values are stale; `from` is left as it is.
    fn build(&self, scratch: &mut Scratch, from: &StreamRecord, to: &mut StreamRecord) {
        to.copy_metadata(from);
        if matches!(self.arrangement, Arrangement::Unchanged) {
            for (slot, value) in to.values_mut().iter_mut().zip(from.values()) {
                slot.assign(value);
            }
        } else {
            for (origin, slot) in self.origins.iter().zip(to.values_mut()) {
                match *origin {
                    Origin::Input { index, .. } => match from.values().get(index) {
                        Some(value) => slot.assign(value),
                        None => *slot = FieldValue::Null,
                    },
                    Origin::Computed(c) => {
                        if let Some(result) = scratch.computed.get_mut(c) {
                            std::mem::swap(slot, result);
                        }
                    }
                }
            }
        }
        self.set_system(scratch, to);
    }

    fn set_system(&self, scratch: &mut Scratch, record: &mut StreamRecord) {
        for ((column, _), value) in self.system.iter().zip(&mut scratch.system) {
            set_system_column(record, *column, std::mem::take(value));
        }
    }

    /// The shape of an output record made for an input of shape `input`.
    fn shape_for(&self, input: &Arc<Schema>) -> Arc<Schema> {
        match self.arrangement {
            Arrangement::Unchanged => input.clone(),
            _ => self.schema.clone(),
        }
    }

    /// One record of a batch that is ours.
    #[inline]
    fn step(&self, scratch: &mut Scratch, slot: &mut Arc<StreamRecord>, now: i64) -> EvalResult<Fate> {
        let fate = self.evaluate(scratch, slot, now)?;
        if matches!(fate, Fate::Keep) && !(self.is_unchanged() && self.system.is_empty()) {
            match Arc::get_mut(slot) {
                Some(record) => self.rewrite(scratch, record),
                None => {
                    let mut fresh = StreamRecord::new(self.shape_for(slot.schema()));
                    self.build(scratch, slot, &mut fresh);
                    *slot = Arc::new(fresh);
                }
            }
        }
        Ok(fate)
    }

    fn is_unchanged(&self) -> bool {
        matches!(self.arrangement, Arrangement::Unchanged)
    }
}

/// Sets one piece of metadata from a value of the right type; NULL clears it.
fn set_system_column(record: &mut StreamRecord, column: SystemColumn, value: FieldValue) {
    let time = match &value {
        FieldValue::Timestamp(t) => Some(*t),
        _ => None,
    };
    match column {
        SystemColumn::Timestamp => record.set_timestamp(time),
        SystemColumn::EventTime => record.set_event_time(time),
        SystemColumn::Offset => record.set_offset(value.as_i64()),
        SystemColumn::Partition => {
            record.set_partition(value.as_i64().and_then(|p| i32::try_from(p).ok()).unwrap_or(0));
        }
        SystemColumn::Topic => record.set_topic(value.as_str().map(Into::into)),
        SystemColumn::Key => record.set_key(value),
        SystemColumn::Headers => {
            let headers = record.headers_mut();
            headers.clear();
            if let FieldValue::Map(entries) = &value {
                for (name, value) in entries.iter() {
                    if let (Some(name), Some(value)) = (name.as_str(), value.as_str()) {
                        headers.push(name, value.as_bytes());
                    }
                }
            }
        }
    }
}

/// What became of the records of one part of a batch.
#[derive(Default)]
struct Swept {
    /// For each record, whether it is kept.
    kept: Vec<bool>,
    /// Records that failed, by index.
    rejects: Vec<(usize, RecordError)>,
}

impl FilterProjectOp {
    /// Runs `each` over the records from 0 on and goes on behind a record that panics.
    fn guarded(
        records: &mut [Arc<StreamRecord>],
        mut each: impl FnMut(usize, &mut Arc<StreamRecord>),
        mut panicked: impl FnMut(usize, RecordError),
    ) {
        let mut at = 0;
        while at < records.len() {
            // A panic leaves `at` at the record that caused it.
            let sweep = catch_unwind(AssertUnwindSafe(|| {
                while let Some(slot) = records.get_mut(at) {
                    each(at, slot);
                    at += 1;
                }
            }));
            if let Err(panic) = sweep {
                panicked(at, panic_error(&*panic));
                at += 1;
            }
        }
    }

    /// One part of a batch, on any thread.
    fn sweep(&self, records: &mut [Arc<StreamRecord>], now: i64) -> Swept {
        let mut scratch = self.scratch.like();
        let mut kept = vec![false; records.len()];
        let mut rejects = Vec::new();
        let mut panics = Vec::new();
        Self::guarded(
            records,
            |at, slot| match self.step(&mut scratch, slot, now) {
                Ok(Fate::Keep) => {
                    if let Some(keep) = kept.get_mut(at) {
                        *keep = true;
                    }
                }
                Ok(Fate::Drop) => {}
                Err(error) => rejects.push((at, *error)),
            },
            |at, error| panics.push((at, error)),
        );
        rejects.append(&mut panics);
        rejects.sort_by_key(|(at, _)| *at);
        Swept { kept, rejects }
    }

    /// The batch in parts, each on a thread of the pool; order is kept.
    fn process_in_parts(
        &self,
        pool: &ThreadPool,
        lanes: usize,
        batch: &mut Batch,
        out: &mut Output<'_>,
    ) -> usize {
        let now = out.now;
        let size = batch.len().div_ceil(lanes).max(1);
        let records = batch.records_mut();
        let parts: Vec<Swept> = pool.install(|| {
            let sweep = |part: &mut [Arc<StreamRecord>]| out.workers.work(|| self.sweep(part, now));
            records.par_chunks_mut(size).map(sweep).collect()
        });
        let (mut at, mut kept) = (0, 0);
        for part in parts {
            let mut rejects = part.rejects.into_iter().peekable();
            for (i, keep) in part.kept.into_iter().enumerate() {
                if let Some((_, error)) = rejects.next_if(|(r, _)| *r == i) {
                    if let Some(record) = batch.records().get(at) {
                        out.counters.rejected += 1;
                        out.rejects.push(Rejected { record: record.clone(), error });
                    }
                } else if keep {
                    batch.keep(at, kept);
                    kept += 1;
                } else {
                    out.counters.filtered += 1;
                }
                at += 1;
            }
        }
        kept
    }

    /// The batch on this thread.
    fn process_alone(&self, scratch: &mut Scratch, batch: &mut Batch, out: &mut Output<'_>) -> usize {
        let now = out.now;
        let (mut at, mut kept) = (0, 0);
        while at < batch.len() {
            // A panic leaves `at` at the record that caused it; the loop goes on behind it.
            let sweep = catch_unwind(AssertUnwindSafe(|| {
                while at < batch.len() {
                    let Some(slot) = batch.records_mut().get_mut(at) else { break };
                    match self.step(scratch, slot, now) {
                        Ok(Fate::Keep) => {
                            batch.keep(at, kept);
                            kept += 1;
                        }
                        Ok(Fate::Drop) => out.counters.filtered += 1,
                        Err(error) => {
                            out.counters.rejected += 1;
                            out.rejects.push(Rejected { record: slot.clone(), error: *error });
                        }
                    }
                    at += 1;
                }
            }));
            if let Err(panic) = sweep {
                if let Some(record) = batch.records().get(at) {
                    out.counters.rejected += 1;
                    out.rejects.push(Rejected { record: record.clone(), error: panic_error(&*panic) });
                }
                at += 1;
            }
        }
        kept
    }
}

impl Operator for FilterProjectOp {
    fn process(&mut self, _: InputId, mut batch: Batch, out: &mut Output<'_>) {
        out.counters.input += batch.len() as u64;
        let measured = self.batches.is_multiple_of(MEASURE_EVERY) && batch.len() >= SMALLEST_PART;
        self.batches += 1;
        let parts = (!measured && batch.len() as f64 * self.ns_per_record > WORTH_SHARING_NS)
            .then(|| out.workers.pool())
            .flatten();
        let kept = match parts {
            Some((pool, lanes)) => self.process_in_parts(pool, lanes, &mut batch, out),
            None => {
                let start = measured.then(Instant::now);
                let mut scratch = std::mem::take(&mut self.scratch);
                let kept = self.process_alone(&mut scratch, &mut batch, out);
                self.scratch = scratch;
                if let Some(start) = start {
                    self.ns_per_record = start.elapsed().as_nanos() as f64 / batch.len() as f64;
                }
                kept
            }
        };
        out.counters.forwarded += kept as u64;
        batch.truncate(kept);
        out.emit(batch);
    }

    fn process_shared(&mut self, _: InputId, batch: &Batch, out: &mut Output<'_>) {
        let now = out.now;
        let mut made = out.pools.take(out.home);
        made.inherit(batch);
        out.counters.input += batch.len() as u64;
        let mut scratch = std::mem::take(&mut self.scratch);
        for record in batch.records() {
            let fate = catch_unwind(AssertUnwindSafe(|| self.evaluate(&mut scratch, record, now)))
                .unwrap_or_else(|panic| Err(Box::new(panic_error(&*panic))));
            match fate {
                Ok(Fate::Keep) => {
                    let shape = self.shape_for(record.schema());
                    let (slot, _) = made.next_slot(&shape);
                    self.build(&mut scratch, record, slot);
                }
                Ok(Fate::Drop) => out.counters.filtered += 1,
                Err(error) => {
                    out.counters.rejected += 1;
                    out.rejects.push(Rejected { record: record.clone(), error: *error });
                }
            }
        }
        self.scratch = scratch;
        out.counters.forwarded += made.len() as u64;
        made.set_bytes(batch.bytes() * made.len() / batch.len().max(1));
        out.emit(made);
    }

    fn snapshot(&mut self, _: &mut StateWriter) -> Result<(), StateError> {
        Ok(())
    }

    fn restore(&mut self, _: &mut StateReader<'_>) -> Result<(), StateError> {
        Ok(())
    }

    fn state_contract(&self) -> StateContract {
        StateContract::Stateless
    }
}

/// The record error of a caught panic.
pub(crate) fn panic_error(panic: &(dyn std::any::Any + Send)) -> RecordError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into());
    RecordError::new(ErrorCode::Panic, format!("an expression panicked: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{
        Arity, BinaryOp, EvalContext, FunctionRegistry, FunctionSpec, ReturnType, Volatility, typing,
    };
    use crate::operator::Workers;
    use crate::operator::test_kit::{Bench, numbers};
    use crate::record::DataType;

    /// `unlucky(n)` panics on multiples of 13.
    fn functions() -> FunctionRegistry {
        let mut functions = FunctionRegistry::builtin();
        functions.add(FunctionSpec {
            name: "unlucky",
            family: "test",
            signature: "unlucky(n)",
            doc: "",
            example: ("", ""),
            arity: Arity::Exact(vec![DataType::BigInt]),
            returns: ReturnType::Fixed(DataType::BigInt),
            strict: true,
            volatility: Volatility::Volatile,
            eval: Box::new(|_: &EvalContext<'_>, args| {
                let n = args[0].as_i64().unwrap();
                assert!(n % 13 != 0, "unlucky number");
                Ok(FieldValue::Integer(n))
            }),
        });
        functions
    }

    /// `SELECT 100 / n, n, unlucky(n) WHERE n <> 5`: filtered, failing and panicking records.
    fn op() -> FilterProjectOp {
        let schema = Schema::of([("n", DataType::BigInt)]);
        let n = || typing::column(&schema, 0).unwrap();
        let int = |v: i64| typing::literal(v.into());
        let spec = FilterProjectSpec {
            predicate: Some(typing::binary(BinaryOp::NotEq, n(), int(5)).unwrap()),
            project: Some(vec![
                ProjectColumn::Compute(typing::binary(BinaryOp::Divide, int(100), n()).unwrap()),
                ProjectColumn::Take(0),
                ProjectColumn::Compute(typing::call(&functions(), "unlucky", vec![n()]).unwrap()),
            ]),
            system: vec![],
            schema: Schema::of([("q", DataType::BigInt), ("n", DataType::BigInt), ("u", DataType::BigInt)]),
        };
        FilterProjectOp::new(&spec)
    }

    type Outcome = (Vec<Vec<FieldValue>>, Vec<(FieldValue, &'static str)>);

    fn outcome(bench: &Bench) -> Outcome {
        bench.check_ledger();
        let rows = bench.records().map(|r| r.values().to_vec()).collect();
        // A rejected record is as it came in.
        let rejects =
            bench.rejects.iter().map(|r| (r.record.values()[0].clone(), r.error.code.label())).collect();
        (rows, rejects)
    }

    const INPUT: std::ops::Range<i64> = -200..300;

    fn expected() -> Outcome {
        let mut rows: Vec<Vec<FieldValue>> = Vec::new();
        let mut rejects = Vec::new();
        for n in INPUT.filter(|n| *n != 5) {
            match n {
                0 => rejects.push((n.into(), "division_by_zero")),
                n if n % 13 == 0 => rejects.push((n.into(), "panic")),
                n => rows.push(vec![(100 / n).into(), n.into(), n.into()]),
            }
        }
        (rows, rejects)
    }

    #[test]
    fn one_bad_record_costs_itself_alone_and_leaves_no_trace() {
        let mut bench = Bench::new();
        bench.process(&mut op(), numbers(&INPUT.collect::<Vec<_>>()));
        assert_eq!(outcome(&bench), expected());
    }

    #[test]
    fn parts_on_other_threads_give_the_same_in_the_same_order() {
        for lanes in [2, 3, 8] {
            let mut bench = Bench::new();
            bench.workers = Workers::new(lanes);
            let mut op = op();
            // Not the measured batch, and dear enough.
            (op.batches, op.ns_per_record) = (1, 1e9);
            bench.process(&mut op, numbers(&INPUT.collect::<Vec<_>>()));
            assert_eq!(outcome(&bench), expected(), "{lanes} lanes");
        }
    }

    #[test]
    fn a_batch_that_others_read_too_is_left_as_it_is() {
        let batch = numbers(&INPUT.collect::<Vec<_>>());
        let before: Vec<_> = batch.records().iter().map(|r| r.values().to_vec()).collect();
        let mut bench = Bench::new();
        bench.process_shared(&mut op(), &batch);
        assert_eq!(outcome(&bench), expected());
        let after: Vec<_> = batch.records().iter().map(|r| r.values().to_vec()).collect();
        assert_eq!(before, after);
    }
}
