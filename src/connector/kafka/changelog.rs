//! The topic `<job>.changelog`: the state of a job that shares a group, by partition of its source.
//!
//! It is compacted and has the partitions of the source. What stands in partition p is the state of the rows of partition p: checkpoint
//! files, the newest that is whole and those behind it, in *pieces* with numbers; and one record, the *head*, that says which numbers
//! count and where the group stood in the source. All of an epoch is in the transaction that commits the offsets, whose metadata
//! repeats the head's `commit`: so whoever takes a partition over knows that it has the state that belongs to the offset.
//!
//! ```text
//! piece: key  16 hexadecimal digits: its number     value  flags:u8 (1: the last one of a file) bytes
//! head:  key  "head"                                value  JSON
//! ```
//! A head comes behind its pieces. Where a whole file takes the place of others, their pieces are deleted; whoever reads them before
//! they are compacted away leaves them out by the numbers of the head.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{
    Connection, Event, Fetch, KafkaClient, KafkaError, KafkaErrorKind, KafkaSource, Part, SinkSettings,
    SourceSettings,
};
use super::outbox::Outbox;
use super::transactor::{UnderWay, again};
use crate::io::Kept;
use crate::record::Clock;

/// How the topic is made. What is not compacted yet is read by whoever takes a partition over, so segments are short.
const SETTINGS: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.ms", "600000"),
    ("segment.bytes", "67108864"),
    ("min.cleanable.dirty.ratio", "0.2"),
];
/// Bytes of a piece: a message of any broker takes them.
const PIECE: usize = 256 << 10;
const LAST: u8 = 1;
const HEAD: &[u8] = b"head";
/// Messages that are fetched ahead.
const PREFETCH: usize = 16 << 20;

/// What a head says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    job: String,
    group: String,
    topic: String,
    /// The pieces that count: from here to before `to`.
    from: u64,
    to: u64,
    /// The offset of the source that comes next.
    pub(super) offset: i64,
    /// The metadata that was committed with the offset.
    pub(super) commit: String,
}

impl Head {
    fn parse(value: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(value).ok()?;
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let number = |name: &str| value.get(name)?.as_u64();
        Some(Self {
            job: text("job")?,
            group: text("group")?,
            topic: text("topic")?,
            from: number("from")?,
            to: number("to")?,
            offset: value.get("offset")?.as_i64()?,
            commit: text("commit")?,
        })
    }

    fn to_json(&self) -> String {
        let Self { job, group, topic, from, to, offset, commit } = self;
        json!({ "job": job, "group": group, "topic": topic, "from": from, "to": to, "offset": offset, "commit": commit })
            .to_string()
    }
}

/// What a partition holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) head: Option<Head>,
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl Found {
    fn take(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        if key == HEAD {
            let head =
                value.map(|v| Head::parse(v).ok_or("its head is none of this program's")).transpose()?;
            if let Some(head) = &head {
                self.pieces = self.pieces.split_off(&head.from);
            }
            self.head = head;
            return Ok(());
        }
        let number = std::str::from_utf8(key).ok().and_then(|k| u64::from_str_radix(k, 16).ok());
        let number = number.ok_or("it has a message that is none of this program's")?;
        match value {
            Some(value) => self.pieces.insert(number, value.to_vec()),
            None => self.pieces.remove(&number),
        };
        Ok(())
    }

    /// The files that the head names, oldest first.
    pub(super) fn files(mut self) -> Result<Vec<Vec<u8>>, String> {
        let Some(head) = &self.head else { return Ok(Vec::new()) };
        let (mut files, mut file) = (Vec::new(), Vec::new());
        for number in head.from..head.to {
            let piece = self.pieces.remove(&number).ok_or_else(|| {
                format!("piece {number} of pieces {} to {} is not there", head.from, head.to - 1)
            })?;
            let (flags, bytes) = piece.split_first().ok_or("a piece is empty")?;
            file.extend_from_slice(bytes);
            if flags & LAST != 0 {
                files.push(std::mem::take(&mut file));
            }
        }
        match file.is_empty() {
            true => Ok(files),
            false => Err("its last file is not complete".into()),
        }
    }
}

/// The topic, for one job.
#[derive(Clone)]
pub(super) struct Changelog {
    pub(super) job: String,
    pub(super) group: String,
    /// The topic of the source.
    pub(super) of: Arc<str>,
    pub(super) topic: Arc<str>,
    pub(super) connection: Connection,
}

impl Changelog {
    pub(super) fn new(job: &str, group: &str, of: &str, connection: Connection) -> Self {
        let topic = format!("{job}.changelog").into();
        Self { job: job.to_owned(), group: group.to_owned(), of: of.into(), topic, connection }
    }

