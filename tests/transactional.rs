//! Transactional jobs, file to parts: each row is there once, parts appear whole or not at all, and what can't keep that promise is
//! refused.

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use millstream::connector::memory::MemorySink;
use millstream::io::faulty::{Fault, Script};
use millstream::observe::JobStats;
use millstream::{Engine, Error, Stop};
use support::place::{Place, QUERY, ROWS, expected, run};
use support::{MODES, TestSource, alone, expect_no_threads, file_source, until, within};

impl Place {
    fn engine(&self, mode: &str, source: &TestSource, options: &str) -> Engine {
        let settings = [("mode", "transactional"), ("job_name", "job"), ("commit_interval", "100 rows")];
        let engine = self.engine_of(mode, source, &settings);
        let out = self.path("out");
        engine
            .sql(&format!(
                "CREATE STREAM out WITH (connector = 'file', path = '{}', format = 'json'{options})",
                out.display()
            ))
            .unwrap();
        engine
    }
    fn run(&self, mode: &str, source: &TestSource) -> Result<JobStats, Error> {
        run(self.engine(mode, source, ""), QUERY)
    }
    fn parts(&self) -> Vec<PathBuf> {
        files(&self.path("out"), "part-")
    }
    fn staged(&self) -> Vec<PathBuf> {
        files(&self.path("out").join(".stage"), "")
    }
    fn output(&self) -> String {
        self.parts().iter().map(|p| std::fs::read_to_string(p).unwrap()).collect()
    }
    fn state(&self, name: &str) -> PathBuf {
        self.path("state").join("job").join(name)
    }
    /// A job that was stopped half way and has committed several epochs, each with rows.
    fn half(&self, mode: &str) -> TestSource {
        self.half_and(mode, Stop::Checkpoint)
    }
    fn half_and(&self, mode: &str, how: Stop) -> TestSource {
        let source = self.source().limited(0);
        let job = self.engine(mode, &source, "").sql(QUERY).unwrap().start().unwrap();
        for step in 1..=5 {
            source.limit.store(step * 100, Ordering::SeqCst);
            until("the step is committed", || job.stats().commits >= step);
        }
        until("half is shown", || self.output() == expected(500));
        job.stop(how);
        assert_eq!(within(60, mode, move || job.wait()).is_ok(), how == Stop::Checkpoint);
        expect_no_threads(mode);
        source.limit.store(u64::MAX, Ordering::SeqCst);
        source
    }
    /// Takes back what came after the commit of the last epoch: its files are staged, and nothing says that they have their names.
    fn unpublish(&self) -> PathBuf {
        let part = self.parts().pop().unwrap();
        let staged =
            self.path("out/.stage").join(format!("{}.tmp", part.file_name().unwrap().to_str().unwrap()));
        std::fs::rename(&part, &staged).unwrap();
        let manifest = self.state("MANIFEST");
        let bytes = std::fs::read(&manifest).unwrap();
        // The last record: mark, length, checksum, kind and epoch.
        std::fs::write(&manifest, &bytes[..bytes.len() - (12 + 9)]).unwrap();
        staged
    }
}

fn files(dir: &Path, start: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_file() && p.file_name().unwrap().to_str().unwrap().starts_with(start))
        .collect();
    files.sort();
    files
}

#[test]
fn parts_appear_with_their_commits_and_together_are_the_output() {
    let _alone = alone();
    for mode in MODES {
        let place = Place::new();
        let source = place.half(mode);
        assert_eq!(place.output(), expected(500), "{mode}");
        assert!(place.parts().len() >= 4, "{mode}: {:?}", place.parts());
        assert!(place.staged().is_empty());
        place.run(mode, &source).unwrap();
        assert_eq!(place.output(), expected(ROWS), "{mode}");
        let before = place.parts();
        assert_eq!(place.run(mode, &source).unwrap().state, "finished before");
        assert_eq!((place.parts(), place.staged()), (before, vec![]), "{mode}");
    }
}

#[test]
fn a_failure_anywhere_leaves_whole_parts_and_the_next_run_completes_them() {
    let _alone = alone();
    let panics = |n| Script { panic_at_record: Some(n), ..Script::default() };
    for mode in MODES {
        for script in
            [Script::of([(3, Fault::Fatal)]), Script::of([(61, Fault::Fatal)]), panics(437), panics(999)]
        {
            let place = Place::new();
            let source = place.source().scripted(script);
            assert!(place.run(mode, &source).is_err(), "{mode}");
            expect_no_threads(mode);
            let (shown, whole) = (place.output(), expected(ROWS));
            assert!(whole.starts_with(&shown) && (shown.is_empty() || shown.ends_with('\n')), "{mode}");
            place.run(mode, &source).unwrap();
            assert_eq!((place.output(), place.staged()), (whole, vec![]), "{mode}");
        }
    }
}

