//! Exact decimals: arithmetic at a given scale, rounded half away from zero, at most 28 digits.

use crate::record::Decimal;

/// The nearest double: what reading the decimal's text gives.
pub(super) fn decimal_to_f64(d: &Decimal) -> f64 {
    // Both are exact up to 2^53 and 10^22: one division rounds correctly.
    let (mantissa, scale) = (d.mantissa(), d.scale());
    if mantissa.unsigned_abs() < 1 << 53 && scale <= 22 {
        return mantissa as f64 / 10f64.powi(scale as i32);
    }
    let mut buffer = Vec::new();
    crate::record::text::write_decimal(d, &mut buffer);
    std::str::from_utf8(&buffer).ok().and_then(|t| t.parse().ok()).unwrap_or(f64::NAN)
}
