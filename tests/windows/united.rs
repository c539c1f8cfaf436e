//! Several streams at once: their rows meet in the order of the watermark just before each, ties in the order of the streams, whatever
//! the way of running. Rows that a WHERE takes away before they meet raise the watermark all the same.

use millstream::connector::memory::MemorySink;
use millstream::{Engine, FieldValue};

use crate::aggregate::AGGREGATES;
use crate::check::same_changes;
use crate::engine::{Ran, Way, register, run_sql, set};
use crate::query::{Emit, Kind, Query};
use crate::random::Random;
use crate::reference::outcome;
use crate::stream::{Row, Shape};
use crate::time::{Late, NOTHING, watermarks};

pub const NAMES: [&str; 3] = ["one", "two", "three"];

/// All streams merged, and the watermark of all of them before each row.
fn merged(streams: &[Vec<Row>], bound: i64) -> (Vec<Row>, Vec<i64>) {
    // After row `i` of a stream its watermark is what it is before row `i + 1`.
    let after: Vec<Vec<i64>> =
        streams.iter().map(|rows| watermarks(&[rows.as_slice(), &[blank()]].concat(), bound)).collect();
    let mut next = vec![0; streams.len()];
    let (mut rows, mut before) = (Vec::new(), Vec::new());
    let mut now = NOTHING;
    loop {
        let open = |s: &usize| next[*s] < streams[*s].len();
        let first = (0..streams.len()).filter(open).min_by_key(|&s| (after[s][next[s]], s));
        let Some(from) = first else { return (rows, before) };
        now = now.max(after[from][next[from]]);
        rows.push(streams[from][next[from]].clone());
        before.push(now);
        next[from] += 1;
    }
}

fn blank() -> Row {
    Row { id: 0, ts: None, k: None, v: None, d: None, x: None, s: None, partition: 0 }
}

/// Two or three streams of about the same time, with ids of their own.
pub fn streams(random: &mut Random, shape: &Shape) -> Vec<Vec<Row>> {
    let mut shape = shape.clone();
    let count = random.of(&[2, 2, 3]);
    let mut one = |i: i64| {
        shape.rows = random.between(0, 100);
        let mut rows = shape.generate(random);
        rows.iter_mut().for_each(|r| r.id += i * 1_000_000);
        rows
    };
    (0..count).map(&mut one).collect()
}

/// What of each stream comes to the meeting point.
fn keeps(row: &Row) -> bool {
    row.id % 3 != 1
}

/// `CREATE VIEW rows AS` so many streams; `twice`: even rows of the first once more.
pub fn view(count: usize, twice: bool) -> String {
    let mut parts: Vec<String> =
        NAMES[..count].iter().map(|name| format!("SELECT * FROM {name} WHERE id % 3 <> 1")).collect();
    if twice {
        parts.insert(1, "SELECT * FROM one WHERE id % 2 = 0".to_owned());
    }
    format!("CREATE VIEW rows AS {}", parts.join(" UNION ALL "))
}

pub fn united(seed: u64, kind: impl Fn(&mut Random, &Shape) -> Kind) -> Result<(), String> {
    let mut random = Random(seed);
    let shape = Shape::random(&mut random);
    let kind = kind(&mut random, &shape);
    let mut query = Query::random(&mut random, kind, &shape);
    query.emit = random.of(&[Emit::Final, Emit::Final, Emit::Record]);
    // Dead letters hold the columns that the query reads.
    query.aggregates.extend(AGGREGATES.iter().find(|a| a.sql.contains("arg_max(id")));
    let mut streams = streams(&mut random, &shape);
    let twice = random.percent(40);
    if twice && random.percent(50) {
        streams.truncate(1);
    }
    let bound = shape.bound * shape.unit;
    let (rows, before): (Vec<Row>, Vec<i64>) = {
        let (rows, before) = merged(&streams, bound);
        let copies =
            |r: &Row| usize::from(keeps(r)) + usize::from(twice && r.id < 1_000_000 && r.id % 2 == 0);
        let all = rows.into_iter().zip(before);
        all.flat_map(|(r, before)| std::iter::repeat_n((r.clone(), before), copies(&r))).unzip()
    };
    let expected = outcome(&query, &rows, &before);
    let sql = query.sql(&mut random);
    let settings = if query.emit == Emit::Record { vec![("emit_every", "record")] } else { vec![] };
    let mut first: Option<Ran> = None;
    for way in [Way::random(&mut random), Way::random(&mut random)] {
        let failed =
            |e: String| format!("{sql}\n  {:?}, {way:?}, bound {bound}: {e}\n  {streams:?}", query.policy);
        let engine = Engine::new();
        for (name, rows) in NAMES.iter().zip(&streams) {
            register(&engine, name, &query, rows, bound)?;
        }
        engine.sql(&view(streams.len(), twice)).map_err(|e| e.to_string())?;
        let got = run_sql(&engine, &sql, &settings, way).map_err(failed)?;
        same_changes(&expected.changes, &got.changes).map_err(failed)?;
        if got.late != expected.late.len() as u64 {
            return Err(failed(format!("{} late rows, expected {:?}", got.late, expected.late)));
        }
        if query.policy.late == Late::Dlq && got.letters != expected.late {
            return Err(failed(format!("dead letters {:?}, expected {:?}", got.letters, expected.late)));
        }
        if first.as_ref().is_some_and(|f| *f != got) {
            return Err(failed("the two ways differ".into()));
        }
        first = Some(got);
    }
    Ok(())
}

