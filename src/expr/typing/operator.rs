//! Operators: which types they take and what they give, as in PostgreSQL where `sql.md` says nothing else.

use super::convert::{MAX_PRECISION, adapt_text, cast_to, common_type, decimal_shape};
use super::{TypeError, Typed, array, bounded, condition, null_of, string_literal};
use crate::expr::{BinaryOp, Expr, UnaryOp};
use crate::record::{DataType, Decimal, FieldValue};

/// Digits that a quotient has beyond its operands' scale.
const DIVISION_DIGITS: u8 = 6;

/// A unary operator.
///
/// # Errors
/// If the operand's type does not fit.
pub fn unary(op: UnaryOp, expr: Expr) -> Typed {
    let from = expr.data_type();
    let (expr, data_type) = match op {
        UnaryOp::IsNull | UnaryOp::IsNotNull => (expr, DataType::Boolean),
        UnaryOp::Not => (condition::boolean(expr, "NOT")?, DataType::Boolean),
        UnaryOp::IsTrue
        | UnaryOp::IsNotTrue
        | UnaryOp::IsFalse
        | UnaryOp::IsNotFalse
        | UnaryOp::IsUnknown
        | UnaryOp::IsNotUnknown => (condition::boolean(expr, &op.to_string())?, DataType::Boolean),
        UnaryOp::Negate => {
            if let Some(constant) = negated_constant(&expr) {
                return Ok(constant);
            }
            match from {
                t if t.is_integer() => (expr, DataType::BigInt),
                t if t.is_float() => (expr, DataType::Double),
                DataType::Decimal { .. } | DataType::Interval => (expr, from),
                DataType::Null => (null_of(DataType::BigInt), DataType::BigInt),
                t => return Err(TypeError::new(format!("there is no operator -{t}"))),
            }
        }
        UnaryOp::BitNot => match from {
            t if t.is_integer() => (expr, DataType::BigInt),
            DataType::Null => (null_of(DataType::BigInt), DataType::BigInt),
            t => return Err(TypeError::new(format!("there is no operator ~{t}"))),
        },
    };
    bounded(Expr::Unary { op, expr: Box::new(expr), data_type })
}

/// `-1`, `-1.5`: a constant itself, so that the least BIGINT can be written.
fn negated_constant(expr: &Expr) -> Option<Expr> {
    let Expr::Literal { value, data_type } = expr else { return None };
    let value = match value {
        FieldValue::Integer(i) => FieldValue::Integer(i.checked_neg()?),
        FieldValue::Float(x) => FieldValue::Float(-x),
        FieldValue::Decimal(d) => {
            let negative = -*d;
            if negative == Decimal::from(i64::MIN) && negative.scale() == 0 {
                return Some(super::literal(FieldValue::Integer(i64::MIN)));
            }
            FieldValue::Decimal(negative)
        }
        _ => return None,
    };
    let data_type = if data_type.is_integer() { DataType::BigInt } else { data_type.clone() };
    Some(Expr::Literal { value, data_type })
}

/// A binary operator, with implicit casts of its operands.
///
/// # Errors
/// If there is no such operator for these types.
pub fn binary(op: BinaryOp, left: Expr, right: Expr) -> Typed {
    use BinaryOp as Op;
    let (left, right, data_type) = match op {
        Op::Eq
        | Op::NotEq
        | Op::Less
        | Op::LessEq
        | Op::Greater
        | Op::GreaterEq
        | Op::IsDistinctFrom
        | Op::IsNotDistinctFrom => {
            let (left, right) = comparable(op, left, right)?;
            (left, right, DataType::Boolean)
        }
        Op::Concat => concat(left, right)?,
        Op::Add | Op::Subtract | Op::Multiply | Op::Divide | Op::Modulo => arithmetic(op, left, right)?,
        Op::BitAnd | Op::BitOr | Op::BitXor | Op::ShiftLeft | Op::ShiftRight => {
            let (left, right) = (integer_operand(op, left)?, integer_operand(op, right)?);
            (left, right, DataType::BigInt)
        }
    };
    bounded(Expr::Binary { op, left: Box::new(left), right: Box::new(right), data_type })
}

fn integer_operand(op: BinaryOp, expr: Expr) -> Typed {
    match expr.data_type() {
        t if t.is_integer() => Ok(expr),
        DataType::Null => Ok(null_of(DataType::BigInt)),
        _ if string_literal(&expr).is_some() => cast_to(expr, &DataType::BigInt),
        t => Err(TypeError::new(format!("operator {op} takes integers, not {t}"))),
    }
}

fn no_operator(op: BinaryOp, left: &DataType, right: &DataType) -> TypeError {
    TypeError::new(format!("there is no operator {left} {op} {right}"))
}

