//! Measures the shipped engine beside an async one and other programs; see `benches/README.md`.

mod alloc;
mod asynch;
mod attribution;
mod checkpoint;
mod files;
mod journey;
#[cfg(feature = "rdkafka")]
mod kafka;
mod latency;
mod machine;
mod measure;
mod render;
mod report;
mod shipped;
mod sql;
mod svg;
mod sweep;
mod threads;
mod trace;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use workload::Cost;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

/// Anything that ends a run.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Measures millstream.
#[derive(Debug, Parser)]
#[command(name = "millstream-bench", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Records of a sample; without it they are raised until a sample lasts a second.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    records: Option<u64>,
    /// Records of a batch.
    #[arg(long, default_value = "1000", value_parser = at_least_one)]
    batch: usize,
    /// Threads of the engine and of the async runtime; without it as many as there are cores.
    #[arg(long, value_parser = at_least_one)]
    threads: Option<usize>,
    /// Samples of each stage; without it `sweep` adds some, up to 20, until its bounds are near the ratios.
    #[arg(long, value_parser = at_least_one)]
    repeat: Option<usize>,
    /// Writes JSON lines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws SVG charts.
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
    /// Short samples: shows that everything works, measures nothing.
    #[arg(long)]
    quick: bool,
    /// Least time of a sample; without it 1 (0.2 in sweep).
    #[arg(long, value_name = "SECONDS")]
    sample_seconds: Option<f64>,
    /// Only the stages of these names, e.g. 'sync auto'; comparisons that need others are left out.
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    only: Vec<String>,
    /// The async reader and writer never yield to the scheduler.
    #[arg(long)]
    no_yield: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The stages of the report that started the project, up to the shipped engine.
    Journey {
        #[command(flatten)]
        common: Common,
        /// Also prints the report's way of counting beside the true one, over the same run.
        #[arg(long)]
        report_method: bool,
        /// The transactional job loop of the async engine: each batch is a transaction.
        #[arg(long)]
        transactional: bool,
    },
    /// Batch sizes × executions × cheap and costly stages, and which batch size to take.
    Sweep {
        #[command(flatten)]
        common: Common,
        /// Batch sizes instead of 1, 10, 100, 1,000, 2,000, 5,000, 10,000.
        #[arg(long, value_delimiter = ',', value_parser = at_least_one)]
        sizes: Vec<usize>,
        /// Stages: passing on, or decoding, SQL and encoding; without it both.
        #[arg(long, value_enum)]
        cost: Option<Cost>,
        /// Latency that a batch may add, in milliseconds.
        #[arg(long, default_value_t = 5.0, value_name = "MS")]
        latency_budget: f64,
        /// Memory that batches may take, in megabytes.
        #[arg(long, default_value_t = 64, value_name = "MB")]
        memory_budget: u64,
    },
    /// NDJSON and CSV files: copied, filtered and projected, grouped, windowed.
    Files {
        #[command(flatten)]
        common: Common,
        /// Also runs DuckDB and Polars, where Python (or PYTHON) has them, and compares their outputs.
        #[arg(long)]
        peers: bool,
        /// Instead: what a commit every second costs, at least once and exactly once.
        #[arg(long)]
        commits: bool,
        /// Only these cases: words of 'ndjson group', 'csv' …
        #[arg(long, value_name = "WORDS")]
        case: Option<String>,
    },
    /// Latency at a fixed rate, memory to memory, corrected for coordinated omission.
    Latency {
        #[command(flatten)]
        common: Common,
        /// Records a second.
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
        rate: u64,
    },
    /// The scenarios of the old engine's tables, and series in which keys, windows and frames grow.
    Sql {
        #[command(flatten)]
        common: Common,
        /// Only this scenario.
        #[arg(long, value_enum)]
        scenario: Option<sql::Scenario>,
        /// Only this series.
        #[arg(long, value_enum)]
        series: Option<sql::Series>,
        /// Only what a second thread brings to GROUP BY.
        #[arg(long)]
        second_thread: bool,
    },
    /// Commits of a job with many groups: longest stall, memory, bytes of a snapshot, recovery.
    Checkpoint {
        #[command(flatten)]
        common: Common,
        /// Groups.
        #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
        groups: u64,
        /// Percent of them that are touched between two commits.
        #[arg(long, default_value_t = 100.0)]
        touched: f64,
    },
    /// Puts the results of committed runs into the README, as tables and charts.
    Render {
        /// Where the runs are: journey.jsonl, sweep.jsonl, latency.jsonl and, if there are, files.jsonl, sql.jsonl and kafka.jsonl.
        #[arg(long, value_name = "DIR", default_value = "benches/results")]
        results: PathBuf,
        /// The text with the two marks between which the tables go.
        #[arg(long, value_name = "FILE", default_value = "README.md")]
        readme: PathBuf,
    },
    /// The Nexmark queries (not supported yet).
    Nexmark,
    /// Jobs between two topics of a broker, beside a bare loop of the same client and Kafka Streams (feature `rdkafka`).
    #[cfg(feature = "rdkafka")]
    Kafka {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        options: kafka::Options,
    },
    /// Jobs between two topics of a broker: not compiled in, build with --features rdkafka.
    #[cfg(not(feature = "rdkafka"))]
    #[command(trailing_var_arg = true)]
    Kafka {
        #[arg(allow_hyphen_values = true, hide = true)]
        _arguments: Vec<String>,
    },
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(n) => Ok(n),
        Err(_) => Err("not a number".into()),
    }
}

/// Whoever reads the table may have seen enough of it, as `head` has: that is no failure of ours.
fn end_quietly_without_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload_as_str().is_some_and(|why| why.starts_with("failed printing to stdout: Broken pipe"))
        {
            std::process::exit(0);
        }
        usual(info);
    }));
}

fn main() -> ExitCode {
    end_quietly_without_reader();
    let result = match Cli::parse().command {
        Command::Journey { common, report_method, transactional } => {
            journey::run(&common, journey::Ways { report_method, transactional })
        }
        Command::Sweep { common, sizes, cost, latency_budget, memory_budget } => {
            alloc::count_held_bytes();
            let costs = cost.map_or(vec![Cost::Cheap, Cost::Costly], |c| vec![c]);
            match Duration::try_from_secs_f64(latency_budget / 1e3) {
                Ok(latency) => {
                    let budget = sweep::Budget { latency, memory: memory_budget.saturating_mul(1_000_000) };
                    sweep::run(&common, &sizes, &costs, &budget)
                }
                Err(e) => Err(format!("--latency-budget: {e}").into()),
            }
        }
        Command::Files { common, peers, commits, case } => {
            files::run(&common, peers, commits, case.as_deref())
        }
        Command::Latency { common, rate } => latency::run(&common, rate),
        Command::Sql { common, scenario, series, second_thread } => {
            alloc::count_held_bytes();
            sql::run(&common, sql::Only { scenario, series, threads: second_thread })
        }
        Command::Checkpoint { common, groups, touched } => checkpoint::run(&common, groups, touched),
        Command::Render { results, readme } => render::run(&results, &readme),
        Command::Nexmark => Err("nexmark is not supported yet: the engine has no joins".into()),
        #[cfg(feature = "rdkafka")]
        Command::Kafka { common, options } => kafka::run(&common, &options),
        #[cfg(not(feature = "rdkafka"))]
        Command::Kafka { .. } => {
            Err("the command kafka is not compiled in: build with --features rdkafka".into())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}
