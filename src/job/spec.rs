//! What a job is made of, ready to be opened – again after a failure.

use std::sync::Arc;

use super::{AtEnd, CommitInterval, JobConfig, JobError, Mode, OnError, StateBackend, dead_letter_schema};
use crate::io::{DataSink, DataSource, Scan, SystemColumns, Transactions};
use crate::plan::{
    InputRef, JobPlan, LatePolicy, OperatorSpec, SourceSpec, SystemColumn, WindowKind, undivided,
};
use crate::record::Clock;

/// A source with its own policies.
#[derive(Clone)]
pub struct SourcePart {
    /// Name for messages and state.
    pub name: String,
    /// The source.
    pub source: Arc<dyn DataSource>,
    /// Policy for records that can't be decoded; `None` = the job's.
    pub on_error: Option<OnError>,
}

/// A sink.
#[derive(Clone)]
pub struct SinkPart {
    /// Name for messages and state.
    pub name: String,
    /// The sink.
    pub sink: Arc<dyn DataSink>,
}

/// A job that can be started. `sources` and `sinks` are parallel to the plan's.
#[derive(Clone)]
pub struct JobSpec {
    /// Settings.
    pub config: JobConfig,
    /// What runs.
    pub plan: JobPlan,
    /// Where records come from.
    pub sources: Vec<SourcePart>,
    /// Where they go.
    pub sinks: Vec<SinkPart>,
    /// Where failed records go, if a policy is `dlq`.
    pub dead_letters: Option<SinkPart>,
}

impl JobSpec {
    /// Checks what can be checked without opening anything.
    ///
    /// # Errors
    /// If parts are missing, a `dlq` policy has no target, or a source can't be replayed although state is kept; if the job
    /// is transactional and has no state directory, or a sink that can't be; if a sink can't take its rows or shares its file.
    pub fn check(&self) -> Result<(), JobError> {
        if self.sources.len() != self.plan.sources.len() || self.sinks.len() != self.plan.sinks.len() {
            return Err(JobError::Config("the job's sources and sinks do not match its plan".into()));
        }
        let wants_dlq = |p: &SourcePart| p.on_error.unwrap_or(self.config.on_error) == OnError::Dlq;
        let source = self.sources.iter().find(|p| wants_dlq(p));
        if self.dead_letters.is_none() && (source.is_some() || self.config.on_error == OnError::Dlq) {
            let who = source.map_or("SET on_error = 'dlq'".to_owned(), |s| {
                format!("source {}: on_error = 'dlq'", s.name)
            });
            return Err(JobError::Config(format!(
                "{who} needs a dead letter queue: add dlq = 'bad.jsonl' (or SET dlq = …)"
            )));
        }
        let late = self.plan.nodes.iter().find(|n| match &n.operator {
            OperatorSpec::Aggregate(spec) => {
                spec.window.as_ref().is_some_and(|w| w.late == LatePolicy::DeadLetter)
            }
            OperatorSpec::WindowTable(spec) => {
                matches!(spec.window.kind, WindowKind::Session { .. })
                    && spec.window.late == LatePolicy::DeadLetter
            }
            OperatorSpec::Over(spec) => spec.streaming.is_some_and(|s| s.late == LatePolicy::DeadLetter),
            _ => false,
        });
        if let Some(node) = late.filter(|_| self.dead_letters.is_none()) {
            return Err(JobError::Config(format!(
                "operator {}: late = 'dlq' needs a dead letter queue: add dlq = 'bad.jsonl' (or SET dlq = …)",
                node.id
            )));
        }
        for (part, planned) in self.sources.iter().zip(&self.plan.sources) {
            let scan = scan_of(planned, &self.config.clock, self.keeps_parts());
            part.source.check(&scan).map_err(|e| JobError::io(format!("source {}", part.name), e))?;
        }
        if self.config.state.is_some()
            && let Some(part) = self
                .sources
                .iter()
                .zip(&self.plan.sources)
                .find(|(p, s)| s.values.is_none() && !p.source.can_replay())
        {
            return Err(JobError::Config(format!(
                "source {}: it can't be read again from a position, so a job with --state can't use it",
                part.0.name
            )));
        }
        if self.config.state_backend == StateBackend::Disk {
            if !cfg!(feature = "disk-state") {
                return Err(JobError::Config(format!(
                    "job {}: state_backend = 'disk' needs a build with the feature disk-state: cargo install --features disk-state; \
                     this one keeps state in memory",
                    self.config.name
                )));
            }
            if self.config.state.is_none() {
                return Err(JobError::Config(format!(
                    "job {}: state_backend = 'disk' needs a directory for it: --state DIR, or SET state = 'DIR'",
                    self.config.name
                )));
            }
        }
        if let Some(instance) = &self.config.instance {
            self.check_instance(instance)?;
        }
        self.check_sinks()?;
        if self.config.mode == Mode::Transactional { self.check_transactional() } else { Ok(()) }
    }

