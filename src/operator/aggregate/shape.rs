//! What of an aggregation does not change while it runs: keys, calls, HAVING, the shape of its output.

use std::sync::Arc;

use super::windows::Span;
use crate::expr::{
    Accumulator, AggregateInput, AggregateProgram, Combine, EvalContext, EvalResult, Expr, Packing, Program,
};
use crate::plan::{AggregateSpec, Emit, Slices, Ttl, WindowKind};
use crate::record::{
    ErrorCode, FieldValue, RecordError, RowKind, Schema, StreamRecord, group_hash, same_group,
};
use crate::state::{GroupTable, WORDS, Widths};

/// Groups with the accumulators of their calls.
pub(super) type Groups = GroupTable<Accumulator>;

/// Where a key comes from.
#[derive(Debug)]
enum KeySource {
    Column(usize),
    Computed { at: usize, program: Program },
}

/// One grouping set.
#[derive(Debug)]
struct GroupingSet {
    /// For each key whether it counts.
    counts: Vec<bool>,
    /// Its number: the last value of the stored key, as a NULL key is another group than a key left out.
    number: FieldValue,
}

/// The compiled plan.
#[derive(Debug)]
pub(super) struct Shape {
    keys: Vec<KeySource>,
    computed: usize,
    sets: Vec<GroupingSet>,
    time: Option<Program>,
    /// The start of windows that records bring.
    start: Option<Program>,
    pub(super) calls: Vec<AggregateProgram>,
    /// Where a group has their states. What is merged lies in cells.
    packing: Packing,
    /// Of each call, where windows share slices.
    pub(super) combine: Vec<Combine>,
    /// Whether calls want the numbers of records.
    pub(super) numbered: bool,
    pub(super) having: Option<Program>,
    /// Calls whose change alone is not told.
    pub(super) unseen: Vec<usize>,
    pub(super) emit: Emit,
    pub(super) retracts: bool,
    /// How long groups live untouched: their last cell keeps when that was.
    pub(super) ttl: Option<Ttl>,
    pub(super) schema: Arc<Schema>,
    /// Calls whose state may grow beyond its cell, and bytes by which a row may make them grow, but for what its values hold.
    pub(super) growing: (usize, usize),
    /// Whether shown values are kept.
    shows: bool,
    /// A record brings nothing but columns.
    pub(super) plain: bool,
}

/// What evaluation finds for one record; reused for all.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    keys: Vec<FieldValue>,
    inputs: Vec<AggregateInput>,
    /// The start of the window that the record brings; without one, its end.
    pub(super) start: i64,
}

impl Scratch {
    /// Tells calls that want it the number of the record in the input.
    pub(super) fn set_number(&mut self, number: u64) {
        self.inputs.iter_mut().for_each(|i| i.set_number(number as i64));
    }
}

/// One record at its turn.
#[derive(Clone, Copy)]
pub(super) struct Row<'r> {
    pub(super) record: &'r StreamRecord,
    pub(super) scratch: &'r Scratch,
    /// Its grouping set.
    pub(super) set: usize,
    /// The slot where its group may be; [`NO_SLOT`](crate::state::NO_SLOT): not known.
    pub(super) hint: u32,
    /// Hash of its key in that set.
    pub(super) hash: u64,
    /// Position in the operator's input.
    pub(super) seq: u64,
    /// Its time; 0 without a window.
    pub(super) time: i64,
    /// The watermark that counts for it.
    pub(super) watermark: i64,
    /// It adds to the group; else it takes back.
    pub(super) adds: bool,
}

