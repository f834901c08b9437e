//! From a drive to a folder: plan what is missing, fetch it from all peers there are, place it, make it durable
//! (specs/drives.md, sections 3 and 7).
//!
//! A planner walks the index in order and puts pieces into a bounded queue; a scheduler says which session asks for which
//! of them, with a few requests in flight; what fails goes back. Nothing unverified is ever at its final path.

mod elsewhere;
mod follower;
mod known;
mod large;
mod pace;
mod pieces;
mod plan;
mod queue;
mod small;
mod swarm;

pub(crate) use self::follower::{Follower, OwnHead, Worth, worth_of};
pub(crate) use self::large::Partial;
pub(crate) use self::swarm::Holds;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use p2p_identity::{ContentId, PeerId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::follower::{Offer, Party, first_session, newer_heads};
use self::known::known_state;
use self::pace::REQUESTS_PER_PEER;
use self::plan::Plan;
use self::queue::{Queue, Taken};
use self::small::SmallFile;
use self::swarm::{Again, Outcome as Came};
use crate::DriveError;
use crate::engine::Shared;
use crate::folder::Folder;
use crate::gather::gather;
use crate::head::HeadEnvelope;
use crate::heads::Snapshot;
use crate::incoming::Incoming;
use crate::index::{Keep, Whole, fetch_tree};
use crate::key::PathKey;
use crate::lock::lock;
use crate::publish::LeftOut;
use crate::registry::{Drive, MAX_ABSENT};
use crate::session::{FetchError, Opened, Session};
use crate::sources::Sources;
use crate::tree::{NodeId, Tree};

/// How long to go on without any progress, unless the caller says otherwise.
pub(crate) const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);
/// After so long without progress other peers are looked for.
const WANT_OTHERS_AFTER: Duration = Duration::from_secs(2);
/// How long peers are waited for that may keep an earlier version, once one has said that it does not.
const PAST_PATIENCE: Duration = Duration::from_secs(3);

/// Whether symlinks that leave the folder are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalLinks {
    /// They are left out and reported.
    LeaveOut,
    /// They are made.
    Make,
}

/// How far a copy is. Read while it runs.
#[derive(Debug, Default)]
pub struct CopyProgress {
    /// Files in the version.
    pub files_total: AtomicU64,
    /// Their bytes.
    pub bytes_total: AtomicU64,
    /// Files in place.
    pub files: AtomicU64,
    /// Bytes in place or proven.
    pub bytes: AtomicU64,
    /// Content bytes that travelled.
    pub fetched: AtomicU64,
    /// Peers with a session.
    pub peers: AtomicUsize,
    /// Peers that sent content.
    pub senders: AtomicUsize,
}

/// A finished copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The owner's counter.
    pub version: u64,
    /// Files in the version.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Content bytes that travelled.
    pub bytes_fetched: u64,
    /// Peers that sent content.
    pub peers: usize,
    /// What was left out.
    pub left_out: Vec<LeftOut>,
}

/// A piece of work.
#[derive(Clone)]
pub(crate) enum Work {
    /// Small files, whole, in one request.
    Small(Arc<[SmallFile]>),
    /// Groups of a large file.
    Large(Arc<Partial>, crate::GroupRanges),
}

/// What a copy works with.
pub(crate) struct Job {
    pub(crate) shared: Arc<Shared>,
    pub(crate) drive: Arc<Drive>,
    pub(crate) folder: Arc<Folder>,
    pub(crate) links: ExternalLinks,
    pub(crate) progress: Arc<CopyProgress>,
    /// Whether it is an earlier version, of which nobody may have some content any more.
    is_past: bool,
    /// Whether edits in the folder come first: where one is found, nothing is stored.
    two_way: bool,
    local_change: AtomicBool,
    begun: Instant,
    /// Peers that said that they have not got some content; only of an earlier version.
    lacking: Mutex<HashMap<ContentId, HashSet<PeerId>>>,
    pub(crate) left_out: Mutex<Vec<LeftOut>>,
    queue: Arc<Queue>,
    /// What is served of the version while it comes.
    incoming: OnceLock<Arc<Incoming>>,
    failure: Mutex<Option<DriveError>>,
    last_error: Mutex<Option<String>>,
    stale: AtomicBool,
}

