//! `run` and `sql`: jobs from start to end.

use std::io::{self, IsTerminal};
use std::path::Path;

use millstream::catalog::{SETTINGS, nearest};
use millstream::{Engine, Job, Prepared};

use super::args::{JobArgs, RowFormat, RunArgs, SqlArgs, StatsFormat};
use super::output::{self, Frame};
use super::progress::{self, Progress};
use super::{Failed, LOG_VARIABLE, signals, vars};

/// `millstream run FILE`.
pub(crate) fn pipeline(args: &RunArgs) -> Result<u8, Failed> {
    let text = read_pipeline(&args.pipeline)?;
    let engine = engine_for(&args.job)?;
    let prepared = engine.pipeline(&name_of(&args.pipeline), &text)?;
    if prepared.jobs().is_empty() && prepared.answers().is_empty() {
        return Err(Failed::usage(format!(
            "{}: there is nothing to run: no SELECT, INSERT or CREATE … AS",
            args.pipeline.display()
        )));
    }
    execute(&engine, prepared, &args.job, output::format_or_default(args.format), false)
}

/// `millstream sql QUERY`.
pub(crate) fn one_liner(args: &SqlArgs) -> Result<u8, Failed> {
    let text = match args.query.as_deref() {
        None if std::io::stdin().is_terminal() => {
            return Err(Failed::usage("there is no query: millstream sql \"SELECT …\", or - to type it"));
        }
        None | Some("-") => {
            let text = io::read_to_string(io::stdin());
            text.map_err(|e| Failed::usage(format!("can't read the query from standard input: {e}")))?
        }
        Some(query) => query.to_owned(),
    };
    let engine = engine_for(&args.job)?;
    let prepared = engine.query(&text, args.limit)?;
    if prepared.jobs().is_empty() && prepared.answers().is_empty() {
        return Err(Failed::usage("there is nothing to run: no SELECT, INSERT or CREATE … AS"));
    }
    execute(&engine, prepared, &args.job, output::format_or_default(args.format), true)
}

/// What a pipeline file is called, in messages and as the name of its job.
pub(crate) fn name_of(path: &Path) -> String {
    if path.as_os_str() == "-" { "stdin".into() } else { path.display().to_string() }
}

/// Reads a pipeline file, `-` for standard input, and puts the environment's values into it.
pub(crate) fn read_pipeline(path: &Path) -> Result<String, Failed> {
    let text = match path.to_str() {
        Some("-") => io::read_to_string(io::stdin()),
        _ => std::fs::read_to_string(path),
    };
    let text = text.map_err(|e| Failed::usage(format!("can't read the pipeline {}: {e}", path.display())))?;
    vars::substitute(&text, |name| std::env::var(name).ok())
        .map_err(|e| Failed::usage(format!("{}: {e}", path.display())))
}

/// An engine with the settings of environment and flags; SET in the text overrides them.
fn engine_for(args: &JobArgs) -> Result<Engine, Failed> {
    let engine = engine_with(&[])?;
    if let Some(n) = args.threads {
        engine.set("threads", &n.to_string())?;
    }
    if let Some(n) = args.batch_rows {
        engine.set("batch_rows", &n.to_string())?;
    }
    if let Some(name) = &args.instance {
        engine.set("instance", name)?;
    }
    if let Some(n) = args.instances {
        engine.set("instances", &n.to_string())?;
    }
    if let Some(dir) = &args.state {
        engine.set("state", &dir.display().to_string())?;
    }
    set_all(&engine, &args.set)?;
    Ok(engine)
}

/// An engine with the settings of the environment and of `--set`.
pub(crate) fn engine_with(pairs: &[String]) -> Result<Engine, Failed> {
    let engine = Engine::new();
    for spec in SETTINGS {
        if let Ok(value) = std::env::var(variable(spec.name)) {
            engine.set(spec.name, &value)?;
        }
    }
    warn_of_misspelt_variables();
    set_all(&engine, pairs)?;
    Ok(engine)
}

