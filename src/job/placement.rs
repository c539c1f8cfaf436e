//! `execution = 'auto'`: which stages get a thread of their own.
//!
//! A stage that is moved to a thread overlaps with the others but pays for every hand-over. The choice follows measured costs
//! per record; a split that does not bring what was promised is taken back and tried again later and more rarely. Pure: time
//! and measurements come in as arguments.

use std::time::Duration;

/// Cost of a hand-over: a wake-up per batch and cache lines per record, as measured on a 2-core machine.
const HANDOVER_PER_BATCH: f64 = 4e-6;
const HANDOVER_PER_RECORD: f64 = 12e-9;
/// A split must promise at least this much.
const WORTHWHILE: f64 = 1.15;
/// Measurements are judged when they cover that much time …
const WINDOW: Duration = Duration::from_millis(20);
/// … and that many batches.
const BATCHES: u64 = 8;
/// First time to wait after a split that was taken back; doubles up to 64 times as much.
const SULK: Duration = Duration::from_millis(500);

/// What the stages cost since the last look, in seconds of their own work.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Costs {
    /// Per source; time that a blocking reader makes the others wait counts as work.
    pub(super) sources: Vec<f64>,
    /// The processor.
    pub(super) process: f64,
    /// Per sink.
    pub(super) sinks: Vec<f64>,
    /// Records that the processor took.
    pub(super) records: u64,
    /// Batches that the processor took.
    pub(super) batches: u64,
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

/// Seconds that the slowest thread needs for the measured work under a placement.
fn predict(costs: &Costs, placement: &Placement) -> f64 {
    let handover = costs.batches as f64 * HANDOVER_PER_BATCH + costs.records as f64 * HANDOVER_PER_RECORD;
    let mut processor = costs.process;
    let mut slowest: f64 = 0.0;
    let stages = costs.sources.iter().zip(&placement.sources).chain(costs.sinks.iter().zip(&placement.sinks));
    for (cost, away) in stages {
        if *away {
            slowest = slowest.max(cost + handover / 2.0);
            processor += handover / 2.0;
        } else {
            processor += cost;
        }
    }
    slowest.max(processor)
}

