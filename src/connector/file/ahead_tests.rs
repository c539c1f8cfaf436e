//! What is decoded ahead by helpers is what one thread decodes: records, rejects with their lines, positions.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::FileSourceConfig;
use super::reader::FileReader;
use crate::catalog::Options;
use crate::codec::Format;
use crate::io::contract::{Item, Limits, items, read_all};
use crate::io::{DataReader, Read, Scan, SystemColumns};
use crate::record::{
    Batch, BatchBuilder, Books, CompactString, Crew, DataType, Pool, Pools, Position, Prepare, Preparer,
    Schema, Workers,
};

/// Small, seeded, and the same everywhere (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % n
    }
}

fn schema() -> Arc<Schema> {
    Schema::of([("a", DataType::BigInt), ("b", DataType::Varchar)])
}

fn json(random: &mut Random) -> String {
    let mut text = String::new();
    for n in 0..12_000 {
        match random.below(900) {
            0 => text.push_str("{\"a\":1,\n"),
            1 => text.push_str("\n \n"),
            2 => writeln!(text, "{{\"b\":\"{}\"}}", "long ".repeat(40_000)).unwrap(),
            3 => text.push_str("{\"a\":\"no number\"}\r\n"),
            _ => writeln!(text, "{{\"b\":\"row {}\",\"a\":{n}}}", random.below(9)).unwrap(),
        }
    }
    text
}

/// `odd`: of so many rows one has quotes or breaks the rules.
fn csv(random: &mut Random, odd: u64) -> String {
    let mut text = String::from("b,a\n");
    for n in 0..16_000 {
        match random.below(odd) {
            0 => text.push_str("\"over\ntwo lines\",7\n"),
            1 => text.push_str("\"a \"\"quote\"\"\",8\n"),
            2 => text.push_str("one field\n"),
            3 => text.push_str("x\"y,9\n"),
            4 => writeln!(text, "{},1", "long ".repeat(25_000)).unwrap(),
            _ => writeln!(text, "row {},{n}", random.below(9)).unwrap(),
        }
    }
    text.push_str("no line feed,1");
    text
}

struct Case {
    path: std::path::PathBuf,
    format: &'static str,
}

impl Case {
    fn open(&self, large: u64) -> FileReader {
        let mut config = FileSourceConfig::new(self.path.to_string_lossy());
        config.max_record_bytes = 100_000;
        let options = Options::new([("max_record_bytes", "100000")]);
        let declared: Vec<CompactString> = schema().names().map(CompactString::new).collect();
        let decoder = Format::new(self.format, &options).unwrap().decoder(&schema(), &declared).unwrap();
        let scan = Scan { schema: schema(), system: SystemColumns::default(), clock: None, kept: false };
        let mut reader = FileReader::open(config, vec![self.path.clone()], &scan, decoder).unwrap();
        (reader.large, reader.ahead_from) = (large, large);
        reader
    }
}

/// Everything that a reader with helpers gives, and where it stands after each batch.
fn with_helpers(reader: &mut FileReader, rows: usize, lanes: usize) -> (Vec<Item>, Vec<(usize, Position)>) {
    let pools = Pools::new(vec![Pool::new(8, usize::MAX)]);
    let workers = Arc::new(Workers::new(lanes));
    let helped = Arc::<AtomicU64>::default();
    let mut out = BatchBuilder::new(schema());
    out.set_crew(Some(Crew::new(workers.clone(), pools, 0, helped.clone())));
    let (mut all, mut places) = (Vec::new(), Vec::new());
    for turn in 0.. {
        out.set_limits(rows, 1 << 20);
        let found = reader.read(&mut out).unwrap();
        all.extend(items(&mut out));
        places.push((all.len(), reader.position()));
        // Helpers are called away, and come back.
        workers.set_lanes(if turn % 16 == 15 { 1 } else { lanes });
        if found == Read::End {
            break;
        }
    }
    let _ = helped.load(Ordering::Relaxed);
    (all, places)
}

fn check(case: &Case, random: &mut Random, told: &str) {
    let expected = read_all(&mut case.open(u64::MAX), Limits::default()).unwrap();
    for (rows, lanes) in [(1000, 2), (100, 4), (7_000, 3)] {
        let (got, places) = with_helpers(&mut case.open(0), rows, lanes);
        let first = (0..got.len().max(expected.len())).find(|&i| got.get(i) != expected.get(i));
        if let Some(i) = first {
            panic!(
                "{told}, {rows} rows, {lanes} lanes: item {i} of {}: {:?} instead of {:?}",
                expected.len(),
                got.get(i),
                expected.get(i)
            );
        }
        for _ in 0..3 {
            let (given, place) = &places[random.below(places.len() as u64) as usize];
            let mut resumed = case.open(u64::MAX);
            resumed.seek(place).unwrap();
            let rest = read_all(&mut resumed, Limits::default()).unwrap();
            assert!(rest == expected[*given..], "{told}, {rows} rows: resumed at {place}");
        }
    }
}

