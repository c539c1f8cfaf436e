//! WATERMARK FOR: the event time of a stream, above its scan.

use std::sync::Arc;

use sqlparser::ast::Ident;

use super::scope::{Lookup, Names, Scope};
use super::{Bind, Binder, Session};
use crate::catalog::WatermarkDef;
use crate::expr::{Expr, typing};
use crate::plan::{LogicalPlan, Stateful, WatermarkSpec};
use crate::record::{DataType, Schema};
use crate::sql::resolve::{BindErrors, EventTime};
use crate::sql::{Diagnostic, Span, parse_expr};

/// Column and expression over the stream's columns.
fn bind(session: &mut Session<'_, '_>, def: &WatermarkDef, schema: &Arc<Schema>) -> Bind<(Expr, Expr)> {
    let at = session.here;
    let mut scope = Scope::default();
    scope.append(None, schema.fields().to_vec());
    let ident = Ident::new(def.column.as_str());
    let Lookup::Found(index) = scope.column(&ident) else {
        let message = format!("WATERMARK FOR: there is no column '{}'", def.column);
        let hint = super::suggestion(&def.column, scope.schema.names(), "the columns are");
        return Err(session.report(Diagnostic { message, span: at, hint }));
    };
    let time = session.typed(typing::column(&scope.schema, index), at)?;
    if time.data_type() != DataType::Timestamp {
        let message =
            format!("WATERMARK FOR takes a TIMESTAMP column; '{}' is {}", def.column, time.data_type());
        return session.fail(message, at);
    }
    let parsed = parse_expr(&def.expression).map_err(|error| session.report(error))?;
    let watermark = session.expr(&parsed, Names::of(&scope))?;
    match watermark.data_type() {
        DataType::Timestamp => Ok((time, watermark)),
        other => {
            let at = session.place(&parsed);
            let error = Diagnostic::new(format!("a watermark is a TIMESTAMP, not {other}"), at);
            let hint = format!("such as {} - INTERVAL '5' SECOND", def.column);
            Err(session.report(error.with_hint(hint)))
        }
    }
}

/// Looks for errors where they can be shown at their place within the statement.
pub(super) fn check(
    binder: Binder<'_>,
    def: &WatermarkDef,
    schema: &Arc<Schema>,
    text: &str,
    statement: Span,
) -> Result<(), BindErrors> {
    let written = text.get(statement.start..statement.end).unwrap_or("");
    let found = |what: &str, from: usize| Some(from + written.get(from..)?.find(what)?);
    // The clause is the only one of its kind, and the expression is kept as it was written.
    let clause = upper(written).find("WATERMARK").unwrap_or(0);
    let place =
        |from: usize, len: usize| Span { start: statement.start + from, end: statement.start + from + len };
    let column = found(&def.column, clause + "WATERMARK".len()).unwrap_or(clause);
    let body = found(&def.expression, column + def.column.len()).unwrap_or(column);
    let mut session = Session::new(binder, &def.expression, Vec::new());
    // Errors of the expression lie within it; the others are moved to the column.
    let marker = Span { start: usize::MAX, end: usize::MAX };
    session.here = marker;
    let bound = bind(&mut session, def, schema);
    session.finish(bound).map(|_| ()).map_err(|errors| {
        let moved = errors.into_iter().map(|e| match e.span == marker {
            true => Diagnostic { span: place(column, def.column.len()), ..e },
            false => Diagnostic { span: place(body + e.span.start, e.span.end - e.span.start), ..e },
        });
        moved.collect()
    })
}

/// In capitals, every byte at its place.
fn upper(text: &str) -> String {
    text.chars().map(|c| c.to_ascii_uppercase()).collect()
}

impl Session<'_, '_> {
    /// The scan of a stream under its watermark.
    pub(super) fn watermarked(&mut self, scan: LogicalPlan, time: &EventTime) -> Bind<LogicalPlan> {
        let schema = scan.schema().clone();
        let at = self.here;
        let mut session = Session::new(self.binder, &time.watermark.expression, Vec::new());
        let bound = bind(&mut session, &time.watermark, &schema);
        match session.finish(bound) {
            Ok((column, watermark)) => {
                let spec = WatermarkSpec {
                    time: column,
                    watermark,
                    max_future_skew: time.max_future_skew,
                    idle_timeout: time.idle_timeout,
                    lateness: time.lateness,
                    late: time.late,
                    schema,
                };
                Ok(LogicalPlan::Stateful { input: Box::new(scan), spec: Stateful::Watermark(spec) })
            }
            Err(errors) => {
                for error in errors {
                    let message = format!("the watermark is not valid: {}", error.message);
                    self.report(Diagnostic { message, span: at, hint: error.hint });
                }
                Err(super::Reported)
            }
        }
    }
}
