//! Groups without windows take records in blocks: all of a block are evaluated, then their groups are fetched, then fed.
//!
//! So nobody waits for the cache misses of groups one by one, and shards can be fed side by side: each looks for the records that are its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::GroupShard;
use super::shape::{Row, Scratch, Shape, adds};
use crate::expr::EvalContext;
use crate::operator::filter_project::panic_error;
use crate::operator::{Output, Rejected};
use crate::plan::Emit;
use crate::record::{RecordError, StreamRecord, sorted};
use crate::state::{NO_SLOT, shard_of};

/// Records whose groups are fetched together.
pub(super) const BLOCK: usize = 64;
/// The same where nothing is kept of each record: the longer, the fewer ends of waiting for memory.
const PLAIN_BLOCK: usize = 256;
/// Groups that are fetched while as many are fed.
const AHEAD: usize = 32;

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
    /// Which record could not, and why.
    failed: Vec<(usize, RecordError)>,
    /// Whether the record that is being evaluated is told here, should it fail.
    tells: bool,
}

/// Who owns a record: [`mine`](Self::mine) says whether a hash is that of one of its groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    /// Its first shard, and how many it has.
    pub(super) first: usize,
    pub(super) count: usize,
    /// Shards of all lanes.
    pub(super) of: usize,
}

impl Lane {
    /// Which of its shards has the groups of a hash.
    #[inline]
    fn shard(self, hash: u64) -> Option<usize> {
        shard_of(hash, self.of).checked_sub(self.first).filter(|shard| *shard < self.count)
    }
    #[inline]
    fn mine(self, hash: u64) -> bool {
        self.shard(hash).is_some()
    }
}

impl Block {
    /// Evaluates records: of all their keys, and the rest of those that belong to groups of the lane. `base`: how many were before
    /// them in the batch.
    pub(super) fn evaluate(
        &mut self,
        shape: &Shape,
        lane: Lane,
        records: &[Arc<StreamRecord>],
        base: usize,
        now: i64,
    ) {
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
                    let ctx = EvalContext { record, now };
                    self.tells = lane.first == 0;
                    let mut result = shape.evaluate_keys(&ctx, scratch);
                    // Who tells of a record that fails: where its first group is; lane 0 where that is not known.
                    let (mut mine, mut tells) = (false, lane.first == 0);
                    (0..sets).for_each(|set| {
                        let hash = if result.is_ok() { shape.hash(record, scratch, set) } else { 0 };
                        let own = result.is_ok() && lane.mine(hash);
                        mine |= own;
                        if set == 0 && result.is_ok() {
                            tells = own;
                        }
                        self.hashes.push(hash);
                    });
                    self.tells = tells;
                    if mine {
                        result = shape.evaluate_rest(&ctx, scratch).map(drop);
                    }
                    self.ready.push(mine && result.is_ok());
                    if let Err(error) = result
                        && tells
                    {
                        self.failed.push((base + at, *error));
                    }
                    at += 1;
                }
            }));
            if let Err(panic) = sweep {
                self.hashes.resize((at + 1) * sets, 0);
                self.ready.push(false);
                if self.tells {
                    self.failed.push((base + at, panic_error(&*panic)));
                }
                at += 1;
            }
        }
    }

    /// Hands over the records of a batch that could not be evaluated, and counts all.
    pub(super) fn settle(blocks: &mut [Self], records: &[Arc<StreamRecord>], out: &mut Output<'_>) {
        let mut failed: Vec<(usize, RecordError)> = Vec::new();
        blocks.iter_mut().for_each(|b| failed.append(&mut b.failed));
        sorted::sort_by_key(&mut failed, |(at, _)| *at);
        out.counters.absorbed += (records.len() - failed.len()) as u64;
        out.counters.rejected += failed.len() as u64;
        for (at, error) in failed {
            let Some(record) = records.get(at) else { continue };
            out.rejects.push(Rejected { record: record.clone(), error });
        }
    }
}

