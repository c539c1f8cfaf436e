//! `journey`: the stages of the report that started the project, on one machine, with the shipped engine at the end.

use crate::asynch::Shape;
use crate::measure::{Bench, Outcome, Runner, Stage, mean_and_deviation, median, paired_ratio, warnings};
use crate::report::{Report, machine, print_machine, rate};
use crate::workload::Cost;
use crate::{Common, Failure, svg};

pub const PHASE3: Stage = Stage { name: "phase 3", runner: Runner::Async(Shape::PHASE3) };
pub const RECYCLING: Stage = Stage { name: "phase 3 + recycling", runner: Runner::Async(Shape::RECYCLING) };
pub const STAGED: Stage = Stage { name: "async staged + recycling", runner: Runner::Async(Shape::STAGED) };
pub const THREADS: Stage = Stage { name: "sync threads", runner: Runner::Shipped("threads") };
pub const INLINE: Stage = Stage { name: "sync inline", runner: Runner::Shipped("inline") };
pub const AUTO: Stage = Stage { name: "sync auto", runner: Runner::Shipped("auto") };

pub const STAGES: [Stage; 9] = [
    Stage { name: "baseline", runner: Runner::Async(Shape::BASELINE) },
    Stage { name: "phase 1", runner: Runner::Async(Shape::PHASE1) },
    Stage { name: "phase 2", runner: Runner::Async(Shape::PHASE2) },
    PHASE3,
    RECYCLING,
    STAGED,
    THREADS,
    INLINE,
    AUTO,
];

pub fn run(common: &Common, report_method: bool) -> Result<(), Failure> {
    let bench = Bench::new(common, true)?;
    let mut report = Report::new(common)?;
    let m = machine(bench.threads);
    print_machine(&m);
    report.line(&m)?;
    println!(
        "journey: passthrough of 3-field records, batch {}, trace injection on; median of interleaved runs, time from first read \
         to last record written\n",
        common.batch
    );
    let outcomes = bench.compare(&STAGES, Cost::Cheap)?;
    table(&outcomes);
    targets(&outcomes);
    attribution(&outcomes);
    threads(&outcomes)?;
    if report_method {
        two_ways_of_counting(&outcomes);
    }
    let floors = floors(&outcomes);
    for o in &outcomes {
        report.line(&o.json("journey", common.batch, Cost::Cheap))?;
    }
    report.plot("journey.svg", || {
        let rows: Vec<_> =
            outcomes.iter().map(|o| (o.stage.name.to_owned(), vec![o.median_rate() / 1e6])).collect();
        svg::bars("journey: million records a second", "M/s", &[], &rows)
    })?;
    report.plot("breakdown.svg", || breakdown(&outcomes))?;
    for w in warnings(&outcomes).iter().chain(&floors) {
        println!("{w}");
    }
    Ok(())
}

fn table(outcomes: &[Outcome]) {
    let slowest = outcomes.first().map_or(f64::NAN, Outcome::median_rate);
    println!(
        "{:<26} {:>11} {:>7} {:>19} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "stage",
        "median",
        "± σ",
        "range (M/s)",
        "relative",
        "locks/b",
        "awaits/b",
        "copies/b",
        "allocs/b",
        "end (ms)"
    );
    for o in outcomes {
        let rates = o.rates();
        let (mean, deviation) = mean_and_deviation(&rates);
        let low = rates.iter().copied().fold(f64::INFINITY, f64::min) / 1e6;
        let high = rates.iter().copied().fold(0.0, f64::max) / 1e6;
        let s = o.typical();
        let awaits = s.awaits.map_or("–".to_owned(), |_| format!("{:.1}", s.awaits_per_batch()));
        println!(
            "{:<26} {:>11} {:>5.1} % {:>8.2} … {:>8.2} {:>8.2}× {:>8.1} {:>8} {:>8.0} {:>8.1} {:>8.0}",
            o.stage.name,
            rate(o.median_rate()),
            100.0 * deviation / mean,
            low,
            high,
            o.median_rate() / slowest,
            s.locks_per_batch(),
            awaits,
            s.copies_per_batch(),
            s.allocations_per_batch(),
            s.end_seconds * 1e3,
        );
    }
    println!(
        "\nlocks, awaits, deep copies, allocations: per batch, counted. end: what the end-of-stream rule (three empty batches) costs \
         on top of the time measured.\nThe report's own figures: 10 K locks → 2, 10+ clone sites → 0, 5 → 4 awaits a batch.\n"
    );
}

