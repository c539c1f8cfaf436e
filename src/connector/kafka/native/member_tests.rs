//! Members of groups, against the broker that librdkafka keeps in memory for tests: who fetches, and what is never given.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::Offset;

use super::NativeMember;
use crate::connector::kafka::client::{Fetch, KafkaErrorKind, Part};
use crate::connector::kafka::member::{Change, GIVE_UP_WITHIN, KafkaMember, MemberSettings};
use crate::connector::kafka::native::source::tests::{Broker, PATIENCE, both_ways, part};
use crate::record::Clock;

fn settings(broker: &Broker, fetch: Fetch, topics: &[&str], assignor: &'static str) -> MemberSettings {
    let source = broker.settings(fetch);
    let mut connection = source.connection;
    connection.native.push(("heartbeat.interval.ms".to_owned(), "100".to_owned()));
    MemberSettings {
        connection,
        group: "g".to_owned(),
        static_id: None,
        topics: topics.iter().map(|t| (*t).to_owned()).collect(),
        assignor,
        discovery_interval: Duration::from_secs(60),
        read_committed: false,
        headers: true,
        prefetch_bytes: source.prefetch_bytes,
        fetch,
    }
}

/// A member that takes what it is given, from the first offset on.
struct Owner {
    member: NativeMember,
    /// Partition and the offset that comes next.
    lanes: Vec<Option<(Part, i64)>>,
    seen: Vec<(Part, i64)>,
}

impl Owner {
    fn join(settings: &MemberSettings) -> Self {
        let member = NativeMember::join(settings).unwrap();
        assert_eq!(member.fetcher.is_some(), settings.fetch != Fetch::Library);
        Self { member, lanes: Vec::new(), seen: Vec::new() }
    }