    /// Refuses sinks that can't take their rows, that need commits where there are none, or that share a file.
    fn check_sinks(&self) -> Result<(), JobError> {
        let planned = self.plan.sinks.iter().map(|s| s.schema.clone());
        let planned = self.sinks.iter().zip(planned);
        let mut written: Vec<(&str, std::path::PathBuf)> = Vec::new();
        for (part, schema) in planned.chain(self.dead_letters.iter().map(|p| (p, dead_letter_schema()))) {
            part.sink.check(&schema).map_err(|e| JobError::io(format!("sink {}", part.name), e))?;
            if let Some(why) = part.sink.commit_needs().because.filter(|_| self.config.state.is_none()) {
                return Err(JobError::Config(format!(
                    "sink {}: {why}, and a job without state makes none: --state DIR, or SET state = 'DIR'",
                    part.name
                )));
            }
            // A terminal or a FIFO may well be shared.
            let ordinary =
                |f: &std::path::PathBuf| std::fs::metadata(f).map_or(true, |m| m.is_file() || m.is_dir());
            for file in part.sink.files().into_iter().filter(ordinary) {
                if let Some((other, _)) = written.iter().find(|(_, f)| *f == file) {
                    return Err(JobError::Config(format!(
                        "sinks {other} and {} would both write '{}': give one another path, or INSERT INTO the same stream twice",
                        part.name,
                        file.display()
                    )));
                }
                written.push((&part.name, file));
            }
        }
        Ok(())
    }

    /// Refuses what several processes can't run together, each with a part of the input.
    fn check_instance(&self, instance: &str) -> Result<(), JobError> {
        let name = &self.config.name;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !instance.chars().all(fits) {
            return Err(JobError::Config(format!(
                "instance '{instance}' of job {name}: its name may have letters, digits, '.', '_' and '-'"
            )));
        }
        if self.config.state.is_none() {
            return Err(JobError::Config(format!(
                "instance '{instance}' of job {name} needs a state directory, as it commits what others go on from: --state DIR"
            )));
        }
        if let Some(of) = self.config.instances {
            return self.check_slices(instance, of);
        }
        match self.keeper() {
            Some(operator) => self.check_parts(instance, operator),
            None => Ok(()),
        }
    }

    /// The first operator that keeps state.
    fn keeper(&self) -> Option<&str> {
        let keeps = |o: &OperatorSpec| match o {
            OperatorSpec::FilterProject(_)
            | OperatorSpec::Unnest(_)
            | OperatorSpec::Union { .. }
            | OperatorSpec::Watermark(_) => false,
            OperatorSpec::WindowTable(spec) => matches!(spec.window.kind, WindowKind::Session { .. }),
            _ => true,
        };
        self.plan.nodes.iter().find(|n| keeps(&n.operator)).map(|n| n.id.as_str())
    }

    /// Whether its state is cut by the partitions of its source, and moves with them.
    pub(super) fn keeps_parts(&self) -> bool {
        self.config.instance.is_some() && self.config.instances.is_none() && self.keeper().is_some()
    }

    /// Refuses what can't be cut by partitions, or can't move with them.
    fn check_parts(&self, instance: &str, operator: &str) -> Result<(), JobError> {
        let name = &self.config.name;
        let refuse = |why: String| {
            Err(JobError::Config(format!(
                "instance '{instance}' of job {name}: operator {operator} keeps state, which moves with the partitions of the \
                 group: {why} (docs/scale-out.md)"
            )))
        };
        if self.config.mode != Mode::Transactional {
            return refuse(
                "that needs its transactions: SET mode = 'transactional'; or run it as a fixed number of instances, --instance 0 \
                 --instances 3"
                    .into(),
            );
        }
        let led = |part: &SinkPart| matches!(part.sink.transactions(), Transactions::Led { .. });
        if let Some(other) = self.sinks.iter().chain(&self.dead_letters).find(|p| !led(p)) {
            return refuse(format!(
                "every output has to stand in one Kafka transaction with it, and sink {} does not: write to a topic",
                other.name
            ));
        }
        if self.sources.len() != 1 {
            return refuse(format!(
                "it may have one source, and this job has {}: bring them into one topic with a job before it",
                self.sources.len()
            ));
        }
        if self.config.state_backend == StateBackend::Disk {
            return refuse("it lies in memory: leave out state_backend = 'disk'".into());
        }
        if self.config.at_end == AtEnd::Drain {
            return refuse("an instance that stops leaves it to others: leave out at_end = 'drain'".into());
        }
        let by: Vec<Vec<String>> = self.sources.iter().map(|s| s.source.partitioned_by()).collect();
        match undivided(&self.plan, &by) {
            Some((node, why)) => refuse(format!(
                "operator {node} can't be cut: {why}; a job before it can write a topic that is partitioned by what it groups by"
            )),
            None => Ok(()),
        }
    }

