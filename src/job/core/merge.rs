//! Bounded sources with WATERMARK whose rows meet: they pass in the order of the watermark just before each row, rows with the same in
//! the order of the sources.
//!
//! Within a source that watermark never falls, so this is one order of all rows, whatever their batches. What the last node of a
//! source on its own delivers waits in a *lane*. The row that comes first passes as soon as no other source can bring one before it:
//! each has one waiting, has ended, or has a watermark that forbids it. Only the source that holds the others up is read, so a lane
//! holds about a batch; more only while barriers are awaited. What waits belongs to the state: positions are those behind it.
//!
//! Rows pass in runs, as many of a lane as come before the first of the others. Where runs are short, what comes out of the node where
//! the lanes meet is gathered into batches again.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Core, NodeSlot};
use crate::job::JobError;
use crate::job::topology::Way;
use crate::observe::NodeEntry;
use crate::plan::InputRef;
use crate::record::Batch;

/// Batches of so many rows are not gathered.
const LONG_RUN: usize = 128;

/// Sources that are merged, in the order of the plan.
#[derive(Debug)]
pub(in crate::job) struct Merge {
    pub(super) lanes: Vec<Lane>,
}

/// One source of a merge.
#[derive(Debug)]
pub(in crate::job) struct Lane {
    pub(super) source: usize,
    /// The node whose output waits here.
    pub(super) node: usize,
    /// Home of the parts of batches that pass.
    home: u16,
    pub(super) waiting: VecDeque<Waiting>,
    /// Rows of the first batch that have passed.
    pub(super) passed: usize,
    /// The watermark behind everything that waits.
    pub(super) watermark: i64,
    /// The watermark before the next row, waiting or to come.
    pub(super) next: i64,
    /// What of it those behind know.
    known: i64,
    /// The source has ended; `over`: all that waited has passed, and the end too.
    pub(super) ended: bool,
    pub(super) over: bool,
    /// The source is silent; `told`: those behind know.
    pub(super) idle: bool,
    pub(super) told: bool,
    /// The file that the rows come from which passed last.
    pub(super) origin: Option<Arc<str>>,
    /// Rows that came, and rows that passed.
    pub(super) came: u64,
    pub(super) went: u64,
}

/// A batch that waits, and the watermark behind it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) batch: Batch,
    pub(super) after: i64,
}

impl Lane {
    fn new(way: Way, home: u16) -> Self {
        Self {
            source: way.source,
            node: way.node,
            home,
            waiting: VecDeque::new(),
            passed: 0,
            watermark: i64::MIN,
            next: i64::MIN,
            known: i64::MIN,
            ended: false,
            over: false,
            idle: false,
            told: false,
            origin: None,
            came: 0,
            went: 0,
        }
    }

    /// Rows that wait.
    pub(super) fn held(&self) -> usize {
        self.waiting.iter().map(|w| w.batch.len()).sum::<usize>() - self.passed
    }

    /// Whether it is silent and has nothing that could pass: it holds nobody up.
    fn is_left_out(&self) -> bool {
        self.over || self.idle && self.waiting.is_empty()
    }

    pub(super) fn look_at_next(&mut self) {
        let next = match self.waiting.front() {
            Some(w) => w.batch.records().get(self.passed).map_or(w.after, |r| r.watermark()),
            None => self.watermark,
        };
        self.next = self.next.max(next);
    }

    fn take_in(&mut self, batch: Batch) {
        self.came += batch.len() as u64;
        self.waiting.push_back(Waiting { batch, after: self.watermark });
        self.look_at_next();
    }

    fn raise(&mut self, micros: i64) {
        self.watermark = self.watermark.max(micros);
        if let Some(last) = self.waiting.back_mut() {
            last.after = self.watermark;
        }
        self.look_at_next();
    }

    /// How many of the first batch's rows have passed when all that come before `limit` have.
    fn run(&self, limit: (i64, usize)) -> usize {
        let Some(first) = self.waiting.front() else { return 0 };
        let records = first.batch.records();
        let before = |r: &crate::record::StreamRecord| (r.watermark(), self.source) < limit;
        if records.last().is_some_and(|r| before(r)) {
            return records.len();
        }
        // The first passes in any case: it was chosen.
        let more = records.iter().skip(self.passed + 1).take_while(|r| before(r)).count();
        self.passed + 1 + more
    }
}

impl Core {
    /// From now on these sources are merged.
    pub(in crate::job) fn merge(&mut self, merges: Vec<Vec<Way>>) {
        for ways in merges {
            let merge = self.merges.len();
            for (lane, way) in ways.iter().enumerate() {
                if let Some(slot) = self.nodes.get_mut(way.node) {
                    slot.lane = Some((merge, lane));
                }
            }
            let home = |way: &Way| self.nodes.get(way.node).map_or(u16::MAX, |n| n.home);
            let lanes = ways.iter().map(|way| Lane::new(*way, home(way))).collect();
            self.merges.push(Merge { lanes });
        }
        self.want();
    }

