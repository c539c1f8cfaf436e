//! A member of a consumer group, by librdkafka.
//!
//! The library tells of a rebalance inside of a poll and then waits until the partitions are taken or given up, which may be much
//! later: until then it fetches nothing more. Whoever does not poll for `max.poll.interval.ms` is thrown out, so a thread polls
//! for an owner who is held up, with everything paused. What was revoked and not given up in time is taken away by that thread.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode as Code};
use rdkafka::message::OwnedMessage;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaRespErr;

use super::{config, drop_within, failed, kind_of, metadata, said, sorted};
use crate::connector::kafka::client::{HeaderList, KafkaError, KafkaErrorKind, Message, Part};
use crate::connector::kafka::member::{Change, GIVE_UP_WITHIN, GroupToken, KafkaMember, MemberSettings};
use crate::connector::kafka::standby::{Standby, Turns};
use crate::record::Clock;

/// Errors between two messages that a look gets over.
const ERRORS: usize = 64;
/// How often the thread looks after an owner that is held up.
const LOOK: Duration = Duration::from_millis(250);

type Consumer = BaseConsumer<Membership>;

/// What the library says of the group.
#[derive(Default)]
struct Membership {
    inner: Mutex<Decisions>,
    /// Nobody takes decisions any more.
    closing: AtomicBool,
}

#[derive(Default)]
struct Decisions {
    waiting: VecDeque<Change>,
    token: Option<GroupToken>,
    /// Partitions that the library holds as ours.
    owned: Vec<Part>,
    /// The library waits for an answer to that.
    unanswered: Option<Change>,
    /// What is to be given up, and since when.
    leaving: Option<(Vec<Part>, Duration)>,
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
        inner.waiting.push_back(change);
    }
}

fn unassign(consumer: &Consumer, list: &TopicPartitionList) -> Result<(), RdError> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
        _ => consumer.unassign(),
    }
}

fn listed(parts: &[Part]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for part in parts {
        list.add_partition(&part.topic, part.partition);
    }
    list
}

/// What the owner and the thread share.
struct Shared {
    consumer: Consumer,
    polling: Mutex<Turns<OwnedMessage>>,
    over: AtomicBool,
}

impl Standby<OwnedMessage> for Consumer {
    fn pause(&self) -> bool {
        self.assignment()
            .is_ok_and(|all| all.count() > 0 && rdkafka::consumer::Consumer::pause(self, &all).is_ok())
    }
    fn poll(&self) -> Option<OwnedMessage> {
        for _ in 0..ERRORS {
            match BaseConsumer::poll(self, Duration::ZERO)? {
                Ok(message) => return Some(message.detach()),
                Err(e) => log::debug!("group: {e}"),
            }
        }
        None
    }
}

impl Shared {
    /// Polls in place of the owner, if it is held up.
    fn keep_alive(&self) {
        if let Some(mut turns) = self.polling.try_lock() {
            turns.look(Clock::System.monotonic(), &self.consumer);
        }
    }

    /// Takes away what was to be given up and was not.
    fn take_away(&self) {
        let membership = self.consumer.context();
        let mut inner = membership.inner.lock();
        let late = |(_, since): &(Vec<Part>, Duration)| {
            Clock::System.monotonic().saturating_sub(*since) > GIVE_UP_WITHIN
        };
        if !inner.leaving.as_ref().is_some_and(late) {
            return;
        }
        let Some((parts, _)) = inner.leaving.take() else { return };
        log::warn!(
            "{} partitions were not given up within {GIVE_UP_WITHIN:?}: they go without a commit",
            parts.len()
        );
        inner.owned.retain(|p| !parts.contains(p));
        (inner.token, inner.unanswered) = (None, None);
        inner.waiting.push_back(Change::Lost(parts.clone()));
        drop(inner);
        if let Err(e) = unassign(&self.consumer, &listed(&parts)) {
            log::debug!("group: {e}");
        }
    }
}

pub(super) struct NativeMember {
    shared: Option<Arc<Shared>>,
    thread: Option<JoinHandle<()>>,
    group: String,
    servers: String,
    headers: bool,
    /// For each topic and partition number its slot.
    slots: Vec<(Arc<str>, Vec<Option<usize>>)>,
}

