//! From a drive to a folder: plan what is missing, fetch it from all peers there are, place it, make it durable
//! (specs/drives.md, sections 3 and 7).
//!
//! A planner walks the index in order and puts pieces of work into a bounded queue; every session takes from it with a
//! few requests in flight; what fails goes back. Nothing unverified is ever at its final path.

mod large;
mod plan;
mod small;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use p2p_identity::{ContentId, Hints, PeerId};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::large::Partial;
use self::plan::Plan;
use self::small::SmallFile;
use crate::DriveError;
use crate::engine::Shared;
use crate::folder::Folder;
use crate::gather::gather;
use crate::head::HeadEnvelope;
use crate::heads::Snapshot;
use crate::history::{At, find_at, missing};
use crate::index::{Keep, fetch_tree};
use crate::key::PathKey;
use crate::publish::LeftOut;
use crate::registry::{Drive, MAX_ABSENT};
use crate::session::{FetchError, Opened, Session};
use crate::sources::{Sources, Wanted};
use crate::tree::Tree;

/// Requests in flight to one peer. Three keep both ends' hashing, encryption and disk busy at once: 1 GiB over loopback on
/// two cores takes 2.1 s with one, 1.9 s with two, three or four (medians of four).
const REQUESTS_PER_PEER: usize = 3;
/// Work planned ahead. Small, so that the plan takes no memory.
const QUEUE: usize = 32;
/// How long a request that a peer could not answer waits before it is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// How long to go on without any progress, unless the caller says otherwise.
pub(crate) const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);
/// How often a follower that waits looks which of its peers are still there.
const SESSION_CHECK: Duration = Duration::from_secs(1);
/// Between a head of another writer that is announced and the question for it, so that several are asked for together.
const ASK_PAUSE: Duration = Duration::from_millis(50);
/// How often peers are asked for heads of other writers although nothing was announced.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// How often that is waited for in a row.
const MAX_LOCAL_CHANGES: usize = 60;
/// How long an edit in the folder that is in the way has time to be imported.
const LOCAL_CHANGE_PAUSE: Duration = Duration::from_secs(1);
/// How long peers are waited for that may keep an earlier version, once one has said that it does not.
const PAST_PATIENCE: Duration = Duration::from_secs(3);
/// How often a newer version is taken up when the old one can no longer be had.
const MAX_RESTARTS: usize = 5;

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
    Small(Vec<SmallFile>),
    /// A stretch of a large file.
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
    queue: Queue,
    failure: Mutex<Option<DriveError>>,
    last_error: Mutex<Option<String>>,
    stale: AtomicBool,
}

/// Work that waits, and how much is under way.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    ready: VecDeque<Work>,
    /// Nothing more will be planned.
    closed: bool,
    under_way: usize,
}

/// A copy of a drive into a folder: made once, then brought up to date as new versions come.
pub(crate) struct Follower {
    shared: Arc<Shared>,
    drive: Arc<Drive>,
    folder: Arc<Folder>,
    links: ExternalLinks,
    patience: Duration,
    progress: Arc<CopyProgress>,
    party: Party,
    /// Whether this follower has brought a version into the folder: then only changes are looked at.
    is_done: bool,
    /// Whether edits in the folder go back to the drive: then they are never in the way, but come first.
    two_way: bool,
}

/// The peers of one copy, and the search that brings more.
struct Party {
    sources: Arc<Sources>,
    opened: mpsc::Receiver<Opened>,
    sessions: Vec<Arc<Session>>,
}

/// A peer, and the heads that it shows.
type Offer = (Arc<Session>, Vec<HeadEnvelope>);

impl Party {
    fn start(shared: &Arc<Shared>, drive: &Arc<Drive>, hints: &Hints, wanted: Wanted) -> Self {
        let (sources, opened) = Sources::start(shared.clone(), drive.clone(), hints, wanted);
        Self { sources, opened, sessions: Vec::new() }
    }

    /// Sessions that go on. Peers of the others are looked for again, and may come back with a newer version.
    fn live(&mut self) -> &[Arc<Session>] {
        for session in self.sessions.extract_if(.., |session| session.is_ended()) {
            self.sources.on_ended(session.peer);
        }
        &self.sessions
    }
}

