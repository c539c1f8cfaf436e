//! Conditions: AND, OR, CASE and what is written with it, IN, BETWEEN, LIKE.

use super::convert::{cast_to, unify};
use super::operator::comparable;
use super::{TypeError, Typed, binary, bounded, null_of, unary};
use crate::expr::{BinaryOp, Expr, LikeKind, UnaryOp, Volatility};
use crate::record::{DataType, FieldValue};

/// A condition: BOOLEAN, or a constant that reads as one.
pub(super) fn boolean(expr: Expr, what: &str) -> Typed {
    match expr.data_type() {
        DataType::Boolean => Ok(expr),
        DataType::Null => Ok(null_of(DataType::Boolean)),
        _ if super::string_literal(&expr).is_some() => cast_to(expr, &DataType::Boolean),
        t => Err(TypeError::new(format!("{what} takes a BOOLEAN, not {t}"))),
    }
}

/// `a AND b AND …`.
///
/// # Errors
/// If an operand is not BOOLEAN.
pub fn and(operands: Vec<Expr>) -> Typed {
    let items = chain(operands, "AND", |e| match e {
        Expr::And(items) => Ok(items),
        other => Err(other),
    })?;
    Ok(single(Expr::And(items)))
}

/// `a OR b OR …`.
///
/// # Errors
/// If an operand is not BOOLEAN.
pub fn or(operands: Vec<Expr>) -> Typed {
    let items = chain(operands, "OR", |e| match e {
        Expr::Or(items) => Ok(items),
        other => Err(other),
    })?;
    Ok(single(Expr::Or(items)))
}

/// A chain of one is its operand.
fn single(expr: Expr) -> Expr {
    match expr {
        Expr::And(mut items) | Expr::Or(mut items) if items.len() == 1 => items.swap_remove(0),
        other => other,
    }
}

/// One flat list, so that long chains are one level deep.
fn chain(
    operands: Vec<Expr>,
    what: &str,
    nested: fn(Expr) -> Result<Vec<Expr>, Expr>,
) -> Result<Vec<Expr>, TypeError> {
    let mut flat: Vec<Expr> = Vec::new();
    for operand in operands {
        match nested(operand) {
            Ok(items) if flat.is_empty() => flat = items,
            Ok(items) => flat.extend(items),
            Err(other) => flat.push(bounded(boolean(other, what)?)?),
        }
    }
    if flat.is_empty() {
        return Err(TypeError::new(format!("{what} without operands")));
    }
    Ok(flat)
}

