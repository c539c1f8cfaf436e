//! `sql`: the scenarios of the old engine's tables over records that lie ready in memory, on one core; then series in which keys,
//! windows or frames grow, what a group takes of memory, and what a second thread brings.

mod cases;
mod memory;
mod prebuilt;
mod threads;

use serde_json::json;

use crate::journey::{AUTO, INLINE, RECYCLING, THREADS};
use crate::machine::{NoiseWatch, machine, print_machine};
use crate::measure::{Bench, mean_and_deviation, median, warnings};
use crate::report::{Report, rate};
use crate::workload::Cost;
use crate::{Common, Failure};
use cases::{Case, SCENARIOS, SERIES};
pub use cases::{Scenario, Series};
use prebuilt::{Records, Way, once, prebuilt, schema};

/// How large and how often.
struct Size {
    records: u64,
    repeat: usize,
    way: Way,
    quick: bool,
}

impl Size {
    fn of(common: &Common) -> Self {
        let way = Way { batch: common.batch, threads: 1, settings: Vec::new() };
        let records = common.records.unwrap_or(if common.quick { 5_000 } else { 1_000_000 });
        let repeat = common.repeat.unwrap_or(if common.quick { 2 } else { 7 });
        Self { records, repeat, way, quick: common.quick }
    }
    /// Records of a round.
    fn round(&self, case: &Case) -> u64 {
        (self.records as f64 * case.share) as u64
    }
    fn records(&self, case: &Case) -> u64 {
        self.round(case) * case.rounds
    }
    /// Seconds of each run of each case; the cases take turns.
    fn measure(&self, cases: &[Case]) -> Result<Vec<Vec<f64>>, Failure> {
        let schema = schema();
        let mut seconds = vec![Vec::new(); cases.len()];
        for _ in 0..self.repeat {
            for (case, taken) in cases.iter().zip(&mut seconds) {
                let records = prebuilt(&schema, case, self.round(case));
                taken.push(once(case, Records::Ready(records, case.rounds), &self.way)?.0);
            }
        }
        Ok(seconds)
    }
}

/// Only a part; without any everything.
#[derive(Clone, Copy, Debug)]
pub struct Only {
    pub scenario: Option<Scenario>,
    pub series: Option<Series>,
    /// What a second thread brings.
    pub threads: bool,
}

pub fn run(common: &Common, only: Only) -> Result<(), Failure> {
    let mut report = Report::new(common)?;
    let noise = NoiseWatch::start();
    let m = machine(1, common.quick);
    print_machine(&m);
    report.line(&m)?;
    let size = Size::of(common);
    println!(
        "sql: {} records ready in memory, batch {}, one core (inline), {} runs; start to end of the job\n",
        size.records, common.batch, size.repeat
    );
    let all = only.scenario.is_none() && only.series.is_none() && !only.threads;
    let scenarios = SCENARIOS.into_iter().filter(|s| all || only.scenario == Some(*s));
    scenarios_of(&size, &scenarios.collect::<Vec<_>>(), &mut report)?;
    for series in SERIES.into_iter().filter(|s| all || only.series == Some(*s)) {
        grow(&size, series, &mut report)?;
    }
    if only.threads && !all {
        threads::run(&size, &mut report)?;
    }
    if all {
        memory::run(&size, &mut report)?;
        threads::run(&size, &mut report)?;
        executions(common, &mut report)?;
    }
    report.line(&noise.json())?;
    noise.warning().iter().for_each(|w| println!("{w}"));
    Ok(())
}

fn scenarios_of(size: &Size, chosen: &[Scenario], report: &mut Report) -> Result<(), Failure> {
    if chosen.is_empty() {
        return Ok(());
    }
    println!("{:<14} {:>12} {:>8} {:>10} {:>8}", "scenario", "median", "± σ", "aim", "reached");
    let cases: Vec<Case> = chosen.iter().map(|s| s.case()).collect();
    for (case, seconds) in cases.iter().zip(size.measure(&cases)?) {
        let n = size.records(case);
        let rates: Vec<f64> = seconds.iter().map(|s| n as f64 / s).collect();
        let (mean, deviation) = mean_and_deviation(&rates);
        let speed = median(&rates);
        let reached = match (case.aim, case.least) {
            _ if size.quick => "–",
            (Some(aim), _) if speed >= aim => "aim",
            (_, Some(least)) if speed < least => "NO",
            _ => "yes",
        };
        let aim = case.aim.map_or(String::new(), rate);
        let deviation = 100.0 * deviation / mean;
        println!("{:<14} {:>12} {deviation:>6.1} % {aim:>10} {reached:>8}", case.name, rate(speed));
        report.line(&json!({
            "name": "sql", "stage": "sync inline", "scenario": case.name, "records": n, "batch": size.way.batch,
            "seconds": median(&seconds), "records_per_second": speed, "samples": rates, "aim": case.aim, "least": case.least,
        }))?;
    }
    Ok(())
}

