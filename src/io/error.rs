//! Errors of readers and writers.

use std::fmt;

use crate::record::RecordError;

/// What kind of failure it was: decides about retry and exit code.
#[derive(Debug)]
#[non_exhaustive]
pub enum IoErrorKind {
    /// The operating system said no.
    Os(std::io::Error),
    /// The sink refuses record `at` of the batch; those before it are taken.
    Rejected {
        /// Index within the batch.
        at: usize,
        /// Why.
        error: RecordError,
    },
    /// The data as a whole is unusable (corrupt compression, a header without columns).
    Data,
    /// Options or set-up are wrong; no retry helps.
    Config,
    /// The connector can't do that.
    Unsupported,
    /// The other side is away; may work later.
    Unavailable,
    /// The reading end is gone (`| head`): the job ends cleanly.
    BrokenPipe,
    /// A program-side sender asked to abort the job.
    Aborted,
    /// Another instance of the job has taken over: this one must end.
    Fenced,
    /// Others read what this instance has read and not committed: it goes on from the last commit with what it is given then.
    Moved,
}

/// An error of a reader or writer: what was tried, on what, and why it failed.
#[derive(Debug)]
pub struct IoError {
    kind: IoErrorKind,
    context: String,
}

impl IoError {
    /// An error of that kind; `context` is one sentence, with path or address.
    pub fn new(kind: IoErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into() }
    }
    /// An operating system error while doing `what`, e.g. `"can't open flights.csv"`.
    pub fn os(what: impl Into<String>, error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::BrokenPipe => IoErrorKind::BrokenPipe,
            _ => IoErrorKind::Os(error),
        };
        Self::new(kind, what)
    }
    /// Something the connector can't do.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::new(IoErrorKind::Unsupported, what)
    }
    /// Wrong options or set-up.
    pub fn config(what: impl Into<String>) -> Self {
        Self::new(IoErrorKind::Config, what)
    }
    /// Unusable data.
    pub fn data(what: impl Into<String>) -> Self {
        Self::new(IoErrorKind::Data, what)
    }
    /// The sink refuses record `at`.
    pub fn rejected(at: usize, error: RecordError) -> Self {
        Self::new(IoErrorKind::Rejected { at, error }, "record refused")
    }
    /// The kind.
    pub fn kind(&self) -> &IoErrorKind {
        &self.kind
    }
    /// Whether the same call may succeed later without anybody's help.
    pub fn is_transient(&self) -> bool {
        match &self.kind {
            IoErrorKind::Unavailable => true,
            IoErrorKind::Os(e) => matches!(
                e.kind(),
                std::io::ErrorKind::Interrupted
                    | std::io::ErrorKind::WouldBlock
                    | std::io::ErrorKind::TimedOut
                    | std::io::ErrorKind::ConnectionReset
                    | std::io::ErrorKind::ConnectionRefused
                    | std::io::ErrorKind::ConnectionAborted
            ),
            _ => false,
        }
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        match &self.kind {
            IoErrorKind::Os(e) => write!(f, ": {e}"),
            IoErrorKind::Rejected { error, .. } => write!(f, ": {error}"),
            IoErrorKind::BrokenPipe => f.write_str(": broken pipe"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for IoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            IoErrorKind::Os(e) => Some(e),
            IoErrorKind::Rejected { error, .. } => Some(error),
            _ => None,
        }
    }
}
