//! Parsed statements, before names are resolved.

use sqlparser::ast;

use super::Span;
use crate::catalog::Relation;

/// Something with its place in the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Located<T> {
    /// The thing.
    pub node: T,
    /// Where it stands.
    pub span: Span,
}

/// `CREATE STREAM | TABLE`.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateRelation {
    /// The declaration.
    pub relation: Relation,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// AS SELECT ….
    pub query: Option<Box<ast::Query>>,
}

/// One statement. Spans inside queries are sqlparser's own (line and column of the original text).
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// CREATE STREAM / TABLE.
    Create(CreateRelation),
    /// CREATE VIEW.
    CreateView {
        /// Name.
        name: String,
        /// OR REPLACE.
        or_replace: bool,
        /// The query.
        query: Box<ast::Query>,
    },
    /// INSERT INTO … SELECT.
    Insert {
        /// Target.
        target: String,
        /// Column list, if given.
        columns: Vec<String>,
        /// The query.
        query: Box<ast::Query>,
    },
    /// A bare query.
    Select(Box<ast::Query>),
    /// EXPLAIN.
    Explain {
        /// ANALYZE: runs it.
        analyze: bool,
        /// What to explain.
        statement: Box<Located<Statement>>,
    },
    /// SHOW STREAMS | TABLES | VIEWS | JOBS | FUNCTIONS | CONNECTORS | SETTINGS (upper case).
    Show(String),
    /// DESCRIBE x.
    Describe(String),
    /// DESCRIBE 'a file'.
    DescribeFile(String),
    /// DROP STREAM | TABLE | VIEW x.
    Drop {
        /// Name.
        name: String,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// SET key = value.
    Set {
        /// Setting.
        name: String,
        /// Value as text.
        value: String,
    },
}
