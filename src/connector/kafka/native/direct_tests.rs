//! What happens to our own fetches: packed batches, leaders that move, brokers that go and refuse, owners that dawdle.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCoordinator;
use rdkafka::producer::BaseRecord;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Code};

use super::tests::{Broker, PATIENCE, Seen, nothing, part, until};
use super::{NativeSource, Way};
use crate::connector::kafka::client::{Event, Fetch, KafkaError, KafkaErrorKind, KafkaSource, Part};
use crate::connector::kafka::direct::Fetcher;

/// Reads on until the ends of the partitions are these.
fn read_to(source: &mut NativeSource, seen: &mut Seen, ends: &[i64]) {
    until(source, |event| {
        seen.take(&event);
        ends.iter().enumerate().all(|(p, end)| seen.end(p) == Some(*end))
    });
}

fn all(n: i64) -> Vec<i64> {
    (0..n).collect()
}

/// Polls until an error comes that `wanted` takes.
fn error(source: &mut NativeSource, wanted: impl Fn(&KafkaError) -> bool) -> KafkaError {
    let from = Instant::now();
    loop {
        match nothing(source) {
            Err(e) if wanted(&e) => return e,
            _ => assert!(from.elapsed() < PATIENCE, "no such error comes"),
        }
    }
}

#[test]
fn packed_batches_are_unpacked_whatever_they_are_packed_with() {
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let broker = Broker::with(1, &[("t", 2)], &[("compression.codec", codec)]);
        for p in 0..2 {
            broker.count("t", p, 0..700);
        }
        let headers = OwnedHeaders::new().insert(Header { key: "h", value: Some("v") });
        broker.send(
            BaseRecord::to("t")
                .partition(0)
                .payload(&b"700"[..])
                .key(&b"key"[..])
                .timestamp(5)
                .headers(headers),
        );
        broker.flush();
        let mut source = broker.source(Fetch::Direct, &[(part("t", 0), 0), (part("t", 1), 350)]);
        let (mut seen, mut last) = (Seen::default(), None);
        // In small bites, which end within batches.
        while (seen.end(0), seen.end(1)) != (Some(701), Some(700)) {
            let mut left = 13;
            until(&mut source, |event| {
                if let Event::Message(m) = &event
                    && (m.part, m.offset) == (0, 700)
                {
                    let mut list = Vec::new();
                    let named = &mut |name: &str, value: Option<&[u8]>| {
                        list.push((name.to_owned(), value.map(<[u8]>::to_vec)));
                    };
                    m.headers.unwrap().each(named).unwrap();
                    last = Some((m.key.map(<[u8]>::to_vec), m.timestamp, list));
                }
                let ends = matches!(event, Event::Reached { .. });
                seen.take(&event);
                left -= 1;
                left == 0 || ends
            });
        }
        assert_eq!((seen.of(0), seen.of(1)), (&all(701)[..], &(350..700).collect::<Vec<_>>()[..]), "{codec}");
        let list = vec![("h".to_owned(), Some(b"v".to_vec()))];
        assert_eq!(last, Some((Some(b"key".to_vec()), Some(5), list)), "{codec}");
    }
}

#[test]
fn partitions_of_several_brokers_are_read_and_followed_when_they_move() {
    let broker = Broker::with(3, &[("t", 3)], &[]);
    let lead = |p: i32, id: i32| broker.cluster.partition_leader("t", p, Some(id)).unwrap();
    (0..3).for_each(|p| lead(p, p + 1));
    let from: Vec<(Part, i64)> = (0..3).map(|p| (part("t", p), 0)).collect();
    let mut source = broker.source(Fetch::Direct, &from);
    let mut seen = Seen::default();
    for round in 1..=4 {
        for p in 0..3 {
            broker.count("t", p, (round as usize - 1) * 300..round as usize * 300);
        }
        read_to(&mut source, &mut seen, &[300 * round; 3]);
        (0..3).for_each(|p| lead(p, (p + round as i32) % 3 + 1));
    }
    (0..3).for_each(|p| assert_eq!(seen.of(p), all(1_200), "partition {p}"));
}

