//! The behaviour behind [`super::StreamControl`]: picks connections, dials, hands streams over.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, FromSwarm};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, ToSwarm};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::byte_stream::{ByteStream, InUse};
use super::handler::{FromHandler, Handler, OpenId, OpenRequest};
use super::{
    AcceptError, Accepting, COMMAND_QUEUE, Command, IncomingStream, OpenError, OpenedStream, Preference, StreamControl,
    StreamCounters,
};
use crate::{AddressBook, PathKind, TransportKind, path_kind, remote_address, transport_kind};

/// QUIC addresses and relays are dialled this much later than TCP addresses: long enough for a TCP handshake on a LAN and most of
/// Europe, short enough that nobody notices where TCP is blocked.
const QUIC_DELAY: Duration = Duration::from_millis(250);
/// How long a peer that is connected directly, and could not be reached over TCP, is not tried over it again: behind a router
/// that lets holes be made for QUIC only, every bulk stream would dial for nothing.
const TCP_AGAIN: Duration = Duration::from_secs(60);
/// Most protocols accepted at a time: each is compared with every stream that comes in.
const MAX_PROTOCOLS: usize = 256;
/// Most streams that wait for a dial to one peer.
const MAX_WAITING_PER_PEER: usize = 64;

/// Opens and accepts byte streams.
pub struct Streams {
    commands: mpsc::Receiver<Command>,
    accept: HashMap<StreamProtocol, mpsc::Sender<IncomingStream>>,
    accepting: Accepting,
    counters: StreamCounters,
    book: AddressBook,
    connections: HashMap<PeerId, Vec<Connection>>,
    /// Streams that wait for a connection.
    waiting: HashMap<PeerId, Vec<Waiting>>,
    /// Streams that a connection is opening.
    opening: HashMap<OpenId, Opening>,
    /// Peers to be dialled again over the remaining addresses at that time.
    second_dials: Vec<(Instant, PeerId)>,
    /// Connected peers that did not answer over TCP, and when.
    without_tcp: HashMap<PeerId, Instant>,
    /// Dials of ours that are under way.
    dials: HashMap<ConnectionId, PeerId>,
    next_id: OpenId,
    outputs: VecDeque<ToSwarm<(), OpenRequest>>,
    timer: Option<std::pin::Pin<Box<tokio::time::Sleep>>>,
}

#[derive(Clone, Debug)]
struct Connection {
    id: ConnectionId,
    path: PathKind,
    transport: TransportKind,
    in_use: InUse,
}

struct Waiting {
    protocol: StreamProtocol,
    preference: Preference,
    reply: oneshot::Sender<Result<OpenedStream, OpenError>>,
}

struct Opening {
    peer: PeerId,
    connection: Connection,
    reply: oneshot::Sender<Result<OpenedStream, OpenError>>,
}

impl Streams {
    /// A behaviour that accepts these protocols, each with a queue of that length, and the handle that opens streams.
    pub fn new(
        protocols: impl IntoIterator<Item = (StreamProtocol, usize)>,
    ) -> (Self, StreamControl, HashMap<StreamProtocol, mpsc::Receiver<IncomingStream>>) {
        let (commands, receiver) = mpsc::channel(COMMAND_QUEUE);
        let mut accept = HashMap::new();
        let mut incoming = HashMap::new();
        for (protocol, queue) in protocols {
            let (tx, rx) = mpsc::channel(queue.max(1));
            accept.insert(protocol.clone(), tx);
            incoming.insert(protocol, rx);
        }
        let mut streams = Self {
            commands: receiver,
            accept,
            accepting: Accepting::default(),
            counters: StreamCounters::default(),
            book: AddressBook::default(),
            connections: HashMap::new(),
            waiting: HashMap::new(),
            opening: HashMap::new(),
            second_dials: Vec::new(),
            without_tcp: HashMap::new(),
            dials: HashMap::new(),
            next_id: 0,
            outputs: VecDeque::new(),
            timer: None,
        };
        streams.drop_abandoned();
        (streams, StreamControl { commands }, incoming)
    }

