//! The processor: takes batches from the sources, runs them through the operators, hands them to the sinks.
//!
//! Sources and sinks are *here* (the processor calls them: inline execution) or *away* (on a thread of their own, behind an
//! edge); each can change its place at a batch boundary. One round of the loop is what `step` does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, unbounded};
use parking_lot::Mutex;

use super::commit::Commits;
use super::core::Core;
use super::edge::{Closed, TICK};
use super::message::{Message, Parcel};
use super::placement::{Autopilot, Costs, Placement};
use super::policy::ErrorBudget;
use super::shared::{Shared, Stop};
use super::sink_stage::SinkStage;
use super::source_stage::{Polled, SourceStage, counting_copies};
use super::stage_thread::{Control, SinkEvent, SinkThread, SourceThread, spawn_sink, spawn_source};
use super::{DeadLetter, JobConfig, JobError, dead_letter_schema};
use crate::observe::{
    Ledger, PlacementDecision, SinkCounters, SinkEntry, SourceCounters, SourceEntry, expect_equal,
};
use crate::record::{Batch, Pools, Position, Schema};
use crate::state::{Checkpoint, StateDir};

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
    /// Earlier sources that feed the same sinks.
    after: Vec<usize>,
    bounded: bool,
    /// Position before its first record.
    start: Position,
    /// Position after its last record.
    ended: Option<Position>,
    stopping: bool,
}

pub(super) struct Outflow {
    name: String,
    counters: Arc<SinkCounters>,
    place: SinkPlace,
    /// Records sent before the last barrier.
    at_barrier: u64,
}

/// State of a job with a state directory.
pub(super) struct Keeping {
    pub(super) dir: Arc<StateDir>,
    pub(super) commits: Commits,
    pub(super) plan: u32,
    /// States of the operators at the barrier of the epoch under way.
    pub(super) operators: Vec<(String, Vec<u8>)>,
    /// The dead letter queue, which comes last, was asked to make the epoch durable.
    pub(super) letters_asked: bool,
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
    records: u64,
    batches: u64,
    started: Instant,
    outbox: Vec<(usize, Parcel)>,
    turn: usize,
    natural_end: bool,
    done: bool,
}

/// The parts that [`Driver::new`] puts together.
pub(super) struct Parts {
    pub(super) sources: Vec<(SourceStage, Vec<usize>)>,
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
            .map(|(stage, after)| Inflow {
                name: stage.name.clone(),
                counters: stage.counters.clone(),
                bounded: stage.is_bounded(),
                start: stage.position(),
                place: SourcePlace::Here(Box::new(stage)),
                after,
                ended: None,
                stopping: false,
            })
            .collect();
        let outflows: Vec<Outflow> = parts
            .sinks
            .into_iter()
            .map(|stage| Outflow {
                name: stage.name.clone(),
                counters: stage.counters.clone(),
                place: SinkPlace::Here(Box::new(stage)),
                at_barrier: 0,
            })
            .collect();
        let core = Arc::new(Mutex::new(parts.core));
        let mut view = shared.live.lock();
        view.core = Some(core.clone());
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
            records: 0,
            batches: 0,
            started: Instant::now(),
            outbox: Vec::new(),
            turn: 0,
            natural_end: true,
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
        let now = self.started.elapsed();
        self.autopilot =
            Some(Autopilot::new(self.inflows.len(), self.outflows.len(), self.config.threads, now));
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
        let mut worked = false;
        let mut until: Option<Duration> = None;
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
        self.commit_if_due()?;
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

    /// Whether a source may be read now: it has not ended, its barrier has not arrived before others', and no earlier bounded
    /// source that feeds the same sinks is still being read.
    fn may_read(&self, i: usize) -> bool {
        let Some(inflow) = self.inflows.get(i) else { return false };
        inflow.ended.is_none()
            && !self.keeping.as_ref().is_some_and(|k| k.commits.holds(i))
            && !self.waits_for_others(inflow)
    }

    fn waits_for_others(&self, inflow: &Inflow) -> bool {
        let unfinished = |&p: &usize| self.inflows.get(p).is_some_and(|s| s.bounded && s.ended.is_none());
        inflow.bounded && inflow.after.iter().any(unfinished)
    }

