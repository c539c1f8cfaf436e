//! GROUP BY with and without windows: the running form of [`AggregateSpec`].
//!
//! Records are taken one by one, in order. Before a record is taken, every window fires whose time has come for *its*
//! watermark; so results do not depend on batches. Groups lie in tables ([`crate::state::GroupTable`]), one for each shard
//! of the key groups; what is emitted is put into the order of arrival, so results do not depend on shards either.
//!
//! Many groups without windows take records in [`blocks`], the others one by one.
//!
//! [`windows`] and [`slicing`] are arithmetic, [`shape`] what does not change, [`emit`] writes rows; [`panes`] keeps the groups of
//! open windows, [`slices`] those of windows that overlap ([`overlapping`]), [`sessions`] those of sessions.

mod blocks;
mod cold;
mod emit;
mod firing;
mod overlapping;
mod panes;
mod sessions;
mod shape;
mod slab;
mod slices;
mod slicing;
mod snapshot;
#[cfg(test)]
mod tests;
mod ttl;
mod windows;

use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Instant;

use rayon::ThreadPool;

use super::filter_project::panic_error;
use super::sharing::{Sharing, Way};
use super::{
    Fatal, InputId, Operator, Output, Rejected, Shards, StateContract, StateError, StateReader, StateWriter,
};
use crate::expr::{Accumulator, EvalResult};
use crate::plan::{AggregateSpec, Emit, Slices, Ttl, WindowKind};
use crate::record::{Batch, StreamRecord};
use crate::state::{KEY_GROUPS, NO_SLOT, Space, shard_of};
use blocks::{Block, Lane, take_lane};
use cold::{Backing, Cold};
use firing::next_due;
use overlapping::Overlapping;
use panes::Panes;
use sessions::Sessions;
use shape::{Groups, Row, Scratch, Shape, adds};
use slicing::Slicing;
use ttl::Alarm;
use windows::{Span, Windows};

/// Bytes that accumulators may hold before they are counted.
const COUNT_FROM: usize = 1 << 20;

/// Groups without windows, of one shard.
#[derive(Debug)]
struct GroupShard {
    groups: Groups,
    /// Groups that changed since they were last shown: position of the record that touched it first, slot.
    touched: Vec<(u64, usize)>,
    /// When groups may be forgotten.
    alarms: BinaryHeap<Alarm>,
    /// Where groups lie that do not fit into memory.
    cold: Option<Cold>,
}

/// The state.
#[derive(Debug)]
enum State {
    Groups(Vec<GroupShard>),
    Panes(Windows, Vec<Panes>),
    Slices(Box<Overlapping>),
    Sessions(Windows, i64, Vec<Sessions>),
}

/// Running form of [`AggregateSpec`].
#[derive(Debug)]
pub struct AggregateOp {
    shape: Shape,
    scratch: Scratch,
    /// What threads that work side by side evaluate; the first where one works alone.
    lanes: Vec<Block>,
    sharing: Sharing,
    state: State,
    /// Records taken in.
    seq: u64,
    /// No window is due before the watermark reaches this.
    next_fire: i64,
    /// What accumulators held beyond themselves when that was counted, and what rows may have added since, in bytes.
    cells_held: usize,
    cells_grown: usize,
    /// The watermark of the last firing: rows emitted later carry it.
    fired: i64,
    contract: StateContract,
    /// Where groups lie that do not fit into memory.
    backing: Option<Backing>,
    /// Groups on their way out after the end, in order of arrival: position of the first record, shard, slot.
    leaving: Option<std::vec::IntoIter<(u64, u32, u32)>>,
}

