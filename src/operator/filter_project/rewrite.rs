//! What is done to one record: evaluate everything, then rewrite it in place.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::panic_error;
use crate::expr::{EvalContext, EvalResult, Expr, Program, SystemColumn, Volatility};
use crate::plan::{FilterProjectSpec, ProjectColumn};
use crate::record::{Batch, Books, FieldValue, Prepare, Preparer, Schema, StreamRecord};

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
pub(super) enum Fate {
    Keep,
    Drop,
}

/// The compiled form of a [`FilterProjectSpec`]: looks at one record at a time, and at nothing else.
#[derive(Debug)]
pub(super) struct Rewrite {
    predicate: Option<Program>,
    computed: Vec<Program>,
    system: Vec<(SystemColumn, Program)>,
    arrangement: Arrangement,
    origins: Vec<Origin>,
    schema: Arc<Schema>,
    /// What it gives for a record does not depend on when or how often it looks at it.
    pub(super) anytime: bool,
}

/// Results of one record before it is changed; their buffers are reused for the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    computed: Vec<FieldValue>,
    system: Vec<FieldValue>,
    arranged: Vec<FieldValue>,
}

impl Rewrite {
    /// Compiles the expressions.
    pub(super) fn new(spec: &FilterProjectSpec) -> Self {
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
        Self {
            predicate: spec.predicate.as_ref().map(Program::compile),
            computed,
            system: spec.system.iter().map(|(c, e)| (*c, Program::compile(e))).collect(),
            arrangement,
            origins,
            schema: spec.schema.clone(),
            anytime: expressions(spec).all(|e| e.volatility() == Volatility::Immutable),
        }
    }

    /// Room for the results of one record.
    pub(super) fn scratch(&self) -> Scratch {
        Scratch {
            computed: vec![FieldValue::Null; self.computed.len()],
            system: vec![FieldValue::Null; self.system.len()],
            arranged: vec![FieldValue::Null; self.origins.len()],
        }
    }

    /// Evaluates everything that one record needs, before anything of it is changed.
    #[inline]
    pub(super) fn evaluate(
        &self,
        scratch: &mut Scratch,
        record: &StreamRecord,
        now: i64,
    ) -> EvalResult<Fate> {
        let ctx = EvalContext { record, now };
        if let Some(predicate) = &self.predicate
            && predicate.eval_bool(&ctx)? != Some(true)
        {
            return Ok(Fate::Drop);
        }
        for (program, slot) in self.computed.iter().zip(&mut scratch.computed) {
            match program.eval(&ctx)? {
                crate::expr::Datum::Ref(v) => slot.assign(v),
                crate::expr::Datum::Own(v) => *slot = v,
            }
        }
        for ((_, program), slot) in self.system.iter().zip(&mut scratch.system) {
            *slot = program.eval(&ctx)?.into_owned();
        }
        Ok(Fate::Keep)
    }

    /// Rewrites a record that nobody else holds.
    #[inline]
    fn rewrite(&self, scratch: &mut Scratch, record: &mut StreamRecord) {
        let Scratch { computed, arranged, .. } = &mut *scratch;
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
        self.set_system(scratch, record);
    }

    /// Builds the output in another record, whose values are stale; `from` is left as it is.
    pub(super) fn build(&self, scratch: &mut Scratch, from: &StreamRecord, to: &mut StreamRecord) {
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
                        if let Some(result) = scratch.computed.get_mut(c) {
                            std::mem::swap(slot, result);
                        }
                    }
                }
            }
        }
        self.set_system(scratch, to);
    }

    fn set_system(&self, scratch: &mut Scratch, record: &mut StreamRecord) {
        for ((column, _), value) in self.system.iter().zip(&mut scratch.system) {
            set_system_column(record, *column, std::mem::take(value));
        }
    }

    /// The shape of an output record made for an input of shape `input`.
    pub(super) fn shape_for(&self, input: &Arc<Schema>) -> Arc<Schema> {
        match self.arrangement {
            Arrangement::Unchanged => input.clone(),
            _ => self.schema.clone(),
        }
    }

    /// One record of a batch that is ours.
    #[inline]
    pub(super) fn step(
        &self,
        scratch: &mut Scratch,
        slot: &mut Arc<StreamRecord>,
        now: i64,
    ) -> EvalResult<Fate> {
        let fate = self.evaluate(scratch, slot, now)?;
        if matches!(fate, Fate::Keep) && !(self.is_unchanged() && self.system.is_empty()) {
            match Arc::get_mut(slot) {
                Some(record) => self.rewrite(scratch, record),
                None => {
                    let mut fresh = StreamRecord::new(self.shape_for(slot.schema()));
                    self.build(scratch, slot, &mut fresh);
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

/// All expressions of it.
fn expressions(spec: &FilterProjectSpec) -> impl Iterator<Item = &Expr> {
    let computed = spec.project.iter().flatten().filter_map(|c| match c {
        ProjectColumn::Compute(expr) => Some(expr),
        ProjectColumn::Take(_) => None,
    });
    spec.predicate.iter().chain(computed).chain(spec.system.iter().map(|(_, e)| e))
}

/// Does the work of the operator where records are decoded.
#[derive(Debug)]
struct Ahead {
    rewrite: Arc<Rewrite>,
    scratch: Scratch,
}

impl Prepare for Arc<Rewrite> {
    fn preparer(&self) -> Box<dyn Preparer> {
        Box::new(Ahead { rewrite: self.clone(), scratch: self.scratch() })
    }
}

impl Preparer for Ahead {
    fn prepare(&mut self, batch: &mut Batch, books: &mut Books) {
        // No expression that looks at the time is worked on ahead.
        let kept = self.rewrite.work(&mut self.scratch, batch, 0, books);
        batch.truncate(kept);
    }
}

impl Rewrite {
    /// A batch that is ours, in place: what is kept moves to its front, the rest is noted in `books`. Gives how many are kept.
    pub(super) fn work(
        &self,
        scratch: &mut Scratch,
        batch: &mut Batch,
        now: i64,
        books: &mut Books,
    ) -> usize {
        let (mut at, mut kept) = (0, 0);
        while at < batch.len() {
            // A panic leaves `at` at the record that caused it; the loop goes on behind it.
            let sweep = catch_unwind(AssertUnwindSafe(|| {
                while let Some(slot) = batch.records_mut().get_mut(at) {
                    match self.step(scratch, slot, now) {
                        Ok(Fate::Keep) => {
                            batch.keep(at, kept);
                            kept += 1;
                        }
                        Ok(Fate::Drop) => books.filtered += 1,
                        Err(error) => books.rejects.push((slot.clone(), *error)),
                    }
                    at += 1;
                }
            }));
            if let Err(panic) = sweep {
                if let Some(record) = batch.records().get(at) {
                    books.rejects.push((record.clone(), panic_error(&*panic)));
                }
                at += 1;
            }
        }
        kept
    }
}
