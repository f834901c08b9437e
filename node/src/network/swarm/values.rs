//! Values of the DHT: who waits for which.

use std::collections::HashMap;

use libp2p::PeerId;
use p2p_dht::{QueryNumber, Reject};
use tokio::sync::{mpsc, oneshot};

use super::super::handle::FoundValue;
use super::Actor;

/// Lookups under way at once; more are told that nothing was found.
const MAX_LOOKUPS: usize = 256;

/// Callers by the numbers of their queries.
#[derive(Default)]
pub(super) struct Waiting {
    gets: HashMap<QueryNumber, mpsc::Sender<FoundValue>>,
    puts: HashMap<QueryNumber, oneshot::Sender<Result<usize, Reject>>>,
}

impl Waiting {
    /// See [`super::Snapshot::rooms`].
    pub(super) fn room(&self) -> (&'static str, usize, usize) {
        ("lookups and puts of values that somebody here waits for", self.gets.len() + self.puts.len(), MAX_LOOKUPS)
    }

    pub(super) fn on_done(&mut self, query: QueryNumber) {
        self.gets.remove(&query);
    }

    pub(super) fn on_stored(&mut self, query: QueryNumber, holders: usize) {
        if let Some(reply) = self.puts.remove(&query) {
            let _ = reply.send(Ok(holders));
        }
    }
}

impl Actor {
    pub(super) fn get_values(&mut self, key: &[u8], found: mpsc::Sender<FoundValue>) {
        if self.values.gets.len() < MAX_LOOKUPS {
            let query = self.swarm.behaviour_mut().dht.get_values(key);
            self.values.gets.insert(query, found);
        }
    }

    pub(super) fn put_value(&mut self, key: &[u8], value: Vec<u8>, reply: oneshot::Sender<Result<usize, Reject>>) {
        match self.swarm.behaviour_mut().dht.put_value(key, value) {
            Ok(query) => drop(self.values.puts.insert(query, reply)),
            Err(reason) => drop(reply.send(Err(reason))),
        }
    }

    pub(super) fn on_value(&mut self, query: QueryNumber, from: Option<PeerId>, value: Vec<u8>) {
        let Some(found) = self.values.gets.get(&query) else { return };
        // A caller that is too slow has enough answers already.
        if found.try_send(FoundValue { from, value }).is_err() && found.is_closed() {
            self.values.gets.remove(&query);
            self.swarm.behaviour_mut().dht.stop_values(query);
        }
    }

    /// Ends lookups that nobody waits for any more.
    pub(super) fn drop_abandoned(&mut self) {
        let gone: Vec<QueryNumber> =
            self.values.gets.iter().filter(|(_, found)| found.is_closed()).map(|(query, _)| *query).collect();
        for query in gone {
            self.values.gets.remove(&query);
            self.swarm.behaviour_mut().dht.stop_values(query);
        }
    }
}
