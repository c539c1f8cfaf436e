//! One array of objects: `[ {…}, {…} ]`, on one line or many, read element by element.
//!
//! An element that is broken is rejected, and reading goes on where the next one plausibly begins. If the element began a
//! line, that is the next line which begins with `{` at the same indentation; else where its brackets
//! are closed. Either way nothing that lies between is taken for a record.

use memchr::memmem;

use super::lex::{Fault, Lexer};
use super::object::{ObjectReader, Refusal};
use crate::codec::framing::{KEPT_OF_LONG, Skipped, WINDOW, reject, too_long};
use crate::codec::{Decoded, Input, Origin};
use crate::record::{BatchBuilder, ErrorCode, RecordError};

/// Where the reader stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Before the `[`.
    Start,
    /// Behind the `[`, or somewhere between elements: a comma may follow or not.
    Anywhere,
    /// The same, where an earlier reader has stopped: perhaps behind the `]`.
    Resumed,
    /// Behind an element.
    Behind,
    /// Behind the `]`.
    Closed,
}

/// What stands before the next element.
enum Head {
    Element(usize),
    Closed(usize),
    Fault(Fault),
}

/// How the next element is found.
#[derive(Clone, Debug)]
enum Search {
    /// A line that begins like this.
    Line(Vec<u8>),
    /// The end of the brackets that are open.
    Brackets { depth: usize, quoted: bool, escaped: bool },
    /// There is none.
    Never,
}

/// Frames the elements of an array.
#[derive(Clone, Debug)]
pub(super) struct Elements {
    max: usize,
    state: State,
    lost: Option<Lost>,
    /// Where the `]` stands, once it was read.
    closed: Option<Origin>,
    /// Where the `}` of the last element stands, if nothing behind it was read: a reader that resumes there knows that a comma must follow.
    behind: Option<Origin>,
}

/// An element, or what stands in its place, that is being stepped over.
#[derive(Clone, Debug)]
struct Lost {
    skipped: Skipped,
    search: Search,
    /// From where another reader would lose the same: with what stands before it on its line, which says how the next one is found.
    from: Origin,
}

/// What [`Elements::window`] came to.
struct Progress {
    done: Decoded,
    /// More text is needed for the next element.
    starved: bool,
}

impl Elements {
    pub(super) fn new(max_record_bytes: usize) -> Self {
        Self { max: max_record_bytes, state: State::Start, lost: None, closed: None, behind: None }
    }
    /// `at_start`: at the start of a file, else behind or before any element.
    pub(super) fn reset(&mut self, at_start: bool) {
        (self.lost, self.closed, self.behind) = (None, None, None);
        self.state = if at_start { State::Start } else { State::Resumed };
    }

    /// A position to resume from, where a lost element is not reported yet, or where nothing but the `]` says that the array is over, or
    /// but the `}` that an element is.
    pub(super) fn unfinished(&self) -> Option<Origin> {
        self.lost.as_ref().map(|l| l.from).or(self.closed).or(self.behind)
    }

    pub(super) fn decode(
        &mut self,
        bytes: &[u8],
        input: Input,
        origin: Origin,
        out: &mut BatchBuilder,
        reader: &mut ObjectReader,
    ) -> Decoded {
        let mut done = Decoded::default();
        let mut size = WINDOW;
        while !out.is_full() {
            let rest = bytes.get(done.consumed..).unwrap_or(&[]);
            let here =
                Origin { offset: origin.offset + done.consumed as u64, line: origin.line + done.lines };
            if self.lost.is_some() {
                let (consumed, found) = self.search(rest, input);
                advance(&mut done, rest, consumed);
                if !found {
                    break;
                }
                self.behind = None;
                if self.state == State::Behind && rest.get(..consumed).is_some_and(|r| r.ends_with(b"}")) {
                    let offset = origin.offset + done.consumed as u64 - 1;
                    self.behind = Some(Origin { offset, line: origin.line + done.lines });
                }
                if let Some(lost) = self.lost.take() {
                    lost.skipped.finish(out);
                    // What followed the array is reported, and not to be read again.
                    self.closed = None;
                }
                continue;
            }
            if self.state == State::Closed {
                let blanks = rest.iter().take_while(|b| b" \t\r\n".contains(b)).count();
                advance(&mut done, rest, blanks);
                if blanks == rest.len() {
                    break;
                }
                let here = Origin { offset: here.offset + blanks as u64, line: origin.line + done.lines };
                let error = RecordError::new(ErrorCode::Malformed, "something follows the array").at_byte(0);
                let skipped = Skipped::new(here, self.max, error).exact();
                let from = self.closed.unwrap_or(here);
                self.lost = Some(Lost { skipped, search: Search::Never, from });
                continue;
            }
            if self.state == State::Resumed && rest.first() == Some(&b'}') {
                // No element begins like this: it is where one ended for the reader before.
                (self.state, self.behind) = (State::Behind, Some(here));
                advance(&mut done, rest, 1);
                continue;
            }
            if rest.is_empty() && input == Input::Partial {
                break;
            }
            let window = rest.get(..size).unwrap_or(rest);
            let last = window.len() == rest.len();
            let more = !last || input == Input::Partial;
            let progress = self.window(window, more, here, out, reader);
            advance(&mut done, rest, progress.done.consumed);
            if progress.starved {
                if last {
                    break;
                }
                size = size.saturating_mul(2);
            } else {
                size = WINDOW;
            }
        }
        done
    }

