//! Top-N against a reference that sorts all rows, with and without retractions, at any batch size.

use proptest::prelude::*;

use super::*;
use crate::expr::{SortKey, typing};
use crate::operator::crash_kit;
use crate::operator::test_kit::Bench;
use crate::record::DataType;

fn input() -> Arc<Schema> {
    Schema::of([("k", DataType::BigInt), ("v", DataType::BigInt), ("e", DataType::Timestamp)])
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    limit: u64,
    offset: u64,
    with_rank: bool,
    descending: bool,
    nulls_first: bool,
}

fn spec(shape: Shape, emit: Emit, retracts: bool, windowed: bool) -> TopNSpec {
    let column = |i| typing::column(&input(), i).unwrap();
    let rank = crate::record::Field::new("rank", DataType::BigInt);
    let fields = input().fields().iter().cloned().chain(shape.with_rank.then_some(rank)).collect::<Vec<_>>();
    TopNSpec {
        partition_by: if windowed { vec![column(0), column(2)] } else { vec![column(0)] },
        order_by: vec![SortKey {
            expr: column(1),
            descending: shape.descending,
            nulls_first: shape.nulls_first,
        }],
        limit: shape.limit,
        offset: shape.offset,
        with_rank: shape.with_rank,
        window_end: windowed.then(|| column(2)),
        emit,
        retracts,
        ttl: None,
        schema: Schema::new(fields),
    }
}

type Row = (i64, Option<i64>);

fn record((k, v): Row, end: i64, kind: RowKind, watermark: i64) -> Arc<StreamRecord> {
    let v = v.map_or(FieldValue::Null, FieldValue::Integer);
    let mut r = StreamRecord::with_values(input(), [k.into(), v, FieldValue::Timestamp(end)]);
    r.set_kind(kind);
    r.set_watermark(watermark);
    Arc::new(r)
}

/// The visible rows with their ranks: partitions as they came up.
fn reference(rows: &[Row], shape: Shape) -> Vec<(Row, i64)> {
    let mut keys: Vec<i64> = Vec::new();
    rows.iter().filter(|r| !keys.contains(&r.0)).map(|r| r.0).collect::<Vec<_>>().into_iter().for_each(|k| {
        if !keys.contains(&k) {
            keys.push(k);
        }
    });
    let mut all = Vec::new();
    for key in keys {
        let mut own: Vec<Row> = rows.iter().copied().filter(|r| r.0 == key).collect();
        own.sort_by_key(|(_, v)| match v {
            None => (if shape.nulls_first { -1 } else { 1 }, 0),
            Some(v) => (0, if shape.descending { -v } else { *v }),
        });
        let ranked = own.into_iter().zip(1i64..);
        all.extend(ranked.skip(shape.offset as usize).take(shape.limit as usize));
    }
    all
}

fn row(r: &StreamRecord) -> Row {
    (r.values()[0].as_i64().unwrap(), r.values()[1].as_i64())
}

fn rank(r: &StreamRecord, shape: Shape) -> i64 {
    if shape.with_rank { r.values()[3].as_i64().unwrap() } else { 0 }
}

/// What a reader of the changes knows; panics where a change does not fit.
fn replay(bench: &Bench, shape: Shape) -> Vec<(Row, i64)> {
    let mut known: Vec<(Row, i64)> = Vec::new();
    let mut before = None;
    for r in bench.records() {
        let entry = (row(r), rank(r, shape));
        match r.kind() {
            RowKind::Insert => known.push(entry),
            RowKind::Delete | RowKind::UpdateBefore => {
                let at = known.iter().position(|e| *e == entry).expect("it is there");
                known.remove(at);
                before = (r.kind() == RowKind::UpdateBefore).then_some(entry);
            }
            RowKind::UpdateAfter => {
                let old = before.take().expect("an update has a before");
                assert!(old != entry && old.1 == entry.1, "{old:?} {entry:?}");
                known.push(entry);
            }
        }
    }
    known
}

fn sorted(mut rows: Vec<(Row, i64)>, with_rank: bool) -> Vec<(Row, i64)> {
    if !with_rank {
        rows.iter_mut().for_each(|r| r.1 = 0);
    }
    rows.sort();
    rows
}

fn shapes() -> impl Strategy<Value = Shape> {
    (0u64..5, 0u64..3, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(limit, offset, with_rank, descending, nulls_first)| Shape {
            limit,
            offset,
            with_rank,
            descending,
            nulls_first,
        },
    )
}

/// Row and, for half of the later ones, whether an earlier row leaves instead.
fn steps() -> impl Strategy<Value = Vec<(Row, Option<usize>)>> {
    prop::collection::vec(
        ((0i64..4, prop::option::weighted(0.9, 0i64..12)), prop::option::weighted(0.4, 0usize..100)),
        1..120,
    )
}

