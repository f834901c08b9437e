//! Earlier versions of a drive: which there are, what they hold, and bringing them back.
//!
//! Wherever `at` is asked for, it is a text: a version's number, 16 or more characters of its hash, a tag of this node, or
//! a time (`yesterday`, `2 days ago`, `2026-11-25 14:30`, in UTC). A version that was and that nobody keeps any more, and
//! content that nobody keeps any more, are errors of their own kind: [`crate::ErrorKind::NotKept`].

use std::sync::Arc;

use async_trait::async_trait;
use p2p_identity::{DriveId, WriterKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    ApiError, Content, Contract, ErrorKind, Follow, ReadRange, Result, Skipped, Stream, TransferEvent, TreeEntry,
    TreeQuery,
};

/// Most versions that one call of the log answers with.
pub const MAX_LOG: u32 = 1_000;
/// Versions that a log has where no other number is asked for.
pub const DEFAULT_LOG: u32 = 100;

/// Which versions to tell of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LogQuery {
    /// At most so many, up to 1,000; 100 by default.
    pub limit: Option<u32>,
    /// Only those made before this time, in milliseconds since 1970.
    pub before: Option<u64>,
}

/// A version that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionInfo {
    /// The owner's number; `None` for what another writer made.
    pub version: Option<u64>,
    /// Hash of its head, 52 characters: names it in links (`?v=`) and wherever `at` is asked for.
    pub head: String,
    /// Who made it.
    #[schema(value_type = String)]
    pub writer: WriterKey,
    /// The writer's counter.
    pub counter: u64,
    /// When, in milliseconds since 1970, by the writer's clock.
    pub time: u64,
    /// Files, folders and links in it.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// What its writer said of it.
    pub message: String,
    /// Its names on this node.
    pub tags: Vec<String>,
    /// Files of it whose content this node does not keep: all of them where a peer only told of the version. `None` where it
    /// keeps none for this drive.
    pub not_kept: Option<u64>,
}

/// One path that differs between two versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiffEntry {
    /// The path in the drive.
    pub path: String,
    /// What happened.
    pub change: DiffKind,
    /// What it was; not where it was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<TreeEntry>,
    /// What it is; not where it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<TreeEntry>,
}

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiffKind {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// Its content, kind, mode or time differs.
    Changed,
}

/// What to bring back: a path as of a version, or what a writer did away with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restore {
    /// A file, or a folder with all below it; everything where it is empty.
    #[serde(default)]
    pub path: String,
    /// As of which version; empty where `before_writer` says what is to be undone.
    #[serde(default)]
    pub at: String,
    /// Brings back what this writer changed or deleted, and leaves what others wrote since: as one version, at once. Only
    /// the owner can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub before_writer: Option<WriterKey>,
    /// With `before_writer`: only what that writer did from this version of its own on; everything without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// With `before_writer`: whether files that were not there before are removed; else they stay and are told.
    #[serde(default)]
    pub remove_added: bool,
    /// With `before_writer`: whether only to say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

impl Restore {
    /// As an earlier version has it.
    pub fn at(path: impl Into<String>, at: impl Into<String>) -> Self {
        Self { path: path.into(), at: at.into(), ..Self::default() }
    }

    /// As if a writer had never written.
    pub fn before_writer(writer: WriterKey) -> Self {
        Self { before_writer: Some(writer), ..Self::default() }
    }
}

/// What a restore did. Nothing is ever deleted by it, unless that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restored {
    /// The drive.
    #[schema(value_type = String)]
    pub drive: DriveId,
    /// The version it was restored from; `None` for what another writer made.
    pub version: Option<u64>,
    /// Files and links that were written into the folder.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files and links that were so already.
    pub unchanged: u64,
    /// What could not be brought back, and what was moved out of the way.
    pub skipped: Vec<Skipped>,
    /// Of a writer's undoing: the new version that says so; `None` where there was nothing to do, or only to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<u64>,
    /// Of a writer's undoing: paths that came back, or would.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restored: Vec<String>,
    /// Of a writer's undoing: paths that were not there before and were removed, or would be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// Of a writer's undoing: what that writer touched and stays as it is, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Skipped>,
}

/// A name of a version on this node, which keeps the version for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tag {
    /// A letter, then letters, digits and `-_.`, at most 64 bytes.
    pub name: String,
    /// Hash of the version's head.
    pub head: String,
}

/// Gives a version a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewTag {
    /// As in [`Tag`]. A name that is there already moves to this version.
    pub name: String,
    /// Which version; the newest without it.
    #[serde(default)]
    pub at: Option<String>,
}

