//! Kafka Streams on the same queries and broker, by `benches/compare/streams/Peer.java`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::stages::Stage;
use super::{Sample, topics};
use crate::Failure;

/// Where it is and how it runs.
pub struct Peer<'a> {
    pub libs: &'a Path,
    pub servers: &'a str,
    pub threads: usize,
    /// Everything once before, so that what is measured runs compiled.
    pub warm: bool,
}

impl Peer<'_> {
    /// One run: from the first message that was read to everything committed, without the start of the JVM and the group's first assignment.
    pub fn run(&self, stage: &Stage, input: &str, output: &str, records: u64) -> Result<Sample, Failure> {
        let dir = tempfile::tempdir()?;
        let scratch = format!("{output}-warm");
        let guarantee = if stage.exactly_once { "exactly_once_v2" } else { "at_least_once" };
        let mut java = Command::new("java");
        java.args(["-Xms1g", "-Xmx1g", "-cp"])
            .arg(format!("{0}/*:{0}", self.libs.display()))
            .args(["Peer", self.servers, input, output, stage.query.name(), guarantee])
            .args([self.threads.to_string(), records.to_string()])
            .arg(dir.path());
        if self.warm {
            topics::create(self.servers, &scratch)?;
            java.arg(&scratch);
        }
        let done = java.output().map_err(|e| format!("can't run java: {e}"))?;
        if self.warm {
            topics::delete(self.servers, &[&scratch])?;
        }
        let said = String::from_utf8_lossy(&done.stdout);
        let line: Option<Value> = said.lines().last().and_then(|l| serde_json::from_str(l).ok());
        let number = |name: &str| line.as_ref()?.get(name)?.as_f64();
        match (number("seconds"), number("cpu_seconds")) {
            (Some(seconds), Some(cpu)) if done.status.success() => Ok(Sample { seconds, cpu }),
            _ => Err(format!("{}: {said}{}", stage.name, String::from_utf8_lossy(&done.stderr)).into()),
        }
    }
}
