//! Counters with one writer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::record::{CoreTime, ThreadWatch};

/// A counter that one thread writes at a time and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the counter's owner calls it: no atomic read-modify-write is needed.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }
    /// Sets it.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
    /// Reads it.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    /// Adds a time, in nanoseconds.
    #[inline]
    pub fn add_time(&self, d: Duration) {
        self.add(d.as_nanos() as u64);
    }
}

/// Where a stage's time goes, in nanoseconds, on whichever thread it is. While it has a thread of its own, together they are the
/// thread's wall time.
#[derive(Debug, Default)]
pub struct StageTimes {
    /// Doing its work.
    pub busy: Counter,
    /// Of it: ready to go on, but others had the core.
    pub queued: Counter,
    /// Waiting for input (inside the reader, or on the edge before it).
    pub waiting: Counter,
    /// A source: waiting for room on the edge behind it. A sink: waiting before it asks its target again.
    pub blocked: Counter,
}

/// Where a thread's time goes, in nanoseconds: the four add up to its wall time.
#[derive(Debug, Default)]
pub struct ThreadTimes {
    /// The thread's name.
    pub name: String,
    /// Doing the work of the stages that are on it, hand-overs included.
    pub busy: Counter,
    /// Waiting for input.
    pub waiting: Counter,
    /// Waiting for what is downstream: room on an edge, a sink that asked for a pause or that finishes its work.
    pub blocked: Counter,
    /// Nothing to do before a set time, or outside of the engine (a stepping job between two steps).
    pub idle: Counter,
    /// From its start to its end, measured on its own; a thread that came and went has the sum.
    pub wall: Counter,
    /// Since when it has been running, if it is.
    pub since: Mutex<Option<Instant>>,
    /// What the system knows of the thread while it runs.
    pub watch: Mutex<Option<ThreadWatch>>,
}

impl ThreadTimes {
    /// What the thread has had of the machine, if it runs and the system tells.
    pub fn core_time(&self) -> Option<CoreTime> {
        self.watch.lock().as_ref()?.read()
    }
}

/// What a source stage counts, each at its own site.
#[derive(Debug, Default)]
pub struct SourceCounters {
    /// Nanoseconds of `times.waiting` that the reader waited inside of its calls.
    pub waited_inside: Counter,
    /// Records that the reader gave.
    pub decoded: Counter,
    /// Records handed on to the processor.
    pub forwarded: Counter,
    /// Records that could not be decoded.
    pub rejected: Counter,
    /// Of these: sent to the dead letter queue.
    pub dead_lettered: Counter,
    /// Of these: skipped.
    pub skipped: Counter,
    /// Records read but not wanted any more when the job ended (LIMIT, stop).
    pub unread: Counter,
    /// Payload bytes.
    pub bytes: Counter,
    /// Batches.
    pub batches: Counter,
    /// Records allocated because no recycled one was at hand.
    pub allocated: Counter,
    /// Deep copies made on this stage's account.
    pub deep_copies: Counter,
    /// Errors that were retried.
    pub retries: Counter,
    /// Where the time goes.
    pub times: StageTimes,
}

/// What a sink stage counts, each at its own site.
#[derive(Debug, Default)]
pub struct SinkCounters {
    /// Records sent to it by the processor (the processor's counter).
    pub sent: Counter,
    /// Records that arrived.
    pub received: Counter,
    /// Records that the writer took.
    pub written: Counter,
    /// Records that the writer refused.
    pub rejected: Counter,
    /// Of these: sent to the dead letter queue.
    pub dead_lettered: Counter,
    /// Of these: skipped.
    pub skipped: Counter,
    /// Batches written.
    pub batches: Counter,
    /// Payload bytes written (as the source counted them).
    pub bytes: Counter,
    /// Deep copies made on this stage's account.
    pub deep_copies: Counter,
    /// Errors that were retried.
    pub retries: Counter,
    /// Longest time from a batch's first record read to the batch written, ns.
    pub max_latency: Counter,
    /// How long the processor waited for room on the edge before it, ns (the processor's counter).
    pub backpressure: Counter,
    /// Where the time goes.
    pub times: StageTimes,
}
