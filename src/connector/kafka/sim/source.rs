//! A consumer of the simulated cluster.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::broker::{Broker, Found, Op, SimMessage, unknown};
use crate::connector::kafka::client::{
    Bounds, Caps, Event, GroupOffset, HeaderList, KafkaError, KafkaErrorKind, KafkaSource, Message, Part,
    SourceSettings,
};

struct Assigned {
    part: Part,
    next: i64,
    paused: bool,
    /// `Reached` was said at this offset.
    told: Option<i64>,
}

pub(super) struct SimSource {
    broker: Arc<Mutex<Broker>>,
    settings: SourceSettings,
    caps: Caps,
    assigned: Vec<Assigned>,
}

impl SimSource {
    pub(super) fn new(broker: Arc<Mutex<Broker>>, settings: SourceSettings, caps: Caps) -> Self {
        Self { broker, settings, caps, assigned: Vec::new() }
    }
    fn at(&mut self, part: usize) -> Result<&mut Assigned, KafkaError> {
        self.assigned.get_mut(part).ok_or_else(|| KafkaError::fatal("no such partition is assigned"))
    }
    fn group(&self) -> Result<&str, KafkaError> {
        self.settings.group.as_deref().ok_or_else(|| KafkaError::fatal("no group"))
    }
}

impl HeaderList for SimMessage {
    fn each(&self, each: &mut dyn FnMut(&str, Option<&[u8]>)) -> Result<(), String> {
        self.headers.iter().for_each(|(name, value)| each(name, value.as_deref()));
        Ok(())
    }
}

impl KafkaSource for SimSource {
    fn topics(&mut self) -> Result<Vec<String>, KafkaError> {
        Ok(self.broker.lock().topics())
    }
    fn partitions(&mut self, topic: &str) -> Result<Option<Vec<i32>>, KafkaError> {
        Ok(self.broker.lock().partitions(topic).map(|n| (0..n as i32).collect()))
    }
    fn bounds(&mut self, parts: &[Part]) -> Result<Vec<Bounds>, KafkaError> {
        let broker = self.broker.lock();
        let of = |p: &Part| broker.bounds(&p.topic, p.partition, self.settings.read_committed);
        parts.iter().map(|p| of(p).ok_or_else(|| unknown(&p.topic, p.partition))).collect()
    }
    fn committed(&mut self, parts: &[Part]) -> Result<Vec<Option<i64>>, KafkaError> {
        Ok(self.marks(parts)?.into_iter().map(|m| m.map(|m| m.offset)).collect())
    }
    fn marks(&mut self, parts: &[Part]) -> Result<Vec<Option<GroupOffset>>, KafkaError> {
        let group = self.group()?;
        let broker = self.broker.lock();
        if self.settings.read_committed && broker.is_pending(group, parts) {
            return Err(KafkaError::retriable(format!(
                "offsets of group {group} are in an open transaction"
            )));
        }
        Ok(parts.iter().map(|p| broker.committed(group, &p.topic, p.partition).cloned()).collect())
    }
    fn offsets_at(&mut self, parts: &[Part], millis: i64) -> Result<Vec<Option<i64>>, KafkaError> {
        if !self.caps.timestamps {
            return Err(KafkaError::new(KafkaErrorKind::Unsupported, "no timestamps"));
        }
        let broker = self.broker.lock();
        Ok(parts.iter().map(|p| broker.at_time(&p.topic, p.partition, millis)).collect())
    }
    fn start(&mut self, parts: &[(Part, i64)]) -> Result<(), KafkaError> {
        let assigned = |(part, next): &(Part, i64)| Assigned {
            part: part.clone(),
            next: *next,
            paused: false,
            told: None,
        };
        self.assigned = parts.iter().map(assigned).collect();
        Ok(())
    }
    fn poll(
        &mut self,
        _wait: Duration,
        take: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaError> {
        let mut broker = self.broker.lock();
        broker.meet(Op::Poll)?;
        let mut midway = broker.meet(Op::PollMidway).err();
        let broker = &*broker;
        for (i, assigned) in self.assigned.iter_mut().enumerate().filter(|(_, a)| !a.paused) {
            loop {
                let Part { topic, partition } = &assigned.part;
                let flow = match broker.find(topic, *partition, assigned.next, self.settings.read_committed) {
                    Found::OutOfRange => {
                        let message = format!("{}: offset {} is out of range", assigned.part, assigned.next);
                        return Err(KafkaError::new(KafkaErrorKind::OutOfRange(i), message));
                    }
                    Found::Reached(next) if assigned.told == Some(next) => break,
                    Found::Reached(next) => {
                        (assigned.next, assigned.told) = (next, Some(next));
                        take(Event::Reached { part: i, next })
                    }
                    Found::Message(offset, message) => {
                        assigned.next = offset + 1;
                        // A message of no length is no message to a client that can't tell NULL from empty.
                        let seen = |bytes: &&[u8]| self.caps.nulls || !bytes.is_empty();
                        let flow = take(Event::Message(Message {
                            part: i,
                            offset,
                            timestamp: message.timestamp.filter(|_| self.caps.timestamps),
                            key: message.key.as_deref().filter(seen),
                            value: message.value.as_deref().filter(seen),
                            headers: self.settings.headers.then_some(message as &dyn HeaderList),
                        }));
                        if let Some(error) = midway.take() {
                            return Err(error);
                        }
                        flow
                    }
                };
                if flow.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
    fn pause(&mut self, part: usize) -> Result<(), KafkaError> {
        self.at(part).map(|a| a.paused = true)
    }
    fn resume(&mut self, part: usize, offset: i64) -> Result<(), KafkaError> {
        self.seek(part, offset)?;
        self.at(part).map(|a| a.paused = false)
    }
    fn seek(&mut self, part: usize, offset: i64) -> Result<(), KafkaError> {
        self.at(part).map(|a| (a.next, a.told) = (offset, None))
    }
    fn commit(&mut self, offsets: &[(Part, i64)]) -> Result<(), KafkaError> {
        let group = self.group()?;
        let mut broker = self.broker.lock();
        broker.meet(Op::Commit)?;
        for (part, offset) in offsets {
            broker.commit(group, part, *offset, "");
        }
        Ok(())
    }
    fn close(&mut self, _deadline: Duration) {}
}
