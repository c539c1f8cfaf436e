//! `REPARTITION BY a, b THROUGH 'topic' WITH (…)`, between WHERE and GROUP BY, in terms of a clause that sqlparser reads there:
//! `CONNECT BY a, b START WITH "repartition through"('topic', 'option', 'value', …)`. The tokens keep their places.

use sqlparser::ast;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, Word};

use super::cursor::{Cursor, shown};
use super::lexer::Tok;
use super::{is, options, words};
use crate::catalog::Options;
use crate::sql::{Diagnostic, Span};

/// The call that holds topic and options; no name of any syntax.
const THROUGH: &str = "repartition through";
const FORM: &str = "write … WHERE … REPARTITION BY column THROUGH 'topic' GROUP BY …";

/// The clause of a SELECT.
pub(in crate::sql) struct Repartition<'a> {
    /// Behind BY.
    pub(in crate::sql) keys: &'a [ast::Expr],
    /// Behind THROUGH.
    pub(in crate::sql) topic: &'a str,
    /// Behind WITH.
    pub(in crate::sql) options: Options,
}

/// The clause of a SELECT, if it has one.
pub(in crate::sql) fn repartition_of(select: &ast::Select) -> Option<Repartition<'_>> {
    use ast::ConnectByKind as C;
    let [C::ConnectBy { relationships, .. }, C::StartWith { condition, .. }] = select.connect_by.as_slice()
    else {
        return None;
    };
    let ast::Expr::Function(ast::Function { name, args: ast::FunctionArguments::List(list), .. }) =
        &**condition
    else {
        return None;
    };
    let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_slice() else { return None };
    let texts: Vec<&str> = list.args.iter().filter_map(text).collect();
    let (topic, rest) = texts.split_first().filter(|_| ident.value == THROUGH)?;
    let options = Options::new(rest.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?))));
    Some(Repartition { keys: relationships, topic, options })
}

fn text(arg: &ast::FunctionArg) -> Option<&str> {
    match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Value(v))) => match &v.value {
            ast::Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// Rewrites all of them.
pub(super) fn lift(source: &str, toks: &[Tok]) -> Result<Vec<Tok>, Diagnostic> {
    let mut out = Vec::with_capacity(toks.len());
    let mut at = 0;
    while let Some(tok) = toks.get(at) {
        if is_clause(toks, at) {
            at = clause(source, toks, at, &mut out)?;
        } else {
            out.push(tok.clone());
            at += 1;
        }
    }
    Ok(out)
}

fn is_word(toks: &[Tok], at: usize, wanted: &str) -> bool {
    toks.get(at).is_some_and(|t| is(&t.token, wanted))
}

/// `REPARTITION BY`, not where a name stands.
fn is_clause(toks: &[Tok], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|i| toks.get(i)).map(|t| &t.token);
    is_word(toks, at, "REPARTITION") && is_word(toks, at + 1, "BY") && !words::operand_follows(before)
}

fn like(at: &Tok, token: Token) -> Tok {
    Tok { token, ..at.clone() }
}

fn keyword(text: &str, keyword: Keyword) -> Token {
    Token::Word(Word { value: text.into(), quote_style: None, keyword })
}

/// Rewrites the clause at `at` and returns the position behind it.
fn clause(source: &str, toks: &[Tok], at: usize, out: &mut Vec<Tok>) -> Result<usize, Diagnostic> {
    let (Some(word), Some(by)) = (toks.get(at), toks.get(at + 1)) else { return Ok(at + 1) };
    let span = Span { start: word.span.start, end: by.span.end };
    let through = keys_end(toks, at + 2);
    if !is_word(toks, through, "THROUGH") {
        let error = Diagnostic::new("REPARTITION BY needs the topic that the rows go through", span);
        return Err(error.with_hint(FORM));
    }
    if through == at + 2 {
        return Err(Diagnostic::new("REPARTITION BY takes columns", span).with_hint(FORM));
    }
    let topic = match toks.get(through + 1) {
        Some(tok @ Tok { token: Token::SingleQuotedString(topic), .. }) if !topic.trim().is_empty() => tok,
        other => {
            let found = other.map_or_else(|| "the end".to_owned(), |t| shown(source, t.span));
            let span = other.or(toks.get(through)).map_or(span, |t| t.span);
            return Err(Diagnostic::new(format!("expected the name of a topic in ' ', found {found}"), span));
        }
    };
    let mut end = through + 2;
    let mut given = Options::default();
    if is_word(toks, end, "WITH") && toks.get(end + 1).is_some_and(|t| t.token == Token::LParen) {
        let rest = toks.get(end + 1..).unwrap_or_default();
        let mut cursor = Cursor::new(source, rest);
        given = options::with_options(&mut cursor)?;
        end += 1 + cursor.position();
    }
    if let Some(tok) = toks.get(end).filter(|t| is(&t.token, "WHERE")) {
        let error = Diagnostic::new("WHERE stands before REPARTITION BY", tok.span);
        return Err(error.with_hint(FORM));
    }
    out.push(like(word, keyword("CONNECT", Keyword::CONNECT)));
    out.extend(toks.get(at + 1..through).unwrap_or_default().iter().cloned());
    let mut put = |token| out.push(like(topic, token));
    put(keyword("START", Keyword::START));
    put(keyword("WITH", Keyword::WITH));
    put(Token::Word(Word { value: THROUGH.into(), quote_style: Some('"'), keyword: Keyword::NoKeyword }));
    put(Token::LParen);
    put(topic.token.clone());
    for (name, value) in given.iter() {
        for text in [name, value] {
            put(Token::Comma);
            put(Token::SingleQuotedString(text.to_owned()));
        }
    }
    put(Token::RParen);
    Ok(end)
}

