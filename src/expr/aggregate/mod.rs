//! Aggregate functions: what a query calls, and the registry that it is looked up in.
//!
//! State is addressed by the operator that owns it: an [`Accumulator`] for each group and call, which an
//! [`AggregateProgram`] – the compiled call – creates, feeds, merges and reads. Feeding can't fail: everything that
//! can go wrong with a record (its arguments, its FILTER) is found by [`AggregateProgram::evaluate`] before any
//! accumulator changes, and what is checked at output (overflow of a SUM) by [`AggregateProgram::finish`].

mod accumulator;
mod collect;
mod combine;
mod distinct;
mod exact_sum;
mod extreme;
mod functions;
mod key;
mod moments;
mod packed;
mod program;
mod rank;
mod regression;
mod rows;
mod sketch;
mod wide;

use std::sync::Arc;

pub use accumulator::{Accumulator, AggregateState};
pub use combine::Combine;
pub use packed::Packing;
pub use program::{AggregateInput, AggregateProgram};

pub(super) use functions::register_all;

use super::{Arity, Expr, ReturnType};
use crate::record::DataType;

/// What can be done with values that leave a group again (changelogs, sliding frames).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retraction {
    /// The state shrinks by the value, exactly.
    Exact,
    /// The state keeps every value that it needs to answer without the one that left (MIN, MAX, median …).
    KeepsValues,
    /// It can't be taken back (approximate sketches): refused at check where rows may be retracted.
    Impossible,
}

/// Makes the state of an empty group for a call. `true` asks for the variant that can take values back.
pub type MakeFn = dyn Fn(&AggregateCall, bool) -> Accumulator + Send + Sync;

/// One overload of an aggregate function.
pub struct AggregateFunction {
    /// Name in lower case.
    pub name: &'static str,
    /// Signature for people, e.g. `"sum(number)"`.
    pub signature: &'static str,
    /// One line without a final stop.
    pub doc: &'static str,
    /// A call over the columns `x` and `y`, their rows as VALUES has them, and the result as text: evaluated by a test.
    pub example: (&'static str, &'static str, &'static str),
    /// Parameters.
    pub arity: Arity,
    /// Result.
    pub returns: ReturnType,
    /// Whether rows whose first argument is NULL are passed over.
    pub skips_null: bool,
    /// Whether values can leave again.
    pub retraction: Retraction,
    /// Whether the result depends on the order of the rows (`array_agg`, `first_value`).
    pub ordered: bool,
    /// Whether all arguments but the value must be constant.
    pub constants: bool,
    /// Whether the values come from WITHIN GROUP (ORDER BY …). The state sees the value first, then the constants; the result type is derived from them in that order.
    pub within_group: bool,
    /// Empty state.
    pub make: Box<MakeFn>,
}

impl std::fmt::Debug for AggregateFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.signature)
    }
}
impl PartialEq for AggregateFunction {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// One item of an ORDER BY.
#[derive(Clone, Debug, PartialEq)]
pub struct SortKey {
    /// What is compared.
    pub expr: Expr,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST; NULLs are last by default, in both directions.
    pub nulls_first: bool,
}

/// A call of an aggregate function, bound and typed; arguments are expressions over the input of the aggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateCall {
    /// The function.
    pub function: Arc<AggregateFunction>,
    /// Arguments, cast to what the function wants; none = `count(*)`.
    pub args: Vec<Expr>,
    /// DISTINCT.
    pub distinct: bool,
    /// FILTER (WHERE …), a BOOLEAN.
    pub filter: Option<Expr>,
    /// ORDER BY inside the call, or WITHIN GROUP (ORDER BY …).
    pub order_by: Vec<SortKey>,
    /// Type of the result.
    pub data_type: DataType,
}

impl AggregateCall {
    /// The type of the value that is aggregated: of WITHIN GROUP or of the first argument.
    fn value_type(&self) -> DataType {
        let within = self.order_by.first().filter(|_| self.function.within_group).map(|k| &k.expr);
        within.or(self.args.first()).map_or(DataType::Null, Expr::data_type)
    }

    /// Whether its state holds every value, or every different one, so that it grows as rows come. `retracts`: values may leave again.
    pub(crate) fn keeps_values(&self, retracts: bool) -> bool {
        functions::empty_state(self, retracts).keeps_values()
    }

    /// Whether values can leave again, DISTINCT and ORDER BY included: DISTINCT counts what it has seen, and ORDER BY keeps all rows.
    pub fn retraction(&self) -> Retraction {
        match self.function.retraction {
            Retraction::Impossible => Retraction::Impossible,
            _ if self.distinct || (!self.order_by.is_empty() && self.function.ordered) => {
                Retraction::KeepsValues
            }
            other => other,
        }
    }
}
#[cfg(test)]
mod speed;
#[cfg(test)]
mod tests;
