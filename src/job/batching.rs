//! When a batch is full, and when an incomplete one is handed on.

use std::time::Duration;

use super::{BatchStrategy, JobConfig};

/// The batch limits of one source, which `adaptive` changes.
#[derive(Clone, Debug)]
pub(super) struct Batching {
    pub(super) strategy: BatchStrategy,
    rows: usize,
    max_rows: usize,
    bytes: usize,
    linger: Duration,
}

/// Rows of a low-latency batch, and where `adaptive` starts.
const SMALL_BATCH: usize = 100;

impl Batching {
    pub(super) fn new(config: &JobConfig) -> Self {
        let rows = match config.batch_strategy {
            BatchStrategy::Fixed | BatchStrategy::TimeWindow => config.batch_rows,
            BatchStrategy::Memory => usize::MAX / 2,
            BatchStrategy::Adaptive | BatchStrategy::LowLatency => config.batch_rows.min(SMALL_BATCH),
        };
        Self {
            strategy: config.batch_strategy,
            rows,
            max_rows: config.batch_rows,
            bytes: config.batch_bytes,
            linger: config.batch_linger,
        }
    }
    /// Rows and payload bytes of the next batch.
    pub(super) fn limits(&self) -> (usize, usize) {
        (self.rows, self.bytes)
    }
    /// How long an incomplete batch may wait.
    pub(super) fn linger(&self) -> Duration {
        self.linger
    }
    /// Whether an incomplete batch that waits since `waited` is handed on.
    pub(super) fn may_hand_on(&self, waited: Duration, next_stage_is_idle: bool) -> bool {
        match self.strategy {
            BatchStrategy::TimeWindow => waited >= self.linger,
            BatchStrategy::LowLatency => true,
            _ => next_stage_is_idle || waited >= self.linger,
        }
    }
    /// A full batch of this source took `latency` from its first record to being written.
    pub(super) fn learn(&mut self, rows: usize, latency: Duration) {
        if self.strategy != BatchStrategy::Adaptive || rows < self.rows {
            return;
        }
        if latency > self.linger {
            self.rows = (self.rows / 2).max(1);
        } else if latency < self.linger / 2 {
            self.rows = (self.rows * 2).min(self.max_rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batching(strategy: BatchStrategy) -> Batching {
        Batching::new(&JobConfig { batch_strategy: strategy, ..JobConfig::default() })
    }
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn each_strategy_has_its_limits() {
        assert_eq!(batching(BatchStrategy::Fixed).limits(), (1000, 1 << 20));
        assert!(batching(BatchStrategy::Memory).limits().0 > 1_000_000);
        assert_eq!(batching(BatchStrategy::LowLatency).limits().0, 100);
        assert!(batching(BatchStrategy::Fixed).may_hand_on(Duration::ZERO, true));
        assert!(!batching(BatchStrategy::Fixed).may_hand_on(MS, false));
        assert!(batching(BatchStrategy::Fixed).may_hand_on(MS * 5, false));
        assert!(!batching(BatchStrategy::TimeWindow).may_hand_on(MS, true));
        assert!(batching(BatchStrategy::LowLatency).may_hand_on(Duration::ZERO, false));
    }

    #[test]
    fn adaptive_grows_while_latency_allows_and_shrinks_when_it_does_not() {
        let mut b = batching(BatchStrategy::Adaptive);
        for _ in 0..10 {
            b.learn(b.limits().0, MS);
        }
        assert_eq!(b.limits().0, 1000);
        b.learn(1000, MS * 20);
        assert_eq!(b.limits().0, 500);
        b.learn(3, MS);
        assert_eq!(b.limits().0, 500, "a partial batch says nothing about larger ones");
        b.learn(500, MS * 3);
        assert_eq!(b.limits().0, 500);
    }
}
