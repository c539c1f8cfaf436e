//! The async engine that the shipped one is compared with: one code path, whose stages are configurations of it.
//!
//! Same records, builder, decoder, operators, encoder and allocator as the shipped engine; tokio's multi-thread runtime, async
//! reader and writer traits, the engine behind a tokio lock. A reader and a writer yield to the scheduler once a batch, as
//! any that waits for I/O does (`--no-yield`: they never do).

mod doors;
mod engine;
mod loops;

use std::sync::Arc;
use std::time::Duration;

use millstream::record::deep_copies_on_this_thread;

use crate::Failure;
use crate::threads::ThreadTime;
use crate::workload::{Probe, Workload};

pub use engine::Operators;

/// What a stage does; the steps of the report differ in these switches alone.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Deep clones at the report's sites: unwrapping for trace injection, writing, metrics.
    pub clone_for_trace: bool,
    pub clone_for_write: bool,
    pub clone_for_metrics: bool,
    /// The engine lock is taken, and the context cloned, for each record.
    pub per_record: bool,
    /// `has_more()` is awaited before each read.
    pub has_more: bool,
    /// Spent batches are filled again.
    pub recycle: bool,
    /// Reader, engine and writer are three tasks over bounded channels.
    pub staged: bool,
    /// Each batch is a transaction of the reader and the writer.
    pub transactional: bool,
}

impl Shape {
    pub const BASELINE: Self = Self {
        clone_for_trace: true,
        clone_for_write: true,
        clone_for_metrics: true,
        per_record: true,
        has_more: true,
        recycle: false,
        staged: false,
        transactional: false,
    };
    pub const PHASE1: Self =
        Self { clone_for_write: false, clone_for_metrics: false, per_record: false, ..Self::BASELINE };
    pub const PHASE2: Self = Self { clone_for_trace: false, ..Self::PHASE1 };
    pub const PHASE3: Self = Self { has_more: false, ..Self::PHASE2 };
    pub const RECYCLING: Self = Self { recycle: true, ..Self::PHASE3 };
    pub const STAGED: Self = Self { staged: true, ..Self::RECYCLING };

    /// The same in the transactional loop.
    pub const fn in_transactions(self) -> Self {
        Self { transactional: true, ..self }
    }
}

/// Everything but the shape.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    pub batch: usize,
    pub trace: bool,
    pub yields: bool,
    /// Stages read the clock around their work: a few reads a batch, left out where batches may be tiny.
    pub timed: bool,
    /// End of stream: so many empty reads, so far apart.
    pub empty_batches: u32,
    pub empty_wait: Duration,
    /// Test of the transactions: the write of this batch (from 1) fails once.
    pub fail_write: Option<u64>,
}

/// Bytes of a batch, the same on both sides: rows alone decide.
pub const BATCH_BYTES: usize = 64 << 20;

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub batches: u64,
    /// Awaits of the loop; waiting for the engine lock counts as a lock acquisition.
    pub awaits: u64,
    pub locks: u64,
    pub deep_copies: u64,
    /// Transactions that were rolled back.
    pub aborts: u64,
    pub tasks: Vec<ThreadTime>,
}

impl Counts {
    fn plus(mut self, o: Self) -> Self {
        self.tasks.extend(o.tasks);
        Self {
            batches: self.batches + o.batches,
            awaits: self.awaits + o.awaits,
            locks: self.locks + o.locks,
            deep_copies: self.deep_copies + o.deep_copies,
            aborts: self.aborts + o.aborts,
            tasks: self.tasks,
        }
    }
    /// Runs something that never suspends, and counts the deep copies made in it.
    fn watch<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = deep_copies_on_this_thread();
        let result = work();
        self.deep_copies += deep_copies_on_this_thread() - before;
        result
    }
}

/// Runs a workload on the async engine.
pub fn run(
    runtime: &tokio::runtime::Runtime,
    workload: &Workload,
    probe: &Arc<Probe>,
    shape: Shape,
    conditions: Conditions,
) -> Result<Counts, Failure> {
    let reader = doors::Reader::new(workload.feed(probe)?, workload.schema.clone(), conditions);
    let writer = doors::Writer::new(workload.drain(probe)?, conditions);
    let engine = engine::shared(&workload.plan, conditions)?;
    let (counts, mut writer) = runtime.block_on(async {
        if shape.staged {
            loops::three_tasks(reader, writer, engine, shape, conditions).await
        } else if shape.transactional {
            tokio::spawn(loops::transactions(reader, writer, engine, shape, conditions)).await?
        } else {
            tokio::spawn(loops::one_task(reader, writer, engine, shape, conditions)).await?
        }
    })?;
    writer.finish();
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Cost;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
    }

    fn conditions(fail_write: Option<u64>) -> Conditions {
        Conditions {
            batch: 77,
            trace: true,
            yields: true,
            timed: true,
            empty_batches: 3,
            empty_wait: Duration::from_millis(1),
            fail_write,
        }
    }

    #[test]
    fn transactions_cost_their_own_awaits_and_keep_the_locks() {
        let runtime = runtime();
        let run = |shape: Shape| {
            let workload = Workload::new(Cost::Cheap, 77 * 20).unwrap();
            let probe = Arc::new(Probe::default());
            let counts = run(&runtime, &workload, &probe, shape, conditions(None)).unwrap();
            workload.check("test", &probe).unwrap();
            assert_eq!(counts.batches, 20);
            (counts.locks / 20, counts.awaits / 20, counts.aborts)
        };
        // Begin and commit of the reader and of the writer: four awaits more, no lock more.
        assert_eq!(run(Shape::PHASE3), (2, 4, 0));
        assert_eq!(run(Shape::PHASE3.in_transactions()), (2, 8, 0));
        assert_eq!(run(Shape::BASELINE.in_transactions()), (79, 9, 0));
    }

    #[test]
    fn a_failed_write_is_rolled_back_and_read_again() {
        let runtime = runtime();
        for cost in [Cost::Cheap, Cost::Costly] {
            for shape in [Shape::BASELINE, Shape::PHASE3, Shape::RECYCLING] {
                let workload = Workload::new(cost, 77 * 20).unwrap();
                let probe = Arc::new(Probe::default());
                let counts =
                    run(&runtime, &workload, &probe, shape.in_transactions(), conditions(Some(7))).unwrap();
                workload.check("test", &probe).unwrap();
                assert_eq!(counts.aborts, 1);
                // Without transactions the same failure ends the run.
                let probe = Arc::new(Probe::default());
                assert!(run(&runtime, &workload, &probe, shape, conditions(Some(7))).is_err());
            }
        }
    }
}
