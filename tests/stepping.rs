//! `step()` on the caller's own clock: time windows of batches, commits, and trace context through a whole job.

mod support;

use std::sync::Arc;

use millstream::connector::memory::{MemorySink, MemorySource, Rows};
use millstream::{DataType, Engine, Schema, Step, StreamRecord};

const START: i64 = 1_767_225_600_000_000;

#[test]
fn a_generator_with_a_rate_follows_the_callers_clock() {
    let engine = Engine::new();
    let text = "CREATE STREAM g (n BIGINT, at TIMESTAMP) WITH (connector = 'generator', rate = '100', rows = '31', \
                'fields.at.kind' = 'now'); SELECT n, at, now() AS seen FROM g";
    let mut job = engine.sql(text).unwrap().stepping(START).unwrap();
    let mut rows = job.take_rows().unwrap();
    let mut now = START;
    let mut counts = Vec::new();
    'ticks: for _ in 0..100 {
        let mut count = 0;
        loop {
            match job.step(now).unwrap() {
                Step::Worked => {}
                Step::Idle(_) => break,
                Step::Done => {
                    counts.push(count + std::iter::from_fn(|| rows.try_next()).count());
                    break 'ticks;
                }
            }
            while let Some(row) = rows.try_next() {
                count += 1;
                for column in ["at", "seen"] {
                    assert_eq!(row.get(column), Some(&millstream::FieldValue::Timestamp(now)), "{column}");
                }
            }
        }
        counts.push(count);
        now += 100_000;
    }
    assert_eq!(counts, [1, 10, 10, 10], "one at once, then 100 a second of the caller's time");
}

#[test]
fn a_time_window_closes_by_the_callers_clock_and_no_step_waits_for_it() {
    let engine = Engine::new();
    let schema = Schema::of([("n", DataType::BigInt)]);
    let (send, source) = MemorySource::channel(schema, 100);
    engine.register_source("src", source).unwrap();
    engine.set("batch_strategy", "time_window").unwrap();
    engine.set("batch_linger", "1s").unwrap();
    let mut job = engine.sql("SELECT n FROM src").unwrap().stepping(START).unwrap();
    let mut rows = job.take_rows().unwrap();
    send.send_values([1i64.into()]).unwrap();
    let end = START + 1_000_000;
    assert_eq!(job.step(START).unwrap(), Step::Idle(Some(end)));
    send.send_values([2i64.into()]).unwrap();
    assert_eq!(job.step(end - 1).unwrap(), Step::Idle(Some(end)));
    assert!(rows.try_next().is_none());
    assert_eq!(job.step(end).unwrap(), Step::Worked);
    assert_eq!(std::iter::from_fn(|| rows.try_next()).count(), 2);
    assert_eq!(job.stats().batches, 1);
    send.send_values([3i64.into()]).unwrap();
    drop(send);
    let mut now = end;
    loop {
        match job.step(now).unwrap() {
            Step::Worked => {}
            Step::Idle(until) => now = until.unwrap(),
            Step::Done => break,
        }
    }
    assert_eq!(std::iter::from_fn(|| rows.try_next()).count(), 1);
}

#[test]
fn trace_context_goes_from_input_headers_to_every_output() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for mode in ["inline", "threads"] {
        let engine = Engine::new();
        engine.set("trace", "propagate").unwrap();
        engine.set("execution", mode).unwrap();
        let schema = Schema::of([("n", DataType::BigInt)]);
        let record = |n: i64| {
            let mut r = StreamRecord::with_values(schema.clone(), [n.into()]);
            if n % 2 == 0 {
                r.headers_mut().set("traceparent", PARENT.as_bytes());
                r.headers_mut().set("tracestate", b"a=b");
            }
            r
        };
        let source = MemorySource::from_vec(schema.clone(), (0..2000).map(record).collect()).unwrap();
        engine.register_source("src", source).unwrap();
        let (first, left) = MemorySink::new();
        let (second, right) = MemorySink::new();
        engine.register_sink("a", first).unwrap();
        engine.register_sink("b", second).unwrap();
        let text = "INSERT INTO a SELECT n FROM src; INSERT INTO b SELECT n + 1 AS m FROM src WHERE n < 1000";
        let stats = engine.sql(text).unwrap().start().unwrap().wait().unwrap();
        assert_eq!(stats.deep_copies, 0, "{mode}");
        for (rows, count) in [(left.rows(), 2000), (right.rows(), 1000)] {
            assert_eq!(rows.len(), count);
            rows.iter().for_each(|r| check_context(r, PARENT));
        }
        engine.set("trace", "off").unwrap();
    }
}

