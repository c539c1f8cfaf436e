//! Jobs whose operators keep state: however they are interrupted, groups, watermarks, tables and ends go on from the commit.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millstream::io::Scan;
use millstream::io::faulty::{Fault, Script};
use millstream::observe::JobStats;
use millstream::{Boundedness, DataReader, DataSource, Engine, Error, IoError, Schema, Stop};
use support::place::{Place, ROWS, commit_in_steps, input, run};
use support::{MODES, TestSink, TestSource, alone, expect_no_threads, file_source, until, within};

const GROUPS: &str = "INSERT INTO out SELECT n % 7 AS k, count(*) AS c, sum(n) AS s, avg(n) AS a, min(name) AS least \
                      FROM src GROUP BY n % 7";

impl Place {
    fn engine(&self, mode: &str, threads: usize, source: &TestSource, sink: &TestSink) -> Engine {
        let more = self.path("more.jsonl");
        let threads = threads.to_string();
        let engine = self.engine_of(mode, source, &[("threads", &threads), ("commit_interval", "10ms")]);
        engine.register_source("more", TestSource::new(file_source(&more))).unwrap();
        engine.register_sink("out", sink.clone()).unwrap();
        engine
    }
    fn run(&self, mode: &str, source: &TestSource, sink: &TestSink, query: &str) -> Result<JobStats, Error> {
        run(self.engine(mode, 3, source, sink), query)
    }
}

/// The groups of [`GROUPS`] over the first `rows` numbers, in the order in which they came.
fn groups(rows: i64) -> String {
    (0..7)
        .map(|k| {
            let members: Vec<i64> = (0..rows).filter(|n| n % 7 == k).collect();
            let (count, sum) = (members.len() as i64, members.iter().sum::<i64>());
            let least = members.iter().map(|n| format!("row {n}")).min().unwrap();
            let average = serde_json::Number::from_f64(sum as f64 / count as f64).unwrap();
            format!("{{\"k\":{k},\"c\":{count},\"s\":{sum},\"a\":{average},\"least\":\"{least}\"}}\n")
        })
        .collect()
}

/// What a run without interruption writes: its groups are checked against [`groups`].
fn whole(place: &Place) -> String {
    let (source, sink) = (place.source(), place.sink());
    let engine = place.engine("inline", 1, &source, &sink);
    engine.set("state", "").unwrap();
    run(engine, GROUPS).unwrap();
    let rows = |text: &str| -> Vec<serde_json::Value> {
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    };
    let (got, want) = (rows(&place.written()), rows(&groups(ROWS)));
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(&want) {
        for column in ["k", "c", "s", "least"] {
            assert_eq!(got[column], want[column]);
        }
        let number = |v: &serde_json::Value| match v {
            serde_json::Value::String(s) => s.parse::<f64>().unwrap(),
            other => other.as_f64().unwrap(),
        };
        assert!((number(&got["a"]) - number(&want["a"])).abs() < 1e-6);
    }
    place.written()
}

/// Gives a job the first 500 records in so many steps, each committed before the next comes.
fn read_in_steps(source: &TestSource, job: &millstream::Job, steps: u64) {
    commit_in_steps(source, job, steps);
    until("half is read", || job.stats().records_in == 500);
}

#[test]
fn groups_go_on_after_a_stop_with_other_threads_and_in_another_mode() {
    let _alone = alone();
    let place = Place::new();
    let expected = whole(&place);
    for (mode, then) in MODES.iter().zip(["threads", "auto", "inline"]) {
        for how in [Stop::Checkpoint, Stop::Abort] {
            let place = Place::new();
            let (source, sink) = (place.source().limited(0), place.sink());
            let job = place.engine(mode, 4, &source, &sink).sql(GROUPS).unwrap().start().unwrap();
            read_in_steps(&source, &job, 2);
            job.stop(how);
            assert_eq!(within(60, mode, move || job.wait()).is_ok(), how != Stop::Abort, "{mode} {how:?}");
            expect_no_threads(mode);
            assert_eq!(place.written(), "", "{mode} {how:?}: nothing is final yet");
            source.limit.store(u64::MAX, Ordering::SeqCst);
            let stats = run(place.engine(then, 2, &source, &sink), GROUPS).unwrap();
            assert_eq!(place.written(), expected, "{mode} {how:?}");
            if how == Stop::Checkpoint {
                assert_eq!(stats.records_in, 500, "{mode}");
            }
            assert_eq!(place.run(mode, &source, &sink, GROUPS).unwrap().state, "finished before");
        }
    }
}

