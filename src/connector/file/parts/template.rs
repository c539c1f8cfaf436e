//! Paths of part files that depend on the rows: `out/{country}/%Y-%m-%d`.
//!
//! The author of the SQL text is trusted and names columns; what rows hold is not. A value becomes a piece of one name, never a path:
//! letters, digits, `-`, `_` and inner dots stay, every other character is written as `%XX` for each of its UTF-8 bytes, so that
//! different values give different names. NULL is `__HIVE_DEFAULT_PARTITION__`, as other engines write and read it, the empty
//! text `%empty`; a long value is cut off, and what makes it differ follows as a hash.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::catalog::nearest;
use crate::io::IoError;
use crate::record::text::{MICROS_PER_DAY, civil_from_days, days_from_civil, write_date};
use crate::record::{DataType, FieldValue, Schema, StreamRecord};

/// Bytes of a name in a directory on all usual file systems.
const MAX_NAME: usize = 255;
/// A value's piece is at most so long.
const MAX_VALUE: usize = 96;
/// So much of a longer one is kept.
const KEPT: usize = 60;
/// What NULL is called.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// Fields of a time that a path may have.
const FIELDS: &str = "%Y %y %m %d %j %H %M %S %F, and %% for a percent sign";

/// A piece of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Column(String),
    /// A field of strftime(3), of the row's event time in UTC.
    Time(char),
}

/// A path with columns and times in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathTemplate {
    /// The directories before the first piece that depends on the row.
    pub(crate) root: PathBuf,
    /// The names below, one a directory; none if the path is always the same.
    names: Vec<Vec<Piece>>,
}

impl PathTemplate {
    /// A path that is always the same, taken as it is.
    pub(crate) fn fixed(path: &Path) -> Self {
        Self { root: path.to_owned(), names: Vec::new() }
    }

    /// Reads a path as written.
    ///
    /// # Errors
    /// A brace without its other half, a field of a time that is not known, a name that could be too long or hidden.
    pub(crate) fn parse(path: &str) -> Result<Self, IoError> {
        let wrong = |what: String| IoError::config(format!("path = '{path}': {what}"));
        let mut root = String::new();
        let mut names = Vec::new();
        for (i, name) in path.split('/').enumerate() {
            let pieces = pieces_of(name).map_err(wrong)?;
            match pieces.as_slice() {
                [] if i == 0 => root.push('/'),
                [] => {}
                [Piece::Text(text)] if names.is_empty() => {
                    if !root.is_empty() && !root.ends_with('/') {
                        root.push('/');
                    }
                    root.push_str(text);
                }
                [Piece::Text(text), ..] if text.starts_with('.') => {
                    return Err(wrong(format!(
                        "'{name}' begins with a dot, which hides it or leads elsewhere; begin with something else"
                    )));
                }
                pieces => {
                    let longest: usize = pieces.iter().map(Piece::longest).sum();
                    if longest > MAX_NAME {
                        return Err(wrong(format!(
                            "'{name}' can become {longest} bytes long (up to {MAX_VALUE} for each column), but a name has at most \
                             {MAX_NAME}; put '/' between some of its columns"
                        )));
                    }
                    names.push(pieces.to_vec());
                }
            }
        }
        let root = if root.is_empty() { ".".into() } else { root.into() };
        Ok(Self { root, names })
    }

    /// How many directories deep below the root the files are.
    pub(crate) fn depth(&self) -> usize {
        self.names.len()
    }

    /// Finds the columns in the rows.
    ///
    /// # Errors
    /// A column that the rows don't have, or whose values can't name anything.
    pub(super) fn bind(&self, schema: &Schema) -> Result<RowPath, IoError> {
        let bind = |piece: &Piece| {
            Ok(match piece {
                Piece::Text(text) => Bound::Text(text.clone()),
                Piece::Time(field) => Bound::Time(*field),
                Piece::Column(name) => Bound::Column(column_of(schema, name)?),
            })
        };
        let names = self.names.iter().map(|pieces| pieces.iter().map(bind).collect());
        let names: Vec<Vec<Bound>> = names.collect::<Result<_, IoError>>()?;
        let fields = names.iter().flatten().filter_map(|b| match b {
            Bound::Time(field) => Some(*field),
            _ => None,
        });
        let seconds = fields.map(|f| match f {
            'S' => 1,
            'M' => 60,
            'H' => 3600,
            _ => 86_400,
        });
        let unit = seconds.min().map_or(0, |s| s * 1_000_000);
        Ok(RowPath { names, unit, span: i64::MIN, time: Time::default() })
    }
}

