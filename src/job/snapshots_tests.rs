//! The thread that writes snapshots: what it does when the disk fails, when it panics, and when nobody waits for it.

use std::any::Any;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::*;
use crate::job::JobConfig;
use crate::state::{Disk, Medium, MediumFile};

/// What goes wrong with the files of snapshots.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Nothing,
    Write,
    Sync,
    Panic,
}

/// The disk, but for files under temporary names.
#[derive(Debug)]
struct Faulty(Wrong);

struct FaultyFile(Wrong, Box<dyn MediumFile>);

impl Write for FaultyFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.0 {
            Wrong::Write => Err(io::Error::from_raw_os_error(28)),
            _ => self.1.write(buf),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        self.1.flush()
    }
}

impl MediumFile for FaultyFile {
    fn sync(&mut self) -> io::Result<()> {
        match self.0 {
            Wrong::Sync => Err(io::Error::from_raw_os_error(5)),
            Wrong::Panic => panic!("a scripted panic"),
            _ => self.1.sync(),
        }
    }
}

impl Medium for Faulty {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        Disk.create_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        Ok(Box::new(FaultyFile(self.0, Disk.create(path)?)))
    }
    fn append(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        Disk.append(path)
    }
    fn read(&self, path: &Path, max: u64) -> io::Result<Vec<u8>> {
        Disk.read(path, max)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Disk.open(path)
    }
    fn len(&self, path: &Path) -> io::Result<u64> {
        Disk.len(path)
    }
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        Disk.truncate(path, len)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Disk.list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Disk.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        Disk.lock(path)
    }
    fn same_filesystem(&self, a: &Path, b: &Path) -> io::Result<bool> {
        Disk.same_filesystem(a, b)
    }
}

struct Rig {
    snapshots: Snapshots,
    dir: Arc<StateDir>,
    shared: Arc<Shared>,
    _root: tempfile::TempDir,
}

fn rig(wrong: Wrong) -> Rig {
    let root = tempfile::tempdir().unwrap();
    let dir = Arc::new(StateDir::open(Arc::new(Faulty(wrong)), root.path(), "job").unwrap());
    let shared = Arc::new(Shared::new(&JobConfig::default()));
    let mut snapshots = Snapshots::new(dir.clone(), 0, None);
    snapshots.split(&shared).unwrap();
    Rig { snapshots, dir, shared, _root: root }
}

fn epoch(epoch: u64) -> Checkpoint {
    Checkpoint { job: "job".into(), epoch, ..Checkpoint::default() }
}

impl Rig {
    fn save(&mut self, number: u64) -> Result<Saved, JobError> {
        let frozen = self.snapshots.freeze();
        self.snapshots.begin(epoch(number), frozen)?;
        self.snapshots.write()?;
        self.snapshots.end(epoch(number), None)?;
        self.snapshots.wait_saved(&self.shared)
    }
}

#[test]
fn what_the_thread_meets_ends_the_job_under_its_name() {
    let mut sound = rig(Wrong::Nothing);
    assert_eq!((1..4).map(|n| sound.save(n).unwrap().file.epoch).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(sound.dir.load().unwrap().unwrap().epoch, 3);
    for (wrong, what) in [(Wrong::Write, "can't write"), (Wrong::Sync, "can't sync")] {
        let mut rig = rig(wrong);
        match rig.save(1) {
            Err(JobError::State(e)) => {
                assert!(e.contains("thread ms-snapshot") && e.contains(what), "{wrong:?}: {e}")
            }
            other => panic!("{wrong:?}: {other:?}"),
        }
        assert_eq!(rig.dir.load().unwrap(), None, "what failed does not count");
        assert!(rig.snapshots.begin(epoch(2), Frozen::default()).is_err(), "nothing is tried again");
    }
    match rig(Wrong::Panic).save(1) {
        Err(JobError::Panic { thread, message }) => {
            assert_eq!((thread.as_str(), message.as_str()), (THREAD, "a scripted panic"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_that_ends_in_the_middle_leaves_no_thread_and_nothing_that_counts() {
    let mut rig = rig(Wrong::Nothing);
    rig.save(1).unwrap();
    let frozen = rig.snapshots.freeze();
    rig.snapshots.begin(epoch(2), frozen).unwrap();
    rig.shared.cancel();
    let Rig { snapshots, dir, _root, .. } = rig;
    let thread = snapshots.into_thread().unwrap();
    thread.join().unwrap();
    assert_eq!(dir.load().unwrap().unwrap().epoch, 1);
}
