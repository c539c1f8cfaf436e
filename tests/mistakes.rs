//! Mistakes that were seen in other engines, one test each: its name is what must not happen here.

mod support;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};

use millstream::connector::memory::{MemorySender, MemorySink, MemorySource};
use millstream::expr::{Arity, FunctionSpec, ReturnType, Volatility, to_text};
use millstream::io::faulty::{Fault, Script};
use millstream::io::{Scan, SinkStart};
use millstream::record::Position;
use millstream::{
    BatchBuilder, Boundedness, DataReader, DataSink, DataSource, DataType, DataWriter, Engine, Error,
    FieldValue, IoError, Read, Schema, Step, Stop, StreamRecord,
};
use support::{TestSink, TestSource, file_sink, file_source, until, within};

const SECOND: i64 = 1_000_000;

/// All rows of a query, values joined by blanks.
fn rows(engine: &Engine, query: &str) -> Result<Vec<String>, Error> {
    let mut job = engine.sql(query)?.start()?;
    let rows = job.rows().map(|r| line(&r)).collect();
    job.wait()?;
    Ok(rows)
}

fn line(record: &StreamRecord) -> String {
    let text = |v: &FieldValue| match v {
        FieldValue::Timestamp(t) => (t / SECOND).to_string(),
        FieldValue::Null => "NULL".to_owned(),
        other => to_text(other),
    };
    record.values().iter().map(text).collect::<Vec<_>>().join(" ")
}

fn given(query: &str) -> Result<Vec<String>, Error> {
    rows(&Engine::new(), query)
}

fn numbers(n: i64) -> MemorySource {
    let schema = Schema::of([("n", DataType::BigInt)]);
    let row = |n: i64| StreamRecord::with_values(schema.clone(), [n.into()]);
    MemorySource::from_vec(schema.clone(), (0..n).map(row).collect()).unwrap()
}

fn clicks() -> Arc<Schema> {
    Schema::of([("ts", DataType::Timestamp), ("k", DataType::Varchar)])
}

fn click(seconds: i64, k: &str) -> StreamRecord {
    StreamRecord::with_values(clicks(), [FieldValue::Timestamp(seconds * SECOND), k.into()])
}

/// A query over clicks at these seconds, watermark right behind the newest one.
fn over_clicks(clicks_at: &[(i64, &str)], query: &str) -> Vec<String> {
    let engine = Engine::new();
    let records = clicks_at.iter().map(|(ts, k)| click(*ts, k)).collect();
    let source = MemorySource::from_vec(clicks(), records).unwrap();
    engine.register_timed_source("clicks", source, "ts", "ts", &[]).unwrap();
    rows(&engine, query).unwrap()
}

const PER_TEN: &str = "SELECT window_start, window_end, count(*) AS n FROM TUMBLE(clicks, ts, INTERVAL '10' SECOND) \
                       GROUP BY window_start, window_end";

#[test]
fn seven_by_zero_is_one() {
    let error = given("SELECT 7 / n AS x FROM (VALUES (0)) AS t(n)").unwrap_err().to_string();
    assert!(error.contains("division by zero"), "{error}");
}

#[test]
fn integer_overflow_wraps() {
    for sum in ["n + 1", "n * 2", "-(-n - 1)", "sum(n + 0)"] {
        let query =
            format!("SELECT {sum} AS x FROM (VALUES (9223372036854775807), (9223372036854775806)) AS t(n)");
        let error = given(&query).unwrap_err().to_string();
        assert!(error.contains("out of range") || error.contains("overflow"), "{sum}: {error}");
    }
}

#[test]
fn null_equals_null_is_true() {
    let query =
        "SELECT a IS NULL, (a = b) IS NULL, a IS NOT DISTINCT FROM b FROM (VALUES (NULL, NULL)) AS t(a, b)";
    assert_eq!(given(query).unwrap(), ["true true true"]);
    let query = "SELECT a FROM (VALUES (NULL), (1)) AS t(a) WHERE a = NULL OR NOT (a = NULL) OR a <> NULL";
    assert!(given(query).unwrap().is_empty());
}