/// One series: its points take turns, so that their ratios hold on a machine that changes its speed.
fn grow(size: &Size, series: Series, report: &mut Report) -> Result<(), Failure> {
    let cases = series.cases();
    if cases.iter().all(|c| c.rounds == 1) {
        let measured = size.measure(&cases)?;
        return tell(size, series, series.name(), &cases, &measured, report);
    }
    // What groups cost once is in the first round, so what is beyond it is what a row of a known group costs.
    let first = |case: &Case| Case { rounds: 1, ..case.clone() };
    let both: Vec<Case> = cases.iter().flat_map(|c| [c.clone(), first(c)]).collect();
    let measured = size.measure(&both)?;
    let whole: Vec<Vec<f64>> = measured.iter().step_by(2).cloned().collect();
    tell(size, series, series.name(), &cases, &whole, report)?;
    let known: Vec<Case> = cases.iter().map(|c| Case { rounds: c.rounds - 1, ..c.clone() }).collect();
    let beyond = measured.chunks(2).map(|pair| match pair {
        [whole, first] => whole.iter().zip(first).map(|(w, f)| (w - f).max(1e-9)).collect(),
        _ => Vec::new(),
    });
    tell(
        size,
        series,
        &format!("{}, groups known", series.name()),
        &known,
        &beyond.collect::<Vec<_>>(),
        report,
    )
}

/// Prints and reports the points of a series.
fn tell(
    size: &Size,
    series: Series,
    name: &str,
    cases: &[Case],
    measured: &[Vec<f64>],
    report: &mut Report,
) -> Result<(), Failure> {
    println!("\n{name:<32} {:>12} {:>12} {:>10}", "median", "ns/record", "× cost");
    let costs = |case: &Case, seconds: &[f64]| -> Vec<f64> {
        seconds.iter().map(|s| s * 1e9 / size.records(case) as f64).collect()
    };
    let (Some(first), Some(least)) = (cases.first(), measured.first()) else { return Ok(()) };
    let base = costs(first, least);
    for (case, seconds) in cases.iter().zip(measured) {
        let n = size.records(case);
        let cost = costs(case, seconds);
        let ratios: Vec<f64> = cost.iter().zip(&base).map(|(c, b)| c / b).collect();
        let (speed, times) = (1e9 / median(&cost), median(&ratios));
        let bad = series.most().is_some_and(|m| times > m) || case.least.is_some_and(|l| speed < l);
        let mark = if bad && !size.quick { "  NO" } else { "" };
        println!("{:<32} {:>12} {:>12.1} {times:>10.2}{mark}", case.name, rate(speed), median(&cost));
        report.line(&json!({
            "name": "sql-series", "stage": "sync inline", "series": name, "point": case.name, "records": n,
            "batch": size.way.batch, "seconds": median(seconds), "records_per_second": speed, "samples": cost.iter().map(|c| 1e9 / c)
            .collect::<Vec<_>>(), "times": times, "most": series.most(), "least": case.least,
        }))?;
    }
    Ok(())
}

/// SELECT over generated records in every execution, beside the async engine that recycles.
fn executions(common: &Common, report: &mut Report) -> Result<(), Failure> {
    let bench = Bench::new(common, false)?;
    println!(
        "\nSELECT over generated records, {} threads, all executions; long samples, first read to last record written\n",
        bench.threads
    );
    let outcomes = bench.compare(&[RECYCLING, THREADS, INLINE, AUTO], Cost::Select)?;
    println!("{:<26} {:>12} {:>8} {:>10}", "execution", "median", "± σ", "allocs/rec");
    for o in &outcomes {
        let (mean, deviation) = mean_and_deviation(&o.rates());
        println!(
            "{:<26} {:>12} {:>6.1} % {:>10.4}",
            o.stage.name,
            rate(o.median_rate()),
            100.0 * deviation / mean,
            o.typical().allocations_per_record()
        );
        report.line(&o.json("sql-executions", common.batch, Cost::Select))?;
    }
    warnings(&outcomes).iter().for_each(|w| println!("{w}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Size {
        let way = Way { batch: 100, threads: 1, settings: Vec::new() };
        Size { records: 2_345, repeat: 1, way, quick: true }
    }

    #[test]
    fn every_case_counts_its_records() {
        let mut cases: Vec<Case> = SCENARIOS.map(Scenario::case).into();
        cases.extend(SERIES.into_iter().flat_map(Series::cases));
        cases.extend(cases::costly());
        cases.iter_mut().for_each(|c| c.share = c.share.min(1.0));
        let seconds = small().measure(&cases).unwrap();
        assert!(seconds.iter().all(|s| s.len() == 1 && s[0] > 0.0));
    }

    #[test]
    fn a_missing_record_is_an_error() {
        let (schema, case) = (schema(), Scenario::Select.case());
        let mut records = prebuilt(&schema, &case, 2_000);
        // One that the filter would pass is replaced by one that it drops.
        records[1_999] = records[0].clone();
        let error = once(&case, Records::Ready(records, 1), &small().way).unwrap_err();
        assert!(error.to_string().contains("lost or duplicated"), "{error}");
    }

    #[test]
    fn keys_are_as_many_as_asked_for() {
        let schema = schema();
        let case = Case { keys: 1000, ..Scenario::GroupBy.case() };
        let records = prebuilt(&schema, &case, 20_000);
        assert_eq!(prebuilt::keys_among(20_000, 1000), 1000);
        let names: std::collections::HashSet<&str> =
            records.iter().filter_map(|r| r.values()[2].as_str()).collect();
        assert_eq!(names.len(), 1000);
    }
}
