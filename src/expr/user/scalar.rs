//! Scalar functions from closures of up to six parameters.

use super::{Parameter, SqlArg, SqlResult, USER_FAMILY, returns, signature};
use crate::expr::{Arity, Datum, EvalResult, FunctionSpec, ReturnType, Volatility};
use crate::record::{DataType, FieldValue};

/// A closure that can be a scalar function. `M` is worked out by the compiler from its parameters.
pub trait ScalarFunction<M>: Send + Sync + 'static {
    /// How many parameters it has.
    const PARAMETERS: usize;
    /// As a row of the function registry.
    fn into_spec(self, name: &'static str) -> FunctionSpec;
}

/// The value of an argument, NULL if there is none.
#[inline]
fn at<'v>(args: &'v [Datum<'_>], index: usize) -> &'v FieldValue {
    args.get(index).map_or(&FieldValue::Null, |v| v)
}

fn spec(
    name: &'static str,
    parameters: &[Parameter],
    returns: fn(&[DataType]) -> Result<DataType, String>,
    call: impl Fn(&[Datum<'_>]) -> EvalResult<FieldValue> + Send + Sync + 'static,
) -> FunctionSpec {
    FunctionSpec {
        name,
        family: USER_FAMILY,
        signature: signature(name, parameters),
        doc: "registered by the program",
        example: ("", ""),
        arity: Arity::Exact(parameters.iter().map(Parameter::arity_type).collect()),
        returns: ReturnType::Derived(returns),
        strict: parameters.iter().all(|p| !p.nullable),
        // A closure may look at the world: it is called for each record, not once for a plan.
        volatility: Volatility::Context,
        eval: Box::new(move |_, args| call(args)),
    }
}

macro_rules! scalar {
    ($n:literal: $($arg:ident $index:literal),*) => {
        impl<F, R, $($arg),*> ScalarFunction<fn($($arg),*) -> R> for F
        where
            R: SqlResult,
            $($arg: SqlArg,)*
            F: Fn($($arg),*) -> R + for<'v> Fn($($arg::Item<'v>),*) -> R + Send + Sync + 'static,
        {
            const PARAMETERS: usize = $n;
            fn into_spec(self, name: &'static str) -> FunctionSpec {
                fn result<R: SqlResult, $($arg: SqlArg),*>(types: &[DataType]) -> Result<DataType, String> {
                    returns::<R>(&[$($arg::parameter()),*], types)
                }
                // Two bounds say how the closure is called; this picks the one for the items.
                #[allow(non_snake_case)]
                fn call<R, $($arg),*>(f: &impl Fn($($arg),*) -> R, $($arg: $arg),*) -> R {
                    f($($arg),*)
                }
                spec(name, &[$($arg::parameter()),*], result::<R, $($arg),*>, move |_args| {
                    $(
                        #[allow(non_snake_case)]
                        let Some($arg) = $arg::of(at(_args, $index)) else { return Ok(FieldValue::Null) };
                    )*
                    call(&self, $($arg),*).into_value()
                })
            }
        }
    };
}

scalar!(0:);
scalar!(1: A 0);
scalar!(2: A 0, B 1);
scalar!(3: A 0, B 1, C 2);
scalar!(4: A 0, B 1, C 2, D 3);
scalar!(5: A 0, B 1, C 2, D 3, E 4);
scalar!(6: A 0, B 1, C 2, D 3, E 4, G 5);
