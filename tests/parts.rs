//! Part files whose path depends on the rows, and files that grow over commits: simple and transactional jobs, over restarts.

#![cfg(feature = "gzip")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use millstream::io::faulty::{Fault, Script};
use millstream::observe::JobStats;
use millstream::{Engine, Error, Step, Stop};
use support::{MODES, TestSource, alone, expect_no_threads, file_source, quick_dir, within};

/// Keys that want to lead elsewhere, or to be confused.
const KEYS: [&str; 12] = [
    "\"de\"",
    "\"DE\"",
    "\"\"",
    "null",
    "\"..\"",
    "\"/etc/x\"",
    "\"a/b\"",
    "\"a\\u0000b\"",
    "\".stage\"",
    "\"ü\"",
    "\"%\"",
    "\"long\"",
];
const ROWS: usize = 400;

struct Place {
    dir: tempfile::TempDir,
}

/// The rows: a number, and a key that may be anything.
fn input() -> String {
    let long = format!("\"{}\"", "long ".repeat(1000));
    let key = |n: usize| match KEYS[n * 7 % KEYS.len()] {
        "\"long\"" => long.clone(),
        key => key.to_owned(),
    };
    (0..ROWS).map(|n| format!("{{\"n\":{n},\"key\":{}}}\n", key(n))).collect()
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: quick_dir() };
        std::fs::write(place.path("in.jsonl"), input()).unwrap();
        place
    }
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn source(&self) -> TestSource {
        TestSource::new(file_source(&self.path("in.jsonl")))
    }
    fn engine(&self, mode: &str, source: &TestSource, path: &str, options: &str) -> Engine {
        let engine = Engine::new();
        engine.register_source("src", source.clone()).unwrap();
        let state = self.path("state");
        let settings = [
            ("state", state.to_str().unwrap()),
            ("job_name", "job"),
            ("execution", mode),
            ("threads", "3"),
            ("batch_rows", "10"),
            ("channel_batches", "4"),
            ("commit_interval", "50 rows"),
        ];
        settings.iter().for_each(|(n, v)| engine.set(n, v).unwrap());
        let path = self.path("out").join(path);
        let create = format!(
            "CREATE STREAM out WITH (connector = 'file', path = '{}', format = 'json'{}{options})",
            path.display(),
            if options.contains("layout") { "" } else { ", layout = 'parts'" }
        );
        engine.sql(&create).unwrap();
        engine
    }
    /// Every file below the output directory, by its path there.
    fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        collect(&self.path("out"), &self.path("out"), &mut files);
        files
    }
    /// The numbers of all rows that readers see, sorted.
    fn seen(&self) -> Vec<usize> {
        let visible = |path: &&String| !path.contains(".stage/");
        let files = self.files();
        let mut seen: Vec<usize> =
            files.keys().filter(visible).flat_map(|p| rows(&files[p])).map(|(n, _)| n).collect();
        seen.sort_unstable();
        seen
    }
    fn staged(&self) -> usize {
        self.files().keys().filter(|p| p.contains(".stage/")).count()
    }
}

fn collect(root: &Path, dir: &Path, files: &mut BTreeMap<String, String>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for path in entries.map(|e| e.unwrap().path()) {
        if path.is_dir() {
            collect(root, &path, files);
            continue;
        }
        let mut text = String::new();
        let file = std::fs::File::open(&path).unwrap();
        match path.extension().and_then(|e| e.to_str()) {
            // What is staged may be torn.
            Some("tmp") => 0,
            Some("gz") => flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap(),
            #[cfg(feature = "zstd")]
            Some("zst") => zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap(),
            _ => std::io::BufReader::new(file).read_to_string(&mut text).unwrap(),
        };
        files.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), text);
    }
}

/// Number and key of each line; torn ones can't be read.
fn rows(text: &str) -> Vec<(usize, serde_json::Value)> {
    assert!(text.is_empty() || text.ends_with('\n'), "a torn file: {text:?}");
    text.lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            (row["n"].as_u64().unwrap() as usize, row["key"].clone())
        })
        .collect()
}

