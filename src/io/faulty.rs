//! Readers and writers that fail on purpose, as a script says: faults enter through the doors, so that production code
//! carries no fail points.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Boundedness, DataReader, DataWriter, IoError, IoErrorKind, Read, Refused};
use crate::record::{BatchBuilder, Clock, ErrorCode, Position, RecordError, Schema, StreamRecord};

/// What goes wrong in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error that may be retried; nothing of the call counts. A reader leaves that many junk records behind
    /// first, which must not count either.
    Transient(usize),
    /// An error that may not be retried.
    Fatal,
    /// A panic.
    Panic,
    /// Reader only: nothing there at the moment.
    Idle,
    /// Reader only: at most that many records.
    Short(usize),
    /// Writer only: that record of the batch is refused.
    Reject(usize),
}

/// Which call meets which fault; calls are counted from 0.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Faults of `read` or `write`.
    pub calls: BTreeMap<u64, Fault>,
    /// Panic while this record (from 0) is read or written.
    pub panic_at_record: Option<u64>,
    /// Writer only: this `flush` fails.
    pub flush_fails_at: Option<u64>,
    /// Writer only: this `sync` fails.
    pub sync_fails_at: Option<u64>,
}

impl Script {
    /// These faults at these calls.
    pub fn of(faults: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        Self { calls: faults.into_iter().collect(), ..Self::default() }
    }
}

fn transient(call: u64) -> IoError {
    IoError::new(IoErrorKind::Unavailable, format!("scripted transient fault in call {call}"))
}
fn fatal(what: &str, call: u64) -> IoError {
    IoError::os(format!("scripted fault in {what} {call}"), std::io::Error::from_raw_os_error(5))
}
#[allow(clippy::panic)]
fn panic_now(what: &str) -> ! {
    panic!("scripted panic: {what}")
}

/// A reader or writer with scripted faults.
pub struct Faulty<T> {
    inner: T,
    script: Script,
    calls: u64,
    records: u64,
    flushes: u64,
    syncs: u64,
}

impl<T> Faulty<T> {
    /// Wraps `inner`.
    pub fn new(inner: T, script: Script) -> Self {
        Self { inner, script, calls: 0, records: 0, flushes: 0, syncs: 0 }
    }
    /// What is wrapped.
    pub fn into_inner(self) -> T {
        self.inner
    }
    fn next_fault(&mut self) -> (u64, Option<Fault>) {
        let call = self.calls;
        self.calls += 1;
        (call, self.script.calls.get(&call).copied())
    }
    fn count(&mut self, records: usize, what: &str) {
        let from = self.records;
        self.records += records as u64;
        if self.script.panic_at_record.is_some_and(|n| (from..self.records).contains(&n)) {
            panic_now(what);
        }
    }
}

impl DataReader for Faulty<Box<dyn DataReader>> {
    fn schema(&self) -> Arc<Schema> {
        self.inner.schema()
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        let (call, fault) = self.next_fault();
        let before = out.len();
        let (rows, bytes) = out.limits();
        match fault {
            Some(Fault::Transient(junk)) => {
                for _ in 0..junk {
                    out.record();
                }
                return Err(transient(call));
            }
            Some(Fault::Fatal) => return Err(fatal("read", call)),
            Some(Fault::Panic) => panic_now("read"),
            Some(Fault::Idle) => return Ok(Read::Idle),
            Some(Fault::Short(n)) => out.set_limits(before + out.rejects().len() + n, bytes),
            Some(Fault::Reject(_)) | None => {}
        }
        let result = self.inner.read(out);
        out.set_limits(rows, bytes);
        self.count(out.len() - before, "record read");
        result
    }
    fn boundedness(&self) -> Boundedness {
        self.inner.boundedness()
    }
    fn position(&self) -> Position {
        self.inner.position()
    }
    fn seek(&mut self, position: &Position) -> Result<(), IoError> {
        self.inner.seek(position)
    }
    fn commit(&mut self, position: &Position) -> Result<(), IoError> {
        self.inner.commit(position)
    }
    fn wants_commit(&self) -> bool {
        self.inner.wants_commit()
    }
    fn waiting(&self) -> Vec<(Option<Arc<str>>, i32)> {
        self.inner.waiting()
    }
    fn divided(&self) -> Option<usize> {
        self.inner.divided()
    }
}

