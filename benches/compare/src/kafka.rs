//! `kafka`: jobs between two topics of a broker beside a bare loop of the same client library: poll, send, wait for the
//! acknowledgements. Needs a broker (`tests/kafka/broker.sh start 4.1.0 DIR`) and the feature `rdkafka`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use millstream::Engine;
use millstream::connector::kafka::client::{Connection, KafkaClient, SinkSettings};
use millstream::connector::kafka::native::Native;
use rdkafka::config::{ClientConfig, FromClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use serde_json::json;

use crate::machine::{cores, machine, print_machine};
use crate::measure::median;
use crate::report::{Report, rate};
use crate::{Common, Failure};

const PARTITIONS: i32 = 2;

/// What is measured: name, columns of the source, its format, query, settings.
struct Stage {
    name: &'static str,
    source: &'static str,
    query: &'static str,
    transactional: bool,
}

const RAW: &str = "(value BYTES) %, format = 'raw'";
const JSON: &str =
    "(id BIGINT, k BIGINT, ts TIMESTAMP, pad VARCHAR, WATERMARK FOR ts AS ts) %, format = 'json'";

const STAGES: [Stage; 5] = [
    Stage { name: "raw", source: RAW, query: "SELECT value FROM a", transactional: false },
    Stage { name: "raw, transactional", source: RAW, query: "SELECT value FROM a", transactional: true },
    Stage {
        name: "filter",
        source: JSON,
        query: "SELECT id, k, ts FROM a WHERE k < 10",
        transactional: false,
    },
    Stage {
        name: "filter, transactional",
        source: JSON,
        query: "SELECT id, k, ts FROM a WHERE k < 10",
        transactional: true,
    },
    Stage {
        name: "windows",
        source: JSON,
        query: "SELECT k, window_end, count(*) AS n, max(id) AS last FROM TUMBLE(a, ts, INTERVAL '10' SECOND) GROUP BY k, window_end",
        transactional: false,
    },
];

pub fn run(common: &Common, servers: &str) -> Result<(), Failure> {
    let records = common.records.unwrap_or(if common.quick { 20_000 } else { 2_000_000 });
    let repeat = common.repeat.unwrap_or(if common.quick { 1 } else { 5 });
    let threads = common.threads.unwrap_or_else(cores);
    let mut report = Report::new(common)?;
    let m = machine(threads, common.quick);
    print_machine(&m);
    report.line(&m)?;
    println!(
        "kafka: {records} messages of about 256 bytes in {PARTITIONS} partitions of {servers}, {repeat} runs each, in turn\n"
    );
    let run = format!("{}-{}", std::process::id(), Instant::now().elapsed().as_nanos());
    let input = format!("bench-in-{run}");
    create(servers, &input)?;
    fill(servers, &input, records)?;
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); STAGES.len() + 1];
    for n in 0..repeat {
        for (i, times) in times.iter_mut().enumerate() {
            let output = format!("bench-out-{run}-{n}-{i}");
            create(servers, &output)?;
            times.push(match i.checked_sub(1).and_then(|i| STAGES.get(i)) {
                None => bare(servers, &input, &output, records)?,
                Some(stage) => job(stage, servers, threads, &input, &output)?,
            });
        }
    }
    let bare = times.first().map_or(f64::NAN, |t| median(t));
    println!("{:<24} {:>12} {:>20}", "stage", "median", "of the bare loop");
    let names = std::iter::once("bare loop").chain(STAGES.iter().map(|s| s.name));
    for (name, times) in names.zip(&times) {
        let seconds = median(times);
        println!("{name:<24} {:>12} {:>19.2}", rate(records as f64 / seconds), bare / seconds);
        report.line(&json!({
            "name": "kafka", "stage": name, "records": records, "seconds": seconds,
            "records_per_second": records as f64 / seconds, "of_bare_loop": bare / seconds, "samples": times,
        }))?;
    }
    Ok(())
}

