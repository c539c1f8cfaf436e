//! State that outlives a batch: contracts, snapshots, and the files that hold them. Pure but for the files.

mod chain;
mod checkpoint;
mod codec;
mod dir;
mod frozen;
mod index;
mod keyed;
mod manifest;
mod medium;
mod places;
mod runs;
mod segments;
#[cfg_attr(not(feature = "disk-state"), path = "no_store.rs")]
mod store;
#[cfg(test)]
pub(crate) mod test_files;
mod values;

pub use chain::{Chain, complete_chain};
pub use checkpoint::{
    Checkpoint, CheckpointWriter, FileId, InputState, OperatorState, SourceState, TableState,
};
pub use codec::{StateError, StateReader, StateWriter};
pub use dir::{Saved, Snapshot, StateDir, StateDirError, checkpoint_files, read_alone, read_checkpoint};
pub use frozen::{Frozen, Piece};
pub use keyed::{
    GroupHead, GroupMut, GroupTable, KEY_GROUPS, NO_SLOT, WORDS, Widths, Words, each_group, keep_others,
    key_group, read_groups, shard_of, write_groups,
};
pub use manifest::{Commit, Committed, Manifest, scan};
pub use medium::{Disk, Medium, MediumFile, RandomFile, create_dir_durably};
pub use places::{Places, read_places};
pub use runs::{Runs, Sorted};
pub use store::{Space, Store, inspect_store};

/// What an operator promises about its state; EXPLAIN prints it before the job starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateContract {
    /// Keeps nothing between batches.
    Stateless,
    /// Keeps a fixed amount, e.g. one counter.
    Constant {
        /// What it is, e.g. `"rows taken so far"`.
        what: &'static str,
        /// Upper bound in bytes.
        bytes: usize,
    },
    /// Keeps what depends on the data.
    Kept {
        /// What it is, e.g. `"the first 3 rows of each partition"`.
        what: String,
        /// For how long, e.g. `"for the job's life"`.
        until: &'static str,
    },
}

/// Asks for the cache line in which a value begins, and does not wait for it.
#[inline]
fn prefetch<T>(value: &T) {
    mem_prefetch::prefetch_read_data::<T, 3>(value);
}

impl StateContract {
    /// Whether a restart needs this state to give the right result.
    pub fn is_stateful(&self) -> bool {
        !matches!(self, StateContract::Stateless)
    }
}