fn run(engine: Engine) -> Result<JobStats, Error> {
    within(60, "the job", move || engine.sql("INSERT INTO out SELECT n, key FROM src")?.start()?.wait())
}

fn all() -> Vec<usize> {
    (0..ROWS).collect()
}

#[test]
fn each_value_has_a_directory_of_its_own_and_none_leads_elsewhere() {
    let _alone = alone();
    for mode in MODES {
        for kind in ["simple", "transactional"] {
            // Fewer open files than values, and more.
            for open in [1, 5, 100] {
                if open == 1 && mode != "inline" {
                    // Slow: each row ends a file.
                    continue;
                }
                let place = Place::new();
                let options = format!(", max_open_files = '{open}'");
                let engine = place.engine(mode, &place.source(), "k={key}", &options);
                engine.set("mode", kind).unwrap();
                run(engine).unwrap();
                let what = format!("{mode} {kind} {open}");
                assert_eq!((place.seen(), place.staged()), (all(), 0), "{what}");
                let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
                for (path, text) in place.files() {
                    let (dir, _) = path.split_once('/').unwrap();
                    assert_eq!(path.matches('/').count(), 1, "{what}: {path}");
                    keys.entry(dir.to_owned())
                        .or_default()
                        .extend(rows(&text).iter().map(|r| r.1.to_string()));
                }
                assert_eq!(keys.len(), KEYS.len(), "{what}: {keys:?}");
                assert!(keys.values().all(|k| k.len() == 1), "{what}: {keys:?}");
                let name = |dir: &str| keys[dir].first().unwrap().as_str();
                assert_eq!(
                    (name("k=de"), name("k=__HIVE_DEFAULT_PARTITION__"), name("k=%2E.")),
                    ("\"de\"", "null", "\"..\"")
                );
                let outside: Vec<_> =
                    std::fs::read_dir(place.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
                assert_eq!(outside.len(), 3, "{outside:?}");
            }
        }
    }
}

#[test]
fn a_failure_anywhere_is_made_good_by_the_next_run() {
    let _alone = alone();
    let panics = |n| Script { panic_at_record: Some(n), ..Script::default() };
    // The simulator has transactional jobs on one thread.
    for (mode, kinds) in [("inline", &["simple"][..]), ("threads", &["simple", "transactional"])] {
        for &kind in kinds {
            for (options, path) in [
                ("", ""),
                ("", "{key}/x"),
                (", rotate_size = '2 KB', compression = 'gzip', max_open_files = 6", ""),
                (", rotate_size = '2 KB', compression = 'gzip', max_open_files = 6", "{key}/x"),
                #[cfg(feature = "zstd")]
                (", rotate_size = '2 KB', compression = 'zstd', max_open_files = 6", ""),
                #[cfg(feature = "zstd")]
                (", rotate_size = '2 KB', compression = 'zstd', max_open_files = 6", "{key}/x"),
            ] {
                let what = format!("{mode} {kind} {options} {path}");
                let place = Place::new();
                let source = place.source();
                for script in [panics(137), Script::of([(21, Fault::Fatal)]), panics(155), Script::default()]
                {
                    let engine = place.engine(mode, &source.clone().scripted(script.clone()), path, options);
                    engine.set("mode", kind).unwrap();
                    let ended = run(engine);
                    expect_no_threads(&what);
                    if kind == "transactional" {
                        let seen = place.seen();
                        let once: BTreeSet<_> = seen.iter().collect();
                        assert_eq!(once.len(), seen.len(), "{what}: rows are there twice");
                    }
                    if ended.is_ok() {
                        break;
                    }
                }
                // Cut back, so that there are no duplicates in simple mode either.
                assert_eq!((place.seen(), place.staged()), (all(), 0), "{what}");
            }
        }
    }
}

#[test]
fn a_file_grows_over_commits_and_restarts_until_it_has_its_size() {
    let _alone = alone();
    for kind in ["simple", "transactional"] {
        let place = Place::new();
        let source = place.source().limited(130);
        let options = ", rotate_size = '30 KB'";
        let engine = place.engine("inline", &source, "", options);
        engine.set("mode", kind).unwrap();
        let job = engine.sql("INSERT INTO out SELECT n, key FROM src").unwrap().start().unwrap();
        support::until("it is read", || job.stats().records_in >= 130);
        job.stop(Stop::Checkpoint);
        within(60, "stop", move || job.wait()).unwrap();
        let files = place.files();
        assert_eq!(files.len(), 2, "{kind}: {:?}", files.keys());
        // What is behind the length in the position is cut off.
        let grows = files.keys().find(|p| p.contains(".stage/")).or(files.keys().next_back());
        let path = grows.unwrap().clone();
        let mut bytes = std::fs::read(place.path("out").join(&path)).unwrap();
        bytes.extend_from_slice(b"{\"n\":");
        std::fs::write(place.path("out").join(&path), bytes).unwrap();
        source.limit.store(u64::MAX, Ordering::SeqCst);
        let engine = place.engine("inline", &source, "", options);
        engine.set("mode", kind).unwrap();
        run(engine).unwrap();
        assert_eq!((place.seen(), place.staged()), (all(), 0), "{kind}");
        let files = place.files();
        let sizes: Vec<usize> = files.values().map(String::len).collect();
        let (last, full) = sizes.split_last().unwrap();
        assert!(
            full.len() >= 3 && full.iter().all(|len| (30_000..60_000).contains(len)) && *last < 60_000,
            "{sizes:?}"
        );
    }
}

#[test]
fn what_was_to_grow_on_and_is_another_file_is_refused() {
    let _alone = alone();
    for (what, says) in [
        ("gone", "is gone, which was to grow on"),
        ("changed", "is not what was committed"),
        ("short", "is not what"),
    ] {
        let place = Place::new();
        let source = place.source().limited(130);
        let engine = || {
            let engine = place.engine("inline", &source, "", ", rotate_size = '30 KB'");
            engine.set("mode", "transactional").unwrap();
            engine
        };
        let job = engine().sql("INSERT INTO out SELECT n, key FROM src").unwrap().start().unwrap();
        support::until("it is read", || job.stats().records_in >= 130);
        job.stop(Stop::Checkpoint);
        within(60, "stop", move || job.wait()).unwrap();
        let staged = place.files().into_keys().find(|p| p.contains(".stage/")).unwrap();
        let staged = place.path("out").join(staged);
        let mut bytes = std::fs::read(&staged).unwrap();
        bytes[10] ^= 1;
        match what {
            "gone" => std::fs::remove_file(&staged).unwrap(),
            "changed" => std::fs::write(&staged, bytes).unwrap(),
            _ => std::fs::write(&staged, &bytes[..100]).unwrap(),
        }
        source.limit.store(u64::MAX, Ordering::SeqCst);
        let error = run(engine()).unwrap_err().to_string();
        assert!(error.contains(says), "{what}: {error}");
    }
}

/// Steps until the job has nothing to do.
fn settle(job: &mut millstream::Job, now: i64) {
    for _ in 0..20 {
        assert_ne!(job.step(now).unwrap(), Step::Done);
    }
}

#[test]
fn a_file_is_shown_when_its_time_has_come_although_nothing_comes_in() {
    let _alone = alone();
    let place = Place::new();
    let source = place.source().limited(37);
    let second = 1_000_000;
    let mut now = 1_772_337_906_000_000;
    let engine = || {
        let engine = place.engine("inline", &source, "%Y/%m-%d", ", rotate_interval = '1m'");
        engine.set("mode", "transactional").unwrap();
        engine.set("commit_interval", "1s").unwrap();
        engine
    };
    let query = "INSERT INTO out SELECT n, key FROM src";
    let mut job = engine().sql(query).unwrap().stepping(now).unwrap();
    for _ in 0..30 {
        now += second;
        settle(&mut job, now);
    }
    assert_eq!((place.seen(), place.staged()), (vec![], 1));
    for _ in 0..62 {
        now += second;
        settle(&mut job, now);
    }
    assert_eq!((place.seen(), place.staged()), ((0..37).collect(), 0));
    // The path is of the time when rows without event time are written.
    assert!(
        place.files().keys().all(|p| p.starts_with("2026/03-01/part-job-")),
        "{:?}",
        place.files().keys()
    );
    // After a restart too.
    source.limit.store(50, Ordering::SeqCst);
    for _ in 0..5 {
        now += second;
        settle(&mut job, now);
    }
    assert_eq!((place.seen().len(), place.staged()), (37, 1));
    drop(job);
    source.limit.store(0, Ordering::SeqCst);
    now += 3600 * second;
    let mut job = engine().sql(query).unwrap().stepping(now).unwrap();
    for _ in 0..62 {
        now += second;
        settle(&mut job, now);
    }
    assert_eq!((place.seen(), place.staged()), ((0..50).collect(), 0));
}

#[test]
fn the_path_is_of_the_event_time() {
    let _alone = alone();
    let dir = quick_dir();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let times = [
        "2026-01-01T00:59:59Z",
        "2026-01-01T01:00:00Z",
        "2025-12-31T23:59:59.999999Z",
        "2026-01-01T01:00:01Z",
    ];
    let text: String = times.iter().map(|t| format!("{{\"ts\":\"{t}\"}}\n")).collect();
    std::fs::write(dir.path().join("in.jsonl"), text).unwrap();
    let sql = format!(
        "CREATE STREAM i (ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1' HOUR) WITH (connector = 'file', path = '{}');
         CREATE STREAM o WITH (connector = 'file', path = '{}/%F/%H', format = 'csv');
         INSERT INTO o SELECT ts FROM i",
        path("in.jsonl"),
        path("out")
    );
    within(60, "the job", move || Engine::new().sql(&sql).unwrap().start().unwrap().wait().unwrap());
    let mut files = BTreeMap::new();
    collect(&dir.path().join("out"), &dir.path().join("out"), &mut files);
    let counts: Vec<_> =
        files.iter().map(|(p, t)| (p.rsplit_once('/').unwrap().0, t.lines().count())).collect();
    // With a header each.
    assert_eq!(counts, [("2025-12-31/23", 2), ("2026-01-01/00", 2), ("2026-01-01/01", 3)]);
}

#[test]
fn a_first_start_replaces_or_keeps_what_earlier_runs_wrote() {
    let _alone = alone();
    let place = Place::new();
    let parts = |options: &str| {
        let engine = place.engine("inline", &place.source(), "{key}", options);
        engine.set("state", "").unwrap();
        run(engine).unwrap();
        place.seen().len()
    };
    assert_eq!(parts(""), ROWS);
    std::fs::write(place.path("out/readme"), "{\"n\":7,\"key\":null}\n").unwrap();
    assert_eq!(parts(""), ROWS + 1, "what is not this job's stays");
    assert_eq!(parts(", mode = 'append'"), 2 * ROWS + 1);
    assert_eq!(parts(", mode = 'append'"), 3 * ROWS + 1);
    assert_eq!(parts(""), ROWS + 1);
}

#[test]
fn what_makes_no_sense_is_refused_when_it_is_checked() {
    let _alone = alone();
    let place = Place::new();
    let refused = |path: &str, options: &str, settings: &[(&str, &str)]| {
        let engine = place.engine("inline", &place.source(), path, options);
        settings.iter().for_each(|(n, v)| engine.set(n, v).unwrap());
        let checked = engine.sql("INSERT INTO out SELECT n, key FROM src").and_then(|p| p.check());
        assert!(!place.path("out").exists());
        checked.unwrap_err().to_string()
    };
    let says = |error: String, what: &str| assert!(error.contains(what), "{error}");
    says(refused("{kei}", "", &[]), "did you mean key?");
    says(refused("{key", "", &[]), "{column} names a column");
    says(refused("%Q", "", &[]), "'%Q' is no field of a time");
    says(refused("{key}", ", layout = 'single'", &[]), "leave layout out");
    says(refused("", ", layout = 'single', rotate_size = '1MB'", &[]), "leave layout out");
    says(refused("", ", rotate_size = '1MB'", &[("state", "")]), "--state DIR");
    // A file where a directory must be.
    std::fs::create_dir(place.path("out")).unwrap();
    std::fs::write(place.path("out/de"), "").unwrap();
    let error = run(place.engine("inline", &place.source(), "{key}", "")).unwrap_err().to_string();
    says(error, &format!("can't create the directory '{}'", place.path("out/de").display()));
}
