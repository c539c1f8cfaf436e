//! Kafka clients against real brokers: `tests/kafka/run.sh` starts them and sets the variables that this suite reads.
//!
//! `MILLSTREAM_KAFKA_3`, `MILLSTREAM_KAFKA_4`: addresses; `MILLSTREAM_KAFKA_LIBS`: a folder with Apache's client;
//! `MILLSTREAM_KAFKA_CASES`: only cases with that in their name. Without an address a test prints SKIP.
#![cfg(any(feature = "kafka", feature = "rdkafka"))]

#[path = "kafka/wire.rs"]
mod wire;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millstream::Engine;
use millstream::connector::kafka::client::KafkaClient;
use millstream::connector::kafka::conformance::{self, Cluster, Verdict};

/// A broker and a client under test.
struct Brokers {
    address: String,
    client: Arc<dyn KafkaClient>,
}

impl Cluster for Brokers {
    fn client(&self) -> Arc<dyn KafkaClient> {
        self.client.clone()
    }
    fn servers(&self) -> String {
        self.address.clone()
    }
    fn topic(&self, partitions: usize, settings: &[(&str, &str)]) -> Result<String, String> {
        let name = fresh("t");
        wire::create_topic(&self.address, &name, partitions, settings).map(|()| name)
    }
    fn delete_before(&self, topic: &str, partition: i32, offset: i64) -> Verdict {
        wire::delete_records(&self.address, topic, partition, offset)
    }
    fn expel(&self, group: &str, static_id: &str) -> Verdict {
        wire::expel(&self.address, group, static_id)
    }
}

/// A name that no other test, process or run uses.
fn fresh(prefix: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{}-{n}", std::process::id(), since.as_millis())
}

/// Past the capture of the test harness.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The address in a variable; without one the test is skipped, aloud.
fn address(variable: &str, test: &str) -> Option<String> {
    let found = std::env::var(variable).ok().filter(|a| !a.is_empty());
    if found.is_none() {
        say(&format!("SKIP {test}: no broker ({variable} is not set; tests/kafka/run.sh starts some)"));
    }
    found
}

fn conforms(test: &str, variable: &str, client: Arc<dyn KafkaClient>) {
    hold(test, variable, client, conformance::cases());
}

fn hold(
    test: &str,
    variable: &str,
    client: Arc<dyn KafkaClient>,
    cases: impl Iterator<Item = &'static conformance::Case>,
) {
    let Some(address) = address(variable, test) else { return };
    let filter = std::env::var("MILLSTREAM_KAFKA_CASES").unwrap_or_default();
    let cluster = Brokers { address, client };
    let mut last = std::time::Instant::now();
    let cases = cases.filter(|c| c.name.contains(&filter));
    let outcome = conformance::run_all(&cluster, cases, &mut |case, verdict| {
        say(&format!("{test}: {case}: {verdict} ({} ms)", last.elapsed().as_millis()));
        last = std::time::Instant::now();
    });
    say(&format!(
        "{test}: {} passed, {} failed, {} not asked",
        outcome.passed,
        outcome.failed.len(),
        outcome.not_asked
    ));
    assert!(outcome.failed.is_empty(), "{:#?}", outcome.failed);
    // A filter may be for cases of another list.
    let elsewhere = || {
        let mut all = conformance::cases().chain(conformance::member_cases());
        !filter.is_empty() && all.any(|c| c.name.contains(&filter))
    };
    assert!(outcome.passed > 0 || elsewhere(), "no case has run");
}

#[cfg(feature = "rdkafka")]
mod rdkafka {
    use super::*;
    use millstream::connector::kafka::client::{
        Caps, Connection, Fetch, KafkaError, KafkaSink, KafkaSource, SinkSettings, SourceSettings,
    };
    use millstream::connector::kafka::native::Native;

    use millstream::connector::kafka::member::{KafkaMember, MemberSettings};

    /// The same, but it is settled who fetches.
    struct By(Fetch);

