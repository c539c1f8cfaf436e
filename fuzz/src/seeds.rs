//! Inputs to start from, cut from the repository's own samples and golden queries: a run of seconds then begins where one from
//! nothing arrives after minutes.

use std::fs;
use std::path::Path;

use millstream::FieldValue;
use millstream::record::{CompactString, Position};
use millstream::state::{
    Checkpoint, GroupTable, InputState, OperatorState, SourceState, StateWriter, TableState, Widths, write_groups,
};

/// Lines of a sample that go into one seed: more makes mutations slow.
const LINES: usize = 4;

/// Called before the first input: where `SEEDS` names a directory, the seeds are written there, and nothing else is done.
pub fn start(target: &str) {
    let Some(directory) = std::env::var_os("SEEDS") else { return };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::create_dir_all(&directory).expect("the directory can be made");
    for (n, seed) in seeds(target, &repository).into_iter().enumerate() {
        fs::write(Path::new(&directory).join(format!("seed-{n:04}")), seed).expect("a seed can be written");
    }
    std::process::exit(0);
}

/// The seeds of a target: any bytes that it takes.
fn seeds(target: &str, repository: &Path) -> Vec<Vec<u8>> {
    let sample = |name: &str| fs::read(repository.join("examples/data").join(name)).expect("the sample is there");
    let json = || [pieces(&sample("orders_bad.jsonl")), pieces(&sample("orders.jsonl"))].concat();
    let csv = || pieces(&sample("flights.csv"));
    match target {
        "json" => json(),
        "csv" => (0..32).flat_map(|dialect| headed(&[dialect, 7], csv().into_iter().take(2))).collect(),
        "frames" => {
            let with = |format: u8, texts: Vec<Vec<u8>>| headed(&[format, 255, 7], texts.into_iter());
            [with(0, json()), with(1, csv()), with(3, csv()), with(4, csv()), with(5, csv())].concat()
        }
        "sql" => queries(repository),
        "state" => states(),
        _ => panic!("no target '{target}'"),
    }
}

fn headed(head: &[u8], texts: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    texts.map(|text| [head, &text].concat()).collect()
}

fn pieces(text: &[u8]) -> Vec<Vec<u8>> {
    let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').take(LINES * 8).collect();
    lines.chunks(LINES).map(<[_]>::concat).collect()
}

/// Queries and expressions of the golden suite; its relations are called `t` here.
fn queries(repository: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut files: Vec<_> = fs::read_dir(repository.join("tests/sql")).expect("the suite is there").flatten().collect();
    files.sort_by_key(fs::DirEntry::path);
    for file in files.iter().filter(|f| f.path().extension().is_some_and(|e| e == "test")) {
        let text = fs::read_to_string(file.path()).expect("the suite is UTF-8");
        for (at, block) in text.split("\n\n").enumerate() {
            if let Some(query) = block.strip_prefix("query ").and_then(|b| b.split_once('\n')) {
                found.push(query.1.split("\n----").next().unwrap_or_default().as_bytes().to_vec());
            } else if block.starts_with("eval\n") {
                // Some of each block: there are thousands, many alike.
                let lines = block.lines().skip(1 + at % 5).step_by(5);
                let expression = |line: &str| Some(format!("SELECT {}", line.rsplit_once(" => ")?.0).into_bytes());
                found.extend(lines.filter_map(expression));
            }
        }
    }
    found
}

fn states() -> Vec<Vec<u8>> {
    let checkpoint = Checkpoint {
        job: "job".into(),
        plan: 7,
        engine: "1".into(),
        epoch: 3,
        sources: vec![SourceState { name: "in".into(), position: Position::new([1, 2], "byte 2"), ended: false }],
        sinks: vec![("out".into(), Position::new([9], "9 bytes"))],
        operators: vec![OperatorState {
            id: "out/0.limit".into(),
            spec: 3,
            stateful: true,
            inputs: vec![InputState { watermark: 5, ended: false, idle: true }],
            watermark: 4,
            state: vec![5; 9],
            tables: vec![TableState { id: 1, whole: true, pieces: vec![vec![0, 1, 9, 1, 0]] }],
        }],
        ..Checkpoint::default()
    };
    let file = checkpoint.encode();
    // Behind magic number and version: length, checksum and content of the header; then those of the other sections.
    let content = |from: usize| {
        let length = u64::from_le_bytes(file[from..from + 8].try_into().expect("8 bytes")) as usize;
        (&file[from + 12..from + 12 + length], from + 12 + length)
    };
    let (header, next) = content(12);
    let (operator, next) = content(next);
    let (piece, next) = content(next);
    let cut: &[u8] = &[0xFF, 0xFF];
    let framed = [&[1], header, cut, operator, cut, piece, cut, content(next).0].concat();
    let keys: [FieldValue; 3] = [1i64.into(), "a string".into(), CompactString::new("é").as_str().into()];
    let mut table = GroupTable::new(Widths { key: 1, words: 5, more: 3, cells: 1, shown: 1 });
    let mut values = StateWriter::new();
    for (n, key) in keys.iter().enumerate() {
        table.insert(n as u64, n as u64, [key.clone()], [vec![key.clone(), FieldValue::Null]]);
        values.value(key);
    }
    let mut groups = StateWriter::new();
    write_groups(&mut groups, &mut table, |cell: &Vec<FieldValue>, to: &mut StateWriter| to.shorts(cell));
    let groups = [&[4, 0b11_01_01_01], groups.into_bytes().as_slice()].concat();
    vec![[&[0], file.as_slice()].concat(), framed, [&[2], values.into_bytes().as_slice()].concat(), groups]
}
