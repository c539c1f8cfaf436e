//! What the tests of the job runtime share: sources and sinks with faults and gates, deadlines, thread names.
#![allow(dead_code, unreachable_pub)]

pub mod place;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use millstream::catalog::Options;
use millstream::connector::{SinkRequest, SourceRequest};
use millstream::io::faulty::{Faulty, Script};
use millstream::io::{Scan, SinkStart};
use millstream::record::{Clock, Position};
use millstream::{
    BatchBuilder, Boundedness, DataReader, DataSink, DataSource, DataWriter, Engine, IoError, Read, Schema,
    StreamRecord,
};

pub const MODES: [&str; 3] = ["inline", "threads", "auto"];

/// A directory in memory where there is one: for tests that sync thousands of files and pull no plug.
pub fn quick_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Tests that look at the process's threads exclude each other.
pub fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs `work` on a thread of its own and fails the test if it does not end in time.
pub fn within<T: Send + 'static>(seconds: u64, what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let result = work();
        let _ = done.send(());
        result
    });
    if wait.recv_timeout(Duration::from_secs(seconds)) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("{what}: still running after {seconds} s; threads: {:?}", engine_threads());
    }
    thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e))
}

/// Names of this process's threads that belong to jobs.
pub fn engine_threads() -> Vec<String> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    tasks
        .filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| name.starts_with("ms-"))
        .collect()
}

/// Waits until all threads of jobs are gone; a joined thread may still be listed for a moment.
pub fn expect_no_threads(what: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !engine_threads().is_empty() {
        assert!(Instant::now() < deadline, "{what}: threads left behind: {:?}", engine_threads());
        std::thread::yield_now();
    }
}

/// Spins until `ready`, at most 60 s.
pub fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ready() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

fn options(path: &Path) -> Options {
    Options::new([("connector", "file"), ("path", path.to_str().unwrap())])
}

/// A file as a source.
pub fn file_source(path: &Path) -> Arc<dyn DataSource> {
    let options = options(path);
    let request = SourceRequest { name: "in", columns: &[], options: &options, clock: &Clock::System };
    Engine::new().connectors().source(&request).unwrap()
}

/// A file as a sink.
pub fn file_sink(path: &Path) -> Arc<dyn DataSink> {
    let options = options(path);
    Engine::new().connectors().sink(&SinkRequest { name: "out", options: &options, sets: &[] }).unwrap()
}

/// A source that gives at most `limit` records before it falls silent, and whose n-th opening follows the n-th script.
#[derive(Clone)]
pub struct TestSource {
    pub inner: Arc<dyn DataSource>,
    pub limit: Arc<AtomicU64>,
    pub scripts: Arc<Mutex<VecDeque<Script>>>,
}

impl TestSource {
    pub fn new(inner: Arc<dyn DataSource>) -> Self {
        Self { inner, limit: Arc::new(AtomicU64::new(u64::MAX)), scripts: Arc::default() }
    }
    pub fn limited(self, limit: u64) -> Self {
        self.limit.store(limit, Ordering::SeqCst);
        self
    }
    pub fn scripted(self, script: Script) -> Self {
        self.scripts.lock().unwrap().push_back(script);
        self
    }
}

impl DataSource for TestSource {
    fn schema(&self) -> Arc<Schema> {
        self.inner.schema()
    }
    fn projects(&self) -> bool {
        self.inner.projects()
    }
    fn boundedness(&self) -> Boundedness {
        self.inner.boundedness()
    }
    fn can_replay(&self) -> bool {
        self.inner.can_replay()
    }
    fn open(&self, scan: &Scan) -> Result<Box<dyn DataReader>, IoError> {
        let script = self.scripts.lock().unwrap().pop_front().unwrap_or_default();
        let inner: Box<dyn DataReader> = Box::new(Faulty::new(self.inner.open(scan)?, script));
        Ok(Box::new(Gate { inner, limit: self.limit.clone(), given: 0 }))
    }
}

struct Gate {
    inner: Box<dyn DataReader>,
    limit: Arc<AtomicU64>,
    given: u64,
}

impl DataReader for Gate {
    fn schema(&self) -> Arc<Schema> {
        self.inner.schema()
    }
    fn boundedness(&self) -> Boundedness {
        self.inner.boundedness()
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        let left = self.limit.load(Ordering::SeqCst).saturating_sub(self.given);
        if left == 0 {
            return Ok(Read::Idle);
        }
        let (before, rejects) = (out.len(), out.rejects().len());
        let (rows, bytes) = out.limits();
        out.set_limits(rows.min(before + rejects + usize::try_from(left).unwrap_or(usize::MAX / 2)), bytes);
        let read = self.inner.read(out);
        out.set_limits(rows, bytes);
        if read.is_ok() {
            self.given += (out.len() - before + out.rejects().len() - rejects) as u64;
        }
        read
    }
    fn position(&self) -> Position {
        self.inner.position()
    }
    fn seek(&mut self, position: &Position) -> Result<(), IoError> {
        self.inner.seek(position)
    }
    fn commit(&mut self, position: &Position) -> Result<(), IoError> {
        self.inner.commit(position)
    }
}

/// A sink that counts what it took and whose n-th opening follows the n-th script.
#[derive(Clone)]
pub struct TestSink {
    pub inner: Arc<dyn DataSink>,
    pub taken: Arc<AtomicU64>,
    pub syncs: Arc<AtomicU64>,
    pub scripts: Arc<Mutex<VecDeque<Script>>>,
    /// The writer waits while this is set.
    pub stalled: Arc<AtomicBool>,
    /// The writer waits now.
    pub inside: Arc<AtomicBool>,
}

impl TestSink {
    pub fn new(inner: Arc<dyn DataSink>) -> Self {
        Self {
            inner,
            taken: Arc::default(),
            syncs: Arc::default(),
            scripts: Arc::default(),
            stalled: Arc::default(),
            inside: Arc::default(),
        }
    }
    pub fn scripted(self, script: Script) -> Self {
        self.scripts.lock().unwrap().push_back(script);
        self
    }
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }
}

impl DataSink for TestSink {
    fn open(&self, schema: Arc<Schema>, start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        let script = self.scripts.lock().unwrap().pop_front().unwrap_or_default();
        let inner: Box<dyn DataWriter> = Box::new(Faulty::new(self.inner.open(schema, start)?, script));
        Ok(Box::new(Counting { inner, sink: self.clone() }))
    }
    fn can_resume(&self) -> bool {
        self.inner.can_resume()
    }
}

struct Counting {
    inner: Box<dyn DataWriter>,
    sink: TestSink,
}

impl DataWriter for Counting {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        while self.sink.stalled.load(Ordering::SeqCst) {
            self.sink.inside.store(true, Ordering::SeqCst);
            std::thread::yield_now();
        }
        self.sink.inside.store(false, Ordering::SeqCst);
        self.inner.write(batch)?;
        self.sink.taken.fetch_add(batch.len() as u64, Ordering::SeqCst);
        Ok(())
    }
    fn flush(&mut self) -> Result<(), IoError> {
        self.inner.flush()
    }
    fn sync(&mut self) -> Result<Position, IoError> {
        let position = self.inner.sync()?;
        self.sink.syncs.fetch_add(1, Ordering::SeqCst);
        Ok(position)
    }
    fn finish(&mut self) -> Result<(), IoError> {
        self.inner.finish()
    }
}
