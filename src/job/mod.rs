//! The corridor: threads, channels, stages, failure, commits.
//!
//! A job is opened from a [`JobSpec`] and then driven: by a processor thread of its own ([`start`]) or by the caller
//! ([`stepping`]). It knows no connector and no SQL.
//!
//! Tables of threads (`stage_thread.rs`), locks (`core.rs`) and messages (`message.rs`) stand in those files.

mod batching;
#[cfg(test)]
mod batching_tests;
mod commit;
mod config;
mod core;
mod dead_letter;
mod driver;
mod edge;
mod error;
#[cfg(test)]
mod event_time_tests;
mod handle;
mod laps;
mod leading;
mod message;
mod not_null;
mod open;
mod placement;
mod policy;
mod preparing;
mod shared;
mod sink_stage;
mod snapshots;
mod source_stage;
mod spec;
mod stage_thread;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod times_tests;
mod topology;
mod trace;

pub use config::{
    AtEnd, BatchStrategy, CommitInterval, Execution, JobConfig, Mode, OnError, PlanChange, StateBackend,
    TraceMode,
};
pub(crate) use dead_letter::DeadLetter;
pub use dead_letter::dead_letter_schema;
pub use error::JobError;
pub use handle::{JobHandle, Step, Stopper, start, stepping};
pub use policy::{Decision, Failure, decide};
pub use shared::Stop;
pub use spec::{JobSpec, SinkPart, SourcePart};
