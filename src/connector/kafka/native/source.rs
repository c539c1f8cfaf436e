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
    /// Where each begins that could not be assigned yet, and whether it is paused.
    begins: Vec<(i64, bool)>,
    way: Way,
}

/// How long a replica that lags is left alone.
const LAG: Duration = Duration::from_millis(20);

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
        let mut source = Self { asking, direct: None, parts: Vec::new(), begins: Vec::new(), way: Way::None };
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
        Ok(*self.direct.insert(is_direct(&self.asking.settings)?))
    }

    /// The library goes on where we can't.
    fn hand_over(&mut self, part: &Part) -> Result<(), KafkaError> {
        let Way::Direct(fetcher) = &self.way else { return Ok(()) };
        only_for_library(self.asking.settings.fetch, part)?;
        let from: Vec<(Part, i64)> = self.parts.iter().cloned().zip(fetcher.positions()).collect();
        let paused: Vec<usize> = fetcher.paused().collect();
        self.direct = Some(false);
        let began = self.start(&from);
        match began {
            Ok(()) => paused.into_iter().try_for_each(|part| self.pause(part)),
            Err(e) => {
                paused.into_iter().for_each(|part| self.note(part, None, Some(true)));
                Err(e)
            }
        }
    }

    /// Whether an offset that was out of range is so still: a replica may have lagged.
    fn out_of_range(&mut self, index: usize) -> Result<(), KafkaError> {
        let Way::Direct(fetcher) = &self.way else { return Ok(()) };
        let place = self.parts.get(index).zip(fetcher.position(index));
        let Some((part, next)) = place else { return Ok(()) };
        // If nobody can be asked now, it is found out again.
        let part = part.clone();
        self.seek(index, next)?;
        let bounds = self.asking.bounds(std::slice::from_ref(&part))?;
        if bounds.first().is_some_and(|b| !(b.first..=b.end).contains(&next)) {
            let message = format!("{part}: offset {next} is out of range");
            return Err(KafkaError::new(KafkaErrorKind::OutOfRange(index), message));
        }
        // A replica that lags a little.
        std::thread::park_timeout(LAG);
        Ok(())
    }

    /// Assigns the partitions. If that fails the next poll tries again.
    fn begin(&mut self) -> Result<(), KafkaError> {
        let parts: Vec<(Part, i64)> =
            self.parts.iter().cloned().zip(self.begins.iter().map(|(offset, _)| *offset)).collect();
        self.way = match self.choose()? {
            true => Way::Direct(Fetcher::start(&self.asking.settings, &parts)?),
            false => Way::Library(Library::start(&self.asking, &parts)?),
        };
        let begins = std::mem::take(&mut self.begins);
        let paused = begins.iter().enumerate().filter(|(_, (_, paused))| *paused);
        paused.map(|(i, _)| i).collect::<Vec<_>>().into_iter().try_for_each(|i| self.pause(i))
    }

    /// Notes where a partition goes on, for when it is assigned.
    fn note(&mut self, part: usize, offset: Option<i64>, paused: Option<bool>) {
        if let Some(begin) = self.begins.get_mut(part) {
            *begin = (offset.unwrap_or(begin.0), paused.unwrap_or(begin.1));
        }
    }

    fn assigned(&self, part: usize) -> Result<(), KafkaError> {
        match part < self.parts.len() {
            true => Ok(()),
            false => Err(KafkaError::fatal("no such partition is assigned")),
        }
    }
}

/// Whether we fetch; else the library does.
pub(super) fn is_direct(settings: &SourceSettings) -> Result<bool, KafkaError> {
    let unfit = match settings.fetch {
        Fetch::Library => Some("fetch = 'library'".to_owned()),
        _ => direct::fits(settings).err(),
    };
    let unfit = match unfit {
        None if !direct::is_understood(settings)? => {
            Some("the brokers do not speak version 10 of Fetch without encryption".to_owned())
        }
        unfit => unfit,
    };
    if let Some(why) = &unfit {
        if settings.fetch == Fetch::Direct {
            let message = format!("fetch = 'direct': {why}; fetch = 'auto' leaves it to librdkafka");
            return Err(KafkaError::new(KafkaErrorKind::Unsupported, message));
        }
        log::debug!("brokers {}: librdkafka fetches: {why}", settings.connection.servers);
    }
    Ok(unfit.is_none())
}

/// Who insists that we fetch is told what the library could do.
pub(super) fn only_for_library(fetch: Fetch, part: &Part) -> Result<(), KafkaError> {
    let why = "messages in a format from before Kafka 0.11";
    if fetch == Fetch::Direct {
        let message = format!("fetch = 'direct': {part} has {why}; fetch = 'auto' leaves them to librdkafka");
        return Err(KafkaError::new(KafkaErrorKind::Unsupported, message));
    }
    log::info!("{part} has {why}: librdkafka fetches from here on");
    Ok(())
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
        self.begins = parts.iter().map(|(_, offset)| (*offset, false)).collect();
        self.begin()
    }

    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaError> {
        match &mut self.way {
            Way::None if !self.parts.is_empty() => self.begin(),
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
            Way::None => self.note(part, None, Some(true)),
        }
        Ok(())
    }

    fn resume(&mut self, part: usize, offset: i64) -> Result<(), KafkaError> {
        self.assigned(part)?;
        match &mut self.way {
            Way::Direct(fetcher) => fetcher.resume(part, offset),
            Way::Library(library) => library.resume(part, offset)?,
            Way::None => self.note(part, Some(offset), Some(false)),
        }
        Ok(())
    }

    fn seek(&mut self, part: usize, offset: i64) -> Result<(), KafkaError> {
        self.assigned(part)?;
        match &mut self.way {
            Way::Direct(fetcher) => fetcher.seek(part, offset),
            Way::Library(library) => library.seek(part, offset)?,
            Way::None => self.note(part, Some(offset), None),
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
        (self.way, self.parts, self.begins) = (Way::None, Vec::new(), Vec::new());
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
pub(super) mod tests;
