//! Vectors, iterators and channel ends as sources.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded};
use parking_lot::Mutex;

use crate::io::{Boundedness, DataReader, DataSource, IoError, IoErrorKind, Read, Scan};
use crate::record::{BatchBuilder, FieldValue, Position, Schema, StreamRecord};

/// Records that a program provides. A record's `_offset` is its number, from 0, unless it has one.
///
/// ```
/// use millstream::connector::memory::MemorySource;
/// use millstream::{DataType, Engine, Schema, StreamRecord};
///
/// let schema = Schema::of([("n", DataType::BigInt)]);
/// let row = |n: i64| StreamRecord::with_values(schema.clone(), [n.into()]);
/// let engine = Engine::new();
/// engine.register_source("few", MemorySource::from_vec(schema.clone(), vec![row(1), row(2)])?)?;
/// let mut job = engine.sql("SELECT n FROM few")?.start()?;
/// assert_eq!(job.rows().count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MemorySource {
    schema: Arc<Schema>,
    boundedness: Boundedness,
    feed: Feed,
}

enum Feed {
    Rows(Arc<[StreamRecord]>),
    Once(Mutex<Option<Box<dyn DataReader>>>),
}

impl MemorySource {
    /// These records. They can be read again, also from a position.
    ///
    /// # Errors
    /// If a record has another shape.
    pub fn from_vec(schema: Arc<Schema>, records: Vec<StreamRecord>) -> Result<Self, IoError> {
        records.iter().try_for_each(|r| check_shape(r, &schema))?;
        Ok(Self { schema, boundedness: Boundedness::Bounded, feed: Feed::Rows(records.into()) })
    }

    /// What an iterator gives, once. `next` should not block: the job can't be stopped meanwhile.
    pub fn from_iter(
        schema: Arc<Schema>,
        records: impl IntoIterator<Item = StreamRecord, IntoIter: Send + 'static>,
    ) -> Self {
        let reader =
            IterReader { schema: schema.clone(), records: records.into_iter(), given: 0, done: false };
        Self::once(schema, Boundedness::Bounded, reader)
    }

    /// The receiving end of a channel of `capacity` messages (a record, or a batch of them, each). The stream ends when all
    /// senders are gone. It counts as unbounded, since nobody knows when that will be; see [`bounded`](Self::bounded).
    pub fn channel(schema: Arc<Schema>, capacity: usize) -> (MemorySender, Self) {
        let (send, receive) = bounded(capacity.max(1));
        let aborted: Arc<Mutex<Option<String>>> = Arc::default();
        let sender = MemorySender { schema: schema.clone(), send, aborted: aborted.clone() };
        let reader =
            ChannelReader { schema: schema.clone(), receive, aborted, waiting: VecDeque::new(), given: 0 };
        (sender, Self::once(schema, Boundedness::Unbounded, reader))
    }

    /// Declares that a channel will end soon enough for results that need the end of their input.
    pub fn bounded(mut self) -> Self {
        self.boundedness = Boundedness::Bounded;
        self
    }

    fn once(schema: Arc<Schema>, boundedness: Boundedness, reader: impl DataReader + 'static) -> Self {
        Self { schema, boundedness, feed: Feed::Once(Mutex::new(Some(Box::new(reader)))) }
    }
}

fn check_shape(record: &StreamRecord, schema: &Arc<Schema>) -> Result<(), IoError> {
    if Arc::ptr_eq(record.schema(), schema) || record.schema() == schema {
        return Ok(());
    }
    Err(IoError::data(format!("a record has the columns {:?} instead of {schema:?}", record.schema())))
}

impl DataSource for MemorySource {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn boundedness(&self) -> Boundedness {
        self.boundedness
    }
    fn can_replay(&self) -> bool {
        matches!(self.feed, Feed::Rows(_))
    }
    fn open(&self, _scan: &Scan) -> Result<Box<dyn DataReader>, IoError> {
        match &self.feed {
            Feed::Rows(rows) => {
                Ok(Box::new(RowsReader { schema: self.schema.clone(), rows: rows.clone(), next: 0 }))
            }
            Feed::Once(reader) => reader.lock().take().ok_or_else(|| {
                IoError::unsupported(
                    "this iterator or channel was already taken: it can't be opened a second time",
                )
            }),
        }
    }
}

/// Copies rows into recycled records: sharing them would make every change downstream a copy.
struct RowsReader {
    schema: Arc<Schema>,
    rows: Arc<[StreamRecord]>,
    next: usize,
}

impl DataReader for RowsReader {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        if self.next == self.rows.len() {
            return Ok(Read::End);
        }
        while let Some(row) = self.rows.get(self.next).filter(|_| !out.is_full()) {
            let record = out.recycled_record();
            for (to, from) in record.values_mut().iter_mut().zip(row.values()) {
                match from {
                    FieldValue::String(s) => to.set_str(s),
                    other => to.clone_from(other),
                }
            }
            record.copy_metadata(row);
            number(record, self.next as u64);
            self.next += 1;
        }
        Ok(Read::More)
    }
    fn position(&self) -> Position {
        Position::new((self.next as u64).to_be_bytes(), format!("row {}", self.next))
    }
    fn seek(&mut self, position: &Position) -> Result<(), IoError> {
        if position.is_start() {
            return Ok(());
        }
        let row = position.bytes().try_into().map(u64::from_be_bytes).ok();
        match row.filter(|&n| n <= self.rows.len() as u64) {
            Some(n) => self.next = n as usize,
            None => {
                return Err(IoError::data(format!("there is no {position} among {} rows", self.rows.len())));
            }
        }
        Ok(())
    }
}

