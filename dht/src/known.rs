//! What recent walks told of the key space, so that the next keys nearby cost no lookups: a zone of 100,000 labels is
//! published through every part of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::point::{Cell, of_peer};
use crate::region::Found;

/// How long it is believed; who comes meanwhile gets values from the next publication on.
const AGE: Duration = Duration::from_secs(600);
/// Cells remembered, of some twenty nodes each.
const MAX_CELLS: usize = 1_024;

/// Cells with everybody who answered in them.
#[derive(Debug, Default)]
pub(crate) struct Known {
    cells: VecDeque<(Instant, Cell, Vec<Found>)>,
}

impl Known {
    /// Remembers a cell with its nodes. The whole space is not worth it: small networks change too quickly.
    pub(crate) fn add(&mut self, now: Instant, cell: Cell, peers: &[Found]) {
        if cell.bits == 0 {
            return;
        }
        self.cells.retain(|(at, known, _)| now.saturating_duration_since(*at) < AGE && !cell.contains(known));
        if self.cells.len() >= MAX_CELLS {
            self.cells.pop_front();
        }
        let inside = peers.iter().filter(|found| cell.has(&of_peer(&found.peer))).cloned().collect();
        self.cells.push_back((now, cell, inside));
    }

    /// What is known within a distance of a place.
    pub(crate) fn near(&self, now: Instant, around: &[Cell]) -> impl Iterator<Item = (Cell, &[Found])> {
        let fresh = self.cells.iter().filter(move |(at, ..)| now.saturating_duration_since(*at) < AGE);
        fresh
            .filter(move |(_, cell, _)| around.iter().any(|wanted| wanted.contains(cell) || cell.contains(wanted)))
            .map(|(_, cell, peers)| (*cell, peers.as_slice()))
    }

    /// Forgets what proved wrong near a place.
    pub(crate) fn forget(&mut self, around: &[Cell]) {
        self.cells.retain(|(_, cell, _)| !around.iter().any(|wanted| wanted.contains(cell) || cell.contains(wanted)));
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.cells.len()
    }
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;
    use crate::point::{cells_around, distance, of_bytes};

    #[test]
    fn a_cell_is_known_for_a_while_and_within_a_bound() {
        let (mut known, now) = (Known::default(), Instant::now());
        let peers: Vec<Found> =
            std::iter::repeat_with(|| Found { peer: PeerId::random(), group: None }).take(50).collect();
        let place = of_bytes(b"a");
        known.add(now, Cell { at: place, bits: 2 }, &peers);
        known.add(now, Cell { at: place, bits: 0 }, &peers);
        assert_eq!(known.len(), 1);
        let around = cells_around(&place, 0.05);
        let (cell, found) = known.near(now, &around).next().expect("it is known");
        assert!(cell.bits == 2 && found.iter().all(|found| cell.has(&of_peer(&found.peer))) && found.len() < 50);
        assert_eq!(known.near(now + AGE, &around).count(), 0);
        let mut elsewhere = place;
        elsewhere[0] ^= 0x80;
        assert_eq!(distance(&elsewhere, &place)[0], 0x80);
        assert_eq!(known.near(now, &cells_around(&elsewhere, 0.05)).count(), 0);
        for n in 0..2 * MAX_CELLS {
            known.add(now, Cell { at: of_bytes(&n.to_be_bytes()), bits: 40 }, &peers);
        }
        assert!(known.len() <= MAX_CELLS);
        known.forget(&around);
        assert_eq!(known.near(now, &around).count(), 0);
    }
}
