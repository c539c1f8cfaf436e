//! Rewrites of a logical plan that keep its result.
//!
//! The contract of all rules: for each record the rewritten plan gives the same rows in the same order, or fails only
//! where the plan as written fails too. It may evaluate *less* than written – a column that nobody wants, a
//! projection of a row that is filtered anyway – and so may meet fewer errors; it never evaluates an expression
//! earlier than a condition that guards it, never one twice that costs something, and a volatile one exactly where it stands.

mod filter;
mod fold;
mod merge;
mod prune;
mod tidy;

use super::LogicalPlan;

/// Applies all rules.
pub fn optimize(plan: LogicalPlan) -> LogicalPlan {
    let plan = fold::fold_constants(plan);
    let plan = filter::push_down(plan);
    let plan = merge::merge_projections(plan);
    // A projection that was in the way of a filter may be gone by now.
    let plan = fold::fold_constants(filter::push_down(plan));
    let plan = prune::prune_columns(plan);
    tidy::drop_no_ops(plan)
}