impl NativeMember {
    pub(super) fn join(settings: &MemberSettings) -> Result<Self, KafkaError> {
        let config = config::member(settings)?;
        let what = format!("group {}", settings.group);
        let consumer = Consumer::from_config_and_context(&config, Membership::default())
            .map_err(|e| sorted(&what, &e))?;
        metadata(consumer.client(), &settings.connection)?;
        let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|e| sorted(&what, &e))?;
        let polling = Mutex::new(Turns::new(Clock::System.monotonic()));
        let shared = Arc::new(Shared { consumer, polling, over: AtomicBool::new(false) });
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("ms-kafka-poll".into()).spawn(move || {
            while !own.over.load(Ordering::Acquire) {
                std::thread::park_timeout(LOOK);
                own.keep_alive();
                own.take_away();
            }
        });
        let thread =
            thread.map_err(|e| KafkaError::fatal(format!("can't start thread ms-kafka-poll: {e}")))?;
        Ok(Self {
            shared: Some(shared),
            thread: Some(thread),
            group: settings.group.clone(),
            servers: settings.connection.servers.clone(),
            headers: settings.headers,
            slots: Vec::new(),
        })
    }

    fn shared(&self) -> Result<Arc<Shared>, KafkaError> {
        self.shared.clone().ok_or_else(|| KafkaError::fatal(format!("group {}: it was left", self.group)))
    }

    fn failed(&self, e: &RdError) -> KafkaError {
        sorted(&format!("group {}", self.group), e)
    }

    fn set_slot(&mut self, part: &Part, slot: Option<usize>) {
        let at = match self.slots.iter().position(|(topic, _)| *topic == part.topic) {
            Some(at) => at,
            None => {
                self.slots.push((part.topic.clone(), Vec::new()));
                self.slots.len() - 1
            }
        };
        let number = usize::try_from(part.partition).unwrap_or(0);
        if let Some((_, slots)) = self.slots.get_mut(at) {
            if slots.len() <= number {
                slots.resize(number + 1, None);
            }
            if let Some(place) = slots.get_mut(number) {
                *place = slot;
            }
        }
    }
}

fn slot_of(slots: &[(Arc<str>, Vec<Option<usize>>)], topic: &str, partition: i32) -> Option<usize> {
    let (_, slots) = slots.iter().find(|(name, _)| **name == *topic)?;
    *slots.get(usize::try_from(partition).ok()?)?
}

/// Headers of a message, whoever holds it.
struct Listed<'a, H>(&'a H);

impl<H: rdkafka::message::Headers> HeaderList for Listed<'_, H> {
    fn each(&self, each: &mut dyn FnMut(&str, Option<&[u8]>)) -> Result<(), String> {
        // The library panics on a name that is no text.
        let all = std::panic::AssertUnwindSafe(|| self.0.iter().for_each(|h| each(h.key, h.value)));
        std::panic::catch_unwind(all).map_err(|_| "a name that is not UTF-8".into())
    }
}

