//! Two-way folders: what other writers do is brought into the folder, what is edited there is imported by whoever watches
//! it; and what several did at once is told (specs/drives.md, section 5).

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use p2p_identity::{DriveId, Hints, Link, WriterKey};
use tokio_util::sync::CancellationToken;

use crate::DriveError;
use crate::engine::{DriveEvent, Drives, Prepared, Shared, drive_of};
use crate::entry::{Entry, Version};
use crate::lock::lock;
use crate::mirror::{Copied, CopyProgress, DEFAULT_PATIENCE, ExternalLinks, Follower};
use crate::registry::{Drive, DriveRow, Role};
use crate::resolve::merge_texts;
use crate::tree::Tree;

/// Told at a time; nobody settles more in one go.
const MAX_CONFLICTS: usize = 10_000;
/// Before a state that could not be brought in is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// A folder that is in step with the drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// What was copied.
    pub copied: Copied,
    /// This node's writer key.
    pub writer: WriterKey,
    /// Whether the owner has let it in.
    pub may_write: bool,
}

/// A path that several wrote at once, with the writers' whole keys where they are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The path and all its versions; the one that is shown is [`Entry::shown`], the losers are [`Entry::hidden`].
    pub entry: Entry,
    /// Who made each version, in the entry's order; `None` for somebody who is no writer any more.
    pub writers: Vec<Option<WriterKey>>,
}

impl Drives {
    /// Brings the newest state into a folder, and keeps both in step from then on: what others write is brought in, what
    /// is edited here goes out with each import. Durable when this returns.
    ///
    /// # Errors
    /// As for [`Drives::copy`]; and this node owns the drive.
    pub async fn sync(
        &self,
        link: &Link,
        target: &Path,
        links: ExternalLinks,
        patience: Option<Duration>,
        progress: Arc<CopyProgress>,
    ) -> Result<Synced, DriveError> {
        let id = drive_of(link)?;
        if self.shared().registry.get(&id).is_some_and(|drive| drive.state().row.role == Role::Owner) {
            return Err(DriveError::Invalid("this node owns the drive: its folder is in step with all writers".into()));
        }
        let this = self.clone();
        let writer = tokio::task::spawn_blocking(move || this.writer_key(&id)).await??;
        let known = self.shared().registry.active(&id).map(|drive| drive.state());
        let is_going_on = known.is_some_and(|state| {
            state.row.syncs && state.row.complete && state.row.folder_path().as_deref() == Some(target)
        });
        if is_going_on {
            return self.going_on(id, writer);
        }
        let (this, path) = (self.clone(), target.to_owned());
        let Prepared { drive, folder, work, .. } =
            tokio::task::spawn_blocking(move || this.prepare_copy(id, &path)).await??;
        let patience = patience.unwrap_or(DEFAULT_PATIENCE);
        let shared = self.shared().clone();
        let mut follower =
            Follower::start(shared.clone(), drive.clone(), folder, &link.hints, links, patience, progress);
        let copied = follower.next().await?;
        let of = drive.clone();
        let text = link.to_string();
        tokio::task::spawn_blocking(move || {
            let state = of.state();
            let row = DriveRow { syncs: true, link: text, ..state.row };
            shared.registry.store(&of, row, state.at)
        })
        .await??;
        drop(work);
        self.shared().changed();
        self.start_syncer(&drive);
        let may_write = self.shared().author_of(&drive).is_ok();
        let _ = self.shared().events.send(DriveEvent::Copied { drive: id, version: copied.version });
        Ok(Synced { copied, writer, may_write })
    }

    fn going_on(&self, id: DriveId, writer: WriterKey) -> Result<Synced, DriveError> {
        let drive = self.known(&id)?;
        self.start_syncer(&drive);
        let state = drive.state();
        let copied = Copied {
            version: state.at.as_ref().map_or(0, crate::heads::Snapshot::version),
            files: state.row.files,
            bytes: state.at.as_ref().map_or(0, |at| at.bytes),
            bytes_fetched: 0,
            peers: 0,
            left_out: Vec::new(),
        };
        Ok(Synced { copied, writer, may_write: self.shared().author_of(&drive).is_ok() })
    }

    /// Paths that several wrote at once and that nobody has written since. Reads the whole index. Blocks.
    ///
    /// # Errors
    /// The drive is not held here, or the disk failed.
    pub fn conflicts(&self, id: &DriveId) -> Result<Vec<Conflict>, DriveError> {
        let drive = self.known(id)?;
        conflicts_of(self.shared(), &drive, MAX_CONFLICTS)
    }

