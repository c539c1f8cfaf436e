//! Kafka decides for a job whose sinks write in its transactions: with the records of an epoch, a transaction commits the
//! positions of the sources and the number of the epoch, which names the snapshot.
//!
//! Positions of sources in the same cluster are offsets of their group, with the epoch as metadata. If no source is there, the
//! topic `<job>.positions` gets a record with all positions.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::changelog::Place;
use super::client::{GroupOffset, KafkaError, KafkaErrorKind, Part, SinkSettings};
use super::group_reader::GroupSeat;
use super::position;
use super::positions_topic::PositionsTopic;
use super::transactor::{Transactor, again, txn};
use crate::io::{Coordinator, IoError, IoErrorKind, Kept, LedSource, Seat};
use crate::record::{Clock, Position};

/// How long a thread that was left behind may hold the producer.
const GIVE_UP: Duration = Duration::from_secs(5);

/// A group whose offsets are those of a source.
struct Member {
    source: String,
    group: String,
    /// Its place, if other instances share the group.
    seat: Option<Seat>,
    /// What was committed for the parts of the source at the last look.
    known: Vec<(Part, Option<GroupOffset>)>,
}

pub(super) struct KafkaCoordinator {
    pub(super) transactor: Arc<Transactor>,
    pub(super) job: String,
    pub(super) cluster: String,
    sources: Vec<LedSource>,
    /// One for each source in this cluster.
    members: Vec<Member>,
    /// For jobs without such a source.
    topic: Option<PositionsTopic>,
    /// State of partitions that moves with them, for the commit that follows.
    kept: Vec<Kept>,
}

impl KafkaCoordinator {
    pub(super) fn new(transactor: Arc<Transactor>, job: &str, cluster: String) -> Self {
        Self {
            transactor,
            job: job.to_owned(),
            cluster,
            sources: Vec::new(),
            members: Vec::new(),
            topic: None,
            kept: Vec::new(),
        }
    }

    fn patience(&self) -> Duration {
        self.transactor.settings.connection.timeout
    }

    fn metadata(&self, epoch: u64) -> String {
        format!("millstream 1 {epoch} {}", self.job)
    }

    /// The epoch in metadata; `None` if it was somebody else's commit.
    fn epoch_of(&self, group: &str, metadata: &str) -> Result<Option<u64>, KafkaError> {
        let Some(rest) = metadata.strip_prefix("millstream ") else { return Ok(None) };
        let mut words = rest.splitn(3, ' ');
        let (version, epoch, job) = (words.next(), words.next(), words.next());
        match (version, epoch.and_then(|e| e.parse().ok()), job) {
            (Some("1"), Some(epoch), Some(job)) if job == self.job => Ok(Some(epoch)),
            (Some("1"), Some(_), Some(job)) => Err(KafkaError::fatal(format!(
                "group {group} holds the positions of job {job}: give this job a group_id of its own"
            ))),
            _ => Err(KafkaError::fatal(format!(
                "the offsets of group {group} say '{metadata}', which a later version of this program must have written"
            ))),
        }
    }

