//! What the owner of a source and its brokers' threads know together: partitions, who leads them, from where they are fetched, and which
//! buffers are free.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::broker;
use super::protocol::{Leaders, code};
use crate::connector::kafka::client::Part;
use crate::record::Clock;

/// How long it takes at least until leaders are looked for again; twice that the next time, …
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// … so many times.
const DOUBLINGS: u32 = 4;
/// How long a topic may be unknown to a broker, as one is that was made a moment ago.
const PROPAGATION: Duration = Duration::from_secs(10);
/// More brokers than anybody has.
const BROKERS: usize = 1000;
/// Answers of a broker that are under way at the same time: one is fetched, one waits, one is read.
pub(super) const BUFFERS: usize = 3;

/// A partition as it is fetched: a place that may be another partition's later.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// `None`: nothing is assigned.
    pub(super) part: Option<Part>,
    /// What was fetched under another number is outdated.
    pub(super) version: u64,
    /// The offset to fetch next.
    pub(super) next: i64,
    /// The broker that leads it, among those known.
    pub(super) leader: Option<usize>,
    /// Not paused, and nothing wrong with it.
    pub(super) active: bool,
    /// The end that was told last; `None`: none under this version.
    pub(super) told: Option<i64>,
    /// Since when brokers do not know it.
    unknown: Option<Duration>,
    /// Since when nothing can be fetched of it, and why.
    pub(super) failing: Option<(Duration, String)>,
}

/// A broker that leads something, or did.
#[derive(Debug)]
struct Known {
    id: i32,
    address: String,
    free: Vec<Buffer>,
    /// For hanging up.
    stream: Option<TcpStream>,
}

/// What came of a partition, in a buffer.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) lane: usize,
    pub(super) version: u64,
    /// Where its batches stand.
    pub(super) records: Range<usize>,
    /// Where the partition ended.
    pub(super) end: i64,
    pub(super) aborted: Vec<(i64, i64)>,
    pub(super) trouble: Option<Trouble>,
}

/// Why nothing more comes of a partition until it is told where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The offset is not there.
    OutOfRange,
    /// Something that is not read here: formats from before 0.11.
    Unfit,
    /// No retry helps.
    Fatal(String),
}

/// An answer of a broker.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) bytes: Vec<u8>,
    pub(super) pieces: Vec<Piece>,
}

/// A buffer on its way to the owner, and the broker that it belongs to.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) buffer: Buffer,
    pub(super) broker: usize,
}

/// What never changes.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) servers: Vec<String>,
    pub(super) timeout: Duration,
    pub(super) wait_millis: i32,
    pub(super) prefetch_bytes: usize,
    pub(super) read_committed: bool,
    pub(super) client_id: String,
}

#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) lanes: Vec<Lane>,
    brokers: Vec<Known>,
    /// Threads that have not ended.
    running: usize,
    over: bool,
    /// Leaders are not looked for before, on the monotonic clock.
    look_at: Duration,
    /// How often they were looked for since the last answer of a leader.
    looks: u32,
    /// Why no broker can be reached.
    pub(super) down: Option<String>,
}

pub(super) struct Shared {
    pub(super) settings: Settings,
    board: Mutex<Board>,
    changed: Condvar,
    parcels: Sender<Parcel>,
}

/// What a broker's thread does next.
pub(super) enum Task {
    /// Fetch what is asked for into the buffer.
    Fetch(Buffer),
    /// Look who leads the partitions that have no leader.
    Look,
    Over,
}

/// A partition in a request: its index, version and offset.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) lane: usize,
    pub(super) version: u64,
    pub(super) part: Part,
    pub(super) from: i64,
    /// Its end is known to the owner.
    pub(super) told: Option<i64>,
    /// Something came of it in the last answer.
    pub(super) came: bool,
}

impl Shared {
    pub(super) fn new(settings: Settings, parts: &[(Part, i64)], parcels: Sender<Parcel>) -> Self {
        let lane = |(part, next): &(Part, i64)| Lane {
            part: Some(part.clone()),
            next: *next,
            active: true,
            ..Lane::default()
        };
        let board = Board { lanes: parts.iter().map(lane).collect(), ..Board::default() };
        Self { settings, board: Mutex::new(board), changed: Condvar::new(), parcels }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock()
    }

