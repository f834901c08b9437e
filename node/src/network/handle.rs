//! The handle of the swarm loop, and what drives need of it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use libp2p::gossipsub::{self, MessageAcceptance};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, StreamProtocol};
use p2p_api::{Duplex, NatInfo, Reachability, TopicMessage};
use p2p_dht::Reject;
use p2p_drives::{DialError, Dialer, PeerStream, Providers};
use p2p_identity::{PeerAddr, PeerId};
use p2p_transport::{
    AcceptError, AddressScope, DialGuard, IncomingStream, OpenError, PathKind, Preference, ProvenPeers, StreamControl,
    TrustedPeers, libp2p_peer_id, our_peer_id,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::compat::FuturesAsyncReadCompatExt;

use super::addresses::{for_links, relay_for_links};
use super::near::NearState;

/// How long opening a stream may take, dial included.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Providers told at a time.
const PROVIDERS_QUEUE: usize = 32;
/// Streams of an app's protocol that wait for the task that takes them in.
const APP_QUEUE: usize = 32;
/// Round trips measured for one question.
const PINGS: usize = 5;
/// Bytes that libp2p's ping sends and gets back.
const PING_BYTES: usize = 32;
/// Peers counted that multicast told of.
pub(super) const MAX_FOUND: usize = 1_024;
/// Values told at a time; a lookup seldom has more answers.
const VALUES_QUEUE: usize = 64;

/// What can be asked of the loop.
pub(crate) enum Command {
    Dial { target: DialTarget, reply: oneshot::Sender<Result<(libp2p::PeerId, Multiaddr), String>> },
    Find { key: [u8; 32], found: mpsc::Sender<(libp2p::PeerId, Vec<Multiaddr>)> },
    Provide([u8; 32]),
    StopProviding([u8; 32]),
    GetValues { key: Vec<u8>, found: mpsc::Sender<FoundValue> },
    Subscribe { topic: String, reply: oneshot::Sender<Option<mpsc::Receiver<TopicMessage>>> },
    Publish { topic: String, data: Bytes, reply: oneshot::Sender<Result<usize, PublishRefused>> },
    JudgeTopic { topic: String, reply: oneshot::Sender<mpsc::Receiver<Announcement>> },
    Judged(Judged),
    Announce { topic: String, data: Bytes },
    Disconnect(libp2p::PeerId),
    ProbeRouter(oneshot::Sender<()>),
    PutValue { key: Vec<u8>, value: Vec<u8>, reply: oneshot::Sender<Result<usize, Reject>> },
    LanContact { peer: libp2p::PeerId, addresses: Vec<Multiaddr> },
}

/// A value that was found in the DHT and proved itself.
#[derive(Clone, Debug)]
pub(crate) struct FoundValue {
    /// Who had it; `None`: this node.
    pub(crate) from: Option<libp2p::PeerId>,
    pub(crate) value: Vec<u8>,
}

/// An announcement that waits to be judged.
#[derive(Debug)]
pub(crate) struct Announcement {
    /// The neighbour that sent it; who made it is not known.
    pub(crate) from: libp2p::PeerId,
    pub(crate) id: gossipsub::MessageId,
    pub(crate) data: Bytes,
}

/// What was found about an announcement.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) id: gossipsub::MessageId,
    pub(crate) from: libp2p::PeerId,
    /// Accepted ones are passed on.
    pub(crate) verdict: MessageAcceptance,
}

pub(crate) enum DialTarget {
    Address(Multiaddr),
    Peer(libp2p::PeerId),
}

/// One connection as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionInfo {
    pub(crate) peer: libp2p::PeerId,
    pub(crate) address: Multiaddr,
    pub(crate) outbound: bool,
    /// Dialled from a port of its own, as others ask for to have an address tested.
    pub(crate) from_new_port: bool,
    /// Both sides made a hole in their routers for it.
    pub(crate) punched: bool,
    pub(crate) rtt: Option<Duration>,
    pub(crate) since: Instant,
}

impl ConnectionInfo {
    fn is_relayed(&self) -> bool {
        p2p_transport::path_kind(&self.address) == PathKind::Relayed
    }
}

/// Whether it is being found out how the router treats this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measuring {
    /// There is nothing more to find out.
    pub(super) is_known: bool,
    /// A dial is under way that will tell more.
    pub(super) is_probing: bool,
    /// When a peer last told where it sees this node: that is tested then.
    pub(super) observed: Option<Instant>,
}

