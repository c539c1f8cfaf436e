//! Event time through whole jobs: what other engines get wrong about windows, late rows, silence, clocks; EMIT.

use std::sync::Arc;

use millstream::connector::memory::{MemorySender, MemorySource};
use millstream::observe::JobStats;
use millstream::{DataType, Engine, Error, FieldValue, Schema, Step, StreamRecord};

const SECOND: i64 = 1_000_000;

fn schema() -> Arc<Schema> {
    Schema::of([("k", DataType::Varchar), ("x", DataType::BigInt), ("ts", DataType::Timestamp)])
}

/// Key, value, time in seconds.
type Event = (&'static str, i64, i64);

fn record((k, x, ts): Event) -> StreamRecord {
    StreamRecord::with_values(schema(), [k.into(), x.into(), FieldValue::Timestamp(ts * SECOND)])
}

fn records_of(events: &[Event]) -> MemorySource {
    MemorySource::from_vec(schema(), events.iter().copied().map(record).collect()).unwrap()
}

/// An engine with the stream `t`, which ends.
fn engine(events: &[Event], options: &[(&str, &str)]) -> Engine {
    let (engine, source) = (Engine::new(), records_of(events));
    engine.register_timed_source("t", source, "ts", "ts - INTERVAL '2' SECOND", options).unwrap();
    engine
}

/// Times in seconds, the kind in front unless it is an insert.
fn text(row: &StreamRecord) -> String {
    let value = |v: &FieldValue| match v {
        FieldValue::Null => "-".to_owned(),
        FieldValue::Integer(n) => n.to_string(),
        FieldValue::String(s) => s.to_string(),
        FieldValue::Timestamp(t) => (t / SECOND).to_string(),
        other => format!("{other:?}"),
    };
    let values: Vec<String> = row.values().iter().map(value).collect();
    let kind = if row.kind().symbol() == "+I" { String::new() } else { format!("{} ", row.kind().symbol()) };
    kind + &values.join(" ")
}

fn run_in(engine: &Engine, sql: &str) -> (Vec<String>, JobStats) {
    let mut job = engine.sql(sql).unwrap_or_else(|e| panic!("{e}")).start().unwrap();
    let rows = job.rows().map(|r| text(&r)).collect();
    (rows, job.wait().unwrap())
}

fn run(events: &[Event], options: &[(&str, &str)], sql: &str) -> (Vec<String>, JobStats) {
    run_in(&engine(events, options), sql)
}

const TENS: &str = "SELECT k, window_start, count(*) AS n FROM t GROUP BY k WINDOW TUMBLING (10s)";

#[test]
fn a_late_record_does_not_close_a_window_early() {
    // The late row (2) comes between rows of the window that begins at 10.
    let events = [("a", 1, 1), ("a", 1, 11), ("a", 1, 13), ("a", 1, 2), ("a", 1, 14), ("a", 1, 19)];
    let (rows, stats) = run(&events, &[], TENS);
    assert_eq!(rows, ["a 0 1", "a 10 4"]);
    assert_eq!(stats.late, 1);
}

#[test]
fn a_gap_emits_no_windows_that_never_had_records() {
    let (rows, _) = run(&[("a", 1, 1), ("a", 1, 95), ("b", 1, 96)], &[], TENS);
    assert_eq!(rows, ["a 0 1", "a 90 1", "b 90 1"]);
    let hops = "SELECT window_start, count(*) AS n FROM t WINDOW SLIDING (20s, 10s)";
    let (rows, _) = run(&[("a", 1, 1), ("a", 1, 95)], &[], hops);
    assert_eq!(rows, ["-10 1", "0 1", "80 1", "90 1"]);
}

#[test]
fn sessions_are_per_key_and_not_global() {
    let events = [("a", 1, 1), ("b", 1, 4), ("a", 1, 8), ("b", 1, 12), ("a", 1, 16)];
    let sql = "SELECT k, window_start, window_end, count(*) AS n FROM t GROUP BY k WINDOW SESSION (8s)";
    let (rows, _) = run(&events, &[], sql);
    // Of all rows together, one session from 1 to 24.
    assert_eq!(rows, ["b 4 12 1", "a 1 16 2", "b 12 20 1", "a 16 24 1"]);
}

#[test]
fn windows_are_flushed_at_the_end_of_input() {
    let (rows, _) = run(&[("a", 1, 1), ("b", 1, 2)], &[("allowed_lateness", "1h")], TENS);
    assert_eq!(rows, ["a 0 1", "b 0 1"]);
    let (rows, _) =
        run(&[("a", 1, 1)], &[], "SELECT k, window_end FROM SESSION(t, ts, INTERVAL '1' DAY PARTITION BY k)");
    assert_eq!(rows, ["a 86401"]);
}

#[test]
fn having_before_window_keeps_the_window() {
    let events = [("a", 1, 1), ("a", 1, 2), ("b", 1, 3), ("a", 1, 11)];
    let sql =
        "SELECT k, window_start, count(*) AS n FROM t GROUP BY k HAVING count(*) > 1 WINDOW TUMBLING (10s)";
    assert_eq!(run(&events, &[], sql).0, ["a 0 2"]);
    let sql =
        "SELECT k, window_start, count(*) AS n FROM t GROUP BY k WINDOW TUMBLING (10s) HAVING count(*) > 1";
    assert_eq!(run(&events, &[], sql).0, ["a 0 2"]);
}

#[test]
fn hop_windows_keep_rows_that_still_fit_an_open_window() {
    // At watermark 13 the window [0, 10) is over, but [5, 15) holds the row at 8.
    let events = [("a", 1, 6), ("a", 1, 15), ("a", 1, 8), ("a", 1, 3)];
    let sql =
        "SELECT window_start, count(*) AS n FROM t WINDOW HOPPING (SIZE 10 SECONDS, ADVANCE BY 5 SECONDS)";
    let (rows, stats) = run(&events, &[], sql);
    assert_eq!(rows, ["0 1", "5 2", "10 1", "15 1"]);
    assert_eq!(stats.late, 1, "3 fits no open window");
}

#[test]
fn a_late_row_counts_once_however_many_windows_it_would_have_been_in() {
    // MAX(window_start) needs the columns of HOP: its rows go through it one by one for each of their windows.
    let events = [("a", 1, 6), ("a", 1, 15), ("a", 1, 8), ("a", 1, 3)];
    let sql = "SELECT window_end, count(*) AS n, max(window_start) AS s \
               FROM HOP(t, ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND) GROUP BY window_end";
    let directory = tempfile::tempdir().unwrap();
    let letters = directory.path().join("late.jsonl");
    let engine = engine(&events, &[("late", "dlq")]);
    engine.set("dlq", letters.to_str().unwrap()).unwrap();
    let (rows, stats) = run_in(&engine, sql);
    assert_eq!(rows, ["10 1 0", "15 2 5", "20 1 10", "25 1 15"]);
    assert_eq!((stats.late, stats.dead_letters), (1, 1), "8 counts in the window that begins at 5");
    assert_eq!(std::fs::read_to_string(&letters).unwrap().lines().count(), 1);
    let top = "SELECT * FROM (SELECT window_end, x, row_number() OVER (PARTITION BY window_end ORDER BY ts) AS n \
               FROM HOP(t, ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND)) WHERE n <= 1";
    let (rows, stats) = run(&events, &[], top);
    assert_eq!((rows, stats.late), (["10 1 1", "15 1 1", "20 1 1", "25 1 1"].map(String::from).into(), 1));
}

#[test]
fn bounds_of_windows_stand_in_having_and_cumulate_has_them_too() {
    let events = [("a", 1, 1), ("b", 2, 4), ("a", 4, 12), ("b", 8, 18), ("a", 16, 31)];
    let sql = "SELECT k, TUMBLE_START(ts, INTERVAL '10' SECOND) AS s, sum(x) AS x FROM t \
               GROUP BY k, TUMBLE(ts, INTERVAL '10' SECOND) \
               HAVING TUMBLE_START(ts, INTERVAL '10' SECOND) >= TIMESTAMP '1970-01-01 00:00:10' \
               AND TUMBLE_END(ts, INTERVAL '10' SECOND) < TIMESTAMP '1970-01-01 00:00:40'";
    assert_eq!(run(&events, &[], sql).0, ["a 10 4", "b 10 8"]);
    let of = |bound: &str| format!("CUMULATE_{bound}(ts, INTERVAL '10' SECOND, INTERVAL '20' SECOND)");
    let sql = format!(
        "SELECT {} AS s, {} AS e, sum(x) AS x FROM t GROUP BY CUMULATE(ts, INTERVAL '10' SECOND, INTERVAL '20' SECOND)",
        of("START"),
        of("END")
    );
    assert_eq!(run(&events, &[], &sql).0, ["0 10 3", "0 20 15", "20 40 16"]);
}

#[test]
fn grouping_sets_stand_beside_windows() {
    let events = [("a", 1, 1), ("b", 2, 4), ("a", 4, 12), ("b", 8, 2), ("a", 16, 31)];
    let hop = "HOP(t, ts, INTERVAL '10' SECOND, INTERVAL '20' SECOND)";
    let sql = format!(
        "SELECT k, window_start, sum(x) AS s, grouping(k) AS g FROM {hop} GROUP BY GROUPING SETS ((k), ()), window_start, window_end"
    );
    // 2 comes when time is at 10 and counts in [0, 20) alone.
    let expected = [
        "a -10 1 0",
        "- -10 3 1",
        "b -10 2 0",
        "a 0 5 0",
        "- 0 15 1",
        "b 0 10 0",
        "a 10 4 0",
        "- 10 4 1",
        "a 20 16 0",
        "- 20 16 1",
        "a 30 16 0",
        "- 30 16 1",
    ];
    assert_eq!(run(&events, &[], &sql).0, expected);
    let sql = "SELECT k, window_start, sum(x) AS s FROM t GROUP BY ROLLUP (k) WINDOW TUMBLING (20s)";
    let (rows, stats) = run(&events, &[("allowed_lateness", "5s"), ("late", "update")], sql);
    assert_eq!(rows, ["a 0 5", "- 0 15", "b 0 10", "a 20 16", "- 20 16"]);
    assert_eq!(stats.late, 0);
    let sql = "SELECT k, window_start, sum(x) AS s FROM t GROUP BY ROLLUP (k) WINDOW SESSION (9s)";
    assert_eq!(
        run(&events, &[("allowed_lateness", "20s")], sql).0,
        ["a 1 1", "b 2 10", "- 1 15", "a 12 4", "a 31 16", "- 31 16"]
    );
}

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

#[test]
fn late_rows_are_counted_at_each_window_and_reach_the_dead_letter_file() {
    let directory = tempfile::tempdir().unwrap();
    let letters = directory.path().join("late.jsonl");
    let events = [("a", 1, 1), ("a", 2, 30), ("b", 3, 2), ("a", 4, 25), ("b", 5, 31)];
    let engine = engine(&events, &[("late", "dlq")]);
    let e = engine.sql(TENS).unwrap().check().unwrap_err().to_string();
    assert!(e.contains("late = 'dlq' needs a dead letter queue"), "{e}");
    engine.set("dlq", letters.to_str().unwrap()).unwrap();
    let (rows, stats) = run_in(&engine, TENS);
    assert_eq!(rows, ["a 0 1", "a 20 1", "a 30 1", "b 30 1"]);
    assert_eq!((stats.late, stats.dead_letters, stats.rejected), (1, 1, 0));
    let window = stats.operators.iter().find(|o| o.name.contains("aggregate")).unwrap();
    assert_eq!((window.input, window.absorbed, window.late), (5, 4, 1));
    let written = std::fs::read_to_string(&letters).unwrap();
    assert_eq!(written.lines().count(), 1);
    assert!(written.contains("\"late\"") && written.contains("aggregate"), "{written}");
}

#[test]
fn lateness_is_allowed_for_and_corrections_follow_where_asked() {
    let events = [("a", 1, 1), ("a", 1, 14), ("a", 1, 3), ("a", 1, 40), ("a", 1, 4)];
    let (rows, stats) = run(&events, &[("allowed_lateness", "10s")], TENS);
    assert_eq!((rows, stats.late), (vec!["a 0 2".to_owned(), "a 10 1".into(), "a 40 1".into()], 1));
    let (rows, stats) = run(&events, &[("allowed_lateness", "10s"), ("late", "update")], TENS);
    assert_eq!(rows, ["a 0 1", "-U a 0 1", "+U a 0 2", "a 10 1", "a 40 1"]);
    assert_eq!(stats.late, 1);
}

#[test]
fn sessions_that_grow_behind_their_end_are_taken_back() {
    let events = [("a", 1, 1), ("a", 1, 12), ("a", 1, 4), ("a", 1, 40)];
    let sql = "SELECT k, window_start, window_end, count(*) AS n FROM t GROUP BY k WINDOW SESSION (5s)";
    let (rows, _) = run(&events, &[("allowed_lateness", "20s"), ("late", "update")], sql);
    assert_eq!(rows, ["a 1 6 1", "-D a 1 6 1", "a 1 9 2", "a 12 17 1", "a 40 45 1"]);
}

#[test]
fn an_append_only_sink_refuses_corrections_and_names_the_ways_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.jsonl");
    let into = |with: &str| {
        format!("CREATE STREAM o WITH (connector = 'file', path = '{}'{with}) AS {TENS}", path.display())
    };
    let refused = engine(&[("a", 1, 1)], &[("late", "update")]).sql(&into("")).unwrap_err().to_string();
    for way in ["append-only", "changelog = 'upsert'", "format = 'debezium-json'"] {
        assert!(refused.contains(way), "{way}: {refused}");
    }
    engine(&[("a", 1, 1)], &[("late", "update")]).sql(&into(", format = 'debezium-json'")).unwrap();
    engine(&[("a", 1, 1)], &[]).sql(&into("")).unwrap();
}