    /// Reads the elements at the front of `window`.
    fn window(
        &mut self,
        window: &[u8],
        more: bool,
        origin: Origin,
        out: &mut BatchBuilder,
        reader: &mut ObjectReader,
    ) -> Progress {
        let (text, spoilt) = match simdutf8::basic::from_utf8(window) {
            Ok(text) => (text, false),
            Err(_) => match simdutf8::compat::from_utf8(window) {
                Ok(text) => (text, false),
                Err(e) => {
                    let valid = window.get(..e.valid_up_to()).unwrap_or(&[]);
                    (simdutf8::basic::from_utf8(valid).unwrap_or(""), e.error_len().is_some() || !more)
                }
            },
        };
        let more = more && !spoilt;
        let (mut pos, mut lines) = (0, 0);
        let mut starved = false;
        while !out.is_full() && self.lost.is_none() && self.state != State::Closed {
            let head = self.head(text, pos, &reader.lexer);
            let at = match &head {
                Head::Element(at) | Head::Closed(at) => *at,
                Head::Fault(fault) if fault.end && more => {
                    starved = true;
                    break;
                }
                Head::Fault(fault) => fault.at,
            };
            let skipped = text.as_bytes().get(pos..at).unwrap_or(&[]);
            let at_line = lines + count_lines(skipped);
            let here = Origin { offset: origin.offset + at as u64, line: origin.line + at_line };
            // The `[` is read again, and with it the start of the file.
            let from = match self.state {
                State::Start => Origin { offset: 0, line: 1 },
                _ => Origin { offset: origin.offset + pos as u64, line: origin.line + lines },
            };
            match head {
                Head::Closed(end) => {
                    self.closed = Some(Origin { offset: here.offset.saturating_sub(1), line: here.line });
                    (pos, lines) = (end, at_line);
                    (self.state, self.behind) = (State::Closed, None);
                }
                Head::Fault(fault) => {
                    (pos, lines) = (at, at_line);
                    self.between(fault, text.as_bytes().get(at).copied(), spoilt, here, out);
                    if let Some(lost) = &mut self.lost {
                        lost.from = if from.offset == 0 { from } else { self.behind.unwrap_or(lost.from) };
                    }
                    self.behind = None;
                }
                Head::Element(at) => match self.element(text, at, more, spoilt, here, out, reader) {
                    Ok(Some(end)) => {
                        self.state = State::Behind;
                        lines = at_line + count_lines(text.as_bytes().get(at..end).unwrap_or(&[]));
                        pos = end;
                        let last = Origin {
                            offset: origin.offset + end.saturating_sub(1) as u64,
                            line: origin.line + lines,
                        };
                        let closes = text.as_bytes().get(at..end).is_some_and(|e| e.ends_with(b"}"));
                        self.behind = closes.then_some(last);
                    }
                    Ok(None) => {
                        starved = true;
                        break;
                    }
                    Err(error) => {
                        self.behind = None;
                        let passed = self.lose(error, lead(skipped), text, at, here, from);
                        lines = at_line + count_lines(text.as_bytes().get(at..passed).unwrap_or(&[]));
                        pos = passed;
                    }
                },
            }
        }
        Progress { done: Decoded { consumed: pos, lines }, starved }
    }

