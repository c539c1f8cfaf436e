//! `render`: the results table and charts of the project's README, made from the JSON lines of committed runs.
//!
//! The block between two marks in the README is this command's; a test holds that it says what the committed runs say.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::measure::{median, paired_ratio};
use crate::{Failure, svg};

const BEGIN: &str = "<!-- made by `millstream-bench render`: do not edit -->";
const END: &str = "<!-- end of what `millstream-bench render` makes -->";

/// JSON lines of one run.
struct Lines(Vec<Value>);

impl Lines {
    fn read(dir: &Path, name: &str) -> Result<Self, Failure> {
        let path = dir.join(format!("{name}.jsonl"));
        let text = fs::read_to_string(&path).map_err(|e| format!("can't read {}: {e}", path.display()))?;
        let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        let lines = Self(lines.map_err(|e| format!("{}: {e}", path.display()))?);
        if lines.0.iter().any(|l| l.get("name").and_then(Value::as_str) == Some(name)) {
            Ok(lines)
        } else {
            Err(format!("{} holds no results of `{name}`", path.display()).into())
        }
    }
    fn machine(&self) -> &Value {
        self.0.iter().find(|l| l["name"] == "machine").unwrap_or(&Value::Null)
    }
    /// Results of stages, in order.
    fn results(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(|l| l.get("stage").is_some())
    }
    fn stage(&self, stage: &str) -> Option<&Value> {
        self.results().find(|l| l["stage"] == stage)
    }
}

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line.get(key).and_then(Value::as_str).unwrap_or("?")
}
fn number(line: &Value, key: &str) -> f64 {
    line.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN)
}
fn samples(line: &Value) -> Vec<f64> {
    let list = line.get("samples").and_then(Value::as_array);
    list.map(|l| l.iter().filter_map(Value::as_f64).collect()).unwrap_or_default()
}
fn is_ours(line: &Value) -> bool {
    text(line, "stage").starts_with("sync")
}

/// Million records a second, with as many digits as mean something.
fn millions(rate: f64) -> String {
    if rate >= 9.95e6 { format!("{:.0}", rate / 1e6) } else { format!("{:.1}", rate / 1e6) }
}

fn of_machine(machine: &Value) -> String {
    format!(
        "{}, {} cores, {} threads, two of which do {:.2} × the work of one; commit {}",
        text(machine, "cpu"),
        machine["cores"],
        machine["threads"],
        number(machine, "two_thread_speedup"),
        text(machine, "commit")
    )
}

fn journey(out: &mut String, run: &Lines) {
    let _ = writeln!(
        out,
        "**journey**: three-field records passed on with trace context, batches of 1,000 ({}):\n",
        of_machine(run.machine())
    );
    let _ = writeln!(
        out,
        "| stage | M records/s | × phase 3 | locks a batch | awaits a batch | deep copies a record | allocations a record |\n\
         |---|---|---|---|---|---|---|"
    );
    let base = run.stage("phase 3").map(samples).unwrap_or_default();
    for line in run.results() {
        let rates = samples(line);
        let awaits = line["awaits_per_batch"].as_f64().map_or("–".to_owned(), |n| format!("{n:.0}"));
        let copies = number(line, "deep_copies") / number(line, "records");
        let bold = if is_ours(line) { "**" } else { "" };
        let _ = writeln!(
            out,
            "| {bold}{}{bold} | {bold}{}{bold} | {:.2} | {:.0} | {awaits} | {copies:.0} | {:.3} |",
            text(line, "stage"),
            millions(median(&rates)),
            paired_ratio(&rates, &base).0,
            number(line, "locks_per_batch"),
            number(line, "allocations_per_record"),
        );
    }
}

/// The batch sizes of one kind of stages, ascending.
fn batches(run: &Lines, cost: &str) -> Vec<u64> {
    let mut found: Vec<u64> =
        run.results().filter(|l| l["cost"] == cost).filter_map(|l| l["batch"].as_u64()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The fastest line of one cell row among those for which `of` says so.
fn fastest<'a>(run: &'a Lines, cost: &str, batch: u64, of: impl Fn(&Value) -> bool) -> Option<&'a Value> {
    run.results()
        .filter(|l| l["cost"] == cost && l["batch"] == batch && of(l))
        .max_by(|a, b| median(&samples(a)).total_cmp(&median(&samples(b))))
}

