//! When a query's results are emitted: EMIT, and what holds without it.

use super::{Emit, LogicalPlan, Stateful, Ttl};

/// What becomes of an operator that emits.
type Change<'f> = &'f dyn Fn(&mut Emit, bool);

/// Calls `change` for the operators whose results are those of the plan, with whether windows tell when they are final.
fn outermost(plan: LogicalPlan, change: Change<'_>) -> LogicalPlan {
    match plan {
        LogicalPlan::Stateful { input, mut spec } => {
            match &mut spec {
                Stateful::Aggregate(spec) => {
                    let windowed = spec.window.is_some();
                    change(&mut spec.emit, windowed);
                }
                Stateful::TopN(spec) if spec.limit < u64::MAX => {
                    let windowed = spec.window_end.is_some();
                    change(&mut spec.emit, windowed);
                }
                // All rows of each window in order is a sort.
                Stateful::TopN(_)
                | Stateful::Watermark(_)
                | Stateful::WindowTable(_)
                | Stateful::Over(_)
                | Stateful::Sort(_) => {
                    let input = Box::new(outermost(*input, change));
                    return LogicalPlan::Stateful { input, spec };
                }
            }
            LogicalPlan::Stateful { input, spec }
        }
        other => other.map_inputs(&mut |input| outermost(input, change)),
    }
}

/// Why a plan's results can't be emitted so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CantEmit {
    /// EMIT FINAL, but they are never final: groups or first rows of input that does not end, without a window.
    NeverFinal,
    /// EMIT CHANGES, but all rows are put in order when the last has come.
    Ordered,
}

/// The plan under an EMIT clause.
///
/// # Errors
/// If its results can't be emitted so.
pub fn with_emit(plan: LogicalPlan, emit: Emit) -> Result<LogicalPlan, CantEmit> {
    if emit != Emit::Final && is_ordered(&plan) {
        return Err(CantEmit::Ordered);
    }
    let endless = emit == Emit::Final && !plan.is_bounded();
    let never = std::cell::Cell::new(false);
    let plan = outermost(plan, &|known, windowed| {
        if endless && !windowed {
            never.set(true);
        }
        *known = emit;
    });
    if never.get() { Err(CantEmit::NeverFinal) } else { Ok(plan) }
}

/// Whether all rows are put in order, at the end or window by window.
fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Stateful { spec: Stateful::Sort(_), .. } => true,
        LogicalPlan::Stateful { spec: Stateful::TopN(spec), .. } => spec.limit == u64::MAX,
        LogicalPlan::Project { input, .. } | LogicalPlan::Limit { input, .. } => is_ordered(input),
        _ => false,
    }
}

/// The plan for a sink that takes changes: groups without window are told as they change, also where all input ends.
pub fn with_changes(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        // A condition, LIMIT or ORDER BY above takes the results for final.
        LogicalPlan::Filter { .. } | LogicalPlan::Limit { .. } | LogicalPlan::Unnest { .. } => plan,
        LogicalPlan::Stateful { spec: Stateful::Sort(_) | Stateful::Over(_), .. } => plan,
        LogicalPlan::Stateful { spec: Stateful::Aggregate(_) | Stateful::TopN(_), .. } => {
            outermost(plan, &|known, windowed| {
                if !windowed {
                    *known = Emit::Changes;
                }
            })
        }
        other => other.map_inputs(&mut with_changes),
    }
}

/// `emit_every = 'record'`: what is emitted as it changes is emitted after each record.
pub fn every_change(plan: LogicalPlan) -> LogicalPlan {
    let mut plan = plan.map_inputs(&mut every_change);
    let emit = match &mut plan {
        LogicalPlan::Stateful { spec: Stateful::Aggregate(spec), .. } => Some(&mut spec.emit),
        LogicalPlan::Stateful { spec: Stateful::TopN(spec), .. } => Some(&mut spec.emit),
        _ => None,
    };
    if let Some(emit) = emit.filter(|e| **e == Emit::Changes) {
        *emit = Emit::EveryChange;
    }
    plan
}

/// `state_ttl`: groups without a window that no row touches for so many µs are forgotten, by the watermark where the input has one;
/// so are the partitions of first rows; partitions of calls OVER begin anew.
pub fn with_ttl(plan: LogicalPlan, micros: i64) -> LogicalPlan {
    let mut plan = plan.map_inputs(&mut |input| with_ttl(input, micros));
    match &mut plan {
        LogicalPlan::Stateful { input, spec: Stateful::Aggregate(spec) } if spec.window.is_none() => {
            spec.ttl = Some(Ttl { micros, event_time: super::time_traits(input).has_watermark });
        }
        LogicalPlan::Stateful { input, spec: Stateful::TopN(spec) } if spec.window_end.is_none() => {
            spec.ttl = Some(Ttl { micros, event_time: super::time_traits(input).has_watermark });
        }
        LogicalPlan::Stateful { spec: Stateful::Over(spec), .. } if spec.streaming.is_some() => {
            spec.ttl = Some(micros);
        }
        _ => {}
    }
    plan
}