impl AggregateOp {
    /// Compiles keys and calls.
    ///
    /// # Errors
    /// If the plan asks for what is not supported; a sentence.
    pub fn new(spec: &AggregateSpec, Shards { count: shards, forced }: Shards) -> Result<Self, String> {
        let shards = shards.clamp(1, KEY_GROUPS);
        let windows = spec.window.as_ref().map(Windows::new);
        let shows = spec.emit != Emit::Final || windows.is_some_and(|w| w.corrects());
        let shape = Shape::new(spec, shows);
        let state = match windows {
            None => {
                let shard = || GroupShard {
                    groups: shape.groups(),
                    touched: Vec::new(),
                    alarms: BinaryHeap::new(),
                    cold: None,
                };
                State::Groups((0..shards).map(|_| shard()).collect())
            }
            Some(windows) => match windows.kind() {
                WindowKind::Session { .. } if spec.retracts => {
                    return Err("SESSION over rows that change is not supported".into());
                }
                WindowKind::Session { gap } => {
                    State::Sessions(windows, gap, (0..shards).map(|_| Sessions::new(&shape)).collect())
                }
                kind => match Slicing::new(kind).filter(|_| spec.slices() == Slices::Shared) {
                    Some(slicing) => {
                        State::Slices(Box::new(Overlapping::new(&shape, windows, slicing, shards)))
                    }
                    None => State::Panes(windows, (0..shards).map(|_| Panes::default()).collect()),
                },
            },
        };
        Ok(Self {
            scratch: shape.scratch(),
            lanes: Vec::new(),
            sharing: Sharing::new(shards, forced),
            contract: contract(spec),
            shape,
            state,
            seq: 0,
            next_fire: i64::MAX,
            cells_held: 0,
            cells_grown: 0,
            fired: i64::MIN,
            backing: None,
            leaving: None,
        })
    }

    /// Takes one record. `changing` is set while state is being changed.
    fn take(
        &mut self,
        record: &Arc<StreamRecord>,
        scratch: &mut Scratch,
        changing: &mut bool,
        out: &mut Output<'_>,
    ) -> EvalResult<()> {
        let mut time = self.shape.evaluate(record, out.now, scratch)?;
        *changing = true;
        if self.shape.ttl.is_some() {
            time = self.shape.touch_time(record, out.now);
        }
        let mut watermark = i64::MIN;
        if let Some(windows) = self.windows() {
            watermark = windows.effective(record.watermark());
            if watermark >= self.next_fire {
                self.fire(watermark, out);
            }
            if let State::Sessions(..) = self.state {
                scratch.set_number(self.seq + 1);
                self.take_session(record, scratch, time, watermark, out);
                return Ok(());
            }
            match windows.last_end(time) {
                Some(end) if windows.expiry(end) <= watermark => {
                    out.late(record, windows.late);
                    return Ok(());
                }
                Some(_) => {}
                None => {
                    // Between two windows.
                    out.counters.absorbed += 1;
                    return Ok(());
                }
            }
        }
        out.counters.absorbed += 1;
        self.seq += 1;
        if self.shape.numbered {
            scratch.set_number(self.seq);
        }
        let sets = self.shape.sets();
        for set in 0..sets {
            let hash = self.shape.hash(record, scratch, set);
            let seq = self.seq * sets as u64 + set as u64;
            let (hint, adds) = (NO_SLOT, adds(record));
            self.put(&Row { record, scratch, set, hint, hash, seq, time, watermark, adds });
        }
        if self.shows_at_once() {
            self.show(None, out);
        }
        Ok(())
    }

    /// Whether records are taken in blocks: into so many groups without windows that they lie beyond the nearest caches. Few
    /// groups are fed faster one by one.
    fn takes_blocks(&self) -> bool {
        match &self.state {
            State::Groups(shards) => !self.shows_at_once() && shards.iter().any(|s| s.groups.is_large()),
            _ => false,
        }
    }

    /// Takes records into groups without windows.
    fn take_blocks(&mut self, records: &[Arc<StreamRecord>], out: &mut Output<'_>) {
        let State::Groups(shards) = &mut self.state else { return };
        if self.lanes.is_empty() {
            self.lanes.push(Block::default());
        }
        let lane = Lane { first: 0, count: shards.len(), of: shards.len() };
        if let Some(block) = self.lanes.first_mut() {
            take_lane(&self.shape, lane, shards, block, records, (self.seq, out.now));
        }
        Block::settle(&mut self.lanes, records, out);
        self.seq += records.len() as u64;
    }

