//! An open Kafka source: polls the client, decodes, and knows the next offset of each partition.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::client::{Bounds, Event, KafkaError, KafkaErrorKind, KafkaSource, Part};
use super::decode::MessageDecoder;
use super::options::Topics;
use super::position;
use super::source::parts;
use crate::io::{Boundedness, DataReader, IoError, Read, Shift};
use crate::record::{BatchBuilder, Clock, Position, Schema};

/// How long the end may take.
const CLOSE: Duration = Duration::from_secs(5);

/// A partition under way.
pub(super) struct Lane {
    part: Part,
    /// `topic/partition`, for messages.
    name: Arc<str>,
    /// The offset that comes next.
    next: i64,
    /// What the partition held when the source was opened.
    bounds: Bounds,
    /// Where it ends, if it does.
    end: Option<i64>,
    done: bool,
    /// The watermark waits for its first record.
    waits: bool,
}

impl Lane {
    pub(super) fn new(part: Part, next: i64, bounds: Bounds, end: Option<i64>) -> Self {
        let name: Arc<str> = part.to_string().into();
        Self { part, name, next, bounds, end, done: false, waits: false }
    }
    pub(super) fn next(&self) -> i64 {
        self.next
    }
    fn is_over(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
    /// Messages were there when the source was opened that were not read yet.
    fn has_waiting(&self) -> bool {
        self.next < self.end.unwrap_or(self.bounds.end)
    }
    /// Everything before `next` was given; what is behind the end is for another time.
    fn go_on(&mut self, next: i64) {
        self.next = self.next.max(self.end.map_or(next, |end| next.min(end)));
    }
}

/// What a reader does besides reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReaderPolicy {
    pub(super) earliest_if_gone: bool,
    pub(super) grouped: bool,
    pub(super) bounded: bool,
    /// Some of this fixed number of partitions.
    pub(super) part_of: Option<usize>,
}

pub(super) struct KafkaReader {
    schema: Arc<Schema>,
    client: Box<dyn KafkaSource>,
    lanes: Vec<Lane>,
    decoder: MessageDecoder,
    policy: ReaderPolicy,
    started: bool,
    /// An error that came behind messages that were given: told by the next call.
    pending: Option<KafkaError>,
    /// Messages that were gone before they were read, under `out_of_range = 'earliest'`.
    lost: u64,
    discovery: Option<Discovery>,
    /// Partitions of which no record has come though the watermark waited for one.
    silent: Vec<Shift>,
}

/// The search for partitions that came since.
struct Discovery {
    topics: Topics,
    servers: String,
    every: Duration,
    /// When to look next, on the monotonic clock.
    next: Duration,
}

impl KafkaReader {
    pub(super) fn new(
        schema: Arc<Schema>,
        client: Box<dyn KafkaSource>,
        lanes: Vec<Lane>,
        decoder: MessageDecoder,
        policy: ReaderPolicy,
    ) -> Self {
        Self {
            schema,
            client,
            lanes,
            decoder,
            policy,
            started: false,
            pending: None,
            lost: 0,
            discovery: None,
            silent: Vec::new(),
        }
    }

    /// From now on looks for partitions that came since.
    pub(super) fn look_for_more(&mut self, topics: Topics, servers: String, every: Duration) {
        let next = Clock::System.monotonic() + every;
        self.discovery = Some(Discovery { topics, servers, every, next });
    }

