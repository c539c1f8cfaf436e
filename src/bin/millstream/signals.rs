//! The first SIGINT or SIGTERM stops the jobs cleanly, the second ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use millstream::Stop;
use millstream::job::Stopper;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// After the first signal the jobs have that long.
const DEADLINE: Duration = Duration::from_secs(25);

/// Which signal came first; 0 = none yet.
#[derive(Clone, Default)]
pub(crate) struct Received(Arc<AtomicI32>);

impl Received {
    pub(crate) fn interrupted(&self) -> bool {
        self.0.load(Ordering::Acquire) == SIGINT
    }
}

/// Watches for signals from a thread of its own.
pub(crate) fn watch(stoppers: Vec<Stopper>, quiet: bool) -> std::io::Result<Received> {
    let received = Received::default();
    let first = received.clone();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("ms-signals".into()).spawn(move || {
        for signal in signals.forever() {
            if first.0.compare_exchange(0, signal, Ordering::AcqRel, Ordering::Acquire).is_err() {
                std::process::exit(128 + signal);
            }
            if !quiet {
                super::output::say(
                    "stopping: reading no more, writing what was read (a second signal ends at once)",
                );
            }
            stoppers.iter().for_each(|s| s.stop(Stop::Drain));
            let after = std::thread::Builder::new().name("ms-deadline".into());
            let _ = after.spawn(|| {
                std::thread::park_timeout(DEADLINE);
                super::output::complain("the shutdown deadline of 25 s has passed");
                std::process::exit(4);
            });
        }
    })?;
    Ok(received)
}
