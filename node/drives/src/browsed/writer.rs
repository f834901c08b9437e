//! The one task that writes: it keeps within the quota, and frees the drive that was not looked at for longest.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use p2p_identity::DriveId;
use tokio::sync::mpsc;

use super::disk::Disk;
use super::quota::{BrowseState, Room};
use super::{BrowseCounters, Job, Queued};
use crate::DriveError;

/// Jobs that are done between two looks at the clock.
const BATCH: usize = 64;
/// What was written is known after a crash of the process once this has passed without more.
const FLUSH_AFTER: Duration = Duration::from_secs(2);
/// Most drives of which anything is kept, however little.
const MAX_DRIVES: usize = 1_024;

struct Writer {
    disk: Arc<Disk>,
    room: Arc<Room>,
    counters: Arc<BrowseCounters>,
    is_dirty: bool,
}

pub(super) fn spawn(disk: Arc<Disk>, room: Arc<Room>, counters: Arc<BrowseCounters>, jobs: mpsc::Receiver<Queued>) {
    let writer = Writer { disk, room, counters, is_dirty: false };
    tokio::spawn(run(writer, jobs));
}

/// Works until nobody can hand over any more.
async fn run(writer: Writer, mut jobs: mpsc::Receiver<Queued>) {
    let begun = tokio::task::spawn_blocking(move || {
        writer.begin();
        writer
    });
    let Ok(mut writer) = begun.await else { return };
    loop {
        let mut batch = Vec::new();
        let more = jobs.recv_many(&mut batch, BATCH);
        let count = if writer.is_dirty {
            // Nothing came: time to flush.
            tokio::time::timeout(FLUSH_AFTER, more).await.ok()
        } else {
            Some(more.await)
        };
        let worked = tokio::task::spawn_blocking(move || {
            writer.work(batch, count != Some(0) && count.is_some());
            writer
        });
        let Ok(after) = worked.await else { return };
        if count == Some(0) {
            return;
        }
        writer = after;
    }
}

impl Writer {
    fn begin(&self) {
        self.disk.take_stock();
        if self.room.is_off() {
            for (drive, ..) in self.disk.drives() {
                self.remove(&drive);
            }
        }
    }

    /// Does all of a batch; without one, or at the end, flushes.
    fn work(&mut self, batch: Vec<Queued>, goes_on: bool) {
        for queued in batch {
            self.one(queued.job);
        }
        if !goes_on
            && std::mem::take(&mut self.is_dirty)
            && let Err(error) = self.disk.flush()
        {
            tracing::debug!(%error, "what was looked at is not kept over a crash");
        }
    }

    fn one(&mut self, job: Job) {
        match job {
            Job::Small(drive, items) => {
                let cost = items.iter().map(|(_, bytes)| bytes.len() as u64).sum();
                self.keep(&drive, cost, |disk| disk.add_small(&drive, &items));
            }
            Job::Piece(drive, piece) => {
                self.keep(&drive, piece.cost() as u64, |disk| disk.add_piece(&drive, &piece));
            }
            Job::Head(drive, head) => {
                self.keep(&drive, head.len() as u64, |disk| disk.set_head(&drive, &head).map(|()| 0));
            }
            Job::Free(which, done) => {
                let drives = self.disk.drives();
                let wanted = drives.iter().filter(|(drive, ..)| which.is_none_or(|which| which == *drive));
                let freed = wanted
                    .map(|(drive, ..)| self.remove(drive))
                    .fold((0, 0), |(count, sum), bytes| (count + u64::from(bytes.is_some()), sum + bytes.unwrap_or(0)));
                self.room.note(BrowseState::Growing);
                let _ = done.send(freed);
            }
            Job::Settle(done) => {
                if std::mem::take(&mut self.is_dirty) {
                    let _ = self.disk.flush();
                }
                let _ = done.send(());
            }
        }
    }

    /// Keeps something, if there is room or room can be made.
    fn keep(&mut self, drive: &DriveId, cost: u64, add: impl FnOnce(&Disk) -> Result<u64, DriveError>) {
        let outcome = if self.room.is_paused() {
            BrowseState::DiskFull
        } else if !self.make_room(drive, cost) {
            BrowseState::Full
        } else {
            match add(&self.disk) {
                Ok(_) => {
                    self.is_dirty = true;
                    BrowseState::Growing
                }
                Err(error) if error.is_storage_full() => BrowseState::DiskFull,
                Err(error) => {
                    tracing::debug!(%drive, %error, "what was looked at cannot be kept");
                    self.counters.not_kept.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        };
        if outcome != BrowseState::Growing {
            self.counters.not_kept.fetch_add(1, Ordering::Relaxed);
        }
        // The pause began with the first that did not fit.
        if !self.room.is_paused() && self.room.note(outcome) && outcome != BrowseState::Growing {
            tracing::info!(state = %outcome, "what is looked at is read from peers, and not kept on disk");
        }
    }

    /// Frees drives, the one not looked at for longest first, until `cost` more bytes fit. The drive that they are for
    /// stays: it would only be fetched again.
    fn make_room(&self, drive: &DriveId, cost: u64) -> bool {
        let mut drives = self.disk.drives();
        let mut used: u64 = drives.iter().map(|(_, bytes, _)| bytes).sum();
        let (quota, _) = self.room.limit(used);
        drives.retain(|(other, ..)| other != drive);
        let mut oldest = drives.into_iter();
        while used.saturating_add(cost) > quota || oldest.len() >= MAX_DRIVES {
            let Some((other, ..)) = oldest.next() else { return false };
            let Some(bytes) = self.remove(&other) else { continue };
            used = used.saturating_sub(bytes);
            self.counters.evicted.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    fn remove(&self, drive: &DriveId) -> Option<u64> {
        self.disk.remove(drive).map_err(|error| tracing::warn!(%drive, %error, "its cache cannot be freed")).ok()
    }
}
