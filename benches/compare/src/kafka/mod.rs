//! `kafka`: jobs between two topics of a broker beside a bare loop of the same client library and beside Kafka Streams.
//! Needs a broker (`tests/kafka/broker.sh start 4.1.0 DIR`) and the feature `rdkafka`.
//!
//! What each run has written is read back and checked. All are timed alike: from the first message read to everything committed.
//! The CPU time is that of the process that does the work, all of its threads, those of the client included; the broker's is told
//! beside it where `--broker` names its process.

mod backlog;
mod bare;
mod peer;
mod stages;
mod topics;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use millstream::Engine;
use serde_json::json;

use crate::machine::{cores, machine, print_machine};
use crate::measure::median;
use crate::report::{Report, rate};
use crate::{Common, Failure};

use peer::Peer;
use stages::{Query, STAGES, Stage, System};
use topics::{PARTITIONS, create, delete, fill, read_back, stream};

/// Bytes of `pad`, so that a message has about 256.
const PAD: usize = 188;

/// Options of the command.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The broker.
    #[arg(long, value_name = "HOST:PORT")]
    servers: String,
    /// Also Kafka Streams, whose jars and program are there: `tests/kafka/broker.sh streams VERSION` prints where.
    #[arg(long, value_name = "DIR")]
    streams: Option<PathBuf>,
    /// Process id of the broker, if it runs on this machine: its CPU time is told, too.
    #[arg(long, value_name = "PID")]
    broker: Option<u32>,
    /// Instead: peak memory of an engine that finds so many messages waiting.
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..))]
    backlog: Option<u64>,
    /// Runs the statements of a file: what the command starts to measure a process of its own.
    #[arg(long, value_name = "FILE", hide = true)]
    child: Option<PathBuf>,
}

/// What a run took.
pub struct Sample {
    seconds: f64,
    /// CPU seconds of the process that did it.
    cpu: f64,
    /// Those of the broker meanwhile.
    broker: Option<f64>,
}

/// CPU seconds of a process so far, threads that have ended included.
fn cpu_seconds(process: &str) -> Result<f64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    // In hundredths, whatever the kernel ticks in.
    Ok(fields.filter_map(|f| f.parse::<f64>().ok()).sum::<f64>() / 100.0)
}

fn broker_seconds(broker: Option<u32>) -> Result<Option<f64>, Failure> {
    broker.map(|pid| cpu_seconds(&pid.to_string())).transpose()
}

/// The moment of the first message.
pub struct Began {
    at: Instant,
    cpu: f64,
    broker: Option<f64>,
}

impl Began {
    pub fn now(broker: Option<u32>) -> Result<Self, Failure> {
        Ok(Self { at: Instant::now(), cpu: cpu_seconds("self")?, broker: broker_seconds(broker)? })
    }

    /// What it took from then to now.
    fn sample(&self, broker: Option<u32>) -> Result<Sample, Failure> {
        let seconds = self.at.elapsed().as_secs_f64();
        Ok(Sample { seconds, cpu: cpu_seconds("self")? - self.cpu, broker: self.broker_since(broker)? })
    }

    /// CPU seconds of the broker since then.
    pub fn broker_since(&self, broker: Option<u32>) -> Result<Option<f64>, Failure> {
        Ok(broker_seconds(broker)?.zip(self.broker).map(|(now, then)| now - then))
    }
}

/// The stages that are wanted and can be had.
fn chosen(common: &Common, options: &Options) -> Result<Vec<&'static Stage>, Failure> {
    let known = |name: &String| STAGES.iter().any(|s| s.name == name);
    if let Some(unknown) = common.only.iter().find(|n| !known(n)) {
        return Err(format!("no stage is called '{unknown}'").into());
    }
    let wanted = |s: &&Stage| common.only.is_empty() || common.only.iter().any(|n| n == s.name);
    let can = |s: &&Stage| s.system != System::Streams || options.streams.is_some();
    Ok(STAGES.iter().filter(wanted).filter(can).collect())
}

/// One topic in, one out, for each run.
struct Bench<'a> {
    servers: &'a str,
    threads: usize,
    streams: Option<&'a Path>,
    quick: bool,
    records: u64,
    broker: Option<u32>,
    input: String,
}

impl Bench<'_> {
    fn run(&self, stage: &Stage, output: &str) -> Result<Sample, Failure> {
        create(self.servers, output)?;
        let sample = match (stage.system, self.streams) {
            (System::Bare, _) => bare::run(self.servers, &self.input, output, self.records, self.broker)
                .and_then(|began| began.sample(self.broker)),
            (System::Engine, _) => self.job(stage, output),
            (System::Streams, None) => Err("without --streams".into()),
            (System::Streams, Some(libs)) => {
                let (servers, threads, broker) = (self.servers, self.threads, self.broker);
                let peer = Peer { libs, servers, threads, warm: !self.quick, broker };
                peer.run(stage, &self.input, output, self.records)
            }
        };
        let sample = sample.map_err(|e| format!("{}: {e}", stage.name))?;
        read_back(self.servers, output, stage.query)?.check(stage, self.records)?;
        delete(self.servers, &[output])?;
        Ok(sample)
    }

    fn job(&self, stage: &Stage, output: &str) -> Result<Sample, Failure> {
        let dir = tempfile::tempdir()?;
        let engine = Engine::new();
        engine.set("threads", &self.threads.to_string())?;
        engine.set("state", &dir.path().display().to_string())?;
        engine.set("job_name", output)?;
        engine.set("commit_interval", "1s")?;
        engine.set("mode", if stage.exactly_once { "transactional" } else { "simple" })?;
        let text =
            stream("a", &format!("{}, stop = 'latest'", stage.query.source()), self.servers, &self.input)
                + &stream("b", stage.query.sink(), self.servers, output)
                + &format!("INSERT INTO b {}", stage.query.select());
        let job = engine.sql(&text)?.start()?;
        while job.stats().records_in == 0 && !job.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let began = Began::now(self.broker)?;
        job.wait()?;
        began.sample(self.broker)
    }
}