fn column_of(schema: &Schema, name: &str) -> Result<usize, IoError> {
    let Some((at, field)) = schema.find(name).and_then(|at| Some((at, schema.fields().get(at)?))) else {
        let near = nearest(name, schema.names()).join(" or ");
        let hint = match near.is_empty() {
            true => format!("they have {}", schema.names().collect::<Vec<_>>().join(", ")),
            false => format!("did you mean {near}?"),
        };
        return Err(IoError::config(format!("the path names {{{name}}}, which the rows don't have; {hint}")));
    };
    let names_paths = matches!(
        field.data_type,
        DataType::Boolean
            | DataType::SmallInt
            | DataType::Integer
            | DataType::BigInt
            | DataType::Decimal { .. }
            | DataType::Varchar
            | DataType::Date
    );
    match names_paths {
        true => Ok(at),
        false => Err(IoError::config(format!(
            "the path names {{{name}}}, a {} column: integers, DECIMAL, BOOLEAN, DATE and VARCHAR can name a path; CAST it to VARCHAR, \
             or take %Y-%m-%d of the event time",
            field.data_type
        ))),
    }
}

/// As it was written, but for what stands twice.
impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.root.display().to_string();
        f.write_str(if root == "/" { "" } else { &root })?;
        for name in &self.names {
            f.write_char('/')?;
            for piece in name {
                match piece {
                    Piece::Text(text) => f.write_str(text)?,
                    Piece::Column(column) => write!(f, "{{{column}}}")?,
                    Piece::Time(field) => write!(f, "%{field}")?,
                }
            }
        }
        Ok(())
    }
}

impl Piece {
    fn longest(&self) -> usize {
        match self {
            Piece::Text(text) => text.len(),
            Piece::Column(_) => MAX_VALUE,
            Piece::Time(_) => 14,
        }
    }
}

