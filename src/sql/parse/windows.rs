//! Windows over time, as users of several engines write them, in terms of calls that sqlparser reads.
//!
//! `WINDOW TUMBLING (…)`, wherever it stands in its SELECT, becomes an item of GROUP BY; PARTITION BY within SESSION becomes an
//! argument; `TABLE t` as an argument is `t`. The tokens keep their places.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, Word};

use super::cursor::word;
use super::lexer::Tok;
use super::{is, row_windows, words};
use crate::catalog::parse_duration;
use crate::sql::{Diagnostic, Span};

/// Begins the names of calls that stand for the clause.
pub(in crate::sql) const CLAUSE: &str = "window ";
/// The call that holds the keys of a session.
pub(in crate::sql) const PARTITION: &str = "partition by";
/// The named argument of the clause for GRACE PERIOD.
pub(in crate::sql) const GRACE: &str = "grace";

/// Table functions whose first argument is a table.
const FUNCTIONS: &[&str] = &["TUMBLE", "HOP", "CUMULATE", "SESSION"];

/// Words that end a SELECT, at its own depth.
const ENDS: &[&str] =
    &["UNION", "INTERSECT", "EXCEPT", "MINUS", "ORDER", "LIMIT", "OFFSET", "FETCH", "SETTINGS", "FORMAT"];

/// Each window moves tokens: hostile texts must not take quadratic time.
const MAX_WINDOWS: usize = 1000;

/// Rewrites all of them.
pub(super) fn lift(source: &str, toks: &[Tok]) -> Result<Vec<Tok>, Diagnostic> {
    let mut toks = toks.to_vec();
    let (mut at, mut found) = (0, 0);
    while at < toks.len() {
        row_windows::refuse(&toks, at)?;
        let (clause_here, function_here) = (is_clause(&toks, at), opens_function(&toks, at));
        found += usize::from(clause_here || function_here);
        if found > MAX_WINDOWS {
            let span = toks.get(at).map_or_else(Span::default, |t| t.span);
            return Err(Diagnostic::new("there are too many windows in one statement", span));
        }
        if clause_here {
            // What followed it stands here now.
            clause(source, &mut toks, at)?;
            continue;
        }
        if function_here {
            drop_table_words(&mut toks, at + 1);
            partition(&mut toks, at + 1)?;
        }
        at += 1;
    }
    Ok(toks)
}

fn token(toks: &[Tok], at: usize) -> Option<&Token> {
    toks.get(at).map(|t| &t.token)
}

fn is_word(toks: &[Tok], at: usize, wanted: &str) -> bool {
    token(toks, at).is_some_and(|t| is(t, wanted))
}

/// `WINDOW`, a kind of window, and a bracket: not a name, not a named window.
fn is_clause(toks: &[Tok], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|i| token(toks, i));
    is_word(toks, at, "WINDOW")
        && matches!(token(toks, at + 1), Some(Token::Word(w)) if w.quote_style.is_none())
        && token(toks, at + 2) == Some(&Token::LParen)
        && !words::operand_follows(before)
}

fn opens_function(toks: &[Tok], at: usize) -> bool {
    token(toks, at + 1) == Some(&Token::LParen) && FUNCTIONS.iter().any(|f| is_word(toks, at, f))
}

