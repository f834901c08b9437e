//! Drives that come, change and go; and what is left of them.

mod files;
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use p2p_identity::{ContentId, DriveId, SecretKey, SecretKind, WriterKey};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::browsed::BrowseQuota;
use crate::entry::{Dot, Entry, Kind, Version};
use crate::head::{Head, HeadEnvelope, VersionVector};
use crate::hostile_tests::network::{Net, Stores, TestNode};
use crate::key::PathKey;
use crate::nodes::NodeStore;
use crate::publish::next_of;
use crate::rights::{header_of, with_own_head};
use crate::signed::Ext;
use crate::tree::{BuiltNode, Expected, NodeId, NodeSource, Root, Tree as Walk, TreeBuilder, update};
use crate::{Cache, CacheOpened, MemoryCache, MemoryLedger};

const HOUR: Duration = Duration::from_secs(3_601);

/// Paths, and what makes their content differ.
type Model = BTreeMap<String, u32>;

/// A node whose stores outlive it.
struct Scene {
    net: Arc<Net>,
    ledger: Arc<MemoryLedger>,
    cache: Arc<dyn Cache>,
    node: Option<TestNode>,
}

impl Scene {
    fn new() -> Self {
        let (net, ledger, cache) = (Arc::default(), Arc::default(), Arc::new(MemoryCache::default()));
        let mut scene = Self { net, ledger, cache, node: None };
        scene.start(tempfile::tempdir().unwrap(), CacheOpened::Kept);
        scene
    }

    fn start(&mut self, home: TempDir, cache_opened: CacheOpened) -> Vec<String> {
        let stores = Stores { ledger: self.ledger.clone(), cache: self.cache.clone(), cache_opened };
        let (node, notices) = TestNode::start_with(&self.net, 1, home, stores, BrowseQuota::Off);
        self.node = Some(node);
        notices
    }

    /// As after a crash between two steps: nothing is said goodbye to.
    fn reopen(&mut self) {
        let node = self.node.take().unwrap();
        node.drives.stop();
        self.start(node.home, CacheOpened::Kept);
    }

    fn shared(&self) -> &Arc<Shared> {
        self.node.as_ref().unwrap().drives.shared()
    }

    fn nodes(&self) -> &NodeStore {
        &self.shared().nodes
    }

    fn drive(&self, id: &DriveId) -> Arc<Drive> {
        self.shared().registry.get(id).unwrap()
    }

    fn create(&self, name: &str) -> DriveId {
        let path = self.node.as_ref().unwrap().home.path().join(name);
        self.node.as_ref().unwrap().drives.create(Some(&path), name).unwrap().id
    }

    fn key(&self, id: &DriveId) -> SecretKey {
        let keystore = self.node.as_ref().unwrap().keystore.lock().unwrap();
        keystore.get(SecretKind::DRIVE, id.as_bytes()).unwrap().unwrap()
    }

    /// A new version with these changes; or with all of it built anew, as after a long stop.
    fn publish(&self, id: &DriveId, model: &Model, changed: Option<&BTreeSet<String>>) -> NodeId {
        let (shared, drive) = (self.shared(), self.drive(id));
        let _writing = shared.holds.writing();
        let before = drive.snapshot();
        let (writer, counter, hlc) = next_of(before.as_ref(), WriterKey::from(*id.as_bytes()));
        let entry = |path: &String| {
            let content = format!("{path} {}", model[path]);
            // The same for all drives, so that equal content gives equal nodes.
            let dot = Dot { writer: [0; 8], counter: 1 };
            let version = Version::blob(dot, Kind::File, 0o644, 0, 1 << 16, 100, ContentId::of(content.as_bytes()));
            Entry::new(PathKey::from_path(path).unwrap(), vec![version]).unwrap()
        };
        let sink = |node: BuiltNode| shared.nodes.keep(&[(node.id, node.encoded)]);
        let root = match (&before, changed) {
            (Some(before), Some(changed)) => {
                let changes = changed
                    .iter()
                    .map(|path| (PathKey::from_path(path).unwrap(), model.contains_key(path).then(|| entry(path))));
                update(&before.expected(), &*shared.nodes, changes, sink).unwrap()
            }
            _ => {
                let mut builder = TreeBuilder::new(sink);
                model.keys().for_each(|path| builder.push(entry(path)).unwrap());
                builder.finish().unwrap()
            }
        };
        let Root { id: root, entries, bytes, .. } = root;
        let head = Head {
            drive: *id,
            writer,
            counter,
            vv: VersionVector::new(vec![(writer, counter)]).unwrap(),
            root,
            header: header_of(&drive.state()),
            writer_set: None,
            epoch: 0,
            files: entries,
            bytes,
            prev: Vec::new(),
            change_list: None,
            hlc,
            message: String::new(),
            ext: Ext::default(),
        };
        let head = HeadEnvelope::sign(&head, &self.key(id)).unwrap();
        let at = with_own_head(shared, id, before.as_ref(), head).unwrap();
        shared.registry.store(&drive, drive.state().row, Some(at)).unwrap();
        root
    }

