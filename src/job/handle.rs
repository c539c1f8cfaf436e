//! Starting a job, driving it, stopping it, and what becomes of its failures.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::driver::{Driver, Round};
use super::edge::TICK;
use super::open::{Opened, lock_state, open};
use super::shared::{Shared, Stop};
use super::stage_thread::panic_text;
use super::{Execution, JobError, JobSpec};
use crate::io::Coordinator;
use crate::observe::JobStats;
use crate::record::Clock;
use crate::state::StateDir;

/// What [`JobHandle::step`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Records moved; call again.
    Worked,
    /// Nothing to do now. With a time (µs since the Unix epoch) nothing will change before it, unless a source gets input.
    Idle(Option<i64>),
    /// The job has ended.
    Done,
}

enum Mode {
    Thread(JoinHandle<Result<(), JobError>>),
    Step(Box<Driver>, Clock),
    Ended(Option<Result<(), JobError>>),
}

/// A job that runs, on its own threads or on the caller's. Dropping the handle aborts a job that nobody waited for.
pub struct JobHandle {
    shared: Arc<Shared>,
    mode: Mode,
}

impl std::fmt::Debug for JobHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobHandle").field("job", &self.shared.name).finish_non_exhaustive()
    }
}

/// Opens a job and starts it on threads of its own.
///
/// # Errors
/// If the job can't run as asked, or a source or sink can't be opened.
pub fn start(spec: JobSpec) -> Result<JobHandle, JobError> {
    spec.check()?;
    let shared = Arc::new(Shared::new(&spec.config));
    let state = lock_state(&spec.config)?;
    let mode = match open_all(&spec, &shared, state.as_ref())? {
        Opened::Finished => Mode::Ended(Some(Ok(()))),
        Opened::Ready(driver) => {
            let for_thread = shared.clone();
            let handle = std::thread::Builder::new()
                .name("ms-process".into())
                .spawn(move || supervise(&spec, *driver, &for_thread, state))
                .map_err(|e| JobError::Config(format!("can't start the processor's thread: {e}")))?;
            Mode::Thread(handle)
        }
    };
    if matches!(mode, Mode::Ended(_)) {
        already_finished(&shared);
    }
    Ok(JobHandle { shared, mode })
}

/// Opens a job to be driven by [`JobHandle::step`]: no thread, and the clock is the caller's.
///
/// # Errors
/// As [`start`].
pub fn stepping(mut spec: JobSpec, now: i64) -> Result<JobHandle, JobError> {
    spec.check()?;
    let clock = Clock::virtual_at(now);
    spec.config.clock = clock.clone();
    spec.config.execution = Execution::Inline;
    let shared = Arc::new(Shared::new(&spec.config));
    let state = lock_state(&spec.config)?;
    let mode = match open_all(&spec, &shared, state.as_ref())? {
        Opened::Finished => {
            already_finished(&shared);
            Mode::Ended(Some(Ok(())))
        }
        Opened::Ready(driver) => Mode::Step(driver, clock),
    };
    Ok(JobHandle { shared, mode })
}

fn already_finished(shared: &Shared) {
    log::info!("job {} is finished according to its state; nothing to do", shared.name);
    finished(shared, "finished before");
}

impl JobHandle {
    /// One round on the caller's thread: reads at most one batch per source, processes and writes it. Never sleeps.
    /// `now` is the caller's time, µs since the Unix epoch; it never goes back.
    ///
    /// # Errors
    /// The job's failure, once; afterwards it is done. Also if the job runs on its own threads.
    pub fn step(&mut self, now: i64) -> Result<Step, JobError> {
        match &mut self.mode {
            Mode::Thread(_) => Err(JobError::Config(
                "a started job runs on its own threads; step() is for stepping()".into(),
            )),
            Mode::Ended(result) => result.take().unwrap_or(Ok(())).map(|()| Step::Done),
            Mode::Step(driver, clock) => {
                clock.advance_to(now);
                driver.resume();
                let round = catch_unwind(AssertUnwindSafe(|| driver.round(Duration::ZERO)));
                #[cfg(seeded_bugs)]
                if round.is_err() {
                    driver.commit_after_panic()?;
                }
                match settle(round) {
                    Ok(Round::Worked) => Ok(Step::Worked),
                    Ok(Round::Idle(until)) => Ok(Step::Idle(until.map(|d| d.as_micros() as i64))),
                    Ok(Round::Done) => {
                        self.end("done");
                        Ok(Step::Done)
                    }
                    Err(e) => {
                        self.end(state_after(&e));
                        Err(e)
                    }
                }
            }
        }
    }