    /// What comes before the next element. At the end of the text it is a fault with `end` set.
    fn head(&self, text: &str, pos: usize, lexer: &Lexer) -> Head {
        let bytes = text.as_bytes();
        let fault = |at: usize, message: &'static str| {
            let mut fault = Fault::new(ErrorCode::Malformed, at, message);
            if at >= bytes.len() {
                (fault.end, fault.message) = (true, "the array is not closed".into());
            }
            Head::Fault(fault)
        };
        let mut at = lexer.skip_blanks(bytes, pos);
        let mut comma = false;
        match (self.state, bytes.get(at)) {
            (State::Closed, _) => return Head::Closed(at),
            (State::Start, Some(b'[')) => at = lexer.skip_blanks(bytes, at + 1),
            (State::Start, _) => return fault(at, "expected '['"),
            (State::Behind | State::Anywhere | State::Resumed, Some(b',')) => {
                at = lexer.skip_blanks(bytes, at + 1);
                comma = true;
            }
            (State::Behind, Some(b']')) | (State::Anywhere | State::Resumed, _) => {}
            (State::Behind, _) => return fault(at, "expected ',' or ']'"),
        }
        match bytes.get(at) {
            None => fault(at, ""),
            Some(b']') if comma => fault(at, "a comma before ']'"),
            Some(b']') => Head::Closed(at + 1),
            Some(_) => Head::Element(at),
        }
    }

    /// Something is wrong between elements; nothing of an element is lost by it.
    fn between(
        &mut self,
        fault: Fault,
        next: Option<u8>,
        spoilt: bool,
        here: Origin,
        out: &mut BatchBuilder,
    ) {
        let over = fault.end && !spoilt;
        let error = if fault.end && spoilt {
            RecordError::new(ErrorCode::Encoding, "not valid UTF-8").at_byte(0)
        } else {
            RecordError::new(fault.code, fault.message).at_byte(0)
        };
        match self.state {
            // What ends here has been judged by the earlier reader.
            State::Resumed if over => self.state = State::Closed,
            _ if over => {
                self.state = State::Closed;
                reject(out, here, b"", self.max, error);
            }
            State::Start | State::Closed => {
                self.state = State::Closed;
                let skipped = Skipped::new(here, self.max, error).exact();
                self.lost = Some(Lost { skipped, search: Search::Never, from: here });
            }
            // A comma is missing, or there is one too many: what follows is read as if nothing were.
            State::Anywhere | State::Resumed | State::Behind if matches!(next, Some(b'{' | b']')) => {
                self.state = State::Anywhere;
                reject(out, here, b"", self.max, error);
            }
            State::Anywhere | State::Resumed | State::Behind => {
                self.state = State::Behind;
                let search = Search::Brackets { depth: 0, quoted: false, escaped: false };
                let skipped = Skipped::new(here, self.max, error).exact();
                self.lost = Some(Lost { skipped, search, from: here });
            }
        }
    }

    /// Reads the element at `at`: its end, or `None` if more text is needed.
    #[allow(clippy::too_many_arguments)]
    fn element(
        &mut self,
        text: &str,
        at: usize,
        more: bool,
        spoilt: bool,
        here: Origin,
        out: &mut BatchBuilder,
        reader: &mut ObjectReader,
    ) -> Result<Option<usize>, RecordError> {
        // An element is looked at up to the longest length that is allowed, so that it is
        // judged alike however the input was cut.
        let mut limit = at.saturating_add(self.max).saturating_add(1).min(text.len());
        while !text.is_char_boundary(limit) {
            limit -= 1;
        }
        let limited = limit < text.len();
        let text = text.get(..limit).unwrap_or(text);
        let record = out.recycled_record();
        let read = match reader.read_predicted(text, at, record.values_mut()) {
            Some(end) => Ok(end),
            None => reader.read(text, at, record.values_mut()),
        };
        match read {
            Ok(end) if end - at <= self.max => {
                record.set_offset(Some(here.offset as i64));
                out.add_bytes(end - at);
                Ok(Some(end))
            }
            Ok(_) => {
                out.undo();
                Err(too_long(self.max))
            }
            Err(refusal) => {
                out.undo();
                self.refused(refusal, text, at, limited, more, spoilt, here, out)
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn refused(
        &self,
        refusal: Refusal,
        text: &str,
        at: usize,
        limited: bool,
        more: bool,
        spoilt: bool,
        here: Origin,
        out: &mut BatchBuilder,
    ) -> Result<Option<usize>, RecordError> {
        let ended = refusal.fault.end || refusal.end == Some(text.len());
        if ended && !limited && more {
            return Ok(None);
        }
        if ended && limited {
            return Err(too_long(self.max));
        }
        if refusal.fault.end && spoilt {
            let error = RecordError::new(ErrorCode::Encoding, "not valid UTF-8");
            return Err(error.at_byte(text.len().saturating_sub(at)));
        }
        match refusal.end {
            Some(end) => {
                let raw = text.as_bytes().get(at..end).unwrap_or(&[]);
                reject(out, here, raw, self.max, refusal.into_error(at));
                Ok(Some(end))
            }
            None => Err(refusal.into_error(at)),
        }
    }

    /// The element at `at` is lost, since its end is unknown. Answers from where on the next one is looked for.
    #[allow(clippy::too_many_arguments)]
    fn lose(
        &mut self,
        error: RecordError,
        lead: Option<Vec<u8>>,
        text: &str,
        at: usize,
        here: Origin,
        from: Origin,
    ) -> usize {
        let long = error.code == ErrorCode::TooLarge;
        let keep = if long { KEPT_OF_LONG.min(self.max) } else { self.max };
        // What spoils an element that was left open is often the next one: look from the start of that line.
        let stop = (at + error.at.unwrap_or(0)).min(text.len());
        let looked = text.as_bytes().get(at..stop).unwrap_or(&[]);
        let stop = memchr::memrchr(b'\n', looked).map_or(stop, |newline| at + newline);
        let mut skipped = Skipped::new(here, keep, error).exact();
        match lead {
            Some(lead) if !long => {
                skipped.extend(text.as_bytes().get(at..stop).unwrap_or(&[]));
                let line = [b"\n", &lead[..], b"{"].concat();
                self.state = State::Anywhere;
                self.lost = Some(Lost { skipped, search: Search::Line(line), from });
                stop
            }
            _ => {
                self.state = State::Behind;
                let search = Search::Brackets { depth: 0, quoted: false, escaped: false };
                self.lost = Some(Lost { skipped, search, from });
                at
            }
        }
    }

    /// Steps over what is lost: how much, and whether that was all of it.
    fn search(&mut self, rest: &[u8], input: Input) -> (usize, bool) {
        let Some(Lost { skipped, search, .. }) = &mut self.lost else { return (0, true) };
        let found = match search {
            Search::Never => None,
            Search::Line(pattern) => memmem::find(rest, pattern),
            Search::Brackets { depth, quoted, escaped } => brackets_end(rest, depth, quoted, escaped),
        };
        let consumed = match (&found, search) {
            (Some(at), _) => *at,
            (None, Search::Line(pattern)) if input == Input::Partial => {
                // The line may begin at the end of this piece.
                let from = rest.len().saturating_sub(pattern.len());
                let cut = (from..rest.len()).find(|&i| rest.get(i..).is_some_and(|t| pattern.starts_with(t)));
                cut.unwrap_or(rest.len())
            }
            _ => rest.len(),
        };
        skipped.extend(rest.get(..consumed).unwrap_or(rest));
        if found.is_none() && input == Input::Complete {
            self.state = State::Closed;
            return (consumed, true);
        }
        (consumed, found.is_some())
    }
}

fn advance(done: &mut Decoded, rest: &[u8], consumed: usize) {
    done.consumed += consumed;
    done.lines += count_lines(rest.get(..consumed).unwrap_or(rest));
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// What stands before an element on its line, if it begins the line.
fn lead(before: &[u8]) -> Option<Vec<u8>> {
    let newline = memchr::memrchr(b'\n', before)?;
    before.get(newline + 1..).map(<[u8]>::to_vec)
}

/// Where the brackets that were open (or are opened first) are closed, or a comma or `]` stands outside all
/// brackets. A string ends at the end of its line at the latest.
fn brackets_end(bytes: &[u8], depth: &mut usize, quoted: &mut bool, escaped: &mut bool) -> Option<usize> {
    for (i, b) in bytes.iter().enumerate() {
        if *quoted {
            match b {
                _ if *escaped => *escaped = false,
                b'\\' => *escaped = true,
                b'"' | b'\n' => *quoted = false,
                _ => {}
            }
            continue;
        }
        match b {
            b'"' => *quoted = true,
            b'{' | b'[' => *depth += 1,
            b',' | b']' if *depth == 0 => return Some(i),
            b'}' | b']' => {
                *depth = depth.saturating_sub(1);
                if *depth == 0 {
                    return Some(i + 1);
                }
            }
            _ => {}
        }
    }
    None
}
