//! Where the store keeps its rows across restarts. The engine serves this with its cache.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A narrow key-value store. Writes may be delayed and must not block: they are called inside the swarm loop. What is
/// lost in a crash is announced again by its owner.
pub trait Persist: Send + 'static {
    /// Every row, once at the start.
    fn load(&self) -> Vec<(Vec<u8>, Vec<u8>)>;
    /// Writes a row.
    fn put(&self, key: Vec<u8>, value: Vec<u8>);
    /// Deletes a row.
    fn delete(&self, key: Vec<u8>);
}

/// Rows in memory, for tests and nodes without a disk. Clones share their rows.
#[derive(Clone, Debug, Default)]
pub struct MemoryPersist(Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>);

impl Persist for MemoryPersist {
    fn load(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn put(&self, key: Vec<u8>, value: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
    }

    fn delete(&self, key: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}
