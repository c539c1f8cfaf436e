//! Walks over the located tokens of one statement.

use sqlparser::tokenizer::Token;

use super::lexer::Tok;
use crate::catalog::nearest;
use crate::sql::{Diagnostic, Span};

/// A position in the tokens of a statement.
#[derive(Clone)]
pub(in crate::sql) struct Cursor<'a> {
    pub(in crate::sql) source: &'a str,
    toks: &'a [Tok],
    pos: usize,
    /// One `>` of a `>>` is taken already.
    half: bool,
}

impl<'a> Cursor<'a> {
    pub(in crate::sql) fn new(source: &'a str, toks: &'a [Tok]) -> Self {
        Self { source, toks, pos: 0, half: false }
    }
    pub(in crate::sql) fn peek(&self) -> Option<&'a Token> {
        self.peek_at(0)
    }
    pub(in crate::sql) fn peek_at(&self, ahead: usize) -> Option<&'a Token> {
        self.toks.get(self.pos + ahead).map(|t| &t.token)
    }
    /// The unquoted word `ahead` of here.
    pub(in crate::sql) fn word_at(&self, ahead: usize) -> Option<&'a str> {
        self.peek_at(ahead).and_then(word)
    }
    pub(in crate::sql) fn is_word(&self, wanted: &str) -> bool {
        self.is_word_at(0, wanted)
    }
    pub(in crate::sql) fn is_word_at(&self, ahead: usize, wanted: &str) -> bool {
        self.word_at(ahead).is_some_and(|w| w.eq_ignore_ascii_case(wanted))
    }
    pub(in crate::sql) fn is(&self, wanted: &Token) -> bool {
        self.peek() == Some(wanted)
    }
    pub(in crate::sql) fn at_end(&self) -> bool {
        self.pos >= self.toks.len()
    }
    pub(in crate::sql) fn position(&self) -> usize {
        self.pos
    }
    pub(in crate::sql) fn advance(&mut self) {
        self.pos = (self.pos + 1).min(self.toks.len());
    }
    /// The tokens from here on.
    pub(in crate::sql) fn rest(&self) -> &'a [Tok] {
        self.toks.get(self.pos..).unwrap_or(&[])
    }
    /// The tokens from `from` up to here.
    pub(in crate::sql) fn since(&self, from: usize) -> &'a [Tok] {
        self.toks.get(from..self.pos).unwrap_or(&[])
    }
    /// Takes the word if it stands here.
    pub(in crate::sql) fn accept_word(&mut self, wanted: &str) -> bool {
        let hit = self.is_word(wanted);
        if hit {
            self.advance();
        }
        hit
    }
    /// Takes all the words if they stand here in this order.
    pub(in crate::sql) fn accept_words(&mut self, wanted: &[&str]) -> bool {
        let hit = wanted.iter().enumerate().all(|(i, w)| self.is_word_at(i, w));
        if hit {
            self.pos += wanted.len();
        }
        hit
    }
    pub(in crate::sql) fn accept(&mut self, wanted: &Token) -> bool {
        let hit = self.is(wanted);
        if hit {
            self.advance();
        }
        hit
    }
    /// Takes a `>`, also one half of `>>`.
    pub(in crate::sql) fn accept_gt(&mut self) -> bool {
        match self.peek() {
            Some(Token::Gt) => self.advance(),
            Some(Token::ShiftRight) if self.half => {
                self.half = false;
                self.advance();
            }
            Some(Token::ShiftRight) => self.half = true,
            _ => return false,
        }
        true
    }
    /// Whether one half of a `>>` is left over.
    pub(in crate::sql) fn split_gt(&self) -> bool {
        self.half
    }
    pub(in crate::sql) fn expect(&mut self, wanted: &Token, what: &str) -> Result<(), Diagnostic> {
        if self.accept(wanted) { Ok(()) } else { Err(self.expected(what)) }
    }
    pub(in crate::sql) fn expect_word(&mut self, wanted: &str) -> Result<(), Diagnostic> {
        if self.accept_word(wanted) { Ok(()) } else { Err(self.expected_one_of(wanted, &[wanted])) }
    }
    /// A name: any word, quoted or not.
    pub(in crate::sql) fn name(&mut self, what: &str) -> Result<(String, Span), Diagnostic> {
        match self.peek() {
            Some(Token::Word(w)) if !w.value.is_empty() => {
                let span = self.span();
                self.advance();
                Ok((w.value.clone(), span))
            }
            Some(Token::Word(_)) => Err(Diagnostic::new("a name can't be empty", self.span())),
            _ => Err(self.expected(what)),
        }
    }
    /// The place of the token here; behind the last one at the end.
    pub(in crate::sql) fn span(&self) -> Span {
        match self.toks.get(self.pos) {
            Some(t) => t.span,
            None => end_of(self.source, self.toks),
        }
    }
    /// The place of the token before.
    pub(in crate::sql) fn last_span(&self) -> Span {
        match self.pos.checked_sub(1).and_then(|p| self.toks.get(p)) {
            Some(t) => t.span,
            None => self.span(),
        }
    }
    /// From `start` up to the token before.
    pub(in crate::sql) fn span_from(&self, start: Span) -> Span {
        Span { start: start.start, end: self.last_span().end.max(start.end) }
    }
    pub(in crate::sql) fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(message, self.span())
    }
    /// "expected WHAT, found …".
    pub(in crate::sql) fn expected(&self, what: &str) -> Diagnostic {
        self.error(format!("expected {what}, found {}", self.found()))
    }
    /// The same where certain words would fit: names the nearest.
    pub(in crate::sql) fn expected_one_of(&self, what: &str, words: &[&str]) -> Diagnostic {
        let error = self.expected(what);
        match self.word_at(0).map(|w| nearest(w, words.iter().copied())).as_deref() {
            Some([first, ..]) => error.with_hint(format!("did you mean {first}?")),
            _ => error,
        }
    }
    /// The token here as a reader sees it.
    pub(in crate::sql) fn found(&self) -> String {
        match self.toks.get(self.pos) {
            Some(t) => shown(self.source, t.span),
            None => "the end of the statement".into(),
        }
    }
    /// # Errors
    /// If a token is left.
    pub(in crate::sql) fn expect_end(&self) -> Result<(), Diagnostic> {
        if self.at_end() { Ok(()) } else { Err(self.expected("the end of the statement")) }
    }
}

/// The text of a place, shortened for a message.
pub(in crate::sql) fn shown(source: &str, span: Span) -> String {
    let text = source.get(span.start..span.end).unwrap_or("");
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    if short.starts_with('\'') { short } else { format!("'{short}'") }
}

/// The unquoted word that a token is.
pub(in crate::sql) fn word(token: &Token) -> Option<&str> {
    match token {
        Token::Word(w) if w.quote_style.is_none() => Some(&w.value),
        _ => None,
    }
}

/// The place right behind the last token: where a statement breaks off.
pub(in crate::sql) fn end_of(source: &str, toks: &[Tok]) -> Span {
    let end = toks.last().map_or(source.len(), |t| t.span.end);
    Span { start: end, end }
}
