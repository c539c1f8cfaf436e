//! Standard input and output.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::MakeEncoder;
use super::file::{Compression, FileSourceConfig, FileWriter, OpenInput, Output, RawFile, StreamSource};
use super::formats::{encoder_of, format_of, max_record_bytes};
use super::registry::{ConnectorSpec, SinkRequest, SourceRequest, Typed};
use crate::catalog::{OptionKind, OptionSpec};
use crate::io::{DataSink, DataSource, DataWriter, IoError, SinkStart};
use crate::record::Schema;

const OPTIONS: &[OptionSpec] = &[OptionSpec::new(
    "compression",
    OptionKind::OneOf(&["none", "gzip", "zstd"]),
    "none",
    "how the bytes are compressed",
)];

pub(crate) const STDIN: ConnectorSpec = ConnectorSpec {
    name: "stdin",
    doc: "standard input, read once",
    options: OPTIONS,
    free_prefix: "",
    has_format: true,
    source: Some(source),
    sink: None,
};

pub(crate) const STDOUT: ConnectorSpec = ConnectorSpec {
    name: "stdout",
    doc: "standard output; format = 'json' if none is given",
    options: OPTIONS,
    free_prefix: "",
    has_format: true,
    source: None,
    sink: Some(sink),
};

fn compression(options: &Typed<'_>) -> Result<Compression, IoError> {
    Ok(options.text("compression")?.and_then(|w| Compression::of_option(&w)).unwrap_or(Compression::None))
}

/// A copy of a standard descriptor: reads and writes past the buffers and locks of `std::io`.
fn copy_of(fd: impl AsFd, name: &str) -> Result<File, IoError> {
    let copied = fd.as_fd().try_clone_to_owned();
    copied.map(File::from).map_err(|e| IoError::os(format!("can't use {name}"), e))
}

fn source(request: &SourceRequest<'_>) -> Result<Arc<dyn DataSource>, IoError> {
    let options = Typed { options: request.options, specs: OPTIONS };
    let format = format_of(&STDIN, request.name, request.options, None)?;
    let config = FileSourceConfig {
        max_record_bytes: max_record_bytes(&format, request.options)?,
        ..FileSourceConfig::new("stdin")
    };
    let file = copy_of(io::stdin(), "standard input")?;
    let input = OpenInput::from_file(file, "standard input".into(), compression(&options)?)?;
    Ok(Arc::new(StreamSource::new(config, input, format, request)?))
}

struct Stdout {
    compression: Compression,
    encoder: MakeEncoder,
}

impl DataSink for Stdout {
    fn open(&self, schema: Arc<Schema>, _start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        self.compression.check_built()?;
        let encoder = (self.encoder)(&schema)?;
        let file = copy_of(io::stdout(), "standard output")?;
        let output = Output::Plain(RawFile::new(file, 0), self.compression);
        Ok(Box::new(FileWriter::new("standard output".into(), None, output, encoder, true)))
    }
}

fn sink(request: &SinkRequest<'_>) -> Result<Arc<dyn DataSink>, IoError> {
    let options = Typed { options: request.options, specs: OPTIONS };
    let compression = compression(&options)?;
    let format = format_of(&STDOUT, request.name, request.options, Some("json"))?;
    Ok(Arc::new(Stdout { compression, encoder: encoder_of(format) }))
}