    /// Keeps every folder in step that has other writers.
    pub(crate) fn start_syncers(&self) {
        for drive in self.shared().registry.all() {
            self.start_syncer(&drive);
        }
    }

    /// Keeps a folder in step with what other writers do, if it has some and nobody does yet.
    pub(crate) fn start_syncer(&self, drive: &Arc<Drive>) {
        let state = drive.state();
        let has_writers = state.at.as_ref().is_some_and(|at| at.set.is_some());
        let is_due = match state.row.role {
            Role::Owner => has_writers,
            Role::Mirror => state.row.syncs && state.at.is_some(),
            Role::Reader => false,
        };
        if !is_due || !state.row.active {
            return;
        }
        let mut syncers = lock(&self.shared().syncers);
        if syncers.contains_key(&drive.id) {
            return;
        }
        let stop = self.alive.child_token();
        // Weak: the syncer must not keep the service alive.
        let shared = Arc::downgrade(self.shared());
        tokio::spawn(keep_in_step(shared, drive.clone(), stop.clone()));
        syncers.insert(drive.id, stop.drop_guard());
    }
}

/// The first conflicts of a drive, in path order. Blocks.
pub(crate) fn conflicts_of(shared: &Shared, drive: &Drive, limit: usize) -> Result<Vec<Conflict>, DriveError> {
    let at = drive.snapshot().ok_or(DriveError::UnknownDrive(drive.id))?;
    let known: Vec<WriterKey> = at.counters().into_iter().map(|(writer, _)| writer).collect();
    let whole = |version: &Version| known.iter().find(|writer| writer.prefix() == version.dot.writer).copied();
    let mut conflicts = Vec::new();
    for entry in Tree::new(&*shared.nodes, at.expected()).range(&[]) {
        let entry = entry.map_err(crate::content::walk_error)?;
        if entry.is_conflict() {
            let writers = entry.versions().iter().map(whole).collect();
            conflicts.push(Conflict { entry, writers });
        }
        if conflicts.len() >= limit {
            break;
        }
    }
    Ok(conflicts)
}

async fn keep_in_step(weak: std::sync::Weak<Shared>, drive: Arc<Drive>, stop: CancellationToken) {
    let work = async {
        loop {
            let Some(shared) = weak.upgrade() else { return };
            let hints = drive.state().row.link.parse::<Link>().map_or_else(|_| Hints::default(), |link| link.hints);
            let folder = match shared.folder_of(&drive) {
                Ok(folder) => folder,
                Err(error) => {
                    tracing::debug!(drive = %drive.id, %error, "no folder to keep in step");
                    tokio::time::sleep(PAUSE * 10).await;
                    continue;
                }
            };
            let events = shared.events.clone();
            let mut follower = Follower::start_sync(shared, drive.clone(), folder, &hints);
            loop {
                match follower.next().await {
                    Ok(copied) => {
                        for left in &copied.left_out {
                            tracing::info!(drive = %drive.id, path = left.path, reason = left.reason, "left out");
                        }
                        let _ = events.send(DriveEvent::Head { drive: drive.id, version: copied.version });
                        // What others wrote is in the folder now, and may be edited there.
                        if let Some(shared) = weak.upgrade() {
                            shared.published.notify_one();
                        }
                    }
                    Err(error @ (DriveError::NoPeers(_) | DriveError::Stalled(_))) => {
                        tracing::debug!(drive = %drive.id, %error, "the next state cannot be had yet");
                        tokio::time::sleep(PAUSE).await;
                    }
                    Err(error) => {
                        tracing::warn!(drive = %drive.id, %error, "the folder cannot be kept in step now");
                        tokio::time::sleep(PAUSE * 10).await;
                        break;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
        () = keep_merging(&weak, &drive) => {}
    }
}

/// Merges texts after every new state; beside the work of bringing states in, which must not wait for content.
async fn keep_merging(weak: &std::sync::Weak<Shared>, drive: &Arc<Drive>) {
    let mut states = drive.head_count.subscribe();
    let mut tried = HashSet::new();
    loop {
        let Some(shared) = weak.upgrade() else { return };
        if let Err(error) = merge_texts(&shared, drive, &mut tried).await {
            tracing::debug!(drive = %drive.id, %error, "texts were not merged");
        }
        drop(shared);
        if states.changed().await.is_err() {
            return;
        }
    }
}