#[test]
fn a_broker_that_goes_is_told_and_missed_no_longer_when_it_is_back() {
    let broker = Broker::new(&[("t", 1)]);
    broker.count("t", 0, 0..100);
    let mut source = broker.source(Fetch::Direct, &[(part("t", 0), 0)]);
    let mut seen = Seen::default();
    read_to(&mut source, &mut seen, &[100]);
    broker.cluster.broker_down(1).unwrap();
    let e = error(&mut source, |e| e.kind == KafkaErrorKind::Retriable);
    assert!(e.message.contains("no broker can be reached"), "{e}");
    broker.cluster.broker_up(1).unwrap();
    broker.count("t", 0, 100..200);
    let from = Instant::now();
    while seen.end(0) != Some(200) {
        assert!(from.elapsed() < PATIENCE, "it does not come back");
        let _ = source.poll(Duration::from_millis(50), &mut |event| {
            seen.take(&event);
            ControlFlow::Continue(())
        });
    }
    assert_eq!(seen.of(0), all(200));
}

/// A partition whose leader comes later, also after the source has begun; and an assignment that fails is tried again.
#[test]
fn what_can_not_begin_begins_when_it_can() {
    let broker = Broker::new(&[("t", 2)]);
    (0..2).for_each(|p| broker.count("t", p, 0..100));
    let mut source = NativeSource::connect(&broker.settings(Fetch::Direct)).unwrap();
    (0..2).for_each(|p| broker.cluster.partition_leader("t", p, None).unwrap());
    source.start(&[(part("t", 0), 0), (part("t", 1), 0)]).unwrap();
    nothing(&mut source).unwrap();
    (0..2).for_each(|p| broker.cluster.partition_leader("t", p, Some(1)).unwrap());
    let mut seen = Seen::default();
    read_to(&mut source, &mut seen, &[100, 100]);
    broker.cluster.broker_down(1).unwrap();
    let e = source.start(&[(part("t", 0), 90), (part("t", 1), 0)]).unwrap_err();
    assert_eq!(e.kind, KafkaErrorKind::Retriable, "{e}");
    // What is said meanwhile counts.
    source.seek(0, 95).unwrap();
    source.pause(1).unwrap();
    source.seek(1, 97).unwrap();
    assert_eq!(nothing(&mut source).unwrap_err().kind, KafkaErrorKind::Retriable);
    broker.cluster.broker_up(1).unwrap();
    let (mut seen, from) = (Seen::default(), Instant::now());
    while seen.end(0) != Some(100) {
        assert!(from.elapsed() < PATIENCE, "it does not begin");
        let _ = source.poll(Duration::from_millis(50), &mut |event| {
            seen.take(&event);
            ControlFlow::Continue(())
        });
    }
    assert_eq!((seen.of(0), seen.of(1)), (&[95, 96, 97, 98, 99][..], &[][..]));
    source.resume(1, 98).unwrap();
    read_to(&mut source, &mut seen, &[100, 100]);
    assert_eq!(seen.of(1), [98, 99]);
}

#[test]
fn a_partition_of_which_nothing_comes_for_long_is_told() {
    let broker = Broker::new(&[("t", 2)]);
    (0..2).for_each(|p| broker.count("t", p, 0..10));
    let mut settings = broker.settings(Fetch::Direct);
    settings.connection.timeout = Duration::from_millis(600);
    let mut source = NativeSource::connect(&settings).unwrap();
    source.start(&[(part("t", 0), 0), (part("t", 1), 0)]).unwrap();
    let mut seen = Seen::default();
    read_to(&mut source, &mut seen, &[10, 10]);
    broker.cluster.partition_leader("t", 1, None).unwrap();
    let e = error(&mut source, |e| e.kind == KafkaErrorKind::Retriable);
    assert!(e.message.contains("nothing comes of t/1: "), "{e}");
    // Not if nobody wants it.
    source.pause(1).unwrap();
    nothing(&mut source).unwrap();
    broker.cluster.partition_leader("t", 1, Some(1)).unwrap();
    broker.count("t", 1, 10..20);
    source.resume(1, 10).unwrap();
    read_to(&mut source, &mut seen, &[10, 20]);
    assert_eq!(seen.of(1), all(20));
}

