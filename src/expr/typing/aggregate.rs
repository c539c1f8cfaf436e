//! Calls of aggregate functions: choice of the overload, casts of arguments, and what DISTINCT, FILTER and ORDER BY demand.

use std::sync::Arc;

use super::call::{Fit, arguments, fits, misfit, result};
use super::{TypeError, null_of};
use crate::expr::{AggregateCall, AggregateFunction, BinaryOp, Expr, FunctionRegistry, SortKey};
use crate::record::{DataType, nearest};

/// A call of an aggregate. `order_by` is what stands in ORDER BY inside the brackets or in WITHIN GROUP (ORDER BY …); no
/// arguments are `count(*)`.
///
/// # Errors
/// If there is no such aggregate (names the nearest), no overload fits (lists the signatures), or a clause does not go
/// with it.
pub fn aggregate_call(
    functions: &FunctionRegistry,
    name: &str,
    args: Vec<Expr>,
    distinct: bool,
    filter: Option<Expr>,
    order_by: Vec<SortKey>,
) -> Result<AggregateCall, TypeError> {
    let lower = name.to_ascii_lowercase();
    let overloads = functions.aggregates(&lower);
    if overloads.is_empty() {
        let error = TypeError::new(format!("there is no aggregate {lower}"));
        return Err(match nearest(&lower, functions.aggregate_names()).as_slice() {
            [] => error,
            near => error.with_hint(format!("did you mean {}?", near.join(" or "))),
        });
    }
    if let Some(wrong) = filter.as_ref().map(Expr::data_type)
        && !matches!(wrong, DataType::Boolean | DataType::Null)
    {
        return Err(TypeError::new(format!("FILTER (WHERE …) of {lower} is {wrong}, not BOOLEAN")));
    }
    for key in &order_by {
        let null = || null_of(key.expr.data_type());
        super::operator::comparable(BinaryOp::Less, null(), null())?;
    }
    let (function, args, order_by) = resolve(&lower, overloads, args, order_by)?;
    let seen: Vec<Expr> = if function.within_group {
        order_by.iter().map(|k| k.expr.clone()).chain(args.iter().cloned()).collect()
    } else {
        args.clone()
    };
    let types: Vec<DataType> = seen.iter().map(Expr::data_type).collect();
    let data_type = result(&function.returns, &types)
        .map_err(|m| TypeError::new(format!("{lower}: {m}")).with_hint(function.signature))?;
    if distinct {
        check_distinct(&function, &args, &order_by)?;
    }
    // Order matters to a sum of doubles too.
    let matters = function.ordered || args.iter().any(|a| a.data_type().is_float());
    let order_by = if matters || function.within_group { order_by } else { Vec::new() };
    Ok(AggregateCall { function, args, distinct, filter, order_by, data_type })
}

type Resolved = (Arc<AggregateFunction>, Vec<Expr>, Vec<SortKey>);

/// Chooses among the overloads and casts. Those that aggregate what WITHIN GROUP orders have a parameter for it, the first.
fn resolve(
    name: &str,
    overloads: &[Arc<AggregateFunction>],
    args: Vec<Expr>,
    order_by: Vec<SortKey>,
) -> Result<Resolved, TypeError> {
    let within = !order_by.is_empty() && overloads.iter().any(|f| f.within_group);
    if within && order_by.len() > 1 {
        return Err(TypeError::new(format!("{name} is ordered by one expression")));
    }
    let mut all = Vec::with_capacity(args.len() + 1);
    if within {
        all.extend(order_by.first().map(|k| k.expr.clone()));
    }
    all.extend(args);
    let candidates: Vec<&Arc<AggregateFunction>> =
        overloads.iter().filter(|f| f.within_group == within).collect();
    let chosen = [Fit::AsIs, Fit::Widened]
        .into_iter()
        .find_map(|fit| candidates.iter().find(|f| fits(&f.arity, &all, fit)));
    let Some(&function) = chosen else {
        let signatures: Vec<&str> = overloads.iter().map(|f| f.signature).collect();
        return Err(misfit(name, signatures, if within { all.get(1..).unwrap_or_default() } else { &all }));
    };
    let mut all = arguments(&function.arity, all)?;
    if function.constants && all.iter().skip(1).any(|a| !a.is_constant()) {
        return Err(
            TypeError::new(format!("the fraction of {name} must be constant")).with_hint(function.signature)
        );
    }
    if !within {
        return Ok((function.clone(), all, order_by));
    }
    let args = all.split_off(1);
    let order_by = order_by.into_iter().zip(all).map(|(key, expr)| SortKey { expr, ..key }).collect();
    Ok((function.clone(), args, order_by))
}

/// Rows that are one must have one place in the order, as in PostgreSQL.
fn check_distinct(
    function: &AggregateFunction,
    args: &[Expr],
    order_by: &[SortKey],
) -> Result<(), TypeError> {
    let name = function.name;
    if args.is_empty() && !function.within_group {
        return Err(TypeError::new(format!("{name}(DISTINCT *) counts nothing in particular"))
            .with_hint("name the expression that is to be distinct"));
    }
    if function.within_group {
        return Err(TypeError::new(format!("{name} WITHIN GROUP does not take DISTINCT")));
    }
    if order_by.iter().any(|k| !args.contains(&k.expr)) {
        return Err(TypeError::new(format!(
            "with DISTINCT, {name} can be ordered by its own arguments only"
        )));
    }
    Ok(())
}
