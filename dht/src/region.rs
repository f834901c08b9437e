//! The region of a key: everybody near it, also where somebody crowds its immediate neighbourhood.
//!
//! A value that lies with the twenty nodes nearest to its key alone is at the mercy of whoever grinds twenty ids that lie
//! nearer. So it goes to *all* nodes within the distance in which twenty honest ones are expected, as many as there are:
//! crowding then adds holders and removes none. A lookup tells the twenty nodes nearest to one place; what it cannot see
//! is looked up in turn, cell by cell, largest first, until a cell can hardly have an honest node of its own.
//!
//! A machine without clock or I/O. It is told what lookups found, whoever made them.

use std::collections::{BTreeMap, HashSet};

use libp2p::PeerId;

use crate::group::Group;
use crate::point::{Cell, MAX_MADE_UP_BITS, Point, cells_around, distance, fraction, of_peer};

/// Honest nodes that the region of a key is to have.
pub(crate) const EXPECTED: f64 = 20.0;
/// Most nodes a value is put at, or asked of, in one region.
pub(crate) const MAX_REGION_PEERS: usize = 80;
/// Of these, how many are the nearest; the others are drawn from the whole region, so that a crowd beside the key does
/// not take all places.
const NEAREST: usize = 20;
/// What one lookup tells.
pub(crate) const LOOKUP_PEERS: usize = 20;
/// Most lookups of one walk, the one of the key itself included.
const MAX_LOOKUPS: usize = 16;
/// Lookups of one walk at a time.
const MAX_PARALLEL: usize = 4;
/// A cell with fewer nodes expected than this is not looked up.
const WORTH_A_LOOKUP: f64 = 0.5;
/// How often a region is doubled to reach the usual variety of addresses.
const MAX_DOUBLINGS: u32 = 2;

/// A node that was found, and the wide group of its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) peer: PeerId,
    pub(crate) group: Option<Group>,
}

/// One walk.
#[derive(Debug)]
pub(crate) struct Walk {
    center: Point,
    radius: f64,
    max_bits: u32,
    usual_groups: usize,
    pending: Vec<Cell>,
    /// Cells of which everybody who answers is known.
    complete: Vec<Cell>,
    found: BTreeMap<Point, Found>,
    running: usize,
    lookups: usize,
    doublings: u32,
    /// The key itself comes first: it mostly tells all.
    has_begun: bool,
}

impl Walk {
    /// A walk through the region of `center` among about so many nodes; `factor` makes the region that much larger.
    pub(crate) fn new(center: Point, nodes: f64, factor: f64, usual_groups: usize) -> Self {
        let nodes = nodes.max(1.0);
        let radius = (EXPECTED * factor / nodes).min(1.0);
        let max_bits = ((nodes / WORTH_A_LOOKUP).log2().floor().max(0.0) as u32).min(MAX_MADE_UP_BITS);
        let pending = cells_around(&center, radius);
        Self {
            center,
            radius,
            max_bits,
            usual_groups,
            pending,
            complete: Vec::new(),
            found: BTreeMap::new(),
            running: 0,
            lookups: 0,
            doublings: 0,
            has_begun: false,
        }
    }

    /// No region at all: the twenty nodes nearest to the key, as Kademlia alone has it.
    pub(crate) fn nearest_only(center: Point) -> Self {
        Self::new(center, f64::MAX, 1.0, 0)
    }

    /// The cells that make up the region.
    pub(crate) fn cells(&self) -> Vec<Cell> {
        self.pending.clone()
    }

    /// What earlier lookups told, if it is still true.
    pub(crate) fn on_known(&mut self, cell: Cell, peers: impl Iterator<Item = Found>) {
        self.complete.push(cell);
        self.add(peers);
    }

    /// The cell in which a made-up key is to be looked up next; for the first time it is the key of the walk itself
    /// ([`Next::Center`]).
    pub(crate) fn poll_next(&mut self) -> Next {
        loop {
            if self.lookups >= MAX_LOOKUPS {
                self.pending.clear();
            }
            if self.running >= MAX_PARALLEL || (self.has_begun && self.lookups == 1 && self.running == 1) {
                return Next::Wait;
            }
            let Some(cell) = self.pop() else {
                if self.running > 0 {
                    return Next::Wait;
                }
                if self.widen() {
                    continue;
                }
                return Next::Done;
            };
            self.lookups += 1;
            self.running += 1;
            if !std::mem::replace(&mut self.has_begun, true) && !self.complete.iter().any(|cell| cell.has(&self.center))
            {
                self.pending.push(cell);
                return Next::Center;
            }
            return Next::Cell(cell);
        }
    }

