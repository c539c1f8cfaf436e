//! `files`: NDJSON and CSV files, copied, filtered and projected, grouped, windowed; beside DuckDB and Polars with `--peers`.

mod cases;
mod commits;
mod outputs;
mod peers;

use std::path::Path;
use std::time::Instant;

use millstream::Engine;
use millstream::observe::{JobStats, ThreadStats};
use serde_json::json;

use crate::machine::{NoiseWatch, cores, machine, print_machine};
use crate::measure::{mean_and_deviation, median, paired_ratio};
use crate::report::{Report, rate};
use crate::{Common, Failure};
use cases::{CASES, Case, Input};
use peers::Peer;

/// Runs of one case with a number of threads.
struct Measured {
    case: Case,
    threads: usize,
    seconds: Vec<f64>,
    /// Where the stages of the last run were at its end.
    placement: String,
    /// Name and seconds of each peer.
    peers: Vec<(String, Vec<f64>)>,
}

/// What stays the same for all cases.
struct Bench<'a> {
    dir: &'a Path,
    batch: usize,
    repeat: usize,
    peers: Vec<Peer>,
}

pub fn run(common: &Common, with_peers: bool, with_commits: bool, only: Option<&str>) -> Result<(), Failure> {
    let rows = common.records.unwrap_or(if common.quick { 20_000 } else { 2_000_000 });
    let mut threads = common.threads.map_or(vec![1, cores().clamp(1, 2)], |n| vec![n]);
    threads.dedup();
    let mut report = Report::new(common)?;
    let noise = NoiseWatch::start();
    let m = machine(threads.iter().copied().max().unwrap_or(1), common.quick);
    print_machine(&m);
    report.line(&m)?;
    let dir = tempfile::tempdir()?;
    let bench = Bench {
        dir: dir.path(),
        batch: common.batch,
        repeat: common.repeat.unwrap_or(if common.quick { 1 } else { 5 }),
        peers: if with_peers { peers::find(dir.path())? } else { Vec::new() },
    };
    if with_commits {
        let orders = cases::write_orders(dir.path(), rows)?;
        let threads = common.threads.unwrap_or(cores().clamp(1, 2));
        commits::run(&bench, &orders, threads, !common.quick, &mut report)?;
        report.line(&noise.json())?;
        noise.warning().iter().for_each(|w| println!("{w}"));
        return Ok(());
    }
    println!(
        "{:<8} {:<9} {:>7} {:<18} {:>12} {:>8} {:>8} {:>24}",
        "format", "query", "threads", "program", "rows/s", "± σ", "MB/s", "millstream / it (≥ 95 %)"
    );
    let mut all = Vec::new();
    let orders = cases::write_orders(dir.path(), rows)?;
    let flights = cases::write_flights(dir.path(), rows)?;
    let wanted = |case: &Case| {
        only.is_none_or(|words| words.split_whitespace().all(|w| w == case.format || w == case.query))
    };
    if !CASES.iter().any(wanted) {
        return Err("no case has all of these words; formats are ndjson and csv, queries pass, filter, group and tumbling".into());
    }
    for case in CASES.into_iter().filter(wanted) {
        let input = if case.table == "flights" { &flights } else { &orders };
        if let Some(why) = unsupported(&case, input)? {
            println!("{:<8} {:<9} not supported yet: {why}", case.format, case.query);
            report.line(
                &json!({"name": "files-unsupported", "format": case.format, "query": case.query, "why": why}),
            )?;
            continue;
        }
        for &n in &threads {
            let measured = bench.measure(case, input, n)?;
            print(&measured, input, &mut report)?;
            all.push(measured);
        }
    }
    if !common.quick {
        summary(&all, m.get("two_thread_speedup").and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN));
    }
    report.line(&noise.json())?;
    noise.warning().iter().for_each(|w| println!("{w}"));
    Ok(())
}

