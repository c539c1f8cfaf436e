//! Runs stages interleaved until each sample is long enough, and says what the repeats came to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream::observe::JobStats;
use serde_json::{Value, json};

use crate::alloc;
use crate::asynch::{self, Conditions, Shape};
use crate::shipped;
use crate::threads::{self, KernelTime, ThreadTime};
use crate::workload::{Cost, Probe, Workload};
use crate::{Common, Failure};

/// Who runs a workload.
#[derive(Clone, Copy, Debug)]
pub enum Runner {
    Async(Shape),
    /// The shipped engine with `execution = …`.
    Shipped(&'static str),
}

/// A named runner.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    pub name: &'static str,
    pub runner: Runner,
}

/// One run.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub records: u64,
    /// From the first read to the last record written.
    pub seconds: f64,
    /// From there to the end of the run: the end-of-stream rule.
    pub end_seconds: f64,
    pub allocations: u64,
    pub batches: u64,
    pub locks: u64,
    /// None where there is no async code.
    pub awaits: Option<u64>,
    pub deep_copies: u64,
    /// Bytes that batches, pools and channels held at the end.
    pub held_bytes: i64,
    /// Records that existed at the same time at most; 0 where nothing recycles them.
    pub in_flight: u64,
    /// By the engine's own account.
    pub threads: Vec<ThreadTime>,
    /// By the kernel's account, from the first read to the last record written.
    pub kernel: Vec<KernelTime>,
    pub decisions: Vec<String>,
    pub wall_s: f64,
}

impl Sample {
    pub fn rate(&self) -> f64 {
        self.records as f64 / self.seconds
    }
    fn per_batch(&self, n: u64) -> f64 {
        n as f64 / self.batches.max(1) as f64
    }
    pub fn locks_per_batch(&self) -> f64 {
        self.per_batch(self.locks)
    }
    pub fn awaits_per_batch(&self) -> f64 {
        self.per_batch(self.awaits.unwrap_or(0))
    }
    pub fn copies_per_batch(&self) -> f64 {
        self.per_batch(self.deep_copies)
    }
    pub fn allocations_per_batch(&self) -> f64 {
        self.per_batch(self.allocations)
    }
    pub fn allocations_per_record(&self) -> f64 {
        self.allocations as f64 / self.records.max(1) as f64
    }
    /// CPU time of all threads.
    pub fn cpu_ns_per_record(&self) -> f64 {
        self.kernel.iter().map(|t| t.on_cpu_s).sum::<f64>() * 1e9 / self.records.max(1) as f64
    }
    /// The thread, or the part of the only one, that had most to do.
    pub fn critical(&self) -> Option<String> {
        let most = self.threads.iter().max_by(|a, b| a.busy_s.total_cmp(&b.busy_s))?;
        let part = most.parts.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        Some(part.map_or(most.name.clone(), |p| format!("{}: {}", most.name, p.0)))
    }
    fn of_job(stats: &JobStats) -> Self {
        Self {
            batches: stats.batches,
            locks: stats.lock_acquisitions,
            deep_copies: stats.deep_copies,
            in_flight: stats.sources.iter().map(|s| s.records_allocated).sum(),
            threads: threads::of_job(stats),
            decisions: stats
                .decisions
                .iter()
                .map(|d| format!("{:.0} ms: {} ({})", d.at_s * 1e3, d.placement, d.reason))
                .collect(),
            ..Self::default()
        }
    }
}

/// What a stage came to.
pub struct Outcome {
    pub stage: Stage,
    pub samples: Vec<Sample>,
}

impl Outcome {
    pub fn rates(&self) -> Vec<f64> {
        self.samples.iter().map(Sample::rate).collect()
    }
    pub fn median_rate(&self) -> f64 {
        median(&self.rates())
    }
    /// Slowest and fastest sample.
    pub fn range(&self) -> (f64, f64) {
        let rates = self.rates();
        (rates.iter().copied().fold(f64::INFINITY, f64::min), rates.iter().copied().fold(0.0, f64::max))
    }
    /// The sample whose speed is the median.
    pub fn typical(&self) -> Sample {
        let mut sorted: Vec<&Sample> = self.samples.iter().collect();
        sorted.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
        sorted.get(sorted.len() / 2).map(|s| (*s).clone()).unwrap_or_default()
    }
    pub fn json(&self, name: &str, batch: usize, cost: Cost) -> Value {
        let s = self.typical();
        json!({
            "name": name, "stage": self.stage.name, "cost": cost.name(), "batch": batch,
            "records": s.records, "seconds": s.seconds, "records_per_second": self.median_rate(),
            "samples": self.rates(), "end_of_stream_seconds": s.end_seconds,
            "allocations_per_record": s.allocations_per_record(), "deep_copies": s.deep_copies,
            "locks_per_batch": s.locks_per_batch(), "awaits_per_batch": s.awaits.map(|_| s.awaits_per_batch()),
            "allocations_per_batch": s.allocations_per_batch(), "wall_seconds": s.wall_s,
            "held_bytes": alloc::counts_held_bytes().then_some(s.held_bytes), "cpu_ns_per_record": s.cpu_ns_per_record(),
            "threads": s.threads.iter().map(ThreadTime::json).collect::<Vec<_>>(),
            "kernel": s.kernel.iter().map(|t| json!({
                "name": t.name, "on_cpu_s": t.on_cpu_s, "queued_s": t.queued_s,
                "off_cpu_s": s.seconds - t.on_cpu_s - t.queued_s,
            })).collect::<Vec<_>>(),
            "critical": s.critical(), "decisions": s.decisions,
        })
    }
}