#[test]
fn emit_changes_tells_each_group_once_a_batch_or_after_each_record() {
    let events: Vec<Event> = (0..40).map(|i| (if i % 3 == 0 { "a" } else { "b" }, i, i)).collect();
    let sql = format!("{TENS} EMIT CHANGES");
    let mut first = None;
    for batch in ["1", "7", "1000"] {
        let engine = engine(&events, &[]);
        engine.set("batch_rows", batch).unwrap();
        let (changes, _) = run_in(&engine, &sql);
        assert!(changes.iter().any(|c| c.ends_with("b 30 6")), "batches of {batch}: {changes:?}");
        if batch == "1000" {
            assert_eq!(changes.len(), 8, "four windows of two groups, once each: {changes:?}");
            assert!(changes.contains(&"a 30 4".to_owned()), "{changes:?}");
        }
        engine.set("emit_every", "record").unwrap();
        let (each, _) = run_in(&engine, &sql);
        assert_eq!(each.len(), 8 + 2 * 32, "{each:?}");
        assert_eq!(first.get_or_insert_with(|| each.clone()), &each, "the same for any batch");
    }
}

#[test]
fn groups_without_window_are_final_where_input_ends_unless_changes_are_asked_for() {
    let events = [("a", 1, 1), ("a", 2, 2)];
    let engine = engine(&events, &[]);
    engine.set("batch_rows", "1").unwrap();
    let sum = "SELECT k, sum(x) AS s FROM t GROUP BY k";
    assert_eq!(run_in(&engine, sum).0, ["a 3"]);
    assert_eq!(run_in(&engine, &format!("{sum} EMIT FINAL")).0, ["a 3"]);
    assert_eq!(run_in(&engine, &format!("{sum} EMIT CHANGES")).0, ["a 1", "-U a 1", "+U a 3"]);
}