#[test]
fn a_failure_anywhere_leaves_groups_that_are_completed() {
    let _alone = alone();
    let place = Place::new();
    let expected = whole(&place);
    let panics = Script { panic_at_record: Some(437), ..Script::default() };
    let fails = |call| Script::of([(call, Fault::Fatal)]);
    for mode in MODES {
        for (reader, writer) in [
            (panics.clone(), Script::default()),
            (fails(3), Script::default()),
            (fails(60), Script::default()),
            (Script::default(), fails(0)),
        ] {
            let place = Place::new();
            let (source, sink) = (place.source().scripted(reader), place.sink().scripted(writer));
            assert!(place.run(mode, &source, &sink, GROUPS).is_err(), "{mode}");
            expect_no_threads(mode);
            place.run(mode, &source, &sink, GROUPS).unwrap();
            assert_eq!(place.written(), expected, "{mode}");
        }
    }
}

/// Rows somewhat out of order, five a second, some of them late.
fn timed_input() -> String {
    let line = |n: i64| {
        let ms = (n - n * 7919 % 43).max(0) * 200;
        let (minutes, seconds, ms) = (ms / 60_000, ms / 1000 % 60, ms % 1000);
        format!(
            "{{\"n\":{n},\"k\":\"k{}\",\"ts\":\"2026-01-01T00:{minutes:02}:{seconds:02}.{ms:03}Z\"}}\n",
            n * 31 % 5
        )
    };
    (0..ROWS).map(line).collect()
}

#[test]
fn windows_that_are_open_go_on_after_a_pause() {
    let _alone = alone();
    let window = |table: &str| {
        format!(
            "INSERT INTO out SELECT k, window_start, window_end, count(*) AS c, sum(n) AS s, min(n) AS least, last_value(n) AS latest \
             FROM {table} GROUP BY k, window_start, window_end"
        )
    };
    let queries = [
        window("TUMBLE(timed, ts, INTERVAL '30' SECOND)"),
        window("HOP(timed, ts, INTERVAL '7' SECOND, INTERVAL '30' SECOND)"),
        window("CUMULATE(timed, ts, INTERVAL '10' SECOND, INTERVAL '1' MINUTE)"),
        window("SESSION(timed, ts, INTERVAL '900' MILLISECOND PARTITION BY k)"),
        "INSERT INTO out SELECT k, n, window_end FROM SESSION(timed, ts, INTERVAL '900' MILLISECOND PARTITION BY k)".into(),
        "INSERT INTO out SELECT * FROM (SELECT k, window_end, c, row_number() OVER (PARTITION BY window_end ORDER BY c DESC, k) AS r \
         FROM (SELECT k, window_end, count(*) AS c FROM timed GROUP BY k WINDOW TUMBLING (20s))) WHERE r <= 2"
            .into(),
        "INSERT INTO out SELECT k, n, sum(n) OVER (PARTITION BY k ORDER BY ts, n ROWS 9 PRECEDING) AS s FROM timed".into(),
    ];
    for (at, query) in queries.iter().enumerate() {
        let mode = MODES[at % MODES.len()];
        let place = Place::new();
        std::fs::write(place.path("in.jsonl"), timed_input()).unwrap();
        let engine = |mode: &str, threads, source: &TestSource| {
            let engine = place.engine(mode, threads, &place.source(), &place.sink());
            let late = [("allowed_lateness", "500ms")];
            engine
                .register_timed_source("timed", source.clone(), "ts", "ts - INTERVAL '2' SECOND", &late)
                .unwrap();
            engine
        };
        let uninterrupted = engine("inline", 1, &place.source());
        uninterrupted.set("state", "").unwrap();
        let stats = run(uninterrupted, query).unwrap();
        let whole = place.written();
        assert!(whole.lines().count() > 10, "{query}: {whole}");
        assert!(stats.late > 0 || !query.contains("TUMBL"), "{query}: none is late");
        std::fs::remove_file(place.path("out.jsonl")).unwrap();

        let source = place.source().limited(0);
        let job = engine(mode, 4, &source).sql(query).unwrap().start().unwrap();
        read_in_steps(&source, &job, 2);
        job.stop(Stop::Checkpoint);
        within(60, query, move || job.wait()).unwrap();
        let first = place.written();
        assert!(whole.starts_with(&first) && first.len() < whole.len(), "{query}");
        source.limit.store(u64::MAX, Ordering::SeqCst);
        let then = MODES[(at + 1) % MODES.len()];
        let stats = run(engine(then, 2, &source), query).unwrap();
        assert_eq!(place.written(), whole, "{query}");
        assert_eq!(stats.records_in, 500, "{query}");
    }
}