    fn take_from(&mut self, i: usize, wait: Duration) -> Result<Taken, JobError> {
        let Some(inflow) = self.inflows.get_mut(i) else { return Ok(Taken::Nothing(None)) };
        match &mut inflow.place {
            SourcePlace::Here(stage) => {
                let start = Instant::now();
                let counters = stage.counters.clone();
                let polled = counting_copies(&counters.deep_copies, || stage.poll(wait, || true))?;
                let letters: Vec<_> = stage.letters.drain(..).collect();
                let spent = start.elapsed();
                match polled {
                    Polled::Batch(batch) => {
                        counters.times.busy.add_time(spent);
                        counters.forwarded.add(batch.len() as u64);
                        self.post(letters)?;
                        self.process(i, batch)?;
                        Ok(Taken::Something)
                    }
                    Polled::Idle(until) => {
                        counters.times.waiting.add_time(spent);
                        let worked = !letters.is_empty();
                        self.post(letters)?;
                        Ok(if worked { Taken::Something } else { Taken::Nothing(until) })
                    }
                    Polled::End => {
                        counters.times.busy.add_time(spent);
                        let position = stage.position();
                        self.post(letters)?;
                        self.source_ended(i, position)?;
                        Ok(Taken::Something)
                    }
                }
            }
            SourcePlace::Away(thread) => {
                let received = match thread.edge.try_recv() {
                    Ok(None) if !wait.is_zero() => thread.edge.recv(wait),
                    received => received,
                };
                match received {
                    Ok(Some(message)) => self.take_message(i, message),
                    Ok(None) => Ok(Taken::Nothing(None)),
                    Err(Closed) => Err(self.source_died(i)),
                }
            }
            SourcePlace::Nowhere => Ok(Taken::Nothing(None)),
        }
    }

    fn take_message(&mut self, i: usize, message: Message) -> Result<Taken, JobError> {
        match message {
            Message::Parcel(Parcel::Own(batch)) => self.process(i, batch)?,
            Message::Parcel(Parcel::Shared(_)) => {}
            Message::Letters(letters) => self.post(letters)?,
            Message::Barrier { epoch, position, count } => {
                self.check_arrived(i, count)?;
                if let Some(keeping) = &mut self.keeping {
                    keeping.commits.arrived(i, epoch, position);
                }
            }
            Message::End { position } => {
                self.bring_source_home(i)?;
                self.source_ended(i, position)?;
            }
            Message::Detach => self.bring_source_home(i)?,
        }
        Ok(Taken::Something)
    }

    /// Everything that a reader's thread sent before its barrier must have arrived.
    fn check_arrived(&self, i: usize, sent: u64) -> Result<(), JobError> {
        let arrived = self.core.lock().inlets.get(i).map_or(0, |s| s.arrived);
        let name = self.inflows.get(i).map_or("", |s| s.name.as_str());
        expect_equal(&format!("source {name}"), "forwarded = arrived at the processor", sent, arrived)
            .map_err(JobError::Ledger)
    }

    /// Joins a reader thread that said `End` or `Detach`.
    fn bring_source_home(&mut self, i: usize) -> Result<(), JobError> {
        let Some(inflow) = self.inflows.get_mut(i) else { return Ok(()) };
        if let SourcePlace::Away(thread) = std::mem::replace(&mut inflow.place, SourcePlace::Nowhere) {
            let mut stage = thread.thread.join()?;
            if inflow.stopping {
                // It may have left before it heard of the stop.
                stage.stop();
            }
            inflow.place = SourcePlace::Here(Box::new(stage));
        }
        Ok(())
    }

    /// The edge closed without `End`: the thread's own reason is the error.
    fn source_died(&mut self, i: usize) -> JobError {
        match self.bring_source_home(i) {
            Err(e) => e,
            Ok(()) => JobError::Aborted,
        }
    }

    fn source_ended(&mut self, i: usize, position: Position) -> Result<(), JobError> {
        let Some(inflow) = self.inflows.get_mut(i) else { return Ok(()) };
        if inflow.ended.is_some() {
            return Ok(());
        }
        if inflow.stopping && !self.core.lock().inlets.get(i).is_some_and(|s| s.done) {
            self.natural_end = false;
        }
        inflow.ended = Some(position.clone());
        if let Some(keeping) = &mut self.keeping
            && !keeping.commits.is_idle()
        {
            let epoch = keeping.commits.epoch();
            keeping.commits.arrived(i, epoch, position);
        }
        let mut core = self.core.lock();
        core.lock_acquisitions += 1;
        core.end(i)?;
        std::mem::swap(&mut core.outbox, &mut self.outbox);
        let letters = std::mem::take(&mut core.letters);
        drop(core);
        self.post(letters)?;
        self.deliver()
    }

