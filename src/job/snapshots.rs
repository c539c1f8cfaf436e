//! Snapshots on their way to the disk: written by the processor itself, or by the thread `ms-snapshot`.
//!
//! | thread | receives from | sends to | ends when |
//! |---|---|---|---|
//! | `ms-snapshot` | processor: begin, pieces, ending | processor: what is durable | the processor lets go of it, cancelled, an error |
//!
//! | `ms-compact` | – | – | one long chain of files has been made short |
//!
//! Where no other system decides it, the same hands write the commit to the MANIFEST when the snapshot is durable: the processor never
//! waits for that. One snapshot is under way at a time. What the processor has taken down waits in the channel, which holds no more than the
//! encoded state.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};
use parking_lot::Mutex;

use super::JobError;
use super::edge::TICK;
use super::laps::Laps;
use super::shared::Shared;
use super::stage_thread::{StageThread, panic_text};
use crate::observe::ThreadTimes;
use crate::state::{
    Chain, Checkpoint, Commit, Frozen, Manifest, Piece, Saved, Snapshot, StateDir, StateError, Store,
};

const THREAD: &str = "ms-snapshot";
const COMPACTOR: &str = "ms-compact";
/// With so many bytes waiting for the disk, only groups that are about to change are taken down.
const AHEAD: usize = 8 << 20;
/// Files with changes that are too many even if compaction does not get on: the next snapshot is whole.
const TOO_LONG: usize = 200;
/// Bytes that are compacted at once where there is no thread or no memory for it; of more the next snapshot is whole.
const AT_ONCE: u64 = 1 << 20;

enum Task {
    Begin(Box<Checkpoint>),
    Piece(Piece),
    End(Box<Checkpoint>, Option<Commit>),
    Published,
}

/// The MANIFEST, which the thread that writes snapshots also writes.
pub(super) type SharedManifest = Arc<Mutex<Manifest>>;

enum Place {
    Here(Option<Snapshot>),
    Away(Writer),
    /// Its thread has failed.
    Nowhere,
}

struct Writer {
    tasks: Sender<Task>,
    results: Receiver<Saved>,
    /// Bytes of pieces in the channel.
    waiting: Arc<AtomicUsize>,
    thread: StageThread<()>,
}

/// The snapshots of a job.
pub(super) struct Snapshots {
    dir: Arc<StateDir>,
    manifest: Option<SharedManifest>,
    /// What is shorter is always written whole.
    whole_below: u64,
    /// Groups that do not fit into memory; memory is short then: compacting, for which all of a state is in memory, is only for little of it.
    store: Option<Store>,
    /// The last one; `None` until this run has made one.
    last: Option<Saved>,
    place: Place,
    /// What is being taken down.
    frozen: Option<Frozen>,
    /// Number of the next table of groups.
    next: u64,
    saved: Option<Saved>,
}

fn failed(e: StateError) -> JobError {
    JobError::State(e.to_string())
}

impl Snapshots {
    pub(super) fn new(dir: Arc<StateDir>, whole_below: u64, manifest: Option<SharedManifest>) -> Self {
        let place = Place::Here(None);
        let store = None;
        Self { dir, manifest, whole_below, store, last: None, place, frozen: None, next: 1, saved: None }
    }

    /// Where groups lie that do not fit into memory.
    pub(super) fn with_store(mut self, store: Option<Store>) -> Self {
        self.store = store;
        self
    }

    /// Lets a thread of its own write them from now on.
    pub(super) fn split(&mut self, shared: &Arc<Shared>) -> Result<(), JobError> {
        if matches!(self.place, Place::Here(None)) {
            self.place =
                Place::Away(spawn(self.dir.clone(), self.manifest.clone(), self.store.clone(), shared)?);
        }
        Ok(())
    }

    /// Where the operators put what they hold.
    pub(super) fn freeze(&mut self) -> Frozen {
        let whole = self.last.is_none_or(|last| {
            let Chain { changes, change_bytes, base_bytes } = last.chain;
            // Compaction is only for what is quickly done where it has no thread.
            let alone = self.store.is_some() || matches!(self.place, Place::Here(_));
            let alone = alone && base_bytes + change_bytes > AT_ONCE;
            base_bytes < self.whole_below || changes >= TOO_LONG || alone && change_bytes > base_bytes / 2
        });
        Frozen::new(self.next, whole)
    }

