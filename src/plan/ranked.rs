//! `ROW_NUMBER() OVER (…) AS n … WHERE n <= k` keeps the first k rows of each partition: a top-N instead of all rows.

use super::{
    Emit, LogicalPlan, OutputTarget, OverFunction, OverSpec, Stateful, TopNSpec, WindowPart, is_updating,
    time_traits,
};
use crate::expr::{BinaryOp, Expr, typing};
use crate::record::{FieldValue, Interval};

/// The row numbers that a condition lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ranks {
    low: u64,
    high: Option<u64>,
}

/// The same plan, with a top-N in place of row numbers that the condition at its top bounds from above. Rows with a
/// rank computed as the watermark passes stay as they are, which are told once and for all, but for ranks within windows:
/// those are forgotten with the window.
pub(crate) fn ranked(plan: LogicalPlan) -> LogicalPlan {
    let LogicalPlan::Filter { input, predicate } = plan else { return plan };
    let conjuncts = match predicate {
        Expr::And(items) => items,
        other => vec![other],
    };
    let rank = |c: &Expr| {
        let (column, ranks) = bounded(c)?;
        numbers(&input, column).map(|_| ranks)
    };
    let ranks = conjuncts.iter().filter_map(rank).fold(Ranks { low: 1, high: None }, Ranks::and);
    let Some(high) = ranks.high else { return filtered(*input, conjuncts) };
    let rest = conjuncts.iter().filter(|c| rank(c).is_none()).cloned().collect();
    if high < ranks.low {
        return LogicalPlan::Values { schema: input.schema().clone(), rows: Vec::new() };
    }
    filtered(replaced(*input, ranks.low - 1, high - ranks.low + 1), rest)
}

impl Ranks {
    fn and(self, other: Self) -> Self {
        let high = match (self.high, other.high) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self { low: self.low.max(other.low), high }
    }
}

/// `n <= 3` and the like: the column and the ranks that pass.
fn bounded(conjunct: &Expr) -> Option<(usize, Ranks)> {
    let Expr::Binary { op, left, right, .. } = conjunct else { return None };
    let (index, op, value) = match (&**left, &**right) {
        (Expr::Column { index, .. }, Expr::Literal { value, .. }) => (*index, *op, value),
        (Expr::Literal { value, .. }, Expr::Column { index, .. }) => (*index, turned(*op), value),
        _ => return None,
    };
    let FieldValue::Integer(n) = value else { return None };
    // No rank is below 1.
    let at = |n: i64| u64::try_from(n).unwrap_or(0);
    let (low, high) = match op {
        BinaryOp::LessEq => (1, Some(at(*n))),
        BinaryOp::Less => (1, Some(at(n.checked_sub(1)?))),
        BinaryOp::Eq => (at(*n).max(1), Some(at(*n))),
        BinaryOp::GreaterEq => (at(*n).max(1), None),
        BinaryOp::Greater => (at(n.checked_add(1)?).max(1), None),
        _ => return None,
    };
    Some((index, Ranks { low, high }))
}

fn turned(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEq => BinaryOp::GreaterEq,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterEq => BinaryOp::LessEq,
        other => other,
    }
}

/// The operator that numbers the rows in that column, if there is nothing between but projections and conditions.
fn numbers(plan: &LogicalPlan, column: usize) -> Option<&OverSpec> {
    match plan {
        LogicalPlan::Filter { input, .. } => numbers(input, column),
        LogicalPlan::Project { input, columns, .. } => {
            let mut outputs = columns.iter().filter(|c| matches!(c.target, OutputTarget::Column(_)));
            match &outputs.nth(column)?.expr {
                Expr::Column { index, .. } => numbers(input, *index),
                _ => None,
            }
        }
        LogicalPlan::Stateful { input, spec: Stateful::Over(spec) } => {
            let told_with_windows = || window_end(input, &spec.partition_by).is_some();
            let only = spec.calls == [OverFunction::RowNumber];
            let only = only && (spec.streaming.is_none() || input.is_bounded() || told_with_windows());
            (only && column + 1 == spec.schema.len()).then_some(spec)
        }
        _ => None,
    }
}

/// The plan with a top-N in place of the operator that numbers rows.
fn replaced(plan: LogicalPlan, offset: u64, limit: u64) -> LogicalPlan {
    match plan {
        LogicalPlan::Stateful { input, spec: Stateful::Over(spec) } => {
            let spec = top_n(&input, *spec, offset, limit);
            let input = if spec.window_end.is_some() { Box::new(input.judging_lateness()) } else { input };
            LogicalPlan::Stateful { input, spec: Stateful::TopN(spec) }
        }
        other => other.map_inputs(&mut |input| replaced(input, offset, limit)),
    }
}

fn top_n(input: &LogicalPlan, spec: OverSpec, offset: u64, limit: u64) -> TopNSpec {
    let OverSpec { partition_by, order_by, schema, .. } = spec;
    let window_end = window_end(input, &partition_by);
    let emit = if window_end.is_some() || input.is_bounded() { Emit::Final } else { Emit::Changes };
    let retracts = is_updating(input);
    TopNSpec {
        partition_by,
        order_by,
        limit,
        offset,
        with_rank: true,
        window_end,
        emit,
        retracts,
        ttl: None,
        schema,
    }
}

/// When the ranks of a partition are final, where rows are partitioned by their window: its end and what is allowed for late rows.
pub(crate) fn window_end(input: &LogicalPlan, partition_by: &[Expr]) -> Option<Expr> {
    let traits = time_traits(input);
    let window = traits.window.as_ref().filter(|_| traits.has_watermark)?;
    let part = |wanted: WindowPart| partition_by.iter().find(|e| window.part(e) == Some(wanted));
    let end = match (part(WindowPart::End), part(WindowPart::Start)) {
        (Some(end), _) => end.clone(),
        // The start tells the end, which must be there.
        (None, Some(_)) if window.kind.start_tells() => typing::column(input.schema(), window.end?).ok()?,
        _ => return None,
    };
    if traits.lateness == 0 {
        return Some(end);
    }
    let lateness = FieldValue::Interval(Interval { months: 0, days: 0, micros: traits.lateness });
    typing::binary(BinaryOp::Add, end, typing::literal(lateness)).ok()
}

fn filtered(input: LogicalPlan, mut conjuncts: Vec<Expr>) -> LogicalPlan {
    let predicate = match conjuncts.len() {
        0 => return input,
        1 => conjuncts.remove(0),
        _ => Expr::And(conjuncts),
    };
    LogicalPlan::Filter { input: Box::new(input), predicate }
}
