//! A Kafka topic as a sink.

use std::sync::Arc;
use std::time::Duration;

use super::choose::{Need, connection, require};
use super::client::{KafkaClient, SinkSettings};
use super::decode::{columns, key_of};
use super::encode::{Metadata, RecordEncoder};
use super::options::SinkOptions;
use super::source::missing;
use super::writer::KafkaWriter;
use crate::catalog::Options;
use crate::codec::Format;
use crate::connector::registry::config;
use crate::io::{DataSink, DataWriter, IoError, SinkStart};
use crate::record::Schema;

/// A topic that can be written.
pub(super) struct KafkaTopic {
    client: Arc<dyn KafkaClient>,
    format: Format,
    options: SinkOptions,
    /// As written: the key's format takes its forms from them.
    written: Options,
    metadata: Metadata,
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
        let metadata = Metadata::new(sets)?;
        let mut needs = vec![Need::Compression(&options.compression)];
        if metadata.headers {
            needs.push(Need::Headers("SELECT … AS _headers"));
        }
        if metadata.timestamp {
            needs.push(Need::Timestamps("SELECT … AS _timestamp"));
        }
        needs.extend(options.common.native.iter().map(|(name, _)| Need::NativeOption(name)));
        require(&client.caps(), &needs)?;
        if options.upsert && options.common.key_columns.is_empty() {
            return Err(IoError::config(
                "changelog = 'upsert' needs the columns that tell rows apart: add key_columns = 'a, b' or a PRIMARY KEY",
            ));
        }
        if metadata.key && !options.common.key_columns.is_empty() {
            return Err(IoError::config("'key_columns' and SELECT … AS _key exclude each other"));
        }
        Ok(Self { client, format: format.for_messages().map_err(config)?, options, written, metadata })
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

    fn settings(&self) -> SinkSettings {
        SinkSettings {
            connection: connection(&self.options.common),
            compression: self.options.compression.clone(),
            acks_all: self.options.acks_all,
            linger: self.options.linger,
            delivery_timeout: self.options.delivery_timeout,
            transactional_id: None,
            transaction_timeout: Duration::from_secs(60),
        }
    }
}

impl DataSink for KafkaTopic {
    fn open(&self, schema: Arc<Schema>, _start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        let encoder = self.encoder(&schema)?;
        let mut client = self.client.sink(&self.settings())?;
        let topic: Arc<str> = self.options.topic.as_str().into();
        let Some(partitions) = client.partitions(&topic)? else {
            return Err(missing(&topic, &client.topics()?, &self.options.common.servers));
        };
        let deadline = self.options.delivery_timeout;
        Ok(Box::new(KafkaWriter::new(client, topic, partitions, encoder, deadline)))
    }
}
