//! What is read through librdkafka, against the broker that the library keeps in memory for tests.
//!
//! `tests/kafka/sanitize.sh` runs this under AddressSanitizer: what is unsafe in `fetched` is used in every way here.

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};

use super::{Library, NativeSource, Way};
use crate::connector::kafka::client::{
    Connection, Event, Fetch, KafkaError, KafkaErrorKind, KafkaSource, Part, SourceSettings,
};
use crate::connector::kafka::native::library::TopicConsumer;

pub(in crate::connector::kafka::native) const PATIENCE: Duration = Duration::from_secs(20);

/// Brokers in memory.
pub(in crate::connector::kafka::native) struct Broker {
    pub(in crate::connector::kafka::native) cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
}

impl Broker {
    pub(in crate::connector::kafka::native) fn new(topics: &[(&str, i32)]) -> Self {
        Self::with(1, topics, &[])
    }

    /// So many brokers, and a producer with these settings.
    pub(in crate::connector::kafka::native) fn with(
        brokers: i32,
        topics: &[(&str, i32)],
        settings: &[(&str, &str)],
    ) -> Self {
        let cluster = MockCluster::new(brokers).unwrap();
        for (topic, partitions) in topics {
            cluster.create_topic(topic, *partitions, 1).unwrap();
        }
        let servers = cluster.bootstrap_servers();
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &servers)
            .set("queue.buffering.max.ms", "1")
            .set("batch.num.messages", "100");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        Self { cluster, producer: config.create().unwrap() }
    }

    pub(in crate::connector::kafka::native) fn send(&self, record: BaseRecord<'_, [u8], [u8]>) {
        self.producer.send(record).unwrap();
    }

    /// Sends messages whose values are these numbers.
    pub(in crate::connector::kafka::native) fn count(
        &self,
        topic: &str,
        partition: i32,
        numbers: std::ops::Range<usize>,
    ) {
        for n in numbers {
            self.send(BaseRecord::to(topic).partition(partition).payload(n.to_string().as_bytes()));
        }
        self.flush();
    }

    pub(in crate::connector::kafka::native) fn flush(&self) {
        self.producer.flush(PATIENCE).unwrap();
    }

    pub(in crate::connector::kafka::native) fn settings(&self, fetch: Fetch) -> SourceSettings {
        SourceSettings {
            connection: Connection {
                servers: self.cluster.bootstrap_servers(),
                timeout: PATIENCE,
                native: vec![("fetch.wait.max.ms".to_owned(), "5".to_owned())],
            },
            group: None,
            read_committed: false,
            headers: true,
            prefetch_bytes: 64 << 10,
            accept_gaps: false,
            fetch,
        }
    }

    pub(in crate::connector::kafka::native) fn source(
        &self,
        fetch: Fetch,
        from: &[(Part, i64)],
    ) -> NativeSource {
        let mut source = NativeSource::connect(&self.settings(fetch)).unwrap();
        source.start(from).unwrap();
        assert_eq!(matches!(source.way, Way::Direct(_)), fetch != Fetch::Library);
        source
    }
}

pub(in crate::connector::kafka::native) fn part(topic: &str, partition: i32) -> Part {
    Part { topic: topic.into(), partition }
}

/// What has come of each partition, in order.
#[derive(Default)]
pub(in crate::connector::kafka::native) struct Seen {
    offsets: Vec<Vec<i64>>,
    reached: Vec<Option<i64>>,
}

impl Seen {
    pub(in crate::connector::kafka::native) fn take(&mut self, event: &Event<'_>) {
        let at = match event {
            Event::Message(m) => m.part,
            Event::Reached { part, .. } => *part,
        };
        let n = self.offsets.len().max(at + 1);
        self.offsets.resize(n, Vec::new());
        self.reached.resize(n, None);
        match event {
            Event::Message(m) => {
                assert_eq!(m.value, Some(m.offset.to_string().as_bytes()), "partition {at}");
                self.offsets[at].push(m.offset);
            }
            Event::Reached { next, .. } => self.reached[at] = Some(*next),
        }
    }

