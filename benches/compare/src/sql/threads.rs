//! What a second thread brings to GROUP BY: shards of the groups, fed side by side where that pays.

use serde_json::json;

use super::Size;
use super::cases::{Case, costly};
use super::prebuilt::{Records, Way, once, prebuilt, schema};
use crate::Failure;
use crate::measure::{median, paired_ratio};
use crate::report::{Report, rate};

pub fn run(size: &Size, report: &mut Report) -> Result<(), Failure> {
    println!("\n{:<32} {:>8} {:>12} {:>18}", "GROUP BY, threads", "threads", "median", "× one (≥ 95 %)");
    for case in costly() {
        one_case(size, &case, report)?;
    }
    Ok(())
}

fn one_case(size: &Size, case: &Case, report: &mut Report) -> Result<(), Failure> {
    let (n, schema) = (size.records(case), schema());
    let ways = [1, 2].map(|threads| {
        let settings = if threads == 1 { Vec::new() } else { vec![("execution", "auto".to_owned())] };
        Way { threads, settings, ..size.way.clone() }
    });
    let mut rates = [Vec::new(), Vec::new()];
    let mut decisions = Vec::new();
    for _ in 0..size.repeat {
        for (way, rates) in ways.iter().zip(&mut rates) {
            let records = prebuilt(&schema, case, n);
            let (seconds, stats) = once(case, Records::Ready(records, 1), way)?;
            rates.push(n as f64 / seconds);
            decisions = stats.decisions;
        }
    }
    let [one, two] = &rates;
    let (ratio, bound) = paired_ratio(two, one);
    let told: Vec<String> = decisions.iter().map(|d| format!("{} ({})", d.placement, d.reason)).collect();
    for (threads, rates) in [(1, one), (2, two)] {
        let speed = median(rates);
        let ratio = (threads == 2).then_some(ratio);
        let shown = ratio.map_or(String::new(), |r| format!("{r:.2} (≥ {bound:.2})"));
        println!("{:<32} {threads:>8} {:>12} {shown:>18}", case.name, rate(speed));
        report.line(&json!({
            "name": "sql-threads", "stage": "sync", "case": case.name, "threads": threads, "records": n, "batch": size.way.batch,
            "seconds": n as f64 / speed, "records_per_second": speed, "samples": rates, "ratio": ratio,
            "decisions": if threads == 2 { told.clone() } else { Vec::new() },
        }))?;
    }
    told.iter().for_each(|t| println!("  {t}"));
    Ok(())
}
