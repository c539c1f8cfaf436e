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
/// A split must promise at least this much to be tried: where a source waits inside of its calls, that may be for input which would
/// come no faster …
const WORTH_A_TRY: f64 = 1.15;
/// … and bring at least this much to be kept.
const WORTH_KEEPING: f64 = 1.02;
/// Measurements are judged when they cover that much time …
const WINDOW: Duration = Duration::from_millis(10);
/// … and that many batches.
const BATCHES: u64 = 8;
/// So many windows in a row must be slower than inline before a split is taken back; fewer if it is much slower.
const PATIENCE: u32 = 3;
/// First time to wait after a split that was taken back; doubles up to 64 times as much.
const SULK: Duration = Duration::from_millis(500);
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
    /// The processor.
    pub(super) process: f64,
    /// Per sink.
    pub(super) sinks: Vec<f64>,
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
            process: self.process - earlier.process,
            sinks: each(&self.sinks, &earlier.sinks),
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

/// Seconds that the slowest thread needs for the measured work under a placement.
fn predict(costs: &Costs, placement: &Placement) -> f64 {
    let work = costs.process + costs.sources.iter().chain(&costs.sinks).sum::<f64>();
    let batches = costs.batches as f64;
    let wake_ups = (work / 4.0).clamp(batches * HANDOVER_PER_TINY_BATCH, batches * HANDOVER_PER_BATCH);
    let handover = wake_ups + costs.records as f64 * HANDOVER_PER_RECORD;
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
    since: Duration,
    /// Seconds per record of the last inline window.
    inline_speed: Option<f64>,
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
            since: now,
            inline_speed: None,
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
        self.threads > 1 && now.saturating_sub(self.since) >= WINDOW
    }

    /// Takes the measurements since the last look; a new placement with its reason, if one is better.
    pub(super) fn look(&mut self, now: Duration, costs: Costs) -> Option<(Placement, String)> {
        if costs.batches < BATCHES || costs.records == 0 {
            return None;
        }
        let wall = now.saturating_sub(self.since).as_secs_f64();
        let wall = undisturbed(wall, &costs.threads, self.cores);
        let speed = wall / costs.records as f64;
        self.restart(now);
        if self.current.is_inline() {
            self.look_inline(now, &costs, speed)
        } else {
            self.look_split(now, &costs, wall, speed)
        }
    }

    fn split(&mut self, next: Placement, reason: String) -> Option<(Placement, String)> {
        (self.settled, self.slow, self.best_split) = (0, 0, f64::INFINITY);
        self.current = next.clone();
        Some((next, reason))
    }

    fn look_inline(&mut self, now: Duration, costs: &Costs, speed: f64) -> Option<(Placement, String)> {
        self.inline_speed = Some(speed);
        if let Some((split, split_speed)) = self.rival.take()
            && split_speed * WORTH_KEEPING < speed
        {
            // Not the threads were slow: the records have become dearer.
            let reason =
                format!("{} were {:.2} times as fast after all", split.describe(), speed / split_speed);
            self.sulk = self.sulk.saturating_sub(1);
            return self.split(split, reason);
        }
        let (next, time) = best(costs, self.threads);
        let alone = predict(costs, &Placement::all(costs.sources.len(), costs.sinks.len(), false));
        let inline = alone - costs.helped;
        if next.is_inline() || inline < time * WORTH_A_TRY || now < self.not_before {
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
        let inline = predict(costs, &Placement::all(costs.sources.len(), costs.sinks.len(), false));
        // Waiting is no work, but on one thread it would hold up the others.
        let work = (inline - costs.waits.iter().sum::<f64>()).max(0.0) / costs.records as f64;
        if work * 1.05 < speed && inline < predict(costs, &self.current) * WORTH_KEEPING {
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
        self.slow += if speed > 1.3 * measured { 2 } else { 1 };
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
        self.not_before = now + SULK * (1 << self.sulk.min(6));
        self.sulk += 1;
        self.current = Placement::all(self.current.sources.len(), self.current.sinks.len(), false);
        Some((self.current.clone(), reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20,000 records in 20 batches.
    fn costs(source: f64, process: f64, sink: f64) -> Costs {
        Costs {
            sources: vec![source],
            waits: vec![0.0],
            helped: 0.0,
            process,
            sinks: vec![sink],
            records: 20_000,
            batches: 20,
            starved: 0.0,
            threads: Vec::new(),
        }
    }
    const MS: Duration = Duration::from_millis(1);

    /// An autopilot with its clock, which moves by what each window takes.
    struct Flight {
        pilot: Autopilot,
        now: Duration,
    }
    impl Flight {
        fn new(sources: usize, sinks: usize, threads: usize) -> Self {
            Self { pilot: Autopilot::new(sources, sinks, threads, 2, Duration::ZERO), now: Duration::ZERO }
        }
        fn window(&mut self, took: Duration, costs: Costs) -> Option<(Placement, String)> {
            self.now += took;
            self.pilot.look(self.now, costs)
        }
        /// 1 µs a record inline, half of it the source's: split.
        fn split() -> Self {
            let mut flight = Self::new(1, 1, 2);
            let (placement, _) = flight.window(MS * 20, costs(1e-2, 4e-3, 6e-3)).unwrap();
            assert_eq!(placement.sources, [true]);
            flight
        }
    }

    #[test]
    fn cheap_stages_stay_inline() {
        // 16 ns a record, nearly all of it the source's.
        let mut flight = Flight::new(1, 1, 2);
        for _ in 1..20 {
            let cheap = Costs { records: 1_250_000, batches: 1250, ..costs(1.8e-2, 1e-4, 1.9e-3) };
            assert_eq!(flight.window(MS * 20, cheap), None);
        }
        // Balanced, but tiny batches: handing one over costs as much as its only record.
        let mut flight = Flight::new(1, 1, 2);
        for _ in 1..20 {
            let tiny = Costs { records: 40_000, batches: 40_000, ..costs(1e-2, 1e-3, 9e-3) };
            assert_eq!(flight.window(MS * 20, tiny), None);
        }
    }

    #[test]
    fn balanced_costly_stages_are_split_and_the_reason_says_what_it_promises() {
        let (placement, reason) = Flight::new(1, 1, 2).window(MS * 20, costs(4e-3, 1e-3, 3e-3)).unwrap();
        assert_eq!(placement, Placement { sources: vec![true], sinks: vec![false] });
        // Small batches of costly records share their wake-ups.
        let small = Costs { records: 100_000, batches: 10_000, ..costs(1.2e-2, 1e-3, 7e-3) };
        assert!(Flight::new(1, 1, 2).window(MS * 20, small).is_some());
        assert!(reason.contains("source 0") && reason.contains("times the inline speed"), "{reason}");
        let (placement, _) = Flight::new(1, 1, 3).window(MS * 20, costs(4e-3, 4e-3, 4e-3)).unwrap();
        assert_eq!(placement, Placement::all(1, 1, true));
    }

    #[test]
    fn a_source_that_blocks_gets_a_thread() {
        let blocking = Costs {
            sources: vec![1.5e-2, 1e-4],
            waits: vec![1.4e-2, 0.0],
            helped: 0.0,
            process: 1e-2,
            sinks: vec![1e-3],
            records: 1000,
            batches: 10,
            starved: 0.0,
            threads: Vec::new(),
        };
        let (placement, reason) = Flight::new(2, 1, 2).window(MS * 27, blocking).unwrap();
        assert_eq!(placement.sources, [true, false]);
        assert!(reason.contains("source 0 waits 93 %"), "{reason}");
    }

    #[test]
    fn a_source_that_is_helped_is_split_off_only_if_that_beats_the_help() {
        let mut flight = Flight::new(1, 1, 2);
        // Alone it would take 15 ms; helpers do 6 of them. A thread for the source would still take its 10.
        let helped = Costs { helped: 6e-3, ..costs(1e-2, 4e-3, 1e-3) };
        assert_eq!(flight.window(MS * 20, helped), None);
        // A sink that costs more than help can bring gets a thread.
        let costly = Costs { helped: 2e-3, ..costs(3e-3, 8e-3, 9e-3) };
        let (placement, _) = flight.window(MS * 20, costly).unwrap();
        assert_eq!(placement, Placement { sources: vec![false], sinks: vec![true] });
    }

    #[test]
    fn one_thread_never_splits() {
        let pilot = Autopilot::new(1, 1, 1, 2, Duration::ZERO);
        assert!(!pilot.is_due(MS * 1000));
    }

    #[test]
    fn it_goes_back_when_the_stages_become_cheap() {
        // The work is 25 ns a record now, and the wall shows 60.
        let mut flight = Flight::split();
        let cheap = Costs { records: 330_000, batches: 16_000, ..costs(2e-3, 3e-3, 3e-3) };
        let (placement, reason) = flight.window(MS * 20, cheap).unwrap();
        assert!(placement.is_inline() && reason.contains("hand-overs"), "{reason}");
    }

    #[test]
    fn it_goes_back_when_a_source_only_waits() {
        // Nothing is left to do while it waits.
        let mut flight = Flight::split();
        let alone = Costs { waits: vec![1.85e-2], ..costs(1.9e-2, 1e-4, 1e-4) };
        let (placement, reason) = flight.window(MS * 20, alone).unwrap();
        assert!(placement.is_inline() && reason.contains("work fell to 35 ns"), "{reason}");
        // There is, but its input comes no faster for it.
        let mut flight = Flight::new(1, 1, 2);
        let waiting = || Costs { waits: vec![9e-3], ..costs(1e-2, 4e-3, 6e-3) };
        let (_, reason) = flight.window(MS * 20, waiting()).unwrap();
        assert!(reason.contains("source 0 waits 90 %"), "{reason}");
        for _ in 0..3 {
            assert_eq!(flight.window(MS * 20, waiting()), None);
        }
        let (placement, reason) = flight.window(MS * 20, waiting()).unwrap();
        assert!(placement.is_inline() && reason.contains("for its input: threads brought 1.00"), "{reason}");
        // The next window inline being slower says nothing for threads.
        assert_eq!(flight.window(MS * 40, waiting()), None);
    }

    #[test]
    fn a_promise_that_is_not_kept_is_taken_back_and_tried_again_later() {
        let work = || costs(1e-2, 4e-3, 6e-3);
        let mut flight = Flight::split();
        // No faster than inline, whatever the stages' own times say.
        for _ in 0..3 {
            assert_eq!(flight.window(MS * 20, work()), None);
        }
        let (placement, reason) = flight.window(MS * 20, work()).unwrap();
        assert!(placement.is_inline() && reason.contains("threads brought 1.00"), "{reason}");
        let mut sulked = 0;
        while flight.window(MS * 20, work()).is_none() {
            sulked += 1;
        }
        assert_eq!(sulked, 24, "half a second");
        // Much slower: it is noticed sooner.
        assert_eq!(flight.window(MS * 40, work()), None);
        assert_eq!(flight.window(MS * 40, work()), None);
        assert!(flight.window(MS * 40, work()).is_some());
        let again = (0..).take_while(|_| flight.window(MS * 20, work()).is_none()).count();
        assert_eq!(again, 49, "a second");
    }

    #[test]
    fn a_split_is_kept_as_long_as_it_is_faster_and_left_when_it_no_longer_is() {
        let work = || costs(1e-2, 4e-3, 6e-3);
        let mut flight = Flight::split();
        for _ in 0..200 {
            assert_eq!(flight.window(MS * 11, work()), None);
        }
        // Single windows that were disturbed change nothing.
        for took in [40, 11, 40, 11, 21, 22, 11] {
            assert_eq!(flight.window(MS * took, work()), None);
        }
        // The two cores have moved apart: the same records take three times as long on two threads.
        assert_eq!(flight.window(MS * 33, work()), None);
        let (placement, _) = flight.window(MS * 33, work()).unwrap();
        assert!(placement.is_inline());
        assert_eq!(flight.window(MS * 20, work()), None);
    }

    #[test]
    fn records_that_become_dearer_keep_their_threads_after_one_inline_window() {
        let mut flight = Flight::split();
        let dearer = || costs(2e-2, 8e-3, 1.2e-2);
        for _ in 0..20 {
            assert_eq!(flight.window(MS * 11, costs(1e-2, 4e-3, 6e-3)), None);
        }
        let mut back = None;
        while back.is_none() {
            back = flight.window(MS * 21, dearer());
        }
        assert!(back.is_some_and(|(p, _)| p.is_inline()));
        let (placement, reason) = flight.window(MS * 40, dearer()).unwrap();
        assert!(!placement.is_inline() && reason.contains("1.90 times as fast after all"), "{reason}");
        assert_eq!(flight.window(MS * 21, dearer()), None);
        assert_eq!(flight.window(MS * 21, dearer()), None);
    }

    #[test]
    fn a_job_that_waits_for_its_input_is_not_judged_by_its_speed() {
        let mut flight = Flight::split();
        for _ in 0..50 {
            let waiting = Costs { starved: 1e-2, ..costs(1e-2, 4e-3, 6e-3) };
            assert_eq!(flight.window(MS * 40, waiting), None);
        }
    }

    /// What two threads had in a window: each was queued once for `queued`.
    fn had(ran: [u64; 2], queued: [u64; 2]) -> Vec<CoreTime> {
        let time = |(ran, queued)| CoreTime {
            ran: Duration::from_micros(ran),
            queued: Duration::from_micros(queued),
            turns: 1,
        };
        ran.into_iter().zip(queued).map(time).collect()
    }

    #[test]
    fn a_window_is_as_long_as_it_would_have_been_alone() {
        let near = |a: f64, b: f64| (a - b).abs() < 1.5e-4;
        let ms = 1e-3;
        // Nobody was in the way: sleeping is the job's own affair, and so is waking up.
        assert!(near(undisturbed(10.0 * ms, &had([10_000, 4_000], [0, 0]), 2.0), 10.0 * ms));
        assert_eq!(undisturbed(10.0 * ms, &had([9_000, 4_000], [50, 40]), 2.0), 10.0 * ms);
        // One of them, or both in turn.
        assert!(near(undisturbed(14.0 * ms, &had([10_000, 4_000], [4_000, 0]), 2.0), 10.0 * ms));
        assert!(near(undisturbed(17.0 * ms, &had([10_000, 4_000], [4_000, 3_000]), 2.0), 10.0 * ms));
        // Both at the same time: not shorter than the work of one.
        assert!(near(undisturbed(14.0 * ms, &had([10_000, 4_000], [4_000, 4_000]), 2.0), 10.0 * ms));
        // Two threads on one core queue behind each other.
        assert!(near(undisturbed(14.0 * ms, &had([10_000, 4_000], [4_000, 10_000]), 1.0), 14.0 * ms));
        // The system does not tell.
        assert_eq!(undisturbed(14.0 * ms, &[], 2.0), 14.0 * ms);
    }

    /// Decisions of an hour of the same load; `stolen`: what others took of each window from the processor and the source.
    fn decisions(stolen: impl Fn(u64) -> [u64; 2]) -> Vec<(u64, String)> {
        let mut flight = Flight::new(1, 1, 2);
        let mut split = false;
        let mut told = Vec::new();
        for n in 0..400 {
            let work = match n {
                0..100 => costs(1.5e-2, 2e-3, 3e-3),
                100..200 => costs(1e-2, 4e-3, 6e-3),
                200..300 => Costs { records: 330_000, batches: 16_000, ..costs(2e-3, 3e-3, 3e-3) },
                _ => costs(1e-2, 4e-3, 6e-3),
            };
            let [here, away] = stolen(n);
            let (ran, took) = match split {
                false => ([20_000, 0], 20_000),
                true => ([11_000, 11_000], 12_000),
            };
            let others = here + if split { away } else { 0 };
            let threads = had(ran, [here, away * u64::from(split)]);
            let took = Duration::from_micros(took + others);
            if let Some((placement, reason)) = flight.window(took, Costs { threads, ..work }) {
                split = !placement.is_inline();
                told.push((n, reason));
            }
        }
        told
    }

    #[test]
    fn neighbours_change_no_decision() {
        let alone = decisions(|_| [0, 0]);
        assert!(alone.len() >= 3, "{alone:?}");
        assert_eq!(decisions(|n| [(n % 3) * 4_000, 0]), alone);
        assert_eq!(decisions(|n| [8_000, (n % 5) * 3_000]), alone);
        assert_eq!(decisions(|n| [n % 2 * 40_000, 40_000 - n % 2 * 40_000]), alone);
    }
}
