//! `checkpoint`: what commits cost a job that keeps many groups – the longest stall, memory, bytes written, recovery.
//!
//! Keys come in turn, so that each epoch touches every group, or with `--touched` a share of them. The source is faster than the
//! processor, so the time between two of its reads is what the processor did meanwhile: a batch, and what a commit added to it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use millstream::io::Scan;
use millstream::observe::JobStats;
use millstream::record::Position;
use millstream::{
    BatchBuilder, Boundedness, DataReader, DataSource, DataType, DataWriter, Engine, IoError, Read, Schema,
    Stop, StreamRecord,
};
use serde_json::json;

use crate::machine::{NoiseWatch, machine, print_machine};
use crate::measure::median;
use crate::report::{Report, rate};
use crate::{Common, Failure};

/// An odd number: multiples of it scatter keys over their range.
const STRIDE: u64 = 0x9e37_79b9;
/// Rows for each group: the first two make the groups, the others are measured.
const WARM: u64 = 2;

/// What the source saw.
#[derive(Debug, Default)]
struct Seen {
    /// Records given.
    rows: AtomicU64,
    /// Nanoseconds between two reads, the most since the warm-up.
    gap: AtomicU64,
    /// Nanoseconds since the start when the warm-up and the run were over.
    warm: AtomicU64,
    done: AtomicU64,
    /// Resident bytes after the warm-up.
    resident: AtomicU64,
}

#[derive(Clone)]
struct Keys {
    groups: u64,
    touched: u64,
    rows: u64,
    start: Instant,
    seen: Arc<Seen>,
}

fn schema() -> Arc<Schema> {
    Schema::of([("k", DataType::BigInt), ("v", DataType::BigInt)])
}

impl DataSource for Keys {
    fn schema(&self) -> Arc<Schema> {
        schema()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }
    fn can_replay(&self) -> bool {
        true
    }
    fn open(&self, _: &Scan) -> Result<Box<dyn DataReader>, IoError> {
        Ok(Box::new(Reader { keys: self.clone(), next: 0, last: None }))
    }
}

struct Reader {
    keys: Keys,
    next: u64,
    last: Option<Instant>,
}

