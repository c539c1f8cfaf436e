//! Which types convert into which: CAST, implicit widening, common types, and string constants.

use super::{TypeError, Typed, bounded, null_of, string_literal};
use crate::expr::{CastMode, Expr, cast_value, decimal_to_f64, parse_bool};
use crate::record::{DataType, Decimal, Field, FieldValue, text};

/// Most digits that a DECIMAL has.
pub(super) const MAX_PRECISION: u8 = 28;

/// An explicit cast.
///
/// # Errors
/// If there is no cast between the types.
pub fn cast(expr: Expr, to: DataType, mode: CastMode) -> Typed {
    let from = expr.data_type();
    if from == to {
        return Ok(expr);
    }
    if !castable(&from, &to) {
        let error = TypeError::new(format!("there is no cast from {from} to {to}"));
        return Err(match (&from, &to) {
            (DataType::BigInt | DataType::Integer | DataType::Double | DataType::Decimal { .. }, t)
                if t.is_temporal() =>
            {
                error.with_hint("to_timestamp(seconds) makes a TIMESTAMP of seconds since 1970")
            }
            (t, n) if t.is_temporal() && n.is_numeric() => {
                error.with_hint("extract(epoch FROM t) gives seconds since 1970")
            }
            _ => error,
        });
    }
    if matches!(&expr, Expr::Literal { value: FieldValue::Null, .. }) {
        return Ok(null_of(to));
    }
    bounded(Expr::Cast { expr: Box::new(expr), to, mode })
}

/// Whether CAST knows a way from one type to the other; single values may still fail.
pub fn castable(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    match (from, to) {
        _ if from == to => true,
        (T::Null, _) | (_, T::Varchar) | (T::Varchar, _) => true,
        (a, b) if a.is_numeric() && b.is_numeric() => true,
        (T::Boolean, b) => b.is_integer() || *b == T::Json,
        (a, T::Boolean) => a.is_integer() || *a == T::Json,
        (T::Date, T::Timestamp) | (T::Timestamp, T::Date | T::Time) => true,
        (T::Time, T::Interval) | (T::Interval, T::Time) => true,
        (T::Array(a), T::Array(b)) => castable(a, b),
        (T::Map(a, b), T::Map(c, d)) => castable(a, c) && castable(b, d),
        (T::Struct(a), T::Struct(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(x, y)| castable(&x.data_type, &y.data_type))
        }
        (T::Json, b) => b.is_numeric() || matches!(b, T::Array(_) | T::Map(..) | T::Struct(_)),
        (a, T::Json) => a.is_numeric() || matches!(a, T::Array(_) | T::Map(..) | T::Struct(_)),
        _ => false,
    }
}

/// Whether every value of `from` has an equal value of `to`, so that the cast may be implicit.
/// (Large integers and decimals lose digits as DOUBLE; SQL widens them all the same.)
pub fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    match (from, to) {
        _ if from == to => true,
        (T::Null, _) => true,
        (a, T::Real) => a.is_integer() || matches!(a, T::Decimal { .. }),
        (a, T::Double) => a.is_numeric(),
        (T::Decimal { precision: p, scale: s }, T::Decimal { precision: q, scale: t }) => {
            t >= s && q - t >= p - s
        }
        (a, T::Decimal { precision, scale }) if a.is_integer() => precision - scale >= integer_digits(a),
        (a, b) if a.is_integer() && b.is_integer() => integer_digits(a) <= integer_digits(b),
        (T::Date, T::Timestamp) | (T::Time, T::Interval) => true,
        (T::Array(a), T::Array(b)) => widens(a, b),
        (T::Map(a, b), T::Map(c, d)) => widens(a, c) && widens(b, d),
        (T::Struct(a), T::Struct(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(x, y)| widens(&x.data_type, &y.data_type))
        }
        _ => false,
    }
}

/// Digits that an integer type may have.
pub(super) fn integer_digits(t: &DataType) -> u8 {
    match t {
        DataType::SmallInt => 5,
        DataType::Integer => 10,
        _ => 19,
    }
}

