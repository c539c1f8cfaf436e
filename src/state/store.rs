//! The store on disk: groups that do not fit into memory, in a redb file beside the checkpoints of a job.
//!
//! Spaces are tables of the file, one for each operator. All writes between two barriers are one open transaction. At a barrier
//! [`Store::save`] ends it and keeps what is there as a *version* (a persistent savepoint of redb), whose number goes into
//! the checkpoint. Whoever ends the checkpoint makes the version durable before ([`Store::sync`]), beside the work: only an operator that needs the store
//! meanwhile waits for it, or does it itself. Recovery goes back to the version that its checkpoint names ([`Store::restore`]): what was written or even
//! committed behind it is gone, so an epoch that did not commit can't be seen.
//!
//! Nothing is made before the first group is written: a job whose state fits into memory has no such file.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    TableError, TableHandle, WriteTransaction,
};

use super::dir::KEEP;
use super::{Medium, RandomFile, Runs, StateError};

/// Versions that stay: those of the checkpoints that stay, and of one under way.
const VERSIONS: usize = KEEP + 1;

/// A job's store. Clones are the same one.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    medium: Arc<dyn Medium>,
    path: PathBuf,
    cache: usize,
    file: Mutex<Option<File>>,
    trouble: Trouble,
}

/// What went wrong with the file first. redb tells it to whoever meets it, and everybody else only that there was something.
type Trouble = Arc<Mutex<Option<String>>>;

struct File {
    /// What was written since the last barrier. There between two calls, unless a version is to be made durable, or that failed.
    open: Option<WriteTransaction>,
    /// The newest version, which is not durable yet.
    saving: Option<WriteTransaction>,
    dirty: bool,
    db: Database,
    /// The newest version; 0: none.
    version: u64,
    versions: VecDeque<u64>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.0.path).finish_non_exhaustive()
    }
}

/// The groups of one operator.
#[derive(Clone, Debug)]
pub struct Space {
    store: Store,
    name: Arc<str>,
}

/// The file, as redb sees it.
#[derive(Debug)]
struct Backend {
    file: Box<dyn RandomFile>,
    trouble: Trouble,
}

impl Backend {
    fn note<T>(&self, done: io::Result<T>) -> io::Result<T> {
        done.inspect_err(|e| {
            self.trouble.lock().get_or_insert_with(|| e.to_string());
        })
    }
}

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.note(self.file.length())
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.note(self.file.read_at(offset, out))
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(self.file.set_length(len))
    }
    fn sync_data(&self) -> io::Result<()> {
        self.note(self.file.sync())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(self.file.write_at(offset, data))
    }
}

type Table<'n> = TableDefinition<'n, u128, &'static [u8]>;

impl Inner {
    fn failed(&self, what: &str, e: impl Into<redb::Error>) -> StateError {
        let e = e.into();
        let cause = match (&e, &*self.trouble.lock()) {
            (redb::Error::PreviousIo, Some(first)) => first.clone(),
            _ => e.to_string(),
        };
        StateError(format!("can't {what} {}: {cause}", self.path.display()))
    }

    fn begin(&self, db: &Database) -> Result<WriteTransaction, StateError> {
        db.begin_write().map_err(|e| self.failed("write to", e))
    }

    fn open(&self, new: bool) -> Result<Database, StateError> {
        let what = if new { "create" } else { "open" };
        let file = self.medium.open_random(&self.path, new).map_err(|e| self.io(what, &e))?;
        let mut builder = Database::builder();
        builder.set_cache_size(self.cache);
        let trouble = self.trouble.clone();
        builder.create_with_backend(Backend { file, trouble }).map_err(|e| self.failed(what, e))
    }

    fn io(&self, what: &str, e: &io::Error) -> StateError {
        StateError(format!("can't {what} {}: {e}", self.path.display()))
    }

    /// An empty file in the place of one that nothing refers to.
    fn create(&self) -> Result<File, StateError> {
        match self.medium.remove(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(self.io("remove", &e)),
            _ => {}
        }
        let db = self.open(true)?;
        if let Some(dir) = self.path.parent() {
            self.medium.sync_dir(dir).map_err(|e| self.io("sync the directory of", &e))?;
        }
        let open = Some(self.begin(&db)?);
        Ok(File { open, saving: None, dirty: false, db, version: 0, versions: VecDeque::new() })
    }

    /// Makes the newest version durable if it is not; from then on the file can be read and written again.
    fn settle(&self, file: &mut File) -> Result<(), StateError> {
        if let Some(version) = file.saving.take() {
            version.commit().map_err(|e| self.failed("save", e))?;
            file.open = Some(self.begin(&file.db)?);
        }
        match file.open {
            Some(_) => Ok(()),
            None => Err(StateError(format!("{} could not be written before", self.path.display()))),
        }
    }

