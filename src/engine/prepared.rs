//! What a text became: answers to SHOW and the like, and jobs that can be started.

use std::sync::Arc;

use crate::connector::memory::{ChannelSink, OnceSink, Rows};
use crate::error::Error;
use crate::io::{Boundedness, DataSink, DataWriter};
use crate::job::{self, JobConfig, JobHandle, JobSpec, SinkPart, SourcePart, Step, Stop, Stopper};
use crate::observe::JobStats;
use crate::plan::JobPlan;
use crate::record::{DataType, FieldValue, Schema};

/// Batches that wait for a program that reads rows.
const ROW_BATCHES: usize = 8;

/// The answer to a statement that runs no job: SHOW, DESCRIBE, EXPLAIN.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Columns.
    pub schema: Arc<Schema>,
    /// Rows.
    pub rows: Vec<Vec<FieldValue>>,
}

impl Answer {
    pub(super) fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<FieldValue>>) -> Self {
        Self {
            schema: Schema::of(columns.iter().map(|c| (*c, DataType::Varchar))),
            rows: rows.into_iter().collect(),
        }
    }
    pub(super) fn text(column: &str, text: &str) -> Self {
        Self::table(&[column], text.lines().map(|l| vec![l.into()]))
    }
}

/// The sink of a job that is not started.
pub(super) enum PendingSink {
    Ready(SinkPart),
    /// A bare SELECT: nobody has said yet who takes its rows.
    Rows,
}

impl PendingSink {
    fn describe(&self) -> Vec<(&'static str, String)> {
        match self {
            PendingSink::Ready(part) => part.sink.describe(),
            PendingSink::Rows => Vec::new(),
        }
    }
}

/// A job that is not started.
pub(super) struct PendingJob {
    pub(super) config: JobConfig,
    pub(super) plan: JobPlan,
    pub(super) sources: Vec<SourcePart>,
    pub(super) sinks: Vec<PendingSink>,
    pub(super) dead_letters: Option<SinkPart>,
}

/// What a job reads and writes, for people.
#[derive(Clone, Debug)]
pub struct JobSummary {
    /// Name.
    pub name: String,
    /// Its sources.
    pub sources: Vec<String>,
    /// Its sinks; a bare SELECT is empty.
    pub sinks: Vec<String>,
    /// What each sink says of itself ([`DataSink::describe`]).
    pub sink_notes: Vec<Vec<(&'static str, String)>>,
    /// The columns that a bare SELECT gives.
    pub schema: Option<Arc<Schema>>,
    /// Whether every source ends by itself.
    pub bounded: bool,
    /// The whole plan.
    pub plan: JobPlan,
}

/// Statements that were carried out, and jobs that can be started.
pub struct Prepared {
    jobs: Vec<PendingJob>,
    answers: Vec<Answer>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("jobs", &self.jobs.len()).finish_non_exhaustive()
    }
}

impl Prepared {
    pub(super) fn new(jobs: Vec<PendingJob>, answers: Vec<Answer>) -> Self {
        Self { jobs, answers }
    }
    /// Answers of SHOW, DESCRIBE and EXPLAIN, in order.
    pub fn answers(&self) -> &[Answer] {
        &self.answers
    }
    /// The jobs.
    pub fn jobs(&self) -> Vec<JobSummary> {
        self.jobs
            .iter()
            .map(|j| JobSummary {
                name: j.config.name.clone(),
                sources: j.plan.sources.iter().map(|s| s.relation.clone()).collect(),
                sinks: j.plan.sinks.iter().map(|s| s.relation.clone()).collect(),
                sink_notes: j.sinks.iter().map(PendingSink::describe).collect(),
                schema: j.plan.sinks.iter().find(|s| s.relation.is_empty()).map(|s| s.schema.clone()),
                bounded: j.sources.iter().all(|s| s.source.boundedness() == Boundedness::Bounded),
                plan: j.plan.clone(),
            })
            .collect()
    }
    /// Gives the rows of bare SELECTs to what `make` makes for their columns, e.g. a printer.
    ///
    /// # Errors
    /// What `make` says.
    pub fn into_sink(
        mut self,
        mut make: impl FnMut(&Arc<Schema>) -> Result<Arc<dyn DataSink>, Error>,
    ) -> Result<Self, Error> {
        for job in &mut self.jobs {
            for (sink, planned) in job.sinks.iter_mut().zip(&job.plan.sinks) {
                if matches!(sink, PendingSink::Rows) {
                    let made = make(&planned.schema)?;
                    *sink = PendingSink::Ready(SinkPart { name: "select".into(), sink: made });
                }
            }
        }
        Ok(self)
    }
    /// Gives the rows of the bare SELECT to a writer.
    ///
    /// # Errors
    /// If there is not exactly one bare SELECT.
    pub fn into_writer(self, writer: impl DataWriter + 'static) -> Result<Self, Error> {
        let mut sink: Option<Arc<dyn DataSink>> = Some(Arc::new(OnceSink::new(writer)));
        self.into_sink(|_| {
            sink.take()
                .ok_or_else(|| Error::Config("one writer can't take the rows of several SELECTs".into()))
        })
    }
    /// Checks everything that can be checked without running.
    ///
    /// # Errors
    /// As [`start`](Self::start), as far as it can be told before.
    pub fn check(self) -> Result<(), Error> {
        self.into_jobs(Some(ROW_BATCHES))?
            .into_iter()
            .try_for_each(|(spec, _)| spec.check().map_err(Error::from))
    }
    /// Starts the text's one job on threads of its own.
    ///
    /// # Errors
    /// If the text has no query, or statements that form several jobs; if the job can't be opened.
    pub fn start(self) -> Result<Job, Error> {
        let (spec, rows) = self.only_job(Some(ROW_BATCHES))?;
        Ok(Job { handle: job::start(spec)?, rows })
    }
    /// Opens the text's one job to be driven by [`Job::step`]: no thread, and the clock is the caller's. `now` is µs since the
    /// Unix epoch. The rows of a bare SELECT are held until they are taken: take them between steps.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn stepping(self, now: i64) -> Result<Job, Error> {
        let (spec, rows) = self.only_job(None)?;
        Ok(Job { handle: job::stepping(spec, now)?, rows })
    }
    /// Starts every job of the text.
    ///
    /// # Errors
    /// If one can't be opened; those started before are aborted.
    pub fn start_all(self) -> Result<Vec<Job>, Error> {
        self.into_jobs(Some(ROW_BATCHES))?
            .into_iter()
            .map(|(spec, rows)| Ok(Job { handle: job::start(spec)?, rows }))
            .collect()
    }

    /// At most `row_batches` wait for a program that reads rows.
    fn only_job(self, row_batches: Option<usize>) -> Result<(JobSpec, Option<Rows>), Error> {
        let mut jobs = self.into_jobs(row_batches)?;
        match (jobs.pop(), jobs.is_empty()) {
            (Some(job), true) => Ok(job),
            (None, _) => Err(Error::Config("there is no query to run".into())),
            (Some(_), false) => Err(Error::Config(format!(
                "the statements form {} jobs, as they share neither source nor sink; start_all() starts them",
                jobs.len() + 1
            ))),
        }
    }

    fn into_jobs(self, row_batches: Option<usize>) -> Result<Vec<(JobSpec, Option<Rows>)>, Error> {
        self.jobs.into_iter().map(|j| j.finish(row_batches)).collect()
    }
}

