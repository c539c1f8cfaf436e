//! The topic `<job>.positions`: where the sources of a job stand, for jobs whose sources are not in Kafka.
//!
//! One partition, compacted; the key is the transactional id, the value a JSON object, written in the transaction of its epoch:
//! `{"job": …, "epoch": n, "sources": [{"name": …, "position": …, "bytes": base64}]}`.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::client::{
    Bounds, Connection, Event, Fetch, KafkaClient, KafkaError, KafkaErrorKind, KafkaSink, KafkaSource, Part,
    SourceSettings,
};
use super::outbox::Outbox;
use super::transactor::UnderWay;
use crate::record::{Clock, Position};

/// How the topic is made: old records go, also while the newest segment is written.
const SETTINGS: &[(&str, &str)] = &[("cleanup.policy", "compact"), ("segment.ms", "3600000")];
/// So many offsets before the end are read first; the last record is among them unless other jobs share the topic.
const TAIL: i64 = 1000;
/// Messages that are fetched ahead are small and few.
const PREFETCH: usize = 1 << 20;
/// How often it is looked whether a transaction has ended.
const LOOK: Duration = Duration::from_millis(20);

pub(super) struct PositionsTopic {
    job: String,
    topic: Arc<str>,
    key: String,
    connection: Connection,
    /// How long transactions of others may last that hide what is behind their beginning.
    hidden: Duration,
    outbox: Outbox,
    /// The last record: names and bytes of the positions.
    last: Vec<(String, Vec<u8>)>,
}

impl PositionsTopic {
    /// `hidden`: how long transactions of others that write there may last.
    pub(super) fn new(job: &str, key: String, connection: Connection, hidden: Duration) -> Self {
        let topic = format!("{job}.positions").into();
        let outbox = Outbox::default();
        Self { job: job.to_owned(), topic, key, connection, hidden, outbox, last: Vec::new() }
    }

    /// The epoch of the last record; makes the topic if it is not there. Our own transactions are decided; one of another instance
    /// that died in it hides ours behind it from readers of what is committed, until the brokers abort it: that is waited for.
    pub(super) fn read(
        &mut self,
        client: &dyn KafkaClient,
        sink: &mut dyn KafkaSink,
    ) -> Result<Option<u64>, KafkaError> {
        self.last.clear();
        if sink.partitions(&self.topic)?.is_none() {
            log::info!("making the topic {}, compacted, for the positions of job {}", self.topic, self.job);
            sink.create_topic(&self.topic, 1, SETTINGS)?;
            return Ok(None);
        }
        let open = |read_committed| {
            client.source(&SourceSettings {
                connection: self.connection.clone(),
                group: None,
                read_committed,
                headers: false,
                prefetch_bytes: PREFETCH,
                accept_gaps: true,
                fetch: Fetch::Auto,
            })
        };
        let part = Part { topic: self.topic.clone(), partition: 0 };
        let mut whole = open(false)?;
        let all = whole.bounds(std::slice::from_ref(&part));
        whole.close(Duration::from_secs(5));
        let Some(all) = all?.first().copied() else { return Ok(None) };
        let mut source = open(true)?;
        let bounds = self.seen(&mut *source, &part, all.end)?;
        let tail = bounds.first.max(bounds.end - TAIL);
        let mut found = None;
        for from in [tail, bounds.first] {
            if found.is_some() || from >= bounds.end {
                break;
            }
            source.start(&[(part.clone(), from)])?;
            found = self.last_from(&mut *source, from, bounds.end)?;
        }
        source.close(Duration::from_secs(5));
        match found {
            Some(value) => self.parse(&value).map(Some),
            None => Ok(None),
        }
    }