    /// Begins to write a snapshot: what is known at the barrier; `frozen` is taken down bit by bit.
    pub(super) fn begin(&mut self, mut checkpoint: Checkpoint, frozen: Frozen) -> Result<(), JobError> {
        let part = checkpoint.operators.iter().flat_map(|o| &o.tables).any(|t| !t.whole);
        checkpoint.before = self.last.filter(|_| part).map(|last| last.file);
        self.next = frozen.next();
        self.frozen = Some(frozen);
        self.saved = None;
        if let Place::Here(file) = &mut self.place {
            *file = Some(self.dir.begin(&checkpoint).map_err(failed)?);
            return Ok(());
        }
        self.send(Task::Begin(Box::new(checkpoint)))
    }

    /// Whether there is something to be taken down.
    pub(super) fn is_taking(&self) -> bool {
        self.frozen.is_some()
    }

    /// Whether so much waits for the disk that nothing more need be taken down.
    pub(super) fn is_behind(&self) -> bool {
        matches!(&self.place, Place::Away(w) if w.waiting.load(Ordering::Relaxed) > AHEAD)
    }

    /// Writes what was taken down.
    pub(super) fn write(&mut self) -> Result<(), JobError> {
        let Some(frozen) = &self.frozen else { return Ok(()) };
        let complete = frozen.is_complete();
        for piece in frozen.take() {
            match &mut self.place {
                Place::Here(Some(file)) => file.put(&piece).map_err(failed)?,
                Place::Away(writer) => {
                    writer.waiting.fetch_add(piece.bytes.len(), Ordering::Relaxed);
                    self.send(Task::Piece(piece))?;
                }
                Place::Here(None) | Place::Nowhere => {}
            }
        }
        if complete {
            self.frozen = None;
        }
        Ok(())
    }

    /// Everything has been taken down, and every sink has made durable what comes before the barrier: the file may be ended. When it is
    /// durable the commit, if there is one, is written to the MANIFEST.
    pub(super) fn end(&mut self, ending: Checkpoint, commit: Option<Commit>) -> Result<(), JobError> {
        if let Place::Here(file) = &mut self.place {
            if let Some(file) = file.take() {
                sync_store(self.store.as_ref()).map_err(failed)?;
                let saved = self.dir.finish(file, &ending).map_err(failed)?;
                write_commit(self.manifest.as_ref(), commit).map_err(failed)?;
                let Chain { change_bytes, base_bytes, .. } = saved.chain;
                if base_bytes + change_bytes <= AT_ONCE
                    && let Some(epoch) = self.dir.take_long(&saved)
                {
                    self.dir.compact(epoch).map_err(failed)?;
                }
                self.saved = Some(saved);
            }
            return Ok(());
        }
        self.send(Task::End(Box::new(ending), commit))
    }

    /// The files of the last commit have their names, which goes on record.
    pub(super) fn published(&mut self) -> Result<(), JobError> {
        match (&self.place, &self.manifest) {
            (_, None) => Ok(()),
            (Place::Away(_), Some(_)) => self.send(Task::Published),
            (_, Some(manifest)) => manifest.lock().published().map_err(failed),
        }
    }

    /// Once: the snapshot is durable.
    pub(super) fn take_saved(&mut self) -> Result<Option<Saved>, JobError> {
        if let Place::Away(writer) = &self.place {
            match writer.results.try_recv() {
                Ok(saved) => self.saved = Some(saved),
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => return Err(self.cause()),
            }
        }
        self.last = self.saved.or(self.last);
        Ok(self.saved.take())
    }

    /// Waits until the snapshot is durable.
    pub(super) fn wait_saved(&mut self, shared: &Shared) -> Result<Saved, JobError> {
        while let Place::Away(writer) = &self.place {
            match writer.results.recv_timeout(TICK) {
                Ok(saved) => {
                    self.saved = Some(saved);
                    break;
                }
                Err(RecvTimeoutError::Timeout) if shared.is_cancelled() => return Err(JobError::Aborted),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(self.cause()),
            }
        }
        self.last = self.saved.or(self.last);
        self.saved.take().ok_or(JobError::Aborted)
    }

    /// The thread, which ends when it has nothing more to expect.
    pub(super) fn into_thread(mut self) -> Option<StageThread<()>> {
        match std::mem::replace(&mut self.place, Place::Nowhere) {
            Place::Away(writer) => Some(writer.thread),
            Place::Here(_) | Place::Nowhere => None,
        }
    }

    fn send(&mut self, task: Task) -> Result<(), JobError> {
        match &self.place {
            Place::Away(writer) if writer.tasks.send(task).is_ok() => Ok(()),
            _ => Err(self.cause()),
        }
    }