/// A panic on a thread of the pool while it changes the state of its shard.
#[test]
fn a_panic_on_a_pool_thread_commits_nothing_and_the_next_run_completes_the_groups() {
    let _alone = alone();
    let query = "INSERT INTO out SELECT n % 50 AS k, fragile(n) AS s FROM src GROUP BY n % 50";
    let armed = Arc::new(AtomicBool::new(false));
    let run_once = |place: &Place, mode: &str| {
        let (source, sink) = (place.source(), place.sink());
        let engine = place.engine(mode, 4, &source, &sink);
        engine.set("state_shards", "8").unwrap();
        let armed = armed.clone();
        let update = move |sum: &mut i64, n: i64| {
            if n >= 600 && armed.load(Ordering::SeqCst) {
                let on_pool = std::thread::current().name().is_some_and(|name| name.starts_with("ms-pool"));
                assert!(!on_pool, "it broke on a pool thread");
            }
            *sum += n;
        };
        engine
            .register_aggregate("fragile", || 0i64, update, |sum, later| *sum += later, |sum| Some(*sum))
            .unwrap();
        run(engine, query)
    };
    let place = Place::new();
    run_once(&place, "inline").unwrap();
    let expected = place.written();
    assert_eq!(expected.lines().count(), 50);
    for mode in MODES {
        let place = Place::new();
        armed.store(true, Ordering::SeqCst);
        let broken = run_once(&place, mode);
        expect_no_threads(mode);
        // On one thread there is no pool.
        if mode != "inline" {
            let error = broken.unwrap_err().to_string();
            assert!(
                error.contains("it broke on a pool thread") && error.contains("fragile()"),
                "{mode}: {error}"
            );
            assert_eq!(place.written(), "", "{mode}");
        }
        armed.store(false, Ordering::SeqCst);
        run_once(&place, mode).unwrap();
        assert_eq!(place.written(), expected, "{mode}");
    }
}

#[test]
fn draining_emits_the_groups_and_ends_the_job_for_good() {
    let _alone = alone();
    for (how, at_end) in [(Stop::Drain, "keep"), (Stop::Checkpoint, "drain")] {
        let place = Place::new();
        let (source, sink) = (place.source().limited(0), place.sink());
        let engine = place.engine("threads", 3, &source, &sink);
        engine.set("at_end", at_end).unwrap();
        let query = "INSERT INTO out SELECT n % 2 AS k, count(*) AS c FROM src GROUP BY n % 2";
        let job = engine.sql(query).unwrap().start().unwrap();
        read_in_steps(&source, &job, 1);
        job.stop(how);
        within(60, at_end, move || job.wait()).unwrap();
        assert_eq!(place.written(), "{\"k\":0,\"c\":250}\n{\"k\":1,\"c\":250}\n", "{how:?}");
        source.limit.store(u64::MAX, Ordering::SeqCst);
        let again = place.run("threads", &source, &sink, query).unwrap();
        assert_eq!((again.state.as_str(), again.records_in), ("finished before", 0));
    }
}

#[test]
fn an_input_that_had_ended_does_not_end_twice() {
    let _alone = alone();
    let query =
        "INSERT INTO out SELECT count(*) AS c FROM src UNION ALL SELECT count(*) + max(n) AS c FROM more";
    for mode in MODES {
        let place = Place::new();
        let (source, sink) = (place.source(), place.sink());
        let second = TestSource::new(file_source(&place.path("more.jsonl"))).limited(400);
        let engine = place.engine(mode, 3, &source, &sink);
        engine.register_source("second", second.clone()).unwrap();
        let query = query.replace("more", "second");
        let job = engine.sql(&query).unwrap().start().unwrap();
        until("the first has ended and all is committed", || {
            let stats = job.stats();
            sink.taken() == 1 && stats.sources[1].position.contains("line 401")
        });
        job.stop(Stop::Abort);
        assert!(within(60, mode, move || job.wait()).is_err());
        expect_no_threads(mode);
        // What is added to a source that had ended is not part of this job.
        std::fs::write(place.path("in.jsonl"), input(0..ROWS + 50)).unwrap();
        let engine = place.engine(mode, 3, &source, &sink);
        second.limit.store(u64::MAX, Ordering::SeqCst);
        engine.register_source("second", second).unwrap();
        run(engine, &query).unwrap();
        assert_eq!(place.written(), "{\"c\":1000}\n{\"c\":2999}\n", "{mode}");
    }
}

/// A source that does not say that it will end, so that groups over it are shown as they change.
#[derive(Clone)]
struct Endless(TestSource);

impl DataSource for Endless {
    fn schema(&self) -> Arc<Schema> {
        self.0.schema()
    }
    fn projects(&self) -> bool {
        self.0.projects()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }
    fn can_replay(&self) -> bool {
        true
    }
    fn open(&self, scan: &Scan) -> Result<Box<dyn DataReader>, IoError> {
        self.0.open(scan)
    }
}

