//! What the binder asks of the catalog: relations by name, files by path.

use std::sync::Arc;

use sqlparser::ast;

use super::Diagnostic;
use crate::catalog::{Options, WatermarkDef};
use crate::plan::{LatePolicy, LogicalPlan};
use crate::record::Schema;

/// The event time of a stream. Durations are µs.
#[derive(Clone, Debug, PartialEq)]
pub struct EventTime {
    /// WATERMARK FOR … AS ….
    pub watermark: WatermarkDef,
    /// `allowed_lateness`.
    pub lateness: i64,
    /// `late`.
    pub late: LatePolicy,
    /// `max_future_skew`.
    pub max_future_skew: Option<i64>,
    /// `idle_timeout`.
    pub idle_timeout: Option<i64>,
}

/// A relation that a query may read.
#[derive(Clone, Debug)]
pub enum ResolvedRelation {
    /// Something that is read: a declared stream or table, or a file named in FROM.
    Source {
        /// The unique name under which plans refer to it.
        name: String,
        /// All its columns.
        schema: Arc<Schema>,
        /// Whether its reader can leave out and reorder columns.
        projects: bool,
        /// Whether it ends by itself.
        bounded: bool,
        /// WATERMARK FOR, and what the stream's options say of late rows.
        time: Option<EventTime>,
    },
    /// A named query.
    View {
        /// The query.
        query: Arc<ast::Query>,
        /// The text that the query's spans refer to.
        text: Arc<str>,
    },
}

/// A query that is split: what its first part does and where the rows go.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// FROM and WHERE.
    pub plan: LogicalPlan,
    /// The columns by which its rows are partitioned.
    pub keys: Vec<String>,
    /// The topic that they go through.
    pub topic: String,
    /// What the query says of the topic.
    pub options: Options,
}

/// Why a relation could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// There is none of that name.
    NotFound {
        /// The names that there are, for "did you mean".
        known: Vec<String>,
    },
    /// It is there but can't be read: missing file, wrong option, sink only.
    Failed {
        /// One sentence without a final stop.
        message: String,
        /// What helps.
        hint: Option<String>,
        /// The option that is wrong, if it is one.
        option: Option<String>,
    },
}

/// The catalog as the binder sees it. Called on the thread that binds, once per mention in a statement.
pub trait Resolver {
    /// The relation called `name`: exact match first, then without case unless `quoted`.
    ///
    /// # Errors
    /// If there is none, or it can't be read.
    fn relation(&self, name: &str, quoted: bool) -> Result<ResolvedRelation, ResolveError>;

    /// A file read by name: `FROM 'flights.csv'` (`function` is `None`), or through `read_csv('flights.csv', …)`
    /// with the other arguments as options. The same path with the same options gives the same relation name.
    ///
    /// # Errors
    /// If there is no such function, or the file can't be read.
    fn file(
        &self,
        path: &str,
        function: Option<&str>,
        options: Options,
    ) -> Result<ResolvedRelation, ResolveError>;

    /// What reads the rows of the first part of a split query: a source with all columns of its plan.
    ///
    /// # Errors
    /// If they can't go through that topic.
    fn split(&self, split: Split) -> Result<ResolvedRelation, ResolveError> {
        Err(ResolveError::Failed {
            message: format!("nothing can be repartitioned through '{}' here", split.topic),
            hint: None,
            option: None,
        })
    }
}

/// The target of an INSERT.
#[derive(Clone, Debug)]
pub struct InsertTarget<'a> {
    /// Name, for messages.
    pub name: &'a str,
    /// Its columns; `None` = it takes them from the query.
    pub schema: Option<&'a Arc<Schema>>,
    /// The column list of the statement; empty = all, in order.
    pub columns: &'a [String],
    /// Where the statement stands, for errors that belong to no item.
    pub span: super::Span,
}

/// Everything that is wrong with a statement.
pub type BindErrors = Vec<Diagnostic>;
