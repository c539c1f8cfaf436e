//! Tables of groups in snapshots.
//!
//! ```text
//! table = 0 count entry*        in the section itself
//!       | 1 number              apart, in pieces: entry*
//! entry = slot length content   length 0: there is no group any more
//! content = first rows shown key* (value*)? word* cell*
//! ```
//! Each entry has its key: whoever reads puts it into the shard that holds its key group.

use super::frozen::Encode;
use super::{GroupTable, shard_of};
use crate::record::{FieldValue, group_hash, same_group};
use crate::state::{StateError, StateReader, StateWriter, TableState};

const WITHIN: u8 = 0;
const APART: u8 = 1;

impl<C> GroupTable<C> {
    /// Appends a group as a store on disk holds it: length and content of its entry.
    pub fn encode_group(&self, slot: usize, encode: fn(&C, &mut StateWriter), to: &mut StateWriter) {
        self.write_entry(slot, encode, to);
    }

    /// Adds the groups that [`encode_group`](Self::encode_group) wrote, one behind the other, but for those that are there.
    ///
    /// # Errors
    /// If they are damaged or of another shape.
    pub fn decode_groups(
        &mut self,
        groups: &[u8],
        mut cell_of: impl FnMut(usize, &mut StateReader<'_>) -> Result<C, StateError>,
    ) -> Result<(), StateError> {
        let width = self.widths.key;
        let mut from = StateReader::new(groups);
        while !from.is_empty() {
            let content = next_content(&mut from)?;
            let key = key_of(content, width)?;
            let same = |k: &[FieldValue]| k.iter().zip(&key).all(|(a, b)| same_group(a, b));
            if self.find(group_hash(&key), same).is_none() {
                let shards = std::slice::from_mut(self);
                let (key, words, cells) = (Vec::new(), Vec::new(), Vec::new());
                let mut loader = Loader { shards, cell_of: &mut cell_of, key, words, cells };
                loader.add(content)?;
            }
        }
        Ok(())
    }

    /// Length and content of the entry of a group.
    pub(super) fn write_entry(&self, slot: usize, encode: Encode<C>, to: &mut StateWriter) {
        let start = to.bytes.len();
        to.u8(0);
        let head = self.head(slot);
        to.varint(head.first);
        to.zigzag(head.rows);
        to.u8(u8::from(head.shown));
        self.key(slot).iter().for_each(|v| to.short(v));
        if head.shown {
            self.shown(slot).iter().for_each(|v| to.short(v));
        }
        let (words, more) = self.words(slot);
        words.iter().take(self.widths.words).chain(more).for_each(|w| to.u64(*w));
        self.cells(slot).iter().for_each(|c| encode(c, to));
        let length = to.bytes.len() - start - 1;
        if length < 0x80 {
            if let Some(byte) = to.bytes.get_mut(start) {
                *byte = length as u8;
            }
        } else {
            let mut front = StateWriter::new();
            front.varint(length as u64);
            to.bytes.splice(start..start + 1, front.bytes);
        }
    }
}

/// Writes a table: into the section, or, where the writer lets tables be taken down bit by bit, it is only frozen.
pub fn write_groups<C>(to: &mut StateWriter, table: &mut GroupTable<C>, encode: fn(&C, &mut StateWriter)) {
    if let Some((frozen, operator)) = to.frozen.clone() {
        let (id, whole) = table.freeze(&frozen, operator, encode);
        to.u8(APART);
        to.varint(id);
        to.tables.push(TableState { id, whole, pieces: Vec::new() });
        return;
    }
    to.u8(WITHIN);
    to.varint(table.len() as u64);
    for slot in table.live() {
        to.varint(slot as u64);
        table.write_entry(slot, encode, to);
    }
}

/// Reads what [`write_groups`] wrote, each group into the shard of its key. `cell_of` makes the cell with that number of what is next.
///
/// # Errors
/// If the state is damaged or of another shape.
pub fn read_groups<C>(
    from: &mut StateReader<'_>,
    shards: &mut [GroupTable<C>],
    mut cell_of: impl FnMut(usize, &mut StateReader<'_>) -> Result<C, StateError>,
) -> Result<(), StateError> {
    let mut loader =
        Loader { shards, cell_of: &mut cell_of, key: Vec::new(), words: Vec::new(), cells: Vec::new() };
    match from.u8()? {
        WITHIN => {
            for _ in 0..from.varint()? {
                let entry = read_entry(from)?;
                loader.add(entry.ok_or_else(|| StateError("a group in the state is empty".into()))?)?;
            }
        }
        APART => {
            let id = from.varint()?;
            let table = from.tables.iter().find(|t| t.id == id);
            let table = table.ok_or_else(|| StateError(format!("table {id} of the state is not there")))?;
            for piece in &table.pieces {
                let mut entries = StateReader::new(piece);
                while !entries.is_empty() {
                    if let Some(entry) = read_entry(&mut entries)? {
                        loader.add(entry)?;
                    }
                }
            }
        }
        other => return Err(StateError(format!("the state has a table of unknown kind {other}"))),
    }
    Ok(())
}

/// What [`GroupTable::encode_group`] wrote, without its length.
fn next_content<'a>(from: &mut StateReader<'a>) -> Result<&'a [u8], StateError> {
    let length = from.varint()?;
    from.take(length)
}