/// Mean and standard deviation.
pub fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, square.sqrt())
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = sorted.len() / 2;
    match (sorted.get(at), at.checked_sub(1).and_then(|b| sorted.get(b))) {
        (Some(a), Some(b)) if sorted.len().is_multiple_of(2) => (a + b) / 2.0,
        (Some(a), _) => *a,
        _ => f64::NAN,
    }
}

/// The median of paired ratios and its one-sided 95 % lower bound (Student's t of the logarithms).
pub fn paired_ratio(over: &[f64], under: &[f64]) -> (f64, f64) {
    const T95: [f64; 10] = [6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812];
    let ratios: Vec<f64> = over.iter().zip(under).map(|(a, b)| a / b).collect();
    let logs: Vec<f64> = ratios.iter().map(|r| r.ln()).collect();
    let (mean, deviation) = mean_and_deviation(&logs);
    let t = match logs.len() {
        0 | 1 => return (median(&ratios), f64::NAN),
        n => T95.get(n - 2).copied().unwrap_or(1.7),
    };
    (median(&ratios), (mean - t * deviation / (logs.len() as f64).sqrt()).exp())
}

/// Runs stages; keeps the runtime of the async ones.
pub struct Bench {
    runtime: tokio::runtime::Runtime,
    /// For stages that are one task: a second worker could only take it over at each yield, which costs it an eighth of its speed.
    one_worker: tokio::runtime::Runtime,
    pub conditions: Conditions,
    pub threads: usize,
    repeat: usize,
    /// Neither more nor fewer rounds than `repeat`.
    exactly: bool,
    least: Duration,
    fixed: Option<u64>,
    only: Vec<String>,
}

