//! How fast NDJSON is decoded and encoded on one core: records per second, bytes per second, allocations per record.
//!
//! `cargo bench --bench json [-- SECONDS]`

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use millstream::codec::json::{JsonDecoder, JsonEncoder, JsonOptions};
use millstream::codec::{Decoder, Encoder, Input, Origin};
use millstream::record::Batch;
use millstream::{BatchBuilder, DataType, Schema};

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

/// Orders of about 148 bytes: 2 integers, 1 double, 4 strings.
fn orders(rows: usize) -> Vec<u8> {
    let mut state = 42u64;
    let mut random = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let names = ["Ada Lovelace", "Grace Hopper", "Edsger Dijkstra", "Barbara Liskov", "Tony Hoare", "Zoë"];
    let symbols = ["MSFT", "SAP", "ORCL", "IBM", "NVDA"];
    let mut out = String::new();
    for i in 0..rows {
        let seconds = random(86_400);
        out += &format!(
            "{{\"order_id\":{},\"customer_id\":{},\"amount\":{:.2},\"customer\":\"{}\",\"symbol\":\"{}\",\"status\":\"{}\",\
             \"ts\":\"2026-01-{:02}T{:02}:{:02}:{:02}.{:03}Z\"}}\n",
            1_000_000 + i,
            random(100_000),
            random(100_000_000) as f64 / 100.0,
            names[random(6) as usize],
            symbols[random(5) as usize],
            ["open", "shipped", "cancelled"][random(3) as usize],
            random(28) + 1,
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            random(1000),
        );
    }
    out.into_bytes()
}

struct Result {
    records: u64,
    bytes: u64,
    time: Duration,
    allocations: u64,
}

fn report(name: &str, budget: Duration, mut round: impl FnMut() -> (u64, u64)) {
    round();
    let mut best: Option<Result> = None;
    let begin = Instant::now();
    while begin.elapsed() < budget {
        let (before, from) = (ALLOCATIONS.load(Ordering::Relaxed), Instant::now());
        let (records, bytes) = round();
        let result = Result {
            records,
            bytes,
            time: from.elapsed(),
            allocations: ALLOCATIONS.load(Ordering::Relaxed) - before,
        };
        if best.as_ref().is_none_or(|b| result.time < b.time) {
            best = Some(result);
        }
    }
    if let Some(r) = best {
        let seconds = r.time.as_secs_f64();
        println!(
            "{name:<34} {:>7.2} M records/s {:>7.0} MB/s {:>8.4} allocations/record",
            r.records as f64 / seconds / 1e6,
            r.bytes as f64 / seconds / 1e6,
            r.allocations as f64 / r.records as f64
        );
    }
}

/// Decodes `input` as a reader does: pieces of 256 KiB, batches of 1,000 that are recycled.
fn decode(decoder: &mut JsonDecoder, out: &mut BatchBuilder, spare: &mut Batch, input: &[u8]) -> (u64, u64) {
    decoder.reset(true);
    let (mut pos, mut line, mut records) = (0, 1, 0);
    while pos < input.len() {
        let end = (pos + (256 << 10)).min(input.len());
        let mode = if end == input.len() { Input::Complete } else { Input::Partial };
        let mut from = pos;
        loop {
            let done = decoder.decode(&input[from..end], mode, Origin { offset: from as u64, line }, out);
            from += done.consumed;
            line += done.lines;
            if out.is_full() {
                let batch = out.take(std::mem::take(spare));
                records += batch.len() as u64;
                *spare = batch;
            } else {
                break;
            }
        }
        pos = from;
    }
    let batch = out.take(std::mem::take(spare));
    records += batch.len() as u64;
    *spare = batch;
    assert!(out.rejects().is_empty());
    (records, input.len() as u64)
}

fn main() {
    let seconds = std::env::args().filter_map(|a| a.parse().ok()).next().unwrap_or(2.0);
    let budget = Duration::from_secs_f64(seconds);
    let input = orders(200_000);
    println!("{} bytes a record", input.len() / 200_000);
    let all = [
        ("order_id", DataType::BigInt),
        ("customer_id", DataType::BigInt),
        ("amount", DataType::Double),
        ("customer", DataType::Varchar),
        ("symbol", DataType::Varchar),
        ("status", DataType::Varchar),
        ("ts", DataType::Varchar),
    ];
    let pick = |names: &[&str]| Schema::of(all.iter().filter(|c| names.contains(&c.0)).cloned());
    let mut typed = all.clone();
    typed[6].1 = DataType::Timestamp;
    typed[2].1 = DataType::Decimal { precision: 12, scale: 2 };
    let four = pick(&["order_id", "customer", "amount", "symbol"]);
    for (name, schema) in [
        ("decode, all 7 columns", Schema::of(all.clone())),
        ("decode, 7, DECIMAL and TIMESTAMP", Schema::of(typed)),
        ("decode, 4 of 7 columns", four.clone()),
        ("decode, 1 of 7 columns", pick(&["amount"])),
    ] {
        let mut decoder = JsonDecoder::new(schema.clone(), JsonOptions::default());
        let (mut out, mut spare) = (BatchBuilder::new(schema), Batch::default());
        report(name, budget, || decode(&mut decoder, &mut out, &mut spare, &input));
    }
    for (name, schema) in [("encode, 4 columns", four), ("encode, 7 columns", Schema::of(all))] {
        let mut decoder = JsonDecoder::new(schema.clone(), JsonOptions::default());
        let mut out = BatchBuilder::new(schema.clone());
        out.set_limits(1000, usize::MAX);
        decoder.decode(&input, Input::Complete, Origin { offset: 0, line: 1 }, &mut out);
        let records = out.records().to_vec();
        let mut encoder = JsonEncoder::new(schema, JsonOptions::default());
        let mut written = Vec::new();
        report(name, budget, || {
            let mut bytes = 0;
            for _ in 0..500 {
                written.clear();
                encoder.encode(std::hint::black_box(&records), &mut written).unwrap();
                bytes += std::hint::black_box(&written).len() as u64;
            }
            (500 * records.len() as u64, bytes)
        });
    }
}
