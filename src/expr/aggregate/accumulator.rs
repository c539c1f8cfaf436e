//! The state of one aggregate call in one group.

use std::cmp::Ordering;

use super::combine::Combine;
use super::key::total_order;
use super::moments::{Moments, Spread};
use super::wide::{Wide, decimal, decimal_mean, integer_mean, mantissa_at};
use crate::expr::EvalResult;
use crate::expr::value::{compare_floats, overflow};
use crate::record::FieldValue;

/// State that does not fit into an [`Accumulator`] itself: values kept, sketches, user functions.
pub trait AggregateState: std::fmt::Debug + Send + Sync {
    /// Takes the arguments of one row.
    fn update(&mut self, args: &[&FieldValue]);
    /// How the states of slices become that of a window; `None`: they don't, as their order tells.
    fn combine(&self) -> Option<Combine> {
        None
    }
    /// Takes back everything that was [merged](Self::merge), where states are combined as [`Combine::Running`].
    fn unmerge(&mut self, _other: &dyn AggregateState) {}
    /// Whether [`retract`](Self::retract) does what it says. If not, the rows are kept where any may leave again.
    fn takes_back(&self) -> bool {
        true
    }
    /// Takes them back.
    fn retract(&mut self, args: &[&FieldValue]);
    /// Whether it holds every value, or every different one, so that it grows as rows come.
    fn keeps_values(&self) -> bool {
        false
    }
    /// Takes everything that another state of the same call holds; its rows come after those of `self`.
    fn merge(&mut self, other: &dyn AggregateState);
    /// The result.
    ///
    /// # Errors
    /// What is only known at output, e.g. overflow.
    fn finish(&self) -> EvalResult<FieldValue>;
    /// Everything, as values, for a snapshot.
    fn to_values(&self) -> Vec<FieldValue>;
    /// Becomes what [`to_values`](Self::to_values) described. Called on the state of an empty group.
    ///
    /// # Errors
    /// If the values can't be a state of this kind; a sentence.
    fn restore(&mut self, values: &[FieldValue]) -> Result<(), String>;
    /// An independent copy.
    fn boxed_clone(&self) -> Box<dyn AggregateState>;
    /// Memory of the box and beyond, in bytes (estimate).
    fn heap_bytes(&self) -> usize;
    /// For `merge`, which meets its own type only.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// The state of one aggregate call in one group: 32 bytes, so that a group's accumulators lie side by side.
#[derive(Clone, Debug)]
pub struct Accumulator(pub(super) Inner);

const _: () = assert!(size_of::<Accumulator>() == 32);

/// What integers, dates and times are when they come out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntKind {
    Integer,
    Date,
    Time,
    Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BitOp {
    And,
    Or,
    Xor,
}

#[derive(Debug)]
pub(super) enum Inner {
    /// `count(*)`.
    Rows(i64),
    /// `count(x)`: values that are not NULL.
    Values(i64),
    /// `count_if(x)`.
    Trues(i64),
    /// Of integers.
    Sum {
        sum: Wide,
        n: i64,
        mean: bool,
    },
    /// Of decimals with so many digits after the point.
    DecimalSum {
        sum: Wide,
        n: i64,
        scale: u8,
        mean: bool,
    },
    /// Of doubles, in row order. `special`: there was an infinity or NaN.
    FloatSum {
        sum: f64,
        n: i64,
        special: bool,
        mean: bool,
    },
    /// MIN and MAX of integers, dates and times; for MAX all bits are turned, which turns the order.
    IntExtreme {
        least: i64,
        seen: bool,
        max: bool,
        kind: IntKind,
    },
    /// MIN and MAX of doubles.
    FloatExtreme {
        best: f64,
        seen: bool,
        max: bool,
    },
    /// MIN and MAX of everything else; NULL before the first value.
    Extreme {
        best: FieldValue,
        max: bool,
    },
    /// The first row's value or the last row's; with `skip` the first that is not NULL.
    End {
        value: FieldValue,
        seen: bool,
        last: bool,
        skip: bool,
    },
    /// Of booleans: how many of each. `all`: AND, else OR.
    Logic {
        trues: i64,
        falses: i64,
        all: bool,
    },
    /// Of integers; AND and OR can't forget.
    Bits {
        bits: i64,
        n: i64,
        op: BitOp,
    },
    /// Variance and standard deviation.
    Moments {
        moments: Moments,
        result: Spread,
    },
    Boxed(Box<dyn AggregateState>),
}

impl Clone for Inner {
    #[inline]
    fn clone(&self) -> Self {
        use Inner as I;
        match self {
            I::Rows(n) => I::Rows(*n),
            I::Values(n) => I::Values(*n),
            I::Trues(n) => I::Trues(*n),
            I::Sum { sum, n, mean } => I::Sum { sum: *sum, n: *n, mean: *mean },
            I::DecimalSum { sum, n, scale, mean } => {
                I::DecimalSum { sum: *sum, n: *n, scale: *scale, mean: *mean }
            }
            I::FloatSum { sum, n, special, mean } => {
                I::FloatSum { sum: *sum, n: *n, special: *special, mean: *mean }
            }
            I::IntExtreme { least, seen, max, kind } => {
                I::IntExtreme { least: *least, seen: *seen, max: *max, kind: *kind }
            }
            I::FloatExtreme { best, seen, max } => I::FloatExtreme { best: *best, seen: *seen, max: *max },
            I::Extreme { best, max } => I::Extreme { best: best.clone(), max: *max },
            I::End { value, seen, last, skip } => {
                I::End { value: value.clone(), seen: *seen, last: *last, skip: *skip }
            }
            I::Logic { trues, falses, all } => I::Logic { trues: *trues, falses: *falses, all: *all },
            I::Bits { bits, n, op } => I::Bits { bits: *bits, n: *n, op: *op },
            I::Moments { moments, result } => I::Moments { moments: *moments, result: *result },
            I::Boxed(state) => I::Boxed(state.boxed_clone()),
        }
    }
}

impl Accumulator {
    /// State behind a pointer.
    pub fn boxed(state: impl AggregateState + 'static) -> Self {
        Self(Inner::Boxed(Box::new(state)))
    }
    pub(super) fn sum(mean: bool) -> Self {
        Self(Inner::Sum { sum: Wide::default(), n: 0, mean })
    }
    pub(super) fn decimal_sum(scale: u8, mean: bool) -> Self {
        Self(Inner::DecimalSum { sum: Wide::default(), n: 0, scale, mean })
    }
    pub(super) fn float_sum(mean: bool) -> Self {
        Self(Inner::FloatSum { sum: 0.0, n: 0, special: false, mean })
    }