    fn save(&self, file: &mut File) -> Result<u64, StateError> {
        if !file.dirty {
            return Ok(file.version);
        }
        self.settle(file)?;
        let failed = |e: redb::Error| self.failed("save", e);
        if let Some(mut written) = file.open.take() {
            // Durable with the version.
            written.set_durability(Durability::None).map_err(|e| failed(e.into()))?;
            written.commit().map_err(|e| failed(e.into()))?;
        }
        let mut version = self.begin(&file.db)?;
        version.set_quick_repair(true);
        let number = version.persistent_savepoint().map_err(|e| failed(e.into()))?;
        file.versions.push_back(number);
        while file.versions.len() > VERSIONS
            && let Some(old) = file.versions.pop_front()
        {
            version.delete_persistent_savepoint(old).map_err(|e| failed(e.into()))?;
        }
        (file.version, file.dirty) = (number, false);
        file.saving = Some(version);
        Ok(number)
    }

    fn restore(&self, number: u64) -> Result<File, StateError> {
        let failed = |e: redb::Error| self.failed("go back in", e);
        let db = self.open(false)?;
        let mut back = self.begin(&db)?;
        back.set_quick_repair(true);
        let version = back.get_persistent_savepoint(number).map_err(|e| match e {
            redb::SavepointError::InvalidSavepoint => StateError(format!(
                "{} does not have version {number}, which the checkpoint names: it is not the file that the checkpoint was \
                 written with",
                self.path.display()
            )),
            e => failed(e.into()),
        })?;
        back.restore_savepoint(&version).map_err(|e| failed(e.into()))?;
        drop(version);
        let versions = back.list_persistent_savepoints().map_err(|e| failed(e.into()))?;
        let mut versions: Vec<u64> = versions.filter(|n| *n <= number).collect();
        versions.sort_unstable();
        back.commit().map_err(|e| failed(e.into()))?;
        let open = Some(self.begin(&db)?);
        Ok(File { open, saving: None, dirty: false, db, version: number, versions: versions.into() })
    }
}

impl Store {
    /// The store of a job with that state directory, which keeps about `cache` bytes of it in memory. Touches no file yet.
    pub fn new(medium: Arc<dyn Medium>, dir: &Path, cache: usize) -> Option<Self> {
        let (path, file, trouble) = (dir.join(FILE), Mutex::new(None), Trouble::default());
        Some(Self(Arc::new(Inner { medium, path, cache, file, trouble })))
    }

    /// Where one operator puts its groups.
    pub fn space(&self, name: &str) -> Space {
        Space { store: self.clone(), name: name.into() }
    }

    /// At a barrier: makes a version of what was written, and gives its number; 0 while nothing ever was. It is durable after
    /// [`sync`](Self::sync).
    ///
    /// # Errors
    /// If that fails. What was written since the last version is then not in any.
    pub fn save(&self) -> Result<u64, StateError> {
        match &mut *self.0.file.lock() {
            Some(file) => self.0.save(file),
            None => Ok(0),
        }
    }

    /// Makes the newest version durable. May block for long; called from any thread.
    ///
    /// # Errors
    /// If that fails, or something failed before: then no checkpoint may name the version.
    pub fn sync(&self) -> Result<(), StateError> {
        match &mut *self.0.file.lock() {
            Some(file) => self.0.settle(file),
            None => Ok(()),
        }
    }

    /// Before anything is read or written: goes back to a version.
    ///
    /// # Errors
    /// If the file is not there or damaged, or does not have that version.
    pub fn restore(&self, version: u64) -> Result<(), StateError> {
        let mut file = self.0.file.lock();
        match &*file {
            None => *file = Some(self.0.restore(version)?),
            // Another operator was first.
            Some(file) if file.version == version => {}
            Some(file) => {
                return Err(StateError(format!(
                    "two operators name versions {} and {version} of {}",
                    file.version,
                    self.0.path.display()
                )));
            }
        }
        Ok(())
    }

    /// Sorts beside the file, with about `limit` bytes in memory.
    pub fn runs(&self, limit: usize) -> Runs {
        let dir = self.0.path.parent().unwrap_or(Path::new("."));
        Runs::new(self.0.medium.clone(), dir, limit)
    }
}

