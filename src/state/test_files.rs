//! What a reader makes of the files of a chain, for tests: for each table the last entry of each place.

use std::collections::BTreeMap;

use super::{Piece, StateReader, StateWriter, TableState};

/// The entries of each table, by place.
#[derive(Default)]
pub(crate) struct Files(BTreeMap<u64, BTreeMap<u64, Vec<u8>>>);

impl Files {
    /// An epoch's file: the tables that it names, and their pieces.
    pub(crate) fn write(&mut self, named: &[TableState], pieces: &[Piece]) {
        self.0.retain(|id, _| named.iter().any(|t| t.id == *id && !t.whole));
        for table in named {
            self.0.entry(table.id).or_default();
        }
        for piece in pieces {
            let mut entries = StateReader::new(&piece.bytes);
            while !entries.is_empty() {
                let (place, length) = (entries.varint().unwrap(), entries.varint().unwrap());
                let content = entries.take(length).unwrap();
                let table = self.0.get_mut(&piece.table).unwrap();
                match length {
                    0 => table.remove(&place),
                    _ => table.insert(place, content.to_vec()),
                };
            }
        }
    }

    /// The tables as they are read.
    pub(crate) fn tables(&self) -> Vec<TableState> {
        let piece = |places: &BTreeMap<u64, Vec<u8>>| {
            let mut piece = StateWriter::new();
            for (place, content) in places {
                piece.varint(*place);
                piece.varint(content.len() as u64);
                piece.raw(content);
            }
            piece.into_bytes()
        };
        let table =
            |(id, places): (&u64, _)| TableState { id: *id, whole: true, pieces: vec![piece(places)] };
        self.0.iter().map(table).collect()
    }
}
