//! Aggregate functions from closures: an empty state, what a row does to it, how two states become one, the result.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use ::serde::Serialize;
use ::serde::de::DeserializeOwned;

use super::{Parameter, SqlArg, SqlResult, returns, signature};
use crate::expr::aggregate::{Accumulator, AggregateFunction, AggregateState, Retraction};
use crate::expr::{Arity, EvalResult, ReturnType};
use crate::record::{DataType, ErrorCode, FieldValue, RecordError};

/// The result type for arguments of these types, or why they don't fit.
pub(super) type Check = fn(&[DataType]) -> Result<DataType, String>;

/// What the closure makes of a row: the state, changed by its arguments.
pub trait AggregateUpdate<S, M>: Send + Sync + 'static {
    /// The parameters behind the state.
    fn parameters() -> Vec<Parameter>;
    /// The result type, or why arguments of these types don't fit.
    fn check<R: SqlResult>() -> Check;
    /// Takes a row, unless a parameter that is no `Option` meets NULL.
    fn update(&self, state: &mut S, args: &[&FieldValue]);
}

/// The argument at a place, NULL if there is none.
#[inline]
fn at<'v>(args: &[&'v FieldValue], index: usize) -> &'v FieldValue {
    args.get(index).copied().unwrap_or(&FieldValue::Null)
}

macro_rules! update {
    ($($arg:ident $index:literal),*) => {
        impl<F, S, $($arg),*> AggregateUpdate<S, fn($($arg),*)> for F
        where
            $($arg: SqlArg,)*
            F: Fn(&mut S, $($arg),*) + for<'v> Fn(&mut S, $($arg::Item<'v>),*) + Send + Sync + 'static,
        {
            fn parameters() -> Vec<Parameter> {
                vec![$($arg::parameter()),*]
            }
            fn check<R: SqlResult>() -> Check {
                fn result<R: SqlResult, $($arg: SqlArg),*>(types: &[DataType]) -> Result<DataType, String> {
                    returns::<R>(&[$($arg::parameter()),*], types)
                }
                result::<R, $($arg),*>
            }
            #[inline]
            fn update(&self, state: &mut S, args: &[&FieldValue]) {
                // Two bounds say how the closure is called; this picks the one for the items.
                #[allow(non_snake_case)]
                fn call<S, $($arg),*>(f: &impl Fn(&mut S, $($arg),*), state: &mut S, $($arg: $arg),*) {
                    f(state, $($arg),*);
                }
                $(
                    #[allow(non_snake_case)]
                    let Some($arg) = $arg::of(at(args, $index)) else { return };
                )*
                call(self, state, $($arg),*);
            }
        }
    };
}

update!(A 0);
update!(A 0, B 1);
update!(A 0, B 1, C 2);

/// What a state must be: copied when groups are, written into snapshots.
pub trait UserState: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {}
impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> UserState for T {}

/// An aggregate function from closures.
pub struct UserAggregate(pub(crate) AggregateFunction);

impl std::fmt::Debug for UserAggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl UserAggregate {
    /// As a row of the function registry.
    pub fn into_inner(self) -> AggregateFunction {
        self.0
    }

    /// `empty` makes the state of a group without rows, `update` takes a row of up to three arguments, `merge` takes a second state
    /// whose rows come after those of the first, `finish` gives the result.
    pub fn new<S, M, R>(
        name: &'static str,
        empty: impl Fn() -> S + Send + Sync + 'static,
        update: impl AggregateUpdate<S, M>,
        merge: impl Fn(&mut S, &S) + Send + Sync + 'static,
        finish: impl Fn(&S) -> R + Send + Sync + 'static,
    ) -> Self
    where
        S: UserState,
        M: 'static,
        R: SqlResult + 'static,
    {
        fn of<S, M, U: AggregateUpdate<S, M>, R: SqlResult>(_: &U) -> (Vec<Parameter>, Check) {
            (U::parameters(), U::check::<R>())
        }
        let (parameters, check) = of::<S, M, _, R>(&update);
        let code = Arc::new(Code {
            name,
            empty: Box::new(empty),
            update: Box::new(move |state: &mut S, args: &[&FieldValue]| update.update(state, args)),
            merge: Box::new(merge),
            finish: Box::new(move |state: &S| finish(state).into_value()),
        });
        let first_skips = parameters.first().is_some_and(|p| !p.nullable);
        Self(AggregateFunction {
            name,
            signature: signature(name, &parameters),
            doc: "registered by the program",
            example: ("", "", ""),
            arity: Arity::Exact(parameters.iter().map(Parameter::arity_type).collect()),
            returns: ReturnType::Derived(check),
            skips_null: first_skips,
            retraction: Retraction::KeepsValues,
            ordered: true,
            constants: false,
            within_group: false,
            make: Box::new(move |_, _| {
                Accumulator::boxed(User { state: (code.empty)(), code: code.clone() })
            }),
        })
    }
}