    /// Runs one batch through the operators – the one place where the engine lock is taken per batch – and delivers the results.
    fn process(&mut self, i: usize, batch: Batch) -> Result<(), JobError> {
        let start = Instant::now();
        self.records += batch.len() as u64;
        self.batches += 1;
        let mut core = self.core.lock();
        core.push(i, batch)?;
        std::mem::swap(&mut core.outbox, &mut self.outbox);
        let letters = if core.letters.is_empty() { Vec::new() } else { std::mem::take(&mut core.letters) };
        let done = core.inlets.get(i).is_some_and(|s| s.done);
        drop(core);
        self.shared.process.add_time(start.elapsed());
        if done {
            self.stop_sources_that_are_done();
        }
        self.post(letters)?;
        self.deliver()
    }

    fn stop_sources_that_are_done(&mut self) {
        let done: Vec<bool> = self.core.lock().inlets.iter().map(|s| s.done).collect();
        for (i, done) in done.into_iter().enumerate() {
            if done {
                self.stop_source(i);
            }
        }
    }

    fn stop_source(&mut self, i: usize) {
        let Some(inflow) = self.inflows.get_mut(i) else { return };
        if inflow.stopping {
            return;
        }
        inflow.stopping = true;
        match &mut inflow.place {
            SourcePlace::Here(stage) => stage.stop(),
            SourcePlace::Away(thread) => {
                // A thread that is gone already has ended.
                let _ = thread.control.send(Control::Stop);
            }
            SourcePlace::Nowhere => {}
        }
    }

    fn obey_stop(&mut self) {
        if matches!(self.shared.stop_requested(), Some(Stop::Drain | Stop::Checkpoint)) {
            (0..self.inflows.len()).for_each(|i| self.stop_source(i));
        }
    }

    /// Hands the outbox to the sinks.
    fn deliver(&mut self) -> Result<(), JobError> {
        let mut outbox = std::mem::take(&mut self.outbox);
        for (k, parcel) in outbox.drain(..) {
            self.deliver_one(k, parcel)?;
        }
        self.outbox = outbox;
        Ok(())
    }

    fn deliver_one(&mut self, k: usize, parcel: Parcel) -> Result<(), JobError> {
        let Some(outflow) = self.outflows.get_mut(k) else { return Ok(()) };
        outflow.counters.sent.add(parcel.batch().len() as u64);
        match &mut outflow.place {
            SinkPlace::Here(stage) => {
                stage.offer(parcel);
                self.advance_sink(k)?;
                Ok(())
            }
            SinkPlace::Away(_) => self.send(k, Message::Parcel(parcel)),
            SinkPlace::Nowhere => Err(JobError::Aborted),
        }
    }

    fn send(&mut self, k: usize, message: Message) -> Result<(), JobError> {
        let Some(outflow) = self.outflows.get_mut(k) else { return Ok(()) };
        let SinkPlace::Away(thread) = &mut outflow.place else { return Ok(()) };
        let (shared, limit, name) = (&self.shared, self.config.stall_warning, &outflow.name);
        let mut warned = false;
        let sent = thread.edge.send(message, |waited| {
            if waited >= limit && !warned {
                warned = true;
                log::warn!("sink {name} has taken nothing for {waited:.0?}: it holds up the job");
            }
            !shared.is_cancelled()
        });
        match sent {
            Ok(waited) => {
                outflow.counters.times.blocked.add_time(waited);
                Ok(())
            }
            Err(Closed) if self.shared.is_cancelled() => Err(JobError::Aborted),
            Err(Closed) => Err(match self.bring_sink_home(k) {
                Err(e) => e,
                Ok(()) => JobError::Aborted,
            }),
        }
    }

    fn bring_sink_home(&mut self, k: usize) -> Result<(), JobError> {
        let Some(outflow) = self.outflows.get_mut(k) else { return Ok(()) };
        if let SinkPlace::Away(thread) = std::mem::replace(&mut outflow.place, SinkPlace::Nowhere) {
            drop(thread.edge);
            outflow.place = SinkPlace::Here(Box::new(thread.thread.join()?));
        }
        Ok(())
    }

