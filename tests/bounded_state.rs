//! `require_bounded_state`: what can grow for ever is refused by name, everything else is not.

use millstream::connector::memory::MemorySource;
use millstream::plan::{ExplainFormat, ExplainStage};
use millstream::{DataType, Engine, Schema, StreamRecord};

const SENSORS: &str = "CREATE STREAM endless (sensor_id VARCHAR, temperature DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
   WITH (connector = 'generator', preset = 'sensors');
 CREATE STREAM some WITH (connector = 'generator', preset = 'sensors', rows = '10');";

fn prepared(setting: &str, query: &str) -> Result<(), String> {
    let engine = Engine::new();
    engine.set("require_bounded_state", setting).unwrap();
    engine.sql(&format!("{SENSORS} {query}")).map(drop).map_err(|e| e.to_string())
}

#[test]
fn state_that_can_grow_for_ever_is_refused_and_the_message_names_the_operator() {
    for (query, operator, what) in [
        (
            "SELECT sensor_id, count(*) AS n FROM endless GROUP BY sensor_id",
            "aggregate",
            "one entry for each group",
        ),
        ("SELECT DISTINCT sensor_id FROM endless", "distinct", "one entry for each group"),
        ("SELECT count(DISTINCT sensor_id) AS n FROM endless", "aggregate", "all values that a call keeps"),
        (
            "SELECT array_agg(temperature) AS all_of_them FROM endless",
            "aggregate",
            "all values that a call keeps",
        ),
        (
            "SELECT string_agg(sensor_id, ',') AS all_of_them FROM endless",
            "aggregate",
            "all values that a call keeps",
        ),
        ("SELECT median(temperature) AS middle FROM endless", "aggregate", "all values that a call keeps"),
        ("SELECT mode(temperature) AS usual FROM endless", "aggregate", "all values that a call keeps"),
        (
            "SELECT median(temperature) OVER (ORDER BY ts) AS middle FROM endless",
            "over",
            "all values that a call keeps",
        ),
        (
            "SELECT * FROM (SELECT sensor_id, ts, ROW_NUMBER() OVER (PARTITION BY sensor_id ORDER BY temperature) AS r FROM endless) \
             WHERE r <= 3",
            "top_n",
            "the first rows of each partition",
        ),
        (
            "SELECT sensor_id, lag(ts) OVER (PARTITION BY sensor_id ORDER BY ts) AS before FROM endless",
            "over",
            "what a frame needs of each partition",
        ),
    ] {
        let error = prepared("true", query).unwrap_err();
        assert!(error.contains("can grow for ever") && error.contains(what), "{query}: {error}");
        let named = error.split("operator ").nth(1).unwrap_or_default();
        assert!(named.split(' ').next().unwrap_or_default().contains(operator), "{query}: {error}");
        assert!(error.contains("require_bounded_state = 'false'"), "{error}");
        prepared("false", query).unwrap_or_else(|e| panic!("{query}: {e}"));
    }
}

#[test]
fn what_time_or_the_input_bounds_is_not_refused() {
    for query in [
        "SELECT sensor_id, count(*) AS n FROM some GROUP BY sensor_id",
        "SELECT count(*) AS n, max(temperature) AS hottest FROM endless",
        "SELECT stddev(temperature) AS spread, approx_count_distinct(sensor_id) AS about, last_value(ts) AS latest FROM endless",
        "SELECT median(temperature) OVER (ORDER BY ts ROWS 9 PRECEDING) AS middle FROM endless",
        "SELECT sensor_id, window_start, count(*) AS n FROM TUMBLE(endless, ts, INTERVAL '1' MINUTE) \
         GROUP BY sensor_id, window_start, window_end",
        "SELECT sensor_id, window_end, count(*) AS n FROM endless GROUP BY sensor_id WINDOW TUMBLING (1m) ORDER BY window_end, n",
        "SELECT sensor_id, avg(temperature) OVER (PARTITION BY sensor_id ORDER BY ts RANGE INTERVAL '1' MINUTE PRECEDING) AS m FROM endless",
        "SELECT * FROM endless WHERE temperature > 40",
        "SELECT sensor_id, count(*) AS n FROM (SELECT * FROM endless LIMIT 100) GROUP BY sensor_id",
    ] {
        prepared("true", query).unwrap_or_else(|e| panic!("{query}: {e}"));
    }
}

fn explained(engine: &Engine, query: &str) -> String {
    let text = format!("{SENSORS} {query}");
    engine.explain("q", &text, &[ExplainStage::Physical], ExplainFormat::Text).unwrap()
}

