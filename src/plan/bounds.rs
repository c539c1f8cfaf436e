//! Which operators' state can grow for ever.

use super::{Emit, FrameBound, InputRef, JobPlan, OperatorSpec, OverFunction, OverSpec, walk};

const VALUES: &str =
    "all values that a call keeps (DISTINCT, ORDER BY, array_agg, median and the like), for the job's life";

impl JobPlan {
    /// The operators whose state has no bound on input that does not end, each with what it keeps. `endless` says of each source whether
    /// it goes on for ever.
    pub fn unbounded_state(&self, endless: &[bool]) -> Vec<(&str, &'static str)> {
        let mut found = Vec::new();
        let mut reached: Vec<bool> = Vec::new();
        for node in &self.nodes {
            let is_endless = node.inputs.iter().any(|input| match input {
                InputRef::Source(s) => endless.get(*s).copied().unwrap_or(false),
                InputRef::Node(n) => reached.get(*n).copied().unwrap_or(false),
            });
            let cut = matches!(&node.operator, OperatorSpec::Limit(spec) if spec.count.is_some());
            reached.push(is_endless && !cut);
            if let Some(what) = node.operator.grows().filter(|_| is_endless) {
                found.push((node.id.as_str(), what));
            }
        }
        found
    }
}

impl OperatorSpec {
    /// What an operator keeps more and more of as input comes; `None` if input or time bounds it.
    pub(super) fn grows(&self) -> Option<&'static str> {
        match self {
            OperatorSpec::Aggregate(spec) if spec.window.is_none() => {
                let keeps_values = spec.calls.iter().any(|c| c.keeps_values(spec.retracts));
                if spec.expiry().is_some() {
                    None
                } else if !spec.keys.is_empty() {
                    Some("one entry for each group, for the job's life")
                } else {
                    keeps_values.then_some(VALUES)
                }
            }
            OperatorSpec::TopN(spec) if spec.emit == Emit::Final && spec.window_end.is_some() => None,
            OperatorSpec::TopN(spec) if spec.expiry().is_some() => None,
            OperatorSpec::TopN(spec) if !spec.partition_by.is_empty() => {
                Some("the first rows of each partition, for the job's life")
            }
            OperatorSpec::TopN(spec) => (spec.limit == u64::MAX).then_some("all rows, for the job's life"),
            OperatorSpec::Over(spec) if spec.streaming.is_none() => {
                Some("all rows, until the end of the input")
            }
            OperatorSpec::Over(spec) if keeps_frame(spec) => Some(VALUES),
            OperatorSpec::Over(spec) if spec.ttl.is_some() => None,
            OperatorSpec::Over(spec) => {
                let by_rows = spec.frame.rows || spec.frame.start == FrameBound::UnboundedPreceding;
                let is_of_frame = |call: &OverFunction| {
                    use OverFunction as F;
                    matches!(call, F::Aggregate(_) | F::FirstValue(_) | F::LastValue(_))
                };
                let by_rows = by_rows || !spec.calls.iter().all(is_of_frame);
                (by_rows && !spec.partition_by.is_empty())
                    .then_some("what a frame needs of each partition, for the job's life")
            }
            OperatorSpec::Sort(_) => Some("all rows, until the end of the input"),
            _ => None,
        }
    }
}

/// Whether a call over a frame without start keeps what comes into it.
fn keeps_frame(spec: &OverSpec) -> bool {
    spec.frame.start == FrameBound::UnboundedPreceding
        && spec.calls.iter().any(|call| match call {
            OverFunction::Aggregate(call) => call.keeps_values(false),
            // Any of them may be asked for.
            OverFunction::NthValue { n, .. } => walk::constant(n).is_none(),
            _ => false,
        })
}