    /// Waits until a reader of what is committed sees everything before `end`.
    fn seen(&self, source: &mut dyn KafkaSource, part: &Part, end: i64) -> Result<Bounds, KafkaError> {
        let clock = Clock::System;
        let until = clock.monotonic() + self.connection.timeout + self.hidden;
        loop {
            let late = clock.monotonic() > until;
            match source.bounds(std::slice::from_ref(part)) {
                Ok(bounds) => match bounds.first() {
                    Some(bounds) if bounds.end >= end => return Ok(*bounds),
                    bounds if late => {
                        let seen = bounds.map_or(0, |b| b.end);
                        return Err(KafkaError::retriable(format!(
                            "topic {}: its end is {end}, but what is committed can be read only to {seen}; a transaction of another \
                             instance that is open there hides what is behind its beginning until its transaction_timeout is over",
                            self.topic
                        )));
                    }
                    _ => {}
                },
                Err(e) if e.kind == KafkaErrorKind::Retriable && !late => {}
                Err(e) => return Err(e),
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// The value of the last message with our key before `end`.
    fn last_from(
        &self,
        source: &mut dyn KafkaSource,
        from: i64,
        end: i64,
    ) -> Result<Option<Vec<u8>>, KafkaError> {
        let clock = Clock::System;
        let until = clock.monotonic() + self.connection.timeout;
        let (mut next, mut found) = (from, None);
        while next < end {
            let polled = source.poll(Duration::from_millis(100), &mut |event| {
                match event {
                    Event::Message(m) => {
                        if m.offset < end && m.key == Some(self.key.as_bytes()) {
                            found = m.value.map(<[u8]>::to_vec);
                        }
                        next = next.max(m.offset + 1);
                    }
                    Event::Reached { next: at, .. } => next = next.max(at),
                }
                ControlFlow::Continue(())
            });
            match polled {
                Err(e) if e.kind != KafkaErrorKind::Retriable => return Err(e),
                _ if next < end && clock.monotonic() > until => {
                    return Err(KafkaError::retriable(format!(
                        "topic {}: it could not be read to its end at {end}, only to {next}",
                        self.topic
                    )));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn parse(&mut self, value: &[u8]) -> Result<u64, KafkaError> {
        let parsed = || {
            let value: Value = serde_json::from_slice(value).ok()?;
            let epoch = value.get("epoch")?.as_u64()?;
            let source = |s: &Value| {
                let bytes = STANDARD.decode(s.get("bytes")?.as_str()?).ok()?;
                Some((s.get("name")?.as_str()?.to_owned(), bytes))
            };
            let sources = value.get("sources")?.as_array()?.iter().map(source).collect::<Option<Vec<_>>>()?;
            Some((epoch, sources))
        };
        let Some((epoch, sources)) = parsed() else {
            return Err(KafkaError::fatal(format!(
                "topic {}: its last record with the key {} is none of this program's",
                self.topic, self.key
            )));
        };
        self.last = sources;
        Ok(epoch)
    }

    /// Writes a record within the transaction, and waits until it is there.
    pub(super) fn write<'a>(
        &mut self,
        under_way: &mut UnderWay,
        epoch: u64,
        positions: impl Iterator<Item = (&'a str, &'a Position)>,
        patience: Duration,
    ) -> Result<(), KafkaError> {
        let source = |(name, position): (&str, &Position)| json!({ "name": name, "position": position.to_string(), "bytes": STANDARD.encode(position.bytes()) });
        let sources: Vec<Value> = positions.map(source).collect();
        let value = json!({ "job": self.job, "epoch": epoch, "sources": sources }).to_string();
        self.outbox.clear();
        self.outbox.push(0, Some(self.key.as_bytes()), Some(value.as_bytes()), None, &[]);
        let sent = under_way.send(&self.topic, &self.outbox, 0)?;
        if let Some(e) = sent.stopped {
            return Err(e);
        }
        under_way.flush(patience)
    }

    /// Whether these are the positions of the last record.
    pub(super) fn agrees(&self, positions: &[(&str, &Position)]) -> Result<(), String> {
        for (name, bytes) in &self.last {
            match positions.iter().find(|(n, _)| n == name) {
                Some((_, position)) if position.bytes() == bytes => {}
                Some((_, position)) => {
                    return Err(format!(
                        "topic {} has another position of source {name} than {position}",
                        self.topic
                    ));
                }
                None => {
                    return Err(format!("topic {} has a source {name}, the snapshot has none", self.topic));
                }
            }
        }
        Ok(())
    }
}