#[test]
fn a_jump_of_a_paused_partition_counts_when_it_goes_on() {
    for fetch in [Fetch::Direct, Fetch::Library] {
        let broker = Broker::new(&[("t", 2)]);
        (0..2).for_each(|p| broker.count("t", p, 0..10));
        let mut source = broker.source(fetch, &[(part("t", 0), 0), (part("t", 1), 0)]);
        source.pause(0).unwrap();
        source.seek(0, 4).unwrap();
        let mut seen = Seen::default();
        until(&mut source, |event| {
            seen.take(&event);
            seen.end(1) == Some(10)
        });
        assert!(seen.of(0).is_empty(), "{fetch:?}");
    }
}

#[test]
fn errors_that_pass_cost_nothing() {
    let broker = Broker::new(&[("t", 2)]);
    (0..2).for_each(|p| broker.count("t", p, 0..500));
    let passing = [
        Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Code::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        Code::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        Code::RD_KAFKA_RESP_ERR__TRANSPORT,
        Code::RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
        Code::RD_KAFKA_RESP_ERR_UNKNOWN,
    ];
    broker.cluster.request_errors(RDKafkaApiKey::Fetch, &passing);
    let mut source = broker.source(Fetch::Direct, &[(part("t", 0), 0), (part("t", 1), 0)]);
    let mut seen = Seen::default();
    let from = Instant::now();
    while (seen.end(0), seen.end(1)) != (Some(500), Some(500)) {
        assert!(from.elapsed() < PATIENCE, "they do not pass");
        let polled = source.poll(Duration::from_millis(50), &mut |event| {
            seen.take(&event);
            ControlFlow::Continue(())
        });
        assert!(
            polled.as_ref().is_ok_and(|()| true)
                || polled.as_ref().is_err_and(|e| e.kind == KafkaErrorKind::Retriable),
            "{polled:?}"
        );
    }
    (0..2).for_each(|p| assert_eq!(seen.of(p), all(500)));
}

#[test]
fn a_topic_that_is_gone_is_an_error_after_a_while() {
    let broker = Broker::new(&[("t", 1)]);
    broker.count("t", 0, 0..10);
    let mut source = broker.source(Fetch::Direct, &[(part("t", 0), 0)]);
    let mut seen = Seen::default();
    read_to(&mut source, &mut seen, &[10]);
    broker.cluster.topic_error("t", Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).unwrap();
    broker.cluster.request_errors(RDKafkaApiKey::Fetch, &[Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART]);
    let e = error(&mut source, |e| e.kind == KafkaErrorKind::Fatal);
    assert_eq!(e.message, "t/0: there is no such topic or partition any more");
}

