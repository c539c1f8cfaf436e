//! Readers: where records come from.

use std::path::PathBuf;
use std::sync::Arc;

use super::{IoError, Membership};
use crate::record::{BatchBuilder, Clock, Position, Schema};

/// What a call of [`DataReader::read`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Records or rejects were added, or there may be more at once.
    More,
    /// Nothing to read at the moment.
    Idle,
    /// There will never be more.
    End,
}

/// Whether a source ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundedness {
    /// Says `End` some day.
    Bounded,
    /// Never ends unless it is asked to stop.
    Unbounded,
    /// Nobody knows: after `empty_batches` empty reads in a row, `empty_wait` apart, the stream is
    /// taken for ended.
    Unknown,
}

/// An open source, or one group of its partitions.
///
/// Owned by one thread at a time (the reader's thread, or the one that calls `step`), which
/// calls every method. It may move between threads at a batch boundary.
///
/// ```
/// use std::sync::Arc;
/// use millstream::{BatchBuilder, Boundedness, DataReader, DataType, Engine, IoError, Read, Schema};
///
/// struct Squares(i64);
///
/// impl DataReader for Squares {
///     fn schema(&self) -> Arc<Schema> {
///         Schema::of([("n", DataType::BigInt), ("square", DataType::BigInt)])
///     }
///     fn boundedness(&self) -> Boundedness {
///         Boundedness::Bounded
///     }
///     fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
///         while self.0 < 1_000 && !out.is_full() {
///             let record = out.record(); // perhaps one that was used before
///             record.set(0, self.0);
///             record.set(1, self.0 * self.0);
///             self.0 += 1;
///         }
///         Ok(if self.0 < 1_000 { Read::More } else { Read::End })
///     }
/// }
///
/// let engine = Engine::new();
/// engine.register_reader("squares", Squares(0))?;
/// let mut job = engine.sql("SELECT n FROM squares WHERE square > 990000")?.start()?;
/// assert_eq!(job.rows().count(), 5);
/// # Ok::<(), millstream::Error>(())
/// ```
pub trait DataReader: Send {
    /// The shape of the records that [`read`](Self::read) gives. Constant.
    fn schema(&self) -> Arc<Schema>;

    /// Adds records to `out` until it [is full](BatchBuilder::is_full) or nothing more can be had.
    ///
    /// Called in a loop, once a batch. May block for at most `out.max_wait()` when there is no input;
    /// a reader that can't keep that promise still works, but delays a stop by as much.
    /// Records that can't be decoded are not errors: they go to `out.reject`.
    ///
    /// # Errors
    /// On `Err` nothing of this call counts: the runtime drops what was added and, if the error can be
    /// retried, calls again, so the reader must still stand where it stood before the call.
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError>;

    /// Whether the source ends by itself.
    fn boundedness(&self) -> Boundedness {
        Boundedness::Unknown
    }

    /// Where the reader stands: after the last record that it gave. Asked at barriers and at the end.
    /// The default says `start`: a source that can't be reread.
    fn position(&self) -> Position {
        Position::default()
    }

    /// Continues from `position`, which an earlier instance returned. Called once, before the first read.
    ///
    /// # Errors
    /// If the source can't be reread, or no longer has that position.
    fn seek(&mut self, position: &Position) -> Result<(), IoError> {
        let _ = position;
        Err(IoError::unsupported("this source can't be read again from a position"))
    }

    /// All records before `position` are durable downstream. Called after each commit.
    ///
    /// # Errors
    /// Counted and logged; the job goes on, since its own state already holds the position.
    fn commit(&mut self, position: &Position) -> Result<(), IoError> {
        let _ = position;
        Ok(())
    }

    /// Whether a commit is wanted at once, though it is not time for one: the reader waits for it before it gives up what others
    /// are to read.
    fn wants_commit(&self) -> bool {
        false
    }

    /// The partitions from which records are waiting, each with its topic where there are several: until its first record, none of them
    /// lets the watermark pass. One of which none comes after all is told as [`Shift::Silent`]. Asked once, before the first [`read`](Self::read) and behind [`seek`](Self::seek).
    fn waiting(&self) -> Vec<(Option<Arc<str>>, i32)> {
        Vec::new()
    }

    /// Of how many partitions it reads a fixed part; `None` if it reads all.
    fn divided(&self) -> Option<usize> {
        None
    }

    /// What the last call of [`read`](Self::read) or [`commit`](Self::commit) has found out of the source's parts, oldest first. A part is
    /// gained before its first record is given, and leaves behind its last one.
    fn take_shift(&mut self) -> Option<Shift> {
        None
    }
}

