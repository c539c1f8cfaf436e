//! A compiled call: evaluates what a row brings, then feeds accumulators.

use super::super::{EvalContext, EvalResult, Expr, Program};
use super::combine::{Combine, SliceState, slice_state};
use super::{Accumulator, AggregateCall};
use crate::expr::value::failed;
use crate::record::{DataType, ErrorCode, FieldValue, RecordError, StreamRecord};

/// What one row brings to one call, besides the record itself: found before any accumulator changes. Holds no borrow of
/// the record: made once for each call and used for all records, it does not allocate.
#[derive(Clone, Debug, Default)]
pub struct AggregateInput {
    /// Whether the row passed FILTER.
    passes: bool,
    /// Values of the arguments that are no plain columns.
    computed: Vec<FieldValue>,
    /// The row's number in the input, for calls that want it.
    number: FieldValue,
}

impl AggregateInput {
    /// What each row brings to a call that [looks at columns alone](AggregateProgram::is_plain).
    pub fn plain() -> Self {
        Self { passes: true, ..Self::default() }
    }
    /// The value of the first argument that is computed.
    #[inline]
    pub(super) fn first(&self) -> &FieldValue {
        self.computed.first().unwrap_or(&FieldValue::Null)
    }
    /// Sets the number of the row in the input, from 1.
    #[inline]
    pub fn set_number(&mut self, number: i64) {
        self.number = FieldValue::Integer(number);
    }
}

/// Where an argument comes from.
#[derive(Debug)]
enum Source {
    /// A column of that type, read straight from the record.
    Column { index: usize, kind: Kind },
    /// `AggregateInput::computed` at that place.
    Computed { at: usize, program: Program },
    /// The same for all rows.
    Constant(FieldValue),
    /// The row's number.
    Number,
}

/// A call that is ready to run.
#[derive(Debug)]
pub struct AggregateProgram {
    /// What the state sees of a row.
    sources: Box<[Source]>,
    filter: Option<Program>,
    skips_null: bool,
    /// How many sources are computed.
    computed: usize,
    empty: Accumulator,
}

impl AggregateProgram {
    /// Compiles a call. `retracts`: values may leave again, by [`retract`](Self::retract).
    pub fn compile(call: &AggregateCall, retracts: bool) -> Self {
        Self::with_state(call, super::functions::empty_state(call, retracts))
    }

    /// Compiles a call over slices, whose states are combined; `None` if they can't be. Such a call wants
    /// [`AggregateInput::set_number`].
    pub fn compile_for_slices(call: &AggregateCall) -> Option<(Self, Combine)> {
        let SliceState { empty, combine, numbered } = slice_state(call)?;
        let mut program = Self::with_state(call, empty);
        if numbered {
            program.sources = program.sources.into_iter().chain([Source::Number]).collect();
        }
        Some((program, combine))
    }

    fn with_state(call: &AggregateCall, empty: Accumulator) -> Self {
        let mut computed = 0;
        let source = |expr: &Expr| {
            let program = Program::compile(expr);
            if let Some(index) = program.as_column() {
                return Source::Column { index, kind: Kind::of_type(&expr.data_type()) };
            }
            if let Some(value) = program.as_constant() {
                return Source::Constant(value.clone());
            }
            computed += 1;
            Source::Computed { at: computed - 1, program }
        };
        let keys = call.order_by.iter().map(|k| &k.expr);
        let exprs: Vec<&Expr> = if call.function.within_group {
            keys.chain(&call.args).collect()
        } else {
            call.args.iter().chain(keys).collect()
        };
        let sources = exprs.into_iter().map(source).collect();
        Self {
            sources,
            filter: call.filter.as_ref().map(Program::compile),
            skips_null: call.function.skips_null,
            computed,
            empty,
        }
    }

    /// Whether it looks at columns and constants alone, so that all rows bring [the same](AggregateInput::plain).
    pub fn is_plain(&self) -> bool {
        let plain = |source: &Source| matches!(source, Source::Column { .. } | Source::Constant(_));
        self.filter.is_none() && self.sources.iter().all(plain)
    }

