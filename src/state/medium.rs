//! The files under state and staged output, behind a door: the disk, or in tests a medium that loses what was not synced.
//!
//! What a crash may undo is part of the contract. Bytes are durable after [`MediumFile::sync`]; a name – created, renamed or
//! removed – is durable after [`Medium::sync_dir`] of its directory.

use std::any::Any;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// A file that is being written.
pub trait MediumFile: Write + Send {
    /// Makes everything written so far durable, but not the file's name.
    ///
    /// # Errors
    /// Never to be retried: what was not durable may be lost although a second call succeeds.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that is read and written anywhere.
pub trait RandomFile: fmt::Debug + Send + Sync {
    /// Its length.
    ///
    /// # Errors
    /// As the system says.
    fn length(&self) -> io::Result<u64>;
    /// Fills `out` with what is there.
    ///
    /// # Errors
    /// As the system says; `UnexpectedEof` if the file ends before.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// As the system says; a part may be written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file off, or lets it grow by zeros.
    ///
    /// # Errors
    /// As the system says.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Makes everything so far durable, but not the file's name. Until then any part of it may be lost in a crash.
    ///
    /// # Errors
    /// Never to be retried: what was not durable may be lost although a second call succeeds.
    fn sync(&self) -> io::Result<()>;
}

/// Where files are kept. Calls may block on slow storage.
pub trait Medium: fmt::Debug + Send + Sync {
    /// Makes a directory and those above it.
    ///
    /// # Errors
    /// As the system says.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates a file, or empties it.
    ///
    /// # Errors
    /// As the system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn MediumFile>>;
    /// Opens a file, or creates it, to write at its end.
    ///
    /// # Errors
    /// As the system says.
    fn append(&self, path: &Path) -> io::Result<Box<dyn MediumFile>>;
    /// Opens a file to read it from its start.
    ///
    /// # Errors
    /// As the system says; `NotFound` if there is none.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;
    /// Opens a file to read and write it anywhere, for one holder at a time; `new`: an empty one, made if there is none.
    ///
    /// # Errors
    /// As the system says; `Unsupported` where there are none.
    fn open_random(&self, _path: &Path, _new: bool) -> io::Result<Box<dyn RandomFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// The content of a file, at most `max` bytes of it.
    ///
    /// # Errors
    /// As the system says; `NotFound` if there is none.
    fn read(&self, path: &Path, max: u64) -> io::Result<Vec<u8>>;
    /// Length of a file.
    ///
    /// # Errors
    /// As the system says; `NotFound` if there is none.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// Cuts a file off, durably.
    ///
    /// # Errors
    /// As the system says.
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;
    /// Gives a file another name; replaces what has it.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The files and directories of a directory.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the lock with that name until the answer is dropped; `None` if another holds it.
    ///
    /// # Errors
    /// As the system says.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>>;
    /// Whether a file can be renamed from one directory to the other.
    ///
    /// # Errors
    /// As the system says.
    fn same_filesystem(&self, a: &Path, b: &Path) -> io::Result<bool>;
}

/// Makes a directory and those above it, and makes their names durable: a file in a directory whose own name is lost is lost.
///
/// # Errors
/// As the system says. Directories far above, which were hardly made just now, may be closed to us.
pub fn create_dir_durably(medium: &dyn Medium, path: &Path) -> io::Result<()> {
    medium.create_dir(path)?;
    for (above, dir) in path.ancestors().skip(1).enumerate() {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        match medium.sync_dir(dir) {
            Err(_) if above >= 2 => break,
            synced => synced?,
        }
    }
    Ok(())
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl MediumFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

#[cfg(feature = "disk-state")]
impl RandomFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, out, offset)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, bytes, offset)
    }
    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Medium for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        Ok(Box::new(File::create(path)?))
    }
    fn append(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        Ok(Box::new(OpenOptions::new().append(true).create(true).open(path)?))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(path)?))
    }
    #[cfg(feature = "disk-state")]
    fn open_random(&self, path: &Path, new: bool) -> io::Result<Box<dyn RandomFile>> {
        let file = OpenOptions::new().read(true).write(true).create(new).truncate(new).open(path)?;
        // Whoever only looks into it takes this lock too, shared.
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Box::new(file)),
            Err(e) => Err(e.into()),
        }
    }
    fn read(&self, path: &Path, max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(len)?;
        file.sync_all()
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let file = File::create(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
    fn same_filesystem(&self, a: &Path, b: &Path) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        Ok(fs::metadata(a)?.dev() == fs::metadata(b)?.dev())
    }
}
