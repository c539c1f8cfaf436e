//! Functions that give back what they were given: lists, joined text, JSON; and the value beside an extreme.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;

use super::AggregateState;
use super::accumulator::beats;
use super::key::identical;
use crate::expr::value::{failed, json};
use crate::expr::{EvalResult, compare, write_text};
use crate::record::{CompactString, ErrorCode, FieldValue};

/// What becomes of the rows, each `width` values.
pub(super) type Gathering = fn(&[&[&FieldValue]]) -> EvalResult<FieldValue>;

/// The arguments of all rows, in order.
#[derive(Clone, Debug)]
pub(super) struct Collected {
    values: VecDeque<FieldValue>,
    width: usize,
    gathering: Gathering,
}

impl Collected {
    pub(super) fn new(width: usize, gathering: Gathering) -> Self {
        Self { values: VecDeque::new(), width: width.max(1), gathering }
    }
}

impl AggregateState for Collected {
    fn keeps_values(&self) -> bool {
        true
    }
    fn update(&mut self, args: &[&FieldValue]) {
        self.values.extend(args.iter().take(self.width).map(|v| (*v).clone()));
    }
    fn retract(&mut self, args: &[&FieldValue]) {
        let width = self.width;
        let is_row = |at: &usize| {
            let row = self.values.iter().skip(*at).take(width);
            row.zip(args).all(|(a, b)| identical(a, b))
        };
        // What leaves a frame is its oldest row.
        if let Some(at) = (0..self.values.len()).step_by(width).find(is_row) {
            self.values.drain(at..at + width);
        }
    }
    fn merge(&mut self, other: &dyn AggregateState) {
        if let Some(other) = other.as_any().downcast_ref::<Self>() {
            self.values.extend(other.values.iter().cloned());
        }
    }
    fn finish(&self) -> EvalResult<FieldValue> {
        let values: Vec<&FieldValue> = self.values.iter().collect();
        let rows: Vec<&[&FieldValue]> = values.chunks(self.width).collect();
        if rows.is_empty() { Ok(FieldValue::Null) } else { (self.gathering)(&rows) }
    }
    fn to_values(&self) -> Vec<FieldValue> {
        self.values.iter().cloned().collect()
    }
    fn restore(&mut self, values: &[FieldValue]) -> Result<(), String> {
        if !values.len().is_multiple_of(self.width) {
            return Err(format!("{} values are no rows of {}", values.len(), self.width));
        }
        self.values = values.iter().cloned().collect();
        Ok(())
    }
    fn boxed_clone(&self) -> Box<dyn AggregateState> {
        Box::new(self.clone())
    }
    fn heap_bytes(&self) -> usize {
        let values: usize = self.values.iter().map(FieldValue::heap_bytes).sum();
        size_of::<Self>() + self.values.capacity() * size_of::<FieldValue>() + values
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn first<'v>(row: &[&'v FieldValue]) -> &'v FieldValue {
    row.first().copied().unwrap_or(&FieldValue::Null)
}

/// ARRAY of the values.
pub(super) fn to_array(rows: &[&[&FieldValue]]) -> EvalResult<FieldValue> {
    Ok(FieldValue::Array(Arc::new(rows.iter().map(|r| first(r).clone()).collect())))
}

/// The texts, each but the first with its own delimiter in front.
pub(super) fn to_text(rows: &[&[&FieldValue]]) -> EvalResult<FieldValue> {
    let mut out = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        if let (true, Some(delimiter)) = (i > 0, row.get(1)) {
            write_text(delimiter, &mut out);
        }
        write_text(first(row), &mut out);
    }
    // Everything that is written is UTF-8.
    Ok(FieldValue::String(CompactString::from_utf8(out).unwrap_or_default()))
}

/// The bytes, likewise.
pub(super) fn to_bytes(rows: &[&[&FieldValue]]) -> EvalResult<FieldValue> {
    let mut out: Vec<u8> = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        if let (true, Some(FieldValue::Bytes(delimiter))) = (i > 0, row.get(1)) {
            out.extend_from_slice(delimiter);
        }
        if let FieldValue::Bytes(bytes) = first(row) {
            out.extend_from_slice(bytes);
        }
    }
    Ok(FieldValue::Bytes(out.into()))
}

fn json_value(out: Vec<u8>) -> FieldValue {
    FieldValue::Json(String::from_utf8(out).unwrap_or_default().into())
}

/// A JSON array of the values.
pub(super) fn to_json(rows: &[&[&FieldValue]]) -> EvalResult<FieldValue> {
    let mut out = vec![b'['];
    for (i, row) in rows.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        json::write(first(row), &mut out);
    }
    out.push(b']');
    Ok(json_value(out))
}

/// A JSON object of keys and values.
pub(super) fn to_json_object(rows: &[&[&FieldValue]]) -> EvalResult<FieldValue> {
    let mut out = vec![b'{'];
    for (i, row) in rows.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        let key = first(row);
        if key.is_null() {
            return Err(failed(ErrorCode::InvalidArgument, "the name of a JSON member is NULL"));
        }
        json::write_string(&crate::expr::to_text(key), &mut out);
        out.push(b':');
        json::write(row.get(1).copied().unwrap_or(&FieldValue::Null), &mut out);
    }
    out.push(b'}');
    Ok(json_value(out))
}

/// The value of the row with the least or greatest key; the first of equal ones. Rows without key don't count.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    key: FieldValue,
    value: FieldValue,
    max: bool,
}

impl Beside {
    pub(super) fn new(max: bool) -> Self {
        Self { key: FieldValue::Null, value: FieldValue::Null, max }
    }
}

impl AggregateState for Beside {
    fn update(&mut self, args: &[&FieldValue]) {
        let [value, key, ..] = args else { return };
        if key.is_null() {
            return;
        }
        if self.key.is_null() || compare(key, &self.key).is_some_and(|o| beats(o, self.max)) {
            self.key.assign(key);
            self.value.assign(value);
        }
    }
    fn takes_back(&self) -> bool {
        false
    }
    fn retract(&mut self, _: &[&FieldValue]) {}
    fn merge(&mut self, other: &dyn AggregateState) {
        if let Some(other) = other.as_any().downcast_ref::<Self>() {
            self.update(&[&other.value, &other.key]);
        }
    }
    fn finish(&self) -> EvalResult<FieldValue> {
        Ok(self.value.clone())
    }
    fn to_values(&self) -> Vec<FieldValue> {
        vec![self.value.clone(), self.key.clone()]
    }
    fn restore(&mut self, values: &[FieldValue]) -> Result<(), String> {
        let [value, key] = values else { return Err("not a value and its key".into()) };
        (self.value, self.key) = (value.clone(), key.clone());
        Ok(())
    }
    fn boxed_clone(&self) -> Box<dyn AggregateState> {
        Box::new(self.clone())
    }
    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.key.heap_bytes() + self.value.heap_bytes()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
