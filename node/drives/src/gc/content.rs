//! Removes proofs and kept content of which no stored leaf speaks any more.
//!
//! A leaf stays for an hour after nothing needs it, so what it speaks of does too. Nothing is counted here either: this
//! looks at what lies in the directories, and asks all stored leaves. That costs reading the index once (a million entries
//! are about 60 MB), and is done only after leaves were deleted.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use p2p_identity::ContentId;

use super::sweep::Limits;
use super::{Collected, Pace};
use crate::DriveError;
use crate::engine::Shared;
use crate::publish::leaf_of_row;
use crate::store::{Batch, CacheTable};
use crate::tree::{Node, NodeId};

/// Nodes read between two looks at the clock. Tests want several.
const PAGE_NODES: usize = if cfg!(test) { 16 } else { 100 };
/// Files removed together, while nobody can keep a node. Tests want several.
const BATCH_FILES: usize = if cfg!(test) { 2 } else { 50 };
/// Rows of fingerprints looked at together: up to 32 KiB each.
const PAGE_LEAVES: usize = 100;

/// Something that lies in the store under the hash of a content.
#[derive(Clone, Debug)]
struct Found {
    hash: ContentId,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// A proof, or part of an unfinished transfer.
    Proof(PathBuf),
    /// Content of an earlier version.
    Content,
}

pub(super) fn sweep_content(
    shared: &Shared,
    limits: &Limits<'_>,
    done: &mut Collected,
    pace: &Pace,
) -> Result<(), DriveError> {
    sweep_fingerprints(shared, pace)?;
    let mut found = Vec::new();
    for path in shared.outboards.files().into_iter().chain(unfinished(shared)) {
        let name = path.file_stem().and_then(|name| name.to_str());
        match name.and_then(|name| name.parse().ok()) {
            Some(hash) if is_due(shared, &path, limits) => found.push(Found { hash, kind: Kind::Proof(path) }),
            _ => {}
        }
    }
    let kept = shared.kept.all().map_err(DriveError::io("look through kept content"))?;
    let now_ms = shared.holds.now_ms();
    let kept = kept.into_iter().filter(|(_, since)| limits.is_due(ms_of(*since), now_ms));
    found.extend(kept.map(|(hash, _)| Found { hash, kind: Kind::Content }));
    if found.is_empty() {
        return Ok(());
    }
    let mut unneeded: HashSet<u64> = found.iter().map(|found| short(&found.hash)).collect();
    shared.nodes.start_journal();
    let result = sweep_found(shared, limits, found, &mut unneeded, done, pace);
    shared.nodes.take_journal(true);
    result
}

fn sweep_found(
    shared: &Shared,
    limits: &Limits<'_>,
    mut found: Vec<Found>,
    unneeded: &mut HashSet<u64>,
    done: &mut Collected,
    pace: &Pace,
) -> Result<(), DriveError> {
    let mut after = None;
    loop {
        let stretch = pace.stretch();
        let page = shared.nodes.page(after.as_ref(), PAGE_NODES)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        page.iter().try_for_each(|(id, _)| spare(shared, id, unneeded))?;
        if unneeded.is_empty() {
            return Ok(());
        }
        pace.rest(stretch)?;
    }
    found.retain(|found| unneeded.contains(&short(&found.hash)));
    for batch in found.chunks(BATCH_FILES) {
        let stretch = pace.stretch();
        // A version published meanwhile may need what no version needed before: its leaves are in the journal, and for
        // this moment nobody adds to it. Content is kept only of versions whose leaves are.
        let _rows = shared.nodes.changing();
        let Some(journal) = shared.nodes.take_journal(false) else { return Ok(()) };
        journal.iter().try_for_each(|id| spare(shared, id, unneeded))?;
        for Found { hash, kind } in batch.iter().filter(|found| unneeded.contains(&short(&found.hash))) {
            match kind {
                Kind::Proof(path) if is_due(shared, path, limits) => {
                    let bytes = fs::metadata(path).map_or(0, |meta| meta.len());
                    if fs::remove_file(path).is_ok() {
                        done.proofs += 1;
                        done.bytes += bytes;
                    }
                }
                Kind::Proof(_) => {}
                Kind::Content => {
                    let bytes = shared.kept.remove_one(hash).map_err(DriveError::io("remove kept content"))?;
                    done.contents += 1;
                    done.bytes += bytes;
                }
            }
        }
        drop(_rows);
        pace.rest(stretch)?;
    }
    Ok(())
}

/// Takes what a node speaks of from what is not needed.
fn spare(shared: &Shared, id: &NodeId, unneeded: &mut HashSet<u64>) -> Result<(), DriveError> {
    let Some(bytes) = shared.nodes.peek(id)? else { return Ok(()) };
    if let Ok(Node::Leaf(entries)) = Node::decode(&bytes) {
        for version in entries.iter().flat_map(|entry| entry.versions()) {
            unneeded.remove(&short(&version.hash));
        }
    }
    Ok(())
}

/// Removes fingerprints of leaves that are gone.
fn sweep_fingerprints(shared: &Shared, pace: &Pace) -> Result<(), DriveError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let stretch = pace.stretch();
        let page = shared.cache.scan(CacheTable::Leaf, &[], after.as_deref(), PAGE_LEAVES)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        let mut gone = Batch::new();
        for (key, value) in page {
            let is_there = match leaf_of_row(&value) {
                Some(leaf) => shared.nodes.row_of(&leaf)?.is_some(),
                None => false,
            };
            if !is_there {
                gone.delete(CacheTable::Leaf, key);
            }
        }
        shared.cache.apply(&gone)?;
        pace.rest(stretch)?;
    }
}

fn unfinished(shared: &Shared) -> Vec<PathBuf> {
    let entries = fs::read_dir(&shared.partial_directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn is_due(shared: &Shared, path: &std::path::Path, limits: &Limits<'_>) -> bool {
    let Ok(made) = fs::metadata(path).and_then(|meta| meta.modified()) else { return false };
    limits.is_due(ms_of(made), shared.holds.now_ms())
}

fn ms_of(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

fn short(hash: &ContentId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
