//! Expressions whose values are doubles.

use super::exact::ExactNode;
use super::int::IntNode;
use super::node::{Node, column, mismatch};
use crate::expr::value::{FloatOp, decimal_to_f64};
use crate::expr::{EvalContext, EvalResult};
use crate::record::FieldValue;

#[derive(Clone, Debug)]
pub(super) enum FloatNode {
    Column(usize),
    /// `None` is NULL.
    Const(Option<f64>),
    Binary(FloatOp, Box<(FloatNode, FloatNode)>),
    Negate(Box<FloatNode>),
    FromInt(IntNode),
    FromExact(ExactNode),
    Value(Box<Node>),
}

impl FloatNode {
    #[inline]
    pub(super) fn eval<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Option<f64>> {
        match self {
            FloatNode::Column(index) => match float(column(ctx, *index)) {
                Ok(x) => Ok(x),
                Err(v) => Err(mismatch(ctx, Some(*index), v, "a DOUBLE")),
            },
            FloatNode::Const(x) => Ok(*x),
            other => other.eval_rest(ctx),
        }
    }

    fn eval_rest<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Option<f64>> {
        Ok(match self {
            FloatNode::Binary(op, pair) => match (pair.0.eval(ctx)?, pair.1.eval(ctx)?) {
                (Some(a), Some(b)) => Some(op.apply(a, b)?),
                _ => None,
            },
            FloatNode::Negate(node) => node.eval(ctx)?.map(|x| -x),
            FloatNode::FromInt(node) => node.eval(ctx)?.map(|i| i as f64),
            FloatNode::FromExact(node) => node.eval(ctx)?.map(|d| decimal_to_f64(&d)),
            FloatNode::Value(node) => {
                let value = node.eval(ctx)?;
                float(&value).map_err(|v| mismatch(ctx, None, v, "a DOUBLE"))?
            }
            other => return other.eval(ctx),
        })
    }
}

/// The double inside; NULL is `None`; what is no number is given back.
#[inline]
fn float(value: &FieldValue) -> Result<Option<f64>, &FieldValue> {
    match value {
        FieldValue::Float(x) => Ok(Some(*x)),
        FieldValue::Null => Ok(None),
        // A reader may set whole numbers as integers.
        FieldValue::Integer(i) => Ok(Some(*i as f64)),
        FieldValue::Decimal(d) => Ok(Some(decimal_to_f64(d))),
        other => Err(other),
    }
}
