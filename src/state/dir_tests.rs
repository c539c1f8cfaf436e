//! State directories: what is kept, and chains of files that build on each other.

use std::collections::BTreeMap;

use super::*;
use crate::record::{FieldValue, group_hash};
use crate::state::{
    Disk, Frozen, GroupTable, OperatorState, StateReader, StateWriter, Widths, read_groups, write_groups,
};

#[test]
fn three_are_kept_a_damaged_newest_falls_back_and_two_instances_exclude_each_other() {
    let root = tempfile::tempdir().unwrap();
    let open = || StateDir::open(Arc::new(Disk), root.path(), "a/b");
    let sample = |epoch| Checkpoint { job: "a/b".into(), epoch, ..Checkpoint::default() };
    let dir = open().unwrap();
    assert_eq!(dir.load().unwrap(), None);
    assert!((1..=5).all(|e| dir.save(&sample(e)).unwrap().bytes > 50));
    let files = checkpoint_files(&Disk, dir.path()).unwrap();
    assert_eq!(files.iter().map(|f| f.0).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(dir.load().unwrap().unwrap().epoch, 5);
    std::fs::write(&files[2].1, b"MSCKPT").unwrap();
    assert_eq!(dir.load().unwrap().unwrap().epoch, 4);
    assert!(matches!(open(), Err(StateDirError::Locked(_))));
    std::fs::write(dir.path().join("epoch-00000000000000000009.ckpt.tmp"), b"half").unwrap();
    drop(dir);
    let dir = open().unwrap();
    let left = Disk.list(dir.path()).unwrap();
    assert!(left.iter().all(|f| f.extension().is_none_or(|e| e != "tmp")), "{left:?}");
}

type Model = BTreeMap<i64, i64>;

fn widths() -> Widths {
    Widths { key: 1, cells: 1, ..Widths::default() }
}
fn encode(cell: &i64, to: &mut StateWriter) {
    to.zigzag(*cell);
}

fn model(tables: &[GroupTable<i64>]) -> Model {
    let of = |t: &GroupTable<i64>, slot| (t.key(slot)[0].as_i64().unwrap(), t.cells(slot)[0]);
    tables.iter().flat_map(|t| t.live().map(move |slot| of(t, slot))).collect()
}

/// A job of one operator with two tables, without a job.
struct Writing {
    dir: StateDir,
    tables: [GroupTable<i64>; 2],
    next: u64,
    last: Option<FileId>,
    epoch: u64,
}

impl Writing {
    fn new(dir: StateDir) -> Self {
        let tables = [GroupTable::new(widths()), GroupTable::new(widths())];
        Self { dir, tables, next: 1, last: None, epoch: 0 }
    }

    fn change(&mut self, key: i64, by: Option<i64>) {
        let key_value = FieldValue::Integer(key);
        let hash = group_hash([&key_value]);
        let table = &mut self.tables[(key % 2) as usize];
        match (table.find(hash, |k| k[0] == key_value), by) {
            (Some(slot), Some(by)) => table.cells_mut(slot)[0] += by,
            (Some(slot), None) => table.remove(slot),
            (None, Some(by)) => {
                table.insert(hash, key as u64, [key_value], [by]);
            }
            (None, None) => {}
        }
    }

    fn save(&mut self) -> Saved {
        self.epoch += 1;
        let frozen = Frozen::new(self.next, self.last.is_none());
        let mut state = StateWriter::freezing(&frozen, 0);
        for table in &mut self.tables {
            write_groups(&mut state, table, encode);
        }
        self.tables.iter_mut().for_each(|t| t.take_down(&mut 1_000_000));
        self.next = frozen.next();
        let (state, tables) = state.into_parts();
        let part = tables.iter().any(|t| !t.whole);
        let operators =
            vec![OperatorState { id: "0.groups".into(), state, tables, ..OperatorState::default() }];
        let mut checkpoint =
            Checkpoint { job: "job".into(), epoch: self.epoch, operators, ..Checkpoint::default() };
        checkpoint.before = self.last.filter(|_| part);
        let mut snapshot = self.dir.begin(&checkpoint).unwrap();
        frozen.take().iter().for_each(|piece| snapshot.put(piece).unwrap());
        let saved = self.dir.finish(snapshot, &checkpoint).unwrap();
        self.last = Some(saved.file);
        saved
    }
}

fn restored(checkpoint: &Checkpoint) -> Model {
    let operator = &checkpoint.operators[0];
    let mut from = StateReader::with_tables(&operator.state, &operator.tables);
    let mut tables = [GroupTable::new(widths())];
    for _ in 0..2 {
        read_groups(&mut from, &mut tables, |_, from| from.zigzag()).unwrap();
    }
    model(&tables)
}

#[test]
fn each_of_the_kept_epochs_is_what_was_there_at_its_barrier_however_files_build_on_each_other() {
    let root = tempfile::tempdir().unwrap();
    let mut writing = Writing::new(StateDir::open(Arc::new(Disk), root.path(), "job").unwrap());
    let mut random = 7u64;
    let mut below = |n: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % n
    };
    let mut barriers: BTreeMap<u64, Model> = BTreeMap::new();
    let (mut parts, mut compacted, mut longest) = (0, 0, 0);
    for round in 0..150u64 {
        let changes = match round {
            0 | 60 => 3000,
            _ => below(30),
        };
        for _ in 0..changes {
            let by = (below(4) > 0).then(|| below(100) as i64);
            writing.change(below(2000) as i64, by);
        }
        if round == 90 {
            // A window that has expired.
            writing.tables[1].clear();
        }
        barriers.insert(writing.epoch + 1, model(&writing.tables));
        let saved = writing.save();
        parts += u32::from(saved.chain.changes > 0);
        longest = longest.max(saved.chain.changes);
        // The file that is written anew is needed by those behind it until it is there.
        let long = writing.dir.take_long(&saved);
        if let Some(epoch) = long {
            compacted += 1;
            assert_eq!(epoch + 2, saved.file.epoch);
            if compacted == 2 {
                // One more epoch comes while it is being written.
                barriers.insert(writing.epoch + 1, model(&writing.tables));
                writing.save();
            }
            writing.dir.compact(epoch).unwrap();
        }
        let newest = writing.epoch;
        for epoch in newest.saturating_sub(2).max(1)..=newest {
            assert_eq!(restored(&writing.dir.load_epoch(epoch).unwrap()), barriers[&epoch], "epoch {epoch}");
        }
        let files = checkpoint_files(&Disk, writing.dir.path()).unwrap().len();
        assert!(files <= KEEP + 1 + longest && files <= LONG + 2 * KEEP, "{files} files");
    }
    assert!(parts > 100 && compacted >= 2 && longest > 20, "{parts} {compacted} {longest}");
    // A run that comes after it knows no file, and deletes none that is needed.
    let Writing { dir, epoch, .. } = writing;
    drop(dir);
    let mut again = Writing::new(StateDir::open(Arc::new(Disk), root.path(), "job").unwrap());
    again.epoch = epoch;
    (0..100).for_each(|key| again.change(key, Some(1)));
    assert_eq!(again.save().chain.changes, 0, "the first one is whole");
    assert_eq!(restored(&again.dir.load_epoch(epoch).unwrap()), barriers[&epoch]);
    again.save();
    again.save();
    assert_eq!(checkpoint_files(&Disk, again.dir.path()).unwrap().len(), KEEP);
}

