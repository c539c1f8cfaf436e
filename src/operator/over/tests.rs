//! Calls OVER against a reference that looks at all rows for each row, streaming and bounded, at any batch size.

use proptest::prelude::*;

use super::*;
use crate::expr::{Expr, FunctionRegistry, SortKey, typing};
use crate::operator::crash_kit;
use crate::operator::test_kit::Bench;
use crate::plan::{LatePolicy, OverFunction};
use crate::record::{DataType, Field};

fn input() -> Arc<Schema> {
    Schema::of([("ts", DataType::Timestamp), ("k", DataType::BigInt), ("v", DataType::BigInt)])
}
fn column(i: usize) -> Expr {
    typing::column(&input(), i).unwrap()
}
fn int(n: i64) -> Expr {
    typing::literal(n.into())
}
fn aggregate(name: &str, args: Vec<Expr>) -> OverFunction {
    let functions = FunctionRegistry::builtin();
    OverFunction::Aggregate(typing::aggregate_call(&functions, name, args, false, None, vec![]).unwrap())
}

/// Calls that need no row to come, then those that do.
fn calls(all: bool) -> Vec<OverFunction> {
    use OverFunction as F;
    let v = || column(2);
    let mut calls = vec![
        aggregate("count", vec![]),
        aggregate("sum", vec![v()]),
        aggregate("min", vec![v()]),
        aggregate("approx_count_distinct", vec![v()]),
        F::RowNumber,
        F::Rank,
        F::DenseRank,
        F::Lag { expr: v(), offset: int(2), default: Some(int(-1)) },
        F::FirstValue(v()),
        F::LastValue(v()),
        F::NthValue { expr: v(), n: int(2) },
    ];
    if all {
        calls.extend([
            F::PercentRank,
            F::CumeDist,
            F::Ntile(int(3)),
            F::Lead { expr: v(), offset: int(1), default: None },
        ]);
    }
    calls
}

