//! `sql`: the scenarios of the old engine's tables over records that lie ready in memory, on one core.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use millstream::observe::JobStats;
use millstream::record::{CompactString, RowKind};
use millstream::{
    BatchBuilder, Boundedness, DataReader, DataType, DataWriter, Engine, FieldValue, IoError, Read, Schema,
    StreamRecord,
};
use serde_json::json;

use crate::journey::{AUTO, INLINE, RECYCLING, THREADS};
use crate::machine::{NoiseWatch, machine, print_machine};
use crate::measure::{Bench, mean_and_deviation, median, warnings};
use crate::report::{Report, rate};
use crate::workload::Cost;
use crate::{Common, Failure};

/// A query that every table of the old engine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Filter and projection.
    Select,
    /// Moving average over the last rows.
    RowsWindow,
    /// GROUP BY with five aggregates.
    GroupBy,
    /// Tumbling window.
    Tumbling,
    /// Tumbling window with EMIT CHANGES.
    EmitChanges,
}

const ALL: [Scenario; 5] =
    [Scenario::Select, Scenario::RowsWindow, Scenario::GroupBy, Scenario::Tumbling, Scenario::EmitChanges];

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Scenario::Select => "SELECT",
            Scenario::RowsWindow => "ROWS WINDOW",
            Scenario::GroupBy => "GROUP BY",
            Scenario::Tumbling => "TUMBLING",
            Scenario::EmitChanges => "EMIT CHANGES",
        }
    }
    /// The first column of an aggregating query counts rows, so that the sink can tell whether all of them are in.
    fn sql(self) -> &'static str {
        match self {
            Scenario::Select => "SELECT id, amount * 2 AS twice, name FROM source WHERE amount >= 125",
            Scenario::RowsWindow => {
                "SELECT id, AVG(amount) OVER (PARTITION BY name ORDER BY ts ROWS BETWEEN 99 PRECEDING AND CURRENT ROW) AS moving \
                 FROM source"
            }
            Scenario::GroupBy => {
                "SELECT COUNT(*) AS n, name, SUM(amount) AS total, AVG(amount) AS mean, MIN(amount) AS low, MAX(amount) AS high \
                 FROM source GROUP BY name"
            }
            Scenario::Tumbling => {
                "SELECT COUNT(*) AS n, name, window_start, AVG(amount) AS mean FROM TUMBLE(source, ts, INTERVAL '1' SECOND) \
                 GROUP BY name, window_start, window_end"
            }
            Scenario::EmitChanges => {
                "SELECT COUNT(*) AS n, name, window_start, AVG(amount) AS mean FROM TUMBLE(source, ts, INTERVAL '1' SECOND) \
                 GROUP BY name, window_start, window_end EMIT CHANGES"
            }
        }
    }
    /// Records a second on one core: what is aimed at; half of it is the least.
    fn aim(self) -> f64 {
        match self {
            Scenario::Select | Scenario::GroupBy => 8e6,
            Scenario::Tumbling => 5e6,
            Scenario::RowsWindow => 3e6,
            Scenario::EmitChanges => 2e6,
        }
    }
    /// What the sink must have counted of `n` records.
    fn expected(self, n: u64) -> u64 {
        match self {
            Scenario::Select => n / 1000 * 500 + (n % 1000).saturating_sub(500),
            _ => n,
        }
    }
    /// What a row of the result adds to that.
    fn weight(self, record: &StreamRecord) -> i64 {
        let count = match (self, record.values().first()) {
            (Scenario::Select | Scenario::RowsWindow, _) => 1,
            (_, Some(FieldValue::Integer(n))) => *n,
            _ => 0,
        };
        match record.kind() {
            RowKind::UpdateBefore | RowKind::Delete => -count,
            _ => count,
        }
    }
}

fn schema() -> Arc<Schema> {
    Schema::of([
        ("id", DataType::BigInt),
        ("amount", DataType::Double),
        ("name", DataType::Varchar),
        ("ts", DataType::Timestamp),
    ])
}

