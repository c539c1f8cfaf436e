//! The `millstream` command: arguments in, an engine of the library at work, an exit code out.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::print_stdout,
        clippy::print_stderr
    )
)]

mod args;
mod check;
mod generate;
mod output;
mod progress;
mod reference;
mod run;
mod signals;
mod state;
mod vars;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Says what is logged, in the words of `env_logger`.
const LOG_VARIABLE: &str = "MILLSTREAM_LOG";

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // `--help` and `--version` are no errors; a closed pipe while printing them neither.
            let code = if e.use_stderr() { 2 } else { 0 };
            let _ = e.print();
            return ExitCode::from(code);
        }
    };
    env_logger::Builder::from_env(env_logger::Env::new().filter_or(LOG_VARIABLE, "warn"))
        .format_timestamp_millis()
        .init();
    let outcome = match cli.command {
        args::Command::Run(a) => run::pipeline(&a),
        args::Command::Sql(a) => run::one_liner(&a),
        args::Command::Check(a) => check::check(&a),
        args::Command::Explain(a) => check::explain(&a),
        args::Command::Functions { name } => reference::functions(name.as_deref()),
        args::Command::Connectors { name } => reference::connectors(name.as_deref()),
        args::Command::Settings => reference::settings(),
        args::Command::State { command } => state::state(&command),
        args::Command::Generate(a) => generate::generate(&a),
        args::Command::Completions { shell } => reference::completions(shell),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(Failed { message, code }) => {
            output::complain(&message);
            ExitCode::from(code)
        }
    }
}

/// Why the command failed, ready for stderr, and its exit code.
struct Failed {
    message: String,
    code: u8,
}

impl Failed {
    fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }
}

impl From<millstream::Error> for Failed {
    fn from(e: millstream::Error) -> Self {
        Self { code: e.exit_code(), message: e.to_string() }
    }
}

impl From<std::io::Error> for Failed {
    fn from(e: std::io::Error) -> Self {
        // The reader of our output has gone: nothing to complain about.
        let code = u8::from(e.kind() != std::io::ErrorKind::BrokenPipe);
        Self { message: if code == 0 { String::new() } else { format!("can't write: {e}") }, code }
    }
}
