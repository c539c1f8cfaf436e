//! Materialized tables: CREATE TABLE … AS SELECT, and the pull queries that read them.

use super::jobs::scans;
use super::relations::Relations;
use crate::catalog::{Options, Relation, RelationKind};
use crate::connector::table::{Table, TableSource};
use crate::expr::{BinaryOp, Expr};
use crate::plan::{self, InputRef, JobPlan, LogicalPlan, OperatorSpec};
use crate::record::{CompactString, FieldValue};
use crate::sql::{Diagnostic, Span};

/// Whether a table is kept by the engine itself.
pub(super) fn is_materialized(relation: &Relation) -> bool {
    relation.kind == RelationKind::Table
        && relation.options.get("connector").is_none()
        && relation.options.get("path").is_none()
}

/// The table that a query fills; its key is the declared one, else the columns that the query groups by.
///
/// # Errors
/// If there is no key.
pub(super) fn materialized(relation: &Relation, plan: &LogicalPlan) -> Result<Table, String> {
    let schema = plan.schema();
    let name = &relation.name;
    let position = |column: &CompactString| {
        schema
            .find(column)
            .ok_or_else(|| format!("the query of '{name}' has no column '{column}' for its PRIMARY KEY"))
    };
    let declared: Vec<usize> = relation.primary_key.iter().map(position).collect::<Result<_, _>>()?;
    let key = match declared.is_empty() {
        false => declared,
        true => plan::output_key(plan).ok_or_else(|| {
            format!("'{name}' needs a key: which columns of the query tell its rows apart?")
        })?,
    };
    Ok(Table::new(schema.clone(), key))
}

/// Queries of a text that read a table which the same text fills: they would find it empty.
pub(super) fn read_and_written(
    relations: &Relations,
    queries: &[(&str, &LogicalPlan, Span)],
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (_, plan, span) in queries {
        let mut names = Vec::new();
        scans(plan, &mut names);
        for name in names {
            if relations.table(&name).is_some() && queries.iter().any(|(sink, ..)| *sink == name) {
                let message = format!("'{name}' is filled by this text, so nothing is in it yet");
                let hint = "query it while the job runs: engine.query(\"SELECT …\"); reading its changes as a stream is not \
                            supported yet";
                found.push(Diagnostic::new(message, *span).with_hint(hint));
            }
        }
    }
    found
}

/// The source of a pull query: one row if the query asks for one key, else all rows.
pub(super) fn source(table: &Table, plan: &JobPlan, source: usize) -> TableSource {
    match wanted_key(table, plan, source) {
        Some(key) => TableSource::of_key(table.clone(), key),
        None => TableSource::new(table.clone()),
    }
}

/// The values that `WHERE key = …` asks for, if everything that reads the source is one such filter. The filter stays in the
/// plan, so this may only find fewer rows, never others.
fn wanted_key(table: &Table, plan: &JobPlan, source: usize) -> Option<Vec<FieldValue>> {
    let from = InputRef::Source(source);
    let mut readers = plan.nodes.iter().filter(|n| n.inputs.contains(&from));
    let (reader, None) = (readers.next()?, readers.next()) else { return None };
    if plan.sinks.iter().any(|s| s.inputs.contains(&from)) {
        return None;
    }
    let OperatorSpec::FilterProject(spec) = &reader.operator else { return None };
    let read = &plan.sources.get(source)?.schema;
    let conditions = match spec.predicate.as_ref()? {
        Expr::And(all) => all.as_slice(),
        one => std::slice::from_ref(one),
    };
    let value = |key: &usize| {
        let wanted = table.schema().fields().get(*key)?;
        conditions.iter().find_map(|condition| {
            let Expr::Binary { op: BinaryOp::Eq, left, right, .. } = condition else { return None };
            let (index, value, data_type) = match (&**left, &**right) {
                (Expr::Column { index, .. }, Expr::Literal { value, data_type })
                | (Expr::Literal { value, data_type }, Expr::Column { index, .. }) => {
                    (*index, value, data_type)
                }
                _ => return None,
            };
            // Keys are found by their exact text: only a constant of the column's own type is one.
            let named = read.fields().get(index)?.name == wanted.name;
            let exact =
                wanted.data_type == *data_type || (wanted.data_type.is_integer() && data_type.is_integer());
            let plain = exact && (data_type.is_integer() || matches!(value, FieldValue::String(_)));
            (named && plain && !value.is_null()).then(|| value.clone())
        })
    };
    table.key().iter().map(value).collect()
}

/// Whether a sink is told of rows as they change, without being asked: a table kept by the engine, a changelog.
pub(super) fn tells_changes(relations: &Relations, sink: &str) -> bool {
    let options = relations.options(sink);
    let is = |key: &str, wanted: &str| options.get(key).is_some_and(|v| v.eq_ignore_ascii_case(wanted));
    relations.table(sink).is_some() || is("changelog", "upsert") || is("format", "debezium-json")
}

/// Whether a sink with these options can be told of rows that change; one without options – the program's own, a
/// materialized table, a bare SELECT – sees the kind of each row.
pub(super) fn takes_changes(options: &Options) -> bool {
    let is = |key: &str, wanted: &str| options.get(key).is_some_and(|v| v.eq_ignore_ascii_case(wanted));
    let formatted = options.get("connector").is_some() || options.get("path").is_some();
    !formatted || is("connector", "blackhole") || is("changelog", "upsert") || is("format", "debezium-json")
}
