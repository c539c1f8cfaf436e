//! Whole jobs over a generated file: `cargo bench --bench pipeline [-- --quick] [WORDS]`, only those with WORDS in their names.
//!
//! Prints million records per second of the source, median and spread of interleaved rounds, for each execution mode, and the CPU time of
//! all threads in nanoseconds a record: what a second thread brings in time, and what it costs. The machine is part of every figure:
//! compare columns of one run, not runs.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use millstream::Engine;

#[cfg(feature = "cli")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ORDERS: &str = "order_id BIGINT, customer_id BIGINT, amount DOUBLE, symbol VARCHAR, side VARCHAR, venue VARCHAR, ts VARCHAR";
const MODES: [&str; 3] = ["inline", "threads", "auto"];

/// A job as SQL, with `{in}` and `{out}` for the files.
const JOBS: [(&str, &str); 6] = [
    (
        "generator → blackhole",
        "CREATE STREAM o WITH (connector = 'generator', preset = 'orders', rows = '{rows}');
         CREATE STREAM out WITH (connector = 'blackhole'); INSERT INTO out SELECT * FROM o;",
    ),
    (
        "generator → costly projection → blackhole",
        "CREATE STREAM o WITH (connector = 'generator', preset = 'orders', rows = '{rows}');
         CREATE STREAM out WITH (connector = 'blackhole');
         INSERT INTO out SELECT order_id, sha256(symbol) AS a, md5(side) AS b, regexp_replace(venue, '[A-Z]', '_') AS c FROM o;",
    ),
    (
        "NDJSON → blackhole, all columns",
        "CREATE STREAM o ({columns}) WITH (connector = 'file', path = '{in}', format = 'json');
         CREATE STREAM out WITH (connector = 'blackhole'); INSERT INTO out SELECT * FROM o;",
    ),
    (
        "NDJSON filter + project 4 of 7 → NDJSON",
        "CREATE STREAM o ({columns}) WITH (connector = 'file', path = '{in}', format = 'json');
         CREATE STREAM out WITH (connector = 'file', path = '{out}', format = 'json');
         INSERT INTO out SELECT order_id, symbol, amount, side FROM o WHERE amount > 500;",
    ),
    (
        "NDJSON → NDJSON, all columns",
        "CREATE STREAM o ({columns}) WITH (connector = 'file', path = '{in}', format = 'json');
         CREATE STREAM out WITH (connector = 'file', path = '{out}', format = 'json'); INSERT INTO out SELECT * FROM o;",
    ),
    (
        "NDJSON → three sinks, shared",
        "CREATE STREAM o ({columns}) WITH (connector = 'file', path = '{in}', format = 'json');
         CREATE STREAM a WITH (connector = 'blackhole'); CREATE STREAM b WITH (connector = 'blackhole');
         CREATE STREAM c WITH (connector = 'blackhole');
         INSERT INTO a SELECT * FROM o; INSERT INTO b SELECT * FROM o; INSERT INTO c SELECT * FROM o;",
    ),
];

fn main() {
    let quick = std::env::args().any(|a| a == "--quick");
    let words = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect::<Vec<_>>().join(" ");
    let (rows, rounds): (u64, u64) = if quick { (20_000, 1) } else { (2_000_000, 5) };
    let dir = std::env::temp_dir().join(format!("millstream-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let input = dir.join("orders.jsonl");
    generate(&input, rows);
    let megabytes = std::fs::metadata(&input).unwrap().len() as f64 / 1e6;
    println!(
        "{rows} orders, {megabytes:.0} MB; {rounds} interleaved rounds; million records/s, median (min–max), and CPU ns a record\n"
    );
    println!("{:<42} {:>26} {:>26} {:>26}", "job", MODES[0], MODES[1], MODES[2]);
    for (name, sql) in JOBS.iter().filter(|(name, _)| name.contains(&words)) {
        let mut modes: [(Vec<f64>, f64); 3] = Default::default();
        for _ in 0..rounds {
            for (mode, (speeds, cpu)) in MODES.iter().zip(&mut modes) {
                let before = cpu_seconds();
                speeds.push(rows as f64 / run(sql, mode, rows, &input, &dir) / 1e6);
                *cpu += (cpu_seconds() - before) * 1e9 / (rows * rounds) as f64;
            }
        }
        let cells: Vec<String> =
            modes.iter_mut().map(|(speeds, cpu)| format!("{} {cpu:>5.0}", cell(speeds))).collect();
        println!("{name:<42} {:>26} {:>26} {:>26}", cells[0], cells[1], cells[2]);
    }
    std::fs::remove_dir_all(dir).unwrap();
}

/// CPU time of all threads of this process so far.
fn cpu_seconds() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

fn cell(speeds: &mut [f64]) -> String {
    speeds.sort_by(f64::total_cmp);
    format!("{:.2} ({:.2}–{:.2})", speeds[speeds.len() / 2], speeds[0], speeds[speeds.len() - 1])
}

/// Runs a job and checks that no record is missing; seconds from start to end.
fn run(sql: &str, mode: &str, rows: u64, input: &Path, dir: &Path) -> f64 {
    let output: PathBuf = dir.join("out.jsonl");
    let sql = sql
        .replace("{rows}", &rows.to_string())
        .replace("{columns}", ORDERS)
        .replace("{in}", &input.display().to_string())
        .replace("{out}", &output.display().to_string());
    let engine = Engine::new();
    engine.set("execution", mode).unwrap();
    let prepared = engine.sql(&sql).unwrap();
    let start = Instant::now();
    let stats = prepared.start().unwrap().wait().unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let per_sink = (stats.records_out + stats.filtered) / stats.sinks.len() as u64;
    assert_eq!((stats.records_in, per_sink, stats.deep_copies), (rows, rows, 0), "{sql}");
    seconds
}

fn generate(path: &Path, rows: u64) {
    let sql = format!(
        "CREATE STREAM o WITH (connector = 'generator', preset = 'orders', rows = '{rows}');
         CREATE STREAM f WITH (connector = 'file', path = '{}', format = 'json'); INSERT INTO f SELECT * FROM o;",
        path.display()
    );
    Engine::new().sql(&sql).unwrap().start().unwrap().wait().unwrap();
}
