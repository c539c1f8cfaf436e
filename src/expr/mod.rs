//! Typed expressions: from bound trees to programs that evaluate a record.
//!
//! [`Expr`] is what `sql` binds and `plan` moves about; [`typing`] is the only way to build one, so that types, NULL
//! logic and implicit casts are decided in one place. [`Program`] is the compiled form: column
//! positions instead of names, no allocation for numbers. SQL semantics of values (comparison,
//! arithmetic, casts, text forms) live here and nowhere else.
//!
//! # Intended differences from PostgreSQL 15
//! Where nothing is stated, PostgreSQL 15 is right. Stated otherwise:
//! - integer arithmetic is always BIGINT; REAL arithmetic is DOUBLE;
//! - DECIMAL has at most 28 digits and neither NaN nor infinity; a quotient has scale max(s1, s2) + 6; the results of CASE,
//!   COALESCE, GREATEST and the like have one scale, the largest;
//! - BIGINT compares exactly with DOUBLE (PostgreSQL rounds it first);
//! - TIMESTAMP, TIME and INTERVAL are written in ISO 8601 (`2026-01-01T00:00:00.100Z`, `P1DT2H`), ARRAY, MAP and STRUCT
//!   as JSON; an offset in the text of a TIMESTAMP is applied, since TIMESTAMP is UTC;
//! - ARRAY, MAP and STRUCT compare as PostgreSQL's arrays do: a NULL inside equals a NULL;
//! - a subscript of JSON takes elements from 0, from the end if negative; JSON `null` casts to NULL;
//! - all BOOLEAN casts that PostgreSQL has for INT exist for all integers; VARCHAR and JSON cast to ARRAY, MAP and STRUCT;
//! - `||` and INSERT turn everything into VARCHAR; functions do not;
//! - `t - '1 hour'` reads the constant as INTERVAL if it is no TIMESTAMP;
//! - shifts by less than 0 or more than 63 bits are errors;
//! - SUM of integers is BIGINT (an error beyond it), AVG of integers DOUBLE, AVG of decimals has scale + 6; variances are DOUBLE;
//! - AND, OR, CASE and COALESCE evaluate left to right and only what is needed, also when constants are folded;
//! - expressions are at most 200 levels deep; regular expressions are those of the `regex` crate (no back references).

mod aggregate;
mod bound;
mod display;
mod fold;
mod function;
mod pattern;
mod program;
pub mod scalar;
mod special;
pub mod typing;
mod user;
mod value;
mod walk;

pub use aggregate::{
    Accumulator, AggregateCall, AggregateFunction, AggregateInput, AggregateProgram, AggregateState, Combine,
    MakeFn, Packing, Retraction, SortKey,
};
pub use bound::{BinaryOp, CastMode, Expr, LikeKind, SystemColumn, UnaryOp};
pub use fold::fold;
pub use function::{Arity, EvalContext, EvalFn, FunctionRegistry, FunctionSpec, ReturnType, Volatility};
pub use pattern::Pattern;
pub use program::{Datum, EvalResult, Program};
pub use special::{SPECIAL_FORMS, SpecialForm};
pub use user::{
    AggregateUpdate, ScalarFunction, SqlArg, SqlResult, Timestamp, USER_FAMILY, UserAggregate, UserState,
    check_name,
};
pub use value::{cast_value, cast_value_from, compare, compare_nulls_last, parse_bool, to_text, write_text};

use value::decimal_to_f64;
