//! Text → plan: dialect, parser, statements, binder. Every error has a place in the text.
//!
//! [`parse()`] cuts a text into located tokens, reads our own statements itself, rewrites our own clauses and types over
//! the tokens, and hands queries and expressions to `sqlparser`.

mod bind;
mod diagnostic;
mod dialect;
mod parse;
mod resolve;
mod statement;
mod types;

pub use bind::Binder;
pub use diagnostic::{Diagnostic, Span};
pub use parse::{Emit, declared_names, emit_of, parse, parse_expr, span_of};
pub(in crate::sql) use parse::{repartition_of, symmetric_bound};
pub use resolve::{BindErrors, EventTime, InsertTarget, ResolveError, ResolvedRelation, Resolver, Split};
pub use statement::{CreateRelation, Located, Statement};
pub use types::{data_type, parse_data_type};