/// What becomes of a part of a source whose state moves with it, as a reader with [`Scan::kept`] tells it.
#[derive(Debug)]
pub enum Shift {
    /// This instance reads it from now on.
    Gained {
        /// Its number: [`StreamRecord::partition`](crate::StreamRecord::partition) of its records.
        part: i32,
        /// What [`Coordinator::keep`](super::Coordinator::keep) was given for it, oldest first: the newest that is whole and all
        /// behind it. None: nothing was kept of it yet.
        state: Vec<Vec<u8>>,
    },
    /// Nothing more of it comes, and nothing more may come of its state: it is given up with the next commit.
    Leaving {
        /// Its number.
        part: i32,
    },
    /// Of a partition that was [`waiting`](DataReader::waiting) no record has come, and none is waiting any more: what was there
    /// were none, or could not be decoded.
    Silent {
        /// Its topic, where there are several.
        topic: Option<Arc<str>>,
        /// Its number.
        part: i32,
    },
    /// Others have it.
    Gone {
        /// Its number.
        part: i32,
    },
}

/// One of several processes that run a job together.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The job.
    pub job: String,
    /// Its own name among the processes.
    pub name: String,
    /// Whether the job's output is there exactly once.
    pub transactional: bool,
    /// Where each instance has partitions of its own for good: its number and theirs, from 0.
    pub slice: Option<Slice>,
}

/// A fixed part of the partitions: those whose number modulo `of` is `number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// From 0.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

/// System columns that a plan reads; a reader need not fill the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemColumns {
    /// `_timestamp`
    pub timestamp: bool,
    /// `_topic`
    pub topic: bool,
    /// `_key`
    pub key: bool,
    /// `_headers`
    pub headers: bool,
}

/// What a plan wants of a source.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The columns that are read, in the order in which they are wanted: a subset of the declared ones.
    pub schema: Arc<Schema>,
    /// System columns that are read.
    pub system: SystemColumns,
    /// The job's clock; `None`: the one that the source was made with.
    pub clock: Option<Clock>,
    /// The job's state is cut by the parts of this source, and moves with them: the reader tells of them
    /// ([`DataReader::take_shift`]).
    pub kept: bool,
}

/// A source that can be opened, also again after a failure.
pub trait DataSource: Send + Sync {
    /// All columns, declared or inferred.
    fn schema(&self) -> Arc<Schema>;

    /// Whether [`open`](Self::open) gives records of exactly `scan.schema`. If not, readers give all
    /// columns of [`schema`](Self::schema).
    fn projects(&self) -> bool {
        false
    }

    /// Whether what this source opens ends by itself.
    fn boundedness(&self) -> Boundedness;

    /// Whether a position of an earlier run can be sought.
    fn can_replay(&self) -> bool {
        false
    }

    /// Local files that this source reads: the engine refuses a job that would overwrite its own input.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Whether it can deliver what a plan wants. Called before a job starts; must not block.
    ///
    /// # Errors
    /// What it can't deliver.
    fn check(&self, scan: &Scan) -> Result<(), IoError> {
        let _ = scan;
        Ok(())
    }

    /// Whether its end is only a pause: a job with state that has come to it goes on there when it is started again, instead
    /// of being finished.
    fn end_is_pause(&self) -> bool {
        false
    }

    /// Whether [`DataReader::commit`] tells others how far the job is (a consumer group's offsets): a job without a state
    /// directory never calls it, and says so.
    fn announces_commits(&self) -> bool {
        false
    }

    /// Columns whose equal values are in one partition, as far as that is known.
    fn partitioned_by(&self) -> Vec<String> {
        Vec::new()
    }

    /// How its positions can stand in the transactions of sinks.
    fn membership(&self) -> Option<Membership> {
        None
    }

    /// The form of this source, here called `name`, for an instance of a job that others run as well: each record is read by one of
    /// them.
    ///
    /// # Errors
    /// If it can't be divided among them.
    fn shared(&self, name: &str, instance: &Instance) -> Result<Arc<dyn DataSource>, IoError> {
        let _ = (name, instance);
        Err(IoError::config(
            "it can't be divided among instances, each would read all of it: leave --instance out, or bring it into a Kafka topic",
        ))
    }

    /// Whether it may feed a job whose output is there exactly once.
    ///
    /// # Errors
    /// Why not.
    fn check_transactional(&self) -> Result<(), IoError> {
        Ok(())
    }

    /// Opens a reader at the start. May block on slow storage; called on the thread that starts the job.
    ///
    /// # Errors
    /// If the source is not there or can't be opened, or was already taken and can't be opened twice.
    fn open(&self, scan: &Scan) -> Result<Box<dyn DataReader>, IoError>;
}
