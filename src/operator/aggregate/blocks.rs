//! Groups without windows take records in blocks: all of a block are evaluated, then their groups are fetched, then fed.
//!
//! So the cache misses of many groups overlap, and shards can be fed side by side: each looks for the records that are its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::GroupShard;
use super::shape::{Row, Scratch, Shape, adds};
use crate::expr::Accumulator;
use crate::operator::filter_project::panic_error;
use crate::operator::{Output, Rejected};
use crate::plan::Emit;
use crate::record::{RecordError, StreamRecord};
use crate::state::{NO_SLOT, shard_of};

/// Records whose groups are fetched together.
pub(super) const BLOCK: usize = 32;

/// Records evaluated before any state changes.
#[derive(Debug, Default)]
pub(super) struct Block {
    scratches: Vec<Scratch>,
    /// Hashes of the keys, one for each grouping set.
    hashes: Vec<u64>,
    /// The job's clock.
    now: i64,
    /// Whether it could be evaluated.
    ready: Vec<bool>,
    /// Where one could not, and why.
    failed: Vec<(usize, RecordError)>,
}

impl Block {
    /// Evaluates records.
    pub(super) fn evaluate(&mut self, shape: &Shape, records: &[Arc<StreamRecord>], now: i64) {
        let sets = shape.sets();
        if self.scratches.len() < records.len() {
            self.scratches.resize_with(records.len(), || shape.scratch());
        }
        self.hashes.clear();
        self.now = now;
        self.ready.clear();
        let mut at = 0;
        while at < records.len() {
            // A panic leaves `at` at the record that caused it; the loop goes on behind it.
            let sweep = catch_unwind(AssertUnwindSafe(|| {
                while let (Some(record), Some(scratch)) = (records.get(at), self.scratches.get_mut(at)) {
                    let result = shape.evaluate(record, now, scratch);
                    let ready = result.is_ok();
                    (0..sets).for_each(|set| {
                        self.hashes.push(if ready { shape.hash(record, scratch, set) } else { 0 });
                    });
                    self.ready.push(ready);
                    if let Err(error) = result {
                        self.failed.push((at, *error));
                    }
                    at += 1;
                }
            }));
            if let Err(panic) = sweep {
                self.hashes.resize((at + 1) * sets, 0);
                self.ready.push(false);
                self.failed.push((at, panic_error(&*panic)));
                at += 1;
            }
        }
    }

    /// Hands over the records that could not be evaluated, and counts all.
    pub(super) fn settle(&mut self, records: &[Arc<StreamRecord>], out: &mut Output<'_>) {
        out.counters.absorbed += (records.len() - self.failed.len()) as u64;
        out.counters.rejected += self.failed.len() as u64;
        for (at, error) in self.failed.drain(..) {
            let Some(record) = records.get(at) else { continue };
            out.rejects.push(Rejected { record: record.clone(), error });
        }
    }
}

/// Which shard of how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) at: usize,
    pub(super) of: usize,
}

impl GroupShard {
    /// Feeds those records of an evaluated block whose groups are of this shard. `before`: records taken in before the block.
    pub(super) fn feed(
        &mut self,
        shape: &Shape,
        part: Part,
        records: &[Arc<StreamRecord>],
        block: &Block,
        before: u64,
    ) {
        let sets = shape.sets();
        let (mut hashes, mut places, mut hints) = ([0; BLOCK], [0; BLOCK], [NO_SLOT; BLOCK]);
        let mut found = 0;
        for (place, hash) in block.hashes.iter().enumerate() {
            let ready = block.ready.get(place / sets) == Some(&true);
            if ready
                && shard_of(*hash, part.of) == part.at
                && let (Some(h), Some(p)) = (hashes.get_mut(found), places.get_mut(found))
            {
                (*h, *p) = (*hash, place);
                found += 1;
            }
            if found < BLOCK && place + 1 < block.hashes.len() {
                continue;
            }
            let (hashes, places) = (hashes.get(..found).unwrap_or_default(), places.get(..found));
            let hints = hints.get_mut(..found).unwrap_or_default();
            found = 0;
            self.groups.locate(hashes, hints, Accumulator::is_boxed);
            let found_at = hashes.iter().zip(places.unwrap_or_default()).zip(&*hints);
            let rows = found_at.filter_map(|((&hash, &place), &hint)| {
                let (at, set) = (place / sets, place % sets);
                let (record, scratch) = (records.get(at)?, block.scratches.get(at)?);
                let seq = (before + 1 + at as u64) * sets as u64 + set as u64;
                let time = shape.touch_time(record, block.now);
                let (watermark, adds) = (i64::MIN, adds(record));
                Some(Row { record, scratch, set, hint, hash, seq, time, watermark, adds })
            });
            if self.cold.is_some() {
                self.fetch(shape, rows.clone());
            }
            rows.for_each(|row| self.put(shape, &row));
        }
    }

    /// Feeds one row to its group.
    #[inline]
    pub(super) fn put(&mut self, shape: &Shape, row: &Row<'_>) {
        let slot = self.slot(shape, row);
        let rows = shape.feed_group(&mut self.groups, slot, row);
        if shape.ttl.is_some() {
            self.touch(shape, slot, row);
        }
        if shape.emit == Emit::Final {
            if rows == 0 && shape.retracts {
                self.forget(slot);
            }
        } else if let Some(head) = self.groups.head_mut(slot).filter(|h| h.mark == 0) {
            head.mark = 1;
            self.touched.push((row.seq, slot));
        }
    }
}
