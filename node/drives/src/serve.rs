//! The acceptor's side of the exchange: prove, then answer what is asked (specs/drives.md, section 16).
//!
//! A stream's first frame tells what it is: `Hello` begins with its number, 1; a request begins with a session number,
//! and those are given out from 128 upwards, so their first byte is never below 128.

use std::collections::btree_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use p2p_identity::{ContentId, DriveId, PeerId};
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::blob::Encoder;
use crate::changes::{self, News};
use crate::codec::{Message, encode_node_len};
use crate::content::{Blob, ContentError, ContentIndex, LeafCache, Place, read_kept, read_whole};
use crate::engine::Shared;
use crate::frame::{FrameError, read_frame, read_message, write_message};
use crate::heads::Snapshot;
use crate::history;
use crate::incoming::Said;
use crate::lock::lock;
use crate::network::PeerStream;
use crate::prefetch::{Along, along};
use crate::registry::Drive;
use crate::signed::Signed;
use crate::topic::{Proof, Session as ProofSession, Side};
use crate::tree::{NodeId, NodeSource};
use crate::wire::{
    Accept, Changes, Control, Envelope, FIRST_BYTE_TIMEOUT, Get, GetMany, Have, HeadAnnounce, Hello, Item, Log,
    MAX_BUFFER_BYTES, MAX_BULK_STREAMS_PER_PEER, MAX_STREAMS_PER_PEER, MAX_UNPROVEN_STREAMS_PER_CONNECTION,
    MAX_UNPROVEN_STREAMS_PER_MINUTE, NONCE_BYTES, Nodes, NonceProof, Open, Presence, Prove, Request, RequestFrame,
    Status, Summary, VectorEntry, VectorList,
};
use crate::{DriveError, GroupRanges};

/// First session number; see the head of this file.
const FIRST_SESSION: u32 = 128;
/// Sessions at a time; the oldest ends for a new one.
const MAX_SESSIONS: usize = 4_096;
/// A peer that takes no byte for this long is let go.
const WRITE_IDLE: Duration = Duration::from_secs(30);
/// A control stream without a word for this long is let go; pings keep the connection itself alive.
const CONTROL_IDLE: Duration = Duration::from_secs(3_600);
/// What is handed to the transport at a time. The sending side takes 1.05 CPU seconds per GiB with 64 KiB, 1.00 with 256, 0.91
/// with 512, 0.89 with 1,024; the time of a clone over loopback does not change.
const WRITE_BYTES: usize = 512 * 1024;
/// Memory one bulk answer may hold: one unit on its way out, one being read, and their parents.
const BULK_BUFFER_BYTES: usize = 2 * 1024 * 1024 + 64 * 1024;

/// Counters of the service. Only ever grow.
#[derive(Debug, Default)]
pub struct ServeCounters {
    /// Sessions opened by peers.
    pub sessions: AtomicU64,
    /// Proofs that were wrong, or topics nobody has.
    pub refused_proofs: AtomicU64,
    /// Streams refused because a peer had too many.
    pub refused_streams: AtomicU64,
    /// Requests answered.
    pub requests: AtomicU64,
    /// Content bytes sent.
    pub bytes_sent: AtomicU64,
    /// Requests that found content changed on disk.
    pub stale: AtomicU64,
}

/// The acceptor.
pub(crate) struct Server {
    shared: Arc<Shared>,
    sessions: Mutex<HashMap<u32, (PeerId, DriveId)>>,
    next_session: AtomicU32,
    peers: Mutex<HashMap<PeerId, PeerLoad>>,
    buffers: Arc<Semaphore>,
    pub(crate) counters: Arc<ServeCounters>,
}

/// What one peer has open.
struct PeerLoad {
    streams: usize,
    bulk: Arc<Semaphore>,
    unproven: usize,
    unproven_since: Option<Instant>,
    unproven_count: usize,
}

impl Default for PeerLoad {
    fn default() -> Self {
        let bulk = Arc::new(Semaphore::new(MAX_BULK_STREAMS_PER_PEER));
        Self { streams: 0, bulk, unproven: 0, unproven_since: None, unproven_count: 0 }
    }
}

