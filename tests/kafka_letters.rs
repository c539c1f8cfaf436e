//! Kafka topics as dead letter queues, messages that a registry's serializer wrote, and partitions that come while a job runs; over the
//! simulated cluster.

mod support;

use std::collections::BTreeMap;

use millstream::connector::kafka::sim::{SPEC, SimKafka, SimMessage};
use millstream::{Engine, Stop};
use support::{MODES, until, within};

fn engine(mode: &str) -> Engine {
    let engine = Engine::new();
    engine.register_connector(SPEC);
    engine.set("execution", mode).unwrap();
    engine
}

fn stream(name: &str, columns: &str, address: &str, topic: &str, more: &str) -> String {
    format!(
        "CREATE STREAM {name} {columns} WITH (connector = 'kafka', bootstrap_servers = '{address}', topic = '{topic}', \
         format = 'json'{more});\n"
    )
}

fn headers(message: &SimMessage) -> BTreeMap<String, String> {
    let text = |v: &Option<Vec<u8>>| String::from_utf8(v.clone().unwrap()).unwrap();
    message.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

#[test]
fn dead_letters_in_a_topic_say_in_their_headers_where_and_why() {
    for (mode, server) in MODES.iter().zip(["sim:101", "sim:102", "sim:103"]) {
        within(60, "dead letters", move || {
            let sim = SimKafka::new();
            sim.serve(server);
            [("in", 2), ("out", 1), ("bad", 1)].iter().for_each(|(t, n)| sim.create(t, *n));
            for (partition, text) in [(0, "{\"n\":1}"), (1, "{\"n\":2}"), (1, "{\"n\":"), (0, "{\"n\":0}")] {
                sim.append("in", partition, SimMessage::of(text));
            }
            let mut framed = SimMessage::of("");
            framed.value = Some(b"\0\0\0\x01\x02{\"n\":3}".to_vec());
            sim.append("in", 0, framed);
            let engine = engine(mode);
            engine.set("on_error", "dlq").unwrap();
            engine.set("dlq", "bad").unwrap();
            engine.set("job_name", "letters").unwrap();
            let text = stream("a", "(n BIGINT)", server, "in", ", stop = 'latest'")
                + &stream("b", "", server, "out", "")
                + &stream("bad", "", server, "bad", "")
                + "INSERT INTO b SELECT 10 / n AS q FROM a";
            engine.sql(&text).unwrap().start().unwrap().wait().unwrap();
            assert_eq!(sim.messages("out", 0).len(), 2, "{mode}");
            let letters: Vec<_> = sim.messages("bad", 0).iter().map(headers).collect();
            assert_eq!(letters.len(), 3, "{mode}: {letters:?}");
            let of = |code: &str, offset: &str| {
                letters.iter().find(|h| h["code"] == code && h["offset"] == offset).unwrap()
            };
            let broken = of("malformed", "1");
            assert_eq!((broken["topic"].as_str(), broken["partition"].as_str()), ("in", "1"));
            assert_eq!((broken["job"].as_str(), broken["stage"].as_str()), ("letters", "source a"));
            // A schema in front: what it is, which, and what to do.
            let framed = of("malformed", "2");
            assert_eq!((framed["topic"].as_str(), framed["partition"].as_str()), ("in", "0"));
            for word in ["Confluent wire format", "the id 258 of a schema", "format = 'raw'"] {
                assert!(framed["error"].contains(word), "{framed:?}");
            }
            // It failed behind the source.
            let divided = of("division_by_zero", "1");
            assert_eq!(divided["partition"], "0");
            assert!(divided["error"].contains("division by zero"), "{divided:?}");
        });
    }
}

#[test]
fn a_client_without_headers_writes_letters_without_them() {
    within(60, "letters without headers", || {
        let sim = SimKafka::new().with_caps(|caps| caps.headers = false);
        sim.serve("sim:104");
        ["in", "out", "bad"].iter().for_each(|t| sim.create(t, 1));
        sim.append("in", 0, SimMessage::of("x"));
        let engine = engine("inline");
        engine.set("on_error", "dlq").unwrap();
        engine.set("dlq", "bad").unwrap();
        let text = stream("a", "(n BIGINT)", "sim:104", "in", ", stop = 'latest'")
            + &stream("b", "", "sim:104", "out", "")
            + &stream("bad", "", "sim:104", "bad", "")
            + "INSERT INTO b SELECT n FROM a";
        engine.sql(&text).unwrap().start().unwrap().wait().unwrap();
        let letters = sim.messages("bad", 0);
        assert_eq!((letters.len(), letters[0].headers.len()), (1, 0));
    });
}

#[test]
fn partitions_and_topics_that_come_while_a_job_runs_are_read_from_their_beginning() {
    for (mode, server) in MODES.iter().zip(["sim:111", "sim:112", "sim:113"]) {
        within(60, "new partitions", move || {
            let sim = SimKafka::new();
            sim.serve(server);
            [("in-a", 1), ("out", 1)].iter().for_each(|(t, n)| sim.create(t, *n));
            sim.append("in-a", 0, SimMessage::of("{\"n\":0}"));
            let dir = tempfile::tempdir().unwrap();
            let job = || {
                let engine = engine(mode);
                engine.set("state", dir.path().to_str().unwrap()).unwrap();
                engine.set("job_name", "growing").unwrap();
                engine.set("commit_interval", "1 rows").unwrap();
                let input = format!(
                    "CREATE STREAM a (n BIGINT) WITH (connector = 'kafka', bootstrap_servers = '{server}', topic_pattern = 'in-.*', \
                     format = 'json', discovery_interval = '5ms');"
                );
                let text = input + &stream("b", "", server, "out", "") + "INSERT INTO b SELECT n FROM a";
                engine.sql(&text).unwrap().start().unwrap()
            };
            let first = job();
            until("the first row", || sim.messages("out", 0).len() == 1);
            sim.grow("in-a", 3);
            sim.append("in-a", 2, SimMessage::of("{\"n\":1}"));
            until("the row of a new partition", || sim.messages("out", 0).len() == 2);
            sim.create("in-b", 1);
            sim.append("in-b", 0, SimMessage::of("{\"n\":2}"));
            until("the row of a new topic", || sim.messages("out", 0).len() == 3);
            first.stop(Stop::Checkpoint);
            first.wait().unwrap();
            // Their positions are in the state.
            let second = job();
            sim.append("in-b", 0, SimMessage::of("{\"n\":3}"));
            until("a row behind the restart", || sim.messages("out", 0).len() >= 4);
            second.stop(Stop::Checkpoint);
            second.wait().unwrap();
            let values: Vec<String> = sim
                .messages("out", 0)
                .into_iter()
                .map(|m| String::from_utf8(m.value.unwrap()).unwrap())
                .collect();
            assert_eq!(values, (0..4).map(|n| format!("{{\"n\":{n}}}")).collect::<Vec<_>>(), "{mode}");
        });
    }
}
