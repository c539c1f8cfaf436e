//! The semantics of single values: order, arithmetic, casts, text forms. No expression and no record is known here.

mod bytes;
mod cast;
mod compare;
mod decimal;
mod failure;
mod integer;
pub(super) mod json;
mod text;
mod time;

pub use cast::{cast_value, cast_value_from, parse_bool};
pub use compare::{compare, compare_nulls_last};
pub use text::{to_text, write_text};

pub(super) use compare::compare_floats;
pub(super) use decimal::{DecimalOp, decimal_to_f64};
pub(super) use failure::{division_by_zero, failed, overflow};
pub(super) use integer::{FloatOp, IntOp};
pub(super) use time::{
    add_interval, add_time, divide_interval, multiply_interval, negate_interval, plus_interval, since,
};
