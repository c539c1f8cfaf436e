//! Queries over rows that change: applied in order, what they tell gives the table that the rows so far give, and no update changes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream::connector::memory::MemorySource;
use millstream::record::RowKind;
use millstream::{DataType, Engine, FieldValue, Schema, Step, StreamRecord};

fn schema() -> Arc<Schema> {
    Schema::of([("k", DataType::Varchar), ("x", DataType::BigInt)])
}

type Event = (&'static str, i64);

fn events(seed: u64, n: usize) -> Vec<Event> {
    let mut state = seed;
    let mut random = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    (0..n).map(|_| (["a", "b", "c", "d", "e"][random(5) as usize], random(9) as i64 - 3)).collect()
}

/// The rows that stand in the end.
fn told(events: &[Event], query: &str, settings: &[(&str, &str)]) -> Vec<String> {
    let engine = Engine::new();
    settings.iter().for_each(|(name, value)| engine.set(name, value).unwrap());
    let (sender, source) = MemorySource::channel(schema(), 1000);
    engine.register_source("t", source).unwrap();
    let mut job = engine.sql(query).unwrap_or_else(|e| panic!("{query}: {e}")).stepping(0).unwrap();
    let mut rows = job.take_rows().unwrap();
    for (k, x) in events {
        sender.send(StreamRecord::with_values(schema(), [(*k).into(), (*x).into()])).unwrap();
    }
    let mut table: Vec<String> = Vec::new();
    let mut before = None;
    loop {
        let step = job.step(1).unwrap();
        while let Some(row) = rows.try_next() {
            let value = |v: &FieldValue| match v {
                FieldValue::Integer(n) => n.to_string(),
                FieldValue::String(s) => s.to_string(),
                other => format!("{other:?}"),
            };
            let text = row.values().iter().map(value).collect::<Vec<_>>().join(" ");
            match row.kind() {
                RowKind::Insert => table.push(text),
                RowKind::UpdateAfter => {
                    assert_ne!(before.take(), Some(text.clone()), "{query}: an update that changes nothing");
                    table.push(text);
                }
                RowKind::UpdateBefore | RowKind::Delete => {
                    let at = table.iter().position(|r| *r == text);
                    table.remove(at.unwrap_or_else(|| panic!("{query}: {text} leaves but was not there")));
                    before = (row.kind() == RowKind::UpdateBefore).then_some(text);
                }
            }
        }
        if !matches!(step, Step::Worked) {
            table.sort();
            return table;
        }
    }
}

const SUMS: &str = "(SELECT k, sum(x) AS s FROM t GROUP BY k)";

/// What the query gives over these rows: key, its sum, its rows.
type Reference = fn(&[(&'static str, i64, usize)]) -> Vec<String>;

/// A query, and the same by hand.
fn cases() -> Vec<(String, Reference)> {
    vec![
        (format!("SELECT k, s FROM {SUMS} ORDER BY s DESC, k LIMIT 2"), |sums| {
            let mut rows = sums.to_vec();
            rows.sort_by_key(|(k, s, _)| (-s, *k));
            rows.iter().take(2).map(|(k, s, _)| format!("{k} {s}")).collect()
        }),
        (
            format!(
                "SELECT k, s, r FROM (SELECT k, s, row_number() OVER (PARTITION BY abs(s) % 2 ORDER BY s, k) AS r FROM {SUMS}) WHERE r <= 2"
            ),
            |sums| {
                let parts = [0, 1].map(|b| {
                    let mut rows: Vec<_> = sums.iter().filter(|(_, s, _)| s.abs() % 2 == b).collect();
                    rows.sort_by_key(|(k, s, _)| (*s, *k));
                    rows.into_iter().take(2).enumerate().map(|(i, (k, s, _))| format!("{k} {s} {}", i + 1)).collect()
                });
                let parts: [Vec<String>; 2] = parts;
                parts.concat()
            },
        ),
        (
            format!("SELECT DISTINCT ON (b) k, abs(s) % 2 AS b, s FROM {SUMS} ORDER BY b, s DESC, k"),
            |sums| {
                let best = |b: i64| {
                    let own = sums.iter().filter(move |(_, s, _)| s.abs() % 2 == b);
                    own.min_by_key(|(k, s, _)| (-s, *k)).map(|(k, s, _)| format!("{k} {b} {s}"))
                };
                [0, 1].into_iter().filter_map(best).collect()
            },
        ),
        (
            format!("SELECT abs(s) % 2 AS b, count(*) AS n, max(s) AS m FROM {SUMS} GROUP BY abs(s) % 2"),
            |sums| {
                let of = |b: i64| {
                    let own: Vec<i64> = sums.iter().map(|s| s.1).filter(|s| s.abs() % 2 == b).collect();
                    own.iter().max().map(|m| format!("{b} {} {m}", own.len()))
                };
                [0, 1].into_iter().filter_map(of).collect()
            },
        ),
        (format!("SELECT DISTINCT s AS r FROM {SUMS}"), |sums| {
            let all: BTreeSet<i64> = sums.iter().map(|s| s.1).collect();
            all.iter().map(ToString::to_string).collect()
        }),
        (
            "SELECT k FROM t EXCEPT SELECT k FROM (SELECT k, sum(x) AS s FROM t GROUP BY k HAVING sum(x) > 6)".into(),
            |sums| sums.iter().filter(|(_, s, _)| *s <= 6).map(|(k, ..)| (*k).to_owned()).collect(),
        ),
        (
            "SELECT k FROM (SELECT k, sum(x) AS s FROM t GROUP BY k HAVING sum(x) > 6) INTERSECT SELECT k FROM t".into(),
            |sums| sums.iter().filter(|(_, s, _)| *s > 6).map(|(k, ..)| (*k).to_owned()).collect(),
        ),
        (format!("SELECT k, s FROM {SUMS} WHERE s % 2 = 0"), |sums| {
            sums.iter().filter(|(_, s, _)| s % 2 == 0).map(|(k, s, _)| format!("{k} {s}")).collect()
        }),
        (format!("SELECT k FROM {SUMS} WHERE s > 1"), |sums| {
            sums.iter().filter(|(_, s, _)| *s > 1).map(|(k, ..)| (*k).to_owned()).collect()
        }),
        (format!("SELECT * FROM (SELECT k, s / 3 AS third FROM {SUMS} WHERE s % 4 <> 1) WHERE third < 2"), |sums| {
            let thirds = sums.iter().filter(|(_, s, _)| s % 4 != 1 && s / 3 < 2);
            thirds.map(|(k, s, _)| format!("{k} {}", s / 3)).collect()
        }),
        (format!("SELECT s % 3 AS m, count(*) AS n FROM {SUMS} WHERE s > 0 AND k <> 'b' GROUP BY s % 3"), |sums| {
            let of = |m: i64| {
                let n = sums.iter().filter(|(k, s, _)| *s > 0 && *k != "b" && s % 3 == m).count();
                (n > 0).then(|| format!("{m} {n}"))
            };
            (0..3).filter_map(of).collect()
        }),
        (format!("SELECT k, s FROM (SELECT k, s FROM {SUMS} ORDER BY s DESC, k LIMIT 3) WHERE s < 9"), |sums| {
            let mut rows = sums.to_vec();
            rows.sort_by_key(|(k, s, _)| (-s, *k));
            rows.iter().take(3).filter(|(_, s, _)| *s < 9).map(|(k, s, _)| format!("{k} {s}")).collect()
        }),
        ("SELECT k FROM (SELECT k FROM t EXCEPT SELECT k FROM (SELECT k, sum(x) AS s FROM t GROUP BY k HAVING sum(x) > 6)) WHERE k > 'a'".into(), |sums| {
            let few = sums.iter().filter(|(k, s, _)| *s <= 6 && *k > "a");
            few.map(|(k, ..)| (*k).to_owned()).collect()
        }),
        ("SELECT k FROM t GROUP BY k HAVING count(*) > 4".into(), |sums| {
            sums.iter().filter(|(.., n)| *n > 4).map(|(k, ..)| (*k).to_owned()).collect()
        }),
        ("SELECT k FROM t GROUP BY k HAVING sum(x) > 4".into(), |sums| {
            sums.iter().filter(|(_, s, _)| *s > 4).map(|(k, ..)| (*k).to_owned()).collect()
        }),
    ]
}

#[test]
fn what_is_told_of_rows_that_change_gives_the_table_of_the_rows_so_far() {
    for seed in 1..=12 {
        let events = events(seed, 5 + 4 * seed as usize);
        let mut sums: BTreeMap<&'static str, (i64, usize)> = BTreeMap::new();
        for (k, x) in &events {
            let sum = sums.entry(k).or_default();
            *sum = (sum.0 + x, sum.1 + 1);
        }
        let sums: Vec<_> = sums.into_iter().map(|(k, (s, n))| (k, s, n)).collect();
        for (query, reference) in cases() {
            let mut expected = reference(&sums);
            expected.sort();
            for (batch, every) in [("1", "batch"), ("7", "record"), ("1000", "batch")] {
                let settings = [("batch_rows", batch), ("emit_every", every)];
                assert_eq!(
                    told(&events, &query, &settings),
                    expected,
                    "seed {seed}, batches of {batch}: {query}"
                );
            }
        }
    }
}

#[test]
fn what_cannot_take_rows_back_is_refused_over_rows_that_change() {
    let engine = Engine::new();
    let (_sender, source) = MemorySource::channel(schema(), 10);
    engine.register_source("t", source).unwrap();
    for (query, what) in [
        (
            format!("SELECT approx_count_distinct(s) AS n FROM {SUMS}"),
            "an aggregation that can't take rows back",
        ),
        (format!("SELECT s, lag(s) OVER (ORDER BY s) AS l FROM {SUMS}"), "a call OVER"),
        (format!("SELECT k FROM {SUMS} WHERE s > random()"), "a condition that looks at the clock"),
        (format!("SELECT k FROM {SUMS} WHERE _timestamp IS NULL"), "a condition that looks at the clock"),
    ] {
        let error = engine.sql(&query).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(what), "{query}: {error}");
    }
}
