//! Source and sink over the client: the contract of the doors, positions, ends, retention, keys.

use std::sync::Arc;
use std::time::Duration;

use super::{Case, Cluster, Sample, Verdict, case, case_if, ensure, equal, produce, read_topic, values};
use crate::catalog::{ColumnDef, Options};
use crate::connector::kafka::outbox::alone;
use crate::connector::kafka::{sink_by, source_by};
use crate::connector::registry::{SinkRequest, SourceRequest};
use crate::io::contract::{Item, Limits, SinkUnderTest, check_reader, check_writer, read_all, read_batch};
use crate::io::{
    DataReader, DataSink, DataSource, DataWriter, IoErrorKind, Read, Scan, SinkStart, SystemColumns,
};
use crate::record::{BatchBuilder, Clock, DataType, FieldValue, Schema, StreamRecord};

pub(super) const CASES: &[Case] = &[
    case("a bounded source keeps the contract of readers", contract_of_readers),
    case("a sink keeps the contract of writers", contract_of_writers),
    case("what can't be decoded is rejected with its place, and its neighbours are given", rejects),
    case("a source that has no end goes on from its position", goes_on),
    case("a source that stops at the latest offset gives what was there when it began", stops),
    case("a position that retention has passed is an error, or a jump on request", retention),
    case("a topic that was made anew is an error", made_anew),
    case("a group goes on where it committed", group),
    case("starting at the latest offset skips what is there", latest),
    case("keys choose partitions as in the Java client", partitions),
    case("key columns are read back from keys", key_columns),
    case("a topic that is missing is named with its neighbour", missing),
    case_if(
        "in a transaction, a record too large for its topic is refused by itself; many small ones are none",
        |c| c.transactions,
        too_large,
    ),
];

fn schema() -> Arc<Schema> {
    Schema::of([("n", DataType::BigInt), ("s", DataType::Varchar)])
}

fn options(cluster: &dyn Cluster, topic: &str, more: &[(&str, &str)]) -> Options {
    let mut options = Options::new([("topic", topic), ("format", "json"), ("timeout", "20s")]);
    options.set("bootstrap_servers", cluster.servers());
    for (name, value) in more {
        options.set(*name, *value);
    }
    options
}

fn open_source(
    cluster: &dyn Cluster,
    topic: &str,
    more: &[(&str, &str)],
) -> Result<Arc<dyn DataSource>, String> {
    let columns: Vec<ColumnDef> = schema()
        .fields()
        .iter()
        .map(|f| ColumnDef { name: f.name.clone(), data_type: f.data_type.clone(), not_null: false })
        .collect();
    let options = options(cluster, topic, more);
    let request = SourceRequest { name: "t", columns: &columns, options: &options, clock: &Clock::System };
    source_by(cluster.client(), &request).map_err(|e| e.to_string())
}

fn open_sink(cluster: &dyn Cluster, topic: &str, more: &[(&str, &str)]) -> Result<Arc<dyn DataSink>, String> {
    let options = options(cluster, topic, more);
    let request = SinkRequest { name: "t", options: &options, sets: &[] };
    sink_by(cluster.client(), &request).map_err(|e| e.to_string())
}

fn scan() -> Scan {
    Scan { schema: schema(), system: SystemColumns::default(), clock: None, kept: false }
}

fn reader(cluster: &dyn Cluster, topic: &str, more: &[(&str, &str)]) -> Result<Box<dyn DataReader>, String> {
    open_source(cluster, topic, more)?.open(&scan()).map_err(|e| e.to_string())
}

fn json(range: std::ops::Range<i64>, partition: i32) -> Vec<Sample> {
    range.map(|i| Sample::of(partition, format!("{{\"n\":{i},\"s\":\"v{i}\"}}"))).collect()
}

fn record(n: i64, s: &str) -> Arc<StreamRecord> {
    Arc::new(StreamRecord::with_values(schema(), [n.into(), s.into()]))
}

/// The numbers of records, and `-1 - offset` for rejects.
fn numbers(items: &[Item]) -> Vec<i64> {
    items
        .iter()
        .map(|item| match item {
            Item::Record(r) => r.values().first().and_then(FieldValue::as_i64).unwrap_or(i64::MIN),
            Item::Reject(r) => -1 - r.offset,
        })
        .collect()
}

const TO_LATEST: (&str, &str) = ("stop", "latest");

