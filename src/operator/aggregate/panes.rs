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
    /// The window of the last record.
    last: usize,
    pub(super) touched: Vec<Touch>,
}

/// Emptied tables kept for later windows.
const SPARE: usize = 4;

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
        self.last = at;
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
        let hit = self.slab.get(self.last).and_then(Option::as_ref).is_some_and(|p| p.span == span);
        if !hit {
            match self.places.get(&span) {
                Some(at) => self.last = *at,
                None if row.adds => {
                    self.open(shape, span, windows.corrects() && span.end <= row.watermark);
                }
                // Nothing there to be taken back from.
                None => return,
            }
        }
        let Some(pane) = self.slab.get_mut(self.last).and_then(Option::as_mut) else { return };
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
    }
}