/// An engine with endless streams, their senders, and a query that runs on the test's own clock.
fn live(streams: &[&str], options: &[(&str, &str)]) -> (Engine, Vec<MemorySender>) {
    let engine = Engine::new();
    let senders = streams.iter().map(|name| {
        let (sender, source) = MemorySource::channel(schema(), 100);
        engine.register_timed_source(name, source, "ts", "ts - INTERVAL '2' SECOND", options).unwrap();
        sender
    });
    let senders = senders.collect();
    (engine, senders)
}

struct Stepped {
    job: millstream::Job,
    rows: millstream::connector::memory::Rows,
}

impl Stepped {
    fn new(engine: &Engine, sql: &str) -> Self {
        let mut job = engine.sql(sql).unwrap_or_else(|e| panic!("{e}")).stepping(0).unwrap();
        let rows = job.take_rows().unwrap();
        Self { job, rows }
    }

    /// Steps until nothing is left to do at that second; gives the rows.
    fn at(&mut self, seconds: i64) -> Vec<String> {
        self.try_at(seconds).unwrap()
    }

    fn try_at(&mut self, seconds: i64) -> Result<Vec<String>, Error> {
        let mut rows = Vec::new();
        loop {
            let step = self.job.step(seconds * SECOND)?;
            rows.extend(std::iter::from_fn(|| self.rows.try_next()).map(|r| text(&r)));
            if !matches!(step, Step::Worked) {
                return Ok(rows);
            }
        }
    }
}

