//! A consumer of librdkafka: one for each topic, since the library's word of a partition's end does not name its topic.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::Offset;

use super::fetched::{Fetched, Fetching};
use super::txn::marks;
use super::{Consumer, Listener, config, drop_within, kind_of, metadata, partitions_of, sorted};
use crate::connector::kafka::client::{
    Bounds, Event, GroupOffset, HeaderList, KafkaError, KafkaErrorKind, KafkaSource, Message, Part,
    SourceSettings,
};
use crate::record::Clock;

/// An assigned partition.
struct Lane {
    part: Part,
    /// Index of its topic's consumer.
    consumer: usize,
    next: i64,
    paused: bool,
}

/// The consumer of one topic.
struct TopicConsumer {
    topic: Arc<str>,
    fetching: Fetching,
    /// For each partition number, its index among the lanes.
    lanes: Vec<Option<usize>>,
}

pub(super) struct NativeSource {
    settings: SourceSettings,
    /// Answers questions; reads nothing.
    client: Consumer,
    topics: Vec<TopicConsumer>,
    lanes: Vec<Lane>,
    /// The consumer that is asked first.
    turn: usize,
    /// No broker could be reached, and none has answered since.
    down: bool,
}

/// How long a single consumer among several may wait.
const SLICE: Duration = Duration::from_millis(2);

impl NativeSource {
    pub(super) fn connect(settings: &SourceSettings) -> Result<Self, KafkaError> {
        let config = config::consumer(settings, settings.prefetch_bytes)?;
        let client =
            Consumer::from_config_and_context(&config, Listener).map_err(|e| sorted("settings", &e))?;
        metadata(client.client(), &settings.connection)?;
        Ok(Self {
            settings: settings.clone(),
            client,
            topics: Vec::new(),
            lanes: Vec::new(),
            turn: 0,
            down: false,
        })
    }

    fn timeout(&self) -> Duration {
        self.settings.connection.timeout
    }

    /// First offset and end of a partition; asks again while its leader moves, as it does when a topic is new.
    fn watermarks(&self, part: &Part) -> Result<(i64, i64), KafkaError> {
        let clock = Clock::System;
        let until = clock.monotonic() + self.timeout();
        loop {
            let asked = self.client.fetch_watermarks(&part.topic, part.partition, self.timeout());
            match asked.map_err(|e| sorted(&part.to_string(), &e)) {
                Err(e) if e.kind == KafkaErrorKind::Retriable && clock.monotonic() < until => {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                done => return done,
            }
        }
    }

    fn lane(&mut self, part: usize) -> Result<&mut Lane, KafkaError> {
        self.lanes.get_mut(part).ok_or_else(|| KafkaError::fatal("no such partition is assigned"))
    }

    /// Assigns the partitions of a consumer that are not paused, each where it stands. What the library had fetched of them is
    /// outdated then, and it gives no more of that.
    fn assign(&mut self, consumer: usize) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for lane in self.lanes.iter().filter(|l| l.consumer == consumer && !l.paused) {
            list.add_partition_offset(&lane.part.topic, lane.part.partition, Offset::Offset(lane.next))
                .map_err(|e| sorted(&lane.part.to_string(), &e))?;
        }
        let Some(topic) = self.topics.get_mut(consumer) else { return Ok(()) };
        // A partition that was led once goes to the consumer's queue no more, where its messages would come one by one.
        topic.lead(&self.lanes);
        topic.fetching.consumer().assign(&list).map_err(|e| sorted(&topic.topic, &e))?;
        // It comes again, from where each partition stands now.
        topic.fetching.forget();
        // The library's thread only begins with that: it stops a partition with one message to itself and hears of that with another.
        // Each question is answered behind what it had to do when it was asked. Who assigns before, or closes, fails an assertion of
        // the library that ends the process (`rktp_started`); and what is led before is led no more once the partition has stopped.
        for _ in 0..2 {
            topic.fetching.consumer().assignment().map_err(|e| sorted(&topic.topic, &e))?;
        }
        topic.lead(&self.lanes);
        Ok(())
    }