    /// Remembers the latest of the moments noted, µs.
    pub fn clock() -> Self {
        let kind = IntKind::Timestamp;
        Self(Inner::IntExtreme { least: i64::MAX, seen: false, max: true, kind })
    }
    /// Notes a moment.
    #[inline]
    pub fn note(&mut self, micros: i64) {
        self.update_one(&FieldValue::Timestamp(micros));
    }
    /// The latest moment noted.
    #[inline]
    pub fn latest(&self) -> Option<i64> {
        match &self.0 {
            Inner::IntExtreme { least, seen: true, .. } => Some(!least),
            _ => None,
        }
    }
    /// What [`with_values`](Self::with_values) gave of a [`clock`](Self::clock).
    ///
    /// # Errors
    /// If it gave something else; a sentence.
    pub fn restored_clock(values: &[FieldValue]) -> Result<Self, String> {
        let mut clock = Self::clock();
        clock.restore(values)?;
        Ok(clock)
    }

    /// Takes the arguments of one row.
    #[inline]
    pub(super) fn update(&mut self, args: &[&FieldValue]) {
        match (&mut self.0, args) {
            (Inner::Boxed(state), args) => state.update(args),
            (Inner::Rows(n), _) => *n += 1,
            (_, [value, ..]) => self.update_one(value),
            (_, []) => {}
        }
    }

    /// The same for one argument.
    #[inline]
    pub(super) fn update_one(&mut self, value: &FieldValue) {
        use FieldValue as V;
        match &mut self.0 {
            Inner::Rows(n) => *n += 1,
            Inner::Values(n) => *n += i64::from(!value.is_null()),
            Inner::Trues(n) => *n += i64::from(matches!(value, V::Boolean(true))),
            Inner::Sum { sum, n, .. } => {
                if let V::Integer(x) = value {
                    sum.add(i128::from(*x));
                    *n += 1;
                }
            }
            Inner::FloatSum { sum, n, special, .. } => {
                if let V::Float(x) = value {
                    *sum += x;
                    *n += 1;
                    *special |= !x.is_finite();
                }
            }
            Inner::DecimalSum { sum, n, scale, .. } => {
                if let V::Decimal(x) = value {
                    sum.add(mantissa_at(x, *scale));
                    *n += 1;
                }
            }
            Inner::IntExtreme { least, seen, max, .. } => {
                let x = match value {
                    V::Integer(x) | V::Timestamp(x) | V::Time(x) => *x,
                    V::Date(x) => i64::from(*x),
                    _ => return,
                };
                *least = (*least).min(x ^ -i64::from(*max));
                *seen = true;
            }
            Inner::FloatExtreme { best, seen, max } => {
                if let V::Float(x) = value
                    && (!*seen || beats(order_of_floats(*x, *best), *max))
                {
                    *best = *x;
                    *seen = true;
                }
            }
            _ => self.update_rare(value),
        }
    }

