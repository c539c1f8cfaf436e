//! The rules of the adapter, each against a broker on loopback that misbehaves as real ones can.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Pure;
use crate::connector::kafka::client::{
    Connection, Event, Fetch, KafkaClient, KafkaError, KafkaErrorKind, KafkaSource, Part, SourceSettings,
};

/// What the broker does with a request.
enum Reply {
    Answer(Vec<u8>),
    HangUp,
    Silence,
    /// An answer of negative size.
    Nonsense,
}

type Answers = dyn Fn(i32, i64, usize, usize) -> Reply + Send + Sync;

/// A broker with one topic `t` that speaks version 0.
struct FakeBroker {
    address: String,
    /// Requests to commit offsets.
    commits: Arc<AtomicUsize>,
}

fn i16b(n: i16) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}
fn i32b(n: i32) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}
fn i64b(n: i64) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}
fn text(t: &str) -> Vec<u8> {
    [i16b(t.len() as i16), t.as_bytes().to_vec()].concat()
}

/// The lowest version of Fetch that it speaks, its partitions, how it fetches (partition, offset, bytes, count of calls).
fn broker(least_fetch: i16, partitions: i32, fetch: Box<Answers>) -> FakeBroker {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = i32::from(listener.local_addr().unwrap().port());
    let commits = Arc::<AtomicUsize>::default();
    let (seen, fetch, fetches) =
        (commits.clone(), Arc::<Answers>::from(fetch), Arc::<AtomicUsize>::default());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (seen, fetch, fetches) = (seen.clone(), fetch.clone(), fetches.clone());
            std::thread::spawn(move || {
                serve(stream, &|key, body| match key {
                    18 => Reply::Answer([i16b(0), i32b(1), i16b(1), i16b(least_fetch), i16b(17)].concat()),
                    3 => Reply::Answer(metadata(port, partitions)),
                    2 => Reply::Answer(offsets(partitions)),
                    10 => Reply::Answer([i16b(0), i32b(1), text("127.0.0.1"), i32b(port)].concat()),
                    8 => {
                        seen.fetch_add(1, Ordering::Relaxed);
                        // NOT_COORDINATOR, whoever asks.
                        Reply::Answer([i32b(1), text("t"), i32b(1), i32b(0), i16b(16)].concat())
                    }
                    1 => {
                        let int = |at: usize| i32::from_be_bytes(body[at..at + 4].try_into().unwrap());
                        let long = |at: usize| i64::from_be_bytes(body[at..at + 8].try_into().unwrap());
                        // Replica, wait, least bytes, topics, "t", partitions; then partition, offset, bytes.
                        let n = fetches.fetch_add(1, Ordering::Relaxed);
                        fetch(int(23), long(27), int(35) as usize, n)
                    }
                    _ => Reply::HangUp,
                });
            });
        }
    });
    FakeBroker { address: format!("127.0.0.1:{port}"), commits }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(i16, &[u8]) -> Reply) {
    let mut size = [0; 4];
    while stream.read_exact(&mut size).is_ok() {
        let mut request = vec![0; i32::from_be_bytes(size) as usize];
        if stream.read_exact(&mut request).is_err() {
            return;
        }
        let key = i16::from_be_bytes([request[0], request[1]]);
        let client = 10 + i16::from_be_bytes([request[8], request[9]]).max(0) as usize;
        match answer(key, &request[client..]) {
            Reply::Answer(body) => {
                let sized = [i32b(body.len() as i32 + 4), request[4..8].to_vec(), body].concat();
                if stream.write_all(&sized).is_err() {
                    return;
                }
            }
            Reply::HangUp => return,
            Reply::Nonsense => {
                let _ = stream.write_all(&i32b(-1));
            }
            Reply::Silence => {}
        }
    }
}

fn metadata(port: i32, partitions: i32) -> Vec<u8> {
    let mut body = [i32b(1), i32b(1), text("127.0.0.1"), i32b(port), i32b(1), i16b(0), text("t")].concat();
    body.extend(i32b(partitions));
    for p in 0..partitions {
        body.extend([i16b(0), i32b(p), i32b(1), i32b(1), i32b(1), i32b(1), i32b(1)].concat());
    }
    body
}

fn offsets(partitions: i32) -> Vec<u8> {
    let mut body = [i32b(1), text("t"), i32b(partitions)].concat();
    for p in 0..partitions {
        body.extend([i32b(p), i16b(0), i32b(1), i64b(0)].concat());
    }
    body
}

/// A message of format 0; `attributes` 1 means that the value is a gzipped set.
fn message(offset: i64, attributes: u8, value: &[u8]) -> Vec<u8> {
    let rest = [vec![0, attributes], i32b(-1), i32b(value.len() as i32), value.to_vec()].concat();
    let crc = crc32fast::hash(&rest).to_be_bytes().to_vec();
    [i64b(offset), i32b(rest.len() as i32 + 4), crc, rest].concat()
}

fn plain(offset: i64) -> Vec<u8> {
    message(offset, 0, format!("value {offset}").as_bytes())
}

