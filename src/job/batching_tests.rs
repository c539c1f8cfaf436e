//! When a source hands a batch on, under each strategy: a scripted reader, a clock that only it moves, a next stage that is busy or not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::policy::ErrorBudget;
use super::source_stage::{Polled, SourceStage};
use super::{BatchStrategy, JobConfig, OnError};
use crate::io::{Boundedness, DataReader, IoError, Read};
use crate::record::{BatchBuilder, Clock, DataType, Pools, Schema};

const MS: Duration = Duration::from_millis(1);
const WIDE: usize = 100;

/// Each call takes its time, gives its rows and says its word; then it is idle.
struct Scripted {
    clock: Clock,
    calls: VecDeque<(Duration, usize, Read)>,
}

impl DataReader for Scripted {
    fn schema(&self) -> Arc<Schema> {
        Schema::of([("text", DataType::Varchar)])
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        let Some((takes, mut rows, word)) = self.calls.pop_front() else { return Ok(Read::Idle) };
        self.clock.advance(takes);
        while rows > 0 && !out.is_full() {
            out.record().set(0, "x".repeat(WIDE).as_str());
            out.add_bytes(WIDE);
            rows -= 1;
        }
        if rows > 0 {
            self.calls.push_front((Duration::ZERO, rows, word));
            return Ok(Read::More);
        }
        Ok(word)
    }
}

struct Bench {
    stage: SourceStage,
    clock: Clock,
}

fn bench(config: JobConfig, calls: impl IntoIterator<Item = (Duration, usize, Read)>) -> Bench {
    let clock = Clock::virtual_at(1_000_000);
    let config = JobConfig { clock: clock.clone(), batch_linger: MS * 5, ..config };
    let reader = Box::new(Scripted { clock: clock.clone(), calls: calls.into_iter().collect() });
    let budget = Arc::new(ErrorBudget::new(&config));
    let stage = SourceStage::new("in".into(), reader, &config, OnError::Fail, Pools::new(vec![]), 0, budget);
    Bench { stage, clock }
}

impl Bench {
    /// Rows of the batch that is handed on; 0 if none is.
    fn poll(&mut self, next_stage_is_idle: bool) -> usize {
        match self.stage.poll(Duration::ZERO, || next_stage_is_idle).unwrap() {
            Polled::Batch(batch) => batch.len(),
            Polled::Idle(_) => 0,
            Polled::End => panic!("the reader does not end"),
        }
    }
}

fn config(batch_strategy: BatchStrategy) -> JobConfig {
    JobConfig { batch_strategy, batch_rows: 250, ..JobConfig::default() }
}

fn dribble() -> impl Iterator<Item = (Duration, usize, Read)> {
    std::iter::repeat_n((MS, 10, Read::More), 100)
}

#[test]
fn a_partial_batch_goes_at_once_to_an_idle_stage_and_lingers_before_a_busy_one() {
    let mut b = bench(config(BatchStrategy::Fixed), dribble());
    assert_eq!(b.poll(true), 10);
    // From its first rows on it waits 5 ms, each read takes one.
    assert_eq!(b.poll(false), 60);
    assert_eq!(b.poll(true), 10);
    assert_eq!(b.clock.now_micros(), 1_000_000 + 8_000);
}

#[test]
fn a_reader_that_has_nothing_more_does_not_hold_its_rows_back() {
    let calls = [(MS, 10, Read::More), (MS, 3, Read::Idle), (MS, 4, Read::More)];
    let mut b = bench(config(BatchStrategy::Fixed), calls);
    assert_eq!((b.poll(false), b.poll(false), b.poll(false)), (13, 4, 0));
}

/// Gives one row, and ever after says that there may be more.
struct Hopeful {
    calls: Arc<AtomicU32>,
}

impl DataReader for Hopeful {
    fn schema(&self) -> Arc<Schema> {
        Schema::of([("text", DataType::Varchar)])
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        if self.calls.fetch_add(1, Ordering::Relaxed) == 0 {
            out.record().set(0, "x");
        }
        Ok(Read::More)
    }
}