fn pieces_of(name: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = name.chars().peekable();
    while let Some(c) = rest.next() {
        let piece = match c {
            '{' if rest.next_if_eq(&'{').is_some() => None,
            '}' if rest.next_if_eq(&'}').is_some() => None,
            '%' if rest.next_if_eq(&'%').is_some() => None,
            '{' => {
                let mut column = String::new();
                let ends = loop {
                    match rest.next() {
                        Some('}') => break true,
                        Some(c) => column.push(c),
                        None => break false,
                    }
                };
                match ends && !column.trim().is_empty() {
                    true => Some(Piece::Column(column.trim().to_owned())),
                    false => {
                        return Err(format!(
                            "'{name}': {{column}} names a column of the rows; write {{{{ for a brace itself"
                        ));
                    }
                }
            }
            '}' => return Err(format!("'{name}': '}}' without '{{'; write }}}} for a brace itself")),
            '%' => match rest.next() {
                Some(field) if "YymdjHMSF".contains(field) => Some(Piece::Time(field)),
                other => {
                    let field = other.map(String::from).unwrap_or_default();
                    return Err(format!(
                        "'%{field}' is no field of a time that a path can have; known are {FIELDS}"
                    ));
                }
            },
            _ => {
                text.push(c);
                continue;
            }
        };
        match piece {
            // Doubled: the character itself.
            None => text.push(c),
            Some(piece) => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(piece);
            }
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

#[derive(Clone, Debug)]
enum Bound {
    Text(String),
    Column(usize),
    Time(char),
}

/// The parts of a time.
#[derive(Clone, Copy, Debug, Default)]
struct Time {
    days: i32,
    date: (i32, u32, u32),
    second: i64,
}

/// The path of each row below the root.
#[derive(Clone, Debug)]
pub(super) struct RowPath {
    names: Vec<Vec<Bound>>,
    /// µs in which no field of a time changes; 0 without one.
    unit: i64,
    /// Which of these units `time` is.
    span: i64,
    time: Time,
}

impl RowPath {
    /// Whether all rows go to the same place.
    pub(super) fn is_fixed(&self) -> bool {
        self.names.is_empty()
    }

    /// Writes the directory of a row, without the root, in place of what `out` holds. `now` is for rows without event time, µs.
    pub(super) fn of(&mut self, record: &StreamRecord, now: impl FnOnce() -> i64, out: &mut String) {
        out.clear();
        if self.unit > 0 {
            let time = record.event_time().unwrap_or_else(now);
            let span = time.div_euclid(self.unit);
            if span != self.span {
                let days = time.div_euclid(MICROS_PER_DAY) as i32;
                let second = time.rem_euclid(MICROS_PER_DAY) / 1_000_000;
                (self.span, self.time) = (span, Time { days, date: civil_from_days(days), second });
            }
        }
        for (i, name) in self.names.iter().enumerate() {
            if i > 0 {
                out.push('/');
            }
            for piece in name {
                match piece {
                    Bound::Text(text) => out.push_str(text),
                    Bound::Column(at) => push_value(record.values().get(*at), out),
                    Bound::Time(field) => self.time.push(*field, out),
                }
            }
        }
    }
}

impl Time {
    fn push(&self, field: char, out: &mut String) {
        let (year, month, day) = self.date;
        // Writing into a String does not fail.
        let _ = match field {
            'Y' => write!(out, "{year:04}"),
            'y' => write!(out, "{:02}", year.rem_euclid(100)),
            'm' => write!(out, "{month:02}"),
            'd' => write!(out, "{day:02}"),
            'j' => write!(out, "{:03}", self.days - days_from_civil(year, 1, 1) + 1),
            'H' => write!(out, "{:02}", self.second / 3600),
            'M' => write!(out, "{:02}", self.second / 60 % 60),
            'S' => write!(out, "{:02}", self.second % 60),
            _ => write!(out, "{year:04}-{month:02}-{day:02}"),
        };
    }
}

/// Writes a value as a piece of a name.
fn push_value(value: Option<&FieldValue>, out: &mut String) {
    match value {
        None | Some(FieldValue::Null) => out.push_str(NULL),
        Some(FieldValue::String(text)) => push_text(text, out),
        Some(FieldValue::Integer(n)) => out.push_str(itoa::Buffer::new().format(*n)),
        Some(FieldValue::Boolean(b)) => out.push_str(if *b { "true" } else { "false" }),
        Some(FieldValue::Date(days)) => {
            let mut text = Vec::with_capacity(16);
            write_date(*days, &mut text);
            push_text(&String::from_utf8_lossy(&text), out);
        }
        Some(FieldValue::Decimal(d)) => push_text(&d.to_string(), out),
        // No other type is bound.
        Some(other) => push_text(&format!("{other:?}"), out),
    }
}

fn push_text(text: &str, out: &mut String) {
    if text.is_empty() {
        out.push_str("%empty");
        return;
    }
    let start = out.len();
    // Where the part that is kept of a long value ends.
    let mut kept = start;
    for (i, c) in text.char_indices() {
        let hides = i == 0 && (c == '.' || text.starts_with(NULL));
        if !hides && (c.is_alphanumeric() || "-_.".contains(c)) {
            out.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        if out.len() - start <= KEPT {
            kept = out.len();
        }
        if out.len() - start > MAX_VALUE {
            out.truncate(kept);
            out.push_str("%~");
            for byte in Sha256::digest(text.as_bytes()).iter().take(16) {
                let _ = write!(out, "{byte:02x}");
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn piece(value: impl Into<FieldValue>) -> String {
        let mut out = String::new();
        push_value(Some(&value.into()), &mut out);
        out
    }

    fn path(template: &str, columns: &[(&str, DataType)], values: Vec<FieldValue>, time: i64) -> String {
        let schema = Schema::of(columns.iter().map(|(n, t)| (*n, t.clone())));
        let mut record = StreamRecord::with_values(schema.clone(), values);
        record.set_event_time(Some(time));
        let mut out = "left over".to_owned();
        PathTemplate::parse(template).unwrap().bind(&schema).unwrap().of(&record, || 0, &mut out);
        out
    }

    #[test]
    fn a_value_is_one_harmless_name_and_different_values_give_different_names() {
        let long = "x".repeat(5000);
        let longer = format!("{long}y");
        let wide = "ü".repeat(300);
        let values = [
            "",
            ".",
            "..",
            "...",
            "../../etc/passwd",
            "/etc/passwd",
            "a/b",
            "a%2Fb",
            "a\\b",
            "a\0b",
            "\0",
            "\n",
            " ",
            "%",
            "%empty",
            "%00",
            NULL,
            "%5F_HIVE_DEFAULT_PARTITION__",
            "A",
            "a",
            "Ä",
            "ä",
            "ß",
            "a.b",
            ".hidden",
            "-",
            "--help",
            "~",
            "con",
            "a:b",
            "a=b",
            "\u{202e}gpj",
            "e\u{301}",
            "é",
            "日本",
            "😀",
            &long,
            &longer,
            &wide,
            "%~",
            ".stage",
        ];
        let mut names = BTreeSet::from([NULL.to_owned()]);
        assert_eq!(piece(FieldValue::Null), NULL);
        for value in values {
            let name = piece(value);
            assert!(!name.is_empty() && name.len() <= MAX_VALUE, "{value:?}: {name}");
            assert!(!name.starts_with('.') && !name.contains(['/', '\\', ':', ' ']), "{value:?}: {name}");
            assert!(!name.chars().any(char::is_control) && !name.contains('\u{202e}'), "{value:?}: {name}");
            assert!(names.insert(name), "{value:?} shares its name");
        }
        // Every character, alone and behind another.
        for c in (0..=0x2fff).filter_map(char::from_u32) {
            let name = piece(format!("z{c}").as_str());
            assert!(
                !name.contains('/') && name.chars().all(|c| c.is_alphanumeric() || "-_.%".contains(c)),
                "{name}"
            );
        }
        assert_eq!(piece("München-1_b.c"), "München-1_b.c");
        assert_eq!(piece("a/b c"), "a%2Fb%20c");
        assert_eq!(piece(-5i64), "-5");
    }

    #[test]
    fn columns_and_times_make_the_path() {
        let columns = [("c", DataType::Varchar), ("day", DataType::Date), ("n", DataType::BigInt)];
        let values = || vec!["de".into(), FieldValue::Date(0), 7i64.into()];
        // 2026-03-01T04:05:06Z, the 60th day of its year.
        let time = 1_772_337_906_000_000;
        let of = |template| path(template, &columns, values(), time);
        assert_eq!(of("out"), "");
        assert_eq!(of("out/{c}"), "de");
        assert_eq!(of("a/b/country={C}/{day}-{n}/x"), "country=de/1970-01-01-7/x");
        assert_eq!(of("%Y/%m/%d/%H-%M-%S/%j-%y/%F"), "2026/03/01/04-05-06/060-26/2026-03-01");
        assert_eq!(of("o/{c}{{}}100%%"), "de{}100%");
        assert_eq!(path("%F", &columns, values(), -1), "1969-12-31");
        // The ends of time are names too.
        assert_eq!(path("%Y-%H", &columns, values(), i64::MIN + 1), "-290308-19");
        assert_eq!(path("%Y-%H", &columns, values(), i64::MAX), "294247-04");
    }

    #[test]
    fn a_time_is_looked_at_again_when_a_field_changes() {
        let schema = Schema::of([("n", DataType::BigInt)]);
        let mut row = PathTemplate::parse("%F-%H").unwrap().bind(&schema).unwrap();
        let mut out = String::new();
        let mut at = |time| {
            let mut record = StreamRecord::with_values(schema.clone(), vec![1i64.into()]);
            record.set_event_time(time);
            row.of(&record, || 7200 * 1_000_000, &mut out);
            out.clone()
        };
        assert_eq!(at(Some(0)), "1970-01-01-00");
        assert_eq!(at(Some(3_599_999_999)), "1970-01-01-00");
        assert_eq!(at(Some(3_600_000_000)), "1970-01-01-01");
        assert_eq!(at(None), "1970-01-01-02");
        assert_eq!(at(Some(-1)), "1969-12-31-23");
    }

    #[test]
    fn the_root_is_what_no_row_changes() {
        let root =
            |path| PathTemplate::parse(path).map(|t| (t.root.display().to_string(), t.depth())).unwrap();
        assert_eq!(root("out"), ("out".into(), 0));
        assert_eq!(root("/a//b/{c}/d"), ("/a/b".into(), 2));
        assert_eq!(root("{c}"), (".".into(), 1));
        assert_eq!(root("/{c}"), ("/".into(), 1));
        assert_eq!(root("./x/../y"), ("./x/../y".into(), 0));
        assert_eq!(root("a%%b/{{x}}"), ("a%b/{x}".into(), 0));
    }

    #[test]
    fn what_makes_no_path_is_refused() {
        let parse = |path| PathTemplate::parse(path).unwrap_err().to_string();
        for (path, says) in [
            ("o/{c", "{column}"),
            ("o/{}", "{column}"),
            ("o/c}", "'}' without"),
            ("o/%D", "'%D' is no field"),
            ("o/100%", "'%' is no field"),
            ("o/{a}/..", "begins with a dot"),
            ("o/.{a}", "begins with a dot"),
            ("o/{a}{b}{c}", "can become 288 bytes long"),
        ] {
            assert!(parse(path).contains(says), "{path}: {}", parse(path));
        }
        let schema = Schema::of([("country", DataType::Varchar), ("x", DataType::Double)]);
        let bind = |path| PathTemplate::parse(path).unwrap().bind(&schema).unwrap_err().to_string();
        assert!(bind("o/{contry}").contains("did you mean country?"), "{}", bind("o/{contry}"));
        assert!(bind("o/{q9}").contains("they have country, x"), "{}", bind("o/{q9}"));
        assert!(bind("o/{x}").contains("CAST it to VARCHAR"), "{}", bind("o/{x}"));
    }
}
