//! Several writers: who may write to a drive, folders that go both ways, and what several wrote at once.

use std::sync::Arc;

use async_trait::async_trait;
use p2p_identity::{DriveId, WriterKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ApiError, Contract, ErrorKind, Follow, Open, Progress, Result, Skipped, Stream, TreeEntry};

/// Who may write to a drive, besides its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Writers {
    /// Grows with every change; 0 before the first.
    pub epoch: u64,
    /// By key.
    pub writers: Vec<WriterInfo>,
    /// Writers that were let in once, by key.
    pub revoked: Vec<RevokedWriter>,
    /// The key with which this node writes to the drive, if it has one; its owner's is the drive's own.
    #[schema(value_type = Option<String>)]
    pub own: Option<WriterKey>,
}

/// One who may write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WriterInfo {
    /// Its key for this drive, 52 characters.
    #[schema(value_type = String)]
    pub writer_key: WriterKey,
    /// The contact whose key it is, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// It may write at and under this path only; everywhere where it is empty.
    #[serde(default)]
    pub prefix: String,
    /// What it makes after this time does not count, in milliseconds since 1970.
    #[serde(default)]
    pub not_after: Option<u64>,
    /// Versions of it with a greater counter do not count.
    #[serde(default)]
    pub max_counter: Option<u64>,
    /// The counter of its newest version that this node has; 0 before the first.
    #[serde(default)]
    pub counter: u64,
}

/// One who may write no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevokedWriter {
    /// Its key.
    #[schema(value_type = String)]
    pub writer_key: WriterKey,
    /// The last counter that counts.
    pub last: u64,
}

/// Lets somebody write, or changes how far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewWriter {
    /// The writer's key for this drive: `p2p writers key LINK` prints it on the writer's node.
    #[schema(value_type = String)]
    pub writer_key: WriterKey,
    /// Only at and under this path; everywhere where it is empty.
    #[serde(default)]
    pub prefix: String,
    /// What it makes after this time does not count, in milliseconds since 1970.
    #[serde(default)]
    pub not_after: Option<u64>,
    /// Versions of it with a greater counter do not count.
    #[serde(default)]
    pub max_counter: Option<u64>,
}

/// A node's key for one drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OwnWriterKey {
    /// The drive.
    #[schema(value_type = String)]
    pub drive: DriveId,
    /// The key; the owner needs it to let this node write.
    #[schema(value_type = String)]
    pub writer_key: WriterKey,
}

/// What bringing a folder in step reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum SyncEvent {
    /// Work goes on.
    Progress(Progress),
    /// The newest state is in the folder and on disk. The node keeps both in step from now on.
    Done {
        /// The drive.
        #[schema(value_type = String)]
        drive: DriveId,
        /// The owner's counter.
        version: u64,
        /// Files in it.
        files: u64,
        /// Their bytes.
        bytes: u64,
        /// Content bytes that had to travel.
        bytes_fetched: u64,
        /// Peers that sent something.
        peers: u32,
        /// What was left out.
        skipped: Vec<Skipped>,
        /// This node's key for the drive.
        #[schema(value_type = String)]
        writer_key: WriterKey,
        /// Whether the owner has let it in. If not, edits stay here until it does.
        may_write: bool,
    },
}

/// A path that several wrote at once, none of them knowing of the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConflictInfo {
    /// The path.
    pub path: String,
    /// All versions; the one that is shown first. Writing the path settles it.
    pub versions: Vec<ConflictVersion>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConflictVersion {
    /// Who wrote it; `None` for somebody who is no writer any more.
    #[schema(value_type = Option<String>)]
    pub writer: Option<WriterKey>,
    /// With which of its versions.
    pub counter: u64,
    /// When, in milliseconds since 1970, by the writer's clock.
    pub time: u64,
    /// Whether it is the one that everybody sees.
    pub shown: bool,
    /// What it is.
    pub entry: TreeEntry,
}

