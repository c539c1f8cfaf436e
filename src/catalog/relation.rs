//! Declared relations.

use super::Options;
use crate::record::{CompactString, DataType};

/// What a relation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// Append-only.
    Stream,
    /// Keyed; rows change.
    Table,
    /// A named query.
    View,
}

/// A declared column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnDef {
    /// Name.
    pub name: CompactString,
    /// Type.
    pub data_type: DataType,
    /// NOT NULL or part of the primary key.
    pub not_null: bool,
}

/// `WATERMARK FOR column AS expression`.
#[derive(Clone, Debug, PartialEq)]
pub struct WatermarkDef {
    /// The event time column.
    pub column: CompactString,
    /// The expression as SQL text.
    pub expression: String,
}

/// A stream or table as declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    /// Name.
    pub name: String,
    /// Stream or table.
    pub kind: RelationKind,
    /// Columns; empty = taken from the query (sink) or inferred (source).
    pub columns: Vec<ColumnDef>,
    /// PRIMARY KEY column names.
    pub primary_key: Vec<CompactString>,
    /// WATERMARK FOR.
    pub watermark: Option<WatermarkDef>,
    /// WITH (…).
    pub options: Options,
}
