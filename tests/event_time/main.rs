//! Event time through whole jobs: what other engines get wrong about windows, late rows, silence, clocks; EMIT.

mod clocks;
mod flights;
mod late;
mod over;
mod windows;

use std::sync::Arc;

use millstream::connector::memory::{MemorySender, MemorySource};
use millstream::observe::JobStats;
use millstream::{DataType, Engine, Error, FieldValue, Schema, Step, StreamRecord};

const SECOND: i64 = 1_000_000;

fn schema() -> Arc<Schema> {
    Schema::of([("k", DataType::Varchar), ("x", DataType::BigInt), ("ts", DataType::Timestamp)])
}

/// Key, value, time in seconds.
type Event = (&'static str, i64, i64);

fn record((k, x, ts): Event) -> StreamRecord {
    StreamRecord::with_values(schema(), [k.into(), x.into(), FieldValue::Timestamp(ts * SECOND)])
}

fn records_of(events: &[Event]) -> MemorySource {
    MemorySource::from_vec(schema(), events.iter().copied().map(record).collect()).unwrap()
}

/// An engine with the stream `t`, which ends.
fn engine(events: &[Event], options: &[(&str, &str)]) -> Engine {
    let (engine, source) = (Engine::new(), records_of(events));
    engine.register_timed_source("t", source, "ts", "ts - INTERVAL '2' SECOND", options).unwrap();
    engine
}

/// Times in seconds, the kind in front unless it is an insert.
fn text(row: &StreamRecord) -> String {
    let value = |v: &FieldValue| match v {
        FieldValue::Null => "-".to_owned(),
        FieldValue::Integer(n) => n.to_string(),
        FieldValue::String(s) => s.to_string(),
        FieldValue::Timestamp(t) => (t / SECOND).to_string(),
        other => format!("{other:?}"),
    };
    let values: Vec<String> = row.values().iter().map(value).collect();
    let kind = if row.kind().symbol() == "+I" { String::new() } else { format!("{} ", row.kind().symbol()) };
    kind + &values.join(" ")
}

fn run_in(engine: &Engine, sql: &str) -> (Vec<String>, JobStats) {
    let mut job = engine.sql(sql).unwrap_or_else(|e| panic!("{e}")).start().unwrap();
    let rows = job.rows().map(|r| text(&r)).collect();
    (rows, job.wait().unwrap())
}

fn run(events: &[Event], options: &[(&str, &str)], sql: &str) -> (Vec<String>, JobStats) {
    run_in(&engine(events, options), sql)
}

const TENS: &str = "SELECT k, window_start, count(*) AS n FROM t GROUP BY k WINDOW TUMBLING (10s)";

/// An engine with endless streams, their senders, and a query that runs on the test's own clock.
fn live(streams: &[&str], options: &[(&str, &str)]) -> (Engine, Vec<MemorySender>) {
    let engine = Engine::new();
    let senders = streams.iter().map(|name| {
        let (sender, source) = MemorySource::channel(schema(), 100);
        engine.register_timed_source(name, source, "ts", "ts - INTERVAL '2' SECOND", options).unwrap();
        sender
    });
    let senders = senders.collect();
    (engine, senders)
}

struct Stepped {
    job: millstream::Job,
    rows: millstream::connector::memory::Rows,
}

impl Stepped {
    fn new(engine: &Engine, sql: &str) -> Self {
        let mut job = engine.sql(sql).unwrap_or_else(|e| panic!("{e}")).stepping(0).unwrap();
        let rows = job.take_rows().unwrap();
        Self { job, rows }
    }

    /// Steps until nothing is left to do at that second; gives the rows.
    fn at(&mut self, seconds: i64) -> Vec<String> {
        self.try_at(seconds).unwrap()
    }

    fn try_at(&mut self, seconds: i64) -> Result<Vec<String>, Error> {
        let mut rows = Vec::new();
        loop {
            let step = self.job.step(seconds * SECOND)?;
            rows.extend(std::iter::from_fn(|| self.rows.try_next()).map(|r| text(&r)));
            if !matches!(step, Step::Worked) {
                return Ok(rows);
            }
        }
    }
}
