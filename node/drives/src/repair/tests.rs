//! Stores that were damaged in all the ways that we can think of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use p2p_identity::{ContentId, DriveId, Link, Target};
use tempfile::TempDir;

use super::*;
use crate::browsed::BrowseQuota;
use crate::hostile_tests::network::{Net, Stores, TestNode, files_under};
use crate::{
    At, Cache, CacheOpened, CacheTable, ExternalLinks, ImportProgress, LocalPath, MemoryCache, MemoryLedger, PathKey,
};

/// Both are more than is hashed again whenever it is read: they have proofs.
const LARGE: usize = 1_300_000;
const CHANGING: usize = 1_200_000;

struct Scene {
    net: Arc<Net>,
    ledger: Arc<MemoryLedger>,
    cache: Arc<dyn Cache>,
    node: Option<TestNode>,
    id: DriveId,
    folder: PathBuf,
}

impl Scene {
    /// A node that shares a folder of 600 files, some large, in three versions.
    async fn start() -> Self {
        let net = Arc::new(Net::default());
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("shared");
        std::fs::create_dir(&folder).unwrap();
        let (ledger, cache) = (Arc::default(), Arc::new(MemoryCache::default()));
        let mut scene = Self { net, ledger, cache, node: None, id: DriveId::from([0; 32]), folder };
        scene.open(home, CacheOpened::Kept);
        let drives = scene.node().drives.clone();
        scene.id = drives.create(Some(&scene.folder), "shared").unwrap().id;
        for n in 0..600 {
            std::fs::write(scene.folder.join(format!("file {n:03}")), format!("{n} ").repeat(40)).unwrap();
        }
        std::fs::write(scene.folder.join("large"), vec![7; LARGE]).unwrap();
        for version in 1..=3_u8 {
            std::fs::write(scene.folder.join("changes"), vec![version; CHANGING]).unwrap();
            scene.import().await;
        }
        scene.net.show(scene.node().peer);
        scene
    }

    fn node(&self) -> &TestNode {
        self.node.as_ref().unwrap()
    }

    fn open(&mut self, home: TempDir, cache_opened: CacheOpened) -> Vec<String> {
        let stores = Stores { ledger: self.ledger.clone(), cache: self.cache.clone(), cache_opened };
        let (node, notices) = TestNode::start_with(&self.net, 1, home, stores, BrowseQuota::Off);
        self.node = Some(node);
        notices
    }

    fn reopen(&mut self, cache_opened: CacheOpened) -> Vec<String> {
        let node = self.node.take().unwrap();
        node.drives.stop();
        self.open(node.home, cache_opened)
    }