fn answered(partition: i32, error: i16, end: i64, set: &[u8]) -> Reply {
    let head = [i32b(1), text("t"), i32b(1), i32b(partition), i16b(error), i64b(end), i32b(set.len() as i32)];
    Reply::Answer([head.concat(), set.to_vec()].concat())
}

/// Answers from pieces of a log, each with the last offset in it, cut off at the size that was asked for.
fn from_log(partition: i32, log: &[(i64, Vec<u8>)], offset: i64, bytes: usize) -> Reply {
    let end = log.last().map_or(0, |(last, _)| last + 1);
    let mut set: Vec<u8> =
        log.iter().filter(|(last, _)| *last >= offset).flat_map(|(_, piece)| piece.clone()).collect();
    set.truncate(bytes);
    answered(partition, 0, end, &set)
}

fn settings(address: &str) -> SourceSettings {
    SourceSettings {
        connection: Connection {
            servers: address.into(),
            timeout: Duration::from_secs(5),
            native: Vec::new(),
        },
        group: Some("g".into()),
        read_committed: false,
        headers: false,
        prefetch_bytes: 4 << 20,
        accept_gaps: false,
        fetch: Fetch::Auto,
    }
}

fn part(partition: i32) -> Part {
    Part { topic: "t".into(), partition }
}

/// Polls until `n` messages came, at most ten seconds; what came, as partition and offset, and the errors on the way.
fn poll(source: &mut dyn KafkaSource, n: usize) -> (Vec<(usize, i64)>, Vec<KafkaError>) {
    let (mut seen, mut errors, from) = (Vec::new(), Vec::new(), Instant::now());
    while seen.len() < n && from.elapsed() < Duration::from_secs(10) {
        let polled = source.poll(Duration::from_millis(20), &mut |event| {
            if let Event::Message(m) = event {
                assert_eq!(m.value, Some(format!("value {}", m.offset).as_bytes()));
                seen.push((m.part, m.offset));
            }
            ControlFlow::Continue(())
        });
        match polled {
            Ok(()) => {}
            Err(e) if e.kind == KafkaErrorKind::Retriable => errors.push(e),
            Err(e) => {
                errors.push(e);
                break;
            }
        }
    }
    (seen, errors)
}

fn all_of(partition: usize, offsets: std::ops::Range<i64>) -> Vec<(usize, i64)> {
    offsets.map(|o| (partition, o)).collect()
}

#[cfg(feature = "gzip")]
#[test]
fn plain_messages_before_compressed_ones_are_not_lost() {
    let inner: Vec<u8> = (3..6).flat_map(plain).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&inner).unwrap();
    let mut log: Vec<(i64, Vec<u8>)> = (0..3).map(|o| (o, plain(o))).collect();
    log.push((5, message(5, 1, &gzip.finish().unwrap())));
    log.extend((6..9).map(|o| (o, plain(o))));
    let fake = broker(0, 1, Box::new(move |p, offset, bytes, _| from_log(p, &log, offset, bytes)));
    // What the library makes of such an answer: the reason for the rule. If this fails, the rule has become needless.
    let mut bare = kafka::client::KafkaClient::new(vec![fake.address.clone()]);
    bare.load_metadata_all().unwrap();
    let fetched = bare.fetch_messages_for_partition(&kafka::client::FetchPartition::new("t", 0, 0)).unwrap();
    let first = fetched[0].topics()[0].partitions()[0].data().unwrap().messages()[0].offset;
    assert_eq!(first, 3, "the library has learnt to read mixed answers");
    let mut source = Pure.source(&settings(&fake.address)).unwrap();
    source.start(&[(part(0), 0)]).unwrap();
    let (seen, errors) = poll(source.as_mut(), 9);
    assert_eq!((seen, errors.len()), (all_of(0, 0..9), 0));
}

#[test]
fn offsets_that_are_not_there_are_an_error_or_accepted_never_passed_over_in_silence() {
    let log: Vec<(i64, Vec<u8>)> = [0, 1, 7, 8].map(|o| (o, plain(o))).into();
    let fake = broker(0, 1, Box::new(move |p, offset, bytes, _| from_log(p, &log, offset, bytes)));
    let mut strict = Pure.source(&settings(&fake.address)).unwrap();
    strict.start(&[(part(0), 2)]).unwrap();
    let (seen, errors) = poll(strict.as_mut(), 1);
    assert!(seen.is_empty(), "{seen:?}");
    let said = errors.last().unwrap().to_string();
    assert!(
        said.contains("t/0: offset 2 was asked for and 7 came") && said.contains("gaps = 'accept'"),
        "{said}"
    );
    let mut lenient = Pure.source(&SourceSettings { accept_gaps: true, ..settings(&fake.address) }).unwrap();
    lenient.start(&[(part(0), 2)]).unwrap();
    assert_eq!(poll(lenient.as_mut(), 2).0, all_of(0, 7..9));
}

