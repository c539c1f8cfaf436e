//! Where results go: the terminal, JSON lines, charts.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use serde_json::Value;

use crate::{Common, Failure};

/// Collects JSON lines and charts.
pub struct Report {
    json: Option<fs::File>,
    plots: Option<PathBuf>,
}

impl Report {
    pub fn new(common: &Common) -> Result<Self, Failure> {
        let json = match &common.json {
            Some(path) => {
                Some(fs::File::create(path).map_err(|e| format!("can't write {}: {e}", path.display()))?)
            }
            None => None,
        };
        if let Some(dir) = &common.plot {
            fs::create_dir_all(dir).map_err(|e| format!("can't make {}: {e}", dir.display()))?;
        }
        Ok(Self { json, plots: common.plot.clone() })
    }
    pub fn line(&mut self, value: &Value) -> Result<(), Failure> {
        if let Some(file) = &mut self.json {
            writeln!(file, "{value}")?;
        }
        Ok(())
    }
    pub fn plot(&mut self, name: &str, svg: impl FnOnce() -> String) -> Result<(), Failure> {
        if let Some(dir) = &self.plots {
            fs::write(dir.join(name), svg())?;
        }
        Ok(())
    }
}

/// Machine and program, as every report states them.
pub fn machine(threads: usize) -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("unknown", |l| l.trim_start_matches([' ', '\t', ':']));
    let commit = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .ok()
        .filter(|o| o.status.success())
        .map_or("unknown".into(), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    serde_json::json!({
        "name": "machine", "commit": commit, "cpu": model, "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "threads": threads, "allocator": "mimalloc, counted", "os": std::env::consts::OS,
    })
}

pub fn print_machine(m: &Value) {
    let text = |k: &str| {
        m.get(k).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).unwrap_or_default()
    };
    println!(
        "commit {}, {}, {} cores, {} threads, allocator {}\n",
        text("commit"),
        text("cpu"),
        text("cores"),
        text("threads"),
        text("allocator")
    );
}

/// `12.3 M/s`
pub fn rate(r: f64) -> String {
    if r >= 1e6 { format!("{:.2} M/s", r / 1e6) } else { format!("{:.1} K/s", r / 1e3) }
}
