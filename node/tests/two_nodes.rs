//! Real nodes over real sockets on loopback: share, find, copy, damage, resume.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use p2p_api::{
    Change, DriveInfo, Follow, Import, ImportEvent, NewDrive, Node, Open, ReadRange, TransferEvent, TreeQuery,
};
use p2p_node::{Config, NodeOptions, RunningNode, start};

struct Home {
    dir: tempfile::TempDir,
    node: RunningNode,
}

async fn node(bootstrap: &[String]) -> Home {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(options(dir.path(), bootstrap)).await.expect("starts");
    Home { dir, node }
}

fn options(dir: &Path, bootstrap: &[String]) -> NodeOptions {
    let mut config = Config::default();
    config.transport.mdns = false;
    // All nodes of a test are one process, and each takes its memory for its own.
    config.transport.limits.memory_mib = 4_096;
    config.transport.listen = vec!["/ip4/127.0.0.1/tcp/0".into(), "/ip4/127.0.0.1/udp/0/quic-v1".into()];
    NodeOptions {
        home: dir.join("home"),
        api: None,
        config,
        gateway: None,
        apps: Vec::new(),
        bootstrap: bootstrap.to_vec(),
        notices: Vec::new(),
    }
}

fn address(node: &RunningNode) -> String {
    let listen = node.listen().into_iter().find(|a| a.contains("/tcp/")).expect("listens on TCP");
    format!("{listen}/p2p/{}", node.peer_id())
}

/// Names everything in a folder in index order and imports it.
async fn share(node: &Node, folder: &Path) -> (DriveInfo, ImportEvent) {
    let drive =
        node.drives().create(NewDrive { path: Some(folder.to_owned()), title: "t".into() }).await.expect("made");
    let mut paths = Vec::new();
    collect(folder, "", &mut paths);
    paths.sort_by_key(|path| path.replace('/', "\x01"));
    let changes = paths.into_iter().map(|path| Ok(Change { path, ..Change::default() }));
    let changes = futures::stream::iter(changes.collect::<Vec<_>>()).boxed();
    let mut events = node.drives().import(drive.drive, Import::default(), changes).await.expect("imports");
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event.expect("goes well"));
    }
    let drive = node.drives().get(drive.drive).await.expect("known");
    (drive, last.expect("an end"))
}

fn collect(folder: &Path, prefix: &str, paths: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("listed") {
        let entry = entry.expect("an entry");
        let path = format!("{prefix}{}", entry.file_name().to_str().expect("UTF-8"));
        if entry.file_type().expect("a type").is_dir() {
            collect(&entry.path(), &format!("{path}/"), paths);
        }
        paths.push(path);
    }
}

async fn follow(node: &Node, link: &str, target: &Path) -> Result<TransferEvent, p2p_api::ApiError> {
    let follow = Follow {
        link: link.to_owned(),
        target: target.to_owned(),
        allow_external_links: false,
        stay: false,
        timeout: Some(Duration::from_secs(20)),
    };
    let mut events = node.drives().follow(follow).await?;
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event?);
    }
    Ok(last.expect("an end"))
}

