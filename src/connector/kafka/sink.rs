//! A Kafka topic as a sink.

use std::sync::Arc;

use parking_lot::Mutex;

use super::choose::{Need, cluster, connection, require};
use super::client::{KafkaClient, KafkaError, KafkaErrorKind, KafkaSink, SinkSettings};
use super::coordinator::{KafkaCoordinator, ours};
use super::decode::{columns, key_of};
use super::encode::{Metadata, RecordEncoder};
use super::options::SinkOptions;
use super::source::missing;
use super::topic;
use super::transactor::{Share, Transactor};
use super::writer::KafkaWriter;
use crate::catalog::Options;
use crate::codec::Format;
use crate::connector::registry::config;
use crate::io::{Coordinator, DataSink, DataWriter, IoError, SinkStart, Transactions};
use crate::record::Schema;

/// A topic that can be written.
pub(super) struct KafkaTopic {
    client: Arc<dyn KafkaClient>,
    format: Format,
    options: SinkOptions,
    /// As written: the key's format takes its forms from them.
    written: Options,
    metadata: Metadata,
    /// Of a transactional job.
    transacted: Option<Transacted>,
}

/// A sink in the transactions of a job.
struct Transacted {
    job: String,
    /// `<job>.<instance>`; a process that runs it alone is instance 0.
    id: String,
    shared: Mutex<Shared>,
}

/// What is known of a sink's transactions once it follows.
#[derive(Default)]
struct Shared {
    /// The producer that the sinks of the job share.
    transactor: Option<Arc<Transactor>>,
    /// The largest batch that the topic takes.
    largest: Option<usize>,
}

impl KafkaTopic {
    /// Checks what can be checked without a broker. `sets` are the system columns that the query sets.
    pub(super) fn new(
        client: Arc<dyn KafkaClient>,
        format: Format,
        options: SinkOptions,
        written: Options,
        sets: &[&str],
    ) -> Result<Self, IoError> {
        let mut metadata = Metadata::new(sets)?;
        let mut needs = vec![Need::Compression(&options.compression)];
        if metadata.headers {
            needs.push(Need::Headers("SELECT … AS _headers"));
        }
        if metadata.timestamp {
            needs.push(Need::Timestamps("SELECT … AS _timestamp"));
        }
        needs.extend(options.common.native.iter().map(|(name, _)| Need::NativeOption(name)));
        require(&client.caps(), &needs)?;
        metadata.headers |= metadata.letter && client.caps().headers;
        if options.upsert && options.common.key_columns.is_empty() {
            return Err(IoError::config(
                "changelog = 'upsert' needs the columns that tell rows apart: add key_columns = 'a, b' or a PRIMARY KEY",
            ));
        }
        if metadata.key && !options.common.key_columns.is_empty() {
            return Err(IoError::config("'key_columns' and SELECT … AS _key exclude each other"));
        }
        Ok(Self {
            client,
            format: format.for_messages().map_err(config)?,
            options,
            written,
            metadata,
            transacted: None,
        })
    }

    fn encoder(&self, schema: &Arc<Schema>) -> Result<RecordEncoder, IoError> {
        let common = &self.options.common;
        let key = columns(schema, &common.key_columns)?;
        let format = key_of(schema, &key, common.key_format.as_deref(), &self.written)?;
        let partition_by = columns(schema, &self.options.partition_by)?;
        RecordEncoder::new(
            schema,
            &self.format,
            format.as_ref(),
            &key,
            &partition_by,
            self.options.upsert,
            self.metadata,
        )
    }

    /// The largest batch that the topic takes, if the brokers tell.
    fn largest(&self) -> Result<Option<usize>, KafkaError> {
        match self.client.largest(&connection(&self.options.common), &self.options.topic) {
            // Whoever may write need not be allowed to ask.
            Err(e) if e.kind != KafkaErrorKind::Retriable => {
                log::warn!(
                    "{e}; a message that is larger than the topic takes will fail its whole transaction"
                );
                Ok(None)
            }
            done => done,
        }
    }

