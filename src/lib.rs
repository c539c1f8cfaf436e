//! Streaming SQL for synchronous Rust: threads, bounded channels and shared records, no async runtime.
//!
//! Start at [`Engine`]: [`Engine::sql`] prepares a text, [`Prepared::start`] runs it on threads of its own,
//! [`Prepared::stepping`] lets the caller drive it with its own clock. Records come and go through [`DataReader`] and
//! [`DataWriter`]; [`connector::memory`] has ready-made ones for channels, vectors and iterators. For embedding, depend on the
//! crate without default features: they are the command line and C code for compression.
#![cfg_attr(not(feature = "rdkafka"), forbid(unsafe_code))]
// `fetched.rs` and `produced.rs` in `connector/kafka/native` alone.
#![cfg_attr(feature = "rdkafka", deny(unsafe_code))]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::print_stdout,
        clippy::print_stderr
    )
)]

pub mod catalog;
pub mod codec;
pub mod connector;
pub mod engine;
pub mod error;
pub mod expr;
pub mod io;
pub mod job;
pub mod observe;
pub mod operator;
pub mod plan;
pub mod record;
pub mod sql;
pub mod state;

pub use engine::{Engine, Job, Prepared};
pub use error::Error;
pub use io::{BatchEncoder, Boundedness, DataReader, DataSink, DataSource, DataWriter, IoError, Read};
pub use job::{Step, Stop};
pub use record::{BatchBuilder, DataType, FieldValue, RowKind, Schema, StreamRecord};
