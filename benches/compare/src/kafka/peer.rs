//! Kafka Streams on the same queries and broker, by `benches/compare/streams/Peer.java`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::stages::Stage;
use super::{Began, Sample, topics};
use crate::Failure;

/// Where it is and how it runs.
pub struct Peer<'a> {
    pub libs: &'a Path,
    pub servers: &'a str,
    pub threads: usize,
    /// Everything once before, so that what is measured runs compiled.
    pub warm: bool,
    pub broker: Option<u32>,
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
        // What it says of errors, it says there.
        let mut child = java.stdout(Stdio::piped()).spawn().map_err(|e| format!("can't run java: {e}"))?;
        let (mut began, mut took) = (None, None);
        for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
            let line = line?;
            if line == "began" {
                began = Some(Began::now(self.broker)?);
            } else if let Ok(Value::Object(said)) = serde_json::from_str(&line) {
                let number = |name: &str| said.get(name)?.as_f64();
                let broker = began.as_ref().map(|b| b.broker_since(self.broker)).transpose()?.flatten();
                took = number("seconds").zip(number("cpu_seconds")).map(|(seconds, cpu)| Sample {
                    seconds,
                    cpu,
                    broker,
                });
            } else {
                eprintln!("{line}");
            }
        }
        let done = child.wait()?;
        if self.warm {
            topics::delete(self.servers, &[&scratch])?;
        }
        took.filter(|_| done.success()).ok_or_else(|| format!("{}: it ended with {done}", stage.name).into())
    }
}
