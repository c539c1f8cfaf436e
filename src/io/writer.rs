//! Writers: where records go.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Coordinator, IoError};
use crate::record::{Clock, Position, RecordError, Schema, StreamRecord};

/// A record that a sink had taken and that its other side refused later.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Where the record came from, in words.
    pub place: String,
    /// What was sent, as bytes.
    pub raw: Vec<u8>,
    /// Why.
    pub error: RecordError,
}

/// An open sink. Owned by one thread at a time, which calls every method.
///
/// The runtime recycles the records: a writer that wants to keep one clones its `Arc`.
///
/// ```
/// use std::sync::{Arc, mpsc};
/// use millstream::{DataWriter, Engine, IoError, StreamRecord};
///
/// struct Sums(mpsc::Sender<i64>);
///
/// impl DataWriter for Sums {
///     fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
///         let sum = batch.iter().filter_map(|row| row.values()[0].as_i64()).sum();
///         self.0.send(sum).map_err(|_| IoError::data("nobody listens"))
///     }
///     fn flush(&mut self) -> Result<(), IoError> {
///         Ok(()) // nothing is held back
///     }
/// }
///
/// let (send, sums) = mpsc::channel();
/// Engine::new().sql("VALUES (1), (2), (3)")?.into_writer(Sums(send))?.start()?.wait()?;
/// assert_eq!(sums.iter().sum::<i64>(), 6);
/// # Ok::<(), millstream::Error>(())
/// ```
pub trait DataWriter: Send {
    /// Takes a batch, in order. May buffer. Blocks while the sink is slow: that is the backpressure.
    ///
    /// # Errors
    /// [`IoErrorKind::Rejected`](super::IoErrorKind::Rejected) names the one record that the sink refuses: the
    /// records before it are taken, the runtime applies the policy and goes on after it. With any other error
    /// *nothing* of the batch counts as taken; if it can be retried, the same batch comes again.
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError>;

    /// An encoder that makes of a batch what [`write`](Self::write) would: for whoever holds the records in the caches of another core.
    /// What it makes comes to [`write_encoded`](Self::write_encoded). Asked once, before the first record. By default: none.
    fn encoder(&self) -> Option<Box<dyn BatchEncoder>> {
        None
    }

    /// Takes a batch of which `encoded` is what a [`BatchEncoder`] made of it.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn write_encoded(&mut self, batch: &[Arc<StreamRecord>], encoded: &[u8]) -> Result<(), IoError> {
        let _ = encoded;
        self.write(batch)
    }

    /// Hands everything that is buffered to the sink. Called when the stage has nothing else to do and
    /// `batch_linger` has passed, and at the end.
    ///
    /// # Errors
    /// The stage fails; what was written since the last commit is written again after a restart.
    fn flush(&mut self) -> Result<(), IoError>;

    /// Makes everything that was written durable (fsync, acknowledged) and says where the sink stands.
    /// Called before each commit and at the end; after it a crash loses nothing written so far.
    ///
    /// # Errors
    /// Never retried: the epoch is done again after a restart.
    fn sync(&mut self) -> Result<Position, IoError> {
        self.flush()?;
        Ok(Position::default())
    }

    /// Takes the records that were taken and turned out to be refused since the last call: those of a sink that answers late.
    /// Asked after every other call; the runtime applies the policy to each, as if `write` had refused it.
    fn take_refused(&mut self) -> Vec<Refused> {
        Vec::new()
    }

    /// The job's clock, for a sink whose output depends on the time. Called once, before the first record.
    fn use_clock(&mut self, clock: &Clock) {
        let _ = clock;
    }

    /// Ends the sink: footer, last flush. Called once, after the last `write`; not after a failure.
    ///
    /// # Errors
    /// The job fails.
    fn finish(&mut self) -> Result<(), IoError> {
        self.flush()
    }

    /// Transactions: what is written from now on belongs to `epoch`. Called when the writer is opened and after each `prepare`.
    ///
    /// # Errors
    /// By default: not supported.
    fn begin(&mut self, epoch: u64) -> Result<(), IoError> {
        let _ = epoch;
        Err(IoError::unsupported("this sink has no transactions"))
    }
    /// Transactions: stages the output of `epoch` durably. The position says all that [`DataSink::recover`] needs.
    ///
    /// # Errors
    /// Never retried: the job goes on from its last commit. By default: not supported.
    fn prepare(&mut self, epoch: u64) -> Result<Position, IoError> {
        let _ = epoch;
        Err(IoError::unsupported("this sink has no transactions"))
    }
    /// Transactions: publishes what was prepared. Called after the commit, so the rows count whatever happens.
    ///
    /// # Errors
    /// The job fails; its next start publishes them. By default: not supported.
    fn commit(&mut self, epoch: u64) -> Result<(), IoError> {
        let _ = epoch;
        Err(IoError::unsupported("this sink has no transactions"))
    }
    /// Transactions: throws away what belongs to `epoch`.
    ///
    /// # Errors
    /// By default: not supported.
    fn abort(&mut self, epoch: u64) -> Result<(), IoError> {
        let _ = epoch;
        Err(IoError::unsupported("this sink has no transactions"))
    }
}