    /// Asks what was committed last.
    fn look(&mut self) -> Result<Option<u64>, KafkaError> {
        let transactor = self.transactor.clone();
        let mut under_way = transactor.lock();
        if let Some(topic) = &mut self.topic {
            return topic.read(&*transactor.client, under_way.sink()?);
        }
        let patience = self.patience();
        for member in &mut self.members {
            let parts: Vec<Part> = member.known.iter().map(|(part, _)| part.clone()).collect();
            let found = again(patience, || txn(under_way.sink()?)?.committed(&member.group, &parts))?;
            member.known = parts.into_iter().zip(found).collect();
        }
        let mut epochs = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let mut last = None;
            for found in member.known.iter().filter_map(|(_, found)| found.as_ref()) {
                last = last.max(self.epoch_of(&member.group, &found.metadata)?);
            }
            epochs.push(last);
        }
        if epochs.iter().any(|e| *e != epochs.first().copied().flatten()) {
            return Err(KafkaError::fatal(format!(
                "the groups of the job's sources hold positions of different epochs ({epochs:?}): somebody has changed them"
            )));
        }
        Ok(epochs.first().copied().flatten())
    }

    /// Puts positions and epoch into the transaction and commits it.
    fn try_commit(
        &mut self,
        epoch: u64,
        positions: &[Position],
        written: &mut Vec<(Part, Place)>,
    ) -> Result<(), KafkaError> {
        let (patience, mut metadata) = (self.patience(), self.metadata(epoch));
        let kept = std::mem::take(&mut self.kept);
        let transactor = self.transactor.clone();
        let mut under_way = transactor.lock();
        under_way.begin()?;
        #[cfg(seeded_bugs)]
        if crate::record::seeded::is(crate::record::seeded::Bug::PositionsBehindTransaction) {
            under_way.commit(patience)?;
            under_way.begin()?;
        }
        if let Some(topic) = &mut self.topic {
            let named = self.sources.iter().map(|s| s.name.as_str()).zip(positions);
            topic.write(&mut under_way, epoch, named, patience)?;
        }
        for member in &self.members {
            let position = self.sources.iter().zip(positions).find(|(s, _)| s.name == member.source);
            let mut parts = position.and_then(|(_, p)| position::decode(p)).ok_or_else(|| {
                KafkaError::fatal(format!("the position of source {} is none of Kafka's", member.source))
            })?;
            // Before the offsets: the token is of a time at which they were the member's.
            let lost = || {
                let message = format!("group {}: this instance has lost its partitions", member.group);
                KafkaError::new(KafkaErrorKind::Moved, message)
            };
            let token = match member.seat.as_ref().map(|s| s.downcast_ref::<GroupSeat>()) {
                None => None,
                Some(_) if parts.is_empty() => continue,
                Some(seat) => {
                    let token = seat.and_then(GroupSeat::token).ok_or_else(lost)?;
                    if let Some(places) = seat.and_then(|s| s.kept.lock().as_ref().cloned()) {
                        // What stands with the state tells it from that of any other commit.
                        let id = self.transactor.settings.transactional_id.as_deref().unwrap_or_default();
                        metadata = format!("{metadata} {id} {:x}", Clock::System.now_micros());
                        *written =
                            places.write(&mut under_way, &parts, &kept, &metadata)?.ok_or_else(lost)?;
                        parts.retain(|(p, _)| written.iter().any(|(w, _)| w == p));
                        if parts.is_empty() {
                            continue;
                        }
                    }
                    Some(token)
                }
            };
            let sink = under_way.sink()?;
            again(patience, || txn(sink)?.send_offsets(&member.group, &parts, &metadata, token.as_ref()))?;
        }
        under_way.commit(patience)
    }
}

impl Coordinator for KafkaCoordinator {
    fn take_over(&mut self, sources: &[LedSource]) -> Result<Option<u64>, IoError> {
        self.sources = sources.to_vec();
        self.members.clear();
        for source in sources {
            let Some(membership) = source.membership.as_ref().filter(|m| m.cluster == self.cluster) else {
                continue;
            };
            let group = membership.group.clone().unwrap_or_else(|| format!("{}.{}", self.job, source.name));
            let parts = position::decode(&source.start).unwrap_or_default();
            let shared = |m: &Member| {
                m.group == group && m.known.iter().any(|(p, _)| parts.iter().any(|(own, _)| own == p))
            };
            if let Some(other) = self.members.iter().find(|m| shared(m)) {
                return Err(IoError::config(format!(
                    "sources {} and {} read the same topic in the group {group}, so their offsets can't be told apart: give one \
                     another group_id",
                    other.source, source.name
                )));
            }
            let known = parts.into_iter().map(|(part, _)| (part, None)).collect();
            let seat = membership.seat.clone();
            self.members.push(Member { source: source.name.clone(), group, seat, known });
        }
        let id = self.transactor.settings.transactional_id.clone().unwrap_or_default();
        let SinkSettings { connection, transaction_timeout, .. } = self.transactor.settings.clone();
        // What a group has committed says nothing of one instance among several.
        let alone = self.members.iter().all(|m| m.seat.is_none());
        self.topic = (self.members.is_empty() || !alone)
            .then(|| PositionsTopic::new(&self.job, id, connection, transaction_timeout));
        Ok(self.look()?)
    }

