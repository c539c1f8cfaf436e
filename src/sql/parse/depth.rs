//! Bounds how deep a parsed tree can be, so that neither parser nor binder can run out of stack.
//!
//! Two things make a tree deep: brackets within brackets, and chains such as `1 + 1 + 1`, which the parser reads in a
//! loop but which are as deep as they are long. Both are bounded over the tokens, before anything recurses.

use sqlparser::tokenizer::Token;

use super::cursor::word;
use super::lexer::Tok;
use crate::sql::Diagnostic;

/// Brackets, CASE and prefix operators within each other.
const MAX_NESTING: usize = 24;
/// Operators above each other.
pub(super) const MAX_CHAIN: usize = 500;

/// Binary and postfix operators that are words.
const OPERATORS: &[&str] = &[
    "AND",
    "OR",
    "IS",
    "IN",
    "LIKE",
    "ILIKE",
    "SIMILAR",
    "BETWEEN",
    "COLLATE",
    "AT",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "MINUS",
    "JOIN",
    "RLIKE",
    "REGEXP",
    "XOR",
    "DIV",
    "OVERLAPS",
];
/// Words behind which a new expression begins.
const FRESH: &[&str] =
    &["SELECT", "FROM", "WHERE", "HAVING", "GROUP", "ORDER", "LIMIT", "ON", "WHEN", "THEN", "ELSE"];

/// One bracket's worth of tokens.
#[derive(Default)]
struct Level {
    /// Operators since the last comma or clause.
    chain: usize,
    /// Set operations and joins: a comma or a clause does not end them.
    sets: usize,
    /// The deepest bracket within, since the last comma or clause.
    within: usize,
    /// The deepest chain closed so far.
    deepest: usize,
    /// Prefix operators in a row.
    prefix: usize,
    /// Opened by CASE and closed by END.
    case: bool,
}

impl Level {
    fn depth(&self) -> usize {
        self.deepest.max(self.chain + self.within) + self.sets
    }
    fn fresh(&mut self) {
        self.deepest = self.deepest.max(self.chain + self.within);
        self.chain = 0;
        self.within = 0;
        self.prefix = 0;
    }
}

/// # Errors
/// At the token that makes the tree too deep.
pub(super) fn check(toks: &[Tok]) -> Result<(), Diagnostic> {
    let mut levels = vec![Level::default()];
    let mut previous: Option<&Token> = None;
    for tok in toks {
        if let Some(level) = levels.last_mut() {
            count(level, tok, previous);
            if level.prefix > MAX_NESTING {
                return Err(too_deep(tok));
            }
            if level.depth() > MAX_CHAIN {
                let message =
                    format!("this expression is too long: at most {MAX_CHAIN} operators in one chain");
                return Err(
                    Diagnostic::new(message, tok.span).with_hint("IN (…) and ARRAY[…] may be of any length")
                );
            }
        }
        if opens(&tok.token) {
            let case = word(&tok.token).is_some();
            levels.push(Level { case, ..Level::default() });
            let prefixes: usize = levels.iter().map(|l| l.prefix).sum();
            if levels.len() + prefixes > MAX_NESTING + 1 {
                return Err(too_deep(tok));
            }
        } else if closes(&tok.token, levels.last()) && levels.len() > 1 {
            let inner = levels.pop().map_or(0, |l| l.depth());
            if let Some(outer) = levels.last_mut() {
                outer.within = outer.within.max(inner + 1);
                outer.prefix = 0;
            }
        }
        previous = Some(&tok.token);
    }
    Ok(())
}

fn too_deep(tok: &Tok) -> Diagnostic {
    Diagnostic::new(format!("this is nested too deeply: at most {MAX_NESTING} levels"), tok.span)
        .with_hint("name a part of it in a WITH clause or a view")
}

fn opens(token: &Token) -> bool {
    matches!(token, Token::LParen | Token::LBracket | Token::LBrace)
        || word(token).is_some_and(|w| w.eq_ignore_ascii_case("CASE"))
}

fn closes(token: &Token, level: Option<&Level>) -> bool {
    match token {
        Token::RParen | Token::RBracket | Token::RBrace => true,
        _ => level.is_some_and(|l| l.case) && word(token).is_some_and(|w| w.eq_ignore_ascii_case("END")),
    }
}

fn count(level: &mut Level, tok: &Tok, previous: Option<&Token>) {
    match &tok.token {
        Token::Comma | Token::SemiColon => level.fresh(),
        Token::Word(w) if w.quote_style.is_none() => {
            let upper = w.value.to_ascii_uppercase();
            match upper.as_str() {
                "NOT" | "INTERVAL" | "PRIOR" | "LATERAL" => level.prefix += 1,
                "UNION" | "INTERSECT" | "EXCEPT" | "MINUS" | "JOIN" => {
                    level.fresh();
                    level.sets += 1;
                }
                u if FRESH.contains(&u) => level.fresh(),
                u if OPERATORS.contains(&u) => {
                    level.prefix = 0;
                    level.chain += 1;
                }
                _ => level.prefix = 0,
            }
        }
        Token::Minus
        | Token::Plus
        | Token::Tilde
        | Token::ExclamationMark
        | Token::DoubleExclamationMark
        | Token::AtSign
        | Token::PGSquareRoot
        | Token::PGCubeRoot
            if super::words::operand_follows(previous) =>
        {
            level.prefix += 1;
        }
        Token::Word(_)
        | Token::Number(..)
        | Token::Period
        | Token::LParen
        | Token::RParen
        | Token::LBrace
        | Token::RBrace
        | Token::RBracket => {
            if !matches!(tok.token, Token::LParen | Token::LBrace) {
                level.prefix = 0;
            }
        }
        token if is_literal(token) => level.prefix = 0,
        // Every other token is an operator, or an error for the parser.
        _ => {
            level.prefix = 0;
            level.chain += 1;
        }
    }
}

fn is_literal(token: &Token) -> bool {
    matches!(
        token,
        Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::Placeholder(_)
    )
}
