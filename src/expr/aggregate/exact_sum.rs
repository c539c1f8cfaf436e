//! Exact sums of doubles, rounded once at output: independent of order, and values can leave again.

use std::any::Any;

use super::{AggregateState, Combine};
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
/// Only the digits from the lowest to the highest one in use are held: a few, where values are of like magnitude.
#[derive(Clone, Debug, Default)]
pub(super) struct ExactSum {
    /// The place of the first digit held.
    first: usize,
    digits: Vec<i64>,
    pending: u32,
    nan: i64,
    infinite: i64,
    negative_infinite: i64,
}

type Digits = [i64; DIGITS];

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
        if mantissa == 0 {
            return;
        }
        let spread = u128::from(mantissa) << (at % 32);
        let sign = if x.is_sign_negative() { -sign } else { sign };
        for (i, digit) in self.digits_from(at / 32, 3).iter_mut().enumerate() {
            *digit += sign * (spread >> (32 * i) & 0xffff_ffff) as i64;
        }
        self.pending += 1;
        if self.pending >= PENDING {
            self.settle();
        }
    }

    /// The digits from that place on, made where they are not held yet.
    fn digits_from(&mut self, at: usize, n: usize) -> &mut [i64] {
        if self.digits.is_empty() {
            self.first = at;
        } else if at < self.first {
            self.digits.splice(..0, std::iter::repeat_n(0, self.first - at));
            self.first = at;
        }
        let from = at - self.first;
        if self.digits.len() < from + n {
            self.digits.resize(from + n, 0);
        }
        self.digits.get_mut(from..from + n).unwrap_or_default()
    }

    /// Moves the carries on.
    fn settle(&mut self) {
        let (digits, negative) = self.magnitude_digits();
        self.set(&digits, negative);
    }

    /// Holds what these digits, all in their range, say.
    fn set(&mut self, digits: &[i64], negative: bool) {
        self.first = digits.iter().position(|d| *d != 0).unwrap_or(0);
        let end = digits.iter().rposition(|d| *d != 0).map_or(self.first, |last| last + 1);
        self.digits.clear();
        let used = digits.get(self.first..end).unwrap_or_default();
        self.digits.extend(used.iter().map(|d| if negative { -d } else { *d }));
        self.pending = 1;
    }

    /// All digits of the absolute value, each in `0..2^32`, and whether the sum is negative.
    fn magnitude_digits(&self) -> (Digits, bool) {
        let mut all = [0; DIGITS];
        for (to, from) in all.iter_mut().skip(self.first).zip(&self.digits) {
            *to = *from;
        }
        carry(&mut all);
        let negative = all.last().is_some_and(|d| *d < 0);
        if negative {
            all.iter_mut().for_each(|d| *d = -*d);
            carry(&mut all);
        }
        (all, negative)
    }

    /// Adds another sum `sign` times: 1 or -1.
    pub(super) fn absorb(&mut self, other: &Self, sign: i64) {
        if other.digits.is_empty() {
            // Nothing but counts.
        } else if self.pending.saturating_add(other.pending) < PENDING - 2 {
            for (a, b) in self.digits_from(other.first, other.digits.len()).iter_mut().zip(&other.digits) {
                *a += sign * b;
            }
            self.pending += other.pending + 1;
        } else {
            let mut other = other.clone();
            other.settle();
            self.settle();
            for (a, b) in self.digits_from(other.first, other.digits.len()).iter_mut().zip(&other.digits) {
                *a += sign * b;
            }
            self.pending = 3;
        }
        self.nan += sign * other.nan;
        self.infinite += sign * other.infinite;
        self.negative_infinite += sign * other.negative_infinite;
    }

    /// The sum rounded to the nearest double; infinite also if it is too large.
    pub(super) fn value(&self) -> f64 {
        if self.nan > 0 || (self.infinite > 0 && self.negative_infinite > 0) {
            return f64::NAN;
        }
        if self.infinite > 0 || self.negative_infinite > 0 {
            return if self.infinite > 0 { f64::INFINITY } else { f64::NEG_INFINITY };
        }
        if let Some(few) = self.few_digits() {
            return scaled(few.unsigned_abs(), self.first, few < 0);
        }
        let (digits, negative) = self.magnitude_digits();
        let (window, lowest) = window(&digits);
        scaled(window, lowest, negative)
    }

    /// The sum in units of its first digit, where that is a number of 128 bits: so it is for values of like magnitude.
    fn few_digits(&self) -> Option<i128> {
        let mut sum = 0i128;
        let mut held = self.digits.iter();
        // Three digits of 62 bits, 32 apart, and a carry fit.
        for (i, digit) in held.by_ref().take(3).enumerate() {
            sum += i128::from(*digit) << (32 * i);
        }
        match (held.next(), held.next()) {
            (None, _) => Some(sum),
            (Some(top), None) => {
                let whole = i128::from(*top) + (sum >> 96);
                let fits = i128::from(i32::MIN)..=i128::from(i32::MAX);
                fits.contains(&whole).then_some(whole << 96 | (sum & ((1 << 96) - 1)))
            }
            _ => None,
        }
    }

    fn has_special(&self) -> bool {
        self.nan > 0 || self.infinite > 0 || self.negative_infinite > 0
    }
}

