//! `sweep`: batch sizes × executions × cheap and costly stages, beside the report's estimate.

use std::time::Duration;

use serde_json::{Value, json};

use crate::asynch::Conditions;
use crate::journey::{AUTO, INLINE, PHASE3, RECYCLING, STAGED, THREADS};
use crate::machine::{NoiseWatch, machine, print_machine};
use crate::measure::{Bench, Outcome, Runner, Stage, paired_ratio, warnings};
use crate::report::{Report, rate};
use crate::workload::Cost;
use crate::{Common, Failure, svg};

const STAGES: [Stage; 6] = [PHASE3, RECYCLING, STAGED, THREADS, INLINE, AUTO];
const BATCHES: [usize; 7] = [1, 10, 100, 1_000, 2_000, 5_000, 10_000];
/// The report's estimate, records a second.
const ESTIMATE: [(usize, f64); 4] = [(1_000, 4e5), (2_000, 8e5), (5_000, 2e6), (10_000, 4e6)];

/// What a batch may cost.
pub struct Budget {
    pub latency: Duration,
    pub memory: u64,
}

/// Outcomes by batch size.
type Rows = [(usize, Vec<Outcome>)];

pub fn run(common: &Common, sizes: &[usize], costs: &[Cost], budget: &Budget) -> Result<(), Failure> {
    let sizes = if sizes.is_empty() { &BATCHES } else { sizes };
    let mut report = Report::new(common)?;
    let mut bench = Bench::new(common, false)?;
    if common.sample_seconds.is_none() {
        bench = bench.at_least(Duration::from_millis(200));
    }
    let noise = NoiseWatch::start();
    let m = machine(bench.threads, common.quick);
    print_machine(&m);
    report.line(&m)?;
    let mut noisy = Vec::new();
    for &cost in costs {
        println!("sweep, {} stages, million records a second (median)\n", cost.name());
        let mut rows: Vec<(usize, Vec<Outcome>)> = Vec::new();
        for &batch in sizes {
            bench.conditions = Conditions { batch, empty_wait: Duration::from_millis(5), ..bench.conditions };
            let outcomes = bench.compare_until(&STAGES, cost, is_sharp)?;
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
        if !common.quick {
            verdict(&rows);
        }
        recommend(&rows, budget, &mut report, cost)?;
        let subtitle = report.subtitle(&m, what(cost));
        report.plot(&format!("sweep-{}.svg", cost.name()), || chart(&rows, cost, &subtitle))?;
    }
    println!("estimate: what the report expected of larger batches, for cheap and costly stages alike.");
    report.line(&noise.json())?;
    noisy.iter().chain(&noise.warning()).for_each(|w| println!("{w}"));
    Ok(())
}

fn what(cost: Cost) -> &'static str {
    match cost {
        Cost::Cheap => "generate, pass on, sum",
        Cost::Select => "generate, filter and project, sum",
        Cost::Costly => "decode NDJSON, filter and project, encode",
    }
}

fn chart(rows: &Rows, cost: Cost, subtitle: &str) -> String {
    // Ours first: auto is the thick one.
    let order = [(&AUTO, 0), (&INLINE, 1), (&THREADS, 2), (&STAGED, 3), (&RECYCLING, 4), (&PHASE3, 5)];
    let mut series: Vec<svg::Line> = order
        .into_iter()
        .filter(|(s, _)| rows.iter().any(|(_, r)| outcome(r, s).is_some()))
        .map(|(s, class)| svg::Line {
            label: s.name.to_owned(),
            class,
            values: rows.iter().map(|(_, r)| outcome(r, s).map(|o| o.median_rate() / 1e6)).collect(),
            dashed: false,
        })
        .collect();
    let expected = |b: usize| ESTIMATE.iter().find(|(e, _)| *e == b).map(|(_, r)| r / 1e6);
    let values: Vec<_> = rows.iter().map(|(b, _)| expected(*b)).collect();
    if values.iter().any(Option::is_some) {
        series.push(svg::Line { label: "the report's estimate".into(), class: 6, values, dashed: true });
    }
    let xs: Vec<usize> = rows.iter().map(|r| r.0).collect();
    svg::lines(
        &format!("Sweep: batch size and execution, {} stages", cost.name()),
        subtitle,
        "million records/s",
        &xs,
        &series,
    )
}

fn outcome<'a>(outcomes: &'a [Outcome], stage: &Stage) -> Option<&'a Outcome> {
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

/// `auto` over the best async variant, and over the better of our own two: median and lower bound.
fn ratios(outcomes: &[Outcome]) -> [Option<(f64, f64)>; 2] {
    let best = faster(outcomes.iter().filter(|o| matches!(o.stage.runner, Runner::Async(_))));
    let own = faster([&THREADS, &INLINE].into_iter().filter_map(|s| outcome(outcomes, s)));
    [best, own].map(|other| {
        Some(paired_ratio(&outcome(outcomes, &AUTO)?.rates(), &other?.rates())).filter(|r| r.0.is_finite())
    })
}

/// The bounds are so near to the ratios that a tie can be told from a loss of 3 %.
fn is_sharp(outcomes: &[Outcome]) -> bool {
    ratios(outcomes).into_iter().flatten().all(|(median, bound)| bound >= 0.98 * median)
}

