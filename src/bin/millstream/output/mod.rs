//! Everything that is printed: rows and answers to stdout, messages to stderr.

mod kinds;
mod table;

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use millstream::catalog::Options;
use millstream::connector::SinkRequest;
use millstream::engine::Answer;
use millstream::{DataSink, Engine, Error, Schema};

use super::args::RowFormat;
pub(crate) use table::{Frame, TableSink, print_table};

/// The format asked for; without one a table on a terminal, else JSON.
pub(crate) fn format_or_default(asked: Option<RowFormat>) -> RowFormat {
    asked.unwrap_or(if std::io::stdout().is_terminal() { RowFormat::Table } else { RowFormat::Json })
}

/// The sink that prints rows that change, with their kinds.
pub(crate) fn change_sink(
    engine: &Engine,
    format: RowFormat,
    schema: &Arc<Schema>,
    frame: Frame,
) -> Result<Arc<dyn DataSink>, Error> {
    Ok(Arc::new(kinds::KindSink::new(schema, |with_kind| row_sink(engine, format, with_kind, frame))?))
}

/// The sink that prints rows.
pub(crate) fn row_sink(
    engine: &Engine,
    format: RowFormat,
    schema: &Arc<Schema>,
    frame: Frame,
) -> Result<Arc<dyn DataSink>, Error> {
    let name = match format {
        RowFormat::Table => return Ok(Arc::new(TableSink::new(schema.clone(), frame))),
        RowFormat::Json => "json",
        RowFormat::Csv => "csv",
    };
    let options = Options::new([("connector", "stdout"), ("format", name)]);
    Ok(engine.connectors().sink(&SinkRequest { name: "stdout", options: &options, sets: &[] })?)
}

/// Prints the answer of SHOW, DESCRIBE or EXPLAIN.
pub(crate) fn print_answer(answer: &Answer, format: RowFormat) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let names: Vec<&str> = answer.schema.names().collect();
    match (format, names.as_slice()) {
        // A plan is text, not a table.
        (RowFormat::Table, [_]) => {
            for row in &answer.rows {
                writeln!(out, "{}", row.iter().map(table::cell).collect::<String>())?;
            }
        }
        (RowFormat::Table, _) => print_table(&mut out, &answer.schema, &answer.rows)?,
        (RowFormat::Json, _) => {
            for row in &answer.rows {
                let object: serde_json::Map<String, serde_json::Value> = names
                    .iter()
                    .zip(row)
                    .map(|(n, v)| ((*n).to_owned(), serde_json::Value::String(table::cell(v))))
                    .collect();
                writeln!(out, "{}", serde_json::Value::Object(object))?;
            }
        }
        (RowFormat::Csv, _) => {
            writeln!(out, "{}", names.join(","))?;
            for row in &answer.rows {
                let cells: Vec<String> =
                    row.iter().map(|v| format!("\"{}\"", table::cell(v).replace('"', "\"\""))).collect();
                writeln!(out, "{}", cells.join(","))?;
            }
        }
    }
    out.flush()
}

/// A message for people.
pub(crate) fn say(message: &str) {
    // If stderr is gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{message}");
}

/// An error for people; red on a terminal unless NO_COLOR is set.
pub(crate) fn complain(message: &str) {
    if message.is_empty() {
        return;
    }
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    say(&if colour { format!("\x1b[1;31merror\x1b[0m: {message}") } else { format!("error: {message}") });
}