    /// Takes partitions that came since, when it is time to look for them.
    fn discover(&mut self) -> Result<(), IoError> {
        let now = Clock::System.monotonic();
        let Some(discovery) = self.discovery.as_mut().filter(|d| d.next <= now) else { return Ok(()) };
        discovery.next = now + discovery.every;
        let client = self.client.as_mut();
        let found = match parts(&discovery.topics, &discovery.servers, client) {
            Ok(found) => found,
            Err(e) => {
                // What is read meanwhile says what is wrong, if anything is.
                log::debug!("looking for new partitions: {e}");
                return Ok(());
            }
        };
        // More partitions than these are an error: keys have moved.
        if let Some(all) = self.policy.part_of {
            return match found.len() == all {
                true => Ok(()),
                false => Err(IoError::data(format!(
                    "the topics had {all} partitions and have {}: equal keys are in other partitions than before, so the state of \
                     the instances is of no use; start over with another job_name and group_id",
                    found.len()
                ))),
            };
        }
        let new: Vec<Part> = found.into_iter().filter(|p| !self.lanes.iter().any(|l| l.part == *p)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let bounds = match client.bounds(&new) {
            Ok(bounds) => bounds,
            Err(e) => {
                log::debug!("new partitions have no offsets yet: {e}");
                return Ok(());
            }
        };
        for (part, bounds) in new.into_iter().zip(bounds) {
            log::info!("{part}: a new partition, read from offset {}", bounds.first);
            self.lanes.push(Lane::new(part, bounds.first, bounds, None));
        }
        let all: Vec<(Part, i64)> = self.lanes.iter().map(|l| (l.part.clone(), l.next)).collect();
        Ok(self.client.start(&all)?)
    }

    /// Assigns the partitions where they stand, which may be where a checkpoint left them.
    fn start(&mut self) -> Result<(), KafkaError> {
        // As `waiting` has told it.
        self.lanes.iter_mut().for_each(|l| l.waits = l.has_waiting());
        for lane in &mut self.lanes {
            let bounds = lane.bounds;
            self.lost += lane.enter(bounds, self.policy.earliest_if_gone)?;
        }
        let parts: Vec<(Part, i64)> = self.lanes.iter().map(|l| (l.part.clone(), l.next)).collect();
        self.client.start(&parts)?;
        self.started = true;
        self.settle_ends()
    }

    /// Stops fetching partitions that have come to their end.
    fn settle_ends(&mut self) -> Result<(), KafkaError> {
        for (i, lane) in self.lanes.iter_mut().enumerate() {
            if !lane.done && lane.is_over() {
                self.client.pause(i)?;
                lane.done = true;
            }
        }
        Ok(())
    }

    /// Finds out where the watermark has waited for nothing.
    fn tell_silent(&mut self) {
        for lane in self.lanes.iter_mut().filter(|l| l.waits && !l.has_waiting()) {
            lane.waits = false;
            let topic = self.decoder.names_topics().then(|| lane.part.topic.clone());
            self.silent.push(Shift::Silent { topic, part: lane.part.partition });
        }
    }

    fn is_over(&self) -> bool {
        self.policy.bounded && self.lanes.iter().all(|l| l.done)
    }

    /// A position that the broker does not have: an error, or a jump that is counted.
    fn settle_range(&mut self, part: usize) -> Result<(), KafkaError> {
        let Some(lane) = self.lanes.get_mut(part) else {
            return Err(KafkaError::fatal("the client named a partition that it was not given"));
        };
        let bounds = self.client.bounds(std::slice::from_ref(&lane.part))?;
        let Some(bounds) = bounds.first() else {
            return Err(KafkaError::retriable(format!("{}: no offsets", lane.name)));
        };
        // It may be in range again: a replica that lagged.
        self.lost += lane.enter(*bounds, self.policy.earliest_if_gone)?;
        let next = lane.next;
        self.client.seek(part, next)
    }
}

impl Lane {
    /// Sees to it that the partition has the offset that comes next. Answers how many messages were skipped for that.
    pub(super) fn enter(&mut self, bounds: Bounds, earliest_if_gone: bool) -> Result<u64, KafkaError> {
        let Bounds { first, end } = bounds;
        if (first..=end).contains(&self.next) {
            return Ok(0);
        }
        let (name, next) = (&self.name, self.next);
        let why = match next < first {
            true => format!(
                "the broker keeps offsets from {first} on, {} messages were deleted before they were read",
                first - next
            ),
            false => format!("the topic ends at {end}: it was truncated or made anew"),
        };
        if !earliest_if_gone {
            let message = format!(
                "{name}: offset {next} is gone, {why}; out_of_range = 'earliest' goes on with what is there"
            );
            return Err(KafkaError::new(KafkaErrorKind::OutOfRange(0), message));
        }
        log::warn!("{name}: offset {next} is gone, {why}; going on at {first}");
        self.next = first;
        Ok(u64::try_from(first - next).unwrap_or(0))
    }
}

impl DataReader for KafkaReader {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }

    fn boundedness(&self) -> Boundedness {
        if self.policy.bounded { Boundedness::Bounded } else { Boundedness::Unbounded }
    }

    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        if let Some(error) = self.pending.take() {
            return Err(error.into());
        }
        if !self.started {
            self.start()?;
        }
        self.discover()?;
        if self.is_over() {
            return Ok(Read::End);
        }
        if out.is_full() {
            return Ok(Read::More);
        }
        let wait = out.max_wait();
        let before = out.len() + out.rejects().len();
        let mut moved = false;
        let (lanes, decoder) = (&mut self.lanes, &mut self.decoder);
        let polled = self.client.poll(wait, &mut |event| {
            let mut over = false;
            match event {
                Event::Message(message) => {
                    let Some(lane) = lanes.get_mut(message.part) else { return ControlFlow::Continue(()) };
                    // A client that was told to seek may still hold what it fetched before.
                    if lane.done || message.offset < lane.next {
                        return ControlFlow::Continue(());
                    }
                    if lane.end.is_none_or(|end| message.offset < end) {
                        let records = out.len();
                        add(decoder, &message, &lane.name, &lane.part, out);
                        lane.waits &= out.len() == records;
                        moved = true;
                    }
                    lane.go_on(message.offset + 1);
                    over = lane.is_over();
                }
                Event::Reached { part, next } => {
                    if let Some(lane) = lanes.get_mut(part) {
                        lane.go_on(next);
                        over = lane.is_over();
                    }
                }
            }
            // What comes behind the ends is not for us.
            let over = over && lanes.iter().all(Lane::is_over);
            if out.is_full() || over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let polled = polled.and_then(|()| self.settle_ends()).or_else(|e| match e.kind {
            KafkaErrorKind::OutOfRange(part) => self.settle_range(part),
            _ => Err(e),
        });
        self.tell_silent();
        match polled {
            Ok(()) => {}
            // What was given counts; the error is told next time.
            Err(e) if moved => self.pending = Some(e),
            Err(e) => return Err(e.into()),
        }
        let found = out.len() + out.rejects().len() > before;
        Ok(match found || moved || self.is_over() {
            true => Read::More,
            false => Read::Idle,
        })
    }

    fn position(&self) -> Position {
        let parts: Vec<(Part, i64)> = self.lanes.iter().map(|l| (l.part.clone(), l.next)).collect();
        position::encode(&parts)
    }

    fn seek(&mut self, position: &Position) -> Result<(), IoError> {
        let Some(parts) = position::decode(position) else {
            return Err(IoError::config("the position is none of a Kafka source"));
        };
        if let Some((part, _)) = parts.iter().find(|(p, _)| !self.lanes.iter().any(|l| l.part == *p)) {
            return Err(IoError::data(format!(
                "{part} was read up to here, but is not among the partitions of this source any more"
            )));
        }
        let came = |l: &&Lane| !parts.iter().any(|(p, _)| *p == l.part);
        if let Some(new) = self.lanes.iter().find(came).filter(|_| self.policy.part_of.is_some()) {
            return Err(IoError::data(format!(
                "{} came since: equal keys are in other partitions than before, so the state of the instances is of no use; start over \
                 with another job_name and group_id",
                new.part
            )));
        }
        for lane in &mut self.lanes {
            // A partition that came while the job was away is read from its beginning.
            let known = parts.iter().find(|(p, _)| *p == lane.part).map(|(_, offset)| *offset);
            lane.next = known.unwrap_or(lane.bounds.first);
        }
        Ok(())
    }

    fn waiting(&self) -> Vec<(Option<Arc<str>>, i32)> {
        let name = |l: &Lane| (self.decoder.names_topics().then(|| l.part.topic.clone()), l.part.partition);
        self.lanes.iter().filter(|l| l.has_waiting()).map(name).collect()
    }

    fn take_shift(&mut self) -> Option<Shift> {
        self.silent.pop()
    }

    fn divided(&self) -> Option<usize> {
        self.policy.part_of
    }

    fn commit(&mut self, position: &Position) -> Result<(), IoError> {
        match position::decode(position) {
            Some(parts) if self.policy.grouped => Ok(self.client.commit(&parts)?),
            _ => Ok(()),
        }
    }
}

/// Decodes a message; one whose headers can't be read is a reject.
pub(super) fn add(
    decoder: &mut MessageDecoder,
    message: &super::client::Message<'_>,
    name: &Arc<str>,
    part: &Part,
    out: &mut BatchBuilder,
) {
    let records = out.len();
    decoder.decode(message, name, &part.topic, out);
    if out.len() == records {
        return;
    }
    if let Some(record) = out.last_mut() {
        record.set_partition(part.partition);
    }
    if decoder.wants_headers()
        && let Err(why) = decoder.headers(message, out)
    {
        out.undo();
        decoder.refuse(message, name, why, out);
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.client.close(CLOSE);
    }
}