    /// The same on several threads, so many of which may work at a time, the caller's included: each looks at the keys of all records
    /// and takes those of its shards. Nobody waits for another but at the end, and the caller's thread does its part itself.
    fn take_side_by_side(
        &mut self,
        pool: &ThreadPool,
        lanes: usize,
        records: &[Arc<StreamRecord>],
        out: &mut Output<'_>,
    ) {
        let State::Groups(shards) = &mut self.state else { return };
        let (of, each) = (shards.len(), shards.len().div_ceil(lanes).max(1));
        if self.lanes.len() < of.div_ceil(each) {
            self.lanes.resize_with(of.div_ceil(each), Block::default);
        }
        let (shape, workers, at) = (&self.shape, out.workers, (self.seq, out.now));
        let mut parts = shards.chunks_mut(each).zip(&mut self.lanes).enumerate();
        let own = parts.next();
        let take = |(n, (shards, block)): (usize, (&mut [GroupShard], &mut Block))| {
            let lane = Lane { first: n * each, count: shards.len(), of };
            take_lane(shape, lane, shards, block, records, at);
        };
        pool.in_place_scope(|scope| {
            for part in parts {
                scope.spawn(move |_| workers.work(|| take(part)));
            }
            own.into_iter().for_each(take);
        });
        Block::settle(&mut self.lanes, records, out);
        self.seq += records.len() as u64;
    }

    /// Adds what a batch may have made accumulators grow by: at most, so that counting all of them is rarely needed – when this is as
    /// much as was counted last, or seems to be beyond the limit.
    fn count_growth(&mut self, batch: &Batch) {
        let (calls, bytes) = self.shape.growing;
        if calls == 0 {
            return;
        }
        // Where a record is in more windows than that, counting comes sooner instead. Shared slices take it once, whatever their
        // windows, unless those that have fired are corrected.
        let windows = match (&self.state, self.windows()) {
            (State::Slices(_), Some(w)) if !w.corrects() => 1,
            (_, w) => w.map_or(1, |w| w.at_once()).min(16),
        };
        let values = batch.bytes().saturating_mul(2 * calls);
        let grown = batch.len().saturating_mul(bytes).saturating_add(values);
        let grown = grown.saturating_mul(self.shape.sets()).saturating_mul(windows);
        self.cells_grown = self.cells_grown.saturating_add(grown);
        if self.cells_grown > self.cells_held.max(COUNT_FROM) {
            self.recount();
        }
    }

    /// Takes records in the way that pays.
    fn take_records(&mut self, records: &[Arc<StreamRecord>], out: &mut Output<'_>) {
        let splits = matches!(self.state, State::Groups(_)) && !self.shows_at_once();
        let way = if splits { self.sharing.next(records.len()) } else { Way::default() };
        let start = way.measure.then(Instant::now);
        let pool = way.share.then(|| out.workers.pool()).flatten();
        match pool {
            Some((pool, lanes)) => self.take_side_by_side(pool, lanes, records, out),
            None if self.takes_blocks() => self.take_blocks(records, out),
            None => self.take_each(records, out),
        }
        if let Some(start) = start {
            let ns = start.elapsed().as_nanos() as f64;
            out.decision = self.sharing.took(records.len(), pool.is_some(), ns);
        }
    }

