//! Places that are taken down while they change, against copies made at the barrier.

use super::*;
use crate::state::test_files::Files;

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

type Content = Vec<Option<u64>>;

fn write(content: &Content, at: usize, to: &mut StateWriter) {
    if let Some(Some(n)) = content.get(at) {
        to.u64(*n);
    }
}

fn held(content: &Content) -> Vec<u64> {
    let mut held: Vec<u64> = content.iter().flatten().copied().collect();
    held.sort_unstable();
    held
}

fn change(content: &mut Content, places: &mut Places, random: &mut Random) {
    let at = random.below(600) as usize;
    places.touch(at, |to| write(content, at, to));
    let new = (random.below(3) > 0).then(|| random.below(1 << 40));
    content.resize(content.len().max(at + 1), None);
    content[at] = new;
}

fn read(mut from: StateReader<'_>) -> Result<Vec<u64>, StateError> {
    let mut found = Vec::new();
    read_places(&mut from, |from| {
        found.push(from.u64()?);
        Ok(())
    })?;
    assert!(from.is_empty());
    found.sort_unstable();
    Ok(found)
}

#[test]
fn what_is_taken_down_while_it_changes_is_what_was_there_at_the_barrier() {
    let (mut whole, mut parts) = (0, 0);
    for seed in 0..200 {
        let mut random = Random(seed);
        let (mut content, mut places) = (Content::new(), Places::default());
        let (mut files, mut next) = (Files::default(), 1);
        for epoch in 0..12 {
            for _ in 0..random.below(if epoch == 0 { 800 } else { 60 }) {
                change(&mut content, &mut places, &mut random);
            }
            let at_barrier = held(&content);
            let frozen = Frozen::new(next, random.below(5) == 0);
            let mut to = StateWriter::freezing(&frozen, 7);
            places.snapshot(&mut to, (content.len(), at_barrier.len()), |at, to| write(&content, at, to));
            let (section, named) = to.into_parts();
            next = frozen.next();
            whole += u32::from(named[0].whole);
            parts += u32::from(!named[0].whole);
            let mut pieces = Vec::new();
            // Sometimes all goes before all was asked for.
            let leaves_off = random.below(4) == 0;
            while !(frozen.is_complete() || leaves_off && random.below(9) == 0) {
                for _ in 0..random.below(6) {
                    change(&mut content, &mut places, &mut random);
                }
                places.take_down(&mut (random.below(4000) as usize), |at, to| write(&content, at, to));
                pieces.extend(frozen.take());
            }
            if !frozen.is_complete() {
                places.forget(|at, to| write(&content, at, to));
                content.clear();
            }
            assert!(frozen.is_complete(), "seed {seed}");
            pieces.extend(frozen.take());
            assert!(pieces.iter().all(|p| (p.operator, p.table) == (7, named[0].id)));
            files.write(&named, &pieces);
            assert_eq!(
                read(StateReader::with_tables(&section, &files.tables())).unwrap(),
                at_barrier,
                "seed {seed}, epoch {epoch}"
            );
        }
    }
    assert!(whole > 300 && parts > 300, "both happen: {whole} whole, {parts} in part");
}

#[test]
fn of_rows_that_only_come_a_snapshot_has_those_that_are_new() {
    for seed in 0..100 {
        let mut random = Random(seed);
        let (mut rows, mut places) = (Content::new(), Places::default());
        let (mut files, mut next, mut written) = (Files::default(), 1, 0);
        for epoch in 0..12 {
            for _ in 0..random.below(100) {
                rows.push(Some(random.below(1 << 40)));
            }
            if random.below(8) == 0 {
                places.forget(|at, to| write(&rows, at, to));
                rows.clear();
                written = 0;
            }
            let at_barrier = held(&rows);
            let frozen = Frozen::new(next, random.below(5) == 0);
            let mut to = StateWriter::freezing(&frozen, 7);
            places.snapshot_log(&mut to, rows.len(), |at, to| write(&rows, at, to));
            let (section, named) = to.into_parts();
            next = frozen.next();
            let mut pieces = Vec::new();
            while !frozen.is_complete() {
                rows.extend((0..random.below(6)).map(Some));
                places.take_down(&mut (random.below(800) as usize), |at, to| write(&rows, at, to));
                pieces.extend(frozen.take());
            }
            pieces.extend(frozen.take());
            let new = at_barrier.len() - if named[0].whole { 0 } else { written };
            let bytes: usize = pieces.iter().map(|p| p.bytes.len()).sum();
            assert!(bytes <= new * 11, "{new} rows in {bytes} bytes");
            written = at_barrier.len();
            files.write(&named, &pieces);
            assert_eq!(
                read(StateReader::with_tables(&section, &files.tables())).unwrap(),
                at_barrier,
                "seed {seed}, epoch {epoch}"
            );
        }
    }
}

#[test]
fn a_barrier_that_nobody_waits_for_costs_nothing() {
    let (content, mut places) = (vec![Some(1), None, Some(3)], Places::default());
    let frozen = Frozen::new(1, true);
    let mut to = StateWriter::freezing(&frozen, 0);
    places.snapshot(&mut to, (3, 2), |at, to| write(&content, at, to));
    frozen.abandon();
    places.forget(|_, _| panic!("asked for what nobody needs"));
    assert_eq!(frozen.take(), []);
}

#[test]
fn places_within_a_section_come_back_and_every_cut_is_an_error() {
    let (content, mut places) = (vec![Some(1), None, Some(3)], Places::default());
    let mut to = StateWriter::new();
    places.snapshot(&mut to, (3, 2), |at, to| write(&content, at, to));
    let bytes = to.into_bytes();
    assert_eq!(read(StateReader::new(&bytes)), Ok(vec![1, 3]));
    for cut in 0..bytes.len() {
        assert!(read(StateReader::new(&bytes[..cut])).is_err(), "cut at {cut}");
    }
    let mut longer = StateReader::new(&[0, 1, 2, 9, 9]);
    assert!(read_places(&mut longer, |from| from.u8().map(|_| ())).is_err(), "more than is read");
}
