//! The opener's side of the exchange: connect, prove, ask (specs/drives.md, section 16).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use p2p_identity::{ContentId, DriveId, PeerId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::codec::decode_node_len;
use crate::frame::{FrameError, read_message, write_message};
use crate::head::HeadEnvelope;
use crate::network::{Dialer, PeerStream};
use crate::sources::Wanted;
use crate::topic::{Proof, ReadKey, Session as ProofSession, Side, Topic};
use crate::tree::{MAX_LEVELS, NodeId};
use crate::wire::{
    ByeReason, Control, FIRST_BYTE_TIMEOUT, Hello, Item, MAX_ENVELOPE_BYTES, MAX_NODE_BYTES, MAX_NODES_PER_REQUEST,
    MAX_PREFETCH_BYTES, MAX_WRITERS, NONCE_BYTES, Nodes, Open, Prove, Request, RequestFrame, Status, Summary,
};

/// A body that stands still for this long has stalled. The specification's 2 s are less than a busy disk's pause.
pub(crate) const BODY_IDLE: Duration = Duration::from_secs(10);
/// Least bytes that must come in [`BODY_IDLE`], or all that are due: less is a peer that drips to keep us waiting. Low
/// enough for 24 streams that share 10 KiB/s.
const MIN_BODY_BYTES: usize = 4 * 1024;
/// Most items an `Open` may answer with; beyond that somebody plays.
const MAX_ITEMS: usize = 1_024;
/// Most bytes of all these items: a head of every writer, a node of every level, and the prefetched content.
const MAX_ITEM_BYTES: usize =
    MAX_WRITERS * MAX_ENVELOPE_BYTES + MAX_LEVELS as usize * MAX_NODE_BYTES + MAX_PREFETCH_BYTES as usize;

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

/// What a peer told with its acceptance.
pub(crate) struct Opened {
    pub(crate) session: Arc<Session>,
    pub(crate) heads: Vec<HeadEnvelope>,
    pub(crate) nodes: Vec<(NodeId, Bytes)>,
    /// Small content that came along, checked against its hash.
    pub(crate) blobs: Vec<(ContentId, Bytes)>,
}

/// A proven session with a peer for one drive.
pub(crate) struct Session {
    pub(crate) peer: PeerId,
    number: u32,
    dialer: Arc<dyn Dialer>,
    ended: Arc<AtomicBool>,
    /// Content bytes that came from this peer.
    pub(crate) received: AtomicU64,
    _control: DropGuard,
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
        let Items { heads, nodes, blobs } = read_items(&mut stream).await?;
        let ended = Arc::new(AtomicBool::new(false));
        let token = CancellationToken::new();
        tokio::spawn(keep_control(stream, peer, announced, ended.clone(), token.clone()));
        let session = Self {
            peer,
            number: accept.session,
            dialer,
            ended,
            received: AtomicU64::new(0),
            _control: token.drop_guard(),
        };
        Ok(Opened { session: Arc::new(session), heads, nodes, blobs })
    }

    /// Whether the session is over, by the peer's word or by ours.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// The peer failed one of several requests under way: no more are sent in this session.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
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

    /// Heads of earlier versions that the peer keeps, newest first.
    pub(crate) async fn log(&self, log: crate::wire::Log) -> Result<Vec<HeadEnvelope>, FetchError> {
        let mut stream = self.request(Request::Log(log)).await?;
        Ok(read_items(&mut stream).await?.heads)
    }

    /// The newest heads the peer has.
    pub(crate) async fn heads(&self) -> Result<Vec<HeadEnvelope>, FetchError> {
        let after = crate::wire::VectorList::default();
        let mut stream = self.request(Request::Heads(crate::wire::Heads { after })).await?;
        Ok(read_items(&mut stream).await?.heads)
    }
}

/// A summary that says "nothing".
fn nothing() -> Summary {
    Summary { root: ContentId::from([0; 32]), vector: crate::wire::VectorList::default(), complete: false }
}

/// Keeps the control stream until the session is dropped or the peer ends it.
async fn keep_control(
    mut stream: PeerStream,
    peer: PeerId,
    announced: Announced,
    ended: Arc<AtomicBool>,
    token: CancellationToken,
) {
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
                        announced.on_head(peer, head);
                    }
                }
                Ok(_) => {}
            },
        }
    }
    ended.store(true, Ordering::Relaxed);
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

/// What an answer of items held.
#[derive(Default)]
struct Items {
    heads: Vec<HeadEnvelope>,
    nodes: Vec<(NodeId, Bytes)>,
    blobs: Vec<(ContentId, Bytes)>,
}

async fn read_items(stream: &mut PeerStream) -> Result<Items, FetchError> {
    let mut items = Items::default();
    let mut left = MAX_ITEM_BYTES;
    let mut take = |bytes: usize| {
        left = left.checked_sub(bytes).ok_or_else(|| FetchError::Lied("an endless answer".into()))?;
        Ok::<_, FetchError>(bytes)
    };
    for _ in 0..MAX_ITEMS {
        let item = tokio::time::timeout(BODY_IDLE, read_message::<Item>(stream)).await;
        match item.map_err(|_| FetchError::Stalled)?? {
            Item::End => return Ok(items),
            Item::Head(envelope) => {
                take(envelope.len())?;
                let head = HeadEnvelope::decode(envelope.into_vec().into());
                items.heads.push(head.map_err(|error| FetchError::Lied(format!("a bad head: {error}")))?);
            }
            Item::Node { len } => {
                let mut bytes = vec![0; take(len as usize)?];
                read_exact(stream, &mut bytes).await?;
                items.nodes.push((NodeId::of(&bytes), bytes.into()));
            }
            Item::Blob { hash, size } => {
                let mut bytes = vec![0; take(size as usize)?];
                read_exact(stream, &mut bytes).await?;
                if ContentId::of(&bytes) != hash {
                    return Err(FetchError::Lied(format!("content {} with another hash", hash.fmt_short())));
                }
                items.blobs.push((hash, bytes.into()));
            }
            Item::Change(_) => {}
        }
    }
    Err(FetchError::Lied("an endless answer".into()))
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
