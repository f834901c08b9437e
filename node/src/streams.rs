//! Streams between apps: who accepts which protocol, and opening them (specs/overlay.md, 2.3).
//!
//! On the network the accepting node writes one byte, 1, before everything else, at the moment an app takes the stream: the
//! opener then knows that somebody has it. A protocol's name alone does not tell, for it goes out with the first bytes and
//! nobody waits for its answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use p2p_api::{
    ApiError, AppStream, DEFAULT_TIMEOUT, DialStream, Duplex, ErrorKind, PathKind, Result, StreamPath, app_of_protocol,
};
use p2p_identity::PeerId;
use p2p_transport::{AcceptError, IncomingStream, OpenError, our_peer_id};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::sync::mpsc::OwnedPermit;
use tokio_util::compat::FuturesAsyncReadCompatExt;

use crate::events::EventLog;
use crate::local::{path_kind, path_word};
use crate::network::Network;

/// Streams that wait for somebody to take them, by protocol; further ones are reset.
const WAITING: usize = 32;
/// How long a protocol is accepted while nobody waits for its streams.
const GRACE: Duration = Duration::from_secs(60);
/// How long a stream waits for an app that is between two calls; then it is reset.
const WAIT_TIME: Duration = Duration::from_secs(10);
/// What the accepting node writes first.
const TAKEN: u8 = 1;
/// How long that may take.
const TELL_TIME: Duration = Duration::from_secs(5);
/// Bytes on their way within this node.
const PIPE_BYTES: usize = 256 * 1024;

/// The streams of apps. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppStreams {
    me: PeerId,
    network: Network,
    events: EventLog,
    listeners: Arc<Mutex<HashMap<String, Arc<Listener>>>>,
}

/// A stream that waits to be taken; empty when it has waited for too long.
type Offered = Arc<Mutex<Option<AppStream>>>;

/// A protocol that is accepted.
struct Listener {
    /// Streams that wait.
    queue: tokio::sync::Mutex<mpsc::Receiver<Offered>>,
    sender: mpsc::Sender<Offered>,
    /// Calls that wait for a stream.
    waiting: AtomicUsize,
    /// The last call that waited was given up: its app has gone. An app that got a stream is busy with it and comes back.
    is_left: AtomicBool,
}

impl Listener {
    /// Whether a stream would wait in vain.
    fn is_gone(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0 && self.is_left.load(Ordering::Acquire)
    }
}

impl AppStreams {
    pub(crate) fn new(me: PeerId, network: Network, events: EventLog) -> Self {
        Self { me, network, events, listeners: Arc::default() }
    }

    pub(crate) async fn dial(&self, dial: DialStream) -> Result<AppStream> {
        app_of_protocol(&dial.protocol)?;
        if dial.path == StreamPath::Anon {
            return Err(ApiError::new(ErrorKind::Unsupported, "anonymous paths are not supported yet"));
        }
        let timeout = dial.timeout_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
        let deadline = tokio::time::Instant::now() + timeout;
        let (path, mut io) = if dial.peer == self.me {
            (PathKind::Lan, self.dial_own(&dial.protocol)?)
        } else {
            let opened = self.network.open_stream(dial.peer, &dial.protocol, timeout).await;
            opened.map_err(|error| unopened(&dial, &error))?
        };
        match tokio::time::timeout_at(deadline, io.read_u8()).await {
            Ok(Ok(TAKEN)) => {}
            Ok(_) => return Err(nobody_accepts(&dial.protocol)),
            Err(_) => return Err(unopened(&dial, &OpenError::TimedOut(timeout))),
        }
        if path == PathKind::Relayed && dial.path == StreamPath::Direct {
            let error = ApiError::not_found(format!("there is no direct path to {}", dial.peer));
            return Err(error.with_hint("ask for any path, or try again when there is one"));
        }
        Ok(AppStream::new(dial.peer, path, io))
    }

