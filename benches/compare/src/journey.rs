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

const STAGES: [Stage; 9] = [
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

pub fn run(common: &Common) -> Result<(), Failure> {
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

/// Busy + waiting + blocked of each thread of the shipped engine.
fn threads(outcomes: &[Outcome]) -> Result<(), Failure> {
    println!("\nWhere the threads' time goes (of a typical run)");
    for o in outcomes {
        let s = o.typical();
        let wall = s.seconds + s.end_seconds;
        let mut critical = ("", 0.0);
        for (name, t) in &s.threads {
            let sum = t.busy_s + t.waiting_s + t.blocked_s;
            let idle = (wall - sum).max(0.0);
            println!(
                "  {:<12} {:<14} busy {:>6.3} s, waiting {:>6.3} s, blocked {:>6.3} s, idle or elsewhere {:>6.3} s of {:.3} s",
                o.stage.name, name, t.busy_s, t.waiting_s, t.blocked_s, idle, wall
            );
            if t.busy_s > critical.1 {
                critical = (name, t.busy_s);
            }
            if sum > wall * 1.02 {
                return Err(format!(
                    "{}: {name} accounts for {sum:.3} s of a wall time of {wall:.3} s",
                    o.stage.name
                )
                .into());
            }
        }
        if !s.threads.is_empty() {
            println!("  {:<12} critical stage: {}", o.stage.name, critical.0);
        }
        for d in &s.decisions {
            println!("  {:<12} decided at {d}", o.stage.name);
        }
    }
    println!();
    Ok(())
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