/// What a plan looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The whole folder: it may hold anything.
    Everything,
    /// What differs from the version before, which this process has just completed.
    Changes,
}

impl Job {
    async fn copy(
        self: Arc<Self>,
        party: &mut Party,
        first: Offer,
        scope: Scope,
        patience: Duration,
    ) -> Result<Outcome, DriveError> {
        let (session, at, old) = self.fetch_state(&party.sources, &mut party.opened, first, scope, patience).await?;
        let at = if self.is_past { at } else { self.ask_elsewhere(party, at, scope).await };
        // Also when this future is dropped: the planner's thread must not wait for takers that are gone.
        let _close = CloseOnDrop(self.clone());
        let plan = Arc::new(Plan::new(self.clone(), at.clone(), old, scope));
        if self.two_way {
            let looking = plan.clone();
            if on_disk_thread(move || looking.has_local_change()).await? {
                return Ok(Outcome::LocalChange);
            }
        }
        let (files, bytes) = on_disk_thread({
            let plan = plan.clone();
            move || plan.totals()
        })
        .await?;
        self.progress.files_total.store(files, Ordering::Relaxed);
        self.progress.bytes_total.store(bytes, Ordering::Relaxed);
        let _shown = self.show(&at, scope);
        let planner = tokio::task::spawn_blocking({
            let plan = plan.clone();
            move || plan.run()
        });
        let outcome = self.clone().fetch_all(party, session, &at, patience).await;
        self.queue.close();
        let planned = planner.await?;
        match outcome? {
            Some(newer) => return Ok(Outcome::Newer(Box::new(newer))),
            None => planned?,
        }
        if let Some(error) = lock(&self.failure).take() {
            return Err(error);
        }
        if self.local_change.load(Ordering::Relaxed) {
            return Ok(Outcome::LocalChange);
        }
        on_disk_thread(move || plan.finish()).await?;
        let job = self.clone();
        on_disk_thread(move || {
            job.folder.sync().map_err(DriveError::io("sync the folder"))?;
            job.shared.nodes.sync()?;
            let mut row = job.drive.state().row;
            row.files = files;
            row.complete = true;
            row.absent = job.absent(&at, &row.absent)?;
            job.shared.registry.store(&job.drive, row, Some(at.clone()))?;
            let copied = Copied {
                version: at.version(),
                files,
                bytes,
                bytes_fetched: job.progress.fetched.load(Ordering::Relaxed),
                peers: job.progress.senders.load(Ordering::Relaxed),
                left_out: std::mem::take(&mut *lock(&job.left_out)),
            };
            Ok(Outcome::Done(copied))
        })
        .await
    }