fn row(batch: usize, outcomes: &[Outcome]) {
    print!("{batch:>7}");
    outcomes.iter().for_each(|o| print!(" {:>24.2}", o.median_rate() / 1e6));
    let estimate = ESTIMATE.iter().find(|(b, _)| *b == batch).map_or("–".to_owned(), |(_, r)| rate(*r));
    let [best, own] = ratios(outcomes).map(|r| r.map_or("–".into(), |(m, b)| format!("{m:.2} (≥ {b:.2})")));
    println!(" {estimate:>12} {best:>18} {own:>18}");
}

/// The targets of this command: never behind the best async variant, never far behind the better of our own two.
fn verdict(rows: &Rows) {
    let targets = [
        ("auto / best async variant", "1.0 with a lower bound of 0.97", 1.0, 0.97),
        ("auto / better of inline and threads", "0.95", 0.95, 0.0),
    ];
    for (i, (what, target, least, bound)) in targets.into_iter().enumerate() {
        let cells: Vec<(usize, f64, f64)> =
            rows.iter().filter_map(|(b, o)| ratios(o)[i].map(|(m, l)| (*b, m, l))).collect();
        let missed: Vec<String> = cells
            .iter()
            .filter(|(_, median, low)| *median < least || *low < bound)
            .map(|(batch, median, low)| format!("batch {batch}: {median:.2} (≥ {low:.2})"))
            .collect();
        match (cells.is_empty(), missed.is_empty()) {
            (true, _) => {}
            (_, true) => println!("{what}: target {target} reached at every batch size"),
            (_, false) => println!("{what}: target {target} NOT reached: {}", missed.join(", ")),
        }
    }
}

/// What a batch size costs under `auto`, at full load.
struct Price {
    batch: usize,
    speed: f64,
    /// By Little's law, from the records that existed at the same time.
    latency: Duration,
    memory: u64,
}

fn price(batch: usize, o: &Outcome) -> Price {
    let s = o.typical();
    let speed = o.median_rate();
    // Recycled records are made once: as many as were ever in flight. Channels and pools bound them.
    let in_flight = s.in_flight.clamp(batch as u64, 20 * batch as u64);
    Price {
        batch,
        speed,
        latency: Duration::from_secs_f64(in_flight as f64 / speed),
        memory: s.held_bytes.max(0) as u64,
    }
}

/// The smallest batch within 5 % of the best speed that fits the budgets.
fn recommend(rows: &Rows, budget: &Budget, report: &mut Report, cost: Cost) -> Result<(), Failure> {
    let prices: Vec<Price> = rows.iter().filter_map(|(b, r)| Some(price(*b, outcome(r, &AUTO)?))).collect();
    if prices.is_empty() {
        return Ok(());
    }
    println!(
        "what a batch costs under auto at full load (latency: records in flight / speed; memory: held by batches and pools)"
    );
    for p in &prices {
        let fits = fits(p, budget);
        println!(
            "  batch {:>6}: {:>10}, {:>9.3} ms, {:>8.2} MB{}",
            p.batch,
            rate(p.speed),
            p.latency.as_secs_f64() * 1e3,
            p.memory as f64 / 1e6,
            if fits { "" } else { " – over budget" }
        );
    }
    let within = format!("{:?} and {} MB", budget.latency, budget.memory / 1_000_000);
    match choose(&prices, budget) {
        Some(p) => {
            println!("recommended within {within}: batch {} ({})\n", p.batch, rate(p.speed));
            report.line(&recommendation(p, cost))
        }
        None => {
            println!("no batch size measured fits {within}\n");
            Ok(())
        }
    }
}

fn recommendation(p: &Price, cost: Cost) -> Value {
    json!({
        "name": "sweep-recommendation", "cost": cost.name(), "batch": p.batch, "records_per_second": p.speed,
        "latency_s": p.latency.as_secs_f64(), "memory_bytes": p.memory,
    })
}

fn fits(p: &Price, budget: &Budget) -> bool {
    p.latency <= budget.latency && p.memory <= budget.memory
}

fn choose<'a>(prices: &'a [Price], budget: &Budget) -> Option<&'a Price> {
    let fitting = || prices.iter().filter(|p| fits(p, budget));
    let best = fitting().map(|p| p.speed).fold(0.0, f64::max);
    fitting().filter(|p| p.speed >= 0.95 * best).min_by_key(|p| p.batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(batch: usize, speed: f64, latency_ms: u64, memory: u64) -> Price {
        Price { batch, speed, latency: Duration::from_millis(latency_ms), memory }
    }

    #[test]
    fn the_smallest_batch_that_is_fast_enough_and_fits() {
        let prices = [
            price(1, 10.0, 0, 10),
            price(100, 96.0, 1, 1_000),
            price(1_000, 100.0, 3, 10_000),
            price(10_000, 150.0, 40, 100_000),
        ];
        let batch = |latency, memory| {
            choose(&prices, &Budget { latency: Duration::from_millis(latency), memory }).map(|p| p.batch)
        };
        assert_eq!(batch(5, 1_000_000), Some(100));
        assert_eq!(batch(50, 1_000_000), Some(10_000));
        assert_eq!(batch(50, 50_000), Some(100));
        assert_eq!(batch(0, 1_000_000), Some(1));
        assert_eq!(batch(0, 5), None);
    }
}
