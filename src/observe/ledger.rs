//! The loss ledger: every record is accounted for at every stage.
//!
//! `in = forwarded + filtered + absorbed + late + rejected` and `emitted = forwarded + fanned out + produced` for each
//! operator, and what one stage sent is what the next one received. Every term comes from a counter at its own site; none is the difference of two others.

use std::fmt;

/// A source's line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SourceEntry {
    pub name: String,
    pub decoded: u64,
    pub forwarded: u64,
    pub unread: u64,
    pub rejected: u64,
    pub dead_lettered: u64,
    pub skipped: u64,
    /// Records that the processor took from it.
    pub arrived: u64,
}

/// An operator's line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct NodeEntry {
    pub name: String,
    /// Records that were routed to it.
    pub routed: u64,
    pub input: u64,
    pub forwarded: u64,
    pub fanned_out: u64,
    pub filtered: u64,
    pub absorbed: u64,
    /// Records behind the watermark that counted in no window.
    pub late: u64,
    pub rejected: u64,
    pub dead_lettered: u64,
    pub skipped: u64,
    /// Late records that became dead letters.
    pub late_letters: u64,
    /// Records made from state: by a window that fires.
    pub produced: u64,
    /// Records in the batches that it emitted.
    pub emitted: u64,
    /// Groups that expired by TTL: their records were absorbed before.
    pub expired: u64,
}

/// A sink's line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SinkEntry {
    pub name: String,
    /// Records that were routed to it.
    pub routed: u64,
    pub sent: u64,
    pub received: u64,
    pub written: u64,
    pub rejected: u64,
    pub dead_lettered: u64,
    pub skipped: u64,
}

/// All lines of a job, taken when nothing is in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Sources.
    pub sources: Vec<SourceEntry>,
    /// Operators.
    pub nodes: Vec<NodeEntry>,
    /// Sinks, without the dead letter queue.
    pub sinks: Vec<SinkEntry>,
    /// Dead letters that the stages made.
    pub letters_made: u64,
    /// Dead letters that the queue's writer took.
    pub letters_written: u64,
}

/// A record is missing, or there is one too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerError {
    /// The stage whose sum is wrong.
    pub stage: String,
    /// The equation and its two sides.
    pub equation: &'static str,
    /// Left side.
    pub left: u64,
    /// Right side.
    pub right: u64,
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stage, equation, left, right } = self;
        write!(
            f,
            "records are unaccounted for at {stage}: {equation}, but {left} ≠ {right}; nothing was committed"
        )
    }
}
impl std::error::Error for LedgerError {}

/// One equation of the ledger.
///
/// # Errors
/// If the sides differ.
pub fn expect_equal(stage: &str, equation: &'static str, left: u64, right: u64) -> Result<(), LedgerError> {
    if left == right { Ok(()) } else { Err(LedgerError { stage: stage.to_owned(), equation, left, right }) }
}

impl Ledger {
    /// Checks what the processor alone knows: that holds between any two batches, whatever other threads are doing.
    ///
    /// # Errors
    /// The first equation that does not hold.
    pub fn check_processor(&self) -> Result<(), LedgerError> {
        self.nodes.iter().try_for_each(check_node)?;
        self.sinks.iter().try_for_each(|s| expect_equal(&s.name, "routed to it = sent", s.routed, s.sent))
    }

    /// Checks every equation.
    ///
    /// # Errors
    /// The first that does not hold, from the sources down.
    pub fn check(&self) -> Result<(), LedgerError> {
        let equal = expect_equal;
        for s in &self.sources {
            equal(&s.name, "decoded = forwarded + unread", s.decoded, s.forwarded + s.unread)?;
            equal(&s.name, "forwarded = arrived at the processor", s.forwarded, s.arrived)?;
            equal(&s.name, "rejected = dead letters + skipped", s.rejected, s.dead_lettered + s.skipped)?;
        }
        self.nodes.iter().try_for_each(check_node)?;
        for s in &self.sinks {
            equal(&s.name, "routed to it = sent", s.routed, s.sent)?;
            equal(&s.name, "sent = received", s.sent, s.received)?;
            equal(&s.name, "received = written + rejected", s.received, s.written + s.rejected)?;
            equal(&s.name, "rejected = dead letters + skipped", s.rejected, s.dead_lettered + s.skipped)?;
        }
        let made = self.sources.iter().map(|s| s.dead_lettered).sum::<u64>()
            + self.nodes.iter().map(|n| n.dead_lettered + n.late_letters).sum::<u64>()
            + self.sinks.iter().map(|s| s.dead_lettered).sum::<u64>();
        equal("the dead letter queue", "records sent there = letters made", made, self.letters_made)?;
        equal(
            "the dead letter queue",
            "letters made = letters written",
            self.letters_made,
            self.letters_written,
        )
    }
}

