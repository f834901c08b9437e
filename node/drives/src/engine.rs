//! The service every node runs for drives: what is known, served, imported, copied and looked at.

mod copies;

pub use self::copies::Following;
pub(crate) use self::copies::Prepared;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use futures::stream::BoxStream;
use p2p_identity::{ContentId, DriveId, Hints, Keystore, Link, MAX_HINT_PEERS, PeerId, SecretKey, SecretKind, Target};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::DriveError;
use crate::ahead::AheadFiles;
use crate::browse::MAX_LARGE_PIECES;
use crate::browsed::{BrowseCache, BrowseCounters, BrowseQuota, BrowseUsage};
use crate::content::Outboards;
use crate::folder::Folder;
use crate::gc::{self, Collected, Holds, Pace, StoreUsage, When, collect_garbage};
use crate::header::{Header, MAX_TITLE_BYTES, Visibility};
use crate::heads::Snapshot;
use crate::history::keep_history;
use crate::kept::KeptContent;
use crate::local_names::{MappedName, Names, Traits};
use crate::lock::lock;
use crate::loopback::Loopback;
use crate::network::{Dialer, PeerStream, Providers};
use crate::nodes::NodeStore;
use crate::publish::{Extent, Import, ImportProgress, LocalPath, Published};
use crate::registry::{Drive, DriveRow, Registry, Role};
use crate::rights::{header_of, with_own_head};
use crate::serve::{ServeCounters, Server};
use crate::signed::{Ext, Signed};
use crate::sources::{accepted_topics, announced_days, today};
use crate::store::{Cache, CacheOpened, Ledger, Packs};
use crate::topic::ReadKey;
use crate::traffic::{Flow, Traffic};
use crate::viewer::Viewers;
use crate::withheld::Withheld;

/// How often the set of announced topics is looked at; the day turns within this.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(300);
/// How long an import waits for what else is done with the folder.
const IMPORT_PATIENCE: Duration = Duration::from_secs(30);
/// Most drives served by one node (specs/drives.md, 16.4).
const MAX_DRIVES: usize = 10_000;

/// What the service needs.
pub struct DrivesConfig {
    /// This node.
    pub me: PeerId,
    /// The directory `drives/` of the home.
    pub directory: PathBuf,
    /// What would be lost for ever.
    pub ledger: Arc<dyn Ledger>,
    /// What can be made again.
    pub cache: Arc<dyn Cache>,
    /// How the cache was found.
    pub cache_opened: CacheOpened,
    /// How much of drives that are only looked at is kept on disk.
    pub browse_quota: BrowseQuota,
    /// Keys of drives.
    pub keystore: Arc<Mutex<Keystore>>,
    /// Whether the keystore is locked.
    pub locked: tokio::sync::watch::Receiver<bool>,
    /// Opens streams.
    pub dialer: Arc<dyn Dialer>,
    /// Finds peers.
    pub providers: Arc<dyn Providers>,
    /// Most bytes of copies that are kept of the content of earlier versions.
    pub history_bytes: u64,
}

/// What all parts of the service share.
pub(crate) struct Shared {
    pub(crate) me: PeerId,
    pub(crate) registry: Registry,
    pub(crate) nodes: Arc<NodeStore>,
    pub(crate) cache: Arc<dyn Cache>,
    pub(crate) outboards: Arc<Outboards>,
    /// What was read of drives that are only looked at.
    pub(crate) browsed: BrowseCache,
    pub(crate) ahead: Arc<AheadFiles>,
    pub(crate) traffic: Arc<Traffic>,
    directory: PathBuf,
    /// Content of earlier versions.
    pub(crate) kept: KeptContent,
    /// Told when a version was published.
    pub(crate) published: tokio::sync::Notify,
    /// What must not be freed although nothing leads to it.
    pub(crate) holds: Arc<Holds>,
    /// Held while the store is collected or repaired.
    pub(crate) collecting: Mutex<()>,
    pub(crate) partial_directory: PathBuf,
    pub(crate) dialer: Arc<dyn Dialer>,
    pub(crate) providers: Arc<dyn Providers>,
    pub(crate) keystore: Arc<Mutex<Keystore>>,
    locked: tokio::sync::watch::Receiver<bool>,
    decoy: ReadKey,
    changed: tokio::sync::Notify,
    folders: Mutex<HashMap<DriveId, Arc<Folder>>>,
    /// Places for large pieces that readers hold.
    pub(crate) read_ahead: Arc<tokio::sync::Semaphore>,
    /// Held while it is decided whether a folder may become a copy.
    preparing: Mutex<()>,
    pub(crate) viewers: Viewers,
    /// Drives that are kept in step with other writers; each stops when its entry goes.
    pub(crate) syncers: Mutex<HashMap<DriveId, DropGuard>>,
    pub(crate) events: tokio::sync::broadcast::Sender<DriveEvent>,
}