/// Why the engine can't run a query yet, in its own words; any other refusal is a failure.
fn unsupported(case: &Case, input: &Input) -> Result<Option<String>, Failure> {
    match Engine::new().sql(&case.pipeline(&input.path, Path::new("/dev/null"))) {
        Ok(_) => Ok(None),
        Err(e) => {
            let text = e.to_string();
            let line = text.lines().find(|l| l.contains("not supported yet")).map(str::to_owned);
            line.map(Some).ok_or_else(|| e.into())
        }
    }
}

impl Bench<'_> {
    /// Interleaved runs, outputs compared after the last.
    fn measure(&self, case: Case, input: &Input, threads: usize) -> Result<Measured, Failure> {
        let mine = self.dir.join(format!("millstream.{}", case.extension()));
        let of_peer = |p: &Peer| self.dir.join(format!("{}.{}", p.key, case.extension()));
        let mut seconds = Vec::new();
        let mut placement = String::new();
        let mut peers: Vec<(String, Vec<f64>)> =
            self.peers.iter().map(|p| (p.name.clone(), Vec::new())).collect();
        for _ in 0..self.repeat {
            let (taken, stats) = self.once(&case, input, &mine, threads, &[])?;
            seconds.push(taken);
            placement = describe(&stats);
            for (peer, (_, seconds)) in self.peers.iter().zip(&mut peers) {
                seconds.push(peer.run(&case, &input.path, &of_peer(peer), threads)?);
            }
        }
        for peer in &self.peers {
            outputs::compare(&mine, &of_peer(peer), &case, &peer.name)?;
        }
        Ok(Measured { case, threads, seconds, placement, peers })
    }

    /// One job, start-up, planning and closing of the output inside its time.
    fn once(
        &self,
        case: &Case,
        input: &Input,
        output: &Path,
        threads: usize,
        settings: &[(&str, String)],
    ) -> Result<(f64, JobStats), Failure> {
        let start = Instant::now();
        let engine = Engine::new();
        engine.set("threads", &threads.to_string())?;
        engine.set("batch_rows", &self.batch.to_string())?;
        for (name, value) in settings {
            engine.set(name, value)?;
        }
        let stats = engine.sql(&case.pipeline(&input.path, output))?.start()?.wait()?;
        let seconds = start.elapsed().as_secs_f64();
        let absorbed: u64 = stats.operators.iter().map(|o| o.absorbed).sum();
        let ends = if case.ordered { stats.records_out + stats.filtered } else { absorbed };
        if stats.records_in != input.rows || ends != input.rows {
            return Err(format!(
                "{} {}: records were lost or duplicated: {} in the file, {} read, {} written, {} filtered, {absorbed} absorbed",
                case.format, case.query, input.rows, stats.records_in, stats.records_out, stats.filtered
            )
            .into());
        }
        Ok((seconds, stats))
    }
}

/// Where the stages were, and what each thread did, in per cent of the wall time.
fn describe(stats: &JobStats) -> String {
    let share = |t: &ThreadStats| format!("{} {:.0} %", t.name, 100.0 * t.busy_s / stats.wall_s.max(1e-9));
    let threads: Vec<String> = stats.threads.iter().map(share).collect();
    format!("{}; busy: {}; moves: {}", stats.execution, threads.join(", "), stats.decisions.len())
}

fn print(m: &Measured, input: &Input, report: &mut Report) -> Result<(), Failure> {
    let mine = [("millstream".to_owned(), m.seconds.clone())];
    for (i, (name, seconds)) in mine.iter().chain(&m.peers).enumerate() {
        let (mean, deviation) = mean_and_deviation(seconds);
        let taken = median(seconds);
        let ratio = (i > 0).then(|| paired_ratio(seconds, &m.seconds));
        println!(
            "{:<8} {:<9} {:>7} {name:<18} {:>12} {:>6.1} % {:>8.0} {:>24}",
            m.case.format,
            m.case.query,
            m.threads,
            rate(input.rows as f64 / taken),
            100.0 * deviation / mean,
            input.bytes as f64 / 1e6 / taken,
            ratio.map_or(String::new(), |(r, bound)| format!("{r:.2} × (≥ {bound:.2})"))
        );
        report.line(&json!({
            "name": "files", "stage": name, "format": m.case.format, "query": m.case.query, "threads": m.threads,
            "records": input.rows, "bytes": input.bytes, "seconds": taken, "samples": seconds,
            "placement": m.placement, "records_per_second": input.rows as f64 / taken, "ratio": ratio.map(|r| r.0), "ratio_bound": ratio.map(|r| r.1),
        }))?;
    }
    Ok(())
}

