//! REPARTITION BY over the simulated cluster: a query that is split gives what it gives whole, whatever the partitions, instances,
//! restarts and faults; what goes through the topic; what is refused.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use millstream::connector::kafka::client::KafkaErrorKind;
use millstream::connector::kafka::sim::{Op, SPEC, SimKafka, SimMessage};
use millstream::{Engine, Job, Stop};
use serde_json::Value;
use support::{until, within};

const HOUR: i64 = 3_600_000_000;

/// A cluster of its own for a test, with topics `in` and `out`.
fn cluster(partitions: usize) -> (SimKafka, String) {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let address = format!("split:{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let sim = SimKafka::new();
    sim.serve(&address);
    sim.create("in", partitions);
    sim.create("out", 3);
    (sim, address)
}

fn engine(settings: &[(&str, &str)]) -> Engine {
    let engine = Engine::new();
    engine.register_connector(SPEC);
    for (name, value) in
        [("job_name", "job"), ("commit_interval", "5ms"), ("batch_rows", "10")].iter().chain(settings)
    {
        engine.set(name, value).unwrap();
    }
    engine
}

fn stream(name: &str, columns: &str, address: &str, topic: &str, more: &str) -> String {
    format!(
        "CREATE STREAM {name} {columns} WITH (connector = 'kafka', bootstrap_servers = '{address}', topic = '{topic}', \
         format = 'json'{more});\n"
    )
}

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn values(sim: &SimKafka, topic: &str, partitions: i32) -> Vec<Value> {
    let value = |m: SimMessage| serde_json::from_slice(&m.value.unwrap()).unwrap();
    (0..partitions).flat_map(|p| sim.messages(topic, p)).map(value).collect()
}

const COLUMNS: &str = "(k VARCHAR, j INT, n BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '2' DAY)";

/// A query of a test, and how its output is read.
struct Query {
    /// With `{}` for REPARTITION BY.
    text: &'static str,
    keys: &'static str,
    /// Of `out`.
    sink: &'static str,
    /// Columns that tell rows of the output apart; the last row of each counts.
    key: &'static [&'static str],
}

const QUERIES: &[Query] = &[
    Query {
        text: "SELECT coalesce(k, 'none') AS g, count(*) AS c, sum(n) AS s, min(ts) AS t FROM a WHERE n % 3 <> 0 {} GROUP BY k",
        keys: "k",
        sink: ", changelog = 'upsert', key_columns = 'g'",
        key: &["g"],
    },
    Query {
        text: "SELECT k, j, window_start, count(*) AS c, max(n) AS m FROM a WHERE n % 3 <> 0 {} \
               GROUP BY k, j, TUMBLE(ts, INTERVAL '1' HOUR) EMIT FINAL",
        keys: "j, k",
        sink: "",
        key: &["k", "j", "window_start"],
    },
    Query {
        text: "SELECT j, window_start, window_end, count(*) AS c, sum(n) AS s FROM \
               (SELECT j + 1 AS j, n, ts AS at FROM a) {} GROUP BY j, HOP(at, INTERVAL '1' HOUR, INTERVAL '3' HOURS) EMIT FINAL",
        keys: "j",
        sink: "",
        key: &["j", "window_start"],
    },
];

/// The last row of each key.
fn result(rows: Vec<Value>, key: &[&str]) -> BTreeMap<String, Value> {
    let of = |row: &Value| key.iter().map(|k| row[k].to_string()).collect::<Vec<_>>().join(" ");
    rows.into_iter().map(|row| (of(&row), row)).collect()
}

struct Run<'a> {
    query: &'a Query,
    address: &'a str,
    state: &'a Path,
    execution: &'a str,
    mode: &'a str,
    instances: usize,
    partitions: usize,
}

