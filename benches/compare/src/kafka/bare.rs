//! The bare loop: poll, send, until everything is acknowledged, with the settings of the engine's client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::config::{ClientConfig, FromClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::Began;
use super::topics::PARTITIONS;
use crate::Failure;

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

/// Gives the moment of its first message.
pub fn run(
    servers: &str,
    input: &str,
    output: &str,
    records: u64,
    broker: Option<u32>,
) -> Result<Began, Failure> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "100")
        .set("queued.max.messages.kbytes", "16384")
        .set("queued.min.messages", "32768")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.max.bytes", "4194304");
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
        .set("queue.buffering.max.messages", "50000")
        .set("queue.buffering.max.kbytes", "16384");
    let producer = BaseProducer::from_config_and_context(&config, Acks(acked.clone()))?;
    let (mut sent, mut began) = (0, None);
    while sent < records {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        if began.is_none() {
            began = Some(Began::now(broker)?);
        }
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
    began.ok_or_else(|| "there is nothing to read".into())
}
