//! The only place where time is read: the system's clock, or one that a program moves by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
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
            own_time().ran.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
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
            Clock::Virtual(_) => own_time().read().ran,
        }
    }
    /// The same, but the calling thread was ready to run meanwhile, and others had the core.
    pub fn queue(&self, by: Duration) {
        if let Clock::Virtual(_) = self {
            let own = own_time();
            own.queued.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
            own.turns.fetch_add(1, Ordering::Relaxed);
            self.wait(by);
        }
    }
    /// Watches the calling thread from now on; `None` where the system does not tell (Linux does, in /proc).
    pub fn watch_thread(&self) -> Option<ThreadWatch> {
        match self {
            Clock::System => kernel::open().map(Watch::System).map(ThreadWatch),
            Clock::Virtual(_) => Some(ThreadWatch(Watch::Virtual(own_time()))),
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

/// What a thread had of the machine since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreTime {
    /// It ran.
    pub ran: Duration,
    /// It was ready to run, and others had the core: preempted, or just woken.
    pub queued: Duration,
    /// How often it came to run.
    pub turns: u64,
}

impl CoreTime {
    /// What came since an earlier look.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            ran: self.ran.saturating_sub(earlier.ran),
            queued: self.queued.saturating_sub(earlier.queued),
            turns: self.turns.saturating_sub(earlier.turns),
        }
    }
}

/// Tells what one thread has of the machine, on whichever thread it is asked: about a microsecond a call.
#[derive(Debug)]
pub struct ThreadWatch(Watch);

#[derive(Debug)]
enum Watch {
    /// The thread's open `schedstat`.
    System(std::fs::File),
    Virtual(Arc<VirtualTime>),
}

impl ThreadWatch {
    /// Since the thread began; `None` if it is over. What it has run since the scheduler last looked (a tick, a few milliseconds) may
    /// be missing, unless it asks itself and has just asked for its [CPU time](Clock::thread_cpu).
    pub fn read(&self) -> Option<CoreTime> {
        match &self.0 {
            Watch::System(file) => kernel::read(file),
            Watch::Virtual(time) => Some(time.read()),
        }
    }
}

/// By how much a thread moved virtual clocks, in nanoseconds.
#[derive(Debug, Default)]
struct VirtualTime {
    ran: AtomicU64,
    queued: AtomicU64,
    turns: AtomicU64,
}

impl VirtualTime {
    fn read(&self) -> CoreTime {
        let of = |n: &AtomicU64| Duration::from_nanos(n.load(Ordering::Relaxed));
        CoreTime { ran: of(&self.ran), queued: of(&self.queued), turns: self.turns.load(Ordering::Relaxed) }
    }
}

fn own_time() -> Arc<VirtualTime> {
    thread_local! {
        static OWN: Arc<VirtualTime> = Arc::default();
    }
    OWN.with(Arc::clone)
}

/// `/proc/thread-self/schedstat`: nanoseconds on a core, nanoseconds in a run queue, time slices (Documentation/scheduler/sched-stats
/// of the Linux kernel). A kernel without them shows zeros.
#[cfg(target_os = "linux")]
mod kernel {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::time::Duration;

    use super::CoreTime;

    pub(super) fn open() -> Option<File> {
        let file = File::open("/proc/thread-self/schedstat").ok()?;
        read(&file).is_some_and(|t| !t.ran.is_zero()).then_some(file)
    }

    pub(super) fn read(file: &File) -> Option<CoreTime> {
        let mut text = [0; 80];
        let len = file.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(text.get(..len)?).ok()?;
        let mut numbers = text.split_ascii_whitespace().map_while(|n| n.parse::<u64>().ok());
        Some(CoreTime {
            ran: Duration::from_nanos(numbers.next()?),
            queued: Duration::from_nanos(numbers.next()?),
            turns: numbers.next()?,
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    pub(super) fn open() -> Option<std::fs::File> {
        None
    }
    pub(super) fn read(_: &std::fs::File) -> Option<super::CoreTime> {
        None
    }
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
        clock.queue(Duration::from_millis(2));
        assert_eq!(clock.thread_cpu() - before, Duration::from_millis(3));
        assert_eq!(clock.now_micros(), 14_000);
        let (began, cpu) = (Clock::System.instant(), Clock::System.thread_cpu());
        while Clock::System.thread_cpu() == cpu {}
        assert!(
            Clock::System.thread_cpu() - cpu <= Clock::System.instant() - began + Duration::from_millis(1)
        );
    }

    #[test]
    fn a_watch_is_read_on_any_thread_and_knows_what_its_own_had() {
        let clock = Clock::virtual_at(0);
        let watch = clock.watch_thread().unwrap();
        let before = watch.read().unwrap();
        clock.advance(Duration::from_millis(3));
        clock.queue(Duration::from_millis(2));
        clock.wait(Duration::from_millis(7));
        let had = std::thread::scope(|s| s.spawn(|| watch.read().unwrap().since(before)).join().unwrap());
        assert_eq!(
            had,
            CoreTime { ran: Duration::from_millis(3), queued: Duration::from_millis(2), turns: 1 }
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_tells_what_a_thread_had() {
        let Some(watch) = Clock::System.watch_thread() else {
            println!("SKIP: this kernel keeps no scheduler statistics");
            return;
        };
        let (before, cpu) = (watch.read().unwrap(), Clock::System.thread_cpu());
        while Clock::System.thread_cpu() - cpu < Duration::from_millis(20) {}
        let had = std::thread::scope(|s| s.spawn(|| watch.read().unwrap().since(before)).join().unwrap());
        let spent = Clock::System.thread_cpu() - cpu;
        // The kernel books what runs at the next tick or switch, at the latest.
        assert!(had.ran <= spent + Duration::from_millis(20), "{had:?} of {spent:?}");
        assert!(had.ran >= Duration::from_millis(5), "{had:?} of {spent:?}");
    }
}
