//! UNION ALL: passes every input on under one shape.

use std::sync::Arc;

use super::{InputId, Operator, Output, StateContract, StateError, StateReader, StateWriter};
use crate::record::{Batch, Schema, StreamRecord};

/// Running form of [`OperatorSpec::Union`](crate::plan::OperatorSpec::Union).
#[derive(Debug)]
pub struct UnionOp {
    schema: Arc<Schema>,
    inputs: Vec<Input>,
}

/// What is known about one input.
#[derive(Clone, Copy, Debug)]
struct Input {
    /// Its watermark, as long as it has not ended.
    watermark: i64,
    /// It has ended or is silent, and holds nothing up.
    left_out: bool,
}

impl UnionOp {
    /// Passes the records of so many inputs on as records of `schema`, which has as many columns as theirs.
    pub fn new(schema: Arc<Schema>, inputs: usize) -> Self {
        Self { schema, inputs: vec![Input { watermark: i64::MIN, left_out: false }; inputs] }
    }

    /// The least watermark of all inputs but one: no record of that one is stamped with more.
    fn ceiling(&self, input: InputId) -> i64 {
        let others = self.inputs.iter().enumerate().filter(|(i, s)| *i != input.0 && !s.left_out);
        others.map(|(_, s)| s.watermark).min().unwrap_or(i64::MAX)
    }

    /// Whether a record need not be touched.
    fn fits(&self, record: &StreamRecord, ceiling: i64) -> bool {
        Arc::ptr_eq(record.schema(), &self.schema) && record.watermark() <= ceiling
    }

    fn copy(&self, from: &StreamRecord, to: &mut StreamRecord, ceiling: i64) {
        to.copy_metadata(from);
        to.set_watermark(from.watermark().min(ceiling));
        for (slot, value) in to.values_mut().iter_mut().zip(from.values()) {
            slot.assign(value);
        }
    }
}

impl Operator for UnionOp {
    fn process(&mut self, input: InputId, mut batch: Batch, out: &mut Output<'_>) {
        out.counters.input += batch.len() as u64;
        let ceiling = self.ceiling(input);
        for slot in batch.records_mut() {
            if self.fits(slot, ceiling) {
                continue;
            }
            if let Some(record) = Arc::get_mut(slot) {
                record.reshape(&self.schema);
                record.set_watermark(record.watermark().min(ceiling));
            } else if **slot.schema() != *self.schema || slot.watermark() > ceiling {
                let mut fresh = StreamRecord::new(self.schema.clone());
                self.copy(slot, &mut fresh, ceiling);
                *slot = Arc::new(fresh);
            }
        }
        out.counters.forwarded += batch.len() as u64;
        out.emit(batch);
    }

    fn process_shared(&mut self, input: InputId, batch: &Batch, out: &mut Output<'_>) {
        out.counters.input += batch.len() as u64;
        out.counters.forwarded += batch.len() as u64;
        let mut made = out.pools.take(out.home);
        let ceiling = self.ceiling(input);
        // Shared records would come home twice, and be made anew.
        made.inherit(batch);
        for record in batch.records() {
            let (slot, _) = made.next_slot(&self.schema);
            self.copy(record, slot, ceiling);
        }
        made.set_bytes(batch.bytes());
        out.emit(made);
    }

    fn on_watermark(&mut self, input: InputId, micros: i64, _: &mut Output<'_>) {
        if let Some(known) = self.inputs.get_mut(input.0) {
            match micros {
                i64::MAX => known.left_out = true,
                micros => known.watermark = micros,
            }
        }
    }

    fn on_idle(&mut self, input: InputId, idle: bool) {
        if let Some(known) = self.inputs.get_mut(input.0) {
            known.left_out = idle;
        }
    }

    fn snapshot(&mut self, to: &mut StateWriter) -> Result<(), StateError> {
        for input in &self.inputs {
            to.u64(input.watermark as u64);
            to.u8(u8::from(input.left_out));
        }
        Ok(())
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        for input in &mut self.inputs {
            (input.watermark, input.left_out) = (from.u64()? as i64, from.u8()? != 0);
        }
        Ok(())
    }

    fn state_contract(&self) -> StateContract {
        // No rows: the watermark of each input, which comes again with the next records.
        StateContract::Stateless
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::test_kit::{Bench, numbers};
    use crate::record::{DataType, deep_copies_on_this_thread};

    #[test]
    fn both_inputs_come_out_under_the_names_of_the_first_without_a_copy() {
        let mut op = UnionOp::new(Schema::of([("a", DataType::BigInt)]), 2);
        let mut bench = Bench::new();
        let before = deep_copies_on_this_thread();
        bench.process(&mut op, numbers(&[1, 2]));
        bench.process_at(&mut op, InputId(1), numbers(&[3]));
        assert_eq!(bench.integers(0), [1, 2, 3]);
        assert!(bench.records().all(|r| r.schema().names().eq(["a"])));
        assert_eq!(deep_copies_on_this_thread(), before);
        bench.check_ledger();
    }

    #[test]
    fn a_shared_batch_keeps_its_names() {
        let mut op = UnionOp::new(Schema::of([("a", DataType::BigInt)]), 2);
        let mut bench = Bench::new();
        let batch = numbers(&[1, 2]);
        bench.process_shared(&mut op, &batch);
        let held = batch.records()[0].clone();
        bench.process(&mut op, batch);
        assert_eq!(bench.integers(0), [1, 2, 1, 2]);
        assert!(held.schema().names().eq(["n"]));
        assert!(bench.records().all(|r| r.schema().names().eq(["a"])));
        bench.check_ledger();
    }

    #[test]
    fn no_record_is_stamped_beyond_the_watermarks_of_the_other_inputs() {
        let stamped = |watermark: i64| {
            let mut batch = numbers(&[1]);
            Arc::get_mut(&mut batch.records_mut()[0]).unwrap().set_watermark(watermark);
            batch
        };
        let mut op = UnionOp::new(numbers(&[1]).records()[0].schema().clone(), 3);
        let mut bench = Bench::new();
        let mut give = |op: &mut UnionOp, input: usize, watermark| {
            let (own, shared) = (stamped(watermark), stamped(watermark));
            bench.batches.clear();
            bench.process_at(op, InputId(input), own);
            let held = shared.records()[0].clone();
            bench.process_at(op, InputId(input), shared);
            assert_eq!(held.watermark(), watermark);
            let stamps: Vec<i64> = bench.records().map(|r| r.watermark()).collect();
            assert_eq!(stamps[0], stamps[1]);
            stamps[0]
        };
        let rise = |op: &mut UnionOp, input, to| Bench::new().watermark(op, InputId(input), to);
        assert_eq!(give(&mut op, 0, 50), i64::MIN, "nothing is known of the others");
        rise(&mut op, 1, 40);
        rise(&mut op, 2, 30);
        assert_eq!(give(&mut op, 0, 50), 30);
        assert_eq!(give(&mut op, 0, 20), 20);
        op.on_idle(InputId(2), true);
        assert_eq!(give(&mut op, 0, 50), 40);
        rise(&mut op, 1, i64::MAX);
        assert_eq!(give(&mut op, 0, 50), 50);
        op.on_idle(InputId(2), false);
        assert_eq!(give(&mut op, 0, 50), 30);
    }
}