    pub(super) fn empty(&self) -> &Accumulator {
        &self.empty
    }
    pub(super) fn has_filter(&self) -> bool {
        self.filter.is_some()
    }
    /// The column that is its only argument.
    pub(super) fn column(&self) -> Option<usize> {
        match &*self.sources {
            [Source::Column { index, .. }] => Some(*index),
            _ => None,
        }
    }
    /// The constant that is its only argument.
    pub(super) fn constant(&self) -> Option<&FieldValue> {
        match &*self.sources {
            [Source::Constant(value)] => Some(value),
            _ => None,
        }
    }

    /// The state of an empty group.
    #[inline]
    pub fn new_state(&self) -> Accumulator {
        self.empty.clone()
    }

    /// The state that [`Accumulator::to_values`] described.
    ///
    /// # Errors
    /// If the values are no state of this call; a sentence.
    pub fn restore(&self, values: &[FieldValue]) -> Result<Accumulator, String> {
        let mut state = self.new_state();
        state.restore(values)?;
        Ok(state)
    }

    /// Evaluates FILTER and arguments for one row: to be called before [`update`](Self::update) or
    /// [`retract`](Self::retract) with the same record, which may then be done for any number of states.
    ///
    /// # Errors
    /// The record's error; no accumulator has changed.
    #[inline]
    pub fn evaluate(&self, ctx: &EvalContext<'_>, into: &mut AggregateInput) -> EvalResult<()> {
        into.passes = match &self.filter {
            None => true,
            Some(filter) => filter.eval_bool(ctx)? == Some(true),
        };
        if !into.passes {
            return Ok(());
        }
        if into.computed.len() < self.computed {
            into.computed.resize(self.computed, FieldValue::Null);
        }
        for source in &self.sources {
            match source {
                Source::Column { index, kind } => {
                    let value = column(ctx.record, *index);
                    if !kind.fits(value) {
                        return Err(mismatch(ctx.record, *index, value));
                    }
                }
                Source::Computed { at, program } => {
                    let value = program.eval(ctx)?;
                    if let Some(slot) = into.computed.get_mut(*at) {
                        match value {
                            super::super::Datum::Ref(value) => slot.assign(value),
                            super::super::Datum::Own(value) => *slot = value,
                        }
                    }
                }
                Source::Constant(_) | Source::Number => {}
            }
        }
        Ok(())
    }

    /// Adds a row that was [evaluated](Self::evaluate).
    #[inline]
    pub fn update(&self, state: &mut Accumulator, record: &StreamRecord, input: &AggregateInput) {
        if !input.passes {
            return;
        }
        match &*self.sources {
            [] => state.update(&[]),
            [Source::Column { index, .. }] => {
                let value = column(record, *index);
                if !(self.skips_null && value.is_null()) {
                    state.update_one(value);
                }
            }
            _ => self.with_args(record, input, |args| state.update(args)),
        }
    }

    /// Takes a row back that was added before, [evaluated](Self::evaluate) anew.
    pub fn retract(&self, state: &mut Accumulator, record: &StreamRecord, input: &AggregateInput) {
        if input.passes {
            self.with_args(record, input, |args| state.retract(args));
        }
    }

    /// Hands over the values of all sources, unless the row is passed over for a NULL.
    #[inline]
    fn with_args(&self, record: &StreamRecord, input: &AggregateInput, take: impl FnOnce(&[&FieldValue])) {
        let take = |args: &[&FieldValue]| {
            if !(self.skips_null && args.first().is_some_and(|v| v.is_null())) {
                take(args);
            }
        };
        match &*self.sources {
            [] => take(&[]),
            [a] => take(&[a.value(record, input)]),
            [a, b] => take(&[a.value(record, input), b.value(record, input)]),
            [a, b, c] => take(&[a.value(record, input), b.value(record, input), c.value(record, input)]),
            many => {
                let args: Vec<&FieldValue> = many.iter().map(|s| s.value(record, input)).collect();
                take(&args);
            }
        }
    }

