//! The built-in aggregate functions: one file a family, one row an overload.
//!
//! NULLs, empty groups and result types are those of PostgreSQL 15, except that AVG of integers and everything about
//! variance is DOUBLE.

mod basic;
mod row;
mod statistics;
mod values;

use super::distinct::Distinct;
use super::rows::{Direction, Plan, Rows};
use super::{Accumulator, AggregateCall, Retraction, SortKey};
use crate::expr::FunctionRegistry;
use crate::record::DataType;

/// Adds every built-in aggregate to `registry`.
pub(in crate::expr) fn register_all(registry: &mut FunctionRegistry) {
    for function in [basic::functions(), statistics::functions(), values::functions()].into_iter().flatten() {
        registry.add_aggregate(function);
    }
}

/// Digits after the point of AVG(DECIMAL): six more, as for a quotient.
pub(super) fn mean_scale(scale: u8) -> u8 {
    (scale + 6).min(28)
}

/// The state of an empty group: the function's own, or one that keeps values for DISTINCT, ORDER BY or retraction.
pub(super) fn empty_state(call: &AggregateCall, retracts: bool) -> Accumulator {
    let function = &*call.function;
    let value = call.value_type();
    // A set has no order: it serves what does not depend on one.
    let set_suffices = !function.ordered && !value.is_float() && call.args.len() == 1;
    if call.distinct && set_suffices && call.order_by.is_empty() {
        let exact = function.retraction == Retraction::Exact;
        let inner = (function.make)(call, retracts);
        if exact || !retracts || inner.takes_back() {
            return Accumulator::boxed(Distinct::new(inner));
        }
    }
    let sorted = !call.order_by.is_empty() && !function.within_group;
    if call.distinct || sorted {
        return rows(call, (function.make)(call, false), false);
    }
    let own = (function.make)(call, retracts);
    if retracts && !own.takes_back() { rows(call, own, false) } else { own }
}

/// The rows, each with its number in the input behind its values.
pub(super) fn numbered_rows(call: &AggregateCall) -> Accumulator {
    rows(call, (call.function.make)(call, false), true)
}

/// The rows themselves, in front of the function's own state.
fn rows(call: &AggregateCall, empty: Accumulator, numbered: bool) -> Accumulator {
    let within = call.function.within_group;
    let direction = |k: &SortKey| Direction { descending: k.descending, nulls_first: k.nulls_first };
    let (args, order) = if within {
        (call.args.len() + call.order_by.len(), Vec::new())
    } else {
        (call.args.len(), call.order_by.iter().map(direction).collect())
    };
    Accumulator::boxed(Rows::new(Plan { args, order, distinct: call.distinct, numbered, empty }))
}

/// The scale of the values that a call aggregates.
fn scale_of(data_type: &DataType) -> u8 {
    match data_type {
        DataType::Decimal { scale, .. } => *scale,
        _ => 0,
    }
}