/// All digits but the last into `0..2^32`.
fn carry(digits: &mut Digits) {
    let mut carry = 0;
    let last = DIGITS - 1;
    for (i, digit) in digits.iter_mut().enumerate() {
        *digit += carry;
        if i < last {
            carry = *digit >> 32;
            *digit &= 0xffff_ffff;
        }
    }
}

/// Of a number whose digits are all in their range: the three highest digits decide, what is below only rounds. Gives them, and the
/// place of the lowest of them.
fn window(digits: &Digits) -> (u128, usize) {
    let Some(top) = digits.iter().rposition(|d| *d != 0) else { return (0, 0) };
    let lowest = top.saturating_sub(2);
    let mut window = 0u128;
    for digit in digits.iter().skip(lowest).take(3).rev() {
        window = window << 32 | *digit as u128;
    }
    if digits.iter().take(lowest).any(|d| *d != 0) {
        window |= 1;
    }
    (window, lowest)
}

/// So many units of digit `lowest`, rounded to the nearest double.
fn scaled(units: u128, lowest: usize, negative: bool) -> f64 {
    // In two steps, each a power of two that a double has; nothing is lost, since the lowest bit is that of all doubles.
    let power = 32 * lowest as i32 + LOWEST;
    let half = power / 2;
    let magnitude = units as f64 * power_of_two(half) * power_of_two(power - half);
    if negative { -magnitude } else { magnitude }
}

