//! A drive that is looked at and not held: its peers, its newest version and what came along with them, kept for as long
//! as somebody looks, so that the second look costs one round trip and a new version is noticed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use p2p_identity::{ContentId, DriveId, Hints, PeerId};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::DriveError;
use crate::bulk::Touched;
use crate::engine::{DriveEvent, Shared};
use crate::gather::gather;
use crate::head::HeadEnvelope;
use crate::heads::Snapshot;
use crate::index::Keep;
use crate::items::Got;
use crate::lock::lock;
use crate::mirror::{Worth, worth_of};
use crate::registry::Drive;
use crate::session::{FetchError, Opened, Session};
use crate::sources::{Sources, Wanted};

/// How long peers are kept after the last look.
const KEEP: Duration = Duration::from_secs(120);
/// How often the state of the sessions is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long a look goes on when every peer that is there has said that it lacks something.
const LACKING: Duration = Duration::from_secs(5);
/// Between two questions for the heads of other writers.
const ASK_PAUSE: Duration = Duration::from_millis(100);
/// How long a busy peer is left alone.
const BUSY: Duration = Duration::from_millis(200);
/// How long peers are waited for before a version that was seen earlier is good enough.
const PEERS_FIRST: Duration = Duration::from_secs(3);
/// How long something is waited for that may come along before it is asked for.
const ALONG_PATIENCE: Duration = Duration::from_secs(2);
/// Most bytes of content of one drive that came along unasked.
const MAX_ALONG_BYTES: usize = 4 * 1024 * 1024;

/// The look at one drive.
pub(crate) struct Viewer {
    drive: Arc<Drive>,
    sources: Arc<Sources>,
    sessions: Mutex<Vec<Arc<Session>>>,
    /// Counts changes of the sessions and of the version.
    changes: watch::Sender<u64>,
    at: Mutex<Option<Snapshot>>,
    used: Mutex<Instant>,
    along: Mutex<Along>,
    pub(crate) touched: Touched,
}

/// Small content that came with the answers to `Open`, the oldest leaving first. Its hashes were checked.
#[derive(Default)]
struct Along {
    blobs: HashMap<ContentId, Bytes>,
    order: VecDeque<ContentId>,
    bytes: usize,
    /// Answers that are still coming in.
    coming: usize,
}

impl Along {
    fn insert(&mut self, hash: ContentId, bytes: Bytes) {
        let len = bytes.len();
        if self.blobs.insert(hash, bytes).is_none() {
            self.order.push_back(hash);
            self.bytes += len;
        }
        while self.bytes > MAX_ALONG_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.blobs.remove(&oldest).map_or(0, |bytes| bytes.len());
        }
    }
}

impl Viewer {
    /// The look at a drive that goes on already, or a new one.
    pub(crate) fn of(shared: &Arc<Shared>, drive: &Arc<Drive>, hints: &Hints, path: Option<Vec<u8>>) -> Arc<Self> {
        let mut viewers = lock(&shared.viewers);
        if let Some(viewer) = viewers.get(&drive.id) {
            viewer.touch();
            shared.browsed.touch(&drive.id);
            viewer.sources.add_hints(hints);
            return viewer.clone();
        }
        let wanted = Wanted { path, prefetch: true, from_others: false };
        let (sources, opened) = Sources::start(shared.clone(), drive.clone(), hints, wanted);
        let viewer = Arc::new(Self {
            drive: drive.clone(),
            sources,
            sessions: Mutex::default(),
            changes: watch::Sender::new(0),
            at: Mutex::default(),
            used: Mutex::new(Instant::now()),
            along: Mutex::default(),
            touched: Touched::default(),
        });
        viewers.insert(drive.id, viewer.clone());
        drop(viewers);
        shared.browsed.touch(&drive.id);
        tokio::spawn(viewer.clone().tend(Arc::downgrade(shared), opened));
        viewer
    }

    /// The newest version that any peer has shown; where none does soon, the one that was seen last and is kept here.
    ///
    /// # Errors
    /// Nobody has shown one in time, and none is kept.
    pub(crate) async fn head(&self, shared: &Arc<Shared>, patience: Duration) -> Result<HeadEnvelope, DriveError> {
        Ok(self.snapshot(shared, patience).await?.head)
    }

    /// The newest state that peers have shown; where none does soon, the one that was seen last.
    ///
    /// # Errors
    /// As for [`Self::head`].
    pub(crate) async fn snapshot(&self, shared: &Arc<Shared>, patience: Duration) -> Result<Snapshot, DriveError> {
        let soon = patience.min(PEERS_FIRST);
        if let Ok(at) = self.state_of_peers(soon).await {
            // What was kept may have been freed in the meantime.
            if !shared.browsed.has_head(&self.drive.id) {
                shared.browsed.keep_head(&at.head);
            }
            return Ok(at);
        }
        let (of, drive) = (shared.clone(), self.drive.id);
        if let Some(kept) = tokio::task::spawn_blocking(move || of.browsed.head(&drive)).await? {
            self.on_state(shared, None, kept.into());
        }
        self.state_of_peers(patience.saturating_sub(soon)).await
    }

