//! The processor: takes batches from the sources, runs them through the operators, hands them to the sinks.
//!
//! Sources and sinks are *here* (the processor calls them: inline execution) or *away* (on a thread of their own, behind an
//! edge); each can change its place at a batch boundary. One round of the loop is what `step` does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, unbounded};
use parking_lot::Mutex;

use super::commit::{Commits, Epoch, Mark};
use super::core::Core;
use super::edge::{Closed, TICK};
use super::laps::Laps;
use super::message::{Message, Parcel};
use super::placement::{Autopilot, Costs, Placement, lanes};
use super::policy::ErrorBudget;
use super::shared::{Shared, Stop};
use super::sink_stage::SinkStage;
use super::snapshots::{SharedManifest, Snapshots};
use super::source_stage::{Polled, Shifts, SourceStage, counting_copies};
use super::stage_thread::{Control, SinkEvent, SinkThread, SourceThread, spawn_sink, spawn_source};
use super::{AtEnd, DeadLetter, JobConfig, JobError, dead_letter_schema};
use crate::io::{Coordinator, Kept, Shift};
use crate::observe::{
    Ledger, PlacementDecision, SinkCounters, SinkEntry, SourceCounters, SourceEntry, expect_equal,
};
use crate::operator::Choice;
use crate::record::{Batch, Clock, PoolTimes, Pools, Position, Schema};
use crate::state::{Checkpoint, Commit, SourceState};

/// What one round did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    Worked,
    /// Nothing to do; nothing will change before that time on the clock's monotonic scale.
    Idle(Option<Duration>),
    Done,
}

enum SourcePlace {
    Here(Box<SourceStage>),
    Away(SourceThread),
    /// In between, or given up with an error.
    Nowhere,
}

enum SinkPlace {
    Here(Box<SinkStage>),
    Away(SinkThread),
    Nowhere,
}

pub(super) struct Inflow {
    name: String,
    counters: Arc<SourceCounters>,
    place: SourcePlace,
    /// Nanoseconds that helpers worked for it.
    helped: Arc<AtomicU64>,
    /// It waits for a commit.
    hurry: Arc<AtomicBool>,
    /// Earlier sources that feed the same sinks.
    after: Vec<usize>,
    bounded: bool,
    /// Its end is no end of the job for good.
    pauses: bool,
    /// Position before its first record.
    start: Position,
    /// Position after its last record.
    ended: Option<Position>,
    stopping: bool,
    /// It was stopped before its end: another run goes on from there.
    paused: bool,
}

pub(super) struct Outflow {
    name: String,
    counters: Arc<SinkCounters>,
    place: SinkPlace,
    /// Its output is shown when it is committed.
    staged: bool,
    /// Records sent before the last barrier.
    at_barrier: u64,
}

/// State of a job with a state directory.
pub(super) struct Keeping {
    pub(super) snapshots: Snapshots,
    /// Of a transactional job: a record in it is what commits an epoch.
    pub(super) manifest: Option<SharedManifest>,
    /// Who commits in its place, if another system does; the MANIFEST then takes notes.
    pub(super) leader: Option<Box<dyn Coordinator>>,
    /// Bytes that had been processed at the barrier of the epoch under way.
    pub(super) aligned_at: u64,
    pub(super) commits: Commits,
    pub(super) plan: u32,
    /// When the barriers of the epoch under way were asked for.
    pub(super) began: Option<Instant>,
    /// The epoch whose output is durable and whose snapshot is not yet.
    pub(super) saving: Option<Saving>,
    /// Which sources had ended for good at its barrier.
    pub(super) ended: Vec<bool>,
    /// Where the sinks stood at the last commit.
    #[cfg(seeded_bugs)]
    pub(super) before: Vec<Position>,
    /// The dead letter queue, which comes last, was asked to make the epoch durable.
    pub(super) letters_asked: bool,
    /// What had happened when the last epoch began.
    pub(super) seen: Progress,
    /// So long after an epoch a sink wants another one, although nothing has come in.
    pub(super) quiet_after: Option<Duration>,
    /// When that is, on the clock's monotonic scale; the epoch after it is the last one until something comes in.
    pub(super) quiet_epoch: Option<Duration>,
    /// Something had come in when the epoch under way began.
    pub(super) asks_again: bool,
    /// State is cut by the parts of the source and kept elsewhere: that of the epoch under way, for whoever commits it.
    pub(super) parts: Option<Vec<Kept>>,
}

