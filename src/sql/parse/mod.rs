//! Text → statements: our own are read here over located tokens, queries and expressions by sqlparser.
//!
//! Nothing is guessed: a token that is not understood is an error with its place. One syntax error is reported per
//! statement, and reading goes on behind the next `;`.

mod create;
pub(in crate::sql) mod cursor;
mod depth;
mod failure;
pub(in crate::sql) mod lexer;
mod options;
mod query;
mod repartition;
mod rewrite;
mod row_windows;
pub(in crate::sql) mod windows;
mod words;

use sqlparser::ast;
use sqlparser::tokenizer::Token;

use super::{Diagnostic, Located, Span, Statement};
use cursor::{Cursor, word};
use lexer::{Piece, Tok};

pub(in crate::sql) use query::symmetric_bound;
pub use query::{Emit, emit_of};
pub(in crate::sql) use repartition::repartition_of;

const STATEMENTS: &[&str] =
    &["SELECT", "WITH", "CREATE", "INSERT", "EXPLAIN", "SHOW", "DESCRIBE", "DROP", "SET", "VALUES"];

/// The statements of `text`, each with its place, or what is wrong with it; empty ones are left out.
///
/// ```
/// use millstream::sql::{self, Statement};
/// let statements = sql::parse("SET batch_rows = 500; SELCT 1; select offset, interval FROM 'a.csv'");
/// assert!(matches!(statements[0].as_ref().unwrap().node, Statement::Set { .. }));
/// assert_eq!(statements[1].as_ref().unwrap_err().hint.as_deref(), Some("did you mean SELECT?"));
/// assert!(matches!(statements[2].as_ref().unwrap().node, Statement::Select(_)));
/// ```
pub fn parse(text: &str) -> Vec<Result<Located<Statement>, Diagnostic>> {
    lexer::lex(text).into_iter().map(|piece| one(text, piece)).collect()
}

/// A single expression, as in function examples and watermark declarations.
///
/// # Errors
/// If `text` is anything else.
pub fn parse_expr(text: &str) -> Result<ast::Expr, Diagnostic> {
    let mut pieces = lexer::lex(text).into_iter();
    match (pieces.next(), pieces.next()) {
        (Some(Piece { error: Some(error), .. }), _) => Err(error),
        (Some(piece), None) => query::expression(text, &piece.tokens),
        _ => Err(Diagnostic::new("expected one expression", Span { start: 0, end: text.len() })),
    }
}

/// The byte range of a place that sqlparser names by line and column; an empty place gives an empty range at 0.
pub fn span_of(source: &str, place: sqlparser::tokenizer::Span) -> Span {
    lexer::span_of(source, place)
}

/// The names that the CREATE statements of `text` declare, with the place of each statement: also of one that can't be parsed.
pub fn declared_names(text: &str) -> Vec<(String, Span)> {
    lexer::lex(text).iter().filter_map(|piece| declared_name(text, &piece.tokens)).collect()
}

fn declared_name(source: &str, toks: &[Tok]) -> Option<(String, Span)> {
    let place = Span { start: toks.first()?.span.start, end: toks.last()?.span.end };
    let mut cursor = Cursor::new(source, toks);
    if !cursor.accept_word("CREATE") {
        return None;
    }
    cursor.accept_words(&["OR", "REPLACE"]);
    if !kind(&mut cursor) {
        return None;
    }
    cursor.accept_words(&["IF", "NOT", "EXISTS"]);
    cursor.name("a name").ok().map(|(name, _)| (name, place))
}

fn one(source: &str, piece: Piece) -> Result<Located<Statement>, Diagnostic> {
    if let Some(error) = piece.error {
        return Err(error);
    }
    statement(source, &piece.tokens)
}

fn statement(source: &str, toks: &[Tok]) -> Result<Located<Statement>, Diagnostic> {
    let mut cursor = Cursor::new(source, toks);
    let start = cursor.span();
    let end = toks.last().map_or(start.end, |t| t.span.end);
    let first = cursor.word_at(0).map(str::to_ascii_uppercase);
    let node = match first.as_deref() {
        Some("SELECT" | "WITH" | "VALUES") => Statement::Select(query::query(source, toks)?),
        None if cursor.is(&Token::LParen) => Statement::Select(query::query(source, toks)?),
        Some("CREATE") => create::create(cursor)?,
        Some("INSERT") => insert(cursor)?,
        Some("EXPLAIN") => explain(cursor)?,
        Some("SHOW") => show(cursor)?,
        Some("DESCRIBE" | "DESC") => describe(cursor)?,
        Some("DROP") => drop_relation(cursor)?,
        Some("SET") => options::set(cursor)?,
        Some(other) => return Err(unknown(&mut cursor, other)),
        None => return Err(cursor.expected("a statement")),
    };
    Ok(Located { node, span: Span { start: start.start, end } })
}

fn unknown(cursor: &mut Cursor<'_>, first: &str) -> Diagnostic {
    let error = match first {
        "UPDATE" | "DELETE" | "MERGE" | "ALTER" | "TRUNCATE" | "BEGIN" | "COMMIT" | "ROLLBACK" | "GRANT"
        | "REVOKE" | "COPY" | "USE" | "RESET" | "CALL" | "DECLARE" | "PREPARE" | "EXECUTE" => {
            return cursor.error(format!("{first} is not supported"));
        }
        "FROM" => return cursor.error("a query begins with SELECT").with_hint("SELECT * FROM …"),
        _ => cursor.expected_one_of("a statement", STATEMENTS),
    };
    match error.hint {
        Some(_) => error,
        None => error.with_hint(format!("statements begin with {}", STATEMENTS.join(", "))),
    }
}

