//! Opens everything that a job needs, from the start or from its last commit.

use std::sync::Arc;

use parking_lot::Mutex;

use super::commit::Commits;
use super::core::ahead::{lane_fingerprint, lane_id};
use super::core::parts::Parts;
use super::core::snapshot::fingerprint;
use super::core::{Core, Inlet, NodeSlot};
use super::driver::{self, Driver, Keeping, OpenSource, Progress};
use super::leading;
use super::not_null;
use super::policy::ErrorBudget;
use super::preparing;
use super::shared::Shared;
use super::sink_stage::SinkStage;
use super::snapshots::Snapshots;
use super::source_stage::SourceStage;
use super::spec::scan_of;
use super::topology::{has_diamond, meetings, order, targets_of};
use super::{
    Execution, JobConfig, JobError, JobSpec, Mode, OnError, PlanChange, SourcePart, StateBackend,
    dead_letter_schema,
};
use crate::io::{Boundedness, Coordinator, DataReader, SinkStart};
use crate::operator;
use crate::plan::{InputRef, SourceSpec, brought_together};
use crate::record::{Pool, Pools, Workers};
use crate::state::{Checkpoint, Manifest, StateDir, StateDirError, StateError, Store};

/// What opening found.
pub(super) enum Opened {
    Ready(Box<Driver>),
    /// According to its state the job has ended.
    Finished,
}

