//! What will run, as data: logical plan, rules, physical plan, EXPLAIN. Holds nothing that runs.

pub use crate::expr::SystemColumn;

mod explain;
mod logical;
mod lower;
mod physical;
mod rules;
pub(crate) mod walk;

pub use explain::{ExplainFormat, ExplainStage, explain};
pub use logical::{LogicalPlan, OutputColumn, OutputTarget};
pub use lower::lower;
pub use physical::{
    FilterProjectSpec, InputRef, JobPlan, LimitSpec, NodeSpec, OperatorSpec, ProjectColumn, SinkSpec,
    SourceSpec, UnnestSpec,
};
pub use rules::optimize;