/// Records a millisecond apart.
fn prebuilt(schema: &Arc<Schema>, n: u64) -> Vec<Arc<StreamRecord>> {
    let names = [
        "sensor-a1",
        "sensor-b2",
        "sensor-c3",
        "sensor-d4",
        "sensor-e5",
        "sensor-f6",
        "sensor-g7",
        "sensor-h8",
    ];
    (0..n)
        .map(|id| {
            let mut record = StreamRecord::new(schema.clone());
            if let [a, b, c, d] = record.values_mut() {
                *a = FieldValue::Integer(id as i64);
                *b = FieldValue::Float((id % 1000) as f64 * 0.25);
                *c = FieldValue::String(CompactString::const_new(names[id as usize % names.len()]));
                *d = FieldValue::Timestamp(1_767_225_600_000_000 + id as i64 * 1_000);
            }
            Arc::new(record)
        })
        .collect()
}

struct Source {
    schema: Arc<Schema>,
    records: std::vec::IntoIter<Arc<StreamRecord>>,
}

impl DataReader for Source {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        let room = out.room();
        let before = out.len();
        self.records.by_ref().take(room).for_each(|r| out.push(r));
        out.add_bytes((out.len() - before) * 33);
        Ok(if self.records.len() == 0 { Read::End } else { Read::More })
    }
}

struct Sink {
    scenario: Scenario,
    sum: Arc<AtomicU64>,
}

impl DataWriter for Sink {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        let sum: i64 = batch.iter().map(|r| self.scenario.weight(r)).sum();
        self.sum.fetch_add(sum as u64, Ordering::Relaxed);
        Ok(())
    }
    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

/// One run; `Err(Ok(why))` if the engine says that it has no such query yet.
fn once(
    scenario: Scenario,
    schema: &Arc<Schema>,
    records: Vec<Arc<StreamRecord>>,
    batch: usize,
) -> Result<(f64, JobStats), Result<String, Failure>> {
    let n = records.len() as u64;
    let sum = Arc::new(AtomicU64::new(0));
    let engine = Engine::new();
    let start = || -> Result<_, Failure> {
        engine.register_reader("source", Source { schema: schema.clone(), records: records.into_iter() })?;
        engine.register_writer("sink", Sink { scenario, sum: sum.clone() })?;
        engine.set("execution", "inline")?;
        engine.set("threads", "1")?;
        engine.set("batch_rows", &batch.to_string())?;
        Ok(())
    };
    start().map_err(Err)?;
    let prepared = engine.sql(&format!("INSERT INTO sink {}", scenario.sql())).map_err(|e| {
        let text = e.to_string();
        let line = text.lines().find(|l| l.contains("not supported yet")).map(str::to_owned);
        line.ok_or_else(|| e.into())
    })?;
    let from = Instant::now();
    let job = prepared.start().map_err(|e| Err(e.into()))?;
    let stats = job.wait().map_err(|e| Err(e.into()))?;
    let seconds = from.elapsed().as_secs_f64();
    let (got, expected) = (sum.load(Ordering::Relaxed), scenario.expected(n));
    if stats.records_in != n || got != expected {
        let text = format!(
            "{}: records were lost or duplicated: {n} given, {} read; {got} are in the result, {expected} should be",
            scenario.name(),
            stats.records_in
        );
        return Err(Err(text.into()));
    }
    Ok((seconds, stats))
}

