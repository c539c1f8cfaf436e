//! A sink on its way through the job: writes batches, applies the error policy, flushes when idle.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dead_letter::Spot;
use super::laps::Laps;
use super::message::Parcel;
use super::policy::{Decision, ErrorBudget, Failure, decide};
use super::source_stage::pseudo_random;
use super::{DeadLetter, JobConfig, JobError, OnError};
use crate::io::{BatchEncoder, DataWriter, IoErrorKind, Refused};
use crate::observe::{SinkCounters, expect_equal};
use crate::record::{Batch, Clock, Pools, Position, StreamRecord, deep_copies_on_this_thread};

const GO_ON: &str = "to go on without such records use SET on_error = 'skip' or SET on_error = 'dlq' with SET dlq = \
                     'bad.jsonl'";

/// An open sink with everything that belongs to it. Moves between threads at batch boundaries.
pub(super) struct SinkStage {
    pub(super) name: String,
    pub(super) counters: Arc<SinkCounters>,
    /// Letters that the stage made and nobody took yet.
    pub(super) letters: Vec<DeadLetter>,
    /// Whether somebody wants to know how long batches took.
    pub(super) reports_latency: bool,
    /// How long the last batch took from its first record read to being written.
    pub(super) last_latency: Duration,
    inbox: VecDeque<Parcel>,
    /// Records of the batch in hand that the writer took or that were settled.
    taken: usize,
    retry: Option<(u32, Duration)>,
    not_before: Option<Duration>,
    writer: Box<dyn DataWriter>,
    on_error: OnError,
    budget: Arc<ErrorBudget>,
    clock: Clock,
    retry_budget: Duration,
    linger: Duration,
    /// Its output is staged at each barrier, and shown when that is committed.
    pub(super) staged: bool,
    /// Since when something may be buffered in the writer.
    unflushed: Option<Instant>,
}

impl SinkStage {
    pub(super) fn new(
        name: String,
        mut writer: Box<dyn DataWriter>,
        config: &JobConfig,
        on_error: OnError,
        budget: Arc<ErrorBudget>,
    ) -> Self {
        writer.use_clock(&config.clock);
        Self {
            name,
            counters: Arc::default(),
            letters: Vec::new(),
            reports_latency: config.batch_strategy == super::BatchStrategy::Adaptive,
            last_latency: Duration::ZERO,
            inbox: VecDeque::new(),
            taken: 0,
            retry: None,
            not_before: None,
            writer,
            on_error,
            budget,
            clock: config.clock.clone(),
            retry_budget: config.retry_budget,
            linger: config.batch_linger,
            staged: false,
            unflushed: None,
        }
    }

    /// Puts a batch behind those that wait to be written.
    pub(super) fn offer(&mut self, parcel: Parcel) {
        self.counters.received.add(parcel.batch().len() as u64);
        #[cfg(seeded_bugs)]
        if crate::record::seeded::is(crate::record::seeded::Bug::DropOnFullQueue) && !self.inbox.is_empty() {
            self.counters.written.add(parcel.batch().len() as u64);
            return;
        }
        self.inbox.push_back(parcel);
    }

    /// Whether everything offered was written.
    pub(super) fn is_clear(&self) -> bool {
        self.inbox.is_empty()
    }

    /// Until when the sink wants to be left alone, on the clock's monotonic scale.
    pub(super) fn paused_until(&self) -> Duration {
        self.not_before.unwrap_or_default()
    }

    /// Writes what was offered. `Some(until)`: the sink asked for a pause until that time on the clock's monotonic scale.
    pub(super) fn advance(&mut self, pools: &Pools, laps: &mut Laps) -> Result<Option<Duration>, JobError> {
        while let Some(parcel) = self.inbox.pop_front() {
            if let Some(until) = self.not_before
                && self.clock.monotonic() < until
            {
                self.inbox.push_front(parcel);
                return Ok(Some(until));
            }
            let copies = deep_copies_on_this_thread();
            let until = self.write(parcel.batch())?;
            let made = deep_copies_on_this_thread() - copies;
            if made > 0 {
                self.counters.deep_copies.add(made);
            }
            laps.busy(&self.counters.times);
            if let Some(until) = until {
                self.inbox.push_front(parcel);
                self.not_before = Some(until);
                return Ok(Some(until));
            }
            self.wrote(parcel.batch(), laps.now());
            self.settle_late()?;
            match parcel {
                Parcel::Own(batch) => pools.give(batch),
                Parcel::Shared(batch) => pools.give_shared(batch),
            }
        }
        Ok(None)
    }