impl DataWriter for Faulty<Box<dyn DataWriter>> {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        let (call, fault) = self.next_fault();
        match fault {
            Some(Fault::Transient(_)) => return Err(transient(call)),
            Some(Fault::Fatal) => return Err(fatal("write", call)),
            Some(Fault::Panic) => panic_now("write"),
            Some(Fault::Reject(at)) if at < batch.len() => {
                self.inner.write(batch.get(..at).unwrap_or(&[]))?;
                self.count(at, "record written");
                return Err(IoError::rejected(
                    at,
                    RecordError::new(ErrorCode::SinkRejected, "scripted refusal"),
                ));
            }
            _ => {}
        }
        self.count(batch.len(), "record written");
        self.inner.write(batch)
    }
    fn flush(&mut self) -> Result<(), IoError> {
        let call = self.flushes;
        self.flushes += 1;
        match self.script.flush_fails_at == Some(call) {
            true => Err(fatal("flush", call)),
            false => self.inner.flush(),
        }
    }
    fn sync(&mut self) -> Result<Position, IoError> {
        let call = self.syncs;
        self.syncs += 1;
        match self.script.sync_fails_at == Some(call) {
            true => Err(fatal("sync", call)),
            false => self.inner.sync(),
        }
    }
    fn take_refused(&mut self) -> Vec<Refused> {
        self.inner.take_refused()
    }
    fn use_clock(&mut self, clock: &Clock) {
        self.inner.use_clock(clock);
    }
    fn finish(&mut self) -> Result<(), IoError> {
        self.inner.finish()
    }
    fn begin(&mut self, epoch: u64) -> Result<(), IoError> {
        self.inner.begin(epoch)
    }
    fn prepare(&mut self, epoch: u64) -> Result<Position, IoError> {
        self.inner.prepare(epoch)
    }
    fn commit(&mut self, epoch: u64) -> Result<(), IoError> {
        self.inner.commit(epoch)
    }
    fn abort(&mut self, epoch: u64) -> Result<(), IoError> {
        self.inner.abort(epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::contract::{Item, Limits, read_all, read_batch};
    use crate::record::DataType;

    /// Counts up to a limit.
    struct Count {
        schema: Arc<Schema>,
        next: i64,
    }

    impl DataReader for Count {
        fn schema(&self) -> Arc<Schema> {
            self.schema.clone()
        }
        fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
            while self.next < 10 && !out.is_full() {
                out.record().set(0, self.next);
                self.next += 1;
            }
            Ok(if out.is_empty() { Read::End } else { Read::More })
        }
    }

    fn faulty(script: Script) -> Faulty<Box<dyn DataReader>> {
        let schema = Schema::of([("n", DataType::BigInt)]);
        Faulty::new(Box::new(Count { schema, next: 0 }), script)
    }
    fn numbers(items: &[Item]) -> Vec<i64> {
        items
            .iter()
            .filter_map(|i| match i {
                Item::Record(r) => r.values()[0].as_i64(),
                Item::Reject(_) => None,
            })
            .collect()
    }

    #[test]
    fn faults_that_pass_change_nothing() {
        let script = Script::of([
            (0, Fault::Transient(3)),
            (1, Fault::Idle),
            (2, Fault::Short(4)),
            (3, Fault::Transient(0)),
        ]);
        let items = read_all(&mut faulty(script), Limits { rows: 5, bytes: 1000 }).unwrap();
        assert_eq!(numbers(&items), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_fatal_fault_comes_at_its_call_and_a_panic_at_its_record() {
        let mut reader = faulty(Script::of([(1, Fault::Fatal)]));
        let limits = Limits { rows: 3, bytes: 1000 };
        assert_eq!(numbers(&read_batch(&mut reader, limits).unwrap().1), [0, 1, 2]);
        assert!(!read_batch(&mut reader, limits).unwrap_err().is_transient());
        assert_eq!(numbers(&read_batch(&mut reader, limits).unwrap().1), [3, 4, 5]);
        let mut reader = faulty(Script { panic_at_record: Some(4), ..Script::default() });
        assert!(read_batch(&mut reader, limits).is_ok());
        let second =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read_batch(&mut reader, limits)));
        assert!(second.is_err());
    }
}
