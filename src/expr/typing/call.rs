//! Calls of functions by name: special forms, choice of the overload, casts of arguments.

use std::sync::Arc;

use super::convert::{MAX_PRECISION, cast_to, unify, widens};
use super::{TypeError, Typed, bounded, case, coalesce, nullif, string_literal};
use crate::expr::special::{self, SPECIAL_FORMS};
use crate::expr::{Arity, Expr, FunctionRegistry, FunctionSpec, ReturnType};
use crate::record::{DataType, FieldValue, nearest};

/// A call: chooses the overload and casts the arguments. COALESCE, NULLIF, GREATEST, LEAST and IF are functions here too.
///
/// # Errors
/// If there is no such function (names the nearest) or no overload fits (lists the signatures).
pub fn call(functions: &FunctionRegistry, name: &str, args: Vec<Expr>) -> Typed {
    let lower = name.to_ascii_lowercase();
    match (lower.as_str(), args.len()) {
        ("coalesce", _) | ("ifnull" | "nvl", 2) => return coalesce(args),
        ("greatest" | "least", 1..) => return extreme(&lower, args),
        ("nullif", 2) | ("if" | "iif", 2 | 3) => return conditional(&lower, args),
        _ => {}
    }
    let overloads = functions.overloads(name);
    if overloads.is_empty() {
        return Err(unknown(functions, &lower, args.len()));
    }
    let chosen = overloads
        .iter()
        .find(|f| fits(&f.arity, &args, Fit::AsIs))
        .or_else(|| overloads.iter().find(|f| fits(&f.arity, &args, Fit::Widened)));
    match chosen {
        Some(function) if matches!(lower.as_str(), "round" | "trunc" | "truncate") => {
            let digits = args.get(1).and_then(whole_literal);
            rounded(build(function, args)?, digits)
        }
        Some(function) => build(function, args),
        None => {
            let signatures = overloads.iter().map(|f| f.signature).collect();
            Err(misfit(&lower, signatures, &args))
        }
    }
}

fn whole_literal(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal { value: FieldValue::Integer(n), .. } => Some(*n),
        _ => None,
    }
}

/// A DECIMAL rounded to a constant number of digits has just that scale; where it grows, a cast fills up with zeros.
fn rounded(call: Expr, digits: Option<i64>) -> Typed {
    let (Some(digits), DataType::Decimal { precision, scale }) = (digits, call.data_type()) else {
        return Ok(call);
    };
    let whole = precision.saturating_sub(scale);
    let most = MAX_PRECISION.saturating_sub(whole);
    let wanted = u8::try_from(digits.clamp(0, i64::from(most))).unwrap_or(scale);
    if wanted > scale {
        return cast_to(call, &DataType::Decimal { precision: whole + wanted, scale: wanted });
    }
    // One digit more: rounding 9.9 gives 10.
    let precision = (whole + 1 + wanted).clamp(1, MAX_PRECISION);
    match call {
        Expr::Call { function, args, .. } if wanted < scale => {
            bounded(Expr::Call { function, args, data_type: DataType::Decimal { precision, scale: wanted } })
        }
        other => Ok(other),
    }
}

fn conditional(name: &str, args: Vec<Expr>) -> Typed {
    let mut args = args.into_iter();
    match (args.next(), args.next(), args.next()) {
        (Some(value), Some(other), None) if name == "nullif" => nullif(value, other),
        (Some(condition), Some(result), otherwise) => case(None, vec![(condition, result)], otherwise),
        _ => Err(TypeError::new(format!("{name} takes two or three arguments"))),
    }
}

const ROWS: &str = "for the last rows write OVER (ROWS WINDOW BUFFER 100 ROWS PARTITION BY … ORDER BY …)";

/// Functions of other engines that are none here, and what to write instead.
const ELSEWHERE: &[(&str, &str)] = &[
    // Rows in PostgreSQL, a BOOLEAN in DuckDB: either would be silently wrong for users of the other.
    (
        "regexp_matches",
        "it gives rows in PostgreSQL and a BOOLEAN in DuckDB; write regexp_match for the groups of the first match, \
         regexp_extract_all for all matches, regexp_like for whether there is one",
    ),
    ("count_window", ROWS),
    ("countwindow", ROWS),
    ("tumble_rows", ROWS),
    ("hop_rows", ROWS),
];

fn unknown(functions: &FunctionRegistry, name: &str, count: usize) -> TypeError {
    if let Some(form) = SPECIAL_FORMS.iter().find(|f| f.name == name) {
        return TypeError::new(format!("{name} does not take {count} arguments")).with_hint(form.signature);
    }
    let known =
        functions.names().chain(functions.aggregate_names()).chain(SPECIAL_FORMS.iter().map(|f| f.name));
    let error = TypeError::new(format!("there is no function {name}"));
    if let Some((_, hint)) = ELSEWHERE.iter().find(|(n, _)| *n == name) {
        return error.with_hint(*hint);
    }
    match nearest(name, known).as_slice() {
        [] => error,
        near => error.with_hint(format!("did you mean {}?", near.join(" or "))),
    }
}

