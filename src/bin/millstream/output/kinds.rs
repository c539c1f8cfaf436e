//! Rows that change are printed with what they do in a column `op`: `+I -U +U -D`.

use std::sync::Arc;

use millstream::io::SinkStart;
use millstream::record::{Field, Position};
use millstream::{DataSink, DataType, DataWriter, IoError, Schema, StreamRecord};

/// Puts the column before the others and hands the rows to another sink.
pub(super) struct KindSink {
    inner: Arc<dyn DataSink>,
    schema: Arc<Schema>,
}

impl KindSink {
    /// `make` makes the sink for rows with the column.
    pub(super) fn new<E>(
        schema: &Arc<Schema>,
        make: impl FnOnce(&Arc<Schema>) -> Result<Arc<dyn DataSink>, E>,
    ) -> Result<Self, E> {
        let op = std::iter::once(Field::new("op", DataType::Varchar));
        let schema = Schema::new(op.chain(schema.fields().iter().cloned()));
        Ok(Self { inner: make(&schema)?, schema })
    }
}

impl DataSink for KindSink {
    fn open(&self, _: Arc<Schema>, start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        let writer = self.inner.open(self.schema.clone(), start)?;
        Ok(Box::new(KindWriter { writer, schema: self.schema.clone(), rows: Vec::new() }))
    }
}

struct KindWriter {
    writer: Box<dyn DataWriter>,
    schema: Arc<Schema>,
    rows: Vec<Arc<StreamRecord>>,
}

impl DataWriter for KindWriter {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        self.rows.clear();
        self.rows.extend(batch.iter().map(|row| {
            let op = std::iter::once(row.kind().symbol().into());
            Arc::new(StreamRecord::with_values(self.schema.clone(), op.chain(row.values().iter().cloned())))
        }));
        self.writer.write(&self.rows)
    }
    fn flush(&mut self) -> Result<(), IoError> {
        self.writer.flush()
    }
    fn sync(&mut self) -> Result<Position, IoError> {
        self.writer.sync()
    }
    fn finish(&mut self) -> Result<(), IoError> {
        self.writer.finish()
    }
}
