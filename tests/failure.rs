//! Failures at every stage in every execution mode: policies, budgets, dead letters, panics, stalled sinks; and no thread is left behind.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use millstream::connector::kafka::sim::{Op, SPEC, SimKafka, SimMessage};
use millstream::connector::memory::{Collected, MemorySink, MemorySource};
use millstream::expr::{Arity, FunctionSpec, ReturnType, Volatility};
use millstream::io::faulty::{Fault, Script};
use millstream::observe::JobStats;
use millstream::{DataType, Engine, Error, FieldValue, Schema, Stop, StreamRecord};
use support::{
    MODES, TestSink, TestSource, alone, engine_threads, expect_no_threads, file_sink, file_source, quick_dir,
    until, within,
};

fn engine(mode: &str, settings: &[(&str, &str)]) -> Engine {
    let engine = Engine::new();
    for (name, value) in [("execution", mode), ("threads", "3"), ("batch_rows", "8")].iter().chain(settings) {
        engine.set(name, value).unwrap();
    }
    engine
}

fn run(engine: Engine, what: &str, query: &str) -> Result<JobStats, Error> {
    let query = query.to_owned();
    within(60, what, move || engine.sql(&query)?.start()?.wait())
}

fn numbers(rows: i64) -> MemorySource {
    let schema = Schema::of([("n", DataType::BigInt)]);
    let row = |n: i64| StreamRecord::with_values(schema.clone(), [n.into()]);
    MemorySource::from_vec(schema.clone(), (0..rows).map(row).collect()).unwrap()
}

fn firsts(rows: &Collected) -> Vec<i64> {
    rows.rows().iter().map(|r| r.values()[0].as_i64().unwrap()).collect()
}

/// A function that panics on one value.
fn touchy() -> FunctionSpec {
    FunctionSpec {
        name: "touchy",
        family: "test",
        signature: "touchy(n)",
        doc: "panics on 13",
        example: ("touchy(1)", "1"),
        arity: Arity::Exact(vec![DataType::BigInt]),
        returns: ReturnType::Fixed(DataType::BigInt),
        strict: true,
        volatility: Volatility::Context,
        eval: Box::new(|_, arguments| {
            let n = arguments.first().and_then(|a| a.as_i64());
            assert_ne!(n, Some(13), "unlucky");
            Ok(n.map_or(FieldValue::Null, FieldValue::Integer))
        }),
    }
}

#[test]
fn an_error_or_panic_in_an_expression_costs_its_record_and_no_other() {
    let _alone = alone();
    let queries = [
        ("SELECT n, 100 / (n - 13) AS q FROM src", "division_by_zero"),
        ("SELECT n, n + 9223372036854775795 AS q FROM src WHERE n < 14", "overflow"),
        ("SELECT n, touchy(n) AS q FROM src", "panic"),
        ("SELECT n FROM src WHERE touchy(n) >= 0", "panic"),
    ];
    for mode in MODES {
        for (query, code) in queries {
            for sinks in [1, 2] {
                for policy in ["fail", "skip", "dlq", "retry"] {
                    let engine = engine(mode, &[("on_error", policy), ("dlq", "letters")]);
                    engine.register_function(touchy());
                    engine.register_source("src", numbers(30)).unwrap();
                    let (sink, letters) = MemorySink::new();
                    engine.register_sink("letters", sink).unwrap();
                    let mut outputs = Vec::new();
                    let mut text = String::new();
                    for k in 0..sinks {
                        let (sink, rows) = MemorySink::new();
                        engine.register_sink(&format!("out{k}"), sink).unwrap();
                        outputs.push(rows);
                        text += &format!("INSERT INTO out{k} {query};");
                    }
                    let result = run(engine, query, &text);
                    let what = format!("{mode} {query} {policy} {sinks}");
                    if matches!(policy, "fail" | "retry") {
                        let error = result.unwrap_err().to_string();
                        assert!(error.contains("on_error") && error.contains("offset 13"), "{what}: {error}");
                        continue;
                    }
                    let stats = result.unwrap();
                    let last = if query.contains("n < 14") { 14 } else { 30 };
                    let expected: Vec<i64> = (0..last).filter(|n| *n != 13).collect();
                    for rows in &outputs {
                        assert_eq!(firsts(rows), expected, "{what}");
                    }
                    let letters = letters.rows();
                    assert_eq!(letters.is_empty(), policy == "skip", "{what}");
                    assert!(stats.rejected > 0, "{what}");
                    for letter in &letters {
                        let text = |c| letter.get(c).and_then(|v| v.as_str()).unwrap_or_default();
                        assert_eq!(
                            (text("code"), text("source"), text("position")),
                            (code, "src", "offset 13")
                        );
                    }
                }
            }
        }
    }
    expect_no_threads("policies");
}