#[test]
fn a_price_of_100_50_never_matches_a_decimal() {
    let engine = Engine::new();
    let schema = Schema::of([("price", DataType::Decimal { precision: 10, scale: 2 })]);
    let price = |hundredths: i64| {
        let price = millstream::record::Decimal::new(hundredths, 2);
        StreamRecord::with_values(schema.clone(), [FieldValue::Decimal(price)])
    };
    let source = MemorySource::from_vec(schema.clone(), vec![price(10050), price(10051)]).unwrap();
    engine.register_source("orders", source).unwrap();
    let query = "SELECT price FROM orders WHERE price = 100.50 AND price = 100.500 AND price IN (1, 100.5)";
    assert_eq!(rows(&engine, query).unwrap(), ["100.50"]);
}

#[test]
fn sum_of_decimals_goes_through_float() {
    let query = "SELECT sum(x), avg(x) FROM (VALUES (0.10), (0.20), (12345678901234567890.01)) AS t(x)";
    assert_eq!(given(query).unwrap(), ["12345678901234567890.31 4115226300411522630.10333333"]);
}

#[test]
fn an_alias_without_as_drops_everything_after_it() {
    let query = "SELECT count(*) c, sum(n) s FROM (VALUES (1), (2), (3)) AS t(n) WHERE n > 1 HAVING count(*) > 0 LIMIT 5";
    assert_eq!(given(query).unwrap(), ["2 5"]);
    let query = "SELECT count(*) c FROM (VALUES (1), (2)) AS t(n) WHERE n > 5";
    assert_eq!(given(query).unwrap(), ["0"]);
}

#[test]
fn having_before_window_drops_the_window() {
    let query = "SELECT window_start, k, count(*) AS n FROM clicks GROUP BY k HAVING count(*) > 1 \
                 WINDOW TUMBLING (ts, INTERVAL '10' SECOND)";
    let found = over_clicks(&[(1, "a"), (2, "a"), (3, "b"), (11, "a"), (25, "b"), (26, "b")], query);
    assert_eq!(found, ["0 a 2", "20 b 2"]);
}

#[test]
fn a_late_record_closes_an_open_window_early() {
    // 3 comes when its window is over; the window of 12 to 19 goes on.
    let found = over_clicks(&[(1, "a"), (12, "a"), (3, "late"), (13, "a"), (19, "a"), (21, "a")], PER_TEN);
    assert_eq!(found, ["0 10 1", "10 20 3", "20 30 1"]);
}

#[test]
fn a_gap_emits_windows_that_never_had_records() {
    assert_eq!(over_clicks(&[(1, "a"), (1_000, "a")], PER_TEN), ["0 10 1", "1000 1010 1"]);
    let hop = PER_TEN.replace("INTERVAL '10' SECOND", "INTERVAL '5' SECOND, INTERVAL '10' SECOND");
    let found = over_clicks(&[(1, "a"), (1_000, "a")], &hop.replace("TUMBLE", "HOP"));
    assert_eq!(found, ["-5 5 1", "0 10 1", "995 1005 1", "1000 1010 1"]);
}

#[test]
fn sessions_are_global_not_per_key() {
    let query = "SELECT window_start, window_end, k, count(*) AS n FROM clicks GROUP BY k WINDOW SESSION (ts, INTERVAL '10' SECOND)";
    // Each key is silent for longer than ten seconds, all of them together never.
    let found = over_clicks(&[(0, "a"), (6, "b"), (12, "a"), (18, "b"), (21, "a")], query);
    assert_eq!(found, ["0 10 a 1", "6 16 b 1", "18 28 b 1", "12 31 a 2"]);
}

#[test]
fn windows_are_not_flushed_at_the_end_of_input() {
    assert_eq!(over_clicks(&[(1, "a"), (2, "a")], PER_TEN), ["0 10 2"]);
    let session = "SELECT window_start, window_end, count(*) AS n FROM SESSION(clicks, ts, INTERVAL '10' SECOND) \
                   GROUP BY window_start, window_end";
    assert_eq!(over_clicks(&[(1, "a"), (2, "a")], session), ["1 12 2"]);
}

#[test]
fn hop_windows_drop_rows_that_still_fit_an_open_window() {
    // The second row is behind the watermark of 12, too late for [-5, 5) and [0, 10), but [5, 15) is open.
    let query = "SELECT window_start, window_end, count(*) AS n FROM \
                 HOP(clicks, ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND) GROUP BY window_start, window_end";
    assert_eq!(over_clicks(&[(12, "a"), (7, "a")], query), ["5 15 2", "10 20 1"]);
}

