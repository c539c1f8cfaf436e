//! INSERT: gives the columns of a query to those of the target, by position.

use std::sync::Arc;

use super::{Bind, Bound, Reported, Session, all, suggestion};
use crate::expr::Expr;
use crate::expr::typing::{self, TypeError};
use crate::plan::{LogicalPlan, OutputColumn, OutputTarget, walk};
use crate::record::{Field, FieldValue, Schema};
use crate::sql::resolve::InsertTarget;
use crate::sql::{Diagnostic, Span};

impl Session<'_, '_> {
    pub(super) fn insert(&mut self, bound: Bound, target: &InsertTarget<'_>) -> Bind<Bound> {
        match target.schema {
            Some(schema) => {
                let positions = self.target_columns(target, schema)?;
                self.insert_into(bound, target, schema, &positions)
            }
            None if target.columns.is_empty() => Ok(bound),
            None => {
                // The target takes its shape from the query, under these names.
                let given = bound.plan.schema().clone();
                self.check_count(target, target.columns.iter().map(String::as_str), given.len())?;
                let renamed = given.fields().iter().zip(target.columns);
                let schema = Schema::new(renamed.map(|(f, name)| Field { name: name.into(), ..f.clone() }));
                let positions: Vec<usize> = (0..schema.len()).collect();
                self.insert_into(bound, target, &schema, &positions)
            }
        }
    }

    /// Which target column each column of the query goes to.
    fn target_columns(&mut self, target: &InsertTarget<'_>, schema: &Schema) -> Bind<Vec<usize>> {
        if target.columns.is_empty() {
            return Ok((0..schema.len()).collect());
        }
        let mut positions: Vec<usize> = Vec::new();
        let mut failed = false;
        for name in target.columns {
            match schema.find(name) {
                Some(i) if positions.contains(&i) => {
                    let _: Bind<()> = self.fail(format!("the column '{name}' is given twice"), target.span);
                    failed = true;
                }
                Some(i) => positions.push(i),
                None => {
                    let message = format!("'{}' has no column '{name}'", target.name);
                    let hint = suggestion(name, schema.names(), "its columns are");
                    self.report(Diagnostic { message, span: target.span, hint });
                    failed = true;
                }
            }
        }
        if failed { Err(Reported) } else { Ok(positions) }
    }

