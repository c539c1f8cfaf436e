//! The unit that moves between stages, and the builder that readers fill.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pool::this_thread;
use super::{Books, Crew, Preparer, RecordError, Schema, StreamRecord};

/// A batch of records: the first [`len`](Batch::len) are its content, the rest are spare records
/// that travel along so that they come home with the batch and are used again.
#[derive(Debug, Default)]
pub struct Batch {
    records: Vec<Arc<StreamRecord>>,
    live: usize,
    /// Payload size as the reader knows it, for byte credits.
    bytes: usize,
    /// Index of the pool that it returns to.
    home: u16,
    /// When the first record was read: start of the latency clock.
    born: Option<Instant>,
    /// The file or topic that all its records come from.
    origin: Option<Arc<str>>,
    /// What was done to it ahead; kept for its buffers when that is settled.
    books: Option<Box<Books>>,
    /// The thread that filled it last, where that matters; 0: not said.
    filler: u32,
}

impl Batch {
    /// A batch whose records are all live.
    pub fn new(records: Vec<Arc<StreamRecord>>) -> Self {
        Self { live: records.len(), records, ..Self::default() }
    }
    /// Number of live records.
    #[inline]
    pub fn len(&self) -> usize {
        self.live
    }
    /// Whether no record is live.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }
    /// The live records.
    #[inline]
    pub fn records(&self) -> &[Arc<StreamRecord>] {
        self.records.get(..self.live).unwrap_or(&[])
    }
    /// The live records, to be changed through `Arc::get_mut` or `Arc::make_mut`.
    #[inline]
    pub fn records_mut(&mut self) -> &mut [Arc<StreamRecord>] {
        self.changes();
        self.records.get_mut(..self.live).unwrap_or_default()
    }
    /// Lets whoever decoded it do what it can do ahead.
    pub(crate) fn prepare(&mut self, preparer: &mut dyn Preparer) {
        let mut books = self.books.take().unwrap_or_default();
        books.begin(self.live, self.bytes);
        preparer.prepare(self, &mut books);
        self.books = Some(books);
    }
    /// Says that this thread has filled it.
    pub(crate) fn filled_here(&mut self) {
        self.filler = this_thread();
    }
    /// The thread that filled it last; 0: not said.
    pub(super) fn filler(&self) -> u32 {
        self.filler
    }
    /// What was done ahead, for the operator whose work it was: once.
    pub(crate) fn settle(&mut self) -> Option<&mut Books> {
        let books = self.books.as_deref_mut().filter(|b| b.open)?;
        books.open = false;
        Some(books)
    }
    /// Number of records that its source gave, as long as nobody has taken over what was done ahead.
    #[inline]
    pub(crate) fn came(&self) -> usize {
        self.books.as_ref().filter(|b| b.open).map_or(self.live, |b| b.came)
    }
    /// Their payload size.
    pub(crate) fn came_bytes(&self) -> usize {
        self.books.as_ref().filter(|b| b.open).map_or(self.bytes, |b| b.bytes)
    }
    /// The live records as their sink writes them, if somebody has encoded them.
    pub(crate) fn encoded(&self) -> Option<&[u8]> {
        self.books.as_ref().filter(|b| b.is_encoded).map(|b| &*b.encoded)
    }
    /// What was encoded before does not hold any more.
    #[inline]
    fn changes(&mut self) {
        if let Some(books) = &mut self.books {
            books.is_encoded = false;
        }
    }
    /// Keeps the records for which `keep` says so, in order; the others become spare.
    #[inline]
    pub fn retain(&mut self, mut keep: impl FnMut(usize, &mut Arc<StreamRecord>) -> bool) {
        let mut to = 0;
        for i in 0..self.live {
            if self.records.get_mut(i).is_some_and(|r| keep(i, r)) {
                if i != to {
                    self.records.swap(i, to);
                }
                to += 1;
            }
        }
        self.shrink_bytes(to);
        self.live = to;
    }
    /// Moves live record `from` to place `to <= from`; what stood there takes its place. With [`truncate`](Self::truncate)
    /// this is an order-keeping filter that can be left and entered again.
    #[inline]
    pub fn keep(&mut self, from: usize, to: usize) {
        if from != to && from < self.live && to < self.live {
            self.records.swap(from, to);
        }
    }
    /// Makes all records from `len` on spare.
    pub fn truncate(&mut self, len: usize) {
        let len = len.min(self.live);
        self.shrink_bytes(len);
        self.live = len;
    }
    fn shrink_bytes(&mut self, to: usize) {
        if to != self.live {
            self.changes();
        }
        if self.live > 0 {
            self.bytes = (self.bytes as u128 * to as u128 / self.live as u128) as usize;
        }
    }
    /// Adds a record at the end, in place of a spare one if there is any: behind those a batch would grow each time that it is filled.
    pub fn push(&mut self, record: Arc<StreamRecord>) {
        self.changes();
        match self.records.get_mut(self.live) {
            Some(spare) => *spare = record,
            None => self.records.push(record),
        }
        self.live += 1;
    }
    /// Moves the live records of `other` behind its own, in order; `other` gets spare ones for them as far as there are any.
    pub fn append(&mut self, other: &mut Batch) {
        self.join(other);
        let spare = self.records.get_mut(self.live..).unwrap_or_default();
        let moved = spare.len().min(other.live);
        for (to, from) in spare.iter_mut().zip(other.records_mut()) {
            std::mem::swap(to, from);
        }
        self.records.extend(other.records.drain(moved..other.live));
        self.live += std::mem::take(&mut other.live);
        self.bytes += std::mem::take(&mut other.bytes);
    }
    /// Records of `other` come behind its own.
    fn join(&mut self, other: &Batch) {
        self.changes();
        if self.live == 0 {
            self.inherit(other);
        } else if self.origin != other.origin {
            self.origin = None;
        }
    }
    /// Moves its live records `range` behind those of `to`, which gives spare ones for them, or new ones if it has too few. They
    /// are no longer looked at.
    pub(crate) fn lend(&mut self, range: std::ops::Range<usize>, to: &mut Batch) {
        let count = range.len();
        let bytes = self.bytes.checked_div(self.live).unwrap_or(0) * count;
        to.join(self);
        let Some(lent) = self.records.get_mut(range) else { return };
        if let Some(first) = lent.first() {
            while to.records.len() < to.live + count {
                to.records.push(Arc::new(StreamRecord::new(first.schema().clone())));
            }
        }
        for (from, to) in lent.iter_mut().zip(to.records.iter_mut().skip(to.live)) {
            std::mem::swap(from, to);
        }
        to.live += count;
        to.bytes += bytes;
    }
    /// The next record to be overwritten, of shape `schema` and already counted as live: a spare one if it is
    /// uniquely owned, else a fresh one. Its values are stale. The flag tells whether it was allocated.
    #[inline]
    pub fn next_slot(&mut self, schema: &Arc<Schema>) -> (&mut StreamRecord, bool) {
        let at = self.live;
        let mut fresh = false;
        // A look at the count costs nothing; what makes sure is `make_mut`, the only locked instruction of this.
        match self.records.get_mut(at) {
            Some(slot) if Arc::strong_count(slot) == 1 => {}
            // Somebody downstream kept a clone: leave it to them.
            Some(slot) => {
                *slot = Arc::new(StreamRecord::new(schema.clone()));
                fresh = true;
            }
            None => {
                self.records.push(Arc::new(StreamRecord::new(schema.clone())));
                fresh = true;
            }
        }
        self.live += 1;
        let record = Arc::make_mut(&mut self.records[at]);
        record.recycle(schema);
        (record, fresh)
    }
    /// Payload bytes (estimate).
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// Sets [`bytes`](Self::bytes).
    pub fn set_bytes(&mut self, bytes: usize) {
        self.bytes = bytes;
    }
    /// Index of the pool that the batch returns to.
    pub fn home(&self) -> u16 {
        self.home
    }
    /// Sets [`home`](Self::home).
    pub fn set_home(&mut self, home: u16) {
        self.home = home;
    }
    /// When its first record was read.
    pub fn born(&self) -> Option<Instant> {
        self.born
    }
    /// Sets [`born`](Self::born).
    pub fn set_born(&mut self, at: Option<Instant>) {
        self.born = at;
    }
    /// The file or topic that all its records come from, if it is one and the reader names it.
    pub fn origin(&self) -> Option<&Arc<str>> {
        self.origin.as_ref()
    }
    /// Sets [`origin`](Self::origin).
    pub fn set_origin(&mut self, origin: Option<Arc<str>>) {
        self.origin = origin;
    }
    /// Copies what is not records (payload size apart) from another batch.
    pub fn inherit(&mut self, other: &Batch) {
        self.born = other.born;
        self.origin.clone_from(&other.origin);
    }
    /// Becomes a second list of the records of `other`, which are then shared.
    pub fn share(&mut self, other: &Batch) {
        self.changes();
        self.records.clear();
        self.records.extend_from_slice(other.records());
        self.live = self.records.len();
        self.bytes = other.bytes;
        self.inherit(other);
    }
    /// Makes all records spare.
    pub fn clear(&mut self) {
        self.live = 0;
        self.bytes = 0;
        self.born = None;
        self.origin = None;
        if let Some(books) = &mut self.books {
            books.close();
        }
    }
    /// Live and spare records.
    pub fn capacity(&self) -> usize {
        self.records.len()
    }
    /// Memory that the batch keeps when it is recycled, in bytes: an estimate from its first record.
    pub fn footprint(&self) -> usize {
        let records = self.records.first().map_or(0, |r| r.footprint()) * self.records.len();
        records + self.records.capacity() * 8 + self.books.as_ref().map_or(0, |b| b.encoded.capacity())
    }
}

