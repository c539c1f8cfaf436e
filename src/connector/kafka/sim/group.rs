//! Groups of the simulated cluster: who is a member, which partitions move, and whose commits count.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::broker::{Broker, Op};
use super::source::SimSource;
use crate::connector::kafka::client::{Caps, Event, KafkaError, KafkaErrorKind, KafkaSource, Message, Part};
use crate::connector::kafka::member::{Change, GroupToken, KafkaMember, MemberSettings};

/// A group with members.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Of the last decision.
    generation: u64,
    next: u64,
    members: BTreeMap<u64, Place>,
}

/// What the group knows of a member.
#[derive(Debug, Default)]
struct Place {
    topics: Vec<String>,
    eager: bool,
    /// Its own until it has given them up.
    owned: Vec<Part>,
    /// Of `owned`: to be given up.
    leaving: Vec<Part>,
    waiting: VecDeque<(u64, Change)>,
    /// Under which name it comes again.
    static_id: Option<String>,
}

impl Group {
    /// Divides what the members read among them: evenly, each keeping what it has as far as that goes.
    fn divide(&self, parts: &[Part]) -> BTreeMap<u64, Vec<Part>> {
        let mut shares: BTreeMap<u64, Vec<Part>> = self.members.keys().map(|m| (*m, Vec::new())).collect();
        let most = parts.len().div_ceil(shares.len().max(1));
        let mut free = Vec::new();
        for part in parts {
            let owner = self.members.iter().find(|(_, m)| m.owned.contains(part)).map(|(id, _)| *id);
            match owner.and_then(|id| shares.get_mut(&id)).filter(|share| share.len() < most) {
                Some(share) => share.push(part.clone()),
                None => free.push(part.clone()),
            }
        }
        for part in free {
            let reads =
                |id: &u64| self.members.get(id).is_some_and(|m| m.topics.iter().any(|t| **t == *part.topic));
            let least = shares.iter_mut().filter(|(id, _)| reads(id)).min_by_key(|(_, share)| share.len());
            if let Some((_, share)) = least {
                share.push(part);
            }
        }
        shares
    }

    /// Tells the members what changes, as far as nobody has to give something up first.
    fn decide(&mut self, parts: &[Part]) {
        let shares = self.divide(parts);
        let eager = self.members.values().any(|m| m.eager);
        let settled = self.members.iter().all(|(id, m)| {
            let share = shares.get(id).map_or(&[][..], Vec::as_slice);
            m.owned.len() == share.len() && m.owned.iter().all(|p| share.contains(p))
        });
        if settled {
            return;
        }
        // Eager members end the generation under way before the next begins; others go on in the next at once.
        self.generation += u64::from(!eager);
        let generation = self.generation;
        for (id, place) in &mut self.members {
            let share = shares.get(id).map_or(&[][..], Vec::as_slice);
            let goes = |p: &&Part| (eager || !share.contains(p)) && !place.leaving.contains(p);
            let going: Vec<Part> = place.owned.iter().filter(goes).cloned().collect();
            if !going.is_empty() {
                place.leaving.extend(going.iter().cloned());
                place.waiting.push_back((generation, Change::Revoked(going)));
            } else if !eager {
                // As brokers do, which tell everybody of each generation.
                place.waiting.push_back((generation, Change::Assigned(Vec::new())));
            }
        }
        self.hand_out(&shares, eager);
    }

    /// Assigns what nobody owns.
    fn hand_out(&mut self, shares: &BTreeMap<u64, Vec<Part>>, eager: bool) {
        if eager && self.members.values().any(|m| !m.owned.is_empty()) {
            return;
        }
        self.generation += u64::from(eager);
        for (id, share) in shares {
            let taken = |p: &Part| self.members.values().any(|m| m.owned.contains(p));
            let free: Vec<Part> = share.iter().filter(|p| !taken(p)).cloned().collect();
            if let Some(place) = self.members.get_mut(id)
                && (eager || !free.is_empty())
            {
                place.owned.extend(free.iter().cloned());
                place.waiting.push_back((self.generation, Change::Assigned(free)));
            }
        }
    }
}

