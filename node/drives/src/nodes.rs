//! Index nodes of this store: packed on disk for drives that are held, in bounded memory for drives that are looked at.

mod row;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use p2p_identity::{ContentId, DriveId};

pub(crate) use self::row::NodeRow;
use crate::DriveError;
use crate::browsed::BrowseCache;
use crate::lock::lock;
use crate::store::{Batch, Cache, CacheTable, MAX_BATCH_OPERATIONS, PackError, PackItem, PackLocation, Packs};
use crate::tree::{NodeId, NodeSource};

/// Most bytes of nodes kept in memory.
const MAX_RECENT_BYTES: usize = 8 * 1024 * 1024;
/// Most bytes of nodes of drives that are only looked at.
const MAX_BROWSED_BYTES: usize = 32 * 1024 * 1024;
/// Most nodes that are written down while somebody looks through all of them.
const MAX_JOURNAL: usize = 100_000;
/// How often a node is looked for whose place changes while it is read.
const READ_TRIES: usize = 3;

/// Where index nodes lie.
///
/// A node that no version needs is condemned first and deleted later ([`crate::gc`]). Keeping it again, or reading it,
/// saves it: so whoever has just seen a node may rely on it for as long as nodes stay condemned.
pub(crate) struct NodeStore {
    packs: Packs,
    cache: Arc<dyn Cache>,
    recent: Mutex<Recent>,
    browsed: Mutex<Recent>,
    /// Held for reading by whoever relies on a row that is there, for writing by who condemns, moves and deletes.
    rows: RwLock<()>,
    /// Nodes kept since [`Self::start_journal`], at most [`MAX_JOURNAL`].
    journal: Mutex<Option<Vec<NodeId>>>,
    /// Whether nodes were kept since this was last asked.
    has_grown: AtomicBool,
}

/// Nodes in memory, the oldest leaving first.
#[derive(Default)]
struct Recent {
    nodes: HashMap<NodeId, Bytes>,
    order: VecDeque<NodeId>,
    bytes: usize,
}

impl Recent {
    fn remove(&mut self, id: &NodeId) {
        // Its place in the order stays, and is passed over when it comes up.
        if let Some(gone) = self.nodes.remove(id) {
            self.bytes -= gone.len();
        }
    }

    fn insert(&mut self, id: NodeId, bytes: Bytes, limit: usize) {
        self.bytes += bytes.len();
        if let Some(old) = self.nodes.insert(id, bytes) {
            self.bytes -= old.len();
            return;
        }
        self.order.push_back(id);
        if self.order.len() > 2 * self.nodes.len() + 64 {
            let nodes = &self.nodes;
            self.order.retain(|id| nodes.contains_key(id));
        }
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
        Self {
            packs,
            cache,
            recent: Mutex::default(),
            browsed: Mutex::default(),
            rows: RwLock::default(),
            journal: Mutex::default(),
            has_grown: AtomicBool::new(true),
        }
    }

    /// Keeps nodes on disk. They survive a crash of the process at once, one of the machine after [`Self::sync`].
    pub(crate) fn keep(&self, nodes: &[(NodeId, Bytes)]) -> Result<(), DriveError> {
        let rows = self.relying();
        self.keep_relying(nodes, &rows)
    }

