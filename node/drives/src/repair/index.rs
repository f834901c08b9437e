//! The trees of the versions that are kept: what is missing of them comes from peers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Loss, Lost, Repair, on_thread};
use crate::DriveError;
use crate::engine::Drives;
use crate::index::{Keep, Whole, fetch_tree};
use crate::lock::lock;
use crate::nodes::NodeStore;
use crate::registry::{Drive, Role};
use crate::tree::{Expected, Node, NodeId};

/// How long peers are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// A tree of which something is missing.
struct Broken {
    root: NodeId,
    version: Option<u64>,
    is_newest: bool,
}

impl Drives {
    pub(super) async fn repair_index(&self, repair: &Arc<Repair>, drive: &Arc<Drive>) -> Result<(), DriveError> {
        let of = drive.clone();
        let broken = on_thread(repair, move |repair| broken(repair, &of)).await?;
        // Once nobody is there, nobody is waited for again.
        let mut viewer = (!broken.is_empty()).then(|| self.history_viewer(drive));
        for Broken { root, version, is_newest } in broken {
            let shared = self.shared().clone();
            // What was fetched for one version may be what the next one lacked.
            if on_thread(repair, move |repair| is_whole(&repair.shared.nodes, root, &mut HashMap::new())).await? {
                continue;
            }
            if let Some(peers) = &viewer {
                let fetch = |session: Arc<crate::session::Session>| {
                    let shared = shared.clone();
                    async move { fetch_tree(&shared, &session, Expected::root(root), &Whole::default(), Keep::OnDisk).await }
                };
                match peers.ask(PATIENCE, fetch).await {
                    Ok(()) => {
                        lock(&repair.done).fetched += 1;
                        continue;
                    }
                    Err(DriveError::NoPeers(_) | DriveError::Stalled(_)) if is_newest => viewer = None,
                    Err(DriveError::NoPeers(_) | DriveError::Stalled(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            let state = drive.state();
            let mut done = lock(&repair.done);
            match state.row.folder_path() {
                Some(path) if is_newest && (state.row.role == Role::Owner || state.row.syncs) => {
                    if !done.to_import.iter().any(|(known, _)| *known == drive.id) {
                        done.to_import.push((drive.id, path));
                    }
                }
                _ => done.lose(Lost { drive: Some(drive.id), version, path: None, what: Loss::Index }),
            }
        }
        Ok(())
    }
}

/// The trees that are not whole, the newest first.
fn broken(repair: &Repair, drive: &Drive) -> Result<Vec<Broken>, DriveError> {
    let mut known = HashMap::new();
    let mut broken = Vec::new();
    let mut look = |root, version, is_newest| {
        if broken.iter().all(|other: &Broken| other.root != root) && !is_whole(&repair.shared.nodes, root, &mut known)?
        {
            broken.push(Broken { root, version, is_newest });
        }
        Ok::<_, DriveError>(())
    };
    if let Some(at) = drive.snapshot() {
        look(at.root, Some(at.version()), true)?;
        for head in at.heads() {
            look(head.body().root, head.body().is_by_owner().then_some(head.body().counter), true)?;
        }
    }
    let history = repair.shared.registry.history(drive)?;
    for note in history.iter().rev() {
        look(note.root, note.is_by_owner.then_some(note.counter), false)?;
    }
    Ok(broken)
}

/// Whether all of a tree is here. Reads no leaf: rows were compared with the packs before. At most 8 levels deep.
fn is_whole(nodes: &NodeStore, id: NodeId, known: &mut HashMap<NodeId, bool>) -> Result<bool, DriveError> {
    if let Some(is_whole) = known.get(&id) {
        return Ok(*is_whole);
    }
    let mut whole = false;
    if let Some(bytes) = nodes.peek(&id)? {
        whole = true;
        if let Ok(Node::Interior { level, children }) = Node::decode(&bytes) {
            for child in children {
                whole &= match level {
                    1 => nodes.row_of(&child.id)?.is_some(),
                    _ => is_whole(nodes, child.id, known)?,
                };
            }
        }
    }
    known.insert(id, whole);
    Ok(whole)
}
