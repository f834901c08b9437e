//! Rebuilds what the cache says from what is on the disk: packs, proofs, kept content and folders (specs/drives.md, 17).
//!
//! Nothing in the cache is the only one of its kind, so all of this may be done at any time, ended at any time, and done
//! again. What is damaged itself is made again from the folder or fetched from peers; what cannot be had any more is named.

mod contents;
mod folder;
mod index;
mod packs;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use p2p_identity::DriveId;

pub(crate) use self::packs::adopt_packs;
use crate::DriveError;
use crate::engine::{DriveEvent, Drives, Shared};
use crate::gc::Pace;
use crate::lock::lock;
use crate::registry::Drive;

/// Most losses that are named one by one; more are counted.
const MAX_NAMED: usize = 1_000;

/// How far a repair is. Read while it runs.
#[derive(Debug, Default)]
pub struct RepairProgress {
    /// Files read so far, those of earlier versions included.
    pub files: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Files of all drives, as far as is known.
    pub files_total: AtomicU64,
    /// Their bytes.
    pub bytes_total: AtomicU64,
    /// What is being looked at, in words.
    doing: Mutex<String>,
}

impl RepairProgress {
    /// What is being looked at, in words.
    pub fn doing(&self) -> String {
        lock(&self.doing).clone()
    }

    fn begin(&self, doing: impl Into<String>) {
        *lock(&self.doing) = doing.into();
    }

    fn count(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Something that is lost, or not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Whose it is; `None` for content that no kept version speaks of.
    pub drive: Option<DriveId>,
    /// The version, where the owner made it.
    pub version: Option<u64>,
    /// The path in the drive; `None` for the version as a whole.
    pub path: Option<String>,
    /// What it is.
    pub what: Loss,
}

/// What can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Part of the index: nobody who was asked has it, so the version can only be listed in part.
    Index,
    /// What was in the file in an earlier version: the copy was damaged, and is removed.
    Content,
    /// The file in the folder is missing, or is not what the version says, although nobody seems to have edited it.
    File,
    /// The folder cannot be read.
    Folder,
}

/// What a repair found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Where the cache lies that had failed; it was replaced by a new one.
    pub cache_moved_to: Option<PathBuf>,
    /// Index nodes that were found in the packs and were not known.
    pub nodes: u64,
    /// Index nodes that were known and whose bytes are not good any more.
    pub damaged_nodes: u64,
    /// Trees of versions that were fetched from peers, in whole or in part.
    pub fetched: u64,
    /// Proofs that were missing or wrong, and were made again.
    pub proofs: u64,
    /// Leaves whose files' fingerprints were written again.
    pub leaves: u64,
    /// Files that were read, those of earlier versions included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is lost; at most 1,000 of it.
    pub lost: Vec<Lost>,
    /// How much more is lost.
    pub lost_beside: u64,
    /// Folders whose index is lost and comes back with their next import: as a new version.
    pub to_import: Vec<(DriveId, PathBuf)>,
}

impl Repaired {
    fn lose(&mut self, lost: Lost) {
        if self.lost.len() < MAX_NAMED {
            self.lost.push(lost);
        } else {
            self.lost_beside += 1;
        }
    }
}

/// What all steps work with.
struct Repair {
    shared: Arc<Shared>,
    progress: Arc<RepairProgress>,
    pace: Pace,
    done: Mutex<Repaired>,
}

impl Drives {
    /// Rebuilds everything that can be rebuilt, while the node goes on. Dropped midway, what was rebuilt so far stays, and
    /// the rest is as it was.
    ///
    /// # Errors
    /// The disk failed. What is lost is no error.
    pub async fn repair(&self, progress: Arc<RepairProgress>) -> Result<Repaired, DriveError> {
        let stop = self.alive.child_token();
        // Dropped midway, the thread at work ends after its next file.
        let _stop = stop.clone().drop_guard();
        let shared = self.shared().clone();
        let repair =
            Arc::new(Repair { shared: shared.clone(), progress, pace: Pace::brisk(stop), done: Mutex::default() });
        // What is fetched now is needed by versions that are kept; until that is seen nothing is freed.
        let _writing = shared.holds.writing();
        on_thread(&repair, |repair| {
            lock(&repair.done).cache_moved_to = repair.shared.cache.renew()?;
            packs::repair(repair)
        })
        .await?;
        let mut drives: Vec<Arc<Drive>> =
            shared.registry.all().into_iter().filter(|drive| drive.state().row.active).collect();
        drives.sort_by_key(|drive| drive.id);
        for drive in &drives {
            let state = drive.state();
            repair.progress.files_total.fetch_add(state.row.files, Ordering::Relaxed);
            let bytes = state.at.as_ref().map_or(0, |at| at.bytes);
            repair.progress.bytes_total.fetch_add(bytes, Ordering::Relaxed);
        }
        for drive in &drives {
            self.repair_index(&repair, drive).await?;
            let of = drive.clone();
            on_thread(&repair, move |repair| folder::repair(repair, &of)).await?;
        }
        on_thread(&repair, contents::repair).await?;
        on_thread(&repair, |repair| repair.shared.nodes.sync()).await?;
        let mut done = lock(&repair.done).clone();
        done.files = repair.progress.files.load(Ordering::Relaxed);
        done.bytes = repair.progress.bytes.load(Ordering::Relaxed);
        // What could not be served a moment ago may be asked for again.
        for drive in drives {
            if let Some(at) = drive.snapshot() {
                let _ = shared.events.send(DriveEvent::Head { drive: drive.id, version: at.version() });
            }
        }
        shared.changed();
        Ok(done)
    }
}

/// One step, which nothing is freed beside.
async fn on_thread<T: Send + 'static>(
    repair: &Arc<Repair>,
    step: impl FnOnce(&Repair) -> Result<T, DriveError> + Send + 'static,
) -> Result<T, DriveError> {
    let repair = repair.clone();
    tokio::task::spawn_blocking(move || {
        let _one = lock(&repair.shared.collecting);
        step(&repair)
    })
    .await?
}