/// What is known of a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveStatus {
    /// The drive.
    pub id: DriveId,
    /// Its link, with addresses of this node.
    pub link: Link,
    /// The folder it is shared from or copied to.
    pub folder: Option<PathBuf>,
    /// What this node does for it.
    pub role: Role,
    /// The owner's counter; 0 before the first version.
    pub version: u64,
    /// Hash of that version's head.
    pub head: Option<ContentId>,
    /// Files in that version.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Peers with a session for it.
    pub peers: usize,
    /// Whether all of that version is here.
    pub complete: bool,
    /// What the owner calls it.
    pub title: String,
    /// Whether edits in a copy's folder go back to the drive.
    pub syncs: bool,
    /// Newer versions that exist and that nobody here offers.
    pub withheld: Vec<Withheld>,
}

/// What happened to drives; told to whoever listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriveEvent {
    /// A version stands.
    Head {
        /// The drive.
        drive: DriveId,
        /// The owner's counter.
        version: u64,
    },
    /// A copy is complete.
    Copied {
        /// The drive.
        drive: DriveId,
        /// The owner's counter.
        version: u64,
    },
    /// A drive is no longer served here.
    Removed {
        /// The drive.
        drive: DriveId,
    },
}

/// The service. Cheap to clone; stops when the last clone is dropped or [`Drives::stop`] was called.
#[derive(Clone)]
pub struct Drives {
    shared: Arc<Shared>,
    server: Arc<Server>,
    stop: CancellationToken,
    /// Ends with the last clone.
    pub(crate) alive: CancellationToken,
    _announcer: Arc<DropGuard>,
}

