//! Fetching without librdkafka: by our own connections to the brokers, in Rust, where the records lie as the broker sent them.
//!
//! The library makes an object of each message on a thread of its own, which costs more than decoding it (`benches/README.md`). What is
//! asked of brokers in steady state is one request, Fetch, so it is asked here: a thread for each broker that leads a partition keeps three
//! buffers going round; it asks, reads, checks sums, and hands the buffer to the owner, who reads records in place and gives the buffer
//! back. All else stays with the library: groups, offsets, transactions, producers, whatever is encrypted or wants a name and a
//! password ([`fits`]), and formats from before 0.11 ([`Stop::Unfit`]).
//!
//! What is fetched is outdated as soon as the owner goes elsewhere: each partition has a number that changes with every jump, and what
//! was asked for under another one is thrown away. So a jump waits for nobody.

mod batch;
mod board;
mod broker;
mod protocol;
mod unpack;

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use self::batch::{Batch, Look, Record};
use self::board::{Parcel, Settings, Shared, Trouble};
use self::unpack::Codec;
use super::client::{Event, HeaderList, KafkaError, Message, Part, SourceSettings};
use super::wire::{CLIENT, connect};
use crate::record::Clock;

/// The option of the library that is understood here.
const WAIT: &str = "fetch.wait.max.ms";
/// Options of the library that change nothing here: what concerns groups is the library's in any case.
const ASIDE: &[&str] = &["client.id", "heartbeat.interval.ms", "max.poll.interval.ms", "session.timeout.ms"];
/// How long a broker waits for something to send.
const WAIT_MILLIS: i32 = 100;
/// What is kept for packed batches.
const UNPACKED: usize = 16 << 20;

/// Why nothing more comes.
#[derive(Debug)]
pub(super) enum Stop {
    /// The offset of that partition is not there; it waits to be told where to go on.
    OutOfRange(usize),
    /// What is not read here, and where: the library can. What was given counts.
    Unfit(Part),
    /// Nothing helps, or nothing but time.
    Error(KafkaError),
}

/// Fetches partitions.
pub(super) struct Fetcher {
    shared: Arc<Shared>,
    parcels: Receiver<Parcel>,
    lanes: Vec<Lane>,
    /// There is a thread.
    served: bool,
    open: Option<Open>,
    /// The records of a batch that came packed.
    unpacked: Vec<u8>,
    headers: bool,
}

/// A partition for its owner.
struct Lane {
    /// `None`: nothing is assigned.
    part: Option<Part>,
    version: u64,
    /// The offset to give next.
    next: i64,
    paused: bool,
}

/// A parcel that is being given.
struct Open {
    parcel: Parcel,
    piece: usize,
    /// What was given of the piece's bytes.
    given: usize,
    /// The batch under way, and how much of its records was given.
    batch: Option<Under>,
    /// Producers whose transaction, which is under way there, was aborted.
    aborted: Vec<i64>,
}

/// A batch under way.
struct Under {
    head: Batch,
    /// Bytes of its records that were given, and their number.
    done: usize,
    count: usize,
}

/// What is given.
#[derive(Clone, Copy)]
struct How {
    headers: bool,
    read_committed: bool,
}

/// Whether what is asked for can be had here; else why not.
pub(super) fn fits(settings: &SourceSettings) -> Result<(), String> {
    match settings.connection.native.iter().find(|(name, _)| name != WAIT && !ASIDE.contains(&name.as_str()))
    {
        Some((name, _)) => Err(format!("'kafka.{name}' is an option of librdkafka")),
        None => Ok(()),
    }
}

/// Whether one of the brokers that are named speaks what is spoken here.
///
/// # Errors
/// None of them can be reached.
pub(super) fn is_understood(settings: &SourceSettings) -> Result<bool, KafkaError> {
    let servers = settings.connection.servers.split(',');
    let mut last = String::new();
    for server in servers {
        match connect(server.trim(), settings.connection.timeout.min(broker::CONNECT)) {
            Ok(mut stream) => match protocol::speaks(&mut stream) {
                Ok(understood) => return Ok(understood),
                // It hangs up on who does not encrypt.
                Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                    return Ok(false);
                }
                Err(e) => last = format!("{server}: {e}"),
            },
            Err(e) => last = format!("{server}: {e}"),
        }
    }
    Err(KafkaError::retriable(format!("brokers {}: {last}", settings.connection.servers)))
}

