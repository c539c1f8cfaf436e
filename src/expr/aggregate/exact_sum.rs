//! Exact sums of doubles, rounded once at output: independent of order, and values can leave again.

use std::any::Any;

use super::AggregateState;
use crate::expr::EvalResult;
use crate::expr::value::overflow;
use crate::record::FieldValue;

/// Digits of 32 bits: 2098 bits hold every double, 64 more the carries of 2^63 rows.
const DIGITS: usize = 68;
/// The power of two of the lowest bit.
const LOWEST: i32 = -1074;
/// So many additions fit into a digit before carries must move on.
const PENDING: u32 = 1 << 30;

/// A fixed-point number wide enough for every sum of doubles (Kulisch's accumulator), with counts of what is no number.
#[derive(Clone, Debug)]
pub(super) struct ExactSum {
    digits: [i64; DIGITS],
    pending: u32,
    nan: i64,
    infinite: i64,
    negative_infinite: i64,
}

impl Default for ExactSum {
    fn default() -> Self {
        Self { digits: [0; DIGITS], pending: 0, nan: 0, infinite: 0, negative_infinite: 0 }
    }
}

impl ExactSum {
    /// Adds a value `sign` times: 1 or -1.
    pub(super) fn add(&mut self, x: f64, sign: i64) {
        if !x.is_finite() {
            let count = match x {
                _ if x.is_nan() => &mut self.nan,
                _ if x > 0.0 => &mut self.infinite,
                _ => &mut self.negative_infinite,
            };
            *count += sign;
            return;
        }
        let bits = x.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as usize;
        let fraction = bits & ((1 << 52) - 1);
        // Subnormal numbers have exponent 0 and no hidden bit; their lowest bit is that of exponent 1.
        let (mantissa, at) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        let spread = u128::from(mantissa) << (at % 32);
        let sign = if x.is_sign_negative() { -sign } else { sign };
        for (i, digit) in self.digits.iter_mut().skip(at / 32).take(3).enumerate() {
            *digit += sign * (spread >> (32 * i) & 0xffff_ffff) as i64;
        }
        self.pending += 1;
        if self.pending >= PENDING {
            self.carry();
        }
    }

    /// All digits but the last into `0..2^32`.
    fn carry(&mut self) {
        let mut carry = 0;
        let last = DIGITS - 1;
        for (i, digit) in self.digits.iter_mut().enumerate() {
            *digit += carry;
            if i < last {
                carry = *digit >> 32;
                *digit &= 0xffff_ffff;
            }
        }
        self.pending = 0;
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        let mut other = other.clone();
        other.carry();
        self.carry();
        for (a, b) in self.digits.iter_mut().zip(other.digits) {
            *a += b;
        }
        self.pending = 1;
        self.nan += other.nan;
        self.infinite += other.infinite;
        self.negative_infinite += other.negative_infinite;
    }

    /// The sum rounded to the nearest double; infinite also if it is too large.
    pub(super) fn value(&self) -> f64 {
        if self.nan > 0 || (self.infinite > 0 && self.negative_infinite > 0) {
            return f64::NAN;
        }
        if self.infinite > 0 || self.negative_infinite > 0 {
            return if self.infinite > 0 { f64::INFINITY } else { f64::NEG_INFINITY };
        }
        let mut sum = self.clone();
        sum.carry();
        let negative = sum.digits.last().is_some_and(|d| *d < 0);
        if negative {
            sum.digits.iter_mut().for_each(|d| *d = -*d);
            sum.carry();
        }
        let magnitude = sum.magnitude();
        if negative { -magnitude } else { magnitude }
    }

    /// Of a number whose digits are all in their range: the three highest digits decide, what is below only rounds.
    fn magnitude(&self) -> f64 {
        let Some(top) = self.digits.iter().rposition(|d| *d != 0) else { return 0.0 };
        let lowest = top.saturating_sub(2);
        let mut window = 0u128;
        for digit in self.digits.iter().skip(lowest).take(3).rev() {
            window = window << 32 | *digit as u128;
        }
        if self.digits.iter().take(lowest).any(|d| *d != 0) {
            window |= 1;
        }
        // In two steps, each a power of two that a double has; nothing is lost, since the lowest bit is that of all doubles.
        let power = 32 * lowest as i32 + LOWEST;
        let half = power / 2;
        window as f64 * 2f64.powi(half) * 2f64.powi(power - half)
    }

