//! Values on their way to whoever looks for them. Kademlia's own lookup tells neither which path an answer came by, nor can
//! it ask chosen nodes, so requests for values are sent from here, through Kademlia's connections.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use libp2p::kad::{self, KadPeer, QueryId, Quorum, Record, RecordKey};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{DialError, NotifyHandler, THandlerInEvent, THandlerOutEvent, ToSwarm};
use libp2p::{Multiaddr, PeerId};

use super::announcing::Announcing;
use super::calls::Ask;
use super::values::After;
use super::walks::{Goal, Place};
use super::{Dht, Event, QueryNumber, SMALL_NETWORK};
use crate::Store;
use crate::config::QUERY_TIMEOUT;
use crate::group::Width;
use crate::paths::{Candidate, Paths};
use crate::point::{self, Point};
use crate::region::LOOKUP_PEERS;

/// Nodes of the table that a lookup starts from.
const START_FROM: usize = 20;
/// Paths that have to give the same value.
const AGREEING: usize = 2;
/// How long answers that are on their way are waited for, when the paths agree.
const GRACE: Duration = Duration::from_millis(300);
/// How long those who got a value are waited for to give it back, once one has.
const READ_BACK: Duration = Duration::from_millis(1_500);
/// How often lookups under way are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Lookups that may wait for one peer to be connected.
const MAX_WAITING_FOR_ONE: usize = 512;

pub(super) type ToHandler = THandlerInEvent<kad::Behaviour<Store>>;
type FromHandler = THandlerOutEvent<kad::Behaviour<Store>>;

/// Everything under way.
#[derive(Default)]
pub(super) struct Reads {
    readings: HashMap<QueryId, Reading>,
    /// Requests that wait for a connection.
    connecting: HashMap<PeerId, Vec<QueryId>>,
    /// Something happened that may lead to further requests.
    to_drive: HashSet<QueryId>,
    look_at: Option<Instant>,
}

/// One lookup of a value.
pub(super) struct Reading {
    number: QueryNumber,
    key: RecordKey,
    at: Point,
    paths: Paths,
    purpose: Purpose,
    /// Values that proved themselves, with their order; they are not checked again.
    good: HashMap<Vec<u8>, u64>,
    best: Option<Best>,
    agreed_at: Option<Instant>,
    begun: Instant,
    has_walked: bool,
    /// Nodes asked before the region was walked.
    asked_before: usize,
    /// Nodes asked one after the other until one had it.
    hops: u32,
}

/// Why a value is looked for.
pub(super) enum Purpose {
    /// Somebody asked for it.
    Get,
    /// It was put, and those who got it are asked for it.
    ReadBack { after: After, holders: Vec<PeerId> },
    /// Whether others would find it, or a newer one: an old one in its place hides it.
    Check { order: u64 },
    /// No value at all: the nodes nearest to a place that nobody chose, or to the key itself.
    Nearest(Place),
    /// They are told that this node provides the key.
    Announce(Announcing),
    /// The peer is among them, or they know where it is.
    Find(PeerId),
}

impl Purpose {
    /// Whether nodes are looked for, and no value.
    fn is_for_places(&self) -> bool {
        matches!(self, Self::Nearest(_) | Self::Announce(_) | Self::Find(_))
    }
}

/// The newest value, and who gave it.
struct Best {
    order: u64,
    value: Vec<u8>,
    paths: HashSet<usize>,
}

impl Reading {
    pub(super) fn new(
        number: QueryNumber,
        key: RecordKey,
        at: Point,
        paths: Paths,
        purpose: Purpose,
        now: Instant,
    ) -> Self {
        Self {
            number,
            key,
            at,
            paths,
            purpose,
            good: HashMap::new(),
            best: None,
            agreed_at: None,
            begun: now,
            has_walked: false,
            asked_before: 0,
            hops: 0,
        }
    }