impl Fetcher {
    /// Begins with these partitions, each at its offset.
    ///
    /// # Errors
    /// No broker answers.
    pub(super) fn start(settings: &SourceSettings, parts: &[(Part, i64)]) -> Result<Self, KafkaError> {
        let mut fetcher = Self::new(settings, parts);
        fetcher.look()?;
        Ok(fetcher)
    }

    /// As [`start`](Self::start), but asks no broker yet: the first poll does.
    pub(super) fn new(settings: &SourceSettings, parts: &[(Part, i64)]) -> Self {
        let native = |of: &str| settings.connection.native.iter().rev().find(|(name, _)| name == of);
        let (wait, client) = (native(WAIT), native("client.id"));
        let (sender, parcels) = crossbeam_channel::unbounded();
        let own = Settings {
            servers: settings.connection.servers.split(',').map(|s| s.trim().to_owned()).collect(),
            timeout: settings.connection.timeout,
            wait_millis: wait.and_then(|(_, ms)| ms.parse().ok()).unwrap_or(WAIT_MILLIS),
            prefetch_bytes: settings.prefetch_bytes,
            read_committed: settings.read_committed,
            client_id: client.map_or_else(|| CLIENT.to_owned(), |(_, id)| id.clone()),
        };
        let lane = |(part, next): &(Part, i64)| Lane {
            part: Some(part.clone()),
            version: 0,
            next: *next,
            paused: false,
        };
        Self {
            shared: Arc::new(Shared::new(own, parts, sender)),
            parcels,
            lanes: parts.iter().map(lane).collect(),
            served: false,
            open: None,
            unpacked: Vec::new(),
            headers: settings.headers,
        }
    }

    /// Looks for leaders while no thread does.
    fn look(&mut self) -> Result<(), KafkaError> {
        if self.served || self.lanes.iter().all(|l| l.part.is_none()) || !self.shared.may_look() {
            return Ok(());
        }
        let found = broker::look(&self.shared, None).and_then(|found| self.shared.led(&found));
        found.map_err(|e| {
            KafkaError::retriable(format!("brokers {}: {e}", self.shared.settings.servers.join(",")))
        })?;
        self.served = self.shared.is_served();
        Ok(())
    }

    /// Puts a partition into a place, which may have been another one's: nothing more of that is given.
    pub(super) fn assign(&mut self, at: usize, part: &Part, next: i64) {
        let version = self.shared.put(at, Some((part.clone(), next)));
        self.set(at, Lane { part: Some(part.clone()), version, next, paused: false });
    }

    /// Empties a place: nothing more of it is given.
    pub(super) fn release(&mut self, at: usize) {
        if at < self.lanes.len() {
            let version = self.shared.put(at, None);
            self.set(at, Lane { version, ..Lane::none() });
        }
    }

    fn set(&mut self, at: usize, lane: Lane) {
        if self.lanes.len() <= at {
            self.lanes.resize_with(at + 1, Lane::none);
        }
        if let Some(place) = self.lanes.get_mut(at) {
            *place = lane;
        }
    }

    /// The offset that comes next of each partition.
    pub(super) fn positions(&self) -> impl Iterator<Item = i64> {
        self.lanes.iter().map(|l| l.next)
    }

    /// The partitions that are paused.
    pub(super) fn paused(&self) -> impl Iterator<Item = usize> {
        self.lanes.iter().enumerate().filter(|(_, l)| l.paused).map(|(i, _)| i)
    }

    /// The offset that comes next of that partition.
    pub(super) fn position(&self, lane: usize) -> Option<i64> {
        self.lanes.get(lane).map(|l| l.next)
    }

    /// Goes on at that offset, now or when the partition is paused no more.
    pub(super) fn seek(&mut self, lane: usize, offset: i64) {
        let paused = self.lanes.get(lane).is_some_and(|l| l.paused);
        self.change(lane, paused, offset);
    }

    /// Fetches that partition again, from that offset on.
    pub(super) fn resume(&mut self, lane: usize, offset: i64) {
        self.change(lane, false, offset);
    }

    /// Fetches that partition no more.
    pub(super) fn pause(&mut self, lane: usize) {
        if let Some(next) = self.lanes.get(lane).map(|l| l.next) {
            self.change(lane, true, next);
        }
    }

