//! A disk in memory that loses what was not synced: bytes behind the last fsync of a file, names behind the last fsync of their
//! directory. It knows nothing of the engine but the door.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use millstream::state::{Medium, MediumFile, RandomFile};

use crate::doors::Rng;

#[derive(Clone, Debug, Default)]
struct Inode {
    data: Vec<u8>,
    /// So many bytes survive for sure.
    synced: usize,
    /// Of a file that is written anywhere: its content when it was synced last, and what has been done since.
    base: Option<Vec<u8>>,
    since: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, data: &mut Vec<u8>) {
        match self {
            Change::Length(length) => data.resize(*length, 0),
            Change::Write(at, bytes) => {
                let end = at + bytes.len();
                data.resize(data.len().max(end), 0);
                data[*at..end].copy_from_slice(bytes);
            }
        }
    }
}

impl Inode {
    /// What the machine has of it when its power was lost.
    fn lose_power(&mut self, rng: &mut Rng) {
        if let Some(base) = &mut self.base {
            // Any of the changes may have reached the disk, a write in part.
            let mut data = base.clone();
            for change in self.since.drain(..) {
                match change {
                    _ if rng.one_in(2) => {}
                    Change::Write(at, bytes) if rng.one_in(4) => {
                        let part = rng.below(bytes.len() as u64 + 1) as usize;
                        Change::Write(at, bytes[..part].to_vec()).apply(&mut data);
                    }
                    whole => whole.apply(&mut data),
                }
            }
            base.clone_from(&data);
            self.data = data;
            return;
        }
        let unsynced = self.data.len() - self.synced;
        let kept = self.synced + rng.below(unsynced as u64 + 1) as usize;
        self.data.truncate(kept);
        self.synced = kept;
    }
}

#[derive(Debug, Default)]
struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
    durable_dirs: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    /// Calls left before the power goes.
    power: Option<u64>,
    /// Calls left before one fails.
    failure: Option<u64>,
    down: bool,
    failed: bool,
}

/// The disk; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct FakeDisk(Arc<Mutex<Disk>>);

fn count_down(left: &mut Option<u64>) -> bool {
    match left {
        Some(0) => {
            *left = None;
            true
        }
        Some(n) => {
            *n -= 1;
            false
        }
        None => false,
    }
}