    /// Polls for so many messages.
    fn poll(&mut self, most: usize) -> usize {
        let (lanes, seen) = (&mut self.lanes, &mut self.seen);
        let before = seen.len();
        let polled = self.member.poll(Duration::from_millis(50), &mut |m| {
            let (part, next) = lanes[m.part].as_mut().expect("a message of an empty slot");
            assert_eq!(m.value, Some(m.offset.to_string().as_bytes()), "{part}");
            assert_eq!(m.offset, *next, "{part}");
            *next += 1;
            seen.push((part.clone(), m.offset));
            if seen.len() - before == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        polled.unwrap();
        self.seen.len() - before
    }

    /// Carries out what was decided; new partitions go into the first slots that are free.
    fn obey(&mut self) {
        while let Some(change) = self.member.take_change() {
            match change {
                Change::Assigned(parts) => {
                    let mut told = Vec::new();
                    for part in parts {
                        let free = self.lanes.iter().position(Option::is_none);
                        let slot = free.unwrap_or_else(|| {
                            self.lanes.push(None);
                            self.lanes.len() - 1
                        });
                        self.lanes[slot] = Some((part.clone(), 0));
                        told.push((slot, part.clone(), 0));
                    }
                    self.member.accept(&told).unwrap();
                }
                Change::Revoked(parts) | Change::Lost(parts) => {
                    self.lanes.iter_mut().for_each(|l| drop(l.take_if(|(p, _)| parts.contains(p))));
                    self.member.release(&parts).unwrap();
                }
            }
        }
    }

    fn has(&self) -> usize {
        self.lanes.iter().flatten().count()
    }
}

/// Lets it go on until `done`.
fn until(owner: &mut Owner, done: impl Fn(&Owner) -> bool) {
    let since = Instant::now();
    while !done(owner) {
        assert!(since.elapsed() < PATIENCE, "in vain");
        owner.obey();
        owner.poll(77);
    }
}

fn offsets(owner: &Owner, part: &Part) -> Vec<i64> {
    owner.seen.iter().filter(|(p, _)| p == part).map(|(_, o)| *o).collect()
}

fn joined(broker: &Broker, fetch: Fetch, topics: &[&str], partitions: usize) -> Owner {
    let mut owner = Owner::join(&settings(broker, fetch, topics, "range"));
    until(&mut owner, |o| o.has() == partitions);
    owner
}

both_ways!(each_message_comes_once_and_from_where_it_is_told);

fn each_message_comes_once_and_from_where_it_is_told(fetch: Fetch) {
    let broker = Broker::new(&[("t", 2), ("u", 1)]);
    let parts = [part("t", 0), part("t", 1), part("u", 0)];
    parts.iter().for_each(|p| broker.count(&p.topic, p.partition, 0..3_000));
    let mut owner = joined(&broker, fetch, &["t", "u"], 3);
    until(&mut owner, |o| o.seen.len() >= 1_000);
    // Back, and on.
    owner.seen.clear();
    for lane in owner.lanes.iter_mut().flatten() {
        lane.1 = 500;
        owner.member.seek(&lane.0, 500).unwrap();
    }
    until(&mut owner, |o| o.seen.len() >= 7_500);
    assert_eq!(owner.poll(1), 0);
    parts.iter().for_each(|p| assert_eq!(offsets(&owner, p), (500..3_000).collect::<Vec<_>>(), "{p}"));
    let e = owner.member.seek(&part("t", 7), 0);
    assert!(e.is_err(), "it does not have that partition");
}

both_ways!(nothing_comes_of_what_was_taken_away);

fn nothing_comes_of_what_was_taken_away(fetch: Fetch) {
    let broker = Broker::new(&[("t", 1)]);
    broker.count("t", 0, 0..3_000);
    let mut owner = joined(&broker, fetch, &["t"], 1);
    // An answer is under way, and others wait.
    until(&mut owner, |o| !o.seen.is_empty());
    owner.poll(1);
    let shared = owner.member.shared().unwrap();
    let now = Clock::System.monotonic();
    shared.consumer.context().inner.lock().leaving = Some((vec![part("t", 0)], now));
    shared.take_away(now + GIVE_UP_WITHIN);
    assert!(!shared.consumer.context().has_news(), "it is early yet");
    shared.take_away(now + GIVE_UP_WITHIN + Duration::from_millis(1));
    let seen = owner.seen.len();
    assert_eq!(owner.poll(1), 0);
    let change = owner.member.take_change();
    assert_eq!(change, Some(Change::Lost(vec![part("t", 0)])));
    for _ in 0..5 {
        assert_eq!(owner.poll(usize::MAX), 0);
    }
    owner.member.release(&[part("t", 0)]).unwrap();
    for _ in 0..5 {
        assert_eq!(owner.poll(usize::MAX), 0);
    }
    assert_eq!(owner.seen.len(), seen);
}

#[test]
fn what_is_revoked_or_lost_is_fetched_no_more_even_before_it_is_given_up() {
    for lost in [false, true] {
        let broker = Broker::new(&[("t", 1)]);
        broker.count("t", 0, 0..3_000);
        let mut owner = joined(&broker, Fetch::Direct, &["t"], 1);
        until(&mut owner, |o| !o.seen.is_empty());
        let shared = owner.member.shared().unwrap();
        let membership = shared.consumer.context();
        let parts = vec![part("t", 0)];
        let change = if lost { Change::Lost(parts) } else { Change::Revoked(parts) };
        membership.tell(&mut membership.inner.lock(), change.clone());
        assert_eq!(owner.poll(1), 0, "{change:?} waits");
        assert_eq!(owner.member.take_change(), Some(change));
        (0..5).for_each(|_| assert_eq!(owner.poll(1), 0));
    }
}

#[test]
fn a_decision_that_arrives_among_messages_ends_the_poll() {
    let broker = Broker::new(&[("t", 1)]);
    broker.count("t", 0, 0..3_000);
    let mut owner = joined(&broker, Fetch::Direct, &["t"], 1);
    until(&mut owner, |o| !o.seen.is_empty());
    let shared = owner.member.shared().unwrap();
    let membership = shared.consumer.context();
    let (since, mut n) = (Instant::now(), 0);
    while n == 0 {
        assert!(since.elapsed() < PATIENCE);
        let polled = owner.member.poll(Duration::from_millis(50), &mut |_| {
            n += 1;
            if n == 10 {
                membership.tell(&mut membership.inner.lock(), Change::Lost(vec![part("t", 0)]));
            }
            ControlFlow::Continue(())
        });
        polled.unwrap();
    }
    assert_eq!(n, 10);
}

#[test]
fn an_owner_that_was_held_up_reads_on_and_the_library_stays_paused() {
    let broker = Broker::new(&[("t", 1)]);
    broker.count("t", 0, 0..100);
    let mut owner = joined(&broker, Fetch::Direct, &["t"], 1);
    until(&mut owner, |o| o.seen.len() == 100);
    let shared = owner.member.shared().unwrap();
    let place = || shared.consumer.position().unwrap().elements().first().map(|e| e.offset());
    let before = place();
    let later = || Clock::System.monotonic() + Duration::from_secs(10);
    for _ in 0..2 {
        shared.keep_alive(later());
        assert!(!shared.polling.lock().owner(Clock::System.monotonic()), "nothing is to be resumed");
    }
    broker.count("t", 0, 100..3_000);
    until(&mut owner, |o| o.seen.len() == 3_000);
    shared.keep_alive(later());
    assert_eq!(offsets(&owner, &part("t", 0)), (0..3_000).collect::<Vec<_>>());
    // Of what came since the library has given nothing.
    assert_eq!(place(), before);
    assert!(matches!(before, None | Some(Offset::Invalid | Offset::Offset(0..=100))), "{before:?}");
}

#[test]
fn the_library_goes_on_where_we_can_not() {
    let broker = Broker::new(&[("t", 2)]);
    (0..2).for_each(|p| broker.count("t", p, 0..2_000));
    let mut owner = joined(&broker, Fetch::Auto, &["t"], 2);
    until(&mut owner, |o| o.seen.len() >= 777);
    owner.member.hand_over(&part("t", 0)).unwrap();
    assert!(owner.member.fetcher.is_none());
    until(&mut owner, |o| o.seen.len() >= 4_000);
    (0..2).for_each(|p| assert_eq!(offsets(&owner, &part("t", p)), (0..2_000).collect::<Vec<_>>()));
    // Who insists is told why.
    owner.member.close(PATIENCE);
    let broker = Broker::new(&[("t", 2)]);
    let mut owner = joined(&broker, Fetch::Direct, &["t"], 2);
    let e = owner.member.hand_over(&part("t", 0)).unwrap_err();
    assert_eq!(e.kind, KafkaErrorKind::Unsupported);
    assert!(e.message.contains("before Kafka 0.11") && e.message.contains("fetch = 'auto'"), "{e}");
}

#[test]
fn an_offset_that_is_not_there_is_told_and_reading_goes_on_where_it_is_told_to() {
    let broker = Broker::new(&[("t", 1)]);
    broker.count("t", 0, 0..100);
    let mut owner = joined(&broker, Fetch::Direct, &["t"], 1);
    until(&mut owner, |o| o.seen.len() == 100);
    let part = part("t", 0);
    for _ in 0..2 {
        owner.member.seek(&part, 5_000).unwrap();
        // Once for each fetch, until somebody says where to go on.
        for _ in 0..2 {
            let since = Instant::now();
            let e = loop {
                assert!(since.elapsed() < PATIENCE);
                if let Err(e) = owner.member.poll(Duration::from_millis(50), &mut |_| ControlFlow::Break(()))
                {
                    break e;
                }
            };
            assert_eq!(e.kind, KafkaErrorKind::OutOfRange(usize::MAX));
            assert!(e.message.contains("offset 5000"), "{e}");
        }
        owner.member.seek(&part, 90).unwrap();
        owner.lanes[0] = Some((part.clone(), 90));
        let seen = owner.seen.len();
        until(&mut owner, |o| o.seen.len() == seen + 10);
    }
}

#[test]
fn closing_waits_for_no_fetch_that_waits() {
    let broker = Broker::new(&[("t", 1)]);
    let mut settings = settings(&broker, Fetch::Direct, &["t"], "cooperative-sticky");
    settings.connection.native[0].1 = "10000".to_owned();
    let mut owner = Owner::join(&settings);
    until(&mut owner, |o| o.has() == 1);
    (0..3).for_each(|_| assert_eq!(owner.poll(1), 0));
    let from = Instant::now();
    owner.member.close(Duration::from_secs(8));
    assert!(from.elapsed() < Duration::from_secs(6), "{:?}", from.elapsed());
}

#[test]
fn options_of_the_library_are_for_the_library() {
    let broker = Broker::new(&[("t", 1)]);
    let mut settings = settings(&broker, Fetch::Auto, &["t"], "range");
    settings.connection.native.push(("socket.nagle.disable".to_owned(), "true".to_owned()));
    assert!(NativeMember::join(&settings).unwrap().fetcher.is_none());
    settings.fetch = Fetch::Direct;
    let e = NativeMember::join(&settings).err().unwrap();
    assert_eq!(e.kind, KafkaErrorKind::Unsupported);
    assert!(e.message.contains("'kafka.socket.nagle.disable' is an option of librdkafka"), "{e}");
}
