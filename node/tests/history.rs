//! Earlier versions on real nodes over loopback: list, compare, read, copy, bring back, and say plainly what is gone.

use std::path::Path;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use p2p_api::{
    ApiError, Change, DiffKind, DriveInfo, ErrorKind, Follow, Import, LogQuery, NewDrive, NewTag, Node, Open,
    ReadRange, Restore, TransferEvent, TreeQuery, VersionInfo,
};
use p2p_node::{Config, NodeOptions, RunningNode, start};

const PATIENCE: Duration = Duration::from_secs(20);

struct Home {
    dir: tempfile::TempDir,
    node: RunningNode,
}

impl Home {
    async fn start(history_mib: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = Config { history_mib, ..Config::default() };
        config.transport.mdns = false;
        // All nodes of a test are one process, and each takes its memory for its own.
        config.transport.limits.memory_mib = 4_096;
        config.transport.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
        let (home, bootstrap) = (dir.path().join("home"), Vec::new());
        let options =
            NodeOptions { home, api: None, config, gateway: None, apps: Vec::new(), bootstrap, notices: Vec::new() };
        let node = start(options).await.expect("starts");
        Self { dir, node }
    }

    fn node(&self) -> Node {
        self.node.node()
    }
}

/// Publishes what is in a folder: files at the top and in one level of folders.
async fn publish(node: &Node, folder: &Path) -> DriveInfo {
    let new = NewDrive { path: Some(folder.to_owned()), title: "t".into() };
    let drive = node.drives().create(new).await.expect("made").drive;
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).expect("listed") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("UTF-8");
        if entry.path().is_dir() {
            for inner in std::fs::read_dir(entry.path()).expect("listed") {
                paths.push(format!("{name}/{}", inner.expect("an entry").file_name().to_str().expect("UTF-8")));
            }
        }
        paths.push(name);
    }
    paths.sort_by_key(|path| path.replace('/', "\x01"));
    let changes: Vec<_> = paths.into_iter().map(|path| Ok(Change { path, ..Change::default() })).collect();
    let changes = futures::stream::iter(changes).boxed();
    let events = node.drives().import(drive, Import::default(), changes).await.expect("imports");
    events.try_collect::<Vec<_>>().await.expect("published");
    node.drives().get(drive).await.expect("known")
}

async fn log(node: &Node, drive: &DriveInfo) -> Vec<VersionInfo> {
    node.history().log(drive.drive, LogQuery::default()).await.expect("a log")
}

/// Waits until all content of the newest version is kept: it comes in the background.
async fn kept(home: &Home, files: usize) {
    let blobs = home.dir.path().join("home/drives/blobs");
    let count = || walk(&blobs).into_iter().filter(|name| !name.starts_with("new-")).count();
    let done = async {
        while count() < files {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, done).await.is_ok(), "{} of {files} files kept", count());
}

fn walk(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let entries = entries.flatten().map(|entry| entry.path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => walk(&path),
            false => vec![path.file_name().expect("a name").to_string_lossy().into_owned()],
        })
        .collect()
}

async fn read(node: &Node, drive: &DriveInfo, path: &str, at: &str) -> Result<Vec<u8>, ApiError> {
    let content = node.history().read(drive.drive, path, ReadRange::default(), at).await?;
    let pieces: Vec<_> = content.stream.try_collect().await?;
    Ok(pieces.concat())
}

async fn paths(node: &Node, drive: &DriveInfo, at: &str) -> Vec<String> {
    let tree = node.history().tree(drive.drive, TreeQuery::default(), at).await.expect("a tree");
    tree.map_ok(|entry| entry.path).try_collect().await.expect("listed")
}

async fn clone_at(node: &Node, link: &str, target: &Path, at: &str) -> Result<TransferEvent, ApiError> {
    let follow = Follow {
        link: link.to_owned(),
        target: target.to_owned(),
        allow_external_links: false,
        stay: false,
        timeout: Some(PATIENCE),
    };
    let events = node.history().copy(follow, at).await?.try_collect::<Vec<_>>().await?;
    Ok(events.into_iter().next_back().expect("an end"))
}