impl Shape {
    pub(super) fn new(spec: &AggregateSpec, shows: bool) -> Self {
        let mut computed = 0;
        let key = |expr: &Expr| {
            let program = Program::compile(expr);
            if let Some(index) = program.as_column() {
                return KeySource::Column(index);
            }
            computed += 1;
            KeySource::Computed { at: computed - 1, program }
        };
        let keys: Vec<KeySource> = spec.keys.iter().map(key).collect();
        let set = |(number, set): (usize, &Vec<usize>)| GroupingSet {
            counts: (0..keys.len()).map(|k| set.contains(&k)).collect(),
            number: FieldValue::Integer(number as i64),
        };
        // States of slices, and of sessions that become one, are merged: they must not depend on the order of that.
        let sliced = spec.slices() == Slices::Shared;
        let merges = spec.window.as_ref().is_some_and(|w| matches!(w.kind, WindowKind::Session { .. }));
        let mut combine = Vec::new();
        let call = |call| match AggregateProgram::compile_for_slices(call) {
            Some((program, how)) if sliced || merges => {
                combine.extend(sliced.then_some(how));
                program
            }
            _ => AggregateProgram::compile(call, spec.retracts),
        };
        let calls: Vec<AggregateProgram> = spec.calls.iter().map(call).collect();
        let growing = calls.iter().map(AggregateProgram::new_state).filter(Accumulator::may_grow);
        // A row may make a group, and a value kept takes its place twice while a table grows.
        let growing = growing.fold((0, 0), |(n, bytes), state| (n + 1, bytes + state.heap_bytes() + 192));
        let packing = match sliced || merges {
            true => Packing::none(&calls),
            false => Packing::new(&spec.calls, &calls, WORDS),
        };
        let plain = computed == 0
            && spec.grouping_sets.is_empty()
            && spec.window.is_none()
            && spec.expiry().is_none()
            && packing.evaluated().iter().all(|at| calls.get(*at).is_some_and(AggregateProgram::is_plain));
        Self {
            growing,
            plain,
            packing,
            sets: spec.grouping_sets.iter().enumerate().map(set).collect(),
            keys,
            computed,
            time: spec.window.as_ref().map(|w| Program::compile(&w.time)),
            start: spec.window.as_ref().and_then(|w| w.start.as_ref()).map(Program::compile),
            calls,
            combine,
            numbered: sliced || merges,
            having: spec.having.as_ref().map(Program::compile),
            unseen: spec.unseen.clone(),
            emit: spec.emit,
            retracts: spec.retracts,
            ttl: spec.expiry(),
            schema: spec.schema.clone(),
            shows,
        }
    }

    pub(super) fn scratch(&self) -> Scratch {
        Scratch {
            keys: vec![FieldValue::Null; self.computed],
            inputs: self.calls.iter().map(|_| AggregateInput::default()).collect(),
            start: 0,
        }
    }

    pub(super) fn widths(&self) -> Widths {
        let shown = if self.shows { self.calls.len() } else { 0 };
        let (words, more, cells) = self.packing.widths();
        Widths { key: self.key_width(), words, more, cells: cells + usize::from(self.ttl.is_some()), shown }
    }

    fn key_width(&self) -> usize {
        self.keys.len() + usize::from(!self.sets.is_empty())
    }

    pub(super) fn groups(&self) -> Groups {
        Groups::new(self.widths())
    }

    /// How many groups a record touches.
    #[inline]
    pub(super) fn sets(&self) -> usize {
        self.sets.len().max(1)
    }

