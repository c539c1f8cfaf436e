//! What the graph of a plan says about order: which sources are read one after the other, and where ways meet again.

use super::core::Target;
use super::core::weave::Meetings;
use super::spec::sinks_of;
use crate::plan::{Emit, InputRef, JobPlan, OperatorSpec};

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

/// Where the ways of a source meet, if all nodes on them pass rows on in their order, or keep them to the end: whole batches then go each
/// way.
pub(super) fn meetings(plan: &JobPlan, source: usize) -> Option<Meetings> {
    let all: Vec<_> = (0..plan.sources.len()).map(|s| ways(plan, s)).collect();
    let (nodes, _) = all.get(source)?;
    let count = |of: &InputRef, (nodes, s): (&[usize], usize)| match of {
        InputRef::Source(i) => usize::from(*i == s),
        InputRef::Node(n) => nodes.get(*n).copied().unwrap_or(0),
    };
    let arrives = |of: &InputRef| count(of, (nodes, source)) > 0;
    let alone =
        |of: &InputRef| all.iter().enumerate().all(|(s, (n, _))| s == source || count(of, (n, s)) == 0);
    let mut found = Meetings::default();
    let mut on_the_way = vec![false; plan.nodes.len()];
    let mut leads = |of: &InputRef| {
        if let InputRef::Node(n) = of
            && let Some(node) = on_the_way.get_mut(*n)
        {
            *node = true;
        }
    };
    for (k, sink) in plan.sinks.iter().enumerate() {
        let inputs: Vec<&InputRef> = sink.inputs.iter().filter(|i| arrives(i)).collect();
        if inputs.len() < 2 {
            continue;
        }
        // What several sinks share can't be taken apart.
        let shared =
            |of: &InputRef| targets_of(plan, *of).iter().filter(|t| matches!(t, Target::Sink(_))).count() > 1;
        if inputs.iter().any(|i| shared(i)) {
            return None;
        }
        inputs.into_iter().for_each(&mut leads);
        found.sinks.push(k);
    }
    // From the last node up: what is behind a node is known before it.
    for (n, node) in plan.nodes.iter().enumerate().rev() {
        let inputs: Vec<usize> =
            (0..node.inputs.len()).filter(|&i| node.inputs.get(i).is_some_and(&arrives)).collect();
        let meets = inputs.len() > 1;
        let here = on_the_way.get(n).is_some_and(|w| *w);
        if !meets && !here || inputs.is_empty() {
            continue;
        }
        let passes = match &node.operator {
            OperatorSpec::Union { .. } => !meets || node.inputs.iter().filter(|i| arrives(i)).all(&alone),
            OperatorSpec::FilterProject(_) | OperatorSpec::Unnest(_) => !meets,
            OperatorSpec::Watermark(_) | OperatorSpec::Limit(_) => !meets,
            // They take rows in their order, and say nothing before the last one.
            OperatorSpec::Sort(_) => !meets,
            OperatorSpec::Aggregate(spec) => !meets && spec.window.is_none() && spec.emit == Emit::Final,
            _ => false,
        };
        if !passes {
            return None;
        }
        for input in &node.inputs {
            if let InputRef::Node(before) = input
                && let Some(before) = on_the_way.get_mut(*before)
            {
                *before = true;
            }
        }
        if meets {
            found.nodes.push((n, inputs));
        }
    }
    found.nodes.reverse();
    Some(found).filter(|f| !f.nodes.is_empty() || !f.sinks.is_empty())
}

/// In which order the bounded sources of a job are read.
pub(super) struct Order {
    /// For each source, those that are read to their end before it.
    pub(super) after: Vec<Vec<usize>>,
    /// Sources whose rows are merged by their watermarks.
    pub(super) merges: Vec<Vec<Way>>,
}

/// A source whose rows are merged with those of others, and the node whose output waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) source: usize,
    pub(super) node: usize,
}

