//! Materialized tables: the latest row of each key, written by a job and read by other threads while it runs.
//!
//! Rows are spread over shards that are copied on write: a reader takes the shards as they are between two batches, which
//! costs one reference count each, and then reads at leisure. A writer copies a shard only if a reader still holds it.

use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap};
use parking_lot::Mutex;

use crate::io::{Boundedness, DataReader, DataSink, DataSource, DataWriter, IoError, Read, Scan, SinkStart};
use crate::record::{BatchBuilder, FieldValue, Position, RowKind, Schema, StreamRecord};
use crate::state::{StateError, StateReader, StateWriter};

const SHARDS: usize = 64;

/// A row, and when its key came first: readers get rows in that order.
#[derive(Clone)]
struct Row {
    arrived: u64,
    record: Arc<StreamRecord>,
}

type Shard = HashMap<Box<[u8]>, Row>;

struct Content {
    shards: Vec<Arc<Shard>>,
    arrived: u64,
}

impl Default for Content {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Arc::default()).collect(), arrived: 0 }
    }
}

/// The latest row of each key. Clones are the same table.
#[derive(Clone)]
pub struct Table {
    schema: Arc<Schema>,
    /// Positions of the key columns.
    key: Arc<[usize]>,
    content: Arc<Mutex<Content>>,
    hasher: DefaultHashBuilder,
}

impl Table {
    /// An empty table of that shape. Without key columns it has at most one row.
    pub fn new(schema: Arc<Schema>, key: impl IntoIterator<Item = usize>) -> Self {
        Self { schema, key: key.into_iter().collect(), content: Arc::default(), hasher: Default::default() }
    }

    /// The columns.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Positions of the key columns.
    pub fn key(&self) -> &[usize] {
        &self.key
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.content.lock().shards.iter().map(|s| s.len()).sum()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row of a key, given by the values of the key columns.
    pub fn get(&self, key: &[FieldValue]) -> Option<Arc<StreamRecord>> {
        let mut bytes = Vec::new();
        encode(key.iter(), &mut bytes).ok()?;
        let shard = self.content.lock().shards.get(self.shard(&bytes))?.clone();
        shard.get(bytes.as_slice()).map(|row| row.record.clone())
    }

    /// All rows as they stood between two batches, keys in the order in which they came first.
    pub fn rows(&self) -> Vec<Arc<StreamRecord>> {
        let shards = self.content.lock().shards.clone();
        let mut rows: Vec<Row> = shards.iter().flat_map(|s| s.values().cloned()).collect();
        rows.sort_unstable_by_key(|row| row.arrived);
        rows.into_iter().map(|row| row.record).collect()
    }

    fn shard(&self, key: &[u8]) -> usize {
        use std::hash::BuildHasher;
        // The low bits choose the bucket within the shard.
        (self.hasher.hash_one(key) >> 48) as usize % SHARDS
    }

    fn clear(&self) {
        *self.content.lock() = Content::default();
    }
}

/// A key as bytes. Columns have one type each, so equal values have equal text.
fn encode<'a>(key: impl Iterator<Item = &'a FieldValue>, to: &mut Vec<u8>) -> Result<(), IoError> {
    to.clear();
    for value in key {
        serde_json::to_writer(&mut *to, value).map_err(|e| IoError::data(format!("a key: {e}")))?;
        to.push(b'\n');
    }
    Ok(())
}

/// Writes a [`Table`]; a fresh start empties it. Its position is its content, so that a commit holds it.
#[derive(Clone)]
pub struct TableSink(pub Table);

impl DataSink for TableSink {
    fn open(&self, schema: Arc<Schema>, start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        if schema.len() != self.0.schema.len() {
            return Err(IoError::config(format!(
                "the table has the columns {:?}, not {schema:?}",
                self.0.schema
            )));
        }
        self.0.clear();
        let mut writer = TableWriter { table: self.0.clone(), bytes: Vec::new() };
        if let SinkStart::Resume(position) = start
            && !position.is_start()
        {
            writer
                .restore(position.bytes())
                .map_err(|e| IoError::data(format!("the state of the table: {e}")))?;
        }
        Ok(Box::new(writer))
    }

    fn can_resume(&self) -> bool {
        true
    }

    fn holds_content(&self) -> bool {
        true
    }
}

struct TableWriter {
    table: Table,
    bytes: Vec<u8>,
}