    /// Sets without keys: their groups exist without rows too.
    pub(super) fn global_sets(&self) -> impl Iterator<Item = usize> + '_ {
        let plain = (self.sets.is_empty() && self.keys.is_empty()).then_some(0);
        let sets = self.sets.iter().enumerate().filter(|(_, s)| !s.counts.contains(&true));
        plain.into_iter().chain(sets.map(|(i, _)| i))
    }

    /// Whether that is the stored key of a set without keys.
    pub(super) fn is_global(&self, key: &[FieldValue]) -> bool {
        match key.last() {
            None => true,
            Some(number) => {
                self.global_sets().any(|set| self.sets.get(set).is_some_and(|s| s.number == *number))
            }
        }
    }

    /// The stored key of the group that a set without keys has.
    pub(super) fn global_key(&self, set: usize) -> Vec<FieldValue> {
        let nulls = vec![FieldValue::Null; self.keys.len()];
        nulls.into_iter().chain(self.sets.get(set).map(|s| s.number.clone())).collect()
    }

    /// Evaluates everything that one record needs, before any state changes; gives its time.
    ///
    /// # Errors
    /// The record's error.
    #[inline]
    pub(super) fn evaluate(&self, record: &StreamRecord, now: i64, scratch: &mut Scratch) -> EvalResult<i64> {
        let ctx = EvalContext { record, now };
        self.evaluate_keys(&ctx, scratch)?;
        self.evaluate_rest(&ctx, scratch)
    }

    /// The keys.
    #[inline]
    pub(super) fn evaluate_keys(&self, ctx: &EvalContext<'_>, scratch: &mut Scratch) -> EvalResult<()> {
        if self.computed > 0 {
            for key in &self.keys {
                if let KeySource::Computed { at, program } = key {
                    let value = program.eval(ctx)?;
                    if let Some(slot) = scratch.keys.get_mut(*at) {
                        slot.assign(&value);
                    }
                }
            }
        }
        Ok(())
    }

    /// Time and arguments.
    #[inline]
    pub(super) fn evaluate_rest(&self, ctx: &EvalContext<'_>, scratch: &mut Scratch) -> EvalResult<i64> {
        let time = match &self.time {
            None => 0,
            Some(program) => match &*program.eval(ctx)? {
                FieldValue::Timestamp(t) => *t,
                _ => return Err(no_time()),
            },
        };
        scratch.start = match &self.start {
            None => time,
            Some(program) => match &*program.eval(ctx)? {
                FieldValue::Timestamp(t) => *t,
                _ => return Err(no_time()),
            },
        };
        for at in self.packing.evaluated() {
            if let (Some(call), Some(input)) = (self.calls.get(*at), scratch.inputs.get_mut(*at)) {
                call.evaluate(ctx, input)?;
            }
        }
        Ok(time)
    }

    #[inline]
    fn key_value<'a>(
        &'a self,
        at: usize,
        record: &'a StreamRecord,
        scratch: &'a Scratch,
        set: usize,
    ) -> &'a FieldValue {
        const NULL: &FieldValue = &FieldValue::Null;
        if let Some(set) = self.sets.get(set) {
            match set.counts.get(at) {
                None => return &set.number,
                Some(false) => return NULL,
                Some(true) => {}
            }
        }
        match self.keys.get(at) {
            Some(KeySource::Column(index)) => record.values().get(*index).unwrap_or(NULL),
            Some(KeySource::Computed { at, .. }) => scratch.keys.get(*at).unwrap_or(NULL),
            None => NULL,
        }
    }

    /// Hash of an evaluated record's key.
    #[inline]
    pub(super) fn hash(&self, record: &StreamRecord, scratch: &Scratch, set: usize) -> u64 {
        group_hash((0..self.key_width()).map(|at| self.key_value(at, record, scratch, set)))
    }

    /// The slot of a row's group, which is made if there is none.
    #[inline]
    pub(super) fn slot(&self, groups: &mut Groups, row: &Row<'_>) -> usize {
        self.find(groups, row).unwrap_or_else(|| self.add(groups, row))
    }

    /// The slot of a row's group.
    #[inline]
    pub(super) fn find(&self, groups: &Groups, row: &Row<'_>) -> Option<usize> {
        let value = |at| self.key_value(at, row.record, row.scratch, row.set);
        let same = |stored: &[FieldValue]| stored.iter().enumerate().all(|(at, s)| same_group(s, value(at)));
        groups.find_at(row.hint, row.hash, same)
    }

    /// Makes a row's group, of which there is none.
    #[inline]
    pub(super) fn add(&self, groups: &mut Groups, row: &Row<'_>) -> usize {
        let value = |at| self.key_value(at, row.record, row.scratch, row.set).clone();
        groups.insert(row.hash, row.seq, (0..self.key_width()).map(value), self.new_cells())
    }

    /// The first value of a row's key, if a key has any.
    pub(super) fn first_key<'r>(&'r self, row: &Row<'r>) -> Option<&'r FieldValue> {
        (self.key_width() > 0).then(|| self.key_value(0, row.record, row.scratch, row.set))
    }

    /// Adds a row to accumulators of all calls, or takes it back.
    #[inline]
    pub(super) fn feed(&self, cells: &mut [Accumulator], row: &Row<'_>) {
        let calls = self.calls.iter().zip(&row.scratch.inputs).zip(cells);
        if row.adds {
            for ((call, input), cell) in calls {
                call.update(cell, row.record, input);
            }
        } else {
            for ((call, input), cell) in calls {
                call.retract(cell, row.record, input);
            }
        }
    }

    /// Adds a row to the accumulator of one call.
    #[inline]
    pub(super) fn feed_one(&self, at: usize, cells: &mut [Accumulator], row: &Row<'_>) {
        if let (Some(call), Some(input), Some(cell)) =
            (self.calls.get(at), row.scratch.inputs.get(at), cells.get_mut(at))
        {
            call.update(cell, row.record, input);
        }
    }

    /// The calls that are combined so, with their places.
    pub(super) fn combines(&self, how: Combine) -> impl Iterator<Item = (usize, &AggregateProgram)> {
        let calls = self.calls.iter().enumerate().zip(&self.combine);
        calls.filter(move |(_, combine)| **combine == how).map(|(call, _)| call)
    }

    /// Takes back from the accumulator of one call what `from` has of it.
    pub(super) fn unmerge(&self, at: usize, cells: &mut [Accumulator], from: &[Accumulator]) {
        if let (Some(call), Some(cell), Some(from)) = (self.calls.get(at), cells.get_mut(at), from.get(at)) {
            call.unmerge(cell, from);
        }
    }

    /// Adds a row to a group; gives the group's rows.
    #[inline]
    pub(super) fn feed_group(&self, groups: &mut Groups, slot: usize, row: &Row<'_>) -> i64 {
        let Some(group) = groups.group_mut(slot) else { return 0 };
        self.packing.feed(group.words, group.more, row.record, &row.scratch.inputs, row.adds);
        for (at, cell) in self.packing.cells().iter().zip(group.cells) {
            let (Some(call), Some(input)) = (self.calls.get(*at), row.scratch.inputs.get(*at)) else {
                continue;
            };
            match row.adds {
                true => call.update(cell, row.record, input),
                false => call.retract(cell, row.record, input),
            }
        }
        group.head.rows += if row.adds { 1 } else { -1 };
        group.head.rows
    }

    pub(super) fn new_cells(&self) -> impl Iterator<Item = Accumulator> + '_ {
        let clock = self.ttl.map(|_| Accumulator::clock());
        let calls = self.packing.cells().iter().filter_map(|at| self.calls.get(*at));
        calls.map(AggregateProgram::new_state).chain(clock)
    }

    /// Which call a cell belongs to.
    pub(super) fn call_of_cell(&self, cell: usize) -> Option<&AggregateProgram> {
        self.calls.get(*self.packing.cells().get(cell)?)
    }

    /// Whether that is the cell in which a group keeps when it was touched.
    pub(super) fn is_clock(&self, cell: usize) -> bool {
        self.ttl.is_some() && cell == self.packing.cells().len()
    }

    /// Results of the calls.
    ///
    /// # Errors
    /// What is only known at output, e.g. a SUM beyond BIGINT.
    pub(super) fn finish(&self, cells: &[Accumulator], to: &mut Vec<FieldValue>) -> EvalResult<()> {
        to.clear();
        for (call, cell) in self.calls.iter().zip(cells) {
            to.push(call.finish(cell)?);
        }
        Ok(())
    }

    /// Results of the calls for a group.
    ///
    /// # Errors
    /// What is only known at output.
    pub(super) fn finish_group(
        &self,
        groups: &Groups,
        slot: usize,
        to: &mut Vec<FieldValue>,
    ) -> EvalResult<()> {
        to.clear();
        let (rows, (words, more), cells) = (groups.head(slot).rows, groups.words(slot), groups.cells(slot));
        for (at, call) in self.calls.iter().enumerate() {
            to.push(match self.packing.cell_of(at) {
                Some(cell) => cells.get(cell).map_or(Ok(FieldValue::Null), |cell| call.finish(cell))?,
                None => call.finish(&self.packing.state(at, call, rows, (words, more)))?,
            });
        }
        Ok(())
    }

    /// Whether results look the same to whoever is told of them.
    pub(super) fn look_alike(&self, a: &[FieldValue], b: &[FieldValue]) -> bool {
        let same = |(at, (a, b)): (usize, (&FieldValue, &FieldValue))| match (a, b) {
            _ if self.unseen.contains(&at) => true,
            (FieldValue::Float(x), FieldValue::Float(y)) => x.to_bits() == y.to_bits(),
            _ => a == b,
        };
        a.len() == b.len() && a.iter().zip(b).enumerate().all(same)
    }

    /// Writes key and window of a group into an output row; gives the places of the results.
    pub(super) fn put_key<'v>(
        &self,
        key: &[FieldValue],
        window: Option<Span>,
        values: &'v mut [FieldValue],
    ) -> &'v mut [FieldValue] {
        let (keys, rest) = values.split_at_mut(self.keys.len().min(values.len()));
        for (to, from) in keys.iter_mut().zip(key) {
            to.assign(from);
        }
        match (window, rest) {
            (Some(span), [start, end, rest @ ..]) => {
                *start = FieldValue::Timestamp(span.start);
                *end = FieldValue::Timestamp(span.end);
                rest
            }
            (_, rest) => rest,
        }
    }
}

/// Whether a row adds to its group; else it takes back.
#[inline]
pub(super) fn adds(record: &StreamRecord) -> bool {
    matches!(record.kind(), RowKind::Insert | RowKind::UpdateAfter)
}

#[cold]
fn no_time() -> Box<RecordError> {
    Box::new(RecordError::new(ErrorCode::NotNull, "the time of the record is NULL: it belongs to no window"))
}