impl Broker {
    fn parts_of(&self, group: &str) -> Vec<Part> {
        let topics =
            self.shared.get(group).into_iter().flat_map(|g| g.members.values().flat_map(|m| &m.topics));
        let mut topics: Vec<&String> = topics.collect();
        topics.sort();
        topics.dedup();
        let of = |topic: &&String| {
            let topic: Arc<str> = topic.as_str().into();
            let n = self.partitions(&topic).unwrap_or(0);
            (0..n as i32).map(move |partition| Part { topic: topic.clone(), partition }).collect::<Vec<_>>()
        };
        topics.iter().flat_map(of).collect()
    }

    fn decide(&mut self, group: &str) {
        let parts = self.parts_of(group);
        if let Some(group) = self.shared.get_mut(group) {
            group.decide(&parts);
        }
    }

    fn join(&mut self, settings: &MemberSettings) -> u64 {
        let topics = settings.topics.clone();
        let group = self.shared.entry(settings.group.clone()).or_default();
        group.next += 1;
        let id = group.next;
        let eager = settings.assignor != "cooperative-sticky";
        let static_id = settings.static_id.clone();
        let known = |p: &Place| static_id.is_some() && p.static_id == static_id && p.leaving.is_empty();
        let before = group.members.iter().find(|(_, p)| known(p)).map(|(id, _)| *id);
        if let Some(place) = before.and_then(|id| group.members.remove(&id)) {
            // It has what it had, in the same generation; whoever was there under the name is out.
            let waiting = VecDeque::from([(group.generation, Change::Assigned(place.owned.clone()))]);
            group.members.insert(id, Place { waiting, ..place });
            return id;
        }
        group.members.insert(id, Place { topics, eager, static_id, ..Place::default() });
        self.decide(&settings.group);
        id
    }

    fn leave(&mut self, group: &str, member: u64) {
        if let Some(members) = self.shared.get_mut(group).map(|g| &mut g.members) {
            members.remove(&member);
        }
        self.decide(group);
    }

    /// Takes the member for dead that joined first; it does not know.
    pub(super) fn expire_member(&mut self, group: &str) {
        let oldest = self.shared.get(group).and_then(|g| g.members.keys().next().copied());
        if let Some(member) = oldest {
            self.leave(group, member);
        }
    }

    /// Members of a group, and whether all of them have what they are to have.
    pub(super) fn members(&self, group: &str) -> (usize, bool) {
        let Some(group) = self.shared.get(group) else { return (0, true) };
        let quiet = |m: &Place| m.waiting.is_empty() && m.leaving.is_empty();
        (group.members.len(), group.members.values().all(quiet))
    }

    /// Whether a commit under that token counts.
    pub(super) fn allows(&self, token: &GroupToken) -> Result<(), KafkaError> {
        let current = token.downcast_ref::<Token>().is_some_and(|t| {
            self.shared
                .get(&t.group)
                .is_some_and(|g| g.generation == t.generation && g.members.contains_key(&t.member))
        });
        match current {
            true => Ok(()),
            false => Err(KafkaError::new(KafkaErrorKind::Moved, "the group has another generation")),
        }
    }
}

#[derive(Debug)]
struct Token {
    group: String,
    member: u64,
    generation: u64,
}

pub(super) struct SimMember {
    broker: Arc<Mutex<Broker>>,
    settings: MemberSettings,
    id: u64,
    generation: u64,
    gone: bool,
    reader: SimSource,
    /// Slot and partition, in the order of the reader's.
    lanes: Vec<(usize, Part, i64)>,
}