/// `INSERT INTO target [(columns)] query`.
fn insert(mut cursor: Cursor<'_>) -> Result<Statement, Diagnostic> {
    cursor.advance();
    if cursor.is_word("OVERWRITE") {
        return Err(cursor.error("INSERT OVERWRITE is not supported"));
    }
    cursor.expect_word("INTO")?;
    if cursor.is_word("TABLE") && matches!(cursor.peek_at(1), Some(Token::Word(_))) {
        cursor.advance();
    }
    let (target, _) = relation_name(&mut cursor, "the name of a stream or table")?;
    let mut columns: Vec<String> = Vec::new();
    let query_in_parens = matches!(
        cursor.word_at(1).map(str::to_ascii_uppercase).as_deref(),
        Some("SELECT" | "WITH" | "VALUES")
    ) || cursor.peek_at(1) == Some(&Token::LParen);
    if cursor.is(&Token::LParen) && !query_in_parens {
        cursor.advance();
        loop {
            let (name, at) = cursor.name("the name of a column")?;
            if columns.contains(&name) {
                return Err(Diagnostic::new(format!("the column '{name}' occurs twice"), at));
            }
            columns.push(name);
            if !cursor.accept(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen, "',' or ')'")?;
    }
    let begins = cursor.is(&Token::LParen)
        || matches!(
            cursor.word_at(0).map(str::to_ascii_uppercase).as_deref(),
            Some("SELECT" | "WITH" | "VALUES")
        );
    if !begins {
        return Err(cursor.expected_one_of("SELECT or VALUES", &["SELECT", "VALUES", "WITH"]));
    }
    let query = query::query(cursor.source, cursor.rest())?;
    Ok(Statement::Insert { target, columns, query })
}

/// `EXPLAIN [ANALYZE] statement`.
fn explain(mut cursor: Cursor<'_>) -> Result<Statement, Diagnostic> {
    cursor.advance();
    let analyze = cursor.accept_word("ANALYZE");
    if cursor.at_end() {
        return Err(cursor.expected("the statement to explain"));
    }
    if cursor.is_word("EXPLAIN") {
        return Err(cursor.error("EXPLAIN can't explain an EXPLAIN"));
    }
    let statement = statement(cursor.source, cursor.rest())?;
    Ok(Statement::Explain { analyze, statement: Box::new(statement) })
}

/// `SHOW what`.
fn show(mut cursor: Cursor<'_>) -> Result<Statement, Diagnostic> {
    const WHAT: &[&str] = &["STREAMS", "TABLES", "VIEWS", "JOBS", "FUNCTIONS", "CONNECTORS", "SETTINGS"];
    cursor.advance();
    let found = cursor.word_at(0).and_then(|w| WHAT.iter().find(|k| k.eq_ignore_ascii_case(w)));
    let Some(what) = found else {
        return Err(cursor.expected_one_of(&format!("one of {}", WHAT.join(", ")), WHAT));
    };
    cursor.advance();
    cursor.expect_end()?;
    Ok(Statement::Show((*what).to_owned()))
}

/// `DESCRIBE [STREAM | TABLE | VIEW] name` or `DESCRIBE 'file'`.
fn describe(mut cursor: Cursor<'_>) -> Result<Statement, Diagnostic> {
    cursor.advance();
    if let Some(Token::SingleQuotedString(path)) = cursor.peek() {
        let path = path.clone();
        cursor.advance();
        cursor.expect_end()?;
        return Ok(Statement::DescribeFile(path));
    }
    if matches!(cursor.peek_at(1), Some(Token::Word(_))) {
        kind(&mut cursor);
    }
    let (name, _) = relation_name(&mut cursor, "the name of a stream, table or view, or a file in quotes")?;
    cursor.expect_end()?;
    Ok(Statement::Describe(name))
}

/// `DROP STREAM | TABLE | VIEW [IF EXISTS] name`.
fn drop_relation(mut cursor: Cursor<'_>) -> Result<Statement, Diagnostic> {
    cursor.advance();
    if !kind(&mut cursor) {
        return Err(cursor.expected_one_of("STREAM, TABLE or VIEW", &["STREAM", "TABLE", "VIEW"]));
    }
    let if_exists = cursor.accept_words(&["IF", "EXISTS"]);
    let (name, _) = relation_name(&mut cursor, "the name of a stream, table or view")?;
    cursor.expect_end()?;
    Ok(Statement::Drop { name, if_exists })
}

fn kind(cursor: &mut Cursor<'_>) -> bool {
    ["STREAM", "TABLE", "VIEW"].iter().any(|k| cursor.accept_word(k))
}

/// The one-part name of a relation.
fn relation_name(cursor: &mut Cursor<'_>, what: &str) -> Result<(String, Span), Diagnostic> {
    let named = cursor.name(what)?;
    if cursor.is(&Token::Period) {
        return Err(cursor.error("a name has one part here").with_hint("there are no schemas or databases"));
    }
    Ok(named)
}

/// Whether a token is this unquoted word.
fn is(token: &Token, wanted: &str) -> bool {
    word(token).is_some_and(|w| w.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
pub(in crate::sql) mod tests;