    fn has_special(&self) -> bool {
        self.nan > 0 || self.infinite > 0 || self.negative_infinite > 0
    }
}

/// SUM or AVG of doubles that may leave again.
#[derive(Clone, Debug, Default)]
pub(super) struct ExactFloat {
    sum: ExactSum,
    n: i64,
    mean: bool,
}

impl ExactFloat {
    pub(super) fn new(mean: bool) -> Self {
        Self { mean, ..Self::default() }
    }
}

impl AggregateState for ExactFloat {
    fn update(&mut self, args: &[&FieldValue]) {
        if let [FieldValue::Float(x), ..] = args {
            self.sum.add(*x, 1);
            self.n += 1;
        }
    }
    fn retract(&mut self, args: &[&FieldValue]) {
        if let [FieldValue::Float(x), ..] = args {
            self.sum.add(*x, -1);
            self.n -= 1;
        }
    }
    fn merge(&mut self, other: &dyn AggregateState) {
        if let Some(other) = other.as_any().downcast_ref::<Self>() {
            self.sum.absorb(&other.sum);
            self.n += other.n;
        }
    }
    fn finish(&self) -> EvalResult<FieldValue> {
        if self.n == 0 {
            return Ok(FieldValue::Null);
        }
        let sum = self.sum.value();
        if sum.is_infinite() && !self.sum.has_special() {
            return Err(overflow("DOUBLE"));
        }
        Ok(FieldValue::Float(if self.mean { sum / self.n as f64 } else { sum }))
    }
    fn to_values(&self) -> Vec<FieldValue> {
        let mut sum = self.sum.clone();
        sum.carry();
        let counts = [self.n, sum.nan, sum.infinite, sum.negative_infinite];
        counts.into_iter().chain(sum.digits).map(FieldValue::Integer).collect()
    }
    fn restore(&mut self, values: &[FieldValue]) -> Result<(), String> {
        let numbers: Vec<i64> = values.iter().filter_map(FieldValue::as_i64).collect();
        let [n, nan, infinite, negative_infinite, digits @ ..] = numbers.as_slice() else {
            return Err("an exact sum without its counts".into());
        };
        let digits = digits.try_into().map_err(|_| format!("an exact sum of {} digits", digits.len()))?;
        let (nan, infinite, negative_infinite) = (*nan, *infinite, *negative_infinite);
        self.sum = ExactSum { digits, pending: 1, nan, infinite, negative_infinite };
        self.n = *n;
        Ok(())
    }
    fn boxed_clone(&self) -> Box<dyn AggregateState> {
        Box::new(self.clone())
    }
    fn heap_bytes(&self) -> usize {
        size_of::<Self>()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let mut sum = ExactSum::default();
        values.iter().for_each(|x| sum.add(*x, 1));
        sum.value()
    }

    #[test]
    fn single_values_come_back_as_they_were() {
        for x in [0.0, 1.0, -1.5, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, -5e-324, 1e-310, 0.1, 1e300]
        {
            assert_eq!(sum(&[x]).to_bits(), x.to_bits(), "{x:e}");
        }
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert_eq!(sum(&[f64::INFINITY, 1.0]), f64::INFINITY);
    }

    #[test]
    fn nothing_is_lost_on_the_way() {
        assert_eq!(sum(&[1e308, 1e308, -1e308, 5e-324, -1e308]), 5e-324);
        assert_eq!(sum(&[1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(sum(&[f64::MAX, f64::MAX]), f64::INFINITY);
        // Half of the last bit rounds to even, a trace more rounds up.
        assert_eq!(sum(&[1.0, f64::EPSILON / 2.0]), 1.0);
        assert_eq!(sum(&[1.0, f64::EPSILON / 2.0, 5e-324]), 1.0 + f64::EPSILON);
        assert_eq!(sum(&[0.1; 10]), 1.0000000000000000555, "ten times the double nearest to 0.1");
    }

    #[test]
    fn what_left_leaves_no_trace() {
        let mut state = ExactSum::default();
        for x in [1e300, f64::NAN, -3.25, f64::INFINITY, 1e-300] {
            state.add(x, 1);
        }
        for x in [f64::INFINITY, 1e300, 1e-300, f64::NAN] {
            state.add(x, -1);
        }
        assert_eq!(state.value(), -3.25);
    }
}