/// What the loop last knew. Read by anybody, written by the loop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) listen: Vec<Multiaddr>,
    pub(crate) external: Vec<Multiaddr>,
    pub(crate) connections: HashMap<libp2p::swarm::ConnectionId, ConnectionInfo>,
    pub(crate) agents: HashMap<libp2p::PeerId, String>,
    pub(crate) dht_peers: usize,
    pub(crate) is_server: bool,
    /// What this node put and nobody else finds.
    pub(crate) hidden_values: usize,
    /// A peer at a global address dialled us.
    pub(crate) reached: bool,
    /// Whether others can dial this node; `None` before anything is known.
    pub(crate) reachability: Option<Reachability>,
    /// Where peers that are connected within the local network can be dialled there, without the peer.
    pub(crate) near: HashMap<libp2p::PeerId, Vec<Multiaddr>>,
    /// Whether multicast is asked who is near, and who answered; at most [`MAX_FOUND`].
    pub(crate) mdns: bool,
    pub(crate) mdns_found: HashSet<libp2p::PeerId>,
    /// Neighbours that were dialled where they should be: nobody answered there, or the computer did and no node runs on it.
    pub(crate) silent: HashSet<libp2p::PeerId>,
    pub(crate) refusing: HashSet<libp2p::PeerId>,
    /// At which addresses peers in the world see this node, the newest last.
    pub(crate) seen_as: Vec<IpAddr>,
    /// Relays through which it is reached.
    pub(crate) relays: Vec<libp2p::PeerId>,
    /// What the router does for this node.
    pub(crate) port_mapping: Option<p2p_api::PortMapping>,
    /// How it treats the ports of this node, and how those of connected peers treat theirs, as they tell.
    pub(crate) nat: NatInfo,
    pub(crate) nat_of: HashMap<libp2p::PeerId, NatInfo>,
    pub(crate) counters: Vec<(String, u64)>,
    /// What may grow: its name, what it holds, the most that it will hold.
    pub(crate) rooms: Vec<(&'static str, usize, usize)>,
    /// The same, in bytes.
    pub(crate) byte_rooms: Vec<(&'static str, usize, usize)>,
}

impl Snapshot {
    /// Whether a peer is reached through a relay and in no other way.
    pub(crate) fn is_relayed_only(&self, peer: &libp2p::PeerId) -> bool {
        let mut known = self.connections.values().filter(|known| known.peer == *peer).peekable();
        known.peek().is_some() && known.all(ConnectionInfo::is_relayed)
    }

    /// All of them.
    pub(crate) fn relayed_only(&self) -> HashSet<libp2p::PeerId> {
        let relayed = self.connections.values().filter(|known| known.is_relayed()).map(|known| known.peer);
        relayed.filter(|peer| self.is_relayed_only(peer)).collect()
    }
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Network {
    pub(super) me: PeerId,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) streams: StreamControl,
    pub(super) guard: DialGuard,
    pub(super) proven: ProvenPeers,
    pub(super) trusted: TrustedPeers,
    pub(super) snapshot: Arc<Mutex<Snapshot>>,
    pub(super) dht_peers: watch::Receiver<usize>,
    pub(super) connected: watch::Receiver<u64>,
    pub(super) measuring: watch::Receiver<Measuring>,
    /// Told when a neighbour may be worth remembering, or this computer may be in another network.
    pub(super) near_news: Arc<Notify>,
    /// What is known of remembered neighbours.
    pub(super) near: Arc<Mutex<NearState>>,
}

/// Why a value was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PutError {
    #[error(transparent)]
    Rejected(#[from] Reject),
    #[error("the node is stopping")]
    Stopping,
}

/// Why a message was not published.
#[derive(Debug)]
pub(crate) enum PublishRefused {
    TooLarge,
    /// More bytes than a node may publish.
    Busy,
    /// All who subscribed are slower than what comes.
    QueuesFull,
    Stopping,
    Failed(String),
}

/// The node is stopping.
pub(crate) const STOPPING: &str = "the node is stopping";

impl Network {
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.with_snapshot(|snapshot| snapshot.clone())
    }

    pub(crate) fn with_snapshot<T>(&self, work: impl FnOnce(&mut Snapshot) -> T) -> T {
        work(&mut self.snapshot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has it measured how the router treats this node, where too little is known. It ends when all is, or `timeout` is over.
    pub(crate) async fn measure_router(&self, timeout: Duration) {
        /// An address that was observed is tested within so long.
        const TEST_TIME: Duration = Duration::from_secs(6);
        let known = async {
            let (reply, begun) = oneshot::channel();
            if self.send(Command::ProbeRouter(reply)).await.is_err() || begun.await.is_err() {
                return;
            }
            let mut measuring = self.measuring.clone();
            loop {
                let now = *measuring.borrow_and_update();
                let is_over = match now.observed {
                    _ if now.is_known => return,
                    _ if now.is_probing => measuring.changed().await.is_err(),
                    Some(at) => !matches!(
                        tokio::time::timeout_at((at + TEST_TIME).into(), measuring.changed()).await,
                        Ok(Ok(()))
                    ),
                    None => return,
                };
                if is_over {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(timeout, known).await;
    }

    pub(crate) async fn dial(&self, target: DialTarget) -> Result<(libp2p::PeerId, Multiaddr), String> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Dial { target, reply }).await?;
        answer.await.map_err(|_| STOPPING.to_owned())?
    }

    /// The nodes of contacts: most limits do not hold for them.
    pub(crate) fn trust(&self, contacts: &[PeerId]) {
        self.trusted.set_contacts(contacts.iter().filter_map(libp2p_peer_id));
        self.near_news.notify_one();
    }

    /// A contact has made itself known on the local network.
    pub(crate) async fn on_lan_contact(&self, peer: libp2p::PeerId, addresses: Vec<Multiaddr>) {
        // Nobody waits for it, and it says so again.
        let _ = self.commands.send(Command::LanContact { peer, addresses }).await;
    }

    /// Peers that are connected within the local network.
    pub(crate) fn near_peers(&self) -> BTreeSet<PeerId> {
        let near = |c: &&ConnectionInfo| p2p_transport::path_kind(&c.address) == PathKind::Lan;
        self.with_snapshot(|snapshot| {
            snapshot.connections.values().filter(near).filter_map(|c| our_peer_id(&c.peer)).collect()
        })
    }

    /// This computer is in another network: who did not answer in the last one says nothing of this one.
    pub(super) fn on_other_network(&self) {
        self.with_snapshot(|snapshot| {
            snapshot.silent.clear();
            snapshot.refusing.clear();
        });
    }

    /// What is known of remembered neighbours.
    pub(crate) fn near_state(&self) -> NearState {
        self.with_near(|near| near.clone())
    }

    pub(super) fn with_near<T>(&self, work: impl FnOnce(&mut NearState) -> T) -> T {
        work(&mut self.near.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a peer is connected.
    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        let peer = libp2p_peer_id(peer);
        self.with_snapshot(|snapshot| snapshot.connections.values().any(|known| Some(known.peer) == peer))
    }

    /// Providers of a key, as they are found.
    pub(crate) fn find_with_addresses(&self, key: [u8; 32]) -> BoxStream<'static, (libp2p::PeerId, Vec<Multiaddr>)> {
        let (found, rx) = mpsc::channel(PROVIDERS_QUEUE);
        let commands = self.commands.clone();
        let start = async move {
            let _ = commands.send(Command::Find { key, found }).await;
            rx
        };
        stream::once(start)
            .flat_map(|rx| stream::unfold(rx, |mut rx| async { rx.recv().await.map(|item| (item, rx)) }))
            .boxed()
    }

    pub(crate) async fn provide(&self, key: [u8; 32]) -> Result<(), String> {
        self.send(Command::Provide(key)).await
    }

    pub(crate) async fn stop_providing(&self, key: [u8; 32]) -> Result<(), String> {
        self.send(Command::StopProviding(key)).await
    }

    /// Values under a key, as they are found; it ends when no more will come. Dropping it ends the lookup.
    pub(crate) async fn get_values(&self, key: Vec<u8>) -> Result<mpsc::Receiver<FoundValue>, String> {
        let (found, rx) = mpsc::channel(VALUES_QUEUE);
        self.send(Command::GetValues { key, found }).await?;
        Ok(rx)
    }

    /// Stores a value here and at the nodes nearest to its key; how many of those gave it back.
    pub(crate) async fn put_value(&self, key: Vec<u8>, value: Vec<u8>) -> Result<usize, PutError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::PutValue { key, value, reply }).await.map_err(|_| PutError::Stopping)?;
        Ok(answer.await.map_err(|_| PutError::Stopping)??)
    }

    /// Opens a stream; by which way it goes, and the stream.
    pub(crate) async fn open_stream(
        &self,
        peer: PeerId,
        protocol: &str,
        timeout: Duration,
    ) -> Result<(p2p_api::PathKind, Box<dyn Duplex>), OpenError> {
        let unknown = |what: &str| OpenError::Unreachable(format!("{what} is not what it should be"));
        let peer = libp2p_peer_id(&peer).ok_or_else(|| unknown("the peer id"))?;
        let protocol = StreamProtocol::try_from_owned(protocol.to_owned()).map_err(|_| unknown("the protocol"))?;
        self.guard.need(peer);
        let opened = self.streams.open(peer, protocol, Preference::Any, timeout).await?;
        Ok((crate::local::path_kind(opened.path), Box::new(opened.stream.compat())))
    }

    /// Measures round trips on the best connection to a peer, one after the other; over which connection, and how long each
    /// took.
    pub(crate) async fn measure(
        &self,
        peer: libp2p::PeerId,
        timeout: Duration,
    ) -> Result<(Option<ConnectionInfo>, Vec<Duration>), OpenError> {
        self.guard.want(peer);
        let deadline = tokio::time::Instant::now() + timeout;
        let mut trips = Vec::with_capacity(PINGS);
        let mut preference = Preference::Any;
        // A stream for each: over QUIC the library answers a second echo on one only when something else wakes it. The first
        // tells the connection, and is not counted.
        loop {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            let begun = Instant::now();
            let opened = self.streams.open(peer, libp2p::ping::PROTOCOL_NAME, preference, left).await?;
            let echo = tokio::time::timeout_at(deadline, echo(opened.stream.compat())).await;
            echo.map_err(|_| OpenError::TimedOut(timeout))?.map_err(|error| OpenError::Broken(error.to_string()))?;
            if matches!(preference, Preference::Connection(_)) {
                trips.push(begun.elapsed());
            }
            preference = Preference::Connection(opened.connection);
            if trips.len() >= PINGS {
                let connection = self.with_snapshot(|snapshot| snapshot.connections.get(&opened.connection).cloned());
                return Ok((connection, trips));
            }
        }
    }

    /// Accepts a protocol of apps until the receiver is dropped.
    pub(crate) async fn accept_streams(&self, protocol: &str) -> Result<mpsc::Receiver<IncomingStream>, AcceptError> {
        let protocol = StreamProtocol::try_from_owned(protocol.to_owned()).map_err(|_| AcceptError::Stopped)?;
        self.streams.accept(protocol, APP_QUEUE).await
    }

    /// Messages of a topic from now on; `None` where there are too many readers.
    pub(crate) async fn subscribe(&self, topic: &str) -> Result<Option<mpsc::Receiver<TopicMessage>>, String> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Subscribe { topic: topic.to_owned(), reply }).await?;
        answer.await.map_err(|_| STOPPING.to_owned())
    }

    /// Sends a message to subscribers; to how many connected ones.
    pub(crate) async fn publish_message(&self, topic: &str, data: Bytes) -> Result<usize, PublishRefused> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Publish { topic: topic.to_owned(), data, reply };
        self.send(command).await.map_err(|_| PublishRefused::Stopping)?;
        answer.await.unwrap_or(Err(PublishRefused::Stopping))
    }

    /// Announcements of a topic from now on; each has to be judged with [`Self::judged`], or nobody behind this node gets it.
    pub(crate) async fn judge_topic(&self, topic: &str) -> Result<mpsc::Receiver<Announcement>, String> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::JudgeTopic { topic: topic.to_owned(), reply }).await?;
        answer.await.map_err(|_| STOPPING.to_owned())
    }

    /// Has an announcement passed on, or forgotten.
    pub(crate) async fn judged(&self, judged: Judged) {
        let _ = self.send(Command::Judged(judged)).await;
    }

    /// Announces something to everybody; whether anybody is there does not matter.
    pub(crate) async fn announce(&self, topic: &str, data: Bytes) {
        let _ = self.send(Command::Announce { topic: topic.to_owned(), data }).await;
    }

    /// Closes every connection to a peer.
    pub(crate) async fn disconnect(&self, peer: libp2p::PeerId) {
        let _ = self.send(Command::Disconnect(peer)).await;
    }

    /// Peers to which this node has opened a connection.
    pub(crate) fn dialled_peers(&self) -> HashSet<libp2p::PeerId> {
        self.with_snapshot(|snapshot| {
            snapshot.connections.values().filter(|known| known.outbound).map(|known| known.peer).collect()
        })
    }

    /// Changes with every connection that opens or closes.
    pub(crate) fn connections(&self) -> watch::Receiver<u64> {
        self.connected.clone()
    }

    /// How many peers are in the DHT's table, and when that changes.
    pub(crate) fn dht_peers(&self) -> watch::Receiver<usize> {
        self.dht_peers.clone()
    }

    /// Whether the DHT can tell anything: somebody is in its table, and somebody is connected. Those in the table may all
    /// be gone.
    pub(crate) fn reaches_others(&self) -> bool {
        *self.dht_peers.borrow() > 0 && !self.snapshot().connections.is_empty()
    }

    async fn send(&self, command: Command) -> Result<(), String> {
        self.commands.send(command).await.map_err(|_| STOPPING.to_owned())
    }
}