fn find<'a>(outcomes: &'a [Outcome], stage: &Stage) -> Option<&'a Outcome> {
    outcomes.iter().find(|o| o.stage.name == stage.name)
}

fn best_async(outcomes: &[Outcome]) -> Option<&Outcome> {
    let candidates = outcomes.iter().filter(|o| matches!(o.stage.runner, Runner::Async(_)));
    candidates.max_by(|a, b| a.median_rate().total_cmp(&b.median_rate()))
}

fn targets(outcomes: &[Outcome]) {
    let best = best_async(outcomes);
    let lines = [
        ("sync threads / phase 3", find(outcomes, &THREADS), find(outcomes, &PHASE3), 1.5),
        ("sync auto / phase 3", find(outcomes, &AUTO), find(outcomes, &PHASE3), 2.0),
        ("sync auto / best async", find(outcomes, &AUTO), best, 1.0),
    ];
    println!("Summary");
    for (what, over, under, least) in lines {
        if let (Some(over), Some(under)) = (over, under) {
            let (ratio, bound) = paired_ratio(&over.rates(), &under.rates());
            let verdict = if ratio >= least { "reached" } else { "NOT reached" };
            println!(
                "  {what} ({}): {ratio:.2} × (95 % lower bound {bound:.2}); target {least}: {verdict}",
                under.stage.name
            );
        }
    }
}

/// How much of the gain is sharing, recycling, threads, and not scheduling at all.
fn attribution(outcomes: &[Outcome]) {
    let r =
        |name: &str| outcomes.iter().find(|o| o.stage.name == name).map_or(f64::NAN, Outcome::median_rate);
    println!("\nWhere the gain comes from");
    for (what, from, to) in [
        ("sharing instead of copying, fewer locks", "baseline", "phase 3"),
        ("recycling, still async", "phase 3", "phase 3 + recycling"),
        ("three tasks instead of one", "phase 3 + recycling", "async staged + recycling"),
        ("threads instead of tasks", "async staged + recycling", "sync threads"),
        ("not scheduling at all", "phase 3 + recycling", "sync inline"),
    ] {
        println!("  {what:<40} {:.2} × ({from} → {to})", r(to) / r(from));
    }
}

/// Busy + waiting + blocked of each thread of the shipped engine; what is left is idle (or the runtime's own work).
fn threads(outcomes: &[Outcome]) -> Result<(), Failure> {
    println!("\nWhere the threads' time goes (of a typical run)");
    for o in outcomes {
        let s = o.typical();
        let one_thread = o.stage.name == INLINE.name;
        let wall = s.wall_s;
        let mut critical = ("", 0.0);
        let mut busy = 0.0;
        for (name, t) in &s.threads {
            let sum = t.busy_s + t.waiting_s + t.blocked_s;
            busy += t.busy_s;
            println!(
                "  {:<12} {name:<14} busy {:>6.3} s, waiting {:>6.3} s, blocked {:>6.3} s{}",
                o.stage.name,
                t.busy_s,
                t.waiting_s,
                t.blocked_s,
                if one_thread {
                    String::new()
                } else {
                    format!(", idle {:>6.3} s of {wall:.3} s", (wall - sum).max(0.0))
                }
            );
            if t.busy_s > critical.1 {
                critical = (name, t.busy_s);
            }
            // 2 %, and what a few clock reads of a very short sample may add.
            if sum > wall * 1.02 + 0.005 {
                let stage = o.stage.name;
                return Err(
                    format!("{stage}: {name} accounts for {sum:.3} s of a wall time of {wall:.3} s").into()
                );
            }
        }
        if s.threads.is_empty() {
            continue;
        }
        if one_thread {
            println!(
                "  {:<12} one thread: {busy:.3} s busy, {:.3} s end of stream, {:.3} s between the stages, of {wall:.3} s",
                o.stage.name,
                s.end_seconds,
                (wall - busy - s.end_seconds).max(0.0)
            );
        }
        println!("  {:<12} critical stage: {}", o.stage.name, critical.0);
        for d in &s.decisions {
            println!("  {:<12} decided at {d}", o.stage.name);
        }
    }
    println!();
    Ok(())
}

