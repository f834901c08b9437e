//! Who is in the routing table.

use std::collections::HashSet;
use std::time::Instant;

use libp2p::core::transport::TransportError;
use libp2p::kad::RoutingUpdate;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{DialError, ToSwarm};
use libp2p::{Multiaddr, PeerId};

use super::{Dht, IdentifiedPeer, SMALL_NETWORK};
use crate::Observed;
use crate::admission::{Standing, Verdict};
use crate::point::{common_bits, of_peer};
use crate::store::MAX_ADDRESSES;

/// Whether a dial went out and nobody answered.
pub(super) fn is_silence(error: &DialError) -> bool {
    let DialError::Transport(tried) = error else { return false };
    tried.iter().any(|(_, error)| matches!(error, TransportError::Other(_)))
}

/// How a peer of the table is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// Its connection closed: it may be idle only.
    Closed,
    /// It was dialled, and nobody answered.
    Silent,
}

impl Dht {
    /// Takes in what identify says about a peer. Only servers enter the table.
    pub fn on_identified(&mut self, peer: &IdentifiedPeer) {
        let now = Instant::now();
        if !peer.protocols.contains(&self.protocol) {
            self.forget(&peer.peer);
            self.servers.remove(&peer.peer);
            // It may have been a server a moment ago: two nodes that meet are both islands at first, and if each held the
            // other for a server for good, neither would be one.
            for connection in &peer.global_connections {
                self.rule.on_observed(now, Observed::Closed(*connection));
            }
            self.apply_rule(now);
            return;
        }
        if self.connected_at.contains_key(&peer.peer) {
            self.servers.insert(peer.peer);
        }
        self.admit(peer.peer, &peer.addresses, now);
        for connection in &peer.global_connections {
            self.rule.on_observed(now, Observed::GlobalServer(*connection));
        }
        self.apply_rule(now);
        if self.table_size() <= SMALL_NETWORK {
            self.announcements.on_change(now);
        }
    }

    /// Lets a server into the table, unless too many of its kind are there; false: they are. Where its bucket has no room it
    /// waits for a place.
    fn admit(&mut self, peer: PeerId, addresses: &[Multiaddr], now: Instant) -> bool {
        let table = self.table_peers();
        let bucket = self.bucket_of(&peer);
        let standing = if (self.trusted)(&peer) { Standing::Trusted } else { Standing::Stranger };
        let at = self.connected_at.get(&peer).map_or(&[][..], Vec::as_slice);
        let at = at.iter().map(|(_, at)| at);
        let verdict = self.admission.judge(now, (&peer, standing, bucket), at, &table);
        if verdict == Verdict::Crowded {
            tracing::debug!(%peer, "not let into the table: others of its network are there");
            self.replacements.remove(bucket, &peer);
            return false;
        }
        let named = &addresses[..addresses.len().min(MAX_ADDRESSES)];
        let mut is_in = false;
        for address in named {
            let mut update = self.kad.add_address(&peer, address.clone());
            if update != RoutingUpdate::Success && verdict == Verdict::EntersFirst && self.make_room(bucket, &table) {
                update = self.kad.add_address(&peer, address.clone());
            }
            is_in |= update == RoutingUpdate::Success;
        }
        // Without an address that may be dialled it can never enter.
        match is_in || named.is_empty() {
            true => self.replacements.remove(bucket, &peer),
            false => self.replacements.add(bucket, peer, named.to_vec()),
        }
        // Kademlia writes them with the peer's id behind.
        let named: HashSet<Multiaddr> =
            named.iter().filter_map(|address| address.clone().with_p2p(peer).ok()).collect();
        if !named.is_empty() {
            self.forget_addresses(&peer, |address| !named.contains(address));
        }
        true
    }

