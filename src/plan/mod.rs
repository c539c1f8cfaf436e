//! What will run, as data: logical plan, rules, physical plan, EXPLAIN. Holds nothing that runs.

pub use crate::expr::SystemColumn;
pub use division::{brought_together, undivided};

mod bounds;
mod changelog;
mod division;
mod emission;
mod explain;
mod logical;
mod lower;
mod operands;
mod physical;
mod ranked;
mod rules;
mod stateful;
mod stateful_text;
mod streaming;
mod time;
pub(crate) mod walk;

pub use changelog::{is_updating, misreads_changes, output_key};
pub use emission::{CantEmit, every_change, with_changes, with_emit, with_ttl};
pub use explain::{ExplainFormat, ExplainNotes, ExplainStage, explain};
pub use logical::{LogicalPlan, OutputColumn, OutputTarget};
pub use lower::lower;
pub use operands::Stateful;
pub use physical::{
    FilterProjectSpec, InputRef, JobPlan, LimitSpec, NodeSpec, OperatorSpec, ProjectColumn, SinkSpec,
    SourceSpec, UnnestSpec,
};
pub(crate) use ranked::{ranked, window_end};
pub use rules::optimize;
pub use stateful::{
    AggregateSpec, Emit, Frame, FrameBound, LatePolicy, OverFunction, OverSpec, Slices, SortSpec, Streaming,
    TopNSpec, Ttl, WatermarkSpec, WindowKind, WindowSpec, WindowTableSpec,
};
pub(crate) use streaming::Waits;
pub use time::{TimeColumn, TimeTraits, WindowColumns, WindowPart, is_clock, time_traits};
