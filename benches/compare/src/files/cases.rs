//! The file workloads: what is read, in which format, and the query in our SQL; `peers.py` holds the others' words for the same.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::workload::orders_ndjson;

/// A query over a table's file.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub table: &'static str,
    pub format: &'static str,
    pub query: &'static str,
    pub sql: &'static str,
    /// Types of the columns, comma separated, as the query wants them.
    pub columns: &'static str,
    /// Rows come out in the order of the input; groups are compared as sets.
    pub ordered: bool,
    /// Least and wished-for speed over DuckDB's.
    pub target: Option<(f64, f64)>,
}

const ORDERS: &str = "order_id BIGINT, customer_id BIGINT, amount DOUBLE, customer VARCHAR, symbol VARCHAR, status VARCHAR, ts VARCHAR";
const ORDERS_TIMED: &str = "order_id BIGINT, customer_id BIGINT, amount DOUBLE, customer VARCHAR, symbol VARCHAR, status VARCHAR, ts TIMESTAMP";
const FLIGHTS: &str = "year BIGINT, month BIGINT, day BIGINT, dep_time BIGINT, sched_dep_time BIGINT, dep_delay BIGINT, arr_time BIGINT, \
    sched_arr_time BIGINT, arr_delay BIGINT, carrier VARCHAR, flight BIGINT, tailnum VARCHAR, origin VARCHAR, dest VARCHAR, \
    air_time BIGINT, distance BIGINT, hour BIGINT, minute BIGINT, time_hour VARCHAR";
const FLIGHTS_TIMED: &str = "year BIGINT, month BIGINT, day BIGINT, dep_time BIGINT, sched_dep_time BIGINT, dep_delay BIGINT, arr_time BIGINT, \
    sched_arr_time BIGINT, arr_delay BIGINT, carrier VARCHAR, flight BIGINT, tailnum VARCHAR, origin VARCHAR, dest VARCHAR, \
    air_time BIGINT, distance BIGINT, hour BIGINT, minute BIGINT, time_hour TIMESTAMP";

const NDJSON: Case = Case {
    table: "orders",
    format: "ndjson",
    query: "pass",
    sql: "SELECT * FROM source",
    columns: ORDERS,
    ordered: true,
    target: None,
};
const CSV: Case = Case { table: "flights", format: "csv", columns: FLIGHTS, ..NDJSON };

/// All workloads.
pub const CASES: [Case; 8] = [
    NDJSON,
    Case {
        query: "filter",
        sql: "SELECT order_id, symbol, amount * 2 AS twice, status FROM source WHERE amount >= 250",
        target: Some((1.2, 2.0)),
        ..NDJSON
    },
    Case {
        query: "group",
        sql: "SELECT customer_id, COUNT(*) AS n, SUM(amount) AS total, AVG(amount) AS mean, MIN(amount) AS low, MAX(amount) AS high \
              FROM source GROUP BY customer_id",
        ordered: false,
        target: Some((1.0, 1.5)),
        ..NDJSON
    },
    Case {
        query: "tumbling",
        sql: "SELECT symbol, window_start, COUNT(*) AS n, SUM(amount) AS total FROM TUMBLE(source, ts, INTERVAL '1' HOUR) \
              GROUP BY symbol, window_start, window_end",
        columns: ORDERS_TIMED,
        ordered: false,
        ..NDJSON
    },
    CSV,
    Case {
        query: "filter",
        sql: "SELECT carrier, flight, origin, dest, dep_delay FROM source WHERE dep_delay > 15",
        target: Some((0.8, 1.2)),
        ..CSV
    },
    Case {
        query: "group",
        sql: "SELECT carrier, COUNT(*) AS n, SUM(distance) AS miles, AVG(dep_delay) AS mean, MIN(dep_delay) AS low, \
              MAX(dep_delay) AS high FROM source GROUP BY carrier",
        ordered: false,
        target: Some((0.8, 1.2)),
        ..CSV
    },
    Case {
        query: "tumbling",
        sql: "SELECT origin, window_start, COUNT(*) AS n, SUM(distance) AS miles FROM TUMBLE(source, time_hour, INTERVAL '1' DAY) \
              GROUP BY origin, window_start, window_end",
        columns: FLIGHTS_TIMED,
        ordered: false,
        ..CSV
    },
];

impl Case {
    pub fn extension(&self) -> &'static str {
        if self.format == "csv" { "csv" } else { "jsonl" }
    }
    /// A pipeline from file to file.
    pub fn pipeline(&self, input: &Path, output: &Path) -> String {
        let nulls = if self.table == "flights" { ", null_values = 'NA'" } else { "" };
        format!(
            "CREATE STREAM source ({}) WITH (connector = 'file', path = '{}', format = '{f}'{nulls});\n\
             CREATE STREAM target WITH (connector = 'file', path = '{}', format = '{f}');\n\
             INSERT INTO target {};",
            self.columns,
            quoted(input),
            quoted(output),
            self.sql,
            f = self.format
        )
    }
}

fn quoted(path: &Path) -> String {
    path.display().to_string().replace('\'', "''")
}

/// A table's file and its rows.
pub struct Input {
    pub path: PathBuf,
    pub rows: u64,
    pub bytes: u64,
}

fn input(path: PathBuf, rows: u64) -> Result<Input, Failure> {
    let bytes = fs::metadata(&path)?.len();
    Ok(Input { path, rows, bytes })
}

/// About so many orders as NDJSON, made here.
pub fn write_orders(dir: &Path, rows: u64) -> Result<Input, Failure> {
    let path = dir.join("orders.jsonl");
    fs::write(&path, orders_ndjson(rows))?;
    input(path, rows)
}

/// About so many flights as CSV: the January sample of the examples, repeated.
pub fn write_flights(dir: &Path, rows: u64) -> Result<Input, Failure> {
    const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/flights.csv");
    let sample = fs::read_to_string(SAMPLE).map_err(|e| format!("can't read {SAMPLE}: {e}"))?;
    let (header, body) = sample.split_once('\n').ok_or("the sample of flights is empty")?;
    let lines = body.lines().count() as u64;
    let times = ((rows as f64 / lines.max(1) as f64).round() as u64).max(1);
    let path = dir.join("flights.csv");
    let mut text = String::with_capacity(header.len() + 1 + body.len() * times as usize);
    text.push_str(header);
    text.push('\n');
    (0..times).for_each(|_| text.push_str(body));
    fs::write(&path, text)?;
    input(path, lines * times)
}
