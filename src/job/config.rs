//! How a job runs: the resolved settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::io::Slice;
use crate::operator::Shards;
use crate::record::Clock;
use crate::state::{Disk, Medium};

/// On how many threads the stages run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Execution {
    /// Starts inline, splits into threads when that pays, and goes back.
    #[default]
    Auto,
    /// A reader per source, a processor, a writer per sink.
    Threads,
    /// Everything on one thread, without channels.
    Inline,
}

/// What decides when a batch is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchStrategy {
    /// `batch_rows` and `batch_bytes`; handed on at once when the next stage is idle.
    #[default]
    Fixed,
    /// Whatever arrives within `batch_linger`, up to `batch_rows`.
    TimeWindow,
    /// `batch_bytes` alone decides.
    Memory,
    /// Grows from small batches towards `batch_rows` while the latency stays below `batch_linger`.
    Adaptive,
    /// At most 100 rows, handed on at once.
    LowLatency,
}

/// What becomes of a record that can't be processed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The job fails (FailBatch).
    #[default]
    Fail,
    /// Counted, logged, left out (LogAndContinue).
    Skip,
    /// Goes to the dead letter queue (SendToDlq).
    Dlq,
    /// The sink is asked again with back-off, then the job fails (RetryWithBackoff).
    Retry,
}

/// What happens with trace context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceMode {
    /// Nothing; costs nothing.
    #[default]
    Off,
    /// W3C context is read from headers and a child context is injected into every output record.
    Propagate,
}

/// What a job promises about rows after a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Each at least once.
    #[default]
    Simple,
    /// Each exactly once for readers of what is committed.
    Transactional,
}

/// What lies between two commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitInterval {
    /// So much time.
    Time(Duration),
    /// So many records read.
    Rows(u64),
    /// So many bytes of records read.
    Bytes(u64),
}

/// What becomes of open windows and groups when a job with state is stopped before its input ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtEnd {
    /// They stay in the state: a pause.
    #[default]
    Keep,
    /// They are emitted, and the job is finished.
    Drain,
}

/// Where state lives while a job runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateBackend {
    /// In memory; commits write it to the state directory.
    #[default]
    Memory,
    /// On disk, as far as groups do not fit into memory; needs a build with the feature `disk-state`.
    Disk,
}

/// Whether a job may go on from the state of another plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlanChange {
    /// No.
    #[default]
    Refuse,
    /// Operators that are the same go on from theirs, the others start empty.
    Allow,
}

/// The resolved settings of a job.
#[derive(Clone, Debug)]
pub struct JobConfig {
    /// Name: keys the state directory and the dead letters.
    pub name: String,
    /// Name of this process, where several run the job and divide its sources among them.
    pub instance: Option<String>,
    /// How many processes run it, if each has partitions of its own for good; `instance` is then a number.
    pub instances: Option<u32>,
    /// At most so many threads do engine work at the same time.
    pub threads: usize,
    /// How the stages are spread over threads.
    pub execution: Execution,
    /// Rows of a full batch.
    pub batch_rows: usize,
    /// Payload bytes of a full batch.
    pub batch_bytes: usize,
    /// How long an incomplete batch may wait while the next stage is busy.
    pub batch_linger: Duration,
    /// What decides when a batch is full.
    pub batch_strategy: BatchStrategy,
    /// Batches that an edge between threads holds. `None`: 8, or as many as have 8,000 rows, at most 1,024.
    pub channel_batches: Option<usize>,
    /// Payload bytes that an edge between threads holds.
    pub channel_bytes: usize,
    /// Bytes of spent batches that each pool keeps.
    pub pool_bytes: usize,
    /// Bytes that the state of one operator may take.
    pub state_max_bytes: usize,
    /// Parts of keyed state that threads work on side by side. `None`: as many as threads, where it pays.
    pub state_shards: Option<usize>,
    /// Whether a plan whose state can grow for ever is refused.
    pub require_bounded_state: bool,
    /// Empty reads in a row after which a source of unknown boundedness is taken for ended.
    pub empty_batches: u32,
    /// Time between these reads.
    pub empty_wait: Duration,
    /// Policy for evaluation, sink and panics.
    pub on_error: OnError,
    /// Rejected records above which the job fails.
    pub max_errors: Option<u64>,
    /// Share of rejected records above which the job fails, judged from 1,000 records on.
    pub max_error_ratio: Option<f64>,
    /// How long a stage error that may pass is retried.
    pub retry_budget: Duration,
    /// Trace context.
    pub trace: TraceMode,
    /// What is promised after a crash; `Transactional` needs `state`.
    pub mode: Mode,
    /// State directory.
    pub state: Option<PathBuf>,
    /// Where state lives while the job runs.
    pub state_backend: StateBackend,
    /// Where the files of the state directory are: the disk, but for tests.
    pub medium: Arc<dyn Medium>,
    /// What lies between two commits.
    pub commit_interval: CommitInterval,
    /// Bytes of a snapshot that the processor takes down between two batches.
    pub snapshot_slice: usize,
    /// A state whose snapshot is shorter is always written whole; of a longer one an epoch writes what has changed.
    pub whole_below: u64,
    /// What a stop leaves in the state.
    pub at_end: AtEnd,
    /// Whether the state of another plan may be used.
    pub plan_change: PlanChange,
    /// Restarts from the last commit after a failure (needs `state`).
    pub max_restarts: u32,
    /// A sink that takes no batch for so long is reported.
    pub stall_warning: Duration,
    /// What a program gives a job to end by itself after it asked it to drain; the command line then aborts it.
    pub drain_deadline: Duration,
    /// After a cancel, threads that do not end within this time are abandoned.
    pub shutdown_deadline: Duration,
    /// The only source of time.
    pub clock: Clock,
    /// What the spans of the statistics and of `auto` are measured with: the system's clock, if a test does not move one by hand.
    pub stopwatch: Clock,
}

