//! Groups become output rows: inserts when a result is final, changes against what was shown before.

use super::shape::{Groups, Shape};
use super::windows::Span;
use crate::expr::{Accumulator, EvalContext, EvalResult};
use crate::operator::{Fatal, Output};
use crate::record::{Batch, FieldValue, RecordError, RowKind};

/// Rows of one output batch.
const MAX_ROWS: usize = 1024;

/// Writes output rows into recycled records and hands full batches on.
pub(super) struct Emitter<'e, 'o> {
    shape: &'e Shape,
    pub(super) out: &'e mut Output<'o>,
    made: Batch,
    /// What the rows carry as their watermark.
    watermark: i64,
    results: Vec<FieldValue>,
}

/// A group's results that the outside may know: key, window, values.
pub(super) struct Shown<'g> {
    pub(super) key: &'g [FieldValue],
    pub(super) window: Option<Span>,
    pub(super) values: &'g [FieldValue],
}

impl<'e, 'o> Emitter<'e, 'o> {
    pub(super) fn new(shape: &'e Shape, out: &'e mut Output<'o>, watermark: i64) -> Self {
        let made = out.pools.take(out.home);
        Self { shape, out, made, watermark, results: Vec::with_capacity(shape.calls.len()) }
    }

    /// Hands on what is left.
    pub(super) fn finish(self) {
        let Self { out, made, .. } = self;
        hand_on(made, out);
    }

    /// Appends a row.
    pub(super) fn row(&mut self, kind: RowKind, row: &Shown<'_>) {
        // The two rows of an update stay together.
        let room = if kind == RowKind::UpdateBefore { 2 } else { 1 };
        if self.made.len() + room > MAX_ROWS {
            let next = self.out.pools.take(self.out.home);
            hand_on(std::mem::replace(&mut self.made, next), self.out);
        }
        let (record, _) = self.made.next_slot(&self.shape.schema);
        record.set_kind(kind);
        record.set_watermark(self.watermark);
        record.set_event_time(row.window.map(|w| w.end.saturating_sub(1)));
        let results = self.shape.put_key(row.key, row.window, record.values_mut());
        for (to, from) in results.iter_mut().zip(row.values) {
            to.assign(from);
        }
    }

    /// Finishes results into `self.results`; `false` if that failed, which ends the job.
    fn results_of(
        &mut self,
        key: &[FieldValue],
        results: impl FnOnce(&mut Vec<FieldValue>) -> EvalResult<()>,
    ) -> bool {
        match results(&mut self.results) {
            Ok(()) => true,
            Err(error) => {
                self.fail(key, &error);
                false
            }
        }
    }

    fn fail(&mut self, key: &[FieldValue], error: &RecordError) {
        let key: Vec<String> = key.iter().map(crate::expr::to_text).collect();
        let group = if key.is_empty() { String::new() } else { format!(" in group ({})", key.join(", ")) };
        let code = Some(error.code);
        self.out.fatal.get_or_insert_with(|| Fatal { why: format!("{error}{group}"), code });
    }

    /// Whether the row that was appended last passes HAVING; otherwise it is taken back.
    fn passes(&mut self, key: &[FieldValue]) -> bool {
        let Some(having) = &self.shape.having else { return true };
        let Some(record) = self.made.records().last() else { return false };
        let verdict = having.eval_bool(&EvalContext { record, now: self.out.now });
        let passes = match verdict {
            Ok(truth) => truth == Some(true),
            Err(error) => {
                self.fail(key, &error);
                false
            }
        };
        if !passes {
            self.made.truncate(self.made.len() - 1);
        }
        passes
    }

    /// Appends a final result, if it passes HAVING; tells whether it did. The results stay in [`results`](Self::results).
    pub(super) fn insert(&mut self, key: &[FieldValue], window: Option<Span>, cells: &[Accumulator]) -> bool {
        let shape = self.shape;
        self.insert_with(key, window, |to| shape.finish(cells, to))
    }

