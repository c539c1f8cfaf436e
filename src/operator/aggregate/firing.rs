//! What comes out: windows whose time has come, groups that have changed, everything at the end.

use super::emit::Emitter;
use super::panes::Panes;
use super::shape::Shape;
use super::windows::{Span, Windows};
use super::{AggregateOp, State, fail};
use crate::operator::Output;
use crate::plan::Emit;
use crate::record::group_hash;
use crate::state::shard_of;

/// Groups that are emitted together after the end of the input.
pub(super) const PART: usize = 4096;

impl AggregateOp {
    /// Fires and forgets all windows whose time has come.
    pub(super) fn fire(&mut self, watermark: i64, out: &mut Output<'_>) {
        if let State::Sessions(..) = self.state {
            return self.fire_sessions(watermark, out);
        }
        let before = self.fired;
        if let State::Panes(windows, shards) = &mut self.state {
            let mut spans: Vec<Span> = Vec::new();
            for panes in &*shards {
                spans.extend(panes.spans().take_while(|s| windows.due(s.end) <= watermark));
            }
            spans.sort_unstable();
            spans.dedup();
            let mut order = Vec::new();
            let mut to = Emitter::new(&self.shape, out, before);
            for span in spans {
                if self.shape.emit == Emit::Final {
                    fire_pane(&self.shape, shards, span, &mut order, &mut to);
                }
                if windows.expiry(span.end) <= watermark {
                    if self.shape.emit != Emit::Final {
                        show_panes(shards, Some(span), &mut to);
                    }
                    shards.iter_mut().for_each(|panes| panes.close(span));
                }
            }
            to.finish();
            let next = |panes: &Panes| panes.next_due(windows, watermark);
            self.next_fire = shards.iter().filter_map(next).min().unwrap_or(i64::MAX);
        }
        if let State::Slices(overlapping) = &mut self.state {
            let mut to = Emitter::new(&self.shape, out, before);
            self.next_fire = overlapping.fire(&self.shape, watermark, &mut to);
            to.finish();
        }
        if watermark != i64::MAX {
            self.fired = watermark;
        }
    }

    /// Shows what has changed.
    pub(super) fn show(&mut self, only: Option<Span>, out: &mut Output<'_>) {
        let mut to = Emitter::new(&self.shape, out, self.fired);
        match &mut self.state {
            State::Groups(shards) => {
                let mut touched: Vec<(u64, usize, usize)> = Vec::new();
                for (at, shard) in shards.iter_mut().enumerate() {
                    touched.extend(shard.touched.drain(..).map(|(seq, slot)| (seq, at, slot)));
                }
                if shards.len() > 1 {
                    // Those of each shard are in order already.
                    touched.sort();
                }
                let keyless = self.shape.global_sets().next().is_some();
                for (_, at, slot) in touched {
                    let Some(shard) = shards.get_mut(at) else { continue };
                    let rows = shard.groups.head(slot).rows;
                    let global = keyless && self.shape.is_global(shard.groups.key(slot));
                    to.change(&mut shard.groups, slot, None, rows > 0 || global);
                    match shard.groups.head_mut(slot) {
                        Some(head) if rows > 0 || global => head.mark = 0,
                        _ => shard.forget(slot),
                    }
                }
            }
            State::Panes(_, shards) => show_panes(shards, only, &mut to),
            State::Slices(overlapping) => show_panes(&mut overlapping.fired, only, &mut to),
            State::Sessions(_, gap, shards) => Self::show_sessions(*gap, shards, &mut to),
        }
        to.finish();
    }

    /// Emits some of the groups that are emitted at the end: their rows are used again for the next, instead of lying in memory all
    /// together.
    pub(super) fn emit_part(&mut self, out: &mut Output<'_>) {
        let (State::Groups(shards), Some(leaving)) = (&mut self.state, &mut self.leaving) else { return };
        let mut to = Emitter::new(&self.shape, out, i64::MIN);
        for (_, at, slot) in leaving.take(PART) {
            let Some(shard) = shards.get(at as usize) else { continue };
            to.insert_group(&shard.groups, slot as usize, None);
        }
        to.finish();
        if leaving.len() == 0 {
            self.leaving = None;
            shards.iter_mut().for_each(|s| s.groups.clear());
        }
    }

