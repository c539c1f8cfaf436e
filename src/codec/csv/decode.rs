//! The decoder: rows without quotes by index, the others by the scanner.

use std::sync::Arc;

use memchr::{memchr, memchr_iter};

use super::boundary::boundary;
use super::dialect::{CsvOptions, HeaderMode};
use super::header::{self, HeaderLine};
use super::index::{Index, Line};
use super::scan::{Scanned, Scanner, strip_cr, unescape};
use super::value::{Column, Misfit, Nulls};
use crate::catalog::OptionError;
use crate::codec::framing::{KEPT_OF_LONG, Skipped};
use crate::codec::{Decoded, Decoder, Input, Origin};
use crate::record::{BatchBuilder, CompactString, ErrorCode, RecordError, Reject, Schema};

/// Bytes that are indexed at a time: within the first-level cache.
const PIECE: usize = 16 << 10;

/// Decodes CSV.
#[derive(Clone, Debug)]
pub struct CsvDecoder {
    options: CsvOptions,
    pub(super) schema: Arc<Schema>,
    declared: Option<Vec<CompactString>>,
    columns: Vec<Column>,
    nulls: Nulls,
    /// Per wanted column its place among the fields of a row; empty until the header is known.
    places: Vec<usize>,
    /// Fields of a whole row.
    width: usize,
    stage: Stage,
    failure: Option<String>,
    /// A record longer than allowed that is under way.
    long: Option<Skipped>,
    scanner: Scanner,
    index: Index,
    scratch: String,
    /// Bytes of an average row, for the size of the next piece.
    row_bytes: usize,
}

/// What comes next in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A byte order mark, perhaps.
    Mark,
    /// So many lines to skip.
    Skip(u64),
    /// The header, perhaps.
    Header,
    /// Rows.
    Rows,
    /// Nothing can be read: each line is rejected.
    Failed,
}

/// How far into the input a call is.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    lines: u64,
    input: Input,
    origin: Origin,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
    fn offset(&self) -> u64 {
        self.origin.offset + self.at as u64
    }
    fn line(&self) -> u64 {
        self.origin.line + self.lines
    }
    /// The first line of what is left: its length without and with its end. At the end of the input the rest is a line.
    fn first_line(&self) -> Option<(usize, usize)> {
        let rest = self.rest();
        match memchr(b'\n', rest) {
            Some(end) => Some((strip_cr(rest.get(..end).unwrap_or_default()), end + 1)),
            None if self.input == Input::Complete => Some((strip_cr(rest), rest.len())),
            None => None,
        }
    }
    /// Steps over bytes that hold any number of line feeds.
    fn consume(&mut self, len: usize) {
        let passed = self.rest().get(..len).unwrap_or_default();
        self.lines += memchr_iter(b'\n', passed).count() as u64;
        self.at += len;
    }
}

/// Whether reading can go on.
#[derive(PartialEq, Eq)]
enum Step {
    Go,
    NeedsMore,
}

impl CsvDecoder {
    /// A decoder of `schema`, the wanted columns in the wanted order.
    ///
    /// `declared` are the names of all columns in declared order. With a header, columns are found by name and each
    /// declared one must be there; without, they stand in the file as declared. `None`: the names come from the header,
    /// which must be there.
    ///
    /// # Errors
    /// No header where names come from it, or a wanted column that is not declared.
    pub fn new(
        schema: Arc<Schema>,
        declared: Option<&[CompactString]>,
        options: CsvOptions,
    ) -> Result<Self, OptionError> {
        let error = |message: String| OptionError { name: "header".into(), message };
        if declared.is_none() && options.header == HeaderMode::Absent {
            return Err(error("without a header the columns must be declared".into()));
        }
        if let Some(names) = declared
            && let Some(name) = schema.names().find(|n| header::find(names, n).is_none())
        {
            return Err(error(format!("column '{name}' is not among the declared ones")));
        }
        let columns = schema.fields().iter().map(|f| Column::new(f, &options)).collect();
        let mut decoder = Self {
            columns,
            nulls: Nulls::new(&options),
            places: Vec::new(),
            width: 0,
            stage: Stage::Mark,
            failure: None,
            long: None,
            scanner: Scanner::new(&options),
            index: Index::default(),
            scratch: String::new(),
            row_bytes: 128,
            declared: declared.map(<[_]>::to_vec),
            schema,
            options,
        };
        if decoder.options.header == HeaderMode::Absent {
            decoder.take_declared_order();
        }
        Ok(decoder)
    }

