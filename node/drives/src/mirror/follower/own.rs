//! This node's own newest head, where a peer has one that this node has not: it was restored from a backup
//! (specs/drives.md, 5.1).

use std::sync::Arc;
use std::time::Duration;

use p2p_identity::{Hints, WriterKey};
use tokio::time::Instant;

use super::{Follower, MAX_RESTARTS, Offer};
use crate::DriveError;
use crate::engine::Shared;
use crate::folder::Folder;
use crate::mirror::{Outcome, Scope};
use crate::registry::Drive;

/// How long peers are looked for before the first version after a start. A neighbour, an address of a link or one look-up
/// in the DHT answers within this; a node that is alone then writes all the same, as offline it must.
const OWN_HEAD_PATIENCE: Duration = Duration::from_secs(5);
/// How long others have to answer when one has.
const OTHERS_TOO: Duration = Duration::from_secs(1);

/// A head that this node signed and does not know any more, and the peers that have it.
pub(crate) struct OwnHead {
    follower: Follower,
    offer: Offer,
}

impl OwnHead {
    /// Asks the peers there are for a head of `writer` that is newer than what is known here. `None` where nobody has one,
    /// or nobody answers within [`OWN_HEAD_PATIENCE`].
    pub(crate) async fn find(
        shared: Arc<Shared>,
        drive: Arc<Drive>,
        folder: Arc<Folder>,
        hints: Hints,
        writer: WriterKey,
    ) -> Option<Self> {
        let known = drive.snapshot().and_then(|at| at.head_of(&writer).map(|head| head.body().counter)).unwrap_or(0);
        let id = drive.id;
        let mut follower = Follower { two_way: false, ..Follower::start_sync(shared, drive, folder, &hints) };
        let mut newest: Option<Offer> = None;
        let mut deadline = Instant::now() + OWN_HEAD_PATIENCE;
        while let Ok(Some(opened)) = tokio::time::timeout_at(deadline, follower.party.opened.recv()).await {
            deadline = deadline.min(Instant::now() + OTHERS_TOO);
            follower.party.sessions.push(opened.session.clone());
            let counter = |offer: &Offer| offer.1.first().map_or(0, |head| head.body().counter);
            let least = newest.as_ref().map_or(known, counter);
            let is_it = |head: &&crate::head::HeadEnvelope| {
                let body = head.body();
                body.drive == id && body.writer == writer && body.counter > least
            };
            // Signed by this node's own key, so nobody can make one up.
            if let Some(head) = opened.heads.iter().filter(is_it).max_by_key(|head| head.body().counter) {
                newest = Some((opened.session, vec![head.clone()]));
            }
        }
        newest.map(|offer| Self { follower, offer })
    }

    /// The counter of the head that was found.
    pub(crate) fn counter(&self) -> u64 {
        self.offer.1.first().map_or(0, |head| head.body().counter)
    }

    /// Brings its state into the folder. What was edited here and stands in the way gets a name of its own. Durable when
    /// this returns; the drive's work lock is the caller's.
    pub(crate) async fn bring(mut self) -> Result<(), DriveError> {
        // Nodes come before the head that speaks of them.
        let _writing = self.follower.shared.holds.writing();
        for _ in 0..MAX_RESTARTS {
            let job = Arc::new(self.follower.job());
            let copied = job.copy(&mut self.follower.party, self.offer.clone(), Scope::Changes, self.follower.patience);
            match copied.await? {
                Outcome::Done(_) => return Ok(()),
                Outcome::Newer(again) => self.offer = *again,
                Outcome::LocalChange => {}
            }
        }
        Err(DriveError::Stalled("what this node wrote before changes faster than it can be copied".into()))
    }
}
