//! Rows for the program: collected in a vector, or through a channel as an iterator.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded, unbounded};
use parking_lot::Mutex;

use crate::io::{DataSink, DataWriter, IoError, IoErrorKind, SinkStart};
use crate::record::{Schema, StreamRecord};

/// Collects every record. For results that fit in memory.
///
/// ```
/// use millstream::Engine;
/// use millstream::connector::memory::MemorySink;
///
/// let engine = Engine::new();
/// let (sink, collected) = MemorySink::new();
/// engine.register_sink("out", sink)?;
/// engine.sql("INSERT INTO out SELECT 1 AS n UNION ALL SELECT 2")?.start()?.wait()?;
/// let numbers: Vec<_> = collected.rows().iter().filter_map(|row| row.get("n")?.as_i64()).collect();
/// assert_eq!(numbers, [1, 2]);
/// # Ok::<(), millstream::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct MemorySink {
    rows: Collected,
}

/// What a [`MemorySink`] has collected so far.
#[derive(Clone, Default)]
pub struct Collected(Arc<Mutex<Vec<Arc<StreamRecord>>>>);

impl MemorySink {
    /// A sink and a view of what it collects.
    pub fn new() -> (Self, Collected) {
        let sink = Self::default();
        let rows = sink.rows.clone();
        (sink, rows)
    }
}

impl Collected {
    /// The records so far.
    pub fn rows(&self) -> Vec<Arc<StreamRecord>> {
        self.0.lock().clone()
    }
    /// Takes the records so far out.
    pub fn take(&self) -> Vec<Arc<StreamRecord>> {
        std::mem::take(&mut self.0.lock())
    }
    /// Number of records.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl DataSink for MemorySink {
    fn open(&self, _schema: Arc<Schema>, _start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        Ok(Box::new(Collect(self.rows.clone())))
    }
}

struct Collect(Collected);

impl DataWriter for Collect {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        self.0.0.lock().extend_from_slice(batch);
        Ok(())
    }
    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

/// How often a writer that waits for a full channel looks whether the rows are still wanted.
const CLOSE_CHECK: Duration = Duration::from_millis(50);

type RowBatch = Vec<Arc<StreamRecord>>;

/// Sends every batch through a bounded channel to [`Rows`].
pub struct ChannelSink {
    /// Taken when the writer finishes, so that the iterator ends while the sink still lives.
    send: Arc<Mutex<Option<Sender<RowBatch>>>>,
    closed: Arc<AtomicBool>,
}

impl ChannelSink {
    /// A sink and the rows that it gives, at most `capacity` batches ahead of their reader.
    pub fn new(capacity: usize) -> (Self, Rows) {
        Self::of(bounded(capacity.max(1)))
    }

    /// The same without a bound, for a program that drives the job on the thread that reads the rows: nobody could make room
    /// while the job waits.
    pub fn unbounded() -> (Self, Rows) {
        Self::of(unbounded())
    }

    fn of((send, receive): (Sender<RowBatch>, Receiver<RowBatch>)) -> (Self, Rows) {
        let closed: Arc<AtomicBool> = Arc::default();
        let sink = Self { send: Arc::new(Mutex::new(Some(send))), closed: closed.clone() };
        (sink, Rows { receive, batch: Vec::new().into_iter(), closer: RowsCloser(closed) })
    }
}

impl DataSink for ChannelSink {
    fn open(&self, _schema: Arc<Schema>, _start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        let ended = || IoError::unsupported("the rows of this sink have ended: it can't be opened again");
        let send = self.send.lock().clone().ok_or_else(ended)?;
        Ok(Box::new(ChannelWriter { send: Some(send), slot: self.send.clone(), closed: self.closed.clone() }))
    }
}

struct ChannelWriter {
    send: Option<Sender<RowBatch>>,
    slot: Arc<Mutex<Option<Sender<RowBatch>>>>,
    closed: Arc<AtomicBool>,
}

