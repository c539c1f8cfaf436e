//! The job loops of the async side: simple, transactional, and in three tasks.

use std::time::{Duration, Instant};

use millstream::record::Batch;
use tokio::sync::mpsc;

use super::doors::{AsyncReader, AsyncWriter, Lap, Laps};
use super::engine::{Context, SharedEngine, count_written, metrics, process, write};
use super::{Conditions, Counts, Shape};
use crate::Failure;
use crate::threads::ThreadTime;

const CHANNEL: usize = 8;

/// What a task keeps of its own time: it sleeps only where it says so.
struct TaskClock {
    started: Instant,
    waiting: Duration,
    blocked: Duration,
}

impl TaskClock {
    fn start() -> Self {
        Self { started: Instant::now(), waiting: Duration::ZERO, blocked: Duration::ZERO }
    }
    fn account(&self, name: &str, work: &[(&'static str, Duration)]) -> ThreadTime {
        let wall_s = self.started.elapsed().as_secs_f64();
        let (waiting_s, blocked_s) = (self.waiting.as_secs_f64(), self.blocked.as_secs_f64());
        let busy_s = wall_s - waiting_s - blocked_s;
        let mut parts: Vec<_> = work.iter().map(|(n, d)| (*n, d.as_secs_f64())).collect();
        let rest = busy_s - parts.iter().map(|p| p.1).sum::<f64>();
        parts.push(("loop", rest));
        ThreadTime { name: name.to_owned(), wall_s, busy_s, waiting_s, blocked_s, idle_s: 0.0, parts }
    }
}

async fn pause(clock: &mut TaskClock, conditions: &Conditions) {
    let from = Instant::now();
    tokio::time::sleep(conditions.empty_wait).await;
    clock.waiting += from.elapsed();
}

/// Everything in one task: the report's loop.
pub(super) async fn one_task<R: AsyncReader, W: AsyncWriter>(
    mut reader: R,
    mut writer: W,
    engine: SharedEngine,
    shape: Shape,
    conditions: Conditions,
) -> Result<(Counts, W), Failure> {
    let (context, mut counts, mut clock) = (Context::new(), Counts::default(), TaskClock::start());
    let mut laps = Laps::new(conditions.timed);
    let mut spent = None;
    let mut empty = 0;
    loop {
        if shape.has_more && !reader.has_more().await {
            break;
        }
        let batch = reader.read(spent.take()).await;
        if batch.is_empty() {
            empty += 1;
            if empty >= conditions.empty_batches {
                break;
            }
            pause(&mut clock, &conditions).await;
            continue;
        }
        empty = 0;
        counts.batches += 1;
        // has_more, read, process, write, metrics.
        counts.awaits += 4 + u64::from(shape.has_more);
        let batch = process(&engine, &context, shape, batch, &mut counts, &mut laps).await?;
        write(&mut writer, shape, &batch, &mut counts, &mut laps.copy).await?;
        metrics(&engine, shape, &batch, &mut counts, &mut laps.copy).await;
        spent = laps.drop.of(|| shape.recycle.then_some(batch));
    }
    if conditions.timed {
        counts.tasks.push(clock.account("task", &laps.of_task(reader.busy(), writer.busy())));
    }
    Ok((counts, writer))
}

/// The same loop with a transaction a batch: reader and writer begin, then commit together, or both go back.
pub(super) async fn transactions<R: AsyncReader, W: AsyncWriter>(
    mut reader: R,
    mut writer: W,
    engine: SharedEngine,
    shape: Shape,
    conditions: Conditions,
) -> Result<(Counts, W), Failure> {
    let (context, mut counts, mut clock) = (Context::new(), Counts::default(), TaskClock::start());
    let mut laps = Laps::new(conditions.timed);
    let mut spent = None;
    let (mut empty, mut failures) = (0, 0);
    loop {
        if shape.has_more && !reader.has_more().await {
            break;
        }
        reader.begin().await?;
        let batch = reader.read(spent.take()).await;
        if batch.is_empty() {
            reader.commit().await?;
            empty += 1;
            if empty >= conditions.empty_batches {
                break;
            }
            pause(&mut clock, &conditions).await;
            continue;
        }
        empty = 0;
        writer.begin().await?;
        // has_more, read, process, write, metrics; begin and commit of both.
        counts.awaits += 8 + u64::from(shape.has_more);
        let batch = process(&engine, &context, shape, batch, &mut counts, &mut laps).await?;
        match write(&mut writer, shape, &batch, &mut counts, &mut laps.copy).await {
            Ok(()) => {
                // The writer first: what is lost in between is read again, never skipped.
                writer.commit().await?;
                reader.commit().await?;
                counts.batches += 1;
                failures = 0;
            }
            Err(e) if failures < 3 => {
                writer.abort().await?;
                reader.abort().await?;
                counts.aborts += 1;
                failures += 1;
                eprintln!("transaction rolled back: {e}");
                continue;
            }
            Err(e) => return Err(e),
        }
        metrics(&engine, shape, &batch, &mut counts, &mut laps.copy).await;
        spent = laps.drop.of(|| shape.recycle.then_some(batch));
    }
    if conditions.timed {
        counts.tasks.push(clock.account("task", &laps.of_task(reader.busy(), writer.busy())));
    }
    Ok((counts, writer))
}

async fn read_task<R: AsyncReader>(
    mut reader: R,
    to_engine: mpsc::Sender<Batch>,
    mut home: mpsc::Receiver<Batch>,
    conditions: Conditions,
) -> Counts {
    let (mut counts, mut empty, mut clock) = (Counts::default(), 0, TaskClock::start());
    loop {
        let batch = reader.read(home.try_recv().ok()).await;
        if batch.is_empty() {
            empty += 1;
            if empty >= conditions.empty_batches {
                break;
            }
            pause(&mut clock, &conditions).await;
            continue;
        }
        empty = 0;
        counts.awaits += 2;
        counts.batches += 1;
        let from = conditions.timed.then(Instant::now);
        if to_engine.send(batch).await.is_err() {
            break;
        }
        clock.blocked += from.map_or(Duration::ZERO, |f| f.elapsed());
    }
    if conditions.timed {
        counts.tasks.push(clock.account("reader task", &[("read", reader.busy())]));
    }
    counts
}

async fn engine_task(
    engine: SharedEngine,
    mut from_reader: mpsc::Receiver<Batch>,
    to_writer: mpsc::Sender<Batch>,
    shape: Shape,
    conditions: Conditions,
) -> Result<Counts, Failure> {
    let (context, mut counts, mut clock) = (Context::new(), Counts::default(), TaskClock::start());
    let mut laps = Laps::new(conditions.timed);
    let mut at = conditions.timed.then(Instant::now);
    while let Some(batch) = from_reader.recv().await {
        clock.waiting += at.map_or(Duration::ZERO, |f| f.elapsed());
        counts.awaits += 3;
        let batch = process(&engine, &context, shape, batch, &mut counts, &mut laps).await?;
        counts.locks += 1;
        count_written(&engine, &batch).await;
        let from = conditions.timed.then(Instant::now);
        if to_writer.send(batch).await.is_err() {
            break;
        }
        at = conditions.timed.then(Instant::now);
        if let (Some(from), Some(to)) = (from, at) {
            clock.blocked += to - from;
        }
    }
    clock.waiting += at.map_or(Duration::ZERO, |f| f.elapsed());
    if conditions.timed {
        counts.tasks.push(clock.account("engine task", &[("process", laps.process.sum)]));
    }
    Ok(counts)
}

async fn write_task<W: AsyncWriter>(
    mut writer: W,
    mut from_engine: mpsc::Receiver<Batch>,
    back: mpsc::Sender<Batch>,
    shape: Shape,
    conditions: Conditions,
) -> Result<(Counts, W), Failure> {
    let (mut counts, mut clock) = (Counts::default(), TaskClock::start());
    let mut copy = Lap::new(conditions.timed);
    let mut at = conditions.timed.then(Instant::now);
    while let Some(batch) = from_engine.recv().await {
        clock.waiting += at.map_or(Duration::ZERO, |f| f.elapsed());
        counts.awaits += 2;
        write(&mut writer, shape, &batch, &mut counts, &mut copy).await?;
        if shape.recycle {
            // A full way home drops the batch.
            let _ = back.try_send(batch);
        }
        at = conditions.timed.then(Instant::now);
    }
    clock.waiting += at.map_or(Duration::ZERO, |f| f.elapsed());
    if conditions.timed {
        counts.tasks.push(clock.account("writer task", &[("write", writer.busy())]));
    }
    Ok((counts, writer))
}

/// Three tasks over bounded channels, spent batches going back over a fourth way.
pub(super) async fn three_tasks<R: AsyncReader + 'static, W: AsyncWriter + 'static>(
    reader: R,
    writer: W,
    engine: SharedEngine,
    shape: Shape,
    conditions: Conditions,
) -> Result<(Counts, W), Failure> {
    if shape.transactional {
        return Err("a transaction of reader and writer needs one task".into());
    }
    let (to_engine, from_reader) = mpsc::channel::<Batch>(CHANNEL);
    let (to_writer, from_engine) = mpsc::channel::<Batch>(CHANNEL);
    let (back, home) = mpsc::channel::<Batch>(2 * CHANNEL + 4);
    let read = tokio::spawn(read_task(reader, to_engine, home, conditions));
    let middle = tokio::spawn(engine_task(engine, from_reader, to_writer, shape, conditions));
    let write = tokio::spawn(write_task(writer, from_engine, back, shape, conditions));
    let (a, b) = (read.await?, middle.await??);
    let (c, writer) = write.await??;
    Ok((a.plus(b).plus(c), writer))
}
