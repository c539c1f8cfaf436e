//! WHERE and SELECT list in one pass, in place.
//!
//! A record that nobody else holds is rewritten where it stands: a column that keeps its position is not touched, one that
//! moves is swapped so that no buffer is lost, and the record's surplus slots stay with it for the reader to use again. A
//! shared record is left alone and a new one is built.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{InputId, Operator, Output, Rejected, StateContract, StateError, StateReader, StateWriter};
use crate::expr::{EvalContext, EvalResult, Program, SystemColumn};
use crate::plan::{FilterProjectSpec, ProjectColumn};
use crate::record::{Batch, ErrorCode, FieldValue, RecordError, Schema, StreamRecord};

/// Where an output column comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Origin {
    /// Input column; `last` = no later output column wants it too.
    Input { index: usize, last: bool },
    /// Result of that computed expression.
    Computed(usize),
}

/// How the values of a record are arranged.
#[derive(Debug)]
enum Arrangement {
    /// The record goes on as it is.
    Unchanged,
    /// Every taken column stays at its position; computed ones are put in: `(output, computed)`.
    InPlace(Vec<(usize, usize)>),
    /// Anything else.
    Shuffle(Vec<Origin>),
}

/// What became of one record.
enum Fate {
    Keep,
    Drop,
}

/// Running form of [`FilterProjectSpec`].
#[derive(Debug)]
pub struct FilterProjectOp {
    predicate: Option<Program>,
    computed: Vec<Program>,
    system: Vec<(SystemColumn, Program)>,
    arrangement: Arrangement,
    origins: Vec<Origin>,
    schema: Arc<Schema>,
    scratch: Scratch,
}

/// Results of one record before it is changed; their buffers are reused for the next.
#[derive(Debug, Default)]
struct Scratch {
    computed: Vec<FieldValue>,
    system: Vec<FieldValue>,
    arranged: Vec<FieldValue>,
}

impl FilterProjectOp {
    /// Compiles the expressions.
    pub fn new(spec: &FilterProjectSpec) -> Self {
        let mut computed = Vec::new();
        let mut origins: Vec<Origin> = Vec::new();
        for column in spec.project.iter().flatten() {
            origins.push(match column {
                ProjectColumn::Take(index) => Origin::Input { index: *index, last: true },
                ProjectColumn::Compute(expr) => {
                    computed.push(Program::compile(expr));
                    Origin::Computed(computed.len() - 1)
                }
            });
        }
        let mut seen = Vec::new();
        for origin in origins.iter_mut().rev() {
            if let Origin::Input { index, last } = origin {
                *last = !seen.contains(index);
                seen.push(*index);
            }
        }
        let stays = |(i, o): (usize, &Origin)| match o {
            Origin::Input { index, .. } => *index == i,
            Origin::Computed(_) => true,
        };
        let arrangement = match &spec.project {
            None => Arrangement::Unchanged,
            Some(_) if origins.iter().enumerate().all(stays) => Arrangement::InPlace(
                origins
                    .iter()
                    .enumerate()
                    .filter_map(|(i, o)| match o {
                        Origin::Computed(c) => Some((i, *c)),
                        Origin::Input { .. } => None,
                    })
                    .collect(),
            ),
            Some(_) => Arrangement::Shuffle(origins.clone()),
        };
        let scratch = Scratch {
            computed: vec![FieldValue::Null; computed.len()],
            system: vec![FieldValue::Null; spec.system.len()],
            arranged: vec![FieldValue::Null; origins.len()],
        };
        Self {
            predicate: spec.predicate.as_ref().map(Program::compile),
            computed,
            system: spec.system.iter().map(|(c, e)| (*c, Program::compile(e))).collect(),
            arrangement,
            origins,
            schema: spec.schema.clone(),
            scratch,
        }
    }

