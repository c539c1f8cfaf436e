//! The logical plan: relational algebra over bound expressions.

use std::sync::Arc;

use super::{Stateful, WindowTableSpec};
use crate::expr::{Expr, SystemColumn};
use crate::record::{CompactString, FieldValue, Schema};

/// Where a projected value goes in the output record.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputTarget {
    /// A column of the output, under this name.
    Column(CompactString),
    /// The record's own metadata: `SELECT x AS _key`.
    System(SystemColumn),
}

/// One item of a projection.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputColumn {
    /// What is computed.
    pub expr: Expr,
    /// Where it goes.
    pub target: OutputTarget,
}

/// A relational expression. Column positions in an expression refer to the schema of the node's input.
#[derive(Clone, Debug, PartialEq)]
pub enum LogicalPlan {
    /// Reads a source.
    Scan {
        /// Name of the relation in the catalog (or the generated name of a file read by name).
        relation: String,
        /// The columns that are read, in the order in which they are wanted. The binder puts all of them here; the
        /// push-down rule leaves those that are used.
        schema: Arc<Schema>,
        /// Whether the reader can leave columns out; if not, `schema` stays as it is.
        projects: bool,
        /// Whether it ends by itself.
        bounded: bool,
    },
    /// Constant rows: `SELECT 1`, `VALUES …`.
    Values {
        /// Shape.
        schema: Arc<Schema>,
        /// Rows, already evaluated.
        rows: Vec<Vec<FieldValue>>,
    },
    /// Keeps the records for which the predicate is TRUE.
    Filter {
        /// Input.
        input: Box<LogicalPlan>,
        /// A BOOLEAN expression.
        predicate: Expr,
    },
    /// Computes new columns.
    Project {
        /// Input.
        input: Box<LogicalPlan>,
        /// Items, in order.
        columns: Vec<OutputColumn>,
        /// Shape of the output: the items whose target is a column.
        schema: Arc<Schema>,
    },
    /// One row per element of an array (or entry of a map); the input's columns, then the element's.
    Unnest {
        /// Input.
        input: Box<LogicalPlan>,
        /// The ARRAY or MAP.
        expr: Expr,
        /// Keep a row with NULLs where the array is empty or NULL (LEFT JOIN … ON TRUE).
        outer: bool,
        /// Add the position, from 1.
        with_ordinality: bool,
        /// Input columns + element columns (+ ordinality).
        schema: Arc<Schema>,
    },
    /// Rows of all inputs (UNION ALL), whose columns agree in number and type.
    Union {
        /// Inputs.
        inputs: Vec<LogicalPlan>,
        /// Names of the first input.
        schema: Arc<Schema>,
    },
    /// Skips `offset` rows, then passes `count` rows and ends the job.
    Limit {
        /// Input.
        input: Box<LogicalPlan>,
        /// Rows passed; `None` = all.
        count: Option<u64>,
        /// Rows skipped first.
        offset: u64,
    },
    /// Everything that keeps state or knows time: watermarks, groups, windows, OVER, top-N, sorting.
    Stateful {
        /// Input.
        input: Box<LogicalPlan>,
        /// What it does.
        spec: Stateful,
    },
}

impl LogicalPlan {
    /// Shape of the output.
    pub fn schema(&self) -> &Arc<Schema> {
        match self {
            LogicalPlan::Scan { schema, .. }
            | LogicalPlan::Values { schema, .. }
            | LogicalPlan::Project { schema, .. }
            | LogicalPlan::Unnest { schema, .. }
            | LogicalPlan::Union { schema, .. } => schema,
            LogicalPlan::Filter { input, .. } | LogicalPlan::Limit { input, .. } => input.schema(),
            LogicalPlan::Stateful { spec, .. } => spec.schema(),
        }
    }

    /// The plans that this one reads.
    pub fn inputs(&self) -> Vec<&LogicalPlan> {
        match self {
            LogicalPlan::Scan { .. } | LogicalPlan::Values { .. } => Vec::new(),
            LogicalPlan::Filter { input, .. }
            | LogicalPlan::Project { input, .. }
            | LogicalPlan::Unnest { input, .. }
            | LogicalPlan::Limit { input, .. }
            | LogicalPlan::Stateful { input, .. } => vec![input],
            LogicalPlan::Union { inputs, .. } => inputs.iter().collect(),
        }
    }

    /// The expressions of this node alone, over its input.
    pub fn exprs(&self) -> Vec<&Expr> {
        match self {
            LogicalPlan::Filter { predicate, .. } => vec![predicate],
            LogicalPlan::Project { columns, .. } => columns.iter().map(|c| &c.expr).collect(),
            LogicalPlan::Unnest { expr, .. } => vec![expr],
            LogicalPlan::Stateful { spec, .. } => spec.exprs(),
            LogicalPlan::Scan { .. }
            | LogicalPlan::Values { .. }
            | LogicalPlan::Union { .. }
            | LogicalPlan::Limit { .. } => Vec::new(),
        }
    }

    /// The same node over rewritten inputs.
    pub fn map_inputs(self, f: &mut dyn FnMut(LogicalPlan) -> LogicalPlan) -> LogicalPlan {
        match self {
            LogicalPlan::Scan { .. } | LogicalPlan::Values { .. } => self,
            LogicalPlan::Filter { input, predicate } => {
                LogicalPlan::Filter { input: Box::new(f(*input)), predicate }
            }
            LogicalPlan::Project { input, columns, schema } => {
                LogicalPlan::Project { input: Box::new(f(*input)), columns, schema }
            }
            LogicalPlan::Unnest { input, expr, outer, with_ordinality, schema } => {
                LogicalPlan::Unnest { input: Box::new(f(*input)), expr, outer, with_ordinality, schema }
            }
            LogicalPlan::Union { inputs, schema } => {
                LogicalPlan::Union { inputs: inputs.into_iter().map(f).collect(), schema }
            }
            LogicalPlan::Limit { input, count, offset } => {
                LogicalPlan::Limit { input: Box::new(f(*input)), count, offset }
            }
            LogicalPlan::Stateful { input, spec } => {
                LogicalPlan::Stateful { input: Box::new(f(*input)), spec }
            }
        }
    }

    /// The plan for an operator that tells its results window by window, as the window table function below it says: that function
    /// judges which rows are late.
    pub(crate) fn judging_lateness(self) -> Self {
        match self {
            LogicalPlan::Stateful { input, spec: Stateful::WindowTable(spec) } => {
                let spec = WindowTableSpec { judges_lateness: spec.window.has_watermark, ..spec };
                LogicalPlan::Stateful { input, spec: Stateful::WindowTable(spec) }
            }
            LogicalPlan::Filter { .. } | LogicalPlan::Project { .. } | LogicalPlan::Unnest { .. } => {
                self.map_inputs(&mut Self::judging_lateness)
            }
            other => other,
        }
    }

    /// Whether the rows end: no source goes on for ever, or a LIMIT cuts them off.
    pub fn is_bounded(&self) -> bool {
        match self {
            LogicalPlan::Scan { bounded, .. } => *bounded,
            LogicalPlan::Limit { count: Some(_), .. } => true,
            other => other.inputs().into_iter().all(LogicalPlan::is_bounded),
        }
    }
}
