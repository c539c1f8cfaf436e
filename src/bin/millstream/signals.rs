//! The first SIGINT or SIGTERM stops the jobs cleanly, the second ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use millstream::Stop;
use millstream::job::Stopper;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What the signals have brought about so far.
#[derive(Clone, Default)]
pub(crate) struct Received {
    /// Which signal came first; 0 = none yet.
    first: Arc<AtomicI32>,
    /// The drain deadline has passed.
    expired: Arc<AtomicBool>,
}

impl Received {
    pub(crate) fn interrupted(&self) -> bool {
        self.first.load(Ordering::Acquire) == SIGINT
    }
    /// Whether the jobs were aborted because they did not end in time.
    pub(crate) fn expired(&self) -> bool {
        self.expired.load(Ordering::Acquire)
    }
}

/// Watches for signals from a thread of its own.
pub(crate) fn watch(stoppers: Vec<Stopper>, quiet: bool) -> std::io::Result<Received> {
    let received = Received::default();
    let ours = received.clone();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("ms-signals".into()).spawn(move || {
        for signal in signals.forever() {
            if ours.first.compare_exchange(0, signal, Ordering::AcqRel, Ordering::Acquire).is_err() {
                std::process::exit(128 + signal);
            }
            if !quiet {
                super::output::say(
                    "stopping: reading no more, writing what was read (a second signal ends at once)",
                );
            }
            stoppers.iter().for_each(|s| s.stop(Stop::Checkpoint));
            let (stoppers, expired) = (stoppers.clone(), ours.expired.clone());
            let after = std::thread::Builder::new().name("ms-deadline".into());
            let _ = after.spawn(move || enforce(&stoppers, &expired));
        }
    })?;
    Ok(received)
}

/// Aborts what has not ended in time. The process ends with its jobs, and this thread with it; only a job whose processor
/// is inside foreign code itself keeps it here to the end.
fn enforce(stoppers: &[Stopper], expired: &AtomicBool) {
    let longest = |of: fn(&Stopper) -> Duration| stoppers.iter().map(of).max().unwrap_or_default();
    let drain = longest(Stopper::drain_deadline);
    sleep(drain);
    expired.store(true, Ordering::Release);
    super::output::complain(&format!("the drain_deadline of {drain:?} has passed: ending without a commit"));
    stoppers.iter().for_each(|s| s.stop(Stop::Abort));
    // The jobs themselves name the threads that they leave behind after this time.
    sleep(longest(Stopper::shutdown_deadline).saturating_add(Duration::from_secs(1)));
    super::output::complain("abandoned after the shutdown deadline: ms-process, inside a source or sink");
    std::process::exit(4);
}

fn sleep(time: Duration) {
    let start = Instant::now();
    while let Some(left) = time.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}
