//! One run of a case's statements: input files in, NDJSON file out.

use std::fmt;
use std::path::Path;

use millstream::job::JobError;
use millstream::{Engine, Error, Prepared};

use super::compare::fnv1a;
use super::format::Case;

/// How it is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    pub execution: &'static str,
    pub threads: usize,
    pub batch_rows: usize,
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "execution {}, threads {}, batch_rows {}", self.execution, self.threads, self.batch_rows)
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The output file.
    Rows(String),
    /// Refused at check.
    Refused(String),
    /// Ended by a failing record (its code) or otherwise (no code).
    Failed { code: String, message: String },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Rows(text) => {
                write!(f, "{} rows: {}", text.lines().count(), text.chars().take(600).collect::<String>())
            }
            Outcome::Refused(message) => write!(f, "refused: {message}"),
            Outcome::Failed { code, message } => write!(f, "record error {code:?}: {message}"),
        }
    }
}

/// The statements as a pipeline: settings, inputs, and the last SELECT into a file. Statements that name
/// `{out}` write it themselves.
fn pipeline(case: &Case, sql: &str, config: Config, directory: &Path, out: &Path) -> String {
    let mut text = format!(
        "SET execution = '{}';\nSET threads = {};\nSET batch_rows = {};\n",
        config.execution, config.threads, config.batch_rows
    );
    for input in &case.inputs {
        let name = format!("{}-{:x}.{}", input.name, fnv1a(input.rows.as_bytes()), input.format);
        let path = directory.join(name);
        if !path.exists() {
            std::fs::write(&path, &input.rows).unwrap();
        }
        text += &format!(
            "CREATE STREAM {} {} WITH (connector = 'file', path = '{}', format = '{}');\n",
            input.name,
            input.columns,
            path.display(),
            input.format
        );
    }
    text += &case.setup;
    if sql.contains("{out}") {
        return text + &sql.replace("{out}", &out.display().to_string());
    }
    let (before, last) = sql.rsplit_once(";\n").unwrap_or(("", sql));
    if !before.is_empty() {
        text += &format!("{before};\n");
    }
    text + &format!(
        "CREATE STREAM golden_out WITH (connector = 'file', path = '{}', format = 'json') AS\n{last}",
        out.display()
    )
}

/// Runs it in an engine of its own.
pub fn run(case: &Case, sql: &str, config: Config, directory: &Path) -> Outcome {
    let out = directory.join("out");
    let _ = std::fs::remove_file(&out);
    let text = pipeline(case, sql, config, directory, &out);
    let job = match Engine::new().sql(&text).and_then(Prepared::start) {
        Ok(job) => job,
        Err(e) => return Outcome::Refused(e.to_string()),
    };
    match job.wait() {
        Ok(_) => Outcome::Rows(std::fs::read_to_string(&out).unwrap_or_else(|e| format!("no output: {e}"))),
        Err(e) => {
            let code = match &e {
                Error::Job(JobError::Record { error, .. }) => error.code.label(),
                Error::Job(JobError::Operator { code: Some(code), .. }) => code.label(),
                _ => "",
            };
            Outcome::Failed { code: code.to_string(), message: e.to_string() }
        }
    }
}