    /// Why the thread has ended.
    fn cause(&mut self) -> JobError {
        match std::mem::replace(&mut self.place, Place::Nowhere) {
            Place::Away(writer) => writer.thread.join().err().unwrap_or(JobError::Aborted),
            Place::Here(_) | Place::Nowhere => JobError::Aborted,
        }
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        if let Some(frozen) = &self.frozen {
            frozen.abandon();
        }
    }
}

/// Before a checkpoint counts: makes durable the version of the store that it names.
fn sync_store(store: Option<&Store>) -> Result<(), StateError> {
    store.map_or(Ok(()), Store::sync)
}

/// The commit point of an epoch whose snapshot is durable.
fn write_commit(manifest: Option<&SharedManifest>, commit: Option<Commit>) -> Result<(), StateError> {
    match (manifest, commit) {
        (Some(manifest), Some(commit)) => manifest.lock().commit(commit),
        _ => Ok(()),
    }
}

fn spawn(
    dir: Arc<StateDir>,
    manifest: Option<SharedManifest>,
    store: Option<Store>,
    shared: &Arc<Shared>,
) -> Result<Writer, JobError> {
    let (tasks, to_do) = unbounded();
    let (done, results) = unbounded();
    let waiting = Arc::new(AtomicUsize::new(0));
    let (shared, bytes) = (shared.clone(), waiting.clone());
    let account = shared.account(THREAD);
    let thread = StageThread::spawn(THREAD.into(), move || {
        let work =
            write_loop((&dir, store.as_ref()), manifest.as_ref(), &to_do, &done, &bytes, &shared, account);
        work.map_err(|e| JobError::State(format!("thread {THREAD}: {e}")))
    })?;
    Ok(Writer { tasks, results, waiting, thread })
}

fn write_loop(
    (dir, store): (&Arc<StateDir>, Option<&Store>),
    manifest: Option<&SharedManifest>,
    tasks: &Receiver<Task>,
    done: &Sender<Saved>,
    waiting: &AtomicUsize,
    shared: &Shared,
    account: Arc<ThreadTimes>,
) -> Result<(), StateError> {
    let mut laps = Laps::start(shared.stopwatch.clone(), account);
    let mut file: Option<Snapshot> = None;
    let mut compactor: Option<JoinHandle<()>> = None;
    for task in tasks {
        laps.idle();
        if shared.is_cancelled() {
            break;
        }
        match task {
            Task::Begin(checkpoint) => file = Some(dir.begin(&checkpoint)?),
            Task::Piece(piece) => {
                if let Some(file) = &mut file {
                    file.put(&piece)?;
                }
                waiting.fetch_sub(piece.bytes.len(), Ordering::Relaxed);
            }
            Task::Published => {
                if let Some(manifest) = manifest {
                    manifest.lock().published()?;
                }
            }
            Task::End(ending, commit) => {
                if let Some(file) = file.take() {
                    sync_store(store)?;
                    let saved = dir.finish(file, &ending)?;
                    write_commit(manifest, commit)?;
                    let _ = done.send(saved);
                    let Chain { change_bytes, base_bytes, .. } = saved.chain;
                    if (store.is_none() || base_bytes + change_bytes <= AT_ONCE)
                        && let Some(epoch) = dir.take_long(&saved)
                    {
                        join(compactor.take());
                        compactor = Some(compact(dir, epoch)?);
                    }
                }
            }
        }
        laps.handed_over();
    }
    laps.idle();
    join(compactor);
    laps.waited();
    Ok(())
}

/// Writes a file anew with everything, on a thread of its own. What goes wrong leaves all as it was, and is tried again with a
/// later epoch.
fn compact(dir: &Arc<StateDir>, epoch: u64) -> Result<JoinHandle<()>, StateError> {
    let dir = dir.clone();
    let work = move || {
        if let Err(e) = dir.compact(epoch) {
            log::warn!("{e}; it is tried again later");
        }
    };
    let thread = std::thread::Builder::new().name(COMPACTOR.into()).spawn(work);
    thread.map_err(|e| StateError(format!("can't start thread {COMPACTOR}: {e}")))
}

fn join(thread: Option<JoinHandle<()>>) {
    if let Some(Err(panic)) = thread.map(JoinHandle::join) {
        log::warn!("thread {COMPACTOR} panicked: {}; old files stay", panic_text(&*panic));
    }
}

#[cfg(test)]
#[path = "snapshots_tests.rs"]
mod tests;
