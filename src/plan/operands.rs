//! The expressions of stateful operators, to be read and to be rewritten; all are over the operator's input.

use std::sync::Arc;

use super::{AggregateSpec, OverFunction, OverSpec, SortSpec, TopNSpec, WatermarkSpec, WindowTableSpec};
use crate::expr::{AggregateCall, Expr, Volatility};
use crate::record::Schema;

/// An operator that keeps state or knows time, in a logical plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Stateful {
    /// WATERMARK FOR.
    Watermark(WatermarkSpec),
    /// GROUP BY, windows, DISTINCT.
    Aggregate(Box<AggregateSpec>),
    /// TUMBLE, HOP, CUMULATE where no GROUP BY takes them up.
    WindowTable(WindowTableSpec),
    /// Calls OVER.
    Over(Box<OverSpec>),
    /// ROW_NUMBER() <= n, ORDER BY … LIMIT.
    TopN(TopNSpec),
    /// ORDER BY.
    Sort(SortSpec),
}

impl Stateful {
    /// Shape of the output.
    pub fn schema(&self) -> &Arc<Schema> {
        match self {
            Stateful::Watermark(spec) => &spec.schema,
            Stateful::Aggregate(spec) => &spec.schema,
            Stateful::WindowTable(spec) => &spec.schema,
            Stateful::Over(spec) => &spec.schema,
            Stateful::TopN(spec) => &spec.schema,
            Stateful::Sort(spec) => &spec.schema,
        }
    }

    /// Columns that the output has behind the input's; `None` if it is made of others altogether.
    pub(crate) fn added_columns(&self) -> Option<usize> {
        match self {
            Stateful::Watermark(_) | Stateful::Sort(_) => Some(0),
            Stateful::TopN(spec) => Some(usize::from(spec.with_rank)),
            Stateful::WindowTable(_) => Some(2),
            Stateful::Over(spec) => Some(spec.calls.len()),
            Stateful::Aggregate(_) => None,
        }
    }

    /// The expressions over the input. HAVING is none of them: it is over the output.
    pub fn exprs(&self) -> Vec<&Expr> {
        match self {
            Stateful::Watermark(spec) => spec.exprs(),
            Stateful::Aggregate(spec) => spec.exprs(),
            Stateful::WindowTable(spec) => spec.exprs(),
            Stateful::Over(spec) => spec.exprs(),
            Stateful::TopN(spec) => spec.exprs(),
            Stateful::Sort(spec) => spec.exprs(),
        }
    }

    /// The same operator with each expression over the input rewritten.
    pub fn map_exprs(mut self, f: &mut dyn FnMut(Expr) -> Expr) -> Self {
        for expr in self.exprs_mut() {
            let taken = std::mem::replace(expr, Expr::And(Vec::new()));
            *expr = f(taken);
        }
        self
    }

    /// The same operator with another shape of output.
    pub(crate) fn with_schema(mut self, shape: Arc<Schema>) -> Self {
        match &mut self {
            Stateful::Watermark(WatermarkSpec { schema, .. })
            | Stateful::WindowTable(WindowTableSpec { schema, .. })
            | Stateful::TopN(TopNSpec { schema, .. })
            | Stateful::Sort(SortSpec { schema, .. }) => *schema = shape,
            Stateful::Aggregate(spec) => spec.schema = shape,
            Stateful::Over(spec) => spec.schema = shape,
        }
        self
    }

