//! The opener's side of the exchange: connect, prove, ask (specs/drives.md, section 16).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use p2p_identity::{ContentId, DriveId, PeerId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::GroupRanges;
use crate::changes::News;
use crate::codec::decode_node_len;
use crate::frame::{FrameError, read_message, write_message};
use crate::head::HeadEnvelope;
use crate::items::{Got, ItemReader, read_heads, read_news};
use crate::mirror::Holds;
use crate::network::{Dialer, PeerStream};
use crate::sources::Wanted;
use crate::topic::{Proof, ReadKey, Session as ProofSession, Side, Topic};
use crate::tree::NodeId;
use crate::wire::{
    ByeReason, Control, FIRST_BYTE_TIMEOUT, FileRef, GetMany, Have, Hello, MAX_NODES_PER_REQUEST, MAX_PREFETCH_BYTES,
    NONCE_BYTES, Nodes, Open, Presence, Prove, Request, RequestFrame, Status, Summary,
};

/// A body that stands still for this long has stalled. The specification's 2 s are less than a busy disk's pause.
pub(crate) const BODY_IDLE: Duration = Duration::from_secs(10);
/// Least bytes that must come in [`BODY_IDLE`], or all that are due: less is a peer that drips to keep us waiting. Low
/// enough for 24 streams that share 10 KiB/s.
const MIN_BODY_BYTES: usize = 4 * 1024;
/// Serial number of the next session.
static SESSIONS: AtomicU64 = AtomicU64::new(0);
/// Items that wait to be taken in while more of an answer comes.
const ITEMS_WAITING: usize = 8;

/// Why a request to a peer failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FetchError {
    /// The peer cannot be reached.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The peer does not serve the drive to us.
    #[error("does not have the drive")]
    Refused,
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Broken(String),
    /// Nothing came for too long.
    #[error("stalled")]
    Stalled,
    /// The peer has not got what was asked for.
    #[error("does not have it")]
    NotFound,
    /// The peer's file was changed since.
    #[error("its file was changed since")]
    Stale,
    /// The peer is busy.
    #[error("is busy")]
    Busy,
    /// The peer sent something that is wrong: never asked again.
    #[error("sent something wrong: {0}")]
    Lied(String),
    /// Our own disk failed.
    #[error(transparent)]
    Local(#[from] crate::DriveError),
}

impl FetchError {
    /// Whether the peer must not be asked again.
    pub(crate) fn is_fault(&self) -> bool {
        matches!(self, Self::Lied(_))
    }
}

impl From<FrameError> for FetchError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Closed => Self::Broken("closed".into()),
            FrameError::Io(error) => Self::Broken(error.to_string()),
            other => Self::Lied(other.to_string()),
        }
    }
}

impl From<std::io::Error> for FetchError {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Told how an answer comes in.
pub(crate) trait Watch: Send + Sync {
    /// It has begun.
    fn on_answer(&self);
    /// So many more bytes are here.
    fn on_bytes(&self, bytes: u64);
}

impl Watch for () {
    fn on_answer(&self) {}

    fn on_bytes(&self, _: u64) {}
}

/// What a peer told with its acceptance.
pub(crate) struct Opened {
    pub(crate) session: Arc<Session>,
    pub(crate) heads: Vec<HeadEnvelope>,
    pub(crate) nodes: Vec<(NodeId, Bytes)>,
    /// The first small content that came along: what is wanted soonest.
    pub(crate) blob: Option<(ContentId, Bytes)>,
    /// What comes behind it, while it comes; nothing where no content came along. An error ends it.
    pub(crate) more: Option<mpsc::Receiver<Result<Got, FetchError>>>,
}

/// A proven session with a peer for one drive.
pub(crate) struct Session {
    pub(crate) peer: PeerId,
    number: u32,
    dialer: Arc<dyn Dialer>,
    ended: Arc<AtomicBool>,
    /// Content bytes that came from this peer.
    pub(crate) received: AtomicU64,
    /// Tells this session from all others of this process.
    pub(crate) serial: u64,
    held: Arc<Mutex<Held>>,
    _control: DropGuard,
}

/// What the peer says it holds.
struct Held {
    /// Root of the version that it speaks of.
    root: ContentId,
    /// Whether it holds all of it.
    complete: bool,
    /// Else numbers of the pieces that it holds.
    pieces: GroupRanges,
}

impl Held {
    /// Most runs that are remembered; a peer that says more says nothing new.
    const MAX_RUNS: usize = 64 * 1024;