/// An epoch that waits for its snapshot.
pub(super) struct Saving {
    epoch: Epoch,
    /// The snapshot has been given its end.
    ended: bool,
}

/// Says whether there is anything to commit: as long as it does not change, another checkpoint would say the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Records that left the sources.
    forwarded: u64,
    /// Records that the sources could not decode.
    rejected: u64,
    /// Sources that have ended.
    ended: usize,
    /// Times that operators emitted something although no record came.
    timers: u64,
}

/// Everything that the processor's thread owns.
pub(super) struct Driver {
    config: JobConfig,
    shared: Arc<Shared>,
    core: Arc<Mutex<Core>>,
    pools: Pools,
    inflows: Vec<Inflow>,
    outflows: Vec<Outflow>,
    /// Index of the dead letter queue among `outflows`.
    letter_box: Option<usize>,
    letter_schema: Arc<Schema>,
    letters_made: u64,
    /// Letters of the next epoch, while the queue has not been asked to make the current one durable.
    later_letters: Vec<DeadLetter>,
    events: Receiver<SinkEvent>,
    event_sender: Sender<SinkEvent>,
    keeping: Option<Keeping>,
    budget: Arc<ErrorBudget>,
    autopilot: Option<Autopilot>,
    base: Costs,
    /// What the threads that share work did.
    pool: Arc<PoolTimes>,
    base_threads: placing::CoreTimes,
    records: u64,
    bytes: u64,
    batches: u64,
    /// Times that operators emitted something although no record came.
    timers: u64,
    laps: Laps,
    wall: WallClock,
    outbox: Vec<(usize, Parcel)>,
    turn: usize,
    /// When the first operator wants to be called, µs on the job's clock.
    timer: Option<i64>,
    /// Which sources a merge lets be read now; empty if nothing is merged.
    wanted: Vec<bool>,
    natural_end: bool,
    /// An operator holds back rows for the end of its input.
    holds_rows: bool,
    /// Rows that operators had emitted from what they hold when the first source was stopped.
    produced: u64,
    done: bool,
}

/// A source that was opened.
pub(super) struct OpenSource {
    pub(super) stage: SourceStage,
    /// Earlier sources that feed the same sinks.
    pub(super) after: Vec<usize>,
    /// It had ended for good before the last commit.
    pub(super) ended: bool,
}

/// The parts that [`Driver::new`] puts together.
pub(super) struct Parts {
    pub(super) sources: Vec<OpenSource>,
    pub(super) sinks: Vec<SinkStage>,
    pub(super) letter_box: Option<usize>,
    pub(super) core: Core,
    pub(super) pools: Pools,
    pub(super) keeping: Option<Keeping>,
    pub(super) budget: Arc<ErrorBudget>,
}

impl Driver {
    pub(super) fn new(config: &JobConfig, shared: &Arc<Shared>, parts: Parts) -> Self {
        let (event_sender, events) = unbounded();
        let inflows: Vec<Inflow> = parts
            .sources
            .into_iter()
            .map(|OpenSource { stage, after, ended }| Inflow {
                name: stage.name.clone(),
                counters: stage.counters.clone(),
                bounded: stage.is_bounded(),
                pauses: stage.pauses,
                start: stage.position(),
                ended: ended.then(|| stage.position()),
                helped: stage.helped.clone(),
                hurry: stage.hurry.clone(),
                place: SourcePlace::Here(Box::new(stage)),
                after,
                stopping: false,
                paused: false,
            })
            .collect();
        let outflows: Vec<Outflow> = parts
            .sinks
            .into_iter()
            .map(|stage| Outflow {
                name: stage.name.clone(),
                counters: stage.counters.clone(),
                staged: stage.staged,
                place: SinkPlace::Here(Box::new(stage)),
                at_barrier: 0,
            })
            .collect();
        let timer = parts.core.next_timer();
        let holds_rows = parts.core.holds_rows();
        let wanted = parts.core.wanted.clone();
        let pool = parts.core.workers.times().clone();
        let core = Arc::new(Mutex::new(parts.core));
        let mut view = shared.live.lock();
        view.core = Some(core.clone());
        view.budget = Some(parts.budget.clone());
        view.sources = inflows.iter().map(|s| (s.name.clone(), s.counters.clone())).collect();
        view.sinks = outflows
            .iter()
            .enumerate()
            .filter(|(k, _)| Some(*k) != parts.letter_box)
            .map(|(_, s)| (s.name.clone(), s.counters.clone()))
            .collect();
        view.letters_written = parts.letter_box.and_then(|k| outflows.get(k)).map(|s| s.counters.clone());
        view.execution = "inline".into();
        drop(view);
        Self {
            config: config.clone(),
            shared: shared.clone(),
            core,
            pools: parts.pools,
            inflows,
            outflows,
            letter_box: parts.letter_box,
            letter_schema: dead_letter_schema(),
            letters_made: 0,
            later_letters: Vec::new(),
            events,
            event_sender,
            keeping: parts.keeping,
            budget: parts.budget,
            autopilot: None,
            base: Costs::default(),
            pool,
            base_threads: placing::CoreTimes::default(),
            records: 0,
            bytes: 0,
            batches: 0,
            timers: 0,
            laps: Laps::start(config.stopwatch.clone(), shared.account("ms-process")),
            wall: WallClock::default(),
            outbox: Vec::new(),
            turn: 0,
            timer,
            wanted,
            natural_end: true,
            holds_rows,
            produced: 0,
            done: false,
        }
    }

