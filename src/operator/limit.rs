//! LIMIT and OFFSET: skips rows, passes rows, then needs no more.

use super::{InputId, Operator, Output, StateContract, StateError, StateReader, StateWriter};
use crate::plan::LimitSpec;
use crate::record::Batch;

/// Running form of [`LimitSpec`].
#[derive(Debug)]
pub struct LimitOp {
    /// Rows still to be skipped.
    skip: u64,
    /// Rows that may still pass; `None` = all.
    left: Option<u64>,
}

impl LimitOp {
    /// At the start: nothing skipped, nothing passed.
    pub fn new(spec: &LimitSpec) -> Self {
        Self { skip: spec.offset, left: spec.count }
    }
}

impl Operator for LimitOp {
    fn process(&mut self, _: InputId, mut batch: Batch, out: &mut Output<'_>) {
        let given = batch.len() as u64;
        out.counters.input += given;
        let skipped = self.skip.min(given);
        self.skip -= skipped;
        if skipped > 0 {
            batch.retain(|i, _| i as u64 >= skipped);
        }
        if let Some(left) = &mut self.left {
            // What does not fit into memory can't be the length of a batch.
            batch.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= batch.len() as u64;
            out.done = *left == 0;
        }
        let passed = batch.len() as u64;
        out.counters.forwarded += passed;
        out.counters.absorbed += given - passed;
        out.emit(batch);
    }

    fn snapshot(&mut self, to: &mut StateWriter) -> Result<(), StateError> {
        to.u64(self.skip);
        to.u64(u64::from(self.left.is_some()));
        to.u64(self.left.unwrap_or(0));
        Ok(())
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.skip = from.u64()?;
        let bounded = from.u64()? != 0;
        let left = from.u64()?;
        self.left = bounded.then_some(left);
        Ok(())
    }

    fn state_contract(&self) -> StateContract {
        StateContract::Constant { what: "rows still to skip and to pass", bytes: 24 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::test_kit::{Bench, numbers};

    #[test]
    fn rows_are_counted_across_batches_whatever_their_sizes() {
        for (count, offset) in
            [(Some(5), 0), (Some(3), 4), (None, 6), (Some(100), 0), (Some(0), 2), (Some(1), 100)]
        {
            for size in [1, 3, 20] {
                let mut op = LimitOp::new(&LimitSpec { count, offset });
                let mut bench = Bench::new();
                let rows: Vec<i64> = (0..10).collect();
                for chunk in rows.chunks(size) {
                    bench.process(&mut op, numbers(chunk));
                }
                let end = count.map_or(10, |c| (offset + c).min(10)) as i64;
                let expected: Vec<i64> = (offset as i64..end).collect();
                assert_eq!(bench.integers(0), expected, "LIMIT {count:?} OFFSET {offset}, batches of {size}");
                assert_eq!(bench.done, count.is_some_and(|c| offset + c <= 10 || c == 0));
                bench.check_ledger();
            }
        }
    }

    #[test]
    fn a_restored_limit_goes_on_where_it_stood() {
        let spec = LimitSpec { count: Some(4), offset: 2 };
        let mut first = LimitOp::new(&spec);
        let mut bench = Bench::new();
        bench.process(&mut first, numbers(&[0, 1, 2, 3]));
        let mut state = StateWriter::new();
        first.snapshot(&mut state).unwrap();
        let bytes = state.into_bytes();
        let mut second = LimitOp::new(&spec);
        second.restore(&mut StateReader::new(&bytes)).unwrap();
        bench.process(&mut second, numbers(&[4, 5, 6, 7]));
        assert_eq!(bench.integers(0), [2, 3, 4, 5]);
        assert!(bench.done && second.state_contract().is_stateful());
    }
}