    pub(in crate::connector::kafka::native) fn of(&self, part: usize) -> &[i64] {
        self.offsets.get(part).map_or(&[], Vec::as_slice)
    }

    pub(in crate::connector::kafka::native) fn end(&self, part: usize) -> Option<i64> {
        self.reached.get(part).copied().flatten()
    }
}

/// A test of what holds whoever fetches.
macro_rules! both_ways {
    ($name:ident) => {
        mod $name {
            use super::Fetch;

            #[test]
            fn direct() {
                super::$name(Fetch::Direct);
            }
            #[test]
            fn by_the_library() {
                super::$name(Fetch::Library);
            }
        }
    };
}
pub(in crate::connector::kafka::native) use both_ways;

fn library(source: &mut NativeSource) -> &mut Library {
    match &mut source.way {
        Way::Library(library) => library,
        _ => panic!("the library does not fetch"),
    }
}

/// Polls until `done` says so, which breaks off at once.
pub(in crate::connector::kafka::native) fn until(
    source: &mut NativeSource,
    mut done: impl FnMut(Event<'_>) -> bool,
) {
    let from = Instant::now();
    let mut over = false;
    while !over {
        source
            .poll(Duration::from_millis(100), &mut |event| {
                over = done(event);
                if over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        assert!(over || from.elapsed() < PATIENCE, "nothing comes any more");
    }
}

/// Waits until that much of a partition lies in the library's queue.
fn fetched(source: &mut NativeSource, topic: usize, partition: i32, n: usize) {
    let from = Instant::now();
    let TopicConsumer { topic, fetching, .. } = &library(source).topics[topic];
    while fetching.waiting(topic, partition) < n {
        assert!(from.elapsed() < PATIENCE, "nothing is fetched");
        std::thread::yield_now();
    }
}

pub(in crate::connector::kafka::native) fn nothing(source: &mut NativeSource) -> Result<(), KafkaError> {
    source.poll(Duration::from_millis(100), &mut |_| ControlFlow::Continue(()))
}

type Header1 = (String, Option<Vec<u8>>);
type Shown = (Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>, Vec<Header1>);

both_ways!(a_message_is_what_was_sent);
fn a_message_is_what_was_sent(fetch: Fetch) {
    let broker = Broker::new(&[("t", 1)]);
    let bytes: [Option<&[u8]>; 3] = [None, Some(b""), Some(b"\0\xff bytes")];
    let no_header: &[(&str, Option<&[u8]>)] = &[];
    let lists = [
        no_header,
        &[("one", Some(b"1"))],
        &[("twice", Some(b"a")), ("null", None), ("twice", Some(b"")), ("", Some(b"\xff\0"))],
    ];
    let mut sent: Vec<Shown> = Vec::new();
    for key in bytes {
        for value in bytes {
            for list in lists {
                let at = 1_000 + sent.len() as i64;
                let mut record = BaseRecord::<[u8], [u8]>::to("t").partition(0).timestamp(at);
                (record.key, record.payload) = (key, value);
                if !list.is_empty() {
                    let headers = list.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                        headers.insert(Header { key, value: *value })
                    });
                    record = record.headers(headers);
                }
                broker.send(record);
                let list = list.iter().map(|(n, v)| ((*n).to_owned(), v.map(<[u8]>::to_vec))).collect();
                sent.push((key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec), Some(at), list));
            }
        }
    }
    broker.flush();
    let mut source = broker.source(fetch, &[(part("t", 0), 0)]);
    let mut seen: Vec<Shown> = Vec::new();
    until(&mut source, |event| {
        let Event::Message(m) = event else { return false };
        assert_eq!((m.part, m.offset), (0, seen.len() as i64));
        let mut list = Vec::new();
        if let Some(headers) = m.headers {
            headers.each(&mut |name, value| list.push((name.to_owned(), value.map(<[u8]>::to_vec)))).unwrap();
        }
        seen.push((m.key.map(<[u8]>::to_vec), m.value.map(<[u8]>::to_vec), m.timestamp, list));
        seen.len() == sent.len()
    });
    assert_eq!(seen, sent);
}