impl TableWriter {
    /// Reads what [`sync`](DataWriter::sync) wrote.
    fn restore(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let mut from = StateReader::new(bytes);
        let columns = self.table.schema.len();
        let shared = self.table.content.clone();
        let mut content = shared.lock();
        for _ in 0..from.u64()? {
            let values = from.values()?;
            if values.len() != columns {
                return Err(StateError(format!("a row has {} columns, not {columns}", values.len())));
            }
            let row = StreamRecord::with_values(self.table.schema.clone(), values);
            self.apply(&mut content, &row).map_err(|e| StateError(e.to_string()))?;
        }
        match from.is_empty() {
            true => Ok(()),
            false => Err(StateError("there is more than its rows".into())),
        }
    }

    fn apply(&mut self, content: &mut Content, record: &StreamRecord) -> Result<(), IoError> {
        let values = record.values();
        encode(self.table.key.iter().filter_map(|i| values.get(*i)), &mut self.bytes)?;
        let at = self.table.shard(&self.bytes);
        let Some(shard) = content.shards.get_mut(at) else { return Ok(()) };
        match record.kind() {
            RowKind::UpdateBefore => {}
            RowKind::Delete => {
                Arc::make_mut(shard).remove(self.bytes.as_slice());
            }
            RowKind::Insert | RowKind::UpdateAfter => {
                let shard = Arc::make_mut(shard);
                match shard.get_mut(self.bytes.as_slice()) {
                    Some(row) => self.table.replace(&mut row.record, record),
                    None => {
                        let row = Row { arrived: content.arrived, record: self.table.copy(record) };
                        content.arrived += 1;
                        shard.insert(self.bytes.as_slice().into(), row);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Table {
    fn copy(&self, record: &StreamRecord) -> Arc<StreamRecord> {
        Arc::new(StreamRecord::with_values(self.schema.clone(), record.values().iter().cloned()))
    }

    /// In place where no reader holds the row.
    fn replace(&self, row: &mut Arc<StreamRecord>, record: &StreamRecord) {
        match Arc::get_mut(row) {
            Some(own) => {
                for (to, from) in own.values_mut().iter_mut().zip(record.values()) {
                    to.assign(from);
                }
            }
            None => *row = self.copy(record),
        }
    }
}

impl DataWriter for TableWriter {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        let shared = self.table.content.clone();
        // One lock for the batch: readers see all of it or nothing.
        let mut content = shared.lock();
        batch.iter().try_for_each(|record| self.apply(&mut content, record))
    }

    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }

    fn sync(&mut self) -> Result<Position, IoError> {
        let rows = self.table.rows();
        let mut to = StateWriter::new();
        to.u64(rows.len() as u64);
        rows.iter().for_each(|row| to.values(row.values()));
        Ok(Position::new(to.into_bytes(), format!("{} rows", rows.len())))
    }
}

/// Reads a [`Table`] as it stands when the source is opened: a pull query.
#[derive(Clone)]
pub struct TableSource {
    table: Table,
    /// Values of all key columns: the one row that is wanted.
    only: Option<Vec<FieldValue>>,
}

impl TableSource {
    /// All rows.
    pub fn new(table: Table) -> Self {
        Self { table, only: None }
    }

    /// The row of one key, if it is there.
    pub fn of_key(table: Table, key: Vec<FieldValue>) -> Self {
        Self { table, only: Some(key) }
    }
}

impl DataSource for TableSource {
    fn schema(&self) -> Arc<Schema> {
        self.table.schema.clone()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }
    fn open(&self, _scan: &Scan) -> Result<Box<dyn DataReader>, IoError> {
        let rows = match &self.only {
            Some(key) => self.table.get(key).into_iter().collect(),
            None => self.table.rows(),
        };
        Ok(Box::new(TableReader { schema: self.table.schema.clone(), rows, next: 0 }))
    }
}

struct TableReader {
    schema: Arc<Schema>,
    rows: Vec<Arc<StreamRecord>>,
    next: usize,
}

impl DataReader for TableReader {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        while let Some(row) = self.rows.get(self.next).filter(|_| !out.is_full()) {
            for (to, from) in out.recycled_record().values_mut().iter_mut().zip(row.values()) {
                to.assign(from);
            }
            self.next += 1;
        }
        Ok(if self.next == self.rows.len() { Read::End } else { Read::More })
    }
    fn position(&self) -> Position {
        Position::new((self.next as u64).to_be_bytes(), format!("row {}", self.next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::DataType;

    fn schema() -> Arc<Schema> {
        Schema::of([("k", DataType::Varchar), ("n", DataType::BigInt)])
    }
    fn row(kind: RowKind, k: &str, n: i64) -> Arc<StreamRecord> {
        let mut record = StreamRecord::with_values(schema(), [k.into(), n.into()]);
        record.set_kind(kind);
        Arc::new(record)
    }
    fn content(table: &Table) -> Vec<(String, i64)> {
        let pair = |r: &Arc<StreamRecord>| match r.values() {
            [FieldValue::String(k), FieldValue::Integer(n)] => (k.to_string(), *n),
            other => panic!("{other:?}"),
        };
        table.rows().iter().map(pair).collect()
    }

    #[test]
    fn rows_follow_the_changelog_in_the_order_in_which_keys_came() {
        let table = Table::new(schema(), [0]);
        let mut writer = TableSink(table.clone()).open(schema(), &SinkStart::Fresh).unwrap();
        use RowKind as K;
        writer.write(&[row(K::Insert, "b", 1), row(K::Insert, "a", 1), row(K::Insert, "c", 1)]).unwrap();
        writer
            .write(&[row(K::UpdateBefore, "b", 1), row(K::UpdateAfter, "b", 2), row(K::Delete, "a", 1)])
            .unwrap();
        assert_eq!(content(&table), [("b".into(), 2), ("c".into(), 1)]);
        assert_eq!(table.get(&["b".into()]).unwrap().get("n"), Some(&FieldValue::Integer(2)));
        assert!(table.get(&["a".into()]).is_none());
        assert_eq!((table.len(), table.is_empty()), (2, false));
    }

    #[test]
    fn what_a_reader_holds_does_not_change() {
        let table = Table::new(schema(), [0]);
        let mut writer = TableSink(table.clone()).open(schema(), &SinkStart::Fresh).unwrap();
        writer.write(&[row(RowKind::Insert, "a", 1)]).unwrap();
        let held = table.rows();
        writer.write(&[row(RowKind::UpdateAfter, "a", 2)]).unwrap();
        assert_eq!(held[0].get("n"), Some(&FieldValue::Integer(1)));
        assert_eq!(content(&table), [("a".into(), 2)]);
    }

    #[test]
    fn its_position_is_its_content() {
        let table = Table::new(schema(), [0]);
        let mut writer = TableSink(table.clone()).open(schema(), &SinkStart::Fresh).unwrap();
        writer.write(&[row(RowKind::Insert, "b", 1), row(RowKind::Insert, "a", 2)]).unwrap();
        let position = writer.sync().unwrap();
        writer.write(&[row(RowKind::Delete, "b", 1), row(RowKind::Insert, "c", 3)]).unwrap();
        let again = Table::new(schema(), [0]);
        for target in [&table, &again] {
            TableSink(target.clone()).open(schema(), &SinkStart::Resume(position.clone())).unwrap();
            assert_eq!(content(target), [("b".into(), 1), ("a".into(), 2)]);
        }
        for cut in 1..position.bytes().len() {
            let cut = Position::new(&position.bytes()[..cut], "");
            assert!(TableSink(table.clone()).open(schema(), &SinkStart::Resume(cut)).is_err());
        }
    }

    #[test]
    fn readers_see_whole_batches_while_a_writer_works() {
        let table = Table::new(schema(), [0]);
        let mut writer = TableSink(table.clone()).open(schema(), &SinkStart::Fresh).unwrap();
        let keys: Vec<String> = (0..100).map(|k| format!("key {k}")).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..200 {
                    let batch: Vec<_> = keys.iter().map(|k| row(RowKind::UpdateAfter, k, n)).collect();
                    writer.write(&batch).unwrap();
                }
            });
            loop {
                let rows = content(&table);
                if let Some((_, first)) = rows.first() {
                    assert_eq!(rows.len(), 100);
                    assert!(rows.iter().all(|(_, n)| n == first), "a batch was seen in part");
                    if *first == 199 {
                        break;
                    }
                }
            }
        });
    }

    #[test]
    fn a_source_reads_all_or_one() {
        let table = Table::new(schema(), [0]);
        let mut writer = TableSink(table.clone()).open(schema(), &SinkStart::Fresh).unwrap();
        writer.write(&[row(RowKind::Insert, "a", 1), row(RowKind::Insert, "b", 2)]).unwrap();
        for (source, expected) in [
            (TableSource::new(table.clone()), 2),
            (TableSource::of_key(table.clone(), vec!["b".into()]), 1),
            (TableSource::of_key(table.clone(), vec!["z".into()]), 0),
        ] {
            let scan = Scan { schema: schema(), system: Default::default(), clock: None, kept: false };
            let mut reader = source.open(&scan).unwrap();
            let mut out = BatchBuilder::new(schema());
            while reader.read(&mut out).unwrap() == Read::More {}
            assert_eq!(out.len(), expected);
        }
    }
}