    /// Takes records one by one.
    fn take_each(&mut self, records: &[Arc<StreamRecord>], out: &mut Output<'_>) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut at = 0;
        while at < records.len() {
            let mut changing = false;
            // A panic leaves `at` at the record that caused it; the loop goes on behind it.
            let sweep = catch_unwind(AssertUnwindSafe(|| {
                while let Some(record) = records.get(at) {
                    changing = false;
                    if let Err(error) = self.take(record, &mut scratch, &mut changing, out) {
                        out.counters.rejected += 1;
                        out.rejects.push(Rejected { record: record.clone(), error: *error });
                    }
                    at += 1;
                }
            }));
            if let Err(panic) = sweep {
                if changing {
                    // State is half changed: only a restart can mend that.
                    resume_unwind(panic);
                }
                if let Some(record) = records.get(at) {
                    out.counters.rejected += 1;
                    out.rejects.push(Rejected { record: record.clone(), error: panic_error(&*panic) });
                }
                at += 1;
            }
        }
        self.scratch = scratch;
    }

    fn windows(&self) -> Option<Windows> {
        match &self.state {
            State::Groups(_) => None,
            State::Panes(windows, _) | State::Sessions(windows, ..) => Some(*windows),
            State::Slices(overlapping) => Some(overlapping.windows),
        }
    }

    /// Whether changes are shown after each record: asked for, or corrections of windows that have fired.
    fn shows_at_once(&self) -> bool {
        match self.shape.emit {
            Emit::EveryChange => true,
            Emit::Final => self.windows().is_some_and(|w| w.corrects()),
            Emit::Changes => false,
        }
    }

    #[inline]
    fn put(&mut self, row: &Row<'_>) {
        let shape = &self.shape;
        match &mut self.state {
            State::Groups(shards) => {
                let at = shard_of(row.hash, shards.len());
                if let Some(shard) = shards.get_mut(at) {
                    shard.put(shape, row);
                }
            }
            State::Panes(windows, shards) => {
                let at = shard_of(row.hash, shards.len());
                let Some(panes) = shards.get_mut(at) else { return };
                let one = match windows.kind() {
                    WindowKind::Tumble { size } => {
                        let start = windows::floor(row.time, size);
                        Some(Span { start, end: start.saturating_add(size) })
                    }
                    WindowKind::Given => Some(Span { start: row.scratch.start, end: row.time }),
                    _ => None,
                };
                if let Some(span) = one {
                    self.next_fire = self.next_fire.min(next_due(windows, span, row.watermark));
                    panes.take(shape, windows, row, span);
                    return;
                }
                let after = row.watermark.saturating_sub(windows.lateness);
                for span in windows.all_after(row.time, after) {
                    self.next_fire = self.next_fire.min(next_due(windows, span, row.watermark));
                    panes.take(shape, windows, row, span);
                }
            }
            State::Slices(overlapping) => self.next_fire = self.next_fire.min(overlapping.put(shape, row)),
            // Taken by `take_session`.
            State::Sessions(..) => {}
        }
    }

    /// Before so many records are taken: writes groups to the store if memory may not do.
    fn make_room(&mut self, records: usize) {
        if self.backing.is_none() {
            return;
        }
        let held = self.state_bytes();
        let rows = records.saturating_mul(self.shape.sets());
        if let (Some(backing), State::Groups(shards)) = (&self.backing, &mut self.state)
            && backing.make_room(&self.shape, shards, rows, held)
        {
            self.recount();
        }
    }

    fn tell_failure(&mut self, out: &mut Output<'_>) {
        if self.backing.is_some()
            && let State::Groups(shards) = &mut self.state
            && let Some(e) = Backing::failure(shards)
        {
            fail(e, out);
        }
    }
}

/// The store can't be used: the job ends.
fn fail(e: StateError, out: &mut Output<'_>) {
    out.fatal.get_or_insert_with(|| Fatal { why: e.to_string(), code: None });
}

fn contract(spec: &AggregateSpec) -> StateContract {
    let what = if spec.calls.is_empty() { "distinct rows" } else { "groups and their aggregates" };
    let until = match &spec.window {
        None => match spec.expiry() {
            Some(Ttl { event_time: true, .. }) => "until no row has touched them for state_ttl by event time",
            Some(_) => "until no row has touched them for state_ttl by the clock",
            None => "for the job's life",
        },
        Some(w) if w.has_watermark => "until the watermark has passed their window",
        Some(_) => "until the input ends",
    };
    StateContract::Kept { what: what.into(), until }
}

