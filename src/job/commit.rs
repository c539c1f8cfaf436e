//! Epochs: barriers, what has been acknowledged, and the commit itself.
//!
//! A pure state machine; the driver feeds it and carries out what it says. Order, always: outputs durable → state durable →
//! source commit. One epoch is under way at a time. A position is committed only after every sink has made durable what came before it.

use std::time::Duration;

use super::CommitInterval;
use crate::record::Position;

/// Where the current epoch stands.
#[derive(Debug, PartialEq)]
enum Phase {
    Idle,
    /// Waiting for the barrier of each source.
    Aligning {
        positions: Vec<Option<Position>>,
    },
    /// Waiting for each sink.
    Syncing {
        positions: Vec<Position>,
        sinks: Vec<Option<Position>>,
    },
    /// Waiting for the snapshot.
    Saving,
    /// Committed; waiting for sinks to publish it.
    Publishing {
        waiting: Vec<bool>,
    },
}

/// A finished epoch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Epoch {
    pub(super) number: u64,
    pub(super) sources: Vec<Position>,
    pub(super) sinks: Vec<Position>,
}

/// What commits are timed by: the clock, and what has been processed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) time: Duration,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// The commits of a job.
#[derive(Debug)]
pub(super) struct Commits {
    interval: CommitInterval,
    /// When the last epoch began.
    last: Mark,
    epoch: u64,
    phase: Phase,
    /// The time for the next epoch has passed.
    overdue: bool,
    sinks: usize,
}