    fn check_count<'n>(
        &mut self,
        target: &InsertTarget<'_>,
        wanted: impl Iterator<Item = &'n str>,
        given: usize,
    ) -> Bind<()> {
        let wanted: Vec<&str> = wanted.collect();
        if wanted.len() == given {
            return Ok(());
        }
        let columns = |n: usize| format!("{n} column{}", if n == 1 { "" } else { "s" });
        let what = match wanted.get(given) {
            Some(missing) => format!("there is nothing for '{missing}'"),
            None => format!("that is {} too many", given - wanted.len()),
        };
        let message =
            format!("'{}' takes {}, the query gives {given}: {what}", target.name, columns(wanted.len()));
        let error = Diagnostic::new(message, target.span);
        Err(self.report(error.with_hint(format!("the columns are: {}", wanted.join(", ")))))
    }

    fn insert_into(
        &mut self,
        bound: Bound,
        target: &InsertTarget<'_>,
        schema: &Arc<Schema>,
        positions: &[usize],
    ) -> Bind<Bound> {
        let Bound { plan, spans } = bound;
        let names = positions.iter().filter_map(|p| Some(schema.fields().get(*p)?.name.as_str()));
        self.check_count(target, names, plan.schema().len())?;
        for (to, field) in schema.fields().iter().enumerate() {
            if !field.nullable && !positions.contains(&to) {
                let message = format!("'{}' of '{}' is NOT NULL and gets no value", field.name, target.name);
                return self.fail(message, target.span);
            }
        }
        let into = Into { name: target.name, at: target.span, schema, positions, spans: &spans };
        let plan = self.retarget(plan, &into)?;
        Ok(Bound { plan, spans })
    }

    /// Makes `plan` deliver the target's columns. Where its columns are computed they are cast at their source, so that a
    /// constant is judged by its value: `SELECT 1` fits SMALLINT, `VALUES ('2026-01-01')` fits DATE.
    fn retarget(&mut self, plan: LogicalPlan, into: &Into<'_>) -> Bind<LogicalPlan> {
        let schema = into.schema.clone();
        match plan {
            LogicalPlan::Limit { input, count, offset } => {
                let input = Box::new(self.retarget(*input, into)?);
                Ok(LogicalPlan::Limit { input, count, offset })
            }
            LogicalPlan::Union { inputs, schema: _ } => {
                let inputs: Vec<_> = inputs.into_iter().map(|i| self.retarget(i, into)).collect();
                Ok(LogicalPlan::Union { inputs: all(inputs)?, schema })
            }
            LogicalPlan::Values { schema: given, rows } if !given.is_empty() => {
                let rows: Vec<_> = rows.into_iter().map(|row| self.constants(row, &given, into)).collect();
                Ok(LogicalPlan::Values { schema, rows: all(rows)? })
            }
            LogicalPlan::Project { input, columns, schema: _ } => {
                let is_column = |c: &OutputColumn| matches!(c.target, OutputTarget::Column(_));
                let (given, system): (Vec<_>, Vec<_>) = columns.into_iter().partition(is_column);
                let mut columns = self.arrange(given.into_iter().map(|c| c.expr).collect(), into)?;
                columns.extend(system);
                Ok(LogicalPlan::Project { input, columns, schema })
            }
            other => {
                let given = other.schema().clone();
                let exprs = (0..given.len()).map(|i| self.typed(typing::column(&given, i), into.at));
                let exprs = all(exprs.collect::<Vec<_>>())?;
                let columns = self.arrange(exprs, into)?;
                Ok(LogicalPlan::Project { input: Box::new(other), columns, schema })
            }
        }
    }

    fn constants(&mut self, row: Vec<FieldValue>, given: &Schema, into: &Into<'_>) -> Bind<Vec<FieldValue>> {
        let typed = row.into_iter().zip(given.fields());
        let exprs = typed.map(|(value, f)| Expr::Literal { value, data_type: f.data_type.clone() });
        let columns = self.arrange(exprs.collect(), into)?;
        let values = columns.into_iter().map(|c| match walk::constant(&c.expr) {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => self.fail(error.message, into.at),
            None => Err(Reported),
        });
        all(values.collect::<Vec<_>>())
    }

    /// The given expressions in the target's order, cast to its types; NULL where nothing is given.
    fn arrange(&mut self, mut given: Vec<Expr>, into: &Into<'_>) -> Bind<Vec<OutputColumn>> {
        let columns = into.schema.fields().iter().enumerate().map(|(to, field)| {
            let null = || Expr::Literal { value: FieldValue::Null, data_type: field.data_type.clone() };
            let from = into.positions.iter().position(|p| *p == to);
            let expr = match from.and_then(|i| given.get_mut(i)) {
                None => null(),
                Some(slot) => {
                    let at = from.and_then(|i| into.spans.get(i).copied()).unwrap_or(into.at);
                    let made = typing::coerce(std::mem::replace(slot, null()), &field.data_type);
                    let named = |e: TypeError| TypeError {
                        message: format!("column '{}' of '{}': {}", field.name, into.name, e.message),
                        hint: e.hint,
                    };
                    self.typed(made.map_err(named), at)?
                }
            };
            Ok(OutputColumn { expr, target: OutputTarget::Column(field.name.clone()) })
        });
        all(columns.collect::<Vec<_>>())
    }
}

/// What the columns of a query are given to.
struct Into<'i> {
    name: &'i str,
    at: Span,
    schema: &'i Arc<Schema>,
    /// Target position of each column of the query.
    positions: &'i [usize],
    /// Where each column of the query stands in the text.
    spans: &'i [Span],
}
