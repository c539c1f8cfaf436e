//! Jobs with state that share a group, over the simulated cluster: the state of a partition moves with it, whoever comes, goes, is
//! killed or taken for dead, and wherever their directories are.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use millstream::connector::kafka::client::KafkaErrorKind;
use millstream::connector::kafka::sim::{Op, SPEC, SimKafka, SimMessage};
use millstream::{Engine, Job, Stop};
use support::{MODES, until, within};

/// No further options.
const NONE: (&str, &str) = ("", "");
const PARTITIONS: i32 = 6;
const KEYS: i64 = 50;

const COUNTS: &str = "INSERT INTO b SELECT k, count(*) AS n, sum(n) AS s, min(n) AS low FROM (SELECT n, k FROM a WHERE n >= 0) GROUP BY k";
const WINDOWS: &str = "INSERT INTO b SELECT k, window_start AS w, count(*) AS n, sum(n) AS s FROM \
     TUMBLE(TABLE a, DESCRIPTOR(t), INTERVAL '1' SECOND) GROUP BY k, window_start, window_end";
const SESSIONS: &str = "INSERT INTO b SELECT k, window_start AS w, count(*) AS n, sum(n) AS s FROM \
     SESSION(TABLE a PARTITION BY k, DESCRIPTOR(t), INTERVAL '200' MILLISECONDS) GROUP BY k, window_start, window_end";
const HOPS: &str = "INSERT INTO b SELECT k, window_start AS w, count(*) AS n, sum(n) AS s FROM \
     HOP(TABLE a, DESCRIPTOR(t), INTERVAL '250' MILLISECONDS, INTERVAL '1' SECOND) GROUP BY k, window_start, window_end";
const FIRSTS: &str = "INSERT INTO b SELECT k, n AS w, r AS n, n AS s FROM (SELECT k, n, ROW_NUMBER() OVER (PARTITION BY k ORDER BY t) AS r FROM a) WHERE r <= 5";
const RUNNING: &str = "INSERT INTO b SELECT k, n AS w, count(*) OVER (PARTITION BY k ORDER BY t) AS n, sum(n) OVER (PARTITION BY k ORDER BY t) AS s FROM a";

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A cluster of its own with topics `in` and `out`.
fn cluster() -> (SimKafka, String) {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let address = format!("moves:{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let sim = SimKafka::new();
    sim.serve(&address);
    ["in", "out"].iter().for_each(|topic| sim.create(topic, PARTITIONS as usize));
    (sim, address)
}

/// Rows with numbers in that range, some of them out of order, a few of them very late.
fn fill(sim: &SimKafka, range: std::ops::Range<i64>) {
    for n in range {
        let k = n * 7 % KEYS;
        let behind = if n % 97 == 5 { 20_000 } else { n * 13 % 40 };
        let (t, partition) = (n * 10 - behind + 1_000_000, (k % i64::from(PARTITIONS)) as i32);
        let value = format!("{{\"k\":\"k{k}\",\"n\":{n},\"t\":{t}}}");
        sim.append("in", partition, SimMessage::of(&value));
        if n % 211 == 0 {
            sim.append("in", partition, SimMessage::of("no JSON"));
        }
    }
}

struct Setup<'a> {
    address: &'a str,
    query: &'a str,
    execution: &'a str,
    assignor: &'a str,
    /// Further options of the source and of the sink.
    more: (&'a str, &'a str),
}

impl Setup<'_> {
    fn engine(&self, state: &Path, instance: &str) -> Engine {
        let engine = Engine::new();
        engine.register_connector(SPEC);
        let state = state.display().to_string();
        for (name, value) in [
            ("execution", self.execution),
            ("state", &state),
            ("mode", "transactional"),
            ("instance", instance),
            ("job_name", "job"),
            ("commit_interval", "20ms"),
            ("batch_rows", "10"),
            ("max_restarts", "100"),
            ("on_error", "skip"),
        ] {
            engine.set(name, value).unwrap();
        }
        engine
    }

    fn text(&self) -> String {
        let Self { address, query, assignor, more: (of_source, of_sink), .. } = self;
        let upsert = if *query == COUNTS { ", changelog = 'upsert', key_columns = 'k'" } else { "" };
        format!(
            "CREATE STREAM a (k VARCHAR, n BIGINT, t TIMESTAMP, WATERMARK FOR t AS t - INTERVAL '100' MILLISECONDS) \
             WITH (connector = 'kafka', bootstrap_servers = '{address}', topic = 'in', format = 'json', timestamp_format = 'epoch_ms', \
             group_id = 'g', partition_by = 'k', assignor = '{assignor}'{of_source}); \
             CREATE STREAM b WITH (connector = 'kafka', bootstrap_servers = '{address}', topic = 'out', format = 'json'{upsert}{of_sink}); {query}"
        )
    }

    fn start(&self, state: &Path, instance: &str) -> Job {
        self.engine(state, instance).sql(&self.text()).unwrap().start().unwrap()
    }
}

