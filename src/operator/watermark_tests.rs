//! The watermark operator against a reference of ten lines, for any batches.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::expr::{BinaryOp, FunctionRegistry, typing};
use crate::operator::test_kit::Bench;
use crate::plan::LatePolicy;
use crate::record::{DataType, Interval, Schema, deep_copies_on_this_thread};

fn schema() -> Arc<Schema> {
    Schema::of([("ts", DataType::Timestamp), ("n", DataType::BigInt)])
}

/// `WATERMARK FOR ts AS ts - delay`; `general` spells it so that no fast path takes it.
fn spec(delay: i64, general: bool) -> WatermarkSpec {
    let schema = schema();
    let ts = || typing::column(&schema, 0).unwrap();
    let micros = |m| typing::literal(FieldValue::Interval(Interval { months: 0, days: 0, micros: m }));
    let watermark = if general {
        let later = typing::binary(BinaryOp::Add, ts(), micros(1)).unwrap();
        typing::binary(BinaryOp::Subtract, later, micros(delay + 1)).unwrap()
    } else {
        typing::binary(BinaryOp::Subtract, ts(), micros(delay)).unwrap()
    };
    WatermarkSpec {
        time: ts(),
        watermark,
        max_future_skew: None,
        idle_timeout: None,
        lateness: 0,
        late: LatePolicy::Drop,
        schema,
    }
}

type Row = (i32, Option<i64>);

fn record(n: usize, (partition, ts): Row) -> Arc<StreamRecord> {
    let ts = ts.map_or(FieldValue::Null, FieldValue::Timestamp);
    let mut record = StreamRecord::with_values(schema(), [ts, (n as i64).into()]);
    record.set_partition(partition);
    Arc::new(record)
}

fn batch(rows: &[Row]) -> Batch {
    Batch::new(rows.iter().enumerate().map(|(n, r)| record(n, *r)).collect())
}

type Stamp = (Option<i64>, i64);

/// Event time and watermark that each row must carry, and the last watermark.
fn reference(rows: &[Row], delay: i64) -> (Vec<Stamp>, i64) {
    let mut max: BTreeMap<i32, i64> = BTreeMap::new();
    let mut current = i64::MIN;
    let mut stamps = Vec::new();
    for (partition, ts) in rows {
        stamps.push((*ts, current));
        let known = max.entry(*partition).or_insert(i64::MIN);
        *known = (*known).max(ts.map_or(i64::MIN, |t| t - delay));
        current = current.max(*max.values().min().unwrap());
    }
    (stamps, current)
}

