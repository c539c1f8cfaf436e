//! From the bound tree to nodes: chooses the specialized form of each expression.

use super::condition::{Condition, ExactConst, InList, Members, Test};
use super::exact::ExactNode;
use super::float::FloatNode;
use super::int::{IntKind, IntNode};
use super::nested::{JsonStep, NestedNode};
use super::node::{CastNode, IntervalOp, Node};
use crate::expr::typing::widens;
use crate::expr::value::{DecimalOp, FloatOp, IntOp};
use crate::expr::{BinaryOp, CastMode, Expr, LikeKind, Pattern, SystemColumn, UnaryOp};
use crate::record::{DataType, Decimal, FieldValue};

/// Which nodes compute values of a type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Int(IntKind),
    Float,
    Exact,
    Condition,
    Other,
}

fn class(t: &DataType) -> Class {
    match t {
        DataType::Boolean => Class::Condition,
        t if t.is_integer() => Class::Int(IntKind::Integer),
        t if t.is_float() => Class::Float,
        DataType::Decimal { .. } => Class::Exact,
        DataType::Date => Class::Int(IntKind::Date),
        DataType::Time => Class::Int(IntKind::Time),
        DataType::Timestamp => Class::Int(IntKind::Timestamp),
        _ => Class::Other,
    }
}

/// Any expression.
pub(super) fn node(expr: &Expr) -> Node {
    match expr {
        Expr::Column { index, .. } => Node::Column(*index),
        Expr::Literal { value, .. } => Node::Const(value.clone()),
        Expr::System(column) => Node::System(*column),
        Expr::Case { branches, otherwise, .. } => case(branches, otherwise.as_deref()),
        Expr::Call { function, args, .. } => Node::Call(function.clone(), args.iter().map(node).collect()),
        Expr::Field { .. }
        | Expr::Index { .. }
        | Expr::Array { .. }
        | Expr::Map { .. }
        | Expr::Struct { .. } => nested(expr),
        Expr::Unary { .. }
        | Expr::Binary { .. }
        | Expr::Cast { .. }
        | Expr::And(_)
        | Expr::Or(_)
        | Expr::InList { .. }
        | Expr::Like { .. } => match class(&expr.data_type()) {
            Class::Int(kind) => Node::Int(kind, Box::new(int(expr))),
            Class::Float => Node::Float(Box::new(float(expr))),
            Class::Exact => Node::Exact(Box::new(exact(expr))),
            Class::Condition => Node::Condition(Box::new(condition(expr))),
            Class::Other => other(expr),
        }
        .unwrapped(),
    }
}

impl Node {
    /// A typed node that only holds a node of any type is that node.
    fn unwrapped(self) -> Node {
        match self {
            Node::Int(_, inner) if matches!(*inner, IntNode::Value(_)) => match *inner {
                IntNode::Value(node) => *node,
                inner => Node::Int(IntKind::Integer, Box::new(inner)),
            },
            Node::Float(inner) if matches!(*inner, FloatNode::Value(_)) => match *inner {
                FloatNode::Value(node) => *node,
                inner => Node::Float(Box::new(inner)),
            },
            Node::Exact(inner) if matches!(*inner, ExactNode::Value(_)) => match *inner {
                ExactNode::Value(node) => *node,
                inner => Node::Exact(Box::new(inner)),
            },
            Node::Condition(inner) if matches!(*inner, Condition::Value(_)) => match *inner {
                Condition::Value(node) => node,
                inner => Node::Condition(Box::new(inner)),
            },
            node => node,
        }
    }
}

fn case(branches: &[(Expr, Expr)], otherwise: Option<&Expr>) -> Node {
    let last = otherwise.map_or(Node::Const(FieldValue::Null), node);
    let coalesced = branches
        .iter()
        .all(|(c, r)| matches!(c, Expr::Unary { op: UnaryOp::IsNotNull, expr, .. } if **expr == *r));
    if coalesced {
        return Node::Coalesce(branches.iter().map(|(_, r)| node(r)).chain([last]).collect());
    }
    Node::Case(branches.iter().map(|(c, r)| (condition(c), node(r))).collect(), Box::new(last))
}

/// A cast that has no specialized node.
fn cast(expr: &Expr, to: &DataType, mode: CastMode) -> Node {
    let from = expr.data_type();
    Node::Cast(Box::new(CastNode { node: node(expr), from, to: to.clone(), mode }))
}

