//! `execution = 'auto'`: which stages get a thread of their own.
//!
//! A stage that is moved to a thread overlaps with the others but pays for every hand-over: a wake-up per batch, and the cache
//! lines of each record, which cost five times as much when the two cores share no cache. So a forecast from the stages' measured
//! costs only says which split is worth a try; whether it stays is decided by the speed measured before and after. A split that
//! does not bring enough is taken back and tried again later and ever more rarely. What other programs take of the cores is left out on
//! both sides, as far as the system tells. Pure: time and measurements come in as arguments.

use std::time::Duration;

use crate::record::CoreTime;

/// Cost of a hand-over at best: the cache lines of each record …
const HANDOVER_PER_RECORD: f64 = 4e-9;
/// … and a wake-up per batch. Batches that follow each other closely share wake-ups (`edge.rs`).
const HANDOVER_PER_BATCH: f64 = 4e-6;
const HANDOVER_PER_TINY_BATCH: f64 = 5e-7;
/// A thread that is woken is queued for so long at most if nobody else wants its core.
const WAKE_UP: f64 = 5e-5;
/// Work that divides itself takes so much more than its share of it.
const DIVIDED: f64 = 1.1;
/// A split must promise at least this much to be tried: where a source waits inside of its calls, that may be for input which would
/// come no faster …
const WORTH_A_TRY: f64 = 1.15;
/// … and this much once a job has run for so long whose sources hardly wait: a forecast knows nothing of how far apart the cores are,
/// and what is tried for nothing costs little then. Not where helpers decode ahead: a split takes them away, and what they would do is a guess.
const WORTH_EXPLORING: f64 = 1.05;
const EXPLORES_AFTER: Duration = Duration::from_millis(20);
/// Sources hardly wait that wait for at most this share of the work.
const HARDLY: f64 = 0.05;
/// … and bring at least this much to be kept.
const WORTH_KEEPING: f64 = 1.02;
/// What comes first fills pools and caches, and is not judged.
const WARM_UP: Duration = Duration::from_millis(1);
/// Measurements are judged when they cover that much time …
const WINDOW: Duration = Duration::from_millis(10);
/// … and that many batches;
const BATCHES: u64 = 8;
/// where a decision is due – at the start, in the first windows of a split, after one was taken back – that much …
const SHORT_WINDOW: Duration = Duration::from_millis(3);
/// … and that many.
const FEW_BATCHES: u64 = 4;
/// The first short window decides only about a job that worked at least this share of it.
const BUSY: f64 = 0.8;
/// First windows of a split: what it is like at worst shows in them.
const TRIAL: u32 = 3;
/// So many windows in a row must be slower than inline before a split is taken back; fewer if it is much slower.
const PATIENCE: u32 = 3;
/// First time to wait after a split that was taken back; doubles …
const SULK: Duration = Duration::from_millis(100);
/// … so many times at most. A try costs some ten milliseconds at less than full speed.
const DOUBLINGS: u32 = 8;
/// Windows after which a split has proved itself: the next failure is the first again.
const PROVED: u32 = 100;

/// What the stages cost since the last look, in seconds of their own work.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Costs {
    /// Per source, with what helpers did for it and what its reader waited inside of its calls, which makes the others wait.
    pub(super) sources: Vec<f64>,
    /// What of it the readers waited.
    pub(super) waits: Vec<f64>,
    /// What of it helpers did while everything was inline: they decode ahead and need no thread of the source's.
    pub(super) helped: f64,
    /// Which sources helpers have decoded ahead for: their work divides itself among all threads that have nothing else to do.
    pub(super) divisible: Vec<bool>,
    /// The processor.
    pub(super) process: f64,
    /// Per sink.
    pub(super) sinks: Vec<f64>,
    /// What threads of the pool did for operators: on one thread it would be the processor's work.
    pub(super) shared: f64,
    /// Records that the processor took.
    pub(super) records: u64,
    /// Batches that the processor took.
    pub(super) batches: u64,
    /// Time in which a source had no input: the job was as fast as its input, whatever its placement.
    pub(super) starved: f64,
    /// What each thread had of the machine; empty if the system does not tell.
    pub(super) threads: Vec<CoreTime>,
}

impl Costs {
    /// What came since an earlier look; without the threads' time.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let each = |a: &[f64], b: &[f64]| -> Vec<f64> {
            a.iter().enumerate().map(|(i, x)| x - b.get(i).copied().unwrap_or(0.0)).collect()
        };
        Self {
            sources: each(&self.sources, &earlier.sources),
            waits: each(&self.waits, &earlier.waits),
            helped: self.helped - earlier.helped,
            divisible: self.divisible.clone(),
            process: self.process - earlier.process,
            sinks: each(&self.sinks, &earlier.sinks),
            shared: self.shared - earlier.shared,
            records: self.records - earlier.records,
            batches: self.batches - earlier.batches,
            starved: self.starved - earlier.starved,
            threads: Vec::new(),
        }
    }
}

