//! The inputs for which sqlparser alone is not enough: no dialect of it reads them, or it reads them wrongly.

use sqlparser::dialect::*;
use sqlparser::parser::Parser;

use super::*;

fn all() -> Vec<(&'static str, Box<dyn Dialect>)> {
    vec![
        ("ansi", Box::new(AnsiDialect {})),
        ("bigquery", Box::new(BigQueryDialect {})),
        ("clickhouse", Box::new(ClickHouseDialect {})),
        ("databricks", Box::new(DatabricksDialect {})),
        ("duckdb", Box::new(DuckDbDialect {})),
        ("generic", Box::new(GenericDialect {})),
        ("hive", Box::new(HiveDialect {})),
        ("mssql", Box::new(MsSqlDialect {})),
        ("mysql", Box::new(MySqlDialect {})),
        ("oracle", Box::new(OracleDialect {})),
        ("postgresql", Box::new(PostgreSqlDialect {})),
        ("redshift", Box::new(RedshiftSqlDialect {})),
        ("snowflake", Box::new(SnowflakeDialect {})),
        ("sqlite", Box::new(SQLiteDialect {})),
        ("teradata", Box::new(TeradataDialect {})),
    ]
}

#[test]
fn no_dialect_reads_these() {
    // What we make of them: "" = read, else the beginning of the message.
    for (text, ours) in [
        ("CREATE STREAM s (a INT) WITH (connector = 'file')", ""),
        ("CREATE TABLE s (ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)", ""),
        ("SELECT a FROM t EMIT CHANGES", ""),
        ("SELECT * FROM SESSION(t, ts, INTERVAL '5' MINUTE, PARTITION BY k)", ""),
        ("SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE))", ""),
        ("SELECT count(*) FROM t GROUP BY a WINDOW TUMBLING (SIZE 1 MINUTE)", ""),
        ("SELECT avg(a) OVER (ROWS WINDOW BUFFER 100 ROWS PARTITION BY k) FROM t", ""),
        ("SELECT * FROM a ASOF JOIN b ON a.k = b.k AND b.ts <= a.ts", "ASOF JOIN is not supported yet"),
    ] {
        for (name, dialect) in all() {
            assert!(Parser::parse_sql(dialect.as_ref(), text).is_err(), "{name} reads {text}");
        }
        match (parse(text).remove(0), ours) {
            (Ok(_), "") => {}
            (Err(e), ours) if !ours.is_empty() => assert!(e.message.starts_with(ours), "{text}: {e}"),
            (result, _) => panic!("{text}: {result:?}"),
        }
    }
}

#[test]
fn the_generic_dialect_fails_or_misreads_these() {
    for text in [
        "SELECT interval, offset FROM t",
        "SELECT interval, a FROM t",
        "SELECT a FROM t WHERE interval = 5",
        "SELECT a, offset FROM t",
        "SELECT CAST(a AS MAP<VARCHAR, INT>) FROM t",
        "CREATE TABLE t (a MAP<VARCHAR, INT>)",
        "SELECT f(offset), max(interval), interval - 5, a FROM t",
        "SELECT a FROM t ORDER BY interval, b",
        "SELECT a FROM t GROUP BY offset, interval",
        "SELECT a FROM t WHERE interval > 5",
    ] {
        assert!(Parser::parse_sql(&GenericDialect {}, text).is_err(), "{text}");
        good(text);
    }
    for (text, misread) in [
        ("SELECT 10s", "SELECT 10 AS s"),
        ("SELECT a FROM t EMIT", "SELECT a FROM t EMIT"),
        ("SELECT x 'y' FROM t", "SELECT x AS 'y' FROM t"),
        ("SELECT date 5", "SELECT DATE 5"),
    ] {
        let read = Parser::parse_sql(&GenericDialect {}, text).unwrap();
        assert_eq!(read[0].to_string(), misread);
        assert!(parse(text).remove(0).is_err(), "{text}");
    }
}