#[test]
fn an_idle_partition_does_not_hold_every_window_open() {
    let (engine, senders) = live(&["t"], &[]);
    let mut job = Stepped::new(&engine, TENS);
    let send = |event: Event, partition: i32| {
        let mut r = record(event);
        r.set_partition(partition);
        senders[0].send(r).unwrap();
    };
    send(("a", 1, 1), 0);
    send(("b", 1, 1), 1);
    assert_eq!(job.at(1), [""; 0]);
    send(("a", 1, 25), 0);
    assert_eq!(job.at(25), [""; 0], "partition 1 may still bring rows of that window");
    send(("a", 1, 26), 0);
    assert_eq!(job.at(31), ["a 0 1", "b 0 1"], "it has been silent for the 30 s that are the default");
}

#[test]
fn an_idle_stream_does_not_hold_a_union_open() {
    let (engine, senders) = live(&["t", "u"], &[("idle_timeout", "10s")]);
    let sql = "SELECT k, window_start, count(*) AS n FROM (SELECT * FROM t UNION ALL SELECT * FROM u) GROUP BY k WINDOW TUMBLING (10s)";
    let mut job = Stepped::new(&engine, sql);
    senders[0].send(record(("a", 1, 1))).unwrap();
    senders[1].send(record(("a", 1, 2))).unwrap();
    job.at(2);
    senders[0].send(record(("a", 1, 15))).unwrap();
    assert_eq!(job.at(5), [""; 0]);
    senders[0].send(record(("a", 1, 16))).unwrap();
    assert_eq!(job.at(12), ["a 0 2"]);
}

