//! The registry: which connectors there are, which options they take, and how a declaration becomes a source or sink.

use std::sync::Arc;

use super::{blackhole, file, generator, kafka, stdio};
use crate::catalog::{ColumnDef, OptionError, OptionKind, OptionSpec, OptionValue, Options, nearest};
use crate::codec::{Format, FormatSpec};
use crate::io::{DataSink, DataSource, IoError};
use crate::record::{Clock, Field, Schema};

/// What is wanted of a connector that shall be read.
pub struct SourceRequest<'a> {
    /// Name of the relation, for messages.
    pub name: &'a str,
    /// Declared columns; none = the connector knows or infers them.
    pub columns: &'a [ColumnDef],
    /// The WITH options, checked.
    pub options: &'a Options,
    /// The job's clock.
    pub clock: &'a Clock,
}

/// What is wanted of a connector that shall be written.
pub struct SinkRequest<'a> {
    /// Name of the relation, for messages.
    pub name: &'a str,
    /// The WITH options, checked.
    pub options: &'a Options,
    /// System columns that the query sets for its rows: `AS _key`.
    pub sets: &'a [&'a str],
}

/// Makes a source.
pub type MakeSource = fn(&SourceRequest<'_>) -> Result<Arc<dyn DataSource>, IoError>;
/// Makes a sink.
pub type MakeSink = fn(&SinkRequest<'_>) -> Result<Arc<dyn DataSink>, IoError>;

/// One connector, as listed in the reference and matched by `connector = '…'`.
#[derive(Clone, Copy)]
pub struct ConnectorSpec {
    /// Its name.
    pub name: &'static str,
    /// One line.
    pub doc: &'static str,
    /// Its own options, for reading and writing.
    pub options: &'static [OptionSpec],
    /// Options named `<prefix>…` that the connector itself checks; empty = none.
    pub free_prefix: &'static str,
    /// It moves bytes: takes `format` and the format's options.
    pub has_format: bool,
    /// Reads.
    pub source: Option<MakeSource>,
    /// Writes.
    pub sink: Option<MakeSink>,
}

/// Whether a relation is read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Read.
    Source,
    /// Written.
    Sink,
}

/// Which connector a relation uses.
pub const CONNECTOR: OptionSpec = OptionSpec::new(
    "connector",
    OptionKind::Text,
    "",
    "what is read or written; may be left out with 'path'",
);

/// The format of what is read or written.
pub const FORMAT: OptionSpec =
    OptionSpec::new("format", OptionKind::Text, "", "format of the content; without it, by file extension");

/// Options of every source, read by the runtime.
pub const SOURCE_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "on_error",
        OptionKind::OneOf(&["fail", "skip", "dlq", "retry"]),
        "fail",
        "what becomes of records that can't be decoded",
    ),
    OptionSpec::new("dlq", OptionKind::Text, "", "dead letters: 'path.jsonl' or the name of a stream"),
    OptionSpec::new(
        "max_errors",
        OptionKind::Int { min: 0, max: i64::MAX },
        "",
        "failed records after which the job fails whatever on_error says",
    ),
    OptionSpec::new(
        "max_error_ratio",
        OptionKind::Float { min: 0.0, max: 1.0 },
        "",
        "share of failed records above which the job fails whatever on_error says",
    ),
];

/// Options of every source that infers its columns.
pub const SAMPLE_OPTIONS: &[OptionSpec] = &[OptionSpec::new(
    "sample_rows",
    OptionKind::Int { min: -1, max: i64::MAX },
    "10000",
    "rows looked at to infer columns and types; -1 = all: slower, and sure",
)];

/// The connectors of an engine.
#[derive(Clone)]
pub struct Connectors {
    specs: Vec<ConnectorSpec>,
}

impl Default for Connectors {
    fn default() -> Self {
        Self::builtin()
    }
}

impl Connectors {
    /// The connectors that come with the crate.
    pub fn builtin() -> Self {
        Self {
            specs: vec![
                file::SPEC,
                stdio::STDIN,
                stdio::STDOUT,
                kafka::SPEC,
                generator::SPEC,
                blackhole::SPEC,
            ],
        }
    }

    /// Adds a connector; one of the same name is replaced.
    pub fn register(&mut self, spec: ConnectorSpec) {
        self.specs.retain(|s| !s.name.eq_ignore_ascii_case(spec.name));
        self.specs.push(spec);
    }

    /// All, in the order of the reference.
    pub fn iter(&self) -> impl Iterator<Item = &ConnectorSpec> {
        self.specs.iter()
    }