    fn take_declared_order(&mut self) {
        let names = self.declared.take().unwrap_or_default();
        self.width = names.len();
        // Each wanted column is among the declared ones: `new` saw to it.
        self.places = self.schema.names().filter_map(|n| header::find(&names, n)).collect();
        self.declared = Some(names);
    }

    fn fail(&mut self, message: String) {
        self.failure = Some(message);
        self.stage = Stage::Failed;
    }

    /// Deals with what comes before the rows.
    fn begin(&mut self, cursor: &mut Cursor<'_>) -> Step {
        if self.stage == Stage::Mark {
            let rest = cursor.rest();
            if rest.len() < 3 && cursor.input == Input::Partial {
                return Step::NeedsMore;
            }
            match rest {
                [0xEF, 0xBB, 0xBF, ..] => cursor.at += 3,
                [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
                    self.fail("the file is UTF-16 (it begins with its byte order mark), not UTF-8".into());
                    return Step::Go;
                }
                _ => {}
            }
            self.stage = Stage::Skip(self.options.skip_lines);
        }
        while let Stage::Skip(n) = self.stage {
            if n == 0 {
                self.stage =
                    if self.options.header == HeaderMode::Absent { Stage::Rows } else { Stage::Header };
                break;
            }
            match cursor.first_line() {
                Some((_, 0)) | None => return Step::NeedsMore,
                Some((_, whole)) => cursor.consume(whole),
            }
            self.stage = Stage::Skip(n - 1);
        }
        while self.stage == Stage::Header {
            match cursor.first_line() {
                Some((_, 0)) => return Step::NeedsMore,
                Some((len, whole)) if len == 0 || self.is_comment(cursor.rest()) => cursor.consume(whole),
                _ if self.read_header(cursor) == Step::NeedsMore => return Step::NeedsMore,
                _ => {}
            }
        }
        Step::Go
    }

    fn is_comment(&self, line: &[u8]) -> bool {
        self.options.comment.is_some() && line.first().copied() == self.options.comment
    }

    fn read_header(&mut self, cursor: &mut Cursor<'_>) -> Step {
        let (quote, escape) = (self.options.quote, self.options.escape);
        let (fields, len) =
            match header::scan_header(&mut self.scanner, cursor.rest(), cursor.input, quote, escape) {
                HeaderLine::Incomplete => return Step::NeedsMore,
                HeaderLine::Bad(message) => {
                    self.fail(message);
                    return Step::Go;
                }
                HeaderLine::Fields(fields, len) => (fields, len),
            };
        let names = header::name_columns(fields.iter().map(String::as_str));
        let auto = self.options.header == HeaderMode::Auto;
        if auto && !header::looks_like_header(&names, self.declared.as_deref()) {
            self.take_declared_order();
            self.stage = Stage::Rows;
            return Step::Go;
        }
        match header::places(&self.schema, self.declared.as_deref(), &names) {
            Ok(places) => {
                (self.places, self.width, self.stage) = (places, names.len(), Stage::Rows);
                cursor.consume(len);
            }
            Err(message) => self.fail(message),
        }
        Step::Go
    }

    /// Reads rows of the next piece; only `NeedsMore` ends the call (or a full batch).
    fn rows(&mut self, cursor: &mut Cursor<'_>, out: &mut BatchBuilder) -> Step {
        let wanted = out.room().saturating_mul(self.row_bytes).clamp(256, PIECE);
        let base = cursor.at;
        let piece = cursor.bytes.get(base..(base + wanted).min(cursor.bytes.len())).unwrap_or_default();
        let mut index = std::mem::take(&mut self.index);
        index.build(piece, self.options.separator(), self.options.quote);
        let step = self.indexed_rows(cursor, piece, &index, out);
        self.index = index;
        step
    }

