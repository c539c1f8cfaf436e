//! Running operators: what a plan's nodes become.
//!
//! Operators are driven by the job's processor, one batch at a time, under the engine lock. They know no
//! thread, no channel, no file.

mod aggregate;
mod build;
#[cfg(test)]
mod crash_kit;
mod filter_project;
mod kept;
mod limit;
mod over;
mod session_table;
mod sharing;
mod sort;
#[cfg(test)]
mod test_kit;
mod top_n;
mod union;
mod unnest;
mod watermark;
mod window_table;

use std::sync::Arc;

use crate::plan::LatePolicy;
use crate::record::{Batch, ErrorCode, Pools, Prepare, RecordError, StreamRecord};

pub use aggregate::AggregateOp;
pub use build::build;
pub use filter_project::FilterProjectOp;
pub use limit::LimitOp;
pub use over::OverOp;
pub use session_table::SessionTableOp;
pub use sort::SortOp;
pub use top_n::TopNOp;
pub use union::UnionOp;
pub use unnest::UnnestOp;
pub use watermark::WatermarkOp;
pub use window_table::WindowTableOp;

pub use crate::record::Workers;
pub use crate::state::{Space, StateContract, StateError, StateReader, StateWriter};

/// Which input of an operator a batch came from, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputId(pub usize);

/// Counters of one operator: each is incremented at the site where a record takes that way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperatorCounters {
    /// Records taken in.
    pub input: u64,
    /// Records emitted for records taken in (first of each fan-out).
    pub forwarded: u64,
    /// Records emitted beyond that: rows that UNNEST made of one.
    pub fanned_out: u64,
    /// Records that a WHERE dropped.
    pub filtered: u64,
    /// Records that ended here on purpose (taken into state, past LIMIT, an empty array under UNNEST).
    pub absorbed: u64,
    /// Records emitted from state, not for a record taken in: what a window that fires emits.
    pub produced: u64,
    /// Records that came behind the watermark and counted in no window.
    pub late: u64,
    /// Records handed to the error policy.
    pub rejected: u64,
    /// Groups that `state_ttl` ended.
    pub expired: u64,
}

impl OperatorCounters {
    /// Adds what another one has counted.
    pub fn add(&mut self, other: &Self) {
        let Self { input, forwarded, fanned_out, filtered, absorbed, produced, late, rejected, expired } =
            other;
        self.input += input;
        self.forwarded += forwarded;
        self.fanned_out += fanned_out;
        self.filtered += filtered;
        self.absorbed += absorbed;
        self.produced += produced;
        self.late += late;
        self.rejected += rejected;
        self.expired += expired;
    }
}

/// A record that an operator could not process, with the reason.
#[derive(Debug)]
pub struct Rejected {
    /// The record as it came in.
    pub record: Arc<StreamRecord>,
    /// Why.
    pub error: RecordError,
}

/// How an operator works from now on, with the reason: for the job's statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What it does.
    pub what: String,
    /// Why.
    pub why: String,
}

/// Why an operator can't go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// A sentence.
    pub why: String,
    /// What kind of error a result is, e.g. a SUM beyond BIGINT.
    pub code: Option<ErrorCode>,
}

/// Among how many threads operators may share their keyed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards {
    /// Shards of the state; 1 for a job on one thread.
    pub count: usize,
    /// Asked for by the user: each batch is shared where there are threads, whether it pays or not.
    pub forced: bool,
}

impl Shards {
    /// For whoever runs operators on one thread.
    pub const ONE: Self = Self { count: 1, forced: false };
}

/// Where an operator puts what it makes. Lent by the processor for one call.
#[derive(Debug)]
pub struct Output<'a> {
    /// Batches to be handed on, in order.
    pub batches: &'a mut Vec<Batch>,
    /// Records for the error policy, and late ones for the dead letter queue ([`late`](Self::late)).
    pub rejects: &'a mut Vec<Rejected>,
    /// The operator's counters.
    pub counters: &'a mut OperatorCounters,
    /// Pools to take output batches from and to give emptied ones back to.
    pub pools: &'a Pools,
    /// Home of batches that this operator makes.
    pub home: u16,
    /// Threads to share the work of a large batch with.
    pub workers: &'a Workers,
    /// Time of the job's clock at the start of the call, µs since the Unix epoch.
    pub now: i64,
    /// Set by an operator that needs no more input (LIMIT reached).
    pub done: bool,
    /// Set by an operator that makes the watermark of a stream: handed on behind what it emits.
    pub watermark: Option<i64>,
    /// Set by an operator that makes the watermark, when its stream falls silent (`idle_timeout`) or speaks again:
    /// operators with several inputs leave a silent one out of the minimum.
    pub idle: Option<bool>,
    /// Set by an operator that can't go on, e.g. when a group has no result: the job fails with this.
    pub fatal: Option<Fatal>,
    /// Set by an operator that works in another way from now on.
    pub decision: Option<Choice>,
}

