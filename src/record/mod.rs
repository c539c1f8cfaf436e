//! What flows: values, schemas, records, batches, and the pools that they return to.
//!
//! Floor 0: imports nothing of the crate. It knows no SQL semantics (comparison, casts and
//! arithmetic live in `expr`), no threads and no files.

mod batch;
mod clock;
mod grouping;
mod headers;
mod pool;
mod position;
mod prepared;
mod reject;
mod schema;
#[cfg(seeded_bugs)]
#[doc(hidden)]
pub mod seeded;
mod serde;
pub mod sorted;
mod stream_record;
mod suggest;
pub mod text;
mod types;
mod value;
mod workers;

pub use self::serde::{ConvertError, ValueDeserializer};
pub use batch::{Batch, BatchBuilder, BuilderMark, Reject};
pub use clock::{Clock, CoreTime, ThreadWatch};
pub use grouping::{group_hash, same_group};
pub use headers::Headers;
pub use pool::{Pool, Pools};
pub use position::Position;
pub use prepared::{Books, Prepare, Preparer};
pub use reject::{ErrorCode, RecordError};
pub use schema::{Field, Schema};
pub use stream_record::{RowKind, StreamRecord, deep_copies_on_this_thread};
pub use suggest::nearest;
pub use types::DataType;
pub use value::{FieldValue, Interval, StructValue};
pub use workers::{Crew, PoolTimes, Workers};

pub use compact_str::CompactString;
pub use rust_decimal::Decimal;
