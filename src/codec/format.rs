//! The registry of formats: what `format = '…'` and a file's extension can mean.

use std::sync::Arc;

use super::csv::{self, CsvDecoder, CsvEncoder, CsvOptions, HeaderMode};
use super::infer::Hinting;
use super::json::{self, DebeziumEncoder, JsonDecoder, JsonEncoder, JsonOptions, Layout, UpsertEncoder};
use super::raw::{RawDecoder, RawEncoder};
use super::text::{self, TextDecoder, TextEncoder, TextOptions};
use super::{Decoder, Encoder};
use crate::catalog::{OptionError, OptionSpec, Options, nearest};
use crate::record::{CompactString, DataType, Schema};

/// One format, as listed in the reference and matched by name.
#[derive(Debug)]
pub struct FormatSpec {
    /// Its name in `format = '…'`.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// File extensions, without the dot.
    pub extensions: &'static [&'static str],
    /// One line.
    pub doc: &'static str,
    /// Options of its own.
    pub options: &'static [OptionSpec],
    /// A source can have it.
    pub can_decode: bool,
    /// A sink can have it.
    pub can_encode: bool,
    make: fn(&Options) -> Result<Kind, OptionError>,
}

impl PartialEq for FormatSpec {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// All formats.
pub static FORMATS: &[FormatSpec] = &[
    FormatSpec {
        name: "json",
        aliases: &["ndjson", "jsonl"],
        extensions: &["json", "jsonl", "ndjson"],
        doc: "one JSON object a line, or one array of objects",
        options: json::OPTIONS,
        can_decode: true,
        can_encode: true,
        make: |options| JsonOptions::from_options(options).map(Kind::Json),
    },
    FormatSpec {
        name: "debezium-json",
        aliases: &[],
        extensions: &[],
        doc: "sinks: {\"before\":…,\"after\":…,\"op\":\"c|u|d\"} a line, for rows that change",
        options: json::CHANGELOG_OPTIONS,
        can_decode: false,
        can_encode: true,
        make: |options| JsonOptions::from_options(options).map(Kind::Debezium),
    },
    FormatSpec {
        name: "csv",
        aliases: &[],
        extensions: &["csv"],
        doc: "comma-separated values (RFC 4180), first line perhaps a header",
        options: csv::OPTIONS,
        can_decode: true,
        can_encode: true,
        make: |options| CsvOptions::new(options).map(Kind::Csv),
    },
    FormatSpec {
        name: "tsv",
        aliases: &[],
        extensions: &["tsv", "tab"],
        doc: "the same with tabs",
        options: csv::OPTIONS,
        can_decode: true,
        can_encode: true,
        make: |options| {
            let mut checked = CsvOptions::new(options)?;
            checked.delimiter = checked.delimiter.or(Some(b'\t'));
            Ok(Kind::Csv(checked))
        },
    },
    FormatSpec {
        name: "text",
        aliases: &["lines"],
        extensions: &["txt", "log"],
        doc: "one line a record, in one VARCHAR or BYTES column",
        options: text::OPTIONS,
        can_decode: true,
        can_encode: true,
        make: |options| TextOptions::from_options(options).map(Kind::Text),
    },
    FormatSpec {
        name: "raw",
        aliases: &["bytes"],
        extensions: &[],
        doc: "a whole file is one record, in one VARCHAR or BYTES column",
        options: text::OPTIONS,
        can_decode: true,
        can_encode: true,
        make: |options| TextOptions::from_options(options).map(Kind::Raw),
    },
];

/// Extensions of compressed files, stripped before the format's.
const COMPRESSIONS: [&str; 4] = ["gz", "zst", "gzip", "zstd"];

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Csv(CsvOptions),
    Json(JsonOptions),
    Debezium(JsonOptions),
    Text(TextOptions),
    Raw(TextOptions),
}

/// A format with its checked options.
///
/// ```
/// use millstream::catalog::Options;
/// use millstream::codec::Format;
/// assert_eq!(Format::for_path("data/flights.csv.gz"), Some("csv"));
/// let error = Format::new("cvs", &Options::default()).unwrap_err();
/// assert_eq!(error.message, "there is no format 'cvs'; did you mean csv or tsv?");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Format {
    spec: &'static FormatSpec,
    pub(super) kind: Kind,
    /// The columns that it will read were inferred.
    inferred: bool,
}

