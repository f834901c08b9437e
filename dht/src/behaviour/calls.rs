//! Calls on their way to Kademlia: each starts when the pace allows it, those that people wait for first.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use libp2p::PeerId;
use libp2p::kad::RecordKey;
use libp2p::swarm::ToSwarm;

use super::{Dht, Event, QueryNumber, Search};

/// Calls that wait for their turn. At the slowest pace the last of them waits for less than a minute.
const MAX_WAITING: usize = 256;
/// Requests that an announcement sends to each peer: a lookup and the record.
const ANNOUNCE_REQUESTS: u32 = 2;

/// What is to be done.
pub(super) enum Ask {
    Providers(RecordKey),
    Peer(PeerId),
    Values(RecordKey),
    Put { key: RecordKey, value: Vec<u8> },
}

impl Ask {
    /// Requests to each of the peers asked. A put is a lookup, the value, and the question who has it; the lookups of a
    /// walk and of a check ask others as well, in a network that is so large that the pace is higher.
    fn requests(&self) -> u32 {
        match self {
            Self::Providers(_) | Self::Peer(_) | Self::Values(_) => 1,
            Self::Put { .. } => 3,
        }
    }
}

/// Calls that wait.
#[derive(Default)]
pub(super) struct Calls {
    lookups: VecDeque<(QueryNumber, Ask)>,
    puts: VecDeque<(QueryNumber, Ask)>,
}

impl Calls {
    /// Whether there is room for one more.
    pub(super) fn has_room(&self) -> bool {
        self.lookups.len() + self.puts.len() < MAX_WAITING
    }

    pub(super) fn push(&mut self, number: QueryNumber, ask: Ask) {
        match ask {
            Ask::Put { .. } => self.puts.push_back((number, ask)),
            _ => self.lookups.push_back((number, ask)),
        }
    }

    /// Forgets a lookup that nobody waits for any more.
    pub(super) fn forget(&mut self, number: QueryNumber) {
        self.lookups.retain(|(waiting, _)| *waiting != number);
    }

    fn next(&self) -> Option<u32> {
        self.lookups.front().or(self.puts.front()).map(|(_, ask)| ask.requests())
    }

    fn pop(&mut self) -> Option<(QueryNumber, Ask)> {
        self.lookups.pop_front().or_else(|| self.puts.pop_front())
    }
}

impl Dht {
    /// Puts a lookup in line, or ends it where too many wait.
    pub(super) fn ask(&mut self, ask: Ask) -> QueryNumber {
        let number = self.next_query;
        self.next_query += 1;
        if self.calls.has_room() {
            self.calls.push(number, ask);
            return number;
        }
        let event = match ask {
            Ask::Providers(_) => Event::ProvidersDone { query: number },
            Ask::Peer(_) => Event::Peer { query: number, addresses: Vec::new() },
            Ask::Values(_) => Event::ValuesDone { query: number, asked: 0, hops: 0, is_walked: false },
            Ask::Put { .. } => Event::Stored { query: number, holders: Vec::new() },
        };
        self.outputs.push_back(ToSwarm::GenerateEvent(event));
        number
    }

    /// Starts what may start now.
    pub(super) fn start_calls(&mut self, now: Instant) {
        if self.calls.next().is_none() && !self.announcements.is_ready() {
            return;
        }
        let peers = self.table_size();
        self.pace.on_table(now, peers);
        while let Some(requests) = self.calls.next() {
            if !self.pace.take(now, requests) {
                return;
            }
            match self.calls.pop() {
                Some((number, Ask::Providers(key))) => {
                    let id = self.kad.get_providers(key);
                    self.searches.insert(id, Search { number, told: HashSet::new() });
                }
                Some((number, Ask::Peer(peer))) => self.start_finding(number, peer),
                Some((number, Ask::Values(key))) => self.start_get(number, &key),
                Some((number, Ask::Put { key, value })) => self.start_put(number, key, value),
                None => return,
            }
        }
        while self.announcements.is_ready() && self.pace.take(now, ANNOUNCE_REQUESTS) {
            let Some(key) = self.announcements.poll_start() else { return };
            self.start_announcing(key);
        }
    }

    /// When the next of those that wait may start.
    pub(super) fn next_call_at(&self) -> Option<Instant> {
        let announcing = self.announcements.is_ready().then_some(ANNOUNCE_REQUESTS);
        self.calls.next().or(announcing).map(|requests| self.pace.ready_at(requests))
    }
}
