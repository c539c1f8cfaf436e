//! Approximate answers in bounded memory: HyperLogLog for distinct values, DDSketch for percentiles. Both are
//! deterministic and merge associatively; their states are small enough to be written into snapshots as they are.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};

use super::key::hash_of;
use super::moments::as_double;
use super::{AggregateState, Combine};
use crate::expr::EvalResult;
use crate::expr::value::failed;
use crate::record::{ErrorCode, FieldValue};

/// 2^14 registers: a standard error of 0.81 %.
const PRECISION: u32 = 14;
const REGISTERS: usize = 1 << PRECISION;
/// So many hashes are kept exactly before registers take their place.
const SPARSE: usize = 1024;

/// HyperLogLog with Ertl's improved estimator; exact as long as there are few values.
#[derive(Clone, Debug)]
pub(super) enum HyperLogLog {
    Sparse(BTreeSet<u64>),
    Dense(Box<[u8]>),
}

impl Default for HyperLogLog {
    fn default() -> Self {
        Self::Sparse(BTreeSet::new())
    }
}

impl HyperLogLog {
    pub(super) fn insert(&mut self, hash: u64) {
        match self {
            Self::Sparse(hashes) => {
                hashes.insert(hash);
                if hashes.len() > SPARSE {
                    self.densify();
                }
            }
            Self::Dense(registers) => {
                let rank = ((hash << PRECISION).leading_zeros() + 1).min(65 - PRECISION) as u8;
                if let Some(register) = registers.get_mut((hash >> (64 - PRECISION)) as usize) {
                    *register = rank.max(*register);
                }
            }
        }
    }

    fn densify(&mut self) {
        if let Self::Sparse(hashes) = self {
            let hashes = std::mem::take(hashes);
            *self = Self::Dense(vec![0; REGISTERS].into());
            hashes.into_iter().for_each(|h| self.insert(h));
        }
    }

