//! The driver and its commits: barriers, durable sinks, the checkpoint, the end of the job, the ledger.

use super::*;
use crate::state::Saved;

#[cfg(seeded_bugs)]
#[path = "seeded_epochs.rs"]
mod seeded;

impl Driver {
    pub(super) fn commits_idle(&self) -> bool {
        self.keeping.as_ref().is_none_or(|k| k.commits.is_idle())
    }

    /// Begins, continues or completes an epoch; gives whether there is more to be done at once.
    pub(super) fn commit_if_due(&mut self) -> Result<bool, JobError> {
        let Some(keeping) = &mut self.keeping else { return Ok(false) };
        let now = Mark { time: self.config.clock.monotonic(), rows: self.records, bytes: self.bytes };
        if keeping.commits.take_overdue(now) {
            self.shared.live.lock().commit.delayed += 1;
        }
        let quiet = keeping.commits.is_idle() && keeping.quiet_epoch.is_some_and(|at| now.time >= at);
        let hurried = keeping.commits.is_idle()
            && self.inflows.iter().any(|s| s.ended.is_none() && s.hurry.load(Ordering::Relaxed));
        if quiet || hurried || keeping.commits.is_due(now) {
            let progress = self.progress();
            if let Some(keeping) = &mut self.keeping
                && (quiet || hurried || keeping.seen != progress)
            {
                keeping.quiet_epoch = None;
                // Files that were begun before this epoch are old enough so long after it.
                keeping.asks_again = keeping.seen != progress;
                keeping.seen = progress;
                self.begin_epoch(now);
            }
        }
        self.align_sources_that_are_here();
        if let Some(epoch) = self.keeping.as_mut().and_then(|k| k.commits.take_aligned()) {
            self.check_ledger_under_way()?;
            self.note_aligned();
            if let Some(keeping) = &mut self.keeping {
                keeping.aligned_at = self.bytes;
            }
            #[cfg(seeded_bugs)]
            self.commit_before_flush(epoch)?;
            self.take_snapshot(epoch)?;
            self.sync_sinks(epoch)?;
        }
        self.take_events()?;
        self.sync_letter_box()?;
        let worked = self.commit_when_durable()?;
        self.note_published()?;
        Ok(worked)
    }

    /// Tells staged sinks to show what is committed.
    pub(super) fn publish(&mut self, epoch: u64) -> Result<(), JobError> {
        if self.keeping.as_ref().is_none_or(|k| k.manifest.is_none()) {
            return Ok(());
        }
        let mut waiting = vec![false; self.outflows.len()];
        for (k, waits) in waiting.iter_mut().enumerate() {
            match self.outflows.get_mut(k) {
                Some(Outflow { staged: true, place: SinkPlace::Here(stage), .. }) => stage.publish(epoch)?,
                Some(Outflow { staged: true, .. }) => {
                    *waits = true;
                    self.send(k, Message::Publish { epoch })?;
                }
                _ => {}
            }
        }
        if let Some(keeping) = &mut self.keeping {
            keeping.commits.publish(waiting);
        }
        Ok(())
    }

    /// When all sinks have shown their output, that goes on record.
    fn note_published(&mut self) -> Result<(), JobError> {
        if let Some(keeping) = &mut self.keeping
            && keeping.commits.take_published()
        {
            keeping.snapshots.published()?;
        }
        Ok(())
    }

    /// Read before the barriers: what comes between is new to the next epoch.
    fn progress(&self) -> Progress {
        let sum = |count: fn(&SourceCounters) -> u64| self.inflows.iter().map(|s| count(&s.counters)).sum();
        Progress {
            forwarded: sum(|c| c.forwarded.get()),
            rejected: sum(|c| c.rejected.get()),
            ended: self.inflows.iter().filter(|s| s.ended.is_some()).count(),
            timers: self.timers,
        }
    }

    pub(super) fn begin_epoch(&mut self, now: Mark) {
        let positions: Vec<_> = self
            .inflows
            .iter()
            .map(|s| match &s.place {
                _ if s.ended.is_some() => s.ended.clone(),
                SourcePlace::Here(stage) => Some(stage.position()),
                // What its thread has read ahead waits in its edge: nothing of it has been processed, and its barrier
                // could not arrive before the other sources end.
                _ if self.waits_for_others(s) => Some(s.start.clone()),
                _ => None,
            })
            .collect();
        let open: Vec<bool> = positions.iter().map(Option::is_none).collect();
        let Some(keeping) = &mut self.keeping else { return };
        keeping.began = Some(self.shared.stopwatch.instant());
        let epoch = keeping.commits.begin(positions, now);
        for (inflow, open) in self.inflows.iter().zip(open) {
            if let (SourcePlace::Away(thread), true) = (&inflow.place, open) {
                let _ = thread.control.send(Control::Barrier(epoch));
            }
        }
    }

