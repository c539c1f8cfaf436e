//! `state_backend = 'disk'`: groups beyond the memory that they may take lie in a file, and nobody can tell from the results.
#![cfg(feature = "disk-state")]

mod support;

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::Ordering;

use millstream::io::faulty::{Fault, Script};
use millstream::{Engine, Error, Stop};
use support::{TestSink, TestSource, alone, file_sink, file_source, until, within};

const ROWS: u64 = 12_000;
/// So little that a few thousand groups fit into memory.
const MEMORY: &str = "1 MiB";

/// Rows with some 4,000 keys, most of which come three times, far apart; keys of two kinds, in no order.
fn data() -> String {
    let mut text = String::new();
    for id in 0..ROWS {
        let key = id * 7919 % 4001;
        let (a, x) = (key as i64 % 1000 - 500, id as f64 / 8.0);
        let word = match key % 5 {
            0 => "null".to_owned(),
            n => format!("\"{}{key}\"", "long enough not to fit into place ".repeat(n as usize - 1)),
        };
        writeln!(text, "{{\"id\":{id},\"k\":{},\"a\":{a},\"x\":{x},\"word\":{word}}}", key as i64 - 2000)
            .unwrap();
    }
    text
}

fn run(dir: &Path, sql: &str, settings: &[(&str, &str)]) -> String {
    let (engine, out) = (Engine::new(), dir.join("out.jsonl"));
    let state = dir.join("state");
    let _ = (std::fs::remove_file(&out), std::fs::remove_dir_all(&state));
    engine.set("state", state.to_str().unwrap()).unwrap();
    settings.iter().for_each(|(name, value)| engine.set(name, value).unwrap());
    let text = format!(
        "CREATE STREAM one (id BIGINT, k BIGINT, a BIGINT, x DOUBLE, word VARCHAR) WITH (connector = 'file', path = '{}'); \
         CREATE STREAM o WITH (connector = 'file', path = '{}', format = 'debezium-json'); INSERT INTO o {sql}",
        dir.join("one.jsonl").display(),
        out.display()
    );
    within(120, "grouping", move || {
        engine.sql(&text).unwrap_or_else(|e| panic!("{e}\n{text}")).start().unwrap().wait().unwrap();
    });
    std::fs::read_to_string(&out).unwrap()
}

fn store(dir: &Path) -> Option<std::path::PathBuf> {
    let jobs = std::fs::read_dir(dir.join("state")).ok()?;
    jobs.map(|job| job.unwrap().path().join("groups.redb")).find(|file| file.exists())
}

#[test]
fn results_are_those_of_memory_whatever_the_batches_threads_and_shards() {
    let dir = support::quick_dir();
    std::fs::write(dir.path().join("one.jsonl"), data()).unwrap();
    for sql in [
        "SELECT k, COUNT(*) AS n, SUM(a) AS s, AVG(x) AS m, MIN(word) AS w FROM one GROUP BY k",
        "SELECT word, k % 3 AS r, COUNT(DISTINCT a) AS d, MAX(id) AS i FROM one GROUP BY word, k % 3 HAVING MAX(id) % 7 > 0",
        "SELECT k, word, COUNT(*) AS n FROM one GROUP BY ROLLUP (k, word)",
        "SELECT DISTINCT word, a FROM one",
        // Groups whose last row is taken back are gone, in the file too; some come again.
        "SELECT s, COUNT(*) AS n FROM (SELECT k, SUM(id) % 4501 AS s FROM one GROUP BY k) GROUP BY s",
    ] {
        for emit in ["record", "batch"] {
            if emit == "record" && sql.contains("DISTINCT") {
                continue;
            }
            let common = [("emit_every", emit), ("batch_rows", "700")];
            let expected = run(dir.path(), sql, &common);
            assert!(expected.lines().count() > 2000, "{sql}");
            for (execution, threads, shards, rows) in [
                ("inline", "1", "1", "700"),
                ("threads", "4", "8", "700"),
                ("auto", "2", "3", "700"),
                ("inline", "1", "2", "100"),
            ] {
                // Told once for each row, changes are the same in any batches; once a batch, in those.
                if (emit == "batch") != (rows == "700") {
                    continue;
                }
                let disk = [
                    ("state_backend", "disk"),
                    ("state_max_bytes", MEMORY),
                    ("execution", execution),
                    ("threads", threads),
                    ("state_shards", shards),
                    ("commit_interval", "3000 rows"),
                    ("emit_every", emit),
                    ("batch_rows", rows),
                ];
                let got = run(dir.path(), sql, &disk);
                assert!(got == expected, "{sql}: {disk:?}");
                assert!(store(dir.path()).is_some(), "{sql}: everything fitted into memory: {disk:?}");
            }
        }
    }
}

