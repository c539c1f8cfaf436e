//! Nodes of any type.

use std::sync::Arc;

use super::condition::Condition;
use super::exact::ExactNode;
use super::float::FloatNode;
use super::int::{IntKind, IntNode};
use super::nested;
use crate::expr::value::{divide_interval, failed, multiply_interval, negate_interval, plus_interval, since};
use crate::expr::{CastMode, Datum, EvalContext, EvalResult, FunctionSpec, SystemColumn, cast_value_from};
use crate::record::{CompactString, DataType, ErrorCode, FieldValue, Interval, RecordError};

#[derive(Clone, Debug)]
pub(super) enum Node {
    Column(usize),
    Const(FieldValue),
    System(SystemColumn),
    Condition(Box<Condition>),
    Int(IntKind, Box<IntNode>),
    Float(Box<FloatNode>),
    Exact(Box<ExactNode>),
    Interval(IntervalOp, Box<(Node, Node)>),
    /// Strings, one after the other.
    Concat(Box<[Node]>),
    /// Two arrays, or two byte strings.
    Append(Box<(Node, Node)>),
    Case(Box<[(Condition, Node)]>, Box<Node>),
    Coalesce(Box<[Node]>),
    Cast(Box<CastNode>),
    Call(Arc<FunctionSpec>, Box<[Node]>),
    Header(Box<Node>),
    Nested(Box<nested::NestedNode>),
}

#[derive(Clone, Debug)]
pub(super) struct CastNode {
    pub(super) node: Node,
    pub(super) from: DataType,
    pub(super) to: DataType,
    pub(super) mode: CastMode,
}

/// Operators that give an INTERVAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntervalOp {
    /// Between two timestamps.
    Since,
    /// Between two times of day.
    TimeSince,
    Add,
    Subtract,
    /// The second operand is not used.
    Negate,
    /// By a DOUBLE, on the right.
    Multiply,
    Divide,
}

impl Node {
    #[inline]
    pub(super) fn eval<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Datum<'a>> {
        match self {
            Node::Column(index) => Ok(Datum::Ref(column(ctx, *index))),
            Node::Const(value) => Ok(Datum::Ref(value)),
            other => other.eval_rest(ctx),
        }
    }

    fn eval_rest<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Datum<'a>> {
        Ok(Datum::Own(match self {
            Node::Column(_) | Node::Const(_) => return self.eval(ctx),
            Node::Int(kind, node) => kind.value(node.eval(ctx)?)?,
            Node::Float(node) => node.eval(ctx)?.into(),
            Node::Exact(node) => node.eval(ctx)?.into(),
            Node::Condition(condition) => condition.eval(ctx)?.into(),
            Node::Case(branches, otherwise) => {
                for (condition, result) in branches {
                    if condition.eval(ctx)? == Some(true) {
                        return result.eval(ctx);
                    }
                }
                return otherwise.eval(ctx);
            }
            Node::Coalesce(items) => {
                for item in items {
                    let value = item.eval(ctx)?;
                    if !value.is_null() {
                        return Ok(value);
                    }
                }
                FieldValue::Null
            }
            Node::Call(function, args) => call(function, args, ctx)?,
            Node::Concat(items) => concat(items, ctx)?,
            Node::Cast(cast) => return cast.eval(ctx),
            Node::System(column) => return system(*column, ctx),
            Node::Header(name) => header(name.eval(ctx)?.as_str(), ctx)?,
            Node::Interval(op, sides) => {
                let (a, b) = (sides.0.eval(ctx)?, sides.1.eval(ctx)?);
                interval(*op, &a, &b, ctx)?
            }
            Node::Append(sides) => nested::append(&*sides.0.eval(ctx)?, &*sides.1.eval(ctx)?, ctx)?,
            Node::Nested(node) => return node.eval(ctx),
        }))
    }
}

/// The value of a column; NULL beyond the record, which the planner rules out.
#[inline]
pub(super) fn column<'a>(ctx: &EvalContext<'a>, index: usize) -> &'a FieldValue {
    ctx.record.values().get(index).unwrap_or(&FieldValue::Null)
}

/// A value of another type than the schema declares: a source's mistake, never read as something else.
#[cold]
#[inline(never)]
pub(super) fn mismatch(
    ctx: &EvalContext<'_>,
    index: Option<usize>,
    value: &FieldValue,
    wanted: &str,
) -> Box<RecordError> {
    let error = failed(
        ErrorCode::TypeMismatch,
        format!("a value of type {} where {wanted} was declared", value.data_type()),
    );
    match index.and_then(|i| ctx.record.schema().fields().get(i)) {
        Some(field) => Box::new(error.in_column(&field.name)),
        None => error,
    }
}

impl Datum<'_> {
    /// The interval inside, if it is one.
    pub(super) fn deref_interval(&self) -> Option<Interval> {
        match &**self {
            FieldValue::Interval(i) => Some(*i),
            _ => None,
        }
    }
}