    fn indexed_rows(
        &mut self,
        cursor: &mut Cursor<'_>,
        piece: &[u8],
        index: &Index,
        out: &mut BatchBuilder,
    ) -> Step {
        let base = cursor.at;
        let whole_lines = index.lines().last().and_then(|l| piece.get(..l.end as usize + 1));
        let Some(whole_lines) = whole_lines else {
            return self.odd_row(cursor, out);
        };
        self.row_bytes = whole_lines.len() / index.lines().len() + 1;
        let text = simdutf8::basic::from_utf8(whole_lines).ok();
        let returns = memchr(b'\r', whole_lines).is_some();
        let mut before = 0;
        for line in index.lines() {
            let start = cursor.at - base;
            // A quoted field may have taken this line along.
            if line.end as usize >= start {
                if out.is_full() {
                    break;
                }
                match text {
                    Some(text)
                        if self.is_plain(text, start, line, before)
                            && !(returns && has_bare_return(text, start, line.end as usize)) =>
                    {
                        let row = PlainRow { start, delimiters: index.delimiters(before, line.delimiters) };
                        self.plain_row(cursor, text, &row, line.end as usize, out);
                    }
                    _ => {
                        if self.odd_row(cursor, out) == Step::NeedsMore {
                            return Step::NeedsMore;
                        }
                    }
                }
            }
            before = line.delimiters;
        }
        Step::Go
    }

    /// Whether the line is a row of the right width without quotes: nearly all are.
    #[inline]
    fn is_plain(&self, text: &str, start: usize, line: &Line, before: u32) -> bool {
        let end = line.end as usize;
        !line.special
            && (line.delimiters - before) as usize + 1 == self.width
            && end - start <= self.options.max_record_bytes
            && (self.width > 1 || end > start)
            && (self.options.comment.is_none()
                || !self.is_comment(text.as_bytes().get(start..).unwrap_or_default()))
    }

    #[inline]
    fn plain_row(
        &mut self,
        cursor: &mut Cursor<'_>,
        text: &str,
        row: &PlainRow<'_>,
        line_feed: usize,
        out: &mut BatchBuilder,
    ) {
        let line = text.get(row.start..line_feed).unwrap_or_default();
        let end = row.start + strip_cr(line.as_bytes());
        let record = out.recycled_record();
        record.set_offset(Some(cursor.offset() as i64));
        let mut failed = None;
        for ((slot, column), place) in record.values_mut().iter_mut().zip(&mut self.columns).zip(&self.places)
        {
            let from = match place.checked_sub(1).and_then(|p| row.delimiters.get(p)) {
                Some(d) => *d as usize + 1,
                None => row.start,
            };
            let to = row.delimiters.get(*place).map_or(end, |d| *d as usize);
            let mut field = text.get(from..to).unwrap_or_default();
            if self.options.trim {
                field = field.trim_matches([' ', '\t']);
            }
            if let Err(misfit) = column.read(field, false, &self.nulls, slot) {
                failed = Some(column.error(misfit, field).at_byte(from - row.start));
                break;
            }
        }
        match failed {
            None => out.add_bytes(line.len() + 1),
            Some(error) => {
                out.undo();
                reject(cursor, text.as_bytes().get(row.start..end).unwrap_or_default(), error, out);
            }
        }
        cursor.at += line.len() + 1;
        cursor.lines += 1;
    }