fn check_context(row: &Arc<StreamRecord>, parent: &str) {
    let n = row.values()[0].as_i64().unwrap() - i64::from(row.get("m").is_some());
    let context = std::str::from_utf8(row.headers().get("traceparent").unwrap()).unwrap().to_owned();
    assert_eq!(context.len(), 55);
    assert_ne!(context[36..52], parent[36..52], "a new parent id");
    assert_eq!(context[..36] == parent[..36], n % 2 == 0, "the trace of row {n}: {context}");
    assert_eq!(row.headers().get("tracestate"), (n % 2 == 0).then_some(&b"a=b"[..]));
}

#[test]
fn a_job_without_news_writes_no_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.jsonl");
    std::fs::write(&path, (0..10).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>()).unwrap();
    let source = support::TestSource::new(support::file_source(&path)).limited(5);
    let engine = Engine::new();
    engine.register_source("src", source.clone()).unwrap();
    engine
        .register_sink("out", support::TestSink::new(support::file_sink(&dir.path().join("out.jsonl"))))
        .unwrap();
    engine.set("state", dir.path().join("state").to_str().unwrap()).unwrap();
    let mut job = engine.sql("INSERT INTO out SELECT n FROM src").unwrap().stepping(START).unwrap();
    let mut now = START;
    let mut second = || {
        now += 1_000_000;
        for _ in 0..5 {
            job.step(now).unwrap();
        }
        (job.stats().records_in, job.stats().commits)
    };
    let mut seen: Vec<_> = (0..6).map(|_| second()).collect();
    seen.dedup();
    assert_eq!(seen, [(5, 1)]);
    source.clone().limited(8);
    let mut seen: Vec<_> = (0..6).map(|_| second()).collect();
    seen.dedup();
    assert_eq!(seen, [(8, 2)]);
}

#[test]
fn a_step_never_waits_for_its_own_caller_to_take_rows() {
    let taken = support::within(60, "a step", || {
        let engine = Engine::new();
        let schema = Schema::of([("n", DataType::BigInt)]);
        let record = |n: i64| StreamRecord::with_values(schema.clone(), [n.into()]);
        let source = MemorySource::from_vec(schema.clone(), (0..50).map(record).collect()).unwrap();
        engine.register_source("src", source).unwrap();
        engine.set("batch_rows", "1").unwrap();
        let mut job = engine.sql("SELECT n FROM src").unwrap().stepping(START).unwrap();
        while job.step(START).unwrap() != Step::Done {}
        job.rows().count()
    });
    assert_eq!(taken, 50);
}

/// What `SELECT name, count(*) … GROUP BY name` tells until nothing is left to do.
fn told(job: &mut millstream::Job, rows: &mut Rows, now: i64) -> Vec<String> {
    while job.step(now).unwrap() == Step::Worked {}
    std::iter::from_fn(|| rows.try_next())
        .map(|r| format!("{} {:?} {:?}", r.kind().symbol(), r.values()[0], r.values()[1]))
        .collect()
}

#[test]
fn groups_expire_by_the_callers_clock_where_there_is_no_event_time() {
    let engine = Engine::new();
    let (send, source) = MemorySource::channel(Schema::of([("name", DataType::Varchar)]), 100);
    engine.register_source("src", source).unwrap();
    engine.set("state_ttl", "10s").unwrap();
    let sql = "SELECT name, count(*) AS n FROM src GROUP BY name";
    let mut job = engine.sql(sql).unwrap().stepping(START).unwrap();
    let mut rows = job.take_rows().unwrap();
    let second = 1_000_000;
    for name in ["a", "b", "a"] {
        send.send_values([name.into()]).unwrap();
    }
    let first = told(&mut job, &mut rows, START);
    assert_eq!(first.last().map(String::as_str), Some("+I String(\"b\") Integer(1)"), "{first:?}");
    // b is touched again, a is not.
    send.send_values(["b".into()]).unwrap();
    assert_eq!(told(&mut job, &mut rows, START + 9 * second).len(), 2);
    assert_eq!(told(&mut job, &mut rows, START + 10 * second - 1), [""; 0]);
    assert_eq!(told(&mut job, &mut rows, START + 10 * second), ["-D String(\"a\") Integer(2)"]);
    assert_eq!(job.stats().operators[0].expired, 1);
    // What comes back starts anew; what was due before a record goes before it.
    for name in ["b", "a"] {
        send.send_values([name.into()]).unwrap();
    }
    assert_eq!(
        told(&mut job, &mut rows, START + 19 * second),
        ["-D String(\"b\") Integer(2)", "+I String(\"b\") Integer(1)", "+I String(\"a\") Integer(1)"]
    );
    drop(send);
    while job.step(START + 20 * second).unwrap() != Step::Done {}
    assert_eq!(job.stats().operators[0].expired, 2);
}