    /// Takes in a value that proved itself. The newest wins, whoever gives it, and however many give an older one.
    fn on_value(&mut self, now: Instant, path: Option<usize>, value: &[u8], order: u64) {
        match &mut self.best {
            Some(best) if best.order > order => return,
            Some(best) if best.order == order && best.value == value => best.paths.extend(path),
            best => *best = Some(Best { order, value: value.to_vec(), paths: path.into_iter().collect() }),
        }
        let is_agreed = self.best.as_ref().is_some_and(|best| best.paths.len() >= AGREEING);
        self.agreed_at = if is_agreed { self.agreed_at.or(Some(now)) } else { None };
    }

    /// Somebody else has it.
    fn is_found(&self) -> bool {
        self.is_found_since(0)
    }

    /// Somebody else has one that is not older.
    fn is_found_since(&self, order: u64) -> bool {
        self.best.as_ref().is_some_and(|best| best.order >= order && !best.paths.is_empty())
    }
}

impl Reads {
    /// When lookups have to be looked at again.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.look_at.filter(|_| !self.readings.is_empty())
    }

    fn take_due(&mut self, now: Instant) -> Vec<QueryId> {
        if self.look_at.is_some_and(|at| at <= now) {
            self.to_drive.extend(self.readings.keys());
            self.look_at = Some(now + TICK);
        }
        self.to_drive.drain().collect()
    }
}

impl Dht {
    /// Looks for values under a key, here and over three paths through the network; those that prove themselves come as
    /// [`Event::Value`] with this number. It ends when two paths agree on the newest, when nobody is left to ask, or after
    /// ten seconds. Before nothing is found, everybody in the region of the key is asked.
    pub fn get_values(&mut self, key: &[u8]) -> QueryNumber {
        self.ask(Ask::Values(RecordKey::from(key.to_vec())))
    }

    /// Ends a search for values; no more events come for it.
    pub fn stop_values(&mut self, query: QueryNumber) {
        self.calls.forget(query);
        self.forget_walks(query);
        self.reads.readings.retain(|_, reading| reading.number != query || !matches!(reading.purpose, Purpose::Get));
    }

    pub(super) fn start_get(&mut self, number: QueryNumber, key: &RecordKey) {
        use libp2p::kad::store::RecordStore;
        let (at, now) = (point::of_bytes(key.as_ref()), Instant::now());
        let start = self.candidates(&at, START_FROM);
        let mut reading = Reading::new(number, key.clone(), at, Paths::new(at, start.into_iter()), Purpose::Get, now);
        let store = self.kad.store_mut();
        let own = store.get(key).filter(|record| !record.is_expired(now)).map(|record| record.value.clone());
        if let Some(value) = own
            && let Ok(checked) = store.check(key.as_ref(), &value, None, SystemTime::now())
        {
            reading.on_value(now, None, &value, checked.order);
            self.outputs.push_back(ToSwarm::GenerateEvent(Event::Value { query: number, from: None, value }));
        }
        self.start_reading(reading);
    }

    /// Looks for the nodes that lie nearest to a key and answer. Kademlia has a lookup for that, which waits ten seconds for
    /// those that do not.
    pub(super) fn look_up(&mut self, key: Vec<u8>, place: Place) {
        // Whoever walks is told by the place, not by a number.
        self.start_nearest(QueryNumber::MAX, RecordKey::from(key), Purpose::Nearest(place));
    }

    /// Looks for the nodes nearest to a key, and for no value.
    pub(super) fn start_nearest(&mut self, number: QueryNumber, key: RecordKey, purpose: Purpose) {
        let (at, now) = (point::of_bytes(key.as_ref()), Instant::now());
        let start = self.candidates(&at, START_FROM);
        let paths = Paths::nearest(at, start.into_iter());
        self.start_reading(Reading::new(number, key, at, paths, purpose, now));
    }

    pub(super) fn start_reading(&mut self, reading: Reading) {
        // A number of Kademlia's that no query of its has: its own ends at once, having nobody to ask.
        let id = self.kad.put_record_to(Record::new(Vec::new(), Vec::new()), std::iter::empty(), Quorum::One);
        self.insert_reading(id, reading);
    }

