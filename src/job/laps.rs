//! A thread's account of its time: one look at the clock per boundary ends one span and begins the next, so nothing is
//! counted twice or left out.
//!
//! A reader may wait for its input inside of a call, and looks busy. So the thread's CPU time is looked at too, which is a system call:
//! at the end of each long span of work, and else about once a millisecond. Where some is missing, the kernel is asked how long the thread
//! was ready to run while others had the core: that is neither waiting nor what the work costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::observe::{SourceCounters, StageTimes, ThreadTimes};
use crate::record::{Clock, CoreTime};

/// The CPU time is looked at after a span of this length …
const LONG: Duration = Duration::from_micros(200);
/// … and when short ones make up this much.
const OFTEN: Duration = Duration::from_millis(1);
/// So little is not looked into.
const NOTHING: Duration = Duration::from_micros(20);

/// The clock of one thread and where its spans are booked.
#[derive(Debug)]
pub(super) struct Laps {
    clock: Clock,
    began: Instant,
    last: Instant,
    account: Arc<ThreadTimes>,
    /// CPU time of the thread at the last look, and spans of work since.
    cpu: Option<Duration>,
    unseen: Duration,
    /// How long the thread had been queued when that was last asked.
    queued: Duration,
}

/// What the thread did not work in spans that look like work.
#[derive(Clone, Copy, Default)]
struct Missing {
    /// It waited for something.
    waited: Duration,
    /// It was ready, and others had the core.
    queued: Duration,
}

impl Laps {
    /// Begins the account of the calling thread.
    pub(super) fn start(clock: Clock, account: Arc<ThreadTimes>) -> Self {
        let now = clock.instant();
        *account.since.lock() = Some(now);
        let cpu = Some(clock.thread_cpu());
        let mut laps = Self {
            clock,
            began: now,
            last: now,
            account,
            cpu,
            unseen: Duration::ZERO,
            queued: Duration::ZERO,
        };
        laps.watch();
        laps
    }
    /// The calling thread is the one that is measured.
    fn watch(&mut self) {
        let watch = self.clock.watch_thread();
        self.queued = watch.as_ref().and_then(|w| w.read()).unwrap_or_default().queued;
        *self.account.watch.lock() = watch;
    }
    /// What the thread has had of the machine, if the system tells.
    pub(super) fn core_time(&self) -> Option<CoreTime> {
        // Asking brings the kernel's account up to date.
        self.clock.thread_cpu();
        self.account.core_time()
    }
    /// Where its spans are booked.
    pub(super) fn account(&self) -> &Arc<ThreadTimes> {
        &self.account
    }
    /// Begins again, as the thread that will be measured starts only now.
    pub(super) fn restart(&mut self) {
        self.began = self.clock.instant();
        self.last = self.began;
        self.watch();
        self.look();
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
    pub(super) fn busy(&mut self, stage: &StageTimes) {
        let spent = self.lap();
        self.account.busy.add_time(spent);
        stage.busy.add_time(spent);
        self.unseen += spent;
        if spent >= LONG {
            // What is missing here was not missing in a reader's call.
            let queued = self.look().queued.min(spent);
            stage.queued.add_time(queued);
        }
    }
    /// It was a call of a reader: work, but for what the thread waited inside of it.
    #[inline]
    pub(super) fn read(&mut self, source: &SourceCounters) {
        let spent = self.lap();
        self.unseen += spent;
        let missing = match spent >= LONG || self.unseen >= OFTEN {
            true => self.look(),
            false => Missing::default(),
        };
        let waited = missing.waited.min(spent);
        let worked = spent - waited;
        self.account.busy.add_time(worked);
        source.times.busy.add_time(worked);
        source.times.queued.add_time(missing.queued.min(worked));
        if !waited.is_zero() {
            self.account.waiting.add_time(waited);
            source.times.waiting.add_time(waited);
            source.waited_inside.add_time(waited);
        }
    }
    /// How much of the spans of work since the last look the thread did not work. A little is an error of measurement.
    #[cold]
    fn look(&mut self) -> Missing {
        let cpu = self.clock.thread_cpu();
        let spent = std::mem::take(&mut self.unseen);
        let Some(before) = self.cpu.replace(cpu) else { return Missing::default() };
        let missing = spent.saturating_sub(cpu.saturating_sub(before));
        if missing < NOTHING {
            return Missing::default();
        }
        let queued = self.account.core_time().map_or(self.queued, |t| t.queued);
        let since = queued.saturating_sub(std::mem::replace(&mut self.queued, queued));
        if missing * 10 < spent {
            return Missing::default();
        }
        let queued = since.min(missing);
        Missing { waited: missing - queued, queued }
    }
    /// The next span may begin on another thread.
    pub(super) fn elsewhere(&mut self) {
        (self.cpu, self.unseen) = (None, Duration::ZERO);
        // It may be called often: whether a thread waits or is queued matters little here.
        *self.account.watch.lock() = None;
    }
    /// It was work of no stage: a hand-over.
    #[inline]
    pub(super) fn handed_over(&mut self) {
        let spent = self.lap();
        self.account.busy.add_time(spent);
    }
    /// The same after a span without work: what the thread did in it after all is not held against the work before and after.
    fn rest(&mut self) -> Duration {
        let spent = self.lap();
        if spent >= LONG {
            self.look();
        }
        spent
    }
    /// It was waiting for input; returns how long.
    pub(super) fn waited(&mut self) -> Duration {
        let spent = self.rest();
        self.account.waiting.add_time(spent);
        spent
    }
    /// It was waiting for what is downstream; returns how long.
    pub(super) fn blocked(&mut self) -> Duration {
        let spent = self.rest();
        self.account.blocked.add_time(spent);
        spent
    }
    /// There was nothing to do; returns how long.
    pub(super) fn idle(&mut self) -> Duration {
        let spent = self.rest();
        self.account.idle.add_time(spent);
        spent
    }
}

impl Drop for Laps {
    fn drop(&mut self) {
        self.handed_over();
        *self.account.since.lock() = None;
        *self.account.watch.lock() = None;
        self.account.wall.add_time(self.last.saturating_duration_since(self.began));
    }
}
