//! Functions from Rust closures: parameter and result types of SQL follow from those of the closure.
//!
//! [`ScalarFunction`] and [`UserAggregate`] are what `Engine::register_scalar` and `register_aggregate` take; [`SqlArg`] and
//! [`SqlResult`] are the Rust types that a closure may take and give.

mod aggregate;
mod arg;
mod result;
mod scalar;
#[cfg(test)]
mod tests;

pub use aggregate::{AggregateUpdate, UserAggregate, UserState};
pub use arg::SqlArg;
pub use result::SqlResult;
pub use scalar::ScalarFunction;

use super::FunctionRegistry;
use crate::record::DataType;

/// The family under which user functions are listed.
pub const USER_FAMILY: &str = "user";

/// A point in time: µs since the Unix epoch, UTC; TIMESTAMP in SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// Words of the grammar: a function of that name could not be called without quotes, or would mean something else.
const RESERVED: &[&str] = &[
    "and",
    "array",
    "between",
    "case",
    "cast",
    "cume_dist",
    "cumulate",
    "dense_rank",
    "distinct",
    "exists",
    "extract",
    "from",
    "grouping",
    "hop",
    "in",
    "interval",
    "is",
    "lag",
    "lead",
    "like",
    "map",
    "not",
    "nth_value",
    "ntile",
    "null",
    "or",
    "percent_rank",
    "proctime",
    "rank",
    "row",
    "row_number",
    "select",
    "session",
    "struct",
    "try_cast",
    "tumble",
    "unnest",
    "values",
    "where",
];

/// Whether a function may be registered under a name with so many parameters; the error is a sentence.
///
/// # Errors
/// A name that is no plain lower-case one, is reserved, or is taken – by a built-in function, or by a user function with as many
/// parameters. `usize::MAX` parameters (an aggregate) share a name with none.
pub fn check_name(registry: &FunctionRegistry, name: &str, parameters: usize) -> Result<(), String> {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !plain || name.is_empty() || name.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        return Err(format!(
            "'{name}' can't name a function: use lower-case letters, digits and _, not a digit first"
        ));
    }
    let special = super::SPECIAL_FORMS.iter().any(|s| s.name == name);
    if special || RESERVED.contains(&name) {
        return Err(format!("'{name}' is a word of the language and can't name a function"));
    }
    let taken = |what: &str| Err(format!("there is already {what} '{name}'; choose another name"));
    if !registry.aggregates(name).is_empty() {
        return taken("an aggregate function");
    }
    for known in registry.overloads(name) {
        if known.family != USER_FAMILY || parameters == usize::MAX {
            return taken("a function");
        }
        let same = matches!(&known.arity, super::Arity::Exact(types) if types.len() == parameters);
        if same {
            return taken(&format!("a function of {parameters} parameters called"));
        }
    }
    Ok(())
}

/// `name(BIGINT, DOUBLE)`: kept for the program's life, as the names of built-in functions are.
fn signature(name: &str, parameters: &[Parameter]) -> &'static str {
    let types: Vec<String> = parameters.iter().map(Parameter::for_people).collect();
    Box::leak(format!("{name}({})", types.join(", ")).into_boxed_str())
}

/// A parameter as its Rust type says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The type that arguments are cast to; `None`: DECIMAL of any scale, taken as it is.
    pub(super) data_type: Option<DataType>,
    /// Whether the closure wants to see NULL.
    pub(super) nullable: bool,
}

impl Parameter {
    fn arity_type(&self) -> DataType {
        self.data_type.clone().unwrap_or(DataType::Null)
    }
    fn for_people(&self) -> String {
        self.data_type.as_ref().map_or_else(|| "DECIMAL".to_owned(), DataType::to_string)
    }
}

/// The result type of a call with arguments of these types.
fn returns<R: SqlResult>(parameters: &[Parameter], types: &[DataType]) -> Result<DataType, String> {
    for (at, (parameter, given)) in parameters.iter().zip(types).enumerate() {
        let decimal = matches!(given, DataType::Decimal { .. } | DataType::Null) || given.is_integer();
        if parameter.data_type.is_none() && !decimal {
            return Err(format!("argument {} must be a DECIMAL or an integer, not {given}", at + 1));
        }
    }
    Ok(R::data_type())
}
