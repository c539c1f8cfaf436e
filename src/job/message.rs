//! What travels in band between stages: `(Batch | Letters | Shift | Barrier)* (End | Detach)`.

use std::sync::Arc;

use super::DeadLetter;
use crate::io::Shift;
use crate::record::{Batch, Position};

/// A batch that has one reader, or several.
#[derive(Debug)]
pub(super) enum Parcel {
    Own(Batch),
    Shared(Arc<Batch>),
}

impl Parcel {
    pub(super) fn batch(&self) -> &Batch {
        match self {
            Parcel::Own(b) => b,
            Parcel::Shared(b) => b,
        }
    }
}

/// One message of an edge.
#[derive(Debug)]
pub(super) enum Message {
    /// Records.
    Parcel(Parcel),
    /// Records that the source stage could not decode, for the dead letter queue.
    Letters(Vec<DeadLetter>),
    /// A part of the source comes or goes.
    Shift(Shift),
    /// Everything before it belongs to `epoch`; from a source, with the position behind it.
    /// `count`: records sent on this edge so far.
    Barrier { epoch: u64, position: Position, count: u64 },
    /// `epoch` is committed: show its output.
    Publish { epoch: u64 },
    /// The sender has no more and keeps nothing.
    End { position: Position },
    /// The sender's stage goes back to the processor's thread.
    Detach,
}

impl Message {
    /// Payload bytes for the edge's credits; control messages are never held back.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Message::Parcel(p) => p.batch().bytes().max(1),
            Message::Letters(l) => l.iter().map(|l| l.raw.len() + 200).sum(),
            _ => 0,
        }
    }
}
