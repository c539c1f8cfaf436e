//! `journey`: the stages of the report that started the project, on one machine, with the shipped engine at the end.

use crate::asynch::Shape;
use crate::attribution::{
    breakdown, explain_the_difference, print_kernel, print_threads, two_ways_of_counting,
};
use crate::machine::{NoiseWatch, machine, print_machine};
use crate::measure::{Bench, Outcome, Runner, Stage, mean_and_deviation, median, paired_ratio, warnings};
use crate::report::{Report, rate};
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

const fn transaction(name: &'static str, shape: Shape) -> Stage {
    Stage { name, runner: Runner::Async(shape.in_transactions()) }
}

/// The transactional loop of the async engine, with the simple one beside its last steps.
pub const TRANSACTIONAL: [Stage; 7] = [
    transaction("baseline, transactional", Shape::BASELINE),
    transaction("phase 1, transactional", Shape::PHASE1),
    transaction("phase 2, transactional", Shape::PHASE2),
    transaction("phase 3, transactional", Shape::PHASE3),
    transaction("+ recycling, transactional", Shape::RECYCLING),
    PHASE3,
    RECYCLING,
];

/// What `journey` does beside measuring.
#[derive(Clone, Copy, Debug)]
pub struct Ways {
    /// Prints the report's way of counting too.
    pub report_method: bool,
    /// The transactional job loop.
    pub transactional: bool,
}

pub fn run(common: &Common, ways: Ways) -> Result<(), Failure> {
    let bench = Bench::new(common, true)?;
    let mut report = Report::new(common)?;
    let noise = NoiseWatch::start();
    let m = machine(bench.threads, common.quick);
    print_machine(&m);
    report.line(&m)?;
    println!(
        "journey: passthrough of 3-field records, batch {}, trace injection on; median of interleaved runs, time from first read \
         to last record written\n",
        common.batch
    );
    let stages: &[Stage] = if ways.transactional { &TRANSACTIONAL } else { &STAGES };
    let outcomes = bench.compare(stages, Cost::Cheap)?;
    table(&outcomes);
    if ways.transactional {
        println!(
            "Each batch is a transaction: reader and writer begin and commit, four awaits more. The shipped engine has no\n\
             transactional jobs yet, so its stages are left out here; the staged async engine has no transaction of one batch."
        );
    } else {
        targets(&outcomes, common.quick);
        attribution(&outcomes);
    }
    print_threads(&outcomes);
    print_kernel(&outcomes);
    if ways.report_method {
        for stage in [PHASE3.name, INLINE.name] {
            two_ways_of_counting(&outcomes, stage);
        }
        explain_the_difference();
    }
    let floors = floors(&outcomes);
    for o in &outcomes {
        report.line(&o.json("journey", common.batch, Cost::Cheap))?;
    }
    report.line(&noise.json())?;
    let subtitle = report.subtitle(&m, &format!("passthrough, batch {}", common.batch));
    report.plot("journey.svg", || chart(&outcomes, &subtitle))?;
    report.plot("breakdown.svg", || breakdown(&outcomes, &subtitle))?;
    for w in warnings(&outcomes).iter().chain(&floors).chain(&noise.warning()) {
        println!("{w}");
    }
    Ok(())
}

fn chart(outcomes: &[Outcome], subtitle: &str) -> String {
    let rows: Vec<svg::Bar> = outcomes.iter().map(bar).collect();
    svg::bars("Journey: million records a second", subtitle, "M/s", &rows)
}

fn bar(o: &Outcome) -> svg::Bar {
    let (low, high) = o.range();
    svg::Bar {
        label: o.stage.name.to_owned(),
        value: o.median_rate() / 1e6,
        range: Some((low / 1e6, high / 1e6)),
        ours: matches!(o.stage.runner, Runner::Shipped(_)),
    }
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
        let (low, high) = o.range();
        let s = o.typical();
        let awaits = s.awaits.map_or("–".to_owned(), |_| format!("{:.1}", s.awaits_per_batch()));
        println!(
            "{:<26} {:>11} {:>5.1} % {:>8.2} … {:>8.2} {:>8.2}× {:>8.1} {:>8} {:>8.0} {:>8.1} {:>8.0}",
            o.stage.name,
            rate(o.median_rate()),
            100.0 * deviation / mean,
            low / 1e6,
            high / 1e6,
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

/// The fastest async stage that recycles.
fn best_async(outcomes: &[Outcome]) -> Option<&Outcome> {
    let candidates = [&RECYCLING, &STAGED].into_iter().filter_map(|s| find(outcomes, s));
    candidates.max_by(|a, b| a.median_rate().total_cmp(&b.median_rate()))
}

fn targets(outcomes: &[Outcome], quick: bool) {
    let best = best_async(outcomes);
    let lines = [
        ("sync threads / phase 3", find(outcomes, &THREADS), find(outcomes, &PHASE3), 1.5),
        ("sync auto / phase 3", find(outcomes, &AUTO), find(outcomes, &PHASE3), 2.0),
        ("sync auto / best async with recycling", find(outcomes, &AUTO), best, 1.0),
    ];
    println!("Summary{}", if quick { " (short samples: no verdicts)" } else { "" });
    for (what, over, under, least) in lines {
        if let (Some(over), Some(under)) = (over, under) {
            let (ratio, bound) = paired_ratio(&over.rates(), &under.rates());
            let verdict = match (quick, ratio >= least) {
                (true, _) => "",
                (_, true) => ": reached",
                (_, false) => ": NOT reached",
            };
            println!(
                "  {what} ({}): {ratio:.2} × (95 % lower bound {bound:.2}); target {least}{verdict}",
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
        let gain = r(to) / r(from);
        if gain.is_finite() {
            println!("  {what:<40} {gain:.2} × ({from} → {to})");
        }
    }
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
