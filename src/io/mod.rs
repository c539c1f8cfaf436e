//! The doors: how records get in and out.
//!
//! A [`DataSource`] / [`DataSink`] is a description that can be opened, again after a restart;
//! a [`DataReader`] / [`DataWriter`] is the open thing, used by one thread at a time.
//! This room knows no connector and no thread.

#[doc(hidden)]
pub mod contract;
mod coordinator;
mod error;
#[doc(hidden)]
pub mod faulty;
mod reader;
mod writer;

pub use coordinator::{Coordinator, Kept, LedSource, Membership, Seat};
pub use error::{IoError, IoErrorKind};
pub use reader::{Boundedness, DataReader, DataSource, Instance, Read, Scan, Shift, Slice, SystemColumns};
pub use writer::{BatchEncoder, CommitNeeds, DataSink, DataWriter, Refused, SinkStart, Transactions};