/// Integers, dates and times.
fn int(expr: &Expr) -> IntNode {
    let boxed = |e: &Expr| Box::new(int(e));
    match expr {
        Expr::Column { index, .. } => IntNode::Column(*index),
        Expr::Literal { value, .. } => match value {
            FieldValue::Integer(i) | FieldValue::Time(i) | FieldValue::Timestamp(i) => {
                IntNode::Const(Some(*i))
            }
            FieldValue::Date(d) => IntNode::Const(Some(i64::from(*d))),
            FieldValue::Null => IntNode::Const(None),
            other => IntNode::Value(Box::new(Node::Const(other.clone()))),
        },
        Expr::Unary { op: UnaryOp::Negate, expr, .. } => IntNode::Negate(boxed(expr)),
        Expr::Unary { op: UnaryOp::BitNot, expr, .. } => IntNode::BitNot(boxed(expr)),
        Expr::Binary { op, left, right, data_type } => int_binary(*op, left, right, data_type),
        Expr::Cast { expr: inner, to, mode } => match (inner.data_type(), to) {
            (from, to) if from.is_integer() && to.is_integer() => narrowed(&from, to, boxed(inner), *mode),
            (DataType::Date, DataType::Timestamp) => IntNode::DateToTimestamp(boxed(inner)),
            (DataType::Timestamp, DataType::Date) => IntNode::TimestampToDate(boxed(inner)),
            _ => IntNode::Value(Box::new(cast(inner, to, *mode))),
        },
        other => IntNode::Value(Box::new(node(other))),
    }
}

fn narrowed(from: &DataType, to: &DataType, inner: Box<IntNode>, mode: CastMode) -> IntNode {
    match (from, to) {
        (DataType::Integer | DataType::BigInt, DataType::SmallInt) => {
            IntNode::Narrow(inner, i64::from(i16::MIN), i64::from(i16::MAX), "SMALLINT", mode)
        }
        (DataType::BigInt, DataType::Integer) => {
            IntNode::Narrow(inner, i64::from(i32::MIN), i64::from(i32::MAX), "INT", mode)
        }
        _ => *inner,
    }
}

fn int_binary(op: BinaryOp, left: &Expr, right: &Expr, result: &DataType) -> IntNode {
    let subtract = op == BinaryOp::Subtract;
    match (result, left.data_type(), right.data_type()) {
        (DataType::Timestamp, DataType::Interval, _) => {
            return IntNode::TimestampInterval(Box::new((int(right), node(left))), false);
        }
        (DataType::Timestamp, _, _) => {
            if let Expr::Literal { value: FieldValue::Interval(i), .. } = right
                && i.months == 0
                && let Some(micros) = i64::from(i.days)
                    .checked_mul(crate::record::text::MICROS_PER_DAY)
                    .and_then(|d| d.checked_add(i.micros))
                    .and_then(|m| if subtract { m.checked_neg() } else { Some(m) })
            {
                return IntNode::Moved(Box::new(int(left)), micros);
            }
            return IntNode::TimestampInterval(Box::new((int(left), node(right))), subtract);
        }
        (DataType::Time, DataType::Interval, _) => {
            return IntNode::TimeInterval(Box::new((int(right), node(left))), false);
        }
        (DataType::Time, _, _) => return IntNode::TimeInterval(Box::new((int(left), node(right))), subtract),
        _ => {}
    }
    let op = match op {
        BinaryOp::Add => IntOp::Add,
        BinaryOp::Subtract => IntOp::Subtract,
        BinaryOp::Multiply => IntOp::Multiply,
        BinaryOp::Divide => IntOp::Divide,
        BinaryOp::Modulo => IntOp::Modulo,
        BinaryOp::BitAnd => IntOp::And,
        BinaryOp::BitOr => IntOp::Or,
        BinaryOp::BitXor => IntOp::Xor,
        BinaryOp::ShiftLeft => IntOp::ShiftLeft,
        _ => IntOp::ShiftRight,
    };
    match int(right) {
        IntNode::Const(Some(right)) => IntNode::BinaryConst(op, Box::new(int(left)), right),
        right => IntNode::Binary(op, Box::new((int(left), right))),
    }
}

