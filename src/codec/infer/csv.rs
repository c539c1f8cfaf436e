//! Columns of a CSV file: delimiter, header, types.

use std::sync::Arc;

use super::guess::{Column, Types};
use super::{Fed, SIGN, foreign, skip_line};
use crate::codec::Input;
use crate::codec::csv::{
    CsvOptions, HeaderMode, Scanned, Scanner, is_null_token, name_columns, split_line, unescape,
};
use crate::record::{Field, Schema};

/// Separators that are tried if none is stated.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The first row, which may be the header.
struct FirstRow {
    fields: Vec<String>,
    quoted: Vec<bool>,
}

pub(super) struct CsvSampler {
    options: CsvOptions,
    scanner: Scanner,
    /// The byte order mark is dealt with.
    begun: bool,
    /// There is anything but blank lines.
    seen: bool,
    /// Lines still to skip at the start.
    skip: u64,
    first: Option<FirstRow>,
    columns: Vec<Column>,
    rows: u64,
    /// Within a line that can't be read.
    skipping: bool,
    failure: Option<String>,
    scratch: String,
}

impl CsvSampler {
    pub(super) fn new(options: CsvOptions) -> Self {
        Self {
            scanner: Scanner::new(&options),
            skip: options.skip_lines,
            begun: false,
            seen: false,
            first: None,
            columns: Vec::new(),
            rows: 0,
            skipping: false,
            failure: None,
            scratch: String::new(),
            options,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], input: Input, limit: u64) -> Fed {
        let mut at = 0;
        self.seen |= bytes.iter().any(|b| !b.is_ascii_whitespace());
        if !self.begun {
            if bytes.len() < SIGN && input == Input::Partial {
                return Fed::default();
            }
            self.begun = true;
            if bytes.starts_with(b"\xEF\xBB\xBF") {
                at = 3;
            } else {
                self.failure = foreign(bytes).map(str::to_owned);
            }
        }
        loop {
            // The first row is counted here, since it is looked at too if it is no header.
            if self.failure.is_some() || self.rows > limit {
                return Fed { consumed: at, enough: true };
            }
            let rest = bytes.get(at..).unwrap_or_default();
            let step = if rest.is_empty() { 0 } else { self.record(rest, input) };
            if step == 0 {
                return Fed { consumed: at, enough: false };
            }
            at += step;
        }
    }

    /// Looks at the record at the front; returns how many bytes it takes, 0 if its end has not come.
    fn record(&mut self, rest: &[u8], input: Input) -> usize {
        if self.skipping || self.skip > 0 {
            let (len, over) = skip_line(rest, input);
            if over {
                self.skip = self.skip.saturating_sub(u64::from(!self.skipping));
                self.skipping = false;
            } else if !self.skipping {
                // Counted when its end comes.
                return 0;
            }
            return len;
        }
        let line_end = memchr::memchr(b'\n', rest);
        let blank = matches!(rest, [b'\n', ..] | [b'\r', b'\n', ..]) && self.columns.len() != 1;
        let comment = self.options.comment.is_some() && rest.first().copied() == self.options.comment;
        if let (true, Some(end)) = (blank || comment, line_end) {
            return end + 1;
        }
        if self.first.is_none() && self.options.delimiter.is_none() {
            match line_end {
                None if input == Input::Partial && rest.len() <= self.options.max_record_bytes => return 0,
                end => self.choose_delimiter(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()),
            }
        }
        match self.scanner.scan(rest, input) {
            Scanned::Incomplete => 0,
            Scanned::Record { len, consumed } => {
                self.row(rest.get(..len).unwrap_or_default());
                consumed
            }
            Scanned::Broken { message, .. } => {
                if self.first.is_none() {
                    self.failure = Some(format!("its first line can't be read: {message}"));
                }
                let (len, over) = skip_line(rest, input);
                self.skipping = !over;
                len
            }
        }
    }

