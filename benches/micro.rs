//! The parts of the data path, one by one: `cargo bench --bench micro [-- [--quick] [FILTER …]]`.
//!
//! Decoders, encoders, expressions, recycling, the pool, the hop from thread to thread. Prints the median of many rounds and their
//! spread (10th to 90th percentile) in nanoseconds an item, and allocations an item. Only parts whose names contain one of the
//! filters are measured; `--quick` shows that all of them run and measures nothing.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use millstream::catalog::Options;
use millstream::codec::{Decoder, Encoder, Format, Input, Origin};
use millstream::connector::memory::MemorySource;
use millstream::expr::{EvalContext, Program};
use millstream::plan::{OperatorSpec, ProjectColumn};
use millstream::record::{Batch, CompactString, Pool, Pools};
use millstream::{
    BatchBuilder, DataReader, DataType, DataWriter, Engine, FieldValue, IoError, Read, Schema, StreamRecord,
};

struct Counting;
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands everything to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What is measured, and for how long.
struct Bench {
    filters: Vec<String>,
    budget: Duration,
    quick: bool,
}

impl Bench {
    fn from_args() -> Self {
        let mut filters = Vec::new();
        let mut quick = false;
        for arg in std::env::args().skip(1) {
            match arg.as_str() {
                "--quick" => quick = true,
                // Cargo adds it.
                "--bench" => {}
                other => filters.push(other.to_lowercase()),
            }
        }
        Self { filters, budget: Duration::from_millis(if quick { 1 } else { 500 }), quick }
    }

    fn wants(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.filters.is_empty() || self.filters.iter().any(|f| name.contains(f))
    }

    /// Measures `round`, which says how many items it did, until the budget is spent.
    fn measure(&self, name: &str, item: &str, mut round: impl FnMut() -> u64) {
        if !self.wants(name) {
            return;
        }
        round();
        let begin = Instant::now();
        let mut nanos = Vec::new();
        let (mut items, mut allocations) = (0, 0);
        while begin.elapsed() < self.budget || nanos.is_empty() {
            let (before, from) = (ALLOCATIONS.load(Ordering::Relaxed), Instant::now());
            let done = round();
            let spent = from.elapsed();
            allocations += ALLOCATIONS.load(Ordering::Relaxed) - before;
            items += done;
            nanos.push(spent.as_nanos() as f64 / done as f64);
        }
        nanos.sort_by(f64::total_cmp);
        let at = |q: f64| nanos[((nanos.len() - 1) as f64 * q).round() as usize];
        println!(
            "{name:<44} {:>9.1} ns/{item:<7} ({:>8.1} … {:>8.1}) {:>8.4} allocations/{item}",
            at(0.5),
            at(0.1),
            at(0.9),
            allocations as f64 / items as f64
        );
    }
}

fn main() {
    let bench = Bench::from_args();
    codecs(&bench);
    expressions(&bench);
    recycling(&bench);
    hops(&bench);
}

const COLUMNS: [(&str, DataType); 7] = [
    ("order_id", DataType::BigInt),
    ("customer_id", DataType::BigInt),
    ("amount", DataType::Double),
    ("customer", DataType::Varchar),
    ("symbol", DataType::Varchar),
    ("status", DataType::Varchar),
    ("ts", DataType::Varchar),
];

fn all_columns() -> Arc<Schema> {
    Schema::of(COLUMNS.iter().cloned())
}

/// Decimals and timestamps instead of doubles and text.
fn typed_columns() -> Arc<Schema> {
    let mut typed = COLUMNS.clone();
    typed[2].1 = DataType::Decimal { precision: 12, scale: 2 };
    typed[6].1 = DataType::Timestamp;
    Schema::of(typed)
}

fn four_columns() -> Arc<Schema> {
    let wanted = ["order_id", "amount", "customer", "symbol"];
    Schema::of(COLUMNS.iter().filter(|c| wanted.contains(&c.0)).cloned())
}

/// Orders: 2 integers, 1 double, 4 strings; about 148 bytes as NDJSON.
fn orders(rows: usize) -> Vec<Arc<StreamRecord>> {
    let schema = all_columns();
    let mut state = 42u64;
    let mut random = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let names = ["Ada Lovelace", "Grace Hopper", "Edsger Dijkstra", "Barbara Liskov", "Tony Hoare", "Zoë"];
    let mut records = Vec::with_capacity(rows);
    for i in 0..rows {
        let second = random(86_400);
        let ts = format!(
            "2026-01-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            random(28) + 1,
            second / 3600,
            second / 60 % 60,
            second % 60,
            random(1000)
        );
        let values: [FieldValue; 7] = [
            (1_000_000 + i as i64).into(),
            (random(100_000) as i64).into(),
            (random(50_000) as f64 / 100.0).into(),
            names[random(6) as usize].into(),
            ["MSFT", "SAP", "ORCL", "IBM", "NVDA"][random(5) as usize].into(),
            ["open", "shipped", "cancelled"][random(3) as usize].into(),
            ts.as_str().into(),
        ];
        records.push(Arc::new(StreamRecord::with_values(schema.clone(), values)));
    }
    records
}