impl DataWriter for ChannelWriter {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        if batch.is_empty() {
            return Ok(());
        }
        let gone = || IoError::new(IoErrorKind::BrokenPipe, "nobody reads the rows any more");
        let send = self.send.as_ref().ok_or_else(gone)?;
        let mut rows = batch.to_vec();
        loop {
            if self.closed.load(Ordering::Acquire) {
                return Err(gone());
            }
            match send.send_timeout(rows, CLOSE_CHECK) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Timeout(back)) => rows = back,
                Err(SendTimeoutError::Disconnected(_)) => return Err(gone()),
            }
        }
    }
    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
    fn finish(&mut self) -> Result<(), IoError> {
        self.send = None;
        self.slot.lock().take();
        Ok(())
    }
}

/// The rows that a job gives, in order; ends when the job does.
pub struct Rows {
    receive: Receiver<RowBatch>,
    batch: std::vec::IntoIter<Arc<StreamRecord>>,
    closer: RowsCloser,
}

/// Tells a [`ChannelSink`] from elsewhere that nobody will read its rows.
#[derive(Clone)]
pub struct RowsCloser(Arc<AtomicBool>);

impl RowsCloser {
    /// The writer's next or waiting `write` ends with `BrokenPipe`.
    pub fn close(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Rows {
    /// A handle that closes these rows.
    pub fn closer(&self) -> RowsCloser {
        self.closer.clone()
    }
    /// The next row if one is there.
    pub fn try_next(&mut self) -> Option<Arc<StreamRecord>> {
        self.batch.next().or_else(|| {
            self.batch = self.receive.try_recv().ok()?.into_iter();
            self.batch.next()
        })
    }
    /// The next row; waits at most for `timeout`. `None` also if there will be no more.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Arc<StreamRecord>> {
        self.batch.next().or_else(|| {
            self.batch = self.receive.recv_timeout(timeout).ok()?.into_iter();
            self.batch.next()
        })
    }
}

impl Iterator for Rows {
    type Item = Arc<StreamRecord>;
    fn next(&mut self) -> Option<Self::Item> {
        self.batch.next().or_else(|| {
            self.batch = self.receive.recv().ok()?.into_iter();
            self.batch.next()
        })
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.closer.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::testing::{line_schema, record};
    use crate::io::contract::{SinkUnderTest, check_writer};

    fn text(rows: &[Arc<StreamRecord>]) -> Vec<u8> {
        rows.iter().flat_map(|r| r.values()[0].as_str().unwrap().bytes().chain([b'\n'])).collect()
    }

    #[test]
    fn collecting_keeps_the_contract() {
        let records: Vec<_> = (0..20).map(|i| record(&format!("{i}"))).collect();
        let (sink, rows) = MemorySink::new();
        let mut under_test = SinkUnderTest {
            schema: line_schema(),
            open: Box::new(|start| sink.open(line_schema(), start)),
            content: Box::new(|| text(&rows.take())),
        };
        check_writer(&mut under_test, &records).unwrap();
    }

    #[test]
    fn rows_come_in_order_and_end_when_the_writer_finishes() {
        let (sink, mut rows) = ChannelSink::new(8);
        let mut writer = sink.open(line_schema(), &SinkStart::Fresh).unwrap();
        writer.write(&[record("a"), record("b")]).unwrap();
        writer.write(&[]).unwrap();
        assert_eq!(text(&[rows.try_next().unwrap(), rows.try_next().unwrap()]), b"a\nb\n");
        assert!(rows.try_next().is_none());
        writer.write(&[record("c")]).unwrap();
        writer.finish().unwrap();
        assert_eq!(text(&rows.collect::<Vec<_>>()), b"c\n");
    }

    #[test]
    fn a_writer_that_waits_is_woken_when_the_rows_are_given_up() {
        let (sink, rows) = ChannelSink::new(1);
        let mut writer = sink.open(line_schema(), &SinkStart::Fresh).unwrap();
        writer.write(&[record("a")]).unwrap();
        let closer = rows.closer();
        let waiting = std::thread::spawn(move || writer.write(&[record("b")]).unwrap_err());
        closer.close();
        assert!(matches!(waiting.join().unwrap().kind(), IoErrorKind::BrokenPipe));
        drop(rows);
    }
}