    /// Drops all versions but the newest, as retention does in time.
    fn forget_history(&self, id: &DriveId) {
        let drive = self.drive(id);
        let hashes: Vec<_> = self.shared().registry.history(&drive).unwrap().iter().map(|note| note.hash).collect();
        self.shared().registry.forget_heads(&drive, &hashes).unwrap();
    }

    fn stop(&self, id: &DriveId) {
        self.node.as_ref().unwrap().drives.remove(id).unwrap();
    }

    fn collect(&self, when: When) -> Collected {
        collect(self.shared(), when, &Pace::brisk(CancellationToken::new())).unwrap()
    }

    fn let_pass(&self, time: Duration) {
        self.shared().holds.let_pass(time);
    }

    fn packs_bytes(&self) -> u64 {
        packs_bytes(self.shared()).unwrap()
    }

    fn rows(&self) -> usize {
        self.nodes().page(None, usize::MAX).unwrap().len()
    }

    /// Reads all of a tree without saving any of it.
    fn check(&self, root: NodeId, model: &Model) {
        let source = Peek(self.nodes());
        let mut left = model.iter();
        for entry in Walk::new(&source, Expected::root(root)).range(&[]) {
            let entry = entry.unwrap();
            let (path, number) = left.next().unwrap();
            let hash = ContentId::of(format!("{path} {number}").as_bytes());
            assert_eq!((entry.key().to_path(), entry.shown().hash), (path.clone(), hash));
        }
        assert_eq!(left.next(), None);
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(node) = &self.node {
            node.drives.stop();
        }
    }
}

struct Peek<'a>(&'a NodeStore);

impl NodeSource for Peek<'_> {
    type Error = DriveError;

    fn node(&self, id: &NodeId) -> Result<Option<Bytes>, DriveError> {
        self.0.peek(id)
    }
}

fn files(count: usize) -> Model {
    (0..count).map(|n| (format!("folder-{:03}/a file with number {n}", n % 211), 0)).collect()
}

/// Changes every so many files; returns which.
fn change(model: &mut Model, step: usize, number: u32) -> BTreeSet<String> {
    let chosen: BTreeSet<String> = model.keys().skip(number as usize).step_by(step).cloned().collect();
    model.extend(chosen.iter().map(|path| (path.clone(), number)));
    chosen
}

#[tokio::test]
async fn the_packs_of_a_large_drive_that_changed_often_shrink_when_it_is_dropped() {
    let scene = Scene::new();
    let small = scene.create("small");
    let few = files(700);
    let small_root = scene.publish(&small, &few, None);
    let before = scene.packs_bytes();
    let large = scene.create("large");
    let mut many = files(50_000);
    scene.publish(&large, &many, None);
    for number in 1..=12 {
        let changed = change(&mut many, 400, number);
        scene.publish(&large, &many, Some(&changed));
    }
    let full = scene.packs_bytes();
    assert!(full > before + 8_000_000, "{full}");
    // First its history goes: the newest version stays, and takes what one version takes.
    scene.forget_history(&large);
    assert_eq!(scene.collect(When::Later).nodes, 0, "everything stays for an hour");
    assert_eq!(scene.packs_bytes(), full);
    scene.let_pass(HOUR);
    let freed = scene.collect(When::Later);
    let one_version = scene.packs_bytes();
    assert_eq!(freed.bytes, full - one_version);
    assert!(freed.nodes > 1_000 && one_version < full / 2, "{freed:?}, {one_version} of {full} bytes are left");
    scene.check(scene.drive(&large).snapshot().unwrap().root, &many);
    // Then all of it.
    scene.stop(&large);
    let waiting = scene.collect(When::Later);
    assert_eq!((waiting.nodes, waiting.bytes), (0, 0));
    assert!(waiting.waiting_bytes > one_version / 2);
    scene.let_pass(HOUR);
    scene.collect(When::Later);
    assert_eq!(scene.packs_bytes(), before, "what was there before, and not a byte more");
    scene.check(small_root, &few);
}