impl Space {
    fn table(&self) -> Table<'_> {
        TableDefinition::new(&self.name)
    }

    /// Whether nothing was ever put into the store, so that nobody need ask.
    pub fn is_unused(&self) -> bool {
        self.store.0.file.lock().is_none()
    }

    /// The store, for who needs its directory or versions.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Looks up keys, best in order, and hands on what is there.
    ///
    /// # Errors
    /// If the file can't be read, or those of `found`.
    pub fn get(
        &self,
        keys: &[u128],
        mut found: impl FnMut(&[u8]) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let inner = &self.store.0;
        let mut file = inner.file.lock();
        let Some(file) = file.as_mut() else { return Ok(()) };
        inner.settle(file)?;
        let Some(open) = &file.open else { return Ok(()) };
        let table = open.open_table(self.table()).map_err(|e| inner.failed("read", e))?;
        for key in keys {
            if let Some(value) = table.get(key).map_err(|e| inner.failed("read", e))? {
                found(value.value())?;
            }
        }
        Ok(())
    }

    /// Puts in what `next` writes into the vector for the key that it gives, until it gives none; best in order. Where there was
    /// a value, `merge` gets it and may change the new one, and tells whether it did.
    ///
    /// # Errors
    /// If the file can't be written, or those of `merge`.
    pub fn put(
        &self,
        mut next: impl FnMut(&mut Vec<u8>) -> Option<u128>,
        mut merge: impl FnMut(&[u8], &mut Vec<u8>) -> Result<bool, StateError>,
    ) -> Result<(), StateError> {
        let inner = &self.store.0;
        let mut file = inner.file.lock();
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(inner.create()?),
        };
        inner.settle(file)?;
        file.dirty = true;
        let Some(open) = &file.open else { return Ok(()) };
        let failed = |e| inner.failed("write to", e);
        let mut table = open.open_table(self.table()).map_err(|e: TableError| inner.failed("write to", e))?;
        let mut value = Vec::new();
        while let Some(key) = next(&mut value) {
            let changed = match table.insert(key, value.as_slice()).map_err(failed)? {
                Some(old) => merge(old.value(), &mut value)?,
                None => false,
            };
            if changed {
                table.insert(key, value.as_slice()).map_err(failed)?;
            }
            value.clear();
        }
        Ok(())
    }

    /// Changes the value of a key, or takes it out if `change` leaves it empty.
    ///
    /// # Errors
    /// If the file can't be read or written, or those of `change`.
    pub fn change(
        &self,
        key: u128,
        change: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let inner = &self.store.0;
        let mut file = inner.file.lock();
        let Some(file) = file.as_mut() else { return Ok(()) };
        inner.settle(file)?;
        let Some(open) = &file.open else { return Ok(()) };
        let failed = |e| inner.failed("write to", e);
        let mut table = open.open_table(self.table()).map_err(|e: TableError| inner.failed("write to", e))?;
        let mut value = Vec::new();
        match table.get(key).map_err(failed)? {
            Some(old) => change(old.value(), &mut value)?,
            None => return Ok(()),
        }
        file.dirty = true;
        match value.is_empty() {
            true => drop(table.remove(key).map_err(failed)?),
            false => drop(table.insert(key, value.as_slice()).map_err(failed)?),
        }
        Ok(())
    }

    /// Hands on every value.
    ///
    /// # Errors
    /// If the file can't be read, or those of `each`.
    pub fn scan(&self, mut each: impl FnMut(&[u8]) -> Result<(), StateError>) -> Result<(), StateError> {
        let inner = &self.store.0;
        let mut file = inner.file.lock();
        let Some(file) = file.as_mut() else { return Ok(()) };
        inner.settle(file)?;
        let Some(open) = &file.open else { return Ok(()) };
        let table = open.open_table(self.table()).map_err(|e| inner.failed("read", e))?;
        for entry in table.iter().map_err(|e| inner.failed("read", e))? {
            let (_, value) = entry.map_err(|e| inner.failed("read", e))?;
            each(value.value())?;
        }
        Ok(())
    }

    /// Forgets all groups.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn clear(&self) -> Result<(), StateError> {
        let inner = &self.store.0;
        let mut file = inner.file.lock();
        let Some(file) = file.as_mut() else { return Ok(()) };
        inner.settle(file)?;
        let Some(open) = &file.open else { return Ok(()) };
        file.dirty |= open.delete_table(self.table()).map_err(|e| inner.failed("write to", e))?;
        Ok(())
    }
}

/// The spaces in a job's store with their groups, without touching it: those of the newest version, which after a crash may be ahead of
/// the checkpoint. `None`: there is no store.
///
/// # Errors
/// If the file is in use, damaged, or was left by a crash.
pub fn inspect_store(dir: &Path) -> Result<Option<Vec<(String, u64)>>, StateError> {
    let path = dir.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let failed = |e: redb::Error| StateError(format!("can't look into {}: {e}", path.display()));
    let db = Database::builder().open_read_only(&path).map_err(|e| failed(e.into()))?;
    let read = db.begin_read().map_err(|e| failed(e.into()))?;
    let mut spaces = Vec::new();
    for table in read.list_tables().map_err(|e| failed(e.into()))? {
        let name = table.name().to_owned();
        let groups = read.open_untyped_table(table).map_err(|e| failed(e.into()))?;
        spaces.push((name, groups.len().map_err(|e| failed(e.into()))?));
    }
    Ok(Some(spaces))
}

