//! One run of a query by the engine, through its public face.

use millstream::connector::memory::{MemorySink, MemorySource};
use millstream::{Engine, FieldValue, Step, StreamRecord};

use crate::aggregate::show;
use crate::changes::Change;
use crate::query::{Emit, Query, interval};
use crate::random::Random;
use crate::stream::{Row, records, schema};

/// A way to run.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// A setting of that name, or `step`.
    pub execution: &'static str,
    pub threads: i64,
    pub batch_rows: i64,
    pub shards: i64,
}

impl Way {
    pub fn random(random: &mut Random) -> Self {
        Self {
            execution: random.of(&["inline", "inline", "threads", "auto", "step"]),
            threads: random.of(&[1, 2, 4]),
            batch_rows: random.of(&[1, 7, 1_000]),
            shards: random.of(&[1, 3, 8]),
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ran {
    pub changes: Vec<Change>,
    /// The `id`s of dead letters.
    pub letters: Vec<i64>,
    pub late: u64,
    pub rejected: u64,
}

/// The time of a job that is stepped: nothing here depends on it.
const NOW: i64 = 1_800_000_000_000_000;

/// Settings of a query besides the way to run it.
pub fn run(query: &Query, sql: &str, rows: &[Row], bound: i64, way: Way) -> Result<Ran, String> {
    let engine = Engine::new();
    let settings = match query.emit {
        Emit::Record => vec![("emit_every", "record")],
        Emit::Final | Emit::Batch => vec![],
    };
    register(&engine, "rows", query, rows, bound)?;
    run_sql(&engine, sql, &settings, way)
}

/// A stream of these rows, as late as the query allows.
pub fn register(engine: &Engine, name: &str, query: &Query, rows: &[Row], bound: i64) -> Result<(), String> {
    let source = MemorySource::from_vec(schema(), records(rows)).map_err(|e| e.to_string())?;
    let watermark = format!("ts - {}", interval(bound));
    let lateness = format!("{} us", query.policy.lateness);
    let time = [("late", query.policy.late.sql()), ("allowed_lateness", lateness.as_str())];
    engine.register_timed_source(name, source, "ts", &watermark, &time).map_err(|e| e.to_string())
}

/// Settings of a way to run.
pub fn set(engine: &Engine, way: Way) -> Result<(), String> {
    let (threads, batch_rows) = (way.threads.to_string(), way.batch_rows.to_string());
    let execution = if way.execution == "step" { "inline" } else { way.execution };
    let shards = way.shards.to_string();
    let settings = [
        ("execution", execution),
        ("threads", threads.as_str()),
        ("batch_rows", batch_rows.as_str()),
        ("state_shards", shards.as_str()),
    ];
    settings.iter().try_for_each(|(name, value)| engine.set(name, value).map_err(|e| e.to_string()))
}

/// Runs the text's one SELECT to its end.
pub fn run_sql(engine: &Engine, sql: &str, settings: &[(&str, &str)], way: Way) -> Result<Ran, String> {
    let (letters, dead) = MemorySink::new();
    engine.register_sink("letters", letters).map_err(|e| e.to_string())?;
    set(engine, way)?;
    for (name, value) in [("on_error", "dlq"), ("dlq", "letters")].iter().chain(settings) {
        engine.set(name, value).map_err(|e| e.to_string())?;
    }
    let prepared = engine.sql(sql).map_err(|e| e.to_string())?;
    let (job, rows) = match way.execution {
        "step" => {
            let mut job = prepared.stepping(NOW).map_err(|e| e.to_string())?;
            let mut taken = job.take_rows().ok_or("no rows")?;
            let mut rows = Vec::new();
            while job.step(NOW).map_err(|e| e.to_string())? != Step::Done {
                while let Some(row) = taken.try_next() {
                    rows.push(row);
                }
            }
            rows.extend(taken);
            (job, rows)
        }
        _ => {
            let mut job = prepared.start().map_err(|e| e.to_string())?;
            let rows = job.rows().collect();
            (job, rows)
        }
    };
    let stats = job.wait().map_err(|e| e.to_string())?;
    let change = |r: &std::sync::Arc<StreamRecord>| Change {
        kind: r.kind(),
        cells: r.values().iter().flat_map(cells).collect(),
    };
    Ok(Ran {
        changes: rows.iter().map(change).collect(),
        letters: dead.take().iter().filter_map(|r| id_of(r)).collect(),
        late: stats.late,
        rejected: stats.rejected,
    })
}

/// A window as a value has two cells.
fn cells(value: &FieldValue) -> Vec<String> {
    match value {
        FieldValue::Struct(window) => window.values.iter().map(show).collect(),
        other => vec![show(other)],
    }
}

/// The `id` of the row of a dead letter, which holds its columns as JSON.
fn id_of(letter: &StreamRecord) -> Option<i64> {
    let FieldValue::Bytes(raw) = letter.get("raw")? else { return None };
    serde_json::from_slice::<serde_json::Value>(raw).ok()?.get("id")?.as_i64()
}