    fn agrees(&self, positions: &[(&str, &Position)]) -> Result<(), IoError> {
        if let Some(topic) = &self.topic {
            return topic.agrees(positions).map_err(IoError::data);
        }
        for member in &self.members {
            let stored = positions.iter().find(|(name, _)| *name == member.source);
            let stored = stored.and_then(|(_, p)| position::decode(p)).unwrap_or_default();
            for (part, found) in &member.known {
                // A partition that came since has no offset, in neither place.
                let stored = stored.iter().find(|(p, _)| p == part).map(|(_, offset)| *offset);
                let found = found.as_ref().map(|f| f.offset);
                if stored.is_some() && found.is_some() && stored != found {
                    return Err(IoError::data(format!(
                        "group {} stands at offset {} of {part}, the snapshot at {}",
                        member.group,
                        found.unwrap_or_default(),
                        stored.unwrap_or_default()
                    )));
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self, epoch: u64, positions: &[Position]) -> Result<(), IoError> {
        let mut written = Vec::new();
        let done = self.try_commit(epoch, positions, &mut written);
        let settled = match done {
            Ok(()) => Ok(()),
            Err(error) => self.settle(epoch, error),
        };
        if settled.is_ok() {
            let seats = self.members.iter().filter_map(|m| m.seat.as_ref()?.downcast_ref::<GroupSeat>());
            seats.filter_map(|s| s.kept.lock().as_mut().map(|k| k.committed(&written))).for_each(drop);
        }
        settled
    }

    fn give_up(&mut self) -> Result<(), IoError> {
        match self.transactor.abort_within(GIVE_UP) {
            Err(e) if e.kind == KafkaErrorKind::Fenced => Err(e.into()),
            _ => Ok(()),
        }
    }

    fn keep(&mut self, kept: Vec<Kept>) -> Result<(), IoError> {
        self.kept = kept;
        Ok(())
    }
}

impl KafkaCoordinator {
    /// What becomes of an epoch whose commit gave an error.
    fn settle(&mut self, epoch: u64, error: KafkaError) -> Result<(), IoError> {
        match error.kind {
            // Nobody knows whether it counts: a new producer sees to it that it is decided, and then it can be read.
            #[cfg(seeded_bugs)]
            KafkaErrorKind::Retriable
                if crate::record::seeded::is(crate::record::seeded::Bug::IndefiniteIsCommitted) =>
            {
                self.transactor.renew().map(drop).map_err(IoError::from)
            }
            KafkaErrorKind::Retriable => {
                log::warn!("job {}: {error}; asking whether epoch {epoch} was committed", self.job);
                drop(self.transactor.renew()?);
                match self.look()? {
                    Some(known) if known == epoch => Ok(()),
                    _ => Err(failed(format!("epoch {epoch} was not committed: {error}"))),
                }
            }
            KafkaErrorKind::Fenced => Err(error.into()),
            KafkaErrorKind::Moved => {
                let seats = self.members.iter().filter_map(|m| m.seat.as_ref()?.downcast_ref::<GroupSeat>());
                seats.for_each(GroupSeat::stay);
                self.transactor.lock().abort()?;
                Err(IoError::new(IoErrorKind::Moved, format!("epoch {epoch} was aborted: {error}")))
            }
            _ => {
                self.transactor.lock().abort()?;
                Err(failed(format!("epoch {epoch} was aborted: {error}")))
            }
        }
    }
}

/// The job goes on from its last commit, if it may restart.
fn failed(message: String) -> IoError {
    IoError::new(IoErrorKind::Os(std::io::Error::other(message)), "Kafka transaction")
}

/// The coordinator, if it is one of ours.
pub(super) fn ours(leader: &dyn Coordinator) -> Option<&KafkaCoordinator> {
    (leader as &dyn Any).downcast_ref()
}