/// Asks for one echo.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    let mut sent = [0; PING_BYTES];
    getrandom::fill(&mut sent).map_err(std::io::Error::other)?;
    stream.write_all(&sent).await?;
    stream.flush().await?;
    let mut echo = [0; PING_BYTES];
    stream.read_exact(&mut echo).await?;
    if echo != sent {
        return Err(std::io::Error::other("the peer sent something else back"));
    }
    let _ = stream.shutdown().await;
    Ok(())
}

/// A stream as drives want it.
pub(crate) fn peer_stream(stream: p2p_transport::ByteStream) -> PeerStream {
    Box::new(stream.compat())
}

#[async_trait]
impl Dialer for Network {
    async fn open(&self, peer: PeerId) -> Result<PeerStream, DialError> {
        let peer = libp2p_peer_id(&peer).ok_or_else(|| DialError("not a peer id".into()))?;
        let protocol = StreamProtocol::new(p2p_drives::wire::PROTOCOL);
        self.guard.need(peer);
        let opened = self.streams.open(peer, protocol, Preference::Bulk, OPEN_TIMEOUT).await;
        opened.map(|opened| peer_stream(opened.stream)).map_err(|error| DialError(error.to_string()))
    }

    async fn remember(&self, address: PeerAddr) {
        if let (Some(peer), Ok(multiaddr)) = (libp2p_peer_id(&address.peer), address.to_multiaddr_string().parse()) {
            self.guard.give(&multiaddr);
            if p2p_transport::scope(&multiaddr) == AddressScope::Local {
                self.with_near(|near| near.linked = near.linked.saturating_add(1));
            }
            let _ = self.streams.add_address(peer, multiaddr).await;
        }
    }

