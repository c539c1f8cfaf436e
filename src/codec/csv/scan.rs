//! One record at a time, quotes and all: the strict scanner behind the fast path, the header and inference.

use memchr::{memchr, memchr2, memchr3};

use super::dialect::CsvOptions;
use crate::codec::Input;
use crate::record::ErrorCode;

/// Where a field's text stands in its record; for a quoted field that is what the quotes enclose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First byte.
    pub(crate) start: usize,
    /// Behind the last byte.
    pub(crate) end: usize,
    /// It stood in quotes.
    pub(crate) quoted: bool,
    /// It holds escapes to be resolved.
    pub(crate) escaped: bool,
}

/// What [`Scanner::scan`] found at the front of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// A record; its fields are in [`Scanner::spans`].
    Record {
        /// Length without the line end.
        len: usize,
        /// Length with it.
        consumed: usize,
    },
    /// It has no end yet.
    Incomplete,
    /// It breaks the rules; its first line is to be rejected.
    Broken {
        /// `Malformed` or `TooLarge`.
        code: ErrorCode,
        /// Which rule.
        message: &'static str,
        /// Where.
        at: usize,
    },
}

/// How a field ended.
enum FieldEnd {
    Delimiter(usize),
    /// Line feed at this place; the content ended at `len`.
    Line {
        len: usize,
        next: usize,
    },
    Incomplete,
    Broken(ErrorCode, &'static str, usize),
}

/// Finds the fields of a record.
#[derive(Clone, Debug)]
pub(crate) struct Scanner {
    delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    trim: bool,
    max: usize,
    spans: Vec<Span>,
}

impl Scanner {
    /// For a dialect.
    pub(crate) fn new(options: &CsvOptions) -> Self {
        Self {
            delimiter: options.separator(),
            quote: options.quote,
            escape: options.escape,
            trim: options.trim,
            max: options.max_record_bytes,
            spans: Vec::new(),
        }
    }

    /// The fields of the record found last.
    pub(crate) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Finds the record at the front of `bytes`, which begin with it.
    pub(crate) fn scan(&mut self, bytes: &[u8], input: Input) -> Scanned {
        self.spans.clear();
        // The line feed of the longest record allowed stands at index `max`.
        let (seen, input) = match bytes.get(..self.max.saturating_add(1)) {
            Some(cut) => (cut, None),
            None => (bytes, Some(input)),
        };
        let mut start = 0;
        loop {
            match self.field(seen, start, input) {
                FieldEnd::Delimiter(at) => start = at + 1,
                FieldEnd::Line { len, next } => return Scanned::Record { len, consumed: next },
                FieldEnd::Incomplete => return Scanned::Incomplete,
                FieldEnd::Broken(code, message, at) => return Scanned::Broken { code, message, at },
            }
        }
    }

    fn field(&mut self, bytes: &[u8], start: usize, input: Option<Input>) -> FieldEnd {
        let mut from = start;
        if self.trim {
            from += blanks(bytes.get(from..).unwrap_or_default(), self.delimiter);
        }
        match bytes.get(from) {
            Some(b) if Some(*b) == self.quote => self.quoted_field(bytes, from, *b, input),
            _ => self.plain_field(bytes, from, input),
        }
    }

    fn plain_field(&mut self, bytes: &[u8], start: usize, input: Option<Input>) -> FieldEnd {
        let rest = bytes.get(start..).unwrap_or_default();
        let found = match self.quote {
            Some(q) => memchr3(self.delimiter, b'\n', q, rest),
            None => memchr2(self.delimiter, b'\n', rest),
        };
        let Some(len) = found else {
            if input != Some(Input::Complete) {
                return too_long_or_incomplete(input);
            }
            let end = start + strip_cr(rest);
            return match self.push_plain(bytes, start, end) {
                Ok(()) => FieldEnd::Line { len: end, next: bytes.len() },
                Err(broken) => broken,
            };
        };
        match rest.get(len) {
            Some(b'\n') => {
                let end = start + strip_cr(rest.get(..len).unwrap_or_default());
                match self.push_plain(bytes, start, end) {
                    Ok(()) => FieldEnd::Line { len: end, next: start + len + 1 },
                    Err(broken) => broken,
                }
            }
            Some(b) if *b == self.delimiter => match self.push_plain(bytes, start, start + len) {
                Ok(()) => FieldEnd::Delimiter(start + len),
                Err(broken) => broken,
            },
            _ => FieldEnd::Broken(
                ErrorCode::Malformed,
                "a quote inside a field that does not begin with one",
                start + len,
            ),
        }
    }