fn sweep(out: &mut String, run: &Lines) {
    let _ = writeln!(
        out,
        "\n**sweep**: batch sizes; *cheap* stages pass records on, *costly* ones decode NDJSON, filter, project and encode. Million \
         records/s of `auto` and of the fastest of three async variants; ratio of paired runs with its one-sided 95 % bound:\n\n\
         | batch | cheap: best async | auto | ratio | costly: best async | auto | ratio |\n|---|---|---|---|---|---|---|"
    );
    for batch in batches(run, "cheap") {
        let _ = write!(out, "| {batch} |");
        for cost in ["cheap", "costly"] {
            let best = fastest(run, cost, batch, |l| !is_ours(l));
            let auto = fastest(run, cost, batch, |l| l["stage"] == "sync auto");
            let (Some(best), Some(auto)) = (best, auto) else {
                let _ = write!(out, " – | – | – |");
                continue;
            };
            let (ours, theirs) = (samples(auto), samples(best));
            let (ratio, bound) = paired_ratio(&ours, &theirs);
            let _ = write!(
                out,
                " {} | **{}** | {ratio:.2} (≥ {bound:.2}) |",
                millions(median(&theirs)),
                millions(median(&ours))
            );
        }
        out.push('\n');
    }
}

fn latency(out: &mut String, run: &Lines) {
    let _ = writeln!(
        out,
        "\n**latency**, memory to memory, default settings, µs from the moment when a record was due to the moment when it was written; \
         *bare channel*: a thread without an engine, which shows what is the machine's:\n\n\
         | execution | records/s | p50 | p99 | p99.9 |\n|---|---|---|---|---|"
    );
    for line in run.results() {
        let us = |key: &str| format!("{:.0}", number(line, key));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            text(line, "stage").trim_start_matches("sync "),
            number(line, "rate"),
            us("p50_us"),
            us("p99_us"),
            us("p999_us")
        );
    }
}

fn files(out: &mut String, run: &Lines) {
    let mut peers: Vec<&str> = Vec::new();
    let mut cases: Vec<(&str, &str, u64)> = Vec::new();
    for line in run.results() {
        let (name, case) =
            (text(line, "stage"), (text(line, "format"), text(line, "query"), line["threads"].as_u64()));
        if name != "millstream" && !peers.contains(&name) {
            peers.push(name);
        }
        let case = (case.0, case.1, case.2.unwrap_or(0));
        if !cases.contains(&case) {
            cases.push(case);
        }
    }
    let _ = writeln!(
        out,
        "\n**files**, same input and same number of threads, outputs compared; orders as NDJSON, flights as CSV:\n"
    );
    let _ = write!(out, "| format, query | threads | M rows/s |");
    peers.iter().for_each(|p| {
        let _ = write!(out, " × {p} |");
    });
    let _ = writeln!(out, "\n|---|---|---|{}", "---|".repeat(peers.len()));
    for (format, query, threads) in cases {
        let of = |name: &str| {
            run.results().find(|l| {
                l["stage"] == name && l["format"] == format && l["query"] == query && l["threads"] == threads
            })
        };
        let Some(ours) = of("millstream") else { continue };
        let rate = number(ours, "records_per_second");
        let _ = write!(out, "| {format} {query} | {threads} | {} |", millions(rate));
        for peer in &peers {
            let ratio = of(peer).and_then(|l| l["ratio"].as_f64());
            let _ = write!(out, " {} |", ratio.map_or("–".to_owned(), |r| format!("{r:.2}")));
        }
        out.push('\n');
    }
}

