//! DISTINCT for functions whose result depends on the set of values alone: each value once, with how often it is there.

use std::any::Any;

use hashbrown::HashTable;

use super::key::{hash_of, same};
use super::{Accumulator, AggregateState, Combine};
use crate::expr::EvalResult;
use crate::record::FieldValue;

/// Counted values, and the function's state over each of them once.
#[derive(Clone, Debug)]
pub(super) struct Distinct {
    values: HashTable<(FieldValue, i64)>,
    inner: Accumulator,
}

impl Distinct {
    /// `inner` is the empty state, which must retract if this is to.
    pub(super) fn new(inner: Accumulator) -> Self {
        Self { values: HashTable::new(), inner }
    }

    fn add(&mut self, value: &FieldValue, n: i64) {
        let hash = hash_of([value]);
        match self.values.find_mut(hash, |(v, _)| same(v, value)) {
            Some((_, count)) => *count += n,
            None => {
                self.values.insert_unique(hash, (value.clone(), n), |(v, _)| hash_of([v]));
                self.inner.update_one(value);
            }
        }
    }

    fn remove(&mut self, value: &FieldValue, n: i64) {
        let found = self.values.find_entry(hash_of([value]), |(v, _)| same(v, value));
        let Ok(mut entry) = found else { return };
        entry.get_mut().1 -= n;
        if entry.get().1 <= 0 {
            let ((kept, _), _) = entry.remove();
            // Of equal values the first one counts: `1.0` may have come before `1.00`.
            self.inner.retract(&[&kept]);
        }
    }
}

impl AggregateState for Distinct {
    fn keeps_values(&self) -> bool {
        true
    }
    fn update(&mut self, args: &[&FieldValue]) {
        if let [value, ..] = args
            && !value.is_null()
        {
            self.add(value, 1);
        }
    }
    fn retract(&mut self, args: &[&FieldValue]) {
        if let [value, ..] = args {
            self.remove(value, 1);
        }
    }
    fn merge(&mut self, other: &dyn AggregateState) {
        if let Some(other) = other.as_any().downcast_ref::<Self>() {
            for (value, n) in &other.values {
                self.add(value, *n);
            }
        }
    }
    fn combine(&self) -> Option<Combine> {
        self.inner.takes_back().then_some(Combine::Running)
    }
    fn unmerge(&mut self, other: &dyn AggregateState) {
        if let Some(other) = other.as_any().downcast_ref::<Self>() {
            other.values.iter().for_each(|(value, n)| self.remove(value, *n));
        }
    }
    fn finish(&self) -> EvalResult<FieldValue> {
        self.inner.finish()
    }
    fn to_values(&self) -> Vec<FieldValue> {
        // In an order that does not depend on the table's history.
        let mut all: Vec<&(FieldValue, i64)> = self.values.iter().collect();
        all.sort_by(|a, b| crate::expr::compare_nulls_last(&a.0, &b.0));
        all.into_iter().flat_map(|(v, n)| [v.clone(), FieldValue::Integer(*n)]).collect()
    }
    fn restore(&mut self, values: &[FieldValue]) -> Result<(), String> {
        for pair in values.chunks(2) {
            match pair {
                [value, FieldValue::Integer(n @ 1..)] => self.add(value, *n),
                _ => return Err("a distinct value without its count".into()),
            }
        }
        Ok(())
    }
    fn boxed_clone(&self) -> Box<dyn AggregateState> {
        Box::new(self.clone())
    }
    fn heap_bytes(&self) -> usize {
        let table = self.values.capacity() * (size_of::<(FieldValue, i64)>() + 1);
        size_of::<Self>() + table + self.values.iter().map(|(v, _)| v.heap_bytes()).sum::<usize>()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