/// The environment variable of a setting.
fn variable(setting: &str) -> String {
    format!("MILLSTREAM_{}", setting.to_ascii_uppercase())
}

/// A variable that is almost a setting is no mistake for sure: `${…}` in a pipeline may use it.
fn warn_of_misspelt_variables() {
    let known: Vec<String> = SETTINGS.iter().map(|s| variable(s.name)).collect();
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|n| n.starts_with("MILLSTREAM_")) else { continue };
        if known.iter().any(|k| k == name) || name == LOG_VARIABLE {
            continue;
        }
        if let [near, ..] = nearest(name, known.iter().map(String::as_str)).as_slice() {
            log::warn!("{name} in the environment is no setting; did you mean {near}?");
        }
    }
}

/// `--set name=value`.
fn set_all(engine: &Engine, pairs: &[String]) -> Result<(), Failed> {
    for pair in pairs {
        match pair.split_once('=') {
            Some((name, value)) => engine.set(name.trim(), value.trim())?,
            None => return Err(Failed::usage(format!("--set takes name=value, not '{pair}'"))),
        }
    }
    Ok(())
}

fn execute(
    engine: &Engine,
    prepared: Prepared,
    args: &JobArgs,
    format: RowFormat,
    one_liner: bool,
) -> Result<u8, Failed> {
    for answer in prepared.answers() {
        output::print_answer(answer, format)?;
    }
    let summaries = prepared.jobs();
    if summaries.is_empty() {
        return Ok(0);
    }
    let live = summaries.iter().any(|j| !j.bounded);
    let prints = summaries.iter().any(|j| j.schema.is_some());
    let frame = if live { Frame::Live } else { Frame::Ends };
    let changes = summaries.iter().any(|j| {
        let mut printed = (0..).zip(&j.plan.sinks).filter(|(_, s)| s.relation.is_empty());
        printed.any(|(k, _)| j.plan.changes(k))
    });
    let sink = if changes { output::change_sink } else { output::row_sink };
    let prepared = prepared.into_sink(|schema| sink(engine, format, schema, frame))?;
    let jobs = prepared.start_all()?;
    let stoppers: Vec<_> = jobs.iter().map(Job::stopper).collect();
    let received = signals::watch(stoppers.clone(), args.quiet || one_liner)?;
    let shows_rows = prints && std::io::stdout().is_terminal() && (live || format != RowFormat::Table);
    let progress = Progress::start(stoppers.clone(), args.quiet, shows_rows);
    let outcomes: Vec<_> = jobs.into_iter().map(Job::wait).collect();
    drop(progress);
    report(&stoppers, args, one_liner, prints);
    let mut code = 0;
    for outcome in outcomes {
        match outcome {
            Ok(_) | Err(millstream::Error::Job(millstream::job::JobError::BrokenPipe { .. })) => {}
            // Aborted because it could not end in time: that has been said.
            Err(millstream::Error::Job(millstream::job::JobError::Aborted)) if received.expired() => code = 4,
            Err(e) => {
                code = code.max(e.exit_code());
                output::complain(&e.to_string());
            }
        }
    }
    if code == 0 && one_liner && received.interrupted() {
        return Ok(130);
    }
    Ok(code)
}

/// The summary line of each job, or its statistics as JSON, on stderr.
fn report(stoppers: &[millstream::job::Stopper], args: &JobArgs, one_liner: bool, prints: bool) {
    // Rows that go into a pipe are all that a one-liner's caller wants.
    let only_rows = one_liner && prints && !std::io::stderr().is_terminal();
    for stopper in stoppers {
        let stats = stopper.stats();
        if args.stats == Some(StatsFormat::Json) {
            match serde_json::to_string(&stats) {
                Ok(json) => output::say(&json),
                Err(e) => output::complain(&format!("can't print the statistics: {e}")),
            }
        } else if !args.quiet && !only_rows {
            output::say(&progress::summary(&stats));
        }
    }
}