/// The key of a group.
fn key_of(content: &[u8], width: usize) -> Result<Vec<FieldValue>, StateError> {
    let mut from = StateReader::new(content);
    let _ = (from.varint()?, from.zigzag()?, from.u8()?);
    (0..width).map(|_| from.value()).collect()
}

/// The position of the first record of each of some groups, and its bytes, by [`GroupTable::encode_group`].
///
/// # Errors
/// If they are damaged.
pub fn each_group(
    groups: &[u8],
    mut each: impl FnMut(u64, &[u8]) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let mut from = StateReader::new(groups);
    while !from.is_empty() {
        let before = from.left();
        let content = next_content(&mut from)?;
        let (start, end) = (groups.len() - before, groups.len() - from.left());
        each(StateReader::new(content).varint()?, groups.get(start..end).unwrap_or_default())?;
    }
    Ok(())
}

/// Appends those groups of `old` to `new` whose keys, so many values each, are none of `new`; tells whether there were any.
///
/// # Errors
/// If they are damaged.
pub fn keep_others(old: &[u8], new: &mut Vec<u8>, width: usize) -> Result<bool, StateError> {
    let mut keys = Vec::new();
    let mut from = StateReader::new(new);
    while !from.is_empty() {
        keys.push(key_of(next_content(&mut from)?, width)?);
    }
    let before = new.len();
    each_group(old, |_, group| {
        let key = key_of(next_content(&mut StateReader::new(group))?, width)?;
        let same = |k: &Vec<FieldValue>| k.iter().zip(&key).all(|(a, b)| same_group(a, b));
        if !keys.iter().any(same) {
            new.extend_from_slice(group);
        }
        Ok(())
    })?;
    Ok(new.len() > before)
}

fn read_entry<'a>(from: &mut StateReader<'a>) -> Result<Option<&'a [u8]>, StateError> {
    from.varint()?;
    let length = from.varint()?;
    let content = from.take(length)?;
    Ok((length > 0).then_some(content))
}

struct Loader<'l, C, F> {
    shards: &'l mut [GroupTable<C>],
    cell_of: &'l mut F,
    key: Vec<FieldValue>,
    words: Vec<u64>,
    cells: Vec<C>,
}

impl<C, F: FnMut(usize, &mut StateReader<'_>) -> Result<C, StateError>> Loader<'_, C, F> {
    fn add(&mut self, content: &[u8]) -> Result<(), StateError> {
        let mut from = StateReader::new(content);
        let Some(widths) = self.shards.first().map(|t| t.widths) else { return Ok(()) };
        let (first, rows, shown) = (from.varint()?, from.zigzag()?, from.u8()? != 0);
        for _ in 0..widths.key {
            self.key.push(from.value()?);
        }
        let mut values = Vec::new();
        for _ in 0..if shown { widths.shown } else { 0 } {
            values.push(from.value()?);
        }
        self.words.clear();
        for _ in 0..widths.words + widths.more {
            self.words.push(from.u64()?);
        }
        for at in 0..widths.cells {
            self.cells.push((self.cell_of)(at, &mut from)?);
        }
        if !from.is_empty() {
            return Err(StateError("a group in the state has another shape than the plan's".into()));
        }
        let hash = group_hash(&self.key);
        let shard = shard_of(hash, self.shards.len());
        let Some(table) = self.shards.get_mut(shard) else { return Ok(()) };
        let slot = table.insert(hash, first, self.key.drain(..), self.cells.drain(..));
        if let Some(group) = table.group_mut(slot) {
            (group.head.rows, group.head.shown) = (rows, shown);
            let words = group.words.iter_mut().take(widths.words).chain(group.more);
            words.zip(&self.words).for_each(|(to, from)| *to = *from);
        }
        for (to, from) in table.shown_mut(slot).iter_mut().zip(values) {
            *to = from;
        }
        Ok(())
    }
}
