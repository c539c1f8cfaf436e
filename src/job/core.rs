//! The processor's heart: operators and routes, behind the engine lock.
//!
//! | lock | holders | for |
//! |---|---|---|
//! | engine lock (`Mutex<Core>`) | processor, once per batch | running operators |
//! | | statistics snapshot, commit | copying counters, snapshots |
//! | edge lock (`edge.rs`) | a sender that waits for byte credits | the wait alone |
//!
//! Order: engine lock before edge lock is never needed – batches are delivered after the engine lock is released.

pub(super) mod ahead;
mod ending;
pub(super) mod merge;
pub(super) mod parts;
pub(super) mod snapshot;
pub(super) mod weave;

use std::sync::Arc;
use std::time::Duration;

use super::message::Parcel;
use super::policy::{Decision, ErrorBudget, Failure, decide};
use super::trace::Tracer;
use super::{DeadLetter, JobConfig, JobError, OnError};
use crate::observe::{NodeEntry, NodeStats};
use crate::operator::{Choice, Fatal, InputId, Operator, OperatorCounters, Output, Rejected, Workers};
use crate::plan::InputRef;
use crate::record::{Batch, ErrorCode, Pools, RecordError, StreamRecord};

/// Who takes what a source or node gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Node { node: usize, input: usize },
    Sink(usize),
}

/// One operator with its counters.
pub(super) struct NodeSlot {
    pub(super) name: String,
    pub(super) operator: Box<dyn Operator>,
    targets: Vec<Target>,
    counters: OperatorCounters,
    home: u16,
    /// Fingerprint of what it does.
    spec: u32,
    /// Inputs that have ended.
    ended: Vec<bool>,
    /// The watermark of each input, and the one handed on: the least of them.
    watermarks: Vec<i64>,
    /// Inputs that are silent: left out of the least.
    idle: Vec<bool>,
    watermark: i64,
    done: bool,
    routed: u64,
    emitted: u64,
    dead_lettered: u64,
    skipped: u64,
    late_letters: u64,
    /// When the operator wants to be called, µs on the job's clock.
    timer: Option<i64>,
    batches: Vec<Batch>,
    rejects: Vec<Rejected>,
    /// Merge and lane in which its output waits for that of other sources.
    lane: Option<(usize, usize)>,
    /// Rows behind a place where several inputs meet, on their way together.
    gathered: Option<Batch>,
    /// The input that is being processed, and what came of it that is to be woven.
    input: usize,
    held: Vec<Held>,
    /// Where its state lies although the job wants it on disk.
    pub(super) stays: Option<&'static str>,
}

/// A batch to be woven with others.
struct Held {
    input: usize,
    batch: Batch,
    /// Its first row that is not woven yet.
    next: usize,
}

impl NodeSlot {
    pub(super) fn new(
        name: String,
        spec: u32,
        operator: Box<dyn Operator>,
        targets: Vec<Target>,
        inputs: usize,
        home: u16,
    ) -> Self {
        let timer = operator.next_timer();
        Self {
            name,
            operator,
            targets,
            counters: OperatorCounters::default(),
            home,
            spec,
            ended: vec![false; inputs],
            watermarks: vec![i64::MIN; inputs],
            idle: vec![false; inputs],
            watermark: i64::MIN,
            done: false,
            routed: 0,
            emitted: 0,
            dead_lettered: 0,
            skipped: 0,
            late_letters: 0,
            timer,
            batches: Vec::new(),
            rejects: Vec::new(),
            lane: None,
            gathered: None,
            input: 0,
            held: Vec::new(),
            stays: None,
        }
    }

    fn is_open(&self) -> bool {
        self.ended.contains(&false)
    }
}

/// One source as the processor sees it.
#[derive(Debug)]
pub(super) struct Inlet {
    pub(super) name: String,
    pub(super) targets: Vec<Target>,
    /// Some sink or node is reached on more than one way: rows come out there as if each went all its ways before the next one, so
    /// that the order of the merged output does not depend on the batch size.
    pub(super) diamond: bool,
    /// Where the ways meet, if whole batches can go each of them.
    pub(super) meetings: Option<Arc<weave::Meetings>>,
    /// Nobody downstream wants more.
    pub(super) done: bool,
    pub(super) arrived: u64,
}

