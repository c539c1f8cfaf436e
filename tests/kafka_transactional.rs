//! Transactional jobs with Kafka through SQL, over the simulated cluster: what is committed with what, who is shut out, and what is
//! refused.

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use millstream::connector::kafka::Outbox;
use millstream::connector::kafka::client::{
    Connection, KafkaClient, KafkaErrorKind, KafkaSink, SinkSettings,
};
use millstream::connector::kafka::sim::{Op, SPEC, SimKafka, SimMessage};
use millstream::{Engine, Error, Stop};
use support::{MODES, until, within};

/// A cluster of its own for a test, with topics `in` and `out` of two partitions and 1000 numbers in `in`.
fn cluster() -> (SimKafka, String) {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let address = format!("sim:{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let sim = SimKafka::new();
    sim.serve(&address);
    ["in", "out"].iter().for_each(|topic| sim.create(topic, 2));
    fill(&sim, 0..1000);
    (sim, address)
}

fn fill(sim: &SimKafka, range: std::ops::Range<i32>) {
    range.for_each(|n| sim.append("in", n % 2, SimMessage::of(&format!("{{\"n\":{n}}}"))));
}

fn engine(mode: &str, state: &Path) -> Engine {
    let engine = Engine::new();
    engine.register_connector(SPEC);
    let state = state.display().to_string();
    for (name, value) in [
        ("execution", mode),
        ("state", &state),
        ("mode", "transactional"),
        ("job_name", "job"),
        ("commit_interval", "100 rows"),
        ("batch_rows", "10"),
    ] {
        engine.set(name, value).unwrap();
    }
    engine
}

fn topic(name: &str, columns: &str, address: &str, topic: &str, more: &str) -> String {
    format!(
        "CREATE STREAM {name} {columns} WITH (connector = 'kafka', bootstrap_servers = '{address}', topic = '{topic}', \
         format = 'json'{more});\n"
    )
}

/// From `in` to `out` up to what is there.
fn through(address: &str) -> String {
    topic("a", "(n BIGINT)", address, "in", ", stop = 'latest', group_id = 'g'")
        + &topic("b", "", address, "out", "")
        + "INSERT INTO b SELECT n FROM a"
}

fn run(engine: &Engine, text: &str) -> Result<u64, Error> {
    engine.sql(text)?.start()?.wait().map(|stats| stats.restarts)
}

/// The numbers that readers of committed transactions see, sorted.
fn numbers(sim: &SimKafka, topic: &str) -> Vec<i64> {
    let number = |m: SimMessage| {
        let value: serde_json::Value = serde_json::from_slice(&m.value.unwrap()).unwrap();
        value["n"].as_i64().unwrap()
    };
    let mut all: Vec<i64> = (0..2).flat_map(|p| sim.messages(topic, p)).map(number).collect();
    all.sort_unstable();
    all
}

#[test]
fn every_row_is_there_once_whatever_its_commits_meet() {
    for mode in MODES {
        for (op, kind) in [
            (Op::TxnCommit, KafkaErrorKind::AbortTxn),
            (Op::TxnCommit, KafkaErrorKind::Retriable),
            (Op::TxnCommitted, KafkaErrorKind::Retriable),
            (Op::TxnStuck, KafkaErrorKind::Retriable),
            (Op::TxnStuckCommitted, KafkaErrorKind::Retriable),
            (Op::TxnOffsets, KafkaErrorKind::AbortTxn),
            (Op::Deliver, KafkaErrorKind::Fatal),
        ] {
            within(60, "a transactional job", move || {
                let (sim, address) = cluster();
                let dir = tempfile::tempdir().unwrap();
                sim.fail(op, 1, kind, "scripted");
                let engine = engine(mode, dir.path());
                engine.set("max_restarts", "3").unwrap();
                let text = topic("a", "(n BIGINT)", &address, "in", ", stop = 'latest', group_id = 'g'")
                    + &topic("b", "", &address, "out", ", timeout = '20ms'")
                    + "INSERT INTO b SELECT n FROM a";
                let restarts = run(&engine, &text).unwrap();
                assert_eq!(numbers(&sim, "out"), (0..1000).collect::<Vec<_>>(), "{mode} {op:?}");
                // The same call again, or a look at what was committed, is enough where nothing was lost.
                let lost = kind != KafkaErrorKind::Retriable || op == Op::TxnStuck;
                assert_eq!(restarts, u64::from(lost), "{mode} {op:?} {kind:?}");
                assert_eq!(
                    (sim.committed("g", "in", 0), sim.committed("g", "in", 1)),
                    (Some(500), Some(500))
                );
                let metadata = sim.metadata("g", "in", 0).unwrap();
                assert!(metadata.starts_with("millstream 1 ") && metadata.ends_with(" job"), "{metadata}");
            });
        }
    }
}

#[test]
fn what_a_topic_does_not_take_is_a_dead_letter_and_the_epoch_counts() {
    for mode in MODES {
        within(60, "too large", move || {
            let dir = tempfile::tempdir().unwrap();
            let (sim, address) = cluster();
            let long = |n: i32| format!("{{\"n\":{n},\"s\":\"{}\"}}", "x".repeat(300));
            (1000..1020).for_each(|n| sim.append("in", n % 2, SimMessage::of(&long(n))));
            fill(&sim, 1020..1400);
            // Two sinks in one transaction; only one of their topics is small.
            sim.create("wide", 2);
            sim.limit_topic("out", Some(200));
            sim.limit_topic("wide", Some(100_000));
            let letters = dir.path().join("letters.jsonl").display().to_string();
            let engine = engine(mode, &dir.path().join("state"));
            engine.set("on_error", "dlq").unwrap();
            engine.set("dlq", &letters).unwrap();
            let text =
                topic("a", "(n BIGINT, s VARCHAR)", &address, "in", ", stop = 'latest', group_id = 'g'")
                    + &topic("b", "", &address, "out", "")
                    + &topic("c", "", &address, "wide", "")
                    + "INSERT INTO b SELECT n, s FROM a; INSERT INTO c SELECT n, s FROM a";
            assert_eq!(run(&engine, &text).unwrap(), 0, "{mode}");
            let small: Vec<i64> = (0..1000).chain(1020..1400).collect();
            assert_eq!(numbers(&sim, "out"), small, "{mode}");
            assert_eq!(numbers(&sim, "wide"), (0..1400).collect::<Vec<_>>(), "{mode}");
            let letters = std::fs::read_to_string(&letters).unwrap();
            let refused =
                letters.lines().filter(|l| l.contains("max.message.bytes of its topic is 200")).count();
            assert_eq!(refused, 20, "{mode}");
        });
    }
}

#[test]
fn a_broker_that_does_not_tell_what_a_topic_takes_is_no_obstacle() {
    within(60, "no answer", || {
        let (sim, address) = cluster();
        sim.limit_topic("out", Some(200));
        sim.fail(Op::Describe, 2, KafkaErrorKind::Fatal, "not allowed to ask");
        let dir = tempfile::tempdir().unwrap();
        run(&engine("inline", dir.path()), &through(&address)).unwrap();
        assert_eq!(numbers(&sim, "out"), (0..1000).collect::<Vec<_>>());
        sim.fail(Op::Describe, 1, KafkaErrorKind::Retriable, "nobody answers");
        let e = run(&engine("inline", dir.path()), &through(&address)).unwrap_err().to_string();
        assert!(e.contains("nobody answers"), "{e}");
    });
}

#[test]
fn a_job_goes_on_where_it_was_and_refuses_what_does_not_fit() {
    within(60, "restarts", || {
        let (sim, address) = cluster();
        let dir = tempfile::tempdir().unwrap();
        run(&engine("threads", dir.path()), &through(&address)).unwrap();
        fill(&sim, 1000..1200);
        run(&engine("inline", dir.path()), &through(&address)).unwrap();
        assert_eq!(numbers(&sim, "out"), (0..1200).collect::<Vec<_>>());
        let metadata = sim.metadata("g", "in", 0).unwrap();

        let refused = |state: &Path, why: &str| {
            let e = run(&engine("inline", state), &through(&address)).unwrap_err().to_string();
            assert!(e.contains(why), "{e}");
        };
        // Offsets that somebody has set by hand, with and without our words.
        sim.set_committed("g", "in", 0, 3, &metadata);
        refused(dir.path(), "group g stands at offset 3 of in/0, the snapshot at 600");
        sim.set_committed("g", "in", 0, 600, "millstream 1 7 other");
        refused(dir.path(), "group g holds the positions of job other");
        sim.set_committed("g", "in", 0, 600, "millstream 2 what is to come");
        refused(dir.path(), "a later version of this program");
        sim.set_committed("g", "in", 0, 600, &metadata);
        // A state directory that is another one.
        let other = tempfile::tempdir().unwrap();
        refused(other.path(), "has none; bring back the state directory");
        // Brokers forget groups that are away for long; the job's record is complete then.
        sim.forget_group("g");
        fill(&sim, 1200..1300);
        run(&engine("inline", dir.path()), &through(&address)).unwrap();
        assert_eq!(numbers(&sim, "out"), (0..1300).collect::<Vec<_>>());
    });
}

/// Another process takes over as instance 0 of the job.
fn heir(sim: &SimKafka, address: &str) -> Box<dyn KafkaSink> {
    producer(sim, address, "job.0")
}

/// A producer of that transactional id.
fn producer(sim: &SimKafka, address: &str, id: &str) -> Box<dyn KafkaSink> {
    let settings = SinkSettings {
        connection: Connection { servers: address.into(), timeout: SECOND, native: Vec::new() },
        compression: "none".into(),
        acks_all: true,
        linger: SECOND,
        delivery_timeout: SECOND,
        batch_bytes: None,
        transactional_id: Some(id.into()),
        transaction_timeout: SECOND,
    };
    let mut producer = sim.sink(&settings).unwrap();
    producer.txn().unwrap().init().unwrap();
    producer
}

/// To a client that was away for long its messages have timed out, which looks like an outage: it must not begin again and shut out
/// whoever has taken over.
#[test]
fn a_replaced_job_whose_messages_time_out_ends_with_exit_code_3_too() {
    for mode in MODES {
        within(60, "a zombie", move || {
            let (sim, address) = cluster();
            let dir = tempfile::tempdir().unwrap();
            let engine = engine(mode, dir.path());
            engine.set("commit_interval", "25s").unwrap();
            engine.set("max_restarts", "3").unwrap();
            let text = topic("a", "(n BIGINT)", &address, "in", "")
                + &topic("b", "", &address, "out", "")
                + "INSERT INTO b SELECT n FROM a";
            let job = engine.sql(&text).unwrap().start().unwrap();
            // In a transaction that stays open.
            until("the first rows", || job.stats().sinks[0].records >= 1000);
            let mut heir = heir(&sim, &address);
            heir.txn().unwrap().begin().unwrap();
            sim.fail(Op::Send, 1, KafkaErrorKind::AbortTxn, "messages have timed out");
            fill(&sim, 1000..1100);
            let e = job.wait().unwrap_err();
            assert_eq!(e.exit_code(), 3, "{mode} {e}");
            assert!(e.to_string().contains("another producer has taken over"), "{e}");
            heir.txn().unwrap().commit().unwrap();
        });
    }
}

#[test]
fn a_job_that_was_replaced_ends_with_exit_code_3() {
    for mode in MODES {
        within(60, "a zombie", move || {
            let (sim, address) = cluster();
            let dir = tempfile::tempdir().unwrap();
            let engine = engine(mode, dir.path());
            engine.set("max_restarts", "3").unwrap();
            let text = topic("a", "(n BIGINT)", &address, "in", "")
                + &topic("b", "", &address, "out", "")
                + "INSERT INTO b SELECT n FROM a";
            let job = engine.sql(&text).unwrap().start().unwrap();
            until("the first rows", || !numbers(&sim, "out").is_empty());
            let _heir = heir(&sim, &address);
            fill(&sim, 1000..2000);
            let e = job.wait().unwrap_err();
            assert_eq!(e.exit_code(), 3, "{e}");
            assert!(e.to_string().contains("another producer has taken over"), "{e}");
        });
    }
}

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

#[test]
fn a_file_goes_to_a_topic_with_its_position() {
    within(60, "file to topic", || {
        let (sim, address) = cluster();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.jsonl");
        let lines =
            |range: std::ops::Range<i32>| range.map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>();
        std::fs::write(&path, lines(0..500)).unwrap();
        let text = |to: &str| {
            format!(
                "CREATE STREAM a (n BIGINT) WITH (connector = 'file', path = '{}', format = 'json');\n",
                path.display()
            ) + &topic("b", "", &address, to, "")
                + "INSERT INTO b SELECT n FROM a"
        };
        let state = dir.path().join("state");
        // The third commit fails for good, so the job dies behind two of them.
        sim.fail(Op::Deliver, 0, KafkaErrorKind::Fatal, "");
        run(&engine("inline", &state), &text("out")).unwrap();
        assert_eq!(numbers(&sim, "out"), (0..500).collect::<Vec<_>>());
        let last = sim.messages("job.positions", 0).pop().unwrap();
        assert_eq!(last.key.as_deref(), Some(&b"job.0"[..]));
        let value: serde_json::Value = serde_json::from_slice(&last.value.unwrap()).unwrap();
        assert_eq!((value["job"].as_str(), value["sources"][0]["name"].as_str()), (Some("job"), Some("a")));
        assert!(value["epoch"].as_u64().unwrap() >= 5, "{value}");
        // It is finished: nothing is written any more.
        run(&engine("inline", &state), &text("out")).unwrap();
        assert_eq!(numbers(&sim, "out").len(), 500);
        // Its state is gone, its positions are not.
        std::fs::remove_dir_all(&state).unwrap();
        let e = run(&engine("inline", &state), &text("out")).unwrap_err().to_string();
        assert!(e.contains("bring back the state directory"), "{e}");
    });
}

/// An instance that dies in a transaction hides what others committed behind it, until the brokers abort it: what an instance finds of
/// its own then is old, and no reason to tell it that its state directory is not the right one.
#[test]
fn commits_that_a_dead_instance_hides_are_waited_for_and_not_taken_for_lost() {
    for mode in MODES {
        within(60, "hidden commits", move || {
            let (sim, address) = cluster();
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("in.jsonl");
            let put = |range: std::ops::Range<i64>| {
                let lines: String = (0..range.end).map(|n| format!("{{\"n\":{n}}}\n")).collect();
                std::fs::write(&path, lines).unwrap();
            };
            put(0..100);
            let text = format!(
                "CREATE STREAM a (n BIGINT) WITH (connector = 'file', path = '{}', format = 'json', follow = 'true');\n",
                path.display()
            ) + &topic(
                "b",
                "",
                &address,
                "out",
                ", timeout = '100ms', transaction_timeout = '100ms'",
            ) + "INSERT INTO b SELECT n FROM a";
            let start = || engine(mode, &dir.path().join("state")).sql(&text).unwrap().start();
            let job = start().unwrap();
            until("the first commit", || numbers(&sim, "out").len() == 100);
            let mut dead = producer(&sim, &address, "job.1");
            dead.txn().unwrap().begin().unwrap();
            let mut record = Outbox::default();
            record.push(0, Some(b"job.1"), Some(b"{}"), None, &[]);
            dead.send(&"job.positions".into(), &record, 0).unwrap();
            dead.flush(SECOND).unwrap();
            put(0..300);
            until("commits behind it", || numbers(&sim, "out").len() == 300);
            job.stop(Stop::Checkpoint);
            job.wait().unwrap();
            let e = start().map(drop).unwrap_err().to_string();
            assert!(e.contains("a transaction of another instance"), "{mode}: {e}");
            sim.expire_transaction_of("job.1");
            put(0..400);
            let job = start().unwrap();
            until("it goes on", || numbers(&sim, "out").len() == 400);
            job.stop(Stop::Checkpoint);
            job.wait().unwrap();
            assert_eq!(numbers(&sim, "out"), (0..400).collect::<Vec<_>>(), "{mode}");
        });
    }
}

#[test]
fn a_topic_and_files_have_the_same_rows() {
    for (op, kind) in
        [(Op::TxnCommit, KafkaErrorKind::AbortTxn), (Op::TxnStuckCommitted, KafkaErrorKind::Retriable)]
    {
        within(60, "topic and files", move || {
            let (sim, address) = cluster();
            let dir = tempfile::tempdir().unwrap();
            let engine = engine("threads", &dir.path().join("state"));
            engine.set("max_restarts", "3").unwrap();
            sim.fail(op, 1, kind, "scripted");
            let out = dir.path().join("out");
            let text = topic("a", "(n BIGINT)", &address, "in", ", stop = 'latest'")
                + &topic("b", "", &address, "out", ", timeout = '20ms'")
                + &format!(
                    "CREATE STREAM f WITH (connector = 'file', path = '{}', format = 'json');",
                    out.display()
                )
                + "INSERT INTO b SELECT n FROM a; INSERT INTO f SELECT n FROM a;";
            run(&engine, &text).unwrap();
            let mut lines = Vec::new();
            for part in std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()) {
                lines.extend(std::fs::read_to_string(part).unwrap().lines().map(str::to_owned));
            }
            lines.sort_by_key(|l| l.trim_matches(|c: char| !c.is_ascii_digit()).parse::<i64>().unwrap());
            assert_eq!(lines, (0..1000).map(|n| format!("{{\"n\":{n}}}")).collect::<Vec<_>>());
            assert_eq!(numbers(&sim, "out"), (0..1000).collect::<Vec<_>>());
            assert_eq!(std::fs::read_dir(out.join(".stage")).unwrap().count(), 0);
            // Without a name of its own the group is that of job and source.
            assert_eq!(sim.committed("job.a", "in", 0), Some(500));
        });
    }
}