#[test]
fn a_message_larger_than_an_answer_is_asked_for_again() {
    let log: Vec<(i64, Vec<u8>)> = (0..3).map(|o| (o, plain(o))).collect();
    // A small part of what is asked for comes, as if messages were longer by as much.
    let fake = broker(0, 1, Box::new(move |p, offset, bytes, _| from_log(p, &log, offset, bytes / 100_000)));
    let mut source = Pure.source(&settings(&fake.address)).unwrap();
    source.start(&[(part(0), 0)]).unwrap();
    assert_eq!(poll(source.as_mut(), 3).0, all_of(0, 0..3));
}

#[test]
fn an_error_of_one_partition_loses_nothing_of_another() {
    let log: Vec<(i64, Vec<u8>)> = (0..40).map(|o| (o, plain(o))).collect();
    let fake = broker(
        0,
        2,
        Box::new(move |p, offset, bytes, n| match (p, n) {
            // NOT_LEADER_FOR_PARTITION, a few times.
            (1, 0..12) => answered(1, 6, -1, &[]),
            _ => from_log(p, &log, offset, bytes.min(100)),
        }),
    );
    let mut source = Pure.source(&settings(&fake.address)).unwrap();
    source.start(&[(part(0), 0), (part(1), 0)]).unwrap();
    let (seen, errors) = poll(source.as_mut(), 80);
    for p in 0..2 {
        let of: Vec<_> = seen.iter().copied().filter(|(part, _)| *part == p).collect();
        assert_eq!(of, all_of(p, 0..40));
    }
    assert!(!errors.is_empty() && errors.iter().all(|e| e.message.starts_with("t/1")), "{errors:?}");
}

#[test]
fn a_commit_that_no_coordinator_takes_ends() {
    let fake = broker(0, 1, Box::new(|p, _, _, _| answered(p, 0, 0, &[])));
    let mut source = Pure.source(&settings(&fake.address)).unwrap();
    let from = Instant::now();
    let e = source.commit(&[(part(0), 5)]).unwrap_err();
    assert_eq!(e.kind, KafkaErrorKind::Retriable, "{e}");
    assert!(from.elapsed() < Duration::from_secs(6), "{:?}", from.elapsed());
    let asked = fake.commits.load(Ordering::Relaxed);
    assert!((1..=10).contains(&asked), "{asked} requests");
}

#[test]
fn a_connection_that_died_is_replaced() {
    let log: Vec<(i64, Vec<u8>)> = (0..30).map(|o| (o, plain(o))).collect();
    let fake = broker(
        0,
        1,
        Box::new(move |p, offset, bytes, n| match n % 4 {
            3 => Reply::HangUp,
            _ => from_log(p, &log, offset, bytes.min(100)),
        }),
    );
    let mut source = Pure.source(&settings(&fake.address)).unwrap();
    source.start(&[(part(0), 0)]).unwrap();
    let (seen, errors) = poll(source.as_mut(), 30);
    assert_eq!(seen, all_of(0, 0..30));
    assert!(!errors.is_empty());
}

#[test]
fn a_broker_that_falls_silent_holds_nobody_up() {
    let fake = broker(0, 1, Box::new(|_, _, _, _| Reply::Silence));
    let mut settings = settings(&fake.address);
    settings.connection.timeout = Duration::from_millis(300);
    let mut source = Pure.source(&settings).unwrap();
    source.start(&[(part(0), 0)]).unwrap();
    let from = Instant::now();
    let e = loop {
        let before = Instant::now();
        let polled = source.poll(Duration::from_millis(10), &mut |_| ControlFlow::Continue(()));
        assert!(before.elapsed() < Duration::from_secs(2), "a poll took {:?}", before.elapsed());
        match polled {
            Ok(()) => assert!(from.elapsed() < Duration::from_secs(10), "no error came"),
            Err(e) => break e,
        }
    };
    assert_eq!(e.kind, KafkaErrorKind::Retriable, "{e}");
    let before = Instant::now();
    source.close(Duration::from_secs(1));
    drop(source);
    assert!(before.elapsed() < Duration::from_secs(2), "closing took {:?}", before.elapsed());
}

#[test]
fn a_panic_in_the_library_is_an_error() {
    let log: Vec<(i64, Vec<u8>)> = (0..3).map(|o| (o, plain(o))).collect();
    let fake = broker(
        0,
        1,
        // The library makes room for whatever size it is told.
        Box::new(move |p, offset, bytes, n| match n {
            0 => Reply::Nonsense,
            _ => from_log(p, &log, offset, bytes),
        }),
    );
    let mut source = Pure.source(&settings(&fake.address)).unwrap();
    source.start(&[(part(0), 0)]).unwrap();
    let (seen, errors) = poll(source.as_mut(), 3);
    assert_eq!(seen, all_of(0, 0..3));
    assert!(!errors.is_empty());
}

#[test]
fn a_broker_of_version_4_is_refused_with_the_way_out() {
    let fake = broker(4, 1, Box::new(|p, _, _, _| answered(p, 0, 0, &[])));
    let e = Pure.source(&settings(&fake.address)).err().unwrap();
    assert_eq!(e.kind, KafkaErrorKind::Unsupported);
    assert!(e.message.contains("Fetch from version 4 on") && e.message.contains("--features rdkafka"), "{e}");
}
