//! `key = value` in WITH (…) and SET.

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use crate::catalog::Options;
use crate::sql::{Diagnostic, Span, Statement};

/// `(key = value, …)` behind WITH.
pub(super) fn with_options(cursor: &mut Cursor<'_>) -> Result<Options, Diagnostic> {
    let mut options = Options::default();
    cursor.expect(&Token::LParen, "'(' behind WITH")?;
    if cursor.accept(&Token::RParen) {
        return Ok(options);
    }
    loop {
        let (name, at) = key(cursor, "the name of an option")?;
        if options.get(&name).is_some() {
            return Err(Diagnostic::new(format!("the option '{name}' occurs twice"), at));
        }
        if !cursor.accept(&Token::RArrow) && !cursor.accept(&Token::DoubleEq) {
            cursor.expect(&Token::Eq, "'='")?;
        }
        options.set(name, value(cursor, &[Token::Comma, Token::RParen])?);
        if !cursor.accept(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen, "',' or ')'")?;
    Ok(options)
}

/// `SET key = value`, `SET 'key' = 'value'`, `SET key TO value`.
pub(super) fn set(mut cursor: Cursor<'_>) -> Result<Statement, Diagnostic> {
    cursor.advance();
    let (name, _) = key(&mut cursor, "the name of a setting")?;
    if !cursor.accept_word("TO") {
        cursor.expect(&Token::Eq, "'='")?;
    }
    let value = value(&mut cursor, &[])?;
    cursor.expect_end()?;
    Ok(Statement::Set { name, value })
}

/// A name, quoted in any way or not, perhaps of several parts.
fn key(cursor: &mut Cursor<'_>, what: &str) -> Result<(String, Span), Diagnostic> {
    let start = cursor.span();
    if let Some(Token::SingleQuotedString(text)) = cursor.peek() {
        if text.trim().is_empty() {
            return Err(cursor.error("a name can't be empty"));
        }
        cursor.advance();
        return Ok((text.trim().to_ascii_lowercase(), start));
    }
    let mut name = cursor.name(what)?.0;
    while cursor.accept(&Token::Period) {
        name.push('.');
        name.push_str(&cursor.name("a name behind '.'")?.0);
    }
    Ok((name.to_ascii_lowercase(), cursor.span_from(start)))
}

/// A string, number, word, or a run of numbers and words such as `5s`, `1h30m` or `64 KiB`, up to one of `ends`.
fn value(cursor: &mut Cursor<'_>, ends: &[Token]) -> Result<String, Diagnostic> {
    let text = match cursor.peek() {
        Some(Token::SingleQuotedString(s) | Token::EscapedStringLiteral(s)) => s.clone(),
        Some(Token::DollarQuotedString(s)) => s.value.clone(),
        Some(Token::Word(w)) if w.quote_style.is_some() => {
            return Err(cursor.expected("a value").with_hint("strings stand between ' '"));
        }
        Some(Token::Minus | Token::Plus) if matches!(cursor.peek_at(1), Some(Token::Number(..))) => {
            let start = cursor.span();
            cursor.advance();
            return run(cursor, start, ends);
        }
        Some(Token::Number(..) | Token::Word(_)) => return run(cursor, cursor.span(), ends),
        _ => return Err(cursor.expected("a value")),
    };
    cursor.advance();
    Ok(text)
}

/// The source text of numbers and words from `start` on.
fn run(cursor: &mut Cursor<'_>, start: Span, ends: &[Token]) -> Result<String, Diagnostic> {
    let words = matches!(cursor.peek(), Some(Token::Word(_)));
    let mut number = !words;
    cursor.advance();
    // A bare word is one word; behind a number its unit may follow, and further pairs.
    while !words && !cursor.at_end() && !cursor.peek().is_some_and(|t| ends.contains(t)) {
        match cursor.peek() {
            Some(Token::Number(..)) if !number => number = true,
            Some(Token::Word(w)) if number && w.quote_style.is_none() => number = false,
            _ => break,
        }
        cursor.advance();
    }
    let span = cursor.span_from(start);
    Ok(cursor.source.get(span.start..span.end).unwrap_or("").to_owned())
}
