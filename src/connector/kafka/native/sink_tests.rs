//! What is written through librdkafka, against the broker that the library keeps in memory for tests.
//!
//! `tests/kafka/sanitize.sh` runs this under AddressSanitizer: what is unsafe in `produced` is used in every way here.

use std::time::Instant;

use rdkafka::bindings::rd_kafka_resp_err_t as Answer;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Headers as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaApiKey::Produce;
use rdkafka::{Offset, TopicPartitionList};

use super::*;
use crate::connector::kafka::client::Connection;

const PATIENCE: Duration = Duration::from_secs(20);

type Bytes = Option<Vec<u8>>;

/// A message as it is sent, and as it is read back.
#[derive(Clone, Debug, Default, PartialEq)]
struct Letter {
    partition: i32,
    key: Bytes,
    value: Bytes,
    /// `None`: the time of sending.
    timestamp: Option<i64>,
    headers: Vec<(String, Bytes)>,
}

impl Letter {
    fn of(partition: i32, value: impl ToString) -> Self {
        Self { partition, value: Some(value.to_string().into_bytes()), ..Self::default() }
    }
    fn filled(partition: i32, size: usize) -> Self {
        Self { partition, value: Some(vec![b'x'; size]), ..Self::default() }
    }
}

fn outbox(letters: &[Letter]) -> Outbox {
    let mut outbox = Outbox::default();
    for l in letters {
        let headers: Vec<_> = l.headers.iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect();
        outbox.push(l.partition, l.key.as_deref(), l.value.as_deref(), l.timestamp, &headers);
    }
    outbox
}

