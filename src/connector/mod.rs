//! What records come from and go to: files, Kafka, standard input and output, memory, generated rows.
//!
//! A connector turns options into a [`DataSource`](crate::io::DataSource) or [`DataSink`](crate::io::DataSink). It moves
//! bytes; what the bytes mean is left to the codec. It knows no thread and no job.

pub mod blackhole;
mod decode_buffer;
pub mod file;
mod formats;
pub mod generator;
pub mod kafka;
pub mod memory;
mod registry;
mod sample;
mod stdio;
pub mod table;
#[cfg(test)]
mod testing;

pub use registry::{
    CONNECTOR, ConnectorSpec, Connectors, FORMAT, MakeSink, MakeSource, Role, SAMPLE_OPTIONS, SOURCE_OPTIONS,
    SinkRequest, SourceRequest,
};

use std::sync::Arc;

use crate::codec::{Decoder, Encoder};
use crate::io::{IoError, Scan};
use crate::record::Schema;

/// Makes a decoder for what a plan wants of a source.
pub type MakeDecoder = Arc<dyn Fn(&Scan) -> Result<Box<dyn Decoder>, IoError> + Send + Sync>;
/// Makes an encoder for records of a shape.
pub type MakeEncoder = Arc<dyn Fn(&Arc<Schema>) -> Result<Box<dyn Encoder>, IoError> + Send + Sync>;