    fn end(&mut self, state: &'static str) {
        let mut view = self.shared.live.lock();
        view.state = state;
        view.wall = Some(self.shared.elapsed());
        drop(view);
        self.mode = Mode::Ended(None);
    }

    /// Asks the job to stop. Returns at once.
    pub fn stop(&self, how: Stop) {
        self.shared.request_stop(how);
    }

    /// A sender for stop requests that outlives borrows of the handle, e.g. for a signal handler's thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { shared: self.shared.clone() }
    }

    /// Whether the job has ended.
    pub fn is_finished(&self) -> bool {
        match &self.mode {
            Mode::Thread(handle) => handle.is_finished(),
            Mode::Step(..) => false,
            Mode::Ended(_) => true,
        }
    }

    /// Whether the job is driven by [`step`](Self::step).
    pub fn is_stepping(&self) -> bool {
        matches!(self.mode, Mode::Step(..))
    }

    /// Waits for the end of the job. A stepping job is stepped to its end with the system's time.
    ///
    /// # Errors
    /// The reason why the job failed.
    pub fn wait(mut self) -> Result<JobStats, JobError> {
        let result = match std::mem::replace(&mut self.mode, Mode::Ended(None)) {
            Mode::Thread(handle) => handle.join().unwrap_or_else(|panic| {
                Err(JobError::Panic { thread: "ms-process".into(), message: panic_text(&*panic) })
            }),
            Mode::Ended(result) => result.unwrap_or(Ok(())),
            Mode::Step(driver, clock) => {
                self.mode = Mode::Step(driver, clock);
                loop {
                    match self.step(Clock::System.now_micros())? {
                        Step::Done => break Ok(()),
                        Step::Worked => {}
                        Step::Idle(_) => std::thread::park_timeout(Duration::from_millis(1)),
                    }
                }
            }
        };
        result.map(|()| self.shared.stats())
    }

    /// The statistics now. Cheap; may be called from any thread while the job runs.
    pub fn stats(&self) -> JobStats {
        self.shared.stats()
    }
}

impl Drop for JobHandle {
    fn drop(&mut self) {
        if matches!(self.mode, Mode::Thread(_)) {
            self.shared.request_stop(Stop::Abort);
        }
    }
}

/// Stops a job and reads its statistics from elsewhere.
#[derive(Clone)]
pub struct Stopper {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopper").field("job", &self.shared.name).finish()
    }
}

impl Stopper {
    /// Asks the job to stop.
    pub fn stop(&self, how: Stop) {
        self.shared.request_stop(how);
    }
    /// The statistics now.
    pub fn stats(&self) -> JobStats {
        self.shared.stats()
    }
    /// The setting `drain_deadline`: how long a program should wait after [`Stop::Drain`] before it aborts.
    pub fn drain_deadline(&self) -> Duration {
        self.shared.drain_deadline
    }
    /// The setting `shutdown_deadline`: how long the job's threads have to end after an abort.
    pub fn shutdown_deadline(&self) -> Duration {
        self.shared.shutdown_deadline
    }
}

/// Opens everything. What panics there – a source, a sink, a client – ends the job as it would later.
fn open_all(spec: &JobSpec, shared: &Arc<Shared>, state: Option<&Arc<StateDir>>) -> Result<Opened, JobError> {
    settle(catch_unwind(AssertUnwindSafe(|| open(spec, shared, state))))
}

fn settle<T>(outcome: Result<Result<T, JobError>, Box<dyn std::any::Any + Send>>) -> Result<T, JobError> {
    outcome.unwrap_or_else(|panic| {
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        Err(JobError::Panic { thread, message: panic_text(&*panic) })
    })
}