type Empty<S> = Box<dyn Fn() -> S + Send + Sync>;
type Update<S> = Box<dyn Fn(&mut S, &[&FieldValue]) + Send + Sync>;
type Merge<S> = Box<dyn Fn(&mut S, &S) + Send + Sync>;
type Finish<S> = Box<dyn Fn(&S) -> EvalResult<FieldValue> + Send + Sync>;

struct Code<S> {
    name: &'static str,
    empty: Empty<S>,
    update: Update<S>,
    merge: Merge<S>,
    finish: Finish<S>,
}

/// The state of one group.
struct User<S> {
    state: S,
    code: Arc<Code<S>>,
}

impl<S> std::fmt::Debug for User<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("User")
    }
}

/// Calls a closure that changes a state. A panic leaves the state half changed, so it goes on – with the name of the function – and ends
/// the job, or has it go on from its last commit.
fn guarded(name: &str, what: &str, call: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
        resume_unwind(Box::new(told(name, what, &*panic)));
    }
}

fn told(name: &str, what: &str, panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    format!("the {what} of the aggregate function {name}() panicked: {text}")
}

impl<S: UserState> AggregateState for User<S> {
    fn update(&mut self, args: &[&FieldValue]) {
        let Self { state, code } = self;
        guarded(code.name, "update", || (code.update)(state, args));
    }
    /// A closure says only how rows come: where they may leave again, they are kept.
    fn takes_back(&self) -> bool {
        false
    }
    fn retract(&mut self, _: &[&FieldValue]) {}
    fn merge(&mut self, other: &dyn AggregateState) {
        if let Some(other) = other.as_any().downcast_ref::<Self>() {
            let Self { state, code } = self;
            guarded(code.name, "merge", || (code.merge)(state, &other.state));
        }
    }
    fn finish(&self) -> EvalResult<FieldValue> {
        let result = catch_unwind(AssertUnwindSafe(|| (self.code.finish)(&self.state)));
        result.unwrap_or_else(|panic| {
            let text = told(self.code.name, "finish", &*panic);
            Err(Box::new(RecordError::new(ErrorCode::Panic, text)))
        })
    }
    fn to_values(&self) -> Vec<FieldValue> {
        // A state that can't be written is restored with an error, not as something else.
        let bytes = postcard::to_allocvec(&self.state).unwrap_or_default();
        vec![FieldValue::Bytes(bytes.into())]
    }
    fn restore(&mut self, values: &[FieldValue]) -> Result<(), String> {
        let [FieldValue::Bytes(bytes)] = values else {
            return Err(format!("{} values are no state of a user function", values.len()));
        };
        self.state = postcard::from_bytes(bytes)
            .map_err(|e| format!("the state is none of this user function's: {e}"))?;
        Ok(())
    }
    fn boxed_clone(&self) -> Box<dyn AggregateState> {
        Box::new(Self { state: self.state.clone(), code: self.code.clone() })
    }
    fn heap_bytes(&self) -> usize {
        // What the closures keep beyond the state itself is as large as it is written, more or less.
        let written = postcard::to_allocvec(&self.state).map_or(0, |bytes| bytes.len());
        size_of::<Self>() + written.saturating_sub(size_of::<S>())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
