//! The description of a file source.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compression::Compression;
use super::natural::resolve;
use super::reader::FileReader;
use crate::connector::MakeDecoder;
use crate::io::{Boundedness, DataReader, DataSource, IoError, Scan};
use crate::record::Schema;

/// What a file source reads and how.
#[derive(Clone, Debug)]
pub struct FileSourceConfig {
    /// A file, a directory, or a pattern with `* ? [a-z] **`.
    pub path: String,
    /// `None`: by extension.
    pub compression: Option<Compression>,
    /// The longest record that the decoder accepts, in bytes: bounds the buffer.
    pub max_record_bytes: usize,
}

impl FileSourceConfig {
    /// That path, compression by extension, records of up to 1 MiB.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), compression: None, max_record_bytes: 1 << 20 }
    }

    pub(super) fn compression_of(&self, path: &Path) -> Compression {
        self.compression.unwrap_or_else(|| Compression::of_path(path))
    }
}

/// One or several files as one stream of records.
pub struct FileSource {
    config: FileSourceConfig,
    schema: Arc<Schema>,
    decoder: MakeDecoder,
}

impl FileSource {
    /// A source whose files `decoder` understands; `schema` is all columns.
    pub fn new(config: FileSourceConfig, schema: Arc<Schema>, decoder: MakeDecoder) -> Self {
        Self { config, schema, decoder }
    }
}

impl DataSource for FileSource {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn projects(&self) -> bool {
        true
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }
    fn can_replay(&self) -> bool {
        resolve(&self.config.path)
            .is_ok_and(|files| files.iter().all(|f| std::fs::metadata(f).is_ok_and(|m| m.is_file())))
    }
    fn files(&self) -> Vec<PathBuf> {
        resolve(&self.config.path).unwrap_or_default()
    }
    fn open(&self, scan: &Scan) -> Result<Box<dyn DataReader>, IoError> {
        let files = resolve(&self.config.path)?;
        let decoder = (self.decoder)(scan)?;
        Ok(Box::new(FileReader::open(self.config.clone(), files, scan, decoder)?))
    }
}