fn bad_lines(path: &Path) {
    let line = |n: i64| match n % 10 {
        3 => format!("{{\"n\": broken {n}}}\n"),
        7 => "{\"n\":\"text\"}\n".to_owned(),
        _ => format!("{{\"n\":{n}}}\n"),
    };
    std::fs::write(path, (0..100).map(line).collect::<String>()).unwrap();
}

#[test]
fn lines_that_cannot_be_decoded_keep_their_bytes_position_and_order() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.jsonl");
    bad_lines(&path);
    let create = |policy: &str| {
        format!(
            "CREATE STREAM src (n BIGINT) WITH (connector = 'file', path = '{}', on_error = '{policy}');
             INSERT INTO out SELECT n FROM src",
            path.display()
        )
    };
    let expected: Vec<i64> = (0..100).filter(|n| ![3, 7].contains(&(n % 10))).collect();
    for mode in MODES {
        for policy in ["fail", "skip", "dlq"] {
            let engine = engine(mode, &[("dlq", "letters")]);
            let (sink, letters) = MemorySink::new();
            engine.register_sink("letters", sink).unwrap();
            let (sink, rows) = MemorySink::new();
            engine.register_sink("out", sink).unwrap();
            let result = run(engine, mode, &create(policy));
            if policy == "fail" {
                let error = result.unwrap_err().to_string();
                assert!(error.contains("in.jsonl:4") && error.contains("on_error"), "{mode}: {error}");
                continue;
            }
            assert_eq!((firsts(&rows), result.unwrap().rejected), (expected.clone(), 20), "{mode} {policy}");
            let input = std::fs::read_to_string(&path).unwrap();
            let bad = (1..).zip(input.lines()).filter(|(_, l)| l.contains("broken") || l.contains("text"));
            let letters = letters.rows();
            assert_eq!(letters.len(), if policy == "dlq" { 20 } else { 0 });
            for (letter, (number, line)) in letters.iter().zip(bad) {
                let Some(FieldValue::Bytes(raw)) = letter.get("raw") else { panic!("{letter:?}") };
                assert_eq!(std::str::from_utf8(raw).unwrap().trim_end(), line, "{mode}");
                let position = letter.get("position").and_then(|p| p.as_str()).unwrap();
                assert!(position.contains(&format!("in.jsonl:{number} ")), "{position}");
            }
        }
    }
}

#[test]
fn budgets_end_the_job_when_they_are_passed_and_not_before() {
    let _alone = alone();
    for mode in MODES {
        for (name, value, fits) in [
            ("max_errors", "20", true),
            ("max_errors", "19", false),
            ("max_error_ratio", "0.2", true),
            ("max_error_ratio", "0.19", false),
        ] {
            let engine = engine(mode, &[("on_error", "skip"), (name, value)]);
            engine.register_source("src", numbers(100)).unwrap();
            let (sink, _rows) = MemorySink::new();
            engine.register_sink("out", sink).unwrap();
            let result = run(engine, mode, "INSERT INTO out SELECT 1 / (n % 5) AS q FROM src");
            assert_eq!(result.is_ok(), fits, "{mode} {name} {value} {result:?}");
        }
    }
}