#[test]
fn a_file_of_a_chain_that_is_missing_torn_or_another_one_is_refused_by_its_name() {
    let root = tempfile::tempdir().unwrap();
    let mut writing = Writing::new(StateDir::open(Arc::new(Disk), root.path(), "job").unwrap());
    (0..1000).for_each(|key| writing.change(key, Some(1)));
    for key in 0..4 {
        writing.save();
        writing.change(key, Some(100));
    }
    let dir = &writing.dir;
    let path = |epoch| dir.path().join(file_name(epoch));
    assert!(path(1).exists(), "the others build on it");
    let good: Vec<Vec<u8>> = (1..=4).map(|e| std::fs::read(path(e)).unwrap()).collect();
    for epoch in 1..=3u64 {
        let bytes = &good[epoch as usize - 1];
        let refused = |what: &str| {
            let error = dir.load_epoch(4).unwrap_err().to_string();
            let named = file_name(epoch);
            assert!(error.contains("has only what changed since epoch") && error.contains(&named), "{error}");
            assert!(error.contains(what), "{error}");
            // Every other epoch that needs it is refused too: there is nothing to fall back on but what is before it.
            let sound: Vec<u64> = (1..=4).filter(|e| dir.load_epoch(*e).is_ok()).collect();
            assert_eq!(sound, (1..epoch).collect::<Vec<_>>());
            assert_eq!(dir.load().ok().flatten().map(|c| c.epoch), sound.last().copied());
        };
        std::fs::remove_file(path(epoch)).unwrap();
        refused("No such file");
        for cut in [0, 11, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(path(epoch), &bytes[..cut]).unwrap();
            refused("damaged");
        }
        // The same epoch of another history, sound in itself.
        let mut other = Checkpoint::decode(bytes).unwrap();
        other.id += 1;
        std::fs::write(path(epoch), other.encode()).unwrap();
        let error = dir.load_epoch(4).unwrap_err().to_string();
        assert!(error.contains("another one than the one that it was built on"), "{error}");
        std::fs::write(path(epoch), bytes).unwrap();
        assert!(dir.load_epoch(4).is_ok());
    }
}

#[test]
fn a_compaction_that_fails_leaves_everything_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    let mut writing = Writing::new(StateDir::open(Arc::new(Disk), root.path(), "job").unwrap());
    (0..1000).for_each(|key| writing.change(key, Some(1)));
    let mut long = None;
    for key in 0.. {
        let saved = writing.save();
        long = long.or(writing.dir.take_long(&saved));
        if long.is_some() {
            break;
        }
        (0..30).for_each(|n| writing.change(key * 7 % 900 + n, Some(5)));
    }
    let (dir, epoch) = (&writing.dir, long.unwrap());
    // Its place is taken by a directory.
    let blocked = dir.path().join(format!("{}.whole.tmp", file_name(epoch)));
    std::fs::create_dir(&blocked).unwrap();
    let before = checkpoint_files(&Disk, dir.path()).unwrap();
    assert!(dir.compact(epoch).is_err());
    assert_eq!(checkpoint_files(&Disk, dir.path()).unwrap(), before);
    std::fs::remove_dir(&blocked).unwrap();
    writing.change(1, Some(1));
    let saved = writing.save();
    let epoch = writing.dir.take_long(&saved).expect("it is tried again");
    writing.dir.compact(epoch).unwrap();
    assert_eq!(checkpoint_files(&Disk, writing.dir.path()).unwrap().len(), KEEP);
    assert_eq!(restored(&writing.dir.load().unwrap().unwrap()), model(&writing.tables));
}