    /// Reads the record at the cursor the long way: it may hold quotes, be blank, ragged, broken, the last.
    fn odd_row(&mut self, cursor: &mut Cursor<'_>, out: &mut BatchBuilder) -> Step {
        let rest = cursor.rest();
        if let Some((len, whole)) = cursor.first_line() {
            let blank = len == 0 && self.width != 1;
            if blank || (self.is_comment(rest) && whole <= self.options.max_record_bytes) {
                cursor.consume(whole);
                return Step::Go;
            }
        }
        match self.scanner.scan(rest, cursor.input) {
            Scanned::Incomplete => Step::NeedsMore,
            Scanned::Broken { code, message, at } => {
                self.broken(cursor, RecordError::new(code, message).at_byte(at), out)
            }
            Scanned::Record { len, consumed } => {
                let record = rest.get(..len).unwrap_or_default();
                match self.scanned_row(record, cursor.offset(), out) {
                    Ok(()) => out.add_bytes(consumed),
                    Err(error) => reject(cursor, record, error, out),
                }
                cursor.consume(consumed);
                Step::Go
            }
        }
    }

    /// What is said of a row with so many fields, and which option would take it.
    fn misfit(&self, fields: usize) -> String {
        let option = if fields < self.width { "pad" } else { "truncate" };
        let plural = if fields == 1 { "" } else { "s" };
        format!(
            "{fields} field{plural} where {} are expected; ragged = '{option}' takes such rows",
            self.width
        )
    }