impl Output<'_> {
    /// Hands a batch on; an empty one goes straight back to its pool.
    pub fn emit(&mut self, batch: Batch) {
        if batch.is_empty() { self.pools.give(batch) } else { self.batches.push(batch) }
    }

    /// Counts a record as late; under `late = 'dlq'` it becomes a dead letter, whatever `on_error` says.
    pub fn late(&mut self, record: &Arc<StreamRecord>, policy: LatePolicy) {
        self.counters.late += 1;
        if policy == LatePolicy::DeadLetter {
            let behind = "it came behind the watermark and counts in no window";
            let error = RecordError::new(ErrorCode::Late, behind);
            self.rejects.push(Rejected { record: record.clone(), error });
        }
    }
}

/// A running operator. All methods are called on the processor's thread under the engine lock.
pub trait Operator: Send {
    /// Takes one batch and emits what follows from it. All expressions of a record are evaluated before the
    /// record or any state is changed, so a rejected record leaves no trace.
    fn process(&mut self, input: InputId, batch: Batch, out: &mut Output<'_>);

    /// The same for a batch that others read too: nothing of it may be changed. Called for all but the last
    /// consumer of a shared scan. The default hands on clones of the `Arc`s.
    fn process_shared(&mut self, input: InputId, batch: &Batch, out: &mut Output<'_>) {
        let mut copy = out.pools.take(out.home);
        copy.share(batch);
        self.process(input, copy, out);
    }

    /// What of its work may be done as soon as a batch is decoded, on any thread. A batch that comes with that done is only counted.
    fn ahead(&self) -> Option<Arc<dyn Prepare>> {
        None
    }

    /// The watermark of an input rose to `micros`; `i64::MAX` when the input has ended. Afterwards the processor forwards the
    /// least watermark of all inputs, behind what this call emits.
    fn on_watermark(&mut self, input: InputId, micros: i64, out: &mut Output<'_>) {
        let _ = (input, micros, out);
    }

    /// An input fell silent (`idle_timeout`), or speaks again.
    fn on_idle(&mut self, input: InputId, idle: bool) {
        let _ = (input, idle);
    }

    /// Whether it declares a watermark of its own; that of its input ends here.
    fn makes_watermark(&self) -> bool {
        false
    }

    /// Before the first batch and behind [`restore`](Self::restore), where it makes the watermark: from these partitions of its source,
    /// each with its topic where there are several, records are waiting.
    fn expect(&mut self, partitions: &[(Option<Arc<str>>, i32)]) {
        let _ = partitions;
    }

    /// From that partition no record comes for the moment, if none has come: it was [expected](Self::expect) for nothing.
    fn expect_no_more(&mut self, topic: Option<&Arc<str>>, partition: i32, out: &mut Output<'_>) {
        let _ = (topic, partition, out);
    }

    /// When [`on_timer`](Self::on_timer) is to be called, µs on the job's clock; asked after each call of another method.
    fn next_timer(&self) -> Option<i64> {
        None
    }

    /// A time asked for has come. Stateless operators have none.
    fn on_timer(&mut self, now: i64, out: &mut Output<'_>) {
        let _ = (now, out);
    }

    /// An input has ended. After the last one nothing more can be emitted.
    fn on_end(&mut self, input: InputId, out: &mut Output<'_>) {
        let _ = (input, out);
    }

    /// Called after the last [`on_end`](Self::on_end) until it gives `false`: emits some more, where all at once would not fit into memory.
    fn emit_more(&mut self, out: &mut Output<'_>) -> bool {
        let _ = out;
        false
    }

    /// Before anything else, under `state_backend = 'disk'`: the operator may put into the store what does not fit into `budget` bytes
    /// of memory. One that can't keeps everything in memory.
    fn use_store(&mut self, space: Space, budget: usize) {
        let _ = (space, budget);
    }

    /// Memory that its state takes, in bytes (estimate): asked after each batch, so it must be cheap. Beyond
    /// `state_max_bytes` the job fails.
    fn state_bytes(&self) -> usize {
        0
    }

    /// Makes [`state_bytes`](Self::state_bytes), which may be too high, exact; this may take as long as there is state. Called when the
    /// estimate is beyond `state_max_bytes`.
    fn recount(&mut self) {}

    /// Writes all state. Called at a barrier. Tables of groups are only frozen where the writer allows that
    /// ([`write_groups`](crate::state::write_groups)).
    ///
    /// # Errors
    /// The commit fails and the job with it.
    fn snapshot(&mut self, to: &mut StateWriter) -> Result<(), StateError>;

    /// Takes down what of its frozen tables is still due, about `budget` bytes, which it lowers by what it took. Called
    /// between batches until all has been taken down.
    fn take_down(&mut self, budget: &mut usize) {
        let _ = budget;
    }

    /// Reads what [`snapshot`](Self::snapshot) wrote, perhaps in another process and with another thread count.
    ///
    /// # Errors
    /// The job does not start.
    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError>;

    /// What is kept, for how long, how much at most.
    fn state_contract(&self) -> StateContract;
}
