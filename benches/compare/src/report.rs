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
    /// Only JSON lines, into that file.
    #[cfg(test)]
    pub fn to_file(path: &std::path::Path) -> Result<Self, Failure> {
        Ok(Self { json: Some(fs::File::create(path)?), plots: None })
    }
    pub fn line(&mut self, value: &Value) -> Result<(), Failure> {
        if let Some(file) = &mut self.json {
            writeln!(file, "{value}")?;
        }
        Ok(())
    }
    /// What stands under a chart's title: the workload and the machine.
    pub fn subtitle(&self, machine: &Value, what: &str) -> String {
        let text = |k: &str| machine.get(k).and_then(Value::as_str).unwrap_or("?");
        let number = |k: &str| machine.get(k).and_then(Value::as_u64).unwrap_or(0);
        format!("{what}; {}, {} cores, commit {}", text("cpu"), number("cores"), text("commit"))
    }
    pub fn plot(&mut self, name: &str, svg: impl FnOnce() -> String) -> Result<(), Failure> {
        if let Some(dir) = &self.plots {
            fs::write(dir.join(name), svg())?;
        }
        Ok(())
    }
}

/// `12.3 M/s`
pub fn rate(r: f64) -> String {
    if r >= 1e6 { format!("{:.2} M/s", r / 1e6) } else { format!("{:.1} K/s", r / 1e3) }
}
