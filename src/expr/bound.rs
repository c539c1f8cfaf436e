//! The bound expression tree: every node typed, every column a position.

use std::sync::Arc;

use super::FunctionSpec;
use crate::record::{CompactString, DataType, FieldValue};

/// Columns that every record has besides its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SystemColumn {
    /// `_timestamp` TIMESTAMP
    Timestamp,
    /// `_event_time` TIMESTAMP
    EventTime,
    /// `_offset` BIGINT
    Offset,
    /// `_partition` INT
    Partition,
    /// `_topic` VARCHAR
    Topic,
    /// `_key` VARCHAR
    Key,
    /// `_headers` MAP<VARCHAR, VARCHAR>
    Headers,
}

/// Operators with two operands. AND and OR are [`Expr::And`], [`Expr::Or`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Eq,
    NotEq,
    Less,
    LessEq,
    Greater,
    GreaterEq,
    IsDistinctFrom,
    IsNotDistinctFrom,
    Concat,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
}

/// Operators with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum UnaryOp {
    Not,
    Negate,
    BitNot,
    IsNull,
    IsNotNull,
    IsTrue,
    IsNotTrue,
    IsFalse,
    IsNotFalse,
    IsUnknown,
    IsNotUnknown,
}

/// What a failed cast does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CastMode {
    /// CAST, `::` and implicit casts: a record error.
    Strict,
    /// TRY_CAST: NULL.
    Try,
}

/// Kinds of pattern match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum LikeKind {
    Like,
    ILike,
    SimilarTo,
    /// `~`
    Regex,
    /// `~*`
    RegexI,
}

/// A bound, typed expression. Built by [`typing`](super::typing) only, which inserts the implicit casts.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A column of the input, by position.
    Column {
        /// Position in the input's schema.
        index: usize,
        /// Its name, for EXPLAIN and errors.
        name: CompactString,
        /// Its type.
        data_type: DataType,
    },
    /// A system column.
    System(SystemColumn),
    /// A constant.
    Literal {
        /// The value.
        value: FieldValue,
        /// Its type (a NULL may have any).
        data_type: DataType,
    },
    /// A unary operator.
    Unary {
        /// Operator.
        op: UnaryOp,
        /// Operand.
        expr: Box<Expr>,
        /// Result type.
        data_type: DataType,
    },
    /// A binary operator; operands already have the types that the operator wants.
    Binary {
        /// Operator.
        op: BinaryOp,
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
        /// Result type.
        data_type: DataType,
    },
    /// Conjunction, left to right, stops at the first FALSE.
    And(Vec<Expr>),
    /// Disjunction, left to right, stops at the first TRUE.
    Or(Vec<Expr>),
    /// Searched CASE; a simple CASE is bound as comparisons.
    Case {
        /// Conditions and results.
        branches: Vec<(Expr, Expr)>,
        /// ELSE; NULL if absent.
        otherwise: Option<Box<Expr>>,
        /// Result type.
        data_type: DataType,
    },
    /// A cast, explicit or implicit.
    Cast {
        /// Operand.
        expr: Box<Expr>,
        /// Target type.
        to: DataType,
        /// What a failure does.
        mode: CastMode,
    },
    /// `x IN (…)`.
    InList {
        /// The value looked for.
        expr: Box<Expr>,
        /// The list, cast to one type.
        list: Vec<Expr>,
        /// NOT IN.
        negated: bool,
    },
    /// LIKE and relatives.
    Like {
        /// Which.
        kind: LikeKind,
        /// The text.
        expr: Box<Expr>,
        /// The pattern.
        pattern: Box<Expr>,
        /// ESCAPE character; a backslash if absent, none if it is `'\0'`.
        escape: Option<char>,
        /// NOT LIKE.
        negated: bool,
    },
    /// A call of a scalar function.
    Call {
        /// The function.
        function: Arc<FunctionSpec>,
        /// Arguments, cast to what the function wants.
        args: Vec<Expr>,
        /// Result type.
        data_type: DataType,
    },
    /// `struct.field`, by position within the struct.
    Field {
        /// A STRUCT.
        expr: Box<Expr>,
        /// Position of the field.
        index: usize,
        /// Name of the field.
        name: CompactString,
        /// Its type.
        data_type: DataType,
    },
    /// `array[i]` (from 1, NULL outside) or `map[key]` (NULL if absent).
    Index {
        /// An ARRAY or MAP.
        expr: Box<Expr>,
        /// Index or key.
        index: Box<Expr>,
        /// Element type.
        data_type: DataType,
    },
    /// `ARRAY[…]`.
    Array {
        /// Elements, cast to one type.
        items: Vec<Expr>,
        /// The array's type.
        data_type: DataType,
    },
    /// `MAP {k: v, …}`.
    Map {
        /// Entries.
        entries: Vec<(Expr, Expr)>,
        /// The map's type.
        data_type: DataType,
    },
    /// `STRUCT(a AS x, …)`, `ROW(…)`.
    Struct {
        /// Field names and values.
        fields: Vec<(CompactString, Expr)>,
        /// The struct's type.
        data_type: DataType,
    },
}
