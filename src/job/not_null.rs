//! NOT NULL at the door: a record with a NULL in a column that the sink declares NOT NULL is refused.

use std::sync::Arc;

use crate::io::{DataWriter, IoError, Refused};
use crate::record::{
    Clock, CompactString, ErrorCode, FieldValue, Position, RecordError, Schema, StreamRecord,
};

/// A writer behind the check.
struct NotNull {
    writer: Box<dyn DataWriter>,
    columns: Vec<(usize, CompactString)>,
}

/// Puts the check before a writer if the schema asks for one.
pub(super) fn guard(writer: Box<dyn DataWriter>, schema: &Schema) -> Box<dyn DataWriter> {
    let declared = schema.fields().iter().enumerate().filter(|(_, f)| !f.nullable);
    let columns: Vec<_> = declared.map(|(i, f)| (i, f.name.clone())).collect();
    if columns.is_empty() { writer } else { Box::new(NotNull { writer, columns }) }
}

impl DataWriter for NotNull {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        let missing = |r: &StreamRecord| {
            self.columns
                .iter()
                .find(|(i, _)| r.values().get(*i).is_none_or(FieldValue::is_null))
                .map(|(_, n)| n.clone())
        };
        let Some((at, column)) = batch.iter().enumerate().find_map(|(at, r)| Some((at, missing(r)?))) else {
            return self.writer.write(batch);
        };
        let before = batch.get(..at).unwrap_or(&[]);
        if !before.is_empty() {
            self.writer.write(before)?;
        }
        let error =
            RecordError::new(ErrorCode::NotNull, "NULL in a column that is NOT NULL").in_column(column);
        Err(IoError::rejected(at, error))
    }
    fn flush(&mut self) -> Result<(), IoError> {
        self.writer.flush()
    }
    fn sync(&mut self) -> Result<Position, IoError> {
        self.writer.sync()
    }
    fn take_refused(&mut self) -> Vec<Refused> {
        self.writer.take_refused()
    }
    fn use_clock(&mut self, clock: &Clock) {
        self.writer.use_clock(clock);
    }
    fn finish(&mut self) -> Result<(), IoError> {
        self.writer.finish()
    }
    fn begin(&mut self, epoch: u64) -> Result<(), IoError> {
        self.writer.begin(epoch)
    }
    fn prepare(&mut self, epoch: u64) -> Result<Position, IoError> {
        self.writer.prepare(epoch)
    }
    fn commit(&mut self, epoch: u64) -> Result<(), IoError> {
        self.writer.commit(epoch)
    }
    fn abort(&mut self, epoch: u64) -> Result<(), IoError> {
        self.writer.abort(epoch)
    }
}
