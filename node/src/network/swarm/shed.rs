//! Which connections are closed when memory runs short (overlay.md, section 7, "shedding order").
//!
//! Apps over their quota need no place in the order: what an app may hold is refused before it is held (64 streams with
//! two buffers of 64 KiB each, a token bucket for what they carry), so there is none.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;
use p2p_transport::{PathKind, path_kind};

use super::Actor;

/// Connections closed at a time. What they held is free a moment later, and only then it is known whether that was enough.
const AT_ONCE: usize = 16;
/// How long after that memory is looked at again, and how often at most otherwise.
pub(super) const AGAIN: Duration = Duration::from_secs(1);
/// A connection as young as this is left alone: nobody knows yet who it is.
const YOUNG: Duration = Duration::from_secs(5);

/// Who is let go, first to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// It asks the DHT and answers nobody.
    DhtClient,
    /// It comes through a relay, and proved nothing.
    Relayed,
    /// It answers the DHT, and is in no bucket of ours.
    DhtServer,
}

impl Class {
    const ALL: [Self; 3] = [Self::DhtClient, Self::Relayed, Self::DhtServer];

    fn as_str(self) -> &'static str {
        match self {
            Self::DhtClient => "dht_client",
            Self::Relayed => "relayed",
            Self::DhtServer => "dht_server",
        }
    }
}

/// Connections closed so far, by class.
#[derive(Debug, Default)]
pub(super) struct Shed([u64; 3]);

impl Shed {
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Class::ALL.iter().zip(self.0).map(|(class, count)| (class.as_str(), count))
    }

    fn count(&mut self, class: Class) {
        if let Some((_, count)) = Class::ALL.iter().zip(&mut self.0).find(|(known, _)| **known == class) {
            *count += 1;
        }
    }
}

/// What is known of a connection that nobody uses.
#[derive(Clone, Copy, Debug, Default)]
struct Traits {
    /// The user trusts the peer, it proved a drive, or it is a relay through which this node is reached.
    is_known: bool,
    is_relayed: bool,
    is_dht_server: bool,
    is_in_bucket: bool,
}

impl Traits {
    /// `None`: it stays.
    fn class(self) -> Option<Class> {
        match self {
            Self { is_known: true, .. } => None,
            Self { is_relayed: true, .. } => Some(Class::Relayed),
            Self { is_dht_server: false, .. } => Some(Class::DhtClient),
            Self { is_in_bucket: false, .. } => Some(Class::DhtServer),
            _ => None,
        }
    }
}

/// The first in the order; the newest of equals, as the old ones have proved to last.
fn choose(mut idle: Vec<(ConnectionId, Class)>) -> Vec<(ConnectionId, Class)> {
    idle.sort_by_key(|(id, class)| (*class, std::cmp::Reverse(*id)));
    idle.truncate(AT_ONCE);
    idle
}

impl Actor {
    /// Looks at the memory, unless that was done a moment ago; lets idle strangers go where there is too little.
    pub(super) fn watch_memory(&mut self, now: Instant) {
        if now < self.memory_at {
            return;
        }
        self.memory_at = now + AGAIN;
        self.is_short_of_memory = self.swarm.behaviour_mut().transport.limits.is_short_of_memory(now);
        if self.is_short_of_memory {
            self.shed(now);
        }
    }

    fn shed(&mut self, now: Instant) {
        let in_buckets = self.swarm.behaviour_mut().dht.table_peers();
        let relays: HashSet<PeerId> = self.relays.in_use().into_iter().collect();
        let behaviour = self.swarm.behaviour();
        let connections = self.with_snapshot(|snapshot| snapshot.connections.clone());
        let idle = connections.iter().filter_map(|(id, connection)| {
            let peer = connection.peer;
            let is_idle = behaviour.transport.streams.is_idle(&peer, *id);
            let is_young = now.saturating_duration_since(connection.since) < YOUNG;
            let traits = Traits {
                is_known: behaviour.transport.limits.is_trusted(&peer)
                    || self.proven.contains(&peer)
                    || relays.contains(&peer),
                is_relayed: path_kind(&connection.address) == PathKind::Relayed,
                is_dht_server: behaviour.dht.is_server(&peer),
                is_in_bucket: in_buckets.contains(&peer),
            };
            (is_idle && !is_young).then(|| traits.class()).flatten().map(|class| (*id, class))
        });
        let chosen = choose(idle.collect());
        for (id, class) in chosen {
            tracing::debug!(class = class.as_str(), "memory is short, an idle connection is closed");
            if self.swarm.close_connection(id) {
                self.shed.count(class);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_go_first_then_relayed_ones_then_servers_and_friends_never() {
        let client = Traits::default();
        let relayed = Traits { is_relayed: true, is_dht_server: true, ..client };
        let server = Traits { is_dht_server: true, ..client };
        let all = [
            ("friend", Traits { is_known: true, is_relayed: true, ..client }),
            ("in a bucket", Traits { is_in_bucket: true, ..server }),
            ("server", server),
            ("relayed", relayed),
            ("first client", client),
            ("second client", client),
        ];
        let idle = all.iter().enumerate();
        let idle = idle.filter_map(|(n, (_, traits))| Some((ConnectionId::new_unchecked(n), traits.class()?)));
        let order = choose(idle.collect());
        let names: Vec<&str> = order
            .iter()
            .filter_map(|(id, _)| all.iter().enumerate().find(|(n, _)| ConnectionId::new_unchecked(*n) == *id))
            .map(|(_, (name, _))| *name)
            .collect();
        assert_eq!(names, ["second client", "first client", "relayed", "server"]);
    }

    #[test]
    fn few_are_closed_at_a_time() {
        let many = (0..100).map(|n| (ConnectionId::new_unchecked(n), Class::DhtClient)).collect();
        assert_eq!(choose(many).len(), AT_ONCE);
    }
}