    /// Gives every source and sink a thread of its own.
    pub(super) fn split_all(&mut self) -> Result<(), JobError> {
        let all = Placement::all(self.inflows.len(), self.outflows.len(), true);
        self.place(&all)?;
        self.shared.live.lock().execution = "threads".into();
        Ok(())
    }

    /// Lets measurements decide from now on.
    pub(super) fn use_autopilot(&mut self) {
        let now = self.elapsed();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (sources, sinks) = (self.inflows.len(), self.outflows.len());
        self.autopilot = Some(Autopilot::new(sources, sinks, self.config.threads, cores, now));
    }

    /// The thread that will call [`round`](Self::round) is ready.
    pub(super) fn begin(&mut self) {
        self.laps.restart();
        self.base_threads = self.core_times();
    }

    /// The caller did something else since the last round.
    pub(super) fn resume(&mut self) {
        self.laps.idle();
        self.laps.elsewhere();
    }

    /// The time, as of the last boundary between two stages.
    pub(super) fn now(&self) -> Instant {
        self.laps.now()
    }

    /// The same since the job's start.
    fn elapsed(&self) -> Duration {
        self.laps.now().saturating_duration_since(self.shared.started)
    }

    /// Sleeps. `until`: to a set time, not for input.
    pub(super) fn nap(&mut self, how_long: Duration, until: bool) {
        std::thread::park_timeout(how_long);
        if self.sinks_paused().is_some() {
            self.laps.blocked();
        } else if until {
            self.laps.idle();
        } else {
            self.laps.waited();
        }
    }

    /// One round. `wait` bounds the time to wait for input; zero never waits.
    pub(super) fn round(&mut self, wait: Duration) -> Result<Round, JobError> {
        if self.done {
            return Ok(Round::Done);
        }
        if self.shared.is_cancelled() {
            return Err(JobError::Aborted);
        }
        self.obey_stop();
        self.take_events()?;
        if let Some(until) = self.advance_sinks()? {
            return Ok(Round::Idle(Some(until)));
        }
        let mut worked = self.fire_timers()?;
        let timer = self.time_to_timer();
        // Input that does not come must not hold a timer up.
        let wait = timer.map_or(wait, |left| wait.min(left));
        let mut until = timer.map(|left| self.config.clock.monotonic() + left);
        let count = self.inflows.len();
        let active = (0..count).filter(|&i| self.may_read(i)).count();
        let alone = if active == 1 { wait } else { Duration::ZERO };
        self.turn = self.turn.wrapping_add(1);
        for offset in 0..count {
            let i = (self.turn + offset) % count;
            if !self.may_read(i) {
                continue;
            }
            match self.take_from(i, alone)? {
                Taken::Something => worked = true,
                Taken::Nothing(at) => {
                    until = match (until, at) {
                        (Some(a), Some(b)) => Some(a.min(b)),
                        (a, b) => a.or(b),
                    }
                }
            }
            if let Some(until) = self.sinks_paused() {
                return Ok(Round::Idle(Some(until)));
            }
        }
        worked |= self.commit_if_due()?;
        if self.inflows.iter().all(|s| s.ended.is_some()) && self.commits_idle() {
            self.finish()?;
            return Ok(Round::Done);
        }
        self.steer()?;
        if worked {
            return Ok(Round::Worked);
        }
        self.flush_idle_sinks()?;
        self.look_after_sinks()?;
        if active != 1 && !wait.is_zero() {
            self.wait_for_any(wait);
        }
        Ok(Round::Idle(until))
    }