    /// Sees to it that the topic is there, with as many partitions as that of the source.
    pub(super) fn ensure(&self, client: &dyn KafkaClient, partitions: usize) -> Result<(), KafkaError> {
        let mut sink = client.sink(&SinkSettings {
            connection: self.connection.clone(),
            compression: "none".into(),
            acks_all: true,
            linger: Duration::ZERO,
            delivery_timeout: self.connection.timeout,
            batch_bytes: None,
            transactional_id: None,
            transaction_timeout: self.connection.timeout,
        })?;
        let mut there = sink.partitions(&self.topic)?;
        if there.is_none() {
            log::info!("making the topic {}, compacted, for the state of job {}", self.topic, self.job);
            sink.create_topic(&self.topic, i32::try_from(partitions).unwrap_or(i32::MAX), SETTINGS)
                .map_err(|e| self.can_not_be_made(&e, partitions))?;
            there = again(self.connection.timeout, || match sink.partitions(&self.topic)? {
                None => Err(KafkaError::retriable(format!("topic {} was made and is not there", self.topic))),
                some => Ok(some),
            })?;
        }
        sink.close(Duration::from_secs(5));
        match there.and_then(|n| usize::try_from(n).ok()) {
            Some(n) if n == partitions => Ok(()),
            n => Err(KafkaError::fatal(format!(
                "topic {} has {} partitions and {} has {partitions}: the state of a partition stands in the one with its number, so \
                 they must be as many; when the source gets more, equal keys are in other partitions than before: start over with \
                 another job_name and group_id",
                self.topic,
                n.unwrap_or(0),
                self.of
            ))),
        }
    }

    fn can_not_be_made(&self, e: &KafkaError, partitions: usize) -> KafkaError {
        KafkaError::new(
            e.kind,
            format!(
                "{e}; make it by hand: kafka-topics.sh --create --topic {} --partitions {partitions} --config cleanup.policy=compact",
                self.topic
            ),
        )
    }