#[test]
fn a_timestamp_of_the_future_is_an_error_of_its_row_and_moves_no_watermark() {
    let (engine, senders) = live(&["t"], &[]);
    engine.set("on_error", "skip").unwrap();
    let mut job = Stepped::new(&engine, TENS);
    senders[0].send(record(("a", 1, 1))).unwrap();
    senders[0].send(record(("a", 1, 2 + 3600 + 1))).unwrap();
    senders[0].send(record(("a", 1, 3))).unwrap();
    senders[0].send(record(("a", 1, 15))).unwrap();
    assert_eq!(job.at(2), ["a 0 2"], "the row an hour and a second ahead of the clock counts nowhere");
    assert_eq!((job.job.stats().rejected, job.job.stats().late), (1, 0));
    let (engine, senders) = live(&["t"], &[("max_future_skew", "1m")]);
    let mut job = Stepped::new(&engine, TENS);
    senders[0].send(record(("a", 1, 70))).unwrap();
    let e = job.try_at(5).unwrap_err().to_string();
    assert!(e.contains("max_future_skew"), "{e}");
}

#[test]
fn windows_of_the_clock_need_no_event_time() {
    let engine = Engine::new();
    let (sender, source) = MemorySource::channel(schema(), 100);
    engine.register_source("t", source).unwrap();
    let sql = "SELECT window_start, count(*) AS n FROM TUMBLE(t, PROCTIME(), INTERVAL '10' SECOND) GROUP BY window_start, window_end";
    let mut job = Stepped::new(&engine, sql);
    sender.send(record(("a", 1, 777))).unwrap();
    sender.send(record(("a", 1, 3))).unwrap();
    assert_eq!(job.at(4), [""; 0]);
    assert_eq!(job.at(9), [""; 0]);
    assert_eq!(job.at(10), ["0 2"], "without a row, by the clock alone");
}

#[test]
fn windows_over_windows_fire_as_the_watermark_passes_both() {
    let (engine, senders) = live(&["t"], &[]);
    let inner = "SELECT window_start, window_end, k, count(*) AS n FROM t GROUP BY k WINDOW TUMBLING (10s)";
    let sql = format!(
        "SELECT window_start, max(n) AS most, count(*) AS groups FROM TUMBLE(({inner}), window_start, INTERVAL '20' SECOND) \
         GROUP BY window_start, window_end"
    );
    let mut job = Stepped::new(&engine, &sql);
    for event in [("a", 1, 1), ("b", 1, 2), ("a", 1, 3), ("a", 1, 15), ("b", 1, 21)] {
        senders[0].send(record(event)).unwrap();
    }
    assert_eq!(job.at(1), [""; 0], "at watermark 19 the first ten seconds are told to the outer window");
    senders[0].send(record(("a", 1, 22))).unwrap();
    assert_eq!(job.at(2), ["0 2 3"]);
    let same =
        format!("SELECT window_end, count(*) AS groups FROM ({inner}) GROUP BY window_start, window_end");
    let (engine, senders) = live(&["t"], &[]);
    let mut job = Stepped::new(&engine, &same);
    for event in [("a", 1, 1), ("b", 1, 2), ("a", 1, 13)] {
        senders[0].send(record(event)).unwrap();
    }
    assert_eq!(job.at(1), ["10 2"]);
}

#[test]
fn the_end_of_time_is_never_stored() {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("t.jsonl");
    std::fs::write(
        &input,
        "{\"k\":\"a\",\"ts\":\"2026-01-01T00:00:01Z\"}\n{\"k\":\"b\",\"ts\":\"2026-01-01T00:00:02Z\"}\n",
    )
    .unwrap();
    let (out, state) = (directory.path().join("out.jsonl"), directory.path().join("state"));
    let sql = format!(
        "SET state = '{}'; CREATE STREAM t (k VARCHAR, ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH (path = '{}'); \
         CREATE STREAM o WITH (path = '{}') AS SELECT k, count(*) AS n FROM t GROUP BY k WINDOW SESSION (1h)",
        state.display(),
        input.display(),
        out.display()
    );
    let stats = Engine::new().sql(&sql).unwrap().start().unwrap().wait().unwrap();
    assert_eq!((stats.records_out, stats.state.as_str()), (2, "done"));
    let mut files = vec![state];
    let mut seen = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        seen += bytes.len();
        for end in [i64::MAX.to_le_bytes(), i64::MAX.to_be_bytes()] {
            assert!(!bytes.windows(8).any(|w| w == end), "{} holds the watermark of the end", path.display());
        }
    }
    assert!(seen > 100);
    let again = Engine::new().sql(&sql).unwrap().start().unwrap().wait().unwrap();
    assert_eq!(again.state, "finished before");
}

