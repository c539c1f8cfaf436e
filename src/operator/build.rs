//! Physical node → running operator.

use super::{AggregateOp, FilterProjectOp, LimitOp, Operator, UnionOp, UnnestOp, WatermarkOp};
use crate::plan::{NodeSpec, OperatorSpec};

/// Makes the operator of a node.
///
/// # Errors
/// If the engine can't run that kind of node; the message names it.
pub fn build(node: &NodeSpec) -> Result<Box<dyn Operator>, String> {
    Ok(match &node.operator {
        OperatorSpec::FilterProject(spec) => Box::new(FilterProjectOp::new(spec)),
        OperatorSpec::Unnest(spec) => Box::new(UnnestOp::new(spec)),
        OperatorSpec::Limit(spec) => Box::new(LimitOp::new(spec)),
        OperatorSpec::Union { schema } => Box::new(UnionOp::new(schema.clone(), node.inputs.len())),
        OperatorSpec::Watermark(spec) => Box::new(WatermarkOp::new(spec)),
        OperatorSpec::Aggregate(spec) => {
            Box::new(AggregateOp::new(spec).map_err(|e| format!("{}: {e}", node.id))?)
        }
        other => return Err(format!("{}: {} is not supported yet", node.id, other.kind())),
    })
}