#[test]
fn faults_of_readers_and_writers_end_the_job_with_their_reason_and_all_threads() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.jsonl");
    std::fs::write(&path, (0..5000).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>()).unwrap();
    let none = Script::default;
    let at = |call, fault| Script::of([(call, fault)]);
    let cases: [(&str, Script, Script, &str); 6] = [
        ("first read", at(0, Fault::Fatal), none(), "scripted fault in read 0"),
        ("later read", at(50, Fault::Fatal), none(), "scripted fault in read 50"),
        ("panic in read", at(50, Fault::Panic), none(), "scripted panic"),
        ("first write", none(), at(0, Fault::Fatal), "scripted fault in write 0"),
        ("panic in write", none(), at(50, Fault::Panic), "scripted panic"),
        ("flush", none(), Script { flush_fails_at: Some(0), ..none() }, "scripted fault in flush 0"),
    ];
    for mode in MODES {
        for (what, reader, writer, message) in &cases {
            let engine = engine(mode, &[]);
            let source = TestSource::new(file_source(&path)).scripted(reader.clone());
            engine.register_source("src", source).unwrap();
            let (sink, _rows) = MemorySink::new();
            let sink = TestSink::new(Arc::new(sink)).scripted(writer.clone());
            engine.register_sink("out", sink).unwrap();
            let result = run(engine, what, "INSERT INTO out SELECT n + 1 AS m FROM src");
            match result {
                Err(error) => assert!(error.to_string().contains(message), "{mode} {what}: {error}"),
                // A writer that is wrapped may finish without a flush.
                Ok(_) => assert_eq!(*what, "flush", "{mode}"),
            }
            expect_no_threads(what);
        }
    }
}

/// Transactions from a topic to a topic: the thread that has the client – of the reader, the writer, or the driver – panics in it.
#[test]
fn a_panic_in_a_kafka_client_ends_the_job_with_all_threads_and_the_next_start_completes_it() {
    const OPS: [Op; 10] = [
        Op::Connect,
        Op::Poll,
        Op::PollMidway,
        Op::Send,
        Op::Deliver,
        Op::Flush,
        Op::TxnOffsets,
        Op::TxnCommit,
        Op::TxnCommitted,
        Op::TxnInit,
    ];
    let _alone = alone();
    for (i, (mode, op)) in MODES.iter().flat_map(|m| OPS.map(|op| (*m, op))).enumerate() {
        let sim = SimKafka::new();
        let address = format!("panics:{i}");
        sim.serve(&address);
        ["in", "out"].iter().for_each(|topic| sim.create(topic, 1));
        let dir = quick_dir();
        let place = dir.path().display().to_string();
        let with =
            format!("WITH (connector = 'kafka', bootstrap_servers = '{address}', format = 'json', topic =");
        let text = format!(
            "CREATE STREAM a (n BIGINT) {with} 'in', stop = 'latest', group_id = 'g'); CREATE STREAM b {with} 'out');
             INSERT INTO b SELECT n FROM a"
        );
        let start = || {
            let settings = [
                ("state", &*place),
                ("mode", "transactional"),
                ("job_name", "job"),
                ("commit_interval", "100 rows"),
            ];
            let engine = engine(mode, &settings);
            engine.register_connector(SPEC);
            let (text, what) = (text.clone(), format!("{mode} {op:?}"));
            within(60, &what, move || engine.sql(&text).unwrap().start().and_then(millstream::Job::wait))
        };
        let seen = || -> Vec<i64> {
            let text = |m: SimMessage| String::from_utf8(m.value.unwrap()).unwrap();
            let number = |t: String| t.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
            sim.messages("out", 0).into_iter().map(text).map(number).collect()
        };
        // At its first start, and where it goes on from a commit.
        for rows in [0..400, 400..1000] {
            rows.clone().for_each(|n| sim.append("in", 0, SimMessage::of(&format!("{{\"n\":{n}}}"))));
            sim.panic_in(op);
            let error = start().expect_err("its client panicked").to_string();
            assert!(error.contains("scripted panic of the client"), "{mode} {op:?}: {error}");
            expect_no_threads(mode);
            let committed = seen();
            assert_eq!(committed, (0..committed.len() as i64).collect::<Vec<_>>(), "{mode} {op:?}");
            start().unwrap();
            assert_eq!(seen(), (0..rows.end).collect::<Vec<_>>(), "{mode} {op:?}");
        }
    }
}

