//! How a family writes its rows: a function from signature, doc line, example, parameters, result and code.

use crate::expr::{Arity, Datum, EvalContext, EvalResult, FunctionSpec, ReturnType, Volatility};
use crate::record::{DataType, FieldValue};

/// A parameter that takes a value of any type as it is.
pub(super) const ANY: DataType = DataType::Null;
/// VARCHAR.
pub(super) const TEXT: DataType = DataType::Varchar;
/// BIGINT: what integer parameters are.
pub(super) const INT: DataType = DataType::BigInt;
/// INT: what lengths, positions and parts of dates are.
pub(super) const INT4: DataType = DataType::Integer;
/// DOUBLE.
pub(super) const DOUBLE: DataType = DataType::Double;
/// BOOLEAN.
pub(super) const BOOL: DataType = DataType::Boolean;
/// BYTES.
pub(super) const BYTES: DataType = DataType::Bytes;

/// One strict, immutable function; its name is what precedes the bracket of the signature.
pub(super) fn row(
    signature: &'static str,
    doc: &'static str,
    example: (&'static str, &'static str),
    arity: impl Into<Arity>,
    returns: impl Into<ReturnType>,
    eval: impl for<'a> Fn(&EvalContext<'a>, &[Datum<'a>]) -> EvalResult<FieldValue> + Send + Sync + 'static,
) -> FunctionSpec {
    FunctionSpec {
        name: signature.split_once('(').map_or(signature, |(name, _)| name),
        family: "",
        signature,
        doc,
        example,
        arity: arity.into(),
        returns: returns.into(),
        strict: true,
        volatility: Volatility::Immutable,
        eval: Box::new(eval),
    }
}

/// The same function, called for NULL arguments too.
pub(super) fn lenient(mut function: FunctionSpec) -> FunctionSpec {
    function.strict = false;
    function
}
/// The same function, which looks at the record or the clock.
pub(super) fn context(mut function: FunctionSpec) -> FunctionSpec {
    function.volatility = Volatility::Context;
    function
}
/// The same function, with another result each time.
pub(super) fn volatile(mut function: FunctionSpec) -> FunctionSpec {
    function.volatility = Volatility::Volatile;
    function
}

/// Parameters of which the last `n` may be left out.
pub(super) fn optional<const N: usize>(parameters: [DataType; N], n: usize) -> Arity {
    Arity::Optional(parameters.into(), n)
}
/// Parameters of which the last one repeats.
pub(super) fn variadic<const N: usize>(parameters: [DataType; N]) -> Arity {
    Arity::Variadic(parameters.into())
}
/// A result type worked out from the argument types.
pub(super) fn derived(rule: fn(&[DataType]) -> Result<DataType, String>) -> ReturnType {
    ReturnType::Derived(rule)
}

impl<const N: usize> From<[DataType; N]> for Arity {
    fn from(parameters: [DataType; N]) -> Self {
        Arity::Exact(parameters.into())
    }
}
impl From<DataType> for ReturnType {
    fn from(data_type: DataType) -> Self {
        ReturnType::Fixed(data_type)
    }
}
