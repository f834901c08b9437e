//! What was read of drives that are only looked at, kept on disk so that it need not travel again
//! (specs/drives.md, 12.5 and 17).
//!
//! Each drive has a directory of its own under `drives/browsed`, and goes as a whole: freeing it is removing a directory,
//! whatever it holds. Readers never wait for a write. They hand what they proved to a bounded queue that one task
//! empties; what does not fit is not kept. Nothing is ever synced, because everything is checked against its hash when
//! it is read back: a block that a crash or a bad disk has damaged is dropped, and fetched again.
//!
//! Drives that are shared or copied have their content in folders of the user, which nothing here touches.

mod disk;
mod large;
mod quota;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use p2p_identity::{ContentId, DriveId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use self::disk::Disk;
pub(crate) use self::disk::bytes_under;
pub(crate) use self::large::Piece;
pub use self::quota::{BrowseQuota, BrowseQuotaError, BrowseState};
use self::quota::{Limit, Room};
use crate::DriveError;
use crate::head::HeadEnvelope;
use crate::store::Cache;
use crate::tree::NodeId;

/// Blobs below this size lie in packs, others in files of their own, in bytes.
pub(crate) const SMALL_BLOB_BYTES: u64 = 64 * 1024;
/// Most bytes that wait to be written; what comes on top of that is not kept.
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;
/// Most jobs that wait, whatever their size.
const MAX_WAITING_JOBS: usize = 1_024;

/// What the cache of browsed drives has done since the start.
#[derive(Debug, Default)]
pub struct BrowseCounters {
    /// Reads of content or index nodes that were answered from the disk.
    pub hits: AtomicU64,
    /// Blocks that were damaged on disk, and dropped.
    pub damaged: AtomicU64,
    /// Items that were not kept: no room in the queue, in the quota or on the disk.
    pub not_kept: AtomicU64,
    /// Drives that had to make room for others.
    pub evicted: AtomicU64,
}

/// What the cache of browsed drives holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowseUsage {
    /// Most bytes it may hold; 0 where it is off.
    pub quota_bytes: u64,
    /// Bytes it holds.
    pub used_bytes: u64,
    /// Bytes that are free on its disk, as far as the system tells.
    pub free_bytes: u64,
    /// Whether it grows.
    pub state: BrowseState,
    /// Drive, its bytes, and when it was last looked at; the one that goes first stands first.
    pub drives: Vec<(DriveId, u64, SystemTime)>,
}

/// The cache of browsed drives.
pub(crate) struct BrowseCache {
    disk: Arc<Disk>,
    room: Arc<Room>,
    queue: mpsc::Sender<Queued>,
    waiting: Arc<Semaphore>,
    pub(crate) counters: Arc<BrowseCounters>,
}

/// A job with its place among the bytes that wait.
struct Queued {
    job: Job,
    _place: Option<OwnedSemaphorePermit>,
}

/// What the writer is asked for.
enum Job {
    /// Index nodes and small blobs.
    Small(DriveId, Vec<(ContentId, Bytes)>),
    /// A proven part of a larger blob.
    Piece(DriveId, Piece),
    /// The newest head that was seen.
    Head(DriveId, Bytes),
    /// Frees one drive, or all; answers with drives and bytes.
    Free(Option<DriveId>, oneshot::Sender<(u64, u64)>),
    /// Answers when everything before it is done.
    Settle(oneshot::Sender<()>),
}

impl BrowseCache {
    /// Opens the cache and starts its writer, which ends when the cache is dropped.
    ///
    /// # Errors
    /// Its directory cannot be made or listed.
    pub(crate) fn open(directory: &Path, cache: Arc<dyn Cache>, quota: BrowseQuota) -> Result<Self, DriveError> {
        let counters = Arc::new(BrowseCounters::default());
        let disk = Arc::new(Disk::open(directory, cache, counters.clone())?);
        let room = Arc::new(Room::new(Limit::new(quota, directory)));
        let (queue, jobs) = mpsc::channel(MAX_WAITING_JOBS);
        writer::spawn(disk.clone(), room.clone(), counters.clone(), jobs);
        Ok(Self { disk, room, queue, waiting: Arc::new(Semaphore::new(MAX_WAITING_BYTES)), counters })
    }

    /// An index node, checked. Blocks.
    pub(crate) fn node(&self, drive: &DriveId, id: &NodeId) -> Option<Bytes> {
        self.small(drive, &ContentId::from(*id.as_bytes()))
    }