/// The implicit cast that INSERT makes: widening, anything to VARCHAR, NULL to all; no node if the types agree.
///
/// # Errors
/// If a value could be lost: the message says which CAST to write.
pub fn coerce(expr: Expr, to: &DataType) -> Typed {
    let from = expr.data_type();
    if from == *to {
        return Ok(expr);
    }
    if *to == DataType::Varchar || widens(&from, to) {
        return cast_to(expr, to);
    }
    let expr = match adapt_constant(expr, to)? {
        Ok(adapted) => return Ok(adapted),
        Err(expr) => expr,
    };
    match (expr, to) {
        (Expr::Array { items, .. }, DataType::Array(item)) => {
            let items = items.into_iter().map(|i| coerce(i, item)).collect::<Result<_, _>>()?;
            Ok(Expr::Array { items, data_type: to.clone() })
        }
        (Expr::Struct { fields, .. }, DataType::Struct(wanted)) if fields.len() == wanted.len() => {
            let fields = fields
                .into_iter()
                .zip(wanted)
                .map(|((_, e), f)| Ok((f.name.clone(), coerce(e, &f.data_type)?)))
                .collect::<Result<_, TypeError>>()?;
            Ok(Expr::Struct { fields, data_type: to.clone() })
        }
        (Expr::Case { branches, otherwise, .. }, to) => {
            let branches = branches
                .into_iter()
                .map(|(c, r)| Ok((c, coerce(r, to)?)))
                .collect::<Result<_, TypeError>>()?;
            let otherwise = otherwise.map(|e| coerce(*e, to).map(Box::new)).transpose()?;
            Ok(Expr::Case { branches, otherwise, data_type: to.clone() })
        }
        _ => {
            let error = TypeError::new(format!("{from} does not become {to} without a cast"));
            Err(if castable(&from, to) { error.with_hint(format!("write CAST(… AS {to})")) } else { error })
        }
    }
}

/// A cast that was decided on: constants are converted at once where that is exact.
pub(super) fn cast_to(expr: Expr, to: &DataType) -> Typed {
    if expr.data_type() == *to {
        return Ok(expr);
    }
    match adapt_constant(expr, to)? {
        Ok(adapted) => Ok(adapted),
        Err(expr) => bounded(Expr::Cast { expr: Box::new(expr), to: to.clone(), mode: CastMode::Strict }),
    }
}

/// Gives a constant that type if no value is lost; gives the expression back if it is no such constant.
///
/// # Errors
/// If it is a string constant that does not read as that type.
fn adapt_constant(expr: Expr, to: &DataType) -> Result<Result<Expr, Expr>, TypeError> {
    let Expr::Literal { value, .. } = &expr else { return Ok(Err(expr)) };
    if let Some(text) = string_literal(&expr)
        && *to != DataType::Varchar
    {
        return adapt_text(text, to).map(Ok);
    }
    let adapted = match (value, to) {
        (FieldValue::Null, _) => Some(FieldValue::Null),
        (FieldValue::Integer(i), DataType::SmallInt) => i16::try_from(*i).ok().map(FieldValue::from),
        (FieldValue::Integer(i), DataType::Integer) => i32::try_from(*i).ok().map(FieldValue::from),
        (FieldValue::Integer(i), DataType::BigInt) => Some(FieldValue::Integer(*i)),
        (FieldValue::Integer(i), DataType::Double) => Some(FieldValue::Float(*i as f64)),
        (FieldValue::Integer(i), DataType::Decimal { precision, scale }) => {
            exact_decimal(Decimal::from(*i), *precision, *scale)
        }
        (FieldValue::Decimal(d), DataType::Double) => Some(FieldValue::Float(decimal_to_f64(d))),
        (FieldValue::Decimal(d), DataType::Decimal { precision, scale }) => {
            exact_decimal(*d, *precision, *scale)
        }
        (FieldValue::Float(x), DataType::Double) => Some(FieldValue::Float(*x)),
        _ => None,
    };
    Ok(match adapted {
        Some(value) => Ok(Expr::Literal { value, data_type: to.clone() }),
        None => Err(expr),
    })
}

/// The decimal with exactly that scale, if it fits without rounding.
fn exact_decimal(mut d: Decimal, precision: u8, scale: u8) -> Option<FieldValue> {
    let before = d;
    d.rescale(u32::from(scale));
    let digits = d.mantissa().unsigned_abs().checked_ilog10().map_or(1, |n| n + 1);
    (d == before && d.scale() == u32::from(scale) && digits <= u32::from(precision))
        .then_some(FieldValue::Decimal(d))
}

