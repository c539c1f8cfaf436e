//! A source on its way through the job: reads batches, applies the error policy, knows the end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::batching::Batching;
use super::dead_letter::Spot;
use super::policy::{Decision, ErrorBudget, Failure, decide};
use super::{BatchStrategy, DeadLetter, JobConfig, JobError, OnError};
use crate::io::{Boundedness, DataReader, Read, Shift};
use crate::observe::SourceCounters;
use crate::record::{
    Batch, BatchBuilder, Clock, Crew, Pools, Position, Prepare, Reject, Workers, deep_copies_on_this_thread,
};

/// Memory of the rows of a larger batch that are handed on at a time where nothing is handed over to another thread: half of a usual
/// level 2 cache, so that every stage finds them there.
const PIECE: usize = 512 << 10;
const SMALLEST_PIECE: usize = 1000;

/// How long a reader is left alone that has no more while the next stage is busy.
const NAP: Duration = Duration::from_micros(20);

/// What a call of [`SourceStage::poll`] gave.
#[derive(Debug)]
pub(super) enum Polled {
    /// A batch, and dead letters of records before its end.
    Batch(Batch),
    /// Nothing now; nothing will change before that time on the clock's monotonic scale.
    Idle(Option<Duration>),
    /// No more, ever.
    End,
}

/// Until when an incomplete batch waits, and where the reader stood before it.
struct Held {
    until: Duration,
    before: Position,
}

/// An open source with everything that belongs to it. Moves between threads at batch boundaries.
pub(super) struct SourceStage {
    pub(super) name: String,
    pub(super) counters: Arc<SourceCounters>,
    pub(super) letters: VecDeque<DeadLetter>,
    pub(super) batching: Batching,
    /// Its end is only a pause: see [`DataSource::end_is_pause`](crate::io::DataSource::end_is_pause).
    pub(super) pauses: bool,
    /// What it gives stands in partitions of topics, and is named by them.
    pub(super) has_topics: bool,
    /// Whether it is told of commits.
    pub(super) tells: bool,
    /// The reader wants a commit at once.
    pub(super) hurry: Arc<AtomicBool>,
    reader: Box<dyn DataReader>,
    builder: BatchBuilder,
    pools: Pools,
    home: u16,
    on_error: OnError,
    budget: Arc<ErrorBudget>,
    clock: Clock,
    boundedness: Boundedness,
    empty_batches: u32,
    empty_wait: Duration,
    retry_budget: Duration,
    empty_reads: u32,
    not_before: Option<Duration>,
    retry: Option<(u32, Duration)>,
    /// An incomplete batch that waits in the builder for the end of its time window.
    held: Option<Held>,
    ended: bool,
    /// The processor calls it: what comes next has nothing to do, and its records are still in this core's caches.
    pub(super) here: bool,
    /// An operator emits once a batch, so batches are as large as the settings say.
    pub(super) whole: bool,
    /// Rows that fit into [`PIECE`].
    piece: usize,
    commit_errors: u64,
    #[cfg(seeded_bugs)]
    pub(super) leaves_one_out: bool,
    /// Nanoseconds that helpers worked for it.
    pub(super) helped: Arc<AtomicU64>,
    /// What has become of its parts and was not told yet.
    shifts: Vec<Shift>,
}

/// What a source tells of its parts: before the records of a poll, and behind them.
#[derive(Debug, Default)]
pub(super) struct Shifts {
    pub(super) before: Vec<Shift>,
    pub(super) behind: Vec<Shift>,
}

