//! A consumer: librdkafka answers what is asked, and messages come by our own fetches where they can, else by the library's.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::asking::Asking;
use super::library::Library;
use crate::connector::kafka::client::{
    Bounds, Event, Fetch, GroupOffset, KafkaError, KafkaErrorKind, KafkaSource, Part, SourceSettings,
};
use crate::connector::kafka::direct::{self, Fetcher, Stop};

pub(super) struct NativeSource {
    asking: Arc<Asking>,
    /// Fetched by ourselves; false: by the library. `None`: not decided yet.
    direct: Option<bool>,
    parts: Vec<Part>,
    way: Way,
}

/// By whom messages come.
enum Way {
    /// Nothing is assigned.
    None,
    Direct(Fetcher),
    Library(Library),
}

impl NativeSource {
    pub(super) fn connect(settings: &SourceSettings) -> Result<Self, KafkaError> {
        let asking = Asking::connect(settings)?;
        let mut source = Self { asking, direct: None, parts: Vec::new(), way: Way::None };
        if settings.fetch == Fetch::Direct {
            source.choose()?;
        }
        Ok(source)
    }

    /// Decides who fetches, once.
    fn choose(&mut self) -> Result<bool, KafkaError> {
        if let Some(direct) = self.direct {
            return Ok(direct);
        }
        let settings = &self.asking.settings;
        let unfit = match settings.fetch {
            Fetch::Library => Some("fetch = 'library'".to_owned()),
            _ => direct::fits(settings).err(),
        };
        let unfit = unfit.or_else(|| {
            let why = "the brokers do not speak version 11 of Fetch without encryption";
            (!direct::is_understood(settings)).then(|| why.to_owned())
        });
        if let Some(why) = &unfit {
            if settings.fetch == Fetch::Direct {
                let message = format!("fetch = 'direct': {why}; fetch = 'auto' leaves it to librdkafka");
                return Err(KafkaError::new(KafkaErrorKind::Unsupported, message));
            }
            log::debug!("brokers {}: librdkafka fetches: {why}", settings.connection.servers);
        }
        Ok(*self.direct.insert(unfit.is_none()))
    }

    /// The library goes on where we can't.
    fn hand_over(&mut self, part: &Part) -> Result<(), KafkaError> {
        let Way::Direct(fetcher) = &self.way else { return Ok(()) };
        let why = "messages in a format from before Kafka 0.11";
        if self.asking.settings.fetch == Fetch::Direct {
            let message =
                format!("fetch = 'direct': {part} has {why}; fetch = 'auto' leaves them to librdkafka");
            return Err(KafkaError::new(KafkaErrorKind::Unsupported, message));
        }
        log::info!("{part} has {why}: librdkafka fetches from here on");
        let from: Vec<(Part, i64)> = self.parts.iter().cloned().zip(fetcher.positions()).collect();
        let paused: Vec<usize> = fetcher.paused().collect();
        self.direct = Some(false);
        self.start(&from)?;
        paused.into_iter().try_for_each(|part| self.pause(part))
    }

    /// Whether an offset that was out of range is so still: a replica may have lagged.
    fn out_of_range(&mut self, index: usize) -> Result<(), KafkaError> {
        let Way::Direct(fetcher) = &self.way else { return Ok(()) };
        let place = self.parts.get(index).zip(fetcher.positions().nth(index));
        let Some((part, next)) = place else { return Ok(()) };
        let bounds = self.asking.bounds(std::slice::from_ref(part))?;
        if bounds.first().is_some_and(|b| !(b.first..=b.end).contains(&next)) {
            let message = format!("{part}: offset {next} is out of range");
            return Err(KafkaError::new(KafkaErrorKind::OutOfRange(index), message));
        }
        self.seek(index, next)
    }

    fn assigned(&self, part: usize) -> Result<(), KafkaError> {
        match part < self.parts.len() {
            true => Ok(()),
            false => Err(KafkaError::fatal("no such partition is assigned")),
        }
    }
}

impl KafkaSource for NativeSource {
    fn topics(&mut self) -> Result<Vec<String>, KafkaError> {
        self.asking.topics()
    }

    fn partitions(&mut self, topic: &str) -> Result<Option<Vec<i32>>, KafkaError> {
        self.asking.partitions(topic)
    }

    fn bounds(&mut self, parts: &[Part]) -> Result<Vec<Bounds>, KafkaError> {
        self.asking.bounds(parts)
    }

    fn committed(&mut self, parts: &[Part]) -> Result<Vec<Option<i64>>, KafkaError> {
        Ok(self.marks(parts)?.into_iter().map(|m| m.map(|m| m.offset)).collect())
    }

    fn marks(&mut self, parts: &[Part]) -> Result<Vec<Option<GroupOffset>>, KafkaError> {
        self.asking.marks(parts)
    }

    fn offsets_at(&mut self, parts: &[Part], millis: i64) -> Result<Vec<Option<i64>>, KafkaError> {
        self.asking.offsets_at(parts, millis)
    }

    fn start(&mut self, parts: &[(Part, i64)]) -> Result<(), KafkaError> {
        self.way = Way::None;
        self.parts = parts.iter().map(|(part, _)| part.clone()).collect();
        self.way = match self.choose()? {
            true => Way::Direct(Fetcher::start(&self.asking.settings, parts)?),
            false => Way::Library(Library::start(&self.asking, parts)?),
        };
        Ok(())
    }

    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaError> {
        match &mut self.way {
            Way::None => {
                std::thread::park_timeout(wait);
                Ok(())
            }
            Way::Library(library) => library.poll(wait, take),
            Way::Direct(fetcher) => match fetcher.poll(wait, take) {
                Ok(()) => Ok(()),
                Err(Stop::OutOfRange(index)) => self.out_of_range(index),
                Err(Stop::Unfit(part)) => self.hand_over(&part),
                Err(Stop::Error(e)) => Err(e),
            },
        }
    }

    fn pause(&mut self, part: usize) -> Result<(), KafkaError> {
        self.assigned(part)?;
        match &mut self.way {
            Way::Direct(fetcher) => fetcher.pause(part),
            Way::Library(library) => library.pause(part)?,
            Way::None => {}
        }
        Ok(())
    }

    fn resume(&mut self, part: usize, offset: i64) -> Result<(), KafkaError> {
        self.assigned(part)?;
        match &mut self.way {
            Way::Direct(fetcher) => fetcher.seek(part, offset),
            Way::Library(library) => library.resume(part, offset)?,
            Way::None => {}
        }
        Ok(())
    }

    fn seek(&mut self, part: usize, offset: i64) -> Result<(), KafkaError> {
        self.assigned(part)?;
        match &mut self.way {
            Way::Direct(fetcher) => fetcher.seek(part, offset),
            Way::Library(library) => library.seek(part, offset)?,
            Way::None => {}
        }
        Ok(())
    }

    fn commit(&mut self, offsets: &[(Part, i64)]) -> Result<(), KafkaError> {
        self.asking.commit(offsets)
    }

    fn close(&mut self, deadline: Duration) {
        match &mut self.way {
            Way::Direct(fetcher) => fetcher.close(deadline),
            Way::Library(library) => library.close(deadline),
            Way::None => {}
        }
        self.way = Way::None;
    }
}

impl Drop for NativeSource {
    fn drop(&mut self) {
        self.close(Duration::from_secs(5));
    }
}

#[cfg(test)]
#[path = "direct_tests.rs"]
mod direct_tests;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;
