//! Drives that are looked at, and small files of them: kept for a while, within bounds.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use moka::future::Cache;
use p2p_api::{
    ApiError, Content, DriveId, DriveInfo, DriveRole, EntryKind, ErrorKind, Link, Node, Open, ReadRange, Result,
    Stream, Target, TreeEntry, TreeQuery, VersionRef,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::body::{Bodies, Bytestream};
use super::manifest::{self, Manifest};
use super::path::resolve_link;
use crate::Settings;
use crate::jobs::Jobs;

/// Files up to this size are kept in memory, in bytes. They are read whole before their first byte is sent, which a slow
/// peer must not make long.
const SMALL_FILE_BYTES: u64 = 128 * 1024;
/// Larger files whose hash and size are remembered: a video is asked for range by range.
const MAX_ENTRIES: u64 = 4096;
/// Files that are loaded ahead at the same time.
const WARM_AT_A_TIME: usize = 8;
/// What a kept file costs beside its bytes, in bytes.
const ENTRY_COST: usize = 512;
/// How long the newest version of a drive that is only looked at counts as such: nobody tells us of the next one.
const READER_FRESH: Duration = Duration::from_secs(10);
/// How long a newer version of such a drive is waited for, where one is known already.
const LOOK_TIME: Duration = Duration::from_secs(4);
/// Most symlinks from one path to a file.
const MAX_LINKS: usize = 8;
/// Longest target of a symlink, in bytes.
const MAX_TARGET_BYTES: u64 = 4096;

/// A path in one version of a drive: what is old is never found again.
type Key = (DriveId, u64, String);

/// Everything that is kept. Clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    node: Node,
    patience: Duration,
    bodies: Bodies,
    jobs: Jobs,
    /// Drives that had to be looked for.
    opened: Cache<DriveId, DriveInfo>,
    manifests: Cache<(DriveId, u64), Arc<Manifest>>,
    /// Small files. Without a version nothing is kept.
    files: Cache<Key, File>,
    /// What is known of the others.
    entries: Cache<Key, Arc<TreeEntry>>,
}

/// A small file in memory.
#[derive(Clone)]
struct File {
    entry: Arc<TreeEntry>,
    bytes: Bytes,
}

/// One version of a drive.
#[derive(Clone)]
pub(crate) struct Site {
    /// What is known of it; of an earlier version its number, or one made from the hash that names it.
    pub(crate) info: DriveInfo,
    /// Which earlier version it is; `None` for the newest.
    earlier: Option<VersionRef>,
    store: Store,
}

/// A file that was found.
pub(crate) struct Found {
    pub(crate) file: Reader,
    /// The answer to a read of the whole file, if that was asked for.
    pending: Option<Box<Content>>,
}

/// Reads a file that was found.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) entry: Arc<TreeEntry>,
    /// The bytes of a small file.
    memory: Option<Bytes>,
    site: Site,
}

/// Why a file is not kept in memory.
enum NotKept {
    Large(Arc<TreeEntry>),
    Failed(ApiError),
}

