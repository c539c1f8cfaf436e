//! Filters move towards the source, as far as that changes no result and adds no error.
//!
//! The conjuncts of a predicate are evaluated left to right and guard each other: one may pass another that stays behind only if it
//! can't fail.

use super::super::walk::{cannot_fail, is_plain, is_volatile, system_columns};
use crate::expr::typing::MAX_DEPTH;
use crate::expr::{BinaryOp, Expr, SystemColumn, UnaryOp};
use crate::plan::{LogicalPlan, OutputColumn, OutputTarget, Stateful, WindowKind};
use crate::record::DataType;

pub(super) fn push_down(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Filter { input, predicate } => push(*input, predicate),
        other => other.map_inputs(&mut push_down),
    }
}

/// A plan that does what `Filter { input, predicate }` does.
fn push(input: LogicalPlan, predicate: Expr) -> LogicalPlan {
    match input {
        LogicalPlan::Filter { input, predicate: first } => push(*input, both(first, predicate)),
        LogicalPlan::Project { input, columns, schema } => {
            let (down, stay) = split(predicate, |c| below_project(c, &columns));
            let input = match conjunction(down) {
                Some(down) => push(*input, substitute(&down, &columns)),
                None => push_down(*input),
            };
            filtered(LogicalPlan::Project { input: Box::new(input), columns, schema }, stay)
        }
        LogicalPlan::Union { inputs, schema } => {
            let inputs = inputs.into_iter().map(|i| push(i, predicate.clone())).collect();
            LogicalPlan::Union { inputs, schema }
        }
        LogicalPlan::Unnest { input, expr, outer, with_ordinality, schema } => {
            let width = input.schema().len();
            // Below, it also meets records whose array is empty: it must not fail on them.
            let movable = |c: &Expr| cannot_fail(c) && c.columns_used().into_iter().all(|i| i < width);
            let (down, stay) = split(predicate, movable);
            let input = match conjunction(down) {
                Some(down) => push(*input, down),
                None => push_down(*input),
            };
            filtered(
                LogicalPlan::Unnest { input: Box::new(input), expr, outer, with_ordinality, schema },
                stay,
            )
        }
        LogicalPlan::Stateful { input, spec } => {
            let (down, stay) = split(predicate, |c| passes(c, &spec, input.schema().len()));
            let down = conjunction(down).map(|c| match &spec {
                Stateful::Aggregate(spec) => c.replace_columns(&|i| spec.keys.get(i).cloned()),
                _ => c,
            });
            let input = match down {
                Some(down) => push(*input, down),
                None => push_down(*input),
            };
            filtered(LogicalPlan::Stateful { input: Box::new(input), spec }, stay)
        }
        other => {
            let input = Box::new(push_down(other));
            LogicalPlan::Filter { input, predicate }
        }
    }
}

/// Whether a condition on a stateful operator's output may be checked on its input. It must not fail there: it meets
/// more rows below. What sees other rows than the one at hand (watermarks, ranks, frames) must go on seeing all.
fn passes(conjunct: &Expr, spec: &Stateful, inner: usize) -> bool {
    let used = conjunct.columns_used();
    let below = |n: usize| used.iter().all(|i| *i < n);
    // Without a key there is one group, which is there without rows too.
    let safe = cannot_fail(conjunct) && !used.is_empty() && system_columns(conjunct).is_empty();
    safe && match spec {
        Stateful::Aggregate(spec) => {
            let keys = used.iter().filter_map(|i| spec.keys.get(*i));
            let deepest = keys.clone().map(Expr::depth).max().unwrap_or(0);
            below(spec.keys.len())
                && conjunct.depth() + deepest <= MAX_DEPTH
                && spec.grouping_sets.is_empty()
                && !keys.into_iter().any(is_volatile)
        }
        // Without a row a session may end elsewhere.
        Stateful::WindowTable(spec) if matches!(spec.window.kind, WindowKind::Session { .. }) => false,
        Stateful::WindowTable(_) | Stateful::Sort(_) => below(inner),
        Stateful::Watermark(_) | Stateful::Over(_) | Stateful::TopN(_) => false,
    }
}

fn filtered(input: LogicalPlan, conjuncts: Vec<Expr>) -> LogicalPlan {
    match conjunction(conjuncts) {
        Some(predicate) => LogicalPlan::Filter { input: Box::new(input), predicate },
        None => input,
    }
}

/// The conjuncts that may go below, and those that stay.
fn split(predicate: Expr, movable: impl Fn(&Expr) -> bool) -> (Vec<Expr>, Vec<Expr>) {
    let conjuncts = match predicate {
        Expr::And(items) => items,
        other => vec![other],
    };
    let (mut down, mut stay) = (Vec::new(), Vec::new());
    for conjunct in conjuncts {
        if movable(&conjunct) && (stay.is_empty() || cannot_fail(&conjunct)) {
            down.push(conjunct);
        } else {
            stay.push(conjunct);
        }
    }
    (down, stay)
}

fn conjunction(mut conjuncts: Vec<Expr>) -> Option<Expr> {
    match conjuncts.len() {
        0 => None,
        1 => conjuncts.pop(),
        _ => Some(Expr::And(conjuncts)),
    }
}

/// Whether a conjunct reads only what the projection takes as it is, so that nothing is computed twice.
fn below_project(conjunct: &Expr, columns: &[OutputColumn]) -> bool {
    let sets = |s: SystemColumn| columns.iter().any(|c| c.target == OutputTarget::System(s));
    let outputs = output_exprs(columns);
    let plain = |i: usize| outputs.get(i).is_some_and(|e| is_plain(e));
    conjunct.columns_used().into_iter().all(plain) && !system_columns(conjunct).into_iter().any(sets)
}

/// What each output column of a projection is.
pub(super) fn output_exprs(columns: &[OutputColumn]) -> Vec<&Expr> {
    columns.iter().filter(|c| matches!(c.target, OutputTarget::Column(_))).map(|c| &c.expr).collect()
}

/// An expression over a projection's output as one over its input.
pub(super) fn substitute(expr: &Expr, columns: &[OutputColumn]) -> Expr {
    let outputs = output_exprs(columns);
    expr.replace_columns(&|i| outputs.get(i).map(|e| (*e).clone()))
}

/// Both conditions in one: `first` is evaluated first, and unless it is TRUE `then` is not evaluated.
fn both(first: Expr, then: Expr) -> Expr {
    let mut items = match first {
        Expr::And(items) => items,
        other => vec![other],
    };
    if !cannot_fail(&then) {
        // AND goes on behind NULL, two filters do not.
        items = items.into_iter().map(is_true).collect();
    }
    match then {
        Expr::And(more) => items.extend(more),
        other => items.push(other),
    }
    Expr::And(items)
}

fn is_true(condition: Expr) -> Expr {
    use UnaryOp as U;
    let never_null = match &condition {
        Expr::Unary { op, .. } => !matches!(op, U::Not | U::Negate | U::BitNot),
        Expr::Binary { op, .. } => matches!(op, BinaryOp::IsDistinctFrom | BinaryOp::IsNotDistinctFrom),
        Expr::Literal { value, .. } => !value.is_null(),
        _ => false,
    };
    if never_null {
        return condition;
    }
    Expr::Unary { op: U::IsTrue, expr: Box::new(condition), data_type: DataType::Boolean }
}
