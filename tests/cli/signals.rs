//! Signals: the first one stops cleanly, the second at once.

use std::io::Read;

use super::tool::{Place, Running, wait_until};

/// A job that follows `in.jsonl`.
fn following(place: &Place) {
    place.put("in.jsonl", "{\"a\":1}\n{\"a\":2}\n");
    place.put(
        "f.sql",
        "CREATE STREAM i WITH (connector = 'file', path = 'in.jsonl', follow = 'true');
         CREATE STREAM o WITH (connector = 'file', path = 'out.jsonl');
         INSERT INTO o SELECT a FROM i;",
    );
}

#[test]
fn the_first_signal_drains_and_exits_0() {
    for signal in ["TERM", "INT"] {
        let place = Place::new();
        following(&place);
        let running = place.start(&["run", "f.sql"]);
        wait_until("two rows", || place.get("out.jsonl").lines().count() == 2);
        place.append("in.jsonl", "{\"a\":3}\n");
        wait_until("a third row", || place.get("out.jsonl").lines().count() == 3);
        running.signal(signal);
        running.finish().gives(0).says(&["stopping", "f: 3 rows read, 3 written"]);
        assert_eq!(place.get("out.jsonl"), "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
    }
}

/// A job whose sink takes nothing: a pipe that nobody reads can't be drained.
fn writing_into_a_full_pipe(place: &Place, execution: &str, more: &[&str]) -> (Running, std::fs::File) {
    let made = std::process::Command::new("mkfifo").arg(place.path("full")).status().unwrap();
    assert!(made.success());
    let mut both_ends = std::fs::OpenOptions::new().read(true).write(true).open(place.path("full")).unwrap();
    place.put(
        "g.sql",
        "CREATE STREAM g WITH (connector = 'generator', preset = 'orders');
         CREATE STREAM o WITH (connector = 'file', path = 'full', format = 'json');
         INSERT INTO o SELECT * FROM g;",
    );
    let running = place.start(&[&["run", "g.sql", "--set", execution], more].concat());
    // It runs when there is something in the pipe.
    both_ends.read_exact(&mut [0]).unwrap();
    (running, both_ends)
}

#[test]
fn threads_that_do_not_end_in_time_are_abandoned_by_name() {
    let deadlines = ["--set", "drain_deadline=20ms", "--set", "shutdown_deadline=20ms"];
    for (execution, name) in [("threads", "ms-write-0"), ("inline", "ms-process")] {
        let place = Place::new();
        let settings = format!("execution={execution}");
        let more = if execution == "threads" {
            [&deadlines[..], &["--state", "s"]].concat()
        } else {
            deadlines.to_vec()
        };
        let (running, _pipe) = writing_into_a_full_pipe(&place, &settings, &more);
        running.signal("TERM");
        running.finish().gives(4).says(&[
            "drain_deadline of 20ms",
            "abandoned after the shutdown deadline",
            name,
        ]);
    }
}

#[test]
fn the_second_signal_ends_at_once() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let place = Place::new();
        let (mut running, _pipe) = writing_into_a_full_pipe(&place, "execution=threads", &[]);
        running.signal(signal);
        running.wait_for_message("stopping");
        running.signal(signal);
        running.finish().gives(code);
    }
}

#[test]
fn interrupting_a_query_shows_what_there_is() {
    let place = Place::new();
    following(&place);
    let mut running = place.start(&["sql", "SELECT a FROM read_json('in.jsonl', follow = 'true')"]);
    running.wait_for_row("{\"a\":2}");
    running.signal("INT");
    assert_eq!(running.finish().gives(130).out, "{\"a\":1}\n{\"a\":2}\n");
}

#[test]
fn a_live_table_shows_rows_as_they_come() {
    let place = Place::new();
    following(&place);
    let sql = "SELECT a FROM read_json('in.jsonl', follow = 'true')";
    let mut running = place.start(&["sql", sql, "--format", "table"]);
    running.wait_for_row("│ 2 │");
    place.append("in.jsonl", "{\"a\":3}\n");
    running.wait_for_row("│ 3 │");
    running.signal("INT");
    running.finish().gives(130);
}