    /// The last connection to a peer of the table closed, or nobody answers where it should be. One of those that found no
    /// room is offered a place in its bucket: Kademlia asks whoever was longest away once more before it gives that one's away.
    pub(super) fn on_table_peer_gone(&mut self, peer: &PeerId, gone: Gone) {
        // Where nobody is connected this node itself may be the one that is gone.
        if self.servers.is_empty() || !self.is_in_table(peer) {
            return;
        }
        let bucket = self.bucket_of(peer);
        while let Some((next, addresses)) = self.replacements.take_connected(bucket, |next| self.servers.contains(next))
        {
            if !self.is_in_table(&next) && self.admit(next, &addresses, Instant::now()) {
                return;
            }
        }
        while gone == Gone::Silent
            && let Some((next, addresses)) = self.replacements.take_newest(bucket)
        {
            if !self.is_in_table(&next) {
                let opts = DialOpts::peer_id(next).addresses(addresses).build();
                self.outputs.push_back(ToSwarm::Dial { opts });
                return;
            }
        }
    }

    fn bucket_of(&self, peer: &PeerId) -> u32 {
        common_bits(&of_peer(&self.me), &of_peer(peer))
    }

    fn is_in_table(&mut self, peer: &PeerId) -> bool {
        let bucket = self.kad.kbucket(*peer);
        bucket.is_some_and(|bucket| bucket.iter().any(|entry| entry.node.key.preimage() == peer))
    }

    /// Forgets addresses that a peer of the table no longer names. One that comes back elsewhere again and again, or says so,
    /// would fill its entry without end, and every answer that names it, until that is too long to be sent.
    fn forget_addresses(&mut self, peer: &PeerId, is_old: impl Fn(&Multiaddr) -> bool) {
        let Some(bucket) = self.kad.kbucket(*peer) else { return };
        let entries = bucket.iter().filter(|entry| entry.node.key.preimage() == peer);
        let old: Vec<Multiaddr> =
            entries.flat_map(|entry| entry.node.value.iter()).filter(|address| is_old(address)).cloned().collect();
        for address in old {
            self.kad.remove_address(peer, &address);
        }
    }

    /// Takes a stranger out of a full bucket, one that is not connected if there is one.
    fn make_room(&mut self, bucket: u32, table: &HashSet<PeerId>) -> bool {
        let me = of_peer(&self.me);
        let strangers = table.iter().filter(|peer| common_bits(&me, &of_peer(peer)) == bucket && !(self.trusted)(peer));
        let leaving = strangers.min_by_key(|peer| self.connected_at.contains_key(*peer)).copied();
        leaving.is_some_and(|peer| self.kad.remove_peer(&peer).is_some())
    }

    /// Peers kept out of the table because others of their network are there.
    pub fn kept_out(&self) -> u64 {
        self.admission.refused()
    }

    /// Forgets a peer, e.g. one of another network.
    pub fn forget(&mut self, peer: &PeerId) {
        self.kad.remove_peer(peer);
        self.admission.forget(peer);
        self.replacements.remove(self.bucket_of(peer), peer);
    }

    /// Peers in the routing table.
    pub fn table_size(&mut self) -> usize {
        self.kad.kbuckets().map(|bucket| bucket.num_entries()).sum()
    }

    /// Who is in the routing table.
    pub fn table_peers(&mut self) -> HashSet<PeerId> {
        self.kad
            .kbuckets()
            .flat_map(|bucket| bucket.iter().map(|entry| *entry.node.key.preimage()).collect::<Vec<_>>())
            .collect()
    }

    /// Whether a connected peer said that it answers queries.
    pub fn is_server(&self, peer: &PeerId) -> bool {
        self.servers.contains(peer)
    }

    /// Peers in the routing table with their addresses, at most `max`, to be remembered for the next start.
    pub fn table(&mut self, max: usize) -> Vec<(PeerId, Vec<Multiaddr>)> {
        self.kad
            .kbuckets()
            .flat_map(|bucket| {
                bucket
                    .iter()
                    .map(|entry| (*entry.node.key.preimage(), entry.node.value.iter().cloned().collect()))
                    .collect::<Vec<_>>()
            })
            .take(max)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Poll;
    use std::time::Duration;

    use libp2p::core::transport::PortUse;
    use libp2p::core::{ConnectedPoint, Endpoint};
    use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure};
    use libp2p::swarm::{ConnectionId, FromSwarm, NetworkBehaviour};

    use super::*;
    use crate::behaviour::Event;
    use crate::{Config, MemoryPersist, Mode};

    fn dht(trusted: &[PeerId]) -> Dht {
        let trusted = trusted.to_vec();
        let is_trusted = Arc::new(move |peer: &PeerId| trusted.contains(peer));
        let persist = Box::<MemoryPersist>::default();
        Dht::new(PeerId::random(), "main", &Config::default(), is_trusted, Vec::new(), persist, |_, _| true)
    }