    fn update_rare(&mut self, value: &FieldValue) {
        use FieldValue as V;
        match (&mut self.0, value) {
            (Inner::Boxed(state), value) => state.update(&[value]),
            (Inner::End { value: kept, seen, last, skip }, value)
                if (*last || !*seen) && !(*skip && value.is_null()) =>
            {
                kept.assign(value);
                *seen = true;
            }
            (Inner::End { .. }, _) => {}
            (_, V::Null) => {}
            (Inner::Extreme { best, max }, value)
                if best.is_null() || beats(total_order(value, best), *max) =>
            {
                best.assign(value);
            }
            (Inner::Extreme { .. }, _) => {}
            (Inner::Logic { trues, falses, .. }, V::Boolean(b)) => *(if *b { trues } else { falses }) += 1,
            (Inner::Bits { bits, n, op }, V::Integer(x)) => {
                *bits = if *n == 0 { *x } else { op.apply(*bits, *x) };
                *n += 1;
            }
            (Inner::Moments { moments, .. }, value) => moments.update(value),
            _ => {}
        }
    }

    /// Whether [`retract`](Self::retract) does what it says.
    pub(super) fn takes_back(&self) -> bool {
        match &self.0 {
            Inner::Boxed(state) => state.takes_back(),
            Inner::Bits { op, .. } => *op == BitOp::Xor,
            Inner::FloatSum { .. }
            | Inner::IntExtreme { .. }
            | Inner::FloatExtreme { .. }
            | Inner::Extreme { .. }
            | Inner::End { .. }
            | Inner::Moments { .. } => false,
            _ => true,
        }
    }

    /// Takes one row's arguments back.
    pub(super) fn retract(&mut self, args: &[&FieldValue]) {
        use FieldValue as V;
        let value = args.first().copied().unwrap_or(&V::Null);
        match (&mut self.0, value) {
            (Inner::Boxed(state), _) => state.retract(args),
            (Inner::Rows(n), _) => *n -= 1,
            (Inner::Values(n), value) => *n -= i64::from(!value.is_null()),
            (Inner::Trues(n), value) => *n -= i64::from(matches!(value, V::Boolean(true))),
            (Inner::Sum { sum, n, .. }, V::Integer(x)) => {
                sum.subtract(i128::from(*x));
                *n -= 1;
            }
            (Inner::DecimalSum { sum, n, scale, .. }, V::Decimal(x)) => {
                sum.subtract(mantissa_at(x, *scale));
                *n -= 1;
            }
            (Inner::Logic { trues, falses, .. }, V::Boolean(b)) => *(if *b { trues } else { falses }) -= 1,
            (Inner::Bits { bits, n, op: BitOp::Xor }, V::Integer(x)) => {
                *bits ^= x;
                *n -= 1;
            }
            // The others have variants that keep their values: `make` was asked for one.
            _ => {}
        }
    }