impl Commits {
    /// Goes on after `epoch`.
    pub(super) fn new(interval: CommitInterval, epoch: u64, sinks: usize, now: Duration) -> Self {
        let last = Mark { time: now, ..Mark::default() };
        Self { interval, last, epoch, phase: Phase::Idle, overdue: false, sinks }
    }
    /// Whether it is time for a new epoch.
    pub(super) fn is_due(&self, now: Mark) -> bool {
        self.phase == Phase::Idle && self.has_passed(now)
    }
    fn has_passed(&self, now: Mark) -> bool {
        match self.interval {
            CommitInterval::Time(time) => now.time.saturating_sub(self.last.time) >= time,
            CommitInterval::Rows(rows) => now.rows.saturating_sub(self.last.rows) >= rows,
            CommitInterval::Bytes(bytes) => now.bytes.saturating_sub(self.last.bytes) >= bytes,
        }
    }
    /// The current or last epoch.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }
    /// Begins an epoch; `ended` sources have their last position already.
    pub(super) fn begin(&mut self, sources: Vec<Option<Position>>, now: Mark) -> u64 {
        self.epoch += 1;
        self.last = now;
        self.overdue = false;
        self.phase = Phase::Aligning { positions: sources };
        self.epoch
    }
    /// The barrier of a source arrived.
    pub(super) fn arrived(&mut self, source: usize, epoch: u64, position: Position) {
        if let Phase::Aligning { positions } = &mut self.phase
            && epoch == self.epoch
            && let Some(slot) = positions.get_mut(source)
        {
            slot.get_or_insert(position);
        }
    }
    /// Whether a source must not be read on because its barrier has arrived and others' have not.
    pub(super) fn holds(&self, source: usize) -> bool {
        matches!(&self.phase, Phase::Aligning { positions } if positions.get(source).is_some_and(Option::is_some))
    }
    /// Whether the epoch waits for the barrier of that source.
    pub(super) fn awaits(&self, source: usize) -> bool {
        matches!(&self.phase, Phase::Aligning { positions } if positions.get(source).is_some_and(Option::is_none))
    }
    /// Whether sinks have been asked to make the epoch durable and not all have answered.
    pub(super) fn is_syncing(&self) -> bool {
        matches!(self.phase, Phase::Syncing { .. })
    }
    /// Whether all barriers have arrived and the epoch is under way still.
    pub(super) fn is_behind_barriers(&self) -> bool {
        !matches!(self.phase, Phase::Idle | Phase::Aligning { .. })
    }
    /// Whether what comes from that sink now belongs to the epoch under way.
    pub(super) fn is_before_barrier(&self, sink: usize) -> bool {
        matches!(&self.phase, Phase::Syncing { sinks, .. } if sinks.get(sink).is_some_and(Option::is_none))
    }
    /// Whether every sink but `last` has made the epoch durable.
    pub(super) fn awaits_only(&self, last: usize) -> bool {
        matches!(&self.phase, Phase::Syncing { sinks, .. }
            if sinks.iter().enumerate().all(|(k, s)| s.is_some() != (k == last)))
    }
    /// Once: all barriers are there, so the sinks are to make the epoch durable.
    pub(super) fn take_aligned(&mut self) -> Option<u64> {
        let Phase::Aligning { positions } = &self.phase else { return None };
        let positions = positions.iter().cloned().collect::<Option<Vec<_>>>()?;
        self.phase = Phase::Syncing { positions, sinks: vec![None; self.sinks] };
        Some(self.epoch)
    }
    /// A sink made the epoch durable.
    pub(super) fn durable(&mut self, sink: usize, epoch: u64, position: Position) {
        if let Phase::Syncing { sinks, .. } = &mut self.phase
            && epoch == self.epoch
            && let Some(slot) = sinks.get_mut(sink)
        {
            *slot = Some(position);
        }
    }
    /// Once: the output is durable, so the snapshot may become so.
    pub(super) fn take_complete(&mut self) -> Option<Epoch> {
        let Phase::Syncing { positions, sinks } = &mut self.phase else { return None };
        let sinks = sinks.iter().cloned().collect::<Option<Vec<_>>>()?;
        let sources = std::mem::take(positions);
        self.phase = Phase::Saving;
        Some(Epoch { number: self.epoch, sources, sinks })
    }
    /// The snapshot is durable.
    pub(super) fn saved(&mut self) {
        if self.phase == Phase::Saving {
            self.phase = Phase::Idle;
        }
    }
    /// Once an epoch: it is under way still, and it would be time for the next.
    pub(super) fn take_overdue(&mut self, now: Mark) -> bool {
        let overdue = self.phase != Phase::Idle && !self.overdue && self.has_passed(now);
        self.overdue |= overdue;
        overdue
    }
    /// The epoch is committed, and those sinks are to publish it.
    pub(super) fn publish(&mut self, waiting: Vec<bool>) {
        self.phase = Phase::Publishing { waiting };
    }
    /// A sink has published the epoch.
    pub(super) fn published(&mut self, sink: usize, epoch: u64) {
        if let Phase::Publishing { waiting } = &mut self.phase
            && epoch == self.epoch
            && let Some(slot) = waiting.get_mut(sink)
        {
            *slot = false;
        }
    }
    /// Once: every sink has published the epoch.
    pub(super) fn take_published(&mut self) -> bool {
        let done = matches!(&self.phase, Phase::Publishing { waiting } if !waiting.contains(&true));
        if done {
            self.phase = Phase::Idle;
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u8) -> Position {
        Position::new([n], n.to_string())
    }

    #[test]
    fn nothing_is_committed_before_every_barrier_and_every_sink() {
        let ms = |n| Mark { time: Duration::from_millis(n), ..Mark::default() };
        let second = CommitInterval::Time(Duration::from_secs(1));
        let mut c = Commits::new(second, 4, 2, Duration::ZERO);
        assert!(!c.is_due(ms(999)) && c.is_due(ms(1000)));
        let epoch = c.begin(vec![None, None], ms(1000));
        assert_eq!(epoch, 5);
        assert!(!c.is_due(ms(10_000)), "one epoch at a time");
        c.arrived(0, 5, at(1));
        c.arrived(0, 5, at(9));
        assert!(c.holds(0) && !c.holds(1));
        assert_eq!(c.take_aligned(), None);
        c.arrived(1, 4, at(7));
        assert_eq!(c.take_aligned(), None, "a barrier of another epoch does not count");
        c.arrived(1, 5, at(2));
        assert_eq!(c.take_aligned(), Some(5));
        assert_eq!(c.take_aligned(), None);
        c.durable(1, 5, at(20));
        assert_eq!(c.take_complete(), None);
        c.durable(0, 4, at(3));
        assert_eq!(c.take_complete(), None);
        c.durable(0, 5, at(10));
        assert_eq!(
            c.take_complete(),
            Some(Epoch { number: 5, sources: vec![at(1), at(2)], sinks: vec![at(10), at(20)] })
        );
        assert!(!c.is_idle() && !c.is_due(ms(10_000)), "its snapshot is not durable yet");
        assert!(!c.take_overdue(ms(1999)) && c.take_overdue(ms(2000)) && !c.take_overdue(ms(9000)));
        c.saved();
        assert!(c.is_idle() && c.is_due(ms(10_000)));
    }

    #[test]
    fn an_epoch_is_over_when_every_sink_has_published_it() {
        let mut c = Commits::new(CommitInterval::Rows(1), 0, 2, Duration::ZERO);
        c.begin(Vec::new(), Mark::default());
        c.publish(vec![true, true]);
        c.published(1, 1);
        c.published(0, 7);
        assert!(!c.take_published() && !c.is_idle());
        c.published(0, 1);
        assert!(c.take_published() && c.is_idle() && !c.take_published());
    }

    #[test]
    fn an_interval_counts_time_rows_or_bytes_since_the_last_epoch_began() {
        let at = |time, rows, bytes| Mark { time: Duration::from_millis(time), rows, bytes };
        let due = |interval, now| {
            let mut c = Commits::new(interval, 0, 0, Duration::ZERO);
            c.begin(Vec::new(), at(100, 1000, 5000));
            assert_eq!(c.take_aligned(), Some(1));
            assert!(c.take_complete().is_some());
            c.saved();
            c.is_due(now)
        };
        let time = CommitInterval::Time(Duration::from_millis(50));
        assert!(!due(time, at(149, 9999, 99_999)) && due(time, at(150, 1000, 5000)));
        let rows = CommitInterval::Rows(20);
        assert!(!due(rows, at(9999, 1019, 99_999)) && due(rows, at(100, 1020, 5000)));
        let bytes = CommitInterval::Bytes(300);
        assert!(!due(bytes, at(9999, 9999, 5299)) && due(bytes, at(100, 1000, 5300)));
    }
}
