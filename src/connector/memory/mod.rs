//! Records from and to the program itself: vectors, iterators, channels, and readers and writers of its own.
//!
//! Nothing here is encoded or decoded. What a channel carries is bounded, so that a slow side holds up the other.

mod once;
mod sink;
mod source;

pub use once::{OnceSink, OnceSource};
pub use sink::{ChannelSink, Collected, MemorySink, Rows, RowsCloser};
pub use source::{MemorySender, MemorySource, SendError};
