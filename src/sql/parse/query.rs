//! Queries and expressions: our rewriting, then sqlparser, then the check that nothing is left.

use sqlparser::ast;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::lexer::Tok;
use super::{depth, failure, is, repartition, rewrite, windows, words};
use crate::sql::dialect::MillstreamDialect;
use crate::sql::{Diagnostic, Span};

/// Recursion of sqlparser that any caller's stack can bear: a step may take 100 KiB in a debug build.
const SHALLOW: usize = 10;
/// What [`depth`] lets through needs no more than this, on a stack of [`DEEP_STACK`].
const DEEP: usize = 256;
const DEEP_STACK: usize = 64 << 20;

/// `EMIT CHANGES | FINAL` at the end of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Each change as it happens.
    Changes,
    /// Final results only.
    Final,
}

/// The EMIT clause of a parsed query. It travels in the query's `settings`, which no other syntax of ours fills.
pub fn emit_of(query: &ast::Query) -> Option<Emit> {
    let setting = query.settings.as_ref()?.iter().find(|s| s.key.value == EMIT)?;
    match &setting.value {
        ast::Expr::Identifier(mode) if mode.value == "final" => Some(Emit::Final),
        _ => Some(Emit::Changes),
    }
}

/// The lower bound of `BETWEEN SYMMETRIC low AND high`; `None` for one of a plain BETWEEN.
pub(in crate::sql) fn symmetric_bound(low: &ast::Expr) -> Option<&ast::Expr> {
    let ast::Expr::Function(ast::Function { name, args: ast::FunctionArguments::List(list), .. }) = low
    else {
        return None;
    };
    match (name.0.as_slice(), list.args.as_slice()) {
        (
            [ast::ObjectNamePart::Identifier(ident)],
            [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(bound))],
        ) if ident.value == rewrite::SYMMETRIC => Some(bound),
        _ => None,
    }
}

const EMIT: &str = "emit";

/// Parses all of `toks` as a query.
pub(super) fn query(source: &str, toks: &[Tok]) -> Result<Box<ast::Query>, Diagnostic> {
    let (toks, emit) = split_emit(source, toks)?;
    let mut query = with_parser(source, &toks, |p| p.parse_query())?;
    if let ast::SetExpr::Insert(_)
    | ast::SetExpr::Update(_)
    | ast::SetExpr::Delete(_)
    | ast::SetExpr::Merge(_) = query.body.as_ref()
    {
        return Err(Diagnostic::new("WITH must be followed by SELECT", whole(&toks)));
    }
    if let Some((emit, place)) = emit {
        let mode = match emit {
            Emit::Changes => "changes",
            Emit::Final => "final",
        };
        let value = ast::Expr::Identifier(ast::Ident::with_span(place, mode));
        query.settings = Some(vec![ast::Setting { key: ast::Ident::with_span(place, EMIT), value }]);
    }
    Ok(query)
}

/// Parses all of `toks` as an expression.
pub(super) fn expression(source: &str, toks: &[Tok]) -> Result<ast::Expr, Diagnostic> {
    with_parser(source, toks, |p| p.parse_expr())
}

fn with_parser<T: Send>(
    source: &str,
    toks: &[Tok],
    read: impl Fn(&mut Parser<'_>) -> Result<T, ParserError> + Sync,
) -> Result<T, Diagnostic> {
    depth::check(toks)?;
    let toks = &repartition::lift(source, toks)?;
    let toks = &windows::lift(source, toks)?;
    let rewritten = rewrite::rewrite(source, toks)?;
    let run = |limit: usize| {
        let mut parser = Parser::new(&MillstreamDialect)
            .with_recursion_limit(limit)
            .with_tokens_with_locations(rewritten.clone());
        let parsed = read(&mut parser)?;
        Ok((parsed, parser.peek_token_ref().clone()))
    };
    let result = match run(SHALLOW) {
        Err(ParserError::RecursionLimitExceeded) => on_deep_stack(|| run(DEEP)),
        other => other,
    };
    match result.map_err(|e| failure::explain(source, toks, &e))? {
        (parsed, TokenWithSpan { token: Token::EOF, .. }) => Ok(parsed),
        (_, TokenWithSpan { span, .. }) => Err(failure::leftover(source, toks, span.start)),
    }
}

/// Runs `f` on a thread of its own, whose stack is deep enough for whatever may be asked of it.
fn on_deep_stack<T: Send>(f: impl FnOnce() -> Result<T, ParserError> + Send) -> Result<T, ParserError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("sql-parse".into()).stack_size(DEEP_STACK);
        let handle = thread.spawn_scoped(scope, f).map_err(|_| ParserError::RecursionLimitExceeded)?;
        handle.join().unwrap_or(Err(ParserError::RecursionLimitExceeded))
    })
}

fn whole(toks: &[Tok]) -> Span {
    match (toks.first(), toks.last()) {
        (Some(a), Some(b)) => Span { start: a.span.start, end: b.span.end },
        _ => Span::default(),
    }
}

type EmitAt = (Emit, sqlparser::tokenizer::Span);

/// Takes `EMIT CHANGES | FINAL` out of the end of a query; LIMIT and OFFSET may follow it.
fn split_emit(source: &str, toks: &[Tok]) -> Result<(Vec<Tok>, Option<EmitAt>), Diagnostic> {
    let Some(at) = emit_position(toks) else { return Ok((toks.to_vec(), None)) };
    let emit = match toks.get(at + 1).map(|t| &t.token) {
        Some(t) if is(t, "CHANGES") => Emit::Changes,
        Some(t) if is(t, "FINAL") => Emit::Final,
        _ => return Err(words::bad_emit(source, toks, at)),
    };
    if let Some(next) = toks.get(at + 2)
        && !["LIMIT", "OFFSET", "FETCH"].iter().any(|w| is(&next.token, w))
    {
        return Err(Diagnostic::new("EMIT belongs at the end of a query, only LIMIT may follow", next.span));
    }
    let place = toks.get(at).map_or_else(sqlparser::tokenizer::Span::empty, |t| t.place);
    let rest = toks.iter().enumerate().filter(|(i, _)| *i != at && *i != at + 1).map(|(_, t)| t.clone());
    Ok((rest.collect(), Some((emit, place))))
}

/// Where the EMIT of the outermost query stands.
fn emit_position(toks: &[Tok]) -> Option<usize> {
    let mut depth = 0usize;
    let mut previous: Option<&Token> = None;
    for (i, tok) in toks.iter().enumerate() {
        match &tok.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            t if depth == 0 && words::is_emit(t, previous) => return Some(i),
            _ => {}
        }
        previous = Some(&tok.token);
    }
    None
}