    fn keep_relying(&self, nodes: &[(NodeId, Bytes)], _rows: &RwLockReadGuard<'_, ()>) -> Result<(), DriveError> {
        let mut new = Vec::with_capacity(nodes.len());
        let mut saved = Vec::new();
        for (id, bytes) in nodes {
            match self.row(id)? {
                None => new.push((ContentId::from(*id.as_bytes()), bytes.as_ref())),
                Some(row) if row.condemned_ms.is_some() => saved.push((ContentId::from(*id), row.location)),
                Some(_) => {}
            }
            lock(&self.recent).insert(*id, bytes.clone(), MAX_RECENT_BYTES);
        }
        if let Some(journal) = &mut *lock(&self.journal) {
            let room = MAX_JOURNAL.saturating_sub(journal.len());
            journal.extend(nodes.iter().map(|(id, _)| *id).take(room));
        }
        self.has_grown.store(true, Ordering::Relaxed);
        let locations = self.packs.append(&new)?;
        let mut rows: Vec<_> = new.iter().map(|(hash, _)| *hash).zip(locations).collect();
        rows.append(&mut saved);
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
            Some(bytes) if self.row(id)?.is_none() => self.keep(&[(*id, bytes)]),
            _ => Ok(()),
        }
    }

    /// Bytes in memory: their name, how many there are, the most that will be.
    pub(crate) fn rooms(&self) -> [(&'static str, usize, usize); 2] {
        [
            ("index nodes of drives in memory", lock(&self.recent).bytes, MAX_RECENT_BYTES),
            ("index nodes of looked-at drives in memory", lock(&self.browsed).bytes, MAX_BROWSED_BYTES),
        ]
    }

    /// Brings everything kept so far to the disk.
    pub(crate) fn sync(&self) -> Result<(), DriveError> {
        self.packs.sync()?;
        Ok(self.cache.flush()?)
    }

    fn add_rows(&self, rows: &[(ContentId, PackLocation)]) -> Result<(), DriveError> {
        for rows in rows.chunks(MAX_BATCH_OPERATIONS) {
            let mut batch = Batch::new();
            for (hash, location) in rows {
                batch.put(CacheTable::Node, *hash.as_bytes(), NodeRow::at(*location).to_bytes());
            }
            self.cache.apply(&batch)?;
        }
        Ok(())
    }

    fn row(&self, id: &NodeId) -> Result<Option<NodeRow>, DriveError> {
        let row = self.cache.get(CacheTable::Node, id.as_bytes())?;
        Ok(row.and_then(|row| NodeRow::from_bytes(&row)))
    }

    fn relying(&self) -> RwLockReadGuard<'_, ()> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a node from its pack. Saves it if it was condemned; forgets its row if there are no good bytes.
    fn read(&self, id: &NodeId) -> Result<Option<Bytes>, DriveError> {
        let hash = ContentId::from(*id);
        for _ in 0..READ_TRIES {
            let rows = self.relying();
            let Some(row) = self.row(id)? else { return Ok(None) };
            match self.packs.read(&hash, row.location) {
                Ok(bytes) => {
                    let bytes = Bytes::from(bytes);
                    if row.condemned_ms.is_some() {
                        self.keep_relying(&[(*id, bytes.clone())], &rows)?;
                    } else {
                        lock(&self.recent).insert(*id, bytes.clone(), MAX_RECENT_BYTES);
                    }
                    return Ok(Some(bytes));
                }
                // Damaged or gone: as if it had never been here, so that it is fetched or made again.
                Err(PackError::Missing(_)) => {
                    drop(rows);
                    self.forget_damaged(id, row.location)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Forgets where a node lies if it still is said to lie there: its bytes are not good.
    /// Returns whether it was.
    pub(crate) fn forget_damaged(&self, id: &NodeId, location: PackLocation) -> Result<bool, DriveError> {
        let _rows = self.changing();
        let is_it = self.row(id)?.is_some_and(|row| row.location == location);
        if is_it {
            tracing::warn!(node = %id.fmt_short(), pack = location.pack, "an index node is damaged on disk, and dropped");
            self.cache.remove(CacheTable::Node, id.as_bytes())?;
            self.packs.turn_from(location.pack)?;
        }
        Ok(is_it)
    }
}

/// For those who look after the store: none of this saves a condemned node.
impl NodeStore {
    /// Keeps everybody else from relying on rows. Held for one batch at a time.
    pub(crate) fn changing(&self) -> RwLockWriteGuard<'_, ()> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page of rows in the order of their hashes, behind `after`.
    pub(crate) fn page(&self, after: Option<&NodeId>, limit: usize) -> Result<Vec<(NodeId, NodeRow)>, DriveError> {
        let after = after.map(|id| id.as_bytes().as_slice());
        let rows = self.cache.scan(CacheTable::Node, &[], after, limit)?;
        Ok(rows
            .into_iter()
            .filter_map(|(key, value)| {
                let id = <[u8; 32]>::try_from(key).ok()?;
                // A row that cannot be read leads nowhere; it is never right.
                Some((NodeId::from(id), NodeRow::from_bytes(&value).unwrap_or(NodeRow::NOWHERE)))
            })
            .collect())
    }

    /// What is said of a node.
    pub(crate) fn row_of(&self, id: &NodeId) -> Result<Option<NodeRow>, DriveError> {
        self.row(id)
    }

    /// The bytes of a node, if they are good.
    pub(crate) fn peek(&self, id: &NodeId) -> Result<Option<Bytes>, DriveError> {
        for _ in 0..READ_TRIES {
            let Some(row) = self.row(id)? else { return Ok(None) };
            match self.packs.read(&ContentId::from(*id), row.location) {
                Ok(bytes) => return Ok(Some(bytes.into())),
                Err(PackError::Missing(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Changes rows; the caller holds [`Self::changing`]. `None` deletes.
    pub(crate) fn set_rows(&self, changes: &[(NodeId, Option<NodeRow>)]) -> Result<(), DriveError> {
        let mut batch = Batch::new();
        for (id, row) in changes {
            match row {
                Some(row) => batch.put(CacheTable::Node, *id.as_bytes(), row.to_bytes()),
                None => batch.delete(CacheTable::Node, *id.as_bytes()),
            };
            // What is condemned is read from the disk, where reading saves it.
            if row.is_none_or(|row| row.condemned_ms.is_some()) {
                lock(&self.recent).remove(id);
            }
        }
        Ok(self.cache.apply(&batch)?)
    }

    /// Forgets what is in memory of nodes that are on disk, so that the disk is asked.
    pub(crate) fn forget_recent(&self) {
        *lock(&self.recent) = Recent::default();
    }

    /// Begins to write down what is kept.
    pub(crate) fn start_journal(&self) {
        *lock(&self.journal) = Some(Vec::new());
    }

    /// What was kept since it was last asked; `None` if that was too much to write down. `end` ends the journal.
    pub(crate) fn take_journal(&self, end: bool) -> Option<Vec<NodeId>> {
        let mut journal = lock(&self.journal);
        let kept = if end { journal.take() } else { journal.replace(Vec::new()) };
        kept.filter(|kept| kept.len() < MAX_JOURNAL)
    }

    /// Whether nodes were kept since this was last asked.
    pub(crate) fn take_growth(&self) -> bool {
        self.has_grown.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn packs(&self) -> &Packs {
        &self.packs
    }

    /// Adds rows for good items that a scan of the packs found and that have no row, or one that leads elsewhere and is not
    /// good. Returns how many were added.
    pub(crate) fn adopt(&self, items: &[PackItem]) -> Result<u64, DriveError> {
        let _rows = self.changing();
        let mut lost = Vec::new();
        for item in items {
            let id = NodeId::from(item.hash);
            let is_known = match self.row(&id)? {
                Some(row) if row.location == item.location => true,
                Some(row) => self.packs.read(&item.hash, row.location).is_ok(),
                None => false,
            };
            if !is_known {
                lost.push((id, Some(NodeRow::at(item.location))));
            }
        }
        self.set_rows(&lost)?;
        Ok(lost.len() as u64)
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
        self.read(id)
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
