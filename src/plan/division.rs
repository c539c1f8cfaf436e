//! Whether a plan may run as several processes, each of which reads its own partitions of every source: everything that an operator
//! brings together must then be in one partition.

use super::{InputRef, JobPlan, OperatorSpec, ProjectColumn, WindowKind};
use crate::expr::Expr;

/// The first operator that would bring rows of several partitions together, and why. `by`: for each source the columns whose equal
/// values are in one partition; empty if nothing is known.
pub fn undivided<'a>(plan: &'a JobPlan, by: &[Vec<String>]) -> Option<(&'a str, String)> {
    plan.nodes.iter().find_map(|node| {
        let sets = match keys(&node.operator) {
            Keys::None => return None,
            Keys::All => {
                return Some((node.id.as_str(), "it brings all rows together".to_owned()));
            }
            Keys::By(sets) => sets,
        };
        let input = node.inputs.first().copied()?;
        let mut sources = Vec::new();
        reached(plan, input, &mut sources);
        for s in sources {
            let wanted = by.get(s).map_or(&[][..], Vec::as_slice);
            let name = plan.sources.get(s).map_or("", |s| s.relation.as_str());
            if wanted.is_empty() {
                let why = format!(
                    "nothing says by which columns the topic of '{name}' is partitioned: partition_by = '…' in its WITH (…)"
                );
                return Some((node.id.as_str(), why));
            }
            let has = |set: &[&Expr], column: &String| {
                set.iter().any(|e| matches!(e, Expr::Column { index, .. } if comes_from(plan, input, *index, s, column)))
            };
            let lacking = sets.iter().find_map(|set| wanted.iter().find(|column| !has(set, column)));
            if let Some(column) = lacking {
                let why = format!(
                    "'{name}' is partitioned by {}, and '{column}' is not among the columns that it groups by",
                    wanted.join(", ")
                );
                return Some((node.id.as_str(), why));
            }
        }
        None
    })
}

/// Sets of sources whose rows an operator brings together by key.
pub fn brought_together(plan: &JobPlan) -> Vec<Vec<usize>> {
    let keyed = plan.nodes.iter().filter(|n| !matches!(keys(&n.operator), Keys::None));
    let sets = keyed.map(|node| {
        let mut sources = Vec::new();
        node.inputs.iter().for_each(|i| reached(plan, *i, &mut sources));
        sources
    });
    sets.collect()
}

/// What an operator brings together.
enum Keys<'a> {
    /// Nothing.
    None,
    /// Everything.
    All,
    /// Rows with the same values of each of these sets.
    By(Vec<Vec<&'a Expr>>),
}

fn keys(operator: &OperatorSpec) -> Keys<'_> {
    match operator {
        OperatorSpec::FilterProject(_)
        | OperatorSpec::Unnest(_)
        | OperatorSpec::Union { .. }
        | OperatorSpec::Watermark(_) => Keys::None,
        OperatorSpec::WindowTable(spec) => match spec.window.kind {
            WindowKind::Session { .. } => Keys::By(vec![spec.partition_by.iter().collect()]),
            _ => Keys::None,
        },
        OperatorSpec::Aggregate(spec) if spec.grouping_sets.is_empty() => {
            Keys::By(vec![spec.keys.iter().collect()])
        }
        OperatorSpec::Aggregate(spec) => {
            let set = |set: &Vec<usize>| set.iter().filter_map(|k| spec.keys.get(*k)).collect();
            Keys::By(spec.grouping_sets.iter().map(set).collect())
        }
        OperatorSpec::Over(spec) => Keys::By(vec![spec.partition_by.iter().collect()]),
        OperatorSpec::TopN(spec) => Keys::By(vec![spec.partition_by.iter().collect()]),
        OperatorSpec::Limit(_) | OperatorSpec::Sort(_) => Keys::All,
    }
}

/// The sources behind an input.
fn reached(plan: &JobPlan, input: InputRef, sources: &mut Vec<usize>) {
    match input {
        InputRef::Source(s) if sources.contains(&s) => {}
        InputRef::Source(s) => sources.push(s),
        InputRef::Node(n) => {
            let inputs = plan.nodes.get(n).map_or(&[][..], |node| node.inputs.as_slice());
            inputs.iter().for_each(|i| reached(plan, *i, sources));
        }
    }
}

/// Whether that column holds, in every row that came from that source, the value of that column of the source.
fn comes_from(plan: &JobPlan, input: InputRef, index: usize, source: usize, column: &str) -> bool {
    let node = match input {
        InputRef::Source(s) if s == source => {
            let field = plan.sources.get(s).and_then(|s| s.schema.fields().get(index));
            return field.is_some_and(|f| f.name.eq_ignore_ascii_case(column));
        }
        // Rows of another source.
        InputRef::Source(_) => return true,
        InputRef::Node(n) => plan.nodes.get(n),
    };
    let Some(node) = node else { return false };
    let through = |index: usize| node.inputs.iter().all(|i| comes_from(plan, *i, index, source, column));
    let plain = |e: Option<&Expr>| matches!(e, Some(Expr::Column { index, .. }) if through(*index));
    match &node.operator {
        OperatorSpec::FilterProject(spec) => match &spec.project {
            None => through(index),
            Some(columns) => match columns.get(index) {
                Some(ProjectColumn::Take(index)) => through(*index),
                Some(ProjectColumn::Compute(e)) => plain(Some(e)),
                None => false,
            },
        },
        OperatorSpec::Aggregate(spec) if spec.grouping_sets.is_empty() => plain(spec.keys.get(index)),
        OperatorSpec::Aggregate(_) => false,
        // Their own columns stand behind those of the input.
        _ => through(index),
    }
}
