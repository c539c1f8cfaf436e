//! Rows that come late, what corrects what was said, and when groups are told.

use crate::*;

#[test]
fn a_late_record_does_not_close_a_window_early() {
    // The late row (2) comes between rows of the window that begins at 10.
    let events = [("a", 1, 1), ("a", 1, 11), ("a", 1, 13), ("a", 1, 2), ("a", 1, 14), ("a", 1, 19)];
    let (rows, stats) = run(&events, &[], TENS);
    assert_eq!(rows, ["a 0 1", "a 10 4"]);
    assert_eq!(stats.late, 1);
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