    /// A small blob or index node, checked. Blocks.
    pub(crate) fn small(&self, drive: &DriveId, hash: &ContentId) -> Option<Bytes> {
        self.hit(self.disk.small(drive, hash))
    }

    /// Bytes `start..end` of a larger blob, checked; `None` unless all of them are here. Blocks.
    pub(crate) fn range(&self, drive: &DriveId, hash: &ContentId, size: u64, start: u64, end: u64) -> Option<Bytes> {
        self.hit(self.disk.range(drive, hash, size, start, end))
    }

    /// The newest head that was seen of a drive; its signature was checked. Blocks.
    pub(crate) fn head(&self, drive: &DriveId) -> Option<HeadEnvelope> {
        self.disk.head(drive)
    }

    /// Keeps index nodes or small blobs whose hashes were checked.
    pub(crate) fn keep_small(&self, drive: &DriveId, items: Vec<(ContentId, Bytes)>) {
        let bytes = items.iter().map(|(_, bytes)| bytes.len()).sum();
        self.submit(Job::Small(*drive, items), bytes);
    }

    /// Keeps a proven part of a larger blob.
    pub(crate) fn keep_piece(&self, drive: &DriveId, piece: Piece) {
        let bytes = piece.cost();
        self.submit(Job::Piece(*drive, piece), bytes);
    }

    /// Keeps a whole blob, of any size, whose hash was checked.
    pub(crate) fn keep_blob(&self, drive: &DriveId, hash: ContentId, bytes: Bytes) {
        if (bytes.len() as u64) < SMALL_BLOB_BYTES {
            self.keep_small(drive, vec![(hash, bytes)]);
        } else {
            self.keep_piece(drive, Piece::whole(hash, bytes));
        }
    }

    /// Remembers a head, and that its drive is looked at now.
    pub(crate) fn keep_head(&self, head: &HeadEnvelope) {
        let bytes = Bytes::copy_from_slice(head.as_bytes());
        let len = bytes.len();
        self.submit(Job::Head(head.body().drive, bytes), len);
    }

    /// Whether a head of this drive is kept.
    pub(crate) fn has_head(&self, drive: &DriveId) -> bool {
        self.disk.has_head(drive)
    }

    /// Says that a drive is looked at.
    pub(crate) fn touch(&self, drive: &DriveId) {
        self.disk.touch(drive, SystemTime::now());
    }

    /// Frees what is kept of one drive, or of all; returns how many drives and bytes that were.
    pub(crate) async fn free(&self, which: Option<DriveId>) -> (u64, u64) {
        let (done, freed) = oneshot::channel();
        self.send_and_wait(Job::Free(which, done), freed).await.unwrap_or_default()
    }

    /// Waits until everything that was handed over is written or given up.
    pub(crate) async fn settle(&self) {
        let (done, settled) = oneshot::channel();
        self.send_and_wait(Job::Settle(done), settled).await;
    }

    /// Whether what is handed over now is kept.
    pub(crate) fn grows(&self) -> bool {
        self.room.state() == BrowseState::Growing
    }

    /// What is held. Blocks.
    pub(crate) fn usage(&self) -> BrowseUsage {
        let drives = self.disk.drives();
        let used_bytes = drives.iter().map(|(_, bytes, _)| bytes).sum();
        let (quota_bytes, free_bytes) = self.room.limit(used_bytes);
        BrowseUsage { quota_bytes, used_bytes, free_bytes, state: self.room.state(), drives }
    }

    async fn send_and_wait<T>(&self, job: Job, answer: oneshot::Receiver<T>) -> Option<T> {
        self.queue.send(Queued { job, _place: None }).await.ok()?;
        answer.await.ok()
    }

    fn hit(&self, found: Option<Bytes>) -> Option<Bytes> {
        if found.is_some() {
            self.counters.hits.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// Hands a job to the writer, unless that is behind or nothing may be kept now.
    fn submit(&self, job: Job, bytes: usize) {
        if self.room.is_off() {
            return;
        }
        // A job costs something even where it carries nothing.
        let cost = u32::try_from(bytes.max(1)).unwrap_or(u32::MAX);
        let place = self.waiting.clone().try_acquire_many_owned(cost);
        let is_taken = place.is_ok_and(|place| self.queue.try_send(Queued { job, _place: Some(place) }).is_ok());
        if !is_taken {
            self.counters.not_kept.fetch_add(1, Ordering::Relaxed);
        }
    }
}
