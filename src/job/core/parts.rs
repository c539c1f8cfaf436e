//! State that is cut by the parts of its source: each part has operators of its own, so that what comes of a part does not depend on
//! which others are read beside it, and its state can be given to another process as a whole.
//!
//! The operators that the core has at rest hold nothing but the counts of all parts; while rows of a part are processed they are
//! exchanged for those of the part. At a barrier each part that has changed gives a checkpoint file: all that it has, or what has
//! changed since the file before it.

use std::collections::BTreeMap;

use super::{Core, NodeSlot};
use crate::io::{Kept, Shift};
use crate::job::JobError;
use crate::record::Batch;
use crate::state::{Checkpoint, CheckpointWriter, FileId, Frozen, StateError, complete_chain};

/// Files with changes that follow a whole one, at most.
const LONGEST: usize = 100;
/// A state that is shorter than this may have as many bytes of changes behind it before it is written whole again.
const SHORT: usize = 64 << 10;

/// Makes the operators of a part, from its state if there is one.
pub(in crate::job) type MakeNodes =
    Box<dyn Fn(Option<&Checkpoint>) -> Result<Vec<NodeSlot>, JobError> + Send>;

/// The parts that this instance has.
pub(in crate::job) struct Parts {
    job: String,
    plan: u32,
    make: MakeNodes,
    states: BTreeMap<i32, PartState>,
    /// Rows of a batch of several parts, by part; kept for the next one.
    sorted: Vec<(i32, Batch)>,
}

/// A part.
struct PartState {
    nodes: Vec<NodeSlot>,
    /// Bytes that each operator held when it last worked.
    held: Vec<usize>,
    /// It is given up with the next commit: nothing more may come of it.
    leaving: bool,
    /// Something has changed since its last file.
    touched: bool,
    /// Number of its last file; other instances have written those before its first.
    number: u64,
    /// Its last file, if it is of this instance: changes can build on it.
    last: Option<FileId>,
    /// Length of the last file that was whole, and of those behind it, so many.
    whole: usize,
    changes: usize,
    files: usize,
    /// Number of the next table of groups.
    table: u64,
}

impl Parts {
    pub(in crate::job) fn new(job: &str, plan: u32, make: MakeNodes) -> Self {
        Self { job: job.to_owned(), plan, make, states: BTreeMap::new(), sorted: Vec::new() }
    }

    fn gain(&mut self, part: i32, files: &[Vec<u8>]) -> Result<PartState, JobError> {
        let failed = |e: StateError| JobError::State(format!("the state of partition {part}: {e}"));
        let state = self.read(files).map_err(failed)?;
        if let Some(state) = state.as_ref().filter(|s| s.job != self.job) {
            return Err(JobError::Config(format!(
                "job {}: what is kept of partition {part} is the state of job {}: use another job_name",
                self.job, state.job
            )));
        }
        let nodes = (self.make)(state.as_ref())?;
        let number = state.map_or(0, |s| s.epoch);
        Ok(PartState {
            held: vec![0; nodes.len()],
            nodes,
            leaving: false,
            touched: false,
            number,
            last: None,
            whole: 0,
            changes: 0,
            files: 0,
            table: 1,
        })
    }

    fn read(&self, files: &[Vec<u8>]) -> Result<Option<Checkpoint>, StateError> {
        let Some((newest, older)) = files.split_last() else { return Ok(None) };
        let mut older = older.iter().rev();
        complete_chain(Checkpoint::decode(newest)?, |_| match older.next() {
            Some(file) => Checkpoint::decode(file),
            None => Err(StateError("it is not there".into())),
        })
        .map(Some)
    }
}