    /// What an error that came in place of a message means.
    fn settle(&mut self, consumer: usize, error: &RdError) -> Result<(), KafkaError> {
        let code = match error {
            RdError::PartitionEOF(_) => return Ok(()),
            error => error.rdkafka_error_code(),
        };
        match code {
            Some(Code::OffsetOutOfRange | Code::AutoOffsetReset | Code::NoOffset) => {
                self.out_of_range(consumer)
            }
            Some(code) if kind_of(code) == KafkaErrorKind::Retriable => {
                // The library goes on trying by itself.
                log::debug!("brokers {}: {code}", self.settings.connection.servers);
                self.down |=
                    matches!(code, Code::AllBrokersDown | Code::Resolve | Code::BrokerTransportFailure);
                Ok(())
            }
            _ => {
                let topic = self.topics.get(consumer).map_or("", |t| &t.topic);
                Err(sorted(&format!("topic {topic}"), error))
            }
        }
    }

    /// The library does not say which partition it was.
    fn out_of_range(&mut self, consumer: usize) -> Result<(), KafkaError> {
        for i in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get(i).filter(|l| l.consumer == consumer && !l.paused) else {
                continue;
            };
            let (part, next) = (lane.part.clone(), lane.next);
            let bounds = self.bounds(std::slice::from_ref(&part))?;
            if bounds.first().is_some_and(|b| !(b.first..=b.end).contains(&next)) {
                let message = format!("{part}: offset {next} is out of range");
                return Err(KafkaError::new(KafkaErrorKind::OutOfRange(i), message));
            }
        }
        // It has come back into range.
        self.assign(consumer)
    }

    /// Asks whether a broker answers again.
    fn look(&mut self) -> Result<(), KafkaError> {
        let asked = self.client.client().fetch_metadata(None, Duration::from_secs(1));
        match asked {
            Ok(_) => {
                self.down = false;
                Ok(())
            }
            Err(e) => {
                let what = format!("no broker of {} can be reached", self.settings.connection.servers);
                Err(KafkaError::retriable(sorted(&what, &e).message))
            }
        }
    }
}

impl TopicConsumer {
    /// What is fetched of the partitions that are assigned comes here.
    fn lead(&self, lanes: &[Lane]) {
        for lane in self.lanes.iter().flatten().filter_map(|i| lanes.get(*i)).filter(|l| !l.paused) {
            self.fetching.lead(&lane.part.topic, lane.part.partition);
        }
    }

