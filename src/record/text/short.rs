//! Numbers of at most eight characters, read as one word: no branch depends on how many digits there are.

/// `[+-]digits[.digits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortNumber {
    /// It has a minus sign.
    pub negative: bool,
    /// All digits without the point.
    pub digits: u32,
    /// How many of them follow the point.
    pub fraction: u32,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The bytes of a word, the first lowest; zeros behind them.
#[inline(always)]
fn word(bytes: &[u8]) -> Option<u64> {
    let len = bytes.len();
    if let (Some(front), Some(back)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // They overlap where there are fewer than eight.
        let (front, back) = (u32::from_le_bytes(*front), u32::from_le_bytes(*back));
        return (len <= 8).then(|| u64::from(front) | u64::from(back) << (8 * (len - 4)));
    }
    let [first, .., last] = bytes else { return bytes.first().map(|b| u64::from(*b)) };
    let middle = bytes.get(len / 2).map_or(0, |b| u64::from(*b));
    Some(u64::from(*first) | middle << (8 * (len / 2)) | u64::from(*last) << (8 * (len - 1)))
}

/// Reads a short number; `None`: it is longer, or no number of that form.
#[inline]
pub fn short_number(bytes: &[u8]) -> Option<ShortNumber> {
    let word = word(bytes)?;
    let first = word as u8;
    let signed = u32::from(first == b'-' || first == b'+');
    // From here on a digit is its value; a sign is a leading zero.
    let mut digits = (word ^ (ONES * u64::from(b'0'))) & !(0xff * u64::from(signed));
    let mut len = bytes.len() as u32;
    let points = word ^ (ONES * u64::from(b'.'));
    // The lowest bit set is that of the first point; those above it may be wrong.
    let points = points.wrapping_sub(ONES) & !points & HIGHS;
    let mut fraction = 0;
    if points != 0 {
        let at = points.trailing_zeros() & !7;
        let before = (1u64 << at) - 1;
        digits = (digits & before) | (digits >> 8 & !before);
        len -= 1;
        fraction = len.wrapping_sub(at / 8);
    }
    if len <= signed {
        return None;
    }
    // Leading zeros up to eight digits; what was behind them goes away.
    let mut n = digits << (8 * (8 - len));
    if ((n.wrapping_add(ONES * 0x76)) | n) & HIGHS != 0 {
        return None;
    }
    // Pairs, fours, eight: D. Lemire, "Quickly parsing eight digits".
    n = n.wrapping_mul(10).wrapping_add(n >> 8);
    let low = (n & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let high = (n >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    Some(ShortNumber { negative: first == b'-', digits: (low.wrapping_add(high) >> 32) as u32, fraction })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same character by character.
    fn plainly(bytes: &[u8]) -> Option<ShortNumber> {
        let (negative, rest) = match bytes {
            [sign @ (b'-' | b'+'), rest @ ..] => (*sign == b'-', rest),
            _ => (false, bytes),
        };
        let (mut n, mut seen, mut fraction, mut point) = (0u32, false, 0, false);
        for b in rest {
            match b {
                b'0'..=b'9' => {
                    (n, seen) = (n * 10 + u32::from(b - b'0'), true);
                    fraction += u32::from(point);
                }
                b'.' if !point => point = true,
                _ => return None,
            }
        }
        seen.then_some(ShortNumber { negative, digits: n, fraction })
    }

    proptest! {
        #[test]
        fn it_reads_what_a_plain_loop_reads(text in prop_oneof![
            "[+-]?[0-9]{0,8}(\\.[0-9]{0,7})?",
            "[-+.0-9/:e ]{0,8}",
            proptest::collection::vec(any::<u8>(), 0..9).prop_map(|b| b.iter().map(|b| char::from(*b)).collect()),
        ]) {
            let bytes = text.as_bytes();
            let expected = if bytes.len() <= 8 { plainly(bytes) } else { None };
            prop_assert_eq!(short_number(bytes), expected, "{:?}", text);
        }
    }

    #[test]
    fn every_byte_is_looked_at() {
        for len in 1..=8 {
            for at in 0..len {
                for byte in 0..=255u8 {
                    let mut bytes = vec![b'7'; len];
                    bytes[at] = byte;
                    assert_eq!(short_number(&bytes), plainly(&bytes), "{bytes:?}");
                    for point in 0..len {
                        bytes.fill(b'4');
                        (bytes[point], bytes[at]) = (b'.', byte);
                        assert_eq!(short_number(&bytes), plainly(&bytes), "{bytes:?}");
                    }
                }
            }
        }
    }
}