#[test]
fn a_writer_that_fails_while_nothing_comes_in_is_noticed() {
    let _alone = alone();
    for mode in MODES {
        let engine = engine(mode, &[]);
        engine.register_source("src", TestSource::new(Arc::new(numbers(100))).limited(50)).unwrap();
        let (sink, _rows) = MemorySink::new();
        let script = Script { flush_fails_at: Some(0), ..Script::default() };
        engine.register_sink("out", TestSink::new(Arc::new(sink)).scripted(script)).unwrap();
        let error = run(engine, mode, "INSERT INTO out SELECT n FROM src").unwrap_err();
        assert!(error.to_string().contains("scripted fault in flush 0"), "{mode}: {error}");
        expect_no_threads(mode);
    }
}

#[test]
fn a_stalled_sink_holds_up_its_source_within_bounds_and_an_abort_gets_through() {
    let _alone = alone();
    let engine = engine("threads", &[("channel_batches", "4"), ("shutdown_deadline", "20s")]);
    let source = TestSource::new(Arc::new(numbers(100_000)));
    engine.register_source("src", source).unwrap();
    let (sink, _rows) = MemorySink::new();
    let sink = TestSink::new(Arc::new(sink));
    sink.stalled.store(true, Ordering::SeqCst);
    engine.register_sink("out", sink.clone()).unwrap();
    let job = engine.sql("INSERT INTO out SELECT n FROM src").unwrap().start().unwrap();
    // Two edges of four batches and one batch in each of three hands, of eight rows each.
    let most = (2 * 4 + 3) * 8;
    until("the edges are full", || job.stats().records_in >= most - 16);
    for _ in 0..200 {
        assert!(job.stats().records_in <= most, "{}", job.stats().records_in);
        std::thread::yield_now();
    }
    assert!(engine_threads().len() >= 3);
    job.stop(Stop::Abort);
    sink.stalled.store(false, Ordering::SeqCst);
    let error = within(60, "abort", move || job.wait()).unwrap_err();
    assert!(error.to_string().contains("aborted"), "{error}");
    expect_no_threads("abort");
}

#[test]
fn a_thread_that_stays_in_foreign_code_is_abandoned_by_name_and_nothing_is_committed() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in.jsonl"), dir.path().join("out.jsonl"));
    let text: String = (0..500).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    std::fs::write(&input, &text).unwrap();
    let job = |sink: &TestSink| {
        let state = dir.path().join("state");
        let settings =
            [("state", state.to_str().unwrap()), ("channel_batches", "100"), ("shutdown_deadline", "10ms")];
        let engine = engine("threads", &settings);
        engine.register_source("src", TestSource::new(file_source(&input))).unwrap();
        engine.register_sink("out", sink.clone()).unwrap();
        engine.sql("INSERT INTO out SELECT n FROM src").unwrap().start()
    };
    let sink = TestSink::new(file_sink(&output));
    sink.stalled.store(true, Ordering::SeqCst);
    // While it is working, and while the driver already waits for its end.
    for end_of_input in [false, true] {
        let running = job(&sink).unwrap();
        if end_of_input {
            until("everything is read", || running.stats().records_in == 500);
        }
        until("the writer is inside", || sink.inside.load(Ordering::SeqCst));
        running.stop(Stop::Abort);
        let error = within(60, "abandon", move || running.wait()).unwrap_err();
        assert_eq!(error.exit_code(), 4, "{error}");
        assert!(error.to_string().contains("abandoned after the shutdown deadline: ms-write-0"), "{error}");
        assert_eq!(engine_threads(), ["ms-write-0"]);
        sink.stalled.store(false, Ordering::SeqCst);
        expect_no_threads("released");
        sink.stalled.store(true, Ordering::SeqCst);
    }
    sink.stalled.store(false, Ordering::SeqCst);
    // Nothing was committed: the next start writes everything, once.
    let stats = job(&sink).unwrap().wait().unwrap();
    assert_eq!((stats.records_out, std::fs::read_to_string(&output).unwrap()), (500, text));
}

