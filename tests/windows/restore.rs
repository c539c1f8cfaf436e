//! Jobs that are stopped at random points and go on with other threads and batches give the bytes of one run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use millstream::connector::memory::MemorySource;
use millstream::{Engine, Stop};

use crate::engine::Way;
use crate::query::{Emit, Kind, Query, interval};
use crate::random::Random;
use crate::stream::{Row, Shape, records, schema};
use crate::support::{TestSink, TestSource, file_sink, until, within};
use crate::time::Late;

struct Restored<'a> {
    query: &'a Query,
    sql: &'a str,
    bound: i64,
    directory: &'a Path,
}

impl Restored<'_> {
    fn engine(&self, source: &TestSource, way: Way, state: bool, out: &str) -> Engine {
        let engine = Engine::new();
        let lateness = format!("{} us", self.query.policy.lateness);
        let time = [("late", "drop"), ("allowed_lateness", lateness.as_str())];
        let watermark = format!("ts - {}", interval(self.bound));
        engine.register_timed_source("rows", source.clone(), "ts", &watermark, &time).unwrap();
        engine.register_sink("out", TestSink::new(file_sink(&self.directory.join(out)))).unwrap();
        let directory = self.directory.join("state");
        let execution = if way.execution == "step" { "inline" } else { way.execution };
        let (threads, batch_rows) = (way.threads.to_string(), way.batch_rows.to_string());
        let settings = [
            ("execution", execution),
            ("threads", threads.as_str()),
            ("batch_rows", batch_rows.as_str()),
            ("commit_interval", "1ms"),
        ];
        settings.iter().for_each(|(name, value)| engine.set(name, value).unwrap());
        if state {
            engine.set("state", directory.to_str().unwrap()).unwrap();
        }
        engine
    }

    fn output(&self, out: &str) -> String {
        std::fs::read_to_string(self.directory.join(out)).unwrap_or_default()
    }
}

fn source(rows: &[Row]) -> TestSource {
    TestSource::new(Arc::new(MemorySource::from_vec(schema(), records(rows)).unwrap()))
}

/// FINAL results of windows of this kind, written to a file.
pub fn restored(seed: u64, kind: impl Fn(&mut Random, &Shape) -> Kind) -> Result<(), String> {
    let mut random = Random(seed);
    let mut shape = Shape::random(&mut random);
    shape.rows = shape.rows.clamp(20, 120);
    let kind = kind(&mut random, &shape);
    let mut query = Query::random(&mut random, kind, &shape);
    (query.emit, query.policy.late) = (Emit::Final, Late::Drop);
    let rows = shape.generate(&mut random);
    let sql = format!("INSERT INTO out {}", query.sql(&mut random));
    let directory = tempfile::tempdir().unwrap();
    let run =
        Restored { query: &query, sql: &sql, bound: shape.bound * shape.unit, directory: directory.path() };
    let whole = run.engine(&source(&rows), Way::random(&mut random), false, "whole.jsonl");
    whole.sql(&sql).map_err(|e| format!("{sql}: {e}"))?.start().unwrap().wait().unwrap();
    let mut stops: Vec<u64> = (0..random.between(1, 3)).map(|_| random.below(shape.rows) as u64).collect();
    stops.sort_unstable();
    let mut ways = Vec::new();
    let mut from = 0;
    for &stop in &stops {
        let way = Way::random(&mut random);
        ways.push(way);
        let limited = source(&rows).limited(stop - from);
        from = stop;
        let engine = run.engine(&limited, way, true, "parts.jsonl");
        let job = engine.sql(run.sql).unwrap().start().map_err(|e| format!("{sql}: {e}"))?;
        let given = limited.limit.load(Ordering::SeqCst);
        until("the part is read", || job.stats().records_in >= given);
        job.stop(Stop::Checkpoint);
        within(60, "a stop", move || job.wait()).map_err(|e| format!("{sql}: {e}"))?;
    }
    let rest = run.engine(&source(&rows), Way::random(&mut random), true, "parts.jsonl");
    let job = rest.sql(run.sql).unwrap().start().map_err(|e| format!("{sql}: {e}"))?;
    within(60, "the rest", move || job.wait()).map_err(|e| format!("{sql}: {e}"))?;
    let (one, parts) = (run.output("whole.jsonl"), run.output("parts.jsonl"));
    if one == parts {
        return Ok(());
    }
    let at = one.lines().zip(parts.lines()).take_while(|(a, b)| a == b).count();
    Err(format!(
        "{sql}\n  stops {stops:?}, {ways:?}: line {at} of {} (parts {})\n  whole {:?}\n  parts {:?}\n  {rows:?}",
        one.lines().count(),
        parts.lines().count(),
        one.lines().nth(at),
        parts.lines().nth(at)
    ))
}
