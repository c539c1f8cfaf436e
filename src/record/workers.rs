//! Threads that share a stage's work (rayon): they run no stage and take no lock.
//!
//! An operator divides one large batch among them and waits; a reader lets them decode parts of its input ahead and meanwhile
//! goes on. All stages of a job share one pool, so that its threads are counted once.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{Batch, Clock, Pools, Prepare, Preparer, sorted};

/// The pool of a job: made when it is first worth it.
#[derive(Debug, Default)]
pub struct Workers {
    /// Threads that may work at the same time now, the caller's included.
    lanes: AtomicUsize,
    /// The most that there can be.
    most: usize,
    /// Threads of the pool that decode ahead now.
    helping: AtomicUsize,
    pool: OnceLock<Option<ThreadPool>>,
    clock: Clock,
    times: Arc<PoolTimes>,
}

/// What the threads of a pool did with their time: each worked, or had nothing to do.
#[derive(Debug, Default)]
pub struct PoolTimes {
    threads: Mutex<Vec<PoolThread>>,
    /// Nanoseconds of work, by thread.
    busy: Vec<AtomicU64>,
}

#[derive(Clone, Copy, Debug)]
struct PoolThread {
    index: usize,
    began: Instant,
    ended: Option<Instant>,
}

impl PoolTimes {
    fn of(threads: usize) -> Self {
        Self { threads: Mutex::default(), busy: (0..threads).map(|_| AtomicU64::new(0)).collect() }
    }
    /// Time of work of all threads.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy.iter().map(|b| b.load(Ordering::Relaxed)).sum())
    }
    /// Name, time from its start to its end or to `now`, and time of work of each thread that was started, in their order.
    pub fn threads(&self, now: Instant) -> Vec<(String, Duration, Duration)> {
        let mut all = self.threads.lock().clone();
        sorted::sort_by_key(&mut all, |t| t.index);
        let times = |t: &PoolThread| {
            let busy = self.busy.get(t.index).map_or(0, |b| b.load(Ordering::Relaxed));
            let wall = t.ended.unwrap_or(now).min(now).saturating_duration_since(t.began);
            (name(t.index), wall, Duration::from_nanos(busy).min(wall))
        };
        all.iter().map(times).collect()
    }
}

fn name(index: usize) -> String {
    format!("ms-pool-{index}")
}

impl Workers {
    /// Workers of a job with so many threads.
    pub fn new(lanes: usize) -> Self {
        Self::timed(lanes, Clock::System)
    }
    /// The same; `clock` measures their work.
    pub fn timed(lanes: usize, clock: Clock) -> Self {
        let times = Arc::new(PoolTimes::of(lanes));
        let (helping, pool) = (AtomicUsize::new(0), OnceLock::new());
        Self { lanes: AtomicUsize::new(lanes), most: lanes, helping, pool, clock, times }
    }
    /// What its threads do with their time.
    pub fn times(&self) -> &Arc<PoolTimes> {
        &self.times
    }
    /// Does a piece of work in the pool, and counts its time as that of the thread.
    pub fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        self.timed_work(work).0
    }
    fn timed_work<T>(&self, work: impl FnOnce() -> T) -> (T, Duration) {
        let start = self.clock.instant();
        let made = work();
        let spent = self.clock.instant().saturating_duration_since(start);
        if let Some(busy) = rayon::current_thread_index().and_then(|i| self.times.busy.get(i)) {
            busy.fetch_add(spent.as_nanos() as u64, Ordering::Relaxed);
        }
        (made, spent)
    }
    /// Sets how many threads may work at the same time: what the stages' own threads leave.
    pub fn set_lanes(&self, lanes: usize) {
        self.lanes.store(lanes.min(self.most), Ordering::Relaxed);
    }
    /// How many threads may work at the same time, the caller's included.
    pub fn lanes(&self) -> usize {
        self.lanes.load(Ordering::Relaxed)
    }
    /// The pool and how many parts to make of a batch; `None` if there is nobody to share with: whoever decodes ahead has a share already.
    pub fn pool(&self) -> Option<(&ThreadPool, usize)> {
        self.pool_of(self.lanes().saturating_sub(self.helping.load(Ordering::Relaxed)))
    }
    fn pool_of(&self, lanes: usize) -> Option<(&ThreadPool, usize)> {
        if lanes < 2 {
            return None;
        }
        let build = || {
            let (times, ends) = (self.times.clone(), self.times.clone());
            let (clock, stops) = (self.clock.clone(), self.clock.clone());
            let pool = ThreadPoolBuilder::new()
                .num_threads(self.most)
                .thread_name(name)
                .start_handler(move |index| {
                    times.threads.lock().push(PoolThread { index, began: clock.instant(), ended: None });
                })
                .exit_handler(move |index| {
                    let mut threads = ends.threads.lock();
                    if let Some(thread) = threads.iter_mut().find(|t| t.index == index) {
                        thread.ended = Some(stops.instant());
                    }
                })
                .build();
            pool.inspect_err(|e| log::warn!("no threads for work inside a batch: {e}")).ok()
        };
        self.pool.get_or_init(build).as_ref().map(|p| (p, lanes))
    }
}

/// What a reader needs to let others decode ahead: the job's workers, and spent batches of its own shape.
#[derive(Clone, Debug)]
pub struct Crew {
    workers: Arc<Workers>,
    pools: Pools,
    home: u16,
    /// Nanoseconds that helpers worked.
    helped: Arc<AtomicU64>,
    /// What helpers do beyond decoding.
    prepare: Option<Arc<dyn Prepare>>,
}

impl Crew {
    /// For a source whose batches live in pool `home`; `helped` takes the nanoseconds that helpers work.
    pub fn new(workers: Arc<Workers>, pools: Pools, home: u16, helped: Arc<AtomicU64>) -> Self {
        Self { workers, pools, home, helped, prepare: None }
    }
    /// Lets helpers do more than decode.
    pub fn prepared_by(self, prepare: Arc<dyn Prepare>) -> Self {
        Self { prepare: Some(prepare), ..self }
    }
    /// Somebody who works on decoded batches, if there is something to be done.
    pub fn preparer(&self) -> Option<Box<dyn Preparer>> {
        self.prepare.as_ref().map(|p| p.preparer())
    }
    /// How many helpers may work beside the caller now.
    pub fn helpers(&self) -> usize {
        self.workers.lanes().saturating_sub(1)
    }
    /// The pool to start helpers in.
    pub fn pool(&self) -> Option<&ThreadPool> {
        self.workers.pool_of(self.workers.lanes()).map(|(pool, _)| pool)
    }
    /// Starts a helper; it decodes ahead until `work` returns.
    pub fn call(&self, pool: &ThreadPool, work: impl FnOnce() + Send + 'static) {
        self.workers.helping.fetch_add(1, Ordering::Relaxed);
        let workers = self.workers.clone();
        pool.spawn(move || {
            work();
            workers.helping.fetch_sub(1, Ordering::Relaxed);
        });
    }
    /// A spent batch, preferably one that this thread filled, or an empty new one.
    pub fn spare(&self) -> Batch {
        self.pools.take_own(self.home)
    }
    /// Gives a batch back that is not needed after all.
    pub fn give(&self, mut batch: Batch) {
        batch.set_home(self.home);
        self.pools.give(batch);
    }
    /// A helper's work for the source; its time is counted.
    pub fn help<T>(&self, work: impl FnOnce() -> T) -> T {
        let (made, spent) = self.workers.timed_work(work);
        self.helped.fetch_add(spent.as_nanos() as u64, Ordering::Relaxed);
        made
    }
}
