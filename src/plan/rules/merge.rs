//! Two projections become one where nothing is then evaluated more often.

use super::super::walk::{is_plain, is_volatile, system_columns};
use super::filter::{output_exprs, substitute};
use crate::expr::Expr;
use crate::expr::typing::MAX_DEPTH;
use crate::plan::{LogicalPlan, OutputColumn, OutputTarget};

pub(super) fn merge_projections(plan: LogicalPlan) -> LogicalPlan {
    let plan = plan.map_inputs(&mut merge_projections);
    let LogicalPlan::Project { input, columns, schema } = plan else { return plan };
    match *input {
        LogicalPlan::Project { input, columns: inner, schema: _ } if fits(&columns, &inner) => {
            let merged = compose(columns, inner);
            LogicalPlan::Project { input, columns: merged, schema }
        }
        other => LogicalPlan::Project { input: Box::new(other), columns, schema },
    }
}

/// Whether the outer projection can take the inner one's expressions into itself.
fn fits(outer: &[OutputColumn], inner: &[OutputColumn]) -> bool {
    let sets = |c: &OutputColumn| match c.target {
        OutputTarget::System(system) => Some(system),
        OutputTarget::Column(_) => None,
    };
    let set: Vec<_> = inner.iter().filter_map(sets).collect();
    let reads_set = |e: &Expr| system_columns(e).iter().any(|s| set.contains(s));
    if outer.iter().any(|c| reads_set(&c.expr)) {
        return false;
    }
    let deepest = |columns: &[OutputColumn]| columns.iter().map(|c| c.expr.depth()).max().unwrap_or(0);
    if deepest(outer) + deepest(inner) > MAX_DEPTH {
        return false;
    }
    let mut uses = vec![0usize; inner.len()];
    // Uses that are more than a plain mention: there a volatile expression might be skipped.
    let mut inside = vec![false; inner.len()];
    for column in outer {
        column.expr.walk(&mut |e| {
            if let Expr::Column { index, .. } = e
                && let (Some(n), Some(deep)) = (uses.get_mut(*index), inside.get_mut(*index))
            {
                *n += 1;
                *deep |= !is_plain(&column.expr);
            }
        });
    }
    output_exprs(inner)
        .into_iter()
        .zip(uses.iter().zip(inside))
        .all(|(expr, (n, deep))| is_plain(expr) || *n <= 1 && !(deep && is_volatile(expr)))
}

fn compose(outer: Vec<OutputColumn>, inner: Vec<OutputColumn>) -> Vec<OutputColumn> {
    let mut merged: Vec<OutputColumn> = outer
        .into_iter()
        .map(|c| OutputColumn { expr: substitute(&c.expr, &inner), target: c.target })
        .collect();
    for column in inner {
        let system = matches!(column.target, OutputTarget::System(_));
        // What the outer one sets anew is as if it had never been set.
        if system && !merged.iter().any(|c| c.target == column.target) {
            merged.push(column);
        }
    }
    merged
}
