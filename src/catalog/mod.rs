//! What is declared: relations with their typed options, and the settings registry.

mod option;
mod relation;
mod settings;

pub use crate::record::nearest;
pub use option::{OptionError, OptionKind, OptionSpec, OptionValue, Options, is_secret};
pub use relation::{ColumnDef, Relation, RelationKind, WatermarkDef};
pub use settings::{SETTINGS, setting};