/// A record that could not be decoded, with what is needed to find and repair it.
#[derive(Debug, Clone)]
pub struct Reject {
    /// How many records of the batch precede it.
    pub at: usize,
    /// Byte offset in the source, or offset in its partition.
    pub offset: i64,
    /// Line number, from 1, where the source has lines.
    pub line: Option<u64>,
    /// The undecoded bytes; cut to a bounded length for over-long records.
    pub raw: Vec<u8>,
    /// Length of the record in the source, in bytes.
    pub raw_len: u64,
    /// What was wrong.
    pub error: RecordError,
}

/// What a reader fills: hands out recycled records and knows the limits of the batch.
///
/// ```
/// use millstream::{BatchBuilder, DataType, Schema};
/// let mut out = BatchBuilder::new(Schema::of([("n", DataType::BigInt)]));
/// while !out.is_full() {
///     out.record().set(0, 42i64);
/// }
/// assert_eq!(out.len(), 1000);
/// ```
#[derive(Debug)]
pub struct BatchBuilder {
    batch: Batch,
    schema: Arc<Schema>,
    max_rows: usize,
    max_bytes: usize,
    max_wait: Duration,
    rejects: Vec<Reject>,
    /// Parallel to `rejects`: which file or topic each came from.
    reject_origins: Vec<Option<Arc<str>>>,
    origin: Option<Arc<str>>,
    allocated: u64,
    crew: Option<Crew>,
    /// Nothing more is to be added to this batch.
    sealed: bool,
}