impl Store {
    pub(crate) fn new(node: Node, jobs: Jobs, settings: &Settings) -> Self {
        let weight =
            |key: &Key, file: &File| u32::try_from(ENTRY_COST + key.2.len() + file.bytes.len()).unwrap_or(u32::MAX);
        Self {
            node,
            patience: settings.patience,
            bodies: Bodies::new(settings.patience),
            jobs,
            opened: Cache::builder().max_capacity(settings.max_open_drives).time_to_live(READER_FRESH).build(),
            manifests: Cache::new(settings.max_open_drives),
            entries: Cache::new(MAX_ENTRIES),
            files: Cache::builder().max_capacity(settings.cache_bytes).weigher(weight).build(),
        }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// The newest version of a drive, found through the network if it is not held here; `search_until` ends the wait for
    /// that, not the search.
    pub(crate) async fn site(&self, drive: DriveId, search_until: Instant) -> Result<Site> {
        let info = self.info(drive, search_until).await?;
        // A copy that is under way has no version of its own yet, and is read from its peers.
        if info.version == 0 && info.role == DriveRole::Owner {
            return Err(ApiError::new(ErrorKind::Busy, "nothing was published in this drive yet"));
        }
        Ok(Site { info, earlier: None, store: self.clone() })
    }

    /// What is known of a drive; looks for it if nothing is.
    pub(crate) async fn info(&self, drive: DriveId, deadline: Instant) -> Result<DriveInfo> {
        let known = match within(deadline, self.node.drives().get(drive)).await {
            Ok(info) if info.role != DriveRole::Reader => return Ok(info),
            Ok(info) => Some(info).filter(|info| info.version > 0),
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let deadline = if known.is_some() { deadline.min(Instant::now() + LOOK_TIME) } else { deadline };
        let found = within(deadline, self.search(drive)).await;
        match (found, known) {
            (Ok(info), _) => Ok(info),
            (Err(error), Some(known)) => {
                debug!(drive = %drive.fmt_short(), %error, "nobody tells of a newer version; the known one is shown");
                self.opened.insert(drive, known.clone()).await;
                Ok(known)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Everybody who waits for a drive waits for the same search. It goes on when nobody does: whoever asks next may find it
    /// done.
    async fn search(&self, drive: DriveId) -> Result<DriveInfo> {
        if let Some(info) = self.opened.get(&drive).await {
            return Ok(info);
        }
        let open = Open { link: Link::to(Target::Drive(drive)).to_string(), timeout: Some(self.patience) };
        let (node, opened) = (self.node.clone(), self.opened.clone());
        let (sender, found) = oneshot::channel();
        self.jobs.spawn(async move {
            let search = opened.try_get_with(drive, async move { node.drives().open(open).await });
            // Whoever asked may be gone by now.
            let _ = sender.send(search.await.map_err(|error| ApiError::clone(&error)));
        });
        found.await.unwrap_or_else(|_| Err(ApiError::stopped()))
    }

    async fn read_manifest(&self, site: &Site) -> Result<Manifest> {
        let content = match site.read(manifest::PATH, ReadRange::default()).await {
            Ok(content) => content,
            Err(error) if is_nothing(&error) => return Ok(Manifest::default()),
            Err(error) => return Err(error),
        };
        if content.entry.size > manifest::MAX_BYTES || content.entry.kind != EntryKind::File {
            let fault = format!("site.json is no file of at most {} bytes", manifest::MAX_BYTES);
            return Ok(Manifest::faulty(fault));
        }
        let bytes = collect(self.bodies.exactly(content.stream, content.len)).await?;
        Ok(Manifest::parse(&bytes).unwrap_or_else(|error| Manifest::faulty(error.message)))
    }
}

impl Site {
    /// The site as it was in an earlier version; whether that is kept anywhere shows when something is read.
    pub(crate) fn at(mut self, version: VersionRef) -> Self {
        self.info.version = match &version {
            VersionRef::Counter(counter) => *counter,
            VersionRef::Head(hash) => {
                let mut hasher = DefaultHasher::new();
                hash.hash(&mut hasher);
                // Counters never grow as large.
                hasher.finish() | 1 << 63
            }
        };
        self.earlier = Some(version);
        self
    }

    pub(crate) fn is_earlier(&self) -> bool {
        self.earlier.is_some()
    }

    async fn read(&self, path: &str, range: ReadRange) -> Result<Content> {
        match &self.earlier {
            None => self.store.node.drives().read(self.info.drive, path, range).await,
            Some(at) => self.store.node.history().read(self.info.drive, path, range, &at.to_string()).await,
        }
    }

    pub(crate) async fn tree(&self, query: TreeQuery) -> Result<Stream<TreeEntry>> {
        match &self.earlier {
            None => self.store.node.drives().tree(self.info.drive, query).await,
            Some(at) => self.store.node.history().tree(self.info.drive, query, &at.to_string()).await,
        }
    }

    /// What the site says about itself.
    pub(crate) async fn manifest(&self, deadline: Instant) -> Result<Arc<Manifest>> {
        let (store, info) = (&self.store, &self.info);
        let key = (info.drive, info.version);
        if let Some(known) = store.manifests.get(&key).await {
            return Ok(known);
        }
        let read = within(deadline, store.read_manifest(self)).await?;
        if let Some(fault) = &read.fault {
            debug!(drive = %info.drive.fmt_short(), fault, "a site's manifest is ignored");
        }
        let read = Arc::new(read);
        if info.version > 0 {
            store.manifests.insert(key, read.clone()).await;
        }
        Ok(read)
    }

    /// The file at a path, symlinks inside the drive followed. `None` where there is none, or a folder.
    ///
    /// With `whole` the bytes are asked for at once, as they will be wanted.
    pub(crate) async fn find(&self, path: &str, whole: bool, deadline: Instant) -> Result<Option<Found>> {
        let mut path = path.to_owned();
        for _ in 0..=MAX_LINKS {
            let Some(found) = self.find_entry(&path, whole, deadline).await? else { return Ok(None) };
            let entry = &found.file.entry;
            if entry.kind != EntryKind::Symlink {
                return Ok(Some(found));
            }
            if entry.size > MAX_TARGET_BYTES {
                return Ok(None);
            }
            let target = within(deadline, async { collect(found.read_whole().await?).await }).await?;
            let target = std::str::from_utf8(&target).ok().and_then(|target| resolve_link(&path, target));
            let Some(target) = target else { return Ok(None) };
            path = target;
        }
        Ok(None)
    }

    async fn find_entry(&self, path: &str, whole: bool, deadline: Instant) -> Result<Option<Found>> {
        let store = &self.store;
        let key = (self.info.drive, self.info.version, path.to_owned());
        if let Some(File { entry, bytes }) = store.files.get(&key).await {
            return Ok(Some(self.found(entry, Some(bytes), None)));
        }
        match store.entries.get(&key).await {
            Some(entry) if !whole || !is_small(&entry) => return Ok(Some(self.found(entry, None, None))),
            Some(_) => {}
            None if whole => {}
            None => {
                let nothing = ReadRange { start: 0, end: Some(0) };
                let content = match within(deadline, self.read(path, nothing)).await {
                    Ok(content) => content,
                    Err(error) if is_nothing(&error) => return Ok(None),
                    Err(error) => return Err(error),
                };
                let entry = Arc::new(content.entry);
                self.remember(&key, &entry).await;
                return Ok(Some(self.found(entry, None, None)));
            }
        }
        self.load(key, deadline).await
    }

    /// Reads a small file into memory; everybody who asks for it meanwhile gets the same bytes. A large one is given as the
    /// answer that was begun.
    async fn load(&self, key: Key, deadline: Instant) -> Result<Option<Found>> {
        let begun = Arc::new(Mutex::new(None));
        let work = {
            let (site, key, begun) = (self.clone(), key.clone(), begun.clone());
            async move {
                let content = site.read(&key.2, ReadRange::default()).await;
                let mut content = content.map_err(NotKept::Failed)?;
                let entry = Arc::new(content.entry.clone());
                if !is_small(&entry) {
                    site.remember(&key, &entry).await;
                    *begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(content));
                    return Err(NotKept::Large(entry));
                }
                let stream = std::mem::replace(&mut content.stream, futures::stream::empty().boxed());
                let bytes = collect(site.store.bodies.exactly(stream, content.len)).await.map_err(NotKept::Failed)?;
                Ok(File { entry, bytes })
            }
        };
        let is_version = key.1 > 0;
        let files = self.store.files.clone();
        let loaded = within(deadline, async {
            Ok(if is_version { files.try_get_with(key, work).await } else { work.await.map_err(Arc::new) })
        });
        match loaded.await? {
            Ok(File { entry, bytes }) => Ok(Some(self.found(entry, Some(bytes), None))),
            Err(why) => match &*why {
                NotKept::Large(entry) => {
                    let begun = begun.lock().unwrap_or_else(PoisonError::into_inner).take();
                    Ok(Some(self.found(entry.clone(), None, begun)))
                }
                NotKept::Failed(error) if is_nothing(error) => Ok(None),
                NotKept::Failed(error) => Err(error.clone()),
            },
        }
    }

    async fn remember(&self, key: &Key, entry: &Arc<TreeEntry>) {
        if key.1 > 0 {
            self.store.entries.insert(key.clone(), entry.clone()).await;
        }
    }

    fn found(&self, entry: Arc<TreeEntry>, memory: Option<Bytes>, pending: Option<Box<Content>>) -> Found {
        Found { file: Reader { entry, memory, site: self.clone() }, pending }
    }

    /// Has these files ready in memory before they are asked for, small ones only, several at a time.
    pub(crate) async fn warm(&self, paths: &[String], budget_bytes: u64) {
        let deadline = Instant::now() + self.store.patience;
        let used = AtomicU64::new(0);
        let used = &used;
        futures::stream::iter(paths)
            .for_each_concurrent(WARM_AT_A_TIME, |path| async move {
                if used.load(Ordering::Relaxed) >= budget_bytes {
                    return;
                }
                // What cannot be loaded now is asked for again by the page itself.
                if let Ok(Some(Found { file, .. })) = self.find(path, true, deadline).await {
                    used.fetch_add(file.memory.map_or(0, |bytes| bytes.len() as u64), Ordering::Relaxed);
                }
            })
            .await;
    }
}

impl Found {
    /// All bytes. Uses the answer that is there already.
    pub(crate) async fn read_whole(self) -> Result<Bytestream> {
        match self.pending {
            Some(content) => Ok(self.file.site.store.bodies.exactly(content.stream, content.len)),
            None => self.file.read(ReadRange::default()).await,
        }
    }
}

impl Reader {
    /// The bytes, if they are in memory.
    pub(crate) fn in_memory(&self) -> Option<&Bytes> {
        self.memory.as_ref()
    }

    /// Bytes of a range that lies within the file.
    pub(crate) async fn read(&self, range: ReadRange) -> Result<Bytestream> {
        let end = range.end.unwrap_or(self.entry.size);
        if let Some(bytes) = &self.memory {
            let span = usize::try_from(range.start).ok().zip(usize::try_from(end).ok());
            let piece = span.filter(|(start, end)| start <= end && *end <= bytes.len());
            let piece = piece.ok_or_else(|| ApiError::internal("a range lies outside of its file"))?;
            return Ok(futures::stream::iter([Ok(bytes.slice(piece.0..piece.1))]).boxed());
        }
        let Site { info, store, .. } = &self.site;
        let content = self.site.read(&self.entry.path, range).await?;
        if content.entry.hash != self.entry.hash {
            store.entries.invalidate(&(info.drive, info.version, self.entry.path.clone())).await;
            store.opened.invalidate(&info.drive).await;
            return Err(ApiError::new(ErrorKind::Conflict, "a new version was published meanwhile"));
        }
        Ok(store.bodies.exactly(content.stream, end.saturating_sub(range.start)))
    }
}

fn is_small(entry: &TreeEntry) -> bool {
    entry.kind == EntryKind::File && entry.size <= SMALL_FILE_BYTES
}

/// A folder is an invalid input, something that is not there not found: both are no file.
fn is_nothing(error: &ApiError) -> bool {
    matches!(error.kind, ErrorKind::NotFound | ErrorKind::InvalidInput)
}

/// The result of `work`, if it comes in time.
pub(crate) async fn within<T>(deadline: Instant, work: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout_at(deadline, work).await {
        Ok(done) => done,
        Err(_) => Err(ApiError::new(ErrorKind::TimedOut, "nobody sent anything in time")),
    }
}

/// All of a body whose size is bounded already.
async fn collect(mut stream: Bytestream) -> Result<Bytes> {
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all.into())
}