    pub(super) fn estimate(&self) -> u64 {
        let registers = match self {
            Self::Sparse(hashes) => return hashes.len() as u64,
            Self::Dense(registers) => registers,
        };
        const Q: usize = 64 - PRECISION as usize;
        let mut counts = [0u32; Q + 2];
        for register in registers {
            if let Some(count) = counts.get_mut(usize::from(*register)) {
                *count += 1;
            }
        }
        let m = REGISTERS as f64;
        let [zeros, middle @ .., full] = counts;
        let mut z = m * tau(1.0 - f64::from(full) / m);
        for count in middle.iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += m * sigma(f64::from(zeros) / m);
        (m * m / (2.0 * std::f64::consts::LN_2 * z)).round() as u64
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

impl AggregateState for HyperLogLog {
    fn update(&mut self, args: &[&FieldValue]) {
        if let [value, ..] = args {
            self.insert(hash_of([*value]));
        }
    }
    fn combine(&self) -> Option<Combine> {
        Some(Combine::Gather)
    }
    fn takes_back(&self) -> bool {
        false
    }
    fn retract(&mut self, _: &[&FieldValue]) {}
    fn merge(&mut self, other: &dyn AggregateState) {
        match other.as_any().downcast_ref::<Self>() {
            Some(Self::Sparse(hashes)) => hashes.iter().for_each(|h| self.insert(*h)),
            Some(Self::Dense(theirs)) => {
                self.densify();
                if let Self::Dense(ours) = self {
                    ours.iter_mut().zip(theirs).for_each(|(a, b)| *a = (*a).max(*b));
                }
            }
            None => {}
        }
    }
    fn finish(&self) -> EvalResult<FieldValue> {
        Ok(FieldValue::Integer(self.estimate() as i64))
    }
    fn to_values(&self) -> Vec<FieldValue> {
        match self {
            Self::Sparse(hashes) => hashes.iter().map(|h| FieldValue::Integer(*h as i64)).collect(),
            Self::Dense(registers) => vec![FieldValue::from(&**registers)],
        }
    }
    fn restore(&mut self, values: &[FieldValue]) -> Result<(), String> {
        if let [FieldValue::Bytes(registers)] = values {
            if registers.len() != REGISTERS {
                return Err(format!("a sketch of {} registers", registers.len()));
            }
            *self = Self::Dense((**registers).into());
            return Ok(());
        }
        values.iter().filter_map(FieldValue::as_i64).for_each(|h| self.insert(h as u64));
        Ok(())
    }
    fn boxed_clone(&self) -> Box<dyn AggregateState> {
        Box::new(self.clone())
    }
    fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Sparse(hashes) => hashes.len() * 12,
                Self::Dense(_) => REGISTERS,
            }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Relative error of a percentile.
const ACCURACY: f64 = 0.01;
const GAMMA: f64 = (1.0 + ACCURACY) / (1.0 - ACCURACY);
/// Buckets of the values that have none: `-∞`, 0, `∞`, NaN; the others are `±(index + OFFSET)`.
const OFFSET: i64 = 1 << 20;
const INFINITE: i64 = 1 << 22;
const NOT_A_NUMBER: i64 = INFINITE + 1;

/// DDSketch: counts of values in buckets whose bounds grow by a factor, so that every percentile is off by at most 1 %.
/// At most some 140,000 buckets, as many as doubles have.
#[derive(Clone, Debug)]
pub(super) struct DdSketch {
    /// In the order of the values.
    buckets: BTreeMap<i64, i64>,
    n: i64,
    fraction: f64,
}

fn bucket(x: f64) -> i64 {
    if x.is_nan() {
        return NOT_A_NUMBER;
    }
    if x == 0.0 {
        return 0;
    }
    let magnitude =
        if x.is_infinite() { INFINITE } else { (x.abs().ln() / GAMMA.ln()).ceil() as i64 + OFFSET };
    if x < 0.0 { -magnitude } else { magnitude }
}

fn representative(bucket: i64) -> f64 {
    let magnitude = match bucket.abs() {
        0 => return 0.0,
        NOT_A_NUMBER => return f64::NAN,
        INFINITE => f64::INFINITY,
        index => {
            let upper = (index - OFFSET) as f64 * GAMMA.ln();
            // The largest bucket may end beyond the largest double.
            (upper.exp() * (2.0 / (1.0 + GAMMA))).min(f64::MAX)
        }
    };
    if bucket < 0 { -magnitude } else { magnitude }
}

impl DdSketch {
    /// A NaN for a fraction that is NULL.
    pub(super) fn new(fraction: f64) -> Self {
        Self { buckets: BTreeMap::new(), n: 0, fraction }
    }
    fn add(&mut self, x: f64, n: i64) {
        let bucket = bucket(x);
        let count = self.buckets.entry(bucket).or_default();
        *count += n;
        if *count <= 0 {
            self.buckets.remove(&bucket);
        }
        self.n += n;
    }
}

impl AggregateState for DdSketch {
    fn update(&mut self, args: &[&FieldValue]) {
        if let Some(x) = args.first().and_then(|v| as_double(v)) {
            self.add(x, 1);
        }
    }
    fn retract(&mut self, args: &[&FieldValue]) {
        if let Some(x) = args.first().and_then(|v| as_double(v)) {
            self.add(x, -1);
        }
    }
    fn merge(&mut self, other: &dyn AggregateState) {
        if let Some(other) = other.as_any().downcast_ref::<Self>().filter(|o| o.n > 0) {
            for (bucket, n) in &other.buckets {
                *self.buckets.entry(*bucket).or_default() += n;
            }
            self.n += other.n;
        }
    }
    fn combine(&self) -> Option<Combine> {
        Some(Combine::Running)
    }
    fn unmerge(&mut self, other: &dyn AggregateState) {
        let Some(other) = other.as_any().downcast_ref::<Self>() else { return };
        for (bucket, n) in &other.buckets {
            if let Some(count) = self.buckets.get_mut(bucket) {
                *count -= n;
                if *count <= 0 {
                    self.buckets.remove(bucket);
                }
            }
        }
        self.n -= other.n;
    }
    fn finish(&self) -> EvalResult<FieldValue> {
        if self.n <= 0 || self.fraction.is_nan() {
            return Ok(FieldValue::Null);
        }
        if !(0.0..=1.0).contains(&self.fraction) {
            let message = format!("percentile value {} is not between 0 and 1", self.fraction);
            return Err(failed(ErrorCode::InvalidArgument, message));
        }
        let rank = (self.fraction * (self.n - 1) as f64).floor() as i64;
        let mut passed = 0;
        let found = self.buckets.iter().find(|(_, n)| {
            passed += **n;
            passed > rank
        });
        Ok(found.map(|(bucket, _)| representative(*bucket)).into())
    }
    fn to_values(&self) -> Vec<FieldValue> {
        self.buckets.iter().flat_map(|(b, n)| [FieldValue::Integer(*b), FieldValue::Integer(*n)]).collect()
    }
    fn restore(&mut self, values: &[FieldValue]) -> Result<(), String> {
        for pair in values.chunks(2) {
            match pair {
                [FieldValue::Integer(bucket), FieldValue::Integer(n @ 1..)] => {
                    self.buckets.insert(*bucket, *n);
                    self.n += n;
                }
                _ => return Err("a bucket without its count".into()),
            }
        }
        Ok(())
    }
    fn boxed_clone(&self) -> Box<dyn AggregateState> {
        Box::new(self.clone())
    }
    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.buckets.len() * 24
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_counts_are_exact_when_few_and_within_three_errors_when_many() {
        for n in [0, 1, 1000, 5_000, 100_000, 1_000_000] {
            let mut sketch = HyperLogLog::default();
            for i in 0..n {
                sketch.insert(hash_of([&FieldValue::Integer(i)]));
                sketch.insert(hash_of([&FieldValue::Integer(i)]));
            }
            let off = (sketch.estimate() as f64 - n as f64).abs();
            let allowed = if n <= SPARSE as i64 { 0.0 } else { 0.0243 * n as f64 };
            assert!(off <= allowed, "{n}: off by {off}");
        }
    }

    #[test]
    fn every_double_comes_back_within_one_percent() {
        for x in [1.0, 0.99, 1.01, 1e-300, 5e-324, f64::MAX, f64::MIN, -0.001, 0.0, 123_456.789] {
            let got = representative(bucket(x));
            assert!((got - x).abs() <= 0.0101 * x.abs(), "{x:e} gives {got:e}");
        }
        assert_eq!(representative(bucket(f64::NEG_INFINITY)), f64::NEG_INFINITY);
        assert!(bucket(f64::NEG_INFINITY) < bucket(f64::MIN) && bucket(f64::MAX) < bucket(f64::INFINITY));
        assert!(bucket(f64::INFINITY) < bucket(f64::NAN));
    }
}
