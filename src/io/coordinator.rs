//! Whoever decides for a whole job whether an epoch counts, in place of the MANIFEST: a system with transactions of its own that
//! sinks of the job write to.

use std::any::Any;
use std::sync::Arc;

use super::IoError;
use crate::record::Position;

/// What a connector's own source and coordinator know of a place in a group that others share.
pub type Seat = Arc<dyn Any + Send + Sync>;

/// How a source's positions can stand in the transactions of the place that it reads from.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Where it reads, in the words of [`DataSink::cluster`](super::DataSink::cluster).
    pub cluster: String,
    /// Under which name its positions are kept there, if the user gave one.
    pub group: Option<String>,
    /// Of a source that shares its group with other instances.
    pub seat: Option<Seat>,
}

/// A source as a coordinator has to know it.
#[derive(Clone, Debug)]
pub struct LedSource {
    /// Its name in the job.
    pub name: String,
    /// `None`: its positions are strangers to the coordinator's place.
    pub membership: Option<Membership>,
    /// Where it begins, with all its parts.
    pub start: Position,
}

/// The state of a part of a source, as of a barrier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub part: i32,
    /// A checkpoint file.
    pub file: Vec<u8>,
    /// It needs none of those before it.
    pub whole: bool,
}

/// Decides for a job.
///
/// The order is: every output is durable and not visible yet → the snapshot is durable → [`commit`](Self::commit), *the commit point* →
/// the MANIFEST takes a note of it → staged files get their names. A restart asks [`take_over`](Self::take_over) which epoch
/// counts, so a crash between any two of these does no harm.
pub trait Coordinator: Any + Send {
    /// Says which epoch was committed last, and gets to know the sources; `None`: none is known. Nothing of a predecessor is
    /// undecided any more since this coordinator was [made](super::DataSink::lead).
    ///
    /// # Errors
    /// The other side does not answer, or what it holds can't be read.
    fn take_over(&mut self, sources: &[LedSource]) -> Result<Option<u64>, IoError>;

    /// Whether the positions of the snapshot of that epoch are those that were committed with it.
    ///
    /// # Errors
    /// They are not: says which.
    fn agrees(&self, positions: &[(&str, &Position)]) -> Result<(), IoError>;

    /// Commits what the sinks have prepared, and the positions of the sources, in the order of `take_over`. When this returns, the
    /// epoch counts.
    ///
    /// # Errors
    /// It does not count, or whether it does is found out by the next `take_over`.
    fn commit(&mut self, epoch: u64, positions: &[Position]) -> Result<(), IoError>;

    /// The job has failed and its threads have ended: what is not committed is thrown away.
    ///
    /// # Errors
    /// [`Fenced`](super::IoErrorKind::Fenced): somebody else has taken over meanwhile, and it would be wrong to begin again.
    fn give_up(&mut self) -> Result<(), IoError> {
        Ok(())
    }

    /// Takes the state of parts of the source for the [`commit`](Self::commit) that follows: who has a part next gets it back
    /// ([`Shift::Gained`](super::Shift)).
    ///
    /// # Errors
    /// It has no place for them.
    fn keep(&mut self, kept: Vec<Kept>) -> Result<(), IoError> {
        match kept.is_empty() {
            true => Ok(()),
            false => Err(IoError::unsupported("there is no place for state that moves between instances")),
        }
    }
}
