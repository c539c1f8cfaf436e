//! Settings of librdkafka: its defaults where they serve, ours where they would lose records or hold too many.

use rdkafka::config::ClientConfig;

use crate::connector::kafka::client::{Connection, KafkaError, SinkSettings, SourceSettings};
use crate::connector::kafka::member::MemberSettings;

/// Largest answer to a fetch that is asked for. A fetch begins while there is room, so this much can come on top of the prefetch.
const FETCH_BYTES: usize = 8 << 20;
/// How many answers the prefetch has room for.
const FETCHES: usize = 4;
/// Largest batch that the library makes by itself.
const BATCH_BYTES: usize = 1_000_000;
/// Bytes of prefetch for each message that is fetched ahead: the library takes some 350 for one, whatever its size.
const MESSAGE_BYTES: usize = 512;

fn common(connection: &Connection) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &connection.servers).set("client.id", "millstream");
    config
}

/// What the user says of the library wins where nothing depends on it; the rest was refused with the options.
fn with_native(mut config: ClientConfig, connection: &Connection) -> Result<ClientConfig, KafkaError> {
    for (name, value) in &connection.native {
        config.set(name, value);
    }
    Ok(config)
}

/// A consumer. `share` is the part of the prefetch that it may use.
pub(super) fn consumer(settings: &SourceSettings, share: usize) -> Result<ClientConfig, KafkaError> {
    let mut config = common(&settings.connection);
    let isolation = if settings.read_committed { "read_committed" } else { "read_uncommitted" };
    config
        // Partitions are assigned by hand, but the library asks for a name; nobody joins it.
        .set("group.id", settings.group.as_deref().unwrap_or("millstream-without-group"))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        .set("isolation.level", isolation)
        .set("allow.auto.create.topics", "false")
        .set("fetch.wait.max.ms", "100")
        .set("queued.max.messages.kbytes", (share >> 10).max(64).to_string())
        .set("queued.min.messages", (share / MESSAGE_BYTES).clamp(1, 100_000).to_string())
        // How long nothing is fetched once that much is there: its second is ten times as long as a job takes to read it.
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.max.bytes", (share / FETCHES).clamp(1 << 20, FETCH_BYTES).to_string());
    with_native(config, &settings.connection)
}

/// A member of a group that shares topics.
pub(super) fn member(settings: &MemberSettings) -> Result<ClientConfig, KafkaError> {
    let mut config = consumer(&settings.source(), settings.prefetch_bytes)?;
    let refresh = settings.discovery_interval.as_millis().clamp(1, 3_600_000).to_string();
    config
        .set("partition.assignment.strategy", settings.assignor)
        .set("enable.partition.eof", "false")
        .set("topic.metadata.refresh.interval.ms", refresh);
    if let Some(id) = &settings.static_id {
        config.set("group.instance.id", id);
    }
    with_native(config, &settings.connection)
}

/// A consumer that stands for a group without joining it: its committed offsets, those that no transaction holds.
pub(super) fn group(connection: &Connection, group: &str) -> Result<ClientConfig, KafkaError> {
    let mut config = common(connection);
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("allow.auto.create.topics", "false");
    with_native(config, connection)
}

/// A client that makes topics.
pub(super) fn admin(connection: &Connection) -> Result<ClientConfig, KafkaError> {
    with_native(common(connection), connection)
}

/// Messages and KiB that wait to be sent or to be acknowledged, at most: several requests of full batches. The library takes
/// some 200 bytes for a message beside its content.
const QUEUED_MESSAGES: usize = 50_000;
const QUEUED_KBYTES: usize = 16 << 10;

/// A queue that a few of the largest messages fit into: one that is larger than the queue would wait for room for ever.
fn queued_kbytes(connection: &Connection) -> usize {
    let largest = connection.native.iter().rev().find(|(name, _)| name == "message.max.bytes");
    let largest = largest.and_then(|(_, value)| value.parse::<usize>().ok()).unwrap_or(0);
    QUEUED_KBYTES.max(largest / 256)
}

/// A producer.
pub(super) fn producer(settings: &SinkSettings) -> Result<ClientConfig, KafkaError> {
    let mut config = common(&settings.connection);
    let mut delivery = settings.delivery_timeout;
    if let Some(id) = &settings.transactional_id {
        delivery = delivery.min(settings.transaction_timeout);
        config
            .set("transactional.id", id)
            .set("transaction.timeout.ms", settings.transaction_timeout.as_millis().max(1).to_string());
    }
    config
        .set("enable.idempotence", if settings.acks_all { "true" } else { "false" })
        .set("acks", if settings.acks_all { "all" } else { "1" })
        .set("compression.codec", &settings.compression)
        .set("linger.ms", settings.linger.as_millis().to_string())
        .set("message.timeout.ms", delivery.as_millis().max(1).to_string())
        .set("queue.buffering.max.messages", QUEUED_MESSAGES.to_string())
        .set("queue.buffering.max.kbytes", queued_kbytes(&settings.connection).to_string());
    let mut config = with_native(config, &settings.connection)?;
    if let Some(most) = settings.batch_bytes {
        let own = config.get("batch.size").and_then(|b| b.parse().ok()).unwrap_or(BATCH_BYTES);
        config.set("batch.size", own.min(most).max(1).to_string());
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_queue_takes_several_of_the_largest_messages() {
        let connection = |native: &[(&str, &str)]| Connection {
            servers: String::new(),
            timeout: Duration::ZERO,
            native: native.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        };
        assert_eq!(queued_kbytes(&connection(&[])), 16 << 10);
        assert_eq!(queued_kbytes(&connection(&[("message.max.bytes", "2000000")])), 16 << 10);
        assert_eq!(queued_kbytes(&connection(&[("message.max.bytes", "33554432")])), 128 << 10);
    }
}