/// Operators and routes of a job.
pub(super) struct Core {
    pub(super) inlets: Vec<Inlet>,
    pub(super) nodes: Vec<NodeSlot>,
    /// Batches for sinks, in order; the driver empties it after each call.
    pub(super) outbox: Vec<(usize, Parcel)>,
    /// Dead letters of operators; the driver empties it after each call.
    pub(super) letters: Vec<DeadLetter>,
    /// What operators decided; the driver empties it after each batch.
    pub(super) decisions: Vec<(String, Choice)>,
    /// Records routed to each sink.
    pub(super) routed: Vec<u64>,
    pub(super) batches: u64,
    pub(super) lock_acquisitions: u64,
    pub(super) deep_copies: crate::observe::Counter,
    pools: Pools,
    pub(super) workers: Arc<Workers>,
    on_error: OnError,
    state_max_bytes: usize,
    budget: Arc<ErrorBudget>,
    tracer: Option<Tracer>,
    now: i64,
    /// The source whose records are being processed.
    source: usize,
    /// The file that they come from.
    origin: Option<Arc<str>>,
    /// What is to be done of an end that is under way, the next thing last.
    endings: Vec<ending::Ending>,
    merges: Vec<merge::Merge>,
    /// Which sources a merge lets be read now.
    pub(super) wanted: Vec<bool>,
    /// Where several inputs meet, short batches are gathered.
    gathers: bool,
    /// Where the rows that are being processed meet.
    weaving: Option<Arc<weave::Meetings>>,
    /// Rows of a full batch.
    full: usize,
    /// Where state is cut by the parts of the source.
    parts: Option<Box<parts::Parts>>,
    /// Bytes that each operator holds in other parts than the one at work.
    elsewhere: Vec<usize>,
}

impl Core {
    pub(super) fn new(
        config: &JobConfig,
        inlets: Vec<Inlet>,
        nodes: Vec<NodeSlot>,
        sinks: usize,
        pools: Pools,
        budget: Arc<ErrorBudget>,
        workers: Arc<Workers>,
    ) -> Self {
        Self {
            inlets,
            nodes,
            outbox: Vec::new(),
            letters: Vec::new(),
            decisions: Vec::new(),
            routed: vec![0; sinks],
            batches: 0,
            lock_acquisitions: 0,
            deep_copies: Default::default(),
            pools,
            workers,
            on_error: config.on_error,
            state_max_bytes: config.state_max_bytes,
            budget,
            tracer: Tracer::for_mode(config.trace),
            now: 0,
            source: 0,
            origin: None,
            endings: Vec::new(),
            merges: Vec::new(),
            wanted: Vec::new(),
            gathers: false,
            weaving: None,
            full: config.batch_rows.max(1),
            parts: None,
            elsewhere: Vec::new(),
        }
    }

    /// From these partitions of a source records are waiting: its watermark waits for them.
    pub(super) fn expect(&mut self, source: usize, partitions: &[(Option<Arc<str>>, i32)]) {
        for node in self.makers(source) {
            if let Some(slot) = self.nodes.get_mut(node).filter(|_| !partitions.is_empty()) {
                slot.operator.expect(partitions);
                slot.timer = slot.operator.next_timer();
            }
        }
    }

    /// It waited for that one for nothing.
    pub(super) fn expect_no_more(
        &mut self,
        source: usize,
        topic: Option<&Arc<str>>,
        part: i32,
    ) -> Result<(), JobError> {
        (self.source, self.origin) = (source, None);
        self.makers(source)
            .into_iter()
            .try_for_each(|node| self.run(node, |op, out| op.expect_no_more(topic, part, out)))
    }

    /// The operators that make the watermark of a source.
    fn makers(&self, source: usize) -> Vec<usize> {
        let (mut ways, mut makers) = (vec![InputRef::Source(source)], Vec::new());
        while let Some(from) = ways.pop() {
            for target in self.targets(from) {
                let Target::Node { node, .. } = *target else { continue };
                match self.nodes.get(node).is_some_and(|s| s.operator.makes_watermark()) {
                    true if makers.contains(&node) => {}
                    true => makers.push(node),
                    false => ways.push(InputRef::Node(node)),
                }
            }
        }
        makers
    }