fn through_snapshot(op: &mut TopNOp, spec: &TopNSpec) -> TopNOp {
    let mut state = StateWriter::new();
    op.snapshot(&mut state).unwrap();
    let bytes = state.into_bytes();
    let mut fresh = TopNOp::new(spec);
    fresh.restore(&mut StateReader::new(&bytes)).unwrap();
    assert_eq!(fresh.bytes > 0, op.bytes > 0);
    fresh
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn final_rows_are_those_of_the_reference(
        rows in prop::collection::vec((0i64..4, prop::option::weighted(0.9, 0i64..12)), 0..120),
        shape in shapes(),
        size in 1usize..50,
        cut in 0usize..5,
    ) {
        let spec = spec(shape, Emit::Final, false, false);
        let (mut op, mut bench) = (TopNOp::new(&spec), Bench::new());
        for (i, chunk) in rows.chunks(size).enumerate() {
            if i == cut {
                op = through_snapshot(&mut op, &spec);
            }
            let records = chunk.iter().map(|r| record(*r, 0, RowKind::Insert, i64::MIN)).collect();
            bench.process(&mut op, Batch::new(records));
        }
        bench.end(&mut op);
        let got: Vec<_> = bench.records().map(|r| (row(r), rank(r, shape))).collect();
        let mut expected = reference(&rows, shape);
        if !shape.with_rank {
            expected.iter_mut().for_each(|r| r.1 = 0);
        }
        prop_assert_eq!(got, expected);
        prop_assert_eq!(op.bytes, 0);
        bench.check_ledger();
    }

    #[test]
    fn changes_lead_to_the_rows_of_the_reference(
        steps in steps(),
        shape in shapes(),
        size in 1usize..50,
        retracts: bool,
        each: bool,
        cut in 0usize..5,
    ) {
        let emit = if each { Emit::EveryChange } else { Emit::Changes };
        let spec = spec(shape, emit, retracts, false);
        let (mut op, mut bench) = (TopNOp::new(&spec), Bench::new());
        let mut rows: Vec<Row> = Vec::new();
        let mut records = Vec::new();
        for (new, leaves) in &steps {
            match leaves {
                Some(n) if retracts && !rows.is_empty() => {
                    let gone = rows.remove(n % rows.len());
                    let kind = if n % 2 == 0 { RowKind::Delete } else { RowKind::UpdateBefore };
                    records.push(record(gone, 0, kind, i64::MIN));
                }
                _ => {
                    rows.push(*new);
                    records.push(record(*new, 0, RowKind::Insert, i64::MIN));
                }
            }
        }
        let mut per_record = 0;
        for (i, chunk) in records.chunks(size).enumerate() {
            if i == cut {
                op = through_snapshot(&mut op, &spec);
            }
            bench.process(&mut op, Batch::new(chunk.to_vec()));
            per_record += 1;
        }
        prop_assert!(per_record > 0);
        bench.end(&mut op);
        let known = sorted(replay(&bench, shape), shape.with_rank);
        prop_assert_eq!(known, sorted(reference(&rows, shape), shape.with_rank));
        bench.check_ledger();
    }

    #[test]
    fn windows_are_emitted_when_the_watermark_reaches_their_end(
        times in prop::collection::vec((0i64..60, 0i64..9), 1..100),
        size in 1usize..50,
        shape in shapes(),
    ) {
        let spec = spec(shape, Emit::Final, false, true);
        let (mut op, mut bench) = (TopNOp::new(&spec), Bench::new());
        let mut top = i64::MIN;
        let mut records = Vec::new();
        let mut late = 0;
        let mut kept: Vec<(i64, Row)> = Vec::new();
        for (i, (time, v)) in times.iter().enumerate() {
            // Time goes on, with rows up to 9 behind.
            let time = i as i64 / 2 + time % 10;
            let end = (time / 10 + 1) * 10;
            records.push(record((0, Some(*v)), end, RowKind::Insert, top));
            if end <= top { late += 1 } else { kept.push((end, (0, Some(*v)))) }
            top = top.max(time - 5);
        }
        for chunk in records.chunks(size) {
            bench.process(&mut op, Batch::new(chunk.to_vec()));
        }
        let open: Vec<i64> = op.partitions.iter().map(|t| t.end).collect();
        let last = records.last().unwrap().watermark();
        prop_assert!(open.iter().all(|end| *end > last));
        bench.end(&mut op);
        prop_assert_eq!(bench.counters.late, late);
        let mut expected = Vec::new();
        let mut ends: Vec<i64> = kept.iter().map(|k| k.0).collect();
        ends.sort();
        ends.dedup();
        for end in ends {
            let rows: Vec<Row> = kept.iter().filter(|k| k.0 == end).map(|k| k.1).collect();
            expected.extend(reference(&rows, shape).into_iter().map(|(r, _)| (end, r)));
        }
        let got: Vec<_> = bench.records().map(|r| match r.values()[2] {
            FieldValue::Timestamp(end) => (end, row(r)),
            _ => panic!(),
        }).collect();
        prop_assert_eq!(got, expected);
        bench.check_ledger();
    }
}

#[test]
fn changes_alone_are_in_a_snapshot_and_bring_it_back() {
    for (emit, retracts, windowed, ttl) in [
        (Emit::Final, false, true, None),
        (Emit::Changes, false, false, None),
        (Emit::Changes, true, false, None),
        (Emit::EveryChange, false, false, Some(150)),
    ] {
        let shape = Shape { limit: 2, offset: 0, with_rank: true, descending: false, nulls_first: true };
        let mut spec = spec(shape, emit, retracts, windowed);
        spec.ttl = ttl.map(|micros| Ttl { event_time: true, micros });
        let batch = |at: usize| {
            let rows = (0..4).map(|i| {
                let n = at as i64 * 4 + i;
                let mess = n * 7919 % 83;
                // Every fifth row takes an earlier one back where rows change.
                let (n, kind) = match retracts && i == 3 {
                    true => (n - 3, RowKind::Delete),
                    false => (n, RowKind::Insert),
                };
                record((n * 7919 % 199, Some(n % 11)), mess % 9 + n, kind, at as i64 * 3)
            });
            (Batch::new(rows.collect()), at as i64 * 3 + 3)
        };
        crash_kit::check(40, &|_| Box::new(TopNOp::new(&spec)), 140, &batch);
    }
}
