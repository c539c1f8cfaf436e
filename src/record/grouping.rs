//! When GROUP BY and DISTINCT take two values for one, and a hash that agrees with it and is the same in every process.
//!
//! NULL equals NULL, `-0.0` equals `0.0`, NaN equals NaN, decimals and intervals are equal by value.

use std::hash::{Hash, Hasher};

use super::{FieldValue, Interval};

/// Whether two values of one type belong to the same group.
#[inline]
pub fn same_group(a: &FieldValue, b: &FieldValue) -> bool {
    use FieldValue as V;
    match (a, b) {
        (V::Integer(x), V::Integer(y)) | (V::Timestamp(x), V::Timestamp(y)) => x == y,
        (V::String(x), V::String(y)) => same_bytes(x.as_bytes(), y.as_bytes()),
        (V::Null, V::Null) => true,
        (V::Null, _) | (_, V::Null) => false,
        _ => same_rare(a, b),
    }
}

/// Whether texts are equal; short ones without a call.
#[inline]
fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    fn ends<const N: usize>(a: &[u8], b: &[u8]) -> bool {
        (a.first_chunk::<N>(), a.last_chunk::<N>()) == (b.first_chunk::<N>(), b.last_chunk::<N>())
    }
    a.len() == b.len()
        && match a.len() {
            8..=16 => ends::<8>(a, b),
            4..8 => ends::<4>(a, b),
            _ => a == b,
        }
}

fn same_rare(a: &FieldValue, b: &FieldValue) -> bool {
    use FieldValue as V;
    let all = |x: &[V], y: &[V]| x.len() == y.len() && x.iter().zip(y).all(|(a, b)| same_group(a, b));
    match (a, b) {
        (V::Float(x), V::Float(y)) => x == y || (x.is_nan() && y.is_nan()),
        (V::Decimal(x), V::Decimal(y)) => x == y,
        (V::Interval(x), V::Interval(y)) => interval_micros(x) == interval_micros(y),
        (V::Array(x), V::Array(y)) => all(x, y),
        (V::Struct(x), V::Struct(y)) => all(&x.values, &y.values),
        // Entries in any order make the same map; keys are unique.
        (V::Map(x), V::Map(y)) => {
            x.len() == y.len()
                && x.iter().all(|(k, v)| y.iter().any(|(l, w)| same_group(k, l) && same_group(v, w)))
        }
        _ => a == b,
    }
}

/// A hash that is equal for rows whose values are pairwise [`same_group`].
#[inline]
pub fn group_hash<'a>(values: impl IntoIterator<Item = &'a FieldValue>) -> u64 {
    let mut mixer = Mixer(0);
    for value in values {
        feed(value, &mut mixer);
    }
    mixer.finish()
}

/// Multiply and fold, eight bytes at a time, finished by an avalanche.
struct Mixer(u64);

