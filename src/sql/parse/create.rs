//! CREATE STREAM, CREATE TABLE, CREATE VIEW.

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::{options, query, relation_name};
use crate::catalog::{ColumnDef, Options, Relation, RelationKind, WatermarkDef, nearest};
use crate::record::CompactString;
use crate::sql::{CreateRelation, Diagnostic, Span, Statement, types};

/// What stands between the parentheses behind the name.
#[derive(Default)]
struct Shape {
    columns: Vec<ColumnDef>,
    primary_key: Vec<(CompactString, Span)>,
    watermark: Option<(WatermarkDef, Span)>,
}

/// `CREATE …`.
pub(super) fn create(mut cursor: Cursor<'_>) -> Result<Statement, Diagnostic> {
    cursor.advance();
    let or_replace = cursor.accept_words(&["OR", "REPLACE"]);
    if cursor.accept_word("VIEW") {
        return view(cursor, or_replace);
    }
    let kind = match cursor.word_at(0).map(str::to_ascii_uppercase).as_deref() {
        Some("STREAM") => RelationKind::Stream,
        Some("TABLE") => RelationKind::Table,
        Some(
            what @ ("TEMPORARY" | "TEMP" | "EXTERNAL" | "SOURCE" | "SINK" | "CONNECTION" | "FUNCTION"
            | "INDEX" | "SCHEMA" | "DATABASE" | "MATERIALIZED" | "CATALOG" | "TYPE"),
        ) => {
            return Err(cursor
                .error(format!("CREATE {what} is not supported"))
                .with_hint("use CREATE STREAM, CREATE TABLE or CREATE VIEW"));
        }
        _ => {
            return Err(cursor.expected_one_of("STREAM, TABLE or VIEW", &["STREAM", "TABLE", "VIEW"]));
        }
    };
    if or_replace {
        return Err(cursor.error("OR REPLACE is supported for views only").with_hint("DROP it first"));
    }
    cursor.advance();
    relation(cursor, kind)
}

/// `CREATE [OR REPLACE] VIEW name AS query`.
fn view(mut cursor: Cursor<'_>, or_replace: bool) -> Result<Statement, Diagnostic> {
    if cursor.is_word("IF") && cursor.is_word_at(1, "NOT") {
        return Err(cursor
            .error("IF NOT EXISTS is not supported for views")
            .with_hint("use CREATE OR REPLACE VIEW"));
    }
    let (name, _) = relation_name(&mut cursor, "the name of the view")?;
    if cursor.is(&Token::LParen) {
        return Err(cursor
            .error("a column list of a view is not supported")
            .with_hint("name the columns in its query with AS"));
    }
    cursor.expect_word("AS")?;
    let query = query::query(cursor.source, cursor.rest())?;
    Ok(Statement::CreateView { name, or_replace, query })
}