    impl KafkaClient for By {
        fn caps(&self) -> Caps {
            Native.caps()
        }
        fn source(&self, settings: &SourceSettings) -> Result<Box<dyn KafkaSource>, KafkaError> {
            Native.source(&SourceSettings { fetch: self.0, ..settings.clone() })
        }
        fn sink(&self, settings: &SinkSettings) -> Result<Box<dyn KafkaSink>, KafkaError> {
            Native.sink(settings)
        }
        fn largest(&self, connection: &Connection, topic: &str) -> Result<Option<usize>, KafkaError> {
            Native.largest(connection, topic)
        }
        fn member(&self, settings: &MemberSettings) -> Result<Box<dyn KafkaMember>, KafkaError> {
            Native.member(&MemberSettings { fetch: self.0, ..settings.clone() })
        }
    }

    #[test]
    fn fetching_by_librdkafka_conforms_on_4() {
        conforms("fetching_by_librdkafka_conforms_on_4", "MILLSTREAM_KAFKA_4", Arc::new(By(Fetch::Library)));
    }

    #[test]
    fn rdkafka_conforms_on_3() {
        conforms("rdkafka_conforms_on_3", "MILLSTREAM_KAFKA_3", Arc::new(Native));
    }

    #[test]
    fn rdkafka_conforms_on_4() {
        conforms("rdkafka_conforms_on_4", "MILLSTREAM_KAFKA_4", Arc::new(Native));
    }

    #[test]
    fn members_we_fetch_for_conform_on_3() {
        let (client, members) = (Arc::new(By(Fetch::Direct)), conformance::member_cases());
        hold("members_we_fetch_for_conform_on_3", "MILLSTREAM_KAFKA_3", client, members);
    }

    #[test]
    fn members_librdkafka_fetches_for_conform_on_3() {
        let (client, members) = (Arc::new(By(Fetch::Library)), conformance::member_cases());
        hold("members_librdkafka_fetches_for_conform_on_3", "MILLSTREAM_KAFKA_3", client, members);
    }

    #[test]
    fn members_we_fetch_for_conform_on_4() {
        let (client, members) = (Arc::new(By(Fetch::Direct)), conformance::member_cases());
        hold("members_we_fetch_for_conform_on_4", "MILLSTREAM_KAFKA_4", client, members);
    }

    #[test]
    fn members_librdkafka_fetches_for_conform_on_4() {
        let (client, members) = (Arc::new(By(Fetch::Library)), conformance::member_cases());
        hold("members_librdkafka_fetches_for_conform_on_4", "MILLSTREAM_KAFKA_4", client, members);
    }

    #[test]
    fn java_reads_what_a_job_wrote_on_4() {
        java_reads("java_reads_what_a_job_wrote_on_4", "MILLSTREAM_KAFKA_4", "rdkafka", true);
    }

    #[test]
    fn a_file_and_a_topic_keep_pace_on_3() {
        file_to_topic("a_file_and_a_topic_keep_pace_on_3", "MILLSTREAM_KAFKA_3");
    }

    #[test]
    fn a_file_and_a_topic_keep_pace_on_4() {
        file_to_topic("a_file_and_a_topic_keep_pace_on_4", "MILLSTREAM_KAFKA_4");
    }

    #[test]
    fn no_broker_is_an_error_in_time() {
        unreachable("rdkafka");
    }
}

#[cfg(feature = "kafka")]
mod kafka {
    use super::*;
    use millstream::connector::kafka::pure::Pure;

    #[test]
    fn kafka_conforms_on_3() {
        conforms("kafka_conforms_on_3", "MILLSTREAM_KAFKA_3", Arc::new(Pure));
    }

    #[test]
    fn java_reads_what_a_job_wrote_on_3() {
        java_reads("java_reads_what_a_job_wrote_on_3", "MILLSTREAM_KAFKA_3", "kafka", false);
    }