/// Why an exchange ended early. Never our failure: the peer's stream is dropped.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("frame: {0}")]
    Frame(#[from] FrameError),
    #[error("stream: {0}")]
    Io(#[from] std::io::Error),
    #[error("too slow")]
    TooSlow,
    #[error("broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("drive: {0}")]
    Drive(#[from] DriveError),
}

impl Server {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            sessions: Mutex::default(),
            next_session: AtomicU32::new(FIRST_SESSION),
            peers: Mutex::default(),
            buffers: Arc::new(Semaphore::new(MAX_BUFFER_BYTES / BULK_BUFFER_BYTES)),
            counters: Arc::default(),
        }
    }

    /// Serves one stream that a peer opened, to its end.
    pub(crate) async fn serve(&self, peer: PeerId, mut stream: PeerStream) {
        let Some(_load) = self.enter(peer) else {
            self.counters.refused_streams.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if let Err(error) = self.exchange(peer, &mut stream).await {
            tracing::debug!(peer = %peer, %error, "exchange ended");
        }
    }

    /// Peers with an open session for a drive.
    pub(crate) fn peers_of(&self, drive: &DriveId) -> usize {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut peers: Vec<PeerId> = sessions.values().filter(|(_, d)| d == drive).map(|(peer, _)| *peer).collect();
        peers.sort_unstable();
        peers.dedup();
        peers.len()
    }

    async fn exchange(&self, peer: PeerId, stream: &mut PeerStream) -> Result<(), ServeError> {
        let first = timed(FIRST_BYTE_TIMEOUT, read_frame(stream)).await??;
        match first.first() {
            Some(1) => {
                let Ok(Control::Hello(hello)) = Control::decode(&first) else {
                    return Err(ServeError::Protocol("undecodable Hello"));
                };
                self.control(peer, stream, hello).await
            }
            Some(128..) => {
                let Ok(frame) = RequestFrame::decode(&first) else {
                    return send(stream, &Status::BadRequest).await;
                };
                self.request_stream(peer, stream, frame).await
            }
            _ => Err(ServeError::Protocol("neither Hello nor a request")),
        }
    }

    async fn request_stream(
        &self,
        peer: PeerId,
        stream: &mut PeerStream,
        frame: RequestFrame,
    ) -> Result<(), ServeError> {
        let session = self.sessions.lock().unwrap_or_else(PoisonError::into_inner).get(&frame.session).copied();
        let drive = session.filter(|(owner, _)| *owner == peer).and_then(|(_, id)| self.shared.served(&id));
        match drive {
            Some(drive) => {
                self.shared.traffic.meter(peer, drive.id).watch(stream);
                self.answer(peer, stream, &drive, frame.request).await?;
            }
            None => send(stream, &Status::Refused).await?,
        }
        timed(WRITE_IDLE, stream.shutdown()).await??;
        Ok(())
    }

    /// A control stream: both prove that they may read the drive, then it stays open.
    async fn control(&self, peer: PeerId, stream: &mut PeerStream, hello: Hello) -> Result<(), ServeError> {
        let unproven = self.enter_unproven(peer).ok_or(ServeError::Protocol("too many unproven streams"))?;
        let drive = self.shared.drive_of_topic(&hello.topic);
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| ServeError::Protocol("no randomness"))?;
        let proof_session = ProofSession {
            opener_nonce: hello.nonce,
            acceptor_nonce: nonce,
            opener: peer,
            acceptor: self.shared.me,
            topic: hello.topic.into(),
        };
        // The same work for an unknown topic, so that probing tells nothing.
        let decoy = self.shared.decoy_key();
        let key = drive.as_ref().map_or(&decoy, |drive| &drive.read_key);
        let proof = *key.proof(Side::Acceptor, &proof_session).as_bytes();
        let expected = key.proof(Side::Opener, &proof_session);
        send(stream, &Control::Nonce(NonceProof { nonce, proof })).await?;
        flush(stream).await?;
        let Control::Prove(prove) = timed(FIRST_BYTE_TIMEOUT, read_message::<Control>(stream)).await?? else {
            return Err(ServeError::Protocol("no Prove"));
        };
        let drive = drive.filter(|_| Proof::from(prove.proof) == expected);
        let Some(drive) = drive else {
            self.counters.refused_proofs.fetch_add(1, Ordering::Relaxed);
            send(stream, &Control::Refused).await?;
            timed(WRITE_IDLE, stream.shutdown()).await??;
            return Ok(());
        };
        self.forgive(peer);
        drop(unproven);
        self.shared.dialer.on_proven(peer);
        let number = self.open_session(peer, drive.id);
        self.shared.traffic.meter(peer, drive.id).watch(stream);
        *lock(&drive.visitors).entry(peer).or_default() += 1;
        let result = self.run_session(peer, stream, &drive, number, prove).await;
        if let Entry::Occupied(mut visits) = lock(&drive.visitors).entry(peer) {
            *visits.get_mut() -= 1;
            if *visits.get() == 0 {
                visits.remove();
            }
        }
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        result
    }

    async fn run_session(
        &self,
        peer: PeerId,
        stream: &mut PeerStream,
        drive: &Arc<Drive>,
        number: u32,
        prove: Prove,
    ) -> Result<(), ServeError> {
        let summary = summary_of(drive).ok_or(ServeError::Protocol("the drive has no version yet"))?;
        send(stream, &Control::Accept(Accept { session: number, summary })).await?;
        for request in prove.requests.into_vec() {
            self.answer(peer, stream, drive, request).await?;
        }
        flush(stream).await?;
        let mut heads = drive.head_count.subscribe();
        let hashes =
            |at: Option<Snapshot>| at.iter().flat_map(Snapshot::heads).map(Signed::hash).collect::<HashSet<_>>();
        let mut told = hashes(drive.shown());
        let mut incoming = drive.incoming.subscribe();
        let mut said = Said::default();
        let (mut reader, mut writer) = tokio::io::split(&mut *stream);
        // Reading is not cancel safe, so one read goes on while heads are told.
        let mut next = Box::pin(read_control(&mut reader));
        loop {
            tokio::select! {
                message = &mut next => {
                    drop(next);
                    match message {
                        Ok(Some(Control::Bye(_)) | None) | Err(FrameError::Closed) => break,
                        Ok(Some(_)) => next = Box::pin(read_control(&mut reader)),
                        Err(error) => return Err(error.into()),
                    }
                }
                have = said.next(&mut incoming) => {
                    for have in have {
                        timed(WRITE_IDLE, write_message(&mut writer, &Control::Have(have))).await??;
                    }
                    timed(WRITE_IDLE, writer.flush()).await??;
                }
                changed = heads.changed() => {
                    let at = drive.shown().filter(|_| changed.is_ok());
                    let Some(at) = at else { continue };
                    // The owner's first: it names the writers.
                    for head in at.heads().filter(|head| !told.contains(&head.hash())) {
                        let announce = Control::HeadAnnounce(HeadAnnounce { envelope: envelope(head)? });
                        timed(WRITE_IDLE, write_message(&mut writer, &announce)).await??;
                    }
                    // What was on its way is here.
                    if drive.state().row.complete {
                        let root = ContentId::from(*at.root.as_bytes());
                        let have = Control::Have(Have { root, added: GroupRanges::empty(), complete: true });
                        timed(WRITE_IDLE, write_message(&mut writer, &have)).await??;
                    }
                    told = hashes(Some(at));
                    timed(WRITE_IDLE, writer.flush()).await??;
                }
            }
        }
        let _ = timed(WRITE_IDLE, stream.shutdown()).await;
        Ok(())
    }

    /// How many sessions there are, and the most that will be.
    pub(crate) fn sessions_room(&self) -> (&'static str, usize, usize) {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        ("sessions that peers opened", sessions.len(), MAX_SESSIONS)
    }

    fn open_session(&self, peer: PeerId, drive: DriveId) -> u32 {
        self.counters.sessions.fetch_add(1, Ordering::Relaxed);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= MAX_SESSIONS
            && let Some(oldest) = sessions.keys().min().copied()
        {
            sessions.remove(&oldest);
        }
        let number = self.next_session.fetch_add(1, Ordering::Relaxed).max(FIRST_SESSION);
        sessions.insert(number, (peer, drive));
        number
    }

    async fn answer(
        &self,
        peer: PeerId,
        stream: &mut PeerStream,
        drive: &Arc<Drive>,
        request: Request,
    ) -> Result<(), ServeError> {
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        match request {
            Request::Open(open) if open.prefetch_bytes > 0 => {
                let _place = self.enter_bulk(peer).await?;
                self.answer_open(peer, stream, drive, open).await
            }
            Request::Open(open) => self.answer_open(peer, stream, drive, open).await,
            Request::Heads(heads) => self.answer_heads(stream, drive, &heads.after).await,
            Request::Nodes(nodes) => self.answer_nodes(stream, drive, nodes).await,
            Request::Get(get) => {
                let _place = self.enter_bulk(peer).await?;
                self.answer_get(stream, drive, get).await
            }
            Request::GetMany(many) => {
                let _place = self.enter_bulk(peer).await?;
                self.answer_many(stream, drive, many).await
            }
            Request::Log(log) => self.answer_log(peer, stream, drive, log).await,
            Request::Changes(changes) => self.answer_changes(peer, stream, drive, changes).await,
            Request::Unknown(_) => send(stream, &Status::BadRequest).await,
        }
    }

    async fn answer_open(
        &self,
        peer: PeerId,
        stream: &mut PeerStream,
        drive: &Arc<Drive>,
        open: Open,
    ) -> Result<(), ServeError> {
        let at = match open.head.filter(|wanted| drive.head().is_none_or(|head| head.hash() != *wanted)) {
            None => drive.shown(),
            Some(earlier) => {
                let (shared, id) = (self.shared.clone(), drive.id);
                let found = tokio::task::spawn_blocking(move || shared.registry.head(&id, &earlier));
                found.await.map_err(DriveError::from)??.map(Snapshot::from)
            }
        };
        let Some(at) = at else { return send(stream, &Status::NotFound).await };
        self.hold(peer, drive, [at.root]);
        let path = open.path.map(|path| path.into_vec());
        let (shared, of_drive) = (self.shared.clone(), drive.clone());
        let root = at.root;
        let gathered =
            tokio::task::spawn_blocking(move || along(&shared, &of_drive, root, path.as_deref(), open.prefetch_bytes));
        let Along { nodes, blobs } = gathered.await.map_err(DriveError::from)??;
        send(stream, &Status::Ok).await?;
        send_heads(stream, at.heads()).await?;
        for (_, node) in nodes {
            send(stream, &Item::Node { len: node.len() as u32 }).await?;
            put(stream, &node).await?;
        }
        for (hash, bytes) in blobs {
            self.counters.bytes_sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            send(stream, &Item::Blob { hash, size: bytes.len() as u32 }).await?;
            self.write_body(stream, &bytes).await?;
        }
        send(stream, &Item::End).await
    }

    /// What a peer is told of it may fetch, for as long as it stays. Who reads here holds what is read by itself.
    fn hold(&self, peer: PeerId, drive: &Drive, roots: impl IntoIterator<Item = NodeId>) {
        if peer != self.shared.me {
            self.shared.holds.serving(peer, drive.id, roots);
        }
    }

    async fn answer_heads(
        &self,
        stream: &mut PeerStream,
        drive: &Arc<Drive>,
        after: &VectorList,
    ) -> Result<(), ServeError> {
        send(stream, &Status::Ok).await?;
        for head in drive.shown().iter().flat_map(Snapshot::heads) {
            let (writer, counter) = (head.body().writer, head.body().counter);
            // The same counter again: it may be the other half of a fork.
            if !after.entries().iter().any(|known| known.writer == writer && known.counter > counter) {
                send(stream, &Item::Head(envelope(head)?)).await?;
            }
        }
        send(stream, &Item::End).await
    }

    async fn answer_log(
        &self,
        peer: PeerId,
        stream: &mut PeerStream,
        drive: &Arc<Drive>,
        log: Log,
    ) -> Result<(), ServeError> {
        let (shared, of_drive) = (self.shared.clone(), drive.clone());
        let found = tokio::task::spawn_blocking(move || history::log(&shared, &of_drive, log));
        let heads = found.await.map_err(DriveError::from)??;
        self.hold(peer, drive, heads.iter().map(|head| head.body().root));
        send(stream, &Status::Ok).await?;
        send_heads(stream, &heads).await?;
        send(stream, &Item::End).await
    }

    async fn answer_changes(
        &self,
        peer: PeerId,
        stream: &mut PeerStream,
        drive: &Arc<Drive>,
        asked: Changes,
    ) -> Result<(), ServeError> {
        let (shared, of_drive) = (self.shared.clone(), drive.clone());
        let news = tokio::task::spawn_blocking(move || changes::since(&shared, &of_drive, &asked));
        let News { heads, records } = news.await.map_err(DriveError::from)??;
        self.hold(peer, drive, heads.iter().map(|head| head.body().root));
        send(stream, &Status::Ok).await?;
        send_heads(stream, &heads).await?;
        for record in records {
            send(stream, &Item::Change(record)).await?;
        }
        send(stream, &Item::End).await
    }

    async fn answer_nodes(&self, stream: &mut PeerStream, drive: &Arc<Drive>, asked: Nodes) -> Result<(), ServeError> {
        let state = drive.state();
        send(stream, &Status::Ok).await?;
        for hash in asked.hashes.iter().copied() {
            let object = [&state.row.header, &state.row.writer_set].into_iter();
            let object = object.filter(|bytes| !bytes.is_empty()).find(|bytes| ContentId::of(bytes) == hash);
            let bytes = match object.map(|bytes| bytes.clone().into()) {
                Some(object) => Some(object),
                None => {
                    let shared = self.shared.clone();
                    tokio::task::spawn_blocking(move || shared.nodes.node(&(*hash.as_bytes()).into()))
                        .await
                        .map_err(DriveError::from)??
                }
            };
            let len = encode_node_len(bytes.as_ref().map(|b: &bytes::Bytes| b.len()))
                .map_err(|_| ServeError::Protocol("node too large"))?;
            put(stream, &len).await?;
            if let Some(bytes) = bytes {
                put(stream, &bytes).await?;
            }
        }
        flush(stream).await
    }

    async fn answer_many(&self, stream: &mut PeerStream, drive: &Arc<Drive>, many: GetMany) -> Result<(), ServeError> {
        let (shared, drive) = (self.shared.clone(), drive.clone());
        let read = tokio::task::spawn_blocking(move || read_many(&shared, &drive, &many));
        let (presence, body, stale) = read.await.map_err(DriveError::from)??;
        self.counters.stale.fetch_add(stale, Ordering::Relaxed);
        self.counters.bytes_sent.fetch_add(body.len() as u64, Ordering::Relaxed);
        send(stream, &Status::Ok).await?;
        put(stream, &presence.encode()).await?;
        self.write_body(stream, &body).await?;
        flush(stream).await
    }

    async fn answer_get(&self, stream: &mut PeerStream, drive: &Arc<Drive>, get: Get) -> Result<(), ServeError> {
        let mut refusal = Status::NotFound;
        let mut begun = None;
        // What lies in the folder may have changed; then what was kept of it will do.
        for place in [Place::Folder, Place::Incoming, Place::Kept] {
            let (shared, of_drive, asked) = (self.shared.clone(), drive.clone(), get.clone());
            let source = tokio::task::spawn_blocking(move || open(&shared, &of_drive, &asked, place));
            match source.await.map_err(DriveError::from)? {
                Ok(source) => {
                    let source = Arc::new(source);
                    let encoder = Encoder::new(&get.hash, source.size(), &get.ranges, get.grain, get.size_proof);
                    let prefix = encoder.size_prefix();
                    // The first unit is checked before anything is promised.
                    begun = encode_next(encoder, source.clone(), Vec::new())
                        .await?
                        .map(|(encoder, unit)| (source, prefix, encoder, unit));
                    if begun.is_some() {
                        break;
                    }
                    self.shared.outboards.forget(&get.hash);
                    refusal = Status::Stale;
                }
                Err(ContentError::NotFound) => {}
                // Not there yet is not changed.
                Err(ContentError::Stale) if place == Place::Incoming => {}
                Err(ContentError::Stale) => refusal = Status::Stale,
                Err(ContentError::Failed(error)) => return Err(error.into()),
            }
        }
        let Some((source, prefix, mut encoder, mut unit)) = begun else {
            if refusal == Status::Stale {
                self.counters.stale.fetch_add(1, Ordering::Relaxed);
            }
            return send(stream, &refusal).await;
        };
        send(stream, &Status::Ok).await?;
        put(stream, &prefix).await?;
        let mut spare = Vec::new();
        while !unit.is_empty() {
            self.counters.bytes_sent.fetch_add(unit.len() as u64, Ordering::Relaxed);
            let next = encode_next(encoder, source.clone(), spare);
            let (written, next) = tokio::join!(self.write_body(stream, &unit), next);
            written?;
            let Some((after, bytes)) = next? else {
                self.counters.stale.fetch_add(1, Ordering::Relaxed);
                return Err(ServeError::Protocol("content changed while it was sent"));
            };
            encoder = after;
            spare = std::mem::replace(&mut unit, bytes);
        }
        flush(stream).await
    }

    /// Writes in pieces, so that a slow peer is told from a dead one.
    async fn write_body(&self, stream: &mut PeerStream, bytes: &[u8]) -> Result<(), ServeError> {
        for piece in bytes.chunks(WRITE_BYTES) {
            put(stream, piece).await?;
        }
        Ok(())
    }

    fn enter(&self, peer: PeerId) -> Option<Entered<'_>> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let load = peers.entry(peer).or_default();
        if load.streams >= MAX_STREAMS_PER_PEER {
            return None;
        }
        load.streams += 1;
        Some(Entered { server: self, peer, unproven: false })
    }

    fn enter_unproven(&self, peer: PeerId) -> Option<Entered<'_>> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let load = peers.entry(peer).or_default();
        let now = Instant::now();
        if load.unproven_since.is_none_or(|since| now.duration_since(since) > Duration::from_secs(60)) {
            load.unproven_since = Some(now);
            load.unproven_count = 0;
        }
        if load.unproven >= MAX_UNPROVEN_STREAMS_PER_CONNECTION
            || load.unproven_count >= MAX_UNPROVEN_STREAMS_PER_MINUTE
        {
            self.counters.refused_streams.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        load.unproven += 1;
        load.unproven_count += 1;
        Some(Entered { server: self, peer, unproven: true })
    }

    /// A peer that proved was not probing: only streams that end without a proof use up its minute, or somebody who
    /// starts the same command again and again would be locked out.
    fn forgive(&self, peer: PeerId) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(load) = peers.get_mut(&peer) {
            load.unproven_count = load.unproven_count.saturating_sub(1);
        }
    }

    /// A place among the bulk answers that one peer gets at a time; waits for one.
    async fn enter_bulk(&self, peer: PeerId) -> Result<(OwnedSemaphorePermit, SemaphorePermit<'_>), ServeError> {
        let bulk = {
            let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
            peers.entry(peer).or_default().bulk.clone()
        };
        // The peer's own limit first: who waits for it must not hold memory that others could use.
        let own = bulk.acquire_owned().await.map_err(|_| ServeError::Protocol("stopping"))?;
        let all = self.buffers.acquire().await.map_err(|_| ServeError::Protocol("stopping"))?;
        Ok((own, all))
    }
}