    /// Evaluates everything that one record needs, before anything of it is changed.
    #[inline]
    fn evaluate(&mut self, record: &StreamRecord, now: i64) -> EvalResult<Fate> {
        let ctx = EvalContext { record, now };
        if let Some(predicate) = &self.predicate
            && predicate.eval_bool(&ctx)? != Some(true)
        {
            return Ok(Fate::Drop);
        }
        for (program, slot) in self.computed.iter().zip(&mut self.scratch.computed) {
            match program.eval(&ctx)? {
                crate::expr::Datum::Ref(v) => slot.assign(v),
                crate::expr::Datum::Own(v) => *slot = v,
            }
        }
        for ((_, program), slot) in self.system.iter().zip(&mut self.scratch.system) {
            *slot = program.eval(&ctx)?.into_owned();
        }
        Ok(Fate::Keep)
    }

    /// Rewrites a record that nobody else holds.
    #[inline]
    fn rewrite(&mut self, record: &mut StreamRecord) {
        let Scratch { computed, arranged, .. } = &mut self.scratch;
        match &self.arrangement {
            Arrangement::Unchanged => {}
            Arrangement::InPlace(puts) => {
                record.reshape(&self.schema);
                let values = record.values_mut();
                for &(to, from) in puts {
                    if let (Some(value), Some(result)) = (values.get_mut(to), computed.get_mut(from)) {
                        std::mem::swap(value, result);
                    }
                }
            }
            Arrangement::Shuffle(origins) => {
                let values = record.values_mut();
                for (origin, slot) in origins.iter().zip(arranged.iter_mut()) {
                    match *origin {
                        Origin::Input { index, last } => match values.get_mut(index) {
                            Some(value) if last => std::mem::swap(slot, value),
                            Some(value) => slot.assign(value),
                            None => *slot = FieldValue::Null,
                        },
                        Origin::Computed(c) => {
                            if let Some(result) = computed.get_mut(c) {
                                std::mem::swap(slot, result);
                            }
                        }
                    }
                }
                record.reshape(&self.schema);
                for (value, slot) in record.values_mut().iter_mut().zip(arranged.iter_mut()) {
                    std::mem::swap(value, slot);
                }
            }
        }
        self.set_system(record);
    }

    /// Builds the output in another record, whose values are stale; `from` is left as it is.
    fn build(&mut self, from: &StreamRecord, to: &mut StreamRecord) {
        to.copy_metadata(from);
        if matches!(self.arrangement, Arrangement::Unchanged) {
            for (slot, value) in to.values_mut().iter_mut().zip(from.values()) {
                slot.assign(value);
            }
        } else {
            for (origin, slot) in self.origins.iter().zip(to.values_mut()) {
                match *origin {
                    Origin::Input { index, .. } => match from.values().get(index) {
                        Some(value) => slot.assign(value),
                        None => *slot = FieldValue::Null,
                    },
                    Origin::Computed(c) => {
                        if let Some(result) = self.scratch.computed.get_mut(c) {
                            std::mem::swap(slot, result);
                        }
                    }
                }
            }
        }
        self.set_system(to);
    }

    fn set_system(&mut self, record: &mut StreamRecord) {
        for ((column, _), value) in self.system.iter().zip(&mut self.scratch.system) {
            set_system_column(record, *column, std::mem::take(value));
        }
    }

    /// The shape of an output record made for an input of shape `input`.
    fn shape_for(&self, input: &Arc<Schema>) -> Arc<Schema> {
        match self.arrangement {
            Arrangement::Unchanged => input.clone(),
            _ => self.schema.clone(),
        }
    }

    /// One record of a batch that is ours.
    #[inline]
    fn step(&mut self, slot: &mut Arc<StreamRecord>, now: i64) -> EvalResult<Fate> {
        let fate = self.evaluate(slot, now)?;
        if matches!(fate, Fate::Keep) && !(self.is_unchanged() && self.system.is_empty()) {
            match Arc::get_mut(slot) {
                Some(record) => self.rewrite(record),
                None => {
                    let mut fresh = StreamRecord::new(self.shape_for(slot.schema()));
                    self.build(slot, &mut fresh);
                    *slot = Arc::new(fresh);
                }
            }
        }
        Ok(fate)
    }

    fn is_unchanged(&self) -> bool {
        matches!(self.arrangement, Arrangement::Unchanged)
    }
}