/// Makes both sides comparable. Integers compare exactly with DECIMAL and DOUBLE and so stay as they are.
pub(super) fn comparable(op: BinaryOp, left: Expr, right: Expr) -> Result<(Expr, Expr), TypeError> {
    use DataType as T;
    let (l, r) = (left.data_type(), right.data_type());
    let (left, right) = match (&l, &r) {
        (T::Null, T::Null) => (null_of(T::Varchar), null_of(T::Varchar)),
        (T::Null, t) => (null_of(t.clone()), right),
        (t, T::Null) => (left, null_of(t.clone())),
        (T::Decimal { .. }, y) if y.is_float() => (cast_to(left, &T::Double)?, right),
        (x, T::Decimal { .. }) if x.is_float() => (left, cast_to(right, &T::Double)?),
        (x, y) if x.is_numeric() && y.is_numeric() => (left, right),
        (T::Varchar, T::Varchar) => (left, right),
        (T::Varchar, t) if string_literal(&left).is_some() => (cast_to(left, t)?, right),
        (t, T::Varchar) if string_literal(&right).is_some() => (left, cast_to(right, t)?),
        (x, y) => match common_type(&[x.clone(), y.clone()]) {
            Ok(to) => (cast_to(left, &to)?, cast_to(right, &to)?),
            Err(_) => {
                let error = TypeError::new(format!("{l} and {r} are not comparable"));
                let other = if l == T::Varchar { r } else { l };
                return Err(error.with_hint(format!("write CAST(… AS {other})")));
            }
        },
    };
    let orders = !matches!(op, BinaryOp::Eq | BinaryOp::NotEq | BinaryOp::IsDistinctFrom)
        && op != BinaryOp::IsNotDistinctFrom;
    match left.data_type() {
        T::Json => Err(TypeError::new("JSON values are not comparable")
            .with_hint("compare j ->> 'member' as text, or CAST(j AS …)")),
        t @ T::Map(..) if orders => Err(TypeError::new(format!("{t} has no order: only = and <>"))),
        _ => Ok((left, right)),
    }
}

type Operands = Result<(Expr, Expr, DataType), TypeError>;

/// `||`: text of anything, arrays with arrays or elements, bytes.
fn concat(left: Expr, right: Expr) -> Operands {
    use DataType as T;
    let (l, r) = (left.data_type(), right.data_type());
    match (&l, &r) {
        (T::Array(_), T::Array(_)) | (T::Array(_), T::Null) | (T::Null, T::Array(_)) => {
            let to = common_type(&[l, r])?;
            Ok((cast_to(left, &to)?, cast_to(right, &to)?, to))
        }
        (T::Array(_), _) if r != T::Varchar || matches!(&l, T::Array(t) if **t == T::Varchar) => {
            concat(left, array(vec![right])?)
        }
        (_, T::Array(_)) if l != T::Varchar || matches!(&r, T::Array(t) if **t == T::Varchar) => {
            concat(array(vec![left])?, right)
        }
        (T::Bytes, T::Bytes | T::Null) | (T::Null, T::Bytes) => {
            Ok((cast_to(left, &T::Bytes)?, cast_to(right, &T::Bytes)?, T::Bytes))
        }
        _ => Ok((cast_to(left, &T::Varchar)?, cast_to(right, &T::Varchar)?, T::Varchar)),
    }
}

fn arithmetic(op: BinaryOp, left: Expr, right: Expr) -> Operands {
    use DataType as T;
    let (l, r) = (left.data_type(), right.data_type());
    // Beside a string constant, which has no type of its own either, a NULL is a number, as beside another NULL.
    match (string_literal(&left).is_some(), string_literal(&right).is_some()) {
        (true, _) if r == T::Null => return arithmetic(op, left, null_of(T::BigInt)),
        (_, true) if l == T::Null => return arithmetic(op, null_of(T::BigInt), right),
        _ => {}
    }
    // A string constant or a NULL beside something typed becomes what the operator wants there.
    if let Some(text) = string_literal(&left)
        && r != T::Varchar
    {
        let left = adapt_text(text, &partner(op, &r, Side::Left))?;
        return arithmetic(op, left, right);
    }
    if let Some(text) = string_literal(&right)
        && l != T::Varchar
    {
        let right = match adapt_text(text, &partner(op, &l, Side::Right)) {
            // `ts - '1 hour'`: what is no TIMESTAMP may be an INTERVAL.
            Err(error) if l.is_temporal() && op == BinaryOp::Subtract => {
                adapt_text(text, &T::Interval).map_err(|_| error)?
            }
            adapted => adapted?,
        };
        return arithmetic(op, left, right);
    }
    match (&l, &r) {
        (T::Null, T::Null) => return arithmetic(op, null_of(T::BigInt), null_of(T::BigInt)),
        (T::Null, t) => return arithmetic(op, null_of(partner(op, t, Side::Left)), right),
        (t, T::Null) => {
            let wanted = partner(op, t, Side::Right);
            return arithmetic(op, left, null_of(wanted));
        }
        _ => {}
    }
    if l.is_numeric() && r.is_numeric() {
        return numeric(op, left, right);
    }
    temporal(op, left, right)
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
}

/// The type that a NULL or a string constant takes beside an operand of type `t`.
fn partner(op: BinaryOp, t: &DataType, side: Side) -> DataType {
    use DataType as T;
    match (op, t) {
        (BinaryOp::Add, T::Date | T::Time | T::Timestamp) => T::Interval,
        (BinaryOp::Subtract, T::Interval) if side == Side::Left => T::Interval,
        (BinaryOp::Multiply | BinaryOp::Divide, T::Interval) => T::Double,
        _ => t.clone(),
    }
}