impl Run<'_> {
    fn text(&self, split: bool) -> String {
        let clause = match split {
            true => format!(
                "REPARTITION BY {} THROUGH 'mid' WITH (partitions = {}, discovery_interval = '10ms')",
                self.query.keys, self.partitions
            ),
            false => String::new(),
        };
        let from = if split { ", group_id = 'g'" } else { ", stop = 'latest'" };
        let sink = self.query.sink;
        stream("a", COLUMNS, self.address, "in", &format!("{from}, allowed_lateness = '1h'"))
            + &stream("b", "", self.address, if split { "out" } else { "whole" }, sink)
            + "INSERT INTO b "
            + &self.query.text.replace("{}", &clause)
    }
    /// The two jobs of each instance.
    fn start(&self) -> Vec<Job> {
        let start = |number: usize| {
            let state = self.state.display().to_string();
            let (number, of) = (number.to_string(), self.instances.to_string());
            let engine = engine(&[
                ("execution", self.execution),
                ("state", &state),
                ("mode", self.mode),
                ("max_restarts", "50"),
            ]);
            if self.instances > 1 {
                engine.set("instance", &number).unwrap();
                engine.set("instances", &of).unwrap();
            }
            let jobs = engine.sql(&self.text(true)).unwrap().start_all().unwrap();
            assert_eq!(jobs.len(), 2);
            jobs
        };
        (0..self.instances).flat_map(start).collect()
    }
}

fn append(sim: &SimKafka, partitions: usize, dice: &mut Dice, n: i64) {
    let k = match dice.next(12) {
        0 => "null".to_owned(),
        k => format!("\"k{k}ü\""),
    };
    let (j, ts) = (dice.next(5), dice.next(24 * 3600) as i64 * 1_000_000 + 1_700_000_000_000_000);
    let row = format!("{{\"k\":{k},\"j\":{j},\"n\":{n},\"ts\":\"{}\"}}", time(ts));
    sim.append("in", dice.next(partitions as u64) as i32, SimMessage::of(&row));
}

/// Rows far behind all others, in every partition of both topics: they close the windows of the others.
fn close(sim: &SimKafka, partitions: usize) {
    for n in 0..40 * partitions {
        let ts = time(1_700_000_000_000_000 + 300 * HOUR);
        let row = format!("{{\"k\":\"end{n}\",\"j\":{},\"n\":{},\"ts\":\"{ts}\"}}", 100 + n, 3 * n + 1);
        sim.append("in", (n % partitions) as i32, SimMessage::of(&row));
    }
}

fn time(micros: i64) -> String {
    let mut text = Vec::new();
    millstream::record::text::write_timestamp(micros, &mut text);
    String::from_utf8(text).unwrap()
}

/// Stops them; a job that meets a fault while it stops has failed, and the next start goes on from its last commit.
fn stop(jobs: Vec<Job>, may_fail: bool) {
    jobs.iter().for_each(|j| j.stop(Stop::Checkpoint));
    for job in jobs {
        let end = job.wait();
        assert!(may_fail || end.is_ok(), "{end:?}");
    }
}

/// What `out` holds of rows that were not appended by [`close`].
fn got(sim: &SimKafka, query: &Query, topic: &str) -> BTreeMap<String, Value> {
    let mut rows = values(sim, topic, 3);
    let ours = |row: &Value| {
        !["k", "g"].iter().any(|c| row[*c].as_str().is_some_and(|k| k.starts_with("end")))
            && row["j"].as_i64().is_none_or(|j| j < 100)
    };
    rows.retain(ours);
    result(rows, query.key)
}

