//! Where a drive's data lies (specs/drives.md, section 17).
//!
//! The [`Ledger`] holds what would be lost for ever, the [`Cache`] what can be rebuilt from files, packs and outboards;
//! both are narrow traits with one implementation on disk and one in memory. [`Packs`] hold small blobs and index nodes.
//! Order of writing: packs and files, their sync, the cache, its flush, the ledger.

mod batch;
mod cache;
mod ledger;
mod packs;
mod sled_cache;

pub use batch::{Batch, KeyValue};
pub use cache::{
    Cache, CacheError, CacheTable, MAX_BATCH_OPERATIONS, MAX_BITMAP_BYTES, MAX_ROW_BYTES, MAX_SMALL_VALUE_BYTES,
    MemoryCache,
};
pub use ledger::{Ledger, LedgerError, LedgerTable, MemoryLedger, RedbLedger};
pub use packs::{MAX_PACK_ITEM_BYTES, PACK_BYTES, PackError, PackItem, PackLocation, PackRecovery, Packs};
pub use sled_cache::{CacheOpened, DEFAULT_CACHE_BYTES, SledCache};
