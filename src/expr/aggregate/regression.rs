//! Covariance, correlation and linear regression of two variables: PostgreSQL's recurrences.

use std::any::Any;

use super::moments::as_double;
use super::{AggregateState, Combine};
use crate::expr::EvalResult;
use crate::expr::value::overflow;
use crate::record::FieldValue;

/// Count, sums, and sums of products of differences from the means, of the pairs in which nothing is NULL.
#[derive(Clone, Copy, Debug)]
pub(super) struct Regression {
    pub(super) n: f64,
    pub(super) sx: f64,
    pub(super) sxx: f64,
    pub(super) sy: f64,
    pub(super) syy: f64,
    pub(super) sxy: f64,
    result: fn(&Regression) -> Option<f64>,
    counts: bool,
}

impl Regression {
    /// `result` is asked only if there is a pair.
    pub(super) fn new(result: fn(&Regression) -> Option<f64>) -> Self {
        Self { n: 0.0, sx: 0.0, sxx: 0.0, sy: 0.0, syy: 0.0, sxy: 0.0, result, counts: false }
    }
    /// The number of pairs.
    pub(super) fn counting() -> Self {
        Self { counts: true, ..Self::new(|r| Some(r.n)) }
    }

    fn add(&mut self, y: f64, x: f64) {
        self.n += 1.0;
        self.sx += x;
        self.sy += y;
        if self.n > 1.0 {
            let (dx, dy) = (x * self.n - self.sx, y * self.n - self.sy);
            let scale = 1.0 / (self.n * (self.n - 1.0));
            self.sxx += dx * dx * scale;
            self.syy += dy * dy * scale;
            self.sxy += dx * dy * scale;
            return;
        }
        if !x.is_finite() {
            (self.sxx, self.sxy) = (f64::NAN, f64::NAN);
        }
        if !y.is_finite() {
            (self.syy, self.sxy) = (f64::NAN, f64::NAN);
        }
    }
}

impl AggregateState for Regression {
    fn update(&mut self, args: &[&FieldValue]) {
        if let [y, x] = args
            && let (Some(y), Some(x)) = (as_double(y), as_double(x))
        {
            self.add(y, x);
        }
    }
    fn combine(&self) -> Option<Combine> {
        Some(Combine::Merge)
    }
    fn takes_back(&self) -> bool {
        self.counts
    }
    fn retract(&mut self, args: &[&FieldValue]) {
        if args.iter().all(|v| !v.is_null()) {
            self.n -= 1.0;
        }
    }
    fn merge(&mut self, other: &dyn AggregateState) {
        let Some(b) = other.as_any().downcast_ref::<Self>().filter(|b| b.n != 0.0) else { return };
        if self.n == 0.0 {
            *self = *b;
            return;
        }
        let n = self.n + b.n;
        let dx = self.sx / self.n - b.sx / b.n;
        let dy = self.sy / self.n - b.sy / b.n;
        let weight = self.n * b.n / n;
        self.sxx += b.sxx + weight * dx * dx;
        self.syy += b.syy + weight * dy * dy;
        self.sxy += b.sxy + weight * dx * dy;
        self.sx += b.sx;
        self.sy += b.sy;
        self.n = n;
    }
    fn finish(&self) -> EvalResult<FieldValue> {
        if self.counts {
            return Ok(FieldValue::Integer(self.n as i64));
        }
        if self.n < 1.0 {
            return Ok(FieldValue::Null);
        }
        match (self.result)(self) {
            Some(x) if x.is_infinite() && self.sx.is_finite() && self.sy.is_finite() => {
                Err(overflow("DOUBLE"))
            }
            x => Ok(x.into()),
        }
    }
    fn to_values(&self) -> Vec<FieldValue> {
        [self.n, self.sx, self.sxx, self.sy, self.syy, self.sxy].map(FieldValue::Float).into()
    }
    fn restore(&mut self, values: &[FieldValue]) -> Result<(), String> {
        let numbers: Vec<f64> = values.iter().filter_map(as_double).collect();
        let [n, sx, sxx, sy, syy, sxy] = numbers.as_slice() else {
            return Err(format!("{} values are no sums of pairs", values.len()));
        };
        *self = Self { n: *n, sx: *sx, sxx: *sxx, sy: *sy, syy: *syy, sxy: *sxy, ..*self };
        Ok(())
    }
    fn boxed_clone(&self) -> Box<dyn AggregateState> {
        Box::new(*self)
    }
    fn heap_bytes(&self) -> usize {
        size_of::<Self>()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
