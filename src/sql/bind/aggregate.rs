//! Calls of aggregate functions: DISTINCT, FILTER, ORDER BY inside, WITHIN GROUP.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments};

use super::calls::Place;
use super::scope::{AliasUse, Names};
use super::{Bind, Session, all};
use crate::expr::{AggregateCall, Expr, SortKey, typing};
use crate::record::DataType;
use crate::sql::Diagnostic;

/// What stands between the parentheses of an aggregate call.
struct Arguments<'e> {
    distinct: bool,
    /// `None` = `*`.
    args: Option<Vec<&'e ast::Expr>>,
    order_by: &'e [ast::OrderByExpr],
}

impl Session<'_, '_> {
    /// Binds the call of an aggregate; it stands in the expression as a column.
    pub(super) fn aggregate(&mut self, function: &ast::Function, name: &str, names: Names<'_>) -> Bind<Expr> {
        let collected = match names.place.collected {
            Some(collected) if names.place.aggregates => collected,
            _ => return self.misplaced(name, names.place),
        };
        let inner = Names { place: Place::row(INSIDE), alias_use: AliasUse::Inline, ..names };
        let call = self.aggregate_call(function, name, inner)?;
        Ok(collected.aggregate(call))
    }

    /// An aggregate where there are no groups.
    pub(super) fn misplaced<T>(&mut self, name: &str, place: Place<'_>) -> Bind<T> {
        let (message, hint) = match place.clause {
            clause if clause == INSIDE => (
                format!("the aggregate {name} can't stand inside another aggregate"),
                Some("aggregate in a subquery first"),
            ),
            "WHERE" => {
                ("an aggregate can't stand in WHERE".to_owned(), Some("conditions on groups stand in HAVING"))
            }
            clause => (format!("an aggregate can't stand in {clause}"), None),
        };
        let error = Diagnostic { message, span: self.here, hint: hint.map(str::to_owned) };
        Err(self.report(error))
    }

    /// The call with its clauses; `inner` are the names of the rows that are aggregated.
    pub(super) fn aggregate_call(
        &mut self,
        function: &ast::Function,
        name: &str,
        inner: Names<'_>,
    ) -> Bind<AggregateCall> {
        let Arguments { distinct, args, order_by } = self.aggregate_arguments(&function.args)?;
        let within = &function.within_group;
        if !within.is_empty() && !order_by.is_empty() {
            return self.fail("ORDER BY stands either in the call or in WITHIN GROUP", self.here);
        }
        let order_by = if within.is_empty() { order_by } else { within };
        let bound: Vec<_> = args.iter().flatten().map(|a| self.expr(a, inner)).collect();
        let filter = function.filter.as_ref().map(|f| self.condition(f, "FILTER", inner)).transpose();
        let order_by = self.sort_keys(order_by, inner);
        let (args, filter, order_by) = (all(bound)?, filter?, order_by?);
        let made = typing::aggregate_call(self.binder.functions, name, args, distinct, filter, order_by);
        self.typed(made, self.here)
    }

    fn aggregate_arguments<'e>(&mut self, args: &'e FunctionArguments) -> Bind<Arguments<'e>> {
        let list = match args {
            FunctionArguments::List(list) => list,
            FunctionArguments::None => {
                return Ok(Arguments { distinct: false, args: Some(Vec::new()), order_by: &[] });
            }
            FunctionArguments::Subquery(query) => {
                let at = self.place(&**query);
                return self.unsupported("a subquery as an argument", at);
            }
        };
        let ast::FunctionArgumentList { duplicate_treatment, args, clauses } = list;
        let distinct = *duplicate_treatment == Some(ast::DuplicateTreatment::Distinct);
        let mut order_by: &[ast::OrderByExpr] = &[];
        for clause in clauses {
            match clause {
                FunctionArgumentClause::OrderBy(list) => order_by = list,
                FunctionArgumentClause::IgnoreOrRespectNulls(ast::NullTreatment::RespectNulls) => {}
                other => {
                    let message = format!("'{other}' in the arguments of an aggregate");
                    return self.unsupported(&message, self.here);
                }
            }
        }
        if let [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] = args.as_slice() {
            return Ok(Arguments { distinct, args: None, order_by });
        }
        let args: Vec<_> = args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
                FunctionArg::Unnamed(_) => self.fail("* stands alone in a call", self.here),
                FunctionArg::Named { name, arg: _, operator: _ } => {
                    let at = self.ident_place(name);
                    self.unsupported("a named argument of an aggregate", at)
                }
                FunctionArg::ExprNamed { name, arg: _, operator: _ } => {
                    let at = self.place(name);
                    self.unsupported("a named argument of an aggregate", at)
                }
            })
            .collect();
        Ok(Arguments { distinct, args: Some(all(args)?), order_by })
    }

    /// A condition; the clause is named if it is none.
    pub(super) fn condition(&mut self, ast: &ast::Expr, clause: &str, names: Names<'_>) -> Bind<Expr> {
        let condition = self.expr(ast, names)?;
        match condition.data_type() {
            DataType::Boolean | DataType::Null => Ok(condition),
            other => {
                let at = self.place(ast);
                self.fail(format!("{clause} takes a BOOLEAN, not {other}"), at)
            }
        }
    }

    /// The items of an ORDER BY inside a call.
    pub(super) fn sort_keys(&mut self, items: &[ast::OrderByExpr], names: Names<'_>) -> Bind<Vec<SortKey>> {
        let keys: Vec<_> = items
            .iter()
            .map(|item| {
                let expr = self.expr(&item.expr, names)?;
                self.sort_key(item, expr)
            })
            .collect();
        all(keys)
    }

    /// Direction and place of NULLs, which come last by default.
    pub(super) fn sort_key(&mut self, item: &ast::OrderByExpr, expr: Expr) -> Bind<SortKey> {
        let ast::OrderByExpr { expr: ast, options, with_fill } = item;
        let at = self.place(ast);
        if with_fill.is_some() {
            return self.unsupported("WITH FILL", at);
        }
        let descending = match &options.sort {
            None | Some(ast::OrderBySort::Asc) => false,
            Some(ast::OrderBySort::Desc) => true,
            Some(ast::OrderBySort::Using(_)) => return self.unsupported("ORDER BY … USING", at),
        };
        // What can't be compared can't be sorted.
        let comparable = typing::binary(crate::expr::BinaryOp::Less, expr.clone(), expr.clone());
        self.typed(comparable, at)?;
        Ok(SortKey { expr, descending, nulls_first: options.nulls_first == Some(true) })
    }
}

/// Clause name of an aggregate's own arguments.
const INSIDE: &str = "an aggregate";
