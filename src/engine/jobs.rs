//! Queries become jobs: those that share a source or a sink are one, and each gets its doors.

use std::sync::Arc;

use super::config::{job_config, on_error};
use super::prepared::{PendingJob, PendingSink, Prepared};
use super::script::{Failure, Output, Script};
use super::{Engine, Relations, places, tables};
use crate::catalog::{Options, nearest};
use crate::connector::SinkRequest;
use crate::connector::file::read_and_written;
use crate::connector::memory::MemorySource;
use crate::error::Error;
use crate::io::{Boundedness, DataSink, DataSource, Instance, IoError, IoErrorKind};
use crate::job::{JobConfig, Mode, SinkPart, SourcePart, StateBackend};
use crate::plan::{self, JobPlan, LogicalPlan, lower, optimize};
use crate::record::{FieldValue, StreamRecord};
use crate::sql::{Diagnostic, Span};

impl Script<'_> {
    /// The jobs that queries make, with their names.
    pub(super) fn named_groups(
        &self,
        settings: &Options,
        outputs: Vec<Output>,
    ) -> Vec<(String, Vec<Output>)> {
        let stem = std::path::Path::new(self.name).file_stem().and_then(|s| s.to_str()).unwrap_or("query");
        let base = settings.get("job_name").filter(|n| !n.is_empty()).unwrap_or(stem);
        let groups = group(outputs);
        let several = groups.len() > 1;
        let job = |i: usize| if several { format!("{base}-{}", i + 1) } else { base.to_owned() };
        groups.into_iter().enumerate().map(|(i, outputs)| (job(i), outputs)).collect()
    }

    /// Queries → jobs.
    pub(super) fn prepare(mut self) -> Result<Prepared, Failure> {
        let settings = self.engine.settings.lock().clone();
        let ends: Vec<_> = self.outputs.iter().map(|o| (o.sink.as_str(), &o.plan, o.span)).collect();
        let mut clashes = places::clashes(&self.engine.relations.lock(), &ends, settings.get("dlq"));
        for (_, plan, span) in &ends {
            if let Some(what) = plan::misreads_changes(plan) {
                let message = format!("{what} over rows that change is not supported yet");
                let hint = "GROUP BY over unbounded input gives rows that change";
                clashes.push(Diagnostic::new(message, *span).with_hint(hint));
            }
        }
        clashes.extend(tables::read_and_written(&self.engine.relations.lock(), &ends));
        if !clashes.is_empty() {
            return Err(Failure::Sql(clashes));
        }
        let outputs = std::mem::take(&mut self.outputs);
        let mut jobs = Vec::new();
        for (job, outputs) in self.named_groups(&settings, outputs) {
            let span = outputs.first().map_or(Span::default(), |o| o.span);
            let plans = outputs.into_iter().map(|o| (o.sink, optimize(o.plan))).collect();
            let config = job_config(&settings, &job);
            let job = assemble(self.engine, lower(plans), config, &settings, span)?;
            refuse_shared_letters(&jobs, &job, span)?;
            jobs.push(job);
        }
        Ok(Prepared::new(jobs, self.answers))
    }
}

/// Two jobs that keep state can't share a dead letter file: on resume each would cut off the other's letters.
fn refuse_shared_letters(jobs: &[PendingJob], job: &PendingJob, span: Span) -> Result<(), Failure> {
    let files = |j: &PendingJob| j.dead_letters.as_ref().map(|d| d.sink.files()).unwrap_or_default();
    let mine = files(job);
    let other = jobs.iter().find(|j| files(j).iter().any(|f| mine.contains(f)));
    match other.filter(|_| job.config.state.is_some()) {
        None => Ok(()),
        Some(other) => {
            let message = format!(
                "jobs {} and {} keep state and would share a dead letter file; give each source its own dlq",
                other.config.name, job.config.name
            );
            Err(Failure::Sql(vec![Diagnostic::new(message, span)]))
        }
    }
}

/// Statements that share a source or a sink form one job, in order of their first statement.
fn group(outputs: Vec<Output>) -> Vec<Vec<Output>> {
    let mut groups: Vec<(Vec<String>, Vec<Output>)> = Vec::new();
    for output in outputs {
        let mut names = Vec::new();
        scans(&output.plan, &mut names);
        if !output.sink.is_empty() {
            names.push(format!("→{}", output.sink));
        }
        let mut members = vec![output];
        let mut at = None;
        let mut i = 0;
        while i < groups.len() {
            if groups[i].0.iter().any(|n| names.contains(n)) {
                match at {
                    None => {
                        at = Some(i);
                        i += 1;
                    }
                    Some(first) => {
                        let (more_names, more): (Vec<String>, Vec<Output>) = groups.remove(i);
                        groups[first].0.extend(more_names);
                        groups[first].1.extend(more);
                    }
                }
            } else {
                i += 1;
            }
        }
        match at {
            Some(first) => {
                groups[first].0.append(&mut names);
                groups[first].1.append(&mut members);
            }
            None => groups.push((names, members)),
        }
    }
    groups.into_iter().map(|(_, outputs)| outputs).collect()
}

