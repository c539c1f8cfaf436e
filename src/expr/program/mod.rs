//! Compiled expressions: a tree of nodes specialized by type, evaluated once per record.
//!
//! Numbers travel as machine words between nodes ([`int`], [`float`], [`exact`]), conditions as `Option<bool>`
//! ([`condition`]); everything else as a [`Datum`], which borrows from the record or the program where it can ([`node`]).

mod compile;
mod condition;
mod exact;
mod float;
mod int;
mod nested;
mod node;

use std::ops::Deref;

use super::{EvalContext, Expr};
use crate::record::{FieldValue, RecordError};
use node::Node;

/// Result of an evaluation; the error is boxed so that the good case stays small.
pub type EvalResult<T> = Result<T, Box<RecordError>>;

/// A value that is borrowed from record or program where possible.
#[derive(Clone, Debug)]
pub enum Datum<'a> {
    /// Borrowed.
    Ref(&'a FieldValue),
    /// Made by the evaluation.
    Own(FieldValue),
}

// What evaluation hands up is small.
const _: () = assert!(size_of::<EvalResult<Datum<'_>>>() == 24 && size_of::<EvalResult<Option<i64>>>() == 16);

impl Deref for Datum<'_> {
    type Target = FieldValue;
    #[inline]
    fn deref(&self) -> &FieldValue {
        match self {
            Datum::Ref(v) => v,
            Datum::Own(v) => v,
        }
    }
}

impl Datum<'_> {
    /// The value itself, cloned if it is borrowed.
    #[inline]
    pub fn into_owned(self) -> FieldValue {
        match self {
            Datum::Ref(v) => v.clone(),
            Datum::Own(v) => v,
        }
    }
}

/// A compiled expression. Immutable and shared between threads.
#[derive(Clone, Debug)]
pub struct Program {
    root: Node,
}

impl Program {
    /// Compiles an expression, folding what is constant.
    pub fn compile(expr: &Expr) -> Self {
        Self::compile_as_is(&super::fold(expr.clone()))
    }

    /// Compiles without folding.
    pub(super) fn compile_as_is(expr: &Expr) -> Self {
        Self { root: compile::node(expr) }
    }

    /// The column that this is, if it is nothing else: the value can then be moved instead of evaluated.
    pub fn as_column(&self) -> Option<usize> {
        match self.root {
            Node::Column(index) => Some(index),
            _ => None,
        }
    }

    /// The value, if it is the same for all records.
    pub fn as_constant(&self) -> Option<&FieldValue> {
        match &self.root {
            Node::Const(value) => Some(value),
            _ => None,
        }
    }

    /// Evaluates it for one record.
    ///
    /// # Errors
    /// A record error: overflow, division by zero, failed cast, bad argument.
    #[inline]
    pub fn eval<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Datum<'a>> {
        self.root.eval(ctx)
    }

    /// Evaluates a condition: TRUE, FALSE or unknown.
    ///
    /// # Errors
    /// As [`eval`](Self::eval).
    #[inline]
    pub fn eval_bool<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Option<bool>> {
        match &self.root {
            Node::Condition(condition) => condition.eval(ctx),
            other => condition::truth(&*other.eval(ctx)?),
        }
    }
}

#[cfg(test)]
mod speed;
#[cfg(test)]
mod tests;
