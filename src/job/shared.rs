//! What the threads of one job share: flags, events, counters for statistics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::JobConfig;
use super::core::Core;
use super::policy::ErrorBudget;
use crate::observe::{
    CommitStats, Counter, JobStats, PlacementDecision, SinkCounters, SinkStats, SourceCounters, SourceStats,
    StageTimes, ThreadStats, ThreadTimes, TimeStats,
};
use crate::record::{Clock, PoolTimes};

/// How a job is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Stop reading, finish what was read, emit what operators hold back (open windows, groups) as if the input had ended,
    /// flush, commit. A job with a state directory may go on later from there, unless an operator held rows back: it is
    /// then finished, as they can't be emitted twice.
    Drain,
    /// Stop reading, finish what was read, flush, commit. With a state directory what operators hold back stays in the state, and
    /// the job goes on from there; without one this is [`Drain`](Stop::Drain). `SET at_end = 'drain'` makes it that too.
    Checkpoint,
    /// End at once, commit nothing.
    Abort,
}

const RUNNING: u8 = 0;
const DRAIN: u8 = 1;
const CHECKPOINT: u8 = 2;
const ABORT: u8 = 3;

/// Shared by handle, processor and stage threads.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) started: Instant,
    pub(super) drain_deadline: Duration,
    pub(super) shutdown_deadline: Duration,
    stop: AtomicU8,
    cancelled: AtomicBool,
    pub(super) live: Mutex<JobView>,
    /// What spans are measured with.
    pub(super) stopwatch: Clock,
    pub(super) process: StageTimes,
    pub(super) commits: Counter,
    pub(super) restarts: Counter,
}

/// What statistics are made of; replaced when the job is opened again.
#[derive(Default)]
pub(super) struct JobView {
    pub(super) core: Option<Arc<Mutex<Core>>>,
    pub(super) sources: Vec<(String, Arc<SourceCounters>)>,
    pub(super) sinks: Vec<(String, Arc<SinkCounters>)>,
    pub(super) threads: Vec<Arc<ThreadTimes>>,
    pub(super) budget: Option<Arc<ErrorBudget>>,
    pub(super) letters_written: Option<Arc<SinkCounters>>,
    pub(super) state: &'static str,
    pub(super) execution: String,
    pub(super) decisions: Vec<PlacementDecision>,
    pub(super) positions: Vec<String>,
    pub(super) commit: CommitStats,
    /// When the last commit was made.
    pub(super) committed_at: Option<Instant>,
    pub(super) wall: Option<Duration>,
    /// Threads that share a stage's work.
    pub(super) pool: Option<Arc<PoolTimes>>,
}

impl Shared {
    pub(super) fn new(config: &JobConfig) -> Self {
        Self {
            name: config.name.clone(),
            started: config.stopwatch.instant(),
            stopwatch: config.stopwatch.clone(),
            drain_deadline: config.drain_deadline,
            shutdown_deadline: config.shutdown_deadline,
            stop: AtomicU8::new(RUNNING),
            cancelled: AtomicBool::new(false),
            live: Mutex::new(JobView { state: "running", ..JobView::default() }),
            process: StageTimes::default(),
            commits: Counter::default(),
            restarts: Counter::default(),
        }
    }
    /// Asks the job to stop; a stronger request overrides a weaker one.
    pub(super) fn request_stop(&self, stop: Stop) {
        let level = match stop {
            Stop::Drain => DRAIN,
            Stop::Checkpoint => CHECKPOINT,
            Stop::Abort => ABORT,
        };
        self.stop.fetch_max(level, Ordering::AcqRel);
        if stop == Stop::Abort {
            self.cancel();
        }
    }
    pub(super) fn stop_requested(&self) -> Option<Stop> {
        match self.stop.load(Ordering::Acquire) {
            DRAIN => Some(Stop::Drain),
            CHECKPOINT => Some(Stop::Checkpoint),
            ABORT => Some(Stop::Abort),
            _ => None,
        }
    }
    /// Ends every wait of the job's threads.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
    pub(super) fn clear_cancel(&self) {
        if self.stop_requested() != Some(Stop::Abort) {
            self.cancelled.store(false, Ordering::Release);
        }
    }

    /// Time since the job's start.
    pub(super) fn elapsed(&self) -> Duration {
        self.stopwatch.instant().saturating_duration_since(self.started)
    }

    /// The account of a thread; one that comes again goes on with what it has.
    pub(super) fn account(&self, name: &str) -> Arc<ThreadTimes> {
        let mut view = self.live.lock();
        if let Some(known) = view.threads.iter().find(|t| t.name == name) {
            return known.clone();
        }
        let made = Arc::new(ThreadTimes { name: name.to_owned(), ..ThreadTimes::default() });
        view.threads.push(made.clone());
        made
    }

