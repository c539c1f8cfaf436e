//! Fourteen bugs on purpose, for the test that shows that the tests find them. Not in any build but one with `--cfg seeded_bugs`.

use std::cell::Cell;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A checkpoint with the new positions is written before the sinks are asked to make their output durable.
    CommitBeforeFlush,
    /// An epoch is committed while its snapshot is still being written.
    CommitBeforeDurable,
    /// Sources are told of a commit before the checkpoint is written.
    SnapshotAfterCommit,
    /// A checkpoint's name is not made durable.
    NoDirectorySync,
    /// A batch for a sink that has one waiting is dropped, and counted as written.
    DropOnFullQueue,
    /// After a panic everything read so far is committed.
    CommitAfterPanic,
    /// An error of a sink is taken for success.
    IgnoredDeliveryError,
    /// A source goes on one record behind its position.
    OffByOnePosition,
    /// The watermark follows the last record, also backwards.
    WatermarkGoingBack,
    /// The dead letter queue is not asked to make its letters durable.
    LostDeadLetter,
    /// Checksums are not compared.
    NoChecksum,
    /// Positions follow in a transaction of their own.
    PositionsBehindTransaction,
    /// A commit whose result is not known is taken for one.
    IndefiniteIsCommitted,
    /// The MANIFEST notes a commit before another system has decided for it.
    NotedBeforeDecided,
}

/// All of them.
pub const ALL: [Bug; 14] = [
    Bug::CommitBeforeFlush,
    Bug::CommitBeforeDurable,
    Bug::SnapshotAfterCommit,
    Bug::NoDirectorySync,
    Bug::DropOnFullQueue,
    Bug::CommitAfterPanic,
    Bug::IgnoredDeliveryError,
    Bug::OffByOnePosition,
    Bug::WatermarkGoingBack,
    Bug::LostDeadLetter,
    Bug::NoChecksum,
    Bug::PositionsBehindTransaction,
    Bug::IndefiniteIsCommitted,
    Bug::NotedBeforeDecided,
];

thread_local! {
    static NOW: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Switches a bug on for this thread.
pub fn set(bug: Option<Bug>) {
    NOW.set(bug);
}

/// Whether the bug is on.
pub fn is(bug: Bug) -> bool {
    NOW.get() == Some(bug)
}

/// Whether any is on.
pub fn any() -> bool {
    NOW.get().is_some()
}
