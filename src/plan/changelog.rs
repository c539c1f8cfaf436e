//! Which plans give rows that change, and which output columns identify a row.

use super::{AggregateSpec, Emit, LatePolicy, LogicalPlan, OutputColumn, OutputTarget, Stateful, TopNSpec};
use crate::expr::{AggregateCall, Expr, Retraction, Volatility};

/// Whether the output holds rows other than inserts: updates of what was emitted before, deletions.
pub fn is_updating(plan: &LogicalPlan) -> bool {
    let input = plan.inputs().into_iter().any(is_updating);
    let LogicalPlan::Stateful { spec, .. } = plan else { return input };
    match spec {
        Stateful::Aggregate(spec) => aggregate_changes(spec),
        Stateful::TopN(spec) => top_n_changes(spec),
        Stateful::Sort(_) => false,
        Stateful::Watermark(_) | Stateful::WindowTable(_) | Stateful::Over(_) => input,
    }
}

/// What stands over rows that change but would take them for new ones: it can't be run yet.
pub fn misreads_changes(plan: &LogicalPlan) -> Option<&'static str> {
    let here = match plan {
        LogicalPlan::Stateful { spec: Stateful::TopN(spec), .. } if spec.retracts => None,
        LogicalPlan::Stateful { spec: Stateful::TopN(_) | Stateful::Sort(_), .. } => Some("ORDER BY"),
        LogicalPlan::Stateful { spec: Stateful::Over(_), .. } => Some("a call OVER"),
        LogicalPlan::Stateful { spec: Stateful::Aggregate(spec), .. }
            if spec.retracts && spec.window.is_none() =>
        {
            let stays = |call: &AggregateCall| call.retraction() == Retraction::Impossible;
            spec.calls.iter().any(stays).then_some("an aggregation that can't take rows back")
        }
        LogicalPlan::Stateful { .. } => Some("an aggregation"),
        // What passed once must pass again when it is taken back.
        LogicalPlan::Filter { predicate, .. } => (predicate.volatility() != Volatility::Immutable)
            .then_some("a condition that looks at the clock or at metadata"),
        LogicalPlan::Limit { .. } => Some("LIMIT"),
        _ => None,
    };
    let changes = plan.inputs().into_iter().any(is_updating);
    here.filter(|_| changes).or_else(|| plan.inputs().into_iter().find_map(misreads_changes))
}

/// Whether a top-N takes back what it emitted. Without an order the first rows to come are the first ones for good.
pub(super) fn top_n_changes(spec: &TopNSpec) -> bool {
    spec.emit != Emit::Final && (spec.retracts || !spec.order_by.is_empty())
}

/// Whether an aggregation takes back what it emitted.
pub(super) fn aggregate_changes(spec: &AggregateSpec) -> bool {
    match (spec.emit, &spec.window) {
        (Emit::Final, Some(window)) => window.late == LatePolicy::Update,
        (Emit::Final, None) => false,
        // A row of SELECT DISTINCT is told once and for all, unless rows can be taken back.
        (_, None) if spec.calls.is_empty() => spec.retracts,
        _ => true,
    }
}

/// The output columns that identify a row: the grouping columns and the window of the aggregation below. `None` if
/// there is no aggregation, or one of its columns is not in the output. A global aggregate has one row: no columns.
pub fn output_key(plan: &LogicalPlan) -> Option<Vec<usize>> {
    output_keys(plan).into_iter().next()
}

/// All sets of output columns that do, the fullest first.
fn output_keys(plan: &LogicalPlan) -> Vec<Vec<usize>> {
    match plan {
        LogicalPlan::Stateful { input, spec } => match spec {
            Stateful::Aggregate(spec) => {
                let keys = spec.keys.len();
                let with = |window: &[usize]| (0..keys).chain(window.iter().copied()).collect::<Vec<_>>();
                let Some(window) = &spec.window else { return vec![with(&[])] };
                let mut all = vec![with(&[keys, keys + 1])];
                // One of its columns may tell the window.
                if window.kind.start_tells() {
                    all.push(with(&[keys]));
                }
                if window.kind.end_tells() {
                    all.push(with(&[keys + 1]));
                }
                all
            }
            Stateful::TopN(_) | Stateful::Over(_) => Vec::new(),
            Stateful::Sort(_) | Stateful::Watermark(_) | Stateful::WindowTable(_) => output_keys(input),
        },
        LogicalPlan::Filter { input, .. } | LogicalPlan::Limit { input, .. } => output_keys(input),
        LogicalPlan::Project { input, columns, .. } => {
            let moved = |key: Vec<usize>| key.into_iter().map(|k| position(columns, k)).collect();
            output_keys(input).into_iter().filter_map(moved).collect()
        }
        LogicalPlan::Scan { .. }
        | LogicalPlan::Values { .. }
        | LogicalPlan::Unnest { .. }
        | LogicalPlan::Union { .. } => Vec::new(),
    }
}

/// Where a projection puts an input column unchanged.
fn position(columns: &[OutputColumn], wanted: usize) -> Option<usize> {
    let mut outputs = columns.iter().filter(|c| matches!(c.target, OutputTarget::Column(_)));
    outputs.position(|c| matches!(c.expr, Expr::Column { index, .. } if index == wanted))
}