/// Name of the file.
const FILE: &str = "groups.redb";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Disk;

    fn put(space: &Space, entries: &[(u128, &str)]) {
        let mut entries = entries.iter();
        let next = |to: &mut Vec<u8>| {
            let (key, value) = entries.next()?;
            to.extend_from_slice(value.as_bytes());
            Some(*key)
        };
        space.put(next, |_, _| Ok(false)).unwrap();
    }

    fn all(space: &Space) -> String {
        let mut found = Vec::new();
        space
            .scan(|value| {
                found.push(String::from_utf8(value.to_vec()).unwrap());
                Ok(())
            })
            .unwrap();
        found.join(" ")
    }

    #[test]
    fn what_is_behind_the_version_that_is_gone_back_to_is_gone_committed_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let new = || Store::new(Arc::new(Disk), dir.path(), 1 << 20).unwrap();
        let store = new();
        assert_eq!((store.save(), dir.path().join(FILE).exists()), (Ok(0), false));
        let (one, two) = (store.space("one"), store.space("two"));
        put(&one, &[(1, "a"), (2, "b")]);
        put(&two, &[(1, "x")]);
        let first = store.save().unwrap();
        assert_eq!(store.save(), Ok(first), "nothing has changed");
        put(&one, &[(2, "B"), (3, "c")]);
        one.change(1, |_, _| Ok(())).unwrap();
        two.clear().unwrap();
        let second = store.save().unwrap();
        put(&one, &[(4, "d")]);
        assert_eq!((all(&one), all(&two)), ("B c d".into(), String::new()));
        // A crash: what is open is lost, what was committed is there.
        drop((store, one, two));
        for (version, expected) in [(second, ("B c", "")), (first, ("a b", "x")), (first, ("a b", "x"))] {
            let store = new();
            store.restore(version).unwrap();
            let (one, two) = (store.space("one"), store.space("two"));
            assert_eq!((all(&one).as_str(), all(&two).as_str()), expected);
            put(&one, &[(9, "lost")]);
            if version == first {
                store.save().unwrap();
            }
        }
        let error = new().restore(second).unwrap_err().to_string();
        assert!(error.contains(&format!("does not have version {second}")), "{error}");
    }

    /// A file on a disk that is full.
    #[derive(Debug)]
    struct Full;

    impl RandomFile for Full {
        fn length(&self) -> io::Result<u64> {
            Ok(0)
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
            Ok(())
        }
        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Err(io::Error::from_raw_os_error(28))
        }
        fn set_length(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn sync(&self) -> io::Result<()> {
            Err(io::Error::from_raw_os_error(5))
        }
    }

    #[test]
    fn whoever_comes_after_an_error_of_the_file_tells_what_it_was() {
        use redb::StorageBackend as _;
        let dir = tempfile::tempdir().unwrap();
        let Store(inner) = Store::new(Arc::new(Disk), dir.path(), 1 << 20).unwrap();
        let said = |inner: &Inner| inner.failed("read", redb::Error::PreviousIo).to_string();
        assert!(said(&inner).contains("revious I/O error"), "{}", said(&inner));
        let backend = Backend { file: Box::new(Full), trouble: inner.trouble.clone() };
        assert!(backend.read(0, &mut []).is_ok() && backend.write(0, b"x").is_err());
        assert!(backend.sync_data().is_err());
        assert!(said(&inner).contains("groups.redb: No space left on device"), "{}", said(&inner));
    }

    #[test]
    fn as_many_versions_stay_as_checkpoints_need() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(Arc::new(Disk), dir.path(), 1 << 20).unwrap();
        let space = store.space("s");
        let mut versions = Vec::new();
        for n in 0..10u128 {
            put(&space, &[(n, "v")]);
            versions.push(store.save().unwrap());
            store.sync().unwrap();
        }
        drop((store, space));
        for (at, version) in versions.iter().enumerate().rev() {
            let restored = Store::new(Arc::new(Disk), dir.path(), 1 << 20).unwrap().restore(*version);
            assert_eq!(restored.is_ok(), at >= 10 - VERSIONS, "version {at}");
        }
    }

    #[test]
    fn a_file_without_a_checkpoint_that_names_it_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let store = Store::new(Arc::new(Disk), dir.path(), 1 << 20).unwrap();
            let space = store.space("s");
            assert!(space.is_unused() && all(&space).is_empty());
            put(&space, &[(1, "v")]);
            assert_eq!(all(&space), "v");
            store.save().unwrap();
        }
    }
}