/// The rows that readers of committed transactions see, in order within a partition.
fn rows(sim: &SimKafka) -> Vec<String> {
    let text = |m: SimMessage| String::from_utf8(m.value.unwrap()).unwrap();
    (0..PARTITIONS).flat_map(|p| sim.messages("out", p)).map(text).collect()
}

fn settled(sim: &SimKafka, members: usize) {
    until(&format!("{members} members"), || sim.members("g") == (members, true));
}

fn is_all_committed(sim: &SimKafka) -> bool {
    (0..PARTITIONS).all(|p| sim.committed("g", "in", p) == Some(sim.messages("in", p).len() as i64))
}

/// Waits until the group has committed all that is in the source.
fn all_committed(sim: &SimKafka) {
    until("all is committed", || is_all_committed(sim));
}

/// What one instance gives that nobody disturbs.
fn undisturbed(query: &str, rows_of_it: i64) -> Vec<String> {
    let (sim, address) = cluster();
    let dir = tempfile::tempdir().unwrap();
    fill(&sim, 0..rows_of_it);
    let job = Setup { address: &address, query, execution: "inline", assignor: "range", more: NONE }
        .start(dir.path(), "only");
    all_committed(&sim);
    job.stop(Stop::Checkpoint);
    job.wait().unwrap();
    sorted(rows(&sim))
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

/// Counts never go back, and end where all rows are counted.
fn check_counts(rows: &[String], filled: i64, what: &str) {
    let mut last: BTreeMap<String, (i64, i64, i64)> = BTreeMap::new();
    for row in rows {
        let value: serde_json::Value = serde_json::from_str(row).unwrap();
        let number = |name: &str| value[name].as_i64().unwrap();
        let now = (number("n"), number("s"), number("low"));
        let before = last.insert(value["k"].as_str().unwrap().to_owned(), now);
        assert!(before.is_none_or(|b| b.0 < now.0), "{what}: {before:?} before {row}");
    }
    let mut wanted: BTreeMap<String, (i64, i64, i64)> = BTreeMap::new();
    for n in 0..filled {
        let sums = wanted.entry(format!("k{}", n * 7 % KEYS)).or_insert((0, 0, n));
        *sums = (sums.0 + 1, sums.1 + n, sums.2);
    }
    assert_eq!(last, wanted, "{what}");
}

#[test]
fn state_moves_with_its_partitions_when_instances_come_and_go() {
    for execution in MODES {
        for assignor in ["cooperative-sticky", "range"] {
            within(120, "a group", move || {
                let (sim, address) = cluster();
                let dir = tempfile::tempdir().unwrap();
                let setup = Setup { address: &address, query: COUNTS, execution, assignor, more: NONE };
                let begin = |name: &str| setup.start(dir.path(), name);
                fill(&sim, 0..1200);
                let one = begin("one");
                until("the first rows", || sim.committed("g", "in", 0).is_some());
                // With a full pipeline.
                let two = begin("two");
                fill(&sim, 1200..2400);
                let three = begin("three");
                settled(&sim, 3);
                fill(&sim, 2400..3600);
                one.stop(Stop::Checkpoint);
                one.wait().unwrap();
                settled(&sim, 2);
                fill(&sim, 3600..4000);
                // Killed: it says nothing to anybody.
                two.stop(Stop::Abort);
                let _ = two.wait();
                sim.expire_transaction_of("job.two");
                settled(&sim, 1);
                let four = begin("four");
                fill(&sim, 4000..4400);
                all_committed(&sim);
                for job in [three, four] {
                    job.stop(Stop::Checkpoint);
                    job.wait().unwrap();
                }
                check_counts(&rows(&sim), 4400, &format!("{execution} {assignor}"));
            });
        }
    }
}

/// Instances that come, stop, are killed and are taken for dead, with directories that stay or are gone, and commits that fail.
fn disturb(query: &'static str, seed: u64, filled: i64) -> Vec<String> {
    let mut random = Random(seed);
    let (sim, address) = cluster();
    let dir = tempfile::tempdir().unwrap();
    let execution = random.one_of(&MODES);
    let assignor = random.one_of(&["cooperative-sticky", "range"]);
    let setup = Setup { address: &address, query, execution, assignor, more: NONE };
    let mut running: Vec<(String, Job)> = Vec::new();
    let (mut at, mut directories) = (0, 0);
    let mut dead: Vec<String> = Vec::new();
    while at < filled {
        // What they left open is aborted some time later.
        dead.drain(..).for_each(|name| sim.expire_transaction_of(&format!("job.{name}")));
        let next = (at + 1 + random.below(filled as u64 / 12) as i64).min(filled);
        fill(&sim, at..next);
        at = next;
        match random.below(10) {
            0..4 if running.len() < 3 => {
                let free = ["one", "two", "three"].into_iter().find(|n| running.iter().all(|(r, _)| r != n));
                // Perhaps on a new machine.
                directories += random.below(2);
                let state: PathBuf = dir.path().join(format!("{}{directories}", free.unwrap()));
                running.push((free.unwrap().to_owned(), setup.start(&state, free.unwrap())));
            }
            4..6 if !running.is_empty() => {
                let (name, job) = running.remove(random.below(running.len() as u64) as usize);
                job.stop(Stop::Checkpoint);
                // Its last commit may be one that fails, or be somebody else's to make.
                let _ = job.wait();
                dead.push(name);
            }
            6 if !running.is_empty() => {
                let (name, job) = running.remove(random.below(running.len() as u64) as usize);
                job.stop(Stop::Abort);
                let _ = job.wait();
                dead.push(name);
            }
            7 => sim.expire_member("g"),
            8 => {
                let op = random.one_of(&[Op::TxnCommit, Op::TxnOffsets, Op::Deliver]);
                sim.fail(op, 1, KafkaErrorKind::AbortTxn, "scripted");
            }
            _ if !running.is_empty() => {
                let committed = || (0..PARTITIONS).filter_map(|p| sim.committed("g", "in", p)).sum::<i64>();
                let before = committed();
                until("they get on", || committed() > before || is_all_committed(&sim));
            }
            _ => {}
        }
    }
    dead.drain(..).for_each(|name| sim.expire_transaction_of(&format!("job.{name}")));
    running.push(("last".into(), setup.start(&dir.path().join("last"), "last")));
    all_committed(&sim);
    for (_, job) in running {
        job.stop(Stop::Checkpoint);
        let _ = job.wait();
    }
    sim.expire_transactions();
    rows(&sim)
}

/// So many seeds, more if the environment says so.
fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("MILLSTREAM_MOVES").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    0..count
}

