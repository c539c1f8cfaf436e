//! Variance and standard deviation of one variable: Youngs and Cramer's recurrence, as in PostgreSQL.

use crate::expr::EvalResult;
use crate::expr::value::{decimal_to_f64, overflow};
use crate::record::FieldValue;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    VarPop,
    VarSamp,
    StddevPop,
    StddevSamp,
}

/// Count, sum, and sum of squared differences from the mean.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    n: f64,
    sum: f64,
    squares: f64,
}

/// A number as DOUBLE.
#[inline]
pub(super) fn as_double(value: &FieldValue) -> Option<f64> {
    match value {
        FieldValue::Float(x) => Some(*x),
        FieldValue::Integer(i) => Some(*i as f64),
        FieldValue::Decimal(d) => Some(decimal_to_f64(d)),
        _ => None,
    }
}

impl Moments {
    #[inline]
    pub(super) fn update(&mut self, value: &FieldValue) {
        if let Some(x) = as_double(value) {
            self.add(x);
        }
    }
    #[inline]
    fn add(&mut self, x: f64) {
        let fine = x.is_finite() && self.sum.is_finite();
        self.n += 1.0;
        self.sum += x;
        if !self.sum.is_finite() && !self.squares.is_infinite() {
            // An infinity stands for overflow, NaN for values that are no numbers.
            self.squares = if fine { f64::INFINITY } else { f64::NAN };
        } else if self.n > 1.0 {
            let d = x * self.n - self.sum;
            self.squares += d * d / (self.n * (self.n - 1.0));
        }
    }
    /// Chan, Golub and LeVeque's formula.
    pub(super) fn merge(&mut self, other: &Self) {
        if other.n == 0.0 {
            return;
        }
        if self.n == 0.0 {
            *self = *other;
            return;
        }
        let d = self.sum / self.n - other.sum / other.n;
        let n = self.n + other.n;
        let overflown = self.squares.is_infinite() || other.squares.is_infinite();
        self.squares += other.squares + self.n * other.n * d * d / n;
        if overflown {
            self.squares = f64::INFINITY;
        }
        self.sum += other.sum;
        if !self.sum.is_finite() && self.squares.is_finite() {
            // Neither was infinite before.
            self.squares = f64::INFINITY;
        }
        self.n = n;
    }
    pub(super) fn finish(&self, result: Spread) -> EvalResult<FieldValue> {
        let sample = matches!(result, Spread::VarSamp | Spread::StddevSamp);
        let divisor = if sample { self.n - 1.0 } else { self.n };
        if divisor <= 0.0 {
            return Ok(FieldValue::Null);
        }
        if self.squares.is_infinite() {
            return Err(overflow("DOUBLE"));
        }
        let variance = self.squares / divisor;
        let root = matches!(result, Spread::StddevPop | Spread::StddevSamp);
        Ok(FieldValue::Float(if root { variance.sqrt() } else { variance }))
    }
    /// Bits of the three.
    #[inline]
    pub(super) fn to_words(self) -> [u64; 3] {
        [self.n, self.sum, self.squares].map(f64::to_bits)
    }
    #[inline]
    pub(super) fn of_words(words: [u64; 3]) -> Self {
        let [n, sum, squares] = words.map(f64::from_bits);
        Self { n, sum, squares }
    }
    pub(super) fn to_values(self) -> Vec<FieldValue> {
        [self.n, self.sum, self.squares].map(FieldValue::Float).into()
    }
    pub(super) fn restore(&mut self, values: &[FieldValue]) -> Result<(), String> {
        let [FieldValue::Float(n), FieldValue::Float(sum), FieldValue::Float(squares)] = values else {
            return Err(format!("{} values are no moments", values.len()));
        };
        *self = Self { n: *n, sum: *sum, squares: *squares };
        Ok(())
    }
}
