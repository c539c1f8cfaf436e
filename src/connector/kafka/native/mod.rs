//! The client over librdkafka: production, brokers from 2.5 on.
//!
//! Its defaults are changed where they would lose records or hold too much of them; see `config`.

mod admin;
mod asking;
mod config;
mod fetched;
mod library;
mod member;
mod membership;
mod produced;
mod sink;
mod source;
mod txn;

use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;

use super::client::{
    Caps, Connection, KafkaClient, KafkaError, KafkaErrorKind, KafkaSink, KafkaSource, SinkSettings,
    SourceSettings,
};
use super::member::{KafkaMember, MemberSettings};

/// librdkafka.
pub struct Native;

impl KafkaClient for Native {
    fn caps(&self) -> Caps {
        Caps {
            client: "rdkafka",
            headers: true,
            timestamps: true,
            nulls: true,
            read_committed: true,
            transactions: true,
            compression: &["none", "gzip", "snappy", "lz4", "zstd"],
            groups: true,
            native_options: true,
            direct_fetch: true,
        }
    }
    fn source(&self, settings: &SourceSettings) -> Result<Box<dyn KafkaSource>, KafkaError> {
        Ok(Box::new(source::NativeSource::connect(settings)?))
    }
    fn sink(&self, settings: &SinkSettings) -> Result<Box<dyn KafkaSink>, KafkaError> {
        Ok(Box::new(sink::NativeSink::connect(settings)?))
    }
    fn largest(&self, connection: &Connection, topic: &str) -> Result<Option<usize>, KafkaError> {
        admin::largest_batch(connection, topic)
    }
    fn member(&self, settings: &MemberSettings) -> Result<Box<dyn KafkaMember>, KafkaError> {
        Ok(Box::new(member::NativeMember::join(settings)?))
    }
}

/// Hears what the library says besides messages.
struct Listener;

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        said(level, facility, message);
    }
    fn error(&self, error: RdError, reason: &str) {
        failed(&error, reason);
    }
}

impl ConsumerContext for Listener {}

type Consumer = BaseConsumer<Listener>;

/// A word of the library for the log.
fn said(level: RDKafkaLogLevel, facility: &str, message: &str) {
    use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error};
    match level {
        Emerg | Alert | Critical | Error => log::warn!("librdkafka: {facility} {message}"),
        Debug => log::trace!("librdkafka: {facility} {message}"),
        _ => log::debug!("librdkafka: {facility} {message}"),
    }
}

/// Errors that concern no message: the library tries again by itself, and the end of a partition is none.
fn failed(error: &RdError, reason: &str) {
    if error.rdkafka_error_code() != Some(Code::PartitionEOF) {
        log::debug!("librdkafka: {error}: {reason}");
    }
}

/// What becomes of an error of the library while doing `what`.
fn sorted(what: &str, error: &RdError) -> KafkaError {
    let kind = match error.rdkafka_error_code() {
        Some(code) => kind_of(code),
        None => KafkaErrorKind::Fatal,
    };
    let message = match error.rdkafka_error_code() {
        Some(code) => format!("{what}: {code}"),
        None => format!("{what}: {error}"),
    };
    KafkaError::new(kind, message)
}

fn kind_of(code: Code) -> KafkaErrorKind {
    use KafkaErrorKind::{Fatal, Fenced, Record, Retriable, Unsupported};
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessage | Code::InvalidRecord => Record,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId => Fenced,
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::NotImplemented => Unsupported,
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::TimedOutQueue
        | Code::WaitingForCoordinator
        | Code::QueueFull
        | Code::RequestTimedOut
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::NetworkException
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::RebalanceInProgress
        | Code::UnstableOffsetCommit
        | Code::KafkaStorageError
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::OffsetNotAvailable
        | Code::ThrottlingQuotaExceeded => Retriable,
        _ => Fatal,
    }
}

/// All topics: asking for one by name could make it, where brokers do that.
fn metadata<C: ClientContext>(
    client: &rdkafka::client::Client<C>,
    connection: &Connection,
) -> Result<Metadata, KafkaError> {
    client
        .fetch_metadata(None, connection.timeout)
        .map_err(|e| sorted(&format!("brokers {}", connection.servers), &e))
}

/// The partitions of a topic among all.
fn partitions_of(metadata: &Metadata, topic: &str) -> Result<Option<Vec<i32>>, KafkaError> {
    let Some(found) = metadata.topics().iter().find(|t| t.name() == topic) else { return Ok(None) };
    match found.error() {
        None => Ok(Some(found.partitions().iter().map(|p| p.id()).collect())),
        Some(error) => {
            let code = Code::from(error);
            match code {
                Code::UnknownTopicOrPartition | Code::UnknownTopic => Ok(None),
                code => Err(KafkaError::new(kind_of(code), format!("topic {topic}: {code}"))),
            }
        }
    }
}

/// Drops what may take long to be dropped on a thread of its own, and waits for that no longer than `deadline`.
fn drop_within<T: Send + 'static>(what: &'static str, client: T, deadline: Duration) {
    let (done, wait) = crossbeam_channel::bounded::<()>(1);
    let dropped = std::thread::Builder::new().name("ms-kafka-close".into()).spawn(move || {
        drop(client);
        drop(done);
    });
    if dropped.is_ok() && wait.recv_timeout(deadline) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
        log::warn!("{what} has not closed within {deadline:?} and is left behind");
    }
}