    /// Keys of what could not be placed, now or before, and is still not there: the next import must not take that for a
    /// deletion. Blocks.
    fn absent(&self, at: &Snapshot, before: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, DriveError> {
        let tree = Tree::new(&*self.shared.nodes, at.expected());
        let before = before.iter().filter_map(|key| PathKey::from_bytes(key).ok());
        let now: Vec<_> = lock(&self.left_out).iter().filter_map(|left| PathKey::from_path(&left.path).ok()).collect();
        let candidates: BTreeSet<PathKey> = before.chain(now).collect();
        let mut absent = Vec::new();
        for key in candidates {
            let is_there = self.folder.status(&key.to_path()).is_ok();
            if !is_there && tree.lookup(&key).map_err(crate::content::walk_error)?.is_some() {
                absent.push(key.as_bytes().to_vec());
            }
        }
        let is_writing = self.two_way || self.drive.state().row.syncs;
        if is_writing && absent.len() > MAX_ABSENT {
            let count = absent.len();
            return Err(DriveError::Invalid(format!(
                "{count} paths of the drive cannot be in this folder, at most {MAX_ABSENT} may be missing from one that is \
                 synced"
            )));
        }
        absent.truncate(MAX_ABSENT);
        Ok(absent)
    }

    /// Gets the whole index, from the next peer where one fails: then the state is the one that peer has. A peer that
    /// shows a version and has not got it must not keep us from what the others have. The last is the state before.
    async fn fetch_state(
        &self,
        sources: &Sources,
        opened: &mut mpsc::Receiver<Opened>,
        first: Offer,
        scope: Scope,
        patience: Duration,
    ) -> Result<(Arc<Session>, Snapshot, Option<Snapshot>), DriveError> {
        let deadline = Instant::now() + patience;
        let (mut session, mut heads) = first;
        loop {
            match self.state_of(&session, heads, scope).await {
                Ok((at, old)) => return Ok((session, at, old)),
                Err(FetchError::Local(error)) => return Err(error),
                Err(error) => {
                    tracing::debug!(peer = %session.peer, %error, "index not fetched");
                    let left = deadline.saturating_duration_since(Instant::now());
                    session.end();
                    if error.is_fault() {
                        sources.ban(session.peer)
                    } else {
                        sources.on_ended(&session)
                    }
                    (session, heads) = match first_session(&self.drive, sources, opened, scope, left).await {
                        Ok(next) => next,
                        Err(DriveError::NoPeers(report)) => {
                            return Err(DriveError::NoPeers(format!("{report}; last: {error}")));
                        }
                        Err(error) => return Err(error),
                    };
                }
            }
        }
    }

    async fn state_of(
        &self,
        session: &Session,
        heads: Vec<HeadEnvelope>,
        scope: Scope,
    ) -> Result<(Snapshot, Option<Snapshot>), FetchError> {
        if self.is_past {
            let head = heads.into_iter().next().ok_or(FetchError::NotFound)?;
            let at = Snapshot::from(head);
            fetch_tree(&self.shared, session, at.expected(), &Whole::default(), Keep::OnDisk).await?;
            return Ok((at, None));
        }
        let known = match scope {
            Scope::Changes => self.drive.snapshot(),
            Scope::Everything => known_state(&self.shared, &self.drive, session).await?,
        };
        match gather(&self.shared, &self.drive.id, session, heads, known.as_ref(), Keep::OnDisk).await? {
            Some(at) => Ok((at, known)),
            // Nothing new: what is known is gone through again.
            None => Ok((known.clone().ok_or(FetchError::NotFound)?, known)),
        }
    }

    /// Lets every session work until nothing is left. Returns a newer head if the content of this one is gone.
    async fn fetch_all(
        self: Arc<Self>,
        party: &mut Party,
        first: Arc<Session>,
        at: &Snapshot,
        patience: Duration,
    ) -> Result<Option<Offer>, DriveError> {
        let mut workers: JoinSet<Arc<Session>> = JoinSet::new();
        party.live();
        if !party.sessions.iter().any(|known| Arc::ptr_eq(known, &first)) {
            party.sessions.push(first);
        }
        let Party { sources, opened, sessions } = party;
        // Also those that end on the way: they count as senders.
        let mut everyone: Vec<_> =
            sessions.iter().map(|session| (session.clone(), session.received.load(Ordering::Relaxed))).collect();
        for session in sessions.iter() {
            self.start_workers(&mut workers, sources, session, at.root);
        }
        let mut seen = (self.moved(), Instant::now());
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            if self.queue.is_done() || lock(&self.failure).is_some() {
                break;
            }
            tokio::select! {
                () = self.queue.changed.notified() => {}
                Some(next) = opened.recv() => {
                    sessions.push(next.session.clone());
                    everyone.push((next.session.clone(), 0));
                    self.start_workers(&mut workers, sources, &next.session, at.root);
                }
                Some(ended) = workers.join_next(), if !workers.is_empty() => {
                    if let Ok(session) = ended
                        && session.is_ended()
                    {
                        self.queue.remove(&session);
                        sources.on_ended(&session);
                        sessions.retain(|known| !Arc::ptr_eq(known, &session));
                    }
                }
                _ = tick.tick() => {
                    self.progress.peers.store(sessions.len(), Ordering::Relaxed);
                    if self.stale.swap(false, Ordering::Relaxed)
                        && !self.is_past
                        && let Some(newer) = newer_heads(sessions, at).await
                    {
                        return Ok(Some(newer));
                    }
                    if self.moved() != seen.0 {
                        seen = (self.moved(), Instant::now());
                    } else if seen.1.elapsed() <= patience {
                        // Those who are here may have nothing more, and wait for the same.
                        if seen.1.elapsed() >= WANT_OTHERS_AFTER {
                            sources.want_others();
                        }
                    } else {
                        let last = lock(&self.last_error).clone().unwrap_or_default();
                        return Err(DriveError::Stalled(format!("{}; {last}", sources.report())));
                    }
                }
            }
        }
        let sent = |(session, before): &&(Arc<Session>, u64)| session.received.load(Ordering::Relaxed) > *before;
        let senders = everyone.iter().filter(sent).count();
        self.progress.senders.fetch_max(senders, Ordering::Relaxed);
        workers.shutdown().await;
        sources.on_done();
        Ok(None)
    }

