//! Expressions whose values are DECIMAL.

use super::int::IntNode;
use super::node::{Node, column, mismatch};
use crate::expr::value::DecimalOp;
use crate::expr::{EvalContext, EvalResult};
use crate::record::{Decimal, FieldValue};

#[derive(Clone, Debug)]
pub(super) enum ExactNode {
    Column(usize),
    /// `None` is NULL.
    Const(Option<Decimal>),
    /// The last is the scale of the result.
    Binary(DecimalOp, Box<(ExactNode, ExactNode)>, u32),
    Negate(Box<ExactNode>),
    FromInt(IntNode),
    Value(Box<Node>),
}

impl ExactNode {
    #[inline]
    pub(super) fn eval<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Option<Decimal>> {
        match self {
            ExactNode::Column(index) => match exact(column(ctx, *index)) {
                Ok(d) => Ok(d),
                Err(v) => Err(mismatch(ctx, Some(*index), v, "a DECIMAL")),
            },
            ExactNode::Const(d) => Ok(*d),
            other => other.eval_rest(ctx),
        }
    }

    fn eval_rest<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Option<Decimal>> {
        Ok(match self {
            ExactNode::Binary(op, pair, scale) => match (pair.0.eval(ctx)?, pair.1.eval(ctx)?) {
                (Some(a), Some(b)) => Some(op.apply(&a, &b, *scale)?),
                _ => None,
            },
            ExactNode::Negate(node) => node.eval(ctx)?.map(|d| -d),
            ExactNode::FromInt(node) => node.eval(ctx)?.map(Decimal::from),
            ExactNode::Value(node) => {
                let value = node.eval(ctx)?;
                exact(&value).map_err(|v| mismatch(ctx, None, v, "a DECIMAL"))?
            }
            other => return other.eval(ctx),
        })
    }
}

/// The decimal inside; NULL is `None`; what is no exact number is given back.
#[inline]
fn exact(value: &FieldValue) -> Result<Option<Decimal>, &FieldValue> {
    match value {
        FieldValue::Decimal(d) => Ok(Some(*d)),
        FieldValue::Null => Ok(None),
        FieldValue::Integer(i) => Ok(Some(Decimal::from(*i))),
        other => Err(other),
    }
}
