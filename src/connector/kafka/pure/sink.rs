//! A producer over the library's client: pieces of messages, each sent and acknowledged on the owner's thread, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use kafka::client::{Compression, ProduceMessage, RequiredAcks};

use super::kind_of;
use super::owner::{Owner, Session};
use crate::connector::kafka::client::{
    Counts, Failed, KafkaError, KafkaErrorKind, KafkaSink, KafkaTxn, Sent, SinkSettings,
};
use crate::connector::kafka::outbox::Outbox;
use crate::record::Clock;

/// Messages of one request, at most.
const PIECE: usize = 1000;
/// Bytes of one request, about: well below what brokers take.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces under way at a time.
const UNDER_WAY: usize = 3;
/// How long `send` waits for room.
const ROOM: Duration = Duration::from_secs(1);

/// Messages that are sent together.
#[derive(Default)]
struct Piece {
    topic: Arc<str>,
    first: u64,
    messages: Vec<OwnMessage>,
    bytes: usize,
}

struct OwnMessage {
    partition: i32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

/// What became of a piece.
struct Done {
    acked: u64,
    failed: Vec<Failed>,
}

pub(super) struct PureSink {
    settings: SinkSettings,
    owner: Owner,
    piece: Piece,
    under_way: VecDeque<(u64, Receiver<Done>)>,
    counts: Counts,
    failed: Vec<Failed>,
}

impl PureSink {
    pub(super) fn connect(settings: &SinkSettings) -> Result<Self, KafkaError> {
        let compression = match settings.compression.as_str() {
            "gzip" => Compression::GZIP,
            "snappy" => Compression::SNAPPY,
            _ => Compression::NONE,
        };
        let mut owner = Owner::new(&settings.connection, compression);
        owner.call(|session| session.refresh())?;
        Ok(Self {
            settings: settings.clone(),
            owner,
            piece: Piece::default(),
            under_way: VecDeque::new(),
            counts: Counts::default(),
            failed: Vec::new(),
        })
    }

    /// Hands the collected messages to the owner.
    fn post(&mut self) -> Result<(), KafkaError> {
        if self.piece.messages.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        let (n, acks, patience) =
            (piece.messages.len() as u64, self.settings.acks_all, self.settings.delivery_timeout);
        let timeout = self.settings.connection.timeout;
        let done = self.owner.post(move |session| deliver(session, &piece, acks, timeout, patience))?;
        self.under_way.push_back((n, done));
        Ok(())
    }

    /// Takes in what the owner has finished; waits at most `wait` for the oldest piece.
    fn collect(&mut self, wait: Duration) -> Result<(), KafkaError> {
        let mut wait = wait;
        while let Some((n, done)) = self.under_way.front() {
            match done.recv_timeout(wait) {
                Ok(done) => {
                    self.counts.acked += done.acked;
                    self.counts.failed += done.failed.len() as u64;
                    self.failed.extend(done.failed);
                }
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(KafkaError::fatal(format!(
                        "the client library has ended its thread with {n} messages"
                    )));
                }
            }
            self.under_way.pop_front();
            wait = Duration::ZERO;
        }
        Ok(())
    }
}