impl Follower {
    /// Starts looking for peers. The drive's work lock is the caller's.
    pub(crate) fn start(
        shared: Arc<Shared>,
        drive: Arc<Drive>,
        folder: Arc<Folder>,
        hints: &Hints,
        links: ExternalLinks,
        patience: Duration,
        progress: Arc<CopyProgress>,
    ) -> Self {
        let party = Party::start(&shared, &drive, hints, Wanted::default());
        Self { shared, drive, folder, links, patience, progress, party, is_done: false, two_way: false }
    }

    /// As [`Self::start`], for a folder that holds the drive's state already and whose edits go back to it. The work lock
    /// is taken for each version.
    pub(crate) fn start_sync(shared: Arc<Shared>, drive: Arc<Drive>, folder: Arc<Folder>, hints: &Hints) -> Self {
        let wanted = Wanted { from_others: true, ..Wanted::default() };
        let party = Party::start(&shared, &drive, hints, wanted);
        let (links, patience, progress) = (ExternalLinks::LeaveOut, DEFAULT_PATIENCE, Arc::default());
        Self { shared, drive, folder, links, patience, progress, party, is_done: true, two_way: true }
    }

    /// Copies the newest version that can be had; from the second call on, the next one, for which it waits as long as
    /// it takes. Dropped midway, the next call goes on where it was.
    pub(crate) async fn next(&mut self) -> Result<Copied, DriveError> {
        let mut first = match self.is_done {
            false => {
                let Party { sources, opened, .. } = &mut self.party;
                first_session(&self.drive, sources, opened, self.patience).await?
            }
            true => {
                let first = self.newer().await?;
                reset(&self.progress);
                self.progress.fetched.store(0, Ordering::Relaxed);
                self.progress.senders.store(0, Ordering::Relaxed);
                first
            }
        };
        let (mut restarts, mut local_changes) = (0, 0);
        while restarts < MAX_RESTARTS {
            // A follower's caller holds the lock as long as it follows; here others import in between.
            let _work = if self.two_way { Some(self.drive.work.clone().lock_owned().await) } else { None };
            let mut imported = self.drive.head_count.subscribe();
            let mut job = self.job();
            // Nobody imports it: then it gets a name of its own, as in a copy that does not go back.
            job.two_way &= local_changes < MAX_LOCAL_CHANGES;
            let job = Arc::new(job);
            let scope = if self.is_done { Scope::Changes } else { Scope::Everything };
            match job.copy(&mut self.party, first.clone(), scope, self.patience).await? {
                Outcome::Done(copied) => {
                    self.is_done = true;
                    return Ok(copied);
                }
                Outcome::Newer(again) => {
                    first = *again;
                    restarts += 1;
                }
                Outcome::LocalChange => {
                    drop(_work);
                    local_changes += 1;
                    let _ = tokio::time::timeout(LOCAL_CHANGE_PAUSE, imported.changed()).await;
                }
            }
            reset(&self.progress);
        }
        Err(DriveError::Stalled("the drive changes faster than it can be copied".into()))
    }

    /// Copies an earlier version, from whoever keeps it.
    pub(crate) async fn past(mut self, at: At) -> Result<Copied, DriveError> {
        let first = self.find_past(&at).await?;
        let job = Arc::new(Job { is_past: true, ..self.job() });
        let first = (first.0, vec![first.1]);
        match job.copy(&mut self.party, first, Scope::Everything, self.patience).await? {
            Outcome::Done(copied) => Ok(copied),
            Outcome::Newer(_) | Outcome::LocalChange => {
                Err(DriveError::Corrupt("an earlier version became another".into()))
            }
        }
    }

    /// Asks one peer after the other for an earlier version, until it is found or peers were asked in vain for a while.
    async fn find_past(&mut self, at: &At) -> Result<(Arc<Session>, HeadEnvelope), DriveError> {
        let begun = Instant::now();
        let mut deadline = begun + self.patience;
        let mut newest = 0;
        loop {
            let Party { sources, opened, sessions } = &mut self.party;
            match tokio::time::timeout_at(deadline, opened.recv()).await {
                Ok(Some(opened)) => {
                    let session = opened.session;
                    let owners = opened.heads.iter().filter(|head| head.body().is_by_owner());
                    newest = owners.map(|head| head.body().counter).max().unwrap_or(0).max(newest);
                    match find_at(&session, &self.drive.id, at).await {
                        Ok(Some(head)) => return Ok((session, head)),
                        Ok(None) => deadline = deadline.min(begun + PAST_PATIENCE),
                        Err(error) if error.is_fault() => {
                            session.end();
                            sources.ban(session.peer);
                            continue;
                        }
                        Err(error) => tracing::debug!(peer = %session.peer, %error, "no log"),
                    }
                    sessions.push(session);
                }
                Ok(None) => return Err(DriveError::Stopped),
                Err(_) if sessions.is_empty() => return Err(DriveError::NoPeers(sources.report())),
                Err(_) => return Err(missing(at, newest, "any peer that was asked")),
            }
        }
    }

