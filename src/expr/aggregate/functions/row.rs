//! How a family writes its rows: an aggregate from signature, doc line, example, parameters, result and state.

use super::super::{Accumulator, AggregateCall, AggregateFunction, Retraction};
use crate::expr::{Arity, ReturnType};

/// A call, the rows that it sees, and its result.
pub(super) type Example = (&'static str, &'static str, &'static str);

/// One aggregate that skips NULL, does not depend on order, and retracts exactly; its name is what precedes the bracket.
pub(super) fn row(
    signature: &'static str,
    doc: &'static str,
    example: Example,
    arity: impl Into<Arity>,
    returns: impl Into<ReturnType>,
    make: impl Fn(&AggregateCall, bool) -> Accumulator + Send + Sync + 'static,
) -> AggregateFunction {
    AggregateFunction {
        name: signature.split_once('(').map_or(signature, |(name, _)| name),
        signature,
        doc,
        example,
        arity: arity.into(),
        returns: returns.into(),
        skips_null: true,
        retraction: Retraction::Exact,
        ordered: false,
        constants: false,
        within_group: false,
        make: Box::new(make),
    }
}

/// The same function, which keeps its values where they may leave again.
pub(super) fn keeps(mut function: AggregateFunction) -> AggregateFunction {
    function.retraction = Retraction::KeepsValues;
    function
}
