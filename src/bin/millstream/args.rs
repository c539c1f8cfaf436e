//! The command line's grammar.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Streaming SQL over files and pipes, without an async runtime.
#[derive(Parser)]
#[command(name = "millstream", version, about, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Examples:
  millstream sql \"SELECT carrier, dep_delay FROM 'flights.csv' WHERE dep_delay > 300\"
  millstream run pipeline.sql --threads 2 --stats json
  cat orders.jsonl | millstream sql \"SELECT symbol, amount FROM stdin\" --format csv
  millstream check pipeline.sql

Exit codes: 0 done or stopped by the first signal, 1 failed, 2 usage, SQL or settings,
3 another instance holds the state, 4 shutdown deadline passed, 130/143 second signal.
Settings can be given as SET in the pipeline, --set name=value, or MILLSTREAM_NAME in the environment.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline file
    #[command(after_help = "Examples:
  millstream run pipeline.sql
  millstream run pipeline.sql --set batch_rows=5000 --state /var/lib/millstream
  DAY=2013-01-07 millstream run daily.sql      # ${DAY} in the file")]
    Run(RunArgs),
    /// Run one query and print its rows
    #[command(after_help = "Examples:
  millstream sql \"SELECT * FROM 'flights.csv.gz' LIMIT 5\"
  millstream sql \"SELECT order_id FROM read_json('orders.jsonl', on_error = 'skip')\" --format json
  echo \"SELECT 1 + 1\" | millstream sql -")]
    Sql(SqlArgs),
    /// Check a pipeline file without running it
    Check(CheckArgs),
    /// Print the plan of a pipeline file
    Explain(ExplainArgs),
    /// List the functions, or explain one
    Functions {
        /// Name of a function
        name: Option<String>,
    },
    /// List the connectors, or the options of one
    Connectors {
        /// Name of a connector
        name: Option<String>,
    },
    /// List the settings
    Settings,
    /// Look into state directories
    #[command(after_help = "Examples:
  millstream state list /var/lib/millstream
  millstream state verify /var/lib/millstream      # exit code 1 if anything is damaged
  millstream state inspect /var/lib/millstream/flights")]
    State {
        #[command(subcommand)]
        command: StateCommand,
    },
    /// Write sample data
    #[command(after_help = "Examples:
  millstream generate orders --rows 2000000 --out orders.jsonl
  millstream generate sensors --rows 10 --format csv")]
    Generate(GenerateArgs),
    /// Print a completion script
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand)]
pub(crate) enum StateCommand {
    /// List the jobs that keep their state in a directory
    List {
        /// What --state was given, or the directory of one job in it
        dir: PathBuf,
    },
    /// Check every file
    Verify {
        /// What --state was given, or the directory of one job in it
        dir: PathBuf,
    },
    /// Show what the jobs would go on from
    Inspect {
        /// What --state was given, or the directory of one job in it
        dir: PathBuf,
    },
}

/// Options of commands that run jobs.
#[derive(Args, Default)]
pub(crate) struct JobArgs {
    /// Setting as name=value; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Threads that work at the same time [default: the machine's]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<u64>,
    /// Rows of a full batch
    #[arg(long, value_name = "N")]
    pub(crate) batch_rows: Option<u64>,
    /// Directory in which the job keeps its state; a second run goes on from there
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Name of this process where several run the job and share its Kafka groups; state moves with the partitions
    #[arg(long, value_name = "NAME")]
    pub(crate) instance: Option<String>,
    /// How many processes run it, each with partitions of its own; --instance is then a number from 0
    #[arg(long, value_name = "N")]
    pub(crate) instances: Option<u32>,
    /// Print statistics to stderr at the end
    #[arg(long, value_name = "FORMAT")]
    pub(crate) stats: Option<StatsFormat>,
    /// Print no progress and no summary
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The pipeline file; - for standard input
    pub(crate) pipeline: PathBuf,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// How rows of a bare SELECT are printed [default: table on a terminal, else json]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<RowFormat>,
}

#[derive(Args)]
pub(crate) struct SqlArgs {
    /// The query; `-` or nothing reads it from standard input
    pub(crate) query: Option<String>,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// How rows are printed [default: table on a terminal, else json]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<RowFormat>,
    /// Stop after that many rows
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// The pipeline file; - for standard input
    pub(crate) pipeline: PathBuf,
    /// Setting as name=value; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Args)]
pub(crate) struct ExplainArgs {
    /// The pipeline file; - for standard input
    pub(crate) pipeline: PathBuf,
    /// Setting as name=value; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Which stage of planning
    #[arg(long, default_value = "all")]
    pub(crate) stage: PlanStage,
    /// Text for people, JSON for programs, dot for Graphviz
    #[arg(long, default_value = "text")]
    pub(crate) format: PlanFormat,
}

#[derive(Args)]
pub(crate) struct GenerateArgs {
    /// What to generate: orders, clicks, sensors, measurements
    pub(crate) preset: String,
    /// Rows
    #[arg(long, default_value_t = 1000)]
    pub(crate) rows: u64,
    /// Another seed gives other rows, the same one the same rows
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Format: json, csv, tsv [default: by the extension of --out, else json; measurements: text lines station;temperature]
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// File; standard output if absent
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowFormat {
    Table,
    Json,
    Csv,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatsFormat {
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    Text,
    Json,
    Dot,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanStage {
    All,
    Logical,
    Optimized,
    Physical,
}