    /// Nodes of the table, nearest to a place first.
    pub(super) fn candidates(&mut self, at: &Point, max: usize) -> Vec<Candidate> {
        let nearest: Vec<PeerId> = self.nearest_known(at).into_iter().take(max).collect();
        let known: HashMap<PeerId, Vec<Multiaddr>> = self.table(usize::MAX).into_iter().collect();
        let candidate = |peer: PeerId| {
            let addresses = known.get(&peer).cloned().unwrap_or_default();
            Candidate { peer, group: self.group(&peer, &addresses, Width::Provider), addresses, hops: 0 }
        };
        nearest.into_iter().map(candidate).collect()
    }

    /// Sends requests that may be sent now, and ends what is at its end.
    pub(super) fn drive_reads(&mut self, now: Instant) {
        for id in self.reads.take_due(now) {
            self.drive_reading(id, now);
        }
    }

    /// Whether an event is an answer to a request from here.
    pub(super) fn is_read_answer(&self, event: &FromHandler) -> bool {
        match event {
            FromHandler::GetRecordRes { query_id, .. } | FromHandler::QueryError { query_id, .. } => {
                self.reads.readings.contains_key(query_id)
            }
            _ => false,
        }
    }

    pub(super) fn on_read_answer(&mut self, peer: PeerId, event: FromHandler) {
        match event {
            FromHandler::GetRecordRes { record, closer_peers, query_id } => {
                self.on_answer(query_id, peer, record, &closer_peers);
            }
            FromHandler::QueryError { query_id, .. } => self.on_unanswered(query_id, &peer),
            _ => {}
        }
    }

