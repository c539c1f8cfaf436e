//! `require_bounded_state`: what can grow for ever is refused by name, everything else is not.

use millstream::Engine;

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
