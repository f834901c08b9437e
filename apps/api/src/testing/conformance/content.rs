//! Listing, reading and copying what is in a drive.

use std::fs;
use std::path::Path;

use futures::TryStreamExt;
use p2p_identity::{ContentId, DriveId};

use super::PATIENCE;
use super::scene::{self, PATHS};
use crate::{Content, EntryKind, ErrorKind, Follow, Node, ReadRange, TransferEvent, TreeEntry, TreeQuery};

async fn list(node: &Node, drive: DriveId, prefix: &str, depth: Option<u32>) -> Vec<TreeEntry> {
    let query = TreeQuery { prefix: prefix.to_owned(), depth };
    let entries = node.drives().tree(drive, query).await.expect("tree");
    tokio::time::timeout(PATIENCE, entries.try_collect()).await.expect("a list ends").expect("a list")
}

fn paths(entries: &[TreeEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.path.as_str()).collect()
}

pub(super) async fn tree(node: &Node, path: &Path) {
    let drive = scene::published(node, path).await.drive;
    let all = list(node, drive, "", None).await;
    assert_eq!(paths(&all), PATHS, "entries come in path order");
    let kinds: Vec<EntryKind> = all.iter().map(|entry| entry.kind).collect();
    use EntryKind::{Directory, File, Symlink};
    assert_eq!(kinds, [Directory, Directory, File, File, File, File, Symlink]);
    assert_eq!(all[3].size, scene::long_content().len() as u64);
    assert_eq!(all[3].hash, ContentId::of(&scene::long_content()));
    assert_eq!(all[6].hash, ContentId::of(b"a/z"), "a symlink's content is its target");
    assert!(all.iter().all(|entry| entry.mode <= 0o777 && entry.mtime > 0));

    assert_eq!(paths(&list(node, drive, "", Some(1)).await), ["a", "a-b", "empty", "link"]);
    assert_eq!(paths(&list(node, drive, "a", None).await), ["a", "a/deep", "a/deep/file", "a/z"]);
    assert_eq!(paths(&list(node, drive, "a", Some(1)).await), ["a", "a/deep", "a/z"]);
    assert_eq!(paths(&list(node, drive, "a", Some(0)).await), ["a"]);
    assert_eq!(paths(&list(node, drive, "a/z", Some(1)).await), ["a/z"]);
    assert!(list(node, drive, "nowhere", None).await.is_empty());
    scene::remove(node, drive).await;
    let gone = node.drives().tree(drive, TreeQuery::default()).await.err().expect("it is gone");
    assert_eq!(gone.kind, ErrorKind::NotFound);
}

async fn bytes(content: Content) -> Vec<u8> {
    let len = content.len;
    let read = content.stream.try_fold(Vec::new(), |mut all, piece| async move {
        all.extend_from_slice(&piece);
        Ok(all)
    });
    let all = tokio::time::timeout(PATIENCE, read).await.expect("a read ends").expect("a read");
    assert_eq!(all.len() as u64, len, "as many bytes as announced");
    all
}

pub(super) async fn read(node: &Node, path: &Path) {
    let drive = scene::published(node, path).await.drive;
    let whole = scene::long_content();
    let size = whole.len() as u64;
    let listed = list(node, drive, "a/z", None).await;
    for (start, end) in [
        (0, None),
        (0, Some(0)),
        (0, Some(1)),
        (1_023, Some(1_025)),
        (16_384, Some(32_768)),
        (size - 1, None),
        (size - 1, Some(u64::MAX)),
        (5, Some(5)),
        (size, None),
        (size, Some(size + 7)),
    ] {
        let content = node.drives().read(drive, "a/z", ReadRange { start, end }).await.expect("a range of the file");
        let end = end.unwrap_or(size).min(size);
        assert_eq!((content.start, content.len), (start, end - start), "{start}..{end}");
        assert_eq!(Some(&content.entry), listed.first(), "reading and listing tell the same");
        assert!(bytes(content).await == whole[start as usize..end as usize], "{start}..{end}");
    }
    for (start, end) in [(size + 1, None), (u64::MAX, None), (5, Some(4))] {
        let refused = node.drives().read(drive, "a/z", ReadRange { start, end }).await;
        assert_eq!(refused.err().map(|error| error.kind), Some(ErrorKind::InvalidInput), "{start}..{end:?}");
    }
    let empty = node.drives().read(drive, "empty", ReadRange::default()).await.expect("an empty file");
    assert_eq!((empty.len, empty.entry.size), (0, 0));
    assert!(bytes(empty).await.is_empty());
    let link = node.drives().read(drive, "link", ReadRange::default()).await.expect("a symlink");
    assert_eq!(link.entry.kind, EntryKind::Symlink);
    assert_eq!(bytes(link).await, b"a/z");
    scene::remove(node, drive).await;
}

pub(super) async fn read_not_found(node: &Node, path: &Path) {
    let drive = scene::published(node, path).await.drive;
    for (path, kind) in [
        ("nowhere", ErrorKind::NotFound),
        ("a/nowhere", ErrorKind::NotFound),
        ("a-b/below a file", ErrorKind::NotFound),
        ("a", ErrorKind::InvalidInput),
    ] {
        for range in [ReadRange::default(), ReadRange { start: 0, end: Some(0) }] {
            let error = node.drives().read(drive, path, range).await.err().expect("nothing to read");
            assert_eq!(error.kind, kind, "{path:?}: {error}");
        }
    }
    scene::remove(node, drive).await;
    let gone = node.drives().read(drive, "a/z", ReadRange::default()).await.err().expect("the drive is gone");
    assert_eq!(gone.kind, ErrorKind::NotFound);
}

pub(super) async fn follow(node: &Node, path: &Path) {
    let source = path.join("source");
    let target = path.join("copy");
    let drive = scene::published(node, &source).await;
    let follow = Follow {
        link: drive.link.clone(),
        target: target.clone(),
        allow_external_links: false,
        stay: false,
        timeout: Some(PATIENCE),
    };
    let work = async { node.drives().follow(follow.clone()).await?.try_collect::<Vec<_>>().await };
    let events = tokio::time::timeout(PATIENCE, work).await.expect("a copy ends").expect("a copy");
    match events.last() {
        Some(TransferEvent::Done { drive: id, version, files, bytes, skipped, .. }) => {
            assert_eq!((*id, *version, *files, *bytes), (drive.drive, 1, 4, drive.bytes));
            assert!(skipped.is_empty(), "{skipped:?}");
        }
        other => panic!("a copy ends with `done`, not with {other:?}"),
    }
    assert!(fs::read(target.join("a/z")).expect("a copied file") == scene::long_content());
    assert_eq!(fs::read_to_string(target.join("a/deep/file")).expect("a copied file"), "content of a deep file");
    assert_eq!(fs::read(target.join("empty")).expect("a copied file"), b"");
    assert_eq!(fs::read_link(target.join("link")).expect("a copied link"), Path::new("a/z"));
    scene::remove(node, drive.drive).await;

    let relative = Follow { target: "relative".into(), ..follow };
    let error = match node.drives().follow(relative).await {
        Err(error) => error,
        Ok(events) => events.try_collect::<Vec<_>>().await.expect_err("a relative target"),
    };
    assert!(matches!(error.kind, ErrorKind::InvalidInput | ErrorKind::NotFound), "{error:?}");
}
