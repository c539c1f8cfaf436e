//! The decoder: objects on lines, in one array, or one object that is the whole input.

use std::sync::Arc;

use memchr::memchr;

use super::array::Elements;
use super::lex::Fault;
use super::object::{ObjectReader, Refusal};
use super::options::{JsonOptions, Layout};
use crate::codec::framing::{LineSink, Lines, last_line_end, reject, too_long, without_cr};
use crate::codec::{Decoded, Decoder, Input, Origin};
use crate::record::{BatchBuilder, ErrorCode, RecordError, Schema};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Reads JSON objects into records.
///
/// The schema is that of the *wanted* columns: values under other keys are checked to be valid JSON and stepped
/// over. Keys match column names exactly. A missing key is NULL, blank lines are skipped, a byte
/// order mark at the start of a file is too. What RFC 8259 forbids is rejected, also half surrogate pairs and
/// nesting deeper than 128.
#[derive(Clone, Debug)]
pub struct JsonDecoder {
    lines: Lines,
    elements: Elements,
    objects: LineObjects,
    layout: Layout,
    /// What the head of the file said, if the file is entered in the middle.
    head: Option<Layout>,
    /// Lines or array, once it is known.
    current: Option<Layout>,
    at_start: bool,
}

#[derive(Clone, Debug)]
struct LineObjects {
    reader: ObjectReader,
    max: usize,
}

impl JsonDecoder {
    /// A decoder for records of this shape.
    pub fn new(schema: Arc<Schema>, options: JsonOptions) -> Self {
        let max = options.max_record_bytes;
        Self {
            lines: Lines::new(max),
            elements: Elements::new(max),
            objects: LineObjects { reader: ObjectReader::new(&schema, &options), max },
            layout: options.layout,
            head: None,
            current: None,
            at_start: true,
        }
    }

    /// Names all columns that the stream declares, for `unknown_fields = 'error'`: those that are not wanted are
    /// known nevertheless.
    pub fn with_declared(mut self, declared: &Schema) -> Self {
        self.objects.reader.declare(declared);
        self
    }

    /// Decides between lines and array; `None` if the first byte that is not blank has yet to come.
    fn layout(&mut self, bytes: &[u8], input: Input, at_start: bool) -> Option<Layout> {
        let layout = match (self.layout, self.head) {
            (Layout::Auto, None) => match first_byte(bytes) {
                Some(b'[') if at_start => Layout::Array,
                // In the middle of an array there is always one of these between elements.
                Some(b',' | b']') if !at_start => Layout::Array,
                Some(_) => Layout::Lines,
                None if input == Input::Partial && bytes.len() < MOST_BLANKS => return None,
                None => Layout::Lines,
            },
            (Layout::Auto, Some(head)) => head,
            (layout, _) => layout,
        };
        self.objects.reader.lexer.multiline = matches!(layout, Layout::Array | Layout::Whole);
        self.elements.reset(at_start);
        self.current = Some(layout);
        Some(layout)
    }
}

/// A file that begins with more blanks than this consists of lines.
const MOST_BLANKS: usize = 64 << 10;

fn first_byte(bytes: &[u8]) -> Option<u8> {
    bytes.iter().copied().find(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, bytes: &[u8], input: Input, origin: Origin, out: &mut BatchBuilder) -> Decoded {
        let mut bom = 0;
        if self.at_start {
            if bytes.starts_with(BOM) {
                bom = BOM.len();
            } else if BOM.starts_with(bytes) && input == Input::Partial {
                return Decoded::default();
            }
        }
        let bytes = bytes.get(bom..).unwrap_or(&[]);
        let origin = Origin { offset: origin.offset + bom as u64, ..origin };
        let layout = match self.current {
            Some(layout) => layout,
            None => match self.layout(bytes, input, self.at_start || origin.offset == 0) {
                Some(layout) => layout,
                None => return Decoded::default(),
            },
        };
        let mut done = match layout {
            Layout::Whole if input == Input::Partial => return Decoded::default(),
            Layout::Whole => self.objects.whole(bytes, origin, out),
            Layout::Array => self.elements.decode(bytes, input, origin, out, &mut self.objects.reader),
            _ => self.lines.decode(bytes, input, origin, out, &mut self.objects),
        };
        if done.consumed > 0 || input == Input::Complete {
            done.consumed += bom;
            self.at_start = false;
        }
        done
    }

    fn reset(&mut self, at_start: bool) {
        self.lines.reset();
        self.at_start = at_start;
        self.current = None;
        if at_start {
            self.head = None;
        }
    }

    fn read_head(&mut self, head: &[u8]) {
        let head = head.strip_prefix(BOM).unwrap_or(head);
        self.head = first_byte(head).map(|b| if b == b'[' { Layout::Array } else { Layout::Lines });
    }

    fn unfinished(&self) -> Option<Origin> {
        self.lines.unfinished().or_else(|| self.elements.unfinished())
    }

    fn fork(&self) -> Option<Box<dyn Decoder>> {
        let lines =
            self.current == Some(Layout::Lines) && !self.at_start && self.lines.unfinished().is_none();
        lines.then(|| Box::new(self.clone()) as _)
    }

    fn boundary(&self, bytes: &[u8]) -> Option<usize> {
        last_line_end(bytes)
    }
}

impl LineSink for LineObjects {
    fn window(&mut self, window: &[u8], origin: Origin, out: &mut BatchBuilder) -> Decoded {
        // One fast pass over many lines; the slow one only to find the line that spoils them.
        match simdutf8::basic::from_utf8(window) {
            Ok(text) => self.valid(text, origin, out),
            Err(_) => {
                let valid = simdutf8::compat::from_utf8(window).map_or_else(|e| e.valid_up_to(), str::len);
                let start = window.iter().take(valid).rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
                match window.get(..start).map(simdutf8::basic::from_utf8) {
                    Some(Ok(text)) if start > 0 => self.valid(text, origin, out),
                    _ => self.not_utf8(window, valid, origin, out),
                }
            }
        }
    }
}

