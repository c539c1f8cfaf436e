//! Typed options: one description serves WITH options, settings, flags, environment and documentation.

use std::time::Duration;

use super::nearest;

/// The type of an option or setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptionKind {
    /// Any text.
    Text,
    /// `true` / `false`.
    Bool,
    /// A whole number within bounds.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A number.
    Float {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
    /// A size: `1048576`, `'64 KiB'`, `'1MB'`.
    Bytes,
    /// A duration: `'5s'`, `'100 ms'`, `'1h30m'`; a bare number is milliseconds.
    Duration,
    /// How much lies between two events: a duration, a size, or a number of rows: `'10000 rows'`.
    Interval,
    /// A duration, or `off`.
    DurationOrOff,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// The description of one option or setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptionSpec {
    /// Name, snake_case.
    pub name: &'static str,
    /// Type.
    pub kind: OptionKind,
    /// Default as a user would write it; empty = none.
    pub default: &'static str,
    /// Must be given.
    pub required: bool,
    /// One line: what it does, what larger and smaller do.
    pub doc: &'static str,
}

/// A checked value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum OptionValue {
    Text(String),
    Bool(bool),
    Int(i64),
    Float(f64),
    Bytes(u64),
    Duration(Duration),
    Rows(u64),
    Off,
}

/// Why an option was refused: a sentence, perhaps with the nearest names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OptionError {
    /// The option concerned.
    pub name: String,
    /// What is wrong.
    pub message: String,
}

/// Options as written, and typed access to them. Names match without case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    entries: Vec<(String, String)>,
}

impl Options {
    /// From name–value pairs. A later one of the same name wins.
    pub fn new<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut options = Self::default();
        for (k, v) in pairs {
            options.set(k, v);
        }
        options
    }
    /// Sets one.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into().to_ascii_lowercase(), value.into());
        match self.entries.iter_mut().find(|(k, _)| *k == name) {
            Some((_, v)) => *v = value,
            None => self.entries.push((name, value)),
        }
    }
    /// The text as written.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
    /// All, in order of appearance.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
    /// Checks names, types and required options against the specs of all layers together (connector, format, common).
    ///
    /// # Errors
    /// The first unknown, missing or ill-typed option; an unknown one lists the nearest names.
    pub fn check(&self, what: &str, specs: &[&[OptionSpec]]) -> Result<(), OptionError> {
        let all = || specs.iter().flat_map(|s| s.iter());
        for (name, value) in self.iter() {
            match all().find(|s| s.name == name) {
                Some(spec) => {
                    spec.parse(value)?;
                }
                None => {
                    let near = nearest(name, all().map(|s| s.name));
                    let hint = if near.is_empty() {
                        let mut names: Vec<_> = all().map(|s| s.name).collect();
                        names.sort_unstable();
                        format!("it knows {}", names.join(", "))
                    } else {
                        format!("did you mean {}?", near.join(" or "))
                    };
                    let message = format!("{what} has no option '{name}'; {hint}");
                    return Err(OptionError { name: name.into(), message });
                }
            }
        }
        match all().find(|s| s.required && self.get(s.name).is_none()) {
            Some(s) => Err(OptionError {
                name: s.name.into(),
                message: format!("{what} needs the option '{}': {}", s.name, s.doc),
            }),
            None => Ok(()),
        }
    }
    /// The value of an option, or its default; `None` if neither is there.
    ///
    /// # Errors
    /// If the value does not fit the option's type.
    pub fn value(&self, spec: &OptionSpec) -> Result<Option<OptionValue>, OptionError> {
        match self.get(spec.name).or((!spec.default.is_empty()).then_some(spec.default)) {
            Some(text) => spec.parse(text).map(Some),
            None => Ok(None),
        }
    }
}

impl OptionSpec {
    /// An option that may be left out.
    pub const fn new(name: &'static str, kind: OptionKind, default: &'static str, doc: &'static str) -> Self {
        Self { name, kind, default, required: false, doc }
    }
    /// An option that must be given.
    pub const fn required(name: &'static str, kind: OptionKind, doc: &'static str) -> Self {
        Self { name, kind, default: "", required: true, doc }
    }
    /// Reads a value as a user writes it.
    ///
    /// # Errors
    /// If it does not fit the type; the message says what fits.
    pub fn parse(&self, text: &str) -> Result<OptionValue, OptionError> {
        let t = text.trim();
        let value = match self.kind {
            OptionKind::Text => Some(OptionValue::Text(text.to_owned())),
            OptionKind::Bool => match t.to_ascii_lowercase().as_str() {
                "true" | "on" | "yes" | "1" => Some(OptionValue::Bool(true)),
                "false" | "off" | "no" | "0" => Some(OptionValue::Bool(false)),
                _ => None,
            },
            OptionKind::Int { min, max } => {
                t.replace('_', "").parse().ok().filter(|v| (min..=max).contains(v)).map(OptionValue::Int)
            }
            OptionKind::Float { min, max } => {
                t.parse().ok().filter(|v| (min..=max).contains(v)).map(OptionValue::Float)
            }
            OptionKind::Bytes => parse_bytes(t).map(OptionValue::Bytes),
            OptionKind::DurationOrOff if t.eq_ignore_ascii_case("off") => Some(OptionValue::Off),
            OptionKind::Duration | OptionKind::DurationOrOff => parse_duration(t).map(OptionValue::Duration),
            OptionKind::Interval => parse_interval(t),
            OptionKind::OneOf(words) => {
                words.iter().find(|w| w.eq_ignore_ascii_case(t)).map(|w| OptionValue::Text((*w).to_owned()))
            }
        };
        value.ok_or_else(|| OptionError {
            name: self.name.into(),
            message: match is_secret(self.name) {
                true => format!("the value of '{}' does not fit: {}", self.name, self.kind.expects()),
                false => {
                    format!("'{}' can't be '{text}': {}{}", self.name, self.kind.expects(), self.kind.near(t))
                }
            },
        })
    }
}

