//! Jobs whose sinks write in transactions of another system, which decides whether an epoch counts: the MANIFEST only takes notes.

use super::{JobError, JobSpec};
use crate::io::{Coordinator, DataReader, LedSource, Transactions};
use crate::record::Position;
use crate::state::{Checkpoint, Commit, Manifest, StateDir};

/// Whether another system decides for this job.
pub(super) fn is_led(spec: &JobSpec) -> bool {
    let led = |t| matches!(t, Transactions::Led { .. });
    spec.config.mode == super::Mode::Transactional
        && spec.sinks.iter().chain(&spec.dead_letters).any(|part| led(part.sink.transactions()))
}

/// Makes the coordinator, which keeps everybody from committing who led the job before. That comes first: what a predecessor left
/// undecided would hold up the sources.
pub(super) fn lead(spec: &JobSpec) -> Result<Box<dyn Coordinator>, JobError> {
    let led = |part: &&super::SinkPart| matches!(part.sink.transactions(), Transactions::Led { .. });
    let mut sinks = spec.sinks.iter().chain(&spec.dead_letters).filter(led).peekable();
    let Some(first) = sinks.peek() else {
        return Err(JobError::Config("no sink of the job has transactions".into()));
    };
    let failed = |name: &str, e| JobError::io(format!("sink {name}"), e);
    let leader = first.sink.lead().map_err(|e| failed(&first.name, e))?;
    for part in sinks {
        part.sink.follow(&*leader).map_err(|e| failed(&part.name, e))?;
    }
    Ok(leader)
}

/// The epoch that was committed last, as far as the coordinator knows.
pub(super) fn committed(
    leader: &mut dyn Coordinator,
    spec: &JobSpec,
    readers: &[Box<dyn DataReader>],
) -> Result<Option<u64>, JobError> {
    let source = |(part, start): (&super::SourcePart, Position)| LedSource {
        name: part.name.clone(),
        membership: part.source.membership(),
        start,
    };
    let starts = readers.iter().map(|reader| reader.position());
    let sources: Vec<LedSource> = spec.sources.iter().zip(starts).map(source).collect();
    leader.take_over(&sources).map_err(|e| JobError::io("transactions of the job", e))
}

/// Which epoch counts. `known`: what the coordinator knows of; `noted`: the last one in the MANIFEST; `newest`: the last snapshot.
pub(super) fn settle(
    dir: &StateDir,
    known: Option<u64>,
    noted: Option<u64>,
    newest: u64,
) -> Result<Option<u64>, JobError> {
    let refuse = |why: String| {
        Err(JobError::State(format!(
            "{why}; bring back the state directory that belongs to it, or start over with another job_name (and group_id)"
        )))
    };
    let here = dir.path().display();
    match (known, noted) {
        (None, None) if newest > 1 => {
            refuse(format!("{here} has snapshots up to epoch {newest}, but no commit is known anywhere"))
        }
        (None, None) => Ok(None),
        // Nothing was begun behind the last note, so it says all.
        (None, Some(noted)) if noted == 0 || noted == newest => {
            if noted > 0 {
                log::warn!(
                    "{here}: Kafka has forgotten the commit of epoch {noted}, as it does with groups that are away for long; the \
                     job's own record of it is complete"
                );
            }
            Ok(Some(noted))
        }
        (None, Some(noted)) => refuse(format!(
            "{here}: epoch {noted} is on record and epoch {newest} was begun, but Kafka has forgotten which of them counts"
        )),
        (Some(known), noted)
            if (known == noted.unwrap_or(0) || known == noted.unwrap_or(0) + 1) && known <= newest =>
        {
            Ok(Some(known))
        }
        (Some(known), noted) => refuse(format!(
            "Kafka holds the commit of epoch {known} of this job, {here} has {}",
            match noted {
                Some(noted) => format!("that of epoch {noted} and snapshots up to epoch {newest}"),
                None => "none".into(),
            }
        )),
    }
}

/// The snapshot of the epoch that counts must be the one that was committed; what the MANIFEST lacks is noted.
pub(super) fn adopt(
    leader: Option<&dyn Coordinator>,
    checkpoint: &Checkpoint,
    manifest: &mut Manifest,
) -> Result<(), JobError> {
    if checkpoint.epoch > 0
        && let Some(leader) = leader
    {
        let positions: Vec<_> = checkpoint.sources.iter().map(|s| (s.name.as_str(), &s.position)).collect();
        leader.agrees(&positions).map_err(|e| {
            JobError::State(format!(
                "the snapshot of epoch {} is not the one that was committed: {e}; was it another job's, or have a group's offsets \
                 been set by hand? Another job_name (and group_id) starts over",
                checkpoint.epoch
            ))
        })?;
    }
    if manifest.last().is_some_and(|(last, _)| last.epoch == checkpoint.epoch) {
        return Ok(());
    }
    let commit = Commit {
        epoch: checkpoint.epoch,
        finished: checkpoint.finished,
        sources: checkpoint.sources.iter().map(|s| (s.name.clone(), s.position.clone())).collect(),
        sinks: checkpoint.sinks.clone(),
    };
    manifest.commit(commit).map_err(|e| JobError::State(e.to_string()))
}