impl PartState {
    /// Its file.
    fn cut(&mut self, job: &str, plan: u32) -> Result<(Vec<u8>, bool), JobError> {
        let long = self.files >= LONGEST || self.changes > self.whole.max(SHORT);
        let frozen = Frozen::new(self.table, self.last.is_none() || long);
        let mut operators = Vec::with_capacity(self.nodes.len());
        let mut everything = usize::MAX;
        for (number, node) in (0..).zip(&mut self.nodes) {
            operators.push(node.snapshot(&frozen, number)?);
            node.operator.take_down(&mut everything);
        }
        let whole = operators.iter().flat_map(|o| &o.tables).all(|t| t.whole);
        let checkpoint = Checkpoint {
            job: job.to_owned(),
            plan,
            engine: env!("CARGO_PKG_VERSION").into(),
            epoch: self.number + 1,
            before: self.last.filter(|_| !whole),
            operators,
            ..Checkpoint::default()
        };
        let written = (|| {
            let mut file = CheckpointWriter::begin(Vec::new(), &checkpoint)?;
            frozen.take().iter().try_for_each(|piece| file.piece(piece))?;
            file.end(&checkpoint)
        })();
        let (file, _, id) = written
            .map_err(|e| JobError::State(format!("the state of a partition can't be encoded: {e}")))?;
        self.table = frozen.next();
        self.number = checkpoint.epoch;
        self.last = Some(FileId { epoch: checkpoint.epoch, id });
        self.touched = false;
        match whole {
            true => (self.whole, self.changes, self.files) = (file.len(), 0, 0),
            false => (self.changes, self.files) = (self.changes + file.len(), self.files + 1),
        }
        Ok((file, whole))
    }

    fn timer(&self) -> Option<i64> {
        let open = self.nodes.iter().filter(|n| n.is_open());
        open.filter_map(|n| n.timer).min().filter(|_| !self.leaving)
    }
}

impl Core {
    /// From now on each part of the source has operators of its own.
    pub(in crate::job) fn keep_parts(&mut self, parts: Parts) {
        self.elsewhere = vec![0; self.nodes.len()];
        self.parts = Some(Box::new(parts));
    }

    /// A part comes or goes.
    pub(in crate::job) fn shift(&mut self, source: usize, shift: Shift) -> Result<(), JobError> {
        if let Shift::Silent { topic, part } = &shift {
            return self.expect_no_more(source, topic.as_ref(), *part);
        }
        let Some(parts) = &mut self.parts else { return Ok(()) };
        match shift {
            Shift::Gained { part, state } => {
                self.drop_part(part);
                let Some(parts) = &mut self.parts else { return Ok(()) };
                let gained = parts.gain(part, &state)?;
                parts.states.insert(part, gained);
                // What it holds is counted.
                self.within(part, |_| Ok(()))
            }
            Shift::Leaving { part } => {
                if let Some(state) = parts.states.get_mut(&part) {
                    state.leaving = true;
                }
                Ok(())
            }
            Shift::Gone { part } => {
                self.drop_part(part);
                Ok(())
            }
            Shift::Silent { .. } => Ok(()),
        }
    }

    fn drop_part(&mut self, part: i32) {
        let Some(state) = self.parts.as_mut().and_then(|p| p.states.remove(&part)) else { return };
        for (all, held) in self.elsewhere.iter_mut().zip(&state.held) {
            *all = all.saturating_sub(*held);
        }
    }

    /// Does something with the operators of a part.
    fn within(
        &mut self,
        part: i32,
        work: impl FnOnce(&mut Self) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        let Some(state) = self.parts.as_mut().and_then(|p| p.states.get_mut(&part)) else {
            return Err(JobError::State(format!(
                "rows of partition {part} came, which this instance does not have"
            )));
        };
        std::mem::swap(&mut self.nodes, &mut state.nodes);
        for (all, held) in self.elsewhere.iter_mut().zip(&state.held) {
            *all = all.saturating_sub(*held);
        }
        let done = work(self);
        let Some(state) = self.parts.as_mut().and_then(|p| p.states.get_mut(&part)) else { return done };
        std::mem::swap(&mut self.nodes, &mut state.nodes);
        for (base, node) in self.nodes.iter_mut().zip(&mut state.nodes) {
            base.count_for(node);
        }
        for ((all, held), node) in self.elsewhere.iter_mut().zip(&mut state.held).zip(&state.nodes) {
            *held = node.operator.state_bytes();
            *all += *held;
        }
        done
    }

