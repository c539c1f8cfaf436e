//! The driver and its snapshots: what operators hold is frozen at a barrier, taken down in slices, and written beside the work.

use super::*;
use crate::job::commit::Epoch;
use crate::state::Saved;

impl Driver {
    /// Lets a thread write the snapshots.
    pub(in crate::job) fn split_snapshots(&mut self) -> Result<(), JobError> {
        match &mut self.keeping {
            Some(keeping) => keeping.snapshots.split(&self.shared),
            None => Ok(()),
        }
    }

    /// Freezes what the operators hold, and takes down which sources have ended. All barriers are there, and nothing behind them
    /// has been processed.
    pub(super) fn take_snapshot(&mut self, epoch: u64) -> Result<(), JobError> {
        let start = self.shared.stopwatch.instant();
        let ended = self.inflows.iter().map(|s| s.ended.is_some() && !s.paused).collect();
        let Some(keeping) = &mut self.keeping else { return Ok(()) };
        let frozen = keeping.snapshots.freeze();
        let mut core = self.core.lock();
        core.lock_acquisitions += 1;
        let operators = match &mut keeping.parts {
            Some(kept) => {
                *kept = core.cut()?;
                Vec::new()
            }
            None => core.snapshot(&frozen)?,
        };
        drop(core);
        (keeping.ended, keeping.letters_asked) = (ended, false);
        let checkpoint = Checkpoint {
            job: self.config.name.clone(),
            plan: keeping.plan,
            engine: env!("CARGO_PKG_VERSION").into(),
            epoch,
            operators,
            ..Checkpoint::default()
        };
        keeping.snapshots.begin(checkpoint, frozen)?;
        self.note_stall(start);
        Ok(())
    }

    /// Takes down about `budget` bytes of what is frozen; gives whether there was any.
    pub(super) fn take_down(&mut self, budget: usize) -> Result<bool, JobError> {
        let Some(keeping) = self.keeping.as_mut().filter(|k| k.snapshots.is_taking()) else {
            return Ok(false);
        };
        let start = self.shared.stopwatch.instant();
        let behind = keeping.snapshots.is_behind();
        if !behind {
            let mut core = self.core.lock();
            core.lock_acquisitions += 1;
            core.take_down(budget);
        }
        keeping.snapshots.write()?;
        self.note_stall(start);
        Ok(!behind)
    }

    /// Everything of the epoch is durable but the snapshot itself, which is now ended.
    pub(super) fn end_snapshot(
        &mut self,
        epoch: u64,
        sources: &[Position],
        sinks: &[Position],
        finished: bool,
    ) -> Result<(), JobError> {
        let start = self.shared.stopwatch.instant();
        let Some(keeping) = &self.keeping else { return Ok(()) };
        let commit = keeping.commits_with_snapshot().then(|| self.record_of(epoch, sources, sinks, finished));
        let source = |((inflow, position), ended): ((&Inflow, &Position), &bool)| SourceState {
            name: inflow.name.clone(),
            position: position.clone(),
            ended: *ended,
        };
        let ending = Checkpoint {
            epoch,
            finished,
            sources: self.inflows.iter().zip(sources).zip(&keeping.ended).map(source).collect(),
            sinks: self.outflows.iter().map(|s| s.name.clone()).zip(sinks.iter().cloned()).collect(),
            ..Checkpoint::default()
        };
        if let Some(keeping) = &mut self.keeping {
            keeping.snapshots.end(ending, commit)?;
        }
        self.note_stall(start);
        Ok(())
    }

    /// A snapshot from its beginning to its end, while nothing else is done.
    pub(super) fn save_at_once(
        &mut self,
        epoch: u64,
        sources: &[Position],
        sinks: &[Position],
        finished: bool,
    ) -> Result<Saved, JobError> {
        self.take_snapshot(epoch)?;
        while self.keeping.as_ref().is_some_and(|k| k.snapshots.is_taking()) {
            if self.shared.is_cancelled() {
                return Err(JobError::Aborted);
            }
            if !self.take_down(usize::MAX)? {
                std::thread::park_timeout(Duration::from_millis(1));
                self.laps.blocked();
            }
        }
        self.end_snapshot(epoch, sources, sinks, finished)?;
        let Some(keeping) = &mut self.keeping else { return Err(JobError::Aborted) };
        let saved = keeping.snapshots.wait_saved(&self.shared);
        self.laps.blocked();
        saved
    }

    /// Lets the epoch under way go on once every sink has made durable what is its: the snapshot is ended, and when it is durable the
    /// epoch is committed. Gives whether anything was done.
    pub(super) fn commit_when_durable(&mut self) -> Result<bool, JobError> {
        let mut worked = self.take_down(self.config.snapshot_slice)?;
        let Some(keeping) = &mut self.keeping else { return Ok(false) };
        if let Some(epoch) = keeping.commits.take_complete() {
            keeping.saving = Some(Saving { epoch, ended: false });
            #[cfg(seeded_bugs)]
            {
                self.snapshot_after_commit();
                if self.commit_before_durable()? {
                    return Ok(true);
                }
            }
        }
        let Some(keeping) = &mut self.keeping else { return Ok(false) };
        if !keeping.snapshots.is_taking()
            && let Some(saving) = keeping.saving.as_mut().filter(|s| !s.ended)
        {
            saving.ended = true;
            let Epoch { number, sources, sinks } = saving.epoch.clone();
            self.end_snapshot(number, &sources, &sinks, false)?;
            worked = true;
        }
        let Some(keeping) = &mut self.keeping else { return Ok(false) };
        if keeping.saving.is_some()
            && let Some(saved) = keeping.snapshots.take_saved()?
            && let Some(Saving { epoch, .. }) = keeping.saving.take()
        {
            keeping.commits.saved();
            #[cfg(seeded_bugs)]
            if self.is_committed_already() {
                return self.publish(epoch.number).map(|()| true);
            }
            self.save(saved, &epoch, false)?;
            let now = self.config.clock.monotonic();
            if let Some(keeping) = self.keeping.as_mut().filter(|k| k.asks_again) {
                keeping.quiet_epoch = keeping.quiet_after.map(|t| now + t);
            }
            worked = true;
        }
        Ok(worked)
    }

    /// For so long the processor did nothing else.
    pub(super) fn note_stall(&self, start: Instant) {
        let took = self.shared.stopwatch.instant().saturating_duration_since(start).as_secs_f64();
        let mut view = self.shared.live.lock();
        view.commit.max_stall_s = view.commit.max_stall_s.max(took);
    }
}