    /// The separator that occurs most often in the first line, outside of quotes.
    fn choose_delimiter(&mut self, line: &[u8]) {
        let mut counts = [0usize; DELIMITERS.len()];
        let mut quoted = false;
        for b in line {
            if Some(*b) == self.options.quote {
                quoted = !quoted;
            } else if let (false, Some(i)) = (quoted, DELIMITERS.iter().position(|d| d == b))
                && let Some(count) = counts.get_mut(i)
            {
                *count += 1;
            }
        }
        let mut best = (0, b',');
        for (count, delimiter) in counts.iter().zip(DELIMITERS) {
            if *count > best.0 {
                best = (*count, delimiter);
            }
        }
        self.options.delimiter = Some(best.1);
        self.scanner = Scanner::new(&self.options);
    }

    fn row(&mut self, record: &[u8]) {
        let text = match (memchr::memchr(0, record), std::str::from_utf8(record)) {
            (None, Ok(text)) => text,
            (nul, _) => {
                let why = match nul {
                    Some(_) => "its first line holds a NUL byte: the file is UTF-16 or binary",
                    None => "its first line is not UTF-8",
                };
                if self.first.is_none() {
                    self.failure = Some(why.into());
                }
                return;
            }
        };
        self.rows += 1;
        let (quote, escape) = (self.options.quote, self.options.escape);
        if self.first.is_none() {
            let fields = split_line(&self.scanner, record, quote, escape).unwrap_or_default();
            let quoted = self.scanner.spans().iter().map(|s| s.quoted).collect();
            self.columns = vec![Column::NEW; fields.len()];
            self.first = Some(FirstRow { fields, quoted });
            return;
        }
        for (column, span) in self.columns.iter_mut().zip(self.scanner.spans()) {
            let mut field = text.get(span.start..span.end).unwrap_or_default();
            if let (true, Some(quote)) = (span.escaped, quote) {
                unescape(field, quote, escape, &mut self.scratch);
                field = &self.scratch;
            }
            see(column, field, span.quoted, &self.options);
        }
    }

    /// Whether the first row names the columns. A field that is a number, a time or a boolean says no; a NULL over
    /// numbers or times says no too, but for an empty first name (a row index, as pandas writes it). Else it
    /// is taken for a header, also where all columns are text.
    fn first_is_header(&self, first: &FirstRow) -> bool {
        match self.options.header {
            HeaderMode::Present => return true,
            HeaderMode::Absent => return false,
            HeaderMode::Auto => {}
        }
        if first.fields.iter().all(|f| f.trim().is_empty()) {
            return false;
        }
        let varchar = crate::record::DataType::Varchar;
        first.fields.iter().zip(&self.columns).enumerate().all(|(i, (field, column))| {
            let null = field.is_empty() || is_null_token(field);
            let index_name = i == 0 && field.is_empty();
            Types::of(field, &self.options.timestamp_format).is_empty()
                && (!null || index_name || column.data_type() == varchar)
        })
    }

    pub(super) fn finish(mut self) -> Result<(Arc<Schema>, CsvOptions, u64), String> {
        let what = "the columns of the CSV input can't be inferred";
        if let Some(why) = self.failure {
            return Err(format!("{what}: {why}"));
        }
        let Some(first) = self.first.take() else {
            let why = if self.seen { "there is no whole line yet" } else { "it is empty" };
            return Err(format!("{what}: {why}; declare the columns"));
        };
        let header = self.first_is_header(&first);
        let names = if header {
            self.rows -= 1;
            name_columns(first.fields.iter().map(String::as_str))
        } else {
            for ((column, field), quoted) in self.columns.iter_mut().zip(&first.fields).zip(&first.quoted) {
                see(column, field, *quoted, &self.options);
            }
            name_columns(first.fields.iter().map(|_| ""))
        };
        let fields = names.iter().zip(&self.columns).map(|(n, c)| Field::new(n, c.data_type()));
        let options = CsvOptions {
            header: if header { HeaderMode::Present } else { HeaderMode::Absent },
            inferred: true,
            ..self.options
        };
        Ok((Schema::new(fields), options, self.rows))
    }
}

fn see(column: &mut Column, field: &str, quoted: bool, options: &CsvOptions) {
    if !quoted && (field.is_empty() || options.null_values.iter().any(|n| n == field)) {
        return;
    }
    if !quoted && is_null_token(field) {
        column.see_null_word();
    } else {
        column.see(field, &options.timestamp_format);
    }
}
