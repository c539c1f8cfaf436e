//! The option `partitions`: a topic is made with so many if it is not there, and is refused with any other number.

use std::time::Duration;

use super::client::{Connection, KafkaClient, KafkaError, KafkaSink, KafkaSource, SinkSettings};
use crate::io::IoError;
use crate::record::Clock;

/// How long to wait before a topic that was made is looked for again.
const AGAIN: Duration = Duration::from_millis(20);

/// Sees to it that a topic to be read is there.
pub(super) fn readable(
    topic: &str,
    wanted: i32,
    client: &dyn KafkaClient,
    source: &mut dyn KafkaSource,
    connection: &Connection,
) -> Result<(), IoError> {
    let count = |source: &mut dyn KafkaSource| {
        source.partitions(topic).map(|found| found.map(|p| i32::try_from(p.len()).unwrap_or(i32::MAX)))
    };
    let found = match count(source)? {
        Some(found) => found,
        None => {
            let mut sink = client.sink(&admin(connection))?;
            make(topic, wanted, &mut *sink, connection)?;
            sink.close(connection.timeout);
            appears(topic, connection, || count(source))?
        }
    };
    agree(topic, wanted, found)
}

/// Sees to it that a topic to be written is there.
pub(super) fn writable(
    topic: &str,
    wanted: i32,
    sink: &mut dyn KafkaSink,
    connection: &Connection,
) -> Result<(), IoError> {
    let found = match sink.partitions(topic)? {
        Some(found) => found,
        None => {
            make(topic, wanted, sink, connection)?;
            appears(topic, connection, || sink.partitions(topic))?
        }
    };
    agree(topic, wanted, found)
}

fn make(
    topic: &str,
    partitions: i32,
    sink: &mut dyn KafkaSink,
    connection: &Connection,
) -> Result<(), IoError> {
    log::info!("making the topic {topic} with {partitions} partitions");
    sink.create_topic(topic, partitions, &[]).map_err(|e| {
        let command = command(topic, partitions, &connection.servers);
        KafkaError { message: format!("{}; make it yourself: {command}", e.message), ..e }.into()
    })
}

/// How Apache's own tool makes a topic.
pub(super) fn command(topic: &str, partitions: impl std::fmt::Display, servers: &str) -> String {
    format!("kafka-topics.sh --bootstrap-server {servers} --create --topic {topic} --partitions {partitions}")
}

/// Whoever asks another broker than the one that made a topic may have to wait for it.
fn appears(
    topic: &str,
    connection: &Connection,
    mut count: impl FnMut() -> Result<Option<i32>, KafkaError>,
) -> Result<i32, IoError> {
    let clock = Clock::System;
    let until = clock.monotonic() + connection.timeout;
    loop {
        if let Some(found) = count()? {
            return Ok(found);
        }
        if clock.monotonic() > until {
            let message =
                format!("the topic {topic} was made and is not there after {:?}", connection.timeout);
            return Err(KafkaError::retriable(message).into());
        }
        std::thread::park_timeout(AGAIN);
    }
}

fn agree(topic: &str, wanted: i32, found: i32) -> Result<(), IoError> {
    match wanted == found {
        true => Ok(()),
        false => Err(IoError::config(format!(
            "the topic '{topic}' has {found} partitions, not {wanted}: say partitions = {found}, or take another topic (adding \
             partitions to it would put equal keys into other ones)"
        ))),
    }
}

/// A producer that sends nothing.
fn admin(connection: &Connection) -> SinkSettings {
    SinkSettings {
        connection: connection.clone(),
        compression: "none".into(),
        acks_all: true,
        linger: Duration::ZERO,
        delivery_timeout: connection.timeout,
        batch_bytes: None,
        transactional_id: None,
        transaction_timeout: connection.timeout,
    }
}
