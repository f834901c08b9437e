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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Freed {
    /// Drives of which something was removed.
    pub drives: u64,
    /// Bytes.
    pub bytes: u64,
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