/// Targets over DuckDB, and what a second thread is worth beside what it can be worth on this machine.
fn summary(all: &[Measured], machine_speedup: f64) {
    println!("\nSummary");
    for m in all {
        let duckdb = m.peers.iter().find(|p| p.0.starts_with("DuckDB"));
        if let (Some((least, aim)), Some((_, theirs))) = (m.case.target, duckdb) {
            let (ratio, _) = paired_ratio(theirs, &m.seconds);
            let verdict = if ratio >= aim {
                "reached, the aim too"
            } else if ratio >= least {
                "reached"
            } else {
                "NOT reached"
            };
            println!(
                "  {} {} / DuckDB, {} thread{}: {ratio:.2} × (at least {least}, aim {aim}): {verdict}",
                m.case.format,
                m.case.query,
                m.threads,
                if m.threads == 1 { "" } else { "s" }
            );
        }
    }
    println!("  two threads over one (plain arithmetic on this machine: {machine_speedup:.2} ×):");
    for two in all.iter().filter(|m| m.threads == 2) {
        let same =
            |m: &&Measured| m.threads == 1 && m.case.sql == two.case.sql && m.case.format == two.case.format;
        if let Some(one) = all.iter().find(same) {
            let gain = median(&one.seconds) / median(&two.seconds);
            println!("    {:<7} {:<9} {gain:.2} ×", two.case.format, two.case.query);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_runs_or_says_that_it_can_not_yet() {
        let dir = tempfile::tempdir().unwrap();
        let bench = Bench { dir: dir.path(), batch: 100, repeat: 1, peers: Vec::new() };
        let orders = cases::write_orders(dir.path(), 1_000).unwrap();
        let flights = cases::write_flights(dir.path(), 1).unwrap();
        let mut ran = Vec::new();
        for case in CASES {
            let input = if case.table == "flights" { &flights } else { &orders };
            match unsupported(&case, input).unwrap() {
                None => {
                    bench.measure(case, input, 1).unwrap();
                    ran.push(format!("{} {}", case.format, case.query));
                }
                Some(why) => assert!(why.contains("not supported yet"), "{why}"),
            }
        }
        for needed in ["ndjson pass", "ndjson filter", "csv pass", "csv filter"] {
            assert!(ran.iter().any(|r| r == needed), "{needed} in {ran:?}");
        }
    }

    #[test]
    fn every_way_to_commit_runs() {
        let dir = tempfile::tempdir().unwrap();
        let bench = Bench { dir: dir.path(), batch: 100, repeat: 2, peers: Vec::new() };
        let orders = cases::write_orders(dir.path(), 1_000).unwrap();
        let json = dir.path().join("results.jsonl");
        let mut report = Report::to_file(&json).unwrap();
        commits::run(&bench, &orders, 1, false, &mut report).unwrap();
        assert_eq!(std::fs::read_to_string(&json).unwrap().lines().count(), 6);
    }

    #[test]
    fn a_file_with_other_rows_than_expected_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let bench = Bench { dir: dir.path(), batch: 100, repeat: 1, peers: Vec::new() };
        let mut orders = cases::write_orders(dir.path(), 1_000).unwrap();
        orders.rows = 1_001;
        let out = dir.path().join("out.jsonl");
        assert!(
            bench
                .once(&CASES[0], &orders, &out, 1, &[])
                .unwrap_err()
                .to_string()
                .contains("lost or duplicated")
        );
    }
}