    /// Changes what is fetched of a partition: what was fetched before is outdated.
    pub(super) fn change(&self, lane: usize, active: bool, next: i64) -> Option<u64> {
        let mut board = self.board.lock();
        let lane = board.lanes.get_mut(lane).filter(|l| l.part.is_some())?;
        lane.version += 1;
        (lane.active, lane.next, lane.told, lane.unknown) = (active, next, None, None);
        lane.failing = None;
        let version = lane.version;
        drop(board);
        self.changed.notify_all();
        Some(version)
    }

    /// Puts another partition into a place, or none: what was fetched before is outdated, and the leader is looked for anew.
    pub(super) fn put(&self, at: usize, new: Option<(Part, i64)>) -> u64 {
        let mut board = self.board.lock();
        if board.lanes.len() <= at {
            board.lanes.resize_with(at + 1, Lane::default);
        }
        let Some(lane) = board.lanes.get_mut(at) else { return 0 };
        let version = lane.version + 1;
        let (active, next) = (new.is_some(), new.as_ref().map_or(0, |(_, next)| *next));
        *lane = Lane { part: new.map(|(part, _)| part), version, next, active, ..Lane::default() };
        if active {
            // Its leader is looked for at once, however long others were looked for in vain.
            (board.looks, board.look_at) = (0, Duration::ZERO);
        }
        drop(board);
        self.changed.notify_all();
        version
    }

    /// Whether leaders may be looked for now; if so, nobody else does for a while.
    pub(super) fn may_look(&self) -> bool {
        let (mut board, now) = (self.board.lock(), Clock::System.monotonic());
        let may = now >= board.look_at;
        if may {
            board.look_at = now + LOOK_AGAIN;
        }
        may
    }

    /// Whether there is a thread; it looks for all other leaders.
    pub(super) fn is_served(&self) -> bool {
        !self.board.lock().brokers.is_empty()
    }

    /// Takes a buffer back.
    pub(super) fn give_back(&self, parcel: Parcel) {
        let Parcel { mut buffer, broker } = parcel;
        buffer.pieces.clear();
        buffer.bytes.clear();
        let mut board = self.board.lock();
        // One batch may have been much larger than the others, or there were fewer brokers.
        if buffer.bytes.capacity() > 2 * buffer_bytes(self.settings.prefetch_bytes, board.brokers.len()) {
            buffer.bytes = Vec::new();
        }
        if let Some(known) = board.brokers.get_mut(broker) {
            known.free.push(buffer);
        }
        drop(board);
        self.changed.notify_all();
    }

    /// Lets everybody look whether there is something to do.
    pub(super) fn wake(&self) {
        self.changed.notify_all();
    }

    pub(super) fn is_over(&self) -> bool {
        self.board.lock().over
    }

    /// Waits, unless everything is over.
    pub(super) fn rest(&self, wait: Duration) {
        let until = Clock::System.monotonic() + wait;
        let mut board = self.board.lock();
        while !board.over {
            let left = until.saturating_sub(Clock::System.monotonic());
            if left.is_zero() {
                return;
            }
            self.changed.wait_for(&mut board, left);
        }
    }

    /// Waits for something to do. What is asked of the broker comes in `asked`, in the order of the last time; those of which something
    /// came are last then.
    pub(super) fn next(&self, broker: usize, asked: &mut Vec<Asked>) -> (Task, usize) {
        let mut board = self.board.lock();
        loop {
            if board.over {
                return (Task::Over, 0);
            }
            let now = Clock::System.monotonic();
            let lost = board.lanes.iter().any(|l| l.active && l.leader.is_none());
            if lost && now >= board.look_at {
                board.look_at = now + LOOK_AGAIN * 2_u32.pow(board.looks.min(DOUBLINGS));
                board.looks += 1;
                return (Task::Look, 0);
            }
            board.want(broker, asked);
            let brokers = board.brokers.len();
            let free = board.brokers.get_mut(broker).filter(|_| !asked.is_empty()).and_then(|b| b.free.pop());
            if let Some(buffer) = free {
                return (Task::Fetch(buffer), buffer_bytes(self.settings.prefetch_bytes, brokers));
            }
            match lost {
                true => {
                    let wait = board.look_at.saturating_sub(now).max(Duration::from_millis(1));
                    self.changed.wait_for(&mut board, wait);
                }
                false => self.changed.wait(&mut board),
            }
        }
    }