    /// Lets a sink that is here write what it was offered.
    fn advance_sink(&mut self, k: usize) -> Result<Option<Duration>, JobError> {
        let Some(outflow) = self.outflows.get_mut(k) else { return Ok(None) };
        let SinkPlace::Here(stage) = &mut outflow.place else { return Ok(None) };
        let start = Instant::now();
        let until = stage.advance(&self.pools)?;
        outflow.counters.times.busy.add_time(start.elapsed());
        if stage.reports_latency {
            let latency = stage.last_latency;
            self.learn(usize::MAX, latency);
        }
        let Some(Outflow { place: SinkPlace::Here(stage), .. }) = self.outflows.get_mut(k) else {
            return Ok(until);
        };
        let letters = std::mem::take(&mut stage.letters);
        self.post(letters)?;
        Ok(until)
    }

    /// Continues sinks that asked for a pause.
    fn advance_sinks(&mut self) -> Result<Option<Duration>, JobError> {
        let mut earliest = None;
        for k in 0..self.outflows.len() {
            let waiting = matches!(self.outflows.get(k), Some(Outflow { place: SinkPlace::Here(s), .. }) if !s.is_clear());
            if waiting && let Some(until) = self.advance_sink(k)? {
                earliest = Some(earliest.map_or(until, |e: Duration| e.min(until)));
            }
        }
        Ok(earliest)
    }

    /// Until when a sink that is here wants to be left alone.
    fn sinks_paused(&self) -> Option<Duration> {
        self.outflows
            .iter()
            .filter_map(|s| match &s.place {
                SinkPlace::Here(stage) if !stage.is_clear() => Some(stage.paused_until()),
                _ => None,
            })
            .min()
    }

    fn flush_idle_sinks(&mut self) -> Result<(), JobError> {
        for outflow in &mut self.outflows {
            if let SinkPlace::Here(stage) = &mut outflow.place {
                let start = Instant::now();
                stage.flush_if_due(false)?;
                outflow.counters.times.busy.add_time(start.elapsed());
            }
        }
        Ok(())
    }

    fn learn(&mut self, rows: usize, latency: Duration) {
        for inflow in &mut self.inflows {
            if let SourcePlace::Here(stage) = &mut inflow.place {
                stage.batching.learn(rows, latency);
            }
        }
    }

    fn take_events(&mut self) -> Result<(), JobError> {
        while let Ok(event) = self.events.try_recv() {
            match event {
                SinkEvent::Durable { sink, epoch, position, received } => {
                    if let Some(s) = self.outflows.get(sink) {
                        expect_equal(&format!("sink {}", s.name), "sent = received", s.at_barrier, received)
                            .map_err(JobError::Ledger)?;
                    }
                    if let Some(keeping) = &mut self.keeping {
                        keeping.commits.durable(sink, epoch, position);
                    }
                }
                SinkEvent::Letters { sink, letters } => {
                    if self.keeping.as_ref().is_some_and(|k| k.commits.is_before_barrier(sink)) {
                        self.post_now(letters)?;
                    } else {
                        self.post(letters)?;
                    }
                }
                SinkEvent::Latency { rows, latency } => self.learn(rows, latency),
            }
        }
        Ok(())
    }

    /// Sends dead letters to their queue, after its barrier.
    fn post(&mut self, mut letters: Vec<DeadLetter>) -> Result<(), JobError> {
        if !letters.is_empty()
            && self.keeping.as_ref().is_some_and(|k| k.commits.is_syncing() && !k.letters_asked)
        {
            self.later_letters.append(&mut letters);
            return Ok(());
        }
        self.post_now(letters)
    }

    fn post_now(&mut self, letters: Vec<DeadLetter>) -> Result<(), JobError> {
        let Some(k) = self.letter_box.filter(|_| !letters.is_empty()) else { return Ok(()) };
        self.letters_made += letters.len() as u64;
        let only = if let [one] = self.inflows.as_slice() { one.name.as_str() } else { "" };
        let records = letters
            .into_iter()
            .map(|mut l| {
                if l.source.is_empty() {
                    only.clone_into(&mut l.source);
                }
                l
            })
            .map(|l| Arc::new(l.into_record(&self.config.name, &self.letter_schema)))
            .collect();
        let mut batch = Batch::new(records);
        batch.set_home(u16::MAX);
        batch.set_bytes(batch.footprint());
        batch.set_born(Some(Instant::now()));
        self.deliver_one(k, Parcel::Own(batch))
    }

