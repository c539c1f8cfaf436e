//! The contract suite: what every reader and writer must do, as functions that a test calls with a way to open one.
//!
//! Each check gives `Err` with a sentence about the first violation. Sources must be small: some checks open one reader
//! per record.

use std::sync::Arc;
use std::time::Duration;

use super::{DataReader, DataWriter, IoError, IoErrorKind, Read, SinkStart};
use crate::record::{Batch, BatchBuilder, Position, Reject, Schema, StreamRecord};

/// How a check ends: `Err` says what is wrong.
pub type Verdict = Result<(), String>;

/// What a reader gives, in order.
#[derive(Clone, Debug)]
pub enum Item {
    /// A record.
    Record(Arc<StreamRecord>),
    /// One that could not be decoded.
    Reject(Reject),
}

impl PartialEq for Item {
    /// Same content, at the same place in the source.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Item::Record(a), Item::Record(b)) => a == b && a.offset() == b.offset(),
            (Item::Reject(a), Item::Reject(b)) => {
                (a.offset, a.line, &a.raw, a.raw_len, &a.error)
                    == (b.offset, b.line, &b.raw, b.raw_len, &b.error)
            }
            _ => false,
        }
    }
}

/// Limits of the batches that a check reads with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows.
    pub rows: usize,
    /// Bytes.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 1000, bytes: 1 << 20 }
    }
}

/// Reads that bring nothing before a check gives up on a reader.
const PATIENCE: usize = 10_000;

/// Reads one batch: what it brought and what the reader said.
///
/// # Errors
/// As the reader.
pub fn read_batch(reader: &mut dyn DataReader, limits: Limits) -> Result<(Read, Vec<Item>), IoError> {
    let mut out = BatchBuilder::new(reader.schema());
    out.set_limits(limits.rows, limits.bytes);
    // A reader that waits for another process has something to wait with.
    out.set_max_wait(Duration::from_millis(5));
    let read = reader.read(&mut out)?;
    Ok((read, items(&mut out)))
}

/// Records and rejects of a builder, in order.
pub fn items(out: &mut BatchBuilder) -> Vec<Item> {
    let mut rejects = out.take_rejects().into_iter().peekable();
    let batch = out.take(Batch::default());
    let mut items = Vec::new();
    for (i, record) in batch.records().iter().enumerate() {
        while let Some(reject) = rejects.next_if(|r| r.at <= i) {
            items.push(Item::Reject(reject));
        }
        items.push(Item::Record(record.clone()));
    }
    items.extend(rejects.map(Item::Reject));
    items
}

/// Reads until `End`, again after errors that may be retried.
///
/// # Errors
/// The reader's first error that may not be retried, or that it doesn't come to an end.
pub fn read_all(reader: &mut dyn DataReader, limits: Limits) -> Result<Vec<Item>, String> {
    let mut all = Vec::new();
    let mut idle = 0;
    loop {
        match read_batch(reader, limits) {
            Ok((read, items)) => {
                if items.len() > limits.rows {
                    return Err(format!("{} items in a batch of at most {} rows", items.len(), limits.rows));
                }
                idle = if items.is_empty() { idle + 1 } else { 0 };
                all.extend(items);
                if read == Read::End {
                    return Ok(all);
                }
            }
            Err(e) if e.is_transient() => idle += 1,
            Err(e) => return Err(e.to_string()),
        }
        if idle > PATIENCE {
            return Err(format!("no End after {PATIENCE} reads that brought nothing"));
        }
    }
}

/// All checks of a bounded reader that can be sought. `open` gives a new reader at the start.
///
/// # Errors
/// The first violation.
pub fn check_reader(open: &mut dyn FnMut() -> Box<dyn DataReader>) -> Verdict {
    check_end(open().as_mut())?;
    check_limits(open)?;
    check_positions(open)?;
    check_seek(open)
}

/// All checks of a reader of a stream that can't be read again, such as a pipe. `open` gives a new reader of the same content.
///
/// # Errors
/// The first violation.
pub fn check_stream(open: &mut dyn FnMut() -> Box<dyn DataReader>) -> Verdict {
    check_end(open().as_mut())?;
    check_limits(open)?;
    let mut reader = open();
    read_all(reader.as_mut(), Limits::default())?;
    if !reader.position().is_start() {
        return Err(format!("it says that it stands at {}, but nobody can go back there", reader.position()));
    }
    match open().seek(&Position::new([1], "byte 1")) {
        Ok(()) => Err("a seek into a stream that can't be read again succeeds".into()),
        Err(_) => Ok(()),
    }
}

