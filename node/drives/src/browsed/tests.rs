//! A reader that keeps what it read: over restarts, over damage, within its quota.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use p2p_identity::{DriveId, Link, Target};
use tempfile::TempDir;

use super::*;
use crate::ahead::LOOK_AHEAD_BYTES;
use crate::hostile_tests::network::{LARGE_BYTES, Net, Owner, TestNode, files_under};
use crate::{Cache, CopyProgress, Extent, ExternalLinks, Listing, MemoryCache, PathKey, Role};

/// How long a look for peers may take.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

/// A reader, and what outlives it.
struct Reader {
    node: TestNode,
    rows: Arc<dyn Cache>,
}

impl Reader {
    fn start(net: &Arc<Net>, quota: BrowseQuota) -> Self {
        Self::start_in(net, tempfile::tempdir().unwrap(), Arc::new(MemoryCache::default()), quota)
    }

    fn start_in(net: &Arc<Net>, home: TempDir, rows: Arc<dyn Cache>, quota: BrowseQuota) -> Self {
        Self { node: TestNode::start_in(net, 2, home, rows.clone(), quota), rows }
    }

    /// Ends this one and starts another in its place, with a memory of its own.
    async fn restart(self, net: &Arc<Net>) -> Self {
        self.node.drives.settle_browsed().await;
        let TestNode { drives, home, .. } = self.node;
        drives.stop();
        Self::start_in(net, home, self.rows, BrowseQuota::Auto)
    }

    async fn open(&self, drive: DriveId) {
        self.node.drives.open_link(&Link::to(Target::Drive(drive)), PATIENCE).await.unwrap();
    }

    async fn read(&self, drive: DriveId, path: &str, start: u64, end: Option<u64>) -> Vec<u8> {
        let path = PathKey::from_path(path).unwrap();
        let content = self.node.drives.read_file(&drive, &path, start, end).await.unwrap();
        let pieces: Vec<Bytes> = content.stream.try_collect().await.unwrap();
        pieces.concat()
    }

    async fn read_all(&self, owner: &Owner) {
        self.open(owner.id).await;
        for (path, bytes) in &owner.files {
            assert!(self.read(owner.id, path, 0, None).await == *bytes, "{path}");
        }
    }

    async fn usage(&self) -> BrowseUsage {
        self.node.drives.settle_browsed().await;
        self.node.drives.browse_usage()
    }

    fn counters(&self) -> &BrowseCounters {
        self.node.drives.browse_counters()
    }

    fn directory(&self, drive: DriveId) -> PathBuf {
        self.node.home.path().join("drives/browsed").join(drive.to_string())
    }
}

/// The owner's node shares one more folder, with a file of so many bytes.
async fn share_another(owner: &Owner, name: &str, len: usize) -> DriveId {
    let folder = owner.node.home.path().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    std::fs::write(folder.join("file"), bytes).unwrap();
    let id = owner.node.drives.create(Some(&folder), name).unwrap().id;
    owner.node.import(&id, ["file"], Extent::Everything).await;
    id
}

#[tokio::test]
async fn what_was_read_is_there_after_a_restart_without_any_peer() {
    let net = Arc::new(Net::default());
    let owner = Owner::start(&net).await;
    net.show(owner.node.peer);
    let reader = Reader::start(&net, BrowseQuota::Auto);
    reader.read_all(&owner).await;
    let nobody = Arc::new(Net::default());
    let reader = reader.restart(&nobody).await;
    reader.read_all(&owner).await;
    assert_eq!(reader.read(owner.id, "large", 1_000_000, Some(1_000_777)).await.len(), 777);
    let listed = reader.node.drives.list_entries(&owner.id, Listing::default()).await.unwrap();
    assert_eq!(listed.try_collect::<Vec<_>>().await.unwrap().len(), 7);
    let usage = reader.usage().await;
    assert!(usage.used_bytes > LARGE_BYTES as u64 && usage.used_bytes < 2 * LARGE_BYTES as u64, "{usage:?}");
    assert_eq!((usage.state, usage.drives.len()), (BrowseState::Growing, 1));
    assert_eq!(reader.counters().damaged.load(Relaxed), 0);
}

