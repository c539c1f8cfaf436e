//! Where the time of threads goes: as the engine counts it, and as the operating system does.

use std::fs;

use millstream::observe::JobStats;
use serde_json::{Value, json};

use crate::Failure;

/// A thread's (or async task's) time. Busy, waiting, blocked and what is left make its wall time.
#[derive(Clone, Debug, Default)]
pub struct ThreadTime {
    pub name: String,
    pub wall_s: f64,
    pub busy_s: f64,
    /// For input, the end-of-stream waits among it.
    pub waiting_s: f64,
    /// For room downstream.
    pub blocked_s: f64,
    /// What the busy time was spent on, as far as it is told apart.
    pub parts: Vec<(&'static str, f64)>,
    /// Whether the parts must make up the wall time: only a thread's own account can promise that.
    pub whole: bool,
}

impl ThreadTime {
    /// What is in no account.
    pub fn rest_s(&self) -> f64 {
        self.wall_s - self.busy_s - self.waiting_s - self.blocked_s
    }
    pub fn json(&self) -> Value {
        let parts: serde_json::Map<String, Value> =
            self.parts.iter().map(|(n, s)| ((*n).to_owned(), json!(s))).collect();
        json!({
            "name": self.name, "wall_s": self.wall_s, "busy_s": self.busy_s, "waiting_s": self.waiting_s,
            "blocked_s": self.blocked_s, "idle_s": self.rest_s(), "parts": parts,
        })
    }
    /// Busy + waiting + blocked must be the wall time within 2 % (and what the clock reads of a short sample may add).
    pub fn check(&self, stage: &str) -> Result<(), Failure> {
        let allowed = 0.02 * self.wall_s + 0.002;
        let off = self.rest_s();
        if off < -allowed || self.whole && off > allowed {
            return Err(format!(
                "{stage}: {} accounts for {:.3} s of a wall time of {:.3} s",
                self.name,
                self.wall_s - off,
                self.wall_s
            )
            .into());
        }
        Ok(())
    }
}

/// The threads of a job of the shipped engine, by its own account.
pub fn of_job(stats: &JobStats) -> Vec<ThreadTime> {
    let sources: f64 = stats.sources.iter().map(|s| s.time.busy_s).sum();
    let sinks: f64 = stats.sinks.iter().map(|s| s.time.busy_s).sum();
    let stages = [("read", sources), ("process", stats.process_s), ("write", sinks)];
    let own = serde_json::to_value(stats).unwrap_or_default();
    if let Some(threads) = own.get("threads").and_then(Value::as_array).filter(|t| !t.is_empty()) {
        let number = |v: Option<&Value>| v.and_then(Value::as_f64).unwrap_or(0.0);
        return threads
            .iter()
            .map(|t| {
                let time = t.get("time");
                let of = |k: &str| number(time.and_then(|v| v.get(k)));
                ThreadTime {
                    name: t.get("name").and_then(Value::as_str).unwrap_or("?").to_owned(),
                    wall_s: number(t.get("wall_s")),
                    busy_s: of("busy_s"),
                    waiting_s: of("waiting_s"),
                    blocked_s: of("blocked_s"),
                    parts: if threads.len() == 1 { stages.to_vec() } else { Vec::new() },
                    whole: true,
                }
            })
            .collect();
    }
    let wall_s = stats.wall_s;
    if stats.execution == "inline" {
        // One thread did everything; what the stages don't account for is the driver's own work.
        let waiting_s = stats.sources.iter().map(|s| s.time.waiting_s).sum();
        let busy_s = sources + stats.process_s + sinks;
        return vec![ThreadTime {
            name: "ms-process".into(),
            wall_s,
            busy_s,
            waiting_s,
            parts: stages.to_vec(),
            ..ThreadTime::default()
        }];
    }
    let mut threads: Vec<ThreadTime> = stats
        .sources
        .iter()
        .map(|s| ThreadTime {
            name: format!("source {}", s.name),
            wall_s,
            busy_s: s.time.busy_s,
            waiting_s: s.time.waiting_s,
            blocked_s: s.time.blocked_s,
            ..ThreadTime::default()
        })
        .collect();
    let blocked_s = stats.sinks.iter().map(|s| s.backpressure_s).sum();
    threads.push(ThreadTime {
        name: "processor".into(),
        wall_s,
        busy_s: stats.process_s,
        blocked_s,
        ..ThreadTime::default()
    });
    threads.extend(stats.sinks.iter().map(|s| ThreadTime {
        name: format!("sink {}", s.name),
        wall_s,
        busy_s: s.time.busy_s,
        waiting_s: s.time.waiting_s,
        ..ThreadTime::default()
    }));
    threads
}

/// A thread by the kernel's account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KernelTime {
    pub name: String,
    pub on_cpu_s: f64,
    /// Ready to run, but on no core.
    pub queued_s: f64,
}

/// One reading of all threads of this process; empty where the system does not say.
#[derive(Clone, Debug, Default)]
pub struct KernelReading(Vec<(u64, KernelTime)>);

impl KernelReading {
    pub fn now() -> Self {
        let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Self::default() };
        let read = |path: &std::path::Path| -> Option<(u64, KernelTime)> {
            let id = path.file_name()?.to_str()?.parse().ok()?;
            let text = fs::read_to_string(path.join("schedstat")).ok()?;
            let mut numbers = text.split_whitespace().map(|n| n.parse::<u64>().unwrap_or(0));
            let on_cpu_s = numbers.next()? as f64 / 1e9;
            let queued_s = numbers.next()? as f64 / 1e9;
            let name = fs::read_to_string(path.join("comm")).ok()?.trim().to_owned();
            Some((id, KernelTime { name, on_cpu_s, queued_s }))
        };
        Self(tasks.flatten().filter_map(|t| read(&t.path())).collect())
    }
    /// What each thread did since an earlier reading; threads that did nothing are left out.
    pub fn since(&self, earlier: &Self) -> Vec<KernelTime> {
        let before = |id: u64| earlier.0.iter().find(|(i, _)| *i == id).map(|(_, t)| t);
        let mut found: Vec<KernelTime> = self
            .0
            .iter()
            .map(|(id, t)| {
                let (on, queued) = before(*id).map_or((0.0, 0.0), |b| (b.on_cpu_s, b.queued_s));
                KernelTime {
                    name: t.name.clone(),
                    on_cpu_s: t.on_cpu_s - on,
                    queued_s: t.queued_s - queued,
                }
            })
            .filter(|t| t.on_cpu_s > 0.0)
            .collect();
        found.sort_by(|a, b| b.on_cpu_s.total_cmp(&a.on_cpu_s));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_loses_time_is_found() {
        let thread = |busy_s, whole| ThreadTime { wall_s: 1.0, busy_s, waiting_s: 0.2, whole, ..Default::default() };
        assert!(thread(0.79, true).check("t").is_ok());
        assert!(thread(0.70, true).check("t").is_err());
        assert!(thread(0.70, false).check("t").is_ok());
        assert!(thread(0.90, false).check("t").is_err());
    }

    #[test]
    fn the_kernel_counts_our_work() {
        let before = KernelReading::now();
        let mut sum = 0u64;
        while KernelReading::now().since(&before).iter().map(|t| t.on_cpu_s).sum::<f64>() < 1e-3 && sum < 2_000 {
            sum += std::hint::black_box(1);
        }
        let spent = KernelReading::now().since(&before);
        assert!(spent.is_empty() || spent.iter().all(|t| t.on_cpu_s > 0.0 && t.queued_s >= 0.0));
    }
}
