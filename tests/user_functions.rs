//! Functions from closures, called by queries.

use millstream::connector::memory::MemorySource;
use millstream::expr::Timestamp;
use millstream::record::Decimal;
use millstream::{DataType, Engine, FieldValue, Schema};

fn rows(engine: &Engine, sql: &str) -> Vec<String> {
    let mut job = engine.sql(sql).unwrap_or_else(|e| panic!("{e}")).start().unwrap();
    let rows = job
        .rows()
        .map(|r| r.values().iter().map(millstream::expr::to_text).collect::<Vec<_>>().join("|"))
        .collect();
    job.wait().unwrap_or_else(|e| panic!("{e}"));
    rows
}

fn engine() -> Engine {
    let engine = Engine::new();
    engine.register_scalar("answer", || 42i64).unwrap();
    engine.register_scalar("plus", |a: i64, b: i64| a.checked_add(b).ok_or("too much")).unwrap();
    engine.register_scalar("plus", |a: i64, b: i64, c: i64| a + b + c).unwrap();
    engine.register_scalar("shout", |text: &str| format!("{}!", text.to_uppercase())).unwrap();
    engine.register_scalar("owned", |text: String, times: i64| text.repeat(times as usize)).unwrap();
    engine.register_scalar("known", |x: Option<&str>| x.is_some()).unwrap();
    engine.register_scalar("half", |x: Decimal| x / Decimal::from(2)).unwrap();
    engine.register_scalar("later", |t: Timestamp, s: i64| Timestamp(t.0 + s * 1_000_000)).unwrap();
    engine.register_scalar("not_too", |x: f64, b: bool| (!b).then_some(x)).unwrap();
    engine
        .register_scalar("six", |a: i64, b: i64, c: i64, d: i64, e: i64, f: i64| a + b * c + d * e * f)
        .unwrap();
    engine
}

#[test]
fn every_type_goes_in_and_comes_out() {
    let engine = engine();
    for (call, expected) in [
        ("answer()", "42"),
        ("plus(1, 2)", "3"),
        ("plus(1, 2, 3)", "6"),
        ("PLUS(1, NULL)", "NULL"),
        ("shout('hey')", "HEY!"),
        ("shout(NULL)", "NULL"),
        ("owned('ab', 3)", "ababab"),
        ("known(NULL)", "false"),
        ("known('x')", "true"),
        ("CAST(half(5) AS VARCHAR)", "2.500000"),
        ("CAST(half(0.25) AS VARCHAR)", "0.125000"),
        ("CAST(half(0.000001) AS VARCHAR)", "0.000001"),
        ("CAST(later(TIMESTAMP '2026-01-01 00:00:00', 61) AS VARCHAR)", "2026-01-01T00:01:01Z"),
        ("not_too(1, false)", "1"),
        ("not_too(1.5, true)", "NULL"),
        ("six(1, 2, 3, 4, 5, 6)", "127"),
    ] {
        let sql = format!("SELECT coalesce(CAST({call} AS VARCHAR), 'NULL') AS x");
        let got = rows(&engine, &sql);
        let plain = |s: &str| s.trim_end_matches(".0").replace(' ', "T");
        assert_eq!(plain(&got[0]).trim_end_matches('Z'), plain(expected).trim_end_matches('Z'), "{call}");
    }
}

#[test]
fn wrong_calls_are_found_before_anything_runs() {
    let engine = engine();
    for (call, why) in [
        ("plus(1)", "plus"),
        ("plus('a', 2)", "plus"),
        ("half('x')", "argument 1 must be a DECIMAL or an integer, not VARCHAR"),
        ("shoot('x')", "shout"),
    ] {
        let error =
            engine.sql(&format!("SELECT {call} AS x")).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(why), "{call}: {error}");
    }
    let taken = engine.register_scalar("upper", |x: i64| x).unwrap_err().to_string();
    assert!(taken.contains("already a function 'upper'"), "{taken}");
}

