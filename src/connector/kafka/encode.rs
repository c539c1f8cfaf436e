//! From a record to a message: key, value, partition, timestamp and headers.

use std::sync::Arc;

use super::decode::pick;
use super::outbox::{Outbox, Span};
use super::partitioner::Partitioner;
use crate::codec::{Encoder, Format};
use crate::connector::registry::config;
use crate::io::IoError;
use crate::record::{ErrorCode, FieldValue, RecordError, RowKind, Schema, StreamRecord};

/// Which metadata of a record the query has set for its message; the rest belongs to where the record came from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Metadata {
    pub(super) key: bool,
    pub(super) headers: bool,
    pub(super) partition: bool,
    /// `_timestamp`, else `_event_time`.
    pub(super) timestamp: bool,
    event_time: bool,
    /// Its records are dead letters: they have headers, for clients that write any.
    pub(super) letter: bool,
}

impl Metadata {
    pub(super) fn new(sets: &[&str]) -> Result<Self, IoError> {
        let set = |name| sets.contains(&name);
        if set("_topic") {
            return Err(IoError::unsupported(
                "a topic for each record (SELECT … AS _topic) is not supported yet: the option 'topic' names it",
            ));
        }
        Ok(Self {
            key: set("_key"),
            headers: set("_headers"),
            partition: set("_partition"),
            timestamp: set("_timestamp"),
            event_time: set("_event_time"),
            letter: set("_letter"),
        })
    }
}

/// Some columns of a record, encoded apart.
struct Side {
    encoder: Box<dyn Encoder>,
    places: Vec<usize>,
    /// Those columns of the record at hand.
    scratch: Arc<StreamRecord>,
}

impl Side {
    fn new(schema: &Arc<Schema>, places: &[usize], format: &Format) -> Result<Self, IoError> {
        let picked = pick(schema, places);
        Ok(Self {
            encoder: format.encoder(&picked).map_err(config)?,
            places: places.to_vec(),
            scratch: Arc::new(StreamRecord::new(picked)),
        })
    }

    /// Whether every column is NULL.
    fn is_null(&self, record: &StreamRecord) -> bool {
        self.places.iter().all(|i| record.values().get(*i).is_none_or(FieldValue::is_null))
    }

    fn encode(&mut self, record: &StreamRecord, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let scratch = Arc::make_mut(&mut self.scratch);
        for (slot, place) in scratch.values_mut().iter_mut().zip(&self.places) {
            slot.assign(record.values().get(*place).unwrap_or(&FieldValue::Null));
        }
        self.encoder.encode(std::slice::from_ref(&self.scratch), out).map_err(|(_, e)| e)
    }
}

/// How many bytes at the end of a message only end its line.
#[derive(Clone, Copy, Debug)]
enum LineEnd {
    Cut,
    None,
}

impl LineEnd {
    fn of(format: &Format) -> Self {
        // What messages hold as text or raw bytes is written as it is.
        if matches!(format.spec().name, "text" | "raw") { Self::None } else { Self::Cut }
    }
    fn trim(self, out: &mut Vec<u8>, from: usize) {
        if let Self::Cut = self
            && out.len() > from
            && out.last() == Some(&b'\n')
        {
            out.pop();
            if out.len() > from && out.last() == Some(&b'\r') {
                out.pop();
            }
        }
    }
}

/// Encodes the records of one writer.
pub(super) struct RecordEncoder {
    value: Box<dyn Encoder>,
    value_end: LineEnd,
    /// A format whose one column is the message: NULL is a tombstone.
    plain: bool,
    key: Option<(Side, LineEnd)>,
    partition_by: Option<Side>,
    upsert: bool,
    /// Both versions of a row that changes are one message.
    pairs: bool,
    /// The old version of a row whose new one has yet to come, under `pairs`.
    held: Option<Arc<StreamRecord>>,
    metadata: Metadata,
    scratch: Vec<u8>,
    /// Larger batches are refused by the brokers, also those of one message.
    largest: Option<usize>,
}

impl RecordEncoder {
    pub(super) fn new(
        schema: &Arc<Schema>,
        format: &Format,
        key_format: Option<&Format>,
        key: &[usize],
        partition_by: &[usize],
        upsert: bool,
        metadata: Metadata,
    ) -> Result<Self, IoError> {
        let key = match key_format {
            Some(format) => Some((Side::new(schema, key, format)?, LineEnd::of(format))),
            None => None,
        };
        let partition_by = match partition_by {
            [] => None,
            places => {
                // As a key of these columns would be written, so that streams that are partitioned alike meet.
                let format = super::decode::key_of(schema, places, None, &Default::default())?;
                format.map(|f| Side::new(schema, places, &f)).transpose()?
            }
        };
        Ok(Self {
            value: format.encoder(schema).map_err(config)?,
            value_end: LineEnd::of(format),
            plain: matches!(LineEnd::of(format), LineEnd::None),
            key,
            partition_by,
            upsert,
            pairs: format.spec().name == "debezium-json",
            held: None,
            metadata,
            scratch: Vec::new(),
            largest: None,
        })
    }

    /// Refuses records whose messages brokers would refuse that take batches of so many bytes.
    pub(super) fn limited(self, largest: Option<usize>) -> Self {
        Self { largest, ..self }
    }

