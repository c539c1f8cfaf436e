//! A channel between two threads, bounded in batches and in bytes.
//!
//! Protocol: the sender counts a message's bytes *before* it sends, the receiver gives them back when it takes the
//! message. A sender that finds the edge full (and not empty of bytes) raises `waiting`, looks again under the lock, and waits
//! on the condition; a receiver that sees `waiting` takes the lock before it notifies, so a wake-up can't fall between the
//! look and the wait. Either end notices that the other is gone: receivers because the channel disconnects, senders
//! because `gone` is raised by the receiver's drop. No wait is longer than [`TICK`] without a look at the cancel flag.
//!
//! Waking a thread costs more than handing over a batch of a few records. Where such batches follow each other faster than threads
//! are woken, either end sleeps for a [`NAP`] instead of asking to be woken, and then finds many.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, bounded};
use parking_lot::{Condvar, Mutex};

use super::message::Message;

/// An edge that holds so many messages is made for small ones.
const MANY: usize = 64;
/// Longest uninterrupted wait.
pub(super) const TICK: Duration = Duration::from_millis(50);
/// Sleep of an end that will not be woken: what a wake-up of a thread takes, or little more.
const NAP: Duration = Duration::from_micros(50);
/// Messages that come closer together than this are worth a nap.
const DENSE: Duration = Duration::from_micros(6);

#[derive(Debug)]
struct Credits {
    used: AtomicUsize,
    limit: usize,
    waiting: AtomicBool,
    gone: AtomicBool,
    lock: Mutex<()>,
    room: Condvar,
}

/// The upper end.
#[derive(Debug)]
pub(super) struct EdgeSender {
    channel: Sender<Message>,
    credits: Arc<Credits>,
}

/// The lower end.
#[derive(Debug)]
pub(super) struct EdgeReceiver {
    channel: Receiver<Message>,
    credits: Arc<Credits>,
    /// Messages taken since the last wait began.
    taken: Cell<u32>,
    /// When the last wait began.
    waited: Cell<Instant>,
}

/// The other end is gone, or the job was cancelled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed;

/// Makes an edge that holds at most `batches` messages and `bytes` payload bytes; one message over the limit passes an empty edge.
pub(super) fn edge(batches: usize, bytes: usize) -> (EdgeSender, EdgeReceiver) {
    let (tx, rx) = bounded(batches.max(1));
    let credits = Arc::new(Credits {
        used: AtomicUsize::new(0),
        limit: bytes,
        waiting: AtomicBool::new(false),
        gone: AtomicBool::new(false),
        lock: Mutex::new(()),
        room: Condvar::new(),
    });
    let sender = EdgeSender { channel: tx, credits: credits.clone() };
    (sender, EdgeReceiver { channel: rx, credits, taken: Cell::new(0), waited: Cell::new(Instant::now()) })
}

impl EdgeSender {
    /// Sends, waiting for room. Returns whether it had to wait. `tick` is called about every [`TICK`] of waiting with the
    /// time waited so far; `false` gives up.
    pub(super) fn send(
        &self,
        message: Message,
        mut tick: impl FnMut(Duration) -> bool,
    ) -> Result<bool, Closed> {
        let bytes = message.bytes();
        let mut waited = None;
        if bytes > 0 && !self.credits.fits(bytes) {
            let start = Instant::now();
            while !self.credits.wait(bytes) {
                if self.credits.gone.load(Ordering::Acquire) || !tick(start.elapsed()) {
                    return Err(Closed);
                }
            }
            waited = Some(start);
        }
        self.credits.used.fetch_add(bytes, Ordering::AcqRel);
        let mut message = match self.channel.try_send(message) {
            Ok(()) => return Ok(waited.is_some()),
            Err(crossbeam_channel::TrySendError::Disconnected(_)) => return Err(Closed),
            Err(crossbeam_channel::TrySendError::Full(m)) => m,
        };
        let start = waited.unwrap_or_else(Instant::now);
        if self.channel.capacity().is_some_and(|n| n >= MANY) {
            // A full edge of small batches: being woken for the first that is taken would be far too often.
            std::thread::park_timeout(NAP);
        }
        loop {
            message = match self.channel.send_timeout(message, TICK) {
                Ok(()) => return Ok(true),
                Err(SendTimeoutError::Disconnected(_)) => return Err(Closed),
                Err(SendTimeoutError::Timeout(m)) => m,
            };
            if !tick(start.elapsed()) {
                return Err(Closed);
            }
        }
    }
    /// Whether the receiver has nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.channel.is_empty()
    }
}