    /// A peer can be asked what it is to be asked.
    pub(super) fn on_read_connected(&mut self, peer: PeerId) {
        for id in self.reads.connecting.remove(&peer).unwrap_or_default() {
            if let Some(reading) = self.reads.readings.get(&id) {
                let event = ToHandler::GetRecord { key: reading.key.clone(), query_id: id };
                self.outputs.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler: NotifyHandler::Any, event });
            }
        }
    }

    /// A peer cannot be dialled, or is dialled already.
    pub(super) fn on_read_undialled(&mut self, peer: &PeerId, error: &DialError) {
        if matches!(error, DialError::DialPeerConditionFalse(_)) {
            return;
        }
        for id in self.reads.connecting.remove(peer).unwrap_or_default() {
            self.on_unanswered(id, peer);
        }
    }

    /// A peer is gone: it will not answer.
    pub(super) fn on_read_disconnected(&mut self, peer: &PeerId) {
        for (id, reading) in &mut self.reads.readings {
            if reading.paths.was_asked(peer) {
                reading.paths.on_failure(peer);
                self.reads.to_drive.insert(*id);
            }
        }
    }

    /// The region of a value that was not found is known.
    pub(super) fn on_region_to_read(&mut self, id: QueryId, mut reading: Reading, peers: &[PeerId]) {
        let others: Vec<PeerId> = peers.iter().filter(|peer| !reading.paths.was_asked(peer)).copied().collect();
        reading.asked_before = reading.paths.asked();
        reading.paths = Paths::fixed(reading.at, others.into_iter());
        reading.has_walked = true;
        self.insert_reading(id, reading);
    }

    fn insert_reading(&mut self, id: QueryId, reading: Reading) {
        self.reads.readings.insert(id, reading);
        self.reads.to_drive.insert(id);
        self.reads.look_at.get_or_insert_with(|| Instant::now() + TICK);
    }

    fn drive_reading(&mut self, id: QueryId, now: Instant) {
        loop {
            let Some(reading) = self.reads.readings.get_mut(&id) else { return };
            reading.paths.on_time(now);
            if now >= reading.begun + QUERY_TIMEOUT {
                break;
            }
            if let Some(at) = reading.agreed_at
                && matches!(reading.purpose, Purpose::Get)
            {
                if reading.paths.is_waiting(now) && now < at + GRACE {
                    return;
                }
                break;
            }
            let is_for_places = reading.purpose.is_for_places();
            if matches!(reading.purpose, Purpose::Find(peer) if reading.paths.has_answered(&peer)) {
                break;
            }
            if is_for_places && reading.paths.knows_nearest(now, LOOKUP_PEERS) {
                break;
            }
            if let Some(next) = reading.paths.poll_ask(now) {
                let key = reading.key.clone();
                self.send(id, key, next);
                continue;
            }
            let is_enough = match &reading.purpose {
                Purpose::ReadBack { holders, .. } => !holders.is_empty(),
                Purpose::Get => reading.is_found(),
                Purpose::Check { order } => reading.is_found_since(*order),
                // Once all were asked who are to be.
                Purpose::Nearest(_) | Purpose::Announce(_) | Purpose::Find(_) => false,
            };
            let is_worth_waiting = match &reading.purpose {
                Purpose::ReadBack { .. } => now < reading.begun + READ_BACK,
                Purpose::Get | Purpose::Check { .. } => reading.paths.is_waiting(now),
                Purpose::Nearest(_) | Purpose::Announce(_) | Purpose::Find(_) => reading.paths.is_patient(now),
            };
            let is_needed = !is_enough && !is_for_places;
            if !reading.paths.is_at_end() && (is_worth_waiting || is_needed) {
                return;
            }
            if is_enough || !reading.paths.sweep() {
                break;
            }
        }
        if let Some(reading) = self.reads.readings.remove(&id) {
            self.on_read(id, reading, now);
        }
    }

    fn send(&mut self, id: QueryId, key: RecordKey, to: Candidate) {
        let peer = to.peer;
        if peer == self.me {
            self.on_unanswered(id, &peer);
        } else if self.connected_at.contains_key(&peer) {
            let event = ToHandler::GetRecord { key, query_id: id };
            self.outputs.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler: NotifyHandler::Any, event });
        } else {
            let waiting = self.reads.connecting.entry(peer).or_default();
            if waiting.len() < MAX_WAITING_FOR_ONE {
                waiting.push(id);
            }
            let opts = DialOpts::peer_id(peer)
                .addresses(to.addresses)
                .extend_addresses_through_behaviour()
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .build();
            self.outputs.push_back(ToSwarm::Dial { opts });
        }
    }

    fn on_unanswered(&mut self, id: QueryId, peer: &PeerId) {
        if let Some(reading) = self.reads.readings.get_mut(&id) {
            reading.paths.on_failure(peer);
            self.reads.to_drive.insert(id);
        }
    }

    fn on_answer(&mut self, id: QueryId, peer: PeerId, record: Option<Record>, closer: &[KadPeer]) {
        let named: Vec<Candidate> = closer
            .iter()
            .filter(|named| named.node_id != self.me)
            .map(|named| Candidate {
                peer: named.node_id,
                addresses: named.multiaddrs.clone(),
                group: self.group(&named.node_id, &named.multiaddrs, Width::Provider),
                hops: 0,
            })
            .collect();
        let now = Instant::now();
        let Some(reading) = self.reads.readings.get_mut(&id) else { return };
        let Some(path) = reading.paths.on_answer(now, &peer, named.into_iter()) else { return };
        self.reads.to_drive.insert(id);
        match &mut reading.purpose {
            Purpose::Nearest(_) | Purpose::Find(_) => return,
            Purpose::Announce(announcing) => {
                let now_told = announcing.on_answer(&reading.at, peer);
                let key = reading.key.clone();
                return self.on_now_told(id, &key, peer, now_told);
            }
            Purpose::Get | Purpose::ReadBack { .. } | Purpose::Check { .. } => {}
        }
        let Some(record) = record.filter(|record| record.key == reading.key) else { return };
        let known = reading.good.get(&record.value).copied();
        let order = match known {
            Some(order) => order,
            None => match self.kad.store_mut().check(record.key.as_ref(), &record.value, None, SystemTime::now()) {
                Ok(checked) => checked.order,
                Err(reason) => {
                    tracing::debug!(%reason, %peer, "a value that was found does not prove itself");
                    return;
                }
            },
        };
        reading.good.insert(record.value.clone(), order);
        if reading.hops == 0 {
            reading.hops = reading.paths.hops(&peer);
        }
        reading.on_value(now, Some(path), &record.value, order);
        match &mut reading.purpose {
            Purpose::Get => {
                let event = Event::Value { query: reading.number, from: Some(peer), value: record.value };
                self.outputs.push_back(ToSwarm::GenerateEvent(event));
            }
            Purpose::ReadBack { after, holders } if after.value == record.value => holders.push(peer),
            _ => {}
        }
    }

    /// A lookup is at its end.
    fn on_read(&mut self, id: QueryId, reading: Reading, now: Instant) {
        match reading.purpose {
            Purpose::Get => {
                let is_everybody = reading.paths.answered() <= SMALL_NETWORK && self.is_small();
                if !reading.is_found()
                    && !reading.has_walked
                    && self.has_regions
                    && !is_everybody
                    && now < reading.begun + QUERY_TIMEOUT
                {
                    let (number, key) = (reading.number, reading.key.clone());
                    self.start_walk(number, key, Goal::Read { id, reading: Box::new(reading) });
                    return;
                }
                let event = Event::ValuesDone {
                    query: reading.number,
                    asked: reading.asked_before + reading.paths.asked(),
                    hops: reading.hops,
                    is_walked: reading.has_walked,
                };
                self.outputs.push_back(ToSwarm::GenerateEvent(event));
            }
            Purpose::ReadBack { after, holders } => self.on_read_back(reading.number, reading.key, holders, after),
            Purpose::Announce(announcing) => {
                let nearest = reading.paths.nearest_answered(LOOKUP_PEERS);
                self.on_nearest_to_tell(id, &reading.key, announcing, &nearest);
            }
            Purpose::Find(peer) => self.on_searched(reading.number, reading.paths.addresses_of(&peer)),
            Purpose::Check { order } => self.on_checked(&reading.key, reading.is_found_since(order)),
            Purpose::Nearest(place) => {
                let in_time = now < reading.begun + QUERY_TIMEOUT;
                self.on_nearest(place, reading.at, &reading.paths.nearest_answered(LOOKUP_PEERS), in_time);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(now: Instant) -> Reading {
        let at = point::of_bytes(b"key");
        Reading::new(0, RecordKey::from(vec![1]), at, Paths::fixed(at, std::iter::empty()), Purpose::Get, now)
    }

    #[test]
    fn two_paths_agree_and_one_that_knows_better_is_heard() {
        let now = Instant::now();
        let mut lookup = reading(now);
        lookup.on_value(now, Some(0), b"old", 1);
        assert!(lookup.is_found() && lookup.agreed_at.is_none(), "one path decides nothing");
        lookup.on_value(now, Some(0), b"old", 1);
        assert!(lookup.agreed_at.is_none(), "nor does it twice");
        lookup.on_value(now, Some(1), b"old", 1);
        assert!(lookup.agreed_at.is_some());
        lookup.on_value(now, Some(2), b"new", 2);
        assert!(lookup.agreed_at.is_none(), "about the old one only");
        lookup.on_value(now, Some(1), b"old", 1);
        assert!(lookup.agreed_at.is_none());
        assert_eq!(lookup.best.as_ref().map(|best| best.value.as_slice()), Some(&b"new"[..]));
        lookup.on_value(now, Some(0), b"new", 2);
        assert!(lookup.agreed_at.is_some());
    }

    #[test]
    fn what_this_node_has_itself_is_no_path() {
        let now = Instant::now();
        let mut lookup = reading(now);
        lookup.on_value(now, None, b"mine", 5);
        assert!(!lookup.is_found());
        let mut check = reading(now);
        check.on_value(now, Some(0), b"old", 1);
        assert!(check.is_found_since(1) && !check.is_found_since(2), "an old one in its place hides it");
        lookup.on_value(now, Some(0), b"old", 1);
        assert!(!lookup.is_found() && lookup.agreed_at.is_none());
        lookup.on_value(now, Some(0), b"mine", 5);
        lookup.on_value(now, Some(2), b"mine", 5);
        assert!(lookup.agreed_at.is_some());
    }
}