both_ways!(every_message_of_several_partitions_comes_once_and_in_order);
fn every_message_of_several_partitions_comes_once_and_in_order(fetch: Fetch) {
    const N: usize = 3_000;
    let broker = Broker::new(&[("a", 3), ("b", 1)]);
    let parts = [part("a", 0), part("b", 0), part("a", 2), part("a", 1)];
    for p in &parts {
        broker.count(&p.topic, p.partition, 0..N);
    }
    let mut source = broker.source(fetch, &parts.clone().map(|p| (p, 0)));
    let mut seen = Seen::default();
    until(&mut source, |event| {
        seen.take(&event);
        (0..4).all(|p| seen.end(p) == Some(N as i64))
    });
    for (p, part) in parts.iter().enumerate() {
        assert_eq!(seen.of(p), (0..N as i64).collect::<Vec<_>>(), "{part}");
    }
}

#[test]
fn what_comes_before_the_first_poll_is_not_lost() {
    let broker = Broker::new(&[("t", 1)]);
    broker.count("t", 0, 0..10);
    let mut source = broker.source(Fetch::Library, &[(part("t", 0), 0)]);
    // Ten messages and the end.
    fetched(&mut source, 0, 0, 11);
    let mut seen = Seen::default();
    until(&mut source, |event| {
        seen.take(&event);
        seen.end(0) == Some(10)
    });
    assert_eq!(seen.of(0), (0..10).collect::<Vec<_>>());
}

#[test]
fn what_comes_aside_is_fetched_again() {
    let broker = Broker::new(&[("t", 1)]);
    broker.count("t", 0, 0..10);
    let mut source = broker.source(Fetch::Library, &[(part("t", 0), 0)]);
    let mut seen = Seen::default();
    until(&mut source, |event| {
        seen.take(&event);
        seen.end(0) == Some(10)
    });
    for (from, to) in [(10, 20), (20, 30)] {
        library(&mut source).topics[0].fetching.mislead("t", 0);
        broker.count("t", 0, from..to);
        // Messages and the end, or the end alone.
        fetched(&mut source, 0, 0, 11);
        until(&mut source, |event| {
            seen.take(&event);
            seen.end(0) == Some(to as i64)
        });
    }
    assert_eq!(seen.of(0), (0..30).collect::<Vec<_>>());
}

both_ways!(after_a_jump_every_message_comes_once_from_there);
fn after_a_jump_every_message_comes_once_from_there(fetch: Fetch) {
    const N: i64 = 2_000;
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
    println!("seed {seed}");
    let mut random = seed;
    let mut below = |n: i64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % n as u64) as i64
    };
    let broker = Broker::new(&[("t", 2)]);
    (0..2).for_each(|p| broker.count("t", p, 0..N as usize));
    let mut source = broker.source(fetch, &[(part("t", 0), 0), (part("t", 1), 0)]);
    let mut next = [0, 0];
    for _ in 0..30 {
        // Several at once, as a job makes whose partitions have come apart.
        for _ in 0..=below(3) {
            let (p, to) = (below(2) as usize, below(N));
            next[p] = to;
            match below(2) {
                0 => source.seek(p, to).unwrap(),
                _ => {
                    source.pause(p).unwrap();
                    source.resume(p, to).unwrap();
                }
            }
        }
        // Enough of one, so that much of the other is taken and not given.
        let (p, mut left) = (below(2) as usize, 1 + below(300));
        if next[p] == N {
            // Its end was told, and is told once.
            continue;
        }
        until(&mut source, |event| match event {
            Event::Message(m) => {
                assert_eq!((m.part, m.offset), (m.part, next[m.part]));
                next[m.part] += 1;
                left -= i64::from(m.part == p);
                left <= 0
            }
            Event::Reached { part, next: end } => {
                assert_eq!((part, end, next[part]), (part, N, N));
                left = if part == p { 0 } else { left };
                left <= 0
            }
        });
    }
}

