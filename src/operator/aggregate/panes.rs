//! Windows that each have a table of groups of their own: TUMBLE, hops without overlap, and every kind under EMIT CHANGES.

use std::collections::BTreeMap;

use super::shape::{Groups, Row, Shape};
use super::windows::{Span, Windows};
use crate::expr::Accumulator;
use crate::plan::Emit;

/// One window.
#[derive(Debug)]
pub(super) struct Pane {
    pub(super) span: Span,
    pub(super) groups: Groups,
    /// It has been emitted; what comes is a correction.
    pub(super) fired: bool,
}

/// A group that changed since it was last shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touch {
    /// Position of the record that touched it first.
    pub(super) seq: u64,
    pub(super) span: Span,
    pub(super) slot: usize,
}

/// The windows of one shard.
#[derive(Debug, Default)]
pub(super) struct Panes {
    places: BTreeMap<Span, usize>,
    slab: Vec<Option<Pane>>,
    free: Vec<usize>,
    /// Emptied tables, for the next windows.
    spare: Vec<Groups>,
    /// Where windows were found lately, by a hash of their end: a direct-mapped cache in front of the tree.
    recent: Vec<u32>,
    pub(super) touched: Vec<Touch>,
}

/// Emptied tables kept for later windows.
const SPARE: usize = 4;
/// Entries of that cache for each open window …
const RECENT: usize = 4;
/// … and at most.
const RECENT_MOST: usize = 1 << 16;

/// Which of so many places, a power of two, is that of a window.
#[inline]
fn place(span: Span, places: usize) -> usize {
    // Ends are multiples of something: these hashes lie evenly apart (Knuth, The Art of Computer Programming, 6.4).
    let hash = (span.end as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash >> 32) as usize & places.wrapping_sub(1)
}

fn remember(recent: &mut [u32], span: Span, at: usize) {
    if let Some(place) = recent.get_mut(place(span, recent.len())) {
        *place = at as u32;
    }
}

impl Panes {
    pub(super) fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        self.places.keys().copied()
    }
    pub(super) fn get(&self, span: Span) -> Option<&Pane> {
        self.slab.get(*self.places.get(&span)?)?.as_ref()
    }
    pub(super) fn get_mut(&mut self, span: Span) -> Option<&mut Pane> {
        self.slab.get_mut(*self.places.get(&span)?)?.as_mut()
    }

    /// Opens a window.
    pub(super) fn open(&mut self, shape: &Shape, span: Span, fired: bool) {
        let groups = self.spare.pop().unwrap_or_else(|| shape.groups());
        let pane = Some(Pane { span, groups, fired });
        let at = self.free.pop().unwrap_or(self.slab.len());
        match self.slab.get_mut(at) {
            Some(slot) => *slot = pane,
            None => self.slab.push(pane),
        }
        self.places.insert(span, at);
        let room = (self.places.len() * RECENT).next_power_of_two().min(RECENT_MOST);
        if self.recent.len() < room {
            self.recent = vec![0; room];
            self.places.iter().for_each(|(span, at)| remember(&mut self.recent, *span, *at));
        }
        remember(&mut self.recent, span, at);
    }

    /// Where in the slab an open window is.
    #[inline]
    fn find(&mut self, span: Span) -> Option<usize> {
        let recent = self.recent.get(place(span, self.recent.len())).map(|at| *at as usize);
        let is = |at: &usize| self.slab.get(*at).and_then(Option::as_ref).is_some_and(|p| p.span == span);
        recent.filter(is).or_else(|| {
            let at = *self.places.get(&span)?;
            remember(&mut self.recent, span, at);
            Some(at)
        })
    }

    /// Forgets a window.
    pub(super) fn close(&mut self, span: Span) {
        let Some(at) = self.places.remove(&span) else { return };
        let Some(mut pane) = self.slab.get_mut(at).and_then(Option::take) else { return };
        self.free.push(at);
        if self.spare.len() < SPARE {
            pane.groups.clear();
            self.spare.push(pane.groups);
        }
    }

    /// Takes a row into the window `span`, which is still open for it.
    #[inline]
    pub(super) fn take(&mut self, shape: &Shape, windows: &Windows, row: &Row<'_>, span: Span) {
        let mut at = self.find(span);
        if at.is_none() && row.adds {
            self.open(shape, span, windows.corrects() && span.end <= row.watermark);
            at = self.find(span);
        }
        // Where it is not open, there is nothing to be taken back from.
        let Some(pane) = at.and_then(|at| self.slab.get_mut(at)).and_then(Option::as_mut) else { return };
        let slot = shape.slot(&mut pane.groups, row);
        let rows = shape.feed_group(&mut pane.groups, slot, row);
        if shape.emit != Emit::Final || pane.fired {
            if let Some(head) = pane.groups.head_mut(slot).filter(|h| h.mark == 0) {
                head.mark = 1;
                self.touched.push(Touch { seq: row.seq, span, slot });
            }
        } else if rows == 0 {
            pane.groups.remove(slot);
        }
    }

    /// When something is next to be done: the first firing of a window, or the end of one that has fired.
    pub(super) fn next_due(&self, windows: &Windows, watermark: i64) -> Option<i64> {
        let first = self.places.keys().next()?;
        if windows.due(first.end) > watermark {
            return Some(windows.due(first.end));
        }
        let waits = Span { end: watermark.saturating_add(1), start: i64::MIN };
        let due = self.places.range(waits..).next().map(|(span, _)| windows.due(span.end));
        Some(windows.expiry(first.end).min(due.unwrap_or(i64::MAX)))
    }

    /// Takes down what is due of frozen tables.
    pub(super) fn take_down(&mut self, budget: &mut usize) {
        for pane in self.slab.iter_mut().flatten() {
            pane.groups.take_down(budget);
        }
    }

    /// What accumulators hold beyond themselves, in bytes.
    pub(super) fn heap_of_cells(&self) -> usize {
        self.slab.iter().flatten().map(|p| p.groups.heap_of_cells(Accumulator::heap_bytes)).sum()
    }

    /// Memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.slab.iter().flatten().map(|p| p.groups.bytes()).sum::<usize>()
            + self.spare.iter().map(Groups::bytes).sum::<usize>()
            + self.places.len() * 64
            + self.recent.capacity() * size_of::<u32>()
    }
}
