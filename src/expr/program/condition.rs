//! Conditions: three-valued, `None` is unknown.

use std::cmp::Ordering;

use hashbrown::HashSet;

use super::exact::ExactNode;
use super::float::FloatNode;
use super::int::IntNode;
use super::node::{Node, column, mismatch};
use crate::expr::value::{compare_floats, failed};
use crate::expr::{BinaryOp, EvalContext, EvalResult, LikeKind, Pattern, compare};
use crate::record::{CompactString, ErrorCode, FieldValue};

/// Which outcomes of a comparison are TRUE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Test(u8);

impl Test {
    pub(super) fn of(op: BinaryOp) -> Option<Self> {
        Some(Test(match op {
            BinaryOp::Less => 0b001,
            BinaryOp::Eq => 0b010,
            BinaryOp::LessEq => 0b011,
            BinaryOp::Greater => 0b100,
            BinaryOp::NotEq => 0b101,
            BinaryOp::GreaterEq => 0b110,
            _ => return None,
        }))
    }
    /// The test with its sides exchanged.
    pub(super) fn flipped(self) -> Self {
        Test(self.0 & 0b010 | (self.0 & 1) << 2 | self.0 >> 2)
    }
    /// `=` or `<>`; for the latter `true`.
    pub(super) fn equality(self) -> Option<bool> {
        match self.0 {
            0b010 => Some(false),
            0b101 => Some(true),
            _ => None,
        }
    }
    #[inline]
    fn holds(self, order: Ordering) -> bool {
        self.0 & (1 << (order as i8 + 1)) != 0
    }
}

#[derive(Clone, Debug)]
pub(super) enum Condition {
    Column(usize),
    Const(Option<bool>),
    And(Box<[Condition]>),
    Or(Box<[Condition]>),
    Not(Box<Condition>),
    /// IS [NOT] NULL; `true` for NOT.
    IsNull(Node, bool),
    /// IS [NOT] TRUE, FALSE, UNKNOWN; `true` for NOT.
    Is(Box<Condition>, Option<bool>, bool),
    IntColumn(Test, usize, i64),
    Int(Test, IntNode, IntNode),
    FloatColumn(Test, usize, f64),
    Float(Test, FloatNode, FloatNode),
    /// A DECIMAL column and the mantissa of a constant at that scale.
    ExactColumn(Test, usize, ExactConst),
    Exact(Test, ExactNode, ExactNode),
    /// `=`; `true` for `<>`.
    TextColumn(usize, CompactString, bool),
    Compare(Test, Node, Node),
    /// IS DISTINCT FROM; `true` for IS NOT DISTINCT FROM.
    Distinct(Node, Node, bool),
    In(Box<InList>),
    Like {
        node: Node,
        pattern: Box<Pattern>,
        negated: bool,
    },
    LikeAny {
        kind: LikeKind,
        sides: Box<(Node, Node)>,
        escape: Option<char>,
        negated: bool,
    },
    Value(Node),
}

/// A constant that is compared with a DECIMAL column.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExactConst {
    pub(super) value: crate::record::Decimal,
    pub(super) mantissa: i128,
    pub(super) scale: u32,
}

/// `x [NOT] IN (…)`.
#[derive(Clone, Debug)]
pub(super) struct InList {
    pub(super) node: Node,
    pub(super) list: Members,
    /// The list holds a NULL.
    pub(super) null: bool,
    pub(super) negated: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Members {
    Ints(HashSet<i64>),
    Texts(HashSet<CompactString>),
    Any(Box<[Node]>),
}

impl Condition {
    #[inline]
    pub(super) fn eval<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Option<bool>> {
        match self {
            Condition::IntColumn(test, index, value) => match column(ctx, *index) {
                FieldValue::Integer(i) | FieldValue::Timestamp(i) | FieldValue::Time(i) => {
                    Ok(Some(test.holds(i.cmp(value))))
                }
                FieldValue::Date(d) => Ok(Some(test.holds(i64::from(*d).cmp(value)))),
                FieldValue::Null => Ok(None),
                other => Err(mismatch(ctx, Some(*index), other, "an integer")),
            },
            Condition::FloatColumn(test, index, value) => match column(ctx, *index) {
                FieldValue::Float(x) => Ok(Some(test.holds(compare_floats(*x, *value)))),
                FieldValue::Null => Ok(None),
                other => match compare(other, &FieldValue::Float(*value)) {
                    Some(order) => Ok(Some(test.holds(order))),
                    None => Err(mismatch(ctx, Some(*index), other, "a number")),
                },
            },
            Condition::ExactColumn(test, index, constant) => match column(ctx, *index) {
                FieldValue::Decimal(d) if d.scale() == constant.scale => {
                    Ok(Some(test.holds(d.mantissa().cmp(&constant.mantissa))))
                }
                FieldValue::Null => Ok(None),
                other => match compare(other, &FieldValue::Decimal(constant.value)) {
                    Some(order) => Ok(Some(test.holds(order))),
                    None => Err(mismatch(ctx, Some(*index), other, "a number")),
                },
            },
            Condition::TextColumn(index, value, negated) => match column(ctx, *index) {
                FieldValue::String(s) => Ok(Some((s.as_str() == value.as_str()) != *negated)),
                FieldValue::Null => Ok(None),
                other => Err(mismatch(ctx, Some(*index), other, "a VARCHAR")),
            },
            other => other.eval_rest(ctx),
        }
    }