    /// A source whose thread came home before it saw the barrier stands behind what was processed.
    pub(super) fn align_sources_that_are_here(&mut self) {
        let Some(keeping) = &mut self.keeping else { return };
        let epoch = keeping.commits.epoch();
        for (i, inflow) in self.inflows.iter().enumerate() {
            if let SourcePlace::Here(stage) = &inflow.place
                && keeping.commits.awaits(i)
            {
                keeping.commits.arrived(i, epoch, stage.position());
            }
        }
    }

    /// The part of the ledger that can be checked while other threads work.
    pub(super) fn check_ledger_under_way(&self) -> Result<(), JobError> {
        let ledger = self.ledger();
        let inline = self.inflows.iter().all(|s| matches!(s.place, SourcePlace::Here(_)))
            && self.outflows.iter().all(|s| matches!(s.place, SinkPlace::Here(_)));
        if inline { ledger.check() } else { ledger.check_processor() }.map_err(JobError::Ledger)
    }

    /// All barriers are there.
    fn note_aligned(&self) {
        let Some(began) = self.keeping.as_ref().and_then(|k| k.began) else { return };
        let took = self.shared.stopwatch.instant().saturating_duration_since(began).as_secs_f64();
        let mut view = self.shared.live.lock();
        view.commit.max_align_s = view.commit.max_align_s.max(took);
    }

    /// Whether what operators hold back stays in the state when a source is stopped before its end.
    pub(super) fn keeps_at_end(&self) -> bool {
        let drains = self.config.at_end == AtEnd::Drain || self.shared.stop_requested() == Some(Stop::Drain);
        // What is cut by parts is left to others.
        self.keeping.as_ref().is_some_and(|k| k.parts.is_some() || !drains)
    }

    /// The dead letter queue comes last, when all letters of the epoch have been posted.
    pub(super) fn sync_letter_box(&mut self) -> Result<(), JobError> {
        let (Some(k), Some(keeping)) = (self.letter_box, &mut self.keeping) else { return Ok(()) };
        if keeping.letters_asked || !keeping.commits.awaits_only(k) {
            return Ok(());
        }
        keeping.letters_asked = true;
        let epoch = keeping.commits.epoch();
        #[cfg(seeded_bugs)]
        if crate::record::seeded::is(crate::record::seeded::Bug::LostDeadLetter)
            && let Some(position) = keeping.before.get(k).cloned()
        {
            keeping.commits.durable(k, epoch, position);
            return Ok(());
        }
        self.sync_sink(k, epoch)?;
        let letters = std::mem::take(&mut self.later_letters);
        self.post_now(letters)
    }

    pub(super) fn sync_sinks(&mut self, epoch: u64) -> Result<(), JobError> {
        for k in 0..self.outflows.len() {
            if Some(k) != self.letter_box {
                self.sync_sink(k, epoch)?;
            }
        }
        Ok(())
    }

    pub(super) fn sync_sink(&mut self, k: usize, epoch: u64) -> Result<(), JobError> {
        let Some(outflow) = self.outflows.get_mut(k) else { return Ok(()) };
        outflow.at_barrier = outflow.counters.sent.get();
        let SinkPlace::Here(stage) = &mut outflow.place else {
            return self.send(k, Message::Barrier { epoch, position: Position::default(), count: 0 });
        };
        let position = stage.sync(epoch)?;
        let letters = std::mem::take(&mut stage.letters);
        // They belong to the epoch under way, and the queue of dead letters is asked last.
        self.post_now(letters)?;
        if let Some(keeping) = &mut self.keeping {
            keeping.commits.durable(k, epoch, position);
        }
        Ok(())
    }

