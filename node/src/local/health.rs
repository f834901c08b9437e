//! How full everything is that others can make grow.

use p2p_api::{Bound, BoundUnit};
use p2p_drives::Drives;

use crate::events::EventLog;
use crate::network::Snapshot;

/// Name, what it holds, the most that it will hold.
type Room = (&'static str, usize, usize);

/// All of it: of the network as the loop last saw it, of drives and of the API.
pub(super) fn bounds(snapshot: &Snapshot, drives: &Drives, events: &EventLog) -> Vec<Bound> {
    let own = [("events remembered for readers of the API", events.len(), EventLog::MOST)];
    let counted = snapshot.rooms.iter().copied().chain(drives.rooms()).chain(own);
    let in_bytes = snapshot.byte_rooms.iter().copied().chain(drives.byte_rooms());
    let bound =
        |(name, used, most): Room, unit| Bound { name: name.into(), unit, used: used as u64, most: most as u64 };
    let counted = counted.map(|room| bound(room, BoundUnit::Count));
    counted.chain(in_bytes.map(|room| bound(room, BoundUnit::Bytes))).collect()
}
