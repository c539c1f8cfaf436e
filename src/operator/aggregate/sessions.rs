//! SESSION: per key, records less than a gap apart; a session ends a gap after its last record.
//!
//! A record that touches several sessions makes one of them. What was shown of a session whose bounds have changed since is taken
//! back, as the window is part of a row's key. Alarms are set when a session begins; one that goes off too early because the session
//! has grown is set again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::emit::{Emitter, Shown};
use super::shape::{Groups, Row, Scratch, Shape, adds};
use super::snapshot::{cell, read_span, write_cell, write_span};
use super::windows::{Span, Windows};
use super::{AggregateOp, State};
use crate::expr::Accumulator;
use crate::operator::Output;
use crate::plan::Emit;
use crate::record::{FieldValue, RowKind, StreamRecord, group_hash, same_group};
use crate::state::{NO_SLOT, Places, StateError, StateReader, StateWriter, Widths, read_places, shard_of};

/// One session.
#[derive(Debug, Default)]
struct Session {
    /// The slot of its key.
    key: usize,
    start: i64,
    /// The time of its last record.
    last: i64,
    /// Position of the record that came first.
    first: u64,
    /// Tells it from others in the same place; 0 = none is here.
    number: u64,
    /// It has been emitted; what comes is a correction.
    fired: bool,
    /// It is among the touched.
    marked: bool,
    /// The window under which its values are shown.
    shown: Option<Span>,
    values: Vec<FieldValue>,
    cells: Vec<Accumulator>,
}

/// A row that was shown and is true no more.
#[derive(Debug)]
struct Gone {
    seq: u64,
    key: Vec<FieldValue>,
    span: Span,
    values: Vec<FieldValue>,
}

/// A session, as others refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reference {
    at: usize,
    number: u64,
}

/// The sessions of one shard.
#[derive(Debug)]
pub(super) struct Sessions {
    keys: Groups,
    /// The sessions of each key, by its slot.
    chains: Vec<Vec<usize>>,
    slab: Vec<Session>,
    free: Vec<usize>,
    numbers: u64,
    alarms: BinaryHeap<Reverse<(i64, Reference)>>,
    touched: Vec<(u64, Reference)>,
    gone: Vec<Gone>,
    hits: Vec<usize>,
    changes: Places,
}

/// A session whose time has come, in the order of emission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    span: Span,
    first: u64,
    shard: usize,
    at: usize,
}

impl Session {
    fn span(&self, gap: i64) -> Span {
        Span { start: self.start, end: self.last.saturating_add(gap) }
    }

    /// When something is next to be done for it.
    fn next(&self, shape: &Shape, windows: &Windows, gap: i64) -> i64 {
        let end = self.span(gap).end;
        if shape.emit == Emit::Final && !self.fired { windows.due(end) } else { windows.expiry(end) }
    }
}

impl Sessions {
    pub(super) fn new(shape: &Shape) -> Self {
        Self {
            keys: Groups::new(Widths { cells: 0, shown: 0, ..shape.widths() }),
            chains: Vec::new(),
            slab: Vec::new(),
            free: Vec::new(),
            numbers: 0,
            alarms: BinaryHeap::new(),
            touched: Vec::new(),
            gone: Vec::new(),
            hits: Vec::new(),
            changes: Places::default(),
        }
    }

    fn get(&self, reference: Reference) -> Option<&Session> {
        self.slab.get(reference.at).filter(|s| s.number == reference.number)
    }

    /// To be called before a session changes, comes or goes.
    #[inline]
    fn touch(&mut self, at: usize) {
        let Self { changes, keys, slab, .. } = self;
        changes.touch(at, |to| write_session(keys, slab, at, to));
    }

    /// A place for a session of the key in `slot`.
    fn open(&mut self, slot: usize, start: i64, last: i64, first: u64) -> usize {
        self.numbers += 1;
        let at = self.free.pop().unwrap_or_else(|| {
            self.slab.push(Session::default());
            self.slab.len() - 1
        });
        self.touch(at);
        if let Some(s) = self.slab.get_mut(at) {
            (s.key, s.start, s.last, s.first, s.number) = (slot, start, last, first, self.numbers);
        }
        if self.chains.len() <= slot {
            self.chains.resize_with(slot + 1, Vec::new);
        }
        if let Some(chain) = self.chains.get_mut(slot) {
            chain.push(at);
        }
        at
    }

    /// Forgets a session; its buffers stay.
    fn close(&mut self, at: usize) {
        self.touch(at);
        let Some(s) = self.slab.get_mut(at) else { return };
        let slot = s.key;
        (s.number, s.fired, s.marked, s.shown) = (0, false, false, None);
        s.cells.clear();
        self.free.push(at);
        let Some(chain) = self.chains.get_mut(slot) else { return };
        chain.retain(|other| *other != at);
        if chain.is_empty() {
            self.keys.remove(slot);
        }
    }