    /// Converts the record that the scanner has found.
    fn scanned_row(&mut self, record: &[u8], offset: u64, out: &mut BatchBuilder) -> Result<(), RecordError> {
        let text = check_encoding(record)?;
        let spans = self.scanner.spans();
        let ragged = self.options.ragged;
        if (spans.len() < self.width && !ragged.pad) || (spans.len() > self.width && !ragged.truncate) {
            return Err(RecordError::new(ErrorCode::RaggedRow, self.misfit(spans.len())));
        }
        let slots = out.recycled_record();
        slots.set_offset(Some(offset as i64));
        for ((slot, column), place) in slots.values_mut().iter_mut().zip(&mut self.columns).zip(&self.places)
        {
            let (result, field, at): (Result<(), Misfit>, &str, usize) = match spans.get(*place) {
                None => (column.missing(slot), "", record.len()),
                Some(span) => {
                    let mut field = text.get(span.start..span.end).unwrap_or_default();
                    if let (true, Some(quote)) = (span.escaped, self.options.quote) {
                        unescape(field, quote, self.options.escape, &mut self.scratch);
                        field = &self.scratch;
                    }
                    (column.read(field, span.quoted, &self.nulls, slot), field, span.start)
                }
            };
            if let Err(misfit) = result {
                let error = column.error(misfit, field).at_byte(at);
                out.undo();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Rejects the first line of a record that breaks the rules.
    fn broken(&mut self, cursor: &mut Cursor<'_>, error: RecordError, out: &mut BatchBuilder) -> Step {
        let (rest, max) = (cursor.rest(), self.options.max_record_bytes);
        let (end, whole) = match memchr(b'\n', rest) {
            Some(end) if end <= max => (end, end + 1),
            None if rest.len() <= max && cursor.input == Input::Partial => return Step::NeedsMore,
            None if rest.len() <= max => (rest.len(), rest.len()),
            _ => {
                let origin = Origin { offset: cursor.offset(), line: cursor.line() };
                let message = format!("longer than max_record_bytes ({max})");
                let error = RecordError::new(ErrorCode::TooLarge, message);
                self.long = Some(Skipped::new(origin, KEPT_OF_LONG, error));
                return self.skip_long(cursor, out);
            }
        };
        let line = rest.get(..end).unwrap_or_default();
        let line = line.get(..strip_cr(line)).unwrap_or_default();
        reject(cursor, line, check_encoding(line).err().unwrap_or(error), out);
        cursor.consume(whole);
        Step::Go
    }

    /// Consumes what there is of a record that is too long; rejects it when its line ends.
    fn skip_long(&mut self, cursor: &mut Cursor<'_>, out: &mut BatchBuilder) -> Step {
        let Some(mut long) = self.long.take() else { return Step::Go };
        let rest = cursor.rest();
        let end = memchr(b'\n', rest);
        let part = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        long.extend(part);
        cursor.consume(part.len() + usize::from(end.is_some()));
        if end.is_none() && cursor.input == Input::Partial {
            self.long = Some(long);
            return Step::NeedsMore;
        }
        long.finish(out);
        Step::Go
    }

    /// Rejects a line of a file that can't be read at all.
    fn refuse(&mut self, cursor: &mut Cursor<'_>, out: &mut BatchBuilder) -> Step {
        let message = self.failure.clone().unwrap_or_default();
        self.broken(cursor, RecordError::new(ErrorCode::Malformed, message), out)
    }
}

/// Whether the line of a file with carriage returns holds one that is not part of its end.
fn has_bare_return(text: &str, start: usize, line_feed: usize) -> bool {
    let line = text.as_bytes().get(start..line_feed).unwrap_or_default();
    memchr(b'\r', line).is_some_and(|at| at < strip_cr(line))
}

/// A row without quotes: where it begins in its piece, and its delimiters.
struct PlainRow<'a> {
    start: usize,
    delimiters: &'a [u32],
}

fn check_encoding(record: &[u8]) -> Result<&str, RecordError> {
    if let Some(at) = memchr(0, record) {
        let message = "a NUL byte: the data is UTF-16 or binary";
        return Err(RecordError::new(ErrorCode::Encoding, message).at_byte(at));
    }
    simdutf8::basic::from_utf8(record).or_else(|_| {
        // The fast check does not say where.
        std::str::from_utf8(record)
            .map_err(|e| RecordError::new(ErrorCode::Encoding, "not valid UTF-8").at_byte(e.valid_up_to()))
    })
}

#[cold]
fn reject(cursor: &Cursor<'_>, raw: &[u8], error: RecordError, out: &mut BatchBuilder) {
    out.reject(Reject {
        at: 0,
        offset: cursor.offset() as i64,
        line: Some(cursor.line()),
        raw: raw.to_vec(),
        raw_len: raw.len() as u64,
        error,
    });
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, bytes: &[u8], input: Input, origin: Origin, out: &mut BatchBuilder) -> Decoded {
        let mut cursor = Cursor { bytes, at: 0, lines: 0, input, origin };
        while !out.is_full() {
            let step = if self.long.is_some() {
                self.skip_long(&mut cursor, out)
            } else if cursor.rest().is_empty() {
                break;
            } else {
                match self.stage {
                    Stage::Rows => self.rows(&mut cursor, out),
                    Stage::Failed => self.refuse(&mut cursor, out),
                    Stage::Mark | Stage::Skip(_) | Stage::Header => self.begin(&mut cursor),
                }
            };
            if step == Step::NeedsMore {
                break;
            }
        }
        Decoded { consumed: cursor.at, lines: cursor.lines }
    }

    fn reset(&mut self, at_start: bool) {
        self.long = None;
        if at_start {
            (self.stage, self.failure) = (Stage::Mark, None);
            if self.options.header != HeaderMode::Absent {
                self.width = 0;
            }
        } else if self.width > 0 {
            (self.stage, self.failure) = (Stage::Rows, None);
        } else {
            let unknown = "the file was entered in the middle before its CSV header had been read";
            let message = self.failure.take().unwrap_or_else(|| unknown.into());
            self.fail(message);
        }
    }

    fn read_head(&mut self, head: &[u8]) {
        self.reset(true);
        let mut cursor =
            Cursor { bytes: head, at: 0, lines: 0, input: Input::Partial, origin: Origin::default() };
        if self.begin(&mut cursor) == Step::NeedsMore && self.stage != Stage::Rows {
            self.fail(format!("the file's first {} bytes hold no whole CSV header", head.len()));
        }
    }

    fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    fn unfinished(&self) -> Option<Origin> {
        self.long.as_ref().map(|long| Origin { offset: long.offset, line: long.line })
    }

    fn fork(&self) -> Option<Box<dyn Decoder>> {
        (self.stage == Stage::Rows && self.long.is_none()).then(|| Box::new(self.clone()) as _)
    }

    fn boundary(&self, bytes: &[u8]) -> Option<usize> {
        boundary(bytes, &self.options)
    }
}
