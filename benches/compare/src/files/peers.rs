//! Other programs on the same file: DuckDB and Polars, through Python, when it has them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::cases::Case;
use crate::Failure;

const SCRIPT: &str = include_str!("../../peers.py");

/// A program to compare with.
pub struct Peer {
    /// As `peers.py` knows it.
    pub key: &'static str,
    /// With its version.
    pub name: String,
    script: PathBuf,
}

/// The Python to ask: `PYTHON`, or `python3`.
fn python() -> String {
    std::env::var("PYTHON").unwrap_or_else(|_| "python3".into())
}

/// The peers that are installed; says of each other one how to get it.
pub fn find(dir: &Path) -> Result<Vec<Peer>, Failure> {
    let script = dir.join("peers.py");
    fs::write(&script, SCRIPT)?;
    let mut found = Vec::new();
    for key in ["duckdb", "polars"] {
        let asked = Command::new(python()).arg(&script).args([key, "version"]).output();
        match asked {
            Ok(done) if done.status.success() => {
                let name = String::from_utf8_lossy(&done.stdout).trim().to_owned();
                found.push(Peer { key, name, script: script.clone() });
            }
            Ok(done) if done.status.code() == Some(3) => println!(
                "{key} is left out: {} has no module {key} (pip install {key}; PYTHON chooses another interpreter)",
                python()
            ),
            Ok(done) => return Err(format!("{key}: {}", String::from_utf8_lossy(&done.stderr)).into()),
            Err(e) => println!("{key} is left out: can't run {}: {e}", python()),
        }
    }
    Ok(found)
}

impl Peer {
    /// One run; seconds without the start of the interpreter and the imports.
    pub fn run(&self, case: &Case, input: &Path, output: &Path, threads: usize) -> Result<f64, Failure> {
        let done = Command::new(python())
            .arg(&self.script)
            .args([self.key, case.table, case.query])
            .args([input, output])
            .arg(threads.to_string())
            .env("POLARS_MAX_THREADS", threads.to_string())
            .output()?;
        if !done.status.success() {
            return Err(format!("{} failed: {}", self.name, String::from_utf8_lossy(&done.stderr)).into());
        }
        let answer: Value = serde_json::from_slice(&done.stdout)?;
        Ok(answer.get("seconds").and_then(Value::as_f64).ok_or("the peer gave no time")?)
    }
}
