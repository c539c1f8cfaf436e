//! The state of one aggregate call in one group.

use super::super::{Datum, EvalResult};
use crate::record::FieldValue;

/// State that does not fit into an [`Accumulator`] itself: values kept, sketches, user functions.
pub trait AggregateState: std::fmt::Debug + Send + Sync {
    /// Takes the arguments of one row.
    fn update(&mut self, args: &[Datum<'_>]);
    /// Takes them back.
    fn retract(&mut self, args: &[Datum<'_>]);
    /// Takes everything that another state of the same call holds; its rows come after those of `self`.
    fn merge(&mut self, other: &dyn AggregateState);
    /// The result.
    ///
    /// # Errors
    /// What is only known at output, e.g. overflow.
    fn finish(&self) -> EvalResult<FieldValue>;
    /// Everything, as values, for a snapshot.
    fn to_values(&self) -> Vec<FieldValue>;
    /// An independent copy.
    fn boxed_clone(&self) -> Box<dyn AggregateState>;
    /// Memory beyond the box, in bytes (estimate).
    fn heap_bytes(&self) -> usize;
    /// For `merge`, which meets its own type only.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// The state of one aggregate call in one group. At most 32 bytes, so that a group's accumulators lie side by side.
#[derive(Debug)]
pub enum Accumulator {
    /// `count`.
    Count(i64),
    /// Everything that needs more room.
    Boxed(Box<dyn AggregateState>),
}

impl Clone for Accumulator {
    fn clone(&self) -> Self {
        match self {
            Accumulator::Count(n) => Accumulator::Count(*n),
            Accumulator::Boxed(state) => Accumulator::Boxed(state.boxed_clone()),
        }
    }
}

const _: () = assert!(size_of::<Accumulator>() <= 32);
