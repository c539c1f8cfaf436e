//! What gives rows instead of windows: calls OVER, top-N, DISTINCT; against references that see all rows.

use std::collections::BTreeMap;

use millstream::Engine;
use millstream::connector::memory::MemorySource;

use crate::aggregate::{AGGREGATES, Aggregate, int, text, time};
use crate::changes::{Change, fold};
use crate::check::same_changes;
use crate::engine::{Ran, Way, run_sql};
use crate::query::interval;
use crate::random::Random;
use crate::stream::{Row, Shape, records, schema};
use crate::time::watermarks;

/// Whether the engine knows that the rows end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Feed {
    Bounded,
    Endless,
}

/// Runs `sql` over a stream `rows` whose watermark is `bound` behind.
fn run(feed: Feed, sql: &str, rows: &[Row], bound: i64, way: Way) -> Result<Ran, String> {
    let engine = Engine::new();
    let source = match feed {
        Feed::Bounded => MemorySource::from_vec(schema(), records(rows)).map_err(|e| e.to_string())?,
        Feed::Endless => {
            let (sender, source) = MemorySource::channel(schema(), 1);
            sender.send_batch(records(rows)).map_err(|e| e.to_string())?;
            source
        }
    };
    let options = [("max_future_skew", "off"), ("idle_timeout", "off")];
    let watermark = format!("ts - {}", interval(bound));
    engine.register_timed_source("rows", source, "ts", &watermark, &options).map_err(|e| e.to_string())?;
    run_sql(&engine, sql, &[], way)
}

/// The rows before and behind the current one that a call sees.
#[derive(Clone, Copy, Debug)]
enum Frame {
    /// Up to the current row; all of them without a number.
    Rows(Option<usize>),
    /// Up to the last one of the same time.
    Range(Option<i64>),
    /// The spelling of windows that count rows.
    Buffer(usize),
}

impl Frame {
    fn random(random: &mut Random, unit: i64) -> Self {
        match random.below(5) {
            0 => Frame::Rows(None),
            1 => Frame::Range(None),
            2 => Frame::Rows(Some(random.between(0, 5) as usize)),
            3 => Frame::Buffer(random.between(1, 6) as usize),
            _ => Frame::Range(Some(random.between(0, 10) * unit)),
        }
    }

    fn over(self, partition: &str) -> String {
        let order = format!("{partition} ORDER BY ts");
        match self {
            Frame::Rows(None) => format!("{order} ROWS UNBOUNDED PRECEDING"),
            Frame::Rows(Some(n)) => format!("{order} ROWS BETWEEN {n} PRECEDING AND CURRENT ROW"),
            Frame::Range(None) => order,
            Frame::Range(Some(d)) => {
                format!("{order} RANGE BETWEEN {} PRECEDING AND CURRENT ROW", interval(d))
            }
            Frame::Buffer(n) => format!("ROWS WINDOW BUFFER {n} ROWS {order}"),
        }
    }

    /// The frame of row `at` of a partition in the order of time, rows of the same time as they came.
    fn of<'a>(self, rows: &[&'a Row], at: usize) -> Vec<&'a Row> {
        let peers = |from: Option<i64>| {
            let seen = rows.iter().filter(|r| r.ts <= rows[at].ts && (from.is_none() || r.ts >= from));
            seen.copied().collect()
        };
        match self {
            Frame::Rows(n) => rows[at.saturating_sub(n.unwrap_or(at))..=at].to_vec(),
            Frame::Buffer(n) => rows[(at + 1).saturating_sub(n)..=at].to_vec(),
            Frame::Range(None) => peers(None),
            Frame::Range(Some(d)) => peers(rows[at].ts.map(|t| t - d)),
        }
    }
}

/// Rows in the order of their time, those that came behind the watermark left out.
fn accepted(rows: &[Row], bound: i64) -> (Vec<&Row>, u64) {
    let before = watermarks(rows, bound);
    let late = |i: usize| rows[i].ts.is_some_and(|ts| ts < before[i]);
    let mut kept: Vec<&Row> = (0..rows.len()).filter(|&i| !late(i)).map(|i| &rows[i]).collect();
    kept.sort_by_key(|r| r.ts);
    let dropped = (rows.len() - kept.len()) as u64;
    (kept, dropped)
}

fn plain(aggregate: &&Aggregate) -> bool {
    !["ORDER BY", "DISTINCT", "median", "arg_max", "array"].iter().any(|w| aggregate.sql.contains(w))
}

