//! `files --commits`: what a commit every second costs from file to file – without commits, each row at least once, exactly once.

use std::fs;

use serde_json::json;

use super::cases::{CASES, Case, Input};
use super::{Bench, Report};
use crate::Failure;
use crate::measure::{median, paired_ratio};
use crate::report::rate;

/// What a job promises after a crash.
const WAYS: [&str; 3] = ["none", "simple", "transactional"];

/// The jobs, and the least speed: of `transactional` over which other way.
const TARGETS: [(&str, &str, f64); 2] = [("tumbling", "simple", 0.9), ("pass", "none", 0.8)];

pub(super) fn run(
    bench: &Bench<'_>,
    orders: &Input,
    threads: usize,
    verdicts: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    println!(
        "{:<8} {:<9} {:>7} {:<14} {:>12} {:>9} {:>22} {:>10}",
        "format", "query", "threads", "commits", "rows/s", "commits", "speed / none (≥ 95 %)", "stall, ms"
    );
    for (query, than, least) in TARGETS {
        let Some(case) = CASES.into_iter().find(|c| c.format == "ndjson" && c.query == query) else {
            continue;
        };
        let mut seconds: [Vec<f64>; 3] = Default::default();
        let (mut commits, mut stalls) = ([0; 3], [0f64; 3]);
        for round in 0..bench.repeat {
            for at in 0..WAYS.len() {
                // Every other round backwards.
                let at = if round % 2 == 0 { at } else { WAYS.len() - 1 - at };
                let (taken, made, stall) = once(bench, &case, orders, threads, WAYS[at])?;
                seconds[at].push(taken);
                commits[at] = made;
                stalls[at] = stalls[at].max(stall);
            }
        }
        for (at, way) in WAYS.into_iter().enumerate() {
            let (taken, (ratio, bound)) = (median(&seconds[at]), paired_ratio(&seconds[0], &seconds[at]));
            println!(
                "{:<8} {query:<9} {threads:>7} {way:<14} {:>12} {:>9} {:>22} {:>10.2}",
                case.format,
                rate(orders.rows as f64 / taken),
                commits[at],
                format!("{ratio:.3} (≥ {bound:.3})"),
                stalls[at] * 1e3
            );
            report.line(&json!({
                "name": "files-commits", "stage": way, "format": case.format, "query": query, "threads": threads,
                "records": orders.rows, "seconds": taken, "samples": seconds[at], "commits": commits[at],
                "records_per_second": orders.rows as f64 / taken, "ratio": ratio, "max_stall_ms": stalls[at] * 1e3,
            }))?;
        }
        if verdicts {
            let base = WAYS.iter().position(|w| *w == than).unwrap_or(0);
            let (ratio, bound) = paired_ratio(&seconds[base], &seconds[2]);
            let verdict = if ratio >= least { "reached" } else { "NOT reached" };
            println!(
                "  transactional / {than}: {ratio:.3} × (≥ {bound:.3}; at least {least}): {verdict}; fewer than three commits a run \
                 measure little"
            );
        }
    }
    Ok(())
}

/// One run: seconds, commits, longest stall.
fn once(
    bench: &Bench<'_>,
    case: &Case,
    input: &Input,
    threads: usize,
    way: &str,
) -> Result<(f64, u64, f64), Failure> {
    let (state, parts) = (bench.dir.join("state"), bench.dir.join("parts"));
    let file = bench.dir.join("committed.jsonl");
    for dir in [&state, &parts] {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
    }
    let kept = [
        ("state", state.display().to_string()),
        ("commit_interval", "1s".to_owned()),
        ("mode", way.to_owned()),
    ];
    let settings = if way == "none" { &[] } else { kept.as_slice() };
    let output = if way == "transactional" { &parts } else { &file };
    let (taken, stats) = bench.once(case, input, output, threads, settings)?;
    Ok((taken, stats.commits, stats.commit.max_stall_s))
}
