//! Connections as they are shown, and round trips over them.

use std::time::Duration;

use p2p_api::{ApiError, ErrorKind, NatInfo, Outlook, PeerInfo, PeerPath, Ping, Result};
use p2p_identity::PeerId;
use p2p_transport::{OpenError, libp2p_peer_id, our_peer_id, relay_of, transport_kind};

use super::{LocalNode, path_kind};
use crate::network::{ConnectionInfo, Snapshot};

/// Peers that are asked at a time what their routers do.
const MAX_ASKED: usize = 8;
/// How often a connection may break while it is measured.
const TRIES: u32 = 4;
/// Before it is tried again.
const PAUSE: Duration = Duration::from_millis(200);

impl LocalNode {
    /// Connects where that is needed, then measures.
    pub(super) async fn measured(&self, peer: PeerId, timeout: Duration) -> Result<Ping> {
        if peer == self.me {
            return Err(ApiError::invalid(format!("{peer} is this node itself"))
                .with_hint("name another node: p2pnode status there prints its id, p2p peers here who is connected"));
        }
        let id = libp2p_peer_id(&peer).ok_or_else(|| ApiError::invalid(format!("{peer} is not the id of a peer")))?;
        let deadline = tokio::time::Instant::now() + timeout;
        let left = || deadline.saturating_duration_since(tokio::time::Instant::now());
        let mut tries = TRIES;
        let (connection, trips) = loop {
            tries -= 1;
            self.connect(peer, left()).await?;
            match self.network.measure(id, left()).await {
                // Of two that dialled each other one connection may just be closing.
                Err(OpenError::Broken(_)) if tries > 0 => tokio::time::sleep(PAUSE).await,
                measured => break measured.map_err(|error| unmeasured(&peer, &error))?,
            }
        };
        let connection = connection
            .ok_or_else(|| ApiError::new(ErrorKind::NotFound, format!("the connection to {peer} has just ended")))?;
        let way = path(&connection);
        // Only where it goes over the Internet are there routers in between.
        let nat = match way {
            PeerPath::Lan => None,
            _ => crate::nat::ask(&self.network, peer).await,
        };
        let round_trips_ms: Vec<f64> = trips.iter().map(|trip| trip.as_secs_f64() * 1_000.0).collect();
        Ok(Ping {
            peer,
            rtt_ms: round_trips_ms.iter().sum::<f64>() / round_trips_ms.len().max(1) as f64,
            kind: path_kind(p2p_transport::path_kind(&connection.address)),
            path: Some(way),
            relay: relay(&connection, &self.network.snapshot()),
            address: Some(connection.address.to_string()),
            transport: Some(transport_kind(&connection.address).as_str().to_owned()),
            round_trips_ms,
            nat,
            why_relayed: why_relayed(way, &self.network.nat(), nat),
        })
    }

    async fn connect(&self, peer: PeerId, timeout: Duration) -> Result<()> {
        use p2p_api::Contract;
        self.dial(&peer.to_string(), timeout).await.map(drop).map_err(|error| match error.kind {
            ErrorKind::NotFound => error.with_hint(
                "it may be off, or in a network that this node does not reach: p2p doctor says how this one is connected",
            ),
            _ => error,
        })
    }

    /// Has those that are reached through a relay only say what their routers do.
    pub(super) async fn ask_routers(&self) {
        let relayed: Vec<PeerId> =
            self.peer_list().iter().filter(|peer| peer.way() == PeerPath::Relayed).map(|peer| peer.peer).collect();
        let asking = relayed.into_iter().take(MAX_ASKED).map(|peer| crate::nat::ask(&self.network, peer));
        futures::future::join_all(asking).await;
    }

    /// One line per peer: its best connection.
    pub(super) fn peer_list(&self) -> Vec<PeerInfo> {
        let snapshot = self.network.snapshot();
        let mut peers: Vec<PeerInfo> = Vec::new();
        let mut connections: Vec<_> = snapshot.connections.values().collect();
        connections.sort_by_key(|c| (p2p_transport::path_kind(&c.address), transport_kind(&c.address)));
        for connection in connections {
            let Some(peer) = our_peer_id(&connection.peer) else { continue };
            if let Some(known) = peers.iter_mut().find(|known| known.peer == peer) {
                known.connections += 1;
                known.rtt_ms = known.rtt_ms.or(connection.rtt.map(|rtt| rtt.as_secs_f64() * 1_000.0));
                continue;
            }
            peers.push(PeerInfo {
                peer,
                address: connection.address.to_string(),
                kind: path_kind(p2p_transport::path_kind(&connection.address)),
                transport: transport_kind(&connection.address).as_str().to_owned(),
                rtt_ms: connection.rtt.map(|rtt| rtt.as_secs_f64() * 1_000.0),
                agent: snapshot.agents.get(&connection.peer).cloned(),
                outbound: connection.outbound,
                connections: 1,
                path: Some(path(connection)),
                relay: relay(connection, &snapshot),
                nat: snapshot.nat_of.get(&connection.peer).copied(),
                why_relayed: None,
            });
        }
        for peer in &mut peers {
            peer.why_relayed = why_relayed(peer.way(), &snapshot.nat, peer.nat);
        }
        peers.sort_by_key(|peer| peer.peer);
        peers
    }
}

/// Where both routers are known that stand in between.
fn why_relayed(way: PeerPath, ours: &NatInfo, theirs: Option<NatInfo>) -> Option<String> {
    let theirs = theirs.filter(|_| way == PeerPath::Relayed)?;
    Outlook::new(ours, &theirs).why_relayed().map(str::to_owned)
}

fn path(connection: &ConnectionInfo) -> PeerPath {
    match p2p_transport::path_kind(&connection.address) {
        p2p_transport::PathKind::Lan => PeerPath::Lan,
        p2p_transport::PathKind::Direct if connection.punched => PeerPath::Punched,
        p2p_transport::PathKind::Direct => PeerPath::Direct,
        p2p_transport::PathKind::Relayed => PeerPath::Relayed,
    }
}

/// The relay in between. Where the address of who came does not name it, it is who is connected at that address.
fn relay(connection: &ConnectionInfo, snapshot: &Snapshot) -> Option<PeerId> {
    if p2p_transport::path_kind(&connection.address) != p2p_transport::PathKind::Relayed {
        return None;
    }
    let by_address = || {
        let at = connection.address.to_string();
        let at = at.split("/p2p-circuit").next()?;
        let is_there = |other: &&ConnectionInfo| {
            let address = other.address.to_string();
            address == at || address.strip_prefix(at).is_some_and(|rest| rest.starts_with("/p2p/"))
        };
        snapshot.connections.values().find(is_there).map(|other| other.peer)
    };
    our_peer_id(&relay_of(&connection.address).or_else(by_address)?)
}

fn unmeasured(peer: &PeerId, error: &OpenError) -> ApiError {
    let kind = match error {
        OpenError::TimedOut(_) => ErrorKind::TimedOut,
        OpenError::Unsupported(_) => ErrorKind::Unsupported,
        OpenError::Stopped => return ApiError::stopped(),
        _ => ErrorKind::NotFound,
    };
    ApiError::new(kind, format!("no echo from {peer}: {error}"))
}
