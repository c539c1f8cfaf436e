//! Integers, floats and decimals, exact in both directions.

use rust_decimal::Decimal;

use super::short_number;

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Reads `[+-]digits` within 64 bits.
#[inline]
pub fn parse_i64(text: &str) -> Option<i64> {
    match short_number(text.as_bytes()) {
        Some(n) if n.fraction == 0 && !text.ends_with('.') => {
            let digits = i64::from(n.digits);
            Some(if n.negative { -digits } else { digits })
        }
        _ => text.parse().ok(),
    }
}

/// The parts of `[+-]digits[.digits][e[+-]digits]`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Parts {
    negative: bool,
    /// All digits without the point; meaningless if there are more than 38 of them.
    mantissa: u128,
    /// Digits of the mantissa without leading zeros.
    digits: u32,
    /// The value is `mantissa * 10^exponent`.
    exponent: i64,
}

fn parts(text: &[u8]) -> Option<Parts> {
    let (negative, mut rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    // Up to 19 digits the number is built in 64 bits, which is much faster.
    let (mut short, mut mantissa) = (0u64, 0u128);
    let (mut digits, mut exponent, mut seen, mut point) = (0u32, 0i64, false, false);
    while let [b, tail @ ..] = rest {
        match b {
            b'0'..=b'9' => {
                seen = true;
                if digits > 0 || *b != b'0' {
                    digits += 1;
                    if digits <= 19 {
                        short = short.wrapping_mul(10).wrapping_add(u64::from(b - b'0'));
                        mantissa = short.into();
                    } else {
                        mantissa = mantissa.wrapping_mul(10).wrapping_add(u128::from(b - b'0'));
                    }
                }
                exponent -= i64::from(point);
            }
            b'.' if !point => point = true,
            b'e' | b'E' if seen => {
                // Beyond this many digits the exponent is out of every range; it must still be digits.
                let (sign, tail) = match tail {
                    [b'-', tail @ ..] => (-1, tail),
                    [b'+', tail @ ..] => (1, tail),
                    _ => (1, tail),
                };
                if tail.is_empty() || !tail.iter().all(u8::is_ascii_digit) {
                    return None;
                }
                let e = tail.iter().fold(0i64, |e, b| (e * 10 + i64::from(b - b'0')).min(1_000_000_000));
                exponent += sign * e;
                rest = &[];
                continue;
            }
            _ => return None,
        }
        rest = tail;
    }
    seen.then_some(Parts { negative, mantissa, digits, exponent })
}

/// Reads a decimal number with optional fraction and exponent, or `NaN`, `Infinity`, `inf` with sign and in any case.
/// A number too large for a double is refused, one too small for it is zero.
#[inline]
pub fn parse_f64(text: &str) -> Option<f64> {
    if let Some(n) = short_number(text.as_bytes()) {
        let v = f64::from(n.digits) / POWERS.get(n.fraction as usize)?;
        return Some(if n.negative { -v } else { v });
    }
    parse_long_f64(text)
}

fn parse_long_f64(text: &str) -> Option<f64> {
    let Some(p) = parts(text.as_bytes()) else { return parse_special(text) };
    // Clinger's fast path: both factors are exact, so that one rounding gives the nearest double.
    if p.digits <= 15 && (-22..=22).contains(&p.exponent) {
        let power = POWERS.get(p.exponent.unsigned_abs() as usize)?;
        let m = p.mantissa as u64 as f64;
        let v = if p.exponent < 0 { m / power } else { m * power };
        return Some(if p.negative { -v } else { v });
    }
    text.parse().ok().filter(|v: &f64| v.is_finite())
}

fn parse_special(text: &str) -> Option<f64> {
    let (negative, word) = match text.as_bytes() {
        [b'-', ..] => (true, text.get(1..)?),
        [b'+', ..] => (false, text.get(1..)?),
        _ => (false, text),
    };
    if word.eq_ignore_ascii_case("nan") {
        return Some(f64::NAN);
    }
    let infinite = word.eq_ignore_ascii_case("infinity") || word.eq_ignore_ascii_case("inf");
    infinite.then_some(if negative { f64::NEG_INFINITY } else { f64::INFINITY })
}

/// Reads a decimal number with optional fraction and exponent, exactly: its scale is the number of digits after the
/// point that are written (less the exponent). `None` also if more than 28 digits would be needed; zeros at
/// the end of a fraction are dropped before that.
pub fn parse_decimal(text: &str) -> Option<Decimal> {
    if let Some(n) = short_number(text.as_bytes()) {
        return Some(Decimal::from_parts(n.digits, 0, 0, n.negative && n.digits != 0, n.fraction));
    }
    parse_long_decimal(text)
}

fn parse_long_decimal(text: &str) -> Option<Decimal> {
    let p = parts(text.as_bytes())?;
    if p.digits > 38 {
        return None;
    }
    let (mut mantissa, mut digits, mut exponent) = (p.mantissa, p.digits, p.exponent);
    if mantissa == 0 {
        return Some(Decimal::new(0, exponent.min(0).unsigned_abs().min(28) as u32));
    }
    while (digits > 28 || exponent < -28) && exponent < 0 && mantissa.is_multiple_of(10) {
        (mantissa, digits, exponent) = (mantissa / 10, digits - 1, exponent + 1);
    }
    if exponent > 0 {
        if i64::from(digits) + exponent > 28 {
            return None;
        }
        mantissa *= 10u128.pow(exponent as u32);
        exponent = 0;
    }
    if digits > 28 || exponent < -28 {
        return None;
    }
    let signed = if p.negative { -(mantissa as i128) } else { mantissa as i128 };
    Decimal::try_from_i128_with_scale(signed, exponent.unsigned_abs() as u32).ok()
}

/// Writes an integer.
#[inline]
pub fn write_i64(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes the shortest text that reads back as the same double: `1.0`, `0.1`, `1e21`, `-0.0`; what is no number as
/// `NaN`, `Infinity`, `-Infinity` without quotes (formats that have no such literals add them).
#[inline]
pub fn write_f64(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        out.extend_from_slice(if value < 0.0 { b"-Infinity" } else { b"Infinity" });
    }
}

/// The same for a REAL, which is a double inside: the shortest text that reads back as the same 32-bit float, `0.1` instead
/// of `0.10000000149011612`. A value that is not a 32-bit float is written in full.
#[inline]
pub fn write_f32(value: f64, out: &mut Vec<u8>) {
    let narrow = value as f32;
    if value.is_finite() && f64::from(narrow) == value {
        out.extend_from_slice(ryu::Buffer::new().format_finite(narrow).as_bytes());
    } else {
        write_f64(value, out);
    }
}

/// Writes a decimal with all digits of its scale: `1.50`, `0.000`, `-12`.
pub fn write_decimal(value: &Decimal, out: &mut Vec<u8>) {
    let mantissa = value.mantissa();
    let scale = value.scale() as usize;
    if mantissa < 0 {
        out.push(b'-');
    }
    let magnitude = mantissa.unsigned_abs();
    let mut buffer = itoa::Buffer::new();
    let digits = match u64::try_from(magnitude) {
        Ok(small) => buffer.format(small),
        Err(_) => buffer.format(magnitude),
    };
    let whole = digits.len().saturating_sub(scale);
    let (before, after) = digits.as_bytes().split_at_checked(whole).unwrap_or((&[], digits.as_bytes()));
    out.extend_from_slice(if before.is_empty() { b"0" } else { before });
    if scale > 0 {
        out.push(b'.');
        out.resize(out.len() + scale.saturating_sub(after.len()), b'0');
        out.extend_from_slice(after);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn f64_text(v: f64) -> String {
        let mut out = Vec::new();
        write_f64(v, &mut out);
        String::from_utf8(out).unwrap()
    }
    fn decimal_text(d: &Decimal) -> String {
        let mut out = Vec::new();
        write_decimal(d, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn floats_have_one_form() {
        for (v, text) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-0.0, "-0.0"),
            (1e21, "1e21"),
            (1e-7, "1e-7"),
            (f64::MAX, "1.7976931348623157e308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(f64_text(v), text);
            assert_eq!(parse_f64(text).map(f64::to_bits), Some(v.to_bits()));
        }
        assert_eq!(parse_f64("-inf"), Some(f64::NEG_INFINITY));
        assert_eq!(parse_f64("1e-999"), Some(0.0));
        for bad in ["", "-", ".", "1e", "1e+", "1.2.3", "0x10", "1_000", " 1", "1e400", "infinit", "+-1"] {
            assert_eq!(parse_f64(bad), None, "{bad}");
        }
    }

    #[test]
    fn decimals_keep_what_is_written() {
        for (text, want) in [
            ("1.50", "1.50"),
            ("-0.001", "-0.001"),
            ("+7", "7"),
            ("0.000", "0.000"),
            ("-0", "0"),
            ("1.5e3", "1500"),
            ("15e-3", "0.015"),
            ("1.50e1", "15.0"),
            ("9999999999999999999999999999", "9999999999999999999999999999"),
            ("0.9999999999999999999999999999", "0.9999999999999999999999999999"),
            ("1.0000000000000000000000000000000000", "1.000000000000000000000000000"),
        ] {
            assert_eq!(parse_decimal(text).map(|d| decimal_text(&d)).as_deref(), Some(want), "{text}");
        }
        for bad in
            ["", "1e28", "10000000000000000000000000000", "1e-29", "1e999999999999", "NaN", "1,5", "--1"]
        {
            assert_eq!(parse_decimal(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_double_round_trips(bits: u64) {
            let v = f64::from_bits(bits);
            if v.is_finite() {
                prop_assert_eq!(parse_f64(&f64_text(v)).map(f64::to_bits), Some(bits));
            }
        }

        #[test]
        fn numbers_read_as_the_standard_library_reads_them(text in "[+-]?[0-9]{0,20}(\\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?") {
            let reference = text.parse::<f64>().ok().filter(|v| v.is_finite());
            prop_assert_eq!(parse_f64(&text).map(f64::to_bits), reference.map(f64::to_bits));
        }

        #[test]
        fn short_ones_are_read_as_long_ones(text in "[+-]?[0-9]{0,5}(\\.[0-9]{0,4})?") {
            let bits = |v: Option<f64>| v.map(f64::to_bits);
            prop_assert_eq!(bits(parse_f64(&text)), bits(parse_long_f64(&text)));
            let parts = |d: Option<Decimal>| d.map(|d| d.serialize());
            prop_assert_eq!(parts(parse_decimal(&text)), parts(parse_long_decimal(&text)));
            prop_assert_eq!(parse_i64(&text), text.parse::<i64>().ok());
        }

        #[test]
        fn decimals_print_as_the_reference_prints_them(mantissa in -(10i128.pow(28) - 1)..10i128.pow(28), scale in 0u32..=28) {
            let d = Decimal::from_i128_with_scale(mantissa, scale);
            let text = decimal_text(&d);
            prop_assert_eq!(&text, &d.to_string());
            let back = parse_decimal(&text).unwrap();
            prop_assert_eq!((back.mantissa(), back.scale()), (mantissa, scale));
        }
    }
}