/// The best placement with at most `threads` threads, found greedily: the stage whose own thread helps most, then the next.
fn best(costs: &Costs, threads: usize) -> (Placement, f64) {
    let mut chosen = Placement::all(costs.sources.len(), costs.sinks.len(), false);
    let mut time = predict(costs, &chosen);
    while chosen.threads() < threads {
        let candidates =
            (0..costs.sources.len()).map(|i| (true, i)).chain((0..costs.sinks.len()).map(|i| (false, i)));
        let mut better: Option<(Placement, f64)> = None;
        for (is_source, i) in candidates {
            let mut next = chosen.clone();
            let list = if is_source { &mut next.sources } else { &mut next.sinks };
            match list.get_mut(i) {
                Some(away) if !*away => *away = true,
                _ => continue,
            }
            let t = predict(costs, &next);
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

/// Watches a job and decides.
#[derive(Debug)]
pub(super) struct Autopilot {
    threads: usize,
    current: Placement,
    since: Duration,
    costs: Costs,
    /// Seconds per record of the last full inline window.
    inline_speed: Option<f64>,
    not_before: Duration,
    sulk: u32,
    settled: u32,
}

impl Autopilot {
    pub(super) fn new(sources: usize, sinks: usize, threads: usize, now: Duration) -> Self {
        Self {
            threads,
            current: Placement::all(sources, sinks, false),
            since: now,
            costs: Costs::default(),
            inline_speed: None,
            not_before: Duration::ZERO,
            sulk: 0,
            settled: 0,
        }
    }

    /// Starts a new window: after a decision was carried out.
    pub(super) fn restart(&mut self, now: Duration) {
        self.since = now;
        self.costs = Costs::default();
    }

    /// Whether the measurements handed in at `now` were used up.
    pub(super) fn has_looked_at(&self, now: Duration) -> bool {
        self.since == now
    }

    /// Whether it is time to hand in measurements.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.threads > 1 && now.saturating_sub(self.since) >= WINDOW
    }

    /// Takes the measurements since the last look; a new placement with its reason, if one is better.
    pub(super) fn look(&mut self, now: Duration, costs: Costs) -> Option<(Placement, String)> {
        if costs.batches < BATCHES || costs.records == 0 {
            return None;
        }
        let wall = now.saturating_sub(self.since).as_secs_f64();
        let speed = wall / costs.records as f64;
        let (next, time) = best(&costs, self.threads);
        let inline = predict(&costs, &Placement::all(costs.sources.len(), costs.sinks.len(), false));
        self.restart(now);
        if self.current.is_inline() {
            self.inline_speed = Some(speed);
            if next.is_inline() || inline < time * WORTHWHILE || now < self.not_before {
                return None;
            }
            let reason = format!("{} promises {:.2} times the inline speed", next.describe(), inline / time);
            self.settled = 0;
            self.current = next.clone();
            return Some((next, reason));
        }
        self.settled += 1;
        let promised_back = inline / costs.records as f64;
        let measured = self.inline_speed.unwrap_or(f64::INFINITY);
        // The first window after a split still fills channels and caches.
        let disappointing = self.settled >= 2 && self.settled <= 4 && measured < speed * 1.02;
        let too_cheap = promised_back * 1.05 < speed && inline < time * WORTHWHILE;
        if disappointing || too_cheap {
            let reason = if disappointing {
                format!("threads brought {:.2} times the inline speed", measured / speed)
            } else {
                format!(
                    "the stages' work fell to {:.0} ns a record: hand-overs cost more than they bring",
                    promised_back * 1e9
                )
            };
            self.not_before = now + SULK * (1 << self.sulk.min(6));
            self.sulk += 1;
            self.current = Placement::all(costs.sources.len(), costs.sinks.len(), false);
            return Some((self.current.clone(), reason));
        }
        if self.settled > 50 {
            self.sulk = 0;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(source: f64, process: f64, sink: f64) -> Costs {
        Costs { sources: vec![source], process, sinks: vec![sink], records: 20_000, batches: 20 }
    }
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn cheap_stages_stay_inline() {
        let mut pilot = Autopilot::new(1, 1, 2, Duration::ZERO);
        // 47 M records/s in all: 7 ns a record and stage.
        for i in 1..20 {
            assert_eq!(pilot.look(MS * 20 * i, costs(1.4e-4, 1.4e-4, 1.4e-4)), None);
        }
    }

    #[test]
    fn balanced_costly_stages_are_split_and_the_reason_says_what_it_promises() {
        let mut pilot = Autopilot::new(1, 1, 2, Duration::ZERO);
        let (placement, reason) = pilot.look(MS * 20, costs(4e-3, 1e-3, 3e-3)).unwrap();
        assert_eq!(placement, Placement { sources: vec![true], sinks: vec![false] });
        assert!(reason.contains("source 0") && reason.contains("times the inline speed"), "{reason}");
        let mut pilot = Autopilot::new(1, 1, 3, Duration::ZERO);
        let (placement, _) = pilot.look(MS * 20, costs(4e-3, 4e-3, 4e-3)).unwrap();
        assert_eq!(placement, Placement::all(1, 1, true));
    }

    #[test]
    fn a_source_that_blocks_gets_a_thread() {
        let mut pilot = Autopilot::new(2, 1, 2, Duration::ZERO);
        let blocking = Costs {
            sources: vec![1.5e-2, 1e-4],
            process: 1e-2,
            sinks: vec![1e-3],
            records: 1000,
            batches: 10,
        };
        let (placement, _) = pilot.look(MS * 27, blocking).unwrap();
        assert_eq!(placement.sources, [true, false]);
    }

    #[test]
    fn one_thread_never_splits() {
        let pilot = Autopilot::new(1, 1, 1, Duration::ZERO);
        assert!(!pilot.is_due(MS * 1000));
    }

    #[test]
    fn it_goes_back_when_the_load_changes_or_the_promise_is_not_kept() {
        let split = || {
            let mut pilot = Autopilot::new(1, 1, 2, Duration::ZERO);
            pilot.look(MS * 20, costs(1e-2, 4e-3, 6e-3)).unwrap();
            pilot
        };
        // 1 µs a record inline before; now the work is 30 ns a record but the wall shows 60.
        let mut pilot = split();
        let cheap = || Costs { records: 330_000, batches: 330, ..costs(2e-3, 3e-3, 3e-3) };
        let (placement, reason) = pilot.look(MS * 40, cheap()).unwrap();
        assert!(placement.is_inline() && reason.contains("hand-overs"), "{reason}");
        // The same work, but threads turn out no faster than inline.
        let mut pilot = split();
        assert_eq!(pilot.look(MS * 41, costs(1e-2, 4e-3, 6e-3)), None);
        let (placement, reason) = pilot.look(MS * 62, costs(1e-2, 4e-3, 6e-3)).unwrap();
        assert!(placement.is_inline() && reason.contains("threads brought"), "{reason}");
        // It sulks before it tries again.
        assert_eq!(pilot.look(MS * 82, costs(1e-2, 4e-3, 6e-3)), None);
        assert!(pilot.look(MS * 700, costs(1e-2, 4e-3, 6e-3)).is_some());
    }
}