fn split_equals_whole(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    (0..5).for_each(|_| assert!(dice.next(2) < 2));
    let query = &QUERIES[dice.next(QUERIES.len() as u64) as usize];
    let from = 1 + dice.next(4) as usize;
    let instances = (1 + dice.next(3) as usize).min(from);
    let partitions = instances.max(1 + dice.next(6) as usize);
    let mode = ["simple", "transactional"][dice.next(2) as usize];
    let execution = ["inline", "threads", "auto"][dice.next(3) as usize];
    let what = format!(
        "seed {seed}: {} {from} → {partitions} partitions, {instances} instances, {mode} {execution}",
        query.keys
    );
    within(120, &what.clone(), move || {
        let (sim, address) = cluster(from);
        sim.create("whole", 3);
        let dir = support::quick_dir();
        let run = Run { query, address: &address, state: dir.path(), execution, mode, instances, partitions };
        let mut jobs = run.start();
        let mut n = 0;
        for _ in 0..1 + dice.next(3) {
            for _ in 0..dice.next(400) {
                append(&sim, from, &mut dice, n);
                n += 1;
            }
            if mode == "transactional" && dice.next(2) == 0 {
                let (op, kind) = [
                    (Op::TxnCommit, KafkaErrorKind::AbortTxn),
                    (Op::TxnCommitted, KafkaErrorKind::Retriable),
                    (Op::TxnOffsets, KafkaErrorKind::AbortTxn),
                    (Op::Deliver, KafkaErrorKind::Fatal),
                ][dice.next(4) as usize];
                sim.fail(op, 1, kind, "scripted");
            }
            if dice.next(2) == 0 {
                stop(jobs, mode == "transactional");
                jobs = run.start();
            }
        }
        let sent = |topic: &str, group: &str, count: usize| {
            (0..count as i32).all(|p| {
                let end = sim.messages(topic, p).len() as i64;
                sim.committed(group, topic, p).unwrap_or(0) >= end
            })
        };
        until("the first part has read all", || sent("in", "g", from));
        // A fault that nobody has met yet is not for the query that is whole.
        sim.calm();
        let text = run.text(false);
        let whole = engine(&[("execution", "inline")]);
        whole.sql(&text).unwrap().start().unwrap().wait().unwrap();
        close(&sim, from);
        let wanted = got(&sim, query, "whole");
        assert!(n == 0 || !wanted.is_empty(), "{what}");
        let deadline = Instant::now() + Duration::from_secs(60);
        while got(&sim, query, "out") != wanted
            && !jobs.iter().any(Job::is_finished)
            && Instant::now() < deadline
        {
            std::thread::yield_now();
        }
        let found = got(&sim, query, "out");
        let other = wanted.iter().find(|(k, v)| found.get(*k) != Some(v)).map(|(k, v)| (v, found.get(k)));
        let more = found.keys().find(|k| !wanted.contains_key(*k));
        assert!(
            other.is_none() && more.is_none(),
            "{what}: {} of {}, wanted and found {other:?}, not wanted {more:?}",
            found.len(),
            wanted.len()
        );
        stop(jobs, false);
        assert_eq!(got(&sim, query, "out"), wanted, "{what}");
    });
}