/// Doubles.
fn float(expr: &Expr) -> FloatNode {
    match expr {
        Expr::Column { index, .. } => FloatNode::Column(*index),
        Expr::Literal { value: FieldValue::Float(x), .. } => FloatNode::Const(Some(*x)),
        Expr::Literal { value: FieldValue::Null, .. } => FloatNode::Const(None),
        Expr::Unary { op: UnaryOp::Negate, expr, .. } => FloatNode::Negate(Box::new(float(expr))),
        Expr::Binary { op, left, right, .. } => {
            let op = match op {
                BinaryOp::Add => FloatOp::Add,
                BinaryOp::Subtract => FloatOp::Subtract,
                BinaryOp::Multiply => FloatOp::Multiply,
                BinaryOp::Divide => FloatOp::Divide,
                _ => FloatOp::Modulo,
            };
            FloatNode::Binary(op, Box::new((float(left), float(right))))
        }
        Expr::Cast { expr: inner, to: DataType::Double, mode } => match class(&inner.data_type()) {
            Class::Int(IntKind::Integer) => FloatNode::FromInt(int(inner)),
            Class::Float => float(inner),
            Class::Exact => FloatNode::FromExact(exact(inner)),
            _ => FloatNode::Value(Box::new(cast(inner, &DataType::Double, *mode))),
        },
        Expr::Cast { expr: inner, to, mode } => FloatNode::Value(Box::new(cast(inner, to, *mode))),
        other => FloatNode::Value(Box::new(node(other))),
    }
}

/// Decimals.
fn exact(expr: &Expr) -> ExactNode {
    match expr {
        Expr::Column { index, .. } => ExactNode::Column(*index),
        Expr::Literal { value: FieldValue::Decimal(d), .. } => ExactNode::Const(Some(*d)),
        Expr::Literal { value: FieldValue::Null, .. } => ExactNode::Const(None),
        Expr::Unary { op: UnaryOp::Negate, expr, .. } => ExactNode::Negate(Box::new(exact(expr))),
        Expr::Binary { op, left, right, data_type: DataType::Decimal { scale, .. } } => {
            let op = match op {
                BinaryOp::Add => DecimalOp::Add,
                BinaryOp::Subtract => DecimalOp::Subtract,
                BinaryOp::Multiply => DecimalOp::Multiply,
                BinaryOp::Divide => DecimalOp::Divide,
                _ => DecimalOp::Modulo,
            };
            ExactNode::Binary(op, Box::new((exact(left), exact(right))), u32::from(*scale))
        }
        Expr::Cast { expr: inner, to: to @ DataType::Decimal { scale: 0, .. }, .. }
            if inner.data_type().is_integer() && widens(&inner.data_type(), to) =>
        {
            ExactNode::FromInt(int(inner))
        }
        Expr::Cast { expr: inner, to, mode } => ExactNode::Value(Box::new(cast(inner, to, *mode))),
        other => ExactNode::Value(Box::new(node(other))),
    }
}

/// Strings, bytes, intervals and nested values made by operators and casts.
fn other(expr: &Expr) -> Node {
    let pair = |a: &Expr, b: &Expr| Box::new((node(a), node(b)));
    match expr {
        Expr::Cast { expr: inner, to, mode } => cast(inner, to, *mode),
        Expr::Unary { expr: inner, .. } => {
            Node::Interval(IntervalOp::Negate, Box::new((node(inner), Node::Const(FieldValue::Null))))
        }
        Expr::Binary { op: BinaryOp::Concat, data_type: DataType::Varchar, .. } => {
            let mut items = Vec::new();
            concat_items(expr, &mut items);
            Node::Concat(items.into())
        }
        Expr::Binary { op: BinaryOp::Concat, left, right, .. } => Node::Append(pair(left, right)),
        Expr::Binary { op, left, right, .. } => match (op, left.data_type()) {
            (BinaryOp::Subtract, DataType::Timestamp) => Node::Interval(IntervalOp::Since, pair(left, right)),
            (BinaryOp::Subtract, DataType::Time) => Node::Interval(IntervalOp::TimeSince, pair(left, right)),
            (BinaryOp::Subtract, _) => Node::Interval(IntervalOp::Subtract, pair(left, right)),
            (BinaryOp::Multiply, DataType::Interval) => {
                Node::Interval(IntervalOp::Multiply, pair(left, right))
            }
            (BinaryOp::Multiply, _) => Node::Interval(IntervalOp::Multiply, pair(right, left)),
            (BinaryOp::Divide, _) => Node::Interval(IntervalOp::Divide, pair(left, right)),
            _ => Node::Interval(IntervalOp::Add, pair(left, right)),
        },
        // Conditions have their own class.
        other => Node::Condition(Box::new(condition(other))),
    }
}

/// `a || b || c` as one list.
fn concat_items(expr: &Expr, items: &mut Vec<Node>) {
    match expr {
        Expr::Binary { op: BinaryOp::Concat, left, right, data_type: DataType::Varchar } => {
            concat_items(left, items);
            concat_items(right, items);
        }
        other => items.push(node(other)),
    }
}