    /// Takes everything that `from` holds, whose rows come after those of `self`.
    pub(super) fn merge(&mut self, from: &Self) {
        use Inner as I;
        match (&mut self.0, &from.0) {
            (I::Rows(a), I::Rows(b)) | (I::Values(a), I::Values(b)) | (I::Trues(a), I::Trues(b)) => *a += b,
            (I::Sum { sum, n, .. }, I::Sum { sum: s, n: m, .. })
            | (I::DecimalSum { sum, n, .. }, I::DecimalSum { sum: s, n: m, .. }) => {
                sum.add(s.get());
                *n += m;
            }
            (I::FloatSum { sum, n, special, .. }, I::FloatSum { sum: s, n: m, special: t, .. }) => {
                *sum += s;
                *n += m;
                *special |= t;
            }
            (I::IntExtreme { least, seen, .. }, I::IntExtreme { least: l, seen: s, .. }) => {
                *least = (*least).min(*l);
                *seen |= s;
            }
            (I::FloatExtreme { best, seen, max }, I::FloatExtreme { best: b, seen: true, .. })
                if !*seen || beats(order_of_floats(*b, *best), *max) =>
            {
                *best = *b;
                *seen = true;
            }
            (I::Extreme { .. }, I::Extreme { best, .. }) => self.update_rare(best),
            (I::End { .. }, I::End { value, seen: true, .. }) => self.update_rare(value),
            (I::Logic { trues, falses, .. }, I::Logic { trues: t, falses: f, .. }) => {
                *trues += t;
                *falses += f;
            }
            (I::Bits { bits, n, op }, I::Bits { bits: b, n: m @ 1.., .. }) => {
                *bits = if *n == 0 { *b } else { op.apply(*bits, *b) };
                *n += m;
            }
            (I::Moments { moments: a, .. }, I::Moments { moments: b, .. }) => a.merge(b),
            (I::Boxed(a), I::Boxed(b)) => a.merge(&**b),
            _ => {}
        }
    }

    /// The result.
    pub(super) fn finish(&self) -> EvalResult<FieldValue> {
        use FieldValue as V;
        Ok(match &self.0 {
            Inner::Rows(n) | Inner::Values(n) | Inner::Trues(n) => V::Integer(*n),
            Inner::Sum { n: 0, .. }
            | Inner::DecimalSum { n: 0, .. }
            | Inner::FloatSum { n: 0, .. }
            | Inner::Bits { n: 0, .. }
            | Inner::Logic { trues: 0, falses: 0, .. }
            | Inner::IntExtreme { seen: false, .. }
            | Inner::FloatExtreme { seen: false, .. } => V::Null,
            Inner::Sum { sum, n, mean: true } => V::Float(integer_mean(sum.get(), *n)),
            Inner::Sum { sum, .. } => V::Integer(i64::try_from(sum.get()).map_err(|_| overflow("BIGINT"))?),
            Inner::DecimalSum { sum, n, scale, mean: true } => return decimal_mean(sum.get(), *n, *scale),
            Inner::DecimalSum { sum, scale, .. } => return decimal(sum.get(), *scale),
            Inner::FloatSum { sum, special: false, .. } if !sum.is_finite() => {
                return Err(overflow("DOUBLE"));
            }
            Inner::FloatSum { sum, n, mean, .. } => V::Float(if *mean { sum / *n as f64 } else { *sum }),
            Inner::IntExtreme { least, max, kind, .. } => kind.value(least ^ -i64::from(*max)),
            Inner::FloatExtreme { best, .. } => V::Float(*best),
            Inner::Extreme { best: value, .. } | Inner::End { value, .. } => value.clone(),
            Inner::Logic { trues, falses, all } => V::Boolean(if *all { *falses == 0 } else { *trues > 0 }),
            Inner::Bits { bits, .. } => V::Integer(*bits),
            Inner::Moments { moments, result } => return moments.finish(*result),
            Inner::Boxed(state) => return state.finish(),
        })
    }

    /// Calls `f` with everything, as values, for a snapshot: [`AggregateProgram::restore`](super::AggregateProgram::restore) reads
    /// them. Allocates only for what lies beyond the accumulator.
    #[inline]
    pub fn with_values<T>(&self, f: impl FnOnce(&[FieldValue]) -> T) -> T {
        use FieldValue as V;
        match &self.0 {
            Inner::Rows(n) | Inner::Values(n) | Inner::Trues(n) => f(&[V::Integer(*n)]),
            Inner::Sum { sum, n, .. } | Inner::DecimalSum { sum, n, .. } => {
                let [high, low] = sum.to_values();
                f(&[V::Integer(*n), high, low])
            }
            Inner::FloatSum { sum, n, special, .. } => {
                f(&[V::Integer(*n), V::Float(*sum), V::Boolean(*special)])
            }
            Inner::IntExtreme { least, seen, .. } => f(&[V::Boolean(*seen), V::Integer(*least)]),
            Inner::FloatExtreme { best, seen, .. } => f(&[V::Boolean(*seen), V::Float(*best)]),
            Inner::Extreme { best, .. } => f(std::slice::from_ref(best)),
            Inner::End { value, seen, .. } => f(&[V::Boolean(*seen), value.clone()]),
            Inner::Logic { trues, falses, .. } => f(&[V::Integer(*trues), V::Integer(*falses)]),
            Inner::Bits { bits, n, .. } => f(&[V::Integer(*n), V::Integer(*bits)]),
            Inner::Moments { moments, .. } => f(&moments.to_values()),
            Inner::Boxed(state) => f(&state.to_values()),
        }
    }
    /// The values.
    pub fn to_values(&self) -> Vec<FieldValue> {
        self.with_values(<[FieldValue]>::to_vec)
    }