/// 2 to that power, which a normal double has.
fn power_of_two(power: i32) -> f64 {
    f64::from_bits(((power + 1023) as u64) << 52)
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
            self.sum.absorb(&other.sum, 1);
            self.n += other.n;
        }
    }
    fn combine(&self) -> Option<Combine> {
        Some(Combine::Running)
    }
    fn unmerge(&mut self, other: &dyn AggregateState) {
        if let Some(other) = other.as_any().downcast_ref::<Self>() {
            self.sum.absorb(&other.sum, -1);
            self.n -= other.n;
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
        sum.settle();
        let place = [self.n, sum.nan, sum.infinite, sum.negative_infinite, sum.first as i64];
        // As many digits as all of them, one less, are written with a zero: see `restore`.
        let zero = (sum.digits.len() == DIGITS - 1).then_some(0);
        place.into_iter().chain(sum.digits).chain(zero).map(FieldValue::Integer).collect()
    }
    fn restore(&mut self, values: &[FieldValue]) -> Result<(), String> {
        let numbers: Vec<i64> = values.iter().filter_map(FieldValue::as_i64).collect();
        let [n, nan, infinite, negative_infinite, rest @ ..] = numbers.as_slice() else {
            return Err("an exact sum without its counts".into());
        };
        let (first, digits) = match rest {
            // What older programs wrote: all digits, from the first.
            all if all.len() == DIGITS => (0, all),
            [first, digits @ ..] if (0..=DIGITS as i64 + 1 - digits.len() as i64).contains(first) => {
                (*first as usize, digits)
            }
            _ => return Err(format!("an exact sum of {} digits", rest.len())),
        };
        self.sum = ExactSum {
            first,
            digits: digits.iter().copied().take(DIGITS - first).collect(),
            pending: 1,
            nan: *nan,
            infinite: *infinite,
            negative_infinite: *negative_infinite,
        };
        // As it would be written again.
        self.sum.settle();
        self.n = *n;
        Ok(())
    }
    fn boxed_clone(&self) -> Box<dyn AggregateState> {
        Box::new(self.clone())
    }
    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.sum.digits.capacity() * 8
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
    fn few_digits_give_what_all_of_them_give() {
        let mut state = 42u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 11
        };
        let mut few = 0;
        for _ in 0..4000 {
            let mut sum = ExactSum::default();
            // Of one magnitude, with more and more beside it.
            let (from, spread) = (random() % 2000, 1 + random() % 90);
            for _ in 0..1 + random() % 20 {
                let exponent = (from + random() % spread).min(2046);
                let x = f64::from_bits(exponent << 52 | random() & ((1 << 52) - 1));
                sum.add(if random() % 2 == 0 { x } else { -x }, 1);
            }
            let (digits, negative) = sum.magnitude_digits();
            let (window, lowest) = window(&digits);
            assert_eq!(sum.value().to_bits(), scaled(window, lowest, negative).to_bits(), "{sum:?}");
            few += usize::from(sum.few_digits().is_some());
        }
        assert!((500..3900).contains(&few), "{few} of 4,000 take the short way");
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

    #[test]
    fn sums_of_parts_are_the_sum_of_all_and_come_back_from_a_snapshot() {
        let parts: [&[f64]; 4] =
            [&[1e300, -0.1, 5e-324], &[f64::NAN, 7.5], &[-1e300, 1e-300], &[0.1, f64::INFINITY, -1e308]];
        let state = |values: &[f64]| {
            let mut state = ExactFloat::new(false);
            values.iter().for_each(|x| state.update(&[&FieldValue::Float(*x)]));
            state
        };
        let again = |state: &ExactFloat| {
            let mut read = ExactFloat::new(false);
            read.restore(&state.to_values()).unwrap();
            assert_eq!(read.to_values(), state.to_values());
            read
        };
        let mut whole = state(&[]);
        for part in parts {
            whole.merge(&again(&state(part)));
            whole = again(&whole);
        }
        whole.unmerge(&state(parts[1]));
        assert_eq!(whole.finish().unwrap(), FieldValue::Float(f64::INFINITY));
        whole.unmerge(&state(parts[3]));
        assert_eq!(whole.finish().unwrap(), FieldValue::Float(sum(&[-0.1, 1e-300])));
        whole.unmerge(&state(parts[2]));
        whole.unmerge(&state(&[1e300, 5e-324]));
        assert_eq!(whole.finish().unwrap(), FieldValue::Float(-0.1));
        // What older programs wrote: all digits, two's complement at the end.
        let mut old = vec![FieldValue::Integer(1), 0.into(), 0.into(), 0.into()];
        old.extend((0..DIGITS).map(|i| FieldValue::Integer(if i == DIGITS - 1 { -1 } else { 0xffff_ffff })));
        let mut read = ExactFloat::new(false);
        read.restore(&old).unwrap();
        assert_eq!(read.finish().unwrap(), FieldValue::Float(-5e-324));
    }
}