/// A loser of a conflict that was written out, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WrittenConflict {
    /// The path that several wrote.
    pub path: String,
    /// The path of the new file: `name (conflict WRITER DATE).ext` beside it.
    pub written: String,
    /// Why it could not be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What stands behind [`DriveWriters`].
#[async_trait]
pub trait WritersContract: Send + Sync {
    /// Who may write.
    async fn writers(&self, drive: DriveId) -> Result<Writers>;
    /// This node's key for a drive that need not be known yet; made when it is first asked for.
    async fn writer_key(&self, open: Open) -> Result<OwnWriterKey>;
    /// Lets somebody write. Only where this node owns the drive.
    async fn add_writer(&self, drive: DriveId, new: NewWriter) -> Result<Writers>;
    /// Lets somebody write no more. What it wrote up to now stays.
    async fn remove_writer(&self, drive: DriveId, writer: WriterKey) -> Result<Writers>;
    /// Brings the newest state into a folder and keeps both in step from then on. The last value is [`SyncEvent::Done`].
    /// What is edited goes out with the imports of whoever watches the folder.
    async fn sync(&self, follow: Follow) -> Result<Stream<SyncEvent>>;
    /// Paths that several wrote at once.
    async fn conflicts(&self, drive: DriveId) -> Result<Vec<ConflictInfo>>;
    /// Writes the losers of all conflicts beside their files. The conflicts stay until their paths are written.
    async fn write_conflicts(&self, drive: DriveId) -> Result<Vec<WrittenConflict>>;
}

/// A node whose drives have one writer each.
pub(crate) struct OneWriter;

fn none<T>() -> Result<T> {
    Err(ApiError::new(ErrorKind::Unsupported, "the drives of this node have one writer each"))
}

#[async_trait]
impl WritersContract for OneWriter {
    async fn writers(&self, _: DriveId) -> Result<Writers> {
        none()
    }

    async fn writer_key(&self, _: Open) -> Result<OwnWriterKey> {
        none()
    }

    async fn add_writer(&self, _: DriveId, _: NewWriter) -> Result<Writers> {
        none()
    }

    async fn remove_writer(&self, _: DriveId, _: WriterKey) -> Result<Writers> {
        none()
    }

    async fn sync(&self, _: Follow) -> Result<Stream<SyncEvent>> {
        none()
    }

    async fn conflicts(&self, _: DriveId) -> Result<Vec<ConflictInfo>> {
        none()
    }

    async fn write_conflicts(&self, _: DriveId) -> Result<Vec<WrittenConflict>> {
        none()
    }
}

/// Several writers of drives.
#[derive(Clone)]
pub struct DriveWriters {
    pub(crate) contract: Arc<dyn Contract>,
}

impl DriveWriters {
    /// Who may write.
    pub async fn list(&self, drive: DriveId) -> Result<Writers> {
        self.contract.writers().writers(drive).await
    }

    /// This node's key for a drive.
    pub async fn own_key(&self, open: Open) -> Result<OwnWriterKey> {
        self.contract.writers().writer_key(open).await
    }

    /// Lets somebody write.
    pub async fn add(&self, drive: DriveId, new: NewWriter) -> Result<Writers> {
        self.contract.writers().add_writer(drive, new).await
    }

    /// Lets somebody write no more.
    pub async fn remove(&self, drive: DriveId, writer: WriterKey) -> Result<Writers> {
        self.contract.writers().remove_writer(drive, writer).await
    }

    /// Brings the newest state into a folder and keeps both in step from then on.
    pub async fn sync(&self, follow: Follow) -> Result<Stream<SyncEvent>> {
        self.contract.writers().sync(follow).await
    }

    /// Paths that several wrote at once.
    pub async fn conflicts(&self, drive: DriveId) -> Result<Vec<ConflictInfo>> {
        self.contract.writers().conflicts(drive).await
    }

    /// Writes the losers of all conflicts beside their files.
    pub async fn write_conflicts(&self, drive: DriveId) -> Result<Vec<WrittenConflict>> {
        self.contract.writers().write_conflicts(drive).await
    }
}