#[test]
fn what_fits_into_memory_makes_no_file() {
    let dir = support::quick_dir();
    std::fs::write(dir.path().join("one.jsonl"), data()).unwrap();
    let sql = "SELECT k, COUNT(*) AS n FROM one GROUP BY k";
    let expected = run(dir.path(), sql, &[]);
    assert_eq!(run(dir.path(), sql, &[("state_backend", "disk")]), expected);
    assert_eq!(store(dir.path()), None);
}

const GROUPS: &str =
    "INSERT INTO out SELECT k, count(*) AS c, sum(id) AS s, min(word) AS least FROM src GROUP BY k";

fn engine(dir: &Path, backend: &str, mode: &str, source: &TestSource, sink: &TestSink) -> Engine {
    let engine = Engine::new();
    engine.register_source("src", source.clone()).unwrap();
    engine.register_sink("out", sink.clone()).unwrap();
    let state = dir.join("state");
    let settings = [
        ("state", state.to_str().unwrap()),
        ("state_backend", backend),
        ("state_max_bytes", if backend == "disk" { MEMORY } else { "1 GiB" }),
        ("execution", mode),
        ("threads", "3"),
        ("batch_rows", "100"),
        ("channel_batches", "4"),
        ("commit_interval", "1000 rows"),
    ];
    settings.iter().for_each(|(n, v)| engine.set(n, v).unwrap());
    engine
}

fn go(engine: Engine) -> Result<u64, Error> {
    within(60, GROUPS, move || engine.sql(GROUPS)?.start()?.wait().map(|stats| stats.records_in))
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let dir = support::quick_dir();
        std::fs::write(dir.path().join("one.jsonl"), data()).unwrap();
        Self(dir)
    }
    fn ends(&self) -> (TestSource, TestSink) {
        let path = |name| self.0.path().join(name);
        (TestSource::new(file_source(&path("one.jsonl"))), TestSink::new(file_sink(&path("out.jsonl"))))
    }
    fn output(&self) -> String {
        std::fs::read_to_string(self.0.path().join("out.jsonl")).unwrap()
    }
    fn whole() -> String {
        let place = Self::new();
        let (source, sink) = place.ends();
        go(engine(place.0.path(), "memory", "inline", &source, &sink)).unwrap();
        place.output()
    }
}

#[test]
fn a_job_goes_on_from_its_commit_wherever_it_fails() {
    let _alone = alone();
    let expected = Place::whole();
    for mode in ["inline", "threads"] {
        for at in [0, 7_777, 11_999] {
            let place = Place::new();
            let (source, sink) = place.ends();
            let source = source.scripted(Script { panic_at_record: Some(at), ..Script::default() });
            let failing = Script::of([(0, Fault::Fatal)]);
            let sink = sink.scripted(Script::default()).scripted(failing);
            // Before its end, and while it emits.
            assert!(go(engine(place.0.path(), "disk", mode, &source, &sink)).is_err(), "{mode} {at}");
            assert!(go(engine(place.0.path(), "disk", mode, &source, &sink)).is_err(), "{mode} {at}");
            assert_eq!(store(place.0.path()).is_some(), true, "{mode} {at}");
            let read = go(engine(place.0.path(), "disk", mode, &source, &sink)).unwrap();
            assert!(read < ROWS, "{mode} {at}: it went on from a commit: {read}");
            assert!(place.output() == expected, "{mode} {at}");
        }
    }
}

