//! An open Kafka source that shares its topics with other instances of the job, as a member of their group.
//!
//! What a partition's next owner begins with are the group's committed offsets, so nothing is given up before the job has committed
//! what was read of it: on revoke the reader asks for an epoch and releases the partitions behind its commit. What was lost
//! without that has been read by somebody else from the last commit on: a transactional job throws away what is under way.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::client::{Bounds, KafkaError, KafkaErrorKind, KafkaSource, Message, Part};
use super::decode::MessageDecoder;
use super::kept::{Begin, Keeper, KeptPlaces};
use super::member::{Change, GroupToken, KafkaMember};
use super::options::Start;
use super::position;
use super::reader::add;
use super::source::begin;
use super::transactor::again;
use crate::io::{Boundedness, DataReader, IoError, IoErrorKind, Read, Shift};
use crate::record::{BatchBuilder, Position, Schema};

/// How long the end may take.
const CLOSE: Duration = Duration::from_secs(5);

/// What the member shows to transactions, for the job's coordinator; `None`: it must not commit.
#[derive(Default)]
pub(super) struct GroupSeat {
    token: Mutex<Option<GroupToken>>,
    /// The job begins again because of a move: the member is to stay.
    stays: AtomicBool,
    /// The member, while the job begins again: it stays in the group, with what it has.
    parked: Mutex<Option<Parked>>,
    /// Where the state of its partitions stands, if that moves with them.
    pub(super) kept: Mutex<Option<KeptPlaces>>,
}

struct Parked {
    member: Box<dyn KafkaMember>,
    lanes: Vec<Option<Lane>>,
    due: VecDeque<Change>,
}

impl GroupSeat {
    pub(super) fn token(&self) -> Option<GroupToken> {
        self.token.lock().clone()
    }
    /// The job begins again, and has nothing of the group to fear: the member may stay in it.
    pub(super) fn stay(&self) {
        self.stays.store(true, Ordering::Relaxed);
    }
    fn show(&self, token: Option<GroupToken>) {
        *self.token.lock() = token;
    }
}

impl Parked {
    /// Sets all partitions back to what was committed.
    fn go_back(
        &mut self,
        asks: &mut dyn KafkaSource,
        policy: &GroupPolicy,
        gain: impl FnMut(i32, Begin),
    ) -> Result<(), KafkaError> {
        let parts: Vec<Part> = self.lanes.iter().flatten().map(|l| l.part.clone()).collect();
        if parts.is_empty() {
            return Ok(());
        }
        let bounds = asks.bounds(&parts)?;
        let begins = begin_at(asks, policy, &parts, &bounds)?;
        for (lane, begin) in self.lanes.iter_mut().flatten().zip(&begins) {
            lane.next = begin.next;
            self.member.seek(&lane.part, lane.next)?;
        }
        gain_all(&parts, begins, gain);
        Ok(())
    }
}

/// Where partitions begin: where the group stands; where it has committed nothing, where the source's options say.
fn begin_at(
    asks: &mut dyn KafkaSource,
    policy: &GroupPolicy,
    parts: &[Part],
    bounds: &[Bounds],
) -> Result<Vec<Begin>, KafkaError> {
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(keeper) = &policy.keeper {
        return keeper.recover(asks, policy, parts, bounds);
    }
    let committed = again(policy.patience, || asks.committed(parts))?;
    let fresh = match committed.iter().all(Option::is_some) {
        true => Vec::new(),
        false => begin(&policy.start, asks, parts, bounds)?,
    };
    let at = |(i, bounds): (usize, &Bounds)| {
        let known = committed.get(i).copied().flatten();
        let next = known.or_else(|| fresh.get(i).copied()).unwrap_or(bounds.first);
        Begin { next, ..Begin::default() }
    };
    Ok(bounds.iter().enumerate().map(at).collect())
}

fn gain_all(parts: &[Part], begins: Vec<Begin>, mut gain: impl FnMut(i32, Begin)) {
    parts.iter().zip(begins).for_each(|(part, begin)| gain(part.partition, begin));
}

