//! Commits that come at the wrong time, for the test of the tests.

use super::*;
use crate::record::seeded::{Bug, is};
use crate::state::{Chain, FileId};

impl Driver {
    /// A checkpoint with the new positions of the sources and the old ones of the sinks.
    pub(in crate::job) fn commit_before_flush(&mut self, epoch: u64) -> Result<(), JobError> {
        if !is(Bug::CommitBeforeFlush) {
            return Ok(());
        }
        let sources = self.positions_now();
        let Some(keeping) = &self.keeping else { return Ok(()) };
        let sinks = keeping.before.clone();
        let saved = self.save_at_once(epoch, &sources, &sinks, false)?;
        self.write_commit(saved, &Epoch { number: epoch, sources, sinks }, false)
    }

    /// Commits whatever was read, though a part of it got lost.
    pub(in crate::job) fn commit_after_panic(&mut self) -> Result<(), JobError> {
        if !is(Bug::CommitAfterPanic) {
            return Ok(());
        }
        let sources = self.positions_now();
        let mut sinks = Vec::new();
        for outflow in &mut self.outflows {
            sinks.push(match &mut outflow.place {
                SinkPlace::Here(stage) => stage.sync_regardless()?,
                _ => Position::default(),
            });
        }
        let epoch = self.keeping.as_ref().map_or(0, |k| k.commits.epoch() + 1);
        let saved = self.save_at_once(epoch, &sources, &sinks, false)?;
        self.write_commit(saved, &Epoch { number: epoch, sources, sinks }, false)
    }

    /// Sources are told of an epoch before its snapshot is written.
    pub(in crate::job) fn snapshot_after_commit(&mut self) {
        if is(Bug::SnapshotAfterCommit)
            && let Some(saving) = self.keeping.as_ref().and_then(|k| k.saving.as_ref())
        {
            self.tell_sources(&saving.epoch.sources.clone());
        }
    }

    /// Commits an epoch whose snapshot is not durable yet.
    pub(in crate::job) fn commit_before_durable(&mut self) -> Result<bool, JobError> {
        let saving = self.keeping.as_ref().and_then(|k| k.saving.as_ref());
        let Some(epoch) = saving.filter(|_| is(Bug::CommitBeforeDurable)).map(|s| s.epoch.clone()) else {
            return Ok(false);
        };
        let saved = Saved { file: FileId::default(), bytes: 0, chain: Chain::default() };
        self.write_commit(saved, &epoch, false)?;
        self.tell_sources(&epoch.sources);
        Ok(true)
    }

    pub(in crate::job) fn is_committed_already(&self) -> bool {
        is(Bug::CommitBeforeDurable)
    }

    fn positions_now(&self) -> Vec<Position> {
        let position = |s: &Inflow| match &s.place {
            SourcePlace::Here(stage) => stage.position(),
            _ => s.ended.clone().unwrap_or_default(),
        };
        self.inflows.iter().map(position).collect()
    }
}
