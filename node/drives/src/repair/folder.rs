//! The files of a drive in its folder: whether they are what the newest version says, their proofs and fingerprints.

use std::io;

use p2p_identity::ContentId;

use super::{Loss, Lost, Repair};
use crate::DriveError;
use crate::content::{Proof, WHOLE_FILE_BYTES, load};
use crate::entry::{Entry, Kind};
use crate::folder::{Fingerprint, Folder, Found};
use crate::lock::lock;
use crate::publish::{fingerprints_of, leaf_row};
use crate::registry::{Drive, Role};
use crate::store::{Batch, CacheTable};
use crate::tree::{Expected, Node};

/// What a look at a path found.
enum Look {
    /// What the version says.
    Right(Fingerprint),
    /// Something else, or nothing.
    Wrong(Option<Fingerprint>),
}

pub(super) fn repair(repair: &Repair, drive: &Drive) -> Result<(), DriveError> {
    let state = drive.state();
    let (Some(at), Some(path)) = (drive.snapshot(), state.row.folder_path()) else { return Ok(()) };
    let version = Some(at.version());
    repair.progress.begin(path.display().to_string());
    let folder = match Folder::open(&path) {
        Ok(folder) => folder,
        Err(error) => {
            tracing::warn!(drive = %drive.id, %error, "the folder of a drive cannot be read");
            lock(&repair.done).lose(Lost { drive: Some(drive.id), version, path: None, what: Loss::Folder });
            return Ok(());
        }
    };
    let is_ours = state.row.role == Role::Owner || state.row.syncs;
    let mut stack = vec![at.expected()];
    while let Some(expected) = stack.pop() {
        let node = match load(&repair.shared.nodes, &expected) {
            Ok(node) => node,
            // Named with the index.
            Err(DriveError::Corrupt(_)) => continue,
            Err(error) => return Err(error),
        };
        match node {
            Node::Interior { .. } => {
                let children = (0..node.item_count()).rev();
                stack.extend(children.filter_map(|index| node.expected_child(index, expected.after.as_ref())));
            }
            Node::Leaf(entries) => look_at_leaf(repair, drive, &folder, &expected, &entries, is_ours)?,
        }
    }
    Ok(())
}

fn look_at_leaf(
    repair: &Repair,
    drive: &Drive,
    folder: &Folder,
    leaf: &Expected,
    entries: &[Entry],
    is_ours: bool,
) -> Result<(), DriveError> {
    let cache = &repair.shared.cache;
    let before = fingerprints_of(&**cache, &drive.id, leaf.id, entries)?;
    let state = drive.state();
    let mut fingerprints = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let stretch = repair.pace.stretch();
        let known = before.as_ref().and_then(|known| known.get(index));
        match look(repair, folder, entry) {
            Look::Right(fingerprint) => fingerprints.push(fingerprint),
            Look::Wrong(found) => {
                fingerprints.push(Fingerprint::never());
                // An edit that is not imported yet changes what the file looks like; damage does not.
                let is_edit = is_ours && known.is_some_and(|known| found.as_ref() != Some(known));
                let cannot_be_here = state.row.absent.iter().any(|key| key == entry.key().as_bytes());
                if !is_edit && !cannot_be_here {
                    let (version, path) = (state.at.as_ref().map(|at| at.version()), Some(entry.key().to_path()));
                    lock(&repair.done).lose(Lost { drive: Some(drive.id), version, path, what: Loss::File });
                }
            }
        }
        repair.pace.rest(stretch)?;
    }
    let row =
        entries.last().filter(|_| is_ours).and_then(|last| leaf_row(&drive.id, last.key(), leaf.id, fingerprints));
    if let Some((key, value)) = row
        && cache.get(CacheTable::Leaf, &key)?.as_ref() != Some(&value)
    {
        cache.apply(Batch::new().put(CacheTable::Leaf, key, value))?;
        lock(&repair.done).leaves += 1;
    }
    Ok(())
}

fn look(repair: &Repair, folder: &Folder, entry: &Entry) -> Look {
    let path = entry.key().to_path();
    let version = entry.shown();
    let Ok(before) = folder.status(&path) else { return Look::Wrong(None) };
    let found = (before.found, version.kind);
    let is_right = match found {
        (Found::Directory, Kind::Directory) => Ok(true),
        (Found::Symlink, Kind::Symlink) => folder.read_link(&path).map(|target| ContentId::of(&target) == version.hash),
        (Found::File, Kind::File) if before.fingerprint.size == version.size => {
            repair.progress.count(version.size);
            is_right(repair, folder, &path, version.size, &version.hash)
        }
        _ => Ok(false),
    };
    // Read while somebody writes it, it tells nothing.
    let is_still = folder.status(&path).is_ok_and(|after| after.fingerprint == before.fingerprint);
    match is_right {
        Ok(true) if is_still => Look::Right(before.fingerprint),
        _ => Look::Wrong(Some(before.fingerprint)),
    }
}

fn is_right(repair: &Repair, folder: &Folder, path: &str, size: u64, hash: &ContentId) -> io::Result<bool> {
    let (file, _) = folder.open_file(path)?;
    if size <= WHOLE_FILE_BYTES {
        let mut bytes = vec![0; size as usize];
        crate::blob::ReadAt::read_exact_at(&file, &mut bytes, 0)?;
        return Ok(ContentId::of(&bytes) == *hash);
    }
    let proof = repair.shared.outboards.check(&file, size, hash);
    lock(&repair.done).proofs += u64::from(proof == Proof::MadeAgain);
    Ok(proof != Proof::WrongContent)
}