/// A folder with everything that must survive the way.
fn fill(folder: &Path) {
    std::fs::create_dir_all(folder.join("docs/deep/empty")).expect("made");
    std::fs::write(folder.join("index.html"), "<h1>hello</h1>".repeat(20)).expect("written");
    std::fs::write(folder.join("docs/tiny"), "x").expect("written");
    std::fs::write(folder.join("docs/nothing"), "").expect("written");
    for n in 0..300u32 {
        std::fs::write(folder.join(format!("docs/deep/{n}.txt")), n.to_string().repeat(100)).expect("written");
    }
    let big: Vec<u8> = (0..5_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(folder.join("big.bin"), &big).expect("written");
    std::fs::write(folder.join("middle.bin"), &big[..200_000]).expect("written");
    std::fs::set_permissions(folder.join("docs/tiny"), std::fs::Permissions::from_mode(0o755)).expect("set");
    symlink("docs/tiny", folder.join("link")).expect("linked");
    symlink("../../index.html", folder.join("docs/deep/up")).expect("linked");
    symlink("/etc/passwd", folder.join("outside")).expect("linked");
    symlink("docs/".to_owned() + &"x/".repeat(40) + "far", folder.join("long")).expect("linked");
}

/// Compares trees as `diff -r` does, with modes, times and links.
fn compare(a: &Path, b: &Path, but: &[&str]) {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    collect(a, "", &mut left);
    collect(b, "", &mut right);
    left.retain(|path| !but.contains(&path.as_str()));
    left.sort();
    right.sort();
    assert_eq!(left, right);
    for path in left {
        let (x, y) = (a.join(&path), b.join(&path));
        let (m, n) = (x.symlink_metadata().expect("there"), y.symlink_metadata().expect("there"));
        assert_eq!(m.file_type(), n.file_type(), "{path}");
        if m.is_symlink() {
            assert_eq!(std::fs::read_link(&x).expect("a link"), std::fs::read_link(&y).expect("a link"), "{path}");
            continue;
        }
        assert_eq!(m.permissions().mode(), n.permissions().mode(), "{path}");
        assert_eq!(m.modified().expect("a time"), n.modified().expect("a time"), "{path}");
        if m.is_file() {
            assert!(std::fs::read(&x).expect("read") == std::fs::read(&y).expect("read"), "{path} differs");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_shared_and_copied_by_its_link_alone() {
    let (a, c) = (node(&[]).await, node(&[]).await);
    let site = a.dir.path().join("site");
    fill(&site);
    let (drive, published) = share(&a.node.node(), &site).await;
    assert!(matches!(published, ImportEvent::Published { version: 1, files: 305, changed: true, .. }), "{published:?}");
    let (again, unchanged) = share(&a.node.node(), &site).await;
    assert_eq!(again.drive, drive.drive);
    assert!(matches!(unchanged, ImportEvent::Published { version: 1, changed: false, .. }), "{unchanged:?}");

    let copy = c.dir.path().join("copy");
    let done = follow(&c.node.node(), &drive.link, &copy).await.expect("copied");
    let TransferEvent::Done { version, files, peers, skipped, .. } = &done else { panic!("{done:?}") };
    assert_eq!((*version, *files, *peers), (1, 305, 1));
    assert_eq!(skipped.iter().map(|s| s.path.as_str()).collect::<Vec<_>>(), ["outside"]);
    compare(&site, &copy, &["outside"]);

    // A second run has nothing to fetch; a changed file is fetched alone and what was changed here is kept.
    let done = follow(&c.node.node(), &drive.link, &copy).await.expect("copied");
    assert!(matches!(done, TransferEvent::Done { bytes_fetched: 0, .. }), "{done:?}");
    std::fs::write(site.join("docs/tiny"), "y".repeat(3_000)).expect("written");
    std::fs::remove_file(site.join("docs/deep/7.txt")).expect("removed");
    share(&a.node.node(), &site).await;
    std::fs::write(copy.join("index.html"), "mine").expect("written");
    let done = follow(&c.node.node(), &drive.link, &copy).await.expect("copied");
    assert!(matches!(done, TransferEvent::Done { version: 2, bytes_fetched: 3_280, .. }), "{done:?}");
    assert_eq!(std::fs::read_to_string(copy.join("index.html (local 1)")).expect("kept"), "mine");
    std::fs::remove_file(copy.join("index.html (local 1)")).expect("removed");
    // The kept copy changed the folder's time, nothing else.
    compare(&site, &copy, &["outside"]);
    a.node.shutdown().await;
    c.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_finds_the_drive_through_the_dht() {
    let b = node(&[]).await;
    let start = [address(&b.node)];
    let (a, c) = (node(&start).await, node(&start).await);
    let site = a.dir.path().join("site");
    std::fs::create_dir(&site).expect("made");
    std::fs::write(site.join("hello"), "hello ".repeat(100)).expect("written");
    let (drive, _) = share(&a.node.node(), &site).await;
    let bare = drive.link.split('#').next().expect("a link").to_owned();
    let copy = c.dir.path().join("copy");
    let done = follow(&c.node.node(), &bare, &copy).await.expect("copied");
    assert!(matches!(done, TransferEvent::Done { version: 1, files: 1, .. }), "{done:?}");
    compare(&site, &copy, &[]);
    for home in [a, b, c] {
        home.node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_looks_without_copying() {
    let (a, c) = (node(&[]).await, node(&[]).await);
    let site = a.dir.path().join("site");
    fill(&site);
    let (drive, _) = share(&a.node.node(), &site).await;
    let reader = c.node.node();
    let opened = reader.drives().open(Open::new(drive.link.clone())).await.expect("opened");
    assert_eq!((opened.version, opened.drive), (1, drive.drive));
    let top: Vec<String> = reader
        .drives()
        .tree(drive.drive, TreeQuery { prefix: String::new(), depth: Some(1) })
        .await
        .expect("listed")
        .map(|entry| entry.expect("an entry").path)
        .collect()
        .await;
    assert_eq!(top, ["big.bin", "docs", "index.html", "link", "long", "middle.bin", "outside"]);
    let range = ReadRange { start: 1_000_000, end: Some(3_000_001) };
    let content = reader.drives().read(drive.drive, "big.bin", range).await.expect("read");
    let parts: Vec<_> = content.stream.map(|part| part.expect("bytes")).collect().await;
    let whole = std::fs::read(site.join("big.bin")).expect("read");
    assert!(parts.concat() == whole[1_000_000..3_000_001]);
    let missing = reader.drives().read(drive.drive, "none", ReadRange::default()).await;
    assert_eq!(missing.err().expect("an error").kind, p2p_api::ErrorKind::NotFound);
    a.node.shutdown().await;
    c.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_file_is_never_served_corrupt() {
    let (a, c) = (node(&[]).await, node(&[]).await);
    let site = a.dir.path().join("site");
    fill(&site);
    let (drive, _) = share(&a.node.node(), &site).await;
    // Edited after the version was made, same size and all.
    let mut big = std::fs::read(site.join("big.bin")).expect("read");
    big[4_000_000] ^= 1;
    std::fs::write(site.join("big.bin"), &big).expect("written");
    let copy = c.dir.path().join("copy");
    let target = copy.clone();
    let (link, reader) = (drive.link.clone(), c.node.node());
    let clone = tokio::spawn(async move { follow(&reader, &link, &target).await });
    // The new version comes while the copy waits for the old one's bytes.
    tokio::time::timeout(Duration::from_secs(15), async {
        while a.node.node().metrics().await.expect("metrics").contains("p2pnode_drive_stale_total 0") {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the edit is noticed");
    assert!(!copy.join("big.bin").exists());
    share(&a.node.node(), &site).await;
    let done = clone.await.expect("joined").expect("copied");
    assert!(matches!(done, TransferEvent::Done { version: 2, .. }), "{done:?}");
    compare(&site, &copy, &["outside"]);
    a.node.shutdown().await;
    c.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_home_gives_the_same_link_and_serves_again_after_a_restart() {
    let a = node(&[]).await;
    let site = a.dir.path().join("site");
    std::fs::create_dir(&site).expect("made");
    std::fs::write(site.join("hello"), "hello ".repeat(100)).expect("written");
    let (drive, _) = share(&a.node.node(), &site).await;
    let Home { dir, node: running } = a;
    running.shutdown().await;
    let again = start(options(dir.path(), &[])).await.expect("starts again");
    let (same, event) = share(&again.node(), &site).await;
    assert_eq!(same.drive, drive.drive);
    assert!(matches!(event, ImportEvent::Published { version: 1, changed: false, .. }), "{event:?}");
    let c = node(&[]).await;
    let copy = c.dir.path().join("copy");
    follow(&c.node.node(), &same.link, &copy).await.expect("copied");
    compare(&site, &copy, &[]);
    again.shutdown().await;
    c.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_serves_others_when_the_owner_is_gone() {
    let (a, b, c) = (node(&[]).await, node(&[]).await, node(&[]).await);
    let site = a.dir.path().join("site");
    fill(&site);
    let (drive, _) = share(&a.node.node(), &site).await;
    follow(&b.node.node(), &drive.link, &b.dir.path().join("copy")).await.expect("copied");
    let link = b.node.node().drives().get(drive.drive).await.expect("known").link;
    a.node.shutdown().await;
    let copy = c.dir.path().join("copy");
    follow(&c.node.node(), &link, &copy).await.expect("copied");
    compare(&site, &copy, &["outside"]);
    b.node.shutdown().await;
    c.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_it_is_said_in_time() {
    let c = node(&[]).await;
    let key = p2p_identity::SecretKey::generate();
    let id = p2p_identity::DriveId::from(key.public());
    let follow_it = Follow {
        link: id.to_string(),
        target: c.dir.path().join("copy"),
        allow_external_links: false,
        stay: false,
        timeout: Some(Duration::from_secs(1)),
    };
    let mut events = c.node.node().drives().follow(follow_it).await.expect("starts");
    let error = loop {
        match events.next().await.expect("an end") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, p2p_api::ErrorKind::NotFound, "{error:?}");
    c.node.shutdown().await;
}

/// Waits for the next version that a follower brought into its folder.
async fn next_done(events: &mut p2p_api::Stream<TransferEvent>) -> (u64, u64) {
    let next = async {
        loop {
            match events.next().await.expect("it goes on").expect("goes well") {
                TransferEvent::Done { version, bytes_fetched, .. } => return (version, bytes_fetched),
                TransferEvent::Progress(_) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), next).await.expect("the version comes")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_gets_every_version_and_only_what_changed_travels() {
    let (a, b, c) = (node(&[]).await, node(&[]).await, node(&[]).await);
    let site = a.dir.path().join("site");
    fill(&site);
    let owner = a.node.node();
    let (drive, _) = share(&owner, &site).await;
    let staying = |target: &Path| Follow {
        link: drive.link.clone(),
        target: target.to_owned(),
        allow_external_links: true,
        stay: true,
        timeout: Some(Duration::from_secs(20)),
    };
    let copy = b.dir.path().join("copy");
    let mut events = b.node.node().drives().follow(staying(&copy)).await.expect("starts");
    assert_eq!(next_done(&mut events).await.0, 1);
    compare(&site, &copy, &[]);

    // An edit.
    std::fs::write(site.join("docs/tiny"), "edited ".repeat(30)).expect("written");
    share(&owner, &site).await;
    assert_eq!(next_done(&mut events).await, (2, 210));
    compare(&site, &copy, &[]);

    // A renamed folder, a renamed large file and a copy: nothing travels.
    std::fs::rename(site.join("docs/deep"), site.join("docs/shallow")).expect("renamed");
    std::fs::rename(site.join("big.bin"), site.join("docs/bigger.bin")).expect("renamed");
    std::fs::copy(site.join("middle.bin"), site.join("docs/middle copy.bin")).expect("copied");
    share(&owner, &site).await;
    assert_eq!(next_done(&mut events).await, (3, 0));
    compare(&site, &copy, &[]);

    // What was changed at the follower's is kept beside; a removal, a new folder and a link arrive.
    std::fs::write(copy.join("index.html"), "mine").expect("written");
    std::fs::write(site.join("index.html"), "theirs".repeat(50)).expect("written");
    std::fs::remove_dir_all(site.join("docs/shallow")).expect("removed");
    std::fs::create_dir_all(site.join("new/empty")).expect("made");
    std::fs::remove_file(site.join("link")).expect("removed");
    symlink("index.html", site.join("link")).expect("linked");
    share(&owner, &site).await;
    assert_eq!(next_done(&mut events).await, (4, 300));
    assert_eq!(std::fs::read_to_string(copy.join("index.html (local 1)")).expect("kept"), "mine");
    std::fs::remove_file(copy.join("index.html (local 1)")).expect("removed");
    compare(&site, &copy, &[]);

    // A second follower learns from the first when the owner is gone, and the owner's return is noticed.
    let second = c.dir.path().join("copy");
    let mut more = c.node.node().drives().follow(staying(&second)).await.expect("starts");
    assert_eq!(next_done(&mut more).await.0, 4);
    let home = a.dir.path().to_owned();
    drop(owner);
    a.node.shutdown().await;
    let again = start(options(&home, &[address(&b.node)])).await.expect("starts again");
    std::fs::write(site.join("docs/tiny"), "back").expect("written");
    share(&again.node(), &site).await;
    assert_eq!(next_done(&mut events).await.0, 5);
    compare(&site, &copy, &[]);
    for node in [again, b.node, c.node] {
        node.shutdown().await;
    }
}

/// All of a file.
async fn read(node: &Node, drive: p2p_identity::DriveId, path: &str) -> Vec<u8> {
    let content = node.drives().read(drive, path, ReadRange::default()).await.expect("opens");
    content.stream.map(|piece| piece.expect("a piece").to_vec()).concat().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_at_a_site_gets_what_it_needs_at_once_and_sees_the_next_version() {
    let (a, c) = (node(&[]).await, node(&[]).await);
    let site = a.dir.path().join("site");
    std::fs::create_dir_all(site.join(".p2p")).expect("made");
    std::fs::write(site.join("index.html"), "<h1>one</h1>".repeat(50)).expect("written");
    std::fs::write(site.join("style.css"), "p { margin: 0 }".repeat(50)).expect("written");
    std::fs::write(site.join("big.bin"), vec![7; 3_000_000]).expect("written");
    std::fs::write(site.join(".p2p/site.json"), r#"{"title":"t","prefetch":["/style.css","/none","/big.bin"]}"#)
        .expect("written");
    let (drive, _) = share(&a.node.node(), &site).await;
    let looker = c.node.node();
    let opened = looker.drives().open(Open::new(drive.link.clone())).await.expect("found");
    assert_eq!(opened.version, 1);
    assert!(!opened.link.contains('#'), "who only looks gives no addresses of its own: {}", opened.link);
    let served = |metrics: &str| -> u64 {
        let line = metrics.lines().find(|line| line.starts_with("p2pnode_drive_requests_total "));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{metrics}"))
    };
    let before = served(&a.node.node().metrics().await.expect("metrics"));
    assert_eq!(read(&looker, drive.drive, "index.html").await.len(), 600);
    assert_eq!(read(&looker, drive.drive, "style.css").await.len(), 750);
    let after = served(&a.node.node().metrics().await.expect("metrics"));
    assert_eq!(after, before, "the page and its style came along with the first answer");
    assert_eq!(read(&looker, drive.drive, "big.bin").await, vec![7; 3_000_000]);

    let query = p2p_api::EventQuery { topics: vec!["drives".into()], after: None };
    let mut events = looker.events(query).await.expect("events");
    std::fs::write(site.join("index.html"), "<h1>two</h1>").expect("written");
    share(&a.node.node(), &site).await;
    let told = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            let event = events.next().await.expect("events go on").expect("an event");
            if event.name == "drive.head" && event.data["version"] == 2 {
                break;
            }
        }
    });
    told.await.expect("the next version is noticed");
    assert_eq!(read(&looker, drive.drive, "index.html").await, b"<h1>two</h1>");
    a.node.shutdown().await;
    c.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_moved_out_of_a_copy_is_left_alone() {
    let (a, b) = (node(&[]).await, node(&[]).await);
    let site = a.dir.path().join("site");
    std::fs::create_dir_all(site.join("d")).expect("made");
    for n in 0..3 {
        std::fs::write(site.join(format!("d/{n}")), format!("file {n} ").repeat(30)).expect("written");
    }
    let owner = a.node.node();
    let (drive, _) = share(&owner, &site).await;
    let copy = b.dir.path().join("copy");
    let staying = Follow {
        link: drive.link.clone(),
        target: copy.clone(),
        allow_external_links: false,
        stay: true,
        timeout: Some(Duration::from_secs(20)),
    };
    let mut events = b.node.node().drives().follow(staying).await.expect("starts");
    assert_eq!(next_done(&mut events).await.0, 1);
    let outside = b.dir.path().join("outside");
    std::fs::rename(copy.join("d"), &outside).expect("moved");
    std::fs::write(site.join("d/1"), "changed ".repeat(20)).expect("written");
    std::fs::remove_file(site.join("d/2")).expect("removed");
    share(&owner, &site).await;
    assert_eq!(next_done(&mut events).await.0, 2);
    assert_eq!(std::fs::read_to_string(outside.join("1")).expect("there"), "file 1 ".repeat(30));
    assert!(outside.join("2").exists());
    assert_eq!(std::fs::read_to_string(copy.join("d/1")).expect("there"), "changed ".repeat(20));

    // A shared folder that is replaced by another of the same name is served as it is now.
    std::fs::remove_dir_all(&site).expect("removed");
    std::fs::create_dir_all(site.join("d")).expect("made");
    std::fs::write(site.join("d/new"), "new ".repeat(40)).expect("written");
    share(&owner, &site).await;
    assert_eq!(next_done(&mut events).await.0, 3);
    assert_eq!(std::fs::read_to_string(copy.join("d/new")).expect("there"), "new ".repeat(40));
    a.node.shutdown().await;
    b.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_cannot_be_made_changes_nothing() {
    let (a, b) = (node(&[]).await, node(&[]).await);
    let site = a.dir.path().join("site");
    std::fs::create_dir_all(&site).expect("made");
    std::fs::write(site.join("a"), "a".repeat(100)).expect("written");
    let (drive, _) = share(&a.node.node(), &site).await;
    let (first, second) = (b.dir.path().join("first"), b.dir.path().join("second"));
    follow(&b.node.node(), &drive.link, &first).await.expect("copied");
    let error = follow(&b.node.node(), &drive.link, &second).await.expect_err("one copy is kept");
    assert!(error.message.contains("first"), "{error:?}");
    assert!(!second.exists());
    follow(&b.node.node(), &drive.link, &first).await.expect("the first is still a copy");
    let error = follow(&a.node.node(), &drive.link, &site.join("copy")).await.expect_err("inside the share");
    assert!(error.message.contains("without end"), "{error:?}");
    assert!(!site.join("copy").exists());

    // A copy that was moved is taken up where it is now.
    let moved = b.dir.path().join("moved");
    std::fs::rename(&first, &moved).expect("moved");
    let done = follow(&b.node.node(), &drive.link, &moved).await.expect("taken up");
    assert!(matches!(done, TransferEvent::Done { bytes_fetched: 0, .. }), "{done:?}");

    // Of a drive that nobody has nothing is left: no folder, no line in the list.
    let id = p2p_identity::DriveId::from(p2p_identity::SecretKey::generate().public());
    let target = b.dir.path().join("nothing");
    let nobody = Follow {
        link: id.to_string(),
        target: target.clone(),
        allow_external_links: false,
        stay: false,
        timeout: Some(Duration::from_millis(500)),
    };
    let events = b.node.node().drives().follow(nobody).await.expect("starts");
    assert!(events.collect::<Vec<_>>().await.last().expect("an end").is_err());
    assert!(!target.exists());
    let listed = b.node.node().drives().list().await.expect("a list");
    assert!(listed.iter().all(|known| known.drive != id));
    a.node.shutdown().await;
    b.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_tells_the_way_and_each_round_trip() {
    let one = node(&[]).await;
    let two = node(&[address(&one.node)]).await;
    let (me, peer) = (two.node.peer_id(), one.node.peer_id());
    let ping = two.node.node().peers().ping(peer, Duration::from_secs(30)).await.expect("an echo");
    assert_eq!((ping.way(), ping.relay), (p2p_api::PeerPath::Lan, None));
    let (least, most) = ping.range_ms();
    assert!(ping.round_trips_ms.len() == 5 && 0.0 < least && least <= ping.rtt_ms && ping.rtt_ms <= most, "{ping:?}");
    assert!(ping.address.is_some_and(|address| address.starts_with("/ip4/127.0.0.1/")));
    let error = two.node.node().peers().ping(me, Duration::from_secs(30)).await.expect_err("nobody else");
    assert!(error.kind == p2p_api::ErrorKind::InvalidInput && error.message.contains("itself"), "{error:?}");
    one.node.shutdown().await;
    let error = two.node.node().peers().ping(peer, Duration::from_secs(30)).await.expect_err("it is gone");
    assert!(error.hint.is_some_and(|hint| hint.contains("p2p doctor")), "{}", error.message);
    two.node.shutdown().await;
}

#[tokio::test]
async fn a_peer_is_dialled_by_its_id_alone_and_one_that_nobody_knows_is_said_so() {
    let middle = node(&[]).await;
    let at = [address(&middle.node)];
    let (one, other) = (node(&at).await, node(&at).await);
    let peers = one.node.node().peers();
    // Who has just started is in nobody's table yet: it is asked for until it is found.
    let id = other.node.peer_id().to_string();
    let found = async {
        loop {
            if let Ok(dialled) = peers.dial(&id, Duration::from_secs(10)).await {
                break dialled;
            }
        }
    };
    let dialled = tokio::time::timeout(Duration::from_secs(10), found).await.expect("it is found");
    assert_eq!(dialled.peer, other.node.peer_id());
    let nobody = p2p_identity::PeerId::from([3; 32]).to_string();
    let refused = peers.dial(&nobody, Duration::from_secs(20)).await.expect_err("nobody is it");
    assert_eq!(refused.kind, p2p_api::ErrorKind::NotFound);
    assert!(refused.message.contains("the DHT does not know it"), "{}", refused.message);
    for home in [one, other, middle] {
        home.node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_gets_every_echo_over_quic_too() {
    let start_over_quic = async |bootstrap: &[String]| {
        let dir = tempfile::tempdir().expect("a directory");
        let mut options = options(dir.path(), bootstrap);
        options.config.transport.listen.retain(|at| at.contains("/quic-v1"));
        Home { node: start(options).await.expect("starts"), dir }
    };
    let one = start_over_quic(&[]).await;
    let at = format!("{}/p2p/{}", one.node.listen()[0], one.node.peer_id());
    let two = start_over_quic(&[at]).await;
    for _ in 0..2 {
        let ping = two.node.node().peers().ping(one.node.peer_id(), Duration::from_secs(10)).await.expect("an echo");
        assert_eq!((ping.transport.as_deref(), ping.round_trips_ms.len()), (Some("quic"), 5));
    }
    one.node.shutdown().await;
    two.node.shutdown().await;
}
