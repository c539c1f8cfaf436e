//! The built-in aggregate functions: one file a family, one row an overload.
//!
//! NULLs, empty groups and result types are those of PostgreSQL 15, except that AVG of integers and everything about
//! variance is DOUBLE.

mod basic;
mod row;

use super::{Accumulator, AggregateCall};
use crate::expr::FunctionRegistry;
use crate::record::DataType;

/// Adds every built-in aggregate to `registry`.
pub(in crate::expr) fn register_all(registry: &mut FunctionRegistry) {
    for function in [basic::functions()].into_iter().flatten() {
        registry.add_aggregate(function);
    }
}

/// Digits after the point of AVG(DECIMAL): six more, as for a quotient.
pub(super) fn mean_scale(scale: u8) -> u8 {
    (scale + 6).min(28)
}

/// The state of an empty group.
pub(super) fn empty_state(call: &AggregateCall, retracts: bool) -> Accumulator {
    (call.function.make)(call, retracts)
}

/// The scale of the values that a call aggregates.
fn scale_of(data_type: &DataType) -> u8 {
    match data_type {
        DataType::Decimal { scale, .. } => *scale,
        _ => 0,
    }
}
