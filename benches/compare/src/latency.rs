//! `latency`: open loop at a fixed rate, memory to memory, from the moment when a record was due to the moment when it was written.
//!
//! Records are due at fixed times whether or not the engine keeps up, and latency counts from there: a stall delays the
//! records behind it too, so coordinated omission can't hide it. A bare thread that takes the same records from a channel and does nothing
//! else, by turns with the engine, shows what of it is the machine's.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use millstream::connector::memory::MemorySource;
use millstream::{DataType, DataWriter, Engine, FieldValue, IoError, Schema, StreamRecord};
use serde_json::json;

use crate::machine::{NoiseWatch, cores, machine, print_machine};
use crate::measure::median;
use crate::report::Report;
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

/// One run.
struct Run {
    /// Due → written, sorted, in nanoseconds.
    nanos: Vec<u64>,
    /// Due → handed to the channel: what the generator itself and the machine's scheduler add, sorted.
    sending: Vec<u64>,
    seconds: f64,
}

/// No engine: a channel and a thread that looks at the clock.
const BARE: &str = "bare channel";
/// What fits into a channel.
const ROOM: usize = 1 << 16;

/// Quantiles of sorted nanoseconds, in microseconds.
fn quantile(sorted: &[u64], q: f64) -> f64 {
    let rank = (sorted.len() as f64 * q).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).map_or(f64::NAN, |n| *n as f64 / 1e3)
}

pub fn run(common: &Common, per_second: u64) -> Result<(), Failure> {
    let records = common.records.unwrap_or(if common.quick { per_second / 5 } else { per_second * 3 }).max(1);
    let repeat = common.repeat.unwrap_or(if common.quick { 1 } else { 7 });
    let threads = common.threads.unwrap_or_else(cores);
    let mut report = Report::new(common)?;
    let noise = NoiseWatch::start();
    let m = machine(threads, common.quick);
    print_machine(&m);
    report.line(&m)?;
    println!(
        "latency: {records} records at {per_second} a second, {repeat} runs each, memory channel to writer; due → written, µs, \
         medians of the runs\n"
    );
    println!(
        "{:<12} {:>8} {:>8} {:>8} {:>8} {:>18} {:>14} {:>10}",
        "execution", "p50", "p99", "p99.9", "max", "p99 of the runs", "sender's p99", "achieved"
    );
    let mut runs: Vec<(&str, Vec<Run>)> =
        ["auto", "threads", "inline", BARE].into_iter().map(|e| (e, Vec::new())).collect();
    for _ in 0..repeat {
        for (execution, runs) in &mut runs {
            runs.push(match *execution {
                BARE => bare(records, per_second)?,
                execution => once(common, execution, threads, records, per_second)?,
            });
        }
    }
    for (execution, runs) in &runs {
        row(execution, runs, records, per_second, &mut report)?;
    }
    if !common.quick {
        let p99 = |name| {
            let runs = runs.iter().find(|r| r.0 == name);
            runs.map_or(f64::NAN, |(_, runs)| of_runs(runs, |r| quantile(&r.nanos, 0.99)))
        };
        println!("\ndefault settings (auto): {}", verdict(p99("auto"), p99(BARE)));
    }
    println!(
        "{BARE}: a thread without an engine that takes the records from a channel: what the machine adds to any of these.\n\
         sender's p99: due → handed to the channel. It is inside the latency: what the generator and the machine's scheduler add \
         before\nthe engine can know of a record."
    );
    report.line(&noise.json())?;
    noise.warning().iter().for_each(|w| println!("{w}"));
    Ok(())
}

/// What the median p99 of the runs comes to, in µs, beside that of a thread without an engine.
fn verdict(p99: f64, bare: f64) -> String {
    let word = match p99 {
        p if p <= 500.0 => "reached, the aim too",
        p if p <= 2000.0 => "reached",
        _ => "NOT reached",
    };
    let machine = if bare > 1000.0 { ": half of the target and more is the machine's" } else { "" };
    format!(
        "p99 {p99:.0} µs, {:.2} times that of a thread without an engine ({bare:.0} µs){machine}; target 2,000 µs, aim 500 µs: {word}",
        p99 / bare
    )
}

fn of_runs(runs: &[Run], figure: impl Fn(&Run) -> f64) -> f64 {
    median(&runs.iter().map(figure).collect::<Vec<_>>())
}

