//! Why a job ended badly.

use std::fmt;

use crate::io::{IoError, IoErrorKind};
use crate::observe::LedgerError;
use crate::record::{ErrorCode, RecordError};

/// The reason why a job failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum JobError {
    /// A record could not be processed and the policy is `fail`.
    Record {
        /// Stage, e.g. `source flights`.
        stage: String,
        /// Where the record stood, for people.
        place: String,
        /// What was wrong.
        error: RecordError,
        /// What to add to go on without such records.
        hint: String,
    },
    /// Too many records were rejected.
    Budget {
        /// The limit that was passed, in words.
        limit: String,
        /// The last error.
        last: String,
    },
    /// A source or sink failed.
    Io {
        /// Stage.
        stage: String,
        /// What it said.
        error: IoError,
    },
    /// The reading end of a sink is gone: a clean end for a pipe.
    BrokenPipe {
        /// Stage.
        stage: String,
    },
    /// An operator can't go on, e.g. beyond `state_max_bytes`.
    Operator {
        /// Its id.
        operator: String,
        /// Why.
        why: String,
        /// What kind of error a result of it is, if that is why.
        code: Option<ErrorCode>,
    },
    /// A thread of the job panicked.
    Panic {
        /// Thread name.
        thread: String,
        /// The panic's message.
        message: String,
    },
    /// The ledger does not balance.
    Ledger(LedgerError),
    /// State could not be read or written.
    State(String),
    /// Another instance holds the job's state directory.
    Locked(String),
    /// The job can't be run as asked.
    Config(String),
    /// Threads that did not end in time after a cancel.
    Abandoned {
        /// Their names.
        threads: Vec<String>,
        /// The reason for the cancel, if there was one.
        cause: Option<Box<JobError>>,
    },
    /// The job was aborted on request.
    Aborted,
}

impl JobError {
    pub(crate) fn io(stage: impl Into<String>, error: IoError) -> Self {
        let stage = stage.into();
        match error.kind() {
            IoErrorKind::BrokenPipe => JobError::BrokenPipe { stage },
            _ => JobError::Io { stage, error },
        }
    }
    /// Whether a restart from the last commit may help.
    pub fn may_restart(&self) -> bool {
        match self {
            JobError::Panic { .. } => true,
            JobError::Io { error, .. } => {
                error.is_transient() || matches!(error.kind(), IoErrorKind::Os(_) | IoErrorKind::Moved)
            }
            _ => false,
        }
    }
    /// Whether nothing has failed: what this instance reads was moved, and it has to begin again with what it is given.
    pub(crate) fn is_move(&self) -> bool {
        matches!(self, JobError::Io { error, .. } if matches!(error.kind(), IoErrorKind::Moved))
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Record { stage, place, error, hint } => {
                write!(f, "{stage}: {place}: {error} [{}]\n  help: {hint}", error.code.label())
            }
            JobError::Budget { limit, last } => {
                write!(f, "too many rejected records: {limit}; the last one: {last}")
            }
            JobError::Io { stage, error } => write!(f, "{stage}: {error}"),
            JobError::BrokenPipe { stage } => write!(f, "{stage}: the reader of the pipe is gone"),
            JobError::Operator { operator, why, code } => {
                write!(f, "operator {operator}: {why}")?;
                code.map_or(Ok(()), |code| write!(f, " [{}]", code.label()))
            }
            JobError::Panic { thread, message } => write!(f, "thread {thread} panicked: {message}"),
            JobError::Ledger(e) => write!(f, "{e}"),
            JobError::State(e) | JobError::Locked(e) | JobError::Config(e) => f.write_str(e),
            JobError::Abandoned { threads, cause } => {
                write!(f, "abandoned after the shutdown deadline: {}", threads.join(", "))?;
                match cause {
                    Some(c) => write!(f, "; the job ended because of: {c}"),
                    None => Ok(()),
                }
            }
            JobError::Aborted => f.write_str("the job was aborted"),
        }
    }
}

impl std::error::Error for JobError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            JobError::Record { error, .. } => Some(error),
            JobError::Io { error, .. } => Some(error),
            JobError::Ledger(e) => Some(e),
            _ => None,
        }
    }
}
