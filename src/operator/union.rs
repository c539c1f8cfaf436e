//! UNION ALL: passes every input on under one shape.

use std::sync::Arc;

use super::{InputId, Operator, Output, StateContract, StateError, StateReader, StateWriter};
use crate::record::{Batch, Schema, StreamRecord};

/// Running form of [`OperatorSpec::Union`](crate::plan::OperatorSpec::Union).
#[derive(Debug)]
pub struct UnionOp {
    schema: Arc<Schema>,
}

impl UnionOp {
    /// Passes records on as records of `schema`, which has as many columns as theirs.
    pub fn new(schema: Arc<Schema>) -> Self {
        Self { schema }
    }

    /// Whether a record has the right names already and need not be touched.
    fn fits(&self, record: &StreamRecord) -> bool {
        Arc::ptr_eq(record.schema(), &self.schema)
    }

    fn copy(&self, from: &StreamRecord, to: &mut StreamRecord) {
        to.copy_metadata(from);
        for (slot, value) in to.values_mut().iter_mut().zip(from.values()) {
            slot.assign(value);
        }
    }
}

impl Operator for UnionOp {
    fn process(&mut self, _: InputId, mut batch: Batch, out: &mut Output<'_>) {
        out.counters.input += batch.len() as u64;
        for slot in batch.records_mut() {
            if self.fits(slot) {
                continue;
            }
            if let Some(record) = Arc::get_mut(slot) {
                record.reshape(&self.schema);
            } else if **slot.schema() != *self.schema {
                let mut fresh = StreamRecord::new(self.schema.clone());
                self.copy(slot, &mut fresh);
                *slot = Arc::new(fresh);
            }
        }
        out.counters.forwarded += batch.len() as u64;
        out.emit(batch);
    }

    fn process_shared(&mut self, _: InputId, batch: &Batch, out: &mut Output<'_>) {
        out.counters.input += batch.len() as u64;
        out.counters.forwarded += batch.len() as u64;
        let mut made = out.pools.take(out.home);
        if batch.records().iter().all(|r| **r.schema() == *self.schema) {
            made.share(batch);
        } else {
            made.inherit(batch);
            for record in batch.records() {
                let (slot, _) = made.next_slot(&self.schema);
                self.copy(record, slot);
            }
            made.set_bytes(batch.bytes());
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::test_kit::{Bench, numbers};
    use crate::record::{DataType, deep_copies_on_this_thread};

    #[test]
    fn both_inputs_come_out_under_the_names_of_the_first_without_a_copy() {
        let mut op = UnionOp::new(Schema::of([("a", DataType::BigInt)]));
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
        let mut op = UnionOp::new(Schema::of([("a", DataType::BigInt)]));
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
}
