//! Text forms that a stream can choose for its TIMESTAMP and BYTES columns.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::fmt::strtime::BrokenDownTime;

use crate::catalog::{OptionError, OptionKind, OptionSpec};
use crate::record::text;

/// `timestamp_format`.
pub const TIMESTAMP_FORMAT: OptionSpec = OptionSpec::new(
    "timestamp_format",
    OptionKind::Text,
    "",
    "epoch_s, epoch_ms, epoch_us or a strftime pattern such as '%d/%m/%Y %H:%M'; default ISO 8601",
);

/// `bytes_format`.
pub const BYTES_FORMAT: OptionSpec = OptionSpec::new(
    "bytes_format",
    OptionKind::OneOf(&["base64", "hex", "utf8"]),
    "base64",
    "how BYTES are written as text",
);

/// How TIMESTAMPs look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TimestampFormat {
    /// ISO 8601.
    #[default]
    Iso,
    /// Units of this many microseconds since 1970-01-01T00:00:00Z: 1,000,000 or 1,000 or 1.
    Epoch(i64),
    /// A strftime pattern; without a zone the time is UTC.
    Pattern(String),
}

impl TimestampFormat {
    /// Reads the option's text; empty means ISO 8601.
    ///
    /// # Errors
    /// A text that is neither a known name nor a pattern that can be written and read back.
    pub fn new(text: &str) -> Result<Self, OptionError> {
        Ok(match text {
            "" | "iso" | "iso8601" => Self::Iso,
            "epoch_s" => Self::Epoch(1_000_000),
            "epoch_ms" => Self::Epoch(1_000),
            "epoch_us" => Self::Epoch(1),
            pattern => {
                let this = Self::Pattern(pattern.into());
                let mut out = Vec::new();
                this.write(1_234_567_890_000_000, &mut out);
                let readable = std::str::from_utf8(&out).is_ok_and(|t| this.parse(t).is_some());
                if !pattern.contains('%') || !readable {
                    return Err(OptionError {
                        name: TIMESTAMP_FORMAT.name.into(),
                        message: format!(
                            "'timestamp_format' can't be '{pattern}': epoch_s, epoch_ms, epoch_us or a strftime pattern \
                             that holds at least a date"
                        ),
                    });
                }
                this
            }
        })
    }

    /// Reads a timestamp in this form, µs since the Unix epoch. Fractions of epoch units count, rounded to µs.
    #[inline]
    pub fn parse(&self, value: &str) -> Option<i64> {
        match self {
            Self::Iso => text::parse_timestamp(value),
            Self::Epoch(unit) => match text::parse_i64(value) {
                Some(n) => n.checked_mul(*unit),
                None => {
                    let micros = text::parse_decimal(value)?.checked_mul((*unit).into())?.round();
                    i64::try_from(micros).ok()
                }
            },
            Self::Pattern(pattern) => {
                let parsed = BrokenDownTime::parse(pattern, value).ok()?;
                if parsed.offset().is_some() || parsed.timestamp().is_some() {
                    return parsed.to_timestamp().ok().map(Timestamp::as_microsecond);
                }
                let date = parsed.to_date().ok()?;
                let time = if parsed.hour().is_some() {
                    parsed.to_time().ok()?
                } else {
                    jiff::civil::Time::midnight()
                };
                let zoned = jiff::tz::Offset::UTC.to_timestamp(date.to_datetime(time)).ok()?;
                Some(zoned.as_microsecond())
            }
        }
    }

    /// Appends a timestamp in this form. Epoch units are written whole if they are, else with their fraction.
    #[inline]
    pub fn write(&self, micros: i64, out: &mut Vec<u8>) {
        match self {
            Self::Iso => text::write_timestamp(micros, out),
            Self::Epoch(unit) if micros % unit == 0 => text::write_i64(micros / unit, out),
            Self::Epoch(unit) => {
                let scale = if *unit == 1_000 { 3 } else { 6 };
                text::write_decimal(&rust_decimal::Decimal::new(micros, scale).normalize(), out);
            }
            Self::Pattern(pattern) => {
                let written = Timestamp::from_microsecond(micros).ok().and_then(|t| {
                    BrokenDownTime::from(&t.to_zoned(jiff::tz::TimeZone::UTC)).to_string(pattern).ok()
                });
                match written {
                    Some(t) => out.extend_from_slice(t.as_bytes()),
                    // Beyond the years that the pattern language knows.
                    None => text::write_timestamp(micros, out),
                }
            }
        }
    }
    /// Whether this form is a number rather than a text.
    pub fn is_numeric(&self) -> bool {
        matches!(self, Self::Epoch(_))
    }
}

