//! Which index nodes are needed: those under the heads that are kept, and under what is being read.

use std::collections::HashSet;

use p2p_identity::DriveId;

use super::Pace;
use crate::DriveError;
use crate::engine::Shared;
use crate::nodes::NodeStore;
use crate::registry::{Drive, Role};
use crate::store::CacheTable;
use crate::tree::{Node, NodeId};

/// Nodes read between two looks at the clock.
const STRETCH_NODES: usize = 100;

/// A tree that is needed.
pub(crate) struct Tree {
    pub(crate) root: NodeId,
    /// Whose it is; `None` for one that is only being read.
    pub(crate) drive: Option<DriveId>,
    /// Whether it is the newest version of a drive that is active: then all of it should be here.
    pub(crate) is_newest: bool,
}

/// All trees that are needed now.
pub(crate) fn trees(shared: &Shared) -> Result<Vec<Tree>, DriveError> {
    let mut trees = Vec::new();
    for drive in shared.registry.all() {
        trees.extend(trees_of(shared, &drive)?);
    }
    let held = shared.holds.roots(&shared.registry);
    trees.extend(held.into_iter().map(|root| Tree { root, drive: None, is_newest: false }));
    // First, so that what they lack is not taken for seen.
    trees.sort_by_key(|tree| !tree.is_newest);
    Ok(trees)
}

/// The trees that one drive needs. Of a stopped one: what has a tag, and what the owner must have to go on with other writers.
pub(super) fn trees_of(shared: &Shared, drive: &Drive) -> Result<Vec<Tree>, DriveError> {
    let state = drive.state();
    let tree = |root, is_newest| Tree { root, drive: Some(drive.id), is_newest };
    let newest = |is_newest| {
        let roots = state.at.iter().flat_map(move |at| at.heads().map(|head| head.body().root).chain([at.root]));
        roots.map(move |root| tree(root, is_newest))
    };
    let history = shared.registry.history(drive)?;
    if state.row.active {
        // A copy that is taken up again may have lost its index while it was stopped.
        let mut trees: Vec<Tree> = newest(state.row.complete).collect();
        trees.extend(history.iter().map(|note| tree(note.root, false)));
        // What content was kept up to: the next look begins there.
        let kept = shared.cache.get(CacheTable::Kept, drive.id.as_bytes())?;
        let kept = kept.and_then(|root| <[u8; 32]>::try_from(root).ok());
        trees.extend(kept.map(|root| tree(root.into(), false)));
        return Ok(trees);
    }
    let tagged: HashSet<_> = shared.registry.tags(&drive.id)?.into_iter().map(|(_, hash)| hash).collect();
    let tagged = history.iter().filter(|note| tagged.contains(&note.hash));
    let mut trees: Vec<Tree> = tagged.map(|note| tree(note.root, false)).collect();
    // Without the trees of the others, whose heads the owner has merged, no next version could be made from the folder.
    if state.row.role == Role::Owner && state.at.as_ref().is_some_and(|at| !at.others.is_empty()) {
        trees.extend(newest(false));
    }
    Ok(trees)
}

/// Adds a tree to `seen`, without reading a leaf. Returns whether all its interior nodes are here.
pub(crate) fn mark(
    nodes: &NodeStore,
    root: NodeId,
    seen: &mut HashSet<NodeId>,
    pace: &Pace,
) -> Result<bool, DriveError> {
    let mut is_whole = true;
    let mut stack = vec![root];
    let mut stretch = pace.stretch();
    if !seen.insert(root) {
        return Ok(true);
    }
    let mut count = 0;
    while let Some(id) = stack.pop() {
        // Decoded only as far as it tells of others: a lone leaf may be a root.
        let Some(bytes) = nodes.peek(&id)? else {
            is_whole = false;
            continue;
        };
        match Node::decode(&bytes) {
            Ok(Node::Interior { level, children }) => {
                for child in children {
                    if seen.insert(child.id) && level > 1 {
                        stack.push(child.id);
                    }
                }
            }
            Ok(Node::Leaf(_)) => {}
            Err(_) => is_whole = false,
        }
        count += 1;
        if count % STRETCH_NODES == 0 {
            stretch = pace.rest(stretch)?;
        }
    }
    Ok(is_whole)
}