/// Sets one piece of metadata from a value of the right type; NULL clears it.
fn set_system_column(record: &mut StreamRecord, column: SystemColumn, value: FieldValue) {
    let time = match &value {
        FieldValue::Timestamp(t) => Some(*t),
        _ => None,
    };
    match column {
        SystemColumn::Timestamp => record.set_timestamp(time),
        SystemColumn::EventTime => record.set_event_time(time),
        SystemColumn::Offset => record.set_offset(value.as_i64()),
        SystemColumn::Partition => {
            record.set_partition(value.as_i64().and_then(|p| i32::try_from(p).ok()).unwrap_or(0));
        }
        SystemColumn::Topic => record.set_topic(value.as_str().map(Into::into)),
        SystemColumn::Key => record.set_key(value),
        SystemColumn::Headers => {
            let headers = record.headers_mut();
            headers.clear();
            if let FieldValue::Map(entries) = &value {
                for (name, value) in entries.iter() {
                    if let (Some(name), Some(value)) = (name.as_str(), value.as_str()) {
                        headers.push(name, value.as_bytes());
                    }
                }
            }
        }
    }
}

impl Operator for FilterProjectOp {
    fn process(&mut self, _: InputId, mut batch: Batch, out: &mut Output<'_>) {
        let now = out.now;
        let (mut at, mut kept) = (0, 0);
        out.counters.input += batch.len() as u64;
        while at < batch.len() {
            // A panic leaves `at` at the record that caused it; the loop goes on behind it.
            let sweep = catch_unwind(AssertUnwindSafe(|| {
                while at < batch.len() {
                    let Some(slot) = batch.records_mut().get_mut(at) else { break };
                    match self.step(slot, now) {
                        Ok(Fate::Keep) => {
                            batch.keep(at, kept);
                            kept += 1;
                        }
                        Ok(Fate::Drop) => out.counters.filtered += 1,
                        Err(error) => {
                            out.counters.rejected += 1;
                            out.rejects.push(Rejected { record: slot.clone(), error: *error });
                        }
                    }
                    at += 1;
                }
            }));
            if let Err(panic) = sweep {
                if let Some(record) = batch.records().get(at) {
                    out.counters.rejected += 1;
                    out.rejects.push(Rejected { record: record.clone(), error: panic_error(&*panic) });
                }
                at += 1;
            }
        }
        out.counters.forwarded += kept as u64;
        batch.truncate(kept);
        out.emit(batch);
    }

    fn process_shared(&mut self, _: InputId, batch: &Batch, out: &mut Output<'_>) {
        let now = out.now;
        let mut made = out.pools.take(out.home);
        made.inherit(batch);
        out.counters.input += batch.len() as u64;
        for record in batch.records() {
            let fate = catch_unwind(AssertUnwindSafe(|| self.evaluate(record, now)))
                .unwrap_or_else(|panic| Err(Box::new(panic_error(&*panic))));
            match fate {
                Ok(Fate::Keep) => {
                    let shape = self.shape_for(record.schema());
                    let (slot, _) = made.next_slot(&shape);
                    self.build(record, slot);
                }
                Ok(Fate::Drop) => out.counters.filtered += 1,
                Err(error) => {
                    out.counters.rejected += 1;
                    out.rejects.push(Rejected { record: record.clone(), error: *error });
                }
            }
        }
        out.counters.forwarded += made.len() as u64;
        made.set_bytes(batch.bytes() * made.len() / batch.len().max(1));
        out.emit(made);
    }

    fn snapshot(&self, _: &mut StateWriter) -> Result<(), StateError> {
        Ok(())
    }

    fn restore(&mut self, _: &mut StateReader<'_>) -> Result<(), StateError> {
        Ok(())
    }

    fn state_contract(&self) -> StateContract {
        StateContract::Stateless
    }
}

/// The record error of a caught panic.
pub(crate) fn panic_error(panic: &(dyn std::any::Any + Send)) -> RecordError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into());
    RecordError::new(ErrorCode::Panic, format!("an expression panicked: {text}"))
}