/// A stream that counts towards a peer's limits until it is dropped.
struct Entered<'a> {
    server: &'a Server,
    peer: PeerId,
    unproven: bool,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut peers = self.server.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(load) = peers.get_mut(&self.peer) else { return };
        if self.unproven {
            load.unproven = load.unproven.saturating_sub(1);
        } else {
            load.streams = load.streams.saturating_sub(1);
        }
        let recent = load.unproven_since.is_some_and(|since| since.elapsed() < Duration::from_secs(60));
        if load.streams == 0 && load.unproven == 0 && (!recent || peers.len() > MAX_SESSIONS) {
            peers.remove(&self.peer);
        }
    }
}

/// The next control message; `None` when none came for [`CONTROL_IDLE`]. Not cancel safe.
async fn read_control(reader: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<Option<Control>, FrameError> {
    match tokio::time::timeout(CONTROL_IDLE, read_message::<Control>(reader)).await {
        Ok(message) => message.map(Some),
        Err(_) => Ok(None),
    }
}

/// What this node holds of a drive; `None` before the first version.
pub(crate) fn summary_of(drive: &Drive) -> Option<Summary> {
    let state = drive.state();
    let is_complete = state.row.complete && state.at.is_some();
    let at = state.at.or_else(|| drive.shown())?;
    let mut entries: Vec<_> =
        at.counters().into_iter().map(|(writer, counter)| VectorEntry { writer, counter }).collect();
    entries.sort_by_key(|entry| entry.writer);
    Some(Summary {
        root: ContentId::from(*at.root.as_bytes()),
        vector: VectorList::new(entries)?,
        complete: is_complete,
    })
}

fn envelope(head: &crate::HeadEnvelope) -> Result<Envelope, ServeError> {
    head.as_bytes().to_vec().try_into().map_err(|_| ServeError::Protocol("head too large"))
}

/// Finds what a peer asks for in one place; of a file that is on its way only what has come. Blocks.
fn open(shared: &Shared, drive: &Drive, get: &Get, place: Place) -> Result<Blob, ContentError> {
    let incoming = drive.incoming.borrow().clone().filter(|_| place == Place::Incoming);
    if let Some(incoming) = incoming {
        match incoming.open(get) {
            Err(ContentError::NotFound) => {}
            result => return result,
        }
    }
    Blob::open(shared, drive, &get.hash, place)
}

fn read_many(shared: &Shared, drive: &Drive, many: &GetMany) -> Result<(Presence, Vec<u8>, u64), DriveError> {
    let mut indexes = Vec::new();
    if drive.snapshot().is_some() {
        indexes.push(ContentIndex::of(drive, &shared.nodes)?);
    }
    let incoming = drive.incoming.borrow().clone();
    if let Some(incoming) = incoming {
        indexes.push(incoming.content(&shared.nodes)?);
    }
    let folder = shared.folder_of(drive)?;
    let mut leaf = LeafCache::default();
    let (mut present, mut body, mut stale) = (Vec::new(), Vec::new(), 0);
    for file in many.files.iter() {
        let mut found = None;
        let mut places = Vec::new();
        for index in &indexes {
            places.extend(index.locate(&file.hash, &shared.nodes, &mut leaf)?);
        }
        for at in places {
            if at.size != file.size {
                continue;
            }
            match read_whole(&folder, &at, &file.hash) {
                Ok(bytes) => {
                    found = Some(bytes);
                    break;
                }
                Err(ContentError::Failed(error)) => return Err(error),
                Err(_) => stale += 1,
            }
        }
        let found = found.or_else(|| read_kept(&shared.kept, &file.hash, file.size));
        present.push(found.is_some());
        body.extend(found.unwrap_or_default());
    }
    Ok((Presence::new(present), body, stale))
}

/// The next unit with the parents before it, checked; empty at the end; `None` if the content is stale.
async fn encode_next(
    mut encoder: Encoder,
    blob: Arc<Blob>,
    mut out: Vec<u8>,
) -> Result<Option<(Encoder, Vec<u8>)>, ServeError> {
    let done = tokio::task::spawn_blocking(move || {
        out.clear();
        match blob.encode_unit(&mut encoder, &mut out) {
            Ok(_) => Some((encoder, out)),
            Err(error) => {
                tracing::debug!(%error, "content is stale");
                None
            }
        }
    });
    Ok(done.await.map_err(DriveError::from)?)
}

/// Writes a message; a peer that takes nothing is let go.
async fn send<M: Message>(stream: &mut PeerStream, message: &M) -> Result<(), ServeError> {
    Ok(timed(WRITE_IDLE, write_message(stream, message)).await??)
}

async fn send_heads(
    stream: &mut PeerStream,
    heads: impl IntoIterator<Item = &crate::HeadEnvelope>,
) -> Result<(), ServeError> {
    for head in heads {
        send(stream, &Item::Head(envelope(head)?)).await?;
    }
    Ok(())
}

async fn put(stream: &mut PeerStream, bytes: &[u8]) -> Result<(), ServeError> {
    Ok(timed(WRITE_IDLE, stream.write_all(bytes)).await??)
}

async fn flush(stream: &mut PeerStream) -> Result<(), ServeError> {
    Ok(timed(WRITE_IDLE, stream.flush()).await??)
}

async fn timed<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, ServeError> {
    tokio::time::timeout(limit, work).await.map_err(|_| ServeError::TooSlow)
}
