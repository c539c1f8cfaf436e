//! Files as sources and sinks.
//!
//! A source reads one file, the files of a directory or of a pattern, plain or compressed, as one partition. Its position
//! is a byte offset in the uncompressed content. A sink writes one file; a commit makes it durable and remembers its length,
//! and a restart cuts it back to that length. Or it writes a directory of part files (`parts`).

mod ahead;
#[cfg(test)]
mod ahead_tests;
mod compression;
mod follow;
#[cfg(test)]
mod follow_tests;
mod input;
mod natural;
mod output;
mod parts;
mod position;
mod reader;
mod sink;
mod source;
mod spec;
mod stream;
#[cfg(all(test, feature = "gzip", feature = "zstd"))]
mod tests;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use self::input::FileId;
use crate::io::{DataSink, DataSource};
use crate::record::BatchBuilder;

pub use compression::Compression;
pub(crate) use compression::read_error;
pub(crate) use input::OpenInput;
pub(crate) use output::{Output, RawFile};
pub use parts::{PartsSink, Rotation};
pub use sink::{FileLayout, FileMode, FileSink};
pub use source::{FileSource, FileSourceConfig};
pub(crate) use spec::{SPEC, format_for_path};
pub(crate) use stream::StreamSource;
pub(crate) use writer::FileWriter;

/// A file that a source would read while the sink writes it, under whatever names: such a job is refused.
pub fn read_and_written(source: &dyn DataSource, sink: &dyn DataSink) -> Option<PathBuf> {
    let id = |path: &PathBuf| std::fs::metadata(path).ok().filter(|m| m.is_file()).map(|m| FileId::of(&m));
    let read: Vec<Option<FileId>> = source.files().iter().map(id).collect();
    sink.files().into_iter().find(|written| {
        let written_id = id(written);
        written_id.is_some() && read.contains(&written_id)
    })
}

/// Sets `_topic` of the records from `first` on: done only if the plan reads it.
fn stamp_topic(topic: &Arc<str>, first: usize, out: &mut BatchBuilder) {
    for record in out.records_mut().get_mut(first..).unwrap_or_default() {
        if let Some(record) = Arc::get_mut(record) {
            record.set_topic(Some(topic.clone()));
        }
    }
}
