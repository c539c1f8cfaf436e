//! Windows over two streams at once. The order in which their rows meet is left to the engine: nothing here depends on it, but
//! every way of running must keep to the same one.

use millstream::Engine;

use crate::changes::{Change, fold};
use crate::check::same_changes;
use crate::engine::{Way, register, run_sql};
use crate::query::{Emit, Kind, Query};
use crate::random::Random;
use crate::reference::outcome;
use crate::stream::{Row, Shape};
use crate::time::{NOTHING, watermarks};

/// Both streams merged by the least watermark, ties by the order of the streams, and the watermark of both before each row.
fn merged(streams: &[Vec<Row>; 2], bound: i64) -> (Vec<Row>, Vec<i64>) {
    // After row `i` of a stream its watermark is what it is before row `i + 1`.
    let after: [Vec<i64>; 2] = [0, 1].map(|s| {
        let mut all = watermarks(&[streams[s].clone(), vec![blank()]].concat(), bound);
        all.truncate(streams[s].len() + 1);
        all
    });
    let mut next = [0, 0];
    let (mut rows, mut before) = (Vec::new(), Vec::new());
    let mut now = NOTHING;
    loop {
        let of = |s: usize| if next[s] < streams[s].len() { after[s][next[s]] } else { i64::MAX };
        now = now.max(of(0).min(of(1)));
        let from = match [0, 1].map(|s| next[s] < streams[s].len()) {
            [false, false] => return (rows, before),
            [true, true] => usize::from(of(1) < of(0)),
            [first, _] => usize::from(!first),
        };
        rows.push(streams[from][next[from]].clone());
        before.push(now);
        next[from] += 1;
    }
}

fn blank() -> Row {
    Row { id: 0, ts: None, k: None, v: None, d: None, x: None, s: None, partition: 0 }
}

pub fn united(seed: u64, kind: impl Fn(&mut Random, &Shape) -> Kind) -> Result<(), String> {
    let mut random = Random(seed);
    let mut shape = Shape::random(&mut random);
    (shape.rows, shape.partitions) = (shape.rows.min(100), 1);
    // No row is late, whichever stream is read first.
    (shape.stragglers, shape.duplicates) = (0, 0);
    let kind = kind(&mut random, &shape);
    let mut query = Query::random(&mut random, kind, &shape);
    query.emit = Emit::Final;
    query.aggregates.retain(|a| !a.sql.contains("arg_max"));
    let mut streams = [shape.generate(&mut random), shape.generate(&mut random)];
    streams[1].iter_mut().for_each(|r| r.id += 1_000_000);
    let bound = shape.bound * shape.unit;
    let (rows, before) = merged(&streams, bound);
    let expected = outcome(&query, &rows, &before);
    let sql = query.sql(&mut random);
    let view = "CREATE VIEW rows AS SELECT * FROM one UNION ALL SELECT * FROM two";
    let mut first: Option<Vec<Change>> = None;
    for way in [Way::random(&mut random), Way::random(&mut random)] {
        let failed =
            |e: String| format!("{sql}\n  {:?}, {way:?}, bound {bound}: {e}\n  {streams:?}", query.policy);
        let engine = Engine::new();
        for (name, rows) in ["one", "two"].iter().zip(&streams) {
            register(&engine, name, &query, rows, bound)?;
        }
        engine.sql(view).map_err(|e| e.to_string())?;
        let got = run_sql(&engine, &sql, &[], way).map_err(failed)?;
        let (wanted, table) = (fold(&expected.changes)?, fold(&got.changes)?);
        if wanted != table {
            return Err(failed(format!("expected {wanted:?}\n  got      {table:?}")));
        }
        if let Some(first) = &first {
            same_changes(first, &got.changes).map_err(failed)?;
        }
        first = Some(got.changes);
        if got.late != expected.late.len() as u64 {
            return Err(failed(format!("{} late rows, expected {:?}", got.late, expected.late)));
        }
    }
    Ok(())
}
