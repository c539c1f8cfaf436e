//! The record: values in schema order, with metadata that costs nothing when absent.

use std::cell::Cell;
use std::sync::Arc;

use super::{FieldValue, Headers, Schema};

/// What a row does to the relation that it belongs to (Flink's `RowKind`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RowKind {
    /// A new row.
    #[default]
    Insert,
    /// The old version of a row that changes.
    UpdateBefore,
    /// The new version of a row that changes.
    UpdateAfter,
    /// A row that vanishes.
    Delete,
}

impl RowKind {
    /// Flink's short form: `+I -U +U -D`.
    pub fn symbol(self) -> &'static str {
        match self {
            RowKind::Insert => "+I",
            RowKind::UpdateBefore => "-U",
            RowKind::UpdateAfter => "+U",
            RowKind::Delete => "-D",
        }
    }
}

/// Rarely used metadata, boxed so that a record without it pays for one pointer.
#[derive(Clone, Debug, Default)]
struct Envelope {
    topic: Option<Arc<str>>,
    key: FieldValue,
    headers: Headers,
}

impl Envelope {
    /// Empties it; buffers stay.
    fn clear(&mut self) {
        self.topic = None;
        self.key = FieldValue::Null;
        self.headers.clear();
    }
    /// Makes it equal to `other`, in its own buffers.
    fn assign(&mut self, other: &Envelope) {
        self.topic.clone_from(&other.topic);
        self.key.assign(&other.key);
        self.headers.clear();
        other.headers.iter().for_each(|(name, value)| self.headers.push(name, value));
    }
}

const NO_TIME: i64 = i64::MIN;
const NO_OFFSET: i64 = -1;

// With the two counts of its `Arc` a record is a cache line and a half.
const _: () = assert!(size_of::<StreamRecord>() == 80);

/// One row and its metadata.
///
/// The storage of a record outlives its content: when a spent batch is recycled, a reader
/// overwrites values, string buffers and headers in place. A deep copy is made only by
/// [`Clone`], that is by `Arc::make_mut` on a shared record, and every one is counted
/// ([`deep_copies_on_this_thread`]).
///
/// ```
/// use millstream::{DataType, FieldValue, Schema, StreamRecord};
///
/// let schema = Schema::of([("id", DataType::BigInt), ("name", DataType::Varchar)]);
/// let mut record = StreamRecord::with_values(schema, [7i64.into(), "Ada".into()]);
/// record.set(1, FieldValue::Null);
/// assert_eq!(record.get("id").and_then(FieldValue::as_i64), Some(7));
/// assert!(record.values()[1].is_null());
/// ```
#[derive(Debug)]
pub struct StreamRecord {
    schema: Arc<Schema>,
    /// The schema of the shape this record had before: a record that travels between a reader
    /// and a projection changes shape twice a round, and swapping two pointers avoids four
    /// contended reference counts.
    other_schema: Option<Arc<Schema>>,
    /// At least `schema.len()` slots; those beyond keep their buffers for the next round.
    slots: Box<[FieldValue]>,
    timestamp: i64,
    event_time: i64,
    /// The watermark of the stream just before this record: rows are judged late one by one, never per batch.
    watermark: i64,
    offset: i64,
    partition: i32,
    kind: RowKind,
    /// Which source of its job it came from, from 1, where batches mix rows of several; 0: not said.
    from: u8,
    /// Its number in the batch that its source gave, while batches derived from that are woven together.
    row: u16,
    envelope: Option<Box<Envelope>>,
}

thread_local! {
    static DEEP_COPIES: Cell<u64> = const { Cell::new(0) };
}

/// How many records this thread has deep-copied since it began. Stages read the difference
/// around a batch, so that the figure belongs to their job.
pub fn deep_copies_on_this_thread() -> u64 {
    DEEP_COPIES.get()
}

impl Clone for StreamRecord {
    fn clone(&self) -> Self {
        DEEP_COPIES.set(DEEP_COPIES.get() + 1);
        Self {
            schema: self.schema.clone(),
            other_schema: None,
            slots: self.values().into(),
            timestamp: self.timestamp,
            event_time: self.event_time,
            watermark: self.watermark,
            offset: self.offset,
            partition: self.partition,
            kind: self.kind,
            from: self.from,
            row: self.row,
            envelope: self.envelope.clone(),
        }
    }
}

impl StreamRecord {
    /// A record of that shape with all values NULL.
    pub fn new(schema: Arc<Schema>) -> Self {
        let slots = vec![FieldValue::Null; schema.len()].into_boxed_slice();
        Self {
            schema,
            other_schema: None,
            slots,
            timestamp: NO_TIME,
            event_time: NO_TIME,
            watermark: NO_TIME,
            offset: NO_OFFSET,
            partition: 0,
            kind: RowKind::Insert,
            from: 0,
            row: 0,
            envelope: None,
        }
    }

    /// A record with these values; missing ones are NULL, surplus ones are dropped.
    pub fn with_values(schema: Arc<Schema>, values: impl IntoIterator<Item = FieldValue>) -> Self {
        let mut record = Self::new(schema);
        for (slot, value) in record.values_mut().iter_mut().zip(values) {
            *slot = value;
        }
        record
    }

