//! Steady-state allocations per record, counted by the allocator itself: at most 0.05 at batch 1,000, and no deep copy.
//!
//! Counted from the middle of a run to its end, when the batches that travel have been made. One test: allocations of tests that
//! run at the same time could not be told apart.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millstream::connector::memory::OnceSource;
use millstream::{
    BatchBuilder, Boundedness, DataReader, DataType, Engine, FieldValue, IoError, Read, Schema,
};

struct CountingAllocator;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const LIMIT: f64 = 0.05;
/// Records of the first attempt.
const ROWS: u64 = 80_000;

/// Where records come from.
#[derive(Clone, Copy, PartialEq)]
enum Input {
    File,
    Orders,
    /// A stream of which nobody knows whether it ends, with a watermark.
    Timed,
}

/// What a job is made of, but for its length.
struct Case {
    name: &'static str,
    input: Input,
    to_file: bool,
    /// As many sinks at the most.
    sinks: usize,
    /// Several are several INSERTs into each sink.
    select: &'static str,
}

const CASES: [Case; 6] = [
    Case {
        name: "filter + project, NDJSON to NDJSON",
        input: Input::File,
        to_file: true,
        sinks: 3,
        select: "SELECT order_id, symbol, price * 2 AS twice, quantity FROM src WHERE quantity > 100",
    },
    Case {
        name: "passthrough, NDJSON to NDJSON",
        input: Input::File,
        to_file: true,
        sinks: 3,
        select: "SELECT * FROM src",
    },
    Case {
        name: "two ways from source to sink, NDJSON to NDJSON",
        input: Input::File,
        to_file: true,
        sinks: 3,
        select: "SELECT order_id, symbol FROM src UNION ALL SELECT quantity, symbol FROM src",
    },
    Case {
        name: "two INSERTs from one source into one sink, NDJSON to NDJSON",
        input: Input::File,
        to_file: true,
        // The same rows into several sinks, each of which weaves them, go one by one.
        sinks: 1,
        select: "SELECT order_id, symbol FROM src; SELECT quantity, symbol FROM src WHERE quantity > 100",
    },
    Case {
        name: "generator to blackhole",
        input: Input::Orders,
        to_file: false,
        sinks: 3,
        select: "SELECT * FROM src",
    },
    Case {
        name: "moving average over rows",
        input: Input::Timed,
        to_file: false,
        sinks: 1,
        select: "SELECT id, AVG(amount) OVER (PARTITION BY name ORDER BY ts ROWS BETWEEN 99 PRECEDING AND CURRENT ROW) AS moving FROM src",
    },
];

/// Fills recycled records with numbers, amounts, eight names and times.
struct Timed {
    schema: Arc<Schema>,
    given: i64,
    rows: i64,
}

impl DataReader for Timed {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Unknown
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        while !out.is_full() && self.given < self.rows {
            let n = self.given;
            self.given += 1;
            if let [id, amount, name, ts] = out.recycled_record().values_mut() {
                *id = FieldValue::Integer(n);
                *amount = FieldValue::Float((n % 1000) as f64 * 0.25);
                name.set_str(["a", "b", "c", "d", "e", "f", "g", "h"][(n * 7 % 8) as usize]);
                *ts = FieldValue::Timestamp(n * 1000);
            }
        }
        Ok(if self.given == self.rows { Read::End } else { Read::More })
    }
}

fn write_input(path: &Path, rows: u64) {
    if path.exists() {
        return;
    }
    let line = |n: u64| {
        format!(
            "{{\"order_id\":{n},\"symbol\":\"SYM{}\",\"side\":\"buy\",\"price\":{}.25,\"quantity\":{},\"note\":\"{}\"}}\n",
            n % 97,
            n % 1000,
            n % 400,
            "text that does not fit into a small string ".repeat((n % 3) as usize),
        )
    };
    std::fs::write(path, (0..rows).map(line).collect::<String>()).unwrap();
}