impl Operator for AggregateOp {
    fn process(&mut self, _: InputId, batch: Batch, out: &mut Output<'_>) {
        self.process_shared(InputId(0), &batch, out);
        out.pools.give(batch);
    }

    fn process_shared(&mut self, _: InputId, batch: &Batch, out: &mut Output<'_>) {
        let records = batch.records();
        out.counters.input += records.len() as u64;
        self.make_room(records.len());
        if self.expires_by_watermark() {
            self.take_and_expire(records, out);
        } else {
            self.take_records(records, out);
        }
        if self.shape.emit == Emit::Changes {
            self.show(None, out);
        }
        self.count_growth(batch);
        self.tell_failure(out);
    }

    fn on_watermark(&mut self, _: InputId, micros: i64, out: &mut Output<'_>) {
        if self.expires_by_watermark() {
            self.expire(micros, out);
        }
        let Some(windows) = self.windows() else { return };
        let watermark = windows.effective(micros);
        if watermark >= self.next_fire && watermark > i64::MIN {
            self.fire(watermark, out);
        }
    }

    fn next_timer(&self) -> Option<i64> {
        self.shape.ttl.filter(|ttl| !ttl.event_time).and_then(|_| self.next_alarm())
    }

    fn on_timer(&mut self, now: i64, out: &mut Output<'_>) {
        self.expire(now, out);
    }

    fn on_end(&mut self, _: InputId, out: &mut Output<'_>) {
        self.end(out);
        self.tell_failure(out);
    }

    fn emit_more(&mut self, out: &mut Output<'_>) -> bool {
        if self.leaving.is_some() {
            self.emit_part(out);
            return true;
        }
        let Some(backing) = self.backing.as_mut().filter(|b| b.is_draining()) else { return false };
        if let Err(e) = backing.emit(&self.shape, out) {
            fail(e, out);
        }
        true
    }

    fn use_store(&mut self, space: Space, budget: usize) {
        if let State::Groups(shards) = &mut self.state
            && self.shape.ttl.is_none()
        {
            self.backing = Some(Backing::new(space, budget, shards));
        }
    }

    fn state_bytes(&self) -> usize {
        let cells = self.cells_held.saturating_add(self.cells_grown);
        let tables: usize = match &self.state {
            State::Groups(shards) => shards.iter().map(|s| s.groups.bytes()).sum(),
            State::Panes(_, shards) => shards.iter().map(Panes::bytes).sum(),
            State::Slices(overlapping) => overlapping.bytes(),
            State::Sessions(_, _, shards) => shards.iter().map(Sessions::bytes).sum(),
        };
        tables.saturating_add(cells)
    }

    fn recount(&mut self) {
        self.cells_grown = 0;
        self.cells_held = match &self.state {
            State::Groups(shards) => {
                shards.iter().map(|s| s.groups.heap_of_cells(Accumulator::heap_bytes)).sum()
            }
            State::Panes(_, shards) => shards.iter().map(Panes::heap_of_cells).sum(),
            State::Slices(overlapping) => overlapping.heap_of_cells(),
            State::Sessions(_, _, shards) => shards.iter().map(Sessions::heap_of_cells).sum(),
        };
    }

    fn snapshot(&mut self, to: &mut StateWriter) -> Result<(), StateError> {
        self.write(to)
    }

    fn take_down(&mut self, budget: &mut usize) {
        match &mut self.state {
            State::Groups(shards) => shards.iter_mut().for_each(|s| s.groups.take_down(budget)),
            State::Panes(_, shards) => shards.iter_mut().for_each(|s| s.take_down(budget)),
            State::Sessions(_, _, shards) => shards.iter_mut().for_each(|s| s.take_down(budget)),
            // Slices are written as a whole.
            State::Slices(_) => {}
        }
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.read(from)?;
        self.recount();
        Ok(())
    }

    fn state_contract(&self) -> StateContract {
        self.contract.clone()
    }
}
