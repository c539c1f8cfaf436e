//! Numbers as they mostly are, short and without exponent, read in one pass. `None` means: look properly.

use crate::record::Decimal;

/// Digits from `pos` on, appended to `n`: the number (wrapped if there are more than 19 digits) and the end.
#[inline(always)]
fn digits(bytes: &[u8], mut pos: usize, mut n: u64) -> (u64, usize) {
    while let Some(d) = bytes.get(pos).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10) {
        n = n.wrapping_mul(10).wrapping_add(u64::from(d));
        pos += 1;
    }
    (n, pos)
}

/// An integer of at most 18 digits without fraction and exponent.
#[inline(always)]
pub(super) fn short_integer(bytes: &[u8], pos: usize) -> Option<(i64, usize)> {
    let negative = bytes.get(pos) == Some(&b'-');
    let start = pos + usize::from(negative);
    let (n, end) = digits(bytes, start, 0);
    let length = end - start;
    if length == 0 || length > 18 || (length > 1 && bytes.get(start) == Some(&b'0')) {
        return None;
    }
    if let Some(b'.' | b'e' | b'E') = bytes.get(end) {
        return None;
    }
    Some((if negative { -(n as i64) } else { n as i64 }, end))
}

/// Powers of ten that divide a number of 15 digits with one rounding.
const POWERS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Digits, perhaps with a point and more digits, and no exponent.
struct Plain {
    negative: bool,
    /// All digits without the point.
    digits: u64,
    /// How many; at most 18.
    length: usize,
    /// How many of them follow the point.
    fraction: usize,
    end: usize,
}

#[inline(always)]
fn plain(bytes: &[u8], pos: usize) -> Option<Plain> {
    let negative = bytes.get(pos) == Some(&b'-');
    let start = pos + usize::from(negative);
    let (mut n, mut end) = digits(bytes, start, 0);
    let whole = end - start;
    if whole == 0 || (whole > 1 && bytes.get(start) == Some(&b'0')) {
        return None;
    }
    let mut fraction = 0;
    if bytes.get(end) == Some(&b'.') {
        let point = end;
        (n, end) = digits(bytes, point + 1, n);
        fraction = end - point - 1;
        if fraction == 0 {
            return None;
        }
    }
    if whole + fraction > 18 {
        return None;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        return None;
    }
    Some(Plain { negative, digits: n, length: whole + fraction, fraction, end })
}

/// A number of at most 15 digits: both parts of the quotient are exact, so it is the nearest double.
#[inline(always)]
pub(super) fn short_double(bytes: &[u8], pos: usize) -> Option<(f64, usize)> {
    let p = plain(bytes, pos).filter(|p| p.length <= 15)?;
    let v = p.digits as f64 / POWERS.get(p.fraction)?;
    Some((if p.negative { -v } else { v }, p.end))
}

/// A number that fits DECIMAL(precision, scale) and has no more digits after the point than that.
#[inline(always)]
pub(super) fn short_decimal(bytes: &[u8], pos: usize, precision: u8, scale: u8) -> Option<(Decimal, usize)> {
    let p = plain(bytes, pos)?;
    let missing = usize::from(scale).checked_sub(p.fraction)?;
    if p.length + missing > 18 {
        return None;
    }
    let n = p.digits as i64 * 10i64.pow(missing as u32);
    if p.length + missing > precision.into() && n >= 10i64.checked_pow(precision.into())? {
        return None;
    }
    Some((Decimal::new(if p.negative { -n } else { n }, scale.into()), p.end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_read_shortly_is_right(text in "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{1,10})?(e1)?", precision in 1u8..=28, scale in 0u8..10) {
            let bytes = text.as_bytes();
            if let Some((n, end)) = short_integer(bytes, 0) {
                prop_assert_eq!((Ok(n), end), (text.parse::<i64>(), text.len()));
            }
            if let Some((v, end)) = short_double(bytes, 0) {
                prop_assert_eq!((v.to_bits(), end), (text.parse::<f64>().unwrap().to_bits(), text.len()));
            }
            if let Some((d, end)) = short_decimal(bytes, 0, precision, scale) {
                let exact: Decimal = text.parse().unwrap();
                prop_assert_eq!((d, end), (exact, text.len()));
                prop_assert_eq!(d.scale(), u32::from(scale));
                prop_assert!(d.mantissa().unsigned_abs() < 10u128.pow(precision.into()));
            }
        }
    }
}