/// A partition is this instance's, with its state.
fn note_gain(seat: &GroupSeat, shifts: &mut VecDeque<Shift>, part: i32, begin: Begin) {
    if let Some(kept) = &mut *seat.kept.lock() {
        kept.set(part, begin.place);
        shifts.push_back(Shift::Gained { part, state: begin.state });
    }
}

/// A partition that this instance reads.
struct Lane {
    part: Part,
    /// `topic/partition`, for messages.
    name: Arc<str>,
    next: i64,
    /// It is to be given up behind the next commit of `next`.
    leaving: bool,
}

/// What a reader does besides reading.
pub(super) struct GroupPolicy {
    pub(super) start: Start,
    pub(super) earliest_if_gone: bool,
    /// How long offsets that a predecessor's transaction holds are waited for.
    pub(super) patience: Duration,
    /// The offsets stand in transactions; else the member commits them.
    pub(super) transactional: bool,
    /// Where state moves with the partitions: who reads it.
    pub(super) keeper: Option<Keeper>,
}

pub(super) struct GroupReader {
    schema: Arc<Schema>,
    /// Answers questions.
    asks: Box<dyn KafkaSource>,
    /// Always there, but at the very end.
    member: Option<Box<dyn KafkaMember>>,
    seat: Arc<GroupSeat>,
    group: String,
    lanes: Vec<Option<Lane>>,
    decoder: MessageDecoder,
    policy: GroupPolicy,
    /// Decisions that could not be carried out yet.
    due: VecDeque<Change>,
    /// An error that came behind messages that were given: told by the next call.
    pending: Option<KafkaError>,
    /// What has become of the partitions, where state moves with them.
    shifts: VecDeque<Shift>,
}

impl GroupReader {
    pub(super) fn new(
        schema: Arc<Schema>,
        group: String,
        mut asks: Box<dyn KafkaSource>,
        join: impl FnOnce() -> Result<Box<dyn KafkaMember>, KafkaError>,
        seat: Arc<GroupSeat>,
        decoder: MessageDecoder,
        policy: GroupPolicy,
    ) -> Result<Self, KafkaError> {
        seat.show(None);
        *seat.kept.lock() = policy.keeper.as_ref().map(|k| KeptPlaces::new(k.changelog.clone()));
        let mut shifts = VecDeque::new();
        let parked = seat.parked.lock().take();
        let parked = parked.and_then(|mut parked| {
            let gain = |part, begin| note_gain(&seat, &mut shifts, part, begin);
            let back = parked.go_back(&mut *asks, &policy, gain);
            back.inspect_err(|e| log::debug!("group {group}: {e}; joining it anew")).ok().map(|()| parked)
        });
        let Parked { member, lanes, due } = match parked {
            Some(parked) => parked,
            None => Parked { member: join()?, lanes: Vec::new(), due: VecDeque::new() },
        };
        seat.show(member.token());
        Ok(Self {
            schema,
            asks,
            member: Some(member),
            seat,
            group,
            lanes,
            decoder,
            policy,
            due,
            pending: None,
            shifts,
        })
    }

