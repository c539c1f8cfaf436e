//! Bounds how deep a parsed tree can be, so that neither parser nor binder can run out of stack.
//!
//! Two things make a tree deep: brackets within brackets, and chains such as `1 + 1 + 1`, which the parser reads in a
//! loop but which are as deep as they are long. Both are bounded over the tokens, before anything recurses.

use sqlparser::tokenizer::Token;

use super::cursor::word;
use super::lexer::Tok;
use crate::sql::Diagnostic;

/// Brackets, CASE and prefix operators within each other.
const MAX_NESTING: usize = 64;
/// Operators above each other: what the binder, too, can walk on a stack of 2 MiB in a debug build.
pub(super) const MAX_CHAIN: usize = 200;

/// Binary and postfix operators that are words.
const OPERATORS: &[&str] = &[
    "IS", "IN", "LIKE", "ILIKE", "SIMILAR", "BETWEEN", "COLLATE", "AT", "RLIKE", "REGEXP", "XOR", "DIV",
    "OVERLAPS",
];
/// Prefix operators that are words.
const PREFIX: &[&str] = &["NOT", "INTERVAL", "PRIOR", "LATERAL"];
/// Words behind which a new expression begins.
const FRESH: &[&str] =
    &["SELECT", "FROM", "WHERE", "HAVING", "GROUP", "ORDER", "LIMIT", "ON", "WHEN", "THEN", "ELSE"];

/// One bracket's worth of tokens. A chain of ORs holds chains of ANDs, which hold chains of everything else.
#[derive(Default)]
struct Level {
    /// Other operators since the last AND or OR.
    tight: usize,
    /// The deepest bracket since then.
    within: usize,
    ands: usize,
    /// The deepest operand of the ANDs.
    and_operand: usize,
    ors: usize,
    /// The deepest operand of the ORs.
    or_operand: usize,
    /// Set operations and joins: a comma or a clause does not end them.
    sets: usize,
    /// The deepest expression that a comma or a clause has ended.
    deepest: usize,
    /// Prefix operators in a row.
    prefix: usize,
    /// Opened by CASE and closed by END.
    case: bool,
}

impl Level {
    fn and_depth(&self) -> usize {
        self.ands + self.and_operand.max(self.tight + self.within)
    }
    fn or_depth(&self) -> usize {
        self.ors + self.or_operand.max(self.and_depth())
    }
    fn depth(&self) -> usize {
        self.sets + self.deepest.max(self.or_depth())
    }
    fn and(&mut self) {
        self.and_operand = self.and_operand.max(self.tight + self.within);
        self.ands += 1;
        (self.tight, self.within) = (0, 0);
    }
    fn or(&mut self) {
        self.or_operand = self.or_operand.max(self.and_depth());
        self.ors += 1;
        (self.tight, self.within, self.ands, self.and_operand) = (0, 0, 0, 0);
    }
    fn fresh(&mut self) {
        let deepest = self.deepest.max(self.or_depth());
        *self = Self { deepest, sets: self.sets, case: self.case, ..Self::default() };
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
        } else if closes(&tok.token, levels.last(), previous) && levels.len() > 1 {
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

fn closes(token: &Token, level: Option<&Level>, previous: Option<&Token>) -> bool {
    match token {
        Token::RParen | Token::RBracket | Token::RBrace => true,
        // Where an operand must stand, END is a name.
        _ => {
            level.is_some_and(|l| l.case)
                && word(token).is_some_and(|w| w.eq_ignore_ascii_case("END"))
                && !super::words::operand_follows(previous)
        }
    }
}

fn count(level: &mut Level, tok: &Tok, previous: Option<&Token>) {
    match &tok.token {
        Token::Comma | Token::SemiColon => level.fresh(),
        Token::Word(w) if w.quote_style.is_none() => {
            let upper = w.value.to_ascii_uppercase();
            if !PREFIX.contains(&upper.as_str()) {
                level.prefix = 0;
            }
            match upper.as_str() {
                u if PREFIX.contains(&u) => level.prefix += 1,
                "UNION" | "INTERSECT" | "EXCEPT" | "MINUS" | "JOIN" => {
                    level.fresh();
                    level.sets += 1;
                }
                u if FRESH.contains(&u) => level.fresh(),
                "AND" => level.and(),
                "OR" => level.or(),
                u if OPERATORS.contains(&u) => level.tight += 1,
                _ => {}
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
            level.tight += 1;
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
