//! Tables that are taken down while they change, against plain maps that were copied at the barrier.

use std::collections::BTreeMap;

use super::*;
use crate::record::{group_hash, same_group};
use crate::state::test_files::Files;
use crate::state::{Frozen, StateError, StateReader, StateWriter};

fn widths() -> Widths {
    Widths { key: 1, words: 0, more: 0, cells: 1, shown: 1 }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn encode(cell: &i64, to: &mut StateWriter) {
    to.zigzag(*cell);
}
fn decode(_: usize, from: &mut StateReader<'_>) -> Result<i64, StateError> {
    from.zigzag()
}

/// What is known of a group: first, rows, cell, shown.
type Known = (u64, i64, i64, Option<String>);
/// Groups by key.
type Model = BTreeMap<String, Known>;

fn content(tables: &[GroupTable<i64>]) -> Model {
    let mut model = Model::new();
    for table in tables {
        for slot in table.live() {
            let (head, text) = (table.head(slot), |v: &FieldValue| format!("{v:?}"));
            let shown = head.shown.then(|| text(&table.shown(slot)[0]));
            let known = (head.first, head.rows, table.cells(slot)[0], shown);
            assert_eq!(model.insert(text(&table.key(slot)[0]), known), None);
        }
    }
    model
}

fn find(table: &GroupTable<i64>, key: &FieldValue) -> Option<usize> {
    table.find(group_hash([key]), |k| same_group(&k[0], key))
}

/// One random change.
fn change(table: &mut GroupTable<i64>, random: &mut Random, seq: u64) {
    let n = random.below(600) as i64;
    let key = match n % 3 {
        0 => FieldValue::Integer(n),
        1 => FieldValue::from(format!("a key that is longer than what fits in place {n}").as_str()),
        _ => FieldValue::from("x".repeat(n as usize / 3).as_str()),
    };
    match (find(table, &key), random.below(10)) {
        (Some(slot), 0..3) => table.remove(slot),
        (Some(slot), 3..5) => {
            table.shown_mut(slot)[0] = FieldValue::Integer(seq as i64);
            table.head_mut(slot).unwrap().shown = !table.head(slot).shown;
        }
        (Some(slot), _) => {
            table.cells_mut(slot)[0] += seq as i64;
            table.head_mut(slot).unwrap().rows += 1;
        }
        (None, 0) if random.below(40) == 0 => table.clear(),
        (None, _) => {
            table.insert(group_hash([&key]), seq, [key.clone()], [-(seq as i64)]);
        }
    }
}

fn read(files: &Files, section: &[u8], shards: usize) -> Model {
    let tables = files.tables();
    let mut groups: Vec<_> = (0..shards).map(|_| GroupTable::new(widths())).collect();
    let mut from = StateReader::with_tables(section, &tables);
    read_groups(&mut from, &mut groups, decode).unwrap();
    assert!(from.is_empty());
    content(&groups)
}

#[test]
fn what_is_taken_down_while_it_changes_is_what_was_there_at_the_barrier() {
    let (mut whole, mut parts) = (0, 0);
    for seed in 0..100 {
        let mut random = Random(seed);
        let mut table = GroupTable::new(widths());
        let (mut files, mut next, mut seq) = (Files::default(), 1, 0);
        for epoch in 0..12 {
            for _ in 0..random.below(if epoch == 0 { 1500 } else { 60 }) {
                seq += 1;
                change(&mut table, &mut random, seq);
            }
            let at_barrier = content(std::slice::from_ref(&table));
            let frozen = Frozen::new(next, random.below(5) == 0);
            let mut to = StateWriter::freezing(&frozen, 7);
            write_groups(&mut to, &mut table, encode);
            let (section, named) = to.into_parts();
            next = frozen.next();
            whole += u32::from(named[0].whole);
            parts += u32::from(!named[0].whole);
            let mut pieces = Vec::new();
            // Sometimes the next barrier, or the end of the table, comes before all was asked for.
            let leaves_off = random.below(4) == 0;
            while !(frozen.is_complete() || leaves_off && random.below(9) == 0) {
                for _ in 0..random.below(6) {
                    seq += 1;
                    change(&mut table, &mut random, seq);
                }
                let mut budget = random.below(4000) as usize;
                table.take_down(&mut budget);
                pieces.extend(frozen.take());
            }
            if !frozen.is_complete() {
                match random.below(2) {
                    0 => table = GroupTable::new(widths()),
                    _ => table.clear(),
                }
            }
            assert!(frozen.is_complete(), "seed {seed}");
            pieces.extend(frozen.take());
            assert!(pieces.iter().all(|p| (p.operator, p.table) == (7, named[0].id)));
            files.write(&named, &pieces);
            assert_eq!(read(&files, &section, 1 + epoch % 3), at_barrier, "seed {seed}, epoch {epoch}");
        }
    }
    assert!(whole > 200 && parts > 200, "both happen: {whole} whole, {parts} in part");
}

#[test]
fn a_barrier_that_nobody_waits_for_costs_nothing_when_the_table_goes() {
    let mut table = GroupTable::new(widths());
    table.insert(1, 1, [FieldValue::Integer(1)], [1]);
    let frozen = Frozen::new(1, true);
    write_groups(&mut StateWriter::freezing(&frozen, 0), &mut table, encode);
    frozen.abandon();
    drop(table);
    assert_eq!(frozen.take(), []);
}

#[test]
fn a_table_within_a_section_is_read_into_any_number_of_shards_and_every_cut_is_an_error() {
    let mut random = Random(1);
    let mut table = GroupTable::new(widths());
    (0..500).for_each(|seq| change(&mut table, &mut random, seq));
    let mut to = StateWriter::new();
    write_groups(&mut to, &mut table, encode);
    let bytes = to.into_bytes();
    let read = |bytes: &[u8], shards: usize| {
        let mut tables: Vec<_> = (0..shards).map(|_| GroupTable::new(widths())).collect();
        let mut from = StateReader::new(bytes);
        read_groups(&mut from, &mut tables, decode).map(|()| (content(&tables), from.is_empty()))
    };
    for shards in [1, 2, 8] {
        assert_eq!(read(&bytes, shards), Ok((content(std::slice::from_ref(&table)), true)));
    }
    for cut in 0..bytes.len() {
        assert!(read(&bytes[..cut], 2).is_err(), "cut at {cut}");
    }
}

fn add(table: &mut GroupTable<i64>, key: &FieldValue, seq: u64) -> usize {
    match find(table, key) {
        Some(slot) => {
            table.cells_mut(slot)[0] += 1;
            slot
        }
        None => table.insert(group_hash([key]), seq, [key.clone()], [1]),
    }
}

#[test]
fn groups_are_found_by_value_and_slots_are_used_again() {
    let mut table = GroupTable::new(widths());
    for n in 0..1000i64 {
        add(&mut table, &(n % 100).into(), n as u64);
    }
    assert_eq!((table.len(), table.slots()), (100, 100));
    assert!(table.live().all(|s| table.cells(s) == [10]));
    let null = add(&mut table, &FieldValue::Null, 1000);
    assert_eq!(add(&mut table, &FieldValue::Null, 1001), null);
    table.remove(null);
    assert_eq!(table.len(), 100);
    assert_eq!(add(&mut table, &"long enough to be on the heap for sure".into(), 1002), null);
    assert_eq!(table.cells(null), [1]);
    table.clear();
    assert!(table.is_empty() && table.live().next().is_none());
}
