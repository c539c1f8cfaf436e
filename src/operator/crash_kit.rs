//! Runs an operator over barriers and crashes, for tests: what comes out must be what comes out without any.

use super::test_kit::Bench;
use super::{InputId, Operator, StateReader, StateWriter};
use crate::record::Batch;
use crate::state::{Frozen, Piece, TableState, test_files::Files};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// A barrier: batches before it, rows that had come out, what the operator wrote.
struct Barrier {
    at: usize,
    rows: usize,
    section: Vec<u8>,
}

struct Pending {
    barrier: Barrier,
    frozen: Frozen,
    named: Vec<TableState>,
    pieces: Vec<Piece>,
}

/// What happened.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// All rows that came out, with their kinds.
    pub(super) rows: Vec<String>,
    pub(super) crashes: usize,
    /// Snapshots that had only what changed, of at least one table.
    pub(super) in_part: usize,
}

/// Runs `batches` batches with the watermarks that follow them, barriers at random places, each taken down bit by bit while the next batches
/// come, and at most four crashes: then an operator that `make` makes, told how many there were, goes on from the last complete snapshot. The
/// seed 0 has neither barriers nor crashes.
pub(super) fn run(
    seed: u64,
    make: &dyn Fn(usize) -> Box<dyn Operator>,
    batches: usize,
    batch: &dyn Fn(usize) -> (Batch, i64),
) -> Run {
    let mut random = Random(seed);
    let (mut run, mut op, mut at) = (Run::default(), make(0), 0);
    let (mut files, mut next, mut first) = (Files::default(), 1, true);
    let (mut committed, mut pending): (Option<Barrier>, Option<Pending>) = (None, None);
    let take = |bench: &mut Bench, rows: &mut Vec<String>| {
        for r in bench.records() {
            let values: Vec<String> = r.values().iter().map(crate::expr::to_text).collect();
            rows.push(format!("{} {}", r.kind().symbol(), values.join(",")));
        }
        bench.recycle();
        assert_eq!(bench.fatal, None, "seed {seed}");
    };
    let mut bench = Bench::new();
    while at < batches {
        if pending.is_none() && seed > 0 && random.below(2) == 0 {
            let frozen = Frozen::new(next, first || random.below(8) == 0);
            let mut to = StateWriter::freezing(&frozen, 3);
            op.snapshot(&mut to).unwrap();
            let (section, named) = to.into_parts();
            (next, first) = (frozen.next(), false);
            run.in_part += usize::from(named.iter().any(|t| !t.whole));
            let barrier = Barrier { at, rows: run.rows.len(), section };
            pending = Some(Pending { barrier, frozen, named, pieces: Vec::new() });
        }
        let (records, watermark) = batch(at);
        bench.process(&mut *op, records);
        bench.watermark(&mut *op, InputId(0), watermark);
        take(&mut bench, &mut run.rows);
        at += 1;
        if let Some(mut under_way) = pending.take() {
            op.take_down(&mut (random.below(20_000) as usize));
            under_way.pieces.extend(under_way.frozen.take());
            if under_way.frozen.is_complete() {
                files.write(&under_way.named, &under_way.pieces);
                committed = Some(under_way.barrier);
            } else {
                pending = Some(under_way);
            }
        }
        if let Some(barrier) = committed.as_ref().filter(|_| run.crashes < 4 && random.below(20) == 0) {
            run.crashes += 1;
            if let Some(lost) = pending.take() {
                lost.frozen.abandon();
            }
            op = make(run.crashes);
            let tables = files.tables();
            let mut from = StateReader::with_tables(&barrier.section, &tables);
            op.restore(&mut from).unwrap();
            assert!(from.is_empty(), "seed {seed}");
            at = barrier.at;
            run.rows.truncate(barrier.rows);
            // A new run counts tables anew, and begins with a whole snapshot.
            (next, first) = (1, true);
        }
    }
    bench.end(&mut *op);
    take(&mut bench, &mut run.rows);
    run
}

/// The same with seeds from 1 on: each must give what is given without barriers, and all that can happen must have happened.
pub(super) fn check(
    seeds: u64,
    make: &dyn Fn(usize) -> Box<dyn Operator>,
    batches: usize,
    batch: &dyn Fn(usize) -> (Batch, i64),
) {
    let expected = run(0, make, batches, batch).rows;
    assert!(!expected.is_empty());
    let (mut crashes, mut in_part) = (0, 0);
    for seed in 1..=seeds {
        let got = run(seed, make, batches, batch);
        assert!(got.rows == expected, "seed {seed}: {:?}\ninstead of\n{expected:?}", got.rows);
        crashes += got.crashes;
        in_part += got.in_part;
    }
    assert!(crashes > seeds as usize && in_part > seeds as usize, "{crashes} crashes, {in_part} in part");
}
