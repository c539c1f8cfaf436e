//! `sql`: the scenarios of the old engine's tables, as far as the engine has them.

use crate::journey::{AUTO, INLINE, RECYCLING, THREADS};
use crate::measure::{Bench, mean_and_deviation, warnings};
use crate::report::{Report, machine, print_machine, rate};
use crate::workload::Cost;
use crate::{Common, Failure};

/// A query that every table of the old engine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Filter and projection.
    Select,
    /// Moving average over the last rows.
    RowsWindow,
    /// GROUP BY with five aggregates.
    GroupBy,
    /// Tumbling window.
    Tumbling,
    /// Tumbling window with EMIT CHANGES.
    EmitChanges,
}

pub fn run(common: &Common, scenario: Scenario) -> Result<(), Failure> {
    if scenario != Scenario::Select {
        return Err(format!(
            "the scenario {scenario:?} is not supported yet: the engine has no such query; 'select' is"
        )
        .into());
    }
    let bench = Bench::new(common, false)?;
    let mut report = Report::new(common)?;
    let m = machine(bench.threads);
    print_machine(&m);
    report.line(&m)?;
    println!(
        "SELECT id, amount * 2 AS twice, name FROM source WHERE amount >= 125, generated records, batch {}\n",
        common.batch
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
        report.line(&o.json("sql", common.batch, Cost::Select))?;
    }
    warnings(&outcomes).iter().for_each(|w| println!("{w}"));
    Ok(())
}
