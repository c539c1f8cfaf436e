//! Slices: parts of time that overlapping windows share. A row changes one slice, and the state of a window is combined from those
//! of its slices, in whatever order they come: so all that is combined here gives the same result in any order.

use super::accumulator::{BitOp, Inner};
use super::{Accumulator, AggregateCall, AggregateState};
use crate::record::FieldValue;

/// How the states of slices become the state of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// One state moves along: slices that come are added, those that leave are taken back, exactly.
    Running,
    /// States are small and are merged; none can be taken back.
    Merge,
    /// They are merged when a window is done, as what is merged is large.
    Gather,
}

/// A call over slices.
#[derive(Debug)]
pub(super) struct SliceState {
    pub(super) empty: Accumulator,
    pub(super) combine: Combine,
    /// Whether it wants the number of a row in the input behind the other values.
    pub(super) numbered: bool,
}

impl AggregateCall {
    /// How its states are combined from those of slices; `None`: windows must have states of their own.
    ///
    /// SUM and AVG of DOUBLE are then exact sums, rounded once, instead of sums in the order of the rows.
    pub fn combine(&self) -> Option<Combine> {
        slice_state(self).map(|s| s.combine)
    }
}

/// The state of a call in an empty slice; `None` if it can't be combined.
pub(super) fn slice_state(call: &AggregateCall) -> Option<SliceState> {
    let function = &*call.function;
    let numbered = |empty: Accumulator, combine| Some(SliceState { empty, combine, numbered: true });
    let kept = !call.order_by.is_empty() && !function.within_group;
    if !call.distinct && !kept {
        let plain = (function.make)(call, false);
        if let Some(picked) = Picked::of(&plain, function.name) {
            return numbered(Accumulator::boxed(picked), Combine::Merge);
        }
        let empty = if let Inner::FloatSum { .. } = plain.0 { (function.make)(call, true) } else { plain };
        if let Some(combine) = empty.combine() {
            return Some(SliceState { empty, combine, numbered: false });
        }
        // What depends on the order of its rows keeps them, as it does anyway.
        let rows = || numbered(super::functions::numbered_rows(call), Combine::Gather);
        return if function.ordered { rows() } else { None };
    }
    let empty = super::functions::empty_state(call, true);
    if let Some(combine) = empty.combine() {
        return Some(SliceState { empty, combine, numbered: false });
    }
    numbered(super::functions::numbered_rows(call), Combine::Gather)
}

impl Accumulator {
    fn combine(&self) -> Option<Combine> {
        use Inner as I;
        match &self.0 {
            I::Rows(_)
            | I::Values(_)
            | I::Trues(_)
            | I::Sum { .. }
            | I::DecimalSum { .. }
            | I::Logic { .. } => Some(Combine::Running),
            I::Bits { op: BitOp::Xor, .. } => Some(Combine::Running),
            I::IntExtreme { .. } | I::FloatExtreme { .. } | I::Extreme { .. } | I::Bits { .. } => {
                Some(Combine::Merge)
            }
            // In floating point: nothing can be taken back.
            I::Moments { .. } => Some(Combine::Merge),
            // In the order of the rows.
            I::FloatSum { .. } => None,
            // By the order of the rows.
            I::End { .. } => None,
            I::Boxed(state) => state.combine(),
        }
    }

    /// Takes back everything that `from` holds and that was merged before. Only for [`Combine::Running`].
    pub(super) fn unmerge(&mut self, from: &Self) {
        use Inner as I;
        match (&mut self.0, &from.0) {
            (I::Rows(a), I::Rows(b)) | (I::Values(a), I::Values(b)) | (I::Trues(a), I::Trues(b)) => *a -= b,
            (I::Sum { sum, n, .. }, I::Sum { sum: s, n: m, .. })
            | (I::DecimalSum { sum, n, .. }, I::DecimalSum { sum: s, n: m, .. }) => {
                sum.subtract(s.get());
                *n -= m;
            }
            (I::Logic { trues, falses, .. }, I::Logic { trues: t, falses: f, .. }) => {
                *trues -= t;
                *falses -= f;
            }
            (I::Bits { bits, n, .. }, I::Bits { bits: b, n: m, .. }) => {
                *bits ^= b;
                *n -= m;
            }
            (I::Boxed(a), I::Boxed(b)) => a.unmerge(&**b),
            _ => {}
        }
    }
}

/// Which row's value it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pick {
    First,
    Last,
    LeastKey,
    GreatestKey,
}

/// The value of one row, with what makes it that row: for FIRST_VALUE, LAST_VALUE, ARG_MIN and the like over slices.
#[derive(Clone, Debug)]
struct Picked {
    pick: Pick,
    key: FieldValue,
    value: FieldValue,
    /// The row's number; 0 = there is none.
    number: i64,
}

impl Picked {
    /// The same for slices as that empty state.
    fn of(plain: &Accumulator, name: &str) -> Option<Self> {
        let pick =
            match &plain.0 {
                Inner::End { last: false, .. } => Pick::First,
                Inner::End { last: true, .. } => Pick::Last,
                Inner::Boxed(state) if state.as_any().is::<super::collect::Beside>() => {
                    if name.contains("max") { Pick::GreatestKey } else { Pick::LeastKey }
                }
                _ => return None,
            };
        Some(Self { pick, key: FieldValue::Null, value: FieldValue::Null, number: 0 })
    }

    fn take(&mut self, value: &FieldValue, key: &FieldValue, number: i64) {
        let order = crate::expr::compare_nulls_last(key, &self.key);
        let better = self.number == 0
            || match self.pick {
                Pick::First => number < self.number,
                Pick::Last => number > self.number,
                Pick::LeastKey => order.then(number.cmp(&self.number)).is_lt(),
                Pick::GreatestKey => order.then(self.number.cmp(&number)).is_gt(),
            };
        if better {
            self.key.assign(key);
            self.value.assign(value);
            self.number = number;
        }
    }
}

impl AggregateState for Picked {
    fn update(&mut self, args: &[&FieldValue]) {
        let [value, .., number] = args else { return };
        let FieldValue::Integer(number) = number else { return };
        match (self.pick, args) {
            (Pick::First | Pick::Last, _) => self.take(value, &FieldValue::Null, *number),
            // Rows without key don't count.
            (_, [_, key, _]) if !key.is_null() => self.take(value, key, *number),
            _ => {}
        }
    }
    fn combine(&self) -> Option<Combine> {
        Some(Combine::Merge)
    }
    fn takes_back(&self) -> bool {
        false
    }
    fn retract(&mut self, _: &[&FieldValue]) {}
    fn merge(&mut self, other: &dyn AggregateState) {
        if let Some(other) = other.as_any().downcast_ref::<Self>().filter(|o| o.number != 0) {
            self.take(&other.value, &other.key, other.number);
        }
    }
    fn finish(&self) -> crate::expr::EvalResult<FieldValue> {
        Ok(self.value.clone())
    }
    fn to_values(&self) -> Vec<FieldValue> {
        vec![self.value.clone(), self.key.clone(), FieldValue::Integer(self.number)]
    }
    fn restore(&mut self, values: &[FieldValue]) -> Result<(), String> {
        let [value, key, FieldValue::Integer(number)] = values else {
            return Err("not a value, its key and the number of its row".into());
        };
        (self.value, self.key, self.number) = (value.clone(), key.clone(), *number);
        Ok(())
    }
    fn boxed_clone(&self) -> Box<dyn AggregateState> {
        Box::new(self.clone())
    }
    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.key.heap_bytes() + self.value.heap_bytes()
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
