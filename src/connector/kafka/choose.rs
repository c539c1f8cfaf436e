//! Which client library talks to the brokers, and whether it can do what a job needs.

use std::sync::Arc;

use super::client::{Caps, Connection, KafkaClient};
use super::options::Common;
use crate::io::IoError;

/// The client that the options ask for.
pub(super) fn client(options: &Common) -> Result<Arc<dyn KafkaClient>, IoError> {
    match options.client.as_str() {
        "rdkafka" => rdkafka().ok_or_else(|| not_compiled("rdkafka")),
        "kafka" => kafka().ok_or_else(|| not_compiled("kafka")),
        _ => rdkafka().or_else(kafka).ok_or_else(|| {
            IoError::config(
                "this build has no Kafka client; build with --features kafka (pure Rust, brokers up to 3.9) or --features \
                 rdkafka (librdkafka, brokers from 2.5 on)",
            )
        }),
    }
}

fn not_compiled(client: &str) -> IoError {
    IoError::config(format!("client = '{client}' is not compiled in; build with --features {client}"))
}

#[cfg(feature = "rdkafka")]
fn rdkafka() -> Option<Arc<dyn KafkaClient>> {
    Some(Arc::new(super::native::Native))
}
#[cfg(not(feature = "rdkafka"))]
fn rdkafka() -> Option<Arc<dyn KafkaClient>> {
    None
}
#[cfg(feature = "kafka")]
fn kafka() -> Option<Arc<dyn KafkaClient>> {
    Some(Arc::new(super::pure::Pure))
}
#[cfg(not(feature = "kafka"))]
fn kafka() -> Option<Arc<dyn KafkaClient>> {
    None
}

/// Something that a job needs of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need<'a> {
    Headers(&'a str),
    Timestamps(&'a str),
    ReadCommitted,
    Transactions,
    Groups,
    Compression(&'a str),
    DirectFetch,
    NativeOption(&'a str),
}

impl Need<'_> {
    fn is_met(self, caps: &Caps) -> bool {
        match self {
            Need::Headers(_) => caps.headers,
            Need::Timestamps(_) => caps.timestamps,
            Need::ReadCommitted => caps.read_committed,
            Need::Transactions => caps.transactions,
            Need::Groups => caps.groups,
            Need::Compression(codec) => caps.compression.contains(&codec),
            Need::DirectFetch => caps.direct_fetch,
            Need::NativeOption(_) => caps.native_options,
        }
    }
    fn what(self) -> String {
        match self {
            Need::Headers(what) => format!("{what} needs message headers"),
            Need::Timestamps(what) => format!("{what} needs message timestamps"),
            Need::ReadCommitted => {
                "isolation = 'read_committed' needs a client that knows transactions".into()
            }
            Need::Transactions => "SET mode = 'transactional' needs a client with transactions".into(),
            Need::Groups => "--instance needs a client that takes part in groups".into(),
            Need::Compression(codec) => format!("compression = '{codec}' needs a client that has it"),
            Need::DirectFetch => "fetch = 'direct' needs a client that leaves fetching to the engine".into(),
            Need::NativeOption(name) => format!("'kafka.{name}' is an option of librdkafka"),
        }
    }
}

/// Refuses what the client lacks, with the way out.
pub(super) fn require(caps: &Caps, needs: &[Need<'_>]) -> Result<(), IoError> {
    let Some(need) = needs.iter().find(|n| !n.is_met(caps)) else { return Ok(()) };
    let way_out = match rdkafka().is_some() {
        true => "use client = 'rdkafka'",
        false => "build with --features rdkafka",
    };
    Err(IoError::unsupported(format!("{}, and the client '{}' can't: {way_out}", need.what(), caps.client)))
}

/// One cluster through one client, as far as the options tell.
pub(super) fn cluster(caps: &Caps, options: &Common) -> String {
    let mut servers: Vec<&str> = options.servers.split(',').collect();
    servers.sort_unstable();
    servers.dedup();
    format!("Kafka {} (client '{}')", servers.join(","), caps.client)
}

/// What both directions say to the client.
pub(super) fn connection(options: &Common) -> Connection {
    Connection { servers: options.servers.clone(), timeout: options.timeout, native: options.native.clone() }
}