#[test]
fn a_topic_that_may_not_be_read_is_an_error_at_once() {
    let broker = Broker::new(&[("t", 1)]);
    broker.cluster.topic_error("t", Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    let mut source = broker.source(Fetch::Direct, &[(part("t", 0), 0)]);
    let e = error(&mut source, |_| true);
    assert_eq!(
        (e.kind, e.message.as_str()),
        (KafkaErrorKind::Fatal, "t/0: not authorized to read the topic")
    );
}

#[test]
fn an_owner_that_dawdles_holds_no_more_than_its_buffers() {
    // A megabyte, of which little fits into the buffers of a prefetch of 64 KiB.
    let broker = Broker::new(&[("t", 1)]);
    let payload = vec![b'x'; 1_000];
    for n in 0..1_000 {
        broker.send(BaseRecord::to("t").partition(0).key(format!("{n}").as_bytes()).payload(&payload[..]));
    }
    broker.flush();
    let mut source = broker.source(Fetch::Direct, &[(part("t", 0), 0)]);
    let mut next = 0;
    let mut take = |event: Event<'_>| {
        if let Event::Message(m) = event {
            assert_eq!((m.offset, m.key), (next, Some(next.to_string().as_bytes())));
            next += 1;
        }
        next
    };
    until(&mut source, |event| take(event) > 0);
    let Way::Direct(fetcher) = &source.way else { unreachable!() };
    let from = Instant::now();
    while !fetcher.is_full() {
        assert!(from.elapsed() < PATIENCE, "nothing is fetched ahead");
        std::thread::yield_now();
    }
    // All buffers are under way: nobody fetches any more.
    let (held, ahead) = fetcher.held();
    assert!(ahead < 1_000 && held <= 600_000, "{held} bytes, up to offset {ahead}");
    until(&mut source, |event| take(event) == 1_000);
}

#[test]
fn the_library_goes_on_where_we_can_not() {
    let broker = Broker::new(&[("t", 2), ("u", 1)]);
    let parts = [part("t", 0), part("t", 1), part("u", 0)];
    for p in &parts {
        broker.count(&p.topic, p.partition, 0..1_000);
    }
    let mut source = broker.source(Fetch::Auto, &parts.clone().map(|p| (p, 0)));
    let mut seen = Seen::default();
    let mut left = 777;
    until(&mut source, |event| {
        seen.take(&event);
        left -= 1;
        left == 0
    });
    source.pause(1).unwrap();
    let paused = seen.of(1).len();
    source.hand_over(&parts[0]).unwrap();
    assert!(matches!(source.way, Way::Library(_)));
    until(&mut source, |event| {
        seen.take(&event);
        (seen.end(0), seen.end(2)) == (Some(1_000), Some(1_000))
    });
    assert_eq!(seen.of(1).len(), paused);
    source.resume(1, paused as i64).unwrap();
    read_to(&mut source, &mut seen, &[1_000, 1_000, 1_000]);
    (0..3).for_each(|p| assert_eq!(seen.of(p), all(1_000)));
    // Who insists is told why.
    let mut source = broker.source(Fetch::Direct, &[(part("t", 0), 0)]);
    let e = source.hand_over(&parts[0]).unwrap_err();
    assert_eq!(e.kind, KafkaErrorKind::Unsupported);
    assert!(e.message.contains("before Kafka 0.11") && e.message.contains("fetch = 'auto'"), "{e}");
}

#[test]
fn options_of_the_library_are_for_the_library() {
    let broker = Broker::new(&[("t", 1)]);
    broker.count("t", 0, 0..10);
    let mut settings = broker.settings(Fetch::Auto);
    settings.connection.native.push(("socket.nagle.disable".to_owned(), "true".to_owned()));
    let mut source = NativeSource::connect(&settings).unwrap();
    source.start(&[(part("t", 0), 0)]).unwrap();
    assert!(matches!(source.way, Way::Library(_)));
    settings.fetch = Fetch::Direct;
    let e = NativeSource::connect(&settings).err().unwrap();
    assert_eq!(e.kind, KafkaErrorKind::Unsupported);
    assert!(e.message.contains("'kafka.socket.nagle.disable' is an option of librdkafka"), "{e}");
}

