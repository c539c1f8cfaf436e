//! A compiled call: evaluates the arguments of a row, then feeds accumulators.

use super::super::{Datum, EvalContext, EvalResult, Program};
use super::{Accumulator, AggregateCall};
use crate::record::FieldValue;

/// What one row brings to one call: evaluated before any accumulator changes. Made once and reused.
#[derive(Debug, Default)]
pub struct AggregateInput<'a> {
    /// Whether the row counts: it passed FILTER and, where NULLs are skipped, its first argument is not NULL.
    pub counts: bool,
    /// Arguments, then ORDER BY keys.
    pub args: Vec<Datum<'a>>,
}

/// A call that is ready to run.
#[derive(Debug)]
pub struct AggregateProgram {
    call: AggregateCall,
    args: Vec<Program>,
    filter: Option<Program>,
    keeps_values: bool,
}

impl AggregateProgram {
    /// Compiles a call. `retracts`: values may leave again, by [`retract`](Self::retract).
    pub fn compile(call: &AggregateCall, retracts: bool) -> Self {
        Self {
            call: call.clone(),
            args: call
                .args
                .iter()
                .chain(call.order_by.iter().map(|k| &k.expr))
                .map(Program::compile)
                .collect(),
            filter: call.filter.as_ref().map(Program::compile),
            keeps_values: retracts,
        }
    }

    /// The state of an empty group.
    pub fn new_state(&self) -> Accumulator {
        let types: Vec<_> = self.call.args.iter().map(|a| a.data_type()).collect();
        (self.call.function.make)(&types, self.keeps_values)
    }

    /// Evaluates FILTER and arguments for one row.
    ///
    /// # Errors
    /// The record's error; no accumulator has changed.
    pub fn evaluate<'a>(&'a self, ctx: &EvalContext<'a>, into: &mut AggregateInput<'a>) -> EvalResult<()> {
        into.args.clear();
        into.counts = match &self.filter {
            None => true,
            Some(filter) => matches!(*filter.eval(ctx)?, FieldValue::Boolean(true)),
        };
        if into.counts {
            for arg in &self.args {
                into.args.push(arg.eval(ctx)?);
            }
            let null = into.args.first().is_some_and(|a| a.is_null());
            into.counts = !(self.call.function.skips_null && null);
        }
        Ok(())
    }

    /// Adds a row.
    pub fn update(&self, state: &mut Accumulator, input: &AggregateInput<'_>) {
        if !input.counts {
            return;
        }
        match state {
            Accumulator::Count(n) => *n += 1,
            Accumulator::Boxed(state) => state.update(&input.args),
        }
    }

    /// Takes a row back that was added before.
    pub fn retract(&self, state: &mut Accumulator, input: &AggregateInput<'_>) {
        if !input.counts {
            return;
        }
        match state {
            Accumulator::Count(n) => *n -= 1,
            Accumulator::Boxed(state) => state.retract(&input.args),
        }
    }

    /// Adds all rows of `from`, which come after those of `into`.
    pub fn merge(&self, into: &mut Accumulator, from: &Accumulator) {
        match (into, from) {
            (Accumulator::Count(a), Accumulator::Count(b)) => *a += b,
            (Accumulator::Boxed(a), Accumulator::Boxed(b)) => a.merge(&**b),
            _ => {}
        }
    }

    /// The result for the rows so far.
    ///
    /// # Errors
    /// What is only known at output, e.g. a SUM beyond BIGINT.
    pub fn finish(&self, state: &Accumulator) -> EvalResult<FieldValue> {
        match state {
            Accumulator::Count(n) => Ok(FieldValue::Integer(*n)),
            Accumulator::Boxed(state) => state.finish(),
        }
    }
}