/// Encodes batches for a writer, on any thread.
pub trait BatchEncoder: Send {
    /// Appends the records to `out`. `false`: some of them can't be encoded; then the batch comes to [`DataWriter::write`].
    fn encode(&mut self, batch: &[Arc<StreamRecord>], out: &mut Vec<u8>) -> bool;

    /// Another one, for another thread.
    fn fork(&self) -> Option<Box<dyn BatchEncoder>>;
}

/// How a sink starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkStart {
    /// The job's first start: overwrite or append as the options say.
    Fresh,
    /// Goes on after a commit: cut back to where [`DataWriter::sync`] said it stood.
    Resume(Position),
}

/// How a sink keeps the promise of a transactional job that each row is there once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transactions {
    /// It can't.
    None,
    /// What was written after the last commit is cut off at the next start: readers may see it until then.
    CutsBack,
    /// Nothing is visible before its commit: [`begin`](DataWriter::begin), [`prepare`](DataWriter::prepare),
    /// [`commit`](DataWriter::commit).
    Staged,
    /// The same, and the place that it writes to decides for the whole job whether an epoch counts: [`DataSink::lead`].
    Led {
        /// An epoch must be committed so long after its first record.
        within: Duration,
    },
}

impl Transactions {
    /// Whether output waits for its commit.
    pub fn is_staged(self) -> bool {
        matches!(self, Transactions::Staged | Transactions::Led { .. })
    }
}

/// What a sink wants of the commits of its job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitNeeds {
    /// Why it can't do without them, so that the job needs a state directory.
    pub because: Option<&'static str>,
    /// So long after the last commit another one is made although nothing has come in: the sink ends files by time.
    pub quiet_after: Option<Duration>,
}

/// A sink that can be opened, also again after a failure.
pub trait DataSink: Send + Sync {
    /// Opens a writer for records of that shape.
    ///
    /// # Errors
    /// If the sink can't be opened, can't resume, or can't take the schema.
    fn open(&self, schema: Arc<Schema>, start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError>;

    /// Whether [`SinkStart::Resume`] cuts the sink back, so that a restart leaves no gap and no torn line.
    fn can_resume(&self) -> bool {
        false
    }

    /// How it takes part in a transactional job.
    fn transactions(&self) -> Transactions {
        if self.can_resume() { Transactions::CutsBack } else { Transactions::None }
    }

    /// Whether it can take rows of that shape, as far as that can be told without opening anything. Called when a job is checked.
    ///
    /// # Errors
    /// Why not.
    fn check(&self, schema: &Arc<Schema>) -> Result<(), IoError> {
        let _ = schema;
        Ok(())
    }

    /// What it wants of commits.
    fn commit_needs(&self) -> CommitNeeds {
        CommitNeeds::default()
    }

    /// The form of this sink for a simple job of that name, if that is another one.
    fn named(&self, job: &str) -> Option<Arc<dyn DataSink>> {
        let _ = job;
        None
    }

    /// The form of this sink for a transactional job of that name, if that is another one. `instance`: the name of this process,
    /// where several run the job.
    fn staged(&self, job: &str, instance: Option<&str>) -> Option<Arc<dyn DataSink>> {
        let _ = (job, instance);
        None
    }

    /// Staged sinks: completes the commit at `position`, once, before the sink is opened to resume from there. `published`: it
    /// is on record that it was complete.
    ///
    /// # Errors
    /// If what was committed is not there any more.
    fn recover(&self, position: &Position, published: bool) -> Result<(), IoError> {
        let _ = (position, published);
        Ok(())
    }

    /// Where it is, for sinks that are [led](Transactions::Led): all those of a job must be in the same place.
    fn cluster(&self) -> Option<String> {
        None
    }

    /// Whether it may be a sink of a job whose output is there exactly once; what [`transactions`](Self::transactions) does not say.
    ///
    /// # Errors
    /// Why not.
    fn check_transactional(&self) -> Result<(), IoError> {
        Ok(())
    }

    /// Led sinks: makes the coordinator of the job. Asked of one of its sinks, before any sink or source is opened. From then on
    /// nobody who led the job before can commit, and what that one had begun is decided.
    ///
    /// # Errors
    /// The place can't be reached. By default: there is none.
    fn lead(&self) -> Result<Box<dyn Coordinator>, IoError> {
        Err(IoError::unsupported("this sink has no transactions"))
    }

    /// Led sinks: what is opened from now on writes in the transactions of that coordinator.
    ///
    /// # Errors
    /// It is a stranger.
    fn follow(&self, leader: &dyn Coordinator) -> Result<(), IoError> {
        let _ = leader;
        Err(IoError::unsupported("this sink has no transactions"))
    }

    /// Whether what it was given lives in this process only, as that of a materialized table: it is then restored from the
    /// last position even when the job has ended and nothing else is opened.
    fn holds_content(&self) -> bool {
        false
    }

    /// What EXPLAIN and `check` say of it beside its name: where the rows go and when they are seen, each with a short title.
    fn describe(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Local files that this sink writes: the engine refuses a job that would overwrite its own input.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}
