//! The physical plan of a job: sources, a graph of operators in topological order, sinks.

use std::borrow::Cow;
use std::sync::Arc;

use super::{
    AggregateSpec, Emit, OverSpec, SortSpec, Stateful, TopNSpec, Ttl, WatermarkSpec, WindowKind,
    WindowTableSpec,
};
use crate::expr::{Expr, SystemColumn};
use crate::record::{FieldValue, Schema};

/// What feeds a node or a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InputRef {
    /// A source, by position in [`JobPlan::sources`].
    Source(usize),
    /// A node, by position in [`JobPlan::nodes`]; always an earlier one.
    Node(usize),
}

/// One source that the job reads, once, whoever uses its records.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSpec {
    /// Name of the relation.
    pub relation: String,
    /// Columns wanted, in the order wanted.
    pub schema: Arc<Schema>,
    /// System columns that the plan reads.
    pub system: Vec<SystemColumn>,
    /// Constant rows instead of a relation: `SELECT 1`.
    pub values: Option<Vec<Vec<FieldValue>>>,
}

/// One item of a projection.
#[derive(Clone, Debug, PartialEq)]
pub enum ProjectColumn {
    /// Output column = that input column, moved without being evaluated.
    Take(usize),
    /// Output column = this expression.
    Compute(Expr),
}

/// WHERE and SELECT list in one pass over the record.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterProjectSpec {
    /// Condition over input columns, evaluated first.
    pub predicate: Option<Expr>,
    /// Whether the condition meets rows that change: of an update one row may pass and the other not.
    pub changes: bool,
    /// Output columns; `None` = input unchanged.
    pub project: Option<Vec<ProjectColumn>>,
    /// Metadata to set: `AS _key` …
    pub system: Vec<(SystemColumn, Expr)>,
    /// Shape of the output.
    pub schema: Arc<Schema>,
}

/// See [`LogicalPlan::Unnest`](super::LogicalPlan::Unnest).
#[derive(Clone, Debug, PartialEq)]
pub struct UnnestSpec {
    /// The ARRAY or MAP.
    pub expr: Expr,
    /// Keep empty ones as a row of NULLs.
    pub outer: bool,
    /// Add the position.
    pub with_ordinality: bool,
    /// Shape of the output.
    pub schema: Arc<Schema>,
}

/// See [`LogicalPlan::Limit`](super::LogicalPlan::Limit).
#[derive(Clone, Debug, PartialEq)]
pub struct LimitSpec {
    /// Rows passed.
    pub count: Option<u64>,
    /// Rows skipped first.
    pub offset: u64,
}

/// What a node does.
#[derive(Clone, Debug, PartialEq)]
pub enum OperatorSpec {
    /// Filter and project.
    FilterProject(FilterProjectSpec),
    /// UNNEST.
    Unnest(UnnestSpec),
    /// LIMIT / OFFSET.
    Limit(LimitSpec),
    /// UNION ALL: passes every input on; inputs may differ in column names, so the records get this shape.
    Union {
        /// Shape of the output.
        schema: Arc<Schema>,
    },
    /// WATERMARK FOR.
    Watermark(WatermarkSpec),
    /// GROUP BY, windows, DISTINCT.
    Aggregate(Box<AggregateSpec>),
    /// TUMBLE, HOP, CUMULATE in FROM, where no GROUP BY takes them up.
    WindowTable(WindowTableSpec),
    /// Calls OVER.
    Over(Box<OverSpec>),
    /// ROW_NUMBER() <= n, ORDER BY … LIMIT.
    TopN(TopNSpec),
    /// ORDER BY.
    Sort(SortSpec),
}

impl From<Stateful> for OperatorSpec {
    fn from(spec: Stateful) -> Self {
        match spec {
            Stateful::Watermark(spec) => OperatorSpec::Watermark(spec),
            Stateful::Aggregate(spec) => OperatorSpec::Aggregate(spec),
            Stateful::WindowTable(spec) => OperatorSpec::WindowTable(spec),
            Stateful::Over(spec) => OperatorSpec::Over(spec),
            Stateful::TopN(spec) => OperatorSpec::TopN(spec),
            Stateful::Sort(spec) => OperatorSpec::Sort(spec),
        }
    }
}

impl OperatorSpec {
    /// Whether what it emits depends on where batches end.
    pub(crate) fn emits_once_a_batch(&self) -> bool {
        match self {
            OperatorSpec::Aggregate(spec) => spec.emit == Emit::Changes,
            OperatorSpec::TopN(spec) => spec.emit == Emit::Changes,
            _ => false,
        }
    }

