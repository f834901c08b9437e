//! Several writers on real nodes over loopback: let in, write on both sides, meet, disagree, settle, let out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use p2p_api::{
    Change, ConflictInfo, DriveId, ErrorKind, Follow, Import, NewDrive, NewWriter, Node, Open, ReadRange, SyncEvent,
    TransferEvent,
};
use p2p_node::{Config, NodeOptions, RunningNode, start};

const PATIENCE: Duration = Duration::from_secs(20);

struct Home {
    dir: tempfile::TempDir,
    node: RunningNode,
}

impl Home {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let node = start(options(dir.path())).await.expect("starts");
        Self { dir, node }
    }

    fn node(&self) -> Node {
        self.node.node()
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("folder")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.folder().join(path)).ok()
    }

    /// Imports what is in the folder, as whoever watches it would.
    async fn publish(&self, drive: DriveId) {
        let mut paths = Vec::new();
        collect(&self.folder(), "", &mut paths);
        paths.sort_by_key(|path| path.replace('/', "\x01"));
        let changes: Vec<_> = paths.into_iter().map(|path| Ok(Change { path, ..Change::default() })).collect();
        let changes = futures::stream::iter(changes).boxed();
        let events = self.node().drives().import(drive, Import::default(), changes).await.expect("imports");
        events.try_collect::<Vec<_>>().await.expect("published");
    }

    async fn until(&self, path: &str, text: Option<&str>) {
        let seen = async {
            while self.read(path).as_deref() != text {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let is_seen = tokio::time::timeout(PATIENCE, seen).await.is_ok();
        assert!(is_seen, "{path} is {:?}, not {text:?}", self.read(path));
    }

    async fn conflicts(&self, drive: DriveId) -> Vec<ConflictInfo> {
        self.node().writers().conflicts(drive).await.expect("listed")
    }

    async fn until_conflicts(&self, drive: DriveId, paths: &[&str]) -> Vec<ConflictInfo> {
        let seen = async {
            loop {
                let conflicts = self.conflicts(drive).await;
                if conflicts.iter().map(|conflict| conflict.path.as_str()).eq(paths.iter().copied()) {
                    return conflicts;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, seen).await {
            Ok(conflicts) => conflicts,
            Err(_) => panic!("not {paths:?} but {:?}", self.conflicts(drive).await),
        }
    }

    /// Syncs the drive into the folder; whether this node may write.
    async fn sync(&self, link: &str) -> bool {
        let events = self.node().writers().sync(follow(link, &self.folder())).await.expect("starts");
        let events: Vec<_> = events.try_collect().await.expect("in step");
        let Some(SyncEvent::Done { may_write, .. }) = events.last() else { panic!("{events:?}") };
        *may_write
    }

    /// The key that the owner lets in.
    async fn let_in(&self, owner: &Self, link: &str, prefix: &str) -> p2p_api::WriterKey {
        let key = self.node().writers().own_key(Open::new(link)).await.expect("a key");
        let new = NewWriter { writer_key: key.writer_key, prefix: prefix.into(), not_after: None, max_counter: None };
        owner.node().writers().add(key.drive, new).await.expect("let in");
        key.writer_key
    }
}

fn options(dir: &Path) -> NodeOptions {
    let mut config = Config::default();
    config.transport.mdns = false;
    // All nodes of a test are one process, and each takes its memory for its own.
    config.transport.limits.memory_mib = 4_096;
    config.transport.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
    NodeOptions {
        home: dir.join("home"),
        api: None,
        config,
        gateway: None,
        apps: Vec::new(),
        bootstrap: Vec::new(),
        notices: Vec::new(),
    }
}

fn follow(link: &str, target: &Path) -> Follow {
    Follow {
        link: link.to_owned(),
        target: target.to_owned(),
        allow_external_links: false,
        stay: false,
        timeout: Some(PATIENCE),
    }
}

fn collect(folder: &Path, prefix: &str, paths: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("listed") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("UTF-8");
        if name.ends_with(".p2ptmp") {
            continue;
        }
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{prefix}{name}/"), paths);
        }
        paths.push(format!("{prefix}{name}"));
    }
}

/// An owner with a drive of two files.
async fn owner() -> (Home, DriveId, String) {
    let owner = Home::start().await;
    owner.write("a", "first");
    owner.write("notes/n", "note");
    let new = NewDrive { path: Some(owner.folder()), title: "t".into() };
    let drive = owner.node().drives().create(new).await.expect("made").drive;
    owner.publish(drive).await;
    let link = owner.node().drives().get(drive).await.expect("known").link;
    (owner, drive, link)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_meet_disagree_and_settle() {
    let (owner, drive, link) = owner().await;
    let writer = Home::start().await;
    writer.let_in(&owner, &link, "").await;
    assert!(writer.sync(&link).await);
    assert_eq!(writer.read("a").as_deref(), Some("first"));

    // What one writes, the other gets: new files, edits, deletions, both ways.
    writer.write("b", "of the writer");
    writer.publish(drive).await;
    owner.until("b", Some("of the writer")).await;
    owner.write("a", "second");
    std::fs::remove_file(owner.folder().join("notes/n")).expect("removed");
    owner.publish(drive).await;
    writer.until("a", Some("second")).await;
    writer.until("notes/n", None).await;

    // Both write one path before they hear of each other: the state is the same on both, nothing is lost.
    writer.write("a", "writer's word");
    owner.write("a", "owner's word");
    owner.publish(drive).await;
    writer.publish(drive).await;
    let conflicts = owner.until_conflicts(drive, &["a"]).await;
    assert_eq!(conflicts[0].versions.len(), 2, "{conflicts:?}");
    assert_eq!(writer.until_conflicts(drive, &["a"]).await, conflicts, "seen the same on both");
    let shown = owner.read("a").expect("there");
    writer.until("a", Some(&shown)).await;
    assert!(["owner's word", "writer's word"].contains(&shown.as_str()), "{shown}");
    // The loser can be had on either side.
    for home in [&owner, &writer] {
        let written = home.node().writers().write_conflicts(drive).await.expect("written");
        let [written] = written.as_slice() else { panic!("{written:?}") };
        assert_eq!((written.path.as_str(), &written.failure), ("a", &None));
        let lost = home.read(&written.written).expect("there");
        assert!(lost != shown && ["owner's word", "writer's word"].contains(&lost.as_str()), "{lost}");
        std::fs::remove_file(home.folder().join(&written.written)).expect("removed");
    }
    // Writing the path settles it, on either side.
    writer.write("a", "agreed");
    writer.publish(drive).await;
    owner.until("a", Some("agreed")).await;
    owner.until_conflicts(drive, &[]).await;
    assert!(writer.conflicts(drive).await.is_empty());

    // Who only reads sees what both made.
    let reader = Home::start().await;
    reader.node().drives().open(Open::new(link.clone())).await.expect("found");
    let content = reader.node().drives().read(drive, "b", ReadRange::default()).await.expect("there");
    let bytes: Vec<_> = content.stream.try_collect().await.expect("read");
    assert_eq!(bytes.concat(), b"of the writer");
    let copy = reader.dir.path().join("copy");
    let events = reader.node().drives().follow(follow(&link, &copy)).await.expect("starts");
    let events: Vec<_> = events.try_collect().await.expect("copied");
    assert!(matches!(events.last(), Some(TransferEvent::Done { .. })));
    assert_eq!(std::fs::read_to_string(copy.join("a")).expect("there"), "agreed");
    assert_eq!(std::fs::read_to_string(copy.join("b")).expect("there"), "of the writer");
    for home in [owner, writer, reader] {
        home.node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_beats_a_deletion_and_local_edits_are_never_overwritten() {
    let (owner, drive, link) = owner().await;
    let writer = Home::start().await;
    writer.let_in(&owner, &link, "").await;
    assert!(writer.sync(&link).await);
    // The writer edits and has not published; the owner deletes and edits the same files.
    writer.write("a", "edited here");
    writer.write("notes/n", "edited here too");
    std::fs::remove_file(owner.folder().join("a")).expect("removed");
    owner.write("notes/n", "owner's note");
    owner.publish(drive).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(writer.read("a").as_deref(), Some("edited here"));
    assert_eq!(writer.read("notes/n").as_deref(), Some("edited here too"));
    writer.publish(drive).await;
    owner.until("a", Some("edited here")).await;
    let conflicts = owner.until_conflicts(drive, &["notes/n"]).await;
    assert_eq!(conflicts[0].versions.len(), 2);
    assert_eq!(writer.until_conflicts(drive, &["notes/n"]).await, conflicts);
    assert!(!writer.folder().join("a (local 1)").exists(), "nothing was moved aside");
    owner.node.shutdown().await;
    writer.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_keeps_its_edits_and_a_prefix_is_a_limit() {
    let (owner, drive, link) = owner().await;
    let writer = Home::start().await;
    assert!(!writer.sync(&link).await, "nobody has let it in");
    writer.write("notes/mine", "mine");
    let refused = async {
        let changes = futures::stream::iter([Ok(Change { path: "a".into(), ..Change::default() })]).boxed();
        let events = writer.node().drives().import(drive, Import::default(), changes).await?;
        events.try_collect::<Vec<_>>().await
    };
    assert_eq!(refused.await.expect_err("not let in").kind, ErrorKind::NotAllowed);
    let key = writer.let_in(&owner, &link, "notes").await;
    let let_in = async {
        loop {
            let writers = writer.node().writers().list(drive).await.expect("listed");
            if writers.writers.iter().any(|known| known.writer_key == key) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, let_in).await.expect("the writer hears of it");
    // Within the prefix its edits count; outside they stay where they are.
    writer.write("b", "outside");
    writer.publish(drive).await;
    owner.until("notes/mine", Some("mine")).await;
    assert_eq!(owner.read("b"), None);
    assert_eq!(writer.read("b").as_deref(), Some("outside"));
    assert_eq!(owner.read("a").as_deref(), Some("first"));

    // Once it is let out, what it wrote stays and what it writes counts no more.
    let writers = owner.node().writers().remove(drive, key).await.expect("let out");
    assert_eq!((writers.writers.len(), writers.revoked[0].last), (0, 1));
    assert_eq!(owner.read("notes/mine").as_deref(), Some("mine"));
    let again = NewWriter { writer_key: key, prefix: String::new(), not_after: None, max_counter: None };
    let error = owner.node().writers().add(drive, again).await.expect_err("revoked for ever");
    assert_eq!(error.kind, ErrorKind::InvalidInput);
    owner.node.shutdown().await;
    writer.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_which_two_wrote_different_parts_are_merged() {
    let (owner, drive, link) = owner().await;
    let writer = Home::start().await;
    writer.let_in(&owner, &link, "").await;
    assert!(writer.sync(&link).await);
    let lines = |first: &str, last: &str| format!("{first}\n2\n3\n4\n5\n6\n7\n8\n{last}\n");
    owner.write("text", &lines("1", "9"));
    owner.publish(drive).await;
    writer.until("text", Some(&lines("1", "9"))).await;
    // What both had must be at hand: it is kept in the background.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    writer.write("text", &lines("one", "9"));
    owner.write("text", &lines("1", "nine"));
    owner.publish(drive).await;
    writer.publish(drive).await;
    // One of the two merges into its folder; whoever watches it publishes that.
    let merged = lines("one", "nine");
    let seen = async {
        while ![&owner, &writer].iter().any(|home| home.read("text").as_deref() == Some(&merged)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let is_seen = tokio::time::timeout(PATIENCE, seen).await.is_ok();
    assert!(is_seen, "{:?} {:?} {:?}", owner.read("text"), writer.read("text"), owner.conflicts(drive).await);
    owner.publish(drive).await;
    writer.publish(drive).await;
    owner.until_conflicts(drive, &[]).await;
    writer.until_conflicts(drive, &[]).await;
    owner.until("text", Some(&merged)).await;
    writer.until("text", Some(&merged)).await;
    owner.node.shutdown().await;
    writer.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_in_a_folder_is_not_taken_for_deleted() {
    let (owner, drive, link) = owner().await;
    std::os::unix::fs::symlink("/etc/hostname", owner.folder().join("outside")).expect("linked");
    owner.publish(drive).await;
    let writer = Home::start().await;
    writer.let_in(&owner, &link, "").await;
    assert!(writer.sync(&link).await);
    assert!(writer.folder().join("outside").symlink_metadata().is_err(), "it leads out of the folder");
    writer.write("b", "new");
    writer.publish(drive).await;
    owner.until("b", Some("new")).await;
    assert!(owner.folder().join("outside").symlink_metadata().is_ok());
    writer.write("c", "newer");
    std::fs::remove_file(writer.folder().join("notes/n")).expect("removed");
    writer.publish(drive).await;
    owner.until("c", Some("newer")).await;
    owner.until("notes/n", None).await;
    assert!(owner.folder().join("outside").symlink_metadata().is_ok());
    owner.node.shutdown().await;
    writer.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_go_on_after_a_restart() {
    let (owner, drive, link) = owner().await;
    let writer = Home::start().await;
    writer.let_in(&owner, &link, "").await;
    assert!(writer.sync(&link).await);
    writer.write("b", "one");
    writer.publish(drive).await;
    owner.until("b", Some("one")).await;
    let Home { dir, node } = writer;
    node.shutdown().await;
    owner.write("c", "while it was away");
    owner.publish(drive).await;
    let node = start(options(dir.path())).await.expect("starts again");
    let writer = Home { dir, node };
    writer.until("c", Some("while it was away")).await;
    writer.write("b", "two");
    writer.publish(drive).await;
    owner.until("b", Some("two")).await;
    owner.node.shutdown().await;
    writer.node.shutdown().await;
}
