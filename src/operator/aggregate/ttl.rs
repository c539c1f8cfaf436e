//! `state_ttl`: groups without windows that no record has touched for so long are forgotten, and told as deleted.
//!
//! Time is the watermark where the input has one, judged row by row, else the job's clock. Each group keeps when it was touched last in
//! a cell behind those of its calls, so that snapshots hold it. One alarm a group goes off at the earliest moment at which it could be
//! due, and is set again if the group was touched meanwhile.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::emit::Emitter;
use super::shape::{Row, Shape};
use super::{AggregateOp, GroupShard, State};
use crate::operator::Output;
use crate::plan::{Emit, Ttl};
use crate::record::{FieldValue, StreamRecord};

/// When a group may be due, its slot, and the position of its first record: another one in that slot has another.
pub(super) type Alarm = Reverse<(i64, u64, usize)>;

impl Shape {
    /// The moment that a record touches its group.
    #[inline]
    pub(super) fn touch_time(&self, record: &StreamRecord, now: i64) -> i64 {
        match self.ttl {
            Some(Ttl { event_time: true, .. }) => record.watermark(),
            _ => now,
        }
    }

    /// When a group touched at that time is due. Before the first watermark nobody knows the time: as soon as it is known the
    /// group's time begins.
    fn due(&self, touched: i64) -> i64 {
        match self.ttl {
            Some(ttl) if touched > i64::MIN => touched.saturating_add(ttl.micros),
            _ => touched,
        }
    }
}

impl GroupShard {
    /// Notes that a row touched a group; the first one sets the alarm.
    pub(super) fn touch(&mut self, shape: &Shape, slot: usize, row: &Row<'_>) {
        let Some(clock) = self.groups.cells_mut(slot).last_mut() else { return };
        if clock.latest().is_none() {
            self.alarms.push(Reverse((shape.due(row.time), row.seq, slot)));
        }
        clock.note(row.time);
    }

    fn touched(&self, slot: usize) -> Option<i64> {
        self.groups.cells(slot).last().and_then(|clock| clock.latest())
    }

    /// Sets the alarms of groups that come from a snapshot.
    pub(super) fn set_alarms(&mut self, shape: &Shape) {
        self.alarms = BinaryHeap::new();
        for slot in self.groups.live() {
            if let Some(touched) = self.touched(slot) {
                self.alarms.push(Reverse((shape.due(touched), self.groups.head(slot).first, slot)));
            }
        }
    }
}

impl AggregateOp {
    /// When the next alarm goes off.
    pub(super) fn next_alarm(&self) -> Option<i64> {
        let State::Groups(shards) = &self.state else { return None };
        shards.iter().filter_map(|s| s.alarms.peek()).map(|Reverse((at, ..))| *at).min()
    }

    /// Whether groups expire as the watermark rises.
    pub(super) fn expires_by_watermark(&self) -> bool {
        self.shape.ttl.is_some_and(|ttl| ttl.event_time)
    }

    /// Takes records, and before each of them lets the groups go for whose time its watermark is too late.
    pub(super) fn take_and_expire(&mut self, records: &[Arc<StreamRecord>], out: &mut Output<'_>) {
        let ttl = self.shape.ttl.map_or(i64::MAX, |ttl| ttl.micros);
        let mut rest = records;
        while let Some(first) = rest.first() {
            self.expire(first.watermark(), out);
            // No alarm goes off before this: those that are set, and those that the rows taken meanwhile set.
            let mut none_before = self.next_alarm().unwrap_or(i64::MAX);
            let calm = rest.iter().position(|record| {
                let now = record.watermark();
                let over = now > i64::MIN && now >= none_before;
                none_before = none_before.min(if now > i64::MIN { now.saturating_add(ttl) } else { now });
                over
            });
            // The first row is taken in any case: what is due by its watermark is gone.
            let (calm, later) = rest.split_at(calm.unwrap_or(rest.len()).max(1));
            self.take_records(calm, out);
            rest = later;
        }
    }

    /// Forgets the groups that are due, in the order in which they fall due.
    pub(super) fn expire(&mut self, now: i64, out: &mut Output<'_>) {
        if now == i64::MIN || now == i64::MAX || self.next_alarm().is_none_or(|at| at > now) {
            return;
        }
        let shape = &self.shape;
        let State::Groups(shards) = &mut self.state else { return };
        let mut due: Vec<(i64, u64, usize, usize)> = Vec::new();
        for (at, shard) in shards.iter_mut().enumerate() {
            while let Some(Reverse((_, first, slot))) =
                shard.alarms.peek().copied().filter(|Reverse((alarm, ..))| *alarm <= now)
            {
                shard.alarms.pop();
                if !shard.groups.is_live(slot) || shard.groups.head(slot).first != first {
                    continue;
                }
                if is_eternal(shape, shard.groups.key(slot)) {
                    continue;
                }
                match shard.touched(slot) {
                    // Touched before time was known: it begins now.
                    Some(i64::MIN) | None => {
                        if let Some(clock) = shard.groups.cells_mut(slot).last_mut() {
                            clock.note(now);
                        }
                        shard.alarms.push(Reverse((shape.due(now), first, slot)));
                    }
                    Some(touched) if shape.due(touched) > now => {
                        shard.alarms.push(Reverse((shape.due(touched), first, slot)));
                    }
                    Some(touched) => due.push((shape.due(touched), first, at, slot)),
                }
            }
        }
        if due.is_empty() {
            return;
        }
        if self.shape.emit == Emit::Changes {
            // What rows before this moment changed comes first.
            self.show(None, out);
        }
        due.sort_unstable();
        // Rows of DISTINCT are told for good: one that comes back is told again.
        let silent = self.shape.calls.is_empty() && !self.shape.retracts;
        let State::Groups(shards) = &mut self.state else { return };
        let mut to = Emitter::new(&self.shape, out, self.fired);
        for (_, _, at, slot) in due {
            let Some(shard) = shards.get_mut(at).filter(|s| s.groups.is_live(slot)) else { continue };
            if !silent {
                to.change(&mut shard.groups, slot, None, false);
            }
            shard.groups.remove(slot);
            to.out.counters.expired += 1;
        }
        to.finish();
    }
}

/// A group without keys (of ROLLUP, say) exists without rows too.
fn is_eternal(shape: &Shape, key: &[FieldValue]) -> bool {
    shape.global_sets().next().is_some() && shape.is_global(key)
}
