//! Opens everything that a job needs, from the start or from its last commit.

use std::sync::Arc;

use super::commit::Commits;
use super::core::{Core, Inlet, NodeSlot};
use super::driver::{Driver, Keeping, Parts, Progress};
use super::not_null;
use super::policy::ErrorBudget;
use super::shared::Shared;
use super::sink_stage::SinkStage;
use super::source_stage::SourceStage;
use super::spec::scan_of;
use super::topology::{has_diamond, predecessors, targets_of};
use super::{JobConfig, JobError, JobSpec, OnError, dead_letter_schema};
use crate::io::SinkStart;
use crate::operator;
use crate::plan::InputRef;
use crate::record::{Pool, Pools};
use crate::state::{Checkpoint, StateDir, StateDirError, StateReader};

/// What opening found.
pub(super) enum Opened {
    Ready(Box<Driver>),
    /// According to its state the job has ended.
    Finished,
}

/// Takes the job's state directory, if it has one.
pub(super) fn lock_state(config: &JobConfig) -> Result<Option<Arc<StateDir>>, JobError> {
    let Some(root) = &config.state else { return Ok(None) };
    match StateDir::open(root, &config.name) {
        Ok(dir) => Ok(Some(Arc::new(dir))),
        Err(StateDirError::Locked(e)) => Err(JobError::Locked(e)),
        Err(StateDirError::Failed(e)) => Err(JobError::Config(e)),
    }
}

/// Opens sources, operators and sinks.
pub(super) fn open(
    spec: &JobSpec,
    shared: &Arc<Shared>,
    state: Option<&Arc<StateDir>>,
) -> Result<Opened, JobError> {
    let config = &spec.config;
    let checkpoint = match state {
        Some(dir) => dir.load().map_err(|e| JobError::State(e.to_string()))?,
        None => None,
    };
    // Nothing was committed at epoch 0: another query may start over.
    let checkpoint = checkpoint.filter(|c| c.epoch > 0 || c.plan == spec.fingerprint());
    if let Some(c) = &checkpoint {
        check_plan(spec, c)?;
        if c.finished {
            return Ok(Opened::Finished);
        }
    }
    let budget = Arc::new(ErrorBudget::new(config));
    let pools = make_pools(spec);
    let sources = open_sources(spec, checkpoint.as_ref(), &pools, &budget)?;
    let core = build_core(spec, checkpoint.as_ref(), &pools, &budget)?;
    let (sinks, letter_box) = open_sinks(spec, checkpoint.as_ref(), &budget)?;
    let keeping = state.map(|dir| Keeping {
        dir: dir.clone(),
        commits: Commits::new(
            config.commit_interval,
            checkpoint.as_ref().map_or(0, |c| c.epoch),
            sinks.len(),
            config.clock.monotonic(),
        ),
        plan: spec.fingerprint(),
        operators: Vec::new(),
        letters_asked: false,
        seen: Progress::default(),
    });
    let parts = Parts { sources, sinks, letter_box, core, pools, keeping, budget };
    let mut driver = Box::new(Driver::new(config, shared, parts));
    if checkpoint.is_none() && state.is_some() {
        driver.commit_start()?;
    }
    Ok(Opened::Ready(driver))
}

fn check_plan(spec: &JobSpec, checkpoint: &Checkpoint) -> Result<(), JobError> {
    if checkpoint.plan == spec.fingerprint() {
        return Ok(());
    }
    Err(JobError::Config(format!(
        "job {}: its state (epoch {}) was written by another query; use another --state directory or job_name, or delete the \
         state to start over",
        spec.config.name, checkpoint.epoch
    )))
}

fn make_pools(spec: &JobSpec) -> Pools {
    let homes = spec.plan.sources.len() + spec.plan.nodes.len();
    let batches = 2 * spec.config.channel_batches + 4;
    Pools::new((0..homes).map(|_| Pool::new(batches, spec.config.pool_bytes)).collect())
}

