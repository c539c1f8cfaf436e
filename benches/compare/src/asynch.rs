//! The async engine that the shipped one is compared with: one code path, whose stages are configurations of it.
//!
//! Same records, builder, decoder, operators, encoder and allocator as the shipped engine; tokio's multi-thread runtime, async
//! reader and writer traits, the engine behind a tokio lock. A reader and a writer yield to the scheduler once a batch, as
//! any that waits for I/O does (`--no-yield`: they never do).

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use millstream::StreamRecord;
use millstream::operator::{self, InputId, Operator, OperatorCounters, Output, Workers};
use millstream::plan::JobPlan;
use millstream::record::{Batch, Pool, Pools, deep_copies_on_this_thread};
use tokio::sync::{Mutex, mpsc};

use crate::Failure;
use crate::trace::Tracer;
use crate::workload::{Drain, Feed, Workload};

/// What a stage does; the steps of the report differ in these switches alone.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Deep clones at the report's sites: unwrapping for trace injection, writing, metrics.
    pub clone_for_trace: bool,
    pub clone_for_write: bool,
    pub clone_for_metrics: bool,
    /// The engine lock is taken, and the context cloned, for each record.
    pub per_record: bool,
    /// `has_more()` is awaited before each read.
    pub has_more: bool,
    /// Spent batches are filled again.
    pub recycle: bool,
    /// Reader, engine and writer are three tasks over bounded channels.
    pub staged: bool,
}

impl Shape {
    pub const BASELINE: Self = Self {
        clone_for_trace: true,
        clone_for_write: true,
        clone_for_metrics: true,
        per_record: true,
        has_more: true,
        recycle: false,
        staged: false,
    };
    pub const PHASE1: Self =
        Self { clone_for_write: false, clone_for_metrics: false, per_record: false, ..Self::BASELINE };
    pub const PHASE2: Self = Self { clone_for_trace: false, ..Self::PHASE1 };
    pub const PHASE3: Self = Self { has_more: false, ..Self::PHASE2 };
    pub const RECYCLING: Self = Self { recycle: true, ..Self::PHASE3 };
    pub const STAGED: Self = Self { staged: true, ..Self::RECYCLING };
}

/// Everything but the shape.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    pub batch: usize,
    pub trace: bool,
    pub yields: bool,
    /// End of stream: so many empty reads, so far apart.
    pub empty_batches: u32,
    pub empty_wait: Duration,
}

/// Bytes of a batch, the same on both sides: rows alone decide.
pub const BATCH_BYTES: usize = 64 << 20;
const CHANNEL: usize = 8;

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub batches: u64,
    /// Awaits of the loop; waiting for the engine lock counts as a lock acquisition.
    pub awaits: u64,
    pub locks: u64,
    pub deep_copies: u64,
}

impl Counts {
    fn plus(self, o: Self) -> Self {
        Self {
            batches: self.batches + o.batches,
            awaits: self.awaits + o.awaits,
            locks: self.locks + o.locks,
            deep_copies: self.deep_copies + o.deep_copies,
        }
    }
    /// Runs something that never suspends, and counts the deep copies made in it.
    fn watch<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = deep_copies_on_this_thread();
        let result = work();
        self.deep_copies += deep_copies_on_this_thread() - before;
        result
    }
}

trait AsyncReader: Send {
    /// Whether there may be more.
    fn has_more(&mut self) -> impl Future<Output = bool> + Send;
    /// The next batch, empty if there is nothing now; `spent` is filled again.
    fn read(&mut self, spent: Option<Batch>) -> impl Future<Output = Batch> + Send;
}

trait AsyncWriter: Send {
    fn write(&mut self, records: &[Arc<StreamRecord>]) -> impl Future<Output = Result<(), String>> + Send;
}

struct Reader {
    feed: Feed,
    builder: millstream::BatchBuilder,
    yields: bool,
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
        self.builder.supply(|| spent.unwrap_or_default());
        self.feed.fill(&mut self.builder);
        self.builder.take(Batch::default())
    }
}

struct Writer {
    drain: Drain,
    yields: bool,
}

impl AsyncWriter for Writer {
    async fn write(&mut self, records: &[Arc<StreamRecord>]) -> Result<(), String> {
        if self.yields {
            tokio::task::yield_now().await;
        }
        self.drain.take(records)
    }
}

