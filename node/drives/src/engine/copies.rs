//! Drives in folders of this node: what may become a copy, made once or kept up to date.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use p2p_identity::{DriveId, Link, VersionRef};

use super::{DriveEvent, Drives, drive_of};
use crate::DriveError;
use crate::folder::{Folder, temporary_name};
use crate::history::At;
use crate::lock::lock;
use crate::mirror::{Copied, CopyProgress, DEFAULT_PATIENCE, ExternalLinks, Follower};
use crate::registry::{Drive, DriveRow, Role};

impl Drives {
    /// Copies the newest version that can be had into a folder, and serves it from then on. Durable when this returns.
    /// Dropped midway, the same call goes on where it was.
    ///
    /// # Errors
    /// Nobody has the drive, the folder is in the way, or the disk failed.
    pub async fn copy(
        &self,
        link: &Link,
        target: &Path,
        links: ExternalLinks,
        patience: Option<Duration>,
        progress: Arc<CopyProgress>,
    ) -> Result<Copied, DriveError> {
        self.follow(link, target, links, patience, progress).await?.next().await
    }

    /// Copies an earlier version into a folder of its own, which is not brought up to date later. Content that nobody who
    /// was asked keeps is left out and reported.
    ///
    /// # Errors
    /// As for [`Drives::copy`], and nobody who was asked keeps the version.
    pub async fn copy_at(
        &self,
        link: &Link,
        target: &Path,
        at: At,
        links: ExternalLinks,
        patience: Option<Duration>,
        progress: Arc<CopyProgress>,
    ) -> Result<Copied, DriveError> {
        let id = drive_of(link)?;
        let (this, path, wanted) = (self.clone(), target.to_owned(), at.clone());
        let prepared = tokio::task::spawn_blocking(move || this.prepare_past_copy(id, &path, &wanted));
        let (drive, folder, at) = prepared.await??;
        let patience = patience.unwrap_or(DEFAULT_PATIENCE);
        let shared = self.shared.clone();
        Follower::start(shared, drive, folder, &link.hints, links, patience, progress).past(at).await
    }

    /// An earlier version goes into an empty folder, or one where the same was interrupted. The drive is a stranger to the
    /// registry: what is known of it does not change. A tag becomes the version that it names here. Blocks.
    fn prepare_past_copy(
        &self,
        id: DriveId,
        target: &Path,
        at: &At,
    ) -> Result<(Arc<Drive>, Arc<Folder>, At), DriveError> {
        let _one = lock(&self.shared.preparing);
        let registry = &self.shared.registry;
        let holds_it = |drive: &Arc<Drive>| {
            drive.state().row.active && drive.state().row.folder_path().is_some_and(|path| target.starts_with(path))
        };
        if let Some(other) = registry.all().into_iter().find(holds_it) {
            return Err(DriveError::FolderTaken { path: target.to_owned(), drive: other.id });
        }
        let at = match (at, registry.get(&id)) {
            (At::Tag(name), known) => {
                let hash = registry.tags(&id)?.into_iter().find(|(tag, _)| tag == name).map(|(_, hash)| hash);
                let hash = hash.filter(|_| known.is_some());
                let missing = || DriveError::NoSuchVersion(format!("there is no tag {name:?} on this node"));
                At::Version(VersionRef::of_head(hash.ok_or_else(missing)?.as_bytes()))
            }
            (at, _) => at.clone(),
        };
        let folder = Folder::create(target).map_err(DriveError::io(format!("make {}", target.display())))?;
        // The last step of a copy removes it, so it is there only where one was interrupted.
        let marker = temporary_name(&[b"earlier version of ".as_slice(), id.as_bytes()].concat());
        let is_interrupted = folder.status(&marker).is_ok();
        if !is_interrupted && !folder.is_empty().map_err(DriveError::io(format!("list {}", target.display())))? {
            return Err(DriveError::TargetNotEmpty(target.to_owned()));
        }
        folder.open_temporary(&marker, &marker).map_err(DriveError::io(format!("write into {}", target.display())))?;
        let drive = Drive::new(id, DriveRow::new(Role::Reader, None, String::new()), None);
        Ok((Arc::new(drive), Arc::new(folder), at))
    }

    /// As [`Drives::copy`], version after version: each call of [`Following::next`] brings one into the folder.
    ///
    /// # Errors
    /// The folder is in the way, or the drive is being copied already.
    pub async fn follow(
        &self,
        link: &Link,
        target: &Path,
        links: ExternalLinks,
        patience: Option<Duration>,
        progress: Arc<CopyProgress>,
    ) -> Result<Following, DriveError> {
        let id = drive_of(link)?;
        let (this, path) = (self.clone(), target.to_owned());
        let Prepared { drive, folder, work, made } =
            tokio::task::spawn_blocking(move || this.prepare_copy(id, &path)).await??;
        let patience = patience.unwrap_or(DEFAULT_PATIENCE);
        let (shared, of) = (self.shared.clone(), drive.clone());
        let follower = Follower::start(shared, drive, folder, &link.hints, links, patience, progress);
        Ok(Following { drives: self.clone(), drive: of, follower, is_complete: false, made, _work: work })
    }

