//! Statements of ours, into their parts.

use super::*;
use crate::catalog::RelationKind;
use crate::record::DataType;
use crate::sql::CreateRelation;

#[track_caller]
fn create(text: &str) -> CreateRelation {
    match good(text) {
        Statement::Create(c) => c,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_with_everything() {
    let c = create(
        "CREATE STREAM IF NOT EXISTS orders (
           order_id BIGINT NOT NULL, \"Amount\" DECIMAL(18,2) NULL, timestamp VARCHAR, window INT,
           end ARRAY<STRUCT<a INT NOT NULL, b MAP<VARCHAR, INT>>>, watermark DATE, primary TIME,
           ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND, PRIMARY KEY (order_id, \"Amount\") NOT ENFORCED
         ) WITH (connector = 'file', 'path' = 'it''s.jsonl', format = json, \"rows\" = 5, header = true,
                 poll = 5s, max = 64 KiB, idle = 1h30m, neg = -1, a.b = 'x', 'c.d' => 'y', E = E'\\t')",
    );
    let r = c.relation;
    assert!(c.if_not_exists && c.query.is_none());
    assert_eq!((r.name.as_str(), r.kind), ("orders", RelationKind::Stream));
    let columns: Vec<_> = r
        .columns
        .iter()
        .map(|c| format!("{} {}{}", c.name, c.data_type, if c.not_null { " NOT NULL" } else { "" }))
        .collect();
    assert_eq!(
        columns,
        [
            "order_id BIGINT NOT NULL",
            "Amount DECIMAL(18,2) NOT NULL",
            "timestamp VARCHAR",
            "window INT",
            "end ARRAY<STRUCT<a INT, b MAP<VARCHAR, INT>>>",
            "watermark DATE",
            "primary TIME",
            "ts TIMESTAMP",
        ]
    );
    let DataType::Array(item) = &r.columns[4].data_type else { panic!() };
    assert!(matches!(item.as_ref(), DataType::Struct(f) if !f[0].nullable && f[1].nullable));
    assert_eq!(r.primary_key, ["order_id", "Amount"]);
    let watermark = r.watermark.unwrap();
    assert_eq!(
        (watermark.column.as_str(), watermark.expression.as_str()),
        ("ts", "ts - INTERVAL '5' SECOND")
    );
    let options: Vec<_> = r.options.iter().collect();
    assert_eq!(
        options,
        [
            ("connector", "file"),
            ("path", "it's.jsonl"),
            ("format", "json"),
            ("rows", "5"),
            ("header", "true"),
            ("poll", "5s"),
            ("max", "64 KiB"),
            ("idle", "1h30m"),
            ("neg", "-1"),
            ("a.b", "x"),
            ("c.d", "y"),
            ("e", "\t"),
        ]
    );
}

#[test]
fn a_table_needs_a_key_or_a_query_else_it_is_a_stream() {
    let kind = |text: &str| create(text).relation.kind;
    assert_eq!(kind("CREATE TABLE t (a INT) WITH (connector = 'file')"), RelationKind::Stream);
    assert_eq!(kind("CREATE TABLE t (a INT PRIMARY KEY) WITH (connector = 'file')"), RelationKind::Table);
    assert_eq!(
        kind("CREATE TABLE t (a INT, PRIMARY KEY (a)) WITH (connector = 'file')"),
        RelationKind::Table
    );
    assert_eq!(kind("CREATE TABLE t AS SELECT a FROM s GROUP BY a"), RelationKind::Table);
    assert_eq!(kind("create stream t as select 1"), RelationKind::Stream);
    assert_eq!(kind("CREATE STREAM t WITH ()"), RelationKind::Stream);
    assert!(create("CREATE TABLE t (A INT PRIMARY KEY)").relation.columns[0].not_null);
}

#[test]
fn the_other_statements() {
    let shown = |text: &str| match good(text) {
        Statement::CreateView { name, or_replace, query } => format!("view {name} {or_replace} {query}"),
        Statement::Insert { target, columns, query } => format!("insert {target} {columns:?} {query}"),
        Statement::Explain { analyze, statement } => {
            format!("explain {analyze} {}", &text[statement.span.start..statement.span.end])
        }
        other => format!("{other:?}"),
    };
    for (text, expected) in [
        ("CREATE VIEW v AS SELECT 1", "view v false SELECT 1"),
        ("CREATE OR REPLACE VIEW \"V w\" AS (SELECT 1)", "view V w true (SELECT 1)"),
        ("INSERT INTO o SELECT 1", "insert o [] SELECT 1"),
        ("insert into table o (a, `end`) values (1, 2)", "insert o [\"a\", \"end\"] VALUES (1, 2)"),
        ("INSERT INTO o (SELECT 1)", "insert o [] (SELECT 1)"),
        ("INSERT INTO o (a) (SELECT 1)", "insert o [\"a\"] (SELECT 1)"),
        (
            "INSERT INTO o WITH a AS (SELECT 1) SELECT * FROM a",
            "insert o [] WITH a AS (SELECT 1) SELECT * FROM a",
        ),
        ("EXPLAIN SELECT 1", "explain false SELECT 1"),
        ("explain analyze INSERT INTO o SELECT 1 ;", "explain true INSERT INTO o SELECT 1"),
        ("SHOW functions", "Show(\"FUNCTIONS\")"),
        ("DESC x", "Describe(\"x\")"),
        ("DESCRIBE STREAM x", "Describe(\"x\")"),
        ("DESCRIBE stream", "Describe(\"stream\")"),
        ("DESCRIBE 'a/b.csv'", "DescribeFile(\"a/b.csv\")"),
        ("DROP VIEW IF EXISTS x", "Drop { name: \"x\", if_exists: true }"),
        ("DROP STREAM x", "Drop { name: \"x\", if_exists: false }"),
        ("SET batch_rows = 500", "Set { name: \"batch_rows\", value: \"500\" }"),
        ("SET 'Table.X' = 'v w'", "Set { name: \"table.x\", value: \"v w\" }"),
        ("SET linger TO 5s", "Set { name: \"linger\", value: \"5s\" }"),
        ("SET a.b = on", "Set { name: \"a.b\", value: \"on\" }"),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn empty_texts_hold_no_statement() {
    for text in ["", "  \n", ";;;", "-- only this", "/* a */ ; -- b"] {
        assert!(parse(text).is_empty(), "{text}");
    }
}