impl SourceStage {
    pub(super) fn new(
        name: String,
        reader: Box<dyn DataReader>,
        config: &JobConfig,
        on_error: OnError,
        pools: Pools,
        home: u16,
        budget: Arc<ErrorBudget>,
    ) -> Self {
        let builder = BatchBuilder::new(reader.schema());
        Self {
            name,
            counters: Arc::default(),
            letters: VecDeque::new(),
            batching: Batching::new(config),
            pauses: false,
            has_topics: false,
            tells: true,
            hurry: Arc::default(),
            boundedness: reader.boundedness(),
            reader,
            builder,
            pools,
            home,
            on_error,
            budget,
            clock: config.clock.clone(),
            empty_batches: config.empty_batches.max(1),
            empty_wait: config.empty_wait,
            retry_budget: config.retry_budget,
            empty_reads: 0,
            not_before: None,
            retry: None,
            held: None,
            ended: false,
            here: true,
            whole: false,
            piece: usize::MAX,
            commit_errors: 0,
            #[cfg(seeded_bugs)]
            leaves_one_out: false,
            helped: Arc::default(),
            shifts: Vec::new(),
        }
    }

    /// What has become of the source's parts by the last poll. Records of parts that come are behind that, those of parts that go
    /// before it.
    #[inline]
    pub(super) fn take_shifts(&mut self) -> Shifts {
        if self.shifts.is_empty() {
            return Shifts::default();
        }
        let all = std::mem::take(&mut self.shifts).into_iter();
        let (behind, before) = all.partition(|s| matches!(s, Shift::Leaving { .. }));
        Shifts { before, behind }
    }

    fn collect_shifts(&mut self) {
        while let Some(shift) = self.reader.take_shift() {
            self.shifts.push(shift);
        }
    }

    /// Lets a reader that can divide its input call on the job's workers.
    pub(super) fn helped_by(mut self, workers: &Arc<Workers>) -> Self {
        // A batch that waits for the end of its time window takes more than a helper gives.
        if self.batching.strategy != BatchStrategy::TimeWindow {
            let crew = Crew::new(workers.clone(), self.pools.clone(), self.home, self.helped.clone());
            self.builder.set_crew(Some(crew));
        }
        self
    }

    /// Lets whoever helps do more than decode.
    pub(super) fn prepared_by(&mut self, prepare: Arc<dyn Prepare>) {
        let crew = self.builder.any_crew().map(|c| c.clone().prepared_by(prepare));
        self.builder.set_crew(crew);
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.boundedness == Boundedness::Bounded
    }

    /// The partitions from which records are waiting.
    pub(super) fn waiting(&self) -> Vec<(Option<Arc<str>>, i32)> {
        self.reader.waiting()
    }

    /// Behind everything that was polled.
    pub(super) fn position(&self) -> Position {
        self.held.as_ref().map_or_else(|| self.reader.position(), |h| h.before.clone())
    }

    /// Tells the source that everything before `position` is durable.
    pub(super) fn commit(&mut self, position: &Position) {
        if !self.tells {
            return;
        }
        let done = self.reader.commit(position);
        self.hurry.store(self.reader.wants_commit(), Ordering::Relaxed);
        self.collect_shifts();
        if let Err(e) = done {
            self.commit_errors += 1;
            log::warn!(
                "source {}: the commit of {position} failed ({} so far): {e}",
                self.name,
                self.commit_errors
            );
        }
    }

    /// Ends the source early: what it still holds counts as unread.
    pub(super) fn stop(&mut self) {
        self.ended = true;
        self.counters.unread.add(self.builder.came() as u64);
        self.builder.take(Batch::default());
    }

