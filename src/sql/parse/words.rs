//! Which words are clauses of ours, which are names after all, and which are not built yet.

use sqlparser::tokenizer::Token;

use super::cursor::word;
use super::is;
use super::lexer::Tok;
use crate::sql::Diagnostic;

/// Words behind which an operand follows: a word there is a name, no clause.
const OPERAND_FOLLOWS: &[&str] = &[
    "ALL",
    "AND",
    "ANY",
    "BETWEEN",
    "BY",
    "CASE",
    "DISTINCT",
    "ELSE",
    "ESCAPE",
    "FROM",
    "HAVING",
    "ILIKE",
    "IN",
    "INTO",
    "JOIN",
    "LIKE",
    "NOT",
    "ON",
    "OR",
    "QUALIFY",
    "RETURNING",
    "SELECT",
    "SOME",
    "THEN",
    "TO",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "ZONE",
];

/// Clause words that are fine as column names: where an operand must stand they are nothing else.
const NAMES: &[&str] = &["END", "OFFSET", "RETURNING", "START", "TO", "TOP", "WINDOW", "ZONE"];

/// Words with a syntax of their own behind `(`, and names without it.
const CALLED: &[&str] = &[
    "ANY",
    "CAST",
    "CEIL",
    "CONVERT",
    "CUBE",
    "EXISTS",
    "EXTRACT",
    "FLOOR",
    "OVERLAY",
    "POSITION",
    "ROLLUP",
    "SAFE_CAST",
    "SOME",
    "STRUCT",
    "SUBSTR",
    "SUBSTRING",
    "TRIM",
    "TRY_CAST",
    "VALUES",
];

/// Words that can't be an operand, although sqlparser would take them for a column's name.
const NO_OPERAND: &[&str] = &[
    "ALL",
    "AND",
    "AS",
    "BETWEEN",
    "BY",
    "DISTINCT",
    "ELSE",
    "ESCAPE",
    "EXCEPT",
    "FROM",
    "GROUP",
    "HAVING",
    "ILIKE",
    "IN",
    "INTERSECT",
    "INTO",
    "IS",
    "JOIN",
    "LIKE",
    "LIMIT",
    "ON",
    "OR",
    "ORDER",
    "QUALIFY",
    "SELECT",
    "SIMILAR",
    "THEN",
    "UNION",
    "USING",
    "WHEN",
    "WHERE",
    "WITH",
];

/// Syntax that is known and not built: the words that begin it, the words behind them, what to say.
struct Unbuilt {
    words: &'static [&'static str],
    then: Then,
    message: &'static str,
}

enum Then {
    Anything,
    Paren,
    OneOf(&'static [&'static str]),
    NoneOf(&'static [&'static str]),
}

const UNBUILT: &[Unbuilt] = &[
    Unbuilt {
        words: &["TUMBLING"],
        then: Then::Paren,
        message: "TUMBLING stands behind WINDOW; the function is TUMBLE",
    },
    Unbuilt {
        words: &["HOPPING"],
        then: Then::Paren,
        message: "HOPPING stands behind WINDOW; the function is HOP",
    },
    Unbuilt {
        words: &["SLIDING"],
        then: Then::Paren,
        message: "SLIDING stands behind WINDOW; the function is HOP",
    },
    Unbuilt {
        words: &["ASOF"],
        then: Then::OneOf(&["JOIN", "LEFT", "INNER"]),
        message: "ASOF JOIN is not supported yet",
    },
    Unbuilt {
        words: &["FOR"],
        then: Then::OneOf(&["SYSTEM_TIME", "SYSTEM"]),
        message: "FOR SYSTEM_TIME AS OF is not supported yet",
    },
    Unbuilt {
        words: &["WITHIN"],
        then: Then::NoneOf(&["GROUP"]),
        message: "joins WITHIN a time are not supported yet",
    },
    Unbuilt { words: &["MATCH_RECOGNIZE"], then: Then::Paren, message: "MATCH_RECOGNIZE is not supported" },
    Unbuilt {
        words: &["FOR"],
        then: Then::OneOf(&["UPDATE", "SHARE", "NO", "KEY"]),
        message: "locking is not supported",
    },
    Unbuilt { words: &["INSERT", "INTO"], then: Then::Anything, message: "INSERT can't stand in a query" },
    Unbuilt { words: &["INTO"], then: Then::NoneOf(&[]), message: "INTO is not supported in a query" },
    Unbuilt { words: &["TABLESAMPLE"], then: Then::NoneOf(&[]), message: "TABLESAMPLE is not supported" },
    Unbuilt { words: &["PIVOT"], then: Then::Paren, message: "PIVOT is not supported" },
    Unbuilt { words: &["UNPIVOT"], then: Then::Paren, message: "UNPIVOT is not supported" },
    Unbuilt { words: &["LATERAL", "VIEW"], then: Then::Anything, message: "LATERAL VIEW is not supported" },
];

