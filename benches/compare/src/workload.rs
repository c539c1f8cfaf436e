//! What is read, done and written: the same code on both sides of the comparison.
//!
//! *Cheap*: three-field records are generated, passed on and summed. *Costly*: NDJSON in memory is decoded, filtered and
//! projected by SQL, and encoded again.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use millstream::catalog::Options;
use millstream::codec::{Decoder, Encoder, Format, Input, Origin};
use millstream::connector::memory::MemorySource;
use millstream::plan::JobPlan;
use millstream::record::{Batch, CompactString};
use millstream::{BatchBuilder, DataType, Engine, FieldValue, Schema, StreamRecord};

use crate::Failure;
use crate::alloc::{allocations, held_bytes};
use crate::threads::{KernelReading, KernelTime};

/// How much work a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Cost {
    /// Generated, passed on, summed.
    Cheap,
    /// Generated, filtered and projected by SQL, summed.
    Select,
    /// Decoded from NDJSON, filtered and projected by SQL, encoded.
    Costly,
}

impl Cost {
    pub fn name(self) -> &'static str {
        match self {
            Cost::Cheap => "cheap",
            Cost::Select => "select",
            Cost::Costly => "costly",
        }
    }
}

/// The state of the process at a moment.
#[derive(Clone, Debug)]
struct Reading {
    at: Instant,
    allocations: u64,
    held_bytes: i64,
    kernel: KernelReading,
}

/// The process from the first record asked for to the last one written.
#[derive(Clone, Debug)]
pub struct Span {
    pub first: Instant,
    pub last: Instant,
    pub allocations: u64,
    /// Bytes that batches, pools and channels hold at the end of it.
    pub held_bytes: i64,
    pub kernel: Vec<KernelTime>,
}

/// Looks at the process when the first record is asked for and when the last one was written.
#[derive(Debug, Default)]
pub struct Probe {
    first: OnceLock<Reading>,
    last: OnceLock<Reading>,
    totals: Mutex<Totals>,
}

/// What arrived at the sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub records: u64,
    pub checksum: u64,
}

