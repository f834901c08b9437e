//! Values on their way into the network: the region of the key is walked, the value put at everybody in it, read back
//! from them, and looked for once more from another side.

use std::time::{Instant, SystemTime};

use libp2p::PeerId;
use libp2p::kad::{QueryId, Quorum, Record, RecordKey};
use libp2p::swarm::ToSwarm;

use super::calls::Ask;
use super::reads::{Purpose, Reading};
use super::walks::Goal;
use super::{Dht, Event, QueryNumber};
use crate::paths::Paths;
use crate::point;
use crate::{Checked, Reject};

/// Nodes from which a value is looked for once more: three for each path.
const CHECK_FROM: usize = 9;

/// A value that is being put.
pub(super) struct Putting {
    number: QueryNumber,
    key: RecordKey,
    value: Vec<u8>,
    peers: Vec<PeerId>,
    /// These are all nodes there are.
    is_everybody: bool,
    /// They are known from earlier walks.
    is_remembered: bool,
}

/// What a put still has to do once it is known who gave the value back.
pub(super) struct After {
    pub(super) value: Vec<u8>,
    pub(super) is_everybody: bool,
    pub(super) is_remembered: bool,
}

impl Dht {
    /// Stores a value here and at all nodes in the region of its key, which are then asked for it: [`Event::Stored`].
    ///
    /// In a network of up to twenty nodes that is a lookup, the value and the question for each of them. In a larger one
    /// it is some 30 requests for the lookup, up to five more lookups where somebody crowds the neighbourhood of the key,
    /// 20 to 40 nodes (80 at most) that get the value and are asked for it, and once in two seconds 24 requests that look for
    /// it from another side. What a walk told is used again for ten minutes, so that most of a large zone needs no lookups.
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

    /// Values of this node that others do not find, though they were put again and again: somebody may be hiding them.
    pub fn hidden_values(&self) -> usize {
        self.checks.hidden()
    }

    pub(super) fn start_put(&mut self, number: QueryNumber, key: RecordKey, value: Vec<u8>) {
        self.start_walk(number, key, Goal::Put { value, is_fresh: false });
    }

    /// The region is known.
    pub(super) fn on_region_to_put(
        &mut self,
        number: QueryNumber,
        key: RecordKey,
        value: Vec<u8>,
        peers: Vec<PeerId>,
        is_everybody: bool,
        is_remembered: bool,
    ) {
        if peers.is_empty() {
            self.stored(number, Vec::new());
            return;
        }
        // No publisher: who stores it is not to learn whose it is.
        let record = Record::new(key.clone(), value.clone());
        let id = self.kad.put_record_to(record, peers.clone().into_iter(), Quorum::All);
        self.putting.insert(id, Putting { number, key, value, peers, is_everybody, is_remembered });
    }

    /// What the acknowledgements are worth: who gives it back.
    pub(super) fn on_put(&mut self, id: QueryId) {
        let Some(Putting { number, key, value, peers, is_everybody, is_remembered }) = self.putting.remove(&id) else {
            return;
        };
        let at = point::of_bytes(key.as_ref());
        let paths = Paths::fixed(at, peers.into_iter());
        let purpose = Purpose::ReadBack { after: After { value, is_everybody, is_remembered }, holders: Vec::new() };
        self.start_reading(Reading::new(number, key, at, paths, purpose, Instant::now()));
    }

    /// It was read back, or was not.
    pub(super) fn on_read_back(&mut self, number: QueryNumber, key: RecordKey, holders: Vec<PeerId>, after: After) {
        let After { value, is_everybody, is_remembered } = after;
        if holders.is_empty() && is_remembered {
            self.start_walk(number, key, Goal::Put { value, is_fresh: true });
            return;
        }
        let is_worth_a_check = !holders.is_empty() && !is_everybody && !self.is_small();
        self.stored(number, holders);
        if is_worth_a_check && self.checks.may_begin(Instant::now(), &key) {
            self.start_check(number, key, &value);
        }
    }

    /// Looks for a value as a stranger would: from nodes that lie far from its key.
    fn start_check(&mut self, number: QueryNumber, key: RecordKey, value: &[u8]) {
        let checked = self.kad.store_mut().check(key.as_ref(), value, None, SystemTime::now());
        let Ok(Checked { order, .. }) = checked else { return };
        let at = point::of_bytes(key.as_ref());
        let far = self.candidates(&at, usize::MAX);
        let start = far.into_iter().rev().take(CHECK_FROM);
        let paths = Paths::new(at, start);
        self.start_reading(Reading::new(number, key, at, paths, Purpose::Check { order }, Instant::now()));
    }

    /// A check ended.
    pub(super) fn on_checked(&mut self, key: &RecordKey, is_found: bool) {
        if self.checks.on_checked(Instant::now(), key, is_found) {
            self.outputs.push_back(ToSwarm::GenerateEvent(Event::Hidden { key: key.to_vec() }));
        }
    }

    fn stored(&mut self, number: QueryNumber, holders: Vec<PeerId>) {
        self.outputs.push_back(ToSwarm::GenerateEvent(Event::Stored { query: number, holders }));
    }
}
