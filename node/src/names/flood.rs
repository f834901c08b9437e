//! Revocations on their way through the network: what a neighbour announces is judged and passed on, and with every new
//! connection two nodes even out what they know, so that one who was away catches up (specs/names.md, 12.5).

mod budget;
mod exchange;
mod wire;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use libp2p::PeerId;
use libp2p::gossipsub::MessageAcceptance;
use p2p_names::ZoneKey;
use p2p_transport::{IncomingStream, our_peer_id};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::compat::FuturesAsyncReadCompatExt;
use tokio_util::sync::CancellationToken;

use self::budget::Budget;
use self::exchange::{Brought, Held, answer, ask};
use self::wire::{Digest, PROTOCOL, ZoneId, topic};
use super::revoke::{Believed, believe};
use super::{Inner, now};
use crate::network::{Announcement, Judged};

/// Revocations verified at once; each takes a core for some 50 ms.
const MAX_JUDGED_AT_ONCE: usize = 4;
/// Announcements that wait for that.
const MAX_WAITING: usize = 64;
/// Exchanges answered at once.
const MAX_ANSWERED: usize = 16;
/// Exchanges begun at once.
const MAX_ASKED: usize = 4;
/// Exchanges with one peer in a row, when there is more than one can hold.
const MAX_IN_A_ROW: usize = 16;
/// How long the talking of one exchange may take.
const TALK_TIME: Duration = Duration::from_secs(30);
/// How long opening the stream may take.
const OPEN_TIME: Duration = Duration::from_secs(10);
/// Peers that stay connected are compared with again: an announcement may be lost.
const COMPARE_AGAIN: Duration = Duration::from_secs(3600);

/// What judging needs besides the state.
pub(super) struct Judging {
    topic: String,
    budget: Mutex<Budget>,
    at_once: Semaphore,
    learnt: AtomicU64,
    invalid: AtomicU64,
    too_many: AtomicU64,
}

impl Judging {
    pub(super) fn new(network: &str) -> Self {
        Self {
            topic: topic(network),
            budget: Mutex::default(),
            at_once: Semaphore::new(MAX_JUDGED_AT_ONCE),
            learnt: AtomicU64::new(0),
            invalid: AtomicU64::new(0),
            too_many: AtomicU64::new(0),
        }
    }

    /// What was counted so far.
    pub(super) fn counters(&self) -> Vec<(String, u64)> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        vec![
            ("revocations_learnt".into(), count(&self.learnt)),
            ("revocations_refused{reason=\"invalid\"}".into(), count(&self.invalid)),
            ("revocations_refused{reason=\"too_many\"}".into(), count(&self.too_many)),
        ]
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a message.
enum Taken {
    /// It was not known. The bytes are those to pass on.
    New(Vec<u8>),
    /// Known, or its time is over.
    Old,
    /// Worth nothing.
    Bad,
    /// This peer has sent enough for now; not looked at.
    TooMany,
}

/// Judges a message of a peer, cheapest check first, and keeps a good one.
async fn take_in(inner: &Arc<Inner>, from: PeerId, bytes: Vec<u8>) -> Taken {
    if inner.state().revocations.knows(&bytes, now()) {
        return Taken::Old;
    }
    let judging = &inner.judging;
    if !judging.budget().take_unknown(from, Instant::now()) {
        judging.too_many.fetch_add(1, Ordering::Relaxed);
        return Taken::TooMany;
    }
    match believe(inner, bytes).await {
        Ok(Believed::New(message)) => {
            judging.budget().give_back(from, Instant::now());
            judging.learnt.fetch_add(1, Ordering::Relaxed);
            Taken::New(message)
        }
        Ok(Believed::Known) => {
            judging.budget().give_back(from, Instant::now());
            Taken::Old
        }
        Ok(Believed::Stale) => Taken::Old,
        Ok(Believed::Not(error)) => {
            judging.invalid.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(peer = %from, %error, "a revocation that is none");
            Taken::Bad
        }
        Err(error) => {
            tracing::warn!(%error, "a revocation was not kept");
            Taken::Old
        }
    }
}

/// Has at most so many verified at once.
pub(super) async fn place(inner: &Inner) -> Option<tokio::sync::SemaphorePermit<'_>> {
    inner.judging.at_once.acquire().await.ok()
}

/// Tells everybody of a revocation.
pub(super) async fn announce(inner: &Inner, message: Vec<u8>) {
    inner.network.announce(&inner.judging.topic, Bytes::from(message)).await;
}

/// The task. Idle while nobody comes.
pub(crate) struct Flood {
    inner: Arc<Inner>,
    judging: JoinSet<()>,
    answering: JoinSet<()>,
    asking: JoinSet<()>,
    /// Peers with which this node compared, or does, since they are connected.
    compared: HashSet<PeerId>,
}