/// Rows as they are: meeting in a UNION ALL, in a sink, and where one stream is read on two ways.
pub fn passed(seed: u64) -> Result<(), String> {
    let mut random = Random(seed);
    let shape = Shape::random(&mut random);
    let kind = Kind::Tumble { size: shape.unit };
    let query = Query::random(&mut random, kind, &shape);
    let streams = streams(&mut random, &shape);
    let bound = shape.bound * shape.unit;
    let (rows, _) = merged(&streams, bound);
    let n = streams.len();
    let branch = |name: &str| format!("SELECT id FROM {name} WHERE id % 3 <> 1");
    let twice = "SELECT id FROM one WHERE id % 3 <> 1 UNION ALL SELECT -id AS id FROM one WHERE id % 2 = 0";
    let others: Vec<String> = NAMES[1..n].iter().map(|name| branch(name)).collect();
    let (sql, expected): (String, Vec<i64>) = match random.below(4) {
        0 => {
            let all: Vec<String> = NAMES[..n].iter().map(|name| branch(name)).collect();
            let kept = rows.iter().filter(|r| keeps(r)).map(|r| r.id).collect();
            (format!("INSERT INTO out {}", all.join(" UNION ALL ")), kept)
        }
        1 => {
            let all: Vec<String> =
                NAMES[..n].iter().map(|name| format!("INSERT INTO out {}", branch(name))).collect();
            (all.join("; "), rows.iter().filter(|r| keeps(r)).map(|r| r.id).collect())
        }
        ways => {
            let count = random.between(0, 150);
            let both = |r: &Row| {
                let second = (r.id < 1_000_000 && r.id % 2 == 0).then_some(-r.id);
                [keeps(r).then_some(r.id), second].into_iter().flatten().collect::<Vec<_>>()
            };
            let all: Vec<i64> = rows.iter().flat_map(both).collect();
            let sql = format!("INSERT INTO out {twice} UNION ALL {}", others.join(" UNION ALL "));
            match ways {
                2 => (sql, all),
                _ => (
                    format!(
                        "INSERT INTO out SELECT id FROM ({twice} UNION ALL {}) LIMIT {count}",
                        others.join(" UNION ALL ")
                    ),
                    all.into_iter().take(count as usize).collect(),
                ),
            }
        }
    };
    let way = Way::random(&mut random);
    let failed = |e: String| format!("{sql}\n  {way:?}, bound {bound}: {e}\n  {streams:?}");
    let engine = Engine::new();
    for (name, rows) in NAMES.iter().zip(&streams) {
        register(&engine, name, &query, rows, bound)?;
    }
    let (sink, out) = MemorySink::new();
    engine.register_sink("out", sink).map_err(|e| e.to_string())?;
    set(&engine, way)?;
    let job = engine.sql(&sql).and_then(|p| p.start()).map_err(|e| failed(e.to_string()))?;
    job.wait().map_err(|e| failed(e.to_string()))?;
    let got: Vec<i64> = out.take().iter().filter_map(|r| r.get("id").and_then(FieldValue::as_i64)).collect();
    match got == expected {
        true => Ok(()),
        false => Err(failed(format!("expected {expected:?}\n  got      {got:?}"))),
    }
}
