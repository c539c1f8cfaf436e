//! Exact decimals: arithmetic at a given scale, rounded half away from zero, at most 28 digits.

use super::{division_by_zero, overflow};
use crate::expr::EvalResult;
use crate::record::Decimal;

/// One more than the largest mantissa.
const LIMIT: i128 = 10i128.pow(28);

/// An operator on DECIMAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(in crate::expr) enum DecimalOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl DecimalOp {
    /// The result with `scale` digits after the point.
    #[inline]
    pub(in crate::expr) fn apply(self, a: &Decimal, b: &Decimal, scale: u32) -> EvalResult<Decimal> {
        let mantissa = match self {
            DecimalOp::Add | DecimalOp::Subtract | DecimalOp::Modulo => {
                let x = rescaled(a.mantissa(), a.scale(), scale);
                let y = rescaled(b.mantissa(), b.scale(), scale);
                let (Some(x), Some(y)) = (x, y) else { return Err(overflow("DECIMAL")) };
                match self {
                    DecimalOp::Add => x.checked_add(y),
                    DecimalOp::Subtract => x.checked_sub(y),
                    _ if y == 0 => return Err(division_by_zero()),
                    _ => Some(x % y),
                }
            }
            DecimalOp::Multiply => product(a, b, scale),
            DecimalOp::Divide if b.is_zero() => return Err(division_by_zero()),
            DecimalOp::Divide => quotient(a, b, scale),
        };
        mantissa.and_then(|m| from_mantissa(m, scale)).ok_or_else(|| overflow("DECIMAL"))
    }
}

#[inline]
fn from_mantissa(mantissa: i128, scale: u32) -> Option<Decimal> {
    if mantissa.unsigned_abs() >= LIMIT.unsigned_abs() {
        return None;
    }
    Decimal::try_from_i128_with_scale(mantissa, scale).ok()
}

fn power(digits: u32) -> Option<i128> {
    10i128.checked_pow(digits)
}

/// The same number with another count of digits after the point, rounded half away from zero.
#[inline]
fn rescaled(mantissa: i128, from: u32, to: u32) -> Option<i128> {
    if from == to {
        return Some(mantissa);
    }
    if to > from { mantissa.checked_mul(power(to - from)?) } else { Some(shortened(mantissa, from - to)) }
}

/// Drops digits from the right.
fn shortened(mantissa: i128, digits: u32) -> i128 {
    let Some(unit) = power(digits) else { return 0 };
    let (q, r) = (mantissa / unit, mantissa % unit);
    if r.unsigned_abs() >= unit.unsigned_abs() - unit.unsigned_abs() / 2 { q + mantissa.signum() } else { q }
}

fn product(a: &Decimal, b: &Decimal, scale: u32) -> Option<i128> {
    // Zeros at the end may hide that a product of two long mantissas is a short number.
    let exact = a.mantissa().checked_mul(b.mantissa());
    match exact {
        Some(m) => rescaled(m, a.scale() + b.scale(), scale),
        None => {
            let (a, b) = (a.normalize(), b.normalize());
            rescaled(a.mantissa().checked_mul(b.mantissa())?, a.scale() + b.scale(), scale)
        }
    }
}

/// Long division, nine digits at a time: a remainder below 2^96 times 10^9 fits 128 bits.
fn quotient(a: &Decimal, b: &Decimal, scale: u32) -> Option<i128> {
    const STEP: u32 = 9;
    let (n, d) = (a.mantissa().unsigned_abs(), b.mantissa().unsigned_abs());
    let negative = (a.mantissa() < 0) != (b.mantissa() < 0);
    let (mut q, mut r) = (n / d, n % d);
    // Digits that the quotient of the mantissas still lacks; below zero it has too many.
    let mut missing = i64::from(scale) + i64::from(b.scale()) - i64::from(a.scale());
    if missing < 0 {
        let unit = power(missing.unsigned_abs() as u32)?.unsigned_abs();
        let divisor = d.checked_mul(unit)?;
        (q, r) = (n / divisor, n % divisor);
        let up = r >= divisor - r;
        return i128::try_from(q + u128::from(up)).ok().map(|q| if negative { -q } else { q });
    }
    while missing > 0 {
        let digits = (missing as u32).min(STEP);
        let unit = 10u128.pow(digits);
        let next = r * unit;
        q = q.checked_mul(unit)?.checked_add(next / d)?;
        if q >= LIMIT.unsigned_abs() {
            return None;
        }
        r = next % d;
        missing -= i64::from(digits);
    }
    let up = r >= d - r;
    i128::try_from(q + u128::from(up)).ok().map(|q| if negative { -q } else { q })
}

/// The number as DECIMAL(precision, scale), rounded half away from zero; `None` if it has too many digits.
pub(super) fn fit(d: &Decimal, precision: u8, scale: u8) -> Option<Decimal> {
    fit_mantissa(d.mantissa(), d.scale(), precision, scale)
}

fn fit_mantissa(mantissa: i128, from: u32, precision: u8, scale: u8) -> Option<Decimal> {
    let m = rescaled(mantissa, from, u32::from(scale))?;
    if m.unsigned_abs() >= power(u32::from(precision))?.unsigned_abs() {
        return None;
    }
    from_mantissa(m, u32::from(scale))
}

/// A double as PostgreSQL converts it: to `digits` significant digits first (15 for DOUBLE, 6 for REAL).
pub(super) fn from_f64(x: f64, digits: usize, precision: u8, scale: u8) -> Option<Decimal> {
    let written = format!("{x:.*e}", digits.saturating_sub(1));
    let (number, exponent) = written.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let mantissa: i128 = number.replace('.', "").parse().ok()?;
    // mantissa × 10^(exponent - digits + 1)
    let shift = exponent - digits as i32 + 1;
    if shift <= 0 {
        fit_mantissa(mantissa, shift.unsigned_abs(), precision, scale)
    } else {
        fit_mantissa(mantissa.checked_mul(power(shift.unsigned_abs())?)?, 0, precision, scale)
    }
}

/// Rounded half away from zero.
pub(super) fn to_i64(d: &Decimal) -> Option<i64> {
    i64::try_from(rescaled(d.mantissa(), d.scale(), 0)?).ok()
}

/// The nearest double: what reading the decimal's text gives.
pub(in crate::expr) fn decimal_to_f64(d: &Decimal) -> f64 {
    // Both are exact up to 2^53 and 10^22: one division rounds correctly.
    let (mantissa, scale) = (d.mantissa(), d.scale());
    if mantissa.unsigned_abs() < 1 << 53 && scale <= 22 {
        return mantissa as f64 / 10f64.powi(scale as i32);
    }
    let mut buffer = Vec::new();
    crate::record::text::write_decimal(d, &mut buffer);
    std::str::from_utf8(&buffer).ok().and_then(|t| t.parse().ok()).unwrap_or(f64::NAN)
}