/// A state of a builder to return to.
#[derive(Clone, Copy, Debug)]
pub struct BuilderMark {
    live: usize,
    bytes: usize,
    rejects: usize,
}

impl BatchBuilder {
    /// An empty builder with the default limits: 1,000 rows, 1 MiB, no waiting.
    pub fn new(schema: Arc<Schema>) -> Self {
        Self {
            batch: Batch::default(),
            schema,
            max_rows: 1000,
            max_bytes: 1 << 20,
            max_wait: Duration::ZERO,
            rejects: Vec::new(),
            reject_origins: Vec::new(),
            origin: None,
            allocated: 0,
            crew: None,
            sealed: false,
        }
    }
    /// Sets the limits of the next batches; at least one row.
    pub fn set_limits(&mut self, max_rows: usize, max_bytes: usize) {
        self.max_rows = max_rows.max(1);
        self.max_bytes = max_bytes;
    }
    /// The limits: rows, bytes.
    pub fn limits(&self) -> (usize, usize) {
        (self.max_rows, self.max_bytes)
    }
    /// Sets who may help the reader.
    pub fn set_crew(&mut self, crew: Option<Crew>) {
        self.crew = crew;
    }
    /// Who may help the reader: for one that can divide its input. Nobody unless the job has threads to spare.
    #[inline]
    pub fn crew(&self) -> Option<&Crew> {
        self.crew.as_ref().filter(|c| c.helpers() > 0)
    }
    /// The same when nobody may help any more: for what was begun before.
    pub fn any_crew(&self) -> Option<&Crew> {
        self.crew.as_ref()
    }
    /// Takes a batch that was filled elsewhere, with its rejects, in place of its own, which must be [empty](Self::is_empty)
    /// and is given back. Nothing is added to it: the builder is full.
    pub fn replace(&mut self, mut batch: Batch, rejects: Vec<Reject>, allocated: u64) -> Batch {
        batch.origin.clone_from(&self.origin);
        self.reject_origins.clear();
        self.reject_origins.resize(rejects.len(), self.origin.clone());
        self.rejects = rejects;
        self.allocated += allocated;
        self.sealed = true;
        std::mem::replace(&mut self.batch, batch)
    }
    /// Says that the batch is to be handed on as it is: the builder is full.
    pub fn seal(&mut self) {
        self.sealed = true;
    }
    /// Sets how long a reader may wait for input.
    pub fn set_max_wait(&mut self, wait: Duration) {
        self.max_wait = wait;
    }
    /// How long [`read`](crate::DataReader::read) may block when there is no input yet. Zero means: return
    /// `Idle` at once.
    #[inline]
    pub fn max_wait(&self) -> Duration {
        self.max_wait
    }
    /// The shape of the records.
    #[inline]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }
    /// Appends a record whose values are all NULL and returns it to be filled.
    #[inline]
    pub fn record(&mut self) -> &mut StreamRecord {
        let record = self.recycled_record();
        record.clear_values();
        record
    }
    /// Appends a record whose values are *stale*: the caller sets every one of them, and so
    /// lets string buffers be reused.
    #[inline]
    pub fn recycled_record(&mut self) -> &mut StreamRecord {
        let (record, fresh) = self.batch.next_slot(&self.schema);
        self.allocated += u64::from(fresh);
        record
    }
    /// Appends a finished record as it is, shared or not.
    pub fn push(&mut self, record: Arc<StreamRecord>) {
        self.batch.push(record);
    }
    /// Takes back the record appended last, e.g. because decoding it failed half way.
    pub fn undo(&mut self) {
        self.batch.live = self.batch.live.saturating_sub(1);
    }
    /// The record appended last.
    pub fn last_mut(&mut self) -> Option<&mut StreamRecord> {
        self.batch.records_mut().last_mut().and_then(Arc::get_mut)
    }
    /// Reports a record that could not be decoded; the job's `on_error` decides what becomes of it.
    pub fn reject(&mut self, mut reject: Reject) {
        reject.at = self.batch.live;
        self.rejects.push(reject);
        self.reject_origins.push(self.origin.clone());
    }
    /// Names the file or topic that the next records and rejects come from. Offsets of records are then byte offsets in it.
    pub fn set_origin(&mut self, origin: Option<Arc<str>>) {
        if self.batch.live == 0 {
            self.batch.origin.clone_from(&origin);
        } else if self.batch.origin != origin {
            self.batch.origin = None;
        }
        self.origin = origin;
    }
    /// Remembers the content, to be able to take back what follows.
    pub fn mark(&self) -> BuilderMark {
        BuilderMark { live: self.batch.live, bytes: self.batch.bytes, rejects: self.rejects.len() }
    }
    /// Takes back all records, rejects and bytes since `mark`.
    pub fn roll_back(&mut self, mark: BuilderMark) {
        self.batch.live = self.batch.live.min(mark.live);
        self.batch.bytes = mark.bytes;
        self.rejects.truncate(mark.rejects);
        self.reject_origins.truncate(mark.rejects);
    }
    /// Adds to the payload size of the batch: what the records took in the source.
    #[inline]
    pub fn add_bytes(&mut self, bytes: usize) {
        self.batch.bytes += bytes;
    }
    /// Number of records so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.batch.live
    }
    /// Number of records that the source gave, as long as nobody has taken over what was done ahead.
    pub(crate) fn came(&self) -> usize {
        self.batch.came()
    }
    /// Whether there is no record and no reject yet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.batch.came() == 0 && self.rejects.is_empty()
    }
    /// Rows that still fit.
    #[inline]
    pub fn room(&self) -> usize {
        if (self.sealed || self.batch.bytes >= self.max_bytes) && !self.is_empty() {
            return 0;
        }
        self.max_rows.saturating_sub(self.batch.live + self.rejects.len())
    }
    /// Whether a limit is reached. Checking it is the reader's duty; one record beyond a
    /// byte limit is fine.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.room() == 0
    }
    /// The rejects so far.
    pub fn rejects(&self) -> &[Reject] {
        &self.rejects
    }
    /// The rejects so far, to be completed by who knows more about them.
    pub fn rejects_mut(&mut self) -> &mut [Reject] {
        &mut self.rejects
    }
    /// The records so far.
    pub fn records(&self) -> &[Arc<StreamRecord>] {
        self.batch.records()
    }
    /// The records so far, to be completed (a source that adds metadata to what a decoder gave).
    pub fn records_mut(&mut self) -> &mut [Arc<StreamRecord>] {
        self.batch.records_mut()
    }
    /// Records allocated because no recycled one could be used.
    pub fn allocated(&self) -> u64 {
        self.allocated
    }
    /// For the runtime: takes the finished batch and goes on with `next` (recycled or empty).
    pub fn take(&mut self, mut next: Batch) -> Batch {
        next.clear();
        self.sealed = false;
        let home = self.batch.home;
        std::mem::swap(&mut self.batch, &mut next);
        self.batch.home = home;
        if next.bytes == 0 && next.live > 0 {
            // The reader did not say: assume the first record is typical.
            next.bytes = next.records().first().map_or(0, |r| r.footprint()) * next.live;
        }
        next
    }
    /// For the runtime: takes the rejects.
    pub fn take_rejects(&mut self) -> Vec<Reject> {
        self.reject_origins.clear();
        std::mem::take(&mut self.rejects)
    }
    /// For the runtime: takes the rejects, each with the file or topic it came from.
    pub fn take_rejects_with_origins(&mut self) -> Vec<(Reject, Option<Arc<str>>)> {
        let origins = std::mem::take(&mut self.reject_origins);
        std::mem::take(&mut self.rejects).into_iter().zip(origins).collect()
    }
    /// For the runtime: gives the builder storage to fill, if it has none.
    pub fn supply(&mut self, spare: impl FnOnce() -> Batch) {
        if self.batch.capacity() == 0 {
            self.batch = spare();
            self.batch.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{DataType, FieldValue};

    fn schema() -> Arc<Schema> {
        Schema::of([("n", DataType::BigInt)])
    }
    fn numbers(batch: &Batch) -> Vec<i64> {
        batch.records().iter().filter_map(|r| r.values()[0].as_i64()).collect()
    }
    fn filled(builder: &mut BatchBuilder, n: i64) -> Batch {
        for i in 0..n {
            builder.record().set(0, i);
        }
        builder.take(Batch::default())
    }

    #[test]
    fn retain_keeps_order_and_turns_the_rest_into_spares() {
        let mut b = BatchBuilder::new(schema());
        let mut batch = filled(&mut b, 10);
        batch.retain(|_, r| r.values()[0].as_i64().is_some_and(|n| n % 3 == 0));
        assert_eq!(numbers(&batch), [0, 3, 6, 9]);
        assert_eq!(batch.capacity(), 10);
    }

    #[test]
    fn finished_records_take_the_places_of_spare_ones() {
        let mut b = BatchBuilder::new(schema());
        let mut spent = filled(&mut b, 5);
        let mut kept = Vec::new();
        for round in 0..4 {
            b.supply(|| std::mem::take(&mut spent));
            for i in 0..3 {
                let mut record = StreamRecord::new(schema());
                record.set(0, round * 3 + i);
                let record = Arc::new(record);
                kept.push(record.clone());
                b.push(record);
            }
            spent = b.take(Batch::default());
            assert_eq!(numbers(&spent), [round * 3, round * 3 + 1, round * 3 + 2]);
            assert_eq!(spent.capacity(), 5, "round {round}");
            spent.clear();
        }
        // What somebody else holds stays as it is.
        assert_eq!(
            kept.iter().filter_map(|r| r.values()[0].as_i64()).collect::<Vec<_>>(),
            (0..12).collect::<Vec<_>>()
        );
    }

    #[test]
    fn append_keeps_order_and_exchanges_spares() {
        let mut b = BatchBuilder::new(schema());
        // Two spares for three records.
        let (mut to, mut from) = (filled(&mut b, 4), filled(&mut b, 3));
        to.truncate(2);
        to.append(&mut from);
        assert_eq!(numbers(&to), [0, 1, 0, 1, 2]);
        assert_eq!((from.len(), from.capacity(), to.capacity()), (0, 2, 5));
        to.append(&mut from);
        assert_eq!(to.len(), 5);
        from.append(&mut to);
        assert_eq!((numbers(&from), to.len(), to.capacity()), (vec![0, 1, 0, 1, 2], 0, 2));
    }

    #[test]
    fn a_recycled_batch_allocates_nothing_and_a_held_record_is_not_overwritten() {
        let mut b = BatchBuilder::new(schema());
        let batch = filled(&mut b, 5);
        assert_eq!(b.allocated(), 5);
        let held = batch.records()[2].clone();
        b.take(batch);
        for i in 10..15i64 {
            b.record().set(0, i);
        }
        assert_eq!(b.allocated(), 6);
        assert_eq!(held.values(), &[FieldValue::Integer(2)]);
        assert_eq!(numbers(&b.take(Batch::default())), [10, 11, 12, 13, 14]);
    }

    #[test]
    fn undo_gives_the_slot_back() {
        let mut b = BatchBuilder::new(schema());
        b.record().set(0, 1i64);
        b.record().set(0, 2i64);
        b.undo();
        b.record().set(0, 3i64);
        assert_eq!(numbers(&b.take(Batch::default())), [1, 3]);
    }
}
