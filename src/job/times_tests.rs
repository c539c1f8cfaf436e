//! Every thread accounts for all of its time, in every execution mode, on a stopwatch that only the doors move.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::io::{Boundedness, DataReader, DataSink, DataSource, DataWriter, IoError, Read, Scan, SinkStart};
use crate::observe::{JobStats, ThreadStats};
use crate::plan::{InputRef, JobPlan, SinkSpec, SourceSpec};
use crate::record::{BatchBuilder, Clock, DataType, Schema, StreamRecord};

const MS: Duration = Duration::from_millis(1);
const BATCHES: u32 = 50;
const ROWS: usize = 10;

/// Takes `work` for a batch, after it has waited `blocks` for its input, and `pause` for the one time when it has nothing yet.
#[derive(Clone)]
struct Door {
    stopwatch: Clock,
    work: Duration,
    blocks: Duration,
    pause: Duration,
    batches: u32,
    calls: u32,
    /// A thread of the pool works for it.
    shares: bool,
    /// How long others have the core in the middle of every twentieth call.
    stolen: Duration,
}

impl Door {
    fn schema() -> Arc<Schema> {
        Schema::of([("n", DataType::BigInt)])
    }
    fn work(&self) {
        self.stopwatch.advance(self.work);
        if self.calls % 20 == 7 {
            self.stopwatch.queue(self.stolen);
        }
    }
}

impl DataSource for Door {
    fn schema(&self) -> Arc<Schema> {
        Self::schema()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }
    fn open(&self, _: &Scan) -> Result<Box<dyn DataReader>, IoError> {
        Ok(Box::new(self.clone()))
    }
}

impl DataReader for Door {
    fn schema(&self) -> Arc<Schema> {
        Self::schema()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        self.calls += 1;
        if self.calls == 1 {
            self.stopwatch.advance(self.pause);
            return Ok(Read::Idle);
        }
        if self.calls > self.batches + 1 {
            return Ok(Read::End);
        }
        self.stopwatch.wait(self.blocks);
        match out.crew().filter(|_| self.shares).and_then(|c| Some((c, c.pool()?))) {
            Some((crew, pool)) => pool.install(|| crew.help(|| self.work())),
            None => self.work(),
        }
        for n in 0..ROWS {
            out.record().set(0, n as i64);
        }
        Ok(Read::More)
    }
}

impl DataSink for Door {
    fn open(&self, _: Arc<Schema>, _: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        Ok(Box::new(self.clone()))
    }
}

impl DataWriter for Door {
    fn write(&mut self, _: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        self.calls += 1;
        self.work();
        Ok(())
    }
    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

fn run(execution: Execution, read: Duration, pause: Duration, write: Duration) -> JobStats {
    run_batches(BATCHES, execution, [read, Duration::ZERO], pause, write)
}

fn run_batches(
    batches: u32,
    execution: Execution,
    read: [Duration; 2],
    pause: Duration,
    write: Duration,
) -> JobStats {
    run_among(Duration::ZERO, false, batches, execution, read, pause, write)
}

/// `read`: what a batch takes the source, and what it waits for it. `shares`: a thread of the pool does the work of the source.
fn run_shared(
    shares: bool,
    batches: u32,
    execution: Execution,
    read: [Duration; 2],
    pause: Duration,
    write: Duration,
) -> JobStats {
    run_among(Duration::ZERO, shares, batches, execution, read, pause, write)
}

/// `stolen`: for how long others have the core in every twentieth call of source and sink.
fn run_among(
    stolen: Duration,
    shares: bool,
    batches: u32,
    execution: Execution,
    read: [Duration; 2],
    pause: Duration,
    write: Duration,
) -> JobStats {
    let stopwatch = Clock::virtual_at(1_000_000);
    let door = |[work, blocks]: [Duration; 2], pause| Door {
        stopwatch: stopwatch.clone(),
        work,
        blocks,
        pause,
        batches,
        calls: 0,
        shares,
        stolen,
    };
    let config = JobConfig {
        name: "times".into(),
        execution,
        threads: 3,
        batch_rows: ROWS,
        channel_batches: Some(1),
        stopwatch: stopwatch.clone(),
        ..JobConfig::default()
    };
    let schema = Door::schema();
    let source = SourceSpec { relation: "in".into(), schema: schema.clone(), system: vec![], values: None };
    let sink = SinkSpec { relation: "out".into(), inputs: vec![InputRef::Source(0)], schema };
    let spec = JobSpec {
        config,
        plan: JobPlan { sources: vec![source], nodes: vec![], sinks: vec![sink] },
        sources: vec![SourcePart { name: "in".into(), source: Arc::new(door(read, pause)), on_error: None }],
        sinks: vec![SinkPart {
            name: "out".into(),
            sink: Arc::new(door([write, Duration::ZERO], Duration::ZERO)),
        }],
        dead_letters: None,
    };
    let stats = start(spec).unwrap().wait().unwrap();
    assert_eq!(stats.records_out, u64::from(batches) * ROWS as u64);
    for t in &stats.threads {
        let sum = t.busy_s + t.waiting_s + t.blocked_s + t.idle_s;
        assert!((sum - t.wall_s).abs() <= 0.02 * t.wall_s, "{t:?}");
    }
    let wall = thread(&stats, "ms-process").wall_s;
    assert!((wall - stats.wall_s).abs() <= 0.02 * stats.wall_s, "{wall} of {}", stats.wall_s);
    stats
}

fn thread<'a>(stats: &'a JobStats, name: &str) -> &'a ThreadStats {
    stats.threads.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no {name}: {:?}", stats.threads))
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}