#[test]
fn byte_credits_bound_what_waits_between_threads_and_the_wait_is_counted() {
    const ROWS: i64 = 300;
    const WIDE: usize = 10_000;
    let _alone = alone();
    // The rows that wait in both edges and in three hands, with edges of that many bytes.
    for (channel_bytes, most) in
        [("100KB", 2 * 10 + 3), ("20KB", 2 * 2 + 3), ("1KB", 2 + 3), ("1GB", ROWS as u64)]
    {
        let engine = engine(
            "threads",
            &[("batch_rows", "1"), ("channel_batches", "10000"), ("channel_bytes", channel_bytes)],
        );
        let schema = Schema::of([("n", DataType::BigInt), ("wide", DataType::Varchar)]);
        let row =
            |n: i64| StreamRecord::with_values(schema.clone(), [n.into(), "x".repeat(WIDE).as_str().into()]);
        let source = MemorySource::from_vec(schema.clone(), (0..ROWS).map(row).collect()).unwrap();
        engine.register_source("src", source).unwrap();
        let (sink, rows) = MemorySink::new();
        let sink = TestSink::new(Arc::new(sink));
        sink.stalled.store(true, Ordering::SeqCst);
        engine.register_sink("out", sink.clone()).unwrap();
        let job = engine.sql("INSERT INTO out SELECT n, wide FROM src").unwrap().start().unwrap();
        until(channel_bytes, || job.stats().records_in + 3 >= most);
        for _ in 0..200 {
            let given = job.stats().records_in;
            assert!(given <= most, "{channel_bytes}: {given} rows are under way");
            std::thread::yield_now();
        }
        sink.stalled.store(false, Ordering::SeqCst);
        let stats = within(60, channel_bytes, move || job.wait()).unwrap();
        let blocked = stats.sources[0].time.blocked_s;
        assert_eq!(blocked > 0.0, channel_bytes != "1GB", "{channel_bytes}: {blocked}");
        assert_eq!(firsts(&rows), (0..ROWS).collect::<Vec<_>>());
    }
    expect_no_threads("byte credits");
}

/// A job whose sink refuses the records of `refusals`: write call → record of its batch of eight.
fn refusing(engine: &Engine, refusals: &[(u64, usize)]) -> Collected {
    engine.register_source("src", numbers(40)).unwrap();
    let (sink, rows) = MemorySink::new();
    let script = Script::of(refusals.iter().map(|&(call, at)| (call, Fault::Reject(at))));
    engine.register_sink("out", TestSink::new(Arc::new(sink)).scripted(script)).unwrap();
    rows
}

