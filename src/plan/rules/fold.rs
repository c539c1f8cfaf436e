//! Constants are computed once, conditions that they decide are simplified, and a filter that passes nothing reads nothing.

use super::super::walk::{cannot_fail, fold};
use crate::expr::Expr;
use crate::plan::{LogicalPlan, OutputColumn};
use crate::record::FieldValue;

pub(super) fn fold_constants(plan: LogicalPlan) -> LogicalPlan {
    let plan = plan.map_inputs(&mut fold_constants);
    match plan {
        LogicalPlan::Filter { input, predicate } => match simplify(predicate) {
            Expr::Literal { value: FieldValue::Boolean(true), .. } => *input,
            // FALSE or NULL: no record passes, so none need be read.
            Expr::Literal { .. } => LogicalPlan::Values { schema: input.schema().clone(), rows: Vec::new() },
            predicate => LogicalPlan::Filter { input, predicate },
        },
        LogicalPlan::Project { input, columns, schema } => {
            let columns = columns
                .into_iter()
                .map(|c| OutputColumn { expr: simplify(c.expr), target: c.target })
                .collect();
            LogicalPlan::Project { input, columns, schema }
        }
        LogicalPlan::Unnest { input, expr, outer, with_ordinality, schema } => {
            LogicalPlan::Unnest { input, expr: simplify(expr), outer, with_ordinality, schema }
        }
        // Not one row is wanted, so none is waited for.
        LogicalPlan::Limit { input, count: Some(0), .. } => {
            LogicalPlan::Values { schema: input.schema().clone(), rows: Vec::new() }
        }
        other => other,
    }
}

fn simplify(expr: Expr) -> Expr {
    fold(expr).transform(&mut |e| match e {
        Expr::And(items) => junction(items, true),
        Expr::Or(items) => junction(items, false),
        other => other,
    })
}

/// AND (`neutral` = TRUE) or OR (`neutral` = FALSE): operands that change nothing go, so do those behind one that decides.
fn junction(items: Vec<Expr>, neutral: bool) -> Expr {
    let literal = |e: &Expr| match e {
        Expr::Literal { value: FieldValue::Boolean(b), .. } => Some(*b),
        _ => None,
    };
    let mut kept: Vec<Expr> = Vec::with_capacity(items.len());
    for item in items {
        match literal(&item) {
            Some(b) if b == neutral => {}
            Some(_) => {
                if kept.iter().all(cannot_fail) {
                    return item;
                }
                kept.push(item);
                break;
            }
            None => kept.push(item),
        }
    }
    match kept.len() {
        0 => {
            Expr::Literal { value: FieldValue::Boolean(neutral), data_type: crate::record::DataType::Boolean }
        }
        1 => kept.swap_remove(0),
        _ if neutral => Expr::And(kept),
        _ => Expr::Or(kept),
    }
}
