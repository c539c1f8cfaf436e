//! What the graph of a plan says about order: which sources are read one after the other, and where ways meet again.

use super::core::Target;
use super::spec::sinks_of;
use crate::plan::{InputRef, JobPlan};

/// Everything that an input feeds.
pub(super) fn targets_of(plan: &JobPlan, of: InputRef) -> Vec<Target> {
    let mut targets = Vec::new();
    for (n, node) in plan.nodes.iter().enumerate() {
        for (i, input) in node.inputs.iter().enumerate() {
            if *input == of {
                targets.push(Target::Node { node: n, input: i });
            }
        }
    }
    for k in sinks_of(plan, of) {
        let times = plan.sinks.get(k).map_or(0, |s| s.inputs.iter().filter(|i| **i == of).count());
        targets.extend(std::iter::repeat_n(Target::Sink(k), times));
    }
    targets
}

/// In how many ways a record of `source` reaches each node and sink.
fn ways(plan: &JobPlan, source: usize) -> (Vec<usize>, Vec<usize>) {
    let mut nodes: Vec<usize> = Vec::new();
    let from = |nodes: &[usize], input: &InputRef| match input {
        InputRef::Source(s) => usize::from(*s == source),
        InputRef::Node(n) => nodes.get(*n).copied().unwrap_or(0),
    };
    for node in &plan.nodes {
        let sum = node.inputs.iter().map(|i| from(&nodes, i)).sum();
        nodes.push(sum);
    }
    let sinks = plan.sinks.iter().map(|s| s.inputs.iter().map(|i| from(&nodes, i)).sum()).collect();
    (nodes, sinks)
}

/// Whether some node or sink is reached from `source` on more than one way.
pub(super) fn has_diamond(plan: &JobPlan, source: usize) -> bool {
    let (nodes, sinks) = ways(plan, source);
    nodes.iter().chain(&sinks).any(|&n| n > 1)
}

/// For each source, the earlier ones that feed a common sink: bounded sources are read in this order, one after the other, so
/// that the merged output does not depend on speed.
pub(super) fn predecessors(plan: &JobPlan) -> Vec<Vec<usize>> {
    let reach: Vec<Vec<usize>> = (0..plan.sources.len()).map(|s| ways(plan, s).1).collect();
    let share = |a: &[usize], b: &[usize]| a.iter().zip(b).any(|(x, y)| *x > 0 && *y > 0);
    (0..reach.len())
        .map(|s| {
            (0..s)
                .filter(|&p| matches!((reach.get(s), reach.get(p)), (Some(a), Some(b)) if share(a, b)))
                .collect()
        })
        .collect()
}