/// `[IF NOT EXISTS] name [(columns)] [WITH (options)] [AS query]`.
fn relation(mut cursor: Cursor<'_>, kind: RelationKind) -> Result<Statement, Diagnostic> {
    let if_not_exists = cursor.accept_words(&["IF", "NOT", "EXISTS"]);
    let (name, named_at) = relation_name(&mut cursor, "a name")?;
    let shape = if cursor.is(&Token::LParen) { shape(&mut cursor)? } else { Shape::default() };
    if let Some(clause @ ("COMMENT" | "PARTITIONED" | "DISTRIBUTED" | "LIKE" | "PARTITION")) =
        cursor.word_at(0).map(str::to_ascii_uppercase).as_deref()
    {
        return Err(cursor.error(format!("{clause} is not supported in CREATE")));
    }
    let with = cursor.accept_word("WITH");
    let options = if with { options::with_options(&mut cursor)? } else { Options::default() };
    let query = if cursor.accept_word("AS") {
        Some(query::query(cursor.source, cursor.rest())?)
    } else if cursor.at_end() {
        None
    } else {
        let words: &[&str] = if with { &["AS"] } else { &["WITH", "AS"] };
        let what = if with { "AS or the end of the statement" } else { "'(', WITH or AS" };
        return Err(cursor.expected_one_of(what, words));
    };
    if shape.columns.is_empty() && query.is_none() && !with {
        return Err(Diagnostic::new(
            format!("'{name}' has neither columns nor WITH (…) nor AS SELECT …"),
            named_at,
        ));
    }
    // Flink and Arroyo users write CREATE TABLE … WITH for what is a stream.
    let kind = match kind {
        RelationKind::Table if with && shape.primary_key.is_empty() => RelationKind::Stream,
        kind => kind,
    };
    let mut relation =
        Relation { name, kind, columns: shape.columns, primary_key: Vec::new(), watermark: None, options };
    let query_names_columns = query.is_some() || relation.columns.is_empty();
    for (column, at) in shape.primary_key {
        if relation.primary_key.contains(&column) {
            return Err(Diagnostic::new(format!("'{column}' is twice in the primary key"), at));
        }
        known(&mut relation.columns, &column, at, query_names_columns)?
            .iter_mut()
            .for_each(|c| c.not_null = true);
        relation.primary_key.push(column);
    }
    if let Some((watermark, at)) = shape.watermark {
        known(&mut relation.columns, &watermark.column, at, query_names_columns)?;
        relation.watermark = Some(watermark);
    }
    Ok(Statement::Create(CreateRelation { relation, if_not_exists, query }))
}

/// The declared column of that name: exact, else without case. Undeclared is fine if the columns come from elsewhere.
fn known<'a>(
    columns: &'a mut [ColumnDef],
    name: &str,
    at: Span,
    from_elsewhere: bool,
) -> Result<Option<&'a mut ColumnDef>, Diagnostic> {
    if columns.is_empty() && from_elsewhere {
        return Ok(None);
    }
    let index = columns
        .iter()
        .position(|c| c.name == name)
        .or_else(|| columns.iter().position(|c| c.name.eq_ignore_ascii_case(name)));
    if index.is_none() {
        let error = Diagnostic::new(format!("there is no column '{name}'"), at);
        return Err(match nearest(name, columns.iter().map(|c| c.name.as_str())).first() {
            Some(near) => error.with_hint(format!("did you mean {near}?")),
            None => error,
        });
    }
    Ok(index.and_then(|i| columns.get_mut(i)))
}

/// `(column type …, PRIMARY KEY (…), WATERMARK FOR …)`.
fn shape(cursor: &mut Cursor<'_>) -> Result<Shape, Diagnostic> {
    let mut shape = Shape::default();
    cursor.advance();
    loop {
        element(cursor, &mut shape)?;
        if !cursor.accept(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen, "',' or ')'")?;
    Ok(shape)
}

fn element(cursor: &mut Cursor<'_>, shape: &mut Shape) -> Result<(), Diagnostic> {
    if cursor.is_word("WATERMARK") && cursor.is_word_at(1, "FOR") {
        return watermark(cursor, shape);
    }
    let key_ahead = |c: &Cursor<'_>, n: usize| {
        c.is_word_at(n, "PRIMARY") && c.is_word_at(n + 1, "KEY") && c.peek_at(n + 2) == Some(&Token::LParen)
    };
    if cursor.is_word("CONSTRAINT") && key_ahead(cursor, 2) {
        cursor.advance();
        cursor.advance();
    }
    if key_ahead(cursor, 0) {
        return primary_key(cursor, shape);
    }
    if let Some(what @ ("UNIQUE" | "FOREIGN" | "CHECK" | "CONSTRAINT" | "PERIOD")) =
        cursor.word_at(0).map(str::to_ascii_uppercase).as_deref()
        && !matches!(cursor.peek_at(1), Some(Token::Word(w)) if what != "FOREIGN" && what != "CONSTRAINT" && w.quote_style.is_none())
    {
        return Err(cursor.error(format!("{what} constraints are not supported")));
    }
    column(cursor, shape)
}

