//! Tests of the parser.

use super::*;

mod depth;

/// One statement that parses.
#[track_caller]
fn good(text: &str) -> Statement {
    let mut all = parse(text);
    assert_eq!(all.len(), 1, "{text}");
    match all.remove(0) {
        Ok(s) => s.node,
        Err(e) => panic!("{}", e.render("test", text)),
    }
}

#[test]
fn smoke() {
    for text in [
        "SELECT offset, interval FROM t",
        "SELECT t.offset, t.interval, w.start, w.end FROM t",
        "SELECT timestamp, start, end, window, count, hour, rows, offset, interval FROM t WHERE end > 1 AND window = offset GROUP BY window, hour ORDER BY offset, interval, end LIMIT 5 OFFSET 2",
        "select a from (select 1 as a)",
        "SELECT * FROM 'a.csv' x WHERE a == 1",
        "SELECT * EXCLUDE (a, b) FROM t",
        "SELECT * EXCEPT (a, b) FROM t",
        "SELECT t.* EXCLUDE (a) FROM read_csv('f', null_values = 'NA', b => 5, c = true)",
        "SELECT TRY_CAST(a AS MAP<VARCHAR, ARRAY<ARRAY<INT>>>), a::STRUCT<a INT, b MAP<VARCHAR,INT>>[], a::int FROM t",
        "SELECT a SIMILAR TO 'x', a ILIKE 'b', a IS NOT DISTINCT FROM b, x['k'], _headers['x'], a.b.c, a.b['x'].c FROM t",
        "SELECT STRUCT(1 AS a, 2 AS b), ROW(1,2), MAP {'a': 1, 'b': x + 2}, MAP['a', 1, 'b', 2], ARRAY[1,2], [1,2], {'a': 1}, map['k'] FROM t",
        "SELECT u FROM t CROSS JOIN UNNEST(arr) WITH ORDINALITY AS u(e, i)",
        "SELECT u FROM t, UNNEST(arr) u",
        "SELECT CASE WHEN end THEN start ELSE end END, INTERVAL '5' SECOND, INTERVAL '1 day', interval + INTERVAL 5 SECOND, INTERVAL (5) DAY FROM t",
        "SELECT x -> 'a' = 'b', 1 < 2 == true, E'a\\n', 1_000, DATE '2020-01-01', TIMESTAMP '2020-01-01 00:00:00', ts AT TIME ZONE 'UTC' FROM t",
        "SELECT EXTRACT(HOUR FROM ts), EXTRACT(EPOCH FROM ts), POSITION('a' IN b), SUBSTRING(a FROM 1 FOR 2), TRIM(BOTH 'x' FROM y), FLOOR(ts TO HOUR) FROM t",
        "WITH a AS (SELECT 1), b AS (SELECT 2) SELECT * FROM a UNION ALL SELECT * FROM b ORDER BY 1 DESC NULLS LAST",
        "SELECT COUNT(*) c FROM t HAVING COUNT(*) > 1",
        "SELECT * FROM t EMIT CHANGES LIMIT 3",
        "INSERT INTO o (a, b) SELECT 1, 2",
        "INSERT INTO o VALUES (1, 2)",
        "EXPLAIN ANALYZE SELECT 1",
        "SHOW streams",
        "DESCRIBE x",
        "DESC STREAM x",
        "DROP STREAM IF EXISTS x",
        "SET a.b = 5s",
        "SET 'k' = 'v'",
        "SET k = -5",
        "SET timeout = 1h30m",
        "CREATE STREAM orders (order_id BIGINT, customer_id BIGINT NOT NULL, amount DECIMAL(18,2), timestamp VARCHAR, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH (connector = 'file', 'path' = 'orders.jsonl', format = json, n = 5, b = true, d = 5s, z = 64 KiB)",
        "CREATE TABLE rates (currency VARCHAR PRIMARY KEY, rate DECIMAL(12,6)) WITH ('a.b' = 'x')",
        "CREATE STREAM big WITH (a = 'b') AS SELECT 1",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "CREATE TABLE totals AS SELECT a FROM t",
    ] {
        good(text);
    }
}

/// Words that need quotes as column names in a query.
const RESERVED: &[&str] = &[
    "ALL", "AND", "AS", "BETWEEN", "BY", "CASE", "DISTINCT", "ELSE", "ESCAPE", "EXCEPT", "FROM", "GROUP", "HAVING",
    "ILIKE", "IN", "INTERSECT", "INTO", "IS", "JOIN", "LIKE", "LIMIT", "NOT", "ON", "OR", "ORDER", "QUALIFY",
    "SELECT", "SIMILAR", "THEN", "UNION", "USING", "WHEN", "WHERE", "WITH",
];

#[test]
fn all_other_words_are_names_anywhere() {
    for k in sqlparser::keywords::ALL_KEYWORDS.iter().filter(|k| !k.contains('-')) {
        let forms = [
            format!("SELECT {k} FROM t"),
            format!("SELECT a, {k}, b FROM t"),
            format!("SELECT a FROM t WHERE {k} > 1 AND {k} = 2 OR {k} IS NULL AND {k} NOT IN (1) AND {k} LIKE 'x'"),
            format!("SELECT a FROM t GROUP BY {k}, a ORDER BY {k}, b"),
            format!("SELECT f({k}), -{k}, {k} + 1, 2 * {k} - 1, CASE WHEN {k} THEN {k} ELSE {k} END FROM t"),
            format!("SELECT ({k}), [{k}], {k}::INT FROM t"),
        ];
        for text in &forms {
            let parsed = parse(text).remove(0);
            if RESERVED.contains(k) {
                continue;
            }
            let names = |s: &str| parsed.as_ref().is_ok_and(|p| format!("{:?}", p.node).contains(&format!("value: \"{s}\"")));
            // Constants and functions without parentheses.
            let own = ["TRUE", "FALSE", "NULL"].contains(k);
            assert!(own || names(k), "{text}: {parsed:?}");
        }
        let Err(_) = parse(&format!("SELECT a, {k}, b FROM t")).remove(0) else { continue };
        assert!(RESERVED.contains(k), "{k}");
    }
    for k in RESERVED {
        let text = format!("SELECT a, {k}, b FROM t");
        assert!(parse(&text).remove(0).is_err(), "{text}");
        good(&format!("SELECT a AS {k}, t.{k}, \"{k}\", {k}.a FROM t"));
        good(&format!("CREATE STREAM s ({k} INT, b INT)"));
    }
}
