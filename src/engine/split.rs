//! Queries with REPARTITION BY: the first part writes a topic and the second reads it, as two jobs.

use std::sync::Arc;

use super::jobs::scans;
use super::relations::{Entry, Relations};
use crate::catalog::{ColumnDef, Options, Relation, RelationKind, TIME_OPTIONS};
use crate::expr::{Expr, SystemColumn};
use crate::plan::{LogicalPlan, OutputColumn, OutputTarget, Stateful, optimize, walk};
use crate::record::Schema;
use crate::sql::{ResolveError, Split};

/// Options of the source that hold for the topic, too; and all `kafka.…`.
const SHARED: &[&str] = &[
    "bootstrap_servers",
    "client",
    "timeout",
    "assignor",
    "membership",
    "prefetch_bytes",
    "fetch",
    "discovery_interval",
    "on_error",
    "dlq",
    "max_errors",
    "max_error_ratio",
];

/// What WITH (…) behind THROUGH may say, besides `kafka.…`.
const OWN: &[&str] = &[
    "partitions",
    "group_id",
    "compression",
    "acks",
    "linger_ms",
    "delivery_timeout",
    "transaction_timeout",
    "discovery_interval",
    "prefetch_bytes",
    "on_error",
    "dlq",
];

/// System columns that a row has behind the topic as before it.
const CARRIED: &[SystemColumn] = &[SystemColumn::EventTime, SystemColumn::Timestamp];

fn failed(message: String, hint: &str) -> ResolveError {
    ResolveError::Failed { message, hint: (!hint.is_empty()).then(|| hint.to_owned()), option: None }
}

impl Relations {
    /// The relation that carries the rows of a first part.
    pub(super) fn split(&mut self, split: Split) -> Result<String, ResolveError> {
        // It goes into group.instance.id, where few characters are allowed.
        let name = format!("repartition.{}", split.topic);
        if let Some((_, known)) = self.splits.iter().find(|(n, _)| *n == name) {
            if *known == split {
                return Ok(name);
            }
            let message = match (&known.keys, known.options.get("partitions")) {
                (keys, partitions)
                    if *keys == split.keys && partitions != split.options.get("partitions") =>
                {
                    format!("the topic '{}' is to have two numbers of partitions", split.topic)
                }
                _ => format!("the topic '{}' would carry the rows of two different first parts", split.topic),
            };
            return Err(failed(
                message,
                "FROM, WHERE, columns and WITH must be the same, or the topic another",
            ));
        }
        if matches!(self.find(&name), Some((_, entry)) if !matches!(entry, Entry::Declared { .. })) {
            return Err(failed(format!("the name '{name}' is taken"), ""));
        }
        let options = self.split_options(&split)?;
        let relation = carrier(&name, split.plan.schema(), options);
        self.connectors.check(&relation.options, TIME_OPTIONS).map_err(|e| failed(e.message, ""))?;
        self.insert(&name, Entry::Declared { relation: Arc::new(relation), source: Arc::default() });
        self.splits.push((name.clone(), split));
        Ok(name)
    }

    fn split_options(&self, split: &Split) -> Result<Options, ResolveError> {
        let mut sources = Vec::new();
        scans(&split.plan, &mut sources);
        let mut first: Option<Options> = None;
        for source in &sources {
            let options = self.options(source);
            let get = |name: &str| options.get(name).unwrap_or_default();
            if self.splits.iter().any(|(name, _)| name == source) {
                return Err(failed("the rows are repartitioned already".into(), "write REPARTITION BY once"));
            }
            if !get("connector").eq_ignore_ascii_case("kafka") {
                let hint =
                    "a query that reads no topic runs in one process, which has all rows: leave it out";
                let message = format!("REPARTITION BY needs a source in Kafka, and '{source}' is none");
                return Err(failed(message, hint));
            }
            if get("stop").eq_ignore_ascii_case("latest") {
                let message = format!(
                    "REPARTITION BY over input that ends is not supported yet: '{source}' has stop = 'latest'"
                );
                return Err(failed(message, "leave out stop, or leave out REPARTITION BY"));
            }
            let topics = ["topic", "topics"].map(|o| get(o).split(',').any(|t| t.trim() == split.topic));
            if topics.contains(&true) {
                return Err(failed(format!("'{source}' reads the topic '{}' itself", split.topic), ""));
            }
            match &first {
                None => first = Some(options),
                Some(f) if f.get("bootstrap_servers") == options.get("bootstrap_servers") => {}
                Some(_) => {
                    let message = "REPARTITION BY over topics of different clusters";
                    return Err(failed(message.into(), "bring them into one cluster first"));
                }
            }
        }
        let Some(first) = first else {
            return Err(failed("REPARTITION BY needs a source in Kafka".into(), ""));
        };
        let shared = first.iter().filter(|(n, _)| SHARED.contains(n) || n.starts_with("kafka."));
        let mut options = Options::new(shared);
        let keys = split.keys.join(", ");
        for (name, value) in [
            ("connector", "kafka"),
            ("topic", &split.topic),
            ("format", "json"),
            ("key_columns", &keys),
            ("partition_by", &keys),
            ("start", "earliest"),
        ] {
            options.set(name, value);
        }
        if let Some(group) = first.get("group_id") {
            options.set("group_id", format!("{group}.{}", split.topic));
        }
        for (name, value) in split.options.iter() {
            if !OWN.contains(&name) && !name.starts_with("kafka.") {
                let message =
                    format!("'{name}' can't be said of a topic that a query is repartitioned through");
                return Err(failed(message, &format!("there are {}", OWN.join(", "))));
            }
            options.set(name, value);
        }
        Ok(options)
    }
}

