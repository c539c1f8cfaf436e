//! A thread's account of its time: one look at the clock per boundary ends one span and begins the next, so nothing is
//! counted twice or left out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::observe::{Counter, ThreadTimes};
use crate::record::Clock;

/// The clock of one thread and where its spans are booked.
#[derive(Debug)]
pub(super) struct Laps {
    clock: Clock,
    began: Instant,
    last: Instant,
    account: Arc<ThreadTimes>,
}

impl Laps {
    /// Begins the account of the calling thread.
    pub(super) fn start(clock: Clock, account: Arc<ThreadTimes>) -> Self {
        let now = clock.instant();
        *account.since.lock() = Some(now);
        Self { clock, began: now, last: now, account }
    }
    /// Begins again, as the thread that will be measured starts only now.
    pub(super) fn restart(&mut self) {
        self.began = self.clock.instant();
        self.last = self.began;
        *self.account.since.lock() = Some(self.began);
    }
    /// The last boundary: the time now, as exactly as it is known without a look at the clock.
    #[inline]
    pub(super) fn now(&self) -> Instant {
        self.last
    }
    #[inline]
    fn lap(&mut self) -> Duration {
        let now = self.clock.instant();
        let spent = now.saturating_duration_since(self.last);
        self.last = now;
        spent
    }
    /// What was done since the last boundary was a stage's work.
    #[inline]
    pub(super) fn busy(&mut self, stage: &Counter) {
        let spent = self.lap();
        self.account.busy.add_time(spent);
        stage.add_time(spent);
    }
    /// It was work of no stage: a hand-over.
    #[inline]
    pub(super) fn handed_over(&mut self) {
        let spent = self.lap();
        self.account.busy.add_time(spent);
    }
    /// It was waiting for input; returns how long.
    pub(super) fn waited(&mut self) -> Duration {
        let spent = self.lap();
        self.account.waiting.add_time(spent);
        spent
    }
    /// It was waiting for what is downstream; returns how long.
    pub(super) fn blocked(&mut self) -> Duration {
        let spent = self.lap();
        self.account.blocked.add_time(spent);
        spent
    }
    /// There was nothing to do; returns how long.
    pub(super) fn idle(&mut self) -> Duration {
        let spent = self.lap();
        self.account.idle.add_time(spent);
        spent
    }
}

impl Drop for Laps {
    fn drop(&mut self) {
        self.handed_over();
        *self.account.since.lock() = None;
        self.account.wall.add_time(self.last.saturating_duration_since(self.began));
    }
}