    /// Waits until a source on a thread has something, at most `wait`.
    fn wait_for_any(&self, wait: Duration) {
        let mut select = Select::new();
        let mut waiting = 0;
        for inflow in &self.inflows {
            if let SourcePlace::Away(thread) = &inflow.place {
                select.recv(thread.edge.channel());
                waiting += 1;
            }
        }
        let here = self.inflows.len() - waiting;
        // Sources that are here can't wake us: look again soon.
        let wait = if here > 0 { Duration::from_millis(1) } else { wait };
        if waiting > 0 {
            let _ = select.ready_timeout(wait);
        } else {
            std::thread::park_timeout(wait);
        }
    }

    fn commits_idle(&self) -> bool {
        self.keeping.as_ref().is_none_or(|k| k.commits.is_idle())
    }

    /// Begins, continues or completes an epoch.
    fn commit_if_due(&mut self) -> Result<(), JobError> {
        let Some(keeping) = &mut self.keeping else { return Ok(()) };
        let now = self.config.clock.monotonic();
        if keeping.commits.is_due(now) {
            self.begin_epoch(now);
        }
        self.align_sources_that_are_here();
        if let Some(epoch) = self.keeping.as_mut().and_then(|k| k.commits.take_aligned()) {
            self.check_ledger_under_way()?;
            let operators = self.snapshot_operators()?;
            if let Some(keeping) = &mut self.keeping {
                (keeping.operators, keeping.letters_asked) = (operators, false);
            }
            self.sync_sinks(epoch)?;
        }
        self.take_events()?;
        self.sync_letter_box()?;
        let Some(keeping) = &mut self.keeping else { return Ok(()) };
        if let Some(epoch) = keeping.commits.take_complete() {
            self.save(epoch.number, &epoch.sources, &epoch.sinks, false)?;
        }
        Ok(())
    }

    fn begin_epoch(&mut self, now: Duration) {
        let positions: Vec<_> = self
            .inflows
            .iter()
            .map(|s| match &s.place {
                _ if s.ended.is_some() => s.ended.clone(),
                SourcePlace::Here(stage) => Some(stage.position()),
                // What its thread has read ahead waits in its edge: nothing of it has been processed, and its barrier
                // could not arrive before the other sources end.
                _ if self.waits_for_others(s) => Some(s.start.clone()),
                _ => None,
            })
            .collect();
        let open: Vec<bool> = positions.iter().map(Option::is_none).collect();
        let Some(keeping) = &mut self.keeping else { return };
        let epoch = keeping.commits.begin(positions, now);
        for (inflow, open) in self.inflows.iter().zip(open) {
            if let (SourcePlace::Away(thread), true) = (&inflow.place, open) {
                let _ = thread.control.send(Control::Barrier(epoch));
            }
        }
    }

    /// A source whose thread came home before it saw the barrier stands behind what was processed.
    fn align_sources_that_are_here(&mut self) {
        let Some(keeping) = &mut self.keeping else { return };
        let epoch = keeping.commits.epoch();
        for (i, inflow) in self.inflows.iter().enumerate() {
            if let SourcePlace::Here(stage) = &inflow.place
                && keeping.commits.awaits(i)
            {
                keeping.commits.arrived(i, epoch, stage.position());
            }
        }
    }

    /// The part of the ledger that can be checked while other threads work.
    fn check_ledger_under_way(&self) -> Result<(), JobError> {
        let ledger = self.ledger();
        let inline = self.inflows.iter().all(|s| matches!(s.place, SourcePlace::Here(_)))
            && self.outflows.iter().all(|s| matches!(s.place, SinkPlace::Here(_)));
        if inline { ledger.check() } else { ledger.check_processor() }.map_err(JobError::Ledger)
    }

    fn snapshot_operators(&self) -> Result<Vec<(String, Vec<u8>)>, JobError> {
        let mut core = self.core.lock();
        core.lock_acquisitions += 1;
        let mut operators = Vec::with_capacity(core.nodes.len());
        for node in &core.nodes {
            let mut state = crate::state::StateWriter::new();
            node.operator.snapshot(&mut state).map_err(|e| JobError::State(e.to_string()))?;
            operators.push((node.name.clone(), state.into_bytes()));
        }
        Ok(operators)
    }

