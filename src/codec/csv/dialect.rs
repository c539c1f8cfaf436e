//! The options of CSV, checked and ready to use.

use crate::catalog::{OptionError, OptionKind, OptionSpec, OptionValue, Options};
use crate::codec::{BYTES_FORMAT, BytesFormat, TIMESTAMP_FORMAT, TimestampFormat};

const MAX_RECORD_BYTES: OptionSpec = OptionSpec::new(
    "max_record_bytes",
    OptionKind::Bytes,
    "1 MiB",
    "longest record that is read; a longer one is rejected without being held in memory",
);

/// What a CSV source or sink may say in its WITH clause.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "header",
        OptionKind::OneOf(&["auto", "true", "false"]),
        "auto",
        "first line holds column names; auto: it does if it names at least half of the declared columns (sinks: true)",
    ),
    OptionSpec::new("delimiter", OptionKind::Text, "", "one character between fields; default , (tsv: tab)"),
    OptionSpec::new("quote", OptionKind::Text, "\"", "one character around fields; 'none' = no quoting"),
    OptionSpec::new(
        "escape",
        OptionKind::Text,
        "",
        "character before a quote inside quotes; default: the quote doubled",
    ),
    OptionSpec::new(
        "null_values",
        OptionKind::Text,
        "",
        "unquoted texts that mean NULL, separated by commas: 'NA,N/A'",
    ),
    OptionSpec::new(
        "empty_as_null",
        OptionKind::Bool,
        "true",
        "an unquoted empty field is NULL; false: it is the empty string",
    ),
    OptionSpec::new("trim", OptionKind::Bool, "false", "blanks and tabs around fields are dropped"),
    OptionSpec::new("comment", OptionKind::Text, "", "lines that begin with this character are skipped"),
    OptionSpec::new(
        "skip_lines",
        OptionKind::Int { min: 0, max: 1 << 20 },
        "0",
        "lines before the header to skip",
    ),
    OptionSpec::new(
        "ragged",
        OptionKind::OneOf(&["error", "pad", "truncate", "pad_truncate"]),
        "error",
        "a row with too few fields gets NULLs (pad), surplus fields are dropped (truncate), else it is rejected",
    ),
    TIMESTAMP_FORMAT,
    BYTES_FORMAT,
    MAX_RECORD_BYTES,
    OptionSpec::new("null_text", OptionKind::Text, "", "sinks: what is written for NULL"),
    OptionSpec::new("line_end", OptionKind::OneOf(&["lf", "crlf"]), "lf", "sinks: how lines end"),
];

/// Whether there is a header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderMode {
    /// The first line is a header if it names at least half of the declared columns.
    Auto,
    /// There is one.
    Present,
    /// There is none: columns stand in declared order.
    Absent,
}

/// What becomes of rows that are too short or too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RaggedRows {
    /// Missing fields are NULL; else the row is rejected.
    pub pad: bool,
    /// Surplus fields are dropped; else the row is rejected.
    pub truncate: bool,
}

/// Checked options of CSV.
#[derive(Clone, Debug, PartialEq)]
pub struct CsvOptions {
    /// Header line.
    pub header: HeaderMode,
    /// Field separator; `None`: not stated, inference looks for it.
    pub delimiter: Option<u8>,
    /// Quote; `None`: no quoting.
    pub quote: Option<u8>,
    /// Escape inside quotes; `None`: a quote is doubled.
    pub escape: Option<u8>,
    /// Unquoted texts that mean NULL in any column.
    pub null_values: Vec<String>,
    /// `NA N/A NULL null \N` mean NULL in numeric and temporal columns: set for inferred schemas.
    pub inferred: bool,
    /// An unquoted empty field is NULL.
    pub empty_as_null: bool,
    /// Blanks and tabs around fields are dropped.
    pub trim: bool,
    /// Lines that begin with it are skipped.
    pub comment: Option<u8>,
    /// Lines before the header.
    pub skip_lines: u64,
    /// Rows of another length.
    pub ragged: RaggedRows,
    /// TIMESTAMPs.
    pub timestamp_format: TimestampFormat,
    /// BYTES.
    pub bytes_format: BytesFormat,
    /// Longest record, in bytes without its line end.
    pub max_record_bytes: usize,
    /// What is written for NULL.
    pub null_text: String,
    /// Lines end in CRLF.
    pub crlf: bool,
}