    /// The same for a group of a table.
    pub(super) fn insert_group(&mut self, groups: &Groups, slot: usize, window: Option<Span>) -> bool {
        let shape = self.shape;
        self.insert_with(groups.key(slot), window, |to| shape.finish_group(groups, slot, to))
    }

    /// The same with what gives the results.
    pub(super) fn insert_with(
        &mut self,
        key: &[FieldValue],
        window: Option<Span>,
        results: impl FnOnce(&mut Vec<FieldValue>) -> EvalResult<()>,
    ) -> bool {
        if !self.results_of(key, results) {
            return false;
        }
        let results = std::mem::take(&mut self.results);
        self.row(RowKind::Insert, &Shown { key, window, values: &results });
        self.results = results;
        self.passes(key)
    }

    /// Computes the results of a group, and tells whether they pass HAVING. `None`: they can't be computed, which ends the job.
    pub(super) fn judge(
        &mut self,
        key: &[FieldValue],
        window: Option<Span>,
        cells: &[Accumulator],
    ) -> Option<bool> {
        let shape = self.shape;
        if !self.results_of(key, |to| shape.finish(cells, to)) {
            return None;
        }
        if self.shape.having.is_none() {
            return Some(true);
        }
        let results = std::mem::take(&mut self.results);
        self.row(RowKind::Insert, &Shown { key, window, values: &results });
        self.results = results;
        let passes = self.passes(key);
        if passes {
            self.made.truncate(self.made.len() - 1);
        }
        Some(passes)
    }

    /// The results of the last [`insert`](Self::insert) or [`judge`](Self::judge).
    pub(super) fn results(&self) -> &[FieldValue] {
        &self.results
    }

    /// Whether [`results`](Self::results) look like those that were shown.
    pub(super) fn looks_like(&self, shown: &[FieldValue]) -> bool {
        self.shape.look_alike(&self.results, shown)
    }

    /// Appends what has changed in a group since it was last shown, and remembers it. `exists`: it has rows, or needs none.
    pub(super) fn change(&mut self, groups: &mut Groups, slot: usize, window: Option<Span>, exists: bool) {
        let was = groups.head(slot).shown;
        let mut now = false;
        if exists {
            let shape = self.shape;
            if !self.results_of(groups.key(slot), |to| shape.finish_group(groups, slot, to)) {
                return;
            }
            let alike = was && self.looks_like(groups.shown(slot));
            // HAVING may see what nobody else sees.
            if alike && (self.shape.having.is_none() || self.shape.unseen.is_empty()) {
                return;
            }
            now = match self.shape.having {
                None => true,
                Some(_) => {
                    let results = std::mem::take(&mut self.results);
                    let row = Shown { key: groups.key(slot), window, values: &results };
                    self.row(RowKind::Insert, &row);
                    self.results = results;
                    let passes = self.passes(groups.key(slot));
                    if passes {
                        self.made.truncate(self.made.len() - 1);
                    }
                    passes
                }
            };
            if alike && now {
                return;
            }
        }
        if was {
            let kind = if now { RowKind::UpdateBefore } else { RowKind::Delete };
            self.row(kind, &Shown { key: groups.key(slot), window, values: groups.shown(slot) });
        }
        if now {
            for (to, from) in groups.shown_mut(slot).iter_mut().zip(&mut self.results) {
                std::mem::swap(to, from);
            }
            let kind = if was { RowKind::UpdateAfter } else { RowKind::Insert };
            self.row(kind, &Shown { key: groups.key(slot), window, values: groups.shown(slot) });
        }
        if let Some(head) = groups.head_mut(slot) {
            head.shown = now;
        }
    }
}

fn hand_on(mut made: Batch, out: &mut Output<'_>) {
    out.counters.produced += made.len() as u64;
    let size = made.records().first().map_or(0, |r| r.footprint());
    made.set_bytes(size * made.len());
    out.emit(made);
}