    fn set_alarm(&mut self, shape: &Shape, windows: &Windows, gap: i64, at: usize) -> i64 {
        let Some(s) = self.slab.get(at) else { return i64::MAX };
        let when = s.next(shape, windows, gap);
        self.alarms.push(Reverse((when, Reference { at, number: s.number })));
        when
    }

    /// Takes a row into its session; `None`: it is late. Else when something is next to be done.
    fn take(&mut self, shape: &Shape, windows: &Windows, gap: i64, row: &Row<'_>) -> Option<i64> {
        let end = row.time.saturating_add(gap);
        let slot = shape.slot(&mut self.keys, row);
        let mut hits = std::mem::take(&mut self.hits);
        hits.clear();
        for at in self.chains.get(slot).into_iter().flatten() {
            let meets = |s: &Session| s.start < end && row.time < s.last.saturating_add(gap);
            if self.slab.get(*at).is_some_and(meets) {
                hits.push(*at);
            }
        }
        for at in &hits {
            self.touch(*at);
        }
        let at = match hits.as_slice() {
            [] if windows.expiry(end) <= row.watermark => {
                if self.chains.get(slot).is_none_or(Vec::is_empty) {
                    self.keys.remove(slot);
                }
                self.hits = hits;
                return None;
            }
            [] => {
                let at = self.open(slot, row.time, row.time, row.seq);
                if let Some(s) = self.slab.get_mut(at) {
                    s.cells.extend(shape.new_cells());
                }
                at
            }
            _ => self.join(shape, gap, row, &mut hits),
        };
        let begins = hits.is_empty();
        self.hits = hits;
        let Some(s) = self.slab.get_mut(at) else { return Some(i64::MAX) };
        shape.feed(&mut s.cells, row);
        let fires = windows.corrects() && s.span(gap).end <= row.watermark;
        let had_fired = std::mem::replace(&mut s.fired, fires);
        if (shape.emit != Emit::Final || s.fired) && !s.marked {
            s.marked = true;
            self.touched.push((row.seq, Reference { at, number: s.number }));
        }
        // One that had fired and goes on fires anew.
        let again = had_fired && !self.slab.get(at).is_some_and(|s| s.fired);
        Some(if begins || again { self.set_alarm(shape, windows, gap, at) } else { i64::MAX })
    }

    /// Makes one session of those that the row touches; gives its place.
    fn join(&mut self, shape: &Shape, gap: i64, row: &Row<'_>, hits: &mut [usize]) -> usize {
        // In the order in which their first records came.
        hits.sort_unstable_by_key(|at| self.slab.get(*at).map_or(u64::MAX, |s| s.first));
        let (mut start, mut last) = (row.time, row.time);
        for s in hits.iter().filter_map(|at| self.slab.get(*at)) {
            (start, last) = (start.min(s.start), last.max(s.last));
        }
        let whole = Span { start, end: last.saturating_add(gap) };
        let (Some((&kept, others)), seq) = (hits.split_first(), row.seq) else { return usize::MAX };
        for at in std::iter::once(kept).chain(others.iter().copied()) {
            let Some(s) = self.slab.get_mut(at) else { continue };
            if let Some(span) = s.shown.filter(|span| at != kept || *span != whole) {
                s.shown = None;
                let key = self.keys.key(s.key).to_vec();
                self.gone.push(Gone { seq, key, span, values: s.values.clone() });
            }
        }
        for &at in others {
            let from = self.slab.get_mut(at).map(|s| std::mem::take(&mut s.cells)).unwrap_or_default();
            let into = self.slab.get_mut(kept).map(|s| s.cells.as_mut_slice()).unwrap_or_default();
            for ((call, into), from) in shape.calls.iter().zip(into).zip(&from) {
                call.merge(into, from);
            }
            let fired = self.slab.get(at).is_some_and(|s| s.fired);
            self.close(at);
            if let Some(s) = self.slab.get_mut(kept) {
                s.fired |= fired;
            }
        }
        if let Some(s) = self.slab.get_mut(kept) {
            (s.start, s.last) = (start, last);
        }
        kept
    }

    /// Adds the sessions whose time has come.
    fn collect_due(
        &mut self,
        shape: &Shape,
        windows: &Windows,
        gap: i64,
        watermark: i64,
        shard: usize,
        to: &mut Vec<Due>,
    ) {
        while let Some(Reverse((when, reference))) = self.alarms.peek().copied() {
            if when > watermark {
                break;
            }
            self.alarms.pop();
            let Some(s) = self.get(reference) else { continue };
            if s.next(shape, windows, gap) > watermark {
                self.set_alarm(shape, windows, gap, reference.at);
            } else {
                to.push(Due { span: s.span(gap), first: s.first, shard, at: reference.at });
            }
        }
    }

