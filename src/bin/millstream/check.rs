//! `check` and `explain`: a pipeline is read, never run.

use millstream::plan::{ExplainFormat, ExplainStage};

use super::args::{CheckArgs, ExplainArgs, PlanFormat, PlanStage};
use super::run::{engine_with, name_of, read_pipeline};
use super::{Failed, output, progress};

/// `millstream check FILE`.
pub(crate) fn check(args: &CheckArgs) -> Result<u8, Failed> {
    let text = read_pipeline(&args.pipeline)?;
    let engine = engine_with(&args.set)?;
    let name = name_of(&args.pipeline);
    let prepared = engine.pipeline(&name, &text)?;
    let jobs = prepared.jobs();
    prepared
        .into_sink(|_| Ok(std::sync::Arc::new(millstream::connector::blackhole::Blackhole::new(false).0)))?
        .check()?;
    for job in &jobs {
        let sinks: Vec<&str> =
            job.sinks.iter().map(|s| if s.is_empty() { "standard output" } else { s }).collect();
        output::say(&format!("{}: {} → {}", job.name, job.sources.join(", "), sinks.join(", ")));
        for (sink, notes) in sinks.iter().zip(&job.sink_notes).filter(|(_, notes)| !notes.is_empty()) {
            let notes: Vec<String> = notes.iter().map(|(title, text)| format!("{title}: {text}")).collect();
            output::say(&format!("  {sink}  {}", notes.join("  ")));
        }
    }
    output::say(&format!("{name}: ok ({})", progress::count(jobs.len() as u64, "job")));
    Ok(0)
}

/// `millstream explain FILE`.
pub(crate) fn explain(args: &ExplainArgs) -> Result<u8, Failed> {
    let text = read_pipeline(&args.pipeline)?;
    let engine = engine_with(&args.set)?;
    let stages: &[ExplainStage] = match args.stage {
        PlanStage::All => &ExplainStage::ALL,
        PlanStage::Logical => &[ExplainStage::Logical],
        PlanStage::Optimized => &[ExplainStage::Optimized],
        PlanStage::Physical => &[ExplainStage::Physical],
    };
    let format = match args.format {
        PlanFormat::Text => ExplainFormat::Text,
        PlanFormat::Json => ExplainFormat::Json,
        PlanFormat::Dot => ExplainFormat::Dot,
    };
    let plan = engine.explain(&name_of(&args.pipeline), &text, stages, format)?;
    use std::io::Write;
    writeln!(std::io::stdout(), "{}", plan.trim_end())?;
    Ok(0)
}