    /// The connector called `name`.
    ///
    /// # Errors
    /// An unknown name; the message lists the nearest.
    pub fn find(&self, name: &str) -> Result<&ConnectorSpec, OptionError> {
        if let Some(spec) = self.iter().find(|s| s.name.eq_ignore_ascii_case(name.trim())) {
            return Ok(spec);
        }
        let near = nearest(name, self.iter().map(|s| s.name));
        let hint = match near.as_slice() {
            [] => format!("known are {}", self.names().join(", ")),
            near => format!("did you mean {}?", near.join(" or ")),
        };
        Err(option_error("connector", format!("there is no connector '{name}'; {hint}")))
    }

    fn names(&self) -> Vec<&'static str> {
        self.iter().map(|s| s.name).collect()
    }

    /// The connector that options ask for: by `connector`, or `file` if there is a `path`.
    ///
    /// # Errors
    /// An unknown connector, or none.
    pub fn of_options(&self, options: &Options) -> Result<&ConnectorSpec, OptionError> {
        match options.get(CONNECTOR.name) {
            Some(name) => self.find(name),
            None if options.get("path").is_some() => self.find("file"),
            None => Err(option_error(
                "connector",
                format!("the option 'connector' is missing; known are {}", self.names().join(", ")),
            )),
        }
    }

    /// Checks the WITH options of a declaration: names, types, required ones, the format. `others` are further options
    /// that the caller knows (watermarks, delivery). Nothing is ignored: what no layer knows is an error.
    ///
    /// # Errors
    /// The first option that is unknown (with the nearest names), missing or ill-typed.
    pub fn check(&self, options: &Options, others: &[OptionSpec]) -> Result<&ConnectorSpec, OptionError> {
        let spec = self.of_options(options)?;
        let format = spec.format_of(options)?;
        let of_format = format.map_or_else(Vec::new, |f| spec.format_options(f));
        let mut layers: Vec<&[OptionSpec]> = vec![&[CONNECTOR], spec.options, others];
        if spec.has_format {
            layers.push(&[FORMAT]);
            layers.push(&of_format);
        }
        if spec.source.is_some() {
            layers.push(SOURCE_OPTIONS);
            if spec.has_format {
                layers.push(SAMPLE_OPTIONS);
            }
        }
        let what = match format {
            Some(f) => format!("connector '{}' with format '{}'", spec.name, f.name),
            None => format!("connector '{}'", spec.name),
        };
        if let Some((name, why)) = options.iter().find_map(|(n, _)| Some((n, spec.later(n)?))) {
            return Err(option_error(name, format!("'{name}': {why}")));
        }
        let named = options.iter().filter(|(name, _)| !spec.is_free(name));
        Options::new(named).check(&what, &layers)?;
        Ok(spec)
    }

    /// Makes the source that a declaration describes.
    ///
    /// # Errors
    /// Options that [`check`](Self::check) refuses, a connector that can't be read, or a source that is not there.
    pub fn source(&self, request: &SourceRequest<'_>) -> Result<Arc<dyn DataSource>, IoError> {
        let spec = self.of_options(request.options).map_err(config)?;
        match spec.source {
            Some(make) => make(request),
            None => Err(self.cannot(spec, request.name, Role::Source)),
        }
    }

    /// Makes the sink that a declaration describes.
    ///
    /// # Errors
    /// Options that [`check`](Self::check) refuses, a connector that can't be written, or wrong options.
    pub fn sink(&self, request: &SinkRequest<'_>) -> Result<Arc<dyn DataSink>, IoError> {
        let spec = self.of_options(request.options).map_err(config)?;
        match spec.sink {
            Some(make) => make(request),
            None => Err(self.cannot(spec, request.name, Role::Sink)),
        }
    }

    fn cannot(&self, spec: &ConnectorSpec, relation: &str, role: Role) -> IoError {
        let able = |s: &&ConnectorSpec| match role {
            Role::Source => s.source.is_some(),
            Role::Sink => s.sink.is_some(),
        };
        let names: Vec<_> = self.iter().filter(able).map(|s| s.name).collect();
        let verb = match role {
            Role::Source => "read",
            Role::Sink => "written",
        };
        IoError::config(format!(
            "'{relation}' can't be {verb}: its connector '{}' can't; these can: {}",
            spec.name,
            names.join(", ")
        ))
    }
}