    /// The dead letter queue comes last, when all letters of the epoch have been posted.
    fn sync_letter_box(&mut self) -> Result<(), JobError> {
        let (Some(k), Some(keeping)) = (self.letter_box, &mut self.keeping) else { return Ok(()) };
        if keeping.letters_asked || !keeping.commits.awaits_only(k) {
            return Ok(());
        }
        keeping.letters_asked = true;
        let epoch = keeping.commits.epoch();
        self.sync_sink(k, epoch)?;
        let letters = std::mem::take(&mut self.later_letters);
        self.post_now(letters)
    }

    /// A sink's thread ends by itself only if it failed; without input nobody would send to it and find out.
    fn look_after_sinks(&mut self) -> Result<(), JobError> {
        let gone = |s: &Outflow| matches!(&s.place, SinkPlace::Away(t) if t.thread.handle.is_finished());
        match self.outflows.iter().position(gone) {
            Some(k) => {
                self.bring_sink_home(k)?;
                Err(JobError::Aborted)
            }
            None => Ok(()),
        }
    }

    fn sync_sinks(&mut self, epoch: u64) -> Result<(), JobError> {
        for k in 0..self.outflows.len() {
            if Some(k) != self.letter_box {
                self.sync_sink(k, epoch)?;
            }
        }
        Ok(())
    }

    fn sync_sink(&mut self, k: usize, epoch: u64) -> Result<(), JobError> {
        let Some(outflow) = self.outflows.get_mut(k) else { return Ok(()) };
        outflow.at_barrier = outflow.counters.sent.get();
        let SinkPlace::Here(stage) = &mut outflow.place else {
            return self.send(k, Message::Barrier { epoch, position: Position::default(), count: 0 });
        };
        let position = stage.sync()?;
        if let Some(keeping) = &mut self.keeping {
            keeping.commits.durable(k, epoch, position);
        }
        Ok(())
    }

    /// Before the first record: a job that fails before its first commit goes on from here, so that its files are cut
    /// back, also those that it appends to.
    pub(super) fn commit_start(&mut self) -> Result<(), JobError> {
        let mut sinks = Vec::with_capacity(self.outflows.len());
        for outflow in &mut self.outflows {
            sinks.push(match &mut outflow.place {
                SinkPlace::Here(stage) => stage.sync()?,
                _ => Position::default(),
            });
        }
        let sources: Vec<Position> = self.inflows.iter().map(|s| s.start.clone()).collect();
        let operators = self.snapshot_operators()?;
        self.write_checkpoint(0, &sources, &sinks, operators, false)
    }

    fn write_checkpoint(
        &self,
        epoch: u64,
        sources: &[Position],
        sinks: &[Position],
        operators: Vec<(String, Vec<u8>)>,
        finished: bool,
    ) -> Result<(), JobError> {
        let Some(keeping) = &self.keeping else { return Ok(()) };
        let names = |list: Vec<&str>, positions: &[Position]| {
            list.into_iter().map(str::to_owned).zip(positions.iter().cloned()).collect()
        };
        let checkpoint = Checkpoint {
            job: self.config.name.clone(),
            plan: keeping.plan,
            engine: env!("CARGO_PKG_VERSION").into(),
            epoch,
            finished,
            sources: names(self.inflows.iter().map(|s| s.name.as_str()).collect(), sources),
            sinks: names(self.outflows.iter().map(|s| s.name.as_str()).collect(), sinks),
            operators,
        };
        keeping.dir.save(&checkpoint).map_err(|e| JobError::State(e.to_string()))
    }

    /// The commit point, then the sources' own commits.
    fn save(
        &mut self,
        epoch: u64,
        sources: &[Position],
        sinks: &[Position],
        finished: bool,
    ) -> Result<(), JobError> {
        let Some(keeping) = &mut self.keeping else { return Ok(()) };
        let operators = std::mem::take(&mut keeping.operators);
        self.write_checkpoint(epoch, sources, sinks, operators, finished)?;
        self.shared.commits.add(1);
        self.shared.live.lock().positions = sources.iter().map(ToString::to_string).collect();
        for (inflow, position) in self.inflows.iter_mut().zip(sources) {
            match &mut inflow.place {
                SourcePlace::Here(stage) => stage.commit(position),
                SourcePlace::Away(thread) => {
                    let _ = thread.control.send(Control::Commit(position.clone()));
                }
                SourcePlace::Nowhere => {}
            }
        }
        Ok(())
    }