    /// Reads these partitions to their end as it is now.
    pub(super) fn read(
        &self,
        client: &dyn KafkaClient,
        partitions: &[i32],
    ) -> Result<Vec<Found>, KafkaError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let mut source = client.source(&SourceSettings {
            connection: self.connection.clone(),
            group: None,
            read_committed: true,
            headers: false,
            prefetch_bytes: PREFETCH,
            accept_gaps: true,
            fetch: Fetch::Auto,
        })?;
        let found = self.read_all(&mut *source, partitions);
        source.close(Duration::from_secs(5));
        found
    }

    fn read_all(&self, source: &mut dyn KafkaSource, partitions: &[i32]) -> Result<Vec<Found>, KafkaError> {
        let part = |p: &i32| Part { topic: self.topic.clone(), partition: *p };
        let parts: Vec<Part> = partitions.iter().map(part).collect();
        let bounds = again(self.connection.timeout, || source.bounds(&parts))?;
        let starts: Vec<(Part, i64)> = parts.iter().cloned().zip(bounds.iter().map(|b| b.first)).collect();
        source.start(&starts)?;
        let mut next: Vec<i64> = bounds.iter().map(|b| b.first).collect();
        let mut found: Vec<Found> = bounds.iter().map(|_| Found::default()).collect();
        let mut wrong = None;
        let clock = Clock::System;
        let mut until = clock.monotonic() + self.connection.timeout;
        while next.iter().zip(&bounds).any(|(next, b)| *next < b.end) {
            let mut moved = false;
            let polled = source.poll(Duration::from_millis(100), &mut |event| {
                let (at, to) = match event {
                    Event::Message(m) => {
                        let in_time = bounds.get(m.part).is_some_and(|b| m.offset < b.end);
                        if let Some(found) = found.get_mut(m.part).filter(|_| in_time)
                            && let Err(why) = found.take(m.key.unwrap_or_default(), m.value)
                        {
                            wrong = Some((m.part, why));
                            return ControlFlow::Break(());
                        }
                        (m.part, m.offset + 1)
                    }
                    Event::Reached { part, next } => (part, next),
                };
                if let Some(next) = next.get_mut(at).filter(|next| **next < to) {
                    (*next, moved) = (to, true);
                }
                ControlFlow::Continue(())
            });
            if let Some((at, why)) = wrong.take() {
                let part = parts.get(at).map_or_else(String::new, ToString::to_string);
                return Err(KafkaError::fatal(format!("{part}: {why}; give the job another job_name")));
            }
            match polled {
                Err(e) if e.kind != KafkaErrorKind::Retriable => return Err(e),
                _ if moved => until = clock.monotonic() + self.connection.timeout,
                _ if clock.monotonic() > until => {
                    return Err(KafkaError::retriable(format!(
                        "topic {}: it could not be read to its end",
                        self.topic
                    )));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Whether a head is of this job.
    pub(super) fn owns(&self, head: &Head) -> Result<(), String> {
        for (what, theirs, ours) in [
            ("job", &head.job, self.job.as_str()),
            ("group", &head.group, self.group.as_str()),
            ("source topic", &head.topic, &*self.of),
        ] {
            if theirs != ours {
                return Err(format!(
                    "it holds the state of {what} '{theirs}', and this is '{ours}': use another job_name"
                ));
            }
        }
        Ok(())
    }

    /// Puts the state of a partition into the transaction: its head, and what is new before it. Gives the head.
    pub(super) fn write(
        &self,
        under_way: &mut UnderWay,
        place: &Place,
        (part, offset): (i32, i64),
        kept: Option<&Kept>,
        commit: &str,
    ) -> Result<Place, KafkaError> {
        let mut outbox = Outbox::default();
        let Place { from, mut to, .. } = *place;
        let mut value = Vec::with_capacity(PIECE + 1);
        let file = kept.map_or(&[][..], |k| &k.file);
        let pieces = file.chunks(PIECE).count();
        for (n, piece) in file.chunks(PIECE).enumerate() {
            value.clear();
            value.push(if n + 1 == pieces { LAST } else { 0 });
            value.extend_from_slice(piece);
            outbox.push(part, Some(key(to).as_bytes()), Some(&value), None, &[]);
            to += 1;
        }
        let whole = kept.is_some_and(|k| k.whole);
        let first = if whole { place.to } else { from };
        (from..first).for_each(|number| outbox.push(part, Some(key(number).as_bytes()), None, None, &[]));
        let head = Head {
            job: self.job.clone(),
            group: self.group.clone(),
            topic: self.of.to_string(),
            from: first,
            to,
            offset,
            commit: commit.to_owned(),
        };
        outbox.push(part, Some(HEAD), Some(head.to_json().as_bytes()), None, &[]);
        self.send(under_way, &outbox)?;
        Ok(Place { from: first, to, offset: Some(offset) })
    }

    fn send(&self, under_way: &mut UnderWay, outbox: &Outbox) -> Result<(), KafkaError> {
        let mut from = 0;
        while from < outbox.len() {
            let sent = under_way.send(&self.topic, outbox, from)?;
            from += sent.accepted;
            match sent.stopped {
                // The queue is full.
                Some(e) if e.kind == KafkaErrorKind::Retriable => under_way.flush(self.connection.timeout)?,
                Some(e) => return Err(KafkaError::new(e.kind, format!("topic {}: {e}", self.topic))),
                None => {}
            }
        }
        Ok(())
    }
}

fn key(number: u64) -> String {
    format!("{number:016x}")
}

/// Where a partition's state stands in the topic, and in the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    from: u64,
    to: u64,
    /// What the group has committed; `None`: nothing.
    pub(super) offset: Option<i64>,
}

impl Place {
    pub(super) fn of(head: Option<&Head>) -> Self {
        head.map_or_else(Self::default, |h| Self { from: h.from, to: h.to, offset: Some(h.offset) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(from: u64, to: u64) -> Vec<u8> {
        Head { from, to, job: "j".into(), commit: "x".into(), ..Head::default() }.to_json().into_bytes()
    }

    #[test]
    fn a_head_says_what_counts_and_half_of_it_is_refused() {
        let mut found = Found::default();
        let mut put = |number: u64, value: &[u8]| found.take(key(number).as_bytes(), Some(value)).unwrap();
        put(0, b"\x01old");
        put(1, b"\0ab");
        put(2, b"\x01c");
        put(3, b"\x01d");
        found.take(HEAD, Some(&head(1, 4))).unwrap();
        // Of a transaction that goes on behind the end that was asked for.
        found.take(key(4).as_bytes(), Some(b"\x01e")).unwrap();
        assert_eq!(found.pieces.len(), 4);
        assert_eq!(found.files().unwrap(), [b"abc".to_vec(), b"d".to_vec()]);

        for (from, to, why) in [(0, 2, "not there"), (1, 2, "not complete")] {
            let mut found = Found::default();
            found.take(key(1).as_bytes(), Some(b"\0ab")).unwrap();
            found.take(HEAD, Some(&head(from, to))).unwrap();
            let e = found.files().unwrap_err();
            assert!(e.contains(why), "{e}");
        }
        assert!(Found::default().files().unwrap().is_empty());
        assert!(Found::default().take(b"x", None).is_err());
        assert!(Found::default().take(HEAD, Some(b"{}")).is_err());
    }

    #[test]
    fn deleted_pieces_are_gone() {
        let mut found = Found::default();
        found.take(key(7).as_bytes(), Some(b"\x01a")).unwrap();
        found.take(key(7).as_bytes(), None).unwrap();
        found.take(HEAD, Some(&head(7, 8))).unwrap();
        assert!(found.files().is_err());
    }
}