#[test]
fn counts_are_those_of_one_instance_whatever_happens() {
    for seed in seeds() {
        println!("seed {seed}");
        within(120, "a group", move || {
            check_counts(&disturb(COUNTS, seed, 3000), 3000, &format!("seed {seed}"))
        });
    }
}

#[test]
fn windows_and_rankings_are_those_of_one_instance_whatever_happens() {
    for (query, least) in [(WINDOWS, 500), (SESSIONS, 1000), (HOPS, 2000), (FIRSTS, 200), (RUNNING, 2000)] {
        let wanted = undisturbed(query, 3000);
        assert!(wanted.len() > least, "{} rows: {query}", wanted.len());
        for seed in seeds() {
            println!("seed {seed}, {query}");
            let got = within(120, "a group", move || sorted(disturb(query, seed, 3000)));
            assert!(got == wanted, "seed {seed}, {query}: {} rows, wanted {}", got.len(), wanted.len());
        }
    }
}

#[test]
fn a_commit_that_fails_leaves_no_half_of_the_state() {
    for (op, kind) in [
        (Op::TxnCommit, KafkaErrorKind::AbortTxn),
        (Op::TxnCommit, KafkaErrorKind::Retriable),
        (Op::TxnCommitted, KafkaErrorKind::Retriable),
        (Op::TxnStuck, KafkaErrorKind::Retriable),
        (Op::TxnStuckCommitted, KafkaErrorKind::Retriable),
        (Op::TxnOffsets, KafkaErrorKind::AbortTxn),
        (Op::TxnOffsets, KafkaErrorKind::Moved),
        (Op::Deliver, KafkaErrorKind::Fatal),
    ] {
        within(120, "a job", move || {
            let (sim, address) = cluster();
            let dir = tempfile::tempdir().unwrap();
            let more = ("", ", timeout = '20ms'");
            let setup =
                Setup { address: &address, query: COUNTS, execution: "inline", assignor: "range", more };
            fill(&sim, 0..300);
            let job = setup.start(dir.path(), "one");
            until("a commit", || sim.committed("g", "in", 0).is_some());
            sim.fail(op, 1, kind, "scripted");
            fill(&sim, 300..600);
            all_committed(&sim);
            job.stop(Stop::Checkpoint);
            job.wait().unwrap();
            // Somebody who has nothing but the topics.
            let heir = setup.start(&dir.path().join("elsewhere"), "two");
            fill(&sim, 600..800);
            all_committed(&sim);
            heir.stop(Stop::Checkpoint);
            heir.wait().unwrap();
            check_counts(&rows(&sim), 800, &format!("{op:?} {kind:?}"));
        });
    }
}