/// Runs a job over all records; allocations per record in the second half, and deep copies. `None` if the job was half done before
/// anybody could look.
fn run(dir: &Path, case: &Case, sinks: usize, mode: &str, trace: &str, rows: u64) -> (Option<f64>, u64) {
    let engine = Engine::new();
    // Short channels: few batches are under way, so that all of them are made early in a run.
    let settings = [
        ("execution", mode),
        ("threads", "5"),
        ("batch_rows", "1000"),
        ("channel_batches", "2"),
        ("trace", trace),
    ];
    settings.iter().for_each(|(name, value)| engine.set(name, value).unwrap());
    let path = dir.join(format!("in-{rows}.jsonl"));
    let mut text = match case.input {
        Input::File => {
            write_input(&path, rows);
            format!(
                "CREATE STREAM src (order_id BIGINT, symbol VARCHAR, side VARCHAR, price DOUBLE, quantity BIGINT, note VARCHAR) \
             WITH (connector = 'file', path = '{}');",
                path.display()
            )
        }
        Input::Orders => {
            format!("CREATE STREAM src WITH (connector = 'generator', preset = 'orders', rows = '{rows}');")
        }
        Input::Timed => {
            let schema = Schema::of([
                ("id", DataType::BigInt),
                ("amount", DataType::Double),
                ("name", DataType::Varchar),
                ("ts", DataType::Timestamp),
            ]);
            let source = OnceSource::new(Timed { schema, given: 0, rows: rows as i64 });
            engine.register_timed_source("src", source, "ts", "ts", &[]).unwrap();
            String::new()
        }
    };
    for k in 0..sinks {
        let out = dir.join(format!("out-{k}.jsonl"));
        let with = match case.to_file {
            true => format!("connector = 'file', path = '{}'", out.display()),
            false => "connector = 'blackhole'".to_owned(),
        };
        text += &format!("CREATE STREAM out{k} WITH ({with});");
    }
    for k in 0..sinks {
        for select in case.select.split(';') {
            text += &format!("INSERT INTO out{k} {select};");
        }
    }
    let prepared = engine.sql(&text).unwrap();
    let job = prepared.start().unwrap();
    let warm = loop {
        let seen = job.stats().records_in;
        if seen >= rows / 2 {
            break seen;
        }
        std::thread::yield_now();
    };
    // Looking allocates too, but only before this line.
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let stats = job.wait().unwrap();
    let made = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert_eq!(stats.records_in, rows);
    let rest = rows - warm;
    ((rest >= rows / 4).then(|| made as f64 / rest as f64), stats.deep_copies)
}

/// Allocations per record and deep copies. How many batches travel is bounded, but the last of them may be made late if the threads
/// happen to run so. What every record costs shows however long a run is, so each attempt is twice as long as the one before.
fn measure(dir: &Path, case: &Case, sinks: usize, mode: &str, trace: &str) -> (f64, u64) {
    let mut best = f64::INFINITY;
    let mut copies = 0;
    for attempt in 0..4 {
        let (per_record, made) = run(dir, case, sinks, mode, trace, ROWS << attempt);
        copies += made;
        best = best.min(per_record.unwrap_or(f64::INFINITY));
        if best <= LIMIT {
            break;
        }
    }
    (best, copies)
}

#[test]
fn steady_state_allocations_and_deep_copies() {
    let dir = tempfile::tempdir().unwrap();
    let mut bad = Vec::new();
    for case in &CASES {
        for sinks in 1..=case.sinks {
            for mode in ["inline", "threads"] {
                for trace in ["off", "propagate"] {
                    if trace == "propagate" && sinks == 2 {
                        continue;
                    }
                    let (per_record, copies) = measure(dir.path(), case, sinks, mode, trace);
                    let line = format!(
                        "{}, {sinks} sinks, {mode}, trace {trace}: {per_record:.4} allocations a record, {copies} deep copies",
                        case.name
                    );
                    println!("{line}");
                    if per_record > LIMIT || copies > 0 {
                        bad.push(line);
                    }
                }
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}
