//! Only the columns that are used are read, in an order in which the projection need not move them.
//!
//! A column that is output position `i` is asked for at position `i`; columns that only expressions need fill the
//! positions of computed outputs, the rest comes at the end. Then the projection leaves every column where it is.

use super::super::walk::columns_in_order;
use crate::expr::Expr;
use crate::plan::{LogicalPlan, OutputColumn, OutputTarget, Stateful, TopNSpec};
use crate::record::{Field, Schema};

pub(super) fn prune_columns(plan: LogicalPlan) -> LogicalPlan {
    let all: Vec<usize> = (0..plan.schema().len()).collect();
    let (plan, at) = prune(plan, Wanted::exactly(&all));
    exact(plan, &at, &all)
}

/// Columns of a node's output that are wanted, by wanted position; gaps are free.
#[derive(Clone, Debug, Default)]
struct Wanted(Vec<Option<usize>>);

impl Wanted {
    fn exactly(columns: &[usize]) -> Self {
        Self(columns.iter().copied().map(Some).collect())
    }
    /// Also wants `column`, wherever there is room.
    fn add(&mut self, column: usize) {
        if self.0.contains(&Some(column)) {
            return;
        }
        match self.0.iter_mut().find(|slot| slot.is_none()) {
            Some(gap) => *gap = Some(column),
            None => self.0.push(Some(column)),
        }
    }
    fn columns(&self) -> Vec<usize> {
        self.0.iter().flatten().copied().collect()
    }
}

/// Where each column of the old output stands in the new one; those that are gone keep their number.
#[derive(Clone, Debug)]
struct Moved(Vec<usize>);

impl Moved {
    fn none(width: usize) -> Self {
        Self((0..width).collect())
    }
    fn picked(width: usize, columns: &[usize]) -> Self {
        let at = |old: usize| columns.iter().position(|c| *c == old).unwrap_or(old);
        Self((0..width).map(at).collect())
    }
    fn at(&self, old: usize) -> usize {
        self.0.get(old).copied().unwrap_or(old)
    }
    fn map(&self, expr: &Expr) -> Expr {
        expr.map_columns(&|i| self.at(i))
    }
}

fn pick(schema: &Schema, columns: &[usize]) -> Vec<Field> {
    columns.iter().filter_map(|c| schema.fields().get(*c).cloned()).collect()
}

/// The plan without what is not wanted, and where its columns went.
fn prune(plan: LogicalPlan, mut wanted: Wanted) -> (LogicalPlan, Moved) {
    let width = plan.schema().len();
    match plan {
        LogicalPlan::Scan { relation, schema, projects: true, bounded } => {
            let columns = wanted.columns();
            let moved = Moved::picked(width, &columns);
            let schema = Schema::new(pick(&schema, &columns));
            (LogicalPlan::Scan { relation, schema, projects: true, bounded }, moved)
        }
        LogicalPlan::Scan { .. } | LogicalPlan::Values { .. } => (plan, Moved::none(width)),
        LogicalPlan::Filter { input, predicate } => {
            columns_in_order(&predicate).into_iter().for_each(|c| wanted.add(c));
            let (input, moved) = prune(*input, wanted);
            let predicate = moved.map(&predicate);
            (LogicalPlan::Filter { input: Box::new(input), predicate }, moved)
        }
        LogicalPlan::Limit { input, count, offset } => {
            let (input, moved) = prune(*input, wanted);
            (LogicalPlan::Limit { input: Box::new(input), count, offset }, moved)
        }
        LogicalPlan::Project { input, columns, schema } => {
            let kept = wanted.columns();
            let moved = Moved::picked(width, &kept);
            let columns = keep_items(columns, &kept);
            let (input, below) = prune(*input, wanted_by(&columns));
            let columns = columns
                .into_iter()
                .map(|c| OutputColumn { expr: below.map(&c.expr), target: c.target })
                .collect();
            let schema = Schema::new(pick(&schema, &kept));
            (LogicalPlan::Project { input: Box::new(input), columns, schema }, moved)
        }
        LogicalPlan::Unnest { input, expr, outer, with_ordinality, schema } => {
            let inner = input.schema().len();
            let kept: Vec<usize> = wanted.columns().into_iter().filter(|c| *c < inner).collect();
            let mut below = Wanted::exactly(&kept);
            columns_in_order(&expr).into_iter().for_each(|c| below.add(c));
            let (input, moved) = prune(*input, below);
            let expr = moved.map(&expr);
            let added = schema.fields().get(inner..).unwrap_or_default();
            let start = input.schema().len();
            let at = (0..width).map(|i| if i < inner { moved.at(i) } else { start + i - inner });
            let moved = Moved(at.collect());
            let schema = Schema::new(input.schema().fields().iter().chain(added).cloned());
            (LogicalPlan::Unnest { input: Box::new(input), expr, outer, with_ordinality, schema }, moved)
        }
        LogicalPlan::Union { inputs, schema } => {
            let kept = wanted.columns();
            let inputs = inputs.into_iter().map(|input| {
                let (input, at) = prune(input, Wanted::exactly(&kept));
                exact(input, &at, &kept)
            });
            let inputs = inputs.collect();
            let schema = Schema::new(pick(&schema, &kept));
            (LogicalPlan::Union { inputs, schema }, Moved::picked(width, &kept))
        }
        LogicalPlan::Stateful { input, spec } => stateful(*input, spec, &wanted),
    }
}