#[test]
fn a_commit_that_was_not_shown_is_shown_by_the_next_start() {
    let _alone = alone();
    for finished in [false, true] {
        let place = Place::new();
        let source = place.half_and("inline", Stop::Abort);
        if finished {
            let engine = place.engine("inline", &source, "");
            engine.set("commit_interval", "1h").unwrap();
            run(engine, QUERY).unwrap();
        }
        let rows = if finished { ROWS } else { 500 };
        place.unpublish();
        assert_ne!(place.output(), expected(rows));
        // A stray file of a crash, and one of another job.
        std::fs::write(place.path("out/.stage/part-job-99999999-0.jsonl.tmp"), "torn").unwrap();
        std::fs::write(place.path("out/.stage/part-other-00000001-0.jsonl.tmp"), "whole").unwrap();
        source.limit.store(0, Ordering::SeqCst);
        let job = place.engine("inline", &source, "").sql(QUERY).unwrap().start().unwrap();
        until("it is shown", || place.output() == expected(rows));
        job.stop(Stop::Checkpoint);
        within(60, "stop", move || job.wait()).unwrap();
        assert_eq!(place.staged(), [place.path("out/.stage/part-other-00000001-0.jsonl.tmp")]);
        source.limit.store(u64::MAX, Ordering::SeqCst);
        place.run("inline", &source).unwrap();
        assert_eq!(place.output(), expected(ROWS));
    }
}

#[test]
fn a_part_that_was_moved_away_is_missed_only_if_nothing_says_that_it_was_shown() {
    let _alone = alone();
    let place = Place::new();
    let source = place.half("inline");
    let taken = place.parts();
    let shown = place.output();
    taken.iter().for_each(|p| std::fs::remove_file(p).unwrap());
    place.run("inline", &source).unwrap();
    assert_eq!(shown + &place.output(), expected(ROWS));
    let place = Place::new();
    let source = place.half_and("inline", Stop::Abort);
    std::fs::remove_file(place.unpublish()).unwrap();
    let error = place.run("inline", &source).unwrap_err().to_string();
    assert!(error.contains("is gone, and it is not staged either"), "{error}");
}

#[test]
fn what_is_not_what_was_committed_is_refused() {
    let _alone = alone();
    let changed = |what: &str, change: &dyn Fn(&Place)| -> String {
        let place = Place::new();
        let source = place.half_and("inline", Stop::Abort);
        change(&place);
        let before = place.parts();
        let error = place.run("inline", &source).expect_err(what).to_string();
        assert_eq!(place.parts(), before, "{what}");
        expect_no_threads(what);
        error
    };
    let flip = |path: PathBuf| {
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    let error = changed("a staged file", &|p| flip(p.unpublish()));
    assert!(error.contains("is not what was committed"), "{error}");
    let error =
        changed("the newest checkpoint", &|p| flip(files(&p.path("state/job"), "epoch-").pop().unwrap()));
    assert!(error.contains("can't go on from an earlier commit"), "{error}");
    let error = changed("the MANIFEST", &|p| flip(p.state("MANIFEST")));
    assert!(error.contains("damaged at byte"), "{error}");
    let error = changed("an older state", &|p| {
        std::fs::write(p.path("out/part-job-00000099-0.jsonl"), "{}\n").unwrap();
    });
    assert!(error.contains("was written after the last commit"), "{error}");
    let error = changed("no MANIFEST", &|p| std::fs::remove_file(p.state("MANIFEST")).unwrap());
    assert!(error.contains("was written by a simple job"), "{error}");
}

#[test]
fn a_manifest_cut_anywhere_is_repaired_or_refused_and_nothing_is_there_twice() {
    let _alone = alone();
    let place = Place::new();
    place.half_and("inline", Stop::Abort);
    let bytes = std::fs::read(place.state("MANIFEST")).unwrap();
    let (mut repaired, mut refused) = (0, 0);
    // The last record, the end of the one before, and some others; `state::manifest` cuts at every byte.
    for cut in (0..bytes.len()).filter(|c| bytes.len() - c < 30 || c % 61 == 0) {
        let copy = Place::new();
        copy_all(&place.path("out"), &copy.path("out"));
        copy_all(&place.path("state"), &copy.path("state"));
        std::fs::write(copy.state("MANIFEST"), &bytes[..cut]).unwrap();
        // The position knows the file by its path.
        let source = TestSource::new(file_source(&place.path("in.jsonl")));
        match copy.run("inline", &source) {
            Ok(_) => {
                repaired += 1;
                assert_eq!(copy.output(), expected(ROWS), "cut at {cut}");
            }
            Err(_) => {
                refused += 1;
                assert_eq!(copy.output(), expected(500), "cut at {cut}");
            }
        }
    }
    assert!(repaired > 0 && refused > 0, "{repaired} {refused}");
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_all(&path, &target),
            false => drop(std::fs::copy(&path, target).unwrap()),
        }
    }
}