fn create(servers: &str, topic: &str) -> Result<(), Failure> {
    let connection =
        Connection { servers: servers.into(), timeout: Duration::from_secs(20), native: Vec::new() };
    let settings = SinkSettings {
        connection,
        compression: "none".into(),
        acks_all: true,
        linger: Duration::from_millis(5),
        delivery_timeout: Duration::from_secs(60),
        transactional_id: None,
        transaction_timeout: Duration::from_secs(60),
    };
    let mut sink = Native.sink(&settings)?;
    sink.create_topic(topic, PARTITIONS, &[])?;
    // A topic is there a moment after it was made.
    while sink.partitions(topic)?.is_none_or(|n| n < PARTITIONS) {
        std::thread::yield_now();
    }
    Ok(())
}

fn stream(name: &str, columns: &str, servers: &str, topic: &str) -> String {
    let with = format!(
        "WITH (connector = 'kafka', client = 'rdkafka', bootstrap_servers = '{servers}', topic = '{topic}'"
    );
    format!("CREATE STREAM {name} {});\n", columns.replace('%', &with))
}

fn fill(servers: &str, topic: &str, records: u64) -> Result<(), Failure> {
    let text = format!(
        "CREATE STREAM g (id BIGINT) WITH (connector = 'generator', rows = '{records}', \"fields.id.kind\" = 'sequence');\n{}
         INSERT INTO b SELECT id, id % 100 AS k, TIMESTAMP '2026-01-01 00:00:00' + id * INTERVAL '1' MILLISECOND AS ts,
         repeat('x', 180) AS pad FROM g",
        stream("b", "%, format = 'json'", servers, topic)
    );
    Engine::new().sql(&text)?.start()?.wait()?;
    Ok(())
}

fn job(stage: &Stage, servers: &str, threads: usize, input: &str, output: &str) -> Result<f64, Failure> {
    let dir = tempfile::tempdir()?;
    let engine = Engine::new();
    engine.set("threads", &threads.to_string())?;
    engine.set("state", &dir.path().display().to_string())?;
    engine.set("job_name", output)?;
    engine.set("commit_interval", "1s")?;
    engine.set("mode", if stage.transactional { "transactional" } else { "simple" })?;
    let format = if stage.source == RAW { "%, format = 'raw'" } else { "%, format = 'json'" };
    let text = stream("a", &format!("{}, stop = 'latest'", stage.source), servers, input)
        + &stream("b", format, servers, output)
        + &format!("INSERT INTO b {}", stage.query);
    let from = Instant::now();
    engine.sql(&text)?.start()?.wait()?;
    Ok(from.elapsed().as_secs_f64())
}

struct Acks(Arc<AtomicU64>);

impl ClientContext for Acks {}

impl ProducerContext<NoCustomPartitioner> for Acks {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Poll, send, until everything is acknowledged: with the settings of the engine's client.
fn bare(servers: &str, input: &str, output: &str, records: u64) -> Result<f64, Failure> {
    let from = Instant::now();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "100")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.max.bytes", "8388608");
    let consumer = BaseConsumer::from_config(&config)?;
    let mut parts = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        parts.add_partition_offset(input, partition, Offset::Beginning)?;
    }
    consumer.assign(&parts)?;
    let acked = Arc::new(AtomicU64::new(0));
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("queue.buffering.max.kbytes", "65536");
    let producer = BaseProducer::from_config_and_context(&config, Acks(acked.clone()))?;
    let mut sent = 0;
    while sent < records {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        let mut record = BaseRecord::<(), [u8]>::to(output).partition((sent % PARTITIONS as u64) as i32);
        if let Some(payload) = message.payload() {
            record = record.payload(payload);
        }
        while let Err((error, back)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            record = back;
            producer.poll(Duration::from_millis(1));
        }
        sent += 1;
        if sent % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    while acked.load(Ordering::Relaxed) < records {
        if producer.in_flight_count() == 0 {
            return Err("messages of the bare loop were not delivered".into());
        }
        producer.poll(Duration::from_millis(1));
    }
    Ok(from.elapsed().as_secs_f64())
}