/// Bounded sources that feed a common sink are merged by the watermark just before each row if both have one (`timed`: those that
/// are bounded and do not pause), also by way of a third; all others are read in the order of the plan, one after the other, a merge
/// where its first source stands. So the merged output does not depend on speed.
pub(super) fn order(plan: &JobPlan, timed: &[bool]) -> Order {
    let count = plan.sources.len();
    let reach: Vec<Vec<usize>> = (0..count).map(|s| ways(plan, s).1).collect();
    let share = |a: usize, b: usize| match (reach.get(a), reach.get(b)) {
        (Some(a), Some(b)) => a.iter().zip(b).any(|(x, y)| *x > 0 && *y > 0),
        _ => false,
    };
    let nodes: Vec<Option<usize>> = (0..count)
        .map(|s| timed.get(s).is_some_and(|t| *t).then(|| waiting_node(plan, s)).flatten())
        .collect();
    // The first source of the merge that each belongs to; its own number if to none.
    let mut group: Vec<usize> = (0..count).collect();
    for s in 0..count {
        for p in 0..s {
            let meet = nodes.get(s).is_some_and(Option::is_some) && nodes.get(p).is_some_and(Option::is_some);
            if let (true, Some(&a), Some(&b)) = (meet && share(s, p), group.get(s), group.get(p)) {
                group.iter_mut().filter(|g| **g == a.max(b)).for_each(|g| *g = a.min(b));
            }
        }
    }
    let members = |g: usize| group.iter().enumerate().filter(move |(_, x)| **x == g).map(|(s, _)| s);
    let after = (0..count)
        .map(|s| {
            let mine = group.get(s).copied().unwrap_or(s);
            let before = |p: &usize| {
                let other = group.get(*p).copied().unwrap_or(*p);
                other < mine && members(other).any(|p| members(mine).any(|s| share(s, p)))
            };
            (0..count).filter(before).collect()
        })
        .collect();
    let merges = (0..count)
        .map(|g| {
            let way = |s| Some(Way { source: s, node: nodes.get(s).copied().flatten()? });
            members(g).filter_map(way).collect::<Vec<_>>()
        })
        .filter(|m| m.len() > 1)
        .collect();
    Order { after, merges }
}

