//! Goes through the rows of all index nodes: saves what is needed, condemns what is not, deletes what was condemned long
//! enough ago.

use std::collections::{HashMap, HashSet};

use p2p_identity::DriveId;

use super::Pace;
use crate::DriveError;
use crate::engine::Shared;
use crate::nodes::NodeRow;
use crate::tree::NodeId;

/// Rows that change together. sled takes some 10 ms for that many, and so long everybody else may have to wait.
/// Tests want several.
const BATCH_ROWS: usize = if cfg!(test) { 16 } else { 250 };

/// What may be deleted.
pub(super) struct Limits<'a> {
    /// How long something must have been condemned, or lain unchanged.
    pub(super) grace_ms: u64,
    /// Only what was condemned, or made, before this time.
    pub(super) oldest_writer: u64,
    /// The drives that were active when it was marked what is needed.
    pub(super) active: &'a HashSet<DriveId>,
}

impl Limits<'_> {
    /// Whether something of this time may go.
    pub(super) fn is_due(&self, since_ms: u64, now_ms: u64) -> bool {
        since_ms < self.oldest_writer && now_ms.checked_sub(since_ms).is_some_and(|age| age >= self.grace_ms)
    }

    /// Whether a drive was taken up again since: then what is needed is not what was marked.
    pub(super) fn are_outdated(&self, shared: &Shared) -> bool {
        super::active(shared).iter().any(|id| !self.active.contains(id))
    }
}

/// What became of the nodes.
#[derive(Default)]
pub(super) struct Swept {
    pub(super) deleted: u64,
    pub(super) waiting_bytes: u64,
    /// Bytes of items that are not deleted, headers included.
    pub(super) live_by_pack: HashMap<u32, u64>,
}

pub(super) fn sweep(
    shared: &Shared,
    needed: &HashSet<NodeId>,
    limits: &Limits<'_>,
    pace: &Pace,
) -> Result<Swept, DriveError> {
    let nodes = &shared.nodes;
    let mut swept = Swept::default();
    let mut after = None;
    loop {
        let stretch = pace.stretch();
        let page = nodes.page(after.as_ref(), BATCH_ROWS)?;
        let Some((last, _)) = page.last() else { return Ok(swept) };
        after = Some(*last);
        let is_settled = |(id, row): &(NodeId, NodeRow)| needed.contains(id) && row.condemned_ms.is_none();
        let (settled, open): (Vec<_>, Vec<_>) = page.into_iter().partition(is_settled);
        settled.iter().for_each(|(_, row)| swept.count(row));
        if !open.is_empty() {
            let _rows = nodes.changing();
            if limits.are_outdated(shared) {
                return Err(DriveError::Busy);
            }
            // Told here: whoever kept a node before began before this.
            let now_ms = shared.holds.now_ms();
            let mut changes = Vec::with_capacity(open.len());
            for (id, _) in &open {
                // It may have been saved since the page was read.
                let Some(row) = nodes.row_of(id)? else { continue };
                let next = match (needed.contains(id), row.condemned_ms) {
                    (true, Some(_)) => Some(NodeRow::at(row.location)),
                    (false, None) => Some(NodeRow { condemned_ms: Some(now_ms), ..row }),
                    (false, Some(since)) if limits.is_due(since, now_ms) => None,
                    // A clock that was set back makes the hour begin again.
                    (false, Some(since)) if since > now_ms => Some(NodeRow { condemned_ms: Some(now_ms), ..row }),
                    (true, None) | (false, Some(_)) => Some(row),
                };
                match next {
                    Some(next) => swept.count(&next),
                    None => swept.deleted += 1,
                }
                if next != Some(row) {
                    changes.push((*id, next));
                }
            }
            nodes.set_rows(&changes)?;
        }
        pace.rest(stretch)?;
    }
}

impl Swept {
    fn count(&mut self, row: &NodeRow) {
        let bytes = row.location.item_bytes();
        *self.live_by_pack.entry(row.location.pack).or_default() += bytes;
        if row.condemned_ms.is_some() {
            self.waiting_bytes += bytes;
        }
    }
}