/// `TABLE t` as an argument is `t`.
fn drop_table_words(toks: &mut Vec<Tok>, open: usize) {
    let Some(close) = closing(toks, open) else { return };
    let mut at = open + 1;
    let mut end = close;
    let mut depth = 0usize;
    while at < end {
        let first =
            matches!(token(toks, at - 1), Some(Token::LParen | Token::Comma | Token::RArrow | Token::Eq));
        let table =
            is_word(toks, at, "TABLE") && matches!(token(toks, at + 1), Some(Token::Word(_) | Token::LParen));
        match token(toks, at) {
            Some(_) if depth == 0 && first && table => {
                toks.remove(at);
                end -= 1;
                continue;
            }
            Some(Token::LParen | Token::LBracket | Token::LBrace) => depth += 1,
            Some(Token::RParen | Token::RBracket | Token::RBrace) => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
}

/// The position of the bracket that closes the one at `open`.
fn closing(toks: &[Tok], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (i, tok) in toks.iter().enumerate().skip(open) {
        match tok.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

/// The arguments between the brackets at `open` and `close`, as ranges.
fn arguments(toks: &[Tok], open: usize, close: usize) -> Vec<std::ops::Range<usize>> {
    let (mut parts, mut start, mut depth) = (Vec::new(), open + 1, 0usize);
    for at in open + 1..close {
        match token(toks, at) {
            Some(Token::LParen | Token::LBracket | Token::LBrace) => depth += 1,
            Some(Token::RParen | Token::RBracket | Token::RBrace) => depth = depth.saturating_sub(1),
            Some(Token::Comma) if depth == 0 => {
                parts.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    if start < close {
        parts.push(start..close);
    }
    parts
}

fn like(at: &Tok, token: Token) -> Tok {
    Tok { token, ..at.clone() }
}

/// A name in quotes, which is no word of any syntax.
fn name(text: &str) -> Token {
    Token::Word(Word { value: text.into(), quote_style: Some('"'), keyword: Keyword::NoKeyword })
}

/// `SESSION(t, ts, gap PARTITION BY k)`, `SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), gap)`: the keys become the
/// last argument.
fn partition(toks: &mut Vec<Tok>, open: usize) -> Result<(), Diagnostic> {
    let Some(close) = closing(toks, open) else { return Ok(()) };
    let parts = arguments(toks, open, close);
    let begins = |part: &std::ops::Range<usize>| {
        let mut inner = 0usize;
        part.clone().find(|at| {
            match token(toks, *at) {
                Some(Token::LParen) => inner += 1,
                Some(Token::RParen) => inner = inner.saturating_sub(1),
                _ => {}
            }
            inner == 0 && is_word(toks, *at, "PARTITION") && is_word(toks, at + 1, "BY")
        })
    };
    let Some((number, at)) = parts.iter().enumerate().find_map(|(n, p)| Some((n, begins(p)?))) else {
        return Ok(());
    };
    let last = match number {
        // Behind the table: time and gap follow.
        0 if parts.len() > 2 => parts.get(parts.len() - 3).map_or(close, |p| p.end),
        _ => close,
    };
    let (Some(word), Some(bracket)) = (toks.get(at).cloned(), toks.get(open).cloned()) else {
        return Ok(());
    };
    let keys: Vec<Tok> = toks.get(at + 2..last).unwrap_or_default().to_vec();
    if keys.is_empty() {
        let end = toks.get(at + 1).map_or(word.span, |t| t.span);
        let span = Span { start: word.span.start, end: end.end };
        return Err(Diagnostic::new("PARTITION BY takes the keys of the sessions", span));
    }
    let mut moved =
        vec![like(&word, Token::Comma), like(&word, name(PARTITION)), like(&bracket, Token::LParen)];
    moved.extend(keys);
    moved.push(like(&bracket, Token::RParen));
    toks.splice(close..close, moved);
    // A comma before PARTITION is one too many.
    let from = if at > open + 1 && token(toks, at - 1) == Some(&Token::Comma) { at - 1 } else { at };
    toks.drain(from..last);
    Ok(())
}

/// What the brackets of the clause hold.
#[derive(Default)]
struct Parts {
    positional: Vec<Vec<Tok>>,
    size: Option<Vec<Tok>>,
    advance: Option<Vec<Tok>>,
    grace: Option<Vec<Tok>>,
}

fn clause(source: &str, toks: &mut Vec<Tok>, at: usize) -> Result<(), Diagnostic> {
    let (Some(window), Some(kind)) = (toks.get(at).cloned(), toks.get(at + 1).cloned()) else {
        return Ok(());
    };
    let span = Span { start: window.span.start, end: kind.span.end };
    let Some(close) = closing(toks, at + 2) else { return Ok(()) };
    let wanted = word(&kind.token).unwrap_or_default().to_ascii_uppercase();
    let form = match wanted.as_str() {
        "TUMBLING" | "HOPPING" | "SLIDING" | "SESSION" => wanted.as_str(),
        _ => {
            let error = Diagnostic::new(format!("there is no WINDOW {wanted}"), span);
            let hint = match wanted.as_str() {
                "TUMBLE" => "write WINDOW TUMBLING (time, size)",
                "HOP" => "write WINDOW HOPPING (time, size, advance)",
                "CUMULATE" => "write GROUP BY CUMULATE(time, step, size)",
                _ => "there are TUMBLING, HOPPING, SLIDING and SESSION",
            };
            return Err(error.with_hint(hint));
        }
    };
    let mut parts = Parts::default();
    for range in arguments(toks, at + 2, close) {
        part(source, toks.get(range).unwrap_or_default(), &mut parts)?;
    }
    let Some(args) = ordered(form, parts) else {
        let takes = match form {
            "TUMBLING" => "WINDOW TUMBLING takes (time, size) or (SIZE size)",
            "SESSION" => "WINDOW SESSION takes (time, gap) or (gap)",
            "HOPPING" => "WINDOW HOPPING takes (time, size, advance) or (SIZE size, ADVANCE BY advance)",
            _ => "WINDOW SLIDING takes (time, size, advance)",
        };
        return Err(Diagnostic::new(takes, span));
    };
    let function = match form {
        "TUMBLING" => "tumble",
        "SESSION" => "session",
        _ => "hop",
    };
    let mut whole = window;
    (whole.place.end, whole.span.end) = (kind.place.end, kind.span.end);
    let mut call = vec![like(&whole, name(&format!("{CLAUSE}{function}"))), like(&whole, Token::LParen)];
    for (i, arg) in args.into_iter().enumerate() {
        if i > 0 {
            call.push(like(&whole, Token::Comma));
        }
        call.extend(arg);
    }
    call.push(like(&whole, Token::RParen));
    let (from, to) = extent(toks, at);
    if outer(toks, from, to).into_iter().any(|i| i != at && is_clause(toks, i)) {
        return Err(Diagnostic::new("a SELECT has one window", span));
    }
    toks.drain(at..=close);
    put(toks, from, to - (close + 1 - at), call);
    Ok(())
}

/// The positions in a SELECT that are not within brackets of its own.
fn outer(toks: &[Tok], from: usize, to: usize) -> Vec<usize> {
    let mut depth = 0i64;
    let mut found = Vec::new();
    for at in from..to {
        if depth == 0 {
            found.push(at);
        }
        match token(toks, at) {
            Some(Token::LParen | Token::LBracket | Token::LBrace) => depth += 1,
            Some(Token::RParen | Token::RBracket | Token::RBrace) => depth -= 1,
            _ => {}
        }
    }
    found
}

/// Where the SELECT around `at` begins and ends.
fn extent(toks: &[Tok], at: usize) -> (usize, usize) {
    let (mut from, mut inner) = (at, 0i64);
    while let Some(before) = from.checked_sub(1) {
        match token(toks, before) {
            Some(Token::RParen | Token::RBracket | Token::RBrace) => inner += 1,
            Some(Token::LParen | Token::LBracket | Token::LBrace) => inner -= 1,
            _ => {}
        }
        if inner < 0 {
            break;
        }
        from = before;
        if inner == 0 && is_word(toks, from, "SELECT") {
            break;
        }
    }
    let (mut to, mut inner) = (at, 0i64);
    while let Some(next) = token(toks, to) {
        match next {
            Token::LParen | Token::LBracket | Token::LBrace => inner += 1,
            Token::RParen | Token::RBracket | Token::RBrace => inner -= 1,
            _ => {}
        }
        if inner < 0 || inner == 0 && ENDS.iter().any(|w| is(next, w)) {
            break;
        }
        to += 1;
    }
    (from, to)
}

/// Puts the call first in GROUP BY, which is made if there is none.
fn put(toks: &mut Vec<Tok>, from: usize, to: usize, mut call: Vec<Tok>) {
    let outer = outer(toks, from, to);
    let group = outer.iter().copied().find(|i| is_word(toks, *i, "GROUP") && is_word(toks, i + 1, "BY"));
    let Some(first) = call.first().cloned() else { return };
    match group {
        Some(at) => {
            call.push(like(&first, Token::Comma));
            toks.splice(at + 2..at + 2, call);
        }
        None => {
            let behind = ["HAVING", "QUALIFY", "WINDOW"];
            let names = |i: &usize| i.checked_sub(1).is_some_and(|b| words::operand_follows(token(toks, b)));
            let at = (outer.iter().copied())
                .find(|i| !names(i) && behind.iter().any(|w| is_word(toks, *i, w)))
                .unwrap_or(to);
            let key = |text: &str, keyword| {
                like(&first, Token::Word(Word { value: text.into(), quote_style: None, keyword }))
            };
            let mut made = vec![key("GROUP", Keyword::GROUP), key("BY", Keyword::BY)];
            made.append(&mut call);
            toks.splice(at..at, made);
        }
    }
}

/// One argument of the clause.
fn part(source: &str, toks: &[Tok], parts: &mut Parts) -> Result<(), Diagnostic> {
    let Some(first) = toks.first() else { return Ok(()) };
    let named = |skip: usize| {
        let rest = toks.get(skip..).unwrap_or_default();
        let duration = duration(source, rest).or_else(|| interval(rest));
        duration.ok_or_else(|| {
            let span = rest.first().unwrap_or(first).span;
            Diagnostic::new("a duration is expected, such as 1 MINUTE or 10s", span)
        })
    };
    let slot = match word(&first.token).map(str::to_ascii_uppercase).as_deref() {
        Some("SIZE") if toks.len() > 1 => (&mut parts.size, named(1)?),
        Some("ADVANCE") if is_word(toks, 1, "BY") => (&mut parts.advance, named(2)?),
        Some("GRACE") if is_word(toks, 1, "PERIOD") => (&mut parts.grace, named(2)?),
        Some("RETENTION") if toks.len() > 1 => {
            let error = Diagnostic::new("RETENTION is not supported", first.span);
            return Err(
                error.with_hint("a window is kept until it closes; GRACE PERIOD says how long that takes")
            );
        }
        _ => {
            let value = duration(source, toks).unwrap_or_else(|| toks.to_vec());
            parts.positional.push(value);
            return Ok(());
        }
    };
    match slot {
        (Some(_), _) => Err(Diagnostic::new("this is said twice", first.span)),
        (empty, value) => {
            *empty = Some(value);
            Ok(())
        }
    }
}

/// `10s`, `1h30m`, `1 MINUTE` as an interval.
fn duration(source: &str, toks: &[Tok]) -> Option<Vec<Tok>> {
    let (first, last) = (toks.first()?, toks.last()?);
    if !matches!(first.token, Token::Number(..)) || toks.len() < 2 {
        return None;
    }
    let micros = parse_duration(source.get(first.span.start..last.span.end)?)?.as_micros();
    let mut whole = first.clone();
    (whole.place.end, whole.span.end) = (last.place.end, last.span.end);
    let keyword = Word { value: "INTERVAL".into(), quote_style: None, keyword: Keyword::INTERVAL };
    Some(vec![
        like(&whole, Token::Word(keyword)),
        like(&whole, Token::SingleQuotedString(format!("{micros} microseconds"))),
    ])
}

/// `INTERVAL '1' MINUTE`, `'1 minute'`: as it is.
fn interval(toks: &[Tok]) -> Option<Vec<Tok>> {
    let first = &toks.first()?.token;
    (is(first, "INTERVAL") || matches!(first, Token::SingleQuotedString(_))).then(|| toks.to_vec())
}

/// The arguments in the order of the function: time, advance before size, grace.
fn ordered(form: &str, parts: Parts) -> Option<Vec<Vec<Tok>>> {
    let Parts { mut positional, size, advance, grace } = parts;
    let hops = matches!(form, "HOPPING" | "SLIDING");
    if advance.is_some() && !hops
        || size.is_some() && form == "SESSION"
        || advance.is_some() && size.is_none()
    {
        return None;
    }
    let durations = if hops { 2 } else { 1 };
    let mut args = match size {
        Some(size) => {
            // The time may stand before SIZE.
            let mut args = positional;
            let time = args.len();
            if time > 1 {
                return None;
            }
            match advance {
                Some(advance) => args.extend([advance, size]),
                None if hops => return None,
                None => args.push(size),
            }
            args
        }
        None if (durations..=durations + 1).contains(&positional.len()) => {
            if hops {
                let last = positional.len() - 1;
                positional.swap(last - 1, last);
            }
            positional
        }
        None => return None,
    };
    if let Some(grace) = grace {
        let first = grace.first()?.clone();
        let mut named = vec![like(&first, name(GRACE)), like(&first, Token::RArrow)];
        named.extend(grace);
        args.push(named);
    }
    Some(args)
}
