//! sqlparser's errors as ours: a place, a readable sentence, and the word that was meant.

use sqlparser::keywords::Keyword;
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Token};

use super::cursor::{end_of, shown, word};
use super::is;
use super::lexer::{Tok, lower_first};
use crate::catalog::nearest;
use crate::sql::{Diagnostic, Span};

/// Words that a misspelt one may stand for.
const CLAUSES: &[&str] = &[
    "SELECT",
    "DISTINCT",
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "QUALIFY",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "EXCLUDE",
    "JOIN",
    "LEFT",
    "RIGHT",
    "FULL",
    "INNER",
    "OUTER",
    "CROSS",
    "USING",
    "BETWEEN",
    "LIKE",
    "ILIKE",
    "SIMILAR",
    "NULL",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "UNNEST",
    "VALUES",
    "WITH",
    "EMIT",
    "CHANGES",
    "FINAL",
    "INTERVAL",
    "CAST",
    "TRY_CAST",
    "ESCAPE",
    "PARTITION",
    "WINDOW",
    "NULLS",
    "FIRST",
    "LAST",
];

/// Words that stand together.
const PAIRS: &[(&str, &[&str])] = &[
    ("GROUP", &["BY"]),
    ("ORDER", &["BY"]),
    ("PARTITION", &["BY"]),
    ("NULLS", &["FIRST", "LAST"]),
    ("SIMILAR", &["TO"]),
    ("CROSS", &["JOIN"]),
    ("INNER", &["JOIN"]),
    ("LEFT", &["JOIN", "OUTER", "SEMI", "ANTI"]),
    ("RIGHT", &["JOIN", "OUTER", "SEMI", "ANTI"]),
    ("FULL", &["JOIN", "OUTER"]),
];

/// Turns an error of the parser into a diagnostic.
pub(super) fn explain(source: &str, toks: &[Tok], error: &ParserError) -> Diagnostic {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        ParserError::RecursionLimitExceeded => {
            let span = toks.first().map_or_else(Span::default, |t| t.span);
            return Diagnostic::new("this statement is nested too deeply", span)
                .with_hint("name a part of it in a WITH clause or a view");
        }
    };
    let (text, location) = split_location(text);
    let Some(at) = location.and_then(|l| toks.iter().position(|t| t.place.start >= l)) else {
        // "… after LEFT" comes without a place.
        let after = text.rsplit_once(" after ").and_then(|(_, w)| lonely(toks, w));
        return after.map_or_else(|| at_end(source, toks, text), |at| unexpected(source, toks, at));
    };
    match wanted(text) {
        Some(("end of statement" | "EOF", _)) => unexpected(source, toks, at),
        Some((what, _)) => {
            let found = toks.get(at).map_or_else(Span::default, |t| t.span);
            let message = format!("expected {}, found {}", readable(what), shown(source, found));
            with_meant(source, toks, at, Diagnostic::new(message, found))
        }
        None if text.starts_with("No infix parser") => unexpected(source, toks, at),
        None => {
            let span = toks.get(at).map_or_else(Span::default, |t| t.span);
            with_meant(source, toks, at, Diagnostic::new(lower_first(text.trim()), span))
        }
    }
}

/// The place of `first` where none of its companions follows.
fn lonely(toks: &[Tok], first: &str) -> Option<usize> {
    let (_, then) = PAIRS.iter().find(|(w, _)| *w == first)?;
    let follows = |at: usize| toks.get(at + 1).is_some_and(|t| then.iter().any(|w| is(&t.token, w)));
    toks.iter().enumerate().find(|(at, t)| is(&t.token, first) && !follows(*at)).map(|(at, _)| at)
}

/// A token at `location` that nothing has read.
pub(super) fn leftover(source: &str, toks: &[Tok], location: Location) -> Diagnostic {
    match toks.iter().position(|t| t.place.start >= location) {
        Some(at) => unexpected(source, toks, at),
        None => Diagnostic::new("unexpected end of the statement", end_of(source, toks)),
    }
}