/// `agg() FILTER (…) OVER (…)`, ordered by event time.
pub fn over(seed: u64) -> Result<(), String> {
    let mut random = Random(seed);
    let shape = Shape::random(&mut random);
    let (rows, bound) = (shape.generate(&mut random), shape.bound * shape.unit);
    let keyed = random.percent(70);
    let frame = Frame::random(&mut random, shape.unit);
    let feed = random.of(&[Feed::Bounded, Feed::Endless]);
    let all: Vec<&Aggregate> = AGGREGATES.iter().filter(plain).collect();
    let calls: Vec<&Aggregate> = random.some(&all, 2).into_iter().copied().collect();
    let window = frame.over(if keyed { "PARTITION BY k" } else { "" });
    let items: Vec<String> = calls.iter().map(|c| format!("{} OVER ({window})", c.sql)).collect();
    let sql = format!("SELECT id, ts, {} FROM rows", items.join(", "));
    let (kept, late) = accepted(&rows, bound);
    let mut expected: Vec<Vec<String>> = Vec::new();
    let mut partitions: BTreeMap<Option<i64>, Vec<&Row>> = BTreeMap::new();
    kept.iter().for_each(|r| partitions.entry(r.k.filter(|_| keyed)).or_default().push(r));
    for rows in partitions.values() {
        for (i, row) in rows.iter().enumerate() {
            let seen = frame.of(rows, i);
            let values = calls.iter().map(|c| (c.value)(&seen));
            expected
                .push([row.id.to_string(), time(row.ts.unwrap_or(0))].into_iter().chain(values).collect());
        }
    }
    expected.sort();
    let mut first: Option<Vec<Change>> = None;
    for way in [Way::random(&mut random), Way::random(&mut random)] {
        let failed = |e: String| format!("{sql}\n  {way:?} {feed:?} bound {bound}: {e}\n  {rows:?}");
        let got = run(feed, &sql, &rows, bound, way).map_err(failed)?;
        let mut cells: Vec<Vec<String>> = got.changes.iter().map(|c| c.cells.clone()).collect();
        cells.sort();
        if let Some(i) = (0..cells.len().max(expected.len())).find(|&i| cells.get(i) != expected.get(i)) {
            return Err(failed(format!("expected {:?}\n  got      {:?}", expected.get(i), cells.get(i))));
        }
        if got.late != late {
            return Err(failed(format!("{} late rows, expected {late}", got.late)));
        }
        match &first {
            Some(first) => same_changes(first, &got.changes).map_err(failed)?,
            None => first = Some(got.changes),
        }
    }
    Ok(())
}

fn same_table(expected: &[Vec<String>], got: &Ran) -> Result<(), String> {
    let expected: Vec<Change> = expected.iter().cloned().map(Change::insert).collect();
    let (expected, got) = (fold(&expected)?, fold(&got.changes)?);
    match expected == got {
        true => Ok(()),
        false => Err(format!("expected {expected:?}\n  got      {got:?}")),
    }
}

/// The first rows of each key, of all rows or of a window's groups.
pub fn top_n(seed: u64) -> Result<(), String> {
    let mut random = Random(seed);
    let shape = Shape::random(&mut random);
    let (rows, bound) = (shape.generate(&mut random), shape.bound * shape.unit);
    let n = random.between(1, 4);
    let (direction, descending) = random.of(&[("", false), (" DESC", true)]);
    let ranked = |row: &Row| {
        let v = row.v.map(|v| if descending { -v } else { v });
        // NULLs last, both ways.
        (v.is_none(), v, row.id)
    };
    let mut partitions: BTreeMap<Option<i64>, Vec<&Row>> = BTreeMap::new();
    rows.iter().for_each(|r| partitions.entry(r.k).or_default().push(r));
    let mut expected = Vec::new();
    for rows in partitions.values_mut() {
        rows.sort_by_key(|r| ranked(r));
        let first = rows.iter().take(n as usize).enumerate();
        expected.extend(first.map(|(i, r)| vec![r.id.to_string(), int(r.k), int(r.v), (i + 1).to_string()]));
    }
    let call = format!("row_number() OVER (PARTITION BY k ORDER BY v{direction}, id)");
    let sql = match random.percent(50) {
        true => format!("SELECT id, k, v, rn FROM (SELECT *, {call} AS rn FROM rows) WHERE rn <= {n}"),
        false => format!("SELECT id, k, v, {call} AS rn FROM rows QUALIFY rn <= {n}"),
    };
    let way = Way::random(&mut random);
    let feed = random.of(&[Feed::Bounded, Feed::Endless]);
    let failed = |e: String| format!("{sql}\n  {way:?} {feed:?}: {e}\n  {rows:?}");
    let got = run(feed, &sql, &rows, bound, way).map_err(failed)?;
    same_table(&expected, &got).map_err(failed)
}

/// The first row of each value, as it comes.
pub fn distinct(seed: u64) -> Result<(), String> {
    let mut random = Random(seed);
    let shape = Shape::random(&mut random);
    let rows = shape.generate(&mut random);
    let mut expected: Vec<Vec<String>> = Vec::new();
    for row in &rows {
        let cells = vec![int(row.k), text(row.s), int(row.v.map(|v| v % 2))];
        if !expected.contains(&cells) {
            expected.push(cells);
        }
    }
    let way = Way::random(&mut random);
    let feed = random.of(&[Feed::Bounded, Feed::Endless]);
    let sql = "SELECT DISTINCT k, s, v % 2 AS odd FROM rows";
    let failed = |e: String| format!("{sql}\n  {way:?} {feed:?}: {e}\n  {rows:?}");
    let got = run(feed, sql, &rows, shape.bound * shape.unit, way).map_err(failed)?;
    let expected: Vec<Change> = expected.into_iter().map(Change::insert).collect();
    same_changes(&expected, &got.changes).map_err(failed)
}