    /// Addresses to dial.
    pub fn book(&self) -> &AddressBook {
        &self.book
    }

    /// Addresses to dial, to be changed.
    pub fn book_mut(&mut self) -> &mut AddressBook {
        &mut self.book
    }

    /// Inbound streams reset so far because their protocol's queue was full.
    pub fn refused(&self) -> u64 {
        self.counters.accept_queue_full.load(Ordering::Relaxed)
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::AddAddress { peer, address } => {
                self.book.add(peer, address);
            }
            Command::Accept { protocol, queue, reply } => drop(reply.send(self.accept(protocol, queue))),
            Command::Open { peer, protocol, preference, reply } => {
                self.start(peer, Waiting { protocol, preference, reply }, Instant::now());
            }
        }
    }

    fn accept(
        &mut self,
        protocol: StreamProtocol,
        queue: usize,
    ) -> Result<mpsc::Receiver<IncomingStream>, AcceptError> {
        self.drop_abandoned();
        if self.accept.contains_key(&protocol) {
            return Err(AcceptError::Taken(protocol));
        }
        if self.accept.len() >= MAX_PROTOCOLS {
            return Err(AcceptError::TooMany(MAX_PROTOCOLS));
        }
        let (sender, receiver) = mpsc::channel(queue.max(1));
        self.accept.insert(protocol, sender);
        self.drop_abandoned();
        Ok(receiver)
    }

    /// Forgets protocols whose receiver is gone, and tells the handlers which ones are left.
    fn drop_abandoned(&mut self) {
        self.accept.retain(|_, queue| !queue.is_closed());
        self.accepting.set(self.accept.keys().cloned().collect());
    }

    /// Opens a stream on the best connection, or waits for one.
    fn start(&mut self, peer: PeerId, request: Waiting, now: Instant) {
        match self.best_connection(&peer, request.preference) {
            Some(connection) => {
                if wants_tcp(&connection, request.preference)
                    && self.can_get_tcp(&peer, now)
                    && !self.is_dialling(&peer)
                {
                    self.dial(peer, now);
                }
                self.open_on(peer, connection, request);
            }
            None if matches!(request.preference, Preference::Connection(_)) => {
                let _ = request.reply.send(Err(OpenError::Broken("that connection is gone".into())));
            }
            None => self.wait_for_connection(peer, request, now),
        }
    }

    fn best_connection(&self, peer: &PeerId, preference: Preference) -> Option<Connection> {
        let known = self.connections.get(peer)?;
        match preference {
            Preference::Connection(id) => known.iter().find(|c| c.id == id).cloned(),
            // The newest of equals: an older one may belong to a process that is gone.
            Preference::Any | Preference::Bulk => known.iter().rev().min_by_key(|c| (c.path, c.transport)).cloned(),
        }
    }

    fn can_get_tcp(&self, peer: &PeerId, now: Instant) -> bool {
        let has_failed = self.without_tcp.get(peer).is_some_and(|at| now.duration_since(*at) < TCP_AGAIN);
        // By a longer way than QUIC's, or it would have been taken.
        let is_direct_tcp =
            |known: &Connection| known.transport == TransportKind::Tcp && known.path != PathKind::Relayed;
        let has_one = self.connections.get(peer).is_some_and(|known| known.iter().any(is_direct_tcp));
        !has_failed && !has_one && self.book.of(peer).iter().any(is_dialled_first)
    }

    /// A peer that is connected does not answer over TCP.
    fn on_no_tcp(&mut self, peer: PeerId, now: Instant) {
        if self.connections.contains_key(&peer) {
            self.without_tcp.insert(peer, now);
        }
    }

    fn open_on(&mut self, peer: PeerId, connection: Connection, request: Waiting) {
        if request.reply.is_closed() {
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        let handler = NotifyHandler::One(connection.id);
        self.opening.insert(id, Opening { peer, connection, reply: request.reply });
        self.outputs.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler,
            event: OpenRequest { id, protocol: request.protocol },
        });
    }

    fn wait_for_connection(&mut self, peer: PeerId, request: Waiting, now: Instant) {
        let queue = self.waiting.entry(peer).or_default();
        queue.retain(|waiting| !waiting.reply.is_closed());
        if queue.len() >= MAX_WAITING_PER_PEER {
            let _ = request.reply.send(Err(OpenError::Unreachable("too many streams wait for this peer".into())));
            return;
        }
        queue.push(request);
        if self.is_dialling(&peer) {
            return;
        }
        self.dial(peer, now);
    }

    /// Direct TCP addresses first; the rest, QUIC and relays, a moment later if that did not connect.
    fn dial(&mut self, peer: PeerId, now: Instant) {
        let (first, rest): (Vec<_>, Vec<_>) = self.book.of(&peer).iter().cloned().partition(is_dialled_first);
        if self.connections.contains_key(&peer) && !first.is_empty() {
            // It is there already, and TCP is all that is missing.
            self.push_dial(DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(first).build(), peer);
            return;
        }
        if first.is_empty() || rest.is_empty() {
            // One kind only, or nothing in the book: the other behaviours may know addresses.
            self.push_dial(DialOpts::peer_id(peer).condition(PeerCondition::Always).build(), peer);
            return;
        }
        self.push_dial(DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(first).build(), peer);
        self.second_dials.push((now + QUIC_DELAY, peer));
    }

    fn push_dial(&mut self, opts: DialOpts, peer: PeerId) {
        self.dials.insert(opts.connection_id(), peer);
        self.outputs.push_back(ToSwarm::Dial { opts });
    }

    fn on_timeout(&mut self, now: Instant) {
        let due: Vec<PeerId> = self.second_dials.iter().filter(|(at, _)| *at <= now).map(|(_, peer)| *peer).collect();
        self.second_dials.retain(|(at, _)| *at > now);
        for peer in due {
            if !self.connections.contains_key(&peer) && self.waiting.contains_key(&peer) {
                let opts = DialOpts::peer_id(peer).condition(PeerCondition::Always);
                let rest: Vec<_> =
                    self.book.of(&peer).iter().filter(|address| !is_dialled_first(address)).cloned().collect();
                self.push_dial(opts.addresses(rest).build(), peer);
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.second_dials.iter().map(|(at, _)| *at).min()
    }

    fn serve_waiting(&mut self, peer: PeerId, now: Instant) {
        for request in self.waiting.remove(&peer).unwrap_or_default() {
            self.start(peer, request, now);
        }
    }

    fn on_connected(&mut self, event: &ConnectionEstablished<'_>) {
        let remote = remote_address(event.endpoint, event.peer_id);
        let connection = Connection {
            id: event.connection_id,
            path: path_kind(&remote),
            transport: transport_kind(&remote),
            in_use: InUse::default(),
        };
        self.connections.entry(event.peer_id).or_default().push(connection);
        self.dials.remove(&event.connection_id);
        self.serve_waiting(event.peer_id, Instant::now());
    }

    fn on_closed(&mut self, event: &ConnectionClosed<'_>) {
        if let Some(known) = self.connections.get_mut(&event.peer_id) {
            known.retain(|c| c.id != event.connection_id);
            if known.is_empty() {
                self.connections.remove(&event.peer_id);
                self.without_tcp.remove(&event.peer_id);
            }
        }
        let lost: Vec<OpenId> = self
            .opening
            .iter()
            .filter(|(_, opening)| opening.peer == event.peer_id && opening.connection.id == event.connection_id)
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            if let Some(opening) = self.opening.remove(&id) {
                let _ = opening.reply.send(Err(OpenError::Broken("the connection closed".into())));
            }
        }
    }

    fn on_dial_failure(&mut self, event: &DialFailure<'_>) {
        let Some(peer) = self.dials.remove(&event.connection_id) else { return };
        let connected = self.connections.contains_key(&peer);
        self.on_no_tcp(peer, Instant::now());
        if !connected {
            if let Some((at, _)) = self.second_dials.iter_mut().find(|(_, waiting)| *waiting == peer) {
                *at = Instant::now();
                return;
            }
            if self.is_dialling(&peer) {
                return;
            }
        }
        for request in self.waiting.remove(&peer).unwrap_or_default() {
            match self.best_connection(&peer, request.preference) {
                Some(connection) => self.open_on(peer, connection, request),
                None => {
                    let _ = request.reply.send(Err(OpenError::Unreachable(describe(event.error))));
                }
            }
        }
    }

    fn is_dialling(&self, peer: &PeerId) -> bool {
        self.dials.values().any(|dialled| dialled == peer)
    }

    fn on_accepted(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        protocol: &StreamProtocol,
        stream: libp2p::Stream,
    ) {
        let Some(queue) = self.accept.get(protocol) else { return };
        let known = self.connections.get(&peer).and_then(|known| known.iter().find(|c| c.id == connection));
        let path = known.map_or(PathKind::Direct, |c| c.path);
        let stream = ByteStream::new(stream, known.map(|c| c.in_use.clone()).unwrap_or_default());
        let refused = queue.try_send(IncomingStream { peer, connection, path, stream });
        if let Err(TrySendError::Closed(_)) = refused {
            self.drop_abandoned();
        } else if refused.is_err() {
            self.counters.accept_queue_full.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%peer, %protocol, "accept queue full, stream reset");
        }
    }
}