    /// Runs a batch of a source through everything that it feeds. `now`: wall time, µs since the Unix epoch.
    pub(super) fn push(&mut self, source: usize, batch: Batch, now: i64) -> Result<(), JobError> {
        let copies = crate::record::deep_copies_on_this_thread();
        self.lock_acquisitions += 1;
        self.batches += 1;
        (self.now, self.origin) = (now, None);
        // What was due before these records comes first.
        if self.next_timer().is_some_and(|t| t <= now) {
            self.fire_timers(now)?;
        }
        self.source = source;
        self.origin = batch.origin().cloned();
        let Some(inlet) = self.inlets.get_mut(source) else { return Ok(()) };
        inlet.arrived += batch.came() as u64;
        let result = match self.parts {
            Some(_) => self.push_by_part(source, batch),
            None => self.push_through(source, batch),
        };
        let made = crate::record::deep_copies_on_this_thread() - copies;
        if made > 0 {
            self.deep_copies.add(made);
        }
        result
    }

    fn push_through(&mut self, source: usize, batch: Batch) -> Result<(), JobError> {
        let merged = self.merges.iter().flat_map(|m| &m.lanes).any(|l| l.source == source);
        let diamond = self.inlets.get(source).is_some_and(|i| i.diamond);
        let result = if diamond && !merged {
            self.push_diamond(source, InputRef::Source(source), batch, None)
        } else {
            self.route(InputRef::Source(source), batch)
        };
        result.and_then(|()| self.pass_merged())
    }

    /// A source has ended: its nodes emit what they hold back. Gives whether there is more: what is in the outbox is to be delivered
    /// first, then [`go_on_ending`](Self::go_on_ending) called.
    pub(super) fn end(&mut self, source: usize, now: i64) -> Result<bool, JobError> {
        self.now = now;
        (self.source, self.origin) = (source, None);
        self.end_of(InputRef::Source(source));
        self.go_on_ending()
    }

    /// Who alone takes what a source gives, on its only way: a node with one input, or a sink.
    pub(super) fn only_target(&self, of: InputRef) -> Option<Target> {
        let merged = !self.merges.is_empty();
        match *self.targets(of) {
            [Target::Node { node, input: 0 }] if self.nodes.get(node)?.ended.len() == 1 && !merged => {
                Some(Target::Node { node, input: 0 })
            }
            [Target::Sink(sink)] if !merged => Some(Target::Sink(sink)),
            _ => None,
        }
    }

    fn targets(&self, of: InputRef) -> &[Target] {
        match of {
            InputRef::Source(s) => self.inlets.get(s).map_or(&[], |i| &i.targets),
            InputRef::Node(n) => self.nodes.get(n).map_or(&[], |n| &n.targets),
        }
    }

    /// The watermark of what `of` delivers rose.
    fn advance(&mut self, of: InputRef, micros: i64) -> Result<(), JobError> {
        if self.lane_raised(of, micros) { Ok(()) } else { self.pass_watermark(of, micros) }
    }

    fn pass_watermark(&mut self, of: InputRef, micros: i64) -> Result<(), JobError> {
        for at in 0..self.targets(of).len() {
            if let Some(&Target::Node { node, input }) = self.targets(of).get(at) {
                self.raise(node, input, micros)?;
                self.hand_on(node)?;
            }
        }
        Ok(())
    }

    /// Tells an operator that the watermark of an input rose; it never goes back.
    fn raise(&mut self, node: usize, input: usize, micros: i64) -> Result<(), JobError> {
        let Some(known) = self.nodes.get_mut(node).and_then(|s| s.watermarks.get_mut(input)) else {
            return Ok(());
        };
        if micros <= *known {
            return Ok(());
        }
        *known = micros;
        self.run(node, |op, out| op.on_watermark(InputId(input), micros, out))
    }

