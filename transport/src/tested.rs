//! Having others dial our addresses (AutoNAT v2), anew after this computer moved: what was found out about an address in one
//! network says nothing in the next, and the library tests an address once.
//!
//! The library remembers every address that a peer says to have seen, for good, and looks for untested ones by the clock. Here
//! both have an end: a stranger cannot fill the memory, and a node that has nothing to test sleeps.

use std::collections::HashSet;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::autonat::v2::client;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NewExternalAddrCandidate, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

/// How soon an address is tested after somebody has seen it. Until then a peer behind a router of another kind stays on a relay;
/// the library's five seconds are longer than most clones take.
const TEST_EVERY: Duration = Duration::from_secs(1);
/// Addresses that are tested in one network. A node has few; more would be somebody's invention.
const MAX_CANDIDATES: usize = 64;

/// The library's client, which can be begun again.
pub struct Tested {
    inner: client::Behaviour,
    /// Connections that the present client has heard of; it trusts to hear of no other.
    known: HashSet<ConnectionId>,
    /// Addresses that it was told of, and those of them that nobody has tested yet.
    candidates: HashSet<Multiaddr>,
    untested: HashSet<Multiaddr>,
    /// Something happened that it has not been asked about.
    is_news: bool,
}

impl Default for Tested {
    fn default() -> Self {
        let config = client::Config::default().with_probe_interval(TEST_EVERY);
        Self {
            inner: client::Behaviour::new(rand::make_rng(), config),
            known: HashSet::new(),
            candidates: HashSet::new(),
            untested: HashSet::new(),
            is_news: true,
        }
    }
}

impl Tested {
    /// Has an address tested that nobody has seen yet.
    pub fn test(&mut self, addr: &Multiaddr) {
        self.on_swarm_event(FromSwarm::NewExternalAddrCandidate(NewExternalAddrCandidate { addr }));
    }

    /// Whether the address is one to test; false once there are too many.
    fn admit(&mut self, address: &Multiaddr) -> bool {
        if self.candidates.contains(address) {
            return true;
        }
        if self.candidates.len() >= MAX_CANDIDATES {
            return false;
        }
        self.candidates.insert(address.clone());
        self.untested.insert(address.clone());
        true
    }

    /// Forgets what was found out. Connections of before are asked nothing any more.
    pub fn restart(&mut self) {
        *self = Self::default();
    }
}

impl NetworkBehaviour for Tested {
    type ConnectionHandler = <client::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = client::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionEstablished(established) => drop(self.known.insert(established.connection_id)),
            FromSwarm::ConnectionClosed(closed) if !self.known.remove(&closed.connection_id) => return,
            FromSwarm::NewExternalAddrCandidate(candidate) if !self.admit(candidate.addr) => return,
            _ => {}
        }
        self.is_news = true;
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        // A dial-back names its test itself, and comes on a connection of its own.
        if self.known.contains(&id) || event.is_right() {
            self.is_news = true;
            self.inner.on_connection_handler_event(peer, id, event);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // Its clock is wound up only while there is something to test.
        if !self.is_news && self.untested.is_empty() {
            return Poll::Pending;
        }
        let polled = self.inner.poll(cx);
        match &polled {
            Poll::Ready(ToSwarm::GenerateEvent(event)) => drop(self.untested.remove(&event.tested_addr)),
            Poll::Ready(_) => {}
            Poll::Pending => self.is_news = false,
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker_ref;

    use super::*;

    fn address(n: usize) -> Multiaddr {
        format!("/ip4/9.9.{}.{}/tcp/1", n / 256, n % 256).parse().expect("a multiaddr")
    }

    #[tokio::test]
    async fn a_stranger_s_inventions_are_few_and_a_restart_forgets_them() {
        let mut tested = Tested::default();
        (0..1_000).for_each(|n| tested.test(&address(n)));
        assert_eq!((tested.candidates.len(), tested.untested.len()), (MAX_CANDIDATES, MAX_CANDIDATES));
        tested.restart();
        assert!(tested.candidates.is_empty());
    }

    #[tokio::test]
    async fn who_has_nothing_to_test_is_not_woken() {
        let mut tested = Tested::default();
        let mut cx = Context::from_waker(noop_waker_ref());
        assert!(tested.poll(&mut cx).is_pending() && !tested.is_news);
        tested.test(&address(1));
        assert!(tested.is_news);
        assert!(tested.poll(&mut cx).is_pending());
        assert!(!tested.is_news && !tested.untested.is_empty(), "it goes on by the clock");
    }
}
