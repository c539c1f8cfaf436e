//! WHERE and SELECT list in one pass, in place.
//!
//! A record that nobody else holds is rewritten where it stands: a column that keeps its position is not touched, one that
//! moves is swapped so that no buffer is lost, and the record's surplus slots stay with it for the reader to use again. A
//! shared record is left alone and a new one is built.

mod changes;
mod rewrite;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::{InputId, Operator, Output, Rejected, StateContract, StateError, StateReader, StateWriter};
use rewrite::{Fate, Rewrite, Scratch};

use crate::plan::FilterProjectSpec;
use crate::record::{Batch, Books, ErrorCode, Prepare, RecordError, StreamRecord, sorted};

/// Running form of [`FilterProjectSpec`].
#[derive(Debug)]
pub struct FilterProjectOp {
    rewrite: Arc<Rewrite>,
    /// The condition meets rows that change.
    changes: bool,
    /// An update that changes no value is not told.
    quiet: bool,
    scratch: Scratch,
    /// What became of the records of the batch in hand.
    books: Books,
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

/// What became of the records of one part of a batch.
#[derive(Default)]
struct Swept {
    /// For each record, whether it is kept.
    kept: Vec<bool>,
    /// Records that failed, by index.
    rejects: Vec<(usize, RecordError)>,
}

impl FilterProjectOp {
    /// Compiles the expressions.
    pub fn new(spec: &FilterProjectSpec) -> Self {
        let rewrite = Arc::new(Rewrite::new(spec));
        let (changes, quiet) = (spec.changes, spec.system.is_empty());
        let (scratch, books) = (rewrite.scratch(), Books::default());
        Self { rewrite, changes, quiet, scratch, books, batches: 0, ns_per_record: 0.0 }
    }

    /// Takes over what became of the records that are not kept.
    fn take_over(books: &mut Books, out: &mut Output<'_>) {
        out.counters.filtered += std::mem::take(&mut books.filtered);
        out.counters.rejected += books.rejects.len() as u64;
        let rejects = books.rejects.drain(..);
        out.rejects.extend(rejects.map(|(record, error)| Rejected { record, error }));
    }

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
        let mut scratch = self.rewrite.scratch();
        let mut kept = vec![false; records.len()];
        let mut rejects = Vec::new();
        let mut panics = Vec::new();
        Self::guarded(
            records,
            |at, slot| match self.rewrite.step(&mut scratch, slot, now) {
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
        sorted::sort_by_key(&mut rejects, |(at, _)| *at);
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
        self.gather(parts, batch, out)
    }

    /// Moves what is kept to the front of its batch, and hands over what failed.
    fn gather(&self, mut parts: Vec<Swept>, batch: &mut Batch, out: &mut Output<'_>) -> usize {
        if self.changes {
            let mut kept: Vec<bool> = parts.iter().flat_map(|p| &p.kept).copied().collect();
            changes::retell(batch.records_mut(), &mut kept, self.quiet);
            let all = parts.iter_mut().flat_map(|p| &mut p.kept);
            all.zip(kept).for_each(|(to, from)| *to = from);
        }
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
}

impl Operator for FilterProjectOp {
    fn process(&mut self, _: InputId, mut batch: Batch, out: &mut Output<'_>) {
        if let Some(books) = batch.settle() {
            out.counters.input += books.came as u64;
            Self::take_over(books, out);
            out.counters.forwarded += batch.len() as u64;
            return out.emit(batch);
        }
        out.counters.input += batch.len() as u64;
        let measured = self.batches.is_multiple_of(MEASURE_EVERY) && batch.len() >= SMALLEST_PART;
        self.batches += 1;
        let parts = (!measured && batch.len() as f64 * self.ns_per_record > WORTH_SHARING_NS)
            .then(|| out.workers.pool())
            .flatten();
        let kept = match parts {
            Some((pool, lanes)) => self.process_in_parts(pool, lanes, &mut batch, out),
            None if self.changes => {
                let swept = self.sweep(batch.records_mut(), out.now);
                self.gather(vec![swept], &mut batch, out)
            }
            None => {
                let start = measured.then(Instant::now);
                let kept = self.rewrite.work(&mut self.scratch, &mut batch, out.now, &mut self.books);
                Self::take_over(&mut self.books, out);
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

    fn process_shared(&mut self, input: InputId, batch: &Batch, out: &mut Output<'_>) {
        let now = out.now;
        let mut made = out.pools.take(out.home);
        made.inherit(batch);
        if self.changes {
            // What is not kept has a say in what the others are told as.
            for record in batch.records() {
                let (slot, _) = made.next_slot(record.schema());
                slot.copy_metadata(record);
                slot.values_mut().iter_mut().zip(record.values()).for_each(|(to, from)| to.assign(from));
            }
            made.set_bytes(batch.bytes());
            return self.process(input, made, out);
        }
        out.counters.input += batch.len() as u64;
        let mut scratch = std::mem::take(&mut self.scratch);
        for record in batch.records() {
            let fate = catch_unwind(AssertUnwindSafe(|| self.rewrite.evaluate(&mut scratch, record, now)))
                .unwrap_or_else(|panic| Err(Box::new(panic_error(&*panic))));
            match fate {
                Ok(Fate::Keep) => {
                    let shape = self.rewrite.shape_for(record.schema());
                    let (slot, _) = made.next_slot(&shape);
                    self.rewrite.build(&mut scratch, record, slot);
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

    fn ahead(&self) -> Option<Arc<dyn Prepare>> {
        (self.rewrite.anytime && !self.changes).then(|| Arc::new(self.rewrite.clone()) as Arc<dyn Prepare>)
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
    use crate::plan::ProjectColumn;
    use crate::record::{DataType, FieldValue, Schema};

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
            changes: false,
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
