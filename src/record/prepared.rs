//! What is done to a batch by whoever decoded it, before it is handed on: its first operator's work, and the sink's encoding.
//!
//! A helper that decodes part of a file has the records in its core's caches. What it does there need not be done where they would
//! have to be fetched first. Nothing is settled ahead: counts and failed records travel with the batch as its [`Books`] until the
//! operator whose work it was takes them over, in its turn.

use std::sync::Arc;

use super::{Batch, RecordError, StreamRecord};

/// Makes those who work ahead: one for each decoder.
pub trait Prepare: Send + Sync {
    /// One of them.
    fn preparer(&self) -> Box<dyn Preparer>;
}

impl std::fmt::Debug for dyn Prepare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prepare")
    }
}

/// Works on decoded batches, on any thread. Stateless: what it does to a record depends on that record alone.
pub trait Preparer: Send {
    /// Changes the batch, and notes in `books` what its operator would have counted.
    fn prepare(&mut self, batch: &mut Batch, books: &mut Books);
}

/// What became of the records of a batch that was worked on ahead.
#[derive(Debug, Default)]
pub struct Books {
    /// Records before.
    pub came: usize,
    /// Payload bytes before.
    pub bytes: usize,
    /// Records that a WHERE dropped.
    pub filtered: u64,
    /// Records that failed, in order.
    pub rejects: Vec<(Arc<StreamRecord>, RecordError)>,
    /// The live records as the sink writes them, if `is_encoded`.
    pub encoded: Vec<u8>,
    /// Whether `encoded` holds exactly the live records.
    pub is_encoded: bool,
    /// Nobody has taken the counts over yet.
    pub(super) open: bool,
}

impl Books {
    /// Ready for the next batch; buffers stay.
    pub(super) fn begin(&mut self, came: usize, bytes: usize) {
        (self.came, self.bytes, self.filtered) = (came, bytes, 0);
        self.rejects.clear();
        self.encoded.clear();
        (self.is_encoded, self.open) = (false, true);
    }
    /// The batch is spent.
    pub(super) fn close(&mut self) {
        self.rejects.clear();
        (self.is_encoded, self.open) = (false, false);
    }
}
