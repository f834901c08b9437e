//! Content that is kept of earlier versions: what is damaged is removed, and named.

use std::collections::{HashMap, HashSet};

use p2p_identity::ContentId;

use super::{Loss, Lost, Repair};
use crate::DriveError;
use crate::content::{Blob, Place, Proof, WHOLE_FILE_BYTES, read_kept};
use crate::lock::lock;
use crate::store::CacheTable;
use crate::tree::{Node, NodeId};

pub(super) fn repair(repair: &Repair) -> Result<(), DriveError> {
    repair.progress.begin("earlier versions");
    let kept = &repair.shared.kept;
    let failed = || DriveError::io("look through kept content");
    let mut lost = HashSet::new();
    for (hash, _) in kept.all().map_err(failed())? {
        let stretch = repair.pace.stretch();
        let is_right = match kept.find(&hash) {
            None => false,
            Some((_, size)) if size <= WHOLE_FILE_BYTES => {
                repair.progress.count(size);
                read_kept(kept, &hash, size).is_some()
            }
            Some((file, size)) => {
                repair.progress.count(size);
                let proof = repair.shared.outboards.check(&file, size, &hash);
                lock(&repair.done).proofs += u64::from(proof == Proof::MadeAgain);
                proof != Proof::WrongContent
            }
        };
        if !is_right {
            kept.remove_one(&hash).map_err(failed())?;
            lost.insert(hash);
        }
        repair.pace.rest(stretch)?;
    }
    if lost.is_empty() {
        return Ok(());
    }
    // What the folders still have is kept again: everything is looked through for that.
    for drive in repair.shared.registry.all() {
        repair.shared.cache.remove(CacheTable::Kept, drive.id.as_bytes())?;
        lost.retain(|hash| Blob::open(&repair.shared, &drive, hash, Place::Folder).is_err());
    }
    repair.shared.published.notify_one();
    name(repair, lost)
}

/// Says of which files the lost contents were, going through the versions from the newest to the oldest.
fn name(repair: &Repair, mut lost: HashSet<ContentId>) -> Result<(), DriveError> {
    for drive in repair.shared.registry.all() {
        let mut seen = HashSet::new();
        let mut named: HashMap<ContentId, (u64, bool, String)> = HashMap::new();
        for note in repair.shared.registry.history(&drive)?.iter().rev() {
            let mut stack = vec![note.root];
            while let Some(id) = stack.pop() {
                if !seen.insert(id) {
                    continue;
                }
                for (hash, path) in lost_in(repair, id, &lost, &mut stack)? {
                    named.entry(hash).or_insert((note.counter, note.is_by_owner, path));
                }
            }
        }
        for (hash, (counter, is_by_owner, path)) in named {
            lost.remove(&hash);
            let version = is_by_owner.then_some(counter);
            let loss = Lost { drive: Some(drive.id), version, path: Some(path), what: Loss::Content };
            lock(&repair.done).lose(loss);
        }
    }
    for _ in lost {
        lock(&repair.done).lose(Lost { drive: None, version: None, path: None, what: Loss::Content });
    }
    Ok(())
}

fn lost_in(
    repair: &Repair,
    id: NodeId,
    lost: &HashSet<ContentId>,
    stack: &mut Vec<NodeId>,
) -> Result<Vec<(ContentId, String)>, DriveError> {
    let stretch = repair.pace.stretch();
    let mut found = Vec::new();
    match repair.shared.nodes.peek(&id)?.map(|bytes| Node::decode(&bytes)) {
        Some(Ok(Node::Leaf(entries))) => {
            for entry in &entries {
                let hashes = entry.versions().iter().map(|version| version.hash).filter(|hash| lost.contains(hash));
                found.extend(hashes.map(|hash| (hash, entry.key().to_path())));
            }
        }
        Some(Ok(Node::Interior { children, .. })) => stack.extend(children.iter().map(|child| child.id)),
        Some(Err(_)) | None => {}
    }
    repair.pace.rest(stretch)?;
    Ok(found)
}
