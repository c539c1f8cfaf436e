//! The thread of a broker: fetches what it leads, checks that it is whole, and hands it to the owner.

use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use super::batch::{self, Checked, Fault};
use super::board::{Asked, Buffer, Parcel, Piece, Shared, Task, Trouble};
use super::protocol::{self, FETCH_VERSION, Fetched, Leaders, Terms, Wanted, code, meaning};
use crate::connector::kafka::wire::{FETCH, Request, announced, connect, send};
use crate::record::Clock;

/// Largest answer that is believed: a batch may be larger than what is asked for.
const LARGEST: usize = 256 << 20;
/// Bytes of an answer for a partition: no fewer than a batch has by default, which would be cut off.
const PARTITION_BYTES: usize = 1 << 20;
/// How long a connection may take.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

/// What a broker's thread keeps.
struct Fetching<'a> {
    shared: &'a Arc<Shared>,
    broker: usize,
    stream: Option<TcpStream>,
    /// Number of the last request.
    number: i32,
    request: Vec<u8>,
    asked: Vec<Asked>,
    /// For how many ms the broker wants to be left alone.
    throttled: u64,
}

/// Fetches until everything is over.
pub(super) fn run(shared: &Arc<Shared>, broker: usize) {
    let (request, asked) = (Vec::new(), Vec::new());
    let mut fetching = Fetching { shared, broker, stream: None, number: 0, request, asked, throttled: 0 };
    let _running = shared.running();
    loop {
        match shared.next(broker, &mut fetching.asked) {
            (Task::Over, _) => return,
            (Task::Look, _) => fetching.look(),
            (Task::Fetch(mut buffer), bytes) => {
                let fetched = fetching.fetch(&mut buffer, bytes);
                let parcel = Parcel { buffer, broker };
                match fetched {
                    Ok(true) => shared.send(parcel),
                    Ok(false) => shared.give_back(parcel),
                    Err(e) => {
                        let why = format!("broker {}: {e}", shared.address(broker));
                        log::debug!("{why}");
                        shared.give_back(parcel);
                        fetching.stream = None;
                        shared.lost(broker, &why);
                    }
                }
                if fetching.throttled > 0 {
                    shared.rest(Duration::from_millis(std::mem::take(&mut fetching.throttled)));
                }
            }
        }
    }
}

/// Asks one broker after the other who leads what, no longer than a question may take.
pub(super) fn look(shared: &Shared, own: Option<&mut TcpStream>) -> io::Result<Leaders> {
    let topics = shared.topics();
    let topics: Vec<&str> = topics.iter().map(|t| &**t).collect();
    if let Some(stream) = own {
        return protocol::leaders(stream, &topics);
    }
    let clock = Clock::System;
    let until = clock.monotonic() + shared.settings.timeout;
    let mut last = io::Error::other("no broker is known");
    for address in shared.addresses() {
        let left = until.saturating_sub(clock.monotonic());
        if left.is_zero() || shared.is_over() {
            break;
        }
        let asked = connect(&address, left.min(CONNECT))
            .and_then(|mut stream| protocol::leaders(&mut stream, &topics));
        match asked {
            Ok(found) => return Ok(found),
            Err(e) => last = io::Error::new(e.kind(), format!("{address}: {e}")),
        }
    }
    Err(last)
}