    fn settings(&self) -> SinkSettings {
        SinkSettings {
            connection: connection(&self.options.common),
            compression: self.options.compression.clone(),
            acks_all: self.options.acks_all,
            linger: self.options.linger,
            delivery_timeout: self.options.delivery_timeout,
            batch_bytes: None,
            transactional_id: self.transacted.as_ref().map(|t| t.id.clone()),
            transaction_timeout: self.options.transaction_timeout,
        }
    }
}

impl DataSink for KafkaTopic {
    fn open(&self, schema: Arc<Schema>, _start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        let mut encoder = self.encoder(&schema)?;
        let mut client: Box<dyn KafkaSink> = match &self.transacted {
            None => self.client.sink(&self.settings())?,
            Some(transacted) => {
                let shared = transacted.shared.lock();
                let Some(transactor) = &shared.transactor else {
                    return Err(IoError::config("a sink of a transactional job without a coordinator"));
                };
                // Refused before it is sent: a message can't be left out of a transaction any more.
                encoder = encoder.limited(shared.largest);
                Box::new(Share::new(transactor.clone()))
            }
        };
        let topic: Arc<str> = self.options.topic.as_str().into();
        if let Some(wanted) = self.options.common.partitions {
            topic::writable(&topic, wanted, client.as_mut(), &connection(&self.options.common))?;
        }
        let Some(partitions) = client.partitions(&topic)? else {
            return Err(missing(&topic, &client.topics()?, &self.options.common.servers));
        };
        let deadline = self.options.delivery_timeout;
        Ok(Box::new(KafkaWriter::new(client, topic, partitions, encoder, deadline)))
    }

    fn transactions(&self) -> Transactions {
        match self.transacted {
            Some(_) => Transactions::Led { within: self.options.transaction_timeout },
            None => Transactions::None,
        }
    }

    fn staged(&self, job: &str, instance: Option<&str>) -> Option<Arc<dyn DataSink>> {
        Some(Arc::new(Self {
            client: self.client.clone(),
            format: self.format.clone(),
            options: self.options.clone(),
            written: self.written.clone(),
            metadata: self.metadata,
            transacted: Some(Transacted {
                job: job.to_owned(),
                id: format!("{job}.{}", instance.unwrap_or("0")),
                shared: Mutex::default(),
            }),
        }))
    }

    fn check_transactional(&self) -> Result<(), IoError> {
        require(&self.client.caps(), &[Need::Transactions])?;
        match self.options.acks_all {
            true => Ok(()),
            false => Err(IoError::config("acks = '1' and SET mode = 'transactional' exclude each other")),
        }
    }

    fn cluster(&self) -> Option<String> {
        Some(cluster(&self.client.caps(), &self.options.common))
    }

    fn lead(&self) -> Result<Box<dyn Coordinator>, IoError> {
        let Some(transacted) = &self.transacted else {
            return Err(IoError::unsupported("the job is not transactional"));
        };
        let settings = SinkSettings { batch_bytes: self.largest()?, ..self.settings() };
        let transactor = Arc::new(Transactor::new(self.client.clone(), settings));
        drop(transactor.renew()?);
        let cluster = cluster(&self.client.caps(), &self.options.common);
        Ok(Box::new(KafkaCoordinator::new(transactor, &transacted.job, cluster)))
    }

    fn follow(&self, leader: &dyn Coordinator) -> Result<(), IoError> {
        let (Some(transacted), Some(leader)) = (&self.transacted, ours(leader)) else {
            return Err(IoError::config("the coordinator of the job is none of Kafka's"));
        };
        let (own, shared) = (self.settings(), &leader.transactor.settings);
        if own.compression != shared.compression
            || own.linger != shared.linger
            || own.delivery_timeout != shared.delivery_timeout
            || own.transaction_timeout != shared.transaction_timeout
            || own.connection.native != shared.connection.native
        {
            return Err(IoError::config(
                "the sinks of a transactional job share a producer: compression, linger_ms, delivery_timeout, transaction_timeout and \
                 'kafka.…' options must be the same in all of them",
            ));
        }
        let largest = self.largest()?;
        if let Some(largest) = largest {
            leader.transactor.fits(largest)?;
        }
        *transacted.shared.lock() = Shared { transactor: Some(leader.transactor.clone()), largest };
        Ok(())
    }
}