/// What is not built and begins at `at`; `operand`: where an operand must stand.
pub(super) fn unbuilt(toks: &[Tok], at: usize, operand: bool) -> Option<Diagnostic> {
    let token = |i: usize| toks.get(at + i).map(|t| &t.token);
    let hit = UNBUILT.iter().find(|u| {
        u.words.iter().enumerate().all(|(i, w)| token(i).is_some_and(|t| is(t, w)))
            && match u.then {
                Then::Anything => true,
                Then::Paren => token(u.words.len()) == Some(&Token::LParen),
                Then::NoneOf(words) => {
                    !operand && !token(u.words.len()).is_some_and(|t| words.iter().any(|w| is(t, w)))
                }
                Then::OneOf(words) => token(u.words.len()).is_some_and(|t| words.iter().any(|w| is(t, w))),
            }
    })?;
    let first = toks.get(at)?.span;
    let last = toks.get(at + hit.words.len() - 1)?.span;
    Some(Diagnostic::new(hit.message, crate::sql::Span { start: first.start, end: last.end }))
}

/// Whether an operand must follow this token.
pub(super) fn operand_follows(token: Option<&Token>) -> bool {
    match token {
        None => true,
        Some(
            Token::RParen
            | Token::RBracket
            | Token::RBrace
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::Placeholder(_)
            | Token::Mul,
        ) => false,
        Some(Token::Word(w)) => {
            w.quote_style.is_none() && OPERAND_FOLLOWS.iter().any(|k| k.eq_ignore_ascii_case(&w.value))
        }
        Some(_) => true,
    }
}

/// Whether a word that stands where an operand must stand is a name although sqlparser has another use for it.
pub(super) fn is_name(token: &Token, next: Option<&Token>) -> bool {
    let among = |words: &[&str]| word(token).is_some_and(|w| words.iter().any(|n| n.eq_ignore_ascii_case(w)));
    among(NAMES) || among(CALLED) && !matches!(next, Some(Token::LParen | Token::Lt))
}

/// Whether a word where an operand must stand shows that the operand is missing.
pub(super) fn lacks_operand(token: &Token, previous: Option<&Token>, next: Option<&Token>) -> bool {
    let Some(text) = word(token).map(str::to_ascii_uppercase) else { return false };
    if !NO_OPERAND.contains(&text.as_str()) {
        return false;
    }
    let behind = |w: &str| previous.is_some_and(|p| is(p, w));
    match text.as_str() {
        // NOT IN, CASE WHEN, DISTINCT ON, OVER (ORDER BY …), FILTER (WHERE …).
        "IN" | "LIKE" | "ILIKE" | "SIMILAR" | "BETWEEN" => !behind("NOT"),
        "ALL" => !behind("SELECT") && !behind("BY") && next != Some(&Token::LParen),
        "WHEN" => !behind("CASE"),
        "ON" | "FROM" => !behind("DISTINCT"),
        "DISTINCT" => previous != Some(&Token::LParen) && !behind("SELECT") && !behind("NOT"),
        "ORDER" | "WHERE" => previous != Some(&Token::LParen),
        "SELECT" | "WITH" => {
            !matches!(previous, None | Some(Token::LParen)) && !behind("ALL") && !behind("DISTINCT")
        }
        _ => true,
    }
}

/// Whether this is the word EMIT as a clause: not where a name must stand.
pub(super) fn is_emit(token: &Token, previous: Option<&Token>) -> bool {
    is(token, "EMIT")
        && !operand_follows(previous)
        && !previous.is_some_and(|p| *p == Token::Period || is(p, "AS"))
}

/// What is wrong with an EMIT at `at` that is not followed by a mode.
pub(super) fn bad_emit(source: &str, toks: &[Tok], at: usize) -> Diagnostic {
    let span = toks.get(at).map_or_else(Default::default, |t| t.span);
    let error = match toks.get(at + 1) {
        Some(next) if is(&next.token, "CHANGES") || is(&next.token, "FINAL") => {
            Diagnostic::new("EMIT belongs at the end of the whole query", span)
        }
        Some(next) => {
            let found = super::cursor::shown(source, next.span);
            Diagnostic::new(format!("expected CHANGES or FINAL behind EMIT, found {found}"), next.span)
        }
        None => Diagnostic::new("expected CHANGES or FINAL behind EMIT", span),
    };
    if error.span == span && toks.len() > at + 1 {
        error
    } else {
        error.with_hint("an alias of that name needs AS")
    }
}