/// Runs the job, restarts it from its last commit where that may help, and leaves no thread behind.
fn supervise(
    spec: &JobSpec,
    mut driver: Driver,
    shared: &Arc<Shared>,
    state: Option<Arc<StateDir>>,
) -> Result<(), JobError> {
    let mut restarts = 0;
    loop {
        let outcome = run(spec, &mut driver);
        let leader = driver.take_leader();
        let abandoned = driver.abandon();
        let error = match outcome {
            Ok(()) => {
                finished(shared, if shared.stop_requested().is_some() { "stopped" } else { "done" });
                return Ok(());
            }
            Err(e) if !abandoned.is_empty() => {
                JobError::Abandoned { threads: abandoned, cause: Some(Box::new(e)) }
            }
            Err(e) => e,
        };
        let error = given_up(error, leader);
        if error.is_move() && matches!(shared.stop_requested(), Some(Stop::Checkpoint | Stop::Drain)) {
            // Others read what was not committed.
            log::info!("job {}: {error}", shared.name);
            finished(shared, "stopped");
            return Ok(());
        }
        let again = state.is_some()
            && (error.is_move() || restarts < spec.config.max_restarts)
            && error.may_restart()
            && shared.stop_requested().is_none();
        if !again {
            finished(shared, state_after(&error));
            return Err(error);
        }
        restarts += u32::from(!error.is_move());
        shared.restarts.add(1);
        shared.clear_cancel();
        match error.is_move() {
            true => log::info!("job {}: {error}; going on from the last commit", shared.name),
            false => log::warn!("job {}: {error}; restart {restarts} from the last commit", shared.name),
        }
        driver = match open_all(spec, shared, state.as_ref()) {
            Ok(Opened::Ready(driver)) => *driver,
            Ok(Opened::Finished) => {
                finished(shared, "done");
                return Ok(());
            }
            Err(e) => {
                finished(shared, state_after(&e));
                return Err(e);
            }
        };
    }
}

/// What a failed job has under way is thrown away. That somebody else has taken over may only be known then: with that it ends, as
/// by beginning again it would shut that one out.
fn given_up(error: JobError, leader: Option<Box<dyn Coordinator>>) -> JobError {
    match leader.map(|mut leader| leader.give_up()) {
        Some(Err(fenced)) => {
            log::warn!("{error}");
            JobError::io("transactions of the job", fenced)
        }
        _ => error,
    }
}

/// How a job that ended with an error is called.
fn state_after(error: &JobError) -> &'static str {
    if matches!(error, JobError::BrokenPipe { .. }) { "closed" } else { "failed" }
}

fn finished(shared: &Shared, state: &'static str) {
    let mut view = shared.live.lock();
    view.state = state;
    view.wall = Some(shared.elapsed());
}

/// The processor thread's loop.
fn run(spec: &JobSpec, driver: &mut Driver) -> Result<(), JobError> {
    match spec.config.execution {
        Execution::Inline => {}
        Execution::Threads => driver.split_all()?,
        Execution::Auto => driver.use_autopilot(),
    }
    if spec.config.execution != Execution::Inline {
        driver.split_snapshots()?;
    }
    let clock = spec.config.clock.clone();
    let mut nap = Duration::from_micros(20);
    driver.begin();
    loop {
        let before = driver.now();
        match settle(catch_unwind(AssertUnwindSafe(|| driver.round(TICK / 5))))? {
            Round::Worked => nap = Duration::from_micros(20),
            Round::Done => return Ok(()),
            Round::Idle(Some(until)) => {
                let left = until.saturating_sub(clock.monotonic());
                driver.nap(left.min(TICK / 5), true);
            }
            // A reader that returned at once although it might have waited is asked ever more rarely.
            Round::Idle(None) if driver.now() - before < Duration::from_micros(100) => {
                driver.nap(nap, false);
                nap = (nap * 2).min(Duration::from_millis(5));
            }
            Round::Idle(None) => {}
        }
    }
}
