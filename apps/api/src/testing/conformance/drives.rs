//! Making, finding, changing and forgetting drives.

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use p2p_identity::{ContentId, DriveId, Link, Target};

use super::PATIENCE;
use super::scene::{self, PATHS, Published};
use crate::{
    ApiError, DriveRole, ErrorKind, Event, EventQuery, EventStream, Import, ImportEvent, NewDrive, Node, Open,
};

/// A drive that nobody has.
fn nothing() -> DriveId {
    DriveId::from(*ContentId::of(b"a drive that does not exist").as_bytes())
}

pub(super) async fn create(node: &Node, path: &Path) {
    scene::folder(path);
    let first = scene::create(node, path).await;
    assert_eq!((first.role, first.version), (DriveRole::Owner, 0), "a new drive has no version yet");
    let link: Link = first.link.parse().expect("a drive's link is a link");
    assert_eq!(link.target, Target::Drive(first.drive));
    let second = scene::create(node, path).await;
    assert_eq!(first.drive, second.drive, "the same folder always gives the same drive");
    let elsewhere = path.join("a");
    let other = scene::create(node, &elsewhere).await;
    assert_ne!(first.drive, other.drive, "another folder is another drive");
    scene::remove(node, other.drive).await;
    scene::remove(node, first.drive).await;

    for (path, what) in [
        (path.join("not there"), "a folder that is not there"),
        (path.join("a-b"), "a file"),
        ("relative".into(), "a relative path"),
    ] {
        let new = NewDrive { path: Some(path), title: String::new() };
        let error = node.drives().create(new).await.expect_err(what);
        assert!(matches!(error.kind, ErrorKind::InvalidInput | ErrorKind::NotFound), "{what}: {error:?}");
    }
}

pub(super) async fn list_and_get(node: &Node, path: &Path) {
    let drive = scene::published(node, path).await;
    let bytes = scene::long_content().len() as u64 + 22 + 1;
    assert_eq!((drive.version, drive.files, drive.bytes), (1, 4, bytes));
    assert_eq!(drive.path.as_deref(), Some(fs::canonicalize(path).expect("it exists").as_path()));
    let listed = node.drives().list().await.expect("list");
    assert!(listed.iter().any(|other| other.drive == drive.drive), "a drive is listed");
    scene::remove(node, drive.drive).await;

    let error = node.drives().get(nothing()).await.expect_err("an unknown drive");
    assert_eq!(error.kind, ErrorKind::NotFound);
}

pub(super) async fn storage(node: &Node, path: &Path) {
    let drive = scene::published(node, path).await;
    let usage = node.drives().usage().await.expect("usage");
    let own = usage.drives.iter().find(|usage| usage.drive == drive.drive).expect("a drive in a folder is told");
    assert_eq!((own.role, own.files, own.bytes, own.path.clone()), (drive.role, drive.files, drive.bytes, drive.path));
    assert_eq!((own.cached_bytes, own.looked_at), (0, None), "what is in a folder is not in the cache");
    assert!(usage.browsed.used_bytes <= usage.browsed.quota_bytes);
    let freed = node.drives().free(Some(drive.drive)).await.expect("freed");
    assert_eq!((freed.drives, freed.bytes), (0, 0), "a shared folder is nothing that could be freed");
    node.drives().free(None).await.expect("freed");
    let after = node.drives().get(drive.drive).await.expect("it is still there");
    assert_eq!(after.files, drive.files);
    node.drives().traffic().await.expect("traffic");
    scene::remove(node, drive.drive).await;
}

pub(super) async fn open(node: &Node, path: &Path) {
    let drive = scene::published(node, path).await;
    for link in [drive.link.clone(), drive.drive.to_string(), format!("{}a/z", Link::to(Target::Drive(drive.drive)))] {
        let opened = node.drives().open(Open::new(link.clone())).await.expect("an own drive opens");
        assert_eq!((opened.drive, opened.version), (drive.drive, 1), "{link}");
    }
    scene::remove(node, drive.drive).await;

    let mut damaged = nothing().to_string();
    let last = if damaged.pop() == Some('y') { 'b' } else { 'y' };
    damaged.push(last);
    for link in ["", "p2p://", "http://example.org/", &damaged] {
        let error = node.drives().open(Open::new(link)).await.expect_err("no link");
        assert_eq!(error.kind, ErrorKind::InvalidInput, "{link:?}: {error}");
    }
    let unknown = Open { link: nothing().to_string(), timeout: Some(Duration::from_millis(500)) };
    let error = node.drives().open(unknown).await.expect_err("nobody has it");
    assert!(matches!(error.kind, ErrorKind::NotFound | ErrorKind::TimedOut), "{error:?}");
}