fn row(
    execution: &str,
    runs: &[Run],
    records: u64,
    per_second: u64,
    report: &mut Report,
) -> Result<(), Failure> {
    let at = |q: f64| of_runs(runs, |r| quantile(&r.nanos, q));
    let p99s: Vec<f64> = runs.iter().map(|r| quantile(&r.nanos, 0.99)).collect();
    let low = p99s.iter().copied().fold(f64::INFINITY, f64::min);
    let high = p99s.iter().copied().fold(0.0, f64::max);
    let sending = of_runs(runs, |r| quantile(&r.sending, 0.99));
    let seconds = of_runs(runs, |r| r.seconds);
    let achieved = records as f64 / seconds;
    println!(
        "{execution:<12} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>18} {sending:>14.0} {:>8.0} K",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        format!("{low:.0} … {high:.0}"),
        achieved / 1e3
    );
    let stage = if execution == BARE { BARE.to_owned() } else { format!("sync {execution}") };
    report.line(&json!({
        "name": "latency", "stage": stage, "rate": per_second, "records": records, "seconds": seconds,
        "records_per_second": achieved, "p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999), "max_us": at(1.0),
        "samples": p99s, "sender_p99_us": sending,
    }))
}

fn once(
    common: &Common,
    execution: &str,
    threads: usize,
    records: u64,
    per_second: u64,
) -> Result<Run, Failure> {
    let schema =
        Schema::of([("due", DataType::BigInt), ("amount", DataType::Double), ("name", DataType::Varchar)]);
    let (sender, source) = MemorySource::channel(schema, ROOM);
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
    let (lead, sending) = send(start, records, per_second, |due| {
        Ok(sender.send_values([due.into(), 1.5.into(), "sensor".into()])?)
    })?;
    drop(sender);
    let seconds = (start.elapsed() - lead).as_secs_f64();
    job.wait()?;
    let nanos = std::mem::take(&mut *kept.lock().unwrap_or_else(|e| e.into_inner()));
    if nanos.len() as u64 != records {
        return Err(format!("{execution}: {records} records were sent, {} arrived", nanos.len()).into());
    }
    Ok(Run::of(nanos, sending, seconds))
}

impl Run {
    fn of(mut nanos: Vec<u64>, mut sending: Vec<u64>, seconds: f64) -> Self {
        nanos.sort_unstable();
        sending.sort_unstable();
        Self { nanos, sending, seconds }
    }
}

/// Hands over records when they are due, which they are told in nanoseconds since `start`. Gives when the first was due, and how late
/// each was handed over.
fn send(
    start: Instant,
    records: u64,
    per_second: u64,
    mut hand_over: impl FnMut(i64) -> Result<(), Failure>,
) -> Result<(Duration, Vec<u64>), Failure> {
    let lead = start.elapsed();
    let mut sending = Vec::with_capacity(records as usize);
    while (sending.len() as u64) < records {
        let now = start.elapsed().saturating_sub(lead);
        let due = ((now.as_secs_f64() * per_second as f64) as u64).min(records);
        while (sending.len() as u64) < due {
            let at = lead + Duration::from_nanos(sending.len() as u64 * 1_000_000_000 / per_second);
            hand_over(at.as_nanos() as i64)?;
            sending.push(start.elapsed().saturating_sub(at).as_nanos() as u64);
        }
        std::thread::sleep(Duration::from_micros(20));
    }
    Ok((lead, sending))
}

/// The same without an engine.
fn bare(records: u64, per_second: u64) -> Result<Run, Failure> {
    let (sender, receiver) = sync_channel::<(i64, f64, String)>(ROOM);
    let start = Instant::now();
    let taker = std::thread::spawn(move || {
        let mut nanos = Vec::with_capacity(records as usize);
        while let Ok(first) = receiver.recv() {
            let arrived = std::iter::once(first).chain(receiver.try_iter()).map(|(due, ..)| due);
            let dues: Vec<i64> = arrived.take(1000).collect();
            let now = start.elapsed().as_nanos() as u64;
            nanos.extend(dues.into_iter().map(|due| now.saturating_sub(due as u64)));
        }
        nanos
    });
    let (lead, sending) =
        send(start, records, per_second, |due| Ok(sender.send((due, 1.5, "sensor".into()))?))?;
    drop(sender);
    let seconds = (start.elapsed() - lead).as_secs_f64();
    let nanos = taker.join().map_err(|_| "the bare thread panicked")?;
    if nanos.len() as u64 != records {
        return Err(format!("{BARE}: {records} records were sent, {} arrived", nanos.len()).into());
    }
    Ok(Run::of(nanos, sending, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_tells_what_is_the_machines() {
        assert!(verdict(400.0, 200.0).ends_with("reached, the aim too"));
        let said = verdict(2500.0, 2400.0);
        assert!(
            said.ends_with(": NOT reached") && said.contains("1.04 times") && said.contains("the machine's"),
            "{said}"
        );
        assert!(!verdict(2500.0, 900.0).contains("the machine's"));
    }

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let nanos: Vec<u64> = (1..=1000).map(|n| n * 1000).collect();
        assert_eq!([0.5, 0.99, 0.999, 1.0].map(|q| quantile(&nanos, q)), [500.0, 990.0, 999.0, 1000.0]);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