fn sql(out: &mut String, run: &Lines) {
    let _ = writeln!(
        out,
        "\n**sql**: records ready in memory, one core, batches of 1,000 ({}):\n\n\
         | query | M records/s | aim |\n|---|---|---|",
        of_machine(run.machine())
    );
    let of = |name: &'static str| run.results().filter(move |l| l["name"] == name);
    for line in of("sql") {
        let (speed, aim) = (number(line, "records_per_second"), number(line, "aim"));
        let _ = writeln!(out, "| {} | {} | {} |", text(line, "scenario"), millions(speed), millions(aim));
    }
    out.push_str("\nWhat a record costs as keys, windows and frames grow:\n\n| series | from | to | M records/s | × cost |\n|---|---|---|---|---|\n");
    let mut first = "";
    let mut name = "";
    for line in of("sql-series") {
        let point = text(line, "point");
        if text(line, "series") != name {
            (name, first) = (text(line, "series"), point);
            continue;
        }
        let speed = number(line, "records_per_second");
        let times = number(line, "times");
        let _ = writeln!(out, "| {name} | {first} | {point} | {} | {times:.2} |", millions(speed));
    }
    if let Some(line) = of("sql-memory").next() {
        let (groups, bytes) = (number(line, "groups"), number(line, "bytes_per_group"));
        let _ = writeln!(
            out,
            "\nA group of a short key and five aggregates takes {bytes:.0} bytes at the peak of a job with {:.1} million of them.",
            groups / 1e6
        );
    }
}

fn kafka(out: &mut String, run: &Lines) {
    let _ = writeln!(
        out,
        "\n**kafka**: messages of about 256 bytes from topic to topic, a commit each second, broker and engine on the same two cores. Beside \
         a bare poll-and-send loop of the same client, and beside Kafka Streams with the same query and guarantee; CPU: the time of its \
         process over that of ours ({}):\n\n\
         | query | M messages/s | M/s per core | × bare loop | × Streams | CPU of Streams / ours |\n|---|---|---|---|---|---|",
        of_machine(run.machine())
    );
    let ratio = |line: &Value, key: &str| line[key].as_f64().map_or("–".to_owned(), |r| format!("{r:.2}"));
    let ours = |line: &&Value| line["name"] == "kafka" && !text(line, "stage").starts_with("streams");
    for line in run.results().filter(ours) {
        let _ = writeln!(
            out,
            "| {} | {:.2} | {:.2} | {} | {} | {} |",
            text(line, "stage"),
            number(line, "records_per_second") / 1e6,
            number(line, "records_per_core_second") / 1e6,
            ratio(line, "of_bare_loop"),
            ratio(line, "of_streams"),
            ratio(line, "of_streams_cpu")
        );
    }
    let peaks: Vec<&Value> = run.results().filter(|l| l["name"] == "kafka-backlog").collect();
    let mib = |line: &Value, key: &str| number(line, key) / f64::from(1 << 20);
    let told = peaks.iter().map(|l| format!("{} {:.0} MiB", text(l, "stage"), mib(l, "peak_bytes")));
    let told: Vec<String> = told.collect();
    if let Some(first) = peaks.first() {
        let _ = writeln!(
            out,
            "\nPeak memory of the whole process with {} million messages waiting, of {:.0} MiB that it may take with its prefetch: {}.",
            number(first, "records") / 1e6,
            mib(first, "allowed_bytes"),
            told.join(", ")
        );
    }
}

/// The README's block.
fn block(dir: &Path) -> Result<String, Failure> {
    let mut out = format!("{BEGIN}\n");
    let run = Lines::read(dir, "journey")?;
    journey(&mut out, &run);
    out += "\n![Stages of the journey as bars](benches/results/journey.svg)\n";
    sweep(&mut out, &Lines::read(dir, "sweep")?);
    latency(&mut out, &Lines::read(dir, "latency")?);
    if dir.join("files.jsonl").exists() {
        files(&mut out, &Lines::read(dir, "files")?);
    }
    if dir.join("sql.jsonl").exists() {
        sql(&mut out, &Lines::read(dir, "sql")?);
    }
    if dir.join("kafka.jsonl").exists() {
        kafka(&mut out, &Lines::read(dir, "kafka")?);
    }
    out += END;
    Ok(out)
}

