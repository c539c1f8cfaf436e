//! Rows kept: for DISTINCT, ORDER BY in a call, and functions that can't forget a value. The result is worked out from them.

use std::any::Any;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use super::key::{identical, same};
use super::{Accumulator, AggregateState, Combine};
use crate::expr::EvalResult;
use crate::record::FieldValue;

/// How the rows are arranged before they are handed to the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Direction {
    pub(super) descending: bool,
    pub(super) nulls_first: bool,
}

/// What is done with the rows.
#[derive(Debug)]
pub(super) struct Plan {
    /// How many of a row's values are arguments; ORDER BY keys follow.
    pub(super) args: usize,
    /// One for each ORDER BY key.
    pub(super) order: Vec<Direction>,
    /// Equal arguments count once; without ORDER BY they are sorted, as in PostgreSQL.
    pub(super) distinct: bool,
    /// Each row ends with its number in the input, so that rows of slices come into the order of all rows again.
    pub(super) numbered: bool,
    /// The function's own empty state.
    pub(super) empty: Accumulator,
}

impl Plan {
    fn args_of<'r>(&self, row: &'r Row) -> &'r [FieldValue] {
        row.get(..self.args).unwrap_or_default()
    }
    fn keys_of<'r>(&self, row: &'r Row) -> &'r [FieldValue] {
        row.get(self.args..).unwrap_or_default()
    }
}

type Row = Box<[FieldValue]>;

/// Rows in order of arrival.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    plan: Arc<Plan>,
    rows: VecDeque<Row>,
}

impl Rows {
    pub(super) fn new(plan: Plan) -> Self {
        Self { plan: Arc::new(plan), rows: VecDeque::new() }
    }

    /// All rows in order of arrival.
    fn arrived(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        if self.plan.numbered {
            // Runs that are in order already, one a slice.
            rows.sort_by_key(|r| r.last().and_then(FieldValue::as_i64));
        }
        rows
    }

    /// The rows as the function is to see them.
    fn arranged(&self) -> Vec<&Row> {
        let plan = &*self.plan;
        let mut rows = self.arrived();
        if plan.distinct {
            rows.sort_by(|a, b| self.by_order(a, b).then_with(|| by_args(plan.args_of(a), plan.args_of(b))));
            rows.dedup_by(|a, b| plan.args_of(a).iter().zip(plan.args_of(b)).all(|(x, y)| same(x, y)));
        } else if !plan.order.is_empty() {
            rows.sort_by(|a, b| self.by_order(a, b));
        }
        rows
    }

    fn by_order(&self, a: &Row, b: &Row) -> Ordering {
        let (a, b) = (self.plan.keys_of(a), self.plan.keys_of(b));
        a.iter()
            .zip(b)
            .zip(&self.plan.order)
            .map(|((a, b), direction)| direction.compare(a, b))
            .find(|o| o.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

fn by_args(a: &[FieldValue], b: &[FieldValue]) -> Ordering {
    let order = |(a, b): (&FieldValue, &FieldValue)| crate::expr::compare_nulls_last(a, b);
    a.iter().zip(b).map(order).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}

impl Direction {
    fn compare(self, a: &FieldValue, b: &FieldValue) -> Ordering {
        match (a.is_null(), b.is_null()) {
            (false, false) => {
                let order = crate::expr::compare_nulls_last(a, b);
                if self.descending { order.reverse() } else { order }
            }
            (x, y) if self.nulls_first => y.cmp(&x),
            (x, y) => x.cmp(&y),
        }
    }
}

fn row(args: &[&FieldValue]) -> Row {
    args.iter().map(|v| (*v).clone()).collect()
}

fn is_row(row: &[FieldValue], args: &[&FieldValue]) -> bool {
    row.iter().zip(args).all(|(a, b)| identical(a, b))
}

impl AggregateState for Rows {
    fn keeps_values(&self) -> bool {
        true
    }
    fn update(&mut self, args: &[&FieldValue]) {
        self.rows.push_back(row(args));
    }
    fn retract(&mut self, args: &[&FieldValue]) {
        // What leaves a frame is its oldest row.
        if let Some(at) = self.rows.iter().position(|r| is_row(r, args)) {
            self.rows.remove(at);
        }
    }
    fn merge(&mut self, other: &dyn AggregateState) {
        if let Some(other) = other.as_any().downcast_ref::<Self>() {
            self.rows.extend(other.rows.iter().cloned());
        }
    }
    fn finish(&self) -> EvalResult<FieldValue> {
        let mut state = self.plan.empty.clone();
        let mut args = Vec::new();
        for row in self.arranged() {
            args.clear();
            args.extend(self.plan.args_of(row));
            state.update(&args);
        }
        state.finish()
    }
    fn combine(&self) -> Option<Combine> {
        self.plan.numbered.then_some(Combine::Gather)
    }
    fn to_values(&self) -> Vec<FieldValue> {
        self.arrived().into_iter().flat_map(|r| r.iter().cloned()).collect()
    }
    fn restore(&mut self, values: &[FieldValue]) -> Result<(), String> {
        let width = self.plan.args + self.plan.order.len() + usize::from(self.plan.numbered);
        if width == 0 || !values.len().is_multiple_of(width) {
            return Err(format!("{} values are no rows of {width}", values.len()));
        }
        self.rows = values.chunks(width).map(Row::from).collect();
        Ok(())
    }
    fn boxed_clone(&self) -> Box<dyn AggregateState> {
        Box::new(self.clone())
    }
    fn heap_bytes(&self) -> usize {
        let row = |r: &Row| 32 + r.iter().map(|v| 24 + v.heap_bytes()).sum::<usize>();
        size_of::<Self>() + self.rows.iter().map(row).sum::<usize>()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