impl LineObjects {
    /// The one object of a message; nothing at all is no object.
    fn whole(&mut self, bytes: &[u8], origin: Origin, out: &mut BatchBuilder) -> Decoded {
        let all = Decoded { consumed: bytes.len(), lines: 0 };
        if bytes.len() > self.max {
            reject(out, origin, bytes, self.max, too_long(self.max));
            return all;
        }
        let text = match simdutf8::basic::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) => {
                let valid = simdutf8::compat::from_utf8(bytes).map_or_else(|e| e.valid_up_to(), str::len);
                let error = RecordError::new(ErrorCode::Encoding, "not valid UTF-8").at_byte(valid);
                reject(out, origin, bytes, self.max, error);
                return all;
            }
        };
        let record = out.recycled_record();
        let predicted = self.reader.read_predicted(text, 0, record.values_mut());
        let read = match predicted {
            Some(end) if end == bytes.len() => Ok(()),
            _ => {
                let start = self.reader.lexer.skip_blanks(bytes, 0);
                self.reader.read_line(text, start, record.values_mut())
            }
        };
        match read {
            Ok(()) => {
                record.set_offset(Some(origin.offset as i64));
                out.add_bytes(bytes.len());
            }
            Err(refusal) => {
                out.undo();
                reject(out, origin, bytes, self.max, refusal.into_error(0));
            }
        }
        all
    }

    fn not_utf8(&self, window: &[u8], bad: usize, origin: Origin, out: &mut BatchBuilder) -> Decoded {
        let end = memchr(b'\n', window);
        let line = without_cr(window.get(..end.unwrap_or(window.len())).unwrap_or(window));
        let error = RecordError::new(ErrorCode::Encoding, "not valid UTF-8").at_byte(bad);
        reject(out, origin, line, self.max, error);
        Decoded { consumed: end.map_or(window.len(), |e| e + 1), lines: u64::from(end.is_some()) }
    }

    /// Lines of valid UTF-8.
    fn valid(&mut self, text: &str, origin: Origin, out: &mut BatchBuilder) -> Decoded {
        let bytes = text.as_bytes();
        let (mut pos, mut lines) = (0, 0);
        while pos < bytes.len() && !out.is_full() {
            let record = out.recycled_record();
            if let Some(end) = self.reader.read_predicted(text, pos, record.values_mut())
                && let Some(next) = line_end(bytes, end)
                && next - pos <= self.max
            {
                record.set_offset(Some((origin.offset + pos as u64) as i64));
                out.add_bytes(next - pos);
                lines += u64::from(bytes.get(next - 1) == Some(&b'\n'));
                pos = next;
                continue;
            }
            let terminator = memchr(b'\n', bytes.get(pos..).unwrap_or(&[]));
            let end = terminator.map_or(bytes.len(), |e| pos + e);
            let line = without_cr(bytes.get(pos..end).unwrap_or(&[]));
            let here = Origin { offset: origin.offset + pos as u64, line: origin.line + lines };
            let start = self.reader.lexer.skip_blanks(line, 0);
            if line.len() > self.max {
                out.undo();
                reject(out, here, line, self.max, too_long(self.max));
            } else if start == line.len() {
                out.undo();
            } else {
                let line_text = text.get(pos..pos + line.len()).unwrap_or("");
                match self.reader.read_line(line_text, start, record.values_mut()) {
                    Ok(()) => {
                        record.set_offset(Some(here.offset as i64));
                        out.add_bytes(line.len() + 1);
                    }
                    Err(refusal) => {
                        out.undo();
                        reject(out, here, line, self.max, refusal.into_error(0));
                    }
                }
            }
            lines += u64::from(terminator.is_some());
            pos = end + usize::from(terminator.is_some());
        }
        Decoded { consumed: pos, lines }
    }
}

impl ObjectReader {
    /// Reads the one object of a line, which begins at `start`.
    fn read_line(
        &mut self,
        line: &str,
        start: usize,
        values: &mut [crate::record::FieldValue],
    ) -> Result<(), Refusal> {
        let read = self.read(line, start, values);
        let end = match &read {
            Ok(end) => *end,
            Err(Refusal { end: Some(end), .. }) => *end,
            Err(_) => return read.map(|_| ()),
        };
        // What follows the object weighs more than a value that does not fit.
        let rest = self.lexer.skip_blanks(line.as_bytes(), end);
        if rest < line.len() {
            return Err(Fault::new(ErrorCode::Malformed, rest, "something follows the object").into());
        }
        read.map(|_| ())
    }
}

impl Refusal {
    /// As a record's error, for a record that began at `start` of the text.
    pub(super) fn into_error(self, start: usize) -> RecordError {
        let at = self.fault.at.saturating_sub(start);
        let error = RecordError::new(self.fault.code, self.fault.message).at_byte(at);
        match self.column {
            Some(column) => error.in_column(column),
            None => error,
        }
    }
}

/// The start of the next line, if nothing but blanks stands between `pos` and it.
#[inline]
fn line_end(bytes: &[u8], mut pos: usize) -> Option<usize> {
    loop {
        match bytes.get(pos) {
            Some(b'\n') => return Some(pos + 1),
            Some(b' ' | b'\t' | b'\r') => pos += 1,
            None => return Some(pos),
            _ => return None,
        }
    }
}
