//! This computer moves to another network, or another peer does (overlay.md, 8.8). The addresses we listen on follow the
//! interfaces, so a change of theirs is what tells.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use p2p_transport::{
    AddressScope, OpenError, PathKind, Preference, StreamControl, ip_of, path_kind, remote_address, scope,
};
use tokio::sync::mpsc;

use super::super::handle::ConnectionInfo;
use super::Actor;

/// When peers and relays are dialled after a change, counted from it: the route often comes a little after the address.
const AGAIN: [Duration; 7] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(600),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// Peers whose connection was lost by a change, to be dialled again.
const MAX_LOST: usize = 32;
/// How long an old connection has to prove that it lives, once its peer has come on a new one.
const PROOF_TIME: Duration = Duration::from_secs(2);
/// The same, at least, of a direct connection whose peer came through a relay: who has one hardly calls over a relay, so on the
/// other side it is probably gone. Three round trips where these take longer.
const PROOF_TIME_RELAYED: Duration = Duration::from_millis(500);
/// Connections found dead that wait for the loop.
pub(super) const DEAD: usize = 32;
/// Old connections that are being proved at a time.
const MAX_PROOFS: usize = 64;

/// What is known of where this computer is.
pub(super) struct Moving {
    /// The addresses of its interfaces, loopback left out.
    own: HashSet<IpAddr>,
    /// The address of ours at which each connection ends; `None` where it cannot be told.
    ends: HashMap<ConnectionId, Option<IpAddr>>,
    /// Peers to be dialled again.
    lost: VecDeque<PeerId>,
    changed: Option<(Instant, usize)>,
    /// Before the first addresses are known nothing is a change.
    is_settled: bool,
    changes: u64,
    streams: StreamControl,
    dead: mpsc::Sender<ConnectionId>,
    proofs: std::sync::Arc<tokio::sync::Semaphore>,
}

impl Moving {
    pub(super) fn new(streams: StreamControl, dead: mpsc::Sender<ConnectionId>) -> Self {
        Self {
            own: HashSet::new(),
            ends: HashMap::new(),
            lost: VecDeque::new(),
            changed: None,
            is_settled: false,
            changes: 0,
            streams,
            dead,
            proofs: std::sync::Arc::new(tokio::sync::Semaphore::new(MAX_PROOFS)),
        }
    }

    /// The addresses so far are where it began.
    pub(super) fn settle(&mut self) {
        self.is_settled = true;
    }

    /// When there is something to do.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.changed.and_then(|(at, tries)| AGAIN.get(tries).map(|wait| at + *wait))
    }

    /// Changes of the network so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    fn on_lost_peer(&mut self, peer: PeerId) {
        if !self.lost.contains(&peer) {
            self.lost.truncate(MAX_LOST - 1);
            self.lost.push_front(peer);
        }
    }
}

impl Actor {
    /// An address to listen on came or went.
    pub(super) fn on_own_address(&mut self, address: &Multiaddr) {
        let Some(ip) = own_ip(address) else { return };
        let is_there = self.swarm.listeners().any(|own| own_ip(own) == Some(ip));
        let is_new = if is_there { self.moving.own.insert(ip) } else { self.moving.own.remove(&ip) };
        if is_new && self.moving.is_settled {
            self.on_moved((!is_there).then_some(ip));
        }
    }

    fn on_moved(&mut self, lost: Option<IpAddr>) {
        tracing::info!(address_lost = lost.is_some(), "the network changed");
        self.moving.changes += 1;
        self.moving.changed = Some((Instant::now(), 0));
        self.event_of_network();
        let Some(lost) = lost else { return };
        // Nothing comes on them any more, and nobody would notice for half a minute.
        let over = |end: &Option<IpAddr>| end.is_none_or(|end| end == lost);
        let dead: Vec<ConnectionId> = self.moving.ends.iter().filter(|(_, end)| over(end)).map(|(id, _)| *id).collect();
        for id in dead {
            if let Some(peer) = self.with_snapshot(|snapshot| snapshot.connections.get(&id).map(|c| c.peer)) {
                self.moving.on_lost_peer(peer);
            }
            self.swarm.close_connection(id);
        }
        self.with_snapshot(|snapshot| snapshot.reached = false);
        // What was tested was tested where this computer is no more.
        let own = self.moving.own.clone();
        let is_elsewhere = |address: &&Multiaddr| {
            path_kind(address) != PathKind::Relayed && !own_ip(address).is_none_or(|ip| own.contains(&ip))
        };
        let gone: Vec<Multiaddr> = self.swarm.external_addresses().filter(is_elsewhere).cloned().collect();
        for address in gone {
            self.swarm.remove_external_address(&address);
        }
        self.relays.on_moved();
    }