impl Flood {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            judging: JoinSet::new(),
            answering: JoinSet::new(),
            asking: JoinSet::new(),
            compared: HashSet::new(),
        }
    }

    /// Passes revocations on until it is stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let network = self.inner.network.clone();
        let Ok(mut announcements) = network.judge_topic(&self.inner.judging.topic).await else { return };
        let mut streams: mpsc::Receiver<IncomingStream> = match network.accept_streams(PROTOCOL).await {
            Ok(streams) => streams,
            Err(error) => return tracing::warn!(%error, "revocations are not exchanged"),
        };
        let mut connections = network.connections();
        connections.mark_changed();
        let mut again = tokio::time::interval(COMPARE_AGAIN);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = self.judging.join_next(), if !self.judging.is_empty() => {}
                Some(_) = self.answering.join_next(), if !self.answering.is_empty() => {}
                Some(_) = self.asking.join_next(), if !self.asking.is_empty() => self.compare(),
                announcement = announcements.recv(), if self.judging.len() < MAX_WAITING => match announcement {
                    Some(announcement) => drop(self.judging.spawn(judge(self.inner.clone(), announcement))),
                    None => break,
                },
                stream = streams.recv(), if self.answering.len() < MAX_ANSWERED => match stream {
                    Some(stream) => drop(self.answering.spawn(answer_stream(self.inner.clone(), stream))),
                    None => break,
                },
                changed = connections.changed() => match changed {
                    Ok(()) => self.compare(),
                    Err(_) => break,
                },
                _ = again.tick() => {
                    self.compared.clear();
                    self.compare();
                }
            }
        }
        for jobs in [&mut self.judging, &mut self.answering, &mut self.asking] {
            jobs.shutdown().await;
        }
    }

    /// Begins exchanges with peers that this node has connected to. Those that wait get their turn when one is done.
    fn compare(&mut self) {
        let peers = self.inner.network.dialled_peers();
        self.compared.retain(|peer| peers.contains(peer));
        for peer in peers {
            if self.asking.len() >= MAX_ASKED {
                return;
            }
            if self.compared.insert(peer) {
                self.asking.spawn(compare_with(self.inner.clone(), peer));
            }
        }
    }
}

async fn judge(inner: Arc<Inner>, announcement: Announcement) {
    let Announcement { from, id, data } = announcement;
    let verdict = match take_in(&inner, from, data.to_vec()).await {
        Taken::New(message) if message == *data => MessageAcceptance::Accept,
        Taken::New(message) => {
            // Its TTL is not what its work buys: it is passed on with the right one.
            announce(&inner, message).await;
            MessageAcceptance::Ignore
        }
        Taken::Old => MessageAcceptance::Ignore,
        Taken::Bad => MessageAcceptance::Reject,
        Taken::TooMany => {
            // Who passes on only what is good has never sent so much that is not.
            inner.network.disconnect(from).await;
            MessageAcceptance::Ignore
        }
    };
    inner.network.judged(Judged { id, from, verdict }).await;
}

async fn compare_with(inner: Arc<Inner>, peer: PeerId) {
    let Some(ours) = our_peer_id(&peer) else { return };
    for _ in 0..MAX_IN_A_ROW {
        let mut io = match inner.network.open_stream(ours, PROTOCOL, OPEN_TIME).await {
            Ok((_, io)) => io,
            Err(error) => return tracing::debug!(%peer, %error, "revocations were not compared"),
        };
        let brought = talk(ask(&mut io, &Book(&inner), turn())).await;
        drop(io);
        match brought {
            Some(Brought { messages, is_more }) => {
                let learnt = learn_all(&inner, peer, messages).await;
                if !is_more || learnt == Learnt::Enough {
                    return;
                }
            }
            None => return,
        }
    }
}

async fn answer_stream(inner: Arc<Inner>, incoming: IncomingStream) {
    let IncomingStream { peer, stream, .. } = incoming;
    if !inner.judging.budget().take_exchange(peer, Instant::now()) {
        return;
    }
    let mut io = stream.compat();
    if let Some(brought) = talk(answer(&mut io, &Book(&inner), turn())).await {
        learn_all(&inner, peer, brought.messages).await;
    }
}

async fn talk(talking: impl Future<Output = std::io::Result<Brought>>) -> Option<Brought> {
    match tokio::time::timeout(TALK_TIME, talking).await {
        Ok(Ok(brought)) => Some(brought),
        Ok(Err(error)) => {
            tracing::debug!(%error, "an exchange of revocations ended early");
            None
        }
        Err(_) => None,
    }
}

/// Whether to go on with a peer.
#[derive(PartialEq, Eq)]
enum Learnt {
    GoOn,
    /// It has sent what is worth nothing.
    Enough,
}

/// Judges what an exchange brought, and tells the neighbours of what is new.
async fn learn_all(inner: &Arc<Inner>, from: PeerId, messages: Vec<Vec<u8>>) -> Learnt {
    for message in messages {
        match take_in(inner, from, message).await {
            Taken::New(message) => announce(inner, message).await,
            Taken::Old => {}
            Taken::Bad => return Learnt::Enough,
            Taken::TooMany => {
                inner.network.disconnect(from).await;
                return Learnt::Enough;
            }
        }
    }
    Learnt::GoOn
}

/// Where to begin when there is too much: anywhere, so that every part gets its turn.
fn turn() -> u64 {
    let mut turn = [0; 8];
    let _ = getrandom::fill(&mut turn);
    u64::from_be_bytes(turn)
}

/// The revocations of this node, as an exchange sees them.
struct Book<'a>(&'a Inner);

impl Held for Book<'_> {
    fn digest(&self) -> Digest {
        let mut state = self.0.state();
        state.revocations.drop_expired(now());
        state.revocations.digest()
    }

    fn zones(&self) -> Vec<ZoneId> {
        self.0.state().revocations.zones().map(ZoneKey::to_bytes).collect()
    }

    fn message(&self, zone: &ZoneId) -> Option<Vec<u8>> {
        let zone = ZoneKey::from_bytes(zone).ok()?;
        self.0.state().revocations.message(&zone).map(<[u8]>::to_vec)
    }
}
