//! `functions`, `connectors`, `settings`: the reference, from the registries that the engine itself uses.

use std::io::Write;

use clap::CommandFactory;
use millstream::Engine;
use millstream::catalog::{OptionSpec, SETTINGS, nearest};
use millstream::connector::ConnectorSpec;

use super::Failed;

/// `millstream functions [NAME]`.
pub(crate) fn functions(name: Option<&str>) -> Result<u8, Failed> {
    let engine = Engine::new();
    let functions = engine.functions();
    let mut out = std::io::stdout().lock();
    if let Some(name) = name {
        let (scalar, aggregate) = (functions.overloads(name), functions.aggregates(name));
        if scalar.is_empty() && aggregate.is_empty() {
            let near = nearest(name, functions.names().chain(functions.aggregate_names())).join(" or ");
            let hint = if near.is_empty() { String::new() } else { format!("; did you mean {near}?") };
            return Err(Failed::usage(format!("there is no function '{name}'{hint}")));
        }
        for f in scalar {
            writeln!(out, "{}\n  {}\n  {} → {}", f.signature, f.doc, f.example.0, f.example.1)?;
        }
        for f in aggregate {
            let (call, rows, result) = f.example;
            writeln!(out, "{} (aggregate)\n  {}\n  {call} over {rows} → {result}", f.signature, f.doc)?;
        }
        return Ok(0);
    }
    let mut family = "";
    let all = functions.all();
    for f in &all {
        if f.family != family {
            writeln!(out, "{}{}", if family.is_empty() { "" } else { "\n" }, f.family)?;
            family = f.family;
        }
        writeln!(out, "  {:<44} {}", f.signature, f.doc)?;
    }
    writeln!(out, "\naggregates")?;
    for f in functions.all_aggregates() {
        writeln!(out, "  {:<44} {}", f.signature, f.doc)?;
    }
    let mut names: Vec<&str> = functions.names().chain(functions.aggregate_names()).collect();
    names.sort_unstable();
    names.dedup();
    writeln!(out, "\n{} functions; millstream functions NAME shows an example", names.len())?;
    Ok(0)
}

/// `millstream connectors [NAME]`.
pub(crate) fn connectors(name: Option<&str>) -> Result<u8, Failed> {
    let connectors = Engine::new().connectors();
    let mut out = std::io::stdout().lock();
    match name {
        Some(name) => {
            let spec = connectors.find(name).map_err(|e| Failed::usage(e.message))?;
            describe(&mut out, spec)?;
        }
        None => {
            for spec in connectors.iter() {
                writeln!(out, "{:<12} {:<12} {}", spec.name, abilities(spec), spec.doc)?;
            }
            writeln!(out, "\nmillstream connectors NAME lists the options")?;
        }
    }
    Ok(0)
}

fn abilities(spec: &ConnectorSpec) -> &'static str {
    match (spec.source.is_some(), spec.sink.is_some()) {
        (true, true) => "read, write",
        (true, false) => "read",
        _ => "write",
    }
}

fn describe(out: &mut dyn Write, spec: &ConnectorSpec) -> std::io::Result<()> {
    writeln!(out, "{} ({}): {}\n", spec.name, abilities(spec), spec.doc)?;
    options(out, spec.options)?;
    if spec.source.is_some() {
        writeln!(out, "\nfor reading")?;
        options(out, millstream::connector::SOURCE_OPTIONS)?;
        writeln!(out, "\nwith WATERMARK FOR")?;
        options(out, millstream::catalog::TIME_OPTIONS)?;
    }
    if spec.has_format {
        options(out, millstream::connector::SAMPLE_OPTIONS)?;
        for format in millstream::codec::FORMATS {
            writeln!(out, "\nformat = '{}': {}", format.name, format.doc)?;
            options(out, format.options)?;
        }
    }
    Ok(())
}

fn options(out: &mut dyn Write, specs: &[OptionSpec]) -> std::io::Result<()> {
    for s in specs {
        let default = match (s.required, s.default) {
            (true, _) => " (required)".to_owned(),
            (false, "") => String::new(),
            (false, d) => format!(" [{d}]"),
        };
        writeln!(out, "  {:<22} {}; {}{default}", s.name, s.doc, s.kind.expects())?;
    }
    Ok(())
}

/// `millstream settings`.
pub(crate) fn settings() -> Result<u8, Failed> {
    let mut out = std::io::stdout().lock();
    options(&mut out, SETTINGS)?;
    Ok(0)
}

/// `millstream completions SHELL`.
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<u8, Failed> {
    // Made in memory: the generator panics when it can't write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::args::Cli::command(), "millstream", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(0)
}
