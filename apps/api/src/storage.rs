//! What a node stores and for which drive, and what has travelled.

use std::path::PathBuf;

use p2p_identity::{DriveId, PeerId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::DriveRole;

/// What is stored here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StorageUsage {
    /// Drives of which anything is here: first those in folders, then those that were only looked at, each group with
    /// the largest first.
    pub drives: Vec<DriveUsage>,
    /// The cache of drives that are only looked at.
    pub browsed: BrowsedUsage,
    /// Bytes of index nodes, proofs and unfinished transfers of drives in folders.
    pub index_bytes: u64,
    /// Bytes that are free on the disk of the node's home; 0 where the system does not tell.
    pub free_bytes: u64,
    /// Bytes of copies that are kept of the content of earlier versions.
    #[serde(default)]
    pub history_bytes: u64,
    /// Bytes of the index that nothing needs any more: they go by themselves an hour after they were dropped, or now with
    /// `p2p gc`.
    #[serde(default)]
    pub freeable_bytes: u64,
}

/// What is stored of a drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DriveUsage {
    /// The drive.
    #[schema(value_type = String)]
    pub drive: DriveId,
    /// What the owner calls it, as far as known.
    pub title: String,
    /// What this node does for it.
    pub role: DriveRole,
    /// Its folder.
    #[schema(value_type = Option<String>)]
    pub path: Option<PathBuf>,
    /// Files of its newest version in that folder.
    pub files: u64,
    /// Their bytes. A folder is never stored twice.
    pub bytes: u64,
    /// Bytes that looking at it has left in the cache.
    pub cached_bytes: u64,
    /// When it was last looked at, in seconds since 1970; only for what is in the cache.
    pub looked_at: Option<u64>,
    /// Whether it is neither shared nor copied any more, and something of it is still held: versions with a tag, or what is
    /// about to be freed.
    #[serde(default)]
    pub stopped: bool,
    /// Versions that are kept.
    #[serde(default)]
    pub versions: u64,
    /// Bytes of the index of these versions. What drives have in common counts for each.
    #[serde(default)]
    pub index_bytes: u64,
}

/// Whether the cache of browsed drives grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BrowsedState {
    /// It is switched off.
    Off,
    /// There is room.
    Growing,
    /// What is being looked at needs more than the quota; the rest is read from peers, and not kept.
    Full,
    /// The disk is full; what is looked at is read from peers, and not kept.
    DiskFull,
}

/// The cache of drives that are only looked at. The one not looked at for longest makes room for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BrowsedUsage {
    /// Most bytes it may hold; 0 where it is off.
    pub quota_bytes: u64,
    /// Bytes it holds.
    pub used_bytes: u64,
    /// Whether it grows.
    pub state: BrowsedState,
}

/// What was freed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Freed {
    /// Drives that were only looked at and of which something was removed.
    pub drives: u64,
    /// Bytes that are free now, of whatever it was.
    pub bytes: u64,
    /// Index nodes that no version needs any more.
    #[serde(default)]
    pub nodes: u64,
    /// Proofs of files that no version has any more, and parts of unfinished transfers.
    #[serde(default)]
    pub proofs: u64,
    /// Contents of earlier versions that are no longer kept.
    #[serde(default)]
    pub contents: u64,
    /// Bytes that nothing needs and that stay for now, because a transfer may be using them.
    #[serde(default)]
    pub waiting_bytes: u64,
    /// Drives of whose newest version part of the index is missing: nothing of any index is freed until that is repaired.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub damaged: Vec<DriveId>,
}

/// What a repair reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RepairEvent {
    /// Work goes on.
    Progress {
        /// What is being looked at, in words.
        doing: String,
        /// Files read, those of earlier versions included.
        files_done: u64,
        /// Files of all drives.
        files_total: u64,
        /// Bytes read.
        bytes_done: u64,
        /// Bytes of all drives.
        bytes_total: u64,
    },
    /// All that can be rebuilt is.
    Done(Repaired),
}

/// What a repair found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Repaired {
    /// Where the cache of rows lies that had failed while the node ran; it was replaced by a new one.
    #[schema(value_type = Option<String>)]
    pub cache_moved_to: Option<PathBuf>,
    /// Index nodes that lay in the packs and were not known.
    pub nodes: u64,
    /// Index nodes whose bytes are damaged.
    pub damaged_nodes: u64,
    /// Versions whose index was fetched from peers, in whole or in part.
    pub fetched: u64,
    /// Proofs that were missing or wrong, and were made again.
    pub proofs: u64,
    /// Groups of some hundred files of which it is known again what they look like unchanged.
    pub leaves: u64,
    /// Files read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is lost, at most 1,000 of it.
    pub lost: Vec<Lost>,
    /// How much more is lost.
    pub lost_beside: u64,
    /// Folders that are to be shared again (`POST /v1/apps/files/shares`): part of their index is lost, and comes back with a
    /// new version.
    #[schema(value_type = Vec<String>)]
    pub to_share: Vec<PathBuf>,
}

/// Something that is lost, or not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lost {
    /// Whose it is; none for content that no kept version speaks of.
    #[schema(value_type = Option<String>)]
    pub drive: Option<DriveId>,
    /// The version, where the owner made it.
    pub version: Option<u64>,
    /// The path in the drive; none where it is the version as a whole.
    pub path: Option<String>,
    /// What it is.
    pub what: Loss,
}

/// What can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Part of the index, and no peer that was asked has it.
    Index,
    /// What was in the file in an earlier version.
    Content,
    /// The file in the folder is missing or is not what the version says, although nobody seems to have edited it.
    File,
    /// The folder cannot be read.
    Folder,
}

/// What has travelled for drives since the node started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Traffic {
    /// By peer and drive. Those that were idle for longest may be left out.
    pub flows: Vec<Flow>,
}

/// What has travelled for one drive between this node and one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Flow {
    /// The peer.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// The drive.
    #[schema(value_type = String)]
    pub drive: DriveId,
    /// Bytes sent to it, before encryption.
    pub sent_bytes: u64,
    /// Bytes received from it, likewise.
    pub received_bytes: u64,
}
