//! Physical node → running operator.

use super::{
    AggregateOp, FilterProjectOp, LimitOp, Operator, OverOp, SessionTableOp, Shards, SortOp, TopNOp, UnionOp,
    UnnestOp, WatermarkOp, WindowTableOp,
};
use crate::plan::{NodeSpec, OperatorSpec, WindowKind};

/// Makes the operator of a node.
///
/// # Errors
/// If the engine can't run that kind of node; the message names it.
pub fn build(node: &NodeSpec, shards: Shards) -> Result<Box<dyn Operator>, String> {
    Ok(match &node.operator {
        OperatorSpec::FilterProject(spec) => Box::new(FilterProjectOp::new(spec)),
        OperatorSpec::Unnest(spec) => Box::new(UnnestOp::new(spec)),
        OperatorSpec::Limit(spec) => Box::new(LimitOp::new(spec)),
        OperatorSpec::Union { schema } => Box::new(UnionOp::new(schema.clone(), node.inputs.len())),
        OperatorSpec::WindowTable(spec) => match spec.window.kind {
            WindowKind::Session { gap } => Box::new(SessionTableOp::new(spec, gap)),
            _ => Box::new(WindowTableOp::new(spec)),
        },
        OperatorSpec::Sort(spec) => Box::new(SortOp::new(spec)),
        OperatorSpec::TopN(spec) => Box::new(TopNOp::new(spec)),
        OperatorSpec::Watermark(spec) => Box::new(WatermarkOp::new(spec)),
        OperatorSpec::Aggregate(spec) => {
            Box::new(AggregateOp::new(spec, shards).map_err(|e| format!("{}: {e}", node.id))?)
        }
        OperatorSpec::Over(spec) => Box::new(OverOp::new(spec).map_err(|e| format!("{}: {e}", node.id))?),
    })
}
