//! A block store in memory: for tests, and for a node that is alone.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use crate::{Block, BlockStore, Candidate, StorageKey, StoreError};

/// Blocks in memory, one good one per key, and whatever was [injected](MemoryBlockStore::inject).
#[derive(Debug, Default)]
pub struct MemoryBlockStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    blocks: HashMap<StorageKey, Block>,
    injected: HashMap<StorageKey, Vec<Vec<u8>>>,
    gets: usize,
    failure: Option<StoreError>,
}

impl MemoryBlockStore {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes that are found under `key` as well, forged or not: what a hostile node would answer.
    pub fn inject(&self, key: StorageKey, bytes: Vec<u8>) {
        self.lock().injected.entry(key).or_default().push(bytes);
    }

    /// Lets every call fail with this error from now on; `None` ends it.
    pub fn fail_with(&self, failure: Option<StoreError>) {
        self.lock().failure = failure;
    }

    /// How often [`BlockStore::get`] was called.
    pub fn gets(&self) -> usize {
        self.lock().gets
    }

    /// All blocks that were put, in no order: what left the machine.
    pub fn blocks(&self) -> Vec<Block> {
        self.lock().blocks.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl BlockStore for MemoryBlockStore {
    async fn get(&self, key: &StorageKey) -> Result<Vec<Candidate>, StoreError> {
        let mut inner = self.lock();
        inner.gets += 1;
        if let Some(failure) = &inner.failure {
            return Err(failure.clone());
        }
        let injected = inner.injected.get(key).into_iter().flatten().cloned();
        let stored = inner.blocks.get(key).map(|block| block.as_bytes().to_vec());
        let candidate = |block| Candidate { block, source: "memory".to_owned(), age: Duration::ZERO };
        Ok(injected.chain(stored).map(candidate).collect())
    }

    async fn put(&self, key: &StorageKey, block: &Block) -> Result<usize, StoreError> {
        let mut inner = self.lock();
        if let Some(failure) = &inner.failure {
            return Err(failure.clone());
        }
        let is_newer = inner.blocks.get(key).is_none_or(|stored| stored.expiration() < block.expiration());
        if is_newer && block.storage_key() == *key {
            inner.blocks.insert(*key, block.clone());
        }
        Ok(1)
    }
}
