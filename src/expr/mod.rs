//! Typed expressions: from bound trees to programs that evaluate a record.
//!
//! [`Expr`] is what `sql` binds and `plan` moves about; [`typing`] is the only way to build one, so that types, NULL
//! logic and implicit casts are decided in one place. [`Program`] is the compiled form: column
//! positions instead of names, no allocation for numbers. SQL semantics of values (comparison,
//! arithmetic, casts, text forms) live here and nowhere else.

mod bound;
mod display;
mod fold;
mod function;
mod pattern;
mod program;
pub mod scalar;
mod special;
pub mod typing;
mod value;
mod walk;

pub use bound::{BinaryOp, CastMode, Expr, LikeKind, SystemColumn, UnaryOp};
pub use fold::fold;
pub use function::{Arity, EvalContext, EvalFn, FunctionRegistry, FunctionSpec, ReturnType, Volatility};
pub use pattern::Pattern;
pub use program::{Datum, EvalResult, Program};
pub use special::{SPECIAL_FORMS, SpecialForm};
pub use value::{cast_value, cast_value_from, compare, compare_nulls_last, parse_bool, to_text, write_text};

use value::decimal_to_f64;