    /// The shape of this record.
    #[inline]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The values, in schema order.
    #[inline]
    pub fn values(&self) -> &[FieldValue] {
        // Slots never fall below the schema's length: see `reshape`.
        self.slots.get(..self.schema.len()).unwrap_or(&[])
    }

    /// The values, to be changed in place.
    #[inline]
    pub fn values_mut(&mut self) -> &mut [FieldValue] {
        let n = self.schema.len();
        self.slots.get_mut(..n).unwrap_or_default()
    }

    /// The value of the column called `name`. For programs; the engine uses positions.
    pub fn get(&self, name: &str) -> Option<&FieldValue> {
        self.schema.find(name).and_then(|i| self.values().get(i))
    }

    /// Sets column `index`; an index beyond the schema is ignored.
    #[inline]
    pub fn set(&mut self, index: usize, value: impl Into<FieldValue>) {
        if let Some(slot) = self.values_mut().get_mut(index) {
            *slot = value.into();
        }
    }

    /// Gives the record another shape. Values keep their positions; new positions hold
    /// whatever the recycled storage held, so the caller must set them.
    #[inline]
    pub fn reshape(&mut self, schema: &Arc<Schema>) {
        if Arc::ptr_eq(&self.schema, schema) {
            return;
        }
        match &mut self.other_schema {
            Some(other) if Arc::ptr_eq(other, schema) => std::mem::swap(other, &mut self.schema),
            other => *other = Some(std::mem::replace(&mut self.schema, schema.clone())),
        }
        if self.slots.len() < self.schema.len() {
            let mut slots = std::mem::take(&mut self.slots).into_vec();
            slots.resize(self.schema.len(), FieldValue::Null);
            self.slots = slots.into_boxed_slice();
        }
    }

    /// Makes a recycled record ready to be overwritten: right shape, no metadata. Values are
    /// stale; the caller sets every one of them.
    #[inline]
    pub fn recycle(&mut self, schema: &Arc<Schema>) {
        self.reshape(schema);
        self.timestamp = NO_TIME;
        self.event_time = NO_TIME;
        self.watermark = NO_TIME;
        self.offset = NO_OFFSET;
        self.partition = 0;
        self.kind = RowKind::Insert;
        self.from = 0;
        if let Some(e) = &mut self.envelope {
            e.clear();
        }
    }

    /// Sets all values to NULL.
    pub fn clear_values(&mut self) {
        self.values_mut().fill(FieldValue::Null);
    }

    /// Copies offset, partition, times, watermark, kind, topic, key and headers from `other`.
    pub fn copy_metadata(&mut self, other: &StreamRecord) {
        self.timestamp = other.timestamp;
        self.event_time = other.event_time;
        self.watermark = other.watermark;
        self.offset = other.offset;
        self.partition = other.partition;
        self.kind = other.kind;
        (self.from, self.row) = (other.from, other.row);
        match (&mut self.envelope, &other.envelope) {
            (Some(mine), Some(theirs)) => mine.assign(theirs),
            (mine @ None, Some(theirs)) => *mine = Some(theirs.clone()),
            (Some(mine), None) => mine.clear(),
            (None, None) => {}
        }
    }