    /// Everything was read and processed: end the sinks, check the ledger, commit.
    fn finish(&mut self) -> Result<(), JobError> {
        let order: Vec<usize> =
            (0..self.outflows.len()).filter(|k| Some(*k) != self.letter_box).chain(self.letter_box).collect();
        // A sink that is to go on after a restart gets no footer.
        let whole = self.natural_end || self.keeping.is_none();
        let mut positions = vec![Position::default(); self.outflows.len()];
        for k in order {
            self.drain_sink(k)?;
            let Some(Outflow { place: SinkPlace::Here(stage), .. }) = self.outflows.get_mut(k) else {
                continue;
            };
            if whole {
                stage.finish()?;
            }
            if self.keeping.is_some()
                && let Some(slot) = positions.get_mut(k)
            {
                *slot = stage.sync()?;
            }
            self.take_events()?;
        }
        self.ledger().check().map_err(JobError::Ledger)?;
        if let Some(limit) = self.budget.verdict() {
            return Err(JobError::Budget { limit, last: "see the dead letters or the log".into() });
        }
        if self.keeping.is_some() {
            let sources: Vec<Position> =
                self.inflows.iter().map(|s| s.ended.clone().unwrap_or_default()).collect();
            let operators = self.snapshot_operators()?;
            let epoch = self.keeping.as_ref().map_or(0, |k| k.commits.epoch() + 1);
            if let Some(keeping) = &mut self.keeping {
                keeping.operators = operators;
            }
            self.save(epoch, &sources, &positions, self.natural_end)?;
        }
        self.done = true;
        Ok(())
    }

    /// Waits until a sink has written everything, and has it here.
    fn drain_sink(&mut self, k: usize) -> Result<(), JobError> {
        if matches!(self.outflows.get(k), Some(Outflow { place: SinkPlace::Away(_), .. })) {
            self.send(k, Message::Detach)?;
            self.bring_sink_home(k)?;
            self.take_events()?;
        }
        while let Some(until) = self.advance_sink(k)? {
            if self.shared.is_cancelled() {
                return Err(JobError::Aborted);
            }
            let left = until.saturating_sub(self.config.clock.monotonic());
            std::thread::park_timeout(left.min(TICK));
        }
        Ok(())
    }

    /// The ledger now; it balances when nothing is in flight.
    pub(super) fn ledger(&self) -> Ledger {
        let core = self.core.lock();
        Ledger {
            sources: self
                .inflows
                .iter()
                .enumerate()
                .map(|(i, s)| SourceEntry {
                    name: format!("source {}", s.name),
                    decoded: s.counters.decoded.get(),
                    forwarded: s.counters.forwarded.get(),
                    unread: 0,
                    rejected: s.counters.rejected.get(),
                    dead_lettered: s.counters.dead_lettered.get(),
                    skipped: s.counters.skipped.get(),
                    arrived: core.inlets.get(i).map_or(0, |n| n.arrived),
                })
                .collect(),
            nodes: core.entries(),
            sinks: self
                .outflows
                .iter()
                .enumerate()
                .filter(|(k, _)| Some(*k) != self.letter_box)
                .map(|(k, s)| SinkEntry {
                    name: format!("sink {}", s.name),
                    routed: core.routed.get(k).copied().unwrap_or(0),
                    sent: s.counters.sent.get(),
                    received: s.counters.received.get(),
                    written: s.counters.written.get(),
                    rejected: s.counters.rejected.get(),
                    dead_lettered: s.counters.dead_lettered.get(),
                    skipped: s.counters.skipped.get(),
                })
                .collect(),
            letters_made: self.letters_made,
            letters_written: self
                .letter_box
                .and_then(|k| self.outflows.get(k))
                .map_or(0, |s| s.counters.written.get()),
        }
    }

