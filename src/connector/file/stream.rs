//! A byte stream that is open already, such as standard input, as a source.

use std::sync::Arc;

use parking_lot::Mutex;

use super::input::OpenInput;
use super::reader::FileReader;
use super::source::FileSourceConfig;
use crate::codec::Format;
use crate::connector::MakeDecoder;
use crate::connector::formats::decoder_of;
use crate::connector::registry::{SourceRequest, declared_schema};
use crate::connector::sample::infer_stream;
use crate::io::{Boundedness, DataReader, DataSource, IoError, Scan};
use crate::record::Schema;

/// One byte stream that is open already: it can be read once and not from a position.
pub(crate) struct StreamSource {
    config: FileSourceConfig,
    schema: Arc<Schema>,
    decoder: MakeDecoder,
    /// The stream, and what was read of it to infer columns.
    input: Mutex<Option<(OpenInput, Vec<u8>)>>,
}

impl StreamSource {
    /// Takes an open stream; without declared columns, waits for its first rows.
    ///
    /// # Errors
    /// If columns can't be inferred.
    pub(crate) fn new(
        config: FileSourceConfig,
        mut input: OpenInput,
        format: Format,
        request: &SourceRequest<'_>,
    ) -> Result<Self, IoError> {
        let (schema, format, sample) = if request.columns.is_empty() {
            let (inferred, sample) = infer_stream(&mut input, &format, request)?;
            (inferred.schema, inferred.format, sample)
        } else {
            (declared_schema(request.columns), format, Vec::new())
        };
        let decoder = decoder_of(format, &schema);
        Ok(Self { config, schema, decoder, input: Mutex::new(Some((input, sample))) })
    }
}

impl DataSource for StreamSource {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn projects(&self) -> bool {
        true
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }
    fn open(&self, scan: &Scan) -> Result<Box<dyn DataReader>, IoError> {
        let decoder = (self.decoder)(scan)?;
        let (input, sample) = self.input.lock().take().ok_or_else(|| {
            IoError::unsupported(format!(
                "{} is read already: it can't be opened a second time",
                self.config.path
            ))
        })?;
        Ok(Box::new(FileReader::of_stream(self.config.clone(), input, &sample, scan, decoder)))
    }
}
