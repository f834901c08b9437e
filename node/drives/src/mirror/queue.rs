//! The scheduler between those who plan and those who fetch: bounded, and what was taken comes back if it was not done.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Work;
use super::swarm::{Next, Outcome, Piece, PieceKey, Portion, Request, Swarm};
use crate::lock::lock;
use crate::session::{Session, Watch};
use crate::tree::NodeId;

/// How often somebody who has nothing to do looks whether another has become slow, or holds more.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Work that waits, and what is under way. Sessions are told apart by their serial numbers.
#[derive(Default)]
pub(super) struct Queue {
    swarm: Mutex<Swarm<u64, Work>>,
    pub(super) changed: Notify,
}

impl Queue {
    /// Adds a piece; waits while enough is planned. False when nobody wants it any more. Blocks.
    pub(super) fn push(&self, number: Option<u64>, work: Work) -> bool {
        loop {
            {
                let mut swarm = lock(&self.swarm);
                if !swarm.is_full() {
                    if !swarm.push(number, work) {
                        return false;
                    }
                    break;
                }
                if swarm.is_closed() {
                    return false;
                }
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        self.changed.notify_waiters();
        true
    }

    /// No more work will be pushed.
    pub(super) fn close(&self) {
        lock(&self.swarm).close();
        self.changed.notify_waiters();
    }

    pub(super) fn is_done(&self) -> bool {
        lock(&self.swarm).is_done()
    }

    /// A session is over.
    pub(super) fn remove(&self, session: &Session) {
        lock(&self.swarm).remove(&session.serial);
        self.changed.notify_waiters();
    }

    /// What to ask a peer for next, of the version under `root`; `None` when there will be nothing.
    pub(super) async fn take(self: &Arc<Self>, session: &Session, root: NodeId) -> Option<Taken> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if session.is_ended() {
                self.remove(session);
                return None;
            }
            let next = {
                let mut swarm = lock(&self.swarm);
                swarm.set_holds(session.serial, session.holds(root));
                swarm.next(session.serial, Instant::now())
            };
            match next {
                Next::Ask(request) => return Some(Taken { queue: self.clone(), request, is_over: false }),
                Next::Done => return None,
                Next::Wait => {}
            }
            let _ = tokio::time::timeout(LOOK_EVERY, changed).await;
        }
    }
}

/// A request that was taken. It goes back to the queue if it is dropped midway.
pub(super) struct Taken {
    queue: Arc<Queue>,
    request: Request<Work>,
    is_over: bool,
}

impl Taken {
    pub(super) fn pieces(&self) -> &[Piece<Work>] {
        &self.request.pieces
    }

    /// Resolves when others have done all of it.
    pub(super) async fn obsolete(&self) {
        self.request.obsolete.cancelled().await;
    }

    /// Whether a piece of which all has come may be put in place.
    pub(super) fn claim(&self, piece: PieceKey) -> bool {
        lock(&self.queue.swarm).claim(self.request.key, piece)
    }

    /// The request is over: how each of its pieces came out.
    pub(super) fn end(mut self, outcomes: Vec<Outcome<Work>>) {
        self.is_over = true;
        lock(&self.queue.swarm).on_end(self.request.key, outcomes, Instant::now());
        self.queue.changed.notify_waiters();
    }
}

impl Watch for Taken {
    fn on_answer(&self) {
        lock(&self.queue.swarm).on_answer(self.request.key, Instant::now());
    }

    fn on_bytes(&self, bytes: u64) {
        lock(&self.queue.swarm).on_bytes(self.request.key, bytes, Instant::now());
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.is_over {
            lock(&self.queue.swarm).on_end(self.request.key, Vec::new(), Instant::now());
            self.queue.changed.notify_waiters();
        }
    }
}

impl Portion for Work {
    fn bytes(&self) -> u64 {
        match self {
            Self::Small(files) => files.iter().map(|file| file.size).sum(),
            Self::Large(partial, ranges) => partial.byte_count(ranges),
        }
    }

    fn files(&self) -> usize {
        match self {
            Self::Small(files) => files.len(),
            Self::Large(..) => 0,
        }
    }

    fn joins(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Large(partial, ranges), Self::Large(other, behind)) => {
                let (end, start) = (ranges.iter().last().map(|run| run.end), behind.iter().next().map(|run| run.start));
                Arc::ptr_eq(partial, other) && end.zip(start).is_some_and(|(end, start)| end <= start)
            }
            // Full as they are.
            _ => false,
        }
    }
}