    /// Refuses what instances with partitions of their own can't compute, and state of another number of them.
    fn check_slices(&self, instance: &str, of: u32) -> Result<(), JobError> {
        let name = &self.config.name;
        let by: Vec<Vec<String>> = self.sources.iter().map(|s| s.source.partitioned_by()).collect();
        if let Some((node, why)) = undivided(&self.plan, &by) {
            return Err(JobError::Config(format!(
                "job {name} can't run as {of} instances: operator {node}: {why}; a job before it, or the first part of \
                 a query with REPARTITION BY, can write a topic that is partitioned by what it groups by (docs/scale-out.md)"
            )));
        }
        // Its own directory below the state directory tells how many there were.
        let mine = self.config.state_name();
        let root = self.config.state.iter().filter_map(|root| std::fs::read_dir(root).ok()).flatten();
        let others = root.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let prefix = format!("{name}.{instance}_of_");
        match others.filter(|n| n.starts_with(&prefix) && *n != mine).min() {
            None => Ok(()),
            Some(other) => Err(JobError::Config(format!(
                "job {name}: '{other}' is the state of another number of instances, and state does not move between instances: keep \
                 their number, or start over with another job_name and group_id"
            ))),
        }
    }

    /// So long after a commit another one is wanted although nothing has come in.
    pub(super) fn quiet_after(&self) -> Option<std::time::Duration> {
        let parts = self.sinks.iter().chain(&self.dead_letters);
        parts.filter_map(|p| p.sink.commit_needs().quiet_after).min()
    }

    /// Refuses what can't keep the promise that each row is there once.
    fn check_transactional(&self) -> Result<(), JobError> {
        if self.config.state.is_none() {
            return Err(JobError::Config(format!(
                "job {}: mode = 'transactional' needs a state directory: --state DIR, or SET state = 'DIR'",
                self.config.name
            )));
        }
        self.check_places()?;
        for part in self.sinks.iter().chain(&self.dead_letters) {
            match part.sink.transactions() {
                Transactions::None => {
                    return Err(JobError::Config(format!(
                        "sink {}: it can neither hold its output back until it is committed nor take it back after a crash, so a \
                         transactional job can't use it; files and topics can",
                        part.name
                    )));
                }
                Transactions::CutsBack | Transactions::Staged | Transactions::Led { .. } => {}
            }
        }
        Ok(())
    }

    /// One place can decide what is committed, and everything that stands in its transactions must be there.
    fn check_places(&self) -> Result<(), JobError> {
        let mut leader: Option<(&str, String)> = None;
        let elsewhere = |(what, name): (&str, &str), cluster: &str, (sink, place): &(&str, String)| {
            JobError::Config(format!(
                "{what} {name} is at {cluster} and sink {sink} at {place}: no transaction spans two clusters; a job for each, with \
                 a topic between them, keeps the promise (the same cluster must be written in the same way in both)"
            ))
        };
        for part in self.sinks.iter().chain(&self.dead_letters) {
            let failed = |e| JobError::io(format!("sink {}", part.name), e);
            part.sink.check_transactional().map_err(failed)?;
            let Transactions::Led { within } = part.sink.transactions() else { continue };
            let cluster = part.sink.cluster().unwrap_or_default();
            match &leader {
                Some(leader) if leader.1 != cluster => {
                    return Err(elsewhere(("sink", &part.name), &cluster, leader));
                }
                Some(_) => {}
                None => leader = Some((&part.name, cluster)),
            }
            if let CommitInterval::Time(interval) = self.config.commit_interval
                && interval * 2 > within
            {
                return Err(JobError::Config(format!(
                    "sink {}: its transactions may last {within:?}, which leaves no room for commit_interval = {interval:?}: make \
                     transaction_timeout at least twice as long",
                    part.name
                )));
            }
        }
        for part in &self.sources {
            part.source
                .check_transactional()
                .map_err(|e| JobError::io(format!("source {}", part.name), e))?;
            if let (Some(of), Some(leader)) = (part.source.membership(), &leader)
                && of.cluster != leader.1
            {
                return Err(elsewhere(("source", &part.name), &of.cluster, leader));
            }
        }
        Ok(())
    }

    /// A fingerprint of the plan: a changed plan must not go on from the state of another one.
    pub fn fingerprint(&self) -> u32 {
        crc32fast::hash(format!("{:?}", self.plan).as_bytes())
    }
}

/// What a source must deliver for this plan.
pub(super) fn scan_of(spec: &SourceSpec, clock: &Clock, kept: bool) -> Scan {
    let wants = |c| spec.system.contains(&c);
    Scan {
        schema: spec.schema.clone(),
        system: SystemColumns {
            timestamp: wants(SystemColumn::Timestamp),
            topic: wants(SystemColumn::Topic),
            key: wants(SystemColumn::Key),
            headers: wants(SystemColumn::Headers),
        },
        clock: Some(clock.clone()),
        kept,
    }
}

/// Sinks that each input feeds, as indices into the plan's sinks.
pub(super) fn sinks_of(plan: &JobPlan, of: InputRef) -> Vec<usize> {
    (0..plan.sinks.len()).filter(|&k| plan.sinks.get(k).is_some_and(|s| s.inputs.contains(&of))).collect()
}