impl CsvOptions {
    /// The separator between fields.
    pub fn separator(&self) -> u8 {
        self.delimiter.unwrap_or(b',')
    }

    /// Reads them from a WITH clause; names that are not CSV's are left alone.
    ///
    /// # Errors
    /// A value that does not fit, or characters that contradict each other.
    pub fn new(options: &Options) -> Result<Self, OptionError> {
        let text = |name: &str| -> Result<String, OptionError> {
            Ok(match value(options, name)? {
                Some(OptionValue::Text(t)) => t,
                _ => String::new(),
            })
        };
        let flag = |name: &str| value(options, name).map(|v| v == Some(OptionValue::Bool(true)));
        let mut checked = Self {
            header: match text("header")?.as_str() {
                "true" => HeaderMode::Present,
                "false" => HeaderMode::Absent,
                _ => HeaderMode::Auto,
            },
            delimiter: one_byte("delimiter", &text("delimiter")?)?,
            quote: match text("quote")?.as_str() {
                "none" => None,
                t => one_byte("quote", t)?,
            },
            escape: one_byte("escape", &text("escape")?)?,
            null_values: list(&text("null_values")?),
            inferred: false,
            empty_as_null: flag("empty_as_null")?,
            trim: flag("trim")?,
            comment: one_byte("comment", &text("comment")?)?,
            skip_lines: match value(options, "skip_lines")? {
                Some(OptionValue::Int(n)) => n.unsigned_abs(),
                _ => 0,
            },
            ragged: match text("ragged")?.as_str() {
                "pad" => RaggedRows { pad: true, truncate: false },
                "truncate" => RaggedRows { pad: false, truncate: true },
                "pad_truncate" => RaggedRows { pad: true, truncate: true },
                _ => RaggedRows::default(),
            },
            timestamp_format: TimestampFormat::new(&text("timestamp_format")?)?,
            bytes_format: BytesFormat::new(&text("bytes_format")?),
            max_record_bytes: match value(options, "max_record_bytes")? {
                Some(OptionValue::Bytes(n)) => usize::try_from(n).unwrap_or(usize::MAX >> 1).max(2),
                _ => 1 << 20,
            },
            null_text: text("null_text")?,
            crlf: text("line_end")? == "crlf",
        };
        if checked.escape == checked.quote {
            checked.escape = None;
        }
        checked.check_characters()?;
        Ok(checked)
    }

    fn check_characters(&self) -> Result<(), OptionError> {
        let given = [
            ("delimiter", Some(self.separator())),
            ("quote", self.quote),
            ("escape", self.escape),
            ("comment", self.comment),
        ];
        for (i, (name, byte)) in given.iter().enumerate() {
            let Some(byte) = byte else { continue };
            if let Some((other, _)) = given.iter().take(i).find(|(_, b)| b.as_ref() == Some(byte)) {
                return Err(error(name, format!("'{name}' and '{other}' can't be the same character")));
            }
        }
        Ok(())
    }
}

fn error(name: &str, message: String) -> OptionError {
    OptionError { name: name.into(), message }
}

fn value(options: &Options, name: &str) -> Result<Option<OptionValue>, OptionError> {
    match OPTIONS.iter().find(|s| s.name == name) {
        Some(spec) => options.value(spec),
        None => Ok(None),
    }
}

/// One ASCII character, also as `\t` or `tab`; empty = not given.
fn one_byte(name: &str, text: &str) -> Result<Option<u8>, OptionError> {
    match text.as_bytes() {
        [] => Ok(None),
        b"\\t" | b"tab" => Ok(Some(b'\t')),
        [b] if b.is_ascii() && !matches!(b, b'\n' | b'\r' | 0) => Ok(Some(*b)),
        _ => Err(error(name, format!("'{name}' can't be '{text}': one ASCII character that ends no line"))),
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()
}
