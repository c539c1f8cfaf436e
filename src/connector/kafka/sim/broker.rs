//! What the simulated brokers hold.

use std::collections::{BTreeMap, VecDeque};

use crate::connector::kafka::client::{Bounds, GroupOffset, KafkaError, KafkaErrorKind, Part};

/// A kind of call that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// Making a consumer or producer.
    Connect,
    /// The question for the largest batch that a topic takes.
    Describe,
    /// `poll`, before it gives anything.
    Poll,
    /// `poll`, behind the first message that it gives.
    PollMidway,
    /// `commit` of a consumer.
    Commit,
    /// `send`.
    Send,
    /// The delivery of one message.
    Deliver,
    /// `flush`.
    Flush,
    /// The registration of a transactional id.
    TxnInit,
    /// Offsets on their way into a transaction.
    TxnOffsets,
    /// The commit of a transaction, before it counts.
    TxnCommit,
    /// The same, when it counts: only the answer is lost.
    TxnCommitted,
    /// The commit of a transaction, before it counts; the producer gets no answer to it any more.
    TxnStuck,
    /// The same, when it counts.
    TxnStuckCommitted,
    /// The abort of a transaction.
    TxnAbort,
}

/// What befalls a call.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    Error(KafkaError),
    /// The client panics on the thread that calls it.
    Panic,
}

/// A message as the brokers hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimMessage {
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Option<Vec<u8>>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// Headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl SimMessage {
    /// A message with a value only.
    pub fn of(value: &str) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }
    /// The same with a key.
    pub fn keyed(self, key: &str) -> Self {
        Self { key: Some(key.into()), ..self }
    }
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Open,
    Committed,
    Aborted,
}

#[derive(Debug)]
struct Entry {
    /// `None`: the mark at the end of a transaction, which nobody sees but which has an offset.
    message: Option<SimMessage>,
    /// Number of its transaction.
    txn: Option<usize>,
}

#[derive(Debug, Default)]
struct Log {
    first: i64,
    entries: Vec<Entry>,
}

impl Log {
    fn end(&self) -> i64 {
        self.first + self.entries.len() as i64
    }
}

