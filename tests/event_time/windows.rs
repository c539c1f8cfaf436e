//! Windows: gaps, ends of input, windows over windows and over subqueries.

use crate::*;

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
