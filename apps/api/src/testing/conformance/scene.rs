//! Folders and drives for the suite.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use futures::{StreamExt, TryStreamExt, stream};
use p2p_identity::DriveId;

use super::PATIENCE;
use crate::{Change, DriveInfo, Import, ImportEvent, NewDrive, Node, Result};

/// What lies in [`folder`], in path order: `a-b` sorts after all of `a`, as a separator is below every other byte.
pub(super) const PATHS: [&str; 7] = ["a", "a/deep", "a/deep/file", "a/z", "a-b", "empty", "link"];

/// Content of `a/z`, longer than a few pieces of any transfer.
pub(super) fn long_content() -> Vec<u8> {
    (0..100_000_u32).map(|at| (at % 251) as u8).collect()
}

/// A folder with files, folders, an empty file and a symlink.
pub(super) fn folder(path: &Path) {
    fs::create_dir_all(path.join("a/deep")).expect("make folders");
    fs::write(path.join("a/deep/file"), "content of a deep file").expect("write");
    fs::write(path.join("a/z"), long_content()).expect("write");
    fs::write(path.join("a-b"), "x").expect("write");
    fs::write(path.join("empty"), "").expect("write");
    symlink("a/z", path.join("link")).expect("link");
}

pub(super) async fn create(node: &Node, path: &Path) -> DriveInfo {
    let new = NewDrive { path: Some(path.to_owned()), title: "a title".to_owned() };
    node.drives().create(new).await.expect("create a drive")
}

pub(super) fn change(path: &str) -> Result<Change> {
    Ok(Change { path: path.to_owned(), ..Change::default() })
}

pub(super) async fn import(node: &Node, drive: DriveId, paths: &[&str]) -> Published {
    let changes: Vec<_> = paths.iter().map(|path| change(path)).collect();
    let work = async {
        let how = Import { message: "as it is".to_owned(), ..Import::default() };
        node.drives().import(drive, how, stream::iter(changes).boxed()).await?.try_collect().await
    };
    let events: Vec<ImportEvent> =
        tokio::time::timeout(PATIENCE, work).await.expect("an import ends").expect("an import succeeds");
    match events.last() {
        Some(ImportEvent::Published { version, files, bytes, changed, skipped }) => {
            assert!(skipped.is_empty(), "nothing here is to be left out: {skipped:?}");
            Published { version: *version, files: *files, bytes: *bytes, changed: *changed }
        }
        other => panic!("an import ends with `published`, not with {other:?}"),
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) version: u64,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) changed: bool,
}

/// A drive over [`folder`] with one version.
pub(super) async fn published(node: &Node, path: &Path) -> DriveInfo {
    folder(path);
    let drive = create(node, path).await.drive;
    import(node, drive, &PATHS).await;
    node.drives().get(drive).await.expect("a drive that was just made")
}

pub(super) async fn remove(node: &Node, drive: DriveId) {
    node.drives().remove(drive).await.expect("remove a drive");
}