    /// Reads until a batch is worth handing on. `wait` bounds the time that the reader may block; `hungry` says whether the
    /// next stage has nothing to do.
    pub(super) fn poll(&mut self, wait: Duration, hungry: impl Fn() -> bool) -> Result<Polled, JobError> {
        if self.ended {
            return Ok(Polled::End);
        }
        let mut first = true;
        let mut first_at: Option<Duration> = None;
        loop {
            let now = self.not_before.map(|_| self.clock.monotonic());
            if let (Some(until), Some(now)) = (self.not_before, now)
                && now < until
            {
                return Ok(if self.builder.is_empty() { Polled::Idle(Some(until)) } else { self.hand_on() });
            }
            let windowed = self.batching.strategy == BatchStrategy::TimeWindow;
            let before = (windowed && self.held.is_none()).then(|| self.reader.position());
            let already = self.builder.len();
            let found = self.read(if std::mem::take(&mut first) { wait } else { Duration::ZERO })?;
            if self.builder.is_empty() {
                match found {
                    Some(Read::End) => {
                        self.ended = true;
                        return Ok(Polled::End);
                    }
                    // Much input without a record: the reader only lets us hear a stop.
                    Some(Read::More) => return Ok(Polled::Idle(None)),
                    Some(Read::Idle) => return Ok(self.empty_read()),
                    None => return Ok(Polled::Idle(self.not_before)),
                }
            }
            self.empty_reads = 0;
            if found == Some(Read::End) {
                self.ended = true;
                return Ok(self.hand_on());
            }
            if self.builder.is_full() {
                return Ok(self.hand_on());
            }
            if windowed && self.shifts.is_empty() {
                let now = self.clock.monotonic();
                if let Some(before) = before {
                    self.held = Some(Held { until: now + self.batching.linger(), before });
                }
                match &self.held {
                    Some(held)
                        if now < held.until && found == Some(Read::More) && self.builder.len() > already => {}
                    // The window's end is not waited for here: other sources and a stop have their turn meanwhile.
                    Some(held) if now < held.until => return Ok(Polled::Idle(Some(held.until))),
                    _ => return Ok(self.hand_on()),
                }
                continue;
            }
            let now = self.clock.monotonic();
            let waited = now.saturating_sub(*first_at.get_or_insert(now));
            if found != Some(Read::More) || self.batching.may_hand_on(waited, hungry()) {
                return Ok(self.hand_on());
            }
            if self.builder.len() == already {
                // The next stage is busy and nothing comes: it may need this core.
                std::thread::park_timeout(NAP);
            }
        }
    }

    /// One call of the reader. `None`: it failed in a way that may pass, and is asked again later.
    fn read(&mut self, wait: Duration) -> Result<Option<Read>, JobError> {
        let (pools, home) = (&self.pools, self.home);
        self.builder.supply(|| pools.take(home));
        let (rows, bytes) = self.batching.limits();
        let in_pieces = self.here && !self.whole && self.batching.strategy == BatchStrategy::Fixed;
        self.builder.set_limits(if in_pieces { rows.min(self.piece) } else { rows }, bytes);
        self.builder.set_max_wait(wait);
        let mark = self.builder.mark();
        let read = self.reader.read(&mut self.builder);
        if self.reader.wants_commit() {
            self.hurry.store(true, Ordering::Relaxed);
        }
        self.collect_shifts();
        match read {
            Ok(found) => {
                self.retry = None;
                self.not_before = None;
                self.settle_rejects()?;
                Ok(Some(found))
            }
            Err(error) => {
                self.builder.roll_back(mark);
                let now = self.clock.monotonic();
                let (attempt, since) = self.retry.unwrap_or((0, now));
                let failure = if error.is_transient() { Failure::Transient } else { Failure::Fatal };
                let jitter = pseudo_random(now.as_nanos() as u64 ^ u64::from(attempt));
                let spent = now.saturating_sub(since);
                match decide(self.on_error, failure, attempt, spent, self.retry_budget, jitter) {
                    Decision::Retry(after) => {
                        log::warn!("source {}: {error}; trying again in {after:?}", self.name);
                        self.counters.retries.add(1);
                        self.retry = Some((attempt + 1, since));
                        self.not_before = Some(now + after);
                        Ok(None)
                    }
                    _ => Err(JobError::io(format!("source {}", self.name), error)),
                }
            }
        }
    }