impl Disk {
    /// Every call passes here: the power may go, or this one call may fail.
    fn call(&mut self) -> io::Result<()> {
        if count_down(&mut self.power) {
            self.down = true;
        }
        if self.down {
            return Err(io::Error::other("the power is gone"));
        }
        if count_down(&mut self.failure) {
            self.failed = true;
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }
    /// Whether there is a directory for a file of that name.
    fn has_dir_of(&self, path: &Path) -> io::Result<()> {
        match path.parent().is_some_and(|dir| dir == Path::new("/") || self.dirs.contains(dir)) {
            true => Ok(()),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
    fn inode(&mut self, path: &Path) -> io::Result<&mut Inode> {
        let at = *self.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(&mut self.inodes[at])
    }
}

impl FakeDisk {
    fn with<T>(&self, work: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.0.lock().unwrap();
        disk.call()?;
        work(&mut disk)
    }

    /// Lets the power go, or a call fail, after so many calls.
    pub fn arm(&self, power: Option<u64>, failure: Option<u64>) {
        let mut disk = self.0.lock().unwrap();
        (disk.power, disk.failure, disk.failed) = (power, failure, false);
    }

    /// Whether it has given anybody a reason to fail since it was armed.
    pub fn has_failed(&self) -> bool {
        let disk = self.0.lock().unwrap();
        disk.down || disk.failed
    }

    /// The process died; with `power` the machine did: what was not synced is there in part, or not at all.
    pub fn restart(&self, rng: &mut Rng, power: bool) {
        let mut disk = self.0.lock().unwrap();
        let power = power || disk.down;
        if power {
            disk.inodes.iter_mut().for_each(|inode| inode.lose_power(rng));
            if rng.one_in(2) {
                let Disk { names, durable, dirs, durable_dirs, .. } = &mut *disk;
                *dirs = durable_dirs.clone();
                // A name in a directory whose own name is lost is lost.
                let reached = |path: &Path| {
                    path.ancestors().skip(1).all(|d| d == Path::new("/") || durable_dirs.contains(d))
                };
                dirs.retain(|d| reached(d));
                *names = durable.iter().filter(|(n, _)| reached(n)).map(|(n, i)| (n.clone(), *i)).collect();
            }
        }
        disk.durable = disk.names.clone();
        disk.durable_dirs = disk.dirs.clone();
        disk.locks.clear();
        // What has no name is gone with the last who had it open.
        let Disk { inodes, names, .. } = &mut *disk;
        let named: BTreeSet<usize> = names.values().copied().collect();
        let gone = inodes.iter_mut().enumerate().filter(|(i, _)| !named.contains(i));
        gone.for_each(|(_, inode)| *inode = Inode::default());
        (disk.power, disk.failure, disk.down, disk.failed) = (None, None, false, false);
    }

    /// Another machine with the same content; nobody holds a lock there.
    pub fn fork(&self) -> Self {
        let disk = self.0.lock().unwrap();
        let inodes = disk.inodes.to_vec();
        let (names, durable) = (disk.names.clone(), disk.durable.clone());
        let (dirs, durable_dirs) = (disk.dirs.clone(), disk.durable_dirs.clone());
        let copy = Disk { inodes, names, durable, dirs, durable_dirs, ..Disk::default() };
        Self(Arc::new(Mutex::new(copy)))
    }

    /// The lines of all part files, in the order of their epochs.
    pub fn parts(&self, dir: &str) -> Vec<String> {
        let disk = self.0.lock().unwrap();
        let stage = Path::new(dir).join(".stage");
        let parts = disk.names.iter().filter(|(n, _)| n.starts_with(dir) && !n.starts_with(&stage));
        let mut lines = Vec::new();
        for (_, inode) in parts {
            let text = String::from_utf8_lossy(&disk.inodes[*inode].data).into_owned();
            lines.extend(text.split_terminator('\n').map(str::to_owned));
            if !text.ends_with('\n') {
                lines.push("a torn line".into());
            }
        }
        lines
    }

    /// Whether there is a file with that ending.
    #[cfg(feature = "disk-state")]
    pub fn has(&self, ending: &str) -> bool {
        self.0.lock().unwrap().names.keys().any(|n| n.to_string_lossy().ends_with(ending))
    }

    /// Files that were staged and not renamed.
    pub fn staged(&self, dir: &str) -> usize {
        let stage = Path::new(dir).join(".stage");
        self.0.lock().unwrap().names.keys().filter(|n| n.parent() == Some(&stage)).count()
    }

    /// Flips a bit of the file whose name is the last with that ending, if at least two have it.
    pub fn rot(&self, ending: &str, rng: &mut Rng) {
        let mut disk = self.0.lock().unwrap();
        let files: Vec<usize> = disk
            .names
            .iter()
            .filter(|(n, _)| n.to_string_lossy().ends_with(ending))
            .map(|(_, i)| *i)
            .collect();
        if let [.., _, last] = files.as_slice() {
            let data = &mut disk.inodes[*last].data;
            let bit = rng.below(data.len() as u64 * 8) as usize;
            data[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

struct FakeFile {
    disk: FakeDisk,
    inode: usize,
}

/// A file that is read on; it may be written meanwhile, and have no name any more.
struct FakeReader {
    disk: FakeDisk,
    inode: usize,
    at: usize,
}

impl Read for FakeReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.disk.with(|disk| {
            let rest = disk.inodes[self.inode].data.get(self.at..).unwrap_or_default();
            let len = rest.len().min(buf.len());
            buf[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        })?;
        self.at += read;
        Ok(read)
    }
}

impl Write for FakeFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut disk = self.disk.0.lock().unwrap();
        let called = disk.call();
        // What fails half way has written half of it.
        let part = if called.is_ok() { buf.len() } else { buf.len() / 2 };
        disk.inodes[self.inode].data.extend_from_slice(&buf[..part]);
        called.map(|()| part)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MediumFile for FakeFile {
    fn sync(&mut self) -> io::Result<()> {
        let inode = self.inode;
        self.disk.with(|disk| {
            disk.inodes[inode].synced = disk.inodes[inode].data.len();
            Ok(())
        })
    }
}

/// A file that is written anywhere.
#[derive(Debug)]
struct FakeRandom {
    disk: FakeDisk,
    inode: usize,
    path: PathBuf,
}

impl FakeRandom {
    fn change(&self, change: impl Fn(bool) -> Change) -> io::Result<()> {
        let mut disk = self.disk.0.lock().unwrap();
        let called = disk.call();
        let change = change(called.is_ok());
        let inode = &mut disk.inodes[self.inode];
        change.apply(&mut inode.data);
        inode.since.push(change);
        called
    }
}

impl RandomFile for FakeRandom {
    fn length(&self) -> io::Result<u64> {
        self.disk.with(|disk| Ok(disk.inodes[self.inode].data.len() as u64))
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.with(|disk| {
            let data = &disk.inodes[self.inode].data;
            let from = offset as usize..offset as usize + out.len();
            out.copy_from_slice(data.get(from).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // What fails half way has written half of it.
        let part = |whole: bool| if whole { bytes } else { &bytes[..bytes.len() / 2] };
        self.change(|whole| Change::Write(offset as usize, part(whole).to_vec()))
    }
    fn set_length(&self, length: u64) -> io::Result<()> {
        let now = self.disk.0.lock().unwrap().inodes[self.inode].data.len();
        self.change(|whole| Change::Length(if whole { length as usize } else { now }))
    }
    fn sync(&self) -> io::Result<()> {
        self.disk.with(|disk| {
            let Inode { base, since, .. } = &mut disk.inodes[self.inode];
            let base = base.get_or_insert_default();
            since.drain(..).for_each(|change| change.apply(base));
            Ok(())
        })
    }
}

impl Drop for FakeRandom {
    fn drop(&mut self) {
        self.disk.0.lock().unwrap().locks.remove(&self.path);
    }
}

impl Medium for FakeDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.with(|disk| {
            disk.dirs.extend(path.ancestors().filter(|d| *d != Path::new("/")).map(Path::to_owned));
            Ok(())
        })
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        let inode = self.with(|disk| {
            disk.has_dir_of(path)?;
            disk.inodes.push(Inode::default());
            let inode = disk.inodes.len() - 1;
            disk.names.insert(path.to_owned(), inode);
            Ok(inode)
        })?;
        Ok(Box::new(FakeFile { disk: self.clone(), inode }))
    }
    fn append(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        let known = self.0.lock().unwrap().names.get(path).copied();
        match known {
            Some(inode) => Ok(Box::new(FakeFile { disk: self.clone(), inode })),
            None => self.create(path),
        }
    }
    fn open_random(&self, path: &Path, new: bool) -> io::Result<Box<dyn RandomFile>> {
        if new {
            self.create(path)?;
        }
        let inode = self.with(|disk| {
            let inode = *disk.names.get(path).ok_or(io::ErrorKind::NotFound)?;
            disk.inodes[inode].base.get_or_insert_default();
            match disk.locks.insert(path.to_owned()) {
                true => Ok(inode),
                false => Err(io::ErrorKind::WouldBlock.into()),
            }
        })?;
        Ok(Box::new(FakeRandom { disk: self.clone(), inode, path: path.to_owned() }))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        let inode = self.with(|disk| disk.names.get(path).copied().ok_or(io::ErrorKind::NotFound.into()))?;
        Ok(Box::new(FakeReader { disk: self.clone(), inode, at: 0 }))
    }
    fn read(&self, path: &Path, max: u64) -> io::Result<Vec<u8>> {
        self.with(|disk| {
            let data = &disk.inode(path)?.data;
            Ok(data[..data.len().min(max as usize)].to_vec())
        })
    }
    fn len(&self, path: &Path) -> io::Result<u64> {
        self.with(|disk| Ok(disk.inode(path)?.data.len() as u64))
    }
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        self.with(|disk| {
            let inode = disk.inode(path)?;
            inode.data.truncate(len as usize);
            inode.synced = inode.data.len();
            Ok(())
        })
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(|disk| {
            disk.has_dir_of(to)?;
            let inode = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            disk.names.insert(to.to_owned(), inode);
            Ok(())
        })
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.with(|disk| {
            disk.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
            Ok(())
        })
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.with(|disk| {
            let all = disk.names.keys().chain(&disk.dirs);
            Ok(all.filter(|n| n.parent() == Some(dir)).cloned().collect())
        })
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.with(|disk| {
            disk.durable.retain(|n, _| n.parent() != Some(dir));
            let now: Vec<_> = disk.names.iter().filter(|(n, _)| n.parent() == Some(dir)).collect();
            let now: Vec<_> = now.into_iter().map(|(n, i)| (n.clone(), *i)).collect();
            disk.durable.extend(now);
            disk.durable_dirs.retain(|d| d.parent() != Some(dir));
            let now: Vec<_> = disk.dirs.iter().filter(|d| d.parent() == Some(dir)).cloned().collect();
            disk.durable_dirs.extend(now);
            Ok(())
        })
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let free = self.with(|disk| Ok(disk.locks.insert(path.to_owned())))?;
        Ok(free.then(|| Box::new(Lock { disk: self.clone(), path: path.to_owned() }) as _))
    }
    fn same_filesystem(&self, _: &Path, _: &Path) -> io::Result<bool> {
        Ok(true)
    }
}

struct Lock {
    disk: FakeDisk,
    path: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.disk.0.lock().unwrap().locks.remove(&self.path);
    }
}
