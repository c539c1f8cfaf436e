//! The options of JSON, checked and ready to use.

use crate::catalog::{OptionError, OptionKind, OptionSpec, OptionValue, Options};
use crate::codec::{BYTES_FORMAT, BytesFormat, TIMESTAMP_FORMAT, TimestampFormat};

const LAYOUT: OptionSpec = OptionSpec::new(
    "framing",
    OptionKind::OneOf(&["auto", "lines", "array"]),
    "auto",
    "one object a line, or one array of objects; auto: an array if the file begins with [ (sinks: lines)",
);
const UNKNOWN_FIELDS: OptionSpec = OptionSpec::new(
    "unknown_fields",
    OptionKind::OneOf(&["ignore", "error"]),
    "ignore",
    "a key that is no declared column is stepped over, or rejects the record",
);
const DUPLICATE_KEYS: OptionSpec = OptionSpec::new(
    "duplicate_keys",
    OptionKind::OneOf(&["error", "last"]),
    "error",
    "a key that occurs twice in one object rejects the record, or its last value counts",
);
const COERCE: OptionSpec = OptionSpec::new(
    "coerce",
    OptionKind::Bool,
    "false",
    "strings that hold a number or boolean are read as such, and anything may be read as text",
);
const DECIMAL_FORMAT: OptionSpec = OptionSpec::new(
    "decimal_format",
    OptionKind::OneOf(&["number", "string"]),
    "number",
    "sinks: how DECIMALs are written; both are read",
);
const MAX_RECORD_BYTES: OptionSpec = OptionSpec::new(
    "max_record_bytes",
    OptionKind::Bytes,
    "1 MiB",
    "longest record that is read; a longer one is rejected without being held in memory",
);

const CHANGELOG: OptionSpec = OptionSpec::new(
    "changelog",
    OptionKind::OneOf(&["append", "upsert"]),
    "append",
    "sinks: upsert writes {\"key\":…,\"value\":…}: the latest row of a key, null if it is gone; append: new rows",
);
const KEY: OptionSpec = OptionSpec::new(
    "key_columns",
    OptionKind::Text,
    "",
    "sinks under changelog = 'upsert': the columns that tell rows apart, e.g. 'a, b'; default: the PRIMARY KEY",
);

/// What a JSON source or sink may say in its WITH clause.
pub const OPTIONS: &[OptionSpec] = &[
    LAYOUT,
    UNKNOWN_FIELDS,
    DUPLICATE_KEYS,
    COERCE,
    TIMESTAMP_FORMAT,
    BYTES_FORMAT,
    DECIMAL_FORMAT,
    MAX_RECORD_BYTES,
    CHANGELOG,
    KEY,
];

/// What a sink of `debezium-json` may say.
pub const CHANGELOG_OPTIONS: &[OptionSpec] = &[TIMESTAMP_FORMAT, BYTES_FORMAT, DECIMAL_FORMAT];

/// How the objects of a file are arranged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// An array if the first byte that is not blank is `[`, else lines.
    #[default]
    Auto,
    /// One object a line (NDJSON); blank lines are skipped.
    Lines,
    /// One array of objects, which may span lines.
    Array,
    /// The whole input is one object, which may span lines: a message.
    Whole,
}

/// What becomes of a key that is no declared column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownFields {
    /// Stepped over.
    #[default]
    Ignore,
    /// The record is rejected.
    Error,
}

/// What becomes of a key that occurs twice in one object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DuplicateKeys {
    /// The record is rejected.
    #[default]
    Error,
    /// The last value counts.
    Last,
}

/// How DECIMALs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DecimalFormat {
    /// As a number with all digits of the scale.
    #[default]
    Number,
    /// The same in quotes.
    String,
}

/// Checked options of JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonOptions {
    /// Lines or array.
    pub layout: Layout,
    /// Keys that are no declared column.
    pub unknown_fields: UnknownFields,
    /// Keys that occur twice.
    pub duplicate_keys: DuplicateKeys,
    /// Numbers and booleans are read out of strings, and anything may be read as VARCHAR.
    pub coerce: bool,
    /// TIMESTAMPs.
    pub timestamp_format: TimestampFormat,
    /// BYTES.
    pub bytes_format: BytesFormat,
    /// DECIMALs on output.
    pub decimal_format: DecimalFormat,
    /// Longest record that is read; larger needs more memory when such records come.
    pub max_record_bytes: usize,
    /// Upserts: the columns that tell rows apart; `None`: rows are appended.
    pub upsert_key: Option<Vec<String>>,
}

impl Default for JsonOptions {
    fn default() -> Self {
        Self {
            layout: Layout::Auto,
            unknown_fields: UnknownFields::Ignore,
            duplicate_keys: DuplicateKeys::Error,
            coerce: false,
            timestamp_format: TimestampFormat::Iso,
            bytes_format: BytesFormat::Base64,
            decimal_format: DecimalFormat::Number,
            max_record_bytes: 1 << 20,
            upsert_key: None,
        }
    }
}

impl JsonOptions {
    /// Takes what concerns JSON from a WITH clause; other options are left to others.
    ///
    /// # Errors
    /// The first option whose value does not fit.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        let word = |spec: &OptionSpec| match options.value(spec) {
            Ok(Some(OptionValue::Text(t))) => Ok(t),
            Ok(_) => Ok(String::new()),
            Err(e) => Err(e),
        };
        let key = word(&KEY)?.split(',').map(|c| c.trim().to_owned()).filter(|c| !c.is_empty()).collect();
        Ok(Self {
            layout: match word(&LAYOUT)?.as_str() {
                "lines" => Layout::Lines,
                "array" => Layout::Array,
                _ => Layout::Auto,
            },
            unknown_fields: match word(&UNKNOWN_FIELDS)?.as_str() {
                "error" => UnknownFields::Error,
                _ => UnknownFields::Ignore,
            },
            duplicate_keys: match word(&DUPLICATE_KEYS)?.as_str() {
                "last" => DuplicateKeys::Last,
                _ => DuplicateKeys::Error,
            },
            coerce: options.value(&COERCE)? == Some(OptionValue::Bool(true)),
            timestamp_format: TimestampFormat::new(&word(&TIMESTAMP_FORMAT)?)?,
            bytes_format: BytesFormat::new(&word(&BYTES_FORMAT)?),
            decimal_format: match word(&DECIMAL_FORMAT)?.as_str() {
                "string" => DecimalFormat::String,
                _ => DecimalFormat::Number,
            },
            max_record_bytes: match options.value(&MAX_RECORD_BYTES)? {
                Some(OptionValue::Bytes(n)) => usize::try_from(n).unwrap_or(usize::MAX >> 1).max(2),
                _ => 1 << 20,
            },
            upsert_key: (word(&CHANGELOG)? == "upsert").then_some(key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_as_documented_and_as_built_agree() {
        assert_eq!(JsonOptions::from_options(&Options::default()), Ok(JsonOptions::default()));
    }

    #[test]
    fn a_wrong_word_is_refused() {
        let e = JsonOptions::from_options(&Options::new([("duplicate_keys", "first")])).unwrap_err();
        assert_eq!(e.name, "duplicate_keys");
    }
}
