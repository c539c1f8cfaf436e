//! What machine this is, how much a second thread is worth on it, and whether something else was using it meanwhile.

use std::fs;
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Machine and program, as every report states them.
pub fn machine(threads: usize, quick: bool) -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("unknown", |l| l.trim_start_matches([' ', '\t', ':']));
    let commit = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .ok()
        .filter(|o| o.status.success())
        .map_or("unknown".into(), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    json!({
        "name": "machine", "commit": commit, "cpu": model, "cores": cores(), "threads": threads,
        "two_thread_speedup": two_thread_speedup(Duration::from_millis(if quick { 10 } else { 60 })),
        "allocator": "mimalloc, counted", "os": std::env::consts::OS,
    })
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub fn print_machine(m: &Value) {
    let text = |k: &str| {
        m.get(k).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).unwrap_or_default()
    };
    let speedup = m.get("two_thread_speedup").and_then(Value::as_f64).unwrap_or(f64::NAN);
    println!(
        "commit {}, {}, {} cores, {} threads, allocator {}\ntwo threads of plain arithmetic are {speedup:.2} × as fast as one here\n",
        text("commit"),
        text("cpu"),
        text("cores"),
        text("threads"),
        text("allocator")
    );
}

/// Plain arithmetic done in a span of time.
fn arithmetic(span: Duration) -> u64 {
    let start = Instant::now();
    let (mut done, mut state) = (0, 1u64);
    while start.elapsed() < span {
        for _ in 0..10_000 {
            state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        done += 1;
    }
    done
}

/// What two threads get done over what one does: the bound of every scaling figure of this machine. Median of five pairs.
fn two_thread_speedup(span: Duration) -> f64 {
    let ratios: Vec<f64> = (0..5)
        .map(|_| {
            let one = arithmetic(span).max(1);
            let two: u64 = std::thread::scope(|scope| {
                let other = scope.spawn(|| arithmetic(span));
                arithmetic(span) + other.join().unwrap_or(0)
            });
            two as f64 / one as f64
        })
        .collect();
    (crate::measure::median(&ratios) * 100.0).round() / 100.0
}

/// CPU time of the whole machine and of this process with the children that it waited for, in clock ticks.
#[derive(Clone, Copy, Debug, Default)]
struct Ticks {
    busy: u64,
    stolen: u64,
    all: u64,
    own: u64,
}

impl Ticks {
    fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let cpu: Vec<u64> =
            stat.lines().next()?.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
        let at = |i: usize| cpu.get(i).copied().unwrap_or(0);
        let own = fs::read_to_string("/proc/self/stat").ok()?;
        // Behind the command in parentheses: user and system time of itself and of its children are fields 11 to 14.
        let own = own.rsplit(')').next()?.split_whitespace().skip(11).take(4);
        let own = own.filter_map(|n| n.parse::<u64>().ok()).sum();
        Some(Self {
            busy: at(0) + at(1) + at(2) + at(5) + at(6),
            stolen: at(7),
            all: cpu.iter().take(8).sum(),
            own,
        })
    }
}

/// Watches what others take from the machine while we measure.
pub struct NoiseWatch {
    from: Option<Ticks>,
}

impl NoiseWatch {
    pub fn start() -> Self {
        Self { from: Ticks::now() }
    }
    /// Shares of the machine that other programs and the hypervisor took since the start; `None` where the system does not say.
    pub fn shares(&self) -> Option<(f64, f64)> {
        let (from, to) = (self.from?, Ticks::now()?);
        let all = (to.all - from.all).max(1) as f64;
        let others = (to.busy - from.busy).saturating_sub(to.own - from.own);
        Some((others as f64 / all, (to.stolen - from.stolen) as f64 / all))
    }
    /// A warning when others had more than a few percent.
    pub fn warning(&self) -> Option<String> {
        let (others, stolen) = self.shares()?;
        (others > 0.05 || stolen > 0.02).then(|| {
            format!(
                "Warning: other programs used {:.0} % of the machine meanwhile, its host {:.0} %; close them and run again, or \
                 trust ratios only roughly.",
                100.0 * others,
                100.0 * stolen
            )
        })
    }
    /// For the JSON lines.
    pub fn json(&self) -> Value {
        let (others, stolen) = self.shares().map_or((None, None), |(a, b)| (Some(a), Some(b)));
        json!({"name": "noise", "others_share": others, "stolen_share": stolen})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_thread_is_worth_something_and_no_miracle() {
        let ratio = two_thread_speedup(Duration::from_millis(5));
        assert!(ratio > 0.2 && ratio < 6.0, "{ratio}");
    }
}
