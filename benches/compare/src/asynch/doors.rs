//! Async reader and writer: the traits, and the two that every stage uses.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use millstream::record::Batch;
use millstream::{BatchBuilder, Schema, StreamRecord};

use super::{BATCH_BYTES, Conditions};
use crate::workload::{Drain, Feed, Mark};

pub(super) trait AsyncReader: Send {
    /// Whether there may be more.
    fn has_more(&mut self) -> impl Future<Output = bool> + Send;
    /// The next batch, empty if there is nothing now; `spent` is filled again.
    fn read(&mut self, spent: Option<Batch>) -> impl Future<Output = Batch> + Send;
    /// Remembers where the transaction begins.
    fn begin(&mut self) -> impl Future<Output = Result<(), String>> + Send;
    /// What was read since `begin` is done with.
    fn commit(&mut self) -> impl Future<Output = Result<(), String>> + Send;
    /// Goes back to where the transaction began.
    fn abort(&mut self) -> impl Future<Output = Result<(), String>> + Send;
    /// Time spent reading and decoding.
    fn busy(&self) -> Duration;
}

pub(super) trait AsyncWriter: Send {
    fn write(&mut self, records: &[Arc<StreamRecord>]) -> impl Future<Output = Result<(), String>> + Send;
    /// What is written from now on counts only after `commit`.
    fn begin(&mut self) -> impl Future<Output = Result<(), String>> + Send;
    fn commit(&mut self) -> impl Future<Output = Result<(), String>> + Send;
    /// Forgets what was written since `begin`.
    fn abort(&mut self) -> impl Future<Output = Result<(), String>> + Send;
    /// Time spent encoding and writing.
    fn busy(&self) -> Duration;
}

/// Time spent in something that never suspends; reads the clock only if `on`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lap {
    on: bool,
    pub(super) sum: Duration,
}

impl Lap {
    pub(super) fn new(on: bool) -> Self {
        Self { on, sum: Duration::ZERO }
    }
    pub(super) fn of<T>(&mut self, work: impl FnOnce() -> T) -> T {
        if !self.on {
            return work();
        }
        let start = std::time::Instant::now();
        let result = work();
        self.sum += start.elapsed();
        result
    }
}

/// What a task's loop does between reading and writing.
pub(super) struct Laps {
    pub(super) process: Lap,
    /// Deep clones of the report's sites, with freeing them.
    pub(super) copy: Lap,
    /// Freeing spent batches.
    pub(super) drop: Lap,
}

impl Laps {
    pub(super) fn new(on: bool) -> Self {
        Self { process: Lap::new(on), copy: Lap::new(on), drop: Lap::new(on) }
    }
    /// Everything that a task does; what is left of its time is the loop: scheduling, awaits, locks.
    pub(super) fn of_task(&self, read: Duration, write: Duration) -> [(&'static str, Duration); 5] {
        [
            ("read", read),
            ("process", self.process.sum),
            ("write", write),
            ("copy", self.copy.sum),
            ("drop", self.drop.sum),
        ]
    }
}

pub(super) struct Reader {
    feed: Feed,
    builder: BatchBuilder,
    batch: usize,
    yields: bool,
    begun: Option<Mark>,
    lap: Lap,
}

impl Reader {
    pub(super) fn new(feed: Feed, schema: Arc<Schema>, conditions: Conditions) -> Self {
        let mut builder = BatchBuilder::new(schema);
        builder.set_limits(conditions.batch, BATCH_BYTES);
        let Conditions { batch, yields, timed, .. } = conditions;
        Self { feed, builder, batch, yields, begun: None, lap: Lap::new(timed) }
    }
}

impl AsyncReader for Reader {
    async fn has_more(&mut self) -> bool {
        // The rule for the end is the loop's: three empty batches.
        true
    }
    async fn read(&mut self, spent: Option<Batch>) -> Batch {
        if self.yields {
            tokio::task::yield_now().await;
        }
        let Self { feed, builder, batch, lap, .. } = self;
        lap.of(|| {
            // A new batch has room for all of its records at once.
            builder.supply(|| spent.unwrap_or_else(|| Batch::new(Vec::with_capacity(*batch))));
            feed.fill(builder);
            builder.take(Batch::default())
        })
    }
    async fn begin(&mut self) -> Result<(), String> {
        self.begun = Some(self.feed.mark());
        Ok(())
    }
    async fn commit(&mut self) -> Result<(), String> {
        self.begun.take().map(drop).ok_or_else(|| "no transaction to commit".into())
    }
    async fn abort(&mut self) -> Result<(), String> {
        self.feed.rewind(self.begun.take().ok_or("no transaction to abort")?);
        Ok(())
    }
    fn busy(&self) -> Duration {
        self.lap.sum
    }
}

pub(super) struct Writer {
    drain: Drain,
    yields: bool,
    /// Counted down to the write that fails.
    fails_in: Option<u64>,
    lap: Lap,
}

impl Writer {
    pub(super) fn new(drain: Drain, conditions: Conditions) -> Self {
        Self {
            drain,
            yields: conditions.yields,
            fails_in: conditions.fail_write,
            lap: Lap::new(conditions.timed),
        }
    }
    pub(super) fn finish(&mut self) {
        self.drain.finish();
    }
}

impl AsyncWriter for Writer {
    async fn write(&mut self, records: &[Arc<StreamRecord>]) -> Result<(), String> {
        if self.yields {
            tokio::task::yield_now().await;
        }
        if let Some(n) = &mut self.fails_in {
            *n -= 1;
            if *n == 0 {
                self.fails_in = None;
                // Half of the batch is out already.
                self.drain.take(records.get(..records.len() / 2).unwrap_or_default())?;
                return Err("the sink failed".into());
            }
        }
        let Self { drain, lap, .. } = self;
        lap.of(|| drain.take(records))
    }
    async fn begin(&mut self) -> Result<(), String> {
        self.drain.begin();
        Ok(())
    }
    async fn commit(&mut self) -> Result<(), String> {
        self.drain.commit();
        Ok(())
    }
    async fn abort(&mut self) -> Result<(), String> {
        self.drain.abort();
        Ok(())
    }
    fn busy(&self) -> Duration {
        self.lap.sum
    }
}
