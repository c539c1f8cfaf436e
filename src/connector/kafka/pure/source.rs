//! A consumer over the library's client: one fetch in flight while the messages of the last one are given.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use kafka::client::fetch::Response;
use kafka::client::{Compression, FetchOffset, PartitionOffset};

use super::fetch::{Fetched, Wanted, fetch};
use super::owner::{Owner, Session};
use super::wire;
use crate::connector::kafka::client::{
    Bounds, Event, KafkaError, KafkaErrorKind, KafkaSource, Message, Part, SourceSettings,
};
use crate::record::Clock;

struct Lane {
    part: Part,
    /// The offset that is fetched next.
    fetch: i64,
    /// The offset that is given next.
    next: i64,
    paused: bool,
    /// Changes with every jump: what was fetched before is stale.
    jumps: u32,
    /// `Reached` was said at this offset.
    told: Option<i64>,
    /// Nothing came when it was asked last.
    dry: bool,
}

struct Flight {
    lane: usize,
    jumps: u32,
    answer: Receiver<Result<Fetched, KafkaError>>,
    since: Duration,
}

/// Messages that wait to be given.
struct Held {
    lane: usize,
    jumps: u32,
    response: Response,
    from: usize,
}

pub(super) struct PureSource {
    settings: SourceSettings,
    owner: Owner,
    lanes: Vec<Lane>,
    flight: Option<Flight>,
    held: Option<Held>,
    turn: usize,
}

/// How long a broker may hold back an answer that would be empty.
const LONGEST_WAIT: Duration = Duration::from_millis(50);
const FETCH_BYTES: usize = 1 << 20;

impl PureSource {
    pub(super) fn connect(settings: &SourceSettings) -> Result<Self, KafkaError> {
        let mut owner = Owner::new(&settings.connection, Compression::NONE);
        owner.call(|session| session.refresh())?;
        Ok(Self { settings: settings.clone(), owner, lanes: Vec::new(), flight: None, held: None, turn: 0 })
    }

    fn lane(&mut self, part: usize) -> Result<&mut Lane, KafkaError> {
        self.lanes.get_mut(part).ok_or_else(|| KafkaError::fatal("no such partition is assigned"))
    }

    fn group(&self) -> Result<String, KafkaError> {
        self.settings.group.clone().ok_or_else(|| KafkaError::fatal("no group"))
    }

    /// Asks for the next partition in turn, if nothing is asked for yet.
    fn take_off(&mut self, wait: Duration) -> Result<(), KafkaError> {
        if self.flight.is_some() {
            return Ok(());
        }
        let n = self.lanes.len();
        let Some(index) =
            (0..n).map(|i| (self.turn + i) % n).find(|i| self.lanes.get(*i).is_some_and(|l| !l.paused))
        else {
            return Ok(());
        };
        self.turn = index + 1;
        // Waiting at one partition while others have messages would hold those up.
        let all_dry = self.lanes.iter().all(|l| l.paused || l.dry);
        let Some(lane) = self.lanes.get(index) else { return Ok(()) };
        let share = (wait / u32::try_from(n).unwrap_or(u32::MAX)).min(LONGEST_WAIT);
        let wanted = Wanted {
            part: lane.part.clone(),
            index,
            offset: lane.fetch,
            bytes: i32::try_from((self.settings.prefetch_bytes / 2).min(FETCH_BYTES)).unwrap_or(i32::MAX),
            wait: if all_dry { share } else { Duration::ZERO },
            accept_gaps: self.settings.accept_gaps,
        };
        let jumps = lane.jumps;
        let answer = self.owner.post(move |session| fetch(session, &wanted))?;
        self.flight = Some(Flight { lane: index, jumps, answer, since: Clock::System.monotonic() });
        Ok(())
    }