    /// Gives what comes within `wait`, as many messages as the library hands over at once.
    fn poll(
        &mut self,
        lanes: &mut [Lane],
        wait: Duration,
        headers: bool,
        take: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Polled, RdError> {
        let Self { fetching, lanes: places, .. } = self;
        if fetching.is_empty() {
            // What the library has to say besides comes here.
            match fetching.consumer().poll(Duration::ZERO) {
                None => {}
                Some(Ok(_) | Err(RdError::PartitionEOF(_))) => return Ok(Polled::Astray),
                Some(Err(e)) => return Err(e),
            }
            if !fetching.fill(Duration::ZERO) && (wait.is_zero() || !fetching.fill(wait)) {
                return Ok(Polled::Nothing);
            }
        }
        while let Some(fetched) = fetching.next() {
            let index = usize::try_from(fetched.partition()).ok().and_then(|p| *places.get(p)?);
            // What was fetched before a partition was paused comes again when it goes on.
            let lane = index.and_then(|i| Some((i, lanes.get_mut(i).filter(|l| !l.paused)?)));
            let polled = match (fetched.error(), lane) {
                (None, Some((part, lane))) => {
                    lane.next = fetched.offset() + 1;
                    give(part, &fetched, headers, take)
                }
                (Some(RdError::PartitionEOF(_)), Some((part, lane))) => {
                    // What there is behind the last message (marks of transactions) has no end but this.
                    lane.next = lane.next.max(fetched.offset());
                    Polled::of(take(Event::Reached { part, next: lane.next }))
                }
                (None | Some(RdError::PartitionEOF(_)), None) => continue,
                (Some(e), _) => return Err(e),
            };
            if polled == Polled::Full {
                return Ok(polled);
            }
        }
        Ok(Polled::Something)
    }
}

/// Gives one message.
fn give(
    part: usize,
    fetched: &Fetched<'_>,
    headers: bool,
    take: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Polled {
    let list = if headers { fetched.headers() } else { None };
    Polled::of(take(Event::Message(Message {
        part,
        offset: fetched.offset(),
        timestamp: fetched.timestamp(),
        key: fetched.key(),
        value: fetched.value(),
        headers: list.as_ref().map(|l| l as &dyn HeaderList),
    })))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Polled {
    Nothing,
    Something,
    Full,
    /// A message, or an end, came where none should come, and is gone.
    Astray,
}

impl Polled {
    fn of(flow: ControlFlow<()>) -> Self {
        if flow.is_break() { Self::Full } else { Self::Something }
    }
}

impl KafkaSource for NativeSource {
    fn topics(&mut self) -> Result<Vec<String>, KafkaError> {
        let metadata = metadata(self.client.client(), &self.settings.connection)?;
        Ok(metadata.topics().iter().map(|t| t.name().to_owned()).collect())
    }

    fn partitions(&mut self, topic: &str) -> Result<Option<Vec<i32>>, KafkaError> {
        partitions_of(&metadata(self.client.client(), &self.settings.connection)?, topic)
    }

    fn bounds(&mut self, parts: &[Part]) -> Result<Vec<Bounds>, KafkaError> {
        let mut bounds = Vec::with_capacity(parts.len());
        for part in parts {
            let (first, end) = self.watermarks(part)?;
            bounds.push(Bounds { first, end });
        }
        Ok(bounds)
    }

    fn committed(&mut self, parts: &[Part]) -> Result<Vec<Option<i64>>, KafkaError> {
        Ok(self.marks(parts)?.into_iter().map(|m| m.map(|m| m.offset)).collect())
    }

    fn marks(&mut self, parts: &[Part]) -> Result<Vec<Option<GroupOffset>>, KafkaError> {
        if self.settings.group.is_none() {
            return Err(KafkaError::fatal("no group"));
        }
        let mut list = TopicPartitionList::new();
        for part in parts {
            list.add_partition(&part.topic, part.partition);
        }
        // The group's coordinator moves when a broker starts.
        let clock = Clock::System;
        let until = clock.monotonic() + self.timeout();
        loop {
            let left = until.saturating_sub(clock.monotonic()).max(Duration::from_millis(1));
            let asked = self.client.committed_offsets(list.clone(), left);
            match asked.map_err(|e| sorted("offsets of the group", &e)) {
                Err(e) if e.kind == KafkaErrorKind::Retriable && clock.monotonic() < until => {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                done => return Ok(marks(&done?, parts)),
            }
        }
    }

    fn offsets_at(&mut self, parts: &[Part], millis: i64) -> Result<Vec<Option<i64>>, KafkaError> {
        let mut list = TopicPartitionList::new();
        for part in parts {
            list.add_partition_offset(&part.topic, part.partition, Offset::Offset(millis))
                .map_err(|e| sorted(&part.to_string(), &e))?;
        }
        let found =
            self.client.offsets_for_times(list, self.timeout()).map_err(|e| sorted("offsets by time", &e))?;
        Ok(offsets(&found, parts))
    }

    fn start(&mut self, parts: &[(Part, i64)]) -> Result<(), KafkaError> {
        let mut names: Vec<Arc<str>> = parts.iter().map(|(p, _)| p.topic.clone()).collect();
        names.sort();
        names.dedup();
        let share = self.settings.prefetch_bytes / names.len().max(1);
        self.topics.clear();
        for topic in names {
            let consumer =
                Consumer::from_config_and_context(&config::consumer(&self.settings, share)?, Listener)
                    .map_err(|e| sorted("settings", &e))?;
            let fetching =
                Fetching::new(consumer).ok_or_else(|| KafkaError::fatal("librdkafka has no memory"))?;
            self.topics.push(TopicConsumer { topic, fetching, lanes: Vec::new() });
        }
        self.lanes.clear();
        for (i, (part, next)) in parts.iter().enumerate() {
            let consumer = self.topics.iter().position(|t| t.topic == part.topic).unwrap_or(0);
            self.lanes.push(Lane { part: part.clone(), consumer, next: *next, paused: false });
            if let Some(topic) = self.topics.get_mut(consumer) {
                let at = usize::try_from(part.partition).unwrap_or(0);
                if topic.lanes.len() <= at {
                    topic.lanes.resize(at + 1, None);
                }
                if let Some(slot) = topic.lanes.get_mut(at) {
                    *slot = Some(i);
                }
            }
        }
        (0..self.topics.len()).try_for_each(|c| self.assign(c))
    }

    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaError> {
        let (n, headers) = (self.topics.len(), self.settings.headers);
        if n == 0 {
            std::thread::park_timeout(wait);
            return Ok(());
        }
        let mut any = false;
        let mut left = wait;
        let mut silent = 0;
        // With one consumer the library waits for us; with several each has a slice in turn.
        while silent < n || !any && !left.is_zero() {
            let patient = silent >= n || n == 1;
            let slice = match (any, patient) {
                (true, _) | (_, false) => Duration::ZERO,
                (false, true) if n == 1 => std::mem::take(&mut left),
                (false, true) => {
                    let slice = left.min(SLICE);
                    left -= slice;
                    slice
                }
            };
            let at = self.turn % n;
            let Some(topic) = self.topics.get_mut(at) else { break };
            match topic.poll(&mut self.lanes, slice, headers, take) {
                Ok(Polled::Full) => {
                    // The next one has its turn, or a topic that always has something would hold up the others.
                    (self.turn, self.down) = (at + 1, false);
                    return Ok(());
                }
                Ok(Polled::Something) => {
                    (any, silent, self.down) = (true, 0, false);
                    continue;
                }
                Ok(Polled::Nothing) => silent += 1,
                Ok(Polled::Astray) => {
                    log::debug!("topic {}: fetched aside, so it is fetched again", topic.topic);
                    self.assign(at)?;
                    silent += 1;
                }
                Err(e) => {
                    self.settle(at, &e)?;
                    silent += 1;
                }
            }
            self.turn = at + 1;
            if n == 1 && !any && left.is_zero() {
                break;
            }
        }
        if self.down && !any { self.look() } else { Ok(()) }
    }

    fn pause(&mut self, part: usize) -> Result<(), KafkaError> {
        let lane = self.lane(part)?;
        lane.paused = true;
        let (part, consumer) = (lane.part.clone(), lane.consumer);
        let mut list = TopicPartitionList::new();
        list.add_partition(&part.topic, part.partition);
        match self.topics.get(consumer) {
            Some(topic) => topic.fetching.consumer().pause(&list).map_err(|e| sorted(&part.to_string(), &e)),
            None => Ok(()),
        }
    }

    fn resume(&mut self, part: usize, offset: i64) -> Result<(), KafkaError> {
        let lane = self.lane(part)?;
        (lane.paused, lane.next) = (false, offset);
        let (part, consumer) = (lane.part.clone(), lane.consumer);
        let mut list = TopicPartitionList::new();
        list.add_partition(&part.topic, part.partition);
        if let Some(topic) = self.topics.get(consumer) {
            topic.fetching.consumer().resume(&list).map_err(|e| sorted(&part.to_string(), &e))?;
        }
        self.assign(consumer)
    }

    fn seek(&mut self, part: usize, offset: i64) -> Result<(), KafkaError> {
        let lane = self.lane(part)?;
        lane.next = offset;
        let consumer = lane.consumer;
        self.assign(consumer)
    }

    fn commit(&mut self, offsets: &[(Part, i64)]) -> Result<(), KafkaError> {
        if self.settings.group.is_none() {
            return Err(KafkaError::fatal("no group"));
        }
        let mut list = TopicPartitionList::new();
        for (part, offset) in offsets {
            list.add_partition_offset(&part.topic, part.partition, Offset::Offset(*offset))
                .map_err(|e| sorted(&part.to_string(), &e))?;
        }
        self.client.commit(&list, CommitMode::Sync).map_err(|e| sorted("commit of the group's offsets", &e))
    }

    fn close(&mut self, deadline: Duration) {
        if self.topics.is_empty() && self.lanes.is_empty() {
            return;
        }
        self.lanes.clear();
        drop_within("a Kafka consumer", std::mem::take(&mut self.topics), deadline);
    }
}

/// The offsets of a list in the order of `parts`; those that are none are left out.
fn offsets(list: &TopicPartitionList, parts: &[Part]) -> Vec<Option<i64>> {
    let of = |p: &Part| match list.find_partition(&p.topic, p.partition)?.offset() {
        Offset::Offset(offset) if offset >= 0 => Some(offset),
        _ => None,
    };
    parts.iter().map(of).collect()
}

impl Drop for NativeSource {
    fn drop(&mut self) {
        self.close(Duration::from_secs(5));
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