#[test]
fn a_large_state_goes_in_pieces_and_afterwards_only_what_changes() {
    within(120, "a job", || {
        let (sim, address) = cluster();
        let dir = tempfile::tempdir().unwrap();
        let query = "INSERT INTO b SELECT k, count(*) AS n, max(n) AS s FROM a GROUP BY k";
        let more = ("", ", changelog = 'upsert', key_columns = 'k'");
        let setup = Setup { address: &address, query, execution: "inline", assignor: "range", more };
        let pad = "x".repeat(2000);
        let put = |k: i32, n: i32| {
            let value = format!("{{\"k\":\"{k}{pad}\",\"n\":{n},\"t\":0}}");
            sim.append("in", k % 2, SimMessage::of(&value));
        };
        (0..800).for_each(|k| put(k, 0));
        // Bytes of state of each commit, by partition.
        let commits = |p: i32| -> Vec<usize> {
            let (mut all, mut sum) = (Vec::new(), 0);
            for message in sim.messages("job.changelog", p) {
                match message.key.as_deref() {
                    Some(b"head") => all.push(std::mem::take(&mut sum)),
                    _ => sum += message.value.map_or(0, |v| v.len()),
                }
            }
            all
        };
        let job = setup.start(dir.path(), "one");
        all_committed(&sim);
        let before = [0, 1].map(|p| commits(p).len());
        for round in 1..=20 {
            (0..10).for_each(|k| put(k, round));
            all_committed(&sim);
        }
        for (p, before) in (0..).zip(before) {
            let later = commits(p).split_off(before);
            // A commit writes at most 5 of 400 groups, with keys of 2,000 bytes. Only when the changes of the first commits have become more
            // than the first whole state, that is once, everything is written anew.
            let large: Vec<_> = later.iter().filter(|bytes| **bytes > 5 * 4000).collect();
            assert!(!later.is_empty() && large.len() <= 1, "partition {p}: {later:?}");
        }
        job.stop(Stop::Checkpoint);
        job.wait().unwrap();
        let largest =
            sim.messages("job.changelog", 0).into_iter().filter_map(|m| m.value).map(|v| v.len()).max();
        assert!(largest.is_some_and(|l| l <= (256 << 10) + 1), "{largest:?}");
        let heir = setup.start(&dir.path().join("elsewhere"), "two");
        (0..800).for_each(|k| put(k, 21));
        all_committed(&sim);
        heir.stop(Stop::Checkpoint);
        heir.wait().unwrap();
        let mut last = BTreeMap::new();
        for row in rows(&sim) {
            let value: serde_json::Value = serde_json::from_str(&row).unwrap();
            let k: i32 = value["k"].as_str().unwrap().trim_end_matches('x').parse().unwrap();
            last.insert(k, (value["n"].as_i64().unwrap(), value["s"].as_i64().unwrap()));
        }
        let wanted = (0..800).map(|k| (k, (if k < 10 { 22 } else { 2 }, 21)));
        assert_eq!(last, wanted.collect());
    });
}

