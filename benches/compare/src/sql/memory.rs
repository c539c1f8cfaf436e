//! What a group takes: the most bytes that a job holds with many groups, less what it holds with one.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::json;

use super::Size;
use super::cases::{Case, Series};
use super::prebuilt::{Records, keys_among, once};
use crate::Failure;
use crate::alloc::held_bytes;
use crate::report::Report;

pub fn run(size: &Size, report: &mut Report) -> Result<(), Failure> {
    let Some(case) = Series::Keys.cases().pop() else { return Ok(()) };
    let (n, keys) = (2 * size.records, size.records);
    let groups = keys_among(n, keys);
    println!(
        "\n{:<32} {:>12} {:>12} {:>14}",
        "memory, five aggregates by key", "groups", "peak MB", "bytes/group"
    );
    let peak_of = |keys: u64| -> Result<(f64, i64), Failure> {
        let case = Case { keys, ..case.clone() };
        let (before, peak) = (held_bytes(), Arc::new(AtomicI64::new(0)));
        let records = Records::Made(n, case.clone(), peak.clone());
        let (seconds, _) = once(&case, records, &size.way)?;
        Ok((seconds, peak.load(Ordering::Relaxed) - before))
    };
    let (_, alone) = peak_of(1)?;
    let (seconds, peak) = peak_of(keys)?;
    let each = (peak - alone) as f64 / (groups - 1).max(1) as f64;
    println!("{:<32} {groups:>12} {:>12.1} {each:>14.0}", "", peak as f64 / 1e6);
    report.line(&json!({
        "name": "sql-memory", "stage": "sync inline", "records": n, "seconds": seconds,
        "records_per_second": n as f64 / seconds, "groups": groups, "peak_bytes": peak, "bytes_per_group": each,
    }))
}