/// BOOLEAN expressions.
fn condition(expr: &Expr) -> Condition {
    match expr {
        Expr::Column { index, .. } => Condition::Column(*index),
        Expr::Literal { value: FieldValue::Boolean(b), .. } => Condition::Const(Some(*b)),
        Expr::Literal { value: FieldValue::Null, .. } => Condition::Const(None),
        Expr::And(items) => Condition::And(items.iter().map(condition).collect()),
        Expr::Or(items) => Condition::Or(items.iter().map(condition).collect()),
        Expr::Unary { op, expr, .. } => unary(*op, expr),
        Expr::Binary { op, left, right, .. } => comparison(*op, left, right),
        Expr::InList { expr, list, negated } => in_list(expr, list, *negated),
        Expr::Like { kind, expr, pattern, escape, negated } => like(*kind, expr, pattern, *escape, *negated),
        Expr::Cast { expr: inner, to, mode } => Condition::Value(cast(inner, to, *mode)),
        other => Condition::Value(node(other)),
    }
}

fn unary(op: UnaryOp, expr: &Expr) -> Condition {
    let is = |wanted, negated| Condition::Is(Box::new(condition(expr)), wanted, negated);
    match op {
        UnaryOp::IsNull => Condition::IsNull(node(expr), false),
        UnaryOp::IsNotNull => Condition::IsNull(node(expr), true),
        UnaryOp::IsTrue => is(Some(true), false),
        UnaryOp::IsNotTrue => is(Some(true), true),
        UnaryOp::IsFalse => is(Some(false), false),
        UnaryOp::IsNotFalse => is(Some(false), true),
        UnaryOp::IsUnknown => is(None, false),
        UnaryOp::IsNotUnknown => is(None, true),
        UnaryOp::Not | UnaryOp::Negate | UnaryOp::BitNot => Condition::Not(Box::new(condition(expr))),
    }
}

fn comparison(op: BinaryOp, left: &Expr, right: &Expr) -> Condition {
    let Some(test) = Test::of(op) else {
        return Condition::Distinct(node(left), node(right), op == BinaryOp::IsNotDistinctFrom);
    };
    if matches!(left, Expr::Literal { .. }) && !matches!(right, Expr::Literal { .. }) {
        return compared(test.flipped(), right, left);
    }
    compared(test, left, right)
}

fn compared(test: Test, left: &Expr, right: &Expr) -> Condition {
    let column = if let Expr::Column { index, .. } = left { Some(*index) } else { None };
    let general = || Condition::Compare(test, node(left), node(right));
    match (class(&left.data_type()), class(&right.data_type())) {
        (Class::Int(_), Class::Int(_)) => match (column, int(right)) {
            (Some(index), IntNode::Const(Some(value))) => Condition::IntColumn(test, index, value),
            (_, right) => Condition::Int(test, int(left), right),
        },
        (Class::Float, Class::Float) => match (column, float(right)) {
            (Some(index), FloatNode::Const(Some(value))) => Condition::FloatColumn(test, index, value),
            (_, right) => Condition::Float(test, float(left), right),
        },
        // A double column and a whole number that it can hold.
        (Class::Float, Class::Int(IntKind::Integer)) => match (column, int(right)) {
            (Some(index), IntNode::Const(Some(i))) if i.unsigned_abs() <= 1 << 53 => {
                Condition::FloatColumn(test, index, i as f64)
            }
            _ => general(),
        },
        (Class::Exact, Class::Exact | Class::Int(IntKind::Integer)) => {
            match (column.zip(exact_constant(&left.data_type(), right)), class(&right.data_type())) {
                (Some((index, constant)), _) => Condition::ExactColumn(test, index, constant),
                (None, Class::Exact) => Condition::Exact(test, exact(left), exact(right)),
                _ => general(),
            }
        }
        _ => match (column, right, test.equality()) {
            (Some(index), Expr::Literal { value: FieldValue::String(s), .. }, Some(negated))
                if left.data_type() == DataType::Varchar =>
            {
                Condition::TextColumn(index, s.clone(), negated)
            }
            _ => general(),
        },
    }
}