#[test]
fn sinks_and_jobs_that_cannot_keep_the_promise_are_refused() {
    let _alone = alone();
    let place = Place::new();
    let refused =
        |engine: Engine, query: &str| engine.sql(query).and_then(|p| p.check()).unwrap_err().to_string();
    let engine = place.engine("inline", &place.source(), "");
    engine.register_sink("mem", MemorySink::new().0).unwrap();
    let error = refused(engine, "INSERT INTO mem SELECT n FROM src");
    assert!(error.contains("can neither hold its output back"), "{error}");
    let engine = place.engine("inline", &place.source(), "");
    engine.set("state", "").unwrap();
    let error = refused(engine, QUERY);
    assert!(error.contains("needs a state directory"), "{error}");
    let error = refused(place.engine("inline", &place.source(), ""), "SELECT n FROM src");
    assert!(error.contains("can neither hold its output back"), "{error}");
    // A job of the other kind does not go on from this one's state.
    place.run("inline", &place.source()).unwrap();
    let engine = place.engine("inline", &place.source(), "");
    engine.set("mode", "simple").unwrap();
    let error = run(engine, QUERY).unwrap_err().to_string();
    assert!(error.contains("was written by a transactional job"), "{error}");
    // Where a file is, no directory can be.
    let place = Place::new();
    std::fs::write(place.path("out"), "").unwrap();
    let error = place.run("inline", &place.source()).unwrap_err().to_string();
    assert!(error.contains("layout = 'single'"), "{error}");
}

#[test]
fn a_first_start_replaces_old_parts_or_refuses_to_mix_them() {
    let _alone = alone();
    let place = Place::new();
    place.run("inline", &place.source()).unwrap();
    let before = place.parts();
    std::fs::write(place.path("out/readme"), "not ours").unwrap();
    std::fs::remove_dir_all(place.path("state")).unwrap();
    let error =
        run(place.engine("inline", &place.source(), ", mode = 'append'"), QUERY).unwrap_err().to_string();
    assert!(error.contains("whose state is gone"), "{error}");
    assert_eq!(place.parts(), before);
    std::fs::remove_dir_all(place.path("state")).unwrap();
    std::fs::write(place.path("out/part-job-00000777-0.jsonl"), "old").unwrap();
    place.run("threads", &place.source()).unwrap();
    assert_eq!(place.output(), expected(ROWS));
    assert!(place.path("out/readme").exists());
}

#[test]
fn one_file_and_dead_letters_are_cut_back_with_the_rest() {
    let _alone = alone();
    for mode in MODES {
        let place = Place::new();
        let letters = place.path("bad.jsonl");
        let source = place.source().scripted(Script { panic_at_record: Some(737), ..Script::default() });
        for attempt in 0..2 {
            let engine = place.engine(mode, &source, ", layout = 'single'");
            engine.set("on_error", "dlq").unwrap();
            engine.set("dlq", letters.to_str().unwrap()).unwrap();
            let ended = run(engine, "INSERT INTO out SELECT n, 1000 / (n % 50) AS q FROM src");
            assert_eq!(ended.is_ok(), attempt == 1, "{mode} {ended:?}");
        }
        assert_eq!(std::fs::read_to_string(&letters).unwrap().lines().count(), 20, "{mode}");
        assert_eq!(std::fs::read_to_string(place.path("out")).unwrap().lines().count(), 980, "{mode}");
    }
}

#[test]
fn compressed_parts_are_whole_files() {
    let _alone = alone();
    let place = Place::new();
    run(place.engine("threads", &place.source(), ", compression = 'gzip'"), QUERY).unwrap();
    let parts = place.parts();
    assert!(parts.len() > 1 && parts.iter().all(|p| p.to_str().unwrap().ends_with(".jsonl.gz")), "{parts:?}");
    let engine = Engine::new();
    let query = format!(
        "SELECT count(*) AS c, sum(twice) AS s FROM '{}/part-*.jsonl.gz'",
        place.path("out").display()
    );
    let mut job = engine.query(&query, None).unwrap().start().unwrap();
    let rows: Vec<String> = job.rows().map(|r| serde_json::to_string(&*r).unwrap()).collect();
    job.wait().unwrap();
    let wanted: Vec<i64> = (0..ROWS).filter(|n| n % 3 != 0).map(|n| n * 2).collect();
    assert_eq!(rows, [format!("{{\"c\":{},\"s\":{}}}", wanted.len(), wanted.iter().sum::<i64>())]);
}