impl Bench {
    pub fn new(common: &Common, trace: bool) -> Result<Self, Failure> {
        let threads = match common.threads {
            Some(n) => n,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let runtime = |workers| {
            tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_time().build()
        };
        let (runtime, one_worker) = (runtime(threads)?, runtime(1)?);
        let quick = common.quick;
        Ok(Self {
            runtime,
            one_worker,
            conditions: Conditions {
                batch: common.batch,
                trace,
                yields: !common.no_yield,
                timed: trace,
                fail_write: None,
                empty_batches: 3,
                empty_wait: Duration::from_millis(if quick { 10 } else { 100 }),
            },
            threads,
            repeat: common.repeat.unwrap_or(if quick { 2 } else { 5 }),
            exactly: quick || common.repeat.is_some(),
            least: match common.sample_seconds {
                Some(s) => Duration::try_from_secs_f64(s).map_err(|e| format!("--sample-seconds: {e}"))?,
                None => Duration::from_millis(if quick { 30 } else { 1000 }),
            },
            fixed: common.records,
            only: common.only.clone(),
        })
    }

    pub fn at_least(mut self, least: Duration) -> Self {
        self.least = self.least.min(least);
        self
    }

    /// One run, checked for conservation.
    pub fn run(&self, stage: Stage, cost: Cost, records: u64) -> Result<Sample, Failure> {
        let workload = Workload::new(cost, records)?;
        let probe = Arc::new(Probe::default());
        let start = Instant::now();
        let mut sample = match stage.runner {
            Runner::Async(shape) => {
                let runtime = if shape.staged { &self.runtime } else { &self.one_worker };
                let c = asynch::run(runtime, &workload, &probe, shape, self.conditions)?;
                Sample {
                    batches: c.batches,
                    locks: c.locks,
                    awaits: Some(c.awaits),
                    deep_copies: c.deep_copies,
                    threads: c.tasks,
                    ..Sample::default()
                }
            }
            Runner::Shipped(execution) => {
                let stats = shipped::run(&workload, &probe, execution, self.threads, self.conditions)?;
                Sample::of_job(&stats)
            }
        };
        let end = Instant::now();
        workload.check(stage.name, &probe)?;
        let span = probe.span()?;
        sample.records = workload.records;
        sample.seconds = (span.last - span.first).as_secs_f64();
        sample.end_seconds = (end - span.last).as_secs_f64();
        sample.allocations = span.allocations;
        sample.held_bytes = span.held_bytes;
        sample.kernel = span.kernel;
        sample.wall_s = (end - start).as_secs_f64();
        sample.threads.iter().try_for_each(|t| t.check(stage.name))?;
        Ok(sample)
    }

    /// Records with which a stage runs for as long as a sample must.
    fn calibrate(&self, stage: Stage, cost: Cost) -> Result<u64, Failure> {
        if let Some(n) = self.fixed {
            return Ok(n);
        }
        let mut records = 20_000u64;
        loop {
            let took = self.run(stage, cost, records)?.seconds;
            let wanted = self.least.as_secs_f64() * 1.15;
            let scaled = (records as f64 * wanted / took.max(1e-6)) as u64;
            if took >= wanted / 8.0 {
                return Ok(scaled.max(1));
            }
            records = scaled.clamp(records * 2, records * 30);
        }
    }

    /// All stages, interleaved, `repeat` times. A sample that was too short is repeated with more records.
    pub fn compare(&self, stages: &[Stage], cost: Cost) -> Result<Vec<Outcome>, Failure> {
        self.compare_until(stages, cost, |_| true)
    }

    /// The same, and further rounds, up to four times as many in all, until what is asked of the outcomes holds. It must not prefer
    /// one result to another: how far apart the rounds are, not which side is ahead. A number of rounds that was asked for is kept.
    pub fn compare_until(
        &self,
        stages: &[Stage],
        cost: Cost,
        enough: impl Fn(&[Outcome]) -> bool,
    ) -> Result<Vec<Outcome>, Failure> {
        let stages: Vec<Stage> = stages
            .iter()
            .filter(|s| self.only.is_empty() || self.only.iter().any(|o| o == s.name))
            .copied()
            .collect();
        if stages.is_empty() {
            return Err(format!("no stage is called '{}'", self.only.join("' or '")).into());
        }
        let mut sizes = Vec::new();
        for stage in &stages {
            sizes.push(self.calibrate(*stage, cost)?);
        }
        let mut outcomes: Vec<Outcome> =
            stages.iter().map(|s| Outcome { stage: *s, samples: Vec::new() }).collect();
        let most = if self.exactly { self.repeat } else { self.repeat * 4 };
        for round in 0..most {
            if round >= self.repeat && enough(&outcomes) {
                break;
            }
            // Every other round goes backwards, so that no stage always follows the same one.
            let order: Vec<usize> =
                if round % 2 == 0 { (0..stages.len()).collect() } else { (0..stages.len()).rev().collect() };
            for i in order {
                if let (Some(outcome), Some(size)) = (outcomes.get_mut(i), sizes.get_mut(i)) {
                    let mut sample = self.run(outcome.stage, cost, *size)?;
                    if self.fixed.is_none() && sample.seconds < self.least.as_secs_f64() {
                        *size = (*size as f64 * 1.2 * self.least.as_secs_f64() / sample.seconds) as u64;
                        sample = self.run(outcome.stage, cost, *size)?;
                    }
                    outcome.samples.push(sample);
                }
            }
        }
        Ok(outcomes)
    }
}

/// Warnings of the kind that hyperfine gives.
pub fn warnings(outcomes: &[Outcome]) -> Vec<String> {
    let mut noisy = Vec::new();
    for o in outcomes {
        let (mean, deviation) = mean_and_deviation(&o.rates());
        if deviation > 0.05 * mean {
            noisy.push(format!("{} ± {:.0} %", o.stage.name, 100.0 * deviation / mean));
        }
    }
    if noisy.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "Warning: the machine was noisy ({}); close other programs and run again, or trust ratios only roughly.",
        noisy.join(", ")
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_paired_ratios() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        let (ratio, bound) = paired_ratio(&[2.0, 4.0, 6.0], &[1.0, 2.0, 3.0]);
        assert!((ratio - 2.0).abs() < 1e-9 && (bound - 2.0).abs() < 1e-9);
        let (_, bound) = paired_ratio(&[2.0, 4.0, 9.0], &[1.0, 2.0, 3.0]);
        assert!(bound < 2.2 && bound > 1.5);
    }
}