#[test]
fn a_materialized_table_is_there_again() {
    let _alone = alone();
    let text = "CREATE TABLE totals AS SELECT n % 3 AS k, count(*) AS c FROM endless GROUP BY n % 3";
    let content = |engine: &Engine| -> Vec<String> {
        let mut job = engine.query("SELECT k, c FROM totals", None).unwrap().start().unwrap();
        let rows = job.rows().map(|r| format!("{:?}", r.values())).collect();
        job.wait().unwrap();
        rows
    };
    for mode in MODES {
        let place = Place::new();
        let (source, sink) = (place.source().limited(0), place.sink());
        let engine_for = |threads| {
            let engine = place.engine(mode, threads, &source, &sink);
            engine.register_source("endless", Endless(source.clone())).unwrap();
            if mode == "threads" {
                engine.set("mode", "transactional").unwrap();
            }
            engine
        };
        let engine = engine_for(3);
        let job = engine.sql(text).unwrap().start().unwrap();
        read_in_steps(&source, &job, 2);
        job.stop(Stop::Checkpoint);
        within(60, mode, move || job.wait()).unwrap();
        let before = content(&engine);
        assert_eq!(before.len(), 3, "{mode}");
        // Another process: a new engine, and no input.
        let engine = engine_for(1);
        source.limit.store(0, Ordering::SeqCst);
        let job = engine.sql(text).unwrap().start().unwrap();
        assert_eq!(content(&engine), before, "{mode}");
        source.limit.store(u64::MAX, Ordering::SeqCst);
        within(60, mode, move || job.wait()).unwrap();
        let whole = content(&engine);
        assert!(whole[0].contains("334"), "{mode}: {whole:?}");
        // And when the job has ended.
        let engine = engine_for(1);
        let job = engine.sql(text).unwrap().start().unwrap();
        assert_eq!(within(60, mode, move || job.wait()).unwrap().state, "finished before");
        assert_eq!(content(&engine), whole, "{mode}");
    }
}

#[test]
fn a_changed_plan_is_refused_with_what_survives_unless_it_is_allowed() {
    let _alone = alone();
    let place = Place::new();
    let (source, sink) = (place.source().limited(0), place.sink());
    let engine = place.engine("inline", 1, &source, &sink);
    let job = engine.sql(GROUPS).unwrap().start().unwrap();
    read_in_steps(&source, &job, 1);
    job.stop(Stop::Checkpoint);
    within(60, "stop", move || job.wait()).unwrap();
    source.limit.store(u64::MAX, Ordering::SeqCst);
    // The same groups of other rows, and other groups.
    let filtered = GROUPS.replace("GROUP BY", "WHERE n <> 700 GROUP BY");
    let error = place.run("inline", &source, &sink, &filtered).unwrap_err().to_string();
    assert!(error.contains("was written by another query") && error.contains("plan_change"), "{error}");
    let other = GROUPS.replace("sum(n)", "max(n)");
    let error = place.run("inline", &source, &sink, &other).unwrap_err().to_string();
    assert!(error.contains("is lost (it does something else now)"), "{error}");
    let engine = place.engine("inline", 1, &source, &sink);
    engine.set("plan_change", "allow").unwrap();
    run(engine, &other).unwrap();
    let counts: i64 = place
        .written()
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["c"].as_i64().unwrap())
        .sum();
    assert_eq!(counts, 500, "the other groups are those of what was not read yet");
}

#[test]
fn a_store_on_disk_that_can_not_be_is_refused_with_what_to_do() {
    let _alone = alone();
    let place = Place::new();
    let (source, sink) = (place.source(), place.sink());
    let engine = place.engine("inline", 1, &source, &sink);
    engine.set("state_backend", "memory").unwrap();
    assert!(engine.set("state_backend", "tape").is_err());
    engine.set("state_backend", "disk").unwrap();
    if !cfg!(feature = "disk-state") {
        let error = run(engine, GROUPS).unwrap_err().to_string();
        assert!(error.contains("needs a build with the feature disk-state"), "{error}");
        return;
    }
    engine.set("state", "").unwrap();
    let error = run(engine, GROUPS).unwrap_err().to_string();
    assert!(error.contains("needs a directory for it: --state DIR"), "{error}");
}

#[test]
fn commits_by_rows_and_bytes_come_as_often_as_asked() {
    let _alone = alone();
    for (interval, least, most) in [("100 rows", 8, 12), ("10 KB", 1, 6), ("1h", 1, 1)] {
        let place = Place::new();
        let (source, sink) = (place.source(), place.sink());
        let engine = place.engine("inline", 1, &source, &sink);
        engine.set("commit_interval", interval).unwrap();
        let stats = run(engine, GROUPS).unwrap();
        assert!((least..=most).contains(&stats.commits), "{interval}: {stats:?}");
        let commit = stats.commit;
        assert_eq!(commit.epoch, stats.commits, "{interval}");
        assert!(
            commit.bytes > 100 && commit.last_s <= commit.max_s && commit.max_stall_s <= stats.wall_s,
            "{commit:?}"
        );
    }
}
