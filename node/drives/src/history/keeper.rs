//! Works in the background for the sake of history: keeps the content of what was just published, and forgets versions
//! that need not be kept any longer.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use p2p_identity::{ContentId, WriterKey};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::retention::{Retained, dropped};
use crate::DriveError;
use crate::content::{ContentIndex, LeafCache, load, walk_error};
use crate::engine::Shared;
use crate::entry::{Entry, Kind};
use crate::kept::Keeping;
use crate::nodes::NodeStore;
use crate::registry::{Drive, Role};
use crate::store::{Batch, CacheTable};
use crate::tree::{Change, Expected, NodeId, Tree};

/// After this many bytes copied, as long a pause as the copying took: sharing and serving come first.
const COPY_STRETCH_BYTES: u64 = 8 * 1024 * 1024;
/// A copy counts as this much at least: a new file costs what copying so many bytes does.
const LEAST_COPY_BYTES: u64 = 64 * 1024;
/// Before anything is kept of a version: whoever waits for it gets the disk.
const AFTER_PUBLISHING: Duration = Duration::from_millis(300);
/// How often versions are looked through.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);
/// Before that happens for the first time.
const PRUNE_FIRST: Duration = Duration::from_secs(60);

/// Keeps content and prunes versions until `stop`.
pub(crate) async fn keep_history(shared: Arc<Shared>, stop: CancellationToken) {
    let mut next_prune = Instant::now() + PRUNE_FIRST;
    loop {
        let published = shared.published.notified();
        let due: Vec<Arc<Drive>> = shared.registry.all().into_iter().filter(|drive| is_ours(drive)).collect();
        let working = shared.clone();
        let halt = stop.clone();
        let done = tokio::task::spawn_blocking(move || {
            for drive in due {
                if let Err(error) = keep_content(&working, &drive, &halt) {
                    tracing::warn!(drive = %drive.id, %error, "content cannot be kept for history");
                }
            }
        });
        if done.await.is_err() || stop.is_cancelled() {
            return;
        }
        if Instant::now() >= next_prune {
            next_prune = Instant::now() + PRUNE_EVERY;
            let working = shared.clone();
            let pruned = tokio::task::spawn_blocking(move || prune(&working, now_ms())).await;
            match pruned {
                Ok(Ok(0)) => {}
                Ok(Ok(gone)) => tracing::info!(gone, "earlier versions were forgotten"),
                Ok(Err(error)) => tracing::warn!(%error, "earlier versions cannot be forgotten"),
                Err(_) => return,
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = published => tokio::time::sleep(AFTER_PUBLISHING).await,
            () = tokio::time::sleep_until(next_prune) => {}
        }
    }
}

/// Whether this node writes to the drive: what it publishes, it keeps.
fn is_ours(drive: &Drive) -> bool {
    let state = drive.state();
    state.row.active && (state.row.role == Role::Owner || state.row.syncs) && state.at.is_some()
}

/// Keeps the content of the newest version at once.
#[cfg(test)]
pub(crate) fn keep_now(shared: &Shared, drive: &Drive) {
    keep_content(shared, drive, &CancellationToken::new()).unwrap();
}

/// Keeps what the newest version has and what was not looked at before. Blocks for long, gently.
fn keep_content(shared: &Shared, drive: &Drive, stop: &CancellationToken) -> Result<(), DriveError> {
    let Some(at) = drive.snapshot() else { return Ok(()) };
    let before = shared.cache.get(CacheTable::Kept, drive.id.as_bytes())?;
    let before = before.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(NodeId::from);
    if before == Some(at.root) {
        return Ok(());
    }
    let folder = shared.folder_of(drive)?;
    let index = ContentIndex::of(drive, &shared.nodes)?;
    // What the folder itself still has is kept only in case it changes: it may go for what changed just now.
    let is_spare = |hash: &ContentId| {
        index.locate(hash, &shared.nodes, &mut LeafCache::default()).is_ok_and(|found| !found.is_empty())
    };
    let mut stretch = (0, std::time::Instant::now());
    let mut keep = |entry: &Entry| -> io::Result<()> {
        let version = entry.shown();
        if version.kind != Kind::File || version.inline.is_some() || version.size == 0 {
            return Ok(());
        }
        if let Keeping::Kept { copied } = shared.kept.keep(&folder, &entry.key().to_path(), version, &is_spare)? {
            stretch.0 += if copied > 0 { copied.max(LEAST_COPY_BYTES) } else { 0 };
        }
        if stretch.0 >= COPY_STRETCH_BYTES {
            std::thread::sleep(stretch.1.elapsed().min(Duration::from_secs(1)));
            stretch = (0, std::time::Instant::now());
        }
        Ok(())
    };
    let new = Tree::new(&*shared.nodes, at.expected());
    let known = before.filter(|root| load(&shared.nodes, &Expected::root(*root)).is_ok());
    let mut is_compared = false;
    if let Some(before) = known {
        let old = Tree::new(&*shared.nodes, Expected::root(before));
        match keep_changed(&old, &new, &mut keep, stop) {
            Ok(Going::On) => is_compared = true,
            Ok(Going::Stop) => return Ok(()),
            // Part of the version before is gone: then all of this one is looked through.
            Err(DriveError::Corrupt(reason)) => tracing::debug!(drive = %drive.id, reason, "kept anew"),
            Err(error) => return Err(error),
        }
    }
    if !is_compared {
        for entry in new.range(&[]) {
            keep(&entry.map_err(walk_error)?).map_err(failed())?;
            if stop.is_cancelled() {
                return Ok(());
            }
        }
    }
    let mut row = Batch::new();
    row.put(CacheTable::Kept, *drive.id.as_bytes(), *at.root.as_bytes());
    Ok(shared.cache.apply(&row)?)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Going {
    On,
    Stop,
}

/// Keeps what one version has and the one before had not.
fn keep_changed(
    old: &Tree<'_, NodeStore>,
    new: &Tree<'_, NodeStore>,
    keep: &mut impl FnMut(&Entry) -> io::Result<()>,
    stop: &CancellationToken,
) -> Result<Going, DriveError> {
    for change in old.diff(new).map_err(walk_error)? {
        match change.map_err(walk_error)? {
            Change::Added(entry) | Change::Changed { after: entry, .. } => keep(&entry).map_err(failed())?,
            Change::Removed(_) => {}
        }
        if stop.is_cancelled() {
            return Ok(Going::Stop);
        }
    }
    Ok(Going::On)
}

fn failed() -> impl Fn(io::Error) -> DriveError {
    |error| DriveError::io("keep content for history")(error)
}

/// Forgets what retention drops; what only that needed is freed by [`crate::gc`]. Returns the number of versions. Blocks.
pub(crate) fn prune(shared: &Shared, now_ms: u64) -> Result<usize, DriveError> {
    let mut count = 0;
    for drive in shared.registry.all() {
        let gone = droppable(shared, &drive, now_ms)?;
        if !gone.is_empty() {
            count += gone.len();
            shared.registry.forget_heads(&drive, &gone)?;
        }
    }
    Ok(count)
}

fn droppable(shared: &Shared, drive: &Drive, now_ms: u64) -> Result<Vec<ContentId>, DriveError> {
    let notes = shared.registry.history(drive)?;
    let tagged: HashSet<ContentId> = shared.registry.tags(&drive.id)?.into_iter().map(|(_, hash)| hash).collect();
    let mut by_writer: HashMap<WriterKey, Vec<Retained>> = HashMap::new();
    for note in notes.iter() {
        let is_tagged = tagged.contains(&note.hash);
        let version = Retained { counter: note.counter, time_ms: note.time_ms(), is_tagged };
        by_writer.entry(note.writer).or_default().push(version);
    }
    let gone: HashSet<(WriterKey, u64)> = by_writer
        .into_iter()
        .flat_map(|(writer, versions)| dropped(&versions, now_ms).into_iter().map(move |counter| (writer, counter)))
        .collect();
    Ok(notes.iter().filter(|note| gone.contains(&(note.writer, note.counter))).map(|note| note.hash).collect())
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::{StreamExt, stream};

    use super::*;
    use crate::gc::{Pace, When, collect};
    use crate::hostile_tests::network::{Net, TestNode};
    use crate::{At, ImportProgress, LocalPath, PathKey};

    const DAY_MS: u64 = 86_400_000;

    #[tokio::test]
    async fn what_retention_drops_is_gone_with_its_content_and_a_tag_keeps_it() {
        let net = Arc::new(Net::default());
        let node = TestNode::start(&net, 1);
        let folder = node.home.path().join("shared");
        std::fs::create_dir(&folder).unwrap();
        let (drives, shared) = (node.drives.clone(), node.drives.shared().clone());
        let id = drives.create(Some(&folder), "t").unwrap().id;
        let stop = CancellationToken::new();
        for n in 0..4_u8 {
            std::fs::write(folder.join("a"), vec![n; 1_000]).unwrap();
            let paths = stream::iter([Ok(LocalPath {
                key: PathKey::from_path("a").unwrap(),
                at: None,
                named: crate::Named::Entry,
            })])
            .boxed();
            drives
                .import(&id, paths, crate::Extent::Everything, String::new(), Arc::new(ImportProgress::default()))
                .await
                .unwrap();
            keep_content(&shared, &drives.known(&id).unwrap(), &stop).unwrap();
        }
        let version = |n: u64| At::Version(p2p_identity::VersionRef::Counter(n));
        drives.set_tag(&id, "mine", Some(&version(2))).await.unwrap();
        let kept =
            || (0..4_u8).filter(|n| shared.kept.has(&ContentId::of(&vec![*n; 1_000]), 1_000)).collect::<Vec<_>>();
        assert_eq!(kept(), [0, 1, 2, 3]);
        assert_eq!(prune(&shared, now_ms()).unwrap(), 0, "everything of a day");
        // All four were made within an hour, or around its end.
        let gone = prune(&shared, now_ms() + 2 * DAY_MS).unwrap();
        assert!((1..=2).contains(&gone), "{gone}");
        prune(&shared, now_ms() + 40 * DAY_MS).unwrap();
        let pace = Pace::brisk(stop.clone());
        let freed = collect(&shared, When::Now, &pace).unwrap();
        assert_eq!((freed.nodes, freed.contents, freed.waiting_bytes), (2, 2, 0), "{freed:?}");
        let log = drives.log(&id, None, 10).await.unwrap();
        assert_eq!(log.iter().map(|v| v.counter).collect::<Vec<_>>(), [4, 2]);
        assert_eq!(log[1].tags, ["mine"]);
        assert_eq!(kept(), [1, 3]);
        let error = drives.entry_at(&id, &PathKey::from_path("a").unwrap(), &version(1)).await.unwrap_err();
        assert!(matches!(error, DriveError::VersionNotKept(_)), "{error}");
        drives.stop();
    }
}