    /// Everything that may speak against a copy is asked before anything is changed. Blocks.
    pub(crate) fn prepare_copy(&self, id: DriveId, target: &Path) -> Result<Prepared, DriveError> {
        // One at a time: two commands for one folder must not both find it free.
        let _one = lock(&self.shared.preparing);
        let registry = &self.shared.registry;
        let other = registry.of_folder(target).filter(|drive| drive.id != id);
        if let Some(other) = other.filter(|drive| drive.state().row.active) {
            return Err(DriveError::FolderTaken { path: target.to_owned(), drive: other.id });
        }
        let known = registry.get(&id);
        let before = known.as_ref().map(|drive| drive.state());
        let at = before.as_ref().and_then(|state| state.row.folder_path());
        let (is_owner, is_active) =
            before.as_ref().map_or((false, false), |state| (state.row.role == Role::Owner, state.row.active));
        if is_owner && at.as_deref().is_some_and(|shared| target.starts_with(shared)) {
            let reason =
                "this folder lies where the drive is shared from: the copy would be shared with it, without end";
            return Err(DriveError::Invalid(reason.into()));
        }
        let is_ours = !is_owner && at.as_deref() == Some(target);
        let has_moved = !is_owner && !is_ours && at.as_ref().is_some_and(|at| !at.exists());
        if let Some(at) = at.filter(|_| !is_owner && !is_ours && !has_moved && is_active) {
            return Err(DriveError::CopiedElsewhere { path: at, drive: id });
        }
        let made = (!target.exists()).then(|| target.to_owned());
        let folder = Folder::create(target).map_err(DriveError::io(format!("make {}", target.display())))?;
        let may_hold_files = is_ours || has_moved;
        if !may_hold_files && !folder.is_empty().map_err(DriveError::io(format!("list {}", target.display())))? {
            return Err(DriveError::TargetNotEmpty(target.to_owned()));
        }
        let drive = match known {
            // The owner's drive is copied elsewhere without a row of its own: it stays the owner's.
            Some(_) if is_owner => Arc::new(Drive::new(id, DriveRow::new(Role::Reader, None, String::new()), None)),
            Some(drive) => drive,
            None => registry.insert(id, DriveRow::new(Role::Mirror, Some(target), String::new()))?,
        };
        let work = drive.work.clone().try_lock_owned().map_err(|_| DriveError::Busy)?;
        if let Some(state) = before.filter(|_| !is_owner) {
            // What lies in a folder that was moved is judged by the version it had; elsewhere there is no version yet.
            let at = state.at.filter(|_| may_hold_files);
            let row = DriveRow {
                role: Role::Mirror,
                active: true,
                complete: false,
                folder: DriveRow::new(Role::Mirror, Some(target), String::new()).folder,
                ..state.row
            };
            registry.store(&drive, row, at)?;
        }
        lock(&self.shared.folders).remove(&id);
        // The owner's drive is copied elsewhere as a stranger's: its own names are those of its folder.
        let names = if is_owner { Arc::default() } else { self.shared.names_of(&drive)? };
        if has_moved {
            names.look_again();
        }
        if !is_owner && !may_hold_files {
            names.forget()?;
        }
        Ok(Prepared { drive, folder: Arc::new(folder.with_names(names)), work, made })
    }
}

/// A copy that nothing speaks against.
pub(crate) struct Prepared {
    pub(crate) drive: Arc<Drive>,
    pub(crate) folder: Arc<Folder>,
    pub(crate) work: tokio::sync::OwnedMutexGuard<()>,
    /// The target, if it was not there before.
    made: Option<PathBuf>,
}

/// A drive that is being copied into a folder, now and whenever it changes. Ends when dropped.
pub struct Following {
    drives: Drives,
    drive: Arc<Drive>,
    follower: Follower,
    is_complete: bool,
    made: Option<PathBuf>,
    _work: tokio::sync::OwnedMutexGuard<()>,
}

impl Following {
    /// Brings the newest version into the folder; after the first one, waits for the next as long as it takes, and goes
    /// on waiting where it cannot be had. Durable when this returns. Cancel safe: the next call goes on where it was.
    ///
    /// # Errors
    /// Nobody has the drive (the first time), or the disk failed.
    pub async fn next(&mut self) -> Result<Copied, DriveError> {
        /// Before a version that could not be had is tried again.
        const PAUSE: Duration = Duration::from_secs(1);
        let copied = loop {
            match self.follower.next().await {
                Err(error @ (DriveError::NoPeers(_) | DriveError::Stalled(_))) if self.is_complete => {
                    tracing::debug!(drive = %self.drive.id, %error, "the next version cannot be had yet");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    self.forget_attempt();
                    return Err(error);
                }
                Ok(copied) => break copied,
            }
        };
        self.is_complete = true;
        self.drives.shared.changed.notify_waiters();
        let _ = self.drives.shared.events.send(DriveEvent::Copied { drive: self.drive.id, version: copied.version });
        Ok(copied)
    }
}

impl Following {
    /// A copy of which nothing came leaves nothing behind: no folder that it made, and no row of a drive that may not
    /// even exist.
    fn forget_attempt(&self) {
        let state = self.drive.state();
        if self.is_complete || state.at.is_some() || state.row.role != Role::Mirror {
            return;
        }
        // Fails where something lies in it: then it is an interrupted copy, and the same command goes on with it.
        let is_nothing = match &self.made {
            Some(made) => std::fs::remove_dir(made).is_ok(),
            None => false,
        };
        if is_nothing && let Err(error) = self.drives.shared.registry.forget(&self.drive.id) {
            tracing::warn!(drive = %self.drive.id, %error, "a copy that failed is still listed");
        }
    }
}
