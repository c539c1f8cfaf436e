//! The header line: column names, and where in the file each wanted column stands.

use super::scan::{Scanned, Scanner, unescape};
use crate::catalog::nearest;
use crate::codec::Input;
use crate::record::{CompactString, Schema};

/// The fields of the record that the scanner found last; `None` if they are not UTF-8.
pub(crate) fn split_line(
    scanner: &Scanner,
    record: &[u8],
    quote: Option<u8>,
    escape: Option<u8>,
) -> Option<Vec<String>> {
    let text = std::str::from_utf8(record).ok()?;
    let mut scratch = String::new();
    scanner
        .spans()
        .iter()
        .map(|span| {
            let field = text.get(span.start..span.end)?;
            match quote {
                Some(q) if span.escaped => {
                    unescape(field, q, escape, &mut scratch);
                    Some(scratch.clone())
                }
                _ => Some(field.to_owned()),
            }
        })
        .collect()
}

/// Makes column names of header fields: blanks around them dropped, an empty one is called `columnN` (N from 0),
/// one that was there before gets `_1`, `_2`, … behind it.
pub(crate) fn name_columns<'a>(fields: impl IntoIterator<Item = &'a str>) -> Vec<CompactString> {
    let mut names: Vec<CompactString> = Vec::new();
    for (i, field) in fields.into_iter().enumerate() {
        let field = field.trim();
        let base = if field.is_empty() { format!("column{i}") } else { field.to_owned() };
        let mut name = CompactString::new(&base);
        let mut n = 0;
        while names.contains(&name) {
            n += 1;
            name = CompactString::new(format!("{base}_{n}"));
        }
        names.push(name);
    }
    names
}

/// Where `name` stands among `names`: matched exactly, else as the only one without case.
pub(super) fn find(names: &[CompactString], name: &str) -> Option<usize> {
    names.iter().position(|n| n == name).or_else(|| {
        let mut hits = names.iter().enumerate().filter(|(_, n)| n.eq_ignore_ascii_case(name));
        match (hits.next(), hits.next()) {
            (Some((i, _)), None) => Some(i),
            _ => None,
        }
    })
}

/// The place in `names` of each wanted column.
///
/// # Errors
/// A sentence that names the first column that is missing; declared columns must be there even if they are not wanted.
pub(super) fn places(
    wanted: &Schema,
    declared: Option<&[CompactString]>,
    names: &[CompactString],
) -> Result<Vec<usize>, String> {
    let missing = |name: &str| {
        let near = nearest(name, names.iter().map(CompactString::as_str));
        let hint = if near.is_empty() {
            let mut all: Vec<&str> = names.iter().take(30).map(CompactString::as_str).collect();
            if names.len() > 30 {
                all.push("…");
            }
            format!("it has {}", all.join(", "))
        } else {
            format!("did you mean {}?", near.join(" or "))
        };
        format!("the CSV header has no column '{name}'; {hint} (header = 'false' takes columns by position)")
    };
    if let Some(name) = declared.unwrap_or_default().iter().find(|n| find(names, n).is_none()) {
        return Err(missing(name));
    }
    wanted.names().map(|name| find(names, name).ok_or_else(|| missing(name))).collect()
}

/// Whether a first line with these fields is taken for a header: it names at least half of the declared columns,
/// or no column is declared.
pub(super) fn looks_like_header(fields: &[CompactString], declared: Option<&[CompactString]>) -> bool {
    match declared {
        Some(declared) => {
            let found = declared.iter().filter(|d| find(fields, d).is_some()).count();
            found > 0 && found * 2 >= declared.len().min(fields.len())
        }
        None => true,
    }
}

/// A header found in bytes, for [`crate::codec::Decoder::read_head`]: the record's fields and nothing else.
pub(super) fn scan_header(
    scanner: &mut Scanner,
    bytes: &[u8],
    input: Input,
    quote: Option<u8>,
    escape: Option<u8>,
) -> HeaderLine {
    match scanner.scan(bytes, input) {
        Scanned::Incomplete => HeaderLine::Incomplete,
        Scanned::Broken { message, .. } => {
            HeaderLine::Bad(format!("the CSV header can't be read: {message}"))
        }
        Scanned::Record { len, consumed } => {
            let record = bytes.get(..len).unwrap_or_default();
            if memchr::memchr(0, record).is_some() {
                return HeaderLine::Bad(
                    "the CSV header holds a NUL byte: the file is UTF-16 or binary".into(),
                );
            }
            match split_line(scanner, record, quote, escape) {
                None => HeaderLine::Bad("the CSV header is not UTF-8".into()),
                Some(fields) => HeaderLine::Fields(fields, consumed),
            }
        }
    }
}

/// What [`scan_header`] found.
pub(super) enum HeaderLine {
    /// Its end has not come yet.
    Incomplete,
    /// It can't be used.
    Bad(String),
    /// The fields, and the length of the line with its end.
    Fields(Vec<String>, usize),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Options;
    use crate::codec::csv::CsvOptions;

    /// The message of a header that can't be used.
    fn bad(bytes: &[u8], input: Input) -> Option<String> {
        let options = CsvOptions::new(&Options::default()).unwrap();
        match scan_header(&mut Scanner::new(&options), bytes, input, options.quote, options.escape) {
            HeaderLine::Bad(message) => Some(message),
            _ => None,
        }
    }

    #[test]
    fn carriage_returns_end_no_header_and_are_not_part_of_one() {
        for input in [Input::Complete, Input::Partial] {
            for text in [&b"a,b\r1,2\r3,4"[..], b"a,b\r1,2\r3,4\n", b"a\rb\n", b"a\rb\r\n1\n"] {
                let message = bad(text, input);
                assert!(
                    message.as_ref().is_some_and(|m| m.contains("neither in quotes nor before a line feed")),
                    "{text:?} {message:?}"
                );
            }
            assert_eq!(bad(b"a,\"\rb\"\r\n1\n", input), None);
        }
    }
}