    fn start_workers(
        self: &Arc<Self>,
        workers: &mut JoinSet<Arc<Session>>,
        sources: &Arc<Sources>,
        session: &Arc<Session>,
        root: NodeId,
    ) {
        for _ in 0..REQUESTS_PER_PEER {
            workers.spawn(self.clone().work(sources.clone(), session.clone(), root));
        }
    }

    /// Takes work until there is none or the session ends.
    async fn work(self: Arc<Self>, sources: Arc<Sources>, session: Arc<Session>, root: NodeId) -> Arc<Session> {
        while let Some(taken) = self.queue.take(&session, root).await {
            if session.is_ended() {
                break;
            }
            let fetched = tokio::select! {
                fetched = self.fetch(&session, &taken) => fetched,
                () = taken.obsolete() => (Vec::new(), None),
            };
            let (mut outcomes, error) = fetched;
            if let Some(error) = error.as_ref().filter(|_| self.is_past) {
                self.leave_out_what_is_gone(&mut outcomes, error, &session);
            }
            for (piece, outcome) in taken.pieces().iter().zip(&outcomes) {
                if let (Came::Done, Some(number)) = (outcome, piece.number) {
                    self.hold(number);
                }
            }
            taken.end(outcomes);
            if let Some(error) = error {
                *lock(&self.last_error) = Some(format!("{} {error}", session.peer.fmt_short()));
                if !self.on_error(&sources, &session, error) {
                    break;
                }
            }
        }
        session
    }

    async fn fetch(self: &Arc<Self>, session: &Session, taken: &Taken) -> (Vec<Came<Work>>, Option<FetchError>) {
        match taken.pieces() {
            [piece] if let Work::Small(files) = &piece.work => {
                let (outcome, error) = small::fetch(self, session, taken, piece, files).await;
                (vec![outcome], error)
            }
            [piece, ..] if let Work::Large(partial, _) = &piece.work => {
                large::fetch(self, session, taken, partial).await
            }
            _ => (Vec::new(), None),
        }
    }

    /// Whether the session is worth going on with.
    fn on_error(&self, sources: &Sources, session: &Session, error: FetchError) -> bool {
        tracing::debug!(peer = %session.peer, %error, "request failed");
        match error {
            FetchError::Local(error) => {
                lock(&self.failure).get_or_insert(error);
                self.queue.changed.notify_waiters();
                false
            }
            // Or the other workers of this session would take the same work to the same peer.
            FetchError::Lied(_) => {
                session.end();
                sources.ban(session.peer);
                false
            }
            FetchError::NotFound | FetchError::Stale | FetchError::Busy => {
                self.stale.store(true, Ordering::Relaxed);
                true
            }
            FetchError::Stalled => {
                // Once, however many requests were under way.
                if session.end() {
                    sources.on_stalled(session.peer);
                }
                false
            }
            FetchError::Unreachable(_) | FetchError::Refused | FetchError::Broken(_) => {
                session.end();
                sources.on_ended(session);
                false
            }
        }
    }

