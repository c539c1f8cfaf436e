//! Text → located tokens, cut into statements at `;`.

use sqlparser::tokenizer::{Location, Span as Place, Token, TokenWithSpan, Tokenizer};

use crate::sql::dialect::MillstreamDialect;
use crate::sql::{Diagnostic, Span};

/// After so many unreadable places the rest of a text is given up, so that hostile input costs linear time.
const MAX_RESTARTS: usize = 100;

/// A token with both of its addresses: sqlparser's line and column, and our byte range.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::sql) struct Tok {
    pub(in crate::sql) token: Token,
    pub(in crate::sql) place: Place,
    pub(in crate::sql) span: Span,
}

/// The tokens of one statement, without comments and white space, and the error that ended them early.
#[derive(Debug, Default)]
pub(in crate::sql) struct Piece {
    pub(in crate::sql) tokens: Vec<Tok>,
    pub(in crate::sql) error: Option<Diagnostic>,
}

/// A byte offset together with its line and column.
#[derive(Clone, Copy)]
struct Point {
    byte: usize,
    at: Location,
}

impl Point {
    fn start() -> Self {
        Self { byte: 0, at: Location { line: 1, column: 1 } }
    }
    /// Moves on to `to`, counting as sqlparser's tokenizer does: columns are characters, `\n` begins a line.
    fn walk(mut self, source: &str, to: impl Fn(Location) -> bool) -> Self {
        for c in source.get(self.byte..).unwrap_or("").chars() {
            if to(self.at) {
                break;
            }
            self = self.past(c);
        }
        self
    }
    fn past(mut self, c: char) -> Self {
        self.byte += c.len_utf8();
        if c == '\n' {
            self.at = Location { line: self.at.line + 1, column: 1 };
        } else {
            self.at.column += 1;
        }
        self
    }
}

/// The statements of `source`; empty ones are left out.
pub(in crate::sql) fn lex(source: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut piece = Piece::default();
    let mut from = Point::start();
    for round in 0..=MAX_RESTARTS {
        let mut raw = Vec::new();
        let rest = source.get(from.byte..).unwrap_or("");
        let result = Tokenizer::new(&MillstreamDialect, rest).tokenize_with_location_into_buf(&mut raw);
        locate(source, from, raw, |tok| {
            if tok.token == Token::SemiColon {
                pieces.push(std::mem::take(&mut piece));
            } else if !matches!(tok.token, Token::Whitespace(_)) {
                piece.tokens.push(tok);
            }
        });
        let Err(error) = result else { break };
        let wanted = shift(error.location, from.at);
        let bad = from.walk(source, |l| l >= wanted);
        piece.error = Some(unreadable(source, bad.byte, &error.message));
        pieces.push(std::mem::take(&mut piece));
        // Go on behind the next semicolon; a text with very many such places is not worth it.
        let next = source.get(bad.byte..).and_then(|s| s.find(';')).map(|i| bad.byte + i + 1);
        match next {
            Some(byte) if round < MAX_RESTARTS => {
                for c in source.get(from.byte..byte).unwrap_or("").chars() {
                    from = from.past(c);
                }
            }
            _ => break,
        }
    }
    pieces.push(piece);
    pieces.retain(|p| !p.tokens.is_empty() || p.error.is_some());
    pieces
}

/// A location of a text that begins at `origin`, as a location of the whole.
fn shift(at: Location, origin: Location) -> Location {
    match at.line {
        0 | 1 => Location { line: origin.line, column: (origin.column + at.column).saturating_sub(1) },
        n => Location { line: origin.line + n - 1, column: at.column },
    }
}

/// Gives each token its byte range, in one walk over the text.
fn locate(source: &str, origin: Point, raw: Vec<TokenWithSpan>, mut put: impl FnMut(Tok)) {
    let mut here = origin;
    for TokenWithSpan { token, span } in raw {
        let place = Place { start: shift(span.start, origin.at), end: shift(span.end, origin.at) };
        let first = here.walk(source, |l| l >= place.start);
        here = first.walk(source, |l| l >= place.end);
        put(Tok { token, place, span: Span { start: first.byte, end: here.byte } });
    }
}

fn unreadable(source: &str, byte: usize, message: &str) -> Diagnostic {
    let end = source.get(byte..).and_then(|s| s.chars().next()).map_or(byte, |c| byte + c.len_utf8());
    let span = Span { start: byte, end };
    let low = message.to_ascii_lowercase();
    if low.contains("unterminated string") || low.contains("unterminated dollar") {
        return Diagnostic::new("this string is not closed", span)
            .with_hint("a ' inside a string is written ''");
    }
    if low.contains("comment") {
        return Diagnostic::new("a comment /* is not closed at the end of the text", span);
    }
    if low.contains("expected close delimiter") {
        return Diagnostic::new("this quoted name is not closed", span);
    }
    Diagnostic::new(lower_first(message.trim_end_matches(['.', ' '])), span)
}

/// The sentence as part of ours: its first letter small, unless it is an abbreviation.
pub(in crate::sql) fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(a), Some(b)) if a.is_uppercase() && !b.is_uppercase() => {
            a.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// The byte range of a place that sqlparser names by line and column; an empty place gives an empty range.
pub(in crate::sql) fn span_of(source: &str, place: Place) -> Span {
    if place.start.line == 0 {
        return Span::default();
    }
    let first = Point::start().walk(source, |l| l >= place.start);
    let last = first.walk(source, |l| l >= place.end);
    Span { start: first.byte, end: last.byte }
}