    fn wrote(&mut self, batch: &Batch, now: Instant) {
        (self.taken, self.retry, self.not_before) = (0, None, None);
        self.counters.batches.add(1);
        self.counters.bytes.add(batch.bytes() as u64);
        // Rows that an operator made of its state were born of no batch.
        self.unflushed.get_or_insert(now);
        let Some(born) = batch.born() else { return };
        self.last_latency = now.saturating_duration_since(born);
        let latency = self.last_latency.as_nanos() as u64;
        if latency > self.counters.max_latency.get() {
            self.counters.max_latency.set(latency);
        }
    }

    /// Writes a batch from where the last attempt stopped. `Some(until)`: not all of it; try again then.
    fn write(&mut self, batch: &Batch) -> Result<Option<Duration>, JobError> {
        while let Some(records) = batch.records().get(self.taken..).filter(|r| !r.is_empty()) {
            let written = match batch.encoded().filter(|_| self.taken == 0) {
                Some(encoded) => self.writer.write_encoded(records, encoded),
                None => self.writer.write(records),
            };
            let error = match written {
                Ok(()) => {
                    self.counters.written.add(records.len() as u64);
                    return Ok(None);
                }
                #[cfg(seeded_bugs)]
                Err(error)
                    if !matches!(error.kind(), IoErrorKind::Rejected { .. })
                        && crate::record::seeded::is(crate::record::seeded::Bug::IgnoredDeliveryError) =>
                {
                    self.counters.written.add(records.len() as u64);
                    return Ok(None);
                }
                Err(error) => error,
            };
            let refused = match error.kind() {
                IoErrorKind::Rejected { at, .. } => Some((*at).min(records.len() - 1)),
                _ => None,
            };
            if let Some(at) = refused.filter(|&at| at > 0) {
                self.counters.written.add(at as u64);
                self.taken += at;
                self.retry = None;
            }
            let failure = match refused {
                Some(_) => Failure::SinkRecord,
                None if error.is_transient() => Failure::Transient,
                None => Failure::Fatal,
            };
            let now = self.clock.monotonic();
            let (attempt, since) = self.retry.unwrap_or((0, now));
            let jitter = pseudo_random(now.as_nanos() as u64 ^ u64::from(attempt));
            let spent = now.saturating_sub(since);
            match decide(self.on_error, failure, attempt, spent, self.retry_budget, jitter) {
                Decision::Retry(after) => {
                    log::warn!("sink {}: {error}; trying again in {after:?}", self.name);
                    self.counters.retries.add(1);
                    self.retry = Some((attempt + 1, since));
                    return Ok(Some(now + after));
                }
                Decision::Fail if refused.is_none() => {
                    return Err(JobError::io(format!("sink {}", self.name), error));
                }
                decision => {
                    self.settle(
                        batch.records().get(self.taken),
                        batch.origin().map(|o| &**o),
                        error,
                        decision,
                    )?;
                    self.taken += 1;
                    self.retry = None;
                }
            }
        }
        Ok(None)
    }

    /// Applies the policy to the record that the writer refused.
    fn settle(
        &mut self,
        record: Option<&Arc<StreamRecord>>,
        origin: Option<&str>,
        error: crate::io::IoError,
        decision: Decision,
    ) -> Result<(), JobError> {
        let Some(record) = record else { return Ok(()) };
        let stage = format!("sink {}", self.name);
        let error = match error.kind() {
            IoErrorKind::Rejected { error, .. } => error.clone(),
            _ => return Err(JobError::io(stage, error)),
        };
        self.counters.rejected.add(1);
        if let Some(limit) = self.budget.reject(error.code) {
            return Err(JobError::Budget { limit, last: error.to_string() });
        }
        match decision {
            Decision::Skip => {
                log::debug!("{stage}: skipped a record: {error}");
                self.counters.skipped.add(1);
            }
            Decision::DeadLetter => {
                self.counters.dead_lettered.add(1);
                self.letters.push(DeadLetter::of_record(
                    record,
                    origin,
                    &stage,
                    error,
                    self.clock.now_micros(),
                ));
            }
            Decision::Retry(_) | Decision::Fail => {
                return Err(JobError::Record {
                    stage,
                    place: super::dead_letter::place(record, origin),
                    error,
                    hint: GO_ON.into(),
                });
            }
        }
        Ok(())
    }