#[tokio::test]
async fn what_is_read_after_it_was_freed_is_kept_as_well() {
    let net = Arc::new(Net::default());
    let owner = Owner::start(&net).await;
    net.show(owner.node.peer);
    let reader = Reader::start(&net, BrowseQuota::Auto);
    reader.read_all(&owner).await;
    reader.node.drives.free_browsed(Some(owner.id)).await;
    assert!(!reader.directory(owner.id).exists());
    reader.open(owner.id).await;
    reader.read_all(&owner).await;
    let reader = reader.restart(&Arc::new(Net::default())).await;
    reader.read_all(&owner).await;
}

#[tokio::test]
async fn damaged_blocks_are_noticed_dropped_and_fetched_again() {
    let net = Arc::new(Net::default());
    let owner = Owner::start(&net).await;
    net.show(owner.node.peer);
    let reader = Reader::start(&net, BrowseQuota::Auto);
    reader.read_all(&owner).await;
    let reader = reader.restart(&net).await;
    let directory = reader.directory(owner.id);
    let mut damaged = 0;
    for name in files_under(&directory).into_keys().filter(|name| name != "head") {
        let file = std::fs::File::options().read(true).write(true).open(directory.join(&name)).unwrap();
        let len = file.metadata().unwrap().len();
        // In every item of the packs, and in every piece of the large file.
        for at in (40..len).step_by(900) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 1_000, "{damaged}");
    reader.read_all(&owner).await;
    assert!(reader.counters().damaged.load(Relaxed) >= 3, "{:?}", reader.counters());
    // What was fetched again took the place of what was damaged.
    let nobody = Arc::new(Net::default());
    let reader = reader.restart(&nobody).await;
    reader.read_all(&owner).await;
    assert_eq!(reader.counters().damaged.load(Relaxed), 0);
}

#[tokio::test]
async fn of_a_large_file_only_what_was_read_is_kept() {
    let net = Arc::new(Net::default());
    let owner = Owner::start(&net).await;
    net.show(owner.node.peer);
    let reader = Reader::start(&net, BrowseQuota::Auto);
    reader.open(owner.id).await;
    let part = reader.read(owner.id, "large", 2_000_000, Some(2_000_100)).await;
    assert_eq!(part, owner.files["large"][2_000_000..2_000_100]);
    reader.node.drives.settle_browsed().await;
    let kept = files_under(&reader.directory(owner.id).join("large"));
    let size = |kind: &str| kept.iter().find(|(name, _)| name.ends_with(kind)).map(|(_, bytes)| bytes.len());
    assert!(size("data").unwrap() < 2_100_000, "nothing behind it was written");
    let reader = reader.restart(&Arc::new(Net::default())).await;
    reader.open(owner.id).await;
    assert_eq!(reader.read(owner.id, "large", 2_000_000, Some(2_000_100)).await, part);
    let path = PathKey::from_path("large").unwrap();
    let mut rest = reader.node.drives.read_file(&owner.id, &path, 0, Some(10)).await.unwrap().stream;
    let more = tokio::time::timeout(Duration::from_secs(1), rest.next()).await;
    assert!(more.is_err(), "what was not read cannot come from here");
}