fn numeric(op: BinaryOp, left: Expr, right: Expr) -> Operands {
    let (l, r) = (left.data_type(), right.data_type());
    if l.is_integer() && r.is_integer() {
        return Ok((left, right, DataType::BigInt));
    }
    let (Some((p, s)), Some((q, t))) = (exact_shape(&left), exact_shape(&right)) else {
        let to = DataType::Double;
        // REAL is a double inside.
        let cast = |e: Expr| if e.data_type().is_float() { Ok(e) } else { cast_to(e, &to) };
        return Ok((cast(left)?, cast(right)?, to));
    };
    let scale = match op {
        BinaryOp::Multiply => s + t,
        BinaryOp::Divide => s.max(t) + DIVISION_DIGITS,
        _ => s.max(t),
    };
    if scale > MAX_PRECISION {
        return Err(TypeError::new(format!(
            "{l} {op} {r} would have {scale} digits after the point, and DECIMAL has at most {MAX_PRECISION} in all"
        ))
        .with_hint("CAST an operand to a smaller scale"));
    }
    let whole = match op {
        BinaryOp::Multiply => (p - s) + (q - t),
        BinaryOp::Divide => (p - s) + t,
        BinaryOp::Modulo => (p - s).min(q - t),
        _ => (p - s).max(q - t) + 1,
    };
    let data_type = DataType::Decimal { precision: (whole + scale).clamp(1, MAX_PRECISION), scale };
    let (left, right) = (as_decimal(left, p, s)?, as_decimal(right, q, t)?);
    Ok((left, right, data_type))
}

/// Precision and scale of an exact operand; an integer constant counts with its own digits.
fn exact_shape(expr: &Expr) -> Option<(u8, u8)> {
    match expr {
        Expr::Literal { value: FieldValue::Integer(i), .. } => {
            Some((i.unsigned_abs().checked_ilog10().map_or(1, |n| n as u8 + 1), 0))
        }
        other => decimal_shape(&other.data_type()),
    }
}

fn as_decimal(expr: Expr, precision: u8, scale: u8) -> Typed {
    if expr.data_type().is_integer() {
        cast_to(expr, &DataType::Decimal { precision, scale })
    } else {
        Ok(expr)
    }
}

/// Arithmetic with dates, times and intervals.
fn temporal(op: BinaryOp, left: Expr, right: Expr) -> Operands {
    use BinaryOp as Op;
    use DataType as T;
    let (l, r) = (left.data_type(), right.data_type());
    let (a, b, result) = match (op, &l, &r) {
        (Op::Subtract, T::Date, T::Date) => (T::Date, T::Date, T::BigInt),
        (Op::Add | Op::Subtract, T::Date, n) if n.is_integer() => (T::Date, n.clone(), T::Date),
        (Op::Add, n, T::Date) if n.is_integer() => (n.clone(), T::Date, T::Date),
        (Op::Add | Op::Subtract, T::Date | T::Timestamp, T::Interval) => {
            (T::Timestamp, T::Interval, T::Timestamp)
        }
        (Op::Add, T::Interval, T::Date | T::Timestamp) => (T::Interval, T::Timestamp, T::Timestamp),
        (Op::Add, T::Date, T::Time) => (T::Timestamp, T::Interval, T::Timestamp),
        (Op::Add, T::Time, T::Date) => (T::Interval, T::Timestamp, T::Timestamp),
        (Op::Subtract, T::Timestamp | T::Date, T::Timestamp | T::Date) => {
            (T::Timestamp, T::Timestamp, T::Interval)
        }
        (Op::Add | Op::Subtract, T::Time, T::Interval) => (T::Time, T::Interval, T::Time),
        (Op::Add, T::Interval, T::Time) => (T::Interval, T::Time, T::Time),
        (Op::Subtract, T::Time, T::Time) => (T::Time, T::Time, T::Interval),
        (Op::Add | Op::Subtract, T::Interval, T::Interval) => (T::Interval, T::Interval, T::Interval),
        (Op::Multiply | Op::Divide, T::Interval, n) if n.is_numeric() => {
            (T::Interval, T::Double, T::Interval)
        }
        (Op::Multiply, n, T::Interval) if n.is_numeric() => (T::Double, T::Interval, T::Interval),
        _ => {
            let error = no_operator(op, &l, &r);
            return Err(match (op, &l, &r) {
                (Op::Add, T::Varchar, _) | (Op::Add, _, T::Varchar) => {
                    error.with_hint("|| joins strings; CAST makes numbers of them")
                }
                (_, T::Varchar, t) | (_, t, T::Varchar) => error.with_hint(format!("write CAST(… AS {t})")),
                (_, t, n) | (_, n, t) if t.is_temporal() && n.is_numeric() => {
                    error.with_hint("write … * INTERVAL '1' SECOND, or the unit that is meant")
                }
                _ => error,
            });
        }
    };
    Ok((cast_to(left, &a)?, cast_to(right, &b)?, result))
}
