//! Text → plan: dialect, parser, statements, binder. Every error has a place in the text.

mod diagnostic;
mod statement;

pub use diagnostic::{Diagnostic, Span};
pub use statement::{CreateRelation, Located, Statement};