impl JobConfig {
    /// How keyed state is divided.
    pub(super) fn shards(&self) -> Shards {
        let alone = self.execution == Execution::Inline;
        let count = self.state_shards.unwrap_or(if alone { 1 } else { self.threads });
        Shards { count, forced: self.state_shards.is_some() }
    }

    /// What its directory below the state directory is called.
    pub(super) fn state_name(&self) -> String {
        match (&self.instance, self.instances) {
            (Some(instance), Some(of)) => format!("{}.{instance}_of_{of}", self.name),
            (Some(instance), None) => format!("{}.{instance}", self.name),
            (None, _) => self.name.clone(),
        }
    }

    /// The fixed part of the partitions that this process reads.
    pub(crate) fn slice(&self) -> Option<Slice> {
        let (number, of) = (self.instance.as_ref()?.parse().ok()?, self.instances?);
        (number < of).then_some(Slice { number, of })
    }

    /// Batches that an edge holds. Eight tiny ones would be gone before the thread behind them is awake.
    pub(super) fn edge_batches(&self) -> usize {
        self.channel_batches.unwrap_or_else(|| (8000 / self.batch_rows.max(1)).clamp(8, 1024))
    }
}

impl Default for JobConfig {
    fn default() -> Self {
        Self {
            name: "job".into(),
            instance: None,
            instances: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            execution: Execution::Auto,
            batch_rows: 1000,
            batch_bytes: 1 << 20,
            batch_linger: Duration::from_millis(5),
            batch_strategy: BatchStrategy::Fixed,
            channel_batches: None,
            channel_bytes: 4 << 20,
            pool_bytes: 64 << 20,
            state_max_bytes: 1 << 30,
            state_shards: None,
            require_bounded_state: false,
            empty_batches: 3,
            empty_wait: Duration::from_millis(100),
            on_error: OnError::Fail,
            max_errors: None,
            max_error_ratio: None,
            retry_budget: Duration::from_secs(300),
            trace: TraceMode::Off,
            mode: Mode::Simple,
            state: None,
            state_backend: StateBackend::Memory,
            medium: Arc::new(Disk),
            commit_interval: CommitInterval::Time(Duration::from_secs(1)),
            snapshot_slice: 256 << 10,
            whole_below: 128 << 10,
            at_end: AtEnd::Keep,
            plan_change: PlanChange::Refuse,
            max_restarts: 0,
            stall_warning: Duration::from_secs(10),
            drain_deadline: Duration::from_secs(25),
            shutdown_deadline: Duration::from_secs(10),
            clock: Clock::System,
            stopwatch: Clock::System,
        }
    }
}
