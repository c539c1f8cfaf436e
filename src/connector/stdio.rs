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
    read_from(copy_of(io::stdin(), "standard input")?, request)
}

fn read_from(file: File, request: &SourceRequest<'_>) -> Result<Arc<dyn DataSource>, IoError> {
    let options = Typed { options: request.options, specs: OPTIONS };
    let format = format_of(&STDIN, request.name, request.options, None)?;
    let config = FileSourceConfig {
        max_record_bytes: max_record_bytes(&format, request.options)?,
        ..FileSourceConfig::new("stdin")
    };
    let input = OpenInput::from_file(file, "standard input".into(), compression(&options)?)?;
    Ok(Arc::new(StreamSource::new(config, input, format, request)?))
}

struct Stdout {
    descriptor: Box<dyn Fn() -> Result<File, IoError> + Send + Sync>,
    compression: Compression,
    encoder: MakeEncoder,
}

impl DataSink for Stdout {
    fn open(&self, schema: Arc<Schema>, _start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        self.compression.check_built()?;
        let encoder = (self.encoder)(&schema)?;
        let output = Output::Plain(RawFile::new((self.descriptor)()?, 0), self.compression);
        Ok(Box::new(FileWriter::new("standard output".into(), None, output, encoder, true)))
    }
}

fn sink(request: &SinkRequest<'_>) -> Result<Arc<dyn DataSink>, IoError> {
    let options = Typed { options: request.options, specs: OPTIONS };
    let compression = compression(&options)?;
    let format = format_of(&STDOUT, request.name, request.options, Some("json"))?;
    let descriptor = || copy_of(io::stdout(), "standard output");
    Ok(Arc::new(Stdout { descriptor: Box::new(descriptor), compression, encoder: encoder_of(format) }))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::catalog::{ColumnDef, Options};
    use crate::connector::testing::{line_schema, record};
    use crate::io::contract::{SinkUnderTest, check_stream, check_writer};
    use crate::io::{DataReader, Scan, SystemColumns};
    use crate::record::{Clock, DataType};

    /// The end of a pipe that gives these bytes.
    fn pipe(text: &'static str) -> File {
        let (reader, mut writer) = io::pipe().unwrap();
        std::thread::spawn(move || writer.write_all(text.as_bytes()));
        File::from(OwnedFd::from(reader))
    }

    #[test]
    fn standard_input_keeps_the_contract_of_a_stream() {
        let json = "{\"line\":\"a\"}\n\nbroken\n{\"line\":\"b\"}\n{\"line\":\"ccc\"}";
        let csv = "line\na\n\"b\nb\"\n\"broken\n";
        let array = "[{\"line\":\"a\"},\n{broken},\n{\"line\":\"b\"}]\n";
        for (text, options) in [
            (json, &[("format", "json")][..]),
            (csv, &[("format", "csv")]),
            (array, &[("format", "json"), ("framing", "array")]),
            ("", &[("format", "json")]),
        ] {
            let options = Options::new(options.iter().copied());
            let mut open = || -> Box<dyn DataReader> {
                let columns =
                    [ColumnDef { name: "line".into(), data_type: DataType::Varchar, not_null: false }];
                let request =
                    SourceRequest { name: "in", columns: &columns, options: &options, clock: &Clock::System };
                let source = read_from(pipe(text), &request).unwrap();
                let scan = Scan {
                    schema: source.schema(),
                    system: SystemColumns::default(),
                    clock: None,
                    kept: false,
                };
                source.open(&scan).unwrap()
            };
            check_stream(&mut open).unwrap_or_else(|e| panic!("{text:?}: {e}"));
        }
    }

    #[test]
    fn standard_output_keeps_the_contract() {
        let records: Vec<_> = (0..9).map(|i| record(&format!("line {i}"))).collect();
        for options in [&[("format", "json")][..], &[("format", "csv")], &[("compression", "gzip")]] {
            let options = Options::new(options.iter().copied());
            let file = tempfile::tempfile().unwrap();
            let copy = file.try_clone().unwrap();
            let request = SinkRequest { name: "out", options: &options, sets: &[] };
            let format = format_of(&STDOUT, "out", &options, Some("json")).unwrap();
            let compression = compression(&Typed { options: request.options, specs: OPTIONS }).unwrap();
            let sink = Stdout {
                descriptor: Box::new(move || copy_of(&copy, "the test's file")),
                compression,
                encoder: encoder_of(format),
            };
            let mut under_test = SinkUnderTest {
                schema: line_schema(),
                open: Box::new(|start| {
                    file.set_len(0).unwrap();
                    (&file).rewind().unwrap();
                    sink.open(line_schema(), start)
                }),
                content: Box::new(|| {
                    let mut bytes = Vec::new();
                    let mut again = file.try_clone().unwrap();
                    again.rewind().unwrap();
                    compression.reader(again).unwrap().read_to_end(&mut bytes).unwrap();
                    bytes
                }),
            };
            check_writer(&mut under_test, &records).unwrap();
            let mut writer = (under_test.open)(&SinkStart::Fresh).unwrap();
            writer.write(&records).unwrap();
            writer.finish().unwrap();
            let text = String::from_utf8((under_test.content)()).unwrap();
            assert!(text.contains("line 8"), "{text}");
        }
    }
}