fn open_sources(
    spec: &JobSpec,
    checkpoint: Option<&Checkpoint>,
    pools: &Pools,
    budget: &Arc<ErrorBudget>,
) -> Result<Vec<(SourceStage, Vec<usize>)>, JobError> {
    let after = predecessors(&spec.plan);
    let mut stages = Vec::new();
    for (i, (part, planned)) in spec.sources.iter().zip(&spec.plan.sources).enumerate() {
        let failed = |e| JobError::io(format!("source {}", part.name), e);
        let mut reader = part.source.open(&scan_of(planned, &spec.config.clock)).map_err(failed)?;
        if *reader.schema() != *planned.schema {
            return Err(JobError::Config(format!(
                "source {}: its records have the columns {:?}, but the plan expects {:?}",
                part.name,
                reader.schema(),
                planned.schema
            )));
        }
        if let Some(position) = checkpoint.and_then(|c| c.source(&part.name)).filter(|p| !p.is_start()) {
            reader.seek(position).map_err(failed)?;
        }
        let on_error = part.on_error.unwrap_or(spec.config.on_error);
        let stage = SourceStage::new(
            part.name.clone(),
            reader,
            &spec.config,
            on_error,
            pools.clone(),
            i as u16,
            budget.clone(),
        );
        stages.push((stage, after.get(i).cloned().unwrap_or_default()));
    }
    Ok(stages)
}

fn build_core(
    spec: &JobSpec,
    checkpoint: Option<&Checkpoint>,
    pools: &Pools,
    budget: &Arc<ErrorBudget>,
) -> Result<Core, JobError> {
    let plan = &spec.plan;
    let inlets = (0..plan.sources.len())
        .map(|s| Inlet {
            name: spec.sources.get(s).map_or_else(String::new, |p| p.name.clone()),
            targets: targets_of(plan, InputRef::Source(s)),
            diamond: has_diamond(plan, s),
            done: false,
            arrived: 0,
        })
        .collect();
    let mut nodes = Vec::new();
    for (n, node) in plan.nodes.iter().enumerate() {
        let mut operator = operator::build(node).map_err(JobError::Config)?;
        if let Some(state) = checkpoint.and_then(|c| c.operator(&node.id)) {
            operator
                .restore(&mut StateReader::new(state))
                .map_err(|e| JobError::State(format!("operator {}: {e}", node.id)))?;
        }
        let home = (plan.sources.len() + n) as u16;
        let targets = targets_of(plan, InputRef::Node(n));
        nodes.push(NodeSlot::new(node.id.clone(), operator, targets, node.inputs.len(), home));
    }
    Ok(Core::new(&spec.config, inlets, nodes, plan.sinks.len(), pools.clone(), budget.clone()))
}

fn open_sinks(
    spec: &JobSpec,
    checkpoint: Option<&Checkpoint>,
    budget: &Arc<ErrorBudget>,
) -> Result<(Vec<SinkStage>, Option<usize>), JobError> {
    let mut stages = Vec::new();
    let schemas = spec.plan.sinks.iter().map(|s| s.schema.clone());
    let parts = spec.sinks.iter().zip(schemas).map(|(p, s)| (p, s, spec.config.on_error));
    let letters = spec.dead_letters.iter().map(|p| (p, dead_letter_schema(), OnError::Fail));
    for (part, schema, on_error) in parts.chain(letters) {
        let start = match checkpoint.and_then(|c| c.sink(&part.name)) {
            Some(position) => SinkStart::Resume(position.clone()),
            None => SinkStart::Fresh,
        };
        let writer = part
            .sink
            .open(schema.clone(), &start)
            .map_err(|e| JobError::io(format!("sink {}", part.name), e))?;
        let writer = not_null::guard(writer, &schema);
        stages.push(SinkStage::new(part.name.clone(), writer, &spec.config, on_error, budget.clone()));
    }
    let letter_box = spec.dead_letters.as_ref().map(|_| spec.sinks.len());
    Ok((stages, letter_box))
}
