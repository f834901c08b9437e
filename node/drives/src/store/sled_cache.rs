//! The cache on disk, in sled 0.34: fast, but to be distrusted.
//!
//! sled's flush is no fsync on Linux, damaged files may refuse to open, and damage found late makes it panic. So: our
//! own sync of its files in `flush`, every call under `catch_unwind`, and a cache that does not open is moved aside and
//! made anew. Beside the directory `<name>` lie `<name>.format`, its format number, and `<name>.lock`, which tells a cache
//! in use from a damaged one.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::batch::{Batch, KeyValue, scan_start};
use super::cache::{Cache, CacheError, CacheTable, check_batch};

/// Memory that sled may use for its page cache, in bytes. It takes this as advice.
pub const DEFAULT_CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// Number of the cache's format. A cache of any other is moved aside and rebuilt.
const FORMAT: u32 = 1;
/// How often to wait for a cache that was closed a moment ago in this process, and how long each time.
const LOCK_RETRIES: u32 = 100;
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// What was found when the cache was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheOpened {
    /// There was none; an empty one was made.
    Fresh,
    /// It is as it was left.
    Kept,
    /// It could not be used: an empty one was made, and what it held must be rebuilt.
    Rebuilt {
        /// Where the old one now lies.
        moved_to: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The cache on disk.
pub struct SledCache {
    /// Replaced only where it is damaged.
    database: RwLock<sled::Db>,
    cache_bytes: u64,
    paths: Paths,
    /// Set by the first panic: what sled's memory holds then is not to be relied on.
    is_damaged: AtomicBool,
    /// Held until the database is closed.
    _lock: File,
}

impl SledCache {
    /// Opens the cache in `directory`, or makes one. `cache_bytes` of memory are used for pages.
    ///
    /// # Errors
    /// [`CacheError::InUse`], or its directory cannot be made, moved or written. Damage is no error.
    pub fn open(directory: &Path, cache_bytes: u64) -> Result<(Self, CacheOpened), CacheError> {
        let paths = Paths::new(directory);
        if let Some(parent) = directory.parent() {
            fs::create_dir_all(parent).map_err(failed("making its directory"))?;
        }
        let lock = paths.lock()?;
        let mut opened = if !directory.exists() {
            CacheOpened::Fresh
        } else if let Err(reason) = paths.check_format() {
            CacheOpened::Rebuilt { moved_to: paths.move_aside()?, reason }
        } else {
            CacheOpened::Kept
        };
        // The number before the directory: a directory without a number is nothing we made.
        paths.write_format().map_err(failed("writing its format"))?;
        let database = match open_sled(directory, cache_bytes) {
            Err(CacheError::Damaged { reason }) if opened == CacheOpened::Kept => {
                opened = CacheOpened::Rebuilt { moved_to: paths.move_aside()?, reason };
                open_sled(directory, cache_bytes)
            }
            result => result,
        }?;
        let database = RwLock::new(database);
        Ok((Self { database, cache_bytes, paths, is_damaged: AtomicBool::new(false), _lock: lock }, opened))
    }

    /// Runs a call to sled. After a panic all further calls fail, and the next start makes a new cache.
    fn guarded<T>(&self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, CacheError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        if self.is_damaged.load(Ordering::Relaxed) {
            return Err(CacheError::Damaged { reason: "an earlier call failed".into() });
        }
        let result = guarded(|| call(&database));
        if matches!(result, Err(CacheError::Damaged { .. })) {
            self.is_damaged.store(true, Ordering::Relaxed);
            // Without its number it is moved aside at the next start. If even this fails, opening will tell.
            let _ = fs::remove_file(&self.paths.format);
        }
        result
    }
}

impl Cache for SledCache {
    fn get(&self, table: CacheTable, key: &[u8]) -> Result<Option<Vec<u8>>, CacheError> {
        let value = self.guarded(|database| database.get(full_key(table, key)))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn apply(&self, batch: &Batch<CacheTable>) -> Result<(), CacheError> {
        check_batch(batch)?;
        let mut changes = sled::Batch::default();
        for (table, key, value) in batch.iter() {
            match value {
                Some(value) => changes.insert(full_key(table, key), value),
                None => changes.remove(full_key(table, key)),
            }
        }
        self.guarded(|database| database.apply_batch(changes))
    }

    fn scan(
        &self,
        table: CacheTable,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, CacheError> {
        let start = scan_start(prefix, after).map(|key| full_key(table, key));
        let prefix = full_key(table, prefix);
        self.guarded(|database| {
            let mut entries = Vec::new();
            let range = database.range::<Vec<u8>, _>((start, std::ops::Bound::Unbounded));
            for entry in range.take(limit) {
                let (key, value) = entry?;
                if !key.starts_with(&prefix) {
                    break;
                }
                entries.push((key[1..].to_vec(), value.to_vec()));
            }
            Ok(entries)
        })
    }

    fn flush(&self) -> Result<(), CacheError> {
        self.guarded(|database| database.flush().map(drop))?;
        sync_files(&self.paths.directory).map_err(failed("syncing its files"))
    }

    fn renew(&self) -> Result<Option<PathBuf>, CacheError> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if !self.is_damaged.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let moved_to = self.paths.move_aside()?;
        self.paths.write_format().map_err(failed("writing its format"))?;
        let new = open_sled(&self.paths.directory, self.cache_bytes)?;
        // The old one is not closed: closing writes, and may fail as everything in it may.
        std::mem::forget(std::mem::replace(&mut *database, new));
        self.is_damaged.store(false, Ordering::Relaxed);
        Ok(Some(moved_to))
    }
}

/// One sled tree holds all tables, so that a batch is atomic across them.
fn full_key(table: CacheTable, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(1 + key.len());
    full.push(table as u8);
    full.extend_from_slice(key);
    full
}

/// The cache's directory and what lies beside it.
struct Paths {
    directory: PathBuf,
    format: PathBuf,
    lock: PathBuf,
}

impl Paths {
    fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            format: with_suffix(directory, ".format"),
            lock: with_suffix(directory, ".lock"),
        }
    }

    fn lock(&self) -> Result<File, CacheError> {
        let file = File::options().create(true).truncate(false).write(true).open(&self.lock);
        let file = file.map_err(failed("opening its lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(CacheError::InUse),
            Err(TryLockError::Error(error)) => Err(failed("locking it")(error)),
        }
    }

    /// Why the cache cannot be read, going by its number.
    fn check_format(&self) -> Result<(), String> {
        let text = fs::read(&self.format).map_err(|error| format!("its format number is unreadable: {error}"))?;
        let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse::<u32>().ok());
        match number {
            Some(FORMAT) => Ok(()),
            Some(other) => Err(format!("it has format {other}, this program knows {FORMAT}")),
            None => Err("its format number is unreadable".into()),
        }
    }

    fn write_format(&self) -> io::Result<()> {
        if self.check_format().is_ok() {
            return Ok(());
        }
        let new = with_suffix(&self.format, ".new");
        let mut file = File::create(&new)?;
        writeln!(file, "{FORMAT}")?;
        file.sync_all()?;
        fs::rename(&new, &self.format)
    }

    /// Renames the directory to the first free `<name>.damaged-<n>`.
    fn move_aside(&self) -> Result<PathBuf, CacheError> {
        let free = (1..u32::MAX)
            .map(|number| with_suffix(&self.directory, &format!(".damaged-{number}")))
            .find(|path| !path.exists())
            .ok_or_else(|| failed("moving it aside")(io::ErrorKind::AlreadyExists.into()))?;
        fs::rename(&self.directory, &free).map_err(failed("moving it aside"))?;
        Ok(free)
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Opens sled and reads a little, so that damage shows here.
fn open_sled(directory: &Path, cache_bytes: u64) -> Result<sled::Db, CacheError> {
    let mut retries = LOCK_RETRIES;
    loop {
        let result = guarded(|| {
            let config = sled::Config::new().path(directory).cache_capacity(cache_bytes).flush_every_ms(None);
            let database = config.open()?;
            database.iter().next().transpose()?;
            Ok(database)
        });
        match result {
            // We hold our own lock: this one is only left over from a cache that this process just closed.
            Err(CacheError::Damaged { reason }) if reason.contains("could not acquire lock") => {
                if retries == 0 {
                    return Err(CacheError::InUse);
                }
                retries -= 1;
                std::thread::sleep(LOCK_WAIT);
            }
            other => return other,
        }
    }
}

/// Calls sled and turns errors and panics into ours. Only what is not damage, a failing disk, is told apart.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, CacheError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(source))) if is_disk_trouble(&source) => Err(failed("using it")(source)),
        Ok(Err(error)) => Err(CacheError::Damaged { reason: error.to_string() }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(CacheError::Damaged { reason: text.unwrap_or_else(|| "panic without a text".into()) })
        }
    }
}

/// Errors that moving the cache aside would not mend.
fn is_disk_trouble(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
    ) || error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error())
        || error.raw_os_error() == Some(rustix::io::Errno::NFILE.raw_os_error())
}

/// fsync of every file of the database and of its directories. It acts on the file, so handles of our own will do.
fn sync_files(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let synced = if entry.file_type()?.is_dir() {
            sync_files(&entry.path())
        } else {
            File::open(entry.path()).and_then(|file| file.sync_all())
        };
        match synced {
            // sled replaces snapshots and removes blobs while we look.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    File::open(directory)?.sync_all()
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> CacheError {
    move |source| CacheError::Io { doing, source }
}

#[cfg(test)]
mod tests;