    /// The newest state that any peer has shown.
    ///
    /// # Errors
    /// Nobody has shown one in time.
    pub(crate) async fn state_of_peers(&self, patience: Duration) -> Result<Snapshot, DriveError> {
        self.touch();
        let deadline = Instant::now() + patience;
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            if let Some(at) = lock(&self.at).clone() {
                return Ok(at);
            }
            if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                return Err(DriveError::NoPeers(self.sources.report()));
            }
        }
    }

    /// Forgets content that came along, so that it is fetched, and kept on disk, again.
    pub(crate) fn forget_along(&self) {
        let mut along = lock(&self.along);
        *along = Along { coming: along.coming, ..Along::default() };
    }

    /// Content that came along, if it did. While an answer comes in that may hold it, that is waited for: asking would
    /// take another round trip.
    pub(crate) async fn along(&self, hash: &ContentId) -> Option<Bytes> {
        let deadline = Instant::now() + ALONG_PATIENCE;
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            {
                let along = lock(&self.along);
                if let Some(bytes) = along.blobs.get(hash) {
                    return Some(bytes.clone());
                }
                if along.coming == 0 {
                    return None;
                }
            }
            tokio::time::timeout_at(deadline, changes.changed()).await.ok()?.ok()?;
        }
    }

    /// Asks one peer after the other until one answers well.
    ///
    /// # Errors
    /// None did in time, or our own disk failed.
    pub(crate) async fn ask<T, F>(
        &self,
        patience: Duration,
        request: impl Fn(Arc<Session>) -> F,
    ) -> Result<T, DriveError>
    where
        F: Future<Output = Result<T, FetchError>>,
    {
        let begun = Instant::now();
        let mut deadline = begun + patience;
        let mut changes = self.changes.subscribe();
        let mut lacking: HashSet<PeerId> = HashSet::new();
        let mut last = None;
        loop {
            self.touch();
            changes.borrow_and_update();
            let next = self.live().into_iter().find(|session| !lacking.contains(&session.peer));
            let Some(session) = next else {
                if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                    let last = last.map(|error: FetchError| format!("; last: {error}")).unwrap_or_default();
                    return Err(DriveError::Stalled(format!("{}{last}", self.sources.report())));
                }
                continue;
            };
            match request(session.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(FetchError::Local(error)) => return Err(error),
                Err(error) => {
                    tracing::debug!(peer = %session.peer, %error, "asked in vain");
                    match &error {
                        FetchError::Busy => tokio::time::sleep(BUSY).await,
                        FetchError::NotFound | FetchError::Stale => {
                            lacking.insert(session.peer);
                            deadline = deadline.min(begun + LACKING);
                        }
                        error => self.end(&session, error.is_fault()),
                    }
                    last = Some(error);
                }
            }
        }
    }

    fn live(&self) -> Vec<Arc<Session>> {
        lock(&self.sessions).iter().filter(|session| !session.is_ended()).cloned().collect()
    }

    fn end(&self, session: &Arc<Session>, is_fault: bool) {
        session.end();
        lock(&self.sessions).retain(|known| !Arc::ptr_eq(known, session));
        if is_fault {
            self.sources.ban(session.peer);
        } else {
            self.sources.on_ended(session);
        }
    }

    fn touch(&self) {
        *lock(&self.used) = Instant::now();
    }

    /// Takes in sessions and versions until nobody has looked for a while.
    async fn tend(self: Arc<Self>, shared: std::sync::Weak<Shared>, mut opened: mpsc::Receiver<Opened>) {
        let mut announced = self.sources.announced();
        let mut others = self.sources.others_announced();
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                next = opened.recv() => {
                    let (Some(next), Some(shared)) = (next, shared.upgrade()) else { break };
                    self.on_opened(&shared, next).await;
                }
                changed = announced.changed() => {
                    let Some(shared) = shared.upgrade().filter(|_| changed.is_ok()) else { break };
                    let head = announced.borrow_and_update().clone();
                    if let Some((peer, head)) = head
                        && let Some(session) = self.live().into_iter().find(|session| session.peer == peer)
                    {
                        self.on_heads(&shared, session, vec![head]).await;
                    }
                }
                changed = others.changed() => {
                    let Some(shared) = shared.upgrade().filter(|_| changed.is_ok()) else { break };
                    others.borrow_and_update();
                    for session in self.live() {
                        tokio::spawn(self.clone().ask_for_heads(shared.clone(), session));
                    }
                    // However many are announced, peers are asked so often at most.
                    tokio::time::sleep(ASK_PAUSE).await;
                }
                _ = tick.tick() => {
                    let ended: Vec<_> =
                        lock(&self.sessions).iter().filter(|session| session.is_ended()).cloned().collect();
                    for session in ended {
                        self.end(&session, false);
                    }
                    let is_idle = lock(&self.used).elapsed() > KEEP;
                    if is_idle {
                        break;
                    }
                }
            }
        }
        if let Some(shared) = shared.upgrade() {
            lock(&shared.viewers).remove(&self.drive.id);
        }
    }

    async fn on_opened(self: &Arc<Self>, shared: &Arc<Shared>, opened: Opened) {
        let Opened { session, heads, nodes, blob, more } = opened;
        // It may be behind what others have shown; alone it is of no use, and one that shows nothing never is.
        let worth = worth_of(&self.drive, &heads);
        if lock(&self.at).is_none() {
            match worth {
                Worth::Nothing => return self.sources.ban(session.peer),
                Worth::Older => return self.sources.on_behind(session.peer),
                Worth::Good => {}
            }
        }
        // The version last: whoever waits for it finds here what came with it.
        if let Some((hash, bytes)) = blob {
            self.keep_along(shared, hash, bytes);
        }
        let nodes = nodes.into_iter().map(|(id, bytes)| (ContentId::from(*id.as_bytes()), bytes));
        shared.browsed.keep_small(&self.drive.id, nodes.collect());
        if let Some(more) = more {
            lock(&self.along).coming += 1;
            tokio::spawn(self.clone().take_more(shared.clone(), session.clone(), more));
        }
        lock(&self.sessions).push(session.clone());
        self.on_heads(shared, session, heads).await;
        self.changes.send_modify(|count| *count += 1);
    }

    fn keep_along(&self, shared: &Shared, hash: ContentId, bytes: Bytes) {
        shared.browsed.keep_blob(&self.drive.id, hash, bytes.clone());
        lock(&self.along).insert(hash, bytes);
    }

    /// Takes in the rest of an answer as it comes.
    async fn take_more(
        self: Arc<Self>,
        shared: Arc<Shared>,
        session: Arc<Session>,
        mut more: mpsc::Receiver<Result<Got, FetchError>>,
    ) {
        while let Some(item) = more.recv().await {
            match item {
                Ok(Got::Blob(hash, bytes)) => self.keep_along(&shared, hash, bytes),
                Ok(Got::Node(id, bytes)) => shared.nodes.browse(id, bytes),
                Ok(Got::Head(head)) => self.on_heads(&shared, session.clone(), vec![*head]).await,
                Ok(Got::Change(_) | Got::End) => {}
                Err(error) => {
                    tracing::debug!(peer = %session.peer, %error, "an answer broke off");
                    self.end(&session, error.is_fault());
                }
            }
            self.changes.send_modify(|count| *count += 1);
        }
        lock(&self.along).coming -= 1;
        self.changes.send_modify(|count| *count += 1);
    }

    /// Takes in what a peer shows. Where the owner alone writes that needs no question and is done when this returns.
    async fn on_heads(self: &Arc<Self>, shared: &Arc<Shared>, session: Arc<Session>, heads: Vec<HeadEnvelope>) {
        let work = self.clone().take_heads(shared.clone(), session, heads.clone());
        let is_plain = heads.iter().all(|head| head.body().writer_set.is_none() && head.body().is_by_owner());
        if is_plain { work.await } else { drop(tokio::spawn(work)) }
    }

    async fn ask_for_heads(self: Arc<Self>, shared: Arc<Shared>, session: Arc<Session>) {
        match session.heads().await {
            Ok(heads) => self.take_heads(shared, session, heads).await,
            Err(error) => tracing::debug!(peer = %session.peer, %error, "no heads"),
        }
    }

    async fn take_heads(self: Arc<Self>, shared: Arc<Shared>, session: Arc<Session>, heads: Vec<HeadEnvelope>) {
        loop {
            let known = lock(&self.at).clone();
            let found =
                gather(&shared, &self.drive.id, &session, heads.clone(), known.as_ref(), Keep::Browsed(self.drive.id))
                    .await;
            match found {
                Ok(None) => return,
                Ok(Some(at)) => {
                    // Another peer's news may have come meanwhile: then both together.
                    if self.on_state(&shared, known.as_ref(), at) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(peer = %session.peer, %error, "the state of the drive cannot be had");
                    if error.is_fault() {
                        self.end(&session, true);
                    }
                    return;
                }
            }
        }
    }

    /// False where the state is no longer the one that the new one was made from.
    fn on_state(&self, shared: &Shared, before: Option<&Snapshot>, at: Snapshot) -> bool {
        let version = at.version();
        {
            let mut newest = lock(&self.at);
            if newest.as_ref() != before {
                return false;
            }
            *newest = Some(at.clone());
        }
        shared.browsed.keep_head(&at.head);
        let mut row = self.drive.state().row;
        row.files = at.files();
        row.active = true;
        if let Err(error) = shared.registry.store(&self.drive, row, Some(at)) {
            tracing::warn!(drive = %self.drive.id, %error, "a version that is looked at cannot be kept");
        }
        self.changes.send_modify(|count| *count += 1);
        let _ = shared.events.send(DriveEvent::Head { drive: self.drive.id, version });
        true
    }
}

/// Looks that go on, by drive.
pub(crate) type Viewers = Mutex<HashMap<DriveId, Arc<Viewer>>>;