/// After `End` there is only `End`.
///
/// # Errors
/// The violation.
pub fn check_end(reader: &mut dyn DataReader) -> Verdict {
    read_all(reader, Limits::default())?;
    let position = reader.position();
    for _ in 0..3 {
        match read_batch(reader, Limits::default()) {
            Ok((Read::End, items)) if items.is_empty() => {}
            other => return Err(format!("after End came {other:?}")),
        }
    }
    match reader.position() == position {
        true => Ok(()),
        false => Err("the position moved after End".into()),
    }
}

/// Any limits of rows and bytes give the same records and rejects.
///
/// # Errors
/// The violation.
pub fn check_limits(open: &mut dyn FnMut() -> Box<dyn DataReader>) -> Verdict {
    let expected = read_all(open().as_mut(), Limits::default())?;
    for rows in [1, 2, 3, 7, 64, 1001] {
        for bytes in [1, 100, 1 << 20] {
            let limits = Limits { rows, bytes };
            let got = read_all(open().as_mut(), limits)?;
            same(&got, &expected, &format!("{limits:?} instead of the default limits"))?;
        }
    }
    Ok(())
}

/// Positions never go back, and move on with every batch that brings something.
///
/// # Errors
/// The violation.
pub fn check_positions(open: &mut dyn FnMut() -> Box<dyn DataReader>) -> Verdict {
    let mut reader = open();
    let mut last = reader.position();
    loop {
        let (read, items) =
            read_batch(reader.as_mut(), Limits { rows: 1, bytes: 1 }).map_err(|e| e.to_string())?;
        let now = reader.position();
        if now < last || !items.is_empty() && now == last {
            return Err(format!("the position went from {last} to {now} with {} items", items.len()));
        }
        if read == Read::End {
            return Ok(());
        }
        last = now;
    }
}

/// From the position after each batch a new reader gives exactly the rest.
///
/// # Errors
/// The violation.
pub fn check_seek(open: &mut dyn FnMut() -> Box<dyn DataReader>) -> Verdict {
    let expected = read_all(open().as_mut(), Limits::default())?;
    [Limits { rows: 1, bytes: 1 }, Limits { rows: 3, bytes: 1 << 20 }, Limits::default()]
        .into_iter()
        .try_for_each(|limits| check_seek_after(open, limits, &expected))
}

fn check_seek_after(
    open: &mut dyn FnMut() -> Box<dyn DataReader>,
    limits: Limits,
    expected: &[Item],
) -> Verdict {
    let mut reader = open();
    let mut given = 0;
    loop {
        let position = reader.position();
        let mut resumed = open();
        resumed.seek(&position).map_err(|e| format!("seek to {position}: {e}"))?;
        let rest = read_all(resumed.as_mut(), Limits::default())?;
        same(
            &rest,
            expected.get(given..).unwrap_or(&[]),
            &format!("resumed at {position}, after {given} items"),
        )?;
        let (read, items) = read_batch(reader.as_mut(), limits).map_err(|e| e.to_string())?;
        given += items.len();
        if read == Read::End {
            return Ok(());
        }
    }
}

fn same(got: &[Item], expected: &[Item], what: &str) -> Verdict {
    if let Some(i) = (0..got.len().max(expected.len())).find(|&i| got.get(i) != expected.get(i)) {
        return Err(format!(
            "{what}: {} items for {}; the first difference is item {i}: {:?} instead of {:?}",
            got.len(),
            expected.len(),
            got.get(i),
            expected.get(i)
        ));
    }
    Ok(())
}

/// A sink under test.
pub struct SinkUnderTest<'a> {
    /// Shape of the records.
    pub schema: Arc<Schema>,
    /// Opens it. `Fresh` must begin with an empty sink.
    #[allow(clippy::type_complexity)]
    pub open: Box<dyn FnMut(&SinkStart) -> Result<Box<dyn DataWriter>, IoError> + 'a>,
    /// What it holds, after everything was flushed: for comparison only.
    pub content: Box<dyn FnMut() -> Vec<u8> + 'a>,
}

