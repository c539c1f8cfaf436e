//! Records that failed, on their way to the dead letter queue.

use std::sync::Arc;

use crate::record::{DataType, FieldValue, RecordError, Schema, StreamRecord};

/// One failed record with everything needed to find, repair and replay it.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetter {
    pub(crate) source: String,
    pub(crate) position: String,
    pub(crate) stage: String,
    pub(crate) error: RecordError,
    pub(crate) raw: Vec<u8>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) time: i64,
    pub(crate) spot: Spot,
}

/// Where a failed record stood, for programs; as far as it is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spot {
    pub(crate) topic: Option<Arc<str>>,
    pub(crate) partition: Option<i32>,
    pub(crate) offset: Option<i64>,
}

impl Spot {
    /// Of a message in `topic/partition`.
    pub(crate) fn of_message(origin: Option<&str>, offset: i64) -> Self {
        let (topic, partition) = origin.and_then(|o| o.rsplit_once('/')).unzip();
        Self {
            topic: topic.map(Arc::from),
            partition: partition.and_then(|p| p.parse().ok()),
            offset: Some(offset),
        }
    }
}

/// Columns of the dead letter queue.
pub fn dead_letter_schema() -> Arc<Schema> {
    Schema::of([
        ("job", DataType::Varchar),
        ("source", DataType::Varchar),
        ("position", DataType::Varchar),
        ("stage", DataType::Varchar),
        ("code", DataType::Varchar),
        ("column", DataType::Varchar),
        ("message", DataType::Varchar),
        ("raw", DataType::Bytes),
        ("headers", DataType::map(DataType::Varchar, DataType::Varchar)),
        ("time", DataType::Timestamp),
    ])
}

impl DeadLetter {
    /// The letter as a record of [`dead_letter_schema`].
    ///
    /// For sinks that write headers, these say again where the record stood and what was wrong.
    pub(crate) fn into_record(self, job: &str, schema: &Arc<Schema>) -> StreamRecord {
        let Spot { topic, partition, offset } = &self.spot;
        let mut said: Vec<(&str, String)> = vec![("job", job.to_owned())];
        said.extend(topic.as_ref().map(|t| ("topic", t.to_string())));
        said.extend(partition.map(|p| ("partition", p.to_string())));
        said.extend(offset.map(|o| ("offset", o.to_string())));
        said.push(("stage", self.stage.clone()));
        said.push(("code", self.error.code.label().to_owned()));
        said.push(("error", self.error.message.to_string()));
        let headers = self.headers.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        let mut record = StreamRecord::with_values(
            schema.clone(),
            [
                job.into(),
                self.source.into(),
                self.position.into(),
                self.stage.into(),
                self.error.code.label().into(),
                self.error.column.map_or(FieldValue::Null, FieldValue::String),
                self.error.message.into(),
                FieldValue::Bytes(self.raw.into()),
                FieldValue::Map(Arc::new(headers)),
                FieldValue::Timestamp(self.time),
            ],
        );
        said.iter().for_each(|(name, value)| record.headers_mut().push(name, value.as_bytes()));
        record
    }

    /// The letter of a record that was decoded before it failed: its columns as JSON text.
    pub(crate) fn of_record(
        record: &StreamRecord,
        origin: Option<&str>,
        stage: &str,
        error: RecordError,
        time: i64,
    ) -> Self {
        let headers = record
            .headers()
            .iter()
            .map(|(k, v)| (k.to_owned(), String::from_utf8_lossy(v).into_owned()))
            .collect();
        Self {
            source: record.topic().map_or_else(String::new, |t| t.to_string()),
            position: place(record, origin),
            stage: stage.to_owned(),
            error,
            raw: serde_json::to_vec(record).unwrap_or_default(),
            headers,
            time,
            spot: Spot {
                topic: record.topic().cloned(),
                // Files have no partitions.
                partition: record.offset().filter(|_| origin.is_none()).map(|_| record.partition()),
                offset: record.offset(),
            },
        }
    }
}

/// Where a record stood, in words. `origin` is the file that its batch came from.
pub(crate) fn place(record: &StreamRecord, origin: Option<&str>) -> String {
    match (origin, record.partition(), record.offset()) {
        (Some(file), _, Some(o)) => format!("{file} (byte {o})"),
        (None, 0, Some(o)) => format!("offset {o}"),
        (None, p, Some(o)) => format!("partition {p}, offset {o}"),
        (_, _, None) => "an unknown position".into(),
    }
}
