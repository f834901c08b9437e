//! Hosts that this node has sent something to, so that a router's willingness to let others in can be told apart from its
//! letting in an answer.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use libp2p::Multiaddr;

use crate::address::{TransportKind, ip_of, transport_kind};

/// Hosts remembered. Once it is full every host counts as one that was dialled: nothing is concluded then.
const MAX_HOSTS: usize = 4_096;

/// The hosts, since the last [`Self::forget`].
#[derive(Debug, Default)]
pub(crate) struct Dialled {
    hosts: Mutex<HashSet<(TransportKind, IpAddr)>>,
}

impl Dialled {
    pub(crate) const MOST: usize = MAX_HOSTS;

    pub(crate) fn add(&self, address: &Multiaddr) {
        let Some(ip) = ip_of(address) else { return };
        let mut hosts = self.lock();
        if hosts.len() < MAX_HOSTS {
            hosts.insert((transport_kind(address), ip.to_canonical()));
        }
    }

    pub(crate) fn contains(&self, transport: TransportKind, ip: IpAddr) -> bool {
        let hosts = self.lock();
        hosts.len() >= MAX_HOSTS || hosts.contains(&(transport, ip.to_canonical()))
    }

    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(TransportKind, IpAddr)>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_knows_everybody_and_an_empty_one_nobody() {
        let dialled = Dialled::default();
        let (one, other) = ("9.9.9.1".parse().expect("an address"), "9.9.9.2".parse().expect("an address"));
        dialled.add(&"/ip4/9.9.9.1/udp/1/quic-v1".parse().expect("a multiaddr"));
        dialled.add(&"/dns4/example.org/tcp/1".parse().expect("a multiaddr"));
        assert!(dialled.contains(TransportKind::Quic, one) && !dialled.contains(TransportKind::Tcp, one));
        for n in 0..2 * MAX_HOSTS {
            let address = format!("/ip4/10.{}.{}.1/tcp/1", n / 256, n % 256);
            dialled.add(&address.parse().expect("a multiaddr"));
        }
        assert_eq!(dialled.len(), MAX_HOSTS);
        assert!(dialled.contains(TransportKind::Tcp, other));
        dialled.forget();
        assert!(!dialled.contains(TransportKind::Quic, one));
    }
}
