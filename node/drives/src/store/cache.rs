//! What can be fetched or computed again (specs/drives.md, section 17).

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::batch::{Batch, KeyValue, MemoryTables};

/// Most operations in one batch: longer ones hold up everybody else.
pub const MAX_BATCH_OPERATIONS: usize = 1000;
/// Most bytes of a value in most tables.
pub const MAX_SMALL_VALUE_BYTES: usize = 1024;
/// Most bytes of a bitmap.
pub const MAX_BITMAP_BYTES: usize = 8 * 1024;
/// Most bytes of a `leaf`, `place` or `log` row.
pub const MAX_ROW_BYTES: usize = 32 * 1024;

/// Tables of the cache. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum CacheTable {
    /// By drive, writer, counter and ordinal: up to 128 change records from that ordinal on.
    Log = 1,
    /// By hash: state, size, location and references of a blob in the store.
    Blob = 2,
    /// By hash: location in a pack, references and entries counted of an index node.
    Node = 3,
    /// By drive and hashed last key: leaf hash and fingerprints.
    Leaf = 4,
    /// By the first 2 bytes of a hash: files in place.
    Place = 5,
    /// By hash: run list of proven groups.
    Bitmap = 6,
    /// By sequence number: work of the garbage collector.
    Gc = 7,
    /// By time and hash: what is about to be deleted.
    Graveyard = 8,
    /// The engine's: what the DHT stores for others.
    Dht = 9,
    /// The engine's: peers remembered for the next start.
    Peer = 10,
    /// By drive and hash: where a browsed item lies in the drive's packs; by drive: when it was last looked at.
    Browsed = 20,
    /// By drive: the root up to which its content was kept for history.
    Kept = 11,
}

impl CacheTable {
    /// Most bytes that a value in this table may have.
    pub fn max_value_bytes(self) -> usize {
        match self {
            Self::Log | Self::Leaf | Self::Place | Self::Dht => MAX_ROW_BYTES,
            Self::Bitmap => MAX_BITMAP_BYTES,
            Self::Blob | Self::Node | Self::Gc | Self::Graveyard | Self::Peer | Self::Browsed | Self::Kept => {
                MAX_SMALL_VALUE_BYTES
            }
        }
    }
}

/// Why the cache failed. Nothing in it is irreplaceable: a damaged one is made anew at the next start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// Another process has it open.
    #[error("cache is in use by another process")]
    InUse,
    /// A value above its table's bound: nothing was written.
    #[error("value of {len} bytes in {table:?}, at most {max}")]
    ValueTooLarge {
        /// The table.
        table: CacheTable,
        /// The value's bytes.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// More operations than one batch may have: nothing was written.
    #[error("batch of {0} operations, at most {MAX_BATCH_OPERATIONS}")]
    BatchTooLong(usize),
    /// Its files cannot be made, moved or synced.
    #[error("cache failed while {doing}")]
    Io {
        /// What was going on.
        doing: &'static str,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// sled failed, or panicked on damaged data.
    #[error("cache is damaged: {reason}")]
    Damaged {
        /// What it says.
        reason: String,
    },
}

/// An ordered map that survives a crash of the process, and after [`Cache::flush`] one of the machine. All calls may
/// block on the disk.
pub trait Cache: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// The store failed.
    fn get(&self, table: CacheTable, key: &[u8]) -> Result<Option<Vec<u8>>, CacheError>;

    /// Makes all changes, or none, also across tables.
    ///
    /// # Errors
    /// Too many operations, too large a value, or the store failed.
    fn apply(&self, batch: &Batch<CacheTable>) -> Result<(), CacheError>;

    /// Up to `limit` entries whose keys begin with `prefix`, in key order, those behind the key `after` if given.
    ///
    /// # Errors
    /// The store failed.
    fn scan(
        &self,
        table: CacheTable,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, CacheError>;

    /// Brings everything applied so far to the disk, safe against a power cut.
    ///
    /// # Errors
    /// The store failed.
    fn flush(&self) -> Result<(), CacheError>;

    /// Makes a new, empty store in place of one that has failed because it is damaged, and says where the old one lies
    /// now; `None` if this one works. What it held must be rebuilt.
    ///
    /// # Errors
    /// The old one cannot be moved, or no new one made.
    fn renew(&self) -> Result<Option<PathBuf>, CacheError> {
        Ok(None)
    }

    /// Removes one key.
    ///
    /// # Errors
    /// The store failed.
    fn remove(&self, table: CacheTable, key: &[u8]) -> Result<(), CacheError> {
        self.apply(Batch::new().delete(table, key))
    }
}

/// Refuses what is above the bounds of section 17.
pub(super) fn check_batch(batch: &Batch<CacheTable>) -> Result<(), CacheError> {
    if batch.len() > MAX_BATCH_OPERATIONS {
        return Err(CacheError::BatchTooLong(batch.len()));
    }
    for (table, _, value) in batch.iter() {
        let (len, max) = (value.map_or(0, <[u8]>::len), table.max_value_bytes());
        if len > max {
            return Err(CacheError::ValueTooLarge { table, len, max });
        }
    }
    Ok(())
}

/// A cache for tests.
#[derive(Debug, Default)]
pub struct MemoryCache {
    tables: Mutex<MemoryTables<CacheTable>>,
}

impl Cache for MemoryCache {
    fn get(&self, table: CacheTable, key: &[u8]) -> Result<Option<Vec<u8>>, CacheError> {
        Ok(self.tables.lock().unwrap_or_else(PoisonError::into_inner).get(table, key))
    }

    fn apply(&self, batch: &Batch<CacheTable>) -> Result<(), CacheError> {
        check_batch(batch)?;
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).apply(batch);
        Ok(())
    }

    fn scan(
        &self,
        table: CacheTable,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, CacheError> {
        Ok(self.tables.lock().unwrap_or_else(PoisonError::into_inner).scan(table, prefix, after, limit))
    }

    fn flush(&self) -> Result<(), CacheError> {
        Ok(())
    }
}