#[test]
fn a_query_that_is_split_gives_what_it_gives_whole() {
    let seeds = std::env::var("MILLSTREAM_SPLIT_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(12);
    let only = std::env::var("MILLSTREAM_SPLIT_SEED").ok().and_then(|s| s.parse().ok());
    (1..=seeds).filter(|s| only.is_none_or(|o: u64| o == *s)).for_each(split_equals_whole);
}

/// Runs a text over the simulated cluster until `ready`, and stops its jobs.
fn run_until(text: &str, ready: impl FnMut() -> bool) {
    let jobs = engine(&[("execution", "inline")]).sql(text).unwrap().start_all().unwrap();
    until("the rows are there", ready);
    stop(jobs, false);
}

#[test]
fn what_goes_through_the_topic() {
    within(60, "a split query", || {
        let (sim, address) = cluster(2);
        for n in 0..40 {
            let key = if n % 5 == 0 { "null".to_owned() } else { format!("\"k{}\"", n % 5) };
            let row = SimMessage::of(&format!("{{\"k\":{key},\"n\":{n},\"unused\":1,\"also\":{{\"x\":2}}}}"));
            sim.append("in", n % 2, SimMessage { timestamp: Some(1_700_000_000_000 + i64::from(n)), ..row });
        }
        let text = stream("a", "(k VARCHAR, n BIGINT, unused INT, also STRUCT<x INT>)", &address, "in", "")
            + &stream("b", "", &address, "out", ", changelog = 'upsert', key_columns = 'g'")
            + "INSERT INTO b SELECT coalesce(k, 'none') AS g, count(*) AS c, max(_timestamp) AS t FROM a \
               WHERE n < 30 REPARTITION BY k THROUGH 'mid' WITH (partitions = 7) GROUP BY k";
        run_until(&text, || {
            values(&sim, "out", 3).iter().filter_map(|v| v["c"].as_i64()).filter(|c| *c == 6).count() == 5
        });
        // The columns that are used; the key once more as the key; the time of the message.
        let messages: Vec<Vec<SimMessage>> = (0..7).map(|p| sim.messages("mid", p)).collect();
        assert_eq!(messages.iter().flatten().count(), 30);
        for m in messages.iter().flatten() {
            let row: Value = serde_json::from_slice(m.value.as_ref().unwrap()).unwrap();
            assert_eq!(row.as_object().unwrap().keys().collect::<Vec<_>>(), ["k"], "{row}");
            assert_eq!(m.key.as_deref(), row["k"].as_str().map(str::as_bytes));
            assert!((1_700_000_000_000..1_700_000_000_030).contains(&m.timestamp.unwrap()));
        }
        // Rows without a key are in one partition, too; the others where Apache's client puts them.
        let places = |wanted: Option<&[u8]>| -> Vec<usize> {
            let there = |p: &usize| messages[*p].iter().any(|m| m.key.as_deref() == wanted);
            (0..7).filter(there).collect()
        };
        assert_eq!(places(None).len(), 1);
        for key in ["k1", "k2", "k3", "k4"] {
            assert_eq!(places(Some(key.as_bytes())).len(), 1, "{key}");
        }
        let last = values(&sim, "out", 3).into_iter().rfind(|v| v["g"] == "k4").unwrap();
        assert_eq!(last["t"], "2023-11-14T22:13:20.029Z");
    });
}

#[test]
fn values_of_every_type_come_through_as_they_were() {
    within(60, "a split query", || {
        let (sim, address) = cluster(1);
        let columns = "(k INT, b BOOLEAN, s SMALLINT, i BIGINT, r REAL, d DOUBLE, e DECIMAL(20, 6), v VARCHAR, y BYTES, da DATE, \
                       ti TIME, ts TIMESTAMP, a ARRAY<INT>, m MAP<VARCHAR, DOUBLE>, st STRUCT<x INT, w VARCHAR>)";
        let mut dice = Dice(77);
        for k in 0..200 {
            let bits = f64::from_bits(dice.next(u64::MAX));
            let double = if bits.is_finite() { format!("{bits:e}") } else { "-0.0".to_owned() };
            let row = format!(
                "{{\"k\":{k},\"b\":{},\"s\":{},\"i\":{},\"r\":{},\"d\":{double},\"e\":{}.{:06},\"v\":\"ü\\u0000\\\"\\n{k}\",\
                 \"y\":\"AAEC/w==\",\"da\":\"{:04}-02-03\",\"ti\":\"01:02:03.{:06}\",\"ts\":\"2024-01-02T03:04:05.{:06}Z\",\
                 \"a\":[{k},null],\"m\":{{\"p\":{double},\"q\":null}},\"st\":{{\"x\":{k},\"w\":null}}}}",
                k % 2 == 0,
                dice.next(65536) as i64 - 32768,
                dice.next(u64::MAX) as i64,
                f32::from_bits(dice.next(0x7f00_0000) as u32),
                dice.next(u64::MAX) as i64 / 1_000_000,
                dice.next(1_000_000),
                dice.next(9999) + 1,
                dice.next(1_000_000),
                dice.next(1_000_000),
            );
            sim.append("in", 0, SimMessage::of(&if k % 9 == 0 { format!("{{\"k\":{k}}}") } else { row }));
        }
        let more = "CASE WHEN k % 3 = 0 THEN CAST('NaN' AS DOUBLE) WHEN k % 3 = 1 THEN CAST('-Infinity' AS DOUBLE) END AS f, \
                    CAST(i AS DECIMAL(28, 2)) / 3 AS q";
        let text = |clause: &str, sink: &str, stop: &str| {
            stream("a", columns, &address, "in", stop)
                + &stream("b", "", &address, sink, "")
                + &format!("INSERT INTO b SELECT *, d + 1 AS z FROM (SELECT *, {more} FROM a) {clause}")
        };
        sim.create("whole", 3);
        let whole = text("", "whole", ", stop = 'latest'");
        engine(&[]).sql(&whole).unwrap().start().unwrap().wait().unwrap();
        let sorted = |topic: &str| {
            let mut rows: Vec<String> = values(&sim, topic, 3).iter().map(Value::to_string).collect();
            rows.sort();
            rows
        };
        run_until(&text("REPARTITION BY k, b THROUGH 'mid' WITH (partitions = 4)", "out", ""), || {
            values(&sim, "out", 3).len() == 200
        });
        assert_eq!(sorted("out"), sorted("whole"));
    });
}

#[test]
fn the_topic_has_the_partitions_that_were_asked_for() {
    within(60, "topics", || {
        let (sim, address) = cluster(2);
        sim.create("five", 5);
        let text = |topic: &str, with: &str| {
            stream("a", "(k INT)", &address, "in", "")
                + &stream("b", "", &address, "out", ", changelog = 'upsert', key_columns = 'k'")
                + &format!(
                    "INSERT INTO b SELECT k, count(*) AS c FROM a REPARTITION BY k THROUGH '{topic}'{with} GROUP BY k"
                )
        };
        let failed = |text: &str| -> Vec<String> {
            let jobs = match engine(&[]).sql(text).unwrap().start_all() {
                Ok(jobs) => jobs,
                Err(e) => return vec![e.to_string()],
            };
            jobs.into_iter().map(|j| j.wait().unwrap_err().to_string()).collect()
        };
        for e in failed(&text("five", " WITH (partitions = 6)")) {
            assert!(e.contains("the topic 'five' has 5 partitions, not 6"), "{e}");
        }
        for e in failed(&text("absent", "")) {
            assert!(e.contains("there is no topic 'absent'") && e.contains("kafka-topics.sh"), "{e}");
        }
        // Whoever comes first makes it.
        sim.append("in", 0, SimMessage::of("{\"k\":1}"));
        run_until(&text("made", " WITH (partitions = 6)"), || values(&sim, "out", 3).len() == 1);
        run_until(&text("made", ""), || (0..6).any(|p| sim.messages("made", p).len() == 2));
        assert!((6..9).all(|p| sim.messages("made", p).is_empty()));
    });
}

#[test]
fn queries_that_are_split_alike_share_the_first_part() {
    within(60, "two queries", || {
        let (sim, address) = cluster(2);
        sim.create("sums", 1);
        (0..30).for_each(|n| {
            sim.append("in", n % 2, SimMessage::of(&format!("{{\"k\":{},\"n\":{n},\"m\":0}}", n % 3)))
        });
        let upsert = ", changelog = 'upsert', key_columns = 'k'";
        let text = stream("a", "(k INT, n INT, m INT)", &address, "in", "")
            + &stream("b", "", &address, "out", upsert)
            + &stream("c", "", &address, "sums", upsert)
            + "CREATE VIEW by_k AS SELECT * FROM a WHERE m = 0 REPARTITION BY k THROUGH 'mid' WITH (partitions = 3);
               INSERT INTO b SELECT k, count(*) AS c FROM by_k GROUP BY k;
               INSERT INTO c SELECT k, sum(n) AS s FROM by_k GROUP BY k";
        assert_eq!(
            engine(&[])
                .sql(&text)
                .unwrap()
                .start_all()
                .map(|jobs| {
                    let n = jobs.len();
                    until("both are there", || {
                        let last = |topic: &str, of: &str, p| {
                            let rows = result(values(&sim, topic, p), &["k"]);
                            rows.values().map(|v| v[of].as_i64().unwrap()).collect::<Vec<_>>()
                        };
                        last("out", "c", 3) == [10, 10, 10] && last("sums", "s", 1) == [135, 145, 155]
                    });
                    stop(jobs, false);
                    n
                })
                .unwrap(),
            2
        );
        let rows = values(&sim, "mid", 3);
        assert_eq!(rows.len(), 30);
        assert_eq!(rows[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["k", "n"]);
    });
}

#[test]
fn what_can_not_be_split_is_refused() {
    let (sim, address) = cluster(2);
    sim.create("mid", 2);
    let declared = stream("a", "(k VARCHAR, n BIGINT, d DOUBLE, ts TIMESTAMP)", &address, "in", "")
        + &stream("ended", "(k VARCHAR, n BIGINT)", &address, "in", ", stop = 'latest'")
        + &stream("timed", "(k VARCHAR, n BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts)", &address, "in", "")
        + &stream(
            "odd",
            "(k VARCHAR, n BIGINT, ts TIMESTAMP, u TIMESTAMP, WATERMARK FOR ts AS u)",
            &address,
            "in",
            "",
        );
    let split = "REPARTITION BY k THROUGH 'mid' WITH (partitions = 2)";
    for (query, why) in [
        ("SELECT k FROM a REPARTITION BY k", "REPARTITION BY needs the topic that the rows go through"),
        ("SELECT k FROM a REPARTITION BY THROUGH 'mid'", "REPARTITION BY takes columns"),
        ("SELECT k FROM a REPARTITION BY k THROUGH mid", "expected the name of a topic in ' ', found 'mid'"),
        ("SELECT k FROM a REPARTITION BY k THROUGH 'mid' WHERE n = 1", "WHERE stands before REPARTITION BY"),
        (
            "SELECT k FROM a REPARTITION BY k THROUGH 'mid' WITH (topic = 'x')",
            "'topic' can't be said of a topic",
        ),
        ("SELECT k FROM a REPARTITION BY k THROUGH 'mid' WITH (partitions = none)", "partitions"),
        ("SELECT k FROM a CONNECT BY k", "CONNECT BY is not supported"),
        ("SELECT k FROM a REPARTITION BY nothing THROUGH 'mid'", "nothing"),
        ("SELECT k FROM a REPARTITION BY upper(k) THROUGH 'mid'", "REPARTITION BY takes columns"),
        ("SELECT k FROM a REPARTITION BY random() THROUGH 'mid'", "an expression that is not deterministic"),
        (
            "SELECT n FROM (SELECT n, CAST(random() * 9 AS INT) AS r FROM a) REPARTITION BY r THROUGH 'mid'",
            "an expression that is not deterministic",
        ),
        ("SELECT k FROM a REPARTITION BY d THROUGH 'mid'", "REPARTITION BY a DOUBLE"),
        ("SELECT k FROM ended REPARTITION BY k THROUGH 'mid'", "over input that ends is not supported yet"),
        ("SELECT k FROM a REPARTITION BY k THROUGH 'in'", "'a' reads the topic 'in' itself"),
        ("SELECT v FROM (VALUES (1)) AS t(v) REPARTITION BY v THROUGH 'mid'", "needs a source in Kafka"),
        (
            "SELECT carrier FROM 'examples/data/flights.csv' REPARTITION BY carrier THROUGH 'mid'",
            "needs a source in Kafka, and 'examples/data/flights.csv' is none",
        ),
        (
            "SELECT k FROM (SELECT k, count(*) AS c FROM a GROUP BY k) REPARTITION BY k THROUGH 'mid'",
            "GROUP BY can't stand before REPARTITION BY",
        ),
        (
            "SELECT k FROM (SELECT k FROM a LIMIT 3) REPARTITION BY k THROUGH 'mid'",
            "LIMIT can't stand before",
        ),
        (
            &format!("SELECT k FROM (SELECT k FROM a {split}) REPARTITION BY k THROUGH 'other'"),
            "the rows are repartitioned already",
        ),
        (
            "SELECT k, count(*) FROM (SELECT k FROM timed) REPARTITION BY k THROUGH 'mid' GROUP BY k",
            "the column of the WATERMARK is not among those before REPARTITION BY",
        ),
        ("SELECT k FROM odd REPARTITION BY k THROUGH 'mid'", "the WATERMARK can't be told again"),
        (
            &format!("SELECT k, _offset FROM a {split}"),
            "_offset behind REPARTITION BY is that of the topic between",
        ),
        (
            &format!(
                "SELECT k FROM a {split} UNION ALL SELECT k FROM a REPARTITION BY k THROUGH 'mid' WITH (partitions = 3)"
            ),
            "the topic 'mid' is to have two numbers of partitions",
        ),
        (
            &format!("SELECT k FROM a {split} UNION ALL SELECT k FROM a WHERE n > 3 {split}"),
            "the topic 'mid' would carry the rows of two different first parts",
        ),
    ] {
        let e = match engine(&[]).sql(&(declared.clone() + query)) {
            Err(e) => e.to_string(),
            Ok(_) => panic!("{query}: it is taken"),
        };
        assert!(e.contains(why), "{query}: {e}");
    }
}

#[test]
fn sources_that_meet_have_equal_numbers_of_partitions() {
    let (sim, address) = cluster(4);
    sim.create("more", 6);
    let dir = tempfile::tempdir().unwrap();
    let by = ", stop = 'latest', partition_by = 'k'";
    let text = stream("a", "(k INT)", &address, "in", by)
        + &stream("m", "(k INT)", &address, "more", by)
        + &stream("b", "", &address, "out", ", changelog = 'upsert', key_columns = 'k'");
    let run = |query: &str| {
        let state = dir.path().display().to_string();
        let engine = engine(&[("state", &state), ("instance", "0"), ("instances", "2")]);
        engine
            .sql(&(text.clone() + query))
            .unwrap()
            .start()
            .and_then(Job::wait)
            .map(drop)
            .map_err(|e| e.to_string())
    };
    let e = run(
        "INSERT INTO b SELECT k, count(*) AS c FROM (SELECT k FROM a UNION ALL SELECT k FROM m) GROUP BY k",
    );
    let e = e.unwrap_err();
    assert!(e.contains("'a' has 4 partitions and 'm' 6"), "{e}");
    // Where nothing brings them together they may differ.
    run("INSERT INTO b SELECT k, 1 AS c FROM (SELECT k FROM a UNION ALL SELECT k FROM m)").unwrap();
}
