//! Decisions of the autopilot on a clock that moves by what each window takes.

use super::*;

/// 20,000 records in 20 batches.
fn costs(source: f64, process: f64, sink: f64) -> Costs {
    Costs {
        sources: vec![source],
        waits: vec![0.0],
        helped: 0.0,
        divisible: Vec::new(),
        shared: 0.0,
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
        let mut flight =
            Self { pilot: Autopilot::new(sources, sinks, threads, 2, Duration::ZERO), now: Duration::ZERO };
        // What comes first is not judged, whatever it is.
        assert_eq!(flight.window(MS, Costs { batches: 1, ..costs(4e-1, 4e-1, 4e-1) }), None);
        flight
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
fn what_promises_little_is_tried_once_there_is_time() {
    // Single records of 780 ns: 1.1 times, if the cores are near each other.
    let small = || Costs { records: 13_000, batches: 13_000, ..costs(5.7e-3, 3.3e-3, 1.1e-3) };
    let mut flight = Flight::new(1, 1, 2);
    assert_eq!(flight.window(MS * 10, small()), None);
    let (placement, reason) = flight.window(MS * 10, small()).unwrap();
    assert_eq!(placement.sources, [true]);
    assert!(reason.contains("promises 1.1"), "{reason}");
    // They are not: it is tried ever more rarely.
    let mut tries = 0;
    let mut inline = true;
    let mut lost = Duration::ZERO;
    while flight.now < MS * 10_000 {
        let took = if inline { MS * 10 } else { MS * 20 };
        lost += if inline { Duration::ZERO } else { MS * 10 };
        if let Some((placement, _)) = flight.window(took, small()) {
            inline = placement.is_inline();
            tries += u32::from(!inline);
        }
    }
    assert!(tries <= 7 && lost < MS * 200, "{tries} tries took {lost:?}");
    // A source that waits now and then would make it look like more.
    let mut flight = Flight::new(1, 1, 2);
    for _ in 0..20 {
        assert_eq!(flight.window(MS * 10, Costs { waits: vec![6e-4], ..small() }), None);
    }
    // One that is helped would lose its helpers for that.
    let helped = || Costs { helped: 5e-4, divisible: vec![true], ..costs(2e-3, 8e-3, 3.2e-3) };
    let mut flight = Flight::new(1, 1, 2);
    let forecast = (helped(), Placement::all(1, 1, false));
    let forecast = Forecast::new(&forecast.0, 2, &forecast.1);
    let promise = forecast.inline() / forecast.best().1;
    assert!((WORTH_EXPLORING..WORTH_A_TRY).contains(&promise), "{promise}");
    for _ in 0..20 {
        assert_eq!(flight.window(MS * 12, helped()), None);
    }
}

#[test]
fn balanced_costly_stages_are_split_and_the_reason_says_what_it_promises() {
    let (placement, reason) = Flight::new(1, 1, 2).window(MS * 8, costs(4e-3, 1e-3, 3e-3)).unwrap();
    assert_eq!(placement, Placement { sources: vec![true], sinks: vec![false] });
    // Small batches of costly records share their wake-ups.
    let small = Costs { records: 100_000, batches: 10_000, ..costs(1.2e-2, 1e-3, 7e-3) };
    assert!(Flight::new(1, 1, 2).window(MS * 20, small).is_some());
    assert!(reason.contains("source 0") && reason.contains("times the inline speed"), "{reason}");
    let (placement, _) = Flight::new(1, 1, 3).window(MS * 12, costs(4e-3, 4e-3, 4e-3)).unwrap();
    assert_eq!(placement, Placement::all(1, 1, true));
}

#[test]
fn a_source_that_blocks_gets_a_thread() {
    let blocking = || Costs {
        sources: vec![1.5e-2, 1e-4],
        waits: vec![1.4e-2, 0.0],
        helped: 0.0,
        divisible: Vec::new(),
        shared: 0.0,
        process: 1e-2,
        sinks: vec![1e-3],
        records: 1000,
        batches: 10,
        starved: 0.0,
        threads: Vec::new(),
    };
    let mut flight = Flight::new(2, 1, 2);
    // A job that waits is in no hurry: its first window, which is short, decides nothing.
    assert_eq!(flight.window(MS * 27, blocking()), None);
    assert_eq!(due(&flight), 10);
    let (placement, reason) = flight.window(MS * 27, blocking()).unwrap();
    assert_eq!(placement.sources, [true, false]);
    assert!(reason.contains("source 0 waits 93 %"), "{reason}");
}

#[test]
fn a_source_that_is_helped_is_split_off_only_if_that_beats_the_help() {
    let mut flight = Flight::new(1, 1, 2);
    // Alone it would take 15 ms; helpers do 6 of them. A thread for the source would still take its 10.
    let helped = Costs { helped: 6e-3, divisible: vec![true], ..costs(1e-2, 4e-3, 1e-3) };
    assert_eq!(flight.window(MS * 9, helped), None);
    // A sink that costs more than help can bring gets a thread.
    // Helpers that have just begun will do more: it is not what they have done so far that counts.
    let begun = Costs { helped: 5e-4, divisible: vec![true], ..costs(1e-2, 4e-3, 1e-3) };
    assert_eq!(Flight::new(1, 1, 2).window(MS * 14, begun), None);
    let costly = Costs { helped: 2e-3, divisible: vec![true], ..costs(3e-3, 8e-3, 9e-3) };
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
    assert_eq!(flight.window(MS * 20, waiting()), None);
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
    assert_eq!(sulked, 4, "a tenth of a second");
    // Slower: it is noticed sooner.
    assert_eq!(flight.window(MS * 28, work()), None);
    assert_eq!(flight.window(MS * 28, work()), None);
    assert!(flight.window(MS * 28, work()).is_some());
    let again = (0..).take_while(|_| flight.window(MS * 20, work()).is_none()).count();
    assert_eq!(again, 9, "twice as long");
    // Much slower: one window says it, if it is not the first.
    assert_eq!(flight.window(MS * 40, work()), None);
    assert!(flight.window(MS * 40, work()).is_some());
}

/// The shortest time after which the next measurements are judged, in milliseconds.
fn due(flight: &Flight) -> u32 {
    (0..100).find(|ms| flight.pilot.is_due(flight.now + MS * *ms)).unwrap()
}

#[test]
fn decisions_that_are_due_take_short_windows_and_all_others_long_ones() {
    let new = Autopilot::new(1, 1, 2, 2, Duration::ZERO);
    assert!(new.is_due(MS) && !new.is_due(Duration::from_micros(999)));
    let mut flight = Flight::new(1, 1, 2);
    assert_eq!(due(&flight), 3);
    let cheap = || Costs { records: 1_250_000, batches: 1250, ..costs(1.8e-2, 1e-4, 1.9e-3) };
    assert_eq!(flight.window(MS * 20, cheap()), None);
    assert_eq!(due(&flight), 10);
    // Three of a few batches decide about a split; a batch too few decides nothing.
    let mut flight = Flight::split();
    let few = |batches| Costs { batches, ..costs(1e-2, 4e-3, 6e-3) };
    assert_eq!(flight.window(MS * 3, few(3)), None);
    assert!(!flight.pilot.has_looked_at(flight.now));
    for took in [8, 11, 11] {
        assert!(due(&flight) <= 3);
        assert_eq!(flight.window(MS * took, few(4)), None);
        assert!(flight.pilot.has_looked_at(flight.now));
    }
    assert_eq!(due(&flight), 10);
    // What was taken back is compared with inline soon.
    let back = (0..).find_map(|_| flight.window(MS * 28, few(8))).unwrap();
    assert!(back.0.is_inline());
    assert_eq!(due(&flight), 3);
    assert_eq!(flight.window(MS * 20, few(8)), None);
    assert_eq!(due(&flight), 10);
}

#[test]
fn threads_that_share_an_operators_work_are_missed_when_a_stage_takes_one_of_them() {
    // 10 of 14 ms that the operator takes alone are done by two threads at once: 9 ms. With a thread for the source it is alone.
    let shared = || Costs { shared: 1e-2, ..costs(6e-3, 9e-3, 1e-3) };
    assert_eq!(Flight::new(1, 1, 2).window(MS * 16, shared()), None);
    // Of three threads that share, two are left.
    let (placement, reason) = Flight::new(1, 1, 3).window(MS * 16, shared()).unwrap();
    assert!(placement.sources == [true] && reason.contains("promises 1.3"), "{reason}");
    // Nobody shares: the same times promise much.
    assert!(Flight::new(1, 1, 2).window(MS * 16, costs(6e-3, 9e-3, 1e-3)).is_some());
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
