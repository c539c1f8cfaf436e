//! A producer of the simulated cluster: what it accepts is lost with it until it is flushed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::broker::{Broker, Op, SimMessage, unknown};
use super::txn::TxnState;
use crate::connector::kafka::client::{
    Caps, Counts, Failed, KafkaError, KafkaErrorKind, KafkaSink, KafkaTxn, Sent, SinkSettings,
};
use crate::connector::kafka::outbox::{Outbox, Outgoing, alone};

pub(super) struct SimSink {
    pub(super) broker: Arc<Mutex<Broker>>,
    caps: Caps,
    pub(super) id: Option<String>,
    pub(super) generation: u64,
    pub(super) queue: VecDeque<(Arc<str>, i32, SimMessage)>,
    pub(super) counts: Counts,
    pub(super) failed: Vec<Failed>,
    pub(super) txn: TxnState,
}

impl SimSink {
    pub(super) fn new(broker: Arc<Mutex<Broker>>, settings: SinkSettings, caps: Caps) -> Self {
        Self {
            broker,
            caps,
            id: settings.transactional_id,
            generation: 0,
            queue: VecDeque::new(),
            counts: Counts::default(),
            failed: Vec::new(),
            txn: TxnState::default(),
        }
    }

    /// The open transaction, if this producer still holds its id.
    pub(super) fn open(&self, broker: &Broker) -> Result<Option<usize>, KafkaError> {
        let Some(id) = &self.id else { return Ok(None) };
        match broker.holders.get(id) {
            Some(holder) if holder.generation == self.generation => Ok(holder.open),
            _ => {
                Err(KafkaError::new(KafkaErrorKind::Fenced, format!("{id}: another producer has taken over")))
            }
        }
    }

    pub(super) fn deliver(&mut self) -> Result<(), KafkaError> {
        let shared = self.broker.clone();
        let mut broker = shared.lock();
        while let Some((topic, partition, message)) = self.queue.pop_front() {
            let txn = self.open(&broker)?;
            let seq = self.counts.acked + self.counts.failed;
            let headers = message.headers.iter().map(|(n, v)| (n.len(), v.as_ref().map(Vec::len)));
            let size =
                alone(message.key.as_ref().map(Vec::len), message.value.as_ref().map(Vec::len), headers);
            let refused = match broker.meet(Op::Deliver) {
                Err(e) => Some(e),
                Ok(()) if broker.largest.get(&*topic).is_some_and(|l| size > *l) => Some(KafkaError::new(
                    KafkaErrorKind::Record,
                    format!("{size} bytes are too large for the broker"),
                )),
                Ok(()) => None,
            };
            let error = match refused {
                Some(e) => Some(e),
                None if broker.append(&topic, partition, message.clone(), txn) => None,
                None => Some(unknown(&topic, partition)),
            };
            match error {
                Some(error) => {
                    if self.id.is_some() {
                        self.txn.broken.get_or_insert(error.message.clone());
                    }
                    self.counts.failed += 1;
                    self.failed.push(Failed { seq, error, value: message.value.unwrap_or_default() });
                }
                None => self.counts.acked += 1,
            }
        }
        Ok(())
    }

    fn own(&self, message: &Outgoing<'_>) -> SimMessage {
        let headers = message.headers().map(|(n, v)| (n.to_owned(), v.map(<[u8]>::to_vec)));
        SimMessage {
            key: message.key().map(<[u8]>::to_vec),
            value: message.value().map(<[u8]>::to_vec),
            timestamp: message.timestamp().filter(|_| self.caps.timestamps),
            headers: if self.caps.headers { headers.collect() } else { Vec::new() },
        }
    }
}

impl KafkaSink for SimSink {
    fn partitions(&mut self, topic: &str) -> Result<Option<i32>, KafkaError> {
        Ok(self.broker.lock().partitions(topic).map(|n| n as i32))
    }
    fn topics(&mut self) -> Result<Vec<String>, KafkaError> {
        Ok(self.broker.lock().topics())
    }
    fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        _settings: &[(&str, &str)],
    ) -> Result<(), KafkaError> {
        let mut broker = self.broker.lock();
        if broker.partitions(name).is_none() {
            broker.create(name, usize::try_from(partitions).unwrap_or(1));
        }
        Ok(())
    }
    fn send(&mut self, topic: &Arc<str>, outbox: &Outbox, from: usize) -> Result<Sent, KafkaError> {
        if self.broker.lock().queue.is_some_and(|most| self.queue.len() >= most) {
            // It waits a moment for room.
            self.deliver()?;
        }
        // Before it knows whether it still holds its id: a client notices some things by itself.
        let met = self.broker.lock().meet(Op::Send);
        if let Err(e) = met {
            return match e.kind {
                KafkaErrorKind::Record | KafkaErrorKind::Retriable => {
                    Ok(Sent { accepted: 0, stopped: Some(e) })
                }
                _ => Err(e),
            };
        }
        self.may_send()?;
        let room = self.broker.lock().queue.unwrap_or(usize::MAX).saturating_sub(self.queue.len());
        let mut accepted = 0;
        while let Some(message) = outbox.get(from + accepted) {
            if accepted == room {
                let stopped = Some(KafkaError::retriable("the queue is full"));
                return Ok(Sent { accepted, stopped });
            }
            let own = self.own(&message);
            self.queue.push_back((topic.clone(), message.partition(), own));
            self.counts.accepted += 1;
            accepted += 1;
        }
        Ok(Sent { accepted, stopped: None })
    }
    fn nudge(&mut self) -> Result<(), KafkaError> {
        self.deliver()
    }
    fn flush(&mut self, _deadline: Duration) -> Result<(), KafkaError> {
        self.broker.lock().meet(Op::Flush)?;
        self.deliver()
    }
    fn take_failed(&mut self) -> Vec<Failed> {
        std::mem::take(&mut self.failed)
    }
    fn counts(&self) -> Counts {
        self.counts
    }
    fn txn(&mut self) -> Option<&mut dyn KafkaTxn> {
        match self.id {
            Some(_) => Some(self),
            None => None,
        }
    }
    fn close(&mut self, _deadline: Duration) {}
}