impl Fetching<'_> {
    fn look(&mut self) {
        let mut found = match &mut self.stream {
            Some(stream) => look(self.shared, Some(stream)),
            None => look(self.shared, None),
        };
        if found.is_err() && self.stream.take().is_some() {
            // Its answer may still come, and would be taken for that to another question.
            found = look(self.shared, None);
        }
        if let Err(e) = found.and_then(|found| self.shared.led(&found)) {
            log::debug!("looking for leaders: {e}");
            self.shared.lock().down = Some(e.to_string());
        }
    }

    fn connected(&mut self) -> io::Result<&mut TcpStream> {
        if self.stream.is_none() {
            let settings = &self.shared.settings;
            let stream = connect(&self.shared.address(self.broker), settings.timeout.min(CONNECT))?;
            // A broker answers later than it waits for something to send.
            let wait = Duration::from_millis(settings.wait_millis.unsigned_abs().into());
            stream.set_read_timeout(Some(settings.timeout + wait))?;
            stream.set_nodelay(true)?;
            if !self.shared.connected(self.broker, &stream) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.stream = Some(stream);
        }
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Asks for what comes next of each partition. True: the owner wants to know what came.
    fn fetch(&mut self, buffer: &mut Buffer, bytes: usize) -> io::Result<bool> {
        let settings = &self.shared.settings;
        let terms = Terms {
            // Where an end is not known yet nobody waits for more.
            wait_millis: if self.asked.iter().all(|a| a.told.is_some()) { settings.wait_millis } else { 0 },
            bytes,
            partition_bytes: bytes.min(PARTITION_BYTES.max(bytes / self.asked.len().max(1))),
            read_committed: settings.read_committed,
        };
        let wanted = self.asked.iter().map(|a| Wanted {
            topic: &a.part.topic,
            partition: a.part.partition,
            from: a.from,
        });
        protocol::fetch(wanted, terms, &mut self.request);
        self.number = self.number.wrapping_add(1) & i32::MAX;
        let (number, request) = (self.number, std::mem::take(&mut self.request));
        let shared = self.shared.clone();
        let stream = self.connected()?;
        let client = &shared.settings.client_id;
        send(stream, Request { key: FETCH, version: FETCH_VERSION, number, client }, &request)?;
        let size = announced(stream, number, LARGEST)?;
        buffer.bytes.reserve_exact(size);
        let read = Read::take(&mut *stream, size as u64).read_to_end(&mut buffer.bytes)?;
        self.request = request;
        if read < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.sort(buffer)
    }

    /// Makes pieces of an answer, and goes on behind them.
    fn sort(&mut self, buffer: &mut Buffer) -> io::Result<bool> {
        let Buffer { bytes, pieces } = buffer;
        // Looked through before anybody else has to wait for it.
        let (found, throttled) = self.find(bytes)?;
        self.throttled = throttled;
        let now = Clock::System.monotonic();
        let (mut board, mut lost) = (self.shared.lock(), false);
        for Found { place, error, next, mut piece } in found {
            let lane = board.lanes.get_mut(piece.lane);
            let Some((a, lane)) = self.asked.get_mut(place).zip(lane) else { continue };
            // It was told to go elsewhere meanwhile.
            if lane.version != a.version || lane.next != a.from || lane.leader != Some(self.broker) {
                continue;
            }
            match error {
                code::NONE => {}
                code::OFFSET_OUT_OF_RANGE => piece.trouble = Some(Trouble::OutOfRange),
                error if code::FATAL.contains(&error) => piece.trouble = Some(Trouble::Fatal(meaning(error))),
                error => {
                    // Somebody looks for the leader.
                    (lane.leader, lost) = (None, true);
                    lane.fail(now, &meaning(error));
                    continue;
                }
            }
            (lane.active, lane.failing) = (piece.trouble.is_none(), None);
            a.came = next.is_some();
            lane.next = next.unwrap_or(lane.next).max(lane.next);
            if lane.told.replace(piece.end) != Some(piece.end) || a.came || piece.trouble.is_some() {
                pieces.push(piece);
            }
        }
        match lost {
            true => self.shared.wake(),
            false => board.answered(),
        }
        drop(board);
        // Those of which something came are last the next time: an answer may be full before their turn.
        self.asked.sort_by_key(|a| a.came);
        self.asked.iter_mut().for_each(|a| a.came = false);
        Ok(!pieces.is_empty())
    }

    /// What is in an answer for each partition that was asked for, and for how many ms the broker wants to be left alone.
    fn find(&self, bytes: &[u8]) -> io::Result<(Vec<Found>, u64)> {
        let (asked, mut found, mut at) = (&self.asked, Vec::with_capacity(self.asked.len()), 0);
        let throttled = protocol::fetched(bytes, self.shared.settings.read_committed, &mut |f| {
            // Mostly in the order of the request.
            let (n, topic) = (asked.len(), f.topic);
            let same = |a: &&Asked| a.part.partition == f.partition && *a.part.topic == *topic;
            let mut places = (at..n).chain(0..at.min(n));
            let Some(place) = places.find(|i| asked.get(*i).as_ref().is_some_and(same)) else { return };
            let Some(a) = asked.get(place) else { return };
            at = place + 1;
            let Checked { next, bytes: good, fault } =
                batch::check(bytes.get(f.records.clone()).unwrap_or(&[]));
            let trouble = match fault {
                Some(Fault::Old) => Some(Trouble::Unfit),
                Some(Fault::Broken(why)) => {
                    Some(Trouble::Fatal(format!("behind offset {}: {why}", next.unwrap_or(a.from) - 1)))
                }
                // What is first in an answer comes whole, however large it is.
                None if next.is_none() && !f.records.is_empty() && place == 0 => {
                    Some(Trouble::Fatal(format!("at offset {}: the broker sends no whole batch", a.from)))
                }
                None => None,
            };
            let Fetched { error, end, aborted, records, .. } = f;
            let records = records.start..records.start + good;
            let piece = Piece { lane: a.lane, version: a.version, records, end, aborted, trouble };
            found.push(Found { place, error, next, piece });
        })?;
        Ok((found, throttled))
    }
}

/// What an answer has for a partition.
struct Found {
    /// Where it stands among those that were asked for.
    place: usize,
    error: i16,
    /// Where to go on.
    next: Option<i64>,
    piece: Piece,
}
