//! Physical node → running operator.

use super::{FilterProjectOp, Operator};
use crate::plan::{NodeSpec, OperatorSpec};

/// Makes the operator of a node.
///
/// # Errors
/// If the engine can't run that kind of node; the message names it.
pub fn build(node: &NodeSpec) -> Result<Box<dyn Operator>, String> {
    match &node.operator {
        OperatorSpec::FilterProject(spec) => Ok(Box::new(FilterProjectOp::new(spec))),
        other => Err(format!("{}: {other:?} is not supported yet", node.id)),
    }
}