/// Gives one message.
fn give<M: rdkafka::Message>(
    slots: &[(Arc<str>, Vec<Option<usize>>)],
    message: &M,
    headers: bool,
    take: &mut dyn FnMut(Message<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some(part) = slot_of(slots, message.topic(), message.partition()) else {
        return ControlFlow::Continue(());
    };
    let list = if headers { message.headers().map(Listed) } else { None };
    take(Message {
        part,
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key(),
        value: message.payload(),
        headers: list.as_ref().map(|l| l as &dyn HeaderList),
    })
}

impl KafkaMember for NativeMember {
    fn take_change(&mut self) -> Option<Change> {
        self.shared.as_ref()?.consumer.context().inner.lock().waiting.pop_front()
    }

    fn accept(&mut self, parts: &[(usize, Part, i64)]) -> Result<(), KafkaError> {
        let shared = self.shared()?;
        let mut list = TopicPartitionList::new();
        for (slot, part, offset) in parts {
            list.add_partition_offset(&part.topic, part.partition, Offset::Offset(*offset))
                .map_err(|e| sorted(&part.to_string(), &e))?;
            self.set_slot(part, Some(*slot));
        }
        let taken = match shared.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => shared.consumer.incremental_assign(&list),
            _ => shared.consumer.assign(&list),
        };
        taken.map_err(|e| self.failed(&e))?;
        {
            let mut inner = shared.consumer.context().inner.lock();
            inner.unanswered = None;
            inner.owned.extend(parts.iter().map(|(_, part, _)| part.clone()));
        }
        // A pause outlives the assignment that it was made in.
        if !parts.is_empty() {
            shared.consumer.resume(&list).map_err(|e| self.failed(&e))?;
        }
        Ok(())
    }

    fn release(&mut self, parts: &[Part]) -> Result<(), KafkaError> {
        let shared = self.shared()?;
        parts.iter().for_each(|part| self.set_slot(part, None));
        {
            let mut inner = shared.consumer.context().inner.lock();
            (inner.leaving, inner.unanswered) = (None, None);
            let before = inner.owned.len();
            inner.owned.retain(|p| !parts.contains(p));
            // The thread was first.
            if before == inner.owned.len() && !parts.is_empty() {
                return Ok(());
            }
        }
        unassign(&shared.consumer, &listed(parts)).map_err(|e| self.failed(&e))
    }

    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaError> {
        let shared = self.shared()?;
        let mut polling = shared.polling.lock();
        if polling.owner(Clock::System.monotonic())
            && let Ok(all) = shared.consumer.assignment()
        {
            shared.consumer.resume(&all).map_err(|e| self.failed(&e))?;
        }
        while let Some(message) = polling.kept() {
            if give(&self.slots, &message, self.headers, take).is_break() {
                return Ok(());
            }
        }
        let membership = shared.consumer.context();
        let mut wait = wait;
        loop {
            match shared.consumer.poll(wait) {
                None => return Ok(()),
                Some(Ok(message)) => {
                    if give(&self.slots, &message, self.headers, take).is_break() {
                        return Ok(());
                    }
                }
                Some(Err(e)) => match e.rdkafka_error_code() {
                    Some(Code::OffsetOutOfRange | Code::AutoOffsetReset | Code::NoOffset) => {
                        return Err(KafkaError::new(KafkaErrorKind::OutOfRange(usize::MAX), e.to_string()));
                    }
                    Some(code) if kind_of(code) == KafkaErrorKind::Retriable => {
                        log::debug!("brokers {}: {code}", self.servers);
                    }
                    _ => return Err(self.failed(&e)),
                },
            }
            wait = Duration::ZERO;
            if !membership.inner.lock().waiting.is_empty() {
                return Ok(());
            }
        }
    }

    fn seek(&mut self, part: &Part, offset: i64) -> Result<(), KafkaError> {
        let shared = self.shared()?;
        let sought = shared.consumer.seek(
            &part.topic,
            part.partition,
            Offset::Offset(offset),
            Duration::from_secs(10),
        );
        sought.map_err(|e| sorted(&part.to_string(), &e))
    }

    fn commit(&mut self, offsets: &[(Part, i64)]) -> Result<(), KafkaError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for (part, offset) in offsets {
            list.add_partition_offset(&part.topic, part.partition, Offset::Offset(*offset))
                .map_err(|e| sorted(&part.to_string(), &e))?;
        }
        self.shared()?.consumer.commit(&list, CommitMode::Sync).map_err(|e| self.failed(&e))
    }

    fn token(&self) -> Option<GroupToken> {
        self.shared.as_ref()?.consumer.context().inner.lock().token.clone()
    }

    fn close(&mut self, deadline: Duration) {
        let Some(shared) = self.shared.take() else { return };
        shared.consumer.context().closing.store(true, Ordering::Release);
        shared.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Its calls do not wait.
            let _ = thread.join();
        }
        // The library would wait for it.
        let unanswered = shared.consumer.context().inner.lock().unanswered.take();
        let cooperative = matches!(shared.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let answered = match unanswered {
            None => Ok(()),
            Some(Change::Assigned(_)) if cooperative => shared.consumer.incremental_assign(&listed(&[])),
            Some(Change::Assigned(parts) | Change::Revoked(parts) | Change::Lost(parts)) => {
                unassign(&shared.consumer, &listed(&parts))
            }
        };
        if let Err(e) = answered {
            log::debug!("group {}: {e}", self.group);
        }
        drop_within("a member of a Kafka group", shared, deadline);
    }
}

impl Drop for NativeMember {
    fn drop(&mut self) {
        self.close(Duration::from_secs(5));
    }
}
