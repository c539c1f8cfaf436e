//! `--backlog N`: the peak memory of an engine that finds N messages waiting, with a sink as fast as it is and with a slow one.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use millstream::Engine;
use serde_json::json;

use super::topics;
use crate::machine::{machine, print_machine};
use crate::report::{Report, rate};
use crate::{Common, Failure};

/// What the engine may take besides its prefetch.
const ALLOWED: u64 = 64 << 20;
/// Prefetch that is asked for.
const PREFETCH: u64 = 16 << 20;
/// How long the slow sink is watched, and what it takes a second.
const SLOW: (Duration, usize) = (Duration::from_secs(20), 2 << 20);

struct Case {
    name: &'static str,
    sink: &'static str,
    select: &'static str,
    slow: bool,
}

const CASES: [Case; 4] = [
    Case { name: "to a topic", sink: "", select: "SELECT id, k, ts, pad FROM a", slow: false },
    Case {
        name: "to nowhere",
        sink: "WITH (connector = 'blackhole')",
        select: "SELECT id, k, ts, pad FROM a",
        slow: false,
    },
    Case {
        name: "windows to nowhere",
        sink: "WITH (connector = 'blackhole')",
        select: "SELECT k, window_end, count(*) AS n, max(id) AS last FROM TUMBLE(a, ts, INTERVAL '10' SECOND) GROUP BY k, window_end",
        slow: false,
    },
    Case {
        name: "to a slow pipe",
        sink: "WITH (connector = 'stdout', format = 'json')",
        select: "SELECT id, k, ts, pad FROM a",
        slow: true,
    },
];

/// Runs the statements of a file: what the parent watches.
pub fn child(script: &Path) -> Result<(), Failure> {
    Engine::new().sql(&fs::read_to_string(script)?)?.start()?.wait()?;
    Ok(())
}

/// Peak of the resident memory of a process that is still there.
fn peak(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Watches until the child ends, or, if it is slow, for a while. Answers its peak and how long that took.
fn watch(child: &mut Child, slow: Option<ChildStdout>) -> Result<(u64, f64), Failure> {
    let (from, mut most) = (Instant::now(), 0);
    let mut buffer = vec![0; SLOW.1 / 50];
    let mut slow = slow;
    loop {
        most = most.max(peak(child).unwrap_or(0));
        if let Some(status) = child.try_wait()? {
            let took = from.elapsed().as_secs_f64();
            return if status.success() {
                Ok((most, took))
            } else {
                Err(format!("it ended with {status}").into())
            };
        }
        if let Some(out) = &mut slow {
            if out.read(&mut buffer)? > 0 && from.elapsed() > SLOW.0 {
                child.kill()?;
                child.wait()?;
                return Ok((most, from.elapsed().as_secs_f64()));
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One case in a process of its own.
fn run_case(case: &Case, servers: &str, input: &str, output: &str) -> Result<(u64, f64), Failure> {
    let dir = tempfile::tempdir()?;
    let source = "(id BIGINT, k BIGINT, ts TIMESTAMP, pad VARCHAR, WATERMARK FOR ts AS ts) %, format = 'json', stop = 'latest'";
    let source = source.to_owned() + &format!(", prefetch_bytes = '{PREFETCH}'");
    let sink = match case.sink {
        "" => topics::stream("b", "%, format = 'json'", servers, output),
        with => format!("CREATE STREAM b {with};\n"),
    };
    let text = format!(
        "SET state = '{}';\nSET job_name = 'backlog';\nSET commit_interval = '1s';\n{}{sink}INSERT INTO b {};",
        dir.path().join("state").display(),
        topics::stream("a", &source, servers, input),
        case.select
    );
    let script = dir.path().join("backlog.sql");
    fs::write(&script, text)?;
    let out = if case.slow { Stdio::piped() } else { Stdio::null() };
    let mut child = Command::new(std::env::current_exe()?)
        .args(["kafka", "--servers", servers, "--child"])
        .arg(&script)
        .stdout(out)
        .spawn()?;
    let pipe = child.stdout.take();
    let watched = watch(&mut child, pipe);
    if watched.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    watched.map_err(|e| format!("{}: {e}", case.name).into())
}

pub fn run(common: &Common, servers: &str, messages: u64, pad: usize) -> Result<(), Failure> {
    let mut report = Report::new(common)?;
    let m = machine(common.threads.unwrap_or_else(crate::machine::cores), common.quick);
    print_machine(&m);
    report.line(&m)?;
    let (input, output) =
        (format!("backlog-in-{}", std::process::id()), format!("backlog-out-{}", std::process::id()));
    topics::create(servers, &input)?;
    let from = Instant::now();
    topics::fill(servers, &input, messages, pad)?;
    println!(
        "backlog: {messages} messages of about {} bytes, written in {:.0} s; peak memory of the engine's process\n",
        pad + 70,
        from.elapsed().as_secs_f64()
    );
    println!("{:<24} {:>10} {:>10} {:>14}", "sink", "peak", "allowed", "messages");
    let allowed = ALLOWED + PREFETCH;
    let mut failure = None;
    for case in CASES.iter().filter(|c| common.only.is_empty() || common.only.iter().any(|o| o == c.name)) {
        if case.sink.is_empty() {
            topics::create(servers, &output)?;
        }
        let watched = run_case(case, servers, &input, &output);
        if case.sink.is_empty() {
            topics::delete(servers, &[&output])?;
        }
        let (peak, seconds) = match watched {
            Ok(found) => found,
            Err(e) => {
                failure = Some(e);
                break;
            }
        };
        let speed = if case.slow { "not its own".to_owned() } else { rate(messages as f64 / seconds) };
        let mib = |bytes: u64| format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20));
        println!("{:<24} {:>10} {:>10} {:>14}", case.name, mib(peak), mib(allowed), speed);
        report.line(&json!({
            "name": "kafka-backlog", "stage": case.name, "records": messages, "seconds": seconds,
            "records_per_second": messages as f64 / seconds, "peak_bytes": peak, "allowed_bytes": allowed,
        }))?;
    }
    topics::delete(servers, &[&input])?;
    failure.map_or(Ok(()), Err)
}
