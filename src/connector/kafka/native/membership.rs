//! What librdkafka says of a group: decisions that wait for the owner of its member, and the answers to them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaError as RdError;
use rdkafka::types::RDKafkaRespErr;

use super::{failed, said};
use crate::connector::kafka::client::Part;
use crate::connector::kafka::member::{Change, GroupToken};
use crate::record::Clock;

pub(super) type Consumer = BaseConsumer<Membership>;

/// What the library says of the group.
#[derive(Default)]
pub(super) struct Membership {
    pub(super) inner: Mutex<Decisions>,
    /// Some of them wait.
    news: AtomicBool,
    /// Nobody takes decisions any more.
    pub(super) closing: AtomicBool,
}

#[derive(Default)]
pub(super) struct Decisions {
    waiting: VecDeque<Change>,
    pub(super) token: Option<GroupToken>,
    /// Partitions that the library holds as ours.
    pub(super) owned: Vec<Part>,
    /// The library waits for an answer to that.
    pub(super) unanswered: Option<Change>,
    /// What is to be given up, and since when.
    pub(super) leaving: Option<(Vec<Part>, Duration)>,
}

impl Membership {
    pub(super) fn tell(&self, inner: &mut Decisions, change: Change) {
        inner.waiting.push_back(change);
        self.news.store(true, Ordering::Release);
    }
    pub(super) fn has_news(&self) -> bool {
        self.news.load(Ordering::Acquire)
    }
    pub(super) fn take_change(&self) -> Option<Change> {
        let mut inner = self.inner.lock();
        let change = inner.waiting.pop_front();
        self.news.store(!inner.waiting.is_empty(), Ordering::Release);
        change
    }
}

impl ClientContext for Membership {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        said(level, facility, message);
    }
    fn error(&self, error: RdError, reason: &str) {
        failed(&error, reason);
    }
}

impl ConsumerContext for Membership {
    fn rebalance(&self, consumer: &Consumer, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigns = matches!(err, RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS);
        if self.closing.load(Ordering::Acquire) {
            let gone = if assigns { Ok(()) } else { unassign(consumer, list) };
            if let Err(e) = gone {
                log::debug!("leaving a group: {e}");
            }
            return;
        }
        let of = |e: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| Part {
            topic: e.topic().into(),
            partition: e.partition(),
        };
        let parts: Vec<Part> = list.elements().iter().map(of).collect();
        let lost = !assigns && consumer.assignment_lost();
        let token = if lost { None } else { consumer.group_metadata() };
        let mut inner = self.inner.lock();
        inner.token = token.map(|t| Arc::new(t) as GroupToken);
        let change = match (assigns, lost) {
            (true, _) => Change::Assigned(parts),
            (false, true) => Change::Lost(parts),
            (false, false) => {
                inner.leaving = Some((parts.clone(), Clock::System.monotonic()));
                Change::Revoked(parts)
            }
        };
        inner.unanswered = Some(change.clone());
        self.tell(&mut inner, change);
    }
}

pub(super) fn unassign(consumer: &Consumer, list: &TopicPartitionList) -> Result<(), RdError> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
        _ => consumer.unassign(),
    }
}

pub(super) fn listed(parts: &[Part]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for part in parts {
        list.add_partition(&part.topic, part.partition);
    }
    list
}

/// The library fetches nothing more of these; what it sends all the same is thrown away.
pub(super) fn pause(consumer: &Consumer, list: &TopicPartitionList) {
    if let Err(e) = consumer.pause(list) {
        log::debug!("group: {e}");
    }
}