impl SimMember {
    pub(super) fn join(broker: Arc<Mutex<Broker>>, settings: MemberSettings, caps: Caps) -> Self {
        let id = broker.lock().join(&settings);
        let reader = SimSource::new(broker.clone(), settings.source(), caps);
        Self { broker, settings, id, generation: 0, gone: false, reader, lanes: Vec::new() }
    }

    fn restart(&mut self) -> Result<(), KafkaError> {
        let parts: Vec<(Part, i64)> =
            self.lanes.iter().map(|(_, part, next)| (part.clone(), *next)).collect();
        self.reader.start(&parts)
    }
}

impl KafkaMember for SimMember {
    fn take_change(&mut self) -> Option<Change> {
        let mut broker = self.broker.lock();
        let known = broker.shared.get(&self.settings.group).is_some_and(|g| g.members.contains_key(&self.id));
        if !known && !self.gone {
            self.gone = true;
            return Some(Change::Lost(self.lanes.iter().map(|(_, part, _)| part.clone()).collect()));
        }
        let place = broker.shared.get_mut(&self.settings.group)?.members.get_mut(&self.id)?;
        let (generation, change) = place.waiting.pop_front()?;
        self.generation = generation;
        Some(change)
    }

    fn accept(&mut self, parts: &[(usize, Part, i64)]) -> Result<(), KafkaError> {
        self.lanes.extend(parts.iter().cloned());
        self.restart()
    }

    fn release(&mut self, parts: &[Part]) -> Result<(), KafkaError> {
        self.lanes.retain(|(_, p, _)| !parts.contains(p));
        self.restart()?;
        let mut broker = self.broker.lock();
        if std::mem::take(&mut self.gone) {
            // It comes again.
            self.id = broker.join(&self.settings);
            return Ok(());
        }
        let eager = self.settings.assignor != "cooperative-sticky";
        let all = broker.parts_of(&self.settings.group);
        let Some(group) = broker.shared.get_mut(&self.settings.group) else { return Ok(()) };
        if let Some(place) = group.members.get_mut(&self.id) {
            place.owned.retain(|p| !parts.contains(p));
            place.leaving.retain(|p| !parts.contains(p));
        }
        let shares = group.divide(&all);
        group.hand_out(&shares, eager);
        Ok(())
    }

    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaError> {
        let lanes = &mut self.lanes;
        self.reader.poll(wait, &mut |event| match event {
            Event::Message(mut message) => {
                let Some((slot, _, next)) = lanes.get_mut(message.part) else {
                    return ControlFlow::Continue(());
                };
                (message.part, *next) = (*slot, message.offset + 1);
                take(message)
            }
            Event::Reached { .. } => ControlFlow::Continue(()),
        })
    }

    fn seek(&mut self, part: &Part, offset: i64) -> Result<(), KafkaError> {
        if let Some((_, _, next)) = self.lanes.iter_mut().find(|(_, p, _)| p == part) {
            *next = offset;
        }
        self.restart()
    }

    fn commit(&mut self, offsets: &[(Part, i64)]) -> Result<(), KafkaError> {
        let mut broker = self.broker.lock();
        broker.meet(Op::Commit)?;
        if let Some(token) = self.token() {
            broker.allows(&token)?;
        }
        for (part, offset) in offsets {
            broker.commit(&self.settings.group, part, *offset, "");
        }
        Ok(())
    }

    fn token(&self) -> Option<GroupToken> {
        let Self { settings, id, generation, .. } = self;
        let token = Token { group: settings.group.clone(), member: *id, generation: *generation };
        (!self.gone).then(|| Arc::new(token) as GroupToken)
    }

    fn close(&mut self, _deadline: Duration) {
        // The place of a static member is kept for it.
        if !std::mem::replace(&mut self.gone, true) && self.settings.static_id.is_none() {
            self.broker.lock().leave(&self.settings.group, self.id);
        }
    }
}

impl Drop for SimMember {
    fn drop(&mut self) {
        self.close(Duration::ZERO);
    }
}
