//! An open Kafka sink: encodes batches, hands them to the client, answers for every message until it is acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::client::{Failed, KafkaError, KafkaErrorKind, KafkaSink};
use super::encode::RecordEncoder;
use super::outbox::Outbox;
use super::partitioner::Partitioner;
use crate::io::{DataWriter, IoError, IoErrorKind, Refused};
use crate::record::{Clock, ErrorCode, Position, RecordError, StreamRecord};

/// How long the end may take.
const CLOSE: Duration = Duration::from_secs(5);

/// Where the records of messages in flight came from, as far as that is remembered.
struct Origins {
    /// Number of the first one.
    first: u64,
    /// Partition and offset; none is `NOWHERE`.
    places: VecDeque<(i32, i64)>,
}

/// Origins kept: as many messages as a client may have in flight.
const ORIGINS: usize = 50_000;
/// The offset of a record that has none.
const NOWHERE: i64 = i64::MIN;

impl Origins {
    fn push(&mut self, record: Option<&Arc<StreamRecord>>) {
        if self.places.len() == ORIGINS {
            self.places.pop_front();
            self.first += 1;
        }
        self.places
            .push_back(record.map_or((0, NOWHERE), |r| (r.partition(), r.offset().unwrap_or(NOWHERE))));
    }
    fn forget(&mut self) {
        self.first += self.places.len() as u64;
        self.places.clear();
    }
    fn of(&self, seq: u64) -> String {
        let index = seq.checked_sub(self.first).and_then(|i| usize::try_from(i).ok());
        match index.and_then(|i| self.places.get(i)) {
            Some((partition, offset)) if *offset != NOWHERE => {
                format!("partition {partition}, offset {offset}")
            }
            _ => format!("message {seq} of this run"),
        }
    }
}

pub(super) struct KafkaWriter {
    client: Box<dyn KafkaSink>,
    topic: Arc<str>,
    partitioner: Partitioner,
    encoder: RecordEncoder,
    outbox: Outbox,
    /// In transactions: what came behind a barrier and waits for the commit, encoded; `Some` while it waits.
    held: Option<Outbox>,
    /// An outbox that is not in use.
    spare: Outbox,
    /// The record of each message of the outbox.
    records: Vec<usize>,
    /// The batch whose write was broken off for the moment: it comes again.
    under_way: Option<UnderWay>,
    deadline: Duration,
    origins: Origins,
    refused: Vec<Refused>,
    /// Messages that were given up for good: the epoch can't be completed.
    lost: Option<KafkaError>,
}

/// Progress in a batch.
#[derive(Debug)]
struct UnderWay {
    /// Messages of the outbox that the client has accepted.
    sent: usize,
    /// The record that could not be encoded: those behind it wait for a decision.
    stopped: Option<(usize, RecordError)>,
}

impl KafkaWriter {
    pub(super) fn new(
        client: Box<dyn KafkaSink>,
        topic: Arc<str>,
        partitions: i32,
        encoder: RecordEncoder,
        deadline: Duration,
    ) -> Self {
        Self {
            client,
            topic,
            partitioner: Partitioner::new(partitions),
            encoder,
            outbox: Outbox::default(),
            held: None,
            spare: Outbox::default(),
            records: Vec::new(),
            under_way: None,
            deadline,
            origins: Origins { first: 0, places: VecDeque::new() },
            refused: Vec::new(),
            lost: None,
        }
    }

    /// Keeps a batch until the transaction under way is committed.
    fn hold(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        let Some(held) = &mut self.held else { return Ok(()) };
        for (i, record) in batch.iter().enumerate() {
            let encoded = self.encoder.encode(record, &self.partitioner, held);
            encoded.map_err(|e| IoError::rejected(i, e))?;
        }
        self.partitioner.turn();
        Ok(())
    }

    /// Sends what was held back.
    fn let_go(&mut self) -> Result<(), IoError> {
        let Some(mut held) = self.held.take() else { return Ok(()) };
        let until = Clock::System.monotonic() + self.deadline;
        let mut sent = 0;
        while sent < held.len() {
            let now = self.client.send(&self.topic, &held, sent)?;
            (0..now.accepted).for_each(|_| self.origins.push(None));
            sent += now.accepted;
            match now.stopped {
                Some(e) if e.kind == KafkaErrorKind::Record => {
                    let raw = held.get(sent).and_then(|m| m.value()).unwrap_or_default().to_vec();
                    let place = format!("message {} of this run", self.client.counts().accepted);
                    let error = RecordError::new(ErrorCode::SinkRejected, e.message);
                    self.refused.push(Refused { place, raw, error });
                    sent += 1;
                }
                Some(e) if e.kind != KafkaErrorKind::Retriable || Clock::System.monotonic() > until => {
                    return Err(e.into());
                }
                _ => {}
            }
        }
        held.clear();
        self.spare = held;
        Ok(())
    }

    /// Encodes the batch up to the first record that can't be.
    fn encode(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), (usize, RecordError)> {
        self.outbox.clear();
        self.records.clear();
        for (i, record) in batch.iter().enumerate() {
            let encoded = self.encoder.encode(record, &self.partitioner, &mut self.outbox);
            self.records.resize(self.outbox.len(), i);
            encoded.map_err(|e| (i, e))?;
        }
        Ok(())
    }