/// Sends a piece until each message is acknowledged, refused, or has been tried long enough.
fn deliver(session: &mut Session, piece: &Piece, all: bool, timeout: Duration, patience: Duration) -> Done {
    let clock = Clock::System;
    let until = clock.monotonic() + patience;
    let mut done = Done { acked: 0, failed: Vec::new() };
    let mut left: Vec<usize> = (0..piece.messages.len()).collect();
    let mut pause = Duration::from_millis(50);
    while !left.is_empty() {
        let refused = match produce(session, piece, &left, all, timeout) {
            Ok(refused) => refused,
            // Nobody knows what arrived: all of it again.
            Err(e) => left.iter().map(|i| (*i, e.clone())).collect(),
        };
        done.acked += (left.len() - refused.len()) as u64;
        left.clear();
        let expired = clock.monotonic() >= until;
        let alone = refused.len() == 1;
        for (i, error) in refused {
            match error.kind {
                // A set that is too large is refused as a whole: its messages one by one.
                KafkaErrorKind::Record if !alone => match produce(session, piece, &[i], all, timeout) {
                    Ok(again) if again.is_empty() => done.acked += 1,
                    Ok(again) => again.into_iter().for_each(|(i, e)| match e.kind {
                        KafkaErrorKind::Retriable if !expired => left.push(i),
                        _ => done.failed.push(failed(piece, i, e)),
                    }),
                    Err(_) if !expired => left.push(i),
                    Err(e) => done.failed.push(failed(piece, i, e)),
                },
                KafkaErrorKind::Retriable if !expired => left.push(i),
                _ => done.failed.push(failed(piece, i, error)),
            }
        }
        if !left.is_empty() {
            std::thread::park_timeout(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
            // A failure to ask shows in the next attempt.
            let _ = session.refresh();
        }
    }
    done
}

fn failed(piece: &Piece, index: usize, error: KafkaError) -> Failed {
    let value = piece.messages.get(index).and_then(|m| m.value.clone()).unwrap_or_default();
    Failed { seq: piece.first + index as u64, error, value }
}

/// One request per broker; the messages that were not taken, in order.
fn produce(
    session: &mut Session,
    piece: &Piece,
    indices: &[usize],
    all: bool,
    timeout: Duration,
) -> Result<Vec<(usize, KafkaError)>, KafkaError> {
    let what = format!("topic {}", piece.topic);
    let acks = if all { RequiredAcks::All } else { RequiredAcks::One };
    let confirms = session.with(&what, |client| {
        let messages = indices
            .iter()
            .filter_map(|i| piece.messages.get(*i))
            .map(|m| ProduceMessage::new(&piece.topic, m.partition, m.key.as_deref(), m.value.as_deref()));
        client.produce_messages(acks, timeout, messages)
    })?;
    let answer = |partition: i32| {
        let mut all =
            confirms.iter().filter(|c| *c.topic == *piece.topic).flat_map(|c| &c.partition_confirms);
        all.find(|c| c.partition == partition).map(|c| c.offset)
    };
    let mut refused = Vec::new();
    for i in indices {
        let Some(message) = piece.messages.get(*i) else { continue };
        match answer(message.partition) {
            Some(Ok(_)) => {}
            Some(Err(code)) => {
                let error = KafkaError::new(
                    kind_of(code),
                    format!("{what}, partition {}: {code:?}", message.partition),
                );
                refused.push((*i, error));
            }
            None => {
                refused.push((*i, KafkaError::retriable(format!("{what}: an answer without the partition"))))
            }
        }
    }
    Ok(refused)
}

impl KafkaSink for PureSink {
    fn partitions(&mut self, topic: &str) -> Result<Option<i32>, KafkaError> {
        let topic = topic.to_owned();
        self.owner.call(move |session| {
            session.refresh()?;
            session.with(&topic, |client| {
                Ok(client.topics().partitions(&topic).map(|p| p.len() as i32).filter(|n| *n > 0))
            })
        })
    }

    fn topics(&mut self) -> Result<Vec<String>, KafkaError> {
        self.owner.call(|session| {
            session.refresh()?;
            session.with("topics", |client| Ok(client.topics().names().map(str::to_owned).collect()))
        })
    }

    fn send(&mut self, topic: &Arc<str>, outbox: &Outbox, from: usize) -> Result<Sent, KafkaError> {
        let mut accepted = 0;
        while let Some(message) = outbox.get(from + accepted) {
            if *self.piece.topic != **topic {
                self.post()?;
                self.piece.topic = topic.clone();
            }
            if self.piece.messages.len() >= PIECE || self.piece.bytes >= PIECE_BYTES {
                if self.under_way.len() >= UNDER_WAY {
                    self.collect(ROOM)?;
                }
                if self.under_way.len() >= UNDER_WAY {
                    let stopped = KafkaError::retriable(format!(
                        "topic {topic}: the brokers have not taken what was sent"
                    ));
                    return Ok(Sent { accepted, stopped: Some(stopped) });
                }
                self.post()?;
                self.piece.topic = topic.clone();
            }
            if self.piece.messages.is_empty() {
                self.piece.first = self.counts.accepted;
            }
            self.piece.bytes += message.size() + 26;
            self.piece.messages.push(OwnMessage {
                partition: message.partition(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.value().map(<[u8]>::to_vec),
            });
            self.counts.accepted += 1;
            accepted += 1;
        }
        self.collect(Duration::ZERO)?;
        Ok(Sent { accepted, stopped: None })
    }

    fn nudge(&mut self) -> Result<(), KafkaError> {
        self.collect(Duration::ZERO)?;
        if self.under_way.len() < UNDER_WAY { self.post() } else { Ok(()) }
    }

    fn flush(&mut self, deadline: Duration) -> Result<(), KafkaError> {
        let clock = Clock::System;
        let until = clock.monotonic() + deadline;
        while self.under_way.len() >= UNDER_WAY && clock.monotonic() < until {
            self.collect(until.saturating_sub(clock.monotonic()))?;
        }
        self.post()?;
        while !self.under_way.is_empty() && clock.monotonic() < until {
            self.collect(until.saturating_sub(clock.monotonic()))?;
        }
        match self.under_way.is_empty() {
            true => Ok(()),
            false => Err(KafkaError::retriable(format!(
                "brokers {}: messages are not acknowledged after {deadline:?}",
                self.settings.connection.servers
            ))),
        }
    }

    fn take_failed(&mut self) -> Vec<Failed> {
        std::mem::take(&mut self.failed)
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn create_topic(
        &mut self,
        name: &str,
        _partitions: i32,
        _settings: &[(&str, &str)],
    ) -> Result<(), KafkaError> {
        let message = format!("the client 'kafka' can't make the topic {name}");
        Err(KafkaError::new(KafkaErrorKind::Unsupported, message))
    }

    fn txn(&mut self) -> Option<&mut dyn KafkaTxn> {
        None
    }

    fn close(&mut self, _deadline: Duration) {
        self.under_way.clear();
        self.owner.leave();
    }
}
