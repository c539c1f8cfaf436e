//! REPARTITION BY: FROM and WHERE become the first part of a query, whose rows go through a topic; the rest reads them from there.

use sqlparser::ast;

use super::scope::{Names, Scope};
use super::{Bind, Session};
use crate::expr::{Expr, typing};
use crate::plan::{LogicalPlan, OutputColumn, OutputTarget, Stateful, WatermarkSpec, time_traits, walk};
use crate::record::{DataType, Schema};
use crate::sql::resolve::Split;
use crate::sql::{Diagnostic, Span, repartition_of};

impl Session<'_, '_> {
    /// The plan that reads what `plan` gives, repartitioned as the SELECT says; `plan` itself if it says nothing.
    pub(super) fn repartitioned(
        &mut self,
        plan: LogicalPlan,
        select: &ast::Select,
        scope: &Scope,
    ) -> Bind<LogicalPlan> {
        let Some(clause) = repartition_of(select) else { return Ok(plan) };
        let at = self.keyword_in(self.here, "REPARTITION");
        let keys = clause.keys.iter().map(|key| self.repartition_key(key, &plan, scope));
        let keys = super::all(keys.collect::<Vec<_>>())?;
        if let Some(what) = kept(&plan) {
            let error =
                Diagnostic::new(format!("{what} can't stand before REPARTITION BY: it keeps state"), at);
            let hint =
                "the part before it runs on any partitions; split the query where its first state begins";
            return Err(self.report(error.with_hint(hint)));
        }
        let plan = renamed(plan, &scope.schema);
        let schema = plan.schema().clone();
        for (i, field) in schema.fields().iter().enumerate() {
            if schema.fields().iter().take(i).any(|f| f.name.eq_ignore_ascii_case(&field.name)) {
                let message = format!("two columns are named '{}' before REPARTITION BY", field.name);
                return Err(self.report(Diagnostic::new(message, at).with_hint("rename one in a subquery")));
            }
        }
        let watermark = self.carried_watermark(&plan, at)?;
        let split = Split { plan, keys, topic: clause.topic.to_owned(), options: clause.options };
        let found = self.binder.resolver.split(split);
        let ident = ast::Ident::new(clause.topic);
        let scan = self.within(at, |s| s.resolved(found, &ident))?;
        Ok(match watermark {
            None => scan,
            Some(spec) => LogicalPlan::Stateful { input: Box::new(scan), spec: Stateful::Watermark(spec) },
        })
    }

    /// The name of the column that a key is.
    fn repartition_key(&mut self, key: &ast::Expr, plan: &LogicalPlan, scope: &Scope) -> Bind<String> {
        let at = self.place(key);
        let expr = self.expr(key, Names::clause(scope, "REPARTITION BY"))?;
        let column = match &expr {
            Expr::Column { index, .. } => Some(*index),
            _ => None,
        };
        let volatile = match column {
            Some(index) => is_volatile(plan, index),
            None => walk::is_volatile(&expr),
        };
        if volatile {
            let message = "REPARTITION BY an expression that is not deterministic: a row that is read again \
                           would go to another partition";
            return self.fail(message, at);
        }
        let Some(field) = column.and_then(|i| scope.schema.fields().get(i)) else {
            let error = Diagnostic::new("REPARTITION BY takes columns", at);
            let hint = "give the expression a name: FROM (SELECT *, expression AS k FROM …) REPARTITION BY k";
            return Err(self.report(error.with_hint(hint)));
        };
        match &field.data_type {
            DataType::Boolean
            | DataType::SmallInt
            | DataType::Integer
            | DataType::BigInt
            | DataType::Varchar
            | DataType::Bytes
            | DataType::Date
            | DataType::Time
            | DataType::Timestamp => Ok(field.name.to_string()),
            other => {
                let message =
                    format!("REPARTITION BY a {other}: equal values may be written in several ways");
                let hint = "cast it to VARCHAR or to a whole number, in a subquery, and group by that";
                Err(self.report(Diagnostic::new(message, at).with_hint(hint)))
            }
        }
    }

