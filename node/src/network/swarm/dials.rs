//! Dials that somebody waits for: at an address, or to a peer, whom the DHT is asked for where it is not known or not reached
//! where it was.

use std::collections::HashMap;

use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId};
use p2p_dht::QueryNumber;
use p2p_transport::{other_peer, path_kind, transport_kind};
use tokio::sync::oneshot;

use super::super::handle::DialTarget;
use super::Actor;

/// Who waits for a dial.
type DialReply = oneshot::Sender<Result<(PeerId, Multiaddr), String>>;

/// Who waits for what; as many as the API lets ask.
#[derive(Default)]
pub(super) struct Dials {
    dialling: HashMap<ConnectionId, Dialling>,
    looked_up: HashMap<QueryNumber, LookedUp>,
}

struct Dialling {
    reply: DialReply,
    /// Whom the DHT may still be asked for.
    peer: Option<PeerId>,
}

struct LookedUp {
    reply: DialReply,
    peer: PeerId,
    /// Why it was not reached without the DHT.
    reason: String,
}

impl Dials {
    /// Nobody waits for these any more.
    pub(super) fn drop_abandoned(&mut self) {
        self.dialling.retain(|_, dialling| !dialling.reply.is_closed());
        self.looked_up.retain(|_, looked_up| !looked_up.reply.is_closed());
    }

    pub(super) fn on_connected(&mut self, id: ConnectionId, peer: PeerId, address: &Multiaddr) {
        if let Some(dialling) = self.dialling.remove(&id) {
            let _ = dialling.reply.send(Ok((peer, address.clone())));
        }
        // The DHT asks the peer itself once it knows it: nobody has to wait until it has asked all the others.
        for (_, found) in self.looked_up.extract_if(|_, looked_up| looked_up.peer == peer) {
            let _ = found.reply.send(Ok((peer, address.clone())));
        }
    }
}

impl Actor {
    pub(super) fn dial(&mut self, target: DialTarget, reply: DialReply) {
        match target {
            DialTarget::Address(address) => {
                self.guard.give(&address);
                if let Some(Protocol::P2p(peer)) = address.iter().last() {
                    self.guard.want(peer);
                    self.swarm.behaviour_mut().transport.streams.book_mut().add(peer, address.clone());
                }
                self.dial_for(reply, address.into(), None);
            }
            DialTarget::Peer(peer) => {
                self.guard.want(peer);
                if let Some(address) = self.best_address(peer) {
                    let _ = reply.send(Ok((peer, address)));
                    return;
                }
                // Also while somebody else is dialling it: whoever asked waits for a connection, not for a turn.
                let opts = DialOpts::peer_id(peer).condition(PeerCondition::Disconnected).build();
                self.dial_for(reply, opts, Some(peer));
            }
        }
    }

    fn dial_for(&mut self, reply: DialReply, opts: DialOpts, peer: Option<PeerId>) {
        let id = opts.connection_id();
        // Where it fails at once there is no event.
        let dialled = self.swarm.dial(opts);
        self.dials.dialling.insert(id, Dialling { reply, peer });
        if let Err(error) = dialled {
            self.on_dial_failed(id, &error);
        }
    }

    /// A dial did not come through. Where nobody waits for it that is no matter.
    pub(super) fn on_dial_failed(&mut self, id: ConnectionId, error: &DialError) {
        let Some(Dialling { reply, peer }) = self.dials.dialling.remove(&id) else { return };
        // The library's own words go on for lines.
        let reason = match (other_peer(error), error) {
            (Some(other), _) if other == *self.swarm.local_peer_id() => "this node itself is there".to_owned(),
            (Some(other), DialError::Transport(tried)) if tried.len() > 1 => {
                format!(
                    "{} addresses of it tried: at one is another node, {other}, and nobody at the rest",
                    tried.len()
                )
            }
            (Some(other), _) => format!("another node is there: {other}"),
            (None, DialError::LocalPeerId { .. }) => "this node itself is there".to_owned(),
            (None, DialError::NoAddresses) => "no address of it is known".to_owned(),
            (None, DialError::Transport(tried)) if tried.len() == 1 => "nobody answers there".to_owned(),
            (None, DialError::Transport(tried)) => format!("{} addresses of it tried, none answered", tried.len()),
            (None, other) => other.to_string(),
        };
        let Some(peer) = peer else {
            let _ = reply.send(Err(reason));
            return;
        };
        let query = self.swarm.behaviour_mut().dht.find_peer(peer);
        self.dials.looked_up.insert(query, LookedUp { reply, peer, reason });
    }

    /// What the DHT knows of a peer that somebody waits for.
    pub(super) fn on_peer_found(&mut self, query: QueryNumber, addresses: Vec<Multiaddr>) {
        let Some(LookedUp { reply, peer, reason }) = self.dials.looked_up.remove(&query) else { return };
        if let Some(address) = self.best_address(peer) {
            let _ = reply.send(Ok((peer, address)));
            return;
        }
        // Who cannot be dialled is in nobody's table, but may have a place at a relay that is connected.
        let addresses: Vec<Multiaddr> = addresses.into_iter().chain(self.circuits_to(peer)).collect();
        if addresses.is_empty() {
            let _ = reply.send(Err(format!("{reason}, and the DHT does not know it")));
            return;
        }
        let opts = DialOpts::peer_id(peer).condition(PeerCondition::Disconnected).addresses(addresses).build();
        self.dial_for(reply, opts, None);
    }

    /// Where a connected peer is, by the best of the connections to it.
    fn best_address(&self, peer: PeerId) -> Option<Multiaddr> {
        self.with_snapshot(|snapshot| {
            let known = snapshot.connections.values().filter(|connection| connection.peer == peer);
            let best = known.min_by_key(|known| (path_kind(&known.address), transport_kind(&known.address)));
            best.map(|connection| connection.address.clone())
        })
    }
}