/// How BYTES look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BytesFormat {
    /// RFC 4648 with padding.
    #[default]
    Base64,
    /// Two digits a byte, either case on input.
    Hex,
    /// The bytes are UTF-8 text.
    Utf8,
}

impl BytesFormat {
    /// From the option's text; the option's kind admits no other word.
    pub fn new(text: &str) -> Self {
        match text {
            "hex" => Self::Hex,
            "utf8" => Self::Utf8,
            _ => Self::Base64,
        }
    }
    /// Reads bytes in this form.
    pub fn parse(self, value: &str) -> Option<Vec<u8>> {
        match self {
            Self::Base64 => STANDARD.decode(value).ok(),
            Self::Hex => {
                let digit = |b: u8| (b as char).to_digit(16);
                let (pairs, rest) = value.as_bytes().as_chunks::<2>();
                let bytes = pairs.iter().map(|[a, b]| Some((digit(*a)? * 16 + digit(*b)?) as u8)).collect();
                if rest.is_empty() { bytes } else { None }
            }
            Self::Utf8 => Some(value.as_bytes().to_vec()),
        }
    }
    /// Writes bytes in this form; `None` if they are not UTF-8 where they must be.
    pub fn write(self, bytes: &[u8], out: &mut String) -> Option<()> {
        match self {
            Self::Base64 => STANDARD.encode_string(bytes, out),
            Self::Hex => {
                const DIGITS: [char; 16] =
                    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
                for b in bytes {
                    out.push(DIGITS[usize::from(b >> 4)]);
                    out.push(DIGITS[usize::from(b & 15)]);
                }
            }
            Self::Utf8 => out.push_str(std::str::from_utf8(bytes).ok()?),
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(f: &TimestampFormat, micros: i64) -> String {
        let mut out = Vec::new();
        f.write(micros, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn timestamps_in_every_form_read_back() {
        for (form, text, micros) in [
            ("", "2026-01-01T00:00:00.123Z", 1_767_225_600_123_000),
            ("epoch_s", "1767225600", 1_767_225_600_000_000),
            ("epoch_s", "1767225600.5", 1_767_225_600_500_000),
            ("epoch_s", "-0.000001", -1),
            ("epoch_ms", "1767225600123", 1_767_225_600_123_000),
            ("epoch_ms", "0.25", 250),
            ("epoch_us", "-7", -7),
            ("%d/%m/%Y %H:%M", "01/01/2026 10:30", 1_767_263_400_000_000),
            ("%Y%m%d", "20260101", 1_767_225_600_000_000),
            ("%Y-%m-%dT%H:%M:%S%:z", "2026-01-01T10:30:00+00:00", 1_767_263_400_000_000),
        ] {
            let f = TimestampFormat::new(form).unwrap();
            assert_eq!(f.parse(text), Some(micros), "{form} {text}");
            assert_eq!(written(&f, micros), text, "{form}");
        }
        let f = TimestampFormat::new("%Y-%m-%d %H:%M %z").unwrap();
        assert_eq!(f.parse("2026-01-01 01:30 +0130"), Some(1_767_225_600_000_000));
        assert_eq!(f.parse("2026-01-01 01:30"), None);
    }

    #[test]
    fn a_pattern_that_cannot_hold_a_date_is_refused() {
        for bad in ["yesterday", "%H:%M", "%Q", "epoch_ns", "%"] {
            assert!(TimestampFormat::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bytes_in_every_form_read_back() {
        for (form, text) in [("base64", "AP8="), ("hex", "00ff"), ("utf8", "héllo")] {
            let f = BytesFormat::new(form);
            let bytes = f.parse(text).unwrap();
            let mut out = String::new();
            f.write(&bytes, &mut out).unwrap();
            assert_eq!(out, text);
        }
        assert_eq!(BytesFormat::Hex.parse("0fF"), None);
        assert_eq!(BytesFormat::Hex.parse("FF"), Some(vec![255]));
        assert_eq!(BytesFormat::Base64.parse("%"), None);
        assert_eq!(BytesFormat::Utf8.write(&[255], &mut String::new()), None);
    }
}