    fn member(&mut self) -> Result<&mut dyn KafkaMember, KafkaError> {
        match &mut self.member {
            Some(member) => Ok(member.as_mut()),
            None => Err(KafkaError::fatal(format!("group {}: it was left", self.group))),
        }
    }

    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().flatten()
    }

    /// Carries out what the group has decided.
    fn obey(&mut self) -> Result<(), IoError> {
        while let Some(change) = self.member()?.take_change() {
            self.due.push_back(change);
        }
        while let Some(change) = self.due.pop_front() {
            let done = match &change {
                Change::Assigned(parts) => self.take_over(parts).map_err(IoError::from),
                Change::Revoked(parts) => self.prepare_to_leave(parts).map_err(IoError::from),
                Change::Lost(parts) => self.lose(parts),
            };
            if let Err(e) = done {
                if e.is_transient() {
                    self.due.push_front(change);
                }
                return Err(e);
            }
        }
        Ok(())
    }

    /// Begins where the group stands; where it has committed nothing, where the source's options say.
    fn take_over(&mut self, parts: &[Part]) -> Result<(), KafkaError> {
        let bounds = self.asks.bounds(parts)?;
        let begins = begin_at(&mut *self.asks, &self.policy, parts, &bounds)?;
        let mut accepted = Vec::with_capacity(parts.len());
        let mut taken = Vec::with_capacity(parts.len());
        for ((part, bounds), Begin { next, .. }) in parts.iter().zip(&bounds).zip(&begins) {
            let next = *next;
            let mut lane = Lane { part: part.clone(), name: part.to_string().into(), next, leaving: false };
            lane.enter(*bounds, self.policy.earliest_if_gone)?;
            let free = (0..).find(|s| self.lanes.get(*s).is_none_or(Option::is_none) && !taken.contains(s));
            let slot = free.unwrap_or_default();
            taken.push(slot);
            accepted.push((slot, lane));
        }
        let told: Vec<_> = accepted.iter().map(|(s, l)| (*s, l.part.clone(), l.next)).collect();
        self.member()?.accept(&told)?;
        for (slot, lane) in accepted {
            if self.lanes.len() <= slot {
                self.lanes.resize_with(slot + 1, || None);
            }
            if let Some(place) = self.lanes.get_mut(slot) {
                *place = Some(lane);
            }
        }
        if !parts.is_empty() {
            let names: Vec<String> = told.iter().map(|(_, p, o)| format!("{p}@{o}")).collect();
            log::info!("group {}: reads {}", self.group, names.join(", "));
        }
        if self.policy.keeper.is_some() {
            let Self { seat, shifts, .. } = self;
            gain_all(parts, begins, |part, begin| note_gain(seat, shifts, part, begin));
        }
        let token = self.member()?.token();
        self.seat.show(token);
        Ok(())
    }

    /// Partitions are somebody else's.
    fn note_gone(&mut self, parts: &[Part]) {
        if let Some(kept) = &mut *self.seat.kept.lock() {
            parts.iter().for_each(|p| kept.forget(p.partition));
            self.shifts.extend(parts.iter().map(|p| Shift::Gone { part: p.partition }));
        }
    }

    fn prepare_to_leave(&mut self, parts: &[Part]) -> Result<(), KafkaError> {
        let mut any = false;
        for lane in self.lanes.iter_mut().flatten().filter(|l| parts.contains(&l.part)) {
            (lane.leaving, any) = (true, true);
            if self.policy.keeper.is_some() {
                self.shifts.push_back(Shift::Leaving { part: lane.part.partition });
            }
        }
        let token = self.member()?.token();
        self.seat.show(token);
        // Nothing of it is under way.
        if any { Ok(()) } else { self.member()?.release(parts) }
    }

    fn lose(&mut self, parts: &[Part]) -> Result<(), IoError> {
        self.seat.show(None);
        let mut lost = 0;
        for place in &mut self.lanes {
            if place.as_ref().is_some_and(|l| parts.contains(&l.part)) {
                (*place, lost) = (None, lost + 1);
            }
        }
        self.note_gone(parts);
        self.member()?.release(parts)?;
        if lost == 0 {
            return Ok(());
        }
        let what = format!(
            "group {}: {lost} partitions were given to others before what was read of them was committed",
            self.group
        );
        if self.policy.transactional {
            self.seat.stay();
            return Err(IoError::new(IoErrorKind::Moved, what));
        }
        log::warn!("{what}: some of it comes twice");
        Ok(())
    }

    /// A commit has arrived: what waited for it goes.
    fn leave(&mut self, committed: &[(Part, i64)]) -> Result<(), KafkaError> {
        let is_done = |l: &Lane| committed.iter().any(|(p, offset)| *p == l.part && *offset >= l.next);
        if !self.lanes().any(|l| l.leaving) || !self.lanes().filter(|l| l.leaving).all(is_done) {
            return Ok(());
        }
        let mut gone = Vec::new();
        for place in &mut self.lanes {
            if let Some(lane) = place.take_if(|l| l.leaving) {
                gone.push(lane.part);
            }
        }
        let names: Vec<String> = gone.iter().map(ToString::to_string).collect();
        log::info!("group {}: gives up {}", self.group, names.join(", "));
        self.note_gone(&gone);
        self.member()?.release(&gone)
    }

    /// A position that the broker does not have: an error, or a jump.
    fn settle_range(&mut self) -> Result<(), KafkaError> {
        let parts: Vec<Part> = self.lanes().map(|l| l.part.clone()).collect();
        let bounds = self.asks.bounds(&parts)?;
        let Some(member) = &mut self.member else { return Ok(()) };
        for (lane, bounds) in self.lanes.iter_mut().flatten().zip(bounds) {
            let before = lane.next;
            lane.enter(bounds, self.policy.earliest_if_gone)?;
            if lane.next != before {
                member.seek(&lane.part, lane.next)?;
            }
        }
        Ok(())
    }
}