    /// A lookup of a place in a cell ended: the nearest nodes that answered. `in_time`: it was not cut short. The cell of
    /// which all is known now is returned.
    pub(crate) fn on_lookup(
        &mut self,
        at: Point,
        cell: Option<Cell>,
        peers: Vec<Found>,
        in_time: bool,
    ) -> Option<Cell> {
        self.running = self.running.saturating_sub(1);
        let whole = complete_cell(&at, &peers);
        self.add(peers.into_iter());
        if let Some(cell) = cell {
            // Whatever it told, it is not asked for again.
            let here = Cell { at, bits: self.max_bits.max(cell.bits) };
            self.complete.push(if in_time { here } else { cell });
            self.pending.push(cell);
        }
        // Few answers within a network that is not small are no sign that there is nobody else.
        let is_believable = in_time && (whole.bits > 0 || self.radius >= 1.0);
        if is_believable {
            self.complete.push(whole);
            Some(whole)
        } else {
            if cell.is_none() {
                self.complete.push(Cell { at, bits: self.max_bits });
            }
            None
        }
    }

    /// How many lookups it took.
    pub(crate) fn lookups(&self) -> usize {
        self.lookups
    }

    /// Whether the region is the whole network, so that nobody else could be asked.
    pub(crate) fn is_everybody(&self) -> bool {
        self.complete.iter().any(|cell| cell.bits == 0)
    }

    /// Whom it found: the nearest and, `salt` decides, others from all over the region.
    pub(crate) fn peers(&self, salt: u64) -> Vec<PeerId> {
        let mut nearest: Vec<&Found> = self.found.values().collect();
        let rest = nearest.split_off(nearest.len().min(NEAREST));
        let inside = rest.into_iter().filter(|found| self.is_inside(&found.peer));
        let mix = crate::point::of_bytes(&salt.to_be_bytes());
        let mut inside: Vec<(Point, &Found)> =
            inside.map(|found| (distance(&mix, &of_peer(&found.peer)), found)).collect();
        inside.sort_unstable_by_key(|(order, _)| *order);
        let others = inside.into_iter().map(|(_, found)| found);
        nearest.into_iter().chain(others).take(MAX_REGION_PEERS).map(|found| found.peer).collect()
    }

    fn is_inside(&self, peer: &PeerId) -> bool {
        fraction(&distance(&self.center, &of_peer(peer))) <= self.radius
    }

    fn add(&mut self, peers: impl Iterator<Item = Found>) {
        for found in peers {
            self.found.insert(distance(&self.center, &of_peer(&found.peer)), found);
        }
    }

    /// The largest cell that is not known yet.
    fn pop(&mut self) -> Option<Cell> {
        loop {
            let at = (0..self.pending.len()).min_by_key(|at| self.pending.get(*at).map(|cell| cell.bits))?;
            let cell = self.pending.swap_remove(at);
            if (self.has_begun && cell.bits > self.max_bits) || self.complete.iter().any(|known| known.contains(&cell))
            {
                continue;
            }
            if self.complete.iter().any(|known| cell.contains(known)) {
                self.pending.extend(cell.halves());
                continue;
            }
            return Some(cell);
        }
    }

    /// Makes the region larger where its nodes have fewer different addresses than nodes usually have.
    fn widen(&mut self) -> bool {
        if self.radius >= 1.0 || self.doublings >= MAX_DOUBLINGS || self.lookups >= MAX_LOOKUPS {
            return false;
        }
        let inside = self.found.values().filter(|found| self.is_inside(&found.peer));
        let (mut count, mut groups) = (0, HashSet::new());
        for found in inside {
            count += 1;
            groups.extend(found.group);
        }
        if groups.len() >= self.usual_groups || count >= MAX_REGION_PEERS {
            return false;
        }
        self.doublings += 1;
        self.radius = (self.radius * 2.0).min(1.0);
        self.pending = cells_around(&self.center, self.radius);
        true
    }
}

/// What a walk wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The key itself is to be looked up.
    Center,
    /// A made-up key in this cell is.
    Cell(Cell),
    /// A lookup has to end first.
    Wait,
    /// It is over.
    Done,
}

/// The cell around a place of which all nodes are among the nearest to it.
pub(crate) fn complete_cell(at: &Point, peers: &[Found]) -> Cell {
    let mut distances: Vec<Point> = peers.iter().map(|found| distance(at, &of_peer(&found.peer))).collect();
    distances.sort_unstable();
    match distances.get(LOOKUP_PEERS - 1) {
        None => Cell { at: *at, bits: 0 },
        Some(farthest) => Cell { at: *at, bits: crate::point::common_bits(&[0; 32], farthest) + 1 },
    }
}

#[cfg(test)]
mod tests;