#[test]
fn a_join_without_data_invents_rows() {
    let engine = Engine::new();
    engine.register_source("a", numbers(0)).unwrap();
    engine.register_source("b", numbers(3)).unwrap();
    match rows(&engine, "SELECT a.n, b.n FROM a JOIN b ON a.n = b.n") {
        Ok(rows) => assert!(rows.is_empty(), "{rows:?}"),
        Err(e) => assert!(e.to_string().contains("not supported"), "{e}"),
    }
}

/// Steps until nothing is left to do now; gives the rows so far.
fn settled(
    job: &mut millstream::Job,
    taken: &mut millstream::connector::memory::Rows,
    now: i64,
) -> Vec<String> {
    while job.step(now).unwrap() == Step::Worked {}
    std::iter::from_fn(|| taken.try_next()).map(|r| line(&r)).collect()
}

#[test]
fn an_idle_partition_holds_every_window_open() {
    let engine = Engine::new();
    let (sender, source) = MemorySource::channel(clicks(), 100);
    engine.register_timed_source("clicks", source, "ts", "ts", &[("idle_timeout", "60s")]).unwrap();
    let mut job = engine.sql(PER_TEN).unwrap().stepping(0).unwrap();
    let mut taken = job.take_rows().unwrap();
    let send = |sender: &MemorySender, seconds, partition| {
        let mut record = click(seconds, "a");
        record.set_partition(partition);
        sender.send(record).unwrap();
    };
    send(&sender, 1, 0);
    send(&sender, 2, 1);
    assert!(settled(&mut job, &mut taken, 3 * SECOND).is_empty());
    // Partition 1 holds the window of both while it may still have something to say.
    send(&sender, 25, 0);
    assert!(settled(&mut job, &mut taken, 30 * SECOND).is_empty());
    send(&sender, 26, 0);
    assert_eq!(settled(&mut job, &mut taken, 90 * SECOND), ["0 10 2"]);
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl Events {
    fn push(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }
}

/// A file that tells of commits (as a source) and of syncs (as a sink).
struct Told<T> {
    inner: T,
    events: Events,
}

impl DataSource for Told<Arc<dyn DataSource>> {
    fn schema(&self) -> Arc<Schema> {
        self.inner.schema()
    }
    fn boundedness(&self) -> Boundedness {
        self.inner.boundedness()
    }
    fn can_replay(&self) -> bool {
        true
    }
    fn projects(&self) -> bool {
        self.inner.projects()
    }
    fn open(&self, scan: &Scan) -> Result<Box<dyn DataReader>, IoError> {
        Ok(Box::new(Told { inner: self.inner.open(scan)?, events: self.events.clone() }))
    }
}

impl DataReader for Told<Box<dyn DataReader>> {
    fn schema(&self) -> Arc<Schema> {
        self.inner.schema()
    }
    fn boundedness(&self) -> Boundedness {
        self.inner.boundedness()
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        self.inner.read(out)
    }
    fn position(&self) -> Position {
        self.inner.position()
    }
    fn seek(&mut self, position: &Position) -> Result<(), IoError> {
        self.inner.seek(position)
    }
    fn commit(&mut self, position: &Position) -> Result<(), IoError> {
        self.events.push(format!("committed {position}"));
        self.inner.commit(position)
    }
}

impl DataSink for Told<Arc<dyn DataSink>> {
    fn open(&self, schema: Arc<Schema>, start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        Ok(Box::new(Told { inner: self.inner.open(schema, start)?, events: self.events.clone() }))
    }
    fn can_resume(&self) -> bool {
        self.inner.can_resume()
    }
}

impl DataWriter for Told<Box<dyn DataWriter>> {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        self.events.push("written");
        self.inner.write(batch)
    }
    fn flush(&mut self) -> Result<(), IoError> {
        self.inner.flush()
    }
    fn sync(&mut self) -> Result<Position, IoError> {
        let position = self.inner.sync()?;
        self.events.push("synced");
        Ok(position)
    }
    fn finish(&mut self) -> Result<(), IoError> {
        self.inner.finish()
    }
}