    /// Hands on the least watermark of an operator's inputs if it rose. The end (+∞) travels with `end_of`, behind what
    /// operators emit when their last input ends.
    fn hand_on(&mut self, node: usize) -> Result<(), JobError> {
        let Some(slot) = self.nodes.get_mut(node) else { return Ok(()) };
        let speaking = slot.watermarks.iter().zip(&slot.idle).filter(|(_, idle)| !**idle);
        let least = speaking.map(|(w, _)| *w).min().unwrap_or(i64::MIN);
        if least <= slot.watermark || least == i64::MAX || slot.operator.makes_watermark() {
            return Ok(());
        }
        slot.watermark = least;
        self.pass_on_watermark(node)
    }

    /// It comes behind rows that are gathered or held.
    fn pass_on_watermark(&mut self, node: usize) -> Result<(), JobError> {
        match self.nodes.get(node) {
            Some(s) if s.gathered.is_none() && s.held.is_empty() && s.watermark > i64::MIN => {
                self.advance(InputRef::Node(node), s.watermark)
            }
            _ => Ok(()),
        }
    }

    /// What `of` delivers fell silent, or speaks again.
    fn spread_idle(&mut self, of: InputRef, idle: bool) -> Result<(), JobError> {
        if self.lane_idle(of, idle) { Ok(()) } else { self.pass_idle(of, idle) }
    }

    fn pass_idle(&mut self, of: InputRef, idle: bool) -> Result<(), JobError> {
        for target in self.targets(of).to_vec() {
            let Target::Node { node, input } = target else { continue };
            let Some(slot) = self.nodes.get_mut(node) else { continue };
            let before = slot.idle.iter().all(|i| *i);
            if let Some(known) = slot.idle.get_mut(input) {
                *known = idle;
            }
            slot.operator.on_idle(InputId(input), idle);
            let all = slot.idle.iter().all(|i| *i);
            if all != before && !slot.operator.makes_watermark() {
                self.spread_idle(InputRef::Node(node), all)?;
            }
            self.hand_on(node)?;
        }
        Ok(())
    }

    fn route(&mut self, from: InputRef, mut batch: Batch) -> Result<(), JobError> {
        let count = self.targets(from).len();
        let sinks = self.targets(from).iter().filter(|t| matches!(t, Target::Sink(_))).count();
        // Nodes that must not change the batch come first; its last user gets it for good.
        let last_node = if sinks == 0 {
            self.targets(from).iter().rposition(|t| matches!(t, Target::Node { .. }))
        } else {
            None
        };
        for at in 0..count {
            if let Some(&Target::Node { node, input }) = self.targets(from).get(at) {
                if let Some(slot) = self.nodes.get_mut(node) {
                    slot.routed += batch.came() as u64;
                    slot.input = input;
                }
                if Some(at) == last_node {
                    return self.run(node, |op, out| op.process(InputId(input), batch, out));
                }
                self.run(node, |op, out| op.process_shared(InputId(input), &batch, out))?;
            }
        }
        if sinks == 0 {
            self.pools.give(batch);
            return Ok(());
        }
        if let Some(tracer) = &mut self.tracer {
            tracer.inject(&mut batch);
        }
        if sinks == 1 {
            if let Some(&Target::Sink(sink)) =
                self.targets(from).iter().find(|t| matches!(t, Target::Sink(_)))
            {
                self.send(sink, Parcel::Own(batch));
            }
            return Ok(());
        }
        let shared = Arc::new(batch);
        for at in 0..count {
            if let Some(&Target::Sink(sink)) = self.targets(from).get(at) {
                self.send(sink, Parcel::Shared(shared.clone()));
            }
        }
        self.pools.give_shared(shared);
        Ok(())
    }

    fn send(&mut self, sink: usize, parcel: Parcel) {
        if let Some(routed) = self.routed.get_mut(sink) {
            *routed += parcel.batch().len() as u64;
        }
        self.outbox.push((sink, parcel));
    }