    /// Who is asked for leaders: the brokers that are known, then those of the settings.
    pub(super) fn addresses(&self) -> Vec<String> {
        let board = self.board.lock();
        let mut all: Vec<String> = board.brokers.iter().map(|b| b.address.clone()).collect();
        for server in &self.settings.servers {
            if !all.contains(server) {
                all.push(server.clone());
            }
        }
        all
    }

    pub(super) fn topics(&self) -> Vec<Arc<str>> {
        let board = self.board.lock();
        let mut topics: Vec<Arc<str>> =
            board.lanes.iter().filter_map(|l| Some(l.part.as_ref()?.topic.clone())).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// Takes what a broker said of leaders; those that lead something and have no thread get one.
    pub(super) fn led(self: &Arc<Self>, leaders: &Leaders) -> io::Result<()> {
        let mut board = self.board.lock();
        board.down = None;
        let now = Clock::System.monotonic();
        let (mut parcel, mut failed) = (None, None);
        for at in 0..board.lanes.len() {
            let Some(lane) = board.lanes.get(at).filter(|l| l.leader.is_none()) else { continue };
            let Some(part) = &lane.part else { continue };
            let topic = leaders.topics.iter().find(|t| *t.name == *part.topic);
            let partition = topic.and_then(|t| t.partitions.iter().find(|(n, _)| *n == part.partition));
            let error = match (topic.map(|t| t.error), partition) {
                (Some(code::NONE), Some((_, leader))) => {
                    let found = leaders.brokers.iter().find(|(id, _)| id == leader);
                    let found = found.map(|(id, address)| self.known(&mut board, *id, address));
                    let leader = found.transpose().unwrap_or_else(|e| {
                        failed = Some(e);
                        None
                    });
                    if let Some(lane) = board.lanes.get_mut(at) {
                        (lane.leader, lane.unknown) = (leader, None);
                    }
                    continue;
                }
                (Some(code::NONE) | None, _) => code::UNKNOWN_TOPIC_OR_PARTITION,
                (Some(error), _) => error,
            };
            let Some(lane) = board.lanes.get_mut(at).filter(|l| l.active) else { continue };
            if error == code::UNKNOWN_TOPIC_OR_PARTITION {
                let since = *lane.unknown.get_or_insert(now);
                if now.saturating_sub(since) < PROPAGATION {
                    continue;
                }
            } else if !code::FATAL.contains(&error) {
                lane.unknown = None;
                lane.fail(now, &super::protocol::meaning(error));
                continue;
            }
            lane.active = false;
            let piece = lane.in_trouble(at, Trouble::Fatal(super::protocol::meaning(error)));
            parcel.get_or_insert_with(Buffer::default).pieces.push(piece);
        }
        if let Some((id, address)) = leaders.brokers.first().filter(|_| board.brokers.is_empty()) {
            // Somebody has to look for the others.
            failed = self.known(&mut board, *id, address).err().or(failed);
        }
        drop(board);
        if let Some(buffer) = parcel {
            // It belongs to nobody.
            self.send(Parcel { buffer, broker: usize::MAX });
        }
        self.changed.notify_all();
        failed.map_or(Ok(()), Err)
    }

    /// The place of a broker, which has a thread.
    fn known(self: &Arc<Self>, board: &mut Board, id: i32, address: &str) -> io::Result<usize> {
        if let Some(at) = board.brokers.iter().position(|b| b.id == id) {
            if let Some(known) = board.brokers.get_mut(at) {
                address.clone_into(&mut known.address);
            }
            return Ok(at);
        }
        let at = board.brokers.len();
        if at >= BROKERS {
            return Err(io::Error::other("more brokers than anybody has"));
        }
        let shared = self.clone();
        let run = move || broker::run(&shared, at);
        std::thread::Builder::new().name("ms-kafka-fetch".into()).spawn(run)?;
        board.running += 1;
        let free = (0..BUFFERS).map(|_| Buffer::default()).collect();
        board.brokers.push(Known { id, address: address.to_owned(), free, stream: None });
        Ok(at)
    }

    /// Where a broker is.
    pub(super) fn address(&self, broker: usize) -> String {
        self.board.lock().brokers.get(broker).map_or_else(String::new, |b| b.address.clone())
    }

    /// A broker's connection, so that closing can hang up. False: everything is over.
    pub(super) fn connected(&self, broker: usize, stream: &TcpStream) -> bool {
        let mut board = self.board.lock();
        if let Some(known) = board.brokers.get_mut(broker) {
            known.stream = stream.try_clone().ok();
        }
        !board.over
    }

    /// A broker can't be reached, or does not answer: others may lead its partitions by now.
    pub(super) fn lost(&self, broker: usize, why: &str) {
        let mut board = self.board.lock();
        if let Some(known) = board.brokers.get_mut(broker) {
            known.stream = None;
        }
        let now = Clock::System.monotonic();
        board.look_at = board.look_at.max(now + LOOK_AGAIN);
        for lane in board.lanes.iter_mut().filter(|l| l.leader == Some(broker)) {
            lane.leader = None;
            lane.fail(now, why);
        }
        drop(board);
        self.changed.notify_all();
    }

    pub(super) fn send(&self, parcel: Parcel) {
        // An owner that is gone wants nothing.
        let _ = self.parcels.send(parcel);
    }

    /// The calling thread ends when this is dropped.
    pub(super) fn running(&self) -> Running<'_> {
        Running(self)
    }