/// `name type [NOT NULL | NULL | PRIMARY KEY]…`.
fn column(cursor: &mut Cursor<'_>, shape: &mut Shape) -> Result<(), Diagnostic> {
    let (name, at) = cursor.name("the name of a column")?;
    let name = CompactString::from(name);
    if shape.columns.iter().any(|c| c.name == name) {
        return Err(Diagnostic::new(format!("the column '{name}' occurs twice"), at));
    }
    if cursor.is_word("AS") {
        return Err(cursor
            .error("a computed column is not supported yet")
            .with_hint("compute it in a view or in the query"));
    }
    let data_type = types::read(cursor)?;
    let mut column = ColumnDef { name: name.clone(), data_type, not_null: false };
    loop {
        if cursor.accept_words(&["NOT", "NULL"]) {
            column.not_null = true;
        } else if cursor.accept_words(&["PRIMARY", "KEY"]) {
            accept_not_enforced(cursor);
            if !shape.primary_key.is_empty() {
                return Err(Diagnostic::new("there are two primary keys", cursor.last_span())
                    .with_hint("a key of several columns is written PRIMARY KEY (a, b)"));
            }
            shape.primary_key.push((name.clone(), at));
        } else if !cursor.accept_word("NULL") {
            break;
        }
    }
    if let Some(what) = cursor.word_at(0) {
        let what = what.to_ascii_uppercase();
        let error = match what.as_str() {
            "METADATA" => cursor.error("METADATA columns are not supported").with_hint(
                "_timestamp, _offset, _partition, _topic, _key and _headers['x'] can be used anywhere",
            ),
            "DEFAULT" | "GENERATED" | "UNIQUE" | "REFERENCES" | "CHECK" | "COMMENT" | "COLLATE" | "KEY" => {
                cursor.error(format!("{what} is not supported for a column"))
            }
            _ => cursor.expected_one_of("',' or ')' behind the column", &["NOT NULL", "PRIMARY KEY"]),
        };
        return Err(error);
    }
    shape.columns.push(column);
    Ok(())
}

/// `PRIMARY KEY (a, b) [NOT ENFORCED]`.
fn primary_key(cursor: &mut Cursor<'_>, shape: &mut Shape) -> Result<(), Diagnostic> {
    if !shape.primary_key.is_empty() {
        return Err(cursor.error("there are two primary keys"));
    }
    cursor.advance();
    cursor.advance();
    cursor.advance();
    loop {
        let (name, at) = cursor.name("the name of a column")?;
        shape.primary_key.push((name.into(), at));
        if !cursor.accept(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen, "',' or ')'")?;
    accept_not_enforced(cursor);
    Ok(())
}

/// Flink demands the words; nothing follows from them.
fn accept_not_enforced(cursor: &mut Cursor<'_>) {
    cursor.accept_words(&["NOT", "ENFORCED"]);
}

/// `WATERMARK FOR column AS expression`; the expression is checked here and kept as text.
fn watermark(cursor: &mut Cursor<'_>, shape: &mut Shape) -> Result<(), Diagnostic> {
    if shape.watermark.is_some() {
        return Err(cursor.error("there are two watermarks"));
    }
    cursor.advance();
    cursor.advance();
    let (column, at) = cursor.name("the event time column")?;
    cursor.expect_word("AS")?;
    let from = cursor.position();
    let mut depth = 0usize;
    while let Some(token) = cursor.peek() {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace if depth == 0 => break,
            Token::RParen | Token::RBracket | Token::RBrace => depth -= 1,
            Token::Comma if depth == 0 => break,
            _ => {}
        }
        cursor.advance();
    }
    let toks = cursor.since(from);
    let (Some(first), Some(last)) = (toks.first(), toks.last()) else {
        return Err(cursor.expected("an expression"));
    };
    query::expression(cursor.source, toks).map_err(|mut e| {
        e.message = e.message.replace("the end of the statement", "the end of the expression");
        e
    })?;
    let text = cursor.source.get(first.span.start..last.span.end).unwrap_or("");
    shape.watermark = Some((WatermarkDef { column: column.into(), expression: text.to_owned() }, at));
    Ok(())
}
