//! User functions: closures that queries call, with the types of their parameters and results.

use millstream::connector::memory::MemorySource;
use millstream::{DataType, Engine, Schema};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::new();

    // BIGINT and DOUBLE in, DOUBLE out. A NULL argument makes the result NULL without a call.
    engine.register_scalar("fahrenheit", |celsius: f64| celsius * 9.0 / 5.0 + 32.0)?;
    // `Option` sees NULL; `Result` makes a record error, which `on_error` decides about.
    engine.register_scalar("label", |station: &str, celsius: Option<f64>| match celsius {
        Some(c) if c < -273.15 => Err(format!("{station} reports {c} °C, below absolute zero")),
        Some(c) => Ok(format!("{station} {c:.1}")),
        None => Ok(format!("{station} –")),
    })?;
    // The state of a group, what a row does to it, how two states become one, the result.
    engine.register_aggregate(
        "spread",
        || None::<(f64, f64)>,
        |state: &mut Option<(f64, f64)>, x: f64| {
            *state = Some(state.map_or((x, x), |(low, high)| (low.min(x), high.max(x))));
        },
        |state, later| {
            if let Some((low, high)) = *later {
                *state = Some(state.map_or((low, high), |(a, b)| (a.min(low), b.max(high))));
            }
        },
        |state| state.map(|(low, high)| high - low),
    )?;

    let schema = Schema::of([("station", DataType::Varchar), ("celsius", DataType::Double)]);
    let (readings, source) = MemorySource::channel(schema, 16);
    engine.register_source("readings", source)?;
    engine.set("on_error", "skip")?;
    let mut job = engine
        .sql(
            "SELECT station, spread(celsius) AS spread, max(fahrenheit(celsius)) AS hottest, count(label(station, celsius)) AS n \
             FROM readings GROUP BY station",
        )?
        .start()?;
    for (station, celsius) in [
        ("Oslo", Some(-3.5)),
        ("Cairo", Some(31.0)),
        ("Oslo", Some(4.0)),
        ("Oslo", None),
        ("Cairo", Some(-999.0)),
    ] {
        readings.send_values([station.into(), celsius.map_or(millstream::FieldValue::Null, Into::into)])?;
    }
    drop(readings);
    let mut last = std::collections::BTreeMap::new();
    for row in job.rows() {
        let text = |name: &str| row.get(name).map_or_else(String::new, millstream::expr::to_text);
        last.insert(text("station"), (text("spread"), text("hottest"), text("n")));
    }
    let stats = job.wait()?;
    for (station, (spread, hottest, n)) in &last {
        println!("{station}: spread {spread} °C, hottest {hottest} °F, {n} readings");
    }
    println!("{} reading rejected", stats.rejected);
    assert_eq!(stats.rejected, 1);
    assert_eq!(last.get("Oslo"), Some(&("7.5".into(), "39.2".into(), "3".into())));
    Ok(())
}