    /// Whether a source may be read now: it has not ended, its barrier has not arrived before others', no earlier bounded
    /// source that feeds the same sinks is still being read, and it is its turn among those that it is merged with.
    fn may_read(&self, i: usize) -> bool {
        let Some(inflow) = self.inflows.get(i) else { return false };
        let commits = self.keeping.as_ref().map(|k| &k.commits);
        inflow.ended.is_none()
            && !commits.is_some_and(|c| c.holds(i))
            && !self.waits_for_others(inflow)
            // A barrier or the end comes behind what its thread has read ahead.
            && (self.wanted.get(i).is_none_or(|w| *w) || inflow.stopping || commits.is_some_and(|c| c.awaits(i)))
            && !self.holds_back_enough()
    }

    /// Sinks that write in transactions of another system keep what comes behind a barrier until that is committed: no more than
    /// fits into a channel.
    fn holds_back_enough(&self) -> bool {
        let held = |k: &Keeping| {
            k.leader.is_some()
                && k.commits.is_behind_barriers()
                && self.bytes - k.aligned_at > self.config.channel_bytes as u64
        };
        self.keeping.as_ref().is_some_and(held)
    }

    fn waits_for_others(&self, inflow: &Inflow) -> bool {
        let unfinished = |&p: &usize| self.inflows.get(p).is_some_and(|s| s.bounded && s.ended.is_none());
        inflow.bounded && inflow.after.iter().any(unfinished)
    }

    /// How long it is until the first operator wants to be called.
    fn time_to_timer(&self) -> Option<Duration> {
        let left = self.timer?.saturating_sub(self.config.clock.now_micros());
        Some(Duration::from_micros(left.max(0) as u64))
    }

    fn obey_stop(&mut self) {
        if matches!(self.shared.stop_requested(), Some(Stop::Drain | Stop::Checkpoint)) {
            (0..self.inflows.len()).for_each(|i| self.stop_source(i));
        }
    }

    /// Waits until a source on a thread has something, at most `wait`.
    fn wait_for_any(&mut self, wait: Duration) {
        let mut select = Select::new();
        let mut waiting = 0;
        for (_, inflow) in self.inflows.iter().enumerate().filter(|(i, _)| self.may_read(*i)) {
            if let SourcePlace::Away(thread) = &inflow.place {
                select.recv(thread.edge.channel());
                waiting += 1;
            }
        }
        let here = self.inflows.iter().filter(|s| matches!(s.place, SourcePlace::Here(_))).count();
        // Sources that are here can't wake us: look again soon.
        let wait = if here > 0 { Duration::from_millis(1) } else { wait };
        if waiting > 0 {
            let _ = select.ready_timeout(wait);
        } else {
            std::thread::park_timeout(wait);
        }
        self.laps.waited();
    }
}

/// Wall time once a round without a look at the clock: the span since a look at most a second ago is added to it.
#[derive(Debug, Default)]
struct WallClock {
    base: Option<(Instant, i64)>,
}

impl WallClock {
    fn at(&mut self, now: Instant, config: &JobConfig) -> i64 {
        if !matches!((&config.clock, &config.stopwatch), (Clock::System, Clock::System)) {
            return config.clock.now_micros();
        }
        if let Some((at, micros)) = self.base {
            let since = now.saturating_duration_since(at);
            if since < Duration::from_secs(1) {
                return micros + since.as_micros() as i64;
            }
        }
        let micros = config.clock.now_micros();
        self.base = Some((now, micros));
        micros
    }
}

/// What came from a source.
enum Taken {
    Something,
    Nothing(Option<Duration>),
}

mod epochs;
#[cfg(test)]
mod loss_tests;
mod placing;
mod sinks;
mod snapshot;
mod sources;
