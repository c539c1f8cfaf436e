//! The only place where time is read: the system's clock, or one that a program moves by hand.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time. Cheap to clone; clones of a virtual clock share its hand.
///
/// ```
/// use std::time::Duration;
/// use millstream::record::Clock;
///
/// let clock = Clock::virtual_at(1_000_000);
/// let shared = clock.clone();
/// clock.advance(Duration::from_millis(5));
/// assert_eq!(shared.now_micros(), 1_005_000);
/// ```
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that stands still until it is moved: µs since the Unix epoch.
    Virtual(Arc<AtomicI64>),
}

impl Clock {
    /// A virtual clock that shows `micros`.
    pub fn virtual_at(micros: i64) -> Self {
        Clock::Virtual(Arc::new(AtomicI64::new(micros)))
    }
    /// Wall time, µs since the Unix epoch.
    pub fn now_micros(&self) -> i64 {
        match self {
            Clock::System => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64),
            Clock::Virtual(hand) => hand.load(Ordering::Acquire),
        }
    }
    /// Moves a virtual clock forward; does nothing to the system's. The calling thread worked meanwhile:
    /// [`thread_cpu`](Self::thread_cpu).
    pub fn advance(&self, by: Duration) {
        if let Clock::Virtual(_) = self {
            WORKED.set(WORKED.get() + by);
            self.wait(by);
        }
    }
    /// The same, but the calling thread waited meanwhile.
    pub fn wait(&self, by: Duration) {
        if let Clock::Virtual(hand) = self {
            hand.fetch_add(by.as_micros() as i64, Ordering::AcqRel);
        }
    }
    /// CPU time of the calling thread since it began: CLOCK_THREAD_CPUTIME_ID, a system call. With a virtual clock, by how much the
    /// thread moved such clocks.
    pub fn thread_cpu(&self) -> Duration {
        match self {
            Clock::System => {
                let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
                Duration::new(t.tv_sec.unsigned_abs(), t.tv_nsec as u32)
            }
            Clock::Virtual(_) => WORKED.get(),
        }
    }
    /// Sets a virtual clock, never backwards; does nothing to the system's.
    pub fn advance_to(&self, micros: i64) {
        if let Clock::Virtual(hand) = self {
            hand.fetch_max(micros, Ordering::AcqRel);
        }
    }
    /// The same scale as [`monotonic`](Self::monotonic), as an instant: for measuring spans at the cost of one look at the clock.
    pub fn instant(&self) -> Instant {
        match self {
            Clock::System => Instant::now(),
            Clock::Virtual(_) => origin() + self.monotonic(),
        }
    }
    /// A point on a scale that only moves forward, for measuring spans: the distance from a
    /// fixed origin. With a virtual clock, its hand.
    pub fn monotonic(&self) -> Duration {
        match self {
            Clock::System => origin().elapsed(),
            Clock::Virtual(hand) => Duration::from_micros(hand.load(Ordering::Acquire).max(0) as u64),
        }
    }
}

thread_local! {
    /// By how much this thread moved virtual clocks.
    static WORKED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Where the monotonic scale begins.
fn origin() -> Instant {
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_no_work_and_each_thread_has_its_own() {
        let clock = Clock::virtual_at(0);
        let before = clock.thread_cpu();
        clock.advance(Duration::from_millis(3));
        clock.wait(Duration::from_millis(4));
        let other = clock.clone();
        std::thread::spawn(move || other.advance(Duration::from_millis(5))).join().unwrap();
        assert_eq!(clock.thread_cpu() - before, Duration::from_millis(3));
        assert_eq!(clock.now_micros(), 12_000);
        let (began, cpu) = (Clock::System.instant(), Clock::System.thread_cpu());
        while Clock::System.thread_cpu() == cpu {}
        assert!(
            Clock::System.thread_cpu() - cpu <= Clock::System.instant() - began + Duration::from_millis(1)
        );
    }
}