/// Whether the value of an option must never be shown.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "token", "key"].iter().any(|end| name.ends_with(end))
}

impl OptionKind {
    /// The words that were probably meant.
    fn near(&self, text: &str) -> String {
        match self {
            OptionKind::OneOf(words) => match nearest(text, words.iter().copied()).as_slice() {
                [] => String::new(),
                near => format!("; did you mean {}?", near.join(" or ")),
            },
            _ => String::new(),
        }
    }
    /// What a value must look like, for error messages and the reference.
    pub fn expects(&self) -> String {
        match self {
            OptionKind::Text => "any text".into(),
            OptionKind::Bool => "true or false".into(),
            OptionKind::Int { min, max: i64::MAX } => format!("a whole number from {min}"),
            OptionKind::Int { min, max } => format!("a whole number from {min} to {max}"),
            OptionKind::Float { min, max } => format!("a number from {min} to {max}"),
            OptionKind::Bytes => "a size such as 1048576, '64 KiB' or '1 MB'".into(),
            OptionKind::Duration => "a duration such as '5s', '100 ms' or '1h30m'".into(),
            OptionKind::Interval => {
                "a duration such as '5s', a size such as '64 MiB', or a number of rows such as '10000 rows'"
                    .into()
            }
            OptionKind::DurationOrOff => "a duration such as '5s' or '100 ms', or off".into(),
            OptionKind::OneOf(words) => format!("one of {}", words.join(", ")),
        }
    }
}

/// `1048576`, `64 KiB`, `1MB`, `1.5GiB`. Decimal prefixes are powers of 1,000, those with i of 1,024.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let n: f64 = number.replace('_', "").parse().ok()?;
    let bytes = n * factor;
    (bytes.is_finite() && bytes >= 0.0 && bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// `5s`, `100 ms`, `1h30m`, `2 days`; a bare number is milliseconds.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()) {
        return rest.parse().ok().map(Duration::from_millis);
    }
    let mut total = Duration::ZERO;
    let mut any = false;
    while !rest.is_empty() {
        let split = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, tail) = rest.split_at(split);
        let tail = tail.trim_start();
        let end = tail.find(|c: char| !(c.is_alphabetic() || c == 'µ')).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let seconds = match unit.to_ascii_lowercase().as_str() {
            "us" | "µs" | "microsecond" | "microseconds" => 1e-6,
            "ms" | "millisecond" | "milliseconds" => 1e-3,
            "s" | "sec" | "second" | "seconds" => 1.0,
            "m" | "min" | "minute" | "minutes" => 60.0,
            "h" | "hour" | "hours" => 3600.0,
            "d" | "day" | "days" => 86400.0,
            _ => return None,
        };
        let n: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(n * seconds).ok()?)?;
        any = true;
        rest = tail.trim_start();
    }
    any.then_some(total)
}

/// `5s`, `64 MiB`, `10000 rows`; none of them zero.
fn parse_interval(text: &str) -> Option<OptionValue> {
    let rows = text.strip_suffix("rows").or_else(|| text.strip_suffix("row"));
    if let Some(number) = rows {
        let rows = number.trim().replace('_', "").parse().ok().filter(|n| *n > 0);
        return rows.map(OptionValue::Rows);
    }
    match parse_duration(text) {
        Some(duration) => Some(OptionValue::Duration(duration)),
        None => parse_bytes(text).filter(|n| *n > 0).map(OptionValue::Bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_time_rows_or_bytes() {
        assert_eq!(parse_interval("5m"), Some(OptionValue::Duration(Duration::from_secs(300))));
        assert_eq!(parse_interval("5 MB"), Some(OptionValue::Bytes(5_000_000)));
        assert_eq!(parse_interval("10_000 rows"), Some(OptionValue::Rows(10_000)));
        assert_eq!(parse_interval("1row"), Some(OptionValue::Rows(1)));
        for wrong in ["0 rows", "rows", "-1 rows", "1.5 rows", "0 KB", "often", ""] {
            assert_eq!(parse_interval(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_and_durations_read_as_people_write_them() {
        assert_eq!(parse_bytes("64 KiB"), Some(65536));
        assert_eq!(parse_bytes("1MB"), Some(1_000_000));
        assert_eq!(parse_bytes("1.5GiB"), Some(1_610_612_736));
        assert_eq!(parse_bytes("12 parsecs"), None);
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("100 ms"), Some(Duration::from_millis(100)));
        assert_eq!(parse_duration("250"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("soon"), None);
        assert_eq!(parse_duration(""), None);
    }

    #[test]
    fn an_unknown_option_names_its_neighbour() {
        const SPECS: &[OptionSpec] = &[
            OptionSpec::new("delimiter", OptionKind::Text, ",", "field separator"),
            OptionSpec::required("path", OptionKind::Text, "the file"),
        ];
        let e = Options::new([("path", "x"), ("delimeter", ";")])
            .check("connector 'file'", &[SPECS])
            .unwrap_err();
        assert_eq!(e.message, "connector 'file' has no option 'delimeter'; did you mean delimiter?");
        let e = Options::new([("delimiter", ";")]).check("connector 'file'", &[SPECS]).unwrap_err();
        assert_eq!(e.message, "connector 'file' needs the option 'path': the file");
    }
}