pub fn run(common: &Common, options: &Options) -> Result<(), Failure> {
    if let Some(script) = &options.child {
        return backlog::child(script);
    }
    if let Some(messages) = options.backlog {
        return backlog::run(common, &options.servers, messages, if common.quick { 0 } else { 40 });
    }
    let records = common.records.unwrap_or(if common.quick { 20_000 } else { 2_000_000 });
    let repeat = common.repeat.unwrap_or(if common.quick { 1 } else { 5 });
    let stages = chosen(common, options)?;
    let bench = Bench {
        servers: &options.servers,
        threads: common.threads.unwrap_or_else(cores),
        streams: options.streams.as_deref(),
        quick: common.quick,
        records,
        broker: options.broker,
        input: format!("bench-in-{}", std::process::id()),
    };
    let mut report = Report::new(common)?;
    let m = machine(bench.threads, common.quick);
    print_machine(&m);
    report.line(&m)?;
    println!(
        "kafka: {records} messages of about 256 bytes in {PARTITIONS} partitions of {}, {repeat} runs each, in turn\n",
        bench.servers
    );
    create(bench.servers, &bench.input)?;
    fill(bench.servers, &bench.input, records, PAD)?;
    if !common.quick {
        // The broker runs in a virtual machine of its own, which whoever comes first would find cold.
        for (n, stage) in STAGES.iter().filter(|s| s.query == Query::Raw).take(2).enumerate() {
            bench.run(stage, &format!("bench-warm-{}-{n}", std::process::id()))?;
        }
    }
    let mut samples: Vec<Vec<Sample>> = stages.iter().map(|_| Vec::new()).collect();
    for n in 0..repeat {
        for (i, (stage, samples)) in stages.iter().zip(&mut samples).enumerate() {
            let sample = bench.run(stage, &format!("bench-out-{}-{n}-{i}", std::process::id()))?;
            let broker = sample.broker.map_or(String::new(), |b| format!(", of the broker {b:.2} s"));
            eprintln!(
                "run {}: {}, {:.2} s, CPU {:.2} s{broker}",
                n + 1,
                stage.name,
                sample.seconds,
                sample.cpu
            );
            samples.push(sample);
        }
    }
    delete(bench.servers, &[&bench.input])?;
    let runs: Vec<(&Stage, Vec<Sample>)> = stages.into_iter().zip(samples).collect();
    print(&runs, records, &mut report)
}

/// Medians of a stage: seconds and CPU seconds.
fn medians(samples: &[Sample]) -> (f64, f64) {
    let of = |f: fn(&Sample) -> f64| median(&samples.iter().map(f).collect::<Vec<_>>());
    (of(|s| s.seconds), of(|s| s.cpu))
}

fn print(runs: &[(&Stage, Vec<Sample>)], records: u64, report: &mut Report) -> Result<(), Failure> {
    let of = |wanted: &dyn Fn(&Stage) -> bool| runs.iter().find(|(s, _)| wanted(s)).map(|(_, t)| medians(t));
    let bare = of(&|s| s.system == System::Bare);
    println!(
        "{:<30} {:>12} {:>9} {:>14} {:>12} {:>12}",
        "stage", "median", "× bare", "per core", "× Streams", "per core"
    );
    for (stage, samples) in runs {
        let (seconds, cpu) = medians(samples);
        let peer = of(&|s| {
            s.system == System::Streams && s.query == stage.query && s.exactly_once == stage.exactly_once
        });
        let peer = peer.filter(|_| stage.system == System::Engine);
        let bare = bare.filter(|_| stage.query == Query::Raw);
        let times = |other: Option<f64>, own: f64| other.map(|o| o / own);
        let shown = |ratio: Option<f64>| ratio.map_or("–".to_owned(), |r| format!("{r:.2}"));
        let (of_bare, of_streams) = (times(bare.map(|b| b.0), seconds), times(peer.map(|p| p.0), seconds));
        let of_streams_cpu = times(peer.map(|p| p.1), cpu);
        println!(
            "{:<30} {:>12} {:>9} {:>14} {:>12} {:>12}",
            stage.name,
            rate(records as f64 / seconds),
            shown(of_bare),
            rate(records as f64 / cpu),
            shown(of_streams),
            shown(of_streams_cpu)
        );
        let list = |f: fn(&Sample) -> f64| samples.iter().map(f).collect::<Vec<_>>();
        report.line(&json!({
            "name": "kafka", "stage": stage.name, "records": records, "seconds": seconds,
            "records_per_second": records as f64 / seconds, "cpu_seconds": cpu, "records_per_core_second": records as f64 / cpu,
            "of_bare_loop": of_bare, "of_bare_loop_cpu": times(bare.map(|b| b.1), cpu),
            "of_streams": of_streams, "of_streams_cpu": of_streams_cpu,
            "samples": list(|s| s.seconds), "cpu_samples": list(|s| s.cpu),
            "broker_cpu_samples": samples.iter().map(|s| s.broker).collect::<Vec<_>>(),
        }))?;
    }
    Ok(())
}