impl Hasher for Mixer {
    #[inline]
    fn finish(&self) -> u64 {
        let x = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        x ^ (x >> 29)
    }
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (chunks, rest) = bytes.as_chunks::<8>();
        for chunk in chunks {
            self.write_u64(u64::from_le_bytes(*chunk));
        }
        // What is left, the first byte highest; read together with bytes before it.
        let last = match (bytes.last_chunk::<8>(), bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            (Some(eight), ..) => u64::from_be_bytes(*eight) & ((1 << (8 * rest.len())) - 1),
            (_, Some(front), Some(back)) => {
                let more = 8 * (bytes.len() - 4);
                let back = u64::from(u32::from_be_bytes(*back)) & ((1 << more) - 1);
                u64::from(u32::from_be_bytes(*front)) << more | back
            }
            _ => rest.iter().fold(0, |last, byte| last << 8 | u64::from(*byte)),
        };
        self.write_u64(last ^ (bytes.len() as u64) << 56);
    }
    #[inline]
    fn write_u64(&mut self, x: u64) {
        let product = u128::from(self.0.rotate_left(23) ^ x ^ 0x243f_6a88_85a3_08d3)
            * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

#[inline]
fn feed(value: &FieldValue, to: &mut Mixer) {
    use FieldValue as V;
    match value {
        V::Integer(i) | V::Time(i) | V::Timestamp(i) => to.write_u64(*i as u64),
        V::String(s) => to.write(s.as_bytes()),
        V::Null => to.write_u64(0x6e75_6c6c),
        _ => feed_rare(value, to),
    }
}

fn feed_rare(value: &FieldValue, to: &mut Mixer) {
    use FieldValue as V;
    match value {
        V::Null | V::Integer(_) | V::Time(_) | V::Timestamp(_) | V::String(_) => feed(value, to),
        V::Boolean(b) => to.write_u64(1 + u64::from(*b)),
        V::Date(d) => to.write_u64(i64::from(*d) as u64),
        V::Float(x) if x.is_nan() => to.write_u64(f64::NAN.to_bits()),
        V::Float(x) => to.write_u64((x + 0.0).to_bits()),
        V::Decimal(d) => d.normalize().hash(to),
        V::Json(s) => to.write(s.as_bytes()),
        V::Bytes(b) => to.write(b),
        V::Interval(i) => to.write(&interval_micros(i).to_le_bytes()),
        V::Array(items) => items.iter().for_each(|v| feed(v, to)),
        V::Struct(s) => s.values.iter().for_each(|v| feed(v, to)),
        V::Map(entries) => {
            to.write_u64(entries.iter().map(|(k, v)| group_hash([k, v])).fold(0, u64::wrapping_add));
        }
    }
}

/// A month has 30 days, a day 24 hours, as in comparison.
fn interval_micros(i: &Interval) -> i128 {
    let days = i128::from(i.months) * 30 + i128::from(i.days);
    days * i128::from(super::text::MICROS_PER_DAY) + i128::from(i.micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Decimal;

    #[test]
    fn bytes_are_mixed_eight_at_a_time_and_compared_all() {
        for len in 0..40usize {
            let bytes: Vec<u8> = (0..len).map(|i| (i as u8).wrapping_mul(91).wrapping_add(7)).collect();
            let (mut fast, mut plain) = (Mixer(0), Mixer(0));
            fast.write(&bytes);
            let (chunks, rest) = bytes.as_chunks::<8>();
            chunks.iter().for_each(|c| plain.write_u64(u64::from_le_bytes(*c)));
            let last = rest.iter().fold(0, |last, byte| last << 8 | u64::from(*byte));
            plain.write_u64(last ^ (len as u64) << 56);
            assert_eq!(fast.finish(), plain.finish(), "{len} bytes");
            assert!(same_bytes(&bytes, &bytes.clone()));
            for at in 0..len {
                let mut other = bytes.clone();
                other[at] ^= 1;
                assert!(!same_bytes(&bytes, &other), "{len} bytes, at {at}");
            }
        }
    }

    #[test]
    fn what_is_equal_hashes_alike_in_every_process() {
        let interval = |months, days| FieldValue::Interval(Interval { months, days, micros: 0 });
        let pairs = [
            (FieldValue::Null, FieldValue::Null),
            (FieldValue::Float(-0.0), FieldValue::Float(0.0)),
            (FieldValue::Float(f64::NAN), FieldValue::Float(-f64::NAN)),
            (FieldValue::Decimal(Decimal::new(10, 1)), FieldValue::Decimal(Decimal::new(100, 2))),
            (interval(1, 0), interval(0, 30)),
        ];
        for (a, b) in &pairs {
            assert!(same_group(a, b), "{a:?} {b:?}");
            assert_eq!(group_hash([a]), group_hash([b]), "{a:?} {b:?}");
        }
        let different: [(FieldValue, FieldValue); 4] = [
            (FieldValue::Null, 0i64.into()),
            (FieldValue::Null, "".into()),
            ("a".into(), "b".into()),
            (Decimal::new(11, 1).into(), Decimal::new(1, 0).into()),
        ];
        for (a, b) in &different {
            assert!(!same_group(a, b), "{a:?} {b:?}");
            assert_ne!(group_hash([a]), group_hash([b]), "{a:?} {b:?}");
        }
        assert_ne!(group_hash([&"ab".into(), &"c".into()]), group_hash([&"a".into(), &"bc".into()]));
        // Fixed: snapshots are cut by it.
        assert_eq!(group_hash([&FieldValue::Integer(42)]), group_hash([&FieldValue::Integer(42)]));
    }

    #[test]
    fn neighbours_spread_over_key_groups() {
        let mut groups = [0u32; 128];
        (0..12_800i64).for_each(|n| groups[(group_hash([&n.into()]) >> 32) as usize % 128] += 1);
        assert!(groups.iter().all(|n| (40..200).contains(n)), "{groups:?}");
    }
}