fn refused(sql: &str) -> String {
    Engine::new().sql(sql).err().map_or_else(String::new, |e| e.to_string())
}

#[test]
fn what_is_wrong_with_a_watermark_is_shown_where_it_is_declared() {
    let of = |columns: &str, with: &str| {
        refused(&format!("CREATE STREAM s ({columns}) WITH (path = 'none.jsonl'{with})"))
    };
    let e = of("ts VARCHAR, WATERMARK FOR ts AS ts", "");
    assert!(e.contains("WATERMARK FOR takes a TIMESTAMP column; 'ts' is VARCHAR"), "{e}");
    assert!(
        e.contains(&format!("{}^^", " ".repeat("CREATE STREAM s (ts VARCHAR, WATERMARK FOR ".len()))),
        "{e}"
    );
    let e = of("ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND - tz", "");
    assert!(e.contains("there is no column 'tz'") && e.contains("did you mean ts?"), "{e}");
    let e = of("ts TIMESTAMP, WATERMARK FOR ts AS 5", "");
    assert!(e.contains("a watermark is a TIMESTAMP, not"), "{e}");
    let e = of("ts TIMESTAMP, WATERMARK FOR ts AS ts", ", allowed_lateness = 'soon'");
    assert!(e.contains("'allowed_lateness' can't be 'soon': a duration such as"), "{e}");
    let e = of("ts TIMESTAMP", ", late = 'update'");
    assert!(e.contains("'late' needs WATERMARK FOR"), "{e}");
    let e = of("ts TIMESTAMP, WATERMARK FOR ts AS ts", ", alowed_lateness = '1s'");
    assert!(e.contains("did you mean allowed_lateness?"), "{e}");
}

#[test]
fn a_table_of_windows_is_keyed_by_the_window() {
    let events = [("a", 1, 1), ("b", 2, 3), ("a", 4, 12)];
    let engine = engine(&events, &[]);
    let sql = "CREATE TABLE counts AS SELECT k, window_start, count(*) AS n, sum(x) AS s FROM t GROUP BY k WINDOW TUMBLING (10s)";
    engine.sql(sql).unwrap().start().unwrap().wait().unwrap();
    let (mut rows, _) = run_in(&engine, "SELECT * FROM counts");
    rows.sort();
    assert_eq!(rows, ["a 0 1 1", "a 10 1 4", "b 0 1 2"]);
}

#[test]
fn a_window_of_a_subquery_is_a_window_for_the_groups_outside() {
    let events = [("a", 1, 1), ("a", 1, 14), ("b", 1, 3), ("a", 1, 5), ("a", 1, 27)];
    let inside = run(&events, &[], "SELECT window_start, count(*) AS n FROM t WINDOW TUMBLING (10s)").0;
    for sql in [
        "SELECT w.start, count(*) AS n FROM (SELECT *, TUMBLE(ts, INTERVAL '10' SECOND) AS w FROM t) GROUP BY w",
        "SELECT w.start, count(*) AS n FROM (SELECT *, TUMBLE(ts, INTERVAL '10' SECOND) AS w FROM t) GROUP BY w.start, w.end",
        "SELECT s, count(*) AS n FROM (SELECT w.start AS s, w.end AS e FROM (SELECT TUMBLE(ts, INTERVAL '10' SECOND) AS w FROM t)) GROUP BY s, e",
        "SELECT s, count(*) AS n FROM (SELECT window_start AS s FROM TUMBLE(t, ts, INTERVAL '10' SECOND)) GROUP BY s",
    ] {
        let (rows, stats) = run(&events, &[], sql);
        assert_eq!((rows, stats.late), (inside.clone(), 2), "{sql}");
    }
    let whole =
        "SELECT w, count(*) AS n FROM (SELECT *, TUMBLE(ts, INTERVAL '10' SECOND) AS w FROM t) GROUP BY w";
    assert_eq!(run(&events, &[], whole).0.len(), 3);
}