    /// Dials again what was lost, a few times.
    pub(super) fn on_moving_time(&mut self) {
        let Some((_, tries)) = &mut self.moving.changed else { return };
        let is_first = *tries == 0;
        *tries += 1;
        let is_last = *tries >= AGAIN.len();
        if is_first {
            let listening: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
            self.mappings.forget();
            self.measured.forget();
            self.guard.forget_dialled();
            self.swarm.behaviour_mut().transport.on_network_change(&listening);
        }
        self.relays.on_moved_try();
        if is_last {
            // Who was lost did not come back: others may be reached from here.
            self.remembered.begin_again();
            self.dial_remembered();
        }
        // A dial of before may go where no route leads any more, and would take seconds to find out.
        self.dial_bootstrap(PeerCondition::Disconnected);
        self.keep_relays();
        for peer in self.moving.lost.clone() {
            self.dial_lost(peer);
        }
        if is_last {
            self.moving.lost.clear();
            self.moving.changed = None;
        }
        self.refresh();
    }

    /// Dials a peer where it was, and over the relays that are connected: the hole to where it was is closed, and to find
    /// that out takes seconds.
    fn dial_lost(&mut self, peer: PeerId) {
        if self.swarm.is_connected(&peer) {
            return;
        }
        self.guard.want(peer);
        let _ = self.swarm.dial(peer);
        let addresses = self.circuits_to(peer);
        if !addresses.is_empty() {
            let opts = DialOpts::peer_id(peer).condition(PeerCondition::Disconnected).addresses(addresses).build();
            let _ = self.swarm.dial(opts);
        }
    }

    /// Notes where a connection ends here, and doubts the older ones of its peer.
    pub(super) fn on_new_end(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let address = remote_address(endpoint, peer);
        if let Some(end) = end_of(endpoint, &address) {
            self.moving.ends.insert(id, end);
        }
        let is_relayed = |address: &Multiaddr| path_kind(address) == PathKind::Relayed;
        let came_relayed = is_relayed(&address);
        let old: Vec<(ConnectionId, Duration)> = self.with_snapshot(|snapshot| {
            let others = snapshot.connections.iter().filter(|(other, known)| **other != id && known.peer == peer);
            // The direct one beside a relayed one is what everybody hopes for, and who is called over a relay a second time only
            // tries another hole.
            let has_called = came_relayed && endpoint.is_dialer();
            let doubted = others.filter(|(_, known)| has_called || !is_relayed(&known.address));
            let time = |known: &ConnectionInfo| match came_relayed && !is_relayed(&known.address) {
                true => PROOF_TIME.min(PROOF_TIME_RELAYED.max(known.rtt.unwrap_or_default() * 3)),
                false => PROOF_TIME,
            };
            doubted.map(|(other, known)| (*other, time(known))).collect()
        });
        for (connection, time) in old {
            // Enough are being proved: the others are found out by their silence.
            let Ok(permit) = self.moving.proofs.clone().try_acquire_owned() else { return };
            let (streams, dead) = (self.moving.streams.clone(), self.moving.dead.clone());
            tokio::spawn(async move {
                let proof = tokio::time::timeout(time, lives(&streams, peer, connection, time)).await;
                if !proof.unwrap_or(false) {
                    // A loop that is busy with others finds this one out by its silence.
                    let _ = dead.try_send(connection);
                }
                drop(permit);
            });
        }
    }

    /// A connection whose peer came on another one, and which said nothing any more.
    pub(super) fn on_dead_connection(&mut self, id: ConnectionId) {
        tracing::debug!(connection = %id, "closed: its peer came on a new one, and this one is silent");
        self.swarm.close_connection(id);
    }

    pub(super) fn on_end_closed(&mut self, id: ConnectionId) {
        self.moving.ends.remove(&id);
    }