impl SinkUnderTest<'_> {
    fn start(&mut self, start: &SinkStart) -> Result<Box<dyn DataWriter>, String> {
        (self.open)(start).map_err(|e| format!("open {start:?}: {e}"))
    }
    fn whole(&mut self, records: &[Arc<StreamRecord>], piece: usize) -> Result<Vec<u8>, String> {
        let mut writer = self.start(&SinkStart::Fresh)?;
        write_all(writer.as_mut(), records, piece)?;
        end(writer)?;
        Ok((self.content)())
    }
}

fn write_all(writer: &mut dyn DataWriter, records: &[Arc<StreamRecord>], piece: usize) -> Verdict {
    records.chunks(piece.max(1)).try_for_each(|batch| writer.write(batch).map_err(|e| format!("write: {e}")))
}

fn end(mut writer: Box<dyn DataWriter>) -> Result<Position, String> {
    writer.finish().map_err(|e| format!("finish: {e}"))?;
    writer.sync().map_err(|e| format!("sync after finish: {e}"))
}

/// Any split into batches, with flushes between, gives the same content.
///
/// # Errors
/// The violation.
pub fn check_writer(sink: &mut SinkUnderTest<'_>, records: &[Arc<StreamRecord>]) -> Verdict {
    let expected = sink.whole(records, records.len())?;
    for piece in [1, 2, 7] {
        if sink.whole(records, piece)? != expected {
            return Err(format!("batches of {piece} give other content than one batch"));
        }
        let mut writer = sink.start(&SinkStart::Fresh)?;
        for batch in records.chunks(piece) {
            writer.write(batch).and_then(|()| writer.flush()).map_err(|e| format!("write and flush: {e}"))?;
        }
        end(writer)?;
        if (sink.content)() != expected {
            return Err(format!("a flush after every {piece} records changes the content"));
        }
    }
    writer_of_nothing(sink)
}

fn writer_of_nothing(sink: &mut SinkUnderTest<'_>) -> Verdict {
    let mut writer = sink.start(&SinkStart::Fresh)?;
    writer.write(&[]).map_err(|e| format!("write of an empty batch: {e}"))?;
    end(writer).map(drop)
}

/// After `sync`, whatever follows and is then lost in a crash, a resumed sink ends with the same content as one that never failed.
///
/// `content` must compare equal where commits differ: give it what a consumer would see (uncompressed).
///
/// # Errors
/// The violation.
pub fn check_writer_resumes(sink: &mut SinkUnderTest<'_>, records: &[Arc<StreamRecord>]) -> Verdict {
    let expected = sink.whole(records, records.len())?;
    for committed in 0..=records.len() {
        for torn in [0, 1, records.len() - committed] {
            let (before, after) = records.split_at(committed);
            let mut writer = sink.start(&SinkStart::Fresh)?;
            write_all(writer.as_mut(), before, 3)?;
            let position = writer.sync().map_err(|e| format!("sync: {e}"))?;
            write_all(writer.as_mut(), after.get(..torn).unwrap_or(&[]), 1)?;
            writer.flush().map_err(|e| format!("flush: {e}"))?;
            drop(writer);
            let mut writer = sink.start(&SinkStart::Resume(position))?;
            write_all(writer.as_mut(), after, 2)?;
            end(writer)?;
            if (sink.content)() != expected {
                return Err(format!(
                    "committed after {committed} records, {torn} more lost: other content after a restart"
                ));
            }
        }
    }
    Ok(())
}

/// A record that the sink refuses is named, the records before it are taken, and going on after it works.
/// `records[bad]` must be one that it refuses.
///
/// # Errors
/// The violation.
pub fn check_writer_rejects(
    sink: &mut SinkUnderTest<'_>,
    records: &[Arc<StreamRecord>],
    bad: usize,
) -> Verdict {
    let (before, after) = (records.get(..bad).unwrap_or(&[]), records.get(bad + 1..).unwrap_or(&[]));
    let expected = sink.whole(&[before, after].concat(), records.len())?;
    let mut writer = sink.start(&SinkStart::Fresh)?;
    match writer.write(records) {
        Ok(()) => return Err(format!("record {bad} was not refused")),
        Err(e) => match e.kind() {
            IoErrorKind::Rejected { at, .. } if *at == bad => {}
            other => return Err(format!("expected a refusal of record {bad}, got {other:?}")),
        },
    }
    write_all(writer.as_mut(), after, records.len())?;
    end(writer)?;
    match (sink.content)() == expected {
        true => Ok(()),
        false => Err("the content is not that of the records without the refused one".into()),
    }
}