#[test]
fn brokers_that_are_too_old_are_left_to_the_library() {
    let broker = Broker::new(&[("t", 1)]);
    broker.count("t", 0, 0..10);
    broker.cluster.apiversion(RDKafkaApiKey::Fetch, Some(0), Some(9)).unwrap();
    let e = NativeSource::connect(&broker.settings(Fetch::Direct)).err().unwrap();
    assert!(e.message.contains("version 10 of Fetch"), "{e}");
    let mut source = NativeSource::connect(&broker.settings(Fetch::Auto)).unwrap();
    source.start(&[(part("t", 0), 0)]).unwrap();
    assert!(matches!(source.way, Way::Library(_)));
    let mut seen = Seen::default();
    read_to(&mut source, &mut seen, &[10]);
}

#[test]
fn closing_waits_for_nobody_who_waits() {
    let broker = Broker::new(&[("t", 1)]);
    broker.cluster.coordinator(MockCoordinator::Group("nobody".into()), 1).unwrap();
    let mut settings = broker.settings(Fetch::Direct);
    // A fetch that waits for ten seconds.
    settings.connection.native = vec![("fetch.wait.max.ms".to_owned(), "10000".to_owned())];
    let mut source = NativeSource::connect(&settings).unwrap();
    source.start(&[(part("t", 0), 0)]).unwrap();
    until(&mut source, |event| matches!(event, Event::Reached { next: 0, .. }));
    nothing(&mut source).unwrap();
    let from = Instant::now();
    source.close(Duration::from_secs(8));
    assert!(from.elapsed() < Duration::from_secs(5), "{:?}", from.elapsed());
}

