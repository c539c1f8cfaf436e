//! What a job tells about itself: counters, times, the loss ledger, statistics.
//!
//! Every counter has exactly one writer and is read by others at leisure, so counting costs a plain load and store.

mod counters;
mod ledger;
mod stats;

pub use counters::{Counter, SinkCounters, SourceCounters, StageTimes, ThreadTimes};
pub use ledger::{Ledger, LedgerError, NodeEntry, SinkEntry, SourceEntry, expect_equal};
pub use stats::{
    CommitStats, JobStats, NodeStats, PlacementDecision, SinkStats, SourceStats, ThreadStats, TimeStats,
};