#[test]
fn an_error_or_a_panic_costs_the_record_that_caused_it() {
    let engine = Engine::new();
    engine
        .register_scalar("touchy", |x: i64| match x {
            3 => Err("three"),
            5 => panic!("five"),
            x => Ok(x * 10),
        })
        .unwrap();
    engine.set("on_error", "skip").unwrap();
    for sql in ["SELECT touchy(n) AS x FROM numbers", "SELECT sum(touchy(n)) AS x FROM numbers"] {
        let (send, source) = MemorySource::channel(Schema::of([("n", DataType::BigInt)]), 16);
        engine.sql("DROP STREAM IF EXISTS numbers").ok();
        engine.register_source("numbers", source).unwrap();
        for n in 1..=6i64 {
            send.send_values([n.into()]).unwrap();
        }
        drop(send);
        let mut job = engine.sql(sql).unwrap().start().unwrap();
        let got: Vec<i64> = job.rows().filter_map(|r| r.values()[0].as_i64()).collect();
        let stats = job.wait().unwrap();
        assert_eq!(stats.rejected, 2, "{sql}");
        assert_eq!(*got.last().unwrap(), if sql.contains("sum") { 130 } else { 60 }, "{sql}");
        engine.sql("DROP STREAM numbers").unwrap();
    }
}

#[test]
fn an_aggregate_groups_filters_sees_null_and_survives_what_the_engine_does_with_states() {
    let engine = Engine::new();
    engine
        .register_aggregate(
            "weighted",
            || (0.0, 0.0),
            |state: &mut (f64, f64), x: f64, weight: Option<i64>| {
                let weight = weight.unwrap_or(1) as f64;
                *state = (state.0 + x * weight, state.1 + weight);
            },
            |state, later| *state = (state.0 + later.0, state.1 + later.1),
            |state| (state.1 > 0.0).then(|| state.0 / state.1),
        )
        .unwrap();
    let values =
        "(VALUES ('a', 1, 1), ('a', 4, 2), ('b', 5, NULL), ('b', NULL, 7), ('c', NULL, 1)) AS t (k, x, w)";
    let got = rows(&engine, &format!("SELECT k, weighted(x, w) AS m FROM {values} GROUP BY k"));
    assert_eq!(
        got,
        ["a|3", "b|5", "c|NULL"].map(|s| s.replace("NULL", &millstream::expr::to_text(&FieldValue::Null)))
    );
    let filtered = format!("SELECT weighted(x, w) FILTER (WHERE k = 'a' AND x > 1) AS m FROM {values}");
    assert_eq!(rows(&engine, &filtered), ["4"]);
    let distinct = "SELECT weighted(DISTINCT x, 1) AS m FROM (VALUES (2), (2), (4)) AS t (x)";
    assert_eq!(rows(&engine, distinct), ["3"]);
    let clash = engine.register_scalar("weighted", |x: i64| x).unwrap_err().to_string();
    assert!(clash.contains("already an aggregate function 'weighted'"), "{clash}");
}

#[test]
fn a_panic_in_an_aggregate_s_closure_ends_the_job_and_names_the_function() {
    for (panics_at, what) in [(3, "update"), (1000, "finish")] {
        let engine = Engine::new();
        engine
            .register_aggregate(
                "fragile",
                || 0i64,
                move |sum: &mut i64, x: i64| {
                    assert!(x != panics_at, "it broke");
                    *sum += x;
                },
                |sum, later| *sum += later,
                move |sum| {
                    assert!(panics_at != 1000, "it broke");
                    Some(*sum)
                },
            )
            .unwrap();
        // A state that is half changed can't be kept, whatever the policy for records says.
        engine.set("on_error", "skip").unwrap();
        let (send, source) = MemorySource::channel(Schema::of([("n", DataType::BigInt)]), 16);
        engine.register_source("numbers", source).unwrap();
        for n in 1..=6i64 {
            send.send_values([n.into()]).unwrap();
        }
        drop(send);
        let mut job = engine
            .sql("SELECT n % 2 AS k, fragile(n) AS x FROM numbers GROUP BY n % 2")
            .unwrap()
            .start()
            .unwrap();
        job.rows().for_each(drop);
        let error = job.wait().unwrap_err().to_string();
        let told = format!("the {what} of the aggregate function fragile() panicked: it broke");
        assert!(error.contains(&told), "{error}");
        assert_eq!(error.contains("[panic]"), what == "finish", "{error}");
    }
}
