//! Builds typed expressions: result types, NULL logic and implicit casts are decided here and nowhere else.

mod aggregate;
mod call;
mod condition;
mod convert;
mod nested;
mod operator;

use super::{Expr, walk};
use crate::record::{DataType, FieldValue, Schema};

pub use aggregate::aggregate_call;
pub use call::call;
pub use condition::{and, any_of, between, case, coalesce, in_list, like, nullif, or};
pub use convert::{cast, castable, coerce, common_type, unify, widens};
pub use nested::{array, field, index, map, structure};
pub use operator::{binary, unary};

/// How deeply expressions may be nested; chains of AND and OR count as one level.
pub const MAX_DEPTH: usize = 200;

/// A type error: one sentence, and a hint what to write instead if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeError {
    /// What is wrong.
    pub message: String,
    /// What helps.
    pub hint: Option<String>,
}

impl TypeError {
    /// An error without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }
    /// The same with a hint.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for TypeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}
impl std::error::Error for TypeError {}

/// Result of building an expression.
pub type Typed = Result<Expr, TypeError>;

/// Column `index` of `schema`.
///
/// # Errors
/// If there is no such column.
pub fn column(schema: &Schema, index: usize) -> Typed {
    match schema.fields().get(index) {
        Some(f) => Ok(Expr::Column { index, name: f.name.clone(), data_type: f.data_type.clone() }),
        None => Err(TypeError::new(format!("there is no column {index} in a row of {}", schema.len()))),
    }
}

/// A constant of its natural type: `1.50` is DECIMAL(3,2).
pub fn literal(value: FieldValue) -> Expr {
    let data_type = value.data_type();
    Expr::Literal { value, data_type }
}

/// A NULL of that type.
fn null_of(data_type: DataType) -> Expr {
    Expr::Literal { value: FieldValue::Null, data_type }
}

/// Refuses what is nested too deeply to be evaluated safely.
fn bounded(expr: Expr) -> Typed {
    if walk::depth_exceeds(&expr, MAX_DEPTH) {
        return Err(TypeError::new(format!("the expression is nested more than {MAX_DEPTH} levels deep"))
            .with_hint("compute parts of it in a subquery or a view"));
    }
    Ok(expr)
}

/// The text of a string constant: it takes the type of what it meets, like PostgreSQL's unknown literals.
fn string_literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal { value: FieldValue::String(s), data_type: DataType::Varchar } => Some(s),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