fn stateful(input: LogicalPlan, spec: Stateful, wanted: &Wanted) -> (LogicalPlan, Moved) {
    let width = spec.schema().len();
    let inner = spec.added_columns().map(|_| input.schema().len());
    // An aggregation makes its own columns, the others hand those of the input on.
    let kept: Vec<usize> = wanted.columns().into_iter().filter(|c| inner.is_some_and(|n| *c < n)).collect();
    let mut below = Wanted::exactly(&kept);
    spec.exprs().into_iter().flat_map(columns_in_order).for_each(|c| below.add(c));
    let (input, moved) = prune(input, below);
    let spec = spec.map_exprs(&mut |e| moved.map(&e));
    let spec = match spec {
        Stateful::Aggregate(mut spec) => {
            let first = width.saturating_sub(spec.calls.len());
            let seen = |call: &usize| wanted.0.contains(&Some(first + call));
            spec.unseen = (0..spec.calls.len()).filter(|call| !seen(call)).collect();
            Stateful::Aggregate(spec)
        }
        spec => spec,
    };
    let Some(inner) = inner else {
        return (LogicalPlan::Stateful { input: Box::new(input), spec }, Moved::none(width));
    };
    let spec = match spec {
        // A row that only moves to another rank need not be told again where nobody sees the rank.
        Stateful::TopN(top) if top.with_rank && !wanted.0.contains(&Some(inner)) => {
            let schema = Schema::new(top.schema.fields().iter().take(inner).cloned());
            Stateful::TopN(TopNSpec { with_rank: false, schema, ..top })
        }
        spec => spec,
    };
    let start = match spec {
        // What its calls alone need is not handed on.
        Stateful::Over(_) => kept.iter().map(|c| moved.at(*c) + 1).max().unwrap_or(0),
        _ => input.schema().len(),
    };
    let at = (0..width).map(|i| if i < inner { moved.at(i) } else { start + i - inner }).collect();
    let added = spec.schema().fields().get(inner..).unwrap_or_default();
    let schema = Schema::new(input.schema().fields().iter().take(start).chain(added).cloned());
    (LogicalPlan::Stateful { input: Box::new(input), spec: spec.with_schema(schema) }, Moved(at))
}

/// The items of a projection that give the columns `kept`, in that order, and all that set metadata.
fn keep_items(columns: Vec<OutputColumn>, kept: &[usize]) -> Vec<OutputColumn> {
    let is_column = |c: &OutputColumn| matches!(c.target, OutputTarget::Column(_));
    let (outputs, system): (Vec<_>, Vec<_>) = columns.into_iter().partition(is_column);
    kept.iter().filter_map(|i| outputs.get(*i).cloned()).chain(system).collect()
}

/// What a projection wants of its input, and where.
fn wanted_by(columns: &[OutputColumn]) -> Wanted {
    let outputs = columns.iter().filter(|c| matches!(c.target, OutputTarget::Column(_)));
    let mut wanted = Wanted::default();
    for column in outputs {
        let slot = match &column.expr {
            Expr::Column { index, .. } if !wanted.0.contains(&Some(*index)) => Some(*index),
            _ => None,
        };
        wanted.0.push(slot);
    }
    columns.iter().flat_map(|c| columns_in_order(&c.expr)).for_each(|c| wanted.add(c));
    wanted
}

/// Makes `plan` deliver exactly the columns `kept` of its old output.
fn exact(plan: LogicalPlan, at: &Moved, kept: &[usize]) -> LogicalPlan {
    let schema = plan.schema().clone();
    if schema.len() == kept.len() && kept.iter().enumerate().all(|(i, c)| at.at(*c) == i) {
        return plan;
    }
    let positions: Vec<usize> = kept.iter().map(|c| at.at(*c)).collect();
    let taken = positions.iter().filter_map(|i| Some((*i, schema.fields().get(*i)?)));
    let columns = taken
        .map(|(index, f)| OutputColumn {
            expr: Expr::Column { index, name: f.name.clone(), data_type: f.data_type.clone() },
            target: OutputTarget::Column(f.name.clone()),
        })
        .collect();
    let schema = Schema::new(pick(&schema, &positions));
    LogicalPlan::Project { input: Box::new(plan), columns, schema }
}
