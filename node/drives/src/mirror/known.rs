//! The state that a folder was in, where its index may be gone: a copy that was stopped keeps its files and its heads, but
//! its index is freed ([`crate::gc`]).

use std::collections::HashSet;
use std::sync::Arc;

use crate::DriveError;
use crate::engine::Shared;
use crate::heads::Snapshot;
use crate::index::{Keep, Whole, fetch_tree};
use crate::nodes::NodeStore;
use crate::registry::Drive;
use crate::session::{FetchError, Session};
use crate::tree::{Expected, Node, NodeId};

/// What is known of a drive, with all its index here: what is missing is fetched. `None` if nothing is known, or if that
/// peer does not keep what is missing: then the folder is looked at as if nothing were known of what lies in it.
pub(super) async fn known_state(
    shared: &Arc<Shared>,
    drive: &Drive,
    session: &Session,
) -> Result<Option<Snapshot>, DriveError> {
    let Some(known) = drive.snapshot() else { return Ok(None) };
    let trees = known.heads().map(|head| Expected::root(head.body().root)).chain([Expected::root(known.root)]);
    let trees: Vec<Expected> = trees.collect();
    for tree in trees {
        let (shared_there, root) = (shared.clone(), tree.id);
        let is_here = tokio::task::spawn_blocking(move || is_whole(&shared_there.nodes, root));
        if is_here.await?? {
            continue;
        }
        match fetch_tree(shared, session, tree, &Whole::default(), Keep::OnDisk).await {
            Ok(()) => {}
            Err(FetchError::Local(error)) => return Err(error),
            Err(error) => {
                tracing::debug!(drive = %drive.id, %error, "what was in the folder is not known any more");
                return Ok(None);
            }
        }
    }
    Ok(Some(known))
}

/// Whether all nodes of a tree have a row. Reads no leaf. Blocks.
fn is_whole(nodes: &NodeStore, root: NodeId) -> Result<bool, DriveError> {
    let mut seen = HashSet::from([root]);
    let mut stack = vec![root];
    while let Some(id) = stack.pop() {
        let Some(bytes) = nodes.peek(&id)? else { return Ok(false) };
        let Ok(Node::Interior { level, children }) = Node::decode(&bytes) else { continue };
        for child in children {
            if !seen.insert(child.id) {
                continue;
            }
            if level > 1 {
                stack.push(child.id);
            } else if nodes.row_of(&child.id)?.is_none() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
