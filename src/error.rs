//! The error of the whole library: what failed, and with which exit code a program should end.

use std::fmt;

use crate::io::IoError;
use crate::job::JobError;
use crate::sql::Diagnostic;

/// Whose fault it was: decides about exit code, log level and whether a retry makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// The SQL text, an option, a setting.
    User,
    /// The records.
    Data,
    /// Files, brokers, the system.
    External,
    /// The engine itself.
    Internal,
}

/// Everything that is wrong with a SQL text.
#[derive(Clone, Debug)]
pub struct SqlErrors {
    /// Name of the text, e.g. the file.
    pub name: String,
    /// The text.
    pub text: String,
    /// What is wrong, in order of appearance.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for SqlErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.diagnostics.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            f.write_str(&d.render(&self.name, &self.text))?;
        }
        Ok(())
    }
}

/// Any failure of the library.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The SQL text is wrong.
    Sql(SqlErrors),
    /// A setting, option or call is wrong.
    Config(String),
    /// A source or sink can't be made.
    Io(IoError),
    /// A job failed.
    Job(JobError),
}

impl Error {
    /// Whose fault it was.
    pub fn domain(&self) -> Domain {
        match self {
            Error::Sql(_) | Error::Config(_) => Domain::User,
            Error::Io(_) => Domain::External,
            Error::Job(e) => match e {
                JobError::Config(_) => Domain::User,
                JobError::Record { .. } | JobError::Budget { .. } => Domain::Data,
                JobError::Ledger(_) | JobError::Panic { .. } => Domain::Internal,
                _ => Domain::External,
            },
        }
    }

    /// The exit code that the command line uses: 1 failed, 2 usage, 3 locked or fenced, 4 threads abandoned.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Job(JobError::Locked(_)) => 3,
            Error::Job(JobError::Io { error, .. })
                if matches!(error.kind(), crate::io::IoErrorKind::Fenced) =>
            {
                3
            }
            Error::Job(JobError::Abandoned { .. }) => 4,
            Error::Job(JobError::Config(_)) | Error::Sql(_) | Error::Config(_) => 2,
            Error::Io(e) if matches!(e.kind(), crate::io::IoErrorKind::Config) => 2,
            Error::Io(_) | Error::Job(_) => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Sql(e) => write!(f, "{e}"),
            Error::Config(e) => f.write_str(e),
            Error::Io(e) => write!(f, "{e}"),
            Error::Job(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io(e) => Some(e),
            Error::Job(e) => Some(e),
            _ => None,
        }
    }
}

impl From<IoError> for Error {
    fn from(e: IoError) -> Self {
        Error::Io(e)
    }
}
impl From<JobError> for Error {
    fn from(e: JobError) -> Self {
        Error::Job(e)
    }
}