#[test]
fn helpers_decode_what_one_thread_decodes() {
    let dir = tempfile::tempdir().unwrap();
    for seed in 0..2 {
        let mut random = Random(seed);
        for (format, content) in
            [("json", json(&mut random)), ("csv", csv(&mut random, 1_500)), ("csv", csv(&mut random, 20_000))]
        {
            let case = Case { path: dir.path().join(format!("{seed}.{format}")), format };
            std::fs::write(&case.path, content).unwrap();
            check(&case, &mut random, &format!("seed {seed}, {format}"));
        }
    }
}

#[test]
fn a_panic_of_a_helper_reaches_the_readers_thread() {
    struct Panics;
    impl crate::codec::Decoder for Panics {
        fn decode(
            &mut self,
            bytes: &[u8],
            _: crate::codec::Input,
            origin: crate::codec::Origin,
            out: &mut BatchBuilder,
        ) -> crate::codec::Decoded {
            assert!(origin.offset < 200_000, "a bug in a decoder");
            out.record();
            crate::codec::Decoded { consumed: bytes.len().min(1000), lines: 0 }
        }
        fn reset(&mut self, _: bool) {}
        fn fork(&self) -> Option<Box<dyn crate::codec::Decoder>> {
            Some(Box::new(Panics))
        }
        fn boundary(&self, bytes: &[u8]) -> Option<usize> {
            Some(bytes.len() / 1000 * 1000).filter(|n| *n > 0)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    std::fs::write(&path, vec![b'x'; 1_000_000]).unwrap();
    let scan = Scan { schema: schema(), system: SystemColumns::default(), clock: None, kept: false };
    let config = FileSourceConfig::new(path.to_string_lossy());
    let mut reader = FileReader::open(config, vec![path], &scan, Box::new(Panics)).unwrap();
    (reader.large, reader.ahead_from) = (0, 0);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        with_helpers(&mut reader, 1000, 2);
    }));
    let message = outcome.unwrap_err();
    assert!(message.downcast_ref::<&str>().is_some_and(|m| m.contains("a bug in a decoder")));
}

/// Keeps every other record, and writes a dot for each.
struct Halve;

impl Prepare for Halve {
    fn preparer(&self) -> Box<dyn Preparer> {
        Box::new(Self)
    }
}

impl Preparer for Halve {
    fn prepare(&mut self, batch: &mut Batch, books: &mut Books) {
        batch.retain(|i, _| i % 2 == 0);
        books.filtered = (books.came - batch.len()) as u64;
        books.encoded.resize(batch.len(), b'.');
        books.is_encoded = true;
    }
}

#[test]
fn what_was_done_ahead_travels_with_the_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(7);
    let case = Case { path: dir.path().join("a.csv"), format: "csv" };
    std::fs::write(&case.path, csv(&mut random, 20_000)).unwrap();
    let pools = Pools::new(vec![Pool::new(8, usize::MAX)]);
    let workers = Arc::new(Workers::new(2));
    let crew = Crew::new(workers, pools.clone(), 0, Arc::default()).prepared_by(Arc::new(Halve));
    let mut reader = case.open(0);
    let mut out = BatchBuilder::new(schema());
    out.set_crew(Some(crew));
    let (mut came, mut prepared) = (Vec::new(), 0);
    loop {
        out.set_limits(500, 1 << 20);
        let end = reader.read(&mut out).unwrap() == Read::End;
        let rejected = out.take_rejects().len();
        let mut batch = out.take(pools.take(0));
        let all = batch.came();
        came.push(all + rejected);
        if let Some(dots) = batch.encoded() {
            prepared += 1;
            assert_eq!(dots, ".".repeat(batch.len()).as_bytes());
            assert_eq!(batch.len(), all.div_ceil(2));
            let filtered = batch.settle().map(|books| books.filtered);
            assert_eq!(filtered, Some((all - all.div_ceil(2)) as u64));
            assert!(batch.settle().is_none() && batch.came() == batch.len(), "settled once");
            // Whoever changes a record makes what was written of it untrue.
            batch.records_mut();
            assert_eq!(batch.encoded(), None);
        }
        pools.give(batch);
        if end {
            break;
        }
    }
    let all = read_all(&mut case.open(u64::MAX), Limits::default()).unwrap();
    assert_eq!(came.iter().sum::<usize>(), all.len(), "records and rejects");
    assert!(prepared > 20, "{prepared} batches were worked on ahead");
    assert!(pools.take(0).encoded().is_none(), "a spent batch holds nothing");
}