/// How long the window would have been had nobody else wanted the cores: what a thread was queued for is lost to the job, if not
/// because the thread was just woken. The job takes at least as long as its busiest thread. Threads that outnumber the cores stand in
/// each other's way, too: only what the job left of the cores can have gone to others.
fn undisturbed(wall: f64, threads: &[CoreTime], cores: f64) -> f64 {
    let queued = |t: &CoreTime| (t.queued.as_secs_f64() - t.turns as f64 * WAKE_UP).max(0.0);
    let ran = || threads.iter().map(|t| t.ran.as_secs_f64());
    let lost = threads.iter().map(queued).sum::<f64>().min(cores * wall - ran().sum::<f64>());
    ran().fold(wall - lost.max(0.0), f64::max).min(wall)
}

/// Which stages have threads of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) sources: Vec<bool>,
    pub(super) sinks: Vec<bool>,
}

impl Placement {
    pub(super) fn all(sources: usize, sinks: usize, away: bool) -> Self {
        Self { sources: vec![away; sources], sinks: vec![away; sinks] }
    }
    pub(super) fn threads(&self) -> usize {
        1 + self.sources.iter().chain(&self.sinks).filter(|a| **a).count()
    }
    pub(super) fn is_inline(&self) -> bool {
        self.threads() == 1
    }
    /// For people.
    pub(super) fn describe(&self) -> String {
        if self.is_inline() {
            return "inline".into();
        }
        let name = |kind: &str, list: &[bool]| {
            let at: Vec<_> =
                list.iter().enumerate().filter(|(_, a)| **a).map(|(i, _)| format!("{kind} {i}")).collect();
            at.join(", ")
        };
        let parts = [name("source", &self.sources), name("sink", &self.sinks)];
        let parts: Vec<_> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        format!("threads: {}", parts.join(", "))
    }
}

/// The measured work as it would be under other placements.
struct Forecast<'a> {
    costs: &'a Costs,
    /// Threads that may work at the same time.
    threads: usize,
    /// How many threads share an operator's work on a large batch now.
    lanes: usize,
}

impl<'a> Forecast<'a> {
    fn new(costs: &'a Costs, threads: usize, now: &Placement) -> Self {
        Self { costs, threads, lanes: lanes(threads, now) }
    }

    /// All of it on one thread.
    fn undivided(&self) -> f64 {
        let costs = self.costs;
        costs.process + costs.sources.iter().chain(&costs.sinks).sum::<f64>()
    }

    fn inline(&self) -> f64 {
        self.of(&Placement::all(self.costs.sources.len(), self.costs.sinks.len(), false))
    }

    /// Seconds that the slowest thread needs for the measured work under a placement.
    fn of(&self, placement: &Placement) -> f64 {
        let costs = self.costs;
        let work = costs.process + costs.sources.iter().chain(&costs.sinks).sum::<f64>();
        let batches = costs.batches as f64;
        let wake_ups = (work / 4.0).clamp(batches * HANDOVER_PER_TINY_BATCH, batches * HANDOVER_PER_BATCH);
        let handover = wake_ups + costs.records as f64 * HANDOVER_PER_RECORD;
        // A stage's thread is taken from those that share.
        let part = |lanes: usize| costs.shared / lanes as f64;
        let mut processor = costs.process + part(lanes(self.threads, placement)) - part(self.lanes);
        let mut slowest: f64 = 0.0;
        let mut divided = 0.0;
        let lanes = lanes(self.threads, placement) as f64;
        let divisible = costs.divisible.iter().copied().chain(std::iter::repeat(false));
        let sources = costs.sources.iter().zip(&placement.sources).zip(divisible);
        let sinks = costs.sinks.iter().zip(&placement.sinks).map(|stage| (stage, false));
        for ((cost, away), divisible) in sources.take(costs.sources.len()).chain(sinks) {
            match (*away, divisible) {
                (true, _) => {
                    let alone = if divisible { cost / lanes * DIVIDED } else { *cost };
                    slowest = slowest.max(alone.min(*cost) + handover / 2.0);
                    processor += handover / 2.0;
                }
                (false, true) => divided += cost,
                (false, false) => processor += cost,
            }
        }
        // Whoever waits for such a source decodes meanwhile: all are busy until everything is done.
        let together = ((processor + divided) / lanes * DIVIDED).min(processor + divided);
        slowest.max(processor).max(if divided > 0.0 { together } else { 0.0 })
    }