fn check_node(n: &NodeEntry) -> Result<(), LedgerError> {
    let equal = |equation, left, right| expect_equal(&n.name, equation, left, right);
    equal("routed to it = taken in", n.routed, n.input)?;
    equal(
        "in = forwarded + filtered + absorbed + late + rejected",
        n.input,
        n.forwarded + n.filtered + n.absorbed + n.late + n.rejected,
    )?;
    equal("emitted = forwarded + fanned out + produced", n.emitted, n.forwarded + n.fanned_out + n.produced)?;
    if n.late_letters > 0 {
        equal("late = dead letters of late rows", n.late, n.late_letters)?;
    }
    equal("rejected = dead letters + skipped", n.rejected, n.dead_lettered + n.skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Ledger {
        Ledger {
            sources: vec![SourceEntry {
                name: "in".into(),
                decoded: 100,
                forwarded: 90,
                unread: 10,
                rejected: 5,
                dead_lettered: 3,
                skipped: 2,
                arrived: 90,
            }],
            nodes: vec![NodeEntry {
                name: "filter".into(),
                routed: 90,
                input: 90,
                forwarded: 50,
                fanned_out: 7,
                filtered: 30,
                absorbed: 4,
                late: 2,
                rejected: 4,
                dead_lettered: 4,
                skipped: 0,
                late_letters: 2,
                produced: 3,
                emitted: 60,
                expired: 1,
            }],
            sinks: vec![SinkEntry {
                name: "out".into(),
                routed: 60,
                sent: 60,
                received: 60,
                written: 58,
                rejected: 2,
                dead_lettered: 1,
                skipped: 1,
            }],
            letters_made: 10,
            letters_written: 10,
        }
    }

    #[test]
    fn a_record_lost_at_any_site_is_found() {
        assert_eq!(sound().check(), Ok(()));
        type Loss = fn(&mut Ledger);
        let sites: Vec<(&str, Loss)> = vec![
            ("decoded", |l| l.sources[0].decoded += 1),
            ("forwarded", |l| l.sources[0].forwarded -= 1),
            ("unread", |l| l.sources[0].unread -= 1),
            ("source rejected", |l| l.sources[0].rejected += 1),
            ("arrived", |l| l.sources[0].arrived -= 1),
            ("routed", |l| l.nodes[0].routed += 1),
            ("input", |l| l.nodes[0].input -= 1),
            ("node forwarded", |l| l.nodes[0].forwarded -= 1),
            ("filtered", |l| l.nodes[0].filtered -= 1),
            ("absorbed", |l| l.nodes[0].absorbed -= 1),
            ("late", |l| l.nodes[0].late -= 1),
            ("late letter", |l| l.nodes[0].late_letters -= 1),
            ("produced", |l| l.nodes[0].produced -= 1),
            ("node rejected", |l| l.nodes[0].rejected -= 1),
            ("emitted", |l| l.nodes[0].emitted -= 1),
            ("routed to sink", |l| l.sinks[0].routed += 1),
            ("sent", |l| l.sinks[0].sent -= 1),
            ("received", |l| l.sinks[0].received -= 1),
            ("written", |l| l.sinks[0].written -= 1),
            ("sink skipped", |l| l.sinks[0].skipped -= 1),
            ("letter made", |l| l.letters_made -= 1),
            ("letter written", |l| l.letters_written -= 1),
        ];
        for (site, lose) in sites {
            let mut ledger = sound();
            lose(&mut ledger);
            assert!(ledger.check().is_err(), "a loss at '{site}' went unnoticed");
        }
    }
}