fn lines_of(path: &Path, n: i64) {
    let text: String = (0..n).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    std::fs::write(path, text).unwrap();
}

/// Ten rows a batch, with state below `dir`.
fn with_state(dir: &Path) -> Engine {
    let engine = Engine::new();
    let state = dir.join("state");
    let settings = [("state", state.to_str().unwrap()), ("batch_rows", "10"), ("commit_interval", "1ms")];
    settings.iter().for_each(|(name, value)| engine.set(name, value).unwrap());
    engine
}

#[test]
fn sources_are_committed_before_sinks_are_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in.jsonl"), dir.path().join("out.jsonl"));
    lines_of(&input, 500);
    for execution in ["inline", "threads"] {
        let _ = std::fs::remove_dir_all(dir.path().join("state"));
        let events = Events::default();
        let engine = with_state(dir.path());
        engine.set("execution", execution).unwrap();
        let source = Told { inner: file_source(&input), events: events.clone() };
        engine.register_source("src", source).unwrap();
        engine.register_sink("out", Told { inner: file_sink(&output), events: events.clone() }).unwrap();
        within(60, "commits", move || {
            engine.sql("INSERT INTO out SELECT n FROM src").unwrap().start().unwrap().wait().unwrap();
        });
        let events = events.0.lock().unwrap();
        let commits: Vec<usize> = (0..events.len()).filter(|&i| events[i].starts_with("committed")).collect();
        assert!(!commits.is_empty());
        // Since the last commit, or the start, something was made durable.
        let mut since = 0;
        for at in commits {
            assert!(events[since..at].iter().any(|e| e == "synced"), "{execution}: {events:?}");
            since = at + 1;
        }
    }
}

#[test]
fn a_failed_batch_is_skipped_not_reread() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in.jsonl"), dir.path().join("out.jsonl"));
    lines_of(&input, 500);
    let run = |script: Script| {
        let engine = with_state(dir.path());
        engine.register_source("src", TestSource::new(file_source(&input))).unwrap();
        engine.register_sink("out", TestSink::new(file_sink(&output)).scripted(script)).unwrap();
        within(60, "run", move || engine.sql("INSERT INTO out SELECT n FROM src")?.start()?.wait())
    };
    let failed = run(Script { panic_at_record: Some(203), ..Script::default() });
    assert!(failed.is_err());
    run(Script::of([(4, Fault::Transient(0))])).unwrap();
    let all: String = (0..500).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    assert_eq!(std::fs::read_to_string(&output).unwrap(), all);
}