    fn eval_rest<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Option<bool>> {
        Ok(match self {
            Condition::And(items) => {
                let mut result = Some(true);
                for item in items {
                    match item.eval(ctx)? {
                        Some(true) => {}
                        Some(false) => return Ok(Some(false)),
                        None => result = None,
                    }
                }
                result
            }
            Condition::Or(items) => {
                let mut result = Some(false);
                for item in items {
                    match item.eval(ctx)? {
                        Some(false) => {}
                        Some(true) => return Ok(Some(true)),
                        None => result = None,
                    }
                }
                result
            }
            Condition::Column(index) => truth(column(ctx, *index))?,
            Condition::Const(b) => *b,
            Condition::Not(condition) => condition.eval(ctx)?.map(|b| !b),
            Condition::IsNull(Node::Column(index), negated) => {
                Some(column(ctx, *index).is_null() != *negated)
            }
            Condition::IsNull(node, negated) => Some(node.eval(ctx)?.is_null() != *negated),
            Condition::Is(condition, wanted, negated) => Some((condition.eval(ctx)? == *wanted) != *negated),
            Condition::Int(test, a, b) => match (a.eval(ctx)?, b.eval(ctx)?) {
                (Some(a), Some(b)) => Some(test.holds(a.cmp(&b))),
                _ => None,
            },
            Condition::Float(test, a, b) => match (a.eval(ctx)?, b.eval(ctx)?) {
                (Some(a), Some(b)) => Some(test.holds(compare_floats(a, b))),
                _ => None,
            },
            Condition::Exact(test, a, b) => match (a.eval(ctx)?, b.eval(ctx)?) {
                (Some(a), Some(b)) => Some(test.holds(a.cmp(&b))),
                _ => None,
            },
            Condition::Compare(test, a, b) => {
                let (a, b) = (a.eval(ctx)?, b.eval(ctx)?);
                match compare(&a, &b) {
                    None if !a.is_null() && !b.is_null() => {
                        return Err(mismatch(ctx, None, &b, &format!("something like {}", a.data_type())));
                    }
                    order => order.map(|order| test.holds(order)),
                }
            }
            Condition::Distinct(a, b, negated) => {
                let (a, b) = (a.eval(ctx)?, b.eval(ctx)?);
                let same = match (a.is_null(), b.is_null()) {
                    (true, true) => true,
                    (false, false) => compare(&a, &b) == Some(Ordering::Equal),
                    _ => false,
                };
                Some(same == *negated)
            }
            Condition::In(list) => list.eval(ctx)?,
            Condition::Like { node, pattern, negated } => {
                let value = node.eval(ctx)?;
                text(ctx, &value)?.map(|s| pattern.matches(s) != *negated)
            }
            Condition::LikeAny { kind, sides, escape, negated } => {
                let (value, pattern) = (sides.0.eval(ctx)?, sides.1.eval(ctx)?);
                match (text(ctx, &value)?, text(ctx, &pattern)?) {
                    (Some(s), Some(p)) => Some(matches(*kind, p, *escape, s)? != *negated),
                    _ => None,
                }
            }
            Condition::Value(node) => truth(&*node.eval(ctx)?)?,
            other => return other.eval(ctx),
        })
    }
}

impl InList {
    fn eval<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Option<bool>> {
        let value = self.node.eval(ctx)?;
        if value.is_null() {
            return Ok(None);
        }
        let mut unknown = self.null;
        let found = match (&self.list, &*value) {
            (Members::Ints(set), FieldValue::Integer(i) | FieldValue::Timestamp(i) | FieldValue::Time(i)) => {
                set.contains(i)
            }
            (Members::Ints(set), FieldValue::Date(d)) => set.contains(&i64::from(*d)),
            (Members::Texts(set), FieldValue::String(s)) => set.contains(s.as_str()),
            (Members::Any(items), value) => {
                let mut found = false;
                for item in items {
                    match compare(value, &*item.eval(ctx)?) {
                        Some(Ordering::Equal) => {
                            found = true;
                            break;
                        }
                        Some(_) => {}
                        None => unknown = true,
                    }
                }
                found
            }
            (_, other) => return Err(mismatch(ctx, None, other, "what its IN list holds")),
        };
        Ok(if found || !unknown { Some(found != self.negated) } else { None })
    }
}

/// A value as a condition.
#[inline]
pub(super) fn truth(value: &FieldValue) -> EvalResult<Option<bool>> {
    match value {
        FieldValue::Boolean(b) => Ok(Some(*b)),
        FieldValue::Null => Ok(None),
        other => Err(failed(
            ErrorCode::TypeMismatch,
            format!("a {} where a BOOLEAN was declared", other.data_type()),
        )),
    }
}

fn text<'v>(ctx: &EvalContext<'_>, value: &'v FieldValue) -> EvalResult<Option<&'v str>> {
    match value {
        FieldValue::String(s) => Ok(Some(s)),
        FieldValue::Null => Ok(None),
        other => Err(mismatch(ctx, None, other, "a VARCHAR")),
    }
}

/// A pattern that comes from the record; the last one is kept, since neighbours often have the same.
fn matches(kind: LikeKind, pattern: &str, escape: Option<char>, text: &str) -> EvalResult<bool> {
    type Last = Option<(LikeKind, Option<char>, String, Pattern)>;
    thread_local! {
        static LAST: std::cell::RefCell<Last> = const { std::cell::RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| {
        if let Some((k, e, p, prepared)) = last
            && *k == kind
            && *e == escape
            && p == pattern
        {
            return Ok(prepared.matches(text));
        }
        let prepared =
            Pattern::new(kind, pattern, escape).map_err(|m| failed(ErrorCode::InvalidArgument, m))?;
        let result = prepared.matches(text);
        *last = Some((kind, escape, pattern.to_owned(), prepared));
        Ok(result)
    })
}