    fn change(&mut self, at: usize, paused: bool, next: i64) {
        if let Some(lane) = self.lanes.get_mut(at)
            && let Some(version) = self.shared.change(at, !paused, next)
        {
            (lane.version, lane.paused, lane.next) = (version, paused, next);
        }
    }

    /// Whether all buffers but the one that is being given wait to be given.
    #[cfg(test)]
    pub(super) fn is_full(&self) -> bool {
        self.parcels.len() == board::BUFFERS - 1
    }

    /// Bytes of all buffers that are under way, if nobody fetches, and up to where was fetched.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, i64) {
        let waiting: Vec<Parcel> = self.parcels.try_iter().collect();
        let open = self.open.iter().map(|o| o.parcel.buffer.bytes.capacity());
        let held = waiting.iter().map(|p| p.buffer.bytes.capacity()).chain(open).sum();
        waiting.into_iter().for_each(|p| self.shared.send(p));
        (held, self.shared.lock().lanes.iter().map(|l| l.next).max().unwrap_or(0))
    }

    /// Ends; waits no longer than that for its threads.
    pub(super) fn close(&mut self, deadline: Duration) {
        self.open = None;
        self.shared.end(deadline);
    }

    /// Gives what is there until `take` breaks; waits at most `wait` for the first.
    pub(super) fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), Stop> {
        self.look().map_err(Stop::Error)?;
        let mut wait = Some(wait);
        loop {
            if self.open.is_none() {
                let parcel = match (self.parcels.try_recv(), wait) {
                    (Ok(parcel), _) => parcel,
                    (Err(_), Some(wait)) if !wait.is_zero() => match self.parcels.recv_timeout(wait) {
                        Ok(parcel) => parcel,
                        Err(_) => return self.nothing(),
                    },
                    (Err(_), Some(_)) => return self.nothing(),
                    (Err(_), None) => return Ok(()),
                };
                self.open = Some(Open { parcel, piece: 0, given: 0, batch: None, aborted: Vec::new() });
            }
            wait = None;
            let Some(open) = &mut self.open else { continue };
            let how = How { headers: self.headers, read_committed: self.shared.settings.read_committed };
            match open.give(&mut self.lanes, &mut self.unpacked, how, take) {
                Ok(ControlFlow::Break(())) => return Ok(()),
                Ok(ControlFlow::Continue(())) => {
                    if let Some(open) = self.open.take() {
                        self.shared.give_back(open.parcel);
                    }
                    // One batch may have been much larger than the others.
                    if self.unpacked.capacity() > UNPACKED {
                        self.unpacked = Vec::new();
                    }
                }
                Err(stop) => return Err(stop),
            }
        }
    }

    fn nothing(&self) -> Result<(), Stop> {
        let Settings { servers, timeout, .. } = &self.shared.settings;
        match self.shared.lock().failure(Clock::System.monotonic(), *timeout) {
            None => Ok(()),
            Some(why) => {
                Err(Stop::Error(KafkaError::retriable(format!("brokers {}: {why}", servers.join(",")))))
            }
        }
    }
}

impl Lane {
    /// A place with nothing in it.
    const fn none() -> Self {
        Self { part: None, version: 0, next: 0, paused: true }
    }

    /// Its partition, for messages.
    fn name(&self) -> Part {
        self.part.clone().unwrap_or_else(|| Part { topic: "".into(), partition: -1 })
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.close(Duration::ZERO);
    }
}