/// A constant at the scale of the DECIMAL column that it is compared with.
fn exact_constant(column: &DataType, constant: &Expr) -> Option<ExactConst> {
    let value = match constant {
        Expr::Literal { value: FieldValue::Decimal(d), .. } => *d,
        Expr::Literal { value: FieldValue::Integer(i), .. } => Decimal::from(*i),
        _ => return None,
    };
    let DataType::Decimal { scale, .. } = column else { return None };
    let mut scaled = value;
    scaled.rescale(u32::from(*scale));
    // If the constant has more digits, no value of the column has its scale and they are compared as decimals.
    let same = scaled == value && scaled.scale() == u32::from(*scale);
    let value = if same { scaled } else { value };
    Some(ExactConst { value, mantissa: value.mantissa(), scale: if same { value.scale() } else { u32::MAX } })
}

fn in_list(expr: &Expr, list: &[Expr], negated: bool) -> Condition {
    let constants: Option<Vec<&FieldValue>> =
        list.iter().map(|e| if let Expr::Literal { value, .. } = e { Some(value) } else { None }).collect();
    let null = constants.as_ref().is_some_and(|c| c.iter().any(|v| v.is_null()));
    let set = constants.and_then(|constants| {
        let values = || constants.iter().filter(|v| !v.is_null());
        match class(&expr.data_type()) {
            Class::Int(_) => values()
                .map(|v| match v {
                    FieldValue::Integer(i) | FieldValue::Time(i) | FieldValue::Timestamp(i) => Some(*i),
                    FieldValue::Date(d) => Some(i64::from(*d)),
                    _ => None,
                })
                .collect::<Option<_>>()
                .map(Members::Ints),
            Class::Other if expr.data_type() == DataType::Varchar => values()
                .map(|v| if let FieldValue::String(s) = v { Some(s.clone()) } else { None })
                .collect::<Option<_>>()
                .map(Members::Texts),
            _ => None,
        }
    });
    let (list, null) = match set {
        Some(set) => (set, null),
        None => (Members::Any(list.iter().map(node).collect()), false),
    };
    Condition::In(Box::new(InList { node: node(expr), list, null, negated }))
}

fn like(kind: LikeKind, expr: &Expr, pattern: &Expr, escape: Option<char>, negated: bool) -> Condition {
    if let Expr::Literal { value: FieldValue::String(p), .. } = pattern
        && let Ok(pattern) = Pattern::new(kind, p, escape)
    {
        return Condition::Like { node: node(expr), pattern: Box::new(pattern), negated };
    }
    Condition::LikeAny { kind, sides: Box::new((node(expr), node(pattern))), escape, negated }
}

fn nested(expr: &Expr) -> Node {
    let nested = match expr {
        Expr::Field { expr: base, data_type, .. } if *data_type == DataType::Json && is_json(base) => {
            return json_path(expr);
        }
        Expr::Field { expr: base, index, .. } => NestedNode::Field(node(base), *index),
        Expr::Index { expr: base, index, .. } => match base.data_type() {
            DataType::Array(_) => NestedNode::Element(node(base), int(index)),
            DataType::Json => return json_path(expr),
            _ if matches!(**base, Expr::System(SystemColumn::Headers)) => {
                return Node::Header(Box::new(node(index)));
            }
            _ => NestedNode::Lookup(node(base), node(index)),
        },
        Expr::Array { items, .. } => NestedNode::Array(items.iter().map(node).collect()),
        Expr::Map { entries, .. } => {
            NestedNode::Map(entries.iter().map(|(k, v)| (node(k), node(v))).collect())
        }
        Expr::Struct { fields, .. } => {
            // The type's names: a coerced constructor takes those of its target.
            let names = fields.iter().map(|(n, _)| n.clone()).collect();
            NestedNode::Struct(names, fields.iter().map(|(_, e)| node(e)).collect())
        }
        other => return node(other),
    };
    Node::Nested(Box::new(nested))
}

fn is_json(expr: &Expr) -> bool {
    expr.data_type() == DataType::Json
}

/// `j.a['b'][0]` as one walk.
fn json_path(expr: &Expr) -> Node {
    let mut steps = Vec::new();
    let mut base = expr;
    loop {
        match base {
            Expr::Field { expr, name, .. } if is_json(expr) => {
                steps.push(JsonStep::Member(name.clone()));
                base = expr;
            }
            Expr::Index { expr, index, .. } if is_json(expr) => {
                steps.push(match &**index {
                    Expr::Literal { value: FieldValue::String(name), .. } => JsonStep::Member(name.clone()),
                    index => JsonStep::Computed(node(index)),
                });
                base = expr;
            }
            _ => break,
        }
    }
    steps.reverse();
    Node::Nested(Box::new(NestedNode::Json(node(base), steps.into())))
}