    /// A stream to an app of this node goes through no network.
    fn dial_own(&self, protocol: &str) -> Result<Box<dyn Duplex>> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let listener = self.lock().get(protocol).cloned().filter(|listener| !listener.is_gone());
        let listener = listener.ok_or_else(|| nobody_accepts(protocol))?;
        let place = listener.sender.clone().try_reserve_owned().map_err(|_| nobody_accepts(protocol))?;
        self.offer(protocol, &listener, place, AppStream::new(self.me, PathKind::Lan, Box::new(far)));
        Ok(Box::new(near))
    }

    /// The next stream of a protocol. Cancel safe.
    pub(crate) async fn accept(&self, protocol: &str) -> Result<AppStream> {
        app_of_protocol(protocol)?;
        loop {
            let mut waiting = self.listener(protocol).await?;
            let offered = waiting.listener.queue.lock().await.recv().await.ok_or_else(ApiError::stopped)?;
            // Before the opener is told: it may open the next one at once, and nobody waits for that any more.
            waiting.has_taken = true;
            drop(waiting);
            let Some(mut stream) = take(&offered) else { continue };
            let told = async {
                stream.write_u8(TAKEN).await?;
                stream.flush().await
            };
            if let Ok(Ok(())) = tokio::time::timeout(TELL_TIME, told).await {
                return Ok(stream);
            }
        }
    }

    /// Who accepts a protocol; it starts to be accepted with the first call.
    async fn listener(&self, protocol: &str) -> Result<Waiting> {
        if let Some(known) = self.lock().get(protocol) {
            // Counted while the table is locked, so that it does not end before the caller waits.
            return Ok(Waiting::new(known.clone()));
        }
        let name = protocol.to_owned();
        let incoming = self.network.accept_streams(&name).await.map_err(|error| match error {
            AcceptError::Stopped => ApiError::stopped(),
            // Two calls at once: the other one has it.
            AcceptError::Taken(_) => ApiError::new(ErrorKind::Busy, "the protocol is just being registered"),
            other => ApiError::new(ErrorKind::Busy, other.to_string()),
        })?;
        let (sender, queue) = mpsc::channel(WAITING);
        let listener = Arc::new(Listener {
            queue: tokio::sync::Mutex::new(queue),
            sender,
            waiting: AtomicUsize::new(0),
            is_left: AtomicBool::new(false),
        });
        let waiting = Waiting::new(listener.clone());
        self.lock().insert(name.clone(), listener.clone());
        tokio::spawn(self.clone().take_in(name, listener, incoming));
        Ok(waiting)
    }

    /// Takes in what peers open, until nobody has waited for it for a while.
    async fn take_in(self, protocol: String, listener: Arc<Listener>, mut incoming: mpsc::Receiver<IncomingStream>) {
        loop {
            match tokio::time::timeout(GRACE, incoming.recv()).await {
                Ok(Some(IncomingStream { peer, path, stream, .. })) => {
                    let Some(peer) = our_peer_id(&peer) else { continue };
                    // Dropping a stream resets it.
                    if listener.is_gone() {
                        continue;
                    }
                    let Ok(place) = listener.sender.clone().try_reserve_owned() else { continue };
                    let stream = AppStream::new(peer, path_kind(path), Box::new(stream.compat()));
                    self.offer(&protocol, &listener, place, stream);
                }
                Ok(None) => {
                    self.lock().remove(&protocol);
                    return;
                }
                Err(_) => {
                    let mut listeners = self.lock();
                    if listener.waiting.load(Ordering::Relaxed) == 0 {
                        listeners.remove(&protocol);
                        return;
                    }
                }
            }
        }
    }

    /// Gives a stream to whoever waits; says that it waits where nobody does, and lets go of it when nobody comes.
    fn offer(&self, protocol: &str, listener: &Listener, place: OwnedPermit<Offered>, stream: AppStream) {
        let data = serde_json::json!({ "protocol": protocol, "peer": stream.peer, "path": path_word(stream.path) });
        let offered: Offered = Arc::new(Mutex::new(Some(stream)));
        let waits = Arc::downgrade(&offered);
        place.send(offered);
        let queued = WAITING.saturating_sub(listener.sender.capacity());
        if queued > listener.waiting.load(Ordering::Acquire) {
            self.events.push("streams", "stream.waiting", data);
        }
        tokio::spawn(async move {
            tokio::time::sleep(WAIT_TIME).await;
            waits.upgrade().and_then(|offered| take(&offered))
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Listener>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(offered: &Offered) -> Option<AppStream> {
    offered.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Counts a call while it waits.
struct Waiting {
    listener: Arc<Listener>,
    has_taken: bool,
}

impl Waiting {
    fn new(listener: Arc<Listener>) -> Self {
        listener.waiting.fetch_add(1, Ordering::AcqRel);
        Self { listener, has_taken: false }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.listener.is_left.store(!self.has_taken, Ordering::Release);
        self.listener.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

fn nobody_accepts(protocol: &str) -> ApiError {
    ApiError::new(ErrorKind::Unsupported, format!("nobody there accepts {protocol}"))
        .with_hint("check that the app runs on the other node")
}

fn unopened(dial: &DialStream, error: &OpenError) -> ApiError {
    match error {
        OpenError::Unsupported(_) => nobody_accepts(&dial.protocol),
        OpenError::TimedOut(after) => {
            ApiError::new(ErrorKind::TimedOut, format!("{} did not answer within {after:?}", dial.peer))
        }
        OpenError::Stopped => ApiError::stopped(),
        other => ApiError::not_found(format!("cannot reach {}: {other}", dial.peer))
            .with_hint("check that the other node runs; p2p dial shows whether it can be reached"),
    }
}
