//! `p2p du`.

use p2p_api::{BrowsedState, DriveUsage, StorageUsage};

use crate::failure::Result;
use crate::human::{bytes, count, date, number, printable};
use crate::session::{Context, Need};

pub(crate) async fn run(context: &mut Context) -> Result<()> {
    context
        .with_node(Need::Running, async |console, client, _| {
            let usage = client.node().drives().usage().await?;
            console.emit(&usage)?;
            let (stopped, rest): (Vec<_>, Vec<_>) = usage.drives.iter().partition(|drive| drive.stopped);
            let (held, seen): (Vec<_>, Vec<_>) = rest.into_iter().partition(|drive| drive.path.is_some());
            if !held.is_empty() {
                let heading = ["FOLDER", "FILES", "SIZE", "VERSIONS", "INDEX", "DRIVE"];
                console.table(heading, held.into_iter().map(folder).collect())?;
                console.say("")?;
            }
            if !stopped.is_empty() {
                let heading = ["NO LONGER SHARED", "VERSIONS", "INDEX", "DRIVE"];
                console.table(heading, stopped.into_iter().map(no_longer).collect())?;
                console.say("")?;
            }
            if !seen.is_empty() {
                let heading = ["ONLY LOOKED AT", "LAST", "SIZE", ""];
                console.table(heading, seen.into_iter().map(cached).collect())?;
                console.say("")?;
            }
            for line in summary(&usage) {
                console.say(line)?;
            }
            Ok(())
        })
        .await
}

fn folder(drive: &DriveUsage) -> [String; 6] {
    let (files, versions) = (number(drive.files), number(drive.versions));
    [path_of(drive), files, bytes(drive.bytes), versions, bytes(drive.index_bytes), drive.drive.to_string()]
}

/// Its versions with a tag are kept, and until the next `p2p gc` perhaps more.
fn no_longer(drive: &DriveUsage) -> [String; 4] {
    [path_of(drive), number(drive.versions), bytes(drive.index_bytes), drive.drive.to_string()]
}

fn path_of(drive: &DriveUsage) -> String {
    printable(&drive.path.as_deref().map(|path| path.display().to_string()).unwrap_or_default())
}

fn cached(drive: &DriveUsage) -> [String; 4] {
    let looked_at = drive.looked_at.map(|seconds| date((seconds as i64).saturating_mul(1_000_000_000)));
    [drive.drive.to_string(), looked_at.unwrap_or_default(), bytes(drive.cached_bytes), printable(&drive.title)]
}

fn summary(usage: &StorageUsage) -> Vec<String> {
    let (in_folders, browsed) = (usage.drives.iter().map(|drive| drive.bytes).sum::<u64>(), &usage.browsed);
    let drives = usage.drives.iter().filter(|drive| drive.cached_bytes > 0).count() as u64;
    let state = match browsed.state {
        BrowsedState::Off => "; it is switched off (browse_cache in config.toml)",
        BrowsedState::Growing => "",
        BrowsedState::Full => "; it is full, so more is read from peers and not kept",
        BrowsedState::DiskFull => "; the disk is full, so more is read from peers and not kept",
    };
    vec![
        format!("In folders:      {} (stored once, where they are)", bytes(in_folders)),
        format!("Index of them:   {}", bytes(usage.index_bytes)),
        format!("Earlier content: {}", bytes(usage.history_bytes)),
        format!("Can be freed:    {} of the index (p2p gc; else by itself)", bytes(usage.freeable_bytes)),
        format!(
            "Only looked at:  {} of at most {}, {}{state}",
            bytes(browsed.used_bytes),
            bytes(browsed.quota_bytes),
            count(drives, "drive", "drives")
        ),
        format!("Free on disk:    {}", bytes(usage.free_bytes)),
    ]
}