#[test]
fn the_dead_letter_queue_does_not_hold_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in.jsonl");
    std::fs::write(&input, "{\"n\":1}\n{\"n\": br\u{f6}ken\n{\"n\":0,\"other\":7}\n").unwrap();
    let engine = Engine::new();
    let (sink, letters) = MemorySink::new();
    engine.register_sink("letters", sink).unwrap();
    engine.set("on_error", "dlq").unwrap();
    engine.set("dlq", "letters").unwrap();
    let text = format!(
        "CREATE STREAM src (n BIGINT, other BIGINT) WITH (connector = 'file', path = '{}');
         SELECT 10 / n AS q, other FROM src",
        input.display()
    );
    assert_eq!(rows(&engine, &text).unwrap(), ["10 NULL"]);
    let raw = |r: &Arc<StreamRecord>| match r.get("raw") {
        Some(FieldValue::Bytes(raw)) => String::from_utf8(raw.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    let letters: Vec<String> = letters.rows().iter().map(raw).collect();
    assert_eq!(letters, ["{\"n\": br\u{f6}ken", "{\"n\":0,\"other\":7}"]);
}

#[test]
fn an_unknown_sink_format_falls_back_to_stdout() {
    let engine = Engine::new();
    engine.register_source("src", numbers(3)).unwrap();
    for with in ["connector = 'file', path = 'x.out', format = 'avroo'", "connector = 'kafkaa', topic = 't'"]
    {
        let text = format!("CREATE STREAM o WITH ({with}); INSERT INTO o SELECT n FROM src");
        let error = engine.sql(&text).unwrap_err().to_string();
        assert!(error.contains("avroo") || error.contains("kafkaa"), "{error}");
        assert!(!Path::new("x.out").exists());
    }
}

/// A job whose sink takes nothing.
fn stalled(settings: &[(&str, &str)], rows: i64) -> (millstream::Job, TestSink) {
    let engine = Engine::new();
    for (name, value) in [("execution", "threads"), ("batch_rows", "10")].iter().chain(settings) {
        engine.set(name, value).unwrap();
    }
    engine.register_source("src", numbers(rows)).unwrap();
    let sink = TestSink::new(Arc::new(MemorySink::new().0));
    sink.stalled.store(true, Ordering::SeqCst);
    engine.register_sink("slow", sink.clone()).unwrap();
    engine.register_sink("quick", MemorySink::new().0).unwrap();
    let text = "INSERT INTO slow SELECT n FROM src; INSERT INTO quick SELECT n FROM src";
    (engine.sql(text).unwrap().start().unwrap(), sink)
}

#[test]
fn queues_are_unbounded() {
    let (job, sink) = stalled(&[("channel_batches", "2")], 100_000);
    // Two edges of two batches, and one batch in each of three hands.
    let most = (2 * 2 + 3) * 10;
    until("the edges are full", || job.stats().records_in + 20 >= most);
    for _ in 0..200 {
        assert!(job.stats().records_in <= most, "{}", job.stats().records_in);
        std::thread::yield_now();
    }
    job.stop(Stop::Abort);
    sink.stalled.store(false, Ordering::SeqCst);
    within(60, "abort", move || job.wait()).unwrap_err();
}

/// Warnings of this process.
struct Warnings;

fn warnings() -> &'static Mutex<Vec<String>> {
    static LINES: OnceLock<Mutex<Vec<String>>> = OnceLock::new();
    LINES.get_or_init(Mutex::default)
}

impl log::Log for Warnings {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        if record.level() <= log::Level::Warn {
            warnings().lock().unwrap().push(record.args().to_string());
        }
    }
    fn flush(&self) {}
}

#[test]
fn a_slow_sink_stops_all_without_saying_so() {
    log::set_logger(&Warnings).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let (job, sink) = stalled(&[("stall_warning", "10ms"), ("channel_batches", "1")], 10_000);
    until("the sink is named", || warnings().lock().unwrap().iter().any(|w| w.contains("slow")));
    assert!(!warnings().lock().unwrap().iter().any(|w| w.contains("quick")));
    sink.stalled.store(false, Ordering::SeqCst);
    let stats = within(60, "the rest", move || job.wait()).unwrap();
    assert_eq!(stats.records_out, 20_000);
    // It was named after it had held the others up for as long.
    let waited = stats.sinks.iter().find(|s| s.name == "slow").unwrap().backpressure_s;
    assert!(waited >= 0.01, "{waited}");
}

#[test]
fn one_panic_kills_every_job() {
    let engine = Engine::new();
    engine.register_function(FunctionSpec {
        name: "explode",
        family: "test",
        signature: "explode(n)",
        doc: "panics",
        example: ("explode(1)", "1"),
        arity: Arity::Exact(vec![DataType::BigInt]),
        returns: ReturnType::Fixed(DataType::BigInt),
        strict: true,
        volatility: Volatility::Context,
        eval: Box::new(|_, _| panic!("exploded")),
    });
    engine.register_source("src", numbers(10)).unwrap();
    let (sender, source) = MemorySource::channel(Schema::of([("n", DataType::BigInt)]), 10);
    engine.register_source("other", source).unwrap();
    let mut good = engine.sql("SELECT n FROM other").unwrap().start().unwrap();
    let error = within(60, "a job that panics", {
        let bad = engine.sql("SELECT explode(n) AS x FROM src").unwrap().start().unwrap();
        move || bad.wait()
    });
    assert!(error.unwrap_err().to_string().contains("exploded"));
    sender.send_values([7i64.into()]).unwrap();
    drop(sender);
    assert_eq!(good.rows().map(|r| line(&r)).collect::<Vec<_>>(), ["7"]);
    good.wait().unwrap();
    // And an operator outside of expressions: the job ends by its name, the next one runs.
    assert_eq!(rows(&engine, "SELECT n FROM src WHERE n < 2").unwrap(), ["0", "1"]);
}
