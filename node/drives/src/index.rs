//! Fetching a drive's index from peers, level by level, each node checked against its parent before it is kept.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use p2p_identity::{ContentId, DriveId};

use crate::DriveError;
use crate::engine::Shared;
use crate::heads::Snapshot;
use crate::nodes::NodeStore;
use crate::session::{FetchError, Session};
use crate::tree::{Expected, Node, NodeId, NodeSource};
use crate::wire::MAX_NODES_PER_REQUEST;

/// Where fetched nodes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// On disk: the drive is held here.
    OnDisk,
    /// In memory for a while, and in the cache of browsed drives: it is only looked at.
    Browsed(DriveId),
}

/// Nodes below which all is here: those of the trees of a state that is here.
#[derive(Default)]
pub(crate) struct Whole(HashSet<NodeId>);

impl Whole {
    /// Of the trees that a state is made of, and the one they make. Reads nodes above the leaves only, some fifty of a
    /// million entries. Blocks.
    pub(crate) fn of(nodes: &NodeStore, at: Option<&Snapshot>) -> Result<Self, DriveError> {
        let mut whole = HashSet::new();
        let roots =
            at.iter().flat_map(|at| at.heads().map(|head| head.body().root).chain([at.root])).map(Expected::root);
        let mut stack: Vec<Expected> = roots.collect();
        while let Some(expected) = stack.pop() {
            if whole.contains(&expected.id) {
                continue;
            }
            // What is gone is fetched again.
            let Some(bytes) = nodes.node(&expected.id)? else { continue };
            let Ok(node) = expected.decode(&bytes) else { continue };
            whole.insert(expected.id);
            let children =
                (0..node.item_count()).filter_map(|index| node.expected_child(index, expected.after.as_ref()));
            match node.level() {
                0 => {}
                1 => whole.extend(children.map(|leaf| leaf.id)),
                _ => stack.extend(children),
            }
        }
        Ok(Self(whole))
    }
}

/// Fetches what is missing of the tree under `root`. Starts over cheaply: what is here is not fetched again, and what lies
/// below a node of `whole` is not even looked at.
pub(crate) async fn fetch_tree(
    shared: &Arc<Shared>,
    session: &Session,
    root: Expected,
    whole: &Whole,
    keep: Keep,
) -> Result<(), FetchError> {
    let mut frontier = VecDeque::from([root]);
    while !frontier.is_empty() {
        let mut wanted = Vec::new();
        while let Some(expected) = frontier.pop_front() {
            if whole.0.contains(&expected.id) {
                continue;
            }
            match local(shared, &expected)? {
                Some(node) => {
                    if keep == Keep::OnDisk {
                        shared.nodes.promote(&expected.id)?;
                    }
                    add_children(&node, &expected, &mut frontier);
                }
                None => wanted.push(expected),
            }
            if wanted.len() == MAX_NODES_PER_REQUEST {
                break;
            }
        }
        let hashes: Vec<ContentId> = wanted.iter().map(|e| ContentId::from(*e.id.as_bytes())).collect();
        if hashes.is_empty() {
            continue;
        }
        let mut fetched: Vec<(NodeId, Bytes)> = Vec::with_capacity(wanted.len());
        for (expected, bytes) in wanted.iter().zip(session.nodes(&hashes).await?) {
            let bytes = bytes.ok_or(FetchError::NotFound)?;
            let node = expected.decode(&bytes).map_err(|error| FetchError::Lied(format!("index: {error}")))?;
            // Depth first keeps the frontier small: a million entries have 7,000 leaves under 50 interior nodes.
            add_children(&node, expected, &mut frontier);
            fetched.push((expected.id, bytes));
        }
        store(shared, fetched, keep).await?;
    }
    Ok(())
}

/// Fetches one node that a walk found missing.
pub(crate) async fn fetch_node(
    shared: &Arc<Shared>,
    session: &Session,
    id: NodeId,
    keep: Keep,
) -> Result<(), FetchError> {
    let mut nodes = session.nodes(&[ContentId::from(*id.as_bytes())]).await?;
    let bytes = nodes.pop().flatten().ok_or(FetchError::NotFound)?;
    store(shared, vec![(id, bytes)], keep).await
}

/// Keeps nodes whose hashes were checked.
pub(crate) async fn store(shared: &Arc<Shared>, nodes: Vec<(NodeId, Bytes)>, keep: Keep) -> Result<(), FetchError> {
    match keep {
        Keep::Browsed(drive) => {
            let items = nodes.iter().map(|(id, bytes)| (ContentId::from(*id.as_bytes()), bytes.clone()));
            shared.browsed.keep_small(&drive, items.collect());
            nodes.into_iter().for_each(|(id, bytes)| shared.nodes.browse(id, bytes));
        }
        Keep::OnDisk => {
            let shared = shared.clone();
            tokio::task::spawn_blocking(move || shared.nodes.keep(&nodes)).await.map_err(DriveError::from)??;
        }
    }
    Ok(())
}

fn local(shared: &Shared, expected: &Expected) -> Result<Option<Node>, FetchError> {
    let Some(bytes) = shared.nodes.node(&expected.id)? else { return Ok(None) };
    match expected.decode(&bytes) {
        Ok(node) => Ok(Some(node)),
        // The bytes have the right hash, so the parent's word about them is wrong: the writer's doing.
        Err(error) => Err(FetchError::Lied(format!("index: {error}"))),
    }
}

fn add_children(node: &Node, expected: &Expected, frontier: &mut VecDeque<Expected>) {
    for index in 0..node.item_count() {
        frontier.extend(node.expected_child(index, expected.after.as_ref()));
    }
}
