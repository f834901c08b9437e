//! Telling the nodes nearest to a key that this node provides it. A node that lies so near that it is one of the nearest for
//! sure is told as soon as it has answered; the others when the nearest are known, which silent ones put off.

use std::collections::HashSet;

use libp2p::PeerId;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{ConnectionType, KadPeer, ProviderRecord, QueryId, RecordKey};
use libp2p::swarm::{NotifyHandler, ToSwarm};

use super::reads::{Purpose, ToHandler};
use super::{Dht, Event, QueryNumber};
use crate::paths::Candidate;
use crate::point::{self, Point};

/// Nodes that have to be told of a provider until it counts as announced.
const ENOUGH_TOLD: usize = 10;

/// An announcement on its way.
pub(super) struct Announcing {
    /// Whoever lies within this part of all distances is told at once.
    within: Option<f64>,
    told: HashSet<PeerId>,
}

/// What is to be done about a node that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NowTold {
    /// Nothing yet, or it knows.
    Nothing,
    /// It is told.
    Tell,
    /// It is told, and is the last one that was needed.
    TellAndSucceed,
}

impl Announcing {
    pub(super) fn on_answer(&mut self, at: &Point, peer: PeerId) -> NowTold {
        let distance = || point::fraction(&point::distance(at, &point::of_peer(&peer)));
        let is_near = self.within.is_some_and(|within| distance() <= within);
        match is_near && self.told.insert(peer) {
            false => NowTold::Nothing,
            true if self.told.len() == ENOUGH_TOLD => NowTold::TellAndSucceed,
            true => NowTold::Tell,
        }
    }
}

impl Dht {
    /// It succeeds once ten have been told, or when there are no more; an announcement is not answered.
    pub(super) fn start_announcing(&mut self, key: RecordKey) {
        let record = ProviderRecord::new(key.clone(), self.me, Vec::new());
        if let Err(error) = self.kad.store_mut().add_provider(record) {
            tracing::warn!(?error, "cannot announce a key: the store is full");
            self.announcements.on_finished();
            return;
        }
        let announcing = Announcing { within: self.near_enough(), told: HashSet::new() };
        // Whoever waits is told by the key, not by a number.
        self.start_nearest(QueryNumber::MAX, key, Purpose::Announce(announcing));
    }

    pub(super) fn on_now_told(&mut self, id: QueryId, key: &RecordKey, peer: PeerId, now_told: NowTold) {
        if now_told != NowTold::Nothing {
            self.tell_provided(id, key, peer);
        }
        if now_told == NowTold::TellAndSucceed {
            self.on_announced(key, true);
        }
    }

    /// The nearest are known: the announcement is at its end.
    pub(super) fn on_nearest_to_tell(
        &mut self,
        id: QueryId,
        key: &RecordKey,
        mut announcing: Announcing,
        nearest: &[Candidate],
    ) {
        let is_said = announcing.told.len() >= ENOUGH_TOLD;
        for peer in nearest.iter().map(|candidate| candidate.peer) {
            if announcing.told.insert(peer) {
                self.tell_provided(id, key, peer);
            }
        }
        if !is_said {
            self.on_announced(key, !announcing.told.is_empty());
        }
        self.announcements.on_finished();
    }

    fn tell_provided(&mut self, id: QueryId, key: &RecordKey, peer: PeerId) {
        let multiaddrs = self.external.iter().cloned().collect();
        let provider = KadPeer { node_id: self.me, multiaddrs, connection_ty: ConnectionType::Connected };
        let event = ToHandler::AddProvider { key: key.clone(), provider, query_id: id };
        self.outputs.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler: NotifyHandler::Any, event });
    }

    fn on_announced(&mut self, key: &RecordKey, ok: bool) {
        self.outputs.push_back(ToSwarm::GenerateEvent(Event::Announced { key: key.to_vec(), ok }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lies_near_enough_is_told_once_and_ten_are_enough() {
        let at = point::of_bytes(b"key");
        let answers = |within: Option<f64>, peers: &[PeerId]| {
            let mut announcing = Announcing { within, told: HashSet::new() };
            peers.iter().map(|peer| announcing.on_answer(&at, *peer)).collect::<Vec<NowTold>>()
        };
        let peers: Vec<PeerId> = (0..12).map(|_| PeerId::random()).collect();
        let all = answers(Some(1.0), &peers);
        let succeeded: Vec<usize> = (0..12).filter(|n| all[*n] == NowTold::TellAndSucceed).collect();
        assert_eq!(succeeded, [ENOUGH_TOLD - 1]);
        assert!(all.iter().all(|now_told| *now_told != NowTold::Nothing));
        assert_eq!(answers(Some(1.0), &[peers[0], peers[0]]), [NowTold::Tell, NowTold::Nothing]);
        for nobody in [Some(0.0), None] {
            assert_eq!(
                answers(nobody, &peers[..1]),
                [NowTold::Nothing],
                "while it is not known how many nodes there are"
            );
        }
    }
}
