//! A member of a consumer group, by librdkafka.
//!
//! The library tells of a rebalance inside of a poll and then waits until the partitions are taken or given up, which may be much
//! later: until then it fetches nothing more. Whoever does not poll for `max.poll.interval.ms` is thrown out, so a thread polls
//! for an owner who is held up, with everything paused. What was revoked and not given up in time is taken away by that thread.
//!
//! Where we fetch by ourselves (`direct`), all that the library holds is paused there for ever, and what it sends nevertheless is thrown
//! away. Before anything is given it is asked whether the group has decided something, so nothing comes of what was lost.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{CommitMode, Consumer as _, RebalanceProtocol};
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode as Code};
use rdkafka::message::OwnedMessage;
use rdkafka::topic_partition_list::Offset;

use super::membership::{Consumer, Membership, listed, pause, unassign};
use super::source::{is_direct, only_for_library};
use super::{config, drop_within, kind_of, metadata, sorted};
use crate::connector::kafka::client::{Event, Fetch, HeaderList, KafkaError, KafkaErrorKind, Message, Part};
use crate::connector::kafka::direct::{Fetcher, Stop};
use crate::connector::kafka::member::{Change, GIVE_UP_WITHIN, GroupToken, KafkaMember, MemberSettings};
use crate::connector::kafka::standby::{Standby, Turns};
use crate::record::Clock;

/// Errors between two messages that a look gets over.
const ERRORS: usize = 64;
/// How often the thread looks after an owner that is held up.
const LOOK: Duration = Duration::from_millis(250);
/// How long nobody asks the library for decisions, at most, while the owner waits for messages that we fetch.
const SLICE: Duration = Duration::from_millis(20);
/// So many messages that we fetched are given between two looks at the library.
const BITE: usize = 10_000;
/// How long moving one partition to the library's fetches may take.
const SEEK: Duration = Duration::from_secs(10);

/// What the owner and the thread share.
struct Shared {
    consumer: Consumer,
    polling: Mutex<Turns<OwnedMessage>>,
    /// The library fetches; changes only under the lock of `polling`.
    fetches: AtomicBool,
    over: AtomicBool,
}

impl Standby<OwnedMessage> for Shared {
    fn pause(&self) -> bool {
        // Where we fetch it is paused already, and stays so.
        self.fetches.load(Ordering::Acquire)
            && self
                .consumer
                .assignment()
                .is_ok_and(|all| all.count() > 0 && self.consumer.pause(&all).is_ok())
    }
    fn poll(&self) -> Option<OwnedMessage> {
        for _ in 0..ERRORS {
            match self.consumer.poll(Duration::ZERO)? {
                Ok(message) if self.fetches.load(Ordering::Acquire) => return Some(message.detach()),
                Ok(_) => {}
                Err(e) => log::debug!("group: {e}"),
            }
        }
        None
    }
}

impl Shared {
    /// Polls in place of the owner, if it is held up.
    fn keep_alive(&self, now: Duration) {
        if let Some(mut turns) = self.polling.try_lock() {
            turns.look(now, self);
        }
    }

    /// Takes away what was to be given up and was not.
    fn take_away(&self, now: Duration) {
        let membership = self.consumer.context();
        let mut inner = membership.inner.lock();
        let late = |(_, since): &(Vec<Part>, Duration)| now.saturating_sub(*since) > GIVE_UP_WITHIN;
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
        membership.tell(&mut inner, Change::Lost(parts.clone()));
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
    /// What we fetch by ourselves; `None`: the library fetches.
    fetcher: Option<Fetcher>,
    /// By whom messages are to be fetched.
    fetch: Fetch,
    /// Has messages that only the library can read.
    unfit: Option<Part>,
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
        let own = settings.source();
        let fetcher = if is_direct(&own)? { Some(Fetcher::new(&own, &[])) } else { None };
        let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|e| sorted(&what, &e))?;
        let polling = Mutex::new(Turns::new(Clock::System.monotonic()));
        let shared = Arc::new(Shared {
            consumer,
            polling,
            fetches: AtomicBool::new(fetcher.is_none()),
            over: AtomicBool::new(false),
        });
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("ms-kafka-poll".into()).spawn(move || {
            while !own.over.load(Ordering::Acquire) {
                std::thread::park_timeout(LOOK);
                own.keep_alive(Clock::System.monotonic());
                own.take_away(Clock::System.monotonic());
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
            fetcher,
            fetch: settings.fetch,
            unfit: None,
            slots: Vec::new(),
        })
    }