/// No overload takes these arguments.
pub(super) fn misfit(name: &str, signatures: Vec<&str>, args: &[Expr]) -> TypeError {
    let types: Vec<String> = args.iter().map(|a| a.data_type().to_string()).collect();
    TypeError::new(format!("{name} does not take ({})", types.join(", ")))
        .with_hint(format!("there is {}", signatures.join("; ")))
}

/// GREATEST and LEAST skip NULLs, as in PostgreSQL.
fn extreme(name: &str, args: Vec<Expr>) -> Typed {
    let (args, data_type) =
        unify(args).map_err(|e| TypeError { message: format!("{name}: {}", e.message), ..e })?;
    super::operator::comparable(
        crate::expr::BinaryOp::Less,
        super::null_of(data_type.clone()),
        super::null_of(data_type.clone()),
    )?;
    let function = if name == "greatest" { special::greatest() } else { special::least() };
    bounded(Expr::Call { function, args, data_type })
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fit {
    AsIs,
    Widened,
}

/// The parameter types for so many arguments, if so many are taken.
fn parameters(arity: &Arity, count: usize) -> Option<Vec<&DataType>> {
    match arity {
        Arity::Exact(types) => (types.len() == count).then(|| types.iter().collect()),
        Arity::Optional(types, optional) => (count <= types.len() && count + optional >= types.len())
            .then(|| types.iter().take(count).collect()),
        Arity::Variadic(types) => {
            let last = types.last()?;
            let repeated = types.iter().chain(std::iter::repeat(last)).take(count);
            (count >= types.len()).then(|| repeated.collect())
        }
    }
}

pub(super) fn fits(arity: &Arity, args: &[Expr], fit: Fit) -> bool {
    parameters(arity, args.len())
        .is_some_and(|types| args.iter().zip(types).all(|(arg, to)| takes(&arg.data_type(), arg, to, fit)))
}

fn takes(from: &DataType, arg: &Expr, to: &DataType, fit: Fit) -> bool {
    accepts(from, to)
        || fit == Fit::Widened
            && (widens(from, to)
                || matches!(to, DataType::Decimal { .. }) && from.is_integer()
                || string_literal(arg).is_some()
                    && super::convert::adapt_text(string_literal(arg).unwrap_or(""), to).is_ok())
}

/// Whether values of `from` are what a parameter of type `to` expects, as they are. A NULL inside a parameter's
/// type stands for any type, an empty STRUCT for any STRUCT; DECIMAL parameters take any precision.
fn accepts(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    match (from, to) {
        (_, T::Null) | (T::Null, _) => true,
        (T::Decimal { .. }, T::Decimal { .. }) => true,
        (T::Array(a), T::Array(b)) => accepts(a, b),
        (T::Map(a, b), T::Map(c, d)) => accepts(a, c) && accepts(b, d),
        (T::Struct(_), T::Struct(fields)) if fields.is_empty() => true,
        (a, T::BigInt) => a.is_integer(),
        (a, T::Double) => a.is_float(),
        _ => from == to,
    }
}

fn build(function: &Arc<FunctionSpec>, args: Vec<Expr>) -> Typed {
    let args = arguments(&function.arity, args)?;
    let types: Vec<DataType> = args.iter().map(Expr::data_type).collect();
    let data_type = result(&function.returns, &types)
        .map_err(|m| TypeError::new(format!("{}: {m}", function.name)).with_hint(function.signature))?;
    bounded(Expr::Call { function: function.clone(), args, data_type })
}

/// The arguments, cast to the parameters that they were found to fit.
pub(super) fn arguments(arity: &Arity, args: Vec<Expr>) -> Result<Vec<Expr>, TypeError> {
    let types = parameters(arity, args.len()).unwrap_or_default();
    let mut cast = Vec::with_capacity(args.len());
    for (arg, to) in args.into_iter().zip(types) {
        let from = arg.data_type();
        cast.push(match to {
            DataType::Null => arg,
            DataType::Decimal { .. } if from.is_integer() => {
                let (precision, scale) = super::convert::decimal_shape(&from).unwrap_or((19, 0));
                cast_to(arg, &DataType::Decimal { precision, scale })?
            }
            to if from != DataType::Null && accepts(&from, to) => arg,
            to => cast_to(arg, to)?,
        });
    }
    Ok(cast)
}

/// The type of the result of a call with these arguments.
pub(super) fn result(returns: &ReturnType, types: &[DataType]) -> Result<DataType, String> {
    match returns {
        ReturnType::Fixed(t) => Ok(t.clone()),
        ReturnType::SameAs(i) => Ok(types.get(*i).cloned().unwrap_or(DataType::Null)),
        ReturnType::Derived(f) => f(types),
    }
}