    /// Before the first record: a job that fails before its first commit goes on from here, so that its files are cut
    /// back, also those that it appends to.
    pub(in crate::job) fn commit_start(&mut self) -> Result<(), JobError> {
        let mut sinks = Vec::with_capacity(self.outflows.len());
        for outflow in &mut self.outflows {
            sinks.push(match &mut outflow.place {
                SinkPlace::Here(stage) => stage.sync(0)?,
                _ => Position::default(),
            });
        }
        let sources: Vec<Position> = self.inflows.iter().map(|s| s.start.clone()).collect();
        let saved = self.save_at_once(0, &sources, &sinks, false)?;
        let epoch = Epoch { number: 0, sources, sinks };
        self.write_commit(saved, &epoch, false)?;
        self.publish(0)?;
        self.note_published()
    }

    /// The commit point of an epoch whose snapshot is durable.
    pub(super) fn write_commit(
        &mut self,
        saved: Saved,
        epoch: &Epoch,
        finished: bool,
    ) -> Result<(), JobError> {
        let Some(keeping) = &mut self.keeping else { return Ok(()) };
        let now = self.shared.stopwatch.instant();
        let began = keeping.began.take().unwrap_or(now);
        #[cfg(seeded_bugs)]
        {
            keeping.before = epoch.sinks.clone();
        }
        {
            let mut view = self.shared.live.lock();
            view.committed_at = Some(now);
            let commit = &mut view.commit;
            (commit.epoch, commit.bytes) = (epoch.number, saved.bytes);
            commit.last_s = now.saturating_duration_since(began).as_secs_f64();
            commit.max_s = commit.max_s.max(commit.last_s);
        }
        #[cfg(seeded_bugs)]
        let decided_late = crate::record::seeded::is(crate::record::seeded::Bug::NotedBeforeDecided);
        #[cfg(not(seeded_bugs))]
        let decided_late = false;
        if !decided_late {
            keeping.lead(epoch)?;
        }
        if !keeping.commits_with_snapshot()
            && let Some(manifest) = keeping.manifest.clone()
        {
            let commit = self.record_of(epoch.number, &epoch.sources, &epoch.sinks, finished);
            manifest.lock().commit(commit).map_err(|e| JobError::State(e.to_string()))?;
        }
        if decided_late && let Some(keeping) = &mut self.keeping {
            keeping.lead(epoch)?;
        }
        self.note_stall(now);
        Ok(())
    }

    /// What the MANIFEST says of an epoch.
    pub(super) fn record_of(
        &self,
        epoch: u64,
        sources: &[Position],
        sinks: &[Position],
        finished: bool,
    ) -> Commit {
        Commit {
            epoch,
            finished,
            sources: self.inflows.iter().map(|s| s.name.clone()).zip(sources.iter().cloned()).collect(),
            sinks: self.outflows.iter().map(|s| s.name.clone()).zip(sinks.iter().cloned()).collect(),
        }
    }

    /// The commit point, then the sources' own commits.
    pub(super) fn save(&mut self, saved: Saved, epoch: &Epoch, finished: bool) -> Result<(), JobError> {
        self.write_commit(saved, epoch, finished)?;
        self.shared.commits.add(1);
        self.shared.live.lock().positions = epoch.sources.iter().map(ToString::to_string).collect();
        self.tell_sources(&epoch.sources);
        self.publish(epoch.number)
    }

    pub(super) fn tell_sources(&mut self, positions: &[Position]) {
        for (inflow, position) in self.inflows.iter_mut().zip(positions) {
            match &mut inflow.place {
                SourcePlace::Here(stage) => stage.commit(position),
                SourcePlace::Away(thread) => {
                    let _ = thread.control.send(Control::Commit(position.clone()));
                }
                SourcePlace::Nowhere => {}
            }
        }
    }