    /// The empty state of a call becomes what [`to_values`](Self::to_values) described.
    pub(super) fn restore(&mut self, values: &[FieldValue]) -> Result<(), String> {
        use FieldValue as V;
        match (&mut self.0, values) {
            (Inner::Rows(n) | Inner::Values(n) | Inner::Trues(n), [V::Integer(count)]) => *n = *count,
            (
                Inner::Sum { sum, n, .. } | Inner::DecimalSum { sum, n, .. },
                [V::Integer(count), V::Integer(high), V::Integer(low)],
            ) => (*n, *sum) = (*count, Wide::from_halves(*high, *low)),
            (
                Inner::FloatSum { sum, n, special, .. },
                [V::Integer(count), V::Float(total), V::Boolean(infinite)],
            ) => (*n, *sum, *special) = (*count, *total, *infinite),
            (Inner::IntExtreme { least, seen, .. }, [V::Boolean(any), V::Integer(x)]) => {
                (*seen, *least) = (*any, *x);
            }
            (Inner::FloatExtreme { best, seen, .. }, [V::Boolean(any), V::Float(x)]) => {
                (*seen, *best) = (*any, *x);
            }
            (Inner::Extreme { best, .. }, [value]) => *best = value.clone(),
            (Inner::End { value, seen, .. }, [V::Boolean(any), x]) => (*seen, *value) = (*any, x.clone()),
            (Inner::Logic { trues, falses, .. }, [V::Integer(t), V::Integer(f)]) => {
                (*trues, *falses) = (*t, *f);
            }
            (Inner::Bits { bits, n, .. }, [V::Integer(count), V::Integer(x)]) => (*n, *bits) = (*count, *x),
            (Inner::Moments { moments, .. }, values) => return moments.restore(values),
            (Inner::Boxed(state), values) => return state.restore(values),
            _ => return Err(format!("{} values are no state of this aggregate", values.len())),
        }
        Ok(())
    }

    /// Whether it may hold memory beyond itself.
    pub fn may_grow(&self) -> bool {
        matches!(self.0, Inner::Boxed(_) | Inner::Extreme { .. } | Inner::End { .. })
    }

    /// Whether it holds every value, or every different one, that came.
    pub(super) fn keeps_values(&self) -> bool {
        matches!(&self.0, Inner::Boxed(state) if state.keeps_values())
    }

    /// Whether its state lies elsewhere, behind a pointer.
    #[inline]
    pub fn is_boxed(&self) -> bool {
        matches!(self.0, Inner::Boxed(_))
    }

    /// Memory beyond the accumulator itself, in bytes (estimate).
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Inner::Extreme { best: value, .. } | Inner::End { value, .. } => value.heap_bytes(),
            Inner::Boxed(state) => state.heap_bytes(),
            _ => 0,
        }
    }
}

/// Whether a value that compares so with the best one takes its place.
#[inline]
pub(super) fn beats(order: Ordering, max: bool) -> bool {
    order == if max { Ordering::Greater } else { Ordering::Less }
}

/// Equal ones, `-0.0` and `0.0`, by their sign: which of them is an extreme must not depend on the order of rows.
#[inline]
pub(super) fn order_of_floats(x: f64, y: f64) -> Ordering {
    compare_floats(x, y).then_with(|| x.total_cmp(&y))
}

impl IntKind {
    fn value(self, x: i64) -> FieldValue {
        match self {
            IntKind::Integer => FieldValue::Integer(x),
            IntKind::Date => FieldValue::Date(x as i32),
            IntKind::Time => FieldValue::Time(x),
            IntKind::Timestamp => FieldValue::Timestamp(x),
        }
    }
}

impl BitOp {
    pub(super) fn apply(self, a: i64, b: i64) -> i64 {
        match self {
            BitOp::And => a & b,
            BitOp::Or => a | b,
            BitOp::Xor => a ^ b,
        }
    }
}
