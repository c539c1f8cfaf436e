//! Kafka through whole jobs, over the simulated cluster: SQL in, messages out, faults between.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use millstream::connector::kafka::client::KafkaErrorKind;
use millstream::connector::kafka::sim::{Op, SPEC, SimKafka, SimMessage};
use millstream::{Engine, FieldValue, Stop};
use support::{MODES, until, within};

/// A cluster of its own for a test, reachable at the address.
fn cluster() -> (SimKafka, String) {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let address = format!("sim:{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let sim = SimKafka::new();
    sim.serve(&address);
    (sim, address)
}

fn engine(mode: &str) -> Engine {
    let engine = Engine::new();
    engine.register_connector(SPEC);
    engine.set("execution", mode).unwrap();
    engine.set("commit_interval", "10ms").unwrap();
    engine
}

/// Runs a text to its end.
fn run(engine: &Engine, text: &str) -> Result<(), String> {
    engine
        .sql(text)
        .map_err(|e| e.to_string())?
        .start()
        .map_err(|e| e.to_string())?
        .wait()
        .map(drop)
        .map_err(|e| e.to_string())
}

/// The rows of a SELECT, sorted.
fn rows(engine: &Engine, text: &str) -> Vec<Vec<String>> {
    let mut job = engine.sql(text).unwrap().start().unwrap();
    let show = |v: &FieldValue| match v {
        FieldValue::Null => "NULL".to_owned(),
        FieldValue::String(text) => text.to_string(),
        FieldValue::Integer(n) => n.to_string(),
        FieldValue::Timestamp(micros) => format!("{micros} µs"),
        other => format!("{other:?}"),
    };
    let mut rows: Vec<Vec<String>> = job.rows().map(|r| r.values().iter().map(show).collect()).collect();
    job.wait().unwrap();
    rows.sort();
    rows
}

fn stream(name: &str, columns: &str, address: &str, topic: &str, more: &str) -> String {
    format!(
        "CREATE STREAM {name} {columns} WITH (connector = 'kafka', bootstrap_servers = '{address}', topic = '{topic}'{more});\n"
    )
}

fn fill(sim: &SimKafka, topic: &str, partitions: usize, n: usize) {
    sim.create(topic, partitions);
    for i in 0..n {
        let message = SimMessage::of(&format!("{{\"n\":{i}}}"));
        sim.append(topic, (i % partitions) as i32, message);
    }
}

/// The numbers in the values of a topic, sorted.
fn numbers(sim: &SimKafka, topic: &str, partitions: i32) -> Vec<usize> {
    let text = |m: SimMessage| String::from_utf8(m.value.unwrap()).unwrap();
    let number = |t: String| t.trim_start_matches("{\"n\":").trim_end_matches('}').parse().unwrap();
    let mut all: Vec<usize> =
        (0..partitions).flat_map(|p| sim.messages(topic, p)).map(text).map(number).collect();
    all.sort_unstable();
    all
}

#[test]
fn records_go_from_topic_to_topic_in_every_mode() {
    for mode in MODES {
        within(60, "a pass through", move || {
            let (sim, address) = cluster();
            fill(&sim, "in", 3, 5000);
            sim.create("out", 2);
            let text = stream("a", "(n BIGINT)", &address, "in", ", format = 'json', stop = 'latest'")
                + &stream("b", "", &address, "out", ", format = 'json'")
                + "INSERT INTO b SELECT n FROM a WHERE n % 2 = 0;";
            run(&engine(mode), &text).unwrap();
            assert_eq!(numbers(&sim, "out", 2), (0..5000).step_by(2).collect::<Vec<_>>(), "{mode}");
        });
    }
}

#[test]
fn what_the_broker_says_of_a_message_can_be_selected_and_set() {
    within(60, "metadata", || {
        let (sim, address) = cluster();
        sim.create("in", 2);
        sim.create("out", 4);
        let mut message = SimMessage::of("héllo").keyed("k1");
        message.timestamp = Some(1_767_225_600_123);
        message.headers = vec![("trace".into(), Some(b"a".to_vec())), ("trace".into(), Some(b"b".to_vec()))];
        sim.append("in", 1, message);
        sim.append("in", 0, SimMessage::of(""));
        let engine = engine("inline");
        let input = stream("a", "(v VARCHAR)", &address, "in", ", format = 'text', stop = 'latest'");
        let text = input.clone()
            + "SELECT v, _key, _partition, _offset, _topic, _timestamp, _headers['trace'] FROM a;";
        let expected = [
            vec!["", "NULL", "0", "0", "in", "NULL", "NULL"],
            vec!["héllo", "k1", "1", "0", "in", "1767225600123000 µs", "b"],
        ];
        assert_eq!(rows(&engine, &text), expected);
        let text = stream("b", "", &address, "out", ", format = 'text'")
            + "INSERT INTO b SELECT upper(v) AS v, _key || '!' AS _key, 3 AS _partition, _timestamp AS _timestamp,
               map(['h'], [_topic]) AS _headers FROM a WHERE v <> '';";
        run(&engine, &text).unwrap();
        let expected = SimMessage {
            key: Some(b"k1!".to_vec()),
            value: Some("HÉLLO".into()),
            timestamp: Some(1_767_225_600_123),
            headers: vec![("h".into(), Some(b"in".to_vec()))],
        };
        assert_eq!(sim.messages("out", 3), [expected]);
        // What the query does not set belongs to where the record came from.
        sim.create("plain", 1);
        let text = stream("c", "", &address, "plain", ", format = 'text'")
            + "INSERT INTO c SELECT v FROM a WHERE _key = 'k1' AND _headers['trace'] = 'b';";
        run(&engine, &text).unwrap();
        assert_eq!(sim.messages("plain", 0), [SimMessage::of("héllo")]);
    });
}

#[test]
fn what_the_client_lacks_is_refused_before_the_job_starts() {
    let (sim, address) = cluster();
    fill(&sim, "in", 1, 1);
    sim.with_caps(|c| {
        (c.headers, c.timestamps, c.read_committed, c.compression) = (false, false, false, &["none"])
    })
    .serve(&address);
    let input = |more: &str| stream("a", "(n BIGINT)", &address, "in", &format!(", format = 'json'{more}"));
    let output = |more: &str| stream("b", "", &address, "in", &format!(", format = 'json'{more}"));
    for (text, what) in [
        (input("") + "SELECT _headers['x'] FROM a", "_headers needs message headers"),
        (input("") + "SELECT _timestamp FROM a", "_timestamp needs message timestamps"),
        (
            input(", isolation = 'read_committed'") + "SELECT n FROM a",
            "needs a client that knows transactions",
        ),
        (input(", fetch = 'direct'") + "SELECT n FROM a", "fetch = 'direct' needs a client"),
        (input(", start = '2026-01-01'") + "SELECT n FROM a", "start = a time needs message timestamps"),
        (
            input("") + &output(", compression = 'zstd'") + "INSERT INTO b SELECT n FROM a",
            "compression = 'zstd'",
        ),
        (
            input("") + &output("") + "INSERT INTO b SELECT n, map(['a'], ['b']) AS _headers FROM a",
            "AS _headers needs message headers",
        ),
        (
            input("") + &output("") + "INSERT INTO b SELECT n, now() AS _timestamp FROM a",
            "AS _timestamp needs message timestamps",
        ),
    ] {
        let engine = engine("inline");
        let checked = engine.sql(&text).and_then(|p| p.check()).unwrap_err().to_string();
        assert!(checked.contains(what) && checked.contains("rdkafka"), "{text}\n{checked}");
    }
}

#[test]
fn wrong_options_are_told_when_the_text_is_checked() {
    let columns = "(n BIGINT)";
    let (_sim, address) = cluster();
    let said = |more: &str, query: &str| {
        let text = stream("a", columns, &address, "t", more) + query;
        engine("inline").sql(&text).and_then(|p| p.check()).unwrap_err().to_string()
    };
    let read = "SELECT n FROM a";
    for (more, query, what) in [
        (", formt = 'json'", read, "did you mean format?"),
        (", format = 'json', strat = 'latest'", read, "did you mean start?"),
        (", format = 'json', transactional_id = 'x'", read, "transactions go by the job"),
        (", format = 'json', schema_registry = 'x'", read, "Confluent wire format is not supported yet"),
        (", format = 'json', assignment = 'group'", read, "not supported yet"),
        ("", read, "can't tell the format"),
        (", format = 'debezium-json'", read, "can be written, not read"),
        (", format = 'json', key_format = 'json'", read, "'key_format' needs 'key_columns'"),
        (", format = 'json', key_columns = 'm'", read, "there is no column 'm'"),
        (", format = 'json', framing = 'array'", read, "a message is one record"),
        (", format = 'csv', header = 'true'", read, "a message is one record"),
        (
            ", format = 'json', changelog = 'upsert'",
            "INSERT INTO a SELECT 1 AS n",
            "needs the columns that tell rows apart",
        ),
        (
            ", format = 'json', key_columns = 'n'",
            "INSERT INTO a SELECT 1 AS n, 'k' AS _key",
            "exclude each other",
        ),
    ] {
        let e = said(more, query);
        assert!(e.contains(what), "{more} {query}\n{e}");
    }
    let e = said(", format = 'json', start = 'latests'", read);
    assert!(e.contains("did you mean latest?"), "{e}");
}

#[test]
fn rows_that_change_become_upserts_or_pairs() {
    within(60, "changes", || {
        let (sim, address) = cluster();
        sim.create("up", 1);
        sim.create("pairs", 1);
        let engine = engine("inline");
        engine.set("batch_rows", "1").unwrap();
        sim.create("in", 1);
        for (k, n) in [("a", 1), ("b", 1), ("a", 2), ("b", -1)] {
            sim.append("in", 0, SimMessage::of(&format!("{{\"k\":\"{k}\",\"n\":{n}}}")));
        }
        let groups = "SELECT k, sum(n) AS s FROM a GROUP BY k HAVING sum(n) > 0";
        // Without an end, so that changes are emitted as they come.
        let run = |topic: &str, text: &str| {
            let job = engine.sql(text).unwrap().start().unwrap();
            until("all is out", || sim.messages(topic, 0).len() >= 4);
            job.stop(Stop::Drain);
            job.wait().unwrap();
        };
        let text = stream("a", "(k VARCHAR, n BIGINT)", &address, "in", ", format = 'json'")
            + &stream("up", "", &address, "up", ", format = 'json', changelog = 'upsert', key_columns = 'k'")
            + &format!("INSERT INTO up {groups};");
        run("up", &text);
        let of = |key: &str, value: Option<&str>| SimMessage {
            key: Some(key.into()),
            value: value.map(Into::into),
            ..SimMessage::default()
        };
        let expected = [
            of("a", Some("{\"k\":\"a\",\"s\":1}")),
            of("b", Some("{\"k\":\"b\",\"s\":1}")),
            of("a", Some("{\"k\":\"a\",\"s\":3}")),
            of("b", None),
        ];
        assert_eq!(sim.messages("up", 0), expected);
        let text = stream("p", "", &address, "pairs", ", format = 'debezium-json', key_columns = 'k'")
            + &format!("INSERT INTO p {groups};");
        run("pairs", &text);
        let envelope = |before: &str, after: &str, op: &str| {
            format!("{{\"before\":{before},\"after\":{after},\"op\":\"{op}\"}}")
        };
        let (a1, a3, b1) = ("{\"k\":\"a\",\"s\":1}", "{\"k\":\"a\",\"s\":3}", "{\"k\":\"b\",\"s\":1}");
        let expected = [
            of("a", Some(&envelope("null", a1, "c"))),
            of("b", Some(&envelope("null", b1, "c"))),
            of("a", Some(&envelope(a1, a3, "u"))),
            of("b", Some(&envelope(b1, "null", "d"))),
        ];
        assert_eq!(sim.messages("pairs", 0), expected);
    });
}

#[test]
fn a_record_that_the_broker_refuses_late_is_a_dead_letter_and_the_ledger_balances() {
    for mode in MODES {
        for with_state in [false, true] {
            within(60, "late refusals", move || {
                let dir = tempfile::tempdir().unwrap();
                let (sim, address) = cluster();
                sim.create("in", 1);
                for i in 0..100 {
                    let long = if i % 10 == 3 { 200 } else { 1 };
                    sim.append("in", 0, SimMessage::of(&format!("{i} {}", "x".repeat(long))));
                }
                sim.create("out", 1);
                sim.limit_topic("out", Some(100));
                let engine = engine(mode);
                engine.set("on_error", "dlq").unwrap();
                engine.set("dlq", dir.path().join("bad.jsonl").to_str().unwrap()).unwrap();
                engine.set("batch_rows", "7").unwrap();
                if with_state {
                    engine.set("state", dir.path().join("state").to_str().unwrap()).unwrap();
                }
                let text = stream("a", "(v VARCHAR)", &address, "in", ", format = 'text', stop = 'latest'")
                    + &stream("b", "", &address, "out", ", format = 'text'")
                    + "INSERT INTO b SELECT v FROM a;";
                let stats = engine.sql(&text).unwrap().start().unwrap().wait().unwrap();
                assert_eq!(sim.messages("out", 0).len(), 90, "{mode}");
                let letters = std::fs::read_to_string(dir.path().join("bad.jsonl")).unwrap();
                assert_eq!(letters.lines().count(), 10, "{mode} {with_state}");
                let first = letters.lines().next().unwrap();
                assert!(first.contains("partition 0, offset 3") && first.contains("too large"), "{first}");
                assert_eq!((stats.sinks[0].records, stats.sinks[0].rejected), (90, 10));
            });
        }
    }
}

#[test]
fn under_fail_a_late_refusal_ends_the_job() {
    within(60, "late refusal", || {
        let (sim, address) = cluster();
        fill(&sim, "in", 1, 10);
        sim.create("out", 1);
        sim.fail(Op::Deliver, 1, KafkaErrorKind::Record, "the broker says no");
        let text = stream("a", "(n BIGINT)", &address, "in", ", format = 'json', stop = 'latest'")
            + &stream("b", "", &address, "out", ", format = 'json'")
            + "INSERT INTO b SELECT n FROM a;";
        let e = run(&engine("inline"), &text).unwrap_err();
        assert!(e.contains("the broker says no") && e.contains("partition 0, offset 0"), "{e}");
    });
}

#[test]
fn faults_that_pass_lose_and_double_nothing() {
    for mode in MODES {
        within(120, "transient faults", move || {
            let (sim, address) = cluster();
            fill(&sim, "in", 2, 300);
            sim.create("out", 1);
            sim.limit_queue(50);
            sim.fail(Op::Poll, 2, KafkaErrorKind::Retriable, "no broker");
            sim.fail(Op::PollMidway, 3, KafkaErrorKind::Retriable, "connection lost");
            sim.fail(Op::Send, 2, KafkaErrorKind::Retriable, "queue full");
            let text = stream("a", "(n BIGINT)", &address, "in", ", format = 'json', stop = 'latest'")
                + &stream("b", "", &address, "out", ", format = 'json'")
                + "INSERT INTO b SELECT n FROM a;";
            run(&engine(mode), &text).unwrap();
            assert_eq!(numbers(&sim, "out", 1), (0..300).collect::<Vec<_>>(), "{mode}");
        });
    }
}

#[test]
fn a_delivery_that_fails_for_good_fails_the_job_and_a_restart_loses_nothing() {
    for mode in MODES {
        within(120, "a lost delivery", move || {
            let dir = tempfile::tempdir().unwrap();
            let (sim, address) = cluster();
            fill(&sim, "in", 2, 200);
            sim.create("out", 1);
            let text = stream(
                "a",
                "(n BIGINT)",
                &address,
                "in",
                ", format = 'json', stop = 'latest', group_id = 'g'",
            ) + &stream("b", "", &address, "out", ", format = 'json'")
                + "INSERT INTO b SELECT n FROM a;";
            sim.fail(Op::Deliver, 1, KafkaErrorKind::Fatal, "the topic is gone");
            let start = || {
                let engine = engine(mode);
                engine.set("state", dir.path().to_str().unwrap()).unwrap();
                run(&engine, &text)
            };
            let e = start().unwrap_err();
            assert!(e.contains("not delivered") && e.contains("the topic is gone"), "{e}");
            assert!(
                sim.committed("g", "in", 0).is_none_or(|o| o < 100),
                "{mode}: committed what is not there"
            );
            start().unwrap();
            let mut got = numbers(&sim, "out", 1);
            got.dedup();
            assert_eq!(got, (0..200).collect::<Vec<_>>(), "{mode}");
            assert_eq!((sim.committed("g", "in", 0), sim.committed("g", "in", 1)), (Some(100), Some(100)));
        });
    }
}

#[test]
fn the_latest_offset_is_a_pause_for_a_job_with_state() {
    within(60, "two runs", || {
        let dir = tempfile::tempdir().unwrap();
        let (sim, address) = cluster();
        fill(&sim, "in", 1, 5);
        sim.create("out", 1);
        let text = stream("a", "(n BIGINT)", &address, "in", ", format = 'json', stop = 'latest'")
            + &stream("b", "", &address, "out", ", format = 'json'")
            + "INSERT INTO b SELECT n FROM a;";
        for upto in [5, 5, 8] {
            for i in numbers(&sim, "in", 1).len()..upto {
                sim.append("in", 0, SimMessage::of(&format!("{{\"n\":{i}}}")));
            }
            let engine = engine("auto");
            engine.set("state", dir.path().to_str().unwrap()).unwrap();
            run(&engine, &text).unwrap();
            assert_eq!(numbers(&sim, "out", 1), (0..upto).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_job_without_end_is_stopped_and_goes_on() {
    for mode in MODES {
        within(120, "a stop", move || {
            let dir = tempfile::tempdir().unwrap();
            let (sim, address) = cluster();
            fill(&sim, "in", 3, 60);
            sim.create("out", 1);
            let text = stream("a", "(n BIGINT)", &address, "in", ", format = 'json'")
                + &stream("b", "", &address, "out", ", format = 'json'")
                + "INSERT INTO b SELECT n FROM a;";
            for round in 1..4 {
                let engine = engine(mode);
                engine.set("state", dir.path().to_str().unwrap()).unwrap();
                let job = engine.sql(&text).unwrap().start().unwrap();
                until("all is out", || numbers(&sim, "out", 1).len() >= 20 * round + 40);
                job.stop(Stop::Checkpoint);
                job.wait().unwrap();
                let all: Vec<usize> = (0..20 * round + 40).collect();
                assert_eq!(numbers(&sim, "out", 1), all, "{mode}");
                for i in all.len()..all.len() + 20 {
                    sim.append("in", (i % 3) as i32, SimMessage::of(&format!("{{\"n\":{i}}}")));
                }
            }
        });
    }
}

#[test]
fn several_topics_and_patterns_are_read_together() {
    within(60, "topics", || {
        let (sim, address) = cluster();
        for (topic, value) in [("logs.a", "1"), ("logs.b", "2"), ("other", "3"), ("logs", "4")] {
            sim.create(topic, 1);
            sim.append(topic, 0, SimMessage::of(value));
        }
        let engine = engine("inline");
        let read = |name: &str, which: &str| {
            let text = format!(
                "CREATE STREAM {name} WITH (connector = 'kafka', bootstrap_servers = '{address}', {which}, format = 'text',
                 stop = 'latest'); SELECT value, _topic FROM {name};"
            );
            rows(&engine, &text).into_iter().map(|r| r.join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(read("a", "topic_pattern = 'logs\\..*'"), ["1 logs.a", "2 logs.b"]);
        assert_eq!(read("b", "topics = 'other, logs'"), ["3 other", "4 logs"]);
        let text =
            stream("c", "", &address, "log", ", format = 'text', stop = 'latest'") + "SELECT value FROM c";
        let e = run(&engine, &text).unwrap_err();
        assert!(e.contains("there is no topic 'log'") && e.contains("did you mean logs"), "{e}");
    });
}

/// The simulator gives one partition after the other, as far as a batch goes.
#[test]
fn a_partition_that_comes_first_makes_no_other_late() {
    within(60, "windows over partitions", || {
        for (topics, partitions) in [(&["in"][..], 3), (&["in-1", "in-2"][..], 2)] {
            for batch in [1, 7, 1000] {
                let (sim, address) = cluster();
                for topic in topics {
                    // One more, of which nothing comes.
                    sim.create(topic, partitions + 1);
                    for i in 0..100 * partitions {
                        let row = format!(r#"{{"ts":"2026-01-01 00:{:02}:{:02}"}}"#, i / 60, i % 60);
                        sim.append(topic, (i % partitions) as i32, SimMessage::of(&row));
                    }
                }
                let columns = "(ts TIMESTAMP, WATERMARK FOR ts AS ts)";
                let text = format!(
                    "CREATE STREAM a {columns} WITH (connector = 'kafka', bootstrap_servers = '{address}', topic_pattern = 'in.*', \
                     format = 'json', stop = 'latest');
                     SELECT count(*) AS n FROM TUMBLE(a, ts, INTERVAL '1' MINUTE) GROUP BY window_end;"
                );
                let engine = engine("inline");
                engine.set("batch_rows", &batch.to_string()).unwrap();
                let counts = rows(&engine, &text);
                let (minutes, n) = (100 * partitions / 60, (60 * topics.len()).to_string());
                let all = 100 * partitions * topics.len();
                let sum: usize = counts.iter().map(|row| row[0].parse::<usize>().unwrap()).sum();
                assert_eq!(sum, all, "{topics:?}, batches of {batch}: {counts:?}");
                assert_eq!(counts.iter().filter(|row| row[0] == n).count(), minutes, "{counts:?}");
            }
        }
    });
}

#[test]
fn a_partition_without_a_single_row_holds_no_window_back() {
    within(60, "windows beside rejects", || {
        for mode in MODES {
            let (sim, address) = cluster();
            sim.create("in", 2);
            for i in 0..100 {
                let row = format!(r#"{{"ts":"2026-01-01 00:00:{:02}"}}"#, i % 60);
                sim.append("in", 0, SimMessage::of(if i < 60 { &row } else { "{}" }));
                sim.append("in", 1, SimMessage::of("no row"));
            }
            sim.append("in", 0, SimMessage::of(r#"{"ts":"2026-01-01 00:01:00"}"#));
            let columns = "(ts TIMESTAMP, WATERMARK FOR ts AS ts)";
            let more = ", format = 'json', on_error = 'skip', idle_timeout = 'off'";
            let text = stream("a", columns, &address, "in", more)
                + "SELECT count(*) AS n FROM TUMBLE(a, ts, INTERVAL '1' MINUTE) WHERE ts IS NOT NULL GROUP BY window_end;";
            let mut job = engine(mode).sql(&text).unwrap().start().unwrap();
            let first = job.rows().next().unwrap();
            assert_eq!(first.values()[0].as_i64(), Some(60), "{mode}");
            job.stop(Stop::Abort);
            let _ = job.wait();
        }
    });
}

#[test]
fn tombstones_are_rows_of_nulls_or_left_out_or_errors() {
    within(60, "tombstones", || {
        let (sim, address) = cluster();
        sim.create("in", 1);
        sim.append("in", 0, SimMessage::of("{\"n\":1}").keyed("a"));
        sim.append("in", 0, SimMessage { key: Some(b"b".to_vec()), ..SimMessage::default() });
        let engine = engine("inline");
        let stream_of = |name: &str, columns: &str, more: &str| {
            let more = format!(", format = 'json', key_columns = 'k', stop = 'latest'{more}");
            stream(name, columns, &address, "in", &more) + &format!("SELECT k, n FROM {name}")
        };
        let all = rows(&engine, &stream_of("a", "(k VARCHAR, n BIGINT)", ""));
        assert_eq!(all, [["a", "1"], ["b", "NULL"]]);
        let some = rows(&engine, &stream_of("b", "(k VARCHAR, n BIGINT)", ", tombstones = 'skip'"));
        assert_eq!(some, [["a", "1"]]);
        for (name, columns, more, what) in [
            ("c", "(k VARCHAR, n BIGINT)", ", tombstones = 'error'", "a tombstone"),
            ("d", "(k VARCHAR, n BIGINT NOT NULL)", "", "NOT NULL"),
        ] {
            let mut job = engine.sql(&stream_of(name, columns, more)).unwrap().start().unwrap();
            job.rows().for_each(drop);
            let e = job.wait().unwrap_err().to_string();
            assert!(e.contains(what) && e.contains("in/0, offset 1"), "{e}");
        }
    });
}

#[test]
fn commits_that_fail_are_counted_and_the_job_goes_on() {
    within(60, "commits", || {
        let dir = tempfile::tempdir().unwrap();
        let (sim, address) = cluster();
        fill(&sim, "in", 1, 50);
        sim.create("out", 1);
        sim.fail(Op::Commit, 1000, KafkaErrorKind::Retriable, "the coordinator moves");
        let engine = engine("threads");
        engine.set("state", dir.path().to_str().unwrap()).unwrap();
        let text =
            stream("a", "(n BIGINT)", &address, "in", ", format = 'json', stop = 'latest', group_id = 'g'")
                + &stream("b", "", &address, "out", ", format = 'json'")
                + "INSERT INTO b SELECT n FROM a;";
        run(&engine, &text).unwrap();
        assert_eq!(numbers(&sim, "out", 1).len(), 50);
        assert_eq!(sim.committed("g", "in", 0), None);
    });
}