/// Where the columns behind BY end: at THROUGH, at the next clause, at the bracket around the SELECT.
fn keys_end(toks: &[Tok], from: usize) -> usize {
    let mut depth = 0usize;
    for (i, tok) in toks.iter().enumerate().skip(from) {
        match &tok.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => return i,
            },
            t if depth == 0 && ["THROUGH", "WHERE", "GROUP", "WITH"].iter().any(|w| is(t, w)) => return i,
            _ => {}
        }
    }
    toks.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Statement, parse};

    /// Columns, topic, options.
    type Clause = (Vec<String>, String, Vec<(String, String)>);

    fn clauses(text: &str) -> Vec<Clause> {
        let Ok(statement) = parse(text).remove(0) else { panic!("{text}: it is not read") };
        let Statement::Select(query) = statement.node else { panic!("no SELECT") };
        let mut found = Vec::new();
        let mut bodies = vec![*query.body];
        while let Some(body) = bodies.pop() {
            match body {
                ast::SetExpr::Select(select) => {
                    if let Some(Repartition { keys, topic, options }) = repartition_of(&select) {
                        let options = options.iter().map(|(n, v)| (n.to_owned(), v.to_owned()));
                        found.push((
                            keys.iter().map(ToString::to_string).collect(),
                            topic.to_owned(),
                            options.collect(),
                        ));
                    }
                    for table in select.from {
                        if let ast::TableFactor::Derived { subquery, .. } = table.relation {
                            bodies.push(*subquery.body);
                        }
                    }
                }
                ast::SetExpr::SetOperation { left, right, .. } => bodies.extend([*right, *left]),
                _ => {}
            }
        }
        found
    }

    #[test]
    fn it_stands_between_where_and_group_by() {
        let key = |keys: &[&str], topic: &str, options: &[(&str, &str)]| {
            let options = options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            (keys.iter().map(|k| (*k).to_owned()).collect(), topic.to_owned(), options)
        };
        for (text, wanted) in [
            ("SELECT a FROM t REPARTITION BY a THROUGH 'x'", vec![key(&["a"], "x", &[])]),
            (
                "select a from t where (b = 1) repartition by a, f(b, c) through 'it''s' with (partitions = 12, \
                 'kafka.client.id' = 'me') group by a having count(*) > 1 limit 3",
                vec![key(&["a", "f(b, c)"], "it's", &[("partitions", "12"), ("kafka.client.id", "me")])],
            ),
            (
                "SELECT a FROM (SELECT a FROM t REPARTITION BY a THROUGH 'x') WINDOW TUMBLING (SIZE 1 HOUR) EMIT FINAL",
                vec![key(&["a"], "x", &[])],
            ),
            (
                "SELECT a FROM t REPARTITION BY a THROUGH 'x' UNION ALL SELECT a FROM t REPARTITION BY b THROUGH 'y'",
                vec![key(&["a"], "x", &[]), key(&["b"], "y", &[])],
            ),
            // Names.
            (
                "SELECT repartition, through FROM repartition AS repartition WHERE repartition = 1 GROUP BY repartition",
                vec![],
            ),
            ("SELECT a FROM t CONNECT BY a", vec![]),
        ] {
            assert_eq!(clauses(text), wanted, "{text}");
        }
    }

    #[test]
    fn errors_have_their_place() {
        for (text, at, message) in [
            ("SELECT a FROM t REPARTITION BY a GROUP BY a", "REPARTITION BY", "needs the topic"),
            ("SELECT a FROM (SELECT a FROM t REPARTITION BY a) THROUGH", "REPARTITION BY", "needs the topic"),
            ("SELECT a FROM t REPARTITION BY a THROUGH 'x' WITH (partitions 3)", "3", "expected '='"),
            ("SELECT a FROM t REPARTITION BY a THROUGH 'x' WHERE a = 1", "WHERE", "stands before"),
            ("SELECT a FROM t REPARTITION BY a THROUGH ''", "''", "expected the name of a topic"),
            (
                "SELECT a FROM t REPARTITION BY a THROUGH",
                "THROUGH",
                "expected the name of a topic in ' ', found the end",
            ),
        ] {
            let error = parse(text).remove(0).unwrap_err();
            assert!(error.message.contains(message), "{text}: {}", error.message);
            assert_eq!(text.get(error.span.start..error.span.end), Some(at), "{text}");
        }
    }
}