#[tokio::test]
async fn a_run_that_is_killed_after_any_step_loses_nothing_that_is_needed() {
    let mut scene = Scene::new();
    let (kept, dropped) = (scene.create("kept"), scene.create("dropped"));
    let mut model = files(6_000);
    let roots = [scene.publish(&kept, &model, None), scene.publish(&dropped, &model, None)];
    assert_eq!(roots[0], roots[1], "they have all nodes in common");
    let first = model.clone();
    let mut all = model.clone();
    for number in 3..8 {
        let changed = change(&mut all, 40, number);
        scene.publish(&dropped, &all, Some(&changed));
    }
    let changed = change(&mut model, 50, 2);
    let newest = scene.publish(&kept, &model, Some(&changed));
    scene.stop(&dropped);
    let full = scene.packs_bytes();
    let mut kills = 0;
    for hour in [false, true] {
        if hour {
            scene.let_pass(HOUR);
        }
        for steps in 0_u64.. {
            let pace = Pace::brisk(CancellationToken::new());
            pace.left.store(steps, Ordering::Relaxed);
            let ended = collect(scene.shared(), When::Later, &pace);
            let ahead = hour.then_some(HOUR);
            scene.reopen();
            ahead.into_iter().for_each(|time| scene.let_pass(time));
            scene.check(roots[0], &first);
            scene.check(newest, &model);
            match ended {
                Err(DriveError::Stopped) => kills += 1,
                ended => {
                    assert_eq!(ended.unwrap().damaged, []);
                    break;
                }
            }
        }
    }
    assert!(kills > 10, "{kills}");
    assert!(scene.packs_bytes() < full, "{} of {full}", scene.packs_bytes());
    // The packs alone tell the same.
    let rows = scene.rows();
    scene.cache = Arc::new(MemoryCache::default());
    let node = scene.node.take().unwrap();
    node.drives.stop();
    let moved = CacheOpened::Rebuilt { moved_to: PathBuf::from("aside"), reason: "a test".into() };
    let notices = scene.start(node.home, moved);
    assert!(notices[0].contains(&format!("{rows} index nodes")), "{notices:?}");
    scene.check(roots[0], &first);
    scene.check(newest, &model);
}

#[tokio::test]
async fn what_is_being_written_or_read_stays() {
    let scene = Scene::new();
    let id = scene.create("d");
    let mut model = files(2_000);
    let first = scene.publish(&id, &model, None);
    let before = model.clone();
    let changed = change(&mut model, 3, 1);
    scene.publish(&id, &model, Some(&changed));
    let shared = scene.shared().clone();
    let reading = shared.holds.reading(first);
    scene.forget_history(&id);
    assert_eq!(scene.collect(When::Now).nodes, 0);
    scene.check(first, &before);
    drop(reading);
    // A peer that was told of a version may fetch it for as long as it stays.
    let (drive, peer) = (scene.drive(&id), p2p_identity::PeerId::from([2; 32]));
    drive.visitors.lock().unwrap().insert(peer, 1);
    shared.holds.serving(peer, id, [first]);
    assert_eq!(scene.collect(When::Now).nodes, 0);
    drive.visitors.lock().unwrap().clear();
    // A writer that began before something was condemned may rely on it.
    let writing = shared.holds.writing();
    let node = crate::tree::Node::Leaf(Vec::new()).encode();
    let new = NodeId::of(&node);
    shared.nodes.keep(&[(new, node)]).unwrap();
    let kept = scene.collect(When::Now);
    assert_eq!(kept.nodes, 0);
    assert!(kept.waiting_bytes > 0);
    scene.check(first, &before);
    drop(writing);
    assert!(scene.collect(When::Now).nodes > 10);
    assert!(shared.nodes.row_of(&new).unwrap().is_none(), "nobody committed it");
    assert!(shared.nodes.row_of(&first).unwrap().is_none());
    scene.check(scene.drive(&id).snapshot().unwrap().root, &model);
}