    fn dialled_at(address: &str) -> ConnectedPoint {
        ConnectedPoint::Dialer {
            address: address.parse().expect("an address"),
            role_override: Endpoint::Dialer,
            port_use: PortUse::Reuse,
        }
    }

    /// A server connects from one address and names another as its own.
    fn comes(dht: &mut Dht, peer: PeerId, number: usize, from: &str, named: &str) {
        let endpoint = dialled_at(from);
        dht.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: peer,
            connection_id: ConnectionId::new_unchecked(number),
            endpoint: &endpoint,
            failed_addresses: &[],
            other_established: 0,
        }));
        dht.on_identified(&IdentifiedPeer {
            peer,
            protocols: vec![dht.protocol.clone()],
            addresses: vec![named.parse().expect("an address")],
            global_connections: Vec::new(),
        });
    }

    #[tokio::test]
    async fn fifty_nodes_of_one_network_fill_no_table_whatever_addresses_they_name() {
        let mut dht = dht(&[]);
        for n in 0..50 {
            let (from, named) = (format!("/ip4/9.9.9.{n}/tcp/1"), format!("/ip4/7.{n}.1.1/tcp/1"));
            comes(&mut dht, PeerId::random(), n, &from, &named);
        }
        assert!((2..=3).contains(&dht.table_size()), "{}", dht.table_size());
        assert_eq!(dht.kept_out(), 50 - dht.table_size() as u64);
        let in_a_bucket = dht.kad.kbuckets().map(|bucket| bucket.num_entries()).max();
        assert!(in_a_bucket.is_some_and(|peers| peers <= 2), "{in_a_bucket:?}");
        for n in 50..55 {
            comes(&mut dht, PeerId::random(), n, &format!("/ip4/9.9.{n}.1/tcp/1"), "/ip4/9.9.9.9/tcp/1");
        }
        assert!(dht.table_size() >= 7, "who comes from elsewhere enters");
    }

    #[tokio::test]
    async fn a_peer_that_is_elsewhere_each_time_has_the_addresses_that_it_named_last() {
        let mut dht = dht(&[]);
        let peer = PeerId::random();
        for n in 0..200 {
            comes(
                &mut dht,
                peer,
                n,
                &format!("/ip4/127.0.0.1/tcp/{}", n + 1),
                &format!("/ip4/127.0.0.1/tcp/{}", n + 1_000),
            );
        }
        let last: Multiaddr = format!("/ip4/127.0.0.1/tcp/1199/p2p/{peer}").parse().expect("an address");
        assert_eq!(dht.table(10), [(peer, vec![last])]);
    }

    /// The bucket of half of all peers, full of neighbours, and more of them waiting.
    fn full(dht: &mut Dht) -> Vec<(PeerId, usize)> {
        let far = std::iter::repeat_with(PeerId::random).filter(|peer| dht.bucket_of(peer) == 0);
        let peers: Vec<(PeerId, usize)> = far.take(50).zip(0..).collect();
        for (peer, n) in &peers {
            comes(dht, *peer, *n, HERE, HERE);
        }
        peers
    }

    const HERE: &str = "/ip4/10.0.0.1/tcp/1";

    fn goes(dht: &mut Dht, (peer, number): (PeerId, usize)) {
        let endpoint = dialled_at(HERE);
        dht.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: peer,
            connection_id: ConnectionId::new_unchecked(number),
            endpoint: &endpoint,
            cause: None,
            remaining_established: 0,
        }));
    }

    /// Whom the behaviour wants to be dialled.
    async fn dialled(dht: &mut Dht) -> Vec<PeerId> {
        let mut dialled = Vec::new();
        std::future::poll_fn(|cx| {
            while let Poll::Ready(output) = dht.poll(cx) {
                if let ToSwarm::Dial { opts } = output {
                    dialled.extend(opts.get_peer_id());
                }
            }
            Poll::Ready(())
        })
        .await;
        dialled
    }

    #[tokio::test]
    async fn who_found_no_room_is_offered_the_place_of_one_that_is_gone_which_is_asked_first() {
        let mut dht = dht(&[]);
        let peers = full(&mut dht);
        let in_table = dht.table_peers();
        assert_eq!((in_table.len(), dht.replacements.len()), (20, 10));
        assert_eq!(dialled(&mut dht).await, [], "they are all connected");
        let (leaving, staying): (Vec<_>, Vec<_>) = peers.into_iter().partition(|(peer, _)| in_table.contains(peer));
        goes(&mut dht, staying[0]);
        assert_eq!(dialled(&mut dht).await, [], "it had no place");
        goes(&mut dht, leaving[0]);
        assert_eq!(dialled(&mut dht).await, [leaving[0].0]);
        assert!(dht.kad.kbuckets().any(|bucket| bucket.has_pending()), "its place is promised");
        assert!(dht.is_in_table(&leaving[0].0), "not before it was asked");
    }

    #[tokio::test]
    async fn where_a_peer_is_silent_and_nobody_who_waits_is_connected_one_of_them_is_dialled() {
        let mut dht = dht(&[]);
        let peers = full(&mut dht);
        let in_table = dht.table_peers();
        let (leaving, waiting): (Vec<_>, Vec<_>) = peers.into_iter().partition(|(peer, _)| in_table.contains(peer));
        for peer in &waiting {
            goes(&mut dht, *peer);
        }
        goes(&mut dht, leaving[0]);
        assert_eq!(dialled(&mut dht).await, [], "it may be idle only");
        let silence = TransportError::Other(std::io::ErrorKind::TimedOut.into());
        let error = DialError::Transport(vec![(HERE.parse().expect("an address"), silence)]);
        let failed = |dht: &mut Dht, peer| {
            dht.on_swarm_event(FromSwarm::DialFailure(DialFailure {
                peer_id: Some(peer),
                error: &error,
                connection_id: ConnectionId::new_unchecked(1_000),
            }));
        };
        failed(&mut dht, leaving[1].0);
        assert_eq!(dialled(&mut dht).await, [], "it is connected, and was called at one more address");
        failed(&mut dht, leaving[0].0);
        let last = waiting.last().expect("thirty wait").0;
        assert_eq!(dialled(&mut dht).await, [last], "who was heard of last");
        comes(&mut dht, last, 1_001, HERE, HERE);
        assert_eq!(dialled(&mut dht).await, [leaving[0].0], "the place is still another's, who is asked once more");
    }

    #[tokio::test]
    async fn who_was_reached_answers_when_its_time_has_come_although_nothing_else_happens() {
        let mut dht = dht(&[]);
        let begun = Instant::now();
        let reached = begun.checked_sub(Duration::from_millis(9_950)).expect("a computer that runs for ten seconds");
        dht.rule.on_observed(begun, Observed::GlobalServer(ConnectionId::new_unchecked(1)));
        dht.rule.on_observed(reached, Observed::DialledAt("/ip4/9.9.9.9/tcp/1".parse().expect("an address")));
        dht.apply_rule(begun);
        assert_eq!(dht.mode(), Mode::Client);
        let answers = std::future::poll_fn(|cx| {
            loop {
                match dht.poll(cx) {
                    Poll::Ready(ToSwarm::GenerateEvent(Event::ModeChanged(Mode::Server))) => return Poll::Ready(()),
                    Poll::Ready(_) => {}
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        tokio::time::timeout(Duration::from_secs(10), answers).await.expect("it answers");
    }

    #[tokio::test]
    async fn a_trusted_peer_enters_a_full_bucket() {
        let friends: Vec<PeerId> = std::iter::repeat_with(PeerId::random).take(5).collect();
        let mut dht = dht(&friends);
        for n in 0..400 {
            comes(&mut dht, PeerId::random(), n, "/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1");
        }
        let fullest = dht.kad.kbuckets().map(|bucket| bucket.num_entries()).max();
        assert_eq!(fullest, Some(20), "a bucket has no more");
        for (n, friend) in friends.iter().enumerate() {
            comes(&mut dht, *friend, 1_000 + n, "/ip4/9.9.9.1/tcp/1", "/ip4/9.9.9.1/tcp/1");
        }
        let table = dht.table_peers();
        assert!(friends.iter().all(|friend| table.contains(friend)));
    }
}
