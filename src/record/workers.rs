//! Threads that share a stage's work (rayon): they run no stage and take no lock.
//!
//! An operator divides one large batch among them and waits; a reader lets them decode parts of its input ahead and meanwhile
//! goes on. All stages of a job share one pool, so that its threads are counted once.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{Batch, Pools};

/// The pool of a job: made when it is first worth it.
#[derive(Debug, Default)]
pub struct Workers {
    /// Threads that may work at the same time now, the caller's included.
    lanes: AtomicUsize,
    /// The most that there can be.
    most: usize,
    pool: OnceLock<Option<ThreadPool>>,
}

impl Workers {
    /// Workers of a job with so many threads.
    pub fn new(lanes: usize) -> Self {
        Self { lanes: AtomicUsize::new(lanes), most: lanes, pool: OnceLock::new() }
    }
    /// Sets how many threads may work at the same time: what the stages' own threads leave.
    pub fn set_lanes(&self, lanes: usize) {
        self.lanes.store(lanes.min(self.most), Ordering::Relaxed);
    }
    /// How many threads may work at the same time, the caller's included.
    pub fn lanes(&self) -> usize {
        self.lanes.load(Ordering::Relaxed)
    }
    /// The pool and how many parts to make; `None` if there is nobody to share with.
    pub fn pool(&self) -> Option<(&ThreadPool, usize)> {
        let lanes = self.lanes();
        if lanes < 2 {
            return None;
        }
        let build = || {
            let pool = ThreadPoolBuilder::new()
                .num_threads(self.most)
                .thread_name(|i| format!("ms-pool-{i}"))
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
}

impl Crew {
    /// For a source whose batches live in pool `home`; `helped` takes the nanoseconds that helpers work.
    pub fn new(workers: Arc<Workers>, pools: Pools, home: u16, helped: Arc<AtomicU64>) -> Self {
        Self { workers, pools, home, helped }
    }
    /// How many helpers may work beside the caller now.
    pub fn helpers(&self) -> usize {
        self.workers.lanes().saturating_sub(1)
    }
    /// The pool to start helpers in.
    pub fn pool(&self) -> Option<&ThreadPool> {
        self.workers.pool().map(|(pool, _)| pool)
    }
    /// A spent batch, or an empty new one.
    pub fn spare(&self) -> Batch {
        self.pools.take(self.home)
    }
    /// Gives a batch back that is not needed after all.
    pub fn give(&self, mut batch: Batch) {
        batch.set_home(self.home);
        self.pools.give(batch);
    }
    /// Counts the time that a helper worked.
    pub fn helped(&self, time: Duration) {
        self.helped.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }
}
