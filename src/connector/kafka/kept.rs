//! State that moves with the partitions of a group: what a member finds of it when it takes partitions over, and where that stands
//! for the job's next commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::changelog::{Changelog, Found, Place};
use super::client::{Bounds, GroupOffset, KafkaClient, KafkaError, KafkaSource, Part};
use super::group_reader::GroupPolicy;
use super::source::begin;
use super::transactor::{UnderWay, again};
use crate::io::Kept;
use crate::record::Clock;

/// What the reader and the coordinator both know.
#[derive(Clone)]
pub(super) struct KeptPlaces {
    pub(super) changelog: Changelog,
    places: BTreeMap<i32, Place>,
}

impl KeptPlaces {
    pub(super) fn new(changelog: Changelog) -> Self {
        Self { changelog, places: BTreeMap::new() }
    }

    pub(super) fn set(&mut self, part: i32, place: Place) {
        self.places.insert(part, place);
    }

    pub(super) fn forget(&mut self, part: i32) {
        self.places.remove(&part);
    }

    /// Puts the state of an epoch into its transaction. Gives the partitions whose offset or state is another one than before, with
    /// their new places; `None`: one of them is no longer this instance's.
    pub(super) fn write(
        &self,
        under_way: &mut UnderWay,
        positions: &[(Part, i64)],
        kept: &[Kept],
        commit: &str,
    ) -> Result<Option<Vec<(Part, Place)>>, KafkaError> {
        let mut written = Vec::new();
        for (part, offset) in positions {
            let Some(place) = self.places.get(&part.partition) else { return Ok(None) };
            let kept = kept.iter().find(|k| k.part == part.partition);
            if kept.is_none() && place.offset == Some(*offset) {
                continue;
            }
            let at = (part.partition, *offset);
            written.push((part.clone(), self.changelog.write(under_way, place, at, kept, commit)?));
        }
        let known = |k: &Kept| written.iter().any(|(p, _)| p.partition == k.part);
        Ok(kept.iter().all(known).then_some(written))
    }

    /// They were committed.
    pub(super) fn committed(&mut self, written: &[(Part, Place)]) {
        for (part, place) in written {
            if let Some(known) = self.places.get_mut(&part.partition) {
                *known = *place;
            }
        }
    }
}

/// Reads the state of partitions that are taken over.
pub(super) struct Keeper {
    pub(super) client: Arc<dyn KafkaClient>,
    pub(super) changelog: Changelog,
    /// Partitions of the source's topic, and of the changelog.
    pub(super) partitions: usize,
}

/// Where a partition begins.
#[derive(Default)]
pub(super) struct Begin {
    pub(super) next: i64,
    pub(super) place: Place,
    /// Its state, as [`Kept::file`] has it, oldest first.
    pub(super) state: Vec<Vec<u8>>,
}

impl Keeper {
    /// What these partitions begin with: state and offset that were committed together. A predecessor's commit may take a moment to
    /// be seen everywhere.
    pub(super) fn recover(
        &self,
        asks: &mut dyn KafkaSource,
        policy: &GroupPolicy,
        parts: &[Part],
        bounds: &[Bounds],
    ) -> Result<Vec<Begin>, KafkaError> {
        if let Some(new) = parts.iter().find(|p| p.partition.unsigned_abs() as usize >= self.partitions) {
            return Err(KafkaError::fatal(format!(
                "{new}: topic {} had {} partitions when the job began; with more of them equal keys are in other partitions than \
                 before: start over with another job_name and group_id",
                new.topic, self.partitions
            )));
        }
        let clock = Clock::System;
        let until = clock.monotonic() + policy.patience;
        let numbers: Vec<i32> = parts.iter().map(|p| p.partition).collect();
        loop {
            let marks = again(policy.patience, || asks.marks(parts))?;
            let found = self.changelog.read(&*self.client, &numbers)?;
            let fresh = begin(&policy.start, asks, parts, bounds)?;
            let mut begins = Vec::with_capacity(parts.len());
            let mut doubt = None;
            for (((part, mark), found), fresh) in parts.iter().zip(marks).zip(found).zip(fresh) {
                match self.match_up(part, mark, found, fresh) {
                    Ok(begin) => begins.push(begin),
                    Err(why) => doubt = Some(why),
                }
            }
            match doubt {
                None => return Ok(begins),
                // It may be that a predecessor's transaction is open still, which hides what is behind it: the brokers end it in time.
                Some(why) if clock.monotonic() > until => return Err(KafkaError::retriable(why)),
                Some(why) => {
                    log::debug!("{why}; looking again");
                    std::thread::park_timeout(std::time::Duration::from_millis(20));
                }
            }
        }
    }

    /// What a partition begins with, or why that is not clear.
    fn match_up(
        &self,
        part: &Part,
        mark: Option<GroupOffset>,
        found: Found,
        fresh: i64,
    ) -> Result<Begin, String> {
        let Changelog { topic, group, .. } = &self.changelog;
        let over = "start over with another job_name and group_id";
        let place = Place::of(found.head.as_ref());
        let next = match (&found.head, mark) {
            (None, None) => fresh,
            (None, Some(mark)) => {
                return Err(format!(
                    "group {group} stands at offset {} of {part}, and {topic} has no state for that: the job that committed it kept \
                     none; {over}",
                    mark.offset
                ));
            }
            (Some(head), mark) => {
                let here = |why: String| format!("{topic}/{}: {why}", part.partition);
                self.changelog.owns(head).map_err(here)?;
                // Brokers forget the offsets of groups that are away for long, but not the state.
                if let Some(mark) = mark.filter(|m| m.offset != head.offset || m.metadata != head.commit) {
                    return Err(format!(
                        "group {group} stands at offset {} of {part} ('{}') and the state in {topic} at {} ('{}'): have the \
                         group's offsets been set by hand? If so, {over}",
                        mark.offset, mark.metadata, head.offset, head.commit
                    ));
                }
                head.offset
            }
        };
        let state = found.files().map_err(|why| format!("{topic}/{}: {why}; {over}", part.partition))?;
        Ok(Begin { next, place, state })
    }
}