#[test]
fn inline_every_millisecond_has_its_owner() {
    let stats = run(Execution::Inline, MS * 3, MS * 40, MS * 5);
    let [only] = stats.threads.as_slice() else { panic!("{:?}", stats.threads) };
    let n = f64::from(BATCHES);
    assert!(near(stats.sources[0].time.busy_s, n * 0.003), "{:?}", stats.sources);
    assert!(near(stats.sources[0].time.waiting_s, 0.040), "{:?}", stats.sources);
    assert!(near(stats.sinks[0].time.busy_s, n * 0.005), "{:?}", stats.sinks);
    assert!(near(only.busy_s, n * 0.008) && near(only.waiting_s, 0.040), "{only:?}");
    assert!(near(only.wall_s, n * 0.008 + 0.040) && near(stats.wall_s, only.wall_s), "{only:?}");
    assert!(near(stats.process_s, 0.0) && near(stats.sinks[0].backpressure_s, 0.0));
}

#[test]
fn each_stage_on_its_thread_accounts_for_its_wall_time() {
    let stats = run(Execution::Threads, Duration::ZERO, MS * 40, MS * 5);
    let (reader, writer) = (thread(&stats, "ms-read-0"), thread(&stats, "ms-write-0"));
    // Nobody else moves the stopwatch: what the writer takes is what the others wait for.
    assert!(near(stats.sinks[0].time.busy_s, f64::from(BATCHES) * 0.005), "{:?}", stats.sinks);
    assert!(writer.busy_s >= stats.sinks[0].time.busy_s, "{writer:?}");
    let process = thread(&stats, "ms-process");
    assert!(process.blocked_s >= stats.sinks[0].backpressure_s, "{process:?}");
    // Where the reader pauses, it waits or is idle; whom the writer holds up depends on the scheduler.
    assert!(reader.waiting_s + reader.idle_s >= 0.040, "{reader:?}");
}

#[test]
fn auto_keeps_one_account_per_thread_while_stages_move() {
    let stats = run(Execution::Auto, MS * 3, MS * 40, MS * 5);
    assert!(!stats.decisions.is_empty());
    assert!(stats.threads.len() >= 2, "{:?}", stats.threads);
    let mut names: Vec<_> = stats.threads.iter().map(|t| &t.name).collect();
    names.dedup();
    assert_eq!(names.len(), stats.threads.len());
}

#[test]
fn auto_leaves_cheap_stages_where_they_are() {
    let stats =
        run_batches(5_000, Execution::Auto, [MS * 9 / 1000, Duration::ZERO], Duration::ZERO, MS / 1000);
    assert!(stats.decisions.is_empty() && stats.execution == "inline", "{:?}", stats.decisions);
    assert_eq!(stats.threads.len(), 1);
}

