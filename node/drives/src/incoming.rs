//! A version that is on its way here: what has come of it is served to others (specs/drives.md, 7.2).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use p2p_identity::ContentId;
use tokio::sync::watch;

use crate::blob::MAX_WIRE_RUNS;
use crate::content::{Blob, ContentError, ContentIndex};
use crate::heads::Snapshot;
use crate::lock::lock;
use crate::mirror::Partial;
use crate::nodes::NodeStore;
use crate::wire::{Get, Have};
use crate::{DriveError, GroupRanges, SizeProof};

/// Between what is said of pieces that came and what is said next (specs/drives.md, 7.2).
const HAVE_EVERY: Duration = Duration::from_millis(250);

/// The version, and what has come of it.
pub(crate) struct Incoming {
    pub(crate) at: Snapshot,
    /// Numbers of the pieces that are here.
    held: watch::Sender<GroupRanges>,
    /// Large files that are being fetched.
    partials: Mutex<HashMap<ContentId, Weak<Partial>>>,
    content: Mutex<Option<Arc<ContentIndex>>>,
}

impl Incoming {
    pub(crate) fn new(at: Snapshot) -> Self {
        Self { at, held: watch::Sender::default(), partials: Mutex::default(), content: Mutex::default() }
    }

    /// A piece is here now.
    pub(crate) fn hold(&self, number: u64) {
        self.held.send_modify(|held| held.insert(number..number + 1));
    }

    /// Numbers of the pieces that are here, now and from now on.
    pub(crate) fn held(&self) -> watch::Receiver<GroupRanges> {
        self.held.subscribe()
    }

    /// A large file is being fetched.
    pub(crate) fn add(&self, partial: &Arc<Partial>) {
        let mut partials = lock(&self.partials);
        partials.retain(|_, known| known.strong_count() > 0);
        partials.insert(*partial.hash(), Arc::downgrade(partial));
    }

    /// A large file that is on its way, if all has come that is asked of it. Blocks.
    pub(crate) fn open(&self, get: &Get) -> Result<Blob, ContentError> {
        let partial = lock(&self.partials).get(&get.hash).and_then(Weak::upgrade).ok_or(ContentError::NotFound)?;
        let all = GroupRanges::of_size(partial.size());
        let last = all.count().saturating_sub(1)..all.count();
        let proof =
            if get.size_proof == SizeProof::Yes { GroupRanges::from_groups(last) } else { GroupRanges::empty() };
        partial.open_proven(&get.ranges.clip(partial.size()).union(&proof).widen(get.grain))
    }

    /// Where the content of the version lies, or will lie. Blocks.
    pub(crate) fn content(&self, nodes: &NodeStore) -> Result<Arc<ContentIndex>, DriveError> {
        let mut content = lock(&self.content);
        if let Some(known) = &*content {
            return Ok(known.clone());
        }
        let made = Arc::new(ContentIndex::make(self.at.root, None, nodes)?);
        *content = Some(made.clone());
        Ok(made)
    }
}

/// What a peer was told of what is here.
#[derive(Default)]
pub(crate) struct Said {
    of: Option<(Arc<Incoming>, watch::Receiver<GroupRanges>)>,
    pieces: GroupRanges,
}

impl Said {
    /// What there is to say next: pieces that came since the last word, which is at least [`HAVE_EVERY`] ago. Waits until
    /// there is something. Cancel safe.
    pub(crate) async fn next(&mut self, incoming: &mut watch::Receiver<Option<Arc<Incoming>>>) -> Vec<Have> {
        loop {
            let now = incoming.borrow_and_update().clone();
            if now.as_ref().map(Arc::as_ptr) != self.of.as_ref().map(|(of, _)| Arc::as_ptr(of)) {
                *self = Self { of: now.map(|now| (now.clone(), now.held())), pieces: GroupRanges::empty() };
            }
            let Some((of, held)) = &mut self.of else {
                if incoming.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            };
            let added = held.borrow_and_update().difference(&self.pieces);
            if !added.is_empty() {
                let root = ContentId::from(*of.at.root.as_bytes());
                tokio::time::sleep(HAVE_EVERY).await;
                self.pieces = self.pieces.union(&added);
                return parts(&added).map(|added| Have { root, added, complete: false }).collect();
            }
            tokio::select! {
                changed = incoming.changed() => if changed.is_err() { std::future::pending::<()>().await },
                changed = held.changed() => if changed.is_err() { self.of = None },
            }
        }
    }
}

/// Runs that fit into one message each.
fn parts(all: &GroupRanges) -> impl Iterator<Item = GroupRanges> {
    let mut rest = all.clone();
    std::iter::from_fn(move || {
        let part = rest.first_runs(MAX_WIRE_RUNS);
        rest = rest.difference(&part);
        (!part.is_empty()).then_some(part)
    })
}