    /// The best placement, found greedily: the stage whose own thread helps most, then the next.
    fn best(&self) -> (Placement, f64) {
        let (sources, sinks) = (self.costs.sources.len(), self.costs.sinks.len());
        let mut chosen = Placement::all(sources, sinks, false);
        let mut time = self.of(&chosen);
        while chosen.threads() < self.threads {
            let candidates = (0..sources).map(|i| (true, i)).chain((0..sinks).map(|i| (false, i)));
            let mut better: Option<(Placement, f64)> = None;
            for (is_source, i) in candidates {
                let mut next = chosen.clone();
                let list = if is_source { &mut next.sources } else { &mut next.sinks };
                match list.get_mut(i) {
                    Some(away) if !*away => *away = true,
                    _ => continue,
                }
                let t = self.of(&next);
                if t < better.as_ref().map_or(time, |b| b.1) {
                    better = Some((next, t));
                }
            }
            match better {
                Some((next, t)) => (chosen, time) = (next, t),
                None => break,
            }
        }
        (chosen, time)
    }
}

/// How many threads a placement leaves to share an operator's work, the processor's included.
pub(super) fn lanes(threads: usize, placement: &Placement) -> usize {
    (threads + 1).saturating_sub(placement.threads()).max(1)
}

/// A source with a thread of its own that waits most of its time inside of its calls, with the share of it.
fn blocking(costs: &Costs, placement: &Placement) -> Option<(usize, f64)> {
    let shares = costs.waits.iter().zip(&costs.sources).map(|(wait, all)| wait / all.max(1e-9));
    let away = shares.zip(&placement.sources).enumerate().filter(|(_, (_, away))| **away);
    away.map(|(s, (share, _))| (s, share)).find(|(_, share)| *share > 0.5)
}

/// Watches a job and decides.
#[derive(Debug)]
pub(super) struct Autopilot {
    threads: usize,
    cores: f64,
    current: Placement,
    began: Duration,
    since: Duration,
    /// Seconds per record of the last inline window.
    inline_speed: Option<f64>,
    /// Nothing was judged yet.
    cold: bool,
    /// Windows since the split.
    settled: u32,
    /// Windows in a row in which the split was no faster than inline.
    slow: u32,
    /// Placement and best seconds per record of a split just taken back, to be held against the next inline window.
    rival: Option<(Placement, f64)>,
    /// Best seconds per record of the split under way since it was last faster than inline.
    best_split: f64,
    not_before: Duration,
    sulk: u32,
}

impl Autopilot {
    pub(super) fn new(sources: usize, sinks: usize, threads: usize, cores: usize, now: Duration) -> Self {
        Self {
            threads,
            cores: cores as f64,
            current: Placement::all(sources, sinks, false),
            began: now,
            since: now,
            inline_speed: None,
            cold: true,
            settled: 0,
            slow: 0,
            rival: None,
            best_split: f64::INFINITY,
            not_before: Duration::ZERO,
            sulk: 0,
        }
    }

    /// Starts a new window: after a decision was carried out.
    pub(super) fn restart(&mut self, now: Duration) {
        self.since = now;
    }

    /// Whether the measurements handed in at `now` were used up.
    pub(super) fn has_looked_at(&self, now: Duration) -> bool {
        self.since == now
    }

