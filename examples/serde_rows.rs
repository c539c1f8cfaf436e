//! Typed rows: Rust structs in, Rust structs out.

use millstream::connector::memory::MemorySource;
use millstream::{DataType, Engine, Schema, StreamRecord};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Reading {
    sensor: String,
    celsius: f64,
    at: &'static str,
}

#[derive(Debug, Deserialize)]
struct Alarm {
    sensor: String,
    fahrenheit: f64,
    hour: i64,
    note: Option<String>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schema = Schema::of([
        ("sensor", DataType::Varchar),
        ("celsius", DataType::Double),
        ("at", DataType::Timestamp),
    ]);
    let readings = [
        Reading { sensor: "attic".into(), celsius: 41.5, at: "2026-07-01T14:30:00Z" },
        Reading { sensor: "cellar".into(), celsius: 12.0, at: "2026-07-01T14:30:01Z" },
    ];
    let rows: Result<Vec<_>, _> = readings.iter().map(|r| StreamRecord::from_struct(&schema, r)).collect();

    let engine = Engine::new();
    engine.register_source("readings", MemorySource::from_vec(schema, rows?)?)?;
    let mut job = engine
        .sql(
            "SELECT sensor, celsius * 1.8 + 32 AS fahrenheit, CAST(date_part('hour', at) AS BIGINT) AS hour,
                    CAST(NULL AS VARCHAR) AS note
             FROM readings WHERE celsius > 30",
        )?
        .start()?;
    for row in job.rows() {
        let alarm: Alarm = row.to_struct()?;
        println!("{alarm:?}");
        assert_eq!((alarm.sensor.as_str(), alarm.hour, alarm.note), ("attic", 14, None));
        assert!((alarm.fahrenheit - 106.7).abs() < 1e-9);
    }
    job.wait()?;
    Ok(())
}
