//! The text that a query was parsed from: turns the parser's lines and columns into byte ranges, finds keywords.

use std::cell::OnceCell;

use sqlparser::dialect::GenericDialect;
use sqlparser::tokenizer::{self, Token, Tokenizer};

use crate::sql::Span;

/// A SQL text with what is needed to point into it.
#[derive(Debug)]
pub(super) struct Source<'t> {
    text: &'t str,
    /// Where each line starts; whether a column of it is a byte.
    lines: Vec<(usize, bool)>,
    /// Words of the text with their places, made when the first error needs them.
    words: OnceCell<Vec<(String, Span)>>,
}

impl<'t> Source<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let mut lines = Vec::new();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            lines.push((start, line.is_ascii()));
            start += line.len();
        }
        lines.push((start, true));
        Self { text, lines, words: OnceCell::new() }
    }

    /// The byte range of a parser span; `None` if the parser did not note one.
    pub(super) fn span(&self, span: tokenizer::Span) -> Option<Span> {
        let start = self.offset(span.start)?;
        Some(Span { start, end: self.offset(span.end).unwrap_or(start).max(start) })
    }

    fn offset(&self, at: tokenizer::Location) -> Option<usize> {
        let line = usize::try_from(at.line).ok()?.checked_sub(1)?;
        let column = usize::try_from(at.column).ok()?.checked_sub(1)?;
        let (start, ascii) = *self.lines.get(line)?;
        let rest = self.text.get(start..)?;
        if ascii {
            return Some(start + column.min(rest.len()));
        }
        Some(start + rest.char_indices().nth(column).map_or(rest.len(), |(i, _)| i))
    }

    /// The first occurrence of keyword `word` at or behind byte `from`.
    pub(super) fn word_from(&self, from: usize, word: &str) -> Option<Span> {
        self.words().iter().find(|(w, s)| s.start >= from && w == word).map(|(_, s)| *s)
    }

    /// The first occurrence of the text literal `'value'` at or behind byte `from`: the parser notes no place for one that
    /// stands for a name.
    pub(super) fn literal_from(&self, from: usize, value: &str) -> Option<Span> {
        let quoted = format!("'{}'", value.replace('\'', "''"));
        let start = from + self.text.get(from..)?.find(&quoted)?;
        Some(Span { start, end: start + quoted.len() })
    }

    /// The last occurrence of keyword `word` before byte `before`.
    pub(super) fn word_before(&self, before: usize, word: &str) -> Option<Span> {
        self.words().iter().rev().find(|(w, s)| s.end <= before && w == word).map(|(_, s)| *s)
    }

    fn words(&self) -> &[(String, Span)] {
        self.words.get_or_init(|| {
            let tokens =
                Tokenizer::new(&GenericDialect {}, self.text).tokenize_with_location().unwrap_or_default();
            let words = tokens.iter().filter_map(|t| match &t.token {
                Token::Word(w) if w.quote_style.is_none() => {
                    Some((w.value.to_ascii_uppercase(), self.span(t.span)?))
                }
                _ => None,
            });
            words.collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlparser::tokenizer::Location;

    #[test]
    fn columns_count_characters_and_become_bytes() {
        let s = Source::new("SELECT 'é', x\nFROM t");
        let span = |a, b, c, d| s.span(tokenizer::Span::new(Location::new(a, b), Location::new(c, d)));
        assert_eq!(span(1, 13, 1, 14), Some(Span { start: 13, end: 14 }));
        assert_eq!(span(2, 6, 2, 7), Some(Span { start: 20, end: 21 }));
        assert_eq!(s.span(tokenizer::Span::empty()), None);
        assert_eq!(s.word_from(0, "FROM"), Some(Span { start: 15, end: 19 }));
        assert_eq!(s.word_before(15, "FROM"), None);
    }
}
