//! What the store holds, and for whom.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use p2p_identity::DriveId;

use super::compact::dying;
use super::mark::trees_of;
use super::{Pace, mark, trees};
use crate::DriveError;
use crate::engine::Shared;
use crate::registry::Role;
use crate::tree::NodeId;

/// What the store holds for one drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldByDrive {
    /// The drive.
    pub drive: DriveId,
    /// Whether it is stopped: shared or copied no more, but something of it is still held.
    pub is_stopped: bool,
    /// What the owner calls it.
    pub title: String,
    /// Whether this node owns it.
    pub is_owner: bool,
    /// Its folder.
    pub folder: Option<PathBuf>,
    /// Versions that are kept.
    pub versions: u64,
    /// Bytes of the index nodes of these versions. What several drives have in common counts for each.
    pub index_bytes: u64,
}

/// What the store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// Drives of which it holds index nodes.
    pub drives: Vec<HeldByDrive>,
    /// Bytes of contents that are kept of earlier versions, reflinks not counted.
    pub history_bytes: u64,
    /// Bytes in packs that nothing needs and that a run now would free: of packs that are more than half dead.
    pub freeable_bytes: u64,
}

/// Looks up what is held. Reads no leaf. Blocks.
pub(crate) fn usage(shared: &Shared, pace: &Pace) -> Result<StoreUsage, DriveError> {
    let mut drives = Vec::new();
    for drive in shared.registry.all() {
        let mut nodes = HashSet::new();
        let trees = trees_of(shared, &drive)?;
        let roots: HashSet<NodeId> = trees.iter().map(|tree| tree.root).collect();
        for root in &roots {
            mark(&shared.nodes, *root, &mut nodes, pace)?;
        }
        let index_bytes = bytes_of(shared, &nodes)?;
        if index_bytes > 0 {
            let row = drive.state().row;
            let versions = shared.registry.history(&drive)?.iter().filter(|note| roots.contains(&note.root)).count();
            drives.push(HeldByDrive {
                drive: drive.id,
                is_stopped: !row.active,
                folder: row.folder_path(),
                title: row.title,
                is_owner: row.role == Role::Owner,
                versions: versions as u64,
                index_bytes,
            });
        }
    }
    drives.sort_by_key(|held| (std::cmp::Reverse(held.index_bytes), held.drive));
    let mut needed = HashSet::new();
    for tree in trees(shared)? {
        mark(&shared.nodes, tree.root, &mut needed, pace)?;
    }
    let history_bytes = shared.kept.copied_bytes().map_err(DriveError::io("look through kept content"))?;
    let mut live: HashMap<u32, u64> = HashMap::new();
    for id in &needed {
        if let Some(row) = shared.nodes.row_of(id)? {
            *live.entry(row.location.pack).or_default() += row.location.item_bytes();
        }
    }
    let freeable_bytes = dying(&shared.nodes, &live)?.iter().map(|(_, dead)| dead).sum();
    Ok(StoreUsage { drives, history_bytes, freeable_bytes })
}

fn bytes_of(shared: &Shared, nodes: &HashSet<NodeId>) -> Result<u64, DriveError> {
    nodes
        .iter()
        .try_fold(0, |sum: u64, id| Ok(sum + shared.nodes.row_of(id)?.map_or(0, |row| row.location.item_bytes())))
}