pub fn run(common: &Common, scenario: Option<Scenario>) -> Result<(), Failure> {
    let mut report = Report::new(common)?;
    let noise = NoiseWatch::start();
    let m = machine(1, common.quick);
    print_machine(&m);
    report.line(&m)?;
    let n = common.records.unwrap_or(if common.quick { 20_000 } else { 1_000_000 });
    let repeat = common.repeat.unwrap_or(if common.quick { 2 } else { 15 });
    println!(
        "sql: {n} records ready in memory, batch {}, one core (inline), {repeat} runs; first read to the end of the job\n",
        common.batch
    );
    println!("{:<14} {:>12} {:>8} {:>10} {:>8}", "scenario", "median", "± σ", "aim", "reached");
    let chosen: Vec<Scenario> = ALL.into_iter().filter(|s| scenario.is_none_or(|o| o == *s)).collect();
    let mut unsupported = Vec::new();
    for &s in &chosen {
        match samples(s, n, repeat, common.batch)? {
            Ok(seconds) => print(s, n, &seconds, common, &mut report)?,
            Err(why) => {
                println!("{:<14} not supported yet: {why}", s.name());
                report.line(&json!({"name": "sql-unsupported", "scenario": s.name(), "why": why}))?;
                unsupported.push(why);
            }
        }
    }
    if unsupported.len() == chosen.len() {
        return Err("none of the chosen scenarios is supported yet".into());
    }
    if chosen.contains(&Scenario::Select) {
        executions(common, &mut report)?;
    }
    report.line(&noise.json())?;
    noise.warning().iter().for_each(|w| println!("{w}"));
    Ok(())
}

fn samples(s: Scenario, n: u64, repeat: usize, batch: usize) -> Result<Result<Vec<f64>, String>, Failure> {
    let schema = schema();
    let mut seconds = Vec::new();
    for _ in 0..repeat {
        match once(s, &schema, prebuilt(&schema, n), batch) {
            Ok((taken, _)) => seconds.push(taken),
            Err(Ok(why)) => return Ok(Err(why)),
            Err(Err(e)) => return Err(e),
        }
    }
    Ok(Ok(seconds))
}

fn print(s: Scenario, n: u64, seconds: &[f64], common: &Common, report: &mut Report) -> Result<(), Failure> {
    let rates: Vec<f64> = seconds.iter().map(|s| n as f64 / s).collect();
    let (mean, deviation) = mean_and_deviation(&rates);
    let speed = median(&rates);
    println!(
        "{:<14} {:>12} {:>6.1} % {:>10} {:>8}",
        s.name(),
        rate(speed),
        100.0 * deviation / mean,
        rate(s.aim()),
        match speed / s.aim() {
            _ if common.quick => "–",
            r if r >= 1.0 => "aim",
            r if r >= 0.5 => "yes",
            _ => "NO",
        }
    );
    report.line(&json!({
        "name": "sql", "stage": "sync inline", "scenario": s.name(), "records": n, "seconds": median(seconds),
        "records_per_second": speed, "samples": rates, "aim": s.aim(),
    }))
}

/// SELECT over generated records in every execution, beside the async engine that recycles.
fn executions(common: &Common, report: &mut Report) -> Result<(), Failure> {
    let bench = Bench::new(common, false)?;
    println!(
        "\nSELECT over generated records, {} threads, all executions; long samples, first read to last record written\n",
        bench.threads
    );
    let outcomes = bench.compare(&[RECYCLING, THREADS, INLINE, AUTO], Cost::Select)?;
    println!("{:<26} {:>12} {:>8} {:>10}", "execution", "median", "± σ", "allocs/rec");
    for o in &outcomes {
        let (mean, deviation) = mean_and_deviation(&o.rates());
        println!(
            "{:<26} {:>12} {:>6.1} % {:>10.4}",
            o.stage.name,
            rate(o.median_rate()),
            100.0 * deviation / mean,
            o.typical().allocations_per_record()
        );
        report.line(&o.json("sql-executions", common.batch, Cost::Select))?;
    }
    warnings(&outcomes).iter().for_each(|w| println!("{w}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_counts_its_records_or_says_that_it_can_not_yet() {
        for s in ALL {
            match samples(s, 2_345, 1, 100).unwrap() {
                Ok(seconds) => assert_eq!(seconds.len(), 1),
                Err(why) => {
                    assert!(s != Scenario::Select && why.contains("not supported yet"), "{why}");
                }
            }
        }
    }

    #[test]
    fn a_missing_record_is_an_error() {
        let schema = schema();
        let mut records = prebuilt(&schema, 2_000);
        // One that the filter would pass is replaced by one that it drops.
        records[1_999] = records[0].clone();
        let error = once(Scenario::Select, &schema, records, 100).unwrap_err().unwrap_err();
        assert!(error.to_string().contains("lost or duplicated"), "{error}");
    }
}