fn stamps(bench: &Bench) -> Vec<Stamp> {
    bench.records().map(|r| (r.event_time(), r.watermark())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn stamps_are_those_of_the_reference_at_any_batch_size(
        rows in prop::collection::vec((0i32..4, prop::option::weighted(0.9, 0i64..200)), 1..200),
        delay in 0i64..20,
        size in 1usize..60,
        general: bool,
        snapshot_at in 0usize..200,
    ) {
        let (expected, last) = reference(&rows, delay);
        let spec = spec(delay, general);
        let mut op = WatermarkOp::new(&spec);
        prop_assert_eq!(matches!(op.judge, Judge::Column { .. }), !general);
        let mut bench = Bench::new();
        let mut done = 0;
        for chunk in rows.chunks(size) {
            if (done..done + chunk.len()).contains(&snapshot_at) {
                let mut state = StateWriter::new();
                op.snapshot(&mut state).unwrap();
                op = WatermarkOp::new(&spec);
                op.restore(&mut StateReader::new(&state.into_bytes())).unwrap();
            }
            bench.process(&mut op, batch(chunk));
            done += chunk.len();
        }
        prop_assert_eq!(stamps(&bench), expected);
        prop_assert_eq!(bench.watermarks.last().copied().unwrap_or(i64::MIN), last);
        prop_assert!(bench.watermarks.is_sorted());
        bench.check_ledger();
    }
}

#[test]
fn own_records_are_stamped_in_place_and_shared_ones_are_left_alone() {
    let rows: Vec<Row> = (0..10).map(|i| (0, Some(i * 10))).collect();
    let before = deep_copies_on_this_thread();
    let own = batch(&rows);
    let places: Vec<_> = own.records().iter().map(Arc::as_ptr).collect();
    let mut bench = Bench::new();
    bench.process(&mut WatermarkOp::new(&spec(5, false)), own);
    assert_eq!(bench.records().map(Arc::as_ptr).collect::<Vec<_>>(), places);
    let expected = stamps(&bench);

    let shared = batch(&rows);
    let held: Vec<_> = shared.records().to_vec();
    for whole in [true, false] {
        let mut bench = Bench::new();
        let mut op = WatermarkOp::new(&spec(5, false));
        if whole {
            bench.process_shared(&mut op, &shared);
        } else {
            bench.process(&mut op, batch(&rows));
            bench.batches.clear();
            let mut copy = Batch::default();
            copy.share(&shared);
            op = WatermarkOp::new(&spec(5, false));
            bench.process(&mut op, copy);
        }
        assert_eq!(stamps(&bench), expected);
    }
    assert!(held.iter().all(|r| r.event_time().is_none() && r.watermark() == i64::MIN));
    assert_eq!(deep_copies_on_this_thread(), before);
}

#[test]
fn a_time_too_far_ahead_is_rejected_and_moves_nothing() {
    let mut bench = Bench::new();
    bench.now = 1000;
    let mut op = WatermarkOp::new(&WatermarkSpec { max_future_skew: Some(100), ..spec(0, false) });
    bench.process(&mut op, batch(&[(0, Some(900)), (0, Some(1101)), (0, Some(1100)), (0, Some(0))]));
    assert_eq!(stamps(&bench), [(Some(900), i64::MIN), (Some(1100), 900), (Some(0), 1100)]);
    assert_eq!(bench.rejects.len(), 1);
    assert_eq!(bench.rejects[0].error.code, ErrorCode::FutureTime);
    assert!(bench.rejects[0].error.message.contains("max_future_skew"), "{}", bench.rejects[0].error);
    assert_eq!(bench.rejects[0].record.event_time(), None);
    bench.check_ledger();
}

#[test]
fn a_time_beyond_all_times_is_a_record_error() {
    let mut bench = Bench::new();
    bench.process(&mut WatermarkOp::new(&spec(5, false)), batch(&[(0, Some(i64::MIN + 2)), (0, Some(7))]));
    assert_eq!(stamps(&bench), [(Some(7), i64::MIN)]);
    assert_eq!(bench.rejects[0].error.code, ErrorCode::Overflow);
    bench.check_ledger();
}

#[test]
fn a_silent_partition_is_left_out_after_its_time_and_comes_back() {
    let mut bench = Bench::new();
    let mut op = WatermarkOp::new(&WatermarkSpec { idle_timeout: Some(30), ..spec(0, false) });
    assert_eq!(op.next_timer(), None);
    bench.process(&mut op, batch(&[(0, Some(100)), (1, Some(10))]));
    assert_eq!(bench.watermarks, [100], "partition 1 was not known yet, and the watermark never goes back");
    bench.now = 20;
    bench.process(&mut op, batch(&[(0, Some(200))]));
    assert_eq!((bench.watermarks.as_slice(), op.next_timer()), ([100].as_slice(), Some(30)));
    bench.advance_clock(&mut op, 29);
    assert_eq!(bench.watermarks, [100]);
    bench.advance_clock(&mut op, 30);
    assert_eq!(
        (bench.watermarks.as_slice(), op.next_timer(), bench.idle),
        ([100, 200].as_slice(), Some(50), false)
    );
    bench.advance_clock(&mut op, 50);
    assert_eq!((op.next_timer(), bench.idle), (None, true));
    bench.now = 60;
    bench.process(&mut op, batch(&[(1, Some(150)), (0, Some(300))]));
    assert_eq!((bench.watermarks.as_slice(), bench.idle), ([100, 200].as_slice(), false));
    bench.process(&mut op, batch(&[(1, Some(250))]));
    assert_eq!(bench.watermarks, [100, 200, 250]);
}

/// The operator in another process, from what it kept.
fn again(op: &mut WatermarkOp, spec: &WatermarkSpec) -> WatermarkOp {
    let mut state = StateWriter::new();
    op.snapshot(&mut state).unwrap();
    let mut op = WatermarkOp::new(spec);
    op.restore(&mut StateReader::new(&state.into_bytes())).unwrap();
    op
}

/// A partition, and its topic where there are several.
type Place<'a> = (Option<&'a str>, i32);