#[test]
fn a_record_that_the_sink_refuses_meets_the_policy() {
    let _alone = alone();
    // The first call gets 0..8 and refuses 3; the next one gets the rest of them, 4..8, the third 8..16 and refuses 8.
    let refusals = [(0, 3), (2, 0)];
    let without: Vec<i64> = (0..40).filter(|n| ![3, 8].contains(n)).collect();
    for mode in MODES {
        for policy in ["fail", "skip", "dlq", "retry"] {
            let engine = engine(mode, &[("on_error", policy), ("dlq", "letters")]);
            let (sink, letters) = MemorySink::new();
            engine.register_sink("letters", sink).unwrap();
            let rows = refusing(&engine, &refusals);
            let result = run(engine, policy, "INSERT INTO out SELECT n FROM src");
            let what = format!("{mode} {policy} {result:?}");
            match (policy, result) {
                ("fail", Err(e)) => {
                    let text = e.to_string();
                    assert_eq!((firsts(&rows), e.exit_code()), (vec![0, 1, 2], 1), "{what}");
                    assert!(text.contains("sink out") && text.contains("scripted refusal"), "{text}");
                    assert!(text.contains("offset 3") && text.contains("on_error = 'skip'"), "{text}");
                }
                // It takes the record when it is asked again.
                ("retry", Ok(stats)) => {
                    assert_eq!(firsts(&rows), (0..40).collect::<Vec<_>>(), "{what}");
                    assert_eq!((stats.rejected, stats.sinks[0].retries), (0, 2), "{what}");
                }
                ("skip" | "dlq", Ok(stats)) => {
                    assert_eq!(firsts(&rows), without, "{what}");
                    assert_eq!((stats.rejected, stats.records_out), (2, 38), "{what}");
                }
                _ => panic!("{what}"),
            }
            let letters: Vec<_> = letters
                .rows()
                .iter()
                .map(|l| {
                    let text = |c| l.get(c).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
                    (text("stage"), text("code"), text("position"))
                })
                .collect();
            let letter = |n: i64| ("sink out".to_owned(), "sink_rejected".to_owned(), format!("offset {n}"));
            assert_eq!(letters, if policy == "dlq" { vec![letter(3), letter(8)] } else { vec![] }, "{what}");
        }
    }
    expect_no_threads("refusals");
}

#[test]
fn a_dead_letter_queue_that_fails_fails_the_job_with_its_reason_and_without_a_commit() {
    let _alone = alone();
    let cases = [
        ("write", Script::of([(0, Fault::Fatal)]), "scripted fault in write 0"),
        ("panic", Script::of([(1, Fault::Panic)]), "scripted panic"),
        ("refusal", Script::of([(0, Fault::Reject(0))]), "scripted refusal"),
        // Sync 0 comes before the first record.
        ("sync", Script { sync_fails_at: Some(1), ..Script::default() }, "scripted fault in sync 1"),
    ];
    for mode in MODES {
        for (what, script, reason) in &cases {
            let place = tempfile::tempdir().unwrap();
            let state = place.path().join("state");
            let (out, bad) = (place.path().join("out.jsonl"), place.path().join("bad.jsonl"));
            let job = |script: Script| {
                let settings = [
                    ("on_error", "dlq"),
                    ("dlq", "letters"),
                    ("state", state.to_str().unwrap()),
                    ("job_name", "j"),
                ];
                let engine = engine(mode, &settings);
                engine.register_source("src", numbers(100)).unwrap();
                engine.register_sink("out", TestSink::new(file_sink(&out))).unwrap();
                engine.register_sink("letters", TestSink::new(file_sink(&bad)).scripted(script)).unwrap();
                run(engine, what, "INSERT INTO out SELECT 100 / (n % 5) AS q FROM src")
            };
            let error = job(script.clone()).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(reason), "{mode} {what}: {text}");
            assert_eq!(error.exit_code(), 1);
            // Nothing was committed, so a healthy queue gets every letter, and the sink every row, once.
            let stats = job(Script::default()).unwrap();
            let lines = |path: &Path| std::fs::read_to_string(path).unwrap().lines().count() as u64;
            assert_eq!(lines(&out) + lines(&bad), 100, "{mode} {what}");
            assert_eq!((stats.dead_letters, lines(&bad)), (stats.rejected, stats.rejected), "{mode} {what}");
        }
    }
    expect_no_threads("dead letters");
}