impl ConnectorSpec {
    /// Why an option of that name is not there yet.
    fn later(&self, option: &str) -> Option<&'static str> {
        (self.name == kafka::SPEC.name).then(|| kafka::later(option)).flatten()
    }

    fn is_free(&self, option: &str) -> bool {
        !self.free_prefix.is_empty() && option.starts_with(self.free_prefix)
    }

    /// The options of a format under this connector: one that the connector has too is the connector's.
    fn format_options(&self, format: &FormatSpec) -> Vec<OptionSpec> {
        let own = |name: &str| self.options.iter().any(|o| o.name == name);
        format.options.iter().filter(|o| !own(o.name)).copied().collect()
    }

    /// The format that options ask for: by `format`, or by the extension of `path`. `None` if the connector has none
    /// or nothing tells it.
    ///
    /// # Errors
    /// An unknown format.
    pub fn format_of(&self, options: &Options) -> Result<Option<&'static FormatSpec>, OptionError> {
        if !self.has_format {
            return Ok(None);
        }
        let by_path = || options.get("path").and_then(file::format_for_path);
        options.get(FORMAT.name).or_else(by_path).map(Format::spec_of).transpose()
    }
}

pub(crate) fn option_error(name: &str, message: String) -> OptionError {
    OptionError { name: name.into(), message }
}

/// An option that is wrong, as the error of a source or sink.
pub(crate) fn config(error: OptionError) -> IoError {
    IoError::config(error.message)
}

/// The declared columns as a schema.
pub(crate) fn declared_schema(columns: &[ColumnDef]) -> Arc<Schema> {
    Schema::new(columns.iter().map(|c| {
        let field = Field::new(&c.name, c.data_type.clone());
        if c.not_null { field.not_null() } else { field }
    }))
}

/// Typed access to options by name, for connectors.
pub(crate) struct Typed<'a> {
    pub(crate) options: &'a Options,
    pub(crate) specs: &'static [OptionSpec],
}

