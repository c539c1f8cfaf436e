//! `files`: NDJSON and CSV files, copied, and filtered and projected; beside DuckDB with `--peers`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use millstream::Engine;
use serde_json::{Value, json};

use crate::measure::{mean_and_deviation, median};
use crate::report::{Report, machine, print_machine, rate};
use crate::workload::orders_ndjson;
use crate::{Common, Failure};

const COLUMNS: &str = "order_id BIGINT, customer_id BIGINT, amount DOUBLE, customer VARCHAR, symbol VARCHAR, status VARCHAR, ts VARCHAR";
const QUERIES: [(&str, &str); 2] = [
    ("pass", "SELECT * FROM source"),
    ("filter", "SELECT order_id, symbol, amount * 2 AS twice, status FROM source WHERE amount >= 250"),
];
const PEERS: &str = include_str!("../peers.py");

struct Case {
    format: &'static str,
    extension: &'static str,
    query: &'static str,
    sql: &'static str,
}

pub fn run(common: &Common, peers: bool) -> Result<(), Failure> {
    let rows = common.records.unwrap_or(if common.quick { 20_000 } else { 1_000_000 });
    let repeat = common.repeat.unwrap_or(if common.quick { 1 } else { 5 });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = common.threads.map_or(vec![1, cores.clamp(1, 2)], |n| vec![n]);
    let mut report = Report::new(common)?;
    let m = machine(threads.iter().copied().max().unwrap_or(1));
    print_machine(&m);
    report.line(&m)?;
    let dir = tempfile::tempdir()?;
    let inputs = write_inputs(dir.path(), rows)?;
    let mut peers = peers;
    println!(
        "{:<8} {:<8} {:>7} {:<24} {:>12} {:>8} {:>10} {:>18}",
        "format", "query", "threads", "program", "rows/s", "± σ", "MB/s", "millstream / it"
    );
    let mut last = None;
    for (format, extension) in [("ndjson", "jsonl"), ("csv", "csv")] {
        let input = if format == "csv" { &inputs.1 } else { &inputs.0 };
        for (query, sql) in QUERIES {
            for &n in &threads {
                if last.replace((format, query, n)) == Some((format, query, n)) {
                    continue;
                }
                let case = Case { format, extension, query, sql };
                one(common, &mut report, dir.path(), input, rows, &case, n, repeat, &mut peers)?;
            }
        }
    }
    Ok(())
}

#[allow(clippy::too_many_arguments)]
fn one(
    common: &Common,
    report: &mut Report,
    dir: &Path,
    input: &Path,
    rows: u64,
    case: &Case,
    threads: usize,
    repeat: usize,
    peers: &mut bool,
) -> Result<(), Failure> {
    let mine = dir.join(format!("millstream.{}", case.extension));
    let theirs = dir.join(format!("peer.{}", case.extension));
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    let mut peer = String::new();
    for _ in 0..repeat {
        ours.push(millstream_once(common, input, &mine, case, threads, rows)?);
        if *peers {
            match duckdb(dir, input, &theirs, case.query, threads)? {
                Some((name, seconds)) => {
                    peer = name;
                    others.push(seconds);
                }
                None => {
                    println!("DuckDB is left out: the Python module duckdb is not installed");
                    *peers = false;
                }
            }
        }
    }
    let megabytes = fs::metadata(input)?.len() as f64 / 1e6;
    let ratio = (!others.is_empty()).then(|| median(&others) / median(&ours));
    for (name, seconds, ratio) in [("millstream", &ours, None), (peer.as_str(), &others, ratio)] {
        if seconds.is_empty() {
            continue;
        }
        let (mean, deviation) = mean_and_deviation(seconds);
        let taken = median(seconds);
        println!(
            "{:<8} {:<8} {:>7} {:<24} {:>12} {:>6.1} % {:>10.0} {:>18}",
            case.format,
            case.query,
            threads,
            name,
            rate(rows as f64 / taken),
            100.0 * deviation / mean,
            megabytes / taken,
            ratio.map_or(String::new(), |r| format!("{r:.2} ×"))
        );
        report.line(&json!({
            "name": "files", "stage": name, "format": case.format, "query": case.query, "threads": threads, "records": rows,
            "seconds": taken, "samples": seconds, "records_per_second": rows as f64 / taken,
        }))?;
    }
    if !others.is_empty() {
        compare(&mine, &theirs, case)?;
    }
    Ok(())
}

fn quoted(path: &Path) -> String {
    path.display().to_string().replace('\'', "''")
}

