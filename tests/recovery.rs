//! A job with state, file to file: however it is interrupted, the next start completes the output, and nothing stands in it twice.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use millstream::connector::memory::MemorySource;
use millstream::io::faulty::{Fault, Script};
use millstream::observe::JobStats;
use millstream::{DataType, Engine, Error, Schema, Stop};
use support::place::{Place, QUERY, ROWS, commit_in_steps, expected, run};
use support::{MODES, TestSink, TestSource, alone, expect_no_threads, file_source, until, within};

impl Place {
    fn engine(&self, mode: &str, source: &TestSource, sink: &TestSink) -> Engine {
        let engine = self.engine_of(mode, source, &[("commit_interval", "1ms")]);
        engine.register_sink("out", sink.clone()).unwrap();
        engine
    }
    fn run(&self, mode: &str, source: &TestSource, sink: &TestSink, query: &str) -> Result<JobStats, Error> {
        run(self.engine(mode, source, sink), query)
    }
    fn checkpoints(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut left = vec![self.path("state")];
        while let Some(dir) = left.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    left.push(path);
                } else if path.extension().is_some_and(|e| e == "ckpt") {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

/// The first records of the input that pass the condition.
fn passing(of: i64) -> u64 {
    (0..of).filter(|n| n % 3 != 0).count() as u64
}

#[test]
fn a_stopped_job_goes_on_where_it_was_and_a_finished_one_does_nothing() {
    let _alone = alone();
    for mode in MODES {
        for how in [Stop::Checkpoint, Stop::Drain, Stop::Abort] {
            let place = Place::new();
            let (source, sink) = (place.source().limited(0), place.sink());
            let engine = place.engine(mode, &source, &sink);
            let job = engine.sql(QUERY).unwrap().start().unwrap();
            commit_in_steps(&source, &job, if how == Stop::Abort { 2 } else { 1 });
            until("half is written", || sink.taken() == passing(500));
            job.stop(how);
            let stopped = within(60, mode, move || job.wait());
            assert_eq!(stopped.is_ok(), how != Stop::Abort, "{mode} {how:?} {stopped:?}");
            expect_no_threads(mode);
            let before = sink.taken();
            source.limit.store(u64::MAX, Ordering::SeqCst);
            let stats = place.run(mode, &source, &sink, QUERY).unwrap();
            assert_eq!(place.written(), expected(ROWS), "{mode} {how:?}");
            if how != Stop::Abort {
                assert_eq!((stats.records_in, sink.taken() - before), (500, passing(ROWS) - passing(500)));
            }
            let again = place.run(mode, &source, &sink, QUERY).unwrap();
            assert_eq!((again.records_in, again.state.as_str()), (0, "finished before"));
            assert_eq!(place.written(), expected(ROWS), "a finished job leaves its output alone");
        }
    }
}

#[test]
fn errors_and_panics_anywhere_leave_a_state_from_which_the_output_is_completed() {
    let _alone = alone();
    let panic_at = |n| Script { panic_at_record: Some(n), ..Script::default() };
    let at = |call, fault| Script::of([(call, fault)]);
    let faults: [(&str, Script, Script); 7] = [
        ("read fails", at(40, Fault::Fatal), Script::default()),
        ("reader panics", panic_at(437), Script::default()),
        ("write fails", Script::default(), at(40, Fault::Fatal)),
        ("writer panics", Script::default(), panic_at(300)),
        ("flush fails", Script::default(), Script { flush_fails_at: Some(0), ..Script::default() }),
        ("first sync fails", Script::default(), Script { sync_fails_at: Some(0), ..Script::default() }),
        ("third sync fails", Script::default(), Script { sync_fails_at: Some(2), ..Script::default() }),
    ];
    for mode in MODES {
        for (what, reader, writer) in &faults {
            let place = Place::new();
            let (source, sink) =
                (place.source().scripted(reader.clone()), place.sink().scripted(writer.clone()));
            let first = place.run(mode, &source, &sink, QUERY);
            // A fault that needs a flush or sync does not happen in every interleaving.
            assert!(first.is_err() || what.contains("flush") || what.contains("sync"), "{mode} {what}");
            expect_no_threads(what);
            let second = place.run(mode, &source, &sink, QUERY);
            assert!(second.is_ok(), "{mode} {what}: {second:?}");
            assert_eq!(place.written(), expected(ROWS), "{mode} {what}");
        }
    }
}

#[test]
fn a_job_restarts_itself_after_panics_as_often_as_it_may() {
    let _alone = alone();
    for mode in MODES {
        let place = Place::new();
        let panic_at = |n| Script { panic_at_record: Some(n), ..Script::default() };
        let source = place.source().scripted(panic_at(250));
        let sink = place.sink().scripted(Script::default()).scripted(panic_at(100));
        let engine = place.engine(mode, &source, &sink);
        engine.set("max_restarts", "2").unwrap();
        let stats = within(60, mode, move || engine.sql(QUERY).unwrap().start().unwrap().wait()).unwrap();
        assert_eq!((stats.restarts, place.written()), (2, expected(ROWS)), "{mode}");
        let place = Place::new();
        let source = place.source().scripted(panic_at(250)).scripted(panic_at(0));
        let sink = place.sink();
        let engine = place.engine(mode, &source, &sink);
        engine.set("max_restarts", "1").unwrap();
        let error = within(60, mode, move || engine.sql(QUERY).unwrap().start().unwrap().wait()).unwrap_err();
        assert!(error.to_string().contains("scripted panic"), "{mode} {error}");
        expect_no_threads(mode);
    }
}

#[test]
fn limit_counts_on_after_a_restart_and_counts_nothing_twice() {
    let _alone = alone();
    let query = "INSERT INTO out SELECT n FROM src LIMIT 700";
    let expected: String = (0..700).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    for mode in MODES {
        for call in [3, 20, 45, 60] {
            let place = Place::new();
            let (source, sink) = (place.source(), place.sink().scripted(Script::of([(call, Fault::Fatal)])));
            assert!(place.run(mode, &source, &sink, query).is_err(), "{mode}");
            place.run(mode, &source, &sink, query).unwrap();
            assert_eq!(place.written(), expected, "{mode}, failure at write {call}");
            assert_eq!(place.run(mode, &source, &sink, query).unwrap().state, "finished before");
        }
    }
}

#[test]
fn another_query_does_not_go_on_from_this_ones_state() {
    let _alone = alone();
    let place = Place::new();
    let (source, sink) = (place.source(), place.sink());
    place.run("inline", &source, &sink, QUERY).unwrap();
    let other = place.run("inline", &source, &sink, "INSERT INTO out SELECT n AS twice, name FROM src");
    let error = other.unwrap_err();
    assert!(error.to_string().contains("was written by another query"), "{error}");
    assert_eq!(error.exit_code(), 2, "what was asked for is wrong, nothing failed");
    assert_eq!(place.written(), expected(ROWS));
}

#[test]
fn a_source_that_cannot_be_read_again_refuses_state() {
    let _alone = alone();
    let place = Place::new();
    let engine = place.engine("inline", &place.source(), &place.sink());
    let (_sender, channel) = MemorySource::channel(Schema::of([("n", DataType::BigInt)]), 1);
    engine.register_source("channel", channel).unwrap();
    let refused = engine.sql("INSERT INTO out SELECT n FROM channel").unwrap().start();
    assert!(refused.unwrap_err().to_string().contains("can't be read again"));
    assert!(!place.path("out.jsonl").exists(), "refused before anything was opened");
}

/// Interrupts a job after several commits.
fn interrupted(place: &Place, source: &TestSource, sink: &TestSink) {
    let engine = place.engine("inline", source, sink);
    let job = engine.sql(QUERY).unwrap().start().unwrap();
    commit_in_steps(source, &job, 3);
    until("half is written", || sink.taken() == passing(500));
    job.stop(Stop::Abort);
    assert!(within(60, "abort", move || job.wait()).is_err());
    source.limit.store(u64::MAX, Ordering::SeqCst);
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_checkpoint_falls_back_to_the_one_before_and_none_left_is_an_error() {
    let _alone = alone();
    let place = Place::new();
    let (source, sink) = (place.source().limited(0), place.sink());
    interrupted(&place, &source, &sink);
    flip(place.checkpoints().last().unwrap());
    place.run("inline", &source, &sink, QUERY).unwrap();
    assert_eq!(place.written(), expected(ROWS));
    let place = Place::new();
    let (source, sink) = (place.source().limited(0), place.sink());
    interrupted(&place, &source, &sink);
    place.checkpoints().iter().for_each(|p| flip(p));
    let before = place.written();
    let error = place.run("inline", &source, &sink, QUERY).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
    assert_eq!(place.written(), before, "an unreadable state starts nothing anew");
}

#[test]
fn sources_that_are_read_one_after_the_other_do_not_hold_up_commits() {
    let _alone = alone();
    for mode in MODES {
        let place = Place::new();
        let (source, sink) = (place.source().limited(0), place.sink());
        let engine = place.engine(mode, &source, &sink);
        let more = Arc::new(TestSource::new(file_source(&place.path("more.jsonl"))));
        engine.register_source("more", (*more).clone()).unwrap();
        let query = "INSERT INTO out SELECT n FROM src UNION ALL SELECT n FROM more";
        let job = engine.sql(query).unwrap().start().unwrap();
        commit_in_steps(&source, &job, 3);
        until("half of the first is written", || sink.taken() == 500);
        job.stop(Stop::Abort);
        assert!(within(60, mode, move || job.wait()).is_err());
        expect_no_threads(mode);
        source.limit.store(u64::MAX, Ordering::SeqCst);
        let engine = place.engine(mode, &source, &sink);
        engine.register_source("more", (*more).clone()).unwrap();
        within(60, mode, move || engine.sql(query).unwrap().start().unwrap().wait()).unwrap();
        let expected: String = (0..2 * ROWS).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        assert_eq!(place.written(), expected, "{mode}");
    }
}

#[test]
fn dead_letters_are_in_the_same_commit_as_the_rest() {
    let _alone = alone();
    let query = "INSERT INTO out SELECT 1000 / (n % 50) AS q FROM src";
    for mode in MODES {
        for call in [5, 30, 70] {
            let place = Place::new();
            let letters = place.path("bad.jsonl");
            let source = place.source();
            let sink = place.sink().scripted(Script::of([(call, Fault::Fatal)]));
            for attempt in 0..2 {
                let engine = place.engine(mode, &source, &sink);
                engine.set("on_error", "dlq").unwrap();
                engine.set("dlq", letters.to_str().unwrap()).unwrap();
                let ended = within(60, mode, move || engine.sql(query).unwrap().start().unwrap().wait());
                assert_eq!(ended.is_ok(), attempt == 1, "{mode} {call} {ended:?}");
            }
            let letters = std::fs::read_to_string(letters).unwrap();
            assert_eq!(letters.lines().count(), 20, "{mode} {call}: each exactly once");
            assert_eq!(place.written().lines().count(), 980, "{mode} {call}");
        }
    }
}
