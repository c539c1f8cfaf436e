//! The statistics of a job, as one serializable value.

use std::collections::BTreeMap;

use serde::Serialize;

/// Where a stage's time went, in seconds, on whichever thread it was. The threads' own accounts are in [`ThreadStats`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct TimeStats {
    /// Doing its work.
    pub busy_s: f64,
    /// Waiting for input.
    pub waiting_s: f64,
    /// A source: waiting for room downstream. A sink: waiting before it asks its target again.
    pub blocked_s: f64,
}

/// Where a thread's time went, in seconds: busy, waiting, blocked and idle add up to its wall time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ThreadStats {
    /// `ms-process`, `ms-read-0`, …
    pub name: String,
    /// From its start to its end, measured on its own.
    pub wall_s: f64,
    /// Doing the work of the stages that were on it, hand-overs included.
    pub busy_s: f64,
    /// Waiting for input.
    pub waiting_s: f64,
    /// Waiting for what is downstream.
    pub blocked_s: f64,
    /// Nothing to do before a set time; of a stepping job, the time between two steps.
    pub idle_s: f64,
}

/// A source's figures.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct SourceStats {
    pub name: String,
    pub records: u64,
    pub bytes: u64,
    pub batches: u64,
    pub rejected: u64,
    pub dead_lettered: u64,
    pub skipped: u64,
    pub unread: u64,
    pub records_allocated: u64,
    pub retries: u64,
    pub position: String,
    pub time: TimeStats,
}

/// An operator's figures.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct NodeStats {
    pub name: String,
    pub input: u64,
    pub output: u64,
    pub filtered: u64,
    pub absorbed: u64,
    pub late: u64,
    pub produced: u64,
    pub rejected: u64,
    /// Groups that expired by TTL.
    pub expired: u64,
    /// Memory that its state takes (estimate).
    pub state_bytes: u64,
}

/// A sink's figures.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct SinkStats {
    pub name: String,
    pub records: u64,
    pub batches: u64,
    pub rejected: u64,
    pub retries: u64,
    /// Rows handed to it that it has not written yet.
    pub in_hand: u64,
    pub max_latency_ms: f64,
    /// How long the processor waited for room before this sink.
    pub backpressure_s: f64,
    pub time: TimeStats,
}

/// Figures of a job's commits; all 0 without a state directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CommitStats {
    /// The last committed epoch.
    pub epoch: u64,
    /// Size of its checkpoint.
    pub bytes: u64,
    /// Seconds since it was committed.
    pub age_s: f64,
    /// From its barriers to the commit.
    pub last_s: f64,
    /// The same, of the longest one.
    pub max_s: f64,
    /// From the barriers' start until all had arrived, of the longest one.
    pub max_align_s: f64,
    /// How long the processor did nothing else at a stretch: freezing the state, taking down a slice of it, writing where it does so
    /// itself, committing; the longest such time.
    pub max_stall_s: f64,
    /// Epochs after which the next one came late, as they were not committed when its time had come.
    pub delayed: u64,
}

/// One decision of `execution = 'auto'`, or of an operator that shares its work among threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlacementDecision {
    /// Seconds since the job's start.
    pub at_s: f64,
    /// What was decided: `"inline"`, the stages that got threads of their own, or how an operator works from now on.
    pub placement: String,
    /// Why.
    pub reason: String,
}

/// Everything that a job counts.
#[derive(Clone, Debug, Default, Serialize)]
pub struct JobStats {
    /// Name of the job.
    pub job: String,
    /// `running`, `done`, `stopped`, `failed`, `closed` if the reader of its output went away; `finished before` if an earlier run
    /// did it all, according to its state.
    pub state: String,
    /// How it runs now.
    pub execution: String,
    /// Records that the sources gave.
    pub records_in: u64,
    /// Records that the sinks took.
    pub records_out: u64,
    /// Records that conditions dropped.
    pub filtered: u64,
    /// Records that came behind the watermark.
    pub late: u64,
    /// Records that could not be processed, in all stages.
    pub rejected: u64,
    /// The same by class (`malformed`, `division_by_zero` …), those that there are.
    pub rejected_by_class: BTreeMap<&'static str, u64>,
    /// Dead letters written.
    pub dead_letters: u64,
    /// Payload bytes in.
    pub bytes_in: u64,
    /// Seconds since start.
    pub wall_s: f64,
    /// Seconds that the processor spent in operators.
    pub process_s: f64,
    /// Deep copies of records; 0 in a sound job.
    pub deep_copies: u64,
    /// Batches that the processor took.
    pub batches: u64,
    /// Acquisitions of the engine lock.
    pub lock_acquisitions: u64,
    /// Commits.
    pub commits: u64,
    /// What they cost.
    pub commit: CommitStats,
    /// Restarts after a failure.
    pub restarts: u64,
    /// Peak resident memory of the process, bytes (0 where the system does not say).
    pub peak_memory_bytes: u64,
    /// Per source.
    pub sources: Vec<SourceStats>,
    /// Per operator.
    pub operators: Vec<NodeStats>,
    /// Per sink.
    pub sinks: Vec<SinkStats>,
    /// Per thread that ran or runs stages of the job; a running one as of its last batch.
    pub threads: Vec<ThreadStats>,
    /// What `auto` decided, and why.
    pub decisions: Vec<PlacementDecision>,
}
