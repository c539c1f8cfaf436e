//! The registry of scalar functions: one row a function, with its signature, doc line and checked example.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{AggregateFunction, Datum, EvalResult};
use crate::record::{DataType, FieldValue, StreamRecord, sorted};

/// What an expression may look at besides its operands.
#[derive(Clone, Copy, Debug)]
pub struct EvalContext<'a> {
    /// The record.
    pub record: &'a StreamRecord,
    /// The job's clock, µs since the Unix epoch; one value per batch.
    pub now: i64,
}

/// Whether calls may be folded or must be made for each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    /// Same arguments, same result: folded when constant.
    Immutable,
    /// Looks at the record or the clock.
    Context,
    /// Another result each time (`random()`).
    Volatile,
}

/// How many arguments of which types.
#[derive(Clone, Debug, PartialEq)]
pub enum Arity {
    /// Exactly these parameter types. [`DataType::Null`] stands for "any type, taken as it is".
    Exact(Vec<DataType>),
    /// These, of which the last `usize` may be left out.
    Optional(Vec<DataType>, usize),
    /// At least these; the last one repeats.
    Variadic(Vec<DataType>),
}

/// The result type of a call.
#[derive(Clone)]
pub enum ReturnType {
    /// Always this.
    Fixed(DataType),
    /// The type of that argument.
    SameAs(usize),
    /// Worked out from the (already cast) argument types; the error is a sentence.
    Derived(fn(&[DataType]) -> Result<DataType, String>),
}

impl std::fmt::Debug for ReturnType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReturnType::Fixed(t) => write!(f, "Fixed({t})"),
            ReturnType::SameAs(i) => write!(f, "SameAs({i})"),
            ReturnType::Derived(_) => f.write_str("Derived"),
        }
    }
}

/// The code of a function. Arguments are what the program evaluated: borrowed from the record where possible.
pub type EvalFn = dyn for<'a> Fn(&EvalContext<'a>, &[Datum<'a>]) -> EvalResult<FieldValue> + Send + Sync;

/// One overload of a scalar function.
///
/// Several rows may have the same name: the first whose parameters take the arguments without a cast is chosen, else the first
/// that takes them with implicit casts.
pub struct FunctionSpec {
    /// Name in lower case.
    pub name: &'static str,
    /// Family, e.g. `"string"`: one file and one heading in the reference.
    pub family: &'static str,
    /// Signature for people, e.g. `"substr(text, from [, count])"`.
    pub signature: &'static str,
    /// One line without a final stop.
    pub doc: &'static str,
    /// An expression and its result as text: evaluated by a test.
    pub example: (&'static str, &'static str),
    /// Parameters.
    pub arity: Arity,
    /// Result.
    pub returns: ReturnType,
    /// With `true`, NULL in any argument makes the result NULL without a call.
    pub strict: bool,
    /// Whether it may be folded.
    pub volatility: Volatility,
    /// The code.
    pub eval: Box<EvalFn>,
}

impl std::fmt::Debug for FunctionSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.signature)
    }
}
impl PartialEq for FunctionSpec {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// All functions that a statement may call.
#[derive(Clone, Debug, Default)]
pub struct FunctionRegistry {
    by_name: HashMap<String, Vec<Arc<FunctionSpec>>>,
    aggregates: HashMap<String, Vec<Arc<AggregateFunction>>>,
}

impl FunctionRegistry {
    /// No functions.
    pub fn empty() -> Self {
        Self::default()
    }
    /// The built-in functions.
    pub fn builtin() -> Self {
        let mut registry = Self::empty();
        super::scalar::register_all(&mut registry);
        super::aggregate::register_all(&mut registry);
        registry
    }
    /// Adds a function or an overload.
    pub fn add(&mut self, function: FunctionSpec) {
        self.by_name.entry(function.name.to_owned()).or_default().push(Arc::new(function));
    }
    /// The overloads of `name` (any case).
    pub fn overloads(&self, name: &str) -> &[Arc<FunctionSpec>] {
        self.by_name.get(name.to_ascii_lowercase().as_str()).map_or(&[], Vec::as_slice)
    }
    /// Adds an aggregate function or an overload.
    pub fn add_aggregate(&mut self, function: AggregateFunction) {
        self.aggregates.entry(function.name.to_owned()).or_default().push(Arc::new(function));
    }
    /// The overloads of the aggregate `name` (any case).
    pub fn aggregates(&self, name: &str) -> &[Arc<AggregateFunction>] {
        self.aggregates.get(name.to_ascii_lowercase().as_str()).map_or(&[], Vec::as_slice)
    }
    /// All aggregate functions, by name.
    pub fn all_aggregates(&self) -> Vec<Arc<AggregateFunction>> {
        let mut all: Vec<_> = self.aggregates.values().flatten().cloned().collect();
        sorted::sort_by_key(&mut all, |f| (f.name, f.signature));
        all
    }
    /// All names of aggregate functions.
    pub fn aggregate_names(&self) -> impl Iterator<Item = &str> {
        self.aggregates.keys().map(String::as_str)
    }
    /// All functions, by family, then name.
    pub fn all(&self) -> Vec<Arc<FunctionSpec>> {
        let mut all: Vec<_> = self.by_name.values().flatten().cloned().collect();
        sorted::sort_by_key(&mut all, |f| (f.family, f.name, f.signature));
        all
    }
    /// All names of scalar functions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}
