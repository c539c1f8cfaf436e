//! Transactions of a simulated producer.

use super::broker::Op;
use super::sink::SimSink;
use crate::connector::kafka::client::{GroupOffset, KafkaError, KafkaErrorKind, KafkaTxn, Part};
use crate::connector::kafka::member::GroupToken;

/// Where a producer stands with its transaction.
#[derive(Debug, Default)]
pub(super) struct TxnState {
    /// Group, partition, offset and metadata that belong to the open transaction.
    offsets: Vec<(String, Part, i64, String)>,
    /// A message was not delivered, so it can only be aborted.
    pub(super) broken: Option<String>,
    /// The last one was committed, but the answer was lost.
    unanswered: bool,
    /// Nobody answers to its commits any more.
    stuck: Option<KafkaError>,
}

impl SimSink {
    /// A message of a producer with transactions belongs to one that is open and sound.
    pub(super) fn may_send(&self) -> Result<(), KafkaError> {
        if self.id.is_none() {
            return Ok(());
        }
        self.sound()?;
        match self.open(&self.broker.lock())? {
            Some(_) => Ok(()),
            None => Err(KafkaError::fatal("no transaction is open")),
        }
    }

    fn sound(&self) -> Result<(), KafkaError> {
        match &self.txn.broken {
            Some(why) => Err(KafkaError::new(KafkaErrorKind::AbortTxn, why.clone())),
            None => Ok(()),
        }
    }

    fn end(&mut self, commit: bool) -> Result<(), KafkaError> {
        let shared = self.broker.clone();
        let mut broker = shared.lock();
        let Some(txn) = self.open(&broker)? else { return Err(KafkaError::fatal("no transaction is open")) };
        broker.meet(if commit { Op::TxnCommit } else { Op::TxnAbort })?;
        if commit && let Err(e) = broker.meet(Op::TxnStuck) {
            self.txn.stuck = Some(e.clone());
            return Err(e);
        }
        broker.end(txn, commit);
        if let Some(holder) = self.id.as_ref().and_then(|id| broker.holders.get_mut(id)) {
            holder.open = None;
        }
        for (group, part, offset, metadata) in self.txn.offsets.drain(..).filter(|_| commit) {
            broker.commit(&group, &part, offset, &metadata);
        }
        self.txn.broken = None;
        if !commit {
            return Ok(());
        }
        if let Err(e) = broker.meet(Op::TxnStuckCommitted) {
            self.txn.stuck = Some(e.clone());
            return Err(e);
        }
        let answer = broker.meet(Op::TxnCommitted);
        self.txn.unanswered = answer.is_err();
        answer
    }
}

impl KafkaTxn for SimSink {
    fn init(&mut self) -> Result<(), KafkaError> {
        let shared = self.broker.clone();
        let mut broker = shared.lock();
        broker.meet(Op::TxnInit)?;
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
        self.txn.unanswered = false;
        Ok(())
    }

    fn send_offsets(
        &mut self,
        group: &str,
        offsets: &[(Part, i64)],
        metadata: &str,
        token: Option<&GroupToken>,
    ) -> Result<(), KafkaError> {
        self.sound()?;
        let mut broker = self.broker.lock();
        broker.meet(Op::TxnOffsets)?;
        let Some(txn) = self.open(&broker)? else {
            return Err(KafkaError::fatal("no transaction is open"));
        };
        if let Some(token) = token {
            broker.allows(token)?;
        }
        broker.pend(txn, group, offsets.iter().map(|(part, _)| part.clone()).collect());
        drop(broker);
        let own =
            |(part, offset): &(Part, i64)| (group.to_owned(), part.clone(), *offset, metadata.to_owned());
        self.txn.offsets.extend(offsets.iter().map(own));
        Ok(())
    }

    fn committed(&mut self, group: &str, parts: &[Part]) -> Result<Vec<Option<GroupOffset>>, KafkaError> {
        let broker = self.broker.lock();
        if broker.is_pending(group, parts) {
            return Err(KafkaError::retriable(format!(
                "offsets of group {group} are in an open transaction"
            )));
        }
        Ok(parts.iter().map(|p| broker.committed(group, &p.topic, p.partition).cloned()).collect())
    }

    fn commit(&mut self) -> Result<(), KafkaError> {
        if let Some(e) = &self.txn.stuck {
            return Err(e.clone());
        }
        if std::mem::take(&mut self.txn.unanswered) {
            self.open(&self.broker.lock())?;
            return Ok(());
        }
        self.deliver()?;
        self.sound()?;
        self.end(true)
    }

    fn abort(&mut self) -> Result<(), KafkaError> {
        self.end(false)?;
        self.counts.failed += self.queue.len() as u64;
        self.queue.clear();
        self.failed.clear();
        Ok(())
    }
}
