//! Rows of index nodes, from the packs.

use std::collections::HashSet;

use super::Repair;
use crate::DriveError;
use crate::lock::lock;
use crate::nodes::NodeStore;
use crate::store::PackItem;
use crate::tree::NodeId;

/// Items that get their rows together.
const BATCH_ITEMS: usize = 250;
/// Rows looked at together.
const PAGE_ROWS: usize = 250;

/// Writes rows again for all good nodes in the packs that have none; returns how many. Blocks.
pub(crate) fn adopt_packs(nodes: &NodeStore) -> Result<u64, DriveError> {
    adopt(nodes, |_| {})
}

fn adopt(nodes: &NodeStore, mut seen: impl FnMut(&PackItem)) -> Result<u64, DriveError> {
    let (mut items, mut count, mut failed) = (Vec::new(), 0, None);
    nodes.packs().scan_all(|item| {
        seen(&item);
        items.push(item);
        if items.len() >= BATCH_ITEMS {
            match nodes.adopt(&std::mem::take(&mut items)) {
                Ok(added) => count += added,
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
    })?;
    count += nodes.adopt(&items)?;
    failed.map_or(Ok(count), Err)
}

/// Rows for what is there, and none for what is not.
pub(super) fn repair(repair: &Repair) -> Result<(), DriveError> {
    repair.progress.begin("the index");
    let nodes = &repair.shared.nodes;
    let mut good = HashSet::new();
    let found = adopt(nodes, |item| good.extend([(item.location.pack, item.location.offset)]))?;
    let (mut damaged, mut after) = (0, None::<NodeId>);
    loop {
        let stretch = repair.pace.stretch();
        let page = nodes.page(after.as_ref(), PAGE_ROWS)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for (id, row) in page {
            // Newer than the scan, or bad: reading tells, and forgets what is bad.
            if !good.contains(&(row.location.pack, row.location.offset)) && nodes.peek(&id)?.is_none() {
                damaged += u64::from(nodes.forget_damaged(&id, row.location)?);
            }
        }
        repair.pace.rest(stretch)?;
    }
    nodes.forget_recent();
    let mut done = lock(&repair.done);
    done.nodes += found;
    done.damaged_nodes += damaged;
    Ok(())
}
