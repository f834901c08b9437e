//! Writes packs again that are more than half dead (specs/drives.md, 12, rule 6).

use std::collections::{HashMap, HashSet};

use p2p_identity::ContentId;

use super::Pace;
use crate::DriveError;
use crate::nodes::{NodeRow, NodeStore};
use crate::store::PackError;
use crate::tree::NodeId;

/// Below so many dead bytes a pack is left as it is.
const LEAST_DEAD_BYTES: u64 = 64 * 1024;
/// Items that move together, and their bytes. Tests want several.
const BATCH_ITEMS: usize = if cfg!(test) { 16 } else { 250 };
const BATCH_BYTES: u64 = 4 * 1024 * 1024;
/// Rows looked at together.
const PAGE_ROWS: usize = 1_000;

/// Copies what lives in packs that are more than half dead to the newest one, and removes them. `live` are the bytes in
/// use of each pack. Blocks.
pub(super) fn compact(nodes: &NodeStore, live: &HashMap<u32, u64>, pace: &Pace) -> Result<(), DriveError> {
    let packs = nodes.packs();
    let mut dying: HashSet<u32> = dying(nodes, live)?.into_iter().map(|(number, _)| number).collect();
    if dying.is_empty() {
        return Ok(());
    }
    for number in &dying {
        packs.turn_from(*number)?;
    }
    // Whoever has appended to one of them has written its rows after this.
    drop(nodes.changing());
    move_out(nodes, &dying, pace)?;
    // What a row still names is not removed, whatever the reason.
    let mut after = None;
    loop {
        let page = nodes.page(after.as_ref(), PAGE_ROWS)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for (_, row) in page {
            dying.remove(&row.location.pack);
        }
    }
    // The new locations are on disk before the old bytes go.
    nodes.sync()?;
    for number in dying {
        packs.remove(number)?;
    }
    Ok(())
}

/// The packs that are to be written again, with their dead bytes.
pub(super) fn dying(nodes: &NodeStore, live: &HashMap<u32, u64>) -> Result<Vec<(u32, u64)>, DriveError> {
    let packs = nodes.packs();
    let numbers = packs.numbers()?;
    let mut dying = Vec::new();
    for number in &numbers {
        let (len, live) = (packs.pack_len(*number)?, live.get(number).copied().unwrap_or(0));
        let dead = len.saturating_sub(live);
        let is_empty_and_done = live == 0 && numbers.last() != Some(number);
        if is_empty_and_done || (dead > len / 2 && dead >= LEAST_DEAD_BYTES) {
            dying.push((*number, dead));
        }
    }
    Ok(dying)
}

fn move_out(nodes: &NodeStore, dying: &HashSet<u32>, pace: &Pace) -> Result<(), DriveError> {
    let mut after = None;
    loop {
        let page = nodes.page(after.as_ref(), PAGE_ROWS)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        let moving: Vec<_> = page.into_iter().filter(|(_, row)| dying.contains(&row.location.pack)).collect();
        let mut rest = moving.as_slice();
        while !rest.is_empty() {
            let stretch = pace.stretch();
            let mut bytes = 0;
            let fits = rest.iter().take(BATCH_ITEMS).take_while(|(_, row)| {
                bytes += row.location.item_bytes();
                bytes <= BATCH_BYTES
            });
            let (batch, later) = rest.split_at(fits.count().max(1));
            move_batch(nodes, batch)?;
            rest = later;
            pace.rest(stretch)?;
        }
    }
}

fn move_batch(nodes: &NodeStore, batch: &[(NodeId, NodeRow)]) -> Result<(), DriveError> {
    let packs = nodes.packs();
    let mut items: Vec<(NodeId, NodeRow, Vec<u8>)> = Vec::with_capacity(batch.len());
    let mut damaged = Vec::new();
    for (id, row) in batch {
        match packs.read(&ContentId::from(*id), row.location) {
            Ok(bytes) => items.push((*id, *row, bytes)),
            Err(PackError::Missing(_)) => damaged.push((*id, *row)),
            Err(error) => return Err(error.into()),
        }
    }
    let appended: Vec<_> = items.iter().map(|(id, _, bytes)| (ContentId::from(*id), bytes.as_slice())).collect();
    let places = packs.append(&appended)?;
    packs.sync()?;
    let moved = items.iter().zip(places).map(|((id, from, _), to)| (*id, *from, Some(to)));
    let gone = damaged.into_iter().map(|(id, from)| (id, from, None));
    let _rows = nodes.changing();
    let mut changes = Vec::with_capacity(batch.len());
    for (id, from, to) in moved.chain(gone) {
        // Kept anew or deleted meanwhile: then the copy is dead.
        let Some(row) = nodes.row_of(&id)?.filter(|row| row.location == from.location) else { continue };
        changes.push((id, to.map(|location| NodeRow { location, ..row })));
    }
    nodes.set_rows(&changes)
}
