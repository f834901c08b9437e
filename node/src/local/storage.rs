//! What is stored and what has travelled, as the contract tells it.

use std::collections::HashMap;
use std::time::UNIX_EPOCH;

use p2p_api::{BrowsedState, BrowsedUsage, DriveRole, DriveUsage, Flow, StorageUsage, Traffic};
use p2p_drives::{BrowseState, Drives, Role};

/// Blocks.
pub(super) fn usage(drives: &Drives) -> StorageUsage {
    let browsed = drives.browse_usage();
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
    }));
    all.sort_by_key(|usage| (std::cmp::Reverse(usage.bytes), usage.drive));
    looked_at.sort_by_key(|usage| (std::cmp::Reverse(usage.cached_bytes), usage.drive));
    all.append(&mut looked_at);
    let state = match browsed.state {
        BrowseState::Off => BrowsedState::Off,
        BrowseState::Growing => BrowsedState::Growing,
        BrowseState::Full => BrowsedState::Full,
        BrowseState::DiskFull => BrowsedState::DiskFull,
    };
    StorageUsage {
        drives: all,
        browsed: BrowsedUsage { quota_bytes: browsed.quota_bytes, used_bytes: browsed.used_bytes, state },
        index_bytes: drives.index_bytes(),
        free_bytes: browsed.free_bytes,
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