#[tokio::test]
async fn while_a_reader_takes_nothing_what_comes_next_is_fetched_but_not_more() {
    const MIB: u64 = 1024 * 1024;
    let net = Arc::new(Net::default());
    let owner = Owner::start(&net).await;
    net.show(owner.node.peer);
    let film = share_another(&owner, "film", 44 << 20).await;
    let reader = Reader::start(&net, BrowseQuota::Auto);
    reader.open(film).await;
    let path = PathKey::from_path("file").unwrap();
    let mut playing = reader.node.drives.read_file(&film, &path, 0, None).await.unwrap().stream;
    let mut at = 0;
    while at < MIB {
        at += playing.next().await.unwrap().unwrap().len() as u64;
    }
    let ahead = LOOK_AHEAD_BYTES - 3 * MIB;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while reader.usage().await.used_bytes < ahead {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", reader.usage().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = reader.usage().await.used_bytes;
    assert!(used <= at + LOOK_AHEAD_BYTES + MIB, "{used}");
    let received = |node: &TestNode| node.drives.traffic().iter().map(|flow| flow.received).sum::<u64>();
    assert!(received(&reader.node) <= at + LOOK_AHEAD_BYTES + 4 * MIB, "nearly nothing travels twice");
    // The way to the owner is gone: the film plays on from the disk.
    let hits = reader.counters().hits.load(Relaxed);
    owner.node.drives.stop();
    let seen = async {
        while at < 20 * MIB {
            at += playing.next().await.unwrap().unwrap().len() as u64;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), seen).await.expect("it plays on");
    assert!(reader.counters().hits.load(Relaxed) > hits + 20);
}

#[tokio::test]
async fn once_much_of_a_drive_was_read_the_rest_comes_too() {
    const FILES: usize = 40;
    const LEN: usize = 20_000;
    let net = Arc::new(Net::default());
    let owner = Owner::start(&net).await;
    net.show(owner.node.peer);
    let folder = owner.node.home.path().join("album");
    std::fs::create_dir_all(&folder).unwrap();
    let names: Vec<String> = (0..FILES).map(|n| format!("{n:02}")).collect();
    for (n, name) in names.iter().enumerate() {
        std::fs::write(folder.join(name), vec![n as u8; LEN]).unwrap();
    }
    let id = owner.node.drives.create(Some(&folder), "album").unwrap().id;
    owner.node.import(&id, &names, Extent::Everything).await;

    let reader = Reader::start(&net, BrowseQuota::Auto);
    reader.open(id).await;
    for name in names.iter().take(FILES * 3 / 10) {
        reader.read(id, name, 0, None).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(reader.usage().await.used_bytes < (FILES * LEN / 2) as u64, "a third is not yet much");
    let asked = owner.node.drives.counters().requests.load(Relaxed);
    reader.read(id, &names[FILES - 1], 0, None).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while reader.usage().await.used_bytes < (FILES * LEN) as u64 {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", reader.usage().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(owner.node.drives.counters().requests.load(Relaxed), asked + 2, "one file, then all others at once");
    owner.node.drives.stop();
    let reader = reader.restart(&Arc::new(Net::default())).await;
    reader.open(id).await;
    for (n, name) in names.iter().enumerate() {
        assert_eq!(reader.read(id, name, 0, None).await, vec![n as u8; LEN]);
    }
}

#[tokio::test]
async fn the_drive_that_was_not_looked_at_for_longest_makes_room_and_copies_stay() {
    let net = Arc::new(Net::default());
    let owner = Owner::start(&net).await;
    net.show(owner.node.peer);
    let mut drives = Vec::new();
    for name in ["first", "second", "third"] {
        drives.push(share_another(&owner, name, 400_000).await);
    }
    let reader = Reader::start(&net, BrowseQuota::Bytes(1_000_000));
    // A copy of more bytes than the quota: none of them count.
    let target = reader.node.home.path().join("copy");
    let (link, progress) = (Link::to(Target::Drive(owner.id)), Arc::new(CopyProgress::default()));
    reader.node.drives.copy(&link, &target, ExternalLinks::LeaveOut, PATIENCE, progress).await.unwrap();
    for (index, drive) in drives.iter().enumerate() {
        reader.open(*drive).await;
        assert_eq!(reader.read(*drive, "file", 0, None).await.len(), 400_000);
        if index == 1 {
            // Looked at again, so the second is the oldest now.
            reader.usage().await;
            reader.read(drives[0], "file", 0, Some(10)).await;
            reader.open(drives[0]).await;
        }
        let usage = reader.usage().await;
        assert!(usage.used_bytes <= 1_000_000, "{usage:?}");
    }
    let held: Vec<DriveId> = reader.usage().await.drives.iter().map(|(drive, ..)| *drive).collect();
    assert_eq!(held, [drives[0], drives[2]], "of {drives:?}");
    assert!(!reader.directory(drives[1]).exists());
    assert_eq!(reader.counters().evicted.load(Relaxed), 1);
    assert_eq!(files_under(&target), owner.files);
    assert_eq!(reader.node.drives.status(&owner.id).unwrap().role, Role::Mirror);
    let (count, bytes) = reader.node.drives.free_browsed(None).await;
    assert!(count == 2 && bytes >= 800_000, "{count} drives, {bytes} bytes");
    assert_eq!((reader.usage().await.used_bytes, files_under(&target)), (0, owner.files.clone()));
    assert_eq!(std::fs::read_dir(reader.node.home.path().join("drives/browsed")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_full_quota_and_none_at_all_only_mean_that_nothing_is_kept() {
    let net = Arc::new(Net::default());
    let owner = Owner::start(&net).await;
    net.show(owner.node.peer);
    for (quota, state) in [(BrowseQuota::Bytes(300_000), BrowseState::Full), (BrowseQuota::Off, BrowseState::Off)] {
        let reader = Reader::start(&net, quota);
        reader.read_all(&owner).await;
        reader.read_all(&owner).await;
        let usage = reader.usage().await;
        assert!(usage.used_bytes <= 300_000 && usage.state == state, "{usage:?}");
        if quota == BrowseQuota::Off {
            assert_eq!(usage.used_bytes, 0);
        } else {
            assert!(usage.used_bytes > 50_000 && reader.counters().not_kept.load(Relaxed) > 0, "{usage:?}");
        }
    }
}

#[tokio::test]
async fn a_full_disk_does_not_stop_a_reader() {
    let net = Arc::new(Net::default());
    let owner = Owner::start(&net).await;
    net.show(owner.node.peer);
    let reader = Reader::start(&net, BrowseQuota::Auto);
    // The kernel's own full disk stands where the large file would go.
    let hash = ContentId::of(&owner.files["large"]);
    let large = reader.directory(owner.id).join("large");
    std::fs::create_dir_all(&large).unwrap();
    std::os::unix::fs::symlink("/dev/full", large.join(format!("{hash}.data"))).unwrap();
    reader.read_all(&owner).await;
    let usage = reader.usage().await;
    assert_eq!(usage.state, BrowseState::DiskFull, "{usage:?}");
    assert!(usage.used_bytes < 200_000, "{usage:?}");
    reader.read_all(&owner).await;
}

#[tokio::test]
async fn what_lost_its_rows_is_removed_and_fetched_again() {
    let net = Arc::new(Net::default());
    let owner = Owner::start(&net).await;
    net.show(owner.node.peer);
    let mut reader = Reader::start(&net, BrowseQuota::Auto);
    reader.read_all(&owner).await;
    reader.rows = Arc::new(MemoryCache::default());
    let reader = reader.restart(&net).await;
    assert_eq!(reader.usage().await.drives, []);
    assert_eq!(std::fs::read_dir(reader.node.home.path().join("drives/browsed")).unwrap().count(), 0);
    reader.read_all(&owner).await;
    assert!(reader.usage().await.used_bytes > LARGE_BYTES as u64);
}

#[tokio::test]
async fn what_an_interrupted_removal_left_is_removed_at_the_next_start() {
    let net = Arc::new(Net::default());
    let owner = Owner::start(&net).await;
    net.show(owner.node.peer);
    let reader = Reader::start(&net, BrowseQuota::Auto);
    reader.read_all(&owner).await;
    reader.node.drives.settle_browsed().await;
    let directory = reader.directory(owner.id);
    std::fs::rename(&directory, directory.with_file_name(format!("gone-1-{}", owner.id))).unwrap();
    let rows = reader.rows.clone();
    assert!(!rows.scan(crate::CacheTable::Browsed, &[], None, 9).unwrap().is_empty());
    let reader = reader.restart(&Arc::new(Net::default())).await;
    assert_eq!(reader.usage().await.drives, []);
    assert!(rows.scan(crate::CacheTable::Browsed, &[], None, 9).unwrap().is_empty());
    assert!(rows.scan(crate::CacheTable::Bitmap, &[], None, 9).unwrap().is_empty());
    assert_eq!(std::fs::read_dir(reader.node.home.path().join("drives/browsed")).unwrap().count(), 0);
}
