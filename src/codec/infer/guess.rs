//! What types a text could have, and what type a column of such texts gets.

use crate::codec::TimestampFormat;
use crate::record::{DataType, text};

/// A set of types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Types(u8);

const BOOLEAN: u8 = 1;
const BIGINT: u8 = 2;
const DECIMAL: u8 = 4;
const DOUBLE: u8 = 8;
const DATE: u8 = 16;
const TIME: u8 = 32;
const TIMESTAMP: u8 = 64;

impl Types {
    pub(super) const ALL: Types = Types(0x7f);
    pub(super) const NONE: Types = Types(0);

    /// All types that the text could have besides VARCHAR.
    pub(super) fn of(value: &str, timestamps: &TimestampFormat) -> Types {
        let bytes = value.as_bytes();
        let digit = |b: Option<&u8>| b.is_some_and(u8::is_ascii_digit);
        match bytes.first() {
            Some(b'0'..=b'9' | b'-' | b'.') => {}
            Some(b't' | b'T' | b'f' | b'F')
                if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") =>
            {
                return Types(BOOLEAN);
            }
            _ => return Types(Self::pattern(value, timestamps)),
        }
        let unsigned = bytes.strip_prefix(b"-").unwrap_or(bytes);
        let zero_first = unsigned.first() == Some(&b'0') && digit(unsigned.get(1));
        if unsigned.iter().all(u8::is_ascii_digit) {
            let types = match unsigned.len() {
                _ if zero_first => 0,
                0 | 29.. => 0,
                _ if text::parse_i64(value).is_some() => BIGINT | DECIMAL | DOUBLE,
                _ => DECIMAL | DOUBLE,
            };
            return Types(types | Self::pattern(value, timestamps));
        }
        // A fraction has a digit before the exponent, so that no word such as `-inf` gets here as a number.
        let number = digit(unsigned.first()) || (unsigned.first() == Some(&b'.') && digit(unsigned.get(1)));
        if number && !zero_first && text::parse_f64(value).is_some_and(f64::is_finite) {
            return Types(DOUBLE);
        }
        if value.trim_ascii().len() != value.len() {
            return Types::NONE;
        }
        let mut types = Self::pattern(value, timestamps);
        if text::parse_date(value).is_some() {
            types |= DATE | if *timestamps == TimestampFormat::Iso { TIMESTAMP } else { 0 };
        } else if *timestamps == TimestampFormat::Iso && text::parse_timestamp(value).is_some() {
            types |= TIMESTAMP;
        } else if bytes.len() >= "00:00:00".len() && text::parse_time(value).is_some() {
            types |= TIME;
        }
        Types(types)
    }

    /// Texts in a stated pattern are timestamps; numbers since 1970 look like any other number.
    fn pattern(value: &str, timestamps: &TimestampFormat) -> u8 {
        let stated = matches!(timestamps, TimestampFormat::Pattern(_));
        if stated && timestamps.parse(value).is_some() { TIMESTAMP } else { 0 }
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
    pub(super) fn and(self, other: Types) -> Types {
        Types(self.0 & other.0)
    }
    /// Only as instants: what JSON strings are looked at for.
    pub(super) fn temporal(self) -> Option<DataType> {
        match self.0 {
            t if t & DATE != 0 => Some(DataType::Date),
            t if t & TIMESTAMP != 0 => Some(DataType::Timestamp),
            _ => None,
        }
    }
    /// The narrowest.
    fn narrowest(self) -> DataType {
        // A stated pattern of digits alone (`%Y%m%d`) means what it says.
        for (bit, data_type) in [
            (BOOLEAN, DataType::Boolean),
            (DATE, DataType::Date),
            (TIMESTAMP, DataType::Timestamp),
            (BIGINT, DataType::BigInt),
            (DECIMAL, DataType::Decimal { precision: 28, scale: 0 }),
            (DOUBLE, DataType::Double),
            (TIME, DataType::Time),
        ] {
            if self.0 & bit != 0 {
                return data_type;
            }
        }
        DataType::Varchar
    }
}

/// A column of texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    possible: Types,
    /// Texts that are neither empty nor one of the words below.
    texts: u64,
    /// A word for NULL was seen, which only numbers and times may have.
    null_words: bool,
    /// `NaN` or an infinity was seen: numbers only if there are real ones too.
    not_finite: bool,
}

impl Column {
    pub(super) const NEW: Column =
        Column { possible: Types::ALL, texts: 0, null_words: false, not_finite: false };

    pub(super) fn see(&mut self, value: &str, timestamps: &TimestampFormat) {
        if matches!(value, "NaN" | "Infinity" | "-Infinity") {
            self.not_finite = true;
            return;
        }
        self.texts += 1;
        if !self.possible.is_empty() {
            self.possible = self.possible.and(Types::of(value, timestamps));
        }
    }
    pub(super) fn see_null_word(&mut self) {
        self.null_words = true;
    }
    pub(super) fn data_type(&self) -> DataType {
        if self.texts == 0 {
            return DataType::Varchar;
        }
        let found = self.possible.narrowest();
        if self.not_finite {
            return if found.is_numeric() { DataType::Double } else { DataType::Varchar };
        }
        if self.null_words && !found.is_numeric() && !found.is_temporal() {
            return DataType::Varchar;
        }
        found
    }
}
