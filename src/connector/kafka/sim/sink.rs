//! A producer of the simulated cluster: what it accepts is lost with it until it is flushed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::broker::{Broker, Op, SimMessage, unknown};
use crate::connector::kafka::client::{
    Caps, Counts, Failed, KafkaError, KafkaErrorKind, KafkaSink, KafkaTxn, Part, Sent, SinkSettings,
};
use crate::connector::kafka::outbox::{Outbox, Outgoing};

pub(super) struct SimSink {
    broker: Arc<Mutex<Broker>>,
    caps: Caps,
    id: Option<String>,
    generation: u64,
    queue: VecDeque<(Arc<str>, i32, SimMessage)>,
    counts: Counts,
    failed: Vec<Failed>,
    /// Offsets that belong to the open transaction.
    offsets: Vec<(String, Part, i64)>,
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
            offsets: Vec::new(),
        }
    }

    /// The open transaction, if this producer still holds its id.
    fn open(&self, broker: &Broker) -> Result<Option<usize>, KafkaError> {
        let Some(id) = &self.id else { return Ok(None) };
        match broker.holders.get(id) {
            Some(holder) if holder.generation == self.generation => Ok(holder.open),
            _ => {
                Err(KafkaError::new(KafkaErrorKind::Fenced, format!("{id}: another producer has taken over")))
            }
        }
    }

    fn deliver(&mut self) -> Result<(), KafkaError> {
        let shared = self.broker.clone();
        let mut broker = shared.lock();
        while let Some((topic, partition, message)) = self.queue.pop_front() {
            let txn = self.open(&broker)?;
            let seq = self.counts.acked + self.counts.failed;
            let size = message.value.as_ref().map_or(0, Vec::len);
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
    fn send(&mut self, topic: &Arc<str>, outbox: &Outbox, from: usize) -> Result<Sent, KafkaError> {
        if self.broker.lock().queue.is_some_and(|most| self.queue.len() >= most) {
            // It waits a moment for room.
            self.deliver()?;
        }
        let room = {
            let mut broker = self.broker.lock();
            if let Err(e) = broker.meet(Op::Send) {
                return match e.kind {
                    KafkaErrorKind::Record | KafkaErrorKind::Retriable => {
                        Ok(Sent { accepted: 0, stopped: Some(e) })
                    }
                    _ => Err(e),
                };
            }
            broker.queue.unwrap_or(usize::MAX).saturating_sub(self.queue.len())
        };
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

impl SimSink {
    fn end(&mut self, commit: bool) -> Result<(), KafkaError> {
        self.deliver()?;
        let shared = self.broker.clone();
        let mut broker = shared.lock();
        let Some(txn) = self.open(&broker)? else { return Err(KafkaError::fatal("no transaction is open")) };
        if commit {
            broker.meet(Op::TxnCommit)?;
        }
        broker.end(txn, commit);
        if let Some(holder) = self.id.as_ref().and_then(|id| broker.holders.get_mut(id)) {
            holder.open = None;
        }
        for (group, part, offset) in self.offsets.drain(..).filter(|_| commit) {
            broker.commit(&group, &part.topic, part.partition, offset);
        }
        Ok(())
    }
}

impl KafkaTxn for SimSink {
    fn init(&mut self) -> Result<(), KafkaError> {
        let shared = self.broker.clone();
        let mut broker = shared.lock();
        let Some(id) = &self.id else { return Err(KafkaError::fatal("no transactional id")) };
        let holder = broker.holders.entry(id.clone()).or_default();
        holder.generation += 1;
        self.generation = holder.generation;
        // What the predecessor left open is thrown away.
        if let Some(txn) = holder.open.take() {
            broker.end(txn, false);
        }
        Ok(())
    }
    fn begin(&mut self) -> Result<(), KafkaError> {
        let shared = self.broker.clone();
        let mut broker = shared.lock();
        if self.open(&broker)?.is_some() {
            return Err(KafkaError::fatal("a transaction is open already"));
        }
        let txn = broker.begin();
        if let Some(holder) = self.id.as_ref().and_then(|id| broker.holders.get_mut(id)) {
            holder.open = Some(txn);
        }
        Ok(())
    }
    fn send_offsets(&mut self, group: &str, offsets: &[(Part, i64)]) -> Result<(), KafkaError> {
        if self.open(&self.broker.lock())?.is_none() {
            return Err(KafkaError::fatal("no transaction is open"));
        }
        self.offsets.extend(offsets.iter().map(|(part, offset)| (group.to_owned(), part.clone(), *offset)));
        Ok(())
    }
    fn commit(&mut self) -> Result<(), KafkaError> {
        self.end(true)
    }
    fn abort(&mut self) -> Result<(), KafkaError> {
        self.end(false)
    }
}
