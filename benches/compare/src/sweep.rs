//! `sweep`: batch sizes × executions × cheap and costly stages, beside the report's estimate.

use std::time::Duration;

use serde_json::json;

use crate::asynch::Conditions;
use crate::journey::{AUTO, INLINE, PHASE3, RECYCLING, STAGED, THREADS};
use crate::measure::{Bench, Outcome, Runner, Stage, paired_ratio, warnings};
use crate::report::{Report, machine, print_machine, rate};
use crate::workload::Cost;
use crate::{Common, Failure, svg};

const STAGES: [Stage; 6] = [PHASE3, RECYCLING, STAGED, THREADS, INLINE, AUTO];
const BATCHES: [usize; 7] = [1, 10, 100, 1_000, 2_000, 5_000, 10_000];
/// The report's estimate, records a second.
const ESTIMATE: [(usize, f64); 4] = [(1_000, 4e5), (2_000, 8e5), (5_000, 2e6), (10_000, 4e6)];
/// Bytes that a record of three fields with headers takes in memory, roughly: for the memory budget.
const RECORD_BYTES: f64 = 360.0;

/// What a batch may cost.
pub struct Budget {
    pub latency: Duration,
    pub memory: u64,
}

pub fn run(common: &Common, sizes: &[usize], costs: &[Cost], budget: &Budget) -> Result<(), Failure> {
    let sizes = if sizes.is_empty() { &BATCHES } else { sizes };
    let mut report = Report::new(common)?;
    let mut bench = Bench::new(common, false)?;
    if common.sample_seconds.is_none() {
        bench = bench.at_least(Duration::from_millis(200));
    }
    let m = machine(bench.threads);
    print_machine(&m);
    report.line(&m)?;
    let mut noisy = Vec::new();
    for &cost in costs {
        println!("sweep, {} stages, million records a second (median)\n", cost.name());
        let mut rows: Vec<(usize, Vec<Outcome>)> = Vec::new();
        for &batch in sizes {
            bench.conditions = Conditions { batch, empty_wait: Duration::from_millis(5), ..bench.conditions };
            let outcomes = bench.compare(&STAGES, cost)?;
            if rows.is_empty() {
                header(&outcomes);
            }
            row(batch, &outcomes);
            for o in &outcomes {
                report.line(&o.json("sweep", batch, cost))?;
            }
            noisy.extend(warnings(&outcomes).into_iter().map(|w| format!("batch {batch}: {w}")));
            rows.push((batch, outcomes));
        }
        println!();
        recommend(&rows, budget, &mut report, cost)?;
        report.plot(&format!("sweep-{}.svg", cost.name()), || {
            let series: Vec<_> = STAGES
                .iter()
                .map(|s| {
                    let values = rows
                        .iter()
                        .map(|(_, r)| rates(r, s).map_or(0.0, |o| o.median_rate() / 1e6))
                        .collect();
                    (s.name.to_owned(), values)
                })
                .collect();
            let xs: Vec<usize> = rows.iter().map(|r| r.0).collect();
            svg::lines(
                &format!("sweep, {} stages, by batch size", cost.name()),
                "million records/s",
                &xs,
                &series,
            )
        })?;
    }
    println!("estimate: what the report expected of larger batches, for cheap and costly stages alike.");
    noisy.iter().for_each(|w| println!("{w}"));
    Ok(())
}

fn rates<'a>(outcomes: &'a [Outcome], stage: &Stage) -> Option<&'a Outcome> {
    outcomes.iter().find(|o| o.stage.name == stage.name)
}

fn faster<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Option<&'a Outcome> {
    outcomes.max_by(|a, b| a.median_rate().total_cmp(&b.median_rate()))
}

fn header(outcomes: &[Outcome]) {
    print!("{:>7}", "batch");
    outcomes.iter().for_each(|o| print!(" {:>24}", o.stage.name));
    println!(" {:>12} {:>18} {:>18}", "estimate", "auto/best async", "auto/better own");
}

fn row(batch: usize, outcomes: &[Outcome]) {
    print!("{batch:>7}");
    outcomes.iter().for_each(|o| print!(" {:>24.2}", o.median_rate() / 1e6));
    let estimate = ESTIMATE.iter().find(|(b, _)| *b == batch).map_or("–".to_owned(), |(_, r)| rate(*r));
    let best = faster(outcomes.iter().filter(|o| matches!(o.stage.runner, Runner::Async(_))));
    let own = faster([&THREADS, &INLINE].into_iter().filter_map(|s| rates(outcomes, s)));
    let against = |other: Option<&Outcome>| match (rates(outcomes, &AUTO), other) {
        (Some(a), Some(b)) => {
            let (ratio, bound) = paired_ratio(&a.rates(), &b.rates());
            format!("{ratio:.2} (≥ {bound:.2})")
        }
        _ => "–".into(),
    };
    println!(" {estimate:>12} {:>18} {:>18}", against(best), against(own));
}

/// The smallest batch within 5 % of the best speed that fits the budgets.
fn recommend(
    rows: &[(usize, Vec<Outcome>)],
    budget: &Budget,
    report: &mut Report,
    cost: Cost,
) -> Result<(), Failure> {
    // A batch waits until it is full and then passes; an edge holds eight of them on either side.
    let fits = |batch: usize, speed: f64| {
        let latency = 2.0 * batch as f64 / speed;
        let memory = batch as f64 * RECORD_BYTES * 20.0;
        latency <= budget.latency.as_secs_f64() && memory <= budget.memory as f64
    };
    let of = |r: &(usize, Vec<Outcome>)| (r.0, rates(&r.1, &AUTO).map_or(0.0, Outcome::median_rate));
    let candidates: Vec<(usize, f64)> = rows.iter().map(of).filter(|(b, s)| fits(*b, *s)).collect();
    let best = candidates.iter().map(|c| c.1).fold(0.0, f64::max);
    let within = format!("{:?} and {} MB", budget.latency, budget.memory / 1_000_000);
    match candidates.iter().filter(|c| c.1 >= 0.95 * best).min_by_key(|c| c.0) {
        Some((batch, speed)) => {
            println!("recommended within {within}: batch {batch} ({})\n", rate(*speed));
            report.line(&json!({"name": "sweep-recommendation", "cost": cost.name(), "batch": batch, "records_per_second": speed}))
        }
        None => {
            println!("no batch size measured fits {within}\n");
            Ok(())
        }
    }
}