impl Lane {
    fn enter(&mut self, bounds: Bounds, earliest_if_gone: bool) -> Result<(), KafkaError> {
        let mut lane = super::reader::Lane::new(self.part.clone(), self.next, bounds, None);
        lane.enter(bounds, earliest_if_gone)?;
        self.next = lane.next();
        Ok(())
    }
}

impl DataReader for GroupReader {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }

    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        if let Some(error) = self.pending.take() {
            return Err(error.into());
        }
        self.obey()?;
        if out.is_full() {
            return Ok(Read::More);
        }
        let wait = out.max_wait();
        let mut moved = false;
        let (lanes, decoder) = (&mut self.lanes, &mut self.decoder);
        let Some(member) = &mut self.member else { return Ok(Read::Idle) };
        let polled = member.poll(wait, &mut |message: Message<'_>| {
            let Some(lane) = lanes.get_mut(message.part).and_then(Option::as_mut) else {
                return ControlFlow::Continue(());
            };
            if lane.leaving || message.offset < lane.next {
                return ControlFlow::Continue(());
            }
            add(decoder, &message, &lane.name, &lane.part, out);
            (lane.next, moved) = (message.offset + 1, true);
            if out.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let polled = polled.or_else(|e| match e.kind {
            KafkaErrorKind::OutOfRange(_) => self.settle_range(),
            _ => Err(e),
        });
        match polled {
            Ok(()) => {}
            // What was given counts; the error is told next time.
            Err(e) if moved => self.pending = Some(e),
            Err(e) => return Err(e.into()),
        }
        Ok(if moved { Read::More } else { Read::Idle })
    }

    fn position(&self) -> Position {
        let mut parts: Vec<(Part, i64)> = self.lanes().map(|l| (l.part.clone(), l.next)).collect();
        parts.sort();
        position::encode(&parts)
    }

    /// Where the group stands counts, not where this instance stood.
    fn seek(&mut self, position: &Position) -> Result<(), IoError> {
        match position::decode(position) {
            Some(_) => Ok(()),
            None => Err(IoError::config("the position is none of a Kafka source")),
        }
    }

    fn commit(&mut self, position: &Position) -> Result<(), IoError> {
        let Some(mut parts) = position::decode(position) else { return Ok(()) };
        // What was lost meanwhile is not ours to commit.
        parts.retain(|(p, _)| self.lanes().any(|l| l.part == *p));
        if !self.policy.transactional {
            self.member()?.commit(&parts)?;
        }
        Ok(self.leave(&parts)?)
    }

    fn wants_commit(&self) -> bool {
        self.lanes().any(|l| l.leaving)
    }

    fn take_shift(&mut self) -> Option<Shift> {
        self.shifts.pop_front()
    }
}

impl Drop for GroupReader {
    fn drop(&mut self) {
        self.seat.show(None);
        self.asks.close(CLOSE);
        if let Some(mut member) = self.member.take() {
            if !self.seat.stays.swap(false, Ordering::Relaxed) {
                return member.close(CLOSE);
            }
            let (lanes, due) = (std::mem::take(&mut self.lanes), std::mem::take(&mut self.due));
            *self.seat.parked.lock() = Some(Parked { member, lanes, due });
        }
    }
}

impl Drop for GroupSeat {
    fn drop(&mut self) {
        if let Some(parked) = self.parked.lock().as_mut() {
            parked.member.close(CLOSE);
        }
    }
}