    pub(super) fn lane_mut(&mut self, at: (usize, usize)) -> Option<&mut Lane> {
        self.merges.get_mut(at.0)?.lanes.get_mut(at.1)
    }

    pub(super) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.merges.iter().flat_map(|m| &m.lanes)
    }

    fn lane_behind(&mut self, of: InputRef) -> Option<&mut Lane> {
        let InputRef::Node(n) = of else { return None };
        let at = self.nodes.get(n)?.lane?;
        self.lane_mut(at)
    }

    /// Whether `of` delivers into a lane, which then has the batch.
    pub(super) fn takes_in(&mut self, at: (usize, usize), batch: Batch) {
        let Some(lane) = self.lane_mut(at) else { return };
        if !batch.is_empty() {
            let mut batch = batch;
            let source = lane.source;
            for record in batch.records_mut().iter_mut().filter_map(Arc::get_mut) {
                record.set_source(source);
            }
            lane.take_in(batch);
        }
    }

    /// Whether `of` delivers into a lane, which then knows of the watermark.
    pub(super) fn lane_raised(&mut self, of: InputRef, micros: i64) -> bool {
        self.lane_behind(of).map(|lane| lane.raise(micros)).is_some()
    }

    /// The same for silence.
    pub(super) fn lane_idle(&mut self, of: InputRef, idle: bool) -> bool {
        self.lane_behind(of).map(|lane| lane.idle = idle).is_some()
    }

    /// The same for the end.
    pub(super) fn lane_ended(&mut self, of: InputRef) -> bool {
        self.lane_behind(of).map(|lane| lane.ended = true).is_some()
    }

    /// Lets everything pass whose turn has come.
    pub(super) fn pass_merged(&mut self) -> Result<(), JobError> {
        if self.merges.is_empty() {
            return Ok(());
        }
        self.gathers = true;
        for merge in 0..self.merges.len() {
            while self.pass_next(merge)? {}
        }
        self.flush_gathered()?;
        self.gathers = false;
        self.want();
        Ok(())
    }

    /// The lane whose next row comes first, and how far it may go on.
    fn first(&self, merge: usize) -> Option<(usize, (i64, usize))> {
        let lanes = &self.merges.get(merge)?.lanes;
        let (mut first, mut limit) = (None, (i64::MAX, usize::MAX));
        let mut least = (i64::MAX, usize::MAX);
        for (l, lane) in lanes.iter().enumerate().filter(|(_, l)| !l.is_left_out()) {
            let key = (lane.next, lane.source);
            if key < least {
                (limit, least, first) = (least, key, Some(l));
            } else {
                limit = limit.min(key);
            }
        }
        Some((first?, limit))
    }

    /// Lets the next run pass, or an end. `false` if a source must be read first.
    fn pass_next(&mut self, merge: usize) -> Result<bool, JobError> {
        self.tell_silence(merge)?;
        self.tell_watermarks(merge)?;
        let Some((at, limit)) = self.first(merge) else { return Ok(false) };
        let Some(lane) = self.merges.get_mut(merge).and_then(|m| m.lanes.get_mut(at)) else {
            return Ok(false);
        };
        let (source, node) = (lane.source, lane.node);
        if lane.waiting.is_empty() {
            if !lane.ended {
                return Ok(false);
            }
            lane.over = true;
            self.flush_gathered()?;
            (self.source, self.origin) = (source, None);
            self.pass_end(InputRef::Node(node))?;
            return Ok(true);
        }
        let to = lane.run(limit);
        let whole = lane.passed == 0 && lane.waiting.front().is_some_and(|w| w.batch.len() == to);
        let from = std::mem::replace(&mut lane.passed, to);
        let (mut part, home) = (Batch::default(), lane.home);
        if !whole {
            part = self.pools.take(home);
        }
        let Some(lane) = self.lane_mut((merge, at)) else { return Ok(false) };
        if !whole && let Some(first) = lane.waiting.front_mut() {
            first.batch.lend(from..to, &mut part);
            part.set_home(home);
        }
        let mut spent = None;
        if lane.waiting.front().is_some_and(|w| w.batch.len() <= to) {
            lane.passed = 0;
            spent = lane.waiting.pop_front().map(|w| w.batch);
        }
        if whole {
            part = spent.take().unwrap_or_default();
        }
        lane.look_at_next();
        lane.went += part.len() as u64;
        let next = lane.next;
        let other_file = lane.origin.as_ref() != part.origin();
        if let Some(batch) = spent {
            self.pools.give(batch);
        }
        if other_file {
            // Dead letters of what was gathered name the file before.
            self.flush_gathered()?;
            if let Some(lane) = self.lane_mut((merge, at)) {
                lane.origin = part.origin().cloned();
            }
        }
        self.source = source;
        self.origin = part.origin().cloned();
        self.gathers = true;
        self.pass_part(node, source, part, next).map(|()| true)
    }

    fn pass_part(&mut self, node: usize, source: usize, part: Batch, after: i64) -> Result<(), JobError> {
        let (before, from) = (self.outbox.len(), InputRef::Node(node));
        if self.inlets.get(source).is_some_and(|i| i.diamond) {
            self.push_diamond(source, from, part, Some(after))?;
        } else {
            self.route(from, part)?;
        }
        self.gather(before, self.full);
        Ok(())
    }

    /// Those behind a lane whose source is silent learn of it when nothing waits any more, and at once when it speaks again.
    fn tell_silence(&mut self, merge: usize) -> Result<(), JobError> {
        for at in 0..self.merges.get(merge).map_or(0, |m| m.lanes.len()) {
            let Some(lane) = self.lane_mut((merge, at)) else { continue };
            let silent = lane.idle && lane.waiting.is_empty() && !lane.over;
            if std::mem::replace(&mut lane.told, silent) != silent {
                let node = lane.node;
                self.flush_gathered()?;
                self.pass_idle(InputRef::Node(node), silent)?;
            }
        }
        Ok(())
    }

    /// Those behind a lane know of the watermark before its next row as soon as it is known, also where the rows that raised it did not
    /// come that far: no row of another lane passes with less than it came with.
    fn tell_watermarks(&mut self, merge: usize) -> Result<(), JobError> {
        for at in 0..self.merges.get(merge).map_or(0, |m| m.lanes.len()) {
            let Some(lane) = self.lane_mut((merge, at)) else { continue };
            if lane.next > lane.known && !lane.over {
                lane.known = lane.next;
                let (node, next) = (lane.node, lane.next);
                self.pass_watermark(InputRef::Node(node), next)?;
            }
        }
        Ok(())
    }

    /// Notes which sources are to be read: of a merge the one that all others wait for, and those that may break their silence.
    fn want(&mut self) {
        if self.merges.is_empty() {
            return;
        }
        self.wanted.resize(self.inlets.len(), true);
        for merge in 0..self.merges.len() {
            let first = self.first(merge).map(|(at, _)| at);
            let Some(merge) = self.merges.get(merge) else { continue };
            for (at, lane) in merge.lanes.iter().enumerate() {
                if let Some(wanted) = self.wanted.get_mut(lane.source) {
                    *wanted = !lane.ended && lane.waiting.is_empty() && (first == Some(at) || lane.idle);
                }
            }
        }
    }

    /// What a node delivers that several inputs meet in is gathered while runs are short.
    pub(super) fn gather_rows(&mut self, node: usize, mut batch: Batch) -> Result<(), JobError> {
        let Some(slot) = self.nodes.get_mut(node) else { return Ok(()) };
        if batch.len() >= LONG_RUN.min(self.full) {
            self.flush(node)?;
            return self.route(InputRef::Node(node), batch);
        }
        let gathered = slot.gathered.get_or_insert_with(|| self.pools.take(slot.home));
        batch.lend(0..batch.len(), gathered);
        let full = gathered.len() >= self.full;
        self.pools.give(batch);
        if full { self.flush(node) } else { Ok(()) }
    }

    /// Passes on what was gathered behind a node, and then the watermark that had to wait for it.
    fn flush(&mut self, node: usize) -> Result<(), JobError> {
        let Some(NodeSlot { gathered: Some(_), .. }) = self.nodes.get(node) else { return Ok(()) };
        let Some(slot) = self.nodes.get_mut(node) else { return Ok(()) };
        if let Some(batch) = slot.gathered.take() {
            self.route(InputRef::Node(node), batch)?;
        }
        self.pass_on_watermark(node)
    }

    fn flush_gathered(&mut self) -> Result<(), JobError> {
        (0..self.nodes.len()).try_for_each(|node| self.flush(node))
    }

    /// The lanes' lines of the ledger: what waits is what came and has not passed.
    pub(super) fn lane_entries(&self) -> impl Iterator<Item = NodeEntry> {
        self.lanes().map(|lane| NodeEntry {
            name: format!("merge of source {}", self.inlets.get(lane.source).map_or("", |i| &i.name)),
            routed: lane.came,
            input: lane.came,
            forwarded: lane.went,
            absorbed: lane.held() as u64,
            emitted: lane.went,
            ..NodeEntry::default()
        })
    }

    /// Rows that wait for others.
    pub(in crate::job) fn rows_waiting(&self) -> u64 {
        self.lanes().map(|lane| lane.held() as u64).sum()
    }
}