pub(super) async fn import(node: &Node, path: &Path) {
    scene::folder(path);
    let drive = scene::create(node, path).await.drive;
    let first = scene::import(node, drive, &PATHS).await;
    let bytes = scene::long_content().len() as u64 + 22 + 1;
    assert_eq!(first, Published { version: 1, files: 4, bytes, changed: true });
    let again = scene::import(node, drive, &PATHS).await;
    assert_eq!(again, Published { version: 1, files: 4, bytes, changed: false }, "nothing differed");

    fs::write(path.join("a-b"), "xyz").expect("write");
    let changed = scene::import(node, drive, &PATHS).await;
    assert_eq!(changed, Published { version: 2, files: 4, bytes: bytes + 2, changed: true });
    let fewer = scene::import(node, drive, &["a", "a/z", "empty"]).await;
    assert_eq!((fewer.version, fewer.files), (3, 2), "what is not named is deleted");
    assert!(path.join("a-b").exists(), "an import never touches the folder");
    assert_eq!(node.drives().get(drive).await.expect("get").version, 3);
    scene::remove(node, drive).await;

    let refused = node.drives().import(nothing(), Import::default(), stream::iter([scene::change("a")]).boxed()).await;
    let error = refused.err().expect("an unknown drive");
    assert_eq!(error.kind, ErrorKind::NotFound);
}

pub(super) async fn import_fails_whole(node: &Node, path: &Path) {
    let drive = scene::published(node, path).await.drive;
    fs::write(path.join("a-b"), "changed").expect("write");
    let changes = [scene::change("a-b"), Err(ApiError::invalid("the list broke off"))];
    let work = async {
        let events = node.drives().import(drive, Import::default(), stream::iter(changes).boxed()).await?;
        events.try_collect::<Vec<ImportEvent>>().await
    };
    let result = tokio::time::timeout(PATIENCE, work).await.expect("an import ends");
    let error = result.expect_err("an error among the changes fails the import");
    assert_eq!(error, ApiError::invalid("the list broke off"), "the caller's own error comes back");
    let info = node.drives().get(drive).await.expect("get");
    assert_eq!((info.version, info.files), (1, 4), "a failed import leaves the drive as it was");
    scene::remove(node, drive).await;
}

pub(super) async fn remove(node: &Node, path: &Path) {
    let drive = scene::published(node, path).await.drive;
    let removed = node.drives().remove(drive).await.expect("remove");
    assert_eq!(removed.drive, drive);
    assert_eq!(fs::read(path.join("a/z")).expect("the file stays"), scene::long_content());
    let listed = node.drives().list().await.expect("list");
    assert!(listed.iter().all(|other| other.drive != drive), "a removed drive is not listed");
    let error = node.drives().remove(drive).await.expect_err("it is gone");
    assert_eq!(error.kind, ErrorKind::NotFound);
}

pub(super) async fn events(node: &Node, path: &Path) {
    scene::folder(path);
    let drive = scene::create(node, path).await.drive;
    let query = EventQuery { topics: vec!["drives".to_owned()], after: None };
    let mut live = node.events(query.clone()).await.expect("events");
    scene::import(node, drive, &PATHS).await;
    let first = next_head(&mut live, drive).await;
    assert_eq!(first.data["version"], 1);
    scene::import(node, drive, &PATHS[..4]).await;
    let second = next_head(&mut live, drive).await;
    assert_eq!(second.data["version"], 2);
    assert!(second.id > first.id, "ids grow");
    drop(live);

    let mut resumed = node.events(EventQuery { after: Some(first.id), ..query.clone() }).await.expect("events");
    assert_eq!(next_head(&mut resumed, drive).await, second, "resuming gives what came after");
    let mut other =
        node.events(EventQuery { topics: vec!["drives".to_owned()], after: Some(second.id) }).await.expect("events");
    scene::remove(node, drive).await;
    let event = next(&mut other, |event| event.data["drive"] == drive.to_string()).await;
    assert_eq!(event.name, "drive.removed");
}

async fn next_head(events: &mut EventStream, drive: DriveId) -> Event {
    next(events, |event| event.name == "drive.head" && event.data["drive"] == drive.to_string()).await
}

async fn next(events: &mut EventStream, is_wanted: impl Fn(&Event) -> bool) -> Event {
    let find = async {
        while let Some(event) = events.next().await {
            let event = event.expect("an event");
            assert_eq!(event.topic, "drives", "only topics that were asked for");
            if is_wanted(&event) {
                return event;
            }
        }
        panic!("events ended while the node runs");
    };
    tokio::time::timeout(PATIENCE, find).await.expect("the event comes")
}