/// Charts with their file names.
fn charts(dir: &Path) -> Result<Vec<(String, String)>, Failure> {
    let run = Lines::read(dir, "journey")?;
    let bars: Vec<svg::Bar> = run
        .results()
        .map(|line| {
            let rates = samples(line);
            let low = rates.iter().copied().fold(f64::INFINITY, f64::min);
            let high = rates.iter().copied().fold(0.0, f64::max);
            svg::Bar {
                label: text(line, "stage").to_owned(),
                value: median(&rates) / 1e6,
                range: Some((low / 1e6, high / 1e6)),
                ours: is_ours(line),
            }
        })
        .collect();
    let title = "Journey: million records a second";
    let mut made =
        vec![("journey.svg".to_owned(), svg::bars(title, &of_machine(run.machine()), "M/s", &bars))];
    let run = Lines::read(dir, "sweep")?;
    // Ours first: auto is the thick one.
    let order = [
        "sync auto",
        "sync inline",
        "sync threads",
        "async staged + recycling",
        "phase 3 + recycling",
        "phase 3",
    ];
    for cost in ["cheap", "costly"] {
        let sizes = batches(&run, cost);
        let series: Vec<svg::Line> = order
            .iter()
            .enumerate()
            .map(|(class, stage)| svg::Line {
                label: (*stage).to_owned(),
                class,
                values: sizes
                    .iter()
                    .map(|b| fastest(&run, cost, *b, |l| l["stage"] == *stage))
                    .map(|l| l.map(|l| median(&samples(l)) / 1e6))
                    .collect(),
                dashed: false,
            })
            .filter(|s| s.values.iter().any(Option::is_some))
            .collect();
        let xs: Vec<usize> = sizes.iter().map(|b| *b as usize).collect();
        let title = format!("Sweep: batch size and execution, {cost} stages");
        let chart = svg::lines(&title, &of_machine(run.machine()), "million records/s", &xs, &series);
        made.push((format!("sweep-{cost}.svg"), chart));
    }
    Ok(made)
}

/// A text whose marked block is `block`.
fn with_block(text: &str, block: &str) -> Result<String, Failure> {
    let (Some(begin), Some(end)) = (text.find(BEGIN), text.find(END)) else {
        return Err(format!("the README has no lines '{BEGIN}' and '{END}' for the results").into());
    };
    match (text.get(..begin), text.get(end + END.len()..)) {
        (Some(before), Some(after)) if begin < end => Ok(format!("{before}{block}{after}")),
        _ => Err("the README's marks for the results are in the wrong order".into()),
    }
}

/// Writes the README's block and the charts.
pub fn run(results: &Path, readme: &Path) -> Result<(), Failure> {
    let old = fs::read_to_string(readme).map_err(|e| format!("can't read {}: {e}", readme.display()))?;
    let new = with_block(&old, &block(results)?)?;
    for (name, chart) in charts(results)? {
        fs::write(results.join(&name), chart)?;
        println!("{}", results.join(name).display());
    }
    if new == old {
        println!("{} says so already", readme.display());
    } else {
        fs::write(readme, new)?;
        println!("{}", readme.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn the_readme_and_its_charts_say_what_the_committed_runs_say() {
        let root = repository();
        let results = root.join("benches/results");
        let readme = fs::read_to_string(root.join("README.md")).unwrap();
        let again = "run `cargo run --release -p millstream-bench -- render`";
        assert!(readme.contains(&block(&results).unwrap()), "README.md is out of date: {again}");
        for (name, chart) in charts(&results).unwrap() {
            let drawn = fs::read_to_string(results.join(&name)).unwrap();
            assert!(drawn == chart, "benches/results/{name} is out of date: {again}");
        }
    }

    #[test]
    fn only_the_block_changes() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let made = with_block(&text, &format!("{BEGIN}\nnew\n{END}")).unwrap();
        assert_eq!(made, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert!(with_block("nothing", "x").is_err());
        assert!(with_block(&format!("{END}{BEGIN}"), "x").is_err());
    }

    #[test]
    fn a_run_of_another_command_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("journey.jsonl"), "{\"name\":\"machine\"}\n").unwrap();
        let error = Lines::read(dir.path(), "journey").err().unwrap().to_string();
        assert!(error.contains("holds no results of `journey`"), "{error}");
        assert!(Lines::read(dir.path(), "sweep").is_err());
    }
}
