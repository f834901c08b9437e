//! What must not be deleted although no kept head leads to it: what is being written, and what is being read.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use p2p_identity::{DriveId, PeerId};

use crate::lock::lock;
use crate::registry::Registry;
use crate::tree::NodeId;

/// Most earlier versions that are held for one peer and drive; the oldest question goes first.
const MAX_SERVED: usize = 128;
/// Most peers and drives for which any are held.
const MAX_PEERS: usize = 4_096;

/// Who is writing and reading now. In memory: after a restart nobody is.
#[derive(Default)]
pub(crate) struct Holds {
    state: Mutex<State>,
    /// The latest time that was told, in milliseconds since 1970.
    told_ms: AtomicU64,
    #[cfg(test)]
    ahead_ms: AtomicU64,
}

#[derive(Default)]
struct State {
    next: u64,
    /// Since when each writer writes.
    writers: BTreeMap<u64, u64>,
    roots: BTreeMap<u64, NodeId>,
    served: HashMap<(PeerId, DriveId), VecDeque<NodeId>>,
}

impl Holds {
    /// Milliseconds since 1970, but never less than was told before in this process.
    pub(crate) fn now_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        #[cfg(test)]
        let now = now + self.ahead_ms.load(Ordering::Relaxed);
        self.told_ms.fetch_max(now, Ordering::Relaxed).max(now)
    }

    #[cfg(test)]
    pub(crate) fn let_pass(&self, time: std::time::Duration) {
        self.ahead_ms.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }

    /// Holds whatever is condemned from now on, until the result is dropped: for who keeps nodes and commits their head
    /// later.
    pub(crate) fn writing(self: &Arc<Self>) -> Writing {
        let now_ms = self.now_ms();
        let mut state = self.lock();
        state.next += 1;
        let number = state.next;
        state.writers.insert(number, now_ms);
        Writing { holds: self.clone(), number }
    }

    /// Holds a tree until the result is dropped: for who reads an earlier version.
    pub(crate) fn reading(self: &Arc<Self>, root: NodeId) -> Held {
        let mut state = self.lock();
        state.next += 1;
        let number = state.next;
        state.roots.insert(number, root);
        Held { holds: self.clone(), number }
    }

    /// Holds trees for as long as a peer has a session for the drive: it was told of them.
    pub(crate) fn serving(&self, peer: PeerId, drive: DriveId, roots: impl IntoIterator<Item = NodeId>) {
        let mut state = self.lock();
        if state.served.len() >= MAX_PEERS && !state.served.contains_key(&(peer, drive)) {
            return;
        }
        let served = state.served.entry((peer, drive)).or_default();
        for root in roots {
            if !served.contains(&root) {
                served.push_back(root);
            }
            if served.len() > MAX_SERVED {
                served.pop_front();
            }
        }
    }

    /// Since when the writer that began first has been writing; `u64::MAX` if nobody writes. What was condemned earlier
    /// is nothing that a writer relies on: keeping or reading it would have saved it.
    pub(super) fn oldest_writer(&self) -> u64 {
        self.lock().writers.values().min().copied().unwrap_or(u64::MAX)
    }

    /// The trees that are held. Forgets those of peers that have gone.
    pub(super) fn roots(&self, registry: &Registry) -> Vec<NodeId> {
        let mut state = self.lock();
        state.served.retain(|(peer, drive), _| {
            // Of a drive that is stopped nothing is served any more.
            let drive = registry.get(drive).filter(|drive| drive.state().row.active);
            drive.is_some_and(|drive| lock(&drive.visitors).contains_key(peer))
        });
        state.roots.values().chain(state.served.values().flatten()).copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Somebody keeps nodes whose head is not committed yet.
#[must_use = "dropping it ends the hold"]
pub(crate) struct Writing {
    holds: Arc<Holds>,
    number: u64,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.holds.lock().writers.remove(&self.number);
    }
}

/// Somebody reads a tree.
#[must_use = "dropping it ends the hold"]
pub(crate) struct Held {
    holds: Arc<Holds>,
    number: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.holds.lock().roots.remove(&self.number);
    }
}
