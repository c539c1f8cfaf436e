//! Overlapping windows over shared slices: which fires next, its rows, its corrections.

use super::emit::Emitter;
use super::firing::{fire_pane, in_order};
use super::panes::Panes;
use super::shape::{Row, Shape};
use super::slices::Slices;
use super::slicing::Slicing;
use super::windows::{Span, Windows};
use crate::state::shard_of;

/// The state of an aggregation over windows that share slices.
#[derive(Debug)]
pub(super) struct Overlapping {
    pub(super) windows: Windows,
    pub(super) slicing: Slicing,
    pub(super) shards: Vec<Slices>,
    /// Under `late = 'update'`: windows that have fired and may be corrected, which stand alone.
    pub(super) fired: Vec<Panes>,
    /// The window that fired last.
    pub(super) last: Span,
    /// Slices before this one have entered.
    pub(super) entered: i64,
    /// Windows that end by then have fired, or had no rows.
    pub(super) closed: i64,
    /// Times of the slice of the last record, and its number.
    here: (std::ops::Range<i64>, i64),
}

impl Overlapping {
    pub(super) fn new(shape: &Shape, windows: Windows, slicing: Slicing, shards: usize) -> Self {
        let many = || 0..shards;
        Self {
            windows,
            slicing,
            shards: many().map(|_| Slices::new(shape, slicing.grows())).collect(),
            fired: many().map(|_| Panes::default()).collect(),
            last: Span { start: i64::MIN, end: i64::MIN },
            entered: i64::MIN,
            closed: i64::MIN,
            here: (0..0, 0),
        }
    }

    /// The end up to which windows fire at a watermark.
    fn fires_to(&self, watermark: i64) -> i64 {
        match watermark {
            i64::MAX => watermark,
            _ if self.windows.corrects() => watermark,
            _ => watermark.saturating_sub(self.windows.lateness),
        }
    }

    /// Takes a row that is not late; gives when something is next to be done for it.
    #[inline]
    pub(super) fn put(&mut self, shape: &Shape, row: &Row<'_>) -> i64 {
        let at = shard_of(row.hash, self.shards.len());
        self.closed = self.closed.max(self.fires_to(row.watermark));
        let mut next = i64::MAX;
        if self.windows.corrects() && self.windows.lateness > 0 {
            let after = row.watermark.saturating_sub(self.windows.lateness);
            let Some(panes) = self.fired.get_mut(at) else { return next };
            let closed = self.closed;
            for span in self.windows.all_after(row.time, after).take_while(|s| s.end <= closed) {
                next = next.min(self.windows.expiry(span.end));
                panes.take(shape, &self.windows, row, span);
            }
            if self.windows.last_end(row.time).is_none_or(|end| end <= closed) {
                return next;
            }
        }
        if !self.here.0.contains(&row.time) {
            let number = self.slicing.number(row.time);
            self.here = (self.slicing.start(number)..self.slicing.start(number.saturating_add(1)), number);
        }
        let Some(slices) = self.shards.get_mut(at) else { return next };
        if slices.take(shape, row, self.here.1, self.entered)
            && let Some(span) = self.windows.first_after(row.time, self.closed)
        {
            next = next.min(self.windows.due(span.end));
        }
        next
    }

    /// The window that fires next, if any has rows.
    fn next(&self) -> Option<Span> {
        let goes_on = self.shards.iter().any(|s| !s.active.is_empty());
        // Not always the one behind the last: a late row may have come when there was nothing left to fire.
        let after = self.closed.max(self.last.end);
        let following = if goes_on { self.windows.next_after(self.last, after) } else { None };
        let pending = self.shards.iter().filter_map(Slices::first_pending).min();
        let new = pending.and_then(|n| self.windows.first_after(self.slicing.start(n), after));
        following.into_iter().chain(new).min()
    }

    /// Fires all windows whose time has come; gives when something is next to be done.
    pub(super) fn fire(&mut self, shape: &Shape, watermark: i64, to: &mut Emitter<'_, '_>) -> i64 {
        let mut order = Vec::new();
        while let Some(span) = self.next().filter(|s| self.windows.due(s.end) <= watermark) {
            let (from, end) = self.slicing.of(span);
            let begins = span.start != self.last.start;
            order.clear();
            for (at, slices) in self.shards.iter_mut().enumerate() {
                slices.advance(shape, from, end, begins);
                slices.list(at, &mut order);
            }
            (self.last, self.entered) = (span, self.entered.max(end));
            in_order(&mut order);
            if self.windows.corrects() && self.windows.expiry(span.end) > watermark {
                self.keep(shape, span, &order);
                fire_pane(shape, &mut self.fired, span, &mut order, to);
                continue;
            }
            for &(_, at, slot) in &order {
                let Some(slices) = self.shards.get(at) else { continue };
                let results = |to: &mut Vec<_>| slices.finish(shape, slot, to);
                to.insert_with(slices.groups.key(slot), Some(span), results);
            }
        }
        self.closed = self.closed.max(self.fires_to(watermark));
        for panes in &mut self.fired {
            let windows = &self.windows;
            let over: Vec<Span> = panes.spans().take_while(|s| windows.expiry(s.end) <= watermark).collect();
            over.into_iter().for_each(|span| panes.close(span));
        }
        self.next_due(watermark)
    }

    /// When something is next to be done.
    pub(super) fn next_due(&self, watermark: i64) -> i64 {
        let next = self.next().map(|s| self.windows.due(s.end));
        let fired = self.fired.iter().filter_map(|p| p.next_due(&self.windows, watermark));
        fired.chain(next).min().unwrap_or(i64::MAX)
    }

    /// Makes a window that fires one that can be corrected.
    fn keep(&mut self, shape: &Shape, span: Span, order: &[(u64, usize, usize)]) {
        for &(first, at, slot) in order {
            let (Some(slices), Some(panes)) = (self.shards.get(at), self.fired.get_mut(at)) else { continue };
            if panes.get(span).is_none() {
                panes.open(shape, span, false);
            }
            let Some(pane) = panes.get_mut(span) else { continue };
            let (hash, key) = (slices.groups.hash(slot), slices.groups.key(slot));
            let slot = pane.groups.insert(hash, first, key.iter().cloned(), slices.cells(shape, slot));
            if let Some(head) = pane.groups.head_mut(slot) {
                // What comes only adds to it.
                head.rows = 1;
            }
        }
    }

    /// What accumulators hold beyond themselves, in bytes.
    pub(super) fn heap_of_cells(&self) -> usize {
        self.shards.iter().map(Slices::heap_of_cells).sum::<usize>()
            + self.fired.iter().map(Panes::heap_of_cells).sum::<usize>()
    }

    /// Memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.shards.iter().map(Slices::bytes).sum::<usize>()
            + self.fired.iter().map(Panes::bytes).sum::<usize>()
    }
}
