//! A reader or writer that a program has made itself, as a source or sink that can be opened once.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::io::{Boundedness, DataReader, DataSink, DataSource, DataWriter, IoError, Scan, SinkStart};
use crate::record::Schema;

/// A source around one reader.
pub struct OnceSource {
    schema: Arc<Schema>,
    boundedness: Boundedness,
    reader: Mutex<Option<Box<dyn DataReader>>>,
}

impl OnceSource {
    /// Wraps it.
    pub fn new(reader: impl DataReader + 'static) -> Self {
        Self {
            schema: reader.schema(),
            boundedness: reader.boundedness(),
            reader: Mutex::new(Some(Box::new(reader))),
        }
    }
}

impl DataSource for OnceSource {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn boundedness(&self) -> Boundedness {
        self.boundedness
    }
    fn open(&self, _scan: &Scan) -> Result<Box<dyn DataReader>, IoError> {
        let taken =
            || IoError::unsupported("this reader was already taken: it can't be opened a second time");
        self.reader.lock().take().ok_or_else(taken)
    }
}

/// A sink around one writer.
pub struct OnceSink {
    writer: Mutex<Option<Box<dyn DataWriter>>>,
}

impl OnceSink {
    /// Wraps it.
    pub fn new(writer: impl DataWriter + 'static) -> Self {
        Self { writer: Mutex::new(Some(Box::new(writer))) }
    }
}

impl DataSink for OnceSink {
    fn open(&self, _schema: Arc<Schema>, _start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        let taken =
            || IoError::unsupported("this writer was already taken: it can't be opened a second time");
        self.writer.lock().take().ok_or_else(taken)
    }
}