/// CASE; with `operand`, each condition is compared with it.
///
/// # Errors
/// If conditions are not BOOLEAN (or not comparable) or results have no common type.
pub fn case(operand: Option<Expr>, branches: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Typed {
    if let Some(operand) = &operand {
        evaluated_once(operand, "CASE")?;
    }
    let mut conditions = Vec::with_capacity(branches.len());
    let mut results = Vec::with_capacity(branches.len() + 1);
    for (condition, result) in branches {
        conditions.push(match &operand {
            Some(operand) => binary(BinaryOp::Eq, operand.clone(), condition)?,
            None => boolean(condition, "WHEN")?,
        });
        results.push(result);
    }
    let has_else = otherwise.is_some();
    results.extend(otherwise);
    let (mut results, data_type) =
        unify(results).map_err(|e| TypeError { message: format!("results of CASE: {}", e.message), ..e })?;
    let otherwise = if has_else { results.pop().map(Box::new) } else { None };
    let branches = conditions.into_iter().zip(results).collect();
    bounded(Expr::Case { branches, otherwise, data_type })
}

/// Refuses an operand that is written into several places and would have another value in each.
fn evaluated_once(operand: &Expr, what: &str) -> Result<(), TypeError> {
    if operand.volatility() == Volatility::Volatile {
        return Err(TypeError::new(format!("{what} over a volatile function is not supported yet"))
            .with_hint("compute it in a subquery"));
    }
    Ok(())
}

/// COALESCE: the first that is not NULL; later ones are not evaluated.
///
/// # Errors
/// If there is no argument or no common type.
pub fn coalesce(args: Vec<Expr>) -> Typed {
    if args.is_empty() {
        return Err(TypeError::new("COALESCE takes at least one argument"));
    }
    let (mut args, data_type) =
        unify(args).map_err(|e| TypeError { message: format!("COALESCE: {}", e.message), ..e })?;
    let Some(last) = args.pop() else { return Ok(null_of(data_type)) };
    if args.is_empty() {
        return Ok(last);
    }
    let branches = args
        .into_iter()
        .map(|a| Ok((unary(UnaryOp::IsNotNull, a.clone())?, a)))
        .collect::<Result<_, TypeError>>()?;
    bounded(Expr::Case { branches, otherwise: Some(Box::new(last)), data_type })
}

/// NULLIF: NULL if both are equal, else the first.
///
/// # Errors
/// If they are not comparable.
pub fn nullif(value: Expr, other: Expr) -> Typed {
    evaluated_once(&value, "NULLIF")?;
    let data_type = value.data_type();
    let same = binary(BinaryOp::Eq, value.clone(), other)?;
    bounded(Expr::Case {
        branches: vec![(same, null_of(data_type.clone()))],
        otherwise: Some(Box::new(value)),
        data_type,
    })
}

/// `x [NOT] IN (…)`.
///
/// # Errors
/// If the types have nothing in common.
pub fn in_list(expr: Expr, list: Vec<Expr>, negated: bool) -> Typed {
    if list.is_empty() {
        return Err(TypeError::new("IN takes at least one value"));
    }
    let fail = |e: TypeError| TypeError { message: format!("IN: {}", e.message), ..e };
    // Number types are left as they are: they compare exactly with each other.
    let left = expr.data_type();
    if left.is_numeric() && !left.is_float() {
        let list = list
            .into_iter()
            .map(|item| Ok(comparable(BinaryOp::Eq, expr.clone(), item)?.1))
            .collect::<Result<Vec<_>, TypeError>>()
            .map_err(fail)?;
        if list.iter().all(|i| !i.data_type().is_float()) {
            return bounded(Expr::InList { expr: Box::new(expr), list, negated });
        }
        let to = DataType::Double;
        let list = list.into_iter().map(|i| cast_to(i, &to)).collect::<Result<_, _>>()?;
        return bounded(Expr::InList { expr: Box::new(cast_to(expr, &to)?), list, negated });
    }
    let mut all = vec![expr];
    all.extend(list);
    let (mut all, data_type) = unify(all).map_err(fail)?;
    comparable(BinaryOp::Eq, null_of(data_type.clone()), null_of(data_type)).map_err(fail)?;
    let expr = Box::new(all.remove(0));
    bounded(Expr::InList { expr, list: all, negated })
}

/// `x = ANY (array)`, and with `negated` its opposite `x <> ALL (array)`.
///
/// # Errors
/// If the second is no array or its items are not comparable with the first.
pub fn any_of(expr: Expr, array: Expr, negated: bool) -> Typed {
    let item = match array.data_type() {
        DataType::Array(item) => *item,
        DataType::Null => return Ok(null_of(DataType::Boolean)),
        t => return Err(TypeError::new(format!("ANY and ALL take an array, not {t}"))),
    };
    let array_of = |item: DataType| DataType::Array(Box::new(item));
    // Any item: of this type and not constant.
    let sample = Expr::Column { index: 0, name: "item".into(), data_type: item.clone() };
    let (expr, sample) = comparable(BinaryOp::Eq, expr, sample)?;
    let array =
        if sample.data_type() == item { array } else { cast_to(array, &array_of(sample.data_type()))? };
    let call = Expr::Call {
        function: crate::expr::special::equals_any(),
        args: vec![expr, array],
        data_type: DataType::Boolean,
    };
    bounded(if negated { unary(UnaryOp::Not, call)? } else { call })
}

/// `x [NOT] BETWEEN low AND high`.
///
/// # Errors
/// If the types are not comparable.
pub fn between(expr: Expr, low: Expr, high: Expr, negated: bool) -> Typed {
    if negated {
        or(vec![binary(BinaryOp::Less, expr.clone(), low)?, binary(BinaryOp::Greater, expr, high)?])
    } else {
        and(vec![binary(BinaryOp::GreaterEq, expr.clone(), low)?, binary(BinaryOp::LessEq, expr, high)?])
    }
}

/// LIKE and relatives; a constant pattern is checked here. `escape` is the ESCAPE character: a backslash
/// if absent, none at all if it is `'\0'` (`ESCAPE ''`).
///
/// # Errors
/// If an operand is not VARCHAR or the pattern is invalid.
pub fn like(kind: LikeKind, expr: Expr, pattern: Expr, escape: Option<char>, negated: bool) -> Typed {
    let text =
        |e: Expr| match e.data_type() {
            DataType::Varchar => Ok(e),
            DataType::Null => Ok(null_of(DataType::Varchar)),
            t => Err(TypeError::new(format!("{kind} takes VARCHAR, not {t}"))
                .with_hint("write CAST(… AS VARCHAR)")),
        };
    let (expr, pattern) = (text(expr)?, text(pattern)?);
    if let Expr::Literal { value: FieldValue::String(p), .. } = &pattern {
        crate::expr::Pattern::new(kind, p, escape).map_err(TypeError::new)?;
    }
    bounded(Expr::Like { kind, expr: Box::new(expr), pattern: Box::new(pattern), escape, negated })
}
