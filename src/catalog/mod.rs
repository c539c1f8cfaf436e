//! What is declared: relations with their typed options, and the settings registry.

mod option;
mod relation;
mod settings;
mod time;

pub use crate::record::nearest;
pub(crate) use option::parse_duration;
pub use option::{OptionError, OptionKind, OptionSpec, OptionValue, Options, is_secret};
pub use relation::{ColumnDef, Relation, RelationKind, WatermarkDef};
pub use settings::{SETTINGS, setting};
pub use time::{ALLOWED_LATENESS, IDLE_TIMEOUT, LATE, MAX_FUTURE_SKEW, TIME_OPTIONS};