impl Format {
    /// The format called `name`, without case; options that are not its own are left alone.
    ///
    /// # Errors
    /// An unknown name (the message lists the nearest), or a value that does not fit its option.
    pub fn new(name: &str, options: &Options) -> Result<Self, OptionError> {
        let spec = Self::spec_of(name)?;
        Ok(Self { spec, kind: (spec.make)(options)?, inferred: false })
    }

    /// The description of the format called `name`.
    ///
    /// # Errors
    /// An unknown name; the message lists the nearest.
    pub fn spec_of(name: &str) -> Result<&'static FormatSpec, OptionError> {
        let all =
            || FORMATS.iter().flat_map(|f| std::iter::once(&f.name).chain(f.aliases).map(move |n| (*n, f)));
        if let Some((_, spec)) = all().find(|(n, _)| n.eq_ignore_ascii_case(name.trim())) {
            return Ok(spec);
        }
        let near = nearest(name, all().map(|(n, _)| n));
        let hint = if near.is_empty() {
            format!("known are {}", all().map(|(n, _)| n).collect::<Vec<_>>().join(", "))
        } else {
            format!("did you mean {}?", near.join(" or "))
        };
        Err(OptionError { name: "format".into(), message: format!("there is no format '{name}'; {hint}") })
    }

    /// The name of the format that a file's name promises: by its extension, that of a compression stripped.
    pub fn for_path(path: &str) -> Option<&'static str> {
        let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
        let mut parts = file.rsplit('.');
        let mut extension = parts.next()?;
        if COMPRESSIONS.iter().any(|c| c.eq_ignore_ascii_case(extension)) {
            extension = parts.next()?;
        }
        // What stands before the first dot is no extension.
        parts.next().filter(|stem| !stem.is_empty())?;
        let spec = FORMATS.iter().find(|f| f.extensions.iter().any(|e| e.eq_ignore_ascii_case(extension)))?;
        Some(spec.name)
    }

    /// Whether rows that change can be written: not where every record is a new row.
    pub fn takes_changes(&self) -> bool {
        match &self.kind {
            Kind::Debezium(_) => true,
            Kind::Json(options) => options.upsert_key.is_some(),
            Kind::Csv(_) | Kind::Text(_) | Kind::Raw(_) => false,
        }
    }

    /// The same format for messages: each input is one record, whatever line feeds it holds, and there is no header.
    ///
    /// # Errors
    /// Options that ask for something else.
    pub fn for_messages(self) -> Result<Self, OptionError> {
        let no = |name: &str, what: &str| {
            let message = format!("a message is one record: {what} can't be asked for");
            Err(OptionError { name: name.into(), message })
        };
        let kind = match self.kind {
            Kind::Json(JsonOptions { layout: Layout::Array, .. }) => {
                return no("framing", "framing = 'array'");
            }
            Kind::Json(options) => Kind::Json(JsonOptions { layout: Layout::Whole, ..options }),
            Kind::Csv(options) if options.header == HeaderMode::Present => {
                return no("header", "header = 'true'");
            }
            Kind::Csv(options) if options.skip_lines > 0 => return no("skip_lines", "skip_lines"),
            Kind::Csv(options) => Kind::Csv(CsvOptions { header: HeaderMode::Absent, ..options }),
            Kind::Text(options) | Kind::Raw(options) => Kind::Raw(options),
            kind @ Kind::Debezium(_) => kind,
        };
        Ok(Self { kind, ..self })
    }
    /// Its description.
    pub fn spec(&self) -> &'static FormatSpec {
        self.spec
    }

    /// A decoder of `wanted` columns, in that order. `declared` are the names of all columns in declared order, the wanted
    /// ones among them: CSV without a header needs to know where they stand.
    ///
    /// # Errors
    /// A format that can't be read, or a column type that it can't hold.
    pub fn decoder(
        &self,
        wanted: &Arc<Schema>,
        declared: &[CompactString],
    ) -> Result<Box<dyn Decoder>, OptionError> {
        let decoder: Box<dyn Decoder> = match &self.kind {
            Kind::Csv(options) => Box::new(CsvDecoder::new(wanted.clone(), Some(declared), options.clone())?),
            Kind::Json(options) => {
                // Only the names count.
                let declared = Schema::of(declared.iter().map(|name| (name, DataType::Null)));
                Box::new(JsonDecoder::new(wanted.clone(), options.clone()).with_declared(&declared))
            }
            Kind::Debezium(_) => {
                let message = "format 'debezium-json' can be written, not read".into();
                return Err(OptionError { name: "format".into(), message });
            }
            Kind::Text(options) => Box::new(TextDecoder::new(wanted.clone(), declared, *options)?),
            Kind::Raw(options) => Box::new(RawDecoder::new(wanted.clone(), declared, *options)?),
        };
        Ok(if self.inferred { Box::new(Hinting(decoder)) } else { decoder })
    }

    /// The same format as inference completed it.
    pub(super) fn inferred(self, kind: Kind) -> Self {
        Self { kind, inferred: true, ..self }
    }

    /// An encoder of records of that shape.
    ///
    /// # Errors
    /// A format that can't be written, or a column type that it can't hold.
    pub fn encoder(&self, schema: &Arc<Schema>) -> Result<Box<dyn Encoder>, OptionError> {
        match &self.kind {
            Kind::Csv(options) => Ok(Box::new(CsvEncoder::new(schema.clone(), options)?)),
            Kind::Json(JsonOptions { upsert_key: Some(_), layout: Layout::Array, .. }) => {
                let message = "changelog = 'upsert' is written as lines, not as an array".into();
                Err(OptionError { name: "changelog".into(), message })
            }
            Kind::Json(options @ JsonOptions { upsert_key: Some(key), .. }) => {
                Ok(Box::new(UpsertEncoder::new(schema.clone(), options.clone(), key)?))
            }
            Kind::Debezium(options) => Ok(Box::new(DebeziumEncoder::new(schema.clone(), options.clone()))),
            Kind::Json(options) => Ok(Box::new(JsonEncoder::new(schema.clone(), options.clone()))),
            Kind::Text(_) => Ok(Box::new(TextEncoder::new(schema)?)),
            Kind::Raw(_) => Ok(Box::new(RawEncoder::new(schema)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_tell_the_format() {
        for (path, name) in [
            ("flights.csv", Some("csv")),
            ("a.b/flights.CSV.GZ", Some("csv")),
            ("x.tsv.zst", Some("tsv")),
            ("csv", None),
            (".csv", None),
            ("x.csv.bak", None),
            ("x.gz", None),
            ("dir.csv/x", None),
        ] {
            assert_eq!(Format::for_path(path), name, "{path}");
        }
    }

    #[test]
    fn every_format_is_found_by_all_its_names_and_makes_what_it_says() {
        let schema = Schema::of([("a", DataType::Varchar)]);
        for spec in FORMATS {
            for name in std::iter::once(&spec.name).chain(spec.aliases) {
                let format = Format::new(&name.to_uppercase(), &Options::default()).unwrap();
                assert_eq!(format.spec(), spec);
                assert_eq!(format.decoder(&schema, &["a".into()]).is_ok(), spec.can_decode, "{name}");
                assert_eq!(format.encoder(&schema).is_ok(), spec.can_encode, "{name}");
            }
            for extension in spec.extensions {
                assert_eq!(Format::for_path(&format!("x.{extension}")), Some(spec.name));
            }
            for option in spec.options {
                assert!(option.default.is_empty() || option.parse(option.default).is_ok(), "{}", option.name);
                assert!(!option.doc.is_empty() && option.doc.len() <= 120, "{}", option.name);
            }
        }
    }

    #[test]
    fn a_format_that_does_not_exist_is_an_error() {
        let e = Format::new("parquet", &Options::default()).unwrap_err();
        assert!(e.message.starts_with("there is no format 'parquet'; known are "), "{e}");
        assert!(Format::new("tsv", &Options::new([("quote", "''")])).is_err());
    }
}
