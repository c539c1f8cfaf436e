//! `require_bounded_state`: what can grow for ever is refused by name, everything else is not.

use millstream::Engine;
use millstream::plan::{ExplainFormat, ExplainStage};

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
        ("SELECT count(DISTINCT sensor_id) AS n FROM endless", "aggregate", "the values of DISTINCT"),
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