/// A string constant where another type is wanted.
pub(super) fn adapt_text(written: &str, to: &DataType) -> Typed {
    let bad = || TypeError::new(format!("'{written}' is not a valid {to}"));
    let trimmed = written.trim_ascii();
    let value = match to {
        DataType::Null => return Ok(super::literal(written.into())),
        DataType::Boolean => parse_bool(trimmed).map(FieldValue::Boolean),
        DataType::SmallInt => trimmed.parse::<i16>().ok().map(FieldValue::from),
        DataType::Integer => trimmed.parse::<i32>().ok().map(FieldValue::from),
        DataType::BigInt => trimmed.parse::<i64>().ok().map(FieldValue::from),
        DataType::Double => text::parse_f64(trimmed).map(FieldValue::Float),
        DataType::Date => text::parse_date(trimmed).map(FieldValue::Date),
        DataType::Time => text::parse_time(trimmed).map(FieldValue::Time),
        DataType::Timestamp => text::parse_timestamp(trimmed).map(FieldValue::Timestamp),
        DataType::Interval => text::parse_interval(trimmed).map(FieldValue::Interval),
        // As PostgreSQL: the constant's own digits, so that comparisons stay exact.
        DataType::Decimal { .. } => {
            return text::parse_decimal(trimmed).map(|d| super::literal(d.into())).ok_or_else(bad);
        }
        _ => cast_value(&written.into(), to).ok(),
    };
    let value = value.ok_or_else(bad)?;
    Ok(Expr::Literal { value, data_type: to.clone() })
}

/// The type that all of these cast to implicitly: for CASE, UNION, ARRAY, IN.
///
/// # Errors
/// If there is none.
pub fn common_type(types: &[DataType]) -> Result<DataType, TypeError> {
    types.iter().try_fold(DataType::Null, |sum, t| {
        common_pair(&sum, t).ok_or_else(|| {
            TypeError::new(format!("{sum} and {t} have no common type")).with_hint("CAST one of them")
        })
    })
}

fn common_pair(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    Some(match (a, b) {
        _ if a == b => a.clone(),
        (T::Null, t) | (t, T::Null) => t.clone(),
        (x, y) if x.is_integer() && y.is_integer() => {
            if integer_digits(x) >= integer_digits(y) {
                x.clone()
            } else {
                y.clone()
            }
        }
        (x, y) if x.is_numeric() && y.is_numeric() => match (decimal_shape(x), decimal_shape(y)) {
            (Some((p, s)), Some((q, t))) => {
                let scale = s.max(t);
                let precision = ((p - s).max(q - t) + scale).min(MAX_PRECISION);
                T::Decimal { precision, scale }
            }
            _ => T::Double,
        },
        (T::Date, T::Timestamp) | (T::Timestamp, T::Date) => T::Timestamp,
        (T::Array(x), T::Array(y)) => T::array(common_pair(x, y)?),
        (T::Map(k, v), T::Map(l, w)) => T::map(common_pair(k, l)?, common_pair(v, w)?),
        (T::Struct(x), T::Struct(y)) if x.len() == y.len() => T::Struct(
            x.iter()
                .zip(y)
                .map(|(f, g)| Some(Field::new(&f.name, common_pair(&f.data_type, &g.data_type)?)))
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

/// Precision and scale of an exact number.
pub(super) fn decimal_shape(t: &DataType) -> Option<(u8, u8)> {
    match t {
        DataType::Decimal { precision, scale } => Some((*precision, *scale)),
        t if t.is_integer() => Some((integer_digits(t), 0)),
        _ => None,
    }
}

/// Casts all expressions to one type; string constants take the type of the others.
///
/// # Errors
/// If there is no such type.
pub fn unify(exprs: Vec<Expr>) -> Result<(Vec<Expr>, DataType), TypeError> {
    let integer = |e: &Expr| match e {
        Expr::Literal { value: FieldValue::Integer(i), .. } => Some(*i),
        _ => None,
    };
    let typed = exprs.iter().filter(|e| string_literal(e).is_none() && integer(e).is_none());
    let mut to = common_type(&typed.map(Expr::data_type).collect::<Vec<_>>())?;
    // An integer constant counts with its own digits, so that `coalesce(small, 0)` stays small.
    for i in exprs.iter().filter_map(integer) {
        let own = match &to {
            DataType::SmallInt if i16::try_from(i).is_ok() => continue,
            DataType::Integer if i32::try_from(i).is_ok() => continue,
            DataType::Decimal { .. } => {
                let precision = i.unsigned_abs().checked_ilog10().map_or(1, |n| n as u8 + 1);
                DataType::Decimal { precision, scale: 0 }
            }
            _ => DataType::BigInt,
        };
        to = common_type(&[to, own])?;
    }
    if to == DataType::Null && exprs.iter().any(|e| string_literal(e).is_some()) {
        to = DataType::Varchar;
    }
    let mut cast = Vec::with_capacity(exprs.len());
    let mut widest = to.clone();
    for expr in exprs {
        let expr = cast_to(expr, &to)?;
        // A string constant such as '1.505' may need more digits than the others have.
        widest = common_pair(&widest, &expr.data_type()).unwrap_or(widest);
        cast.push(expr);
    }
    if widest != to {
        cast = cast.into_iter().map(|e| cast_to(e, &widest)).collect::<Result<_, _>>()?;
    }
    Ok((cast, widest))
}