#[test]
fn explain_says_unbounded_of_the_same_operators() {
    for (query, unbounded) in [
        ("SELECT sensor_id, count(*) AS n FROM endless GROUP BY sensor_id", true),
        ("SELECT count(*) AS n FROM endless", false),
        ("SELECT count(DISTINCT sensor_id) AS n FROM endless", true),
        ("SELECT sensor_id, temperature FROM endless ORDER BY temperature LIMIT 3", false),
        ("SELECT sensor_id, lag(ts) OVER (PARTITION BY sensor_id ORDER BY ts) AS before FROM endless", true),
        (
            "SELECT sensor_id, avg(temperature) OVER (PARTITION BY sensor_id ORDER BY ts RANGE INTERVAL '1' MINUTE PRECEDING) AS m FROM endless",
            false,
        ),
    ] {
        let text = explained(&Engine::new(), query);
        assert_eq!(text.contains("unbounded"), unbounded, "{query}\n{text}");
        assert_eq!(prepared("true", query).is_err(), unbounded, "{query}");
    }
}

#[test]
fn a_time_to_live_is_a_bound_and_explain_tells_it() {
    for (query, time) in [
        ("SELECT sensor_id, count(*) AS n FROM endless GROUP BY sensor_id", "by event time"),
        ("SELECT DISTINCT sensor_id FROM endless", "by event time"),
        ("SELECT n % 7 AS k, count(*) AS c FROM plain GROUP BY n % 7", "by the clock"),
    ] {
        let engine = Engine::new();
        engine.set("require_bounded_state", "true").unwrap();
        engine.set("state_ttl", "90m").unwrap();
        let plain = "CREATE STREAM plain (n BIGINT) WITH (connector = 'generator')";
        let text = explained(&engine, &format!("{plain}; {query}"));
        assert!(text.contains(&format!("state_ttl: 90m {time}")) && !text.contains("unbounded"), "{text}");
        engine.sql(query).unwrap();
    }
    // Final results wait for all rows.
    let engine = Engine::new();
    engine.set("state_ttl", "90m").unwrap();
    let text = explained(&engine, "SELECT sensor_id, count(*) AS n FROM some GROUP BY sensor_id");
    assert!(text.contains("for the job's life") && !text.contains("state_ttl"), "{text}");
}

/// 8,000 rows: every word is another one, `k` has 500 values.
fn words() -> MemorySource {
    let schema = Schema::of([("k", DataType::BigInt), ("x", DataType::Double), ("word", DataType::Varchar)]);
    let row = |n: i64| {
        let word = format!("a word that is too long to lie in the value itself, number {n}");
        StreamRecord::with_values(schema.clone(), [(n % 500).into(), (n as f64).into(), word.as_str().into()])
    };
    MemorySource::from_vec(schema.clone(), (0..8_000).map(row).collect()).unwrap()
}

/// Runs `SELECT call …` under a limit in KB.
fn limited(call: &str, by: &str, limit: u32, execution: &str) -> Result<(), String> {
    let engine = Engine::new();
    engine.register_source("words", words()).unwrap();
    engine.set("execution", execution).unwrap();
    engine.set("state_max_bytes", &format!("{limit} KB")).unwrap();
    let mut job = engine.sql(&format!("SELECT {call} AS c FROM words {by}")).unwrap().start().unwrap();
    job.rows().for_each(drop);
    job.wait().map(drop).map_err(|e| e.to_string())
}

#[test]
fn what_accumulators_keep_counts_and_the_error_names_the_operator() {
    // One group that keeps values, and some that hold something of a fixed size.
    for call in [
        "string_agg(word, ',')",
        "array_agg(word)",
        "array_agg(x ORDER BY word)",
        "count(DISTINCT word)",
        "count(DISTINCT x)",
        "sum(DISTINCT x)",
        "median(x)",
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY x)",
        "mode(word)",
        "histogram(x)",
    ] {
        for execution in ["inline", "auto"] {
            let error = limited(call, "", 150, execution).expect_err(call);
            assert!(error.contains("aggregate: its state takes"), "{call}: {error}");
            assert!(error.contains("state_max_bytes = 150000"), "{call}: {error}");
        }
        limited(call, "", 64_000, "inline").unwrap_or_else(|e| panic!("{call}: {e}"));
    }
    let by_k = "GROUP BY k";
    for call in ["approx_count_distinct(word)", "max(word)", "first_value(word)", "string_agg(word, ',')"] {
        let error = limited(call, by_k, 80, "inline").expect_err(call);
        assert!(error.contains("aggregate: its state takes"), "{call}: {error}");
    }
    // What keeps nothing beyond its cell does not count.
    for call in ["count(*)", "sum(x)", "max(x)", "stddev(x)", "bool_or(x > 3.0)"] {
        limited(call, by_k, 80, "inline").unwrap_or_else(|e| panic!("{call}: {e}"));
        limited(call, "", 10, "inline").unwrap_or_else(|e| panic!("{call}: {e}"));
    }
}