    /// Lets the autopilot look at the costs, and carries out what it decides.
    fn steer(&mut self) -> Result<(), JobError> {
        let Some(pilot) = &mut self.autopilot else { return Ok(()) };
        // Small batches would pay more for looking at the clock than for their records.
        if !self.batches.is_multiple_of(8) {
            return Ok(());
        }
        let now = self.started.elapsed();
        if !pilot.is_due(now) || !self.keeping.as_ref().is_none_or(|k| k.commits.is_idle()) {
            return Ok(());
        }
        let total = Costs {
            sources: self.inflows.iter().map(|s| s.counters.times.busy.get() as f64 / 1e9).collect(),
            process: self.shared.process.get() as f64 / 1e9,
            sinks: self.outflows.iter().map(|s| s.counters.times.busy.get() as f64 / 1e9).collect(),
            records: self.records,
            batches: self.batches,
        };
        let since = |a: &[f64], b: &[f64]| -> Vec<f64> {
            a.iter().enumerate().map(|(i, x)| x - b.get(i).copied().unwrap_or(0.0)).collect()
        };
        let costs = Costs {
            sources: since(&total.sources, &self.base.sources),
            process: total.process - self.base.process,
            sinks: since(&total.sinks, &self.base.sinks),
            records: total.records - self.base.records,
            batches: total.batches - self.base.batches,
        };
        let Some((placement, reason)) = pilot.look(now, costs) else {
            if pilot.has_looked_at(now) {
                self.base = total;
            }
            return Ok(());
        };
        self.base = total;
        log::debug!("job {}: {}: {reason}", self.config.name, placement.describe());
        {
            let mut view = self.shared.live.lock();
            view.execution = placement.describe();
            view.decisions.push(PlacementDecision {
                at_s: now.as_secs_f64(),
                placement: placement.describe(),
                reason,
            });
        }
        self.place(&placement)?;
        let now = self.started.elapsed();
        if let Some(pilot) = &mut self.autopilot {
            pilot.restart(now);
        }
        Ok(())
    }

    /// Moves stages to threads and back; the threads left over may share the work of large batches.
    fn place(&mut self, placement: &Placement) -> Result<(), JobError> {
        self.core.lock().workers.set_lanes((self.config.threads + 1).saturating_sub(placement.threads()));
        for (i, away) in placement.sources.iter().enumerate() {
            let Some(inflow) = self.inflows.get_mut(i) else { continue };
            if inflow.ended.is_some() {
                continue;
            }
            match (&inflow.place, away) {
                (SourcePlace::Here(_), true) => {
                    if let SourcePlace::Here(stage) =
                        std::mem::replace(&mut inflow.place, SourcePlace::Nowhere)
                    {
                        inflow.place =
                            SourcePlace::Away(spawn_source(i, *stage, &self.config, &self.shared)?);
                    }
                }
                (SourcePlace::Away(thread), false) => {
                    // It comes back when its `Detach` arrives in band.
                    let _ = thread.control.send(Control::Detach);
                }
                _ => {}
            }
        }
        for (k, away) in placement.sinks.iter().enumerate() {
            let Some(outflow) = self.outflows.get_mut(k) else { continue };
            match (&outflow.place, away) {
                (SinkPlace::Here(_), true) => {
                    if let SinkPlace::Here(stage) = std::mem::replace(&mut outflow.place, SinkPlace::Nowhere)
                    {
                        let (config, shared, pools) = (&self.config, &self.shared, &self.pools);
                        let thread = spawn_sink(k, *stage, config, shared, pools, &self.event_sender)?;
                        outflow.place = SinkPlace::Away(thread);
                    }
                }
                (SinkPlace::Away(_), false) => {
                    self.send(k, Message::Detach)?;
                    self.bring_sink_home(k)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// After a failure or cancel: ends all threads. Names of those that did not end in time.
    pub(super) fn abandon(mut self) -> Vec<String> {
        self.shared.cancel();
        let deadline = Instant::now() + self.config.shutdown_deadline;
        let mut left: Vec<(String, Box<dyn Fn() -> bool>)> = Vec::new();
        for inflow in &mut self.inflows {
            if let SourcePlace::Away(thread) = std::mem::replace(&mut inflow.place, SourcePlace::Nowhere) {
                let SourceThread { edge, thread, control } = thread;
                drop((edge, control));
                left.push((thread.name, Box::new(move || thread.handle.is_finished())));
            }
        }
        for outflow in &mut self.outflows {
            if let SinkPlace::Away(thread) = std::mem::replace(&mut outflow.place, SinkPlace::Nowhere) {
                let SinkThread { edge, thread } = thread;
                drop(edge);
                left.push((thread.name, Box::new(move || thread.handle.is_finished())));
            }
        }
        loop {
            left.retain(|(_, finished)| !finished());
            if left.is_empty() || Instant::now() >= deadline {
                return left.into_iter().map(|(name, _)| name).collect();
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

/// What came from a source.
enum Taken {
    Something,
    Nothing(Option<Duration>),
}

#[cfg(test)]
mod loss_tests;