fn number(record: &mut StreamRecord, n: u64) {
    if record.offset().is_none() {
        record.set_offset(Some(n as i64));
    }
}

struct IterReader<I> {
    schema: Arc<Schema>,
    records: I,
    given: u64,
    done: bool,
}

impl<I: Iterator<Item = StreamRecord> + Send> DataReader for IterReader<I> {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        while !self.done && !out.is_full() {
            match self.records.next() {
                Some(mut record) => {
                    // The iterator can't take it back, so this ends the job.
                    check_shape(&record, &self.schema)?;
                    number(&mut record, self.given);
                    self.given += 1;
                    *out.recycled_record() = record;
                }
                None => self.done = true,
            }
        }
        Ok(if self.done && out.is_empty() { Read::End } else { Read::More })
    }
}

enum Message {
    Record(StreamRecord),
    Batch(Vec<StreamRecord>),
    /// Only wakes the reader.
    Abort,
}

/// Why a record was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The job has ended.
    #[error("the job that read this channel has ended")]
    Closed,
    /// The channel is full (only from [`MemorySender::try_send`] and [`MemorySender::send_timeout`]).
    #[error("the channel is full")]
    Full(Box<StreamRecord>),
    /// The record has other columns than the channel.
    #[error("{0}")]
    Shape(IoError),
}

/// The sending end of a [`MemorySource::channel`]. The stream ends when all clones are dropped.
#[derive(Clone)]
pub struct MemorySender {
    schema: Arc<Schema>,
    send: Sender<Message>,
    aborted: Arc<Mutex<Option<String>>>,
}

impl MemorySender {
    /// The shape that records must have.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Sends a record; blocks while the channel is full.
    ///
    /// # Errors
    /// If the job has ended or the record has another shape.
    pub fn send(&self, record: StreamRecord) -> Result<(), SendError> {
        check_shape(&record, &self.schema).map_err(SendError::Shape)?;
        self.send.send(Message::Record(record)).map_err(|_| SendError::Closed)
    }

    /// Sends a record of these values; blocks while the channel is full.
    ///
    /// # Errors
    /// If the job has ended.
    pub fn send_values(&self, values: impl IntoIterator<Item = FieldValue>) -> Result<(), SendError> {
        self.send(StreamRecord::with_values(self.schema.clone(), values))
    }

    /// Sends records together: cheaper than one by one. Blocks while the channel is full.
    ///
    /// # Errors
    /// If the job has ended or a record has another shape; none is sent then.
    pub fn send_batch(&self, records: Vec<StreamRecord>) -> Result<(), SendError> {
        records.iter().try_for_each(|r| check_shape(r, &self.schema)).map_err(SendError::Shape)?;
        self.send.send(Message::Batch(records)).map_err(|_| SendError::Closed)
    }

    /// Sends a record if there is room.
    ///
    /// # Errors
    /// If there is none, the job has ended, or the record has another shape.
    pub fn try_send(&self, record: StreamRecord) -> Result<(), SendError> {
        self.send_timeout(record, Duration::ZERO)
    }

    /// Sends a record; blocks for at most `timeout` while the channel is full.
    ///
    /// # Errors
    /// If it stays full, the job has ended, or the record has another shape.
    pub fn send_timeout(&self, record: StreamRecord, timeout: Duration) -> Result<(), SendError> {
        check_shape(&record, &self.schema).map_err(SendError::Shape)?;
        use crossbeam_channel::SendTimeoutError::{Disconnected, Timeout};
        match self.send.send_timeout(Message::Record(record), timeout) {
            Err(Timeout(Message::Record(record))) => Err(SendError::Full(Box::new(record))),
            Err(Timeout(_) | Disconnected(_)) => Err(SendError::Closed),
            Ok(()) => Ok(()),
        }
    }

