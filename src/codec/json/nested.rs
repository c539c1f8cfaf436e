//! Values as JSON text inside another format: what CSV holds for ARRAY, MAP, STRUCT and JSON.

use super::column::{Kind, Reader};
use super::encoder::Forms;
use super::lex::Lexer;
use super::options::{DecimalFormat, DuplicateKeys, JsonOptions};
use crate::codec::{BytesFormat, TimestampFormat};
use crate::record::{DataType, FieldValue, RecordError};

/// Reads values of one type.
#[derive(Clone, Debug)]
pub(crate) struct JsonTextReader {
    kind: Kind,
    reader: Reader,
    lexer: Lexer,
}

impl JsonTextReader {
    pub(crate) fn new(data_type: &DataType, timestamps: &TimestampFormat, bytes: BytesFormat) -> Self {
        let options = options(timestamps, bytes);
        let unique_keys = options.duplicate_keys == DuplicateKeys::Error;
        Self {
            kind: Kind::new(data_type, &options),
            reader: Reader::new(&options),
            lexer: Lexer { multiline: true, unique_keys, ..Lexer::default() },
        }
    }

    /// Overwrites `slot` with what `text` says; `false` if it is not one JSON value, or not of the type.
    pub(crate) fn read(&mut self, text: &str, slot: &mut FieldValue) -> bool {
        let text = text.trim_ascii();
        self.lexer.keys.clear();
        let end = self.lexer.skip_value(text, 0, 0);
        end.is_ok_and(|end| end == text.len()) && self.reader.read(&self.kind, text, slot).is_ok()
    }
}

/// Writes values of any type.
#[derive(Clone, Debug)]
pub(crate) struct JsonTextWriter(Forms);

impl JsonTextWriter {
    pub(crate) fn new(timestamps: &TimestampFormat, bytes: BytesFormat) -> Self {
        Self(Forms::new(&options(timestamps, bytes)))
    }

    /// Appends the value.
    pub(crate) fn write(&self, value: &FieldValue, out: &mut Vec<u8>) -> Result<(), RecordError> {
        self.0.write(value, out)
    }
}

fn options(timestamps: &TimestampFormat, bytes: BytesFormat) -> JsonOptions {
    JsonOptions {
        timestamp_format: timestamps.clone(),
        bytes_format: bytes,
        decimal_format: DecimalFormat::Number,
        ..JsonOptions::default()
    }
}