/// The node behind which the rows of a source with WATERMARK wait: the last of those that only it feeds and that keep neither rows nor
/// time, which so work on whole batches. `None` if its watermark does not follow from its rows, or not all of its rows get one.
fn waiting_node(plan: &JobPlan, source: usize) -> Option<usize> {
    let next = |of| match targets_of(plan, of).as_slice() {
        [Target::Node { node, .. }] => {
            plan.nodes.get(*node).filter(|n| n.inputs.len() == 1).map(|n| (*node, n))
        }
        _ => None,
    };
    let (mut at, first) = next(InputRef::Source(source))?;
    if !matches!(&first.operator, OperatorSpec::Watermark(spec) if spec.follows_rows()) {
        return None;
    }
    while let Some((node, spec)) = next(InputRef::Node(at))
        && matches!(spec.operator, OperatorSpec::FilterProject(_) | OperatorSpec::Unnest(_))
    {
        at = node;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::typing;
    use crate::plan::{AggregateSpec, LatePolicy, NodeSpec, SinkSpec, SourceSpec, WatermarkSpec};
    use crate::record::{DataType, Schema};

    /// Sources that are timed or not, each into these sinks.
    fn plan(sources: &[(bool, &[usize])], sinks: usize) -> (JobPlan, Vec<bool>) {
        let schema = Schema::of([("ts", DataType::Timestamp)]);
        let ts = || typing::column(&schema, 0).unwrap();
        let watermark = WatermarkSpec {
            time: ts(),
            watermark: ts(),
            max_future_skew: None,
            idle_timeout: None,
            lateness: 0,
            late: LatePolicy::Drop,
            schema: schema.clone(),
        };
        let mut plan = JobPlan::default();
        let mut inputs = vec![Vec::new(); sinks];
        for (s, (timed, into)) in sources.iter().enumerate() {
            let relation = format!("s{s}");
            plan.sources.push(SourceSpec { relation, schema: schema.clone(), system: vec![], values: None });
            let mut of = InputRef::Source(s);
            if *timed {
                let operator = OperatorSpec::Watermark(watermark.clone());
                plan.nodes.push(NodeSpec { id: format!("w{s}"), operator, inputs: vec![of] });
                of = InputRef::Node(plan.nodes.len() - 1);
            }
            into.iter().for_each(|k| inputs[*k].push(of));
        }
        let sink = |inputs| SinkSpec { relation: String::new(), schema: schema.clone(), inputs };
        plan.sinks = inputs.into_iter().map(sink).collect();
        (plan, sources.iter().map(|(timed, _)| *timed).collect())
    }

    fn merges(order: &Order) -> Vec<Vec<usize>> {
        order.merges.iter().map(|m| m.iter().map(|w| w.source).collect()).collect()
    }

    #[test]
    fn a_merge_stands_where_its_first_source_does() {
        let both: &[usize] = &[0];
        let (all, timed) = plan(&[(false, both), (true, both), (false, both), (true, both)], 1);
        let order = order(&all, &timed);
        assert_eq!(merges(&order), [[1, 3]]);
        // Nobody waits for one that waits for it.
        assert_eq!(order.after, [vec![], vec![0], vec![0, 1, 3], vec![0]]);
    }

    #[test]
    fn sources_are_merged_where_they_meet_also_by_way_of_a_third() {
        let (all, timed) = plan(&[(true, &[0]), (true, &[2]), (true, &[1]), (true, &[0, 1])], 3);
        let order = order(&all, &timed);
        assert_eq!(merges(&order), [[0, 2, 3]]);
        assert!(order.after.iter().all(Vec::is_empty), "{:?}", order.after);
    }

    #[test]
    fn whole_batches_go_each_way_where_every_node_keeps_their_order() {
        let schema = Schema::of([("ts", DataType::Timestamp)]);
        let node = |operator, inputs| NodeSpec { id: String::new(), operator, inputs };
        let union = || OperatorSpec::Union { schema: schema.clone() };
        let limit = || OperatorSpec::Limit(crate::plan::LimitSpec { count: Some(1), offset: 0 });
        let sort = || OperatorSpec::Sort(crate::plan::SortSpec { order_by: vec![], schema: schema.clone() });
        let of = |nodes: Vec<NodeSpec>, sinks: Vec<Vec<InputRef>>| {
            let sink = |inputs| SinkSpec { relation: String::new(), schema: schema.clone(), inputs };
            let sinks: Vec<SinkSpec> = sinks.into_iter().map(sink).collect();
            let (sources, _) = plan(&[(false, &[]), (false, &[])], 0);
            meetings(&JobPlan { nodes, sinks, ..sources }, 0)
        };
        let (source, other, at) = (InputRef::Source(0), InputRef::Source(1), InputRef::Node);
        // What is behind the meeting point does not matter.
        let nodes = vec![
            node(limit(), vec![source]),
            node(union(), vec![source, other, at(0)]),
            node(sort(), vec![at(1)]),
        ];
        let found = of(nodes, vec![vec![at(2)]]);
        assert_eq!(found, Some(Meetings { nodes: vec![(1, vec![0, 2])], sinks: vec![] }));
        // An operator before it keeps all rows to the end, or shows what becomes of each.
        let group = |emit, window| {
            let schema = schema.clone();
            let spec = AggregateSpec {
                keys: vec![],
                grouping_sets: vec![],
                window,
                calls: vec![],
                having: None,
                unseen: Vec::new(),
                emit,
                retracts: false,
                ttl: None,
                schema,
            };
            OperatorSpec::Aggregate(Box::new(spec))
        };
        let behind = |operator| {
            let nodes = vec![node(operator, vec![source]), node(union(), vec![source, at(0)])];
            of(nodes, vec![vec![at(1)]])
        };
        let found = Some(Meetings { nodes: vec![(1, vec![0, 1])], sinks: vec![] });
        assert_eq!(behind(sort()), found);
        assert_eq!(behind(group(Emit::Final, None)), found);
        assert_eq!(behind(group(Emit::Changes, None)), None);
        assert_eq!(behind(group(Emit::EveryChange, None)), None);
        // Rows of another source come on the same way.
        let nodes = vec![node(union(), vec![source, other]), node(union(), vec![source, at(0)])];
        assert_eq!(of(nodes, vec![vec![at(1)]]), None);
        let found = of(vec![node(limit(), vec![source])], vec![vec![at(0), source], vec![other]]);
        assert_eq!(found, Some(Meetings { nodes: vec![], sinks: vec![0] }));
        // Two sinks get the same batch.
        let nodes = vec![node(limit(), vec![source])];
        assert_eq!(of(nodes, vec![vec![at(0), source], vec![source]]), None);
        assert_eq!(of(vec![], vec![vec![source], vec![other]]), None, "nothing meets");
    }
}
