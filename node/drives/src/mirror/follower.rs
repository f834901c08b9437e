//! A copy that is made once and then brought up to date: waits for what peers have that the folder has not, version after
//! version.

mod own;

pub(crate) use self::own::OwnHead;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use p2p_identity::Hints;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::queue::Queue;
use super::{Copied, CopyProgress, DEFAULT_PATIENCE, ExternalLinks, Job, Outcome, PAST_PATIENCE, Scope};
use crate::DriveError;
use crate::engine::Shared;
use crate::folder::Folder;
use crate::head::HeadEnvelope;
use crate::heads::Snapshot;
use crate::history::{At, find_at, missing};
use crate::registry::Drive;
use crate::session::{Opened, Session};
use crate::sources::{Sources, Wanted};

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
/// How often a newer version is taken up when the old one can no longer be had.
const MAX_RESTARTS: usize = 5;

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
pub(super) struct Party {
    pub(super) sources: Arc<Sources>,
    pub(super) opened: mpsc::Receiver<Opened>,
    pub(super) sessions: Vec<Arc<Session>>,
}

/// A peer, and the heads that it shows.
pub(super) type Offer = (Arc<Session>, Vec<HeadEnvelope>);

impl Party {
    fn start(shared: &Arc<Shared>, drive: &Arc<Drive>, hints: &Hints, wanted: Wanted) -> Self {
        let (sources, opened) = Sources::start(shared.clone(), drive.clone(), hints, wanted);
        Self { sources, opened, sessions: Vec::new() }
    }

    /// Sessions that go on. Peers of the others are looked for again, and may come back with a newer version.
    pub(super) fn live(&mut self) -> &[Arc<Session>] {
        for session in self.sessions.extract_if(.., |session| session.is_ended()) {
            self.sources.on_ended(&session);
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
                first_session(&self.drive, sources, opened, Scope::Everything, self.patience).await?
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
            if self.two_way {
                self.shared.unlocked().await?;
            }
            // A follower's caller holds the lock as long as it follows; here others import in between.
            let _work = if self.two_way { Some(self.drive.work.clone().lock_owned().await) } else { None };
            let _writing = self.shared.holds.writing();
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
                    drop((_work, _writing));
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
        let _writing = self.shared.holds.writing();
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
            // Whose keys have just been locked must not lose what it edited.
            two_way: self.two_way
                && self.shared.author_of(&self.drive).map_or_else(|error| error.is_locked(), |_| true),
            local_change: AtomicBool::new(false),
            begun: Instant::now(),
            lacking: Mutex::default(),
            left_out: Mutex::default(),
            queue: Arc::new(Queue::default()),
            incoming: OnceLock::new(),
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

/// Waits for the first peer that has a version. Where the state is whole here, one that is behind with the owner's and has
/// news of another writer is as good; else it would bring an old version back.
pub(super) async fn first_session(
    drive: &Drive,
    sources: &Sources,
    opened: &mut mpsc::Receiver<Opened>,
    scope: Scope,
    patience: Duration,
) -> Result<Offer, DriveError> {
    let deadline = Instant::now() + patience;
    loop {
        let Opened { session, heads, .. } = match tokio::time::timeout_at(deadline, opened.recv()).await {
            Ok(Some(opened)) => opened,
            Ok(None) => return Err(DriveError::Stopped),
            Err(_) => return Err(DriveError::NoPeers(sources.report())),
        };
        match worth_of(drive, &heads) {
            Worth::Good => return Ok((session, heads)),
            Worth::Older => {
                let at = drive.snapshot();
                if scope == Scope::Changes && heads.iter().any(|head| is_news(at.as_ref(), head)) {
                    return Ok((session, heads));
                }
                sources.on_behind(session.peer);
            }
            Worth::Nothing => sources.ban(session.peer),
        }
    }
}

/// What the heads are worth that a peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// A version of the owner's, signed by the drive's key and for this drive, as new as the one that is known here.
    Good,
    /// Such a version, older than the one that is known here. That is nobody's fault.
    Older,
    /// Nothing of this drive.
    Nothing,
}

pub(crate) fn worth_of(drive: &Drive, heads: &[HeadEnvelope]) -> Worth {
    let good = heads.iter().filter(|head| head.body().drive == drive.id && head.body().is_by_owner());
    match (good.map(|head| head.body().counter).max(), drive.head()) {
        (None, _) => Worth::Nothing,
        (Some(theirs), Some(ours)) if ours.body().counter > theirs => Worth::Older,
        (Some(_), _) => Worth::Good,
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

pub(super) async fn newer_heads(sessions: &[Arc<Session>], at: &Snapshot) -> Option<Offer> {
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
