//! Walks through regions, and the estimate of how many nodes there are: what the lookups of places are for.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use libp2p::PeerId;
use libp2p::kad::{QueryId, RecordKey};

use super::reads::Reading;
use super::{Dht, QueryNumber, SMALL_NETWORK};
use crate::group::{Group, Width, group_of};
use crate::known::Known;
use crate::paths::Candidate;
use crate::point::{self, Cell, MadeUp, Point, distance, of_peer};
use crate::region::{Found, LOOKUP_PEERS, Next, Walk};
use crate::size::{GOOD_SAMPLES, SAMPLE_NODES, Size};

/// Hashes that one look for a made-up key may take before others have their turn: about a millisecond.
const HASHES_AT_A_TIME: u32 = 2_048;

/// Everything under way.
#[derive(Default)]
pub(super) struct Walks {
    walks: HashMap<u64, Walking>,
    made_up: VecDeque<(u64, Cell, MadeUp)>,
    next: u64,
    size: Size,
    /// Lookups of made-up keys under way, to count nodes.
    counting: usize,
    /// Walks that wait for them.
    waiting: Vec<(QueryNumber, RecordKey, Goal)>,
    known: Known,
}

/// A walk and what it is for.
struct Walking {
    walk: Walk,
    around: Vec<Cell>,
    number: QueryNumber,
    key: RecordKey,
    goal: Goal,
}

/// Why a region is walked.
pub(super) enum Goal {
    /// To put a value at everybody in it. `is_fresh`: what is known from earlier walks proved wrong.
    Put { value: Vec<u8>, is_fresh: bool },
    /// To ask everybody in it for a value that was not found.
    Read { id: QueryId, reading: Box<Reading> },
}

/// What a place is looked up for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// A walk, of which it is the key, or lies in a cell.
    Walk { walk: u64, cell: Option<Cell> },
    /// To count nodes.
    Size,
}

impl Walks {
    /// Whether a made-up key is looked for.
    pub(super) fn is_searching(&self) -> bool {
        !self.made_up.is_empty()
    }
}

impl Dht {
    /// Whether everybody may be known: no region is smaller than the network then.
    pub(super) fn is_small(&mut self) -> bool {
        self.table_size() <= SMALL_NETWORK
    }

    /// How many nodes there are, about.
    pub fn network_size(&mut self) -> f64 {
        let table = self.table_size();
        let estimate = if table < SAMPLE_NODES { None } else { self.walks.size.estimate() };
        estimate.unwrap_or(0.0).max(table as f64)
    }

    /// How far from a key, as a part of all distances, a node may lie to be one of the twenty nearest for sure enough. `None`
    /// while it is not known how many nodes there are.
    pub(super) fn near_enough(&mut self) -> Option<f64> {
        if self.is_small() {
            return Some(1.0);
        }
        self.count_nodes();
        self.walks.size.is_good().then(|| LOOKUP_PEERS as f64 / self.network_size())
    }

    /// Walks the region of a key, as soon as it is known how large it is.
    pub(super) fn start_walk(&mut self, number: QueryNumber, key: RecordKey, goal: Goal) {
        if self.has_regions && !self.is_small() {
            self.count_nodes();
            if !self.walks.size.is_good() && self.walks.counting > 0 {
                self.walks.waiting.push((number, key, goal));
                return;
            }
        }
        self.begin_walk(number, key, goal);
    }

    fn begin_walk(&mut self, number: QueryNumber, key: RecordKey, goal: Goal) {
        let at = point::of_bytes(key.as_ref());
        let (nodes, factor) = (self.network_size(), self.checks.factor(&key));
        let usual_groups = self.walks.size.usual_groups();
        let mut walk =
            if self.has_regions { Walk::new(at, nodes, factor, usual_groups) } else { Walk::nearest_only(at) };
        let around = walk.cells();
        if matches!(goal, Goal::Put { is_fresh: true, .. }) {
            self.walks.known.forget(&around);
        } else if self.has_regions && !self.is_small() {
            for (cell, peers) in self.walks.known.near(Instant::now(), &around) {
                walk.on_known(cell, peers.iter().cloned());
            }
        }
        let id = self.walks.next;
        self.walks.next += 1;
        self.walks.walks.insert(id, Walking { walk, around, number, key, goal });
        self.drive_walk(id);
    }

    /// Ends the walks of a call that nobody waits for any more.
    pub(super) fn forget_walks(&mut self, number: QueryNumber) {
        self.walks.waiting.retain(|(waiting, _, goal)| *waiting != number || matches!(goal, Goal::Put { .. }));
        self.walks.walks.retain(|_, walking| walking.number != number || matches!(walking.goal, Goal::Put { .. }));
        let walks = &self.walks.walks;
        self.walks.made_up.retain(|(walk, ..)| walks.contains_key(walk));
    }