#[test]
fn what_cannot_keep_the_promise_is_refused_before_the_start() {
    let (_, address) = cluster();
    let (_, elsewhere) = cluster();
    let dir = tempfile::tempdir().unwrap();
    let refused = |text: &str, set: &[(&str, &str)], why: &str| {
        let engine = engine("inline", dir.path());
        set.iter().for_each(|(n, v)| engine.set(n, v).unwrap());
        let e = run(&engine, text).unwrap_err();
        assert!(e.to_string().contains(why), "{e}");
    };
    let input = |more: &str| topic("a", "(n BIGINT)", &address, "in", &format!(", stop = 'latest'{more}"));
    let go = "INSERT INTO b SELECT n FROM a;";
    let away = topic("b", "", &elsewhere, "out", "");
    refused(&(input("") + &away + go), &[], "no transaction spans two clusters");
    let two = topic("c", "", &address, "out", "") + "INSERT INTO c SELECT n FROM a;";
    refused(&(input("") + &away + go + &two), &[], "no transaction spans two clusters");
    let read = ", isolation = 'read_uncommitted'";
    refused(
        &(input(read) + &topic("b", "", &address, "out", "") + go),
        &[],
        "isolation = 'read_uncommitted'",
    );
    refused(&(input("") + &topic("b", "", &address, "out", ", acks = '1'") + go), &[], "acks = '1'");
    let slow = [("commit_interval", "40s")];
    refused(
        &(input("") + &topic("b", "", &address, "out", "") + go),
        &slow,
        "make transaction_timeout at least twice",
    );
    let mixed = topic("c", "", &address, "out", ", linger_ms = '7'") + "INSERT INTO c SELECT n FROM a;";
    let both = input("") + &topic("b", "", &address, "out", "") + go + &mixed;
    refused(&both, &[], "share a producer");
    let twice = input("")
        + &topic("d", "(n BIGINT)", &address, "in", ", stop = 'latest', group_id = 'g'")
        + &topic("e", "(n BIGINT)", &address, "in", ", stop = 'latest', group_id = 'g'")
        + &topic("b", "", &address, "out", "")
        + "INSERT INTO b SELECT n FROM d UNION ALL SELECT n FROM e";
    refused(&twice, &[], "give one another group_id");
    let own = topic("b", "", &address, "out", ", transactional_id = 'x'");
    refused(&(input("") + &own + go), &[], "the id is <job_name>.0");
}