    /// As the watcher of the folder does it.
    async fn import(&self) -> u64 {
        let names = std::fs::read_dir(&self.folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut keys: Vec<_> = names.map(|name| PathKey::from_path(&name).unwrap()).collect();
        keys.sort();
        let paths =
            stream::iter(keys.into_iter().map(|key| Ok(LocalPath { key, at: None, named: crate::Named::Entry })))
                .boxed();
        let progress = Arc::new(ImportProgress::default());
        let published = self
            .node()
            .drives
            .import(&self.id, paths, crate::Extent::Everything, String::new(), progress)
            .await
            .unwrap();
        crate::history::keep_now(self.node().drives.shared(), &self.node().drives.known(&self.id).unwrap());
        published.version
    }

    async fn repair(&self) -> Repaired {
        self.node().drives.repair(Arc::default()).await.unwrap()
    }

    /// What a stranger gets.
    async fn cloned(&self, number: u8) -> BTreeMap<String, Vec<u8>> {
        let stranger = TestNode::start(&self.net, number);
        let (link, target) = (Link::to(Target::Drive(self.id)), stranger.home.path().join("copy"));
        let patience = Some(Duration::from_secs(60));
        let copied = stranger.drives.copy(&link, &target, ExternalLinks::LeaveOut, patience, Arc::default()).await;
        stranger.drives.stop();
        assert_eq!(copied.unwrap().left_out, []);
        files_under(&target)
    }

    async fn check_all(&self, number: u8) {
        assert!(self.cloned(number).await == files_under(&self.folder));
        let drives = &self.node().drives;
        let log = drives.log(&self.id, None, 10).await.unwrap();
        assert!(log.iter().map(|version| version.counter).ends_with_all(&[3, 2, 1]), "{log:?}");
        for version in 1..=3_u8 {
            let at = At::Version(p2p_identity::VersionRef::Counter(version.into()));
            let key = PathKey::from_path("changes").unwrap();
            let content = drives.read_file_at(&self.id, &key, 0, None, &at).await.unwrap();
            let parts: Vec<_> = content.stream.collect().await;
            let bytes: Vec<u8> = parts.into_iter().flat_map(|part| part.unwrap()).collect();
            assert!(bytes == vec![version; CHANGING], "version {version}");
        }
    }

    fn packs(&self) -> Vec<PathBuf> {
        let directory = self.node().home.path().join("drives/packs");
        let mut packs: Vec<_> = std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
        packs.sort();
        packs
    }
}

trait EndsWithAll {
    fn ends_with_all(self, end: &[u64]) -> bool;
}

impl<I: Iterator<Item = u64>> EndsWithAll for I {
    fn ends_with_all(self, end: &[u64]) -> bool {
        self.collect::<Vec<_>>().ends_with(end)
    }
}

/// Where the second item of a pack begins: a leaf that all versions have in common.
fn second_item(pack: &Path) -> usize {
    let bytes = std::fs::read(pack).unwrap();
    36 + u32::from_be_bytes(bytes[32..36].try_into().unwrap()) as usize
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_store_in_order_needs_nothing() {
    let scene = Scene::start().await;
    let done = scene.repair().await;
    assert_eq!((done.files, done.nodes, done.damaged_nodes, done.proofs, done.leaves), (done.files, 0, 0, 0, 0));
    assert_eq!((done.lost, done.lost_beside, done.to_import), (vec![], 0, vec![]));
    assert!(done.files >= 602, "{}", done.files);
}

#[tokio::test]
async fn a_node_whose_cache_was_deleted_serves_again_by_itself() {
    let mut scene = Scene::start().await;
    scene.cache = Arc::new(MemoryCache::default());
    let notices = scene.reopen(CacheOpened::Fresh);
    assert!(notices[0].contains("the cache was gone"), "{notices:?}");
    scene.check_all(2).await;
    // The files are told apart from edits again: nothing is read twice, and no version is made.
    let done = scene.repair().await;
    assert_eq!((done.nodes, done.lost.len(), done.proofs), (0, 0, 0));
    assert!(done.leaves >= 3, "{done:?}");
    assert_eq!(scene.import().await, 3);
    assert_eq!(scene.repair().await.leaves, 0);
    scene.check_all(3).await;
}

#[tokio::test]
async fn rows_that_are_gone_or_wrong_come_back_while_the_node_runs() {
    let scene = Scene::start().await;
    let cache = scene.cache.clone();
    for (index, (key, value)) in cache.scan(CacheTable::Node, &[], None, usize::MAX).unwrap().into_iter().enumerate() {
        let mut rows = crate::Batch::new();
        match index % 3 {
            0 => rows.delete(CacheTable::Node, key),
            1 => rows.put(CacheTable::Node, key, [&[9, 9, 9, 9], &value[4..]].concat()),
            _ => rows.put(CacheTable::Node, key, b"short".to_vec()),
        };
        cache.apply(&rows).unwrap();
    }
    for (key, _) in cache.scan(CacheTable::Leaf, &[], None, usize::MAX).unwrap() {
        cache.apply(crate::Batch::new().put(CacheTable::Leaf, key, b"garbage".to_vec())).unwrap();
    }
    let done = scene.repair().await;
    assert!(done.nodes > 5 && done.leaves >= 3, "{done:?}");
    assert_eq!((done.lost.len(), done.to_import.len()), (0, 0));
    scene.check_all(2).await;
}

#[tokio::test]
async fn a_damaged_index_comes_from_a_peer_that_has_it() {
    let mut scene = Scene::start().await;
    let peer = TestNode::start(&scene.net, 2);
    let (link, target) = (Link::to(Target::Drive(scene.id)), peer.home.path().join("copy"));
    let patience = Some(Duration::from_secs(60));
    peer.drives.copy(&link, &target, ExternalLinks::LeaveOut, patience, Arc::default()).await.unwrap();
    scene.net.show(peer.peer);
    let pack = scene.packs()[0].clone();
    flip(&pack, second_item(&pack) + 36 + 2_000);
    scene.reopen(CacheOpened::Kept);
    let done = scene.repair().await;
    assert_eq!((done.damaged_nodes, done.to_import.len()), (1, 0), "{done:?}");
    assert_eq!((done.fetched, done.lost.len()), (1, 0), "all versions have that leaf");
    assert!(scene.cloned(3).await == files_under(&scene.folder));
    peer.drives.stop();
}

#[tokio::test]
async fn a_damaged_index_that_nobody_has_is_made_anew_from_the_folder() {
    let mut scene = Scene::start().await;
    let pack = scene.packs()[0].clone();
    // A length: everything behind it is found all the same.
    flip(&pack, second_item(&pack) + 34);
    scene.reopen(CacheOpened::Kept);
    let done = scene.repair().await;
    assert_eq!((done.damaged_nodes, done.to_import.clone()), (1, vec![(scene.id, scene.folder.clone())]), "{done:?}");
    let lost: Vec<_> = done.lost.iter().map(|lost| (lost.version, lost.what)).collect();
    assert!(lost.contains(&(Some(1), Loss::Index)) && lost.contains(&(Some(2), Loss::Index)), "{lost:?}");
    assert_eq!(scene.import().await, 4);
    let done = scene.repair().await;
    assert_eq!((done.damaged_nodes, done.to_import.len()), (0, 0), "{done:?}");
    assert!(scene.cloned(2).await == files_under(&scene.folder));
}

#[tokio::test]
async fn damaged_and_missing_proofs_are_made_again() {
    let scene = Scene::start().await;
    let outboards = &scene.node().drives.shared().outboards;
    let of = |bytes: &[u8]| outboards.path(&ContentId::of(bytes));
    let (large, old) = (of(&vec![7; LARGE]), of(&vec![1; CHANGING]));
    flip(&large, 70);
    std::fs::remove_file(of(&vec![3; CHANGING])).unwrap();
    flip(&old, 3);
    let done = scene.repair().await;
    assert_eq!((done.proofs, done.lost.len()), (3, 0), "{done:?}");
    assert_eq!(scene.repair().await.proofs, 0);
    scene.check_all(2).await;
}

#[tokio::test]
async fn what_cannot_be_had_any_more_is_named() {
    let scene = Scene::start().await;
    let shared = scene.node().drives.shared();
    let kept = shared.kept.path_of(&ContentId::of(&vec![1; CHANGING])).unwrap();
    flip(&kept, 100);
    // Bits that rot: content without any other sign of an edit.
    let rotten = scene.folder.join("file 005");
    let times = std::fs::metadata(&rotten).unwrap();
    let before = shared.cache.scan(CacheTable::Leaf, &[], None, usize::MAX).unwrap();
    flip(&rotten, 9);
    let file = std::fs::File::options().write(true).open(&rotten).unwrap();
    file.set_modified(times.modified().unwrap()).unwrap();
    // The time of the last change of the inode cannot be set back, so what is known of it is forgotten.
    for (key, _) in before {
        shared.cache.remove(CacheTable::Leaf, &key).unwrap();
    }
    let done = scene.repair().await;
    let of = |version, path: &str, what| Lost {
        drive: Some(scene.id),
        version: Some(version),
        path: Some(path.into()),
        what,
    };
    assert_eq!(done.lost, [of(3, "file 005", Loss::File), of(1, "changes", Loss::Content)]);
    assert!(!kept.exists());
    // An edit is an edit: the next import takes it.
    assert_eq!(scene.import().await, 4);
    assert_eq!(scene.repair().await.lost, []);
}

#[tokio::test]
async fn an_edit_that_is_not_imported_yet_is_no_loss() {
    let scene = Scene::start().await;
    std::fs::write(scene.folder.join("file 001"), "edited").unwrap();
    std::fs::remove_file(scene.folder.join("file 002")).unwrap();
    assert_eq!(scene.repair().await.lost, []);
    assert_eq!(scene.import().await, 4);
}

#[tokio::test]
async fn a_repair_that_is_dropped_leaves_a_usable_store() {
    let mut scene = Scene::start().await;
    scene.cache = Arc::new(MemoryCache::default());
    scene.reopen(CacheOpened::Fresh);
    let drives = scene.node().drives.clone();
    for _ in 0..3 {
        let progress = Arc::new(RepairProgress::default());
        let mut repair = Box::pin(drives.repair(progress));
        assert!(futures::poll!(&mut repair).is_pending());
        drop(repair);
    }
    scene.check_all(2).await;
    assert_eq!(scene.repair().await.lost, []);
}
