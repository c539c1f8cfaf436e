//! What users of other engines write, and how it is understood.

use super::*;

/// The query as sqlparser prints it.
#[track_caller]
fn printed(text: &str) -> String {
    match good(text) {
        Statement::Select(query) => query.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn queries_are_understood_as_meant() {
    // Read in pairs: as written, as understood.
    for (text, expected) in [
        ("select a from t where b == 1;", "SELECT a FROM t WHERE b = 1"),
        ("SeLeCt 1 -- one\n /* two /* nested */ */ + 2", "SELECT 1 + 2"),
        ("SELECT offset, interval FROM t", "SELECT offset, interval FROM t"),
        (
            "SELECT timestamp, start, end, window, count, hour, rows, offset, interval FROM t",
            "SELECT timestamp, start, end, window, count, hour, rows, offset, interval FROM t",
        ),
        ("SELECT a FROM t WHERE end - start > offset", "SELECT a FROM t WHERE end - start > offset"),
        ("SELECT a FROM t GROUP BY window ORDER BY end", "SELECT a FROM t GROUP BY window ORDER BY end"),
        ("SELECT a FROM t LIMIT 5 OFFSET 2", "SELECT a FROM t LIMIT 5 OFFSET 2"),
        ("SELECT offset FROM t OFFSET 2", "SELECT offset FROM t OFFSET 2"),
        ("SELECT w.start, w.end, t.offset FROM t", "SELECT w.start, w.end, t.offset FROM t"),
        (
            "SELECT CASE WHEN end THEN end ELSE end END FROM t",
            "SELECT CASE WHEN end THEN end ELSE end END FROM t",
        ),
        ("SELECT 2 * interval, 2 * INTERVAL '1' DAY", "SELECT 2 * interval, 2 * INTERVAL '1' DAY"),
        (
            "SELECT interval + INTERVAL 5 SECOND, INTERVAL (5) DAY",
            "SELECT interval + INTERVAL 5 SECOND, INTERVAL (5) DAY",
        ),
        ("SELECT a FROM (SELECT 1 AS a)", "SELECT a FROM (SELECT 1 AS a)"),
        ("SELECT count(*) c FROM t HAVING c > 1", "SELECT count(*) AS c FROM t HAVING c > 1"),
        ("SELECT a FROM 'flights.csv' f", "SELECT a FROM 'flights.csv' f"),
        (
            "SELECT * FROM read_csv('f.csv', null_values = 'NA', header == true, x => 1)",
            "SELECT * FROM read_csv('f.csv', null_values => 'NA', header => true, x => 1)",
        ),
        ("SELECT f(a = b) FROM t", "SELECT f(a = b) FROM t"),
        (
            "SELECT * EXCLUDE (a, b), t.* EXCLUDE (c) FROM t",
            "SELECT * EXCLUDE (a, b), t.* EXCLUDE (c) FROM t",
        ),
        ("SELECT * EXCEPT (a) FROM t", "SELECT * EXCEPT (a) FROM t"),
        ("SELECT MAP['a', 1, 'b', f(2, 3)], map['k']", "SELECT MAP {'a': 1, 'b': f(2, 3)}, map['k']"),
        ("SELECT MAP {'a': x + 1}, {'b': 2}", "SELECT MAP {'a': x + 1}, {'b': 2}"),
        ("SELECT STRUCT(1 AS a, 'x' AS b), ROW(1, 2)", "SELECT STRUCT(1 AS a, 'x' AS b), ROW(1, 2)"),
        (
            "SELECT ARRAY[1, 2], [3], x[1], x[1:2], x['k'].y",
            "SELECT ARRAY[1, 2], [3], x[1], x[1:2], x['k'].y",
        ),
        ("SELECT _headers['x'], _key, a.b.c FROM t", "SELECT _headers['x'], _key, a.b.c FROM t"),
        ("SELECT x::int, TRY_CAST(x AS date)", "SELECT x::INT, TRY_CAST(x AS DATE)"),
        ("SELECT x SIMILAR TO 'a%', x ILIKE 'b'", "SELECT x SIMILAR TO 'a%', x ILIKE 'b'"),
        ("SELECT a IS NOT DISTINCT FROM b", "SELECT a IS NOT DISTINCT FROM b"),
        (
            "SELECT e FROM t CROSS JOIN UNNEST(xs) WITH ORDINALITY AS u(e, i)",
            "SELECT e FROM t CROSS JOIN UNNEST(xs) WITH ORDINALITY AS u (e, i)",
        ),
        ("SELECT e FROM t, UNNEST(xs) e", "SELECT e FROM t, UNNEST(xs) e"),
        ("SELECT `a b`, \"c d\" FROM t", "SELECT `a b`, \"c d\" FROM t"),
        ("SELECT 1_000_000", "SELECT 1000000"),
        ("SELECT E'a\\nb', 'it''s', X'0aff'", "SELECT E'a\\nb', 'it''s', X'0aff'"),
        (
            "SELECT DATE '2013-01-01', TIMESTAMP '2013-01-01 05:00:00'",
            "SELECT DATE '2013-01-01', TIMESTAMP '2013-01-01 05:00:00'",
        ),
        ("SELECT a.* FROM t a", "SELECT a.* FROM t a"),
        (
            "WITH a AS (SELECT 1) SELECT * FROM a UNION ALL SELECT 2",
            "WITH a AS (SELECT 1) SELECT * FROM a UNION ALL SELECT 2",
        ),
        ("VALUES (1, 'a'), (2, 'b')", "VALUES (1, 'a'), (2, 'b')"),
    ] {
        assert_eq!(printed(text), expected, "{text}");
    }
}

#[test]
fn operators_bind_as_in_postgresql() {
    let grouped = |text: &str| {
        fn show(e: &ast::Expr) -> String {
            match e {
                ast::Expr::BinaryOp { left, op, right } => format!("({} {op} {})", show(left), show(right)),
                ast::Expr::UnaryOp { op, expr } => format!("({op} {})", show(expr)),
                ast::Expr::IsNull(e) => format!("({} IS NULL)", show(e)),
                ast::Expr::Like { expr, pattern, .. } => format!("({} LIKE {})", show(expr), show(pattern)),
                ast::Expr::Between { expr, low, high, .. } => {
                    format!("({} BETWEEN {} AND {})", show(expr), show(low), show(high))
                }
                other => other.to_string(),
            }
        }
        show(&parse_expr(text).unwrap())
    };
    for (text, expected) in [
        ("a + b * c - d", "((a + (b * c)) - d)"),
        ("a -> 'x' = 'y'", "((a -> 'x') = 'y')"),
        ("a ->> 'x' || 'y' = 'z'", "(((a ->> 'x') || 'y') = 'z')"),
        ("a || b + c", "(a || (b + c))"),
        ("NOT a = b AND c", "((NOT (a = b)) AND c)"),
        ("a OR b AND c = d", "(a OR (b AND (c = d)))"),
        ("a = b IS NULL", "((a = b) IS NULL)"),
        ("a LIKE b || c", "(a LIKE (b || c))"),
        ("a BETWEEN 1 AND 2 AND b", "((a BETWEEN 1 AND 2) AND b)"),
        ("a < b == c", "((a < b) = c)"),
        ("2 ^ 3 * 4", "((2 ^ 3) * 4)"),
        ("a % b = 0", "((a % b) = 0)"),
    ] {
        assert_eq!(grouped(text), expected, "{text}");
    }
}

#[test]
fn emit_is_a_clause_and_travels_with_the_query() {
    let emit = |text: &str| match good(text) {
        Statement::Select(q)
        | Statement::Insert { query: q, .. }
        | Statement::CreateView { query: q, .. } => emit_of(&q),
        Statement::Create(c) => emit_of(&c.query.unwrap()),
        other => panic!("{other:?}"),
    };
    assert_eq!(emit("SELECT a FROM t"), None);
    assert_eq!(emit("SELECT a FROM t EMIT CHANGES"), Some(Emit::Changes));
    assert_eq!(emit("SELECT a FROM t emit final;"), Some(Emit::Final));
    assert_eq!(emit("SELECT a FROM t EMIT CHANGES LIMIT 3"), Some(Emit::Changes));
    assert_eq!(emit("INSERT INTO o SELECT a FROM t EMIT FINAL"), Some(Emit::Final));
    assert_eq!(emit("CREATE TABLE o AS SELECT a FROM t GROUP BY a EMIT CHANGES"), Some(Emit::Changes));
    assert_eq!(emit("CREATE VIEW o AS SELECT emit FROM t WHERE emit > 1 EMIT CHANGES"), Some(Emit::Changes));
    assert_eq!(emit("SELECT t.emit, a AS emit FROM t"), None);
}

#[test]
fn types_in_queries_are_checked_and_kept() {
    let cast = |text: &str| match parse_expr(text).unwrap() {
        ast::Expr::Cast { data_type, .. } => crate::sql::data_type(&data_type).unwrap().to_string(),
        other => panic!("{other:?}"),
    };
    for (text, expected) in [
        ("a::int8", "BIGINT"),
        ("CAST(a AS DECIMAL(10,2))", "DECIMAL(10,2)"),
        ("a::NUMERIC", "DECIMAL(28,10)"),
        ("a::MAP<VARCHAR, ARRAY<ARRAY<INT>>>", "MAP<VARCHAR, ARRAY<ARRAY<INT>>>"),
        (
            "a::STRUCT<x INT, y MAP<VARCHAR,DOUBLE PRECISION>>[]",
            "ARRAY<STRUCT<x INT, y MAP<VARCHAR, DOUBLE>>>",
        ),
        ("TRY_CAST(a AS ROW(x INT, `order` TEXT[]))", "STRUCT<x INT, order ARRAY<VARCHAR>>"),
        ("a::timestamp(3) with time zone", "TIMESTAMP"),
        ("a::INTERVAL", "INTERVAL"),
        ("CAST(a AS varchar(20))", "VARCHAR"),
        ("a::float4", "REAL"),
    ] {
        assert_eq!(cast(text), expected, "{text}");
    }
}