    /// Lets an operator work, settles its rejects, and routes what it emits.
    fn run(
        &mut self,
        node: usize,
        work: impl FnOnce(&mut dyn Operator, &mut Output<'_>),
    ) -> Result<(), JobError> {
        let Some(slot) = self.nodes.get_mut(node) else { return Ok(()) };
        let (mut batches, mut rejects) =
            (std::mem::take(&mut slot.batches), std::mem::take(&mut slot.rejects));
        let mut out = Output {
            batches: &mut batches,
            rejects: &mut rejects,
            counters: &mut slot.counters,
            pools: &self.pools,
            workers: &self.workers,
            home: slot.home,
            now: self.now,
            done: false,
            watermark: None,
            idle: None,
            fatal: None,
            decision: None,
        };
        work(&mut *slot.operator, &mut out);
        let (watermark, idle) = (out.watermark, out.idle);
        slot.timer = slot.operator.next_timer();
        let fatal = out.fatal.take();
        if let Some(decision) = out.decision.take() {
            self.decisions.push((slot.name.clone(), decision));
        }
        let elsewhere = self.elsewhere.get(node).copied().unwrap_or(0);
        let mut held = slot.operator.state_bytes() + elsewhere;
        if held > self.state_max_bytes {
            slot.operator.recount();
            held = slot.operator.state_bytes() + elsewhere;
        }
        let fatal = fatal.or_else(|| {
            (held > self.state_max_bytes).then(|| {
                let stays = slot.stays.map_or(String::new(), |s| format!(", and lies {s}"));
                let why = format!(
                    "its state takes {held} bytes, more than state_max_bytes = {}{stays}; raise it with SET state_max_bytes = '…', \
                     or keep less",
                    self.state_max_bytes
                );
                Fatal { why, code: None }
            })
        });
        if let Some(Fatal { why, code }) = fatal {
            return Err(JobError::Operator { operator: slot.name.clone(), why, code });
        }
        if out.done && !slot.done {
            slot.done = true;
            self.spread_done();
        }
        for rejected in rejects.drain(..) {
            self.settle(node, rejected)?;
        }
        if let (Some(micros), true) = (watermark, self.weaving.is_some()) {
            self.lift(micros)?;
        }
        for batch in batches.drain(..) {
            let woven = self.is_woven(node);
            let Some(slot) = self.nodes.get_mut(node) else { continue };
            slot.emitted += batch.len() as u64;
            match woven {
                true => slot.held.push(Held { input: slot.input, batch, next: 0 }),
                false => self.pass_on(node, batch)?,
            }
        }
        if let Some(slot) = self.nodes.get_mut(node) {
            (slot.batches, slot.rejects) = (batches, rejects);
        }
        if let Some(idle) = idle {
            self.spread_idle(InputRef::Node(node), idle)?;
        }
        match watermark {
            Some(micros) => self.advance(InputRef::Node(node), micros),
            None => Ok(()),
        }
    }

    /// What a node delivers goes to those behind it, waits for its turn in a merge, or is gathered.
    fn pass_on(&mut self, node: usize, batch: Batch) -> Result<(), JobError> {
        let Some(slot) = self.nodes.get_mut(node) else { return Ok(()) };
        match slot.lane {
            Some(at) => {
                self.takes_in(at, batch);
                Ok(())
            }
            None if self.gathers && slot.ended.len() > 1 => self.gather_rows(node, batch),
            None => self.route(InputRef::Node(node), batch),
        }
    }

    /// A node whose every user is done is done; so is a source.
    fn spread_done(&mut self) {
        for n in (0..self.nodes.len()).rev() {
            let done = self.nodes.get(n).is_some_and(|s| s.done || self.all_done(&s.targets));
            if let Some(slot) = self.nodes.get_mut(n) {
                slot.done = done;
            }
        }
        for i in 0..self.inlets.len() {
            let done = self.inlets.get(i).is_some_and(|s| self.all_done(&s.targets));
            if let Some(inlet) = self.inlets.get_mut(i) {
                inlet.done = done;
            }
        }
    }

    fn all_done(&self, targets: &[Target]) -> bool {
        !targets.is_empty()
            && targets.iter().all(|t| match t {
                Target::Node { node, .. } => self.nodes.get(*node).is_some_and(|n| n.done),
                Target::Sink(_) => false,
            })
    }

    fn settle(&mut self, node: usize, rejected: Rejected) -> Result<(), JobError> {
        let Some(slot) = self.nodes.get_mut(node) else { return Ok(()) };
        let stage = format!("operator {}", slot.name);
        let Rejected { record, error } = rejected;
        if error.code == ErrorCode::Late {
            slot.late_letters += 1;
            self.letter(&record, &stage, error);
            return Ok(());
        }
        if let Some(limit) = self.budget.reject(error.code) {
            return Err(JobError::Budget { limit, last: error.to_string() });
        }
        match decide(self.on_error, Failure::Record, 0, Duration::ZERO, Duration::ZERO, 0.0) {
            Decision::Skip => {
                slot.skipped += 1;
                log::debug!("{stage}: skipped a record: {error}");
                Ok(())
            }
            Decision::DeadLetter => {
                slot.dead_lettered += 1;
                self.letter(&record, &stage, error);
                Ok(())
            }
            Decision::Retry(_) | Decision::Fail => Err(JobError::Record {
                stage,
                place: super::dead_letter::place(&record, self.origin_of(&record)),
                error,
                hint: "to go on without such records use SET on_error = 'skip', or SET on_error = 'dlq' with SET dlq \
                       = 'bad.jsonl'"
                    .into(),
            }),
        }
    }

    fn letter(&mut self, record: &StreamRecord, stage: &str, error: RecordError) {
        let mut letter = DeadLetter::of_record(record, self.origin_of(record), stage, error, self.now);
        let source = record.source().unwrap_or(self.source);
        letter.source = self.inlets.get(source).map_or_else(String::new, |i| i.name.clone());
        self.letters.push(letter);
    }

    /// The file that a record came from, if it is known.
    fn origin_of(&self, record: &StreamRecord) -> Option<&str> {
        let merged = record.source().and_then(|s| self.lanes().find(|l| l.source == s));
        merged.map_or(self.origin.as_deref(), |lane| lane.origin.as_deref())
    }

    /// When the first operator wants to be called, µs on the job's clock.
    pub(super) fn next_timer(&self) -> Option<i64> {
        if self.parts.is_some() {
            return self.next_timer_of_parts();
        }
        self.nodes.iter().filter(|n| n.is_open()).filter_map(|n| n.timer).min()
    }

    /// Calls the operators whose time has come, in the order of the plan.
    pub(super) fn fire_timers(&mut self, now: i64) -> Result<(), JobError> {
        self.now = now;
        match self.parts {
            Some(_) => self.fire_timers_of_parts(now),
            None => self.fire_own_timers(now),
        }
    }

    fn fire_own_timers(&mut self, now: i64) -> Result<(), JobError> {
        for node in 0..self.nodes.len() {
            let due = |s: &NodeSlot| s.is_open() && s.timer.is_some_and(|t| t <= now);
            if self.nodes.get(node).is_some_and(due) {
                self.run(node, |op, out| op.on_timer(now, out))?;
            }
        }
        self.pass_merged()
    }

    /// The operators' lines of the ledger.
    pub(super) fn entries(&self) -> Vec<NodeEntry> {
        self.nodes
            .iter()
            .map(|n| NodeEntry {
                name: format!("operator {}", n.name),
                routed: n.routed,
                input: n.counters.input,
                forwarded: n.counters.forwarded,
                fanned_out: n.counters.fanned_out,
                filtered: n.counters.filtered,
                absorbed: n.counters.absorbed,
                late: n.counters.late,
                rejected: n.counters.rejected,
                dead_lettered: n.dead_lettered,
                skipped: n.skipped,
                late_letters: n.late_letters,
                produced: n.counters.produced,
                emitted: n.emitted,
                expired: n.counters.expired,
            })
            .chain(self.lane_entries())
            .collect()
    }

    /// The operators' statistics.
    pub(super) fn node_stats(&self) -> Vec<NodeStats> {
        let elsewhere = self.elsewhere.iter().copied().chain(std::iter::repeat(0));
        self.nodes
            .iter()
            .zip(elsewhere)
            .map(|(n, elsewhere)| NodeStats {
                name: n.name.clone(),
                input: n.counters.input,
                output: n.emitted,
                filtered: n.counters.filtered,
                absorbed: n.counters.absorbed,
                late: n.counters.late,
                produced: n.counters.produced,
                rejected: n.counters.rejected,
                expired: n.counters.expired,
                state_bytes: (n.operator.state_bytes() + elsewhere) as u64,
            })
            .collect()
    }
}
