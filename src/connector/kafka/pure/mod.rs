//! The client over the `kafka` crate: pure Rust, brokers 0.8.2 to 3.9, plaintext.
//!
//! The crate speaks the oldest versions of the protocol and has defects that lose messages or hang. The rules that keep them
//! out: its `KafkaClient` only, never its consumer or producer; one thread owns it (`owner`), so that every call of ours ends
//! in time; one fetch per partition, whose first offset is checked (`fetch`); groups' offsets by requests of our own
//! (`wire`); after any failure of the connection, and after any panic, a new client; brokers that have dropped those
//! versions are recognised before anything else is asked.

mod fetch;
mod owner;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod wire;

use super::client::{
    Caps, KafkaClient, KafkaError, KafkaErrorKind, KafkaSink, KafkaSource, SinkSettings, SourceSettings,
};

/// The `kafka` crate.
pub struct Pure;

impl KafkaClient for Pure {
    fn caps(&self) -> Caps {
        Caps {
            client: "kafka",
            headers: false,
            timestamps: false,
            nulls: false,
            read_committed: false,
            transactions: false,
            compression: &["none", "gzip", "snappy"],
            groups: false,
            native_options: false,
            direct_fetch: false,
        }
    }
    fn source(&self, settings: &SourceSettings) -> Result<Box<dyn KafkaSource>, KafkaError> {
        Ok(Box::new(source::PureSource::connect(settings)?))
    }
    fn sink(&self, settings: &SinkSettings) -> Result<Box<dyn KafkaSink>, KafkaError> {
        if settings.transactional_id.is_some() {
            let message = "the client 'kafka' has no transactions: build with --features rdkafka";
            return Err(KafkaError::new(KafkaErrorKind::Unsupported, message));
        }
        Ok(Box::new(sink::PureSink::connect(settings)?))
    }
}

/// What becomes of an error of the library while doing `what`.
fn sorted(what: &str, error: &kafka::Error) -> KafkaError {
    use kafka::Error as E;
    let kind = match error {
        E::Kafka(code) | E::TopicPartitionError { error_code: code, .. } => kind_of(*code),
        E::ArcSelf(inner) => return sorted(what, inner),
        _ if breaks_connection(error) => KafkaErrorKind::Retriable,
        _ => KafkaErrorKind::Fatal,
    };
    let hint = match error {
        E::UnsupportedCompression => {
            "; only gzip and snappy are read by this client: build with --features rdkafka for lz4 and zstd"
        }
        _ => "",
    };
    KafkaError::new(kind, format!("{what}: {error}{hint}"))
}

/// Whether the connection that gave the error is of no use any more.
fn breaks_connection(error: &kafka::Error) -> bool {
    use kafka::Error as E;
    matches!(error, E::Io(_) | E::UnexpectedEOF | E::NoHostReachable | E::CodecError | E::StringDecodeError)
}

fn kind_of(code: kafka::error::KafkaCode) -> KafkaErrorKind {
    use KafkaErrorKind::{Fatal, Record, Retriable};
    use kafka::error::KafkaCode as C;
    match code {
        C::MessageSizeTooLarge | C::RecordListTooLarge | C::InvalidMessageSize => Record,
        C::CorruptMessage
        | C::LeaderNotAvailable
        | C::NotLeaderForPartition
        | C::RequestTimedOut
        | C::BrokerNotAvailable
        | C::ReplicaNotAvailable
        | C::NetworkException
        | C::GroupLoadInProgress
        | C::GroupCoordinatorNotAvailable
        | C::NotCoordinatorForGroup
        | C::NotEnoughReplicas
        | C::NotEnoughReplicasAfterAppend => Retriable,
        _ => Fatal,
    }
}
