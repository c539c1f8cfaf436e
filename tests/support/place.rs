//! A directory with numbered rows, jobs that read them there, and what those must write. Each test adds what it looks at.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use millstream::observe::JobStats;
use millstream::{Engine, Error, Job};

use super::{TestSink, TestSource, file_sink, file_source, until, within};

pub const ROWS: i64 = 1000;
pub const QUERY: &str = "INSERT INTO out SELECT n * 2 AS twice, name FROM src WHERE n % 3 <> 0";

pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::write(place.path("in.jsonl"), input(0..ROWS)).unwrap();
        std::fs::write(place.path("more.jsonl"), input(ROWS..2 * ROWS)).unwrap();
        place
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub fn source(&self) -> TestSource {
        TestSource::new(file_source(&self.path("in.jsonl")))
    }
    pub fn sink(&self) -> TestSink {
        TestSink::new(file_sink(&self.path("out.jsonl")))
    }
    /// What is in the one file of [`sink`](Self::sink).
    pub fn written(&self) -> String {
        std::fs::read_to_string(self.path("out.jsonl")).unwrap()
    }
    /// An engine whose jobs keep their state here and take many small batches.
    pub fn engine_of(&self, mode: &str, source: &TestSource, settings: &[(&str, &str)]) -> Engine {
        let engine = Engine::new();
        engine.register_source("src", source.clone()).unwrap();
        let state = self.path("state");
        let all = [
            ("state", state.to_str().unwrap()),
            ("execution", mode),
            ("threads", "3"),
            ("batch_rows", "10"),
            // Short, so that a barrier does not wait behind all rows.
            ("channel_batches", "4"),
        ];
        all.iter().chain(settings).for_each(|(n, v)| engine.set(n, v).unwrap());
        engine
    }
}

pub fn run(engine: Engine, query: &str) -> Result<JobStats, Error> {
    let query = query.to_owned();
    within(60, &query.clone(), move || engine.sql(&query)?.start()?.wait())
}

pub fn input(range: Range<i64>) -> String {
    range.map(|n| format!("{{\"n\":{n},\"name\":\"row {n}\"}}\n")).collect()
}

/// What [`QUERY`] makes of the first rows.
pub fn expected(rows: i64) -> String {
    (0..rows)
        .filter(|n| n % 3 != 0)
        .map(|n| format!("{{\"twice\":{},\"name\":\"row {n}\"}}\n", n * 2))
        .collect()
}

/// Gives a job the first 500 records in so many steps, each committed before the next comes: epochs follow news, not time.
pub fn commit_in_steps(source: &TestSource, job: &Job, steps: u64) {
    for step in 1..=steps {
        source.limit.store(500 * step / steps, Ordering::SeqCst);
        until("the step is committed", || job.stats().commits >= step);
    }
}
