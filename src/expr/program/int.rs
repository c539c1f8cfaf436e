//! Expressions whose values are 64-bit integers: the integer types, DATE, TIME and TIMESTAMP.

use super::node::{Node, column, mismatch};
use crate::expr::value::{IntOp, add_interval, add_time, failed, negate_interval, overflow};
use crate::expr::{CastMode, EvalContext, EvalResult};
use crate::record::text::MICROS_PER_DAY;
use crate::record::{ErrorCode, FieldValue};

/// What the integer stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntKind {
    Integer,
    Date,
    Time,
    Timestamp,
}

impl IntKind {
    #[inline]
    pub(super) fn value(self, i: Option<i64>) -> EvalResult<FieldValue> {
        Ok(match (self, i) {
            (_, None) => FieldValue::Null,
            (IntKind::Integer, Some(i)) => FieldValue::Integer(i),
            (IntKind::Timestamp, Some(i)) => FieldValue::Timestamp(i),
            (IntKind::Time, Some(i)) => FieldValue::Time(i),
            (IntKind::Date, Some(i)) => FieldValue::Date(i32::try_from(i).map_err(|_| overflow("DATE"))?),
        })
    }
}

#[derive(Clone, Debug)]
pub(super) enum IntNode {
    Column(usize),
    /// `None` is NULL.
    Const(Option<i64>),
    Binary(IntOp, Box<(IntNode, IntNode)>),
    BinaryConst(IntOp, Box<IntNode>, i64),
    Negate(Box<IntNode>),
    BitNot(Box<IntNode>),
    /// A cast to a narrower type: its least and largest value and its name.
    Narrow(Box<IntNode>, i64, i64, &'static str, CastMode),
    DateToTimestamp(Box<IntNode>),
    /// A timestamp moved by a constant without months.
    Moved(Box<IntNode>, i64),
    TimestampToDate(Box<IntNode>),
    /// Calendar arithmetic; with `true` the interval is subtracted.
    TimestampInterval(Box<(IntNode, Node)>, bool),
    TimeInterval(Box<(IntNode, Node)>, bool),
    Value(Box<Node>),
}

impl IntNode {
    #[inline]
    pub(super) fn eval<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Option<i64>> {
        match self {
            IntNode::Column(index) => match integer(column(ctx, *index)) {
                Ok(i) => Ok(i),
                Err(v) => Err(mismatch(ctx, Some(*index), v, "an integer")),
            },
            IntNode::Const(i) => Ok(*i),
            other => other.eval_rest(ctx),
        }
    }

    fn eval_rest<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Option<i64>> {
        Ok(match self {
            IntNode::Column(_) | IntNode::Const(_) => return self.eval(ctx),
            IntNode::Binary(op, pair) => match (pair.0.eval(ctx)?, pair.1.eval(ctx)?) {
                (Some(a), Some(b)) => Some(op.apply(a, b)?),
                _ => None,
            },
            IntNode::BinaryConst(op, left, right) => match left.eval(ctx)? {
                Some(a) => Some(op.apply(a, *right)?),
                None => None,
            },
            IntNode::Negate(node) => match node.eval(ctx)? {
                Some(i) => Some(i.checked_neg().ok_or_else(|| overflow("BIGINT"))?),
                None => None,
            },
            IntNode::BitNot(node) => node.eval(ctx)?.map(|i| !i),
            IntNode::Narrow(node, low, high, to, mode) => match node.eval(ctx)? {
                Some(i) if i < *low || i > *high => match mode {
                    CastMode::Strict => {
                        return Err(failed(ErrorCode::InvalidCast, format!("{i} is out of range for {to}")));
                    }
                    CastMode::Try => None,
                },
                other => other,
            },
            IntNode::DateToTimestamp(node) => match node.eval(ctx)? {
                Some(d) => Some(d.checked_mul(MICROS_PER_DAY).ok_or_else(|| overflow("TIMESTAMP"))?),
                None => None,
            },
            IntNode::Moved(node, micros) => match node.eval(ctx)? {
                Some(t) => Some(t.checked_add(*micros).ok_or_else(|| overflow("TIMESTAMP"))?),
                None => None,
            },
            IntNode::TimestampToDate(node) => node.eval(ctx)?.map(|t| t.div_euclid(MICROS_PER_DAY)),
            IntNode::TimestampInterval(pair, subtract) => {
                match (pair.0.eval(ctx)?, pair.1.eval(ctx)?.deref_interval()) {
                    (Some(t), Some(i)) if *subtract => Some(add_interval(t, &negate_interval(&i)?)?),
                    (Some(t), Some(i)) => Some(add_interval(t, &i)?),
                    _ => None,
                }
            }
            IntNode::TimeInterval(pair, subtract) => {
                match (pair.0.eval(ctx)?, pair.1.eval(ctx)?.deref_interval()) {
                    (Some(t), Some(i)) if *subtract => Some(add_time(t, &negate_interval(&i)?)),
                    (Some(t), Some(i)) => Some(add_time(t, &i)),
                    _ => None,
                }
            }
            IntNode::Value(node) => {
                let value = node.eval(ctx)?;
                integer(&value).map_err(|v| mismatch(ctx, None, v, "an integer"))?
            }
        })
    }
}

/// The integer inside; NULL is `None`; another type is given back.
#[inline]
fn integer(value: &FieldValue) -> Result<Option<i64>, &FieldValue> {
    match value {
        FieldValue::Integer(i) | FieldValue::Timestamp(i) | FieldValue::Time(i) => Ok(Some(*i)),
        FieldValue::Date(d) => Ok(Some(i64::from(*d))),
        FieldValue::Null => Ok(None),
        other => Err(other),
    }
}
