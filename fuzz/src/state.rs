//! State: whatever a checkpoint file or a snapshot holds, loading it ends with a value or an error, in bounded memory; what was
//! loaded is written and loaded again the same.

use std::sync::Arc;

use millstream::record::Field;
use millstream::state::{Checkpoint, GroupTable, StateReader, StateWriter, Widths, read_groups, write_groups};
use millstream::{DataType, FieldValue, Schema};

/// Byte 0: what the other bytes are.
pub fn state(data: &[u8]) {
    let [kind, bytes @ ..] = data else { return };
    match kind % 5 {
        0 => file(bytes),
        1 => file(&framed(bytes)),
        2 => value(bytes),
        3 => record(bytes),
        _ => groups(bytes),
    }
}

fn file(bytes: &[u8]) {
    if let Ok(checkpoint) = Checkpoint::decode(bytes) {
        assert_eq!(Checkpoint::decode(&checkpoint.encode()).as_ref(), Ok(&checkpoint));
    }
}

/// A file with sound checksums: the bytes are cut into header and sections at `0xFF 0xFF`.
fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut file = b"MSCKPT\r\n\x03\0\0\0".to_vec();
    let mut rest = bytes;
    loop {
        let cut = rest.windows(2).position(|w| w == [0xFF, 0xFF]);
        let content = &rest[..cut.unwrap_or(rest.len())];
        file.extend((content.len() as u64).to_le_bytes());
        file.extend(crc32fast::hash(content).to_le_bytes());
        file.extend(content);
        let Some(cut) = cut else { break };
        rest = &rest[cut + 2..];
    }
    file.extend((file.len() as u64 + 20).to_le_bytes());
    file.extend(crc32fast::hash(&file).to_le_bytes());
    file.extend(b"MSCKEND\n");
    file
}

fn written(write: impl FnOnce(&mut StateWriter)) -> Vec<u8> {
    let mut to = StateWriter::new();
    write(&mut to);
    to.into_bytes()
}

fn value(bytes: &[u8]) {
    if let Ok(value) = StateReader::new(bytes).value() {
        let once = written(|w| w.value(&value));
        let again = StateReader::new(&once).value().expect("what was written is read");
        assert_eq!(once, written(|w| w.value(&again)), "{value:?}");
    }
}

fn record(bytes: &[u8]) {
    let schema: Arc<Schema> = Schema::of([
        ("a", DataType::BigInt),
        ("b", DataType::array(DataType::Varchar)),
        ("c", DataType::Struct(vec![Field::new("x", DataType::Date)])),
    ]);
    if let Ok(record) = StateReader::new(bytes).record(&schema) {
        let once = written(|w| w.record(&record));
        let again = StateReader::new(&once).record(&schema).expect("what was written is read");
        assert_eq!(once, written(|w| w.record(&again)), "{record:?}");
    }
}

fn groups(bytes: &[u8]) {
    let [shape, bytes @ ..] = bytes else { return };
    let widths = Widths {
        key: usize::from(shape & 3),
        words: usize::from(shape >> 6 & 1) * 5,
        more: usize::from(shape >> 7) * 3,
        cells: usize::from(shape >> 2 & 3),
        shown: usize::from(shape >> 4 & 3),
    };
    let load = |bytes: &[u8], shards: usize| {
        let mut tables: Vec<GroupTable<Vec<FieldValue>>> = (0..shards).map(|_| GroupTable::new(widths)).collect();
        let cell = |_: usize, from: &mut StateReader<'_>| {
            let mut values = Vec::new();
            from.shorts(&mut values).map(|()| values)
        };
        read_groups(&mut StateReader::new(bytes), &mut tables, cell).map(|()| tables)
    };
    let write = |table: &mut GroupTable<_>| {
        written(|w| write_groups(w, table, |cell: &Vec<FieldValue>, to: &mut StateWriter| to.shorts(cell)))
    };
    if let Ok(mut one) = load(bytes, 1) {
        let once = write(&mut one[0]);
        let mut again = load(&once, 1).expect("what was written is read");
        assert_eq!(write(&mut again[0]), once);
        let groups: usize = load(&once, 3).expect("by any number of shards").iter().map(GroupTable::len).sum();
        assert_eq!(groups, one[0].len());
    }
}