fn contract_of_readers(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let mut sent = json(0..3, 0);
    sent.push(Sample::of(0, "{\"n\":"));
    sent.extend(json(3..5, 0));
    produce(cluster, &topic, &sent)?;
    let source = open_source(cluster, &topic, &[TO_LATEST])?;
    let mut failure = None;
    let verdict = check_reader(&mut || match source.open(&scan()) {
        Ok(reader) => reader,
        Err(e) => {
            failure.get_or_insert(e.to_string());
            Box::new(Nothing)
        }
    });
    match failure {
        Some(e) => Err(format!("open: {e}")),
        None => verdict,
    }
}

/// In place of a reader that could not be opened.
struct Nothing;

impl DataReader for Nothing {
    fn schema(&self) -> Arc<Schema> {
        schema()
    }
    fn read(&mut self, _out: &mut BatchBuilder) -> Result<Read, crate::io::IoError> {
        Ok(Read::End)
    }
}

fn contract_of_writers(cluster: &dyn Cluster) -> Verdict {
    let topic = std::cell::RefCell::new(String::new());
    let records: Vec<_> = (0..9).map(|i| record(i, "täxt\n")).collect();
    let mut sink = SinkUnderTest {
        schema: schema(),
        open: Box::new(|start: &SinkStart| {
            let wrong = crate::io::IoError::config;
            if *start == SinkStart::Fresh {
                *topic.borrow_mut() = cluster.topic(1, &[]).map_err(wrong)?;
            }
            open_sink(cluster, &topic.borrow(), &[]).map_err(wrong)?.open(schema(), start)
        }),
        content: Box::new(|| match read_topic(cluster, &topic.borrow(), 1) {
            Ok(seen) => values(&seen, 0).join("\n").into_bytes(),
            Err(e) => e.into_bytes(),
        }),
    };
    check_writer(&mut sink, &records)?;
    let content = (sink.content)();
    // The last check writes nothing.
    equal("content of an empty topic", &content, &Vec::new())
}

fn rejects(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let texts =
        ["{\"n\":1}", "", "{\"n\":2}\n{\"n\":3}", "\u{feff}", "[1]", " {\"n\":\n4}\n", "{\"n\":\"x\"}"];
    let sent: Vec<Sample> = texts.iter().map(|t| Sample::of(0, *t)).collect();
    produce(cluster, &topic, &sent)?;
    let mut reader = reader(cluster, &topic, &[TO_LATEST])?;
    let items = read_all(reader.as_mut(), Limits::default())?;
    // An empty value is a tombstone to a client that can't tell it from NULL.
    let empty = if cluster.client().caps().nulls { -2 } else { i64::MIN };
    equal("records and rejects", &numbers(&items), &vec![1, empty, -3, -4, -5, 4, -7])
}

fn goes_on(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(3, &[])?;
    let sent: Vec<Sample> =
        (0..3).flat_map(|p| json(i64::from(p) * 100..i64::from(p) * 100 + 20, p)).collect();
    produce(cluster, &topic, &sent)?;
    let mut given = Vec::new();
    let mut first = reader(cluster, &topic, &[])?;
    while given.len() < 25 {
        given.extend(read(first.as_mut(), 7, &given)?);
    }
    let position = first.position();
    drop(first);
    let mut second = reader(cluster, &topic, &[])?;
    second.seek(&position).map_err(|e| e.to_string())?;
    while given.len() < 60 {
        given.extend(read(second.as_mut(), 7, &given)?);
    }
    for p in 0..3 {
        let of: Vec<i64> = given.iter().copied().filter(|n| n / 100 == p).collect();
        equal("numbers", &of, &(p * 100..p * 100 + 20).collect())?;
    }
    Ok(())
}

/// Reads until something comes.
fn read(reader: &mut dyn DataReader, rows: usize, so_far: &[i64]) -> Result<Vec<i64>, String> {
    let from = Clock::System.monotonic();
    while Clock::System.monotonic() - from < super::PATIENCE {
        let mut out = BatchBuilder::new(schema());
        out.set_limits(rows, 1 << 20);
        out.set_max_wait(Duration::from_millis(50));
        match reader.read(&mut out) {
            Ok(Read::End) if out.is_empty() => return Err("the end of a source without end".into()),
            Ok(_) => {}
            Err(e) if e.is_transient() => {}
            Err(e) => return Err(e.to_string()),
        }
        let items = crate::io::contract::items(&mut out);
        if !items.is_empty() {
            return Ok(numbers(&items));
        }
    }
    Err(format!("nothing came after {} records", so_far.len()))
}

