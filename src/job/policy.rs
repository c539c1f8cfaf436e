//! The one function that decides what becomes of a failure, and the budget that it may not exceed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{JobConfig, OnError};
use crate::record::ErrorCode;

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Decoding or evaluating one record: trying again gives the same.
    Record,
    /// A sink refused one record: it may take it later.
    SinkRecord,
    /// A read or write that may pass.
    Transient,
    /// A read or write that will not.
    Fatal,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Leave the record out.
    Skip,
    /// Send it to the dead letter queue.
    DeadLetter,
    /// Try again after that time.
    Retry(Duration),
    /// End the job.
    Fail,
}

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Decides. Pure: `attempt` counts from 0, `spent` is the time already spent on retries of this
/// failure, `jitter` is a random number in [0, 1) (full jitter, as in AWS's "Exponential Backoff And Jitter").
pub fn decide(
    policy: OnError,
    failure: Failure,
    attempt: u32,
    spent: Duration,
    budget: Duration,
    jitter: f64,
) -> Decision {
    let backoff = || {
        let ceiling = FIRST_WAIT.saturating_mul(1 << attempt.min(16)).min(LONGEST_WAIT);
        Decision::Retry(ceiling.mul_f64(jitter.clamp(0.0, 1.0)).max(Duration::from_millis(1)))
    };
    match (failure, policy) {
        (Failure::Fatal, _) => Decision::Fail,
        (Failure::Transient, _) if spent < budget => backoff(),
        (Failure::Transient, _) => Decision::Fail,
        (Failure::SinkRecord, OnError::Retry) if spent < budget => backoff(),
        (_, OnError::Retry | OnError::Fail) => Decision::Fail,
        (_, OnError::Skip) => Decision::Skip,
        (_, OnError::Dlq) => Decision::DeadLetter,
    }
}

/// Counts rejected records of a job against `max_errors` and `max_error_ratio`.
#[derive(Debug)]
pub(super) struct ErrorBudget {
    rejected: AtomicU64,
    /// The same of each class.
    classes: [AtomicU64; ErrorCode::ALL.len()],
    seen: AtomicU64,
    max: Option<u64>,
    ratio: Option<f64>,
}

impl ErrorBudget {
    /// Records before the ratio is judged.
    const SAMPLE: u64 = 1000;

    /// The budget of a job.
    pub(super) fn new(config: &JobConfig) -> Self {
        Self {
            rejected: AtomicU64::new(0),
            classes: Default::default(),
            seen: AtomicU64::new(0),
            max: config.max_errors,
            ratio: config.max_error_ratio,
        }
    }
    /// Counts records seen (good and bad). Does nothing where no ratio is set.
    pub(super) fn saw(&self, records: u64) {
        if self.ratio.is_some() {
            self.seen.fetch_add(records, Ordering::Relaxed);
        }
    }
    /// Rejected records of each class that has some, by its label.
    pub(super) fn by_class(&self) -> BTreeMap<&'static str, u64> {
        let counted =
            ErrorCode::ALL.iter().zip(&self.classes).map(|(c, n)| (c.label(), n.load(Ordering::Relaxed)));
        counted.filter(|(_, n)| *n > 0).collect()
    }
    /// Counts a rejected record; says in words which limit it breaks.
    pub(super) fn reject(&self, class: ErrorCode) -> Option<String> {
        if let Some(count) = self.classes.get(class as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let rejected = self.rejected.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(max) = self.max
            && rejected > max
        {
            return Some(format!("{rejected} of them, with max_errors = {max}"));
        }
        let seen = self.seen.load(Ordering::Relaxed);
        match self.ratio {
            Some(limit) if seen >= Self::SAMPLE && rejected as f64 > limit * seen as f64 => {
                Some(format!("{rejected} of {seen}, with max_error_ratio = {limit}"))
            }
            _ => None,
        }
    }
    /// Judges the ratio at the end, whatever the number of records.
    pub(super) fn verdict(&self) -> Option<String> {
        let (rejected, seen) = (self.rejected.load(Ordering::Relaxed), self.seen.load(Ordering::Relaxed));
        self.ratio
            .filter(|limit| seen > 0 && rejected as f64 > limit * seen as f64)
            .map(|limit| format!("{rejected} of {seen}, with max_error_ratio = {limit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_secs(300);

    #[test]
    fn every_policy_meets_every_failure() {
        use Decision::*;
        let at = |p, f, spent| decide(p, f, 0, spent, BUDGET, 0.5);
        let now = Duration::ZERO;
        for p in [OnError::Fail, OnError::Skip, OnError::Dlq, OnError::Retry] {
            assert_eq!(at(p, Failure::Fatal, now), Fail);
            assert!(matches!(at(p, Failure::Transient, now), Retry(_)));
            assert_eq!(at(p, Failure::Transient, BUDGET), Fail);
        }
        assert_eq!(at(OnError::Fail, Failure::Record, now), Fail);
        assert_eq!(at(OnError::Skip, Failure::Record, now), Skip);
        assert_eq!(at(OnError::Dlq, Failure::Record, now), DeadLetter);
        assert_eq!(at(OnError::Retry, Failure::Record, now), Fail);
        assert_eq!(at(OnError::Dlq, Failure::SinkRecord, now), DeadLetter);
        assert!(matches!(at(OnError::Retry, Failure::SinkRecord, now), Retry(_)));
        assert_eq!(at(OnError::Retry, Failure::SinkRecord, BUDGET), Fail);
    }

    #[test]
    fn waits_double_and_stay_below_ten_seconds() {
        let wait =
            |attempt| match decide(OnError::Fail, Failure::Transient, attempt, Duration::ZERO, BUDGET, 1.0) {
                Decision::Retry(d) => d,
                d => panic!("{d:?}"),
            };
        assert_eq!(wait(0), Duration::from_millis(100));
        assert_eq!(wait(3), Duration::from_millis(800));
        assert_eq!(wait(30), Duration::from_secs(10));
        assert!(matches!(
            decide(OnError::Fail, Failure::Transient, 9, Duration::ZERO, BUDGET, 0.0),
            Decision::Retry(d) if d > Duration::ZERO
        ));
    }

    #[test]
    fn rejected_records_are_counted_by_class() {
        let budget = ErrorBudget::new(&JobConfig::default());
        for (n, class) in (1..).zip(ErrorCode::ALL) {
            (0..n).for_each(|_| assert!(budget.reject(class).is_none()));
        }
        let counted = budget.by_class();
        let expected: Vec<_> = (1..).zip(ErrorCode::ALL).map(|(n, class)| (class.label(), n)).collect();
        assert_eq!(counted, expected.into_iter().collect());
    }

    #[test]
    fn the_budget_counts_and_the_ratio_waits_for_a_sample() {
        let budget = ErrorBudget::new(&JobConfig { max_errors: Some(2), ..JobConfig::default() });
        assert_eq!((budget.reject(ErrorCode::Overflow), budget.reject(ErrorCode::Overflow)), (None, None));
        assert!(budget.reject(ErrorCode::Overflow).is_some());
        let budget = ErrorBudget::new(&JobConfig { max_error_ratio: Some(0.01), ..JobConfig::default() });
        budget.saw(100);
        assert!((0..50).all(|_| budget.reject(ErrorCode::Overflow).is_none()));
        assert!(budget.verdict().is_some());
        budget.saw(10_000);
        assert!((0..51).all(|_| budget.reject(ErrorCode::Overflow).is_none()));
        assert!(budget.reject(ErrorCode::Overflow).is_some());
    }
}