    fn exprs_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Stateful::Watermark(spec) => vec![&mut spec.time, &mut spec.watermark],
            Stateful::Aggregate(spec) => {
                let window = spec.window.iter_mut().flat_map(|w| w.exprs_mut());
                spec.keys.iter_mut().chain(window).chain(spec.calls.iter_mut().flat_map(call_mut)).collect()
            }
            Stateful::WindowTable(spec) => spec.window.exprs_mut().chain(&mut spec.partition_by).collect(),
            Stateful::Over(spec) => {
                let keys = spec.order_by.iter_mut().map(|k| &mut k.expr);
                let calls = spec.calls.iter_mut().flat_map(over_mut);
                spec.partition_by.iter_mut().chain(keys).chain(calls).collect()
            }
            Stateful::TopN(spec) => {
                let keys = spec.order_by.iter_mut().map(|k| &mut k.expr);
                spec.partition_by.iter_mut().chain(keys).chain(&mut spec.window_end).collect()
            }
            Stateful::Sort(spec) => spec.order_by.iter_mut().map(|k| &mut k.expr).collect(),
        }
    }
}

impl WatermarkSpec {
    /// Whether event time and watermark follow from the rows alone, not from the clock.
    pub(crate) fn follows_rows(&self) -> bool {
        let mut alone = true;
        for expr in self.exprs() {
            expr.walk(&mut |e| {
                alone &=
                    !matches!(e, Expr::Call { function, .. } if function.volatility != Volatility::Immutable);
            });
        }
        alone
    }
    pub(super) fn exprs(&self) -> Vec<&Expr> {
        vec![&self.time, &self.watermark]
    }
}
impl AggregateSpec {
    pub(super) fn exprs(&self) -> Vec<&Expr> {
        let window = self.window.iter().flat_map(|w| w.exprs());
        self.keys.iter().chain(window).chain(self.calls.iter().flat_map(call)).collect()
    }
}
impl WindowTableSpec {
    pub(super) fn exprs(&self) -> Vec<&Expr> {
        self.window.exprs().chain(&self.partition_by).collect()
    }
}
impl OverSpec {
    pub(super) fn exprs(&self) -> Vec<&Expr> {
        let keys = self.order_by.iter().map(|k| &k.expr);
        self.partition_by.iter().chain(keys).chain(self.calls.iter().flat_map(over)).collect()
    }
}
impl TopNSpec {
    pub(super) fn exprs(&self) -> Vec<&Expr> {
        let keys = self.order_by.iter().map(|k| &k.expr);
        self.partition_by.iter().chain(keys).chain(&self.window_end).collect()
    }
}
impl SortSpec {
    pub(super) fn exprs(&self) -> Vec<&Expr> {
        self.order_by.iter().map(|k| &k.expr).collect()
    }
}

fn call(call: &AggregateCall) -> Vec<&Expr> {
    call.args.iter().chain(&call.filter).chain(call.order_by.iter().map(|k| &k.expr)).collect()
}

fn call_mut(call: &mut AggregateCall) -> Vec<&mut Expr> {
    let keys = call.order_by.iter_mut().map(|k| &mut k.expr);
    call.args.iter_mut().chain(&mut call.filter).chain(keys).collect()
}

fn over(function: &OverFunction) -> Vec<&Expr> {
    use OverFunction as F;
    match function {
        F::Aggregate(inner) => call(inner),
        F::RowNumber | F::Rank | F::DenseRank | F::PercentRank | F::CumeDist => Vec::new(),
        F::Ntile(e) | F::FirstValue(e) | F::LastValue(e) => vec![e],
        F::Lag { expr, offset, default } | F::Lead { expr, offset, default } => {
            [expr, offset].into_iter().chain(default).collect()
        }
        F::NthValue { expr, n } => vec![expr, n],
    }
}

fn over_mut(function: &mut OverFunction) -> Vec<&mut Expr> {
    use OverFunction as F;
    match function {
        F::Aggregate(inner) => call_mut(inner),
        F::RowNumber | F::Rank | F::DenseRank | F::PercentRank | F::CumeDist => Vec::new(),
        F::Ntile(e) | F::FirstValue(e) | F::LastValue(e) => vec![e],
        F::Lag { expr, offset, default } | F::Lead { expr, offset, default } => {
            [expr, offset].into_iter().chain(default).collect()
        }
        F::NthValue { expr, n } => vec![expr, n],
    }
}