fn stops(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    produce(cluster, &topic, &json(0..10, 1))?;
    let mut reader = reader(cluster, &topic, &[TO_LATEST])?;
    produce(cluster, &topic, &[json(10..15, 1), json(20..25, 0)].concat())?;
    let items = read_all(reader.as_mut(), Limits::default())?;
    equal("numbers", &numbers(&items), &(0..10).collect())?;
    // What came since is for the next run.
    let position = reader.position();
    drop(reader);
    let mut next = self::reader(cluster, &topic, &[TO_LATEST])?;
    next.seek(&position).map_err(|e| e.to_string())?;
    let mut rest = numbers(&read_all(next.as_mut(), Limits::default())?);
    rest.sort_unstable();
    equal("numbers of the next run", &rest, &(10..15).chain(20..25).collect())
}

fn retention(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    produce(cluster, &topic, &json(0..10, 0))?;
    let mut early = reader(cluster, &topic, &[TO_LATEST])?;
    let position = {
        let (_, items) =
            read_batch(early.as_mut(), Limits { rows: 2, bytes: 1 << 20 }).map_err(|e| e.to_string())?;
        ensure(items.len() <= 2, || format!("{} items in a batch of 2", items.len()))?;
        early.position()
    };
    drop(early);
    cluster.delete_before(&topic, 0, 6)?;
    let mut strict = reader(cluster, &topic, &[TO_LATEST])?;
    strict.seek(&position).map_err(|e| e.to_string())?;
    match read_all(strict.as_mut(), Limits::default()) {
        Err(e) if e.contains("keeps offsets from 6 on") && e.contains("out_of_range = 'earliest'") => {}
        other => return Err(format!("not an error that tells of the loss: {other:?}")),
    }
    let mut lenient = reader(cluster, &topic, &[TO_LATEST, ("out_of_range", "earliest")])?;
    lenient.seek(&position).map_err(|e| e.to_string())?;
    equal("numbers", &numbers(&read_all(lenient.as_mut(), Limits::default())?), &(6..10).collect())
}

fn made_anew(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    produce(cluster, &topic, &json(0..3, 0))?;
    let part = crate::connector::kafka::client::Part { topic: topic.as_str().into(), partition: 0 };
    let position = crate::connector::kafka::position::encode(&[(part, 50)]);
    let mut reader = reader(cluster, &topic, &[TO_LATEST])?;
    reader.seek(&position).map_err(|e| e.to_string())?;
    match read_all(reader.as_mut(), Limits::default()) {
        Err(e) if e.contains("truncated or made anew") => Ok(()),
        other => Err(format!("not an error that tells of it: {other:?}")),
    }
}

fn group(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    produce(cluster, &topic, &[json(0..6, 0), json(10..12, 1)].concat())?;
    let id = format!("readers-of-{topic}");
    let options = [("group_id", id.as_str())];
    let mut first = reader(cluster, &topic, &options)?;
    let mut given = Vec::new();
    while given.len() < 8 {
        given.extend(read(first.as_mut(), 100, &given)?);
    }
    first.commit(&first.position()).map_err(|e| e.to_string())?;
    drop(first);
    produce(cluster, &topic, &json(6..8, 0))?;
    let mut second = reader(cluster, &topic, &[("group_id", id.as_str()), TO_LATEST])?;
    equal("numbers", &numbers(&read_all(second.as_mut(), Limits::default())?), &vec![6, 7])
}

fn latest(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    produce(cluster, &topic, &json(0..4, 0))?;
    let mut reader = reader(cluster, &topic, &[("start", "latest")])?;
    produce(cluster, &topic, &json(4..6, 0))?;
    let mut given = Vec::new();
    while given.len() < 2 {
        given.extend(read(reader.as_mut(), 100, &given)?);
    }
    equal("numbers", &given, &vec![4, 5])
}

fn partitions(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(7, &[])?;
    let sink = open_sink(cluster, &topic, &[("key_columns", "s")])?;
    let mut writer = sink.open(schema(), &SinkStart::Fresh).map_err(|e| e.to_string())?;
    // By the hashes of Apache's `UtilsTest.testMurmur2`, without the sign, modulo 7.
    let keys = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("abc", 479_470_107),
    ];
    let records: Vec<_> = keys.iter().map(|(key, _)| record(1, key)).collect();
    writer.write(&records).and_then(|()| writer.finish()).map_err(|e| e.to_string())?;
    let seen = read_topic(cluster, &topic, 7)?;
    for (key, hash) in keys {
        let found = seen.iter().find(|s| s.sample.key.as_deref() == Some(key.as_bytes())).map(|s| s.part);
        equal(key, &found, &usize::try_from((hash & 0x7fff_ffff) % 7).ok())?;
    }
    Ok(())
}