fn at_end(source: &str, toks: &[Tok], text: &str) -> Diagnostic {
    let end = end_of(source, toks);
    match wanted(text) {
        Some((what, _)) => {
            Diagnostic::new(format!("expected {}, found the end of the statement", readable(what)), end)
        }
        None => Diagnostic::new(lower_first(text.trim()), end),
    }
}

fn unexpected(source: &str, toks: &[Tok], at: usize) -> Diagnostic {
    let span = toks.get(at).map_or_else(Span::default, |t| t.span);
    // sqlparser gives back GROUP if no BY follows.
    let pair = toks.get(at).and_then(|t| PAIRS.iter().find(|(w, _)| is(&t.token, w)));
    if let Some((first, then)) = pair
        && !toks.get(at + 1).is_some_and(|t| then.iter().any(|w| is(&t.token, w)))
    {
        let (found, span) = match toks.get(at + 1) {
            Some(next) => (shown(source, next.span), next.span),
            None => ("the end of the statement".into(), end_of(source, toks)),
        };
        let message = format!("expected {} behind {first}, found {found}", then.join(" or "));
        return Diagnostic::new(message, span);
    }
    with_meant(source, toks, at, Diagnostic::new(format!("unexpected {}", shown(source, span)), span))
}

/// Looks for a misspelt keyword in the token of the error, or in the one before, which was then taken as a name.
fn with_meant(source: &str, toks: &[Tok], at: usize, mut error: Diagnostic) -> Diagnostic {
    if let Some(meant) = toks.get(at).and_then(|t| meant(t)) {
        return error.with_hint(format!("did you mean {meant}?"));
    }
    let Some(before) = at.checked_sub(1).and_then(|i| toks.get(i)) else { return error };
    if let Some(meant) = meant(before) {
        let written = shown(source, before.span);
        error.message = format!("{} behind {written}", error.message);
        error.span = before.span;
        return error.with_hint(format!("did you mean {meant} instead of {written}?"));
    }
    error
}

/// The keyword that an unquoted word is a typing error of.
fn meant(tok: &Tok) -> Option<&'static str> {
    let text = word(&tok.token)?.to_ascii_uppercase();
    let known = matches!(&tok.token, Token::Word(w) if w.keyword != Keyword::NoKeyword);
    if text.len() < 4 || known {
        return None;
    }
    let mut near = nearest(&text, CLAUSES.iter().copied());
    near.retain(|k| nearly(&text, k));
    near.iter().find(|k| k.starts_with(&text)).or(near.first()).copied()
}

/// At most one letter more, less or other; their order does not count.
fn nearly(a: &str, b: &str) -> bool {
    let mut rest: Vec<char> = b.chars().collect();
    let extra = a.chars().filter(|c| match rest.iter().position(|r| r == c) {
        Some(i) => {
            rest.swap_remove(i);
            false
        }
        None => true,
    });
    let extra = extra.count();
    extra <= 1 && rest.len() <= 1
}

/// "Expected: …, found: … at Line: 3, Column: 7" without the end, and the end.
fn split_location(text: &str) -> (&str, Option<Location>) {
    let parsed = text.rsplit_once(" at Line: ").and_then(|(head, tail)| {
        let (line, column) = tail.split_once(", Column: ")?;
        Some((head, Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? }))
    });
    match parsed {
        Some((head, location)) if location.line > 0 => (head, Some(location)),
        Some((head, _)) => (head, None),
        None => (text, None),
    }
}

/// What was expected, and what was found.
fn wanted(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix("Expected: ").or_else(|| text.strip_prefix("Expected "))?;
    text.split_once(", found: ")
}

/// sqlparser's names of things in plainer words.
fn readable(what: &str) -> String {
    match what {
        "identifier" => "a name".into(),
        "an expression" | "an expression:" => "an expression".into(),
        "SELECT, VALUES, or a subquery in the query body" => "SELECT".into(),
        "joined table" => "a table".into(),
        "one of AND or OR" => "AND or OR".into(),
        ")" | "(" | "]" | "[" | "," | "}" | "{" | "=" | ":" | ">" => format!("'{what}'"),
        "an SQL statement" => "a statement".into(),
        "literal string" => "a string".into(),
        other => lower_first(other.trim()),
    }
}