fn big(seed: u32) -> Vec<u8> {
    (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 11) as u8).collect()
}

/// Three versions: everything; one file edited and one removed; another folder.
async fn three_versions(home: &Home, folder: &Path, is_kept: bool) -> DriveInfo {
    std::fs::create_dir_all(folder.join("docs")).expect("made");
    std::fs::write(folder.join("docs/note"), "first ".repeat(100)).expect("written");
    std::fs::write(folder.join("big"), big(1)).expect("written");
    std::fs::write(folder.join("gone"), "gone ".repeat(100)).expect("written");
    publish(&home.node(), folder).await;
    if is_kept {
        kept(home, 3).await;
    }
    std::fs::write(folder.join("docs/note"), "second ".repeat(100)).expect("written");
    std::fs::write(folder.join("big"), big(2)).expect("written");
    std::fs::remove_file(folder.join("gone")).expect("removed");
    publish(&home.node(), folder).await;
    std::fs::write(folder.join("new"), "x").expect("written");
    publish(&home.node(), folder).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_looks_back_and_brings_files_back() {
    let home = Home::start(100).await;
    let (node, folder) = (home.node(), home.dir.path().join("shared"));
    let drive = three_versions(&home, &folder, true).await;
    let versions = log(&node, &drive).await;
    assert_eq!(versions.iter().map(|v| v.version).collect::<Vec<_>>(), [Some(3), Some(2), Some(1)]);
    assert!(versions.iter().all(|v| v.not_kept == Some(0)), "{versions:?}");

    let diff: Vec<_> =
        node.history().diff(drive.drive, "1", Some("3")).await.expect("a diff").try_collect().await.expect("all of it");
    let told: Vec<_> = diff.iter().map(|d| (d.path.as_str(), d.change)).collect();
    let (added, removed, changed) = (DiffKind::Added, DiffKind::Removed, DiffKind::Changed);
    assert_eq!(told, [("big", changed), ("docs/note", changed), ("gone", removed), ("new", added)]);

    assert_eq!(paths(&node, &drive, "1").await, ["big", "docs", "docs/note", "gone"]);
    let by_hash = versions[2].head.clone();
    assert_eq!(read(&node, &drive, "docs/note", &by_hash[..16]).await.expect("kept"), b"first ".repeat(100));
    assert!(read(&node, &drive, "big", "1").await.expect("kept") == big(1));
    assert_eq!(read(&node, &drive, "docs/note", "now").await.expect("now"), b"second ".repeat(100));

    for (at, kind) in [
        ("4", ErrorKind::NotFound),
        ("nobody", ErrorKind::NotFound),
        ("yesterday", ErrorKind::NotKept),
        ("a b", ErrorKind::InvalidInput),
    ] {
        assert_eq!(read(&node, &drive, "big", at).await.expect_err(at).kind, kind, "{at}");
    }

    // A tag names a version; a restore brings its files back and deletes nothing.
    node.history().set_tag(drive.drive, NewTag { name: "old".into(), at: Some("1".into()) }).await.expect("tagged");
    assert_eq!(log(&node, &drive).await[2].tags, ["old"]);
    let restore = Restore::at("", "old");
    let done = node.history().restore(drive.drive, restore.clone()).await.expect("restored");
    assert_eq!((done.version, done.files), (Some(1), 3), "{done:?}");
    assert_eq!(std::fs::read(folder.join("gone")).expect("back"), b"gone ".repeat(100));
    assert!(std::fs::read(folder.join("big")).expect("back") == big(1));
    assert_eq!(std::fs::read(folder.join("new")).expect("still there"), b"x");
    let again = node.history().restore(drive.drive, restore).await.expect("restored");
    assert_eq!((again.files, again.unchanged), (0, 3), "{again:?}");
    assert_eq!(publish(&node, &folder).await.version, 4);

    node.history().remove_tag(drive.drive, "old").await.expect("removed");
    assert!(node.history().tags(drive.drive).await.expect("listed").is_empty());
    home.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_of_a_restore_and_is_kept_nowhere_gets_another_name() {
    let home = Home::start(100).await;
    let (node, folder) = (home.node(), home.dir.path().join("shared"));
    let drive = three_versions(&home, &folder, true).await;
    std::fs::write(folder.join("docs/note"), "not published yet").expect("written");
    let restore = Restore::at("docs/note", "1");
    let done = node.history().restore(drive.drive, restore).await.expect("restored");
    assert_eq!(done.skipped.len(), 1, "{done:?}");
    assert_eq!(std::fs::read(folder.join("docs/note")).expect("back"), b"first ".repeat(100));
    assert_eq!(std::fs::read(folder.join("docs/note (local 1)")).expect("safe"), b"not published yet");
    home.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_look_back_and_copy_an_earlier_version() {
    let (home, other) = (Home::start(100).await, Home::start(100).await);
    let folder = home.dir.path().join("shared");
    let drive = three_versions(&home, &folder, true).await;
    let reader = other.node();
    reader.drives().open(Open::new(drive.link.clone())).await.expect("found");
    assert_eq!(paths(&reader, &drive, "1").await, ["big", "docs", "docs/note", "gone"]);
    assert!(read(&reader, &drive, "big", "1").await.expect("kept there") == big(1));
    let versions = log(&reader, &drive).await;
    assert_eq!(versions.len(), 3);
    assert!(versions.iter().all(|v| v.not_kept.is_none()));
    assert_eq!(read(&reader, &drive, "big", "9").await.expect_err("not yet").kind, ErrorKind::NotFound);

    let target = other.dir.path().join("first");
    let done = clone_at(&reader, &drive.link, &target, "1").await.expect("copied");
    let TransferEvent::Done { version, files, skipped, .. } = done else { panic!("{done:?}") };
    assert_eq!((version, files, skipped.len()), (1, 3, 0));
    assert!(std::fs::read(target.join("big")).expect("there") == big(1));
    assert_eq!(std::fs::read(target.join("gone")).expect("there"), b"gone ".repeat(100));
    assert!(reader.drives().list().await.expect("listed").iter().all(|d| d.path.is_none()), "it is no copy to follow");
    let in_use = clone_at(&reader, &drive.link, &target, "2").await.expect_err("in use");
    assert_eq!(in_use.kind, ErrorKind::Conflict);
    let never = clone_at(&reader, &drive.link, &other.dir.path().join("never"), "9").await.expect_err("not yet");
    assert_eq!(never.kind, ErrorKind::NotFound);
    home.node.shutdown().await;
    other.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_was_not_kept_is_said_to_be_gone() {
    let (home, other) = (Home::start(0).await, Home::start(0).await);
    let (node, folder) = (home.node(), home.dir.path().join("shared"));
    let drive = three_versions(&home, &folder, false).await;
    let versions = log(&node, &drive).await;
    // On a file system with reflinks everything is kept whatever the quota.
    if versions[2].not_kept == Some(0) {
        return;
    }
    assert_eq!(versions.iter().map(|v| v.not_kept).collect::<Vec<_>>(), [Some(0), Some(0), Some(3)]);
    let error = read(&node, &drive, "docs/note", "1").await.expect_err("gone");
    assert_eq!(error.kind, ErrorKind::NotKept, "{error}");
    let restore = Restore::at("docs", "1");
    let done = node.history().restore(drive.drive, restore).await.expect("answered");
    assert_eq!((done.files, done.skipped.len()), (0, 1), "{done:?}");
    assert_eq!(std::fs::read(folder.join("docs/note")).expect("as it was"), b"second ".repeat(100));

    let target = other.dir.path().join("first");
    let done = clone_at(&other.node(), &drive.link, &target, "1").await.expect("copied");
    let TransferEvent::Done { skipped, .. } = done else { panic!("{done:?}") };
    let mut missing: Vec<_> = skipped.iter().map(|s| s.path.as_str()).collect();
    missing.sort_unstable();
    assert_eq!(missing, ["big", "docs/note", "gone"], "{skipped:?}");
    home.node.shutdown().await;
    other.node.shutdown().await;
}