/// The producer that holds a transactional id.
#[derive(Debug, Default)]
pub(super) struct Holder {
    pub(super) generation: u64,
    /// The open transaction.
    pub(super) open: Option<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Broker {
    topics: BTreeMap<String, Vec<Log>>,
    groups: BTreeMap<(String, String, i32), GroupOffset>,
    outcomes: Vec<Outcome>,
    /// Groups whose offsets are in a transaction.
    pending: Vec<(usize, String, Vec<Part>)>,
    pub(super) holders: BTreeMap<String, Holder>,
    pub(super) faults: BTreeMap<Op, VecDeque<Fault>>,
    pub(super) largest: BTreeMap<String, usize>,
    pub(super) queue: Option<usize>,
    /// Groups with members.
    pub(super) shared: BTreeMap<String, super::group::Group>,
}

/// What a consumer finds at an offset.
pub(super) enum Found<'a> {
    Message(i64, &'a SimMessage),
    /// Nothing before that offset that may be seen, and nothing more for now.
    Reached(i64),
    OutOfRange,
}

impl Broker {
    /// Fails if a fault was ordered for that call.
    #[allow(clippy::panic)]
    pub(super) fn meet(&mut self, op: Op) -> Result<(), KafkaError> {
        match self.faults.get_mut(&op).and_then(VecDeque::pop_front) {
            Some(Fault::Error(error)) => Err(error),
            Some(Fault::Panic) => panic!("scripted panic of the client"),
            None => Ok(()),
        }
    }
    pub(super) fn create(&mut self, topic: &str, partitions: usize) {
        self.topics.insert(topic.to_owned(), (0..partitions).map(|_| Log::default()).collect());
    }
    pub(super) fn grow(&mut self, topic: &str, partitions: usize) {
        if let Some(logs) = self.topics.get_mut(topic) {
            logs.resize_with(partitions.max(logs.len()), Log::default);
        }
    }
    pub(super) fn topics(&self) -> Vec<String> {
        self.topics.keys().cloned().collect()
    }
    pub(super) fn partitions(&self, topic: &str) -> Option<usize> {
        self.topics.get(topic).map(Vec::len)
    }
    fn log(&self, topic: &str, partition: i32) -> Option<&Log> {
        self.topics.get(topic)?.get(usize::try_from(partition).ok()?)
    }
    fn log_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Log> {
        self.topics.get_mut(topic)?.get_mut(usize::try_from(partition).ok()?)
    }
    /// Appends to a partition; `false`: there is none.
    pub(super) fn append(
        &mut self,
        topic: &str,
        partition: i32,
        message: SimMessage,
        txn: Option<usize>,
    ) -> bool {
        match self.log_mut(topic, partition) {
            Some(log) => {
                log.entries.push(Entry { message: Some(message), txn });
                true
            }
            None => false,
        }
    }
    pub(super) fn begin(&mut self) -> usize {
        self.outcomes.push(Outcome::Open);
        self.outcomes.len() - 1
    }
    /// Ends a transaction: its mark takes an offset in each partition that it wrote.
    pub(super) fn end(&mut self, txn: usize, commit: bool) {
        if let Some(outcome) = self.outcomes.get_mut(txn) {
            *outcome = if commit { Outcome::Committed } else { Outcome::Aborted };
        }
        self.pending.retain(|(of, ..)| *of != txn);
        for log in self.topics.values_mut().flatten() {
            if log.entries.iter().any(|e| e.txn == Some(txn)) {
                log.entries.push(Entry { message: None, txn: Some(txn) });
            }
        }
    }
    fn outcome(&self, entry: &Entry) -> Outcome {
        entry.txn.and_then(|t| self.outcomes.get(t)).copied().unwrap_or(Outcome::Committed)
    }
    pub(super) fn bounds(&self, topic: &str, partition: i32, committed: bool) -> Option<Bounds> {
        let log = self.log(topic, partition)?;
        let any_open = committed && self.outcomes.contains(&Outcome::Open);
        let open = any_open.then(|| log.entries.iter().position(|e| self.outcome(e) == Outcome::Open));
        let end = match open.flatten() {
            Some(i) => log.first + i as i64,
            None => log.end(),
        };
        Some(Bounds { first: log.first, end })
    }
    /// The first message at or behind `offset` that may be seen.
    pub(super) fn find(&self, topic: &str, partition: i32, offset: i64, committed: bool) -> Found<'_> {
        let (Some(log), Some(bounds)) =
            (self.log(topic, partition), self.bounds(topic, partition, committed))
        else {
            return Found::OutOfRange;
        };
        if !(log.first..=log.end()).contains(&offset) {
            return Found::OutOfRange;
        }
        for at in offset..bounds.end {
            let entry = usize::try_from(at - log.first).ok().and_then(|i| log.entries.get(i));
            if let Some(entry) = entry
                && let Some(message) = &entry.message
                && (!committed || self.outcome(entry) == Outcome::Committed)
            {
                return Found::Message(at, message);
            }
        }
        Found::Reached(bounds.end.max(offset))
    }
    pub(super) fn visible(&self, topic: &str, partition: i32) -> Vec<SimMessage> {
        let mut messages = Vec::new();
        let mut at = self.log(topic, partition).map_or(0, |l| l.first);
        while let Found::Message(offset, message) = self.find(topic, partition, at, true) {
            messages.push(message.clone());
            at = offset + 1;
        }
        messages
    }
    /// The first offset of a message at or after a time.
    pub(super) fn at_time(&self, topic: &str, partition: i32, millis: i64) -> Option<i64> {
        let log = self.log(topic, partition)?;
        let late = |e: &Entry| e.message.as_ref().and_then(|m| m.timestamp).is_some_and(|t| t >= millis);
        log.entries.iter().position(late).map(|i| log.first + i as i64)
    }
    pub(super) fn delete_before(&mut self, topic: &str, partition: i32, offset: i64) {
        if let Some(log) = self.log_mut(topic, partition) {
            let n = usize::try_from(offset - log.first).unwrap_or(0).min(log.entries.len());
            log.entries.drain(..n);
            log.first += n as i64;
        }
    }
    pub(super) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<&GroupOffset> {
        self.groups.get(&(group.to_owned(), topic.to_owned(), partition))
    }
    pub(super) fn commit(&mut self, group: &str, part: &Part, offset: i64, metadata: &str) {
        let key = (group.to_owned(), part.topic.as_ref().to_owned(), part.partition);
        self.groups.insert(key, GroupOffset { offset, metadata: metadata.to_owned() });
    }
    pub(super) fn pend(&mut self, txn: usize, group: &str, parts: Vec<Part>) {
        self.pending.push((txn, group.to_owned(), parts));
    }
    /// Whether a transaction that is open will change what the group has committed of these.
    pub(super) fn is_pending(&self, group: &str, parts: &[Part]) -> bool {
        self.pending.iter().any(|(_, of, own)| of == group && own.iter().any(|p| parts.contains(p)))
    }
    pub(super) fn forget(&mut self, group: &str) {
        self.groups.retain(|(name, ..), _| name != group);
    }
    /// Ends the transactions that last too long, and fences their producers.
    pub(super) fn expire(&mut self) {
        let ids: Vec<String> = self.holders.keys().cloned().collect();
        ids.iter().for_each(|id| self.expire_one(id));
    }
    pub(super) fn expire_one(&mut self, id: &str) {
        if let Some(holder) = self.holders.get_mut(id)
            && let Some(txn) = holder.open.take()
        {
            holder.generation += 1;
            self.end(txn, false);
        }
    }
}

/// A partition that is not there.
pub(super) fn unknown(topic: &str, partition: i32) -> KafkaError {
    KafkaError::new(KafkaErrorKind::Fatal, format!("there is no partition {topic}/{partition}"))
}
