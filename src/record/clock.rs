//! The only place where time is read: the system's clock, or one that a program moves by hand.

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
    /// Moves a virtual clock forward; does nothing to the system's.
    pub fn advance(&self, by: Duration) {
        if let Clock::Virtual(hand) = self {
            hand.fetch_add(by.as_micros() as i64, Ordering::AcqRel);
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

/// Where the monotonic scale begins.
fn origin() -> Instant {
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}