/// Takes the job's state directory, if it has one.
pub(super) fn lock_state(config: &JobConfig) -> Result<Option<Arc<StateDir>>, JobError> {
    let Some(root) = &config.state else { return Ok(None) };
    match StateDir::open(config.medium.clone(), root, &config.state_name()) {
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
    let mut readers = Vec::new();
    let mut leader = None;
    let (checkpoint, mut manifest) = match state {
        Some(dir) => last_commit(spec, dir, &mut readers, &mut leader)?,
        None => (None, None),
    };
    // Nothing was committed at epoch 0: another query may start over.
    let checkpoint = checkpoint.filter(|c| c.epoch > 0 || c.plan == spec.fingerprint());
    if let Some(c) = &checkpoint {
        if c.job != config.name {
            return Err(JobError::Config(format!(
                "job {}: the state in its directory is that of job {}; use another --state directory or job_name",
                config.name, c.job
            )));
        }
        check_plan(spec, c, "its state")?;
        if let Some(manifest) = &mut manifest {
            leading::adopt(leader.as_deref(), c, manifest)?;
            complete_last_commit(spec, manifest)?;
        }
        if c.finished {
            restore_content(spec, c)?;
            return Ok(Opened::Finished);
        }
    }
    let budget = Arc::new(ErrorBudget::new(config));
    let pools = make_pools(spec);
    // Whoever drives the job alone keeps it on one thread; `Driver::place` says what stages leave.
    let lanes = if config.execution == Execution::Inline { 1 } else { config.threads };
    let workers = Arc::new(Workers::timed(lanes, config.stopwatch.clone()));
    shared.live.lock().pool = Some(workers.times().clone());
    if readers.is_empty() {
        readers = open_readers(spec)?;
    }
    check_division(spec, &readers)?;
    let mut sources = open_sources(spec, readers, checkpoint.as_ref(), &pools, &budget, &workers)?;
    let timed: Vec<bool> = sources.iter().map(|s| s.stage.is_bounded() && !s.stage.pauses).collect();
    let order = order(&spec.plan, &timed);
    for (source, after) in sources.iter_mut().zip(order.after) {
        source.after = after;
    }
    // An eighth of the memory is for what the store keeps of its file, half of it for tables; the rest is for their growth, and for what
    // the store notes of a transaction.
    let on_disk = state.filter(|_| config.state_backend == StateBackend::Disk);
    let store =
        on_disk.and_then(|dir| Store::new(config.medium.clone(), dir.path(), config.state_max_bytes / 8));
    let mut core = build_core(spec, store.as_ref(), checkpoint.as_ref(), &pools, &budget, &workers)?;
    for (source, open) in sources.iter().enumerate() {
        core.expect(source, &open.stage.waiting());
    }
    core.merge(order.merges);
    if let Some(checkpoint) = &checkpoint {
        let ended: Vec<bool> = sources.iter().map(|s| s.ended).collect();
        core.restore_lanes(&spec.plan, checkpoint, &ended)?;
    }
    let (sinks, letter_box) = open_sinks(spec, checkpoint.as_ref(), &budget)?;
    if config.threads > 1 {
        preparing::divide(&mut sources, &core, &sinks, config.trace);
    }
    let manifest = manifest.map(|m| Arc::new(Mutex::new(m)));
    let keeping = state.map(|dir| Keeping {
        snapshots: Snapshots::new(dir.clone(), config.whole_below, manifest.clone()).with_store(store),
        manifest,
        leader,
        aligned_at: 0,
        commits: Commits::new(
            config.commit_interval,
            checkpoint.as_ref().map_or(0, |c| c.epoch),
            sinks.len(),
            config.clock.monotonic(),
        ),
        plan: spec.fingerprint(),
        ended: Vec::new(),
        began: None,
        saving: None,
        #[cfg(seeded_bugs)]
        before: checkpoint
            .as_ref()
            .map(|c| c.sinks.iter().map(|(_, p)| p.clone()).collect())
            .unwrap_or_default(),
        letters_asked: false,
        seen: Progress::default(),
        asks_again: false,
        parts: spec.keeps_parts().then(Vec::new),
        quiet_after: spec.quiet_after(),
        // What the state says to be growing may be due.
        quiet_epoch: checkpoint.as_ref().and(spec.quiet_after()).map(|t| config.clock.monotonic() + t),
    });
    let parts = driver::Parts { sources, sinks, letter_box, core, pools, keeping, budget };
    if state.is_none() {
        tell_what_is_not_kept(spec, &parts.core);
    }
    let mut driver = Box::new(Driver::new(config, shared, parts));
    if checkpoint.is_none() && state.is_some() {
        driver.commit_start()?;
    }
    Ok(Opened::Ready(driver))
}

/// The state to go on from, and the MANIFEST of a transactional job. If another system decides for it, its coordinator, and the
/// readers that had to be opened for that.
fn last_commit(
    spec: &JobSpec,
    dir: &StateDir,
    readers: &mut Vec<Box<dyn DataReader>>,
    leader: &mut Option<Box<dyn Coordinator>>,
) -> Result<(Option<Checkpoint>, Option<Manifest>), JobError> {
    let config = &spec.config;
    let failed = |e: StateError| JobError::State(e.to_string());
    let other_mode = |was: &str| {
        JobError::Config(format!(
            "job {}: its state was written by a {was} job; SET mode = '{was}', or use another --state directory or job_name",
            config.name
        ))
    };
    if config.mode == Mode::Simple {
        return match dir.has_manifest() {
            true => Err(other_mode("transactional")),
            false => Ok((dir.load().map_err(failed)?, None)),
        };
    }
    // The checkpoint of epoch 0 is written before the first record of the MANIFEST: it may be there alone.
    let newest = dir.newest().map_err(failed)?.unwrap_or(0);
    if newest > 0 && !dir.has_manifest() {
        return Err(other_mode("simple"));
    }
    let manifest = dir.manifest().map_err(failed)?;
    let noted = manifest.last().map(|(commit, _)| (commit.epoch, commit.finished));
    if leading::is_led(spec) && noted != Some((newest, true)) {
        let mut coordinator = leading::lead(spec)?;
        *readers = open_readers(spec)?;
        let known = leading::committed(&mut *coordinator, spec, readers)?;
        *leader = Some(coordinator);
        if spec.keeps_parts() && newest <= 1 && noted.is_none_or(|(epoch, _)| epoch == 0) {
            // Nothing was committed from here: all that counts is in the topics, where another directory may have stood before.
            return match noted {
                None => Ok((None, Some(manifest))),
                Some(_) => Ok((Some(load_epoch(dir, 0)?), Some(manifest))),
            };
        }
        let Some(epoch) = leading::settle(dir, known, noted.map(|(epoch, _)| epoch), newest)? else {
            return Ok((None, Some(manifest)));
        };
        return Ok((Some(load_epoch(dir, epoch)?), Some(manifest)));
    }
    let Some((epoch, _)) = noted else {
        return match newest > 1 {
            true => Err(JobError::State(format!(
                "{} holds no commit, but there are checkpoints up to epoch {newest}: it has lost its records",
                dir.path().join("MANIFEST").display()
            ))),
            false => Ok((None, Some(manifest))),
        };
    };
    if newest > epoch + 1 {
        return Err(JobError::State(format!(
            "{} ends with epoch {epoch}, but there are checkpoints up to epoch {newest}: it has lost records",
            dir.path().join("MANIFEST").display()
        )));
    }
    Ok((Some(load_epoch(dir, epoch)?), Some(manifest)))
}

fn load_epoch(dir: &StateDir, epoch: u64) -> Result<Checkpoint, JobError> {
    dir.load_epoch(epoch).map_err(|e| {
        JobError::State(format!(
            "{e}; a transactional job can't go on from an earlier commit, as its output would be there twice"
        ))
    })
}

/// Opens every source at its beginning.
fn open_readers(spec: &JobSpec) -> Result<Vec<Box<dyn DataReader>>, JobError> {
    let open = |(part, planned): (&SourcePart, &SourceSpec)| {
        let opened = part.source.open(&scan_of(planned, &spec.config.clock, spec.keeps_parts()));
        opened.map_err(|e| JobError::io(format!("source {}", part.name), e))
    };
    spec.sources.iter().zip(&spec.plan.sources).map(open).collect()
}

/// Equal keys of several sources must be in partitions of one number, so with one instance.
fn check_division(spec: &JobSpec, readers: &[Box<dyn DataReader>]) -> Result<(), JobError> {
    let of = |i: &usize| Some((spec.sources.get(*i)?.name.as_str(), readers.get(*i)?.divided()?));
    for set in brought_together(&spec.plan) {
        let counts: Vec<(&str, usize)> = set.iter().filter_map(of).collect();
        let Some((first, n)) = counts.first() else { continue };
        if let Some((other, m)) = counts.iter().find(|(_, m)| m != n) {
            return Err(JobError::Config(format!(
                "job {}: '{first}' has {n} partitions and '{other}' {m}: instances that bring their rows together by key need \
                 topics with the same number",
                spec.config.name
            )));
        }
    }
    Ok(())
}

/// Shows what was committed and perhaps not shown before a crash.
fn complete_last_commit(spec: &JobSpec, manifest: &mut Manifest) -> Result<(), JobError> {
    let Some((commit, published)) = manifest.last() else { return Ok(()) };
    for part in spec.sinks.iter().chain(&spec.dead_letters) {
        let Some((_, position)) = commit.sinks.iter().find(|(name, _)| *name == part.name) else { continue };
        part.sink.recover(position, published).map_err(|e| JobError::io(format!("sink {}", part.name), e))?;
    }
    match published {
        true => Ok(()),
        false => manifest.published().map_err(|e| JobError::State(e.to_string())),
    }
}

/// A changed plan is refused, with what would become of the state, unless the settings allow it.
fn check_plan(spec: &JobSpec, checkpoint: &Checkpoint, what: &str) -> Result<(), JobError> {
    if checkpoint.plan == spec.fingerprint() {
        return Ok(());
    }
    let lanes = spec.plan.nodes.iter().map(|n| (lane_id(&n.id), lane_fingerprint(n)));
    let prints: Vec<_> =
        spec.plan.nodes.iter().map(|n| (n.id.clone(), fingerprint(n))).chain(lanes).collect();
    let mut fates = Vec::new();
    for operator in checkpoint.operators.iter().filter(|o| o.stateful) {
        let now = prints.iter().find(|(id, _)| *id == operator.id);
        let fate = match now {
            Some((_, spec)) if *spec == operator.spec => "survives",
            Some(_) => "is lost (it does something else now)",
            None => "is lost (there is no such operator any more)",
        };
        fates.push(format!("the state of operator {} {fate}", operator.id));
    }
    let fates = match fates.is_empty() {
        true => "no operator kept state".to_owned(),
        false => fates.join(", "),
    };
    let name = &spec.config.name;
    if spec.config.plan_change == PlanChange::Allow {
        log::warn!(
            "job {name}: going on from {what} that another query wrote (epoch {}): {fates}",
            checkpoint.epoch
        );
        return Ok(());
    }
    Err(JobError::Config(format!(
        "job {name}: {what} (epoch {}) was written by another query: {fates}; SET plan_change = 'allow' goes on with what \
         survives; or use another --state directory or job_name, or delete the state to start over",
        checkpoint.epoch
    )))
}

/// A job that has ended is not opened, but what it wrote into this process must be there.
fn restore_content(spec: &JobSpec, checkpoint: &Checkpoint) -> Result<(), JobError> {
    for (part, planned) in spec.sinks.iter().zip(&spec.plan.sinks).filter(|(p, _)| p.sink.holds_content()) {
        if let Some(position) = checkpoint.sink(&part.name) {
            part.sink
                .open(planned.schema.clone(), &SinkStart::Resume(position.clone()))
                .map_err(|e| JobError::io(format!("sink {}", part.name), e))?;
        }
    }
    Ok(())
}

/// Without a state directory nothing is committed: what a job holds back would be lost with it.
fn tell_what_is_not_kept(spec: &JobSpec, core: &Core) {
    let unbounded = spec.sources.iter().find(|s| s.source.boundedness() != Boundedness::Bounded);
    if let Some(source) = unbounded.filter(|_| core.holds_rows()) {
        log::warn!(
            "job {}: it holds windows or groups but has no state directory, so it commits no position of source {}: after a \
             stop or crash it starts over; --state DIR makes it go on",
            spec.config.name,
            source.name
        );
    }
}

fn make_pools(spec: &JobSpec) -> Pools {
    // Of sinks, too: where the ways of a source meet.
    let homes = spec.plan.sources.len() + spec.plan.nodes.len() + spec.plan.sinks.len();
    // What two full edges and the stages around them hold: fewer would be allocated on one thread and freed on another.
    let batches = 2 * spec.config.edge_batches() + 4;
    Pools::new((0..homes).map(|_| Pool::new(batches, spec.config.pool_bytes)).collect())
}

fn open_sources(
    spec: &JobSpec,
    readers: Vec<Box<dyn DataReader>>,
    checkpoint: Option<&Checkpoint>,
    pools: &Pools,
    budget: &Arc<ErrorBudget>,
    workers: &Arc<Workers>,
) -> Result<Vec<OpenSource>, JobError> {
    let led = leading::is_led(spec);
    let mut stages = Vec::new();
    let parts = spec.sources.iter().zip(&spec.plan.sources);
    for (i, ((part, planned), mut reader)) in parts.zip(readers).enumerate() {
        let failed = |e| JobError::io(format!("source {}", part.name), e);
        if *reader.schema() != *planned.schema {
            return Err(JobError::Config(format!(
                "source {}: its records have the columns {:?}, but the plan expects {:?}",
                part.name,
                reader.schema(),
                planned.schema
            )));
        }
        let known = checkpoint.and_then(|c| c.source(&part.name));
        if let Some(known) = known.filter(|s| !s.position.is_start()) {
            reader.seek(&known.position).map_err(failed)?;
        }
        if spec.config.state.is_none() && part.source.announces_commits() {
            log::warn!(
                "source {}: without a state directory nothing is committed, so the offsets of its group stay where they are; \
                 --state DIR commits them",
                part.name
            );
        }
        let on_error = part.on_error.unwrap_or(spec.config.on_error);
        let mut stage = SourceStage::new(
            part.name.clone(),
            reader,
            &spec.config,
            on_error,
            pools.clone(),
            i as u16,
            budget.clone(),
        )
        .helped_by(workers);
        #[cfg(seeded_bugs)]
        {
            use crate::record::seeded::{Bug, is};
            stage.leaves_one_out = is(Bug::OffByOnePosition) && checkpoint.is_some_and(|c| c.epoch > 0);
        }
        stage.pauses = part.source.end_is_pause();
        stage.whole = spec.plan.nodes.iter().any(|n| n.operator.emits_once_a_batch());
        stage.has_topics = part.source.membership().is_some();
        // Its positions stand in the transactions of the sinks; one that shares its topics waits for commits all the same.
        let shared = part.source.membership().is_some_and(|m| m.seat.is_some());
        stage.tells = shared || !(led && stage.has_topics);
        stages.push(OpenSource { stage, after: Vec::new(), ended: known.is_some_and(|s| s.ended) });
    }
    Ok(stages)
}

fn build_core(
    spec: &JobSpec,
    store: Option<&Store>,
    checkpoint: Option<&Checkpoint>,
    pools: &Pools,
    budget: &Arc<ErrorBudget>,
    workers: &Arc<Workers>,
) -> Result<Core, JobError> {
    let plan = &spec.plan;
    let memory = spec.config.state_max_bytes;
    let spill = plan.nodes.iter().filter(|n| n.operator.spills()).count();
    let inlets = (0..plan.sources.len())
        .map(|s| Inlet {
            name: spec.sources.get(s).map_or_else(String::new, |p| p.name.clone()),
            targets: targets_of(plan, InputRef::Source(s)),
            diamond: has_diamond(plan, s),
            meetings: meetings(plan, s).map(Arc::new),
            done: false,
            arrived: 0,
        })
        .collect();
    let spaces = |operator: &mut dyn operator::Operator, id: &str| {
        if let Some(store) = store {
            operator.use_store(store.space(id), memory / 2 / spill.max(1));
        }
    };
    let nodes = make_nodes(spec, checkpoint, spaces)?;
    let mut core = Core::new(
        &spec.config,
        inlets,
        nodes,
        plan.sinks.len(),
        pools.clone(),
        budget.clone(),
        workers.clone(),
    );
    if spec.keeps_parts() {
        let of_part = spec.clone();
        let make = move |state: Option<&Checkpoint>| {
            state.map_or(Ok(()), |c| check_plan(&of_part, c, "the state of a partition"))?;
            make_nodes(&of_part, state, |_, _| {})
        };
        core.keep_parts(Parts::new(&spec.config.name, spec.fingerprint(), Box::new(make)));
    }
    Ok(core)
}

/// The operators of the plan, from their state if there is one.
fn make_nodes(
    spec: &JobSpec,
    checkpoint: Option<&Checkpoint>,
    spaces: impl Fn(&mut dyn operator::Operator, &str),
) -> Result<Vec<NodeSlot>, JobError> {
    let plan = &spec.plan;
    let on_disk = spec.config.state_backend == StateBackend::Disk;
    let mut nodes = Vec::with_capacity(plan.nodes.len());
    for (n, node) in plan.nodes.iter().enumerate() {
        let mut operator = operator::build(node, spec.config.shards()).map_err(JobError::Config)?;
        spaces(&mut *operator, &node.id);
        let home = (plan.sources.len() + n) as u16;
        let (spec, targets) = (fingerprint(node), targets_of(plan, InputRef::Node(n)));
        let mut slot = NodeSlot::new(node.id.clone(), spec, operator, targets, node.inputs.len(), home);
        if on_disk && !node.operator.spills() {
            slot.stays = node.operator.place_of_state();
        }
        if let Some(state) = checkpoint.and_then(|c| c.operator(&node.id, spec)) {
            slot.restore(state)?;
        }
        nodes.push(slot);
    }
    Ok(nodes)
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
        let mut stage = SinkStage::new(part.name.clone(), writer, &spec.config, on_error, budget.clone());
        if spec.config.mode == Mode::Transactional && part.sink.transactions().is_staged() {
            stage.stage(checkpoint.map_or(1, |c| c.epoch + 1))?;
        } else if spec.config.state.is_some() && !part.sink.can_resume() {
            log::warn!(
                "job {}: sink {} can't take back what it wrote: after a crash rows since the last commit come again",
                spec.config.name,
                part.name
            );
        }
        stages.push(stage);
    }
    let letter_box = spec.dead_letters.as_ref().map(|_| spec.sinks.len());
    Ok((stages, letter_box))
}
