//! Topics of the benchmark: made, filled, read back, deleted.

use std::time::Duration;

use millstream::Engine;
use millstream::connector::kafka::client::{Connection, KafkaClient, SinkSettings};
use millstream::connector::kafka::native::Native;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfig};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::stages::{KEYS, Output, Query};
use crate::Failure;

pub const PARTITIONS: i32 = 2;
const TIMEOUT: Duration = Duration::from_secs(20);

/// Makes a topic that keeps everything, and whose files go soon after it is deleted.
pub fn create(servers: &str, topic: &str) -> Result<(), Failure> {
    let connection = Connection { servers: servers.into(), timeout: TIMEOUT, native: Vec::new() };
    let settings = SinkSettings {
        connection,
        compression: "none".into(),
        acks_all: true,
        linger: Duration::from_millis(5),
        delivery_timeout: Duration::from_secs(60),
        batch_bytes: None,
        transactional_id: None,
        transaction_timeout: Duration::from_secs(60),
    };
    let mut sink = Native.sink(&settings)?;
    sink.create_topic(topic, PARTITIONS, &[("retention.ms", "-1"), ("file.delete.delay.ms", "100")])?;
    // A topic is there a moment after it was made.
    while sink.partitions(topic)?.is_none_or(|n| n < PARTITIONS) {
        std::thread::yield_now();
    }
    Ok(())
}

pub fn delete(servers: &str, topics: &[&str]) -> Result<(), Failure> {
    let admin: AdminClient<DefaultClientContext> =
        FromClientConfig::from_config(ClientConfig::new().set("bootstrap.servers", servers))?;
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for done in runtime.block_on(admin.delete_topics(topics, &options))? {
        done.map_err(|(topic, code)| format!("topic {topic} can't be deleted: {code}"))?;
    }
    Ok(())
}

/// `CREATE STREAM` of a topic; `%` in `columns` stands for what all have in common.
pub fn stream(name: &str, columns: &str, servers: &str, topic: &str) -> String {
    let with = format!(
        "WITH (connector = 'kafka', client = 'rdkafka', bootstrap_servers = '{servers}', topic = '{topic}'"
    );
    format!("CREATE STREAM {name} {});\n", columns.replace('%', &with))
}

/// Ids from 0, one a millisecond, partitioned by `k`, each with a text of `pad` bytes.
pub fn fill(servers: &str, topic: &str, records: u64, pad: usize) -> Result<(), Failure> {
    let text = format!(
        "CREATE STREAM g (id BIGINT) WITH (connector = 'generator', rows = '{records}', \"fields.id.kind\" = 'sequence');\n{}
         INSERT INTO b SELECT id, id % {KEYS} AS k, TIMESTAMP '2026-01-01 00:00:00' + id * INTERVAL '1' MILLISECOND AS ts,
         repeat('x', {pad}) AS pad, CAST(id % {KEYS} AS VARCHAR) AS _key FROM g",
        stream("b", "%, format = 'json'", servers, topic)
    );
    Engine::new().sql(&text)?.start()?.wait()?;
    Ok(())
}

/// Everything that a topic holds, committed transactions only.
pub fn read_back(servers: &str, topic: &str, query: Query) -> Result<Output, Failure> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        .set("group.id", "bench-read-back")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true");
    let consumer = BaseConsumer::from_config(&config)?;
    let mut parts = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        parts.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&parts)?;
    let (mut output, mut ends) = (Output::default(), 0);
    while ends < PARTITIONS {
        match consumer.poll(TIMEOUT) {
            Some(Ok(message)) => output.add(query, message.payload().unwrap_or_default())?,
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => ends += 1,
            Some(Err(e)) => return Err(e.into()),
            None => return Err(format!("topic {topic} can't be read back").into()),
        }
    }
    Ok(output)
}