impl Drives {
    /// Opens the stores and starts announcing. The second value says in sentences what was recovered.
    ///
    /// # Errors
    /// The ledger or the packs cannot be read.
    pub fn open(config: DrivesConfig) -> Result<(Self, Vec<String>), DriveError> {
        let DrivesConfig {
            me,
            directory,
            ledger,
            cache,
            cache_opened,
            browse_quota,
            keystore,
            locked,
            dialer,
            providers,
            history_bytes,
        } = config;
        std::fs::create_dir_all(&directory).map_err(DriveError::io(format!("make {}", directory.display())))?;
        check_version(&directory)?;
        let (packs, recovery) = Packs::open(&directory.join("packs"))?;
        let (registry, mut notices) = Registry::open(ledger)?;
        if recovery.cut_bytes > 0 {
            notices.push(format!("an unfinished write of {} bytes was cut off", recovery.cut_bytes));
        }
        let nodes = Arc::new(NodeStore::new(packs, cache.clone()));
        if cache_opened != CacheOpened::Kept {
            let count = crate::repair::adopt_packs(&nodes)?;
            let what = match &cache_opened {
                CacheOpened::Rebuilt { moved_to, reason } => {
                    Some(format!("the cache was damaged ({reason}) and lies in {}", moved_to.display()))
                }
                // The very first start has no packs either.
                _ => (count > 0).then(|| "the cache was gone".to_owned()),
            };
            notices.extend(what.map(|what| {
                format!(
                    "{what}; {count} index nodes were found again, and the shared folders are read again. To check \
                         everything: p2p repair"
                )
            }));
        }
        let mut decoy = [0; 32];
        getrandom::fill(&mut decoy).map_err(|error| DriveError::Corrupt(error.to_string()))?;
        let (events, _) = tokio::sync::broadcast::channel(256);
        let loopback = Arc::new(Loopback::new(me, dialer));
        let browsed = BrowseCache::open(&directory.join("browsed"), cache.clone(), browse_quota)?;
        let shared = Arc::new(Shared {
            me,
            registry,
            nodes,
            cache,
            outboards: Arc::new(Outboards::new(directory.join("outboards"))),
            browsed,
            ahead: Arc::default(),
            traffic: Arc::default(),
            directory: directory.clone(),
            kept: KeptContent::new(directory.join("blobs"), history_bytes),
            published: tokio::sync::Notify::new(),
            holds: Arc::default(),
            collecting: Mutex::default(),
            partial_directory: directory.join("partial"),
            dialer: loopback.clone(),
            providers,
            keystore,
            locked,
            decoy: ReadKey::of_public(&DriveId::from(decoy)),
            changed: tokio::sync::Notify::new(),
            folders: Mutex::default(),
            read_ahead: Arc::new(tokio::sync::Semaphore::new(MAX_LARGE_PIECES)),
            preparing: Mutex::default(),
            viewers: Viewers::default(),
            syncers: Mutex::default(),
            events,
        });
        let server = Arc::new(Server::new(shared.clone()));
        loopback.serve_with(&server);
        let stop = CancellationToken::new();
        let guard = stop.child_token();
        tokio::spawn(announce(shared.clone(), guard.clone()));
        tokio::spawn(keep_history(shared.clone(), guard.clone()));
        tokio::spawn(collect_garbage(shared.clone(), guard.clone()));
        let alive = guard.clone();
        let drives = Self { shared, server, stop, alive, _announcer: Arc::new(guard.drop_guard()) };
        drives.start_syncers();
        Ok((drives, notices))
    }

    /// Stops announcing and serving.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// What happens from now on.
    pub fn events(&self) -> tokio::sync::broadcast::Receiver<DriveEvent> {
        self.shared.events.subscribe()
    }

    /// What may grow here: its name, how much it holds, the most that it will hold.
    pub fn rooms(&self) -> [(&'static str, usize, usize); 4] {
        let shared = &self.shared;
        [
            ("drives", shared.registry.all().len(), MAX_DRIVES),
            shared.registry.readers_room(),
            self.server.sessions_room(),
            shared.traffic.room(),
        ]
    }

    /// The same of what is counted in bytes.
    pub fn byte_rooms(&self) -> [(&'static str, usize, usize); 2] {
        self.shared.nodes.rooms()
    }

    /// Counters of the serving side.
    pub fn counters(&self) -> &ServeCounters {
        &self.server.counters
    }

    /// Counters of the cache of browsed drives.
    pub fn browse_counters(&self) -> &BrowseCounters {
        &self.shared.browsed.counters
    }

    /// What is kept of drives that are only looked at. Blocks.
    pub fn browse_usage(&self) -> BrowseUsage {
        self.shared.browsed.usage()
    }

    /// What has travelled since the start, by peer and drive.
    pub fn traffic(&self) -> Vec<Flow> {
        self.shared.traffic.flows()
    }

    /// Bytes of index nodes, proofs and unfinished transfers of drives in folders. Looks at every file: blocks.
    pub fn index_bytes(&self) -> u64 {
        let of = |name| crate::browsed::bytes_under(&self.shared.directory.join(name));
        of("packs") + of("outboards") + of("partial")
    }

    /// What the store holds of drives in folders, and for which. Blocks.
    ///
    /// # Errors
    /// The disk failed.
    pub fn store_usage(&self) -> Result<StoreUsage, DriveError> {
        gc::usage(&self.shared, &Pace::brisk(self.stop.clone()))
    }

    /// Frees what no version needs any more, except what is in use. It also happens by itself, an hour after something
    /// was dropped. Dropped midway, it goes on in the background.
    ///
    /// # Errors
    /// The disk failed, or a drive was taken up again meanwhile.
    pub async fn collect(&self) -> Result<Collected, DriveError> {
        let (shared, pace) = (self.shared.clone(), Pace::brisk(self.stop.clone()));
        tokio::task::spawn_blocking(move || gc::collect(&shared, When::Now, &pace)).await?
    }

    /// Frees what is kept of drives that are only looked at: of one, or of all. Returns how many drives and bytes that
    /// were. Reading goes on from peers. Cancel safe.
    pub async fn free_browsed(&self, which: Option<DriveId>) -> (u64, u64) {
        let freed = self.shared.browsed.free(which).await;
        // What is in memory would never be fetched, and so never be kept again.
        self.shared.nodes.forget_browsed();
        for viewer in lock(&self.shared.viewers).values() {
            viewer.forget_along();
        }
        freed
    }

    /// Waits until everything that was read so far is on disk, or was given up.
    pub async fn settle_browsed(&self) {
        self.shared.browsed.settle().await;
    }

    /// Serves a stream that a peer opened, to its end.
    pub async fn serve(&self, peer: PeerId, stream: PeerStream) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.server.serve(peer, stream) => {}
        }
    }