#[test]
fn the_first_of_each_window_are_told_as_the_watermark_passes_it() {
    let ranked = |options: &[(&str, &str)]| {
        let (engine, senders) = live(&["t"], options);
        let sql = "SELECT window_end, k, n FROM (SELECT *, row_number() OVER (PARTITION BY window_start, window_end ORDER BY n DESC) AS rank \
                   FROM (SELECT window_start, window_end, k, count(*) AS n FROM t GROUP BY k WINDOW TUMBLING (10s))) WHERE rank <= 1";
        (Stepped::new(&engine, sql), senders)
    };
    let (mut job, senders) = ranked(&[]);
    for event in [("a", 1, 1), ("b", 1, 2), ("b", 1, 3), ("a", 1, 13)] {
        senders[0].send(record(event)).unwrap();
    }
    assert_eq!(job.at(1), ["10 b 2"], "without the end of the input, and once");
    let (mut job, senders) = ranked(&[("allowed_lateness", "5s")]);
    for event in [("a", 1, 1), ("b", 1, 2), ("b", 1, 3), ("a", 1, 13), ("a", 1, 4), ("a", 1, 5)] {
        senders[0].send(record(event)).unwrap();
    }
    assert_eq!(job.at(1), [""; 0]);
    senders[0].send(record(("a", 1, 18))).unwrap();
    assert_eq!(job.at(2), ["10 a 3"]);
    assert_eq!(job.job.stats().late, 0);
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

#[test]
fn windows_of_a_stream_come_in_the_order_that_is_asked_for() {
    let (engine, senders) = live(&["t"], &[("allowed_lateness", "3s")]);
    let sql = "SELECT k, window_end, sum(x) AS s FROM t GROUP BY k WINDOW TUMBLING (10s) ORDER BY window_end, s DESC";
    let mut job = Stepped::new(&engine, sql);
    for event in [("a", 1, 1), ("b", 5, 2), ("c", 3, 13), ("c", 2, 8), ("a", 4, 14)] {
        senders[0].send(record(event)).unwrap();
    }
    assert_eq!(job.at(1), [""; 0], "at watermark 12 rows of the first ten seconds may still come");
    senders[0].send(record(("b", 7, 15))).unwrap();
    assert_eq!(job.at(2), ["b 10 5", "c 10 2", "a 10 1"]);
    drop(senders);
    assert_eq!(job.at(3), ["b 20 7", "a 20 4", "c 20 3"]);
    let changes = engine.sql(&format!("{sql} EMIT CHANGES")).unwrap_err().to_string();
    assert!(changes.contains("ORDER BY"), "{changes}");
}

/// A line of the sample flights.
struct Flight {
    hour: String,
    origin: String,
    tailnum: String,
    carrier: String,
    number: String,
    delay: Option<i64>,
    cancelled: bool,
    miles: i64,
}

fn flights() -> Vec<Flight> {
    let text = std::fs::read_to_string("examples/data/flights.csv").unwrap();
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let known = |i: usize| Some(fields[i]).filter(|f| *f != "NA");
        Flight {
            hour: fields[18].to_owned(),
            origin: fields[12].to_owned(),
            tailnum: fields[11].to_owned(),
            carrier: fields[9].to_owned(),
            number: fields[10].to_owned(),
            delay: known(5).map(|d| d.parse().unwrap()),
            cancelled: known(3).is_none(),
            miles: fields[15].parse().unwrap(),
        }
    };
    text.lines().skip(1).map(line).collect()
}

/// Hours since the year began: the file ends with 1 February.
fn hour(f: &Flight) -> i64 {
    let part = |range: std::ops::Range<usize>| f.hour[range].parse::<i64>().unwrap();
    ((part(5..7) - 1) * 31 + part(8..10) - 1) * 24 + part(11..13)
}

/// Runs a pipeline of the examples; gives the file that it writes.
fn example(name: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out.csv");
    let text = std::fs::read_to_string(format!("examples/{name}.sql")).unwrap();
    let default = format!("${{OUT:-target/{name}.csv}}");
    assert!(text.contains(&default));
    let text = text.replace(&default, out.to_str().unwrap());
    let mut job = Engine::new().pipeline(name, &text).unwrap_or_else(|e| panic!("{e}")).start().unwrap();
    assert_eq!(job.rows().count(), 6, "a bare SELECT that shows a few");
    job.wait().unwrap();
    std::fs::read_to_string(&out).unwrap()
}