fn spec(frame: Frame, streaming: bool, descending: bool, nulls_first: bool) -> OverSpec {
    let calls = calls(!streaming);
    let added = (0..calls.len()).map(|i| Field::new(format!("c{i}"), DataType::BigInt));
    let schema = Schema::new(input().fields().iter().cloned().chain(added));
    OverSpec {
        partition_by: vec![column(1)],
        order_by: vec![SortKey { expr: column(0), descending, nulls_first }],
        frame,
        calls,
        streaming: streaming.then_some(Streaming { lateness: 0, late: LatePolicy::DeadLetter }),
        ttl: None,
        input: input(),
        schema,
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    ts: Option<i64>,
    k: i64,
    v: Option<i64>,
    arrival: usize,
}

fn record(row: Row, watermark: i64) -> Arc<StreamRecord> {
    let ts = row.ts.map_or(FieldValue::Null, FieldValue::Timestamp);
    let v = row.v.map_or(FieldValue::Null, FieldValue::Integer);
    let mut record = StreamRecord::with_values(input(), [ts, row.k.into(), v]);
    record.set_offset(Some(row.arrival as i64));
    record.set_watermark(watermark);
    Arc::new(record)
}

/// Results of all rows, by arrival.
fn reference(rows: &[Row], spec: &OverSpec) -> Vec<(usize, Vec<FieldValue>)> {
    let key = &spec.order_by[0];
    let place = |r: &Row| match r.ts {
        None => (if key.nulls_first { -1 } else { 1 }, 0),
        Some(t) => (0, if key.descending { -t } else { t }),
    };
    let mut out = Vec::new();
    for row in rows {
        let mut own: Vec<Row> = rows.iter().copied().filter(|r| r.k == row.k).collect();
        own.sort_by_key(|r| (place(r), r.arrival));
        let at = own.iter().position(|r| r.arrival == row.arrival).unwrap();
        let n = own.len() as i64;
        let peers: Vec<usize> = (0..own.len()).filter(|i| own[*i].ts == row.ts).collect();
        let inside = |i: usize, bound: FrameBound, is_start: bool| {
            let sign = |d: i64| if is_start { d >= 0 } else { d <= 0 };
            let offset = match bound {
                FrameBound::UnboundedPreceding | FrameBound::UnboundedFollowing => return true,
                FrameBound::CurrentRow => 0,
                FrameBound::Preceding(n) => -n,
                FrameBound::Following(n) => n,
            };
            if spec.frame.rows {
                return sign(i as i64 - at as i64 - offset);
            }
            match (own[i].ts, row.ts) {
                (Some(a), Some(b)) => sign(if key.descending { b - a } else { a - b } - offset),
                (None, None) => true,
                _ => sign(place(&own[i]).0 - place(row).0),
            }
        };
        let frame: Vec<Row> = (0..own.len())
            .filter(|i| inside(*i, spec.frame.start, true) && inside(*i, spec.frame.end, false))
            .map(|i| own[i])
            .collect();
        let value = |r: Option<&Row>| r.and_then(|r| r.v).map_or(FieldValue::Null, FieldValue::Integer);
        let values: Vec<i64> = frame.iter().filter_map(|r| r.v).collect();
        let some = |v: Option<i64>| v.map_or(FieldValue::Null, FieldValue::Integer);
        let mut distinct = values.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let mut before: Vec<_> = own[..peers[0]].iter().map(|r| r.ts).collect();
        before.dedup();
        let mut results = vec![
            (frame.len() as i64).into(),
            some((!values.is_empty()).then(|| values.iter().sum())),
            some(values.iter().copied().min()),
            (distinct.len() as i64).into(),
            (at as i64 + 1).into(),
            (peers[0] as i64 + 1).into(),
            (before.len() as i64 + 1).into(),
            if at >= 2 { value(own.get(at - 2)) } else { (-1i64).into() },
            value(frame.first()),
            value(frame.last()),
            value(frame.get(1)),
        ];
        if spec.streaming.is_none() {
            let rank = peers[0] as f64;
            results.push((if n == 1 { 0.0 } else { rank / (n - 1) as f64 }).into());
            results.push((own.iter().filter(|r| place(r) <= place(row)).count() as f64 / n as f64).into());
            let sizes: Vec<i64> = (0..3).map(|b| n / 3 + i64::from(b < n % 3)).collect();
            let mut bucket = 0;
            let mut left = at as i64;
            while left >= sizes[bucket] {
                left -= sizes[bucket];
                bucket += 1;
            }
            results.push((bucket as i64 + 1).into());
            results.push(value(own.get(at + 1)));
        }
        out.push((row.arrival, results));
    }
    out
}

fn through_snapshot(op: &mut OverOp, spec: &OverSpec) -> OverOp {
    let mut state = StateWriter::new();
    op.snapshot(&mut state).unwrap();
    let bytes = state.into_bytes();
    let mut fresh = OverOp::new(spec).unwrap();
    let mut from = StateReader::new(&bytes);
    fresh.restore(&mut from).unwrap();
    assert!(from.is_empty());
    fresh
}

fn results(bench: &Bench) -> Vec<(usize, Vec<FieldValue>)> {
    bench.records().map(|r| (r.offset().unwrap() as usize, r.values()[3..].to_vec())).collect()
}

fn bound(i: u8, n: i64) -> FrameBound {
    match i {
        0 => FrameBound::UnboundedPreceding,
        1 => FrameBound::Preceding(n),
        2 => FrameBound::CurrentRow,
        3 => FrameBound::Following(n),
        _ => FrameBound::UnboundedFollowing,
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (prop::option::weighted(0.9, 0i64..25), 0i64..3, prop::option::weighted(0.85, 0i64..9));
    prop::collection::vec(row, 1..70).prop_map(|rows| {
        let row = |(arrival, (ts, k, v))| Row { ts, k, v, arrival };
        rows.into_iter().enumerate().map(row).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn bounded_results_are_those_of_the_reference_in_input_order(
        rows in rows(),
        rows_frame: bool,
        start in (0u8..4, 0i64..6),
        end in (1u8..5, 0i64..6),
        descending: bool,
        nulls_first: bool,
        size in 1usize..80,
        cut in 0usize..4,
    ) {
        let frame = Frame { rows: rows_frame, start: bound(start.0, start.1), end: bound(end.0, end.1), scale: 0 };
        let spec = spec(frame, false, descending, nulls_first);
        let (mut op, mut bench) = (OverOp::new(&spec).unwrap(), Bench::new());
        for (i, chunk) in rows.chunks(size).enumerate() {
            if i == cut {
                op = through_snapshot(&mut op, &spec);
            }
            bench.process(&mut op, Batch::new(chunk.iter().map(|r| record(*r, i64::MIN)).collect()));
        }
        prop_assert!(bench.batches.is_empty());
        bench.end(&mut op);
        prop_assert_eq!(results(&bench), reference(&rows, &spec));
        bench.check_ledger();
    }

    #[test]
    fn streaming_results_are_those_of_the_reference_in_the_order_of_time(
        rows in rows(),
        rows_frame: bool,
        start in (0u8..3, 0i64..6),
        end in (1u8..3, 0i64..6),
        size in 1usize..80,
        cut in 0usize..30,
        delay in 0i64..12,
        lateness in prop_oneof![Just(0i64), 1i64..9],
    ) {
        let frame = Frame { rows: rows_frame, start: bound(start.0, start.1), end: bound(end.0, end.1), scale: 0 };
        let mut spec = spec(frame, true, false, false);
        spec.streaming.as_mut().unwrap().lateness = lateness;
        let (mut op, mut bench) = (OverOp::new(&spec).unwrap(), Bench::new());
        let (mut watermark, mut kept, mut records) = (i64::MIN, Vec::new(), Vec::new());
        let (mut late, mut null) = (0, 0);
        for (i, row) in rows.iter().enumerate() {
            // Time goes on while rows come out of order.
            let row = Row { ts: row.ts.map(|t| t + i as i64), ..*row };
            records.push((record(row, watermark), watermark));
            match row.ts {
                None => null += 1,
                Some(t) if t < watermark.saturating_sub(lateness) => late += 1,
                Some(t) => {
                    kept.push(row);
                    watermark = watermark.max(t - delay);
                }
            }
        }
        for (i, chunk) in records.chunks(size).enumerate() {
            if i == cut {
                op = through_snapshot(&mut op, &spec);
            }
            bench.process(&mut op, Batch::new(chunk.iter().map(|r| r.0.clone()).collect()));
            bench.watermark(&mut op, InputId(0), chunk.last().unwrap().1);
        }
        bench.end(&mut op);
        prop_assert_eq!(bench.counters.late, late);
        prop_assert_eq!(bench.rejects.len() as u64, null + late);
        let mut expected = reference(&kept, &spec);
        expected.sort_by_key(|(arrival, _)| {
            kept.iter().find(|r| r.arrival == *arrival).map(|r| (r.ts, *arrival))
        });
        prop_assert_eq!(results(&bench), expected);
        // No row is late for whoever judges it by its stamp.
        let stamps: Vec<_> = bench.records().map(|r| r.watermark()).collect();
        for (r, stamp) in bench.records().zip(stamps) {
            prop_assert!(matches!(r.values()[0], FieldValue::Timestamp(t) if t >= stamp));
        }
        bench.check_ledger();
    }
}

#[test]
fn rows_that_no_frame_reaches_are_forgotten() {
    let frame =
        Frame { rows: false, start: FrameBound::Preceding(10), end: FrameBound::CurrentRow, scale: 0 };
    let mut spec = spec(frame, true, false, false);
    spec.calls.truncate(3);
    let fields = spec.schema.fields().iter().take(6).cloned().collect::<Vec<_>>();
    spec.schema = Schema::new(fields);
    let (mut op, mut bench) = (OverOp::new(&spec).unwrap(), Bench::new());
    for i in 0..200i64 {
        let records = (0..100).map(|j| {
            let n = i * 100 + j;
            // A new partition for every ten rows.
            record(Row { ts: Some(n), k: n / 10, v: Some(1), arrival: 0 }, n - 5)
        });
        bench.process(&mut op, Batch::new(records.collect()));
        bench.recycle();
    }
    assert!(op.lines.len() < 1500, "{} partitions", op.lines.len());
    assert!(op.state_bytes() < 10_000_000, "{} bytes", op.state_bytes());
    bench.end(&mut op);
    assert_eq!(bench.counters.produced, 20_000);
}

#[test]
fn calls_that_look_ahead_are_refused_for_streams() {
    let frame = Frame { rows: true, start: FrameBound::CurrentRow, end: FrameBound::Following(1), scale: 0 };
    assert!(OverOp::new(&spec(frame, true, false, false)).is_err());
}

#[test]
#[ignore = "a measurement; run with --release --ignored --nocapture"]
fn cost_of_a_long_frame() {
    for length in [10i64, 3600] {
        let frame = Frame {
            rows: false,
            start: FrameBound::Preceding(length),
            end: FrameBound::CurrentRow,
            scale: 0,
        };
        let mut spec = spec(frame, true, false, false);
        spec.calls = vec![aggregate("sum", vec![column(2)])];
        spec.schema = Schema::new(spec.schema.fields().iter().take(4).cloned().collect::<Vec<_>>());
        let (mut op, mut bench) = (OverOp::new(&spec).unwrap(), Bench::new());
        let mut spent = std::time::Duration::ZERO;
        let total = 500_000i64;
        for i in 0..total / 1000 {
            let row = |n: i64| record(Row { ts: Some(n), k: n % 7, v: Some(n), arrival: 0 }, n - 5);
            let batch = Batch::new((i * 1000..(i + 1) * 1000).map(row).collect());
            let start = std::time::Instant::now();
            bench.process(&mut op, batch);
            spent += start.elapsed();
            bench.recycle();
        }
        println!("RANGE {length}: {:.0} ns a record", spent.as_nanos() as f64 / total as f64);
    }
}

#[test]
fn what_accumulators_hold_counts_as_state() {
    let whole =
        Frame { rows: false, start: FrameBound::UnboundedPreceding, end: FrameBound::CurrentRow, scale: 0 };
    let mut spec = spec(whole, true, false, false);
    spec.calls = vec![aggregate("array_agg", vec![column(2)])];
    spec.schema = Schema::new(spec.schema.fields().iter().take(4).cloned().collect::<Vec<_>>());
    let (mut op, mut bench) = (OverOp::new(&spec).unwrap(), Bench::new());
    for i in 0..20i64 {
        let record = |j| {
            let n = i * 500 + j;
            record(Row { ts: Some(n), k: 0, v: Some(n), arrival: 0 }, n)
        };
        bench.process(&mut op, Batch::new((0..500).map(record).collect()));
        bench.recycle();
    }
    op.recount();
    // The rows themselves are gone: their values are what is left.
    assert!(op.bytes < 10_000, "{} bytes of rows", op.bytes);
    assert!(op.state_bytes() > 9_000 * size_of::<FieldValue>(), "{} bytes", op.state_bytes());
}

#[test]
fn changes_alone_are_in_a_snapshot_and_bring_it_back() {
    use FrameBound::{CurrentRow, Preceding, UnboundedPreceding};
    for (streaming, rows, start, ttl) in [
        (true, true, UnboundedPreceding, None),
        (true, true, Preceding(2), None),
        (true, false, Preceding(300), None),
        (true, true, UnboundedPreceding, Some(300)),
        (false, true, Preceding(2), None),
    ] {
        let frame = Frame { rows, start, end: CurrentRow, scale: 0 };
        let mut spec = spec(frame, streaming, false, false);
        spec.ttl = ttl;
        let batch = |at: usize| {
            let rows = (0..4).map(|i| {
                let n = at * 4 + i;
                let mess = n * 7919 % 83;
                let ts = Some((n + mess % 7) as i64);
                let row = Row { ts, k: (n * 7919 % 199) as i64, v: Some(n as i64 % 10), arrival: n };
                record(row, at as i64 * 4 - 4)
            });
            (Batch::new(rows.collect()), at as i64 * 4)
        };
        crash_kit::check(40, &|_| Box::new(OverOp::new(&spec).unwrap()), 140, &batch);
    }
}