pub(super) fn scans(plan: &LogicalPlan, names: &mut Vec<String>) {
    if let LogicalPlan::Scan { relation, .. } = plan {
        names.push(relation.clone());
    }
    plan.inputs().into_iter().for_each(|p| scans(p, names));
}

/// Finds the sources and sinks of a plan.
fn assemble(
    engine: &Engine,
    mut plan: JobPlan,
    mut config: JobConfig,
    settings: &Options,
    span: Span,
) -> Result<PendingJob, Failure> {
    let relations = engine.relations.lock();
    let mut dlq: Option<String> = settings.get("dlq").filter(|d| !d.is_empty()).map(str::to_owned);
    let mut sources = Vec::new();
    for (i, source) in plan.sources.iter().enumerate() {
        let options = relations.options(&source.relation);
        if let Some(target) = options.get("dlq") {
            if dlq.as_deref().is_some_and(|d| d != target) {
                let message = format!(
                    "a job has one dead letter queue, but both '{}' and '{target}' are asked for",
                    dlq.unwrap_or_default()
                );
                return Err(Failure::Sql(vec![Diagnostic::new(message, span)]));
            }
            dlq = Some(target.to_owned());
        }
        tighten(&mut config, &options);
        if relations.table(&source.relation).is_some() {
            // A pull query is answered from this process's memory: there is nothing to go on from.
            (config.state, config.mode) = (None, Mode::Simple);
        }
        let found = source_of(&relations, &plan, i).map_err(|e| Failure::Other(e.into()))?;
        sources.push(SourcePart {
            name: source.relation.clone(),
            source: instance_part(&config, &source.relation, found, span)?,
            on_error: options.get("on_error").map(on_error),
        });
    }
    check_bounds(&plan, &sources, &config, span)?;
    let changes: Vec<bool> = (0..plan.sinks.len()).map(|k| plan.changes(k)).collect();
    let mut sinks = Vec::new();
    let sets: Vec<Vec<&'static str>> = (0..plan.sinks.len()).map(|k| plan.system_set(k)).collect();
    for ((sink, changes), sets) in plan.sinks.iter_mut().zip(changes).zip(sets) {
        if changes && !tables::takes_changes(&relations.options(&sink.relation)) {
            let message = format!("'{}' is append-only, but rows of this query change", sink.relation);
            let hint = "add changelog = 'upsert' or format = 'debezium-json' to its WITH (…), or let the query give final rows only: a \
                        window and EMIT FINAL, late rows dropped";
            return Err(Failure::Sql(vec![Diagnostic::new(message, span).with_hint(hint)]));
        }
        if let Some(declared) = relations.sink_schema(&sink.relation) {
            // Same columns as the query's, which was cast to them; NOT NULL is declared here only.
            sink.schema = declared;
        }
        if sink.relation.is_empty() {
            sinks.push(PendingSink::Rows);
            continue;
        }
        let made = relations.sink(&sink.relation, &sets).map_err(|e| match e.kind() {
            IoErrorKind::Config => Failure::Sql(vec![Diagnostic::new(e.to_string(), span)]),
            _ => Failure::Other(e.into()),
        })?;
        let made = in_mode(&config, made);
        let part = SinkPart { name: sink.relation.clone(), sink: made };
        refuse_own_input(&sources, &part, span)?;
        sinks.push(PendingSink::Ready(part));
    }
    let dead_letters = match dlq {
        None => None,
        Some(target) => {
            let mut part = dead_letter_sink(&relations, &target).map_err(Failure::Other)?;
            part.sink = in_mode(&config, part.sink);
            refuse_own_input(&sources, &part, span)?;
            Some(part)
        }
    };
    Ok(PendingJob { config, plan, sources, sinks, dead_letters })
}

/// A sink as the job's mode wants it: files become directories of parts in transactional jobs.
pub(super) fn in_mode(config: &JobConfig, sink: Arc<dyn DataSink>) -> Arc<dyn DataSink> {
    match config.mode {
        Mode::Simple => sink.named(&config.name).unwrap_or(sink),
        Mode::Transactional => sink.staged(&config.name, config.instance.as_deref()).unwrap_or(sink),
    }
}