    #[test]
    fn kafka_refuses_4_with_the_way_out() {
        let Some(address) = address("MILLSTREAM_KAFKA_4", "kafka_refuses_4_with_the_way_out") else { return };
        let topic = fresh("t");
        wire::create_topic(&address, &topic, 1, &[]).unwrap();
        let text = format!(
            "CREATE STREAM a WITH (connector = 'kafka', client = 'kafka', bootstrap_servers = '{address}', topic = '{topic}',
             format = 'text', stop = 'latest'); SELECT value FROM a"
        );
        let e = Engine::new().sql(&text).unwrap().start().map(drop).unwrap_err().to_string();
        assert!(e.contains("build with --features rdkafka") && e.contains("Fetch"), "{e}");
    }

    #[test]
    fn no_broker_is_an_error_in_time() {
        unreachable("kafka");
    }
}

/// A port where nobody listens.
fn unreachable(client: &str) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = format!(
        "CREATE STREAM a WITH (connector = 'kafka', client = '{client}', bootstrap_servers = '127.0.0.1:{port}', topic = 't',
         format = 'text', timeout = '2s'); SELECT value FROM a"
    );
    let from = std::time::Instant::now();
    let e = Engine::new().sql(&text).unwrap().start().map(drop).unwrap_err().to_string();
    assert!(from.elapsed() < Duration::from_secs(10), "{:?}", from.elapsed());
    assert!(e.contains(&format!("127.0.0.1:{port}")), "{e}");
}

/// A transactional job from a file that grows into a topic, stopped and started again: its positions are in a topic that it makes.
#[cfg(feature = "rdkafka")]
fn file_to_topic(test: &str, variable: &str) {
    let Some(address) = address(variable, test) else { return };
    let (job, output) = (fresh("job"), fresh("out"));
    wire::create_topic(&address, &output, 2, &[]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in.jsonl");
    let topic = |name: &str, columns: &str, topic: &str, more: &str| {
        format!(
            "CREATE STREAM {name} {columns} WITH (connector = 'kafka', client = 'rdkafka', bootstrap_servers = '{address}', \
             topic = '{topic}', format = 'json'{more});"
        )
    };
    let count = |name: &str, columns: &str, of: &str| -> Vec<i64> {
        let text = topic("t", columns, of, ", stop = 'latest'") + &format!("SELECT {name} FROM t");
        let mut rows = Engine::new().sql(&text).unwrap().start().unwrap();
        let mut all: Vec<i64> = rows.rows().filter_map(|r| r.values()[0].as_i64()).collect();
        rows.wait().unwrap();
        all.sort_unstable();
        all
    };
    for (round, range) in [(1, 0..500), (2, 500..800), (3, 800..1000)] {
        let lines: String = range.clone().map(|n| format!("{{\"id\":{n}}}\n")).collect();
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&input).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
        let engine = Engine::new();
        let state = dir.path().join("state").display().to_string();
        for (name, value) in [
            ("state", state.as_str()),
            ("mode", "transactional"),
            ("job_name", &job),
            ("commit_interval", "100 rows"),
            ("batch_rows", "50"),
        ] {
            engine.set(name, value).unwrap();
        }
        let text = format!(
            "CREATE STREAM a (id BIGINT) WITH (connector = 'file', path = '{}', format = 'json', follow = 'true');",
            input.display()
        ) + &topic("b", "", &output, "")
            + "INSERT INTO b SELECT id FROM a";
        let running = engine.sql(&text).unwrap().start().unwrap();
        let from = std::time::Instant::now();
        while running.stats().sinks.iter().map(|s| s.records).sum::<u64>() < range.clone().count() as u64 {
            assert!(from.elapsed() < Duration::from_secs(60), "round {round}: nothing is written");
            std::thread::yield_now();
        }
        running.stop(millstream::Stop::Checkpoint);
        running.wait().unwrap();
        assert_eq!(
            count("id", "(id BIGINT)", &output),
            (0..range.end).collect::<Vec<i64>>(),
            "round {round}"
        );
    }
    let epochs = count("epoch", "(epoch BIGINT)", &format!("{job}.positions"));
    assert!(epochs.len() >= 3 && epochs.windows(2).all(|w| w[0] < w[1]), "{epochs:?}");
    // The state is what belongs to them.
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    let engine = Engine::new();
    let state = dir.path().join("other").display().to_string();
    [("state", state.as_str()), ("mode", "transactional"), ("job_name", &job)]
        .iter()
        .for_each(|(n, v)| engine.set(n, v).unwrap());
    let text = format!(
        "CREATE STREAM a (id BIGINT) WITH (connector = 'file', path = '{}', format = 'json');",
        input.display()
    ) + &topic("b", "", &output, "")
        + "INSERT INTO b SELECT id FROM a";
    let e = engine.sql(&text).unwrap().start().map(drop).unwrap_err().to_string();
    assert!(e.contains("bring back the state directory"), "{e}");
}

