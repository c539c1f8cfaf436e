//! Where the time of threads goes: as the engine counts it, and as the operating system does.

use std::fs;

use millstream::observe::JobStats;
use serde_json::{Value, json};

use crate::Failure;

/// A thread's (or async task's) time: busy, waiting, blocked and idle make its wall time.
#[derive(Clone, Debug, Default)]
pub struct ThreadTime {
    pub name: String,
    pub wall_s: f64,
    pub busy_s: f64,
    /// For input, the end-of-stream waits among it.
    pub waiting_s: f64,
    /// For room downstream.
    pub blocked_s: f64,
    pub idle_s: f64,
    /// What the busy time was spent on, as far as it is told apart.
    pub parts: Vec<(&'static str, f64)>,
}

impl ThreadTime {
    pub fn json(&self) -> Value {
        let parts: serde_json::Map<String, Value> =
            self.parts.iter().map(|(n, s)| ((*n).to_owned(), json!(s))).collect();
        json!({
            "name": self.name, "wall_s": self.wall_s, "busy_s": self.busy_s, "waiting_s": self.waiting_s,
            "blocked_s": self.blocked_s, "idle_s": self.idle_s, "parts": parts,
        })
    }
    /// The accounts must make up the wall time, measured on its own, within 2 % (and what the clock reads of a short run add).
    pub fn check(&self, stage: &str) -> Result<(), Failure> {
        let accounted = self.busy_s + self.waiting_s + self.blocked_s + self.idle_s;
        if (accounted - self.wall_s).abs() > 0.02 * self.wall_s + 0.002 {
            return Err(format!(
                "{stage}: {} accounts for {accounted:.3} s of a wall time of {:.3} s",
                self.name, self.wall_s
            )
            .into());
        }
        Ok(())
    }
}

/// The threads of a job of the shipped engine, by its own account.
pub fn of_job(stats: &JobStats) -> Vec<ThreadTime> {
    let alone = stats.threads.len() == 1;
    let sources: f64 = stats.sources.iter().map(|s| s.time.busy_s).sum();
    let sinks: f64 = stats.sinks.iter().map(|s| s.time.busy_s).sum();
    stats
        .threads
        .iter()
        .map(|t| ThreadTime {
            name: t.name.clone(),
            wall_s: t.wall_s,
            busy_s: t.busy_s,
            waiting_s: t.waiting_s,
            blocked_s: t.blocked_s,
            idle_s: t.idle_s,
            parts: if alone {
                let rest = t.busy_s - sources - stats.process_s - sinks;
                vec![("read", sources), ("process", stats.process_s), ("write", sinks), ("loop", rest)]
            } else {
                Vec::new()
            },
        })
        .collect()
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
                KernelTime { name: t.name.clone(), on_cpu_s: t.on_cpu_s - on, queued_s: t.queued_s - queued }
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
        let thread = |busy_s| ThreadTime { wall_s: 1.0, busy_s, waiting_s: 0.2, ..Default::default() };
        assert!(thread(0.79).check("t").is_ok());
        assert!(thread(0.70).check("t").is_err());
        assert!(thread(0.90).check("t").is_err());
    }

    #[test]
    fn the_kernel_counts_what_a_thread_did_since_a_reading() {
        let time = |on_cpu_s| KernelTime { name: "t".into(), on_cpu_s, queued_s: on_cpu_s / 2.0 };
        let before = KernelReading(vec![(1, time(1.0)), (2, time(3.0))]);
        let after = KernelReading(vec![(1, time(1.5)), (2, time(3.0)), (3, time(2.0))]);
        let spent = after.since(&before);
        assert_eq!(spent, [time(2.0), time(0.5)]);
    }
}
