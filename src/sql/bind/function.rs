//! Function calls: scalar ones through the registry, others are handed on; clauses that do not fit are refused by name.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::over::needs_over;
use super::scope::Names;
use super::window::{Form, clause_form};
use super::{Bind, Session, all};
use crate::expr::{Expr, typing};
use crate::record::{DataType, FieldValue};
use crate::sql::Diagnostic;

/// Aggregates that this engine knows by name and can't compute yet.
const AGGREGATES: &[&str] = &[
    "any_value",
    "approx_count_distinct",
    "approx_percentile",
    "arg_max",
    "arg_min",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "every",
    "first_value",
    "histogram",
    "json_agg",
    "json_object_agg",
    "last_value",
    "listagg",
    "max",
    "max_by",
    "median",
    "min",
    "min_by",
    "mode",
    "percentile_cont",
    "percentile_disc",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var_pop",
    "var_samp",
    "variance",
];

impl Session<'_, '_> {
    pub(super) fn call(&mut self, function: &ast::Function, names: Names<'_>) -> Bind<Expr> {
        let ast::Function {
            name,
            uses_odbc_syntax: _,
            parameters,
            args,
            within_group,
            filter,
            null_treatment,
            over,
        } = function;
        let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
            let at = self.place(name);
            return self.fail(format!("there is no function '{name}'"), at);
        };
        let at = self.ident_place(ident);
        let lower = ident.value.to_lowercase();
        let known = !self.binder.functions.overloads(&lower).is_empty();
        if let Some(over) = over {
            return self.over_call(function, &lower, over, names);
        }
        if !known && lower == "grouping" {
            return self.grouping_call(function, names);
        }
        let plain = filter.is_none() && within_group.is_empty();
        if !(self.binder.functions.aggregates(&lower).is_empty() || known && plain) {
            if null_treatment.is_some_and(|n| n == ast::NullTreatment::IgnoreNulls) {
                return self.unsupported("IGNORE NULLS", at);
            }
            return self.aggregate(function, &lower, names);
        }
        if let Some(filter) = filter {
            let at = self.place(&**filter);
            return self.unsupported("FILTER in a call", at);
        }
        if !known && AGGREGATES.contains(&lower.as_str()) {
            return self.unsupported(&format!("the aggregate '{lower}'"), at);
        }
        if !within_group.is_empty() {
            return self.unsupported("WITHIN GROUP", at);
        }
        if null_treatment.is_some() {
            return self.unsupported("IGNORE NULLS or RESPECT NULLS", at);
        }
        if !known && needs_over(&lower) {
            let error = Diagnostic::new(format!("{lower} needs OVER"), at);
            let hint = format!("write {lower}(…) OVER (PARTITION BY … ORDER BY …)");
            return Err(self.report(error.with_hint(hint)));
        }
        if !known && let Some(form) = Form::of(&lower).or_else(|| clause_form(&lower)) {
            return self.window_value(form, args, names);
        }
        if !known && let Some((form, bound)) = Form::bound_of(&lower) {
            self.window_value(form, args, names)?;
            return Ok(bound.expr(&lower, DataType::Timestamp));
        }
        if !known && lower == "unnest" {
            let error = Diagnostic::new("UNNEST in an expression is not supported yet", at);
            return Err(self.report(error.with_hint("write FROM …, UNNEST(array) AS t(x)")));
        }
        if !matches!(parameters, FunctionArguments::None) {
            return self.unsupported("a call with two argument lists", at);
        }
        let args: Vec<&ast::Expr> = match args {
            FunctionArguments::None => Vec::new(),
            FunctionArguments::Subquery(query) => {
                let at = self.place(&**query);
                return self.unsupported("a subquery as an argument", at);
            }
            FunctionArguments::List(list) => self.arguments(list)?,
        };
        match lower.as_str() {
            "row" | "struct" if !known => self.row(args.into_iter(), names),
            _ => {
                let form = if lower == "normalize" { args.get(1).and_then(|a| normal_form(a)) } else { None };
                let given = if form.is_some() { 1 } else { args.len() };
                let bound: Vec<_> = args.into_iter().take(given).map(|a| self.expr(a, names)).collect();
                let mut args = all(bound)?;
                args.extend(form.map(typing::literal));
                let made = typing::call(self.binder.functions, &lower, args);
                // An unknown name is marked alone, wrong arguments with the whole call.
                let at = if known { self.here } else { at };
                self.typed(made, at)
            }
        }
    }

    /// The arguments of a call that has nothing but arguments.
    fn arguments<'e>(&mut self, list: &'e ast::FunctionArgumentList) -> Bind<Vec<&'e ast::Expr>> {
        let ast::FunctionArgumentList { duplicate_treatment, args, clauses } = list;
        if let Some(treatment) = duplicate_treatment {
            return self
                .unsupported(&format!("{treatment} in the arguments of a scalar function"), self.here);
        }
        if let Some(clause) = clauses.first() {
            return self.unsupported(&format!("'{clause}' in the arguments of a call"), self.here);
        }
        let args: Vec<_> = args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
                FunctionArg::Unnamed(
                    FunctionArgExpr::Wildcard
                    | FunctionArgExpr::WildcardWithOptions(_)
                    | FunctionArgExpr::QualifiedWildcard(_),
                ) => self.unsupported("* as an argument", self.here),
                FunctionArg::Named { name, arg: _, operator: _ } => {
                    let at = self.ident_place(name);
                    self.unsupported("a named argument of a scalar function", at)
                }
                FunctionArg::ExprNamed { name, arg: _, operator: _ } => {
                    let at = self.place(name);
                    self.unsupported("a named argument of a scalar function", at)
                }
            })
            .collect();
        all(args)
    }
}

/// The form in `normalize(text, NFD)`, which is a word and not a column.
fn normal_form(argument: &ast::Expr) -> Option<FieldValue> {
    let ast::Expr::Identifier(ident) = argument else { return None };
    let form = ["NFC", "NFD", "NFKC", "NFKD"].into_iter().find(|f| f.eq_ignore_ascii_case(&ident.value));
    form.filter(|_| ident.quote_style.is_none()).map(FieldValue::from)
}