/// A job from topic to topic; Apache's own client reads the result.
fn java_reads(test: &str, variable: &str, client: &str, metadata: bool) {
    let Some(address) = address(variable, test) else { return };
    let Ok(libs) = std::env::var("MILLSTREAM_KAFKA_LIBS") else {
        return say(&format!("SKIP {test}: MILLSTREAM_KAFKA_LIBS is not set"));
    };
    let (input, output) = (fresh("in"), fresh("out"));
    wire::create_topic(&address, &input, 3, &[]).unwrap();
    wire::create_topic(&address, &output, 2, &[]).unwrap();
    let with = |topic: &str, more: &str| {
        format!(
            "WITH (connector = 'kafka', client = '{client}', bootstrap_servers = '{address}', topic = '{topic}', \
             format = 'json'{more})"
        )
    };
    let run = |text: &str| {
        let engine = Engine::new();
        engine.sql(text).unwrap().start().unwrap().wait().unwrap();
    };
    let n = 5000;
    run(&format!(
        "CREATE STREAM g (id BIGINT) WITH (connector = 'generator', rows = '{n}', \"fields.id.kind\" = 'sequence');
         CREATE STREAM a {};
         INSERT INTO a SELECT id, 'name ' || CAST(id % 10 AS VARCHAR) AS name FROM g;",
        with(&input, ", key_columns = 'name'")
    ));
    let set = if metadata { ", map(['id'], [CAST(id AS VARCHAR)]) AS _headers" } else { "" };
    run(&format!(
        "CREATE STREAM a (id BIGINT, name VARCHAR) {};
         CREATE STREAM b {};
         INSERT INTO b SELECT id, name{set} FROM a WHERE id % 2 = 0;",
        with(&input, ", stop = 'latest'"),
        with(&output, ", key_columns = 'name'")
    ));
    let read = std::process::Command::new("java")
        .args(["-cp", &format!("{libs}/*")])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/ReadBack.java"))
        .args([&address, &output])
        .output()
        .unwrap();
    let text = String::from_utf8(read.stdout).unwrap();
    assert!(read.status.success(), "{text}\n{}", String::from_utf8_lossy(&read.stderr));
    let mut ids = Vec::new();
    let mut partition_of = std::collections::BTreeMap::new();
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let value: serde_json::Value = serde_json::from_str(row["value"].as_str().unwrap()).unwrap();
        let key = row["key"].as_str().unwrap().to_owned();
        assert_eq!(value["name"].as_str(), Some(key.as_str()));
        // Java has said itself where it would have put the key.
        assert_eq!(row["partition"], row["partition_of_key"], "{line}");
        let first = partition_of.entry(key).or_insert_with(|| row["partition"].clone());
        assert_eq!(*first, row["partition"]);
        let id = value["id"].as_i64().unwrap();
        if metadata {
            assert_eq!(row["headers"]["id"].as_str(), Some(id.to_string().as_str()));
        }
        ids.push(id);
    }
    ids.sort_unstable();
    assert_eq!(
        ids.len(),
        ids.iter().collect::<std::collections::BTreeSet<_>>().len(),
        "twice in an undisturbed run"
    );
    let first = ids.first().copied().unwrap_or_default();
    assert_eq!(ids, (first..).step_by(2).take(n / 2).collect::<Vec<_>>());
}
