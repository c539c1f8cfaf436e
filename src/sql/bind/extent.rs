//! Bounds how large a bound query can become. A short text can stand for a huge tree: a WITH that takes the one before it twice, an
//! alias within an alias, `*, *` of a subquery of the same form.

use super::{Bind, Bound, Session};
use crate::expr::Expr;
use crate::expr::typing::MAX_DEPTH;
use crate::plan::LogicalPlan;
use crate::sql::{Diagnostic, Span};

/// Operators and expression nodes of one statement.
const MAX_NODES: usize = 300_000;
/// Operators above each other: what binder and optimizer can walk on a stack of 2 MiB.
pub(super) const MAX_OPERATORS: usize = 128;
/// Views that read each other.
pub(super) const MAX_VIEWS: usize = 32;
/// Nodes of one expression after earlier items have been put into it.
const MAX_EXPANDED: usize = 10_000;

impl Session<'_, '_> {
    /// Counts parts that the statement gets without having been written out.
    pub(super) fn charge(&mut self, nodes: usize, at: Span) -> Bind<()> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let message = format!(
            "the statement is too large: with its views and WITH clauses it has more than {MAX_NODES} parts"
        );
        let hint = "write an intermediate result with INSERT INTO, and read that";
        Err(self.report(Diagnostic::new(message, at).with_hint(hint)))
    }

    /// A query that may be put into another one.
    pub(super) fn not_too_deep(&mut self, bound: Bound, at: Span) -> Bind<Bound> {
        if !plan_exceeds(&bound.plan, MAX_OPERATORS) {
            return Ok(bound);
        }
        Err(self.too_deep(at))
    }

    pub(super) fn too_deep(&mut self, at: Span) -> super::Reported {
        let message =
            format!("the query is nested too deeply: at most {MAX_OPERATORS} operators may feed each other");
        let hint = "write an intermediate result with INSERT INTO, and read that";
        self.report(Diagnostic::new(message, at).with_hint(hint))
    }
}

fn plan_exceeds(plan: &LogicalPlan, levels: usize) -> bool {
    match levels.checked_sub(1) {
        None => true,
        Some(below) => plan.inputs().into_iter().any(|input| plan_exceeds(input, below)),
    }
}

/// Operators and expression nodes.
pub(super) fn plan_nodes(plan: &LogicalPlan) -> usize {
    let exprs: usize = plan.exprs().into_iter().map(Expr::node_count).sum();
    1 + exprs + plan.inputs().into_iter().map(plan_nodes).sum::<usize>()
}

/// The expression with each column for which `put` has something replaced by that; `None` if it becomes too large or too deep.
pub(super) fn substituted<'e>(expr: &Expr, put: &dyn Fn(usize) -> Option<&'e Expr>) -> Option<Expr> {
    let mut nodes = 0usize;
    let mut inner = 0;
    expr.walk(&mut |e| {
        nodes += 1;
        if let Expr::Column { index, .. } = e
            && let Some(put) = put(*index)
        {
            nodes = nodes.saturating_add(put.node_count());
            inner = inner.max(put.depth());
        }
    });
    let fits = nodes <= MAX_EXPANDED && expr.depth() + inner <= MAX_DEPTH;
    fits.then(|| expr.replace_columns(&|i| put(i).cloned()))
}