/// Brokers in memory with a topic "t".
struct Broker(MockCluster<'static, DefaultProducerContext>);

impl Broker {
    fn new(partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", partitions, 1).unwrap();
        Self(cluster)
    }

    fn settings(&self, native: &[(&str, &str)]) -> SinkSettings {
        SinkSettings {
            connection: Connection {
                servers: self.0.bootstrap_servers(),
                timeout: PATIENCE,
                native: native.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            },
            compression: "none".into(),
            acks_all: true,
            linger: Duration::from_millis(1),
            delivery_timeout: PATIENCE,
            batch_bytes: None,
            transactional_id: None,
            transaction_timeout: Duration::from_secs(60),
        }
    }

    fn sink(&self, native: &[(&str, &str)]) -> NativeSink {
        NativeSink::connect(&self.settings(native)).unwrap()
    }

    /// The next answers to batches are these errors.
    fn refuse(&self, answers: &[Answer]) {
        self.0.request_errors(Produce, answers);
    }

    /// All messages of the topic, partition by partition; times are told of those that have one in `sent`.
    fn read(&self, sent: &[Letter]) -> Vec<Letter> {
        let partitions = sent.iter().map(|l| l.partition).max().unwrap_or(0) + 1;
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.0.bootstrap_servers())
            .set("group.id", "g")
            .set("fetch.wait.max.ms", "5")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for p in 0..partitions {
            list.add_partition_offset("t", p, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let (mut seen, mut ends, from) = (Vec::new(), 0, Instant::now());
        while ends < partitions {
            assert!(from.elapsed() < PATIENCE, "{} messages, and nothing comes any more", seen.len());
            match consumer.poll(PATIENCE) {
                Some(Ok(m)) => seen.push(Letter {
                    partition: m.partition(),
                    key: m.key().map(<[u8]>::to_vec),
                    value: m.payload().map(<[u8]>::to_vec),
                    timestamp: m.timestamp().to_millis().filter(|t| *t < 1_000_000_000),
                    headers: m.headers().map_or(Vec::new(), |list| {
                        list.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect()
                    }),
                }),
                Some(Err(RdError::PartitionEOF(_))) => ends += 1,
                other => panic!("{other:?}"),
            }
        }
        seen.sort_by_key(|l| l.partition);
        seen
    }

    /// The topic holds these messages, each once and in the order of its partition.
    fn holds(&self, sent: &[Letter]) {
        let mut expected = sent.to_vec();
        expected.sort_by_key(|l| l.partition);
        let seen = self.read(sent);
        let first = expected.iter().zip(&seen).position(|(e, s)| e != s);
        if let Some(at) = first {
            panic!("message {at} is {:?} and was {:?}", seen[at], expected[at]);
        }
        assert_eq!(seen.len(), expected.len());
    }
}

/// Hands over all messages, as a writer does; the indices of those that were refused.
fn send_all(sink: &mut NativeSink, letters: &[Letter]) -> Vec<usize> {
    let (topic, outbox, from) = (Arc::<str>::from("t"), outbox(letters), Instant::now());
    let (mut at, mut refused) = (0, Vec::new());
    while at < letters.len() {
        assert!(from.elapsed() < PATIENCE, "the queue took {at} messages and then no more");
        let now = sink.send(&topic, &outbox, at).unwrap();
        at += now.accepted;
        match now.stopped {
            None => assert_eq!(at, letters.len()),
            Some(e) if e.kind == KafkaErrorKind::Record => {
                refused.push(at);
                at += 1;
            }
            Some(e) => assert_eq!(e.kind, KafkaErrorKind::Retriable, "{e}"),
        }
    }
    refused
}

fn counts(sink: &NativeSink) -> (u64, u64, u64) {
    let counts = sink.counts();
    (counts.accepted, counts.acked, counts.failed)
}

struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
        println!("seed {seed}");
        Self(seed)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Messages of all kinds, most of them plain; those of a partition often in a row.
fn mixture(random: &mut Random, n: usize, partitions: u64, large: usize) -> Vec<Letter> {
    let mut partition = 0;
    let mut letter = |i: usize| {
        if random.below(8) == 0 {
            partition = random.below(partitions) as i32;
        }
        let mut letter = Letter::of(partition, i);
        match random.below(40) {
            0 => letter.headers = vec![("n".into(), Some(i.to_string().into())), ("null".into(), None)],
            1 => letter.timestamp = Some(1 + i as i64),
            2 => letter.value = Some(vec![b'x'; large - random.below(150) as usize]),
            3 => letter.value = None,
            4 => letter.value = Some(Vec::new()),
            5 => letter.key = Some(Vec::new()),
            6..20 => letter.key = Some(format!("key {i}").into()),
            _ => {}
        }
        letter
    };
    (0..n).map(&mut letter).collect()
}

#[test]
fn messages_of_all_kinds_keep_their_order() {
    let mut random = Random::new();
    let broker = Broker::new(3);
    // The largest is still taken, and too large for a run.
    let mut sink = broker.sink(&[("message.max.bytes", "2000")]);
    let letters = mixture(&mut random, 6_000, 3, 1_950);
    let mut at = 0;
    while at < letters.len() {
        let to = letters.len().min(at + 1 + random.below(1_000) as usize);
        assert_eq!(send_all(&mut sink, &letters[at..to]), [0; 0]);
        at = to;
    }
    sink.flush(PATIENCE).unwrap();
    assert_eq!(counts(&sink), (6_000, 6_000, 0));
    broker.holds(&letters);
}

#[test]
fn null_and_empty_are_two_things() {
    let broker = Broker::new(1);
    let mut sink = broker.sink(&[]);
    let bytes = [None, Some(Vec::new()), Some(b"\0\xff".to_vec())];
    let letters: Vec<Letter> = (0..9)
        .map(|i: usize| Letter {
            key: bytes[i / 3].clone(),
            value: bytes[i % 3].clone(),
            ..Letter::default()
        })
        .collect();
    assert_eq!(send_all(&mut sink, &letters), [0; 0]);
    sink.flush(PATIENCE).unwrap();
    broker.holds(&letters);
}

#[test]
fn a_queue_that_is_full_in_the_middle_of_a_run_loses_and_doubles_nothing() {
    let mut random = Random::new();
    let broker = Broker::new(2);
    let mut sink = broker.sink(&[("queue.buffering.max.messages", "100")]);
    let letters = mixture(&mut random, 3_000, 2, 300);
    assert_eq!(send_all(&mut sink, &letters), [0; 0]);
    sink.flush(PATIENCE).unwrap();
    assert_eq!(counts(&sink), (3_000, 3_000, 0));
    broker.holds(&letters);
}

#[test]
fn a_queue_that_stays_full_says_how_much_it_took() {
    let broker = Broker::new(1);
    let mut sink = broker.sink(&[("queue.buffering.max.messages", "100")]);
    broker.0.broker_round_trip_time(-1, 3 * ROOM).unwrap();
    let letters: Vec<Letter> = (0..300).map(|i| Letter::of(0, i)).collect();
    let (topic, outbox, from) = ("t".into(), outbox(&letters), Instant::now());
    let sent = sink.send(&topic, &outbox, 0).unwrap();
    assert_eq!(sent.accepted, 100);
    assert_eq!(sent.stopped.unwrap().kind, KafkaErrorKind::Retriable);
    assert!(from.elapsed() >= ROOM, "it has not waited for room");
    assert_eq!((counts(&sink), sink.in_flight()), ((100, 0, 0), 100));
    broker.0.broker_round_trip_time(-1, Duration::ZERO).unwrap();
    assert_eq!(send_all(&mut sink, &letters[100..]), [0; 0]);
    sink.flush(PATIENCE).unwrap();
    assert_eq!(counts(&sink), (300, 300, 0));
    broker.holds(&letters);
}

#[test]
fn a_message_that_is_too_large_is_refused_alone() {
    let broker = Broker::new(1);
    let mut sink = broker.sink(&[("message.max.bytes", "1000")]);
    // All sizes about the limit, so also the one at which the library begins to refuse.
    let mut letters = Vec::new();
    for size in 800..1_100 {
        letters.push(Letter::of(0, size));
        letters.push(match size % 3 {
            0 => Letter { key: Some(vec![b'k'; size]), ..Letter::default() },
            1 => Letter { key: Some(vec![b'k'; 100]), ..Letter::filled(0, size - 100) },
            _ => Letter::filled(0, size),
        });
    }
    let refused = send_all(&mut sink, &letters);
    sink.flush(PATIENCE).unwrap();
    assert!(sink.take_failed().is_empty());
    let size = |l: &Letter| l.key.as_ref().map_or(0, Vec::len) + l.value.as_ref().map_or(0, Vec::len);
    let smallest = size(&letters[refused[0]]);
    let larger: Vec<usize> = (0..letters.len()).filter(|i| size(&letters[*i]) >= smallest).collect();
    assert_eq!(refused, larger);
    assert!((900..1_000).contains(&smallest), "{smallest}");
    let taken = letters.iter().filter(|l| size(l) < smallest).cloned().collect::<Vec<_>>();
    assert_eq!(counts(&sink), (taken.len() as u64, taken.len() as u64, 0));
    broker.holds(&taken);
}

#[test]
fn what_is_not_delivered_is_told_of_its_own_message() {
    let broker = Broker::new(1);
    let mut settings = broker.settings(&[("batch.num.messages", "50")]);
    settings.acks_all = false;
    let mut sink = NativeSink::connect(&settings).unwrap();
    // The values are the numbers.
    let letters: Vec<Letter> = (0..1_000)
        .map(|i| {
            let headers = if i % 7 == 0 { vec![("h".into(), None)] } else { Vec::new() };
            Letter { headers, ..Letter::of(0, i) }
        })
        .collect();
    broker.refuse(&[Answer::RD_KAFKA_RESP_ERR_INVALID_RECORD; 3]);
    assert_eq!(send_all(&mut sink, &letters), [0; 0]);
    sink.flush(PATIENCE).unwrap();
    let failed = sink.take_failed();
    assert!((3..=150).contains(&failed.len()), "{} of three batches", failed.len());
    for f in &failed {
        assert_eq!(
            (&f.error.kind, String::from_utf8_lossy(&f.value)),
            (&KafkaErrorKind::Record, f.seq.to_string().into())
        );
        assert!(f.error.message.starts_with("topic t: "), "{}", f.error);
    }
    assert_eq!(counts(&sink), (1_000, 1_000 - failed.len() as u64, failed.len() as u64));
    let lost: Vec<u64> = failed.iter().map(|f| f.seq).collect();
    let kept: Vec<Letter> =
        (0..1_000).filter(|i| !lost.contains(i)).map(|i| letters[i as usize].clone()).collect();
    broker.holds(&kept);
}

#[test]
fn a_batch_that_is_too_large_is_sent_again_message_by_message_as_it_was() {
    let mut random = Random::new();
    let broker = Broker::new(1);
    let mut settings = broker.settings(&[]);
    settings.acks_all = false;
    // All are in one batch.
    settings.linger = Duration::from_millis(50);
    let mut sink = NativeSink::connect(&settings).unwrap();
    let mut letters = mixture(&mut random, 30, 1, 300);
    (letters[3].value, letters[5].timestamp) = (None, Some(7));
    letters[7].headers =
        vec![("h".into(), Some(b"1".to_vec())), ("".into(), None), ("h".into(), Some(Vec::new()))];
    broker.refuse(&[Answer::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    assert_eq!(send_all(&mut sink, &letters), [0; 0]);
    sink.flush(PATIENCE).unwrap();
    assert!(sink.told, "the batch was taken");
    assert!(sink.take_failed().is_empty());
    assert_eq!(counts(&sink), (30, 30, 0));
    broker.holds(&letters);
}

#[test]
fn a_partition_that_is_not_there_is_an_error_and_leaves_nothing_behind() {
    let broker = Broker::new(2);
    let mut sink = broker.sink(&[]);
    let good = [Letter::of(0, 1), Letter::of(0, 2), Letter::of(1, 3)];
    // The library knows the topic from here on.
    assert_eq!(send_all(&mut sink, &good), [0; 0]);
    sink.flush(PATIENCE).unwrap();
    let mut letters = good.to_vec();
    letters.extend((0..50).map(|i| Letter::of(7, i)));
    letters.push(Letter::of(0, 4));
    for plain in [true, false] {
        if !plain {
            letters.iter_mut().for_each(|l| l.timestamp = Some(5));
        }
        let error = sink.send(&"t".into(), &outbox(&letters), 0).unwrap_err();
        assert_eq!(error.kind, KafkaErrorKind::Fatal, "{error}");
    }
    sink.flush(PATIENCE).unwrap();
    assert_eq!(counts(&sink), (9, 9, 0));
    let from = Instant::now();
    sink.close(PATIENCE);
    assert!(from.elapsed() < PATIENCE / 2, "the library waits for a message that it has lost");
    let times = |time| good.iter().map(move |l| Letter { timestamp: time, ..l.clone() });
    broker.holds(&times(None).chain(times(None)).chain(times(Some(5))).collect::<Vec<_>>());
}

#[test]
fn transactions_count_every_message() {
    let mut random = Random::new();
    let broker = Broker::new(2);
    let mut settings = broker.settings(&[]);
    settings.transactional_id = Some("x".into());
    let mut sink = NativeSink::connect(&settings).unwrap();
    sink.init().unwrap();
    let letters = mixture(&mut random, 2_000, 2, 300);
    let parts: Vec<&[Letter]> = letters.chunks(500).collect();
    // Without a transaction nothing is taken.
    let error = sink.send(&"t".into(), &outbox(parts[0]), 0).unwrap_err();
    assert_eq!((error.kind, counts(&sink)), (KafkaErrorKind::AbortTxn, (0, 0, 0)));
    for (n, part) in (1..).zip(&parts[..2]) {
        sink.begin().unwrap();
        assert_eq!(send_all(&mut sink, part), [0; 0]);
        sink.commit().unwrap();
        assert_eq!(counts(&sink), (n * 500, n * 500, 0));
    }
    // What is under way is thrown away: nothing is sent while the broker keeps its answers back.
    sink.begin().unwrap();
    broker.0.broker_round_trip_time(-1, Duration::from_millis(300)).unwrap();
    assert_eq!(send_all(&mut sink, parts[2]), [0; 0]);
    sink.abort().unwrap();
    let after = sink.counts();
    assert_eq!((after.accepted, after.acked + after.failed), (1_500, 1_500));
    assert!(after.failed > 0, "all of it was acknowledged before the abort");
    broker.0.broker_round_trip_time(-1, Duration::ZERO).unwrap();
    sink.begin().unwrap();
    assert_eq!(send_all(&mut sink, parts[3]), [0; 0]);
    sink.commit().unwrap();
    assert_eq!(counts(&sink), (2_000, after.acked + 500, after.failed));
}

#[test]
fn a_sink_closes_while_messages_are_under_way() {
    for close in [true, false] {
        let broker = Broker::new(1);
        // Words of the library of all kinds come in between.
        let mut sink = broker.sink(&[("statistics.interval.ms", "1"), ("debug", "msg")]);
        let letters: Vec<Letter> = (0..1_000).map(|i| Letter::of(0, i)).collect();
        broker.0.broker_down(-1).unwrap();
        assert_eq!(send_all(&mut sink, &letters), [0; 0]);
        let from = Instant::now();
        assert_eq!(sink.flush(Duration::from_millis(100)).unwrap_err().kind, KafkaErrorKind::Retriable);
        assert!(from.elapsed() >= Duration::from_millis(100), "it has not waited");
        if close {
            sink.close(Duration::from_millis(100));
        }
        std::thread::spawn(move || drop(sink)).join().unwrap();
        assert!(from.elapsed() < PATIENCE / 2, "it took {:?}", from.elapsed());
    }
}

#[test]
fn a_poll_sleeps_until_something_comes() {
    let broker = Broker::new(1);
    let mut sink = broker.sink(&[]);
    send_all(&mut sink, &[Letter::of(0, 1)]);
    let from = Instant::now();
    while sink.in_flight() > 0 {
        sink.poll(PATIENCE).unwrap();
        assert!(from.elapsed() < PATIENCE, "it does not wake up");
    }
    let from = Instant::now();
    (0..10).for_each(|_| sink.poll(Duration::from_millis(20)).unwrap());
    assert!(from.elapsed() >= Duration::from_millis(100), "it does not wait");
}

#[test]
fn a_name_that_is_none_is_refused() {
    let broker = Broker::new(1);
    let mut sink = broker.sink(&[]);
    for name in ["a\0b", &"x".repeat(600)] {
        let error = sink.send(&name.into(), &outbox(&[Letter::of(0, 1)]), 0).unwrap_err();
        assert_eq!((error.kind, counts(&sink)), (KafkaErrorKind::Fatal, (0, 0, 0)), "{name:?}");
    }
}
