//! A producer of librdkafka: every accepted message is acknowledged or given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer, ProducerContext};
use rdkafka::{ClientContext, Message};

use super::produced::Producing;
use super::{Consumer, admin, config, drop_within, failed, metadata, partitions_of, said, sorted};
use crate::connector::kafka::client::{
    Counts, Failed, KafkaError, KafkaErrorKind, KafkaSink, KafkaTxn, Sent, SinkSettings,
};
use crate::connector::kafka::outbox::{Outbox, Outgoing};
use crate::record::Clock;

/// What the library has said of messages.
#[derive(Default)]
struct Deliveries {
    acked: AtomicU64,
    failed: Mutex<Vec<(usize, RdError, OwnedMessage)>>,
}

pub(super) struct Context(Arc<Deliveries>);

impl Context {
    pub(super) fn acked(&self, messages: u64) {
        self.0.acked.fetch_add(messages, Ordering::Relaxed);
    }
    pub(super) fn failed(&self, seq: usize, error: RdError, message: OwnedMessage) {
        self.0.failed.lock().push((seq, error, message));
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        said(level, facility, message);
    }
    fn error(&self, error: RdError, reason: &str) {
        failed(&error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = usize;

    /// What the crate itself takes from the library while it commits, and when it is dropped; else `produced` does.
    fn delivery(&self, result: &DeliveryResult<'_>, seq: usize) {
        match result {
            Ok(_) => self.acked(1),
            Err((error, message)) => self.failed(seq, error.clone(), message.detach()),
        }
    }
}

pub(super) struct NativeSink {
    pub(super) settings: SinkSettings,
    producing: Option<Producing>,
    deliveries: Arc<Deliveries>,
    accepted: u64,
    failed: Vec<Failed>,
    failures: u64,
    /// Messages that came back and whose fate is being decided.
    undecided: u64,
    /// Whether it was said that batches are larger than the topic takes.
    told: bool,
    /// The brokers were told to commit, and have not answered.
    pub(super) unanswered: bool,
    /// Consumers that stand for groups whose offsets go into transactions.
    pub(super) groups: Vec<(String, Consumer)>,
}

/// How long `send` waits for room.
const ROOM: Duration = Duration::from_secs(1);
/// How long closing waits for an abort.
const ABORT: Duration = Duration::from_secs(3);
/// How long a poll waits for something to come.
pub(super) const TICK: Duration = Duration::from_millis(1);

impl NativeSink {
    pub(super) fn connect(settings: &SinkSettings) -> Result<Self, KafkaError> {
        let deliveries = Arc::<Deliveries>::default();
        let context = Context(deliveries.clone());
        let config = config::producer(settings)?;
        // The library's own default where nobody set it.
        let largest = config.create_native_config().and_then(|c| c.get("message.max.bytes"));
        let largest = largest.map_err(|e| sorted("settings", &e))?.parse().unwrap_or(0);
        let producer =
            BaseProducer::from_config_and_context(&config, context).map_err(|e| sorted("settings", &e))?;
        metadata(producer.client(), &settings.connection)?;
        let producing = Producing::new(producer, largest);
        let producing = producing.ok_or_else(|| KafkaError::fatal("the library has no memory"))?;
        Ok(Self {
            settings: settings.clone(),
            producing: Some(producing),
            deliveries,
            accepted: 0,
            failed: Vec::new(),
            failures: 0,
            undecided: 0,
            told: false,
            unanswered: false,
            groups: Vec::new(),
        })
    }

    pub(super) fn producer(&self) -> Result<&BaseProducer<Context>, KafkaError> {
        self.producing.as_ref().map(Producing::producer).ok_or_else(closed)
    }

    /// Takes what has come back; waits for it up to `wait`, and no longer than until something comes.
    pub(super) fn poll(&self, wait: Duration) -> Result<(), KafkaError> {
        self.producing.as_ref().ok_or_else(closed)?.poll(wait);
        Ok(())
    }

    pub(super) fn in_flight(&self) -> u64 {
        let done = self.deliveries.acked.load(Ordering::Relaxed) + self.failures + self.undecided;
        self.accepted.saturating_sub(done).saturating_sub(self.deliveries.failed.lock().len() as u64)
    }

    /// Sorts what failed. A batch that is larger than the topic takes fails as a whole: its messages are sent again one by
    /// one, and only the one that is too large by itself is refused.
    fn settle(&mut self, deadline: Duration) -> Result<(), KafkaError> {
        let clock = Clock::System;
        let until = clock.monotonic() + deadline;
        loop {
            let failed = std::mem::take(&mut *self.deliveries.failed.lock());
            if failed.is_empty() {
                return Ok(());
            }
            self.undecided = failed.len() as u64;
            let mut failed = failed.into_iter();
            while let Some((seq, error, message)) = failed.next() {
                self.undecided -= 1;
                // In a transaction that can't go on nothing can be sent again.
                let whole = self.settings.transactional_id.is_some();
                if whole || error.rdkafka_error_code() != Some(Code::MessageSizeTooLarge) {
                    self.give_up(seq, &error, &message);
                    continue;
                }
                if let Err(e) = self.alone(seq, &message, until.saturating_sub(clock.monotonic())) {
                    // What was not tried again is not delivered.
                    self.undecided = 0;
                    self.give_up(seq, &error, &message);
                    for (seq, error, message) in failed {
                        self.give_up(seq, &error, &message);
                    }
                    return Err(e);
                }
            }
        }
    }

    /// Counts what has come back, and forgets it.
    pub(super) fn forget_failed(&mut self) {
        self.failures += std::mem::take(&mut *self.deliveries.failed.lock()).len() as u64;
        self.failed.clear();
    }

    fn give_up(&mut self, seq: usize, error: &RdError, message: &OwnedMessage) {
        // A producer that was fenced purges its queue, and says only that of each message.
        let error = self.in_transaction(sorted(&format!("topic {}", message.topic()), error));
        self.failures += 1;
        self.failed.push(Failed {
            seq: seq as u64,
            error,
            value: message.payload().unwrap_or_default().to_vec(),
        });
    }

    /// Sends one message by itself and waits for it.
    fn alone(&mut self, seq: usize, message: &OwnedMessage, deadline: Duration) -> Result<(), KafkaError> {
        if !std::mem::replace(&mut self.told, true) {
            log::warn!(
                "topic {}: a batch is larger than its max.message.bytes, so its messages are sent one by one; \
                 'kafka.batch.size' makes batches smaller",
                message.topic()
            );
        }
        let clock = Clock::System;
        let until = clock.monotonic() + deadline.max(Duration::from_secs(1));
        // This message is neither in flight nor decided.
        self.undecided += 1;
        let waited = self.wait(until.saturating_sub(clock.monotonic()));
        self.undecided -= 1;
        waited?;
        let before = (self.deliveries.acked.load(Ordering::Relaxed), self.deliveries.failed.lock().len());
        let record = BaseRecord {
            topic: message.topic(),
            partition: Some(message.partition()),
            payload: message.payload(),
            key: message.key(),
            timestamp: message.timestamp().to_millis(),
            headers: message.headers().cloned(),
            delivery_opaque: seq,
        };
        if let Err((error, _)) = self.producer()?.send(record) {
            self.give_up(seq, &error, message);
            return Ok(());
        }
        loop {
            self.poll(TICK)?;
            if self.deliveries.acked.load(Ordering::Relaxed) > before.0 {
                return Ok(());
            }
            let mut failed = self.deliveries.failed.lock();
            let last = if failed.len() > before.1 { failed.pop() } else { None };
            drop(failed);
            if let Some((seq, error, message)) = last {
                self.give_up(seq, &error, &message);
                return Ok(());
            }
            if clock.monotonic() > until {
                return Err(KafkaError::retriable(format!("topic {}: no acknowledgement", message.topic())));
            }
        }
    }

    /// Why a message was not taken.
    fn refused(&self, topic: &str, error: &RdError) -> KafkaError {
        let mut said = sorted(&format!("topic {topic}"), error);
        if error.rdkafka_error_code() == Some(Code::State) {
            // The library's word for a transaction that can only be aborted.
            said.kind = KafkaErrorKind::AbortTxn;
        }
        self.in_transaction(said)
    }

    /// Polls until nothing is in flight.
    pub(super) fn wait(&self, deadline: Duration) -> Result<(), KafkaError> {
        let clock = Clock::System;
        let until = clock.monotonic() + deadline;
        while self.in_flight() > 0 {
            self.poll(TICK)?;
            if self.in_flight() > 0 && clock.monotonic() > until {
                return Err(KafkaError::retriable(format!(
                    "brokers {}: {} messages are not acknowledged after {deadline:?}",
                    self.settings.connection.servers,
                    self.in_flight()
                )));
            }
        }
        Ok(())
    }
}

fn closed() -> KafkaError {
    KafkaError::fatal("the producer is closed")
}

fn record<'a>(topic: &'a str, message: &Outgoing<'a>, seq: usize) -> BaseRecord<'a, [u8], [u8], usize> {
    let mut headers: Option<OwnedHeaders> = None;
    for (key, value) in message.headers() {
        headers = Some(headers.unwrap_or_default().insert(Header { key, value }));
    }
    BaseRecord {
        topic,
        partition: Some(message.partition()),
        payload: message.value(),
        key: message.key(),
        timestamp: message.timestamp(),
        headers,
        delivery_opaque: seq,
    }
}

impl KafkaSink for NativeSink {
    fn partitions(&mut self, topic: &str) -> Result<Option<i32>, KafkaError> {
        let metadata = metadata(self.producer()?.client(), &self.settings.connection)?;
        Ok(partitions_of(&metadata, topic)?.map(|p| p.len() as i32))
    }

    fn topics(&mut self) -> Result<Vec<String>, KafkaError> {
        let metadata = metadata(self.producer()?.client(), &self.settings.connection)?;
        Ok(metadata.topics().iter().map(|t| t.name().to_owned()).collect())
    }

    fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<(), KafkaError> {
        admin::create_topic(&self.settings.connection, name, partitions, settings)
    }

    fn send(&mut self, topic: &Arc<str>, outbox: &Outbox, from: usize) -> Result<Sent, KafkaError> {
        let clock = Clock::System;
        let mut accepted = 0;
        let mut full_since: Option<Duration> = None;
        while let Some(message) = outbox.get(from + accepted) {
            let seq = usize::try_from(self.accepted).unwrap_or(usize::MAX);
            let producing = self.producing.as_mut().ok_or_else(closed)?;
            let (taken, refused) = match producing.send(topic, outbox, from + accepted, seq) {
                Some(run) => run,
                None => match producing.producer().send(record(topic, &message, seq)) {
                    Ok(()) => (1, None),
                    Err((error, _)) => (0, Some(error)),
                },
            };
            self.accepted += taken as u64;
            accepted += taken;
            if taken > 0 {
                full_since = None;
            }
            match refused {
                None => {}
                Some(RdError::MessageProduction(Code::QueueFull)) => {
                    let now = clock.monotonic();
                    if now.saturating_sub(*full_since.get_or_insert(now)) > ROOM {
                        let stopped =
                            KafkaError::retriable(format!("topic {topic}: the producer's queue is full"));
                        return Ok(Sent { accepted, stopped: Some(stopped) });
                    }
                    self.poll(TICK)?;
                }
                Some(error) => {
                    let error = self.refused(topic, &error);
                    return match error.kind {
                        KafkaErrorKind::Record => Ok(Sent { accepted, stopped: Some(error) }),
                        _ => Err(error),
                    };
                }
            }
        }
        self.poll(Duration::ZERO)?;
        Ok(Sent { accepted, stopped: None })
    }

    fn nudge(&mut self) -> Result<(), KafkaError> {
        self.poll(Duration::ZERO)?;
        self.settle(self.settings.connection.timeout)
    }

    fn flush(&mut self, deadline: Duration) -> Result<(), KafkaError> {
        let clock = Clock::System;
        let until = clock.monotonic() + deadline;
        self.wait(deadline)?;
        self.settle(until.saturating_sub(clock.monotonic()))?;
        self.wait(until.saturating_sub(clock.monotonic()))
    }

    fn take_failed(&mut self) -> Vec<Failed> {
        std::mem::take(&mut self.failed)
    }

    fn counts(&self) -> Counts {
        let acked = self.deliveries.acked.load(Ordering::Relaxed);
        Counts { accepted: self.accepted, acked, failed: self.failures }
    }

    fn txn(&mut self) -> Option<&mut dyn KafkaTxn> {
        match self.settings.transactional_id {
            Some(_) => Some(self),
            None => None,
        }
    }

    fn close(&mut self, deadline: Duration) {
        if self.producing.is_some()
            && self.settings.transactional_id.is_some()
            && let Err(e) = self.abort_within(deadline.min(ABORT))
        {
            // What was not committed is thrown away; that the transaction is aborted now spares readers the wait for its end.
            log::debug!("{e}");
        }
        let Some(producing) = self.producing.take() else { return };
        let groups: Vec<Consumer> = self.groups.drain(..).map(|(_, consumer)| consumer).collect();
        let clock = Clock::System;
        let until = clock.monotonic() + deadline;
        // Dropping it throws away what is not sent.
        while producing.producer().in_flight_count() > 0 && clock.monotonic() < until {
            producing.poll(TICK);
        }
        drop_within(
            "a Kafka producer",
            (producing, groups),
            until.saturating_sub(clock.monotonic()).max(TICK),
        );
    }
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