    fn event_of_network(&self) {
        self.events.push("network", "network.changed", serde_json::Value::Null);
    }
}

/// Whether the other side still says anything on a connection. Only silence is none: a refusal, or a ping that another one
/// pushed aside, is an answer too, and what is really gone is closed without us.
async fn lives(streams: &StreamControl, peer: PeerId, connection: ConnectionId, time: Duration) -> bool {
    let ping = StreamProtocol::new("/ipfs/ping/1.0.0");
    let mut opened = match streams.open(peer, ping, Preference::Connection(connection), time).await {
        Ok(opened) => opened.stream,
        Err(error) => return !matches!(error, OpenError::TimedOut(_)),
    };
    let mut ball = [0; 32];
    if opened.write_all(&ball).await.is_ok() && opened.flush().await.is_ok() {
        let _ = opened.read_exact(&mut ball).await;
    }
    true
}

/// The address of an interface, if it is one that can change.
fn own_ip(address: &Multiaddr) -> Option<IpAddr> {
    if path_kind(address) == PathKind::Relayed || scope(address) == AddressScope::Loopback {
        return None;
    }
    ip_of(address)
}

/// Where a connection ends on this computer: outside `None` for one that no change of interfaces touches (loopback, memory, and
/// relayed ones, which end with that to their relay); inside `None` where it cannot be told.
fn end_of(endpoint: &ConnectedPoint, remote: &Multiaddr) -> Option<Option<IpAddr>> {
    if path_kind(remote) == PathKind::Relayed || scope(remote) == AddressScope::Loopback {
        return None;
    }
    // QUIC takes everything in at one socket, and does not say at which of its addresses.
    let end = match endpoint {
        ConnectedPoint::Listener { local_addr, .. } => ip_of(local_addr).filter(|end| !end.is_unspecified()),
        ConnectedPoint::Dialer { .. } => None,
    };
    Some(end.or_else(|| ip_of(remote).and_then(leads_from)))
}

/// From which address of ours the way to `remote` leads. No packet is sent.
fn leads_from(remote: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr = match remote {
        IpAddr::V4(_) => "0.0.0.0:0".parse().ok()?,
        IpAddr::V6(_) => "[::]:0".parse().ok()?,
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect((remote, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_interfaces_that_can_change_count() {
        let seen = |text: &str| own_ip(&text.parse().expect("a multiaddr")).map(|ip| ip.to_string());
        assert_eq!(seen("/ip4/192.168.1.2/tcp/1"), Some("192.168.1.2".into()));
        assert_eq!(seen("/ip6/fd00::2/udp/1/quic-v1"), Some("fd00::2".into()));
        let relay = PeerId::random();
        for none in ["/ip4/127.0.0.1/tcp/1", "/memory/1", &format!("/ip4/9.9.9.9/tcp/1/p2p/{relay}/p2p-circuit")] {
            assert_eq!(seen(none), None, "{none}");
        }
    }

    #[test]
    fn where_a_connection_ends_is_known() {
        let listener = |local: &str, remote: &str| ConnectedPoint::Listener {
            local_addr: local.parse().expect("a multiaddr"),
            send_back_addr: remote.parse().expect("a multiaddr"),
        };
        let end_of = |endpoint: &ConnectedPoint| end_of(endpoint, &remote_address(endpoint, PeerId::random()));
        let home = listener("/ip4/192.168.1.2/tcp/1", "/ip4/9.9.9.9/tcp/5");
        let relayed = format!("/ip4/9.9.9.9/tcp/1/p2p/{}/p2p-circuit", PeerId::random());
        assert_eq!(end_of(&listener(&relayed, "/p2p-circuit")), None);
        assert_eq!(end_of(&home), Some(Some("192.168.1.2".parse().expect("an address"))));
        assert_eq!(end_of(&listener("/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/5")), None);
        let anywhere = end_of(&listener("/ip4/0.0.0.0/udp/1/quic-v1", "/ip4/9.9.9.9/udp/5/quic-v1"));
        assert_eq!(anywhere, Some(leads_from("9.9.9.9".parse().expect("an address"))), "where the way leads from");
        assert_eq!(leads_from("127.0.0.1".parse().expect("an address")), "127.0.0.1".parse().ok());
    }
}