    /// Drives that are shared, mirrored or looked at.
    pub fn list(&self) -> Vec<DriveStatus> {
        let mut all: Vec<DriveStatus> =
            self.shared.registry.all_active().into_iter().map(|drive| self.status_of(&drive)).collect();
        all.sort_by(|a, b| (a.folder.as_ref(), a.id).cmp(&(b.folder.as_ref(), b.id)));
        all
    }

    /// One drive.
    ///
    /// # Errors
    /// It is not known here.
    pub fn status(&self, id: &DriveId) -> Result<DriveStatus, DriveError> {
        let drive = self.known(id)?;
        Ok(self.status_of(&drive))
    }

    /// Names that lie otherwise in a drive's folder than they are called in the drive, by path. Blocks.
    ///
    /// # Errors
    /// It is not known here, or the disk failed.
    pub fn local_names(&self, id: &DriveId) -> Result<Vec<MappedName>, DriveError> {
        let drive = self.known(id)?;
        let state = drive.state();
        if state.row.folder.is_none() {
            return Ok(Vec::new());
        }
        let folder = self.shared.folder_of(&drive)?;
        if state.row.role == Role::Mirror {
            folder.names().prepare(&folder, state.at.as_ref(), &self.shared.nodes)?;
        }
        Ok(folder.names().list())
    }

    /// Makes a drive for a folder, or finds the one it has: the same folder always gives the same drive. On disk when
    /// this returns. Blocks.
    ///
    /// # Errors
    /// The folder belongs to a copy of another drive, or the disk failed.
    pub fn create(&self, folder: Option<&Path>, title: &str) -> Result<DriveStatus, DriveError> {
        if let Some(drive) = folder.and_then(|folder| self.shared.registry.of_folder(folder)) {
            let state = drive.state();
            if state.row.role != Role::Owner {
                let path = folder.map(Path::to_owned).unwrap_or_default();
                return Err(DriveError::FolderTaken { path, drive: drive.id });
            }
            if !state.row.active {
                let row = DriveRow { active: true, ..state.row };
                self.shared.registry.store(&drive, row, state.at)?;
                self.shared.changed.notify_waiters();
            }
            return Ok(self.status_of(&drive));
        }
        if self.shared.registry.all().len() >= MAX_DRIVES {
            return Err(DriveError::Invalid(format!("this node has {MAX_DRIVES} drives, its limit")));
        }
        let mut title = title.to_owned();
        while title.len() > MAX_TITLE_BYTES {
            title.pop();
        }
        let key = SecretKey::generate();
        let id = DriveId::from(key.public());
        let created_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        let header =
            Header { drive: id, visibility: Visibility::Public, title: title.clone(), created_ms, ext: Ext::default() };
        let header = Signed::sign(&header, &key).map_err(|error| DriveError::Corrupt(error.to_string()))?;
        // The key first: a row without a key would be a drive that nobody can write to.
        lock(&self.shared.keystore).insert(SecretKind::DRIVE, id.as_bytes(), &key)?;
        let mut row = DriveRow::new(Role::Owner, folder, title);
        row.header = header.as_bytes().to_vec();
        row.complete = true;
        let drive = self.shared.registry.insert(id, row)?;
        // Its key is new: nobody has anything of it.
        drive.knows_own_head.store(true, Ordering::Relaxed);
        Ok(self.status_of(&drive))
    }