    /// Sends what was encoded, from message `sent` on.
    fn send(&mut self, batch: &[Arc<StreamRecord>], sent: &mut usize) -> Result<(), IoError> {
        while *sent < self.outbox.len() {
            let now = self.client.send(&self.topic, &self.outbox, *sent)?;
            for at in self.records.iter().skip(*sent).take(now.accepted) {
                self.origins.push(batch.get(*at));
            }
            *sent += now.accepted;
            match now.stopped {
                None => {}
                Some(e) if e.kind == KafkaErrorKind::Record => {
                    let at = self.records.get(*sent).copied().unwrap_or(0);
                    return Err(IoError::rejected(at, RecordError::new(ErrorCode::SinkRejected, e.message)));
                }
                // The queue has room for some; it is tried again for the rest until it takes none.
                Some(e) if e.kind == KafkaErrorKind::Retriable && now.accepted > 0 => {
                    log::trace!("topic {}: {e}", self.topic);
                }
                Some(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Sorts what failed into records that are refused and a loss of the whole epoch.
    fn settle_failed(&mut self) -> Result<(), IoError> {
        for Failed { seq, error, value } in self.client.take_failed() {
            match error.kind {
                KafkaErrorKind::Record => self.refused.push(Refused {
                    place: self.origins.of(seq),
                    raw: value,
                    error: RecordError::new(ErrorCode::SinkRejected, error.message),
                }),
                _ => {
                    self.lost.get_or_insert(error);
                }
            }
        }
        match &self.lost {
            Some(e) => Err(IoError::new(
                IoErrorKind::Os(std::io::Error::other(e.message.clone())),
                format!(
                    "topic {}: {} messages were not delivered; what was written since the last commit must be written again",
                    self.topic,
                    self.client.counts().failed
                ),
            )),
            None => Ok(()),
        }
    }

    fn settle(&mut self) -> Result<(), IoError> {
        let counts = self.client.counts();
        if counts.failed > 0 {
            self.settle_failed()?;
        }
        if counts.accepted == counts.acked + counts.failed {
            self.origins.forget();
        }
        Ok(())
    }

    /// Sends what the encoder holds back for a record that does not come.
    fn release(&mut self) -> Result<(), IoError> {
        self.outbox.clear();
        self.encoder
            .release(&self.partitioner, &mut self.outbox)
            .map_err(|e| IoError::data(e.to_string()))?;
        self.records.clear();
        self.records.resize(self.outbox.len(), 0);
        self.send(&[], &mut 0)
    }

    /// Everything that was accepted is acknowledged, or known to be refused.
    fn drain(&mut self) -> Result<(), IoError> {
        let flushed = self.client.flush(self.deadline);
        self.settle()?;
        flushed.map_err(|e| {
            if e.kind == KafkaErrorKind::Fenced {
                return e.into();
            }
            // Never retried: what is not acknowledged by now belongs to an epoch that failed.
            IoError::new(IoErrorKind::Os(std::io::Error::other(e.message)), format!("topic {}", self.topic))
        })?;
        let counts = self.client.counts();
        match counts.accepted == counts.acked + counts.failed {
            true => Ok(()),
            false => Err(IoError::new(
                IoErrorKind::Os(std::io::Error::other("acknowledgements are missing")),
                format!("topic {}: {counts:?}", self.topic),
            )),
        }
    }
}

impl DataWriter for KafkaWriter {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        if self.held.is_some() {
            return self.hold(batch);
        }
        self.settle()?;
        let mut under_way = match self.under_way.take() {
            Some(under_way) => under_way,
            None => UnderWay { sent: 0, stopped: self.encode(batch).err() },
        };
        match self.send(batch, &mut under_way.sent) {
            Err(e) if e.is_transient() => {
                self.under_way = Some(under_way);
                return Err(e);
            }
            sent => sent?,
        }
        self.partitioner.turn();
        match under_way.stopped {
            Some((at, error)) => Err(IoError::rejected(at, error)),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), IoError> {
        self.client.nudge()?;
        self.settle()
    }

    fn sync(&mut self) -> Result<Position, IoError> {
        self.release()?;
        self.drain()?;
        Ok(Position::default())
    }

    fn finish(&mut self) -> Result<(), IoError> {
        self.release()?;
        self.drain()
    }

    fn begin(&mut self, _epoch: u64) -> Result<(), IoError> {
        // The transaction begins with its first message.
        Ok(())
    }

    /// Everything is with the brokers, and nobody sees it yet. What comes now belongs to the next transaction.
    fn prepare(&mut self, epoch: u64) -> Result<Position, IoError> {
        self.release()?;
        self.drain()?;
        self.held = Some(std::mem::take(&mut self.spare));
        Ok(Position::new(epoch.to_be_bytes(), format!("epoch {epoch}")))
    }

    fn commit(&mut self, _epoch: u64) -> Result<(), IoError> {
        self.let_go()
    }

    fn take_refused(&mut self) -> Vec<Refused> {
        std::mem::take(&mut self.refused)
    }
}

impl Drop for KafkaWriter {
    fn drop(&mut self) {
        self.client.close(CLOSE);
    }
}