impl Credits {
    fn fits(&self, bytes: usize) -> bool {
        let used = self.used.load(Ordering::Acquire);
        used == 0 || used + bytes <= self.limit
    }
    /// Waits for room, at most a tick; says whether there is some.
    fn wait(&self, bytes: usize) -> bool {
        let mut guard = self.lock.lock();
        self.waiting.store(true, Ordering::SeqCst);
        if !self.fits(bytes) && !self.gone.load(Ordering::SeqCst) {
            self.room.wait_for(&mut guard, TICK);
        }
        self.waiting.store(false, Ordering::SeqCst);
        self.fits(bytes)
    }
    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) {
            let _guard = self.lock.lock();
            self.room.notify_all();
        }
    }
}

impl EdgeReceiver {
    fn took(&self, message: Message) -> Message {
        self.taken.set(self.taken.get().saturating_add(1));
        let bytes = message.bytes();
        if bytes > 0 {
            self.credits.give_back(bytes);
        }
        message
    }
    /// What is there now.
    pub(super) fn try_recv(&self) -> Result<Option<Message>, Closed> {
        match self.channel.try_recv() {
            Ok(m) => Ok(Some(self.took(m))),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Closed),
        }
    }
    /// What comes within `wait`.
    pub(super) fn recv(&self, wait: Duration) -> Result<Option<Message>, Closed> {
        if self.is_dense() && wait > NAP {
            std::thread::park_timeout(NAP);
            if let Some(message) = self.try_recv()? {
                return Ok(Some(message));
            }
        }
        match self.channel.recv_timeout(wait) {
            Ok(m) => Ok(Some(self.took(m))),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Closed),
        }
    }
    /// Whether messages came so close together since the last wait that the next ones are worth a nap.
    fn is_dense(&self) -> bool {
        let (now, taken) = (Instant::now(), self.taken.replace(0));
        let since = now.saturating_duration_since(self.waited.replace(now));
        taken > 0 && since < DENSE * taken
    }
    /// The channel itself, to wait on several.
    pub(super) fn channel(&self) -> &Receiver<Message> {
        &self.channel
    }
}

impl Drop for EdgeReceiver {
    fn drop(&mut self) {
        self.credits.gone.store(true, Ordering::SeqCst);
        let _guard = self.credits.lock.lock();
        self.credits.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::message::Parcel;
    use crate::record::Batch;

    fn parcel(bytes: usize) -> Message {
        let mut b = Batch::default();
        b.set_bytes(bytes);
        Message::Parcel(Parcel::Own(b))
    }

    #[test]
    fn bytes_bound_the_edge_control_messages_pass_and_one_big_batch_passes_an_empty_edge() {
        let (tx, rx) = edge(8, 100);
        assert!(tx.send(parcel(500), |_| false).is_ok());
        assert_eq!(tx.send(parcel(1), |_| false), Err(Closed));
        assert!(tx.send(Message::Detach, |_| false).is_ok());
        assert!(matches!(rx.try_recv(), Ok(Some(Message::Parcel(_)))));
        assert!(tx.send(parcel(60), |_| false).is_ok());
        assert_eq!(tx.send(parcel(60), |_| false), Err(Closed));
    }

    #[test]
    fn a_blocked_sender_wakes_when_room_is_made_and_when_the_receiver_dies() {
        let (tx, rx) = edge(8, 100);
        tx.send(parcel(80), |_| false).unwrap();
        let (ready, go) = std::sync::mpsc::channel();
        let sender = std::thread::spawn(move || {
            ready.send(()).unwrap();
            let first = tx.send(parcel(80), |_| true);
            let second = tx.send(parcel(80), |_| true);
            (first.is_ok(), second)
        });
        go.recv().unwrap();
        assert!(matches!(rx.recv(Duration::from_secs(5)), Ok(Some(_))));
        assert!(matches!(rx.recv(Duration::from_secs(5)), Ok(Some(_))));
        drop(rx);
        let (first, second) = sender.join().unwrap();
        assert!(first);
        // The second either entered the emptied edge before the receiver died or found it gone.
        assert!(second.is_ok() || second == Err(Closed));
    }
}