#[test]
fn auto_splits_balanced_stages_and_takes_back_what_brings_nothing_each_with_its_reason() {
    // All threads move the same stopwatch: on it two threads need as long as one.
    let stats = run_batches(2_000, Execution::Auto, [MS * 4, Duration::ZERO], Duration::ZERO, MS * 4);
    let told: Vec<_> = stats.decisions.iter().map(|d| (d.placement.as_str(), d.reason.as_str())).collect();
    let [(first, promise), (second, result), ..] = told.as_slice() else { panic!("{told:?}") };
    assert!(first.starts_with("threads: source 0") && promise.contains("promises"), "{told:?}");
    assert!(*second == "inline" && result.contains("threads brought"), "{told:?}");
}

#[test]
fn what_a_reader_waits_inside_of_its_calls_is_no_work() {
    let stats = run_batches(BATCHES, Execution::Inline, [MS * 3, MS * 7], MS * 40, MS * 5);
    let n = f64::from(BATCHES);
    let source = &stats.sources[0].time;
    assert!(near(source.busy_s, n * 0.003) && near(source.waiting_s, n * 0.007 + 0.040), "{source:?}");
    let [only] = stats.threads.as_slice() else { panic!("{:?}", stats.threads) };
    assert!(near(only.busy_s, n * 0.008) && near(only.waiting_s, n * 0.007 + 0.040), "{only:?}");
}

#[test]
fn auto_gives_a_source_that_blocks_a_thread_and_takes_it_back_when_that_brings_nothing() {
    // On the one stopwatch waiting and work do not overlap: as with a source whose input comes when it comes.
    let stats = run_batches(2_000, Execution::Auto, [MS, MS * 19], Duration::ZERO, MS * 5);
    let told: Vec<_> = stats.decisions.iter().map(|d| (d.placement.as_str(), d.reason.as_str())).collect();
    let [(first, why), (second, result), ..] = told.as_slice() else { panic!("{told:?}") };
    assert!(*first == "threads: source 0" && why.contains("source 0 waits 95 %"), "{told:?}");
    assert!(*second == "inline" && result.contains("threads brought"), "{told:?}");
}

#[test]
fn a_thread_that_helps_accounts_for_its_time_too() {
    let stats = run_shared(true, BATCHES, Execution::Auto, [MS * 3, Duration::ZERO], Duration::ZERO, MS * 5);
    let helpers: Vec<_> = stats.threads.iter().filter(|t| t.name.starts_with("ms-pool-")).collect();
    let busy: f64 = helpers.iter().map(|t| t.busy_s).sum();
    assert!(!helpers.is_empty() && busy > 0.0, "{:?}", stats.threads);
    // While one helps, others move the common stopwatch too: no bound on what it counts but its own time.
    assert!(helpers.iter().all(|t| near(t.busy_s + t.idle_s, t.wall_s)), "{helpers:?}");
    assert!(helpers.iter().all(|t| t.wall_s <= stats.wall_s + 1e-6), "{helpers:?}");
}

#[test]
fn what_others_take_of_the_core_is_neither_work_nor_waiting() {
    let (read, write) = ([MS * 9 / 1000, Duration::ZERO], MS / 1000);
    let stats = run_among(MS * 5, false, 5_000, Execution::Auto, read, Duration::ZERO, write);
    // 45 and 5 ms of work in the two stages, and 1,250 ms lost in each of them: that would be balanced and costly.
    assert!(stats.decisions.is_empty() && stats.execution == "inline", "{:?}", stats.decisions);
    assert!(near(stats.wall_s, 2.55), "{}", stats.wall_s);
    assert!(near(stats.sources[0].time.waiting_s, 0.0), "{:?}", stats.sources);
}

#[test]
fn auto_splits_the_same_job_for_the_same_reason_among_neighbours() {
    let run = |stolen| {
        let read = [MS * 5, Duration::ZERO];
        run_among(stolen, false, 2_000, Execution::Auto, read, Duration::ZERO, MS * 3)
    };
    let (alone, among) = (run(Duration::ZERO), run(MS * 400));
    let first = |stats: &JobStats| stats.decisions.first().map(|d| (d.placement.clone(), d.reason.clone()));
    assert!(first(&alone).is_some_and(|(_, why)| why.contains("promises 1.6")), "{:?}", alone.decisions);
    assert_eq!(first(&among), first(&alone));
}