    /// Of what a peer could not give: what nobody has any more is reported and counts as done.
    fn leave_out_what_is_gone(&self, outcomes: &mut [Came<Work>], error: &FetchError, session: &Session) {
        if !matches!(error, FetchError::NotFound | FetchError::Stale) {
            return;
        }
        let peers = self.progress.peers.load(Ordering::Relaxed).max(1);
        let is_gone = |hash: &ContentId| {
            let mut lacking = lock(&self.lacking);
            let by = lacking.entry(*hash).or_default();
            by.insert(session.peer);
            by.len() >= peers && self.begun.elapsed() >= PAST_PATIENCE
        };
        let reason = || DriveError::NOT_KEPT.to_owned();
        for outcome in outcomes {
            match outcome {
                Came::Done => {}
                Came::Left(Work::Small(files), _) => {
                    let (gone, left): (Vec<_>, Vec<_>) = files.iter().cloned().partition(|file| is_gone(&file.hash));
                    for file in gone {
                        self.leave_out(&file.path, reason());
                    }
                    *outcome = match left.is_empty() {
                        true => Came::Done,
                        false => Came::Left(Work::Small(left.into()), Again::Later),
                    };
                }
                Came::Left(Work::Large(partial, _), _) => {
                    if !is_gone(partial.hash()) {
                        continue;
                    }
                    let is_known = lock(&self.left_out).iter().any(|left| left.path == partial.path());
                    if !is_known {
                        self.leave_out(partial.path(), reason());
                    }
                    *outcome = Came::Done;
                }
            }
        }
    }

    /// Shows to others what comes, as it comes; until the result is dropped.
    fn show(&self, at: &Snapshot, scope: Scope) -> Option<Shown> {
        // Who looks at changes only cannot count the pieces.
        if self.is_past || scope == Scope::Changes || self.drive.snapshot().is_some_and(|old| old.root == at.root) {
            return None;
        }
        let incoming = Arc::new(Incoming::new(at.clone()));
        let _ = self.incoming.set(incoming.clone());
        self.drive.incoming.send_replace(Some(incoming));
        self.shared.changed();
        Some(Shown(self.drive.clone()))
    }

    /// A piece of the version is here.
    fn hold(&self, number: u64) {
        if let Some(incoming) = self.incoming.get() {
            incoming.hold(number);
        }
    }

    /// A large file is being fetched.
    fn add_partial(&self, partial: &Arc<Partial>) {
        if let Some(incoming) = self.incoming.get() {
            incoming.add(partial);
        }
    }

    pub(crate) fn left_out_count(&self) -> usize {
        lock(&self.left_out).len()
    }

    fn moved(&self) -> (u64, u64) {
        (self.progress.bytes.load(Ordering::Relaxed), self.progress.files.load(Ordering::Relaxed))
    }

    pub(crate) fn leave_out(&self, path: &str, reason: impl Into<String>) {
        lock(&self.left_out).push(LeftOut { path: path.to_owned(), reason: reason.into() });
    }
}

struct CloseOnDrop(Arc<Job>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.queue.close();
    }
}

/// Takes back what was shown of a version that was on its way.
struct Shown(Arc<Drive>);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.incoming.send_replace(None);
    }
}

enum Outcome {
    Done(Copied),
    Newer(Box<Offer>),
    /// Somebody edited what was to be replaced: that is imported first.
    LocalChange,
}

async fn on_disk_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DriveError> + Send + 'static,
) -> Result<T, DriveError> {
    tokio::task::spawn_blocking(work).await?
}
