//! What is stored and what has travelled, as the contract tells it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use futures::{StreamExt, stream};
use p2p_api::{
    BrowsedState, BrowsedUsage, DriveRole, DriveUsage, Flow, Loss, Lost, RepairEvent, Repaired, StorageUsage, Stream,
    Traffic,
};
use p2p_drives::{BrowseState, DriveError, Drives, RepairProgress, Role};

use super::convert::api_error;
use super::reported::reported;

/// Blocks.
pub(super) fn usage(drives: &Drives) -> Result<StorageUsage, DriveError> {
    let browsed = drives.browse_usage();
    let store = drives.store_usage()?;
    let held: HashMap<_, _> = store.drives.iter().map(|held| (held.drive, held)).collect();
    let mut cached: HashMap<_, _> =
        browsed.drives.iter().map(|(drive, bytes, looked_at)| (*drive, (*bytes, *looked_at))).collect();
    let seconds = |time: std::time::SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut all = Vec::new();
    let mut looked_at = Vec::new();
    for status in drives.list() {
        let of_cache = cached.remove(&status.id);
        let in_folder = status.role != Role::Reader;
        if !in_folder && of_cache.is_none() {
            continue;
        }
        let usage = DriveUsage {
            drive: status.id,
            title: status.title,
            role: match status.role {
                Role::Owner => DriveRole::Owner,
                Role::Mirror => DriveRole::Mirror,
                Role::Reader => DriveRole::Reader,
            },
            path: status.folder,
            files: if in_folder { status.files } else { 0 },
            bytes: if in_folder { status.bytes } else { 0 },
            cached_bytes: of_cache.map_or(0, |(bytes, _)| bytes),
            looked_at: of_cache.map(|(_, time)| seconds(time)),
            stopped: false,
            versions: held.get(&status.id).map_or(0, |held| held.versions),
            index_bytes: held.get(&status.id).map_or(0, |held| held.index_bytes),
        };
        if in_folder { all.push(usage) } else { looked_at.push(usage) }
    }
    // Looked at before the last start.
    looked_at.extend(cached.into_iter().map(|(drive, (bytes, time))| DriveUsage {
        drive,
        title: String::new(),
        role: DriveRole::Reader,
        path: None,
        files: 0,
        bytes: 0,
        cached_bytes: bytes,
        looked_at: Some(seconds(time)),
        stopped: false,
        versions: 0,
        index_bytes: 0,
    }));
    let stopped = store.drives.iter().filter(|held| held.is_stopped).map(|held| DriveUsage {
        drive: held.drive,
        title: held.title.clone(),
        role: if held.is_owner { DriveRole::Owner } else { DriveRole::Mirror },
        path: held.folder.clone(),
        files: 0,
        bytes: 0,
        cached_bytes: 0,
        looked_at: None,
        stopped: true,
        versions: held.versions,
        index_bytes: held.index_bytes,
    });
    all.extend(stopped);
    all.sort_by_key(|usage| (std::cmp::Reverse(usage.bytes), usage.drive));
    looked_at.sort_by_key(|usage| (std::cmp::Reverse(usage.cached_bytes), usage.drive));
    all.append(&mut looked_at);
    let state = match browsed.state {
        BrowseState::Off => BrowsedState::Off,
        BrowseState::Growing => BrowsedState::Growing,
        BrowseState::Full => BrowsedState::Full,
        BrowseState::DiskFull => BrowsedState::DiskFull,
    };
    Ok(StorageUsage {
        drives: all,
        browsed: BrowsedUsage { quota_bytes: browsed.quota_bytes, used_bytes: browsed.used_bytes, state },
        index_bytes: drives.index_bytes(),
        free_bytes: browsed.free_bytes,
        history_bytes: store.history_bytes,
        freeable_bytes: store.freeable_bytes,
    })
}

/// Dropping the stream stops the repair after its next file.
pub(super) fn repair(drives: Drives) -> Stream<RepairEvent> {
    let progress = Arc::new(RepairProgress::default());
    let counted = progress.clone();
    let job = async move { drives.repair(counted).await.map(|done| RepairEvent::Done(told(done))).map_err(api_error) };
    reported(stream::once(job).boxed(), move |_| {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Some(RepairEvent::Progress {
            doing: progress.doing(),
            files_done: load(&progress.files),
            files_total: load(&progress.files_total),
            bytes_done: load(&progress.bytes),
            bytes_total: load(&progress.bytes_total),
        })
    })
}

fn told(done: p2p_drives::Repaired) -> Repaired {
    let lost = done.lost.into_iter().map(|lost| Lost {
        drive: lost.drive,
        version: lost.version,
        path: lost.path,
        what: match lost.what {
            p2p_drives::Loss::Index => Loss::Index,
            p2p_drives::Loss::Content => Loss::Content,
            p2p_drives::Loss::File => Loss::File,
            p2p_drives::Loss::Folder => Loss::Folder,
        },
    });
    Repaired {
        cache_moved_to: done.cache_moved_to,
        nodes: done.nodes,
        damaged_nodes: done.damaged_nodes,
        fetched: done.fetched,
        proofs: done.proofs,
        leaves: done.leaves,
        files: done.files,
        bytes: done.bytes,
        lost: lost.collect(),
        lost_beside: done.lost_beside,
        to_share: done.to_import.into_iter().map(|(_, path)| path).collect(),
    }
}

pub(super) fn traffic(drives: &Drives) -> Traffic {
    let flows = drives.traffic().into_iter().map(|flow| Flow {
        peer: flow.peer,
        drive: flow.drive,
        sent_bytes: flow.sent,
        received_bytes: flow.received,
    });
    Traffic { flows: flows.collect() }
}