impl Open {
    /// Gives the pieces of the parcel.
    fn give(
        &mut self,
        lanes: &mut [Lane],
        unpacked: &mut Vec<u8>,
        how: How,
        take: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Stop> {
        let Self { parcel, piece: at, given, batch, aborted } = self;
        let (bytes, pieces) = (&parcel.buffer.bytes, &mut parcel.buffer.pieces);
        while let Some(piece) = pieces.get_mut(*at) {
            let index = piece.lane;
            // Its partition has gone elsewhere.
            let Some(lane) = lanes.get_mut(index).filter(|l| l.version == piece.version) else {
                (*at, *given, *batch) = (*at + 1, 0, None);
                aborted.clear();
                continue;
            };
            let records = bytes.get(piece.records.clone()).unwrap_or(&[]);
            loop {
                if let Some(Under { head, done, count }) = batch {
                    let packed = head.records(records.get(*given..).unwrap_or(&[]));
                    let all: &[u8] = if head.codec() == Some(Codec::None) { packed } else { unpacked };
                    let mut giving =
                        Giving { index, lane: &mut *lane, headers: how.headers, take: &mut *take };
                    if giving.records(head, all, done, count)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    lane.next = lane.next.max(head.last + 1);
                    *given += head.size;
                    *batch = None;
                }
                let rest = records.get(*given..).unwrap_or(&[]);
                let Look::Batch(head) = Batch::look(rest) else { break };
                if skipped(&head, rest, how.read_committed, &mut piece.aborted, aborted)
                    || head.last < lane.next
                {
                    lane.next = lane.next.max(head.last + 1);
                    *given += head.size;
                    continue;
                }
                match head.codec() {
                    Some(Codec::None) => {}
                    codec => codec
                        .ok_or_else(|| "packed in an unknown way".to_owned())
                        .and_then(|c| c.unpack(head.records(rest), unpacked).map_err(|e| e.to_string()))
                        .map_err(|why| unreadable(lane, &head, &why))?,
                }
                *batch = Some(Under { head, done: 0, count: 0 });
            }
            let (end, reached, trouble) = (piece.end, lane.next, piece.trouble.take());
            (*at, *given) = (*at + 1, 0);
            aborted.clear();
            // What is whole before it was given.
            if let Some(trouble) = trouble {
                return Err(match trouble {
                    Trouble::OutOfRange => Stop::OutOfRange(index),
                    Trouble::Unfit => Stop::Unfit(lane.name()),
                    Trouble::Fatal(why) => Stop::Error(KafkaError::fatal(format!("{}: {why}", lane.name()))),
                });
            }
            if (0..=reached).contains(&end) && take(Event::Reached { part: index, next: reached }).is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn unreadable(lane: &Lane, head: &Batch, why: &str) -> Stop {
    let what = format!("{}: the batch at offset {} can't be read: {why}", lane.name(), head.base);
    Stop::Error(KafkaError::fatal(what))
}

/// Whether a batch holds no messages for this reader: marks, and what was aborted, which the broker tells with what it sends
/// (KIP-98, "Discarding aborted transactions"). `told` are producers and first offsets of aborted transactions, `open` the producers in whose
/// aborted transaction this is.
fn skipped(
    head: &Batch,
    bytes: &[u8],
    read_committed: bool,
    told: &mut Vec<(i64, i64)>,
    open: &mut Vec<i64>,
) -> bool {
    if read_committed && head.producer >= 0 {
        told.retain(|(producer, first)| {
            let begun = *first <= head.last;
            if begun && !open.contains(producer) {
                open.push(*producer);
            }
            !begun
        });
        if head.is_abort(bytes) {
            open.retain(|p| *p != head.producer);
        } else if head.is_transactional() && open.contains(&head.producer) {
            return true;
        }
    }
    head.is_control()
}

/// Gives records of one partition.
struct Giving<'a, 'b> {
    index: usize,
    lane: &'a mut Lane,
    headers: bool,
    take: &'a mut (dyn FnMut(Event<'_>) -> ControlFlow<()> + 'b),
}

impl Giving<'_, '_> {
    /// Gives what is left of a batch.
    fn records(
        &mut self,
        head: &Batch,
        all: &[u8],
        done: &mut usize,
        count: &mut usize,
    ) -> Result<ControlFlow<()>, Stop> {
        while let Some((record, size)) =
            all.get(*done..).filter(|rest| !rest.is_empty()).and_then(Record::first)
        {
            (*done, *count) = (*done + size, *count + 1);
            let offset = head.base.saturating_add(record.offset_delta);
            if offset < self.lane.next || offset > head.last {
                continue;
            }
            self.lane.next = offset + 1;
            let headers = if self.headers { record.headers() } else { None };
            let message = Message {
                part: self.index,
                offset,
                timestamp: head.time(record.time_delta),
                key: record.key,
                value: record.value,
                headers: headers.map(|h| h as &dyn HeaderList),
            };
            if (self.take)(Event::Message(message)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if *done < all.len() {
            return Err(unreadable(self.lane, head, "a record that ends before its length"));
        }
        if *count != head.count {
            return Err(unreadable(self.lane, head, &format!("{count} records instead of {}", head.count)));
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests;