/// What stands behind [`History`].
#[async_trait]
pub trait HistoryContract: Send + Sync {
    /// Versions that are kept, newest first.
    async fn log(&self, drive: DriveId, query: LogQuery) -> Result<Vec<VersionInfo>>;
    /// What differs, in path order; up to the newest version without `to`.
    async fn diff(&self, drive: DriveId, from: &str, to: Option<&str>) -> Result<Stream<DiffEntry>>;
    /// As [`Contract::tree`], of an earlier version.
    async fn tree(&self, drive: DriveId, query: TreeQuery, at: &str) -> Result<Stream<TreeEntry>>;
    /// As [`Contract::read`], of an earlier version.
    async fn read(&self, drive: DriveId, path: &str, range: ReadRange, at: &str) -> Result<Content>;
    /// As [`Contract::follow`], of an earlier version and without staying: into an empty folder, which is not brought up to
    /// date later. Content that is not kept is left out and told.
    async fn copy(&self, follow: Follow, at: &str) -> Result<Stream<TransferEvent>>;
    /// Brings files of an earlier version back into the drive's folder. Only where this node writes to the drive.
    async fn restore(&self, drive: DriveId, restore: Restore) -> Result<Restored>;
    /// Names of versions on this node, by name.
    async fn tags(&self, drive: DriveId) -> Result<Vec<Tag>>;
    /// Gives a version a name.
    async fn set_tag(&self, drive: DriveId, tag: NewTag) -> Result<Tag>;
    /// Takes a name away.
    async fn remove_tag(&self, drive: DriveId, name: &str) -> Result<()>;
}

/// A node without history.
pub(crate) struct NoHistory;

fn none<T>() -> Result<T> {
    Err(ApiError::new(ErrorKind::Unsupported, "this node keeps no earlier versions"))
}

#[async_trait]
impl HistoryContract for NoHistory {
    async fn log(&self, _: DriveId, _: LogQuery) -> Result<Vec<VersionInfo>> {
        none()
    }

    async fn diff(&self, _: DriveId, _: &str, _: Option<&str>) -> Result<Stream<DiffEntry>> {
        none()
    }

    async fn tree(&self, _: DriveId, _: TreeQuery, _: &str) -> Result<Stream<TreeEntry>> {
        none()
    }

    async fn read(&self, _: DriveId, _: &str, _: ReadRange, _: &str) -> Result<Content> {
        none()
    }

    async fn copy(&self, _: Follow, _: &str) -> Result<Stream<TransferEvent>> {
        none()
    }

    async fn restore(&self, _: DriveId, _: Restore) -> Result<Restored> {
        none()
    }

    async fn tags(&self, _: DriveId) -> Result<Vec<Tag>> {
        none()
    }

    async fn set_tag(&self, _: DriveId, _: NewTag) -> Result<Tag> {
        none()
    }

    async fn remove_tag(&self, _: DriveId, _: &str) -> Result<()> {
        none()
    }
}

/// Earlier versions of drives.
#[derive(Clone)]
pub struct History {
    pub(crate) contract: Arc<dyn Contract>,
}

impl History {
    /// Versions that are kept, newest first.
    pub async fn log(&self, drive: DriveId, query: LogQuery) -> Result<Vec<VersionInfo>> {
        self.contract.history().log(drive, query).await
    }

    /// What differs, in path order; up to the newest version without `to`.
    pub async fn diff(&self, drive: DriveId, from: &str, to: Option<&str>) -> Result<Stream<DiffEntry>> {
        self.contract.history().diff(drive, from, to).await
    }

    /// Entries of an earlier version, in path order: the entry of the prefix itself, then what is below it.
    pub async fn tree(&self, drive: DriveId, query: TreeQuery, at: &str) -> Result<Stream<TreeEntry>> {
        self.contract.history().tree(drive, query, at).await
    }

    /// Verified bytes of a file of an earlier version.
    pub async fn read(&self, drive: DriveId, path: &str, range: ReadRange, at: &str) -> Result<Content> {
        self.contract.history().read(drive, path, range, at).await
    }

    /// Copies an earlier version into an empty folder.
    pub async fn copy(&self, follow: Follow, at: &str) -> Result<Stream<TransferEvent>> {
        self.contract.history().copy(follow, at).await
    }

    /// Brings files of an earlier version back into the drive's folder.
    pub async fn restore(&self, drive: DriveId, restore: Restore) -> Result<Restored> {
        self.contract.history().restore(drive, restore).await
    }

    /// Names of versions on this node.
    pub async fn tags(&self, drive: DriveId) -> Result<Vec<Tag>> {
        self.contract.history().tags(drive).await
    }

    /// Gives a version a name.
    pub async fn set_tag(&self, drive: DriveId, tag: NewTag) -> Result<Tag> {
        self.contract.history().set_tag(drive, tag).await
    }

    /// Takes a name away.
    pub async fn remove_tag(&self, drive: DriveId, name: &str) -> Result<()> {
        self.contract.history().remove_tag(drive, name).await
    }
}
