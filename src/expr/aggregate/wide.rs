//! A 128-bit sum that needs no more than the alignment of a word, and exact means of it.

use crate::expr::EvalResult;
use crate::expr::value::overflow;
use crate::record::{Decimal, FieldValue};

/// An `i128` aligned to 8 bytes, so that an accumulator stays at 32.
#[derive(Clone, Copy, Debug, Default)]
#[repr(Rust, packed(8))]
pub(super) struct Wide(i128);

impl Wide {
    pub(super) fn get(self) -> i128 {
        self.0
    }
    /// Sums of 64-bit integers can't leave 128 bits; sums of decimals would need 2^34 rows of the largest.
    #[inline]
    pub(super) fn add(&mut self, x: i128) {
        self.0 = self.0.saturating_add(x);
    }
    #[inline]
    pub(super) fn subtract(&mut self, x: i128) {
        self.0 = self.0.saturating_sub(x);
    }
    /// Upper and lower half, for a snapshot.
    pub(super) fn to_values(self) -> [FieldValue; 2] {
        [FieldValue::Integer((self.0 >> 64) as i64), FieldValue::Integer(self.0 as i64)]
    }
    pub(super) fn from_halves(high: i64, low: i64) -> Self {
        Self(i128::from(high) << 64 | i128::from(low as u64))
    }
}

/// The mantissa of a decimal at another scale; rounds half away from zero, saturates.
#[inline]
pub(super) fn mantissa_at(d: &Decimal, scale: u8) -> i128 {
    let (mantissa, from, to) = (d.mantissa(), d.scale(), u32::from(scale));
    if from == to {
        return mantissa;
    }
    if to > from {
        return mantissa.saturating_mul(10i128.saturating_pow(to - from));
    }
    divide_rounded(mantissa, 10i128.saturating_pow(from - to))
}

/// The quotient rounded half away from zero. `by` is positive.
fn divide_rounded(n: i128, by: i128) -> i128 {
    let (q, r) = (n / by, n % by);
    if r.unsigned_abs() >= by.unsigned_abs() - by.unsigned_abs() / 2 { q + n.signum() } else { q }
}

/// A DECIMAL of at most 28 digits.
pub(super) fn decimal(mantissa: i128, scale: u8) -> EvalResult<FieldValue> {
    const LIMIT: u128 = 10u128.pow(28);
    let fits = (mantissa.unsigned_abs() < LIMIT)
        .then(|| Decimal::try_from_i128_with_scale(mantissa, u32::from(scale)).ok());
    fits.flatten().map(FieldValue::Decimal).ok_or_else(|| overflow("DECIMAL"))
}

/// The mean of `n` decimals with `scale` digits, with up to six digits more.
pub(super) fn decimal_mean(sum: i128, n: i64, scale: u8) -> EvalResult<FieldValue> {
    let n = i128::from(n);
    let more = super::functions::mean_scale(scale) - scale;
    let unit = 10i128.pow(u32::from(more));
    // In two steps: the sum alone may be as long as 128 bits.
    let (whole, rest) = (sum / n, sum % n);
    match whole.checked_mul(unit) {
        Some(whole) => decimal(whole + divide_rounded(rest * unit, n), super::functions::mean_scale(scale)),
        None => Err(overflow("DECIMAL")),
    }
}

/// The mean of `n` integers, rounded once.
pub(super) fn integer_mean(sum: i128, n: i64) -> f64 {
    if sum == 0 {
        return 0.0;
    }
    // As many bits as there are: the quotient has at least 64, and what is left over only decides the rounding.
    let (magnitude, n) = (sum.unsigned_abs(), u128::from(n.unsigned_abs()));
    let shift = magnitude.leading_zeros();
    let shifted = magnitude << shift;
    let quotient = (shifted / n) | u128::from(shifted % n != 0);
    let mean = quotient as f64 * 0.5f64.powi(shift as i32);
    if sum < 0 { -mean } else { mean }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_of_integers_and_decimals() {
        assert_eq!(integer_mean(7, 2), 3.5);
        assert_eq!(integer_mean(i128::from(i64::MAX) * 3, 3), i64::MAX as f64);
        assert_eq!(integer_mean(-(1 << 60) - 1, 1), -((1u64 << 60) as f64));
        let mean = |sum, n, scale| decimal_mean(sum, n, scale).map(|v| crate::expr::to_text(&v));
        assert_eq!(mean(100, 3, 2).as_deref(), Ok("0.33333333"));
        assert_eq!(mean(-200, 3, 2).as_deref(), Ok("-0.66666667"));
        assert_eq!(mean(1, 2, 28).as_deref(), Ok("0.0000000000000000000000000001"));
        assert!(mean(10i128.pow(28), 1, 0).is_err());
        assert_eq!(mantissa_at(&Decimal::new(-15, 1), 0), -2);
        assert_eq!(mantissa_at(&Decimal::new(15, 1), 3), 1500);
    }
}