    /// Whether what it keeps may lie in a store on disk.
    pub fn spills(&self) -> bool {
        matches!(self, OperatorSpec::Aggregate(spec) if spec.spills())
    }

    /// Where it lies under `state_backend = 'disk'`, unless there is next to none.
    pub(crate) fn place_of_state(&self) -> Option<&'static str> {
        match self {
            _ if self.spills() && !cfg!(feature = "disk-state") => Some(
                "nowhere: this build can't put groups on disk, and refuses to run it (feature disk-state)",
            ),
            _ if self.spills() => Some("on disk, as far as it does not fit into half of state_max_bytes"),
            OperatorSpec::Aggregate(spec) if spec.window.is_some() => {
                Some("in memory: windows are not put on disk")
            }
            OperatorSpec::Aggregate(_) => Some("in memory: groups with state_ttl are not put on disk"),
            OperatorSpec::WindowTable(WindowTableSpec { window, .. })
                if !matches!(window.kind, WindowKind::Session { .. }) =>
            {
                None
            }
            OperatorSpec::WindowTable(_)
            | OperatorSpec::Sort(_)
            | OperatorSpec::TopN(_)
            | OperatorSpec::Over(_) => Some("in memory: only groups are put on disk"),
            _ => None,
        }
    }

    /// Its kind, as in node ids.
    pub fn kind(&self) -> &'static str {
        match self {
            OperatorSpec::FilterProject(FilterProjectSpec { predicate: Some(_), project: None, .. }) => {
                "filter"
            }
            OperatorSpec::FilterProject(FilterProjectSpec { predicate: None, .. }) => "project",
            OperatorSpec::FilterProject(_) => "filter_project",
            OperatorSpec::Unnest(_) => "unnest",
            OperatorSpec::Limit(_) => "limit",
            OperatorSpec::Union { .. } => "union",
            OperatorSpec::Watermark(_) => "watermark",
            OperatorSpec::Aggregate(spec) if spec.calls.is_empty() && spec.window.is_none() => "distinct",
            OperatorSpec::Aggregate(_) => "aggregate",
            OperatorSpec::WindowTable(_) => "window",
            OperatorSpec::Over(_) => "over",
            OperatorSpec::TopN(_) => "top_n",
            OperatorSpec::Sort(_) => "sort",
        }
    }

    /// What it keeps between batches, for how long, and that it has no bound where it has none.
    pub fn state(&self) -> Cow<'static, str> {
        if let Some(what) = self.grows() {
            return format!("{what}, unbounded").into();
        }
        let text = match self {
            OperatorSpec::FilterProject(_) | OperatorSpec::Unnest(_) | OperatorSpec::Union { .. } => {
                "stateless"
            }
            OperatorSpec::WindowTable(spec) => match spec.window.kind {
                WindowKind::Session { .. } => "the rows of open sessions, until the watermark closes them",
                _ => "stateless",
            },
            OperatorSpec::Limit(_) => "rows still to skip and to pass, for the job's life, 24 bytes",
            OperatorSpec::Watermark(_) => {
                "one watermark for each partition, for the job's life, 32 bytes each"
            }
            OperatorSpec::Aggregate(spec) => match (&spec.window, spec.expiry()) {
                (Some(w), _) if !w.has_watermark => "groups of all windows, until the end of the input",
                (Some(_), _) => "groups of open windows, until the watermark closes them",
                (None, Some(Ttl { event_time: true, .. })) => {
                    "one entry for each group, until no row has touched it for state_ttl by event time"
                }
                (None, Some(_)) => {
                    "one entry for each group, until no row has touched it for state_ttl by the clock"
                }
                (None, None) => "one group, for the job's life",
            },
            OperatorSpec::Over(_) => "rows of each partition that a frame may still reach",
            OperatorSpec::TopN(spec) if spec.window_end.is_some() && spec.emit == Emit::Final => {
                "rows of open windows, until the watermark closes them"
            }
            OperatorSpec::TopN(spec) if spec.expiry().is_some() => {
                "the first rows of each partition, until no row has come to it for state_ttl"
            }
            OperatorSpec::TopN(_) => "the first rows, for the job's life",
            OperatorSpec::Sort(_) => "all rows, until the end of the input",
        };
        text.into()
    }

    /// The expressions that it evaluates.
    pub fn exprs(&self) -> Vec<&Expr> {
        match self {
            OperatorSpec::FilterProject(spec) => {
                let computed = spec.project.iter().flatten().filter_map(|c| match c {
                    ProjectColumn::Take(_) => None,
                    ProjectColumn::Compute(expr) => Some(expr),
                });
                spec.predicate.iter().chain(computed).chain(spec.system.iter().map(|(_, e)| e)).collect()
            }
            OperatorSpec::Unnest(spec) => vec![&spec.expr],
            OperatorSpec::Limit(_) | OperatorSpec::Union { .. } => Vec::new(),
            OperatorSpec::Watermark(spec) => spec.exprs(),
            OperatorSpec::Aggregate(spec) => spec.exprs(),
            OperatorSpec::WindowTable(spec) => spec.exprs(),
            OperatorSpec::Over(spec) => spec.exprs(),
            OperatorSpec::TopN(spec) => spec.exprs(),
            OperatorSpec::Sort(spec) => spec.exprs(),
        }
    }
}

