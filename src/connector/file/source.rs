//! The description of a file source.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::compression::Compression;
use super::follow::FollowReader;
use super::natural::resolve;
use super::reader::FileReader;
use crate::connector::MakeDecoder;
use crate::io::{Boundedness, DataReader, DataSource, IoError, Scan};
use crate::record::{Clock, Schema};

/// What a file source reads and how.
#[derive(Clone, Debug)]
pub struct FileSourceConfig {
    /// A file, a directory, or a pattern with `* ? [a-z] **`.
    pub path: String,
    /// `None`: by extension.
    pub compression: Option<Compression>,
    /// The longest record that the decoder accepts, in bytes: bounds the buffer.
    pub max_record_bytes: usize,
    /// Go on after the end: files grow, are rotated, and new ones appear.
    pub follow: bool,
    /// Following: the longest time between two looks at a file that has nothing new.
    pub poll_interval: Duration,
    /// Following: how long a rotated file is read on before it is taken for complete.
    pub rotate_wait: Duration,
    /// The job's clock.
    pub clock: Clock,
}

impl FileSourceConfig {
    /// That path, compression by extension, records of up to 1 MiB.
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            compression: None,
            max_record_bytes: 1 << 20,
            follow: false,
            poll_interval: Duration::from_millis(100),
            rotate_wait: Duration::from_secs(1),
            clock: Clock::System,
        }
    }

    pub(crate) fn compression_of(&self, path: &Path) -> Compression {
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
        match self.config.follow {
            true => Boundedness::Unbounded,
            false => Boundedness::Bounded,
        }
    }
    fn can_replay(&self) -> bool {
        self.config.follow
            || resolve(&self.config.path)
                .is_ok_and(|files| files.iter().all(|f| std::fs::metadata(f).is_ok_and(|m| m.is_file())))
    }
    fn files(&self) -> Vec<PathBuf> {
        resolve(&self.config.path).unwrap_or_default()
    }
    fn open(&self, scan: &Scan) -> Result<Box<dyn DataReader>, IoError> {
        let decoder = (self.decoder)(scan)?;
        if self.config.follow {
            let mut config = self.config.clone();
            if let Some(clock) = &scan.clock {
                config.clock = clock.clone();
            }
            return Ok(Box::new(FollowReader::open(config, scan, decoder)?));
        }
        let files = resolve(&self.config.path)?;
        Ok(Box::new(FileReader::open(self.config.clone(), files, scan, decoder)?))
    }
}
