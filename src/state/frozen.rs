//! A state that is taken down bit by bit while work goes on.
//!
//! At a barrier the tables of groups are only *frozen*: each knows from then on which of its groups are still to be taken down. One
//! that is about to change is taken down before ([`GroupTable`](super::GroupTable)); the others follow in slices. What was
//! taken down gathers here, in pieces, until somebody writes it away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Groups of one table, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Number of the operator, in the order of the checkpoint.
    pub operator: u32,
    /// Number of the table.
    pub table: u64,
    /// `entry*`, see the page of the checkpoint file.
    pub bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Every table is to be taken down as a whole.
    whole: bool,
    /// Number of the next table that is.
    next: AtomicU64,
    /// Tables with groups that are still to be taken down.
    open: AtomicUsize,
    pieces: Mutex<Vec<Piece>>,
    abandoned: AtomicBool,
}

/// The state of all tables at one barrier. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Frozen(Arc<Shared>);

impl Frozen {
    /// Nothing yet; tables that are taken down as a whole get numbers from `next` on. `whole`: that are all, else those of which little
    /// has changed give what has changed since the last barrier.
    pub fn new(next: u64, whole: bool) -> Self {
        Self(Arc::new(Shared { whole, next: AtomicU64::new(next.max(1)), ..Shared::default() }))
    }
    /// The number that the next table would get.
    pub fn next(&self) -> u64 {
        self.0.next.load(Ordering::Relaxed)
    }
    /// Whether everything has been taken down.
    pub fn is_complete(&self) -> bool {
        self.0.open.load(Ordering::Acquire) == 0
    }
    /// What has been taken down since this was asked last.
    pub fn take(&self) -> Vec<Piece> {
        std::mem::take(&mut *self.0.pieces.lock())
    }
    /// Nobody waits for it any more: a table that is forgotten need not give what it still had.
    pub fn abandon(&self) {
        self.0.abandoned.store(true, Ordering::Release);
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.0.abandoned.load(Ordering::Acquire)
    }
    pub(super) fn is_whole(&self) -> bool {
        self.0.whole
    }
    pub(super) fn number(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }
    pub(super) fn begin(&self) {
        self.0.open.fetch_add(1, Ordering::AcqRel);
    }
    pub(super) fn end(&self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
    pub(super) fn put(&self, piece: Piece) {
        self.0.pieces.lock().push(piece);
    }
}