    fn on_have(&mut self, have: &Have) {
        if self.root != have.root {
            *self = Self { root: have.root, complete: false, pieces: GroupRanges::empty() };
        }
        self.complete |= have.complete;
        if self.pieces.iter().take(Self::MAX_RUNS).count() < Self::MAX_RUNS {
            self.pieces = self.pieces.union(&have.added);
        }
    }
}

/// The newest head that any peer of a search announced, and who it was.
#[derive(Clone)]
pub(crate) struct Announced {
    drive: DriveId,
    newest: watch::Sender<Option<(PeerId, HeadEnvelope)>>,
    /// Counts the heads of other writers that were announced. Which of them count depends on the writer set, so they are
    /// asked for again by whoever knows it.
    others: watch::Sender<u64>,
}

impl Announced {
    pub(crate) fn new(drive: DriveId) -> Self {
        Self { drive, newest: watch::Sender::new(None), others: watch::Sender::new(0) }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<(PeerId, HeadEnvelope)>> {
        self.newest.subscribe()
    }

    pub(crate) fn others(&self) -> watch::Receiver<u64> {
        self.others.subscribe()
    }

    /// Only heads that this drive's owner signed are kept, so nobody can hide the next one behind a larger number.
    fn on_head(&self, peer: PeerId, head: HeadEnvelope) {
        let body = head.body();
        if body.drive != self.drive {
            return;
        }
        if !body.is_by_owner() {
            self.others.send_modify(|count| *count += 1);
            return;
        }
        self.newest.send_if_modified(|newest| {
            // The same from another peer counts as well: the first may be gone before it is asked.
            let is_news = newest.as_ref().is_none_or(|(known_peer, known)| {
                let (known, counter) = (known.body().counter, head.body().counter);
                known < counter || known == counter && *known_peer != peer
            });
            if is_news {
                *newest = Some((peer, head));
            }
            is_news
        });
    }
}

impl Session {
    /// Connects to a peer, proves, and asks for the newest heads and the nodes on a path.
    pub(crate) async fn open(
        dialer: Arc<dyn Dialer>,
        me: PeerId,
        peer: PeerId,
        key: &ReadKey,
        topic: Topic,
        wanted: &Wanted,
        announced: Announced,
    ) -> Result<Opened, FetchError> {
        let mut stream = dialer.open(peer).await.map_err(|error| FetchError::Unreachable(error.0))?;
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| FetchError::Broken(error.to_string()))?;
        write_message(&mut stream, &Control::Hello(Hello { topic: *topic.as_bytes(), nonce })).await?;
        stream.flush().await?;
        let Control::Nonce(theirs) = control(&mut stream).await? else {
            return Err(FetchError::Lied("no Nonce after Hello".into()));
        };
        let proof_session =
            ProofSession { opener_nonce: nonce, acceptor_nonce: theirs.nonce, opener: me, acceptor: peer, topic };
        // An impostor learns nothing but the topic. A peer that has not got the drive looks the same.
        if Proof::from(theirs.proof) != key.proof(Side::Acceptor, &proof_session) {
            return Err(FetchError::Refused);
        }
        dialer.on_proven(peer);
        let path = wanted.path.clone().and_then(|path| path.try_into().ok());
        let prefetch_bytes = if wanted.prefetch { MAX_PREFETCH_BYTES } else { 0 };
        let requests = vec![Request::Open(Open { head: None, path, prefetch_bytes })];
        let prove = Prove {
            proof: *key.proof(Side::Opener, &proof_session).as_bytes(),
            summary: nothing(),
            requests: requests.try_into().map_err(|_| FetchError::Broken("too many requests".into()))?,
        };
        write_message(&mut stream, &Control::Prove(prove)).await?;
        stream.flush().await?;
        let accept = match control(&mut stream).await? {
            Control::Accept(accept) => accept,
            Control::Refused => return Err(FetchError::Refused),
            _ => return Err(FetchError::Lied("no Accept after Prove".into())),
        };
        status(&mut stream).await?;
        let (mut items, mut heads, mut nodes) = (ItemReader::default(), Vec::new(), Vec::new());
        let blob = loop {
            match items.next(&mut stream).await? {
                Got::Head(head) => heads.push(*head),
                Got::Node(id, bytes) => nodes.push((id, bytes)),
                // The page is shown while what else it needs is still on its way.
                Got::Blob(hash, bytes) => break Some((hash, bytes)),
                Got::Change(_) => {}
                Got::End => break None,
            }
        };
        let (rest, more) = match &blob {
            Some(_) => {
                let (tx, rx) = mpsc::channel(ITEMS_WAITING);
                (Some((items, tx)), Some(rx))
            }
            None => (None, None),
        };
        let ended = Arc::new(AtomicBool::new(false));
        let summary = accept.summary;
        let held = Held { root: summary.root, complete: summary.complete, pieces: GroupRanges::empty() };
        let held = Arc::new(Mutex::new(held));
        let token = CancellationToken::new();
        let control = Listener { peer, announced, held: held.clone(), ended: ended.clone() };
        tokio::spawn(control.keep(stream, rest, token.clone()));
        let session = Self {
            serial: SESSIONS.fetch_add(1, Ordering::Relaxed),
            held,
            peer,
            number: accept.session,
            dialer,
            ended,
            received: AtomicU64::new(0),
            _control: token.drop_guard(),
        };
        Ok(Opened { session: Arc::new(session), heads, nodes, blob, more })
    }

