//! Windows that count rows: what users write for them, where the frame of OVER is what there is.

use sqlparser::tokenizer::Token;

use super::lexer::Tok;
use super::{is, words};
use crate::sql::{Diagnostic, Span};

/// Words in front of the number of rows behind WINDOW.
const COUNTING: &[&str] = &["ROWS", "ROW", "COUNT"];
/// Windows whose arguments users give as rows.
const TAKES_TIME: &[&str] = &["TUMBLE", "HOP", "CUMULATE", "SESSION", "TUMBLING", "HOPPING", "SLIDING"];

fn token(toks: &[Tok], at: usize) -> Option<&Token> {
    toks.get(at).map(|t| &t.token)
}
fn among(toks: &[Tok], at: usize, list: &[&str]) -> bool {
    token(toks, at).is_some_and(|t| list.iter().any(|w| is(t, w)))
}
fn number(toks: &[Tok], at: usize) -> bool {
    matches!(token(toks, at), Some(Token::Number(..)))
}
fn span(toks: &[Tok], from: usize, to: usize) -> Span {
    let at = |i: usize| toks.get(i).map_or_else(Span::default, |t| t.span);
    Span { start: at(from).start, end: at(to).end }
}

/// A window of rows in the place of one over time, at `at`.
///
/// # Errors
/// There is one.
pub(super) fn refuse(toks: &[Tok], at: usize) -> Result<(), Diagnostic> {
    let Some(to) = counted(toks, at) else { return Ok(()) };
    let error = Diagnostic::new("a window to group by spans time, not a number of rows", span(toks, at, to));
    Err(error
        .with_hint("for the last rows write OVER (ROWS WINDOW BUFFER 100 ROWS PARTITION BY … ORDER BY …)"))
}

/// The last token of what says that rows are counted.
fn counted(toks: &[Tok], at: usize) -> Option<usize> {
    let paren = |i: usize| token(toks, i) == Some(&Token::LParen);
    let before = at.checked_sub(1).and_then(|i| token(toks, i));
    // `WINDOW ROWS 100`, `WINDOW COUNT (100)`: WINDOW is no name here.
    let clause = among(toks, at, &["WINDOW"]) && !words::operand_follows(before);
    if clause
        && among(toks, at + 1, COUNTING)
        && (number(toks, at + 2) || paren(at + 2) && number(toks, at + 3))
    {
        return Some(at + 1);
    }
    let call = at + usize::from(clause);
    if !paren(call + 1) || !among(toks, call, TAKES_TIME) {
        return None;
    }
    // `TUMBLE(ROWS 100)`, `TUMBLE(ts, 100 ROWS)`, `WINDOW TUMBLING (SIZE 100 ROWS)`: among the arguments, not in calls within.
    let mut depth = 0usize;
    for i in call + 1..toks.len() {
        match token(toks, i)? {
            Token::LParen => depth += 1,
            Token::RParen if depth == 1 => return None,
            Token::RParen => depth = depth.saturating_sub(1),
            _ if depth == 1
                && among(toks, i, &["ROWS", "ROW"])
                && (number(toks, i - 1) || number(toks, i + 1)) =>
            {
                return Some(i);
            }
            _ => {}
        }
    }
    None
}

/// `EXCLUDE …` behind a frame at `at`: the number of tokens of one that changes nothing, or its refusal; `None` = no such thing.
pub(super) fn excluded(toks: &[Tok], at: usize) -> Option<Result<usize, Diagnostic>> {
    let behind = at.checked_sub(1)?;
    if !among(toks, behind, &["ROW", "PRECEDING", "FOLLOWING"]) {
        return None;
    }
    let (what, last) = match (token(toks, at + 1)?, token(toks, at + 2)) {
        (no, Some(others)) if is(no, "NO") && is(others, "OTHERS") => return Some(Ok(3)),
        (current, Some(row)) if is(current, "CURRENT") && is(row, "ROW") => ("CURRENT ROW", at + 2),
        (group, _) if is(group, "GROUP") => ("GROUP", at + 1),
        (ties, _) if is(ties, "TIES") => ("TIES", at + 1),
        _ => return None,
    };
    let error =
        Diagnostic::new(format!("EXCLUDE {what} in a frame is not supported yet"), span(toks, at, last));
    let hint = "a frame holds all its rows, as EXCLUDE NO OTHERS says; it may end at 1 PRECEDING or begin at 1 FOLLOWING";
    Some(Err(error.with_hint(hint)))
}