fn key_columns(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let sent = [
        Sample::of(0, "{\"n\":1,\"s\":\"ignored\"}").key("schlüssel".as_bytes()),
        Sample::of(0, "{\"n\":2}"),
        Sample::of(0, "{\"n\":3}").key(b"\xff"),
    ];
    produce(cluster, &topic, &sent)?;
    let mut reader = reader(cluster, &topic, &[TO_LATEST, ("key_columns", "s")])?;
    let items = read_all(reader.as_mut(), Limits::default())?;
    let got: Vec<_> = items
        .iter()
        .map(|item| match item {
            Item::Record(r) => r.values().to_vec(),
            Item::Reject(r) => vec![r.error.message.as_str().into()],
        })
        .collect();
    let expected = vec![
        vec![1i64.into(), "schlüssel".into()],
        vec![2i64.into(), FieldValue::Null],
        vec!["key: not valid UTF-8".into()],
    ];
    equal("rows", &got, &expected)
}

fn missing(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let mut wrong = topic.clone();
    wrong.push('x');
    let source = open_source(cluster, &wrong, &[])?.open(&scan()).err().map(|e| e.to_string());
    let sink =
        open_sink(cluster, &wrong, &[])?.open(schema(), &SinkStart::Fresh).err().map(|e| e.to_string());
    for error in [source, sink] {
        let error = error.unwrap_or_default();
        ensure(
            error.contains(&format!("there is no topic '{wrong}'")) && error.contains("did you mean"),
            || format!("the error is: {error}"),
        )?;
    }
    Ok(())
}

/// Writes a batch as a job does: behind a record that is refused it goes on. Gives the places of those.
fn write(writer: &mut dyn DataWriter, batch: &[Arc<StreamRecord>]) -> Result<Vec<usize>, crate::io::IoError> {
    let (mut from, mut refused) = (0, Vec::new());
    while let Some(rest) = batch.get(from..).filter(|rest| !rest.is_empty()) {
        match writer.write(rest) {
            Ok(()) => break,
            Err(e) => match e.kind() {
                IoErrorKind::Rejected { at, .. } => {
                    refused.push(from + at);
                    from += at + 1;
                }
                _ if e.is_transient() => {}
                _ => return Err(e),
            },
        }
    }
    Ok(refused)
}

fn too_large(cluster: &dyn Cluster) -> Verdict {
    const LARGEST: usize = 20_000;
    let topic = cluster.topic(1, &[("max.message.bytes", &LARGEST.to_string())])?;
    let sink = open_sink(cluster, &topic, &[])?;
    let sink =
        sink.staged(&format!("job-{topic}"), None).ok_or("a client with transactions stages nothing")?;
    // To the byte: what the brokers take is not refused.
    let longest = (0..LARGEST).rev().find(|n| alone(None, Some(*n), std::iter::empty()) <= LARGEST);
    let around = "{\"n\":100000,\"s\":\"\"}".len();
    let text = |more: usize| "x".repeat(longest.unwrap_or_default() - around + more);
    let mut batch: Vec<_> =
        (100_000..101_000).map(|n| record(n, "a small record like many others")).collect();
    batch.extend([record(200_000, &text(0)), record(200_001, &text(1)), record(200_002, "behind it")]);
    let said = |e: crate::io::IoError| e.to_string();
    let mut leader = sink.lead().map_err(said)?;
    sink.follow(&*leader).map_err(said)?;
    leader.take_over(&[]).map_err(said)?;
    let mut writer = sink.open(schema(), &SinkStart::Fresh).map_err(said)?;
    writer.begin(1).map_err(said)?;
    let refused = write(writer.as_mut(), &batch).map_err(said)?;
    equal("refused records", &refused, &vec![1001])?;
    writer.prepare(1).map_err(said)?;
    // Behind a barrier they wait for the commit, and are refused at once nevertheless.
    equal("refused behind it", &write(writer.as_mut(), &batch[1000..]).map_err(said)?, &vec![1])?;
    leader.commit(1, &[]).map_err(said)?;
    writer.commit(1).map_err(said)?;
    writer.prepare(2).map_err(said)?;
    leader.commit(2, &[]).map_err(said)?;
    drop(writer);
    drop(leader);
    let seen = values(&read_topic(cluster, &topic, 1)?, 0);
    let lengths: Vec<usize> = seen.iter().skip(1000).map(String::len).collect();
    let small = "{\"n\":200002,\"s\":\"behind it\"}".len();
    equal("messages", &seen.len(), &1004)?;
    equal("lengths of the last ones", &lengths, &[longest.unwrap_or_default(), small].repeat(2))
}