    /// Looks for a made-up key a little further. True: there is something to be done.
    pub(super) fn search_made_up(&mut self) -> bool {
        let Some((walk, cell, mut search)) = self.walks.made_up.pop_front() else { return false };
        match search.search(HASHES_AT_A_TIME) {
            Some((key, _)) => {
                self.look_up(key, Place::Walk { walk, cell: Some(cell) });
                true
            }
            None => {
                self.walks.made_up.push_back((walk, cell, search));
                false
            }
        }
    }

    /// A lookup ended: who answered, nearest first. `in_time`: it was not cut short.
    pub(super) fn on_nearest(&mut self, place: Place, at: Point, answered: &[Candidate], in_time: bool) {
        let found: Vec<Found> = answered.iter().map(|candidate| self.found(candidate)).collect();
        let now = Instant::now();
        match place {
            Place::Size => self.on_counted(now, &at, &found),
            Place::Walk { walk, cell } => {
                let Some(walking) = self.walks.walks.get_mut(&walk) else { return };
                if let Some(whole) = walking.walk.on_lookup(at, cell, found.clone(), in_time) {
                    self.walks.known.add(now, whole, &found);
                }
                self.drive_walk(walk);
            }
        }
    }

    /// Nodes of the table, nearest to a place first.
    pub(super) fn nearest_known(&mut self, at: &Point) -> Vec<PeerId> {
        let mut peers: Vec<PeerId> = self.table_peers().into_iter().collect();
        peers.sort_by_cached_key(|peer| distance(at, &of_peer(peer)));
        peers
    }

    /// The group of a peer: by the address at which it is connected, else by what is said of it.
    pub(super) fn group(&self, peer: &PeerId, said: &[libp2p::Multiaddr], width: Width) -> Option<Group> {
        match self.connected_at.get(peer) {
            Some(at) => at.iter().find_map(|(_, at)| group_of(at, width)),
            None => said.iter().find_map(|at| group_of(at, width)),
        }
    }

    fn found(&self, candidate: &Candidate) -> Found {
        let Candidate { peer, addresses, .. } = candidate;
        Found { peer: *peer, group: self.group(peer, addresses, Width::World) }
    }

    fn drive_walk(&mut self, id: u64) {
        loop {
            let Some(walking) = self.walks.walks.get_mut(&id) else { return };
            match walking.walk.poll_next() {
                Next::Wait => return,
                Next::Center => {
                    let key = walking.key.to_vec();
                    self.look_up(key, Place::Walk { walk: id, cell: None });
                }
                Next::Cell(cell) => {
                    self.walks.made_up.push_back((id, cell, MadeUp::new(cell, point::random())));
                }
                Next::Done => {
                    if let Some(walking) = self.walks.walks.remove(&id) {
                        self.on_walked(walking);
                    }
                    return;
                }
            }
        }
    }

    fn on_walked(&mut self, walking: Walking) {
        let Walking { walk, number, key, goal, around } = walking;
        let peers = walk.peers(point::random());
        tracing::debug!(lookups = walk.lookups(), peers = peers.len(), cells = around.len(), "walked a region");
        match goal {
            Goal::Put { value, .. } => {
                let is_remembered = walk.lookups() == 0;
                self.on_region_to_put(number, key, value, peers, walk.is_everybody(), is_remembered);
            }
            Goal::Read { id, reading } => self.on_region_to_read(id, *reading, &peers),
        }
    }

    /// Looks up made-up keys while the estimate is worth more: four at once for the first one, then one after the other.
    fn count_nodes(&mut self) {
        let at_once = if self.walks.size.is_good() { 1 } else { GOOD_SAMPLES };
        while self.walks.counting < at_once && self.walks.size.wants_more(Instant::now()) {
            self.walks.counting += 1;
            let key = [point::random().to_be_bytes(), point::random().to_be_bytes()].concat();
            self.look_up(key, Place::Size);
        }
    }

    fn on_counted(&mut self, now: Instant, at: &Point, found: &[Found]) {
        self.walks.counting = self.walks.counting.saturating_sub(1);
        let mut nearest: Vec<(Point, Option<Group>)> =
            found.iter().map(|found| (distance(at, &of_peer(&found.peer)), found.group)).collect();
        nearest.sort_unstable_by_key(|(distance, _)| *distance);
        nearest.truncate(SAMPLE_NODES);
        let distances: Vec<Point> = nearest.iter().map(|(distance, _)| *distance).collect();
        let groups: HashSet<Group> = nearest.iter().filter_map(|(_, group)| *group).collect();
        let is_enough = distances.len() >= SAMPLE_NODES;
        self.walks.size.on_lookup(now, &distances, &groups);
        if is_enough {
            self.count_nodes();
        }
        if self.walks.size.is_good() || self.walks.counting == 0 {
            for (number, key, goal) in std::mem::take(&mut self.walks.waiting) {
                self.begin_walk(number, key, goal);
            }
        }
    }
}
