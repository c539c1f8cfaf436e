//! The conformance suite: what every client must do behind the seam, written once and run over the simulator and real brokers.
//!
//! A case gives `Err` with a sentence about the first violation. Each makes topics of its own, so cases can run in any order
//! and against brokers that hold other things.

mod connector;
mod consume;
mod member;
mod produce;
mod transact;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::{
    Caps, Connection, Event, Fetch, KafkaClient, KafkaError, KafkaSink, KafkaSource, Part, SinkSettings,
    SourceSettings,
};
use super::outbox::Outbox;
use crate::record::Clock;

/// How a case ends: `Err` says what is wrong.
pub type Verdict = Result<(), String>;

/// Brokers and the client under test.
pub trait Cluster {
    /// The client.
    fn client(&self) -> Arc<dyn KafkaClient>;
    /// `bootstrap_servers`.
    fn servers(&self) -> String;
    /// Makes a topic with a name of its own and with these settings of the broker's.
    ///
    /// # Errors
    /// It can't be made.
    fn topic(&self, partitions: usize, settings: &[(&str, &str)]) -> Result<String, String>;
    /// Deletes what is before an offset, as retention does.
    ///
    /// # Errors
    /// It can't be done.
    fn delete_before(&self, topic: &str, partition: i32, offset: i64) -> Verdict;
    /// Sees to it that transactions which last too long are noticed soon; brokers look for themselves.
    fn outlast_transactions(&self) {}
    /// Takes the static member of that name out of a group, as for its silence; it does not know.
    ///
    /// # Errors
    /// It can't be done.
    fn expel(&self, group: &str, static_id: &str) -> Verdict {
        Err(format!("{static_id} can't be taken out of {group} here"))
    }
    /// Longer than a member may be silent that must poll every six seconds.
    fn silence(&self) -> Duration {
        Duration::from_secs(9)
    }
}

/// One case.
pub struct Case {
    /// What holds.
    pub name: &'static str,
    /// Whether a client can be asked for it.
    pub applies: fn(&Caps) -> bool,
    /// Finds out.
    pub run: fn(&dyn Cluster) -> Verdict,
}

const fn always(_: &Caps) -> bool {
    true
}

const fn case(name: &'static str, run: fn(&dyn Cluster) -> Verdict) -> Case {
    Case { name, applies: always, run }
}

const fn case_if(name: &'static str, applies: fn(&Caps) -> bool, run: fn(&dyn Cluster) -> Verdict) -> Case {
    Case { name, applies, run }
}

/// All cases.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    produce::CASES.iter().chain(consume::CASES).chain(transact::CASES).chain(connector::CASES)
}

/// What members of groups must do.
pub fn member_cases() -> impl Iterator<Item = &'static Case> {
    member::CASES.iter()
}

/// What [`run`] found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Cases that held.
    pub passed: usize,
    /// Cases that the client can't be asked for.
    pub not_asked: usize,
    /// Name and violation of the others.
    pub failed: Vec<(&'static str, String)>,
}

/// Runs every case whose name contains `filter`; `report` hears of each.
pub fn run(cluster: &dyn Cluster, filter: &str, report: &mut dyn FnMut(&str, &str)) -> Outcome {
    run_all(cluster, cases().filter(|c| c.name.contains(filter)), report)
}

/// Runs these cases; `report` hears of each.
pub fn run_all(
    cluster: &dyn Cluster,
    cases: impl Iterator<Item = &'static Case>,
    report: &mut dyn FnMut(&str, &str),
) -> Outcome {
    let caps = cluster.client().caps();
    let mut outcome = Outcome::default();
    for case in cases {
        if !(case.applies)(&caps) {
            outcome.not_asked += 1;
            report(case.name, "not asked: the client can't");
            continue;
        }
        match (case.run)(cluster) {
            Ok(()) => {
                outcome.passed += 1;
                report(case.name, "ok");
            }
            Err(why) => {
                report(case.name, &format!("FAILED: {why}"));
                outcome.failed.push((case.name, why));
            }
        }
    }
    outcome
}

/// A message as a case writes and expects it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sample {
    partition: i32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: Option<i64>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Sample {
    fn of(partition: i32, value: impl Into<Vec<u8>>) -> Self {
        Self { partition, value: Some(value.into()), ..Self::default() }
    }
    fn key(self, key: &[u8]) -> Self {
        Self { key: Some(key.to_vec()), ..self }
    }
}

/// A message that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    part: usize,
    offset: i64,
    sample: Sample,
}

/// How long a case waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(30);

fn connection(cluster: &dyn Cluster) -> Connection {
    Connection { servers: cluster.servers(), timeout: Duration::from_secs(20), native: Vec::new() }
}

fn source_settings(cluster: &dyn Cluster) -> SourceSettings {
    let caps = cluster.client().caps();
    SourceSettings {
        connection: connection(cluster),
        group: None,
        read_committed: caps.read_committed,
        headers: caps.headers,
        prefetch_bytes: 4 << 20,
        accept_gaps: false,
        fetch: Fetch::Auto,
    }
}

fn sink_settings(cluster: &dyn Cluster) -> SinkSettings {
    SinkSettings {
        connection: connection(cluster),
        compression: "none".into(),
        acks_all: true,
        linger: Duration::from_millis(1),
        delivery_timeout: Duration::from_secs(20),
        batch_bytes: None,
        transactional_id: None,
        transaction_timeout: Duration::from_secs(60),
    }
}

fn told(e: KafkaError) -> String {
    format!("{:?}: {e}", e.kind)
}

fn source(cluster: &dyn Cluster) -> Result<Box<dyn KafkaSource>, String> {
    cluster.client().source(&source_settings(cluster)).map_err(told)
}