#[test]
fn the_example_of_flights_per_hour_counts_what_a_loop_counts() {
    let mut groups: Vec<(String, String, Vec<&Flight>)> = Vec::new();
    let flights = flights();
    for flight in &flights {
        let same = |g: &&mut (String, String, Vec<&Flight>)| g.0 == flight.hour && g.1 == flight.origin;
        match groups.iter_mut().rev().take(3).find(same) {
            Some(group) => group.2.push(flight),
            None => groups.push((flight.hour.clone(), flight.origin.clone(), vec![flight])),
        }
    }
    let lines = groups.iter().map(|(hour, origin, all)| {
        let delays: Vec<i64> = all.iter().filter_map(|f| f.delay).collect();
        let or_empty = |n: Option<i64>| n.map_or_else(String::new, |n| n.to_string());
        let minutes = or_empty((!delays.is_empty()).then(|| delays.iter().sum()));
        let late = delays.iter().filter(|d| **d >= 15).count();
        let cancelled = all.iter().filter(|f| f.cancelled).count();
        let worst = or_empty(delays.iter().max().copied());
        format!("{hour},{origin},{},{late},{cancelled},{minutes},{worst}\n", all.len())
    });
    let expected =
        "hour,origin,flights,late,cancelled,minutes,worst\n".to_owned() + &lines.collect::<String>();
    assert_eq!(example("flights_per_hour"), expected);
}

#[test]
fn the_example_of_aircraft_sessions_gives_what_a_loop_gives() {
    let flights = flights();
    let mut sessions: Vec<Vec<&Flight>> = Vec::new();
    let mut last: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
    for flight in &flights {
        let open = last.get(flight.tailnum.as_str()).copied();
        match open.filter(|at| hour(flight) - hour(sessions[*at].last().unwrap()) < 10) {
            Some(at) => sessions[at].push(flight),
            None => {
                last.insert(&flight.tailnum, sessions.len());
                sessions.push(vec![flight]);
            }
        }
    }
    sessions.sort_by_key(|s| (hour(s.last().unwrap()), hour(s[0])));
    let lines = sessions.iter().map(|s| {
        let miles: i64 = s.iter().map(|f| f.miles).sum();
        let (first, end) = (&s[0].hour, &s.last().unwrap().hour);
        format!("{},{first},{end},{},{miles}\n", s[0].tailnum, s.len())
    });
    let expected = "tailnum,first,last,flights,miles\n".to_owned() + &lines.collect::<String>();
    assert_eq!(example("aircraft_sessions"), expected);
}

#[test]
fn the_example_of_top_carriers_ranks_as_a_loop_ranks() {
    let mut days: std::collections::BTreeMap<String, std::collections::BTreeMap<String, i64>> =
        Default::default();
    for flight in &flights() {
        let day = days.entry(flight.hour[..10].to_owned()).or_default();
        *day.entry(flight.carrier.clone()).or_default() += 1;
    }
    let mut expected = "day,place,carrier,flights\n".to_owned();
    for (day, carriers) in &days {
        let mut ranked: Vec<_> = carriers.iter().collect();
        ranked.sort_by_key(|(carrier, n)| (-**n, (*carrier).clone()));
        for (i, (carrier, n)) in ranked.into_iter().take(3).enumerate() {
            expected += &format!("{day}T00:00:00Z,{},{carrier},{n}\n", i + 1);
        }
    }
    assert_eq!(example("top_carriers"), expected);
}

#[test]
fn the_example_of_moving_delays_gives_what_a_loop_gives() {
    let flights = flights();
    let hours: Vec<i64> = flights.iter().map(hour).collect();
    let mut expected = "time_hour,origin,carrier,flight,dep_delay,minutes,flown,mean\n".to_owned();
    for (i, flight) in flights.iter().enumerate() {
        let before = (0..i).rev().take_while(|j| hours[i] - hours[*j] <= 6);
        let behind = (i..flights.len()).take_while(|j| hours[*j] == hours[i]);
        let frame = before.chain(behind).filter(|j| flights[*j].origin == flight.origin);
        let delays: Vec<i64> = frame.filter_map(|j| flights[j].delay).collect();
        let or_empty = |n: Option<i64>| n.map_or_else(String::new, |n| n.to_string());
        let some = !delays.is_empty();
        let sum: i64 = delays.iter().sum();
        // To the nearest minute: a DOUBLE rounds halves to even, as in PostgreSQL.
        let n = delays.len() as i64;
        let nearest = |sum: i64| match (sum / n, 2 * (sum % n) - n) {
            (down, rest) if rest < 0 || (rest == 0 && down % 2 == 0) => down,
            (down, _) => down + 1,
        };
        let mean = some.then(|| nearest(sum.abs()) * sum.signum());
        expected += &format!(
            "{},{},{},{},{},{},{n},{}\n",
            flight.hour,
            flight.origin,
            flight.carrier,
            flight.number,
            or_empty(flight.delay),
            or_empty(some.then_some(sum)),
            or_empty(mean),
        );
    }
    assert_eq!(example("moving_delay"), expected);
}