    fn shared(&self) -> Result<Arc<Shared>, KafkaError> {
        self.shared.clone().ok_or_else(|| KafkaError::fatal(format!("group {}: it was left", self.group)))
    }

    fn failed(&self, e: &RdError) -> KafkaError {
        sorted(&format!("group {}", self.group), e)
    }

    /// An error of the library's polls; `Ok`: it passes.
    fn sort_out(&self, e: &RdError) -> Result<(), KafkaError> {
        match e.rdkafka_error_code() {
            Some(Code::OffsetOutOfRange | Code::AutoOffsetReset | Code::NoOffset) => {
                Err(KafkaError::new(KafkaErrorKind::OutOfRange(usize::MAX), e.to_string()))
            }
            Some(code) if kind_of(code) == KafkaErrorKind::Retriable => {
                log::debug!("brokers {}: {code}", self.servers);
                Ok(())
            }
            _ => Err(self.failed(e)),
        }
    }

    /// Says in which slot a partition is; where it was before, nothing is fetched any more.
    fn set_slot(&mut self, part: &Part, slot: Option<usize>) {
        if let Some(fetcher) = &mut self.fetcher
            && let Some(before) = slot_of(&self.slots, &part.topic, part.partition)
        {
            fetcher.release(before);
        }
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

/// What we fetch.
impl NativeMember {
    /// Takes turns with the library, which has its say first.
    fn poll_direct(
        &mut self,
        shared: &Shared,
        wait: Duration,
        take: &mut dyn FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaError> {
        let membership = shared.consumer.context();
        let until = Clock::System.monotonic() + wait;
        let mut slice = wait.min(SLICE);
        loop {
            self.hear(shared)?;
            if membership.has_news() {
                return Ok(());
            }
            if let Some(part) = self.unfit.clone() {
                return self.hand_over(&part);
            }
            let Some(fetcher) = &mut self.fetcher else { return Ok(()) };
            let (mut given, mut over) = (0, false);
            let polled = fetcher.poll(slice, &mut |event| {
                let Event::Message(message) = event else { return ControlFlow::Continue(()) };
                over = take(message).is_break() || membership.has_news();
                given += 1;
                if over || given == BITE { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            match polled {
                Ok(()) => {}
                Err(Stop::OutOfRange(slot)) => {
                    // It goes on where it was, unless the owner says otherwise: a replica may have lagged.
                    let next = fetcher.position(slot).unwrap_or_default();
                    fetcher.seek(slot, next);
                    let what = format!("group {}: offset {next} is out of range", self.group);
                    return Err(KafkaError::new(KafkaErrorKind::OutOfRange(usize::MAX), what));
                }
                Err(Stop::Unfit(part)) => {
                    self.unfit = Some(part.clone());
                    return self.hand_over(&part);
                }
                Err(Stop::Error(e)) if e.kind == KafkaErrorKind::Retriable => log::debug!("{e}"),
                Err(Stop::Error(e)) => return Err(e),
            }
            let left = until.saturating_sub(Clock::System.monotonic());
            if over || (1..BITE).contains(&given) || given == 0 && left.is_zero() {
                return Ok(());
            }
            slice = if given == 0 { left.min(SLICE) } else { Duration::ZERO };
        }
    }

    /// Serves the library: decisions of the group come in its polls. Messages do not, but for those that were on their way.
    fn hear(&self, shared: &Shared) -> Result<(), KafkaError> {
        for _ in 0..ERRORS {
            match shared.consumer.poll(Duration::ZERO) {
                None => return Ok(()),
                Some(Ok(message)) => {
                    let part = Part {
                        topic: rdkafka::Message::topic(&message).into(),
                        partition: rdkafka::Message::partition(&message),
                    };
                    log::debug!("{part}: the library fetches, so it is paused");
                    pause(&shared.consumer, &listed(&[part]));
                }
                Some(Err(e)) => match e.rdkafka_error_code() {
                    Some(Code::OffsetOutOfRange | Code::AutoOffsetReset | Code::NoOffset) => {}
                    _ => self.sort_out(&e)?,
                },
            }
        }
        Ok(())
    }

    /// The library goes on where we can't. Called under the lock of the polls.
    fn hand_over(&mut self, part: &Part) -> Result<(), KafkaError> {
        let shared = self.shared()?;
        only_for_library(self.fetch, part)?;
        let Some(fetcher) = &self.fetcher else { return Ok(()) };
        let mut all = Vec::new();
        for (topic, slots) in &self.slots {
            for (partition, slot) in (0..).zip(slots) {
                if let Some(next) = slot.and_then(|slot| fetcher.position(slot)) {
                    all.push((Part { topic: topic.clone(), partition }, next));
                }
            }
        }
        for (part, next) in &all {
            let at = Offset::Offset(*next);
            let sought = shared.consumer.seek(&part.topic, part.partition, at, SEEK);
            sought.map_err(|e| sorted(&part.to_string(), &e))?;
        }
        let parts: Vec<Part> = all.into_iter().map(|(part, _)| part).collect();
        shared.consumer.resume(&listed(&parts)).map_err(|e| self.failed(&e))?;
        shared.fetches.store(true, Ordering::Release);
        (self.fetcher, self.unfit) = (None, None);
        Ok(())
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
        let change = self.shared.as_ref()?.consumer.context().take_change()?;
        // Nobody waits for what comes of these.
        if let (Some(fetcher), Change::Revoked(parts) | Change::Lost(parts)) = (&mut self.fetcher, &change) {
            let slots = parts.iter().filter_map(|p| slot_of(&self.slots, &p.topic, p.partition));
            slots.for_each(|slot| fetcher.pause(slot));
        }
        Some(change)
    }

    fn accept(&mut self, parts: &[(usize, Part, i64)]) -> Result<(), KafkaError> {
        let shared = self.shared()?;
        let mut list = TopicPartitionList::new();
        for (slot, part, offset) in parts {
            list.add_partition_offset(&part.topic, part.partition, Offset::Offset(*offset))
                .map_err(|e| sorted(&part.to_string(), &e))?;
            self.set_slot(part, Some(*slot));
        }
        // Where the library knows the partition already, it does not even begin.
        if self.fetcher.is_some() && !parts.is_empty() {
            pause(&shared.consumer, &list);
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
        match &mut self.fetcher {
            _ if parts.is_empty() => {}
            Some(fetcher) => {
                pause(&shared.consumer, &list);
                parts.iter().for_each(|(slot, part, offset)| fetcher.assign(*slot, part, *offset));
            }
            None => shared.consumer.resume(&list).map_err(|e| self.failed(&e))?,
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
        let resumes = polling.owner(Clock::System.monotonic());
        if self.fetcher.is_some() {
            return self.poll_direct(&shared, wait, take);
        }
        if resumes && let Ok(all) = shared.consumer.assignment() {
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
                Some(Err(e)) => self.sort_out(&e)?,
            }
            wait = Duration::ZERO;
            if membership.has_news() {
                return Ok(());
            }
        }
    }

    fn seek(&mut self, part: &Part, offset: i64) -> Result<(), KafkaError> {
        if let Some(fetcher) = &mut self.fetcher {
            let Some(slot) = slot_of(&self.slots, &part.topic, part.partition) else {
                return Err(KafkaError::fatal(format!("{part} is not assigned")));
            };
            fetcher.seek(slot, offset);
            return Ok(());
        }
        let shared = self.shared()?;
        let sought = shared.consumer.seek(&part.topic, part.partition, Offset::Offset(offset), SEEK);
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
        let until = Clock::System.monotonic() + deadline;
        if let Some(mut fetcher) = self.fetcher.take() {
            fetcher.close(deadline / 2);
        }
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
        let left = until.saturating_sub(Clock::System.monotonic());
        drop_within("a member of a Kafka group", shared, left);
    }
}

impl Drop for NativeMember {
    fn drop(&mut self) {
        self.close(Duration::from_secs(5));
    }
}

#[cfg(test)]
#[path = "member_tests.rs"]
mod member_tests;