fn sink(cluster: &dyn Cluster) -> Result<Box<dyn KafkaSink>, String> {
    cluster.client().sink(&sink_settings(cluster)).map_err(told)
}

fn parts(topic: &str, partitions: i32) -> Vec<Part> {
    (0..partitions).map(|partition| Part { topic: topic.into(), partition }).collect()
}

fn outbox(samples: &[Sample]) -> Outbox {
    let mut outbox = Outbox::default();
    for s in samples {
        let headers: Vec<(&str, Option<&[u8]>)> =
            s.headers.iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect();
        outbox.push(s.partition, s.key.as_deref(), s.value.as_deref(), s.timestamp, &headers);
    }
    outbox
}

/// Hands over all messages, waiting while the queue is full.
fn send_all(sink: &mut dyn KafkaSink, topic: &str, outbox: &Outbox) -> Verdict {
    let (topic, from) = (Arc::<str>::from(topic), Clock::System.monotonic());
    let mut sent = 0;
    while sent < outbox.len() {
        let now = sink.send(&topic, outbox, sent).map_err(told)?;
        sent += now.accepted;
        if let Some(e) = now.stopped {
            if e.kind != super::client::KafkaErrorKind::Retriable {
                return Err(format!("message {sent}: {e}"));
            }
            if Clock::System.monotonic() - from > PATIENCE {
                return Err(format!("the queue took {sent} messages and then no more: {e}"));
            }
        }
    }
    Ok(())
}

/// Writes messages and waits for their acknowledgements.
fn produce(cluster: &dyn Cluster, topic: &str, samples: &[Sample]) -> Verdict {
    let mut sink = sink(cluster)?;
    send_all(sink.as_mut(), topic, &outbox(samples))?;
    sink.flush(PATIENCE).map_err(told)?;
    let counts = sink.counts();
    let failed = sink.take_failed();
    sink.close(PATIENCE);
    equal("acknowledged messages", &(counts.acked, failed.len()), &(samples.len() as u64, 0))
}

/// Polls until `done` says so of what was seen, or patience is over.
fn poll_until(
    source: &mut dyn KafkaSource,
    seen: &mut Vec<Seen>,
    ends: &mut Vec<i64>,
    mut done: impl FnMut(&[Seen], &[i64]) -> bool,
) -> Verdict {
    let from = Clock::System.monotonic();
    while !done(seen, ends) {
        if Clock::System.monotonic() - from > PATIENCE {
            return Err(format!("after {PATIENCE:?} only {} messages came, ends {ends:?}", seen.len()));
        }
        let polled = source.poll(Duration::from_millis(100), &mut |event| {
            take(event, seen, ends);
            ControlFlow::Continue(())
        });
        match polled {
            Err(e) if e.kind != super::client::KafkaErrorKind::Retriable => return Err(told(e)),
            _ => {}
        }
    }
    Ok(())
}

fn take(event: Event<'_>, seen: &mut Vec<Seen>, ends: &mut [i64]) {
    match event {
        Event::Message(m) => {
            let mut headers = Vec::new();
            if let Some(list) = m.headers {
                // A list that breaks off shows as headers that are missing.
                let _ =
                    list.each(&mut |name, value| headers.push((name.to_owned(), value.map(<[u8]>::to_vec))));
            }
            let sample = Sample {
                partition: 0,
                key: m.key.map(<[u8]>::to_vec),
                value: m.value.map(<[u8]>::to_vec),
                timestamp: m.timestamp,
                headers,
            };
            seen.push(Seen { part: m.part, offset: m.offset, sample });
        }
        Event::Reached { part, next } => {
            if let Some(end) = ends.get_mut(part) {
                *end = next;
            }
        }
    }
}

/// Reads `n` messages of partitions from these offsets on.
fn read_from(cluster: &dyn Cluster, from: &[(Part, i64)], n: usize) -> Result<Vec<Seen>, String> {
    let mut source = source(cluster)?;
    source.start(from).map_err(told)?;
    let (mut seen, mut ends) = (Vec::new(), vec![-1; from.len()]);
    poll_until(source.as_mut(), &mut seen, &mut ends, |seen, _| seen.len() >= n)?;
    source.close(PATIENCE);
    Ok(seen)
}

/// Reads everything of a topic, each partition from its beginning.
fn read_topic(cluster: &dyn Cluster, topic: &str, partitions: i32) -> Result<Vec<Seen>, String> {
    let mut source = source(cluster)?;
    let parts = parts(topic, partitions);
    let bounds = source.bounds(&parts).map_err(told)?;
    let from: Vec<(Part, i64)> = parts.into_iter().zip(bounds.iter().map(|b| b.first)).collect();
    source.start(&from).map_err(told)?;
    let (mut seen, mut ends) = (Vec::new(), vec![-1; from.len()]);
    poll_until(source.as_mut(), &mut seen, &mut ends, |_, ends| {
        ends.iter().zip(&bounds).all(|(end, b)| *end >= b.end)
    })?;
    source.close(PATIENCE);
    Ok(seen)
}

/// The values of one partition in order.
fn values(seen: &[Seen], part: usize) -> Vec<String> {
    let text = |s: &Seen| String::from_utf8_lossy(s.sample.value.as_deref().unwrap_or(b"NULL")).into_owned();
    seen.iter().filter(|s| s.part == part).map(text).collect()
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, expected: &T) -> Verdict {
    match got == expected {
        true => Ok(()),
        false => Err(format!("{what}: {got:?} instead of {expected:?}")),
    }
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}

/// How long `work` took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let from: Instant = Clock::System.instant();
    let done = work();
    (done, Clock::System.instant() - from)
}