fn encoder(format: &str, schema: &Arc<Schema>) -> Box<dyn Encoder> {
    Format::new(format, &Options::default()).unwrap().encoder(schema).unwrap()
}

fn decoder(format: &str, wanted: &Arc<Schema>) -> Box<dyn Decoder> {
    let names: Vec<CompactString> = COLUMNS.iter().map(|c| CompactString::new(c.0)).collect();
    Format::new(format, &Options::default()).unwrap().decoder(wanted, &names).unwrap()
}

fn codecs(bench: &Bench) {
    let records = orders(if bench.quick { 100 } else { 10_000 });
    for format in ["ndjson", "csv"] {
        let mut text = Vec::new();
        encoder(format, &all_columns()).encode(&records, &mut text).unwrap();
        for (what, schema) in
            [("7 columns", all_columns()), ("typed", typed_columns()), ("4 of 7 columns", four_columns())]
        {
            let mut decoder = decoder(format, &schema);
            let mut out = BatchBuilder::new(schema);
            let mut spare = Batch::default();
            bench.measure(&format!("decode {format}, {what}"), "record", || {
                decode(&mut *decoder, &mut out, &mut spare, &text, records.len())
            });
        }
        let mut encoder = encoder(format, &all_columns());
        bench.measure(&format!("encode {format}, 7 columns"), "record", || {
            text.clear();
            encoder.encode(black_box(&records), &mut text).unwrap();
            black_box(&text);
            records.len() as u64
        });
    }
}

/// Decodes `text` as a reader does: into batches of 1,000 that are filled again.
fn decode(
    decoder: &mut dyn Decoder,
    out: &mut BatchBuilder,
    spare: &mut Batch,
    text: &[u8],
    rows: usize,
) -> u64 {
    decoder.reset(true);
    let (mut at, mut line, mut records) = (0, 1, 0);
    while records < rows {
        let origin = Origin { offset: at as u64, line };
        let done = decoder.decode(&text[at..], Input::Complete, origin, out);
        at += done.consumed;
        line += done.lines;
        let batch = out.take(std::mem::take(spare));
        assert!(!batch.is_empty() && out.rejects().is_empty(), "{records} of {rows} records at {at}");
        records += batch.len();
        *spare = batch;
    }
    assert_eq!(records, rows);
    records as u64
}

/// The programs of a query's computed columns.
fn programs(select: &str) -> Vec<Program> {
    let engine = Engine::new();
    engine.register_source("orders", MemorySource::from_vec(typed_columns(), Vec::new()).unwrap()).unwrap();
    let jobs = engine.sql(&format!("SELECT {select} FROM orders")).unwrap().jobs();
    let mut found = Vec::new();
    for node in jobs.iter().flat_map(|j| &j.plan.nodes) {
        let OperatorSpec::FilterProject(spec) = &node.operator else { continue };
        for column in spec.project.iter().flatten() {
            if let ProjectColumn::Compute(expr) = column {
                found.push(Program::compile(expr));
            }
        }
    }
    assert_eq!(found.len(), 1, "{select}");
    found
}

fn expressions(bench: &Bench) {
    let mut text = Vec::new();
    encoder("ndjson", &all_columns()).encode(&orders(1000), &mut text).unwrap();
    let mut out = BatchBuilder::new(typed_columns());
    // The order in which the source gives its columns is that of their first use: keep all of them.
    decoder("ndjson", &typed_columns()).decode(
        &text,
        Input::Complete,
        Origin { offset: 0, line: 1 },
        &mut out,
    );
    let records = out.records().to_vec();
    assert_eq!(records.len(), 1000);
    let typed = typed_columns();
    for select in [
        "customer_id + 1",
        "order_id % 7 = 3 AND customer_id BETWEEN 100 AND 90000",
        "amount * 1.19",
        "CASE WHEN amount > 400 THEN 'large' WHEN amount > 100 THEN 'middle' ELSE 'small' END",
        "upper(symbol)",
        "symbol || '-' || status",
        "customer LIKE '%ace%'",
        "regexp_replace(customer, '[aeiou]', '_')",
        "date_trunc('hour', ts)",
        "CAST(amount AS DOUBLE)",
        "CAST(order_id AS VARCHAR)",
    ] {
        // Push-down gives the scan only the columns in use; the program numbers them from there.
        let columns: Vec<usize> = (0..COLUMNS.len()).filter(|c| mentions(select, COLUMNS[*c].0)).collect();
        let schema = Schema::of(columns.iter().map(|c| {
            let field = &typed.fields()[*c];
            (field.name.clone(), field.data_type.clone())
        }));
        let narrow: Vec<_> = records
            .iter()
            .map(|r| {
                StreamRecord::with_values(schema.clone(), columns.iter().map(|c| r.values()[*c].clone()))
            })
            .collect();
        let programs = programs(select);
        bench.measure(&format!("evaluate {select}"), "record", || {
            for record in &narrow {
                black_box(programs[0].eval(&EvalContext { record, now: 0 }).unwrap());
            }
            narrow.len() as u64
        });
    }
}

