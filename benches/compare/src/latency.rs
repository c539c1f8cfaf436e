//! `latency`: open loop at a fixed rate, memory to memory, from the moment when a record was due to the moment when it was written.
//!
//! Records are due at fixed times whether or not the engine keeps up, and latency counts from there: a stall delays the
//! records behind it too, so coordinated omission can't hide it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use millstream::connector::memory::MemorySource;
use millstream::{DataType, DataWriter, Engine, FieldValue, IoError, Schema, StreamRecord};
use serde_json::json;

use crate::report::{Report, machine, print_machine};
use crate::{Common, Failure};

struct Clocked {
    start: Instant,
    nanos: Vec<u64>,
    kept: Arc<Mutex<Vec<u64>>>,
}

impl DataWriter for Clocked {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        let now = self.start.elapsed().as_nanos() as u64;
        for record in batch {
            if let Some(FieldValue::Integer(due)) = record.values().first() {
                self.nanos.push(now.saturating_sub(*due as u64));
            }
        }
        Ok(())
    }
    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
    fn finish(&mut self) -> Result<(), IoError> {
        *self.kept.lock().unwrap_or_else(|e| e.into_inner()) = std::mem::take(&mut self.nanos);
        Ok(())
    }
}

pub fn run(common: &Common, per_second: u64) -> Result<(), Failure> {
    let records = common
        .records
        .unwrap_or(per_second * if common.quick { 1 } else { 5 } / if common.quick { 5 } else { 1 });
    let mut report = Report::new(common)?;
    let threads =
        common.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let m = machine(threads);
    print_machine(&m);
    report.line(&m)?;
    println!(
        "latency: {records} records at {per_second} a second, memory channel to writer; due → written, µs\n"
    );
    println!("{:<12} {:>9} {:>9} {:>9} {:>9} {:>9}", "execution", "p50", "p99", "p99.9", "max", "achieved");
    for execution in ["auto", "threads", "inline"] {
        for _ in 0..common.repeat.unwrap_or(1) {
            let (mut nanos, seconds) = once(common, execution, threads, records, per_second)?;
            nanos.sort_unstable();
            let at = |q: f64| {
                let i = ((nanos.len() as f64 * q) as usize).min(nanos.len().saturating_sub(1));
                nanos.get(i).map_or(f64::NAN, |n| *n as f64 / 1e3)
            };
            let achieved = records as f64 / seconds;
            println!(
                "{execution:<12} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>7.0} K",
                at(0.5),
                at(0.99),
                at(0.999),
                at(1.0),
                achieved / 1e3
            );
            report.line(&json!({
                "name": "latency", "stage": execution, "rate": per_second, "records": records, "seconds": seconds,
                "records_per_second": achieved, "p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999), "max_us": at(1.0),
            }))?;
        }
    }
    Ok(())
}

fn once(
    common: &Common,
    execution: &str,
    threads: usize,
    records: u64,
    per_second: u64,
) -> Result<(Vec<u64>, f64), Failure> {
    let schema =
        Schema::of([("due", DataType::BigInt), ("amount", DataType::Double), ("name", DataType::Varchar)]);
    let (sender, source) = MemorySource::channel(schema, 1 << 16);
    let engine = Engine::new();
    engine.register_source("source", source)?;
    let kept = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    let writer = Clocked { start, nanos: Vec::with_capacity(records as usize), kept: kept.clone() };
    engine.register_writer("sink", writer)?;
    engine.set("execution", execution)?;
    engine.set("threads", &threads.to_string())?;
    engine.set("batch_rows", &common.batch.to_string())?;
    let job = engine.sql("INSERT INTO sink SELECT * FROM source")?.start()?;
    let lead = start.elapsed();
    let mut sent = 0u64;
    while sent < records {
        let now = start.elapsed().saturating_sub(lead);
        let due = ((now.as_secs_f64() * per_second as f64) as u64).min(records);
        while sent < due {
            let at = lead + Duration::from_nanos(sent * 1_000_000_000 / per_second);
            sender.send_values([(at.as_nanos() as i64).into(), 1.5.into(), "sensor".into()])?;
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(20));
    }
    drop(sender);
    let took = (start.elapsed() - lead).as_secs_f64();
    job.wait()?;
    let nanos = std::mem::take(&mut *kept.lock().unwrap_or_else(|e| e.into_inner()));
    if nanos.len() as u64 != records {
        return Err(format!("{execution}: {records} records were sent, {} arrived", nanos.len()).into());
    }
    Ok((nanos, took))
}