/// Takes the records of a batch into those groups that are in the shards of a lane. `before`: records taken in before the batch.
pub(super) fn take_lane(
    shape: &Shape,
    lane: Lane,
    shards: &mut [GroupShard],
    block: &mut Block,
    records: &[Arc<StreamRecord>],
    (before, now): (u64, i64),
) {
    let mut base = 0;
    for records in records.chunks(PLAIN_BLOCK) {
        if shape.plain && take_plain(shape, lane, shards, block, records, (before + base as u64, now)) {
            base += records.len();
            continue;
        }
        for records in records.chunks(BLOCK) {
            block.evaluate(shape, lane, records, base, now);
            for (n, shard) in shards.iter_mut().enumerate() {
                let part = Part { at: lane.first + n, of: lane.of };
                shard.feed(shape, part, records, block, before + base as u64);
            }
            base += records.len();
        }
    }
}

/// Takes records of which nothing but columns is wanted: nothing is kept of each while the others are looked at. `false`: it has not
/// taken any, as one of them fails, or as groups may lie elsewhere.
fn take_plain(
    shape: &Shape,
    lane: Lane,
    shards: &mut [GroupShard],
    block: &mut Block,
    records: &[Arc<StreamRecord>],
    (before, now): (u64, i64),
) -> bool {
    if shards.iter().any(|s| s.cold.is_some()) {
        return false;
    }
    if block.scratches.is_empty() {
        block.scratches.push(shape.scratch());
    }
    let Some(scratch) = block.scratches.first_mut() else { return false };
    let mut rows = [Found::default(); PLAIN_BLOCK];
    let mut found = 0;
    for (place, record) in records.iter().enumerate() {
        let hash = shape.hash(record, scratch, 0);
        let Some(shard) = lane.shard(hash) else { continue };
        if shape.evaluate_rest(&EvalContext { record, now }, scratch).is_err() {
            return false;
        }
        if let (Some(row), Some(owner)) = (rows.get_mut(found), shards.get(shard)) {
            *row = Found { hash, hint: NO_SLOT, place: place as u16, shard: shard as u16 };
            found += 1;
            owner.groups.prefetch(hash);
        }
    }
    // While some groups are fed, the next ones are on their way.
    let mut parts = rows.get_mut(..found).unwrap_or_default().chunks_mut(AHEAD);
    let mut next = parts.next();
    next.iter_mut().for_each(|part| locate(shards, part));
    while let Some(part) = next {
        next = parts.next();
        next.iter_mut().for_each(|part| locate(shards, part));
        for &mut Found { hash, hint, place, shard } in part {
            let record = records.get(usize::from(place));
            let (Some(record), Some(shard)) = (record, shards.get_mut(usize::from(shard))) else { continue };
            let seq = before + 1 + u64::from(place);
            let (time, watermark, adds) = (0, i64::MIN, adds(record));
            shard.put(shape, &Row { record, scratch, set: 0, hint, hash, seq, time, watermark, adds });
        }
    }
    true
}

/// A record of a block whose groups are known to be here.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    hash: u64,
    /// Where its group may be.
    hint: u32,
    /// Which record it is, and which shard of the lane has it.
    place: u16,
    shard: u16,
}

#[inline]
fn locate(shards: &[GroupShard], rows: &mut [Found]) {
    for row in rows {
        if let Some(shard) = shards.get(usize::from(row.shard)) {
            row.hint = shard.groups.locate(row.hash);
        }
    }
}

/// Which shard of how many.
#[derive(Clone, Copy, Debug)]
struct Part {
    at: usize,
    of: usize,
}

impl GroupShard {
    /// Feeds those records of an evaluated block whose groups are of this shard. `before`: records taken in before the block.
    fn feed(&mut self, shape: &Shape, part: Part, records: &[Arc<StreamRecord>], block: &Block, before: u64) {
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
            hashes.iter().for_each(|hash| self.groups.prefetch(*hash));
            hashes.iter().zip(&mut *hints).for_each(|(hash, hint)| *hint = self.groups.locate(*hash));
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