fn mentions(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}

fn numbers() -> Arc<Schema> {
    Schema::of([("id", DataType::BigInt), ("amount", DataType::Double), ("name", DataType::Varchar)])
}

fn fill(out: &mut BatchBuilder, rows: usize) {
    for id in 0..rows {
        if let [a, b, c] = out.recycled_record().values_mut() {
            *a = FieldValue::Integer(id as i64);
            *b = FieldValue::Float(id as f64 * 0.25);
            *c = FieldValue::String(CompactString::const_new("sensor-a1"));
        }
    }
}

fn recycling(bench: &Bench) {
    for (what, recycles) in [("fresh", false), ("recycled", true)] {
        let mut out = BatchBuilder::new(numbers());
        let mut spare = Batch::default();
        bench.measure(&format!("fill a record, {what}"), "record", || {
            fill(&mut out, 1000);
            let batch = out.take(std::mem::take(&mut spare));
            if recycles {
                spare = batch;
            }
            1000
        });
    }
    let pools = Pools::new(vec![Pool::new(20, usize::MAX)]);
    pools.give(filled(1000));
    bench.measure("pool, take and give back", "batch", || {
        for _ in 0..1000 {
            pools.give(black_box(pools.take(0)));
        }
        1000
    });
}

fn filled(rows: usize) -> Batch {
    let mut out = BatchBuilder::new(numbers());
    fill(&mut out, rows);
    out.take(Batch::default())
}

/// Gives so many batches of so many rows and asks the builder for nothing else.
struct Source {
    rows: usize,
    left: u64,
}

impl DataReader for Source {
    fn schema(&self) -> Arc<Schema> {
        numbers()
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        if self.left == 0 {
            return Ok(Read::End);
        }
        self.left -= 1;
        fill(out, self.rows);
        Ok(Read::More)
    }
}

struct Sink;

impl DataWriter for Sink {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        black_box(batch);
        Ok(())
    }
    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

fn hops(bench: &Bench) {
    // The bare price of a hop and back: two bounded channels between two threads, one recycled batch.
    for rows in [1, 1000] {
        let name = format!("channel, there and back, batch of {rows}");
        if bench.wants(&name) {
            let (there, from_here) = crossbeam_channel::bounded::<Batch>(8);
            let (back, from_there) = crossbeam_channel::bounded::<Batch>(8);
            std::thread::scope(|scope| {
                scope.spawn(move || from_here.iter().try_for_each(|batch| back.send(batch)));
                let mut batch = filled(rows);
                bench.measure(&name, "hop", || {
                    for _ in 0..100 {
                        there.send(std::mem::take(&mut batch)).unwrap();
                        batch = from_there.recv().unwrap();
                    }
                    200
                });
                drop(there);
            });
        }
    }
    // What the engine makes of it: whole jobs that do nothing.
    for rows in [1, 10, 100, 1000] {
        for mode in ["inline", "threads"] {
            let batches = if bench.quick { 20 } else { 200_000 / rows as u64 + 1000 };
            bench.measure(&format!("job, {mode}, batch of {rows}"), "batch", || {
                job(mode, rows, batches);
                batches
            });
        }
    }
}

fn job(mode: &str, rows: usize, batches: u64) {
    let engine = Engine::new();
    engine.register_reader("source", Source { rows, left: batches }).unwrap();
    engine.register_writer("sink", Sink).unwrap();
    engine.set("execution", mode).unwrap();
    engine.set("batch_rows", &rows.to_string()).unwrap();
    let stats = engine.sql("INSERT INTO sink SELECT * FROM source").unwrap().start().unwrap().wait().unwrap();
    assert_eq!(stats.records_out, batches * rows as u64);
}