/// The report said "framework 100 %, read, process and write 0.000 s". Over one run of our own: its way, and the true one.
fn two_ways_of_counting(outcomes: &[Outcome]) {
    let Some(o) = find(outcomes, &INLINE) else { return };
    let s = o.typical();
    let share = |seconds: f64| format!("{seconds:.3} s, {:.0} %", 100.0 * seconds / s.wall_s);
    println!("Two ways of counting one run of {} ({:.3} s)", o.stage.name, s.wall_s);
    println!("  the report's: read 0.000 s, process 0.000 s, write 0.000 s, framework {}", share(s.wall_s));
    println!("  the true one:");
    let mut busy = 0.0;
    for (name, t) in &s.threads {
        println!("    {name:<24} {}", share(t.busy_s));
        busy += t.busy_s;
    }
    println!("    {:<24} {}", "end of stream", share(s.end_seconds));
    println!("    {:<24} {}", "everything else", share((s.wall_s - busy - s.end_seconds).max(0.0)));
    println!(
        "  The report took as \"framework\" what its timers did not see. They did not see how the mock reader made its records, nor the\n  \
         SQL, and the wait at the end of the stream was inside the total: so everything was framework. Here each stage's own time\n  \
         is measured where it is spent, and what is left over is shown.\n"
    );
}

fn breakdown(outcomes: &[Outcome]) -> String {
    let mut rows = Vec::new();
    for o in outcomes {
        for (name, t) in o.typical().threads {
            rows.push((format!("{}, {name}", o.stage.name), vec![t.busy_s, t.waiting_s, t.blocked_s]));
        }
    }
    svg::bars("where the threads' time goes", "s", &["busy", "waiting", "blocked"], &rows)
}

/// The baseline must be worth comparing with.
fn floors(outcomes: &[Outcome]) -> Vec<String> {
    let mut found = Vec::new();
    for (stage, least) in [(&PHASE3, 0.25), (&STAGED, 0.7)] {
        if let (Some(a), Some(b)) = (find(outcomes, stage), find(outcomes, &INLINE)) {
            let ratio = median(&a.rates()) / median(&b.rates());
            println!("floor of the baseline: {} / inline = {ratio:.2} (at least {least})", stage.name);
            if ratio < least {
                found.push(format!(
                    "Warning: {} is slower than its floor: the comparison may not be fair",
                    stage.name
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;
    use clap::Parser;

    fn bench() -> Bench {
        let cli = crate::Cli::parse_from(["bench", "sql", "--quick", "--batch", "77"]);
        let crate::Command::Sql { common, .. } = cli.command else { unreachable!() };
        Bench::new(&common, true).unwrap()
    }

    #[test]
    fn every_stage_conserves_records_in_every_workload() {
        let bench = bench();
        for cost in [Cost::Cheap, Cost::Select, Cost::Costly] {
            let stages: &[Stage] = if cost == Cost::Cheap { &STAGES } else { &STAGES[3..] };
            for stage in stages {
                let sample = bench.run(*stage, cost, 5_000).unwrap();
                assert!(sample.records >= 5_000 && sample.batches > 0, "{}", stage.name);
            }
        }
    }

    #[test]
    fn the_steps_are_those_of_the_report() {
        let bench = bench();
        let run = |i: usize| bench.run(STAGES[i], Cost::Cheap, 77 * 20).unwrap();
        let read: Vec<_> = (0..4)
            .map(run)
            .map(|s| (s.locks / s.batches, s.awaits.unwrap() / s.batches, s.deep_copies / s.batches))
            .collect();
        assert_eq!(read, [(79, 5, 3 * 77), (2, 5, 77), (2, 5, 0), (2, 4, 0)]);
    }

    #[test]
    fn a_lost_record_is_an_error() {
        let workload = Workload::new(Cost::Cheap, 100).unwrap();
        let probe = std::sync::Arc::new(crate::workload::Probe::default());
        let mut feed = workload.feed(&probe).unwrap();
        let mut out = millstream::BatchBuilder::new(workload.schema.clone());
        feed.fill(&mut out);
        for (from, sound) in [(0, true), (1, false)] {
            let probe = std::sync::Arc::new(crate::workload::Probe::default());
            let mut drain = workload.drain(&probe).unwrap();
            drain.take(&out.records()[from..]).unwrap();
            drain.finish();
            assert_eq!(workload.check("test", &probe).is_ok(), sound);
        }
    }
}
