//! Holes that two sides make in their routers at the same moment (DCUtR), so that a direct connection comes beside a relayed one
//! (overlay.md, 8.3 and 8.4).
//!
//! The library tries it when a relayed connection begins, on the side that was called, with the addresses that both knew of
//! themselves by then. So where more is known now, or it failed, the peer is called once more over the relay: with other
//! addresses, and where it had called, with the roles swapped.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, dcutr};
use p2p_transport::{AddressScope, PathKind, path_kind, scope};

use super::Actor;

/// Circuits over which a peer is called to try a hole again.
const MAX_CIRCUITS: usize = 2;
/// Between two calls to everybody who is reached through a relay only.
const CALL_ALL_EVERY: Duration = Duration::from_secs(60);

/// Whom to call again, and when.
#[derive(Default)]
pub(super) struct Holes {
    /// Peers that were called again after a hole had failed, while they are connected.
    called_again: HashSet<PeerId>,
    /// When all were called because more was known of this node.
    all_called: Option<Instant>,
}

impl Holes {
    /// A peer is gone.
    pub(super) fn on_disconnected(&mut self, peer: &PeerId) {
        self.called_again.remove(peer);
    }

    /// Whether a peer with whom it failed may be called again: once, however often it fails.
    fn may_call_again(&mut self, peer: PeerId) -> bool {
        self.called_again.insert(peer)
    }

    /// Whether everybody may be called again: what makes it happen is said by peers, who may say something else each time.
    fn may_call_all(&mut self, now: Instant) -> bool {
        let is_due = self.all_called.is_none_or(|at| now.duration_since(at) >= CALL_ALL_EVERY);
        if is_due {
            self.all_called = Some(now);
        }
        is_due
    }
}

impl Actor {
    /// A relayed connection got a direct one beside it, or not.
    pub(super) fn on_punched(&mut self, event: &dcutr::Event) {
        let peer = event.remote_peer_id;
        match &event.result {
            Ok(id) => {
                self.with_snapshot(|snapshot| {
                    if let Some(connection) = snapshot.connections.get_mut(id) {
                        connection.punched = true;
                    }
                });
                self.event("peer.direct", &peer, serde_json::Value::Null);
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "no direct connection");
                let is_relayed_only = self.with_snapshot(|snapshot| snapshot.is_relayed_only(&peer));
                if is_relayed_only && self.holes.may_call_again(peer) {
                    self.call_again(peer);
                }
            }
        }
    }

    /// Another address of this node is known, with which a hole may be made.
    pub(super) fn on_new_candidate(&mut self) {
        let relayed = self.with_snapshot(|snapshot| snapshot.relayed_only());
        if !relayed.is_empty() && self.holes.may_call_all(Instant::now()) {
            relayed.into_iter().for_each(|peer| self.call_again(peer));
        }
    }

    fn call_again(&mut self, peer: PeerId) {
        let known = self.swarm.behaviour().transport.streams.book().of(&peer);
        let circuits = known.iter().filter(|address| path_kind(address) == PathKind::Relayed).cloned();
        let circuits: Vec<Multiaddr> = circuits.take(MAX_CIRCUITS).collect();
        if !circuits.is_empty() {
            let opts = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(circuits).build();
            let dialled = self.swarm.dial(opts);
            tracing::debug!(%peer, ?dialled, "a hole is tried once more");
        }
    }

    /// An address in the world was found to lead here: those who meet this node over a relay need no hole.
    pub(super) fn tell_relayed(&mut self, address: &Multiaddr) {
        if scope(address) != AddressScope::Global || path_kind(address) == PathKind::Relayed {
            return;
        }
        let relayed: HashSet<PeerId> = self.with_snapshot(|snapshot| {
            let relayed = snapshot.connections.values().filter(|known| path_kind(&known.address) == PathKind::Relayed);
            relayed.map(|connection| connection.peer).collect()
        });
        self.swarm.behaviour_mut().transport.tell_addresses(relayed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_say_makes_nobody_call_all_the_time() {
        let (mut holes, now, peer) = (Holes::default(), Instant::now(), PeerId::random());
        let calls = (0..100).filter(|n| holes.may_call_all(now + Duration::from_millis(n * 100))).count();
        assert_eq!(calls, 1);
        assert!(holes.may_call_all(now + CALL_ALL_EVERY));
        assert!(holes.may_call_again(peer) && !holes.may_call_again(peer));
        holes.on_disconnected(&peer);
        assert!(holes.may_call_again(peer));
    }
}
