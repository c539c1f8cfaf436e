//! The built-in scalar functions: one file a family, one row a function, each with an example that a test evaluates.
//!
//! Names and results are those of PostgreSQL 15 where it has the function, else those of DuckDB or Flink. A function
//! sees NULL only if its row says `lenient`; a bad argument is a record error, never a panic. Not
//! here: COALESCE, NULLIF, IF, GREATEST and LEAST, which need the types of all their arguments
//! ([`typing`](super::typing)).

mod args;
mod row;
mod values;

mod math;
mod number;
mod number_format;
mod random;
mod trigonometry;

mod pattern;
mod quote;
mod regexp;
mod string;
mod substring;
mod unicode;

mod array;
mod fold;
mod map;

mod calendar;
mod datetime;
mod from_text;
mod span;
mod template;
mod to_char;

mod json;
mod json_build;
mod json_path;

mod hash;
mod misc;
mod url;

use super::{FunctionRegistry, FunctionSpec};

/// What a family's file gives.
type Family = (&'static str, fn() -> Vec<FunctionSpec>);

const FAMILIES: &[Family] = &[
    ("math", math::functions),
    ("math", number::functions),
    ("math", trigonometry::functions),
    ("convert", number_format::functions),
    ("string", string::functions),
    ("string", substring::functions),
    ("string", unicode::functions),
    ("string", quote::functions),
    ("regexp", regexp::functions),
    ("datetime", datetime::functions),
    ("datetime", span::functions),
    ("datetime", to_char::functions),
    ("datetime", from_text::functions),
    ("array", array::functions),
    ("array", fold::functions),
    ("map", map::functions),
    ("json", json::functions),
    ("json", json_build::functions),
    ("hash", hash::functions),
    ("url", url::functions),
    ("uuid", misc::uuid),
    ("header", misc::header),
    ("conditional", misc::conditional),
    ("convert", misc::convert),
];

/// Adds every built-in function to `registry`.
pub fn register_all(registry: &mut FunctionRegistry) {
    for (family, functions) in FAMILIES {
        for mut function in functions() {
            function.family = family;
            registry.add(function);
        }
    }
}

#[cfg(test)]
mod tests;
