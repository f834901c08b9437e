//! Places in the key space of the DHT, and the dyadic cells it is cut into: pure arithmetic on 256 bits.

use std::hash::{BuildHasher, Hasher, RandomState};

use libp2p::PeerId;
use libp2p::kad::KBucketKey;

/// A place, or a distance between two: 256 bits, most significant byte first.
pub(crate) type Point = [u8; 32];

/// Bits of a point.
const POINT_BITS: u32 = 256;
/// Leading bits that a made-up key can be given: each doubles the hashes that finding one takes.
pub(crate) const MAX_MADE_UP_BITS: u32 = 22;

/// Where a peer lies.
pub(crate) fn of_peer(peer: &PeerId) -> Point {
    of_bytes(&peer.to_bytes())
}

/// Where a key lies.
pub(crate) fn of_bytes(key: &[u8]) -> Point {
    let mut point = [0; 32];
    point.copy_from_slice(KBucketKey::new(key.to_vec()).hashed_bytes());
    point
}

/// How far two places lie from each other.
pub(crate) fn distance(a: &Point, b: &Point) -> Point {
    std::array::from_fn(|at| a[at] ^ b[at])
}

/// How many leading bits two places have in common.
pub(crate) fn common_bits(a: &Point, b: &Point) -> u32 {
    let mut bits = 0;
    for (a, b) in a.iter().zip(b) {
        let differing = (a ^ b).leading_zeros();
        bits += differing;
        if differing < u8::BITS {
            break;
        }
    }
    bits
}

/// A distance as a part of the whole space, 0 to 1.
pub(crate) fn fraction(distance: &Point) -> f64 {
    let (head, _) = distance.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    u64::from_be_bytes(*head) as f64 / 2f64.powi(64)
}

/// All places that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// A place in it.
    pub(crate) at: Point,
    /// How many bits they have in common; 0 is the whole space.
    pub(crate) bits: u32,
}

impl Cell {
    pub(crate) fn has(&self, point: &Point) -> bool {
        common_bits(&self.at, point) >= self.bits
    }

    /// Whether the other lies in this one.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.has(&other.at)
    }

    /// Its two halves.
    pub(crate) fn halves(&self) -> [Self; 2] {
        let bits = (self.bits + 1).min(POINT_BITS);
        let mut other = self.at;
        let at = usize::try_from(self.bits / 8).unwrap_or(usize::MAX);
        if let Some(byte) = other.get_mut(at) {
            *byte ^= 0x80 >> (self.bits % 8);
        }
        [Self { at: self.at, bits }, Self { at: other, bits }]
    }
}

/// The cells that make up all places nearer to `center` than `radius`, a part of the whole space; it is rounded up by an
/// eighth at most, so that there are three cells at most. Largest first.
pub(crate) fn cells_around(center: &Point, radius: f64) -> Vec<Cell> {
    if radius >= 1.0 || !radius.is_finite() {
        return vec![Cell { at: *center, bits: 0 }];
    }
    let radius = radius.max(2f64.powi(-200));
    // 2^-(bits + 1) < radius <= 2^-bits
    let bits = (-radius.log2()).floor().max(0.0) as u32;
    let unit_bits = bits + 3;
    let units = (radius * 2f64.powi(i32::try_from(unit_bits).unwrap_or(i32::MAX))).ceil().clamp(1.0, 8.0) as u8;
    let mut cells = Vec::new();
    let mut start = 0u8;
    for log in (0..=3u32).rev() {
        if units & (1 << log) != 0 {
            cells.push(Cell { at: distance(center, &leading(start, unit_bits)), bits: unit_bits - log });
            start += 1 << log;
        }
    }
    cells
}

/// A small number as the first `bits` bits of a distance.
fn leading(number: u8, bits: u32) -> Point {
    let mut point = [0; 32];
    for bit in 0..u8::BITS {
        let place = bits.checked_sub(bit + 1);
        if number & (1 << bit) != 0
            && let Some(place) = place
            && let Some(byte) = usize::try_from(place / 8).ok().and_then(|at| point.get_mut(at))
        {
            *byte |= 0x80 >> (place % 8);
        }
    }
    point
}

/// A number nobody knows before; good enough to spread load, not for keys.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Looks for a key that lies in a cell: the network is asked by keys, and hashes them itself.
#[derive(Debug)]
pub(crate) struct MadeUp {
    cell: Cell,
    salt: u64,
    tried: u64,
}

impl MadeUp {
    pub(crate) fn new(cell: Cell, salt: u64) -> Self {
        Self { cell, salt, tried: 0 }
    }

    /// Tries that many keys, and goes on from there the next time: a cell of `b` bits takes about 2^b.
    pub(crate) fn search(&mut self, tries: u32) -> Option<(Vec<u8>, Point)> {
        for _ in 0..tries {
            let key = [self.salt.to_be_bytes(), self.tried.to_be_bytes()].concat();
            self.tried += 1;
            let point = of_bytes(&key);
            if self.cell.has(&point) {
                return Some((key, point));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_in_common_and_distances_agree() {
        let (a, mut b) = ([0x55; 32], [0x55; 32]);
        assert_eq!(common_bits(&a, &b), 256);
        b[1] ^= 0x10;
        assert_eq!(common_bits(&a, &b), 11);
        assert_eq!(fraction(&distance(&a, &b)), 2f64.powi(-12));
    }

    #[test]
    fn a_region_is_covered_by_its_cells_and_by_little_more() {
        let center = of_bytes(b"somewhere");
        for radius in [1.0, 0.9, 0.5, 0.26, 0.1, 0.0667, 0.001] {
            let cells = cells_around(&center, radius);
            assert!(cells.len() <= 3);
            let size: f64 = cells.iter().map(|cell| 2f64.powi(-(cell.bits as i32))).sum();
            assert!(size >= radius && size <= radius * 1.25 + 1e-9, "{size} for {radius}");
            for n in 0..2_000u32 {
                let point = of_bytes(&n.to_be_bytes());
                let inside = cells.iter().filter(|cell| cell.has(&point)).count();
                assert!(inside <= 1, "cells overlap");
                if fraction(&distance(&center, &point)) < radius {
                    assert_eq!(inside, 1, "{radius}");
                }
            }
        }
    }

    #[test]
    fn halves_part_a_cell() {
        let cell = Cell { at: of_bytes(b"x"), bits: 9 };
        let [mine, other] = cell.halves();
        assert!(cell.contains(&mine) && cell.contains(&other) && !mine.contains(&other) && !other.contains(&mine));
        assert!(mine.has(&cell.at) && !other.has(&cell.at));
        let all = Cell { at: [0; 32], bits: 0 };
        assert!(all.contains(&cell) && !cell.contains(&all));
    }

    #[test]
    fn a_made_up_key_lies_in_its_cell() {
        let cell = Cell { at: of_bytes(b"x"), bits: 8 };
        let mut search = MadeUp::new(cell, 7);
        let found = std::iter::repeat_with(|| search.search(64)).take(1_000).flatten().next();
        let (key, point) = found.expect("one in 256 does");
        assert!(cell.has(&point) && of_bytes(&key) == point);
    }
}