impl Probe {
    /// The kernel is asked outside the span.
    fn begin(&self) {
        self.first.get_or_init(|| {
            let kernel = KernelReading::now();
            let (allocations, held_bytes) = (allocations(), held_bytes());
            Reading { at: Instant::now(), allocations, held_bytes, kernel }
        });
    }
    fn end(&self) {
        self.last.get_or_init(|| {
            let at = Instant::now();
            let (allocations, held_bytes) = (allocations(), held_bytes());
            Reading { at, allocations, held_bytes, kernel: KernelReading::now() }
        });
    }
    pub fn span(&self) -> Result<Span, Failure> {
        match (self.first.get(), self.last.get()) {
            (Some(a), Some(b)) => Ok(Span {
                first: a.at,
                last: b.at,
                allocations: b.allocations - a.allocations,
                held_bytes: b.held_bytes - a.held_bytes,
                kernel: b.kernel.since(&a.kernel),
            }),
            _ => Err("the last record never arrived: records were lost".into()),
        }
    }
    pub fn totals(&self) -> Totals {
        *self.totals.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// A workload of a size.
pub struct Workload {
    pub cost: Cost,
    pub records: u64,
    pub schema: Arc<Schema>,
    pub sql: String,
    pub plan: JobPlan,
    expected: Totals,
    slab: Arc<Slab>,
}

/// NDJSON in memory and what the query makes of it.
#[derive(Default)]
pub struct Slab {
    bytes: Vec<u8>,
    rows: u64,
    out: Totals,
}

const NAMES: [&str; 8] =
    ["sensor-a1", "sensor-b2", "sensor-c3", "sensor-d4", "sensor-e5", "sensor-f6", "sensor-g7", "sensor-h8"];
/// Rows of the NDJSON in memory.
const SLAB_ROWS: u64 = 10_000;
const SELECT_SQL: &str = "SELECT id, amount * 2 AS twice, name FROM source WHERE amount >= 125";
const COSTLY_SQL: &str = "SELECT order_id, symbol, amount * 2 AS twice FROM source WHERE amount >= 250";

impl Workload {
    pub fn new(cost: Cost, records: u64) -> Result<Self, Failure> {
        static SLAB: OnceLock<Arc<Slab>> = OnceLock::new();
        let schema = match cost {
            Cost::Cheap | Cost::Select => Schema::of([
                ("id", DataType::BigInt),
                ("amount", DataType::Double),
                ("name", DataType::Varchar),
            ]),
            Cost::Costly => orders(),
        };
        let select = match cost {
            Cost::Cheap => "SELECT * FROM source",
            Cost::Select => SELECT_SQL,
            Cost::Costly => COSTLY_SQL,
        };
        let plan = plan_of(&schema, select)?;
        let (records, slab, expected) = match cost {
            Cost::Cheap => (records, Arc::default(), sums(records)),
            Cost::Select => (records, Arc::default(), selected(records)),
            Cost::Costly => {
                let slab = match SLAB.get() {
                    Some(s) => s.clone(),
                    None => {
                        let made = Arc::new(Slab::new(&schema, &plan)?);
                        SLAB.get_or_init(|| made).clone()
                    }
                };
                let rounds = records.div_ceil(slab.rows).max(1);
                let expected = Totals {
                    records: slab.out.records * rounds,
                    checksum: slab.out.checksum.wrapping_mul(rounds),
                };
                (rounds * slab.rows, slab, expected)
            }
        };
        Ok(Self { cost, records, schema, sql: format!("INSERT INTO sink {select}"), plan, expected, slab })
    }
    pub fn feed(&self, probe: &Arc<Probe>) -> Result<Feed, Failure> {
        let what = match self.cost {
            Cost::Cheap | Cost::Select => Kind::Generate,
            Cost::Costly => Kind::Decode { decoder: decoder(&self.schema)?, slab: self.slab.clone(), at: 0 },
        };
        Ok(Feed { schema: self.schema.clone(), next: 0, to: self.records, what, probe: probe.clone() })
    }
    pub fn drain(&self, probe: &Arc<Probe>) -> Result<Drain, Failure> {
        let encoder = match self.cost {
            Cost::Cheap | Cost::Select => None,
            Cost::Costly => Some(encoder(&self.output())?),
        };
        Ok(Drain {
            encoder,
            buffer: Vec::new(),
            totals: Totals::default(),
            begun: None,
            expected: self.expected.records,
            probe: probe.clone(),
        })
    }
    fn output(&self) -> Arc<Schema> {
        self.plan.sinks.first().map_or_else(|| self.schema.clone(), |s| s.schema.clone())
    }
    /// A run that lost, duplicated or changed a record is an error, not a number.
    pub fn check(&self, stage: &str, probe: &Probe) -> Result<(), Failure> {
        let got = probe.totals();
        if got == self.expected {
            return Ok(());
        }
        Err(format!(
            "{stage}: records were lost, duplicated or changed: expected {} with checksum {:016x}, {} with checksum {:016x} arrived",
            self.expected.records, self.expected.checksum, got.records, got.checksum
        )
        .into())
    }
}

/// The plan that the engine makes of a query, for the async side's operators.
fn plan_of(schema: &Arc<Schema>, select: &str) -> Result<JobPlan, Failure> {
    let engine = Engine::new();
    engine.register_source("source", MemorySource::from_vec(schema.clone(), Vec::new())?)?;
    let mut jobs = engine.sql(select)?.jobs();
    Ok(jobs.pop().ok_or("the query makes no job")?.plan)
}

fn format() -> Result<Format, Failure> {
    Ok(Format::new("ndjson", &Options::default()).map_err(|e| e.message)?)
}
fn decoder(schema: &Arc<Schema>) -> Result<Box<dyn Decoder>, Failure> {
    let names: Vec<CompactString> = schema.fields().iter().map(|f| f.name.clone()).collect();
    Ok(format()?.decoder(schema, &names).map_err(|e| e.message)?)
}
fn encoder(schema: &Arc<Schema>) -> Result<Box<dyn Encoder>, Failure> {
    Ok(format()?.encoder(schema).map_err(|e| e.message)?)
}

fn sums(n: u64) -> Totals {
    let wide = u128::from(n);
    let ids = wide * wide.saturating_sub(1) / 2;
    let (rounds, rest) = (n / 1000, n % 1000);
    let amounts = rounds * (999 * 1000 / 2) + rest * rest.saturating_sub(1) / 2;
    Totals {
        records: n,
        checksum: (ids as u64).wrapping_add(amounts).wrapping_add(n * NAMES[0].len() as u64),
    }
}

/// What [`SELECT_SQL`] leaves of `n` records.
fn selected(n: u64) -> Totals {
    let mut totals = Totals::default();
    for id in (0..n).filter(|id| id % 1000 >= 500) {
        totals.records += 1;
        totals.checksum = totals.checksum.wrapping_add(id + 2 * (id % 1000) + NAMES[0].len() as u64);
    }
    totals
}

fn number(record: &StreamRecord) -> u64 {
    match record.values() {
        [FieldValue::Integer(id), FieldValue::Float(amount), FieldValue::String(name)] => {
            (*id as u64).wrapping_add((*amount * 4.0) as u64).wrapping_add(name.len() as u64)
        }
        _ => 0,
    }
}

enum Kind {
    Generate,
    Decode { decoder: Box<dyn Decoder>, slab: Arc<Slab>, at: usize },
}

/// Makes records in a builder.
pub struct Feed {
    pub schema: Arc<Schema>,
    next: u64,
    to: u64,
    what: Kind,
    probe: Arc<Probe>,
}

/// A place in a [`Feed`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    next: u64,
    at: usize,
}

impl Feed {
    pub fn mark(&self) -> Mark {
        let at = if let Kind::Decode { at, .. } = &self.what { *at } else { 0 };
        Mark { next: self.next, at }
    }
    pub fn rewind(&mut self, mark: Mark) {
        self.next = mark.next;
        if let Kind::Decode { at, .. } = &mut self.what {
            *at = mark.at;
        }
    }
    /// Fills the builder; nothing is added when there is no more.
    pub fn fill(&mut self, out: &mut BatchBuilder) {
        if self.next == 0 {
            self.probe.begin();
        }
        match &mut self.what {
            Kind::Generate => {
                let n = (out.room() as u64).min(self.to - self.next);
                for id in self.next..self.next + n {
                    if let [a, b, c] = out.recycled_record().values_mut() {
                        *a = FieldValue::Integer(id as i64);
                        *b = FieldValue::Float((id % 1000) as f64 * 0.25);
                        *c = FieldValue::String(CompactString::const_new(NAMES[id as usize % NAMES.len()]));
                    }
                }
                out.add_bytes(n as usize * 25);
                self.next += n;
            }
            Kind::Decode { decoder, slab, at } => {
                while !out.is_full() && self.next < self.to {
                    let before = out.len();
                    let rest = slab.bytes.get(*at..).unwrap_or_default();
                    let origin = Origin { offset: *at as u64, line: 1 };
                    let done = decoder.decode(rest, Input::Complete, origin, out);
                    self.next += (out.len() - before) as u64;
                    *at = if *at + done.consumed >= slab.bytes.len() { 0 } else { *at + done.consumed };
                    if done.consumed == 0 {
                        break;
                    }
                }
            }
        }
    }
}

/// Takes records and remembers what came.
pub struct Drain {
    encoder: Option<Box<dyn Encoder>>,
    buffer: Vec<u8>,
    totals: Totals,
    /// What was there when the transaction began.
    begun: Option<Totals>,
    expected: u64,
    probe: Arc<Probe>,
}

impl Drain {
    pub fn take(&mut self, records: &[Arc<StreamRecord>]) -> Result<(), String> {
        self.totals.records += records.len() as u64;
        let sum = match &mut self.encoder {
            None => records.iter().fold(0u64, |sum, r| sum.wrapping_add(number(r))),
            Some(encoder) => {
                self.buffer.clear();
                encoder.encode(records, &mut self.buffer).map_err(|(_, e)| e.to_string())?;
                self.buffer.len() as u64
            }
        };
        self.totals.checksum = self.totals.checksum.wrapping_add(sum);
        if self.begun.is_none() {
            self.publish();
        }
        Ok(())
    }
    fn publish(&mut self) {
        if self.totals.records >= self.expected {
            self.probe.end();
            *self.probe.totals.lock().unwrap_or_else(|e| e.into_inner()) = self.totals;
        }
    }
    pub fn begin(&mut self) {
        self.begun = Some(self.totals);
    }
    pub fn commit(&mut self) {
        self.begun = None;
        self.publish();
    }
    pub fn abort(&mut self) {
        if let Some(totals) = self.begun.take() {
            self.totals = totals;
        }
    }
    /// The end of the stream, also if records are missing.
    pub fn finish(&mut self) {
        *self.probe.totals.lock().unwrap_or_else(|e| e.into_inner()) = self.totals;
    }
}

fn orders() -> Arc<Schema> {
    Schema::of([
        ("order_id", DataType::BigInt),
        ("customer_id", DataType::BigInt),
        ("amount", DataType::Double),
        ("customer", DataType::Varchar),
        ("symbol", DataType::Varchar),
        ("status", DataType::Varchar),
        ("ts", DataType::Varchar),
    ])
}

/// Orders of about 148 bytes as NDJSON: 2 integers, 1 double, 4 strings.
pub fn orders_ndjson(rows: u64) -> Vec<u8> {
    let mut state = 42u64;
    let mut random = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let customers = ["Ada Lovelace", "Grace Hopper", "Edsger Dijkstra", "Barbara Liskov", "Tony Hoare"];
    let mut out = String::new();
    for i in 0..rows {
        out += &format!(
            "{{\"order_id\":{},\"customer_id\":{},\"amount\":{:.2},\"customer\":\"{}\",\"symbol\":\"{}\",\"status\":\"{}\",\
             \"ts\":\"2026-01-{:02}T{:02}:{:02}:{:02}.{:03}Z\"}}\n",
            1_000_000 + i,
            random(1_000),
            random(50_000) as f64 / 100.0,
            customers[random(5) as usize],
            ["MSFT", "SAP", "ORCL", "IBM", "NVDA"][random(5) as usize],
            ["open", "shipped", "cancelled"][random(3) as usize],
            random(28) + 1,
            random(24),
            random(60),
            random(60),
            random(1000),
        );
    }
    out.into_bytes()
}

impl Slab {
    /// Makes the bytes and runs the query over them once, by hand: what every run must come to.
    fn new(schema: &Arc<Schema>, plan: &JobPlan) -> Result<Self, Failure> {
        let bytes = orders_ndjson(SLAB_ROWS);
        let mut out = BatchBuilder::new(schema.clone());
        out.set_limits(SLAB_ROWS as usize, usize::MAX);
        decoder(schema)?.decode(&bytes, Input::Complete, Origin::default(), &mut out);
        let mut operators = crate::asynch::Operators::new(plan)?;
        let batch: Batch = operators.process(out.take(Batch::default()))?;
        let mut text = Vec::new();
        let shape = plan.sinks.first().ok_or("the plan has no sink")?.schema.clone();
        encoder(&shape)?.encode(batch.records(), &mut text).map_err(|(_, e)| e.to_string())?;
        let totals = Totals { records: batch.len() as u64, checksum: text.len() as u64 };
        Ok(Self { bytes, rows: SLAB_ROWS, out: totals })
    }
}
