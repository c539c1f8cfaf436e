//! Where spent batches wait to be filled again.
//!
//! Evidence: records allocated on one thread and freed on another cost more than a stage's work.
//! So a batch remembers the pool that it came from, and whoever holds it last gives it back.
//! A pool never blocks: a full one drops what it is given, an empty one makes the taker allocate.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use super::Batch;

/// A bounded stock of spent batches of one shape. The batch given last is taken first: what is filled next is what the caches
/// still know, and spare batches of a burst stay at the bottom.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Held for a push or a pop, never while records are touched.
    stock: Arc<Mutex<Stock>>,
    max_batches: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Stock {
    batches: Vec<Batch>,
    /// Their footprints: each batch's payload size, free while it is idle, remembers what was counted.
    bytes: usize,
}

impl Pool {
    /// A pool that holds at most `max_batches` batches and `max_bytes` bytes.
    pub fn new(max_batches: usize, max_bytes: usize) -> Self {
        Self { stock: Arc::default(), max_batches, max_bytes }
    }
    /// Gives a spent batch back.
    pub fn give(&self, mut batch: Batch) {
        batch.clear();
        let size = batch.footprint();
        batch.set_bytes(size);
        let mut stock = self.stock.lock();
        if stock.batches.len() < self.max_batches && stock.bytes + size <= self.max_bytes {
            stock.bytes += size;
            stock.batches.push(batch);
        } else {
            // Its records are freed without the lock.
            drop(stock);
        }
    }
    /// A spent batch, or an empty new one.
    pub fn take(&self) -> Batch {
        self.take_where(|_| true)
    }
    /// The same; if one was filled by this thread last, that one: its records are still in the caches of this core.
    pub fn take_own(&self) -> Batch {
        let me = this_thread();
        self.take_where(|b| b.filler() == me)
    }
    fn take_where(&self, wanted: impl Fn(&Batch) -> bool) -> Batch {
        let mut stock = self.stock.lock();
        let at = stock.batches.iter().rposition(wanted).or(stock.batches.len().checked_sub(1));
        let Some(mut batch) = at.map(|at| stock.batches.remove(at)) else { return Batch::default() };
        stock.bytes -= batch.bytes();
        drop(stock);
        batch.clear();
        batch
    }
    /// Bytes held now (estimate).
    pub fn held_bytes(&self) -> usize {
        self.stock.lock().bytes
    }
}

thread_local! {
    static THREAD: Cell<u32> = const { Cell::new(0) };
}

/// A number of this thread that no other has, from 1.
pub(super) fn this_thread() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    if THREAD.get() == 0 {
        THREAD.set(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    THREAD.get()
}

/// All pools of a job, by the `home` index that its batches carry.
#[derive(Clone, Debug, Default)]
pub struct Pools {
    pools: Arc<Vec<Pool>>,
}

impl Pools {
    /// The pools of a job.
    pub fn new(pools: Vec<Pool>) -> Self {
        Self { pools: Arc::new(pools) }
    }
    /// A batch for `home`.
    pub fn take(&self, home: u16) -> Batch {
        let mut batch = self.pools.get(home as usize).map(Pool::take).unwrap_or_default();
        batch.set_home(home);
        batch
    }
    /// The same, preferably one that this thread filled last.
    pub fn take_own(&self, home: u16) -> Batch {
        let mut batch = self.pools.get(home as usize).map(Pool::take_own).unwrap_or_default();
        batch.set_home(home);
        batch
    }
    /// Gives a batch back to its home.
    pub fn give(&self, batch: Batch) {
        if let Some(pool) = self.pools.get(batch.home() as usize) {
            pool.give(batch);
        }
    }
    /// Gives a shared batch back if this was its last holder.
    pub fn give_shared(&self, batch: Arc<Batch>) {
        if let Some(batch) = Arc::into_inner(batch) {
            self.give(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{DataType, Schema, StreamRecord};

    fn batch(n: usize) -> Batch {
        let s = Schema::of([("a", DataType::BigInt)]);
        Batch::new((0..n).map(|_| Arc::new(StreamRecord::new(s.clone()))).collect())
    }

    #[test]
    fn the_bounds_hold_and_the_count_returns_to_zero() {
        let size = batch(10).footprint();
        let pool = Pool::new(8, size * 3);
        for _ in 0..20 {
            pool.give(batch(10));
        }
        assert!(pool.held_bytes() <= size * 3 && pool.held_bytes() > 0);
        while pool.take().capacity() > 0 {}
        assert_eq!(pool.held_bytes(), 0);
        let small = Pool::new(2, usize::MAX);
        (0..5).for_each(|_| small.give(batch(1)));
        assert_eq!((0..5).filter(|_| small.take().capacity() > 0).count(), 2);
        assert_eq!(small.held_bytes(), 0);
    }

    #[test]
    fn a_shared_batch_comes_home_once() {
        let pools = Pools::new(vec![Pool::new(4, usize::MAX)]);
        let shared = Arc::new(batch(3));
        let other = shared.clone();
        pools.give_shared(shared);
        assert_eq!(pools.take(0).capacity(), 0);
        pools.give_shared(other);
        assert_eq!(pools.take(0).capacity(), 3);
    }
}