    /// Everything was read and processed: end the sinks, check the ledger, commit.
    pub(super) fn finish(&mut self) -> Result<(), JobError> {
        let order: Vec<usize> =
            (0..self.outflows.len()).filter(|k| Some(*k) != self.letter_box).chain(self.letter_box).collect();
        let finished = self.natural_end || (!self.keeps_at_end() && self.holds_rows);
        // A sink that is to go on after a restart gets no footer.
        let whole = finished || self.keeping.is_none();
        let mut positions = vec![Position::default(); self.outflows.len()];
        let epoch = self.keeping.as_ref().map_or(0, |k| k.commits.epoch() + 1);
        for k in order {
            self.drain_sink(k)?;
            let Some(Outflow { place: SinkPlace::Here(stage), .. }) = self.outflows.get_mut(k) else {
                continue;
            };
            if whole {
                stage.finish()?;
            }
            if self.keeping.is_some()
                && let Some(slot) = positions.get_mut(k)
            {
                *slot = stage.sync(epoch)?;
            }
            let letters = std::mem::take(&mut stage.letters);
            self.post_now(letters)?;
            self.take_events()?;
        }
        self.ledger().check().map_err(JobError::Ledger)?;
        if whole {
            let waiting = self.core.lock().rows_waiting();
            expect_equal("the merge of sources", "rows that wait at the end = 0", waiting, 0)
                .map_err(JobError::Ledger)?;
        }
        if let Some(limit) = self.budget.verdict() {
            return Err(JobError::Budget { limit, last: "see the dead letters or the log".into() });
        }
        if self.keeping.is_some() {
            let sources: Vec<Position> =
                self.inflows.iter().map(|s| s.ended.clone().unwrap_or_default()).collect();
            let saved = self.save_at_once(epoch, &sources, &positions, finished)?;
            self.save(saved, &Epoch { number: epoch, sources, sinks: positions }, finished)?;
            self.note_published()?;
        }
        self.tell_of_an_early_end(finished);
        self.done = true;
        Ok(())
    }

    /// A stop before the end of the input may have emitted what more input would have changed.
    fn tell_of_an_early_end(&self, finished: bool) {
        if self.natural_end || !self.holds_rows || self.keeps_at_end() {
            return;
        }
        let rows = self.core.lock().produced() - self.produced;
        if rows == 0 {
            return;
        }
        let name = &self.config.name;
        match finished && self.keeping.is_some() {
            true => log::info!(
                "job {name}: drained: {rows} rows of open windows and groups were emitted; it is finished"
            ),
            false => log::warn!(
                "job {name}: it keeps no state, so {rows} rows of open windows and groups were emitted as they stood; with \
                 --state DIR it would go on from there"
            ),
        }
    }

    /// The ledger now; it balances when nothing is in flight.
    pub(in crate::job) fn ledger(&self) -> Ledger {
        let core = self.core.lock();
        Ledger {
            sources: self
                .inflows
                .iter()
                .enumerate()
                .map(|(i, s)| SourceEntry {
                    name: format!("source {}", s.name),
                    decoded: s.counters.decoded.get(),
                    forwarded: s.counters.forwarded.get(),
                    unread: 0,
                    rejected: s.counters.rejected.get(),
                    dead_lettered: s.counters.dead_lettered.get(),
                    skipped: s.counters.skipped.get(),
                    arrived: core.inlets.get(i).map_or(0, |n| n.arrived),
                })
                .collect(),
            nodes: core.entries(),
            sinks: self
                .outflows
                .iter()
                .enumerate()
                .filter(|(k, _)| Some(*k) != self.letter_box)
                .map(|(k, s)| SinkEntry {
                    name: format!("sink {}", s.name),
                    routed: core.routed.get(k).copied().unwrap_or(0),
                    sent: s.counters.sent.get(),
                    received: s.counters.received.get(),
                    written: s.counters.written.get(),
                    rejected: s.counters.rejected.get(),
                    dead_lettered: s.counters.dead_lettered.get(),
                    skipped: s.counters.skipped.get(),
                })
                .collect(),
            letters_made: self.letters_made,
            letters_written: self
                .letter_box
                .and_then(|k| self.outflows.get(k))
                .map_or(0, |s| s.counters.written.get()),
        }
    }
}

impl Keeping {
    /// Whether whoever writes the snapshot also writes the commit: what else decides comes before that.
    pub(super) fn commits_with_snapshot(&self) -> bool {
        #[cfg(seeded_bugs)]
        if crate::record::seeded::any() {
            return false;
        }
        self.manifest.is_some() && self.leader.is_none()
    }

    /// The commit point of a job for which another system decides. The first epoch begins before anything was written.
    fn lead(&mut self, epoch: &Epoch) -> Result<(), JobError> {
        match &mut self.leader {
            Some(leader) if epoch.number > 0 => {
                let kept = self.parts.as_mut().map(std::mem::take).unwrap_or_default();
                let done = leader.keep(kept).and_then(|()| leader.commit(epoch.number, &epoch.sources));
                done.map_err(|e| JobError::io(format!("commit of epoch {}", epoch.number), e))
            }
            _ => Ok(()),
        }
    }
}