/// The shipped engine's own operators, driven by hand.
pub struct Operators {
    chain: Vec<Box<dyn Operator>>,
    pools: Pools,
    batches: Vec<Batch>,
    counters: OperatorCounters,
    /// No second thread helps: the async engine's own tasks are its threads.
    workers: Workers,
}

impl Operators {
    pub fn new(plan: &JobPlan) -> Result<Self, Failure> {
        let chain = plan.nodes.iter().map(operator::build).collect::<Result<Vec<_>, _>>()?;
        if chain.len() > 1 {
            return Err("the async side runs one operator at most".into());
        }
        Ok(Self {
            chain,
            pools: Pools::new(vec![Pool::new(4, usize::MAX)]),
            batches: Vec::new(),
            counters: OperatorCounters::default(),
            workers: Workers::default(),
        })
    }
    pub fn process(&mut self, batch: Batch) -> Result<Batch, Failure> {
        let Some(operator) = self.chain.first_mut() else { return Ok(batch) };
        let mut rejects = Vec::new();
        let mut out = Output {
            batches: &mut self.batches,
            rejects: &mut rejects,
            counters: &mut self.counters,
            pools: &self.pools,
            home: 0,
            workers: &self.workers,
            now: 0,
            done: false,
            watermark: None,
            idle: None,
            fatal: None,
        };
        operator.process(InputId(0), batch, &mut out);
        match rejects.pop() {
            Some(r) => Err(r.error.to_string().into()),
            None => Ok(self.batches.pop().unwrap_or_else(|| self.pools.take(0))),
        }
    }
}

/// What every record was handed in the beginning: names and settings of the job.
#[derive(Clone)]
struct Context {
    names: HashMap<String, String>,
}

struct Engine {
    operators: Operators,
    tracer: Option<Tracer>,
    processed: u64,
    written: u64,
}

impl Engine {
    fn process_record(&mut self, record: &Arc<StreamRecord>, context: &Context, out: &mut Batch) {
        self.processed += u64::from(!context.names.is_empty());
        out.push(record.clone());
    }
}

type SharedEngine = Arc<Mutex<Engine>>;

/// The engine's part of a batch: locks, operators, trace injection.
async fn process(
    engine: &SharedEngine,
    context: &Context,
    shape: Shape,
    batch: Batch,
    counts: &mut Counts,
) -> Result<Batch, Failure> {
    let mut out;
    if shape.per_record {
        out = Batch::default();
        for record in batch.records() {
            let context = context.clone();
            counts.locks += 1;
            engine.lock().await.process_record(record, &context, &mut out);
        }
        // The input's own references go: what follows is not shared.
        drop(batch);
    } else {
        out = batch;
    }
    counts.locks += 1;
    let mut engine = engine.lock().await;
    let engine = &mut *engine;
    counts.watch(|| {
        if !shape.per_record {
            engine.processed += out.len() as u64;
            out = engine.operators.process(std::mem::take(&mut out))?;
        }
        if let Some(tracer) = &mut engine.tracer {
            if shape.clone_for_trace {
                for record in out.records_mut() {
                    *record = Arc::new(StreamRecord::clone(record));
                }
            }
            tracer.inject(&mut out);
        }
        Ok(out)
    })
}

async fn write<W: AsyncWriter>(
    writer: &mut W,
    shape: Shape,
    batch: &Batch,
    counts: &mut Counts,
) -> Result<(), Failure> {
    if shape.clone_for_write {
        let copies: Vec<_> =
            counts.watch(|| batch.records().iter().map(|r| Arc::new(StreamRecord::clone(r))).collect());
        return Ok(writer.write(&copies).await?);
    }
    Ok(writer.write(batch.records()).await?)
}

async fn metrics(engine: &SharedEngine, shape: Shape, batch: &Batch, counts: &mut Counts) {
    if shape.clone_for_metrics {
        let copies: Vec<StreamRecord> =
            counts.watch(|| batch.records().iter().map(|r| StreamRecord::clone(r)).collect());
        std::hint::black_box(&copies);
    }
    counts.locks += 1;
    engine.lock().await.written += batch.len() as u64;
}