    /// Everything that is only known at the end of the input.
    pub(super) fn end(&mut self, out: &mut Output<'_>) {
        let State::Groups(shards) = &mut self.state else { return };
        // A group without keys exists without rows too.
        for set in self.shape.global_sets() {
            let key = self.shape.global_key(set);
            let hash = group_hash(&key);
            let at = shard_of(hash, shards.len());
            let Some(shard) = shards.get_mut(at) else { continue };
            if !shard.holds(&self.shape, hash, &key) {
                self.seq += 1;
                let first = self.seq * self.shape.sets() as u64 + set as u64;
                let slot = shard.groups.insert(hash, first, key, self.shape.new_cells());
                if self.shape.emit != Emit::Final {
                    shard.touched.push((first, slot));
                }
            }
        }
        if self.shape.emit == Emit::Final {
            match self.backing.as_mut().map(|b| b.begin_drain(&self.shape, shards)) {
                None | Some(Ok(false)) => {}
                Some(Ok(true)) => return,
                Some(Err(e)) => return fail(e, out),
            }
            let mut order = Vec::with_capacity(shards.iter().map(|s| s.groups.len()).sum());
            for (at, shard) in shards.iter().enumerate() {
                let live = shard.groups.live();
                order.extend(live.map(|slot| (shard.groups.head(slot).first, at as u32, slot as u32)));
            }
            if !order.is_sorted() {
                // A few runs, one of each shard.
                order.sort();
            }
            self.leaving = Some(order.into_iter());
            self.emit_part(out);
        } else {
            self.show(None, out);
        }
    }
}

/// When something is next to be done for a window, seen at a watermark: its first firing, or its end.
#[inline]
pub(super) fn next_due(windows: &Windows, span: Span, watermark: i64) -> i64 {
    let due = windows.due(span.end);
    if due > watermark { due } else { windows.expiry(span.end) }
}

pub(super) fn in_order(order: &mut [(u64, usize, usize)]) {
    if !order.is_sorted() {
        // A few runs, one of each shard.
        order.sort();
    }
}

/// Emits the groups of a window that has not fired yet.
pub(super) fn fire_pane(
    shape: &Shape,
    shards: &mut [Panes],
    span: Span,
    order: &mut Vec<(u64, usize, usize)>,
    to: &mut Emitter<'_, '_>,
) {
    order.clear();
    for (at, panes) in shards.iter_mut().enumerate() {
        if let Some(pane) = panes.get_mut(span).filter(|p| !p.fired) {
            pane.fired = true;
            order.extend(pane.groups.live().map(|slot| (pane.groups.head(slot).first, at, slot)));
        }
    }
    in_order(order);
    let keep = shape.widths().shown > 0 || shape.calls.is_empty();
    for &(_, at, slot) in &*order {
        let Some(pane) = shards.get_mut(at).and_then(|p| p.get_mut(span)) else { continue };
        let shown = to.insert_group(&pane.groups, slot, Some(span));
        if shown && keep {
            for (to, from) in pane.groups.shown_mut(slot).iter_mut().zip(to.results()) {
                to.assign(from);
            }
            if let Some(head) = pane.groups.head_mut(slot) {
                head.shown = true;
            }
        }
    }
}

/// Shows touched groups of all windows, or of one.
fn show_panes(shards: &mut [Panes], only: Option<Span>, to: &mut Emitter<'_, '_>) {
    let mut touched: Vec<(u64, Span, usize, usize)> = Vec::new();
    for (at, panes) in shards.iter_mut().enumerate() {
        panes.touched.retain(|t| {
            let now = only.is_none_or(|span| span == t.span);
            if now {
                touched.push((t.seq, t.span, at, t.slot));
            }
            !now
        });
    }
    if touched.is_empty() {
        return;
    }
    if shards.len() > 1 {
        touched.sort_unstable();
    }
    for (_, span, at, slot) in touched {
        let Some(pane) = shards.get_mut(at).and_then(|p| p.get_mut(span)) else { continue };
        let rows = pane.groups.head(slot).rows;
        to.change(&mut pane.groups, slot, Some(span), rows > 0);
        match pane.groups.head_mut(slot) {
            Some(head) if rows > 0 => head.mark = 0,
            _ => pane.groups.remove(slot),
        }
    }
}