    fn push_plain(&mut self, bytes: &[u8], start: usize, mut end: usize) -> Result<(), FieldEnd> {
        let text = bytes.get(start..end).unwrap_or_default();
        if let Some(at) = memchr(b'\r', text) {
            // As in PostgreSQL: otherwise a file whose lines end in carriage returns alone would be one odd row.
            let message = "a carriage return that is neither in quotes nor before a line feed";
            return Err(FieldEnd::Broken(ErrorCode::Malformed, message, start + at));
        }
        if self.trim {
            end -= text.iter().rev().take_while(|b| matches!(b, b' ' | b'\t')).count();
        }
        self.spans.push(Span { start, end, quoted: false, escaped: false });
        Ok(())
    }

    fn quoted_field(&mut self, bytes: &[u8], open: usize, quote: u8, input: Option<Input>) -> FieldEnd {
        let (mut at, mut escaped) = (open + 1, false);
        let close = loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let found = match self.escape {
                Some(e) => memchr2(quote, e, rest),
                None => memchr(quote, rest),
            };
            let Some(i) = found.map(|i| at + i) else {
                return never_closed(input, open);
            };
            let next = bytes.get(i + 1).copied();
            let is_quote = bytes.get(i) == Some(&quote);
            match (is_quote, self.escape, next) {
                // `""`, or an escape and whatever it escapes.
                (true, None, Some(n)) if n == quote => (at, escaped) = (i + 2, true),
                (false, _, Some(_)) => (at, escaped) = (i + 2, true),
                (false, _, None) => return never_closed(input, open),
                (true, _, _) => break i,
            }
        };
        self.spans.push(Span { start: open + 1, end: close, quoted: true, escaped });
        let mut behind = close + 1;
        if self.trim {
            behind += blanks(bytes.get(behind..).unwrap_or_default(), self.delimiter);
        }
        match (bytes.get(behind), bytes.get(behind + 1)) {
            (Some(b), _) if *b == self.delimiter => FieldEnd::Delimiter(behind),
            (Some(b'\n'), _) => FieldEnd::Line { len: behind, next: behind + 1 },
            (Some(b'\r'), Some(b'\n')) => FieldEnd::Line { len: behind, next: behind + 2 },
            (None, _) | (Some(b'\r'), None) => match input {
                Some(Input::Complete) => FieldEnd::Line { len: behind, next: bytes.len() },
                _ => too_long_or_incomplete(input),
            },
            _ => FieldEnd::Broken(ErrorCode::Malformed, "text behind a closing quote", behind),
        }
    }
}

/// The bytes ran out: because they were cut at the longest record allowed (`None`), or because no more have come.
fn too_long_or_incomplete(input: Option<Input>) -> FieldEnd {
    match input {
        None => FieldEnd::Broken(ErrorCode::TooLarge, "longer than max_record_bytes", 0),
        Some(_) => FieldEnd::Incomplete,
    }
}

fn never_closed(input: Option<Input>, open: usize) -> FieldEnd {
    match input {
        None => {
            FieldEnd::Broken(ErrorCode::TooLarge, "a quote that is not closed within max_record_bytes", open)
        }
        Some(Input::Complete) => FieldEnd::Broken(ErrorCode::Malformed, "a quote that is never closed", open),
        Some(Input::Partial) => FieldEnd::Incomplete,
    }
}

/// Length without a carriage return at the end.
pub(super) fn strip_cr(line: &[u8]) -> usize {
    line.strip_suffix(b"\r").unwrap_or(line).len()
}

fn blanks(bytes: &[u8], delimiter: u8) -> usize {
    bytes.iter().take_while(|b| matches!(b, b' ' | b'\t') && **b != delimiter).count()
}

/// Resolves the escapes of a quoted field.
pub(crate) fn unescape(text: &str, quote: u8, escape: Option<u8>, out: &mut String) {
    out.clear();
    let escape = char::from(escape.unwrap_or(quote));
    let mut rest = text;
    while let Some(at) = rest.find(escape) {
        out.push_str(rest.get(..at).unwrap_or_default());
        let mut behind = rest.get(at + 1..).unwrap_or_default().chars();
        out.extend(behind.next());
        rest = behind.as_str();
    }
    out.push_str(rest);
}