both_ways!(many_jumps_in_a_row_end_at_the_last);
fn many_jumps_in_a_row_end_at_the_last(fetch: Fetch) {
    let broker = Broker::new(&[("t", 2)]);
    (0..2).for_each(|p| broker.count("t", p, 0..100));
    let mut source = broker.source(fetch, &[(part("t", 0), 0), (part("t", 1), 0)]);
    (0..300).for_each(|n| source.seek(n % 2, n as i64 % 100).unwrap());
    let mut seen = Seen::default();
    until(&mut source, |event| {
        seen.take(&event);
        (0..2).all(|p| seen.end(p) == Some(100))
    });
    assert_eq!((seen.of(0), seen.of(1)), (&[98, 99][..], &[99][..]));
}

both_ways!(nothing_comes_of_a_paused_partition_and_all_of_it_afterwards);
fn nothing_comes_of_a_paused_partition_and_all_of_it_afterwards(fetch: Fetch) {
    const N: i64 = 1_000;
    let broker = Broker::new(&[("t", 2)]);
    (0..2).for_each(|p| broker.count("t", p, 0..N as usize));
    let mut source = broker.source(fetch, &[(part("t", 0), 0), (part("t", 1), 0)]);
    let mut next = 0;
    until(&mut source, |event| {
        let Event::Message(m) = event else { return false };
        next = if m.part == 0 { m.offset + 1 } else { next };
        next == 100
    });
    source.pause(0).unwrap();
    until(&mut source, |event| match event {
        Event::Message(m) => {
            assert_eq!(m.part, 1, "offset {}", m.offset);
            false
        }
        Event::Reached { part, next } => {
            assert_eq!((part, next), (1, N));
            true
        }
    });
    source.resume(0, next).unwrap();
    until(&mut source, |event| match event {
        Event::Message(m) => {
            assert_eq!((m.part, m.offset), (0, next));
            next += 1;
            false
        }
        Event::Reached { part, next: end } => {
            assert_eq!(end, N);
            part == 0
        }
    });
    assert_eq!(next, N);
}

#[test]
fn the_end_is_told_where_it_was_when_more_has_come_since() {
    let broker = Broker::new(&[("t", 1)]);
    broker.count("t", 0, 0..10);
    let mut source = broker.source(Fetch::Library, &[(part("t", 0), 0)]);
    let mut seen = Seen::default();
    until(&mut source, |event| {
        seen.take(&event);
        seen.of(0).len() == 10
    });
    // The library's word of the end is taken, and not given.
    let fetching = &mut library(&mut source).topics[0].fetching;
    let from = Instant::now();
    while fetching.is_empty() && !fetching.fill(Duration::from_millis(100)) {
        assert!(from.elapsed() < PATIENCE, "the end does not come");
    }
    broker.count("t", 0, 10..15);
    assert_eq!(source.bounds(&[part("t", 0)]).unwrap()[0].end, 15);
    until(&mut source, |event| {
        seen.take(&event);
        let end = seen.end(0);
        assert!(end.is_none_or(|end| end <= seen.of(0).len() as i64), "{end:?} after {:?}", seen.of(0));
        end == Some(15)
    });
    assert_eq!(seen.of(0), (0..15).collect::<Vec<_>>());
}

both_ways!(an_offset_that_is_not_there_is_told_and_left_by_a_jump);
fn an_offset_that_is_not_there_is_told_and_left_by_a_jump(fetch: Fetch) {
    let broker = Broker::new(&[("t", 1)]);
    broker.count("t", 0, 0..10);
    let mut source = broker.source(fetch, &[(part("t", 0), 99)]);
    let from = Instant::now();
    let error = loop {
        match nothing(&mut source) {
            Err(e) => break e,
            Ok(()) => assert!(from.elapsed() < PATIENCE, "no error comes"),
        }
    };
    assert_eq!(error.kind, KafkaErrorKind::OutOfRange(0), "{error}");
    source.seek(0, 4).unwrap();
    let mut seen = Seen::default();
    until(&mut source, |event| {
        seen.take(&event);
        seen.end(0) == Some(10)
    });
    assert_eq!(seen.of(0), (4..10).collect::<Vec<_>>());
}