    async fn remember_through(&self, relay: PeerAddr, peer: PeerId) {
        let through = relay.to_multiaddr_string().parse::<Multiaddr>().ok();
        if let (Some(peer), Some(through)) = (libp2p_peer_id(&peer), through) {
            self.guard.give(&through);
            let address = through.with(Protocol::P2pCircuit).with(Protocol::P2p(peer));
            let _ = self.streams.add_address(peer, address).await;
        }
    }

    fn own_relay(&self) -> Option<PeerAddr> {
        let snapshot = self.snapshot();
        relay_for_links(&snapshot.external).filter(|_| snapshot.reachability != Some(Reachability::Public))
    }

    fn own_addresses(&self) -> Vec<PeerAddr> {
        let snapshot = self.snapshot();
        let mut addresses = snapshot.external;
        addresses.extend(snapshot.listen);
        for_links(self.me, &addresses)
    }

    fn on_proven(&self, peer: PeerId) {
        if let Some(peer) = libp2p_peer_id(&peer) {
            self.proven.prove(peer);
            self.near_news.notify_one();
        }
    }
}

#[async_trait]
impl Providers for Network {
    fn find(&self, topic: [u8; 32]) -> BoxStream<'static, PeerId> {
        self.find_with_addresses(topic).filter_map(|(peer, _)| async move { our_peer_id(&peer) }).boxed()
    }

    async fn announce(&self, topic: [u8; 32]) {
        let _ = self.provide(topic).await;
    }

    async fn withdraw(&self, topic: [u8; 32]) {
        let _ = self.stop_providing(topic).await;
    }

    fn neighbours(&self) -> Vec<PeerId> {
        self.near_peers().into_iter().collect()
    }
}