#[tokio::test]
async fn a_condemned_node_that_is_read_or_kept_is_saved() {
    let scene = Scene::new();
    let nodes = scene.nodes();
    let leaf = |name: &str| {
        let dot = Dot { writer: [0; 8], counter: 1 };
        let version = Version::with_content(dot, Kind::File, 0o644, 0, 0, b"x");
        let entry = Entry::new(PathKey::from_path(name).unwrap(), vec![version]).unwrap();
        let bytes = crate::tree::Node::Leaf(vec![entry]).encode();
        (NodeId::of(&bytes), bytes)
    };
    let [read, kept, left] = ["read", "kept", "left"].map(leaf);
    nodes.keep(&[read.clone(), kept.clone(), left.clone()]).unwrap();
    let is_condemned = |id: &NodeId| nodes.row_of(id).unwrap().unwrap().condemned_ms.is_some();
    scene.collect(When::Later);
    assert!([&read, &kept, &left].iter().all(|(id, _)| is_condemned(id)));
    assert_eq!(nodes.node(&read.0).unwrap(), Some(read.1.clone()));
    nodes.keep(std::slice::from_ref(&kept)).unwrap();
    assert!(!is_condemned(&read.0) && !is_condemned(&kept.0) && is_condemned(&left.0));
    scene.let_pass(HOUR);
    assert_eq!(scene.collect(When::Later).nodes, 1);
    assert_eq!(nodes.node(&left.0).unwrap(), None);
    assert!(nodes.node(&read.0).unwrap().is_some() && nodes.node(&kept.0).unwrap().is_some());
}

#[tokio::test]
async fn a_tag_keeps_a_version_of_a_stopped_drive_and_usage_says_so() {
    let scene = Scene::new();
    let id = scene.create("d");
    let mut model = files(3_000);
    let first = scene.publish(&id, &model, None);
    let before = model.clone();
    let changed = change(&mut model, 3, 1);
    let second = scene.publish(&id, &model, Some(&changed));
    let changed = change(&mut model, 3, 2);
    scene.publish(&id, &model, Some(&changed));
    let version = crate::At::Version(p2p_identity::VersionRef::Counter(1));
    let drives = &scene.node.as_ref().unwrap().drives;
    drives.set_tag(&id, "mine", Some(&version)).await.unwrap();
    scene.stop(&id);
    let usage = drives.store_usage().unwrap();
    assert_eq!((usage.drives.len(), usage.drives[0].is_stopped, usage.drives[0].versions), (1, true, 1));
    assert!(usage.freeable_bytes > usage.drives[0].index_bytes, "{usage:?}");
    scene.collect(When::Now);
    scene.check(first, &before);
    assert!(scene.nodes().row_of(&second).unwrap().is_none());
    let left = drives.store_usage().unwrap();
    assert_eq!((left.freeable_bytes, left.drives), (0, usage.drives));
    // Taken up again it has that version, and the next number.
    scene.create("d");
    scene.publish(&id, &model, None);
    let log = drives.log(&id, None, 10).await.unwrap();
    assert_eq!(log.iter().map(|v| (v.counter, v.tags.len())).collect::<Vec<_>>(), [(4, 0), (3, 0), (1, 1)]);
}

#[tokio::test]
async fn nothing_is_deleted_while_part_of_a_newest_index_is_missing() {
    let scene = Scene::new();
    let (whole, broken) = (scene.create("whole"), scene.create("broken"));
    let model = files(3_000);
    scene.publish(&whole, &files(500), None);
    let root = scene.publish(&broken, &model, None);
    scene.stop(&whole);
    scene.nodes().set_rows(&[(root, None)]).unwrap();
    let rows = scene.rows();
    let done = scene.collect(When::Now);
    assert_eq!((done.nodes, done.damaged), (0, vec![broken]));
    assert_eq!(scene.rows(), rows);
    // The folder is imported again: then everything goes on.
    scene.publish(&broken, &model, None);
    let done = scene.collect(When::Now);
    assert_eq!(done.damaged, []);
    assert!(done.nodes >= 3, "{done:?}");
}