    /// What the peer holds of the version under a root: where it speaks of another, only asking tells.
    pub(crate) fn holds(&self, root: NodeId) -> Holds {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.root.as_bytes() == root.as_bytes() && !held.complete {
            true => Holds::Pieces(held.pieces.clone()),
            false => Holds::Everything,
        }
    }

    /// Whether the session is over, by the peer's word or by ours.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// The peer failed one of several requests under way: no more are sent in this session. True the first time.
    pub(crate) fn end(&self) -> bool {
        !self.ended.swap(true, Ordering::Relaxed)
    }

    /// Asks, and returns the stream behind a good status.
    pub(crate) async fn request(&self, request: Request) -> Result<PeerStream, FetchError> {
        let mut stream = self.dialer.open(self.peer).await.map_err(|error| FetchError::Unreachable(error.0))?;
        write_message(&mut stream, &RequestFrame { session: self.number, request }).await?;
        stream.flush().await?;
        status(&mut stream).await?;
        Ok(stream)
    }

    /// Fetches index nodes and the like by hash; those the peer has, in the order asked. At most 64.
    pub(crate) async fn nodes(&self, hashes: &[ContentId]) -> Result<Vec<Option<Bytes>>, FetchError> {
        debug_assert!(hashes.len() <= MAX_NODES_PER_REQUEST, "callers cut their lists");
        let asked = hashes.to_vec().try_into().map_err(|_| FetchError::Broken("too many nodes asked for".into()))?;
        let mut stream = self.request(Request::Nodes(Nodes { hashes: asked })).await?;
        let mut nodes = Vec::with_capacity(hashes.len());
        for hash in hashes {
            let mut prefix = [0; 4];
            read_exact(&mut stream, &mut prefix).await?;
            let len = decode_node_len(prefix).map_err(|error| FetchError::Lied(error.to_string()))?;
            let Some(len) = len else {
                nodes.push(None);
                continue;
            };
            let mut bytes = vec![0; len];
            read_exact(&mut stream, &mut bytes).await?;
            if ContentId::of(&bytes) != *hash {
                return Err(FetchError::Lied(format!("node {} has another hash", hash.fmt_short())));
            }
            nodes.push(Some(bytes.into()));
        }
        Ok(nodes)
    }

    /// Fetches small files by hash: which of them the peer has, and those one after the other, not yet checked. At most
    /// 512 files of 1 MiB together.
    pub(crate) async fn many(
        &self,
        files: Vec<FileRef>,
        watch: &impl Watch,
    ) -> Result<(Presence, Vec<u8>), FetchError> {
        let sizes: Vec<u64> = files.iter().map(|file| file.size).collect();
        let files = files.try_into().map_err(|_| FetchError::Broken("too many files asked for".into()))?;
        let mut stream = self.request(Request::GetMany(GetMany { files })).await?;
        watch.on_answer();
        let mut bitmap = vec![0; Presence::encoded_len(sizes.len())];
        read_exact(&mut stream, &mut bitmap).await?;
        let present = Presence::decode(sizes.len(), &bitmap).map_err(|error| FetchError::Lied(error.to_string()))?;
        // The sizes are ours, from the signed index, and at most 1 MiB together: the peer cannot choose this length.
        let len: u64 = sizes.iter().zip(present.iter()).filter(|(_, present)| *present).map(|(size, _)| size).sum();
        let mut body = vec![0; len as usize];
        read_watched(&mut stream, &mut body, watch).await?;
        self.received.fetch_add(len, Ordering::Relaxed);
        Ok((present, body))
    }

    /// Heads of earlier versions that the peer keeps, newest first.
    pub(crate) async fn log(&self, log: crate::wire::Log) -> Result<Vec<HeadEnvelope>, FetchError> {
        let mut stream = self.request(Request::Log(log)).await?;
        read_heads(&mut stream).await
    }

    /// Heads beyond a vector, with what they changed.
    pub(crate) async fn news(&self, asked: crate::wire::Changes) -> Result<News, FetchError> {
        let mut stream = self.request(Request::Changes(asked)).await?;
        read_news(&mut stream).await
    }

