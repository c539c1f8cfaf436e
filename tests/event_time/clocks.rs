//! Silence, clocks, timestamps of the future, and the end of time.

use crate::*;

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