#[test]
fn what_does_not_fit_together_is_refused() {
    within(120, "refusals", || {
        let (sim, address) = cluster();
        let dir = tempfile::tempdir().unwrap();
        let setup =
            Setup { address: &address, query: COUNTS, execution: "inline", assignor: "range", more: NONE };
        let refused = |setup: &Setup<'_>, state: &str, settings: &[(&str, &str)], text: &str, why: &str| {
            let engine = setup.engine(&dir.path().join(state), "one");
            settings.iter().for_each(|(name, value)| engine.set(name, value).unwrap());
            let ended = engine.sql(text).and_then(|q| q.start()).and_then(Job::wait);
            let e = ended.err().unwrap_or_else(|| panic!("{why}: it runs")).to_string();
            assert!(e.contains(why), "{why}: {e}");
        };
        let text = setup.text();
        let query = |query: &str| text.replace(COUNTS, query);
        refused(
            &setup,
            "s",
            &[("mode", "simple")],
            &text,
            "that needs its transactions: SET mode = 'transactional'",
        );
        refused(&setup, "s", &[("at_end", "drain")], &text, "leave out at_end = 'drain'");
        let file = dir.path().join("out").display().to_string();
        let to_file = text.replace("CREATE STREAM b WITH (connector = 'kafka', bootstrap_servers", &format!("CREATE STREAM b WITH (connector = 'file', path = '{file}', format = 'json'); CREATE STREAM c WITH (connector = 'kafka', bootstrap_servers"));
        refused(
            &setup,
            "s",
            &[],
            &to_file.replace(COUNTS, WINDOWS).replace(", changelog = 'upsert'", ""),
            "sink b does not: write to a topic",
        );
        refused(
            &setup,
            "s",
            &[],
            &text.replace(", partition_by = 'k'", ""),
            "nothing says by which columns the topic of 'a' is partitioned",
        );
        refused(
            &setup,
            "s",
            &[],
            &query("INSERT INTO b SELECT n, count(*) AS k FROM a GROUP BY n"),
            "'k' is not among the columns",
        );
        refused(
            &setup,
            "s",
            &[],
            &query("INSERT INTO b SELECT k FROM a LIMIT 3"),
            "it brings all rows together",
        );

        // Somebody without state was here.
        sim.set_committed("g", "in", 1, 0, "millstream 1 7 job");
        let quick = [("retry_budget", "50ms"), ("max_restarts", "0")];
        let impatient = Setup { more: (", timeout = '30ms'", ""), ..setup };
        let hasty = impatient.text();
        refused(&impatient, "s", &quick, &hasty, "job.changelog has no state for that");
        sim.forget_group("g");

        fill(&sim, 0..500);
        let job = setup.start(&dir.path().join("one"), "one");
        all_committed(&sim);
        job.stop(Stop::Checkpoint);
        job.wait().unwrap();
        let other = hasty.replace("min(n)", "max(n)");
        refused(&impatient, "one", &quick, &other, "its state (epoch");
        refused(&impatient, "two", &quick, &other, "the state of a partition (epoch");
        refused(
            &impatient,
            "two",
            &quick,
            &hasty.replace("group_id = 'g'", "group_id = 'h'"),
            "it holds the state of group 'g'",
        );
        let metadata = sim.metadata("g", "in", 3).unwrap();
        sim.set_committed("g", "in", 3, 2, &metadata);
        refused(&impatient, "three", &quick, &hasty, "have the group's offsets been set by hand");

        // Brokers forget groups that are away for long; the state says where it stands.
        sim.forget_group("g");
        fill(&sim, 500..900);
        let job = setup.start(&dir.path().join("four"), "one");
        all_committed(&sim);
        job.stop(Stop::Checkpoint);
        job.wait().unwrap();
        check_counts(&rows(&sim), 900, "forgotten");

        sim.grow("in", PARTITIONS as usize + 3);
        refused(&impatient, "four", &quick, &hasty, "topic job.changelog has 6 partitions and in has 9");
    });
}