    /// Waits for what was asked for. `Ok(false)`: not there yet.
    fn land(&mut self, wait: Duration) -> Result<Option<(usize, Fetched)>, KafkaError> {
        let Some(flight) = &self.flight else { return Ok(None) };
        let (index, jumps) = (flight.lane, flight.jumps);
        let answer = match flight.answer.recv_timeout(wait) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                let waited = Clock::System.monotonic().saturating_sub(flight.since);
                if waited < self.owner.timeout() {
                    return Ok(None);
                }
                self.flight = None;
                self.owner.leave();
                return Err(KafkaError::retriable(format!(
                    "brokers {}: no answer within {waited:.0?}",
                    self.settings.connection.servers
                )));
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.flight = None;
                self.owner.leave();
                return Err(KafkaError::retriable("the client library has ended its thread"));
            }
        };
        self.flight = None;
        let stale = self.lanes.get(index).is_none_or(|l| l.jumps != jumps || l.paused);
        match answer {
            _ if stale => Ok(None),
            Ok(fetched) => Ok(Some((index, fetched))),
            Err(e) => Err(e),
        }
    }

    /// Gives what is held. `Break` if `take` had enough.
    fn give(&mut self, take: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<Given, KafkaError> {
        let Some(held) = &mut self.held else { return Ok(Given::Nothing) };
        let mut given = Given::Nothing;
        if let Some(lane) = self.lanes.get_mut(held.lane).filter(|l| l.jumps == held.jumps && !l.paused) {
            let data = held.response.topics().iter().flat_map(|t| t.partitions()).find_map(|p| p.data().ok());
            let messages = data.map_or(&[][..], |d| d.messages());
            for message in messages.get(held.from..).unwrap_or(&[]) {
                held.from += 1;
                // A compressed set is given whole, also what stands before the offset asked for.
                if message.offset < lane.next {
                    continue;
                }
                lane.next = message.offset + 1;
                given = Given::Something;
                let flow = take(Event::Message(Message {
                    part: held.lane,
                    offset: message.offset,
                    timestamp: None,
                    key: (!message.key.is_empty()).then_some(message.key),
                    value: (!message.value.is_empty()).then_some(message.value),
                    headers: None,
                }));
                if flow.is_break() {
                    return Ok(Given::Full);
                }
            }
        }
        self.held = None;
        Ok(given)
    }

    /// Takes in a fetch: what it brought is held, and the end is told if it was reached.
    fn take_in(
        &mut self,
        index: usize,
        fetched: Fetched,
        take: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Given {
        let Some(lane) = self.lanes.get_mut(index) else { return Given::Nothing };
        match fetched {
            Fetched::Messages(response) => {
                let data = response.topics().iter().flat_map(|t| t.partitions()).find_map(|p| p.data().ok());
                let last = data.and_then(|d| d.messages().last()).map(|m| m.offset);
                lane.fetch = lane.fetch.max(last.map_or(lane.fetch, |o| o + 1));
                lane.dry = false;
                self.held = Some(Held { lane: index, jumps: lane.jumps, response, from: 0 });
                Given::Nothing
            }
            Fetched::Nothing { end } => {
                lane.dry = true;
                lane.fetch = lane.fetch.max(end);
                lane.next = lane.next.max(end);
                if lane.told == Some(end) {
                    return Given::Nothing;
                }
                lane.told = Some(end);
                match take(Event::Reached { part: index, next: lane.next }) {
                    ControlFlow::Break(()) => Given::Full,
                    ControlFlow::Continue(()) => Given::Something,
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    Nothing,
    Something,
    Full,
}

impl KafkaSource for PureSource {
    fn topics(&mut self) -> Result<Vec<String>, KafkaError> {
        self.owner.call(|session| {
            session.refresh()?;
            session.with("topics", |client| Ok(client.topics().names().map(str::to_owned).collect()))
        })
    }

    fn partitions(&mut self, topic: &str) -> Result<Option<Vec<i32>>, KafkaError> {
        let topic = topic.to_owned();
        self.owner.call(move |session| {
            session.refresh()?;
            session.with(&topic, |client| {
                let found =
                    client.topics().partitions(&topic).map(|p| p.iter().map(|p| p.id()).collect::<Vec<_>>());
                Ok(found.filter(|ids| !ids.is_empty()))
            })
        })
    }

    fn bounds(&mut self, parts: &[Part]) -> Result<Vec<Bounds>, KafkaError> {
        let timeout = self.owner.timeout();
        patiently(timeout, || {
            let parts = parts.to_vec();
            self.owner.call(move |session| ask_bounds(session, &parts))
        })
    }

    fn committed(&mut self, parts: &[Part]) -> Result<Vec<Option<i64>>, KafkaError> {
        let (group, parts, servers) = (self.group()?, parts.to_vec(), self.owner.servers().to_vec());
        let timeout = self.owner.timeout();
        patiently(timeout, || wire::committed(&servers, &group, &parts, timeout))
    }

    fn offsets_at(&mut self, _parts: &[Part], _millis: i64) -> Result<Vec<Option<i64>>, KafkaError> {
        let message = "offsets by time are not exact in the versions that this client speaks: build with --features rdkafka";
        Err(KafkaError::new(KafkaErrorKind::Unsupported, message))
    }

    fn start(&mut self, parts: &[(Part, i64)]) -> Result<(), KafkaError> {
        (self.flight, self.held) = (None, None);
        let lane = |(part, offset): &(Part, i64)| Lane {
            part: part.clone(),
            fetch: *offset,
            next: *offset,
            paused: false,
            jumps: 0,
            told: None,
            dry: false,
        };
        self.lanes = parts.iter().map(lane).collect();
        Ok(())
    }

    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaError> {
        let clock = Clock::System;
        let until = clock.monotonic() + wait;
        let mut any = false;
        // A round over all partitions, so that none starves; then until something comes or the time is over.
        for round in 0.. {
            self.take_off(until.saturating_sub(clock.monotonic()))?;
            match self.give(take)? {
                Given::Full => return Ok(()),
                Given::Something => any = true,
                Given::Nothing => {}
            }
            let left = until.saturating_sub(clock.monotonic());
            if let Some((index, fetched)) = self.land(if any { Duration::ZERO } else { left })? {
                match self.take_in(index, fetched, take) {
                    Given::Full => return Ok(()),
                    Given::Something => any = true,
                    Given::Nothing => {}
                }
                self.take_off(left)?;
                continue;
            }
            if self.held.is_none() && (any || left.is_zero() || self.flight.is_none() && round > 0) {
                break;
            }
        }
        Ok(())
    }

    fn pause(&mut self, part: usize) -> Result<(), KafkaError> {
        let lane = self.lane(part)?;
        lane.paused = true;
        lane.jumps += 1;
        Ok(())
    }

    fn resume(&mut self, part: usize, offset: i64) -> Result<(), KafkaError> {
        self.seek(part, offset)?;
        self.lane(part).map(|l| l.paused = false)
    }

    fn seek(&mut self, part: usize, offset: i64) -> Result<(), KafkaError> {
        let lane = self.lane(part)?;
        (lane.fetch, lane.next, lane.told, lane.dry) = (offset, offset, None, false);
        lane.jumps += 1;
        Ok(())
    }

    fn commit(&mut self, offsets: &[(Part, i64)]) -> Result<(), KafkaError> {
        let (group, servers, timeout) = (self.group()?, self.owner.servers().to_vec(), self.owner.timeout());
        patiently(timeout, || wire::commit(&servers, &group, offsets, timeout))
    }

    fn close(&mut self, _deadline: Duration) {
        (self.flight, self.held) = (None, None);
        self.owner.leave();
    }
}

fn ask_bounds(session: &mut Session, parts: &[Part]) -> Result<Vec<Bounds>, KafkaError> {
    let mut names: Vec<&str> = parts.iter().map(|p| &*p.topic).collect();
    names.sort_unstable();
    names.dedup();
    let mut ask = |what: &str, which| {
        let asked = session.with(what, |c| c.fetch_offsets(&names, which));
        if asked.as_ref().is_err_and(|e| e.kind == KafkaErrorKind::Retriable) {
            // Leaders have moved, or are about to be there.
            session.refresh()?;
        }
        asked
    };
    let firsts = ask("first offsets", FetchOffset::Earliest)?;
    let ends = ask("last offsets", FetchOffset::Latest)?;
    let of = |list: &HashMap<String, Vec<PartitionOffset>>, part: &Part| {
        list.get(&*part.topic)?.iter().find(|o| o.partition == part.partition).map(|o| o.offset)
    };
    let mut bounds = Vec::with_capacity(parts.len());
    for part in parts {
        match (of(&firsts, part), of(&ends, part)) {
            (Some(first), Some(end)) => bounds.push(Bounds { first, end }),
            _ => {
                session.refresh()?;
                return Err(KafkaError::retriable(format!("{part}: no broker leads it")));
            }
        }
    }
    Ok(bounds)
}

/// Asks again while a broker says "not now", at most ten times and no longer than a broker may take.
fn patiently<T>(timeout: Duration, mut ask: impl FnMut() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    let clock = Clock::System;
    let until = clock.monotonic() + timeout;
    let mut pause = Duration::from_millis(20);
    for _ in 0..9 {
        match ask() {
            Err(e) if e.kind == KafkaErrorKind::Retriable && clock.monotonic() + pause < until => {
                std::thread::park_timeout(pause);
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            done => return done,
        }
    }
    ask()
}