fn carrier(name: &str, schema: &Schema, options: Options) -> Relation {
    let column = |f: &crate::record::Field| ColumnDef {
        name: f.name.clone(),
        data_type: f.data_type.clone(),
        not_null: !f.nullable,
    };
    Relation {
        name: name.to_owned(),
        kind: RelationKind::Stream,
        columns: schema.fields().iter().map(column).collect(),
        primary_key: Vec::new(),
        watermark: None,
        options,
    }
}

/// The first part that feeds one or more of these plans.
pub(super) struct FirstPart {
    /// The relation that it writes.
    pub(super) sink: String,
    pub(super) plan: LogicalPlan,
    /// The number of the first plan that reads it.
    pub(super) before: usize,
}

/// The first parts of `plans`, each with exactly the columns that are read behind its topic.
///
/// # Errors
/// The number of a plan that asks for what a topic does not carry, and what that is.
pub(super) fn first_parts(
    relations: &mut Relations,
    plans: &[&LogicalPlan],
) -> Result<Vec<FirstPart>, (usize, String)> {
    let splits = relations.splits.clone();
    let mut parts = Vec::new();
    let optimized: Vec<LogicalPlan> = match splits.is_empty() {
        true => return Ok(parts),
        false => plans.iter().map(|p| optimize((*p).clone())).collect(),
    };
    for (name, split) in splits {
        let mut used: Vec<String> = split.keys.clone();
        let mut stamped = false;
        let mut before = None;
        for (i, plan) in optimized.iter().enumerate() {
            let Some(Asked { system, .. }) = behind(plan, &name, &mut used) else { continue };
            before = before.or(Some(i));
            if let Some(lost) = system.iter().find(|c| !CARRIED.contains(c)) {
                let lost = lost.name();
                return Err((
                    i,
                    format!(
                        "{lost} behind REPARTITION BY is that of the topic between, not that of the source"
                    ),
                ));
            }
            stamped |= system.contains(&SystemColumn::Timestamp);
        }
        let Some(before) = before else { continue };
        let plan = sending(split.plan, &used, stamped);
        if let Some((_, Entry::Declared { relation, .. })) = relations.find(&name) {
            let relation = carrier(&name, plan.schema(), relation.options.clone());
            relations.insert(&name, Entry::Declared { relation: Arc::new(relation), source: Arc::default() });
        }
        parts.push(FirstPart { sink: name, plan, before });
    }
    Ok(parts)
}

/// What a plan asks of the rows of a relation.
#[derive(Default)]
struct Asked {
    /// System columns.
    system: Vec<SystemColumn>,
    /// Its rows have become those of groups, which have metadata of their own.
    grouped: bool,
}

/// What a plan asks of the rows of that relation, and the columns that are read of it; `None` if it is not read.
fn behind(plan: &LogicalPlan, name: &str, used: &mut Vec<String>) -> Option<Asked> {
    if let LogicalPlan::Scan { relation, schema, .. } = plan {
        if relation != name {
            return None;
        }
        used.extend(schema.names().map(str::to_owned));
        return Some(Asked::default());
    }
    let below: Vec<Asked> = plan.inputs().into_iter().filter_map(|p| behind(p, name, used)).collect();
    let mut asked = below
        .into_iter()
        .reduce(|a, b| Asked { system: [a.system, b.system].concat(), grouped: a.grouped && b.grouped })?;
    if !asked.grouped {
        asked.system.extend(plan.exprs().into_iter().flat_map(walk::system_columns));
    }
    asked.grouped |= matches!(plan, LogicalPlan::Stateful { spec: Stateful::Aggregate(_), .. });
    Some(asked)
}

/// The first part with the columns that are wanted of it.
fn sending(plan: LogicalPlan, used: &[String], stamped: bool) -> LogicalPlan {
    let fields = plan.schema().fields().iter().enumerate();
    let kept: Vec<_> = fields.filter(|(_, f)| used.iter().any(|u| *u == *f.name)).collect();
    let schema = Schema::new(kept.iter().map(|(_, f)| (*f).clone()));
    let column = |(index, f): &(usize, &crate::record::Field)| OutputColumn {
        expr: Expr::Column { index: *index, name: f.name.clone(), data_type: f.data_type.clone() },
        target: OutputTarget::Column(f.name.clone()),
    };
    let mut columns: Vec<OutputColumn> = kept.iter().map(column).collect();
    if stamped {
        let stamp = SystemColumn::Timestamp;
        columns.push(OutputColumn { expr: Expr::System(stamp), target: OutputTarget::System(stamp) });
    }
    LogicalPlan::Project { input: Box::new(plan), columns, schema }
}
