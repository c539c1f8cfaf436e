//! Calls OVER streams, and first rows of partitions.

use crate::*;

#[test]
fn exclude_no_others_says_what_holds_anyway() {
    let events = [("a", 1, 1), ("a", 2, 2), ("a", 4, 3)];
    let sql = "SELECT x, sum(x) OVER (ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE NO OTHERS) AS s FROM t";
    assert_eq!(run(&events, &[], sql).0, ["1 1", "2 3", "4 6"]);
}

#[test]
fn partitions_of_calls_over_begin_anew_after_their_time_to_live() {
    let sql = "SELECT k, x, row_number() OVER (PARTITION BY k ORDER BY ts) AS n, sum(x) OVER (PARTITION BY k ORDER BY ts) AS s, \
               lag(x) OVER (PARTITION BY k ORDER BY ts) AS before FROM t";
    for batch in ["1", "3", "1000"] {
        let (engine, senders) = live(&["t"], &[]);
        engine.set("state_ttl", "20s").unwrap();
        engine.set("batch_rows", batch).unwrap();
        let mut job = Stepped::new(&engine, sql);
        let events = [
            ("a", 1, 1),
            ("a", 2, 21),
            ("b", 4, 22),
            ("b", 8, 24),
            ("a", 16, 42),
            ("b", 32, 44),
            ("b", 64, 90),
        ];
        events.iter().for_each(|e| senders[0].send(record(*e)).unwrap());
        drop(senders);
        // 42 is 21 s behind 21.
        let expected = [
            "a 1 1 1 -",
            "a 2 2 3 1",
            "b 4 1 4 -",
            "b 8 2 12 4",
            "a 16 1 16 -",
            "b 32 3 44 8",
            "b 64 1 64 -",
        ];
        assert_eq!(job.at(100), expected, "batches of {batch}");
    }
}

#[test]
fn first_rows_of_partitions_are_deleted_after_their_time_to_live() {
    let sql = "SELECT k, x FROM (SELECT k, x, row_number() OVER (PARTITION BY k ORDER BY x DESC) AS n FROM t) WHERE n <= 1";
    let events = [("a", 1, 1), ("b", 4, 2), ("a", 2, 21), ("c", 8, 30), ("d", 16, 60), ("b", 32, 61)];
    // The watermark that a row finds is 2 s behind the row before it: b is due at 19, a at 20, c at 39, d at 48.
    let expected =
        ["a 1", "b 4", "-D a 1", "a 2", "-D b 4", "c 8", "-D a 2", "d 16", "-D c 8", "-D d 16", "b 32"];
    for batch in ["1", "4", "1000"] {
        let (engine, senders) = live(&["t"], &[]);
        let settings = [("state_ttl", "20s"), ("batch_rows", batch), ("emit_every", "record")];
        settings.iter().for_each(|(name, value)| engine.set(name, value).unwrap());
        engine.set("require_bounded_state", "true").unwrap();
        let mut job = Stepped::new(&engine, sql);
        events.iter().for_each(|e| senders[0].send(record(*e)).unwrap());
        assert_eq!(job.at(100), expected, "batches of {batch}");
    }
}

/// Calls OVER that the stream tells as time passes.
const PASSING: &str = "SELECT ts, k, x, sum(x) OVER (PARTITION BY k ORDER BY ts RANGE INTERVAL '5' SECOND PRECEDING) AS near, \
     lag(x) OVER w AS before, count(*) OVER w AS so_far, rank() OVER (ORDER BY ts) AS place FROM t WINDOW w AS (PARTITION BY k ORDER BY ts)";

#[test]
fn calls_over_an_endless_stream_are_told_as_the_watermark_passes() {
    let (engine, senders) = live(&["t"], &[]);
    let mut job = Stepped::new(&engine, PASSING);
    for event in [("a", 1, 3), ("b", 2, 2), ("a", 4, 3), ("a", 8, 5)] {
        senders[0].send(record(event)).unwrap();
    }
    assert_eq!(job.at(1), ["2 b 2 2 - 1 1"], "the watermark is 3, which may still bring rows at 3");
    senders[0].send(record(("b", 16, 9))).unwrap();
    // Of two rows at one time, both are in the frame of each.
    assert_eq!(job.at(2), ["3 a 1 5 - 2 2", "3 a 4 5 1 2 2", "5 a 8 13 4 3 4"]);
    senders[0].send(record(("a", 32, 6))).unwrap();
    senders[0].send(record(("a", 64, 10))).unwrap();
    assert_eq!(job.at(3), [""; 0]);
    assert_eq!(job.job.stats().late, 1, "the row at 6 came when the watermark was 7");
    drop(senders);
    assert_eq!(job.at(4), ["9 b 16 16 2 2 5", "10 a 64 72 8 4 6"]);
}