#[test]
fn a_job_moves_to_disk_and_says_what_it_needs_to_go_back() {
    let _alone = alone();
    let expected = Place::whole();
    let place = Place::new();
    let (source, sink) = place.ends();
    for (backend, rows) in [("memory", 5_000), ("disk", 10_000)] {
        source.limit.store(rows, Ordering::SeqCst);
        let before = if backend == "disk" { 5_000 } else { 0 };
        source.limit.store(rows - before, Ordering::SeqCst);
        let job =
            engine(place.0.path(), backend, "threads", &source, &sink).sql(GROUPS).unwrap().start().unwrap();
        until("it has read them", || job.stats().records_in == rows - before);
        job.stop(Stop::Checkpoint);
        within(60, backend, move || job.wait()).unwrap();
    }
    source.limit.store(u64::MAX, Ordering::SeqCst);
    let error = go(engine(place.0.path(), "memory", "inline", &source, &sink)).unwrap_err().to_string();
    assert!(error.contains("SET state_backend = 'disk'"), "{error}");
    assert_eq!(go(engine(place.0.path(), "disk", "auto", &source, &sink)).unwrap(), ROWS - 10_000);
    assert!(place.output() == expected);
}

#[test]
fn a_file_that_is_not_that_of_the_checkpoint_is_refused() {
    let _alone = alone();
    let place = Place::new();
    let (source, sink) = place.ends();
    let source = source.limited(10_000);
    let job = engine(place.0.path(), "disk", "inline", &source, &sink).sql(GROUPS).unwrap().start().unwrap();
    until("it has read them", || job.stats().records_in == 10_000);
    job.stop(Stop::Checkpoint);
    within(60, "stop", move || job.wait()).unwrap();
    let file = store(place.0.path()).unwrap();
    let length = std::fs::metadata(&file).unwrap().len();
    let try_again = |what: &str| {
        let error = go(engine(place.0.path(), "disk", "inline", &source, &sink)).unwrap_err().to_string();
        assert!(error.contains("groups.redb"), "{what}: {error}");
    };
    std::fs::File::options().write(true).open(&file).unwrap().set_len(length / 2).unwrap();
    try_again("cut");
    std::fs::write(&file, "of another program").unwrap();
    try_again("foreign");
    std::fs::remove_file(&file).unwrap();
    try_again("gone");
}

#[test]
fn what_stays_in_memory_says_so_where_it_is_too_much() {
    let _alone = alone();
    let place = Place::new();
    let timed = place.0.path().join("timed.jsonl");
    let rows = (0..ROWS).map(|k| format!("{{\"k\":{k},\"t\":\"2026-01-01T00:00:00\"}}\n"));
    std::fs::write(&timed, rows.collect::<String>()).unwrap();
    for (query, why) in [
        (
            "INSERT INTO out SELECT k, count(*) AS n FROM TUMBLE(timed, t, INTERVAL '1' MINUTE) GROUP BY k, window_start, window_end",
            "and lies in memory: windows are not put on disk",
        ),
        ("INSERT INTO out SELECT k FROM timed ORDER BY k", "and lies in memory: only groups are put on disk"),
    ] {
        let (source, sink) = place.ends();
        let engine = engine(place.0.path(), "disk", "inline", &source, &sink);
        let declared = format!(
            "CREATE STREAM timed (k BIGINT, t TIMESTAMP, WATERMARK FOR t AS t) WITH (connector = 'file', path = '{}'); \
             SET state_max_bytes = '100 KB'",
            timed.display()
        );
        engine.sql(&declared).unwrap();
        let run = move || engine.sql(query)?.start()?.wait().map(drop);
        let error = within(60, query, run).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("state_max_bytes = 100000"), "{error}");
        std::fs::remove_dir_all(place.0.path().join("state")).unwrap();
    }
}
