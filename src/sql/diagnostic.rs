//! Errors with a place: line, column, caret, and the nearest name.

use std::fmt;

use crate::catalog::is_secret;

/// A place in a SQL text: byte range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Byte behind the last.
    pub end: usize,
}

/// One thing that is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong: one sentence without a final stop.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What helps.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn new(message: impl Into<String>, span: Span) -> Self {
        Self { message: message.into(), span, hint: None }
    }
    /// The same with a hint.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Line and column of the span's start, both from 1; columns count characters.
    pub fn line_column(&self, source: &str) -> (usize, usize) {
        let before = source.get(..self.span.start).unwrap_or(source);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }
    /// The error as people read it: `file:line:column: message`, the line, a caret, the hint.
    pub fn render(&self, name: &str, source: &str) -> String {
        let (line, column) = self.line_column(source);
        let text = source.lines().nth(line - 1).unwrap_or("");
        let shown: String = masked(text).chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
        let width = source
            .get(self.span.start..self.span.end)
            .map_or(1, |s| s.lines().next().unwrap_or("").chars().count())
            .max(1);
        let gutter = line.to_string();
        let pad = " ".repeat(gutter.len());
        let mut out = format!(
            "{name}:{line}:{column}: {}\n{pad} |\n{gutter} | {shown}\n{pad} | {}{}",
            self.message,
            " ".repeat(column - 1),
            "^".repeat(width.min(shown.chars().count().saturating_sub(column - 1).max(1)))
        );
        if let Some(hint) = &self.hint {
            out.push_str(&format!("\n{pad} = help: {hint}"));
        }
        out
    }
}

/// A line of SQL with stars for the values of secret options, as in `password = '…'`. Its length stays.
fn masked(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(open) = rest.find('\'') {
        let (before, from) = rest.split_at(open + 1);
        let (value, after) = from.split_at(end_of_text(from));
        out.push_str(before);
        match is_secret(option_before(&before[..open])) {
            true => out.extend(value.chars().map(|_| '*')),
            false => out.push_str(value),
        }
        // The closing quote goes with the value: it opens nothing.
        let (quote, after) = after.split_at(usize::from(!after.is_empty()));
        out.push_str(quote);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The name in front of a value: `name =`, `name =>`, `"name" =`, `SET name TO`.
fn option_before(text: &str) -> &str {
    let text = text.trim_end().trim_end_matches(['=', '>']).trim_end();
    let text = text.strip_suffix("TO").or(text.strip_suffix("to")).unwrap_or(text).trim_end();
    let text = text.trim_end_matches('"');
    text.rsplit(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).next().unwrap_or("")
}

/// Where a text in quotes ends, from behind its first quote; two quotes are one within it.
fn end_of_text(text: &str) -> usize {
    let mut at = 0;
    while let Some(quote) = text[at..].find('\'') {
        at += quote;
        if !text[at + 1..].starts_with('\'') {
            return at;
        }
        at += 2;
    }
    text.len()
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(h) => write!(f, " ({h})"),
            None => Ok(()),
        }
    }
}
impl std::error::Error for Diagnostic {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_nothing_else_is() {
        for (line, shown) in [
            ("password = 'ab', path = 'x'", "password = '**', path = 'x'"),
            ("sasl_PASSWORD='it''s me', a = 'b'", "sasl_PASSWORD='********', a = 'b'"),
            ("\"ssl.key\" = 'ä', \"api_token\" => 'b'", "\"ssl.key\" = '*', \"api_token\" => '*'"),
            ("SET secret TO 'x'", "SET secret TO '*'"),
            ("secret = 'not closed", "secret = '**********"),
            ("secret = ''", "secret = ''"),
            ("SELECT 'password', 'x' AS y", "SELECT 'password', 'x' AS y"),
            ("no quote", "no quote"),
        ] {
            assert_eq!(masked(line), shown);
        }
    }
}