    /// The watermark of the rows behind the topic: that of the rows before it, told again in the order in which they arrive.
    fn carried_watermark(&mut self, plan: &LogicalPlan, at: Span) -> Bind<Option<WatermarkSpec>> {
        let mut specs = Vec::new();
        watermarks(plan, &mut specs);
        let Some(first) = specs.first() else { return Ok(None) };
        let alone = |s: &WatermarkSpec| s.watermark.columns_used() == s.time.columns_used();
        let rule = |s: &WatermarkSpec| (nameless(&s.watermark), s.lateness, s.late);
        if !specs.iter().all(|s| alone(s) && rule(s) == rule(first)) {
            let message = "the WATERMARK can't be told again behind REPARTITION BY";
            let hint = "it must look at its own column only, and be the same for all streams of a UNION ALL";
            return Err(self.report(Diagnostic::new(message, at).with_hint(hint)));
        }
        let traits = time_traits(plan);
        let Some(time) = traits.columns.iter().find(|c| c.behind == Some(0)) else {
            let message = "the column of the WATERMARK is not among those before REPARTITION BY";
            return Err(self.report(Diagnostic::new(message, at).with_hint("select it in the subquery, too")));
        };
        let schema = plan.schema().clone();
        let column = self.typed(typing::column(&schema, time.index), at)?;
        let told = first.watermark.clone().transform(&mut |e| match e {
            Expr::Column { .. } => column.clone(),
            other => other,
        });
        Ok(Some(WatermarkSpec {
            time: column,
            watermark: told,
            // Judged where the row was read.
            max_future_skew: None,
            schema,
            ..(*first).clone()
        }))
    }
}

/// The expression, whatever its column is called and wherever it stands.
fn nameless(expr: &Expr) -> Expr {
    expr.clone().transform(&mut |e| match e {
        Expr::Column { data_type, .. } => Expr::Column { index: 0, name: "".into(), data_type },
        other => other,
    })
}

fn watermarks<'p>(plan: &'p LogicalPlan, found: &mut Vec<&'p WatermarkSpec>) {
    if let LogicalPlan::Stateful { spec: Stateful::Watermark(spec), .. } = plan {
        found.push(spec);
    }
    plan.inputs().into_iter().for_each(|p| watermarks(p, found));
}

/// What of a plan keeps state.
fn kept(plan: &LogicalPlan) -> Option<&'static str> {
    let own = match plan {
        LogicalPlan::Limit { .. } => Some("LIMIT"),
        LogicalPlan::Stateful { spec, .. } => match spec {
            Stateful::Watermark(_) => None,
            Stateful::Aggregate(_) => Some("GROUP BY"),
            Stateful::WindowTable(_) => Some("a window"),
            Stateful::Over(_) => Some("OVER"),
            Stateful::TopN(_) | Stateful::Sort(_) => Some("ORDER BY or a top-N"),
        },
        _ => None,
    };
    own.or_else(|| plan.inputs().into_iter().find_map(kept))
}

/// Whether the value of a column is another one at each evaluation.
fn is_volatile(plan: &LogicalPlan, index: usize) -> bool {
    match plan {
        LogicalPlan::Project { input, columns, .. } => {
            let mut outputs = columns.iter().filter(|c| matches!(c.target, OutputTarget::Column(_)));
            let Some(column) = outputs.nth(index) else { return false };
            let below = |i: &usize| is_volatile(input, *i);
            walk::is_volatile(&column.expr) || column.expr.columns_used().iter().any(below)
        }
        plan => plan.inputs().into_iter().any(|p| index < p.schema().len() && is_volatile(p, index)),
    }
}

/// The plan with its columns under the names that the SELECT knows.
fn renamed(plan: LogicalPlan, names: &std::sync::Arc<Schema>) -> LogicalPlan {
    if plan.schema().names().eq(names.names()) {
        return plan;
    }
    let columns = plan.schema().fields().iter().zip(names.fields()).enumerate().map(|(index, (f, named))| {
        let expr = Expr::Column { index, name: f.name.clone(), data_type: f.data_type.clone() };
        OutputColumn { expr, target: OutputTarget::Column(named.name.clone()) }
    });
    let columns = columns.collect();
    LogicalPlan::Project { input: Box::new(plan), columns, schema: names.clone() }
}