    /// Whether it is time to hand in measurements.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.threads > 1 && now.saturating_sub(self.since) >= self.window().0
    }

    /// How long a window is, and how many batches it needs.
    fn window(&self) -> (Duration, u64) {
        let inline = self.current.is_inline();
        match inline {
            true if self.cold => (WARM_UP, 1),
            true if self.inline_speed.is_none() || self.rival.is_some() => (SHORT_WINDOW, FEW_BATCHES),
            false if self.settled < TRIAL => (SHORT_WINDOW, FEW_BATCHES),
            _ => (WINDOW, BATCHES),
        }
    }

    /// Takes the measurements since the last look; a new placement with its reason, if one is better.
    pub(super) fn look(&mut self, now: Duration, costs: Costs) -> Option<(Placement, String)> {
        if costs.batches < self.window().1 || costs.records == 0 {
            return None;
        }
        if std::mem::take(&mut self.cold) {
            self.restart(now);
            return None;
        }
        let wall = now.saturating_sub(self.since).as_secs_f64();
        let wall = undisturbed(wall, &costs.threads, self.cores);
        let speed = wall / costs.records as f64;
        self.restart(now);
        if self.current.is_inline() {
            self.look_inline(now, &costs, wall, speed)
        } else {
            self.look_split(now, &costs, wall, speed)
        }
    }

    fn split(&mut self, next: Placement, reason: String) -> Option<(Placement, String)> {
        (self.settled, self.slow, self.best_split) = (0, 0, f64::INFINITY);
        self.current = next.clone();
        Some((next, reason))
    }

    fn look_inline(
        &mut self,
        now: Duration,
        costs: &Costs,
        wall: f64,
        speed: f64,
    ) -> Option<(Placement, String)> {
        let first = self.inline_speed.replace(speed).is_none();
        if let Some((split, split_speed)) = self.rival.take()
            && split_speed * WORTH_KEEPING < speed
        {
            // Not the threads were slow: the records have become dearer.
            let reason =
                format!("{} were {:.2} times as fast after all", split.describe(), speed / split_speed);
            self.sulk = self.sulk.saturating_sub(1);
            return self.split(split, reason);
        }
        let forecast = Forecast::new(costs, self.threads, &self.current);
        // With helpers it is what it could be: in the first windows they have hardly begun.
        let inline = match costs.divisible.contains(&true) {
            true => forecast.inline().min(forecast.undivided() - costs.helped),
            false => forecast.inline() - costs.helped,
        };
        let waits = costs.waits.iter().sum::<f64>();
        if first && inline - waits < BUSY * wall {
            // There is no hurry: a job that waits for its input is judged by a longer window.
            return None;
        }
        let (next, time) = forecast.best();
        let helped = costs.divisible.contains(&true);
        let explores =
            !helped && now.saturating_sub(self.began) >= EXPLORES_AFTER && waits <= HARDLY * inline;
        let enough = if explores { WORTH_EXPLORING } else { WORTH_A_TRY };
        if next.is_inline() || inline < time * enough || now < self.not_before {
            return None;
        }
        let mut reason = format!("{} promises {:.2} times the inline speed", next.describe(), inline / time);
        if let Some((s, share)) = blocking(costs, &next) {
            reason = format!(
                "source {s} waits {:.0} % of its time, when others can work: {reason}",
                share * 100.0
            );
        }
        self.split(next, reason)
    }

    fn look_split(
        &mut self,
        now: Duration,
        costs: &Costs,
        wall: f64,
        speed: f64,
    ) -> Option<(Placement, String)> {
        self.settled = self.settled.saturating_add(1);
        let starved = costs.starved > 0.1 * wall;
        let forecast = Forecast::new(costs, self.threads, &self.current);
        let inline = forecast.inline();
        // Waiting is no work, but on one thread it would hold up the others.
        let work = (inline - costs.waits.iter().sum::<f64>()).max(0.0) / costs.records as f64;
        if work * 1.05 < speed && inline < forecast.of(&self.current) * WORTH_KEEPING {
            let reason = format!(
                "the stages' work fell to {:.0} ns a record: hand-overs cost more than they bring",
                work * 1e9
            );
            return self.take_back(now, reason);
        }
        // The first window still fills channels and caches; one without enough input says nothing.
        if self.settled == 1 || starved {
            return None;
        }
        let measured = self.inline_speed.unwrap_or(f64::INFINITY);
        if speed * WORTH_KEEPING <= measured {
            (self.slow, self.best_split) = (0, f64::INFINITY);
            if self.settled > PROVED {
                self.sulk = 0;
            }
            return None;
        }
        self.slow += match speed / measured {
            much if much > 1.6 && self.settled <= TRIAL => PATIENCE,
            more if more > 1.3 => 2,
            _ => 1,
        };
        self.best_split = self.best_split.min(speed);
        if self.slow < PATIENCE {
            return None;
        }
        let brought = measured / self.best_split;
        if let Some((s, share)) = blocking(costs, &self.current) {
            // Inline may look slower still if its input comes still later: that would say nothing for threads.
            let percent = share * 100.0;
            let reason = format!(
                "source {s} waits {percent:.0} % of its time for its input: threads brought {brought:.2} times the inline speed"
            );
            return self.take_back(now, reason);
        }
        self.rival = Some((self.current.clone(), self.best_split));
        let reason = format!("threads brought {brought:.2} times the inline speed");
        self.take_back(now, reason)
    }

    fn take_back(&mut self, now: Duration, reason: String) -> Option<(Placement, String)> {
        self.not_before = now + SULK * (1 << self.sulk.min(DOUBLINGS));
        self.sulk += 1;
        self.current = Placement::all(self.current.sources.len(), self.current.sinks.len(), false);
        Some((self.current.clone(), reason))
    }
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
