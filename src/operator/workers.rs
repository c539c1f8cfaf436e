//! Threads that share the work of one large batch (rayon). They run no stage and take no lock.

use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The pool of a job: made when it is first worth it.
#[derive(Debug, Default)]
pub struct Workers {
    /// Threads that may work at the same time now, the caller's included.
    lanes: usize,
    pool: OnceLock<Option<ThreadPool>>,
}

impl Workers {
    /// Workers of a job with so many threads.
    pub fn new(lanes: usize) -> Self {
        Self { lanes, pool: OnceLock::new() }
    }
    /// Sets how many threads may work at the same time: what the stages' own threads leave.
    pub fn set_lanes(&mut self, lanes: usize) {
        self.lanes = lanes;
    }
    /// The pool and how many parts to make; `None` if there is nobody to share with.
    pub fn pool(&self) -> Option<(&ThreadPool, usize)> {
        if self.lanes < 2 {
            return None;
        }
        let build = || {
            let pool = ThreadPoolBuilder::new()
                .num_threads(self.lanes)
                .thread_name(|i| format!("ms-pool-{i}"))
                .build();
            pool.inspect_err(|e| log::warn!("no threads for work inside a batch: {e}")).ok()
        };
        self.pool.get_or_init(build).as_ref().map(|p| (p, self.lanes))
    }
}