#[test]
fn a_busy_next_stage_keeps_its_core_while_a_reader_hopes_for_more() {
    let config = JobConfig { batch_linger: MS * 5, ..config(BatchStrategy::Fixed) };
    let calls = Arc::<AtomicU32>::default();
    let reader = Box::new(Hopeful { calls: calls.clone() });
    let budget = Arc::new(ErrorBudget::new(&config));
    let stage = SourceStage::new("in".into(), reader, &config, OnError::Fail, Pools::new(vec![]), 0, budget);
    let mut bench = Bench { stage, clock: Clock::System };
    assert_eq!(bench.poll(false), 1);
    // It is asked again each 20 µs at most, for 5 ms.
    let calls = calls.load(Ordering::Relaxed);
    assert!((2..=300).contains(&calls), "{calls} calls");
}

#[test]
fn a_full_batch_goes_whatever_the_next_stage_does() {
    let mut b = bench(config(BatchStrategy::Fixed), [(MS, 600, Read::More)]);
    assert_eq!((b.poll(false), b.poll(false), b.poll(false)), (250, 250, 100));
}

#[test]
fn memory_counts_bytes_and_no_rows() {
    let small = JobConfig { batch_bytes: 30 * WIDE, batch_rows: 1, ..config(BatchStrategy::Memory) };
    let mut b = bench(small, [(MS, 100, Read::More)]);
    assert_eq!((b.poll(false), b.poll(false), b.poll(false), b.poll(false)), (30, 30, 30, 10));
}

#[test]
fn low_latency_waits_for_nobody() {
    let calls = dribble().take(2).chain([(MS, 230, Read::More)]);
    let mut b = bench(config(BatchStrategy::LowLatency), calls);
    assert_eq!((b.poll(false), b.poll(false)), (10, 10));
    assert_eq!((b.poll(false), b.poll(false), b.poll(false)), (100, 100, 30));
}

#[test]
fn a_time_window_closes_after_its_time_even_if_the_next_stage_is_idle() {
    let mut b = bench(config(BatchStrategy::TimeWindow), dribble().take(3).chain([(MS, 2, Read::Idle)]));
    // It opened after 1 ms; 32 rows have come after 4 ms, and the reader has no more.
    assert_eq!(b.poll(true), 0);
    b.clock.advance(MS);
    assert_eq!(b.poll(true), 0);
    b.clock.advance(MS);
    assert_eq!(b.poll(true), 32);
}

#[test]
fn adaptive_batches_grow_while_they_are_fast_and_shrink_when_they_are_not() {
    let mut b = bench(config(BatchStrategy::Adaptive), [(MS, 10_000, Read::More)]);
    let mut sizes = Vec::new();
    for latency in [MS, MS, MS, MS * 9, MS * 9, MS * 4, MS] {
        let rows = b.poll(false);
        sizes.push(rows);
        b.stage.batching.learn(rows, latency);
    }
    assert_eq!(sizes, [100, 200, 250, 250, 125, 62, 62]);
    assert_eq!(b.poll(false), 124);
}

#[test]
fn large_batches_pass_in_pieces_that_fit_a_cache_where_nothing_is_handed_over() {
    let large = || JobConfig { batch_rows: 20_000, batch_bytes: 1 << 30, ..config(BatchStrategy::Fixed) };
    let rows = || [(MS, 100_000, Read::More)];
    let mut b = bench(large(), rows());
    // The first shows how large a row is.
    assert_eq!(b.poll(true), 20_000);
    for _ in 0..3 {
        let piece = b.poll(true);
        assert!((1_000..5_000).contains(&piece), "{piece}");
    }
    b.stage.here = false;
    assert_eq!(b.poll(true), 20_000);
    // An operator emits once a batch.
    let mut b = bench(large(), rows());
    b.stage.whole = true;
    assert_eq!((b.poll(true), b.poll(true)), (20_000, 20_000));
}