    /// Makes the job fail with that message; what was sent and not read yet is dropped.
    pub fn abort(&self, message: impl Into<String>) {
        self.aborted.lock().get_or_insert_with(|| message.into());
        // A full channel wakes the reader anyway.
        match self.send.try_send(Message::Abort) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

struct ChannelReader {
    schema: Arc<Schema>,
    receive: Receiver<Message>,
    aborted: Arc<Mutex<Option<String>>>,
    /// Received and not yet given: the rest of a batch.
    waiting: VecDeque<StreamRecord>,
    given: u64,
}

impl ChannelReader {
    fn give_waiting(&mut self, out: &mut BatchBuilder) {
        while !out.is_full() {
            let Some(record) = self.waiting.pop_front() else { return };
            self.give(record, out);
        }
    }
    fn give(&mut self, mut record: StreamRecord, out: &mut BatchBuilder) {
        number(&mut record, self.given);
        self.given += 1;
        *out.recycled_record() = record;
    }
    fn take(&mut self, message: Message, out: &mut BatchBuilder) {
        match message {
            Message::Record(record) => self.give(record, out),
            Message::Batch(records) => {
                self.waiting.extend(records);
                self.give_waiting(out);
            }
            Message::Abort => {}
        }
    }
}

impl DataReader for ChannelReader {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        self.give_waiting(out);
        let mut wait = out.max_wait();
        loop {
            if let Some(message) = self.aborted.lock().as_ref() {
                return Err(IoError::new(IoErrorKind::Aborted, message.clone()));
            }
            if out.is_full() {
                return Ok(Read::More);
            }
            match self.receive.try_recv() {
                Ok(message) => self.take(message, out),
                Err(_) if !out.is_empty() => return Ok(Read::More),
                Err(TryRecvError::Disconnected) => return Ok(Read::End),
                Err(TryRecvError::Empty) => match self.receive.recv_timeout(wait) {
                    Ok(message) => self.take(message, out),
                    Err(RecvTimeoutError::Timeout) => return Ok(Read::Idle),
                    // An abort may have come just before: look again.
                    Err(RecvTimeoutError::Disconnected) => wait = Duration::ZERO,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::testing::{line_schema, scan, texts};
    use crate::io::contract::*;

    fn rows(n: usize) -> Vec<StreamRecord> {
        (0..n).map(|i| StreamRecord::with_values(line_schema(), [format!("r{i}").into()])).collect()
    }
    fn open(source: &MemorySource) -> Box<dyn DataReader> {
        source.open(&scan()).unwrap()
    }

    #[test]
    fn a_vector_keeps_the_contract() {
        let source = MemorySource::from_vec(line_schema(), rows(20)).unwrap();
        check_reader(&mut || open(&source)).unwrap();
        assert!(source.can_replay());
        let empty = MemorySource::from_vec(line_schema(), vec![]).unwrap();
        check_reader(&mut || open(&empty)).unwrap();
    }

    #[test]
    fn iterators_and_channels_give_everything_once_in_any_batches() {
        let iter = || open(&MemorySource::from_iter(line_schema(), rows(20)));
        check_limits(&mut { iter }).unwrap();
        check_end(iter().as_mut()).unwrap();
        let mut channel = || {
            let (sender, source) = MemorySource::channel(line_schema(), 20);
            sender.send_batch(rows(9)).unwrap();
            rows(11).into_iter().for_each(|r| sender.send(r).unwrap());
            open(&source)
        };
        check_limits(&mut channel).unwrap();
        check_end(channel().as_mut()).unwrap();
    }

    #[test]
    fn a_channel_is_idle_while_senders_live_and_ends_with_the_last() {
        let (sender, source) = MemorySource::channel(line_schema(), 2);
        let other = sender.clone();
        let mut reader = open(&source);
        let mut next =
            || read_batch(reader.as_mut(), Limits::default()).map(|(r, i)| (r, texts(&i))).unwrap();
        assert_eq!(next(), (Read::Idle, vec![]));
        drop(sender);
        other.send_values(["x".into()]).unwrap();
        assert_eq!(next(), (Read::More, vec!["x".into()]));
        assert_eq!(next(), (Read::Idle, vec![]));
        drop(other);
        assert_eq!(next(), (Read::End, vec![]));
        assert!(source.open(&scan()).err().unwrap().to_string().contains("already taken"));
    }

    #[test]
    fn a_full_channel_holds_up_its_sender_and_a_gone_reader_is_told() {
        let (sender, source) = MemorySource::channel(line_schema(), 1);
        let mut more = rows(3).into_iter();
        sender.try_send(more.next().unwrap()).unwrap();
        assert!(matches!(sender.try_send(more.next().unwrap()), Err(SendError::Full(_))));
        drop(source);
        assert!(matches!(sender.send(more.next().unwrap()), Err(SendError::Closed)));
    }

    #[test]
    fn an_abort_passes_a_full_channel_and_stays() {
        let (sender, source) = MemorySource::channel(line_schema(), 1);
        sender.send(rows(1).remove(0)).unwrap();
        sender.abort("the feed is broken");
        drop(sender);
        let mut reader = open(&source);
        for _ in 0..2 {
            let e = read_batch(reader.as_mut(), Limits::default()).unwrap_err();
            assert!(matches!(e.kind(), IoErrorKind::Aborted) && e.to_string() == "the feed is broken");
        }
    }

    #[test]
    fn records_of_another_shape_are_refused() {
        let odd = StreamRecord::new(Schema::of([("n", crate::record::DataType::BigInt)]));
        let (sender, _source) = MemorySource::channel(line_schema(), 1);
        assert!(matches!(sender.send(odd.clone()), Err(SendError::Shape(_))));
        assert!(MemorySource::from_vec(line_schema(), vec![odd]).is_err());
    }
}