impl Typed<'_> {
    pub(crate) fn value(&self, name: &str) -> Result<Option<OptionValue>, IoError> {
        match self.specs.iter().find(|s| s.name == name) {
            Some(spec) => self.options.value(spec).map_err(config),
            None => Ok(None),
        }
    }
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, IoError> {
        Ok(self.value(name)?.and_then(|v| match v {
            OptionValue::Text(t) => Some(t),
            _ => None,
        }))
    }
    pub(crate) fn flag(&self, name: &str) -> Result<bool, IoError> {
        Ok(matches!(self.value(name)?, Some(OptionValue::Bool(true))))
    }
    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>, IoError> {
        Ok(self.value(name)?.and_then(|v| match v {
            OptionValue::Int(n) => Some(n),
            _ => None,
        }))
    }
    pub(crate) fn float(&self, name: &str) -> Result<Option<f64>, IoError> {
        Ok(self.value(name)?.and_then(|v| match v {
            OptionValue::Float(n) => Some(n),
            _ => None,
        }))
    }
    pub(crate) fn bytes(&self, name: &str) -> Result<Option<u64>, IoError> {
        Ok(self.value(name)?.and_then(|v| match v {
            OptionValue::Bytes(n) => Some(n),
            _ => None,
        }))
    }
    pub(crate) fn duration(&self, name: &str) -> Result<Option<std::time::Duration>, IoError> {
        Ok(self.value(name)?.and_then(|v| match v {
            OptionValue::Duration(d) => Some(d),
            _ => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SystemColumns;
    use crate::io::contract::{Item, Limits, read_all};
    use crate::io::{Scan, SinkStart};
    use crate::record::DataType;

    fn check(options: &[(&str, &str)]) -> Result<&'static str, String> {
        let connectors = Connectors::builtin();
        let options = Options::new(options.iter().copied());
        connectors.check(&options, &[]).map(|s| s.name).map_err(|e| e.message)
    }

    #[test]
    fn the_connector_is_named_or_told_by_a_path() {
        assert_eq!(check(&[("connector", "FILE"), ("path", "a.csv")]), Ok("file"));
        assert_eq!(check(&[("path", "a.csv")]), Ok("file"));
        assert_eq!(check(&[("connector", "blackhole")]), Ok("blackhole"));
        let e = check(&[("connector", "flie"), ("path", "a.csv")]).unwrap_err();
        assert_eq!(e, "there is no connector 'flie'; did you mean file?");
        assert!(check(&[("connector", "kinesis")]).unwrap_err().contains("known are file, stdin"));
        assert!(check(&[("format", "csv")]).unwrap_err().contains("'connector' is missing"));
    }

    #[test]
    fn no_option_is_ignored() {
        assert!(check(&[("connector", "file")]).unwrap_err().contains("needs the option 'path'"));
        let e = check(&[("path", "a.csv"), ("delimeter", ";")]).unwrap_err();
        assert_eq!(
            e,
            "connector 'file' with format 'csv' has no option 'delimeter'; did you mean delimiter?"
        );
        assert_eq!(check(&[("path", "a.csv"), ("delimiter", ";"), ("on_error", "skip")]), Ok("file"));
        assert!(check(&[("path", "a.csv"), ("on_error", "panic")]).unwrap_err().contains("one of fail"));
        assert!(check(&[("path", "a"), ("format", "cvs")]).unwrap_err().contains("did you mean csv"));
        assert!(check(&[("connector", "blackhole"), ("format", "csv")]).is_err());
    }

    #[test]
    fn every_option_of_every_connector_is_documented_and_has_a_valid_default() {
        for spec in Connectors::builtin().iter() {
            assert!(spec.source.is_some() || spec.sink.is_some());
            for option in spec.options.iter().chain(SOURCE_OPTIONS).chain(SAMPLE_OPTIONS) {
                assert!(option.default.is_empty() || option.parse(option.default).is_ok(), "{}", option.name);
                assert!(!option.doc.is_empty() && option.doc.len() <= 120, "{} {}", spec.name, option.name);
            }
        }
    }

    #[test]
    fn no_two_layers_give_one_name_two_meanings() {
        for spec in Connectors::builtin().iter() {
            let common = || SOURCE_OPTIONS.iter().chain(SAMPLE_OPTIONS).chain([&CONNECTOR, &FORMAT]);
            for format in crate::codec::FORMATS {
                let of_format = spec.format_options(format);
                let mut names: Vec<_> =
                    spec.options.iter().chain(&of_format).chain(common()).map(|o| o.name).collect();
                let all = names.len();
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), all, "{} with {}", spec.name, format.name);
            }
        }
    }

    #[test]
    fn a_declaration_becomes_a_sink_and_a_source() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv").to_string_lossy().into_owned();
        let options = Options::new([("path", path)]);
        let connectors = Connectors::builtin();
        let sink = connectors.sink(&SinkRequest { name: "t", options: &options, sets: &[] }).unwrap();
        let schema = Schema::of([("id", DataType::BigInt), ("name", DataType::Varchar)]);
        let record = |id: i64, name: &str| {
            Arc::new(crate::StreamRecord::with_values(schema.clone(), [id.into(), name.into()]))
        };
        let mut writer = sink.open(schema.clone(), &SinkStart::Fresh).unwrap();
        writer.write(&[record(1, "a,b"), record(2, "two\nlines")]).unwrap();
        writer.finish().unwrap();
        let column = |name: &str, data_type| ColumnDef { name: name.into(), data_type, not_null: false };
        let columns = [column("id", DataType::BigInt), column("name", DataType::Varchar)];
        let request =
            SourceRequest { name: "t", columns: &columns, options: &options, clock: &Clock::System };
        let source = connectors.source(&request).unwrap();
        let scan = Scan {
            schema: Schema::of([("name", DataType::Varchar)]),
            system: SystemColumns::default(),
            clock: None,
            kept: false,
        };
        let items = read_all(source.open(&scan).unwrap().as_mut(), Limits::default()).unwrap();
        let names: Vec<_> = items
            .iter()
            .map(|i| match i {
                Item::Record(r) => r.values()[0].as_str().unwrap(),
                Item::Reject(_) => panic!(),
            })
            .collect();
        assert_eq!(names, ["a,b", "two\nlines"]);
    }

    #[test]
    fn what_a_connector_cannot_do_is_said() {
        let connectors = Connectors::builtin();
        let options = Options::new([("connector", "blackhole")]);
        let request = SourceRequest { name: "t", columns: &[], options: &options, clock: &Clock::System };
        let e = connectors.source(&request).err().unwrap().to_string();
        assert!(
            e.starts_with("'t' can't be read: its connector 'blackhole' can't; these can: file, stdin"),
            "{e}"
        );
        let options = Options::new([("path", "x.csv"), ("layout", "parts")]);
        let sink = connectors.sink(&SinkRequest { name: "t", options: &options, sets: &[] }).unwrap();
        let e = sink.open(Schema::new([]), &SinkStart::Fresh).err().unwrap().to_string();
        assert!(e.contains("is a directory of parts, whose names hold that of their job"), "{e}");
        assert!(sink.named("job").is_some(), "a job opens what it names");
        let options = Options::new([("path", "x.unknown")]);
        let e = connectors
            .sink(&SinkRequest { name: "t", options: &options, sets: &[] })
            .err()
            .unwrap()
            .to_string();
        assert!(e.contains("can't tell the format of 't'"), "{e}");
    }
}
