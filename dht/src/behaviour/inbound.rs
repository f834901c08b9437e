//! What peers ask of this node, and want it to keep.

use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use libp2p::kad;
use libp2p::swarm::{CloseConnection, ToSwarm};
use libp2p::{Multiaddr, PeerId};

use super::Dht;
use crate::Store;
use crate::config::PROVIDER_TTL;
use crate::store::MAX_ADDRESSES;

impl Dht {
    /// Counts a request. Kademlia has answered it already, so a peer over its rate is disconnected.
    pub(super) fn on_request(&mut self, now: Instant) {
        let Some(peer) = self.speaker else { return };
        let at = self.connected_at.get(&peer).map_or(&[][..], Vec::as_slice);
        if let Err(reason) = self.rates.take(now, &peer, at.iter().map(|(_, at)| at)) {
            tracing::debug!(%peer, ?reason, "too many DHT requests, disconnected");
            self.floods.count(reason);
            self.heard.retain(|(speaker, ..)| *speaker != peer);
            self.speaker = None;
            self.outputs.push_back(ToSwarm::CloseConnection { peer_id: peer, connection: CloseConnection::All });
        }
    }

    /// A peer says that it provides a key.
    pub(super) fn on_provided(&mut self, mut record: kad::ProviderRecord) {
        use libp2p::kad::store::RecordStore;
        let at = self.connected_at.get(&record.provider).map_or(&[][..], Vec::as_slice);
        let may_name = self.may_name;
        record.addresses.retain(|claimed| at.iter().any(|(_, at)| may_name(at, claimed)));
        record.addresses.truncate(MAX_ADDRESSES);
        let bytes = record.key.as_ref().len() + record.addresses.iter().map(Multiaddr::len).sum::<usize>();
        // Saying it again, as everybody does while a small network grows, takes no more room.
        let is_known =
            self.kad.store_mut().providers(&record.key).iter().any(|known| known.provider == record.provider);
        let is_free = is_known || (self.trusted)(&record.provider);
        let mut is_within = || {
            let at = at.iter().map(|(_, at)| at);
            self.provider_quotas.take(Instant::now(), record.provider, at, bytes).is_ok()
        };
        let is_taken = !at.is_empty() && (is_free || is_within());
        if !is_taken || self.kad.store_mut().provide_from_peer(record).is_err() {
            self.rejected.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A peer puts a value here.
    pub(super) fn on_put_by_peer(&mut self, source: PeerId, record: kad::Record) {
        let now = Instant::now();
        let at = self.connected_at.get(&source).map_or(&[][..], Vec::as_slice);
        let allowed = if (self.trusted)(&source) {
            Ok(())
        } else {
            self.quotas.take(now, source, at.iter().map(|(_, at)| at), record.value.len())
        };
        let store = self.kad.store_mut();
        let stored = allowed.and_then(|()| store.put_checked(record, now, SystemTime::now()));
        if let Err(reason) = stored {
            self.rejected.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%reason, peer = %source, "record not stored");
        }
    }
}

impl Store {
    /// Takes a provider record from a peer, for the usual life time at most.
    fn provide_from_peer(&mut self, mut record: kad::ProviderRecord) -> kad::store::Result<()> {
        use libp2p::kad::store::RecordStore;
        let latest = Instant::now() + PROVIDER_TTL;
        record.expires = Some(record.expires.map_or(latest, |at| at.min(latest)));
        self.add_provider(record)
    }
}