/// One operator of the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSpec {
    /// Stable over restarts of the same plan: keys its state. E.g. `"out/0.filter_project"`.
    pub id: String,
    /// What it does.
    pub operator: OperatorSpec,
    /// What feeds it, by input number.
    pub inputs: Vec<InputRef>,
}

/// One sink that the job writes.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkSpec {
    /// Name of the relation; empty for a bare SELECT.
    pub relation: String,
    /// Shape of the records written.
    pub schema: Arc<Schema>,
    /// What feeds it; several INSERTs into one sink share a writer.
    pub inputs: Vec<InputRef>,
}

/// Everything that one job runs.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct JobPlan {
    /// Sources.
    pub sources: Vec<SourceSpec>,
    /// Operators in topological order.
    pub nodes: Vec<NodeSpec>,
    /// Sinks.
    pub sinks: Vec<SinkSpec>,
}

impl JobPlan {
    /// Whether a sink gets rows other than inserts: updates of what it got before, deletions.
    pub fn changes(&self, sink: usize) -> bool {
        self.sinks.get(sink).is_some_and(|s| s.inputs.iter().any(|i| self.input_changes(*i)))
    }

    fn input_changes(&self, input: InputRef) -> bool {
        let InputRef::Node(n) = input else { return false };
        let Some(node) = self.nodes.get(n) else { return false };
        match &node.operator {
            OperatorSpec::Aggregate(spec) => super::changelog::aggregate_changes(spec),
            OperatorSpec::TopN(spec) => super::changelog::top_n_changes(spec),
            OperatorSpec::Sort(_) => false,
            // Inputs are earlier nodes, so this ends.
            _ => node
                .inputs
                .iter()
                .any(|i| !matches!(i, InputRef::Node(m) if *m >= n) && self.input_changes(*i)),
        }
    }

    /// Names of the system columns that the query sets for the rows of a sink: `SELECT x AS _key`.
    pub fn system_set(&self, sink: usize) -> Vec<&'static str> {
        let mut names = Vec::new();
        let mut inputs: Vec<InputRef> = self.sinks.get(sink).map_or_else(Vec::new, |s| s.inputs.clone());
        while let Some(input) = inputs.pop() {
            let InputRef::Node(n) = input else { continue };
            let Some(node) = self.nodes.get(n) else { continue };
            match &node.operator {
                OperatorSpec::FilterProject(spec) => {
                    names.extend(spec.system.iter().map(|(column, _)| column.name()));
                }
                OperatorSpec::Limit(_) | OperatorSpec::Union { .. } | OperatorSpec::Watermark(_) => {}
                // It makes rows of its own.
                _ => continue,
            }
            // Inputs are earlier nodes, so this ends.
            inputs.extend(node.inputs.iter().filter(|i| !matches!(i, InputRef::Node(m) if *m >= n)));
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Shape of what `input` delivers.
    pub fn schema_of(&self, input: InputRef) -> Option<&Arc<Schema>> {
        match input {
            InputRef::Source(i) => self.sources.get(i).map(|s| &s.schema),
            InputRef::Node(i) => {
                let node = self.nodes.get(i)?;
                match &node.operator {
                    OperatorSpec::FilterProject(spec) => Some(&spec.schema),
                    OperatorSpec::Unnest(spec) => Some(&spec.schema),
                    OperatorSpec::Union { schema } => Some(schema),
                    OperatorSpec::Watermark(spec) => Some(&spec.schema),
                    OperatorSpec::Aggregate(spec) => Some(&spec.schema),
                    OperatorSpec::WindowTable(spec) => Some(&spec.schema),
                    OperatorSpec::Over(spec) => Some(&spec.schema),
                    OperatorSpec::TopN(spec) => Some(&spec.schema),
                    OperatorSpec::Sort(spec) => Some(&spec.schema),
                    OperatorSpec::Limit(_) => match node.inputs.first()? {
                        // Inputs are earlier nodes, so this ends.
                        InputRef::Node(n) if *n >= i => None,
                        earlier => self.schema_of(*earlier),
                    },
                }
            }
        }
    }
}
