//! Jobs that several instances run together through a Kafka group, over the simulated cluster: what moves when instances come and
//! go, what a row is there for, and what is refused.

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use millstream::connector::kafka::client::KafkaErrorKind;
use millstream::connector::kafka::sim::{Op, SPEC, SimKafka, SimMessage};
use millstream::{Engine, Job, Stop};
use support::{MODES, until, within};

const PARTITIONS: i32 = 6;

/// A cluster of its own for a test, with topics `in` and `out`.
fn cluster() -> (SimKafka, String) {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let address = format!("groups:{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let sim = SimKafka::new();
    sim.serve(&address);
    ["in", "out"].iter().for_each(|topic| sim.create(topic, PARTITIONS as usize));
    (sim, address)
}

fn fill(sim: &SimKafka, range: std::ops::Range<i32>) {
    range.for_each(|n| sim.append("in", n % PARTITIONS, SimMessage::of(&format!("{{\"n\":{n}}}"))));
}

fn engine(execution: &str, state: &Path, instance: &str, mode: &str) -> Engine {
    let engine = Engine::new();
    engine.register_connector(SPEC);
    let state = state.display().to_string();
    for (name, value) in [
        ("execution", execution),
        ("state", &state),
        ("mode", mode),
        ("instance", instance),
        ("job_name", "job"),
        ("commit_interval", "5ms"),
        ("batch_rows", "10"),
    ] {
        engine.set(name, value).unwrap();
    }
    engine
}

fn text(address: &str, more: &str, query: &str) -> String {
    let topic = |name: &str, columns: &str, topic: &str, more: &str| {
        format!(
            "CREATE STREAM {name} {columns} WITH (connector = 'kafka', bootstrap_servers = '{address}', topic = '{topic}', \
             format = 'json'{more});\n"
        )
    };
    topic("a", "(n BIGINT)", "in", more) + &topic("b", "", "out", "") + query
}

fn start(execution: &str, state: &Path, instance: &str, mode: &str, address: &str, more: &str) -> Job {
    let more = format!(", group_id = 'g'{more}");
    let text = text(address, &more, "INSERT INTO b SELECT n FROM a");
    engine(execution, state, instance, mode).sql(&text).unwrap().start().unwrap()
}

/// The numbers that readers of committed transactions see, sorted.
fn numbers(sim: &SimKafka) -> Vec<i64> {
    let number = |m: SimMessage| {
        let value: serde_json::Value = serde_json::from_slice(&m.value.unwrap()).unwrap();
        value["n"].as_i64().unwrap()
    };
    let mut all: Vec<i64> = (0..PARTITIONS).flat_map(|p| sim.messages("out", p)).map(number).collect();
    all.sort_unstable();
    all
}

/// Waits until the group has so many members and each has what it is to have.
fn settled(sim: &SimKafka, members: usize) {
    until(&format!("{members} members"), || sim.members("g") == (members, true));
}

/// Waits until the group has committed so many rows.
fn all_committed(sim: &SimKafka, rows: i64) {
    let committed = || (0..PARTITIONS).filter_map(|p| sim.committed("g", "in", p)).sum::<i64>();
    until(&format!("{rows} rows are committed"), || committed() == rows);
}

#[test]
fn instances_that_come_and_go_lose_nothing_and_repeat_nothing() {
    for execution in MODES {
        for assignor in ["cooperative-sticky", "range"] {
            within(120, "a group", move || {
                let (sim, address) = cluster();
                let dir = tempfile::tempdir().unwrap();
                let more = format!(", assignor = '{assignor}'");
                let begin = |name: &str| start(execution, dir.path(), name, "transactional", &address, &more);
                fill(&sim, 0..1200);
                let one = begin("one");
                until("the first rows", || sim.committed("g", "in", 0).is_some());
                // With a full pipeline.
                let two = begin("two");
                fill(&sim, 1200..2400);
                let three = begin("three");
                settled(&sim, 3);
                fill(&sim, 2400..3600);
                one.stop(Stop::Checkpoint);
                one.wait().unwrap();
                settled(&sim, 2);
                fill(&sim, 3600..4000);
                let one = begin("one");
                two.stop(Stop::Checkpoint);
                two.wait().unwrap();
                settled(&sim, 2);
                fill(&sim, 4000..4400);
                all_committed(&sim, 4400);
                for job in [one, three] {
                    job.stop(Stop::Checkpoint);
                    job.wait().unwrap();
                }
                assert_eq!(numbers(&sim), (0..4400).collect::<Vec<_>>(), "{execution} {assignor}");
            });
        }
    }
}

#[test]
fn a_member_that_was_taken_for_dead_does_not_commit_what_others_read() {
    for execution in MODES {
        within(120, "a group", move || {
            let (sim, address) = cluster();
            let dir = tempfile::tempdir().unwrap();
            let begin = |name: &str| start(execution, dir.path(), name, "transactional", &address, "");
            fill(&sim, 0..2000);
            let (one, two) = (begin("one"), begin("two"));
            for round in 0..5 {
                settled(&sim, 2);
                sim.expire_member("g");
                fill(&sim, 2000 + round * 500..2500 + round * 500);
            }
            all_committed(&sim, 4500);
            for job in [one, two] {
                job.stop(Stop::Checkpoint);
                job.wait().unwrap();
            }
            assert_eq!(numbers(&sim), (0..4500).collect::<Vec<_>>(), "{execution}");
        });
    }
}

#[test]
fn simple_jobs_share_a_group_at_least_once() {
    for execution in MODES {
        within(120, "a group", move || {
            let (sim, address) = cluster();
            let dir = tempfile::tempdir().unwrap();
            let begin = |name: &str| start(execution, dir.path(), name, "simple", &address, "");
            fill(&sim, 0..2000);
            let (one, two) = (begin("one"), begin("two"));
            settled(&sim, 2);
            sim.fail(Op::Commit, 3, KafkaErrorKind::Retriable, "scripted");
            fill(&sim, 2000..4000);
            sim.expire_member("g");
            settled(&sim, 2);
            one.stop(Stop::Checkpoint);
            one.wait().unwrap();
            settled(&sim, 1);
            fill(&sim, 4000..5000);
            all_committed(&sim, 5000);
            two.stop(Stop::Checkpoint);
            two.wait().unwrap();
            let mut all = numbers(&sim);
            all.dedup();
            assert_eq!(all, (0..5000).collect::<Vec<_>>(), "{execution}");
        });
    }
}

/// Counts of `in` by key, as three instances with partitions of their own see it.
fn counting(
    address: &str,
    state: &Path,
    number: usize,
    of: &str,
    mode: &str,
    more: &str,
) -> Result<Job, String> {
    let engine = engine("inline", state, &number.to_string(), mode);
    engine.set("instances", of).unwrap();
    let text = format!(
        "CREATE STREAM a (k VARCHAR, n BIGINT) WITH (connector = 'kafka', bootstrap_servers = '{address}', topic = 'in', \
         format = 'json', group_id = 'g', stop = 'latest'{more});
         CREATE STREAM b WITH (connector = 'kafka', bootstrap_servers = '{address}', topic = 'out', format = 'json', \
         changelog = 'upsert', key_columns = 'k');
         INSERT INTO b SELECT k, count(*) AS n FROM (SELECT n + 1 AS m, k FROM a WHERE n >= 0) GROUP BY k"
    );
    engine.sql(&text).and_then(|q| q.start()).map_err(|e| e.to_string())
}

#[test]
fn a_job_with_state_runs_as_a_fixed_number_of_instances() {
    for mode in ["simple", "transactional"] {
        within(60, "counts", move || {
            let (sim, address) = cluster();
            let dir = tempfile::tempdir().unwrap();
            let by = ", partition_by = 'k'";
            let keyed = |range: std::ops::Range<i32>| {
                for n in range {
                    let k = n % 50;
                    let value = format!("{{\"k\":\"k{k}\",\"n\":{n}}}");
                    sim.append("in", k % PARTITIONS, SimMessage::of(&value));
                }
            };
            // Each goes on from its own state, whenever it runs.
            for (range, order) in [(0..1000, [0, 1, 2]), (1000..3000, [2, 0, 1])] {
                keyed(range);
                for number in order {
                    counting(&address, dir.path(), number, "3", mode, by).unwrap().wait().unwrap();
                }
            }
            let mut last = std::collections::BTreeMap::new();
            for m in (0..PARTITIONS).flat_map(|p| sim.messages("out", p)) {
                let value: serde_json::Value = serde_json::from_slice(&m.value.unwrap()).unwrap();
                last.insert(value["k"].as_str().unwrap().to_owned(), value["n"].as_i64().unwrap());
            }
            let wanted: std::collections::BTreeMap<_, _> = (0..50).map(|k| (format!("k{k}"), 60)).collect();
            assert_eq!(last, wanted, "{mode}");
            let refused = |number, of, more: &str, why: &str| {
                let e = counting(&address, dir.path(), number, of, mode, more).err();
                let e = e.unwrap_or_else(|| panic!("{why}: it runs"));
                assert!(e.contains(why), "{e}");
            };
            refused(0, "2", by, "'job.0_of_3' is the state of another number of instances");
            refused(3, "3", by, "--instance is a number from 0 to 2");
            refused(0, "3", "", "nothing says by which columns the topic of 'a' is partitioned");
            refused(0, "3", ", partition_by = 'k, n'", "'n' is not among the columns that it groups by");
            refused(0, "7", by, "is the state of another number");
            refused(6, "7", by, "so 1 of its 7 instances would have none");
            sim.grow("in", PARTITIONS as usize + 3);
            refused(0, "3", by, "equal keys are in other partitions than before");
        });
    }
}

#[test]
fn what_can_not_be_divided_is_refused() {
    let (_, address) = cluster();
    let dir = tempfile::tempdir().unwrap();
    let refused = |engine: &Engine, more: &str, query: &str| match engine.sql(&text(&address, more, query)) {
        Err(e) => e.to_string(),
        Ok(query) => query.start().map(drop).unwrap_err().to_string(),
    };
    let query = "INSERT INTO b SELECT n FROM a";
    for (more, query, why) in [
        ("", query, "the group_id is missing"),
        (", group_id = 'g', stop = 'latest'", query, "stop = 'latest' and --instance exclude each other"),
        (
            ", group_id = 'g'",
            "INSERT INTO b SELECT n, count(*) AS c FROM (SELECT n FROM a LIMIT 10) GROUP BY n",
            "keeps state, which moves with the partitions of the group: that needs its transactions",
        ),
        (", group_id = 'g'", "INSERT INTO b SELECT n FROM a LIMIT 3", "keeps state"),
        (
            ", group_id = 'g'",
            "INSERT INTO b SELECT * FROM (VALUES (1)) AS v(n)",
            "can't be divided among instances",
        ),
    ] {
        let e = refused(&engine("inline", dir.path(), "one", "simple"), more, query);
        assert!(e.contains(why), "{more} {query}: {e}");
    }
    let nameless = engine("inline", dir.path(), "a b", "simple");
    let e = refused(&nameless, ", group_id = 'g'", query);
    assert!(e.contains("its name may have letters"), "{e}");
    let stateless = engine("inline", Path::new(""), "one", "simple");
    let e = refused(&stateless, ", group_id = 'g'", query);
    assert!(e.contains("needs a state directory"), "{e}");
}
