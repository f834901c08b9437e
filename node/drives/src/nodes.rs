//! Index nodes of this store: packed on disk for drives that are held, in bounded memory for drives that are looked at.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use p2p_identity::{ContentId, DriveId};

use crate::DriveError;
use crate::browsed::BrowseCache;
use crate::store::{Batch, Cache, CacheTable, MAX_BATCH_OPERATIONS, PackLocation, Packs};
use crate::tree::{NodeId, NodeSource};

/// Most bytes of nodes kept in memory.
const MAX_RECENT_BYTES: usize = 8 * 1024 * 1024;
/// Most bytes of nodes of drives that are only looked at.
const MAX_BROWSED_BYTES: usize = 32 * 1024 * 1024;

/// Where index nodes lie.
pub(crate) struct NodeStore {
    packs: Packs,
    cache: Arc<dyn Cache>,
    recent: Mutex<Recent>,
    browsed: Mutex<Recent>,
}

/// Nodes in memory, the oldest leaving first.
#[derive(Default)]
struct Recent {
    nodes: HashMap<NodeId, Bytes>,
    order: VecDeque<NodeId>,
    bytes: usize,
}

impl Recent {
    fn insert(&mut self, id: NodeId, bytes: Bytes, limit: usize) {
        self.bytes += bytes.len();
        if let Some(old) = self.nodes.insert(id, bytes) {
            self.bytes -= old.len();
            return;
        }
        self.order.push_back(id);
        while self.bytes > limit {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(gone) = self.nodes.remove(&oldest) {
                self.bytes -= gone.len();
            }
        }
    }
}

impl NodeStore {
    pub(crate) fn new(packs: Packs, cache: Arc<dyn Cache>) -> Self {
        Self { packs, cache, recent: Mutex::default(), browsed: Mutex::default() }
    }

    /// Keeps nodes on disk. They survive a crash of the process at once, one of the machine after [`Self::sync`].
    pub(crate) fn keep(&self, nodes: &[(NodeId, Bytes)]) -> Result<(), DriveError> {
        let mut new = Vec::with_capacity(nodes.len());
        for (id, bytes) in nodes {
            if self.location(id)?.is_none() {
                new.push((ContentId::from(*id.as_bytes()), bytes.as_ref()));
            }
            lock(&self.recent).insert(*id, bytes.clone(), MAX_RECENT_BYTES);
        }
        let locations = self.packs.append(&new)?;
        let rows: Vec<_> = new.iter().map(|(hash, _)| *hash).zip(locations).collect();
        self.add_rows(&rows)
    }

    /// Keeps a node in memory for a while.
    pub(crate) fn browse(&self, id: NodeId, bytes: Bytes) {
        lock(&self.browsed).insert(id, bytes, MAX_BROWSED_BYTES);
    }

    /// Forgets what is in memory of drives that are only looked at, so that it is fetched, and kept on disk, again.
    pub(crate) fn forget_browsed(&self) {
        *lock(&self.browsed) = Recent::default();
    }

    /// Keeps a node that is only in memory; one that is on disk already costs a look.
    pub(crate) fn promote(&self, id: &NodeId) -> Result<(), DriveError> {
        let bytes = lock(&self.browsed).nodes.get(id).cloned();
        match bytes {
            Some(bytes) if self.location(id)?.is_none() => self.keep(&[(*id, bytes)]),
            _ => Ok(()),
        }
    }

    /// Brings everything kept so far to the disk.
    pub(crate) fn sync(&self) -> Result<(), DriveError> {
        self.packs.sync()?;
        Ok(self.cache.flush()?)
    }

    /// Writes the rows of the cache again from the packs; returns how many nodes there are.
    pub(crate) fn rebuild(&self) -> Result<u64, DriveError> {
        let mut rows = Vec::new();
        let mut failed = None;
        let mut count = 0;
        self.packs.scan_all(|item| {
            count += 1;
            rows.push((item.hash, item.location));
            if rows.len() == MAX_BATCH_OPERATIONS {
                if let Err(error) = self.add_rows(&rows) {
                    failed.get_or_insert(error);
                }
                rows.clear();
            }
        })?;
        self.add_rows(&rows)?;
        failed.map_or(Ok(count), Err)
    }

    fn add_rows(&self, rows: &[(ContentId, PackLocation)]) -> Result<(), DriveError> {
        for rows in rows.chunks(MAX_BATCH_OPERATIONS) {
            let mut batch = Batch::new();
            for (hash, location) in rows {
                batch.put(CacheTable::Node, *hash.as_bytes(), location.to_bytes());
            }
            self.cache.apply(&batch)?;
        }
        Ok(())
    }

    fn location(&self, id: &NodeId) -> Result<Option<PackLocation>, DriveError> {
        let row = self.cache.get(CacheTable::Node, id.as_bytes())?;
        Ok(row.and_then(|row| <[u8; PackLocation::BYTES]>::try_from(row).ok()).map(PackLocation::from_bytes))
    }
}

impl NodeSource for NodeStore {
    type Error = DriveError;

    fn node(&self, id: &NodeId) -> Result<Option<Bytes>, DriveError> {
        if let Some(bytes) = lock(&self.recent).nodes.get(id) {
            return Ok(Some(bytes.clone()));
        }
        if let Some(bytes) = lock(&self.browsed).nodes.get(id) {
            return Ok(Some(bytes.clone()));
        }
        let Some(location) = self.location(id)? else { return Ok(None) };
        match self.packs.read(&ContentId::from(*id.as_bytes()), location) {
            Ok(bytes) => {
                let bytes = Bytes::from(bytes);
                lock(&self.recent).insert(*id, bytes.clone(), MAX_RECENT_BYTES);
                Ok(Some(bytes))
            }
            // Damaged or gone: as if it had never been here, so that it is fetched or made again.
            Err(crate::store::PackError::Missing(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The nodes of a drive: those of this store, then, for a drive that is only looked at, those that are kept on disk.
pub(crate) struct Layered<'a> {
    pub(crate) nodes: &'a NodeStore,
    pub(crate) browsed: Option<(&'a BrowseCache, DriveId)>,
}

impl NodeSource for Layered<'_> {
    type Error = DriveError;

    fn node(&self, id: &NodeId) -> Result<Option<Bytes>, DriveError> {
        if let Some(bytes) = self.nodes.node(id)? {
            return Ok(Some(bytes));
        }
        let found = self.browsed.and_then(|(browsed, drive)| browsed.node(&drive, id));
        if let Some(bytes) = &found {
            self.nodes.browse(*id, bytes.clone());
        }
        Ok(found)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