fn expected(places: &[Place<'_>]) -> Vec<(Option<Arc<str>>, i32)> {
    places.iter().map(|(topic, id)| (topic.map(Arc::from), *id)).collect()
}

fn named(n: usize, topic: Option<&str>, partition: i32, ts: i64) -> Arc<StreamRecord> {
    let mut record = record(n, (partition, Some(ts)));
    Arc::get_mut(&mut record).unwrap().set_topic(topic.map(Arc::from));
    record
}

#[test]
fn a_partition_where_records_wait_holds_the_watermark_until_its_first_one() {
    let spec = WatermarkSpec { idle_timeout: Some(30), ..spec(0, false) };
    let (mut op, mut bench) = (WatermarkOp::new(&spec), Bench::new());
    op.expect(&expected(&[(None, 0), (None, 1)]));
    bench.process(&mut op, batch(&[(0, Some(100)), (0, Some(200))]));
    assert_eq!(stamps(&bench), [(Some(100), i64::MIN), (Some(200), i64::MIN)]);
    // Also in another process.
    let mut op = again(&mut op, &spec);
    op.expect(&expected(&[(None, 0), (None, 1)]));
    let mut bench = Bench::new();
    bench.process(&mut op, batch(&[(0, Some(300)), (1, Some(50)), (1, Some(70)), (0, Some(301))]));
    assert_eq!(stamps(&bench).iter().map(|s| s.1).collect::<Vec<_>>(), [i64::MIN, i64::MIN, 50, 70]);
    // Nobody waits for ever for one that says nothing.
    op.expect(&expected(&[(None, 2)]));
    bench.process(&mut op, batch(&[(1, Some(80))]));
    assert_eq!(bench.watermarks, [70]);
    bench.advance_clock(&mut op, 5);
    bench.now = 20;
    bench.process(&mut op, batch(&[(0, Some(302)), (1, Some(90))]));
    bench.advance_clock(&mut op, 35);
    assert_eq!(bench.watermarks, [70, 90]);
}

#[test]
fn partitions_of_one_number_in_two_topics_are_two() {
    let (mut op, mut bench) = (WatermarkOp::new(&spec(0, false)), Bench::new());
    let places = expected(&[(Some("a"), 0), (Some("b"), 0)]);
    op.expect(&places);
    let rows = [(Some("a"), 100), (Some("b"), 10), (Some("b"), 20), (Some("a"), 101)];
    let records = rows.iter().enumerate().map(|(n, (topic, ts))| named(n, *topic, 0, *ts)).collect();
    bench.process(&mut op, Batch::new(records));
    assert_eq!(stamps(&bench).iter().map(|s| s.1).collect::<Vec<_>>(), [i64::MIN, i64::MIN, 10, 20]);
    let mut op = again(&mut op, &spec(0, false));
    let mut bench = Bench::new();
    bench.process(&mut op, Batch::new(vec![named(0, Some("a"), 0, 200), named(1, Some("b"), 0, 30)]));
    assert_eq!(bench.watermarks, [30]);
}

#[test]
fn a_state_without_topics_goes_on_when_records_name_theirs() {
    let (mut op, mut bench) = (WatermarkOp::new(&spec(0, false)), Bench::new());
    bench.process(&mut op, batch(&[(0, Some(100)), (1, Some(90))]));
    let mut op = again(&mut op, &spec(0, false));
    op.expect(&expected(&[(Some("t"), 0), (Some("t"), 1)]));
    let mut bench = Bench::new();
    let records = [(0, 200), (1, 150)].map(|(p, ts)| named(0, Some("t"), p, ts));
    bench.process(&mut op, Batch::new(records.to_vec()));
    assert_eq!(bench.watermarks, [150]);
}

#[test]
fn an_idle_partition_where_records_wait_speaks_again() {
    let spec = WatermarkSpec { idle_timeout: Some(30), ..spec(0, false) };
    let (mut op, mut bench) = (WatermarkOp::new(&spec), Bench::new());
    op.expect(&expected(&[(None, 0), (None, 1)]));
    bench.process(&mut op, batch(&[(0, Some(100)), (1, Some(90))]));
    bench.advance_clock(&mut op, 1000);
    assert!(bench.idle);
    let mut op = again(&mut op, &spec);
    op.expect(&expected(&[(None, 0), (None, 1)]));
    // Those behind know from their own state that it was silent.
    let mut bench = Bench::new();
    bench.idle = true;
    bench.process(&mut op, batch(&[(0, Some(200)), (1, Some(95)), (0, Some(201))]));
    assert!(!bench.idle);
    assert_eq!(stamps(&bench).iter().map(|s| s.1).collect::<Vec<_>>(), [90, 90, 95]);
}

#[test]
fn a_partition_that_brings_nothing_after_all_holds_nothing_back() {
    let (mut op, mut bench) = (WatermarkOp::new(&spec(0, false)), Bench::new());
    op.expect(&expected(&[(None, 0), (None, 1), (None, 2)]));
    bench.process(&mut op, batch(&[(0, Some(100)), (2, Some(40))]));
    assert!(bench.watermarks.is_empty());
    bench.run(|out| op.expect_no_more(None, 1, out));
    assert_eq!(bench.watermarks, [40]);
    // One that has brought something is not let go.
    bench.run(|out| op.expect_no_more(None, 2, out));
    bench.process(&mut op, batch(&[(0, Some(200)), (1, Some(120))]));
    assert_eq!(bench.watermarks, [40]);
}

#[test]
fn silence_begins_anew_after_a_restore() {
    let spec = WatermarkSpec { idle_timeout: Some(30), ..spec(0, false) };
    let (mut op, mut bench) = (WatermarkOp::new(&spec), Bench::new());
    bench.process(&mut op, batch(&[(0, Some(10)), (1, Some(5)), (0, Some(90))]));
    let mut op = again(&mut op, &spec);
    let mut bench = Bench::new();
    bench.advance_clock(&mut op, 1000);
    assert_eq!((op.next_timer(), bench.watermarks.as_slice()), (Some(1030), [10].as_slice()));
    bench.process(&mut op, batch(&[(0, Some(91))]));
    bench.advance_clock(&mut op, 1030);
    assert!(bench.idle);
}

#[test]
fn where_the_clock_is_the_time_it_rises_without_records() {
    let proctime = || typing::call(&FunctionRegistry::builtin(), "proctime", vec![]).unwrap();
    let spec = WatermarkSpec { time: proctime(), watermark: proctime(), ..spec(0, false) };
    let (mut op, mut bench) = (WatermarkOp::new(&spec), Bench::new());
    bench.now = 1_000_000;
    bench.process(&mut op, batch(&[(0, None), (0, None)]));
    assert_eq!(stamps(&bench), [(Some(1_000_000), i64::MIN), (Some(1_000_000), 1_000_000)]);
    bench.advance_clock(&mut op, 1_000_001);
    assert_eq!(bench.watermarks, [1_000_000]);
    bench.advance_clock(&mut op, 2_000_000);
    assert_eq!(bench.watermarks, [1_000_000, 2_000_000]);
}

#[test]
#[ignore = "a measurement; run with --release --ignored --nocapture"]
fn cost_per_record() {
    let rows: Vec<Row> = (0..1000).map(|i| (0, Some(i))).collect();
    for general in [false, true] {
        let (mut op, mut bench) = (WatermarkOp::new(&spec(5, general)), Bench::new());
        let mut work = batch(&rows);
        let start = std::time::Instant::now();
        for _ in 0..10_000 {
            bench.process(&mut op, work);
            work = bench.batches.pop().unwrap();
        }
        println!("general {general}: {:.2} ns a record", start.elapsed().as_nanos() as f64 / 1e7);
    }
}
