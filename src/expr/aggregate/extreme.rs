//! MIN and MAX where values may leave again: all values, sorted and counted.

use std::any::Any;
use std::collections::BTreeMap;

use super::key::Key;
use super::{AggregateState, Combine};
use crate::expr::EvalResult;
use crate::record::FieldValue;

/// Values in order, each with how often it is there.
#[derive(Clone, Debug, Default)]
pub(super) struct Multiset {
    values: BTreeMap<Key, u64>,
    len: u64,
}

impl Multiset {
    pub(super) fn insert(&mut self, value: &FieldValue) {
        self.insert_many(value, 1);
    }
    pub(super) fn insert_many(&mut self, value: &FieldValue, n: u64) {
        *self.values.entry(Key(value.clone())).or_default() += n;
        self.len += n;
    }
    /// A value that is not there is left alone: the operator retracts only what it has added.
    pub(super) fn remove(&mut self, value: &FieldValue) {
        self.remove_many(value, 1);
    }
    fn remove_many(&mut self, value: &FieldValue, n: u64) {
        let key = Key(value.clone());
        if let Some(count) = self.values.get_mut(&key) {
            let n = n.min(*count);
            *count -= n;
            if *count == 0 {
                self.values.remove(&key);
            }
            self.len -= n;
        }
    }
    pub(super) fn len(&self) -> u64 {
        self.len
    }
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&FieldValue, u64)> {
        self.values.iter().map(|(k, n)| (&k.0, *n))
    }
    pub(super) fn absorb(&mut self, other: &Self) {
        for (value, n) in other.iter() {
            self.insert_many(value, n);
        }
    }
    /// The value at that place in the order, from 0.
    pub(super) fn nth(&self, at: u64) -> Option<&FieldValue> {
        let mut passed = 0;
        self.iter()
            .find(|(_, n)| {
                passed += n;
                passed > at
            })
            .map(|(v, _)| v)
    }
    /// Pairs of value and count.
    pub(super) fn to_values(&self) -> Vec<FieldValue> {
        self.iter().flat_map(|(v, n)| [v.clone(), FieldValue::Integer(n as i64)]).collect()
    }
    pub(super) fn restore(&mut self, values: &[FieldValue]) -> Result<(), String> {
        *self = Self::default();
        for pair in values.chunks(2) {
            match pair {
                [value, FieldValue::Integer(n @ 1..)] => self.insert_many(value, *n as u64),
                _ => return Err("a value without its count".into()),
            }
        }
        Ok(())
    }
    pub(super) fn heap_bytes(&self) -> usize {
        // Nodes of a B-tree are two thirds full.
        self.values.keys().map(|k| (size_of::<Key>() + 8) * 3 / 2 + k.0.heap_bytes()).sum()
    }
}

/// What is read out of a [`Multiset`].
pub(super) type Reading = fn(&Multiset, &[FieldValue]) -> EvalResult<FieldValue>;

/// All values in order, and a question about them; `constants` are the other arguments of the call.
#[derive(Clone)]
pub(super) struct Sorted {
    pub(super) values: Multiset,
    pub(super) constants: std::sync::Arc<[FieldValue]>,
    pub(super) reading: Reading,
}

impl std::fmt::Debug for Sorted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.values.fmt(f)
    }
}

impl Sorted {
    pub(super) fn new(reading: Reading, constants: Vec<FieldValue>) -> Self {
        Self { values: Multiset::default(), constants: constants.into(), reading }
    }
}

impl AggregateState for Sorted {
    fn keeps_values(&self) -> bool {
        true
    }
    fn update(&mut self, args: &[&FieldValue]) {
        if let [value, ..] = args {
            self.values.insert(value);
        }
    }
    fn retract(&mut self, args: &[&FieldValue]) {
        if let [value, ..] = args {
            self.values.remove(value);
        }
    }
    fn merge(&mut self, other: &dyn AggregateState) {
        if let Some(other) = other.as_any().downcast_ref::<Self>() {
            self.values.absorb(&other.values);
        }
    }
    fn combine(&self) -> Option<Combine> {
        Some(Combine::Running)
    }
    fn unmerge(&mut self, other: &dyn AggregateState) {
        if let Some(other) = other.as_any().downcast_ref::<Self>() {
            other.values.iter().for_each(|(value, n)| self.values.remove_many(value, n));
        }
    }
    fn finish(&self) -> EvalResult<FieldValue> {
        (self.reading)(&self.values, &self.constants)
    }
    fn to_values(&self) -> Vec<FieldValue> {
        self.values.to_values()
    }
    fn restore(&mut self, values: &[FieldValue]) -> Result<(), String> {
        self.values.restore(values)
    }
    fn boxed_clone(&self) -> Box<dyn AggregateState> {
        Box::new(self.clone())
    }
    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.values.heap_bytes()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The first value.
pub(super) fn least(values: &Multiset, _: &[FieldValue]) -> EvalResult<FieldValue> {
    Ok(values.iter().next().map_or(FieldValue::Null, |(v, _)| v.clone()))
}
/// The last value.
pub(super) fn greatest(values: &Multiset, _: &[FieldValue]) -> EvalResult<FieldValue> {
    Ok(values.iter().next_back().map_or(FieldValue::Null, |(v, _)| v.clone()))
}