impl CastNode {
    fn eval<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Datum<'a>> {
        let value = self.node.eval(ctx)?;
        // A string that is cast to VARCHAR for `||` need not be copied.
        if self.to == DataType::Varchar && matches!(&*value, FieldValue::String(_) | FieldValue::Null) {
            return Ok(value);
        }
        match (cast_value_from(&value, &self.from, &self.to), self.mode) {
            (Ok(v), _) => Ok(Datum::Own(v)),
            (Err(_), CastMode::Try) => Ok(Datum::Own(FieldValue::Null)),
            (Err(e), CastMode::Strict) => Err(e),
        }
    }
}

/// Calls a function; up to four arguments live on the stack.
fn call<'a>(function: &FunctionSpec, args: &'a [Node], ctx: &EvalContext<'a>) -> EvalResult<FieldValue> {
    let with = |args: &[Datum<'a>]| {
        if function.strict && args.iter().any(|a| a.is_null()) {
            return Ok(FieldValue::Null);
        }
        (function.eval)(ctx, args)
    };
    match args {
        [] => with(&[]),
        [a] => with(&[a.eval(ctx)?]),
        [a, b] => with(&[a.eval(ctx)?, b.eval(ctx)?]),
        [a, b, c] => with(&[a.eval(ctx)?, b.eval(ctx)?, c.eval(ctx)?]),
        [a, b, c, d] => with(&[a.eval(ctx)?, b.eval(ctx)?, c.eval(ctx)?, d.eval(ctx)?]),
        many => with(&many.iter().map(|a| a.eval(ctx)).collect::<EvalResult<Vec<_>>>()?),
    }
}

fn concat<'a>(items: &'a [Node], ctx: &EvalContext<'a>) -> EvalResult<FieldValue> {
    let mut out = CompactString::default();
    let mut null = false;
    for item in items {
        match &*item.eval(ctx)? {
            FieldValue::String(s) => out.push_str(s),
            FieldValue::Null => null = true,
            other => return Err(mismatch(ctx, None, other, "a VARCHAR")),
        }
    }
    Ok(if null { FieldValue::Null } else { FieldValue::String(out) })
}

fn interval(op: IntervalOp, a: &FieldValue, b: &FieldValue, ctx: &EvalContext<'_>) -> EvalResult<FieldValue> {
    use FieldValue as V;
    Ok(FieldValue::Interval(match (op, a, b) {
        (IntervalOp::Negate, V::Interval(i), _) => negate_interval(i)?,
        (_, V::Null, _) | (_, _, V::Null) => return Ok(V::Null),
        (IntervalOp::Since, V::Timestamp(a), V::Timestamp(b)) => since(*a, *b)?,
        (IntervalOp::TimeSince, V::Time(a), V::Time(b)) => Interval { months: 0, days: 0, micros: a - b },
        (IntervalOp::Add, V::Interval(a), V::Interval(b)) => plus_interval(a, b)?,
        (IntervalOp::Subtract, V::Interval(a), V::Interval(b)) => plus_interval(a, &negate_interval(b)?)?,
        (IntervalOp::Multiply, V::Interval(i), V::Float(x)) => multiply_interval(i, *x)?,
        (IntervalOp::Divide, V::Interval(i), V::Float(x)) => divide_interval(i, *x)?,
        _ => return Err(mismatch(ctx, None, a, "an operand of date arithmetic")),
    }))
}

fn system<'a>(column: SystemColumn, ctx: &EvalContext<'a>) -> EvalResult<Datum<'a>> {
    let record = ctx.record;
    let time = |t: Option<i64>| t.map_or(FieldValue::Null, FieldValue::Timestamp);
    Ok(Datum::Own(match column {
        SystemColumn::Timestamp => time(record.timestamp()),
        SystemColumn::EventTime => time(record.event_time()),
        SystemColumn::Offset => record.offset().into(),
        SystemColumn::Partition => record.partition().into(),
        SystemColumn::Topic => record.topic().map_or(FieldValue::Null, |t| FieldValue::from(&**t)),
        SystemColumn::Key => match record.key() {
            key @ (FieldValue::Null | FieldValue::String(_)) => return Ok(Datum::Ref(key)),
            FieldValue::Bytes(bytes) => utf8(bytes, "the key")?,
            other => cast_value_from(other, &DataType::Null, &DataType::Varchar)?,
        },
        SystemColumn::Headers => {
            let mut entries: Vec<(FieldValue, FieldValue)> = Vec::new();
            for (name, value) in record.headers().iter() {
                let value = utf8(value, name)?;
                // Names may repeat; the last one counts.
                match entries.iter_mut().find(|(n, _)| n.as_str() == Some(name)) {
                    Some(entry) => entry.1 = value,
                    None => entries.push((name.into(), value)),
                }
            }
            FieldValue::Map(Arc::new(entries))
        }
    }))
}

/// `_headers['x']` without a map.
fn header(name: Option<&str>, ctx: &EvalContext<'_>) -> EvalResult<FieldValue> {
    match name.and_then(|n| Some((n, ctx.record.headers().get(n)?))) {
        Some((name, value)) => utf8(value, name),
        None => Ok(FieldValue::Null),
    }
}

fn utf8(bytes: &[u8], what: &str) -> EvalResult<FieldValue> {
    match std::str::from_utf8(bytes) {
        Ok(s) => Ok(s.into()),
        Err(_) => Err(failed(ErrorCode::Encoding, format!("{what} is not UTF-8"))),
    }
}