    /// Stops sharing, mirroring or remembering a drive. Its folder and its key stay.
    ///
    /// # Errors
    /// It is not known here.
    pub fn remove(&self, id: &DriveId) -> Result<Option<PathBuf>, DriveError> {
        let drive = self.known(id)?;
        let state = drive.state();
        if state.row.role == Role::Reader {
            self.shared.registry.forget_reader(id);
        }
        let folder = state.row.folder_path();
        let row = DriveRow { active: false, ..state.row };
        self.shared.registry.store(&drive, row, state.at)?;
        lock(&self.shared.syncers).remove(id);
        lock(&self.shared.folders).remove(id);
        self.shared.changed.notify_waiters();
        let _ = self.shared.events.send(DriveEvent::Removed { drive: *id });
        Ok(folder)
    }

    /// Makes a new version of an owned drive from its folder. `paths` name everything there is, in index order, or with
    /// [`Extent::Part`] what is to be looked at. Durable when this returns. Dropped midway, nothing is published.
    ///
    /// The first version after a start waits up to 5 s for peers that may have newer ones of this node's own, see
    /// [`DriveError::Behind`]; where nothing changed it waits for nobody.
    ///
    /// # Errors
    /// The drive is not owned here, is being imported already, or the disk failed; or the folder has just changed and is
    /// to be gone through again.
    pub async fn import(
        &self,
        id: &DriveId,
        mut paths: BoxStream<'static, Result<LocalPath, DriveError>>,
        extent: Extent,
        message: String,
        progress: Arc<ImportProgress>,
    ) -> Result<Published, DriveError> {
        let drive = self.known(id)?;
        let work = tokio::time::timeout(IMPORT_PATIENCE, drive.work.clone().lock_owned()).await;
        let work = work.map_err(|_| DriveError::Busy)?;
        let author = self.shared.author_of(&drive)?;
        let state = drive.state();
        if state.row.role == Role::Mirror && !state.row.complete {
            // What is not here yet would pass for deleted.
            return Err(DriveError::Busy);
        }
        let path = state.row.folder_path().ok_or_else(|| DriveError::Invalid("this drive has no folder".into()))?;
        let writing = self.shared.holds.writing();
        let folder = Folder::open(&path).map_err(DriveError::io(format!("open {}", path.display())))?;
        let named = Folder::open(&path).map_err(DriveError::io(format!("open {}", path.display())))?;
        let named = Arc::new(named.with_names(self.shared.names_of(&drive)?));
        let asking = self.ask_for_own_head(&drive, author.writer)?;
        // What its own file system makes of modes and times is nobody's edit where others write too.
        let is_shared = state.row.role == Role::Mirror || state.at.as_ref().is_some_and(|at| at.set.is_some());
        let (shared, looking, at) = (self.shared.clone(), named.clone(), state.at.clone());
        let traits = tokio::task::spawn_blocking(move || {
            if is_shared {
                looking.names().prepare(&looking, at.as_ref(), &shared.nodes)?;
            }
            Ok::<_, DriveError>(looking.names().known_traits())
        });
        let traits = traits.await??.unwrap_or_else(|| Arc::new(Traits::ALL));
        let import = Import {
            drive: *id,
            author,
            folder: Arc::new(folder),
            named,
            traits,
            nodes: self.shared.nodes.clone(),
            cache: self.shared.cache.clone(),
            outboards: self.shared.outboards.clone(),
            old: state.at.clone(),
            old_files: state.row.files,
            header: header_of(&state),
            absent: state.row.absent.iter().cloned().collect(),
            message,
            progress,
        };
        let (tx, mut rx) = mpsc::channel::<Vec<LocalPath>>(4);
        // Also when this future is dropped: the hold ends with the work.
        let build = tokio::task::spawn_blocking(move || {
            let built = match extent {
                Extent::Everything => import.run(|| rx.blocking_recv()),
                Extent::Part => import.run_part(|| rx.blocking_recv()),
            };
            (built, work, writing)
        });
        let feed = feed(&mut paths, tx).await;
        let (built, work, writing) = build.await?;
        let built = built?;
        feed?;
        if built.head.is_some() {
            self.continue_above(&drive, asking).await?;
        }
        let mut version = state.at.as_ref().map_or(0, Snapshot::version);
        if let Some(head) = &built.head {
            let (shared, drive, head) = (self.shared.clone(), drive.clone(), head.clone());
            let (files, before) = (built.files, state.at);
            let stored = tokio::task::spawn_blocking(move || {
                let at = with_own_head(&shared, &drive.id, before.as_ref(), head)?;
                let version = at.version();
                let row = DriveRow { files, complete: true, ..drive.state().row };
                shared.registry.store(&drive, row, Some(at))?;
                drop((work, writing));
                Ok::<_, DriveError>(version)
            });
            version = stored.await??;
        }
        let published = Published {
            version,
            files: built.files,
            bytes: built.bytes,
            changed: built.head.is_some(),
            left_out: built.left_out,
        };
        self.shared.changed.notify_waiters();
        // One permit stays where nobody waits: what was published meanwhile is looked at next.
        self.shared.published.notify_one();
        let _ = self.shared.events.send(DriveEvent::Head { drive: *id, version });
        Ok(published)
    }