    fn job(&self) -> Job {
        Job {
            shared: self.shared.clone(),
            drive: self.drive.clone(),
            folder: self.folder.clone(),
            links: self.links,
            progress: self.progress.clone(),
            is_past: false,
            two_way: self.two_way && self.shared.author_of(&self.drive).is_ok(),
            local_change: AtomicBool::new(false),
            begun: Instant::now(),
            lacking: Mutex::default(),
            left_out: Mutex::default(),
            queue: Queue::default(),
            failure: Mutex::default(),
            last_error: Mutex::default(),
            stale: AtomicBool::new(false),
        }
    }

    /// Waits for a peer that has a newer version than the one in the folder.
    async fn newer(&mut self) -> Result<Offer, DriveError> {
        let mut announced = self.party.sources.announced();
        let mut others = self.party.sources.others_announced();
        let mut watching = tokio::time::interval(SESSION_CHECK);
        // At once: something may have been told before.
        let mut ask_at = Instant::now();
        loop {
            let done = self.drive.snapshot();
            let newest = announced.borrow_and_update().clone();
            if let Some((peer, head)) = newest.filter(|(_, head)| is_news(done.as_ref(), head))
                && let Some(session) = self.party.live().iter().find(|session| session.peer == peer)
            {
                return Ok((session.clone(), vec![head]));
            }
            tokio::select! {
                changed = announced.changed() => changed.map_err(|_| DriveError::Stopped)?,
                changed = others.changed() => {
                    changed.map_err(|_| DriveError::Stopped)?;
                    ask_at = ask_at.min(Instant::now() + ASK_PAUSE);
                }
                () = tokio::time::sleep_until(ask_at) => {
                    ask_at = Instant::now() + ASK_EVERY;
                    if let Some(offer) = self.ask_all(done.as_ref()).await {
                        return Ok(offer);
                    }
                }
                opened = self.party.opened.recv() => {
                    let opened = opened.ok_or(DriveError::Stopped)?;
                    self.party.sessions.push(opened.session.clone());
                    if opened.heads.iter().any(|head| is_news(done.as_ref(), head)) {
                        return Ok((opened.session, opened.heads));
                    }
                }
                _ = watching.tick() => {
                    let peers = self.party.live().len();
                    self.progress.peers.store(peers, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Follower {
    /// Asks every peer for the heads it has; the first that has news.
    async fn ask_all(&mut self, done: Option<&Snapshot>) -> Option<Offer> {
        // Where the owner alone writes, what is announced is all there is.
        done.filter(|done| done.set.is_some())?;
        for session in self.party.live().to_vec() {
            if let Ok(heads) = session.heads().await
                && heads.iter().any(|head| is_news(done, head))
            {
                return Some((session, heads));
            }
        }
        None
    }
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
        let (session, at) = self.fetch_state(&party.sources, &mut party.opened, first, patience).await?;
        // Also when this future is dropped: the planner's thread must not wait for takers that are gone.
        let _close = CloseOnDrop(self.clone());
        let plan = Arc::new(Plan::new(self.clone(), at.clone(), scope));
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
    /// shows a version and has not got it must not keep us from what the others have.
    async fn fetch_state(
        &self,
        sources: &Sources,
        opened: &mut mpsc::Receiver<Opened>,
        first: Offer,
        patience: Duration,
    ) -> Result<(Arc<Session>, Snapshot), DriveError> {
        let deadline = Instant::now() + patience;
        let (mut session, mut heads) = first;
        loop {
            match self.state_of(&session, heads).await {
                Ok(at) => return Ok((session, at)),
                Err(FetchError::Local(error)) => return Err(error),
                Err(error) => {
                    tracing::debug!(peer = %session.peer, %error, "index not fetched");
                    let left = deadline.saturating_duration_since(Instant::now());
                    session.end();
                    if error.is_fault() {
                        sources.ban(session.peer)
                    } else {
                        sources.on_ended(session.peer)
                    }
                    (session, heads) = match first_session(&self.drive, sources, opened, left).await {
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

    async fn state_of(&self, session: &Session, heads: Vec<HeadEnvelope>) -> Result<Snapshot, FetchError> {
        if self.is_past {
            let head = heads.into_iter().next().ok_or(FetchError::NotFound)?;
            let at = Snapshot::from(head);
            fetch_tree(&self.shared, session, at.expected(), Keep::OnDisk).await?;
            return Ok(at);
        }
        let known = self.drive.snapshot();
        match gather(&self.shared, &self.drive.id, session, heads, known.as_ref(), Keep::OnDisk).await? {
            Some(at) => Ok(at),
            // Nothing new: what is known is gone through again.
            None => known.ok_or(FetchError::NotFound),
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
            self.start_workers(&mut workers, sources, session);
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
                    self.start_workers(&mut workers, sources, &next.session);
                }
                Some(ended) = workers.join_next(), if !workers.is_empty() => {
                    if let Ok(session) = ended
                        && session.is_ended()
                    {
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
                    } else if seen.1.elapsed() > patience {
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
        Ok(None)
    }

    fn start_workers(
        self: &Arc<Self>,
        workers: &mut JoinSet<Arc<Session>>,
        sources: &Arc<Sources>,
        session: &Arc<Session>,
    ) {
        for _ in 0..REQUESTS_PER_PEER {
            workers.spawn(self.clone().work(sources.clone(), session.clone()));
        }
    }

    /// Takes work until there is none or the session ends.
    async fn work(self: Arc<Self>, sources: Arc<Sources>, session: Arc<Session>) -> Arc<Session> {
        while let Some(work) = self.queue.take().await {
            if session.is_ended() {
                self.queue.give_back(work);
                sources.on_ended(session.peer);
                break;
            }
            let guard = GiveBack { queue: &self.queue, work: Some(work) };
            let result = match guard.work.clone() {
                Some(Work::Small(files)) => small::fetch(&self, &session, files).await.map(Work::Small),
                Some(Work::Large(partial, ranges)) => {
                    let left = large::fetch(&self, &session, partial.clone(), ranges).await;
                    left.map(|left| Work::Large(partial, left))
                }
                None => break,
            };
            match result {
                Ok(left) => {
                    guard.done(left);
                }
                Err((left, error)) => {
                    guard.done(if self.is_past { self.without_what_is_gone(left, &error, &session) } else { left });
                    *lock(&self.last_error) = Some(format!("{} {error}", session.peer.fmt_short()));
                    if !self.on_error(&sources, &session, error).await {
                        break;
                    }
                }
            }
        }
        session
    }

    /// Whether the session is worth going on with.
    async fn on_error(&self, sources: &Sources, session: &Session, error: FetchError) -> bool {
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
                tokio::time::sleep(RETRY_DELAY).await;
                true
            }
            FetchError::Unreachable(_) | FetchError::Refused | FetchError::Broken(_) | FetchError::Stalled => {
                session.end();
                sources.on_ended(session.peer);
                false
            }
        }
    }

    /// Of work that a peer could not do: what somebody else may still have. The rest is reported.
    fn without_what_is_gone(&self, left: Work, error: &FetchError, session: &Session) -> Work {
        if !matches!(error, FetchError::NotFound | FetchError::Stale) {
            return left;
        }
        let peers = self.progress.peers.load(Ordering::Relaxed).max(1);
        let is_gone = |hash: &ContentId| {
            let mut lacking = lock(&self.lacking);
            let by = lacking.entry(*hash).or_default();
            by.insert(session.peer);
            by.len() >= peers && self.begun.elapsed() >= PAST_PATIENCE
        };
        let reason = || DriveError::NOT_KEPT.to_owned();
        match left {
            Work::Small(files) => {
                let (gone, left): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| is_gone(&file.hash));
                for file in gone {
                    self.leave_out(&file.path, reason());
                }
                Work::Small(left)
            }
            Work::Large(partial, ranges) => {
                if !is_gone(partial.hash()) {
                    return Work::Large(partial, ranges);
                }
                let is_known = lock(&self.left_out).iter().any(|left| left.path == partial.path());
                if !is_known {
                    self.leave_out(partial.path(), reason());
                }
                Work::Large(partial, crate::GroupRanges::default())
            }
        }
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

enum Outcome {
    Done(Copied),
    Newer(Box<Offer>),
    /// Somebody edited what was to be replaced: that is imported first.
    LocalChange,
}

/// Work that goes back to the queue if its worker is stopped midway.
struct GiveBack<'a> {
    queue: &'a Queue,
    work: Option<Work>,
}

impl GiveBack<'_> {
    /// The work is over but for what is left of it.
    fn done(mut self, left: Work) {
        self.work = None;
        let is_left = match &left {
            Work::Small(files) => !files.is_empty(),
            Work::Large(_, ranges) => !ranges.is_empty(),
        };
        if is_left { self.queue.give_back(left) } else { self.queue.finish() }
    }
}

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.queue.give_back(work);
        }
    }
}

impl Queue {
    /// Adds work; waits while enough is planned. False when nobody wants it any more. Blocks.
    fn push(&self, work: Work) -> bool {
        loop {
            {
                let mut waiting = lock(&self.waiting);
                if waiting.closed {
                    return false;
                }
                if waiting.ready.len() < QUEUE {
                    waiting.ready.push_back(work);
                    break;
                }
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        self.changed.notify_waiters();
        true
    }

    /// No more work will be pushed.
    fn close(&self) {
        lock(&self.waiting).closed = true;
        self.changed.notify_waiters();
    }

    fn is_done(&self) -> bool {
        let waiting = lock(&self.waiting);
        waiting.closed && waiting.ready.is_empty() && waiting.under_way == 0
    }

    /// The next piece of work; `None` when there will be none.
    async fn take(&self) -> Option<Work> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut waiting = lock(&self.waiting);
                if let Some(work) = waiting.ready.pop_front() {
                    waiting.under_way += 1;
                    return Some(work);
                }
                if waiting.closed && waiting.under_way == 0 {
                    return None;
                }
            }
            changed.await;
        }
    }

    fn give_back(&self, work: Work) {
        lock(&self.waiting).ready.push_front(work);
        self.finish();
    }

    fn finish(&self) {
        lock(&self.waiting).under_way -= 1;
        self.changed.notify_waiters();
    }
}

/// Waits for the first peer that has a version.
pub(crate) async fn first_session(
    drive: &Drive,
    sources: &Sources,
    opened: &mut mpsc::Receiver<Opened>,
    patience: Duration,
) -> Result<Offer, DriveError> {
    let deadline = Instant::now() + patience;
    loop {
        match tokio::time::timeout_at(deadline, opened.recv()).await {
            Ok(Some(opened)) => match newest_of(drive, &opened.heads) {
                Some(_) => return Ok((opened.session, opened.heads)),
                None => sources.ban(opened.session.peer),
            },
            Ok(None) => return Err(DriveError::Stopped),
            Err(_) => return Err(DriveError::NoPeers(sources.report())),
        }
    }
}

/// The owner's newest head among those that a peer sent: signed by the drive's key, and for this drive. Never older
/// than one that is known here.
pub(crate) fn newest_of<'a>(drive: &Drive, heads: &'a [HeadEnvelope]) -> Option<&'a HeadEnvelope> {
    let good = heads.iter().filter(|head| head.body().drive == drive.id && head.body().is_by_owner());
    let theirs = good.max_by_key(|head| head.body().counter);
    match (theirs, drive.head()) {
        (Some(theirs), Some(ours)) if ours.body().counter > theirs.body().counter => None,
        (theirs, _) => theirs,
    }
}

/// Whether a head would change a state.
fn is_news(at: Option<&Snapshot>, head: &HeadEnvelope) -> bool {
    let Some(at) = at else { return head.body().is_by_owner() };
    let (body, owner) = (head.body(), at.head.body());
    if body.drive != owner.drive {
        return false;
    }
    let known = at.head_of(&body.writer).map_or(0, |head| head.body().counter);
    let is_writer = at.set.as_ref().is_some_and(|set| set.body().certificate(&body.writer).is_some());
    body.counter > known && (body.is_by_owner() || is_writer)
}

async fn newer_heads(sessions: &[Arc<Session>], at: &Snapshot) -> Option<Offer> {
    for session in sessions {
        if let Ok(heads) = session.heads().await
            && heads.iter().any(|head| is_news(Some(at), head))
        {
            return Some((session.clone(), heads));
        }
    }
    None
}

/// Before the same version, or its successor, is gone through again: what travelled so far still counts.
fn reset(progress: &CopyProgress) {
    progress.files.store(0, Ordering::Relaxed);
    progress.bytes.store(0, Ordering::Relaxed);
}

async fn on_disk_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DriveError> + Send + 'static,
) -> Result<T, DriveError> {
    tokio::task::spawn_blocking(work).await?
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