/// Jumps, pauses, leaders that move, brokers that go and come, errors in between, all at once and by chance.
#[test]
fn whatever_happens_each_message_comes_once_in_its_order() {
    const PARTS: usize = 4;
    const N: i64 = 600;
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
    println!("seed {seed}");
    let mut random = seed;
    let mut below = |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % n as u64) as usize
    };
    let broker = Broker::with(3, &[("t", PARTS as i32)], &[]);
    (0..PARTS).for_each(|p| broker.count("t", p as i32, 0..N as usize));
    let parts: Vec<(Part, i64)> = (0..PARTS).map(|p| (part("t", p as i32), 0)).collect();
    let mut source = broker.source(Fetch::Direct, &parts);
    let (mut next, mut paused) = ([0_i64; PARTS], [false; PARTS]);
    let from = Instant::now();
    let mut round = 0;
    while round < 150 || next != [N; PARTS] {
        assert!(from.elapsed() < 2 * PATIENCE, "seed {seed}: stuck at {next:?}, paused {paused:?}");
        let (p, id) = (below(PARTS), below(3) as i32 + 1);
        match if round < 150 { below(12) } else { usize::MAX } {
            0 => {
                next[p] = below(N as usize + 1) as i64;
                paused[p] = false;
                source.seek(p, next[p]).unwrap();
            }
            1 => {
                paused[p] = true;
                source.pause(p).unwrap();
            }
            2 => {
                paused[p] = false;
                source.resume(p, next[p]).unwrap();
            }
            3 => broker.cluster.partition_leader("t", p as i32, Some(id)).unwrap(),
            4 => broker.cluster.partition_leader("t", p as i32, None).unwrap(),
            5 => broker.cluster.broker_down(id).unwrap(),
            6 => broker.cluster.broker_up(id).unwrap(),
            7 => {
                let passing =
                    [Code::RD_KAFKA_RESP_ERR__TRANSPORT, Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION];
                broker.cluster.request_errors(RDKafkaApiKey::Fetch, &passing[..=below(2)]);
            }
            usize::MAX if round == 150 => {
                (1..=3).for_each(|id| broker.cluster.broker_up(id).unwrap());
                for p in 0..PARTS {
                    broker.cluster.partition_leader("t", p as i32, Some(p as i32 % 3 + 1)).unwrap();
                    source.resume(p, next[p]).unwrap();
                    paused[p] = false;
                }
            }
            _ => {}
        }
        round += 1;
        let mut left = 1 + below(200);
        let polled = source.poll(Duration::from_millis(20), &mut |event| {
            match event {
                Event::Message(m) => {
                    assert!(!paused[m.part], "seed {seed}: partition {} is paused", m.part);
                    assert_eq!((m.part, m.offset), (m.part, next[m.part]), "seed {seed}");
                    next[m.part] += 1;
                }
                Event::Reached { part, next: end } => assert_eq!((end, next[part]), (N, N), "seed {seed}"),
            }
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(polled.as_ref().err().is_none_or(|e| e.kind == KafkaErrorKind::Retriable), "{polled:?}");
    }
}

/// Polls for so many messages; checks that each is of whoever is in its slot, and comes next.
fn take(fetcher: &mut Fetcher, slots: &mut [Option<(Part, i64)>], most: usize) -> usize {
    let mut given = 0;
    let polled = fetcher.poll(Duration::from_millis(20), &mut |event| {
        if let Event::Message(m) = event {
            let (part, next) = slots[m.part].as_mut().expect("a message of an empty slot");
            let value = String::from_utf8_lossy(m.value.unwrap()).into_owned();
            assert_eq!((m.offset, value), (*next, format!("{part}@{next}")), "slot {}", m.part);
            *next += 1;
            given += 1;
        }
        if given == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    polled.unwrap();
    given
}

#[test]
fn slots_are_of_whoever_is_in_them_whatever_is_under_way() {
    let broker = Broker::with(2, &[("t", 3), ("u", 3)], &[]);
    let parts: Vec<Part> = ["t", "u"].iter().flat_map(|t| (0..3).map(|p| part(t, p))).collect();
    for (n, p) in parts.iter().enumerate() {
        broker.cluster.partition_leader(&p.topic, p.partition, Some(n as i32 % 2 + 1)).unwrap();
        for at in 0..2_000 {
            let value = format!("{p}@{at}");
            broker.send(BaseRecord::to(&p.topic).partition(p.partition).payload(value.as_bytes()));
        }
        broker.flush();
    }
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut state = seed | 1;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    let mut fetcher = Fetcher::new(&broker.settings(Fetch::Direct), &[]);
    let mut slots: Vec<Option<(Part, i64)>> = vec![None; 4];
    assert_eq!(take(&mut fetcher, &mut slots, 1), 0);
    for _ in 0..300 {
        let slot = random(4);
        // What is there goes, in the middle of an answer mostly, and somebody else may come into its place at once.
        let free: Vec<&Part> =
            parts.iter().filter(|p| slots.iter().flatten().all(|(q, _)| q != *p)).collect();
        match (random(4), &mut slots[slot]) {
            (0, place) => {
                fetcher.release(slot);
                *place = None;
            }
            (1, Some((_, next))) => {
                *next = random(2_000) as i64;
                fetcher.seek(slot, *next);
            }
            (_, place) => {
                let (new, from) = (free[random(free.len())], random(1_990) as i64);
                fetcher.assign(slot, new, from);
                *place = Some((new.clone(), from));
            }
        }
        take(&mut fetcher, &mut slots, 1 + random(150));
    }
    // All that is there comes to its end, and nothing else.
    let from = Instant::now();
    while slots.iter().flatten().any(|(_, next)| *next < 2_000) {
        assert!(from.elapsed() < PATIENCE, "nothing comes any more: {slots:?}");
        take(&mut fetcher, &mut slots, usize::MAX);
    }
    // An empty place stays empty.
    (0..4).for_each(|slot| fetcher.release(slot));
    slots.fill(None);
    fetcher.seek(0, 0);
    (0..5).for_each(|_| assert_eq!(take(&mut fetcher, &mut slots, 1), 0));
    fetcher.assign(9, &parts[0], 0);
    slots.resize(10, None);
    slots[9] = Some((parts[0].clone(), 0));
    let from = Instant::now();
    while take(&mut fetcher, &mut slots, 1) == 0 {
        assert!(from.elapsed() < PATIENCE);
    }
}