#[test]
fn calls_over_a_stream_give_what_they_give_over_the_same_rows_at_their_end() {
    // Rows are up to two seconds out of order, which the watermark allows for.
    let mut state = 7u64;
    let mut random = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let event = |i: i64| (["a", "b", "c"][random(3) as usize], random(9) as i64, i / 2 + random(3) as i64);
    let events: Vec<Event> = (0..400).map(event).collect();
    let (engine, source) = (Engine::new(), records_of(&events));
    engine.register_source("t", source).unwrap();
    let (mut expected, _) = run_in(&engine, PASSING);
    let order = |row: &String| row.split(' ').next().map(|t| t.parse::<i64>().unwrap());
    assert!(!expected.is_sorted_by_key(order), "without a watermark rows keep the order of the input");
    expected.sort_by_key(order);
    let (bounded, stats) = run(&events, &[], PASSING);
    assert_eq!((bounded, stats.late), (expected.clone(), 0));
    for batch in ["1", "16", "1000"] {
        let engine = Engine::new();
        let (sender, source) = MemorySource::channel(schema(), 1000);
        engine.register_timed_source("t", source, "ts", "ts - INTERVAL '2' SECOND", &[]).unwrap();
        engine.set("batch_rows", batch).unwrap();
        events.iter().for_each(|e| sender.send(record(*e)).unwrap());
        drop(sender);
        assert_eq!(run_in(&engine, PASSING).0, expected, "batches of {batch}");
    }
}

#[test]
fn calls_over_a_stream_that_ends_give_its_rows_free_as_they_go() {
    const ROWS: i64 = 50_000;
    let events: Vec<Event> = (0..ROWS).map(|i| (["a", "b"][i as usize % 2], i, i)).collect();
    let engine = engine(&events, &[]);
    // Far less than all rows would take.
    engine.set("state_max_bytes", "1 MiB").unwrap();
    let sql = "SELECT ts, sum(x) OVER (PARTITION BY k ORDER BY ts RANGE INTERVAL '4' SECOND PRECEDING) AS near FROM t";
    let (rows, stats) = run_in(&engine, sql);
    assert_eq!((rows.len() as i64, stats.late), (ROWS, 0));
    for (at, row) in rows.iter().enumerate().skip(4) {
        assert_eq!(*row, format!("{at} {}", 3 * (at - 2)));
    }
}

#[test]
fn calls_over_a_stream_wait_for_what_is_allowed_to_be_late() {
    let directory = tempfile::tempdir().unwrap();
    let letters = directory.path().join("late.jsonl");
    let (engine, senders) = live(&["t"], &[("allowed_lateness", "4s"), ("late", "dlq")]);
    let sql = "SELECT ts, x, sum(x) OVER (ORDER BY ts) AS s FROM t";
    let e = engine.sql(sql).unwrap().check().unwrap_err().to_string();
    assert!(e.contains("late = 'dlq' needs a dead letter queue"), "{e}");
    engine.set("dlq", letters.to_str().unwrap()).unwrap();
    let mut job = Stepped::new(&engine, sql);
    for event in [("a", 1, 10), ("a", 2, 4), ("a", 4, 3), ("a", 8, 14)] {
        senders[0].send(record(event)).unwrap();
    }
    assert_eq!(job.at(1), ["4 2 2"], "3 is behind the watermark of 8 by more than 4");
    drop(senders);
    assert_eq!(job.at(2), ["10 1 3", "14 8 11"]);
    job.job.wait().unwrap();
    assert_eq!(std::fs::read_to_string(&letters).unwrap().lines().count(), 1);
}

#[test]
fn windows_over_calls_over_a_stream_lose_no_row() {
    let (engine, senders) = live(&["t"], &[]);
    let sql = "SELECT window_start, count(*) AS n, sum(before) AS s FROM \
               TUMBLE((SELECT ts, lag(x) OVER (PARTITION BY k ORDER BY ts) AS before FROM t), ts, INTERVAL '10' SECOND) \
               GROUP BY window_start, window_end";
    let mut job = Stepped::new(&engine, sql);
    for event in [("a", 1, 1), ("b", 2, 9), ("a", 4, 8), ("a", 8, 12)] {
        senders[0].send(record(event)).unwrap();
    }
    assert_eq!(job.at(1), ["0 3 1"]);
    drop(senders);
    assert_eq!(job.at(2), ["10 1 4"]);
}

#[test]
fn windows_over_calls_over_input_that_ends_lose_no_row_either() {
    // The call tells its rows at the end, in input order, when the watermark has long passed them.
    let sql = "SELECT window_start, count(*) AS n, sum(before) AS s FROM \
               TUMBLE((SELECT ts, lag(x) OVER (PARTITION BY k ORDER BY ts) AS before FROM t), ts, INTERVAL '10' SECOND) \
               GROUP BY window_start, window_end";
    let (rows, stats) = run(&[("a", 1, 1), ("b", 2, 9), ("a", 4, 8), ("a", 8, 32), ("a", 16, 40)], &[], sql);
    assert_eq!(rows, ["0 3 1", "30 1 4", "40 1 8"]);
    assert_eq!(stats.late, 0);
}

#[test]
fn calls_over_groups_of_windows_follow_the_windows() {
    let (engine, senders) = live(&["t"], &[]);
    let sql = "SELECT window_end, k, n, n - lag(n) OVER (PARTITION BY k ORDER BY window_end) AS more FROM \
               (SELECT window_end, k, count(*) AS n FROM t GROUP BY k WINDOW TUMBLING (10s))";
    let mut job = Stepped::new(&engine, sql);
    for event in [("a", 1, 1), ("b", 1, 2), ("a", 1, 11), ("a", 1, 12), ("b", 1, 13), ("a", 1, 22)] {
        senders[0].send(record(event)).unwrap();
    }
    assert_eq!(job.at(1), ["10 a 1 -", "10 b 1 -"]);
    senders[0].send(record(("a", 1, 23))).unwrap();
    assert_eq!(job.at(2), ["20 a 2 1", "20 b 1 0"]);
}