fn millstream_once(
    common: &Common,
    input: &Path,
    output: &Path,
    case: &Case,
    threads: usize,
    rows: u64,
) -> Result<f64, Failure> {
    let start = Instant::now();
    let engine = Engine::new();
    engine.set("threads", &threads.to_string())?;
    engine.set("batch_rows", &common.batch.to_string())?;
    let format = case.format;
    let text = format!(
        "CREATE STREAM source ({COLUMNS}) WITH (connector = 'file', path = '{}', format = '{format}');\n\
         CREATE STREAM target WITH (connector = 'file', path = '{}', format = '{format}');\n\
         INSERT INTO target {};",
        quoted(input),
        quoted(output),
        case.sql
    );
    let stats = engine.sql(&text)?.start()?.wait()?;
    let seconds = start.elapsed().as_secs_f64();
    if stats.records_in != rows || stats.records_out + stats.filtered != rows {
        return Err(format!(
            "records were lost or duplicated: {rows} in the file, {} read, {} written, {} filtered",
            stats.records_in, stats.records_out, stats.filtered
        )
        .into());
    }
    Ok(seconds)
}

/// One run of DuckDB; `None` if it is not installed.
fn duckdb(
    dir: &Path,
    input: &Path,
    output: &Path,
    query: &str,
    threads: usize,
) -> Result<Option<(String, f64)>, Failure> {
    let script = dir.join("peers.py");
    fs::write(&script, PEERS)?;
    let done = Command::new("python3")
        .arg(script)
        .arg(input)
        .arg(output)
        .arg(query)
        .args([threads.to_string(), "1".to_owned()])
        .output();
    let done = match done {
        Ok(done) => done,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    if done.status.code() == Some(3) {
        return Ok(None);
    }
    if !done.status.success() {
        return Err(format!("DuckDB failed: {}", String::from_utf8_lossy(&done.stderr)).into());
    }
    let answer: Value = serde_json::from_slice(&done.stdout)?;
    let seconds = answer.get("seconds").and_then(|s| s.get(0)).and_then(Value::as_f64);
    let name = answer.get("peer").and_then(Value::as_str).unwrap_or("peer").to_owned();
    Ok(Some((name, seconds.ok_or("the peer gave no time")?)))
}

/// The outputs must hold the same rows in the same order; numbers are compared as numbers.
fn compare(mine: &Path, theirs: &Path, case: &Case) -> Result<(), Failure> {
    let (a, b) = (fs::read_to_string(mine)?, fs::read_to_string(theirs)?);
    let same = |x: &str, y: &str| -> Result<bool, Failure> {
        if x == y {
            return Ok(true);
        }
        if case.format == "csv" {
            let equal = |p: &str, q: &str| {
                p == q || matches!((p.parse::<f64>(), q.parse::<f64>()), (Ok(p), Ok(q)) if p == q)
            };
            return Ok(x.split(',').count() == y.split(',').count()
                && x.split(',').zip(y.split(',')).all(|(p, q)| equal(p, q)));
        }
        let (Value::Object(x), Value::Object(y)) = (serde_json::from_str(x)?, serde_json::from_str(y)?)
        else {
            return Ok(false);
        };
        let equal = |p: &Value, q: &Value| p == q || p.as_f64().is_some() && p.as_f64() == q.as_f64();
        Ok(x.len() == y.len() && x.iter().all(|(k, v)| y.get(k).is_some_and(|w| equal(v, w))))
    };
    for (n, (x, y)) in a.lines().zip(b.lines()).enumerate() {
        if !same(x, y)? {
            return Err(format!(
                "{} {}: outputs differ in line {}:\n{x}\n{y}",
                case.format,
                case.query,
                n + 1
            )
            .into());
        }
    }
    if a.lines().count() != b.lines().count() {
        return Err(format!(
            "{} {}: {} lines here, {} there",
            case.format,
            case.query,
            a.lines().count(),
            b.lines().count()
        )
        .into());
    }
    Ok(())
}

fn write_inputs(dir: &Path, rows: u64) -> Result<(PathBuf, PathBuf), Failure> {
    let (json, csv) = (dir.join("orders.jsonl"), dir.join("orders.csv"));
    fs::write(&json, orders_ndjson(rows))?;
    let text = format!(
        "CREATE STREAM source ({COLUMNS}) WITH (connector = 'file', path = '{}');\n\
         CREATE STREAM target WITH (connector = 'file', path = '{}');\n\
         INSERT INTO target SELECT * FROM source;",
        quoted(&json),
        quoted(&csv)
    );
    Engine::new().sql(&text)?.start()?.wait()?;
    Ok((json, csv))
}
