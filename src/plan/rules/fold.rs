//! Constants are computed once, conditions that they decide disappear, and a filter that passes nothing reads nothing.

use crate::expr::{Expr, fold};
use crate::plan::{LogicalPlan, OutputColumn};
use crate::record::FieldValue;

pub(super) fn fold_constants(plan: LogicalPlan) -> LogicalPlan {
    let plan = plan.map_inputs(&mut fold_constants);
    match plan {
        LogicalPlan::Filter { input, predicate } => match fold(predicate) {
            Expr::Literal { value: FieldValue::Boolean(true), .. } => *input,
            // FALSE or NULL: no record passes, so none need be read.
            Expr::Literal { .. } => LogicalPlan::Values { schema: input.schema().clone(), rows: Vec::new() },
            predicate => LogicalPlan::Filter { input, predicate },
        },
        LogicalPlan::Project { input, columns, schema } => {
            let columns =
                columns.into_iter().map(|c| OutputColumn { expr: fold(c.expr), target: c.target }).collect();
            LogicalPlan::Project { input, columns, schema }
        }
        LogicalPlan::Unnest { input, expr, outer, with_ordinality, schema } => {
            LogicalPlan::Unnest { input, expr: fold(expr), outer, with_ordinality, schema }
        }
        LogicalPlan::Stateful { input, spec } => {
            LogicalPlan::Stateful { input, spec: spec.map_exprs(&mut fold) }
        }
        // Not one row is wanted, so none is waited for.
        LogicalPlan::Limit { input, count: Some(0), .. } => {
            LogicalPlan::Values { schema: input.schema().clone(), rows: Vec::new() }
        }
        other => other,
    }
}