impl PendingJob {
    fn finish(self, row_batches: Option<usize>) -> Result<(JobSpec, Option<Rows>), Error> {
        let mut rows = None;
        let mut sinks = Vec::new();
        for sink in self.sinks {
            sinks.push(match sink {
                PendingSink::Ready(part) => part,
                PendingSink::Rows if rows.is_some() => {
                    return Err(Error::Config(
                        "a job can give the rows of one bare SELECT; use INSERT INTO for more".into(),
                    ));
                }
                PendingSink::Rows => {
                    let (sink, made) = row_batches.map_or_else(ChannelSink::unbounded, ChannelSink::new);
                    rows = Some(made);
                    SinkPart { name: "select".into(), sink: Arc::new(sink) }
                }
            });
        }
        let Self { config, plan, sources, dead_letters, .. } = self;
        Ok((JobSpec { config, plan, sources, sinks, dead_letters }, rows))
    }
}

/// A job that runs, with the rows of its bare SELECT.
///
/// ```
/// use millstream::{Engine, Step, Stop};
///
/// // On threads of its own, until it is told to stop.
/// let endless = "CREATE STREAM g (n BIGINT) WITH (connector = 'generator'); SELECT n FROM g";
/// let mut job = Engine::new().sql(endless)?.start()?;
/// assert!(job.rows().take(3).all(|row| row.get("n").is_some()));
/// job.stop(Stop::Abort);
/// assert!(job.wait().is_err());
///
/// // Or on the caller's thread, by the caller's clock: µs since the Unix epoch.
/// let mut now = 1_767_225_600_000_000;
/// let mut job = Engine::new().sql("SELECT 6 * 7 AS n")?.stepping(now)?;
/// let mut rows = job.take_rows().expect("a bare SELECT has rows");
/// while job.step(now)? != Step::Done {
///     now += 1_000_000;
/// }
/// assert_eq!(rows.try_next().and_then(|row| row.get("n")?.as_i64()), Some(42));
/// let stats = job.wait()?;
/// assert_eq!((stats.records_out, stats.deep_copies), (1, 0));
/// # Ok::<(), millstream::Error>(())
/// ```
pub struct Job {
    handle: JobHandle,
    rows: Option<Rows>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.handle.fmt(f)
    }
}

impl Job {
    /// The rows of the bare SELECT, as they come. A job waits for a program that does not take its rows: at most eight batches are held. One that is stepped holds them all.
    /// A second call, or a job without bare SELECT, gives no rows.
    pub fn rows(&mut self) -> Box<dyn Iterator<Item = Arc<crate::record::StreamRecord>> + '_> {
        match &mut self.rows {
            Some(rows) => Box::new(rows),
            None => Box::new(std::iter::empty()),
        }
    }
    /// The rows themselves, e.g. to wait for one with a time-out or to read them on another thread.
    pub fn take_rows(&mut self) -> Option<Rows> {
        self.rows.take()
    }
    /// One round on the caller's thread: see [`JobHandle::step`].
    ///
    /// # Errors
    /// The job's failure, once. Also if the job was started on its own threads.
    pub fn step(&mut self, now: i64) -> Result<Step, Error> {
        Ok(self.handle.step(now)?)
    }
    /// Asks the job to stop; returns at once.
    pub fn stop(&self, how: Stop) {
        self.handle.stop(how);
    }
    /// Stops the job and reads its statistics from elsewhere.
    pub fn stopper(&self) -> Stopper {
        self.handle.stopper()
    }
    /// Whether the job has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
    /// The statistics now.
    pub fn stats(&self) -> JobStats {
        self.handle.stats()
    }
    /// Waits for the end. Rows that nobody took are dropped.
    ///
    /// # Errors
    /// The reason why the job failed.
    pub fn wait(mut self) -> Result<JobStats, Error> {
        if let Some(rows) = self.rows.take() {
            if self.handle.is_stepping() {
                drop(rows);
            } else {
                rows.for_each(drop);
            }
        }
        Ok(self.handle.wait()?)
    }
}