    /// Adds all rows of `from`, which come after those of `into`.
    pub fn merge(&self, into: &mut Accumulator, from: &Accumulator) {
        into.merge(from);
    }

    /// Takes back what `from` holds and was merged before, where slices are combined as [`Combine::Running`].
    pub fn unmerge(&self, into: &mut Accumulator, from: &Accumulator) {
        into.unmerge(from);
    }

    /// The result for the rows so far.
    ///
    /// # Errors
    /// What is only known at output, e.g. a SUM beyond BIGINT.
    pub fn finish(&self, state: &Accumulator) -> EvalResult<FieldValue> {
        state.finish()
    }
}

impl Source {
    #[inline]
    fn value<'a>(&'a self, record: &'a StreamRecord, input: &'a AggregateInput) -> &'a FieldValue {
        match self {
            Source::Column { index, .. } => column(record, *index),
            Source::Computed { at, .. } => input.computed.get(*at).unwrap_or(&FieldValue::Null),
            Source::Constant(value) => value,
            Source::Number => &input.number,
        }
    }
}

#[inline]
pub(super) fn column(record: &StreamRecord, index: usize) -> &FieldValue {
    record.values().get(index).unwrap_or(&FieldValue::Null)
}

/// A value of another type than the schema declares: a source's mistake, never read as something else.
#[cold]
fn mismatch(record: &StreamRecord, index: usize, value: &FieldValue) -> Box<RecordError> {
    let declared = record.schema().fields().get(index);
    let wanted = declared.map_or(DataType::Null, |f| f.data_type.clone());
    let error = failed(
        ErrorCode::TypeMismatch,
        format!("a value of type {} where {wanted} was declared", value.data_type()),
    );
    match declared {
        Some(field) => Box::new(error.in_column(&field.name)),
        None => error,
    }
}

/// Which variant values of a type have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Any,
    Integer,
    Float,
    String,
    Timestamp,
    Other(std::mem::Discriminant<FieldValue>),
}

impl Kind {
    fn of_type(data_type: &DataType) -> Self {
        use FieldValue as V;
        let other = |v: V| Kind::Other(std::mem::discriminant(&v));
        match data_type {
            DataType::Null => Kind::Any,
            DataType::SmallInt | DataType::Integer | DataType::BigInt => Kind::Integer,
            DataType::Real | DataType::Double => Kind::Float,
            DataType::Varchar => Kind::String,
            DataType::Timestamp => Kind::Timestamp,
            DataType::Boolean => other(V::Boolean(false)),
            DataType::Decimal { .. } => other(V::Decimal(crate::record::Decimal::ZERO)),
            DataType::Bytes => other(V::Bytes([].into())),
            DataType::Date => other(V::Date(0)),
            DataType::Time => other(V::Time(0)),
            DataType::Interval => other(V::Interval(crate::record::Interval::default())),
            DataType::Array(_) => other(V::Array(std::sync::Arc::default())),
            DataType::Map(..) => other(V::Map(std::sync::Arc::default())),
            DataType::Json => other(V::Json("".into())),
            DataType::Struct(_) => other(V::Struct(std::sync::Arc::new(crate::record::StructValue {
                names: [].into(),
                values: Vec::new(),
            }))),
        }
    }

    #[inline]
    fn fits(self, value: &FieldValue) -> bool {
        use FieldValue as V;
        match self {
            Kind::Integer => matches!(value, V::Integer(_) | V::Null),
            Kind::Float => matches!(value, V::Float(_) | V::Null),
            Kind::String => matches!(value, V::String(_) | V::Null),
            Kind::Timestamp => matches!(value, V::Timestamp(_) | V::Null),
            Kind::Other(kind) => std::mem::discriminant(value) == kind || value.is_null(),
            Kind::Any => true,
        }
    }
}
