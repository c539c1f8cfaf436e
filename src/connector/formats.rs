//! From options to the codec that a connector needs.

use std::sync::Arc;

use super::registry::{ConnectorSpec, FORMAT, config};
use super::{MakeDecoder, MakeEncoder};
use crate::catalog::{OptionValue, Options};
use crate::codec::{FORMATS, Format};
use crate::io::{IoError, Scan};
use crate::record::{CompactString, Schema};

/// The format that options ask for, or `default`.
///
/// # Errors
/// An unknown format, wrong options of it, or none at all.
pub(crate) fn format_of(
    spec: &ConnectorSpec,
    relation: &str,
    options: &Options,
    default: Option<&'static str>,
) -> Result<Format, IoError> {
    let name = spec.format_of(options).map_err(config)?.map(|f| f.name).or(default);
    let Some(name) = name else {
        let known: Vec<_> = FORMATS.iter().map(|f| f.name).collect();
        let add = format!("add {} = '…', one of {}", FORMAT.name, known.join(", "));
        return Err(IoError::config(match options.get("path") {
            Some(path) if path == relation => format!(
                "can't tell the format of '{path}': read it by read_json('{path}'), read_csv('{path}') or read_text('{path}')"
            ),
            Some(path) => format!("can't tell the format of '{relation}' from its path '{path}': {add}"),
            None => format!("can't tell the format of '{relation}': {add}"),
        }));
    };
    Format::new(name, options).map_err(config)
}

/// The option `max_record_bytes` of a format; without one, 1 MiB.
pub(crate) fn max_record_bytes(format: &Format, options: &Options) -> Result<usize, IoError> {
    let spec = format.spec().options.iter().find(|s| s.name == "max_record_bytes");
    match spec.map(|s| options.value(s)).transpose().map_err(config)?.flatten() {
        Some(OptionValue::Bytes(n)) => Ok(usize::try_from(n).unwrap_or(usize::MAX)),
        _ => Ok(1 << 20),
    }
}

/// Makes decoders of `format`; `schema` is all columns.
pub(crate) fn decoder_of(format: Format, schema: &Arc<Schema>) -> MakeDecoder {
    let declared: Vec<CompactString> = schema.fields().iter().map(|f| f.name.clone()).collect();
    Arc::new(move |scan: &Scan| format.decoder(&scan.schema, &declared).map_err(config))
}

/// Makes encoders of `format`.
pub(crate) fn encoder_of(format: Format) -> MakeEncoder {
    Arc::new(move |schema: &Arc<Schema>| format.encoder(schema).map_err(config))
}
