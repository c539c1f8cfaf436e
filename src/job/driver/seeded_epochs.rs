//! Commits that come at the wrong time, for the test of the tests.

use super::*;
use crate::record::seeded::{Bug, is};

impl Driver {
    /// A checkpoint with the new positions of the sources and the old ones of the sinks.
    pub(super) fn commit_before_flush(&mut self, epoch: u64) -> Result<(), JobError> {
        if !is(Bug::CommitBeforeFlush) {
            return Ok(());
        }
        let sources: Vec<Position> = self.positions_now();
        let Some(keeping) = &self.keeping else { return Ok(()) };
        let (sinks, operators) = (keeping.before.clone(), keeping.operators.clone());
        self.write_checkpoint(epoch, &sources, &sinks, false)?;
        if let Some(keeping) = &mut self.keeping {
            keeping.operators = operators;
        }
        Ok(())
    }

    /// Commits whatever was read, though a part of it got lost.
    pub(in crate::job) fn commit_after_panic(&mut self) -> Result<(), JobError> {
        if !is(Bug::CommitAfterPanic) {
            return Ok(());
        }
        self.take_snapshot()?;
        let sources = self.positions_now();
        let mut sinks = Vec::new();
        for outflow in &mut self.outflows {
            sinks.push(match &mut outflow.place {
                SinkPlace::Here(stage) => stage.sync_regardless()?,
                _ => Position::default(),
            });
        }
        let epoch = self.keeping.as_ref().map_or(0, |k| k.commits.epoch() + 1);
        self.write_checkpoint(epoch, &sources, &sinks, false)
    }

    fn positions_now(&self) -> Vec<Position> {
        let position = |s: &Inflow| match &s.place {
            SourcePlace::Here(stage) => stage.position(),
            _ => s.ended.clone().unwrap_or_default(),
        };
        self.inflows.iter().map(position).collect()
    }
}