    /// Ends all threads; waits for that until the deadline, which one that is connecting may outlast.
    pub(super) fn end(&self, deadline: Duration) {
        let mut board = self.board.lock();
        board.over = true;
        for known in &board.brokers {
            if let Some(stream) = &known.stream {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.changed.notify_all();
        let until = Clock::System.monotonic() + deadline;
        while board.running > 0 {
            let left = until.saturating_sub(Clock::System.monotonic());
            if left.is_zero() {
                log::debug!("{} threads that fetch from Kafka are left behind", board.running);
                return;
            }
            self.changed.wait_for(&mut board, left);
        }
    }
}

/// A thread that runs.
pub(super) struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.board.lock().running -= 1;
        self.0.changed.notify_all();
    }
}

/// How large an answer may be: each broker has its buffers, and all of them share the prefetch.
fn buffer_bytes(prefetch: usize, brokers: usize) -> usize {
    (prefetch / (BUFFERS * brokers.max(1))).clamp(64 << 10, 4 << 20)
}

impl Board {
    /// The partitions that a broker leads and that are to be fetched: in the order of `asked`, then the others.
    fn want(&self, broker: usize, asked: &mut Vec<Asked>) {
        let wanted = |l: &&Lane| l.active && l.leader == Some(broker);
        asked.retain_mut(|a| match self.lanes.get(a.lane).filter(wanted) {
            Some(lane) => {
                // Its place may be another one's by now.
                if a.version != lane.version
                    && let Some(part) = &lane.part
                {
                    a.part.clone_from(part);
                }
                (a.version, a.from, a.told) = (lane.version, lane.next, lane.told);
                true
            }
            None => false,
        });
        if asked.len() == self.lanes.len() {
            return;
        }
        for (i, lane) in self.lanes.iter().enumerate().filter(|(_, l)| wanted(l)) {
            if let Some(part) = &lane.part
                && !asked.iter().any(|a| a.lane == i)
            {
                let (part, version, from, told) = (part.clone(), lane.version, lane.next, lane.told);
                asked.push(Asked { lane: i, version, part, from, told, came: false });
            }
        }
    }

    /// A leader has answered.
    pub(super) fn answered(&mut self) {
        (self.looks, self.down) = (0, None);
    }

    /// Why nothing comes, if that has lasted.
    pub(super) fn failure(&self, now: Duration, patience: Duration) -> Option<String> {
        let mut active = self.lanes.iter().filter(|l| l.active);
        if let Some(why) = self.down.as_ref().filter(|_| active.clone().any(|l| l.leader.is_none())) {
            return Some(format!("no broker can be reached: {why}"));
        }
        active.find_map(|l| {
            let (since, why) = l.failing.as_ref()?;
            let part = l.part.as_ref()?;
            (now.saturating_sub(*since) > patience).then(|| format!("nothing comes of {part}: {why}"))
        })
    }
}

impl Lane {
    /// Nothing can be fetched of it for the moment.
    pub(super) fn fail(&mut self, now: Duration, why: &str) {
        self.failing.get_or_insert_with(|| (now, why.to_owned()));
    }

    pub(super) fn in_trouble(&self, at: usize, trouble: Trouble) -> Piece {
        Piece {
            lane: at,
            version: self.version,
            records: 0..0,
            end: -1,
            aborted: Vec::new(),
            trouble: Some(trouble),
        }
    }
}