    pub(crate) fn known(&self, id: &DriveId) -> Result<Arc<Drive>, DriveError> {
        self.shared.registry.active(id).ok_or(DriveError::UnknownDrive(*id))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn status_of(&self, drive: &Drive) -> DriveStatus {
        let state = drive.state();
        let (version, bytes) = state.at.as_ref().map_or((0, 0), |at| (at.version(), at.bytes));
        let mut link = Link::to(Target::Drive(drive.id));
        // Only where this node has something to give.
        if state.row.role != Role::Reader {
            link.hints = self.hints();
        }
        DriveStatus {
            id: drive.id,
            link,
            folder: state.row.folder_path(),
            role: state.row.role,
            version,
            head: state.at.as_ref().map(|at| at.head.hash()),
            files: state.row.files,
            bytes,
            peers: self.server.peers_of(&drive.id),
            complete: state.row.complete && state.at.is_some(),
            title: state.row.title,
            syncs: state.row.syncs,
            withheld: state.at.as_ref().map(Snapshot::withheld).unwrap_or_default(),
        }
    }

    fn hints(&self) -> Hints {
        let mut peers = self.shared.dialer.own_addresses();
        peers.truncate(MAX_HINT_PEERS);
        // It leads to the first of them.
        let relay = self.shared.dialer.own_relay().filter(|_| !peers.is_empty());
        Hints { peers, relay }
    }
}

impl Shared {
    /// Resolves when the keys are not locked.
    pub(crate) async fn unlocked(&self) -> Result<(), DriveError> {
        let unlocked = self.locked.clone().wait_for(|locked| !locked).await.map(drop);
        unlocked.map_err(|_| DriveError::Stopped)
    }

    /// The set of served drives changed: announce again.
    pub(crate) fn changed(&self) {
        self.changed.notify_waiters();
    }

    /// A drive that is served: active, with a version and a folder or nodes.
    pub(crate) fn served(&self, id: &DriveId) -> Option<Arc<Drive>> {
        self.registry.get(id).filter(|drive| is_served(drive))
    }

    /// The served drive that a topic of these days belongs to.
    pub(crate) fn drive_of_topic(&self, topic: &[u8; 32]) -> Option<Arc<Drive>> {
        let has_it = |drive: &Arc<Drive>| accepted_topics(drive).iter().any(|known| known.as_bytes() == topic);
        self.registry.all().into_iter().filter(|drive| is_served(drive)).find(has_it)
    }

    /// A key that belongs to nothing; see [`Server`].
    pub(crate) fn decoy_key(&self) -> ReadKey {
        self.decoy.clone()
    }