    /// Adds the record's message to the outbox. The old version of a row that changes has none of its own.
    ///
    /// # Errors
    /// Why the record can't be written; nothing of it is in the outbox then.
    pub(super) fn encode(
        &mut self,
        record: &Arc<StreamRecord>,
        partitioner: &Partitioner,
        out: &mut Outbox,
    ) -> Result<(), RecordError> {
        if !self.pairs {
            return match (self.upsert, record.kind()) {
                (true, RowKind::UpdateBefore) => Ok(()),
                _ => self.message(std::slice::from_ref(record), partitioner, out),
            };
        }
        match (record.kind(), self.held.take()) {
            (RowKind::UpdateAfter, Some(before)) => self.message(&[before, record.clone()], partitioner, out),
            (kind, held) => {
                self.held = held;
                self.release(partitioner, out)?;
                match kind {
                    RowKind::UpdateBefore => self.held = Some(record.clone()),
                    _ => self.message(std::slice::from_ref(record), partitioner, out)?,
                }
                Ok(())
            }
        }
    }

    /// Adds what is held back: an old version without a new one is a row that is gone.
    pub(super) fn release(&mut self, partitioner: &Partitioner, out: &mut Outbox) -> Result<(), RecordError> {
        match self.held.take() {
            Some(before) => self.message(&[before], partitioner, out),
            None => Ok(()),
        }
    }

    /// Adds the one message of these records; the last one gives it key and metadata.
    fn message(
        &mut self,
        records: &[Arc<StreamRecord>],
        partitioner: &Partitioner,
        out: &mut Outbox,
    ) -> Result<(), RecordError> {
        let Some(record) = records.last() else { return Ok(()) };
        let start = out.mark();
        let encoded = self.parts(records, record, partitioner, out);
        if encoded.is_err() {
            out.bytes.truncate(start);
        }
        encoded
    }

    fn parts(
        &mut self,
        records: &[Arc<StreamRecord>],
        record: &Arc<StreamRecord>,
        partitioner: &Partitioner,
        out: &mut Outbox,
    ) -> Result<(), RecordError> {
        let key = self.key(record, out)?;
        if self.upsert && key.is_none() {
            return Err(RecordError::new(
                ErrorCode::NotNull,
                "an upsert needs a key, but its columns are NULL",
            ));
        }
        let is_null = || record.values().first().is_some_and(FieldValue::is_null);
        let tombstone = self.upsert && record.kind() == RowKind::Delete || self.plain && is_null();
        let value_start = out.mark();
        let value = match tombstone {
            true => None,
            false => {
                self.value.encode(records, &mut out.bytes).map_err(|(_, e)| e)?;
                if self.pairs && record.kind() == RowKind::UpdateBefore {
                    self.value.finish(&mut out.bytes);
                }
                self.value_end.trim(&mut out.bytes, value_start);
                Some(out.span_from(value_start))
            }
        };
        let partition = self.partition(record, partitioner, key.map(|k| out.text(k)))?;
        let time = match self.metadata {
            Metadata { timestamp: true, .. } => record.timestamp(),
            Metadata { event_time: true, .. } => record.event_time(),
            _ => None,
        };
        let millis = time.map(|t| t.div_euclid(1000));
        if millis.is_some_and(|ms| ms < 0) {
            let message = "a message's timestamp can't be before 1970";
            return Err(RecordError::new(ErrorCode::InvalidArgument, message));
        }
        let headers_from = out.headers_mark();
        if self.metadata.headers {
            for (name, value) in record.headers().iter() {
                out.header(name, Some(value));
            }
        }
        if let Some(largest) = self.largest {
            let size = out.alone(key, value, headers_from);
            if size > largest {
                return Err(RecordError::new(
                    ErrorCode::SinkRejected,
                    format!(
                        "the message takes {size} bytes before compression, and max.message.bytes of its topic is {largest}"
                    ),
                ));
            }
        }
        out.finish(partition, key, value, millis, headers_from);
        Ok(())
    }

    fn key(&mut self, record: &Arc<StreamRecord>, out: &mut Outbox) -> Result<Option<Span>, RecordError> {
        let start = out.mark();
        Ok(match &mut self.key {
            Some((side, _)) if side.is_null(record) => None,
            Some((side, end)) => {
                side.encode(record, &mut out.bytes)?;
                end.trim(&mut out.bytes, start);
                Some(out.span_from(start))
            }
            None if self.metadata.key => match record.key() {
                FieldValue::Null => None,
                FieldValue::String(text) => Some(out.append(text.as_bytes())),
                FieldValue::Bytes(bytes) => Some(out.append(bytes)),
                _ => return Err(RecordError::new(ErrorCode::TypeMismatch, "a key must be VARCHAR or BYTES")),
            },
            None => None,
        })
    }

    fn partition(
        &mut self,
        record: &Arc<StreamRecord>,
        partitioner: &Partitioner,
        key: Option<&[u8]>,
    ) -> Result<i32, RecordError> {
        if self.metadata.partition {
            return match partitioner.has(record.partition()) {
                true => Ok(record.partition()),
                false => Err(RecordError::new(
                    ErrorCode::InvalidArgument,
                    format!(
                        "no partition {}: the topic has {}",
                        record.partition(),
                        partitioner.partitions()
                    ),
                )),
            };
        }
        if let Some(side) = &mut self.partition_by {
            self.scratch.clear();
            side.encode(record, &mut self.scratch)?;
            LineEnd::Cut.trim(&mut self.scratch, 0);
            return Ok(partitioner.of_key(&self.scratch));
        }
        Ok(key.map_or(partitioner.of_none(), |k| partitioner.of_key(k)))
    }
}