    /// When the record was created or read, µs since the Unix epoch, if known.
    pub fn timestamp(&self) -> Option<i64> {
        (self.timestamp != NO_TIME).then_some(self.timestamp)
    }
    /// Sets [`timestamp`](Self::timestamp).
    pub fn set_timestamp(&mut self, micros: Option<i64>) {
        self.timestamp = micros.unwrap_or(NO_TIME);
    }
    /// Event time, µs since the Unix epoch, if the stream declares one.
    pub fn event_time(&self) -> Option<i64> {
        (self.event_time != NO_TIME).then_some(self.event_time)
    }
    /// Sets [`event_time`](Self::event_time).
    pub fn set_event_time(&mut self, micros: Option<i64>) {
        self.event_time = micros.unwrap_or(NO_TIME);
    }
    /// The watermark of the stream just before this record, µs since the Unix epoch; `i64::MIN` before the first one and
    /// in streams that declare none.
    #[inline]
    pub fn watermark(&self) -> i64 {
        self.watermark
    }
    /// Sets [`watermark`](Self::watermark).
    #[inline]
    pub fn set_watermark(&mut self, micros: i64) {
        self.watermark = micros;
    }
    /// Where the record stood in its partition: byte offset of its first byte in a file, offset
    /// in a Kafka partition, count in other sources.
    pub fn offset(&self) -> Option<i64> {
        (self.offset != NO_OFFSET).then_some(self.offset)
    }
    /// Sets [`offset`](Self::offset).
    #[inline]
    pub fn set_offset(&mut self, offset: Option<i64>) {
        self.offset = offset.unwrap_or(NO_OFFSET);
    }
    /// Partition of the source; 0 where there is only one.
    pub fn partition(&self) -> i32 {
        self.partition
    }
    /// Sets [`partition`](Self::partition).
    pub fn set_partition(&mut self, partition: i32) {
        self.partition = partition;
    }
    /// What the row does to its relation.
    pub fn kind(&self) -> RowKind {
        self.kind
    }
    /// Sets [`kind`](Self::kind).
    pub fn set_kind(&mut self, kind: RowKind) {
        self.kind = kind;
    }
    /// Which source of its job it came from, where its batch does not tell.
    pub(crate) fn source(&self) -> Option<usize> {
        (self.from as usize).checked_sub(1)
    }
    /// Sets [`source`](Self::source).
    pub(crate) fn set_source(&mut self, source: usize) {
        self.from = u8::try_from(source + 1).unwrap_or(0);
    }
    /// Its number in a batch, as set.
    #[inline]
    pub(crate) fn row(&self) -> usize {
        self.row.into()
    }
    /// Sets [`row`](Self::row), below 2¹⁶.
    #[inline]
    pub(crate) fn set_row(&mut self, row: usize) {
        self.row = row as u16;
    }
    /// Topic or file, if the source says.
    pub fn topic(&self) -> Option<&Arc<str>> {
        self.envelope.as_ref().and_then(|e| e.topic.as_ref())
    }
    /// Sets [`topic`](Self::topic).
    pub fn set_topic(&mut self, topic: Option<Arc<str>>) {
        if topic.is_some() || self.envelope.is_some() {
            self.envelope_mut().topic = topic;
        }
    }
    /// Message key; NULL if there is none.
    pub fn key(&self) -> &FieldValue {
        self.envelope.as_ref().map_or(&FieldValue::Null, |e| &e.key)
    }
    /// Sets [`key`](Self::key).
    pub fn set_key(&mut self, key: FieldValue) {
        if !key.is_null() || self.envelope.is_some() {
            self.envelope_mut().key = key;
        }
    }
    /// Message headers.
    pub fn headers(&self) -> &Headers {
        static NONE: Headers = Headers::new();
        self.envelope.as_ref().map_or(&NONE, |e| &e.headers)
    }
    /// Message headers, to be changed in place.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.envelope_mut().headers
    }

    fn envelope_mut(&mut self) -> &mut Envelope {
        self.envelope.get_or_insert_default()
    }

    /// Memory that this record keeps, in bytes (estimate).
    pub fn footprint(&self) -> usize {
        size_of::<Self>()
            + 16
            + self.slots.len() * size_of::<FieldValue>()
            + self.slots.iter().map(FieldValue::heap_bytes).sum::<usize>()
            + self.envelope.as_ref().map_or(0, |e| size_of::<Envelope>() + e.headers.heap_bytes())
    }
}

impl PartialEq for StreamRecord {
    /// Same columns, values, kind, key and headers; positions and times are not compared.
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.values() == other.values()
            && self.kind == other.kind
            && self.key() == other.key()
            && self.headers() == other.headers()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::DataType;

    #[test]
    fn reshaping_keeps_storage_and_alternates_without_touching_reference_counts() {
        let wide = Schema::of([("a", DataType::BigInt), ("b", DataType::Varchar)]);
        let narrow = Schema::of([("a", DataType::BigInt)]);
        let mut r = StreamRecord::with_values(wide.clone(), [1i64.into(), "x".into()]);
        r.reshape(&narrow);
        assert_eq!(r.values(), &[FieldValue::Integer(1)]);
        let counts = (Arc::strong_count(&wide), Arc::strong_count(&narrow));
        for _ in 0..10 {
            r.reshape(&wide);
            assert_eq!(r.values().len(), 2);
            r.reshape(&narrow);
        }
        assert_eq!((Arc::strong_count(&wide), Arc::strong_count(&narrow)), counts);
    }

    #[test]
    fn only_a_shared_record_is_copied_and_the_copy_is_counted() {
        let schema = Schema::of([("a", DataType::BigInt)]);
        let mut r = Arc::new(StreamRecord::with_values(schema, [1i64.into()]));
        let before = deep_copies_on_this_thread();
        Arc::make_mut(&mut r).set(0, 2i64);
        assert_eq!(deep_copies_on_this_thread(), before);
        let held = r.clone();
        Arc::make_mut(&mut r).set(0, 3i64);
        assert_eq!(deep_copies_on_this_thread(), before + 1);
        assert_eq!(held.values(), &[FieldValue::Integer(2)]);
    }

    #[test]
    fn a_recycled_record_shows_no_trace_of_its_former_life() {
        let schema = Schema::of([("a", DataType::BigInt)]);
        let mut r = StreamRecord::new(schema.clone());
        r.set_key("k".into());
        r.headers_mut().set("h", b"v");
        r.set_topic(Some("t".into()));
        r.set_offset(Some(7));
        r.set_event_time(Some(1));
        r.set_watermark(1);
        r.set_kind(RowKind::Delete);
        r.recycle(&schema);
        r.clear_values();
        assert_eq!(r, StreamRecord::new(schema));
        assert!(r.topic().is_none() && r.offset().is_none() && r.event_time().is_none());
        assert_eq!(r.watermark(), i64::MIN);
    }
}
