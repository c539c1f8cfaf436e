//! Values and rows as keys: a total order and a hash that agree with SQL's equality, and tell apart what looks different.

use std::cmp::Ordering;
use std::hash::{BuildHasher, Hash, Hasher};

use crate::expr::compare_nulls_last;
use crate::record::FieldValue;

/// A value with a total order: NULL last, NaN before it, equal values by how they are written (`1.0` before `1.00`).
#[derive(Clone, Debug)]
pub(super) struct Key(pub(super) FieldValue);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Key {}
impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        total_order(&self.0, &other.0)
    }
}

/// The order of [`Key`].
pub(super) fn total_order(a: &FieldValue, b: &FieldValue) -> Ordering {
    compare_nulls_last(a, b).then_with(|| written(a, b))
}

/// Whether two values are equal and written alike.
pub(super) fn identical(a: &FieldValue, b: &FieldValue) -> bool {
    total_order(a, b).is_eq()
}

/// Order of equal values that are written in different ways.
fn written(a: &FieldValue, b: &FieldValue) -> Ordering {
    use FieldValue as V;
    match (a, b) {
        (V::Float(x), V::Float(y)) => y.is_sign_negative().cmp(&x.is_sign_negative()),
        (V::Decimal(x), V::Decimal(y)) => x.scale().cmp(&y.scale()),
        (V::Interval(x), V::Interval(y)) => (x.months, x.days, x.micros).cmp(&(y.months, y.days, y.micros)),
        (V::Array(x), V::Array(y)) => all_written(x.iter(), y.iter()),
        (V::Struct(x), V::Struct(y)) => all_written(x.values.iter(), y.values.iter()),
        (V::Map(x), V::Map(y)) => {
            let flat = |m: &[(V, V)]| m.iter().flat_map(|(k, v)| [k.clone(), v.clone()]).collect::<Vec<_>>();
            all_written(flat(x).iter(), flat(y).iter())
        }
        _ => Ordering::Equal,
    }
}

fn all_written<'a>(
    x: impl Iterator<Item = &'a FieldValue>,
    y: impl Iterator<Item = &'a FieldValue>,
) -> Ordering {
    x.zip(y).map(|(a, b)| written(a, b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}

/// Whether DISTINCT takes two values for one; NULL equals NULL.
pub(super) fn same(a: &FieldValue, b: &FieldValue) -> bool {
    compare_nulls_last(a, b) == Ordering::Equal
}

/// A hash that is equal for values that are [`same`], the same in every process.
pub(super) fn hash_of<'a>(values: impl IntoIterator<Item = &'a FieldValue>) -> u64 {
    let mut hasher = FIXED.build_hasher();
    for value in values {
        hash(value, &mut hasher);
    }
    hasher.finish()
}

const FIXED: std::hash::BuildHasherDefault<Mixer> = std::hash::BuildHasherDefault::new();

/// Multiply and fold, eight bytes at a time; finished by an avalanche, so that sketches may use any bits.
#[derive(Default)]
struct Mixer(u64);

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        let mut x = self.0;
        x ^= x >> 33;
        x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
        x ^= x >> 33;
        x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        x ^ x >> 33
    }
    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.write_u64(chunk.try_into().map_or(0, u64::from_le_bytes));
        }
        let mut last = [0u8; 8];
        for (to, from) in last.iter_mut().zip(chunks.remainder()) {
            *to = *from;
        }
        self.write_u64(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }
    fn write_u8(&mut self, x: u8) {
        self.write_u64(u64::from(x));
    }
    fn write_u64(&mut self, x: u64) {
        let product = u128::from(self.0.rotate_left(23) ^ x ^ 0x243f_6a88_85a3_08d3) * u128::from(FACTOR);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

fn hash(value: &FieldValue, to: &mut Mixer) {
    use FieldValue as V;
    match value {
        V::Null => to.write_u8(0),
        V::Boolean(b) => to.write_u8(1 + u8::from(*b)),
        V::Integer(i) | V::Time(i) | V::Timestamp(i) => to.write_u64(*i as u64),
        V::Date(d) => to.write_u64(i64::from(*d) as u64),
        // -0.0 equals 0.0, NaN equals NaN.
        V::Float(x) if x.is_nan() => to.write_u64(f64::NAN.to_bits()),
        V::Float(x) => to.write_u64((x + 0.0).to_bits()),
        V::Decimal(d) => d.normalize().hash(to),
        V::String(s) => to.write(s.as_bytes()),
        V::Json(s) => to.write(s.as_bytes()),
        V::Bytes(b) => to.write(b),
        // A month has 30 days, a day 24 hours, as in comparison.
        V::Interval(i) => {
            let days = i128::from(i.months) * 30 + i128::from(i.days);
            let micros = days * i128::from(crate::record::text::MICROS_PER_DAY) + i128::from(i.micros);
            to.write(&micros.to_le_bytes());
        }
        V::Array(items) => items.iter().for_each(|v| hash(v, to)),
        V::Struct(s) => s.values.iter().for_each(|v| hash(v, to)),
        // Entries in any order make the same map.
        V::Map(entries) => {
            to.write_u64(entries.iter().map(|(k, v)| hash_of([k, v])).fold(0, u64::wrapping_add))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Decimal, Interval};

    #[test]
    fn what_is_equal_hashes_alike_and_still_has_an_order() {
        let days = |months, days| FieldValue::Interval(Interval { months, days, micros: 0 });
        let pairs = [
            (FieldValue::Float(-0.0), FieldValue::Float(0.0)),
            (FieldValue::Float(f64::NAN), FieldValue::Float(-f64::NAN)),
            (FieldValue::Decimal(Decimal::new(10, 1)), FieldValue::Decimal(Decimal::new(1, 0))),
            (days(1, 0), days(0, 30)),
        ];
        for (a, b) in pairs {
            assert!(same(&a, &b), "{a:?} {b:?}");
            assert_eq!(hash_of([&a]), hash_of([&b]), "{a:?} {b:?}");
            assert_ne!(Key(a.clone()), Key(b.clone()), "{a:?} {b:?}");
        }
        assert_ne!(hash_of([&"ab".into(), &"c".into()]), hash_of([&"a".into(), &"bc".into()]));
        assert!(Key(FieldValue::Null) > Key(FieldValue::Float(f64::NAN)));
    }
}