    /// Rows of the source, each through the operators of its part.
    pub(super) fn push_by_part(&mut self, source: usize, mut batch: Batch) -> Result<(), JobError> {
        let part_of = |batch: &Batch, at: usize| batch.records().get(at).map(|r| r.partition());
        let Some(first) = part_of(&batch, 0) else { return Ok(()) };
        if batch.records().iter().all(|r| r.partition() == first) {
            return self.push_of_part(source, first, batch);
        }
        let Some(parts) = &mut self.parts else { return Ok(()) };
        let mut sorted = std::mem::take(&mut parts.sorted);
        let mut from = 0;
        while let Some(part) = part_of(&batch, from) {
            let same = batch.records().iter().skip(from).take_while(|r| r.partition() == part).count();
            let at = sorted.iter().position(|(p, _)| *p == part).unwrap_or_else(|| {
                sorted.push((part, self.pools.take(batch.home())));
                sorted.len() - 1
            });
            if let Some((_, to)) = sorted.get_mut(at) {
                batch.lend(from..from + same, to);
            }
            from += same;
        }
        self.pools.give(batch);
        for (part, batch) in sorted.drain(..) {
            self.push_of_part(source, part, batch)?;
        }
        if let Some(parts) = &mut self.parts {
            parts.sorted = sorted;
        }
        Ok(())
    }

    fn push_of_part(&mut self, source: usize, part: i32, batch: Batch) -> Result<(), JobError> {
        if let Some(state) = self.parts.as_mut().and_then(|p| p.states.get_mut(&part)) {
            state.touched = true;
        }
        self.within(part, |core| core.push_through(source, batch))
    }

    /// When the first operator of any part wants to be called.
    pub(super) fn next_timer_of_parts(&self) -> Option<i64> {
        self.parts.as_ref()?.states.values().filter_map(PartState::timer).min()
    }

    /// Calls the operators of parts whose time has come.
    pub(super) fn fire_timers_of_parts(&mut self, now: i64) -> Result<(), JobError> {
        let due = |s: &PartState| s.timer().is_some_and(|t| t <= now);
        let states = self.parts.iter_mut().flat_map(|p| &mut p.states).filter(|(_, s)| due(s));
        let parts: Vec<i32> = states.map(|(part, state)| (*part, state.touched = true).0).collect();
        parts.into_iter().try_for_each(|part| self.within(part, |core| core.fire_own_timers(now)))
    }

    /// At a barrier: the state of each part in which something has changed since the last one.
    pub(in crate::job) fn cut(&mut self) -> Result<Vec<Kept>, JobError> {
        let Some(parts) = &mut self.parts else { return Ok(Vec::new()) };
        let mut kept = Vec::new();
        for (part, state) in parts.states.iter_mut().filter(|(_, s)| s.touched) {
            let (file, whole) = state.cut(&parts.job, parts.plan)?;
            kept.push(Kept { part: *part, file, whole });
        }
        Ok(kept)
    }
}

impl NodeSlot {
    /// Takes over what the same operator of a part has counted.
    fn count_for(&mut self, other: &mut NodeSlot) {
        self.counters.add(&std::mem::take(&mut other.counters));
        for (to, from) in [
            (&mut self.routed, &mut other.routed),
            (&mut self.emitted, &mut other.emitted),
            (&mut self.dead_lettered, &mut other.dead_lettered),
            (&mut self.skipped, &mut other.skipped),
            (&mut self.late_letters, &mut other.late_letters),
        ] {
            *to += std::mem::take(from);
        }
    }
}
