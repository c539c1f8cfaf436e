//! Messages by librdkafka: a consumer for each topic, since the library's word of a partition's end does not name its topic.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::Offset;

use super::asking::Asking;
use super::fetched::{Fetched, Fetching};
use super::{Consumer, Listener, config, drop_within, kind_of, sorted};
use crate::connector::kafka::client::{Event, HeaderList, KafkaError, KafkaErrorKind, Message, Part};

/// An assigned partition.
struct Lane {
    part: Part,
    /// Index of its topic's consumer.
    consumer: usize,
    next: i64,
    paused: bool,
}

/// The consumer of one topic.
pub(super) struct TopicConsumer {
    pub(super) topic: Arc<str>,
    pub(super) fetching: Fetching,
    /// For each partition number, its index among the lanes.
    lanes: Vec<Option<usize>>,
}

/// Reads by the library.
pub(super) struct Library {
    asking: Arc<Asking>,
    pub(super) topics: Vec<TopicConsumer>,
    lanes: Vec<Lane>,
    /// The consumer that is asked first.
    turn: usize,
    /// No broker could be reached, and none has answered since.
    down: bool,
}

/// How long a single consumer among several may wait.
const SLICE: Duration = Duration::from_millis(2);

impl Library {
    pub(super) fn start(asking: &Arc<Asking>, parts: &[(Part, i64)]) -> Result<Self, KafkaError> {
        let mut names: Vec<Arc<str>> = parts.iter().map(|(p, _)| p.topic.clone()).collect();
        names.sort();
        names.dedup();
        let share = asking.settings.prefetch_bytes / names.len().max(1);
        let mut topics: Vec<TopicConsumer> = Vec::with_capacity(names.len());
        for topic in names {
            let consumer =
                Consumer::from_config_and_context(&config::consumer(&asking.settings, share)?, Listener)
                    .map_err(|e| sorted("settings", &e))?;
            let fetching =
                Fetching::new(consumer).ok_or_else(|| KafkaError::fatal("librdkafka has no memory"))?;
            topics.push(TopicConsumer { topic, fetching, lanes: Vec::new() });
        }
        let mut lanes = Vec::with_capacity(parts.len());
        for (i, (part, next)) in parts.iter().enumerate() {
            let consumer = topics.iter().position(|t| t.topic == part.topic).unwrap_or(0);
            lanes.push(Lane { part: part.clone(), consumer, next: *next, paused: false });
            if let Some(topic) = topics.get_mut(consumer) {
                let at = usize::try_from(part.partition).unwrap_or(0);
                if topic.lanes.len() <= at {
                    topic.lanes.resize(at + 1, None);
                }
                if let Some(slot) = topic.lanes.get_mut(at) {
                    *slot = Some(i);
                }
            }
        }
        let mut library = Self { asking: asking.clone(), topics, lanes, turn: 0, down: false };
        (0..library.topics.len()).try_for_each(|c| library.assign(c))?;
        Ok(library)
    }

    pub(super) fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaError> {
        let (n, headers) = (self.topics.len(), self.asking.settings.headers);
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
        if !self.down || any {
            return Ok(());
        }
        self.asking.look()?;
        self.down = false;
        Ok(())
    }

    pub(super) fn pause(&mut self, part: usize) -> Result<(), KafkaError> {
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

    pub(super) fn resume(&mut self, part: usize, offset: i64) -> Result<(), KafkaError> {
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

    pub(super) fn seek(&mut self, part: usize, offset: i64) -> Result<(), KafkaError> {
        let lane = self.lane(part)?;
        lane.next = offset;
        let consumer = lane.consumer;
        self.assign(consumer)
    }

    pub(super) fn close(&mut self, deadline: Duration) {
        self.lanes.clear();
        drop_within("a Kafka consumer", std::mem::take(&mut self.topics), deadline);
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
                log::debug!("brokers {}: {code}", self.asking.settings.connection.servers);
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
            let bounds = self.asking.bounds(std::slice::from_ref(&part))?;
            if bounds.first().is_some_and(|b| !(b.first..=b.end).contains(&next)) {
                let message = format!("{part}: offset {next} is out of range");
                return Err(KafkaError::new(KafkaErrorKind::OutOfRange(i), message));
            }
        }
        // It has come back into range.
        self.assign(consumer)
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
