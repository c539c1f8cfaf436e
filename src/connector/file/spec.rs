//! `connector = 'file'`: its options, and how they become a source or sink.

use std::path::Path;
use std::sync::Arc;

use super::compression::Compression;
use super::input::OpenInput;
use super::natural::resolve;
use super::parts::Rotation;
use super::sink::{FileLayout, FileMode, FileSink};
use super::source::{FileSource, FileSourceConfig};
use super::stream::StreamSource;
use crate::catalog::{OptionKind, OptionSpec};
use crate::codec::Format;
use crate::connector::formats::{decoder_of, encoder_of, format_of, max_record_bytes};
use crate::connector::registry::{ConnectorSpec, SinkRequest, SourceRequest, Typed, declared_schema};
use crate::connector::sample::infer_files;
use crate::io::{DataSink, DataSource, IoError};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::required(
        "path",
        OptionKind::Text,
        "a file; a source also takes a directory or a pattern with * ? [a-z] **; a sink also {column} and %Y %m %d %H of the row",
    ),
    OptionSpec::new(
        "compression",
        OptionKind::OneOf(&["auto", "none", "gzip", "zstd"]),
        "auto",
        "auto: by extension (.gz, .zst)",
    ),
    OptionSpec::new(
        "follow",
        OptionKind::Bool,
        "false",
        "sources: go on after the end: files grow, are rotated, and new ones appear",
    ),
    OptionSpec::new(
        "poll_interval",
        OptionKind::Duration,
        "100ms",
        "following: time between two looks at files that have nothing new; shorter = sooner, more system calls",
    ),
    OptionSpec::new(
        "rotate_wait",
        OptionKind::Duration,
        "1s",
        "following: how long a rotated file is read on before it is taken for complete",
    ),
    OptionSpec::new(
        "mode",
        OptionKind::OneOf(&["overwrite", "append"]),
        "overwrite",
        "sinks: what happens to a file that is there when the job starts for the first time",
    ),
    OptionSpec::new(
        "layout",
        OptionKind::OneOf(&["auto", "single", "parts"]),
        "auto",
        "sinks: one file, or a directory of parts; auto: parts if the job is transactional, rotates, or has paths of the row",
    ),
    OptionSpec::new(
        "rotate_size",
        OptionKind::Bytes,
        "",
        "sinks: a part grows over commits until it has this size; larger = fewer files, in transactional jobs seen later",
    ),
    OptionSpec::new(
        "rotate_interval",
        OptionKind::Duration,
        "",
        "sinks: a part grows over commits until it is this old; longer = fewer files, in transactional jobs seen later",
    ),
    OptionSpec::new(
        "max_open_files",
        OptionKind::Int { min: 1, max: 100_000 },
        "100",
        "sinks: open files where the path is the row's; beyond, the one idle longest is ended; each takes 64 KiB or more",
    ),
];

pub(crate) const SPEC: ConnectorSpec = ConnectorSpec {
    name: "file",
    doc: "files, plain or compressed; several are read as one stream in natural name order",
    options: OPTIONS,
    free_prefix: "",
    has_format: true,
    source: Some(source),
    sink: Some(sink),
};

/// The format that a path promises: by extension, for a directory by that of its first file.
pub(crate) fn format_for_path(path: &str) -> Option<&'static str> {
    Format::for_path(path).or_else(|| {
        let files = if Path::new(path).is_file() { Vec::new() } else { resolve(path).ok()? };
        Format::for_path(&files.first()?.to_string_lossy())
    })
}

fn path_and_compression(options: &Typed<'_>) -> Result<(String, Option<Compression>), IoError> {
    let path = options.text("path")?.filter(|p| !p.is_empty());
    let path = path.ok_or_else(|| IoError::config("connector 'file' needs the option 'path'"))?;
    let compression = options.text("compression")?.and_then(|word| Compression::of_option(&word));
    Ok((path, compression))
}

fn source(request: &SourceRequest<'_>) -> Result<Arc<dyn DataSource>, IoError> {
    let options = Typed { options: request.options, specs: OPTIONS };
    let (path, compression) = path_and_compression(&options)?;
    // That there is no such file says more than that its name tells no format.
    let format =
        format_of(&SPEC, request.name, request.options, None).or_else(|e| resolve(&path).and(Err(e)))?;
    let follow = options.flag("follow")?;
    for key in ["poll_interval", "rotate_wait"] {
        if !follow && request.options.get(key).is_some() {
            return Err(IoError::config(format!("option '{key}' means nothing without follow = 'true'")));
        }
    }
    let default = FileSourceConfig::new(path);
    let config = FileSourceConfig {
        compression,
        max_record_bytes: max_record_bytes(&format, request.options)?,
        follow,
        poll_interval: options.duration("poll_interval")?.unwrap_or(default.poll_interval),
        rotate_wait: options.duration("rotate_wait")?.unwrap_or(default.rotate_wait),
        clock: request.clock.clone(),
        ..default
    };
    if !request.columns.is_empty() {
        let schema = declared_schema(request.columns);
        let decoder = decoder_of(format, &schema);
        return Ok(Arc::new(FileSource::new(config, schema, decoder)));
    }
    let files = resolve(&config.path)?;
    if let [file] = files.as_slice() {
        let input = OpenInput::open(file, config.compression_of(file))?;
        if input.is_pipe() && !follow {
            return Ok(Arc::new(StreamSource::new(config, input, format, request)?));
        }
    }
    let inferred = infer_files(&files, &config, &format, request)?;
    let decoder = decoder_of(inferred.format, &inferred.schema);
    Ok(Arc::new(FileSource::new(config, inferred.schema, decoder)))
}

fn sink(request: &SinkRequest<'_>) -> Result<Arc<dyn DataSink>, IoError> {
    let options = Typed { options: request.options, specs: OPTIONS };
    let (path, compression) = path_and_compression(&options)?;
    let layout = match options.text("layout")?.as_deref() {
        Some("single") => FileLayout::Single,
        Some("parts") => FileLayout::Parts,
        _ => FileLayout::Auto,
    };
    let mode = match options.text("mode")?.as_deref() {
        Some("append") => FileMode::Append,
        _ => FileMode::Overwrite,
    };
    let format = format_of(&SPEC, request.name, request.options, None)?;
    let mut extension = match format.spec().name {
        "json" | "debezium-json" => ".jsonl".to_owned(),
        _ => format.spec().extensions.first().map(|e| format!(".{e}")).unwrap_or_default(),
    };
    let compression = compression.unwrap_or_else(|| Compression::of_path(Path::new(&path)));
    extension.push_str(compression.extension());
    let rotation =
        Rotation { size: options.bytes("rotate_size")?, interval: options.duration("rotate_interval")? };
    let sink = FileSink::new(path.as_str(), mode, Some(compression), encoder_of(format)).by_row()?;
    let sink = sink.with_layout(layout, extension).with_rotation(rotation);
    if layout == FileLayout::Single && sink.has_parts() {
        return Err(IoError::config(format!(
            "'{path}' has layout = 'single', but one file can't be rotated, nor its path depend on the row: leave layout out, which \
             makes it a directory of part files"
        )));
    }
    let files = options.int("max_open_files")?.and_then(|n| usize::try_from(n).ok());
    Ok(Arc::new(match files {
        Some(files) => sink.with_max_open(files),
        None => sink,
    }))
}