    fn next_alarm(&self) -> i64 {
        self.alarms.peek().map_or(i64::MAX, |Reverse((when, _))| *when)
    }

    /// Emits a session for the first time.
    fn fire(&mut self, at: usize, span: Span, keep: bool, to: &mut Emitter<'_, '_>) {
        self.touch(at);
        let Some(s) = self.slab.get_mut(at) else { return };
        s.fired = true;
        if to.insert(self.keys.key(s.key), Some(span), &s.cells) && keep {
            s.shown = Some(span);
            s.values.clear();
            s.values.extend_from_slice(to.results());
        }
    }

    /// Shows what has changed in a session.
    fn change(&mut self, at: usize, gap: i64, to: &mut Emitter<'_, '_>) {
        self.touch(at);
        let Some(s) = self.slab.get_mut(at) else { return };
        s.marked = false;
        let (key, span) = (self.keys.key(s.key), s.span(gap));
        let Some(now) = to.judge(key, Some(span), &s.cells) else { return };
        let was = s.shown.is_some();
        if was && now && to.looks_like(&s.values) {
            return;
        }
        if was {
            let kind = if now { RowKind::UpdateBefore } else { RowKind::Delete };
            to.row(kind, &Shown { key, window: Some(span), values: &s.values });
        }
        s.shown = now.then_some(span);
        if now {
            s.values.clear();
            s.values.extend_from_slice(to.results());
            let kind = if was { RowKind::UpdateAfter } else { RowKind::Insert };
            to.row(kind, &Shown { key, window: Some(span), values: &s.values });
        }
    }

    /// What accumulators hold beyond themselves, in bytes.
    pub(super) fn heap_of_cells(&self) -> usize {
        self.slab.iter().flat_map(|s| &s.cells).map(Accumulator::heap_bytes).sum()
    }

    /// Takes down what is due of a snapshot, about so many bytes.
    pub(super) fn take_down(&mut self, budget: &mut usize) {
        let Self { changes, keys, slab, .. } = self;
        changes.take_down(budget, |at, to| write_session(keys, slab, at, to));
    }

    /// Memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let of = |s: &Session| {
            size_of::<Session>()
                + s.cells.capacity() * size_of::<Accumulator>()
                + s.values.capacity() * size_of::<FieldValue>()
        };
        // All have the same shape: the first speaks for the others.
        let sessions = self.slab.len() * self.slab.first().map_or(0, of);
        let chains = self.chains.len() * (size_of::<Vec<usize>>() + 4 * size_of::<usize>());
        self.keys.bytes()
            + sessions
            + chains
            + self.alarms.len() * size_of::<(i64, Reference)>()
            + self.changes.bytes()
    }
}

impl AggregateOp {
    /// Takes one record into its sessions, one for each grouping set.
    pub(super) fn take_session(
        &mut self,
        record: &Arc<StreamRecord>,
        scratch: &Scratch,
        time: i64,
        watermark: i64,
        out: &mut Output<'_>,
    ) {
        let sets = self.shape.sets();
        self.seq += 1;
        let mut counted = false;
        for set in 0..sets {
            let hash = self.shape.hash(record, scratch, set);
            let seq = self.seq * sets as u64 + set as u64;
            let State::Sessions(windows, gap, shards) = &mut self.state else { return };
            let at = shard_of(hash, shards.len());
            let Some(shard) = shards.get_mut(at) else { continue };
            let (hint, adds) = (NO_SLOT, adds(record));
            let row = Row { record, scratch, set, hint, hash, seq, time, watermark, adds };
            if let Some(next) = shard.take(&self.shape, windows, *gap, &row) {
                self.next_fire = self.next_fire.min(next);
                counted = true;
            }
        }
        if counted {
            out.counters.absorbed += 1;
        } else if let Some(windows) = self.windows() {
            out.late(record, windows.late);
        }
        if counted && self.shows_at_once() {
            self.show(None, out);
        }
    }

    /// Fires and forgets all sessions whose time has come.
    pub(super) fn fire_sessions(&mut self, watermark: i64, out: &mut Output<'_>) {
        let (before, shape) = (self.fired, &self.shape);
        let State::Sessions(windows, gap, shards) = &mut self.state else { return };
        let mut due = Vec::new();
        for (at, shard) in shards.iter_mut().enumerate() {
            shard.collect_due(shape, windows, *gap, watermark, at, &mut due);
        }
        due.sort_unstable();
        // One that fired and grew has two alarms.
        due.dedup();
        let mut to = Emitter::new(shape, out, before);
        for Due { span, shard, at, .. } in &due {
            let Some(shard) = shards.get_mut(*shard) else { continue };
            let session = |shard: &Sessions| shard.slab.get(*at).map(|s| (s.fired, s.marked));
            let Some((fired, marked)) = session(shard) else { continue };
            if shape.emit == Emit::Final && !fired {
                shard.fire(*at, *span, shape.widths().shown > 0 || shape.calls.is_empty(), &mut to);
            } else if marked {
                shard.change(*at, *gap, &mut to);
            }
            if windows.expiry(span.end) <= watermark {
                shard.close(*at);
            } else {
                shard.set_alarm(shape, windows, *gap, *at);
            }
        }
        to.finish();
        self.next_fire = shards.iter().map(Sessions::next_alarm).min().unwrap_or(i64::MAX);
        // An alarm that went off too early is no firing.
        if watermark != i64::MAX && !due.is_empty() {
            self.fired = watermark;
        }
    }

