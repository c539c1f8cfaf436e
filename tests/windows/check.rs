//! One random case against the reference, in two ways of running; a failure is made small before it is shown.

use std::fmt::Write;

use crate::changes::{Change, fold};
use crate::engine::{Ran, Way, run};
use crate::query::{Emit, Kind, Query};
use crate::random::Random;
use crate::reference::{Outcome, outcome};
use crate::stream::{Row, Shape};
use crate::time::{Late, watermarks};

/// `MILLSTREAM_CASES` times as many cases as usual; `MILLSTREAM_SEED` is the first seed.
/// Runs them all; shows the first failures in full.
pub fn for_seeds(name: &str, share: u64, case: impl Fn(u64) -> Result<(), String>) {
    let of = |name: &str, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (first, times): (u64, u64) = (of("MILLSTREAM_SEED", 1), of("MILLSTREAM_CASES", 1));
    println!("{name}: seeds {first} to {}", first + share * times - 1);
    let failed: Vec<String> = (first..first + share * times)
        .filter_map(|seed| case(seed).err().map(|e| format!("seed {seed}: {e}")))
        .collect();
    let shown = of("MILLSTREAM_SHOWN", 2) as usize;
    let text = failed.iter().take(shown).map(String::as_str).collect::<Vec<_>>().join("\n\n");
    assert!(failed.is_empty(), "{name}: {} of {} cases failed\n\n{text}", failed.len(), share * times);
}

struct Case {
    query: Query,
    sql: String,
    bound: i64,
    ways: [Way; 2],
}

/// A case of this kind of window.
pub fn check(seed: u64, kind: impl Fn(&mut Random, &Shape) -> Kind) -> Result<(), String> {
    let mut random = Random(seed);
    let shape = Shape::random(&mut random);
    let kind = kind(&mut random, &shape);
    let query = Query::random(&mut random, kind, &shape);
    let sql = query.sql(&mut random);
    let ways = [Way::random(&mut random), Way::random(&mut random)];
    let rows = shape.generate(&mut random);
    let case = Case { query, sql, bound: shape.bound * shape.unit, ways };
    case.verdict(&rows).map_err(|first| {
        let rows = smaller(rows, |rows| case.verdict(rows).is_err());
        case.report(&rows, &first)
    })
}

/// Takes rows away as long as it still fails.
fn smaller(mut rows: Vec<Row>, fails: impl Fn(&[Row]) -> bool) -> Vec<Row> {
    let mut chunk = rows.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        while at < rows.len() {
            let mut fewer = rows.clone();
            fewer.drain(at..(at + chunk).min(rows.len()));
            if fails(&fewer) {
                rows = fewer;
            } else {
                at += chunk;
            }
        }
        chunk /= 2;
    }
    rows
}

impl Case {
    fn reference(&self, rows: &[Row]) -> Outcome {
        outcome(&self.query, rows, &watermarks(rows, self.bound))
    }

    /// Whether the sequence of changes is specified, not only where it leads.
    fn is_exact(&self, way: Way) -> bool {
        let merges = matches!(self.query.kind, Kind::Session { .. });
        match self.query.emit {
            Emit::Final => self.query.policy.late != Late::Update || !merges,
            Emit::Record => !merges,
            Emit::Batch => !merges && way.batch_rows == 1,
        }
    }

    fn verdict(&self, rows: &[Row]) -> Result<(), String> {
        let expected = self.reference(rows);
        let mut first: Option<Ran> = None;
        for way in self.ways {
            let got =
                run(&self.query, &self.sql, rows, self.bound, way).map_err(|e| format!("{way:?}: {e}"))?;
            self.compare(&expected, &got, way).map_err(|e| format!("{way:?}: {e}"))?;
            let invariant = self.query.emit != Emit::Batch;
            if first.as_ref().is_some_and(|f| invariant && f.changes != got.changes) {
                return Err(format!("{:?} and {way:?} differ", self.ways[0]));
            }
            first = first.or(Some(got));
        }
        Ok(())
    }

    fn compare(&self, expected: &Outcome, got: &Ran, way: Way) -> Result<(), String> {
        if self.is_exact(way) {
            same_changes(&expected.changes, &got.changes)?;
        }
        let (wanted, table) = (fold(&expected.changes)?, fold(&got.changes)?);
        if wanted != table {
            let missing: Vec<_> = wanted.iter().filter(|(k, n)| table.get(*k) != Some(n)).collect();
            let extra: Vec<_> = table.iter().filter(|(k, n)| wanted.get(*k) != Some(n)).collect();
            return Err(format!(
                "the changes end in another table\n  missing {missing:?}\n  extra {extra:?}"
            ));
        }
        if got.late != expected.late.len() as u64 {
            return Err(format!("{} late rows, expected {:?}", got.late, expected.late));
        }
        if self.query.policy.late == Late::Dlq && got.letters != expected.late {
            return Err(format!("dead letters {:?}, expected {:?}", got.letters, expected.late));
        }
        Ok(())
    }

    fn report(&self, rows: &[Row], first: &str) -> String {
        let mut text = format!("{}\n  late {:?}, bound {}\n", self.sql, self.query.policy, self.bound);
        for row in rows {
            writeln!(text, "    {row:?}").unwrap();
        }
        let now = self.verdict(rows).err().unwrap_or_default();
        writeln!(text, "  {now}\n  reference:").unwrap();
        for change in self.reference(rows).changes.iter().take(20) {
            writeln!(text, "    {change}").unwrap();
        }
        if let Ok(ran) = run(&self.query, &self.sql, rows, self.bound, self.ways[0]) {
            writeln!(text, "  engine, {:?}:", self.ways[0]).unwrap();
            ran.changes.iter().take(20).for_each(|c| writeln!(text, "    {c}").unwrap());
        }
        let first: String = first.chars().take(600).collect();
        text + &format!("  before the rows were reduced: {first}")
    }
}

/// Both sequences, or where they part.
pub fn same_changes(expected: &[Change], got: &[Change]) -> Result<(), String> {
    let n = expected.len().max(got.len());
    match (0..n).find(|&i| expected.get(i) != got.get(i)) {
        None => Ok(()),
        Some(i) => {
            let show = |c: Option<&Change>| c.map_or("nothing".into(), ToString::to_string);
            let (a, b) = (show(expected.get(i)), show(got.get(i)));
            Err(format!(
                "change {i} of {} ({} expected):\n  expected {a}\n  got      {b}",
                got.len(),
                expected.len()
            ))
        }
    }
}