/// Direct and not over QUIC.
fn is_dialled_first(address: &Multiaddr) -> bool {
    path_kind(address) != PathKind::Relayed && transport_kind(address) != TransportKind::Quic
}

/// Whether a TCP connection beside that one would be better for such streams.
fn wants_tcp(connection: &Connection, preference: Preference) -> bool {
    // Through a relay everything flows from the first moment; a direct way may never come.
    preference == Preference::Bulk
        && connection.transport == TransportKind::Quic
        && connection.path != PathKind::Relayed
}

fn describe(error: &libp2p::swarm::DialError) -> String {
    use libp2p::swarm::DialError;
    match error {
        DialError::NoAddresses => "no address is known".into(),
        DialError::Transport(tried) => {
            let mut text = format!("{} addresses tried, none answered", tried.len());
            if let Some((address, error)) = tried.first() {
                text = format!("{text}; first: {address}: {error}");
            }
            text
        }
        other => other.to_string(),
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = ();

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::new(self.accepting.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::new(self.accepting.clone()))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        Ok(peer.map(|peer| self.book.of(&peer).to_vec()).unwrap_or_default())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => self.on_connected(&event),
            FromSwarm::ConnectionClosed(event) => self.on_closed(&event),
            FromSwarm::DialFailure(event) => self.on_dial_failure(&event),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: FromHandler) {
        match event {
            FromHandler::Accepted { stream, protocol } => self.on_accepted(peer, connection, &protocol, stream),
            FromHandler::Opened { id, stream } => {
                if let Some(Opening { connection, reply, .. }) = self.opening.remove(&id) {
                    let opened = OpenedStream {
                        stream: ByteStream::new(stream, connection.in_use),
                        connection: connection.id,
                        path: connection.path,
                        transport: connection.transport,
                    };
                    let _ = reply.send(Ok(opened));
                }
            }
            FromHandler::OpenFailed { id, error } => {
                if let Some(opening) = self.opening.remove(&id) {
                    let _ = opening.reply.send(Err(error));
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<(), OpenRequest>> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Poll::Ready(output);
            }
            if let Poll::Ready(Some(command)) = self.commands.poll_recv(cx) {
                self.on_command(command);
                continue;
            }
            let Some(at) = self.next_timeout() else {
                self.timer = None;
                return Poll::Pending;
            };
            let at = tokio::time::Instant::from_std(at);
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            if timer.poll_unpin(cx).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
            self.on_timeout(Instant::now());
        }
    }
}

/// Peers that have at least one connection.
impl Streams {
    /// How the best connection to a peer runs.
    pub fn path_to(&self, peer: &PeerId) -> Option<(PathKind, TransportKind)> {
        self.best_connection(peer, Preference::Any).map(|c| (c.path, c.transport))
    }

    /// Whether a connection carries no stream of ours or of the peer's, and none is being opened on it.
    pub fn is_idle(&self, peer: &PeerId, connection: ConnectionId) -> bool {
        let known = self.connections.get(peer).and_then(|known| known.iter().find(|c| c.id == connection));
        known.is_none_or(|connection| std::sync::Arc::strong_count(&connection.in_use) == 1)
    }

    /// Peers with at least one connection.
    pub fn connected(&self) -> HashSet<PeerId> {
        self.connections.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What became of the streams asked for: dials, and streams that a connection opens.
    fn outcome(streams: &mut Streams) -> (usize, usize) {
        let outputs: Vec<_> = streams.outputs.drain(..).collect();
        let dials = outputs.iter().filter(|output| matches!(output, ToSwarm::Dial { .. })).count();
        (dials, outputs.len() - dials)
    }

    #[tokio::test]
    async fn a_bulk_stream_waits_for_no_tcp_which_is_dialled_beside_once_in_a_while() {
        let (mut streams, _control, _incoming) = Streams::new([]);
        let (peer, begun) = (PeerId::random(), Instant::now());
        let mut answers = Vec::new();
        let mut open = |streams: &mut Streams, now| {
            let (reply, answer) = oneshot::channel();
            answers.push(answer);
            let protocol = StreamProtocol::new("/test/1");
            streams.start(peer, Waiting { protocol, preference: Preference::Bulk, reply }, now);
        };
        let connection = |number, transport| Connection {
            id: ConnectionId::new_unchecked(number),
            path: PathKind::Direct,
            transport,
            in_use: InUse::default(),
        };
        streams.connections.insert(peer, vec![connection(1, TransportKind::Quic)]);
        for address in ["/ip4/9.9.9.9/udp/1/quic-v1", "/ip4/9.9.9.8/tcp/1/p2p-circuit"] {
            streams.book.add(peer, address.parse().expect("a multiaddr"));
        }
        open(&mut streams, begun);
        assert_eq!(outcome(&mut streams), (0, 1), "a relay's TCP is none of the peer's");
        streams.book.add(peer, "/ip4/9.9.9.9/tcp/1".parse().expect("a multiaddr"));
        open(&mut streams, begun);
        assert_eq!(outcome(&mut streams), (1, 1), "TCP may come");
        open(&mut streams, begun);
        assert_eq!(outcome(&mut streams), (0, 1), "it is being dialled");
        let dialled = *streams.dials.keys().next().expect("a dial");
        let error = libp2p::swarm::DialError::Transport(Vec::new());
        streams.on_dial_failure(&DialFailure { peer_id: Some(peer), error: &error, connection_id: dialled });
        let failed = Instant::now();
        open(&mut streams, failed);
        assert_eq!(outcome(&mut streams), (0, 1), "nobody answers there");
        open(&mut streams, failed + TCP_AGAIN);
        assert_eq!(outcome(&mut streams), (1, 1), "somebody may, later");
        streams.connections.insert(peer, vec![connection(2, TransportKind::Tcp), connection(1, TransportKind::Quic)]);
        open(&mut streams, failed + TCP_AGAIN);
        let over =
            streams.opening.values().filter(|opening| opening.connection.transport == TransportKind::Tcp).count();
        assert_eq!((outcome(&mut streams), over), ((0, 1), 1), "from then on it is taken");
    }
}
