//! ORDER BY over bounded input: all rows at the end.

use std::sync::Arc;

use super::kept::{
    Rank, SortOrder, blank, emit_kept, for_each_record, read_version, take_record, write_version,
};
use super::{InputId, Operator, Output, StateContract, StateError, StateReader, StateWriter};
use crate::plan::SortSpec;
use crate::record::{Batch, Schema, StreamRecord};
use crate::state::{Places, read_places};

/// Running form of [`SortSpec`].
#[derive(Debug)]
pub struct SortOp {
    order: SortOrder,
    schema: Arc<Schema>,
    rows: Vec<(Rank, Arc<StreamRecord>)>,
    bytes: usize,
    blank: Arc<StreamRecord>,
    changes: Places,
}

fn write_row(rows: &[(Rank, Arc<StreamRecord>)], at: usize, to: &mut StateWriter) {
    if let Some((rank, row)) = rows.get(at) {
        rank.snapshot(to);
        to.record(row);
    }
}

impl SortOp {
    /// Compiles the expressions.
    pub fn new(spec: &SortSpec) -> Self {
        Self {
            order: SortOrder::new(&spec.order_by),
            schema: spec.schema.clone(),
            rows: Vec::new(),
            bytes: 0,
            blank: blank(),
            changes: Places::default(),
        }
    }

    fn keep(&mut self, rank: Rank, row: Arc<StreamRecord>) {
        self.bytes += row.footprint() + rank.footprint();
        self.rows.push((rank, row));
    }
}

impl Operator for SortOp {
    fn process(&mut self, _: InputId, mut batch: Batch, out: &mut Output<'_>) {
        let now = out.now;
        for_each_record(&mut batch, out, |slot, out| {
            let keys = self.order.keys(slot, now)?;
            let rank = Rank::new(self.order.directions(), keys, self.rows.len() as u64);
            self.keep(rank, take_record(slot, &self.blank));
            out.counters.absorbed += 1;
            Ok(())
        });
        out.pools.give(batch);
    }

    fn on_end(&mut self, _: InputId, out: &mut Output<'_>) {
        self.changes.forget(|at, to| write_row(&self.rows, at, to));
        let mut rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        emit_kept(rows.into_iter().map(|(_, row)| row), out);
    }

    fn state_bytes(&self) -> usize {
        self.bytes
    }

    fn snapshot(&mut self, to: &mut StateWriter) -> Result<(), StateError> {
        write_version(to);
        let rows = &self.rows;
        self.changes.snapshot_log(to, rows.len(), |at, to| write_row(rows, at, to));
        Ok(())
    }

    fn take_down(&mut self, budget: &mut usize) {
        self.changes.take_down(budget, |at, to| write_row(&self.rows, at, to));
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        read_version(from)?;
        let schema = self.schema.clone();
        read_places(from, |from| {
            let rank = Rank::restore(self.order.directions(), from)?;
            let row = Arc::new(from.record(&schema)?);
            self.keep(rank, row);
            Ok(())
        })
    }

    fn state_contract(&self) -> StateContract {
        StateContract::Kept { what: "all rows".into(), until: "until the end of the input" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{SortKey, typing};
    use crate::operator::crash_kit;
    use crate::operator::test_kit::{Bench, numbers};

    #[test]
    fn rows_come_at_the_end_in_order_ties_as_they_came_at_any_batch_size() {
        let values: Vec<i64> = (0..3000).map(|i| (i * 7919) % 101).collect();
        let schema = numbers(&[])
            .records()
            .first()
            .map_or_else(|| Schema::of([("n", crate::record::DataType::BigInt)]), |r| r.schema().clone());
        for (size, descending) in [(1, false), (7, true), (5000, false)] {
            let key = SortKey { expr: typing::column(&schema, 0).unwrap(), descending, nulls_first: false };
            let spec = SortSpec { order_by: vec![key], schema: schema.clone() };
            let (mut op, mut bench) = (SortOp::new(&spec), Bench::new());
            for (i, chunk) in values.chunks(size).enumerate() {
                let mut batch = numbers(chunk);
                for (k, r) in batch.records_mut().iter_mut().enumerate() {
                    Arc::get_mut(r).unwrap().set_offset(Some((i * size + k) as i64));
                }
                bench.process(&mut op, batch);
                if i == 3 {
                    let mut state = StateWriter::new();
                    op.snapshot(&mut state).unwrap();
                    op = SortOp::new(&spec);
                    op.restore(&mut StateReader::new(&state.into_bytes())).unwrap();
                }
            }
            assert!(bench.batches.is_empty() && op.state_bytes() > 0);
            bench.end(&mut op);
            let mut expected: Vec<(i64, i64)> = values.iter().copied().zip(0..).collect();
            expected.sort_by_key(|(n, at)| (if descending { -n } else { *n }, *at));
            let got: Vec<_> =
                bench.records().map(|r| (r.values()[0].as_i64().unwrap(), r.offset().unwrap())).collect();
            assert_eq!(got, expected);
            bench.check_ledger();
        }
    }

    #[test]
    fn rows_that_are_new_alone_are_in_a_snapshot_and_bring_it_back() {
        let schema = Schema::of([("n", crate::record::DataType::BigInt)]);
        let key =
            SortKey { expr: typing::column(&schema, 0).unwrap(), descending: false, nulls_first: false };
        let spec = SortSpec { order_by: vec![key], schema };
        let batch = |at: usize| {
            let values: Vec<i64> = (0..7).map(|i| (at as i64 * 7 + i) * 7919 % 101).collect();
            (numbers(&values), i64::MIN)
        };
        crash_kit::check(60, &|_| Box::new(SortOp::new(&spec)), 60, &batch);
    }
}
