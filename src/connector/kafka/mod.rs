//! Kafka: topics as sources and sinks.
//!
//! All that touches a client library stands behind one seam ([`client`]); two libraries and a simulator implement it, and one
//! conformance suite ([`conformance`]) runs against each of them. Above the seam a reader decodes messages and knows the next
//! offset of each partition; a writer encodes records and answers for each message until it is acknowledged. Delivery is at
//! least once: positions stand in the job's checkpoint, and a group's offsets are committed behind it. In a transactional job it
//! is exactly once: its sinks share a producer (`transactor.rs`), and an epoch counts when its transaction does (`coordinator.rs`).
//!
//! Partitions are assigned by hand, all of a topic to one reader: nobody is asked for permission, so backpressure may stop
//! polling for as long as it likes, and no rebalance comes. Instances of a stateless job share a group (`group_reader.rs`).

mod changelog;
mod choose;
pub mod client;
#[doc(hidden)]
pub mod conformance;
mod coordinator;
mod decode;
#[cfg(feature = "rdkafka")]
mod direct;
mod encode;
mod group_reader;
mod kept;
pub mod member;
#[cfg(feature = "rdkafka")]
pub mod native;
mod options;
mod outbox;
mod partitioner;
mod position;
mod positions_topic;
#[cfg(feature = "kafka")]
pub mod pure;
mod reader;
#[doc(hidden)]
pub mod sim;
mod sink;
mod source;
#[cfg(any(feature = "rdkafka", test))]
mod standby;
#[cfg(test)]
mod tests;
mod topic;
mod transactor;
#[cfg(any(feature = "kafka", feature = "rdkafka"))]
mod wire;
mod writer;

pub use outbox::{Outbox, Outgoing};

use std::sync::Arc;

use super::formats::format_of;
use super::registry::{ConnectorSpec, SinkRequest, SourceRequest, config, declared_schema};
use crate::catalog::Options;
use crate::codec::Format;
use crate::io::{DataSink, DataSource, IoError};
use crate::record::{DataType, Schema};
use client::KafkaClient;
use decode::MessageFormat;
use options::{NATIVE, OPTIONS, SinkOptions, SourceOptions};
use sink::KafkaTopic;
use source::KafkaTopics;

/// The connector `kafka`.
pub const SPEC: ConnectorSpec = ConnectorSpec {
    name: "kafka",
    doc: "topics of Apache Kafka",
    options: OPTIONS,
    free_prefix: NATIVE,
    has_format: true,
    source: Some(|request| {
        let options = SourceOptions::new(request.options)?;
        let client = choose::client(&options.common)?;
        source_with(client, options, request)
    }),
    sink: Some(|request| {
        let options = SinkOptions::new(request.options)?;
        let client = choose::client(&options.common)?;
        sink_with(client, options, request)
    }),
};

/// What an option name of a later release means.
pub(super) fn later(name: &str) -> Option<&'static str> {
    options::later(name)
}

/// A source by a client of the caller's choice.
#[doc(hidden)]
pub fn source_by(
    client: Arc<dyn KafkaClient>,
    request: &SourceRequest<'_>,
) -> Result<Arc<dyn DataSource>, IoError> {
    source_with(client, SourceOptions::new(request.options)?, request)
}

/// A sink by a client of the caller's choice.
#[doc(hidden)]
pub fn sink_by(
    client: Arc<dyn KafkaClient>,
    request: &SinkRequest<'_>,
) -> Result<Arc<dyn DataSink>, IoError> {
    sink_with(client, SinkOptions::new(request.options)?, request)
}

/// The format of the values: key columns and changelog are the connector's business.
fn value_format(name: &str, options: &Options) -> Result<Format, IoError> {
    let own = options.iter().filter(|(n, _)| !matches!(*n, "changelog" | "key_columns"));
    format_of(&SPEC, name, &Options::new(own), None)
}

fn source_with(
    client: Arc<dyn KafkaClient>,
    options: SourceOptions,
    request: &SourceRequest<'_>,
) -> Result<Arc<dyn DataSource>, IoError> {
    let format = value_format(request.name, request.options)?;
    if !format.spec().can_decode {
        return Err(config(crate::catalog::OptionError {
            name: "format".into(),
            message: format!("format '{}' can be written, not read", format.spec().name),
        }));
    }
    let schema = match (request.columns, format.spec().name) {
        ([], "text") => Schema::of([("value", DataType::Varchar)]),
        ([], "raw") => Schema::of([("value", DataType::Bytes)]),
        ([], _) => {
            return Err(IoError::config(format!(
                "'{}' needs its columns: they are not inferred from a topic; CREATE STREAM {} (a BIGINT, …) WITH (…)",
                request.name, request.name
            )));
        }
        (columns, _) => declared_schema(columns),
    };
    let common = &options.common;
    let format = MessageFormat::new(
        schema.clone(),
        format,
        common.key_format.as_deref(),
        &common.key_columns,
        request.options,
        options.tombstones,
    )?;
    Ok(Arc::new(KafkaTopics::new(client, schema, format, options)?))
}

fn sink_with(
    client: Arc<dyn KafkaClient>,
    options: SinkOptions,
    request: &SinkRequest<'_>,
) -> Result<Arc<dyn DataSink>, IoError> {
    let format = value_format(request.name, request.options)?;
    if options.upsert && format.spec().name == "debezium-json" {
        return Err(IoError::config("changelog = 'upsert' and format = 'debezium-json' exclude each other"));
    }
    Ok(Arc::new(KafkaTopic::new(client, format, options, request.options.clone(), request.sets)?))
}