both_ways!(a_taker_that_panics_loses_that_message_alone);
fn a_taker_that_panics_loses_that_message_alone(fetch: Fetch) {
    let broker = Broker::new(&[("t", 1)]);
    broker.count("t", 0, 0..600);
    let mut source = broker.source(fetch, &[(part("t", 0), 0)]);
    let mut next = 0;
    let unwound = std::panic::catch_unwind(AssertUnwindSafe(|| {
        until(&mut source, |event| {
            let Event::Message(m) = event else { return false };
            next = m.offset + 1;
            if next == 300 {
                std::panic::resume_unwind(Box::new("not today"));
            }
            false
        });
    }));
    assert!(unwound.is_err());
    until(&mut source, |event| {
        let Event::Message(m) = event else { return false };
        assert_eq!(m.offset, next);
        next += 1;
        next == 600
    });
}

#[test]
fn what_is_taken_and_not_given_goes_with_its_consumer() {
    let broker = Broker::new(&[("t", 2), ("u", 1)]);
    (0..2).for_each(|p| broker.count("t", p, 0..1_000));
    broker.count("u", 0, 0..1_000);
    let from = [(part("t", 0), 0), (part("t", 1), 0), (part("u", 0), 0)];
    let mut source = broker.source(Fetch::Library, &from);
    fetched(&mut source, 0, 0, 100);
    until(&mut source, |_| true);
    assert!(library(&mut source).topics.iter().any(|t| !t.fetching.is_empty()), "nothing else was taken");
    // Assigned anew, then dropped on another thread.
    source.start(&from).unwrap();
    fetched(&mut source, 0, 0, 100);
    until(&mut source, |event| {
        let Event::Message(m) = event else { return false };
        assert_eq!(m.offset, 0);
        true
    });
    assert!(library(&mut source).topics.iter().any(|t| !t.fetching.is_empty()), "nothing else was taken");
    std::thread::spawn(move || drop(source)).join().unwrap();
}

both_ways!(a_partition_without_a_leader_is_waited_for_and_costs_nothing);
fn a_partition_without_a_leader_is_waited_for_and_costs_nothing(fetch: Fetch) {
    let broker = Broker::new(&[("t", 2)]);
    broker.count("t", 0, 0..10);
    broker.cluster.partition_leader("t", 1, None).unwrap();
    let mut source = broker.source(fetch, &[(part("t", 0), 0), (part("t", 1), 0)]);
    until(&mut source, |event| matches!(event, Event::Reached { part: 0, .. }));
    let from = Instant::now();
    let polls =
        std::iter::from_fn(|| (from.elapsed() < Duration::from_millis(400)).then(|| nothing(&mut source)));
    assert!(polls.count() <= 10, "polls end before their time");
    broker.cluster.partition_leader("t", 1, Some(1)).unwrap();
    broker.count("t", 1, 0..10);
    let mut seen = Seen::default();
    until(&mut source, |event| {
        seen.take(&event);
        seen.end(1) == Some(10)
    });
    assert_eq!(seen.of(1), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_topic_that_never_ends_does_not_hold_up_another() {
    let broker = Broker::new(&[("a", 1), ("b", 1)]);
    ["a", "b"].iter().for_each(|t| broker.count(t, 0, 0..200));
    let mut source = broker.source(Fetch::Library, &[(part("a", 0), 0), (part("b", 0), 0)]);
    (0..2).for_each(|topic| fetched(&mut source, topic, 0, 60));
    // A small batch each.
    let mut counts = [0, 0];
    for _ in 0..4 {
        let mut left = 10;
        until(&mut source, |event| {
            let Event::Message(m) = event else { return false };
            counts[m.part] += 1;
            left -= 1;
            left == 0
        });
    }
    assert_eq!(counts, [20, 20]);
}

#[test]
fn names_that_no_broker_takes_are_led_nowhere() {
    let broker = Broker::new(&[("t", 1)]);
    let mut source = broker.source(Fetch::Library, &[(part("t", 0), 0)]);
    let fetching = &library(&mut source).topics[0].fetching;
    assert!(!fetching.lead("a\0b", 0) && fetching.lead("t", 0));
}