    /// Shows what has changed.
    pub(super) fn show_sessions(gap: i64, shards: &mut [Sessions], to: &mut Emitter<'_, '_>) {
        let mut gone: Vec<Gone> = Vec::new();
        let mut touched: Vec<(u64, usize, Reference)> = Vec::new();
        for (at, shard) in shards.iter_mut().enumerate() {
            gone.append(&mut shard.gone);
            touched.extend(shard.touched.drain(..).map(|(seq, r)| (seq, at, r)));
        }
        gone.sort_by_key(|g| g.seq);
        touched.sort_unstable_by_key(|(seq, ..)| *seq);
        for g in gone {
            to.row(RowKind::Delete, &Shown { key: &g.key, window: Some(g.span), values: &g.values });
        }
        for (_, at, reference) in touched {
            let Some(shard) = shards.get_mut(at) else { continue };
            if shard.get(reference).is_some_and(|s| s.marked) {
                shard.change(reference.at, gap, to);
            }
        }
    }
}

/// Writes a session with its key, so that any shard can read it.
fn write_session(keys: &Groups, slab: &[Session], at: usize, to: &mut StateWriter) {
    let Some(s) = slab.get(at).filter(|s| s.number != 0) else { return };
    keys.key(s.key).iter().for_each(|v| to.short(v));
    to.varint(s.first);
    to.i64(s.start);
    to.i64(s.last);
    to.u8(u8::from(s.fired) | u8::from(s.shown.is_some()) << 1);
    if let Some(span) = s.shown {
        write_span(to, span);
        to.shorts(&s.values);
    }
    s.cells.iter().for_each(|cell| write_cell(cell, to));
}

/// Writes the sessions of all shards, those that there are.
pub(super) fn write_sessions(to: &mut StateWriter, shards: &mut [Sessions]) {
    for Sessions { changes, keys, slab, free, .. } in shards {
        to.u8(1);
        let sizes = (slab.len(), slab.len() - free.len());
        changes.snapshot(to, sizes, |at, to| write_session(keys, slab, at, to));
    }
    to.u8(0);
}

/// Reads them into any number of shards.
pub(super) fn read_sessions(
    from: &mut StateReader<'_>,
    shape: &Shape,
    windows: &Windows,
    gap: i64,
    shards: &mut [Sessions],
) -> Result<i64, StateError> {
    let mut values = Vec::new();
    let mut read = |from: &mut StateReader<'_>| {
        let key = (0..shape.widths().key).map(|_| from.value()).collect::<Result<Vec<_>, _>>()?;
        let (first, start, last) = (from.varint()?, from.i64()?, from.i64()?);
        let flags = from.u8()?;
        let fired = flags & 1 != 0;
        let mut shown = None;
        if flags & 2 != 0 {
            let (span, mut values) = (read_span(from)?, Vec::new());
            from.shorts(&mut values)?;
            shown = Some((span, values));
        }
        let mut cells = Vec::with_capacity(shape.calls.len());
        for at in 0..shape.calls.len() {
            values.clear();
            from.shorts(&mut values)?;
            cells.push(cell(shape, at, &values)?);
        }
        let hash = group_hash(&key);
        let count = shards.len();
        let Some(shard) = shards.get_mut(shard_of(hash, count)) else { return Ok(()) };
        let same = |stored: &[FieldValue]| stored.iter().zip(&key).all(|(a, b)| same_group(a, b));
        let slot = match shard.keys.find(hash, same) {
            Some(slot) => slot,
            None => shard.keys.insert(hash, first, key, []),
        };
        let at = shard.open(slot, start, last, first);
        if let Some(s) = shard.slab.get_mut(at) {
            (s.fired, s.cells) = (fired, cells);
            if let Some((span, values)) = shown {
                (s.shown, s.values) = (Some(span), values);
            }
        }
        shard.set_alarm(shape, windows, gap, at);
        Ok(())
    };
    while from.u8()? != 0 {
        read_places(from, &mut read)?;
    }
    Ok(shards.iter().map(Sessions::next_alarm).min().unwrap_or(i64::MAX))
}