    /// The newest heads the peer has.
    pub(crate) async fn heads(&self) -> Result<Vec<HeadEnvelope>, FetchError> {
        let after = crate::wire::VectorList::default();
        let mut stream = self.request(Request::Heads(crate::wire::Heads { after })).await?;
        read_heads(&mut stream).await
    }
}

/// A summary that says "nothing".
fn nothing() -> Summary {
    Summary { root: ContentId::from([0; 32]), vector: crate::wire::VectorList::default(), complete: false }
}

/// What the opener does with what it hears on the control stream.
struct Listener {
    peer: PeerId,
    announced: Announced,
    held: Arc<Mutex<Held>>,
    ended: Arc<AtomicBool>,
}

impl Listener {
    /// Reads what is still to come of the first answer, then keeps the control stream until the session is dropped or the
    /// peer ends it.
    async fn keep(
        self,
        mut stream: PeerStream,
        rest: Option<(ItemReader, mpsc::Sender<Result<Got, FetchError>>)>,
        token: CancellationToken,
    ) {
        if let Some((mut items, more)) = rest {
            let is_whole = tokio::select! {
                () = token.cancelled() => return,
                is_whole = hand_on(&mut stream, &mut items, more) => is_whole,
            };
            if !is_whole {
                return self.ended.store(true, Ordering::Relaxed);
            }
        }
        loop {
            tokio::select! {
                () = token.cancelled() => {
                    let goodbye = async {
                        write_message(&mut stream, &Control::Bye(ByeReason::DONE)).await.ok();
                        stream.shutdown().await.ok();
                    };
                    let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
                    return;
                }
                message = read_message::<Control>(&mut stream) => match message {
                    Ok(Control::Bye(_)) | Err(_) => break,
                    Ok(Control::HeadAnnounce(announce)) => {
                        if let Ok(head) = HeadEnvelope::decode(announce.envelope.into_vec().into()) {
                            self.announced.on_head(self.peer, head);
                        }
                    }
                    Ok(Control::Have(have)) => self.held.lock().unwrap_or_else(PoisonError::into_inner).on_have(&have),
                    Ok(_) => {}
                },
            }
        }
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Hands on the rest of an answer; false if it broke off.
async fn hand_on(stream: &mut PeerStream, items: &mut ItemReader, more: mpsc::Sender<Result<Got, FetchError>>) -> bool {
    loop {
        let item = match items.next(stream).await {
            Ok(Got::End) => return true,
            item => item,
        };
        let is_broken = item.is_err();
        // Nobody may be waiting for it any more; the stream is read on, for the words behind it.
        let _ = more.send(item).await;
        if is_broken {
            return false;
        }
    }
}

async fn control(stream: &mut PeerStream) -> Result<Control, FetchError> {
    match tokio::time::timeout(FIRST_BYTE_TIMEOUT, read_message::<Control>(stream)).await {
        Ok(message) => Ok(message?),
        Err(_) => Err(FetchError::Stalled),
    }
}

async fn status(stream: &mut PeerStream) -> Result<(), FetchError> {
    let status = match tokio::time::timeout(FIRST_BYTE_TIMEOUT, read_message::<Status>(stream)).await {
        Ok(status) => status?,
        Err(_) => return Err(FetchError::Stalled),
    };
    match status {
        Status::Ok => Ok(()),
        Status::NotFound => Err(FetchError::NotFound),
        Status::Stale => Err(FetchError::Stale),
        Status::Busy { .. } => Err(FetchError::Busy),
        Status::Refused => Err(FetchError::Refused),
        Status::BadRequest | Status::TooLarge => Err(FetchError::Broken("the peer does not understand".into())),
    }
}

/// As [`read_exact`], telling somebody as the bytes come.
pub(crate) async fn read_watched(
    stream: &mut PeerStream,
    buffer: &mut [u8],
    watch: &impl Watch,
) -> Result<(), FetchError> {
    /// Bytes between one word and the next.
    const TELL_EVERY: usize = 64 * 1024;
    for part in buffer.chunks_mut(TELL_EVERY) {
        read_exact(stream, part).await?;
        watch.on_bytes(part.len() as u64);
    }
    Ok(())
}

/// Fills a buffer; stalls when fewer than [`MIN_BODY_BYTES`] come in [`BODY_IDLE`] and more are due.
pub(crate) async fn read_exact(stream: &mut PeerStream, buffer: &mut [u8]) -> Result<(), FetchError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let enough = buffer.len().min(filled.saturating_add(MIN_BODY_BYTES));
        let some = async {
            while let Some(rest) = buffer.get_mut(filled..).filter(|_| filled < enough) {
                match stream.read(rest).await? {
                    0 => return Err(FetchError::Broken("ended too soon".into())),
                    read => filled += read,
                }
            }
            Ok(())
        };
        tokio::time::timeout(BODY_IDLE, some).await.map_err(|_| FetchError::Stalled)??;
    }
    Ok(())
}