/// Everything in one task: the report's loop.
async fn one_task<R: AsyncReader, W: AsyncWriter>(
    mut reader: R,
    mut writer: W,
    engine: SharedEngine,
    context: Context,
    shape: Shape,
    conditions: Conditions,
) -> Result<(Counts, W), Failure> {
    let mut counts = Counts::default();
    let mut spent = None;
    let mut empty = 0;
    loop {
        if shape.has_more {
            counts.awaits += 1;
            if !reader.has_more().await {
                break;
            }
        }
        counts.awaits += 1;
        let batch = reader.read(spent.take()).await;
        if batch.is_empty() {
            counts.awaits -= 1 + u64::from(shape.has_more);
            empty += 1;
            if empty >= conditions.empty_batches {
                break;
            }
            tokio::time::sleep(conditions.empty_wait).await;
            continue;
        }
        counts.batches += 1;
        counts.awaits += 3;
        let batch = process(&engine, &context, shape, batch, &mut counts).await?;
        write(&mut writer, shape, &batch, &mut counts).await?;
        metrics(&engine, shape, &batch, &mut counts).await;
        if shape.recycle {
            spent = Some(batch);
        }
    }
    Ok((counts, writer))
}

/// Three tasks over bounded channels, spent batches going back over a fourth way.
async fn three_tasks<R: AsyncReader + 'static, W: AsyncWriter + 'static>(
    mut reader: R,
    mut writer: W,
    engine: SharedEngine,
    context: Context,
    shape: Shape,
    conditions: Conditions,
) -> Result<(Counts, W), Failure> {
    let (to_engine, mut from_reader) = mpsc::channel::<Batch>(CHANNEL);
    let (to_writer, mut from_engine) = mpsc::channel::<Batch>(CHANNEL);
    let (back, mut home) = mpsc::channel::<Batch>(2 * CHANNEL + 4);
    let read = tokio::spawn(async move {
        let (mut counts, mut empty) = (Counts::default(), 0);
        loop {
            let batch = reader.read(home.try_recv().ok()).await;
            if batch.is_empty() {
                empty += 1;
                if empty >= conditions.empty_batches {
                    return counts;
                }
                tokio::time::sleep(conditions.empty_wait).await;
                continue;
            }
            counts.awaits += 2;
            counts.batches += 1;
            if to_engine.send(batch).await.is_err() {
                return counts;
            }
        }
    });
    let middle = tokio::spawn(async move {
        let mut counts = Counts::default();
        while let Some(batch) = from_reader.recv().await {
            counts.awaits += 3;
            let batch = process(&engine, &context, shape, batch, &mut counts).await?;
            counts.locks += 1;
            engine.lock().await.written += batch.len() as u64;
            if to_writer.send(batch).await.is_err() {
                break;
            }
        }
        Ok::<_, Failure>(counts)
    });
    let write = tokio::spawn(async move {
        let mut counts = Counts::default();
        while let Some(batch) = from_engine.recv().await {
            counts.awaits += 2;
            write(&mut writer, shape, &batch, &mut counts).await?;
            if shape.recycle {
                // A full way home drops the batch.
                let _ = back.try_send(batch);
            }
        }
        Ok::<_, Failure>((counts, writer))
    });
    let (a, b) = (read.await?, middle.await??);
    let (c, writer) = write.await??;
    Ok((a.plus(b).plus(c), writer))
}

/// Runs a workload on the async engine.
pub fn run(
    runtime: &tokio::runtime::Runtime,
    workload: &Workload,
    probe: &Arc<crate::workload::Probe>,
    shape: Shape,
    conditions: Conditions,
) -> Result<Counts, Failure> {
    let mut builder = millstream::BatchBuilder::new(workload.schema.clone());
    builder.set_limits(conditions.batch, BATCH_BYTES);
    let reader = Reader { feed: workload.feed(probe)?, builder, yields: conditions.yields };
    let writer = Writer { drain: workload.drain(probe)?, yields: conditions.yields };
    let engine = Arc::new(Mutex::new(Engine {
        operators: Operators::new(&workload.plan)?,
        tracer: conditions.trace.then(Tracer::new),
        processed: 0,
        written: 0,
    }));
    let names = [("job", "journey"), ("source", "source"), ("sink", "sink")];
    let context = Context { names: names.map(|(k, v)| (k.to_owned(), v.to_owned())).into() };
    let (counts, mut writer) = runtime.block_on(async {
        if shape.staged {
            three_tasks(reader, writer, engine, context, shape, conditions).await
        } else {
            tokio::spawn(one_task(reader, writer, engine, context, shape, conditions)).await?
        }
    })?;
    writer.drain.finish();
    Ok(counts)
}
