//! Jobs that are stopped at random points and go on with other threads and batches give the bytes of one run.

use std::path::Path;
use std::sync::Arc;

use millstream::connector::memory::MemorySource;
use millstream::{Engine, Stop};

use crate::engine::{Way, set};
use crate::query::{Emit, Kind, Query, interval};
use crate::random::Random;
use crate::stream::{Row, Shape, records, schema};
use crate::support::{TestSink, TestSource, file_sink, until, within};
use crate::time::Late;
use crate::united::{NAMES, streams, view};

struct Restored<'a> {
    query: &'a Query,
    sql: &'a str,
    bound: i64,
    directory: &'a Path,
}

impl Restored<'_> {
    fn engine(&self, sources: &[TestSource], way: Way, state: bool, out: &str) -> Engine {
        let engine = Engine::new();
        let lateness = format!("{} us", self.query.policy.lateness);
        let time = [("late", "drop"), ("allowed_lateness", lateness.as_str())];
        let watermark = format!("ts - {}", interval(self.bound));
        for (name, source) in names(sources.len()).iter().zip(sources) {
            engine.register_timed_source(name, source.clone(), "ts", &watermark, &time).unwrap();
        }
        if sources.len() > 1 {
            engine.sql(&view(sources.len(), false)).unwrap();
        }
        engine.register_sink("out", TestSink::new(file_sink(&self.directory.join(out)))).unwrap();
        let directory = self.directory.join("state");
        set(&engine, way).unwrap();
        engine.set("commit_interval", "1ms").unwrap();
        if state {
            engine.set("state", directory.to_str().unwrap()).unwrap();
        }
        engine
    }

    fn output(&self, out: &str) -> String {
        std::fs::read_to_string(self.directory.join(out)).unwrap_or_default()
    }
}

fn names(count: usize) -> &'static [&'static str] {
    if count == 1 { &["rows"] } else { &NAMES[..count] }
}

fn sources(streams: &[Vec<Row>]) -> Vec<TestSource> {
    let source =
        |rows: &Vec<Row>| TestSource::new(Arc::new(MemorySource::from_vec(schema(), records(rows)).unwrap()));
    streams.iter().map(source).collect()
}

/// FINAL results of windows of this kind, written to a file; over one stream, or over several that are merged.
pub fn restored(seed: u64, least: usize, kind: impl Fn(&mut Random, &Shape) -> Kind) -> Result<(), String> {
    let mut random = Random(seed);
    let mut shape = Shape::random(&mut random);
    shape.rows = shape.rows.clamp(20, 120);
    let kind = kind(&mut random, &shape);
    let mut query = Query::random(&mut random, kind, &shape);
    (query.emit, query.policy.late) = (Emit::Final, Late::Drop);
    let inputs = if least == 1 { vec![shape.generate(&mut random)] } else { streams(&mut random, &shape) };
    let sql = format!("INSERT INTO out {}", query.sql(&mut random));
    let directory = tempfile::tempdir().unwrap();
    let run =
        Restored { query: &query, sql: &sql, bound: shape.bound * shape.unit, directory: directory.path() };
    let whole = run.engine(&sources(&inputs), Way::random(&mut random), false, "whole.jsonl");
    whole.sql(&sql).map_err(|e| format!("{sql}: {e}"))?.start().unwrap().wait().unwrap();
    let mut stops = Vec::new();
    // Rows that each source has given, read ahead or not.
    let mut given = vec![0; inputs.len()];
    for _ in 0..random.between(1, 3) {
        let way = Way::random(&mut random);
        let stopping = random.below(inputs.len() as i64) as usize;
        let left = inputs[stopping].len() as u64 - given[stopping];
        let more = random.below(left as i64) as u64;
        stops.push((stopping, given[stopping] + more, way));
        let mut limited = sources(&inputs);
        limited[stopping] = limited[stopping].clone().limited(more);
        let engine = run.engine(&limited, way, true, "parts.jsonl");
        let job = engine.sql(run.sql).unwrap().start().map_err(|e| format!("{sql}: {e}"))?;
        until("the part is read", || {
            job.stats().sources.get(stopping).is_some_and(|s| s.records >= more) || left == 0
        });
        job.stop(Stop::Checkpoint);
        let stats = within(60, "a stop", move || job.wait()).map_err(|e| format!("{sql}: {e}"))?;
        for (given, source) in given.iter_mut().zip(&stats.sources) {
            *given += source.records;
        }
    }
    let rest = run.engine(&sources(&inputs), Way::random(&mut random), true, "parts.jsonl");
    let job = rest.sql(run.sql).unwrap().start().map_err(|e| format!("{sql}: {e}"))?;
    within(60, "the rest", move || job.wait()).map_err(|e| format!("{sql}: {e}"))?;
    let (one, parts) = (run.output("whole.jsonl"), run.output("parts.jsonl"));
    if one == parts {
        return Ok(());
    }
    let at = one.lines().zip(parts.lines()).take_while(|(a, b)| a == b).count();
    Err(format!(
        "{sql}\n  stops {stops:?}: line {at} of {} (parts {})\n  whole {:?}\n  parts {:?}\n  {inputs:?}",
        one.lines().count(),
        parts.lines().count(),
        one.lines().nth(at),
        parts.lines().nth(at)
    ))
}
