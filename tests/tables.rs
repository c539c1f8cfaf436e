//! Materialized tables: filled by a job, read by pull queries from other threads while it runs.

mod support;

use std::sync::Arc;

use millstream::connector::memory::MemorySource;
use millstream::{DataType, Engine, FieldValue, Schema, StreamRecord};
use support::within;

fn orders() -> Arc<Schema> {
    Schema::of([("symbol", DataType::Varchar), ("amount", DataType::BigInt)])
}

fn order(symbol: &str, amount: i64) -> StreamRecord {
    StreamRecord::with_values(orders(), [symbol.into(), amount.into()])
}

fn pull(engine: &Engine, query: &str) -> Vec<Vec<FieldValue>> {
    let mut job = engine.query(query, None).unwrap().start().unwrap();
    let rows = job.rows().map(|r| r.values().to_vec()).collect();
    job.wait().unwrap();
    rows
}

fn errors(engine: &Engine, text: &str) -> String {
    engine.sql(text).unwrap_err().to_string()
}

#[test]
fn the_latest_row_of_each_key_can_be_read_while_the_job_runs() {
    within(60, "pull queries", || {
        let engine = Engine::new();
        let (sender, source) = MemorySource::channel(orders(), 16);
        engine.register_source("orders", source).unwrap();
        let text = "CREATE TABLE latest (PRIMARY KEY (symbol)) AS SELECT symbol, amount FROM orders";
        let job = engine.sql(text).unwrap().start().unwrap();
        for i in 0..100 {
            sender.send(order(["a", "b"][i % 2], i as i64)).unwrap();
        }
        // The table catches up with what was sent; until then it holds earlier rows of the same keys.
        while pull(&engine, "SELECT amount FROM latest WHERE symbol = 'b'") != [[FieldValue::Integer(99)]] {
            std::thread::yield_now();
        }
        assert_eq!(
            pull(&engine, "SELECT * FROM latest"),
            [["a".into(), FieldValue::Integer(98)], ["b".into(), FieldValue::Integer(99)]]
        );
        assert_eq!(pull(&engine, "SELECT symbol FROM latest WHERE amount > 98"), [[FieldValue::from("b")]]);
        assert!(pull(&engine, "SELECT * FROM latest WHERE symbol = 'c'").is_empty());
        // A constant of another type is compared, not looked up.
        assert!(pull(&engine, "SELECT * FROM latest WHERE symbol = 'a' AND symbol = 'b'").is_empty());
        drop(sender);
        job.wait().unwrap();
        assert_eq!(
            pull(&engine, "SELECT amount + 1 AS n FROM latest WHERE 'a' = symbol"),
            [[FieldValue::Integer(99)]]
        );
    });
}

#[test]
fn what_a_table_needs_is_said() {
    let engine = Engine::new();
    let (_sender, source) = MemorySource::channel(orders(), 16);
    engine.register_source("orders", source).unwrap();
    let said = errors(&engine, "CREATE TABLE t AS SELECT symbol FROM orders");
    assert!(said.contains("'t' needs a key") && said.contains("GROUP BY"), "{said}");
    let said = errors(&engine, "CREATE TABLE t (PRIMARY KEY (nope)) AS SELECT symbol FROM orders");
    assert!(said.contains("no column 'nope'"), "{said}");
    let text = "CREATE TABLE u (PRIMARY KEY (symbol)) AS SELECT symbol FROM orders; SELECT * FROM u";
    let said = errors(&engine, text);
    assert!(said.contains("'u' is filled by this text"), "{said}");
}

#[test]
fn groups_refuse_what_would_be_wrong_and_fill_tables() {
    within(60, "groups", || {
        let engine = Engine::new();
        let (sender, source) = MemorySource::channel(orders(), 16);
        engine.register_source("orders", source).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        let text = format!(
            "CREATE STREAM o WITH (connector = 'file', path = '{}', format = 'json');",
            path.display()
        );
        engine.sql(&text).unwrap();
        let said = errors(&engine, "INSERT INTO o SELECT symbol, count(*) AS n FROM orders GROUP BY symbol");
        assert!(said.contains("append-only") && said.contains("changelog = 'upsert'"), "{said}");
        let nested = "SELECT approx_count_distinct(n) AS about FROM (SELECT symbol, count(*) AS n FROM orders GROUP BY symbol)";
        assert!(errors(&engine, nested).contains("that can't take rows back over rows that change"));
        let filtered =
            "SELECT n FROM (SELECT symbol, count(*) AS n FROM orders GROUP BY symbol) WHERE n > random()";
        assert!(errors(&engine, filtered).contains("a condition that looks at the clock"));
        engine.set("state", dir.path().to_str().unwrap()).unwrap();
        let query = engine.sql("SELECT symbol, count(*) AS n FROM orders GROUP BY symbol").unwrap();
        let said = query.check().unwrap_err().to_string();
        assert!(said.contains("source orders: it can't be read again from a position"), "{said}");
        engine.set("state", "").unwrap();
        let text = "CREATE TABLE totals AS SELECT symbol, sum(amount) AS s FROM orders GROUP BY symbol";
        let job = engine.sql(text).unwrap().start().unwrap();
        for i in 1..=10 {
            sender.send(order(["a", "b"][i % 2], i as i64)).unwrap();
        }
        drop(sender);
        job.wait().unwrap();
        assert_eq!(pull(&engine, "SELECT s FROM totals WHERE symbol = 'a'"), [[FieldValue::Integer(30)]]);
        assert_eq!(pull(&engine, "SELECT count(*) AS n FROM totals"), [[FieldValue::Integer(2)]]);
    });
}

/// What a reader of a changelog file ends up with: the last `s` of each symbol, from these members of the messages.
fn folded(path: &std::path::Path, key: &str, row: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut rows = std::collections::BTreeMap::new();
    for line in text.lines() {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        rows.insert(message[key]["symbol"].to_string(), message[row]["s"].to_string());
    }
    rows.into_iter().map(|(k, s)| format!("{k}={s}")).collect()
}

#[test]
fn a_changelog_file_ends_in_the_result() {
    within(60, "changelogs", || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        for (with, key, row) in [
            ("format = 'json', changelog = 'upsert', key_columns = 'symbol'", "key", "value"),
            ("format = 'debezium-json'", "after", "after"),
        ] {
            let engine = Engine::new();
            let (sender, source) = MemorySource::channel(orders(), 4);
            engine.register_source("orders", source).unwrap();
            engine.set("batch_rows", "3").unwrap();
            let text = format!(
                "CREATE STREAM o WITH (connector = 'file', path = '{}', {with});
                 INSERT INTO o SELECT symbol, sum(amount) AS s FROM orders GROUP BY symbol",
                path.display()
            );
            let job = engine.sql(&text).unwrap().start().unwrap();
            for i in 1..=20 {
                sender.send(order(["a", "b"][i % 2], i as i64)).unwrap();
            }
            drop(sender);
            job.wait().unwrap();
            assert_eq!(folded(&path, key, row), ["\"a\"=110", "\"b\"=100"], "{with}");
        }
    });
}
