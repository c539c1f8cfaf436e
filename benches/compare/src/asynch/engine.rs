//! The engine of the async side: the shipped engine's operators behind a tokio lock, and the report's copies around it.

use std::collections::HashMap;
use std::sync::Arc;

use millstream::StreamRecord;
use millstream::operator::{self, InputId, Operator, OperatorCounters, Output, Workers};
use millstream::plan::JobPlan;
use millstream::record::{Batch, Pool, Pools};
use tokio::sync::Mutex;

use super::doors::{AsyncWriter, Lap, Laps};
use super::{Conditions, Counts, Shape};
use crate::Failure;
use crate::trace::Tracer;

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
        let chain = plan
            .nodes
            .iter()
            .map(|n| operator::build(n, operator::Shards::ONE))
            .collect::<Result<Vec<_>, _>>()?;
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
            decision: None,
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
pub(super) struct Context {
    names: HashMap<String, String>,
}

impl Context {
    pub(super) fn new() -> Self {
        let names = [("job", "journey"), ("source", "source"), ("sink", "sink")];
        Self { names: names.map(|(k, v)| (k.to_owned(), v.to_owned())).into() }
    }
}

pub(super) struct Engine {
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

pub(super) type SharedEngine = Arc<Mutex<Engine>>;

pub(super) fn shared(plan: &JobPlan, conditions: Conditions) -> Result<SharedEngine, Failure> {
    Ok(Arc::new(Mutex::new(Engine {
        operators: Operators::new(plan)?,
        tracer: conditions.trace.then(Tracer::new),
        processed: 0,
        written: 0,
    })))
}

/// The engine's part of a batch: locks, operators, trace injection.
pub(super) async fn process(
    engine: &SharedEngine,
    context: &Context,
    shape: Shape,
    batch: Batch,
    counts: &mut Counts,
    laps: &mut Laps,
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
        laps.drop.of(|| drop(batch));
    } else {
        out = batch;
    }
    counts.locks += 1;
    let mut engine = engine.lock().await;
    let engine = &mut *engine;
    if !shape.per_record {
        engine.processed += out.len() as u64;
    }
    let mut out = laps.process.of(|| counts.watch(|| engine.operators.process(out)))?;
    if let Some(tracer) = &mut engine.tracer {
        if shape.clone_for_trace {
            laps.copy.of(|| {
                counts.watch(|| {
                    for record in out.records_mut() {
                        *record = Arc::new(StreamRecord::clone(record));
                    }
                });
            });
        }
        laps.process.of(|| counts.watch(|| tracer.inject(&mut out)));
    }
    Ok(out)
}

pub(super) async fn write<W: AsyncWriter>(
    writer: &mut W,
    shape: Shape,
    batch: &Batch,
    counts: &mut Counts,
    copy: &mut Lap,
) -> Result<(), Failure> {
    if shape.clone_for_write {
        let copies: Vec<_> = copy.of(|| {
            counts.watch(|| batch.records().iter().map(|r| Arc::new(StreamRecord::clone(r))).collect())
        });
        writer.write(&copies).await?;
        copy.of(|| drop(copies));
        return Ok(());
    }
    Ok(writer.write(batch.records()).await?)
}

pub(super) async fn metrics(
    engine: &SharedEngine,
    shape: Shape,
    batch: &Batch,
    counts: &mut Counts,
    copy: &mut Lap,
) {
    if shape.clone_for_metrics {
        copy.of(|| {
            let copies: Vec<StreamRecord> =
                counts.watch(|| batch.records().iter().map(|r| StreamRecord::clone(r)).collect());
            std::hint::black_box(&copies);
        });
    }
    counts.locks += 1;
    count_written(engine, batch).await;
}

/// The engine's count of what was written, behind its lock.
pub(super) async fn count_written(engine: &SharedEngine, batch: &Batch) {
    engine.lock().await.written += batch.len() as u64;
}