    /// The folder of a drive, opened once.
    pub(crate) fn folder_of(&self, drive: &Drive) -> Result<Arc<Folder>, DriveError> {
        if let Some(folder) = lock(&self.folders).get(&drive.id) {
            return Ok(folder.clone());
        }
        let path = drive.state().row.folder_path().ok_or(DriveError::UnknownDrive(drive.id))?;
        let folder = Folder::open(&path).map_err(DriveError::io(format!("open {}", path.display())))?;
        let folder = Arc::new(folder.with_names(self.names_of(drive)?));
        lock(&self.folders).insert(drive.id, folder.clone());
        Ok(folder)
    }

    /// Where the paths of a drive lie in its folder.
    pub(crate) fn names_of(&self, drive: &Drive) -> Result<Arc<Names>, DriveError> {
        if drive.state().row.role != Role::Reader {
            self.registry.load_names(drive)?;
        }
        Ok(drive.names.clone())
    }
}

fn is_served(drive: &Drive) -> bool {
    let state = drive.state();
    let has_some = state.at.is_some() || drive.incoming.borrow().is_some();
    state.row.active && state.row.role != Role::Reader && has_some
}

/// The drive a link is to.
pub(crate) fn drive_of(link: &Link) -> Result<DriveId, DriveError> {
    match link.target {
        Target::Drive(id) => Ok(id),
        Target::Snapshot(_) | Target::Blob(_) | Target::WriterInvitation(_) => {
            Err(DriveError::Unsupported("links to snapshots, blobs and invitations come with a later version".into()))
        }
    }
}

/// Hands paths over in batches; stops when the import has failed.
async fn feed(
    paths: &mut BoxStream<'static, Result<LocalPath, DriveError>>,
    tx: mpsc::Sender<Vec<LocalPath>>,
) -> Result<(), DriveError> {
    /// Paths handed over together.
    const BATCH: usize = 2_048;
    let mut batch = Vec::new();
    while let Some(path) = paths.next().await {
        batch.push(path?);
        if batch.len() == BATCH && tx.send(std::mem::take(&mut batch)).await.is_err() {
            return Ok(());
        }
    }
    if !batch.is_empty() {
        let _ = tx.send(batch).await;
    }
    Ok(())
}

/// Announces the topics of the drives that are served, and withdraws what is no longer due.
async fn announce(shared: Arc<Shared>, stop: CancellationToken) {
    let spread = u64::from_be_bytes(shared.decoy.topic(0).as_bytes()[..8].try_into().unwrap_or_default());
    let mut announced: HashSet<[u8; 32]> = HashSet::new();
    loop {
        let changed = shared.changed.notified();
        let (day, seconds) = today();
        let mut wanted = HashSet::new();
        for drive in shared.registry.all().into_iter().filter(|drive| is_served(drive)) {
            wanted
                .extend(announced_days(day, seconds, spread).into_iter().map(|d| *drive.read_key.topic(d).as_bytes()));
        }
        for gone in announced.difference(&wanted) {
            shared.providers.withdraw(*gone).await;
        }
        for new in wanted.difference(&announced) {
            shared.providers.announce(*new).await;
        }
        announced = wanted;
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed => {}
            () = tokio::time::sleep(ANNOUNCE_EVERY) => {}
        }
    }
}

/// The format of `drives/`; a newer one is refused.
fn check_version(directory: &Path) -> Result<(), DriveError> {
    /// What this program writes.
    const VERSION: u32 = 1;
    let path = directory.join("VERSION");
    match std::fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(found) if found <= VERSION => Ok(()),
            Ok(found) => Err(DriveError::Unsupported(format!(
                "{} has format {found}, this program knows {VERSION}: update p2pnode",
                directory.display()
            ))),
            Err(_) => Err(DriveError::Corrupt(format!("{} holds no format number", path.display()))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::write(&path, format!("{VERSION}\n")).map_err(DriveError::io(format!("write {}", path.display())))
        }
        Err(error) => Err(DriveError::io(format!("read {}", path.display()))(error)),
    }
}
