//! Keeping shared folders up to date: each is watched, and published again when it has changed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use p2p_api::{DriveInfo, DriveRole, ErrorKind, Node, Result};
use p2p_identity::DriveId;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::share;
use crate::turns::Turns;
use crate::watch::{Touched, Watch};

/// Orders that may wait for the keeper.
const ORDERS: usize = 64;
/// How soon a folder that is in use is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Folders looked through at a time: disks prefer it, and memory stays bounded.
const AT_A_TIME: usize = 2;

/// What the routes tell the keeper.
enum Order {
    Keep(DriveId, PathBuf),
    Leave(DriveId),
}

/// The keeper's door. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    orders: mpsc::Sender<Order>,
    inbox: Arc<Mutex<Option<mpsc::Receiver<Order>>>>,
}

impl Default for Keeper {
    fn default() -> Self {
        let (orders, inbox) = mpsc::channel(ORDERS);
        Self { orders, inbox: Arc::new(Mutex::new(Some(inbox))) }
    }
}

impl Keeper {
    /// From now on the folder is published again whenever it changes.
    pub(crate) async fn keep(&self, drive: DriveId, path: PathBuf) {
        self.order(Order::Keep(drive, path)).await;
    }

    /// The folder is left alone from now on.
    pub(crate) async fn leave(&self, drive: DriveId) {
        self.order(Order::Leave(drive)).await;
    }

    /// Where the app only answers routes and does not run, nobody takes orders.
    async fn order(&self, order: Order) {
        let is_taken = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        if is_taken && self.orders.send(order).await.is_err() {
            debug!("nobody keeps folders any more");
        }
    }

    /// Keeps every folder that this node shares, and those of later orders, until `stop`.
    pub(crate) async fn run(&self, node: Node, turns: Arc<Turns>, stop: CancellationToken) -> Result<()> {
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut inbox) = inbox else { return Ok(()) };
        let mut work = Work {
            node,
            turns,
            room: Arc::new(Semaphore::new(AT_A_TIME)),
            tasks: JoinSet::new(),
            kept: HashMap::new(),
        };
        for drive in work.node.drives().list().await? {
            let is_ours = drive.role == DriveRole::Owner || drive.syncs;
            if let Some(path) = drive.path.clone().filter(|_| is_ours) {
                work.keep(drive.drive, path);
            }
        }
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = work.tasks.join_next(), if !work.tasks.is_empty() => {
                    if let Ok(drive) = ended {
                        work.kept.remove(&drive);
                    }
                }
                order = inbox.recv() => match order {
                    Some(Order::Keep(drive, path)) => work.keep(drive, path),
                    Some(Order::Leave(drive)) => work.leave(&drive),
                    None => break,
                },
            }
        }
        work.tasks.shutdown().await;
        Ok(())
    }
}

struct Work {
    node: Node,
    turns: Arc<Turns>,
    room: Arc<Semaphore>,
    tasks: JoinSet<DriveId>,
    kept: HashMap<DriveId, AbortHandle>,
}

impl Work {
    fn keep(&mut self, drive: DriveId, path: PathBuf) {
        if self.kept.get(&drive).is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (node, turns, room) = (self.node.clone(), self.turns.clone(), self.room.clone());
        let task = self.tasks.spawn(async move {
            keep_one(&node, &turns, &room, drive, path).await;
            drive
        });
        self.kept.insert(drive, task);
    }

    fn leave(&mut self, drive: &DriveId) {
        if let Some(task) = self.kept.remove(drive) {
            task.abort();
        }
    }
}

/// Publishes what changed while nobody looked, then whatever changes; ends when the drive is shared no more.
async fn keep_one(node: &Node, turns: &Turns, room: &Semaphore, drive: DriveId, path: PathBuf) {
    let folder = path.clone();
    // First watch, then look: what changes in between is not missed.
    let Ok(watch) = tokio::task::spawn_blocking(move || Watch::start(&folder)).await else { return };
    let mut touched = Touched::Anything;
    loop {
        let published = async {
            let _room = room.acquire().await;
            let drive: DriveInfo = node.drives().get(drive).await?;
            share::publish_changes(node, turns, &drive, &path, &touched).await
        };
        let published = published.await;
        let failed = published.is_err();
        if failed {
            // What was touched is not published yet, and more may be by then.
            touched = Touched::Anything;
        }
        match published {
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::NodeStopped => return,
            // Something else is being done with the folder, and what that does is to be published as well.
            Err(error) if error.kind == ErrorKind::Conflict => {
                debug!(%drive, %error, "the folder is published a little later");
                tokio::time::sleep(TRY_AGAIN).await;
                continue;
            }
            // What is edited meanwhile goes out as soon as its owner unlocks the keys.
            Err(error) if error.kind == ErrorKind::Locked => {
                debug!(%drive, "edits wait for the keys");
                while node.info().await.is_ok_and(|info| info.locked) {
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                continue;
            }
            // What is edited here goes out as soon as the owner lets this node in.
            Err(error) if error.kind == ErrorKind::NotAllowed && !may_write(node, drive).await => {
                debug!(%drive, %error, "edits wait for the owner");
                while !may_write(node, drive).await {
                    tokio::time::sleep(TRY_AGAIN * 2).await;
                }
                continue;
            }
            Err(error) => match node.drives().get(drive).await {
                Err(gone) if matches!(gone.kind, ErrorKind::NotFound | ErrorKind::NodeStopped) => return,
                _ => warn!(%drive, path = %path.display(), %error, "the folder cannot be published now"),
            },
        }
        let now = watch.changed().await;
        touched = if failed { Touched::Anything } else { now };
    }
}

/// Whether the owner has let this node write; true as well where the drive is gone, so that nobody waits for it.
async fn may_write(node: &Node, drive: DriveId) -> bool {
    match node.writers().list(drive).await {
        Ok(writers) => {
            let is_let_in = |key| writers.writers.iter().any(|writer| writer.writer_key == key);
            writers.own.is_some_and(|own| own.as_bytes() == drive.as_bytes() || is_let_in(own))
        }
        Err(_) => true,
    }
}
