//! Frees what no version needs any more (specs/drives.md, 12).
//!
//! What is needed follows from the heads that are kept, so it is looked up and not counted: a run marks the index nodes
//! under all kept heads, and goes through the rows of the others. Counters beside every node would have to be right after
//! every crash, for ever; a mark is right by itself, and cheap, because it reads no leaf: a million entries are about 7,000
//! leaves under 55 nodes, versions share most of these, and a run happens only after something was added or dropped.
//!
//! A node that no mark reaches is *condemned*, and deleted an hour later if nobody has kept or read it since. What is still
//! being written or read has [`Holds`]. Then packs that are more than half dead are written again, and proofs and kept
//! content that no stored leaf speaks of are removed. Each step is safe to be the last one: rows change in batches, what
//! moves is on disk before its row says so, and nothing but the rows says how far a run has come.

mod compact;
mod content;
mod holds;
mod mark;
mod sweep;
mod task;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::HashSet;
use std::time::Duration;

use p2p_identity::DriveId;

pub(crate) use self::holds::{Held, Holds};
pub(crate) use self::mark::{mark, trees};
pub(crate) use self::task::{Pace, collect_garbage};
pub(crate) use self::usage::usage;
pub use self::usage::{HeldByDrive, StoreUsage};
use crate::DriveError;
use crate::engine::Shared;
use crate::lock::lock;
use crate::registry::Drive;
use crate::store::{Batch, CacheTable, PackError};

/// How long what nothing needs is kept all the same.
pub(crate) const GRAVEYARD: Duration = Duration::from_secs(3_600);
/// Prefix of the rows that say since when a drive has been stopped.
const STOPPED: u8 = b's';

/// What a run freed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Index nodes that were deleted.
    pub nodes: u64,
    /// Proofs, and parts of unfinished transfers.
    pub proofs: u64,
    /// Contents of earlier versions.
    pub contents: u64,
    /// Bytes that became free on the disk.
    pub bytes: u64,
    /// Bytes of index nodes that nothing needs and that stay for now: younger than an hour, or in use.
    pub waiting_bytes: u64,
    /// Drives of whose newest version part of the index is missing. Nothing is deleted then: a repair may need it.
    pub damaged: Vec<DriveId>,
}

/// When what nothing needs goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// After an hour in the graveyard.
    Later,
    /// Now, unless somebody is using it.
    Now,
}

/// One run. Blocks; others wait for it at most one batch at a time.
pub(crate) fn collect(shared: &Shared, when: When, pace: &Pace) -> Result<Collected, DriveError> {
    let _one = lock(&shared.collecting);
    let before = packs_bytes(shared)?;
    let mut done = match when {
        When::Later => pass(shared, GRAVEYARD, pace)?,
        When::Now => {
            // What is condemned now is deleted by a mark that was made after that: what was published meanwhile is in it.
            let before = pass(shared, GRAVEYARD, pace)?;
            let now = pass(shared, Duration::ZERO, pace)?;
            Collected {
                nodes: before.nodes + now.nodes,
                proofs: before.proofs + now.proofs,
                contents: before.contents + now.contents,
                bytes: before.bytes + now.bytes,
                ..now
            }
        }
    };
    done.bytes += before.saturating_sub(packs_bytes(shared)?);
    Ok(done)
}

fn pass(shared: &Shared, grace: Duration, pace: &Pace) -> Result<Collected, DriveError> {
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    settle_stopped(shared, grace_ms)?;
    let active = active(shared);
    let oldest_writer = shared.holds.oldest_writer();
    let mut marked = HashSet::new();
    let mut damaged = HashSet::new();
    for tree in trees(shared)? {
        if !mark(&shared.nodes, tree.root, &mut marked, pace)? && tree.is_newest {
            damaged.extend(tree.drive);
        }
    }
    if !damaged.is_empty() {
        let mut damaged: Vec<DriveId> = damaged.into_iter().collect();
        damaged.sort();
        tracing::warn!(?damaged, "part of the index is missing, so nothing is deleted; p2p repair finds out more");
        return Ok(Collected { damaged, ..Collected::default() });
    }
    let limits = sweep::Limits { grace_ms, oldest_writer, active: &active };
    let swept = sweep::sweep(shared, &marked, &limits, pace)?;
    compact::compact(&shared.nodes, &swept.live_by_pack, pace)?;
    let mut done = Collected { nodes: swept.deleted, waiting_bytes: swept.waiting_bytes, ..Collected::default() };
    if swept.deleted > 0 || grace.is_zero() {
        content::sweep_content(shared, &limits, &mut done, pace)?;
    }
    shared.nodes.sync()?;
    Ok(done)
}

/// Drives that were stopped for longer than `grace_ms` lose their history: only what is needed to go on with them stays.
fn settle_stopped(shared: &Shared, grace_ms: u64) -> Result<(), DriveError> {
    let now_ms = shared.holds.now_ms();
    let mut rows = Batch::new();
    for drive in shared.registry.all() {
        let key = [&[STOPPED], drive.id.as_bytes().as_slice()].concat();
        let row = shared.cache.get(CacheTable::Gc, &key)?;
        if drive.state().row.active {
            if row.is_some() {
                rows.delete(CacheTable::Gc, key);
            }
            continue;
        }
        let since_ms = row.and_then(|row| Some(u64::from_be_bytes(row.try_into().ok()?)));
        // A clock that was set back makes the hour begin again.
        match since_ms.filter(|since| *since <= now_ms) {
            None => drop(rows.put(CacheTable::Gc, key, now_ms.to_be_bytes())),
            Some(since) if now_ms - since >= grace_ms => forget_history(shared, &drive)?,
            Some(_) => {}
        }
        if rows.len() >= crate::MAX_BATCH_OPERATIONS {
            shared.cache.apply(&std::mem::take(&mut rows))?;
        }
    }
    Ok(shared.cache.apply(&rows)?)
}

/// Forgets the versions of a stopped drive that have no tag. The newest heads stay in the ledger: their counters are needed.
fn forget_history(shared: &Shared, drive: &Drive) -> Result<(), DriveError> {
    let tagged: HashSet<_> = shared.registry.tags(&drive.id)?.into_iter().map(|(_, hash)| hash).collect();
    let newest: HashSet<_> = drive.snapshot().iter().flat_map(|at| at.heads().map(|head| head.hash())).collect();
    let history = shared.registry.history(drive)?;
    let gone: Vec<_> =
        history.iter().map(|note| note.hash).filter(|hash| !tagged.contains(hash) && !newest.contains(hash)).collect();
    if !gone.is_empty() {
        shared.registry.forget_heads(drive, &gone)?;
    }
    Ok(shared.cache.remove(CacheTable::Kept, drive.id.as_bytes())?)
}

fn active(shared: &Shared) -> HashSet<DriveId> {
    shared.registry.all().iter().filter(|drive| drive.state().row.active).map(|drive| drive.id).collect()
}

fn packs_bytes(shared: &Shared) -> Result<u64, PackError> {
    let packs = shared.nodes.packs();
    packs.numbers()?.into_iter().try_fold(0, |sum: u64, number| Ok(sum.saturating_add(packs.pack_len(number)?)))
}