    /// Applies the policy to records that the writer had taken and that were refused later: they were counted as written.
    fn settle_late(&mut self) -> Result<(), JobError> {
        for Refused { place, raw, error } in self.writer.take_refused() {
            let stage = format!("sink {}", self.name);
            self.counters.written.set(self.counters.written.get().saturating_sub(1));
            self.counters.rejected.add(1);
            if let Some(limit) = self.budget.reject(error.code) {
                return Err(JobError::Budget { limit, last: error.to_string() });
            }
            // It can't be written again in its place: `retry` is left to the sink itself.
            match decide(self.on_error, Failure::Record, 0, Duration::ZERO, self.retry_budget, 0.0) {
                Decision::Skip => {
                    log::debug!("{stage}: skipped a record: {error}");
                    self.counters.skipped.add(1);
                }
                Decision::DeadLetter => {
                    self.counters.dead_lettered.add(1);
                    let time = self.clock.now_micros();
                    let headers = Vec::new();
                    let source = String::new();
                    self.letters.push(DeadLetter {
                        source,
                        position: place,
                        stage,
                        error,
                        raw,
                        headers,
                        time,
                        spot: Spot::default(),
                    });
                }
                Decision::Retry(_) | Decision::Fail => {
                    return Err(JobError::Record { stage, place, error, hint: GO_ON.into() });
                }
            }
        }
        Ok(())
    }

    /// Flushes if something has been buffered for `linger`.
    pub(super) fn flush_if_due(&mut self, laps: &mut Laps) -> Result<(), JobError> {
        match self.unflushed {
            Some(since) if laps.now().saturating_duration_since(since) >= self.linger => {
                self.flush()?;
                laps.busy(&self.counters.times);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Encodes for its writer, if that lets others do it.
    pub(super) fn encoder(&self) -> Option<Box<dyn BatchEncoder>> {
        self.writer.encoder()
    }

    pub(super) fn has_unflushed(&self) -> bool {
        self.unflushed.is_some()
    }

    pub(super) fn linger(&self) -> Duration {
        self.linger.max(Duration::from_micros(100))
    }

    /// Waits on the stage's own thread, at most a tick, until it is worth trying again.
    pub(super) fn pause(&self, until: Duration) {
        let left = until.saturating_sub(self.clock.monotonic());
        std::thread::park_timeout(left.min(super::edge::TICK));
    }

    pub(super) fn flush(&mut self) -> Result<(), JobError> {
        self.unflushed = None;
        let flushed = self.writer.flush();
        self.settle_late()?;
        flushed.map_err(|e| JobError::io(format!("sink {}", self.name), e))
    }

    /// From now on the output is staged; the first epoch is `epoch`.
    pub(super) fn stage(&mut self, epoch: u64) -> Result<(), JobError> {
        self.staged = true;
        self.writer.begin(epoch).map_err(|e| JobError::io(format!("sink {}", self.name), e))
    }

    /// Shows the output of a committed epoch.
    pub(super) fn publish(&mut self, epoch: u64) -> Result<(), JobError> {
        if !self.staged {
            return Ok(());
        }
        self.writer.commit(epoch).map_err(|e| JobError::io(format!("sink {}", self.name), e))
    }

    /// Makes everything durable, as the output of `epoch`, and says where the sink stands.
    pub(super) fn sync(&mut self, epoch: u64) -> Result<Position, JobError> {
        let c = &self.counters;
        expect_equal(
            &format!("sink {}", self.name),
            "received = written + rejected",
            c.received.get(),
            c.written.get() + c.rejected.get(),
        )
        .map_err(JobError::Ledger)?;
        self.unflushed = None;
        let synced = match self.staged {
            false => self.writer.sync(),
            true => self.writer.prepare(epoch).and_then(|at| self.writer.begin(epoch + 1).map(|()| at)),
        };
        self.settle_late()?;
        synced.map_err(|e| JobError::io(format!("sink {}", self.name), e))
    }

    /// What must never happen: whatever was lost, it counts as written.
    #[cfg(seeded_bugs)]
    pub(super) fn sync_regardless(&mut self) -> Result<Position, JobError> {
        self.inbox.clear();
        self.writer.sync().map_err(|e| JobError::io(format!("sink {}", self.name), e))
    }

    /// The last call.
    pub(super) fn finish(&mut self) -> Result<(), JobError> {
        self.unflushed = None;
        let finished = self.writer.finish();
        self.settle_late()?;
        finished.map_err(|e| JobError::io(format!("sink {}", self.name), e))
    }
}
