//! Values: stored at the nodes nearest to their key and read back, or collected from several of them.

use std::collections::HashSet;
use std::time::{Instant, SystemTime};

use libp2p::PeerId;
use libp2p::kad::{
    GetClosestPeersError, GetClosestPeersOk, GetRecordOk, QueryId, QueryResult, Quorum, Record, RecordKey,
};
use libp2p::swarm::ToSwarm;

use super::calls::Ask;
use super::{Dht, Event, QueryNumber};
use crate::Reject;

/// A call under way.
pub(super) struct ValueQuery {
    number: QueryNumber,
    key: RecordKey,
    step: Step,
}

enum Step {
    /// Collects answers. Values that were checked already are not checked again.
    Get { good: HashSet<Vec<u8>> },
    /// Looks for the nodes nearest to the key.
    Nearest { value: Vec<u8> },
    /// Puts it there.
    Put { value: Vec<u8> },
    /// What the acknowledgements are worth: who gives it back.
    ReadBack { value: Vec<u8>, holders: HashSet<PeerId> },
}

impl Dht {
    /// Looks for values under a key, here and at several peers; those that prove themselves come as
    /// [`Event::Value`] with this number.
    pub fn get_values(&mut self, key: &[u8]) -> QueryNumber {
        self.ask(Ask::Values(RecordKey::from(key.to_vec())))
    }

    pub(super) fn start_get(&mut self, number: QueryNumber, key: RecordKey) {
        let id = self.kad.get_record(key.clone());
        self.values.insert(id, ValueQuery { number, key, step: Step::Get { good: HashSet::new() } });
    }

    /// Ends a search for values; no more events come for it.
    pub fn stop_values(&mut self, query: QueryNumber) {
        self.calls.forget(query);
        let Some(id) = self.values.iter().find(|(_, q)| q.number == query).map(|(id, _)| *id) else { return };
        self.values.remove(&id);
        if let Some(mut running) = self.kad.query_mut(&id) {
            running.finish();
        }
    }

    /// Stores a value here and at the nodes nearest to its key, which are then asked for it: [`Event::Stored`].
    ///
    /// # Errors
    /// The value does not prove itself, a newer one is stored here, or too many others are on their way.
    pub fn put_value(&mut self, key: &[u8], value: Vec<u8>) -> Result<QueryNumber, Reject> {
        if !self.calls.has_room() {
            return Err(Reject::Busy);
        }
        let key = RecordKey::from(key.to_vec());
        let record = Record::new(key.clone(), value.clone());
        match self.kad.store_mut().put_checked(record, Instant::now(), SystemTime::now()) {
            // Others may have room.
            Ok(()) | Err(Reject::Full) => {}
            Err(reason) => return Err(reason),
        }
        Ok(self.ask(Ask::Put { key, value }))
    }

    pub(super) fn start_put(&mut self, number: QueryNumber, key: RecordKey, value: Vec<u8>) {
        let id = self.kad.get_closest_peers(key.to_vec());
        self.values.insert(id, ValueQuery { number, key, step: Step::Nearest { value } });
    }

    pub(super) fn on_value_progress(&mut self, id: QueryId, result: QueryResult, last: bool) {
        match result {
            QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => {
                self.on_found(id, found.peer, found.record);
            }
            QueryResult::GetClosestPeers(result) if last => {
                let peers = match result {
                    Ok(GetClosestPeersOk { peers, .. }) | Err(GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                self.on_nearest(id, peers.into_iter().map(|info| info.peer_id).collect());
                return;
            }
            QueryResult::PutRecord(_) if last => {
                self.on_put(id);
                return;
            }
            _ => {}
        }
        if last && let Some(ValueQuery { number, step, .. }) = self.values.remove(&id) {
            let event = match step {
                Step::Get { .. } => Event::ValuesDone { query: number },
                Step::ReadBack { holders, .. } => {
                    Event::Stored { query: number, holders: holders.into_iter().collect() }
                }
                Step::Nearest { .. } | Step::Put { .. } => Event::Stored { query: number, holders: Vec::new() },
            };
            self.outputs.push_back(ToSwarm::GenerateEvent(event));
        }
    }

    fn on_found(&mut self, id: QueryId, from: Option<PeerId>, record: Record) {
        let Some(query) = self.values.get_mut(&id) else { return };
        if record.key != query.key {
            return;
        }
        match &mut query.step {
            Step::Get { good } => {
                if !good.contains(&record.value) {
                    let checked =
                        self.kad.store_mut().check(record.key.as_ref(), &record.value, None, SystemTime::now());
                    if let Err(reason) = checked {
                        tracing::debug!(%reason, ?from, "a value that was found does not prove itself");
                        return;
                    }
                    good.insert(record.value.clone());
                }
                let event = Event::Value { query: query.number, from, value: record.value };
                self.outputs.push_back(ToSwarm::GenerateEvent(event));
            }
            Step::ReadBack { value, holders } if record.value == *value => holders.extend(from),
            _ => {}
        }
    }

    fn on_nearest(&mut self, id: QueryId, peers: Vec<PeerId>) {
        let Some(ValueQuery { number, key, step }) = self.values.remove(&id) else { return };
        let Step::Nearest { value } = step else { return };
        if peers.is_empty() {
            self.outputs.push_back(ToSwarm::GenerateEvent(Event::Stored { query: number, holders: Vec::new() }));
            return;
        }
        // No publisher: who stores it is not to learn whose it is.
        let record = Record::new(key.clone(), value.clone());
        let id = self.kad.put_record_to(record, peers.into_iter(), Quorum::All);
        self.values.insert(id, ValueQuery { number, key, step: Step::Put { value } });
    }

    fn on_put(&mut self, id: QueryId) {
        let Some(ValueQuery { number, key, step }) = self.values.remove(&id) else { return };
        let Step::Put { value } = step else { return };
        let id = self.kad.get_record(key.clone());
        self.values.insert(id, ValueQuery { number, key, step: Step::ReadBack { value, holders: HashSet::new() } });
    }
}