    /// Takes the engine lock once, for as long as copying a few counters takes.
    pub(super) fn stats(&self) -> JobStats {
        let view = self.live.lock();
        let mut stats = JobStats {
            job: self.name.clone(),
            state: view.state.into(),
            execution: view.execution.clone(),
            wall_s: view.wall.unwrap_or_else(|| self.elapsed()).as_secs_f64(),
            process_s: seconds(&self.process.busy),
            commits: self.commits.get(),
            commit: CommitStats {
                age_s: view
                    .committed_at
                    .map_or(0.0, |at| self.stopwatch.instant().saturating_duration_since(at).as_secs_f64()),
                ..view.commit
            },
            restarts: self.restarts.get(),
            peak_memory_bytes: peak_memory(),
            decisions: view.decisions.clone(),
            ..JobStats::default()
        };
        for (i, (name, c)) in view.sources.iter().enumerate() {
            stats.records_in += c.decoded.get();
            stats.bytes_in += c.bytes.get();
            stats.rejected += c.rejected.get();
            stats.deep_copies += c.deep_copies.get();
            stats.sources.push(SourceStats {
                name: name.clone(),
                records: c.decoded.get(),
                bytes: c.bytes.get(),
                batches: c.batches.get(),
                rejected: c.rejected.get(),
                dead_lettered: c.dead_lettered.get(),
                skipped: c.skipped.get(),
                unread: c.unread.get(),
                records_allocated: c.allocated.get(),
                retries: c.retries.get(),
                position: view.positions.get(i).cloned().unwrap_or_default(),
                time: times(&c.times),
            });
        }
        for (name, c) in &view.sinks {
            stats.records_out += c.written.get();
            stats.rejected += c.rejected.get();
            stats.deep_copies += c.deep_copies.get();
            stats.sinks.push(SinkStats {
                name: name.clone(),
                records: c.written.get(),
                batches: c.batches.get(),
                rejected: c.rejected.get(),
                retries: c.retries.get(),
                in_hand: c.received.get().saturating_sub(c.written.get() + c.rejected.get()),
                backpressure_s: seconds(&c.backpressure),
                max_latency_ms: c.max_latency.get() as f64 / 1e6,
                time: times(&c.times),
            });
        }
        let now = self.stopwatch.instant();
        stats.threads = view.threads.iter().map(|t| of_thread(t, now)).collect();
        let end = view.wall.map_or(now, |wall| self.started + wall);
        stats.threads.extend(view.pool.iter().flat_map(|p| p.threads(end)).map(of_worker));
        stats.rejected_by_class = view.budget.as_ref().map(|b| b.by_class()).unwrap_or_default();
        stats.dead_letters = view.letters_written.as_ref().map_or(0, |c| c.written.get());
        if let Some(core) = &view.core {
            let core = core.lock();
            stats.batches = core.batches;
            stats.lock_acquisitions = core.lock_acquisitions;
            stats.deep_copies += core.deep_copies.get();
            stats.operators = core.node_stats();
        }
        stats.filtered = stats.operators.iter().map(|n| n.filtered).sum();
        stats.late = stats.operators.iter().map(|n| n.late).sum();
        stats.rejected += stats.operators.iter().map(|n| n.rejected).sum::<u64>();
        stats
    }
}

fn seconds(c: &Counter) -> f64 {
    c.get() as f64 / 1e9
}

fn times(t: &StageTimes) -> TimeStats {
    TimeStats { busy_s: seconds(&t.busy), waiting_s: seconds(&t.waiting), blocked_s: seconds(&t.blocked) }
}

fn of_thread(t: &ThreadTimes, now: Instant) -> ThreadStats {
    let running = t.since.lock().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
    ThreadStats {
        name: t.name.clone(),
        wall_s: seconds(&t.wall) + running.as_secs_f64(),
        busy_s: seconds(&t.busy),
        waiting_s: seconds(&t.waiting),
        blocked_s: seconds(&t.blocked),
        idle_s: seconds(&t.idle),
    }
}

/// A thread of the pool works or has nothing to do: whoever shares its work with it waits, not it.
fn of_worker((name, wall, busy): (String, Duration, Duration)) -> ThreadStats {
    ThreadStats {
        name,
        wall_s: wall.as_secs_f64(),
        busy_s: busy.as_secs_f64(),
        idle_s: (wall - busy).as_secs_f64(),
        ..ThreadStats::default()
    }
}

/// Peak resident memory of this process, from the kernel (`VmHWM`).
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).map_or(0, |kb| kb * 1024)
}