/// A source as an instance of the job reads it, where several run it.
fn instance_part(
    config: &JobConfig,
    name: &str,
    source: Arc<dyn DataSource>,
    span: Span,
) -> Result<Arc<dyn DataSource>, Failure> {
    if let Some(of) = config.instances.filter(|_| config.slice().is_none()) {
        let message = format!("with --instances {of}, --instance is a number from 0 to {}", of - 1);
        return Err(Failure::Sql(vec![Diagnostic::new(message, span)]));
    }
    let Some(instance) = &config.instance else { return Ok(source) };
    let instance = Instance {
        job: config.name.clone(),
        name: instance.clone(),
        transactional: config.mode == Mode::Transactional,
        slice: config.slice(),
    };
    source.shared(name, &instance).map_err(|e| {
        Failure::Sql(vec![Diagnostic::new(
            format!("source '{name}' of instance '{}': {e}", instance.name),
            span,
        )])
    })
}

/// Refuses state that can grow for ever, or warns of it.
fn check_bounds(
    plan: &JobPlan,
    sources: &[SourcePart],
    config: &JobConfig,
    span: Span,
) -> Result<(), Failure> {
    let endless: Vec<bool> =
        sources.iter().map(|s| s.source.boundedness() == Boundedness::Unbounded).collect();
    for (operator, what) in plan.unbounded_state(&endless) {
        if config.require_bounded_state {
            let message = format!("the state of operator {operator} can grow for ever: it keeps {what}");
            let hint =
                "use a window (TUMBLE, HOP, SESSION), or allow it: SET require_bounded_state = 'false'";
            return Err(Failure::Sql(vec![Diagnostic::new(message, span).with_hint(hint)]));
        }
        let spills = config.state_backend == StateBackend::Disk
            && plan.nodes.iter().any(|n| n.id == operator && n.operator.spills());
        let end = if spills { "the disk may fill up" } else { "the job fails beyond state_max_bytes" };
        log::warn!(
            "job {}: the state of operator {operator} can grow for ever: it keeps {what}; {end}",
            config.name
        );
    }
    Ok(())
}

/// The error limits of a source count for its job: the strictest wins.
fn tighten(config: &mut JobConfig, options: &Options) {
    if let Some(max) = options.get("max_errors").and_then(|m| m.parse::<u64>().ok()) {
        config.max_errors = Some(config.max_errors.map_or(max, |m| m.min(max)));
    }
    if let Some(ratio) = options.get("max_error_ratio").and_then(|m| m.parse::<f64>().ok()) {
        config.max_error_ratio = Some(config.max_error_ratio.map_or(ratio, |r| r.min(ratio)));
    }
}

fn source_of(relations: &Relations, plan: &JobPlan, source: usize) -> Result<Arc<dyn DataSource>, IoError> {
    let Some(spec) = plan.sources.get(source) else {
        return Err(IoError::config("a plan reads a source that it does not have"));
    };
    if let Some(rows) = &spec.values {
        let record = |row: &Vec<FieldValue>| StreamRecord::with_values(spec.schema.clone(), row.clone());
        let rows = rows.iter().map(record).collect();
        return Ok(Arc::new(MemorySource::from_vec(spec.schema.clone(), rows)?));
    }
    match relations.table(&spec.relation) {
        Some(table) => Ok(Arc::new(tables::source(table, plan, source))),
        None => relations.source(&spec.relation),
    }
}

/// A file that the job reads must not be the one that it writes: opening the sink would empty it.
fn refuse_own_input(sources: &[SourcePart], sink: &SinkPart, span: Span) -> Result<(), Failure> {
    for source in sources {
        if let Some(file) = read_and_written(&*source.source, &*sink.sink) {
            let message =
                format!("'{}' would overwrite {}, which '{}' reads", sink.name, file.display(), source.name);
            return Err(Failure::Sql(vec![Diagnostic::new(message, span)]));
        }
    }
    Ok(())
}

/// Tells a sink that its records are dead letters: where it can, it writes their headers.
const LETTER: &str = "_letter";

fn dead_letter_sink(relations: &Relations, target: &str) -> Result<SinkPart, Error> {
    let sink = if relations.find(target).is_some() {
        relations.sink(target, &[LETTER])?
    } else if target.contains(['.', '/']) {
        let options =
            Options::new([("connector", "file"), ("path", target), ("mode", "append"), ("layout", "single")]);
        relations
            .connectors
            .check(&options, &[])
            .map_err(|e| Error::Config(format!("dlq = '{target}': {e}")))?;
        relations.connectors.sink(&SinkRequest { name: "dead letters", options: &options, sets: &[] })?
    } else {
        let near = nearest(target, relations.names().map(|(n, _)| n)).join(" or ");
        let hint = if near.is_empty() { String::new() } else { format!("; did you mean {near}?") };
        return Err(Error::Config(format!(
            "dlq = '{target}' is neither a declared stream nor a path such as 'bad.jsonl'{hint}"
        )));
    };
    Ok(SinkPart { name: "dead letters".into(), sink })
}