    /// The end-of-stream rule for sources of unknown boundedness.
    fn empty_read(&mut self) -> Polled {
        if self.boundedness != Boundedness::Unknown {
            return Polled::Idle(None);
        }
        self.empty_reads += 1;
        if self.empty_reads >= self.empty_batches {
            self.ended = true;
            return Polled::End;
        }
        let until = self.clock.monotonic() + self.empty_wait;
        self.not_before = Some(until);
        Polled::Idle(Some(until))
    }

    fn hand_on(&mut self) -> Polled {
        self.held = None;
        let mut batch = self.builder.take(Batch::default());
        batch.set_home(self.home);
        #[cfg(seeded_bugs)]
        if std::mem::take(&mut self.leaves_one_out) {
            batch.retain(|i, _| i > 0);
        }
        if batch.capacity() > SMALLEST_PIECE {
            let row = batch.footprint() / batch.capacity();
            self.piece = (PIECE / row.max(1)).max(SMALLEST_PIECE);
        }
        let c = &self.counters;
        c.decoded.add(batch.came() as u64);
        c.bytes.add(batch.came_bytes() as u64);
        c.batches.add(1);
        c.allocated.set(self.builder.allocated());
        self.budget.saw(batch.came() as u64);
        Polled::Batch(batch)
    }

    /// Applies the policy to what could not be decoded.
    fn settle_rejects(&mut self) -> Result<(), JobError> {
        if self.builder.rejects().is_empty() {
            return Ok(());
        }
        for (reject, origin) in self.builder.take_rejects_with_origins() {
            self.counters.rejected.add(1);
            self.budget.saw(1);
            let place = place_of(&reject, origin.as_deref());
            if let Some(limit) = self.budget.reject(reject.error.code) {
                return Err(JobError::Budget { limit, last: format!("{place}: {}", reject.error) });
            }
            match decide(self.on_error, Failure::Record, 0, Duration::ZERO, self.retry_budget, 0.0) {
                Decision::Skip => {
                    self.counters.skipped.add(1);
                    log::debug!("source {}: skipped {place}: {}", self.name, reject.error);
                }
                Decision::DeadLetter => {
                    self.counters.dead_lettered.add(1);
                    self.letters.push_back(DeadLetter {
                        source: self.name.clone(),
                        position: place,
                        stage: format!("source {}", self.name),
                        error: reject.error,
                        raw: reject.raw,
                        headers: Vec::new(),
                        time: self.clock.now_micros(),
                        spot: match self.has_topics {
                            true => Spot::of_message(origin.as_deref(), reject.offset),
                            false => Spot { offset: Some(reject.offset), ..Spot::default() },
                        },
                    });
                }
                Decision::Retry(_) | Decision::Fail => {
                    return Err(JobError::Record {
                        stage: format!("source {}", self.name),
                        place,
                        error: reject.error,
                        hint: "to go on without such records use SET on_error = 'skip' (or 'dlq' with SET dlq = \
                               'bad.jsonl'); for this source alone, on_error = 'skip' in its WITH (…) or in \
                               read_json('file', on_error = 'skip')"
                            .into(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// `flights.csv:17 (byte 1234)`, as far as it is known.
fn place_of(reject: &Reject, origin: Option<&str>) -> String {
    match (origin, reject.line) {
        (Some(o), Some(l)) => format!("{o}:{l} (byte {})", reject.offset),
        (Some(o), None) => format!("{o}, offset {}", reject.offset),
        (None, Some(l)) => format!("line {l} (byte {})", reject.offset),
        (None, None) => format!("offset {}", reject.offset),
    }
}

/// A number in [0, 1) from a seed (SplitMix64's finalizer): spreads retries, nothing more.
pub(super) fn pseudo_random(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// Adds the deep copies that `work` makes on this thread to a stage's account.
pub(super) fn counting_copies<T>(counter: &crate::observe::Counter, work: impl FnOnce() -> T) -> T {
    let before = deep_copies_on_this_thread();
    let result = work();
    let made = deep_copies_on_this_thread() - before;
    if made > 0 {
        counter.add(made);
    }
    result
}