impl DataReader for Reader {
    fn schema(&self) -> Arc<Schema> {
        schema()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        let Keys { groups, touched, rows, start, ref seen } = self.keys;
        let now = Instant::now();
        if let Some(last) = self.last.filter(|_| self.next < rows) {
            seen.gap.fetch_max((now - last).as_nanos() as u64, Ordering::Relaxed);
        }
        let warm = WARM * groups;
        while self.next < rows && !out.is_full() {
            let among = if self.next < warm { groups } else { touched };
            let key = (self.next % among).wrapping_mul(STRIDE) % groups;
            let record = out.record();
            record.set(0, key as i64);
            record.set(1, self.next as i64);
            self.next += 1;
            if self.next == warm {
                reset_peak();
                seen.resident.store(kilobytes("VmRSS:") * 1024, Ordering::Relaxed);
                seen.warm.store(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
            }
        }
        seen.rows.store(self.next, Ordering::Relaxed);
        if self.next < rows {
            self.last = (self.next > warm).then(Instant::now);
            return Ok(Read::More);
        }
        if seen.done.load(Ordering::Relaxed) == 0 {
            seen.done.store(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
        Ok(Read::Idle)
    }
    fn position(&self) -> Position {
        Position::new(self.next.to_le_bytes(), format!("row {}", self.next))
    }
    fn seek(&mut self, position: &Position) -> Result<(), IoError> {
        self.next = position.bytes().try_into().map_or(0, u64::from_le_bytes);
        Ok(())
    }
}

struct Nowhere;

impl DataWriter for Nowhere {
    fn write(&mut self, _: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        Ok(())
    }
    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
    fn finish(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

/// From here on the kernel's peak begins anew (Linux; elsewhere it does not, and the extra memory is too high).
fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn kilobytes(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(what));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}

/// One run.
struct Run {
    seconds: f64,
    gap: f64,
    extra: u64,
    stats: JobStats,
    /// Length of each epoch's file, from the warm-up on.
    sizes: Vec<f64>,
}

fn engine(keys: &Keys, execution: &str, state: Option<&Path>, interval: &str) -> Result<Engine, Failure> {
    let engine = Engine::new();
    engine.register_source("keys", keys.clone())?;
    engine.register_writer("out", Nowhere)?;
    engine.set("execution", execution)?;
    engine.set("state_max_bytes", "16 GiB")?;
    engine.set("commit_interval", interval)?;
    if let Some(dir) = state {
        engine.set("state", &dir.display().to_string())?;
    }
    Ok(engine)
}

const SQL: &str = "INSERT INTO out SELECT k, count(*) AS n, sum(v) AS total FROM keys GROUP BY k";

fn once(keys: &Keys, execution: &str, state: Option<&Path>, interval: &str) -> Result<Run, Failure> {
    let job = engine(keys, execution, state, interval)?.sql(SQL)?.start()?;
    let (mut epoch, mut sizes) = (0, Vec::new());
    while keys.seen.done.load(Ordering::Relaxed) == 0 {
        if job.is_finished() {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(20));
        let commit = job.stats().commit;
        if commit.epoch > epoch && keys.seen.warm.load(Ordering::Relaxed) > 0 {
            epoch = commit.epoch;
            sizes.push(commit.bytes as f64);
        }
    }
    let peak = kilobytes("VmHWM:") * 1024;
    job.stop(Stop::Checkpoint);
    let stats = job.wait()?;
    let at = |n: &AtomicU64| n.load(Ordering::Relaxed);
    let seen = &keys.seen;
    Ok(Run {
        seconds: (at(&seen.done).saturating_sub(at(&seen.warm))) as f64 / 1e9,
        gap: at(&seen.gap) as f64 / 1e6,
        extra: peak.saturating_sub(at(&seen.resident)),
        stats,
        sizes,
    })
}

/// Groups, and how many percent of them an epoch touches.
pub fn run(common: &Common, groups: u64, touched: f64) -> Result<(), Failure> {
    let groups = if common.quick { groups.min(20_000) } else { groups };
    let rounds = 8;
    let some = ((groups as f64 * touched / 100.0) as u64).clamp(1, groups);
    let mut report = Report::new(common)?;
    let noise = NoiseWatch::start();
    let m = machine(1, common.quick);
    print_machine(&m);
    report.line(&m)?;
    let rows = common.records.unwrap_or(groups * (WARM + rounds)).max(groups * (WARM + 1));
    println!(
        "checkpoint: {groups} groups (BIGINT key, count and sum), {some} of them touched in each epoch, a commit every {groups} rows\n"
    );
    let case = Case {
        groups,
        touched: some,
        rows,
        repeat: common.repeat.unwrap_or(if common.quick { 1 } else { 5 }),
    };
    for execution in ["threads", "inline"] {
        measure(execution, &case, &mut report)?;
    }
    report.line(&noise.json())?;
    noise.warning().iter().for_each(|w| println!("{w}"));
    Ok(())
}

/// What all runs have in common.
struct Case {
    groups: u64,
    touched: u64,
    rows: u64,
    repeat: usize,
}

fn measure(execution: &str, case: &Case, report: &mut Report) -> Result<(), Failure> {
    let Case { groups, touched, rows, .. } = *case;
    let keys = || Keys { groups, touched, rows, start: Instant::now(), seen: Arc::default() };
    let (mut plain, mut kept, mut recoveries) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..case.repeat {
        let dir = tempfile::tempdir()?;
        plain.push(once(&keys(), execution, None, "1h")?);
        kept.push(once(&keys(), execution, Some(dir.path()), &format!("{groups} rows"))?);
        let start = Instant::now();
        let job = engine(&keys(), execution, Some(dir.path()), "1h")?.sql(SQL)?.start()?;
        recoveries.push(start.elapsed().as_secs_f64());
        job.stop(Stop::Abort);
        let _ = job.wait();
    }
    let of = |runs: &[Run], f: fn(&Run) -> f64| median(&runs.iter().map(f).collect::<Vec<_>>());
    let most = |runs: &[Run], f: fn(&Run) -> f64| runs.iter().map(f).fold(0.0, f64::max);
    let measured = (rows - WARM * groups) as f64;
    let state = of(&kept, |r| r.stats.operators.iter().map(|o| o.state_bytes).sum::<u64>() as f64);
    let ratio: Vec<f64> = plain.iter().zip(&kept).map(|(p, k)| p.seconds / k.seconds).collect();
    let (with, without) = (measured / of(&kept, |r| r.seconds), measured / of(&plain, |r| r.seconds));
    let sizes: Vec<f64> = kept.iter().flat_map(|r| r.sizes.iter().copied()).collect();
    let size = if sizes.is_empty() { 0.0 } else { median(&sizes) };
    let (stall, gap) = (most(&kept, |r| r.stats.commit.max_stall_s * 1e3), most(&kept, |r| r.gap));
    let extra = of(&kept, |r| r.extra as f64) - of(&plain, |r| r.extra as f64);
    let recovery = median(&recoveries);
    println!("execution {execution}");
    println!("longest stall for a commit     {stall:>10.2} ms (what the job counts)");
    println!(
        "longest time between two reads {gap:>10.2} ms; without commits {:.2} ms",
        most(&plain, |r| r.gap)
    );
    println!("snapshot                       {:>10.2} MB an epoch (median)", size / 1e6);
    println!("state                          {:>10.2} MB", state / 1e6);
    println!("extra memory at the peak       {:>10.2} MB", extra / 1e6);
    println!("recovery                       {recovery:>10.3} s");
    println!("with commits {}, without {}; ratio {:.3}", rate(with), rate(without), median(&ratio));
    println!(
        "longest commit {:.3} s, epochs delayed {}",
        most(&kept, |r| r.stats.commit.max_s),
        most(&kept, |r| { r.stats.commit.delayed as f64 })
    );
    report.line(&json!({
        "name": "checkpoint", "stage": execution, "groups": groups, "touched": touched, "records": measured as u64,
        "seconds": of(&kept, |r| r.seconds), "records_per_second": with, "without_commits_per_second": without,
        "ratio": median(&ratio), "max_stall_ms": stall, "max_gap_ms": gap, "max_gap_without_ms": most(&plain, |r| r.gap),
        "snapshot_bytes": size, "state_bytes": state, "extra_peak_bytes": extra, "recovery_s": recovery,
        "max_commit_s": most(&kept, |r| r.stats.commit.max_s), "delayed": most(&kept, |r| r.stats.commit.delayed as f64),
    }))?;
    Ok(())
}
